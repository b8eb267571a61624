//! Host twins of `shaders/norm.wgsl`.

use super::cost::At;
use super::declared::norm::{NormGradParams, NormParams, UnitGradParams, UnitParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, simd};
use super::{Args, Real, kernels};

kernels! {
    norm {
        /// Runs with mean 0 and deviation 1, then gain and bias.
        NORM = norm,
            |at @ &At { rows, c, w, .. }| (rows * (2 * c + 2) + 2 * c * w[3], (6 + 2 * w[3]) * rows * c, at.matrix());
        /// Gradient of the input of `norm`.
        NORM_GRAD = norm_grad,
            |at @ &At { rows, c, w, .. }| {
                (rows * (c * (3 + w[3]) + 2) + c * w[2], (11 + 2 * w[2] + w[3]) * rows * c, at.matrix())
            };
        /// Gradient of the gain of `norm`, before it is summed over the rows.
        NORM_HAT = norm_hat, |at @ &At { rows, c, .. }| (rows * (3 * c + 2), 3 * rows * c, at.matrix());
        /// Rows of length 1.
        UNIT = unit, |at @ &At { rows, c, .. }| (rows * (2 * c + 1), 3 * rows * c, at.matrix());
        /// Gradient of `unit`.
        UNIT_GRAD = unit_grad,
            |at @ &At { rows, c, w, .. }| (rows * (c * (3 + w[3]) + 1), (5 + w[3]) * rows * c, at.matrix());
    }
}

/// Lanes of the running sums below: independent of each other, so that they go into vector registers.
const SUMS: usize = 16;

/// The sum of `f(c)` for c below `count`, in a fixed order.
#[inline(always)]
pub(super) fn sum_of<T: Real>(count: usize, f: impl Fn(usize) -> T) -> T {
    let mut sums = [T::ZERO; SUMS];
    let whole = count - count % SUMS;
    for start in (0..whole).step_by(SUMS) {
        for (i, s) in sums.iter_mut().enumerate() {
            *s += f(start + i);
        }
    }
    for c in whole..count {
        sums[c - whole] += f(c);
    }
    sums.into_iter().sum()
}

fn norm<T: Real>(a: &Args<T>) {
    let p: NormParams = a.params();
    let cols = p.cols as usize;
    let (x, gain, bias, stats) = (a.read(0), a.read(1), a.read(2), Shared::new(a.write(4)));
    let (count, eps) = (T::new(cols as f64), T::from_f32(p.eps));
    for_rows(a.write(3), p.rows as usize, cols, 4 * cols, |r, out| {
        let x = &x[r * cols..(r + 1) * cols];
        simd(
            #[inline(always)]
            || {
                let mean = sum_of(cols, |c| x[c]) / count;
                let variance = sum_of(cols, |c| (x[c] - mean) * (x[c] - mean)) / count;
                let inverse = T::ONE / (variance + eps).sqrt();
                if p.affine != 0 {
                    let affine = gain[..cols].iter().zip(&bias[..cols]);
                    for ((o, v), (gain, bias)) in out.iter_mut().zip(x).zip(affine) {
                        *o = (*v - mean) * inverse * *gain + *bias;
                    }
                } else {
                    out.iter_mut().zip(x).for_each(|(o, v)| *o = (*v - mean) * inverse);
                }
                // SAFETY: two values for each row.
                unsafe { stats.part(2 * r..2 * r + 2) }.copy_from_slice(&[mean, inverse]);
            },
        );
    });
}

fn norm_grad<T: Real>(a: &Args<T>) {
    let p: NormGradParams = a.params();
    let cols = p.cols as usize;
    let (x, stats, g, gain) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (count, keep) = (T::new(cols as f64), T::new(p.accumulate as f64));
    let gain = |c: usize| if p.affine != 0 { gain[c] } else { T::ONE };
    for_rows(a.write(4), p.rows as usize, cols, 6 * cols, |r, out| {
        let (x, g) = (&x[r * cols..(r + 1) * cols], &g[r * cols..(r + 1) * cols]);
        let (mean, inverse) = (stats[2 * r], stats[2 * r + 1]);
        simd(
            #[inline(always)]
            || {
                let first = sum_of(cols, |c| g[c] * gain(c)) / count;
                let second = sum_of(cols, |c| g[c] * gain(c) * (x[c] - mean) * inverse) / count;
                for (c, o) in out.iter_mut().enumerate() {
                    let hat = (x[c] - mean) * inverse;
                    *o = keep_or_zero(keep, *o) + inverse * (g[c] * gain(c) - first - hat * second);
                }
            },
        );
    });
}

fn norm_hat<T: Real>(a: &Args<T>) {
    let p: NormGradParams = a.params();
    let cols = p.cols as usize;
    let (x, stats, g) = (a.read(0), a.read(1), a.read(2));
    for_rows(a.write(3), p.rows as usize, cols, 2 * cols, |r, out| {
        let (x, g) = (&x[r * cols..(r + 1) * cols], &g[r * cols..(r + 1) * cols]);
        let (mean, inverse) = (stats[2 * r], stats[2 * r + 1]);
        out.iter_mut().zip(x).zip(g).for_each(|((o, x), g)| *o = *g * (*x - mean) * inverse);
    });
}

fn unit<T: Real>(a: &Args<T>) {
    let p: UnitParams = a.params();
    let cols = p.cols as usize;
    let (x, lengths, eps) = (a.read(0), Shared::new(a.write(2)), T::from_f32(p.eps));
    for_rows(a.write(1), p.rows as usize, cols, 2 * cols, |r, out| {
        let x = &x[r * cols..(r + 1) * cols];
        simd(
            #[inline(always)]
            || {
                let length = sum_of(cols, |c| x[c] * x[c]).sqrt();
                out.iter_mut().zip(x).for_each(|(o, v)| *o = *v / length.larger(eps));
                // SAFETY: one value for each row.
                unsafe { lengths.part(r..r + 1) }.fill(length);
            },
        );
    });
}

fn unit_grad<T: Real>(a: &Args<T>) {
    let p: UnitGradParams = a.params();
    let cols = p.cols as usize;
    let (y, lengths, g) = (a.read(0), a.read(1), a.read(2));
    let (eps, keep) = (T::from_f32(p.eps), T::new(p.accumulate as f64));
    for_rows(a.write(3), p.rows as usize, cols, 3 * cols, |r, out| {
        let (y, g) = (&y[r * cols..(r + 1) * cols], &g[r * cols..(r + 1) * cols]);
        let length = lengths[r];
        simd(
            #[inline(always)]
            || {
                let inner = if length > eps { sum_of(cols, |c| y[c] * g[c]) } else { T::ZERO };
                for ((o, y), g) in out.iter_mut().zip(y).zip(g) {
                    *o = keep_or_zero(keep, *o) + (*g - *y * inner) / length.larger(eps);
                }
            },
        );
    });
}
