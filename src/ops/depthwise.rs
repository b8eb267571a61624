//! Convolutions of tokens, each column for itself: along the sequence, and over the square of a bag.

use super::columns::Splitter;
use super::norm::is_row;
use super::tokens::{TokenTables, over_tokens, tile_grid};
use super::{Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::depthwise as k;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Convolution along the tokens of each bag with one kernel for all columns of a head, zeros around: the
/// residual of Nyström attention (Xiong et al. 2021, arXiv 2102.03902). A cross-correlation, as in PyTorch.
///
/// Inputs: x `[Tokens, H d]`, weights `[H, taps]` with an odd number of taps, tables of the tokens.
/// Output: `[Tokens, H d]`, or `[B, H d]` of the class tokens alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SequenceConv {
    /// Only the result of the first token of each bag.
    pub first: bool,
    /// The result of token t is that of the token as many places before it as rows of zeros would make the tokens of
    /// the bag a multiple of so many landmarks, with zeros in front: what [`ShiftTokens`] is to rows. 0 for on time.
    pub landmarks: u32,
}

/// Rows of a result, and what its kernels count tiles by.
fn rows_of(first: bool) -> (Dim, Dim) {
    if first { (Dim::Bags, Dim::Bags) } else { (Dim::Tokens, Dim::TokenTiles) }
}

impl SequenceConv {
    fn words(&self, p: &Planner, node: Io, tiles: Dim, accumulate: bool) -> [Word; 6] {
        let (x, w) = (p.value(node.inputs[0]).shape, p.value(node.inputs[1]).shape);
        let Dim::Fixed(heads) = w.rows else { unreachable!("weights have a fixed number of rows") };
        let flags = (accumulate as u32 * k::ACCUMULATE) | (self.first as u32 * k::FIRST);
        let width = x.cols / heads;
        [tiles.into(), x.cols.into(), w.cols.into(), width.into(), flags.into(), self.landmarks.into()]
    }
}

impl Rule for SequenceConv {
    fn name(&self) -> &'static str {
        "sequence convolution"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let (x, taps) = (node.inputs[0], node.inputs[1]);
        let (heads, cols) = (s.rows(taps), s.cols(x));
        s.by_head(node, 1, heads, [cols, cols], |s, heads, [of_x, _]| {
            let (x, taps) = (s.take(x, of_x)?, s.take_rows(taps, heads)?);
            s.push(*self, &[&[x, taps], &node.inputs[2..]].concat())
        })
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let heads = inputs.get(1).map_or(Dim::Bags, |w| w.shape.rows);
        let ok = over_tokens(inputs, 2)
            && inputs[0].shape.rows == Dim::Tokens
            && matches!(heads, Dim::Fixed(h) if h > 0 && inputs[0].shape.cols.is_multiple_of(h))
            && inputs[0].shape.cols > 0
            && inputs[1].shape.cols % 2 == 1;
        expect(ok, self.name(), "x [Tokens, heads d], weights [heads, odd taps], tables of the tokens", inputs)?;
        Ok(vec![(Shape::new(rows_of(self.first).0, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, w, t, tiles) = (node.inputs[0], node.inputs[1], TokenTables::of(node), rows_of(self.first).1);
        let operands = [x, w, t.offsets, t.tiles, node.outputs[0]].map(Operand::Value);
        let words = self.words(p, node, tiles, false);
        p.launch(&k::SEQUENCE, &operands, &words, tile_grid(tiles, p.cols(x)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (x, w, t, tiles) = (node.inputs[0], node.inputs[1], TokenTables::of(node), rows_of(self.first).1);
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(GradTarget { to, accumulate }) = p.grad(x) {
            let operands = [g.into(), w.into(), t.offsets.into(), t.tiles.into(), to];
            let words = self.words(p, node, Dim::TokenTiles, accumulate);
            p.launch(&k::SEQUENCE_BACK, &operands, &words, tile_grid(Dim::TokenTiles, p.cols(x)));
        }
        if let Some(target) = p.grad(w) {
            let Dim::Fixed(heads) = p.rows(w) else { unreachable!("weights have a fixed number of rows") };
            let count = heads * p.cols(w);
            let parts = p.temp(tiles, count);
            let operands = [x, g, t.offsets, t.tiles, parts].map(Operand::Value);
            let words = self.words(p, node, tiles, false);
            p.launch(&k::SEQUENCE_WEIGHTS, &operands, &words, tile_grid(tiles, count));
            reduce::add_rows(p, parts, 0, count, 1.0, target);
        }
    }
}

/// The rows of each bag moved towards its end, with zeros in front: by as many places as rows of zeros would make the
/// tokens of the bag a multiple of the landmarks. What falls behind the last token is lost.
///
/// Inputs: x `[Tokens, C]`, tables of the tokens. Output: `[Tokens, C]`, or `[B, C]` of the class tokens alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShiftTokens {
    /// Only the result of the first token of each bag.
    pub first: bool,
    /// Landmarks, above 0.
    pub landmarks: u32,
}

impl ShiftTokens {
    /// The kernels of a convolution with one tap, whose weight is 1; nothing reads the buffer that stands for it.
    fn launch(&self, p: &mut Planner, kernel: &'static crate::kernels::Kernel, to: GradTarget, x: ValueId, node: Io) {
        let back = *kernel == k::SEQUENCE_BACK;
        let tiles = if back { Dim::TokenTiles } else { rows_of(self.first).1 };
        let (cols, t) = (p.cols(x), TokenTables::of(node));
        let flags = (to.accumulate as u32 * k::ACCUMULATE) | (self.first as u32 * k::FIRST) | k::ONES;
        let words = [tiles.into(), cols.into(), 1.into(), cols.into(), flags.into(), self.landmarks.into()];
        let operands = [x.into(), x.into(), t.offsets.into(), t.tiles.into(), to.to];
        p.launch(kernel, &operands, &words, tile_grid(tiles, cols));
    }
}

impl Rule for ShiftTokens {
    fn name(&self) -> &'static str {
        "shift of tokens"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let tables = &node.inputs[1..];
        let parts = s.of_blocks(node.inputs[0], |s, part, _| s.push1(*self, &[&[part], tables].concat()))?;
        s.give(node.outputs[0], parts)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_tokens(inputs, 1) && inputs[0].shape.rows == Dim::Tokens && self.landmarks > 0;
        expect(ok, self.name(), "x [Tokens, C], tables of the tokens, at least one landmark", inputs)?;
        Ok(vec![(Shape::new(rows_of(self.first).0, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let to = GradTarget { to: node.outputs[0].into(), accumulate: false };
        self.launch(p, &k::SEQUENCE, to, node.inputs[0], node);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(node.inputs[0]) {
            self.launch(p, &k::SEQUENCE_BACK, target, g, node);
        }
    }
}

/// Convolution over the square of each bag with a kernel for each column, zeros around; the class token is
/// copied. A cross-correlation, as in PyTorch.
///
/// Inputs: x `[Tokens, C]`, kernels `[C, side^2]` row by row with an odd side of at most 7, bias `[1, C]`, tables
/// of the tokens. Output: `[Tokens, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridConv {
    /// Side of the kernels.
    pub side: u32,
}

impl Rule for GridConv {
    fn name(&self) -> &'static str {
        "grid convolution"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let (x, kernel, bias) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        let parts = s.of_blocks(x, |s, part, run| {
            let (kernel, bias) = (s.take_rows(kernel, run)?, s.take(bias, run)?);
            s.push1(*self, &[&[part, kernel, bias], &node.inputs[3..]].concat())
        })?;
        s.give(node.outputs[0], parts)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_tokens(inputs, 3)
            && inputs[0].shape.rows == Dim::Tokens
            && self.side % 2 == 1
            && self.side <= k::MOST
            && inputs[1].shape == Shape::new(Dim::Fixed(inputs[0].shape.cols), self.side * self.side)
            && is_row(&inputs[2], inputs[0].shape.cols);
        let expected = "x [Tokens, C], kernels [C, side^2] of an odd side up to 7, bias [1, C], tables of the tokens";
        expect(ok, self.name(), expected, inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        self.convolve(p, node, node.inputs[0], GradTarget { to: node.outputs[0].into(), accumulate: false }, 0);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (x, t) = (node.inputs[0], TokenTables::of(node));
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        if let Some(target) = p.grad(x) {
            self.convolve(p, node, g, target, k::FLIP);
        }
        let (kernel, bias) = (p.grad(node.inputs[1]), p.grad(node.inputs[2]));
        if kernel.is_none() && bias.is_none() {
            return;
        }
        let (cols, chunks) = (p.cols(x), Dim::TokenTiles.chunks(k::CHUNK));
        let size = cols * self.side * self.side;
        let (weights, biases) = (p.temp(chunks, size), p.temp(chunks, cols));
        let operands = [x, g, t.offsets, t.tiles, weights, biases].map(Operand::Value);
        let words = [Dim::TokenTiles.into(), cols.into(), self.side.into(), k::CHUNK.into()];
        let grid = Grid { z: Count::each(Dim::Fixed(self.side)), ..tile_grid(chunks, cols) };
        p.launch(&k::GRID_WEIGHTS, &operands, &words, grid);
        for (parts, width, target) in [(weights, size, kernel), (biases, cols, bias)] {
            if let Some(target) = target {
                reduce::add_rows(p, parts, 0, width, 1.0, target);
            }
        }
    }
}

impl GridConv {
    fn convolve(&self, p: &mut Planner, node: Io, x: ValueId, target: GradTarget, flags: u32) {
        let (t, cols) = (TokenTables::of(node), p.cols(node.inputs[0]));
        let operands =
            [x.into(), node.inputs[1].into(), node.inputs[2].into(), t.offsets.into(), t.tiles.into(), target.to];
        let flags = flags | (target.accumulate as u32 * k::ACCUMULATE);
        let words = [Dim::TokenTiles.into(), cols.into(), self.side.into(), flags.into()];
        p.launch(&k::GRID, &operands, &words, tile_grid(Dim::TokenTiles, cols));
    }
}

/// One kernel in place of three over the same input and of the identity: x + a * x + b * x + c * x is (1 + a +
/// b + c) * x. Inputs: kernels `[C, s^2]`, `[C, (s - 2)^2]`, `[C, (s - 4)^2]` for an odd s of at least 5, centred.
/// Output: `[C, s^2]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MergeKernels {
    /// Side s of the widest.
    pub side: u32,
}

impl Rule for MergeKernels {
    fn name(&self) -> &'static str {
        "merge kernels"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 3
            && self.side % 2 == 1
            && self.side >= 5
            && matches!(inputs[0].shape.rows, Dim::Fixed(_))
            && (0..3).all(|i| {
                let side = self.side - 2 * i;
                inputs[i as usize].shape == Shape::new(inputs[0].shape.rows, side * side)
            });
        expect(ok, self.name(), "kernels [C, s^2], [C, (s - 2)^2], [C, (s - 4)^2] for an odd s from 5", inputs)?;
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [a, b, c] = node.inputs[..] else { panic!("three kernels") };
        let (channels, area) = (p.rows(a), p.cols(a));
        let operands = [a, b, c, node.outputs[0]].map(Operand::Value);
        let words = [channels.into(), self.side.into()];
        p.launch(&k::MERGE, &operands, &words, Grid::line(Count::per(channels, area, LANES)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        for (i, &kernel) in node.inputs.iter().enumerate() {
            let Some(GradTarget { to, accumulate }) = p.grad(kernel) else { continue };
            let (channels, area, inner) = (p.rows(kernel), p.cols(kernel), self.side - 2 * i as u32);
            let words = [channels.into(), self.side.into(), inner.into(), accumulate.into()];
            p.launch(&k::CROP, &[g.into(), to], &words, Grid::line(Count::per(channels, area, LANES)));
        }
    }
}
