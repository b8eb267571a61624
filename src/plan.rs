//! The plan: what a tape becomes for one device and one purpose. It adds the backward work that is needed,
//! finds last uses, assigns pooled slots, and yields launches whose buffers are fixed.

mod assemble;
pub mod columns;
pub mod windows;

pub use crate::kernels::target::{Class, Family, PlanAs, Reductions, Target};

use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Dim, Extent, Launch, Place, Scalar};
use crate::ops::update::{self, Optimiser};
use crate::planner::{Mode, Operand, Planner};
use crate::tape::{Shape, Storage, Tape, ValueId};

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
    let mut planner = planner(tape, purpose, target, capacity);
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
                planner.add_to_all_params();
            }
            seed_loss(&mut planner, tape, purpose);
            backward(&mut planner, tape, &needed);
        }
    }
    if !purpose.only_forward() && !matches!(purpose, Purpose::Update(_)) {
        update::clear_unused(&mut planner);
    }
    step(&mut planner, tape, purpose);
    assemble::assemble(planner, tape, purpose, &upstream_keys)
}

/// A planner for the values and parameters of `tape`.
fn planner(tape: &Tape, purpose: Purpose, target: Target, capacity: Extent) -> Planner {
    let mode = Mode { dropout: purpose.draws_dropout(), training: purpose.learns(), rounds: tape.mixed.is_some() };
    let params = tape.params.iter().map(|param| param.rows * param.cols).collect();
    Planner::new(&tape.values, params, mode, target, capacity)
}

fn forward(planner: &mut Planner, tape: &Tape, needed: &[bool]) {
    for (node, _) in tape.nodes.iter().zip(needed).filter(|(_, n)| **n) {
        node.op.rule().forward(planner, node.io());
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
fn step(planner: &mut Planner, tape: &Tape, purpose: Purpose) {
    let Some(optimiser) = purpose.optimiser() else { return };
    let total = tape.param_layout().total;
    let table = match &tape.mixed {
        Some(scale) => crate::ops::scaling::judge(planner, scale, total, tape.group_table_len() as u32),
        None => Operand::Flat(BufferKey::GroupTable),
    };
    let limits = tape.groups.limits(optimiser.clip_norm, optimiser.second.and_then(|s| s.clip_norm));
    let clip = update::Clip { limits: &limits, by_group: tape.groups.several_norms() };
    update::update(planner, optimiser, total, table, clip);
    for (param, least) in tape.floors() {
        crate::ops::pointwise::raise(planner, *param, *least);
    }
    if tape.passes.follower.is_some() {
        update::follow(planner, total, BufferKey::Follower, Scalar::FollowWeight);
    }
}

fn backward(planner: &mut Planner, tape: &Tape, needed: &[bool]) {
    for (node, _) in tape.nodes.iter().zip(needed).rev().filter(|(_, n)| **n) {
        let reached = node.outputs.iter().any(|o| planner.upstream(*o).is_some());
        let wanted = node.inputs.iter().any(|i| planner.wants(*i));
        if reached && wanted {
            planner.start_backward();
            node.op.rule().backward(planner, node.io());
            planner.end_backward(node.op.rule().name(), &node.inputs);
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

/// What stands before the name of a term of the loss among the outputs of an evaluation.
pub const TERM: &str = "loss: ";

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
            let terms = tape.objectives.iter().filter(|_| told).map(|o| (format!("{TERM}{}", o.name), o.value));
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
