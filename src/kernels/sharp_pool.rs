//! Host twins of `shaders/sharp_pool.wgsl`.

use super::cost::At;
use super::declared::sharp_pool::{Divide, Grad};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel};
use super::segment::{tile, tile_sums};
use super::{Args, Real, kernels};

pub use super::declared::sharp_pool::{ADD, WANTED};

kernels! {
    sharp_pool {
        /// Largest r x and sum of exponentials of each tile.
        SHARP_PART = sharp_part, |at @ &At { n, t, c, .. }| (n * c + 2 * t * c + 1, 5 * n * c, at.by_instances());
        /// Gradient of the values, and parts of that of r.
        SHARP_GRAD = sharp_grad, |at @ &At { n, b, t, c, .. }| {
            let [wanted, added] = [0, 1].map(|bit| at.bit(2, bit));
            let values = n * c * (1 + wanted * (1 + added)) + 2 * b * c + t * c + 1;
            (values, n * c * (6 + wanted * (1 + added)) + t * c, at.by_instances())
        };
        /// Everything divided by r.
        DIVIDE = divide, |at @ &At { rows, w, .. }| ((2 + w[2]) * rows + 1, (2 + w[2]) * rows, at.line());
    }
}

fn sharp_part<T: Real>(a: &Args<T>) {
    tile_sums(a, [0, 2, 3, 4], a.read(1)[0]);
}

fn sharp_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (x, y, g, sharpness) = (a.read(0), a.read(1), a.read(2), a.read(3)[0]);
    let (tiles, offsets) = (a.indices(4), a.indices(5));
    let (wanted, keep) = (p.flags & WANTED != 0, T::new((p.flags & ADD != 0) as u32 as f64));
    let (x_grad, parts) = (Shared::new(a.write(6)), Shared::new(a.write(7)));
    parallel(p.count as usize, 64 * 8 * cols, |range| {
        for t in range {
            let (bag, rows) = tile(tiles, t);
            let instances = T::new((offsets[bag + 1] - offsets[bag]) as f64);
            let (y, g) = (&y[bag * cols..(bag + 1) * cols], &g[bag * cols..(bag + 1) * cols]);
            // SAFETY: one row of the table for each tile, and tiles do not overlap.
            let parts = unsafe { parts.part(t * cols..(t + 1) * cols) };
            parts.fill(T::ZERO);
            for r in rows {
                let x = &x[r * cols..(r + 1) * cols];
                let weight = |c: usize| g[c] / instances * (sharpness * x[c] - y[c]).exp();
                if wanted {
                    // SAFETY: as above.
                    let out = unsafe { x_grad.part(r * cols..(r + 1) * cols) };
                    for c in 0..cols {
                        let weight = weight(c);
                        parts[c] += weight * x[c];
                        out[c] = keep_or_zero(keep, out[c]) + weight * sharpness;
                    }
                } else {
                    for c in 0..cols {
                        parts[c] += weight(c) * x[c];
                    }
                }
            }
        }
    });
}

fn divide<T: Real>(a: &Args<T>) {
    let p: Divide = a.params();
    let (x, sharpness, keep) = (a.read(0), a.read(1)[0], T::new(p.accumulate as f64));
    let factor = T::from_f32(p.factor);
    for_rows(a.write(2), p.count as usize, 1, 3, |i, out| {
        out[0] = keep_or_zero(keep, out[0]) + factor * x[i] / sharpness;
    });
}
