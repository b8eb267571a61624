//! Host twins of `shaders/gaussian.wgsl`.

use super::cost::At;
pub use super::declared::gaussian::{ADD, BACKWARD};
use super::declared::gaussian::{Density, Divergence, DivergenceGrad, Draw};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel};
use super::{Args, Real, kernels};
use crate::random::philox;

kernels! {
    gaussian {
        /// A sample, or the gradient of the logarithm of its variance.
        GAUSSIAN_SAMPLE = gaussian_sample, |at @ &At { rows, .. }| (3 * rows, 17 * rows, at.line());
        /// Divergence of each row from the standard normal distribution.
        GAUSSIAN_KL = gaussian_kl, |at @ &At { rows, c, .. }| (rows * (2 * c + 1), 6 * rows * c, at.matrix());
        /// Its gradient.
        GAUSSIAN_KL_GRAD = gaussian_kl_grad,
            |at @ &At { rows, c, w, .. }| (rows * (c * (2 + w[3]) + 1), 3 * rows * c, at.matrix());
        /// Logarithm of the density at each row.
        GAUSSIAN_LOG = gaussian_log,
            |at @ &At { rows, c, w, .. }| (rows * (c + w[2] + w[3] + 1), rows * (6 * c + 2), at.matrix());
        /// Its gradient.
        GAUSSIAN_LOG_GRAD = gaussian_log_grad, |at @ &At { rows, c, w, .. }| {
            let out = [c, w[2], w[3]][(w[4] as usize).min(2)];
            (rows * (c + w[2] + w[3] + 1 + out * (1 + w[5])), rows * 8 * c, at.matrix())
        };
    }
}

/// Two normal numbers from two random words, see the shader. The f64 forms take the same words to the same
/// numbers, to more digits.
fn normals<T: Real>(a: u32, b: u32) -> [T; 2] {
    const UNIT: f64 = 1.0 / (1u32 << 23) as f64;
    let radius = (T::new(-2.0) * T::new(((a >> 9) as f64 + 0.5) * UNIT).ln()).sqrt();
    let angle = ((b >> 7 & 0x7f_ffff) as f64 * UNIT - 0.5) * std::f64::consts::FRAC_PI_2;
    let (sine, cosine) = (T::new(angle.sin()), T::new(angle.cos()));
    let turned = match b >> 30 {
        0 => [cosine, sine],
        1 => [-sine, cosine],
        2 => [-cosine, -sine],
        _ => [sine, -cosine],
    };
    turned.map(|v| radius * v)
}

fn gaussian_sample<T: Real>(a: &Args<T>) {
    let p: Draw = a.params();
    let n = p.count as usize;
    let (x, v, out) = (a.read(0), a.read(1), Shared::new(&mut a.write(2)[..n]));
    let (backward, keep) = (p.flags & BACKWARD != 0, T::new((p.flags & ADD != 0) as u32 as f64));
    let half = T::new(0.5);
    parallel(n.div_ceil(4), 200, |range| {
        for i in range {
            let words = philox([p.first / 4 + i as u32, p.site, p.step, 1], [p.seed_low, p.seed_high]);
            let [a, b] = normals::<T>(words[0], words[1]);
            let [c, d] = normals::<T>(words[2], words[3]);
            let end = (4 * i + 4).min(n);
            // SAFETY: each block of four is visited once.
            let out = unsafe { out.part(4 * i..end) };
            for (j, (o, eps)) in out.iter_mut().zip([a, b, c, d]).enumerate() {
                let (x, noise) = (x[4 * i + j], (half * v[4 * i + j]).exp() * eps);
                *o = if backward { half * x * noise + keep_or_zero(keep, *o) } else { x + noise };
            }
        }
    });
}

/// e^v - 1 - v; the difference cancels near zero, where a series takes over.
fn convex<T: Real>(v: T) -> T {
    if v.abs() > T::new(0.5) {
        return v.exp() - T::ONE - v;
    }
    let terms = if size_of::<T>() == 8 { 18 } else { 8 };
    let mut sum = T::ZERO;
    let factorial = |k: u32| (1..=k).map(f64::from).product::<f64>();
    for k in (2..=terms).rev() {
        sum = sum * v + T::new(1.0 / factorial(k));
    }
    sum * v * v
}

fn gaussian_kl<T: Real>(a: &Args<T>) {
    let p: Divergence = a.params();
    let cols = p.cols as usize;
    let (mean, v) = (a.read(0), a.read(1));
    let rows = if p.each != 0 { 1 } else { p.rows };
    let share = T::new(0.5) / T::new(p.cols as f64 * rows as f64);
    for_rows(a.write(2), p.rows as usize, 1, 30 * cols, |r, out| {
        let pairs = mean[r * cols..(r + 1) * cols].iter().zip(&v[r * cols..]);
        out[0] = pairs.map(|(m, v)| *m * *m + convex(*v)).sum::<T>() * share;
    });
}

fn gaussian_kl_grad<T: Real>(a: &Args<T>) {
    let p: DivergenceGrad = a.params();
    let (x, upstream, keep) = (a.read(0), a.read(1), T::new(p.accumulate as f64));
    let (cols, each) = (p.cols as usize, p.each != 0);
    let factor = T::from_f32(p.scale) / T::new(p.cols as f64 * if each { 1.0 } else { p.rows as f64 });
    for_rows(a.write(2), p.rows as usize * p.cols as usize, 1, 10, |i, out| {
        let slope = if p.of_variance != 0 { T::new(0.5) * x[i].exp_m1() } else { x[i] };
        let upstream = upstream[if each { i / cols } else { 0 }];
        out[0] = slope * upstream * factor + keep_or_zero(keep, out[0]);
    });
}

/// Row `r` of a matrix of `cols` columns as `count` values: one for all columns is repeated.
fn repeated<T: Real>(x: &[T], r: usize, cols: u32, count: usize) -> impl Iterator<Item = T> {
    let row = &x[r * cols as usize..(r + 1) * cols as usize];
    row.iter().copied().cycle().take(count)
}

fn gaussian_log<T: Real>(a: &Args<T>) {
    let p: Density = a.params();
    let cols = p.cols as usize;
    let (x, means, logs) = (a.read(0), a.read(1), a.read(2));
    let constant = T::new(0.5 * std::f64::consts::TAU.ln() * p.cols as f64);
    for_rows(a.write(3), p.rows as usize, 1, 10 * cols, |r, out| {
        let parameters = repeated(means, r, p.means, cols).zip(repeated(logs, r, p.logs, cols));
        let term = |(x, (mean, v)): (&T, (T, T))| (*x - mean) * (*x - mean) * (-v).exp() + v;
        let sum: T = x[r * cols..(r + 1) * cols].iter().zip(parameters).map(term).sum();
        out[0] = T::new(-0.5) * sum - constant;
    });
}

fn gaussian_log_grad<T: Real>(a: &Args<T>) {
    let p: Density = a.params();
    let cols = p.cols as usize;
    let (x, means, logs, upstream) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let width = [p.cols, p.means, p.logs][p.which as usize] as usize;
    let (keep, half) = (T::new(p.accumulate as f64), T::new(0.5));
    for_rows(a.write(4), p.rows as usize, width, 10 * cols, |r, out| {
        let parameters = repeated(means, r, p.means, cols).zip(repeated(logs, r, p.logs, cols));
        let value = |(x, (mean, v)): (&T, (T, T))| {
            let d = *x - mean;
            let pull = d * (-v).exp();
            upstream[r]
                * match p.which {
                    0 => -pull,
                    1 => pull,
                    _ => half * (d * pull - T::ONE),
                }
        };
        let values = x[r * cols..(r + 1) * cols].iter().zip(parameters).map(value);
        match width == cols {
            true => out.iter_mut().zip(values).for_each(|(o, v)| *o = v + keep_or_zero(keep, *o)),
            false => out[0] = values.sum::<T>() + keep_or_zero(keep, out[0]),
        }
    });
}
