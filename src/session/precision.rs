//! Mixed precision in a session: switching it on, and the scale of the loss.

use super::Session;
use crate::error::Result;
use crate::kernels::launch::{BufferKey, Place};
use crate::precision::{LossScale, ScaleState};

impl Session {
    /// Switches mixed precision on, with this scale of the loss, or off. It holds for training, gradients and
    /// outputs alike. A scale that has moved already stays where it is.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a scale out of range, and what the device answers.
    pub fn set_mixed(&mut self, scale: Option<LossScale>) -> Result<()> {
        scale.map_or(Ok(()), |s| s.validate())?;
        if self.tape.mixed == scale {
            return Ok(());
        }
        self.tape.mixed = scale;
        self.replan()
    }

    /// Where the scale of the loss stands, waiting for the device; `None` before the first update in mixed
    /// precision.
    ///
    /// # Errors
    /// What the device answers.
    pub fn loss_scale(&mut self) -> Result<Option<ScaleState>> {
        if self.tape.mixed.is_none() {
            return Ok(None);
        }
        let (place, words) = scale_place();
        self.executor.ensure(place.buffer, place.bytes)?;
        Ok(ScaleState::of(&self.executor.read_indices(place, words)?))
    }

    /// Continues with a scale of the loss that was read before.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a scale that is not above 0, and what the device answers.
    pub fn set_loss_scale(&mut self, state: &ScaleState) -> Result<()> {
        if !(state.scale > 0.0 && state.scale.is_finite()) {
            let message = format!("expected a scale above 0, found {}", state.scale);
            return Err(crate::Error::setting("loss_scale", message));
        }
        let (place, _) = scale_place();
        self.executor.ensure(place.buffer, place.bytes)?;
        self.executor.write_indices(place.buffer, &state.words())
    }
}

fn scale_place() -> (Place, usize) {
    (Place { buffer: BufferKey::LossScale, offset: 0, bytes: 256 }, 4)
}
