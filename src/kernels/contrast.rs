//! Host twins of `shaders/contrast.wgsl`.

use super::attention_pool::dot;
use super::cost::At;
use super::declared::contrast::{Pairs, PairsGrad};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows};
use super::{Args, Real, kernels};

kernels! {
    contrast {
        /// Contrastive loss of each row, and its log-sum-exp.
        PAIRS_LOSS = pairs_loss, |at @ &At { rows, c, .. }| (rows * (c + 2), rows * rows * (2 * c + 5), at.matrix());
        /// Its gradient.
        PAIRS_GRAD = pairs_grad,
            |at @ &At { rows, c, w, .. }| (rows * (c * (2 + w[4]) + 1) + 1, rows * rows * (4 * c + 8), at.matrix());
    }
}

fn pairs_loss<T: Real>(a: &Args<T>) {
    let p: Pairs = a.params();
    let (cols, paired) = (p.cols as usize, p.rows as usize & !1);
    let (x, lse, sharpness) = (a.read(0), Shared::new(a.write(2)), T::from_f32(p.sharpness));
    for_rows(a.write(1), p.rows as usize, 1, 2 * paired * cols, |r, out| {
        // SAFETY: one value a row.
        let lse = unsafe { lse.part(r..r + 1) };
        if r >= paired {
            (out[0], lse[0]) = (T::ZERO, T::ZERO);
            return;
        }
        let row = &x[r * cols..(r + 1) * cols];
        let logit = |b: usize| dot(row, &x[b * cols..(b + 1) * cols]) * sharpness;
        let logits: Vec<T> = (0..paired).filter(|&b| b != r).map(logit).collect();
        let largest = logits.iter().fold(T::LOWEST, |m, v| v.larger(m));
        lse[0] = largest + logits.iter().map(|v| (*v - largest).exp()).sum::<T>().ln();
        out[0] = (lse[0] - logit(r ^ 1)) / T::new(paired as f64);
    });
}

fn pairs_grad<T: Real>(a: &Args<T>) {
    let (p, PairsGrad { scale, accumulate, .. }): (Pairs, _) = (a.params(), a.params());
    let (cols, paired) = (p.cols as usize, p.rows as usize & !1);
    let (x, lse, upstream, keep) = (a.read(0), a.read(1), a.read(2), T::new(accumulate as f64));
    let sharpness = T::from_f32(p.sharpness);
    let factor = upstream[0] * T::from_f32(scale) * sharpness / T::new(paired.max(1) as f64);
    for_rows(a.write(3), p.rows as usize, cols, 3 * paired * cols, |r, out| {
        out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
        if r >= paired {
            return;
        }
        for b in (0..paired).filter(|&b| b != r) {
            let other = &x[b * cols..(b + 1) * cols];
            let logit = dot(&x[r * cols..(r + 1) * cols], other) * sharpness;
            let partner = if b == r ^ 1 { T::new(2.0) } else { T::ZERO };
            let share = ((logit - lse[r]).exp() + (logit - lse[b]).exp() - partner) * factor;
            out.iter_mut().zip(other).for_each(|(o, x)| *o += share * *x);
        }
    });
}
