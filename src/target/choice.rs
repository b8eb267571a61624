//! What is to be learnt, as callers and people ask for it.

use super::{Hazards, NumberLoss, Ties};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is to be learnt, before training bags tell the rest of it. Its text is what `--target` takes: `auto`, `ordered`,
/// `squared`, `absolute`, `huber:DELTA`, `hazards:INTERVALS:ALPHA`, `cox`, `cox:breslow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TargetChoice {
    /// By what bags have: classes, label sets, numbers with a squared error, survival in four intervals.
    #[default]
    Auto,
    /// Classes in an order.
    Ordered,
    /// A number.
    Number(NumberLoss),
    /// The time until an event in so many intervals.
    Hazards {
        /// Intervals, whose edges are quantiles of the times of the training bags' events.
        intervals: usize,
        /// How much less censored bags count.
        alpha: f32,
    },
    /// A log-risk by the Cox partial likelihood.
    Cox(Ties),
}

impl TargetChoice {
    /// Bags that a batch needs to learn from, where nobody asked for another number: the Cox partial likelihood compares the
    /// bags of a batch.
    pub fn least_batch(self) -> usize {
        if matches!(self, Self::Cox(_)) { 32 } else { 1 }
    }
}

impl fmt::Display for TargetChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => write!(f, "auto"),
            Self::Ordered => write!(f, "ordered"),
            Self::Number(NumberLoss::Squared) => write!(f, "squared"),
            Self::Number(NumberLoss::Absolute) => write!(f, "absolute"),
            Self::Number(NumberLoss::Huber(delta)) => write!(f, "huber:{delta}"),
            Self::Hazards { intervals, alpha } => write!(f, "hazards:{intervals}:{alpha}"),
            Self::Cox(Ties::Efron) => write!(f, "cox"),
            Self::Cox(Ties::Breslow) => write!(f, "cox:breslow"),
        }
    }
}

impl FromStr for TargetChoice {
    type Err = Error;

    /// Reads what is written; numbers at the end may be left out.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |message: String| Error::setting("target", message);
        let mut parts = text.split(':');
        let (name, rest) = (parts.next().unwrap_or_default(), parts.collect::<Vec<_>>());
        let number = |text: &str| text.parse::<f32>().map_err(|_| wrong(format!("'{text}' is no number")));
        Ok(match (name, &rest[..]) {
            ("auto", []) => Self::Auto,
            ("ordered", []) => Self::Ordered,
            ("squared", []) => Self::Number(NumberLoss::Squared),
            ("absolute", []) => Self::Number(NumberLoss::Absolute),
            ("huber", []) => Self::Number(NumberLoss::Huber(1.0)),
            ("huber", [delta]) => Self::Number(NumberLoss::Huber(number(delta)?)),
            ("hazards", []) => Self::Hazards { intervals: Hazards::INTERVALS, alpha: 0.0 },
            ("hazards", [intervals, rest @ ..]) if rest.len() < 2 => Self::Hazards {
                intervals: intervals.parse().map_err(|_| wrong(format!("'{intervals}' is no number of intervals")))?,
                alpha: rest.first().map_or(Ok(0.0), |alpha| number(alpha))?,
            },
            ("cox", [] | ["efron"]) => Self::Cox(Ties::Efron),
            ("cox", ["breslow"]) => Self::Cox(Ties::Breslow),
            _ => {
                return Err(wrong(format!(
                    "expected auto, ordered, squared, absolute, huber[:DELTA], hazards[:INTERVALS[:ALPHA]] or \
                     cox[:breslow], found {text}"
                )));
            }
        })
    }
}

impl TryFrom<String> for TargetChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TargetChoice> for String {
    fn from(choice: TargetChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let all = [
            TargetChoice::Auto,
            TargetChoice::Ordered,
            TargetChoice::Number(NumberLoss::Squared),
            TargetChoice::Number(NumberLoss::Absolute),
            TargetChoice::Number(NumberLoss::Huber(0.1)),
            TargetChoice::Hazards { intervals: 7, alpha: 0.15 },
            TargetChoice::Cox(Ties::Efron),
            TargetChoice::Cox(Ties::Breslow),
        ];
        for choice in all {
            assert_eq!(choice.to_string().parse::<TargetChoice>().unwrap(), choice);
            let written = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<TargetChoice>(&written).unwrap(), choice, "{written}");
        }
        assert_eq!("huber".parse::<TargetChoice>().unwrap(), TargetChoice::Number(NumberLoss::Huber(1.0)));
        assert_eq!("hazards:6".parse::<TargetChoice>().unwrap(), TargetChoice::Hazards { intervals: 6, alpha: 0.0 });
        assert_eq!("cox:efron".parse::<TargetChoice>().unwrap(), TargetChoice::Cox(Ties::Efron));
        for wrong in ["", "mse", "huber:x", "hazards:2:0:1", "cox:exact", "auto:1"] {
            assert!(wrong.parse::<TargetChoice>().unwrap_err().to_string().contains("target"), "{wrong}");
        }
    }
}
