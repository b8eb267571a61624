//! Host twins of `shaders/attention_pool.wgsl`.

use super::cost::At;
pub use super::declared::attention_pool::{ADD, OUTSIDE, PRE_ADD, PRE_WANTED, WANTED};
use super::declared::attention_pool::{End, Grad, Part, ScoreGrad};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::launch::Variant;
use super::segment::{tile, tiles_of};
use super::{Args, Real, kernels};

kernels! {
    attention_pool {
        /// Scores, and each tile's largest score, sum of exponentials and weighted sum.
        POOL_PART = pool_part, |&At { n, t, w, .. }| {
            let (h, l, k, gated) = (w[1], w[2], w[3], w[4]);
            let pre = l * (1 + gated);
            let values = n * (pre + h + k) + k * l + k + t * k * (h + 2);
            (values, n * (pre + gated * l + 2 * k * (l + h + 2)), sizes(n, [h, l, k]))
        };
        /// Tiles combined into bags.
        POOL_END = pool_end, |&At { n, b, t, w, .. }| {
            let (h, k) = (w[1], w[2]);
            (k * (t * (h + 2) + b * (h + 1)), k * (t * (2 * h + 5) + b * (h + 2)), sizes(n, [h, 0, k]))
        };
        /// Gradients of scores and embeddings.
        POOL_GRAD = pool_grad, |at @ &At { n, b, t, w, .. }| {
            let (h, k, [kept, wanted, added]) = (w[1], w[2], [0, 1, 2].map(|bit| at.bit(3, bit)));
            let values = n * h + b * k * (2 * h + 1) + n * k * (2 + kept) + wanted * n * h * (1 + added);
            let rows = (2 * k + added).saturating_sub(1) * wanted;
            (values, n * k * (2 * h + 4) + 2 * t * k * h + n * h * rows, sizes(n, [h, 0, k]))
        };
        /// Gradients of the pre-activations, and shares of those of w and b.
        SCORE_GRAD = score_back, |at @ &At { n, t, w, .. }| {
            let (l, k, gated, wanted, added) = (w[1], w[2], w[3], at.bit(4, 0), at.bit(4, 1));
            let pre = l * (1 + gated);
            let values = n * (pre + k) + k * l + wanted * n * pre * (1 + added) + t * k * (l + 1);
            let of_row = wanted * (l * (3 + 5 * gated) + added * pre);
            (values, n * (pre + k * (l * (4 + gated) + 1) + of_row), sizes(n, [0, l, k]))
        };
    }
}

/// Instances, and of hidden, inner and heads those that matter.
fn sizes(n: u64, shape: [u64; 3]) -> String {
    let named = ["H", "L", "K"].iter().zip(shape).filter(|(_, v)| *v > 0);
    let named: Vec<String> = named.map(|(s, v)| format!("{s}={v}")).collect();
    format!("N={n} {}", named.join(" "))
}

/// Vector loads where both widths are multiples of four.
pub fn variant(hidden: u32, inner: u32) -> Variant {
    vec![("VEC", (hidden.is_multiple_of(4) && inner.is_multiple_of(4)) as u32)]
}

/// Sum of products in sixteen running sums, so that it vectorises; of short rows one after the other.
#[inline(always)]
pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    if x.len() < 16 {
        return x.iter().zip(y).map(|(x, y)| *x * *y).sum();
    }
    let mut sums = [T::ZERO; 16];
    let (xs, ys) = (x.chunks_exact(16), y.chunks_exact(16));
    let rest: T = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| *a * *b).sum();
    for (x, y) in xs.zip(ys) {
        for i in 0..16 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().copied().sum::<T>() + rest
}

/// Columns whose gate values fit in a buffer on the stack.
const BLOCK: usize = 256;

fn pool_part<T: Real>(a: &Args<T>) {
    let p: Part = a.params();
    let (hidden, inner, heads, gated) = (p.hidden as usize, p.inner as usize, p.heads as usize, p.gated != 0);
    let (pre, h, w, b, tiles) = (a.read(0), a.read(1), a.read(2), a.read(3), a.indices(4));
    let (scores, sums) = (Shared::new(a.write(5)), Shared::new(a.write(7)));
    let stride = if gated { 2 * inner } else { inner };
    let width = heads * hidden;
    for_rows(a.write(6), p.tiles as usize, width, 64 * (16 * stride + width), |t, parts| {
        let (_, rows) = tile(tiles, t);
        // SAFETY: tiles own their rows, and each its place in the table.
        let (scores, sums) = unsafe {
            (scores.part(rows.start * heads..rows.end * heads), sums.part(t * 2 * heads..(t + 1) * 2 * heads))
        };
        simd(
            #[inline(always)]
            || {
                let mut u = [T::ZERO; BLOCK];
                for (r, scores) in rows.clone().zip(scores.chunks_exact_mut(heads)) {
                    scores.copy_from_slice(&b[..heads]);
                    let pre = &pre[r * stride..(r + 1) * stride];
                    for start in (0..inner).step_by(BLOCK) {
                        let end = (start + BLOCK).min(inner);
                        let u = &mut u[..end - start];
                        u.iter_mut().zip(&pre[start..end]).for_each(|(o, v)| *o = v.tanh());
                        if gated {
                            let gates = &pre[inner + start..inner + end];
                            u.iter_mut().zip(gates).for_each(|(o, s)| *o *= s.sigmoid());
                        }
                        for (k, score) in scores.iter_mut().enumerate() {
                            *score += dot(&w[k * inner + start..k * inner + end], u);
                        }
                    }
                }
                parts.fill(T::ZERO);
                for k in 0..heads {
                    let largest = scores.iter().skip(k).step_by(heads).fold(T::LOWEST, |m, s| s.larger(m));
                    let mut sum = T::ZERO;
                    let parts = &mut parts[k * hidden..(k + 1) * hidden];
                    for (i, r) in rows.clone().enumerate() {
                        let weight = (scores[i * heads + k] - largest).exp();
                        sum += weight;
                        parts.iter_mut().zip(&h[r * hidden..]).for_each(|(o, h)| *o += weight * *h);
                    }
                    (sums[2 * k], sums[2 * k + 1]) = (largest, sum);
                }
            },
        );
    });
}

fn pool_end<T: Real>(a: &Args<T>) {
    let p: End = a.params();
    let (hidden, heads) = (p.hidden as usize, p.heads as usize);
    let (parts, sums, bag_tiles, lse) = (a.read(0), a.read(1), a.indices(2), Shared::new(a.write(4)));
    for_rows(a.write(3), p.bags as usize * heads, hidden, 4 * hidden, |number, z| {
        let (bag, k) = (number / heads, number % heads);
        // SAFETY: one value for each bag and head.
        let lse = unsafe { lse.part(number..number + 1) };
        let of = |t: usize| (sums[(t * heads + k) * 2], sums[(t * heads + k) * 2 + 1]);
        let largest = tiles_of(bag_tiles, bag).fold(T::LOWEST, |m, t| of(t).0.larger(m));
        let mut sum = T::ZERO;
        z.fill(T::ZERO);
        for t in tiles_of(bag_tiles, bag) {
            let factor = (of(t).0 - largest).exp();
            sum += of(t).1 * factor;
            let part = &parts[(t * heads + k) * hidden..];
            z.iter_mut().zip(part).for_each(|(z, v)| *z += factor * *v);
        }
        z.iter_mut().for_each(|z| *z = *z / sum);
        lse[0] = largest + sum.ln();
    });
}

fn pool_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let (hidden, heads) = (p.hidden as usize, p.heads as usize);
    let (h, z, dz, scores, lse, tiles) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4), a.indices(5));
    let (score_grad, h_grad) = (Shared::new(a.write(6)), Shared::new(a.write(7)));
    let keep = T::new((p.flags & OUTSIDE != 0) as u32 as f64);
    let (wanted, add) = (p.flags & WANTED != 0, T::new((p.flags & ADD != 0) as u32 as f64));
    parallel(p.tiles as usize, 64 * 2 * hidden * heads, |range| {
        for t in range {
            let (bag, rows) = tile(tiles, t);
            for k in 0..heads {
                let place = (bag * heads + k) * hidden;
                let (z, dz) = (&z[place..place + hidden], &dz[place..place + hidden]);
                simd(
                    #[inline(always)]
                    || {
                        let inner = dot(z, dz);
                        for r in rows.clone() {
                            let i = r * heads + k;
                            let weight = (scores[i] - lse[bag * heads + k]).exp();
                            let along = dot(&h[r * hidden..(r + 1) * hidden], dz);
                            // SAFETY: tiles own their rows.
                            let out = unsafe { score_grad.part(i..i + 1) };
                            out[0] = keep_or_zero(keep, out[0]) + weight * (along - inner);
                            if wanted {
                                let add = if k > 0 { T::ONE } else { add };
                                // SAFETY: as above.
                                let out = unsafe { h_grad.part(r * hidden..(r + 1) * hidden) };
                                if add == T::ZERO {
                                    out.iter_mut().zip(dz).for_each(|(o, d)| *o = weight * *d);
                                } else {
                                    out.iter_mut().zip(dz).for_each(|(o, d)| *o += weight * *d);
                                }
                            }
                        }
                    },
                );
            }
        }
    });
}

fn score_back<T: Real>(a: &Args<T>) {
    let p: ScoreGrad = a.params();
    let (inner, heads, gated) = (p.inner as usize, p.heads as usize, p.gated != 0);
    let (pre, w, score_grad, tiles) = (a.read(0), a.read(1), a.read(2), a.indices(3));
    let (pre_grad, b_parts) = (Shared::new(a.write(4)), Shared::new(a.write(6)));
    let stride = if gated { 2 * inner } else { inner };
    let (wanted, add) = (p.flags & PRE_WANTED != 0, p.flags & PRE_ADD != 0);
    for_rows(a.write(5), p.tiles as usize, heads * inner, 64 * 20 * stride, |t, w_parts| {
        let (_, rows) = tile(tiles, t);
        // SAFETY: each tile has its place in the table.
        let b_parts = unsafe { b_parts.part(t * heads..(t + 1) * heads) };
        b_parts.fill(T::ZERO);
        w_parts.fill(T::ZERO);
        simd(
            #[inline(always)]
            || {
                let (mut t, mut s, mut d) = ([T::ZERO; BLOCK], [T::ONE; BLOCK], [T::ZERO; BLOCK]);
                for r in rows {
                    let pre = &pre[r * stride..(r + 1) * stride];
                    let grads = &score_grad[r * heads..(r + 1) * heads];
                    b_parts.iter_mut().zip(grads).for_each(|(b, g)| *b += *g);
                    for start in (0..inner).step_by(BLOCK) {
                        let end = (start + BLOCK).min(inner);
                        let n = end - start;
                        let (t, s, d) = (&mut t[..n], &mut s[..n], &mut d[..n]);
                        t.iter_mut().zip(&pre[start..end]).for_each(|(o, v)| *o = v.tanh());
                        if gated {
                            s.iter_mut().zip(&pre[inner + start..inner + end]).for_each(|(o, v)| *o = v.sigmoid());
                        }
                        d.fill(T::ZERO);
                        for (k, g) in grads.iter().enumerate() {
                            let out = &mut w_parts[k * inner + start..k * inner + end];
                            out.iter_mut().zip(t.iter()).zip(s.iter()).for_each(|((o, t), s)| *o += *g * *t * *s);
                            let w = &w[k * inner + start..k * inner + end];
                            d.iter_mut().zip(w).for_each(|(d, w)| *d += *g * *w);
                        }
                        if !wanted {
                            continue;
                        }
                        let at = r * stride + start..r * stride + end;
                        let gates = t.iter().zip(s.iter()).zip(d.iter());
                        // SAFETY: tiles own their rows, and the two halves of a row are apart.
                        let out = unsafe { pre_grad.part(at.clone()) }.iter_mut().zip(gates.clone());
                        match add {
                            false => out.for_each(|(o, ((t, s), d))| *o = *d * *s * (T::ONE - *t * *t)),
                            true => out.for_each(|(o, ((t, s), d))| *o += *d * *s * (T::ONE - *t * *t)),
                        }
                        if gated {
                            // SAFETY: as above.
                            let out = unsafe { pre_grad.part(at.start + inner..at.end + inner) };
                            let out = out.iter_mut().zip(gates);
                            match add {
                                false => out.for_each(|(o, ((t, s), d))| *o = *d * *t * *s * (T::ONE - *s)),
                                true => out.for_each(|(o, ((t, s), d))| *o += *d * *t * *s * (T::ONE - *s)),
                            }
                        }
                    }
                }
            },
        );
    });
}
