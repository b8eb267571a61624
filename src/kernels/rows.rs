//! Host twins of `shaders/rows.wgsl`.

use super::cost::At;
use super::declared::rows::{CopyParams, GatherParams, ScatterParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel};
use super::{Args, Real, kernels};

kernels! {
    rows {
        /// Rows picked by an index.
        GATHER_ROWS = gather_rows, |&At { rows, w, .. }| (rows * (2 * w[2] + 1), 0, format!("{rows}x{}", w[2]));
        /// Rows added up where an index says.
        SCATTER_ROWS = scatter_rows, |&At { rows, w, .. }| {
            let (picked, cols) = (rows, w[2]);
            (picked * (cols + 1) + w[1] * cols * (1 + w[3]), picked * cols, format!("{picked}x{cols}"))
        };
        /// Columns of one matrix copied to columns of another.
        COPY_COLUMNS = copy_columns,
            |at @ &At { rows, c, w, .. }| (rows * c * (2 + w[6]), rows * c * w[6], at.matrix());
    }
}

/// Destination rows that a workgroup of the scatter owns.
pub const SCATTER_TILE: u32 = 64;

fn gather_rows<T: Real>(a: &Args<T>) {
    let p: GatherParams = a.params();
    let (rows, cols) = (p.rows as usize, p.cols as usize);
    let (x, index) = (a.read(0), a.indices(1));
    for_rows(a.write(2), p.count as usize, cols, cols, |i, out| {
        let row = index[i] as usize;
        match row < rows {
            true => out.copy_from_slice(&x[row * cols..(row + 1) * cols]),
            false => out.fill(T::ZERO),
        }
    });
}

fn scatter_rows<T: Real>(a: &Args<T>) {
    let p: ScatterParams = a.params();
    let (count, rows, cols) = (p.count as usize, p.rows as usize, p.cols as usize);
    let (x, index) = (a.read(0), &a.indices(1)[..count]);
    let out = Shared::new(a.write(2));
    // Each piece owns some rows and walks the whole index, as on the device.
    parallel(rows, cols + count.div_ceil(rows.max(1)) * cols, |owned| {
        // SAFETY: pieces do not overlap.
        let out = unsafe { out.part(owned.start * cols..owned.end * cols) };
        if p.accumulate == 0 {
            out.fill(T::ZERO);
        }
        for (i, &d) in index.iter().enumerate() {
            let d = d as usize;
            if owned.contains(&d) {
                let to = &mut out[(d - owned.start) * cols..(d - owned.start + 1) * cols];
                to.iter_mut().zip(&x[i * cols..]).for_each(|(o, v)| *o += *v);
            }
        }
    });
}

fn copy_columns<T: Real>(a: &Args<T>) {
    let p: CopyParams = a.params();
    let (cols, from_cols) = (p.cols as usize, p.from_cols as usize);
    let (to_cols, to_first) = (p.to_cols as usize, p.to_first as usize);
    let (x, keep) = (a.read(0), T::new(p.accumulate as f64));
    for_rows(a.write(1), p.rows as usize, to_cols, cols, |r, out| {
        let x = &x[r * from_cols..(r + 1) * from_cols];
        for (c, o) in out[to_first..to_first + cols].iter_mut().enumerate() {
            let from = p.from_first.wrapping_add(c as u32) as usize;
            *o = keep_or_zero(keep, *o) + x.get(from).copied().unwrap_or(T::ZERO);
        }
    });
}
