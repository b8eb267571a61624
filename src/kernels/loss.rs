//! Host twins of `shaders/loss.wgsl`.

use super::elementwise::keep_or_zero;
use super::reduce::softmax_of;
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// Invocations in a workgroup.
pub const LANES: u32 = 64;

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Sigmoid {
    bags: u32,
    cols: u32,
    clamp: f32,
    scale: f32,
    each: u32,
}

impl Sigmoid {
    /// Place of the weight of output `i` of the batch.
    fn weight(&self, i: usize) -> usize {
        if self.each != 0 { i } else { i / self.cols as usize }
    }
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SigmoidGrad {
    of: Sigmoid,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Softmax {
    bags: u32,
    cols: u32,
    scale: f32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct SoftmaxGrad {
    of: Softmax,
    accumulate: u32,
}

kernel!(/// Weighted binary cross-entropy of a batch.
    SIGMOID_LOSS, "loss", sigmoid_loss, Sigmoid, [Read, Read, Read, Write]);
kernel!(/// Its gradient.
    SIGMOID_LOSS_GRAD, "loss", sigmoid_loss_grad, SigmoidGrad, [Read, Read, Read, Read, Write]);
kernel!(/// Weighted cross-entropy over classes of a batch.
    SOFTMAX_LOSS, "loss", softmax_loss, Softmax, [Read, ReadIndex, Read, Write]);
kernel!(/// Its gradient.
    SOFTMAX_LOSS_GRAD, "loss", softmax_loss_grad, SoftmaxGrad, [Read, ReadIndex, Read, Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&SIGMOID_LOSS, &SIGMOID_LOSS_GRAD, &SOFTMAX_LOSS, &SOFTMAX_LOSS_GRAD];

fn entropy<T: Real>(logit: T, y: T, clamp: T) -> T {
    if clamp > T::ZERO {
        // Comparisons that a NaN fails: a model that diverged must not look as if it had a loss.
        let p = logit.sigmoid();
        let p = if p < clamp { clamp } else { p };
        let p = if p > T::ONE - clamp { T::ONE - clamp } else { p };
        return -(y * p.ln() + (T::ONE - y) * (T::ONE - p).ln());
    }
    logit.softplus() - logit * y
}

fn sigmoid_loss<T: Real>(a: &Args<T>) {
    let p: Sigmoid = a.params();
    let (x, targets, weights) = (a.read(0), a.read(1), a.read(2));
    let cols = p.cols as usize;
    let clamp = T::from_f32(p.clamp);
    let sum: T = (0..p.bags as usize * cols).map(|i| weights[p.weight(i)] * entropy(x[i], targets[i], clamp)).sum();
    a.write(3)[0] = sum * T::from_f32(p.scale) / T::new(cols as f64);
}

fn sigmoid_loss_grad<T: Real>(a: &Args<T>) {
    let SigmoidGrad { of: p, accumulate } = a.params();
    let (x, targets, weights, upstream, out) = (a.read(0), a.read(1), a.read(2), a.read(3), a.write(4));
    let cols = p.cols as usize;
    let (clamp, keep) = (T::from_f32(p.clamp), T::new(accumulate as f64));
    let factor = upstream[0] * T::from_f32(p.scale) / T::new(cols as f64);
    for i in 0..p.bags as usize * cols {
        let q = x[i].sigmoid();
        let clamped = clamp > T::ZERO && (q < clamp || q > T::ONE - clamp);
        let value = if clamped { T::ZERO } else { factor * weights[p.weight(i)] * (q - targets[i]) };
        out[i] = keep_or_zero(keep, out[i]) + value;
    }
}

fn softmax_loss<T: Real>(a: &Args<T>) {
    let p: Softmax = a.params();
    let (x, labels, weights) = (a.read(0), a.indices(1), a.read(2));
    let cols = p.cols as usize;
    let mut sum = T::ZERO;
    for (bag, row) in x.chunks_exact(cols).take(p.bags as usize).enumerate() {
        let largest = row.iter().fold(T::LOWEST, |m, v| v.larger(m));
        let lse = largest + row.iter().map(|v| (*v - largest).exp()).sum::<T>().ln();
        sum += weights[bag] * (lse - row[labels[bag] as usize]);
    }
    a.write(3)[0] = sum * T::from_f32(p.scale);
}

fn softmax_loss_grad<T: Real>(a: &Args<T>) {
    let SoftmaxGrad { of: p, accumulate } = a.params();
    let (x, labels, weights, upstream, out) = (a.read(0), a.indices(1), a.read(2), a.read(3), a.write(4));
    let cols = p.cols as usize;
    let keep = T::new(accumulate as f64);
    let mut soft = vec![T::ZERO; cols];
    for bag in 0..p.bags as usize {
        softmax_of(&x[bag * cols..(bag + 1) * cols], &mut soft);
        soft[labels[bag] as usize] -= T::ONE;
        let factor = upstream[0] * T::from_f32(p.scale) * weights[bag];
        for (o, s) in out[bag * cols..(bag + 1) * cols].iter_mut().zip(&soft) {
            *o = keep_or_zero(keep, *o) + factor * *s;
        }
    }
}
