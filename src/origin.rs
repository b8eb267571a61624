//! Where instances come from: who made their features, and what their places mean.

use serde::{Deserialize, Serialize};

/// The unit of places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceUnit {
    /// Pixels of the slide at its full resolution (level 0).
    Pixels,
    /// Micrometres.
    Micrometres,
}

impl PlaceUnit {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pixels => "pixels of level 0",
            Self::Micrometres => "micrometres",
        }
    }
}

/// A part of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Encoder,
    Unit,
    Patch,
    Magnification,
}

/// What is known of where the instances of all bags come from; what differs between bags is not. It goes with bags
/// ([`crate::Bags::origin`]) and into the model that is trained on them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Who made the features, as their files call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoder: Option<String>,
    /// The unit of the places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<PlaceUnit>,
    /// Side of a patch, whose place is its corner, in that unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<f64>,
    /// The magnification at which patches were seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub magnification: Option<f64>,
}

impl Origin {
    /// Bytes of the name of an encoder, at most.
    pub const LONGEST: usize = 1000;

    /// True when nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses lengths that are none and names that are no names.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        let length = |value: Option<f64>| value.is_none_or(|v| v.is_finite() && v > 0.0);
        if !length(self.patch) || !length(self.magnification) {
            return Err("expected a side of patches and a magnification above 0".into());
        }
        match self.encoder.as_ref().map_or(0, String::len) {
            length if length > Self::LONGEST => {
                Err(format!("the name of the encoder has {length} bytes, more than {}", Self::LONGEST))
            }
            _ => Ok(()),
        }
    }

    /// What both know and have otherwise, with that of `self` and that of `other`.
    pub(crate) fn differences(&self, other: &Origin) -> Vec<(Part, [String; 2])> {
        let encoders = self.encoder.as_ref().zip(other.encoder.as_ref());
        let encoders = encoders.filter(|(ours, theirs)| !ours.eq_ignore_ascii_case(theirs));
        let units = self.unit.zip(other.unit).filter(|(ours, theirs)| ours != theirs);
        let lengths = |ours: Option<f64>, theirs: Option<f64>| {
            let other = ours.zip(theirs).filter(|(ours, theirs)| ours != theirs);
            other.map(|(ours, theirs)| [ours, theirs].map(|length| length.to_string()))
        };
        let all = [
            (Part::Encoder, encoders.map(|(ours, theirs)| [ours, theirs].map(String::clone))),
            (Part::Unit, units.map(|(ours, theirs)| [ours, theirs].map(|unit| unit.name().to_owned()))),
            (Part::Patch, lengths(self.patch, other.patch)),
            (Part::Magnification, lengths(self.magnification, other.magnification)),
        ];
        all.into_iter().filter_map(|(part, both)| Some((part, both?))).collect()
    }

    /// What a model that was trained on instances of `self` has to tell of those of `other`.
    pub(crate) fn differs(&self, other: &Origin) -> Option<String> {
        let tell = |(part, [ours, theirs]): (Part, [String; 2])| match part {
            Part::Encoder => {
                Some(format!("the features are of the encoder {theirs}, and the model was trained on those of {ours}"))
            }
            Part::Magnification => {
                Some(format!("patches were seen at {theirs} times, and at {ours} times when the model was trained"))
            }
            // Places are no input, but where they are drawn.
            Part::Unit | Part::Patch => None,
        };
        let told: Vec<String> = self.differences(other).into_iter().filter_map(tell).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told() {
        let of = |encoder: &str, magnification| Origin {
            encoder: Some(encoder.into()),
            magnification: Some(magnification),
            ..Origin::default()
        };
        assert_eq!(of("uni", 20.0).differs(&of("UNI", 20.0)), None);
        assert_eq!(of("uni", 20.0).differs(&Origin::default()), None);
        let told = of("uni", 20.0).differs(&of("conch", 40.0)).unwrap();
        assert!(told.contains("of the encoder conch, and the model was trained on those of uni"), "{told}");
        assert!(told.contains("at 40 times, and at 20 times"), "{told}");
    }

    #[test]
    fn lengths_are_checked() {
        Origin { patch: Some(256.0), ..Origin::default() }.check().unwrap();
        for patch in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Origin { patch: Some(patch), ..Origin::default() }.check().is_err(), "{patch}");
        }
        assert!(Origin { encoder: Some("x".repeat(1001)), ..Origin::default() }.check().is_err());
    }
}
