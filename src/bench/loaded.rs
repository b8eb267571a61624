//! A case of the benchmark on a device, with numbers in everything it reads, and the times of its launches.

use super::cases::Case;
use super::median;
use crate::device::Device;
use crate::device::executor::{Executor, ProgramId, Step, Upload};
use crate::error::Result;
use crate::kernels::cost::{Cost, cost};
use crate::kernels::launch::{
    BatchTables, BufferKey, Count, Dim, Extent, Grid, Input, Launch, Place, RuleScalars, Scalars, Variant, Window,
};
use crate::kernels::matmul::TRANSPOSE;
use crate::plan::Program;
use crate::random::Random;
use crate::tape::feature_stride;
use half::f16;

/// A launch with its times.
pub(super) struct Launched {
    pub kernel: &'static str,
    pub variant: Variant,
    pub shape: String,
    /// Microseconds of the first run, which warms caches and the pipelines of a driver that compiles late.
    pub first_us: f64,
    /// Of the others, in their order.
    pub all_us: Vec<f64>,
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
    let (mut times, mut first): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
    for run in 0..repeats.max(1) + 1 {
        let one = executor.profile(id, &step)?;
        if run == 0 {
            first = one.iter().map(|(_, ns)| ns / 1e3).collect();
            times.resize(one.len(), Vec::new());
        } else {
            times.iter_mut().zip(one).for_each(|(all, (_, ns))| all.push(ns / 1e3));
        }
    }
    let launches = &executor.program(id).launches;
    let rows = launches.iter().zip(times).zip(first).map(|((launch, all_us), first_us)| {
        let cost = cost(launch, &extent, half);
        let (kernel, variant, shape) = (launch.kernel.name, launch.variant.clone(), cost.shape.clone());
        let (us, least_us) = (median(all_us.clone()), all_us.iter().copied().fold(f64::INFINITY, f64::min));
        Launched { kernel, variant, shape, first_us, all_us, us, least_us, cost }
    });
    Ok(rows.collect())
}

/// A case on a device, with numbers in everything it reads.
pub(super) struct Loaded {
    executor: Executor,
    id: ProgramId,
    extent: Extent,
    half: bool,
    /// Gradients from outside, which backward may overwrite: written again before each run.
    upstream: Vec<(BufferKey, Vec<f32>)>,
}

impl Loaded {
    pub fn new(device: &Device, case: &Case) -> Result<Self> {
        let tables = BatchTables::cut(&case.bags, case.tape.pseudo);
        let program = case.plan(device, tables.extent)?;
        Self::with(device, case, program, &tables)
    }

    pub fn with(device: &Device, case: &Case, program: Program, tables: &BatchTables) -> Result<Self> {
        Self::filled(device, case, program, tables, None)
    }

    /// With these features, rows at their stride, and these parameters, as the tape lays them out.
    pub fn of(device: &Device, case: &Case, features: &[f32], params: &[f32]) -> Result<Self> {
        let tables = BatchTables::cut(&case.bags, case.tape.pseudo);
        let program = case.plan(device, tables.extent)?;
        Self::filled(device, case, program, &tables, Some((features, params)))
    }

    fn filled(
        device: &Device,
        case: &Case,
        program: Program,
        tables: &BatchTables,
        given: Option<(&[f32], &[f32])>,
    ) -> Result<Self> {
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
        executor.write(
            BufferKey::Params,
            0,
            &given.map_or_else(|| numbers(total, 0.03), |(_, params)| params.to_vec()),
        )?;
        let (bags, half) = (case.bags.len(), case.half());
        let inputs = program.inputs.clone();
        let id = executor.load(program)?;
        let values = tables.extent.instances as usize * feature_stride(case.width);
        let rows = given.map_or_else(|| numbers(values, 1.0), |(features, _)| features.to_vec());
        let (rows, halves) = match half {
            false => (rows, Vec::new()),
            true => (Vec::new(), rows.iter().map(|v| f16::from_f32(*v)).collect()),
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

    pub fn runs(&mut self, repeats: usize) -> Result<Vec<Launched>> {
        let uploads: Vec<Upload> = self.upstream.iter().map(|(key, v)| Upload::F32(*key, v)).collect();
        profile(&mut self.executor, self.id, self.extent, SCALARS, &uploads, self.half, repeats)
    }

    /// The first `count` values of the first output, by a run over NaN in all that is written.
    pub fn output(&mut self, count: usize) -> Result<Vec<f64>> {
        self.executor.poison()?;
        self.executor.run(self.id, &Step { extent: self.extent, scalars: SCALARS, uploads: &[], keep: &[] })?;
        let place = self.executor.program(self.id).outputs[0].1;
        self.executor.read(place, count)
    }

    /// What the launches of the kernels in `wanted` cost together: operations and bytes; all where none is named.
    pub fn cost(&self, wanted: &[&str]) -> (u64, u64) {
        let launches = self.executor.program(self.id).launches.iter();
        let counted = launches.filter(|l| wanted.is_empty() || wanted.contains(&l.kernel.name));
        let costs = counted.map(|l| cost(l, &self.extent, self.half));
        costs.fold((0, 0), |(flops, bytes), cost| (flops + cost.flops, bytes + cost.bytes))
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
pub(super) fn transpose(case: &Case, extent: &Extent) -> Program {
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
