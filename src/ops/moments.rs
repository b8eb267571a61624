//! Mean and spread over passes that follow each other on a tape (Monte Carlo dropout): Welford's recurrence, so that
//! neither the passes' numbers are kept nor digits lost where they hardly differ.

use super::columns::Splitter;
use super::pointwise::count_of;
use super::{Locality, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Grid};
use crate::kernels::moments as k;
use crate::planner::Planner;
use crate::value::{Io, Shape, Storage, Value};

/// The moments of sigmoid(x) after pass `number`. Inputs: x `[R, C]` of this pass and, from the second pass on, the
/// outputs of the pass before. Outputs: the mean `[R, C]` over the passes so far, and the sum of the squared distances
/// from it `[R, C]`. No gradient passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PassMoments {
    /// Number of the pass, from 1 on.
    pub number: u32,
}

impl Rule for PassMoments {
    fn name(&self) -> &'static str {
        "moments of passes"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let [mut means, mut squares] = [const { Vec::new() }; 2];
        for run in s.blocks(node.inputs[0]) {
            let inputs = node.inputs.iter().map(|input| s.take(*input, run)).collect::<Result<Vec<_>>>()?;
            let outputs = s.push(*self, &inputs)?;
            means.push(outputs[0]);
            squares.push(outputs[1]);
        }
        s.give(node.outputs[0], means)?;
        s.give(node.outputs[1], squares)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let wanted = if self.number == 1 { 1 } else { 3 };
        let ok = self.number > 0 && inputs.len() == wanted && inputs.iter().all(|v| v.shape == inputs[0].shape);
        expect(ok, self.name(), "logits, and from pass 2 on the mean and squares before, of one shape", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32); 2])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        // Before the first pass there is nothing: x stands in, unread.
        let [mean, squares] = [1, 2].map(|i| *node.inputs.get(i).unwrap_or(&x));
        let shape = p.value(x).shape;
        let operands = [x.into(), mean.into(), squares.into(), node.outputs[0].into(), node.outputs[1].into()];
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::MOMENTS, &operands, &[count_of(p, x), self.number.into()], grid);
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}
