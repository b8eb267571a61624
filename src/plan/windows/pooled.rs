//! Pools of windows: what is merged into the rows of bags, and what comes back of their gradient.

use crate::kernels::launch::{BufferKey, Count, Dim, Grid, Scalar, Word};
use crate::kernels::windows as k;
use crate::ops::segment::Tables;
use crate::ops::{Locality, Merge};
use crate::planner::{Operand, Planner};
use crate::tape::{Node, Shape, Source, Storage, Tape, ValueId};

/// A pooling node and the buffers of its results: the pooled rows, and what merging needs beside them.
#[derive(Clone, Debug)]
pub(super) struct Pooled {
    pub node: Node,
    how: How,
    pub value: Kept,
    beside: Kept,
}

/// What is merged: pools, or the rows that a maximum chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Merge(Merge),
    Pick,
}

/// A buffer that outlives the programs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub number: u8,
    pub shape: Shape,
    storage: Storage,
}

/// Workgroups for each bag of a window.
fn each_bag(workgroups: u32) -> Grid {
    Grid::line(Count::per(Dim::Bags, workgroups, 1))
}

/// A pooled value that the rows of later windows read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub value: ValueId,
    pub kept: Kept,
}

impl Taken {
    fn words(self) -> [Word; 3] {
        [Dim::Bags.into(), self.kept.shape.cols.into(), Scalar::FirstBag.into()]
    }

    /// The part of the window's bags.
    pub fn take(self, p: &mut Planner) {
        let all = self.kept.value(p);
        p.launch(&k::WINDOW_TAKE, &[all.into(), self.value.into()], &self.words(), each_bag(1));
    }

    /// Adds the window's gradient to that of the bags.
    pub fn give(self, p: &mut Planner) {
        let Some(gradient) = p.upstream(self.value) else { return };
        let all = self.kept.gradient(p);
        p.launch(&k::WINDOW_ADD, &[gradient.into(), all.into()], &self.words(), each_bag(1));
    }
}

impl Kept {
    pub fn source(self) -> Source {
        Source::Kept(BufferKey::Carry(self.number))
    }

    pub fn value(self, p: &mut Planner) -> ValueId {
        p.push_from(self.shape, self.storage, self.source())
    }

    pub fn gradient(self, p: &mut Planner) -> ValueId {
        p.push_from(self.shape, Storage::F32, Source::Kept(BufferKey::CarryGrad(self.number)))
    }
}

impl Pooled {
    /// `number` is the first of two that no other pool has. `before` are the pools of the same windows.
    pub fn new(tape: &Tape, node: &Node, number: u8, before: &[Pooled]) -> Option<Self> {
        let shape = |output: usize| tape.shape(node.outputs[output]);
        let value = Kept { number, shape: shape(0), storage: Storage::F32 };
        let kept = |shape, storage| Kept { number: number + 1, shape, storage };
        let how = match node.op.rule().locality() {
            Locality::Pool(merge) | Locality::PoolAfter(merge, _) => How::Merge(merge),
            Locality::Pick => How::Pick,
            _ => return None,
        };
        let beside = match how {
            // Log-sum-exp of each head or class; the row of each maximum; instances of each bag.
            How::Merge(Merge::Softmax) => kept(shape(2), Storage::F32),
            How::Merge(Merge::Max) => kept(shape(1), Storage::U32),
            How::Merge(_) => kept(Shape::new(Dim::Bags, 1), Storage::U32),
            // Beside it are the rows of the maximum that chose them.
            How::Pick => before.iter().find(|pool| pool.node.outputs.get(1) == Some(&node.inputs[1]))?.beside,
        };
        Some(Self { node: node.clone(), how, value, beside })
    }

    /// True when `other` reads what is beside this one.
    pub fn serves(&self, other: &Pooled) -> bool {
        self.beside.number == other.beside.number
    }

    /// Buffers that stay between the parts, and their shapes.
    pub fn buffers(&self) -> Vec<(BufferKey, Shape)> {
        let number = self.value.number;
        let own = [(BufferKey::Carry(number), self.value.shape), (BufferKey::CarryGrad(number), self.value.shape)];
        let beside = (BufferKey::Carry(self.beside.number), self.beside.shape);
        // That of rows of maxima is the maximum's.
        let owned = self.beside.number == number + 1;
        own.into_iter().chain(owned.then_some(beside)).collect()
    }

    pub fn wants(&self, tape: &Tape) -> bool {
        tape.values[self.node.outputs[0].index()].needs_grad
    }

    pub fn merge(&self, p: &mut Planner) {
        let (value, beside) = (self.value.value(p), self.beside.value(p));
        let out = &self.node.outputs;
        let (kernel, operands) = match self.how {
            How::Merge(Merge::Softmax) => (&k::WINDOW_SOFTMAX, [out[0], out[2], value, beside]),
            How::Pick => (&k::WINDOW_PICK, [self.node.inputs[1], beside, out[0], value]),
            How::Merge(Merge::Max) => (&k::WINDOW_MAX, [out[0], out[1], value, beside]),
            How::Merge(_) => (&k::WINDOW_MEAN, [out[0], Tables::of(self.node.io()).offsets, value, beside]),
        };
        let (words, grid) = match self.how {
            How::Merge(Merge::Max) => (self.words(Scalar::FirstRow.into()), each_bag(1)),
            _ => self.launched(),
        };
        p.launch(kernel, &operands.map(Operand::Value), &words, grid);
    }

    /// Gives the window's pooled rows their part of the bag's gradient.
    pub fn share(&self, p: &mut Planner) {
        let out = &self.node.outputs;
        let (all, beside, gradient) = (self.value.value(p), self.beside.value(p), self.value.gradient(p));
        let seed = p.push_value(self.value.shape, Storage::F32);
        p.grads[out[0].index()] = Some(seed);
        let (kernel, operands) = match self.how {
            How::Merge(Merge::Softmax) => (&k::WINDOW_SOFTMAX_SHARE, vec![out[2], all, beside, gradient, out[0], seed]),
            How::Pick => (&k::WINDOW_MAX_SHARE, vec![self.node.inputs[1], beside, gradient, seed]),
            How::Merge(Merge::Max) => (&k::WINDOW_MAX_SHARE, vec![out[1], beside, gradient, seed]),
            How::Merge(_) => {
                let offsets = Tables::of(self.node.io()).offsets;
                (&k::WINDOW_MEAN_SHARE, vec![out[0], offsets, all, beside, gradient, seed])
            }
        };
        let operands: Vec<Operand> = operands.into_iter().map(Operand::Value).collect();
        let (words, grid) = self.launched();
        p.launch(kernel, &operands, &words, grid);
    }

    /// Bags, columns, first bag, whether that began before, and `last`.
    fn words(&self, last: Word) -> [Word; 5] {
        let [bag, continued] = [Scalar::FirstBag, Scalar::Continued].map(Word::from);
        [Dim::Bags.into(), self.value.shape.cols.into(), bag, continued, last]
    }

    /// Parameters and workgroups, of merging and of sharing alike but for merging maxima.
    fn launched(&self) -> ([Word; 5], Grid) {
        let (bags, cols, beside) = (Word::from(Dim::Bags), self.value.shape.cols, self.beside.shape.cols);
        let [bag, continued, row] = [Scalar::FirstBag, Scalar::Continued, Scalar::FirstRow].map(Word::from);
        match self.how {
            How::Merge(Merge::Softmax) => {
                ([bags, (cols / beside).into(), beside.into(), bag, continued], each_bag(beside))
            }
            How::Merge(merge @ (Merge::Sum | Merge::Mean | Merge::LogMeanExp | Merge::LogSumExp)) => {
                (self.words(kind(merge).into()), each_bag(1))
            }
            // What looks for the window of a maximum.
            How::Merge(Merge::Max) | How::Pick => ([bags, cols.into(), bag, row, (cols / beside).into()], each_bag(1)),
        }
    }
}

/// What the kernels of means call it.
fn kind(merge: Merge) -> u32 {
    match merge {
        Merge::Mean => k::MEAN,
        Merge::LogMeanExp => k::LOG_MEAN_EXP,
        Merge::LogSumExp => k::LOG_SUM_EXP,
        _ => k::SUM,
    }
}
