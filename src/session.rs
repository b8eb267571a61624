//! A session: one model on one device. It packs batches, runs the planned programs, and reads results.

mod batch;
mod classes;
mod front;
mod inputs;
#[cfg(test)]
mod label_set_tests;
mod passes;
mod precision;
mod ready;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod windowed;

use crate::bag::Bags;
use crate::class_match;
use crate::device::Device;
use crate::device::executor::{Executor, ProgramId, Step};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::kernels::launch::{BufferKey, Extent, Input, Place, Pseudo, Scalars};
use crate::methods::outputs_for;
use crate::model::{Model, ParamInfo};
use crate::ops::loss::Soft;
use crate::ops::update::Optimiser;
use crate::plan::{self, Purpose};
use crate::tape::{Columns, Link, Meaning, Role, Source, Storage, Tape, feature_stride};
use crate::target::Target;
pub use batch::extent_of;
use batch::{Batch, uploads};
use inputs::Inputs;
pub use inputs::Resident;
pub use state::SessionState;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use windowed::{Reading, Windows};

/// Outputs of a batch by name, row by row.
type Outputs = BTreeMap<String, Vec<f32>>;

/// A matrix read back from a device.
#[derive(Clone, Debug, Default, PartialEq)]
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

/// A number that no session has had.
fn next_number() -> u64 {
    static SESSIONS: AtomicU64 = AtomicU64::new(0);
    SESSIONS.fetch_add(1, Ordering::Relaxed)
}

/// One model on one device.
///
/// Programs are planned when first needed and for the largest batch seen or [reserved](Session::reserve);
/// after that a step creates nothing. A batch that exceeds a limit of the device, or the
/// [budget](Session::set_budget), runs in windows of rows where the method allows it; values of other methods that
/// exceed a binding are split into blocks of columns.
pub struct Session {
    /// Tells this session from others, whose stores hold other features.
    number: u64,
    device: Device,
    model: Model,
    tape: Tape,
    executor: Executor,
    storage: Storage,
    /// Columns of the features that it takes.
    width: usize,
    instance_grads: bool,
    programs: Vec<(Purpose, ProgramId)>,
    capacity: Extent,
    batch: Batch,
    windows: Option<Windows>,
    /// Instances from which on a batch did not fit whole.
    too_many: Option<u32>,
    /// Instances up to which no launch is too long for a GPU, by purpose.
    short: Vec<(Purpose, u32)>,
    /// Bytes of device memory that may be used.
    budget: Option<u64>,
    /// Bytes that may be bound at once, where that is less than the device can.
    binding: Option<u64>,
    /// Bytes of features that stay on the device.
    stored: u64,
    /// Parameters on the device are newer than the model's.
    stale: bool,
    seed: u64,
    updates: u64,
    /// Batches whose gradients wait for their update.
    pending: u32,
    /// Updates that had bags of each class, and the classes of the next one's, where parameters learn from one class.
    classes: classes::Classes,
    /// State that holds the moving average of the parameters, once there is one.
    average: Option<u8>,
    /// The epoch, which weights of terms of the loss follow; without one they are as at the end.
    epoch: Option<u32>,
    /// Updates that the training will take in all, where that is known.
    planned: Option<u64>,
}

impl Session {
    /// Puts `model` on `device`. `storage` is that of the features it will be given.
    ///
    /// # Errors
    /// What the device answers.
    pub fn new(device: &Device, model: Model, storage: Storage) -> Result<Self> {
        Self::with_instance_gradients(device, model, storage, false)
    }

    /// As [`Session::with_instance_gradients`], with softened targets in the loss of bags.
    ///
    /// # Errors
    /// As there; [`Error::Setting`] for a model whose loss has none to soften.
    pub fn softened(device: &Device, model: Model, storage: Storage, instance_grads: bool, soft: Soft) -> Result<Self> {
        model.check_finite()?;
        if storage == Storage::U32 {
            return Err(Error::setting("storage", "features are stored in F32 or F16, found U32"));
        }
        let tape = model.spec().record_soft(storage, instance_grads, soft)?;
        Self::on_tape(device, model, tape, storage, instance_grads)
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
        Self::softened(device, model, storage, instance_grads, Soft::default())
    }

    /// Of a model that was recorded.
    fn on_tape(device: &Device, model: Model, tape: Tape, storage: Storage, instance_grads: bool) -> Result<Self> {
        let mut batch = Batch::default();
        batch.tables.pseudo = tape.pseudo;
        let mut session = Self {
            number: next_number(),
            device: device.clone(),
            tape,
            executor: Executor::new(device),
            storage,
            width: model.spec().width,
            instance_grads,
            programs: Vec::new(),
            capacity: Extent::default(),
            batch,
            windows: None,
            too_many: None,
            short: Vec::new(),
            budget: None,
            binding: None,
            stored: 0,
            stale: false,
            seed: 0,
            updates: 0,
            pending: 0,
            classes: classes::Classes::default(),
            average: None,
            planned: None,
            epoch: None,
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

    /// How the model cuts bags into pseudo-bags, if it does.
    pub(crate) fn pseudo(&self) -> Option<Pseudo> {
        self.tape.pseudo
    }

    /// Sizes of a batch of these bags, without packing it.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no such bag.
    pub fn extent_of(&self, bags: &Bags, indices: &[usize]) -> Result<Extent> {
        batch::cut_extent(bags, indices, self.tape.pseudo)
    }

    /// Sizes of the batch that ran last.
    #[cfg(feature = "cli")]
    pub(crate) fn extent(&self) -> Extent {
        self.batch.tables.extent
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
        self.model.follower = None;
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
    /// [`Error::Shape`] for a snapshot of another model, [`Error::Setting`] for values that are not finite, and what the
    /// device answers.
    pub fn restore(&mut self, snapshot: &[f32]) -> Result<()> {
        if snapshot.len() != self.model.values.len() {
            return Err(Error::Shape {
                operation: "restore",
                expected: format!("a snapshot of this model, {} values", self.model.values.len()),
                found: format!("{} values", snapshot.len()),
            });
        }
        self.model.check_values(snapshot)?;
        self.model.values.copy_from_slice(snapshot);
        self.stale = false;
        self.executor.write(BufferKey::Params, 0, snapshot)
    }

    /// Answers as another model of the same network from now on, by the programs that there are.
    ///
    /// # Errors
    /// [`Error::Shape`] for a model of another network, [`Error::Setting`] for parameters that are not finite, and what the
    /// device answers.
    pub(crate) fn take_place(&mut self, model: Model) -> Result<()> {
        if !self.model.spec().is_network_of(model.spec()) {
            return Err(Error::Shape {
                operation: "take_place",
                expected: format!("a model of the same network, {:?}", self.model.spec()),
                found: format!("{:?}", model.spec()),
            });
        }
        model.check_finite()?;
        (self.model, self.stale) = (model, false);
        self.executor.write(BufferKey::Params, 0, &self.model.values)
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

    /// A whole buffer in the layout of the parameters, waiting for the device.
    fn read_flat(&mut self, buffer: BufferKey) -> Result<Vec<f32>> {
        let count = self.model.values.len();
        self.executor.read_f32(Place { buffer, offset: 0, bytes: count as u64 * 4 }, count)
    }

    /// The gradients that the device holds, by the names of the parameters, divided by `scale`; waits for the device.
    fn read_gradients(&mut self, scale: f64) -> Result<BTreeMap<String, Tensor>> {
        let total = self.model.layout().total;
        let flat = Place { buffer: BufferKey::Grads, offset: 0, bytes: total as u64 * 4 };
        let grads = self.executor.read(flat, total)?;
        let of = |p: &ParamInfo| Tensor {
            shape: p.shape.clone(),
            values: grads[p.offset..p.offset + p.len()].iter().map(|g| g / scale).collect(),
        };
        Ok(self.model.parameters().iter().filter(|p| p.trained).map(|p| (p.name.clone(), of(p))).collect())
    }

    fn fetch(&mut self) -> Result<()> {
        if self.stale {
            let values = self.read_flat(BufferKey::Params)?;
            // Not every device carries a NaN on to the loss: some take the largest of NaN and 0 for 0.
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                let layout = self.model.layout();
                let parameter = layout.offsets.partition_point(|&first| first <= at) - 1;
                let parameter = self.tape.params[parameter].name.clone();
                return Err(Error::Diverged { parameter, updates: self.updates });
            }
            self.model.values = values;
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
        if self.programs.iter().any(|(p, _)| p.optimiser().is_some()) || self.windows.is_some() {
            self.write_groups()?;
        }
        self.replan()
    }

    fn replan(&mut self) -> Result<()> {
        for (purpose, id) in self.programs.clone() {
            let program = plan::plan(&self.tape, purpose, self.target(), self.capacity)?;
            self.executor.reload(id, program)?;
        }
        self.replan_windows()
    }

    fn write_groups(&mut self) -> Result<()> {
        for (key, words) in
            [(BufferKey::Groups, self.tape.group_runs()), (BufferKey::GroupTable, self.tape.whole_group_table())]
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
        self.ensure_flat(Purpose::Train(*optimiser))?;
        self.fetch()?;
        let state = wanted.map(BufferKey::State).expect("one is wanted");
        self.executor.write(state, 0, &self.model.values)?;
        self.average = wanted;
        Ok(())
    }

    /// The model with the moving average of its trained parameters; `None` when no update kept one.
    ///
    /// # Errors
    /// What the device answers.
    pub fn average(&mut self) -> Result<Option<Model>> {
        let Some(state) = self.average else { return Ok(None) };
        let averages = self.read_flat(BufferKey::State(state))?;
        self.fetch()?;
        let mut model = self.model.clone();
        // Only what is trained has an average; the rest is as it is now.
        for info in self.model.parameters().iter().filter(|p| p.trained) {
            let range = info.offset..info.offset + info.len();
            model.values[range.clone()].copy_from_slice(&averages[range]);
        }
        Ok(Some(model))
    }

    /// Bytes of a feature on the device.
    fn element(&self) -> u64 {
        if self.storage == Storage::F16 { 2 } else { 4 }
    }

    fn check_width(&self, bags: &Bags) -> Result<()> {
        let width = self.width;
        if bags.width != width {
            return Err(Error::Shape {
                operation: "features",
                expected: format!("instances of {width} features, which the model was made for"),
                found: format!("{} features", bags.width),
            });
        }
        Ok(())
    }

    /// Lays out the bags as the batch of the next run, and packs them unless they will run in windows, which it
    /// answers. `weights` are those of the bags in the loss; unlabelled bags count as class 0, which prediction
    /// does not look at.
    fn set_batch(&mut self, purpose: Purpose, inputs: &Inputs, weights: &[f32]) -> Result<bool> {
        let Inputs { bags, indices, resident, .. } = *inputs;
        self.check_labels(bags, indices, purpose.has_loss())?;
        let classes = self.model_classes();
        self.batch.tables.lay_out(inputs.sizes());
        if self.model.spec().target.is_label_sets() {
            let sets = indices.iter().map(|&i| bags.label_sets.as_ref().map(|sets| sets.bag(i)));
            self.batch.set_label_sets(sets, classes, weights);
        } else if self.model.spec().target != Target::Classes {
            self.batch.set_target(self.model.spec(), bags, indices, weights);
        } else {
            let label = |i: usize| bags.label(i).unwrap_or(0);
            let outputs = self.tape.logits().map_or(outputs_for(classes), |(logits, _)| self.tape.cols(logits));
            self.batch.set_labels(indices.iter().map(|&i| label(i)), classes as u32, outputs);
            self.batch.weights.clear();
            self.batch.weights.extend_from_slice(weights);
        }
        self.batch.set_pseudo_bags();
        self.batch.coords.clear();
        if self.tape.values.iter().any(|v| v.source == Source::Input(Input::Coords)) {
            let missing = "the model looks at the places of instances, and these bags have no coordinates: expected \
                           coords.npy [instances, 2] in the folder of the data (Bags::coords from Rust)";
            let coords = bags.coords.as_ref().ok_or_else(|| Error::bags(missing))?;
            inputs.runs().for_each(|rows| self.batch.coords.extend(coords[rows].as_flattened()));
        }
        self.batch.tables.extent = self.counted(self.batch.tables.extent);
        let windows = self.make_ready(purpose, self.batch.tables.extent)?;
        if resident.is_none() && !windows {
            self.batch.rows.pack(bags, self.storage, inputs.runs())?;
        }
        Ok(windows)
    }

    /// Refuses bags whose labels are not of the model's kind or number, or unlabelled ones where the model `learns`.
    fn check_labels(&self, bags: &Bags, indices: &[usize], learns: bool) -> Result<()> {
        let spec = self.model.spec();
        class_match::check_kind(bags, &spec.classes, &spec.target)?;
        let classes = spec.classes.len();
        if let Some(sets) = bags.label_sets.as_ref().filter(|sets| sets.labels() != classes) {
            let found = sets.labels();
            return Err(Error::bags(format!("the bags have sets of {found} labels, the model has {classes}")));
        }
        let wrong = |bag: &usize| match bags.label(*bag) {
            Some(label) if label as usize >= classes => Some(format!("label {label}")),
            _ if learns && bags.has_labels() && !bags.is_labelled(*bag) => Some("no label".into()),
            _ => None,
        };
        if let Some((bag, label)) = indices.iter().find_map(|bag| Some((bag, wrong(bag)?))) {
            return Err(Error::bags(format!("bag {bag} has {label}, the model has {classes} classes")));
        }
        Ok(())
    }

    /// Runs the batch that was set. Reads what it gave when `reading` is there.
    fn run(
        &mut self,
        purpose: Purpose,
        mut scalars: Scalars,
        keep: Option<u32>,
        (inputs, windows): (&Inputs, bool),
        reading: Option<&mut Reading>,
    ) -> Result<()> {
        scalars.seed = self.seed_of(purpose);
        // What is compared between epochs is the loss with the weights of the end.
        let epoch = self.epoch.filter(|_| purpose != Purpose::Evaluate);
        scalars.term_weights = self.tape.moving_weights(epoch);
        if windows {
            return self.run_windows(purpose, scalars, keep, inputs, reading);
        }
        let id = self.prepare(purpose)?;
        let places = inputs.resident.map(|r| inputs.indices.iter().map(|&i| r.places[i]).collect::<Vec<_>>());
        let row = feature_stride(self.width) as u64 * self.element();
        let program = self.executor.program(id);
        let mut uploads = uploads(program, &self.batch, self.storage, row, places.as_deref().unwrap_or(&[]))?;
        uploads.extend(purpose.optimiser().and_then(|_| self.classes.upload()));
        let kept = keep.map(|at| (program.loss.expect("a training program has a loss"), 1, at));
        let (loss, feature_grad) = (program.loss, program.feature_grad.filter(|_| self.instance_grads));
        let extent = self.batch.tables.extent;
        self.executor.run(id, &Step { extent, scalars, uploads: &uploads, keep: kept.as_slice() })?;
        let Some(reading) = reading else { return Ok(()) };
        self.read_outputs(id, &extent, reading)?;
        if purpose.has_loss() {
            reading.loss = Some(self.executor.read(loss.expect("a loss"), 1)?[0]);
            if let Some((place, shape)) = feature_grad {
                let shape = vec![shape.rows.of(&extent) as usize, shape.cols as usize];
                let values = self.executor.read(place, shape[0] * shape[1])?;
                reading.instances = Some(Tensor { shape, values });
            }
        }
        Ok(())
    }

    /// Loss, outputs and every gradient of one forward and backward pass over all of `bags`, as one packed
    /// batch. `weights` are those of the bags in the loss (1 / bags each when `None`); dropout is off.
    ///
    /// # Errors
    /// [`Error::Bags`] without labels, [`Error::Shape`] for a wrong width, and what the device answers.
    ///
    /// Where a step leaves rows out of the bags before its update, they are whole here;
    /// [`masked_gradients`](Session::masked_gradients) gives those of a step.
    pub fn gradients(&mut self, bags: &Bags, weights: Option<&[f32]>) -> Result<Gradients> {
        Ok(self.gradients_of(bags, weights, false)?.0)
    }

    /// As [`gradients`](Session::gradients), of what the next update would keep of the bags; and the rows of each
    /// bag that are kept (`None` where nothing is masked). Outputs and gradients of instances are those of kept rows.
    ///
    /// # Errors
    /// As [`gradients`](Session::gradients).
    pub fn masked_gradients(
        &mut self,
        bags: &Bags,
        weights: Option<&[f32]>,
    ) -> Result<(Gradients, Option<Vec<Vec<usize>>>)> {
        self.gradients_of(bags, weights, true)
    }

    fn gradients_of(
        &mut self,
        bags: &Bags,
        weights: Option<&[f32]>,
        masked: bool,
    ) -> Result<(Gradients, Option<Vec<Vec<usize>>>)> {
        if !bags.has_labels() {
            return Err(Error::bags("gradients need a label for every bag"));
        }
        self.check_none_pending("gradients")?;
        let even = vec![1.0 / bags.len() as f32; bags.len()];
        let indices: Vec<usize> = (0..bags.len()).collect();
        let purpose = Purpose::Gradients { dropout: false };
        let whole = Inputs::of(bags, &indices, None);
        self.check_inputs(&whole, weights)?;
        let kept = self.before_update(purpose, &whole, masked)?;
        let inputs = Inputs { kept: kept.as_deref(), ..whole };
        let windows = self.set_batch(purpose, &inputs, weights.unwrap_or(&even))?;
        let mut reading = Reading::default();
        self.run(purpose, Scalars::default(), None, (&inputs, windows), Some(&mut reading))?;
        let parameters = self.read_gradients(1.0)?;
        let Reading { outputs, loss, instances } = reading;
        Ok((Gradients { loss: loss.expect("a loss was read"), outputs, parameters, instances }, kept))
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
        let inputs = Inputs::of(bags, indices, resident);
        self.check_inputs(&inputs, None)?;
        self.look(Purpose::Predict, inputs, &vec![0.0; indices.len()]).map(|(all, _)| all)
    }

    /// As [`outputs`](Session::outputs), of bags with labels, and the loss that training would have of them without
    /// dropout or masks: the whole objective of the method, with `weights` of the bags.
    ///
    /// # Errors
    /// [`Error::Bags`] without labels, and as [`outputs`](Session::outputs).
    pub fn outputs_and_loss(
        &mut self,
        bags: &Bags,
        indices: &[usize],
        weights: &[f32],
        resident: Option<&Resident>,
    ) -> Result<(BTreeMap<String, Vec<f32>>, f64)> {
        if !bags.has_labels() {
            return Err(Error::bags("a loss needs a label for every bag"));
        }
        let inputs = Inputs::of(bags, indices, resident);
        self.check_inputs(&inputs, Some(weights))?;
        self.before_update(Purpose::Evaluate, &inputs, false)?;
        let (outputs, loss) = self.look(Purpose::Evaluate, inputs, weights)?;
        Ok((outputs, loss.expect("a loss was read")))
    }

    fn look(&mut self, purpose: Purpose, inputs: Inputs, weights: &[f32]) -> Result<(Outputs, Option<f64>)> {
        let windows = self.set_batch(purpose, &inputs, weights)?;
        let mut reading = Reading::default();
        self.run(purpose, Scalars::default(), None, (&inputs, windows), Some(&mut reading))?;
        let narrow = |t: Tensor| t.values.into_iter().map(|v| v as f32).collect();
        Ok((reading.outputs.into_iter().map(|(name, t)| (name, narrow(t))).collect(), reading.loss))
    }
}

impl Session {
    pub(crate) fn model_classes(&self) -> usize {
        self.model.spec().classes.len()
    }

    /// What the model learns of bags.
    pub fn learns(&self) -> &Target {
        &self.model.spec().target
    }

    /// How the logits of the bags become probabilities; none of an encoder that has no classes.
    pub fn link(&self) -> Option<Link> {
        self.tape.logits().map(|(_, link)| link)
    }

    /// How the columns of output `name` become one.
    pub(crate) fn columns(&self, name: &str) -> Columns {
        self.tape.columns(name).unwrap_or(Columns::Heads)
    }

    /// What the scores of the instances say.
    pub fn scores_are(&self) -> Meaning {
        self.tape.scores_are().unwrap_or_default()
    }

    /// What the model tells of instances and bags besides, by the names of the outputs.
    pub(crate) fn told(&self) -> impl Iterator<Item = (&str, Role)> {
        let told = |role| matches!(role, Role::OfInstances(_) | Role::OfBags(_));
        self.tape.outputs.iter().filter(move |o| told(o.role)).map(|o| (o.name.as_str(), o.role))
    }
}
