//! Batches too large for the device, in windows of rows.
//!
//! A method that pools its instances once can run over a batch piece by piece with the same result: each
//! window of rows is embedded and pooled, its pooled rows are merged into those of the bags ([`Part::Rows`]);
//! the bags are classified, and their gradients computed down to the pooled rows ([`Part::Bags`]); each
//! window is embedded once more and takes its share of that gradient down to the parameters
//! ([`Part::RowsBackward`]); the parameters move ([`Part::Update`]). The device holds one window at a time,
//! however long a bag is, and a gradient is exact: nothing is approximated, only recomputed.
//!
//! A method whose instances need something of the whole bag first (DSMIL: the query of the critical instance)
//! looks twice. Its windows pass in two stages, each forward and backward: what the first one pools, the second
//! one reads; the gradient of that is summed over the windows of the second before the first goes backward.
//!
//! The pooled rows and their gradients stay in buffers of their own between the parts ([`BufferKey::Carry`]).

mod pooled;

use super::{Program, Purpose, Target, assemble, backward, forward, needed_nodes, planner, seed_loss, step};
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Dim, Extent, Input};
use crate::ops::Locality;
use crate::ops::pointwise::clear;
use crate::planner::Operand;
use crate::tape::{Shape, Source, Tape, ValueId};
use pooled::{Pooled, Taken};

/// One of the programs that a batch in windows runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A window of a stage forward, merged into the bags' pooled rows.
    Rows(usize),
    /// The bags: outputs, loss, gradients of the pooled rows. Starts with gradients of 0.
    Bags,
    /// A window of a stage forward and backward; adds to the gradients of the parameters.
    RowsBackward(usize),
    /// The update.
    Update,
}

/// Stages of a method at most.
const STAGES: usize = 2;

/// A tape cut where instances become bags.
#[derive(Clone, Debug)]
pub struct Windowed {
    stages: Vec<Stage>,
    bags: Tape,
    /// Outputs of instances that are a softmax over their bag, which is left to whoever reads them: the last stage
    /// has its input under the name.
    pub softmax_outputs: Vec<String>,
}

/// One look at all windows.
#[derive(Clone, Debug)]
struct Stage {
    /// What is computed of instances up to here, and the pools of this stage.
    tape: Tape,
    pools: Vec<Pooled>,
    /// What it reads of the stage before.
    taken: Vec<Taken>,
}

/// What a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Parameters and what is computed from them alone.
    Shared,
    /// Instances, from this stage on.
    Rows(usize),
    /// Bags.
    Bags,
    /// A softmax over the bag of an instance value.
    Softmax(ValueId),
}

impl Windowed {
    /// Cuts `tape`.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the operation for which a bag must be whole.
    pub fn of(tape: &Tape) -> Result<Self> {
        if !tape.passes.is_update_alone() {
            return Err(Error::setting("windows", "its steps look at whole bags before their update"));
        }
        let mut kinds: Vec<Kind> = tape.values.iter().map(|v| kind_of(v.shape.rows)).collect();
        let mut bags = tape.clone();
        (bags.nodes, bags.outputs) = Default::default();
        let mut bare = Stage { tape: bags.clone(), pools: Vec::new(), taken: Vec::new() };
        (bare.tape.loss, bare.tape.objectives) = Default::default();
        let mut stages = vec![bare; STAGES];
        let mut numbers = (0..).step_by(2);
        for node in &tape.nodes {
            let table = |v: &&ValueId| {
                let tables = [Input::Tiles, Input::BagTiles, Input::Offsets];
                matches!(tape.values[v.index()].source, Source::Input(input) if tables.contains(&input))
            };
            let inputs: Vec<Kind> = node.inputs.iter().filter(|v| !table(v)).map(|v| kinds[v.index()]).collect();
            let all = |allowed: fn(&Kind) -> bool| inputs.iter().all(allowed);
            let over_rows = all(|k| matches!(k, Kind::Rows(_) | Kind::Shared)) && !all(|k| *k == Kind::Shared);
            let stage = inputs.iter().filter_map(|k| if let Kind::Rows(stage) = k { Some(*stage) } else { None }).max();
            let locality = node.op.rule().locality();
            let fixed = |v: &ValueId| matches!(tape.shape(*v).rows, Dim::Fixed(_));
            let shared = node.inputs.iter().all(|v| kinds[v.index()] == Kind::Shared)
                && node.inputs.iter().chain(&node.outputs).all(fixed);
            let pooled_at = match (locality, stage) {
                (Locality::Pool(_), Some(stage)) if over_rows => Some(stage),
                (Locality::Pick, stage) => stage,
                (Locality::PoolAfter(_, input), Some(0)) => stages[0].taken_by(node.inputs[input]).map(|taken| {
                    stages[1].taken.push(taken);
                    1
                }),
                _ => None,
            };
            if let (Locality::RowAfter(input), Some(0)) = (locality, stage)
                && let Some(taken) = stages[0].taken_by(node.inputs[input])
            {
                stages[1].taken.push(taken);
                stages[1].tape.nodes.push(node.clone());
                node.outputs.iter().for_each(|o| kinds[o.index()] = Kind::Rows(1));
                continue;
            }
            let whole =
                || Error::setting("method", format!("{} needs all instances of a bag at once", node.op.rule().name()));
            if let Some(stage) = pooled_at {
                let number = numbers.next().expect("numbers go on");
                let pool = Pooled::new(tape, node, number, &stages[stage].pools).ok_or_else(whole)?;
                bags.values[node.outputs[0].index()].source = pool.value.source();
                for output in node.outputs.iter().filter(|o| tape.shape(**o).rows == Dim::Instances) {
                    kinds[output.index()] = Kind::Rows(stage);
                }
                stages[stage].pools.push(pool);
                stages[stage].tape.nodes.push(node.clone());
                continue;
            }
            match (locality, stage) {
                (Locality::Softmax, Some(_)) if over_rows => {
                    kinds[node.outputs[0].index()] = Kind::Softmax(node.inputs[0]);
                }
                // What is computed from parameters alone is there in every part, whose gradients for it add up.
                _ if shared => {
                    stages.iter_mut().for_each(|stage| stage.tape.nodes.push(node.clone()));
                    bags.nodes.push(node.clone());
                }
                (Locality::Row, Some(stage)) if over_rows => {
                    stages[stage..].iter_mut().for_each(|stage| stage.tape.nodes.push(node.clone()));
                    node.outputs.iter().for_each(|o| kinds[o.index()] = Kind::Rows(stage));
                }
                _ if all(|k| matches!(k, Kind::Bags | Kind::Shared)) => {
                    node.outputs.iter().for_each(|o| kinds[o.index()] = Kind::Bags);
                    bags.nodes.push(node.clone());
                }
                _ => return Err(whole()),
            }
        }
        let used = stages.iter().rposition(|stage| !stage.pools.is_empty()).unwrap_or_default();
        stages.truncate(used + 1);
        let last = &mut stages[used].tape;
        let mut softmax_outputs = Vec::new();
        for crate::tape::Output { name, value, role } in &tape.outputs {
            match kinds[value.index()] {
                Kind::Rows(_) => last.output_as(name, *value, *role),
                Kind::Softmax(input) => {
                    last.output_as(name, input, *role);
                    softmax_outputs.push(name.clone());
                }
                Kind::Bags | Kind::Shared => bags.output_as(name, *value, *role),
            }
        }
        Ok(Self { stages, bags, softmax_outputs })
    }

    /// How often all windows are looked at.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Plans one part for windows (and batches of bags) up to `capacity`.
    ///
    /// # Errors
    /// As [`super::plan`].
    pub fn plan(&self, part: Part, purpose: Purpose, target: Target, capacity: Extent) -> Result<Program> {
        let bags_needed = needed_nodes(&self.bags, purpose);
        let tape = match part {
            Part::Bags => &self.bags,
            Part::Rows(stage) | Part::RowsBackward(stage) => &self.stages[stage].tape,
            Part::Update => &self.stages[0].tape,
        };
        let mut p = planner(tape, purpose, target, capacity);
        p.add_to_all_params();
        match part {
            Part::Rows(number) => {
                let stage = &self.stages[number];
                // The same pools and rows in every part, so that all of them see the same windows.
                let used = self.used(stage, &bags_needed);
                stage.taken.iter().for_each(|taken| taken.take(&mut p));
                forward(&mut p, tape, &stage.needed(&used, !purpose.learns()));
                used.iter().for_each(|pool| pool.merge(&mut p));
            }
            Part::Bags => {
                if !purpose.only_forward() && purpose != (Purpose::Accumulate { first: false }) {
                    let all = tape.param_layout().total as u32;
                    clear(&mut p, Operand::Flat(BufferKey::Grads), Dim::Fixed(all), 1);
                }
                forward(&mut p, tape, &bags_needed);
                if !purpose.only_forward() {
                    seed_loss(&mut p, tape, purpose);
                    backward(&mut p, tape, &bags_needed);
                    for pool in self.stages.iter().flat_map(|stage| self.used(stage, &bags_needed)) {
                        let z = pool.node.outputs[0];
                        if p.wants(z) && p.upstream(z).is_none() {
                            let to = p.grad(z).expect("it is wanted").to;
                            clear(&mut p, to, Dim::Bags, pool.value.shape.cols);
                        }
                    }
                }
            }
            Part::RowsBackward(number) => {
                let stage = &self.stages[number];
                let used = self.used(stage, &bags_needed);
                let needed = stage.needed(&used, false);
                stage.taken.iter().for_each(|taken| taken.take(&mut p));
                forward(&mut p, tape, &needed);
                used.iter().filter(|pool| pool.wants(tape)).for_each(|pool| pool.share(&mut p));
                backward(&mut p, tape, &needed);
                stage.taken.iter().for_each(|taken| taken.give(&mut p));
            }
            Part::Update => {
                step(&mut p, tape, purpose);
            }
        }
        assemble::assemble(p, tape, purpose, &[])
    }

    /// Pools of a stage that bags, outputs or the next stage read.
    fn used<'a>(&self, stage: &'a Stage, bags_needed: &[bool]) -> Vec<&'a Pooled> {
        let read = |pool: &Pooled| {
            let z = pool.node.outputs[0];
            let nodes = self.bags.nodes.iter().zip(bags_needed);
            nodes.filter(|(_, needed)| **needed).any(|(node, _)| node.inputs.contains(&z))
                || self.bags.outputs.iter().any(|o| o.value == z)
                || self.stages.iter().any(|stage| stage.taken.iter().any(|taken| taken.value == z))
        };
        let serves = |pool: &Pooled| stage.pools.iter().any(|other| pool.serves(other) && read(other));
        stage.pools.iter().filter(|pool| serves(pool)).collect()
    }

    /// Buffers that stay between the parts, with their bytes for batches of up to `bags` bags.
    pub fn kept(&self, bags: u32) -> Vec<(BufferKey, u64)> {
        let extent = Extent { bags, ..Extent::default() };
        let pools = self.stages.iter().flat_map(|stage| &stage.pools);
        let bytes = |shape: Shape| shape.rows.of(&extent) as u64 * shape.cols as u64 * 4;
        pools.flat_map(Pooled::buffers).map(|(key, shape)| (key, bytes(shape))).collect()
    }
}

impl Stage {
    /// A pooled value of this stage, for another to read.
    fn taken_by(&self, value: ValueId) -> Option<Taken> {
        let pool = self.pools.iter().find(|pool| pool.node.outputs[0] == value)?;
        Some(Taken { value, kept: pool.value })
    }

    fn needed(&self, used: &[&Pooled], outputs: bool) -> Vec<bool> {
        let mut wanted = vec![false; self.tape.values.len()];
        used.iter().for_each(|pool| wanted[pool.node.outputs[0].index()] = true);
        if outputs {
            self.tape.outputs.iter().for_each(|o| wanted[o.value.index()] = true);
        }
        super::needed(&self.tape, wanted)
    }
}

fn kind_of(rows: Dim) -> Kind {
    match rows {
        Dim::Instances => Kind::Rows(0),
        Dim::Bags => Kind::Bags,
        _ => Kind::Shared,
    }
}
