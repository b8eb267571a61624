//! Rounding to f16 on the host, as `shaders/common/round.wgsl` does it on devices.

use super::Real;
use super::host::{FeatureSlice, for_rows};
use super::matmul::widen;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;

/// Values converted at a time.
const RUN: usize = 256;

/// Rows of a matrix, each value rounded to the nearest that f16 has, dense.
pub(super) fn rows<T: Real>(x: FeatureSlice<T>, lines: Range<usize>, cols: usize, ld: usize, to: &mut [T]) {
    let (first, count) = (lines.start, lines.len());
    if cols == 0 {
        return;
    }
    for_rows(&mut to[..count * cols], count, cols, 2 * cols, |r, out| {
        let at = (first + r) * ld..(first + r) * ld + cols;
        match x {
            FeatureSlice::Half(x) => widen(&x[at], out),
            FeatureSlice::Full(x) => line(&x[at], out),
        }
    });
}

fn line<T: Real>(from: &[T], to: &mut [T]) {
    let mut halves = [f16::ZERO; RUN];
    for (from, to) in from.chunks(RUN).zip(to.chunks_mut(RUN)) {
        let halves = &mut halves[..from.len()];
        match bytemuck::try_cast_slice::<T, f32>(from) {
            Ok(from) if size_of::<T>() == 4 => halves.convert_from_f32_slice(from),
            _ => halves.iter_mut().zip(from).for_each(|(h, v)| *h = f16::from_f64(v.f64())),
        }
        widen(halves, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_ieee_does() {
        // Ties, the largest, what overflows, the smallest normal, subnormals, and half of the smallest.
        let exact =
            [1.0, 1.0 + 1.0 / 2048.0, 65_504.0, 65_519.0, 65_520.0, 6.1035e-5, 3e-6, 2f64.powi(-25), -2.5e-8, 3e-8];
        let wanted = exact.map(|v| f16::from_f64(v).to_f64());
        let (mut short, mut long) = ([0f32; 10], [0f64; 10]);
        rows(FeatureSlice::Full(&exact.map(|v| v as f32)), 0..2, 5, 5, &mut short);
        rows(FeatureSlice::Full(&exact), 0..2, 5, 5, &mut long);
        assert_eq!(long, wanted);
        assert_eq!(short.map(f64::from), wanted);
        assert!(long[4].is_infinite() && long[1] == 1.0);
    }
}
