//! Where high begins.

use bagrad::heatmap::percentiles;
use std::fmt;
use std::str::FromStr;

/// The least number of a patch that is marked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Threshold {
    /// By its percentile in the slide.
    Percent(f64),
    /// As it is.
    Raw(f64),
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, percent) = text.strip_suffix('%').map_or((text, false), |number| (number, true));
        match number.trim().parse::<f64>() {
            Ok(value) if percent && (0.0..=100.0).contains(&value) => Ok(Self::Percent(value)),
            Ok(value) if !percent && value.is_finite() => Ok(Self::Raw(value)),
            _ => Err("expected a percentile such as 90%, or a number such as 0.5 that the scores themselves are held against".into()),
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Raw(value) => write!(f, "{value}"),
        }
    }
}

impl Threshold {
    /// What the patches of numbers with a sign are called that reach it on either side, as in "score from 0.5". One that is not
    /// above 0 is reached by all patches of a side.
    pub fn on_both_sides(self) -> [String; 2] {
        let (Self::Percent(least) | Self::Raw(least)) = self;
        match least > 0.0 {
            true => [format!("from {self}"), format!("from -{self}")],
            false => ["above 0", "below 0"].map(String::from),
        }
    }

    /// The patches that reach it; of numbers with a sign those above 0 and, in the other list, those below that are as far
    /// from 0.
    pub fn reached(self, values: &[f32], signed: bool) -> [Vec<usize>; 2] {
        let (least, numbers): (f64, Vec<f64>) = match self {
            Self::Percent(percent) => (percent, percentiles(values, signed)),
            // As the numbers are: 0.9 in float32 reaches 0.9.
            Self::Raw(value) => (f64::from(value as f32), values.iter().map(|&v| f64::from(v)).collect()),
        };
        let which = |reaches: &dyn Fn(usize, f64) -> bool| {
            (0..values.len()).filter(|&at| values[at].is_finite() && reaches(at, numbers[at])).collect()
        };
        match signed {
            false => [which(&|_, number| number >= least), Vec::new()],
            true => [which(&|at, n| values[at] > 0.0 && n >= least), which(&|at, n| values[at] < 0.0 && -n >= least)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_percentiles_or_numbers() {
        assert_eq!(("90%".parse(), "-0.5".parse()), (Ok(Threshold::Percent(90.0)), Ok(Threshold::Raw(-0.5))));
        for bad in ["", "x", "101%", "-1%", "nan", "inf%"] {
            assert!(bad.parse::<Threshold>().unwrap_err().contains("such as 90%"), "{bad}");
        }
        assert_eq!([Threshold::Percent(90.0).to_string(), Threshold::Raw(0.5).to_string()], ["90%", "0.5"]);
    }

    #[test]
    fn sides_have_names_that_say_what_they_hold() {
        let named = |text: &str| text.parse::<Threshold>().unwrap().on_both_sides();
        assert_eq!(named("0.5"), ["from 0.5", "from -0.5"]);
        assert_eq!(named("90%"), ["from 90%", "from -90%"]);
        for all in ["-0.5", "-0", "0", "0%", "-0%"] {
            assert_eq!(named(all), ["above 0", "below 0"], "{all}");
            let threshold: Threshold = all.parse().unwrap();
            assert_eq!(threshold.reached(&[-3.0, 0.25, 0.0, -0.125], true), [vec![1], vec![0, 3]], "{all}");
        }
    }

    #[test]
    fn patches_reach_it_on_their_side_of_zero() {
        let values = [0.1, 0.9, f32::NAN, 0.5];
        assert_eq!(Threshold::Percent(50.0).reached(&values, false), [vec![1, 3], vec![]]);
        assert_eq!(Threshold::Raw(0.9).reached(&[0.9, 0.8], false), [vec![0], vec![]]);
        let signed = [-3.0, 1.0, 2.0, 0.0, -0.5];
        assert_eq!(Threshold::Raw(1.0).reached(&signed, true), [vec![1, 2], vec![0]]);
        assert_eq!(Threshold::Percent(75.0).reached(&signed, true), [vec![2], vec![0]]);
    }
}
