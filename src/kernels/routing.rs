//! Host twins of `shaders/routing.wgsl`.

use super::attention_pool::dot;
use super::cost::At;
pub use super::declared::routing::{ADD, OF_LENGTH, OF_ROW};
use super::declared::routing::{Agree, Rows, RowsGrad};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows};
use super::segment::for_tiles;
use super::{Args, Real, kernels};

kernels! {
    routing {
        /// Squashed rows and their lengths.
        SQUASH = squash, |at @ &At { rows, c, .. }| (rows * (2 * c + 1), rows * (3 * c + 5), at.matrix());
        /// Gradient of both.
        SQUASH_GRAD = squash_grad, |at @ &At { rows, c, .. }| {
            let [of_row, of_length, added] = [0, 1, 2].map(|bit| at.bit(2, bit));
            let values = rows * (c * (2 + of_row + added) + of_length);
            (values, rows * (c * (3 + 4 * of_row + added) + 10), at.matrix())
        };
        /// Inner product of each instance with its bag's row.
        BAG_DOT = bag_dot, |at @ &At { n, b, c, .. }| (n * (c + 1) + b * c, 2 * n * c, at.by_instances());
        /// Its gradient, for the instances.
        BAG_DOT_GRAD = bag_dot_grad,
            |at @ &At { n, b, c, w, .. }| (n * (c * (1 + w[2]) + 1) + b * c, n * c * (1 + w[2]), at.by_instances());
    }
}

fn squash<T: Real>(a: &Args<T>) {
    let p: Rows = a.params();
    let cols = p.cols as usize;
    let (x, lengths) = (a.read(0), Shared::new(a.write(2)));
    for_rows(a.write(1), p.rows as usize, cols, 4 * cols, |r, out| {
        let row = &x[r * cols..(r + 1) * cols];
        let square = dot(row, row);
        let factor = square.sqrt() / (T::ONE + square);
        out.iter_mut().zip(row).for_each(|(o, x)| *o = factor * *x);
        // SAFETY: one length a row.
        let length = unsafe { lengths.part(r..r + 1) };
        length[0] = square / (T::ONE + square);
    });
}

fn squash_grad<T: Real>(a: &Args<T>) {
    let p: RowsGrad = a.params();
    let cols = p.cols as usize;
    let (x, g, length_grad, keep) = (a.read(0), a.read(1), a.read(2), T::new((p.flags & ADD != 0) as u32 as f64));
    let of_row = p.flags & OF_ROW != 0;
    for_rows(a.write(3), p.rows as usize, cols, 6 * cols, |r, out| {
        let row = &x[r * cols..(r + 1) * cols];
        let square = dot(row, row);
        let (length, more) = (square.sqrt(), T::ONE + square);
        let mut along = T::ZERO;
        if of_row && length > T::ZERO {
            along = dot(row, &g[r * cols..(r + 1) * cols]) * (T::ONE - square) / (length * more * more);
        }
        if p.flags & OF_LENGTH != 0 {
            along += T::new(2.0) * length_grad[r] / (more * more);
        }
        for (c, (o, x)) in out.iter_mut().zip(row).enumerate() {
            let through = if of_row { length / more * g[r * cols + c] } else { T::ZERO };
            *o = along * *x + through + keep_or_zero(keep, *o);
        }
    });
}

fn bag_dot<T: Real>(a: &Args<T>) {
    let p: Agree = a.params();
    let cols = p.cols as usize;
    let (x, v, tiles) = (a.read(0), a.read(1), a.indices(2));
    for_tiles(a.write(3), tiles, p.tiles as usize, 1, 64 * cols, |_, bag, first, out| {
        let v = &v[bag * cols..(bag + 1) * cols];
        for (r, o) in (first..).zip(out) {
            *o = dot(&x[r * cols..(r + 1) * cols], v);
        }
    });
}

fn bag_dot_grad<T: Real>(a: &Args<T>) {
    let p: Agree = a.params();
    let cols = p.cols as usize;
    let (g, v, tiles, keep) = (a.read(0), a.read(1), a.indices(2), T::new(p.accumulate as f64));
    for_tiles(a.write(3), tiles, p.tiles as usize, cols, 64 * cols, |_, bag, first, out| {
        let v = &v[bag * cols..(bag + 1) * cols];
        for (r, out) in (first..).zip(out.chunks_exact_mut(cols)) {
            out.iter_mut().zip(v).for_each(|(o, v)| *o = g[r] * *v + keep_or_zero(keep, *o));
        }
    });
}
