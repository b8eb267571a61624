//! Costs of losses, and of Gaussian samples and densities.

use super::{At, Cost};

/// What trigamma and the like take depends on their argument: the most there is, counted in tens.
pub(super) fn cost(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let (rows, c) = (w(0), w(1));
    let matrix = format!("{rows}x{c}");
    let line = format!("{rows}");
    Some(Cost::of(match at.name() {
        "sigmoid_loss" => (2 * rows * c + weights(rows, c, w(4)) + 1, 6 * rows * c, matrix),
        "sigmoid_loss_grad" => ((3 + w(5)) * rows * c + weights(rows, c, w(4)) + 1, (4 + w(5)) * rows * c, matrix),
        "softmax_loss" => (rows * c + 2 * rows + 1, rows * (4 * c + 4), matrix),
        "softmax_loss_grad" => ((2 + w(3)) * rows * c + 2 * rows + 1, (6 + w(3)) * rows * c, matrix),
        "target_loss" => (rows * (2 * c + 1 + w(6)), of_kind(w(2), [3, 11, 6]) * rows * c, matrix),
        "target_loss_grad" => {
            let flops = of_kind(w(2), [3, 10, 8]) + w(8);
            (rows * (c * (3 + w(8)) + w(6)) + 1, flops * rows * c, matrix)
        }
        "hazard_loss" => (rows * (c + 3) + 1, 5 * rows * c, matrix),
        "hazard_grad" => (rows * (c * (2 + w(4)) + 3) + 1, 7 * rows * c, matrix),
        // Each event against all bags; how many events there are is not known here, at most all.
        "cox_terms" => (7 * rows, 4 * rows * rows, line),
        "cox_loss" => (3 * rows + 1, 2 * rows, line),
        "cox_grad" => ((6 + w(2)) * rows + 1, 4 * rows * rows, line),
        "pairs_loss" => (rows * (c + 2), rows * rows * (2 * c + 5), matrix),
        "pairs_grad" => (rows * (c * (2 + w(4)) + 1) + 1, rows * rows * (4 * c + 8), matrix),
        "gaussian_sample" => (3 * rows, 17 * rows, line),
        "gaussian_kl" => (rows * (2 * c + 1), 6 * rows * c, matrix),
        "gaussian_kl_grad" => (rows * (c * (2 + w(3)) + 1), 3 * rows * c, matrix),
        "gaussian_log" => (rows * (c + w(2) + w(3) + 1), rows * (6 * c + 2), matrix),
        "gaussian_log_grad" => {
            let out = [c, w(2), w(3)][(w(4) as usize).min(2)];
            (rows * (c + w(2) + w(3) + 1 + out * (1 + w(5))), rows * 8 * c, matrix)
        }
        "evidential_loss" => {
            let given = (w(2) >= c) as u64;
            let divergence = if c > 2 { 90 } else { 0 };
            (rows * (c + 1 + given) + 4, rows * (c + 1) * (60 + divergence), matrix)
        }
        "evidential_grad" => {
            let (given, added) = ((w(2) >= c) as u64, at.bit(3, 1));
            (rows * (c * (2 + added) + 1 + given) + 4, rows * (c + 1) * 180, matrix)
        }
        "dirichlet_uncertainty" => (rows * (c + 3), rows * (c + 1) * 150, matrix),
        "instance_pseudo" => (2 * rows, 3 * rows, line),
        "instance_pseudo_grad" => ((3 + w(1)) * rows, (6 + w(1)) * rows, line),
        "bag_pseudo" => (rows * (4 * c + 2), rows * (9 * c + 2), matrix),
        "bag_pseudo_grad" => (rows * (c * (4 + w(4)) + 1) + 1, rows * c * (8 + w(4)), matrix),
        _ => return None,
    }))
}

/// One for each bag, or one for each of its outputs.
fn weights(rows: u64, cols: u64, each: u64) -> u64 {
    if each != 0 { rows * cols } else { rows }
}

/// Squared error, margin loss, cross-entropy.
fn of_kind(kind: u64, each: [u64; 3]) -> u64 {
    each[(kind as usize).min(2)]
}
