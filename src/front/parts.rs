//! What a model says of the highest-scored instances of bags alone, and of bags without them: whether what the scores point at is
//! enough for what it says, and whether it needs it.

use super::ensemble::EnsemblePredictor;
use crate::bag::{Bags, runs};
use crate::error::{Error, Result};
use crate::masking::{Scores, part};
use crate::metrics::{BagScores, decide};
use crate::random::Random;
use crate::training::Predictions;
use serde::Serialize;

/// Which instances come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// Those with the largest scores; of equal ones the earlier.
    Scored,
    /// Any, drawn at random: what any instances would do.
    Random,
}

/// What becomes of the first instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Left {
    /// They alone are left: are they enough?
    Alone,
    /// All others are left: are they needed?
    Without,
}

/// What is said of all bags when a share of their instances decides which are left.
#[derive(Clone, Debug)]
pub struct Part {
    /// The share, above 0 and at most 1.
    pub share: f64,
    /// Which come first.
    pub first: First,
    /// Whether they or the others are left.
    pub left: Left,
    /// Instances that are left, of all bags together.
    pub instances: usize,
    /// What is said of them, as [`Predictions::said_of_all`] has it.
    pub said: Vec<f32>,
}

/// Bytes of features in bags that are shortened at a time; a larger bag is shortened by itself.
const AT_A_TIME: usize = 256 << 20;
/// Beside those of weights, order and views.
const STREAM: u64 = 3 << 60;

impl EnsemblePredictor {
    /// What is said of parts of all `bags`, four for each of the `shares`: the first instances by the scores in `whole`, which is what
    /// was said of these bags, alone and left out, and the same of a random order, which depends on `seed` and the number of the bag.
    ///
    /// Of n instances ceil(share n) are the first. One at least stays when they are left out. The model sees a shorter bag, and places
    /// of what is left.
    ///
    /// # Errors
    /// As [`EnsemblePredictor::predict`], and [`Error::Setting`] for a share out of range, and for predictions without scores of
    /// instances (an ensemble of several methods).
    pub fn parts(&mut self, bags: &Bags, whole: &Predictions, shares: &[f64], seed: u64) -> Result<Vec<Part>> {
        if let Some(share) = shares.iter().find(|share| !(**share > 0.0 && **share <= 1.0)) {
            return Err(Error::setting("shares", format!("must be above 0 and at most 1, found {share}")));
        }
        if whole.offsets != bags.offsets || whole.scores.len() != bags.instances() {
            let message = "expected a score of each instance of these bags; the mean of several methods has none";
            return Err(Error::setting("shares", message));
        }
        let mut all = Vec::new();
        for &share in shares {
            for first in [First::Scored, First::Random] {
                for left in [Left::Alone, Left::Without] {
                    let kept = |bag: usize| {
                        let rows = bags.rows(bag);
                        rows_left(&whole.scores[rows], share, first, left, &mut Random::new(seed, STREAM + bag as u64))
                    };
                    let (said, instances) = self.said_of_some(bags, kept)?;
                    all.push(Part { share, first, left, instances, said });
                }
            }
        }
        Ok(all)
    }

    /// What is said of bags with the rows that `kept` tells of each, from 0, rising; and how many these are.
    fn said_of_some(&mut self, bags: &Bags, kept: impl Fn(usize) -> Vec<usize>) -> Result<(Vec<f32>, usize)> {
        let most = AT_A_TIME / (4 * bags.width.max(1));
        let (mut said, mut instances, mut next) = (Vec::new(), 0, 0);
        while next < bags.len() {
            let (mut which, mut rows, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
            let mut count = 0;
            while next < bags.len() && (which.is_empty() || count < most) {
                let (of_bag, start) = (kept(next), bags.rows(next).start);
                rows.extend(runs(&of_bag, start));
                sizes.push(of_bag.len());
                which.push(next);
                (count, next) = (count + of_bag.len(), next + 1);
            }
            instances += count;
            let shorter = bags.select_rows(&which, &rows, &sizes)?;
            said.extend_from_slice(self.predict(&shorter)?.mean.said_of_all());
        }
        Ok((said, instances))
    }
}

/// The rows of a bag with these scores that are left, rising.
fn rows_left(scores: &[f32], share: f64, first: First, left: Left, random: &mut Random) -> Vec<usize> {
    let count = scores.len();
    let taken = part(share, count).min(if left == Left::Alone { count } else { count - 1 });
    let mut rows = match first {
        First::Scored => {
            let values: Vec<f64> = scores.iter().copied().map(f64::from).collect();
            Scores { values: &values, columns: 1, vote: false }.top(taken, true)
        }
        First::Random => random.sample(count, taken),
    };
    rows.sort_unstable();
    match left {
        Left::Alone => rows,
        Left::Without => (0..count).filter(|row| rows.binary_search(row).is_err()).collect(),
    }
}

impl Part {
    /// How far what is said moves, a mean over bags: of classes the probability of the class that `whole` tells, so below 0 where the
    /// model is less sure of it; of labels, numbers and risks the absolute difference. `None` of no bags.
    pub fn change(&self, whole: &Predictions) -> Option<f64> {
        let width = self.said.len() / whole.len().max(1);
        let moved = |at: usize| f64::from(self.said[at]) - f64::from(whole.said_of_all()[at]);
        let (sum, count) = match whole.classes > 0 && !whole.multi_label {
            true => ((0..whole.len()).map(|bag| moved(bag * width + whole.class(bag))).sum::<f64>(), whole.len()),
            false => ((0..self.said.len()).map(|at| moved(at).abs()).sum(), self.said.len()),
        };
        (count > 0).then(|| sum / count as f64)
    }

    /// The share of bags of which the same class is told; `None` where bags have no class each.
    pub fn same(&self, whole: &Predictions) -> Option<f64> {
        let of_classes = whole.classes > 0 && !whole.multi_label && !whole.is_empty();
        let same = || {
            let rows = self.said.chunks(whole.classes).enumerate();
            rows.filter(|(bag, row)| decide(row) as usize == whole.class(*bag)).count()
        };
        of_classes.then(|| same() as f64 / whole.len() as f64)
    }

    /// How good it is, of the bags `of`, which have labels.
    ///
    /// # Errors
    /// As [`Predictions::scores_among`].
    pub fn scores(&self, whole: &Predictions, bags: &Bags, of: &[usize]) -> Result<BagScores> {
        bags.check_indices(of)?;
        let width = self.said.len() / bags.len().max(1);
        let said: Vec<f32> = of.iter().flat_map(|&bag| &self.said[bag * width..(bag + 1) * width]).copied().collect();
        whole.scores_among(&said, bags, of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;
    use crate::device::Device;
    use crate::ensemble::{Ensemble, Member};
    use crate::methods::Method;
    use crate::model::{Model, Spec};
    use serde_json::json;

    /// A model whose logit is the mean of the first feature.
    fn predictor() -> EnsemblePredictor {
        let settings = json!({ "embed": [], "pool": "instance", "positions": false, "dropout": 0.0 });
        let method = Method::named("millet").unwrap().with(settings.as_object().unwrap()).unwrap();
        let mut model = Model::new(Spec::new(method, 2, 2), 1).unwrap();
        model.set_parameter("head.weight", &[1.0, 0.0]).unwrap();
        model.set_parameter("head.bias", &[0.0]).unwrap();
        Ensemble::new(vec![Member::new("alone", model)]).unwrap().on(&Device::host())
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    #[test]
    fn what_makes_the_answer_is_enough_and_needed() {
        // Two of twenty rows speak for the second class in the second bag, nothing in the first; a third bag has one row.
        let value = |bag: usize, row: usize| if bag == 1 && row % 10 == 3 { 20.0 } else { 0.0 };
        let rows = (0..2).flat_map(|bag| (0..20).flat_map(move |row| [value(bag, row), 5.0]));
        let features = rows.chain([4.0, 5.0]).collect();
        let bags = Bags::packed(Features::F32(features), 2, &[20, 20, 1]).unwrap().with_labels(vec![0, 1, 1]).unwrap();
        let mut predictor = predictor();
        let whole = predictor.predict(&bags).unwrap().mean;
        let found = predictor.parts(&bags, &whole, &[0.05, 0.1, 1.0], 7).unwrap();
        assert_eq!(found.len(), 12);
        let of = |share: f64, first: First, left: Left| {
            found.iter().find(|part| part.share == share && part.first == first && part.left == left).unwrap()
        };
        // Of the second bag the mean is 2, of its first one or two 20, without one 20 / 19, without both 0.
        for (share, left, mean, instances) in [
            (0.05, Left::Alone, 20.0, 1 + 1 + 1),
            (0.05, Left::Without, 20.0 / 19.0, 19 + 19 + 1),
            (0.1, Left::Alone, 20.0, 2 + 2 + 1),
            (0.1, Left::Without, 0.0, 18 + 18 + 1),
            (1.0, Left::Alone, 2.0, 41),
            // One row stays, the last of those with the smallest score.
            (1.0, Left::Without, 0.0, 3),
        ] {
            let part = of(share, First::Scored, left);
            assert_eq!(part.instances, instances, "{part:?}");
            for (bag, logit) in [0.0, mean, 4.0].into_iter().enumerate() {
                let p = f64::from(part.said[2 * bag + 1]);
                assert!((p - sigmoid(logit)).abs() < 1e-6, "{share} {left:?}, bag {bag}: {p}");
            }
            let change = (sigmoid(mean) - sigmoid(2.0)) / 3.0;
            assert!((part.change(&whole).unwrap() - change).abs() < 1e-6, "{part:?}");
            assert_eq!(part.same(&whole), Some(1.0));
            let BagScores::Classes(scores) = part.scores(&whole, &bags, &[0, 1, 2]).unwrap() else { unreachable!() };
            // A bag that is left with nothing is as the first, which half wins.
            assert_eq!(scores.auc, Some(if mean == 0.0 { 0.75 } else { 1.0 }), "{part:?}");
        }
        // All rows are all rows in any order; others are drawn by another seed.
        assert_eq!(of(1.0, First::Random, Left::Alone).said, whole.said_of_all());
        let drawn = |seed: u64| {
            let parts = predictor_parts(&bags, &whole, seed);
            parts
                .iter()
                .filter(|part| part.first == First::Random)
                .flat_map(|part| part.said.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert!((8..20).any(|seed| drawn(seed) != drawn(7)));
    }

    fn predictor_parts(bags: &Bags, whole: &Predictions, seed: u64) -> Vec<Part> {
        predictor().parts(bags, whole, &[0.5], seed).unwrap()
    }

    #[test]
    fn shares_out_of_range_are_refused() {
        let bags = Bags::packed(Features::F32(vec![1.0; 4]), 2, &[2]).unwrap();
        let mut predictor = predictor();
        let whole = predictor.predict(&bags).unwrap().mean;
        for share in [0.0, 1.1, f64::NAN] {
            let refused = predictor.parts(&bags, &whole, &[share], 1).unwrap_err().to_string();
            assert!(refused.contains("shares") && refused.contains("at most 1"), "{refused}");
        }
        let without = Predictions { scores: Vec::new(), ..whole };
        assert!(predictor.parts(&bags, &without, &[0.5], 1).unwrap_err().to_string().contains("several methods"));
    }
}
