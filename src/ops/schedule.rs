//! How the learning rate moves while a model trains.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A learning-rate schedule. It holds no state: the rate is a function of where training stands, so a
/// resumed run continues on the same curve.
///
/// In settings, `"constant"` or for example `{ step = { every = 20, gamma = 0.5 } }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// The base rate throughout.
    #[default]
    Constant,
    /// `base / (1 + decay * update)`: the `decay` of the classic Keras optimisers.
    TimeDecay {
        /// How fast it falls, for each update.
        decay: f64,
    },
    /// Times `gamma` after every `every` epochs.
    Step {
        /// Epochs between two drops.
        every: u64,
        /// Factor of a drop.
        gamma: f64,
    },
    /// Times `gamma` from each of the `milestones` on.
    MultiStep {
        /// Epochs (counted from 0) that start with a drop, rising.
        milestones: Vec<u64>,
        /// Factor of a drop.
        gamma: f64,
    },
    /// Half a cosine from the base rate to `floor`, one step each epoch.
    CosineEpochs {
        /// The rate towards the end (an absolute rate, not a share of the base).
        #[serde(default)]
        floor: f64,
    },
    /// Half a cosine from the base rate to `floor`, one step each update.
    CosineUpdates {
        /// The rate towards the end (an absolute rate, not a share of the base).
        #[serde(default)]
        floor: f64,
    },
    /// A linear rise over the first `updates`, in front of another schedule.
    ///
    /// What counts updates starts counting after the rise, and a cosine spans what is left; what counts
    /// epochs keeps the epochs of the run, so that a milestone stays where it was written.
    WarmUp {
        /// Updates of the rise; the last of them has the full rate.
        updates: u64,
        /// What follows.
        then: Box<Schedule>,
    },
}

impl Schedule {
    /// The rate of update `update` in epoch `epoch` (both counted from 0) of a run with `updates_total` and
    /// `epochs_total` of them. After the planned end a cosine stays at its floor.
    ///
    /// ```
    /// # use bagrad::training::schedule::Schedule;
    /// let schedule = Schedule::Step { every: 10, gamma: 0.5 };
    /// assert_eq!(schedule.rate(0.1, 0, 9, 3000, 30), 0.1);
    /// assert_eq!(schedule.rate(0.1, 0, 10, 3000, 30), 0.05);
    /// ```
    pub fn rate(&self, base: f64, update: u64, epoch: u64, updates_total: u64, epochs_total: u64) -> f64 {
        match self {
            Self::Constant => base,
            Self::TimeDecay { decay } => base / (1.0 + decay * update as f64),
            Self::Step { every, gamma } => base * gamma.powf((epoch / (*every).max(1)) as f64),
            Self::MultiStep { milestones, gamma } => {
                let passed = milestones.iter().filter(|&&m| m <= epoch).count();
                base * gamma.powf(passed as f64)
            }
            Self::CosineEpochs { floor } => cosine(base, *floor, epoch, epochs_total),
            Self::CosineUpdates { floor } => cosine(base, *floor, update, updates_total),
            Self::WarmUp { updates, then } => {
                let share = if update < *updates { (update + 1) as f64 / *updates as f64 } else { 1.0 };
                let (after, left) = (update.saturating_sub(*updates), updates_total.saturating_sub(*updates));
                share * then.rate(base, after, epoch, left, epochs_total)
            }
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the number and its range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |what: String| Err(Error::setting("schedule", what));
        let drop = |gamma: f64| match gamma > 0.0 && gamma.is_finite() {
            true => Ok(()),
            false => wrong(format!("gamma is {gamma}; it must be above 0")),
        };
        match self {
            Self::Constant => Ok(()),
            Self::TimeDecay { decay } if *decay >= 0.0 && decay.is_finite() => Ok(()),
            Self::TimeDecay { decay } => wrong(format!("decay is {decay}; it must be 0 or more")),
            Self::Step { every: 0, .. } => wrong("every is 0; a step takes at least 1 epoch".into()),
            Self::Step { gamma, .. } => drop(*gamma),
            Self::MultiStep { milestones, gamma } => match milestones.windows(2).find(|w| w[0] >= w[1]) {
                Some(w) => wrong(format!("milestones must rise, but {} comes before {}", w[0], w[1])),
                None => drop(*gamma),
            },
            Self::CosineEpochs { floor } | Self::CosineUpdates { floor } => match *floor >= 0.0 && floor.is_finite() {
                true => Ok(()),
                false => wrong(format!("floor is {floor}; it must be 0 or more")),
            },
            Self::WarmUp { then, .. } if matches!(**then, Self::WarmUp { .. }) => {
                wrong("a warm-up cannot follow a warm-up".into())
            }
            Self::WarmUp { then, .. } => then.validate(),
        }
    }
}

/// Half a cosine wave from `base` (at 0) to `floor` (at `total` and after).
fn cosine(base: f64, floor: f64, at: u64, total: u64) -> f64 {
    let progress = if at < total { at as f64 / total as f64 } else { 1.0 };
    floor + (base - floor) * 0.5 * (1.0 + (PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() <= 1e-12 * b.abs().max(1e-3), "{a} is not {b}");
    }

    #[test]
    fn closed_forms() {
        close(Schedule::Constant.rate(0.3, 9, 9, 10, 10), 0.3);
        close(Schedule::TimeDecay { decay: 1e-2 }.rate(0.3, 0, 0, 10, 10), 0.3);
        close(Schedule::TimeDecay { decay: 1e-2 }.rate(0.3, 100, 0, 10, 10), 0.15);
        let step = Schedule::Step { every: 2, gamma: 0.1 };
        let rates: Vec<f64> = (0..5).map(|e| step.rate(1.0, 0, e, 0, 5)).collect();
        for (rate, expected) in rates.iter().zip([1.0, 1.0, 0.1, 0.1, 0.01]) {
            close(*rate, expected);
        }
        let multi = Schedule::MultiStep { milestones: vec![1, 4], gamma: 0.5 };
        let rates: Vec<f64> = (0..6).map(|e| multi.rate(1.0, 0, e, 0, 6)).collect();
        assert_eq!(rates, [1.0, 0.5, 0.5, 0.5, 0.25, 0.25]);
    }

    #[test]
    fn cosines() {
        let epochs = Schedule::CosineEpochs { floor: 0.1 };
        close(epochs.rate(1.1, 77, 0, 100, 4), 1.1);
        close(epochs.rate(1.1, 0, 2, 100, 4), 0.6);
        close(epochs.rate(1.1, 0, 4, 100, 4), 0.1);
        close(epochs.rate(1.1, 0, 400, 100, 4), 0.1);
        let updates = Schedule::CosineUpdates { floor: 0.0 };
        close(updates.rate(1.0, 25, 0, 100, 4), 0.5 + 0.5 * (PI / 4.0).cos());
        assert!((1..100).all(|u| updates.rate(1.0, u, 0, 100, 4) < updates.rate(1.0, u - 1, 0, 100, 4)));
        assert!(updates.rate(1.0, 0, 0, 0, 0).is_finite());
    }

    #[test]
    fn warm_up_is_in_front_and_without_a_jump() {
        let warm = |then| Schedule::WarmUp { updates: 10, then: Box::new(then) };
        let cosine = warm(Schedule::CosineUpdates { floor: 0.0 });
        close(cosine.rate(1.0, 0, 0, 110, 11), 0.1);
        close(cosine.rate(1.0, 9, 0, 110, 11), 1.0);
        close(cosine.rate(1.0, 10, 1, 110, 11), 1.0);
        close(cosine.rate(1.0, 60, 6, 110, 11), 0.5);
        // Epochs keep their numbers: the milestone is at epoch 3 of the run.
        let steps = warm(Schedule::MultiStep { milestones: vec![3], gamma: 0.1 });
        close(steps.rate(1.0, 29, 2, 110, 11), 1.0);
        close(steps.rate(1.0, 30, 3, 110, 11), 0.1);
        let none = Schedule::WarmUp { updates: 0, then: Box::default() };
        close(none.rate(1.0, 0, 0, 10, 1), 1.0);
        // Longer than the whole run.
        assert!(warm(Schedule::CosineUpdates { floor: 0.0 }).rate(1.0, 4, 0, 5, 1).is_finite());
    }

    #[test]
    fn settings_read_and_write() {
        let all = [
            Schedule::Constant,
            Schedule::TimeDecay { decay: 1e-4 },
            Schedule::Step { every: 3, gamma: 0.5 },
            Schedule::MultiStep { milestones: vec![2, 5], gamma: 0.1 },
            Schedule::CosineEpochs { floor: 1e-6 },
            Schedule::WarmUp { updates: 5, then: Box::new(Schedule::CosineUpdates { floor: 0.0 }) },
        ];
        for schedule in all {
            let text = serde_json::to_string(&schedule).unwrap();
            assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), schedule, "{text}");
            schedule.validate().unwrap();
        }
        assert_eq!(serde_json::from_str::<Schedule>("\"constant\"").unwrap(), Schedule::Constant);
        let floorless: Schedule = serde_json::from_str(r#"{ "cosine_updates": {} }"#).unwrap();
        assert_eq!(floorless, Schedule::CosineUpdates { floor: 0.0 });
        assert!(serde_json::from_str::<Schedule>(r#"{ "step": { "every": 1, "gama": 1.0 } }"#).is_err());
    }

    #[test]
    fn wrong_settings_are_named() {
        let wrong = [
            (Schedule::TimeDecay { decay: -1.0 }, "decay"),
            (Schedule::Step { every: 0, gamma: 0.5 }, "every"),
            (Schedule::Step { every: 1, gamma: f64::NAN }, "gamma"),
            (Schedule::MultiStep { milestones: vec![3, 3], gamma: 0.5 }, "milestones"),
            (Schedule::CosineEpochs { floor: -1e-9 }, "floor"),
            (Schedule::WarmUp { updates: 1, then: Box::new(Schedule::Step { every: 0, gamma: 1.0 }) }, "every"),
        ];
        for (schedule, name) in wrong {
            let error = schedule.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let nested = Schedule::WarmUp { updates: 1, then: Box::default() };
        assert!(Schedule::WarmUp { updates: 1, then: Box::new(nested) }.validate().is_err());
    }
}
