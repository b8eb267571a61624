//! Host twins of `shaders/segment.wgsl`.

use super::cost::At;
use super::declared::segment::{Flagged, Grad, Sizes};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::{Args, Real, kernels};
use std::ops::Range;

kernels! {
    segment {
        /// Largest value of each tile and its row.
        MAX_PART = max_part, |at @ &At { n, t, c, .. }| (n * c + 2 * t * c, n * c, at.by_instances());
        /// Largest value of each bag and its row.
        MAX_END = max_end, |at @ &At { b, t, c, .. }| (2 * t * c + 2 * b * c, t * c, at.matrix());
        /// Gradient of the maximum.
        MAX_GRAD = max_grad, |at @ &At { n, b, c, w, .. }| (n * c * (1 + w[3]) + 2 * b * c, b * c, at.by_instances());
        /// The value of a row of each bag and column.
        PICK = pick, |at @ &At { b, c, .. }| (3 * b * c, 0, at.matrix());
        /// Sum of each tile, of x or of x y.
        SUM_PART = sum_part,
            |at @ &At { n, t, c, w, .. }| (n * c * (1 + w[2]) + t * c, n * c * (1 + w[2]), at.by_instances());
        /// Sum or mean of each bag.
        SUM_END = sum_end, |at @ &At { b, t, c, w, .. }| (t * c + b * c, c * (t + b * w[2]), at.matrix());
        /// Gradient of sum and mean.
        SUM_GRAD = sum_grad,
            |at @ &At { n, b, c, w, .. }| (n * c * (1 + w[3]) + b * c, n * c * (1 + w[3]), at.by_instances());
        /// Largest value and sum of exponentials of each tile.
        LSE_PART = lse_part, |at @ &At { n, t, c, .. }| (n * c + 2 * t * c, 4 * n * c, at.by_instances());
        /// Log-sum-exp or log-mean-exp of each bag.
        LSE_END = lse_end, |at @ &At { b, t, c, .. }| (2 * t * c + b * c, c * (5 * t + 3 * b), at.matrix());
        /// Gradient of the log-mean-exp.
        LSE_GRAD = lse_grad,
            |at @ &At { n, b, c, w, .. }| (n * c * (2 + w[3]) + 2 * b * c, n * c * (4 + w[3]), at.by_instances());
        /// e^(x - log-sum-exp of the bag).
        SOFTMAX = softmax, |at @ &At { n, b, c, .. }| (2 * n * c + b * c, 2 * n * c, at.by_instances());
        /// Gradient of the softmax.
        SOFTMAX_GRAD = softmax_grad,
            |at @ &At { n, b, c, w, .. }| (n * c * (3 + w[2]) + b * c, n * c * (2 + w[2]), at.by_instances());
    }
}

/// Columns whose running results stay in the first-level cache.
const RUN: usize = 64;

/// Bag and rows of a tile.
pub(super) fn tile(tiles: &[u32], t: usize) -> (usize, Range<usize>) {
    let first = tiles[4 * t + 1] as usize;
    (tiles[4 * t] as usize, first..first + tiles[4 * t + 2] as usize)
}

/// Tiles of a bag.
pub(super) fn tiles_of(table: &[u32], bag: usize) -> Range<usize> {
    table[bag] as usize..table[bag + 1] as usize
}

fn instances(offsets: &[u32], bag: usize) -> f64 {
    (offsets[bag + 1] - offsets[bag]) as f64
}

/// Calls `f(tile number, bag, first row, rows of out)` for each tile, over the cores; tiles own their rows.
pub(super) fn for_tiles<T: Real>(
    out: &mut [T],
    tiles: &[u32],
    count: usize,
    cols: usize,
    work: usize,
    f: impl Fn(usize, usize, usize, &mut [T]) + Sync,
) {
    let shared = Shared::new(out);
    parallel(count, work, |range| {
        for t in range {
            let (bag, rows) = tile(tiles, t);
            // SAFETY: tiles do not overlap.
            f(t, bag, rows.start, unsafe { shared.part(rows.start * cols..rows.end * cols) });
        }
    });
}

fn max_part<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, tiles, index) = (a.read(0), a.indices(1), Shared::new(a.write_indices(3)));
    for_rows(a.write(2), p.count as usize, cols, 64 * cols, |t, out| {
        let (_, rows) = tile(tiles, t);
        // SAFETY: one row of the table for each tile.
        let index = unsafe { index.part(t * cols..(t + 1) * cols) };
        out.copy_from_slice(&x[rows.start * cols..(rows.start + 1) * cols]);
        index.fill(rows.start as u32);
        simd(
            #[inline(always)]
            || {
                for r in rows.start + 1..rows.end {
                    let row = x[r * cols..(r + 1) * cols].iter();
                    larger_of(out, index, row.map(|v| (*v, r as u32)));
                }
            },
        );
    });
}

/// Replaces what is smaller, value and index, without a branch. Of equals the first stays.
#[inline(always)]
fn larger_of<T: Real>(out: &mut [T], index: &mut [u32], with: impl Iterator<Item = (T, u32)>) {
    for ((o, i), (v, r)) in out.iter_mut().zip(index).zip(with) {
        let larger = v > *o;
        *i = if larger { r } else { *i };
        *o = if larger { v } else { *o };
    }
}

fn max_end<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, rows, table) = (a.read(0), a.indices(1), a.indices(2));
    let (out, index) = (a.write(3), a.write_indices(4));
    for bag in 0..p.count as usize {
        let parts = tiles_of(table, bag);
        let (out, index) = (&mut out[bag * cols..(bag + 1) * cols], &mut index[bag * cols..(bag + 1) * cols]);
        let of = |t: usize| t * cols..(t + 1) * cols;
        out.copy_from_slice(&x[of(parts.start)]);
        index.copy_from_slice(&rows[of(parts.start)]);
        simd(
            #[inline(always)]
            || {
                for t in parts.skip(1) {
                    let part = x[of(t)].iter().copied().zip(rows[of(t)].iter().copied());
                    larger_of(out, index, part);
                }
            },
        );
    }
}

fn max_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (owner, g, tiles) = (a.indices(0), a.read(1), a.indices(2));
    let keep = T::new(p.accumulate as f64);
    for_tiles(a.write(3), tiles, p.count as usize, cols, 64 * cols, |_, bag, first, out| {
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
        let rows = out.len() / cols;
        for c in 0..cols {
            let r = owner[bag * cols + c] as usize;
            if (first..first + rows).contains(&r) {
                out[(r - first) * cols + c] += g[bag * cols + c];
            }
        }
    });
}

fn pick<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, rows) = (a.read(0), a.indices(1));
    for_rows(a.write(2), p.count as usize, cols, cols, |bag, out| {
        for (c, o) in out.iter_mut().enumerate() {
            *o = x[rows[bag * cols + c] as usize * cols + c];
        }
    });
}

fn sum_part<T: Real>(a: &Args<T>) {
    let p: Flagged = a.params();
    let cols = p.cols as usize;
    let (x, y, tiles) = (a.read(0), a.read(1), a.indices(2));
    let times = p.flag != 0;
    for_rows(a.write(3), p.count as usize, cols, 64 * cols, |t, out| {
        let (_, rows) = tile(tiles, t);
        out.fill(T::ZERO);
        simd(
            #[inline(always)]
            || {
                for r in rows {
                    let (x, y) = (&x[r * cols..(r + 1) * cols], &y[r * cols..(r + 1) * cols]);
                    if times {
                        out.iter_mut().zip(x).zip(y).for_each(|((o, x), y)| *o += *x * *y);
                    } else {
                        out.iter_mut().zip(x).for_each(|(o, x)| *o += *x);
                    }
                }
            },
        );
    });
}

fn sum_end<T: Real>(a: &Args<T>) {
    let p: Flagged = a.params();
    let cols = p.cols as usize;
    let (x, table, offsets) = (a.read(0), a.indices(1), a.indices(2));
    for_rows(a.write(3), p.count as usize, cols, 4 * cols, |bag, out| {
        out.fill(T::ZERO);
        for t in tiles_of(table, bag) {
            out.iter_mut().zip(&x[t * cols..]).for_each(|(o, x)| *o += *x);
        }
        if p.flag != 0 {
            let rows = T::new(instances(offsets, bag));
            out.iter_mut().for_each(|o| *o = *o / rows);
        }
    });
}

fn sum_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (g, tiles, offsets) = (a.read(0), a.indices(1), a.indices(2));
    let keep = T::new(p.accumulate as f64);
    for_tiles(a.write(3), tiles, p.count as usize, cols, 64 * cols, |_, bag, _, out| {
        let rows = if p.mean != 0 { T::new(instances(offsets, bag)) } else { T::ONE };
        let g = &g[bag * cols..(bag + 1) * cols];
        for out in out.chunks_exact_mut(cols) {
            out.iter_mut().zip(g).for_each(|(o, g)| *o = keep_or_zero(keep, *o) + *g / rows);
        }
    });
}

fn lse_part<T: Real>(a: &Args<T>) {
    tile_sums(a, [0, 1, 2, 3], T::ONE);
}

/// Of each tile and column the largest r x, and the sum of e^(r x - largest). `places` are the bindings of x, the tiles, the
/// largest and the sums.
pub(super) fn tile_sums<T: Real>(a: &Args<T>, places: [usize; 4], sharpness: T) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, tiles, sums) = (a.read(places[0]), a.indices(places[1]), Shared::new(a.write(places[3])));
    for_rows(a.write(places[2]), p.count as usize, cols, 64 * 8 * cols, |t, largest| {
        let (_, rows) = tile(tiles, t);
        // SAFETY: one row of the table for each tile.
        let sums = unsafe { sums.part(t * cols..(t + 1) * cols) };
        simd(
            #[inline(always)]
            || {
                largest.fill(T::LOWEST);
                for r in rows.clone() {
                    largest.iter_mut().zip(&x[r * cols..]).for_each(|(m, v)| *m = v.larger(*m));
                }
                sums.fill(T::ZERO);
                for r in rows {
                    let row = x[r * cols..].iter().zip(largest.iter());
                    sums.iter_mut().zip(row).for_each(|(s, (v, m))| *s += (sharpness * (*v - *m)).exp());
                }
                largest.iter_mut().for_each(|m| *m = sharpness * *m);
            },
        );
    });
}

fn lse_end<T: Real>(a: &Args<T>) {
    let p: Flagged = a.params();
    let cols = p.cols as usize;
    let (largest, sums, table, offsets) = (a.read(0), a.read(1), a.indices(2), a.indices(3));
    for_rows(a.write(4), p.count as usize, cols, 16 * cols, |bag, out| {
        let rows = if p.flag != 0 { T::new(instances(offsets, bag)) } else { T::ONE };
        simd(
            #[inline(always)]
            || {
                // A run of columns at a time, tile after tile, as they lie in memory.
                for (n, out) in out.chunks_mut(RUN).enumerate() {
                    let at = |t: usize| t * cols + n * RUN..t * cols + n * RUN + out.len();
                    let (mut m, mut s) = ([T::LOWEST; RUN], [T::ZERO; RUN]);
                    for t in tiles_of(table, bag) {
                        m.iter_mut().zip(&largest[at(t)]).for_each(|(m, v)| *m = v.larger(*m));
                    }
                    for t in tiles_of(table, bag) {
                        let parts = sums[at(t)].iter().zip(&largest[at(t)]);
                        let both = s.iter_mut().zip(&m);
                        both.zip(parts).for_each(|((s, m), (v, largest))| *s += *v * (*largest - *m).exp());
                    }
                    out.iter_mut().zip(m.iter().zip(&s)).for_each(|(o, (m, s))| *o = *m + (*s / rows).ln());
                }
            },
        );
    });
}

fn lse_grad<T: Real>(a: &Args<T>) {
    let p: Grad = a.params();
    let cols = p.cols as usize;
    let (x, lse, g, tiles, offsets) = (a.read(0), a.read(1), a.read(2), a.indices(3), a.indices(4));
    let keep = T::new(p.accumulate as f64);
    for_tiles(a.write(5), tiles, p.count as usize, cols, 64 * 8 * cols, |_, bag, first, out| {
        let rows = T::new(instances(offsets, bag));
        let (lse, g) = (&lse[bag * cols..(bag + 1) * cols], &g[bag * cols..(bag + 1) * cols]);
        simd(
            #[inline(always)]
            || {
                for (r, out) in out.chunks_exact_mut(cols).enumerate() {
                    let x = &x[(first + r) * cols..(first + r + 1) * cols];
                    for c in 0..cols {
                        out[c] = keep_or_zero(keep, out[c]) + g[c] / rows * (x[c] - lse[c]).exp();
                    }
                }
            },
        );
    });
}

fn softmax<T: Real>(a: &Args<T>) {
    let p: Sizes = a.params();
    let cols = p.cols as usize;
    let (x, lse, tiles) = (a.read(0), a.read(1), a.indices(2));
    for_tiles(a.write(3), tiles, p.count as usize, cols, 64 * 8 * cols, |_, bag, first, out| {
        let lse = &lse[bag * cols..(bag + 1) * cols];
        for (i, o) in out.iter_mut().enumerate() {
            *o = (x[first * cols + i] - lse[i % cols]).exp();
        }
    });
}

fn softmax_grad<T: Real>(a: &Args<T>) {
    let p: Flagged = a.params();
    let cols = p.cols as usize;
    let (y, g, inner, tiles) = (a.read(0), a.read(1), a.read(2), a.indices(3));
    let keep = T::new(p.flag as f64);
    for_tiles(a.write(4), tiles, p.count as usize, cols, 64 * 2 * cols, |_, bag, first, out| {
        let inner = &inner[bag * cols..(bag + 1) * cols];
        for (i, o) in out.iter_mut().enumerate() {
            let at = first * cols + i;
            *o = keep_or_zero(keep, *o) + y[at] * (g[at] - inner[i % cols]);
        }
    });
}
