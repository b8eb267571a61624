//! Host twins of `shaders/cluster.wgsl`.

use super::cost::At;
use super::declared::cluster::{Assign, Count, Sum};
use super::host::{Shared, for_rows, parallel};
use super::{Args, Real, kernels};

kernels! {
    cluster {
        /// The nearest centroid of each row and its squared distance.
        CLUSTER_ASSIGN = cluster_assign,
            |at @ &At { rows, c, w, .. }| {
                (rows * (c + 2) + w[2] * c, 3 * rows * c * w[2], format!("{} K={}", at.matrix(), w[2]))
            };
        /// Rows of each cluster.
        CLUSTER_COUNT = cluster_count, |&At { rows, c, .. }| (rows + c, rows, format!("{rows} K={c}"));
        /// A row for each cluster without one.
        // As long as no cluster is empty.
        CLUSTER_FILL = cluster_fill, |&At { rows, c, .. }| (c, 0, format!("{rows} K={c}"));
        /// Sums over the rows of each cluster, chunk by chunk.
        CLUSTER_PART = cluster_part, |at @ &At { rows, c, w, .. }| {
            let chunks = rows.div_ceil(w[3].max(1));
            (rows * (c + 1) + chunks * w[2] * c, rows * c, format!("{} K={}", at.matrix(), w[2]))
        };
        /// Sums over clusters become means.
        CLUSTER_MEAN = cluster_mean, |&At { c, w, .. }| (w[2] * (3 * c + 1), w[2] * c, format!("K={}", w[2]));
    }
}

fn cluster_assign<T: Real>(a: &Args<T>) {
    let p: Assign = a.params();
    let (rows, cols) = (p.rows as usize, p.cols as usize);
    let (x, centroids) = (a.read(0), &a.read(1)[..p.clusters as usize * cols]);
    let (nearest, distances) = (Shared::new(a.write_indices(2)), Shared::new(a.write(3)));
    parallel(rows, 3 * cols * p.clusters as usize, |range| {
        for r in range {
            let row = &x[r * cols..(r + 1) * cols];
            let mut best = (T::new(3.4e38), 0);
            for (k, centroid) in centroids.chunks_exact(cols).enumerate() {
                let distance = row.iter().zip(centroid).map(|(a, b)| (*a - *b) * (*a - *b)).sum::<T>();
                if distance < best.0 {
                    best = (distance, k as u32);
                }
            }
            // SAFETY: each row is visited once.
            unsafe {
                distances.part(r..r + 1)[0] = best.0;
                nearest.part(r..r + 1)[0] = best.1;
            }
        }
    });
}

fn cluster_count<T: Real>(a: &Args<T>) {
    let p: Count = a.params();
    let counts = &mut a.write_indices(1)[..p.clusters as usize];
    counts.fill(0);
    a.indices(0)[..p.rows as usize].iter().for_each(|k| counts[*k as usize] += 1);
}

fn cluster_fill<T: Real>(a: &Args<T>) {
    let p: Count = a.params();
    let rows = p.rows as usize;
    let (nearest, distances, counts) = (a.write_indices(0), a.write(1), a.write_indices(2));
    for cluster in 0..p.clusters as usize {
        if counts[cluster] != 0 {
            continue;
        }
        let mut farthest = (-T::ONE, None);
        for (row, distance) in distances[..rows].iter().enumerate() {
            if *distance > farthest.0 && counts[nearest[row] as usize] > 1 {
                farthest = (*distance, Some(row));
            }
        }
        if let (_, Some(row)) = farthest {
            counts[nearest[row] as usize] -= 1;
            counts[cluster] = 1;
            nearest[row] = cluster as u32;
            distances[row] = T::ZERO;
        }
    }
}

fn cluster_part<T: Real>(a: &Args<T>) {
    let p: Sum = a.params();
    let (rows, cols, chunk) = (p.rows as usize, p.cols as usize, p.chunk as usize);
    let (x, nearest) = (a.read(0), a.indices(1));
    let width = p.clusters as usize * cols;
    for_rows(a.write(2), rows.div_ceil(chunk), width, chunk * cols, |part, out| {
        out.fill(T::ZERO);
        for r in part * chunk..((part + 1) * chunk).min(rows) {
            let sums = &mut out[nearest[r] as usize * cols..][..cols];
            sums.iter_mut().zip(&x[r * cols..(r + 1) * cols]).for_each(|(o, x)| *o += *x);
        }
    });
}

fn cluster_mean<T: Real>(a: &Args<T>) {
    let p: Sum = a.params();
    let cols = p.cols as usize;
    let (x, counts, before) = (a.read(0), a.indices(1), a.read(2));
    for_rows(a.write(3), p.clusters as usize, cols, cols, |k, out| {
        let here = k * cols..(k + 1) * cols;
        match counts[k] {
            0 => out.copy_from_slice(&before[here]),
            n => out.iter_mut().zip(&x[here]).for_each(|(o, x)| *o = *x / T::new(n as f64)),
        }
    });
}
