//! Dropout with masks from a counter: nothing is stored, backward draws the same bits again.

use super::pointwise::{add_to, count_of, quads};
use super::{Rule, expect};
use crate::error::Result;
use crate::kernels::dropout as k;
use crate::kernels::launch::{Dim, Scalar, Word};
use crate::plan::{GradTarget, Operand, Planner};
use crate::tape::{Node, Shape, Storage, Value, ValueId};

/// Inverted dropout: each value is kept with probability 1 - rate and scaled by 1 / (1 - rate).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// Probability that a value is dropped, in [0, 1).
    pub rate: f32,
    /// Number of this dropout on its tape, so that no two draw the same bits.
    pub site: u32,
}

impl Dropout {
    fn active(&self, p: &Planner) -> bool {
        p.dropout && self.rate > 0.0
    }

    fn launch(&self, p: &mut Planner, x: ValueId, to: Operand, accumulate: bool) {
        // The largest u32 below rate * 2^32: a value is dropped when its random word is smaller.
        let threshold = (self.rate as f64 * 4_294_967_296.0) as u32;
        // In a window of rows the masks are those of the whole batch.
        let first = match p.rows(x) {
            Dim::Instances => Word::STimes(Scalar::FirstRow, p.cols(x)),
            _ => 0u32.into(),
        };
        let words = [
            count_of(p, x),
            threshold.into(),
            (1.0 / (1.0 - self.rate)).into(),
            self.site.into(),
            Scalar::SeedLow.into(),
            Scalar::SeedHigh.into(),
            Scalar::Step.into(),
            accumulate.into(),
            first,
        ];
        p.launch(&k::DROPOUT, &[x.into(), to], &words, quads(p, x));
    }
}

impl Rule for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: &Node) {
        let x = p.dense(node.inputs[0]);
        if self.active(p) {
            self.launch(p, x, node.outputs[0].into(), false);
        } else {
            p.alias(node.outputs[0], x);
        }
    }
    fn backward(&self, p: &mut Planner, node: &Node) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(target @ GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        if self.active(p) {
            self.launch(p, g, to, accumulate);
        } else {
            add_to(p, g, 1.0, target);
        }
    }
}
