//! Where features are while a model trains.

use crate::bag::{Bags, Features};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::session::{Resident, Session};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Where features are while a model trains. Results do not depend on it, but for rounding where a method has a frozen
/// front ([`crate::tape::Tape::freeze_front`]): it is computed once, and in each step where features are in their file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// On the device where they fit, else in memory.
    #[default]
    Auto,
    /// On the device; an error where they do not fit.
    Device,
    /// In memory; each step uploads its own.
    Host,
    /// In their file, if the data set left them there ([`crate::Features::Mapped`]); else as `Host`.
    None,
}

impl FromStr for Cache {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "device" => Ok(Self::Device),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err(Error::setting("cache", format!("expected auto, device, host or none, found {text:?}"))),
        }
    }
}

impl Cache {
    /// What nobody has to ask for; files of settings leave it out.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// What a frozen front of the model makes of all bags, in the place of their features: not of features that are left
    /// in their file, whose memory is what nobody wanted to take.
    pub(super) fn pass_front(self, session: &mut Session, bags: &Bags) -> Result<Option<Bags>> {
        if self == Self::None || matches!(bags.features, Features::Mapped(_)) {
            return Ok(None);
        }
        match session.pass_front(bags) {
            // Then each step computes its own.
            Err(Error::Limit { limit: "memory that is free", .. }) => Ok(None),
            passed => passed,
        }
    }

    /// Nothing stays on the device where each epoch sees other instances.
    pub(super) fn keep_none(self) -> Result<Option<Resident>> {
        match self {
            Self::Device => Err(Error::setting(
                "cache",
                "features cannot stay on the device where instances are drawn for each epoch; use auto or host",
            )),
            _ => Ok(None),
        }
    }

    /// Puts the features of `bags` on the device, if that is asked for.
    pub(super) fn keep(self, session: &mut Session, bags: &Bags) -> Result<Option<Resident>> {
        if matches!(self, Self::Host | Self::None) {
            return Ok(None);
        }
        let resident = session.keep(bags)?;
        if self == Self::Device && resident.is_none() && matches!(session.device(), Device::Gpu(_)) {
            let count = bags.features.len();
            let message = format!("the {count} values of all features do not fit on the device; try auto or host");
            return Err(Error::setting("cache", message));
        }
        Ok(resident)
    }
}
