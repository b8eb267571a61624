//! Losses with labels that a model gives itself (adaptive pooling, Zhou and others 2017): every instance is taken for
//! what it looks like, and bags should look as sure as their instances do.

use super::pointwise::count_of;
use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word};
use crate::kernels::pseudo_label as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// -ln max(q, 1 - q) with q = sigmoid(x): cross-entropy against the label 1 where q is at least 1/2, else 0. The label
/// carries no gradient. Input: logits `[R, C]`. Output: the same shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InstancePseudoLoss;

fn cells(p: &Planner, x: ValueId) -> Grid {
    let shape = p.value(x).shape;
    Grid::line(Count::per(shape.rows, shape.cols, LANES))
}

impl Rule for InstancePseudoLoss {
    fn name(&self) -> &'static str {
        "pseudo-label loss"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix of logits", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let words = [count_of(p, x), 0u32.into()];
        p.launch(&k::INSTANCE_PSEUDO, &[x.into(), node.outputs[0].into()], &words, cells(p, x));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let x = p.dense(node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let words = [count_of(p, x), accumulate.into()];
        p.launch(&k::INSTANCE_PSEUDO_GRAD, &[x.into(), g.into(), to], &words, cells(p, x));
    }
}

/// The sum over bags of weight times, averaged over the columns (each with its weight where they have their own),
///
/// - l + strength (l - r)^2 for positive bags, with l = -ln P and r the mean pseudo-label loss of the instances;
/// - m for negative ones, the mean over the instances of -ln(1 - q).
///
/// Inputs: ln P `[B, C]`, r `[B, C]`, m `[B, C]`, targets `[B, C]`, weights `[B, 1]` or `[B, C]`. Output `[1, 1]`. The first
/// three get gradients; l is itself P's distance from certainty, so no logarithm of 1 - P is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BagPseudoLoss {
    /// Factor of the squared gap.
    pub strength: f32,
    /// Factor of the whole loss.
    pub scale: f32,
}

impl BagPseudoLoss {
    fn words(&self, p: &Planner, [x, weights]: [ValueId; 2], of: u32, accumulate: bool) -> [Word; 7] {
        let shape = p.value(x).shape;
        let (strength, scale, each) = (self.strength.into(), self.scale.into(), p.cols(weights) == shape.cols);
        [shape.rows.into(), shape.cols.into(), strength, of.into(), accumulate.into(), scale, each.into()]
    }
}

impl Rule for BagPseudoLoss {
    fn name(&self) -> &'static str {
        "loss of bags with pseudo-labels"
    }
    fn constants(&self) -> &'static [usize] {
        &[3, 4]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 5
            && inputs[1..4].iter().all(|v| v.shape == inputs[0].shape)
            && inputs[4].shape.rows == inputs[0].shape.rows
            && [1, inputs[0].shape.cols].contains(&inputs[4].shape.cols);
        let expected = "ln P, instance losses, negative losses and targets [B, C], weights [B, 1] or [B, C]";
        expect(ok, self.name(), expected, inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, r, m, targets, weights] = [0, 1, 2, 3, 4].map(|i| p.dense(node.inputs[i]));
        let rows = p.rows(x);
        let losses = p.temp(rows, 1);
        let operands = [x.into(), r.into(), m.into(), targets.into(), weights.into(), losses.into()];
        let grid = Grid::line(Count::per(rows, 1, LANES));
        p.launch(&k::BAG_PSEUDO, &operands, &self.words(p, [x, weights], 0, false), grid);
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        reduce::add_rows(p, losses, 0, 1, self.scale, target);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let [x, r, m, targets, weights] = [0, 1, 2, 3, 4].map(|i| p.dense(node.inputs[i]));
        for (of, input) in node.inputs[..3].iter().enumerate() {
            let Some(GradTarget { to, accumulate }) = p.grad(*input) else { continue };
            let operands = [x.into(), r.into(), m.into(), targets.into(), weights.into(), g.into(), to];
            p.launch(&k::BAG_PSEUDO_GRAD, &operands, &self.words(p, [x, weights], of as u32, accumulate), cells(p, x));
        }
    }
}

/// Labels that a bag gives the rows at the ends of an order of its instances (Lu and others 2021), for the classifier of
/// one class, and their weights in a loss. Of a bag of that class the first k are 1 and the last k are 0, and all 2 k
/// together weigh `own` times the bag's weight. Of other bags the first k are 0 and weigh `others` times it; the last
/// k count nothing. Where a bag has fewer rows, each of them weighs more.
///
/// Inputs: classes of bags `[B, 1]`, their weights `[B, 1]`, tables. Outputs, for the rows of [`super::sort::SegmentEnds`]:
/// labels and weights, each `[B 2 k, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndLabels {
    /// Rows at each end.
    pub k: u32,
    /// The two ends share no row.
    pub apart: bool,
    /// The class.
    pub class: u32,
    /// Weight of bags of the class.
    pub own: f32,
    /// Weight of others.
    pub others: f32,
}

impl Rule for EndLabels {
    fn name(&self) -> &'static str {
        "labels of ends"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let of = |v: &Value, storage| v.shape == Shape::new(Dim::Bags, 1) && v.storage == storage;
        let ok = inputs.len() == 5 && of(&inputs[0], Storage::U32) && of(&inputs[1], Storage::F32) && self.k > 0;
        expect(ok, self.name(), "classes and weights of bags [B, 1], and the tables; k above 0", inputs)?;
        let shape = Shape::new(Dim::BagRows(2 * self.k), 1);
        Ok(vec![(shape, Storage::U32), (shape, Storage::F32)])
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let offsets = super::segment::Tables::of(node).offsets;
        let operands = [node.inputs[0], node.inputs[1], offsets, node.outputs[0], node.outputs[1]].map(Into::into);
        let words = [
            Dim::Bags.into(),
            self.k.into(),
            self.apart.into(),
            self.class.into(),
            self.own.into(),
            self.others.into(),
        ];
        p.launch(&k::END_LABELS, &operands, &words, Grid::line(Count::per(Dim::Bags, 2 * self.k, LANES)));
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}
