//! Host twin of `shaders/moments.wgsl`.

use super::cost::At;
use super::declared::moments::Moments;
use super::host::{Shared, parallel, simd};
use super::{Args, Real, kernels};

kernels! {
    moments {
        /// Mean of the sigmoids of the passes so far, and the sum of the squared distances from it.
        MOMENTS = moments, |at @ &At { rows, .. }| (5 * rows, 10 * rows, at.line());
    }
}

fn moments<T: Real>(a: &Args<T>) {
    let p: Moments = a.params();
    let n = p.count as usize;
    let (x, mean, squares) = (a.read(0), a.read(1), a.read(2));
    let (new_mean, new_squares) = (Shared::new(&mut a.write(3)[..n]), Shared::new(&mut a.write(4)[..n]));
    let (share, rest) = (T::new(1.0 / p.pass_number as f64), T::new((p.pass_number - 1) as f64 / p.pass_number as f64));
    let first = p.pass_number == 1;
    parallel(n, 20, |range| {
        // SAFETY: ranges of one `parallel` call are disjoint.
        let (new_mean, new_squares) = unsafe { (new_mean.part(range.clone()), new_squares.part(range.clone())) };
        let before = mean[range.clone()].iter().zip(&squares[range.clone()]);
        let now = new_mean.iter_mut().zip(new_squares);
        simd(
            #[inline(always)]
            || {
                for ((x, (mean, squares)), (new_mean, new_squares)) in x[range].iter().zip(before).zip(now) {
                    let q = x.sigmoid();
                    let away = q - *mean;
                    *new_mean = if first { q } else { *mean + away * share };
                    *new_squares = if first { T::ZERO } else { *squares + away * away * rest };
                }
            },
        );
    });
}
