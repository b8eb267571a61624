//! Host twins of `shaders/weighting.wgsl`.

use super::attention_pool::dot;
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::segment::tile;
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Scale {
    rows: u32,
    cols: u32,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Part {
    tiles: u32,
    cols: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Grad {
    tiles: u32,
    cols: u32,
    flags: u32,
}

kernel!(/// Rows times a number each.
    SCALE_ROWS, "weighting", scale_rows, Scale, [Read, Read, Write]);
kernel!(/// Inner products of the rows of two matrices.
    ROW_DOT, "weighting", row_dot, Scale, [Read, Read, Write]);
kernel!(/// Weighted sum of each tile.
    WEIGHTED_PART, "weighting", weighted_part, Part, [Read, Read, ReadIndex, Write]);
kernel!(/// Gradients of rows and weights from that of the bag.
    WEIGHTED_GRAD, "weighting", weighted_grad, Grad, [Read, Read, Read, ReadIndex, ReadIndex, Write, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&SCALE_ROWS, &ROW_DOT, &WEIGHTED_PART, &WEIGHTED_GRAD];

fn scale_rows<T: Real>(a: &Args<T>) {
    let p: Scale = a.params();
    let cols = p.cols as usize;
    let (x, weight, keep) = (a.read(0), a.read(1), T::new(p.accumulate as f64));
    for_rows(a.write(2), p.rows as usize, cols, cols, |r, out| {
        let row = &x[r * cols..(r + 1) * cols];
        out.iter_mut().zip(row).for_each(|(o, x)| *o = *x * weight[r] + keep_or_zero(keep, *o));
    });
}

fn row_dot<T: Real>(a: &Args<T>) {
    let p: Scale = a.params();
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
    let flag = |bit: u32| T::new((p.flags >> bit & 1) as f64);
    let (add_x, add_weight) = (flag(1), flag(3));
    parallel(p.tiles as usize, 64 * 2 * cols, |range| {
        for t in range {
            let (bag, rows) = tile(tiles, t);
            let d = &gradient[bag * cols..(bag + 1) * cols];
            let share = match p.flags & 16 != 0 {
                true => T::ONE / T::new((offsets[bag + 1] - offsets[bag]) as f64),
                false => T::ONE,
            };
            simd(
                #[inline(always)]
                || {
                    for r in rows {
                        if p.flags & 1 != 0 {
                            // SAFETY: tiles own their rows.
                            let out = unsafe { x_grad.part(r * cols..(r + 1) * cols) };
                            let factor = weight[r] * share;
                            out.iter_mut().zip(d).for_each(|(o, d)| *o = factor * *d + keep_or_zero(add_x, *o));
                        }
                        if p.flags & 4 != 0 {
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
