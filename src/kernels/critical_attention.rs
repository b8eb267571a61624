//! Host twins of `shaders/critical_attention.wgsl`.

use super::attention_pool::dot;
use super::cost::At;
use super::declared::critical_attention::{End, Grad, Part, Rows};
use super::host::{Shared, for_rows, parallel, simd};
use super::segment::{tile, tiles_of};
use super::{Args, Real, kernels};

kernels! {
    critical_attention {
        /// Scores, and each tile's largest score, sum of exponentials and weighted sum.
        CRITICAL_PART = critical_part, |&At { n, b, t, w, .. }| {
            let (h, q, k) = (w[1], w[2], w[3]);
            let sizes = format!("N={n} H={h} Q={q} C={k}");
            (n * (q + h + k) + t * k * (h + 2) + b * k * q, n * k * (2 * (q + h) + 5), sizes)
        };
        /// Gradient of the queries for comparing, and each tile's share of that for being compared with.
        CRITICAL_GRAD = critical_grad, |&At { n, b, t, w, .. }| {
            let (q, k) = (w[1], w[2]);
            let values = n * q * (2 + w[4]) + n * k + t * k * q + b * k * q;
            (values, n * k * (4 * q + 1), format!("N={n} Q={q} C={k}"))
        };
        /// The shares of each bag, added.
        CRITICAL_END = critical_end, |&At { b, t, w, .. }| {
            let (q, k) = (w[1], w[2]);
            let added = w[4];
            (k * q * (t + b * (1 + added)), k * q * (t + b * (1 + added)), format!("B={b} Q={q} C={k}"))
        };
        /// The rows of the critical instances.
        CRITICAL_ROWS = critical_rows, |&At { b, w, .. }| rows_cost(b, w[1], w[2], 0);
        /// Their gradient, added.
        CRITICAL_ROWS_GRAD = critical_rows_grad, |&At { b, w, .. }| rows_cost(b, w[1], w[2], 1);
    }
}

fn rows_cost(b: u64, q: u64, k: u64, added: u64) -> (u64, u64, String) {
    (b * k * (q * (2 + added) + 1), added * b * k * q, format!("B={b} Q={q} C={k}"))
}

fn critical_part<T: Real>(a: &Args<T>) {
    let p: Part = a.params();
    let (hidden, inner, classes) = (p.hidden as usize, p.inner as usize, p.classes as usize);
    let (q, v, keys, tiles) = (a.read(0), a.read(1), a.read(2), a.indices(3));
    let (scores, sums) = (Shared::new(a.write(4)), Shared::new(a.write(6)));
    let scale = T::from_f32(p.scale);
    let width = classes * hidden;
    for_rows(a.write(5), p.tiles as usize, width, 64 * (classes * inner + width), |t, parts| {
        let (bag, rows) = tile(tiles, t);
        // SAFETY: tiles own their rows, and each its place in the table.
        let (scores, sums) = unsafe {
            (scores.part(rows.start * classes..rows.end * classes), sums.part(t * 2 * classes..(t + 1) * 2 * classes))
        };
        simd(
            #[inline(always)]
            || {
                parts.fill(T::ZERO);
                for c in 0..classes {
                    let key = &keys[(bag * classes + c) * inner..(bag * classes + c + 1) * inner];
                    let mut largest = T::LOWEST;
                    for (i, r) in rows.clone().enumerate() {
                        let score = dot(&q[r * inner..(r + 1) * inner], key) * scale;
                        scores[i * classes + c] = score;
                        largest = score.larger(largest);
                    }
                    let mut sum = T::ZERO;
                    let parts = &mut parts[c * hidden..(c + 1) * hidden];
                    for (i, r) in rows.clone().enumerate() {
                        let weight = (scores[i * classes + c] - largest).exp();
                        sum += weight;
                        parts.iter_mut().zip(&v[r * hidden..]).for_each(|(o, v)| *o += weight * *v);
                    }
                    (sums[2 * c], sums[2 * c + 1]) = (largest, sum);
                }
            },
        );
    });
}

fn critical_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let (inner, classes) = (p.inner as usize, p.classes as usize);
    let (q, keys, score_grad, tiles) = (a.read(0), a.read(1), a.read(2), a.indices(3));
    let q_grad = Shared::new(a.write(4));
    let (scale, add) = (T::from_f32(p.scale), p.accumulate != 0);
    for_rows(a.write(5), p.tiles as usize, classes * inner, 64 * 2 * classes * inner, |t, parts| {
        let (bag, rows) = tile(tiles, t);
        simd(
            #[inline(always)]
            || {
                parts.fill(T::ZERO);
                for r in rows {
                    let row = &q[r * inner..(r + 1) * inner];
                    // SAFETY: tiles own their rows.
                    let out = unsafe { q_grad.part(r * inner..(r + 1) * inner) };
                    if !add {
                        out.fill(T::ZERO);
                    }
                    for c in 0..classes {
                        let g = score_grad[r * classes + c];
                        let key = &keys[(bag * classes + c) * inner..(bag * classes + c + 1) * inner];
                        out.iter_mut().zip(key).for_each(|(o, k)| *o += scale * g * *k);
                        let part = &mut parts[c * inner..(c + 1) * inner];
                        part.iter_mut().zip(row).for_each(|(o, q)| *o += g * *q);
                    }
                }
            },
        );
    });
}

fn critical_end<T: Real>(a: &Args<T>) {
    let p: End = a.params();
    let width = p.classes as usize * p.inner as usize;
    let (parts, bag_tiles) = (a.read(0), a.indices(1));
    let (scale, add) = (T::from_f32(p.scale), p.accumulate != 0);
    for_rows(a.write(2), p.bags as usize, width, width, |bag, out| {
        let mut sum = vec![T::ZERO; width];
        for t in tiles_of(bag_tiles, bag) {
            sum.iter_mut().zip(&parts[t * width..(t + 1) * width]).for_each(|(s, v)| *s += *v);
        }
        if !add {
            out.fill(T::ZERO);
        }
        out.iter_mut().zip(&sum).for_each(|(o, s)| *o += scale * *s);
    });
}

fn critical_rows<T: Real>(a: &Args<T>) {
    let p: Rows = a.params();
    let inner = p.inner as usize;
    let (x, critical) = (a.read(0), a.indices(1));
    for_rows(a.write(2), (p.bags * p.classes) as usize, inner, inner, |number, out| {
        let row = critical[number] as usize;
        out.copy_from_slice(&x[row * inner..(row + 1) * inner]);
    });
}

fn critical_rows_grad<T: Real>(a: &Args<T>) {
    let p: Rows = a.params();
    let (inner, classes) = (p.inner as usize, p.classes as usize);
    let (grad, critical) = (a.read(0), a.indices(1));
    let x_grad = Shared::new(a.write(2));
    parallel(p.bags as usize, classes * inner, |bags| {
        for number in bags.start * classes..bags.end * classes {
            let row = critical[number] as usize;
            // SAFETY: a critical row belongs to its bag, and one thread handles a bag.
            let out = unsafe { x_grad.part(row * inner..(row + 1) * inner) };
            out.iter_mut().zip(&grad[number * inner..]).for_each(|(o, g)| *o += *g);
        }
    });
}
