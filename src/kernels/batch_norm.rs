//! Host twins of `shaders/batch_norm.wgsl`.

use super::cost::At;
use super::declared::batch_norm::{ApplyParams, BatchGradParams, DivideParams, GainParams, PartParams, RunningParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::norm::sum_of;
use super::{Args, Real, kernels};

kernels! {
    batch_norm {
        /// Sums over each channel of (x - mean)^2 or of g (x - mean), a part for each chunk of images.
        BATCH_PARTS = batch_parts, |at @ &At { rows, c, w, .. }| {
            let values = rows * c * w[2];
            let parts = rows.div_ceil(w[3].max(1));
            (values * (1 + w[4]) + (parts + 1) * c, 3 * values, at.planes())
        };
        /// Sums become means.
        BATCH_DIVIDE = batch_divide, |&At { rows, .. }| (2 * rows, rows, format!("{rows}"));
        /// The normalised images.
        BATCH_APPLY = batch_apply, |at @ &At { rows, c, w, .. }| {
            let values = rows * c * w[2];
            (2 * values + 4 * c, 3 * values + 3 * c, at.planes())
        };
        /// Gradient of the gain.
        BATCH_GAIN = batch_gain, |&At { rows, w, .. }| ((3 + w[2]) * rows, (3 + w[2]) * rows, format!("{rows}"));
        /// Gradient of the images.
        BATCH_GRAD = batch_grad, |at @ &At { rows, c, w, .. }| {
            let (values, given) = (rows * c * w[2], (w[4] != 0) as u64);
            let of_batch = 1 - given;
            let moved = values * (2 + of_batch + w[5]) + c * (2 + 3 * of_batch);
            (moved, values * (1 + 4 * of_batch + w[5]) + c * (4 + 4 * of_batch), at.planes())
        };
        /// A running statistic, moved towards that of the batch.
        BATCH_RUNNING = batch_running, |&At { rows, w, .. }| (3 * rows, (3 + w[3]) * rows, format!("{rows}"));
    }
}

fn batch_parts<T: Real>(a: &Args<T>) {
    let p: PartParams = a.params();
    let (rows, chunk) = (p.rows as usize, p.chunk as usize);
    let (channels, positions) = (p.channels as usize, p.positions as usize);
    let (x, means, g, out) = (a.read(0), a.read(1), a.read(2), Shared::new(a.write(3)));
    parallel(rows.div_ceil(chunk), 2 * chunk * channels * positions, |parts| {
        for part in parts {
            // SAFETY: each part is visited once.
            let out = unsafe { out.part(part * channels..(part + 1) * channels) };
            out.fill(T::ZERO);
            for r in part * chunk..((part + 1) * chunk).min(rows) {
                for (c, o) in out.iter_mut().enumerate() {
                    let start = (r * channels + c) * positions;
                    let (x, mean) = (&x[start..start + positions], means[c]);
                    *o += match p.mode {
                        0 => sum_of(positions, |i| (x[i] - mean) * (x[i] - mean)),
                        _ => sum_of(positions, |i| g[start + i] * (x[i] - mean)),
                    };
                }
            }
        }
    });
}

fn batch_divide<T: Real>(a: &Args<T>) {
    let p: DivideParams = a.params();
    let count = T::new(p.count as f64);
    a.write(1)[..p.channels as usize].iter_mut().zip(a.read(0)).for_each(|(o, x)| *o = *x / count);
}

fn batch_running<T: Real>(a: &Args<T>) {
    let p: RunningParams = a.params();
    if p.unbiased != 0 && p.count < 2 {
        return;
    }
    let scale = if p.unbiased != 0 { p.count as f64 / (p.count - 1) as f64 } else { 1.0 };
    let (momentum, scale) = (T::from_f32(p.momentum), T::new(scale));
    for (y, x) in a.write(1)[..p.channels as usize].iter_mut().zip(a.read(0)) {
        *y = (T::ONE - momentum) * *y + momentum * (*x * scale);
    }
}

fn batch_apply<T: Real>(a: &Args<T>) {
    let p: ApplyParams = a.params();
    let (channels, positions, eps) = (p.channels as usize, p.positions as usize, T::from_f32(p.eps));
    let (x, means, variances, gain, bias) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4));
    let size = channels * positions;
    for_rows(a.write(5), p.rows as usize, size, 2 * size, |r, out| {
        simd(
            #[inline(always)]
            || {
                for (c, out) in out.chunks_exact_mut(positions).enumerate() {
                    let x = &x[r * size + c * positions..][..positions];
                    let (mean, scale) = (means[c], gain[c] / (variances[c] + eps).sqrt());
                    out.iter_mut().zip(x).for_each(|(o, x)| *o = (*x - mean) * scale + bias[c]);
                }
            },
        );
    });
}

fn batch_gain<T: Real>(a: &Args<T>) {
    let p: GainParams = a.params();
    let (sums, variances) = (a.read(0), a.read(2));
    let (eps, keep) = (T::from_f32(p.eps), T::new(p.accumulate as f64));
    for (c, o) in a.write(1)[..p.channels as usize].iter_mut().enumerate() {
        *o = keep_or_zero(keep, *o) + sums[c] / (variances[c] + eps).sqrt();
    }
}

fn batch_grad<T: Real>(a: &Args<T>) {
    let p: BatchGradParams = a.params();
    let (channels, positions, eps) = (p.channels as usize, p.positions as usize, T::from_f32(p.eps));
    let (x, g, means, variances) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (gain, sums, products) = (a.read(4), a.read(5), a.read(6));
    let (keep, size) = (T::new(p.accumulate as f64), channels * positions);
    let count = T::new(p.rows as f64 * positions as f64);
    for_rows(a.write(7), p.rows as usize, size, 4 * size, |r, out| {
        for (c, out) in out.chunks_exact_mut(positions).enumerate() {
            let here = r * size + c * positions..r * size + (c + 1) * positions;
            let inverse = T::ONE / (variances[c] + eps).sqrt();
            let (mean, gain) = (means[c], inverse * gain[c]);
            let (sum, product) = match p.given {
                0 => (sums[c] / count, inverse * inverse * products[c] / count),
                _ => (T::ZERO, T::ZERO),
            };
            for ((o, x), g) in out.iter_mut().zip(&x[here.clone()]).zip(&g[here]) {
                *o = keep_or_zero(keep, *o) + gain * (*g - sum - (*x - mean) * product);
            }
        }
    });
}
