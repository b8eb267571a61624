//! Host twins of `shaders/nystrom.wgsl`.

use super::cost::At;
pub use super::declared::nystrom::{
    A_COLUMNS, A_T, ACCUMULATE, B_COLUMNS, B_T, C_COLUMNS, COLUMNS, FOLD, FOLDED, ROWS, SIDE, SPREAD, WITH_E,
};
use super::declared::nystrom::{
    Folding as FoldingParams, Inverse as InverseParams, Product as ProductParams, Spans as SpansParams,
    Zeros as ZerosParams,
};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel};
use super::matmul::{Factor, multiply};
use super::tokens::{rows_of, stretch};
use super::{Args, Real, kernels};
use std::ops::Range;

kernels! {
    nystrom {
        /// Product of two matrices of each bag and head, plus a third and a diagonal.
        PRODUCT = head_product, |&At { w, .. }| {
            let ([m, n, k, layers], flags) = ([w[0], w[1], w[2], w[8]], w[4]);
            let third = flags >> 3 & 1;
            let values = m * k + k * n + m * n * (1 + (flags & 1) + third);
            let flops = m * n * (2 * k + 1 + 2 * third + (flags & 1));
            (layers * values, layers * flops, format!("{layers} x [{m}x{k}] [{k}x{n}]"))
        };
        /// Largest sums of rows and columns of each bag and head.
        SUMS = inverse_sums, |at| of_layers(at, |area, _| (area + 4, 4 * area));
        /// Start of the iteration to the pseudo-inverse.
        START = inverse_start, |at| of_layers(at, |area, _| (2 * area + 4, area));
        /// Inner products of the matrices of each bag and head.
        DOTS = inverse_dots, |at| of_layers(at, |area, _| (2 * area + 1, 2 * area));
        /// Gradient of `inverse_start`, added to that of the iteration.
        END = inverse_end,
            |at| of_layers(at, |area, w| (area * (3 + (w[3] & 1)) + 2 * w[2] + 5, area * (2 + (w[3] & 1)) + 4 * w[2]));
        /// Matrices of landmarks of which some are alike, with these as one, and back.
        FOLDING = inverse_fold, |at| of_layers(at, |area, _| (2 * area, area));
        /// Rows of each tile, and the rows they look at.
        SPANS = cross_spans, |&At { w, .. }| (4 * w[0], 0, format!("{}", w[0]));
        /// Zeros among the keys and values of attention, after it.
        ZEROS = zero_keys, |&At { w, .. }| {
            let rows = w[0] * w[1];
            (2 * rows * (1 + w[2]), rows * (w[2] + 8), format!("{rows}x{}", w[2]))
        };
    }
}

/// Values and operations of one layer, from its area and the words, for all layers.
fn of_layers(at: &At, each: impl Fn(u64, [u64; 16]) -> (u64, u64)) -> (u64, u64, String) {
    let (layers, side) = (at.w[0], at.w[2]);
    let (values, flops) = each(side * side, at.w);
    (layers * values, layers * flops, format!("{layers} x {side}x{side}"))
}

/// The matrices of a bag whose first `weight` landmarks are alike: of these only the last, number `first`, stands for
/// all, and `side` rows and columns are left.
#[derive(Clone, Copy)]
struct Fold {
    first: usize,
    side: usize,
    weight: usize,
}

impl Fold {
    fn of(offsets: &[u32], bag: usize, side: usize, flags: u32) -> Self {
        if flags & FOLDED == 0 {
            return Self { first: 0, side, weight: 1 };
        }
        let (each, zeros) = stretch(rows_of(offsets, bag).len(), side);
        let weight = zeros.checked_div(each).unwrap_or(1).max(1);
        Self { first: weight - 1, side: side - weight + 1, weight }
    }

    /// How many landmarks the one of this number stands for.
    fn weight<T: Real>(&self, number: usize) -> T {
        T::new(if number == 0 { self.weight as f64 } else { 1.0 })
    }

    /// The landmarks that this one of those that are left stands for.
    fn of_left(&self, number: usize) -> Range<usize> {
        let end = self.first + number + 1;
        if number == 0 { 0..end } else { end - 1..end }
    }
}

/// Rows of a result that a core computes in one go; fixed, so that bits do not depend on the cores.
const BLOCK: usize = 128;

/// First value and distance of rows of a stored matrix of a layer.
fn place(layer: usize, heads: usize, rows: usize, cols: usize, columns: bool) -> (usize, usize) {
    match columns {
        true => (layer / heads * rows * heads * cols + layer % heads * cols, heads * cols),
        false => (layer * rows * cols, cols),
    }
}

fn head_product<T: Real>(args: &Args<T>) {
    let p: ProductParams = args.params();
    let [m, n, k, heads] = [p.m, p.n, p.k, p.heads].map(|v| v as usize);
    let flag = |bit: u32| p.flags & bit != 0;
    let (a, b, e, c) = (args.read(0), args.read(1), args.read(2), Shared::new(args.write(3)));
    let [alpha, beta, gamma] = [p.alpha, p.beta, p.gamma].map(T::from_f32);
    let prepared = flag(WITH_E) || p.gamma != 0.0;
    let blocks = m.div_ceil(BLOCK);
    parallel(p.layers as usize * blocks, 2 * BLOCK.min(m) * n * k, |range| {
        for number in range {
            let (layer, top) = (number / blocks, number % blocks * BLOCK);
            let factor = |values, [r, c]: [usize; 2], transposed, columns, skip: usize| {
                let [r, c] = if transposed { [c, r] } else { [r, c] };
                let (first, ld) = place(layer, heads, r, c, columns);
                let (row, col) = if transposed { (1, ld) } else { (ld, 1) };
                Factor { values, first: first + skip * row, row, col }
            };
            let a = factor(a, [m, k], flag(A_T), flag(A_COLUMNS), top);
            let b = factor(b, [k, n], flag(B_T), flag(B_COLUMNS), 0);
            let (first, ld) = place(layer, heads, m, n, flag(C_COLUMNS));
            // Folded matrices are square, and stored as if they were not folded.
            let [m, n, k] = match flag(FOLDED) {
                true => [Fold::of(args.indices(4), layer / heads, m, FOLDED).side; 3],
                false => [m, n, k],
            };
            if top >= m {
                continue;
            }
            let rows = BLOCK.min(m - top);
            if prepared {
                for r in top..top + rows {
                    let at = first + r * ld..first + r * ld + n;
                    // SAFETY: a piece has its own rows of its own layer.
                    let row = unsafe { c.part(at.clone()) };
                    if !flag(ACCUMULATE) {
                        row.fill(T::ZERO);
                    }
                    if flag(WITH_E) {
                        row.iter_mut().zip(&e[at]).for_each(|(o, e)| *o += beta * *e);
                    }
                    if r < n {
                        row[r] += gamma;
                    }
                }
            }
            // SAFETY: as above; the last row is inside, so all are.
            let to = unsafe {
                c.part(first + (top + rows - 1) * ld..first + (top + rows - 1) * ld + n);
                c.start().add(first + top * ld)
            };
            // SAFETY: as above.
            unsafe { multiply([rows, n, k], a, b, to, ld, prepared || flag(ACCUMULATE), alpha) };
        }
    });
}

/// The largest and its number, of equals the first.
fn largest<T: Real>(values: impl Iterator<Item = T>) -> (T, usize) {
    values.enumerate().fold((-T::ONE, 0), |best, (i, v)| if v > best.0 { (v, i) } else { best })
}

fn inverse_sums<T: Real>(a: &Args<T>) {
    let p: InverseParams = a.params();
    let side = p.side as usize;
    let x = a.read(0);
    for_rows(a.write(1), p.layers as usize, 4, 2 * side * side, |layer, out| {
        let x = &x[layer * side * side..(layer + 1) * side * side];
        let mut columns = vec![T::ZERO; side];
        for row in x.chunks_exact(side) {
            columns.iter_mut().zip(row).for_each(|(c, v)| *c += v.abs());
        }
        let row = largest(x.chunks_exact(side).map(|r| r.iter().map(|v| v.abs()).sum()));
        let col = largest(columns.into_iter());
        out.copy_from_slice(&[row.0, T::new(row.1 as f64), col.0, T::new(col.1 as f64)]);
    });
}

/// The largest sums of a bag: (sum, head, number) of a row and of a column.
fn largest_of<T: Real>(sums: &[T], heads: usize, bag: usize) -> [(T, usize, usize); 2] {
    let sums = &sums[4 * bag * heads..4 * (bag + 1) * heads];
    [0, 2].map(|at| {
        let (sum, head) = largest(sums.chunks_exact(4).map(|s| s[at]));
        (sum, head, sums[4 * head + at + 1].f64() as usize)
    })
}

fn inverse_start<T: Real>(a: &Args<T>) {
    let p: InverseParams = a.params();
    let (heads, side) = (p.heads as usize, p.side as usize);
    let (x, sums, offsets) = (a.read(0), a.read(1), a.indices(3));
    for_rows(a.write(2), p.layers as usize, side * side, 2 * side * side, |layer, out| {
        let x = &x[layer * side * side..(layer + 1) * side * side];
        let [row, col] = largest_of(sums, heads, layer / heads);
        let scale = T::ONE / (row.0 * col.0);
        let fold = Fold::of(offsets, layer / heads, side, p.flags);
        for (i, out) in out.chunks_exact_mut(side).enumerate().take(fold.side) {
            for (j, o) in out[..fold.side].iter_mut().enumerate() {
                *o = x[(fold.first + j) * side + fold.first + i] * scale * fold.weight(j);
            }
        }
    });
}

fn inverse_dots<T: Real>(a: &Args<T>) {
    let p: InverseParams = a.params();
    let (heads, side) = (p.heads as usize, p.side as usize);
    let (area, x, y, offsets) = (side * side, a.read(0), a.read(1), a.indices(3));
    for_rows(a.write(2), p.layers as usize, 1, 2 * area, |layer, out| {
        let left = Fold::of(offsets, layer / heads, side, p.flags).side;
        out[0] = (layer * area..).step_by(side).take(left).fold(T::ZERO, |sum, row| {
            x[row..row + left].iter().zip(&y[row..row + left]).fold(sum, |sum, (x, y)| sum + *x * *y)
        });
    });
}

fn inverse_fold<T: Real>(a: &Args<T>) {
    let p: FoldingParams = a.params();
    let (heads, side) = (p.heads as usize, p.side as usize);
    let (area, x, offsets) = (side * side, a.read(0), a.indices(2));
    for_rows(a.write(1), p.layers as usize, area, 2 * area, |layer, out| {
        let x = &x[layer * area..(layer + 1) * area];
        let fold = Fold::of(offsets, layer / heads, side, FOLDED);
        let (first, left) = (fold.first, fold.side);
        match p.how {
            FOLD => {
                for (out, x) in out.chunks_exact_mut(side).zip(x[first * side..].chunks_exact(side)) {
                    out[..left].copy_from_slice(&x[first..]);
                    out[0] *= fold.weight(0);
                }
            }
            SPREAD => {
                for i in 0..left {
                    let (start, end) = (fold.of_left(i).start * side, fold.of_left(i).end * side);
                    let (x, row) = (&x[i * side..i * side + left], &mut out[start..start + side]);
                    row[..=first].fill(x[0] / fold.weight(0));
                    row[first + 1..].copy_from_slice(&x[1..]);
                    for again in (start + side..end).step_by(side) {
                        out.copy_within(start..start + side, again);
                    }
                }
            }
            COLUMNS => {
                for (out, x) in out.chunks_exact_mut(side).zip(x.chunks_exact(side)) {
                    out[..left].copy_from_slice(&x[first..]);
                    out[0] = x[..=first].iter().copied().sum::<T>() / fold.weight(0);
                }
            }
            _ => {
                for i in 0..left {
                    let to = &mut out[i * side..i * side + left];
                    to.fill(T::ZERO);
                    for x in x[fold.of_left(i).start * side..fold.of_left(i).end * side].chunks_exact(side) {
                        to.iter_mut().zip(x).for_each(|(o, v)| *o += *v);
                    }
                }
            }
        }
    });
}

fn inverse_end<T: Real>(a: &Args<T>) {
    let p: InverseParams = a.params();
    let (heads, side, keep) = (p.heads as usize, p.side as usize, T::new((p.flags & ACCUMULATE) as f64));
    let (x, sums, g, start, dots, offsets) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4), a.indices(6));
    let area = side * side;
    for_rows(a.write(5), p.layers as usize, area, 4 * area, |layer, out| {
        let (bag, head) = (layer / heads, layer % heads);
        let [row, col] = largest_of(sums, heads, bag);
        let scale = T::ONE / (row.0 * col.0);
        let [x, g, start] = [x, g, start].map(|v| &v[layer * area..(layer + 1) * area]);
        let fold = Fold::of(offsets, bag, side, p.flags);
        let mut each = vec![T::ZERO; fold.side];
        for i in 0..fold.side {
            let share = T::ONE / fold.weight(i);
            for (j, o) in each.iter_mut().enumerate() {
                *o = g[i * side + j] * share + start[j * side + i] * scale / fold.weight(j);
            }
            // All that this one stands for have the same.
            for out in out[fold.of_left(i).start * side..fold.of_left(i).end * side].chunks_exact_mut(side) {
                let (alike, rest) = out.split_at_mut(fold.first);
                alike.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o) + each[0]);
                rest.iter_mut().zip(&each).for_each(|(o, v)| *o = keep_or_zero(keep, *o) + *v);
            }
        }
        let slope = -dots[bag * heads..(bag + 1) * heads].iter().copied().sum::<T>() * scale;
        let sign = |v: T| if v > T::ZERO { T::ONE } else { T::new(-((v < T::ZERO) as u8 as f64)) };
        for j in 0..side {
            if row.1 == head {
                out[row.2 * side + j] += col.0 * slope * sign(x[row.2 * side + j]);
            }
            if col.1 == head {
                out[j * side + col.2] += row.0 * slope * sign(x[j * side + col.2]);
            }
        }
    });
}

fn cross_spans<T: Real>(a: &Args<T>) {
    let p: SpansParams = a.params();
    let (offsets, tiles, out) = (a.indices(0), a.indices(1), a.write_indices(2));
    for (i, span) in out.chunks_exact_mut(4).enumerate().take(p.tiles as usize) {
        let (bag, first, rows) = match p.own {
            0 => (tiles[4 * i], tiles[4 * i + 1], tiles[4 * i + 2]),
            own => {
                let each = own.div_ceil(64);
                let (bag, from) = (i as u32 / each, i as u32 % each * 64);
                (bag, bag * own + from, (own - from).min(64))
            }
        };
        let (start, end) = match p.other {
            0 => (offsets[bag as usize], offsets[bag as usize + 1]),
            other => (bag * other, (bag + 1) * other),
        };
        span.copy_from_slice(&[first, rows, start, end]);
    }
}

fn zero_keys<T: Real>(a: &Args<T>) {
    let p: ZerosParams = a.params();
    let (heads, width, landmarks) = (p.heads as usize, p.width as usize, p.landmarks as usize);
    let (offsets, lse) = (a.indices(0), Shared::new(a.write(1)));
    for_rows(a.write(2), p.rows as usize * heads, width, 2 * width + 20, |i, out| {
        let (_, zeros) = stretch(rows_of(offsets, i / heads / landmarks).len(), landmarks);
        if zeros == 0 {
            return;
        }
        // SAFETY: each row and head is visited once.
        let lse = unsafe { lse.part(i..i + 1) };
        let old = lse[0];
        let high = old.larger(T::ZERO);
        lse[0] = high + ((old - high).exp() + T::new(zeros as f64) * (-high).exp()).ln();
        let factor = (old - lse[0]).exp();
        out.iter_mut().for_each(|o| *o *= factor);
    });
}
