//! Costs of pools, attention pools, weights, routing, orders within bags, and windows.

use super::{At, Cost};

pub(super) fn cost(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let [n, b, t] = at.batch();
    let (rows, c) = (w(0), w(1));
    // Most kernels over tiles have the number of tiles where those over rows have that of rows.
    let instances = format!("{n}x{c}");
    let plain = format!("{rows}x{c}");
    Some(Cost::of(match at.name() {
        "max_part" => (n * c + 2 * t * c, n * c, instances),
        "max_end" => (2 * t * c + 2 * b * c, t * c, plain),
        "max_grad" => (n * c * (1 + w(3)) + 2 * b * c, b * c, instances),
        "sum_part" => (n * c * (1 + w(2)) + t * c, n * c * (1 + w(2)), instances),
        "sum_end" => (t * c + b * c, c * (t + b * w(2)), plain),
        "sum_grad" => (n * c * (1 + w(3)) + b * c, n * c * (1 + w(3)), instances),
        "lse_part" => (n * c + 2 * t * c, 4 * n * c, instances),
        "lse_end" => (2 * t * c + b * c, c * (5 * t + 3 * b), plain),
        "lse_grad" => (n * c * (2 + w(3)) + 2 * b * c, n * c * (4 + w(3)), instances),
        "softmax" => (2 * n * c + b * c, 2 * n * c, instances),
        "softmax_grad" => (n * c * (3 + w(2)) + b * c, n * c * (2 + w(2)), instances),
        "scale_rows" => (rows * (c * (2 + w(2)) + 1), rows * c * (1 + w(2)), plain),
        "row_dot" => (rows * (2 * c + 1 + w(2)), 2 * rows * c, plain),
        "weighted_part" => (n * (c + 1) + t * c, 2 * n * c, instances),
        "weighted_grad" => {
            let [x, add_x, weight, add_weight] = [0, 1, 2, 3].map(|bit| at.bit(2, bit));
            let values = x * n * (c * (1 + add_x) + 1) + weight * n * (c + 1 + add_weight) + b * c;
            (values, x * n * (c * (1 + add_x) + 1) + weight * n * (2 * c + 1), instances)
        }
        "mean_stats_part" => (n * c + 4 * t * c, 5 * n * c, instances),
        "mean_stats_end" => (4 * c * (t + b), 3 * c * (t + b), instances),
        "mean_part" => (n * c + c + t * c + 4 * b * c, 6 * n * c, instances),
        "mean_end" => (c * (t + 1 + 6 * b), c * (t + 5 * b), instances),
        "mean_grad" => (2 * n * c + c + t * c + 5 * b * c, 17 * n * c, instances),
        "power_part" => (n * c + c + 4 * t * c, 12 * n * c, instances),
        "power_end" => (c * (4 * t + 1 + 5 * b), c * (11 * t + 3 * b), instances),
        "power_grad" => (2 * n * c + c + t * c + 5 * b * c, 17 * n * c, instances),
        "critical_part" => {
            let (h, q, k) = (w(1), w(2), w(3));
            let sizes = format!("N={n} H={h} Q={q} C={k}");
            (n * (q + h + k) + t * k * (h + 2) + b * k * q, n * k * (2 * (q + h) + 5), sizes)
        }
        "critical_grad" => {
            let (q, k) = (w(1), w(2));
            let values = n * q * (2 + w(4)) + n * k + t * k * q + b * k * q;
            (values, n * k * (4 * q + 1), format!("N={n} Q={q} C={k}"))
        }
        "critical_end" => {
            let (q, k) = (w(1), w(2));
            let added = w(4);
            (k * q * (t + b * (1 + added)), k * q * (t + b * (1 + added)), format!("B={b} Q={q} C={k}"))
        }
        "critical_rows" | "critical_rows_grad" => {
            let (q, k, added) = (w(1), w(2), (at.name() == "critical_rows_grad") as u64);
            (b * k * (q * (2 + added) + 1), added * b * k * q, format!("B={b} Q={q} C={k}"))
        }
        "squash" => (rows * (2 * c + 1), rows * (3 * c + 5), plain),
        "squash_grad" => {
            let [of_row, of_length, added] = [0, 1, 2].map(|bit| at.bit(2, bit));
            let values = rows * (c * (2 + of_row + added) + of_length);
            (values, rows * (c * (3 + 4 * of_row + added) + 10), plain)
        }
        "bag_dot" => (n * (c + 1) + b * c, 2 * n * c, instances),
        "bag_dot_grad" => (n * (c * (1 + w(2)) + 1) + b * c, n * c * (1 + w(2)), instances),
        "sort_keys" => (2 * n, 0, format!("{n}")),
        "random_keys" => (n, 0, format!("{n}")),
        "sort_tile" => (2 * n, 0, format!("{n}")),
        "sort_merge" => (3 * n, 0, format!("{n} in runs of {c}")),
        "sort_top" => (2 * b * c, 0, format!("{c} of {b}")),
        "keep_count" => (n + t, 0, format!("{n}")),
        "keep_scan" => (2 * t + b + 1, 0, format!("{t}")),
        // All rows kept: the most there is to write.
        "keep_rows" => (2 * n + t, 0, format!("{n}")),
        // Rows of the bags of a window; c is the width of a head where there are heads, the next word.
        "window_softmax" => (2 * rows * w(2) * (c + 1), rows * w(2) * (c + 4), plain),
        "window_softmax_share" => (rows * w(2) * (4 * c + 2), rows * w(2) * (c + 2), plain),
        "window_max" | "window_max_share" | "window_pick" => (4 * rows * c, rows * c, plain),
        "window_take" => (2 * rows * c, 0, plain),
        "window_add" => (3 * rows * c, rows * c, plain),
        "window_mean" => (2 * rows * (c + 1), rows * c * if w(4) == 2 { 7 } else { 3 }, plain),
        "window_mean_share" => (rows * (2 * c * (1 + (w(4) == 2) as u64) + 2), 3 * rows * c, plain),
        _ => return pooling(at),
    }))
}

/// Attention pooling; h stands for hidden, l for inner, k for heads.
fn pooling(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let [n, b, t] = at.batch();
    let (values, flops, shape) = match at.name() {
        "pool_part" => {
            let (h, l, k, gated) = (w(1), w(2), w(3), w(4));
            let pre = l * (1 + gated);
            let values = n * (pre + h + k) + k * l + k + t * k * (h + 2);
            (values, n * (pre + gated * l + 2 * k * (l + h + 2)), [h, l, k])
        }
        "pool_end" => {
            let (h, k) = (w(1), w(2));
            (k * (t * (h + 2) + b * (h + 1)), k * (t * (2 * h + 5) + b * (h + 2)), [h, 0, k])
        }
        "pool_grad" => {
            let (h, k, [kept, wanted, added]) = (w(1), w(2), [0, 1, 2].map(|bit| at.bit(3, bit)));
            let values = n * h + b * k * (2 * h + 1) + n * k * (2 + kept) + wanted * n * h * (1 + added);
            let rows = (2 * k + added).saturating_sub(1) * wanted;
            (values, n * k * (2 * h + 4) + 2 * t * k * h + n * h * rows, [h, 0, k])
        }
        "score_back" => {
            let (l, k, gated, wanted, added) = (w(1), w(2), w(3), at.bit(4, 0), at.bit(4, 1));
            let pre = l * (1 + gated);
            let values = n * (pre + k) + k * l + wanted * n * pre * (1 + added) + t * k * (l + 1);
            let of_row = wanted * (l * (3 + 5 * gated) + added * pre);
            (values, n * (pre + k * (l * (4 + gated) + 1) + of_row), [0, l, k])
        }
        _ => return None,
    };
    let named = ["H", "L", "K"].iter().zip(shape).filter(|(_, v)| *v > 0);
    let named: Vec<String> = named.map(|(s, v)| format!("{s}={v}")).collect();
    Some(Cost::of((values, flops, format!("N={n} {}", named.join(" ")))))
}
