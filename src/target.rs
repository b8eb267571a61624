//! What a model learns of bags, and what its outputs are then.

mod choice;
mod described;

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::responses::{Responses, quantiles};
pub use choice::TargetChoice;
pub(crate) use described::Read;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a model learns of bags. It says what the outputs of the last layer are and what loss they have, for every method
/// whose loss is that of its bags' logits ([`crate::methods::layers::Network::bag_loss`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Target {
    /// One of the classes.
    #[default]
    Classes,
    /// Any subset of the classes, which are then called labels.
    LabelSets,
    /// One of the classes, which stand in an order (grades, stages): see [`Target::Ordered`]'s loss in `docs/targets.md`.
    Ordered,
    /// A number.
    Number(Number),
    /// The time until an event, in intervals.
    Hazards(Hazards),
    /// Who comes before whom in the time until an event: a log-risk.
    Cox(Cox),
}

/// Learning a number y: the output is (y - center) / scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Number {
    /// The loss, of outputs.
    pub loss: NumberLoss,
    /// The number where the output is 0: the mean of the training bags.
    pub center: f64,
    /// What an output of 1 adds: the standard deviation of the training bags.
    pub scale: f64,
}

/// A loss of the distance d between an output and its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberLoss {
    /// d^2.
    #[default]
    Squared,
    /// |d|.
    Absolute,
    /// d^2 / 2 up to |d| = delta, then delta (|d| - delta / 2) (Huber 1964), delta in standard deviations.
    Huber(f32),
}

/// Discrete-time survival (Zadeh and Schmid 2020): a logit for each interval of time, whose sigmoid is the hazard, the
/// probability that the event comes in it when it has not come before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hazards {
    /// Where intervals meet: one less than there are intervals, rising. Interval k is from edge k - 1 to below edge k.
    pub edges: Vec<f32>,
    /// How much less censored bags count: their part is multiplied by 1 - alpha.
    pub alpha: f32,
}

/// The Cox partial likelihood over the bags of a batch, divided by its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cox {
    /// What becomes of events at the same time.
    pub ties: Ties,
}

/// What becomes of events at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// Efron's correction.
    #[default]
    Efron,
    /// Breslow's.
    Breslow,
}

impl Hazards {
    /// Intervals of discrete-time survival unless told otherwise, as in the code of Porpoise and MCAT.
    pub const INTERVALS: usize = 4;

    /// The interval that holds a time.
    pub fn interval(&self, time: f32) -> usize {
        self.edges.iter().filter(|&&edge| time >= edge).count()
    }
}

/// Intervals, at most.
const MOST_INTERVALS: usize = 256;

impl Target {
    /// The target of bags such as these, with edges, center and scale by the bags `training`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a choice that these bags do not have, out of range, or that their training bags leave
    /// undefined: fewer times of events than intervals, numbers that are all the same.
    pub fn of(choice: TargetChoice, bags: &Bags, training: &[usize]) -> Result<Self> {
        let refused = |message: String| Err(Error::setting("target", message));
        let known = |values: &[f32]| training.iter().filter_map(|&bag| values.get(bag)).copied().collect::<Vec<_>>();
        match (choice, &bags.responses) {
            (TargetChoice::Auto, None) if bags.label_sets.is_some() => Ok(Self::LabelSets),
            (TargetChoice::Auto, None) => Ok(Self::Classes),
            (TargetChoice::Ordered, None) if bags.label_sets.is_none() => Ok(Self::Ordered),
            (TargetChoice::Auto, Some(Responses::Numbers(_))) => {
                Self::of(TargetChoice::Number(NumberLoss::default()), bags, training)
            }
            (TargetChoice::Auto, Some(Responses::Survival { .. })) => {
                let (intervals, alpha) = (Hazards::INTERVALS, 0.0);
                Self::of(TargetChoice::Hazards { intervals, alpha }, bags, training)
            }
            (TargetChoice::Number(loss), Some(Responses::Numbers(values))) => {
                let values: Vec<f64> = known(values).into_iter().filter(|v| !v.is_nan()).map(f64::from).collect();
                let count = values.len().max(1) as f64;
                let center = values.iter().sum::<f64>() / count;
                let scale = (values.iter().map(|v| (v - center).powi(2)).sum::<f64>() / count).sqrt();
                if scale == 0.0 {
                    return refused(format!("the numbers of all {} training bags are the same", values.len()));
                }
                Self::Number(Number { loss, center, scale }).checked()
            }
            (TargetChoice::Hazards { intervals, alpha }, Some(Responses::Survival { times, events })) => {
                if !(2..=MOST_INTERVALS).contains(&intervals) {
                    return refused(format!("expected 2 to {MOST_INTERVALS} intervals of time, found {intervals}"));
                }
                let came = || training.iter().filter(|&&bag| events[bag] && !times[bag].is_nan());
                let different: BTreeSet<u32> = came().map(|&bag| times[bag].to_bits()).collect();
                let shares: Vec<f64> = (1..intervals).map(|k| k as f64 / intervals as f64).collect();
                let edges = quantiles(came().map(|&bag| times[bag]), &shares);
                let edges: Vec<f32> = edges.into_iter().map(|edge| edge as f32).collect();
                let rise = edges.windows(2).all(|pair| pair[0] < pair[1]);
                if different.len() < intervals || edges.len() + 1 != intervals || !rise {
                    let message = format!(
                        "the times of the training bags' events make no {intervals} intervals of different times; use \
                         fewer"
                    );
                    return refused(message);
                }
                Self::Hazards(Hazards { edges, alpha }).checked()
            }
            (TargetChoice::Cox(ties), Some(Responses::Survival { .. })) => Ok(Self::Cox(Cox { ties })),
            (choice, _) => {
                let wanted = match choice {
                    TargetChoice::Auto | TargetChoice::Ordered => "one class each",
                    TargetChoice::Number(_) => "a number each",
                    TargetChoice::Hazards { .. } | TargetChoice::Cox(_) => "a time and an event each",
                };
                refused(format!("it is for bags with {wanted}, and these have {}", kind_of(bags)))
            }
        }
    }

    /// Refuses numbers that are none or out of range.
    ///
    /// # Errors
    /// [`Error::Setting`] that says which.
    pub fn checked(self) -> Result<Self> {
        let refused = |message: String| Err(Error::setting("target", message));
        match &self {
            Self::Number(Number { center, scale, .. })
                if !(center.is_finite() && scale.is_finite() && *scale > 0.0) =>
            {
                refused(format!("expected a finite center and a scale above 0, found {center} and {scale}"))
            }
            Self::Number(Number { loss: NumberLoss::Huber(delta), .. }) if !(delta.is_finite() && *delta > 0.0) => {
                refused(format!("expected a delta of the Huber loss above 0, found {delta}"))
            }
            Self::Hazards(Hazards { edges, alpha }) => {
                let rises = edges.windows(2).all(|pair| pair[0] < pair[1]) && edges.iter().all(|e| e.is_finite());
                if edges.is_empty() || edges.len() >= MOST_INTERVALS || !rises {
                    return refused("expected 1 to 255 edges of intervals, rising".into());
                }
                match (0.0..1.0).contains(alpha) {
                    true => Ok(self),
                    false => refused(format!("expected an alpha of at least 0 and below 1, found {alpha}")),
                }
            }
            _ => Ok(self),
        }
    }

    /// True when bags have any subset of the classes.
    pub fn is_label_sets(&self) -> bool {
        *self == Self::LabelSets
    }

    /// True for what has classes: one of them, or any subset.
    pub fn has_classes(&self) -> bool {
        matches!(self, Self::Classes | Self::LabelSets | Self::Ordered)
    }

    /// True for the time until an event.
    pub fn is_survival(&self) -> bool {
        matches!(self, Self::Hazards(_) | Self::Cox(_))
    }

    /// What bags need for it, in words.
    pub(crate) fn wants(&self) -> &'static str {
        match self {
            Self::Classes | Self::Ordered => "one class each",
            Self::LabelSets => "any number of labels each",
            Self::Number(_) => "a number each",
            Self::Hazards(_) | Self::Cox(_) => "a time and an event each",
        }
    }

    /// Checks that bags have what it learns, or nothing.
    pub(crate) fn check_fits(&self, bags: &Bags) -> Result<()> {
        let fits = match &bags.responses {
            None => self.has_classes() || !bags.has_labels(),
            Some(Responses::Numbers(_)) => matches!(self, Self::Number(_)),
            Some(Responses::Survival { .. }) => self.is_survival(),
        };
        match fits {
            true => Ok(()),
            false => Err(Error::bags(format!(
                "these bags have {}, and the model is for bags with {}; expected those, or bags without labels",
                kind_of(bags),
                self.wants()
            ))),
        }
    }

    /// Checks that what it predicts is compared with the like.
    pub(crate) fn check_values(&self, responses: &Responses) -> Result<()> {
        match (self, responses) {
            (Self::Number(_), Responses::Numbers(_)) => Ok(()),
            (Self::Hazards(_) | Self::Cox(_), Responses::Survival { .. }) => Ok(()),
            _ => {
                Err(Error::bags(format!("these are predictions of {}, and the bags have something else", self.wants())))
            }
        }
    }

    /// Appends what these outputs of bags say where there are no classes: a value for each bag, and of discrete-time
    /// survival the probability of no event before the end of each interval.
    pub(crate) fn predicted<'a>(
        &self,
        outputs: impl Iterator<Item = &'a [f32]>,
        values: &mut Vec<f32>,
        survival: &mut Vec<f32>,
    ) {
        match self {
            Self::Classes | Self::LabelSets | Self::Ordered => {}
            Self::Number(Number { center, scale, .. }) => {
                values.extend(outputs.map(|of| (center + scale * f64::from(of[0])) as f32));
            }
            Self::Cox(_) => values.extend(outputs.map(|of| of[0])),
            Self::Hazards(_) => {
                for of in outputs {
                    let (mut left, mut sum) = (0.0f64, 0.0f64);
                    for &x in of {
                        // ln(1 - sigmoid(x))
                        let x = f64::from(x);
                        left -= x.max(0.0) + (-x.abs()).exp().ln_1p();
                        sum += left.exp();
                        survival.push(left.exp() as f32);
                    }
                    values.push(-sum as f32);
                }
            }
        }
    }
}

/// What bags have, in words.
fn kind_of(bags: &Bags) -> &'static str {
    match (&bags.responses, &bags.label_sets) {
        (Some(Responses::Numbers(_)), _) => "a number each",
        (Some(Responses::Survival { .. }), _) => "a time and an event each",
        (None, Some(_)) => "any number of labels each",
        (None, None) if bags.labels.is_some() => "one class each",
        (None, None) => "no labels",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;

    fn bags(responses: Responses) -> Bags {
        let count = responses.len();
        let bags = Bags::packed(Features::F32(vec![0.0; count]), 1, &vec![1; count]).unwrap();
        bags.with_responses(responses).unwrap()
    }

    #[test]
    fn training_bags_tell_the_rest() {
        let numbers = bags(Responses::Numbers(vec![1.0, 3.0, 100.0, f32::NAN]));
        let Target::Number(number) = Target::of(TargetChoice::Auto, &numbers, &[0, 1]).unwrap() else { panic!() };
        assert_eq!(number, Number { loss: NumberLoss::Squared, center: 2.0, scale: 1.0 });
        let same = Target::of(TargetChoice::Auto, &numbers, &[0]).unwrap_err().to_string();
        assert!(same.contains("all 1 training bags are the same"), "{same}");

        let times: Vec<f32> = (0..9).map(|t| t as f32).collect();
        let survival = bags(Responses::Survival { times, events: vec![true; 9] });
        let all: Vec<usize> = (0..9).collect();
        let Target::Hazards(hazards) = Target::of(TargetChoice::Auto, &survival, &all).unwrap() else { panic!() };
        assert_eq!(hazards.edges, [2.0, 4.0, 6.0]);
        assert_eq!([0.0, 1.9, 2.0, 5.0, 6.0, 99.0].map(|t| hazards.interval(t)), [0, 0, 1, 2, 3, 3]);
        let few = Target::of(TargetChoice::Auto, &survival, &[4]).unwrap_err().to_string();
        assert!(few.contains("no 4 intervals"), "{few}");
        let wrong = Target::of(TargetChoice::Cox(Ties::Efron), &numbers, &all).unwrap_err().to_string();
        assert!(wrong.contains("a time and an event each, and these have a number each"), "{wrong}");
    }

    #[test]
    fn descriptions_go_there_and_back() {
        let number = Number { loss: NumberLoss::Huber(1.5), center: 60.25, scale: 9.5 };
        let hazards = Hazards { edges: vec![1.0, 2.5], alpha: 0.25 };
        let all = [Target::Ordered, Target::Number(number), Target::Hazards(hazards), Target::Cox(Cox::default())];
        for target in all {
            let mut written = serde_json::to_value(&target).unwrap();
            let read: Read = serde_json::from_value(written["target"].take()).unwrap();
            assert_eq!(read.target().unwrap(), target);
        }
        assert_eq!(serde_json::to_string(&Target::Classes).unwrap(), "{}");
        assert_eq!(serde_json::to_string(&Target::LabelSets).unwrap(), r#"{"multi_label":true}"#);
        let wrong: Read = serde_json::from_str(r#"{"hazards":{"edges":[2.0,1.0],"alpha":0.0}}"#).unwrap();
        assert!(wrong.target().unwrap_err().contains("rising"));
    }

    #[test]
    fn models_and_bags_have_to_fit() {
        let numbers = bags(Responses::Numbers(vec![1.0, 3.0]));
        Target::Number(Number { loss: NumberLoss::Squared, center: 0.0, scale: 1.0 }).check_fits(&numbers).unwrap();
        for target in [Target::Classes, Target::Cox(Cox::default())] {
            let told = target.check_fits(&numbers).unwrap_err().to_string();
            assert!(told.contains("these bags have a number each"), "{told}");
            target.check_fits(&Bags { responses: None, ..numbers.clone() }).unwrap();
        }
    }
}
