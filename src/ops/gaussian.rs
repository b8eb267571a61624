//! Diagonal Gaussians, given by mean and logarithm of the variance: samples that gradients pass through, and
//! the divergence from the standard normal distribution.

use super::pointwise::{add_to, count_of, quads};
use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::gaussian as k;
use crate::kernels::launch::{Count, Dim, Grid, Scalar, Word};
use crate::plan::{GradTarget, Planner};
use crate::tape::{Node, Shape, Storage, Value};

/// mean + e^(v / 2) eps with eps normal, from a counter: nothing is stored, backward draws the same numbers
/// again. Inputs: mean `[R, C]`, logarithm of the variance v `[R, C]`. In prediction the mean itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reparameterise {
    /// Number of this draw on its tape, so that no two draw the same bits.
    pub site: u32,
}

impl Reparameterise {
    fn words(&self, count: Word, backward: bool, accumulate: bool) -> [Word; 6] {
        let flags = backward as u32 | (accumulate as u32) << 1;
        let scalars = [Scalar::SeedLow.into(), Scalar::SeedHigh.into(), Scalar::Step.into()];
        [count, self.site.into(), scalars[0], scalars[1], scalars[2], flags.into()]
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
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        pair(self.name(), inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: &Node) {
        let mean = p.dense(node.inputs[0]);
        if !p.dropout {
            p.alias(node.outputs[0], mean);
            return;
        }
        let v = p.dense(node.inputs[1]);
        let words = self.words(count_of(p, mean), false, false);
        let grid = quads(p, mean);
        p.launch(&k::GAUSSIAN_SAMPLE, &[mean.into(), v.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: &Node) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(node.inputs[0]) {
            add_to(p, g, 1.0, target);
        }
        if !p.dropout {
            return;
        }
        let v = p.dense(node.inputs[1]);
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[1]) {
            let words = self.words(count_of(p, v), true, accumulate);
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

impl Rule for GaussianKl {
    fn name(&self) -> &'static str {
        "Gaussian divergence"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        pair(self.name(), inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: &Node) {
        let (mean, v) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let shape = p.value(mean).shape;
        let parts = p.temp(shape.rows, 1);
        let words = [shape.rows.into(), shape.cols.into()];
        let grid = Grid::line(Count::per(shape.rows, 1, LANES));
        p.launch(&k::GAUSSIAN_KL, &[mean.into(), v.into(), parts.into()], &words, grid);
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        reduce::add_rows(p, parts, 0, 1, self.scale, target);
    }
    fn backward(&self, p: &mut Planner, node: &Node) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        for (input, of_variance) in [(node.inputs[0], false), (node.inputs[1], true)] {
            let Some(GradTarget { to, accumulate }) = p.grad(input) else { continue };
            let x = p.dense(input);
            let shape = p.value(x).shape;
            let words =
                [shape.rows.into(), shape.cols.into(), self.scale.into(), accumulate.into(), of_variance.into()];
            let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
            p.launch(&k::GAUSSIAN_KL_GRAD, &[x.into(), g.into(), to], &words, grid);
        }
    }
}
