//! Costs of convolutions, pools and borders of images, and of norms.

use super::{At, Cost};

pub(super) fn cost(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let (rows, c) = (w(0), w(1));
    let plain = format!("{rows}x{c}");
    let image = || format!("{rows} of {}x{}", w(1), w(2));
    let planes = || format!("{rows}x{c}x{}", w(2));
    Some(Cost::of(match at.name() {
        "conv" => {
            let (from, to) = (w(2) * w(3), w(5) * w(6));
            let (kernel, weights, [added, bias, transposed]) =
                (w(7) * w(8), w(1) * w(4) * w(7) * w(8), [0, 1, 2].map(|bit| at.bit(12, bit)));
            // Plain, each output reads a window; transposed, each input writes one.
            let places = if transposed != 0 { from } else { to };
            let values = rows * (w(1) * from + w(4) * to * (1 + added)) + weights + bias * w(4);
            let sizes = format!("{rows} of {}x{}x{} to {}x{}x{}", w(1), w(2), w(3), w(4), w(5), w(6));
            (values, 2 * rows * places * w(1) * w(4) * kernel + rows * w(4) * to * (bias + added), sizes)
        }
        "conv_weights" => {
            let (small, large, weights) = (w(1) * w(2) * w(3), w(4) * w(5) * w(6), w(1) * w(4) * w(7) * w(8));
            let parts = rows.div_ceil(w(12).max(1));
            let sizes = format!("{rows} of {}x{}x{}, {}x{}x{}", w(1), w(2), w(3), w(4), w(5), w(6));
            (rows * (small + large) + parts * weights, 2 * rows * small * w(4) * w(7) * w(8), sizes)
        }
        "channel_sums" => {
            let parts = rows.div_ceil(w(3).max(1));
            (rows * c * w(2) + parts * c, rows * c * w(2), planes())
        }
        "max_pool" | "max_pool_grad" => {
            let (large, small, window) = (w(1) * w(2), w(3) * w(4), w(5) * w(6));
            let backward = (at.name() == "max_pool_grad") as u64;
            (rows * (large * (1 + backward * w(10)) + 2 * small), rows * small * window, image())
        }
        "plane_mean" => (rows * (c + 1), rows * (c + 1), plain),
        "plane_mean_grad" => (rows * (c * (1 + w(2)) + 1), rows * c * (1 + w(2)), plain),
        "upsample" => (rows * w(1) * w(2) * (1 + w(3) * w(3)), 0, image()),
        "upsample_grad" => {
            let (small, large) = (w(1) * w(2), w(1) * w(2) * w(3) * w(3));
            (rows * (large + small * (1 + w(4))), rows * (large + small * w(4)), image())
        }
        "pad" => (rows * (w(1) * w(2) + w(3) * w(4)), 0, image()),
        "pad_grad" => {
            let (from, to, edge) = (w(1) * w(2), w(3) * w(4), w(7) != 0);
            // Nothing comes back from a border of zeros.
            let read = if edge { to } else { from };
            (rows * (read + from * (1 + w(8))), rows * (read + from * w(8)), image())
        }
        "norm" => (rows * (2 * c + 2) + 2 * c * w(3), (6 + 2 * w(3)) * rows * c, plain),
        "norm_grad" => (rows * (c * (3 + w(3)) + 2) + c * w(2), (11 + 2 * w(2) + w(3)) * rows * c, plain),
        "norm_hat" => (rows * (3 * c + 2), 3 * rows * c, plain),
        "unit" => (rows * (2 * c + 1), 3 * rows * c, plain),
        "unit_grad" => (rows * (c * (3 + w(3)) + 1), (5 + w(3)) * rows * c, plain),
        "batch_parts" => {
            let values = rows * c * w(2);
            let parts = rows.div_ceil(w(3).max(1));
            (values * (1 + w(4)) + (parts + 1) * c, 3 * values, planes())
        }
        "batch_divide" => (2 * rows, rows, format!("{rows}")),
        "batch_gain" => ((3 + w(2)) * rows, (3 + w(2)) * rows, format!("{rows}")),
        "batch_running" => (3 * rows, (3 + w(3)) * rows, format!("{rows}")),
        "batch_apply" => {
            let values = rows * c * w(2);
            (2 * values + 4 * c, 3 * values + 3 * c, planes())
        }
        "batch_grad" => {
            let (values, given) = (rows * c * w(2), (w(4) != 0) as u64);
            let of_batch = 1 - given;
            let moved = values * (2 + of_batch + w(5)) + c * (2 + 3 * of_batch);
            (moved, values * (1 + 4 * of_batch + w(5)) + c * (4 + 4 * of_batch), planes())
        }
        _ => return None,
    }))
}
