//! Values too large for one binding, in blocks of columns.
//!
//! A method that needs all instances of a bag at once cannot run in windows of rows (see [`super::windows`]). Its
//! values can be narrow, though: [`split`] records the same computation on blocks of columns, each in a buffer of its
//! own. What looks along columns (attention head by head, convolutions, pools) runs block by block as it is; layers
//! are sums over blocks; a layer norm is spelt out. Parameters, results and random numbers are those of the tape that
//! was split, so that nothing but rounding differs. Instance features stay one buffer, of which layers bind windows
//! of rows (see [`crate::ops::matmul`]).

mod rules;

use crate::error::{Error, Result};
use crate::kernels::launch::Dim;
use crate::ops::Op;
use crate::ops::pointwise::AddScaled;
use crate::ops::rows::{Concat, SliceColumns, SliceRows};
use crate::tape::{Node, Source, Tape, ValueId};

/// Records `tape` with at most `most` columns in every value that has a row for each instance or token.
///
/// # Errors
/// [`Error::Setting`] that names the operation whose columns cannot be parted.
pub fn split(tape: &Tape, most: u32) -> Result<Tape> {
    let mut to = tape.clone();
    to.nodes.clear();
    let count = tape.values.len();
    let mut splitter = Splitter { to, most, parts: vec![None; count], names: (0..count as u32).map(ValueId).collect() };
    for node in &tape.nodes {
        splitter.node(node)?;
    }
    splitter.finish()
}

/// A run of columns (or of rows of a parameter).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    count: u32,
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

struct Splitter {
    /// The new tape; the values of the old one keep their numbers.
    to: Tape,
    most: u32,
    /// Blocks of the values that are split: their columns and the value that has these.
    parts: Vec<Option<Vec<(Run, ValueId)>>>,
    /// The value that took the place of one.
    names: Vec<ValueId>,
}

impl Splitter {
    fn name(&self, v: ValueId) -> ValueId {
        self.names.get(v.index()).copied().unwrap_or(v)
    }

    fn cols(&self, v: ValueId) -> u32 {
        self.to.cols(v)
    }

    /// True for what is to be split.
    fn wide(&self, v: ValueId) -> bool {
        let value = &self.to.values[v.index()];
        matches!(value.shape.rows, Dim::Instances | Dim::Tokens)
            && value.shape.cols > self.most
            && value.source == Source::Node
    }

    /// Columns of the blocks of a value: all, unless it is split.
    fn blocks(&self, v: ValueId) -> Vec<Run> {
        let cols = self.cols(v);
        match &self.parts.get(v.index()).and_then(Option::as_ref) {
            Some(parts) => parts.iter().map(|(run, _)| *run).collect(),
            None => Run::cut(cols, if self.wide(v) { self.most } else { cols.max(1) }),
        }
    }

    /// Columns of a value.
    fn take(&mut self, v: ValueId, run: Run) -> Result<ValueId> {
        let Some(parts) = self.parts.get(v.index()).cloned().flatten() else {
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

    /// Columns of a value of the new tape.
    fn slice(&mut self, v: ValueId, run: Run) -> Result<ValueId> {
        match run == Run::whole(self.cols(v)) {
            true => Ok(v),
            false => self.to.push1(Op::SliceColumns(SliceColumns { first: run.first, count: run.count }), &[v]),
        }
    }

    /// Rows of a parameter.
    fn take_rows(&mut self, param: ValueId, run: Run) -> Result<ValueId> {
        let param = self.name(param);
        match self.to.shape(param).rows == Dim::Fixed(run.count) {
            true => Ok(param),
            false => self.to.push1(Op::SliceRows(SliceRows { first: run.first, count: run.count }), &[param]),
        }
    }

    /// Values side by side.
    fn join(&mut self, values: &[ValueId]) -> Result<ValueId> {
        let mut values = values.iter().copied();
        let first = values.next().expect("something to join");
        values.try_fold(first, |a, b| self.to.push1(Op::Concat(Concat), &[a, b]))
    }

    /// Their sum.
    fn sum(&mut self, values: &[ValueId]) -> Result<ValueId> {
        let mut values = values.iter().copied();
        let first = values.next().expect("something to add");
        values.try_fold(first, |a, b| self.to.push1(Op::AddScaled(AddScaled { a: 1.0, b: 1.0 }), &[a, b]))
    }

    /// Values that, side by side, stand for `output` from here on.
    fn give(&mut self, output: ValueId, values: Vec<ValueId>) -> Result<()> {
        if !self.wide(output) {
            self.names[output.index()] = self.join(&values)?;
            return Ok(());
        }
        let mut first = 0;
        let runs = values.into_iter().map(|value| {
            let run = Run { first, count: self.cols(value) };
            first += run.count;
            (run, value)
        });
        self.parts[output.index()] = Some(runs.collect());
        Ok(())
    }

    /// The node on the values as they are now.
    fn as_it_is(&mut self, node: &Node) {
        let inputs = node.inputs.iter().map(|v| self.name(*v)).collect();
        self.to.nodes.push(Node { op: node.op, inputs, outputs: node.outputs.clone() });
    }

    fn finish(mut self) -> Result<Tape> {
        let mut to = std::mem::take(&mut self.to);
        let refused = |what: &str| Error::setting("method", format!("{what} is not there in blocks of columns"));
        let mut made: Vec<bool> = to.values.iter().map(|v| v.source != Source::Node).collect();
        for node in &to.nodes {
            // Outputs that serve a rule's own backward pass have no blocks.
            if node.inputs.iter().any(|v| !made[v.index()]) {
                return Err(refused(node.op.rule().name()));
            }
            node.outputs.iter().for_each(|v| made[v.index()] = true);
        }
        let named = |v: ValueId| Some(self.name(v)).filter(|v| made[v.index()]).ok_or_else(|| refused("an output"));
        for value in to.outputs.iter_mut().map(|o| &mut o.value) {
            *value = named(*value)?;
        }
        to.loss = to.loss.map(named).transpose()?;
        for objective in &mut to.objectives {
            objective.value = named(objective.value)?;
        }
        for value in to.passes.looks.iter_mut().flat_map(|look| &mut look.values) {
            *value = named(*value)?;
        }
        Ok(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::Input;
    use crate::ops::critical_attention::CriticalRows;
    use crate::ops::matmul::Linear;
    use crate::ops::pointwise::Activation;
    use crate::ops::segment::{Pool, SegmentReduce, Tables};
    use crate::tape::{Init, Param, Storage};

    /// A layer of 12 columns, its largest rows, and what `of` makes of both.
    fn tape(of: impl Fn(&mut Tape, ValueId, &[ValueId])) -> Tape {
        let mut tape = Tape::new();
        let x = tape.features(3, Storage::F32, false);
        let tables = Tables::on(&mut tape);
        let weight =
            Param { name: "w".into(), rows: 12, cols: 3, init: Init::Normal(1.0), decays: true, parts: vec![] };
        let weight = tape.param(weight);
        let y = tape.push1(Op::Linear(Linear { activation: Activation::Relu }), &[x, weight]).unwrap();
        let pool = Op::SegmentReduce(SegmentReduce(Pool::Max));
        let pooled = tape.push(pool, &[&[y], &tables[..]].concat()).unwrap();
        of(&mut tape, y, &pooled);
        tape
    }

    #[test]
    fn every_value_has_few_columns_and_parameters_stay() {
        let whole = tape(|tape, _, pooled| tape.output("z", pooled[0]));
        let parts = split(&whole, 5).unwrap();
        let made = parts.nodes.iter().flat_map(|n| &n.outputs);
        let rows = made.filter(|v| parts.shape(**v).rows == Dim::Instances);
        assert_eq!(rows.map(|v| parts.cols(*v)).collect::<Vec<_>>(), [5, 5, 2]);
        assert_eq!(parts.cols(parts.output_named("z").unwrap()), 12);
        assert_eq!(parts.param_layout().total, whole.param_layout().total);
    }

    #[test]
    fn what_has_no_blocks_is_refused() {
        let message = |tape: Tape| split(&tape, 5).unwrap_err().to_string();
        let wide = message(tape(|tape, y, _| tape.output("y", y)));
        assert!(wide.contains("an output is not there in blocks"), "{wide}");
        let used = message(tape(|tape, _, pooled| {
            let narrow = tape.batch(Input::Coords, 2);
            let rows = tape.push1(Op::CriticalRows(CriticalRows), &[narrow, pooled[1]]).unwrap();
            tape.output("rows", rows);
        }));
        assert!(used.contains("critical rows"), "{used}");
    }
}
