//! Host twins of `shaders/optim.wgsl`.

use super::host::{Shared, parallel, simd};
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Adam {
    count: u32,
    flags: u32,
    rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    decay: f32,
    correction1: f32,
    correction2: f32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Nesterov {
    count: u32,
    flags: u32,
    rate: f32,
    momentum: f32,
    decay: f32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Clip {
    limit: f32,
}

kernel!(/// Adam and AdamW over all parameters.
    ADAM, "optim", adam, Adam, [Write, Read, Write, Write, ReadIndex, Read]);
kernel!(/// SGD with Nesterov momentum over all parameters.
    NESTEROV, "optim", nesterov, Nesterov, [Write, Read, Write, ReadIndex, Read]);
kernel!(/// Factor that brings the gradient's norm down to a limit.
    CLIP_FACTOR, "optim", clip_factor, Clip, [Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&ADAM, &NESTEROV, &CLIP_FACTOR];

/// Values of a run that belongs to one parameter.
const RUN: usize = crate::tape::SEGMENT;

fn decay_of<T: Real>(decay: f32, group: u32, flags: u32) -> T {
    if group != 0 || flags & 2 != 0 { T::from_f32(decay) } else { T::ZERO }
}

fn adam<T: Real>(a: &Args<T>) {
    let p: Adam = a.params();
    let count = p.count as usize;
    let (params, first, second) = (Shared::new(a.write(0)), Shared::new(a.write(2)), Shared::new(a.write(3)));
    let (grads, groups) = (a.read(1), a.indices(4));
    let factor = if p.flags & 1 != 0 { a.read(5)[0] } else { T::ONE };
    let (b1, b2, eps) = (T::from_f32(p.beta1), T::from_f32(p.beta2), T::from_f32(p.epsilon));
    let rate = T::from_f32(p.rate);
    let step = rate / T::from_f32(p.correction1);
    let c2 = T::ONE / T::from_f32(p.correction2);
    let decoupled = p.flags & 4 != 0;
    parallel(count.div_ceil(RUN), 4 * RUN, |range| {
        simd(
            #[inline(always)]
            || {
                for run in range {
                    let at = run * RUN..((run + 1) * RUN).min(count);
                    // SAFETY: runs are disjoint.
                    let (params, first, second) =
                        unsafe { (params.part(at.clone()), first.part(at.clone()), second.part(at.clone())) };
                    let grads = &grads[at];
                    let decay: T = decay_of(p.decay, groups[run], p.flags);
                    let (shrink, added) = if decoupled { (T::ONE - rate * decay, T::ZERO) } else { (T::ONE, decay) };
                    for (((w, m), v), g) in params.iter_mut().zip(first).zip(second).zip(grads) {
                        let g = *g * factor + added * *w;
                        *m = b1 * *m + (T::ONE - b1) * g;
                        *v = b2 * *v + (T::ONE - b2) * g * g;
                        *w = *w * shrink - step * *m / ((*v * c2).sqrt() + eps);
                    }
                }
            },
        );
    });
}

fn nesterov<T: Real>(a: &Args<T>) {
    let p: Nesterov = a.params();
    let count = p.count as usize;
    let (params, velocity, grads, groups) = (a.write(0), a.write(2), a.read(1), a.indices(3));
    let factor = if p.flags & 1 != 0 { a.read(4)[0] } else { T::ONE };
    let (rate, momentum) = (T::from_f32(p.rate), T::from_f32(p.momentum));
    for i in 0..count {
        let g = grads[i] * factor + decay_of::<T>(p.decay, groups[i / RUN], p.flags) * params[i];
        velocity[i] = momentum * velocity[i] - rate * g;
        params[i] += momentum * velocity[i] - rate * g;
    }
}

fn clip_factor<T: Real>(a: &Args<T>) {
    let p: Clip = a.params();
    let norm = a.read(0)[0].sqrt();
    a.write(1)[0] = (T::from_f32(p.limit) / (norm + T::new(1e-6))).smaller(T::ONE);
}
