//! Normalisation within a row: layer norm, instance norm, rows of length 1.

use super::columns::Splitter;
use super::matmul::Matmul;
use super::pointwise::{Activate, Activation, AddScaled, Affine, Multiply, StopGradient};
use super::reduce::RowSum;
use super::weighting::RowScale;
use super::{Locality, Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Grid, Word};
use crate::kernels::norm as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Every row with mean 0 and deviation 1 over its columns, then a gain and a bias for each column.
/// Inputs: x `[R, C]`, gain `[1, C]`, bias `[1, C]`. Outputs: `[R, C]`, and mean and inverse deviation `[R, 2]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerNorm {
    /// Added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// On blocks of columns, from parts: means, then variances of what is left, over all blocks.
    fn spelt_out(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let (x, gain, bias) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        let factor = 1.0 / s.cols(x) as f32;
        let affine = |factor, offset| Affine { factor, offset };
        let sums = s.of_blocks(x, |s, part, _| s.push1(RowSum, &[part]))?;
        let sum = s.sum(&sums)?;
        let mean = s.push1(affine(factor, 0.0), &[sum])?;
        let centred = s.of_blocks(x, |s, part, _| {
            // Ones times the mean of each row, without a product, whose factors may be rounded.
            let constant = s.push1(StopGradient, &[part])?;
            let ones = s.push1(affine(0.0, 1.0), &[constant])?;
            let means = s.push1(RowScale, &[ones, mean])?;
            s.push1(AddScaled { a: 1.0, b: -1.0 }, &[part, means])
        })?;
        let mut squares = Vec::new();
        for &part in &centred {
            let square = s.push1(Multiply, &[part, part])?;
            squares.push(s.push1(RowSum, &[square])?);
        }
        let sum = s.sum(&squares)?;
        let variance = s.push1(affine(factor, self.eps), &[sum])?;
        // 1 / sqrt(v) is e^(-ln(v) / 2).
        let log = s.push1(Activate(Activation::Ln), &[variance])?;
        let half = s.push1(affine(-0.5, 0.0), &[log])?;
        let inverse = s.push1(Activate(Activation::Exp), &[half])?;
        let constant = s.push1(StopGradient, &[inverse])?;
        let ones = s.push1(affine(0.0, 1.0), &[constant])?;
        let outer = Matmul { a_t: false, b_t: false };
        let mut results = Vec::new();
        for (run, part) in s.blocks(x).into_iter().zip(centred) {
            let (gain, bias) = (s.take(gain, run)?, s.take(bias, run)?);
            let scaled = s.push1(RowScale, &[part, inverse])?;
            let (gains, biases) = (s.push1(outer, &[ones, gain])?, s.push1(outer, &[ones, bias])?);
            let product = s.push1(Multiply, &[scaled, gains])?;
            results.push(s.push1(AddScaled { a: 1.0, b: 1.0 }, &[product, biases])?);
        }
        s.give(node.outputs[0], results)
    }
}

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        self.spelt_out(s, node)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 3 && inputs[1..].iter().all(|v| is_row(v, inputs[0].shape.cols));
        expect(ok, self.name(), "x [R, C], gain [1, C] and bias [1, C]", inputs)?;
        let shape = inputs[0].shape;
        Ok(vec![(shape, Storage::F32), (Shape::new(shape.rows, 2), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        runs(p, node, 1, Some((node.inputs[1], node.inputs[2])), self.eps);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let (gain, bias) = (node.inputs[1], node.inputs[2]);
        runs_grad(p, node, g, 1, Some(gain));
        if let Some(target) = p.grad(gain) {
            let x = p.dense(node.inputs[0]);
            let shape = p.value(x).shape;
            let products = p.temp(shape.rows, shape.cols);
            let words = [shape.rows.into(), shape.cols.into(), 1u32.into(), 0u32.into()];
            let operands = [x.into(), node.outputs[1].into(), g.into(), products.into()];
            p.launch(&k::NORM_HAT, &operands, &words, Grid::line(Count::per(shape.rows, shape.cols, LANES)));
            reduce::column_sums(p, products, target);
        }
        if let Some(target) = p.grad(bias) {
            reduce::column_sums(p, g, target);
        }
    }
}

/// True for `[1, cols]`.
pub(crate) fn is_row(v: &Value, cols: u32) -> bool {
    v.shape == Shape::new(crate::kernels::launch::Dim::Fixed(1), cols)
}

/// Every channel of every image with mean 0 and deviation 1 over its positions. Input: x `[R, channels * P]`.
/// Outputs: the same shape, and mean and inverse deviation `[R, 2 * channels]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstanceNorm {
    /// Channels of an image.
    pub channels: u32,
    /// Added to the variance.
    pub eps: f32,
}

impl Rule for InstanceNorm {
    fn name(&self) -> &'static str {
        "instance norm"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 1 && self.channels > 0 && inputs[0].shape.cols.is_multiple_of(self.channels);
        expect(ok, self.name(), &format!("images of {} channels", self.channels), inputs)?;
        let shape = inputs[0].shape;
        Ok(vec![(shape, Storage::F32), (Shape::new(shape.rows, 2 * self.channels), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        runs(p, node, self.channels, None, self.eps);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        runs_grad(p, node, g, self.channels, None);
    }
}

/// Normalises `each` runs of every row; outputs 0 and 1 of the node are the result and its statistics.
fn runs(p: &mut Planner, node: Io, each: u32, affine: Option<(ValueId, ValueId)>, eps: f32) {
    let x = p.dense(node.inputs[0]);
    let shape = p.value(x).shape;
    let (gain, bias) = affine.unwrap_or((x, x));
    let words = [Word::Times(shape.rows, each), (shape.cols / each).into(), eps.into(), affine.is_some().into()];
    let operands = [x.into(), gain.into(), bias.into(), node.outputs[0].into(), node.outputs[1].into()];
    p.launch(&k::NORM, &operands, &words, Grid::line(Count::per(shape.rows, each, 1)));
}

fn runs_grad(p: &mut Planner, node: Io, g: ValueId, each: u32, gain: Option<ValueId>) {
    let x = p.dense(node.inputs[0]);
    let shape = p.value(x).shape;
    let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
    let words = [Word::Times(shape.rows, each), (shape.cols / each).into(), gain.is_some().into(), accumulate.into()];
    let operands = [x.into(), node.outputs[1].into(), g.into(), gain.unwrap_or(g).into(), to];
    p.launch(&k::NORM_GRAD, &operands, &words, Grid::line(Count::per(shape.rows, each, 1)));
}

/// Every row divided by its length, or by `eps` when it is shorter. Input: x `[R, C]`. Outputs: `[R, C]` and
/// the lengths `[R, 1]`, which carry no gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UnitRows {
    /// The least length.
    pub eps: f32,
}

impl Rule for UnitRows {
    fn name(&self) -> &'static str {
        "unit rows"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        let shape = inputs[0].shape;
        Ok(vec![(shape, Storage::F32), (Shape::new(shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let shape = p.value(x).shape;
        let words = [shape.rows.into(), shape.cols.into(), self.eps.into()];
        let operands = [x.into(), node.outputs[0].into(), node.outputs[1].into()];
        p.launch(&k::UNIT, &operands, &words, Grid::line(Count::each(shape.rows)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(g).shape;
        let words = [shape.rows.into(), shape.cols.into(), self.eps.into(), accumulate.into()];
        let operands = [node.outputs[0].into(), node.outputs[1].into(), g.into(), to];
        p.launch(&k::UNIT_GRAD, &operands, &words, Grid::line(Count::each(shape.rows)));
    }
}
