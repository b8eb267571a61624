//! Host twins of `shaders/distance_attention.wgsl`.

use super::cost::At;
pub use super::declared::distance_attention::{BACK, STARTED};
use super::declared::distance_attention::{Binned, Fold, Prototypes, Record};
use super::host::{for_rows, simd};
use super::segment::tile;
use super::{Args, Real, kernels};

/// Values in a record with bins.
pub(super) fn binned_len(bins: u64) -> u64 {
    4 + 3 * bins.next_multiple_of(4)
}

kernels! {
    distance_attention {
        /// Scalars of each row and head for the distance-aware energy.
        RECORD = distance_record, |&At { n, rows, w, .. }| {
            let (heads, dims) = (w[1], w[2]);
            let values = rows * (2 * heads * dims + 8 * heads + 2) + 4 * heads * dims + 2 * heads;
            (values, 8 * rows * heads * dims, format!("N={n} heads={heads} d={dims}"))
        };
        /// Prototypes times their shares, added to rows.
        FOLD = distance_fold, |&At { rows, w, .. }| {
            let (heads, cols) = (w[1], w[2]);
            let values = rows * heads * (2 * cols + 2) + 2 * heads * cols;
            (values, 4 * rows * heads * cols, format!("{rows}x{heads}x{cols}"))
        };
        /// Each tile's part of the gradient of the prototypes.
        PROTOTYPES = distance_prototypes, |&At { n, t, w, .. }| {
            let (heads, cols) = (w[1], w[2]);
            let values = n * heads * (cols + 2) + 2 * t * heads * cols;
            (values, 4 * n * heads * cols, format!("{n}x{heads}x{cols}"))
        };
        /// What each row and head has for every bin of distances.
        BINNED_RECORD = binned_record, |at @ &At { n, rows, w, .. }| {
            let (heads, bins) = (w[1], w[2]);
            let [started, back] = [0, 1].map(|bit| at.bit(3, bit));
            let each = 2 * bins * (1 + back) + binned_len(bins) + 2 * started;
            (rows * (heads * each + 2), 2 * rows * heads * bins * back, format!("N={n} heads={heads} bins={bins}"))
        };
    }
}

fn distance_record<T: Real>(a: &Args<T>) {
    let p: Record = a.params();
    let (heads, dims) = (p.heads as usize, p.dims as usize);
    let (q, k, for_q, for_k, coords, curve) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4), a.read(5));
    for_rows(a.write(6), p.rows as usize * heads, 12, 8 * dims, |i, record| {
        let head = i % heads;
        let dot = |x: &[T], prototypes: &[T], part: usize| -> T {
            let x = &x[i * dims..(i + 1) * dims];
            x.iter().zip(&prototypes[(part * heads + head) * dims..]).map(|(x, y)| *x * *y).sum()
        };
        record[4..8].copy_from_slice(&[dot(q, for_q, 0), dot(q, for_q, 1), dot(k, for_k, 0), dot(k, for_k, 1)]);
        let row = i / heads;
        record[8..].copy_from_slice(&[coords[2 * row], coords[2 * row + 1], curve[head], curve[heads + head]]);
    });
}

fn distance_fold<T: Real>(a: &Args<T>) {
    let p: Fold = a.params();
    let (heads, cols, stride, first) = (p.heads as usize, p.cols as usize, p.stride as usize, p.first as usize);
    let (shares, prototypes) = (a.read(0), a.read(1));
    let width = heads * cols;
    for_rows(a.write(2), p.rows as usize, width, 4 * width, |row, out| {
        for (head, out) in out.chunks_exact_mut(cols).enumerate() {
            let share = row * stride + first + head;
            let (s, t) = (shares[share], shares[share + heads]);
            let (u, v) = (&prototypes[head * cols..], &prototypes[width + head * cols..]);
            simd(
                #[inline(always)]
                || out.iter_mut().zip(u).zip(v).for_each(|((o, u), v)| *o += s * *u + t * *v),
            );
        }
    });
}

fn distance_prototypes<T: Real>(a: &Args<T>) {
    let p: Prototypes = a.params();
    let (heads, cols, stride, first) = (p.heads as usize, p.cols as usize, p.stride as usize, p.first as usize);
    let (x, shares, tiles) = (a.read(0), a.read(1), a.indices(2));
    let width = heads * cols;
    for_rows(a.write(3), p.tiles as usize, 2 * width, 64 * 4 * width, |t, parts| {
        let (_, rows) = tile(tiles, t);
        parts.fill(T::ZERO);
        for r in rows {
            for (i, out) in parts.chunks_exact_mut(cols).enumerate() {
                let share = shares[r * stride + first + i];
                let start = r * width + i % heads * cols;
                out.iter_mut().zip(&x[start..start + cols]).for_each(|(o, x)| *o += share * *x);
            }
        }
    });
}

fn binned_record<T: Real>(a: &Args<T>) {
    let p: Binned = a.params();
    let (heads, bins) = (p.heads as usize, p.bins as usize);
    let (query, key, places, shares, grads) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4));
    let room = bins.next_multiple_of(4);
    for_rows(a.write(5), p.rows as usize * heads, 4 + 3 * room, 5 * bins, |i, record| {
        let (first, rest) = record.split_at_mut(4);
        if p.flags & STARTED == 0 {
            first.fill(T::ZERO);
        }
        rest.fill(T::ZERO);
        let mine = i * bins..(i + 1) * bins;
        rest[..bins].copy_from_slice(&query[mine.clone()]);
        rest[room..room + bins].copy_from_slice(&key[mine.clone()]);
        if p.flags & BACK != 0 {
            let (shares, grads) = (&shares[mine.clone()], &grads[mine]);
            first[1] += shares.iter().zip(grads).map(|(s, g)| *s * *g).sum();
            rest[2 * room..2 * room + bins].copy_from_slice(grads);
        }
        first[2..].copy_from_slice(&places[2 * (i / heads)..][..2]);
    });
}
