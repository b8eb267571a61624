//! What a step does before its update (see [`crate::passes`]): it looks at the whole bags, what the looks give is read back,
//! and the host makes of it what the update is given, or leaves rows out of the bags that the update sees.

use super::windowed::Reading;
use super::{Inputs, Session, Tensor};
use crate::error::Result;
use crate::kernels::launch::{BufferKey, Dim, Scalars, tokens_of};
use crate::masking::{Masks, Scores};
use crate::model::Model;
use crate::passes::{HostRule, Read};
use crate::plan::{Purpose, looked_at};
use crate::random::Random;

/// Streams of the run's seed from here on draw masks, one an update.
const MASK_STREAM: u64 = 1 << 41;
/// Stream of the run's seed that gives the seed of the dropout of the first look, and before it those of the others: they
/// would else drop what the update drops.
const LOOK_STREAM: u64 = (1 << 41) - 1;

impl Session {
    /// Tells how many updates the training will take in all, which the shares of what is masked and the momentum
    /// of a copy follow. Without it they stay as they start.
    pub fn set_planned(&mut self, updates: Option<u64>) {
        self.planned = updates;
    }

    /// Tells the epoch (from 0) of the next steps, which weights of terms of the loss follow
    /// ([`crate::objectives::Weight`]). Without it they are as at the end; in an evaluation they always are.
    pub fn set_epoch(&mut self, epoch: Option<u32>) {
        self.epoch = epoch;
    }

    /// True when steps look at their bags before their update.
    pub fn looks_first(&self) -> bool {
        !self.tape.passes.is_update_alone()
    }

    /// The model with the copy that follows its parameters in their place; `None` of a method without one.
    ///
    /// # Errors
    /// What the device answers.
    pub fn follower(&mut self) -> Result<Option<Model>> {
        if self.tape.passes.follower.is_none() {
            return Ok(None);
        }
        self.start_follower()?;
        self.fetch()?;
        let mut model = self.model.clone();
        (model.values, model.follower) = (self.read_flat(BufferKey::Follower)?, None);
        Ok(Some(model))
    }

    /// Until the first update the copy is what the model says that it starts with, or the model itself.
    pub(super) fn start_follower(&mut self) -> Result<()> {
        if self.updates > 0 || self.tape.passes.follower.is_none() {
            return Ok(());
        }
        self.fetch()?;
        self.executor.ensure(BufferKey::Follower, self.model.layout().total as u64 * 4)?;
        let values = self.model.follower.as_ref().unwrap_or(&self.model.values);
        self.executor.write(BufferKey::Follower, 0, values)
    }

    /// The programs that run before that of `purpose`.
    pub(super) fn looks_before(&self, purpose: Purpose) -> Vec<Purpose> {
        let passes = &self.tape.passes;
        let (looks, dropout) = match purpose {
            _ if purpose.learns() => (passes.looks_of(|_| true), true),
            Purpose::Gradients { dropout } => (passes.looks_of(|_| true), dropout),
            // Every row is seen then.
            Purpose::Evaluate => (passes.looks_of(HostRule::is_of_the_objective), false),
            _ => (Vec::new(), false),
        };
        looks.into_iter().map(|number| Purpose::Look { number: number as u8, dropout }).collect()
    }

    /// Seed of the random numbers of a program.
    pub(super) fn seed_of(&self, purpose: Purpose) -> u64 {
        match purpose {
            Purpose::Look { number, .. } => Random::new(self.batch_seed(), LOOK_STREAM - u64::from(number)).u64(),
            _ => self.batch_seed(),
        }
    }

    /// Does what comes before `purpose` on a batch. What the host gives of it is part of the batch from then on; the rows
    /// that are left of each bag come back where `masked` and some may be left out.
    pub(super) fn before_update(
        &mut self,
        purpose: Purpose,
        inputs: &Inputs,
        masked: bool,
    ) -> Result<Option<Vec<Vec<usize>>>> {
        if !self.looks_first() {
            return Ok(None);
        }
        // The program of the update decides whether the batch fits, so it is made ready first.
        let extent = self.extent_of(inputs.bags, inputs.indices)?;
        self.make_ready(purpose, extent)?;
        self.start_follower()?;
        let mut read: Vec<Vec<Tensor>> = vec![Vec::new(); self.tape.passes.looks.len()];
        for look in self.looks_before(purpose) {
            let Purpose::Look { number, .. } = look else { unreachable!("looks are what comes before") };
            read[number as usize] = self.look_at(look, inputs)?;
        }
        self.batch.given.clear();
        let mut kept = None;
        for rule in self.tape.passes.rules.clone() {
            let values = |of: Read| read[of.look].get(of.value);
            match rule {
                HostRule::Soften { from, parts, temperature } => {
                    let rows = values(from).expect("what the objective needs is looked at");
                    let width = rows.shape[1] / parts as usize;
                    let parts = rows.values.chunks_exact(width);
                    parts.for_each(|part| softmax(part, temperature, &mut self.batch.given));
                }
                HostRule::KeepRows { masks, scores, vote } if masked => {
                    let over_tokens = scores.is_some_and(|of| {
                        let value = self.tape.passes.looks[of.look].values[of.value];
                        self.tape.shape(value).rows == Dim::Tokens
                    });
                    kept = Some(self.keep_rows(&masks, inputs, scores.and_then(values), (vote, over_tokens)));
                }
                HostRule::KeepRows { .. } => {}
            }
        }
        Ok(kept)
    }

    /// The values of a look.
    fn look_at(&mut self, look: Purpose, inputs: &Inputs) -> Result<Vec<Tensor>> {
        let windows = self.set_batch(look, inputs, &vec![0.0; inputs.indices.len()])?;
        assert!(!windows, "a model whose steps look first has no windows");
        let mut reading = Reading::default();
        let scalars = Scalars { step: self.updates as u32, ..Scalars::default() };
        self.run(look, scalars, None, (inputs, false), Some(&mut reading))?;
        let count = reading.outputs.len();
        Ok((0..count).map(|n| reading.outputs.remove(&looked_at(n)).expect("values are numbered")).collect())
    }

    fn keep_rows(
        &self,
        masks: &Masks,
        inputs: &Inputs,
        scores: Option<&Tensor>,
        (vote, over_tokens): (bool, bool),
    ) -> Vec<Vec<usize>> {
        let high = masks.high_at(self.updates, self.planned);
        let mut random = Random::new(self.batch_seed(), MASK_STREAM + self.updates);
        let mut first = 0;
        let one = |n: usize| {
            // The class token comes before the instances, and those that fill the square up behind them.
            let (skipped, rows) = if over_tokens { (1, tokens_of(n as u32) as usize) } else { (0, n) };
            let scores = scores.map(|scores| {
                let columns = scores.shape[1];
                let from = (first + skipped) * columns;
                Scores { values: &scores.values[from..from + n * columns], columns, vote }
            });
            first += rows;
            masks.kept(n, scores, high, &mut random)
        };
        inputs.sizes().map(one).collect()
    }
}

/// Appends softmax(row / temperature).
fn softmax(row: &[f64], temperature: f64, out: &mut Vec<f32>) {
    let largest = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
    let weight = |v: &f64| ((v - largest) / temperature).exp();
    let total: f64 = row.iter().map(weight).sum();
    out.extend(row.iter().map(|v| (weight(v) / total) as f32));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_adds_up_to_one() {
        let mut out = Vec::new();
        softmax(&[1000.0, 1000.1, -5.0], 0.1, &mut out);
        let e = std::f32::consts::E;
        let wanted = [1.0 / (1.0 + e), e / (1.0 + e), 0.0];
        assert!(out.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{out:?}");
    }
}
