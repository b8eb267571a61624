//! How sure a measure is of what it measures: resampling of what was drawn together.
//!
//! Slides of a patient are no independent observations, so whole groups are drawn, with replacement (the cluster bootstrap,
//! Davison and Hinkley 1997, section 3.8). Two methods are compared on the same draws.

use super::decisions::mean;
use crate::label_sets::LabelSets;
use crate::random::Random;

/// How often each bag is in each of some samples of the groups of bags.
pub struct Resamples {
    counts: Vec<Vec<u32>>,
}

impl Resamples {
    /// `count` samples of as many groups as there are; `groups` is the group of each bag.
    pub fn of(groups: &[String], count: usize, seed: u64) -> Self {
        let mut names: Vec<&String> = groups.iter().collect();
        names.sort_unstable();
        names.dedup();
        let number = |group: &String| names.binary_search(&group).expect("it is one of them");
        let of: Vec<usize> = groups.iter().map(number).collect();
        let sample = |stream: u64| {
            let mut random = Random::new(seed, stream);
            let mut drawn = vec![0; names.len()];
            (0..names.len()).for_each(|_| drawn[random.below(names.len())] += 1);
            of.iter().map(|&group| drawn[group]).collect()
        };
        Self { counts: (0..count as u64).map(sample).collect() }
    }

    /// How often each bag is in each sample.
    pub(super) fn counts(&self) -> &[Vec<u32>] {
        &self.counts
    }

    /// A measure on each of the samples; where it is not defined (bags of one class) there is none.
    pub fn measure(&self, measure: impl Fn(&[u32]) -> Option<f64>) -> Vec<Option<f64>> {
        self.counts.iter().map(|counts| measure(counts)).collect()
    }
}

/// Percentiles that 95 % of the values are between; `None` when fewer than nine of ten are defined.
pub fn interval(values: &[Option<f64>]) -> Option<[f64; 2]> {
    let mut known: Vec<f64> = values.iter().copied().flatten().collect();
    if known.is_empty() || known.len() * 10 < values.len() * 9 {
        return None;
    }
    known.sort_unstable_by(f64::total_cmp);
    Some([0.025, 0.975].map(|q| crate::quantile::quantile(&known, q)))
}

/// How two measures on the same samples differ.
pub struct Difference {
    /// Percentiles that 95 % of the differences are between.
    pub interval: [f64; 2],
    /// Twice the smaller share of differences that are not above, or not below, 0: how likely a difference as large is where
    /// there is none. Never below 2 / (samples + 1).
    pub p: f64,
}

/// The difference of two measures, sample by sample; `None` as of [`interval`].
pub fn difference(a: &[Option<f64>], b: &[Option<f64>]) -> Option<Difference> {
    let of: Vec<Option<f64>> = a.iter().zip(b).map(|(a, b)| Some((*a)? - (*b)?)).collect();
    let interval = interval(&of)?;
    let known: Vec<f64> = of.into_iter().flatten().collect();
    let share =
        |holds: fn(&f64) -> bool| (known.iter().filter(|d| holds(d)).count() + 1) as f64 / (known.len() + 1) as f64;
    let p = (2.0 * share(|d| *d <= 0.0).min(share(|d| *d >= 0.0))).min(1.0);
    Some(Difference { interval, p })
}

/// Scores in their order, for the AUC of bags that count more or less than once.
pub struct Ranks {
    /// Of each class that has an AUC: bags from the smallest score up, each with whether it is of the class and whether its
    /// score is that of the bag before.
    classes: Vec<Vec<(usize, bool, bool)>>,
}

impl Ranks {
    /// Of `probabilities` `[bags, classes]` against labels: of two classes the second is the positive one, of more each in
    /// turn, as of [`super::macro_auc`]. `None` when lengths do not fit or a probability is no number.
    pub fn new(probabilities: &[f32], classes: usize, labels: &[u32]) -> Option<Self> {
        let bags: Vec<usize> = (0..labels.len()).collect();
        Self::of_some(probabilities, classes, labels, &bags)
    }

    /// As [`Ranks::new`] of some bags: the number of each, by which [`Ranks::auc`] counts it.
    pub fn of_some(probabilities: &[f32], classes: usize, labels: &[u32], bags: &[usize]) -> Option<Self> {
        let fits = probabilities.len() == classes * labels.len() && bags.len() == labels.len();
        if classes < 2 || !fits || probabilities.iter().any(|p| p.is_nan()) {
            return None;
        }
        let of_class = |class: usize| {
            let score = |bag: usize| probabilities[bag * classes + class];
            let all = labels.iter().enumerate().map(|(bag, &label)| (bag, label as usize == class)).collect();
            in_order(all, score, bags)
        };
        Some(Self { classes: if classes == 2 { vec![of_class(1)] } else { (0..classes).map(of_class).collect() } })
    }

    /// Of `probabilities` `[bags, labels]` of bags that have any subset of some labels: each label in turn, over the bags of which
    /// it is known, as of [`super::LabelSetScores`]. `bags` are the numbers of the bags of `sets`, by which [`Ranks::auc`]
    /// counts them. `None` when lengths do not fit or a probability is no number.
    pub fn of_sets(probabilities: &[f32], sets: &LabelSets, bags: &[usize]) -> Option<Self> {
        let labels = sets.labels();
        let fits = probabilities.len() == labels * sets.len() && bags.len() == sets.len();
        if !fits || probabilities.iter().any(|p| p.is_nan()) {
            return None;
        }
        let of_label = |label: usize| {
            let has: Vec<Option<bool>> = sets.column(label).collect();
            let score = |bag: usize| probabilities[bag * labels + label];
            let known = (0..sets.len()).filter_map(|bag| Some((bag, has[bag]?))).collect();
            in_order(known, score, bags)
        };
        Some(Self { classes: (0..labels).map(of_label).collect() })
    }

    /// The AUC where bag b counts `counts[b]` times; of several classes the mean over those that it is defined for.
    pub fn auc(&self, counts: &[u32]) -> Option<f64> {
        let one = |order: &Vec<(usize, bool, bool)>| {
            let (mut below, mut won) = (0.0, 0.0);
            let (mut negative, mut positive) = (0.0, 0.0);
            let mut all = [0.0; 2];
            for &(bag, is_positive, tied) in order {
                if !tied {
                    won += positive * (below + 0.5 * negative);
                    below += negative;
                    (negative, positive) = (0.0, 0.0);
                }
                let count = f64::from(counts[bag]);
                *if is_positive { &mut positive } else { &mut negative } += count;
                all[usize::from(is_positive)] += count;
            }
            won += positive * (below + 0.5 * negative);
            (all[0] > 0.0 && all[1] > 0.0).then(|| won / (all[0] * all[1]))
        };
        mean(self.classes.iter().filter_map(one))
    }
}

/// Bags from the smallest score up, each with its number, whether it is positive, and whether its score is that of the bag
/// before.
fn in_order(mut of: Vec<(usize, bool)>, score: impl Fn(usize) -> f32, bags: &[usize]) -> Vec<(usize, bool, bool)> {
    of.sort_by(|a, b| score(a.0).total_cmp(&score(b.0)));
    let tied = |at: usize| at > 0 && score(of[at].0) == score(of[at - 1].0);
    of.iter().enumerate().map(|(at, &(bag, positive))| (bags[bag], positive, tied(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{auc, macro_auc};
    use super::*;

    fn scores(count: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<u32>) {
        let mut random = Random::new(seed, 0);
        let labels: Vec<u32> = (0..count).map(|_| random.below(classes) as u32).collect();
        // Few values, so that many are tied.
        let of = |_| (random.below(12) as f32) / 12.0;
        let mut probabilities: Vec<f32> = (0..count * classes).map(of).collect();
        if classes == 2 {
            probabilities.chunks_exact_mut(2).for_each(|p| p[0] = 1.0 - p[1]);
        }
        (probabilities, labels)
    }

    #[test]
    fn weighted_ranks_are_those_of_repeated_bags() {
        for (classes, seed) in [(2, 1), (2, 2), (3, 3), (4, 4)] {
            let (probabilities, labels) = scores(40, classes, seed);
            let ranks = Ranks::new(&probabilities, classes, &labels).unwrap();
            let once = ranks.auc(&[1; 40]).unwrap();
            assert!((once - macro_auc(&probabilities, classes, &labels).unwrap()).abs() < 1e-12);
            let counts: Vec<u32> = (0..40).map(|bag| bag % 3).collect();
            let repeated: Vec<usize> = (0..40).flat_map(|bag| std::iter::repeat_n(bag, counts[bag] as usize)).collect();
            let again: Vec<f32> =
                repeated.iter().flat_map(|&b| &probabilities[b * classes..(b + 1) * classes]).copied().collect();
            let wanted = macro_auc(&again, classes, &repeated.iter().map(|&b| labels[b]).collect::<Vec<_>>()).unwrap();
            assert!((ranks.auc(&counts).unwrap() - wanted).abs() < 1e-12);
        }
        // Some of the bags, by their numbers among all.
        let some = Ranks::of_some(&[0.9, 0.1, 0.2, 0.8], 2, &[0, 1], &[3, 1]).unwrap();
        assert_eq!((some.auc(&[0, 1, 0, 1]), some.auc(&[9, 1, 9, 0])), (Some(1.0), None));
        let one = Ranks::new(&[0.2, 0.8, 0.7, 0.3], 2, &[1, 1]).unwrap();
        assert_eq!(one.auc(&[1, 1]), None);
        assert!(Ranks::new(&[0.2, f32::NAN], 2, &[1]).is_none());
    }

    #[test]
    fn labels_count_where_they_are_known() {
        let mut random = Random::new(5, 2);
        let known: Vec<Option<bool>> = (0..60).map(|_| [None, Some(true), Some(false)][random.below(3)]).collect();
        let p: Vec<f32> = (0..60).map(|_| random.below(9) as f32 / 9.0).collect();
        let sets = LabelSets::new(3, known).unwrap();
        let names = ["a", "b", "c"].map(str::to_owned);
        let wanted = super::super::LabelSetScores::new(&p, &sets, &names).unwrap().auc.unwrap();
        let bags: Vec<usize> = (0..20).map(|bag| 2 * bag).collect();
        let found = Ranks::of_sets(&p, &sets, &bags).unwrap().auc(&[1; 40]).unwrap();
        assert!((found - wanted).abs() < 1e-12);
        assert!(Ranks::of_sets(&p[1..], &sets, &bags).is_none());
    }

    #[test]
    fn groups_are_drawn_whole() {
        let groups: Vec<String> = (0..30).map(|bag| format!("patient {}", bag / 3)).collect();
        let resamples = Resamples::of(&groups, 50, 7);
        for counts in &resamples.counts {
            assert!(counts.chunks_exact(3).all(|of| of[0] == of[1] && of[1] == of[2]));
            assert_eq!(counts.iter().sum::<u32>(), 30);
        }
        assert_ne!(resamples.counts[0], resamples.counts[1]);
        assert_eq!(resamples.counts, Resamples::of(&groups, 50, 7).counts);
    }

    /// Of many samples of independent bags nineteen of twenty intervals have the true AUC.
    #[test]
    fn intervals_cover_what_they_should() {
        let mut covered = 0;
        // The AUC of N(1, 1) against N(0, 1) is Phi(1 / sqrt 2).
        let truth = 0.760_249_938_906;
        for seed in 0..200 {
            let mut random = Random::new(seed, 3);
            let labels: Vec<u32> = (0..80).map(|bag| bag % 2).collect();
            let of = |&label: &u32| (random.normal() + f64::from(label)) as f32;
            let values: Vec<f32> = labels.iter().map(of).collect();
            let probabilities: Vec<f32> = values.iter().flat_map(|v| [-v, *v]).collect();
            let groups: Vec<String> = (0..80).map(|bag| bag.to_string()).collect();
            let ranks = Ranks::new(&probabilities, 2, &labels).unwrap();
            let [low, high] = interval(&Resamples::of(&groups, 300, seed).measure(|c| ranks.auc(c))).unwrap();
            let positive: Vec<bool> = labels.iter().map(|l| *l == 1).collect();
            let found = auc(&values, &positive).unwrap();
            assert!(low < found && found < high);
            covered += usize::from((low..high).contains(&truth));
        }
        assert!((180..=198).contains(&covered), "{covered} of 200");
    }

    #[test]
    fn differences_are_paired() {
        let a: Vec<Option<f64>> = (0..99).map(|n| Some(0.5 + f64::from(n) / 1000.0)).collect();
        let shifted: Vec<Option<f64>> = a.iter().map(|v| v.map(|v| v + 0.01)).collect();
        let found = difference(&shifted, &a).unwrap();
        assert!(found.interval.iter().all(|d| (d - 0.01).abs() < 1e-12) && (found.p - 0.02).abs() < 1e-12);
        assert_eq!(difference(&a, &a).unwrap().p, 1.0);
        let few: Vec<Option<f64>> = a.iter().enumerate().map(|(n, v)| v.filter(|_| n > 50)).collect();
        assert!(interval(&few).is_none() && difference(&few, &a).is_none());
    }
}
