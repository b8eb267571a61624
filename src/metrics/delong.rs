//! How sure an AUC is without resampling: DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated
//! receiver operating characteristic curves", Biometrics 44, 1988, in the time that sorting takes, as Sun and Xu, "Fast
//! implementation of DeLong's algorithm", IEEE Signal Processing Letters 21, 2014.
//!
//! DeLong's formula takes bags for independent draws of their class. Several bags of one patient are none, and the interval comes out
//! too narrow. Where bags are of groups the variance is that of Obuchowski, "Nonparametric analysis of clustered ROC curve data",
//! Biometrics 53, 1997, which sums the components within each group first. With one bag a group both are the same.

use crate::normal::{TWO_SIDED_95, two_sided};
use serde::Serialize;

/// Of each bag the share of the other class's bags that it is on the right side of, equal scores counting one half: the
/// structural components of the AUC, which is their mean over either class.
#[derive(Clone, Debug, PartialEq)]
pub struct Placements {
    /// Of the positive bags, in their order.
    positive: Vec<f64>,
    /// Of the others, in theirs.
    negative: Vec<f64>,
    /// The number of the group of each, in the same order; bags that are independent have one each.
    groups: [Vec<usize>; 2],
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
    /// Of scores and which bags are positive, bags being independent. `None` when only one sign occurs, a score is NaN, or there
    /// is not one target for each score.
    pub fn of(scores: &[f32], positive: &[bool]) -> Option<Self> {
        Self::numbered(scores, positive, &(0..scores.len()).collect::<Vec<_>>())
    }

    /// The same of bags that come in groups, the slides of patients: those of one group may be alike, and a group may have bags of
    /// both classes. `None` also when there is not one group for each score.
    pub fn of_groups(scores: &[f32], positive: &[bool], groups: &[String]) -> Option<Self> {
        let mut names: Vec<&String> = groups.iter().collect();
        names.sort_unstable();
        names.dedup();
        let number = |group: &String| names.binary_search(&group).expect("it is one of them");
        Self::numbered(scores, positive, &groups.iter().map(number).collect::<Vec<_>>())
    }

    fn numbered(scores: &[f32], positive: &[bool], groups: &[usize]) -> Option<Self> {
        let fits = [positive.len(), groups.len()].iter().all(|&len| len == scores.len());
        if !fits || scores.iter().any(|score| score.is_nan()) {
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
        let of = |sign: bool| (0..share.len()).filter(move |&bag| positive[bag] == sign);
        let shares = |sign: bool| of(sign).map(|bag| share[bag]).collect();
        let groups = [true, false].map(|sign| of(sign).map(|bag| groups[bag]).collect());
        Some(Self { positive: shares(true), negative: shares(false), groups })
    }

    /// Those of the mean of several AUCs on the same bags, such as of several seeds. `None` of nothing, and when their bags are not
    /// as many or grouped otherwise.
    pub fn mean(all: &[Self]) -> Option<Self> {
        let first = all.first()?;
        if all.iter().any(|of| of.groups != first.groups) {
            return None;
        }
        let count = all.len() as f64;
        let over = |of: fn(&Self) -> &[f64], bag: usize| all.iter().map(|one| of(one)[bag]).sum::<f64>() / count;
        Some(Self {
            positive: (0..first.positive.len()).map(|bag| over(|one| &one.positive, bag)).collect(),
            negative: (0..first.negative.len()).map(|bag| over(|one| &one.negative, bag)).collect(),
            groups: first.groups.clone(),
        })
    }

    /// The AUC.
    pub fn auc(&self) -> f64 {
        mean(&self.positive)
    }

    /// The variance of the AUC; `None` where a class has bags of one group alone (one bag alone, where bags are independent).
    pub fn variance(&self) -> Option<f64> {
        let [positive, negative] = &self.groups;
        let groups = positive.iter().chain(negative).max()? + 1;
        let (of_positive, of_negative) =
            (within(&self.positive, positive, groups), within(&self.negative, negative, groups));
        // Of the m bags of a class, which are of so many groups: Obuchowski's S10 / m and S01 / n.
        let of_class = |sums: &[Option<f64>], bags: usize| {
            let count = sums.iter().flatten().count() as f64;
            let squares: f64 = sums.iter().flatten().map(|sum| sum * sum).sum();
            let bags = bags as f64;
            (count > 1.0).then(|| squares / (count - 1.0) * (count / bags) / bags)
        };
        let apart = of_class(&of_positive, self.positive.len())? + of_class(&of_negative, self.negative.len())?;
        // 2 S11 / (m n), of groups with bags of both classes.
        let count = (0..groups).filter(|&at| of_positive[at].or(of_negative[at]).is_some()).count() as f64;
        let products: f64 = of_positive.iter().zip(&of_negative).filter_map(|(a, b)| Some((*a)? * (*b)?)).sum();
        let bags = self.positive.len() as f64 * self.negative.len() as f64;
        // The sum is never negative but by rounding.
        Some((apart + 2.0 * products * (count / (count - 1.0)) / bags).max(0.0))
    }

    /// 95 % of the normal distribution around the AUC, cut at 0 and 1. Of scores that part the classes wholly it is a point: the
    /// sample does not have the errors that others would. `None` as of [`Placements::variance`].
    pub fn interval(&self) -> Option<[f64; 2]> {
        let width = TWO_SIDED_95 * self.variance()?.sqrt();
        Some([(self.auc() - width).max(0.0), (self.auc() + width).min(1.0)])
    }

    /// The difference to another AUC of the same bags, in the same order. `None` as of [`Placements::variance`], and when their bags
    /// are not as many or grouped otherwise.
    pub fn less(&self, other: &Self) -> Option<Compared> {
        if self.groups != other.groups {
            return None;
        }
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect();
        // The variance is a quadratic form of the components: of their differences it has the covariance of both AUCs.
        let apart = Self {
            positive: minus(&self.positive, &other.positive),
            negative: minus(&self.negative, &other.negative),
            groups: self.groups.clone(),
        };
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

/// Of each group the sum of what the components of its bags differ from the mean; `None` where it has no such bag.
fn within(values: &[f64], of: &[usize], groups: usize) -> Vec<Option<f64>> {
    let mean = mean(values);
    let mut sums = vec![None; groups];
    for (value, &group) in values.iter().zip(of) {
        *sums[group].get_or_insert(0.0) += value - mean;
    }
    sums
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
        let mut clustered = 0;
        for (n, case) in cases.iter().enumerate() {
            let numbers = |name: &str| case[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap());
            let positive: Vec<bool> = numbers("labels").map(|v| v == 1.0).collect();
            let scores = |name: &str| numbers(name).map(|v| v as f32).collect::<Vec<_>>();
            let groups =
                case["groups"].is_array().then(|| numbers("groups").map(|v| v.to_string()).collect::<Vec<_>>());
            clustered += usize::from(groups.is_some());
            let [a, b] = ["a", "b"].map(|name| match &groups {
                Some(groups) => Placements::of_groups(&scores(name), &positive, groups),
                None => Placements::of(&scores(name), &positive),
            });
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
        assert!(clustered >= 8 && clustered + 8 <= cases.len());
    }

    /// The names of groups and their order are nothing, and of one bag each they change no bit.
    #[test]
    fn groups_of_one_bag_are_none() {
        let scores = [0.1, 0.9, 0.4, 0.4, 0.7, 0.2, 0.8, 0.3];
        let positive = [false, true, false, true, true, false, false, true];
        let named = |names: [&str; 8]| Placements::of_groups(&scores, &positive, &names.map(str::to_owned)).unwrap();
        let alone = Placements::of(&scores, &positive).unwrap();
        for names in [["a", "b", "c", "d", "e", "f", "g", "h"], ["h", "g", "a", "b", "f", "c", "e", "d"]] {
            let found = named(names);
            assert!((found.variance().unwrap() - alone.variance().unwrap()).abs() < 1e-16);
            assert_eq!(found.auc(), alone.auc());
        }
        let pairs = named(["a", "a", "b", "b", "c", "c", "d", "d"]);
        assert_eq!(pairs.variance(), named(["z", "z", "y", "y", "b", "b", "a", "a"]).variance());
        assert!((pairs.variance().unwrap() - alone.variance().unwrap()).abs() > 1e-4);
        // Bags that are grouped otherwise are not compared, and of one patient nothing is known of others.
        assert_eq!((alone.less(&pairs), Placements::mean(&[alone.clone(), pairs])), (None, None));
        assert_eq!(named(["a"; 8]).variance(), None);
        assert_eq!(
            named(["a", "b", "c", "b", "b", "d", "e", "b"]).variance(),
            None,
            "all positive ones of one patient"
        );
        assert_eq!(Placements::of_groups(&scores, &positive, &["a".to_owned()]), None);
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
    /// The same of patients with four slides each that are much alike: DeLong's formula takes them for more than they are.
    #[test]
    fn intervals_over_groups_cover_where_those_over_bags_do_not() {
        use crate::random::Random;
        // A patient's own part and that of a slide, both of N(0, 1 / 2): the AUC is that of N(1, 1) against N(0, 1).
        let truth = 0.760_249_938_906;
        let (mut covered, mut by_bags, mut told) = (0, 0, 0);
        let samples = 400;
        for seed in 0..samples {
            let mut random = Random::new(seed, 6);
            let groups: Vec<String> = (0..240).map(|bag| (bag / 4).to_string()).collect();
            // Every third patient has slides of both classes.
            let sign = |bag: usize| [true, false, bag.is_multiple_of(2)][bag / 4 % 3];
            let positive: Vec<bool> = (0..240).map(sign).collect();
            let mut score = || {
                let of_patient: Vec<f64> = (0..60).map(|_| random.normal()).collect();
                let of = |(bag, &sign): (usize, &bool)| {
                    let noise = (of_patient[bag / 4] + random.normal()) * 0.5f64.sqrt();
                    (noise + f64::from(u8::from(sign))) as f32
                };
                positive.iter().enumerate().map(of).collect::<Vec<_>>()
            };
            let [first, second] = [score(), score()];
            let [a, b] = [&first, &second].map(|of| Placements::of_groups(of, &positive, &groups).unwrap());
            let has = |of: &Placements| {
                let [low, high] = of.interval().unwrap();
                usize::from((low..high).contains(&truth))
            };
            covered += has(&a);
            by_bags += has(&Placements::of(&first, &positive).unwrap());
            told += usize::from(a.less(&b).unwrap().p < 0.05);
        }
        assert!((365..=395).contains(&covered), "{covered} of {samples}");
        assert!(by_bags < 345, "{by_bags} of {samples}");
        assert!((8..=34).contains(&told), "{told} of {samples}");
    }
}
