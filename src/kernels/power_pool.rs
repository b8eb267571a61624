//! Host twins of `shaders/power_pool.wgsl`.

use super::cost::At;
pub use super::declared::power_pool::{ADD, WANTED};
use super::declared::power_pool::{Grad, Sizes};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows};
use super::segment::{tile, tiles_of};
use super::{Args, Real, kernels};

kernels! {
    power_pool {
        /// Sum and range of the log-probabilities of each tile.
        MEAN_STATS_PART = mean_stats_part, |at @ &At { n, t, c, .. }| (n * c + 4 * t * c, 5 * n * c, at.by_instances());
        /// Mean and range of those of each bag.
        MEAN_STATS_END = mean_stats_end,
            |at @ &At { b, t, c, .. }| (4 * c * (t + b), 3 * c * (t + b), at.by_instances());
        /// Sum of powers of each tile.
        MEAN_PART = mean_part,
            |at @ &At { n, b, t, c, .. }| (n * c + c + t * c + 4 * b * c, 6 * n * c, at.by_instances());
        /// Logarithm of the generalised mean of each bag.
        MEAN_END = mean_end, |at @ &At { b, t, c, .. }| (c * (t + 1 + 6 * b), c * (t + 5 * b), at.by_instances());
        /// Gradients of the generalised mean.
        MEAN_GRAD = mean_grad,
            |at @ &At { n, b, t, c, .. }| (2 * n * c + c + t * c + 5 * b * c, 17 * n * c, at.by_instances());
        /// Sums of power pooling of each tile.
        POWER_PART = power_part, |at @ &At { n, t, c, .. }| (n * c + c + 4 * t * c, 12 * n * c, at.by_instances());
        /// Power pooling of each bag.
        POWER_END = power_end,
            |at @ &At { b, t, c, .. }| (c * (4 * t + 1 + 5 * b), c * (11 * t + 3 * b), at.by_instances());
        /// Gradients of power pooling.
        POWER_GRAD = power_grad,
            |at @ &At { n, b, t, c, .. }| (2 * n * c + c + t * c + 5 * b * c, 17 * n * c, at.by_instances());
    }
}

/// See the shader.
const CENTRED: f64 = 5.0;

fn ln_sigmoid<T: Real>(x: T) -> T {
    -(-x).softplus()
}

fn widen<T: Real>(range: &mut [T], low: T, high: T) {
    range[0] = low.smaller(range[0]);
    range[1] = high.larger(range[1]);
}

/// Four values for each column: reads those of row `row`.
fn four<T: Real>(x: &[T], row: usize, cols: usize, c: usize) -> [T; 4] {
    let at = (row * cols + c) * 4;
    [x[at], x[at + 1], x[at + 2], x[at + 3]]
}

fn count_of<T: Real>(offsets: &[u32], bag: usize) -> T {
    T::new((offsets[bag + 1] - offsets[bag]) as f64)
}

fn mean_stats_part<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, tiles) = (a.read(0), a.indices(1));
    for_rows(a.write(2), p.count as usize, 4 * cols, 64 * 20 * cols, |t, out| {
        let (_, rows) = tile(tiles, t);
        for (c, out) in out.chunks_exact_mut(4).enumerate() {
            out.copy_from_slice(&[T::ZERO, T::ZERO, T::LOWEST, T::ZERO]);
            for r in rows.clone() {
                let a = ln_sigmoid(x[r * cols + c]);
                out[0] += a;
                widen(&mut out[1..3], a, a);
            }
        }
    });
}

fn mean_stats_end<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (parts, bag_tiles, offsets) = (a.read(0), a.indices(1), a.indices(2));
    for_rows(a.write(3), p.count as usize, 4 * cols, 16 * cols, |bag, out| {
        for (c, out) in out.chunks_exact_mut(4).enumerate() {
            let mut sum = T::ZERO;
            let mut range = [T::ZERO, T::LOWEST];
            for t in tiles_of(bag_tiles, bag) {
                let part = four(parts, t, cols, c);
                sum += part[0];
                widen(&mut range, part[1], part[2]);
            }
            let mean = sum / count_of(offsets, bag);
            out.copy_from_slice(&[mean, (range[1] - mean).larger(mean - range[0]), range[1], T::ZERO]);
        }
    });
}

fn mean_part<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, exponent, stats, tiles) = (a.read(0), a.read(1), a.read(2), a.indices(3));
    for_rows(a.write(4), p.count as usize, cols, 64 * 40 * cols, |t, out| {
        let (bag, rows) = tile(tiles, t);
        for (c, out) in out.iter_mut().enumerate() {
            let ([mean, spread, high, _], power) = (four(stats, bag, cols, c), exponent[c]);
            let centred = power * spread <= T::new(CENTRED);
            let term = |r: usize| {
                let a = ln_sigmoid(x[r * cols + c]);
                if centred { (power * (a - mean)).exp_m1() } else { (power * (a - high)).exp() }
            };
            *out = rows.clone().map(term).sum();
        }
    });
}

fn mean_end<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (sums, exponent, stats) = (a.read(0), a.read(1), Shared::new(a.write(2)));
    let (bag_tiles, offsets) = (a.indices(3), a.indices(4));
    for_rows(a.write(5), p.count as usize, cols, 40 * cols, |bag, out| {
        // SAFETY: one row of statistics for each bag.
        let stats = unsafe { stats.part(bag * 4 * cols..(bag + 1) * 4 * cols) };
        for ((c, out), stats) in out.iter_mut().enumerate().zip(stats.chunks_exact_mut(4)) {
            let mean = tiles_of(bag_tiles, bag).map(|t| sums[t * cols + c]).sum::<T>() / count_of(offsets, bag);
            let power = exponent[c];
            if power * stats[1] <= T::new(CENTRED) {
                *out = stats[0] + mean.ln_1p() / power;
                stats[3] = mean;
            } else {
                *out = stats[2] + mean.ln() / power;
                stats[3] = *out;
            }
        }
    });
}

/// (1 + t) ln(1 + t) - t; the difference cancels near zero, where a series takes over.
fn phi<T: Real>(t: T) -> T {
    if t.abs() < T::new(0.25) {
        // The terms of the series are t^k / (k (k - 1)) with alternating signs. f64 needs more of them.
        let terms = if size_of::<T>() == 8 { 30 } else { 9 };
        let mut sum = T::ZERO;
        for k in (2..=terms).rev() {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            sum = sum * t + T::new(sign / (k * (k - 1)) as f64);
        }
        return sum * t * t;
    }
    if t <= -T::ONE {
        return T::ONE;
    }
    (T::ONE + t) * t.ln_1p() - t
}

fn mean_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (x, exponent, stats, gradient) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (tiles, offsets, x_grad) = (a.indices(4), a.indices(5), Shared::new(a.write(6)));
    let (wanted, keep) = (p.flags & WANTED != 0, T::new((p.flags & ADD != 0) as u32 as f64));
    for_rows(a.write(7), p.count as usize, cols, 64 * 80 * cols, |t, parts| {
        let (bag, rows) = tile(tiles, t);
        for (c, part) in parts.iter_mut().enumerate() {
            let ([mean, spread, _, last], power) = (four(stats, bag, cols, c), exponent[c]);
            let centred = power * spread <= T::new(CENTRED);
            let share = gradient[bag * cols + c] / count_of(offsets, bag);
            let mut sum = T::ZERO;
            for r in rows.clone() {
                let logit = x[r * cols + c];
                let a = ln_sigmoid(logit);
                let t = match centred {
                    true => ((power * (a - mean)).exp_m1() - last) / (T::ONE + last),
                    false => (power * (a - last)).exp_m1(),
                };
                sum += phi(t);
                if wanted {
                    // SAFETY: tiles own their rows.
                    let out = unsafe { x_grad.part(r * cols + c..r * cols + c + 1) };
                    out[0] = keep_or_zero(keep, out[0]) + share * (T::ONE + t) * (-logit).sigmoid();
                }
            }
            *part = sum * share / (power * power);
        }
    });
}

fn power_part<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, exponent, tiles) = (a.read(0), a.read(1), a.indices(2));
    for_rows(a.write(3), p.count as usize, 4 * cols, 64 * 60 * cols, |t, out| {
        let (_, rows) = tile(tiles, t);
        for (c, out) in out.chunks_exact_mut(4).enumerate() {
            let power = exponent[c];
            let high = rows.clone().fold(T::LOWEST, |m, r| ln_sigmoid(x[r * cols + c]).larger(m));
            out.copy_from_slice(&[high, T::ZERO, T::ZERO, T::ZERO]);
            for r in rows.clone() {
                let logit = x[r * cols + c];
                let below = ln_sigmoid(logit) - high;
                let e = (power * below).exp();
                out[1] += e;
                out[2] += e * logit.sigmoid();
                out[3] += e * below;
            }
        }
    });
}

fn power_end<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (parts, exponent, bag_tiles, stats) = (a.read(0), a.read(1), a.indices(2), Shared::new(a.write(4)));
    for_rows(a.write(3), p.count as usize, cols, 40 * cols, |bag, out| {
        // SAFETY: one row of statistics for each bag.
        let stats = unsafe { stats.part(bag * 4 * cols..(bag + 1) * 4 * cols) };
        for ((c, out), stats) in out.iter_mut().enumerate().zip(stats.chunks_exact_mut(4)) {
            let high = tiles_of(bag_tiles, bag).fold(T::LOWEST, |m, t| four(parts, t, cols, c)[0].larger(m));
            let mut sums = [T::ZERO; 3];
            for t in tiles_of(bag_tiles, bag) {
                let part = four(parts, t, cols, c);
                let below = part[0] - high;
                let factor = (exponent[c] * below).exp();
                sums[0] += factor * part[1];
                sums[1] += factor * part[2];
                sums[2] += factor * (part[3] + below * part[1]);
            }
            *out = sums[1] / sums[0];
            stats.copy_from_slice(&[high, sums[0], *out, high + sums[2] / sums[0]]);
        }
    });
}

fn power_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (x, exponent, stats, gradient) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (tiles, x_grad) = (a.indices(4), Shared::new(a.write(5)));
    let (wanted, keep) = (p.flags & WANTED != 0, T::new((p.flags & ADD != 0) as u32 as f64));
    for_rows(a.write(6), p.count as usize, cols, 64 * 60 * cols, |t, parts| {
        let (bag, rows) = tile(tiles, t);
        for (c, part) in parts.iter_mut().enumerate() {
            let ([high, total, pooled, mean], power) = (four(stats, bag, cols, c), exponent[c]);
            let g = gradient[bag * cols + c];
            *part = T::ZERO;
            for r in rows.clone() {
                let logit = x[r * cols + c];
                let (a, q) = (ln_sigmoid(logit), logit.sigmoid());
                let w = (power * (a - high)).exp() / total * g;
                *part += w * (q - pooled) * (a - mean);
                if wanted {
                    // SAFETY: tiles own their rows.
                    let out = unsafe { x_grad.part(r * cols + c..r * cols + c + 1) };
                    let slope = (-logit).sigmoid() * (q + power * (q - pooled));
                    out[0] = keep_or_zero(keep, out[0]) + w * slope;
                }
            }
        }
    });
}
