//! How each operation is recorded on blocks of columns.

use super::{Run, Splitter};
use crate::error::{Error, Result};
use crate::kernels::launch::Dim;
use crate::ops::Op;
use crate::ops::cross_attention::{CrossAttention, Received};
use crate::ops::matmul::{Linear, Matmul};
use crate::ops::norm::LayerNorm;
use crate::ops::pointwise::{Activate, Activation, AddScaled, Affine, Multiply, StopGradient};
use crate::ops::reduce::RowSum;
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::ops::weighting::RowScale;
use crate::tape::{Node, ValueId};
use std::ops::Range;

impl Splitter {
    pub(super) fn node(&mut self, node: &Node) -> Result<()> {
        let (x, y) = (node.inputs[0], node.outputs[0]);
        if !node.inputs.iter().chain(&node.outputs).any(|v| self.wide(*v)) {
            self.as_it_is(node);
            return Ok(());
        }
        let input = |n: usize| node.inputs[n];
        match node.op {
            Op::Linear(op) => self.linear(op, node),
            // All inputs alike, column by column.
            Op::Activate(_)
            | Op::Logit(_)
            | Op::AddScaled(_)
            | Op::Multiply(_)
            | Op::Affine(_)
            | Op::Below(_)
            | Op::StopGradient(_) => self.each(node, x, 0..node.inputs.len(), |op, _| Some(op)),
            Op::Dropout(dropout) => {
                let total = self.cols(y);
                self.each(node, x, 0..1, |_, run| dropout.part_of(run.first, run.count, total).map(Op::Dropout))
            }
            // Column by column; the other inputs belong to rows or bags.
            Op::RowScale(_) | Op::SegmentReduce(_) | Op::WeightedSum(_) | Op::GatherRows(_) | Op::LandmarkMeans(_) => {
                self.each(node, x, 0..1, |op, _| Some(op))
            }
            Op::BagBroadcast(_) => self.each(node, y, 0..1, |op, _| Some(op)),
            Op::Square(_) => self.each(node, x, 0..2, |op, _| Some(op)),
            Op::Matmul(Matmul { a_t: false, b_t: false }) if !self.wide(x) => {
                self.each(node, y, 1..2, |op, _| Some(op))
            }
            Op::RowSum(op) => {
                let sums = self.of_blocks(x, |s, part, _| s.to.push1(Op::RowSum(op), &[part]))?;
                let sum = self.sum(&sums)?;
                self.give(y, vec![sum])
            }
            Op::SliceColumns(op) => {
                let mut parts = Vec::new();
                for run in self.blocks(y) {
                    parts.push(self.take(x, Run { first: op.first + run.first, count: run.count })?);
                }
                self.give(y, parts)
            }
            Op::Concat(_) => {
                let mut parts = Vec::new();
                for &input in &node.inputs {
                    for run in self.blocks(input) {
                        parts.push(self.take(input, run)?);
                    }
                }
                self.give(y, parts)
            }
            Op::LayerNorm(op) => self.layer_norm(op, node),
            Op::GridConv(_) => {
                let parts = self.of_blocks(x, |s, part, run| {
                    let (kernel, bias) = (s.take_rows(input(1), run)?, s.take(input(2), run)?);
                    s.to.push1(node.op, &[&[part, kernel, bias], &node.inputs[3..]].concat())
                })?;
                self.give(y, parts)
            }
            Op::ShiftTokens(_) => {
                let parts =
                    self.of_blocks(x, |s, part, _| s.to.push1(node.op, &[&[part], &node.inputs[1..]].concat()))?;
                self.give(y, parts)
            }
            Op::SequenceConv(_) => {
                let (heads, cols) = (self.rows_of(input(1)), self.cols(x));
                self.by_head(node, 1, heads, [cols, cols], |s, heads, [of_x, _]| {
                    let (x, taps) = (s.take(x, of_x)?, s.take_rows(input(1), heads)?);
                    s.to.push(node.op, &[&[x, taps], &node.inputs[2..]].concat())
                })
            }
            Op::CrossAttention(op) => {
                let (keys, values) = (self.cols(x), self.cols(y));
                self.by_head(node, 2, op.heads, [keys, values], |s, heads, [of_key, of_value]| {
                    let op = CrossAttention { heads: heads.count, ..op };
                    let rows = [s.take(x, of_key)?, s.take(input(1), of_key)?, s.take(input(2), of_value)?];
                    s.to.push(Op::CrossAttention(op), &[&rows, &node.inputs[3..]].concat())
                })
            }
            Op::Received(op) => {
                let keys = self.cols(input(2));
                self.by_head(node, 1, op.heads, [keys, keys], |s, heads, [of_key, _]| {
                    let op = Received { heads: heads.count, ..op };
                    let keys = [s.take(input(1), of_key)?, s.take(input(2), of_key)?];
                    let inputs = [&[s.take(x, heads)?], &keys[..], &[s.take(input(3), heads)?]].concat();
                    s.to.push(Op::Received(op), &[&inputs, &node.inputs[4..]].concat())
                })
            }
            Op::SelfAttention(op) => self.self_attention(op, node),
            Op::AttentionPool(_) => self.pool(node, self.cols(input(3))),
            Op::CriticalAttention(_) => self.pool(node, self.cols(input(2)) / self.cols(x)),
            _ => Err(self.refused(node)),
        }
    }

    fn refused(&self, node: &Node) -> Error {
        let name = node.op.rule().name();
        Error::setting("method", format!("{name} cannot run on blocks of {} columns", self.most))
    }

    fn rows_of(&self, param: ValueId) -> u32 {
        let Dim::Fixed(rows) = self.to.shape(param).rows else { unreachable!("a parameter") };
        rows
    }

    /// The node on the blocks of the value `by`, which part the output and these inputs.
    fn each(
        &mut self,
        node: &Node,
        by: ValueId,
        parted: Range<usize>,
        op: impl Fn(Op, Run) -> Option<Op>,
    ) -> Result<()> {
        let mut outputs = Vec::new();
        for run in self.blocks(by) {
            let mut inputs = Vec::new();
            for (n, input) in node.inputs.iter().enumerate() {
                inputs.push(if parted.contains(&n) { self.take(*input, run)? } else { self.name(*input) });
            }
            let op = op(node.op, run).ok_or_else(|| self.refused(node))?;
            outputs.push(self.to.push1(op, &inputs)?);
        }
        self.give(node.outputs[0], outputs)
    }

    /// Something of each block of `x`.
    fn of_blocks(
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

    /// The node on runs of heads, whose columns of values with `cols` columns `of` gets; the first `outputs` of it
    /// count, and lie head by head.
    fn by_head(
        &mut self,
        node: &Node,
        outputs: usize,
        heads: u32,
        cols: [u32; 2],
        mut of: impl FnMut(&mut Self, Run, [Run; 2]) -> Result<Vec<ValueId>>,
    ) -> Result<()> {
        let widths = cols.map(|cols| cols / heads);
        let together = self.most / widths[0].max(widths[1]);
        if together == 0 {
            return Err(self.refused(node));
        }
        let mut parts = vec![Vec::new(); outputs];
        for run in Run::cut(heads, together) {
            let columns = widths.map(|width| Run { first: run.first * width, count: run.count * width });
            let results = of(self, run, columns)?;
            parts.iter_mut().zip(results).for_each(|(parts, result)| parts.push(result));
        }
        node.outputs.iter().zip(parts).try_for_each(|(output, parts)| self.give(*output, parts))
    }

    /// act(x W^T + b): a block of columns of the result is the sum over blocks of x, in their order.
    fn linear(&mut self, op: Linear, node: &Node) -> Result<()> {
        let (x, w, bias) = (node.inputs[0], node.inputs[1], node.inputs.get(2).copied());
        let (plain, mut results) = (Op::Linear(Linear { activation: Activation::None }), Vec::new());
        for run in self.blocks(node.outputs[0]) {
            let rows = self.take_rows(w, run)?;
            let mut bias = bias.map(|b| self.take(b, run)).transpose()?;
            if !self.wide(x) {
                let x = self.name(x);
                results.push(self.to.push1(Op::Linear(op), &[&[x, rows], bias.as_slice()].concat())?);
                continue;
            }
            // It is added with the first product.
            let products = self.of_blocks(x, |s, part, run| {
                let weights = s.slice(rows, run)?;
                s.to.push1(plain, &[&[part, weights], bias.take().as_slice()].concat())
            })?;
            let sum = self.sum(&products)?;
            results.push(match op.activation {
                Activation::None => sum,
                activation => self.to.push1(Op::Activate(Activate(activation)), &[sum])?,
            });
        }
        self.give(node.outputs[0], results)
    }

    /// A layer norm from parts: means, then variances of what is left, over all blocks.
    fn layer_norm(&mut self, op: LayerNorm, node: &Node) -> Result<()> {
        let (x, gain, bias) = (node.inputs[0], node.inputs[1], node.inputs[2]);
        let factor = 1.0 / self.cols(x) as f32;
        let affine = |factor, offset| Op::Affine(Affine { factor, offset });
        let add = |a, b| Op::AddScaled(AddScaled { a, b });
        let row_sum = |s: &mut Self, part| s.to.push1(Op::RowSum(RowSum), &[part]);
        let sums = self.of_blocks(x, |s, part, _| row_sum(s, part))?;
        let sum = self.sum(&sums)?;
        let mean = self.to.push1(affine(factor, 0.0), &[sum])?;
        let centred = self.of_blocks(x, |s, part, _| {
            // Ones times the mean of each row, without a product, whose factors may be rounded.
            let constant = s.to.push1(Op::StopGradient(StopGradient), &[part])?;
            let ones = s.to.push1(affine(0.0, 1.0), &[constant])?;
            let means = s.to.push1(Op::RowScale(RowScale), &[ones, mean])?;
            s.to.push1(add(1.0, -1.0), &[part, means])
        })?;
        let mut squares = Vec::new();
        for &part in &centred {
            let square = self.to.push1(Op::Multiply(Multiply), &[part, part])?;
            squares.push(row_sum(self, square)?);
        }
        let sum = self.sum(&squares)?;
        let variance = self.to.push1(affine(factor, op.eps), &[sum])?;
        // 1 / sqrt(v) is e^(-ln(v) / 2).
        let log = self.to.push1(Op::Activate(Activate(Activation::Ln)), &[variance])?;
        let half = self.to.push1(affine(-0.5, 0.0), &[log])?;
        let inverse = self.to.push1(Op::Activate(Activate(Activation::Exp)), &[half])?;
        let constant = self.to.push1(Op::StopGradient(StopGradient), &[inverse])?;
        let ones = self.to.push1(affine(0.0, 1.0), &[constant])?;
        let outer = Op::Matmul(Matmul { a_t: false, b_t: false });
        let mut results = Vec::new();
        for (run, part) in self.blocks(x).into_iter().zip(centred) {
            let (gain, bias) = (self.take(gain, run)?, self.take(bias, run)?);
            let scaled = self.to.push1(Op::RowScale(RowScale), &[part, inverse])?;
            let (gains, biases) = (self.to.push1(outer, &[ones, gain])?, self.to.push1(outer, &[ones, bias])?);
            let product = self.to.push1(Op::Multiply(Multiply), &[scaled, gains])?;
            results.push(self.to.push1(add(1.0, 1.0), &[product, biases])?);
        }
        self.give(node.outputs[0], results)
    }

    fn self_attention(&mut self, op: SelfAttention, node: &Node) -> Result<()> {
        let input = |n: usize| node.inputs[n];
        let (keys, values) = (self.cols(input(0)), self.cols(input(2)));
        let (tables, before) = (&node.inputs[node.inputs.len() - 3..], node.inputs.len() - 3);
        // The shares of the distance-aware energy are for its own backward pass.
        let outputs = if let Energy::Binned { .. } = op.energy { 3 } else { 2 };
        self.by_head(node, outputs, op.heads, [keys, values], |s, heads, [of_key, of_value]| {
            let mut inputs = vec![s.take(input(0), of_key)?, s.take(input(1), of_key)?, s.take(input(2), of_value)?];
            let more: &[Run] = match op.energy {
                Energy::Distance { .. } => &[of_key, of_key, of_value, heads],
                Energy::Binned { bins, .. } => {
                    let of_bins = Run { first: heads.first * bins, count: heads.count * bins };
                    &[of_bins, of_bins]
                }
                _ => &[heads],
            };
            for (n, run) in (3..before).zip(more) {
                inputs.push(s.take(input(n), *run)?);
            }
            // The places are for all heads.
            inputs.extend((3..before).skip(more.len()).map(|n| s.name(input(n))));
            let dropout = op.dropout.heads_of(heads.first, op.heads);
            let op = SelfAttention { heads: heads.count, dropout, ..op };
            s.to.push(Op::SelfAttention(op), &[&inputs, tables].concat())
        })
    }

    /// Pools of several heads or classes: all of them for each block of the values, whose rows are put into the
    /// order of heads afterwards. Scores are computed for each block.
    fn pool(&mut self, node: &Node, heads: u32) -> Result<()> {
        if self.wide(node.inputs[0]) || !self.wide(node.inputs[1]) {
            return Err(self.refused(node));
        }
        let mut all = Vec::new();
        for run in self.blocks(node.inputs[1]) {
            let mut inputs: Vec<ValueId> = node.inputs.iter().map(|v| self.name(*v)).collect();
            inputs[1] = self.take(node.inputs[1], run)?;
            all.push(self.to.push(node.op, &inputs)?);
        }
        let mut rows = Vec::new();
        for head in 0..heads {
            for outputs in &all {
                let count = self.cols(outputs[0]) / heads;
                rows.push(self.slice(outputs[0], Run { first: head * count, count })?);
            }
        }
        self.give(node.outputs[0], rows)?;
        let beside = node.outputs[1..].iter().zip(&all[0][1..]);
        beside.into_iter().try_for_each(|(output, value)| self.give(*output, vec![*value]))
    }
}
