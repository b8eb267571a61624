//! Host twins of `shaders/reduce.wgsl`.

use super::attention_pool::dot;
use super::cost::At;
pub use super::declared::reduce::{ADD, OF_LOGS, OF_TOTAL};
use super::declared::reduce::{LogGradParams, RowGradParams, RowParams, SpreadParams, SquaresParams, SumRowsParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::{Args, Real, kernels};

kernels! {
    reduce {
        /// out[chunk, :] (+)= factor times the sum over the rows of each chunk.
        SUM_ROWS = sum_rows, |at @ &At { rows, c, w, .. }| {
            let parts = rows.div_ceil(w[4].clamp(1, rows.max(1)));
            (rows * c + parts * c * (1 + w[6]), rows * c, at.matrix())
        };
        /// The sum of each row.
        ROW_SUM = row_sum, |at @ &At { rows, c, .. }| (rows * c + rows, rows * c, at.matrix());
        /// out[r, c] (+)= x[r row_step + c col_step].
        SPREAD = spread,
            |at @ &At { rows, c, w, .. }| {
                (rows * c * (1 + w[4]) + if w[2] == 0 { c } else { rows }, rows * c * w[4], at.matrix())
            };
        /// Softmax over columns.
        ROW_SOFTMAX = row_softmax, |at @ &At { rows, c, .. }| (2 * rows * c, 5 * rows * c, at.matrix());
        /// Gradient of the softmax over columns.
        ROW_SOFTMAX_GRAD = row_softmax_grad,
            |at @ &At { rows, c, w, .. }| ((3 + w[2]) * rows * c, (4 + w[2]) * rows * c, at.matrix());
        /// ln of the softmax over columns, and the log-sum-exp.
        ROW_LOG_SOFTMAX = row_log_softmax,
            |at @ &At { rows, c, .. }| (rows * (2 * c + 1), rows * (6 * c + 2), at.matrix());
        /// Gradient of both.
        ROW_LOG_SOFTMAX_GRAD = row_log_softmax_grad, |at @ &At { rows, c, .. }| {
            let [of_logs, of_total, added] = [0, 1, 2].map(|bit| at.bit(2, bit));
            let values = rows * (c * (2 + of_logs + added) + of_total);
            (values, rows * (c * (2 + 2 * of_logs + added) + of_total), at.matrix())
        };
        /// The sum of the squares of each run of values.
        SQUARES = squares, |at @ &At { rows, c, .. }| (rows + rows.div_ceil(c.max(1)), 2 * rows, at.line());
    }
}

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
    if x.len() < 16 {
        return x.iter().map(|v| f(*v)).sum();
    }
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

/// The largest of x, in sixteen running ones.
#[inline(always)]
fn largest_of<T: Real>(x: &[T]) -> T {
    if x.len() < 16 {
        return x.iter().fold(T::LOWEST, |m, v| m.larger(*v));
    }
    let mut most = [T::LOWEST; 16];
    let blocks = x.chunks_exact(16);
    let rest = blocks.remainder().iter().fold(T::LOWEST, |m, v| m.larger(*v));
    for block in blocks {
        most.iter_mut().zip(block).for_each(|(m, v)| *m = m.larger(*v));
    }
    most.into_iter().fold(rest, T::larger)
}

/// Softmax of one row. Exponentials and their sum in one loop would be one after the other.
#[inline(always)]
pub(super) fn softmax_of<T: Real>(x: &[T], out: &mut [T]) {
    let largest = largest_of(x);
    out.iter_mut().zip(x).for_each(|(o, v)| *o = (*v - largest).exp());
    let total = sum_of(out, |v| v);
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
        let inner = dot(y, g);
        for ((o, y), g) in out.iter_mut().zip(y).zip(g) {
            *o = keep_or_zero(keep, *o) + *y * (*g - inner);
        }
    });
}

fn row_log_softmax<T: Real>(a: &Args<T>) {
    let p: RowParams = a.params();
    let cols = p.cols as usize;
    let (x, totals) = (a.read(0), Shared::new(a.write(2)));
    over_rows(a.write(1), p.rows as usize, cols, 8, |r, out| {
        let x = &x[r * cols..(r + 1) * cols];
        let largest = largest_of(x);
        let rest = sum_of(x, |v| (v - largest).exp()).ln();
        out.iter_mut().zip(x).for_each(|(o, v)| *o = (*v - largest) - rest);
        // SAFETY: one number a row.
        let total = unsafe { totals.part(r..r + 1) };
        total[0] = largest + rest;
    });
}

fn row_log_softmax_grad<T: Real>(a: &Args<T>) {
    let p: LogGradParams = a.params();
    let cols = p.cols as usize;
    let (y, g, of_total) = (a.read(0), a.read(1), a.read(2));
    let keep = T::new((p.flags & ADD != 0) as u32 as f64);
    let of_logs = p.flags & OF_LOGS != 0;
    over_rows(a.write(3), p.rows as usize, cols, 4, |r, out| {
        let row = r * cols..(r + 1) * cols;
        let mut total = if of_logs { g[row.clone()].iter().copied().sum() } else { T::ZERO };
        if p.flags & OF_TOTAL != 0 {
            total -= of_total[r];
        }
        for (c, (o, y)) in out.iter_mut().zip(&y[row]).enumerate() {
            let direct = if of_logs { g[r * cols + c] } else { T::ZERO };
            *o = keep_or_zero(keep, *o) + direct - y.exp() * total;
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
