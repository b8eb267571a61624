//! Host twins of `shaders/scaling.wgsl`.

use super::cost::At;
use super::declared::scaling::Unscale;
use super::host::parallel;
use super::{Args, Real, kernels};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Seed {
    first: f32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Judge {
    parts: u32,
    words: u32,
    grow_every: u32,
    least: f32,
    most: f32,
}

kernels! {
    scaling {
        /// The gradient that the loss starts with.
        SCALE_SEED = scale_seed, |_| (2, 0, "1".into());
        /// Gradients without the scale, and which parts are not finite.
        UNSCALE = unscale, |at @ &At { rows: n, .. }| (2 * n + n.div_ceil(PART as u64) + 1, n, at.line());
        /// Leaves an update out when a gradient is not finite; the next scale.
        SCALE_JUDGE = scale_judge, |at @ &At { rows: n, .. }| (n + 2 * at.w[1] + 6, 1, format!("{n} parts"));
    }
}

/// Gradients that a workgroup looks at.
pub const PART: u32 = 4 * super::declared::scaling::PART;

fn scale_seed<T: Real>(a: &Args<T>) {
    let p: Seed = a.params();
    let state = a.write_indices(0);
    if state[0] == 0 {
        state[0] = p.first.to_bits();
    }
    a.write(1)[0] = T::from_f32(f32::from_bits(state[0]));
}

fn unscale<T: Real>(a: &Args<T>) {
    let p: Unscale = a.params();
    let grads = super::host::Shared::new(&mut a.write(0)[..p.count as usize]);
    let flags = a.write_indices(2);
    let parts = (p.count as usize).div_ceil(PART as usize);
    let flags = super::host::Shared::new(&mut flags[..parts]);
    let factor = T::from_f32(1.0 / f32::from_bits(a.indices(1)[0]));
    parallel(parts, 2 * PART as usize, |range| {
        for part in range {
            let at = part * PART as usize..((part + 1) * PART as usize).min(p.count as usize);
            // SAFETY: parts are disjoint.
            let (grads, flag) = unsafe { (grads.part(at), flags.part(part..part + 1)) };
            // Zero times infinity is NaN, and sums keep it: no branch in the loop.
            let mut sum = T::ZERO;
            for g in grads {
                *g *= factor;
                sum += *g * T::ZERO;
            }
            flag[0] = (sum != T::ZERO) as u32;
        }
    });
}

fn scale_judge<T: Real>(a: &Args<T>) {
    let p: Judge = a.params();
    let bad = a.indices(0)[..p.parts as usize].iter().any(|&f| f != 0);
    let (table, state, out) = (a.indices(1), a.write_indices(2), a.write_indices(3));
    for (i, (out, word)) in out.iter_mut().zip(table).enumerate().take(p.words as usize) {
        *out = if bad && i % super::optim::ROW == 0 { 0 } else { *word };
    }
    let scale = f32::from_bits(state[0]);
    let good = state[1] + 1;
    (state[0], state[1]) = match (bad, good >= p.grow_every) {
        (true, _) => ((scale * 0.5).max(p.least).to_bits(), 0),
        (false, true) => (scale.max((scale * 2.0).min(p.most)).to_bits(), 0),
        (false, false) => (state[0], good),
    };
    state[2] += bad as u32;
    state[3] = bad as u32;
}
