//! What is known of bags that is no class: a number, or the time until an event.

use crate::error::{Error, Result};
use crate::quantile::quantile;

/// A response of each bag, where it is no class.
#[derive(Clone, Debug, PartialEq)]
pub enum Responses {
    /// A number for each bag, such as an age or a grade of expression; NaN where nobody knows it.
    Numbers(Vec<f32>),
    /// Survival: the time until an event (progression, death), or until a bag was last seen without one (censored).
    Survival {
        /// A time of at least 0 for each bag, in any unit; NaN where nobody knows it.
        times: Vec<f32>,
        /// True where the event came at that time, false where it had not come until then.
        events: Vec<bool>,
    },
}

impl Responses {
    /// Number of bags.
    pub fn len(&self) -> usize {
        self.values().len()
    }

    /// True when there is no bag.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers, or the times.
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Numbers(values) | Self::Survival { times: values, .. } => values,
        }
    }

    /// The times and events, where these are that.
    pub fn survival(&self) -> Option<(&[f32], &[bool])> {
        match self {
            Self::Numbers(_) => None,
            Self::Survival { times, events } => Some((times, events)),
        }
    }

    /// True when the response of this bag is known; false when there is no such bag.
    pub fn is_known(&self, bag: usize) -> bool {
        self.values().get(bag).is_some_and(|v| !v.is_nan())
    }

    /// The bags of `indices`, which there are, in that order.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        let of = |values: &[f32]| indices.iter().map(|&bag| values[bag]).collect();
        match self {
            Self::Numbers(values) => Self::Numbers(of(values)),
            Self::Survival { times, events } => {
                Self::Survival { times: of(times), events: indices.iter().map(|&bag| events[bag]).collect() }
            }
        }
    }

    /// A stratum for each bag, by which divisions are balanced: which quarter of the known numbers it is in, or whether its
    /// event came; [`crate::Bags::UNKNOWN`] where nothing is known.
    pub fn strata(&self) -> Vec<u32> {
        let quarters = match self {
            Self::Numbers(values) => quantiles(values.iter().copied().filter(|v| !v.is_nan()), &[0.25, 0.5, 0.75]),
            Self::Survival { .. } => Vec::new(),
        };
        let of = |bag: usize| match self {
            _ if !self.is_known(bag) => crate::label_sets::UNKNOWN,
            Self::Numbers(values) => quarters.iter().filter(|&&edge| f64::from(values[bag]) >= edge).count() as u32,
            Self::Survival { events, .. } => u32::from(events[bag]),
        };
        (0..self.len()).map(of).collect()
    }

    /// Refuses numbers and times that are none.
    ///
    /// # Errors
    /// [`Error::Bags`] with the first bag whose response is infinite or whose time is below 0, and for another number of
    /// events than of times.
    pub(crate) fn check(&self, names: &[String]) -> Result<()> {
        if let Self::Survival { times, events } = self
            && times.len() != events.len()
        {
            return Err(Error::bags(format!("expected {} events, found {}", times.len(), events.len())));
        }
        let least = if self.survival().is_some() { 0.0 } else { f32::NEG_INFINITY };
        let wrong = |v: &f32| !v.is_nan() && (!v.is_finite() || *v < least);
        let Some(bag) = self.values().iter().position(wrong) else { return Ok(()) };
        let (what, expected) = match self {
            Self::Numbers(_) => ("number", "a finite number, or NaN where it is not known"),
            Self::Survival { .. } => ("time", "a finite time of at least 0, or NaN where it is not known"),
        };
        let (name, found) = (names.get(bag).map_or("?", |n| n), self.values()[bag]);
        Err(Error::bags(format!("bag '{name}' has the {what} {found}; expected {expected}")))
    }
}

/// Quantiles of values by linear interpolation, rising; none of no values.
pub(crate) fn quantiles(values: impl Iterator<Item = f32>, of: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.map(f64::from).collect();
    sorted.sort_by(f64::total_cmp);
    of.iter().filter(|_| !sorted.is_empty()).map(|&share| quantile(&sorted, share)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bags, Features};

    #[test]
    fn strata_are_quarters_or_events() {
        let numbers = Responses::Numbers(vec![4.0, 1.0, f32::NAN, 3.0, 2.0, 5.0]);
        assert_eq!(numbers.strata(), [3, 0, Bags::UNKNOWN, 2, 1, 3]);
        let survival = Responses::Survival { times: vec![1.0, f32::NAN, 3.0], events: vec![true, true, false] };
        assert_eq!(survival.strata(), [1, Bags::UNKNOWN, 0]);
        assert_eq!(survival.select(&[2, 0]).strata(), [0, 1]);
    }

    #[test]
    fn quantiles_are_interpolated() {
        assert_eq!(quantiles([1.0, 2.0, 4.0].into_iter(), &[0.0, 0.25, 0.5, 1.0]), [1.0, 1.5, 2.0, 4.0]);
        assert!(quantiles(std::iter::empty(), &[0.5]).is_empty());
    }

    #[test]
    fn bags_refuse_what_is_no_response() {
        let bags = |responses: Responses| {
            let bags = Bags::packed(Features::F32(vec![0.0; 2]), 1, &[1, 1]).unwrap();
            bags.with_responses(responses).map_err(|e| e.to_string())
        };
        let survival = |times: [f32; 2], events: &[bool]| {
            bags(Responses::Survival { times: times.to_vec(), events: events.to_vec() })
        };
        assert!(survival([1.0, -1.0], &[true; 2]).unwrap_err().contains("bag '1' has the time -1"));
        assert!(survival([1.0, f32::INFINITY], &[true; 2]).unwrap_err().contains("finite time"));
        assert!(survival([1.0, 2.0], &[true]).unwrap_err().contains("expected 2 events, found 1"));
        assert!(bags(Responses::Numbers(vec![1.0])).unwrap_err().contains("expected 2 responses, found 1"));
        let fine = bags(Responses::Numbers(vec![-1.0, f32::NAN])).unwrap();
        assert!(fine.has_labels() && fine.is_labelled(0) && !fine.is_labelled(1) && fine.label(0).is_none());
        let both = Bags { labels: Some(vec![0, 1]), class_names: vec!["a".into(), "b".into()], ..fine };
        assert!(both.validate().unwrap_err().to_string().contains("found both"));
    }
}
