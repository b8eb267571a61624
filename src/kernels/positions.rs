//! Host twin of `shaders/positions.wgsl`. Angles are computed in f64 in both precisions.

use super::cost::At;
use super::declared::positions::Params;
use super::tokens::for_tiles;
use super::{Args, Real, kernels};

kernels! {
    positions {
        /// Rows plus what encodes their places in their bags.
        ADD_POSITIONS = add_positions, |at @ &At { n, c, .. }| (2 * n * c, 14 * n * c, at.by_instances());
    }
}

/// The word for the ratio of neighbouring frequencies of `width` columns: 10000^(-2 / width) times 2^32.
pub(crate) fn ratio(width: u32) -> u32 {
    (10_000f64.powf(-2.0 / f64::from(width)) * 4_294_967_296.0) as u32
}

fn add_positions<T: Real>(a: &Args<T>) {
    let p: Params = a.params();
    let cols = p.cols as usize;
    let (x, tiles, offsets) = (a.read(0), a.indices(1), a.indices(2));
    let ratio = f64::from(p.ratio) / 4_294_967_296.0;
    let frequencies: Vec<f64> = (0..p.cols).map(|c| ratio.powi(((p.first + c) / 2) as i32)).collect();
    for_tiles(a.write(3), tiles, p.tiles, cols, 20 * cols, |bag, row, out| {
        let place = (row - offsets[bag] as usize) as f64;
        for (c, (out, x)) in out.iter_mut().zip(&x[row * cols..(row + 1) * cols]).enumerate() {
            let (sine, cosine) = (place * frequencies[c]).sin_cos();
            *out = *x + T::new(if (p.first + c as u32).is_multiple_of(2) { sine } else { cosine });
        }
    });
}
