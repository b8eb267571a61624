//! Host twins of `shaders/pseudo_label.wgsl`.

use super::cost::At;
use super::declared::pseudo_label::{Bags, Ends, Instances};
use super::elementwise::{each, keep_or_zero};
use super::host::for_rows;
use super::{Args, Real, kernels};

kernels! {
    pseudo_label {
        /// Loss of instances taken for what they look like.
        INSTANCE_PSEUDO = instance_pseudo, |at @ &At { rows, .. }| (2 * rows, 3 * rows, at.line());
        /// Its gradient.
        INSTANCE_PSEUDO_GRAD = instance_pseudo_grad,
            |at @ &At { rows, w, .. }| ((3 + w[1]) * rows, (6 + w[1]) * rows, at.line());
        /// Loss of bags with such instances.
        BAG_PSEUDO = bag_pseudo,
            |at @ &At { rows, c, w, .. }| (rows * (4 * c + 1) + weights(w), rows * (10 * c + 1), at.matrix());
        /// Its gradient.
        BAG_PSEUDO_GRAD = bag_pseudo_grad,
            |at @ &At { rows, c, w, .. }| (rows * c * (4 + w[4]) + weights(w) + 1, rows * c * (8 + w[4]), at.matrix());
        /// Labels and weights of the rows at the ends of bags.
        END_LABELS = end_labels, |at @ &At { b, c, .. }| (4 * b * c + 3 * b, b * c, at.matrix());
    }
}

/// Weights of a launch with these words: of bags, or of each of their columns.
fn weights(w: [u64; 16]) -> u64 {
    w[0] * if w[6] == 0 { 1 } else { w[1] }
}

/// The weight of value i.
fn weight_of<T: Real>(p: &Bags, weights: &[T], i: usize) -> T {
    weights[if p.each == 0 { i / p.cols as usize } else { i }]
}

fn instance_pseudo<T: Real>(a: &Args<T>) {
    let p: Instances = a.params();
    let (n, x) = (p.count as usize, a.read(0));
    each(&mut a.write(1)[..n], 8, |out, at| {
        out.iter_mut().zip(&x[at]).for_each(|(o, x)| *o = (-x.abs()).exp().ln_1p());
    });
}

fn instance_pseudo_grad<T: Real>(a: &Args<T>) {
    let p: Instances = a.params();
    let (n, x, g) = (p.count as usize, a.read(0), a.read(1));
    let keep = T::new(p.accumulate as f64);
    each(&mut a.write(2)[..n], 8, |out, at| {
        for ((o, x), g) in out.iter_mut().zip(&x[at.clone()]).zip(&g[at]) {
            let small = (-x.abs()).exp();
            let away = *g * small / (T::ONE + small);
            *o = keep_or_zero(keep, *o) + if *x >= T::ZERO { -away } else { away };
        }
    });
}

fn bag_pseudo<T: Real>(a: &Args<T>) {
    let p: Bags = a.params();
    let cols = p.cols as usize;
    let (x, instances, negative, targets, weights) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4));
    let strength = T::from_f32(p.strength);
    for_rows(a.write(5), p.rows as usize, 1, 10 * cols, |r, out| {
        let term = |i: usize| {
            let gap = -x[i] - instances[i];
            let term = targets[i] * (strength * gap * gap - x[i]) + (T::ONE - targets[i]) * negative[i];
            term * weight_of(&p, weights, i)
        };
        out[0] = (r * cols..(r + 1) * cols).map(term).sum::<T>() / T::new(cols as f64);
    });
}

fn bag_pseudo_grad<T: Real>(a: &Args<T>) {
    let p: Bags = a.params();
    let cols = p.cols as usize;
    let (x, instances, targets, weights, upstream) = (a.read(0), a.read(1), a.read(3), a.read(4), a.read(5));
    let (strength, keep) = (T::new(2.0) * T::from_f32(p.strength), T::new(p.accumulate as f64));
    let scale = upstream[0] * T::from_f32(p.scale) / T::new(cols as f64);
    for_rows(a.write(6), p.rows as usize * cols, 1, 10, |i, out| {
        let pull = strength * (-x[i] - instances[i]);
        let slope = match p.which {
            0 => -(T::ONE + pull) * targets[i],
            1 => -pull * targets[i],
            _ => T::ONE - targets[i],
        };
        out[0] = keep_or_zero(keep, out[0]) + slope * weight_of(&p, weights, i) * scale;
    });
}

fn end_labels<T: Real>(a: &Args<T>) {
    let p: Ends = a.params();
    let (labels, bags, offsets, targets, weights) =
        (a.indices(0), a.read(1), a.indices(2), a.write_indices(3), a.write(4));
    let k = p.k as usize;
    for bag in 0..p.bags as usize {
        let size = (offsets[bag + 1] - offsets[bag]) as usize;
        let rows = k.min(if p.apart != 0 { size / 2 } else { size });
        let own = labels[bag] == p.label;
        let of_row = |share: f32, rows: usize| match rows {
            0 => T::ZERO,
            _ => bags[bag] * T::from_f32(share) / T::new(rows as f64),
        };
        let (both, upper) = (of_row(p.own, 2 * rows), of_row(p.others, rows));
        for place in 0..2 * k {
            let at = 2 * k * bag + place;
            targets[at] = (own && place < k) as u32;
            weights[at] = match own {
                _ if place % k >= rows => T::ZERO,
                true => both,
                false if place < k => upper,
                false => T::ZERO,
            };
        }
    }
}
