//! Host twins of `shaders/tokens.wgsl`.

use super::cost::At;
use super::declared::tokens::{
    Means as MeansParams, MeansGrad as MeansGradParams, Scores as ScoresParams, ScoresGrad as ScoresGradParams,
    Square as SquareParams, SquareGrad as SquareGradParams,
};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel};
use super::{Args, Real, kernels};
use std::ops::Range;

kernels! {
    tokens {
        /// The class token and the square of the instances of each bag.
        SQUARE = square, |&At { n, tokens: t, c, .. }| (c * (n + 1 + t), 0, format!("N={n} C={c}"));
        /// Gradient of the instances of `square`.
        SQUARE_GRAD = square_grad,
            |&At { n, b, tokens: t, c, w, .. }| (c * (t + n * (1 + w[2])), c * (t - b), format!("N={n} C={c}"));
        /// Means of runs of tokens.
        MEANS = landmark_means, |&At { tokens: t, c, w, .. }| (c * (t + w[0]), c * (t + w[0]), format!("{t}x{c}"));
        /// Gradient of `landmark_means`.
        MEANS_GRAD = landmark_grad,
            |&At { b, tokens: t, c, w, .. }| (c * (b * w[2] + t * (1 + w[3])), c * t, format!("{t}x{c}"));
        /// Of each instance the sum over the columns of its token.
        SCORES = token_scores, |&At { n, c, .. }| (n * (c + 1), n * (c + 1), format!("N={n} K={c}"));
        /// Gradient of `token_scores`.
        SCORES_GRAD = token_scores_grad,
            |&At { n, tokens: t, c, w, .. }| (n + t * c * (1 + w[3]), n, format!("N={n} K={c}"));
    }
}

/// Runs `f(bag, row, row of out)` for each row of each tile.
pub(super) fn for_tiles<T: Real>(
    out: &mut [T],
    tiles: &[u32],
    count: u32,
    width: usize,
    work: usize,
    f: impl Fn(usize, usize, &mut [T]) + Sync,
) {
    let out = Shared::new(out);
    parallel(count as usize, 64 * work, |range| {
        for tile in tiles.chunks_exact(4).take(range.end).skip(range.start) {
            for row in tile[1] as usize..(tile[1] + tile[2]) as usize {
                // SAFETY: each row belongs to one tile.
                f(tile[0] as usize, row, unsafe { out.part(row * width..(row + 1) * width) });
            }
        }
    });
}

/// Rows of a bag.
pub(super) fn rows_of(offsets: &[u32], bag: usize) -> Range<usize> {
    offsets[bag] as usize..offsets[bag + 1] as usize
}

/// Tokens of a landmark, and rows of zeros in front that make the number of tokens a multiple.
pub(super) fn stretch(tokens: usize, landmarks: usize) -> (usize, usize) {
    let each = tokens.div_ceil(landmarks);
    (each, each * landmarks - tokens)
}

fn square<T: Real>(a: &Args<T>) {
    let p: SquareParams = a.params();
    let cols = p.cols as usize;
    let (x, class, offsets, tokens) = (a.read(0), a.read(1), a.indices(2), a.indices(3));
    for_tiles(a.write(5), a.indices(4), p.tiles, cols, cols, |bag, row, out| {
        let instances = rows_of(offsets, bag);
        out.copy_from_slice(match row - tokens[bag] as usize {
            0 => &class[..cols],
            token => {
                let from = instances.start + (token - 1) % instances.len();
                &x[from * cols..(from + 1) * cols]
            }
        });
    });
}

fn square_grad<T: Real>(a: &Args<T>) {
    let p: SquareGradParams = a.params();
    let (cols, keep) = (p.cols as usize, T::new(p.accumulate as f64));
    let (g, offsets, tokens) = (a.read(0), a.indices(1), a.indices(2));
    for_tiles(a.write(4), a.indices(3), p.tiles, cols, 2 * cols, |bag, row, out| {
        let (instances, square) = (rows_of(offsets, bag), rows_of(tokens, bag));
        let (i, start) = (row - instances.start, square.start + 1);
        let token = |at: usize| &g[at * cols..(at + 1) * cols];
        out.iter_mut().zip(token(start + i)).for_each(|(o, g)| *o = keep_or_zero(keep, *o) + *g);
        if i + instances.len() < square.len() - 1 {
            out.iter_mut().zip(token(start + instances.len() + i)).for_each(|(o, g)| *o += *g);
        }
    });
}

fn landmark_means<T: Real>(a: &Args<T>) {
    let p: MeansParams = a.params();
    let (cols, landmarks) = (p.cols as usize, p.landmarks as usize);
    let (x, tokens) = (a.read(0), a.indices(1));
    for_rows(a.write(2), p.rows as usize, cols, 8 * cols, |row, out| {
        let bag = rows_of(tokens, row / landmarks);
        let (each, pad) = stretch(bag.len(), landmarks);
        let from = row % landmarks * each;
        out.fill(T::ZERO);
        for i in from.max(pad)..from + each {
            let at = (bag.start + i - pad) * cols;
            out.iter_mut().zip(&x[at..at + cols]).for_each(|(o, v)| *o += *v);
        }
        let part = T::ONE / T::new(each as f64);
        out.iter_mut().for_each(|o| *o *= part);
    });
}

fn landmark_grad<T: Real>(a: &Args<T>) {
    let p: MeansGradParams = a.params();
    let (cols, landmarks, keep) = (p.cols as usize, p.landmarks as usize, T::new(p.accumulate as f64));
    let (g, tokens) = (a.read(0), a.indices(1));
    for_tiles(a.write(3), a.indices(2), p.tiles, cols, 2 * cols, |bag, row, out| {
        let rows = rows_of(tokens, bag);
        let (each, pad) = stretch(rows.len(), landmarks);
        let at = (bag * landmarks + (row - rows.start + pad) / each) * cols;
        let part = T::ONE / T::new(each as f64);
        out.iter_mut().zip(&g[at..at + cols]).for_each(|(o, g)| *o = keep_or_zero(keep, *o) + *g * part);
    });
}

fn token_scores<T: Real>(a: &Args<T>) {
    let p: ScoresParams = a.params();
    let (cols, factor) = (p.cols as usize, T::from_f32(p.factor));
    let (x, offsets, tokens) = (a.read(0), a.indices(1), a.indices(2));
    for_tiles(a.write(4), a.indices(3), p.tiles, 1, cols, |bag, row, out| {
        let token = (tokens[bag] + 1 + row as u32 - offsets[bag]) as usize;
        out[0] = factor * x[token * cols..(token + 1) * cols].iter().copied().sum();
    });
}

fn token_scores_grad<T: Real>(a: &Args<T>) {
    let p: ScoresGradParams = a.params();
    let (cols, factor, keep) = (p.cols as usize, T::from_f32(p.factor), T::new(p.accumulate as f64));
    let (g, offsets, tokens) = (a.read(0), a.indices(1), a.indices(2));
    for_tiles(a.write(4), a.indices(3), p.tiles, cols, cols, |bag, row, out| {
        let (instances, token) = (rows_of(offsets, bag), row - tokens[bag] as usize);
        let value = match token {
            1.. if token <= instances.len() => factor * g[instances.start + token - 1],
            _ => T::ZERO,
        };
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o) + value);
    });
}
