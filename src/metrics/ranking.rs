//! Measures of the order of scores. They share one sweep: scores sorted once, equal scores in one group.

use crate::quantile::quantile;
use rayon::prelude::*;

/// How many negatives and positives have each distinct score, from the smallest score up.
struct Ranked {
    groups: Vec<Counts>,
    negatives: u64,
    positives: u64,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    negative: u64,
    positive: u64,
}

impl Ranked {
    /// `None` when a score is NaN, which has no place in an order, or when there is not one target for each score.
    fn new(scores: &[f32], positive: &[bool]) -> Option<Self> {
        if scores.len() != positive.len() || scores.iter().any(|s| s.is_nan()) {
            return None;
        }
        let mut pairs: Vec<(f32, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // `==` and not the bits: zero and minus zero are one score.
        let groups = pairs
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| {
                let positive = group.iter().filter(|p| p.1).count() as u64;
                Counts { negative: group.len() as u64 - positive, positive }
            })
            .collect::<Vec<_>>();
        let positives = groups.iter().map(|g| g.positive).sum();
        Some(Self { groups, negatives: scores.len() as u64 - positives, positives })
    }

    fn both_signs(&self) -> bool {
        self.negatives > 0 && self.positives > 0
    }
}

/// Mann-Whitney: the share of (positive, negative) pairs in the right order, a tie counts one half. Counted
/// in integers (twice the pairs), so the only rounding is the division.
fn pairs_won(groups: &[Counts], negatives: u64, positives: u64) -> f64 {
    let (mut below, mut twice) = (0u64, 0u128);
    for g in groups {
        twice += u128::from(g.positive) * u128::from(2 * below + g.negative);
        below += g.negative;
    }
    twice as f64 / (2.0 * negatives as f64 * positives as f64)
}

/// Area under the ROC curve, exact with ties (Mann-Whitney with mid-ranks), in O(n log n).
///
/// `None` when only one sign occurs or a score is NaN.
///
/// Also `None` when there is not one target for each score.
pub fn auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let ranked = Ranked::new(scores, positive).filter(Ranked::both_signs)?;
    Some(pairs_won(&ranked.groups, ranked.negatives, ranked.positives))
}

/// The AUC of `probabilities` `[bags, columns]`: of class 1 for one or two columns, else the plain mean of
/// the one-vs-rest AUC over the classes. A class that no bag or every bag has is left out of the mean.
///
/// `None` when the lengths do not fit.
pub fn macro_auc(probabilities: &[f32], columns: usize, labels: &[u32]) -> Option<f64> {
    of_classes(probabilities, columns, labels, auc)
}

/// The AUC of each class of `probabilities` `[bags, columns]` against the rest, of at least two columns; `None` for a class that no
/// bag or every bag has. Nothing when the lengths do not fit.
pub fn class_aucs(probabilities: &[f32], columns: usize, labels: &[u32]) -> Vec<Option<f64>> {
    match Some(probabilities.len()) == columns.checked_mul(labels.len()) {
        true => (0..columns).map(|class| of_class(probabilities, columns, labels, (class, class), auc)).collect(),
        false => Vec::new(),
    }
}

/// The AUC of all pairs of a bag and a class together, by whether the bag is of it: of one or two columns that of class 1. `None`
/// when the lengths do not fit.
pub fn micro_auc(probabilities: &[f32], columns: usize, labels: &[u32]) -> Option<f64> {
    if columns < 3 {
        return macro_auc(probabilities, columns, labels);
    }
    let targets: Vec<bool> =
        labels.iter().flat_map(|&label| (0..columns).map(move |class| label as usize == class)).collect();
    auc(probabilities, &targets)
}

/// A measure of one column against whether bags are of a class.
fn of_class(
    probabilities: &[f32],
    columns: usize,
    labels: &[u32],
    (column, class): (usize, usize),
    measure: fn(&[f32], &[bool]) -> Option<f64>,
) -> Option<f64> {
    let scores: Vec<f32> = probabilities.iter().skip(column).step_by(columns.max(1)).copied().collect();
    let positive: Vec<bool> = labels.iter().map(|&l| l as usize == class).collect();
    measure(&scores, &positive)
}

/// A measure of class 1, or the mean of those of more than two classes where they are defined.
fn of_classes(
    probabilities: &[f32],
    columns: usize,
    labels: &[u32],
    measure: fn(&[f32], &[bool]) -> Option<f64>,
) -> Option<f64> {
    if Some(probabilities.len()) != columns.checked_mul(labels.len()) {
        return None;
    }
    let of = |column: usize, class: usize| of_class(probabilities, columns, labels, (column, class), measure);
    match columns {
        0 => None,
        1 => of(0, 1),
        2 => of(1, 1),
        _ => super::decisions::mean((0..columns).filter_map(|c| of(c, c))),
    }
}

/// Average precision: the precision at each distinct score, weighted by the recall it adds (no interpolation).
///
/// `None` without a positive or when a score is NaN.
///
/// Also `None` when there is not one target for each score.
pub fn average_precision(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let ranked = Ranked::new(scores, positive).filter(|r| r.positives > 0)?;
    let (mut hits, mut taken, mut sum) = (0u64, 0u64, 0.0);
    for g in ranked.groups.iter().rev() {
        hits += g.positive;
        taken += g.positive + g.negative;
        sum += g.positive as f64 * hits as f64 / taken as f64;
    }
    Some(sum / ranked.positives as f64)
}

/// The average precision of `probabilities` `[bags, columns]`: of class 1 for one or two columns, else the mean over the classes
/// that bags have, each against the rest. `None` when the lengths do not fit.
pub fn macro_average_precision(probabilities: &[f32], columns: usize, labels: &[u32]) -> Option<f64> {
    of_classes(probabilities, columns, labels, average_precision)
}

/// The corners of the ROC curve as (false positive rate, true positive rate), from (0, 0) to (1, 1), one for
/// each distinct score. The trapezoids under it add up to [`auc`].
///
/// `None` when only one sign occurs or a score is NaN.
///
/// Also `None` when there is not one target for each score.
pub fn roc_curve(scores: &[f32], positive: &[bool]) -> Option<Vec<(f64, f64)>> {
    let ranked = Ranked::new(scores, positive).filter(Ranked::both_signs)?;
    let (mut wrong, mut right) = (0u64, 0u64);
    let mut curve = vec![(0.0, 0.0)];
    for g in ranked.groups.iter().rev() {
        wrong += g.negative;
        right += g.positive;
        curve.push((wrong as f64 / ranked.negatives as f64, right as f64 / ranked.positives as f64));
    }
    Some(curve)
}

/// A 95 % confidence interval of the AUC: percentiles over `resamples` bootstrap draws (2000 is plenty).
///
/// Positives and negatives are redrawn apart, so no draw lacks a sign however few there are. The same
/// `seed` gives the same interval on any number of threads. Scores that separate the signs perfectly give
/// (1, 1): the bootstrap cannot see errors that the sample does not have.
///
/// `None` where [`auc`] is, or without resamples.
///
/// Also `None` when there is not one target for each score.
pub fn auc_interval(scores: &[f32], positive: &[bool], resamples: usize, seed: u64) -> Option<(f64, f64)> {
    let ranked = Ranked::new(scores, positive).filter(|r| r.both_signs() && resamples > 0)?;
    // The group of each negative and of each positive: a draw only picks groups, nothing is sorted again.
    let spread = |count: fn(&Counts) -> u64| -> Vec<usize> {
        let each = ranked.groups.iter().enumerate();
        each.flat_map(|(i, g)| std::iter::repeat_n(i, count(g) as usize)).collect()
    };
    let (negatives, positives) = (spread(|g| g.negative), spread(|g| g.positive));
    let blank = || vec![Counts::default(); ranked.groups.len()];
    let mut draws: Vec<f64> = (0..resamples as u64)
        .into_par_iter()
        .map_init(blank, |groups, draw| {
            groups.fill(Counts::default());
            let mut random = SplitMix::new(seed, draw);
            for _ in 0..negatives.len() {
                groups[negatives[random.below(negatives.len())]].negative += 1;
            }
            for _ in 0..positives.len() {
                groups[positives[random.below(positives.len())]].positive += 1;
            }
            pairs_won(groups, ranked.negatives, ranked.positives)
        })
        .collect();
    draws.sort_unstable_by(f64::total_cmp);
    Some((quantile(&draws, 0.025), quantile(&draws, 0.975)))
}

/// SplitMix64: each draw has its own stream, so the result does not depend on how threads share the draws.
struct SplitMix(u64);

impl SplitMix {
    fn new(seed: u64, stream: u64) -> Self {
        // Streams start at mixed states; neighbouring starts would walk through the same numbers.
        let mut start = Self(seed);
        let mixed = start.next();
        Self(Self(mixed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03)).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Even over 0 .. `bound` up to 2^-64 `bound`, far below what a bootstrap resolves.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores on a coarse grid, so that ties are common.
    fn sample(seed: u64, n: usize, levels: usize) -> (Vec<f32>, Vec<bool>) {
        let mut random = SplitMix::new(seed, 0);
        let positive: Vec<bool> = (0..n).map(|_| random.below(3) == 0).collect();
        let scores = positive.iter().map(|&p| (random.below(levels) + 2 * usize::from(p)) as f32 / 7.0).collect();
        (scores, positive)
    }

    fn brute_auc(scores: &[f32], positive: &[bool]) -> Option<f64> {
        let (mut won, mut pairs) = (0.0, 0.0);
        for i in 0..scores.len() {
            for j in 0..scores.len() {
                if positive[i] && !positive[j] {
                    pairs += 1.0;
                    won += if scores[i] > scores[j] { 1.0 } else { 0.0 };
                    won += if scores[i] == scores[j] { 0.5 } else { 0.0 };
                }
            }
        }
        (pairs > 0.0).then(|| won / pairs)
    }

    fn brute_precision(scores: &[f32], positive: &[bool]) -> Option<f64> {
        // Each positive contributes the precision of "everything that scores at least as high".
        let hits: Vec<usize> = (0..scores.len()).filter(|&i| positive[i]).collect();
        let precision = |&i: &usize| {
            let above: Vec<usize> = (0..scores.len()).filter(|&j| scores[j] >= scores[i]).collect();
            above.iter().filter(|&&j| positive[j]).count() as f64 / above.len() as f64
        };
        (!hits.is_empty()).then(|| hits.iter().map(precision).sum::<f64>() / hits.len() as f64)
    }

    #[test]
    fn by_hand() {
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), Some(0.75));
        let ap = average_precision(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]).unwrap();
        assert!((ap - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(auc(&[0.3; 5], &[true, false, true, false, false]), Some(0.5));
        assert_eq!(auc(&[0.0, -0.0], &[true, false]), Some(0.5));
        assert_eq!(auc(&[f32::INFINITY, f32::NEG_INFINITY], &[true, false]), Some(1.0));
        let curve = roc_curve(&[0.9, 0.5, 0.5, 0.1], &[true, true, false, false]).unwrap();
        assert_eq!(curve, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
    }

    #[test]
    fn agrees_with_the_definitions_on_ties() {
        for seed in 0..60 {
            let n = 1 + seed as usize * 2;
            let (scores, positive) = sample(seed, n, 1 + seed as usize % 9);
            let same = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-12,
                (a, b) => a == b,
            };
            assert!(same(auc(&scores, &positive), brute_auc(&scores, &positive)), "auc, seed {seed}");
            let ap = average_precision(&scores, &positive);
            assert!(same(ap, brute_precision(&scores, &positive)), "average precision, seed {seed}");
            let area = roc_curve(&scores, &positive)
                .map(|c| c.windows(2).map(|w| (w[1].0 - w[0].0) * (w[1].1 + w[0].1) / 2.0).sum());
            assert!(same(area, auc(&scores, &positive)), "roc, seed {seed}");
        }
    }

    #[test]
    fn undefined() {
        assert_eq!(
            (auc(&[0.5], &[]), roc_curve(&[], &[true]), auc_interval(&[0.5; 2], &[true], 9, 1)),
            (None, None, None)
        );
        assert_eq!((average_precision(&[0.5; 2], &[true]), macro_auc(&[0.5; 3], 2, &[1])), (None, None));
        assert_eq!(auc(&[], &[]), None);
        assert_eq!(auc(&[0.1, 0.2], &[true, true]), None);
        assert_eq!(auc(&[0.1, f32::NAN], &[true, false]), None);
        assert_eq!(average_precision(&[0.1], &[false]), None);
        assert_eq!(average_precision(&[0.1], &[true]), Some(1.0));
        assert_eq!(roc_curve(&[0.1], &[true]), None);
        assert_eq!(auc_interval(&[0.1, 0.2], &[false, false], 100, 1), None);
        assert_eq!(auc_interval(&[0.1, 0.2], &[false, true], 0, 1), None);
        assert_eq!(macro_auc(&[], 3, &[]), None);
    }

    #[test]
    fn macro_leaves_out_classes_without_both_signs() {
        // Class 2 of three never occurs; classes 0 and 1 have AUC 1 and 0.5.
        let p = [0.6, 0.2, 0.2, 0.5, 0.2, 0.3, 0.1, 0.2, 0.7];
        assert_eq!(macro_auc(&p, 3, &[0, 0, 1]), Some(0.75));
    }

    #[test]
    fn interval_is_seeded_and_covers() {
        let (scores, positive) = sample(5, 300, 9);
        let value = auc(&scores, &positive).unwrap();
        let (low, high) = auc_interval(&scores, &positive, 2000, 7).unwrap();
        assert!(low < value && value < high && low > 0.0 && high < 1.0, "{low} {value} {high}");
        assert_eq!(auc_interval(&scores, &positive, 2000, 7), Some((low, high)));
        assert_ne!(auc_interval(&scores, &positive, 2000, 8), Some((low, high)));
        // Hanley and McNeil's standard error, as an independent check of the width.
        let p = positive.iter().filter(|&&p| p).count() as f64;
        let n = positive.len() as f64 - p;
        let (q1, q2) = (value / (2.0 - value), 2.0 * value * value / (1.0 + value));
        let square = value * value;
        let variance = (value * (1.0 - value) + (p - 1.0) * (q1 - square) + (n - 1.0) * (q2 - square)) / (p * n);
        let expected = 2.0 * 1.96 * variance.sqrt();
        assert!(((high - low) / expected - 1.0).abs() < 0.25, "{} against {expected}", high - low);
        assert_eq!(auc_interval(&[0.1, 0.2], &[false, true], 10, 0), Some((1.0, 1.0)));
    }
}
