//! Host twins of `shaders/target_loss.wgsl`.

use super::cost::At;
pub use super::declared::target_loss::{EACH, ROWS};
use super::declared::target_loss::{Grad, Params};
use super::elementwise::keep_or_zero;
use super::host::for_rows;
use super::loss::log_sum_exp;
use super::{Args, Real, kernels};

kernels! {
    target_loss {
        /// The loss of each row.
        TARGET_LOSS = target_loss,
            |at @ &At { rows, c, w, .. }| {
                let flops = of_kind(w[2], [3, 11, 6, 3, 6]) + w[6] / 2;
                (rows * (2 * c + 1 + weights_of(c, w[6])), flops * rows * c, at.matrix())
            };
        /// Its gradient.
        TARGET_LOSS_GRAD = target_loss_grad, |at @ &At { rows, c, w, .. }| {
            let flops = of_kind(w[2], [3, 10, 8, 3, 5]) + w[8] + w[6] / 2;
            (rows * (c * (3 + w[8]) + weights_of(c, w[6])) + 1, flops * rows * c, at.matrix())
        };
    }
}

/// Weights of a row.
fn weights_of(cols: u64, weighted: u64) -> u64 {
    [0, 1, cols][(weighted as usize).min(2)]
}

/// Of squared error, margin loss, cross-entropy, absolute error, Huber loss.
fn of_kind(kind: u64, each: [u64; 5]) -> u64 {
    each[(kind as usize).min(4)]
}

fn target_loss<T: Real>(a: &Args<T>) {
    let p: Params = a.params();
    let cols = p.cols as usize;
    let (x, targets, weights) = (a.read(0), a.read(1), a.read(2));
    let (above, below, negatives) = (T::from_f32(p.above), T::from_f32(p.below), T::from_f32(p.negatives));
    for_rows(a.write(3), p.rows as usize, 1, 8 * cols, |r, out| {
        let at = r * cols..(r + 1) * cols;
        let row = &x[at.clone()];
        let lse = if p.kind == 2 { log_sum_exp(row) } else { T::ZERO };
        let share = |(v, y): (&T, &T)| match p.kind {
            0 => (*v - *y) * (*v - *y),
            1 => {
                let (short, long) = ((above - *v).larger(T::ZERO), (*v - below).larger(T::ZERO));
                *y * short * short + negatives * (T::ONE - *y) * long * long
            }
            2 => *y * (lse - *v),
            3 => (*v - *y).larger(*y - *v),
            _ => {
                let distance = (*v - *y).larger(*y - *v);
                let square = if distance < above { distance } else { above };
                square * (distance - square / T::new(2.0))
            }
        };
        let shares = row.iter().zip(&targets[at.clone()]).map(share);
        let loss: T = match p.weighted {
            EACH => shares.zip(&weights[at]).map(|(share, w)| share * *w).sum(),
            _ => shares.sum(),
        };
        let loss = if p.kind == 2 { loss } else { loss / T::new(cols as f64) };
        out[0] = match p.weighted {
            ROWS => loss * weights[r],
            EACH => loss,
            _ => loss / T::new(p.rows as f64),
        };
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
        let weight = |c: usize| if p.weighted == EACH { weights[r * cols + c] } else { T::ONE };
        let share = match p.weighted {
            ROWS => weights[r],
            EACH => T::ONE,
            _ => T::ONE / T::new(p.rows as f64),
        };
        let mut factor = upstream[0] * T::from_f32(scale) * share;
        let (mut lse, mut mass) = (T::ZERO, T::ZERO);
        if p.kind == 2 {
            (lse, mass) = (log_sum_exp(row), targets.iter().enumerate().map(|(c, y)| *y * weight(c)).sum());
        } else {
            factor = factor / T::new(cols as f64);
        }
        for (c, ((o, v), y)) in out.iter_mut().zip(row).zip(targets).enumerate() {
            let value = match p.kind {
                0 => two * (*v - *y) * weight(c),
                1 => {
                    let (short, long) = ((above - *v).larger(T::ZERO), (*v - below).larger(T::ZERO));
                    two * (negatives * (T::ONE - *y) * long - *y * short) * weight(c)
                }
                2 => mass * (*v - lse).exp() - *y * weight(c),
                _ => {
                    let (distance, most) = (*v - *y, if p.kind == 3 { T::ONE } else { above });
                    let inside = p.kind == 4 && distance <= most && -distance <= most;
                    let slope = match () {
                        () if inside => distance,
                        () if distance > T::ZERO => most,
                        () if distance < T::ZERO => -most,
                        () => T::ZERO,
                    };
                    slope * weight(c)
                }
            };
            *o = keep_or_zero(keep, *o) + factor * value;
        }
    });
}
