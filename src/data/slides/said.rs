//! What files say of themselves by names and values: the encoder, the unit of the places, the width of patches.

use super::format::{About, Number, Unit};

/// Names with their values as text.
#[derive(Clone, Debug, Default)]
pub(super) struct Said(pub Vec<(String, String)>);

impl Said {
    /// The text of what has one of these names.
    fn text(&self, names: &[&str]) -> Option<String> {
        let of = |name: &&str| self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.trim().to_owned());
        names.iter().find_map(of).filter(|t| !t.is_empty())
    }

    /// The positive number of what has one of these names.
    fn number(&self, names: &[&str]) -> Option<f64> {
        let of = |name: &&str| self.text(&[name])?.parse().ok();
        names.iter().find_map(of).filter(|v: &f64| v.is_finite() && *v > 0.0)
    }

    /// The unit of coordinates that are such numbers. STAMP says it. Whole numbers are pixels of level 0, as CLAM and TRIDENT
    /// write them.
    pub fn unit(&self, coords: Number) -> Unit {
        match self.text(&["unit"]).map(|u| u.to_lowercase()).as_deref() {
            Some("um" | "µm" | "mum" | "micrometer" | "micrometre" | "microns") => Unit::Micrometres,
            Some("px" | "pixel" | "pixels") => Unit::Pixels,
            Some(_) => Unit::Unknown,
            None if self.number(&["tile_size_um"]).is_some() => Unit::Micrometres,
            None if self.number(&["patch_size_level0"]).is_some() || !coords.is_float() => Unit::Pixels,
            None => Unit::Unknown,
        }
    }

    /// What is said of patches whose places are in this unit.
    pub fn about(&self, unit: Option<Unit>) -> About {
        let patch = match unit {
            Some(Unit::Micrometres) => self.number(&["tile_size_um", "tile_size"]),
            Some(Unit::Pixels) => self.number(&["patch_size_level0"]).or_else(|| {
                // CLAM's patch files: pixels of the level that patches are from, and how much coarser that is.
                Some(self.number(&["patch_size"])? * self.number(&["downsample"])?)
            }),
            _ => None,
        };
        About {
            encoder: self.text(&["encoder", "extractor"]),
            patch,
            magnification: self.number(&["target_magnification"]),
            slide: match unit {
                Some(Unit::Pixels) => {
                    self.number(&["level0_width"]).zip(self.number(&["level0_height"])).map(<[f64; 2]>::from)
                }
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slides_have_the_size_that_is_told_of_their_pixels() {
        let said = |width: &str| {
            let pairs = [("level0_width", width), ("level0_height", "3072"), ("patch_size_level0", "512")];
            Said(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
        };
        assert_eq!(said("2048").about(Some(Unit::Pixels)).slide, Some([2048.0, 3072.0]));
        assert_eq!(said("2048").about(Some(Unit::Micrometres)).slide, None);
        assert_eq!(said("0").about(Some(Unit::Pixels)).slide, None);
    }
}
