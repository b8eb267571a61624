//! Recording an operation on blocks of columns: what [`Rule::split`](super::Rule::split) works with.

use super::pointwise::AddScaled;
use super::rows::{Concat, SliceColumns, SliceRows};
use super::{Op, Recorder};
use crate::error::{Error, Result};
use crate::kernels::launch::Dim;
use crate::value::{Io, Source, ValueId};
use std::ops::Range;

/// A run of columns (or of rows of a parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first of them.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl Run {
    fn whole(count: u32) -> Self {
        Self { first: 0, count }
    }

    /// Runs of at most `size` that cover `count`.
    fn cut(count: u32, size: u32) -> Vec<Run> {
        (0..count).step_by(size as usize).map(|first| Run { first, count: size.min(count - first) }).collect()
    }
}

/// What stands for the values of a tape where some of them are split.
pub(crate) struct Blocks {
    /// Columns of a block at most.
    most: u32,
    /// Blocks of the values that are split: their columns and the value that has these.
    parts: Vec<Option<Vec<(Run, ValueId)>>>,
    /// The value that took the place of one.
    names: Vec<ValueId>,
}

impl Blocks {
    /// For `count` values that stand for themselves.
    pub fn new(count: usize, most: u32) -> Self {
        Self { most, parts: vec![None; count], names: (0..count as u32).map(ValueId).collect() }
    }

    /// What stands for a value that is in one piece.
    pub fn name(&self, v: ValueId) -> ValueId {
        self.names.get(v.index()).copied().unwrap_or(v)
    }
}

/// Records one operation on blocks of columns.
pub struct Splitter<'a> {
    to: &'a mut dyn Recorder,
    blocks: &'a mut Blocks,
    operation: &'static str,
}

impl<'a> Splitter<'a> {
    /// For the operation of this name; `to` has the values before it.
    pub(crate) fn new(to: &'a mut dyn Recorder, blocks: &'a mut Blocks, operation: &'static str) -> Self {
        Self { to, blocks, operation }
    }

    /// The error of an operation whose columns cannot be parted.
    pub fn refused(&self) -> Error {
        let message = format!("{} cannot run on blocks of {} columns", self.operation, self.blocks.most);
        Error::setting("method", message)
    }

    /// Records an operation.
    ///
    /// # Errors
    /// [`Error::Shape`] when it does not accept these inputs.
    pub fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        self.to.record(op.into(), inputs)
    }

    /// Records an operation with one output that matters.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn push1(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> Result<ValueId> {
        Ok(self.push(op, inputs)?[0])
    }

    /// What stands for a value that is in one piece.
    pub fn name(&self, v: ValueId) -> ValueId {
        self.blocks.name(v)
    }

    /// Columns of a value.
    pub fn cols(&self, v: ValueId) -> u32 {
        self.to.value(v).shape.cols
    }

    /// Rows of a parameter.
    pub fn rows(&self, param: ValueId) -> u32 {
        let Dim::Fixed(rows) = self.to.value(param).shape.rows else { unreachable!("a parameter") };
        rows
    }

    /// True for what is to be split.
    pub fn wide(&self, v: ValueId) -> bool {
        let value = self.to.value(v);
        matches!(value.shape.rows, Dim::Instances | Dim::Tokens)
            && value.shape.cols > self.blocks.most
            && value.source == Source::Node
    }

    /// Columns of the blocks of a value: all, unless it is split.
    pub fn blocks(&self, v: ValueId) -> Vec<Run> {
        let cols = self.cols(v);
        match &self.blocks.parts.get(v.index()).and_then(Option::as_ref) {
            Some(parts) => parts.iter().map(|(run, _)| *run).collect(),
            None => Run::cut(cols, if self.wide(v) { self.blocks.most } else { cols.max(1) }),
        }
    }

    /// Columns of a value.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn take(&mut self, v: ValueId, run: Run) -> Result<ValueId> {
        let Some(parts) = self.blocks.parts.get(v.index()).cloned().flatten() else {
            return self.slice(self.name(v), run);
        };
        let mut joined = Vec::new();
        for (block, part) in parts {
            let first = run.first.max(block.first);
            let end = (run.first + run.count).min(block.first + block.count);
            if first < end {
                joined.push(self.slice(part, Run { first: first - block.first, count: end - first })?);
            }
        }
        self.join(&joined)
    }

    /// Rows of a parameter.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn take_rows(&mut self, param: ValueId, run: Run) -> Result<ValueId> {
        let param = self.name(param);
        match self.rows(param) == run.count {
            true => Ok(param),
            false => self.push1(SliceRows { first: run.first, count: run.count }, &[param]),
        }
    }

    /// Columns of something that was recorded here.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn slice(&mut self, v: ValueId, run: Run) -> Result<ValueId> {
        match run == Run::whole(self.cols(v)) {
            true => Ok(v),
            false => self.push1(SliceColumns { first: run.first, count: run.count }, &[v]),
        }
    }

    /// Values side by side.
    fn join(&mut self, values: &[ValueId]) -> Result<ValueId> {
        let mut values = values.iter().copied();
        let first = values.next().expect("something to join");
        values.try_fold(first, |a, b| self.push1(Concat, &[a, b]))
    }

    /// The sum of values.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn sum(&mut self, values: &[ValueId]) -> Result<ValueId> {
        let mut values = values.iter().copied();
        let first = values.next().expect("something to add");
        values.try_fold(first, |a, b| self.push1(AddScaled { a: 1.0, b: 1.0 }, &[a, b]))
    }

    /// Lets values that were recorded here, side by side, stand for `output`.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn give(&mut self, output: ValueId, values: Vec<ValueId>) -> Result<()> {
        if !self.wide(output) {
            self.blocks.names[output.index()] = self.join(&values)?;
            return Ok(());
        }
        let mut first = 0;
        let runs = values.into_iter().map(|value| {
            let run = Run { first, count: self.cols(value) };
            first += run.count;
            (run, value)
        });
        self.blocks.parts[output.index()] = Some(runs.collect());
        Ok(())
    }

    /// An operation that works column by column: the same on each block of the value `by`, which part the output and
    /// the inputs of these numbers.
    ///
    /// # Errors
    /// As [`Splitter::push`].
    pub fn each(&mut self, op: impl Into<Op>, node: Io, by: ValueId, parted: Range<usize>) -> Result<()> {
        let op = op.into();
        self.each_as(|_, _| Ok(op.clone()), node, by, parted)
    }

    /// [`Splitter::each`] with an operation for each block.
    ///
    /// # Errors
    /// As [`Splitter::push`], and what `op` returns.
    pub fn each_as(
        &mut self,
        op: impl Fn(&Self, Run) -> Result<Op>,
        node: Io,
        by: ValueId,
        parted: Range<usize>,
    ) -> Result<()> {
        let mut outputs = Vec::new();
        for run in self.blocks(by) {
            let mut inputs = Vec::new();
            for (n, input) in node.inputs.iter().enumerate() {
                inputs.push(if parted.contains(&n) { self.take(*input, run)? } else { self.name(*input) });
            }
            let op = op(self, run)?;
            outputs.push(self.push1(op, &inputs)?);
        }
        self.give(node.outputs[0], outputs)
    }

    /// Something of each block of `x`.
    ///
    /// # Errors
    /// What `of` returns.
    pub fn of_blocks(
        &mut self,
        x: ValueId,
        mut of: impl FnMut(&mut Self, ValueId, Run) -> Result<ValueId>,
    ) -> Result<Vec<ValueId>> {
        let mut values = Vec::new();
        for run in self.blocks(x) {
            let part = self.take(x, run)?;
            values.push(of(self, part, run)?);
        }
        Ok(values)
    }

    /// An operation on runs of heads, whose columns of values with `cols` columns `of` gets; the first `outputs` of it
    /// count, and lie head by head.
    ///
    /// # Errors
    /// [`Splitter::refused`] where one head is wider than a block; what `of` returns.
    pub fn by_head(
        &mut self,
        node: Io,
        outputs: usize,
        heads: u32,
        cols: [u32; 2],
        mut of: impl FnMut(&mut Self, Run, [Run; 2]) -> Result<Vec<ValueId>>,
    ) -> Result<()> {
        let widths = cols.map(|cols| cols / heads);
        let together = self.blocks.most / widths[0].max(widths[1]);
        if together == 0 {
            return Err(self.refused());
        }
        let mut parts = vec![Vec::new(); outputs];
        for run in Run::cut(heads, together) {
            let columns = widths.map(|width| Run { first: run.first * width, count: run.count * width });
            let results = of(self, run, columns)?;
            parts.iter_mut().zip(results).for_each(|(parts, result)| parts.push(result));
        }
        node.outputs.iter().zip(parts).try_for_each(|(output, parts)| self.give(*output, parts))
    }
}
