//! Pseudo-bags (Zhang et al. 2022, arXiv 2203.12081): the rows of each bag in an order whose runs are its pseudo-bags, and
//! what is distilled from each of them.

use super::columns::Splitter;
use super::segment::{Tables, over_bags};
use super::sort::shuffle;
use super::{Recorder, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Input, Pseudo};
use crate::kernels::{pseudo_bags as k, rows};
use crate::planner::{Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Declares the tables of the pseudo-bags on a tape, in the order nodes take them.
pub fn pseudo_tables(tape: &mut dyn Recorder) -> [ValueId; 3] {
    [tape.batch(Input::PseudoTiles, 4), tape.batch(Input::PseudoBagTiles, 1), tape.batch(Input::PseudoOffsets, 1)]
}

/// Declares the tables of the bags among the distilled rows, in the order nodes take them.
pub fn distilled_tables(tape: &mut dyn Recorder) -> [ValueId; 3] {
    let offsets = tape.batch(Input::DistilledOffsets, 1);
    [tape.batch(Input::DistilledTiles, 4), tape.batch(Input::DistilledBagTiles, 1), offsets]
}

/// An order of the rows of each bag in which its pseudo-bags follow each other. Inputs: the tables of the bags. Outputs:
/// rows of the batch in that order `[N, 1]`, and the place of each row in it `[N, 1]`.
///
/// Where dropout is on, the order is random and another in each step; else rows are dealt out like cards, so that
/// neighbours, which are often alike, go to different pseudo-bags, and what is computed of a bag is the same each time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DealOut {
    /// Pseudo-bags of a bag.
    pub parts: u32,
    /// Sets this operation's draws apart from those of others.
    pub site: u32,
}

impl Rule for DealOut {
    fn name(&self) -> &'static str {
        "deal out to pseudo-bags"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 3 && inputs[0].shape.rows == Dim::Tiles && self.parts > 0;
        expect(ok, self.name(), "the tables of the bags; at least one pseudo-bag", inputs)?;
        Ok(vec![(Shape::new(Dim::Instances, 1), Storage::U32); 2])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [order, inverse] = node.outputs[..] else { unreachable!() };
        let t = Tables::of(node);
        if p.mode.dropout {
            shuffle(p, self.site, t, order);
        } else {
            let operands = [t.tiles.into(), t.offsets.into(), order.into()];
            let words = [Dim::Tiles.into(), self.parts.into()];
            p.launch(&k::DEAL_ROWS, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
        }
        let grid = Grid::line(Count::per(Dim::Instances, 1, LANES));
        p.launch(&k::INVERT_ORDER, &[order.into(), inverse.into()], &[Dim::Instances.into()], grid);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}

/// Rows in another order. Inputs: x `[N, C]`, an order of all rows `[N, 1]`, the place of each row in it `[N, 1]`. Output:
/// `[N, C]`, whose row i is row `order[i]` of x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PermuteRows;

impl Rule for PermuteRows {
    fn name(&self) -> &'static str {
        "permute rows"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let index = |v: &Value| v.storage == Storage::U32 && v.shape == Shape::new(inputs[0].shape.rows, 1);
        let ok = inputs.len() == 3 && inputs[1..].iter().all(index);
        expect(ok, self.name(), "x [N, C], an order [N, 1] and its inverse [N, 1]", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        permute(p, x, node.inputs[1], node.outputs[0].into());
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(target) = p.grad(node.inputs[0]) else { return };
        if !target.accumulate {
            permute(p, g, node.inputs[2], target.to);
            return;
        }
        let back = p.temp(p.rows(g), p.cols(g));
        permute(p, g, node.inputs[2], back.into());
        super::pointwise::add_to(p, back, 1.0, target);
    }
}

fn permute(p: &mut Planner, x: ValueId, order: ValueId, to: Operand) {
    let (count, cols) = (p.rows(x), p.cols(x));
    let words = [count.into(), count.into(), cols.into()];
    let grid = Grid::line(Count::per(count, cols, LANES));
    p.launch(&rows::GATHER_ROWS, &[x.into(), order.into(), to], &words, grid);
}

/// The rows distilled from the pseudo-bags: the first of each, or the first and the last. Inputs: an order of the rows of
/// each pseudo-bag `[N, 1]`, the tables of the bags, those of the distilled rows. Output: rows of x `[Distilled, 1]`, bag
/// after bag; a pseudo-bag that has fewer rows gives all it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distil(pub Pseudo);

impl Rule for Distil {
    fn name(&self) -> &'static str {
        "distil from pseudo-bags"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let Pseudo { bags, rows, sides } = self.0;
        let ok = inputs.len() == 7
            && over_bags(&inputs[..4], 1)
            && inputs[0].storage == Storage::U32
            && inputs[4].shape.rows == Dim::DistilledTiles
            && bags > 0
            && rows > 0
            && (1..=2).contains(&sides);
        expect(ok, self.name(), "an order [N, 1], the tables of the bags and of the distilled rows", inputs)?;
        Ok(vec![(Shape::new(Dim::Distilled, 1), Storage::U32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let Pseudo { bags, rows, sides } = self.0;
        let operands = [node.inputs[0], node.inputs[3], node.inputs[6], node.outputs[0]].map(Into::into);
        let words = [Dim::Bags.into(), bags.into(), rows.into(), sides.into()];
        let grid = Grid::line(Count::per(Dim::Bags, bags * rows * sides, LANES));
        p.launch(&k::DISTIL_ROWS, &operands, &words, grid);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}
