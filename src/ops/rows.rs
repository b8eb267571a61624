//! Rows picked by an index; matrices joined and cut by columns.

use super::columns::{Run, Splitter};
use super::{Locality, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{Count, Dim, Grid};
use crate::kernels::rows as k;
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Rows picked by an index. Inputs: x `[R, C]`, index `[I, 1]` of rows of x. Output: `[I, C]`.
///
/// A row may be picked any number of times. An index behind the last row gives zeros and no gradient, so
/// that padding needs no memory in x.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatherRows;

impl Rule for GatherRows {
    fn name(&self) -> &'static str {
        "gather rows"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        s.each(*self, node, node.inputs[0], 0..1)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2 && inputs[1].storage == Storage::U32 && inputs[1].shape.cols == 1;
        expect(ok, self.name(), "x [R, C] and an index [I, 1]", inputs)?;
        Ok(vec![(Shape::new(inputs[1].shape.rows, inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, index) = (p.dense(node.inputs[0]), node.inputs[1]);
        let (count, cols) = (p.rows(index), p.cols(x));
        let words = [count.into(), p.rows(x).into(), cols.into()];
        let grid = Grid::line(Count::per(count, cols, LANES));
        p.launch(&k::GATHER_ROWS, &[x.into(), index.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let index = node.inputs[1];
        let (rows, cols) = (p.rows(node.inputs[0]), p.cols(g));
        let words = [p.rows(index).into(), rows.into(), cols.into(), accumulate.into()];
        let grid = Grid::line(Count::per(rows, 1, k::SCATTER_TILE));
        p.launch(&k::SCATTER_ROWS, &[g.into(), index.into(), to], &words, grid);
    }
}

/// A run of columns to copy; the first column of the source may be negative.
struct Columns {
    count: u32,
    from_first: i32,
    to_first: u32,
}

fn copy(p: &mut Planner, from: ValueId, to: (Operand, u32), columns: Columns, accumulate: bool) {
    copy_runs(p, (p.rows(from), p.cols(from)), from, to, columns, accumulate);
}

/// As `copy`, where `from` counts as a matrix of this shape.
fn copy_runs(
    p: &mut Planner,
    (rows, from_cols): (Dim, u32),
    from: ValueId,
    (to, to_cols): (Operand, u32),
    columns: Columns,
    accumulate: bool,
) {
    let words = [
        rows.into(),
        columns.count.into(),
        from_cols.into(),
        (columns.from_first as u32).into(),
        to_cols.into(),
        columns.to_first.into(),
        accumulate.into(),
    ];
    p.launch(&k::COPY_COLUMNS, &[from.into(), to], &words, Grid::line(Count::per(rows, columns.count, LANES)));
}

/// Where the gradient of a slice goes: what is there already stays outside of it, else the rest becomes zero.
fn slice_back(accumulate: bool, [first, count, all]: [u32; 3]) -> Columns {
    match accumulate {
        true => Columns { count, from_first: 0, to_first: first },
        false => Columns { count: all, from_first: -(first as i32), to_first: 0 },
    }
}

/// Two matrices side by side: `[R, A]`, `[R, B]` to `[R, A + B]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concat;

impl Rule for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let mut parts = Vec::new();
        for &input in node.inputs {
            for run in s.blocks(input) {
                parts.push(s.take(input, run)?);
            }
        }
        s.give(node.outputs[0], parts)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2 && inputs[0].shape.rows == inputs[1].shape.rows;
        expect(ok, self.name(), "two matrices with the same rows", inputs)?;
        let cols = inputs[0].shape.cols + inputs[1].shape.cols;
        Ok(vec![(Shape::new(inputs[0].shape.rows, cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let to = (node.outputs[0].into(), p.cols(node.outputs[0]));
        let mut to_first = 0;
        for input in node.inputs {
            let x = p.dense(*input);
            let count = p.cols(x);
            copy(p, x, to, Columns { count, from_first: 0, to_first }, false);
            to_first += count;
        }
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let mut from_first = 0;
        for input in node.inputs {
            let count = p.cols(*input);
            if let Some(GradTarget { to, accumulate }) = p.grad(*input) {
                copy(p, g, (to, count), Columns { count, from_first, to_first: 0 }, accumulate);
            }
            from_first += count as i32;
        }
    }
}

/// Columns `first .. first + count` of a matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SliceColumns {
    /// First column.
    pub first: u32,
    /// Columns.
    pub count: u32,
}

impl Rule for SliceColumns {
    fn name(&self) -> &'static str {
        "slice columns"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let mut parts = Vec::new();
        for run in s.blocks(node.outputs[0]) {
            parts.push(s.take(node.inputs[0], Run { first: self.first + run.first, count: run.count })?);
        }
        s.give(node.outputs[0], parts)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let end = self.first as u64 + self.count as u64;
        let ok = inputs.len() == 1 && self.count > 0 && end <= inputs[0].shape.cols as u64;
        expect(ok, self.name(), &format!("a matrix with at least {end} columns, some of them taken"), inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, self.count), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let columns = Columns { count: self.count, from_first: self.first as i32, to_first: 0 };
        copy(p, x, (node.outputs[0].into(), self.count), columns, false);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let cols = p.cols(node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let columns = slice_back(accumulate, [self.first, self.count, cols]);
        copy(p, g, (to, cols), columns, accumulate);
    }
}

/// Rows `first .. first + count` of a matrix with a fixed number of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SliceRows {
    /// First row.
    pub first: u32,
    /// Rows.
    pub count: u32,
}

impl Rule for SliceRows {
    fn name(&self) -> &'static str {
        "slice rows"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let end = self.first as u64 + self.count as u64;
        let enough = |v: &Value| matches!(v.shape.rows, Dim::Fixed(rows) if end <= rows as u64);
        let ok = inputs.len() == 1 && self.count > 0 && enough(&inputs[0]);
        expect(ok, self.name(), &format!("a matrix with a fixed number of at least {end} rows"), inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(self.count), inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let [all, first, count] = self.values(p, x);
        let columns = Columns { count, from_first: first as i32, to_first: 0 };
        copy_runs(p, (Dim::Fixed(1), all), x, (node.outputs[0].into(), count), columns, false);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let [all, first, count] = self.values(p, node.inputs[0]);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let columns = slice_back(accumulate, [first, count, all]);
        copy_runs(p, (Dim::Fixed(1), count), g, (to, all), columns, accumulate);
    }
}

impl SliceRows {
    /// All values of a matrix, and the first and the number of those in the slice.
    fn values(&self, p: &Planner, x: ValueId) -> [u32; 3] {
        let Dim::Fixed(rows) = p.rows(x) else { unreachable!("checked shapes") };
        [rows, self.first, self.count].map(|n| n * p.cols(x))
    }
}
