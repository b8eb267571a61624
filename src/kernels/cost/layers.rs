//! Costs of images, norms, rows by index, orders, and self-attention. Of each: values moved, operations, and the
//! sizes for people.

pub(super) fn cost(name: &str, w: &dyn Fn(usize) -> u64, [n, b, t]: [u64; 3]) -> Option<(u64, u64, String)> {
    let (rows, c) = (w(0), w(1));
    let plain = format!("{rows}x{c}");
    Some(match name {
        "conv" => {
            let (from, to) = (w(2) * w(3), w(5) * w(6));
            let (kernel, weights, flags) = (w(7) * w(8), w(1) * w(4) * w(7) * w(8), w(12));
            // Plain, each output reads a window; transposed, each input writes one.
            let places = if flags & 4 != 0 { from } else { to };
            let values = rows * (w(1) * from + w(4) * to * (1 + (flags & 1))) + weights + (flags >> 1 & 1) * w(4);
            let sizes = format!("{rows} of {}x{}x{} to {}x{}x{}", w(1), w(2), w(3), w(4), w(5), w(6));
            (values, 2 * rows * places * w(1) * w(4) * kernel, sizes)
        }
        "conv_weights" => {
            let (small, large, weights) = (w(1) * w(2) * w(3), w(4) * w(5) * w(6), w(1) * w(4) * w(7) * w(8));
            let parts = rows.div_ceil(w(12).max(1));
            let sizes = format!("{rows} of {}x{}x{}, {}x{}x{}", w(1), w(2), w(3), w(4), w(5), w(6));
            (rows * (small + large) + parts * weights, 2 * rows * small * w(4) * w(7) * w(8), sizes)
        }
        "channel_sums" => {
            let parts = rows.div_ceil(w(3).max(1));
            (rows * c * w(2) + parts * c, rows * c * w(2), format!("{rows}x{c}x{}", w(2)))
        }
        "max_pool" | "max_pool_grad" => {
            let (large, small, window) = (w(1) * w(2), w(3) * w(4), w(5) * w(6));
            let backward = (name == "max_pool_grad") as u64;
            let sizes = format!("{rows} of {}x{}", w(1), w(2));
            (rows * (large * (1 + backward * w(10)) + 2 * small), rows * small * window, sizes)
        }
        "plane_mean" => (rows * (c + 1), rows * c, plain),
        "plane_mean_grad" => (rows * (c * (1 + w(2)) + 1), rows * c, plain),
        "upsample" | "upsample_grad" => {
            let (small, large) = (w(1) * w(2), w(1) * w(2) * w(3) * w(3));
            let sizes = format!("{rows} of {}x{}", w(1), w(2));
            match name {
                "upsample" => (rows * (small + large), 0, sizes),
                _ => (rows * (large + small * (1 + w(4))), rows * large, sizes),
            }
        }
        "pad" => (rows * (w(1) * w(2) + w(3) * w(4)), 0, format!("{rows} of {}x{}", w(1), w(2))),
        "pad_grad" => (
            rows * (w(1) * w(2) * (1 + w(8)) + w(3) * w(4)),
            rows * w(1) * w(2),
            format!("{rows} of {}x{}", w(1), w(2)),
        ),
        "norm" => (rows * (2 * c + 2) + 2 * c * w(3), 7 * rows * c, plain),
        "norm_grad" => (rows * (c * (3 + w(3)) + 2) + c * w(2), 9 * rows * c, plain),
        "norm_hat" => (3 * rows * c, 3 * rows * c, plain),
        "unit" => (rows * (2 * c + 1), 3 * rows * c, plain),
        "unit_grad" => (rows * (c * (3 + w(3)) + 1), 5 * rows * c, plain),
        "batch_parts" => {
            let values = rows * c * w(2);
            let parts = rows.div_ceil(w(3).max(1));
            (values * (1 + w(4)) + parts * c, 3 * values, format!("{rows}x{c}x{}", w(2)))
        }
        "batch_divide" => (2 * rows, rows, format!("{rows}")),
        "batch_gain" => (3 * rows, 3 * rows, format!("{rows}")),
        "batch_apply" => (2 * rows * c * w(2) + 4 * c, 4 * rows * c * w(2), format!("{rows}x{c}x{}", w(2))),
        "batch_grad" => {
            let values = rows * c * w(2);
            (values * (3 + w(5)) + 5 * c, 8 * values, format!("{rows}x{c}x{}", w(2)))
        }
        "gather_rows" => (rows * (2 * w(2) + 1), 0, format!("{rows}x{}", w(2))),
        "scatter_rows" => {
            let (picked, cols) = (w(0), w(2));
            (picked * (cols + 1) + w(1) * cols * (1 + w(3)), picked * cols, format!("{picked}x{cols}"))
        }
        "copy_columns" => (rows * c * (2 + w(6)), rows * c * w(6), plain),
        "sort_keys" => (2 * n, 0, format!("{n}")),
        "random_keys" => (n, 0, format!("{n}")),
        "sort_tile" => (2 * n, 0, format!("{n}")),
        "sort_merge" => (3 * n, 0, format!("{n} in runs of {c}")),
        "sort_top" => (2 * b * c, 0, format!("{c} of {b}")),
        "keep_count" => (n + t, 0, format!("{n}")),
        "keep_scan" => (2 * t + b, 0, format!("{t}")),
        "keep_rows" => (2 * n + t, 0, format!("{n}")),
        "distance_record" => {
            let (heads, dims) = (w(1), w(2));
            let values = rows * (2 * heads * dims + 12 * heads + 2);
            (values, 8 * rows * heads * dims, format!("N={n} heads={heads} d={dims}"))
        }
        "distance_fold" => {
            let (heads, cols) = (w(1), w(2));
            (
                rows * heads * (2 * cols + 2) + 2 * heads * cols,
                4 * rows * heads * cols,
                format!("{rows}x{heads}x{cols}"),
            )
        }
        "distance_prototypes" => {
            let (heads, cols) = (w(1), w(2));
            let values = n * heads * (cols + 2) + 2 * t * heads * cols;
            (values, 4 * n * heads * cols, format!("{n}x{heads}x{cols}"))
        }
        "attention_spans" => (8 * t, 0, format!("{t}")),
        "attention_alpha" => (3 * rows, rows, format!("{rows}")),
        "attention_record" => {
            let (heads, values) = (w(1), w(2));
            (rows * heads * (2 * values + 6), 2 * rows * heads * values, format!("{rows}x{heads}x{values}"))
        }
        _ => return pairs(name, w, [n, b]),
    })
}

/// Kernels over the pairs of each bag, counted as for bags of one size.
fn pairs(name: &str, w: &dyn Fn(usize) -> u64, [n, b]: [u64; 2]) -> Option<(u64, u64, String)> {
    let (heads, dims, values) = (w(1), w(2), w(3));
    // Operations for a column of an energy: a product and a sum, or a difference besides.
    let energy = match w(7) {
        0 | 6 => 2,
        1..=3 => 3,
        _ => 5,
    };
    let count = n * n / b.max(1) * heads;
    let sizes = format!("N={n} heads={heads} d={dims}");
    Some(match name {
        "attention_forward" => {
            (n * heads * (2 * dims + 2 * values + 1), count * (energy * dims + 2 * values + 4), sizes)
        }
        "attention_values" => {
            (n * heads * (2 * dims + 2 * values + 4), count * (energy * dims + 2 * values + 2), sizes)
        }
        "attention_back" => {
            (n * heads * (3 * dims + 2 * values + 4), count * (2 * energy * dims + 2 * values + 6), sizes)
        }
        _ => return None,
    })
}
