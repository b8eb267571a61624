//! All that a training has moved, to return to it later, in another process too.

use super::Session;
use crate::error::{Error, Result};
use crate::kernels::launch::BufferKey;
use crate::precision::ScaleState;
use crate::tape::Storage;

/// What updates have moved: with it, the same seed and the same batches, training goes on as if it had never stopped, with
/// the same bits on the same device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionState {
    /// Updates done.
    pub updates: u64,
    /// All parameters in the flat layout, those included that nothing trains.
    pub parameters: Vec<f32>,
    /// Moments, slow copy and moving average, each in that layout.
    pub states: Vec<Vec<f32>>,
    /// Updates that had bags of each class, where parameters learn from bags of one class alone (see
    /// [`crate::tape::Tape::learn_from`]).
    pub class_updates: Vec<u64>,
    /// Number of the one that is the moving average.
    pub average: Option<u8>,
    /// The copy that follows the parameters, in that layout, where a step looks with one.
    pub follower: Option<Vec<f32>>,
    /// Where the scale of the loss stands, in mixed precision.
    pub loss_scale: Option<ScaleState>,
}

impl Session {
    /// All that updates have moved, waiting for the device. `states` are the buffers of the optimiser
    /// ([`crate::ops::update::Optimiser::states`]).
    ///
    /// # Errors
    /// [`Error::Setting`] while gradients wait for their update, [`Error::Diverged`], and what the device answers.
    pub fn state(&mut self, states: u8) -> Result<SessionState> {
        self.check_none_pending("state")?;
        self.fetch()?;
        let parameters = self.model.values.clone();
        let bytes = parameters.len() as u64 * 4;
        let flat = |session: &mut Self, buffer: BufferKey| {
            session.executor.ensure(buffer, bytes)?;
            session.read_flat(buffer)
        };
        let states = (0..states).map(|n| flat(self, BufferKey::State(n))).collect::<Result<_>>()?;
        let follower = match self.tape.passes.follower {
            Some(_) => {
                self.start_follower()?;
                Some(flat(self, BufferKey::Follower)?)
            }
            None => None,
        };
        let (updates, average) = (self.updates, self.average);
        let (class_updates, loss_scale) = (self.classes.updates.clone(), self.loss_scale()?);
        Ok(SessionState { updates, parameters, states, class_updates, average, follower, loss_scale })
    }

    /// Returns to a state of the same model.
    ///
    /// # Errors
    /// [`Error::Shape`] for that of another model, [`Error::Setting`] for parameters that are not finite, and what the
    /// device answers.
    pub fn set_state(&mut self, state: &SessionState) -> Result<()> {
        let all = self.model.values.len();
        let flat = std::iter::once(&state.parameters).chain(&state.states).chain(&state.follower);
        let sizes: Vec<usize> = flat.map(Vec::len).collect();
        let average = state.average.is_none_or(|n| usize::from(n) < state.states.len());
        if sizes.iter().any(|n| *n != all)
            || state.follower.is_some() != self.tape.passes.follower.is_some()
            || !average
        {
            let follower = if self.tape.passes.follower.is_some() { "a follower" } else { "no follower" };
            return Err(Error::Shape {
                operation: "set state",
                expected: format!("a state of this model: {all} values for everything, and {follower}"),
                found: format!("{sizes:?} values, average {:?}", state.average),
            });
        }
        self.restore(&state.parameters)?;
        let bytes = all as u64 * 4;
        let states = state.states.iter().enumerate().map(|(n, values)| (BufferKey::State(n as u8), values));
        for (key, values) in states.chain(state.follower.iter().map(|values| (BufferKey::Follower, values))) {
            self.executor.ensure(key, bytes)?;
            self.executor.write(key, 0, values)?;
        }
        if let Some(scale) = &state.loss_scale {
            self.set_loss_scale(scale)?;
        }
        (self.updates, self.average, self.pending) = (state.updates, state.average, 0);
        self.classes.updates.clone_from(&state.class_updates);
        Ok(())
    }

    /// How features are stored.
    pub fn storage(&self) -> Storage {
        self.storage
    }
}
