//! Costs of self-attention, tokens, depthwise convolutions and Nyström attention. Convolutions count every tap, also
//! where it reaches over an edge.

use super::{At, Cost};
use crate::kernels::launch::{Dim, Word};

/// The numbers of the energies that know distances.
const DISTANCE: u64 = 6;
const BINNED: u64 = 7;

/// Values in a record with bins.
fn binned_len(bins: u64) -> u64 {
    4 + 3 * bins.next_multiple_of(4)
}

pub(super) fn cost(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let [n, b, t] = at.batch();
    let rows = w(0);
    Some(Cost::of(match at.name() {
        "attention_spans" => (4 * t + b + 1, 0, format!("{t}")),
        "attention_alpha" => ((3 + w(1)) * rows, (1 + w(1)) * rows, format!("{rows}")),
        "attention_record" => {
            let (heads, values, distance) = (w(1), w(2), (w(4) == DISTANCE) as u64);
            let [of_lse, back, alpha] = [0, 1, 2].map(|bit| at.bit(3, bit));
            let read = back * (2 * values + 1 + of_lse);
            let moved = rows * heads * (4 + read) + heads * (alpha + 2 * back * distance * values);
            let flops = rows * heads * back * (2 * values * (1 + 2 * distance) + of_lse);
            (moved, flops, format!("{rows}x{heads}x{values}"))
        }
        "distance_record" => {
            let (heads, dims) = (w(1), w(2));
            let values = rows * (2 * heads * dims + 8 * heads + 2) + 4 * heads * dims + 2 * heads;
            (values, 8 * rows * heads * dims, format!("N={n} heads={heads} d={dims}"))
        }
        "binned_record" => {
            let (heads, bins) = (w(1), w(2));
            let [started, back] = [0, 1].map(|bit| at.bit(3, bit));
            let each = 2 * bins * (1 + back) + binned_len(bins) + 2 * started;
            (rows * (heads * each + 2), 2 * rows * heads * bins * back, format!("N={n} heads={heads} bins={bins}"))
        }
        "distance_fold" => {
            let (heads, cols) = (w(1), w(2));
            let values = rows * heads * (2 * cols + 2) + 2 * heads * cols;
            (values, 4 * rows * heads * cols, format!("{rows}x{heads}x{cols}"))
        }
        "distance_prototypes" => {
            let (heads, cols) = (w(1), w(2));
            let values = n * heads * (cols + 2) + 2 * t * heads * cols;
            (values, 4 * n * heads * cols, format!("{n}x{heads}x{cols}"))
        }
        "attention_forward" | "attention_values" | "attention_back" => pairs(at),
        _ => return tokens(at),
    }))
}

/// Kernels over the pairs of each bag, counted as for bags of one size.
fn pairs(at: &At) -> (u64, u64, String) {
    let w = |i: usize| at.word(i);
    let [n, b, _] = at.batch();
    let (heads, dims, values, kind, bins) = (w(1), w(2), w(3), w(7), w(8));
    let drops = (w(9) > 0) as u64;
    // Rows of self-attention are instances; of tokens and landmarks there are as many as there is room for.
    let alike = at.launch.words[0] == Word::D(Dim::Tiles);
    let sides = [0, 1].map(|i| if alike { n } else { at.held(i) / (heads * dims).max(1) });
    let [own, other] = sides;
    // Operations for a column of an energy, and for what becomes of its sum.
    let (energy, of_sum) = match kind {
        0 => (2, 1),
        1 | 2 => (3, 3),
        3 => (3, 1),
        4 => (7, 0),
        5 => (16, 0),
        DISTANCE => (2, 22),
        _ => (2, 12),
    };
    // What is read of each row besides: nothing, alpha's record, or what the distances need.
    let record = match kind {
        1 | 2 | 5 => 4,
        DISTANCE => 12,
        BINNED => binned_len(bins),
        _ => 0,
    };
    let count = own * other / b.max(1) * heads;
    let sizes = match alike {
        true => format!("N={n} heads={heads} d={dims}"),
        false => format!("{own} and {other} rows, heads={heads} d={dims}"),
    };
    let [distance, binned] = [DISTANCE, BINNED].map(|k| (kind == k) as u64);
    let of_pairs = |columns: u64| count * (energy * dims + of_sum + columns);
    match at.name() {
        "attention_forward" => {
            let each = heads * (dims + values + 1 + 2 * distance + bins);
            let moved = own * (each + heads * record) + other * heads * (dims + values);
            (moved, of_pairs(2 * values + 4 + 4 * distance + binned + drops), sizes)
        }
        "attention_values" => {
            let added = at.bit(6, 0);
            let moved = own * heads * (dims + values * (1 + added)) + other * heads * (dims + values + record.max(4));
            (moved, of_pairs(2 * values + 2 + drops), sizes)
        }
        _ => {
            let (added, flip, shares) = (at.bit(6, 0), at.bit(6, 1), at.bit(6, 2));
            // Records are those of queries; distances need both sides'.
            let records = match (distance + binned, flip) {
                (1, _) => record * own.max(other),
                (_, 0) => 4 * own,
                _ => 4 * other,
            };
            let shared = match kind {
                DISTANCE => 4 * shares,
                BINNED => bins * shares * (1 + at.bit(6, 3)),
                _ => shares,
            };
            let each = heads * (dims * (2 + added) + values + shared);
            let moved = own * each + other * heads * (dims + values) + heads * records;
            (moved, of_pairs(energy * dims + 2 * values + 5 + 20 * distance + 2 * binned + drops), sizes)
        }
    }
}

fn tokens(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let [n, b, t] = [at.extent.instances, at.extent.bags, at.extent.tokens].map(u64::from);
    let c = w(1);
    // Results of a convolution along the tokens, and the taps that reach anything.
    let along = |first: bool| if first { (b, w(2) / 2 + 1) } else { (t, w(2)) };
    let (values, flops, shape) = match at.name() {
        "square" => (c * (n + 1 + t), 0, format!("N={n} C={c}")),
        "square_grad" => (c * (t + n * (1 + w(2))), c * (t - b), format!("N={n} C={c}")),
        "landmark_means" => (c * (t + w(0)), c * (t + w(0)), format!("{t}x{c}")),
        "landmark_grad" => (c * (b * w(2) + t * (1 + w(3))), c * t, format!("{t}x{c}")),
        "token_scores" => (n * (c + 1), n * (c + 1), format!("N={n} K={c}")),
        "token_scores_grad" => (n + t * c * (1 + w(3)), n, format!("N={n} K={c}")),
        "sequence_conv" | "sequence_back" | "sequence_weights" => {
            let first = w(4) & 2 != 0;
            let ((results, taps), heads) = (along(first), c / w(3).max(1));
            let seen = if first { b * taps } else { t };
            let values = match at.name() {
                "sequence_conv" => c * (seen + results) + heads * w(2),
                "sequence_back" => c * (results + t * (1 + (w(4) & 1))) + heads * w(2),
                _ => c * (seen + results) + w(0) * heads * w(2),
            };
            (values, 2 * taps * results * c, format!("{t}x{c} taps={}", w(2)))
        }
        "grid_conv" => {
            let (area, flip) = (w(2) * w(2), w(3) >> 1 & 1);
            let values = c * (t * (2 + (w(3) & 1)) + area + 1 - flip);
            (values, 2 * area * (t - b) * c, format!("{t}x{c} side={}", w(2)))
        }
        "grid_weights" => {
            let (area, parts) = (w(2) * w(2), w(0).div_ceil(w(3).max(1)));
            (c * (2 * t + parts * (area + 1)), (2 * area + 1) * (t - b) * c, format!("{t}x{c} side={}", w(2)))
        }
        "merge_kernels" => {
            let area = |less: u64| w(1).saturating_sub(less).pow(2);
            let narrow = area(2) + area(4);
            (w(0) * (2 * area(0) + narrow), w(0) * (1 + narrow), format!("C={} side={}", w(0), w(1)))
        }
        "crop_kernels" => {
            let values = w(0) * w(2) * w(2);
            (values * (2 + w(3)), values * w(3), format!("C={} side={}", w(0), w(2)))
        }
        "head_product" => {
            let ([m, n, k, layers], flags) = ([w(0), w(1), w(2), w(8)], w(4));
            let third = flags >> 3 & 1;
            let values = m * k + k * n + m * n * (1 + (flags & 1) + third);
            let flops = m * n * (2 * k + 1 + 2 * third + (flags & 1));
            (layers * values, layers * flops, format!("{layers} x [{m}x{k}] [{k}x{n}]"))
        }
        "inverse_sums" | "inverse_start" | "inverse_dots" | "inverse_end" => {
            let (layers, area) = (w(0), w(2) * w(2));
            let (values, flops) = match at.name() {
                "inverse_sums" => (area + 4, 4 * area),
                "inverse_start" => (2 * area + 4, area),
                "inverse_dots" => (2 * area + 1, 2 * area),
                _ => (area * (3 + w(3)) + 2 * w(2) + 5, area * (2 + w(3)) + 4 * w(2)),
            };
            (layers * values, layers * flops, format!("{layers} x {}x{}", w(2), w(2)))
        }
        "cross_spans" => (4 * w(0), 0, format!("{}", w(0))),
        "zero_keys" => {
            let rows = w(0) * w(1);
            (2 * rows * (1 + w(2)), rows * (w(2) + 8), format!("{rows}x{}", w(2)))
        }
        _ => return None,
    };
    Some(Cost::of((values, flops, shape)))
}
