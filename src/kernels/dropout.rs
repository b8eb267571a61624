//! Host twin of `shaders/dropout.wgsl`.

use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::{Args, Kernel, Real, kernel};
use crate::random::{philox, philox_blocks};
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
    first: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct ChannelParams {
    of: DropoutParams,
    positions: u32,
}

kernel!(/// out (+)= x, dropped or scaled.
    DROPOUT, "dropout", dropout, DropoutParams, [Read, Write]);
kernel!(/// The same, run by run.
    DROPOUT_CHANNELS, "dropout", dropout_channels, ChannelParams, [Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&DROPOUT, &DROPOUT_CHANNELS];

/// Blocks of four random words drawn at a time: enough that loops over them are not unrolled away.
const WIDE: usize = 64;

fn dropout<T: Real>(a: &Args<T>) {
    let p: DropoutParams = a.params();
    let n = p.count as usize;
    let (x, out) = (&a.read(0)[..n], Shared::new(&mut a.write(1)[..n]));
    let (scale, add) = (T::from_f32(p.scale), p.accumulate != 0);
    parallel(n.div_ceil(4 * WIDE), 20 * 4 * WIDE, |range| {
        simd(
            #[inline(always)]
            || {
                for i in range {
                    let at = 4 * WIDE * i..(4 * WIDE * (i + 1)).min(n);
                    let block = p.first / 4 + (i * WIDE) as u32;
                    let words = philox_blocks::<WIDE>([block, p.site, p.step, 0], [p.seed_low, p.seed_high]);
                    let mut order = [0; 4 * WIDE];
                    for (i, four) in order.chunks_exact_mut(4).enumerate() {
                        four.iter_mut().zip(&words).for_each(|(o, word)| *o = word[i]);
                    }
                    let x = &x[at.clone()];
                    // SAFETY: each run of blocks is visited once.
                    let out = unsafe { out.part(at) };
                    let kept = x.iter().zip(&order).map(|(x, w)| {
                        // Computed before it is chosen, so that there is no branch to mispredict.
                        let scaled = *x * scale;
                        if *w < p.threshold { T::ZERO } else { scaled }
                    });
                    match add {
                        false => out.iter_mut().zip(kept).for_each(|(o, v)| *o = v),
                        true => out.iter_mut().zip(kept).for_each(|(o, v)| *o += v),
                    }
                }
            },
        );
    });
}

fn dropout_channels<T: Real>(a: &Args<T>) {
    let ChannelParams { of: p, positions } = a.params();
    let (n, positions) = (p.count as usize, positions as usize);
    let (x, scale, keep) = (a.read(0), T::from_f32(p.scale), T::new(p.accumulate as f64));
    for_rows(&mut a.write(1)[..n], n / positions, positions, positions + 40, |run, out| {
        let draw = p.first as usize / positions + run;
        let words = philox([draw as u32 / 4, p.site, p.step, 0], [p.seed_low, p.seed_high]);
        let factor = if words[draw % 4] < p.threshold { T::ZERO } else { scale };
        let x = &x[run * positions..(run + 1) * positions];
        out.iter_mut().zip(x).for_each(|(o, x)| *o = keep_or_zero(keep, *o) + *x * factor);
    });
}
