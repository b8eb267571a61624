//! How good predictions are: ranking (AUC, average precision), decisions (accuracy, F1) and log loss.
//!
//! Decisions use the threshold 0.5 for two classes and the arg-max for more. No threshold is tuned on the
//! data that is scored (no Youden index): a threshold chosen there flatters the result.
//!
//! A value that is not defined (the AUC of bags of one class, the accuracy of no bags) is `None`, never NaN.

mod bands;
mod calibration;
mod counted;
mod decisions;
mod delong;
mod froc;
#[cfg(test)]
mod held_against;
mod instances;
mod label_sets;
mod maps;
mod numbers;
mod ranking;
mod resampling;
mod survival;
mod survival_brier;

pub use bands::{roc_band, share_interval};
pub use calibration::{BINS, Bin, Calibration, calibration};
pub use counted::{Concordance, Errors};
pub use decisions::{Confusion, KappaWeights, brier, independent_log_loss, log_loss, predictions};
pub(crate) use decisions::{decide, has_label};
pub use delong::{Compared, Placements};
pub use froc::{Detection, FALSE_POSITIVES, Froc, SlideDetections, froc};
pub use instances::{InstanceAuc, instance_auc};
pub use label_sets::{LabelScores, LabelSetScores};
pub use maps::{aopc, descending, ndcg};
pub use numbers::NumberScores;

pub use ranking::{
    auc, auc_interval, average_precision, class_aucs, macro_auc, macro_average_precision, micro_auc, roc_curve,
};
pub use resampling::{Difference, Ranks, Resamples, difference, interval};
pub use survival::{Step, SurvivalScores, auc_at, c_index, c_index_uno, cox_loss, kaplan_meier, log_rank};
pub use survival_brier::{brier_at, integrated_brier};

use crate::error::{Error, Result};
use crate::responses::Responses;
use serde::{Deserialize, Serialize};

/// What a model is chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Area under the ROC curve; macro one-vs-rest for more than two classes, the mean over the labels where a bag has
    /// several.
    Auc,
    /// Share of bags with the right class, or with no wrong label.
    Accuracy,
    /// Mean over the classes of the share of its bags that were found.
    BalancedAccuracy,
    /// F1 of class 1, the positive one; macro for more than two classes, and over labels.
    F1,
    /// Mean negative log-probability of the true class, or of what is known of each label.
    LogLoss,
    /// Of numbers: the share of their variance that is told, the coefficient of determination.
    R2,
    /// Of numbers: the mean absolute error.
    Mae,
    /// Of numbers: Spearman's rank correlation.
    Spearman,
    /// Of survival: Harrell's concordance index.
    CIndex,
    /// The objective that is trained, with all terms that the method adds and the weights of the classes, but without
    /// dropout or masks. Not part of [`Scores`].
    Loss,
}

impl Metric {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [Metric; 10] = [
        Self::Auc,
        Self::Accuracy,
        Self::BalancedAccuracy,
        Self::F1,
        Self::LogLoss,
        Self::R2,
        Self::Mae,
        Self::Spearman,
        Self::CIndex,
        Self::Loss,
    ];

    /// The name in settings and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auc => "auc",
            Self::Accuracy => "accuracy",
            Self::BalancedAccuracy => "balanced_accuracy",
            Self::F1 => "f1",
            Self::LogLoss => "log_loss",
            Self::R2 => "r2",
            Self::Mae => "mae",
            Self::Spearman => "spearman",
            Self::CIndex => "c_index",
            Self::Loss => "loss",
        }
    }

    /// Checks that the metric is defined whatever is predicted of bags with these labels.
    ///
    /// # Errors
    /// [`Error::Setting`] that says what is missing: bags of a second class for the AUC, and of two classes bags of the
    /// positive one for F1.
    pub fn check_defined(self, labels: &[u32], classes: usize) -> Result<()> {
        if !self.is_of_classes() {
            let message = format!("{self} is of numbers or survival, and these bags have classes");
            return Err(Error::setting("monitor", message));
        }
        let missing = match self {
            Self::Auc if labels.iter().all(|l| *l == labels[0]) => "bags of at least two classes",
            Self::F1 if classes == 2 && !labels.contains(&1) => "a bag of the positive class (1)",
            _ if labels.is_empty() => "at least one bag",
            _ => return Ok(()),
        };
        let found = labels.iter().collect::<std::collections::BTreeSet<_>>();
        let found = match found.len() {
            0 => "no bag".to_owned(),
            1 => format!("{} of class {}", labels.len(), labels[0]),
            n => format!("{} of {n} classes", labels.len()),
        };
        let message = format!(
            "{self} is not defined on the validation bags: expected {missing}, found {found}; hold out more bags, or choose \
             another metric, such as loss"
        );
        Err(Error::setting("monitor", message))
    }

    /// True for what is defined of bags with classes.
    pub(crate) fn is_of_classes(self) -> bool {
        !matches!(self, Self::R2 | Self::Mae | Self::Spearman | Self::CIndex)
    }

    /// Checks that the metric is defined whatever is predicted of bags with these responses.
    ///
    /// # Errors
    /// [`Error::Setting`] for a metric of something else, and where the bags leave it undefined: numbers that are all the
    /// same, no event before another time.
    pub fn check_defined_of_responses(self, responses: &Responses) -> Result<()> {
        let values = responses.values();
        let known: Vec<f32> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        let refused = |message: String| Err(Error::setting("monitor", message));
        if known.is_empty() {
            return refused(format!("{self} is not defined without a validation bag whose response is known"));
        }
        match (self, responses.survival()) {
            (Self::Loss | Self::Mae, None) => Ok(()),
            (Self::R2 | Self::Spearman, None) if known.iter().any(|v| *v != known[0]) => Ok(()),
            (Self::R2 | Self::Spearman, None) => {
                refused(format!("{self} is not defined on the validation bags: their numbers are all the same"))
            }
            (Self::CIndex, Some((times, events))) if c_index(&vec![0.0; times.len()], times, events).is_some() => {
                Ok(())
            }
            (Self::CIndex, Some(_)) => refused(format!(
                "{self} is not defined on the validation bags: none has an event before the time of another; hold out more"
            )),
            (Self::Loss, Some((times, events))) if times.iter().zip(events).any(|(t, e)| *e && !t.is_nan()) => Ok(()),
            (Self::Loss, Some(_)) => refused("none of the validation bags has an event; hold out more".into()),
            (_, None) => refused(format!("{self} is not of numbers; choose loss, r2, mae or spearman")),
            (_, Some(_)) => refused(format!("{self} is not of survival; choose loss or c_index")),
        }
    }

    /// True when a larger value is the better one.
    pub fn larger_is_better(self) -> bool {
        !matches!(self, Self::LogLoss | Self::Loss | Self::Mae)
    }

    /// True when `a` is strictly better than `b`. Any value beats an undefined one (`None` or NaN), and an
    /// undefined one beats nothing.
    ///
    /// ```
    /// # use bagrad::training::metrics::Metric;
    /// assert!(Metric::Auc.better(0.9, 0.8));
    /// assert!(Metric::Loss.better(0.1, 0.2));
    /// assert!(Metric::Auc.better(0.5, None));
    /// ```
    pub fn better(self, a: impl Into<Option<f64>>, b: impl Into<Option<f64>>) -> bool {
        let defined = |v: Option<f64>| v.filter(|x| !x.is_nan());
        match (defined(a.into()), defined(b.into())) {
            (Some(a), Some(b)) if self.larger_is_better() => a > b,
            (Some(a), Some(b)) => a < b,
            (a, b) => a.is_some() && b.is_none(),
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Metric {
    type Err = Error;

    /// Reads a [`Metric::name`]; upper case and `-` for `_` are accepted.
    fn from_str(text: &str) -> Result<Self> {
        let wanted = text.trim().to_ascii_lowercase().replace('-', "_");
        Self::ALL.into_iter().find(|m| m.name() == wanted).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::setting("metric", format!("there is no {text:?}; choose one of {known}"))
        })
    }
}

/// The bag-level results of one set of predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Area under the ROC curve ([`auc`], or [`macro_auc`] for more than two classes).
    pub auc: Option<f64>,
    /// Share of bags with the right class.
    pub accuracy: Option<f64>,
    /// Mean recall over the classes that occur.
    pub balanced_accuracy: Option<f64>,
    /// F1 of class 1, the positive one; the mean over the classes for more than two.
    pub f1: Option<f64>,
    /// Mean negative log-probability of the true class; of independent sigmoids the mean of their binary log losses.
    pub log_loss: Option<f64>,
}

impl Scores {
    /// Scores `probabilities`, row-major `[bags, columns]`, against one class index for each bag. One
    /// column means the probability of class 1 of two.
    ///
    /// When a probability is not finite, nothing can be ranked or decided and every score is `None`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths do not fit, [`Error::Bags`] for a label without a column.
    ///
    /// ```
    /// # use bagrad::training::metrics::Scores;
    /// let scores = Scores::new(&[0.9, 0.1, 0.2, 0.8], 2, &[0, 1])?;
    /// assert_eq!((scores.auc, scores.accuracy), (Some(1.0), Some(1.0)));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn new(probabilities: &[f32], columns: usize, labels: &[u32]) -> Result<Self> {
        if columns == 0 || probabilities.len() != columns * labels.len() {
            return Err(Error::Shape {
                operation: "scores",
                expected: format!("a probability for each of {} bags and at least one class", labels.len()),
                found: format!("{} probabilities in {columns} columns", probabilities.len()),
            });
        }
        let classes = columns.max(2);
        if let Some(b) = labels.iter().position(|&l| l as usize >= classes) {
            let label = labels[b];
            return Err(Error::bags(format!("bag {b} has label {label}, but there are only {classes} classes")));
        }
        if probabilities.iter().any(|p| !p.is_finite()) {
            return Ok(Self::default());
        }
        let confusion = Confusion::new(&predictions(probabilities, columns), labels, classes)?;
        Ok(Self {
            auc: macro_auc(probabilities, columns, labels),
            accuracy: confusion.accuracy(),
            balanced_accuracy: confusion.balanced_accuracy(),
            f1: if classes == 2 { confusion.f1(1) } else { confusion.macro_f1() },
            log_loss: log_loss(probabilities, columns, labels),
        })
    }

    /// The value of `metric`; `None` for [`Metric::Loss`], which is not computed from probabilities.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Auc => self.auc,
            Metric::Accuracy => self.accuracy,
            Metric::BalancedAccuracy => self.balanced_accuracy,
            Metric::F1 => self.f1,
            Metric::LogLoss => self.log_loss,
            _ => None,
        }
    }
}

/// Metrics of bags, by what their labels are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum BagScores {
    /// Each bag has one class.
    Classes(Scores),
    /// Each bag has any subset of several labels.
    LabelSets(LabelSetScores),
    /// Each bag has a number.
    Numbers(NumberScores),
    /// Each bag has a time and an event.
    Survival(SurvivalScores),
}

impl BagScores {
    /// The value of `metric`, where it is defined of these bags.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match self {
            Self::Classes(scores) => scores.get(metric),
            Self::LabelSets(scores) => scores.get(metric),
            Self::Numbers(scores) => scores.get(metric),
            Self::Survival(scores) => scores.get(metric),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against scikit-learn (`tools/make_fixtures_metrics.py`).
    #[test]
    fn scores_are_those_of_another_program() {
        let text = include_str!("../tests/metrics/sklearn.json");
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = all["cases"].as_array().unwrap();
        assert!(cases.len() >= 10);
        for (n, case) in cases.iter().enumerate() {
            let columns = case["classes"].as_u64().unwrap() as usize;
            let numbers = |name: &str| case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            let labels: Vec<u32> = numbers("labels").map(|v| v as u32).collect();
            let p: Vec<f32> = numbers("probabilities").map(|v| v as f32).collect();
            let scores = Scores::new(&p, columns, &labels).unwrap();
            let confusion = Confusion::new(&predictions(&p, columns), &labels, columns).unwrap();
            let found = [
                ("auc", scores.auc),
                ("average_precision", macro_average_precision(&p, columns, &labels)),
                ("accuracy", scores.accuracy),
                ("balanced_accuracy", scores.balanced_accuracy),
                ("f1", scores.f1),
                ("mcc", confusion.mcc()),
                ("kappa", confusion.kappa(KappaWeights::None)),
                ("kappa_linear", confusion.kappa(KappaWeights::Linear)),
                ("kappa_quadratic", confusion.kappa(KappaWeights::Quadratic)),
                ("brier", brier(&p, columns, &labels)),
                ("log_loss", scores.log_loss),
                ("auc_micro", micro_auc(&p, columns, &labels)),
                ("ece", calibration(&p, columns, &labels, BINS).map(|found| found.error)),
            ];
            for (name, found) in found {
                let wanted = case["scores"][name].as_f64();
                let close = found.zip(wanted).map_or(found == wanted, |(a, b)| (a - b).abs() < 1e-9);
                assert!(close, "case {n}, {name}: {found:?}, {wanted:?}");
            }
            let close = |a: f64, b: &serde_json::Value| (a - b.as_f64().unwrap()).abs() < 1e-9;
            let wanted = case["scores"]["auc_of_classes"].as_array().unwrap();
            for (found, wanted) in class_aucs(&p, columns, &labels).into_iter().zip(wanted) {
                assert!(found.map_or(wanted.is_null(), |found| close(found, wanted)), "case {n}: {found:?}, {wanted}");
            }
            let bins = calibration(&p, columns, &labels, BINS).unwrap().bins;
            let wanted = case["scores"]["reliability"].as_array().unwrap();
            assert_eq!(bins.len(), wanted.len());
            let same =
                |(bin, wanted): (&Bin, &serde_json::Value)| close(bin.said, &wanted[0]) && close(bin.found, &wanted[1]);
            assert!(bins.iter().zip(wanted).all(same), "case {n}: {bins:?}, {wanted:?}");
        }
    }

    #[test]
    fn metric_names_round_trip() {
        for metric in Metric::ALL {
            assert_eq!(metric.to_string().parse::<Metric>().unwrap(), metric);
            assert_eq!(serde_json::to_string(&metric).unwrap(), format!("\"{metric}\""));
        }
        assert_eq!("Balanced-Accuracy".parse::<Metric>().unwrap(), Metric::BalancedAccuracy);
        let error = "auroc".parse::<Metric>().unwrap_err().to_string();
        assert!(error.contains("auroc") && error.contains("log_loss"), "{error}");
    }

    #[test]
    fn better_knows_the_direction_and_the_undefined() {
        assert!(Metric::Accuracy.better(0.8, 0.7) && !Metric::Accuracy.better(0.7, 0.8));
        assert!(Metric::LogLoss.better(0.7, 0.8) && !Metric::LogLoss.better(0.8, 0.7));
        for metric in Metric::ALL {
            assert!(!metric.better(0.5, 0.5));
            assert!(metric.better(0.5, None) && metric.better(0.5, f64::NAN));
            assert!(!metric.better(None, 0.5) && !metric.better(f64::NAN, 0.5) && !metric.better(None, None));
        }
    }

    #[test]
    fn metrics_that_the_bags_leave_undefined_are_refused() {
        let refused =
            |metric: Metric, labels: &[u32], classes| metric.check_defined(labels, classes).unwrap_err().to_string();
        let message = refused(Metric::Auc, &[1, 1], 2);
        assert!(message.contains("auc is not defined") && message.contains("found 2 of class 1"), "{message}");
        assert!(refused(Metric::Auc, &[2], 3).contains("at least two classes"));
        assert!(refused(Metric::F1, &[0, 0], 2).contains("positive class"));
        for metric in Metric::ALL.into_iter().filter(|metric| metric.is_of_classes()) {
            metric.check_defined(&[0, 1], 2).unwrap();
            assert!(refused(metric, &[], 2).contains("found no bag"));
        }
        // The mean F1 is over the classes there are; accuracy needs one bag.
        Metric::F1.check_defined(&[0, 0], 3).unwrap();
        Metric::BalancedAccuracy.check_defined(&[0], 2).unwrap();
        Metric::Loss.check_defined(&[1], 2).unwrap();
    }

    #[test]
    fn scores_by_hand() {
        // Positives 0.9 0.4, negatives 0.4 0.1 0.6: pairs won 3 + 1 + 0.5, of 6.
        let p = [0.9, 0.4, 0.4, 0.1, 0.6];
        let s = Scores::new(&p, 1, &[1, 1, 0, 0, 0]).unwrap();
        assert_eq!(s.auc, Some(4.5 / 6.0));
        assert_eq!(s.accuracy, Some(0.6));
        assert!((s.balanced_accuracy.unwrap() - (0.5 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(s.f1, Some(0.5));
        let loss = -(0.9f64.ln() + 0.4f64.ln() + 0.6f64.ln() + 0.9f64.ln() + 0.4f64.ln()) / 5.0;
        assert!((s.log_loss.unwrap() - loss).abs() < 1e-7);

        let two: Vec<f32> = p.iter().flat_map(|&p| [1.0 - p, p]).collect();
        let t = Scores::new(&two, 2, &[1, 1, 0, 0, 0]).unwrap();
        assert_eq!((t.auc, t.accuracy, t.f1), (s.auc, s.accuracy, s.f1));
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(Scores::new(&[], 2, &[]).unwrap(), Scores::default());
        let one_class = Scores::new(&[0.2, 0.3], 1, &[0, 0]).unwrap();
        assert_eq!((one_class.auc, one_class.f1, one_class.accuracy), (None, None, Some(1.0)));
        assert_eq!(Scores::new(&[f32::NAN, 0.3], 1, &[0, 1]).unwrap(), Scores::default());
        let json = serde_json::to_string(&one_class).unwrap();
        assert!(json.contains("\"auc\":null"), "{json}");
    }

    #[test]
    fn wrong_shapes_are_errors() {
        assert!(matches!(Scores::new(&[0.1; 3], 2, &[0, 1]), Err(Error::Shape { .. })));
        assert!(matches!(Scores::new(&[], 0, &[]), Err(Error::Shape { .. })));
        assert!(matches!(Scores::new(&[0.1; 2], 1, &[0, 2]), Err(Error::Bags { .. })));
    }
}
