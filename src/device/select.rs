//! What people ask for when they name a device.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// A discrete GPU, else an integrated one, else the host.
    #[default]
    Auto,
    /// The CPU.
    Host,
    /// The best GPU that is hardware.
    Gpu,
    /// The adapter of this number in the list of devices.
    Index(usize),
    /// The best adapter whose name contains this, in any case; software adapters too.
    Name(String),
}

impl DeviceChoice {
    /// From the environment variable `BAGRAD_DEVICE`; `Auto` when it is not set.
    ///
    /// # Errors
    /// As for parsing.
    pub fn from_env() -> Result<Self> {
        match std::env::var("BAGRAD_DEVICE") {
            Ok(text) => text.parse(),
            Err(_) => Ok(DeviceChoice::Auto),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    /// `auto`, `host` (or `cpu`), `gpu`, `gpu:2`, or a part of an adapter's name.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let lower = text.to_lowercase();
        Ok(match lower.as_str() {
            "" | "auto" => DeviceChoice::Auto,
            "host" | "cpu" => DeviceChoice::Host,
            "gpu" => DeviceChoice::Gpu,
            _ => match lower.strip_prefix("gpu:") {
                Some(number) => DeviceChoice::Index(number.trim().parse().map_err(|_| {
                    Error::setting("device", format!("{text:?}: after `gpu:` comes the number of an adapter"))
                })?),
                None => DeviceChoice::Name(text.to_string()),
            },
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Host => f.write_str("host"),
            DeviceChoice::Gpu => f.write_str("gpu"),
            DeviceChoice::Index(n) => write!(f, "gpu:{n}"),
            DeviceChoice::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_written() {
        for text in ["auto", "host", "gpu", "gpu:3", "RTX 4090"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        assert_eq!(" CPU ".parse::<DeviceChoice>().unwrap(), DeviceChoice::Host);
        assert_eq!("GPU:1".parse::<DeviceChoice>().unwrap(), DeviceChoice::Index(1));
        assert_eq!("".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert!("gpu:one".parse::<DeviceChoice>().unwrap_err().to_string().contains("number of an adapter"));
    }
}
