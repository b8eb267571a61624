//! Batches too large for the device, in windows of rows.
//!
//! A method that pools its instances once can run over a batch piece by piece with the same result: each
//! window of rows is embedded and pooled, its pooled rows are merged into those of the bags ([`Part::Rows`]);
//! the bags are classified, and their gradients computed down to the pooled rows ([`Part::Bags`]); each
//! window is embedded once more and takes its share of that gradient down to the parameters
//! ([`Part::RowsBackward`]); the parameters move ([`Part::Update`]). The device holds one window at a time,
//! however long a bag is, and a gradient is exact: nothing is approximated, only recomputed.
//!
//! The pooled rows and their gradients stay in buffers of their own between the parts ([`BufferKey::Carry`]).

use super::{Operand, Planner, Program, Purpose, Target, assemble, backward, forward, needed_nodes, seed_loss, update};
use crate::error::{Error, Result};
use crate::kernels::elementwise::{FILL, LANES};
use crate::kernels::launch::{BufferKey, Count, Dim, Extent, Grid, Input, Scalar, Word};
use crate::kernels::windows as k;
use crate::ops::Op;
use crate::ops::segment::{Pool, Tables};
use crate::tape::{Node, Shape, Source, Storage, Tape, ValueId};

/// One of the programs that a batch in windows runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A window forward, merged into the bags' pooled rows.
    Rows,
    /// The bags: outputs, loss, gradients of the pooled rows. Starts with gradients of 0.
    Bags,
    /// A window forward and backward; adds to the gradients of the parameters.
    RowsBackward,
    /// The update.
    Update,
}

/// A tape cut where instances become bags.
#[derive(Clone, Debug)]
pub struct Windowed {
    rows: Tape,
    bags: Tape,
    pools: Vec<Pooled>,
    /// Outputs of instances that are a softmax over their bag, which is left to whoever reads them: `rows`
    /// has its input under the name.
    pub softmax_outputs: Vec<String>,
}

/// A pooling node and the buffers of its results: the pooled rows, and what merging needs beside them.
#[derive(Clone, Debug)]
struct Pooled {
    node: Node,
    value: Kept,
    beside: Kept,
}

/// A buffer that outlives the programs.
#[derive(Clone, Copy, Debug)]
struct Kept {
    number: u8,
    shape: Shape,
    storage: Storage,
}

/// What a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Parameters and what is computed from them alone.
    Shared,
    /// Instances.
    Rows,
    /// Bags.
    Bags,
    /// A softmax over the bag of an instance value.
    Softmax(ValueId),
}

/// True for operations that look at one instance at a time.
fn row_by_row(op: &Op) -> bool {
    matches!(
        op,
        Op::Linear(_)
            | Op::Activate(_)
            | Op::Logit(_)
            | Op::AddScaled(_)
            | Op::Multiply(_)
            | Op::RowSum(_)
            | Op::RowSoftmax(_)
            | Op::RowScale(_)
            | Op::Dropout(_)
            | Op::ChannelDropout(_)
            | Op::Affine(_)
            | Op::StopGradient(_)
            | Op::Below(_)
            | Op::Concat(_)
            | Op::SliceColumns(_)
            | Op::LayerNorm(_)
            | Op::InstanceNorm(_)
            | Op::UnitRows(_)
            | Op::Conv2d(_)
            | Op::ConvTranspose2d(_)
            | Op::MaxPool(_)
            | Op::ChannelMean(_)
            | Op::Upsample(_)
            | Op::Pad(_)
    )
}

impl Windowed {
    /// Cuts `tape`.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the operation for which a bag must be whole.
    pub fn of(tape: &Tape) -> Result<Self> {
        if tape.teacher.is_some() {
            return Err(Error::setting("windows", "a teacher looks at whole bags before its student does"));
        }
        let mut kinds: Vec<Kind> = tape.values.iter().map(|v| kind_of(v.shape.rows)).collect();
        let (mut rows, mut bags) = (tape.clone(), tape.clone());
        (rows.nodes, bags.nodes, rows.outputs, bags.outputs) = Default::default();
        rows.loss = None;
        let mut pools: Vec<Pooled> = Vec::new();
        for node in &tape.nodes {
            let table = |v: &ValueId| {
                let tables = [Input::Tiles, Input::BagTiles, Input::Offsets];
                matches!(tape.values[v.index()].source, Source::Input(input) if tables.contains(&input))
            };
            let inputs: Vec<Kind> = node.inputs.iter().filter(|v| !table(v)).map(|v| kinds[v.index()]).collect();
            let all = |allowed: &[Kind]| inputs.iter().all(|k| allowed.contains(k));
            let over_rows = all(&[Kind::Rows, Kind::Shared]) && inputs.contains(&Kind::Rows);
            match node.op {
                Op::SegmentReduce(_) | Op::AttentionPool(_) if over_rows => {
                    let pooled = Pooled::new(tape, node, 2 * pools.len() as u8);
                    bags.values[node.outputs[0].index()].source = pooled.value.source();
                    pools.push(pooled);
                    rows.nodes.push(node.clone());
                }
                Op::SegmentSoftmax(_) if over_rows => {
                    kinds[node.outputs[0].index()] = Kind::Softmax(node.inputs[0]);
                }
                op if over_rows && row_by_row(&op) => rows.nodes.push(node.clone()),
                _ if all(&[Kind::Bags, Kind::Shared]) => {
                    node.outputs.iter().for_each(|o| kinds[o.index()] = Kind::Bags);
                    bags.nodes.push(node.clone());
                }
                op => {
                    let message = format!("{} needs all instances of a bag at once", op.rule().name());
                    return Err(Error::setting("method", message));
                }
            }
        }
        let mut softmax_outputs = Vec::new();
        for (name, value) in &tape.outputs {
            match kinds[value.index()] {
                Kind::Rows => rows.output(name, *value),
                Kind::Softmax(input) => {
                    rows.output(name, input);
                    softmax_outputs.push(name.clone());
                }
                Kind::Bags | Kind::Shared => bags.output(name, *value),
            }
        }
        Ok(Self { rows, bags, pools, softmax_outputs })
    }

    /// Plans one part for windows (and batches of bags) up to `capacity`.
    ///
    /// # Errors
    /// As [`super::plan`].
    pub fn plan(&self, part: Part, purpose: Purpose, target: Target, capacity: Extent) -> Result<Program> {
        let bags_needed = needed_nodes(&self.bags, purpose);
        let tape = match part {
            Part::Bags => &self.bags,
            _ => &self.rows,
        };
        // The same pools and rows in every part, so that all of them see the same windows.
        let used: Vec<&Pooled> = self.pools.iter().filter(|p| self.is_used(p, &bags_needed)).collect();
        let mut p = Planner::new(tape, purpose, target, capacity);
        p.param_written = vec![true; tape.params.len()];
        match part {
            Part::Rows => {
                let outputs = !matches!(purpose, Purpose::Train(_));
                forward(&mut p, tape, &self.rows_needed(&used, outputs));
                used.iter().for_each(|pool| pool.merge(&mut p));
            }
            Part::Bags => {
                if purpose != Purpose::Predict {
                    let all = tape.param_layout().total as u32;
                    fill(&mut p, Operand::Flat(BufferKey::Grads), Dim::Fixed(all), 1);
                }
                forward(&mut p, tape, &bags_needed);
                if purpose != Purpose::Predict {
                    seed_loss(&mut p, tape, purpose);
                    backward(&mut p, tape, &bags_needed);
                    for pool in &used {
                        let z = pool.node.outputs[0];
                        if p.wants(z) && p.upstream(z).is_none() {
                            let to = p.grad(z).expect("it is wanted").to;
                            fill(&mut p, to, Dim::Bags, pool.value.shape.cols);
                        }
                    }
                }
            }
            Part::RowsBackward => {
                let needed = self.rows_needed(&used, false);
                forward(&mut p, tape, &needed);
                used.iter().filter(|pool| pool.wants(&self.rows)).for_each(|pool| pool.share(&mut p));
                backward(&mut p, tape, &needed);
            }
            Part::Update => {
                update(&mut p, tape, purpose);
            }
        }
        assemble::assemble(p, purpose, &[])
    }

    fn is_used(&self, pool: &Pooled, bags_needed: &[bool]) -> bool {
        let z = pool.node.outputs[0];
        let nodes = self.bags.nodes.iter().zip(bags_needed);
        nodes.filter(|(_, needed)| **needed).any(|(node, _)| node.inputs.contains(&z))
            || self.bags.outputs.iter().any(|(_, v)| *v == z)
    }

    fn rows_needed(&self, used: &[&Pooled], outputs: bool) -> Vec<bool> {
        let mut wanted = vec![false; self.rows.values.len()];
        used.iter().for_each(|pool| wanted[pool.node.outputs[0].index()] = true);
        if outputs {
            self.rows.outputs.iter().for_each(|(_, v)| wanted[v.index()] = true);
        }
        super::needed(&self.rows, wanted)
    }

    /// Buffers that stay between the parts, with their bytes for batches of up to `bags` bags.
    pub fn kept(&self, bags: u32) -> Vec<(BufferKey, u64)> {
        let extent = Extent { bags, ..Extent::default() };
        let bytes = |kept: Kept| kept.shape.rows.of(&extent) as u64 * kept.shape.cols as u64 * 4;
        let of = |pool: &Pooled| {
            let value = (BufferKey::Carry(pool.value.number), bytes(pool.value));
            let beside = (BufferKey::Carry(pool.beside.number), bytes(pool.beside));
            [value, beside, (BufferKey::CarryGrad(pool.value.number), value.1)]
        };
        self.pools.iter().flat_map(of).collect()
    }
}

fn kind_of(rows: Dim) -> Kind {
    match rows {
        Dim::Instances => Kind::Rows,
        Dim::Bags => Kind::Bags,
        _ => Kind::Shared,
    }
}

fn fill(p: &mut Planner, to: Operand, rows: Dim, cols: u32) {
    let grid = Grid::line(Count::per(rows, cols, 4 * LANES));
    p.launch(&FILL, &[to], &[Word::Times(rows, cols), 0.0f32.into()], grid);
}

impl Kept {
    fn source(self) -> Source {
        Source::Kept(BufferKey::Carry(self.number))
    }

    fn value(self, p: &mut Planner) -> ValueId {
        p.push_from(self.shape, self.storage, self.source())
    }

    fn gradient(self, p: &mut Planner) -> ValueId {
        p.push_from(self.shape, Storage::F32, Source::Kept(BufferKey::CarryGrad(self.number)))
    }
}

impl Pooled {
    fn new(tape: &Tape, node: &Node, number: u8) -> Self {
        let shape = |output: usize| tape.shape(node.outputs[output]);
        let value = Kept { number, shape: shape(0), storage: Storage::F32 };
        let (beside, storage) = match node.op {
            // Log-sum-exp of each head; the row of each maximum; instances of each bag.
            Op::AttentionPool(_) => (shape(2), Storage::F32),
            Op::SegmentReduce(r) if r.0 == Pool::Max => (shape(1), Storage::U32),
            _ => (Shape::new(Dim::Bags, 1), Storage::U32),
        };
        Self { node: node.clone(), value, beside: Kept { number: number + 1, shape: beside, storage } }
    }

    fn wants(&self, tape: &Tape) -> bool {
        tape.values[self.node.outputs[0].index()].needs_grad
    }

    /// Parameters and workgroups, of merging and of sharing alike.
    fn launched(&self) -> ([Word; 5], Grid) {
        let (bags, cols, heads) = (Dim::Bags.into(), self.value.shape.cols, self.beside.shape.cols);
        let [bag, continued] = [Scalar::FirstBag, Scalar::Continued].map(Word::from);
        let each = |workgroups| Grid::line(Count::per(Dim::Bags, workgroups, 1));
        match self.node.op {
            Op::AttentionPool(_) => ([bags, (cols / heads).into(), heads.into(), bag, continued], each(heads)),
            Op::SegmentReduce(r) if r.0 == Pool::Max => {
                ([bags, cols.into(), bag, continued, Scalar::FirstRow.into()], each(1))
            }
            _ => ([bags, cols.into(), bag, continued, self.kind().into()], each(1)),
        }
    }

    fn merge(&self, p: &mut Planner) {
        let (value, beside) = (self.value.value(p), self.beside.value(p));
        let out = &self.node.outputs;
        let (kernel, of_window) = match self.node.op {
            Op::AttentionPool(_) => (&k::WINDOW_SOFTMAX, out[2]),
            Op::SegmentReduce(r) if r.0 == Pool::Max => (&k::WINDOW_MAX, out[1]),
            _ => (&k::WINDOW_MEAN, Tables::of(&self.node).offsets),
        };
        let (words, grid) = self.launched();
        p.launch(kernel, &[out[0], of_window, value, beside].map(Operand::Value), &words, grid);
    }

    /// Gives the window's pooled rows their part of the bag's gradient.
    fn share(&self, p: &mut Planner) {
        let out = &self.node.outputs;
        let (all, beside, gradient) = (self.value.value(p), self.beside.value(p), self.value.gradient(p));
        let seed = p.push_value(self.value.shape, Storage::F32);
        p.grads[out[0].index()] = Some(seed);
        let (kernel, values) = match self.node.op {
            Op::AttentionPool(_) => (&k::WINDOW_SOFTMAX_SHARE, vec![out[2], all, beside, gradient, out[0], seed]),
            Op::SegmentReduce(r) if r.0 == Pool::Max => (&k::WINDOW_MAX_SHARE, vec![out[1], beside, gradient, seed]),
            _ => {
                let offsets = Tables::of(&self.node).offsets;
                (&k::WINDOW_MEAN_SHARE, vec![out[0], offsets, all, beside, gradient, seed])
            }
        };
        let operands: Vec<Operand> = values.into_iter().map(Operand::Value).collect();
        let (words, grid) = self.launched();
        p.launch(kernel, &operands, &words, grid);
    }

    fn kind(&self) -> u32 {
        match self.node.op {
            Op::SegmentReduce(r) if r.0 == Pool::Mean => k::MEAN,
            Op::SegmentReduce(r) if r.0 == Pool::LogMeanExp => k::LOG_MEAN_EXP,
            _ => k::SUM,
        }
    }
}
