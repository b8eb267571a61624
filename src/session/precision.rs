//! Mixed precision in a session: switching it on, and the scale of the loss.

use super::Session;
use crate::error::Result;
use crate::kernels::launch::{BufferKey, Place};
use crate::plan::Target;
use crate::precision::{LossScale, ScaleState};

impl Session {
    pub(super) fn target(&self) -> Target {
        let target = self.device.target_for(self.tape.mixed.is_some());
        Target { max_binding: self.binding.unwrap_or(u64::MAX).min(target.max_binding), ..target }
    }

    /// Binds at most this much of a buffer at once, where the device could bind more (`None`: what it can): to see what
    /// a device with smaller limits makes of a batch. Set it first, as it holds for programs planned from now on.
    pub fn limit_bindings(&mut self, bytes: Option<u64>) {
        self.binding = bytes;
        self.too_many = None;
    }

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
    /// What the device answers.
    pub fn set_loss_scale(&mut self, state: &ScaleState) -> Result<()> {
        let (place, _) = scale_place();
        self.executor.ensure(place.buffer, place.bytes)?;
        self.executor.write_indices(place.buffer, &state.words())
    }
}

fn scale_place() -> (Place, usize) {
    (Place { buffer: BufferKey::LossScale, offset: 0, bytes: 256 }, 4)
}
