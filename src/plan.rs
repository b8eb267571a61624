//! The plan: what a tape becomes for one device and one purpose. It adds the backward work that is needed,
//! finds last uses, assigns pooled slots, and yields launches whose buffers are fixed.

mod assemble;
pub mod columns;
pub mod windows;

pub use crate::kernels::target::{Class, Family, PlanAs, Target};

use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::launch::{BufferKey, Dim, Extent, Grid, Launch, Place, Scalar, Variant, Word};
use crate::ops::update::Optimiser;
use crate::tape::{Shape, Source, Storage, Tape, Value, ValueId};

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Purpose {
    /// Outputs only; dropout off.
    Predict,
    /// Outputs and loss; dropout off.
    Evaluate,
    /// Outputs, loss and every gradient; dropout as in training when `dropout`.
    Gradients {
        /// Draw dropout masks.
        dropout: bool,
    },
    /// Gradients of given outputs weighted by gradients from outside (output index in the tape's list).
    Upstream,
    /// Gradients, then one update of the parameters.
    Train(Optimiser),
    /// The gradients of [`Purpose::Train`] without its update.
    Accumulate {
        /// They take the place of those that are there; else they are added.
        first: bool,
    },
    /// The update of [`Purpose::Train`] alone, by the gradients that are there.
    Update(Optimiser),
    /// A forward pass before an update (see [`crate::passes::Look`]).
    Look {
        /// Its number among those of the step.
        number: u8,
        /// Draw dropout masks.
        dropout: bool,
    },
}

impl Purpose {
    /// True when no gradient is computed or looked at.
    pub fn only_forward(&self) -> bool {
        matches!(self, Purpose::Predict | Purpose::Evaluate | Purpose::Look { .. })
    }

    /// True when the loss is computed.
    pub fn has_loss(&self) -> bool {
        matches!(self, Purpose::Evaluate | Purpose::Gradients { .. }) || self.learns()
    }

    /// True when a batch is learnt from: dropout is on, running statistics follow the batch, the loss is scaled in mixed
    /// precision, and outputs that the loss does not need are left out.
    pub fn learns(&self) -> bool {
        matches!(self, Purpose::Train(_) | Purpose::Accumulate { .. })
    }

    /// What moves the parameters at the end, if anything does.
    pub fn optimiser(&self) -> Option<&Optimiser> {
        match self {
            Purpose::Train(optimiser) | Purpose::Update(optimiser) => Some(optimiser),
            _ => None,
        }
    }

    fn draws_dropout(&self) -> bool {
        self.learns() || matches!(self, Purpose::Gradients { dropout: true } | Purpose::Look { dropout: true, .. })
    }
}

/// Launches with fixed buffers, for one tape, device class and capacity.
#[derive(Clone, Debug)]
pub struct Program {
    /// In order.
    pub launches: Vec<Launch>,
    /// Bytes of each pooled slot.
    pub slots: Vec<u64>,
    /// The capacity it was planned for.
    pub capacity: Extent,
    /// Place, shape and storage of each named output.
    pub outputs: Vec<(String, Place, Shape)>,
    /// Place of the loss.
    pub loss: Option<Place>,
    /// Place of the gradient of the instance features, when it was asked for.
    pub feature_grad: Option<(Place, Shape)>,
    /// Bytes of each input the program reads.
    pub inputs: Vec<(BufferKey, u64)>,
}

impl Program {
    /// Bytes of intermediate values at full capacity.
    pub fn slot_bytes(&self) -> u64 {
        self.slots.iter().sum()
    }
}

/// A launch whose bindings are still values.
struct Draft {
    kernel: &'static Kernel,
    variant: Variant,
    operands: Vec<Operand>,
    words: Vec<Word>,
    grid: Grid,
}

/// What a launch binds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// A value, whole.
    Value(ValueId),
    /// Rows of a value: the first, and how many at most.
    Rows(ValueId, u32, u32),
    /// The gradient segment of parameter n.
    ParamGrad(u32),
    /// A flat buffer, whole.
    Flat(BufferKey),
}

impl From<ValueId> for Operand {
    fn from(v: ValueId) -> Self {
        Operand::Value(v)
    }
}

impl Operand {
    /// The value, of one that is bound whole.
    pub(crate) fn value(self) -> Option<ValueId> {
        if let Operand::Value(v) = self { Some(v) } else { None }
    }
}

/// Where a backward rule writes a gradient.
#[derive(Clone, Copy, Debug)]
pub struct GradTarget {
    /// The buffer.
    pub to: Operand,
    /// True when something is there already and must be added to.
    pub accumulate: bool,
}

/// What operation rules write launches into.
pub struct Planner<'a> {
    tape: &'a Tape,
    /// The device planned for.
    pub target: Target,
    /// True when dropout masks are drawn.
    pub dropout: bool,
    /// True when the model learns: running statistics then follow the batch.
    pub training: bool,
    /// The capacity planned for.
    pub capacity: Extent,
    values: Vec<Value>,
    drafts: Vec<Draft>,
    /// Gradient of each value, once something was written to it.
    grads: Vec<Option<ValueId>>,
    param_written: Vec<bool>,
    /// Inputs whose gradient the rule that goes backward has asked for.
    asked: Vec<ValueId>,
    /// The first operation that was asked for a gradient of an input, and gives none.
    dropped: Option<(&'static str, usize)>,
    dense: Vec<Option<ValueId>>,
    /// Values that are another value under a new name (dropout that is off).
    alias: Vec<(ValueId, ValueId)>,
}

impl<'a> Planner<'a> {
    fn new(tape: &'a Tape, purpose: Purpose, target: Target, capacity: Extent) -> Self {
        Self {
            tape,
            target,
            dropout: purpose.draws_dropout(),
            training: purpose.learns(),
            capacity,
            values: tape.values.clone(),
            drafts: Vec::new(),
            grads: vec![None; tape.values.len()],
            param_written: vec![false; tape.params.len()],
            asked: Vec::new(),
            dropped: None,
            dense: vec![None; tape.values.len()],
            alias: Vec::new(),
        }
    }

    /// Description of a value.
    pub fn value(&self, id: ValueId) -> Value {
        self.values[id.index()]
    }

    /// Lets `output` stand for `input`: nothing is computed or copied.
    pub fn alias(&mut self, output: ValueId, input: ValueId) {
        let input = self.resolve(input);
        let (shape, storage, stride) = {
            let v = self.value(input);
            (v.shape, v.storage, v.stride)
        };
        let value = &mut self.values[output.index()];
        (value.shape, value.storage, value.stride) = (shape, storage, stride);
        self.alias.push((output, input));
    }

    fn resolve(&self, id: ValueId) -> ValueId {
        self.alias.iter().find(|(o, _)| *o == id).map_or(id, |(_, i)| *i)
    }

    /// True when the factors of products are rounded to f16.
    pub fn rounds(&self) -> bool {
        self.tape.mixed.is_some()
    }

    /// The groups of the parameters.
    pub fn groups(&self) -> &crate::groups::Groups {
        &self.tape.groups
    }

    /// Rows of a value.
    pub fn rows(&self, id: ValueId) -> Dim {
        self.value(id).shape.rows
    }

    /// Columns of a value.
    pub fn cols(&self, id: ValueId) -> u32 {
        self.value(id).shape.cols
    }

    /// Rows of a value that one binding holds, a multiple of 64 so that every window of as many starts where a binding
    /// may; `None` where it holds all of them, or not even that many.
    pub(crate) fn rows_in_binding(&self, operand: Operand) -> Option<u32> {
        let value = self.value(operand.value()?);
        let row = assemble::row_bytes(&value);
        let most = (self.target.max_binding / row.max(1)) as u32 / 64 * 64;
        (most > 0 && value.shape.rows.of(&self.capacity) as u64 * row > self.target.max_binding).then_some(most)
    }

    /// Scratch of the given shape; its memory is returned to the pool after its last use.
    pub fn temp(&mut self, rows: Dim, cols: u32) -> ValueId {
        self.push_value(Shape::new(rows, cols), Storage::F32)
    }

    /// Scratch for indices.
    pub fn temp_index(&mut self, rows: Dim, cols: u32) -> ValueId {
        self.push_value(Shape::new(rows, cols), Storage::U32)
    }

    fn push_value(&mut self, shape: Shape, storage: Storage) -> ValueId {
        self.push_from(shape, storage, Source::Node)
    }

    fn push_from(&mut self, shape: Shape, storage: Storage, source: Source) -> ValueId {
        self.values.push(Value { shape, storage, stride: shape.cols, source, needs_grad: false });
        self.grads.push(None);
        self.dense.push(None);
        ValueId(self.values.len() as u32 - 1)
    }

    /// Adds a launch.
    pub fn launch(&mut self, kernel: &'static Kernel, operands: &[Operand], words: &[Word], grid: Grid) {
        self.launch_variant(kernel, Vec::new(), operands, words, grid);
    }

    /// Adds a launch of a variant.
    pub fn launch_variant(
        &mut self,
        kernel: &'static Kernel,
        variant: Variant,
        operands: &[Operand],
        words: &[Word],
        grid: Grid,
    ) {
        assert_eq!(operands.len(), kernel.bindings.len(), "{}: number of bindings", kernel.name);
        assert_eq!(words.len(), kernel.words, "{}: number of parameter words", kernel.name);
        let operands = operands.iter().map(|o| match *o {
            Operand::Value(v) => Operand::Value(self.resolve(v)),
            Operand::Rows(v, first, count) => Operand::Rows(self.resolve(v), first, count),
            other => other,
        });
        let operands = operands.collect();
        self.drafts.push(Draft { kernel, variant, operands, words: words.to_vec(), grid });
    }

    /// The gradient that reached an output of a node, if any did.
    pub fn upstream(&self, output: ValueId) -> Option<ValueId> {
        self.grads[output.index()]
    }

    /// Where to write the gradient of `input`; `None` when nobody needs it.
    pub fn grad(&mut self, input: ValueId) -> Option<GradTarget> {
        let value = self.value(input);
        if !value.needs_grad {
            return None;
        }
        self.asked.push(input);
        if let Source::Param(index) = value.source {
            let accumulate = std::mem::replace(&mut self.param_written[index as usize], true);
            return Some(GradTarget { to: Operand::ParamGrad(index), accumulate });
        }
        if let Some(grad) = self.grads[input.index()] {
            return Some(GradTarget { to: grad.into(), accumulate: true });
        }
        let source = match value.source {
            Source::Kept(BufferKey::Carry(n)) => Source::Kept(BufferKey::CarryGrad(n)),
            _ => Source::Node,
        };
        let grad = self.push_from(value.shape, Storage::F32, source);
        self.grads[input.index()] = Some(grad);
        Some(GradTarget { to: grad.into(), accumulate: false })
    }

    /// Says that the gradient of `input` is zero, so that nothing has to be written.
    pub fn zero_grad(&mut self, input: ValueId) {
        self.asked.push(input);
    }

    /// True when some gradient of `input` is wanted.
    pub fn wants(&self, input: ValueId) -> bool {
        self.value(input).needs_grad
    }

    /// `value` as dense f32 rows; features in f16 or at a stride are unpacked once.
    pub fn dense(&mut self, value: ValueId) -> ValueId {
        let value = self.resolve(value);
        let described = self.value(value);
        if described.storage != Storage::F16 && described.stride == described.shape.cols {
            return value;
        }
        if let Some(dense) = self.dense[value.index()] {
            return dense;
        }
        let dense = self.temp(described.shape.rows, described.shape.cols);
        crate::ops::matmul::unpack(self, value, dense);
        self.dense[value.index()] = Some(dense);
        dense
    }
}

/// Plans `tape` for `purpose` on `target`, for batches up to `capacity`.
///
/// # Errors
/// [`crate::Error::Limit`] when a value at full capacity exceeds what the device can bind, [`crate::Error::Setting`] for
/// a purpose that the tape has no loss or no pass for.
pub fn plan(tape: &Tape, purpose: Purpose, target: Target, capacity: Extent) -> Result<Program> {
    let lacks = |what: &str| Err(Error::setting("model", format!("it has no {what}, which this needs")));
    match purpose {
        _ if purpose.has_loss() && tape.loss.is_none() && purpose != Purpose::Evaluate => return lacks("loss"),
        Purpose::Look { number, .. } if tape.passes.looks.len() <= number as usize => return lacks("such pass"),
        _ => {}
    }
    let mut planner = Planner::new(tape, purpose, target, capacity);
    let needed = needed_nodes(tape, purpose);
    forward(&mut planner, tape, &needed);
    let mut upstream_keys = Vec::new();
    match purpose {
        Purpose::Predict | Purpose::Evaluate | Purpose::Look { .. } | Purpose::Update(_) => {}
        Purpose::Upstream => {
            for (n, value) in tape.outputs.iter().map(|o| &o.value).enumerate() {
                if !planner.wants(*value) {
                    continue;
                }
                let shape = planner.value(*value).shape;
                // A copy that backward rules may overwrite.
                let seed = planner.push_value(shape, Storage::F32);
                let key = BufferKey::Upstream(n as u8);
                upstream_keys.push((seed, key));
                planner.grads[value.index()] = Some(seed);
            }
            backward(&mut planner, tape, &needed);
        }
        Purpose::Gradients { .. } | Purpose::Train(_) | Purpose::Accumulate { .. } => {
            if purpose == (Purpose::Accumulate { first: false }) {
                planner.param_written.fill(true);
            }
            seed_loss(&mut planner, tape, purpose);
            backward(&mut planner, tape, &needed);
        }
    }
    if !purpose.only_forward() && !matches!(purpose, Purpose::Update(_)) {
        crate::ops::update::clear_unused(&mut planner);
    }
    update(&mut planner, tape, purpose);
    assemble::assemble(planner, purpose, &upstream_keys)
}

fn forward(planner: &mut Planner, tape: &Tape, needed: &[bool]) {
    for (node, _) in tape.nodes.iter().zip(needed).filter(|(_, n)| **n) {
        node.op.rule().forward(planner, node);
    }
}

/// The gradient of the loss for itself.
fn seed_loss(planner: &mut Planner, tape: &Tape, purpose: Purpose) {
    let loss = tape.loss.expect("a model that trains has a loss");
    let one = planner.push_value(Shape::new(Dim::Fixed(1), 1), Storage::F32);
    match tape.mixed.filter(|_| purpose.learns()) {
        Some(scale) => crate::ops::scaling::seed(planner, one, &scale),
        None => crate::ops::pointwise::fill(planner, one, 1.0),
    }
    planner.grads[loss.index()] = Some(one);
}

/// The update of all parameters, when the purpose has one.
fn update(planner: &mut Planner, tape: &Tape, purpose: Purpose) {
    let Some(optimiser) = purpose.optimiser() else { return };
    let total = tape.param_layout().total;
    let table = match &tape.mixed {
        Some(scale) => crate::ops::scaling::judge(planner, scale, total),
        None => Operand::Flat(BufferKey::GroupTable),
    };
    crate::ops::update::update(planner, optimiser, total, table);
    if tape.passes.follower.is_some() {
        crate::ops::update::follow(planner, total, BufferKey::Follower, Scalar::FollowWeight);
    }
}

fn backward(planner: &mut Planner, tape: &Tape, needed: &[bool]) {
    for (node, _) in tape.nodes.iter().zip(needed).rev().filter(|(_, n)| **n) {
        let reached = node.outputs.iter().any(|o| planner.upstream(*o).is_some());
        let wanted = node.inputs.iter().any(|i| planner.wants(*i));
        if reached && wanted {
            planner.asked.clear();
            node.op.rule().backward(planner, node);
            // A gradient that is wanted is given or refused, never dropped.
            let dropped = |i: &usize| planner.wants(node.inputs[*i]) && !planner.asked.contains(&node.inputs[*i]);
            if let Some(input) = (0..node.inputs.len()).find(dropped) {
                planner.dropped.get_or_insert((node.op.rule().name(), input));
            }
        }
    }
}

/// A node runs when an output that is asked for depends on it. The loss is asked for where it is computed.
///
/// Training asks for the loss alone: outputs that it does not need, such as instance scores, cost nothing.
fn needed_nodes(tape: &Tape, purpose: Purpose) -> Vec<bool> {
    let mut wanted = vec![false; tape.values.len()];
    if matches!(purpose, Purpose::Update(_)) {
        return vec![false; tape.nodes.len()];
    }
    if !purpose.learns() {
        outputs(tape, purpose).iter().for_each(|(_, v)| wanted[v.index()] = true);
    }
    if let Some(loss) = tape.loss.filter(|_| purpose.has_loss()) {
        wanted[loss.index()] = true;
    }
    needed(tape, wanted)
}

/// The name of a value of a look.
pub(crate) fn looked_at(value: usize) -> String {
    format!("value {value}")
}

/// The name of a term of the loss among the outputs of an evaluation.
pub fn term_output(name: &str) -> String {
    format!("loss: {name}")
}

/// What can be read of a program by name.
fn outputs(tape: &Tape, purpose: Purpose) -> Vec<(String, ValueId)> {
    match purpose {
        Purpose::Look { number, .. } => {
            let values = tape.passes.looks[number as usize].values.iter().enumerate();
            values.map(|(n, value)| (looked_at(n), *value)).collect()
        }
        _ => {
            let outputs = tape.outputs.iter().map(|o| (o.name.clone(), o.value));
            // Of one term the loss tells all.
            let told = purpose == Purpose::Evaluate && tape.objectives.len() > 1;
            let terms = tape.objectives.iter().filter(|_| told).map(|o| (term_output(&o.name), o.value));
            outputs.chain(terms).collect()
        }
    }
}

/// The nodes that values depend on.
fn needed(tape: &Tape, mut wanted: Vec<bool>) -> Vec<bool> {
    let mut needed = vec![false; tape.nodes.len()];
    for (n, node) in tape.nodes.iter().enumerate().rev() {
        needed[n] = node.outputs.iter().any(|o| wanted[o.index()]);
        if needed[n] {
            node.inputs.iter().for_each(|i| wanted[i.index()] = true);
        }
    }
    needed
}

impl Planner<'_> {
    /// Values of parameter n.
    pub fn param_len(&self, param: u32) -> u32 {
        let param = &self.tape.params[param as usize];
        param.rows * param.cols
    }

    /// Parameters no launch has written a gradient of (unused ones, or frozen by the graph).
    pub fn unwritten_params(&self) -> Vec<u32> {
        (0..self.param_written.len() as u32).filter(|&p| !self.param_written[p as usize]).collect()
    }
}
