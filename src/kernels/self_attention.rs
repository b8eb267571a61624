//! Host twins of `shaders/self_attention.wgsl`: a tile of 64 own rows against blocks of 128 others. Sums that are
//! products of matrices go to the `gemm` crate, the rest through small loops over registers; tiles in parallel.

use super::cost::At;
pub use super::declared::self_attention::{ACCUMULATE, ADD_SHARES, FLIP, SHARES};
pub use super::declared::self_attention::{ALPHA as WITH_ALPHA, BACKWARD, OF_LSE};
use super::declared::self_attention::{Alpha, Attend, Record, Spans};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::launch::Variant;
use super::target::{Class, Family, Target};
use super::{Args, Kernel, Real, kernels};
use binned::Bins;
use blocks::{BLOCK, LANES, Rows, SIDE, Turned, lanes, lanes_mut};
use blocks::{pair_sums, products, sums_of, weigh, weigh_slopes};
use cost::{Pass, pairs};
use distance::Curve;
use dropout::{Dropped, Factors};
use energies::*;
use launched::Launched;

mod binned;
mod blocks;
mod cost;
mod distance;
mod dropout;
mod energies;
mod launched;

pub use energies::{Energy, kind};

kernels! {
    self_attention {
        /// First row, rows, first and last row of the bag of each tile.
        SPANS = attention_spans, |&At { b, t, .. }| (4 * t + b + 1, 0, format!("{t}"));
        /// What backward needs of each row and head; before that, alpha.
        RECORD = attention_record, |at @ &At { rows, w, .. }| {
            let (heads, values, distance) = (w[1], w[2], (w[4] == DISTANCE as u64) as u64);
            let [of_lse, back, alpha] = [0, 1, 2].map(|bit| at.bit(3, bit));
            let read = back * (2 * values + 1 + of_lse);
            let moved = rows * heads * (4 + read) + heads * (alpha + 2 * back * distance * values);
            let flops = rows * heads * back * (2 * values * (1 + 2 * distance) + of_lse);
            (moved, flops, format!("{rows}x{heads}x{values}"))
        };
        /// Weighted sums of the values and log-sum-exp of the energies.
        FORWARD = attention_forward, |at| pairs(at, Pass::Forward);
        /// Gradient of the values.
        VALUES = attention_values, |at| pairs(at, Pass::Values);
        /// Gradient of queries or keys, and of what all pairs share.
        BACK = attention_back, |at| pairs(at, Pass::Back);
        /// Gradient of alpha from that of relu(alpha).
        ALPHA = attention_alpha, |&At { rows, w, .. }| ((3 + w[1]) * rows, (1 + w[1]) * rows, format!("{rows}"));
    }
}

/// Columns of the result that a workgroup computes.
pub const CHUNK: u32 = 64;

/// Most bins of distances: their sums share 16 KiB of workgroup memory with the weights of a block.
pub const MOST_BINS: u32 = 24;

/// Whether columns of these widths are read as vectors of four.
pub fn vectors(dims: u32, values: u32) -> bool {
    dims.is_multiple_of(4) && values.is_multiple_of(4)
}

/// The shader for an energy; vector loads where both widths are multiples of four.
pub fn variant(energy: &Energy, dims: u32, values: u32, drops: bool) -> Variant {
    let vectors = vectors(dims, values);
    let kind = kind(energy);
    vec![
        ("VEC", vectors as u32),
        ("KIND", kind),
        ("DISTANCE", (kind == DISTANCE) as u32),
        ("BINNED", (kind == BINNED) as u32),
        ("BINS", energy.bins().max(1)),
        ("DROP", drops as u32),
        ("OWN", 8),
    ]
}

/// Own rows of an invocation of [`FORWARD`], [`VALUES`] or [`BACK`]: as many as its registers hold on the device, by
/// what compilers tell (docs/compilers.md). Results do not depend on it.
pub fn own_rows(kernel: &Kernel, energy: &Energy, vectors: bool, target: &Target) -> u32 {
    if target.class != Class::Gpu {
        return 8;
    }
    let (kind, back) = (kind(energy), kernel.name == BACK.name);
    match target.family {
        Family::Nvidia if !vectors || (back && kind == POWER) => 4,
        Family::Nvidia => 8,
        Family::Rdna | Family::Gcn if kind == BINNED || (back && kind == POWER) => 4,
        Family::Rdna | Family::Gcn => 8,
        // Backward holds the rows themselves too, but where the energy is an inner product.
        _ if back && !matches!(kind, DOT | BINNED) => 2,
        _ => 4,
    }
}

/// Values in a record.
pub fn record_len(energy: &Energy) -> u32 {
    match kind(energy) {
        DISTANCE => 12,
        BINNED => 4 + 3 * energy.bins().next_multiple_of(4),
        _ => 4,
    }
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
    for_rows(a.write(5), p.rows as usize * heads, p.length as usize, 4 * values, |i, record| {
        let head = i % heads;
        let record = &mut record[..4];
        record.fill(T::ZERO);
        if p.flags & BACKWARD != 0 {
            let g = &g[i * values..(i + 1) * values];
            let along = |v: &[T]| -> T { v.iter().zip(g).map(|(v, g)| *v * *g).sum() };
            record[0] = lse[i];
            record[1] = along(&y[i * values..(i + 1) * values]);
            if p.flags & OF_LSE != 0 {
                record[1] -= lse_grad[i];
            }
            if distance {
                record[2] = along(&extra[head * values..(head + 1) * values]);
                record[3] = along(&extra[(heads + head) * values..(heads + head + 1) * values]);
            }
        }
        if !distance && p.flags & WITH_ALPHA != 0 {
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
    let dropped = Dropped::of(&p, false);
    parallel(p.tiles as usize * heads, l.work(width), |range| {
        let (mut own, mut sums) = (Turned::new(dims), Turned::new(width));
        let (mut pairs, mut curve) = (vec![T::ZERO; SIDE * BLOCK], Curve::new(K));
        let (mut bins, mut factors) = (Bins::new(K, l.bins), Factors::new(&dropped));
        for number in range {
            let (tile, head) = (number / heads, number % heads);
            let [first, rows, ..] = l.span(tile);
            let alpha = l.alpha::<K>(first, head);
            let (mut largest, mut total) = ([T::LOWEST; SIDE], [T::ZERO; SIDE]);
            let mut near_far = [[T::ZERO; SIDE]; 2];
            l.start_bins::<K>(tile, head, &mut bins);
            own.load(Rows::new(x, (heads, head), dims, first, rows));
            sums.clear();
            for place in l.blocks(tile, head) {
                let other = Rows::new(y, (heads, head), dims, place.other, place.count);
                sums_of::<T, K>(&own, other, place.used, alpha, &mut pairs);
                l.energies::<K>(&mut pairs, alpha, place, (&mut curve, &mut bins));
                simd(
                    #[inline(always)]
                    || {
                        for at in (0..place.used).step_by(LANES) {
                            let (was, mut now) = (*lanes(&largest, at), *lanes(&largest, at));
                            for j in 0..place.count {
                                let e = lanes(&pairs, j * SIDE + at);
                                for l in 0..LANES {
                                    now[l] = e[l].larger(now[l]);
                                }
                            }
                            let mut old = [T::ZERO; LANES];
                            let mut total_of = *lanes(&total, at);
                            let mut both = [*lanes(&near_far[0], at), *lanes(&near_far[1], at)];
                            for l in 0..LANES {
                                old[l] = (was[l] - now[l]).exp();
                                total_of[l] *= old[l];
                                both[0][l] *= old[l];
                                both[1][l] *= old[l];
                            }
                            sums.scale(at, &old);
                            if K == BINNED {
                                bins.scale(at, &old);
                            }
                            for j in 0..place.count {
                                let e = lanes_mut(&mut pairs, j * SIDE + at);
                                for l in 0..LANES {
                                    e[l] = (e[l] - now[l]).exp();
                                    total_of[l] += e[l];
                                }
                                if K == DISTANCE && dropped.is_none() {
                                    let far = lanes(&curve.far, j * SIDE + at);
                                    let near = lanes(&curve.near, j * SIDE + at);
                                    for l in 0..LANES {
                                        both[0][l] += e[l] * far[l];
                                        both[1][l] += e[l] * near[l];
                                    }
                                }
                            }
                            *lanes_mut(&mut largest, at) = now;
                            *lanes_mut(&mut total, at) = total_of;
                            for (all, part) in near_far.iter_mut().zip(&both) {
                                *lanes_mut(all, at) = *part;
                            }
                        }
                    },
                );
                if let Some(dropped) = &dropped {
                    dropped.factors(place, &mut factors);
                    factors.apply(&mut pairs, place.count);
                    if K == DISTANCE {
                        curve.add_shares(&pairs, place, &mut near_far);
                    }
                }
                if K == BINNED {
                    bins.add(&pairs, place);
                }
                weigh(&pairs, Rows::new(v, (heads, head), width, place.other, place.count), place.used, &mut sums);
            }
            for i in 0..rows {
                let at = (first + i) * heads + head;
                // SAFETY: a tile owns its rows, and each head its columns.
                let (out, lse) = unsafe { (out.part(at * width..(at + 1) * width), lse.part(at..at + 1)) };
                out.iter_mut().zip(sums.row(i)).for_each(|(o, s)| *o = s / total[i]);
                lse[0] = largest[i] + total[i].ln();
                if K == DISTANCE {
                    for (part, share) in near_far.iter().enumerate() {
                        let at = ((first + i) * 2 + part) * heads + head;
                        // SAFETY: as above.
                        let out = unsafe { shares.part(at..at + 1) };
                        out[0] = share[i] / total[i];
                    }
                }
                if K == BINNED {
                    // SAFETY: as above.
                    let out = unsafe { shares.part(at * l.bins..(at + 1) * l.bins) };
                    out.iter_mut().zip(bins.row(i)).for_each(|(o, s)| *o = s / total[i]);
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
    let dropped = Dropped::of(&p, true);
    parallel(p.tiles as usize * heads, l.work(width), |range| {
        let (mut own, mut sums) = (Turned::new(dims), Turned::new(width));
        let (mut pairs, mut curve) = (vec![T::ZERO; SIDE * BLOCK], Curve::new(K));
        let (mut bins, mut factors) = (Bins::new(K, l.bins), Factors::new(&dropped));
        for number in range {
            let (tile, head) = (number / heads, number % heads);
            let [first, rows, ..] = l.span(tile);
            let alpha = l.alpha::<K>(first, head);
            l.start_bins::<K>(tile, head, &mut bins);
            own.load(Rows::new(x, (heads, head), dims, first, rows));
            sums.clear();
            for place in l.blocks(tile, head) {
                let other = Rows::new(y, (heads, head), dims, place.other, place.count);
                sums_of::<T, K>(&own, other, place.used, alpha, &mut pairs);
                l.energies::<K>(&mut pairs, alpha, place, (&mut curve, &mut bins));
                simd(
                    #[inline(always)]
                    || {
                        for (j, e) in pairs.chunks_exact_mut(SIDE).take(place.count).enumerate() {
                            let lse = l.record::<K>(place.other + j, head)[0];
                            e[..place.used].iter_mut().for_each(|e| *e = (*e - lse).exp());
                        }
                    },
                );
                if let Some(dropped) = &dropped {
                    dropped.factors(place, &mut factors);
                    factors.apply(&mut pairs, place.count);
                }
                weigh(&pairs, Rows::new(v, (heads, head), width, place.other, place.count), place.used, &mut sums);
            }
            add_rows(&out, &sums, (heads, head), first, rows, keep);
        }
    });
}

/// Writes or adds the rows of a tile to its columns.
fn add_rows<T: Real>(
    out: &Shared<'_, T>,
    sums: &Turned<T>,
    (heads, head): (usize, usize),
    first: usize,
    rows: usize,
    keep: T,
) {
    let width = sums.width();
    for i in 0..rows {
        let at = (first + i) * heads + head;
        // SAFETY: a tile owns its rows, and each head its columns.
        let out = unsafe { out.part(at * width..(at + 1) * width) };
        out.iter_mut().zip(sums.row(i)).for_each(|(o, s)| *o = keep_or_zero(keep, *o) + s);
    }
}

fn back<T: Real, const K: u32>(a: &Args<T>, p: Attend) {
    let l = Launched::new(a, &p, p.flags & FLIP != 0);
    let (heads, dims, width) = (l.heads, l.dims, l.values);
    let (x, y, xg, yg) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (grad, shares) = (Shared::new(a.write(6)), Shared::new(a.write(7)));
    let keep = T::new((p.flags & ACCUMULATE) as f64);
    let kinds = if K == DISTANCE { 4 } else { 1 };
    let wanted = p.flags & SHARES != 0;
    let keep_shares = T::new((p.flags & ADD_SHARES) as f64);
    let dropped = Dropped::of(&p, l.flip);
    parallel(p.tiles as usize * heads, l.work(dims + width), |range| {
        let (mut own, mut own_values, mut sums) = (Turned::new(dims), Turned::new(width), Turned::new(dims));
        let [mut pairs, mut along, mut logs] = std::array::from_fn(|_| vec![T::ZERO; SIDE * BLOCK]);
        let mut curve = Curve::new(K);
        let (mut bins, mut factors) = (Bins::new(K, l.bins), Factors::new(&dropped));
        for number in range {
            let (tile, head) = (number / heads, number % heads);
            let [first, rows, ..] = l.span(tile);
            let alpha = l.alpha::<K>(first, head);
            let mut share = [[T::ZERO; SIDE]; 4];
            l.start_bins::<K>(tile, head, &mut bins);
            own.load(Rows::new(x, (heads, head), dims, first, rows));
            own_values.load(Rows::new(xg, (heads, head), width, first, rows));
            sums.clear();
            for place in l.blocks(tile, head) {
                let other = Rows::new(y, (heads, head), dims, place.other, place.count);
                let other_values = Rows::new(yg, (heads, head), width, place.other, place.count);
                sums_of::<T, K>(&own, other, place.used, alpha, &mut pairs);
                products(&own_values, other_values, place.used, &mut along);
                if K == POWER && wanted {
                    pair_sums(
                        &own,
                        other,
                        place.used,
                        &mut logs,
                        #[inline(always)]
                        |x, y| term_log(x, y, alpha),
                    );
                }
                if let Some(dropped) = &dropped {
                    dropped.factors(place, &mut factors);
                }
                if K == DISTANCE {
                    l.distance_energies(&mut pairs, place, &mut curve);
                    let kept = dropped.is_some().then_some(&factors);
                    l.distance_weights(&mut pairs, &along, place, (&curve, kept), &mut share);
                } else {
                    if K == BINNED {
                        l.add_biases(&mut pairs, place, &mut bins);
                        l.add_bin_gradients(&mut along, place, &bins);
                    }
                    if dropped.is_some() {
                        factors.apply(&mut along, place.count);
                    }
                    l.weights::<K>(&mut pairs, &along, &logs, alpha, place, &mut share);
                    if K == BINNED {
                        bins.add(&pairs, place);
                    }
                }
                weigh_slopes::<T, K>(&pairs, &own, other, place.used, alpha, &mut sums);
            }
            add_rows(&grad, &sums, (heads, head), first, rows, keep);
            if K == BINNED && wanted {
                for i in 0..rows {
                    let at = ((first + i) * heads + head) * l.bins;
                    // SAFETY: a tile owns its rows, and each head its columns.
                    let out = unsafe { shares.part(at..at + l.bins) };
                    out.iter_mut().zip(bins.row(i)).for_each(|(o, s)| *o = keep_or_zero(keep_shares, *o) + s);
                }
                continue;
            }
            for (kind, share) in share.iter().enumerate().take(if wanted { kinds } else { 0 }) {
                for (i, share) in share.iter().enumerate().take(rows) {
                    let at = ((first + i) * kinds + kind) * heads + head;
                    // SAFETY: a tile owns its rows, and each head its columns.
                    let out = unsafe { shares.part(at..at + 1) };
                    out[0] = *share;
                }
            }
        }
    });
}
