//! Diagonal Gaussians, given by mean and logarithm of the variance: samples that gradients pass through, the
//! divergence from the standard normal distribution, and the logarithm of the density.

use super::pointwise::{add_to, count_of, quads};
use super::{Locality, Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::gaussian as k;
use crate::kernels::launch::{Count, Dim, Grid, Scalar, Word, bits};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// mean + e^(v / 2) eps with eps normal, from a counter: nothing is stored, backward draws the same numbers
/// again. Inputs: mean `[R, C]`, logarithm of the variance v `[R, C]`. In prediction the mean itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reparameterise {
    /// Number of this draw on its tape, so that no two draw the same bits.
    pub site: u32,
}

impl Reparameterise {
    fn words(&self, p: &Planner, x: ValueId, backward: bool, accumulate: bool) -> [Word; 7] {
        // In a window of rows the numbers are those of the whole batch.
        let first = match p.rows(x) {
            Dim::Instances => Word::STimes(Scalar::FirstRow, p.cols(x)),
            _ => 0u32.into(),
        };
        let flags = bits([(k::BACKWARD, backward), (k::ADD, accumulate)]);
        let scalars = [Scalar::SeedLow.into(), Scalar::SeedHigh.into(), Scalar::Step.into()];
        [count_of(p, x), self.site.into(), scalars[0], scalars[1], scalars[2], flags.into(), first]
    }
}

fn pair(name: &'static str, inputs: &[Value]) -> Result<()> {
    let ok = inputs.len() == 2 && inputs[0].shape == inputs[1].shape;
    expect(ok, name, "means and logarithms of variances, both [R, C]", inputs)
}

impl Rule for Reparameterise {
    fn name(&self) -> &'static str {
        "reparameterise"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        pair(self.name(), inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let mean = p.dense(node.inputs[0]);
        if !p.mode.dropout {
            p.alias(node.outputs[0], mean);
            return;
        }
        let v = p.dense(node.inputs[1]);
        let words = self.words(p, mean, false, false);
        let grid = quads(p, mean);
        p.launch(&k::GAUSSIAN_SAMPLE, &[mean.into(), v.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(node.inputs[0]) {
            add_to(p, g, 1.0, target);
        }
        if !p.mode.dropout {
            // Without noise the variance has no part in it.
            return p.zero_grad(node.inputs[1]);
        }
        let v = p.dense(node.inputs[1]);
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[1]) {
            let words = self.words(p, v, true, accumulate);
            let grid = quads(p, v);
            p.launch(&k::GAUSSIAN_SAMPLE, &[g.into(), v.into(), to], &words, grid);
        }
    }
}

/// KL(N(mean, e^v) | N(0, 1)), averaged over all values: `[1, 1]`. Inputs: mean `[R, C]`, v `[R, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianKl {
    /// Factor of the whole loss.
    pub scale: f32,
}

/// As [`GaussianKl`], of each row by itself, averaged over its columns: `[R, 1]`. Inputs: mean `[R, C]`, v `[R, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianRowKl;

/// to = the divergence of each row, or its part of the mean over all rows.
fn divergence(p: &mut Planner, node: Io, each: bool, to: ValueId) {
    let (mean, v) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
    let shape = p.value(mean).shape;
    let words = [shape.rows.into(), shape.cols.into(), each.into()];
    let grid = Grid::line(Count::per(shape.rows, 1, LANES));
    p.launch(&k::GAUSSIAN_KL, &[mean.into(), v.into(), to.into()], &words, grid);
}

fn divergence_back(p: &mut Planner, node: Io, each: bool, scale: f32) {
    let g = p.upstream(node.outputs[0]).expect("a gradient");
    for (input, of_variance) in [(node.inputs[0], false), (node.inputs[1], true)] {
        let Some(GradTarget { to, accumulate }) = p.grad(input) else { continue };
        let x = p.dense(input);
        let shape = p.value(x).shape;
        let flags = [accumulate.into(), of_variance.into(), each.into()];
        let words: Vec<Word> = [[shape.rows.into(), shape.cols.into(), scale.into()], flags].concat();
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::GAUSSIAN_KL_GRAD, &[x.into(), g.into(), to], &words, grid);
    }
}

impl Rule for GaussianRowKl {
    fn name(&self) -> &'static str {
        "Gaussian divergence of rows"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        pair(self.name(), inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        divergence(p, node, true, node.outputs[0]);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        divergence_back(p, node, true, 1.0);
    }
}

impl Rule for GaussianKl {
    fn name(&self) -> &'static str {
        "Gaussian divergence"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        pair(self.name(), inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let parts = p.temp(p.rows(node.inputs[0]), 1);
        divergence(p, node, false, parts);
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        reduce::add_rows(p, parts, 0, 1, self.scale, target);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        divergence_back(p, node, false, self.scale);
    }
}

/// The logarithm of the density of each row, summed over its columns. Inputs: x `[R, C]`, means and logarithms of the
/// variance, `[R, C]` or `[R, 1]` where all columns share theirs. Output `[R, 1]`. All three get gradients, so the
/// difference of two of them is a one-sample estimate of a divergence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianLogDensity;

impl GaussianLogDensity {
    fn words(p: &Planner, inputs: &[ValueId; 3], of: u32, accumulate: bool) -> [Word; 6] {
        let [x, means, logs] = inputs.map(|v| p.value(v).shape);
        [x.rows.into(), x.cols.into(), means.cols.into(), logs.cols.into(), of.into(), accumulate.into()]
    }
}

impl Rule for GaussianLogDensity {
    fn name(&self) -> &'static str {
        "Gaussian log-density"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 3
            && inputs[1..]
                .iter()
                .all(|v| v.shape.rows == inputs[0].shape.rows && [1, inputs[0].shape.cols].contains(&v.shape.cols));
        expect(ok, self.name(), "x [R, C], means and logarithms of variances, each [R, C] or [R, 1]", inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let inputs = [0, 1, 2].map(|i| p.dense(node.inputs[i]));
        let grid = Grid::line(Count::per(p.rows(inputs[0]), 1, LANES));
        let operands = [inputs[0].into(), inputs[1].into(), inputs[2].into(), node.outputs[0].into()];
        p.launch(&k::GAUSSIAN_LOG, &operands, &Self::words(p, &inputs, 0, false), grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let inputs = [0, 1, 2].map(|i| p.dense(node.inputs[i]));
        let grid = Grid::line(Count::per(p.rows(inputs[0]), 1, LANES));
        for (of, input) in node.inputs.iter().enumerate() {
            let Some(GradTarget { to, accumulate }) = p.grad(*input) else { continue };
            let operands = [inputs[0].into(), inputs[1].into(), inputs[2].into(), g.into(), to];
            p.launch(&k::GAUSSIAN_LOG_GRAD, &operands, &Self::words(p, &inputs, of as u32, accumulate), grid);
        }
    }
}
