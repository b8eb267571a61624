//! Measures of bags that carry several labels each: of every label by itself, their means, and of the sets as a whole.

use super::decisions::{has_label, mean};
use super::{Metric, auc, average_precision};
use crate::error::{Error, Result};
use crate::label_sets::LabelSets;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// How well one label was told, over the bags of which it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelScores {
    /// What the label is called.
    #[serde(skip)]
    pub name: String,
    /// Bags of which it is known whether they have it.
    pub bags: usize,
    /// Share of these that have it.
    pub prevalence: Option<f64>,
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
    /// F1 at a probability of 0.5; `None` when no bag has the label or is predicted to have it.
    pub f1: Option<f64>,
}

/// The results of one set of predictions for bags that have any subset of several labels. What is not known of a bag
/// counts nowhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSetScores {
    /// Mean of the labels' areas under the ROC curve, over the labels that have one.
    pub auc: Option<f64>,
    /// Mean of the labels' average precisions, over the labels that have one.
    pub average_precision: Option<f64>,
    /// Mean of the labels' F1 at a probability of 0.5, over the labels that have one.
    pub f1: Option<f64>,
    /// Share of bags of which every known label is told right, at a probability of 0.5.
    pub subset_accuracy: Option<f64>,
    /// Share of known labels of bags that are told wrong, at a probability of 0.5.
    pub hamming_loss: Option<f64>,
    /// Mean binary log loss of the known labels of bags, clipped as in [`log_loss`](super::log_loss).
    pub log_loss: Option<f64>,
    /// Each label by itself, in their order; by name where this is written.
    #[serde(serialize_with = "by_name", skip_deserializing)]
    pub labels: Vec<LabelScores>,
}

fn by_name<S: Serializer>(labels: &[LabelScores], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|label| (&label.name, label)))
}

impl LabelSetScores {
    /// As they were written, with the labels in the order of `names`.
    pub(crate) fn named(written: &Value, names: &[String]) -> std::result::Result<Self, String> {
        let mut scores: Self = serde_json::from_value(written.clone()).map_err(|e| e.to_string())?;
        let label = |name: &String| {
            let of = written.get("labels").and_then(|labels| labels.get(name));
            let of = of.ok_or_else(|| format!("no scores of label {name:?}"))?;
            let scores: LabelScores = serde_json::from_value(of.clone()).map_err(|e| e.to_string())?;
            Ok::<_, String>(LabelScores { name: name.clone(), ..scores })
        };
        scores.labels = names.iter().map(label).collect::<std::result::Result<_, _>>()?;
        Ok(scores)
    }

    /// Scores `probabilities`, row-major `[bags, labels]`, against what is known of the same bags; `names` are those of
    /// the labels. When a probability is not finite, nothing but the prevalence is defined.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths do not fit.
    ///
    /// ```
    /// # use bagrad::{LabelSets, training::metrics::LabelSetScores};
    /// let sets = LabelSets::new(2, vec![Some(true), Some(false), Some(false), None])?;
    /// let scores = LabelSetScores::new(&[0.9, 0.6, 0.2, 0.1], &sets, &["a".into(), "b".into()])?;
    /// assert_eq!((scores.auc, scores.subset_accuracy), (Some(1.0), Some(0.5)));
    /// assert_eq!((scores.labels[1].auc, scores.labels[1].f1), (None, Some(0.0)));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn new(probabilities: &[f32], sets: &LabelSets, names: &[String]) -> Result<Self> {
        let count = sets.labels();
        if names.len() != count || probabilities.len() != sets.len() * count {
            return Err(Error::Shape {
                operation: "scores of labels",
                expected: format!(
                    "a name for each of {count} labels and a probability of each for {} bags",
                    sets.len()
                ),
                found: format!("{} names and {} probabilities", names.len(), probabilities.len()),
            });
        }
        let finite = probabilities.iter().all(|p| p.is_finite());
        let labels: Vec<LabelScores> = (0..count)
            .map(|label| {
                let of = probabilities.iter().skip(label).step_by(count).zip(sets.column(label));
                let (scores, has): (Vec<f32>, Vec<bool>) = of.filter_map(|(&p, has)| Some((p, has?))).unzip();
                let (name, bags) = (names[label].clone(), has.len());
                let prevalence = mean(has.iter().map(|&has| f64::from(u8::from(has))));
                match finite {
                    false => LabelScores { name, bags, prevalence, ..Default::default() },
                    true => LabelScores {
                        name,
                        bags,
                        prevalence,
                        auc: auc(&scores, &has),
                        average_precision: average_precision(&scores, &has),
                        f1: f1(&scores, &has),
                    },
                }
            })
            .collect();
        if !finite {
            return Ok(Self { labels, ..Self::default() });
        }
        let mean_of = |of: fn(&LabelScores) -> Option<f64>| mean(labels.iter().filter_map(of));
        let known = || probabilities.iter().zip(sets.bags().flatten()).filter_map(|(&p, has)| Some((p, (*has)?)));
        let wrong = |(p, has): (f32, bool)| has_label(p) != has;
        let rows = probabilities.chunks_exact(count).zip(sets.bags());
        let right = rows.filter(|(_, of)| of.iter().any(Option::is_some)).map(|(row, of)| {
            let known = row.iter().zip(of).filter_map(|(&p, has)| Some((p, (*has)?)));
            f64::from(u8::from(!known.into_iter().any(wrong)))
        });
        let edge = f64::from(f32::EPSILON);
        Ok(Self {
            auc: mean_of(|label| label.auc),
            average_precision: mean_of(|label| label.average_precision),
            f1: mean_of(|label| label.f1),
            subset_accuracy: mean(right),
            hamming_loss: mean(known().map(|of| f64::from(u8::from(wrong(of))))),
            log_loss: mean(known().map(|(p, has)| {
                let right = if has { f64::from(p) } else { 1.0 - f64::from(p) };
                -right.clamp(edge, 1.0 - edge).ln()
            })),
            labels,
        })
    }

    /// The value of `metric`: the mean over the labels of AUC and F1, the subset accuracy for [`Metric::Accuracy`]; `None`
    /// for what is not computed of label sets.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Auc => self.auc,
            Metric::Accuracy => self.subset_accuracy,
            Metric::F1 => self.f1,
            Metric::LogLoss => self.log_loss,
            _ => None,
        }
    }
}

fn f1(scores: &[f32], has: &[bool]) -> Option<f64> {
    let pairs = || scores.iter().map(|&p| has_label(p)).zip(has);
    let hits = pairs().filter(|&(told, &has)| told && has).count();
    let all: usize = pairs().map(|(told, &has)| usize::from(told) + usize::from(has)).sum();
    (all > 0).then(|| 2.0 * hits as f64 / all as f64)
}

impl Metric {
    /// As [`Metric::check_defined`], of bags with several labels each.
    ///
    /// # Errors
    /// [`Error::Setting`] that says what is missing: for the AUC a label that some bags have and others have not, for F1
    /// a bag with a label; and for what is not computed of such bags.
    pub fn check_defined_of_sets(self, sets: &LabelSets) -> Result<()> {
        if self == Metric::BalancedAccuracy || !self.is_of_classes() {
            let message = format!(
                "{self} is of other bags than these, which have any number of labels; choose loss, auc, f1, \
                 accuracy (of whole sets) or log_loss"
            );
            return Err(Error::setting("monitor", message));
        }
        let occurs = |label: usize, wanted: bool| sets.column(label).any(|has| has == Some(wanted));
        let mut labels = 0..sets.labels();
        let missing = match self {
            Metric::Auc if !labels.any(|l| occurs(l, true) && occurs(l, false)) => {
                "a label that some of them have and others have not"
            }
            Metric::F1 if !labels.any(|l| occurs(l, true)) => "a bag that has a label",
            _ if !(0..sets.len()).any(|bag| sets.is_known(bag)) => "at least one bag whose labels are known",
            _ => return Ok(()),
        };
        let message = format!(
            "{self} is not defined on the {} validation bags: expected {missing}; hold out more bags, or choose another \
             metric, such as loss",
            sets.len()
        );
        Err(Error::setting("monitor", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|label| format!("label {label}")).collect()
    }

    /// Three labels of four bags; of the last label one bag is not known, and none has it.
    fn sets() -> LabelSets {
        LabelSets::new(3, [[YES, NO, NO], [NO, YES, NO], [YES, YES, None], [NO, NO, NO]].concat()).unwrap()
    }

    #[test]
    fn by_hand() {
        let p = [0.8, 0.6, 0.1, 0.3, 0.5, 0.2, 0.2, 0.7, 0.9, 0.1, 0.4, 0.6];
        let s = LabelSetScores::new(&p, &sets(), &names(3)).unwrap();
        // Label 0: 0.8 and 0.2 against 0.3 and 0.1. Label 1: 0.5 and 0.7 against 0.6 and 0.4.
        let of = |label: usize| &s.labels[label];
        assert_eq!([0, 1].map(|l| of(l).auc), [Some(0.75); 2]);
        assert_eq!([0, 1].map(|l| of(l).prevalence), [Some(0.5); 2]);
        assert_eq!((of(0).f1, of(1).f1), (Some(2.0 / 3.0), Some(0.8)));
        assert!((of(0).average_precision.unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        // Nothing can be ranked where no bag has the label.
        let wanted =
            LabelScores { name: "label 2".into(), bags: 3, prevalence: Some(0.0), f1: Some(0.0), ..Default::default() };
        assert_eq!(*of(2), wanted);
        assert_eq!(s.auc, Some(0.75));
        assert!((s.f1.unwrap() - (2.0 / 3.0 + 0.8) / 3.0).abs() < 1e-12);
        // Wrong are label 1 of bag 0, label 0 of bag 2 and label 2 of bag 3, of 11 that are known.
        assert_eq!((s.hamming_loss, s.subset_accuracy), (Some(3.0 / 11.0), Some(0.25)));
        let right = [0.8, 0.4, 0.9, 0.7, 0.5, 0.8, 0.2, 0.7, 0.9, 0.6, 0.4].map(|p: f64| -p.ln());
        assert!((s.log_loss.unwrap() - right.iter().sum::<f64>() / 11.0).abs() < 1e-7);
        let json = serde_json::to_value(&s).unwrap();
        assert_eq!((&json["auc"], &json["labels"]["label 1"]["f1"]), (&0.75.into(), &0.8.into()));
    }

    #[test]
    fn undefined_is_none() {
        let unknown = LabelSets::new(2, vec![None; 4]).unwrap();
        let s = LabelSetScores::new(&[0.5; 4], &unknown, &names(2)).unwrap();
        assert_eq!(Metric::ALL.map(|metric| s.get(metric)), [None; Metric::ALL.len()]);
        assert_eq!((s.hamming_loss, s.labels[0].prevalence), (None, None));
        let nan = LabelSetScores::new(&[f32::NAN; 12], &sets(), &names(3)).unwrap();
        assert_eq!((nan.log_loss, nan.labels[0].auc, nan.labels[0].prevalence), (None, None, Some(0.5)));
        assert!(LabelSetScores::new(&[0.5; 3], &sets(), &names(3)).is_err());
        assert!(LabelSetScores::new(&[0.5; 12], &sets(), &names(2)).is_err());
    }

    #[test]
    fn what_decides_has_to_be_defined() {
        let refused = |metric: Metric, sets: &LabelSets| metric.check_defined_of_sets(sets).unwrap_err().to_string();
        let constant = LabelSets::new(2, vec![NO, NO, NO, None]).unwrap();
        assert!(refused(Metric::Auc, &constant).contains("some of them have"));
        assert!(refused(Metric::F1, &constant).contains("a bag that has a label"));
        assert!(refused(Metric::BalancedAccuracy, &sets()).contains("of other bags"));
        assert!(refused(Metric::Loss, &LabelSets::new(2, vec![None; 2]).unwrap()).contains("are known"));
        for metric in [Metric::Auc, Metric::F1, Metric::Accuracy, Metric::LogLoss, Metric::Loss] {
            metric.check_defined_of_sets(&sets()).unwrap();
        }
    }
}
