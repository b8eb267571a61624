//! Contrastive learning over rows: the loss NT-Xent (Chen and others 2020).

use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::contrast as k;
use crate::kernels::launch::{Count, Dim, Grid};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value};

/// Mean over rows of the cross-entropy of finding the row's partner among all other rows, by inner product
/// over temperature. Rows 2k and 2k + 1 are partners; a last row without one takes no part. Inputs: rows
/// `[R, C]`, of length one as a rule. Outputs: `[1, 1]`, and the log-sum-exp of each row. The table of inner
/// products is never in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NtXent {
    /// Divides the inner products.
    pub temperature: f32,
    /// Factor of the whole loss.
    pub scale: f32,
}

impl Rule for NtXent {
    fn name(&self) -> &'static str {
        "NT-Xent"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32), (Shape::new(inputs[0].shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let shape = p.value(x).shape;
        let losses = p.temp(shape.rows, 1);
        let words = [shape.rows.into(), shape.cols.into(), (1.0 / self.temperature).into()];
        let operands = [x.into(), losses.into(), node.outputs[1].into()];
        p.launch(&k::PAIRS_LOSS, &operands, &words, Grid::line(Count::each(shape.rows)));
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        reduce::add_rows(p, losses, 0, 1, self.scale, target);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let x = p.dense(node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(x).shape;
        let sharpness = 1.0 / self.temperature;
        let words = [shape.rows.into(), shape.cols.into(), sharpness.into(), self.scale.into(), accumulate.into()];
        let operands = [x.into(), node.outputs[1].into(), g.into(), to];
        p.launch(&k::PAIRS_GRAD, &operands, &words, Grid::line(Count::each(shape.rows)));
    }
}
