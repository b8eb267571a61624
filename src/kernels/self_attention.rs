//! Host twins of `shaders/self_attention.wgsl`: blocks of 64 by 64 pairs, each through small loops over
//! registers; tiles of own rows in parallel.

use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::launch::Variant;
use super::{Args, Kernel, Real, kernel};
use crate::ops::self_attention::Energy;
use blocks::{Block, SIDE, pair_sums, weigh};
use bytemuck::{Pod, Zeroable};

mod blocks;

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

const DOT: u32 = 0;
const RBF: u32 = 1;
const INVERSE: u32 = 2;
const LAPLACE: u32 = 3;
const MODULE: u32 = 4;
const POWER: u32 = 5;
const DISTANCE: u32 = 6;

/// Number of an energy in shader and twins.
pub fn kind(energy: &Energy) -> u32 {
    match energy {
        Energy::Dot { .. } => DOT,
        Energy::Rbf => RBF,
        Energy::InverseQuadratic => INVERSE,
        Energy::Laplace => LAPLACE,
        Energy::Module => MODULE,
        Energy::ModulePower => POWER,
        Energy::Distance { .. } => DISTANCE,
    }
}

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

/// x^a for x >= 0; 0 at 0 for every a.
#[inline(always)]
fn power<T: Real>(x: T, a: T) -> T {
    if x > T::ZERO { (a * x.ln()).exp() } else { T::ZERO }
}

/// d/da x^a.
#[inline(always)]
fn power_log<T: Real>(x: T, a: T) -> T {
    if x > T::ZERO { (a * x.ln()).exp() * x.ln() } else { T::ZERO }
}

/// d/da of the sum of powers of a pair.
#[inline(always)]
fn term_log<T: Real>(x: T, y: T, a: T) -> T {
    power_log((x - y).abs(), a) - power_log(x.abs(), a) - power_log(y.abs(), a)
}

#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    let up = if x > T::ZERO { T::ONE } else { T::ZERO };
    if x < T::ZERO { -T::ONE } else { up }
}

#[inline(always)]
fn term<T: Real, const K: u32>(x: T, y: T, alpha: T) -> T {
    match K {
        RBF | INVERSE => (x - y) * (x - y),
        LAPLACE => (x - y).abs(),
        MODULE => (x - y).abs() - x.abs() - y.abs(),
        POWER => power((x - y).abs(), alpha) - power(x.abs(), alpha) - power(y.abs(), alpha),
        _ => x * y,
    }
}

#[inline(always)]
fn term_slope<T: Real, const K: u32>(x: T, y: T, alpha: T) -> T {
    match K {
        RBF | INVERSE => x - y,
        LAPLACE => sign(x - y),
        MODULE => sign(x - y) - sign(x),
        POWER => {
            let slope = |v: T| alpha * sign(v) * power(v.abs(), alpha - T::ONE);
            slope(x - y) - slope(x)
        }
        _ => y,
    }
}

#[inline(always)]
fn energy_of<T: Real, const K: u32>(sum: T, alpha: T, scale: T) -> T {
    match K {
        RBF => (-alpha * sum).exp(),
        INVERSE => T::ONE / (alpha * sum + T::ONE),
        LAPLACE => -sum,
        MODULE | POWER => sum,
        _ => scale * sum,
    }
}

#[inline(always)]
fn slope_of<T: Real, const K: u32>(energy: T, alpha: T, scale: T) -> T {
    let two = T::ONE + T::ONE;
    match K {
        RBF => -two * alpha * energy,
        INVERSE => -two * alpha * energy * energy,
        LAPLACE => -T::ONE,
        MODULE | POWER => T::ONE,
        _ => scale,
    }
}

/// Calls a function of the energy that a launch is for.
macro_rules! by_energy {
    ($kind:expr, $f:ident, $($arg:expr),*) => {
        match $kind {
            RBF => $f::<T, RBF>($($arg),*),
            INVERSE => $f::<T, INVERSE>($($arg),*),
            LAPLACE => $f::<T, LAPLACE>($($arg),*),
            MODULE => $f::<T, MODULE>($($arg),*),
            POWER => $f::<T, POWER>($($arg),*),
            DISTANCE => $f::<T, DISTANCE>($($arg),*),
            _ => $f::<T, DOT>($($arg),*),
        }
    };
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

/// What the three twins know of their launch.
struct Launched<'a, T> {
    heads: usize,
    dims: usize,
    values: usize,
    scale: T,
    unit: T,
    record: &'a [T],
    spans: &'a [u32],
    flip: bool,
}

impl<'a, T: Real> Launched<'a, T> {
    fn new(a: &Args<'a, T>, p: &Attend, flip: bool) -> Self {
        Self {
            heads: p.heads as usize,
            dims: p.dims as usize,
            values: p.values as usize,
            scale: T::from_f32(p.scale),
            unit: T::from_f32(p.unit),
            record: a.read(4),
            spans: a.indices(5),
            flip,
        }
    }

    /// (first row, rows, first row of the bag, end of the bag) of a tile.
    fn span(&self, tile: usize) -> [usize; 4] {
        std::array::from_fn(|i| self.spans[tile * 4 + i] as usize)
    }

    /// The first row of each block of the bag, and its rows.
    fn blocks(start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
        (start..end).step_by(SIDE).map(move |b| (b, SIDE.min(end - b)))
    }

    #[inline(always)]
    fn record<const K: u32>(&self, row: usize, head: usize) -> &'a [T] {
        let len = if K == DISTANCE { 12 } else { 4 };
        &self.record[(row * self.heads + head) * len..][..len]
    }

    /// Alpha of a head; a row is needed because every record holds it.
    fn alpha<const K: u32>(&self, row: usize, head: usize) -> T {
        match K {
            RBF | INVERSE | POWER => self.record::<K>(row, head)[2],
            _ => T::ZERO,
        }
    }

    /// Turns one row of sums into energies.
    #[inline(always)]
    fn energies<const K: u32>(&self, sums: &mut [T], alpha: T, (own, other, head): (usize, usize, usize)) {
        if K == DISTANCE {
            let mine = self.record::<K>(own, head);
            for (j, s) in sums.iter_mut().enumerate() {
                let theirs = self.record::<K>(other + j, head);
                let (near_far, _) = self.near_far(mine, theirs, own == other + j);
                let biases = self.biases(mine, theirs);
                *s = self.scale * (*s + near_far[0] * biases[0] + near_far[1] * biases[1]);
            }
        } else {
            sums.iter_mut().for_each(|s| *s = energy_of::<T, K>(*s, alpha, self.scale));
        }
    }

    /// phi and 1 - phi, both 0 on the diagonal, and the distance.
    #[inline(always)]
    fn near_far(&self, own: &[T], other: &[T], same: bool) -> ([T; 2], T) {
        let (dx, dy) = (own[8] - other[8], own[9] - other[9]);
        let apart = self.unit * (dx * dx + dy * dy).sqrt();
        let z = own[10] * (apart - own[11]);
        match same {
            true => ([T::ZERO; 2], apart),
            false => ([z.sigmoid(), (-z).sigmoid()], apart),
        }
    }

    #[inline(always)]
    fn biases(&self, own: &[T], other: &[T]) -> [T; 2] {
        match self.flip {
            false => [own[4] + other[6], own[5] + other[7]],
            true => [own[6] + other[4], own[7] + other[5]],
        }
    }

    /// Elementary operations of a tile whose bag has one tile: the least there is to do.
    fn work(&self, width: usize) -> usize {
        SIDE * SIDE * (self.dims + width)
    }
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
                                let mine = l.record::<K>(first + i, head);
                                near_far[i] = near_far[i].map(|s| s * old);
                                for (j, e) in e.iter().enumerate() {
                                    let theirs = l.record::<K>(block + j, head);
                                    let (both, _) = l.near_far(mine, theirs, first + i == block + j);
                                    near_far[i][0] += *e * both[0];
                                    near_far[i][1] += *e * both[1];
                                }
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

impl<T: Real> Launched<'_, T> {
    /// Turns one row of sums into the weights of the derivatives, and adds to the shares of what all pairs
    /// share.
    #[inline(always)]
    fn weights<const K: u32>(
        &self,
        sums: &mut [T],
        products: &[T],
        logs: &[T],
        alpha: T,
        (own, other, head): (usize, usize, usize),
        share: &mut [T; 4],
    ) {
        // Keys have a record only where the energy needs one of theirs.
        let mine = if self.flip && K != DISTANCE { &[T::ZERO; 2] } else { self.record::<K>(own, head) };
        let mut local = [T::ZERO; SIDE];
        local[..sums.len()].copy_from_slice(sums);
        self.energies::<K>(sums, alpha, (own, other, head));
        let (mut lse, mut inner) = ([mine[0]; SIDE], [mine[1]; SIDE]);
        if self.flip {
            for j in 0..sums.len() {
                let theirs = self.record::<K>(other + j, head);
                (lse[j], inner[j]) = (theirs[0], theirs[1]);
            }
        }
        if K == DISTANCE {
            for (j, s) in sums.iter_mut().enumerate() {
                let theirs = self.record::<K>(other + j, head);
                let query = if self.flip { theirs } else { mine };
                let (both, apart) = self.near_far(mine, theirs, own == other + j);
                let biases = self.biases(mine, theirs);
                let weight = (*s - lse[j]).exp();
                let along = products[j] + both[0] * query[2] + both[1] * query[3];
                let w = weight * (along - inner[j]) * self.scale;
                *s = w;
                let by_phi = w * (biases[0] - biases[1]) + weight * (query[2] - query[3]);
                let inside = by_phi * both[0] * both[1];
                share[0] += (apart - query[11]) * inside;
                share[1] -= query[10] * inside;
                share[2] += w * both[0];
                share[3] += w * both[1];
            }
            return;
        }
        let mut by_alpha = [T::ZERO; SIDE];
        for j in 0..sums.len() {
            let energy = sums[j];
            let g = (energy - lse[j]).exp() * (products[j] - inner[j]);
            sums[j] = g * slope_of::<T, K>(energy, alpha, self.scale);
            by_alpha[j] = match K {
                RBF => -g * local[j] * energy,
                INVERSE => -g * local[j] * energy * energy,
                POWER => g * logs[j],
                _ => T::ZERO,
            };
        }
        share[0] += by_alpha[..sums.len()].iter().copied().sum::<T>();
    }
}
