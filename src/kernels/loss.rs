//! Host twins of `shaders/loss.wgsl`.

use super::cost::At;
use super::declared::loss::{Sigmoid, SigmoidGrad, Softmax, SoftmaxGrad, Svm, SvmGrad};
use super::elementwise::keep_or_zero;
use super::reduce::softmax_of;
use super::{Args, Real, kernels};

/// Invocations in a workgroup.
pub const LANES: u32 = 64;

/// Weights that are read: one for each bag, or one for each of its outputs.
fn weights(rows: u64, cols: u64, each: u64) -> u64 {
    if each != 0 { rows * cols } else { rows }
}

impl Sigmoid {
    /// Place of the weight of output `i` of the batch.
    fn weight(&self, i: usize) -> usize {
        if self.each != 0 { i } else { i / self.cols as usize }
    }
}

kernels! {
    loss {
        /// Weighted binary cross-entropy of a batch.
        SIGMOID_LOSS = sigmoid_loss,
            |at @ &At { rows, c, w, .. }| (2 * rows * c + weights(rows, c, w[4]) + 1, 6 * rows * c, at.matrix());
        /// Its gradient.
        SIGMOID_LOSS_GRAD = sigmoid_loss_grad,
            |at @ &At { rows, c, w, .. }| {
                ((3 + w[7]) * rows * c + weights(rows, c, w[4]) + 1, (4 + w[7]) * rows * c, at.matrix())
            };
        /// Weighted cross-entropy over classes of a batch.
        SOFTMAX_LOSS = softmax_loss,
            |at @ &At { rows, c, .. }| (rows * c + 2 * rows + 1, rows * (4 * c + 4), at.matrix());
        /// Its gradient.
        SOFTMAX_LOSS_GRAD = softmax_loss_grad,
            |at @ &At { rows, c, w, .. }| ((2 + w[5]) * rows * c + 2 * rows + 1, (6 + w[5]) * rows * c, at.matrix());
        /// Weighted smooth hinge loss over classes.
        SVM_LOSS = svm_loss, |at @ &At { rows, c, .. }| (rows * c + 2 * rows + 1, rows * (8 * c + 4), at.matrix());
        /// Its gradient.
        SVM_LOSS_GRAD = svm_loss_grad,
            |at @ &At { rows, c, w, .. }| ((2 + w[6]) * rows * c + 2 * rows + 1, (12 + w[6]) * rows * c, at.matrix());
    }
}

/// A target with a share of both.
fn smoothed<T: Real>(y: T, smoothing: f32) -> T {
    y * T::from_f32(1.0 - smoothing) + T::from_f32(0.5 * smoothing)
}

fn entropy<T: Real>(logit: T, y: T, clamp: T, focusing: T) -> T {
    let (ln_p, ln_q) = if clamp > T::ZERO {
        // Comparisons that a NaN fails: a model that diverged must not look as if it had a loss.
        let p = logit.sigmoid();
        let p = if p < clamp { clamp } else { p };
        let p = if p > T::ONE - clamp { T::ONE - clamp } else { p };
        (p.ln(), (T::ONE - p).ln())
    } else if focusing == T::ZERO {
        return logit.softplus() - logit * y;
    } else {
        (-(-logit).softplus(), -logit.softplus())
    };
    if focusing == T::ZERO {
        return -(y * ln_p + (T::ONE - y) * ln_q);
    }
    -(y * (focusing * ln_q).exp() * ln_p + (T::ONE - y) * (focusing * ln_p).exp() * ln_q)
}

/// The slope of [`entropy`] where nothing is clamped.
fn entropy_slope<T: Real>(logit: T, y: T, focusing: T) -> T {
    let p = logit.sigmoid();
    if focusing == T::ZERO {
        return p - y;
    }
    let (q, of_miss, of_hit) = ((-logit).sigmoid(), logit.softplus(), (-logit).softplus());
    let hit = (-focusing * of_miss).exp() * (focusing * p * of_hit + q);
    let miss = (-focusing * of_hit).exp() * (focusing * q * of_miss + p);
    (T::ONE - y) * miss - y * hit
}

fn sigmoid_loss<T: Real>(a: &Args<T>) {
    let p: Sigmoid = a.params();
    let (x, targets, weights) = (a.read(0), a.read(1), a.read(2));
    let cols = p.cols as usize;
    let (clamp, focusing) = (T::from_f32(p.clamp), T::from_f32(p.focusing));
    let of = |i: usize| weights[p.weight(i)] * entropy(x[i], smoothed(targets[i], p.smoothing), clamp, focusing);
    let sum: T = (0..p.bags as usize * cols).map(of).sum();
    a.write(3)[0] = sum * T::from_f32(p.scale) / T::new(cols as f64);
}

fn sigmoid_loss_grad<T: Real>(a: &Args<T>) {
    let (p, SigmoidGrad { accumulate, .. }): (Sigmoid, _) = (a.params(), a.params());
    let (x, targets, weights, upstream, out) = (a.read(0), a.read(1), a.read(2), a.read(3), a.write(4));
    let cols = p.cols as usize;
    let (clamp, focusing, keep) = (T::from_f32(p.clamp), T::from_f32(p.focusing), T::new(accumulate as f64));
    let factor = upstream[0] * T::from_f32(p.scale) / T::new(cols as f64);
    for i in 0..p.bags as usize * cols {
        let q = x[i].sigmoid();
        let clamped = clamp > T::ZERO && (q < clamp || q > T::ONE - clamp);
        let slope = entropy_slope(x[i], smoothed(targets[i], p.smoothing), focusing);
        let value = if clamped { T::ZERO } else { factor * weights[p.weight(i)] * slope };
        out[i] = keep_or_zero(keep, out[i]) + value;
    }
}

/// The target of a class among so many.
fn share<T: Real>(hit: bool, cols: usize, smoothing: f32) -> T {
    let common = T::from_f32(smoothing) / T::new(cols as f64);
    if hit { common + T::from_f32(1.0 - smoothing) } else { common }
}

/// 1 - p to the power of the focusing, and the slope of that times -ln p along ln p.
fn focus<T: Real>(ln_p: T, focusing: T) -> (T, T) {
    if focusing == T::ZERO {
        return (T::ONE, -T::ONE);
    }
    let p = ln_p.exp();
    let rest = T::ONE - p;
    // A comparison that a NaN fails.
    if rest <= T::ZERO {
        return (T::ZERO, T::ZERO);
    }
    let power = (focusing * rest.ln()).exp();
    (power, power * (focusing * p * ln_p / rest - T::ONE))
}

/// ln of the sum of the exponentials of a row.
pub(super) fn log_sum_exp<T: Real>(row: &[T]) -> T {
    let largest = row.iter().fold(T::LOWEST, |m, v| v.larger(m));
    largest + row.iter().map(|v| (*v - largest).exp()).sum::<T>().ln()
}

fn softmax_loss<T: Real>(a: &Args<T>) {
    let p: Softmax = a.params();
    let (x, labels, weights) = (a.read(0), a.indices(1), a.read(2));
    let cols = p.cols as usize;
    let focusing = T::from_f32(p.focusing);
    let mut sum = T::ZERO;
    for (bag, row) in x.chunks_exact(cols).take(p.bags as usize).enumerate() {
        let (lse, label) = (log_sum_exp(row), labels[bag] as usize);
        let of = |c: usize| {
            let ln_p = row[c] - lse;
            share::<T>(c == label, cols, p.smoothing) * focus(ln_p, focusing).0 * -ln_p
        };
        let others = if p.smoothing > 0.0 { 0..cols } else { 0..0 };
        let value = others.filter(|c| *c != label).fold(of(label), |value, c| value + of(c));
        sum += weights[bag] * value;
    }
    a.write(3)[0] = sum * T::from_f32(p.scale);
}

fn softmax_loss_grad<T: Real>(a: &Args<T>) {
    let (p, SoftmaxGrad { accumulate, .. }): (Softmax, _) = (a.params(), a.params());
    let (x, labels, weights, upstream, out) = (a.read(0), a.indices(1), a.read(2), a.read(3), a.write(4));
    let cols = p.cols as usize;
    let (focusing, keep) = (T::from_f32(p.focusing), T::new(accumulate as f64));
    let (mut soft, mut own) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
    for bag in 0..p.bags as usize {
        let row = &x[bag * cols..(bag + 1) * cols];
        softmax_of(row, &mut soft);
        let (lse, label) = (log_sum_exp(row), labels[bag] as usize);
        for (c, own) in own.iter_mut().enumerate() {
            *own = share::<T>(c == label, cols, p.smoothing) * focus(row[c] - lse, focusing).1;
        }
        // All shares are 1 together, so without focusing this is -1.
        let total = if focusing == T::ZERO { -T::ONE } else { own.iter().copied().sum() };
        let factor = upstream[0] * T::from_f32(p.scale) * weights[bag];
        for ((o, s), own) in out[bag * cols..(bag + 1) * cols].iter_mut().zip(&soft).zip(&own) {
            *o = keep_or_zero(keep, *o) + factor * (*own - *s * total);
        }
    }
}

/// The margins of a row: scores less that of the label, plus the margin where they are of another class.
fn margins<T: Real>(row: &[T], label: usize, margin: f32, out: &mut [T]) {
    for (c, (o, x)) in out.iter_mut().zip(row).enumerate() {
        *o = if c == label { T::ZERO } else { *x - row[label] + T::from_f32(margin) };
    }
}

/// True where the largest score is so far above the second that the maximum of the margins is the plain one. Scores that
/// are not finite go the other way, where they show.
fn is_hard<T: Real>(row: &[T], gap: f32) -> bool {
    let (mut largest, mut second) = (T::LOWEST, T::LOWEST);
    for &x in row {
        second = second.larger(x.smaller(largest));
        largest = largest.larger(x);
    }
    row.iter().all(|x| x.f64().is_finite()) && largest - second >= T::from_f32(gap)
}

fn svm_loss<T: Real>(a: &Args<T>) {
    let p: Svm = a.params();
    let (x, labels, weights) = (a.read(0), a.indices(1), a.read(2));
    let cols = p.cols as usize;
    let (temperature, mut m, mut sum) = (T::from_f32(p.temperature), vec![T::ZERO; cols], T::ZERO);
    for (i, row) in x.chunks_exact(cols).take(p.rows as usize).enumerate() {
        margins(row, labels[i] as usize, p.margin, &mut m);
        let largest = m.iter().fold(T::LOWEST, |largest, v| v.larger(largest));
        let mut value = largest;
        if !is_hard(row, p.gap) {
            value += temperature * m.iter().map(|v| ((*v - largest) / temperature).exp()).sum::<T>().ln();
        }
        sum += weights[i] * value;
    }
    a.write(3)[0] = sum * T::from_f32(p.scale);
}

fn svm_loss_grad<T: Real>(a: &Args<T>) {
    let p: SvmGrad = a.params();
    let (x, labels, weights, upstream, out) = (a.read(0), a.indices(1), a.read(2), a.read(3), a.write(4));
    let cols = p.cols as usize;
    let (temperature, keep) = (T::from_f32(p.temperature), T::new(p.accumulate as f64));
    let (mut m, mut shares) = (vec![T::ZERO; cols], vec![T::ZERO; cols]);
    for (i, row) in x.chunks_exact(cols).take(p.rows as usize).enumerate() {
        margins(row, labels[i] as usize, p.margin, &mut m);
        if is_hard(row, p.gap) {
            let first = (1..cols).fold(0, |best, c| if m[c] > m[best] { c } else { best });
            shares.iter_mut().enumerate().for_each(|(c, s)| *s = if c == first { T::ONE } else { T::ZERO });
        } else {
            m.iter_mut().for_each(|v| *v = *v / temperature);
            softmax_of(&m, &mut shares);
        }
        shares[labels[i] as usize] -= T::ONE;
        let factor = upstream[0] * T::from_f32(p.scale) * weights[i];
        for (o, s) in out[i * cols..(i + 1) * cols].iter_mut().zip(&shares) {
            *o = keep_or_zero(keep, *o) + factor * *s;
        }
    }
}
