//! K-means on any device: seeding on the host, iterations as one program.

use crate::device::Device;
use crate::device::executor::{Executor, Step, Upload};
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Extent, Input, Scalars};
use crate::ops::cluster::{ClusterAssign, ClusterMeans};
use crate::ops::norm::UnitRows;
use crate::plan::{self, Purpose};
use crate::random::Random;
use crate::tape::{Init, Param, Storage, Tape, feature_stride};
use rayon::prelude::*;

/// Where centroids start. Both draw from the counter-based generator on the host, so a seed gives the same start on
/// every device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seeding {
    /// Rows drawn one after the other with a probability that grows with the squared distance to those drawn before
    /// (k-means++, Arthur and Vassilvitskii 2007).
    #[default]
    PlusPlus,
    /// Different rows, each as likely (what faiss does).
    Sample,
}

/// Lloyd's K-means with Euclidean distances.
///
/// A cluster that loses all its rows takes the row that is farthest from its centroid out of those whose cluster has
/// others. Sums run in a fixed order: one seed on one device gives the same bits.
///
/// ```
/// use bagrad::device::Device;
/// use bagrad::kmeans::KMeans;
///
/// # fn main() -> bagrad::Result<()> {
/// let rows = [0.0, 0.1, 5.0, 5.1, 0.2, 4.9f32];
/// let found = KMeans::new(2).run(&Device::host(), &rows, 1)?;
/// assert_eq!(found.clusters[0], found.clusters[1]);
/// assert_ne!(found.clusters[0], found.clusters[2]);
/// assert_eq!(found.counts, [3, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeans {
    /// Clusters.
    pub clusters: usize,
    /// Iterations; there is no other end, and what has converged stays.
    pub iterations: usize,
    /// Where centroids start.
    pub seeding: Seeding,
    /// Rows are brought to length 1 before they are compared; the means stay those of the rows as they are.
    pub unit_rows: bool,
    /// Seed of the start.
    pub seed: u64,
}

/// What K-means found.
#[derive(Clone, Debug, PartialEq)]
pub struct Clustering {
    /// Centroids that rows were compared with `[clusters, width]`.
    pub centroids: Vec<f32>,
    /// Means of the rows of each cluster as they were given `[clusters, width]`; the centroid where there are none.
    pub means: Vec<f32>,
    /// The cluster of each row: the nearest centroid, of equals the first.
    pub clusters: Vec<u32>,
    /// Rows of each cluster. 0 only where centroids coincide, which needs rows that do.
    pub counts: Vec<u32>,
    /// Squared distance of each row to its centroid.
    pub distances: Vec<f32>,
}

impl Clustering {
    /// The sum of the squared distances.
    pub fn inertia(&self) -> f64 {
        self.distances.iter().map(|d| *d as f64).sum()
    }
}

impl KMeans {
    /// `clusters` clusters in 20 iterations from k-means++ with seed 0.
    pub fn new(clusters: usize) -> Self {
        Self { clusters, iterations: 20, seeding: Seeding::PlusPlus, unit_rows: false, seed: 0 }
    }

    /// Finds clusters of `rows`, `width` values each.
    ///
    /// # Errors
    /// [`Error::Setting`] for no clusters or more than there are rows, [`Error::Shape`] for values that do not make up
    /// rows, [`Error::Bags`] for values that are not finite, and what the device answers.
    pub fn run(&self, device: &Device, rows: &[f32], width: usize) -> Result<Clustering> {
        let count = self.check(rows, width)?;
        let start = self.start(rows, width)?;
        let (tape, outputs) = self.record(width)?;
        let extent = Extent { instances: count as u32, bags: 1, tiles: 1, ..Extent::default() };
        let mut executor = Executor::new(device);
        executor.ensure(BufferKey::Params, tape.param_layout().total as u64 * 4)?;
        executor.write(BufferKey::Params, 0, &start)?;
        let program = plan::plan(&tape, Purpose::Predict, device.target(), extent)?;
        let places: Vec<_> = program.outputs.iter().map(|(_, place, shape)| (*place, *shape)).collect();
        let inputs = program.inputs.clone();
        let id = executor.load(program)?;
        let stride = feature_stride(width);
        let mut padded = Vec::with_capacity(count * stride);
        for row in rows.chunks_exact(width) {
            padded.extend_from_slice(row);
            padded.extend(std::iter::repeat_n(0.0, stride - width));
        }
        let upload = |(key, _): &(BufferKey, u64)| match key {
            BufferKey::Input(Input::Features) => Upload::F32(*key, &padded),
            other => unreachable!("K-means reads rows alone, not {other:?}"),
        };
        let uploads: Vec<Upload> = inputs.iter().map(upload).collect();
        executor.run(id, &Step { extent, scalars: Scalars::default(), uploads: &uploads, keep: &[] })?;
        let length = |at: usize| (places[at].1.rows.of(&extent) * places[at].1.cols) as usize;
        assert_eq!(places.len(), outputs, "every output has a place");
        Ok(Clustering {
            centroids: executor.read_f32(places[0].0, length(0))?,
            means: executor.read_f32(places[1].0, length(1))?,
            clusters: executor.read_indices(places[2].0, length(2))?,
            counts: executor.read_indices(places[3].0, length(3))?,
            distances: executor.read_f32(places[4].0, length(4))?,
        })
    }

    fn check(&self, rows: &[f32], width: usize) -> Result<usize> {
        if width == 0 || !rows.len().is_multiple_of(width) {
            let found = format!("{} values", rows.len());
            return Err(Error::Shape { operation: "K-means", expected: format!("rows of {width} values"), found });
        }
        let count = rows.len() / width;
        if self.clusters == 0 || self.clusters > count {
            let message = format!("expected 1 to {count}, as there are {count} rows, found {}", self.clusters);
            return Err(Error::setting("clusters", message));
        }
        if self.iterations == 0 {
            return Err(Error::setting("iterations", "K-means takes at least one"));
        }
        if u32::try_from(rows.len()).is_err() {
            return Err(Error::setting("rows", format!("{} values are more than can be numbered", rows.len())));
        }
        match rows.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(Error::bags(format!("row {}, value {} is {}", at / width, at % width, rows[at]))),
            None => Ok(count),
        }
    }

    /// All iterations on one tape; parameter 0 is where centroids start. The number of its outputs comes with it.
    fn record(&self, width: usize) -> Result<(Tape, usize)> {
        let mut tape = Tape::new();
        let given = tape.features(width, Storage::F32, false);
        let (name, rows, cols) = ("centroids".into(), self.clusters as u32, width as u32);
        let param = Param { name, rows, cols, init: Init::Constant(0.0), decays: false, parts: Vec::new() };
        let mut centroids = tape.param(param);
        let x = if self.unit_rows { tape.push1(UnitRows { eps: UNIT }, &[given])? } else { given };
        for _ in 0..self.iterations {
            let found = tape.push(ClusterAssign { fill: true }, &[x, centroids])?;
            centroids = tape.push1(ClusterMeans, &[x, found[0], found[2], centroids])?;
        }
        let found = tape.push(ClusterAssign { fill: false }, &[x, centroids])?;
        let means = tape.push1(ClusterMeans, &[given, found[0], found[2], centroids])?;
        for value in [centroids, means, found[0], found[2], found[1]] {
            tape.output(&tape.outputs.len().to_string(), value);
        }
        let outputs = tape.outputs.len();
        Ok((tape, outputs))
    }

    /// The first centroids `[clusters, width]`: rows, brought to length 1 where `unit_rows` says so.
    ///
    /// # Errors
    /// As [`KMeans::run`].
    pub fn start(&self, rows: &[f32], width: usize) -> Result<Vec<f32>> {
        self.check(rows, width)?;
        let unit: Vec<f32>;
        let rows = match self.unit_rows {
            false => rows,
            true => {
                unit = rows.chunks_exact(width).flat_map(of_length_one).collect();
                &unit
            }
        };
        let mut random = Random::new(self.seed, 0);
        let picked = match self.seeding {
            Seeding::Sample => random.permutation(rows.len() / width)[..self.clusters].to_vec(),
            Seeding::PlusPlus => plus_plus(&mut random, rows, width, self.clusters),
        };
        Ok(picked.into_iter().flat_map(|r| rows[r * width..(r + 1) * width].iter().copied()).collect())
    }
}

/// Smallest length that rows are divided by.
const UNIT: f32 = 1e-10;

fn of_length_one(row: &[f32]) -> impl Iterator<Item = f32> {
    let length = row.iter().map(|v| *v as f64 * *v as f64).sum::<f64>().sqrt().max(UNIT as f64);
    row.iter().map(move |v| (*v as f64 / length) as f32)
}

fn plus_plus(random: &mut Random, rows: &[f32], width: usize, count: usize) -> Vec<usize> {
    let row = |r: usize| &rows[r * width..(r + 1) * width];
    let mut picked = vec![random.below(rows.len() / width)];
    let mut distances = vec![f64::INFINITY; rows.len() / width];
    while picked.len() < count {
        let last = row(picked[picked.len() - 1]);
        distances.par_iter_mut().enumerate().for_each(|(r, nearest)| {
            let distance = row(r).iter().zip(last).map(|(a, b)| (*a as f64 - *b as f64).powi(2)).sum::<f64>();
            *nearest = nearest.min(distance);
        });
        let total: f64 = distances.iter().sum();
        let next = match total > 0.0 {
            true => {
                let mut left = random.uniform() * total;
                let reaches = |d: &f64| {
                    left -= d;
                    *d > 0.0 && left <= 0.0
                };
                // Rounding may leave a little behind the last row.
                let far = || distances.iter().rposition(|d| *d > 0.0).expect("the total is above zero");
                distances.iter().position(reaches).unwrap_or_else(far)
            }
            // Every row lies on one that was drawn: any other will do.
            false => (0..distances.len()).find(|r| !picked.contains(r)).expect("there are more rows than clusters"),
        };
        picked.push(next);
    }
    picked
}
