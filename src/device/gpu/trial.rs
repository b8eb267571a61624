//! Trials: small programs whose results are compared with those of the twins in f64.
//!
//! A device runs them over memory filled with NaN, so that what it leaves out shows. Who runs a trial is a
//! parameter of those who judge, so that tests can play a device that computes nothing, half, or the wrong thing.

use crate::device::Device;
use crate::device::executor::{Executor, Step, Upload};
use crate::error::Result;
use crate::kernels::extent::BatchTables;
use crate::kernels::launch::{BufferKey, Input, Place, Scalars};
use crate::plan::{self, Purpose, Target};
use crate::random::Random;
use crate::tape::{Init, Param, Storage, Tape, ValueId, feature_stride};
use half::f16;

/// A program with its inputs, and the results that are looked at.
#[derive(Clone)]
pub(super) struct Trial {
    pub(super) tape: Tape,
    pub(super) purpose: Purpose,
    /// Instances of each bag.
    sizes: Vec<usize>,
    width: usize,
    /// Rows of features at their stride; values that f16 holds when that is their storage.
    pub(super) features: Vec<f32>,
    params: Vec<Vec<f32>>,
    upstream: Vec<Vec<f32>>,
    /// In the order in which they follow from each other: the first that is off is the cause.
    pub(super) results: Vec<Outcome>,
}

/// A result of a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// The kernels that made it, for people.
    pub(super) kernels: &'static str,
    pub(super) of: Of,
    pub(super) cols: usize,
    /// Largest relative error of a row.
    pub(super) tolerance: f64,
}

/// Which value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    /// An output of the tape, by number.
    Output(usize),
    /// The gradient of a parameter.
    Param(usize),
    /// The gradient of the features.
    Features,
}

/// A result that is off.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) kernels: &'static str,
    /// Relative, of the worst row; infinite where numbers are missing.
    pub(super) error: f64,
    pub(super) tolerance: f64,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.error.is_finite() {
            true => write!(f, "results of {} differ by {:.1e}", self.kernels, self.error)?,
            false => write!(f, "results of {} differ: there are none where numbers belong", self.kernels)?,
        }
        write!(f, " (at most {:.0e} may be)", self.tolerance)
    }
}

/// What a trial gave, by result.
pub(super) type Results = Vec<Vec<f64>>;

impl Trial {
    /// A trial over bags of these sizes with random numbers. `record` pushes nodes on the tape, whose features it
    /// is given, and returns what is to be looked at: kernels, value and tolerance.
    pub(super) fn new(
        seed: u64,
        sizes: &[usize],
        features: (usize, Storage),
        purpose: Purpose,
        record: impl FnOnce(&mut Tape, ValueId) -> Result<Vec<(&'static str, Of, f64)>>,
    ) -> Result<Self> {
        let (width, storage) = features;
        let upstream = purpose == Purpose::Upstream;
        let mut tape = Tape::new();
        let x = tape.features(width, storage, upstream);
        let results = record(&mut tape, x)?;
        let cols = |of: Of| match of {
            Of::Output(n) => tape.cols(tape.outputs[n].value) as usize,
            Of::Param(n) => tape.params[n].cols as usize,
            Of::Features => width,
        };
        let results =
            results.into_iter().map(|(kernels, of, tolerance)| Outcome { kernels, of, cols: cols(of), tolerance });
        let results = results.collect();
        let mut random = Random::new(seed, 0);
        let mut numbers =
            |n: usize, scale: f64| -> Vec<f32> { (0..n).map(|_| (random.normal() * scale) as f32).collect() };
        let rows: usize = sizes.iter().sum();
        let mut features = numbers(rows * feature_stride(width), 1.0);
        if storage == Storage::F16 {
            features.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32());
        }
        // Products keep about the size of their factors.
        let scale = |cols: u32| if cols == 0 { 1.0 } else { 1.5 / f64::from(cols).sqrt() };
        let params = tape.params.iter().map(|p| numbers((p.rows * p.cols) as usize, scale(p.cols))).collect();
        let extent = BatchTables::of(sizes).extent;
        let count = |v: ValueId| (tape.shape(v).rows.of(&extent) * tape.cols(v)) as usize;
        let upstream = match upstream {
            true => tape.outputs.iter().map(|o| numbers(count(o.value), 1.0)).collect(),
            false => Vec::new(),
        };
        Ok(Self { purpose, sizes: sizes.to_vec(), width, features, params, upstream, results, tape })
    }

    /// What it must give: the twins in f64.
    pub(super) fn wanted(&self) -> Result<Results> {
        run_on(&Device::Oracle, Device::Oracle.target(), self)
    }

    /// The first result that is off.
    pub(super) fn judge(&self, found: &Results, wanted: &Results) -> Result<(), Fault> {
        assert_eq!(wanted.len(), self.results.len(), "a result for each that is looked at");
        for (n, result) in self.results.iter().enumerate() {
            let found = found.get(n).map_or(&[][..], |f| f);
            let error = error(found, &wanted[n], result.cols);
            if !matches!(error, e if e < result.tolerance) {
                return Err(Fault { kernels: result.kernels, error, tolerance: result.tolerance });
            }
        }
        Ok(())
    }

    /// Rows of features at their stride, to be changed: row `n`.
    pub(super) fn row(&mut self, n: usize) -> &mut [f32] {
        let stride = feature_stride(self.width);
        &mut self.features[n * stride..(n + 1) * stride]
    }
}

/// A matrix of the tape that [`Trial::new`] fills with random numbers.
pub(super) fn param(tape: &mut Tape, rows: u32, cols: u32) -> ValueId {
    tape.param(Param { name: "p".into(), rows, cols, init: Init::Constant(0.0), decays: true, parts: Vec::new() })
}

/// The largest relative difference of a row: of those that must hold infinities or NaN, whether each value does.
///
/// A row that is small beside the others, because its terms cancel, is not measured by itself alone.
fn error(found: &[f64], wanted: &[f64], cols: usize) -> f64 {
    /// Of the size that rows have on average.
    const SMALLEST: f64 = 1e-7;
    if found.len() != wanted.len() {
        return f64::INFINITY;
    }
    let square = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>();
    let finite = || wanted.chunks(cols).filter(|row| row.iter().all(|w| w.is_finite()));
    let mean = square(&mut finite().flatten().copied()) / finite().count().max(1) as f64;
    let least = (mean.sqrt() * SMALLEST).max(f64::MIN_POSITIVE);
    let of_row = |(found, wanted): (&[f64], &[f64])| {
        if wanted.iter().any(|w| !w.is_finite()) {
            let same = found.iter().zip(wanted).all(|(f, w)| f.is_finite() == w.is_finite());
            return if same { 0.0 } else { f64::INFINITY };
        }
        let difference = square(&mut found.iter().zip(wanted).map(|(f, w)| f - w)).sqrt();
        let error = difference / square(&mut wanted.iter().copied()).sqrt().max(least);
        if error.is_nan() { f64::INFINITY } else { error }
    };
    found.chunks(cols).zip(wanted.chunks(cols)).map(of_row).fold(0.0, f64::max)
}

/// Runs a trial on a device, planned for `target`.
pub(super) fn run_on(device: &Device, target: Target, trial: &Trial) -> Result<Results> {
    let tape = &trial.tape;
    let tables = BatchTables::of(&trial.sizes);
    let extent = tables.extent;
    let mut executor = Executor::new(device);
    let layout = tape.param_layout();
    let bytes = layout.total as u64 * 4;
    executor.ensure(BufferKey::Params, bytes)?;
    executor.ensure(BufferKey::Grads, bytes)?;
    for (values, offset) in trial.params.iter().zip(&layout.offsets) {
        executor.write(BufferKey::Params, *offset, values)?;
    }
    let program = plan::plan(tape, trial.purpose, target, extent)?;
    let id = executor.load(program.clone())?;
    executor.write(BufferKey::Grads, 0, &vec![f32::NAN; layout.total])?;
    executor.poison()?;
    let halves: Vec<f16> = trial.features.iter().map(|v| f16::from_f32(*v)).collect();
    let half = tape.values.iter().any(|v| v.storage == Storage::F16);
    let uploads = program.inputs.iter().map(|&(key, _)| match key {
        BufferKey::Upstream(n) => Upload::F32(key, &trial.upstream[n as usize]),
        BufferKey::Input(Input::Features) if half => Upload::F16(key, &halves),
        BufferKey::Input(Input::Features) => Upload::F32(key, &trial.features),
        BufferKey::Input(Input::Offsets) => Upload::U32(key, &tables.offsets),
        BufferKey::Input(Input::Tiles) => Upload::U32(key, &tables.tiles),
        BufferKey::Input(Input::BagTiles) => Upload::U32(key, &tables.bag_tiles),
        other => unreachable!("{other:?} in a trial"),
    });
    let uploads: Vec<Upload> = uploads.collect();
    executor.run(id, &Step { extent, scalars: Scalars::default(), uploads: &uploads, keep: &[] })?;
    let read = |result: &Outcome| match result.of {
        Of::Output(n) => {
            let (_, place, shape) = program.outputs[n];
            executor.read(place, (shape.rows.of(&extent) * shape.cols) as usize)
        }
        Of::Param(n) => {
            let (first, count) = (layout.offsets[n], (tape.params[n].rows * tape.params[n].cols) as usize);
            let (offset, bytes) = (first as u64 * 4, count as u64 * 4);
            executor.read(Place { buffer: BufferKey::Grads, offset, bytes }, count)
        }
        Of::Features => {
            let (place, shape) = program.feature_grad.expect("the features were to get one");
            executor.read(place, (shape.rows.of(&extent) * shape.cols) as usize)
        }
    };
    trial.results.iter().map(read).collect()
}

/// Devices that are played.
#[cfg(test)]
pub(super) mod played {
    use super::*;

    /// What a device makes of results, given the right ones and their columns.
    pub(in super::super) type Spoil = fn(&mut Vec<f64>, usize);

    /// Every way to be wrong that a check has to see.
    pub(in super::super) const WRONG: [(&str, Spoil); 7] = [
        ("computes nothing, over what was there", |v, _| v.fill(f64::NAN)),
        ("computes nothing, in fresh memory", |v, _| v.fill(0.0)),
        ("leaves the second half of its results", |v, _| {
            let half = v.len() / 2;
            v[half..].fill(f64::NAN);
        }),
        ("leaves the last result at a value that was there", |v, _| *v.last_mut().unwrap() = 1e9),
        ("is off by a thousandth", |v, _| v.iter_mut().for_each(|x| *x *= 1.001)),
        ("is off in one number, by a fiftieth", |v, _| {
            let at = (0..v.len()).filter(|i| v[*i].is_finite()).max_by(|a, b| v[*a].abs().total_cmp(&v[*b].abs()));
            v[at.unwrap()] *= 1.02;
        }),
        ("transposes", |v, cols| {
            let rows = v.len() / cols;
            // A row is the same turned round: back to front then.
            *v = match rows == 1 || cols == 1 {
                true => v.iter().rev().copied().collect(),
                false => (0..v.len()).map(|i| v[i % rows * cols + i / rows]).collect(),
            };
        }),
    ];

    /// The right results in f32.
    pub(in super::super) fn right(trial: &Trial) -> Result<Results> {
        let host = Device::host();
        run_on(&host, host.target(), trial)
    }

    /// The right results but for one of them, or all (`None`), which are spoiled.
    pub(in super::super) fn wrong(trial: &Trial, spoil: Spoil, which: Option<usize>) -> Result<Results> {
        let mut results = right(trial)?;
        for (n, values) in results.iter_mut().enumerate() {
            if which.is_none_or(|w| w == n) {
                spoil(values, trial.results[n].cols);
            }
        }
        Ok(results)
    }

    #[test]
    fn errors_are_of_rows() {
        let wanted = [3.0, 4.0, 0.3, 0.4];
        assert_eq!(error(&wanted, &wanted, 2), 0.0);
        assert!((error(&[3.0, 4.0, 0.3, 0.45], &wanted, 2) - 0.1).abs() < 1e-12);
        assert_eq!(error(&wanted[..3], &wanted, 2), f64::INFINITY);
        assert_eq!(error(&[3.0, 4.0, f64::NAN, 0.4], &wanted, 2), f64::INFINITY);
        let infinite = [f64::INFINITY, 1.0];
        assert_eq!(error(&[f64::NAN, 1.0], &infinite, 2), 0.0);
        assert_eq!(error(&[7.0, 1.0], &infinite, 2), f64::INFINITY);
        assert_eq!(error(&[f64::INFINITY, f64::INFINITY], &infinite, 2), f64::INFINITY);
    }
}
