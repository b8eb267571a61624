//! The log-mean-exp pool of MI-Net (Wang, Yan, Tang, Bai, Liu 2018) with its sharpness r as one number that is learnt:
//! z = 1/r ln of the mean over the bag of e^(r x). A small r is the mean, a large one the maximum.
//!
//! It is recorded in two parts, the pool y = ln of the mean of e^(r x) and z = y / r, so that pieces of a bag are
//! merged like those of any log-mean-exp. For r much below 1 the two parts of the gradient of r nearly cancel: its error
//! in f32 is about 1e-7 / r^2, next to half the variance of x.
//!
//! With p_j = e^(r x_j - y) / n: dy/dx_j = r p_j and dy/dr = sum of p_j x_j.

use super::columns::Splitter;
use super::pointwise::count_of;
use super::segment::{Tables, bag_grid, over_bags, tile_grid};
use super::{Locality, Merge, Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, bits};
use crate::kernels::{segment, sharp_pool as k};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// One number.
fn is_number(value: &Value) -> bool {
    value.shape == Shape::new(Dim::Fixed(1), 1)
}

/// ln of the mean of e^(r x) over each bag, column by column. Inputs: x `[N, C]`, r > 0 `[1, 1]`, tables. Output:
/// `[B, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharpLogMeanExp;

impl Rule for SharpLogMeanExp {
    fn name(&self) -> &'static str {
        "log-mean-exp with a sharpness"
    }
    fn locality(&self) -> Locality {
        Locality::Pool(Merge::LogMeanExp)
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 2) && is_number(&inputs[1]);
        expect(ok, self.name(), "instance rows [N, C] and one number [1, 1]", inputs)?;
        Ok(vec![(Shape::new(Dim::Bags, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, sharpness, t) = (p.dense(node.inputs[0]), node.inputs[1], Tables::of(node));
        let cols = p.cols(x);
        let (largest, sums) = (p.temp(Dim::Tiles, cols), p.temp(Dim::Tiles, cols));
        let operands = [x, sharpness, t.tiles, largest, sums].map(Operand::Value);
        p.launch(&k::SHARP_PART, &operands, &[Dim::Tiles.into(), cols.into()], tile_grid(cols));
        let operands = [largest, sums, t.bag_tiles, t.offsets, node.outputs[0]].map(Operand::Value);
        let words = [Dim::Bags.into(), cols.into(), true.into()];
        p.launch(&segment::LSE_END, &operands, &words, bag_grid(cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, sharpness, t) = (p.dense(node.inputs[0]), node.inputs[1], Tables::of(node));
        let cols = p.cols(x);
        let x_grad = p.grad(node.inputs[0]);
        let to = x_grad.map_or_else(|| p.temp(Dim::Fixed(1), 1).into(), |target| target.to);
        let added = x_grad.is_some_and(|target| target.accumulate);
        let flags = bits([(k::WANTED, x_grad.is_some()), (k::ADD, added)]);
        let parts = p.temp(Dim::Tiles, cols);
        let values = [x, node.outputs[0], g, sharpness, t.tiles, t.offsets].map(Operand::Value);
        let operands = [&values[..], &[to, parts.into()]].concat();
        p.launch(&k::SHARP_GRAD, &operands, &[Dim::Tiles.into(), cols.into(), flags.into()], tile_grid(cols));
        if let Some(target) = p.grad(sharpness) {
            reduce::sum(p, parts, target);
        }
    }
}

/// x / r. Inputs: x `[R, C]`, r `[1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DivideBy;

impl DivideBy {
    /// target (+)= factor x / r.
    fn launch(p: &mut Planner, x: ValueId, r: ValueId, factor: f32, target: GradTarget) {
        let shape = p.value(x).shape;
        let words = [count_of(p, x), factor.into(), target.accumulate.into()];
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::DIVIDE, &[x.into(), r.into(), target.to], &words, grid);
    }
}

impl Rule for DivideBy {
    fn name(&self) -> &'static str {
        "division by a number"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2 && is_number(&inputs[1]);
        expect(ok, self.name(), "a matrix and one number [1, 1]", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        Self::launch(p, x, node.inputs[1], 1.0, target);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (g, r) = (p.upstream(node.outputs[0]).expect("a gradient"), node.inputs[1]);
        if let Some(target) = p.grad(node.inputs[0]) {
            Self::launch(p, g, r, 1.0, target);
        }
        if let Some(target) = p.grad(r) {
            // d(x / r)/dr = -(x / r) / r.
            let shape = p.value(g).shape;
            let (products, sum) = (p.temp(shape.rows, shape.cols), p.temp(Dim::Fixed(1), 1));
            super::pointwise::multiply_into(p, g, node.outputs[0], products);
            reduce::sum(p, products, GradTarget { to: sum.into(), accumulate: false });
            Self::launch(p, sum, r, -1.0, target);
        }
    }
}
