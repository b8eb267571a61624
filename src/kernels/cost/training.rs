//! Costs of the update rules, of clipping and of the scale of the loss.

use super::{At, Cost};
use crate::kernels::scaling::PART;

pub(super) fn cost(at: &At) -> Option<Cost> {
    // The factor of clipping has a limit where the others have a number.
    let n = at.word(0);
    let line = format!("{n}");
    Some(Cost::of(match at.name() {
        "adam" => (7 * n, 14 * n, line),
        "radam" => (7 * n, 16 * n, line),
        "nesterov" => (5 * n, 7 * n, line),
        "lookahead" => (4 * n, 3 * n, line),
        "average" => (3 * n, 3 * n, line),
        "clip_factor" => (2, 4, "1".into()),
        "run_squares" => (65 * n, 128 * n, line),
        "norm_factor" => (2 * n + 1, n + 4, line),
        "scale_seed" => (2, 0, "1".into()),
        "unscale" => (2 * n + n.div_ceil(PART as u64) + 1, n, line),
        "scale_judge" => (n + 2 * at.word(1) + 6, 1, format!("{n} parts")),
        _ => return None,
    }))
}
