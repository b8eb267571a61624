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

    /// What a model that was trained on instances of `self` has to tell of those of `other`.
    pub(crate) fn differs(&self, other: &Origin) -> Option<String> {
        let mut told = Vec::new();
        if let (Some(ours), Some(theirs)) = (&self.encoder, &other.encoder)
            && !ours.eq_ignore_ascii_case(theirs)
        {
            told.push(format!(
                "the features are of the encoder {theirs}, and the model was trained on those of {ours}"
            ));
        }
        if let (Some(ours), Some(theirs)) = (self.magnification, other.magnification)
            && ours != theirs
        {
            told.push(format!("patches were seen at {theirs} times, and at {ours} times when the model was trained"));
        }
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
