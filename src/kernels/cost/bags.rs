//! Costs of pools with weights and exponents, attention to critical rows, routing, samples and losses. Of each:
//! values moved, operations, and the sizes for people.

/// N instances, B bags, T tiles.
type Batch = [u64; 3];

pub(super) fn cost(name: &str, w: &dyn Fn(usize) -> u64, [n, b, t]: Batch) -> Option<(u64, u64, String)> {
    let (rows, c) = (w(0), w(1));
    // Most kernels over tiles have the number of tiles where those over rows have that of rows.
    let instances = format!("{n}x{c}");
    let plain = format!("{rows}x{c}");
    Some(match name {
        "scale_rows" => (rows * (c * (2 + w(2)) + 1), rows * c * (1 + w(2)), plain),
        "row_dot" => (rows * (2 * c + 1 + w(2)), 2 * rows * c, plain),
        "weighted_part" => (n * (c + 1) + t * c, 2 * n * c, instances),
        "weighted_grad" => (2 * n * (c + 1) + b * c, 4 * n * c, instances),
        "mean_stats_part" => (n * c + 4 * t * c, 5 * n * c, instances),
        "mean_stats_end" => (4 * c * (t + b), 3 * t * c, instances),
        "mean_part" => (n * c + t * c + 4 * b * c, 6 * n * c, instances),
        "mean_end" => (c * (t + 6 * b), t * c + b * c, instances),
        "mean_grad" => (2 * n * c + t * c + 5 * b * c, 17 * n * c, instances),
        "power_part" => (n * c + 4 * t * c, 12 * n * c, instances),
        "power_end" => (c * (4 * t + 5 * b), 9 * t * c, instances),
        "power_grad" => (2 * n * c + t * c + 5 * b * c, 17 * n * c, instances),
        "critical_part" => {
            let (h, q, k) = (w(1), w(2), w(3));
            let sizes = format!("N={n} H={h} Q={q} C={k}");
            (n * (q + h + k) + t * k * (h + 2), n * k * (2 * (q + h) + 1), sizes)
        }
        "critical_grad" => {
            let (q, k) = (w(1), w(2));
            (2 * n * q + n * k + t * k * q, 4 * n * k * q, format!("N={n} Q={q} C={k}"))
        }
        "critical_end" => {
            let (q, k) = (w(1), w(2));
            (k * q * (t + 2 * b), t * k * q, format!("B={b} Q={q} C={k}"))
        }
        "squash" => (rows * (2 * c + 1), 5 * rows * c, plain),
        "squash_grad" => (rows * (3 * c + 2), 7 * rows * c, plain),
        "bag_dot" => (n * (c + 1) + b * c, 2 * n * c, instances),
        "bag_dot_grad" => (n * (c * (1 + w(2)) + 1) + b * c, n * c * (1 + w(2)), instances),
        "gaussian_sample" => (3 * rows, 17 * rows, format!("{rows}")),
        "gaussian_kl" => (rows * (2 * c + 1), 6 * rows * c, plain),
        "gaussian_kl_grad" => (rows * (c * (2 + w(3)) + 1), 3 * rows * c, plain),
        "hazard_loss" => (b * (c + 3), 5 * b * c, plain),
        "hazard_grad" => (b * (2 * c + 4), 7 * b * c, plain),
        // Each event against all bags; how many events there are is not known here, at most all.
        "cox_terms" => (4 * b, 4 * b * b, format!("{b}")),
        "cox_loss" => (3 * b + 1, 2 * b, format!("{b}")),
        "cox_grad" => (5 * b + 1, 4 * b * b, format!("{b}")),
        "pairs_loss" => (rows * (c + 2), rows * rows * (2 * c + 1), plain),
        "pairs_grad" => (rows * (2 * c + 2), rows * rows * (4 * c + 2), plain),
        "target_loss" => (rows * (2 * c + 1 + w(6)), 5 * rows * c, plain),
        "target_loss_grad" => (rows * (3 * c + 1 + w(6)), 5 * rows * c, plain),
        "radam" => (7 * rows, 16 * rows, format!("{rows}")),
        "lookahead" => (4 * rows, 3 * rows, format!("{rows}")),
        "average" => (3 * rows, 3 * rows, format!("{rows}")),
        "run_squares" => (65 * rows, 128 * rows, format!("{rows}")),
        "norm_factor" => (2 * rows, rows, format!("{rows}")),
        // Rows of the bags of a window; c is the width of a head where there are heads, the next word.
        "window_softmax" => (2 * rows * w(2) * (c + 1), rows * w(2) * (c + 4), plain),
        "window_softmax_share" => (rows * w(2) * (4 * c + 2), rows * w(2) * (c + 2), plain),
        "window_max" | "window_max_share" => (4 * rows * c, rows * c, plain),
        "window_mean" => (2 * rows * (c + 1), rows * c * if w(4) == 2 { 7 } else { 3 }, plain),
        "window_mean_share" => (rows * (2 * c * (1 + (w(4) == 2) as u64) + 2), 3 * rows * c, plain),
        _ => return None,
    })
}
