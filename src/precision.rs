//! Mixed precision: products of f16 factors, everything else in f32, and a loss that is scaled to suit.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// What matrix products compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// f32 throughout (features may be stored in f16).
    #[default]
    F32,
    /// Both factors of a product are rounded to f16; sums, parameters and all else stay in f32.
    Mixed,
}

impl Precision {
    /// Its name, as in settings.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Mixed => "mixed",
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Precision::F32),
            "mixed" => Ok(Precision::Mixed),
            _ => Err(Error::setting("precision", format!("{text:?}: expected f32 or mixed"))),
        }
    }
}

/// How the loss is scaled in mixed precision (Micikevicius et al. 2018, section 3.2): gradients are computed
/// times the scale, so that small ones survive f16, and divided by it before the update. An update with a
/// gradient that is not finite is left out and halves the scale; so many good ones in a row double it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossScale {
    /// The scale to start with, a power of two from 1 to 2^120.
    pub first: f32,
    /// Good updates in a row after which it doubles.
    pub grow_every: u32,
}

/// The scale is not halved below this.
pub const LEAST_SCALE: f32 = 1.0;
/// The scale is not doubled beyond this, 2^30: it would only get nearer to what f32 holds.
pub const MOST_SCALE: f32 = 1_073_741_824.0;

impl Default for LossScale {
    fn default() -> Self {
        Self { first: 65_536.0, grow_every: 2000 }
    }
}

impl LossScale {
    /// Refuses numbers out of range.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the number.
    pub fn validate(&self) -> Result<()> {
        let power = self.first.is_normal() && self.first.to_bits() & 0x807f_ffff == 0;
        if !(power && (1.0..=2f32.powi(120)).contains(&self.first)) {
            let message = format!("first must be a power of two from 1 to 2^120, found {}", self.first);
            return Err(Error::setting("loss_scale", message));
        }
        match self.grow_every {
            0 => Err(Error::setting("loss_scale", "grow_every must be at least 1, found 0")),
            _ => Ok(()),
        }
    }
}

/// Where the scale of the loss stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScaleState {
    /// The scale of the next update.
    pub scale: f32,
    /// Good updates since it last changed.
    pub good: u32,
    /// Updates that were left out so far.
    pub skipped: u32,
    /// The last update was one of them.
    pub overflowed: bool,
}

impl ScaleState {
    /// From the words on a device; `None` before the first update.
    pub(crate) fn of(words: &[u32]) -> Option<Self> {
        let scale = f32::from_bits(words[0]);
        (words[0] != 0).then(|| Self { scale, good: words[1], skipped: words[2], overflowed: words[3] != 0 })
    }

    pub(crate) fn words(&self) -> [u32; 4] {
        [self.scale.to_bits(), self.good, self.skipped, self.overflowed as u32]
    }

    /// True when an update was left out although the scale is as small as it gets: no scale will help.
    pub fn stuck(&self) -> bool {
        self.overflowed && self.scale <= LEAST_SCALE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_powers_of_two_in_range() {
        let of = |first: f32| LossScale { first, ..LossScale::default() }.validate();
        for good in [1.0, 65_536.0, 2f32.powi(120)] {
            of(good).unwrap();
        }
        for wrong in [0.0, -2.0, 3.0, 0.5, 2f32.powi(121), f32::INFINITY, f32::NAN] {
            assert!(of(wrong).unwrap_err().to_string().contains("power of two"), "{wrong}");
        }
        assert!(LossScale { grow_every: 0, ..LossScale::default() }.validate().is_err());
        assert_eq!("mixed".parse::<Precision>().unwrap(), Precision::Mixed);
        assert!("f16".parse::<Precision>().unwrap_err().to_string().contains("f32 or mixed"));
    }

    #[test]
    fn states_survive_their_words() {
        let state = ScaleState { scale: 4.0, good: 7, skipped: 2, overflowed: true };
        assert_eq!(ScaleState::of(&state.words()), Some(state));
        assert_eq!(ScaleState::of(&[0; 4]), None);
    }
}
