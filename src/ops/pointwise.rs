//! Pointwise operations: activations, logit, weighted sums, products.

use super::columns::Splitter;
use super::{Locality, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise as k;
use crate::kernels::launch::{Count, Dim, Grid, Scalar, Word};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};
use serde::{Deserialize, Serialize};

/// A pointwise function whose derivative follows from its output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// x above zero, the slope times x below.
    LeakyRelu(f32),
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// ln(1 + e^x).
    Softplus,
    /// Natural logarithm.
    Ln,
    /// e^x.
    Exp,
    /// ln(1 / (1 + e^-x)); ln(1 + e^x) is [`Activation::Softplus`].
    LogSigmoid,
    /// ln(1 - e^x) of an x that is at most 0: from ln p to ln(1 - p). Above -1e-7 it counts as that, and the
    /// derivative stays the one there, -1e7.
    #[serde(rename = "log1mexp")]
    Log1mExp,
    /// x within plus or minus the limit; the derivative is 0 at the limit and beyond.
    Clamp(f32),
    /// The root of x, 0 with derivative 0 where x is not positive.
    Sqrt,
}

impl Activation {
    /// Number and slope as the kernels take them.
    pub fn code(self) -> (u32, f32) {
        match self {
            Activation::None => (0, 0.0),
            Activation::Relu => (1, 0.0),
            Activation::LeakyRelu(slope) => (2, slope),
            Activation::Tanh => (3, 0.0),
            Activation::Sigmoid => (4, 0.0),
            Activation::Softplus => (5, 0.0),
            Activation::Ln => (6, 0.0),
            Activation::Exp => (7, 0.0),
            Activation::LogSigmoid => (8, 0.0),
            Activation::Log1mExp => (9, 0.0),
            Activation::Clamp(limit) => (10, limit),
            Activation::Sqrt => (11, 0.0),
        }
    }
}

/// Values of a matrix as a parameter word.
pub(crate) fn count_of(planner: &Planner, value: ValueId) -> Word {
    let shape = planner.value(value).shape;
    Word::Times(shape.rows, shape.cols)
}

/// A grid with an invocation for every four values.
pub(crate) fn quads(planner: &Planner, value: ValueId) -> Grid {
    let shape = planner.value(value).shape;
    Grid::line(Count::per(shape.rows, shape.cols, 4 * k::LANES))
}

fn same(inputs: &[Value]) -> bool {
    inputs.iter().all(|v| v.shape == inputs[0].shape)
}

/// y = f(x).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activate(pub Activation);

impl Rule for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let (kind, slope) = self.0.code();
        let words = [count_of(p, x), kind.into(), slope.into(), 0u32.into()];
        p.launch(&k::ACTIVATE, &[x.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (y, g) = (node.outputs[0], p.upstream(node.outputs[0]).expect("a gradient"));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let (kind, slope) = self.0.code();
        let words = [count_of(p, y), kind.into(), slope.into(), accumulate.into()];
        p.launch(&k::ACTIVATE_GRAD, &[y.into(), g.into(), to], &words, quads(p, y));
    }
}

/// Multiplies the gradient `g` of an activation's output `y` by the derivative, in place.
pub(crate) fn through(p: &mut Planner, activation: Activation, y: ValueId, g: ValueId) {
    if activation == Activation::None {
        return;
    }
    let (kind, slope) = activation.code();
    let words = [count_of(p, y), kind.into(), slope.into(), 0u32.into()];
    p.launch(&k::ACTIVATE_THROUGH, &[y.into(), g.into()], &words, quads(p, y));
}

/// ln(p / (1 - p)) with p clipped to [clip, 1 - clip]; the gradient is 0 where it is clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logit {
    /// Distance kept from 0 and 1.
    pub clip: f32,
}

impl Rule for Logit {
    fn name(&self) -> &'static str {
        "logit"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let words = [count_of(p, x), self.clip.into(), 0u32.into()];
        p.launch(&k::LOGIT, &[x.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let x = p.dense(node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let words = [count_of(p, x), self.clip.into(), accumulate.into()];
        p.launch(&k::LOGIT_GRAD, &[x.into(), g.into(), to], &words, quads(p, x));
    }
}

/// a x + b y for matrices of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddScaled {
    /// Factor of the first.
    pub a: f32,
    /// Factor of the second.
    pub b: f32,
}

impl Rule for AddScaled {
    fn name(&self) -> &'static str {
        "add"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 2 && same(inputs), self.name(), "two matrices of one shape", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, y) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let words = [count_of(p, x), self.a.into(), self.b.into()];
        p.launch(&k::ADD_SCALED, &[x.into(), y.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        for (input, factor) in [(node.inputs[0], self.a), (node.inputs[1], self.b)] {
            if let Some(target) = p.grad(input) {
                add_to(p, g, factor, target);
            }
        }
    }
}

/// x + w y, where w is the weight of a term of the loss that moves (see [`crate::objectives`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AddTerm {
    /// Number of the weight among those that move.
    pub number: u8,
}

impl Rule for AddTerm {
    fn name(&self) -> &'static str {
        "add term"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 2 && same(inputs), self.name(), "two matrices of one shape", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, y) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let words = [count_of(p, x), 1f32.into(), Scalar::TermWeight(self.number).into()];
        p.launch(&k::ADD_SCALED, &[x.into(), y.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        for (input, factor) in [(node.inputs[0], 1f32.into()), (node.inputs[1], Scalar::TermWeight(self.number).into())]
        {
            if let Some(target) = p.grad(input) {
                add_to::<Word>(p, g, factor, target);
            }
        }
    }
}

/// target (+)= factor g.
pub(crate) fn add_to<F: Into<Word>>(p: &mut Planner, g: ValueId, factor: F, target: GradTarget) {
    let words = [count_of(p, g), factor.into(), target.accumulate.into()];
    p.launch(&k::ADD_TO, &[g.into(), target.to], &words, quads(p, g));
}

/// to = x y.
pub(crate) fn multiply_into(p: &mut Planner, x: ValueId, y: ValueId, to: ValueId) {
    let words = [count_of(p, x), 0u32.into()];
    p.launch(&k::MULTIPLY, &[x.into(), y.into(), to.into()], &words, quads(p, x));
}

/// target (+)= x y.
pub(crate) fn multiply_to(p: &mut Planner, x: ValueId, y: ValueId, target: GradTarget) {
    let words = [count_of(p, x), target.accumulate.into()];
    p.launch(&k::MULTIPLY, &[x.into(), y.into(), target.to], &words, quads(p, x));
}

/// x y, element by element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Multiply;

impl Rule for Multiply {
    fn name(&self) -> &'static str {
        "multiply"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 2 && same(inputs), self.name(), "two matrices of one shape", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, y) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        multiply_into(p, x, y, node.outputs[0]);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        for (input, other) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
            if let Some(target) = p.grad(input) {
                let other = p.dense(other);
                multiply_to(p, g, other, target);
            }
        }
    }
}

/// factor x + offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Multiplies.
    pub factor: f32,
    /// Added.
    pub offset: f32,
}

impl Rule for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let words = [count_of(p, x), self.factor.into(), self.offset.into()];
        p.launch(&k::AFFINE, &[x.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(node.inputs[0]) {
            add_to(p, g, self.factor, target);
        }
    }
}

/// x times the share of a standard normal below x (Hendrycks, Gimpel 2016), exact. The derivative follows from x, as the
/// function falls before it rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gelu;

impl Rule for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let words = [count_of(p, x), 0u32.into()];
        p.launch(&k::GELU, &[x.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let x = p.dense(node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let words = [count_of(p, x), accumulate.into()];
        p.launch(&k::GELU_GRAD, &[x.into(), g.into(), to], &words, quads(p, x));
    }
}

/// 1 where x is below the limit, else 0 (also for NaN). No gradient passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Below {
    /// The first number that is not below.
    pub limit: f32,
}

impl Rule for Below {
    fn name(&self) -> &'static str {
        "below"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let words = [count_of(p, x), self.limit.into()];
        p.launch(&k::BELOW, &[x.into(), node.outputs[0].into()], &words, quads(p, x));
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// The same numbers as a constant: no gradient passes. Nothing is computed or copied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StopGradient;

impl Rule for StopGradient {
    fn name(&self) -> &'static str {
        "stop gradient"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..node.inputs.len())
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, inputs[0].storage)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        p.alias(node.outputs[0], node.inputs[0]);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// Sets every element of a value.
pub(crate) fn fill(p: &mut Planner, value: ValueId, with: f32) {
    let words = [count_of(p, value), with.into()];
    p.launch(&k::FILL, &[Operand::Value(value)], &words, quads(p, value));
}

/// Raises every element of a value that is below `least`, in place.
pub(crate) fn raise(p: &mut Planner, value: ValueId, least: f32) {
    let words = [count_of(p, value), least.into()];
    p.launch(&k::RAISE, &[Operand::Value(value)], &words, quads(p, value));
}

/// Zeros in whatever has this many rows and columns.
pub(crate) fn clear(p: &mut Planner, to: Operand, rows: Dim, cols: u32) {
    let grid = Grid::line(Count::per(rows, cols, 4 * k::LANES));
    p.launch(&k::FILL, &[to], &[Word::Times(rows, cols), 0.0f32.into()], grid);
}
