//! Pools of probabilities over bags with an exponent for each class that is learnt: the generalised mean of
//! adaptive pooling (Zhou and others 2017) and power pooling (Liu and others 2021). Both take logits and
//! work on ln q, so neither a large exponent nor a small probability leaves the range of f32.

use super::segment::{Tables, bag_grid, over_bags, tile_grid};
use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::Kernel;
use crate::kernels::launch::{Dim, bits};
use crate::kernels::power_pool as k;
use crate::planner::{Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

fn shapes(name: &'static str, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
    let ok = over_bags(inputs, 2) && inputs[1].shape == Shape::new(Dim::Fixed(1), inputs[0].shape.cols);
    expect(ok, name, "logits [N, C] and an exponent for each column, [1, C]", inputs)?;
    let cols = inputs[0].shape.cols;
    Ok(vec![
        (Shape::new(Dim::Bags, cols), Storage::F32),
        // What backward needs of each bag and column.
        (Shape::new(Dim::Bags, 4 * cols), Storage::F32),
    ])
}

/// Both gradients: one launch, and the sum of the tiles' shares of that of the exponent.
fn backward(p: &mut Planner, node: Io, kernel: &'static Kernel, with_offsets: bool) {
    let Some(g) = p.upstream(node.outputs[0]) else { return };
    let (x, exponent, t) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]), Tables::of(node));
    let cols = p.cols(x);
    let x_grad = p.grad(node.inputs[0]);
    let target = x_grad.map_or(Operand::Value(p.temp(Dim::Fixed(1), 1)), |t| t.to);
    let flags = bits([(k::WANTED, x_grad.is_some()), (k::ADD, x_grad.is_some_and(|t| t.accumulate))]);
    let parts = p.temp(Dim::Tiles, cols);
    let mut operands: Vec<Operand> = vec![x.into(), exponent.into(), node.outputs[1].into(), g.into(), t.tiles.into()];
    if with_offsets {
        operands.push(t.offsets.into());
    }
    operands.extend([target, parts.into()]);
    p.launch(kernel, &operands, &[Dim::Tiles.into(), cols.into(), flags.into()], tile_grid(cols));
    if let Some(target) = p.grad(node.inputs[1]) {
        reduce::column_sums(p, parts, target);
    }
}

fn inputs(p: &mut Planner, node: Io) -> (ValueId, ValueId, Tables, u32) {
    let (x, exponent) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
    (x, exponent, Tables::of(node), p.cols(x))
}

/// ln of (mean of q^r)^(1/r), q = sigmoid of the logits. Inputs: logits `[N, C]`, exponents r > 0 `[1, C]`,
/// tables. Outputs: `[B, C]`, and statistics for backward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneralisedMean;

impl Rule for GeneralisedMean {
    fn name(&self) -> &'static str {
        "generalised mean over bags"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        shapes(self.name(), inputs)
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, exponent, t, cols) = inputs(p, node);
        let [out, stats] = node.outputs[..] else { unreachable!() };
        let (tiles, bags) = ([Dim::Tiles.into(), cols.into()], [Dim::Bags.into(), cols.into()]);
        let parts = p.temp(Dim::Tiles, 4 * cols);
        p.launch(&k::MEAN_STATS_PART, &[x.into(), t.tiles.into(), parts.into()], &tiles, tile_grid(cols));
        let operands = [parts.into(), t.bag_tiles.into(), t.offsets.into(), stats.into()];
        p.launch(&k::MEAN_STATS_END, &operands, &bags, bag_grid(cols));
        let sums = p.temp(Dim::Tiles, cols);
        let operands = [x.into(), exponent.into(), stats.into(), t.tiles.into(), sums.into()];
        p.launch(&k::MEAN_PART, &operands, &tiles, tile_grid(cols));
        let operands = [sums.into(), exponent.into(), stats.into(), t.bag_tiles.into(), t.offsets.into(), out.into()];
        p.launch(&k::MEAN_END, &operands, &bags, bag_grid(cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        backward(p, node, &k::MEAN_GRAD, true);
    }
}

/// Sum of q^(n + 1) over sum of q^n, q = sigmoid of the logits. Inputs: logits `[N, C]`, exponents n >= 0
/// `[1, C]`, tables. Outputs: `[B, C]`, and statistics for backward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerMean;

impl Rule for PowerMean {
    fn name(&self) -> &'static str {
        "power pooling over bags"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        shapes(self.name(), inputs)
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, exponent, t, cols) = inputs(p, node);
        let [out, stats] = node.outputs[..] else { unreachable!() };
        let parts = p.temp(Dim::Tiles, 4 * cols);
        let operands = [x.into(), exponent.into(), t.tiles.into(), parts.into()];
        p.launch(&k::POWER_PART, &operands, &[Dim::Tiles.into(), cols.into()], tile_grid(cols));
        let operands = [parts.into(), exponent.into(), t.bag_tiles.into(), out.into(), stats.into()];
        p.launch(&k::POWER_END, &operands, &[Dim::Bags.into(), cols.into()], bag_grid(cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        backward(p, node, &k::POWER_GRAD, false);
    }
}
