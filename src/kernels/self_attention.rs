//! Host twins of `shaders/self_attention.wgsl`: blocks of 64 by 64 pairs, each through small loops over
//! registers; tiles of own rows in parallel.

use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::launch::Variant;
use super::{Args, Kernel, Real, kernel};
use crate::ops::self_attention::Energy;
use blocks::{Block, SIDE, pair_sums, weigh};
use bytemuck::{Pod, Zeroable};
use energies::*;
use launched::Launched;

mod blocks;
mod distance;
mod energies;
mod launched;

pub use energies::kind;

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Attend {
    tiles: u32,
    heads: u32,
    dims: u32,
    values: u32,
    scale: f32,
    unit: f32,
    flags: u32,
    kind: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Spans {
    tiles: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Record {
    rows: u32,
    heads: u32,
    values: u32,
    flags: u32,
    kind: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Alpha {
    heads: u32,
    accumulate: u32,
}

kernel!(/// First row, rows, first and last row of the bag of each tile.
    SPANS, "self_attention", attention_spans, Spans, [ReadIndex, ReadIndex, WriteIndex]);
kernel!(/// What backward needs of each row and head; before that, alpha.
    RECORD, "self_attention", attention_record, Record, [Read, Read, Read, Read, Read, Write]);
kernel!(/// Weighted sums of the values and log-sum-exp of the energies.
    FORWARD, "self_attention", attention_forward, Attend, [Read, Read, Read, Write, Read, ReadIndex, Write, Write]);
kernel!(/// Gradient of the values.
    VALUES, "self_attention", attention_values, Attend, [Read, Read, Read, Write, Read, ReadIndex]);
kernel!(/// Gradient of queries or keys, and of what all pairs share.
    BACK, "self_attention", attention_back, Attend, [Read, Read, Read, Read, Read, ReadIndex, Write, Write]);
kernel!(/// Gradient of alpha from that of relu(alpha).
    ALPHA, "self_attention", attention_alpha, Alpha, [Read, Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&SPANS, &RECORD, &FORWARD, &VALUES, &BACK, &ALPHA];

/// Columns of the result that a workgroup computes.
pub const CHUNK: u32 = 64;
/// Add to the gradient that is there.
pub const ACCUMULATE: u32 = 1;
/// Own rows are keys.
pub const FLIP: u32 = 2;
/// Write the shares of what all pairs share.
pub const SHARES: u32 = 4;

/// The shader for an energy; vector loads where both widths are multiples of four.
pub fn variant(energy: &Energy, dims: u32, values: u32) -> Variant {
    let vectors = dims.is_multiple_of(4) && values.is_multiple_of(4);
    let kind = kind(energy);
    vec![("VEC", vectors as u32), ("KIND", kind), ("DISTANCE", (kind == DISTANCE) as u32)]
}

/// Values in a record.
pub fn record_len(energy: &Energy) -> u32 {
    if kind(energy) == DISTANCE { 12 } else { 4 }
}

/// Values that each row and head contributes to what all pairs share.
pub fn share_len(energy: &Energy) -> u32 {
    match kind(energy) {
        RBF | INVERSE | POWER => 1,
        DISTANCE => 4,
        _ => 0,
    }
}

fn attention_spans<T: Real>(a: &Args<T>) {
    let p: Spans = a.params();
    let (tiles, offsets, out) = (a.indices(0), a.indices(1), a.write_indices(2));
    for (tile, span) in tiles.chunks_exact(4).zip(out.chunks_exact_mut(4)).take(p.tiles as usize) {
        let bag = tile[0] as usize;
        span.copy_from_slice(&[tile[1], tile[2], offsets[bag], offsets[bag + 1]]);
    }
}

fn attention_record<T: Real>(a: &Args<T>) {
    let p: Record = a.params();
    let (heads, values) = (p.heads as usize, p.values as usize);
    let (y, g, lse_grad, lse, extra) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4));
    let distance = p.kind == DISTANCE;
    let width = if distance { 12 } else { 4 };
    for_rows(a.write(5), p.rows as usize * heads, width, 4 * values, |i, record| {
        let head = i % heads;
        let record = &mut record[..4];
        record.fill(T::ZERO);
        if p.flags & 2 != 0 {
            let g = &g[i * values..(i + 1) * values];
            let along = |v: &[T]| -> T { v.iter().zip(g).map(|(v, g)| *v * *g).sum() };
            record[0] = lse[i];
            record[1] = along(&y[i * values..(i + 1) * values]);
            if p.flags & 1 != 0 {
                record[1] -= lse_grad[i];
            }
            if distance {
                record[2] = along(&extra[head * values..(head + 1) * values]);
                record[3] = along(&extra[(heads + head) * values..(heads + head + 1) * values]);
            }
        }
        if !distance && p.flags & 4 != 0 {
            record[2] = extra[head].larger(T::ZERO);
        }
    });
}

fn attention_alpha<T: Real>(a: &Args<T>) {
    let p: Alpha = a.params();
    let keep = T::new(p.accumulate as f64);
    let (alpha, g) = (a.read(0), a.read(1));
    for ((out, alpha), g) in a.write(2).iter_mut().zip(alpha).zip(g).take(p.heads as usize) {
        *out = keep_or_zero(keep, *out) + if *alpha > T::ZERO { *g } else { T::ZERO };
    }
}

fn attention_forward<T: Real>(a: &Args<T>) {
    let p: Attend = a.params();
    by_energy!(p.kind, forward, a, p);
}

fn attention_values<T: Real>(a: &Args<T>) {
    let p: Attend = a.params();
    by_energy!(p.kind, values, a, p);
}

fn attention_back<T: Real>(a: &Args<T>) {
    let p: Attend = a.params();
    by_energy!(p.kind, back, a, p);
}

fn forward<T: Real, const K: u32>(a: &Args<T>, p: Attend) {
    let l = Launched::new(a, &p, false);
    let (heads, dims, width) = (l.heads, l.dims, l.values);
    let (x, y, v) = (a.read(0), a.read(1), a.read(2));
    let (out, lse, shares) = (Shared::new(a.write(3)), Shared::new(a.write(6)), Shared::new(a.write(7)));
    parallel(p.tiles as usize * heads, l.work(width), |range| {
        let (mut own, mut other, mut values) = (Block::new(dims), Block::new(dims), Block::new(width));
        let (mut sums, mut pairs) = (Block::new(width), vec![T::ZERO; SIDE * SIDE]);
        for number in range {
            let (head, [first, rows, start, end]) = (number % heads, l.span(number / heads));
            let alpha = l.alpha::<K>(first, head);
            let (mut largest, mut total) = ([T::LOWEST; SIDE], [T::ZERO; SIDE]);
            let mut near_far = [[T::ZERO; 2]; SIDE];
            own.load(x, heads, head, first, rows);
            sums.clear();
            for (block, count) in Launched::<T>::blocks(start, end) {
                other.load_columns(y, heads, head, block, count);
                values.load(v, heads, head, block, count);
                simd(
                    #[inline(always)]
                    || {
                        pair_sums(
                            &own,
                            &other,
                            rows,
                            dims,
                            &mut pairs,
                            #[inline(always)]
                            |x, y| term::<T, K>(x, y, alpha),
                        );
                        for i in 0..rows {
                            let e = &mut pairs[i * SIDE..i * SIDE + count];
                            l.energies::<K>(e, alpha, (first + i, block, head));
                            let now = e.iter().fold(largest[i], |m, e| e.larger(m));
                            let old = (largest[i] - now).exp();
                            e.iter_mut().for_each(|e| *e = (*e - now).exp());
                            total[i] = total[i] * old + e.iter().copied().sum::<T>();
                            largest[i] = now;
                            sums.row(i).iter_mut().for_each(|s| *s *= old);
                            if K == DISTANCE {
                                near_far[i] = near_far[i].map(|s| s * old);
                                l.add_near_far(e, (first + i, block, head), &mut near_far[i]);
                            }
                        }
                        weigh(
                            &pairs,
                            rows,
                            count,
                            &values,
                            None,
                            &mut sums,
                            #[inline(always)]
                            |_, v| v,
                        );
                    },
                );
            }
            for i in 0..rows {
                let at = (first + i) * heads + head;
                // SAFETY: a tile owns its rows, and each head its columns.
                let (out, lse) = unsafe { (out.part(at * width..(at + 1) * width), lse.part(at..at + 1)) };
                out.iter_mut().zip(sums.row(i)).for_each(|(o, s)| *o = *s / total[i]);
                lse[0] = largest[i] + total[i].ln();
                if K == DISTANCE {
                    for (part, share) in near_far[i].into_iter().enumerate() {
                        let at = ((first + i) * 2 + part) * heads + head;
                        // SAFETY: as above.
                        let out = unsafe { shares.part(at..at + 1) };
                        out[0] = share / total[i];
                    }
                }
            }
        }
    });
}

fn values<T: Real, const K: u32>(a: &Args<T>, p: Attend) {
    let l = Launched::new(a, &p, true);
    let (heads, dims, width) = (l.heads, l.dims, l.values);
    let (x, y, v, out) = (a.read(0), a.read(1), a.read(2), Shared::new(a.write(3)));
    let keep = T::new((p.flags & ACCUMULATE) as f64);
    parallel(p.tiles as usize * heads, l.work(width), |range| {
        let (mut own, mut other, mut values) = (Block::new(dims), Block::new(dims), Block::new(width));
        let (mut sums, mut pairs) = (Block::new(width), vec![T::ZERO; SIDE * SIDE]);
        for number in range {
            let (head, [first, rows, start, end]) = (number % heads, l.span(number / heads));
            let alpha = l.alpha::<K>(first, head);
            own.load(x, heads, head, first, rows);
            sums.clear();
            for (block, count) in Launched::<T>::blocks(start, end) {
                other.load_columns(y, heads, head, block, count);
                values.load(v, heads, head, block, count);
                let lse: [T; SIDE] = std::array::from_fn(|j| l.record::<K>(block + j.min(count - 1), head)[0]);
                simd(
                    #[inline(always)]
                    || {
                        pair_sums(
                            &own,
                            &other,
                            rows,
                            dims,
                            &mut pairs,
                            #[inline(always)]
                            |x, y| term::<T, K>(x, y, alpha),
                        );
                        for i in 0..rows {
                            let e = &mut pairs[i * SIDE..i * SIDE + count];
                            l.energies::<K>(e, alpha, (first + i, block, head));
                            e.iter_mut().zip(&lse).for_each(|(e, l)| *e = (*e - *l).exp());
                        }
                        weigh(
                            &pairs,
                            rows,
                            count,
                            &values,
                            None,
                            &mut sums,
                            #[inline(always)]
                            |_, v| v,
                        );
                    },
                );
            }
            for i in 0..rows {
                let at = (first + i) * heads + head;
                // SAFETY: a tile owns its rows, and each head its columns.
                let out = unsafe { out.part(at * width..(at + 1) * width) };
                out.iter_mut().zip(sums.row(i)).for_each(|(o, s)| *o = keep_or_zero(keep, *o) + *s);
            }
        }
    });
}

fn back<T: Real, const K: u32>(a: &Args<T>, p: Attend) {
    let l = Launched::new(a, &p, p.flags & FLIP != 0);
    let (heads, dims, width) = (l.heads, l.dims, l.values);
    let (x, y, xg, yg) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (grad, shares) = (Shared::new(a.write(6)), Shared::new(a.write(7)));
    let keep = T::new((p.flags & ACCUMULATE) as f64);
    let kinds = if K == DISTANCE { 4 } else { 1 };
    let wanted = p.flags & SHARES != 0;
    parallel(p.tiles as usize * heads, l.work(dims + width), |range| {
        let (mut own, mut other, mut columns) = (Block::new(dims), Block::new(dims), Block::new(dims));
        let (mut own_values, mut other_values) = (Block::new(width), Block::new(width));
        let (mut pairs, mut products) = (vec![T::ZERO; SIDE * SIDE], vec![T::ZERO; SIDE * SIDE]);
        let (mut sums, mut logs) = (Block::new(dims), vec![T::ZERO; SIDE * SIDE]);
        for number in range {
            let (head, [first, rows, start, end]) = (number % heads, l.span(number / heads));
            let alpha = l.alpha::<K>(first, head);
            let mut share = [[T::ZERO; 4]; SIDE];
            own.load(x, heads, head, first, rows);
            own_values.load(xg, heads, head, first, rows);
            sums.clear();
            for (block, count) in Launched::<T>::blocks(start, end) {
                other.load(y, heads, head, block, count);
                columns.load_columns(y, heads, head, block, count);
                other_values.load_columns(yg, heads, head, block, count);
                simd(
                    #[inline(always)]
                    || {
                        pair_sums(
                            &own,
                            &columns,
                            rows,
                            dims,
                            &mut pairs,
                            #[inline(always)]
                            |x, y| term::<T, K>(x, y, alpha),
                        );
                        pair_sums(
                            &own_values,
                            &other_values,
                            rows,
                            width,
                            &mut products,
                            #[inline(always)]
                            |x, y| x * y,
                        );
                        if K == POWER && wanted {
                            pair_sums(
                                &own,
                                &columns,
                                rows,
                                dims,
                                &mut logs,
                                #[inline(always)]
                                |x, y| term_log(x, y, alpha),
                            );
                        }
                        for (i, share) in share.iter_mut().enumerate().take(rows) {
                            let at = i * SIDE..i * SIDE + count;
                            let place = (first + i, block, head);
                            l.weights::<K>(
                                &mut pairs[at.clone()],
                                &products[at.clone()],
                                &logs[at],
                                alpha,
                                place,
                                share,
                            );
                        }
                        weigh(
                            &pairs,
                            rows,
                            count,
                            &other,
                            Some(&own),
                            &mut sums,
                            #[inline(always)]
                            |x, y| term_slope::<T, K>(x, y, alpha),
                        );
                    },
                );
            }
            for (i, share) in share.iter().enumerate().take(rows) {
                let at = (first + i) * heads + head;
                // SAFETY: a tile owns its rows, and each head its columns.
                let out = unsafe { grad.part(at * dims..(at + 1) * dims) };
                out.iter_mut().zip(sums.row(i)).for_each(|(o, s)| *o = keep_or_zero(keep, *o) + *s);
                for (kind, share) in share.iter().enumerate().take(if wanted { kinds } else { 0 }) {
                    let at = ((first + i) * kinds + kind) * heads + head;
                    // SAFETY: as above.
                    let out = unsafe { shares.part(at..at + 1) };
                    out[0] = *share;
                }
            }
        }
    });
}
