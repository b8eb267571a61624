//! One weight for each row: what additive and conjunctive pooling are made of.

use super::columns::Splitter;
use super::segment::{Tables, over_bags};
use super::{Locality, Merge, Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word, bits};
use crate::kernels::{segment, weighting as k};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// target (+)= x_r a_r, or x a where `one` number is for all rows.
fn scale(p: &mut Planner, x: ValueId, weight: ValueId, one: bool, target: GradTarget) {
    let shape = p.value(x).shape;
    let words = [shape.rows.into(), shape.cols.into(), target.accumulate.into(), one.into()];
    let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
    p.launch(&k::SCALE_ROWS, &[x.into(), weight.into(), target.to], &words, grid);
}

/// target (+)= x_r . y_r.
fn row_dots(p: &mut Planner, x: ValueId, y: ValueId, target: GradTarget) {
    let shape = p.value(x).shape;
    let words = [shape.rows.into(), shape.cols.into(), target.accumulate.into()];
    let grid = Grid::line(Count::per(shape.rows, 1, LANES));
    p.launch(&k::ROW_DOT, &[x.into(), y.into(), target.to], &words, grid);
}

/// What a value is written to.
fn written(value: ValueId) -> GradTarget {
    GradTarget { to: value.into(), accumulate: false }
}

/// x_r a_r. Inputs: x `[R, C]`, a `[R, 1]`. Output `[R, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowScale;

impl Rule for RowScale {
    fn name(&self) -> &'static str {
        "scale rows"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        // Column by column; the other inputs belong to rows or bags.
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2 && inputs[1].shape == Shape::new(inputs[0].shape.rows, 1);
        expect(ok, self.name(), "rows [R, C] and a weight for each, [R, 1]", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, weight) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        scale(p, x, weight, false, written(node.outputs[0]));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, weight) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        if let Some(target) = p.grad(node.inputs[0]) {
            scale(p, g, weight, false, target);
        }
        if let Some(target) = p.grad(node.inputs[1]) {
            row_dots(p, x, g, target);
        }
    }
}

/// x s for one number s. Inputs: x `[R, C]`, s `[1, 1]`. Output `[R, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleBy;

impl Rule for ScaleBy {
    fn name(&self) -> &'static str {
        "product with a number"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2 && inputs[1].shape == Shape::new(Dim::Fixed(1), 1);
        expect(ok, self.name(), "a matrix and one number [1, 1]", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        scale(p, x, node.inputs[1], true, written(node.outputs[0]));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, number) = (p.dense(node.inputs[0]), node.inputs[1]);
        if let Some(target) = p.grad(node.inputs[0]) {
            scale(p, g, number, true, target);
        }
        if let Some(target) = p.grad(number) {
            let dots = p.temp(p.rows(x), 1);
            row_dots(p, x, g, written(dots));
            reduce::sum(p, dots, target);
        }
    }
}

/// The sum or mean over each bag of x_n a_n, without the scaled rows in memory. Inputs: x `[N, C]`, a
/// `[N, 1]`, tables. Output `[B, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedSum {
    /// Divide by the instances of the bag.
    pub mean: bool,
}

impl Rule for WeightedSum {
    fn name(&self) -> &'static str {
        "weighted sum over bags"
    }
    fn locality(&self) -> Locality {
        Locality::Pool(if self.mean { Merge::Mean } else { Merge::Sum })
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        // Column by column; the other inputs belong to rows or bags.
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 2) && inputs[1].shape == Shape::new(Dim::Instances, 1);
        expect(ok, self.name(), "instance rows [N, C] and a weight for each, [N, 1]", inputs)?;
        Ok(vec![(Shape::new(Dim::Bags, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, weight, t) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]), Tables::of(node));
        let cols = p.cols(x);
        let parts = p.temp(Dim::Tiles, cols);
        let operands = [x.into(), weight.into(), t.tiles.into(), parts.into()];
        let words = [Dim::Tiles.into(), cols.into()];
        p.launch(&k::WEIGHTED_PART, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
        let operands = [parts.into(), t.bag_tiles.into(), t.offsets.into(), node.outputs[0].into()];
        let words = [Dim::Bags.into(), cols.into(), self.mean.into()];
        p.launch(&segment::SUM_END, &operands, &words, Grid::line(Count::per(Dim::Bags, cols, LANES)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, weight, t) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]), Tables::of(node));
        let targets = [p.grad(node.inputs[0]), p.grad(node.inputs[1])];
        let mut flags = bits([(k::MEAN, self.mean)]);
        let mut places = [Operand::Value(g); 2];
        let bits_of = [[k::WANTED, k::ADD], [k::WEIGHT_WANTED, k::WEIGHT_ADD]];
        for ((place, target), [wanted, add]) in places.iter_mut().zip(targets).zip(bits_of) {
            *place = match target {
                Some(GradTarget { to, accumulate }) => {
                    flags |= wanted | bits([(add, accumulate)]);
                    to
                }
                // Bound, never written.
                None => Operand::Value(p.temp(Dim::Fixed(1), 1)),
            };
        }
        let operands = [x.into(), weight.into(), g.into(), t.tiles.into(), t.offsets.into(), places[0], places[1]];
        let words: [Word; 3] = [Dim::Tiles.into(), p.cols(x).into(), flags.into()];
        p.launch(&k::WEIGHTED_GRAD, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
    }
}
