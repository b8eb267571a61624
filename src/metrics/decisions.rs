//! Measures of decided classes, and the log loss of their probabilities.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// The mean, or `None` of nothing.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(s, n), v| (s + v, n + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The class of each row of `probabilities` `[bags, columns]`.
///
/// One column is the probability of class 1, decided at 0.5 (0.5 itself is class 1). Two columns decide the
/// same way; with more, the largest wins, the first one among equals.
pub fn predictions(probabilities: &[f32], columns: usize) -> Vec<u32> {
    probabilities.chunks(columns.max(1)).map(decide).collect()
}

/// True when a bag is taken to have a label of this probability.
pub(crate) fn has_label(probability: f32) -> bool {
    probability >= 0.5
}

/// The class of one row.
pub(crate) fn decide(row: &[f32]) -> u32 {
    match *row {
        [p] => u32::from(p >= 0.5),
        [a, b] => u32::from(b >= a),
        _ => (1..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best }) as u32,
    }
}

/// True when there is a finite probability in each column for each label, and a column for each label.
pub(super) fn fit(probabilities: &[f32], columns: usize, labels: &[u32]) -> bool {
    let most = if columns == 1 { 2 } else { columns };
    Some(probabilities.len()) == columns.checked_mul(labels.len())
        && labels.iter().all(|&l| (l as usize) < most)
        && probabilities.iter().all(|p| p.is_finite())
}

/// Mean negative log-probability of the true class over the rows of `[bags, columns]`; one column is the
/// probability of class 1.
///
/// Probabilities are clipped to [`f32::EPSILON`] from 0 and 1, the resolution they come with, so that one
/// certain mistake costs about 16 and not infinity. `None` without bags or when a probability is not finite.
/// Also `None` when the lengths do not fit or a label has no column.
pub fn log_loss(probabilities: &[f32], columns: usize, labels: &[u32]) -> Option<f64> {
    if !fit(probabilities, columns, labels) {
        return None;
    }
    let edge = f64::from(f32::EPSILON);
    mean(labels.iter().enumerate().map(|(b, &label)| {
        let row = &probabilities[b * columns..(b + 1) * columns];
        let p = match (row, label) {
            (&[p], 0) => 1.0 - f64::from(p),
            (&[p], 1) => f64::from(p),
            _ => f64::from(row[label as usize]),
        };
        -p.clamp(edge, 1.0 - edge).ln()
    }))
}

/// Mean binary log loss of the last `outputs` of the columns of `[bags, columns]`, each the probability of its class
/// whatever the others are; clipped as in [`log_loss`]. `None` without bags, when a probability is not finite, and when
/// the lengths do not fit.
pub fn independent_log_loss(probabilities: &[f32], columns: usize, outputs: usize, labels: &[u32]) -> Option<f64> {
    let fits = Some(probabilities.len()) == columns.checked_mul(labels.len()) && outputs <= columns;
    if !fits || probabilities.iter().any(|p| !p.is_finite()) {
        return None;
    }
    let edge = f64::from(f32::EPSILON);
    mean(probabilities.chunks(columns.max(1)).zip(labels).flat_map(|(row, &label)| {
        (columns - outputs..columns).map(move |c| {
            let p = f64::from(row[c]);
            let right = if c as u32 == label { p } else { 1.0 - p };
            -right.clamp(edge, 1.0 - edge).ln()
        })
    }))
}

/// The Brier score: the mean over bags of the squared distance of the probabilities `[bags, columns]` from the true class, over
/// the classes; of two classes that of the second alone, which is half of it. `None` as of [`log_loss`].
pub fn brier(probabilities: &[f32], columns: usize, labels: &[u32]) -> Option<f64> {
    if !fit(probabilities, columns, labels) {
        return None;
    }
    mean(probabilities.chunks(columns.max(1)).zip(labels).map(|(row, &label)| {
        let square = |class: u32, p: f32| (f64::from(p) - f64::from(u8::from(label == class))).powi(2);
        match *row {
            [p] | [_, p] => square(1, p),
            _ => (0..).zip(row).map(|(class, p)| square(class, *p)).sum(),
        }
    }))
}

/// How disagreements count in [`Confusion::kappa`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KappaWeights {
    /// All the same.
    None,
    /// By how many classes lie between.
    Linear,
    /// By the square of that.
    Quadratic,
}

/// How often each class was taken for each other. Only pairs that occur are kept, so that many classes cost what the
/// bags hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    of_class: Vec<u64>,
    taken_for: Vec<u64>,
    /// By true and predicted class.
    counts: BTreeMap<(u32, u32), u64>,
}

impl Confusion {
    /// Counts the pairs of predicted and true class.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths differ, [`Error::Bags`] when an index is not below `classes`.
    pub fn new(predicted: &[u32], labels: &[u32], classes: usize) -> Result<Self> {
        if predicted.len() != labels.len() {
            let expected = format!("a prediction for each of {} labels", labels.len());
            let found = predicted.len().to_string();
            return Err(Error::Shape { operation: "confusion matrix", expected, found });
        }
        if let Some(class) = predicted.iter().chain(labels).find(|&&c| c as usize >= classes) {
            return Err(Error::bags(format!("class {class} of a bag is not among {classes} classes")));
        }
        let (mut of_class, mut taken_for) = (vec![0; classes], vec![0; classes]);
        let mut counts = BTreeMap::new();
        for (&p, &l) in predicted.iter().zip(labels) {
            of_class[l as usize] += 1;
            taken_for[p as usize] += 1;
            *counts.entry((l, p)).or_default() += 1;
        }
        Ok(Self { of_class, taken_for, counts })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.of_class.len()
    }

    /// Bags of class `truth` that were taken for `predicted`.
    pub fn get(&self, truth: usize, predicted: usize) -> u64 {
        self.counts.get(&(truth as u32, predicted as u32)).copied().unwrap_or(0)
    }

    /// Bags of class `class`.
    pub fn of_class(&self, class: usize) -> u64 {
        self.of_class.get(class).copied().unwrap_or(0)
    }

    /// Bags taken for class `class`.
    pub fn taken_for(&self, class: usize) -> u64 {
        self.taken_for.get(class).copied().unwrap_or(0)
    }

    /// Share of bags with the right class; `None` without bags.
    pub fn accuracy(&self) -> Option<f64> {
        let right: u64 = (0..self.classes()).map(|c| self.get(c, c)).sum();
        let all: u64 = self.of_class.iter().sum();
        (all > 0).then(|| right as f64 / all as f64)
    }

    /// Share of the bags of `class` that were found; `None` when it has none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        let of_class = self.of_class(class);
        (of_class > 0).then(|| self.get(class, class) as f64 / of_class as f64)
    }

    /// Share of the bags taken for `class` that are of it; `None` when there are none.
    pub fn precision(&self, class: usize) -> Option<f64> {
        let taken = self.taken_for(class);
        (taken > 0).then(|| self.get(class, class) as f64 / taken as f64)
    }

    /// Mean recall over the classes that occur.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        mean((0..self.classes()).filter_map(|c| self.recall(c)))
    }

    /// Harmonic mean of precision and recall; `None` when no bag has the class or was taken for it.
    pub fn f1(&self, class: usize) -> Option<f64> {
        let both = self.of_class(class) + self.taken_for(class);
        (both > 0).then(|| 2.0 * self.get(class, class) as f64 / both as f64)
    }

    /// Matthews' correlation of predicted and true class, for any number of classes (Gorodkin 2004); `None` when one class
    /// alone occurs, or was predicted.
    pub fn mcc(&self) -> Option<f64> {
        let numbers = |of: &[u64]| of.iter().map(|n| *n as f64).collect::<Vec<_>>();
        let (truth, said) = (numbers(&self.of_class), numbers(&self.taken_for));
        let all: f64 = truth.iter().sum();
        let right: f64 = (0..self.classes()).map(|c| self.get(c, c) as f64).sum();
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let spread = |of: &[f64]| all * all - product(of, of);
        let (a, b) = (spread(&truth), spread(&said));
        (a > 0.0 && b > 0.0).then(|| (right * all - product(&truth, &said)) / (a * b).sqrt())
    }

    /// Cohen's kappa: how far predicted and true class agree beyond what they would by chance. Disagreements count by how
    /// far apart classes are, where `weights` says so, for classes with an order. `None` when chance alone agrees.
    pub fn kappa(&self, weights: KappaWeights) -> Option<f64> {
        let weight = |a: u32, b: u32| {
            let apart = f64::from(a.abs_diff(b));
            match weights {
                KappaWeights::None => f64::from(u8::from(a != b)),
                KappaWeights::Linear => apart,
                KappaWeights::Quadratic => apart * apart,
            }
        };
        let all: f64 = self.of_class.iter().map(|n| *n as f64).sum();
        let found: f64 = self.counts.iter().map(|(&(l, p), n)| weight(l, p) * *n as f64).sum();
        let there = |of: &[u64]| -> Vec<(u32, f64)> {
            of.iter().enumerate().filter(|(_, n)| **n > 0).map(|(c, n)| (c as u32, *n as f64)).collect()
        };
        let (truth, said) = (there(&self.of_class), there(&self.taken_for));
        let pairs = truth.iter().flat_map(|&(l, n)| said.iter().map(move |&(p, m)| (l, p, n * m)));
        let chance: f64 = pairs.map(|(l, p, both)| weight(l, p) * both).sum::<f64>() / all;
        (chance > 0.0).then(|| 1.0 - found / chance)
    }

    /// Mean F1 over the classes that occur or were predicted.
    pub fn macro_f1(&self) -> Option<f64> {
        mean((0..self.classes()).filter_map(|c| self.f1(c)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions() {
        assert_eq!(predictions(&[0.49, 0.5, 0.51], 1), [0, 1, 1]);
        assert_eq!(predictions(&[0.6, 0.4, 0.5, 0.5], 2), [0, 1]);
        assert_eq!(predictions(&[0.2, 0.4, 0.4, 0.1, 0.2, 0.7], 3), [1, 2]);
        assert!(predictions(&[], 3).is_empty());
    }

    #[test]
    fn confusion_by_hand() {
        let c = Confusion::new(&[0, 0, 1, 1, 2, 0], &[0, 0, 0, 1, 2, 2], 4).unwrap();
        assert_eq!((c.get(0, 0), c.get(0, 1), c.get(2, 0), c.classes()), (2, 1, 1, 4));
        assert_eq!((c.of_class(0), c.taken_for(0), c.of_class(3)), (3, 3, 0));
        assert_eq!((c.recall(3), c.precision(3), c.f1(3)), (None, None, None));
        assert_eq!(c.precision(1), Some(0.5));
        assert!((c.accuracy().unwrap() - 4.0 / 6.0).abs() < 1e-12);
        assert!((c.balanced_accuracy().unwrap() - (2.0 / 3.0 + 1.0 + 0.5) / 3.0).abs() < 1e-12);
        // F1: 2*2/6, 2*1/3, 2*1/3; the class that never occurs does not count.
        assert!((c.macro_f1().unwrap() - 2.0 / 3.0).abs() < 1e-12);
        // The largest number of classes there may be: a full matrix would take 32 GiB.
        let many = Confusion::new(&[65_535, 7], &[65_535, 8], 1 << 16).unwrap();
        assert_eq!((many.get(8, 7), many.of_class(65_535), many.accuracy()), (1, 1, Some(0.5)));
        let nothing = Confusion::new(&[], &[], 2).unwrap();
        assert!(Confusion::new(&[0], &[], 2).unwrap_err().to_string().contains("a prediction for each of 0 labels"));
        assert!(Confusion::new(&[2], &[0], 2).unwrap_err().to_string().contains("class 2"));
        assert_eq!((nothing.of_class(9), nothing.taken_for(9), nothing.recall(9)), (0, 0, None));
        assert_eq!((nothing.accuracy(), nothing.balanced_accuracy(), nothing.macro_f1()), (None, None, None));
    }

    #[test]
    fn log_loss_is_clipped() {
        let worst = log_loss(&[0.0], 1, &[1]).unwrap();
        assert!((worst + f64::from(f32::EPSILON).ln()).abs() < 1e-9);
        assert!(log_loss(&[1.0, 0.0], 2, &[0]).unwrap() < 1e-6);
        assert!((log_loss(&[0.2, 0.3, 0.5], 3, &[2]).unwrap() - 2f64.ln()).abs() < 1e-9);
        assert_eq!(log_loss(&[], 2, &[]), None);
        assert_eq!(
            (log_loss(&[0.5; 3], 2, &[1]), log_loss(&[0.5; 2], 2, &[2]), log_loss(&[0.5], 1, &[2])),
            (None, None, None)
        );
        assert_eq!(log_loss(&[f32::NAN], 1, &[0]), None);
    }
}
