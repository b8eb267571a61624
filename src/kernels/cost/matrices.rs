//! Costs of products, elementwise work, reductions of rows, dropout and rows by index.

use super::{At, Cost};

pub(super) fn cost(at: &At) -> Option<Cost> {
    let w = |i: usize| at.word(i);
    let (rows, c) = (w(0), w(1));
    let matrix = format!("{rows}x{c}");
    let line = format!("{rows}");
    Some(Cost::of(match at.name() {
        "matmul" | "matmul_coop" => return Some(product(at)),
        "unpack" => return Some(Cost { shape: matrix, bytes: rows * c * (at.size(0) + 4), flops: 0 }),
        "transpose" => (2 * rows * c, 0, matrix),
        "activate" => (2 * rows, rows * (w(1) != 0) as u64, line),
        "activate_through" => (3 * rows, 2 * rows, line),
        "activate_grad" => ((3 + w(3)) * rows, (2 + w(3)) * rows, line),
        "logit" => (2 * rows, 3 * rows, line),
        "logit_grad" => ((3 + w(2)) * rows, (3 + w(2)) * rows, line),
        "add_scaled" => (3 * rows, 3 * rows, line),
        "add_to" => ((2 + w(2)) * rows, (1 + w(2)) * rows, line),
        "multiply" => ((3 + w(1)) * rows, (1 + w(1)) * rows, line),
        "affine" => (2 * rows, 2 * rows, line),
        "below" => (2 * rows, rows, line),
        "fill" => (rows, 0, line),
        "dropout" => ((2 + w(7)) * rows, (1 + w(7)) * rows, line),
        "dropout_channels" => ((2 + w(7)) * rows, (1 + w(7)) * rows, format!("{rows} by {}", w(8))),
        "sum_rows" => {
            let parts = rows.div_ceil(w(4).clamp(1, rows.max(1)));
            (rows * c + parts * c * (1 + w(6)), rows * c, matrix)
        }
        "add_parts" => {
            let (out, bias, add) = (rows * c, w(3) >> 1 & 1, w(3) & 1);
            let shape = format!("{} of {matrix}", w(6));
            (out * (w(6) + 1 + add) + bias * c, out * (w(6) - 1 + bias + (w(4) != 0) as u64 + add), shape)
        }
        "row_sum" => (rows * c + rows, rows * c, matrix),
        "spread" => (rows * c * (1 + w(4)) + if w(2) == 0 { c } else { rows }, rows * c * w(4), matrix),
        "row_softmax" => (2 * rows * c, 5 * rows * c, matrix),
        "row_softmax_grad" => ((3 + w(2)) * rows * c, (4 + w(2)) * rows * c, matrix),
        "squares" => (rows + rows.div_ceil(c.max(1)), 2 * rows, line),
        "gather_rows" => (rows * (2 * w(2) + 1), 0, format!("{rows}x{}", w(2))),
        "scatter_rows" => {
            let (picked, cols) = (rows, w(2));
            (picked * (cols + 1) + w(1) * cols * (1 + w(3)), picked * cols, format!("{picked}x{cols}"))
        }
        "copy_columns" => (rows * c * (2 + w(6)), rows * c * w(6), matrix),
        _ => return None,
    }))
}

fn product(at: &At) -> Cost {
    let w = |i: usize| at.word(i);
    let (m, cols, k, flags) = (w(0), w(1), w(2), w(6));
    let layers = k.div_ceil(w(9).max(1)).max(1);
    let bias = flags >> 1 & 1;
    let sides = m * k * at.size(0) + k * cols * at.size(1);
    let out = 4 * (m * cols * layers * (1 + (flags & 1)) + bias * cols);
    let mark = |bit: u64| if flags & bit != 0 { "^T" } else { "" };
    let rounded = if flags & 16 != 0 { " mixed" } else { "" };
    let shape = format!("[{m}x{k}]{} [{k}x{cols}]{}{rounded}", mark(4), mark(8));
    Cost { shape, bytes: sides + out, flops: m * cols * (2 * k + bias + (w(7) != 0) as u64) }
}
