//! Host twins of `shaders/optim.wgsl`.

use super::cost::At;
use super::declared::optim::{Adam, Average, Clip, Lookahead, Nesterov, NormFactor, RunSquares};
pub use super::declared::optim::{CLIPPED, DECAY_ALL, DECOUPLED, SECOND};
use super::host::{Shared, parallel, simd};
use super::{Args, Real, kernels};

kernels! {
    optim {
        /// Adam and AdamW over all parameters.
        ADAM = adam, |at @ &At { rows: n, .. }| (7 * n, 14 * n, at.line());
        /// Rectified Adam over all parameters.
        RADAM = radam, |at @ &At { rows: n, .. }| (7 * n, 16 * n, at.line());
        /// SGD with Nesterov momentum over all parameters.
        NESTEROV = nesterov, |at @ &At { rows: n, .. }| (5 * n, 7 * n, at.line());
        /// Slow copy of the parameters, and the way back to it.
        LOOKAHEAD = lookahead, |at @ &At { rows: n, .. }| (4 * n, 3 * n, at.line());
        /// Exponential moving average of the parameters.
        AVERAGE = average, |at @ &At { rows: n, .. }| (3 * n, 3 * n, at.line());
        /// Factor that brings the gradient's norm down to a limit.
        CLIP_FACTOR = clip_factor, |_| (2, 4, "1".into());
        /// Sum of the squares of each run of 64 values.
        RUN_SQUARES = run_squares, |at @ &At { rows: n, .. }| (65 * n, 128 * n, at.line());
        /// The clip factor of one of several norms.
        NORM_FACTOR = norm_factor, |at @ &At { rows: n, .. }| (2 * n + 1, n + 4, at.line());
    }
}

/// Values of a run that belongs to one parameter.
const RUN: usize = super::launch::SEGMENT;

/// Words of a group in its table.
pub const ROW: usize = 8;

/// Below this a parameter, a gradient or a moment decides nothing that f32 could tell.
const NEGLIGIBLE: f32 = 1e-30;

/// A gradient whose square is that of the second moment; below it the square is no normal number.
const SMALLEST_SQUARED: f32 = 1e-17;

/// `x`, or 0 where it is next to nothing. What only decay moves, such as the weights of a unit that no bag wakes, halves
/// until it is subnormal, and many CPUs compute with subnormal numbers a hundred times as slowly: in every product that
/// the weights go into. GPUs do not, so the shaders leave it be.
#[inline(always)]
fn settled<T: Real>(x: T) -> T {
    above(NEGLIGIBLE, x)
}

#[inline(always)]
fn above<T: Real>(least: f32, x: T) -> T {
    if x.abs() < T::from_f32(least) { T::ZERO } else { x }
}

/// Moves a second moment `v` towards the square of `g` by 1 - `keep`.
#[inline(always)]
fn follow_square<T: Real>(v: &mut T, keep: T, g: T) {
    let g = above(SMALLEST_SQUARED, g);
    *v = above(f32::MIN_POSITIVE, keep * *v + (T::ONE - keep) * g * g);
}

/// Moves both moments towards `g` and its square.
#[inline(always)]
fn follow_both<T: Real>(m: &mut T, v: &mut T, g: T, [b1, b2]: [T; 2]) {
    *m = settled(b1 * *m + (T::ONE - b1) * g);
    follow_square(v, b2, g);
}

/// What the table says of a group, and whether weight decay acts on the run.
struct Own<T> {
    rate: T,
    decay: T,
    norm: usize,
    /// Factors of the two corrections.
    corrections: [T; 2],
}

/// What the table says of the group of a run.
fn rows_of(table: &[u32], group: u32) -> &[u32] {
    &table[ROW * (group >> 1) as usize..][..ROW]
}

/// What holds for a run whose entry in the list of groups is `group`; `None` when this rule leaves it alone.
fn own<T: Real>(table: &[u32], group: u32, flags: u32) -> Option<Own<T>> {
    let row = rows_of(table, group);
    let (rate, decay) = (f32::from_bits(row[0]), f32::from_bits(row[1]));
    if rate == 0.0 || row[3] != (flags & SECOND != 0) as u32 || row[6] != 0 {
        return None;
    }
    let decays = group & 1 != 0 || flags & DECAY_ALL != 0;
    let decay = if decays { T::from_f32(decay) } else { T::ZERO };
    let corrections = [row[4], row[5]].map(|bits| T::from_f32(f32::from_bits(bits)));
    Some(Own { rate: T::from_f32(rate), decay, norm: row[2] as usize, corrections })
}

/// Runs `f(own, clip factor, parameters, gradient, first and second moment)` for each run that the rule updates.
fn each_run<T: Real>(
    a: &Args<T>,
    (count, flags): (usize, u32),
    f: impl Fn(&Own<T>, T, &mut [T], &[T], &mut [T], &mut [T]) + Sync,
) {
    let (params, first, second) = (Shared::new(a.write(0)), Shared::new(a.write(2)), Shared::new(a.write(3)));
    let (grads, groups, table) = (a.read(1), a.indices(4), a.indices(6));
    let factors = if flags & CLIPPED != 0 { a.read(5) } else { &[] };
    parallel(count.div_ceil(RUN), 4 * RUN, |range| {
        simd(
            #[inline(always)]
            || {
                for run in range {
                    let Some(own) = own(table, groups[run], flags) else { continue };
                    let factor = if flags & CLIPPED != 0 { factors[own.norm] } else { T::ONE };
                    let at = run * RUN..((run + 1) * RUN).min(count);
                    // SAFETY: runs are disjoint.
                    let (params, first, second) =
                        unsafe { (params.part(at.clone()), first.part(at.clone()), second.part(at.clone())) };
                    f(&own, factor, params, &grads[at], first, second);
                }
            },
        );
    });
}

fn adam<T: Real>(a: &Args<T>) {
    let p: Adam = a.params();
    let (b1, b2, eps) = (T::from_f32(p.beta1), T::from_f32(p.beta2), T::from_f32(p.epsilon));
    let decoupled = p.flags & DECOUPLED != 0;
    each_run(
        a,
        (p.count as usize, p.flags),
        #[inline(always)]
        |own, factor, params, grads, first, second| {
            let rate = T::from_f32(p.rate) * own.rate;
            let step = rate / (T::from_f32(p.correction1) * own.corrections[0]);
            let c2 = T::ONE / (T::from_f32(p.correction2) * own.corrections[1]);
            let decay = T::from_f32(p.decay) * own.decay;
            let (shrink, added) = if decoupled { (T::ONE - rate * decay, T::ZERO) } else { (T::ONE, decay) };
            for (((w, m), v), g) in params.iter_mut().zip(first).zip(second).zip(grads) {
                follow_both(m, v, settled(*g * factor + added * *w), [b1, b2]);
                *w = settled(*w * shrink - step * *m / ((*v * c2).sqrt() + eps));
            }
        },
    );
}

fn radam<T: Real>(a: &Args<T>) {
    let p: Adam = a.params();
    let (b1, b2, eps) = (T::from_f32(p.beta1), T::from_f32(p.beta2), T::from_f32(p.epsilon));
    each_run(
        a,
        (p.count as usize, p.flags),
        #[inline(always)]
        |own, factor, params, grads, first, second| {
            let rate = T::from_f32(p.rate) * own.rate;
            let step = rate * T::from_f32(p.correction1) * own.corrections[0];
            let rectified = T::from_f32(p.correction2) * own.corrections[1] != T::ZERO;
            let shrink = T::ONE - rate * T::from_f32(p.decay) * own.decay;
            let each = params.iter_mut().zip(first).zip(second).zip(grads);
            // A loop each: with the question inside, neither vectorises.
            if rectified {
                for (((w, m), v), g) in each {
                    follow_both(m, v, settled(*g * factor), [b1, b2]);
                    *w = settled(*w * shrink - step * *m / (v.sqrt() + eps));
                }
            } else {
                for (((w, m), v), g) in each {
                    follow_both(m, v, settled(*g * factor), [b1, b2]);
                    *w = settled(*w * shrink - step * *m);
                }
            }
        },
    );
}

fn nesterov<T: Real>(a: &Args<T>) {
    let p: Nesterov = a.params();
    let count = p.count as usize;
    let (params, velocity, grads) = (a.write(0), a.write(2), a.read(1));
    let (groups, table) = (a.indices(3), a.indices(5));
    let momentum = T::from_f32(p.momentum);
    for (run, &group) in groups.iter().enumerate().take(count.div_ceil(RUN)) {
        let Some(own) = own::<T>(table, group, p.flags) else { continue };
        let factor = if p.flags & CLIPPED != 0 { a.read(4)[own.norm] } else { T::ONE };
        let (rate, decay) = (T::from_f32(p.rate) * own.rate, T::from_f32(p.decay) * own.decay);
        for i in run * RUN..((run + 1) * RUN).min(count) {
            let g = settled(grads[i] * factor + decay * params[i]);
            velocity[i] = settled(momentum * velocity[i] - rate * g);
            params[i] = settled(params[i] + momentum * velocity[i] - rate * g);
        }
    }
}

fn lookahead<T: Real>(a: &Args<T>) {
    let p: Lookahead = a.params();
    let count = p.count as usize;
    let (groups, table) = (a.indices(2), a.indices(3));
    let alpha = T::from_f32(p.alpha);
    let runs = a.write(0)[..count].chunks_mut(RUN).zip(a.write(1)[..count].chunks_mut(RUN)).zip(groups);
    for ((params, slow), group) in runs {
        // What does not learn, running statistics among it, has no slow copy to return to.
        if f32::from_bits(rows_of(table, *group)[0]) == 0.0 {
            continue;
        }
        match p.mode {
            0 => {}
            1 => slow.copy_from_slice(params),
            _ => {
                for (slow, fast) in slow.iter_mut().zip(params) {
                    *slow = settled(*slow + alpha * (*fast - *slow));
                    *fast = *slow;
                }
            }
        }
    }
}

fn average<T: Real>(a: &Args<T>) {
    let p: Average = a.params();
    let (count, weight) = (p.count as usize, T::from_f32(p.weight));
    for (mean, value) in a.write(1)[..count].iter_mut().zip(a.read(0)) {
        *mean = settled(*mean + weight * (*value - *mean));
    }
}

fn clip_factor<T: Real>(a: &Args<T>) {
    let p: Clip = a.params();
    a.write(1)[0] = brought_down(a.read(0)[0], p.limit);
}

/// min(1, limit / (norm + 1e-6)), from the square of the norm.
fn brought_down<T: Real>(square: T, limit: f32) -> T {
    (T::from_f32(limit) / (square.sqrt() + T::new(1e-6))).smaller(T::ONE)
}

fn run_squares<T: Real>(a: &Args<T>) {
    let p: RunSquares = a.params();
    for (sum, run) in a.write(1).iter_mut().zip(a.read(0).chunks_exact(RUN)).take(p.runs as usize) {
        *sum = run.iter().map(|v| *v * *v).sum();
    }
}

fn norm_factor<T: Real>(a: &Args<T>) {
    let p: NormFactor = a.params();
    let (squares, groups, table) = (a.read(0), a.indices(1), a.indices(2));
    let runs = (0..p.runs as usize).filter(|&r| rows_of(table, groups[r])[2] == p.norm);
    let square: T = runs.map(|r| squares[r]).sum();
    a.write(3)[p.norm as usize] = if p.limit > 0.0 { brought_down(square, p.limit) } else { T::ONE };
}
