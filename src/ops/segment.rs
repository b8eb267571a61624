//! Reductions and softmax over bags: `[N, C]` to `[B, C]`, column by column, nothing padded.
//!
//! Every reduction is split: partial results of tiles that never cross a bag, then one combination for each
//! bag. Two launches serve bags of 1 and of a million instances.

use super::columns::Splitter;
use super::tokens::tile_grid as tiles_grid;
use super::{Locality, Merge, Recorder, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Input, Word};
use crate::kernels::segment as k;
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};
use serde::{Deserialize, Serialize};

/// How the rows of a bag become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// Largest; of equals the first.
    #[default]
    Max,
    /// Arithmetic mean.
    Mean,
    /// Sum.
    Sum,
    /// ln of the mean of e^x.
    LogMeanExp,
}

/// The batch's tables that kernels over bags bind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    pub tiles: ValueId,
    pub bag_tiles: ValueId,
    pub offsets: ValueId,
}

impl Tables {
    /// Declares them on a tape, in the order nodes take them.
    pub(crate) fn on(tape: &mut dyn Recorder) -> [ValueId; 3] {
        [tape.batch(Input::Tiles, 4), tape.batch(Input::BagTiles, 1), tape.batch(Input::Offsets, 1)]
    }

    /// From the last three inputs of a node.
    pub(crate) fn of(node: Io) -> Self {
        let [.., tiles, bag_tiles, offsets] = node.inputs[..] else { panic!("a bag operation takes the tables") };
        Self { tiles, bag_tiles, offsets }
    }

    /// How many segments there are: bags, or pseudo-bags.
    pub(crate) fn segments(&self, p: &Planner) -> Dim {
        segments(p.rows(self.bag_tiles)).expect("a node has been checked")
    }

    /// How many tiles there are.
    pub(crate) fn tile_count(&self, p: &Planner) -> Dim {
        p.rows(self.tiles)
    }
}

/// What a table with one row more than segments counts.
fn segments(rows: Dim) -> Option<Dim> {
    match rows {
        Dim::BagsPlusOne => Some(Dim::Bags),
        Dim::PseudoBagsPlusOne => Some(Dim::PseudoBags),
        _ => None,
    }
}

/// The segments of rows followed by three tables that fit: bags of instances, pseudo-bags of instances, bags of what was
/// distilled from pseudo-bags.
pub(crate) fn over_segments(inputs: &[Value], before: usize) -> Option<Dim> {
    let [tiles, bag_tiles, offsets] = inputs.get(before..)? else { return None };
    let fits = match tiles.shape.rows {
        Dim::Tiles | Dim::PseudoTiles => inputs[0].shape.rows == Dim::Instances,
        // Of one row each there are as many as pseudo-bags.
        Dim::DistilledTiles => matches!(inputs[0].shape.rows, Dim::Distilled | Dim::PseudoBags),
        _ => false,
    };
    let of_bags = tiles.shape.rows != Dim::PseudoTiles;
    let alike = bag_tiles.shape.rows == offsets.shape.rows;
    segments(offsets.shape.rows).filter(|of| fits && alike && of_bags == (*of == Dim::Bags))
}

/// True for instance rows followed by the three tables of the bags.
pub(crate) fn over_bags(inputs: &[Value], before: usize) -> bool {
    let tiles = inputs.get(before).map(|tiles| tiles.shape.rows);
    over_segments(inputs, before) == Some(Dim::Bags) && tiles == Some(Dim::Tiles)
}

/// A grid with a workgroup for each (tile, group of columns).
pub(super) fn tile_grid(cols: u32) -> Grid {
    tiles_grid(Dim::Tiles, cols)
}

pub(super) fn bag_grid(cols: u32) -> Grid {
    segments_grid(Dim::Bags, cols)
}

fn segments_grid(segments: Dim, cols: u32) -> Grid {
    Grid::line(Count::per(segments, cols, LANES))
}

/// A pool over each bag. Inputs: x `[N, C]`, tables. Outputs: `[B, C]` and, for the maximum, the row it
/// came from (relative to the batch).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentReduce(pub Pool);

impl Rule for SegmentReduce {
    fn name(&self) -> &'static str {
        "pool over bags"
    }
    fn locality(&self) -> Locality {
        Locality::Pool(match self.0 {
            Pool::Max => Merge::Max,
            Pool::Mean => Merge::Mean,
            Pool::Sum => Merge::Sum,
            Pool::LogMeanExp => Merge::LogMeanExp,
        })
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(over_bags(inputs, 1), self.name(), "instance rows [N, C]", inputs)?;
        let shape = Shape::new(Dim::Bags, inputs[0].shape.cols);
        Ok(match self.0 {
            Pool::Max => vec![(shape, Storage::F32), (shape, Storage::U32)],
            _ => vec![(shape, Storage::F32)],
        })
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let (t, out) = (Tables::of(node), node.outputs[0]);
        match self.0 {
            Pool::Max => {
                let index = node.outputs[1];
                let cols = p.cols(x);
                let (parts, part_index) = (p.temp(Dim::Tiles, cols), p.temp_index(Dim::Tiles, cols));
                let operands = [x.into(), t.tiles.into(), parts.into(), part_index.into()];
                p.launch(&k::MAX_PART, &operands, &[Dim::Tiles.into(), cols.into()], tile_grid(cols));
                let operands = [parts.into(), part_index.into(), t.bag_tiles.into(), out.into(), index.into()];
                p.launch(&k::MAX_END, &operands, &[Dim::Bags.into(), cols.into()], bag_grid(cols));
            }
            Pool::Sum | Pool::Mean => sum(p, x, None, &t, out, self.0 == Pool::Mean),
            Pool::LogMeanExp => log_sum_exp(p, x, &t, out, true),
        }
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let t = Tables::of(node);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let cols = p.cols(g);
        let words: [Word; 4] = [Dim::Tiles.into(), cols.into(), (self.0 == Pool::Mean).into(), accumulate.into()];
        match self.0 {
            Pool::Max => to_rows(p, node.outputs[1], g, t.tiles, GradTarget { to, accumulate }),
            Pool::Sum | Pool::Mean => {
                let operands = [g.into(), t.tiles.into(), t.offsets.into(), to];
                p.launch(&k::SUM_GRAD, &operands, &words, tile_grid(cols));
            }
            Pool::LogMeanExp => {
                let x = p.dense(node.inputs[0]);
                let operands = [x.into(), node.outputs[0].into(), g.into(), t.tiles.into(), t.offsets.into(), to];
                p.launch(&k::LSE_GRAD, &operands, &words, tile_grid(cols));
            }
        }
    }
}

/// target (+)= the gradient `g` of each bag and column in the row that `index` names, 0 in all others.
pub(super) fn to_rows(p: &mut Planner, index: ValueId, g: ValueId, tiles: ValueId, target: GradTarget) {
    let cols = p.cols(g);
    let words = [Dim::Tiles.into(), cols.into(), 0u32.into(), target.accumulate.into()];
    p.launch(&k::MAX_GRAD, &[index.into(), g.into(), tiles.into(), target.to], &words, tile_grid(cols));
}

/// out = the sum (or mean) over each bag of x, or of x y when y is given.
fn sum(p: &mut Planner, x: ValueId, y: Option<ValueId>, t: &Tables, out: ValueId, mean: bool) {
    let (cols, tiles, segments) = (p.cols(x), t.tile_count(p), t.segments(p));
    let parts = p.temp(tiles, cols);
    let operands = [x.into(), y.unwrap_or(x).into(), t.tiles.into(), parts.into()];
    let words = [tiles.into(), cols.into(), y.is_some().into()];
    p.launch(&k::SUM_PART, &operands, &words, tiles_grid(tiles, cols));
    let operands = [parts.into(), t.bag_tiles.into(), t.offsets.into(), out.into()];
    p.launch(&k::SUM_END, &operands, &[segments.into(), cols.into(), mean.into()], segments_grid(segments, cols));
}

/// out = ln of the sum (or mean) over each bag of e^x.
fn log_sum_exp(p: &mut Planner, x: ValueId, t: &Tables, out: ValueId, mean: bool) {
    let (cols, tiles, segments) = (p.cols(x), t.tile_count(p), t.segments(p));
    let (largest, sums) = (p.temp(tiles, cols), p.temp(tiles, cols));
    let operands = [x.into(), t.tiles.into(), largest.into(), sums.into()];
    p.launch(&k::LSE_PART, &operands, &[tiles.into(), cols.into()], tiles_grid(tiles, cols));
    let operands = [largest.into(), sums.into(), t.bag_tiles.into(), t.offsets.into(), out.into()];
    p.launch(&k::LSE_END, &operands, &[segments.into(), cols.into(), mean.into()], segments_grid(segments, cols));
}

/// Softmax over the instances of each bag. Inputs: x `[N, C]`, tables. Outputs: `[N, C]` and the
/// log-sum-exp of each bag `[B, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentSoftmax;

impl Rule for SegmentSoftmax {
    fn name(&self) -> &'static str {
        "softmax over bags"
    }
    fn locality(&self) -> Locality {
        Locality::Softmax
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let segments = over_segments(inputs, 1);
        expect(segments.is_some(), self.name(), "instance rows [N, C]", inputs)?;
        let (shape, segments) = (inputs[0].shape, segments.unwrap_or(Dim::Bags));
        Ok(vec![(shape, Storage::F32), (Shape::new(segments, shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let t = Tables::of(node);
        log_sum_exp(p, x, &t, node.outputs[1], false);
        softmax(p, x, node.outputs[1], &t, node.outputs[0]);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (y, t) = (node.outputs[0], Tables::of(node));
        let Some(g) = p.upstream(y) else { return };
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let (cols, tiles) = (p.cols(y), t.tile_count(p));
        let inner = p.temp(t.segments(p), cols);
        sum(p, y, Some(g), &t, inner, false);
        let operands: [Operand; 5] = [y.into(), g.into(), inner.into(), t.tiles.into(), to];
        let words = [tiles.into(), cols.into(), accumulate.into()];
        p.launch(&k::SOFTMAX_GRAD, &operands, &words, tiles_grid(tiles, cols));
    }
}

/// ln of the sum of e^x over each bag. Inputs: x `[N, C]`, tables. Output `[B, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentLogSumExp;

impl Rule for SegmentLogSumExp {
    fn name(&self) -> &'static str {
        "log-sum-exp over bags"
    }
    fn locality(&self) -> Locality {
        Locality::Pool(Merge::LogSumExp)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(over_bags(inputs, 1), self.name(), "instance rows [N, C]", inputs)?;
        Ok(vec![(Shape::new(Dim::Bags, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        log_sum_exp(p, x, &Tables::of(node), node.outputs[0], false);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let t = Tables::of(node);
        let Some(target) = p.grad(node.inputs[0]) else { return };
        let x = p.dense(node.inputs[0]);
        let cols = p.cols(x);
        // The bag's gradient at each of its rows, times the softmax.
        let (each, y) = (p.temp(Dim::Instances, cols), p.temp(Dim::Instances, cols));
        let words = [Dim::Tiles.into(), cols.into(), 0u32.into(), 0u32.into()];
        p.launch(&k::SUM_GRAD, &[g.into(), t.tiles.into(), t.offsets.into(), each.into()], &words, tile_grid(cols));
        softmax(p, x, node.outputs[0], &t, y);
        super::pointwise::multiply_to(p, y, each, target);
    }
}

/// y = e^(x - the log-sum-exp of the bag).
fn softmax(p: &mut Planner, x: ValueId, log_sum: ValueId, t: &Tables, y: ValueId) {
    let (cols, tiles) = (p.cols(x), t.tile_count(p));
    let operands = [x.into(), log_sum.into(), t.tiles.into(), y.into()];
    p.launch(&k::SOFTMAX, &operands, &[tiles.into(), cols.into()], tiles_grid(tiles, cols));
}

/// e^(x - the row of the bag): with the bag's [`SegmentLogSumExp`] the softmax over its instances, which rows that are
/// computed of it can read while their bag is in windows. Inputs: x `[N, C]`, log-sum-exp `[B, C]`, tables. Output
/// `[N, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BagSoftmax;

impl Rule for BagSoftmax {
    fn name(&self) -> &'static str {
        "softmax by the log-sum-exp of the bag"
    }
    fn locality(&self) -> Locality {
        Locality::RowAfter(1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 2) && inputs[1].shape == Shape::new(Dim::Bags, inputs[0].shape.cols);
        expect(ok, self.name(), "instance rows [N, C] and a row for each bag, [B, C]", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, log_sum) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        softmax(p, x, log_sum, &Tables::of(node), node.outputs[0]);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (y, g) = (node.outputs[0], p.upstream(node.outputs[0]).expect("a gradient"));
        if let Some(target) = p.grad(node.inputs[1]) {
            let sums = p.temp(Dim::Bags, p.cols(y));
            sum(p, y, Some(g), &Tables::of(node), sums, false);
            super::pointwise::add_to(p, sums, -1.0, target);
        }
        if let Some(target) = p.grad(node.inputs[0]) {
            super::pointwise::multiply_to(p, y, g, target);
        }
    }
}

/// The row of its bag for each instance. Inputs: x `[B, C]`, tables. Output `[N, C]`; backward is a sum over the bag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BagBroadcast;

impl Rule for BagBroadcast {
    fn name(&self) -> &'static str {
        "rows of bags for instances"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.outputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 4 && inputs[0].shape.rows == Dim::Bags;
        expect(ok, self.name(), "a row for each bag [B, C], and the tables", inputs)?;
        Ok(vec![(Shape::new(Dim::Instances, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, t) = (p.dense(node.inputs[0]), Tables::of(node));
        let cols = p.cols(x);
        // A sum's gradient is the same row for every instance.
        let words = [Dim::Tiles.into(), cols.into(), 0u32.into(), 0u32.into()];
        let operands = [x.into(), t.tiles.into(), t.offsets.into(), node.outputs[0].into()];
        p.launch(&k::SUM_GRAD, &operands, &words, tile_grid(cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(node.inputs[0]) {
            let sums = p.temp(Dim::Bags, p.cols(g));
            sum(p, g, None, &Tables::of(node), sums, false);
            super::pointwise::add_to(p, sums, 1.0, target);
        }
    }
}
