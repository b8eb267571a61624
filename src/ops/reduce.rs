//! Reductions over rows and columns.

use super::columns::Splitter;
use super::pointwise::count_of;
use super::{Locality, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid, Word, bits};
use crate::kernels::reduce as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Rows added up by one invocation before the parts are combined.
const CHUNK: u32 = 256;

/// target (+)= the sums over the rows of `x`, column by column.
pub(crate) fn column_sums(p: &mut Planner, x: ValueId, target: GradTarget) {
    let cols = p.cols(x);
    add_rows(p, x, 0, cols, 1.0, target);
}

/// target (+)= factor times the sum over rows of columns `first .. first + cols` of `x`.
///
/// Long sums take two launches in a fixed order, so the result repeats bit for bit.
pub(crate) fn add_rows(p: &mut Planner, x: ValueId, first: u32, cols: u32, factor: f32, target: GradTarget) {
    let (rows, stride) = (p.rows(x), p.value(x).stride);
    let (mut from, mut offset, mut ld, mut left) = (x, first, stride, rows);
    if rows.of(&p.capacity) > 2 * CHUNK {
        let chunks = rows.chunks(CHUNK);
        let parts = p.temp(chunks, cols);
        let words = [rows.into(), cols.into(), ld.into(), offset.into(), CHUNK.into(), 1.0f32.into(), 0u32.into()];
        let grid = Grid::plane(Count::per(Dim::Fixed(cols), 1, LANES), Count::each(chunks));
        p.launch(&k::SUM_ROWS, &[x.into(), parts.into()], &words, grid);
        (from, offset, ld, left) = (parts, 0, cols, chunks);
    }
    let words =
        [left.into(), cols.into(), ld.into(), offset.into(), u32::MAX.into(), factor.into(), target.accumulate.into()];
    let grid = Grid::line(Count::per(Dim::Fixed(cols), 1, LANES));
    p.launch(&k::SUM_ROWS, &[from.into(), target.to], &words, grid);
}

/// target (+)= the sum of all values of `x`.
pub(crate) fn sum(p: &mut Planner, x: ValueId, target: GradTarget) {
    let cols = p.cols(x);
    let sums = p.temp(Dim::Fixed(1), cols);
    column_sums(p, x, GradTarget { to: sums.into(), accumulate: false });
    // The row as a column.
    let words: [Word; 7] =
        [cols.into(), 1u32.into(), 1u32.into(), 0u32.into(), u32::MAX.into(), 1.0f32.into(), target.accumulate.into()];
    p.launch(&k::SUM_ROWS, &[sums.into(), target.to], &words, Grid::line(Count::each(Dim::Fixed(1))));
}

/// Sum over the rows: `[R, C] -> [1, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnSum;

impl Rule for ColumnSum {
    fn name(&self) -> &'static str {
        "column sum"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        column_sums(p, x, GradTarget { to: node.outputs[0].into(), accumulate: false });
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(node.inputs[0]).shape;
        // Column c of the one gradient row goes to column c of every row.
        let words = [shape.rows.into(), shape.cols.into(), 0u32.into(), 1u32.into(), accumulate.into()];
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::SPREAD, &[g.into(), to], &words, grid);
    }
}

/// Sum over the columns: `[R, C] -> [R, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSum;

impl Rule for RowSum {
    fn name(&self) -> &'static str {
        "row sum"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let sums = s.of_blocks(node.inputs[0], |s, part, _| s.push1(*self, &[part]))?;
        let sum = s.sum(&sums)?;
        s.give(node.outputs[0], vec![sum])
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let shape = p.value(x).shape;
        let words = [shape.rows.into(), shape.cols.into()];
        let grid = Grid::line(Count::per(shape.rows, 1, LANES));
        p.launch(&k::ROW_SUM, &[x.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(node.inputs[0]).shape;
        let words = [shape.rows.into(), shape.cols.into(), 1u32.into(), 0u32.into(), accumulate.into()];
        let grid = Grid::line(Count::per(shape.rows, shape.cols, LANES));
        p.launch(&k::SPREAD, &[g.into(), to], &words, grid);
    }
}

/// Softmax over the columns of each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSoftmax;

impl Rule for RowSoftmax {
    fn name(&self) -> &'static str {
        "row softmax"
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
        let shape = p.value(x).shape;
        let words: [Word; 2] = [shape.rows.into(), shape.cols.into()];
        let grid = Grid::line(Count::per(shape.rows, 1, LANES));
        p.launch(&k::ROW_SOFTMAX, &[x.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (y, g) = (node.outputs[0], p.upstream(node.outputs[0]).expect("a gradient"));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(y).shape;
        let words = [shape.rows.into(), shape.cols.into(), accumulate.into()];
        let grid = Grid::line(Count::per(shape.rows, 1, LANES));
        p.launch(&k::ROW_SOFTMAX_GRAD, &[y.into(), g.into(), to], &words, grid);
    }
}

/// ln of the softmax over the columns of each row: `[R, C]`, and its log-sum-exp `[R, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowLogSoftmax;

impl Rule for RowLogSoftmax {
    fn name(&self) -> &'static str {
        "row log-softmax"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        expect(inputs.len() == 1, self.name(), "one matrix", inputs)?;
        let shape = inputs[0].shape;
        Ok(vec![(shape, Storage::F32), (Shape::new(shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let shape = p.value(x).shape;
        let operands = [x.into(), node.outputs[0].into(), node.outputs[1].into()];
        let words: [Word; 2] = [shape.rows.into(), shape.cols.into()];
        p.launch(&k::ROW_LOG_SOFTMAX, &operands, &words, Grid::line(Count::per(shape.rows, 1, LANES)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let y = node.outputs[0];
        let (logs, total) = (p.upstream(y), p.upstream(node.outputs[1]));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let shape = p.value(y).shape;
        let flags = bits([(k::OF_LOGS, logs.is_some()), (k::OF_TOTAL, total.is_some()), (k::ADD, accumulate)]);
        // A gradient that is not there is bound as y, unread.
        let operands = [y.into(), logs.unwrap_or(y).into(), total.unwrap_or(y).into(), to];
        let words = [shape.rows.into(), shape.cols.into(), flags.into()];
        p.launch(&k::ROW_LOG_SOFTMAX_GRAD, &operands, &words, Grid::line(Count::per(shape.rows, 1, LANES)));
    }
}

/// Sets `to` to the sum of the squares of all values of a flat buffer, in two launches.
pub(crate) fn sum_of_squares(p: &mut Planner, flat: crate::planner::Operand, count: u32, to: ValueId) {
    const EACH: u32 = 4096;
    let parts = p.temp(Dim::Fixed(count.div_ceil(EACH)), 1);
    let words = [count.into(), EACH.into()];
    p.launch(&k::SQUARES, &[flat, parts.into()], &words, Grid::line(Count::per(Dim::Fixed(count), 1, EACH)));
    add_rows(p, parts, 0, 1, 1.0, GradTarget { to: to.into(), accumulate: false });
    debug_assert_eq!(count_of(p, to), Word::Times(Dim::Fixed(1), 1));
}
