//! What dynamic routing to a capsule is made of (Yan and others 2018): the squashing function, and the
//! agreement of instances with their bag's capsule. [`crate::methods::layers::Network::route`] unrolls the
//! rounds; each keeps a few numbers for each instance, and the instances' rows are stored once.

use super::columns::Splitter;
use super::pointwise::add_to;
use super::segment::{Tables, over_bags};
use super::{Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, bits};
use crate::kernels::{routing as k, segment, weighting};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// s |s| / (1 + |s|^2) for each row. Outputs: `[R, C]`, and the length of each, `[R, 1]`, in [0, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Squash;

impl Rule for Squash {
    fn name(&self) -> &'static str {
        "squash"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32), (Shape::new(inputs[0].shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let shape = p.value(x).shape;
        let operands = [x.into(), node.outputs[0].into(), node.outputs[1].into()];
        let words = [shape.rows.into(), shape.cols.into()];
        p.launch(&k::SQUASH, &operands, &words, Grid::line(Count::per(shape.rows, 1, LANES)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let (row, length) = (p.upstream(node.outputs[0]), p.upstream(node.outputs[1]));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(x).shape;
        let flags = bits([(k::OF_ROW, row.is_some()), (k::OF_LENGTH, length.is_some()), (k::ADD, accumulate)]);
        // A gradient that is not there is bound as x, unread.
        let operands = [x.into(), row.unwrap_or(x).into(), length.unwrap_or(x).into(), to];
        let words = [shape.rows.into(), shape.cols.into(), flags.into()];
        p.launch(&k::SQUASH_GRAD, &operands, &words, Grid::line(Count::per(shape.rows, 1, LANES)));
    }
}

/// x_n . v_b for each instance n of bag b. Inputs: x `[N, C]`, v `[B, C]`, tables. Output `[N, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BagDot;

impl Rule for BagDot {
    fn name(&self) -> &'static str {
        "agreement with the bag"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let rest: Vec<ValueId> = node.inputs[2..].iter().map(|table| s.name(*table)).collect();
        let sums = s.of_blocks(node.inputs[0], |s, part, run| {
            let v = s.take(node.inputs[1], run)?;
            s.push1(*self, &[&[part, v], &rest[..]].concat())
        })?;
        let sum = s.sum(&sums)?;
        s.give(node.outputs[0], vec![sum])
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 2) && inputs[1].shape == Shape::new(Dim::Bags, inputs[0].shape.cols);
        expect(ok, self.name(), "instance rows [N, C] and a row for each bag, [B, C]", inputs)?;
        Ok(vec![(Shape::new(Dim::Instances, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, v, t) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]), Tables::of(node));
        let operands = [x.into(), v.into(), t.tiles.into(), node.outputs[0].into()];
        let words = [Dim::Tiles.into(), p.cols(x).into(), 0u32.into()];
        p.launch(&k::BAG_DOT, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, v, t) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]), Tables::of(node));
        let cols = p.cols(x);
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) {
            let words = [Dim::Tiles.into(), cols.into(), accumulate.into()];
            let operands = [g.into(), v.into(), t.tiles.into(), to];
            p.launch(&k::BAG_DOT_GRAD, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
        }
        if let Some(target) = p.grad(node.inputs[1]) {
            // The sum over the bag of gradient times row.
            let (parts, sums) = (p.temp(Dim::Tiles, cols), p.temp(Dim::Bags, cols));
            let operands = [x.into(), g.into(), t.tiles.into(), parts.into()];
            let words = [Dim::Tiles.into(), cols.into()];
            p.launch(&weighting::WEIGHTED_PART, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
            let operands = [parts.into(), t.bag_tiles.into(), t.offsets.into(), sums.into()];
            let words = [Dim::Bags.into(), cols.into(), 0u32.into()];
            p.launch(&segment::SUM_END, &operands, &words, Grid::line(Count::per(Dim::Bags, cols, LANES)));
            add_to(p, sums, 1.0, target);
        }
    }
}
