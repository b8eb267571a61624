//! Host twin of `shaders/dropout.wgsl`.

use super::elementwise::keep_or_zero;
use super::host::{Shared, parallel};
use super::{Args, Kernel, Real, kernel};
use crate::random::philox;
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct DropoutParams {
    count: u32,
    threshold: u32,
    scale: f32,
    site: u32,
    seed_low: u32,
    seed_high: u32,
    step: u32,
    accumulate: u32,
}

kernel!(/// out (+)= x, dropped or scaled.
    DROPOUT, "dropout", dropout, DropoutParams, [Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&DROPOUT];

fn dropout<T: Real>(a: &Args<T>) {
    let p: DropoutParams = a.params();
    let n = p.count as usize;
    let (x, out) = (&a.read(0)[..n], Shared::new(&mut a.write(1)[..n]));
    let (scale, keep) = (T::from_f32(p.scale), T::new(p.accumulate as f64));
    parallel(n.div_ceil(4), 40, |range| {
        for i in range {
            let words = philox([i as u32, p.site, p.step, 0], [p.seed_low, p.seed_high]);
            let end = (4 * i + 4).min(n);
            // SAFETY: each block of four is visited once.
            let out = unsafe { out.part(4 * i..end) };
            for ((o, x), word) in out.iter_mut().zip(&x[4 * i..end]).zip(words) {
                let value = if word < p.threshold { T::ZERO } else { *x * scale };
                *o = keep_or_zero(keep, *o) + value;
            }
        }
    });
}
