//! Dropout with masks from a counter: nothing is stored, backward draws the same bits again.

use super::columns::{Run, Splitter};
use super::pointwise::{add_to, count_of, quads};
use super::{Locality, Op, Rule, expect};
use crate::error::Result;
use crate::kernels::dropout as k;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Scalar, Word};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Inverted dropout: each value is kept with probability 1 - rate and scaled by 1 / (1 - rate).
///
/// The default drops nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    /// Probability that a value is dropped, in [0, 1).
    pub rate: f32,
    /// Number of this dropout on its tape, so that no two draw the same bits.
    pub site: u32,
    /// Which columns (or heads) of something wider these are, when they draw the bits that they have there.
    pub part: Option<Part>,
}

/// A run of columns or heads of a wider value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first of them.
    pub first: u32,
    /// All that the wider value has.
    pub total: u32,
}

impl Dropout {
    /// Dropout number `site` of a tape.
    pub const fn new(rate: f32, site: u32) -> Self {
        Self { rate, site, part: None }
    }

    /// This dropout on a run of columns of a value that has `total`; `None` where blocks of random words, four
    /// columns each, would be cut.
    pub(crate) fn part_of(self, first: u32, count: u32, total: u32) -> Option<Self> {
        let whole = [first, count, total].iter().all(|n| n.is_multiple_of(4));
        whole.then(|| self.heads_of(first, total))
    }

    /// This dropout of attention on heads from `first` on, of `total`.
    pub(crate) fn heads_of(self, first: u32, total: u32) -> Self {
        let outer = self.part.unwrap_or(Part { first: 0, total });
        Self { part: Some(Part { first: outer.first + first, total: outer.total }), ..self }
    }

    /// True when values are dropped in what is planned.
    pub(super) fn active(&self, p: &Planner) -> bool {
        p.mode.dropout && self.rate > 0.0
    }

    fn words(&self, p: &Planner, x: ValueId, accumulate: bool) -> [Word; 12] {
        // In a window of rows the masks are those of the whole batch.
        let first = match p.rows(x) {
            Dim::Instances => Word::STimes(Scalar::FirstRow, p.cols(x)),
            _ => 0u32.into(),
        };
        let [cols, left, total] = self.part.map_or([0; 3], |part| [p.cols(x), part.first, part.total]);
        // The largest u32 below rate * 2^32: a value is dropped when its random word is smaller.
        let threshold = (self.rate as f64 * 4_294_967_296.0) as u32;
        [
            count_of(p, x),
            threshold.into(),
            (1.0 / (1.0 - self.rate)).into(),
            self.site.into(),
            Scalar::SeedLow.into(),
            Scalar::SeedHigh.into(),
            Scalar::Step.into(),
            accumulate.into(),
            first,
            cols.into(),
            left.into(),
            total.into(),
        ]
    }

    fn launch(&self, p: &mut Planner, x: ValueId, to: Operand, accumulate: bool) {
        let words = self.words(p, x, accumulate);
        p.launch(&k::DROPOUT, &[x.into(), to], &words, quads(p, x));
    }

    /// Forward and backward of both kinds: `launch` draws, or the value stands for itself.
    fn compute(&self, p: &mut Planner, node: Io, launch: impl Fn(&mut Planner, ValueId, Operand, bool)) {
        let x = p.dense(node.inputs[0]);
        match self.active(p) {
            true => launch(p, x, node.outputs[0].into(), false),
            false => p.alias(node.outputs[0], x),
        }
    }

    fn derive(&self, p: &mut Planner, node: Io, launch: impl Fn(&mut Planner, ValueId, Operand, bool)) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(target @ GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        match self.active(p) {
            true => launch(p, g, to, accumulate),
            false => add_to(p, g, 1.0, target),
        }
    }
}

impl Rule for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let total = s.cols(node.outputs[0]);
        let part =
            |s: &Splitter, run: Run| self.part_of(run.first, run.count, total).map(Op::from).ok_or_else(|| s.refused());
        s.each_as(part, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        self.compute(p, node, |p, x, to, accumulate| self.launch(p, x, to, accumulate));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        self.derive(p, node, |p, g, to, accumulate| self.launch(p, g, to, accumulate));
    }
}

/// Dropout of whole channels of images (PyTorch's `Dropout2d`, Tompson and others 2015): each run of `positions`
/// values of a row is kept or dropped together. Input: `[R, channels * positions]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChannelDropout {
    /// Rate and number of the draw.
    pub dropout: Dropout,
    /// Values of a channel.
    pub positions: u32,
}

impl ChannelDropout {
    fn launch(&self, p: &mut Planner, x: ValueId, to: Operand, accumulate: bool) {
        let shape = p.value(x).shape;
        let words = [&self.dropout.words(p, x, accumulate)[..], &[self.positions.into()]].concat();
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::DROPOUT_CHANNELS, &[x.into(), to], &words, grid);
    }
}

impl Rule for ChannelDropout {
    fn name(&self) -> &'static str {
        "dropout of channels"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 1 && self.positions > 0 && inputs[0].shape.cols.is_multiple_of(self.positions);
        expect(ok, self.name(), &format!("images of channels of {} values", self.positions), inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        self.dropout.compute(p, node, |p, x, to, accumulate| self.launch(p, x, to, accumulate));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        self.dropout.derive(p, node, |p, g, to, accumulate| self.launch(p, g, to, accumulate));
    }
}

/// Dropout that is always on, of whole columns: a column is kept or dropped in all rows alike. On the weights of a layer,
/// `[outputs, inputs]`, that is dropout of its inputs with one mask for all instances.
///
/// What learns draws by the run's seed and the step. All else draws by `seed`: so a prediction depends on nothing but
/// the model and the bag, and repeats bit for bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnDropout {
    /// Rate and number of the draw.
    pub dropout: Dropout,
    /// What predictions and evaluations draw by.
    pub seed: u32,
}

impl ColumnDropout {
    fn launch(&self, p: &mut Planner, x: ValueId, to: Operand, accumulate: bool) {
        let shape = p.value(x).shape;
        let [count, threshold, scale, site, low, high, step, add, ..] = self.dropout.words(p, x, accumulate);
        let [low, high, step] = if p.mode.dropout { [low, high, step] } else { [self.seed, 0, 0].map(Word::from) };
        let words = [count, threshold, scale, site, low, high, step, add, shape.cols.into()];
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::DROPOUT_COLUMNS, &[x.into(), to], &words, grid);
    }
}

impl Rule for ColumnDropout {
    fn name(&self) -> &'static str {
        "dropout of columns"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        self.launch(p, x, node.outputs[0].into(), false);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        self.launch(p, g, to, accumulate);
    }
}
