//! Tokens of transformers over bags: the instances as a square behind a class token, landmarks of the tokens,
//! scores of the instances from those of their tokens.

use super::columns::Splitter;
use super::{Recorder, Rule, expect, norm::is_row, reduce, rows::GatherRows};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Input};
use crate::kernels::tokens as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// The batch's tables over tokens (see [`Dim::Tokens`]).
#[derive(Clone, Copy, Debug)]
pub struct TokenTables {
    /// First token of each bag.
    pub offsets: ValueId,
    /// Tiles of tokens.
    pub tiles: ValueId,
}

impl TokenTables {
    /// Declares them on a tape, in the order nodes take them.
    pub fn on(tape: &mut dyn Recorder) -> [ValueId; 2] {
        [tape.batch(Input::TokenOffsets, 1), tape.batch(Input::TokenTiles, 4)]
    }

    /// From the last two inputs of a node.
    pub(crate) fn of(node: Io) -> Self {
        let [.., offsets, tiles] = node.inputs[..] else { panic!("an operation on tokens takes their tables") };
        Self { offsets, tiles }
    }
}

/// True for `before` inputs followed by the tables of the tokens.
pub(crate) fn over_tokens(inputs: &[Value], before: usize) -> bool {
    inputs.len() == before + 2
        && inputs[before].shape == Shape::new(Dim::BagsPlusOne, 1)
        && inputs[before + 1].shape == Shape::new(Dim::TokenTiles, 4)
}

/// A grid with a workgroup for each (tile of `tiles`, group of columns).
pub(crate) fn tile_grid(tiles: Dim, cols: u32) -> Grid {
    Grid::plane(Count::each(tiles), Count::per(Dim::Fixed(cols), 1, LANES))
}

/// A class token and the instances of each bag as a square: side s = ceil(sqrt n), filled up with the first
/// s^2 - n instances again (Shao et al. 2021, arXiv 2106.00908).
///
/// Inputs: x `[N, C]`, class token `[1, C]`, instances' tiles `[T, 4]` and offsets `[B + 1, 1]`, tables of the
/// tokens. Output: `[Tokens, C]`, the class token first in each bag.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square;

impl Rule for Square {
    fn name(&self) -> &'static str {
        "square"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..2)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_tokens(inputs, 4)
            && inputs[0].shape.rows == Dim::Instances
            && is_row(&inputs[1], inputs[0].shape.cols)
            && inputs[2].shape == Shape::new(Dim::Tiles, 4)
            && inputs[3].shape == Shape::new(Dim::BagsPlusOne, 1);
        expect(ok, self.name(), "x [N, C], a class token [1, C], tiles, offsets, tables of the tokens", inputs)?;
        Ok(vec![(Shape::new(Dim::Tokens, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, class, offsets, t) = (p.dense(node.inputs[0]), node.inputs[1], node.inputs[3], TokenTables::of(node));
        let cols = p.cols(x);
        let operands =
            [x.into(), class.into(), offsets.into(), t.offsets.into(), t.tiles.into(), node.outputs[0].into()];
        p.launch(&k::SQUARE, &operands, &[Dim::TokenTiles.into(), cols.into()], tile_grid(Dim::TokenTiles, cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (tiles, offsets, tokens) = (node.inputs[2], node.inputs[3], TokenTables::of(node).offsets);
        let cols = p.cols(g);
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) {
            let words = [Dim::Tiles.into(), cols.into(), accumulate.into()];
            let operands = [g.into(), offsets.into(), tokens.into(), tiles.into(), to];
            p.launch(&k::SQUARE_GRAD, &operands, &words, tile_grid(Dim::Tiles, cols));
        }
        if let Some(target) = p.grad(node.inputs[1]) {
            let rows = p.temp(Dim::Bags, cols);
            class_rows(p, g, tokens, rows);
            reduce::column_sums(p, rows, target);
        }
    }
}

/// to = the class token of each bag.
fn class_rows(p: &mut Planner, x: ValueId, offsets: ValueId, to: ValueId) {
    use crate::kernels::rows::GATHER_ROWS;
    let cols = p.cols(x);
    // The offsets without the last one are the class tokens.
    let words = [Dim::Bags.into(), Dim::Tokens.into(), cols.into()];
    let grid = Grid::line(Count::per(Dim::Bags, cols, LANES));
    p.launch(&GATHER_ROWS, &[x.into(), offsets.into(), to.into()], &words, grid);
}

/// The class token of each bag: `[Tokens, C]` to `[B, C]`.
///
/// # Errors
/// [`crate::Error::Shape`] when x has no row for each token.
pub fn class_tokens(tape: &mut dyn Recorder, x: ValueId) -> Result<ValueId> {
    let index = tape.batch(Input::ClassTokens, 1);
    Ok(tape.record(GatherRows.into(), &[x, index])?[0])
}

/// Means of the landmarks' runs of tokens. A bag's tokens, with rows of zeros in front that make their number
/// a multiple of the landmarks, are cut into as many runs; the zeros count in the means.
///
/// Inputs: x `[Tokens, C]`, tables of the tokens. Output: `[B landmarks, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LandmarkMeans {
    /// Landmarks of a bag.
    pub landmarks: u32,
}

impl Rule for LandmarkMeans {
    fn name(&self) -> &'static str {
        "landmark means"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = self.landmarks > 0 && over_tokens(inputs, 1) && inputs[0].shape.rows == Dim::Tokens;
        expect(ok, self.name(), "x [Tokens, C], tables of the tokens, and at least one landmark", inputs)?;
        Ok(vec![(Shape::new(Dim::BagRows(self.landmarks), inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, out, t) = (node.inputs[0], node.outputs[0], TokenTables::of(node));
        let (rows, cols) = (p.rows(out), p.cols(x));
        let words = [rows.into(), cols.into(), self.landmarks.into()];
        p.launch(&k::MEANS, &[x.into(), t.offsets.into(), out.into()], &words, tile_grid(rows, cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (g, t) = (p.upstream(node.outputs[0]).expect("a gradient"), TokenTables::of(node));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let cols = p.cols(g);
        let words = [Dim::TokenTiles.into(), cols.into(), self.landmarks.into(), accumulate.into()];
        let operands = [g.into(), t.offsets.into(), t.tiles.into(), to];
        p.launch(&k::MEANS_GRAD, &operands, &words, tile_grid(Dim::TokenTiles, cols));
    }
}

/// Scores of instances from those of their tokens: the mean over the columns of the first token of each; that
/// of the class and of instances that fill up a square are left out.
///
/// Inputs: x `[Tokens, C]`, instances' tiles and offsets, tables of the tokens. Output: `[N, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScores;

impl Rule for TokenScores {
    fn name(&self) -> &'static str {
        "token scores"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_tokens(inputs, 3)
            && inputs[0].shape.rows == Dim::Tokens
            && inputs[1].shape == Shape::new(Dim::Tiles, 4)
            && inputs[2].shape == Shape::new(Dim::BagsPlusOne, 1);
        expect(ok, self.name(), "x [Tokens, C], tiles, offsets, tables of the tokens", inputs)?;
        Ok(vec![(Shape::new(Dim::Instances, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, tiles, offsets, t) = (node.inputs[0], node.inputs[1], node.inputs[2], TokenTables::of(node));
        let cols = p.cols(x);
        let operands = [x.into(), offsets.into(), t.offsets.into(), tiles.into(), node.outputs[0].into()];
        let words = [Dim::Tiles.into(), cols.into(), (1.0 / cols as f32).into()];
        p.launch(&k::SCORES, &operands, &words, Grid::line(Count::each(Dim::Tiles)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (g, offsets, t) = (p.upstream(node.outputs[0]).expect("a gradient"), node.inputs[2], TokenTables::of(node));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let cols = p.cols(node.inputs[0]);
        let operands = [g.into(), offsets.into(), t.offsets.into(), t.tiles.into(), to];
        let words = [Dim::TokenTiles.into(), cols.into(), (1.0 / cols as f32).into(), accumulate.into()];
        p.launch(&k::SCORES_GRAD, &operands, &words, Grid::line(Count::each(Dim::TokenTiles)));
    }
}
