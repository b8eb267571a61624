//! Host twins of `shaders/image.wgsl`: a plane (one channel of one image) at a time.

use super::cost::At;
use super::declared::image::{MeanParams, PadParams, PoolParams, UpParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows};
use super::norm::sum_of;
use super::{Args, Real, kernels};

kernels! {
    image {
        /// Largest value of each window and its position.
        MAX_POOL = max_pool, |at| pool_cost(at, 0);
        /// Gradient of the largest values of windows.
        MAX_POOL_GRAD = max_pool_grad, |at| pool_cost(at, at.w[10]);
        /// Mean of each plane.
        PLANE_MEAN = plane_mean, |at @ &At { rows, c, .. }| (rows * (c + 1), rows * (c + 1), at.matrix());
        /// Gradient of the means.
        PLANE_MEAN_GRAD = plane_mean_grad,
            |at @ &At { rows, c, w, .. }| (rows * (c * (1 + w[2]) + 1), rows * c * (1 + w[2]), at.matrix());
        /// Every value several times.
        UPSAMPLE = upsample, |at @ &At { rows, w, .. }| (rows * w[1] * w[2] * (1 + w[3] * w[3]), 0, at.image());
        /// Gradient of the repeated values.
        UPSAMPLE_GRAD = upsample_grad, |at @ &At { rows, w, .. }| {
            let (small, large) = (w[1] * w[2], w[1] * w[2] * w[3] * w[3]);
            (rows * (large + small * (1 + w[4])), rows * (large + small * w[4]), at.image())
        };
        /// A border of zeros or of edge values.
        PAD = pad, |at @ &At { rows, w, .. }| (rows * (w[1] * w[2] + w[3] * w[4]), 0, at.image());
        /// Gradient of the border.
        PAD_GRAD = pad_grad, |at @ &At { rows, w, .. }| {
            let (from, to, edge) = (w[1] * w[2], w[3] * w[4], w[7] != 0);
            // Nothing comes back from a border of zeros.
            let read = if edge { to } else { from };
            (rows * (read + from * (1 + w[8])), rows * (read + from * w[8]), at.image())
        };
    }
}

fn pool_cost(at: &At, added: u64) -> (u64, u64, String) {
    let (rows, w) = (at.rows, at.w);
    let (large, small, window) = (w[1] * w[2], w[3] * w[4], w[5] * w[6]);
    (rows * (large * (1 + added) + 2 * small), rows * small * window, at.image())
}

fn max_pool<T: Real>(a: &Args<T>) {
    let p: PoolParams = a.params();
    let [large_h, large_w, small_w] = [p.large_h, p.large_w, p.small_w].map(|v| v as usize);
    let [kh, kw, stride, pad_y, pad_x] = [p.kh, p.kw, p.stride, p.pad_y, p.pad_x].map(|v| v as usize);
    let (large, small) = (large_h * large_w, p.small_h as usize * small_w);
    let (x, index) = (a.read(0), Shared::new(a.write_indices(2)));
    for_rows(a.write(1), p.planes as usize, small, small * kh * kw, |plane, out| {
        let x = &x[plane * large..(plane + 1) * large];
        // SAFETY: one row of positions for each plane.
        let index = unsafe { index.part(plane * small..(plane + 1) * small) };
        for (i, (o, at)) in out.iter_mut().zip(index).enumerate() {
            let (oy, ox) = (i / small_w * stride, i % small_w * stride);
            let lines = oy.saturating_sub(pad_y)..(oy + kh - pad_y).min(large_h);
            let (left, right) = (ox.saturating_sub(pad_x), (ox + kw - pad_x).min(large_w));
            let mut best = lines.start * large_w + left;
            for iy in lines {
                for at in iy * large_w + left..iy * large_w + right {
                    if x[at] > x[best] {
                        best = at;
                    }
                }
            }
            (*o, *at) = (x[best], best as u32);
        }
    });
}

fn max_pool_grad<T: Real>(a: &Args<T>) {
    let p: PoolParams = a.params();
    let large = p.large_h as usize * p.large_w as usize;
    let small = p.small_h as usize * p.small_w as usize;
    let (g, index) = (a.read(0), a.indices(1));
    let keep = T::new(p.accumulate as f64);
    // A thread owns the plane, so it may scatter; windows come in the order in which the device gathers them.
    for_rows(a.write(2), p.planes as usize, large, large + small, |plane, out| {
        let windows = plane * small..(plane + 1) * small;
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
        for (at, g) in index[windows.clone()].iter().zip(&g[windows]) {
            out[*at as usize] += *g;
        }
    });
}

fn plane_mean<T: Real>(a: &Args<T>) {
    let p: MeanParams = a.params();
    let positions = p.positions as usize;
    let x = a.read(0);
    for_rows(a.write(1), p.planes as usize, 1, positions, |plane, out| {
        let x = &x[plane * positions..(plane + 1) * positions];
        out[0] = sum_of(positions, |i| x[i]) / T::new(positions as f64);
    });
}

fn plane_mean_grad<T: Real>(a: &Args<T>) {
    let p: MeanParams = a.params();
    let positions = p.positions as usize;
    let (g, keep) = (a.read(0), T::new(p.accumulate as f64));
    for_rows(a.write(1), p.planes as usize, positions, positions, |plane, out| {
        let g = g[plane] / T::new(positions as f64);
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o) + g);
    });
}

fn upsample<T: Real>(a: &Args<T>) {
    let p: UpParams = a.params();
    let [height, width, factor] = [p.height, p.width, p.factor].map(|v| v as usize);
    let x = a.read(0);
    let area = height * width * factor * factor;
    for_rows(a.write(1), p.planes as usize, area, area, |plane, out| {
        for (oy, line) in out.chunks_exact_mut(width * factor).enumerate() {
            let x = &x[(plane * height + oy / factor) * width..][..width];
            for (copies, v) in line.chunks_exact_mut(factor).zip(x) {
                copies.fill(*v);
            }
        }
    });
}

fn upsample_grad<T: Real>(a: &Args<T>) {
    let p: UpParams = a.params();
    let [height, width, factor] = [p.height, p.width, p.factor].map(|v| v as usize);
    let (g, keep) = (a.read(0), T::new(p.accumulate as f64));
    let (area, line) = (height * width, width * factor);
    for_rows(a.write(1), p.planes as usize, area, area * factor * factor, |plane, out| {
        let g = &g[plane * area * factor * factor..][..area * factor * factor];
        for (i, o) in out.iter_mut().enumerate() {
            let first = i / width * factor * line + i % width * factor;
            let total = (0..factor).flat_map(|dy| &g[first + dy * line..][..factor]).copied().sum::<T>();
            *o = keep_or_zero(keep, *o) + total;
        }
    });
}

fn pad<T: Real>(a: &Args<T>) {
    let p: PadParams = a.params();
    let [from_h, from_w, to_w] = [p.from_h, p.from_w, p.to_w].map(|v| v as usize);
    let [top, left, area] = [p.top, p.left, p.to_h * p.to_w].map(|v| v as usize);
    let x = a.read(0);
    for_rows(a.write(1), p.planes as usize, area, area, |plane, out| {
        for (oy, line) in out.chunks_exact_mut(to_w).enumerate() {
            let iy = oy.saturating_sub(top).min(from_h - 1);
            if p.edge == 0 && iy + top != oy {
                line.fill(T::ZERO);
                continue;
            }
            let x = &x[(plane * from_h + iy) * from_w..][..from_w];
            let (first, last) = if p.edge != 0 { (x[0], x[from_w - 1]) } else { (T::ZERO, T::ZERO) };
            line[..left].fill(first);
            line[left..left + from_w].copy_from_slice(x);
            line[left + from_w..].fill(last);
        }
    });
}

fn pad_grad<T: Real>(a: &Args<T>) {
    let p: PadParams = a.params();
    let [from_h, from_w, to_w] = [p.from_h, p.from_w, p.to_w].map(|v| v as usize);
    let [top, left, to] = [p.top, p.left, p.to_h * p.to_w].map(|v| v as usize);
    let (g, keep) = (a.read(0), T::new(p.accumulate as f64));
    for_rows(a.write(1), p.planes as usize, from_h * from_w, to, |plane, out| {
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
        for (oy, line) in g[plane * to..(plane + 1) * to].chunks_exact(to_w).enumerate() {
            let iy = oy.saturating_sub(top).min(from_h - 1);
            if p.edge == 0 && iy + top != oy {
                continue;
            }
            let out = &mut out[iy * from_w..(iy + 1) * from_w];
            if p.edge != 0 {
                out[0] += line[..left].iter().copied().sum();
                out[from_w - 1] += line[left + from_w..].iter().copied().sum();
            }
            out.iter_mut().zip(&line[left..]).for_each(|(o, g)| *o += *g);
        }
    });
}
