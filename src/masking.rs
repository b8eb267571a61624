//! Which instances of a bag a student is trained on, by the scores of its teacher: masked hard instance mining
//! (Tang, Huang, Zhang, Zhou, Zhang, Liu 2023, arXiv 2307.15254).
//!
//! Of n instances are masked: ceil(random n) at random; the ceil(low n) with the smallest scores; and of the
//! ceil(high n / high_ratio) with the largest scores a random part high_ratio. What is masked twice is not made up
//! for. The student sees the others in their order.

use crate::ops::update::half_cosine;
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// Which of the three masks are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// None.
    None,
    /// The random one alone.
    Random,
    /// The high one alone: hard instances are found by masking the easy ones.
    Ham,
    /// Low and high.
    LHam,
    /// Random and high.
    #[default]
    RHam,
    /// All three.
    LrHam,
}

impl Strategy {
    fn random(self) -> bool {
        matches!(self, Self::Random | Self::RHam | Self::LrHam)
    }
    fn low(self) -> bool {
        matches!(self, Self::LHam | Self::LrHam)
    }
    fn high(self) -> bool {
        matches!(self, Self::Ham | Self::LHam | Self::RHam | Self::LrHam)
    }
}

/// Settings of the masks, of the consistency with the teacher, and of how the teacher follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Masks {
    /// Which masks.
    pub strategy: Strategy,
    /// Part of the instances masked for their large scores, at the start; it falls to 0 along half a cosine over
    /// the updates of the training.
    pub high: f64,
    /// Part of the instances with the largest scores that is masked; `high / high_ratio` of all are among them.
    pub high_ratio: f64,
    /// Part of the instances masked at random.
    pub random: f64,
    /// Part of the instances masked for their small scores.
    pub low: f64,
    /// Weight of the consistency loss.
    pub consistency: f64,
    /// Temperature of the teacher's features in it.
    pub temperature: f64,
    /// Momentum of the teacher.
    pub momentum: f64,
    /// The momentum rises to 1 along half a cosine over the updates of the training.
    pub momentum_rises: bool,
}

impl Default for Masks {
    /// The paper's for attention pooling on Camelyon16.
    fn default() -> Self {
        Self {
            strategy: Strategy::RHam,
            high: 0.01,
            high_ratio: 0.5,
            random: 0.5,
            low: 0.8,
            consistency: 0.1,
            temperature: 0.1,
            momentum: 0.9999,
            momentum_rises: false,
        }
    }
}

/// Settings, for people.
pub const HELP: &[(&str, &str)] = &[
    ("strategy", "instances the student does not see: none, random, ham, l-ham, r-ham or lr-ham"),
    ("high", "part masked for large scores of the teacher, at the start; falls to 0 along half a cosine"),
    ("high_ratio", "random part of the instances with the largest scores that is masked for them"),
    ("random", "part masked at random (random, r-ham, lr-ham)"),
    ("low", "part masked for small scores of the teacher (l-ham, lr-ham)"),
    ("consistency", "weight of the consistency of the student's features with the teacher's"),
    ("temperature", "temperature of the teacher's features in it"),
    ("momentum", "momentum of the teacher, which follows the student after every update"),
    ("momentum_rises", "the momentum rises to 1 along half a cosine over the training"),
];

/// A teacher's scores for a bag, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// `columns` for each instance.
    pub values: &'a [f64],
    /// Columns.
    pub columns: usize,
    /// The columns are heads that vote; else the largest of an instance counts.
    pub vote: bool,
}

/// ceil(share n), without what rounding adds to the product.
pub(crate) fn part(share: f64, n: usize) -> usize {
    ((share * n as f64 * (1.0 - 1e-12)).ceil() as usize).min(n)
}

impl Masks {
    /// True when something is masked by scores.
    pub fn needs_scores(&self) -> bool {
        self.strategy.low() || self.strategy.high()
    }

    /// The share `high` before update `update` (from 0) of `total`; where it is not known how many there will be,
    /// as at the start.
    pub fn high_at(&self, update: u64, total: Option<u64>) -> f64 {
        self.high * total.map_or(1.0, |total| half_cosine(update, total))
    }

    /// Refuses numbers out of range.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] that names the number.
    pub fn validate(&self) -> crate::Result<()> {
        let refuse =
            |name, range: &str, found| Err(crate::Error::setting(name, format!("must be {range}, found {found}")));
        let parts = [("high", self.high), ("random", self.random), ("low", self.low), ("momentum", self.momentum)];
        for (name, value) in parts {
            if !(0.0..=1.0).contains(&value) {
                return refuse(name, "at least 0 and at most 1", value);
            }
        }
        if !(self.high_ratio > 0.0 && self.high_ratio <= 1.0) {
            return refuse("high_ratio", "above 0 and at most 1", self.high_ratio);
        }
        if !(self.consistency >= 0.0 && self.consistency.is_finite()) {
            return refuse("consistency", "at least 0", self.consistency);
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refuse("temperature", "above 0", self.temperature);
        }
        Ok(())
    }

    /// The instances of a bag of `n` that the student sees, in order; `high` is the share of now. A bag of which
    /// nothing would be left keeps its instance of the largest score, or without scores a random one.
    ///
    /// # Panics
    /// When `scores` is `None` and the strategy goes by scores ([`Self::needs_scores`]).
    pub fn kept(&self, n: usize, scores: Option<Scores>, high: f64, random: &mut Random) -> Vec<usize> {
        let mut masked = vec![false; n];
        let mut mask = |rows: &[usize]| rows.iter().for_each(|&row| masked[row] = true);
        let of_scores = || scores.expect("a strategy that looks at scores");
        if self.strategy.random() {
            mask(&random.sample(n, part(self.random, n)));
        }
        if self.strategy.low() {
            mask(&of_scores().top(part(self.low, n), false));
        }
        if self.strategy.high() {
            let largest = of_scores().top(part(high / self.high_ratio, n), true);
            let picked = random.sample(largest.len(), part(self.high_ratio, largest.len()));
            mask(&picked.into_iter().map(|at| largest[at]).collect::<Vec<_>>());
        }
        let kept: Vec<usize> = (0..n).filter(|&row| !masked[row]).collect();
        match kept.is_empty() {
            false => kept,
            true if n == 0 => kept,
            true if self.needs_scores() => of_scores().top(1, true),
            true => random.sample(n, 1),
        }
    }
}

impl Scores<'_> {
    /// The `k` instances with the largest or the smallest scores, in ascending order; of equal ones the first.
    /// Heads mark `k` instances each; those with the most marks are taken, of equally many those whose mean over
    /// the heads is larger (or smaller).
    pub fn top(&self, k: usize, largest: bool) -> Vec<usize> {
        let rows = || self.values.chunks_exact(self.columns);
        if !self.vote || self.columns == 1 {
            let of = |row: &[f64]| row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
            return first(&rows().map(of).collect::<Vec<_>>(), k, largest);
        }
        let mut votes = vec![0u32; rows().len()];
        for head in 0..self.columns {
            let of_head: Vec<f64> = rows().map(|row| row[head]).collect();
            first(&of_head, k, largest).into_iter().for_each(|row| votes[row] += 1);
        }
        let sums: Vec<f64> = rows().map(|row| row.iter().sum()).collect();
        take(votes.len(), k, |a, b| votes[*b].cmp(&votes[*a]).then(by(&sums, largest, a, b)))
    }
}

fn by(scores: &[f64], largest: bool, a: &usize, b: &usize) -> std::cmp::Ordering {
    let ascending = scores[*a].total_cmp(&scores[*b]);
    (if largest { ascending.reverse() } else { ascending }).then(a.cmp(b))
}

fn first(scores: &[f64], k: usize, largest: bool) -> Vec<usize> {
    take(scores.len(), k, |a, b| by(scores, largest, a, b))
}

/// The first `k` of the numbers below `n` in this order, themselves ascending.
fn take(n: usize, k: usize, order: impl Fn(&usize, &usize) -> std::cmp::Ordering) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..n).collect();
    if k == 0 {
        return Vec::new();
    }
    if k < n {
        rows.select_nth_unstable_by(k - 1, order);
        rows.truncate(k);
    }
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(values: &[f64]) -> Scores<'_> {
        Scores { values, columns: 1, vote: false }
    }

    fn descending(n: usize) -> Vec<f64> {
        (0..n).map(|i| -(i as f64)).collect()
    }

    /// Kept instances of a bag whose scores fall from row to row.
    fn kept(masks: &Masks, n: usize, seed: u64) -> Vec<usize> {
        masks.kept(n, Some(one(&descending(n))), masks.high, &mut Random::new(seed, 0))
    }

    #[test]
    fn sizes_are_rounded_up_and_overlaps_are_not_made_up_for() {
        // The paper's settings for attention pooling on Camelyon16: 500 at random, 10 of the 20 largest.
        for seed in 0..20 {
            let kept = kept(&Masks::default(), 1000, seed);
            assert!((490..=500).contains(&kept.len()), "{}", kept.len());
            assert!(kept.windows(2).all(|w| w[0] < w[1]));
        }
        let ham = Masks { strategy: Strategy::Ham, ..Masks::default() };
        let rows = kept(&ham, 1000, 1);
        assert_eq!((rows.len(), rows.iter().filter(|&&r| r < 20).count()), (990, 10));
        // All of a share of 0.01 of 7 are 1; half of the ceil(0.14) largest, too, is 1.
        assert_eq!(kept(&ham, 7, 1), [1, 2, 3, 4, 5, 6]);
        let low = Masks { strategy: Strategy::LHam, high: 0.03, ..Masks::default() };
        let rows = kept(&low, 1000, 1);
        assert_eq!((rows.len(), rows[rows.len() - 1]), (170, 199));
        // On TCGA: 700 at random, the 200 smallest, the 20 largest; three in ten of the other 780 stay.
        let all =
            Masks { strategy: Strategy::LrHam, high: 0.02, high_ratio: 1.0, random: 0.7, low: 0.2, ..Masks::default() };
        let sizes: Vec<usize> = (0..50).map(|seed| kept(&all, 1000, seed).len()).collect();
        let mean = sizes.iter().sum::<usize>() as f64 / 50.0;
        // A hypergeometric draw: 300 of 1000, with deviation 6.
        assert!((mean - 234.0).abs() < 4.0 && sizes.iter().all(|n| (205..265).contains(n)), "{mean}");
        let random = Masks { strategy: Strategy::Random, ..Masks::default() };
        assert_eq!(random.kept(1001, None, 0.0, &mut Random::new(1, 0)).len(), 500);
        assert_eq!(kept(&Masks { strategy: Strategy::None, ..all }, 5, 1), [0, 1, 2, 3, 4]);
        // Without rounding of the product, 0.07 * 100 = 7.000000000000001 would be 8.
        assert_eq!((part(0.07, 100), part(0.8, 1000), part(1e-9, 3), part(0.0, 3)), (7, 800, 1, 0));
    }

    #[test]
    fn something_is_always_left() {
        for strategy in [Strategy::Random, Strategy::Ham, Strategy::LHam, Strategy::RHam, Strategy::LrHam] {
            for n in 1..5 {
                let masks = Masks { strategy, high: 1.0, high_ratio: 1.0, random: 1.0, low: 1.0, ..Masks::default() };
                let scores = descending(n);
                let kept = masks.kept(n, Some(one(&scores)), masks.high, &mut Random::new(1, 0));
                assert_eq!(kept.len(), 1);
                assert!(strategy == Strategy::Random || kept == [0], "the largest score");
            }
        }
    }

    #[test]
    fn heads_vote() {
        // Each head marks two: 0 and 1, 1 and 2, 1 and 3.
        let values = [9.0, 0.0, 0.0, 8.0, 8.0, 9.0, 1.0, 9.0, 1.0, 2.0, 2.0, 3.0];
        let scores = Scores { values: &values, columns: 3, vote: true };
        assert_eq!(scores.top(1, true), [1]);
        // 0, 2 and 3 have one vote each; the mean of instance 2 is the largest.
        assert_eq!(scores.top(2, true), [1, 2]);
        // The smallest two: 2 and 3, 0 and 3, 0 and 2; equal votes, means 3, 11/3 and 7/3.
        assert_eq!(scores.top(2, false), [0, 3]);
        assert_eq!(scores.top(4, false), [0, 1, 2, 3]);
        let classes = Scores { vote: false, ..scores };
        assert_eq!((classes.top(3, true), classes.top(1, false)), (vec![0, 1, 2], vec![3]));
        assert_eq!(one(&[1.0, 1.0, 0.0, 1.0]).top(2, true), [0, 1], "of equal scores the first");
    }

    #[test]
    fn schedules_follow_half_a_cosine() {
        let masks = Masks { high: 0.02, ..Masks::default() };
        let high = |update| masks.high_at(update, Some(100));
        assert_eq!((high(0), high(50), high(100), high(1000)), (0.02, 0.01, 0.0, 0.0));
        assert_eq!(masks.high_at(77, None), 0.02);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let refused = |masks: Masks| masks.validate().unwrap_err().to_string();
        let fine = Masks::default();
        fine.validate().unwrap();
        assert!(refused(Masks { high: 1.5, ..fine }).starts_with("setting high: must be"));
        assert!(refused(Masks { random: -0.1, ..fine }).starts_with("setting random"));
        assert!(refused(Masks { low: f64::NAN, ..fine }).starts_with("setting low"));
        assert!(refused(Masks { high_ratio: 0.0, ..fine }).starts_with("setting high_ratio"));
        assert!(refused(Masks { temperature: 0.0, ..fine }).starts_with("setting temperature"));
        assert!(refused(Masks { consistency: -1.0, ..fine }).starts_with("setting consistency"));
        assert!(refused(Masks { momentum: 2.0, ..fine }).starts_with("setting momentum"));
    }
}
