//! Host twins of `shaders/target_loss.wgsl`.

use super::cost::At;
use super::declared::target_loss::{Grad, Params};
use super::elementwise::keep_or_zero;
use super::host::for_rows;
use super::{Args, Real, kernels};

kernels! {
    target_loss {
        /// The loss of each row.
        TARGET_LOSS = target_loss,
            |at @ &At { rows, c, w, .. }| {
                (rows * (2 * c + 1 + w[6]), of_kind(w[2], [3, 11, 6]) * rows * c, at.matrix())
            };
        /// Its gradient.
        TARGET_LOSS_GRAD = target_loss_grad, |at @ &At { rows, c, w, .. }| {
            let flops = of_kind(w[2], [3, 10, 8]) + w[8];
            (rows * (c * (3 + w[8]) + w[6]) + 1, flops * rows * c, at.matrix())
        };
    }
}

/// Of squared error, margin loss, cross-entropy.
fn of_kind(kind: u64, each: [u64; 3]) -> u64 {
    each[(kind as usize).min(2)]
}

fn log_sum_exp<T: Real>(row: &[T]) -> T {
    let largest = row.iter().fold(T::LOWEST, |m, v| v.larger(m));
    largest + row.iter().map(|v| (*v - largest).exp()).sum::<T>().ln()
}

fn target_loss<T: Real>(a: &Args<T>) {
    let p: Params = a.params();
    let cols = p.cols as usize;
    let (x, targets, weights) = (a.read(0), a.read(1), a.read(2));
    let (above, below, negatives) = (T::from_f32(p.above), T::from_f32(p.below), T::from_f32(p.negatives));
    for_rows(a.write(3), p.rows as usize, 1, 8 * cols, |r, out| {
        let row = &x[r * cols..(r + 1) * cols];
        let pairs = row.iter().zip(&targets[r * cols..(r + 1) * cols]);
        let mean = T::ONE / T::new(cols as f64);
        let loss = match p.kind {
            0 => pairs.map(|(v, y)| (*v - *y) * (*v - *y)).sum::<T>() * mean,
            1 => {
                let term = |(v, y): (&T, &T)| {
                    let (short, long) = ((above - *v).larger(T::ZERO), (*v - below).larger(T::ZERO));
                    *y * short * short + negatives * (T::ONE - *y) * long * long
                };
                pairs.map(term).sum::<T>() * mean
            }
            _ => {
                let lse = log_sum_exp(row);
                pairs.map(|(v, y)| *y * (lse - *v)).sum()
            }
        };
        out[0] = if p.weighted != 0 { loss * weights[r] } else { loss / T::new(p.rows as f64) };
    });
}

fn target_loss_grad<T: Real>(a: &Args<T>) {
    let (p, Grad { scale, accumulate, .. }): (Params, _) = (a.params(), a.params());
    let cols = p.cols as usize;
    let (x, targets, weights, upstream) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (above, below, negatives) = (T::from_f32(p.above), T::from_f32(p.below), T::from_f32(p.negatives));
    let (keep, two) = (T::new(accumulate as f64), T::new(2.0));
    for_rows(a.write(4), p.rows as usize, cols, 8 * cols, |r, out| {
        let (row, targets) = (&x[r * cols..(r + 1) * cols], &targets[r * cols..(r + 1) * cols]);
        let share = if p.weighted != 0 { weights[r] } else { T::ONE / T::new(p.rows as f64) };
        let mut factor = upstream[0] * T::from_f32(scale) * share;
        let (mut lse, mut mass) = (T::ZERO, T::ZERO);
        if p.kind == 2 {
            (lse, mass) = (log_sum_exp(row), targets.iter().copied().sum());
        } else {
            factor = factor / T::new(cols as f64);
        }
        for ((o, v), y) in out.iter_mut().zip(row).zip(targets) {
            let value = match p.kind {
                0 => two * (*v - *y),
                1 => {
                    let (short, long) = ((above - *v).larger(T::ZERO), (*v - below).larger(T::ZERO));
                    two * (negatives * (T::ONE - *y) * long - *y * short)
                }
                _ => mass * (*v - lse).exp() - *y,
            };
            *o = keep_or_zero(keep, *o) + factor * value;
        }
    });
}
