//! How sure an AUC is without resampling: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated
//! receiver operating characteristic curves", Biometrics 44, 1988, in the time that sorting takes, as Sun and Xu, "Fast
//! implementation of DeLong's algorithm", IEEE Signal Processing Letters 21, 2014.
//!
//! Bags are taken for independent draws of their class. Several bags of one patient are none: there the interval comes out too
//! narrow, and whole groups have to be resampled ([`super::Resamples`]).

use crate::normal::two_sided;
use serde::Serialize;

/// The point that a standard normal is above in 2.5 of 100 draws.
const TWO_SIDED_95: f64 = 1.959_963_984_540_054;

/// Of each bag the share of the other class's bags that it is on the right side of, equal scores counting one half: the
/// structural components of the AUC, which is their mean over either class.
#[derive(Clone, Debug, PartialEq)]
pub struct Placements {
    /// Of the positive bags, in their order.
    positive: Vec<f64>,
    /// Of the others, in theirs.
    negative: Vec<f64>,
}

/// How two AUCs on the same bags differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The first less the second.
    pub difference: f64,
    /// 95 % of the normal distribution around it.
    pub interval: [f64; 2],
    /// Twice the share of a normal distribution around 0 that is as far away: of no difference at all, 1.
    pub p: f64,
}

impl Placements {
    /// Of scores and which bags are positive. `None` when only one sign occurs, a score is NaN, or there is not one target for
    /// each score.
    pub fn of(scores: &[f32], positive: &[bool]) -> Option<Self> {
        if scores.len() != positive.len() || scores.iter().any(|score| score.is_nan()) {
            return None;
        }
        let count = positive.iter().filter(|p| **p).count();
        if count == 0 || count == positive.len() {
            return None;
        }
        let (positives, negatives) = (count as f64, (positive.len() - count) as f64);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let mut share = vec![0.0; scores.len()];
        // Bags of each class below the group of equal scores that is looked at: the mid-rank among all less that within the class.
        let mut below = [0.0; 2];
        for equal in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
            let of_class = |sign: bool| equal.iter().filter(|&&bag| positive[bag] == sign).count() as f64;
            let here = [of_class(false), of_class(true)];
            for &bag in equal {
                share[bag] = match positive[bag] {
                    true => (below[0] + 0.5 * here[0]) / negatives,
                    false => 1.0 - (below[1] + 0.5 * here[1]) / positives,
                };
            }
            below = [below[0] + here[0], below[1] + here[1]];
        }
        let of = |sign: bool| (0..share.len()).filter(|&bag| positive[bag] == sign).map(|bag| share[bag]).collect();
        Some(Self { positive: of(true), negative: of(false) })
    }

    /// Those of the mean of several AUCs on the same bags, such as of several seeds. `None` of nothing, and when they are not of
    /// as many bags.
    pub fn mean(all: &[Self]) -> Option<Self> {
        let first = all.first()?;
        if all.iter().any(|of| of.sizes() != first.sizes()) {
            return None;
        }
        let count = all.len() as f64;
        let over = |of: fn(&Self) -> &[f64], bag: usize| all.iter().map(|one| of(one)[bag]).sum::<f64>() / count;
        Some(Self {
            positive: (0..first.positive.len()).map(|bag| over(|one| &one.positive, bag)).collect(),
            negative: (0..first.negative.len()).map(|bag| over(|one| &one.negative, bag)).collect(),
        })
    }

    fn sizes(&self) -> [usize; 2] {
        [self.positive.len(), self.negative.len()]
    }

    /// The AUC.
    pub fn auc(&self) -> f64 {
        mean(&self.positive)
    }

    /// The variance of the AUC; `None` where a class has one bag alone.
    pub fn variance(&self) -> Option<f64> {
        let of = |values: &[f64]| Some(variance(values)? / values.len() as f64);
        Some(of(&self.positive)? + of(&self.negative)?)
    }

    /// 95 % of the normal distribution around the AUC, cut at 0 and 1. Of scores that part the classes wholly it is a point: the
    /// sample does not have the errors that others would. `None` as of [`Placements::variance`].
    pub fn interval(&self) -> Option<[f64; 2]> {
        let width = TWO_SIDED_95 * self.variance()?.sqrt();
        Some([(self.auc() - width).max(0.0), (self.auc() + width).min(1.0)])
    }

    /// The difference to another AUC of the same bags, in the same order. `None` where a class has one bag alone, and when they
    /// are not of as many bags.
    pub fn less(&self, other: &Self) -> Option<Compared> {
        if self.sizes() != other.sizes() {
            return None;
        }
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        let apart =
            Self { positive: minus(&self.positive, &other.positive), negative: minus(&self.negative, &other.negative) };
        let (difference, deviation) = (apart.auc(), apart.variance()?.sqrt());
        let width = TWO_SIDED_95 * deviation;
        let p = match (difference == 0.0, deviation > 0.0) {
            (true, _) => 1.0,
            (_, true) => two_sided(difference / deviation),
            // Every bag says the same: nothing could differ.
            (_, false) => 0.0,
        };
        Some(Compared { difference, interval: [difference - width, difference + width], p })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of a sample.
fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| squares / (values.len() - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::auc;
    use super::*;

    /// Against the definition, pair by pair, in another program (`tools/make_fixtures_delong.py`).
    #[test]
    fn intervals_and_tests_are_those_of_another_program() {
        let text = include_str!("../../tests/metrics/delong.json");
        let all: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = all["cases"].as_array().unwrap();
        assert!(cases.len() >= 8);
        for (n, case) in cases.iter().enumerate() {
            let numbers = |name: &str| case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            let positive: Vec<bool> = numbers("labels").map(|v| v == 1.0).collect();
            let scores = |name: &str| numbers(name).map(|v| v as f32).collect::<Vec<_>>();
            let [a, b] = ["a", "b"].map(|name| Placements::of(&scores(name), &positive));
            let Some(wanted) = case["found"].as_object() else {
                assert!(a.is_none() && b.is_none(), "case {n}");
                continue;
            };
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!((a.auc() - auc(&scores("a"), &positive).unwrap()).abs() < 1e-12);
            let compared = a.less(&b);
            let interval = a.interval();
            let apart = compared.map(|of| of.interval);
            let found = [
                ("auc", Some(a.auc())),
                ("variance", a.variance()),
                ("low", interval.map(|of| of[0])),
                ("high", interval.map(|of| of[1])),
                ("difference", compared.map(|of| of.difference)),
                ("difference_low", apart.map(|of| of[0])),
                ("difference_high", apart.map(|of| of[1])),
                ("p", compared.map(|of| of.p)),
            ];
            for (name, found) in found {
                let wanted = wanted[name].as_f64();
                let close = found.zip(wanted).map_or(found == wanted, |(a, b)| (a - b).abs() < 1e-10);
                assert!(close, "case {n}, {name}: {found:?}, {wanted:?}");
            }
            // The mean of both AUCs, by the same formula on the mean of the components.
            let both = Placements::mean(&[a.clone(), b.clone()]).unwrap();
            assert!((both.auc() - (a.auc() + b.auc()) / 2.0).abs() < 1e-12);
            if let Some(wanted) = wanted["mean_variance"].as_f64() {
                assert!((both.variance().unwrap() - wanted).abs() < 1e-10, "case {n}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        assert_eq!(Placements::of(&[0.1, 0.2], &[true]), None);
        assert_eq!(Placements::of(&[0.1, f32::NAN], &[true, false]), None);
        assert_eq!(Placements::mean(&[]), None);
        let two = Placements::of(&[0.1, 0.2], &[false, true]).unwrap();
        let three = Placements::of(&[0.1, 0.2, 0.3], &[false, true, true]).unwrap();
        assert_eq!((two.less(&three), Placements::mean(&[two.clone(), three]), two.variance()), (None, None, None));
    }

    /// Of many samples of independent bags nineteen of twenty intervals have the true AUC, and one test of twenty of equally good
    /// scores tells them apart.
    #[test]
    fn intervals_cover_and_tests_err_as_often_as_they_should() {
        use crate::random::Random;
        // The AUC of N(1, 1) against N(0, 1) is Phi(1 / sqrt 2).
        let truth = 0.760_249_938_906;
        let (mut covered, mut told) = (0, 0);
        let samples = 400;
        for seed in 0..samples {
            let mut random = Random::new(seed, 5);
            let positive: Vec<bool> = (0..100).map(|bag| bag % 2 == 0).collect();
            let mut score = || {
                let of = |&sign: &bool| (random.normal() + f64::from(u8::from(sign))) as f32;
                positive.iter().map(of).collect::<Vec<_>>()
            };
            let [a, b] = [score(), score()].map(|scores| Placements::of(&scores, &positive).unwrap());
            let [low, high] = a.interval().unwrap();
            covered += usize::from((low..high).contains(&truth));
            told += usize::from(a.less(&b).unwrap().p < 0.05);
        }
        assert!((365..=395).contains(&covered), "{covered} of {samples}");
        assert!((8..=34).contains(&told), "{told} of {samples}");
    }
}
