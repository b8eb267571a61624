//! Every kernel, launch by launch, against what the device can do at most.

use super::cases::{self, Case, Sizes};
use super::median;
use crate::device::Device;
use crate::device::executor::{Executor, ProgramId, Step, Upload};
use crate::error::Result;
use crate::kernels::cost::{Cost, cost};
use crate::kernels::launch::{
    BatchTables, BufferKey, Count, Dim, Extent, Grid, Input, Launch, Place, RuleScalars, Scalars, Window,
};
use crate::kernels::matmul::TRANSPOSE;
use crate::plan::{Class, Program};
use crate::random::Random;
use crate::tape::feature_stride;
use half::f16;
use serde::Serialize;
use std::collections::HashSet;

/// What a kernel took.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub kernel: &'static str,
    /// Sizes it ran over.
    pub shape: String,
    /// Where.
    pub device: String,
    /// Microseconds, in the middle of all runs.
    pub median_us: f64,
    /// The fastest.
    pub min_us: f64,
    /// Operations, in 10^9 a second.
    pub gflops: f64,
    /// Bytes read and written once, in 10^9 a second.
    pub gbps: f64,
    /// Time at the device's ceilings over the time taken: 1 is as fast as a copy of as many bytes, or as the
    /// best product of as many operations, whichever takes longer. Above 1 what fits in a cache.
    pub share_of_ceiling: f64,
}

/// The most a device was seen to do.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Ceilings {
    /// 10^9 operations a second, in the best of a few products.
    pub gflops: f64,
    /// 10^9 bytes a second, in a copy.
    pub gbps: f64,
}

impl Ceilings {
    /// Measures `device`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn of(device: &Device) -> Result<Self> {
        let slow = matches!(device.target().class, Class::CpuDriver { .. });
        let repeats = if slow { 3 } else { 10 };
        let mut sizes = vec![[1024, 512, 1024], [2048, 1024, 1024]];
        if let Class::Gpu = device.target().class {
            sizes.push([8192, 4096, 4096]);
        }
        let mut gflops: f64 = 0.0;
        for size in sizes {
            gflops = best(device, &cases::product(size, false)?, repeats, |c| c.flops)?.max(gflops);
        }
        // Far more than caches hold, and less than the smallest binding limit.
        let gbps = best(device, &cases::copy(30_000, 1024)?, repeats, |c| c.bytes)?;
        Ok(Self { gflops, gbps })
    }
}

/// 10^9 of what `count` counts a second, in the fastest run of a case with one launch that matters.
fn best(device: &Device, case: &Case, repeats: usize, count: impl Fn(&Cost) -> u64) -> Result<f64> {
    let mut loaded = Loaded::new(device, case)?;
    let runs = loaded.runs(repeats)?;
    let rate = |row: &Launched| count(&row.cost) as f64 / row.least_us / 1e3;
    Ok(runs.iter().map(rate).fold(0.0, f64::max))
}

/// A launch with its times.
pub(super) struct Launched {
    pub kernel: &'static str,
    pub shape: String,
    pub us: f64,
    pub least_us: f64,
    pub cost: Cost,
}

/// Profiles a loaded program a few times.
pub(super) fn profile(
    executor: &mut Executor,
    id: ProgramId,
    extent: Extent,
    scalars: Scalars,
    uploads: &[Upload],
    half: bool,
    repeats: usize,
) -> Result<Vec<Launched>> {
    let step = Step { extent, scalars, uploads, keep: &[] };
    let mut times: Vec<Vec<f64>> = Vec::new();
    for run in 0..repeats.max(1) + 1 {
        let one = executor.profile(id, &step)?;
        times.resize(one.len(), Vec::new());
        // The first run warms caches and the pipelines of a driver that compiles late.
        if run > 0 {
            times.iter_mut().zip(one).for_each(|(all, (_, ns))| all.push(ns / 1e3));
        }
    }
    let launches = &executor.program(id).launches;
    let rows = launches.iter().zip(times).map(|(launch, times)| {
        let cost = cost(launch, &extent, half);
        let least_us = times.iter().copied().fold(f64::INFINITY, f64::min);
        Launched { kernel: launch.kernel.name, shape: cost.shape.clone(), us: median(times), least_us, cost }
    });
    Ok(rows.collect())
}

/// A case on a device, with numbers in everything it reads.
struct Loaded {
    executor: Executor,
    id: ProgramId,
    extent: Extent,
    half: bool,
    /// Gradients from outside, which backward may overwrite: written again before each run.
    upstream: Vec<(BufferKey, Vec<f32>)>,
}

impl Loaded {
    fn new(device: &Device, case: &Case) -> Result<Self> {
        let tables = BatchTables::cut(&case.bags, case.tape.pseudo);
        let program = case.plan(device, tables.extent)?;
        Self::with(device, case, program, &tables)
    }

    fn with(device: &Device, case: &Case, program: Program, tables: &BatchTables) -> Result<Self> {
        let mut executor = Executor::new(device);
        let total = case.tape.param_layout().total;
        for key in [
            BufferKey::Params,
            BufferKey::Grads,
            BufferKey::State(0),
            BufferKey::State(1),
            BufferKey::State(2),
            BufferKey::State(3),
        ] {
            executor.ensure(key, total as u64 * 4)?;
        }
        // Without a table every group has rate 0, and updates would leave out what they are measured for.
        for (key, words) in
            [(BufferKey::Groups, case.tape.group_runs()), (BufferKey::GroupTable, case.tape.whole_group_table())]
        {
            executor.ensure(key, words.len() as u64 * 4)?;
            executor.write_indices(key, &words)?;
        }
        let mut random = Random::new(5, 0);
        let block: Vec<f32> = (0..1 << 16).map(|_| random.normal() as f32).collect();
        let numbers = |n: usize, scale: f32| block.iter().cycle().take(n).map(|v| v * scale).collect::<Vec<f32>>();
        executor.write(BufferKey::Params, 0, &numbers(total, 0.03))?;
        let (bags, half) = (case.bags.len(), case.half());
        let inputs = program.inputs.clone();
        let id = executor.load(program)?;
        let values = tables.extent.instances as usize * feature_stride(case.width);
        let (rows, halves) = match half {
            false => (numbers(values, 1.0), Vec::new()),
            true => (Vec::new(), numbers(values, 1.0).iter().map(|v| f16::from_f32(*v)).collect()),
        };
        let labels = vec![0u32; bags];
        let targets = vec![0f32; bags * case.target_columns() as usize];
        let weights = vec![1.0 / bags as f32; bags];
        let times: Vec<f32> = (0..bags).map(|b| (b / 2) as f32).collect();
        let events = vec![1f32; bags];
        let coords = numbers(2 * tables.extent.instances as usize, 1.0);
        let mut upstream = Vec::new();
        let mut uploads = Vec::new();
        for &(key, bytes) in &inputs {
            match key {
                BufferKey::Input(Input::Features) if half => uploads.push(Upload::F16(key, &halves)),
                BufferKey::Input(Input::Features) => uploads.push(Upload::F32(key, &rows)),
                BufferKey::Input(Input::Offsets) => uploads.push(Upload::U32(key, &tables.offsets)),
                BufferKey::Input(Input::Tiles) => uploads.push(Upload::U32(key, &tables.tiles)),
                BufferKey::Input(Input::BagTiles) => uploads.push(Upload::U32(key, &tables.bag_tiles)),
                BufferKey::Input(Input::TokenOffsets) => uploads.push(Upload::U32(key, &tables.tokens.offsets)),
                BufferKey::Input(Input::TokenTiles) => uploads.push(Upload::U32(key, &tables.tokens.tiles)),
                BufferKey::Input(Input::ClassTokens) => uploads.push(Upload::U32(key, tables.tokens.classes())),
                BufferKey::Input(Input::PseudoOffsets) => uploads.push(Upload::U32(key, &tables.pseudo_bags.offsets)),
                BufferKey::Input(Input::PseudoTiles) => uploads.push(Upload::U32(key, &tables.pseudo_bags.tiles)),
                BufferKey::Input(Input::PseudoBagTiles) => {
                    uploads.push(Upload::U32(key, &tables.pseudo_bags.segment_tiles));
                }
                BufferKey::Input(Input::DistilledOffsets) => {
                    uploads.push(Upload::U32(key, &tables.distilled.offsets));
                }
                BufferKey::Input(Input::DistilledTiles) => uploads.push(Upload::U32(key, &tables.distilled.tiles)),
                BufferKey::Input(Input::DistilledBagTiles) => {
                    uploads.push(Upload::U32(key, &tables.distilled.segment_tiles));
                }
                BufferKey::Input(Input::Labels) => uploads.push(Upload::U32(key, &labels)),
                BufferKey::Input(Input::Targets) => uploads.push(Upload::F32(key, &targets)),
                BufferKey::Input(Input::Weights) => uploads.push(Upload::F32(key, &weights)),
                BufferKey::Input(Input::Times) => uploads.push(Upload::F32(key, &times)),
                BufferKey::Input(Input::Coords) => uploads.push(Upload::F32(key, &coords)),
                BufferKey::Input(Input::Events) => uploads.push(Upload::F32(key, &events)),
                BufferKey::Upstream(_) => upstream.push((key, numbers(bytes as usize / 4, 0.1))),
                other => panic!("{other:?} is no input"),
            }
        }
        uploads.extend(upstream.iter().map(|(key, values)| Upload::F32(*key, values)));
        executor.run(id, &Step { extent: tables.extent, scalars: SCALARS, uploads: &uploads, keep: &[] })?;
        executor.wait()?;
        Ok(Self { executor, id, extent: tables.extent, half, upstream })
    }

    fn runs(&mut self, repeats: usize) -> Result<Vec<Launched>> {
        let uploads: Vec<Upload> = self.upstream.iter().map(|(key, v)| Upload::F32(*key, v)).collect();
        profile(&mut self.executor, self.id, self.extent, SCALARS, &uploads, self.half, repeats)
    }
}

/// A rate so small that a thousand updates leave the numbers where they are.
const SCALARS: Scalars = Scalars {
    rules: [RuleScalars { learning_rate: 1e-9, correction1: 0.1, correction2: 0.001 }; 2],
    seed: 1,
    step: 1,
    lookahead: 0,
    follow_weight: 0.0,
    term_weights: [0.5; 4],
    average_weight: 0.0,
    window: Window { first_row: 0, first_bag: 0, continued: false },
};

/// The kernel that no operation uses today, over the rows of a slide.
fn transpose(case: &Case, extent: &Extent) -> Program {
    let (rows, cols) = (extent.instances, case.width as u32);
    let place = |buffer| Place { buffer, offset: 0, bytes: (rows as u64 * cols as u64 * 4).next_multiple_of(256) };
    let groups = Grid::plane(Count::per(Dim::Fixed(rows), 1, 16), Count::per(Dim::Fixed(cols), 1, 16));
    let (from, to) = (place(BufferKey::Input(Input::Features)), place(BufferKey::Slot(0)));
    let words = [rows, cols, cols, rows].map(Into::into);
    let launch = Launch {
        kernel: &TRANSPOSE,
        variant: Vec::new(),
        places: vec![from, to],
        words: [&words[..], &[crate::kernels::launch::Word::GroupsX, 1u32.into()]].concat(),
        grid: groups,
    };
    Program {
        launches: vec![launch],
        slots: vec![to.bytes],
        capacity: *extent,
        outputs: Vec::new(),
        loss: None,
        feature_grad: None,
        inputs: vec![(from.buffer, from.bytes)],
    }
}

fn row(device: &Device, l: Launched, ceilings: &Ceilings) -> Row {
    let (gflops, gbps) = (l.cost.flops as f64 / l.us / 1e3, l.cost.bytes as f64 / l.us / 1e3);
    Row {
        kernel: l.kernel,
        shape: l.shape,
        device: device.description(),
        median_us: l.us,
        min_us: l.least_us,
        gflops,
        gbps,
        share_of_ceiling: (gflops / ceilings.gflops).max(gbps / ceilings.gbps),
    }
}

/// Measures the product of `[rows, inner]` and `[inner, columns]` in f32, and in f16 with sums in f32, on matrix units
/// where the device has them.
///
/// # Errors
/// What the device answers.
pub fn products(device: &Device, sizes: [usize; 3], repeats: usize, ceilings: &Ceilings) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for half in [false, true] {
        let launched = Loaded::new(device, &cases::product(sizes, half)?)?.runs(repeats)?;
        rows.extend(launched.into_iter().map(|l| row(device, l, ceilings)));
    }
    Ok(rows)
}

/// Measures every kernel whose name contains `filter`. The same kernel at the same sizes is told once.
///
/// # Errors
/// What the device answers.
pub fn measure(device: &Device, sizes: Sizes, filter: &str, repeats: usize, ceilings: &Ceilings) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut seen = HashSet::new();
    let mut take = |launched: Vec<Launched>| {
        for l in launched.into_iter().filter(|l| l.kernel.contains(filter)) {
            if !seen.insert((l.kernel, l.shape.clone(), l.cost.bytes)) {
                continue;
            }
            rows.push(row(device, l, ceilings));
        }
    };
    for case in cases::all(sizes)? {
        let tables = BatchTables::cut(&case.bags, case.tape.pseudo);
        let program = case.plan(device, tables.extent)?;
        if program.launches.iter().any(|l| l.kernel.name.contains(filter)) {
            take(Loaded::with(device, &case, program, &tables)?.runs(repeats)?);
        }
        if case.name == "pointwise" && TRANSPOSE.name.contains(filter) {
            let program = transpose(&case, &tables.extent);
            take(Loaded::with(device, &case, program, &tables)?.runs(repeats)?);
        }
    }
    let order: Vec<&str> = crate::kernels::all().iter().map(|k| k.name).collect();
    rows.sort_by_key(|r| order.iter().position(|n| *n == r.kernel));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::Storage;

    #[test]
    fn a_product_is_measured_in_both_widths() {
        let ceilings = Ceilings { gflops: 100.0, gbps: 10.0 };
        let rows = products(&Device::host(), [40, 30, 20], 1, &ceilings).unwrap();
        let done = |r: &Row| r.gflops * r.median_us * 1e3;
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|r| (done(r) - 48_000.0).abs() < 1.0), "{rows:?}");
        assert!(rows[0].shape.contains("40x30") && rows[1].gbps * rows[1].median_us < rows[0].gbps * rows[0].median_us);
    }

    #[test]
    fn every_kernel_is_measured() {
        let ceilings = Ceilings { gflops: 100.0, gbps: 10.0 };
        let rows = measure(&Device::host(), Sizes::Small, "", 1, &ceilings).unwrap();
        // On GPUs alone: `matmul_coop` where a device has matrix units, in the case "linear mixed", and `add_parts` where
        // a long sum is split, in the cases of products.
        for kernel in crate::kernels::all().into_iter().filter(|k| !["matmul_coop", "add_parts"].contains(&k.name)) {
            assert!(rows.iter().any(|r| r.kernel == kernel.name), "no case in bench/cases.rs launches {kernel:?}");
        }
        assert!(rows.iter().all(|r| r.median_us > 0.0 && r.share_of_ceiling.is_finite()));
    }

    /// No launch is said to move more than is bound: what is read counts once, what is written at most twice.
    #[test]
    fn no_cost_is_more_than_what_is_bound() {
        for case in cases::all(Sizes::Mil).unwrap() {
            let extent = BatchTables::cut(&case.bags, case.tape.pseudo).extent;
            let program = case.plan(&Device::host(), extent).unwrap();
            for launch in &program.launches {
                let places = launch.places.iter().zip(launch.kernel.bindings);
                let bound: u64 = places.map(|(place, kind)| place.bytes * (1 + kind.writes() as u64)).sum();
                let cost = cost(launch, &extent, case.tape.values[0].storage == Storage::F16);
                assert!(cost.bytes <= bound, "{}: {:?} {} of {bound} bytes", case.name, launch.kernel, cost.bytes);
            }
        }
    }
}
