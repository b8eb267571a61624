//! Host twins of `shaders/reduce.wgsl`.

use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SumRowsParams {
    rows: u32,
    cols: u32,
    stride: u32,
    first: u32,
    chunk: u32,
    factor: f32,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct RowParams {
    rows: u32,
    cols: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct RowGradParams {
    rows: u32,
    cols: u32,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SpreadParams {
    rows: u32,
    cols: u32,
    row_step: u32,
    col_step: u32,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SquaresParams {
    count: u32,
    each: u32,
}

kernel!(/// out[chunk, :] (+)= factor times the sum over the rows of each chunk.
    SUM_ROWS, "reduce", sum_rows, SumRowsParams, [Read, Write]);
kernel!(/// The sum of each row.
    ROW_SUM, "reduce", row_sum, RowParams, [Read, Write]);
kernel!(/// out[r, c] (+)= x[r row_step + c col_step].
    SPREAD, "reduce", spread, SpreadParams, [Read, Write]);
kernel!(/// Softmax over columns.
    ROW_SOFTMAX, "reduce", row_softmax, RowParams, [Read, Write]);
kernel!(/// Gradient of the softmax over columns.
    ROW_SOFTMAX_GRAD, "reduce", row_softmax_grad, RowGradParams, [Read, Read, Write]);
kernel!(/// The sum of the squares of each run of values.
    SQUARES, "reduce", squares, SquaresParams, [Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&SUM_ROWS, &ROW_SUM, &SPREAD, &ROW_SOFTMAX, &ROW_SOFTMAX_GRAD, &SQUARES];

fn sum_rows<T: Real>(a: &Args<T>) {
    let p: SumRowsParams = a.params();
    let (rows, cols, stride, first) = (p.rows as usize, p.cols as usize, p.stride as usize, p.first as usize);
    let chunk = (p.chunk as usize).min(rows.max(1));
    let (x, out) = (a.read(0), a.write(1));
    let (factor, keep) = (T::from_f32(p.factor), T::new(p.accumulate as f64));
    for_rows(out, rows.div_ceil(chunk).max(1), cols, chunk * cols, |part, out| {
        let (start, end) = (part * chunk, ((part + 1) * chunk).min(rows));
        // Over the columns a run at a time, so that the running sums stay in the first-level cache.
        simd(
            #[inline(always)]
            || {
                out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
                for r in start..end {
                    let row = &x[r * stride + first..r * stride + first + cols];
                    for (o, v) in out.iter_mut().zip(row) {
                        *o += factor * *v;
                    }
                }
            },
        );
    });
}

/// The sum of f(x) over x in sixteen running sums, so that it vectorises.
#[inline(always)]
fn sum_of<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut sums = [T::ZERO; 16];
    let blocks = x.chunks_exact(16);
    let rest: T = blocks.remainder().iter().map(|v| f(*v)).sum();
    for block in blocks {
        sums.iter_mut().zip(block).for_each(|(s, v)| *s += f(*v));
    }
    sums.iter().copied().sum::<T>() + rest
}

fn row_sum<T: Real>(a: &Args<T>) {
    let p: RowParams = a.params();
    let cols = p.cols as usize;
    let x = a.read(0);
    for_rows(a.write(1), p.rows as usize, 1, cols, |r, out| {
        out[0] = simd(
            #[inline(always)]
            || sum_of(&x[r * cols..(r + 1) * cols], |v| v),
        );
    });
}

fn spread<T: Real>(a: &Args<T>) {
    let p: SpreadParams = a.params();
    let (cols, row_step, col_step) = (p.cols as usize, p.row_step as usize, p.col_step as usize);
    let x = a.read(0);
    let keep = T::new(p.accumulate as f64);
    for_rows(a.write(1), p.rows as usize, cols, cols, |r, out| {
        let add = |o: &mut T, v: T| *o = keep_or_zero(keep, *o) + v;
        match col_step {
            0 => out.iter_mut().for_each(|o| add(o, x[r * row_step])),
            1 => out.iter_mut().zip(&x[r * row_step..]).for_each(|(o, v)| add(o, *v)),
            _ => out.iter_mut().enumerate().for_each(|(c, o)| add(o, x[r * row_step + c * col_step])),
        }
    });
}

/// Softmax of one row.
#[inline(always)]
pub(super) fn softmax_of<T: Real>(x: &[T], out: &mut [T]) {
    let largest = x.iter().fold(T::LOWEST, |m, v| m.larger(*v));
    let mut total = T::ZERO;
    for (o, v) in out.iter_mut().zip(x) {
        *o = (*v - largest).exp();
        total += *o;
    }
    out.iter_mut().for_each(|o| *o = *o / total);
}

fn row_softmax<T: Real>(a: &Args<T>) {
    let p: RowParams = a.params();
    let cols = p.cols as usize;
    let x = a.read(0);
    over_rows(a.write(1), p.rows as usize, cols, 8, |r, out| softmax_of(&x[r * cols..(r + 1) * cols], out));
}

/// As [`for_rows`] for rows that may be short: vectors are chosen once for many of them.
fn over_rows<T: Real>(out: &mut [T], rows: usize, cols: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let shared = Shared::new(out);
    parallel(rows, work * cols, |range| {
        simd(
            #[inline(always)]
            || {
                for r in range {
                    // SAFETY: each row is visited once.
                    f(r, unsafe { shared.part(r * cols..(r + 1) * cols) });
                }
            },
        );
    });
}

fn row_softmax_grad<T: Real>(a: &Args<T>) {
    let p: RowGradParams = a.params();
    let cols = p.cols as usize;
    let (y, g) = (a.read(0), a.read(1));
    let keep = T::new(p.accumulate as f64);
    over_rows(a.write(2), p.rows as usize, cols, 2, |r, out| {
        let (y, g) = (&y[r * cols..(r + 1) * cols], &g[r * cols..(r + 1) * cols]);
        let inner: T = y.iter().zip(g).map(|(y, g)| *y * *g).sum();
        for ((o, y), g) in out.iter_mut().zip(y).zip(g) {
            *o = keep_or_zero(keep, *o) + *y * (*g - inner);
        }
    });
}

fn squares<T: Real>(a: &Args<T>) {
    let p: SquaresParams = a.params();
    let (count, each) = (p.count as usize, p.each as usize);
    let x = &a.read(0)[..count];
    let out = Shared::new(a.write(1));
    parallel(count.div_ceil(each), each, |range| {
        for i in range {
            // SAFETY: each part is one value, visited once.
            let out = unsafe { out.part(i..i + 1) };
            out[0] = simd(
                #[inline(always)]
                || sum_of(&x[i * each..((i + 1) * each).min(count)], |v| v * v),
            );
        }
    });
}
