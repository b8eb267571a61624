//! Runs a tape on any device with given numbers, and reads everything back.

use bagrad::Result;
use bagrad::device::executor::{Executor, Step, Upload};
use bagrad::device::{Device, GpuDevice};
use bagrad::kernels::launch::{BatchTables, BufferKey, Extent, Input, Place, Scalars};
use bagrad::plan::{self, Family, PlanAs, Program, Purpose, Reductions, Target};
use bagrad::random::Random;
use bagrad::tape::{Source, Storage, Tape, feature_stride};
use half::f16;

/// Numbers for everything a tape reads.
#[derive(Clone)]
pub struct Numbers {
    pub sizes: Vec<usize>,
    pub width: usize,
    pub features: Vec<f32>,
    pub coords: Vec<f32>,
    pub params: Vec<Vec<f32>>,
    pub upstream: Vec<Vec<f32>>,
    pub labels: Vec<u32>,
    pub targets: Vec<f32>,
    pub weights: Vec<f32>,
    pub times: Vec<f32>,
    pub events: Vec<f32>,
    pub seed: u64,
    pub step: u32,
}

impl Numbers {
    /// Fresh random numbers for `tape` over bags of these sizes.
    pub fn random(tape: &Tape, sizes: &[usize], width: usize, classes: u32, seed: u64) -> Self {
        let mut random = Random::new(seed, 77);
        let mut normals = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal() as f32).collect() };
        let instances: usize = sizes.iter().sum();
        let features: Vec<f32> = normals(instances * width).iter().map(|v| f16::from_f32(*v).to_f32()).collect();
        // Scaled by the inputs, so that no softmax saturates: there f32 has nothing left to compare.
        let params = tape.params.iter().map(|p| {
            let scale = 1.0 / (p.cols.max(4) as f32).sqrt();
            normals((p.rows * p.cols) as usize).iter().map(|v| v * scale).collect()
        });
        let params = params.collect();
        let extent = extent_for(tape, sizes);
        let upstream = tape.outputs.iter().map(|o| {
            let shape = tape.shape(o.value);
            normals((shape.rows.of(&extent) * shape.cols) as usize)
        });
        let upstream = upstream.collect();
        // Of bags, or of each of their columns.
        let columns =
            tape.values.iter().find(|v| v.source == Source::Input(Input::Weights)).map_or(1, |v| v.shape.cols);
        let weights = normals(sizes.len() * columns as usize).iter().map(|w| w.abs()).collect();
        let labels: Vec<u32> = sizes.iter().map(|_| random.below(classes as usize) as u32).collect();
        let targets = match classes {
            2 => labels.iter().map(|&l| l as f32).collect(),
            _ => labels.iter().flat_map(|&l| (0..classes).map(move |c| (c == l) as u32 as f32)).collect(),
        };
        // Few distinct times, so that events tie.
        let times = sizes.iter().map(|_| 1.0 + random.below(1 + sizes.len() / 2) as f32).collect();
        let events = sizes.iter().map(|_| random.below(2) as f32).collect();
        let coords = (0..2 * instances).map(|_| random.below(64) as f32 / 8.0).collect();
        let (sizes, seed) = (sizes.to_vec(), seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        Self {
            sizes,
            width,
            features,
            coords,
            params,
            upstream,
            labels,
            targets,
            weights,
            times,
            events,
            seed,
            step: 3,
        }
    }
}

/// Sizes of a batch of bags.
pub fn extent(sizes: &[usize]) -> Extent {
    Extent::of(sizes.iter().map(|&n| n as u32))
}

/// Sizes of a batch of bags, and of the pseudo-bags that `tape` cuts them into.
pub fn extent_for(tape: &Tape, sizes: &[usize]) -> Extent {
    Extent::cut(sizes.iter().map(|&n| n as u32), tape.pseudo)
}

/// What a run gave.
#[derive(Debug)]
pub struct Results {
    pub outputs: Vec<(String, Vec<f64>)>,
    pub loss: Option<f64>,
    pub params: Vec<Vec<f64>>,
    pub features: Option<Vec<f64>>,
}

/// Offsets, tiles, tiles of each bag.
pub fn tables(sizes: &[usize]) -> [Vec<u32>; 3] {
    let BatchTables { offsets, tiles, bag_tiles, .. } = BatchTables::of(sizes);
    [offsets, tiles, bag_tiles]
}

/// What every family of GPUs with so many `units` plans for `tape`, where it is not what `device` itself or one before it
/// plans. `key` is what tells two programs apart.
pub fn other_plans(
    device: &GpuDevice,
    tape: &Tape,
    purpose: Purpose,
    sizes: &[usize],
    units: &[u32],
    key: fn(&Program) -> String,
) -> Vec<(PlanAs, Target)> {
    let key = |target| key(&plan::plan(tape, purpose, target, extent(sizes)).unwrap());
    let mut seen = vec![key(Device::Gpu(device.clone()).target_for(tape.mixed.is_some()))];
    let plans = Family::ALL.into_iter().flat_map(|family| units.iter().map(move |&n| PlanAs::gpu(family, n)));
    let target = |p| Device::Gpu(device.planned_as(p).unwrap()).target_for(tape.mixed.is_some());
    let targets = plans.map(|p| (p, target(p)));
    targets
        .filter(|(_, target)| {
            let key = key(*target);
            let new = !seen.contains(&key);
            if new {
                seen.push(key);
            }
            new
        })
        .collect()
}

/// The device itself, with every kernel that reduces doing so within subgroups; `None` where that is no other program.
pub fn in_subgroups(device: &GpuDevice, tape: &Tape, purpose: Purpose, sizes: &[usize]) -> Option<Target> {
    let own = Device::Gpu(device.clone()).target_for(tape.mixed.is_some());
    if own.reductions == Reductions::Workgroup {
        return None;
    }
    let target = Target { reductions: Reductions::Subgroups, ..own };
    let program = plan::plan(tape, purpose, target, extent(sizes)).unwrap();
    program.launches.iter().any(|l| l.variant.contains(&("SUBGROUPS", 1))).then_some(target)
}

/// All of a program.
pub fn every_launch(program: &Program) -> String {
    format!("{:?}", program.launches)
}

/// The kernels of a program but products and their parts, which tests of their own go through.
pub fn all_but_products(program: &Program) -> String {
    let others = program.launches.iter().filter(|l| !["matmul", "matmul_coop", "add_parts"].contains(&l.kernel.name));
    others.map(|l| format!("{} {:?}\n", l.kernel.name, l.variant)).collect()
}

/// Plans and runs `tape`. Slots are filled with NaN first; the capacity is larger than the batch when `spare`.
pub fn run(device: &Device, tape: &Tape, purpose: Purpose, numbers: &Numbers, spare: bool) -> Results {
    run_on(device, device.target(), tape, purpose, numbers, spare).unwrap()
}

/// The same, planned for `target`, or why the step was refused.
pub fn run_on(
    device: &Device,
    target: Target,
    tape: &Tape,
    purpose: Purpose,
    numbers: &Numbers,
    spare: bool,
) -> Result<Results> {
    let extent = extent_for(tape, &numbers.sizes);
    let mut capacity = extent;
    if spare {
        capacity.instances += 37;
        capacity.bags += 5;
        capacity.tiles += 9;
        // Of a hundred thousand instances there are more than can be counted.
        capacity.pairs = capacity.pairs.saturating_add(300);
        capacity.tokens += 41;
        capacity.token_tiles += 7;
        capacity.pseudo_bags += 3;
        capacity.pseudo_tiles += 6;
        capacity.distilled += 11;
        capacity.distilled_tiles += 2;
    }
    let mut executor = Executor::new(device);
    let layout = tape.param_layout();
    let bytes = layout.total as u64 * 4;
    executor.ensure(BufferKey::Params, bytes).unwrap();
    executor.ensure(BufferKey::Grads, bytes).unwrap();
    for (values, offset) in numbers.params.iter().zip(&layout.offsets) {
        executor.write(BufferKey::Params, *offset, values).unwrap();
    }
    // Gradients that nothing writes must show.
    executor.write(BufferKey::Grads, 0, &vec![f32::NAN; layout.total]).unwrap();
    let program = plan::plan(tape, purpose, target, capacity).unwrap();
    let id = executor.load(program.clone()).unwrap();
    executor.poison().unwrap();
    let stride = feature_stride(numbers.width);
    let mut rows = Vec::new();
    for row in numbers.features.chunks_exact(numbers.width) {
        rows.extend_from_slice(row);
        rows.extend(std::iter::repeat_n(0.0, stride - numbers.width));
    }
    let halves: Vec<f16> = rows.iter().map(|v| f16::from_f32(*v)).collect();
    let half = tape.values.iter().any(|v| v.storage == Storage::F16);
    let [offsets, tiles, bag_tiles] = tables(&numbers.sizes);
    let of_batch = BatchTables::cut(&numbers.sizes, tape.pseudo);
    let columns = numbers.targets.len() / numbers.sizes.len().max(1);
    let targets_of = |bag: usize| &numbers.targets[bag * columns..(bag + 1) * columns];
    let pseudo_labels: Vec<u32> = of_batch.pseudo_bags_in_bags().map(|(bag, _)| numbers.labels[bag]).collect();
    let pseudo_targets: Vec<f32> =
        of_batch.pseudo_bags_in_bags().flat_map(|(bag, _)| targets_of(bag).to_vec()).collect();
    let shares = of_batch.pseudo_bags_in_bags().map(|(bag, share)| numbers.weights[bag] / share as f32);
    let pseudo_weights: Vec<f32> = shares.collect();
    let BatchTables { tokens, pseudo_bags, distilled, .. } = of_batch;
    let uploads: Vec<Upload> = program
        .inputs
        .iter()
        .map(|(key, _)| match *key {
            BufferKey::Upstream(n) => Upload::F32(*key, &numbers.upstream[n as usize]),
            BufferKey::Input(Input::Features) if half => Upload::F16(*key, &halves),
            BufferKey::Input(Input::Features) => Upload::F32(*key, &rows),
            BufferKey::Input(Input::Coords) => Upload::F32(*key, &numbers.coords),
            BufferKey::Input(Input::Offsets) => Upload::U32(*key, &offsets),
            BufferKey::Input(Input::Tiles) => Upload::U32(*key, &tiles),
            BufferKey::Input(Input::BagTiles) => Upload::U32(*key, &bag_tiles),
            BufferKey::Input(Input::TokenOffsets) => Upload::U32(*key, &tokens.offsets),
            BufferKey::Input(Input::TokenTiles) => Upload::U32(*key, &tokens.tiles),
            BufferKey::Input(Input::ClassTokens) => Upload::U32(*key, tokens.classes()),
            BufferKey::Input(Input::PseudoLabels) => Upload::U32(*key, &pseudo_labels),
            BufferKey::Input(Input::PseudoTargets) => Upload::F32(*key, &pseudo_targets),
            BufferKey::Input(Input::PseudoWeights) => Upload::F32(*key, &pseudo_weights),
            BufferKey::Input(Input::PseudoOffsets) => Upload::U32(*key, &pseudo_bags.offsets),
            BufferKey::Input(Input::PseudoTiles) => Upload::U32(*key, &pseudo_bags.tiles),
            BufferKey::Input(Input::PseudoBagTiles) => Upload::U32(*key, &pseudo_bags.segment_tiles),
            BufferKey::Input(Input::DistilledOffsets) => Upload::U32(*key, &distilled.offsets),
            BufferKey::Input(Input::DistilledTiles) => Upload::U32(*key, &distilled.tiles),
            BufferKey::Input(Input::DistilledBagTiles) => Upload::U32(*key, &distilled.segment_tiles),
            BufferKey::Input(Input::Labels) => Upload::U32(*key, &numbers.labels),
            BufferKey::Input(Input::Targets) => Upload::F32(*key, &numbers.targets),
            BufferKey::Input(Input::Weights) => Upload::F32(*key, &numbers.weights),
            BufferKey::Input(Input::Times) => Upload::F32(*key, &numbers.times),
            BufferKey::Input(Input::Events) => Upload::F32(*key, &numbers.events),
            other => panic!("{other:?} is no input"),
        })
        .collect();
    let scalars = Scalars { seed: numbers.seed, step: numbers.step, term_weights: [0.7; 4], ..Default::default() };
    executor.run(id, &Step { extent, scalars, uploads: &uploads, keep: &[] })?;
    Ok(read(&mut executor, &program, tape, &extent))
}

fn read(executor: &mut Executor, program: &Program, tape: &Tape, extent: &Extent) -> Results {
    let outputs = program.outputs.iter().map(|(name, place, shape)| {
        (name.clone(), executor.read(*place, (shape.rows.of(extent) * shape.cols) as usize).unwrap())
    });
    let outputs = outputs.collect();
    let layout = tape.param_layout();
    let flat = Place { buffer: BufferKey::Grads, offset: 0, bytes: layout.total as u64 * 4 };
    let grads = executor.read(flat, layout.total).unwrap();
    let params = tape.params.iter().zip(&layout.offsets);
    Results {
        outputs,
        loss: program.loss.map(|l| executor.read(l, 1).unwrap()[0]),
        params: params.map(|(p, &o)| grads[o..o + (p.rows * p.cols) as usize].to_vec()).collect(),
        features: program
            .feature_grad
            .map(|(place, shape)| executor.read(place, (shape.rows.of(extent) * shape.cols) as usize).unwrap()),
    }
}
