//! Losses against real targets: squared, absolute and Huber error, the margin loss of capsules, soft-target cross-entropy.

use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word};
use crate::kernels::target_loss as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// What is compared, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distance {
    /// (x - y)^2, averaged over the columns. Both sides get a gradient.
    Squared,
    /// y max(0, above - x)^2 + negatives (1 - y) max(0, x - below)^2, averaged over the columns: the margin
    /// loss of capsule lengths x (Sabour, Frosst, Hinton 2017).
    Margin {
        /// Lengths above this cost nothing where the target is 1.
        above: f32,
        /// Lengths below this cost nothing where the target is 0.
        below: f32,
        /// Weight of the targets that are 0.
        negatives: f32,
    },
    /// Cross-entropy of the softmax over the columns against the targets, a distribution over them.
    SoftTargets,
    /// |x - y|, averaged over the columns; no gradient where they are equal.
    Absolute,
    /// d^2 / 2 for a distance d = |x - y| up to delta, then delta (d - delta / 2), averaged over the columns (Huber 1964).
    Huber {
        /// Where the square ends.
        delta: f32,
    },
}

/// The sum over rows of weight times distance, `[1, 1]`. Inputs: x `[R, C]`, targets `[R, C]`, and weights
/// `[R, 1]`, or of each column's share in the distance `[R, C]`; without weights the mean over the rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetLoss {
    /// The loss of a row.
    pub distance: Distance,
    /// Factor of the whole loss.
    pub scale: f32,
}

impl TargetLoss {
    fn words(&self, p: &Planner, node: Io, x: ValueId) -> [Word; 7] {
        let shape = p.value(x).shape;
        let (kind, [above, below, negatives]) = match self.distance {
            Distance::Squared => (0u32, [0.0; 3]),
            Distance::Margin { above, below, negatives } => (1, [above, below, negatives]),
            Distance::SoftTargets => (2, [0.0; 3]),
            Distance::Absolute => (3, [0.0; 3]),
            Distance::Huber { delta } => (4, [delta, 0.0, 0.0]),
        };
        let weights = node.inputs.get(2).map(|w| p.value(*w).shape.cols);
        let weighted = match weights {
            None => 0u32,
            Some(cols) if cols == shape.cols && cols > 1 => k::EACH,
            Some(_) => k::ROWS,
        };
        [
            shape.rows.into(),
            shape.cols.into(),
            kind.into(),
            above.into(),
            below.into(),
            negatives.into(),
            weighted.into(),
        ]
    }

    /// x, targets, weights (x again where there are none: bound, not read).
    fn operands(p: &mut Planner, node: Io) -> [ValueId; 3] {
        let (x, y) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        [x, y, node.inputs.get(2).copied().unwrap_or(x)]
    }
}

impl Rule for TargetLoss {
    fn name(&self) -> &'static str {
        match self.distance {
            Distance::Squared => "squared error",
            Distance::Margin { .. } => "margin loss",
            Distance::SoftTargets => "soft-target cross-entropy",
            Distance::Absolute => "absolute error",
            Distance::Huber { .. } => "Huber loss",
        }
    }
    fn constants(&self) -> &'static [usize] {
        if self.distance == Distance::Squared { &[2] } else { &[1, 2] }
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = (2..=3).contains(&inputs.len())
            && inputs[1].shape == inputs[0].shape
            && inputs
                .get(2)
                .is_none_or(|w| w.shape == Shape::new(inputs[0].shape.rows, 1) || w.shape == inputs[0].shape);
        expect(ok, self.name(), "outputs [R, C], targets [R, C] and optionally weights [R, 1] or [R, C]", inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, y, w] = Self::operands(p, node);
        let rows = p.rows(x);
        let losses = p.temp(rows, 1);
        let words = self.words(p, node, x);
        let grid = Grid::line(Count::per(rows, 1, LANES));
        p.launch(&k::TARGET_LOSS, &[x.into(), y.into(), w.into(), losses.into()], &words, grid);
        let target = GradTarget { to: node.outputs[0].into(), accumulate: false };
        reduce::add_rows(p, losses, 0, 1, self.scale, target);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let [x, y, w] = Self::operands(p, node);
        let rows = p.rows(x);
        let grid = Grid::line(Count::per(rows, 1, LANES));
        let sides = if self.distance == Distance::Squared { 2 } else { 1 };
        for (input, sign) in node.inputs.iter().zip([1.0, -1.0]).take(sides) {
            if let Some(GradTarget { to, accumulate }) = p.grad(*input) {
                let more = [(sign * self.scale).into(), accumulate.into()];
                let words = [self.words(p, node, x).as_slice(), &more].concat();
                p.launch(&k::TARGET_LOSS_GRAD, &[x.into(), y.into(), w.into(), g.into(), to], &words, grid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::Input;
    use crate::ops::loss::{SigmoidCrossEntropy, Soft, SoftmaxCrossEntropy};
    use crate::ops::pointwise::StopGradient;
    use crate::ops::{Op, survival::CoxLoss};
    use crate::tape::{Init, Param, Tape};

    fn param(tape: &mut Tape, name: &str, cols: u32) -> ValueId {
        let init = Init::Constant(0.5);
        tape.param(Param { name: name.into(), rows: 1, cols, init, decays: true, parts: Vec::new() })
    }

    /// A gradient of targets or weights is refused where it would be dropped; with its gradient stopped a value is fine.
    #[test]
    fn gradients_of_constants_are_refused() {
        let margin = Distance::Margin { above: 0.9, below: 0.1, negatives: 0.5 };
        let loss = |distance| Op::from(TargetLoss { distance, scale: 1.0 });
        let refused = |op: &Op, wanted: usize, cols: [u32; 3]| {
            let mut tape = Tape::new();
            let mut inputs: Vec<ValueId> =
                cols.iter().enumerate().map(|(i, &cols)| param(&mut tape, &format!("p{i}"), cols)).collect();
            for (i, input) in inputs.iter_mut().enumerate() {
                if i != 0 && i != wanted {
                    *input = tape.push1(StopGradient, &[*input]).unwrap();
                }
            }
            let error = tape.push(op, &inputs).unwrap_err().to_string();
            assert!(error.contains(&format!("a constant as input {wanted}")), "{op:?}: {error}");
            inputs[wanted] = tape.push1(StopGradient, &[inputs[wanted]]).unwrap();
            tape.push(op, &inputs).unwrap();
        };
        for distance in [margin, Distance::SoftTargets] {
            refused(&loss(distance), 1, [4, 4, 1]);
            refused(&loss(distance), 2, [4, 4, 1]);
        }
        refused(&loss(Distance::Squared), 2, [4, 4, 1]);
        for wanted in [1, 2] {
            refused(&SigmoidCrossEntropy { clamp: 0.0, soft: Soft::default(), scale: 1.0 }.into(), wanted, [3, 3, 1]);
            refused(&SoftmaxCrossEntropy { soft: Soft::default(), scale: 1.0 }.into(), wanted, [3, 1, 1]);
            refused(&CoxLoss { efron: true, scale: 1.0 }.into(), wanted, [1, 1, 1]);
        }
        // A squared error gives both sides theirs.
        let mut tape = Tape::new();
        let [x, y] = ["x", "y"].map(|name| param(&mut tape, name, 4));
        let weights = tape.batch(Input::Weights, 1);
        assert!(tape.push(loss(Distance::Squared), &[x, y]).is_ok());
        assert!(tape.push(loss(Distance::Squared), &[x, y, weights]).is_err(), "rows that do not fit");
    }
}
