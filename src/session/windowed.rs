//! Batches that do not fit the device whole: the same step in windows of rows (see [`crate::plan::windows`]).

use super::batch::{Batch, Cut, Rows, cut, uploads};
use super::{Inputs, Resident, Session, Tensor};
use crate::device::executor::{ProgramId, Step, StoreId};
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Extent, Place, Scalars, TILE};
use crate::plan::windows::{Part, Windowed};
use crate::plan::{Program, Purpose};
use crate::tape::feature_stride;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// Rows of a window, unless limits want fewer: enough that launches cost little beside their work, and few
/// enough that what a window computes takes tens of megabytes.
const ROWS: u32 = 16_384;

/// Programs of batches in windows.
pub(super) struct Windows {
    tape: Windowed,
    /// Rows of a window, and bags of a batch at most.
    rows: u32,
    bags: u32,
    purposes: Vec<Purpose>,
    programs: Vec<(Part, Purpose, ProgramId)>,
    batch: Batch,
    /// Room for the rows of the window after that in `batch`.
    next: Rows,
}

impl Windows {
    pub fn new(tape: Windowed) -> Self {
        Self {
            tape,
            rows: ROWS,
            bags: 0,
            purposes: Vec::new(),
            programs: Vec::new(),
            batch: Batch::default(),
            next: Rows::default(),
        }
    }

    fn program(&self, part: Part, purpose: Purpose) -> ProgramId {
        let found = self.programs.iter().find(|(p, of, _)| (*p, *of) == (part, purpose));
        found.expect("every part of a purpose is loaded").2
    }
}

type Planned = (Part, Purpose, Program);

/// In the order in which they run.
fn parts(purpose: Purpose, stages: usize) -> Vec<Part> {
    let mut parts: Vec<Part> = (0..stages).map(Part::Rows).collect();
    parts.push(Part::Bags);
    if !purpose.only_forward() {
        parts.extend((0..stages).rev().map(Part::RowsBackward));
    }
    if let Purpose::Train(_) = purpose {
        parts.push(Part::Update);
    }
    parts
}

/// What is read back while a batch runs in windows.
#[derive(Default)]
pub(super) struct Reading {
    pub outputs: BTreeMap<String, Tensor>,
    pub loss: Option<f64>,
    pub instances: Option<Tensor>,
}

impl Session {
    /// Makes ready for batches of this size in windows.
    pub(super) fn ready_windows(&mut self, purpose: Purpose, extent: Extent) -> Result<()> {
        let windows = self.windows.as_ref().expect("`make_ready` cuts the tape first");
        if windows.bags >= extent.bags && windows.purposes.contains(&purpose) {
            return Ok(());
        }
        let mut purposes = windows.purposes.clone();
        if !purposes.contains(&purpose) {
            purposes.push(purpose);
        }
        let bags = windows.bags.max(extent.bags);
        self.ensure_flat(purpose)?;
        self.load_windows(purposes, bags)
    }

    /// Plans every part again, after the tape was changed.
    pub(super) fn replan_windows(&mut self) -> Result<()> {
        let Some(windows) = &mut self.windows else { return Ok(()) };
        windows.tape = Windowed::of(&self.tape)?;
        let (purposes, bags) = (windows.purposes.clone(), windows.bags);
        self.load_windows(purposes, bags)
    }

    fn load_windows(&mut self, purposes: Vec<Purpose>, bags: u32) -> Result<()> {
        let windows = self.windows.as_ref().expect("windows exist");
        let (rows, programs) = self.choose_rows(&windows.tape, &purposes, bags, windows.rows)?;
        let windows = self.windows.as_mut().expect("windows exist");
        (windows.rows, windows.bags, windows.purposes) = (rows, bags, purposes);
        for (key, bytes) in windows.tape.kept(bags) {
            self.executor.ensure(key, bytes)?;
        }
        for (part, purpose, program) in programs {
            let known = windows.programs.iter().find(|(p, of, _)| (*p, *of) == (part, purpose));
            match known {
                Some((.., id)) => self.executor.reload(*id, program)?,
                None => {
                    let id = self.executor.load(program)?;
                    windows.programs.push((part, purpose, id));
                }
            }
        }
        Ok(())
    }

    /// The most rows, of [`ROWS`] and its halves, for which all programs keep the limits.
    fn choose_rows(&self, tape: &Windowed, purposes: &[Purpose], bags: u32, most: u32) -> Result<(u32, Vec<Planned>)> {
        let mut rows = most;
        loop {
            let capacity = Extent { instances: rows, bags, tiles: rows / TILE + bags, ..Extent::default() };
            let planned: Result<Vec<_>> = purposes
                .iter()
                .flat_map(|&purpose| parts(purpose, tape.stages()).into_iter().map(move |part| (part, purpose)))
                .map(|(part, purpose)| Ok((part, purpose, tape.plan(part, purpose, self.target(), capacity)?)))
                .collect();
            let kept: u64 = tape.kept(bags).iter().map(|(_, bytes)| bytes).sum();
            let checked = planned.and_then(|programs| {
                self.check_budget(programs.iter().map(|(.., program)| program), kept)?;
                Ok(programs)
            });
            match checked {
                Ok(programs) => return Ok((rows, programs)),
                Err(Error::Limit { .. }) if rows > TILE => rows /= 2,
                Err(other) => return Err(other),
            }
        }
    }

    /// One step over the batch that was laid out, window by window.
    pub(super) fn run_windows(
        &mut self,
        purpose: Purpose,
        scalars: Scalars,
        keep: Option<u32>,
        inputs: &Inputs,
        mut reading: Option<&mut Reading>,
    ) -> Result<()> {
        let mut windows = self.windows.take().expect("windows are ready");
        let result = self.in_windows(&mut windows, purpose, scalars, keep, inputs, &mut reading);
        self.windows = Some(windows);
        result
    }

    fn in_windows(
        &mut self,
        windows: &mut Windows,
        purpose: Purpose,
        scalars: Scalars,
        keep: Option<u32>,
        inputs: &Inputs,
        reading: &mut Option<&mut Reading>,
    ) -> Result<()> {
        let cuts = cut(&self.batch.tables.offsets, windows.rows as usize);
        let cuts: Vec<_> = cuts.into_iter().map(|cut| (self.rows_of(&cut, inputs), cut)).collect();
        for part in parts(purpose, windows.tape.stages()) {
            match part {
                Part::Rows(_) => {
                    self.each_window(windows, (part, purpose), scalars, &cuts, inputs, |session, id, extent, _| {
                        reading.as_mut().map_or(Ok(()), |reading| session.read_outputs(id, extent, reading))
                    })?;
                }
                Part::Bags => self.run_bags(windows.program(part, purpose), purpose, scalars, keep, reading)?,
                Part::RowsBackward(_) => {
                    self.each_window(
                        windows,
                        (part, purpose),
                        scalars,
                        &cuts,
                        inputs,
                        |session, id, extent, first| match reading.as_mut().filter(|_| session.instance_grads) {
                            Some(reading) => session.read_instances(id, extent, first, reading),
                            None => Ok(()),
                        },
                    )?;
                }
                Part::Update => {
                    let extent = Extent { bags: self.batch.tables.extent.bags, ..Extent::default() };
                    let table = self.classes.upload();
                    let step = Step { extent, scalars, uploads: table.as_slice(), keep: &[] };
                    self.executor.run(windows.program(part, purpose), &step)?;
                }
            }
        }
        if let Some(reading) = reading {
            for name in &windows.tape.softmax_outputs {
                if let Some(output) = reading.outputs.get_mut(name) {
                    softmax(output, &self.batch.tables.offsets);
                }
            }
        }
        Ok(())
    }

    fn run_bags(
        &mut self,
        id: ProgramId,
        purpose: Purpose,
        scalars: Scalars,
        keep: Option<u32>,
        reading: &mut Option<&mut Reading>,
    ) -> Result<()> {
        let extent = Extent { bags: self.batch.tables.extent.bags, ..Extent::default() };
        let program = self.executor.program(id);
        let from = uploads(program, &self.batch, self.storage, 0, &[])?;
        let kept = keep.map(|at| (program.loss.expect("a training program has a loss"), 1, at));
        let loss = program.loss;
        self.executor.run(id, &Step { extent, scalars, uploads: &from, keep: kept.as_slice() })?;
        if let Some(reading) = reading {
            self.read_outputs(id, &extent, reading)?;
            if let (Some(loss), true) = (loss, purpose.has_loss()) {
                reading.loss = Some(self.executor.read(loss, 1)?[0]);
            }
        }
        Ok(())
    }

    /// Gradients of the features of a window whose first row is `first`. Those of several stages are added.
    fn read_instances(&mut self, id: ProgramId, extent: &Extent, first: usize, reading: &mut Reading) -> Result<()> {
        let Some((place, shape)) = self.executor.program(id).feature_grad else { return Ok(()) };
        let (rows, cols) = (extent.instances as usize, shape.cols as usize);
        let values = self.executor.read(place, rows * cols)?;
        let all = reading.instances.get_or_insert_with(Tensor::default);
        match all.values.get_mut(first * cols..(first + rows) * cols) {
            Some(before) => before.iter_mut().zip(values).for_each(|(all, more)| *all += more),
            None => append(all, rows, cols, values),
        }
        Ok(())
    }

    /// Runs a part over all windows; `after` gets the first row of each besides what ran. While one runs, a thread
    /// reads and packs the features of the next, unless they are on the device.
    fn each_window(
        &mut self,
        windows: &mut Windows,
        (part, purpose): (Part, Purpose),
        scalars: Scalars,
        cuts: &[(Vec<Range<usize>>, Cut)],
        inputs: &Inputs,
        mut after: impl FnMut(&mut Self, ProgramId, &Extent, usize) -> Result<()>,
    ) -> Result<()> {
        let id = windows.program(part, purpose);
        let storage = self.storage;
        let pack = |to: &mut Rows, rows: &[Range<usize>]| to.pack(inputs.bags, storage, rows.iter().cloned());
        let uploaded = |n: usize| cuts.get(n).map(|(rows, _)| rows).filter(|_| inputs.resident.is_none());
        if let Some(rows) = uploaded(0) {
            pack(&mut windows.batch.rows, rows)?;
        }
        for (n, (rows, cut)) in cuts.iter().enumerate() {
            let mut next = std::mem::take(&mut windows.next);
            let extent = std::thread::scope(|scope| {
                let ahead = uploaded(n + 1).map(|rows| scope.spawn(|| pack(&mut next, rows)));
                let extent = self.run_window(windows, id, scalars, cut, rows, inputs);
                let packed = ahead.map_or(Ok(()), |ahead| ahead.join().expect("packing does not panic"));
                packed.and(extent)
            })?;
            windows.next = std::mem::replace(&mut windows.batch.rows, next);
            after(self, id, &extent, cut.rows.start)?;
        }
        Ok(())
    }

    /// Rows of the bags of a window, as they lie in `inputs.bags`.
    fn rows_of(&self, cut: &Cut, inputs: &Inputs) -> Vec<Range<usize>> {
        let first = cut.window.first_bag as usize;
        let rows = cut.sizes.iter().enumerate().map(|(n, size)| {
            let bag = inputs.bags.rows(inputs.indices[first + n]);
            let skipped = if n == 0 { cut.rows.start - self.batch.tables.offsets[first] as usize } else { 0 };
            bag.start + skipped..bag.start + skipped + size
        });
        rows.collect()
    }

    fn run_window(
        &mut self,
        windows: &mut Windows,
        id: ProgramId,
        mut scalars: Scalars,
        cut: &Cut,
        ranges: &[Range<usize>],
        inputs: &Inputs,
    ) -> Result<Extent> {
        scalars.window = cut.window;
        let batch = &mut windows.batch;
        batch.tables.lay_out(cut.sizes.iter().copied());
        let row = feature_stride(inputs.bags.width) as u64 * self.element();
        let source: Vec<(StoreId, u64)> = match inputs.resident {
            None => Vec::new(),
            Some(Resident { places, .. }) => inputs.indices[cut.window.first_bag as usize..]
                .iter()
                .zip(ranges)
                .map(|(&bag, rows)| {
                    let (store, from) = places[bag];
                    (store, from + (rows.start - inputs.bags.rows(bag).start) as u64 * row)
                })
                .collect(),
        };
        batch.coords.clear();
        if let Some(coords) = &inputs.bags.coords {
            ranges.iter().for_each(|rows| batch.coords.extend(coords[rows.clone()].as_flattened()));
        }
        let from = uploads(self.executor.program(id), batch, self.storage, row, &source)?;
        // No method that looks at pairs or tokens runs in windows.
        let Extent { instances, bags, tiles, .. } = batch.tables.extent;
        let extent = Extent { instances, bags, tiles, ..Extent::default() };
        self.executor.run(id, &Step { extent, scalars, uploads: &from, keep: &[] })?;
        Ok(extent)
    }

    /// Appends the outputs of a program to what was read before.
    pub(super) fn read_outputs(&mut self, id: ProgramId, extent: &Extent, reading: &mut Reading) -> Result<()> {
        for (name, place, shape) in self.executor.program(id).outputs.clone() {
            let (rows, cols) = (shape.rows.of(extent) as usize, shape.cols as usize);
            let values = self.executor.read(place, rows * cols)?;
            append(reading.outputs.entry(name).or_default(), rows, cols, values);
        }
        Ok(())
    }

    /// Refuses programs that need more than the budget, when there is one.
    pub(super) fn check_budget<'a>(&self, programs: impl Iterator<Item = &'a Program>, kept: u64) -> Result<()> {
        let Some(budget) = self.budget else { return Ok(()) };
        let (mut slots, mut inputs, mut flats) = (Vec::<u64>::new(), HashMap::<BufferKey, u64>::new(), 1);
        for program in programs {
            slots.resize(slots.len().max(program.slots.len()), 0);
            slots.iter_mut().zip(&program.slots).for_each(|(all, bytes)| *all = (*all).max(*bytes));
            for (key, bytes) in &program.inputs {
                let all = inputs.entry(*key).or_default();
                *all = (*all).max(*bytes);
            }
            let states = |p: &Place| match p.buffer {
                BufferKey::State(n) => 3 + n as u64,
                BufferKey::Grads => 2,
                _ => 1,
            };
            let places = program.launches.iter().flat_map(|l| &l.places);
            flats = places.map(states).fold(flats, u64::max);
        }
        flats += self.tape.passes.follower.is_some() as u64;
        let inputs: u64 = inputs.values().sum();
        let staged = self.executor.staging_bytes(inputs);
        let flat = self.model.layout().total as u64 * 4 * flats;
        let wanted = slots.iter().sum::<u64>() + inputs + staged + flat + kept + self.stored;
        if wanted > budget {
            let what = "a step with this memory budget".to_string();
            return Err(Error::Limit { limit: "memory budget", what, wanted, possible: budget });
        }
        Ok(())
    }
}

fn append(to: &mut Tensor, rows: usize, cols: usize, values: Vec<f64>) {
    match to.shape.first_mut() {
        Some(all) => *all += rows,
        None => to.shape = vec![rows, cols],
    }
    to.values.extend(values);
}

/// Softmax of each column over the rows of each bag.
fn softmax(tensor: &mut Tensor, offsets: &[u32]) {
    let cols = tensor.shape[1];
    for bag in offsets.windows(2) {
        let rows = &mut tensor.values[bag[0] as usize * cols..bag[1] as usize * cols];
        for c in 0..cols {
            let largest = rows.iter().skip(c).step_by(cols).fold(f64::NEG_INFINITY, |m, v| m.max(*v));
            let mut total = 0.0;
            for value in rows.iter_mut().skip(c).step_by(cols) {
                *value = (*value - largest).exp();
                total += *value;
            }
            rows.iter_mut().skip(c).step_by(cols).for_each(|v| *v /= total);
        }
    }
}
