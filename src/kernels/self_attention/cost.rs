//! What the launches over pairs cost.

use super::super::cost::At;
use super::super::distance_attention::binned_len;
use crate::kernels::launch::Dim;

/// The numbers of the energies that know distances.
const DISTANCE: u64 = super::energies::DISTANCE as u64;
const BINNED: u64 = super::energies::BINNED as u64;

/// Which of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    Values,
    Back,
}

/// Kernels over the pairs of each bag, counted as for bags of one size.
pub(super) fn pairs(at: &At, pass: Pass) -> (u64, u64, String) {
    let &At { n, b, w, .. } = at;
    let (heads, dims, values, kind, bins) = (w[1], w[2], w[3], w[7], w[8]);
    let drops = (w[9] > 0) as u64;
    // Rows of self-attention are instances; of tokens and landmarks there are as many as there is room for.
    let alike = at.counts(0, Dim::Tiles);
    let sides = [0, 1].map(|i| if alike { n } else { at.held(i) / (heads * dims).max(1) });
    let [own, other] = sides;
    // Operations for a column of an energy, and for what becomes of its sum.
    let (energy, of_sum) = match kind {
        0 => (2, 1),
        1 | 2 => (3, 3),
        3 | 8 => (3, 1),
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
    match pass {
        Pass::Forward => {
            let each = heads * (dims + values + 1 + 2 * distance + bins);
            let moved = own * (each + heads * record) + other * heads * (dims + values);
            (moved, of_pairs(2 * values + 4 + 4 * distance + binned + drops), sizes)
        }
        Pass::Values => {
            let added = at.bit(6, 0);
            let moved = own * heads * (dims + values * (1 + added)) + other * heads * (dims + values + record.max(4));
            (moved, of_pairs(2 * values + 2 + drops), sizes)
        }
        Pass::Back => {
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
