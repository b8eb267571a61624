//! Host twins of `shaders/graph.wgsl`.

use super::cost::At;
pub use super::declared::graph::{ADD, ADD_PAIRS, MEAN, SELF, TRANSPOSED};
use super::declared::graph::{Link, Pairs, Product, Spans};
use super::elementwise::keep_or_zero;
use super::host::{Shared, parallel};
use super::{Args, Real, kernels};

kernels! {
    graph {
        /// Where the pairs of each tile start, and the rows of its graph.
        GRAPH_SPANS = graph_spans, |at @ &At { b, rows, .. }| (4 * rows + b + 1, 0, sizes(at));
        /// Products or distances of the pairs of each graph.
        GRAPH_PAIRS = graph_pairs, |at @ &At { c, w, .. }| {
            let (p, sides) = (pairs(at, 3), if at.same(0, 1) { 1 } else { 2 });
            (sides * nodes(at, 0) + p, p * (c * if w[2] == 0 { 2 } else { 3 } + (w[2] == 2) as u64), sizes(at))
        };
        /// Their gradient for one side.
        GRAPH_PAIRS_GRAD = graph_pairs_grad, |at @ &At { c, w, .. }| {
            let (p, sides, added) = (pairs(at, 2), if at.same(0, 1) { 1 } else { 2 }, at.bit(3, 1));
            let distances = (w[2] == 2) as u64;
            (
                (sides + 1 + added) * nodes(at, 0) + (1 + distances) * p,
                p * (c * if w[2] == 0 { 2 } else { 3 } + (w[2] == 1 || w[2] == 2) as u64),
                sizes(at),
            )
        };
        /// Sums or means over neighbours.
        GRAPH_PRODUCT = graph_product, |at @ &At { c, .. }| {
            let (p, v) = (pairs(at, 0), nodes(at, 1));
            (p + 2 * v + v / c.max(1), p * (2 * c + 1) + v, sizes(at))
        };
        /// Their gradient for the nodes.
        GRAPH_PRODUCT_GRAD = graph_product_grad, |at @ &At { c, .. }| {
            let (p, v, added) = (pairs(at, 0), nodes(at, 1), at.bit(2, 2));
            (p + (2 + added) * v + v / c.max(1), 2 * p * c + v, sizes(at))
        };
        /// Their gradient for the weights.
        GRAPH_WEIGHTS_GRAD = graph_weights_grad, |at @ &At { n, .. }| {
            let (p, added) = (pairs(at, 0), at.bit(2, 2));
            ((2 + added) * p + 2 * n.min(at.held(1)), 2 * p, sizes(at))
        };
        /// Sum of squares of what soft assignments leave of the weights, tile by tile.
        LINK_PART = link_part, |at @ &At { pairs: p, n, t, c, .. }| (p + n * c + t, p * (2 * c + 3), sizes(at));
        /// Its root for each graph.
        LINK_END = link_end, |at @ &At { b, t, .. }| (t + b, t + 2 * b, sizes(at));
        /// Gradient of the root for the assignments.
        LINK_GRAD = link_grad, |at @ &At { pairs: p, n, b, c, w, .. }| (p + n * c * (2 + w[3]) + 2 * b, p * (6 * c + 3), sizes(at));
        /// Gradient of the root for the weights.
        LINK_WEIGHTS_GRAD = link_weights_grad,
            |at @ &At { pairs: p, n, b, c, w, .. }| (p * (2 + w[3]) + n * c + 2 * b, p * (2 * c + 2), sizes(at));
    }
}

// Graphs of as many nodes for every bag hold less than the bags' own.
fn pairs(at: &At, binding: usize) -> u64 {
    at.pairs.min(at.held(binding))
}

fn nodes(at: &At, binding: usize) -> u64 {
    (at.n * at.c).min(at.held(binding))
}

fn sizes(at: &At) -> String {
    format!("P={} C={}", at.pairs, at.c)
}

/// A span of the table.
#[derive(Clone, Copy)]
struct Span {
    /// Where the pairs of the tile's first row start.
    pairs: usize,
    first: usize,
    /// Rows of the tile.
    rows: usize,
    /// First row of the graph.
    start: usize,
    /// Rows of the graph.
    count: usize,
}

impl Span {
    fn of(spans: &[u32], tile: usize) -> Self {
        let [pairs, first, start, count] = [0, 1, 2, 3].map(|i| spans[4 * tile + i] as usize);
        Self { pairs, first, rows: (start + count - first).min(64), start, count }
    }

    /// Where the pairs of the graph start.
    fn base(&self) -> usize {
        self.pairs - (self.first - self.start) * self.count
    }

    /// The pairs of row `i` of the tile.
    fn row(&self, i: usize) -> std::ops::Range<usize> {
        self.pairs + i * self.count..self.pairs + (i + 1) * self.count
    }

    fn nodes(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.count
    }
}

/// Calls `f` for every tile, over the cores.
fn for_tiles(spans: &[u32], tiles: usize, cols: usize, f: impl Fn(Span) + Sync) {
    let pairs: usize = (0..tiles).map(|t| Span::of(spans, t)).map(|s| s.rows * s.count).sum();
    parallel(tiles, 4 * cols * pairs.div_ceil(tiles.max(1)), |range| range.for_each(|t| f(Span::of(spans, t))));
}

fn graph_spans<T: Real>(a: &Args<T>) {
    let p: Spans = a.params();
    let (tiles, offsets) = (a.indices(0), a.indices(1));
    let (mut bag, mut pairs) = (0, 0);
    for (tile, out) in a.write_indices(2).chunks_exact_mut(4).take(p.tiles as usize).enumerate() {
        if p.nodes != 0 {
            let first = tile as u32 * p.nodes;
            out.copy_from_slice(&[first * p.nodes, first, first, p.nodes]);
            continue;
        }
        let rows = |b: usize| offsets[b + 1] - offsets[b];
        while bag < tiles[4 * tile] as usize {
            pairs += rows(bag) * rows(bag);
            bag += 1;
        }
        let (first, start) = (tiles[4 * tile + 1], offsets[bag]);
        out.copy_from_slice(&[pairs + (first - start) * rows(bag), first, start, rows(bag)]);
    }
}

fn pair_of<T: Real>(kind: u32, a: &[T], b: &[T]) -> T {
    let sides = a.iter().zip(b);
    match kind {
        0 => sides.map(|(a, b)| *a * *b).sum(),
        3 => sides.map(|(a, b)| (*a - *b).abs()).sum(),
        _ => {
            let squares = sides.map(|(a, b)| (*a - *b) * (*a - *b)).sum::<T>();
            if kind == 2 { squares.sqrt() } else { squares }
        }
    }
}

fn graph_pairs<T: Real>(a: &Args<T>) {
    let p: Pairs = a.params();
    let cols = p.cols as usize;
    let (own, other, out) = (a.read(0), a.read(1), Shared::new(a.write(3)));
    for_tiles(a.indices(2), p.tiles as usize, cols, |span| {
        for i in 0..span.rows {
            // SAFETY: each tile has its own pairs.
            let out = unsafe { out.part(span.row(i)) };
            let x = &own[(span.first + i) * cols..][..cols];
            for (o, j) in out.iter_mut().zip(span.nodes()) {
                *o = pair_of(p.kind, x, &other[j * cols..(j + 1) * cols]);
            }
        }
    });
}

fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        T::ZERO
    }
}

fn graph_pairs_grad<T: Real>(a: &Args<T>) {
    let p: Pairs = a.params();
    let cols = p.cols as usize;
    let (own, other, gradient, distances) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let out = Shared::new(a.write(5));
    let keep = T::new((p.flags & ADD_PAIRS != 0) as u32 as f64);
    for_tiles(a.indices(4), p.tiles as usize, cols, |span| {
        for i in 0..span.rows {
            let here = (span.first + i) * cols..(span.first + i + 1) * cols;
            let x = &own[here.clone()];
            // SAFETY: each tile has its own rows.
            let out = unsafe { out.part(here) };
            out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
            let local = span.first - span.start + i;
            for (j, node) in span.nodes().enumerate() {
                let at = span.base()
                    + if p.flags & TRANSPOSED != 0 { j * span.count + local } else { local * span.count + j };
                let g = gradient[at];
                let sides = out.iter_mut().zip(x).zip(&other[node * cols..(node + 1) * cols]);
                match p.kind {
                    0 => sides.for_each(|((o, _), b)| *o += g * *b),
                    1 => sides.for_each(|((o, a), b)| *o += T::new(2.0) * g * (*a - *b)),
                    2 if distances[at] > T::ZERO => {
                        let g = g / distances[at];
                        sides.for_each(|((o, a), b)| *o += g * (*a - *b));
                    }
                    2 => {}
                    _ => sides.for_each(|((o, a), b)| *o += g * sign(*a - *b)),
                }
            }
        }
    });
}

fn graph_product<T: Real>(a: &Args<T>) {
    let p: Product = a.params();
    let cols = p.cols as usize;
    let (weights, nodes) = (a.read(0), a.read(1));
    let (out, shares) = (Shared::new(a.write(3)), Shared::new(a.write(4)));
    for_tiles(a.indices(2), p.tiles as usize, cols, |span| {
        for i in 0..span.rows {
            let row = span.first + i;
            // SAFETY: each tile has its own rows.
            let (out, share) = unsafe { (out.part(row * cols..(row + 1) * cols), shares.part(row..row + 1)) };
            out.fill(T::ZERO);
            let mut total = T::ZERO;
            for (weight, node) in weights[span.row(i)].iter().zip(span.nodes()) {
                let weight = if p.flags & SELF != 0 && node == row { T::ONE } else { *weight };
                total += weight;
                out.iter_mut().zip(&nodes[node * cols..(node + 1) * cols]).for_each(|(o, v)| *o += weight * *v);
            }
            share[0] = if p.flags & MEAN != 0 { T::ONE / total.larger(T::ONE) } else { T::ONE };
            out.iter_mut().for_each(|o| *o *= share[0]);
        }
    });
}

fn graph_product_grad<T: Real>(a: &Args<T>) {
    let p: Product = a.params();
    let cols = p.cols as usize;
    let (weights, gradient, shares, out) = (a.read(0), a.read(1), a.read(2), Shared::new(a.write(4)));
    let keep = T::new((p.flags & ADD != 0) as u32 as f64);
    for_tiles(a.indices(3), p.tiles as usize, cols, |span| {
        for row in span.first..span.first + span.rows {
            // SAFETY: each tile has its own rows.
            let out = unsafe { out.part(row * cols..(row + 1) * cols) };
            out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
            for (j, node) in span.nodes().enumerate() {
                let at = span.base() + j * span.count + row - span.start;
                let weight = if p.flags & SELF != 0 && node == row { T::ONE } else { weights[at] } * shares[node];
                out.iter_mut().zip(&gradient[node * cols..(node + 1) * cols]).for_each(|(o, g)| *o += weight * *g);
            }
        }
    });
}

fn graph_weights_grad<T: Real>(a: &Args<T>) {
    let p: Product = a.params();
    let (products, inner, shares, out) = (a.read(0), a.read(1), a.read(2), Shared::new(a.write(4)));
    let keep = T::new((p.flags & ADD != 0) as u32 as f64);
    for_tiles(a.indices(3), p.tiles as usize, 1, |span| {
        for i in 0..span.rows {
            let row = span.first + i;
            // The sum of the weights only counts where the result was divided by it.
            let mean = if shares[row] < T::ONE { inner[row] } else { T::ZERO };
            // SAFETY: each tile has its own pairs.
            let out = unsafe { out.part(span.row(i)) };
            for ((o, product), node) in out.iter_mut().zip(&products[span.row(i)]).zip(span.nodes()) {
                let fixed = p.flags & SELF != 0 && node == row;
                let value = if fixed { T::ZERO } else { shares[row] * (*product - mean) };
                *o = keep_or_zero(keep, *o) + value;
            }
        }
    });
}

/// What the product of the assignments of two nodes leaves of the weight at `at`.
fn rest<T: Real>(weights: &[T], assigned: &[T], cols: usize, at: usize, row: usize, other: usize) -> T {
    weights[at] - pair_of(0, &assigned[row * cols..(row + 1) * cols], &assigned[other * cols..(other + 1) * cols])
}

fn link_part<T: Real>(a: &Args<T>) {
    let p: Link = a.params();
    let cols = p.cols as usize;
    let (weights, assigned, spans, out) = (a.read(0), a.read(1), a.indices(2), Shared::new(a.write(3)));
    let tiles = p.tiles as usize;
    parallel(tiles, 64 * 64 * cols, |range| {
        for t in range {
            let span = Span::of(spans, t);
            let mut sum = T::ZERO;
            for i in 0..span.rows {
                for (at, node) in span.row(i).zip(span.nodes()) {
                    let rest = rest(weights, assigned, cols, at, span.first + i, node);
                    sum += rest * rest;
                }
            }
            // SAFETY: each tile is visited once.
            let out = unsafe { out.part(t..t + 1) };
            out[0] = sum;
        }
    });
}

fn link_end<T: Real>(a: &Args<T>) {
    let p: Link = a.params();
    let (parts, bag_tiles, offsets) = (a.read(0), a.indices(1), a.indices(2));
    for (b, out) in a.write(3)[..p.tiles as usize].iter_mut().enumerate() {
        let sum = parts[bag_tiles[b] as usize..bag_tiles[b + 1] as usize].iter().copied().sum::<T>();
        let rows = (offsets[b + 1] - offsets[b]) as f64;
        *out = sum.sqrt() / T::new(if p.mean != 0 { rows * rows } else { 1.0 });
    }
}

/// What a pair's rest is multiplied by in gradients.
fn slope<T: Real>(p: &Link, loss: T, gradient: T, rows: usize) -> T {
    let pairs = T::new(if p.mean != 0 { (rows * rows) as f64 } else { 1.0 });
    let norm = loss * pairs;
    if norm > T::ZERO { gradient / (norm * pairs) } else { T::ZERO }
}

fn link_grad<T: Real>(a: &Args<T>) {
    let p: Link = a.params();
    let cols = p.cols as usize;
    let (weights, assigned, losses, gradient) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (spans, tiles, out) = (a.indices(4), a.indices(5), Shared::new(a.write(6)));
    let keep = T::new(p.accumulate as f64);
    parallel(p.tiles as usize, 64 * 64 * cols * 4, |range| {
        for t in range {
            let (span, bag) = (Span::of(spans, t), tiles[4 * t] as usize);
            let slope = slope(&p, losses[bag], gradient[bag], span.count);
            for row in span.first..span.first + span.rows {
                // SAFETY: each tile has its own rows.
                let out = unsafe { out.part(row * cols..(row + 1) * cols) };
                out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
                let local = row - span.start;
                for (j, node) in span.nodes().enumerate() {
                    let of = |at: usize| rest(weights, assigned, cols, span.base() + at, row, node);
                    let factor = slope * (of(local * span.count + j) + of(j * span.count + local));
                    let others = &assigned[node * cols..(node + 1) * cols];
                    out.iter_mut().zip(others).for_each(|(o, s)| *o += -factor * *s);
                }
            }
        }
    });
}

fn link_weights_grad<T: Real>(a: &Args<T>) {
    let p: Link = a.params();
    let cols = p.cols as usize;
    let (weights, assigned, losses, gradient) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (spans, tiles, out) = (a.indices(4), a.indices(5), Shared::new(a.write(6)));
    let keep = T::new(p.accumulate as f64);
    parallel(p.tiles as usize, 64 * 64 * cols, |range| {
        for t in range {
            let (span, bag) = (Span::of(spans, t), tiles[4 * t] as usize);
            let slope = slope(&p, losses[bag], gradient[bag], span.count);
            for i in 0..span.rows {
                // SAFETY: each tile has its own pairs.
                let out = unsafe { out.part(span.row(i)) };
                for ((o, at), node) in out.iter_mut().zip(span.row(i)).zip(span.nodes()) {
                    let value = slope * rest(weights, assigned, cols, at, span.first + i, node);
                    *o = keep_or_zero(keep, *o) + value;
                }
            }
        }
    });
}
