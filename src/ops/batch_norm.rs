//! Batch normalisation of matrices and images.

use super::conv::{channel_sums, chunk_of};
use super::norm::is_row;
use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::batch_norm as k;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Source, Storage, Value, ValueId};

/// Every channel with mean 0 and deviation 1, then a gain and a bias for each channel.
///
/// Inputs: x `[R, channels * P]` (P is 1 for matrices), gain and bias `[1, channels]`, and optionally mean and
/// variance `[1, channels]`, which are constants. Without them they are those of all rows and positions of the
/// batch (the variance divides by their number). Outputs: the same shape as x, then the mean and the variance
/// that were used, without a gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Channels.
    pub channels: u32,
    /// Added to the variance.
    pub eps: f32,
    /// All channels of a place lie side by side, as those of the nodes of a graph do: x is `[R, P * channels]`.
    pub last: bool,
}

impl BatchNorm {
    /// Rows of one image each.
    fn rows(&self, p: &Planner, x: ValueId) -> Word {
        Word::Times(p.rows(x), self.images(p, x))
    }

    /// Images in a row of x.
    fn images(&self, p: &Planner, x: ValueId) -> u32 {
        if self.last { p.cols(x) / self.channels } else { 1 }
    }

    fn channel_grid(&self) -> Grid {
        Grid::line(Count::per(Dim::Fixed(self.channels), 1, LANES))
    }

    fn positions(&self, p: &Planner, x: ValueId) -> u32 {
        p.cols(x) / self.channels / self.images(p, x)
    }

    /// Statistics of the batch, in the outputs of the node.
    fn measure(&self, p: &mut Planner, node: Io) -> (ValueId, ValueId) {
        let x = p.dense(node.inputs[0]);
        let (mean, variance) = (node.outputs[1], node.outputs[2]);
        let sums = p.temp(Dim::Fixed(1), self.channels);
        channel_sums(p, x, self.channels, self.images(p, x), GradTarget { to: sums.into(), accumulate: false });
        self.divide(p, x, sums, mean);
        let squares = p.temp(Dim::Fixed(1), self.channels);
        self.products(p, x, mean, None, squares);
        self.divide(p, x, squares, variance);
        (mean, variance)
    }

    /// Given statistics stand in the outputs of the node.
    fn given(p: &mut Planner, node: Io) -> (ValueId, ValueId) {
        let [_, _, _, mean, variance] = node.inputs[..] else { unreachable!("statistics are given") };
        p.alias(node.outputs[1], mean);
        p.alias(node.outputs[2], variance);
        (mean, variance)
    }

    fn apply(&self, p: &mut Planner, node: Io, (mean, variance): (ValueId, ValueId)) {
        let x = p.dense(node.inputs[0]);
        let shape = p.value(x).shape;
        let words = [self.rows(p, x), self.channels.into(), self.positions(p, x).into(), self.eps.into()];
        let affine = [node.inputs[1].into(), node.inputs[2].into()];
        let operands = [x.into(), mean.into(), variance.into(), affine[0], affine[1], node.outputs[0].into()];
        p.launch(&k::BATCH_APPLY, &operands, &words, Grid::line(Count::per(shape.rows, shape.cols, LANES)));
    }

    /// Gradients of images, gain and bias; `given` statistics are constants.
    fn gradients(&self, p: &mut Planner, node: Io, (mean, variance): (ValueId, ValueId), given: bool) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let x = p.dense(node.inputs[0]);
        let (sums, products) = (p.temp(Dim::Fixed(1), self.channels), p.temp(Dim::Fixed(1), self.channels));
        channel_sums(p, g, self.channels, self.images(p, g), GradTarget { to: sums.into(), accumulate: false });
        self.products(p, x, mean, Some(g), products);
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) {
            let shape = p.value(x).shape;
            let words = [
                self.rows(p, x),
                self.channels.into(),
                self.positions(p, x).into(),
                self.eps.into(),
                given.into(),
                accumulate.into(),
            ];
            let operands = [
                x.into(),
                g.into(),
                mean.into(),
                variance.into(),
                node.inputs[1].into(),
                sums.into(),
                products.into(),
                to,
            ];
            p.launch(&k::BATCH_GRAD, &operands, &words, Grid::line(Count::per(shape.rows, shape.cols, LANES)));
        }
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[1]) {
            let words = [self.channels.into(), self.eps.into(), accumulate.into()];
            p.launch(&k::BATCH_GAIN, &[products.into(), to, variance.into()], &words, self.channel_grid());
        }
        if let Some(target) = p.grad(node.inputs[2]) {
            super::pointwise::add_to(p, sums, 1.0, target);
        }
    }

    /// to = the sum over each channel of (x - mean)^2, or of g (x - mean).
    fn products(&self, p: &mut Planner, x: ValueId, mean: ValueId, g: Option<ValueId>, to: ValueId) {
        let rows = p.rows(x);
        let chunk = chunk_of(p, rows, 16);
        let chunks = rows.chunks(chunk);
        let parts = p.temp(chunks, self.channels);
        let positions = self.positions(p, x);
        let images = self.images(p, x);
        let words =
            [self.rows(p, x), self.channels.into(), positions.into(), (chunk * images).into(), g.is_some().into()];
        let grid = Grid::plane(Count::each(chunks), Count::each(Dim::Fixed(self.channels)));
        let operands = [x.into(), mean.into(), g.unwrap_or(x).into(), parts.into()];
        p.launch(&k::BATCH_PARTS, &operands, &words, grid);
        let target = GradTarget { to: to.into(), accumulate: false };
        reduce::add_rows(p, parts, 0, self.channels, 1.0, target);
    }

    /// to = the sums divided by the number of values of a channel.
    fn divide(&self, p: &mut Planner, x: ValueId, sums: ValueId, to: ValueId) {
        let words = [self.channels.into(), Word::Times(p.rows(x), p.cols(x) / self.channels)];
        p.launch(&k::BATCH_DIVIDE, &[sums.into(), to.into()], &words, self.channel_grid());
    }
}

impl Rule for BatchNorm {
    fn name(&self) -> &'static str {
        "batch norm"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = matches!(inputs.len(), 3 | 5)
            && self.channels > 0
            && inputs[0].shape.cols.is_multiple_of(self.channels)
            && inputs[1..].iter().all(|v| is_row(v, self.channels));
        let expected =
            format!("images of {0} channels; gain, bias, and mean and variance or not, [1, {0}]", self.channels);
        expect(ok, self.name(), &expected, inputs)?;
        let row = (Shape::new(Dim::Fixed(1), self.channels), Storage::F32);
        Ok(vec![(inputs[0].shape, Storage::F32), row, row])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let statistics = if node.inputs.len() == 5 { Self::given(p, node) } else { self.measure(p, node) };
        self.apply(p, node, statistics);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let given = node.inputs.len() == 5;
        let statistics = if given { (node.inputs[3], node.inputs[4]) } else { (node.outputs[1], node.outputs[2]) };
        self.gradients(p, node, statistics, given);
    }
}

/// Batch normalisation as models train and use it (PyTorch's `BatchNorm1d` and `BatchNorm2d`, Ioffe and Szegedy
/// 2015).
///
/// Inputs: x `[R, channels * P]`, gain and bias `[1, channels]`, running mean and variance `[1, channels]`, which
/// are buffers of the model ([`crate::tape::Tape::buffer`]). Outputs as [`BatchNorm`].
///
/// Where dropout draws masks, the statistics are those of the batch and gradients pass through them; else they are
/// the running ones. An update of the model also moves each running statistic by `momentum` of the way to that of
/// the batch, whose variance is taken unbiased there, over n - 1. Of a batch with one value a channel, which has no
/// such variance and which PyTorch refuses, only the mean is taken over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunningBatchNorm {
    /// Channels.
    pub channels: u32,
    /// Added to the variance.
    pub eps: f32,
    /// Part of the way that a running statistic moves in one update, in 0..1.
    pub momentum: f32,
    /// All channels of a place lie side by side.
    pub last: bool,
}

impl RunningBatchNorm {
    fn plain(&self) -> BatchNorm {
        BatchNorm { channels: self.channels, eps: self.eps, last: self.last }
    }
}

impl Rule for RunningBatchNorm {
    fn name(&self) -> &'static str {
        "batch norm with running statistics"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let kept = |v: &Value| matches!(v.source, Source::Param(_)) && !v.needs_grad;
        let ok = inputs.len() == 5 && inputs[3..].iter().all(kept) && (0.0..=1.0).contains(&self.momentum);
        let expected = "images, gain, bias, and two buffers of the model; momentum in 0..1";
        expect(ok, self.name(), expected, inputs)?;
        self.plain().shapes(inputs)
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let plain = self.plain();
        if !p.mode.dropout {
            let statistics = BatchNorm::given(p, node);
            return plain.apply(p, node, statistics);
        }
        let statistics = plain.measure(p, node);
        plain.apply(p, node, statistics);
        if !p.mode.training {
            return;
        }
        let x = p.dense(node.inputs[0]);
        let count = Word::Times(p.rows(x), p.cols(x) / self.channels);
        for (now, running, unbiased) in [(statistics.0, node.inputs[3], false), (statistics.1, node.inputs[4], true)] {
            let words = [self.channels.into(), count, self.momentum.into(), unbiased.into()];
            p.launch(&k::BATCH_RUNNING, &[now.into(), running.into()], &words, plain.channel_grid());
        }
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let given = !p.mode.dropout;
        let statistics = if given { (node.inputs[3], node.inputs[4]) } else { (node.outputs[1], node.outputs[2]) };
        self.plain().gradients(p, node, statistics, given);
    }
}
