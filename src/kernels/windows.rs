//! Host twins of `shaders/windows.wgsl`. They are small: a row for each bag of a window.

use super::cost::At;
use super::declared::windows::{Chosen, Copied, Largest, Mean, Soft};
pub use super::declared::windows::{LOG_MEAN_EXP, LOG_SUM_EXP, MEAN, SUM};
use super::{Args, Real, kernels};
use std::ops::Range;

kernels! {
    windows {
        /// Attention-pooled rows of windows, merged.
        // Rows of the bags of a window; c is the width of a head where there are heads, the next word.
        WINDOW_SOFTMAX = window_softmax,
            |at @ &At { rows, c, w, .. }| (2 * rows * w[2] * (c + 1), rows * w[2] * (c + 4), at.matrix());
        /// A window's share of the gradient of attention pooling.
        WINDOW_SOFTMAX_SHARE = window_softmax_share,
            |at @ &At { rows, c, w, .. }| (rows * w[2] * (4 * c + 2), rows * w[2] * (c + 2), at.matrix());
        /// Largest values of windows, merged.
        WINDOW_MAX = window_max, |at @ &At { rows, c, .. }| (4 * rows * c, rows * c, at.matrix());
        /// A window's share of the gradient of the maximum, and of the rows where it is.
        WINDOW_MAX_SHARE = window_max_share, chosen_cost;
        /// Rows where the maximum is, of those windows that have it.
        WINDOW_PICK = window_pick, chosen_cost;
        /// What the bags of a window have in all.
        WINDOW_TAKE = window_take, |at @ &At { rows, c, .. }| (2 * rows * c, 0, at.matrix());
        /// The gradient that comes of it in a window, added to that of the bags.
        WINDOW_ADD = window_add, |at @ &At { rows, c, .. }| (3 * rows * c, rows * c, at.matrix());
        /// Sums, means, log-mean-exps or log-sum-exps of windows, merged.
        WINDOW_MEAN = window_mean,
            |at @ &At { rows, c, w, .. }| (2 * rows * (c + 1), rows * c * if w[4] >= LOG_MEAN_EXP as u64 { 7 } else { 3 }, at.matrix());
        /// A window's share of their gradient.
        WINDOW_MEAN_SHARE = window_mean_share,
            |at @ &At { rows, c, w, .. }| (rows * (2 * c * (1 + (w[4] >= LOG_MEAN_EXP as u64) as u64) + 2), 3 * rows * c, at.matrix());
    }
}

/// Rows by where their maxima are: a place here and of the bag for each run of columns.
fn chosen_cost(at: &At) -> (u64, u64, String) {
    let values = at.rows * at.c;
    (2 * values + 2 * values / at.w[4].max(1), values, at.matrix())
}

fn window_softmax<T: Real>(a: &Args<T>) {
    let p: Soft = a.params();
    let (hidden, heads) = (p.hidden as usize, p.heads as usize);
    let (z, lse, z_all, lse_all) = (a.read(0), a.read(1), a.write(2), a.write(3));
    for (number, &here) in lse[..p.bags as usize * heads].iter().enumerate() {
        let to = p.first_bag as usize * heads + number;
        let z = &z[number * hidden..(number + 1) * hidden];
        let z_all = &mut z_all[to * hidden..(to + 1) * hidden];
        if p.continued == 0 || number >= heads {
            z_all.copy_from_slice(z);
            lse_all[to] = here;
            continue;
        }
        let before = lse_all[to];
        let largest = here.larger(before);
        let joined = largest + ((here - largest).exp() + (before - largest).exp()).ln();
        let (new, old) = ((here - joined).exp(), (before - joined).exp());
        z_all.iter_mut().zip(z).for_each(|(o, z)| *o = *z * new + *o * old);
        lse_all[to] = joined;
    }
}

fn window_softmax_share<T: Real>(a: &Args<T>) {
    let p: Soft = a.params();
    let (hidden, heads) = (p.hidden as usize, p.heads as usize);
    let (lse, z_all, lse_all, dz_all) = (a.read(0), a.read(1), a.read(2), a.read(3));
    let (z, dz) = (a.write(4), a.write(5));
    for (number, &here) in lse[..p.bags as usize * heads].iter().enumerate() {
        let bag = p.first_bag as usize * heads + number;
        let weight = (here - lse_all[bag]).exp();
        let (to, from) = (number * hidden..(number + 1) * hidden, bag * hidden..(bag + 1) * hidden);
        z[to.clone()].copy_from_slice(&z_all[from.clone()]);
        dz[to].iter_mut().zip(&dz_all[from]).for_each(|(o, d)| *o = weight * *d);
    }
}

fn window_max<T: Real>(a: &Args<T>) {
    let p: Largest = a.params();
    let cols = p.cols as usize;
    let (x, row, x_all, row_all) = (a.read(0), a.indices(1), a.write(2), a.write_indices(3));
    for from in 0..p.bags as usize * cols {
        let to = p.first_bag as usize * cols + from;
        let joins = p.continued != 0 && from < cols;
        if !joins || x[from] > x_all[to] {
            x_all[to] = x[from];
            row_all[to] = row[from] + p.first_row;
        }
    }
}

fn window_max_share<T: Real>(a: &Args<T>) {
    let p: Chosen = a.params();
    let (d_all, d) = (a.read(2), a.write(3));
    d[..(p.bags * p.cols) as usize].fill(T::ZERO);
    chosen(a, |here, all| d[here].copy_from_slice(&d_all[all]));
}

fn window_pick<T: Real>(a: &Args<T>) {
    let (x, x_all) = (a.read(2), a.write(3));
    chosen(a, |here, all| x_all[all].copy_from_slice(&x[here]));
}

/// Hands out the places, in the window and in the batch, of what belongs to maxima that the window has.
fn chosen<T: Real>(a: &Args<T>, mut each: impl FnMut(Range<usize>, Range<usize>)) {
    let p: Chosen = a.params();
    let (row, row_all) = (a.indices(0), a.indices(1));
    let (inner, maxima) = (p.inner as usize, p.cols / p.inner);
    for (here, row) in row[..(p.bags * maxima) as usize].iter().enumerate() {
        let all = (p.first_bag * maxima) as usize + here;
        if row + p.first_row == row_all[all] {
            each(here * inner..(here + 1) * inner, all * inner..(all + 1) * inner);
        }
    }
}

fn window_take<T: Real>(a: &Args<T>) {
    let p: Copied = a.params();
    let (first, count) = ((p.first_bag * p.cols) as usize, (p.bags * p.cols) as usize);
    a.write(1)[..count].copy_from_slice(&a.read(0)[first..first + count]);
}

fn window_add<T: Real>(a: &Args<T>) {
    let p: Copied = a.params();
    let (first, count) = ((p.first_bag * p.cols) as usize, (p.bags * p.cols) as usize);
    a.write(1)[first..first + count].iter_mut().zip(&a.read(0)[..count]).for_each(|(all, here)| *all += *here);
}

fn window_mean<T: Real>(a: &Args<T>) {
    let p: Mean = a.params();
    let cols = p.cols as usize;
    let (x, offsets, x_all, count_all) = (a.read(0), a.indices(1), a.write(2), a.write_indices(3));
    for bag in 0..p.bags as usize {
        let to = p.first_bag as usize + bag;
        let joins = p.continued != 0 && bag == 0;
        let here = offsets[bag + 1] - offsets[bag];
        let count = here + if joins { count_all[to] } else { 0 };
        let part = T::new(here as f64 / count as f64);
        let x = &x[bag * cols..(bag + 1) * cols];
        for (all, &value) in x_all[to * cols..(to + 1) * cols].iter_mut().zip(x) {
            let old = *all;
            *all = match (joins, p.kind) {
                (false, _) => value,
                (true, SUM) => old + value,
                (true, MEAN) => old + part * (value - old),
                (true, kind) => {
                    let largest = old.larger(value);
                    let [before, now] = if kind == LOG_SUM_EXP { [T::ONE; 2] } else { [T::ONE - part, part] };
                    largest + (before * (old - largest).exp() + now * (value - largest).exp()).ln()
                }
            };
        }
        count_all[to] = count;
    }
}

fn window_mean_share<T: Real>(a: &Args<T>) {
    let p: Mean = a.params();
    let cols = p.cols as usize;
    let (x, offsets, x_all, count_all, d_all) = (a.read(0), a.indices(1), a.read(2), a.indices(3), a.read(4));
    let d = a.write(5);
    for bag in 0..p.bags as usize {
        let from = p.first_bag as usize + bag;
        let here = (offsets[bag + 1] - offsets[bag]) as f64;
        let whole = [SUM, LOG_SUM_EXP].contains(&p.kind);
        let part = if whole { T::ONE } else { T::new(here / count_all[from] as f64) };
        for c in 0..cols {
            let (to, at) = (bag * cols + c, from * cols + c);
            let weight = if p.kind >= LOG_MEAN_EXP { part * (x[to] - x_all[at]).exp() } else { part };
            d[to] = weight * d_all[at];
        }
    }
}
