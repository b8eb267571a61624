//! The tape: values and nodes as plain data. Model code only pushes nodes; nothing is computed here.

pub mod front;

use crate::error::{Error, Result};
use crate::kernels::launch::{Dim, Input, Pseudo};
use crate::ops::{Op, Recorder};
use serde::Serialize;

pub use crate::value::{Io, Shape, Source, Storage, Value, ValueId};

/// How the logits of a bag become probabilities. The method says so; the loss, predictions, metrics and reports go by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Link {
    /// One logit of two classes: its sigmoid is the probability of the second.
    #[default]
    Sigmoid,
    /// A logit for each class, of which a bag has exactly one: softmax.
    Softmax,
    /// A sigmoid for each class, which know nothing of each other. With one logit less than classes the first class is
    /// a bag that has none of the others.
    IndependentSigmoids,
    /// A logit for each class but the first, of classes in an order: its sigmoid is the probability of that class or a
    /// later one.
    Ordered,
    /// One output, which is a number or a log-risk and no logit: there are no classes.
    Value,
    /// A logit for each interval of time, whose sigmoid is the hazard in it: there are no classes.
    Hazards,
}

impl Link {
    /// Appends a probability for each of `classes` classes to `out`.
    ///
    /// Where the first class has no logit, its probability is what the largest of the others leaves: it is the most
    /// likely one where all others are below 0.5.
    ///
    /// Of classes in an order, a later class is never taken for more probable than an earlier one or later: the sigmoids
    /// count up to the smallest so far. Where there are no classes there are no probabilities.
    ///
    /// # Panics
    /// When there are not as many logits as the link needs.
    pub fn probabilities(self, logits: &[f32], classes: usize, out: &mut Vec<f32>) {
        let sigmoid = |x: f32| (1.0 / (1.0 + (-x as f64).exp())) as f32;
        match self {
            Link::Sigmoid => {
                assert!(logits.len() == 1 && classes == 2, "{} logits of {classes} classes", logits.len());
                out.extend([1.0 - sigmoid(logits[0]), sigmoid(logits[0])]);
            }
            Link::Softmax => {
                assert_eq!(logits.len(), classes, "a logit for each class");
                let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &l| m.max(l));
                let total: f64 = logits.iter().map(|&l| ((l - largest) as f64).exp()).sum();
                out.extend(logits.iter().map(|&l| (((l - largest) as f64).exp() / total) as f32));
            }
            Link::IndependentSigmoids => {
                assert!(logits.len() == classes || logits.len() + 1 == classes, "{} of {classes}", logits.len());
                if logits.len() < classes {
                    out.push(1.0 - sigmoid(logits.iter().fold(f32::NEG_INFINITY, |m, &l| m.max(l))));
                }
                out.extend(logits.iter().map(|&l| sigmoid(l)));
            }
            Link::Ordered => {
                assert_eq!(logits.len() + 1, classes, "a logit for each class but the first");
                let mut left = 1.0f32;
                for &logit in logits {
                    let beyond = sigmoid(logit).min(left);
                    out.push(left - beyond);
                    left = beyond;
                }
                out.push(left);
            }
            Link::Value | Link::Hazards => {}
        }
    }
}

/// How several columns of what instances have become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Columns {
    /// Heads, which are all of the same thing: their mean.
    Heads,
    /// Outputs of the model: where these are classes the column of the largest logit of the bag, of classes in an order or of
    /// intervals of time, of which each says more of the same, the mean.
    Classes,
}

/// What a number of an instance or of a bag says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Meaning {
    /// Larger is more like a key instance; the scale means nothing.
    #[default]
    Score,
    /// Its sigmoid is the probability that the instance alone is positive.
    Logit,
    /// A probability.
    Probability,
    /// A share of the bag's logit with a sign: above 0 it speaks for the class, below 0 against it.
    Contribution,
    /// A weight, of those that sum to 1 over the bag or stand alone.
    Weight,
    /// Evidence for a class, at least 0.
    Evidence,
    /// How little is known, from 0 to 1.
    Uncertainty,
    /// A standard deviation.
    Deviation,
}

/// What an output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Logits of the bags `[Bags, outputs]`.
    Logits(Link),
    /// Scores of the instances; higher means more like a key instance.
    Scores(Columns, Meaning),
    /// Weights of the instances, which sum to 1 over each bag.
    Attention(Columns),
    /// More of each instance `[Instances, K]`, for people to see.
    OfInstances(Meaning),
    /// More of each bag `[Bags, K]`, for people to see.
    OfBags(Meaning),
    /// What bags or instances are described by.
    Features,
    /// Anything else.
    #[default]
    Plain,
}

/// A value that can be read by name after a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: ValueId,
    /// What it is.
    pub role: Role,
}

/// An operation with its inputs and outputs.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// Values read.
    pub inputs: Vec<ValueId>,
    /// Values produced; the first is the main one.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// The values it reads and makes.
    pub fn io(&self) -> Io<'_> {
        Io { inputs: &self.inputs, outputs: &self.outputs }
    }
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same.
    Constant(f32),
    /// The first row all the same, and the others.
    Rows([f32; 2]),
    /// Uniform in plus or minus the bound.
    Uniform(f32),
    /// Normal with mean 0.
    Normal(f32),
    /// Nothing yet: what it is comes from a training before ([`crate::stages`]).
    Derived,
    /// Uniform in plus or minus the bound, drawn by a seed of its own and not by the model's.
    Drawn {
        /// The bound.
        bound: f32,
        /// The seed.
        seed: u64,
    },
}

/// A trainable matrix.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name in checkpoints and listings. With `parts`, the parts carry the public names.
    pub name: String,
    /// Rows (outputs of a layer).
    pub rows: u32,
    /// Columns (inputs of a layer).
    pub cols: u32,
    /// Start value.
    pub init: Init,
    /// True for weight matrices, which weight decay acts on; false for biases.
    pub decays: bool,
    /// Named runs of rows, for parameters that are stored together and known apart (name, rows).
    pub parts: Vec<(String, u32)>,
}

/// The recorded computation of one model.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// All values.
    pub values: Vec<Value>,
    /// All nodes, in order of computation.
    pub nodes: Vec<Node>,
    /// All parameters.
    pub params: Vec<Param>,
    /// Values that can be read by name after a run.
    pub outputs: Vec<Output>,
    /// The scalar to minimise, when there is one.
    pub loss: Option<ValueId>,
    /// The terms that it is the weighted sum of.
    pub objectives: Vec<crate::objectives::Objective>,
    /// Mixed precision: factors of products are rounded to f16, and training scales the loss like this.
    pub mixed: Option<crate::precision::LossScale>,
    /// Groups of the parameters.
    pub groups: crate::groups::Groups,
    /// What a step does besides its update.
    pub passes: crate::passes::Passes,
    /// What constants are made of before a training.
    pub derived: Vec<crate::stages::Derived>,
    /// How bags are cut into pseudo-bags, where they are.
    pub pseudo: Option<Pseudo>,
    inputs: Vec<(Input, ValueId)>,
    dropouts: u32,
    /// Parameters that are not trained (see [`Tape::buffer`]).
    buffers: Vec<u32>,
    /// Parameters that learn from bags of one class alone, and that class (see [`Tape::learn_from`]).
    sources: Vec<(u32, u32)>,
    /// Parameters that every update leaves at some value or above (see [`Tape::keep_above`]).
    floors: Vec<(ValueId, f32)>,
    /// Where the frozen front ends (see [`Tape::freeze_front`]).
    front: Option<ValueId>,
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        Self::default()
    }

    fn add(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }

    /// The instance features `[N, width]`. Rows are stored at a stride that is a multiple of four.
    pub fn features(&mut self, width: usize, storage: Storage, needs_grad: bool) -> ValueId {
        let shape = Shape::new(Dim::Instances, width as u32);
        self.input(Input::Features, shape, storage, feature_stride(width) as u32, needs_grad)
    }

    /// Anything else the batch brings; asking twice gives the same value.
    pub fn batch(&mut self, input: Input, cols: u32) -> ValueId {
        let (rows, storage) = match input {
            Input::Features => panic!("features have their own constructor"),
            Input::Coords => (Dim::Instances, Storage::F32),
            Input::Offsets
            | Input::BagTiles
            | Input::TokenOffsets
            | Input::DistilledOffsets
            | Input::DistilledBagTiles => (Dim::BagsPlusOne, Storage::U32),
            Input::PseudoOffsets | Input::PseudoBagTiles => (Dim::PseudoBagsPlusOne, Storage::U32),
            Input::PseudoTiles => (Dim::PseudoTiles, Storage::U32),
            Input::DistilledTiles => (Dim::DistilledTiles, Storage::U32),
            Input::PseudoLabels => (Dim::PseudoBags, Storage::U32),
            Input::PseudoTargets | Input::PseudoWeights => (Dim::PseudoBags, Storage::F32),
            Input::Tiles => (Dim::Tiles, Storage::U32),
            Input::TokenTiles => (Dim::TokenTiles, Storage::U32),
            Input::Labels | Input::ClassTokens => (Dim::Bags, Storage::U32),
            Input::Targets | Input::Weights | Input::Given | Input::Times | Input::Events => (Dim::Bags, Storage::F32),
        };
        self.input(input, Shape::new(rows, cols), storage, cols, false)
    }

    fn input(&mut self, input: Input, shape: Shape, storage: Storage, stride: u32, needs_grad: bool) -> ValueId {
        if let Some((_, id)) = self.inputs.iter().find(|(i, _)| *i == input) {
            return *id;
        }
        let id = self.add(Value { shape, storage, stride, source: Source::Input(input), needs_grad });
        self.inputs.push((input, id));
        id
    }

    /// A trainable matrix `[rows, cols]`.
    pub fn param(&mut self, param: Param) -> ValueId {
        let shape = Shape::new(Dim::Fixed(param.rows), param.cols);
        self.params.push(param);
        self.add(Value {
            shape,
            storage: Storage::F32,
            stride: shape.cols,
            source: Source::Param(self.params.len() as u32 - 1),
            needs_grad: true,
        })
    }

    /// A row of values `[1, cols]` that belongs to the model as its parameters do, is read, replaced and saved
    /// by its name, but is not trained: no gradient, no update rule and no group reaches it. Operations may
    /// write to it while the model trains (see [`crate::ops::batch_norm::RunningBatchNorm`]); else it stays as
    /// it was set.
    pub fn buffer(&mut self, name: &str, cols: u32, start: f32) -> ValueId {
        let (name, init) = (name.to_string(), Init::Constant(start));
        self.constant(Param { name, rows: 1, cols, init, decays: false, parts: Vec::new() })
    }

    /// A matrix that belongs to the model and is not trained, as [`Tape::buffer`].
    pub fn constant(&mut self, param: Param) -> ValueId {
        let value = self.param(param);
        self.buffers.push(self.params.len() as u32 - 1);
        self.values[value.index()].needs_grad = false;
        value
    }

    /// Says that a value of instances is the same in every step, as it is made of features and constants
    /// ([`Tape::constant`]) alone, row by row: a training computes it once and takes its rows for features. Where
    /// gradients of the features are wanted, which lead through it, nothing is said.
    ///
    /// # Errors
    /// [`Error::Setting`] for a value of which that is not so, or after something random.
    pub fn freeze_front(&mut self, end: ValueId) -> Result<()> {
        let refused = |message: &str| Err(Error::setting("frozen front", message));
        if self.dropouts > 0 {
            return refused("something random comes before its end, which is not the same in every step");
        }
        if self.values.iter().any(|v| v.source == Source::Input(Input::Features) && v.needs_grad) {
            return Ok(());
        }
        if self.shape(end).rows != Dim::Instances || front::ancestors(self, end).is_none() {
            return refused("its end is not made of features and constants alone, each row of the same row");
        }
        self.front = Some(end);
        Ok(())
    }

    /// Where the frozen front ends, of a tape that has one.
    pub fn front(&self) -> Option<ValueId> {
        self.front
    }

    /// Lets rows that come with the batch stand for a value, in the place of the features there were.
    pub(crate) fn take_for_features(&mut self, value: ValueId, stride: u32) {
        for v in self.values.iter_mut().filter(|v| v.source == Source::Input(Input::Features)) {
            v.source = Source::Node;
        }
        let of = &mut self.values[value.index()];
        (of.source, of.stride) = (Source::Input(Input::Features), stride);
        self.inputs.retain(|(input, _)| *input != Input::Features);
        self.inputs.push((Input::Features, value));
        self.front = None;
    }

    /// Keeps the values of a parameter at `least` or above: each update is followed by a projection, so that training is
    /// projected descent whatever the update rule. A start below it stays until the first update.
    pub fn keep_above(&mut self, param: ValueId, least: f32) {
        assert!(matches!(self.values[param.index()].source, Source::Param(_)), "only parameters are updated");
        self.floors.push((param, least));
    }

    /// Says that a parameter has no gradient in a step without a bag of this class. An update by such a step leaves it, its
    /// moments and the number of its updates as they are, as PyTorch's optimisers do where there is no gradient. Bags that
    /// have any subset of the classes are of none.
    pub fn learn_from(&mut self, param: ValueId, class: u32) {
        let Source::Param(number) = self.values[param.index()].source else { panic!("only parameters are updated") };
        self.sources.push((number, class));
    }

    /// Numbers of the parameters that learn from bags of one class alone, and that class.
    pub(crate) fn sources(&self) -> &[(u32, u32)] {
        &self.sources
    }

    /// Parameters with the least that updates leave them at.
    pub(crate) fn floors(&self) -> &[(ValueId, f32)] {
        &self.floors
    }

    /// True when parameter number `param` is not trained.
    pub fn is_buffer(&self, param: usize) -> bool {
        self.buffers.contains(&(param as u32))
    }

    /// A number for each random operation, so that two of them never draw the same bits.
    pub(crate) fn next_random_site(&mut self) -> u32 {
        self.dropouts += 1;
        self.dropouts - 1
    }

    /// Pushes a node and returns its outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] when the operation does not accept these shapes, or a gradient is wanted of an input that it
    /// takes for a constant.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        let op = op.into();
        let described: Vec<Value> = inputs.iter().map(|&i| self.values[i.index()]).collect();
        let shapes = op.rule().shapes(&described)?;
        let wants = |i: &&usize| described.get(**i).is_some_and(|v| v.needs_grad);
        if let Some(input) = op.rule().constants().iter().find(wants) {
            return Err(Error::Shape {
                operation: op.rule().name(),
                expected: format!("a constant as input {input} (from 0), for which no gradient is computed"),
                found: "one that leads to a parameter; stop its gradient first, or use another loss".into(),
            });
        }
        let needs_grad = op.rule().passes_gradient() && described.iter().any(|v| v.needs_grad);
        let outputs = shapes
            .into_iter()
            .map(|(shape, storage)| {
                let needs_grad = needs_grad && storage == Storage::F32;
                self.add(Value { shape, storage, stride: shape.cols, source: Source::Node, needs_grad })
            })
            .collect::<Vec<_>>();
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone() });
        Ok(outputs)
    }

    /// Pushes a node with one output that matters.
    ///
    /// # Errors
    /// As for [`Tape::push`].
    pub fn push1(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        Ok(self.push(op, inputs)?[0])
    }

    /// Names a value, so that it can be read after a run.
    pub fn output(&mut self, name: &str, value: ValueId) {
        self.output_as(name, value, Role::Plain);
    }

    /// Names a value and says what it is.
    pub fn output_as(&mut self, name: &str, value: ValueId, role: Role) {
        self.outputs.push(Output { name: name.to_string(), value, role });
    }

    /// The logits of the bags and how they become probabilities, where the model has some.
    pub fn logits(&self) -> Option<(ValueId, Link)> {
        self.outputs.iter().find_map(|o| match o.role {
            Role::Logits(link) => Some((o.value, link)),
            _ => None,
        })
    }

    /// What the scores of the instances say, where the model has some.
    pub fn scores_are(&self) -> Option<Meaning> {
        self.outputs.iter().find_map(|o| match o.role {
            Role::Scores(_, meaning) => Some(meaning),
            _ => None,
        })
    }

    /// How the columns of output `name` become one.
    pub fn columns(&self, name: &str) -> Option<Columns> {
        self.outputs.iter().filter(|o| o.name == name).find_map(|o| match o.role {
            Role::Scores(columns, _) | Role::Attention(columns) => Some(columns),
            _ => None,
        })
    }

    /// Shape of a value.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.values[value.index()].shape
    }

    /// Columns of a value.
    pub fn cols(&self, value: ValueId) -> u32 {
        self.shape(value).cols
    }

    /// Where parameter `index` starts in the flat layout, in values. Each starts on 256 bytes, so that it
    /// can be bound alone.
    pub fn param_layout(&self) -> ParamLayout {
        let mut offsets = Vec::with_capacity(self.params.len());
        let mut total = 0;
        for p in &self.params {
            offsets.push(total);
            total += (p.rows as usize * p.cols as usize).next_multiple_of(SEGMENT);
        }
        ParamLayout { offsets, total: total.max(SEGMENT) }
    }

    /// The value that output `name` refers to.
    ///
    /// # Errors
    /// [`Error::Setting`] that lists the names there are.
    pub fn output_named(&self, name: &str) -> Result<ValueId> {
        self.outputs.iter().find(|o| o.name == name).map(|o| o.value).ok_or_else(|| {
            let names: Vec<&str> = self.outputs.iter().map(|o| o.name.as_str()).collect();
            Error::setting(name, format!("no output has this name; there are: {}", names.join(", ")))
        })
    }
}

impl Recorder for Tape {
    fn batch(&mut self, input: Input, cols: u32) -> ValueId {
        Tape::batch(self, input, cols)
    }
    fn value(&self, id: ValueId) -> Value {
        self.values[id.index()]
    }
    fn record(&mut self, op: Op, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        self.push(op, inputs)
    }
}

pub use crate::kernels::launch::SEGMENT;

/// Where each parameter lies in the flat buffers.
#[derive(Clone, Debug)]
pub struct ParamLayout {
    /// First value of each parameter.
    pub offsets: Vec<usize>,
    /// Values in all, padding included.
    pub total: usize,
}

/// Elements from one feature row to the next: the width rounded up to four, so that rows can be read as
/// vectors in f32 and f16.
pub fn feature_stride(width: usize) -> usize {
    width.next_multiple_of(4)
}
