//! A session: one model on one device. It packs batches, runs the planned programs, and reads results.

mod precision;

use crate::bag::{Bags, Features};
use crate::device::Device;
use crate::device::executor::{Executor, ProgramId, Step, StoreId, Upload};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::kernels::launch::{BufferKey, Extent, Input, Place, Scalars, TILE};
use crate::methods::outputs_for;
use crate::model::Model;
use crate::ops::update::Optimiser;
use crate::plan::{self, Purpose};
use crate::tape::{Source, Storage, Tape, feature_stride};
use half::f16;
use std::collections::BTreeMap;

/// A matrix read back from a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// `[rows, columns]`, or `[values]` of a bias.
    pub shape: Vec<usize>,
    /// Row by row.
    pub values: Vec<f64>,
}

/// What one forward and backward pass gives, by name.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// The loss of the batch.
    pub loss: f64,
    /// Outputs: `bag_logits`, `scores`, and what else the method has.
    pub outputs: BTreeMap<String, Tensor>,
    /// Gradient of the loss for every parameter.
    pub parameters: BTreeMap<String, Tensor>,
    /// Gradient for the instance features `[instances, width]`, when asked for.
    pub instances: Option<Tensor>,
}

/// The tables and targets of one packed batch; the vectors are reused from step to step.
#[derive(Default)]
struct Batch {
    extent: Extent,
    offsets: Vec<u32>,
    tiles: Vec<u32>,
    bag_tiles: Vec<u32>,
    labels: Vec<u32>,
    targets: Vec<f32>,
    weights: Vec<f32>,
    rows_f32: Vec<f32>,
    rows_f16: Vec<f16>,
    coords: Vec<f32>,
}

impl Batch {
    /// Lays out bags of these sizes.
    fn lay_out(&mut self, sizes: impl Iterator<Item = usize>) {
        self.offsets.clear();
        self.tiles.clear();
        self.bag_tiles.clear();
        self.offsets.push(0);
        self.bag_tiles.push(0);
        let mut row = 0u32;
        for (bag, size) in sizes.enumerate() {
            let end = row + size as u32;
            while row < end {
                let rows = (end - row).min(TILE);
                self.tiles.extend([bag as u32, row, rows, 0]);
                row += rows;
            }
            self.offsets.push(end);
            self.bag_tiles.push(self.tiles.len() as u32 / 4);
        }
        self.extent =
            Extent { instances: row, bags: self.offsets.len() as u32 - 1, tiles: self.tiles.len() as u32 / 4 };
    }

    /// Class of each bag, as an index and as targets of the outputs.
    fn set_labels(&mut self, labels: impl Iterator<Item = u32>, outputs: u32) {
        self.labels.clear();
        self.targets.clear();
        for label in labels {
            self.labels.push(label);
            match outputs {
                1 => self.targets.push(label.min(1) as f32),
                _ => self.targets.extend((0..outputs).map(|c| (c == label) as u32 as f32)),
            }
        }
    }
}

/// Sizes of a batch of these bags, without packing it.
pub fn extent_of(bags: &Bags, indices: &[usize]) -> Extent {
    let sizes = indices.iter().map(|&i| bags.rows(i).len());
    sizes.fold(Extent::default(), |e, n| Extent {
        instances: e.instances + n as u32,
        bags: e.bags + 1,
        tiles: e.tiles + (n as u32).div_ceil(TILE),
    })
}

/// Features of a whole set of bags kept on the device, so that a step uploads none.
pub struct Resident {
    /// Store and first byte of each bag.
    places: Vec<(StoreId, u64)>,
}

/// One model on one device.
///
/// Programs are planned when first needed and for the largest batch seen or [reserved](Session::reserve);
/// after that a step creates nothing.
pub struct Session {
    device: Device,
    model: Model,
    tape: Tape,
    executor: Executor,
    storage: Storage,
    instance_grads: bool,
    programs: Vec<(Purpose, ProgramId)>,
    capacity: Extent,
    batch: Batch,
    /// Parameters on the device are newer than the model's.
    stale: bool,
    seed: u64,
    updates: u64,
    /// State that holds the moving average of the parameters, once there is one.
    average: Option<u8>,
}

impl Session {
    /// Puts `model` on `device`. `storage` is that of the features it will be given.
    ///
    /// # Errors
    /// What the device answers.
    pub fn new(device: &Device, model: Model, storage: Storage) -> Result<Self> {
        Self::with_instance_gradients(device, model, storage, false)
    }

    /// As [`Session::new`]; gradients then include those of the instance features.
    ///
    /// # Errors
    /// What the device answers.
    pub fn with_instance_gradients(
        device: &Device,
        model: Model,
        storage: Storage,
        instance_grads: bool,
    ) -> Result<Self> {
        let tape = model.record(storage, instance_grads)?;
        let mut session = Self {
            device: device.clone(),
            tape,
            executor: Executor::new(device),
            storage,
            instance_grads,
            programs: Vec::new(),
            capacity: Extent::default(),
            batch: Batch::default(),
            stale: false,
            seed: 0,
            updates: 0,
            average: None,
            model,
        };
        let bytes = session.model.layout().total as u64 * 4;
        session.executor.ensure(BufferKey::Params, bytes)?;
        session.executor.write(BufferKey::Params, 0, &session.model.values)?;
        Ok(session)
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The executor, for counters and memory.
    pub fn executor(&mut self) -> &mut Executor {
        &mut self.executor
    }

    /// Seed of dropout and everything else that is random in a step.
    pub fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The model with the parameters as they are now.
    ///
    /// # Errors
    /// What the device answers.
    pub fn model(&mut self) -> Result<&Model> {
        self.fetch()?;
        Ok(&self.model)
    }

    /// Gives the model back.
    ///
    /// # Errors
    /// What the device answers.
    pub fn into_model(mut self) -> Result<Model> {
        self.fetch()?;
        Ok(self.model)
    }

    /// All parameter values as one flat vector: a snapshot to return to.
    ///
    /// # Errors
    /// What the device answers.
    pub fn snapshot(&mut self) -> Result<Vec<f32>> {
        self.fetch()?;
        Ok(self.model.values.clone())
    }

    /// Returns to a snapshot of the same model.
    ///
    /// # Errors
    /// What the device answers.
    pub fn restore(&mut self, snapshot: &[f32]) -> Result<()> {
        assert_eq!(snapshot.len(), self.model.values.len(), "a snapshot of another model");
        self.model.values.copy_from_slice(snapshot);
        self.stale = false;
        self.executor.write(BufferKey::Params, 0, snapshot)
    }

    /// Replaces one parameter, on the device and in the model.
    ///
    /// # Errors
    /// As [`Model::set_parameter`].
    pub fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.fetch()?;
        self.model.set_parameter(name, values)?;
        self.executor.write(BufferKey::Params, 0, &self.model.values)
    }

    fn fetch(&mut self) -> Result<()> {
        if self.stale {
            let count = self.model.values.len();
            let place = Place { buffer: BufferKey::Params, offset: 0, bytes: count as u64 * 4 };
            self.model.values = self.executor.read_f32(place, count)?;
            self.stale = false;
        }
        Ok(())
    }

    /// Puts parameters into groups, in place of those set before: see [`Group`]. Moments stay as they are.
    ///
    /// # Errors
    /// [`Error::Setting`] for groups that do not fit the model, and what the device answers.
    pub fn set_groups(&mut self, groups: &[Group]) -> Result<()> {
        self.tape.set_groups(groups)?;
        if self.programs.iter().any(|(p, _)| matches!(p, Purpose::Train(_))) {
            self.write_groups()?;
        }
        self.replan()
    }

    fn replan(&mut self) -> Result<()> {
        for (purpose, id) in self.programs.clone() {
            let program = plan::plan(&self.tape, purpose, self.target(), self.capacity)?;
            self.executor.reload(id, program)?;
        }
        Ok(())
    }

    fn write_groups(&mut self) -> Result<()> {
        for (key, words) in
            [(BufferKey::Groups, self.tape.group_runs()), (BufferKey::GroupTable, self.tape.groups.table())]
        {
            self.executor.ensure(key, words.len() as u64 * 4)?;
            self.executor.write_indices(key, &words)?;
        }
        Ok(())
    }

    /// A moving average starts as the parameters are before the first update that keeps one.
    fn start_average(&mut self, optimiser: &Optimiser) -> Result<()> {
        let wanted = optimiser.average_state();
        if wanted.is_none() || wanted == self.average {
            return Ok(());
        }
        self.prepare(Purpose::Train(*optimiser))?;
        self.fetch()?;
        let state = wanted.map(BufferKey::State).expect("one is wanted");
        self.executor.write(state, 0, &self.model.values)?;
        self.average = wanted;
        Ok(())
    }

    /// The model with the moving average of its parameters; `None` when no update kept one.
    ///
    /// # Errors
    /// What the device answers.
    pub fn average(&mut self) -> Result<Option<Model>> {
        let Some(state) = self.average else { return Ok(None) };
        let count = self.model.values.len();
        let place = Place { buffer: BufferKey::State(state), offset: 0, bytes: count as u64 * 4 };
        let mut model = self.model.clone();
        model.values = self.executor.read_f32(place, count)?;
        Ok(Some(model))
    }

    /// Makes room for batches of this size, so that later steps of at most this size create nothing.
    ///
    /// # Errors
    /// What the device answers when a program is planned anew.
    pub fn reserve(&mut self, extent: Extent) -> Result<()> {
        if self.capacity.holds(&extent) {
            return Ok(());
        }
        let old = self.capacity;
        self.capacity = grown(old, extent);
        for (purpose, id) in self.programs.clone() {
            let program = plan::plan(&self.tape, purpose, self.target(), self.capacity);
            // A batch that does not fit must not keep later ones, which do, from running.
            program.and_then(|p| self.executor.reload(id, p)).inspect_err(|_| self.capacity = old)?;
        }
        Ok(())
    }

    /// Plans and loads what a purpose needs, for the capacity reserved so far.
    ///
    /// # Errors
    /// [`Error::Limit`] and what else the device answers.
    pub fn prepare(&mut self, purpose: Purpose) -> Result<ProgramId> {
        if let Some((_, id)) = self.programs.iter().find(|(p, _)| *p == purpose) {
            return Ok(*id);
        }
        let total = self.model.layout().total as u64;
        if purpose != Purpose::Predict {
            self.executor.ensure(BufferKey::Grads, total * 4)?;
        }
        if let Purpose::Train(optimiser) = purpose {
            for state in 0..optimiser.states() {
                self.executor.ensure(BufferKey::State(state), total * 4)?;
            }
            if self.tape.groups.groups.iter().any(|g| g.second) && optimiser.second.is_none() {
                return Err(Error::setting("groups", "a group is for the second rule; the optimiser has none"));
            }
            self.write_groups()?;
        }
        let program = plan::plan(&self.tape, purpose, self.target(), self.capacity);
        // As in `reserve`: what is loaded already decides how large batches may be.
        let fallback = if self.programs.is_empty() { Extent::default() } else { self.capacity };
        let id = program.and_then(|p| self.executor.load(p)).inspect_err(|_| self.capacity = fallback)?;
        self.programs.push((purpose, id));
        Ok(id)
    }

    /// Keeps the features of all `bags` on the device if they fit; steps over them then upload none.
    ///
    /// # Errors
    /// What the device answers, other than being out of memory.
    pub fn keep(&mut self, bags: &Bags) -> Result<Option<Resident>> {
        self.check_width(bags)?;
        // The host's rows are in its memory already.
        if !matches!(self.device, Device::Gpu(_)) {
            return Ok(None);
        }
        let limit = self.executor.store_limit();
        let element = if self.storage == Storage::F16 { 2 } else { 4 };
        let row = feature_stride(bags.width) as u64 * element;
        let mut places = Vec::with_capacity(bags.len());
        let mut next = 0;
        while next < bags.len() {
            let (start, mut bytes) = (next, 0u64);
            while next < bags.len() && bytes + bags.rows(next).len() as u64 * row <= limit {
                bytes += bags.rows(next).len() as u64 * row;
                next += 1;
            }
            if next == start {
                return Ok(None);
            }
            let rows = bags.offsets[start]..bags.offsets[next];
            self.pack_rows(bags, std::iter::once(rows));
            let packed: &[u8] = match self.storage {
                Storage::F16 => bytemuck::cast_slice(&self.batch.rows_f16),
                _ => bytemuck::cast_slice(&self.batch.rows_f32),
            };
            let Some(store) = self.executor.store(packed, self.storage)? else { return Ok(None) };
            let base = bags.offsets[start];
            places.extend((start..next).map(|b| (store, (bags.offsets[b] - base) as u64 * row)));
        }
        Ok(Some(Resident { places }))
    }

    fn check_width(&self, bags: &Bags) -> Result<()> {
        let width = self.model.spec().width;
        if bags.width != width {
            return Err(Error::Shape {
                operation: "features",
                expected: format!("instances of {width} features, which the model was made for"),
                found: format!("{} features", bags.width),
            });
        }
        Ok(())
    }

    /// Copies rows of features to the batch, at the stride and in the storage of the device.
    fn pack_rows(&mut self, bags: &Bags, ranges: impl Iterator<Item = std::ops::Range<usize>>) {
        let (width, stride) = (bags.width, feature_stride(bags.width));
        fn pack<S: Copy, T: Copy + Default>(
            out: &mut Vec<T>,
            from: &[S],
            ranges: impl Iterator<Item = std::ops::Range<usize>>,
            (width, stride): (usize, usize),
            convert: impl Fn(S) -> T,
        ) {
            out.clear();
            for rows in ranges {
                for row in from[rows.start * width..rows.end * width].chunks_exact(width) {
                    out.extend(row.iter().map(|v| convert(*v)));
                    out.extend(std::iter::repeat_n(T::default(), stride - width));
                }
            }
        }
        let sizes = (width, stride);
        let batch = &mut self.batch;
        match (&bags.features, self.storage) {
            (Features::F32(v), Storage::F16) => pack(&mut batch.rows_f16, v, ranges, sizes, f16::from_f32),
            (Features::F16(v), Storage::F16) => pack(&mut batch.rows_f16, v, ranges, sizes, |x| x),
            (Features::F32(v), _) if width == stride => {
                batch.rows_f32.clear();
                ranges.for_each(|r| batch.rows_f32.extend_from_slice(&v[r.start * width..r.end * width]));
            }
            (Features::F32(v), _) => pack(&mut batch.rows_f32, v, ranges, sizes, |x| x),
            (Features::F16(v), _) => pack(&mut batch.rows_f32, v, ranges, sizes, f16::to_f32),
        }
    }

    /// Packs the bags `indices` as the batch of the next run. `weights` are those of the bags in the loss;
    /// unlabelled bags count as class 0, which prediction does not look at.
    fn set_batch(
        &mut self,
        bags: &Bags,
        indices: &[usize],
        weights: &[f32],
        resident: Option<&Resident>,
    ) -> Result<()> {
        self.check_width(bags)?;
        let outputs = outputs_for(self.model.spec().classes.len());
        if let Some(labels) = &bags.labels
            && let Some(&bag) = indices.iter().find(|&&i| labels[i] as usize >= self.model.spec().classes.len())
        {
            let classes = self.model.spec().classes.len();
            return Err(Error::bags(format!("bag {bag} has label {}, the model has {classes} classes", labels[bag])));
        }
        self.batch.lay_out(indices.iter().map(|&i| bags.rows(i).len()));
        let label = |i: usize| bags.labels.as_ref().map_or(0, |l| l[i]);
        self.batch.set_labels(indices.iter().map(|&i| label(i)), outputs);
        self.batch.weights.clear();
        self.batch.weights.extend_from_slice(weights);
        self.batch.coords.clear();
        if self.tape.values.iter().any(|v| v.source == Source::Input(Input::Coords)) {
            let missing = "the model looks at the places of instances, and these bags have no coordinates";
            let coords = bags.coords.as_ref().ok_or_else(|| Error::bags(missing))?;
            indices.iter().for_each(|&i| self.batch.coords.extend(coords[bags.rows(i)].as_flattened()));
        }
        let extent = self.batch.extent;
        if resident.is_none() {
            self.pack_rows(bags, indices.iter().map(|&i| bags.rows(i)));
        }
        self.reserve(extent)
    }

    fn run(
        &mut self,
        purpose: Purpose,
        mut scalars: Scalars,
        keep: Option<u32>,
        source: &[(StoreId, u64)],
    ) -> Result<ProgramId> {
        scalars.seed = self.seed;
        let id = self.prepare(purpose)?;
        let batch = &self.batch;
        let program = self.executor.program(id);
        let mut uploads: Vec<Upload> = Vec::with_capacity(8 + source.len());
        for (key, _) in &program.inputs {
            let BufferKey::Input(input) = key else { continue };
            match input {
                Input::Features if source.is_empty() => match self.storage {
                    Storage::F16 => uploads.push(Upload::F16(*key, &batch.rows_f16)),
                    _ => uploads.push(Upload::F32(*key, &batch.rows_f32)),
                },
                Input::Features => {
                    let element = if self.storage == Storage::F16 { 2 } else { 4 };
                    let row = feature_stride(self.model.spec().width) as u64 * element;
                    for (bag, (store, from)) in source.iter().enumerate() {
                        let (first, end) = (batch.offsets[bag] as u64, batch.offsets[bag + 1] as u64);
                        let (to, bytes) = (first * row, (end - first) * row);
                        uploads.push(Upload::Stored { key: *key, to, store: *store, from: *from, bytes });
                    }
                }
                Input::Coords => uploads.push(Upload::F32(*key, &batch.coords)),
                Input::Offsets => uploads.push(Upload::U32(*key, &batch.offsets)),
                Input::Tiles => uploads.push(Upload::U32(*key, &batch.tiles)),
                Input::BagTiles => uploads.push(Upload::U32(*key, &batch.bag_tiles)),
                Input::Labels => uploads.push(Upload::U32(*key, &batch.labels)),
                Input::Targets => uploads.push(Upload::F32(*key, &batch.targets)),
                Input::Weights => uploads.push(Upload::F32(*key, &batch.weights)),
                // No method asks for them as yet.
                Input::Times | Input::Events => {
                    return Err(Error::bags("the model needs survival times and events, which these bags do not have"));
                }
            }
        }
        let kept = keep.map(|at| (program.loss.expect("a training program has a loss"), 1, at));
        let step = Step { extent: batch.extent, scalars, uploads: &uploads, keep: kept.as_slice() };
        self.executor.run(id, &step)?;
        Ok(id)
    }

    fn sources(resident: Option<&Resident>, indices: &[usize]) -> Vec<(StoreId, u64)> {
        resident.map_or(Vec::new(), |r| indices.iter().map(|&i| r.places[i]).collect())
    }

    /// One update on the bags `indices` with these weights in the loss. The loss stays on the device: it is
    /// written to place `keep` of the history.
    ///
    /// # Errors
    /// What the device answers.
    pub fn train_step(
        &mut self,
        bags: &Bags,
        indices: &[usize],
        weights: &[f32],
        resident: Option<&Resident>,
        (optimiser, rate): (&Optimiser, f64),
        keep: Option<u32>,
    ) -> Result<()> {
        self.set_batch(bags, indices, weights, resident)?;
        self.update(optimiser, rate, keep, &Self::sources(resident, indices))
    }

    fn update(&mut self, optimiser: &Optimiser, rate: f64, keep: Option<u32>, source: &[(StoreId, u64)]) -> Result<()> {
        let scalars = self.scalars(optimiser, rate);
        self.start_average(optimiser)?;
        self.run(Purpose::Train(*optimiser), scalars, keep, source)?;
        self.updates += 1;
        self.stale = true;
        Ok(())
    }

    /// The numbers of the next update.
    pub(crate) fn scalars(&self, optimiser: &Optimiser, rate: f64) -> Scalars {
        Scalars { seed: self.seed, ..optimiser.scalars(self.updates + 1, rate) }
    }

    /// Repeats the update of the last [`train_step`](Session::train_step) without packing or uploading its
    /// batch again; for benchmarks.
    ///
    /// # Errors
    /// What the device answers.
    pub fn repeat_step(&mut self, optimiser: &Optimiser, rate: f64) -> Result<()> {
        let id = self.prepare(Purpose::Train(*optimiser))?;
        let scalars = self.scalars(optimiser, rate);
        self.start_average(optimiser)?;
        self.executor.run(id, &Step { extent: self.batch.extent, scalars, uploads: &[], keep: &[] })?;
        self.updates += 1;
        self.stale = true;
        Ok(())
    }

    /// Loss, outputs and every gradient of one forward and backward pass over all of `bags`, as one packed
    /// batch. `weights` are those of the bags in the loss (1 / bags each when `None`); dropout is off.
    ///
    /// # Errors
    /// [`Error::Bags`] without labels, [`Error::Shape`] for a wrong width, and what the device answers.
    pub fn gradients(&mut self, bags: &Bags, weights: Option<&[f32]>) -> Result<Gradients> {
        if bags.labels.is_none() {
            return Err(Error::bags("gradients need a label for every bag"));
        }
        let even = vec![1.0 / bags.len() as f32; bags.len()];
        let indices: Vec<usize> = (0..bags.len()).collect();
        self.set_batch(bags, &indices, weights.unwrap_or(&even), None)?;
        let purpose = Purpose::Gradients { dropout: false };
        let id = self.run(purpose, Scalars::default(), None, &[])?;
        let program = self.executor.program(id).clone();
        let extent = self.batch.extent;
        let loss = self.executor.read(program.loss.expect("a loss"), 1)?[0];
        let mut outputs = BTreeMap::new();
        for (name, place, shape) in &program.outputs {
            let (rows, cols) = (shape.rows.of(&extent) as usize, shape.cols as usize);
            let values = self.executor.read(*place, rows * cols)?;
            outputs.insert(name.clone(), Tensor { shape: vec![rows, cols], values });
        }
        let total = self.model.layout().total;
        let flat = Place { buffer: BufferKey::Grads, offset: 0, bytes: total as u64 * 4 };
        let grads = self.executor.read(flat, total)?;
        let of = |p: &crate::model::ParamInfo| Tensor {
            shape: p.shape.clone(),
            values: grads[p.offset..p.offset + p.len()].to_vec(),
        };
        let parameters = self.model.parameters().iter().map(|p| (p.name.clone(), of(p))).collect();
        let instances = match program.feature_grad.filter(|_| self.instance_grads) {
            None => None,
            Some((place, shape)) => {
                let (rows, cols) = (shape.rows.of(&extent) as usize, shape.cols as usize);
                let values = self.executor.read(place, rows * cols)?;
                Some(Tensor { shape: vec![rows, cols], values })
            }
        };
        Ok(Gradients { loss, outputs, parameters, instances })
    }

    /// Outputs of the bags `indices`, by name, without labels or dropout.
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong width, and what the device answers.
    pub fn outputs(
        &mut self,
        bags: &Bags,
        indices: &[usize],
        resident: Option<&Resident>,
    ) -> Result<BTreeMap<String, Vec<f32>>> {
        self.set_batch(bags, indices, &vec![0.0; indices.len()], resident)?;
        let id = self.run(Purpose::Predict, Scalars::default(), None, &Self::sources(resident, indices))?;
        let wanted = self.executor.program(id).outputs.clone();
        let extent = self.batch.extent;
        let mut outputs = BTreeMap::new();
        for (name, place, shape) in wanted {
            let count = shape.rows.of(&extent) as usize * shape.cols as usize;
            outputs.insert(name, self.executor.read_f32(place, count)?);
        }
        Ok(outputs)
    }
}

/// Room for `extent`: what was asked for, but at least an eighth more than before, so that bags that grow
/// slowly do not replan at every step.
fn grown(old: Extent, extent: Extent) -> Extent {
    let size = |old: u32, new: u32| match new > old {
        true => new.max(old + old / 8),
        false => old,
    };
    Extent {
        instances: size(old.instances, extent.instances),
        bags: size(old.bags, extent.bags),
        tiles: size(old.tiles, extent.tiles),
    }
}

impl Session {
    pub(crate) fn model_classes(&self) -> usize {
        self.model.spec().classes.len()
    }

    /// True when the instance scores have a column for each class.
    pub(crate) fn scores_are_classes(&self) -> bool {
        !self.tape.outputs.iter().any(|(name, _)| name == crate::methods::ATTENTION_WEIGHTS)
    }

    /// True when each class has a sigmoid of its own.
    pub(crate) fn independent_classes(&self) -> bool {
        matches!(self.model.spec().method, crate::methods::Method::MiNet(_))
    }
}
