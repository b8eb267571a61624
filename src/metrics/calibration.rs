//! Whether probabilities mean what they say.

use super::decisions::{decide, fit};
use serde::Serialize;

/// Bins of [`calibration`] where nothing else is asked.
pub const BINS: usize = 10;

/// Bags whose probability is in one range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// The range: above `low` (the first has 0 too), up to and with `high`.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// Bags in it, at least one.
    pub bags: usize,
    /// The mean of their probabilities.
    pub said: f64,
    /// The share of them that it came true of.
    pub found: f64,
}

/// A reliability table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Ranges of equal width that have a bag.
    pub bins: Vec<Bin>,
    /// The expected calibration error: how far `said` and `found` are apart, on average over the bags (Naeini, Cooper and
    /// Hauskrecht, AAAI 2015).
    pub error: f64,
}

/// How `probabilities` `[bags, columns]` compare with what came true, in `bins` ranges of equal width: of one or two columns the
/// probability of class 1 and whether a bag is of it, of more the largest probability and whether it is that of the true class
/// (Guo, Pleiss, Sun and Weinberger, ICML 2017). `None` as of [`super::log_loss`], and without bins.
pub fn calibration(probabilities: &[f32], columns: usize, labels: &[u32], bins: usize) -> Option<Calibration> {
    if !fit(probabilities, columns, labels) || labels.is_empty() || bins == 0 {
        return None;
    }
    let (mut bags, mut said, mut found) = (vec![0usize; bins], vec![0.0; bins], vec![0usize; bins]);
    for (row, &label) in probabilities.chunks(columns).zip(labels) {
        let (p, true_of) = match *row {
            [p] | [_, p] => (p, label == 1),
            _ => {
                let class = decide(row);
                (row[class as usize], label == class)
            }
        };
        let p = f64::from(p);
        // An edge belongs to the range below it.
        let at = (1..bins).filter(|edge| p > *edge as f64 / bins as f64).count();
        bags[at] += 1;
        said[at] += p;
        found[at] += usize::from(true_of);
    }
    let one = |at: usize| {
        let count = bags[at] as f64;
        Bin {
            low: at as f64 / bins as f64,
            high: (at + 1) as f64 / bins as f64,
            bags: bags[at],
            said: said[at] / count,
            found: found[at] as f64 / count,
        }
    };
    let bins: Vec<Bin> = (0..bins).filter(|&at| bags[at] > 0).map(one).collect();
    let error =
        bins.iter().map(|bin| bin.bags as f64 * (bin.found - bin.said).abs()).sum::<f64>() / labels.len() as f64;
    Some(Calibration { bins, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let found = calibration(&[0.05, 0.1, 0.95, 1.0, 0.0], 1, &[0, 1, 1, 1, 0], 10).unwrap();
        let rows: Vec<(f64, usize, f64)> = found.bins.iter().map(|b| (b.low, b.bags, b.found)).collect();
        // As f32, 0.1 is above 0.1.
        assert_eq!(rows, [(0.0, 2, 0.0), (0.1, 1, 1.0), (0.9, 2, 1.0)]);
        let wanted = (2.0 * 0.025 + 0.9 + 2.0 * 0.025) / 5.0;
        assert!((found.error - wanted).abs() < 1e-7, "{found:?}");
        assert_eq!(calibration(&[0.2, 0.3, 0.5, 0.1, 0.8, 0.1], 3, &[2, 0], 2).unwrap().bins.len(), 2);
        assert_eq!(calibration(&[], 2, &[], 10), None);
        assert_eq!(calibration(&[0.5], 1, &[0], 0), None);
        assert_eq!(calibration(&[f32::NAN], 1, &[0], 10), None);
    }
}
