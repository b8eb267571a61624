//! Host twins of `shaders/depthwise.wgsl`: columns in the innermost loops, kernels turned first.

use super::cost::At;
pub use super::declared::depthwise::{ACCUMULATE, FIRST, FLIP, ONES};
use super::declared::depthwise::{
    Crop as CropParams, Grid2 as GridParams, GridWeights as GridWeightsParams, Merge as MergeParams,
    Sequence as SequenceParams,
};
use super::elementwise::keep_or_zero;
use super::host::{Shared, parallel, simd};
use super::tokens::{for_tiles, rows_of};
use super::{Args, Real, kernels};

kernels! {
    depthwise {
        /// Convolution along the tokens of each bag.
        SEQUENCE = sequence_conv, |at| along(at, |c, seen, results, kernel| c * (seen + results) + kernel);
        /// Gradient of the tokens of `sequence_conv`.
        SEQUENCE_BACK = sequence_back,
            |at| along(at, |c, _, results, kernel| c * (results + at.tokens * (1 + (at.w[4] & 1))) + kernel);
        /// Parts of the gradient of the weights of `sequence_conv`.
        SEQUENCE_WEIGHTS = sequence_weights,
            |at| along(at, |c, seen, results, kernel| c * (seen + results) + at.w[0] * kernel);
        /// Convolution over the square of each bag, or its transpose.
        GRID = grid_conv, |&At { b, tokens: t, c, w, .. }| {
            let (area, flip) = (w[2] * w[2], w[3] >> 1 & 1);
            let values = c * (t * (2 + (w[3] & 1)) + area + 1 - flip);
            (values, 2 * area * (t - b) * c, format!("{t}x{c} side={}", w[2]))
        };
        /// Parts of the gradients of kernel and bias of `grid_conv`.
        GRID_WEIGHTS = grid_weights, |&At { b, tokens: t, c, w, .. }| {
            let (area, parts) = (w[2] * w[2], w[0].div_ceil(w[3].max(1)));
            (c * (2 * t + parts * (area + 1)), (2 * area + 1) * (t - b) * c, format!("{t}x{c} side={}", w[2]))
        };
        /// Three kernels and the identity as one.
        MERGE = merge_kernels, |&At { w, .. }| {
            let area = |less: u64| w[1].saturating_sub(less).pow(2);
            let narrow = area(2) + area(4);
            (w[0] * (2 * area(0) + narrow), w[0] * (1 + narrow), format!("C={} side={}", w[0], w[1]))
        };
        /// The centre of kernels.
        CROP = crop_kernels, |&At { w, .. }| {
            let values = w[0] * w[2] * w[2];
            (values * (2 + w[3]), values * w[3], format!("C={} side={}", w[0], w[2]))
        };
    }
}

/// Convolutions along the tokens: the values moved come of the columns, the tokens seen, the results and the taps of all
/// heads. Every tap counts, also where it reaches over an edge.
fn along(at: &At, values: impl Fn(u64, u64, u64, u64) -> u64) -> (u64, u64, String) {
    let (c, w, t) = (at.c, at.w, at.tokens);
    let first = w[4] & FIRST as u64 != 0;
    // Results, and the taps that reach anything.
    let (results, taps) = if first { (at.b, w[2] / 2 + 1) } else { (t, w[2]) };
    let seen = if first { at.b * taps } else { t };
    let moved = values(c, seen, results, c / w[3].max(1) * w[2]);
    (moved, 2 * taps * results * c, format!("{t}x{c} taps={}", w[2]))
}

/// Widest kernel over the square.
pub const MOST: u32 = 7;
/// Tiles whose shares of the gradient of a kernel over the square are summed in one go.
pub const CHUNK: u32 = 16;

/// Columns that stay in registers together.
const LANES: usize = 16;

/// Rows of the result of a tile: (bag, first result, results, first token).
fn results_of(p: &SequenceParams, tokens: &[u32], tiles: &[u32], tile: usize) -> [usize; 4] {
    match p.flags & FIRST != 0 {
        true => [tile, tile, 1, tokens[tile] as usize],
        false => {
            let t: [usize; 3] = std::array::from_fn(|i| tiles[4 * tile + i] as usize);
            [t[0], t[1], t[2], t[1]]
        }
    }
}

impl SequenceParams {
    /// How late the results of a bag with so many tokens are.
    fn delay(&self, tokens: usize) -> usize {
        if self.landmarks == 0 { 0 } else { tokens.next_multiple_of(self.landmarks as usize) - tokens }
    }

    fn weight<T: Real>(&self, w: &[T], at: usize) -> T {
        if self.flags & ONES != 0 { T::ONE } else { w[at] }
    }
}

/// to[c] += w x[c].
#[inline(always)]
fn add_scaled<T: Real>(to: &mut [T], w: T, x: &[T]) {
    to.iter_mut().zip(x).for_each(|(o, v)| *o += w * *v);
}

fn sequence_conv<T: Real>(a: &Args<T>) {
    let p: SequenceParams = a.params();
    let (cols, taps, width) = (p.cols as usize, p.taps as usize, p.width as usize);
    let (x, w, tokens, tiles, out) = (a.read(0), a.read(1), a.indices(2), a.indices(3), Shared::new(a.write(4)));
    parallel(p.tiles as usize, 64 * cols * taps, |range| {
        for tile in range {
            let [bag, first, rows, token] = results_of(&p, tokens, tiles, tile);
            let bag = rows_of(tokens, bag);
            for r in 0..rows {
                // SAFETY: each row belongs to one tile.
                let out = unsafe { out.part((first + r) * cols..(first + r + 1) * cols) };
                out.fill(T::ZERO);
                // Tap t looks at token + t - late.
                let late = p.delay(bag.len()) + taps / 2;
                let (low, high) = (bag.start + late, bag.end + late);
                let used = low.saturating_sub(token + r)..taps.min(high - token - r);
                simd(
                    #[inline(always)]
                    || {
                        for (h, out) in out.chunks_exact_mut(width).enumerate() {
                            for t in used.clone() {
                                let at = (token + r + t - late) * cols + h * width;
                                add_scaled(out, p.weight(w, h * taps + t), &x[at..at + width]);
                            }
                        }
                    },
                );
            }
        }
    });
}

fn sequence_back<T: Real>(a: &Args<T>) {
    let p: SequenceParams = a.params();
    let (cols, taps, width) = (p.cols as usize, p.taps as usize, p.width as usize);
    let keep = T::new((p.flags & ACCUMULATE) as f64);
    let (g, w, tokens) = (a.read(0), a.read(1), a.indices(2));
    for_tiles(a.write(4), a.indices(3), p.tiles, cols, cols * taps, |bag, row, out| {
        let rows = rows_of(tokens, bag);
        let (start, results) = if p.flags & FIRST != 0 { (bag, 1) } else { (rows.start, rows.len()) };
        let last = row - rows.start + p.delay(rows.len()) + taps / 2;
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
        let used = (last + 1).saturating_sub(results)..taps.min(last + 1);
        simd(
            #[inline(always)]
            || {
                for (h, out) in out.chunks_exact_mut(width).enumerate() {
                    for t in used.clone() {
                        let at = (start + last - t) * cols + h * width;
                        add_scaled(out, p.weight(w, h * taps + t), &g[at..at + width]);
                    }
                }
            },
        );
    });
}

fn sequence_weights<T: Real>(a: &Args<T>) {
    let p: SequenceParams = a.params();
    let (cols, taps, width) = (p.cols as usize, p.taps as usize, p.width as usize);
    let (x, g, tokens, tiles, out) = (a.read(0), a.read(1), a.indices(2), a.indices(3), Shared::new(a.write(4)));
    let weights = cols / width * taps;
    parallel(p.tiles as usize, 64 * cols * taps, |range| {
        for tile in range {
            let [bag, first, rows, token] = results_of(&p, tokens, tiles, tile);
            let bag = rows_of(tokens, bag);
            // SAFETY: each tile has its own part.
            let out = unsafe { out.part(tile * weights..(tile + 1) * weights) };
            simd(
                #[inline(always)]
                || {
                    for (i, out) in out.iter_mut().enumerate() {
                        let (head, t) = (i / taps * width, i % taps);
                        let mut sums = [T::ZERO; LANES];
                        let mut rest = T::ZERO;
                        for r in 0..rows {
                            let from = (token + r + t).wrapping_sub(taps / 2 + p.delay(bag.len()));
                            if !bag.contains(&from) {
                                continue;
                            }
                            let x = &x[from * cols + head..from * cols + head + width];
                            let g = &g[(first + r) * cols + head..(first + r) * cols + head + width];
                            let (mut xs, mut gs) = (x.chunks_exact(LANES), g.chunks_exact(LANES));
                            for (x, g) in (&mut xs).zip(&mut gs) {
                                for l in 0..LANES {
                                    sums[l] += x[l] * g[l];
                                }
                            }
                            for (x, g) in xs.remainder().iter().zip(gs.remainder()) {
                                rest += *x * *g;
                            }
                        }
                        *out = sums.into_iter().sum::<T>() + rest;
                    }
                },
            );
        }
    });
}

/// Side of the square of a bag with so many tokens.
fn side_of(tokens: usize) -> usize {
    (tokens - 1).isqrt()
}

/// The places of a kernel that lie on the square, along one direction.
fn reach(at: usize, side: usize, length: usize) -> std::ops::Range<usize> {
    (side / 2).saturating_sub(at)..side.min(length + side / 2 - at)
}

fn grid_conv<T: Real>(a: &Args<T>) {
    let p: GridParams = a.params();
    let (cols, side) = (p.cols as usize, p.side as usize);
    let (x, w, bias, tokens) = (a.read(0), a.read(1), a.read(2), a.indices(3));
    let (flip, keep) = (p.flags & FLIP != 0, T::new((p.flags & ACCUMULATE) as f64));
    let area = side * side;
    // Turned, so that the columns of an entry of the kernel lie side by side.
    let mut turned = vec![T::ZERO; area * cols];
    for (tap, row) in turned.chunks_exact_mut(cols).enumerate() {
        let tap = if flip { area - 1 - tap } else { tap };
        row.iter_mut().enumerate().for_each(|(c, t)| *t = w[c * area + tap]);
    }
    for_tiles(a.write(5), a.indices(4), p.tiles, cols, cols * area, |bag, row, out| {
        let rows = rows_of(tokens, bag);
        if row == rows.start {
            let x = &x[row * cols..(row + 1) * cols];
            out.iter_mut().zip(x).for_each(|(o, v)| *o = keep_or_zero(keep, *o) + *v);
            return;
        }
        let length = side_of(rows.len());
        let (i, j) = ((row - rows.start - 1) / length, (row - rows.start - 1) % length);
        let (down, across) = (reach(i, side, length), reach(j, side, length));
        simd(
            #[inline(always)]
            || {
                for first in (0..cols).step_by(4 * LANES) {
                    let count = (4 * LANES).min(cols - first);
                    let mut sums = [T::ZERO; 4 * LANES];
                    if !flip {
                        sums[..count].copy_from_slice(&bias[first..first + count]);
                    }
                    for v in down.clone() {
                        for h in across.clone() {
                            let from = rows.start + 1 + (i + v - side / 2) * length + j + h - side / 2;
                            let x = &x[from * cols + first..from * cols + first + count];
                            let w = &turned[(v * side + h) * cols + first..][..count];
                            match (<&[T; 4 * LANES]>::try_from(x), <&[T; 4 * LANES]>::try_from(w)) {
                                (Ok(x), Ok(w)) => (0..4 * LANES).for_each(|l| sums[l] += x[l] * w[l]),
                                _ => (0..count).for_each(|l| sums[l] += x[l] * w[l]),
                            }
                        }
                    }
                    let out = &mut out[first..first + count];
                    out.iter_mut().zip(&sums).for_each(|(o, s)| *o = keep_or_zero(keep, *o) + *s);
                }
            },
        );
    });
}

fn grid_weights<T: Real>(a: &Args<T>) {
    let p: GridWeightsParams = a.params();
    let (cols, side, chunk) = (p.cols as usize, p.side as usize, p.chunk as usize);
    let (x, g, tokens, tiles) = (a.read(0), a.read(1), a.indices(2), a.indices(3));
    let (weights, biases) = (Shared::new(a.write(4)), Shared::new(a.write(5)));
    let tiles = &tiles[..4 * p.tiles as usize];
    let parts = tiles.len().div_ceil(4 * chunk);
    // A piece has a run of tiles and some columns; the order within a sum is that of the rows.
    let blocks = cols.div_ceil(LANES);
    parallel(parts * blocks, 64 * chunk * LANES * side * side, |range| {
        for number in range {
            let (part, first) = (number / blocks, number % blocks * LANES);
            let count = LANES.min(cols - first);
            let mut bias = [T::ZERO; LANES];
            let mut sums = [[T::ZERO; LANES]; (MOST * MOST) as usize];
            simd(
                #[inline(always)]
                || {
                    for tile in tiles.chunks_exact(4).skip(part * chunk).take(chunk) {
                        let rows = rows_of(tokens, tile[0] as usize);
                        let length = side_of(rows.len());
                        for row in (rows.start + 1).max(tile[1] as usize)..(tile[1] + tile[2]) as usize {
                            let (i, j) = ((row - rows.start - 1) / length, (row - rows.start - 1) % length);
                            let mut gs = [T::ZERO; LANES];
                            gs[..count].copy_from_slice(&g[row * cols + first..row * cols + first + count]);
                            (0..LANES).for_each(|l| bias[l] += gs[l]);
                            let across = reach(j, side, length);
                            for v in reach(i, side, length) {
                                for h in across.clone() {
                                    let from = rows.start + 1 + (i + v - side / 2) * length + j + h - side / 2;
                                    let x = &x[from * cols + first..from * cols + first + count];
                                    let sums = &mut sums[v * side + h];
                                    match <&[T; LANES]>::try_from(x) {
                                        Ok(x) => (0..LANES).for_each(|l| sums[l] += gs[l] * x[l]),
                                        _ => (0..count).for_each(|l| sums[l] += gs[l] * x[l]),
                                    }
                                }
                            }
                        }
                    }
                },
            );
            // SAFETY: each piece has its own columns of its own part.
            let (w, b) = unsafe {
                let at = part * cols + first;
                (weights.part(at * side * side..(at + count) * side * side), biases.part(at..at + count))
            };
            b.copy_from_slice(&bias[..count]);
            for (c, w) in w.chunks_exact_mut(side * side).enumerate() {
                w.iter_mut().zip(&sums).for_each(|(w, s)| *w = s[c]);
            }
        }
    });
}

/// Where entry i of a kernel of this side lies in a centred one of side `inner`.
fn inside(i: usize, side: usize, inner: usize) -> Option<usize> {
    let edge = (side - inner) / 2;
    let (row, col) = ((i / side).wrapping_sub(edge), (i % side).wrapping_sub(edge));
    (row < inner && col < inner).then(|| row * inner + col)
}

fn merge_kernels<T: Real>(a: &Args<T>) {
    let p: MergeParams = a.params();
    let (side, area) = (p.side as usize, (p.side * p.side) as usize);
    let kernels = [a.read(0), a.read(1), a.read(2)];
    for (channel, out) in a.write(3).chunks_exact_mut(area).enumerate().take(p.channels as usize) {
        for (i, o) in out.iter_mut().enumerate() {
            *o = if i == area / 2 { T::ONE } else { T::ZERO };
            for (n, kernel) in kernels.iter().enumerate() {
                let inner = side - 2 * n;
                if let Some(at) = inside(i, side, inner) {
                    *o += kernel[channel * inner * inner + at];
                }
            }
        }
    }
}

fn crop_kernels<T: Real>(a: &Args<T>) {
    let p: CropParams = a.params();
    let (side, inner, keep) = (p.side as usize, p.inner as usize, T::new(p.accumulate as f64));
    let (x, edge) = (a.read(0), (side - inner) / 2);
    for (i, o) in a.write(1).iter_mut().enumerate().take(p.channels as usize * inner * inner) {
        let row = i / (inner * inner) * side + i % (inner * inner) / inner + edge;
        *o = keep_or_zero(keep, *o) + x[row * side + i % inner + edge];
    }
}
