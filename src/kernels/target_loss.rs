//! Host twins of `shaders/target_loss.wgsl`.

use super::elementwise::keep_or_zero;
use super::host::for_rows;
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Params {
    rows: u32,
    cols: u32,
    kind: u32,
    above: f32,
    below: f32,
    negatives: f32,
    weighted: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Grad {
    of: Params,
    scale: f32,
    accumulate: u32,
}

kernel!(/// The loss of each row.
    TARGET_LOSS, "target_loss", target_loss, Params, [Read, Read, Read, Write]);
kernel!(/// Its gradient.
    TARGET_LOSS_GRAD, "target_loss", target_loss_grad, Grad, [Read, Read, Read, Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&TARGET_LOSS, &TARGET_LOSS_GRAD];

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
    let Grad { of: p, scale, accumulate } = a.params();
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
