//! Bags that tell whether a model keeps to the MIL assumption, by Raff and Holt (Reproducibility in Multiple Instance
//! Learning: A Case For Algorithmic Unit Tests, NeurIPS 2023, algorithms 1 to 3).
//!
//! A bag is positive because of what is in it, never because of what is not. In each test the training bags can also be
//! told apart in a way that breaks this, and in the test bags that way leads to the wrong answer. A model that keeps to the
//! assumption has an AUC of 1 on the test bags as on the training bags; one that learnt the other way falls below 1/2.
//!
//! | test | a positive bag has | the other way to tell the training bags |
//! |---|---|---|
//! | single | 1 to 3 instances of a concept | negative ones have a far instance; in the test bags the positive ones do |
//! | pair | as many of concept A as of B, 1 to 3 of each | the same; negative bags have one of A or of B |
//! | frequency | one of A and one of B | there are two key instances rather than one; negative test bags have 35 to 44 |

use super::{Dataset, Key, Split};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use crate::random::Random;
use std::str::FromStr;

/// Which of the three tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// One concept makes a bag positive: a wide normal distribution around the background's, or one beside it.
    #[default]
    Single,
    /// Two concepts together do.
    Pair,
    /// Two concepts together do, and how often one is there does not matter.
    Frequency,
}

impl Probe {
    /// All of them with their names.
    pub const ALL: [(&'static str, Probe); 3] =
        [("single", Probe::Single), ("pair", Probe::Pair), ("frequency", Probe::Frequency)];
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(|(name, _)| name).join(", ");
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, test)| *test).ok_or_else(|| format!("expected {}, found {text:?}", known()))
    }
}

/// How the bags are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Assumption {
    /// Which test.
    pub kind: Probe,
    /// Features of an instance.
    pub width: usize,
    /// Number of training bags, positive and negative in turn.
    pub train: usize,
    /// Number of test bags.
    pub test: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Assumption {
    fn default() -> Self {
        Self { kind: Probe::Single, width: 16, train: 500, test: 500, seed: 1 }
    }
}

/// Bags or features, at most.
const MOST: usize = 100_000;
/// Background instances of a bag: so many in the single test, 1 to 9 in the others.
const BACKGROUND: usize = 10;
/// Mean and deviation of the far instances.
const FAR: [f64; 2] = [-10.0, 0.1];

/// What an instance is, as its label tells: a key instance, background, or a far one that means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Key = 1,
    Background = 0,
    Far = -1,
}

/// Draws one bag.
struct Draw<'a> {
    width: usize,
    random: &'a mut Random,
    values: Vec<f32>,
    kinds: Vec<What>,
}

impl Draw<'_> {
    fn one(&mut self, what: What, [mean, deviation]: [f64; 2]) {
        self.kinds.push(what);
        self.values.extend((0..self.width).map(|_| (mean + deviation * self.random.normal()) as f32));
    }

    /// From `least` to `most`.
    fn count(&mut self, least: usize, most: usize) -> usize {
        least + self.random.below(most - least + 1)
    }
}

impl Assumption {
    fn check(&self) -> Result<()> {
        for (name, found, least) in [("width", self.width, 1), ("train", self.train, 2), ("test", self.test, 0)] {
            if !(least..=MOST).contains(&found) {
                return Err(Error::setting(name, format!("expected {least} to {MOST}, found {found}")));
            }
        }
        let sizes = [(self.train + self.test) as u64, 60, self.width as u64, 4];
        crate::bounded::check_room("the bags that are asked for", &sizes)
    }

    fn bag(&self, positive: bool, testing: bool, draw: &mut Draw) {
        // The sign that must not be learnt: in training bags it is of the negative ones.
        if self.kind != Probe::Frequency && positive == testing {
            draw.one(What::Far, FAR);
        }
        let concepts = match self.kind {
            Probe::Single => [[0.0, 3.0], [1.0, 1.0]],
            Probe::Pair | Probe::Frequency => [[2.0, 0.1], [3.0, 0.1]],
        };
        let keys: Vec<usize> = match (self.kind, positive) {
            (Probe::Single, true) => (0..draw.count(1, 3)).map(|_| draw.random.below(2)).collect(),
            (Probe::Single, false) => Vec::new(),
            (Probe::Pair, true) => (0..2 * draw.count(1, 3)).map(|i| i % 2).collect(),
            (Probe::Pair, false) => vec![draw.random.below(2)],
            (Probe::Frequency, true) => vec![0, 1],
            (Probe::Frequency, false) => {
                let concept = draw.random.below(2);
                vec![concept; if testing { draw.count(35, 44) } else { 1 }]
            }
        };
        keys.into_iter().for_each(|concept| draw.one(What::Key, concepts[concept]));
        let background = if self.kind == Probe::Single { BACKGROUND } else { draw.count(1, 9) };
        (0..background).for_each(|_| draw.one(What::Background, [0.0, 1.0]));
    }

    /// Draws the bags. Key instances are those of the concepts, in negative bags too.
    ///
    /// # Errors
    /// [`Error::Setting`] when a number is out of range.
    pub fn bags(&self) -> Result<Dataset> {
        self.check()?;
        let (mut values, mut kinds, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut labels, mut split) = (Vec::new(), Vec::new());
        for (part, count) in [(Split::Train, self.train), (Split::Test, self.test)] {
            // Each part has a stream of its own, so that more training bags leave the test bags as they are.
            let mut random = Random::new(self.seed, u64::from(part == Split::Test));
            for bag in 0..count {
                let positive = bag % 2 == 0;
                let mut draw = Draw { width: self.width, random: &mut random, values: Vec::new(), kinds: Vec::new() };
                self.bag(positive, part == Split::Test, &mut draw);
                let Draw { values: of_bag, kinds: of_kind, .. } = draw;
                let order = random.permutation(of_kind.len());
                order.iter().for_each(|&i| values.extend_from_slice(&of_bag[i * self.width..(i + 1) * self.width]));
                kinds.extend(order.iter().map(|&i| of_kind[i] as i32));
                sizes.push(order.len());
                labels.push(u32::from(positive));
                split.push(part);
            }
        }
        let mut bags = Bags::packed(Features::F32(values), self.width, &sizes)?.with_labels(labels)?;
        bags.class_names = ["negative", "positive"].map(String::from).to_vec();
        bags.instance_labels = Some(kinds);
        bags.validate()?;
        let mut set = Dataset::new(bags, "mil-assumption");
        (set.split, set.key) = (Some(split), Key::AboveZero);
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(kind: Probe) -> Dataset {
        Assumption { kind, width: 8, train: 60, test: 40, seed: 3 }.bags().unwrap()
    }

    /// Instances of each kind in a bag: keys, background, far.
    fn counts(set: &Dataset, bag: usize) -> [usize; 3] {
        let labels = &set.bags.instance_labels.as_ref().unwrap()[set.bags.rows(bag)];
        [What::Key, What::Background, What::Far].map(|what| labels.iter().filter(|&&l| l == what as i32).count())
    }

    #[test]
    fn bags_are_what_the_tests_say() {
        for (name, kind) in Probe::ALL {
            assert_eq!(name.parse(), Ok(kind));
            let set = small(kind);
            set.check_for_training().unwrap();
            for bag in 0..100 {
                let (positive, testing) = (set.bags.label(bag) == Some(1), bag >= 60);
                assert_eq!(positive, bag % 2 == 0);
                assert_eq!(set.split.as_ref().unwrap()[bag] == Split::Test, testing);
                let [keys, background, far] = counts(&set, bag);
                assert_eq!(far, usize::from(kind != Probe::Frequency && positive == testing), "{name}, bag {bag}");
                let wanted = match (kind, positive, testing) {
                    (Probe::Single, true, _) => 1..=3,
                    (Probe::Single, false, _) => 0..=0,
                    (Probe::Pair, true, _) => 2..=6,
                    (Probe::Frequency, true, _) => 2..=2,
                    (Probe::Frequency, false, true) => 35..=44,
                    (Probe::Pair | Probe::Frequency, false, _) => 1..=1,
                };
                assert!(wanted.contains(&keys), "{name}, bag {bag}: {keys} keys");
                assert!((1..=10).contains(&background));
            }
        }
    }

    /// Of the pair a positive bag has both concepts, a negative one never.
    #[test]
    fn concepts_come_in_pairs() {
        for kind in [Probe::Pair, Probe::Frequency] {
            let set = small(kind);
            let (labels, values) = (set.bags.instance_labels.as_ref().unwrap(), set.bags.features.to_f32());
            for bag in 0..set.bags.len() {
                let mean = |row: usize| values[row * 8..(row + 1) * 8].iter().sum::<f32>() / 8.0;
                let keys: Vec<f32> = set.bags.rows(bag).filter(|&r| labels[r] == 1).map(mean).collect();
                let of = |concept: f32| keys.iter().filter(|&&m| (m - concept).abs() < 0.3).count();
                assert_eq!(of(2.0) + of(3.0), keys.len());
                assert_eq!(of(2.0) > 0 && of(3.0) > 0, set.bags.label(bag) == Some(1));
                assert!(set.bags.label(bag) == Some(0) || of(2.0) == of(3.0));
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_bags_and_more_bags_keep_the_first() {
        let few = Assumption { train: 4, test: 4, ..Assumption::default() };
        let many = Assumption { train: 10, ..few.clone() };
        let test = |set: &Dataset| set.bags.select(&set.indices(Split::Test)).unwrap().features;
        assert_eq!(few.bags().unwrap().bags.features, few.bags().unwrap().bags.features);
        assert_eq!(test(&few.bags().unwrap()), test(&many.bags().unwrap()));
        assert_ne!(test(&few.bags().unwrap()), test(&Assumption { seed: 2, ..few }.bags().unwrap()));
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |assumption: Assumption| assumption.bags().unwrap_err().to_string();
        assert!(refused(Assumption { width: 0, ..Assumption::default() }).starts_with("setting width"));
        assert!(refused(Assumption { train: 1, ..Assumption::default() }).contains("found 1"));
        assert!(refused(Assumption { test: MOST + 1, ..Assumption::default() }).starts_with("setting test"));
        assert!("double".parse::<Probe>().unwrap_err().contains("single, pair, frequency"));
    }
}
