//! Host twins of `shaders/weighting.wgsl`.

use super::attention_pool::dot;
use super::cost::At;
pub use super::declared::weighting::{ADD, MEAN, WANTED, WEIGHT_ADD, WEIGHT_WANTED};
use super::declared::weighting::{Dot, Grad, Part, Scale};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::segment::tile;
use super::{Args, Real, kernels};

kernels! {
    weighting {
        /// Rows times a number each, or one for all.
        SCALE_ROWS = scale_rows, |at @ &At { rows, c, w, .. }| {
            let weights = if w[3] == 0 { rows } else { 1 };
            (rows * c * (2 + w[2]) + weights, rows * c * (1 + w[2]), at.matrix())
        };
        /// Inner products of the rows of two matrices.
        ROW_DOT = row_dot, |at @ &At { rows, c, w, .. }| (rows * (2 * c + 1 + w[2]), 2 * rows * c, at.matrix());
        /// Weighted sum of each tile.
        WEIGHTED_PART = weighted_part, |at @ &At { n, t, c, .. }| (n * (c + 1) + t * c, 2 * n * c, at.by_instances());
        /// Gradients of rows and weights from that of the bag.
        WEIGHTED_GRAD = weighted_grad, |at @ &At { n, b, c, .. }| {
            let [x, add_x, weight, add_weight] = [0, 1, 2, 3].map(|bit| at.bit(2, bit));
            let values = x * n * (c * (1 + add_x) + 1) + weight * n * (c + 1 + add_weight) + b * c;
            (values, x * n * (c * (1 + add_x) + 1) + weight * n * (2 * c + 1), at.by_instances())
        };
    }
}

fn scale_rows<T: Real>(a: &Args<T>) {
    let p: Scale = a.params();
    let cols = p.cols as usize;
    let (x, weight, keep) = (a.read(0), a.read(1), T::new(p.accumulate as f64));
    for_rows(a.write(2), p.rows as usize, cols, cols, |r, out| {
        let (row, weight) = (&x[r * cols..(r + 1) * cols], weight[if p.one == 0 { r } else { 0 }]);
        out.iter_mut().zip(row).for_each(|(o, x)| *o = *x * weight + keep_or_zero(keep, *o));
    });
}

fn row_dot<T: Real>(a: &Args<T>) {
    let p: Dot = a.params();
    let cols = p.cols as usize;
    let (x, y, keep) = (a.read(0), a.read(1), T::new(p.accumulate as f64));
    for_rows(a.write(2), p.rows as usize, 1, cols, |r, out| {
        let sum = simd(
            #[inline(always)]
            || dot(&x[r * cols..(r + 1) * cols], &y[r * cols..(r + 1) * cols]),
        );
        out[0] = sum + keep_or_zero(keep, out[0]);
    });
}

fn weighted_part<T: Real>(a: &Args<T>) {
    let p: Part = a.params();
    let cols = p.cols as usize;
    let (x, weight, tiles) = (a.read(0), a.read(1), a.indices(2));
    for_rows(a.write(3), p.tiles as usize, cols, 64 * cols, |t, out| {
        let (_, rows) = tile(tiles, t);
        out.fill(T::ZERO);
        simd(
            #[inline(always)]
            || {
                for r in rows {
                    let row = &x[r * cols..(r + 1) * cols];
                    out.iter_mut().zip(row).for_each(|(o, x)| *o += *x * weight[r]);
                }
            },
        );
    });
}

fn weighted_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (x, weight, gradient, tiles, offsets) = (a.read(0), a.read(1), a.read(2), a.indices(3), a.indices(4));
    let (x_grad, weight_grad) = (Shared::new(a.write(5)), Shared::new(a.write(6)));
    let [add_x, add_weight] = [ADD, WEIGHT_ADD].map(|bit| T::new((p.flags & bit != 0) as u32 as f64));
    parallel(p.tiles as usize, 64 * 2 * cols, |range| {
        for t in range {
            let (bag, rows) = tile(tiles, t);
            let d = &gradient[bag * cols..(bag + 1) * cols];
            let share = match p.flags & MEAN != 0 {
                true => T::ONE / T::new((offsets[bag + 1] - offsets[bag]) as f64),
                false => T::ONE,
            };
            simd(
                #[inline(always)]
                || {
                    for r in rows {
                        if p.flags & WANTED != 0 {
                            // SAFETY: tiles own their rows.
                            let out = unsafe { x_grad.part(r * cols..(r + 1) * cols) };
                            let factor = weight[r] * share;
                            out.iter_mut().zip(d).for_each(|(o, d)| *o = factor * *d + keep_or_zero(add_x, *o));
                        }
                        if p.flags & WEIGHT_WANTED != 0 {
                            // SAFETY: as above.
                            let out = unsafe { weight_grad.part(r..r + 1) };
                            let sum = dot(&x[r * cols..(r + 1) * cols], d);
                            out[0] = sum * share + keep_or_zero(add_weight, out[0]);
                        }
                    }
                },
            );
        }
    });
}
