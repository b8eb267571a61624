//! Measures of predicted numbers.

use super::Metric;
use super::decisions::mean;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How well numbers were predicted, over the bags of which they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NumberScores {
    /// Bags of which the number is known.
    pub bags: usize,
    /// Coefficient of determination: 1 - (sum of squared errors) / (sum of squared distances from the mean). Below 0 where
    /// the mean of these bags would have been better; `None` where all numbers are the same.
    pub r2: Option<f64>,
    /// Mean absolute error, in the unit of the data.
    pub mae: Option<f64>,
    /// Root of the mean squared error, in the unit of the data.
    pub rmse: Option<f64>,
    /// Pearson's correlation; `None` where either side is constant.
    pub pearson: Option<f64>,
    /// Spearman's rank correlation, ties at their mean rank; `None` where either side is constant.
    pub spearman: Option<f64>,
}

impl NumberScores {
    /// Scores predictions against numbers, NaN where these are not known. When a prediction is not finite, every score
    /// is `None`.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one for each.
    ///
    /// ```
    /// # use bagrad::metrics::NumberScores;
    /// let scores = NumberScores::new(&[1.0, 2.0, 4.0, 0.0], &[1.0, 2.0, 3.0, f32::NAN])?;
    /// assert_eq!((scores.bags, scores.r2, scores.spearman), (3, Some(0.5), Some(1.0)));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn new(predicted: &[f32], truth: &[f32]) -> Result<Self> {
        if predicted.len() != truth.len() {
            return Err(Error::Shape {
                operation: "scores of numbers",
                expected: format!("a prediction for each of {} bags", truth.len()),
                found: predicted.len().to_string(),
            });
        }
        let known = || predicted.iter().zip(truth).filter(|(_, y)| !y.is_nan());
        let bags = known().count();
        if known().any(|(p, _)| !p.is_finite()) {
            return Ok(Self { bags, ..Self::default() });
        }
        let (p, y): (Vec<f64>, Vec<f64>) = known().map(|(&p, &y)| (f64::from(p), f64::from(y))).unzip();
        let errors = || p.iter().zip(&y).map(|(p, y)| p - y);
        let around = mean(y.iter().copied()).unwrap_or_default();
        let spread: f64 = y.iter().map(|y| (y - around).powi(2)).sum();
        let squares: f64 = errors().map(|e| e * e).sum();
        Ok(Self {
            bags,
            r2: Self::determined(squares, spread),
            mae: mean(errors().map(f64::abs)),
            rmse: mean(errors().map(|e| e * e)).map(f64::sqrt),
            pearson: pearson(&p, &y),
            spearman: pearson(&ranks(&p), &ranks(&y)),
        })
    }

    /// R2 of the sum of squared errors and that of squared distances from the mean.
    pub(super) fn determined(squares: f64, spread: f64) -> Option<f64> {
        (spread > 0.0).then(|| 1.0 - squares / spread)
    }

    /// The value of `metric`, where it is one of numbers.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::R2 => self.r2,
            Metric::Mae => self.mae,
            Metric::Spearman => self.spearman,
            _ => None,
        }
    }
}

fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let [around_a, around_b] = [mean(a.iter().copied())?, mean(b.iter().copied())?];
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - around_a, b - around_b);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    // Rounding may leave it beyond 1.
    (aa > 0.0 && bb > 0.0).then(|| (ab / (aa * bb).sqrt()).clamp(-1.0, 1.0))
}

/// The rank of each value from 1, equal ones at the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let rank = first as f64 + (tied.len() + 1) as f64 / 2.0;
        tied.iter().for_each(|&at| ranks[at] = rank);
        first += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_constant_has_no_correlation() {
        let scores = NumberScores::new(&[1.0, 2.0], &[3.0, 3.0]).unwrap();
        assert_eq!((scores.r2, scores.pearson, scores.spearman, scores.mae), (None, None, None, Some(1.5)));
        let scores = NumberScores::new(&[2.0, 2.0], &[1.0, 3.0]).unwrap();
        assert_eq!((scores.r2, scores.pearson, scores.rmse), (Some(0.0), None, Some(1.0)));
        assert_eq!(NumberScores::new(&[f32::NAN], &[1.0]).unwrap(), NumberScores { bags: 1, ..Default::default() });
        assert_eq!(NumberScores::new(&[], &[]).unwrap(), NumberScores::default());
        assert!(NumberScores::new(&[1.0], &[]).is_err());
    }
}
