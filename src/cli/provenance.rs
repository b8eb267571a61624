//! What a run was made with and of: what is needed to make it again, and to tell why another one differs.

use anyhow::{Context, Result};
use bagrad::data::{Dataset, split};
use bagrad::device::Device;
use bagrad::{Error, Identity};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The file of it in a run folder.
pub const FILE: &str = "provenance.json";

/// What a run was made with and of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Version of bagrad.
    pub bagrad: String,
    /// Architecture and system that it was built for.
    pub system: String,
    /// The device, and what it is: processor or driver.
    pub device: String,
    /// Its description.
    pub device_description: String,
    /// The bags as they were read.
    pub data: Identity,
    /// Which of them trained, validated and tested.
    pub division: String,
}

impl Provenance {
    /// That of a run on these bags as they were read and divided, all of whose features it reads once.
    ///
    /// # Errors
    /// When a file of features changed meanwhile.
    pub fn of(set: &Dataset, device: &Device) -> Result<Self> {
        Ok(Self {
            bagrad: env!("CARGO_PKG_VERSION").to_owned(),
            system: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            device: device.name().to_owned(),
            device_description: device.description(),
            data: set.bags.identity().with_context(|| format!("data {}", set.name))?,
            division: split::fingerprint(set.split.as_deref().unwrap_or_default()),
        })
    }

    /// That of a run folder; `None` where it has none.
    ///
    /// # Errors
    /// With the path, when it cannot be read or is none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| path.display().to_string())?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path, error).into()),
        }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// None that can be met.
    pub fn to_text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// In what this one was made otherwise than `before`, of what may change results without being wrong.
    pub fn circumstances(&self, before: &Self) -> Vec<String> {
        let pairs = [
            ("bagrad", &self.bagrad, &before.bagrad),
            ("the system", &self.system, &before.system),
            ("the device", &self.device, &before.device),
            ("the device", &self.device_description, &before.device_description),
        ];
        let pairs = pairs.into_iter().filter(|(_, now, then)| now != then);
        pairs.map(|(what, now, then)| format!("{what} is {now}, and was {then}")).collect()
    }
}
