//! Steps that learn: gradients of one batch and their update at once, or the two apart.
//!
//! Apart, the gradients of several batches add up before one update, and whoever drives the session may read and
//! replace them in between: to look at them, to change them, or to add those of other processes.

use super::{Inputs, Resident, Session, Tensor};
use crate::bag::Bags;
use crate::device::executor::Step;
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Scalars};
use crate::ops::update::Optimiser;
use crate::plan::Purpose;
use crate::random::Random;
use std::collections::BTreeMap;

/// Stream of the run's seed that gives the seeds of the second and later batches of an update, which would else draw
/// what the first one draws.
const BATCH_STREAM: u64 = (1 << 41) - (1 << 33);

impl Session {
    /// One update on the bags `indices` with these weights in the loss, one for each bag; of a model of several labels a
    /// bag there may be one for each label of each bag instead. What nobody knows of a bag counts nothing in any case. The
    /// loss stays on the device: it is
    /// written to place `keep` of the history.
    ///
    /// # Errors
    /// [`Error::Setting`] where gradients wait for their update (see [`Session::accumulate`]), and what the device
    /// answers.
    pub fn train_step(
        &mut self,
        bags: &Bags,
        indices: &[usize],
        weights: &[f32],
        resident: Option<&Resident>,
        (optimiser, rate): (&Optimiser, f64),
        keep: Option<u32>,
    ) -> Result<()> {
        self.check_rule(optimiser, rate)?;
        self.check_none_pending("train_step")?;
        self.start_average(optimiser)?;
        let scalars = self.scalars(optimiser, rate);
        self.learn(Purpose::Train(*optimiser), Inputs::of(bags, indices, resident), weights, scalars, keep)?;
        self.updated();
        Ok(())
    }

    /// The first half of [`Session::train_step`]: gradients of a batch, added to those that wait for their update. With
    /// weights that sum up over all batches as they would over one, the gradients are those of that one, to rounding.
    /// Each batch draws its own dropout, and running statistics follow each.
    ///
    /// # Errors
    /// As [`Session::train_step`].
    pub fn accumulate(
        &mut self,
        bags: &Bags,
        indices: &[usize],
        weights: &[f32],
        resident: Option<&Resident>,
        keep: Option<u32>,
    ) -> Result<()> {
        let purpose = Purpose::Accumulate { first: self.pending == 0 };
        let scalars = Scalars { step: self.updates as u32, ..Scalars::default() };
        self.learn(purpose, Inputs::of(bags, indices, resident), weights, scalars, keep)?;
        self.pending += 1;
        Ok(())
    }

    /// The second half: one update by the gradients that wait. Mixed precision takes the scale of the loss out first.
    ///
    /// # Errors
    /// [`Error::Setting`] where none wait, or for a rule out of range, and what the device answers.
    pub fn apply(&mut self, optimiser: &Optimiser, rate: f64) -> Result<()> {
        self.check_rule(optimiser, rate)?;
        self.check_pending()?;
        self.start_average(optimiser)?;
        let id = self.prepare(Purpose::Update(*optimiser))?;
        let scalars = self.scalars(optimiser, rate);
        let extent = self.batch.tables.extent;
        self.lay_out_groups(optimiser);
        self.executor.run(id, &Step { extent, scalars, uploads: self.classes.upload().as_slice(), keep: &[] })?;
        self.updated();
        Ok(())
    }

    /// Batches whose gradients wait for their update.
    pub fn pending(&self) -> u32 {
        self.pending
    }

    /// Forgets the gradients that wait.
    pub fn discard(&mut self) {
        self.pending = 0;
    }

    /// The gradients that wait for their update, by the names of the parameters, waiting for the device; in mixed
    /// precision without the scale of the loss.
    ///
    /// # Errors
    /// [`Error::Setting`] where none wait, and what the device answers.
    pub fn pending_gradients(&mut self) -> Result<BTreeMap<String, Tensor>> {
        self.check_pending()?;
        let scale = f64::from(self.loss_scale_now()?);
        self.read_gradients(scale)
    }

    /// Replaces the gradient of one parameter among those that wait, row by row.
    ///
    /// # Errors
    /// [`Error::Setting`] where none wait, for an unknown name, or one that is not trained; [`Error::Shape`] for a wrong
    /// number of values; and what the device answers. Values that are not finite are taken: mixed precision leaves such
    /// an update out.
    pub fn set_pending_gradient(&mut self, name: &str, values: &[f32]) -> Result<()> {
        self.check_pending()?;
        let info = self.model.parameters().iter().find(|p| p.name == name && p.trained);
        let Some(info) = info else {
            return Err(Error::setting(name, "no trained parameter of the model has this name"));
        };
        let (offset, wanted, shape) = (info.offset, info.len(), info.shape.clone());
        if values.len() != wanted {
            return Err(Error::Shape {
                operation: "set gradient",
                expected: format!("{name} {shape:?}, {wanted} values"),
                found: format!("{} values", values.len()),
            });
        }
        let scale = self.loss_scale_now()?;
        let values: Vec<f32> = values.iter().map(|v| v * scale).collect();
        self.executor.write(BufferKey::Grads, offset, &values)
    }

    /// What gradients are multiplied by until their update.
    fn loss_scale_now(&mut self) -> Result<f32> {
        let Some(first) = self.tape.mixed.map(|scale| scale.first) else { return Ok(1.0) };
        Ok(self.loss_scale()?.map_or(first, |state| state.scale))
    }

    /// Refuses what would write over gradients that wait, or leave them out.
    pub(super) fn check_none_pending(&self, what: &str) -> Result<()> {
        match self.pending {
            0 => Ok(()),
            n => Err(Error::setting(what, format!("gradients of {n} batches wait for Session::apply"))),
        }
    }

    fn check_pending(&self) -> Result<()> {
        match self.pending {
            0 => Err(Error::setting("gradients", "none wait for their update: Session::accumulate comes first")),
            _ => Ok(()),
        }
    }

    fn learn(
        &mut self,
        purpose: Purpose,
        whole: Inputs,
        weights: &[f32],
        scalars: Scalars,
        keep: Option<u32>,
    ) -> Result<()> {
        self.check_inputs(&whole, Some(weights))?;
        self.check_place(keep)?;
        let kept = self.before_update(purpose, &whole, true)?;
        let inputs = match &kept {
            Some(kept) => Inputs { resident: None, kept: Some(kept), ..whole },
            None => whole,
        };
        let windows = self.set_batch(purpose, &inputs, weights)?;
        self.note_classes();
        if let Some(optimiser) = purpose.optimiser() {
            self.lay_out_groups(optimiser);
        }
        self.run(purpose, scalars, keep, (&inputs, windows), None)
    }

    fn updated(&mut self) {
        self.updates += 1;
        self.count_classes();
        self.pending = 0;
        self.stale = true;
    }

    fn check_rule(&self, optimiser: &Optimiser, rate: f64) -> Result<()> {
        if !(rate.is_finite() && rate >= 0.0) {
            return Err(Error::setting("learning_rate", format!("must be at least 0, found {rate}")));
        }
        optimiser.validate()
    }

    /// Refuses a place of the history that was not reserved.
    fn check_place(&self, keep: Option<u32>) -> Result<()> {
        let room = self.executor.history_room();
        match keep.filter(|&at| at as usize >= room) {
            Some(at) => {
                let message = format!("place {at} is not among the {room} that Executor::reserve_history made");
                Err(Error::setting("history", message))
            }
            None => Ok(()),
        }
    }

    /// Seed of what the next batch draws.
    pub(super) fn batch_seed(&self) -> u64 {
        match self.pending {
            0 => self.seed,
            n => Random::new(self.seed, BATCH_STREAM + u64::from(n)).u64(),
        }
    }

    /// The numbers of the next update.
    pub(crate) fn scalars(&self, optimiser: &Optimiser, rate: f64) -> Scalars {
        let follower = self.tape.passes.follower;
        let follow_weight = follower.map_or(0.0, |follower| follower.weight(self.updates, self.planned));
        let term_weights = self.tape.moving_weights(self.epoch);
        Scalars { seed: self.seed, follow_weight, term_weights, ..optimiser.scalars(self.updates + 1, rate) }
    }

    /// Repeats the update of the last [`train_step`](Session::train_step) without packing or uploading its
    /// batch again; for benchmarks. Not for batches that ran in windows, which do not stay on the device. Of a
    /// student it repeats the update alone, on the rows that were kept.
    ///
    /// # Errors
    /// What the device answers.
    pub fn repeat_step(&mut self, optimiser: &Optimiser, rate: f64) -> Result<()> {
        self.check_rule(optimiser, rate)?;
        self.check_none_pending("repeat_step")?;
        if self.batch.tables.extent.bags == 0 {
            return Err(Error::bags("there is no step to repeat: run one first"));
        }
        let id = self.prepare(Purpose::Train(*optimiser))?;
        let scalars = self.scalars(optimiser, rate);
        self.start_average(optimiser)?;
        self.lay_out_groups(optimiser);
        let (extent, table) = (self.batch.tables.extent, self.classes.upload());
        self.executor.run(id, &Step { extent, scalars, uploads: table.as_slice(), keep: &[] })?;
        self.updated();
        Ok(())
    }
}
