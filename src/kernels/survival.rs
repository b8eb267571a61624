//! Host twins of `shaders/survival.wgsl`.

use super::cost::At;
use super::declared::survival::{Cox, CoxGrad, Hazard, HazardGrad};
use super::elementwise::keep_or_zero;
use super::host::for_rows;
use super::{Args, Real, kernels};

kernels! {
    survival {
        /// Negative log-likelihood of discrete-time survival.
        HAZARD_LOSS = hazard_loss, |at @ &At { rows, c, .. }| (rows * (c + 3) + 1, 5 * rows * c, at.matrix());
        /// Its gradient.
        HAZARD_GRAD = hazard_grad,
            |at @ &At { rows, c, w, .. }| (rows * (c * (2 + w[4]) + 3) + 1, 7 * rows * c, at.matrix());
        /// What each event contributes to the Cox partial likelihood.
        // Each event against all bags; how many events there are is not known here, at most all.
        COX_TERMS = cox_terms, |at @ &At { rows, .. }| (7 * rows, 4 * rows * rows, at.line());
        /// The Cox partial likelihood.
        COX_LOSS = cox_loss, |at @ &At { rows, .. }| (3 * rows + 1, 2 * rows, at.line());
        /// Its gradient.
        COX_GRAD = cox_grad, |at @ &At { rows, w, .. }| ((6 + w[2]) * rows + 1, 4 * rows * rows, at.line());
    }
}

/// See the shader.
const FLOOR: f32 = -16.118_096;

fn ln_survival<T: Real>(x: &[T]) -> T {
    -x.iter().map(|v| v.softplus()).sum::<T>()
}

fn hazard_loss<T: Real>(a: &Args<T>) {
    let p: Hazard = a.params();
    let (x, bins, events, weights) = (a.read(0), a.indices(1), a.read(2), a.read(3));
    let (cols, floor, alpha) = (p.cols as usize, T::from_f32(FLOOR), T::from_f32(p.alpha));
    let mut sum = T::ZERO;
    for (b, row) in x.chunks_exact(cols).take(p.bags as usize).enumerate() {
        let y = bins[b] as usize;
        let before = ln_survival(&row[..y]);
        let seen = before.larger(floor) + (-(-row[y]).softplus()).larger(floor);
        let censored = (before - row[y].softplus()).larger(floor) * (T::ONE - alpha);
        sum -= weights[b] * (events[b] * seen + (T::ONE - events[b]) * censored);
    }
    a.write(4)[0] = sum * T::from_f32(p.scale);
}

fn hazard_grad<T: Real>(a: &Args<T>) {
    let (p, HazardGrad { accumulate, .. }): (Hazard, _) = (a.params(), a.params());
    let (x, bins, events, weights, upstream) = (a.read(0), a.indices(1), a.read(2), a.read(3), a.read(4));
    let (cols, floor, alpha) = (p.cols as usize, T::from_f32(FLOOR), T::from_f32(p.alpha));
    let (keep, scale) = (T::new(accumulate as f64), upstream[0] * T::from_f32(p.scale));
    let above = |ln: T, value: T| if ln > floor { value } else { T::ZERO };
    for_rows(a.write(5), p.bags as usize, cols, 60 * cols, |b, out| {
        let row = &x[b * cols..(b + 1) * cols];
        let y = bins[b] as usize;
        let before = ln_survival(&row[..y]);
        let seen = scale * weights[b] * events[b];
        let censored = scale * weights[b] * (T::ONE - events[b]) * (T::ONE - alpha);
        let (seen_before, seen_at) = (above(before, seen), above(-(-row[y]).softplus(), seen));
        let survived = above(before - row[y].softplus(), censored);
        for (j, (o, v)) in out.iter_mut().zip(row).enumerate() {
            let value = match j.cmp(&y) {
                std::cmp::Ordering::Less => (seen_before + survived) * v.sigmoid(),
                std::cmp::Ordering::Equal => survived * v.sigmoid() - seen_at * (-*v).sigmoid(),
                std::cmp::Ordering::Greater => T::ZERO,
            };
            *o = keep_or_zero(keep, *o) + value;
        }
    });
}

fn cox_terms<T: Real>(a: &Args<T>) {
    let p: Cox = a.params();
    let bags = p.bags as usize;
    let (x, times, events) = (&a.read(0)[..bags], a.read(1), a.read(2));
    for_rows(a.write(3), bags, 4, 20 * bags, |b, out| {
        out.fill(T::ZERO);
        if events[b] <= T::ZERO {
            return;
        }
        let at_risk = |i: &usize| times[*i] >= times[b];
        let tied = |i: usize| times[i] == times[b] && events[i] > T::ZERO;
        let largest = (0..bags).filter(at_risk).fold(x[b], |m, i| x[i].larger(m));
        let ties = T::new((0..bags).filter(|&i| tied(i)).count() as f64);
        let place = T::new((0..b).filter(|&i| tied(i)).count() as f64);
        let share = if p.efron != 0 { place / ties } else { T::ZERO };
        let part = |i: usize| (x[i] - largest).exp() * if tied(i) { T::ONE - share } else { T::ONE };
        let sum: T = (0..bags).filter(at_risk).map(part).sum();
        out.copy_from_slice(&[largest + sum.ln(), share, ties, place]);
    });
}

fn cox_loss<T: Real>(a: &Args<T>) {
    let p: CoxGrad = a.params();
    let (x, terms, events) = (a.read(0), a.read(1), a.read(2));
    let (mut sum, mut count) = (T::ZERO, 0u32);
    for b in (0..p.bags as usize).filter(|&b| events[b] > T::ZERO) {
        sum += terms[4 * b] - x[b];
        count += 1;
    }
    a.write(3)[0] = sum * T::from_f32(p.scale) / T::new(count.max(1) as f64);
}

fn cox_grad<T: Real>(a: &Args<T>) {
    let p: CoxGrad = a.params();
    let bags = p.bags as usize;
    let (x, times, events, terms, upstream) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4));
    let keep = T::new(p.accumulate as f64);
    let count = events[..bags].iter().filter(|e| **e > T::ZERO).count().max(1);
    let factor = upstream[0] * T::from_f32(p.scale) / T::new(count as f64);
    for_rows(a.write(5), bags, 1, 20 * bags, |b, out| {
        let mut sum = T::ZERO;
        for i in (0..bags).filter(|&i| events[i] > T::ZERO && times[i] <= times[b]) {
            let tied = times[i] == times[b] && events[b] > T::ZERO;
            sum += (x[b] - terms[4 * i]).exp() * if tied { T::ONE - terms[4 * i + 1] } else { T::ONE };
        }
        if events[b] > T::ZERO {
            sum -= T::ONE;
        }
        out[0] = keep_or_zero(keep, out[0]) + sum * factor;
    });
}
