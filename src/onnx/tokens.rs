//! Tokens of transformers: the bag as a square behind a class token.

use super::graph::{Name, int, ints};
use super::proto::element;
use super::translation::{At, Done};
use crate::ops::depthwise::{GridConv, MergeKernels, SequenceConv, ShiftTokens};
use crate::ops::tokens::{LandmarkMeans, Square, TokenScores};

/// The side of the square, `[]`: the root of the number of instances, rounded up. Roots of f32 would round some down.
fn side(at: &mut At) -> Name {
    at.keep("side", |at| {
        let count = at.instances();
        let count = at.scalar(&count);
        let count = at.cast(&count, element::DOUBLE);
        let root = at.op("Sqrt", &[&count]);
        let root = at.op("Ceil", &[&root]);
        at.cast(&root, element::INT64)
    })
}

/// The number of tokens, `[]`.
fn tokens(at: &mut At) -> Name {
    at.keep("tokens", |at| {
        let side = side(at);
        let square = at.op("Mul", &[&side, &side]);
        let one = at.whole_number(1);
        at.op("Add", &[&square, &one])
    })
}

/// How many rows of zeros make the tokens a multiple of the landmarks, `[1]`.
pub fn missing(at: &mut At, landmarks: u32) -> Name {
    let (tokens, landmarks) = (tokens(at), at.whole_number(i64::from(landmarks)));
    let over = at.op("Neg", &[&tokens]);
    // The remainder has the sign of the divisor.
    let missing = at.op("Mod", &[&over, &landmarks]);
    at.listed(&missing)
}

/// x behind rows of zeros.
pub fn padded(at: &mut At, x: &str, missing: &str, cols: u32) -> Name {
    let zeros = at.zero_rows(missing, cols);
    at.concat(&[&zeros, x], 0)
}

pub fn square(at: &mut At, _: &Square) -> Done {
    let (x, class) = (at.x(0)?, at.x(1)?);
    let side = side(at);
    let all = at.op("Mul", &[&side, &side]);
    let places = at.range(&all);
    let count = at.instances();
    let rows = at.op("Mod", &[&places, &count]);
    let rows = at.gather(&x, &rows, 0);
    let y = at.concat(&[&class, &rows], 0);
    at.give(0, y);
    Ok(())
}

pub fn landmark_means(at: &mut At, of: &LandmarkMeans) -> Done {
    let (x, cols) = (at.x(0)?, at.cols(0));
    let missing = missing(at, of.landmarks);
    let x = padded(at, &x, &missing, cols);
    let runs = at.reshape(&x, &[i64::from(of.landmarks), -1, i64::from(cols)]);
    let means = at.with("ReduceMean", &[&runs], vec![ints("axes", &[1]), int("keepdims", 0)]);
    at.give(0, means);
    Ok(())
}

pub fn token_scores(at: &mut At, _: &TokenScores) -> Done {
    let x = at.x(0)?;
    let count = at.instances();
    let (first, axis) = (at.whole(&[1]), at.whole(&[0]));
    let end = at.op("Add", &[&count, &first]);
    let rows = at.op("Slice", &[&x, &first, &end, &axis]);
    let y = at.reduce("ReduceMean", &rows, 1);
    at.give(0, y);
    Ok(())
}

/// The first of the tokens alone, or as many as there were before rows of zeros came in front.
fn cut(at: &mut At, x: &str, first: bool) -> Name {
    if first {
        return at.slice(x, 0, 0, 1);
    }
    let tokens = tokens(at);
    let (zero, end) = (at.whole(&[0]), at.listed(&tokens));
    at.op("Slice", &[x, &zero, &end, &zero])
}

pub fn shift(at: &mut At, of: &ShiftTokens) -> Done {
    let (x, cols) = (at.x(0)?, at.cols(0));
    let missing = missing(at, of.landmarks);
    let x = padded(at, &x, &missing, cols);
    let y = cut(at, &x, of.first);
    at.give(0, y);
    Ok(())
}

/// One kernel for all columns of a head, along the tokens: a convolution of pictures with a head for each channel.
pub fn sequence_conv(at: &mut At, of: &SequenceConv) -> Done {
    let (mut x, w) = (at.x(0)?, at.x(1)?);
    let (cols, taps, heads) = (at.cols(0), i64::from(at.cols(1)), at.fixed_rows(1)?);
    if of.landmarks > 0 {
        let missing = missing(at, of.landmarks);
        x = padded(at, &x, &missing, cols);
    }
    let (heads, width) = (i64::from(heads), i64::from(cols / heads));
    let split = at.reshape(&x, &[1, -1, heads, width]);
    let picture = at.transpose(&split, &[0, 2, 1, 3]);
    let kernel = at.reshape(&w, &[heads, 1, taps, 1]);
    let settings =
        vec![int("group", heads), ints("kernel_shape", &[taps, 1]), ints("pads", &[taps / 2, 0, taps / 2, 0])];
    let picture = at.with("Conv", &[&picture, &kernel], settings);
    let rows = at.transpose(&picture, &[0, 2, 1, 3]);
    let rows = at.reshape(&rows, &[-1, i64::from(cols)]);
    let y = if of.first || of.landmarks > 0 { cut(at, &rows, of.first) } else { rows };
    at.give(0, y);
    Ok(())
}

/// A kernel for each column over the square; the class token stays.
pub fn grid_conv(at: &mut At, of: &GridConv) -> Done {
    let (x, w, bias) = (at.x(0)?, at.x(1)?, at.x(2)?);
    let (cols, reach) = (i64::from(at.cols(0)), i64::from(of.side));
    let class = at.slice(&x, 0, 0, 1);
    let rest = at.slice(&x, 0, 1, i64::MAX);
    let turned = at.transpose(&rest, &[1, 0]);
    let side = side(at);
    let side = at.listed(&side);
    let channels = at.whole(&[1, cols]);
    let shape = at.concat(&[&channels, &side, &side], 0);
    let picture = at.op("Reshape", &[&turned, &shape]);
    let kernel = at.reshape(&w, &[cols, 1, reach, reach]);
    let bias = at.reshape(&bias, &[cols]);
    let settings = vec![int("group", cols), ints("kernel_shape", &[reach, reach]), ints("pads", &[reach / 2; 4])];
    let picture = at.with("Conv", &[&picture, &kernel, &bias], settings);
    let flat = at.reshape(&picture, &[cols, -1]);
    let rest = at.transpose(&flat, &[1, 0]);
    let y = at.concat(&[&class, &rest], 0);
    at.give(0, y);
    Ok(())
}

/// The sum of three kernels around one centre, and of the identity.
pub fn merge_kernels(at: &mut At, of: &MergeKernels) -> Done {
    let channels = i64::from(at.fixed_rows(0)?);
    let area = i64::from(of.side * of.side);
    let identity: Vec<f32> = (0..area).map(|i| f32::from(i == area / 2)).collect();
    let mut sum = at.numbers(&[1, area], &identity);
    for n in 0..3 {
        let mut kernel = at.x(n)?;
        if n > 0 {
            let (edge, inner) = (n as i64, i64::from(of.side) - 2 * n as i64);
            let square = at.reshape(&kernel, &[channels, inner, inner]);
            let edges = at.whole(&[0, edge, edge, 0, edge, edge]);
            let wide = at.op("Pad", &[&square, &edges]);
            kernel = at.reshape(&wide, &[channels, area]);
        }
        sum = at.op("Add", &[&sum, &kernel]);
    }
    at.give(0, sum);
    Ok(())
}
