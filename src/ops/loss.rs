//! Losses over bags: the sum over bags of weight times cross-entropy.
//!
//! Weights carry the normalisation (1 / bags for a mean) and the class weights, so an operation needs
//! neither.

use super::{Rule, expect};
use crate::error::{Error, Result};
use crate::kernels::launch::{Count, Dim, Grid, Word};
use crate::kernels::loss as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// How targets of classes are softened and what is easy is left aside.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Soft {
    /// Label smoothing (Szegedy et al. 2016): the share of a target that all C classes have in common, so that the class of a
    /// bag has 1 - smoothing + smoothing / C; of an output by itself, both its answers.
    pub smoothing: f32,
    /// The focusing parameter of the focal loss (Lin et al. 2017): -ln p counts times (1 - p)^focusing.
    pub focusing: f32,
}

impl Soft {
    /// True for the plain cross-entropy.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// # Errors
    /// [`Error::Setting`] for a smoothing that is no share below 1, and a focusing parameter below 0.
    pub fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.smoothing) {
            let message = format!("expected a share of at least 0 and below 1, found {}", self.smoothing);
            return Err(Error::setting("label_smoothing", message));
        }
        if !(self.focusing >= 0.0 && self.focusing.is_finite()) {
            let message = format!("expected a number of at least 0, found {}", self.focusing);
            return Err(Error::setting("focal", message));
        }
        Ok(())
    }

    /// Refuses anything but the plain cross-entropy; `why` there is no other.
    pub(crate) fn refuse(&self, why: &str) -> Result<()> {
        let name = if self.smoothing > 0.0 { "label_smoothing" } else { "focal" };
        if self.is_plain() { Ok(()) } else { Err(Error::setting(name, why)) }
    }
}

/// Binary cross-entropy of logits `[B, C]` against targets `[B, C]`, weighted by `[B, 1]` or each output by its own of
/// `[B, C]`, over C, summed: `[1, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SigmoidCrossEntropy {
    /// The probability is clamped to [clamp, 1 - clamp] and a clamped one has no gradient, as in the code
    /// of Attention MIL (1e-5). 0: the exact form on logits.
    pub clamp: f32,
    /// Softened targets, and focus.
    pub soft: Soft,
    /// Factor of the whole loss.
    pub scale: f32,
}

fn loss_shapes(
    name: &'static str,
    inputs: &[Value],
    expected: &str,
    [target_cols, weight_cols]: [u32; 2],
) -> Result<Vec<(Shape, Storage)>> {
    let ok = inputs.len() == 3
        && inputs[1].shape.cols == target_cols
        && (inputs[2].shape.cols == 1 || inputs[2].shape.cols == weight_cols)
        && inputs.iter().all(|v| v.shape.rows == inputs[0].shape.rows);
    expect(ok, name, expected, inputs)?;
    Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32)])
}

impl SigmoidCrossEntropy {
    fn words(&self, p: &Planner, x: ValueId, weights: ValueId) -> [Word; 7] {
        let shape = p.value(x).shape;
        let each = p.value(weights).shape.cols == shape.cols;
        let Soft { smoothing, focusing } = self.soft;
        [
            shape.rows.into(),
            shape.cols.into(),
            self.clamp.into(),
            self.scale.into(),
            each.into(),
            smoothing.into(),
            focusing.into(),
        ]
    }
}

impl Rule for SigmoidCrossEntropy {
    fn name(&self) -> &'static str {
        "sigmoid cross-entropy"
    }
    fn constants(&self) -> &'static [usize] {
        &[1, 2]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let cols = inputs.first().map_or(0, |v| v.shape.cols);
        loss_shapes(self.name(), inputs, "logits [B, C], targets [B, C] and weights [B, 1] or [B, C]", [cols; 2])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, t, w] = node.inputs[..] else { unreachable!() };
        let words = self.words(p, x, w);
        let operands = [x.into(), t.into(), w.into(), node.outputs[0].into()];
        p.launch(&k::SIGMOID_LOSS, &operands, &words, Grid::line(Count::each(Dim::Fixed(1))));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [x, t, w] = node.inputs[..] else { unreachable!() };
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(x) else { return };
        let shape = p.value(x).shape;
        let words = [self.words(p, x, w).as_slice(), &[accumulate.into()]].concat();
        let grid = Grid::line(Count::per(shape.rows, shape.cols, k::LANES));
        p.launch(&k::SIGMOID_LOSS_GRAD, &[x.into(), t.into(), w.into(), g.into(), to], &words, grid);
    }
}

/// Cross-entropy of logits `[B, C]` against class indices `[B, 1]`, weighted by `[B, 1]`, summed over bags.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SoftmaxCrossEntropy {
    /// Softened targets, and focus.
    pub soft: Soft,
    /// Factor of the whole loss.
    pub scale: f32,
}

impl SoftmaxCrossEntropy {
    fn words(&self, p: &Planner, x: ValueId) -> [Word; 5] {
        let shape = p.value(x).shape;
        let Soft { smoothing, focusing } = self.soft;
        [shape.rows.into(), shape.cols.into(), self.scale.into(), smoothing.into(), focusing.into()]
    }
}

impl Rule for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax cross-entropy"
    }
    fn constants(&self) -> &'static [usize] {
        &[1, 2]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        loss_shapes(self.name(), inputs, "logits [B, C], labels [B, 1] and weights [B, 1]", [1; 2])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, labels, w] = node.inputs[..] else { unreachable!() };
        let operands = [x.into(), labels.into(), w.into(), node.outputs[0].into()];
        p.launch(&k::SOFTMAX_LOSS, &operands, &self.words(p, x), Grid::line(Count::each(Dim::Fixed(1))));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [x, labels, w] = node.inputs[..] else { unreachable!() };
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(x) else { return };
        let words = [self.words(p, x).as_slice(), &[accumulate.into()]].concat();
        let grid = Grid::line(Count::per(p.rows(x), 1, k::LANES));
        p.launch(&k::SOFTMAX_LOSS_GRAD, &[x.into(), labels.into(), w.into(), g.into(), to], &words, grid);
    }
}

/// The smooth top-1 hinge loss (Berrada, Zisserman, Kumar 2018) of scores `[R, C]` against class indices `[R, 1]`, weighted by
/// `[R, 1]`, summed over the rows. With m_c = x_c - x_y, and the margin more where c is not y, a row costs the
/// temperature times the log-sum-exp of m over the temperature; where the largest score is above the second by the gap
/// or more, it costs the largest m, which jumps there by less than 0.003 at the defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmoothHinge {
    /// Added to the scores of other classes.
    pub margin: f32,
    /// How smooth the maximum is.
    pub temperature: f32,
    /// The gap from which on the maximum is the plain one, as a multiple of the temperature.
    pub gap: f32,
    /// Factor of the whole loss.
    pub scale: f32,
}

impl SmoothHinge {
    /// Margin and temperature 1; the plain maximum from a gap of ln 1000 on.
    pub fn new(scale: f32) -> Self {
        Self { margin: 1.0, temperature: 1.0, gap: 6.907_755_4, scale }
    }

    fn words(&self, p: &Planner, x: ValueId) -> [Word; 6] {
        let shape = p.value(x).shape;
        let Self { margin, temperature, gap, scale } = *self;
        let gap = gap * temperature;
        [shape.rows.into(), shape.cols.into(), margin.into(), temperature.into(), gap.into(), scale.into()]
    }
}

impl Rule for SmoothHinge {
    fn name(&self) -> &'static str {
        "smooth hinge loss"
    }
    fn constants(&self) -> &'static [usize] {
        &[1, 2]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let expected = "scores [R, C] with C at least 2, labels [R, 1] and weights [R, 1]; a temperature above 0";
        let ok = inputs.first().is_some_and(|x| x.shape.cols > 1) && self.temperature > 0.0;
        expect(ok, self.name(), expected, inputs)?;
        loss_shapes(self.name(), inputs, expected, [1; 2])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, labels, w] = node.inputs[..] else { unreachable!() };
        let operands = [x.into(), labels.into(), w.into(), node.outputs[0].into()];
        p.launch(&k::SVM_LOSS, &operands, &self.words(p, x), Grid::line(Count::each(Dim::Fixed(1))));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [x, labels, w] = node.inputs[..] else { unreachable!() };
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(x) else { return };
        let words = [self.words(p, x).as_slice(), &[accumulate.into()]].concat();
        let grid = Grid::line(Count::per(p.rows(x), 1, k::LANES));
        p.launch(&k::SVM_LOSS_GRAD, &[x.into(), labels.into(), w.into(), g.into(), to], &words, grid);
    }
}
