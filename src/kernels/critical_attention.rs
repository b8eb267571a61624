//! Host twins of `shaders/critical_attention.wgsl`.

use super::attention_pool::dot;
use super::host::{Shared, for_rows, parallel, simd};
use super::segment::{tile, tiles_of};
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Part {
    tiles: u32,
    hidden: u32,
    inner: u32,
    classes: u32,
    scale: f32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Grad {
    tiles: u32,
    inner: u32,
    classes: u32,
    scale: f32,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Critical {
    bags: u32,
    inner: u32,
    classes: u32,
    scale: f32,
}

kernel!(/// Scores, and each tile's largest score, sum of exponentials and weighted sum.
    CRITICAL_PART, "critical_attention", critical_part, Part,
    [Read, Read, ReadIndex, ReadIndex, Write, Write, Write]);
kernel!(/// Gradient of the queries for comparing, and each tile's share of that for being compared with.
    CRITICAL_GRAD, "critical_attention", critical_grad, Grad, [Read, ReadIndex, Read, ReadIndex, Write, Write]);
kernel!(/// The shares, added to the critical rows.
    CRITICAL_END, "critical_attention", critical_end, Critical, [Read, ReadIndex, ReadIndex, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&CRITICAL_PART, &CRITICAL_GRAD, &CRITICAL_END];

fn critical_part<T: Real>(a: &Args<T>) {
    let p: Part = a.params();
    let (hidden, inner, classes) = (p.hidden as usize, p.inner as usize, p.classes as usize);
    let (q, v, critical, tiles) = (a.read(0), a.read(1), a.indices(2), a.indices(3));
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
                    let m = critical[bag * classes + c] as usize * inner;
                    let query = &q[m..m + inner];
                    let mut largest = T::LOWEST;
                    for (i, r) in rows.clone().enumerate() {
                        let score = dot(&q[r * inner..(r + 1) * inner], query) * scale;
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
    let (q, critical, score_grad, tiles) = (a.read(0), a.indices(1), a.read(2), a.indices(3));
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
                        let m = critical[bag * classes + c] as usize * inner;
                        out.iter_mut().zip(&q[m..m + inner]).for_each(|(o, q)| *o += scale * g * *q);
                        let part = &mut parts[c * inner..(c + 1) * inner];
                        part.iter_mut().zip(row).for_each(|(o, q)| *o += g * *q);
                    }
                }
            },
        );
    });
}

fn critical_end<T: Real>(a: &Args<T>) {
    let p: Critical = a.params();
    let (inner, classes) = (p.inner as usize, p.classes as usize);
    let (parts, critical, bag_tiles) = (a.read(0), a.indices(1), a.indices(2));
    let (q_grad, scale) = (Shared::new(a.write(3)), T::from_f32(p.scale));
    parallel(p.bags as usize, classes * inner, |bags| {
        let mut sum = vec![T::ZERO; inner];
        for bag in bags {
            for c in 0..classes {
                sum.fill(T::ZERO);
                for t in tiles_of(bag_tiles, bag) {
                    let part = &parts[(t * classes + c) * inner..(t * classes + c + 1) * inner];
                    sum.iter_mut().zip(part).for_each(|(s, v)| *s += *v);
                }
                let m = critical[bag * classes + c] as usize * inner;
                // SAFETY: a critical row belongs to its bag, and one thread handles a bag.
                let out = unsafe { q_grad.part(m..m + inner) };
                out.iter_mut().zip(&sum).for_each(|(o, s)| *o += scale * *s);
            }
        }
    });
}
