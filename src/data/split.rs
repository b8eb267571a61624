//! Which bags train, validate and test: random, in folds, or as the data set itself says.

use crate::error::{Error, Result};
use crate::random::Random;

/// The part of a data set that a bag belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// Seen by the optimiser.
    Train,
    /// Watched during training to choose a model.
    Validation,
    /// Seen once, at the end.
    Test,
    /// Without a label: predicted, and in no other part.
    Unlabelled,
}

impl Split {
    /// The three with labels, in the order of their shares in [`stratified`].
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];
}

/// Numbers of the bags of one part, ascending.
pub fn indices(split: &[Split], part: Split) -> Vec<usize> {
    (0..split.len()).filter(|&b| split[b] == part).collect()
}

/// A random split in which each class keeps its share of every part.
///
/// `labels` is the class of each bag; `shares` are the shares of training, validation and test, which add
/// up to 1. The parts have the rounded sizes exactly; a class is off its share by about one bag at most.
///
/// # Errors
/// [`Error::Setting`] when a share is negative or not a number, or the shares do not add up to 1.
pub fn stratified(labels: &[u32], shares: [f64; 3], seed: u64) -> Result<Vec<Split>> {
    if shares.iter().any(|s| !(0.0..=1.0).contains(s)) || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
        return Err(Error::setting(
            "split",
            format!("expected shares of train, validation and test from 0 to 1 that add up to 1, found {shares:?}"),
        ));
    }
    let bags = labels.len();
    let validation = (bags as f64 * shares[1]).round() as usize;
    let test = ((bags as f64 * shares[2]).round() as usize).min(bags - validation.min(bags));
    let sizes = [bags - validation - test, validation, test];
    let parts = deal(labels, &sizes, &mut Random::new(seed, 0));
    Ok(parts.into_iter().map(|p| Split::ALL[p]).collect())
}

/// Moves a share of the training bags to validation, class by class, and leaves the test bags alone.
///
/// # Errors
/// [`Error::Setting`] when the share is not in [0, 1), [`Error::Shape`] when there is not one label for each bag.
pub fn hold_out(split: &mut [Split], labels: &[u32], share: f64, seed: u64) -> Result<()> {
    if !(0.0..1.0).contains(&share) {
        return Err(Error::setting("validation", format!("expected a share from 0 to below 1, found {share}")));
    }
    if labels.len() != split.len() {
        return Err(Error::Shape {
            operation: "hold out",
            expected: format!("{} labels (one for each bag)", split.len()),
            found: labels.len().to_string(),
        });
    }
    let train = indices(split, Split::Train);
    let classes: Vec<u32> = train.iter().map(|&b| labels[b]).collect();
    let parts = stratified(&classes, [1.0 - share, share, 0.0], seed)?;
    for (b, part) in train.into_iter().zip(parts) {
        split[b] = part;
    }
    Ok(())
}

/// A part for each bag: part `p` gets `sizes[p]` bags, spread evenly over the classes.
///
/// Walks through the bags class by class (shuffled within a class) and gives each to the part that is
/// furthest behind its due; that keeps every class near its share and the totals exact.
pub(super) fn deal(labels: &[u32], sizes: &[usize], random: &mut Random) -> Vec<usize> {
    let bags = labels.len();
    assert_eq!(sizes.iter().sum::<usize>(), bags, "the sizes of the parts add up to the bags");
    let mut order = random.permutation(bags);
    order.sort_by_key(|&b| labels[b]);
    let mut given = vec![0usize; sizes.len()];
    let mut parts = vec![0; bags];
    for (i, b) in order.into_iter().enumerate() {
        let behind = |p: usize| (sizes[p] * (i + 1)) as i128 - (given[p] * bags) as i128;
        let open = (0..sizes.len()).filter(|&p| given[p] < sizes[p]);
        // The first of equals, so that the result does not depend on the iterator's tie rule.
        let part = open.rev().max_by_key(|&p| behind(p)).unwrap_or(0);
        given[part] += 1;
        parts[b] = part;
    }
    parts
}

/// Repeats of a cross-validation, at most: every one up to the one that is asked for is drawn.
const MOST_REPEATS: usize = 1000;

/// Cross-validation: for each repeat, the fold that tests each bag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folds {
    of: Vec<Vec<u32>>,
}

impl Folds {
    /// Checked construction from `of[repeat][bag]`, the fold (from 0) in which a bag is tested.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no repeat, the repeats differ in length, a repeat has fewer than two
    /// folds, or a fold has no bag.
    pub fn new(of: Vec<Vec<u32>>) -> Result<Self> {
        let bags = of.first().map_or(0, Vec::len);
        if bags == 0 {
            return Err(Error::bags("folds: expected at least one repeat over at least one bag, found none"));
        }
        for (repeat, folds) in of.iter().enumerate() {
            if folds.len() != bags {
                let found = folds.len();
                let message = format!("folds: repeat {repeat} (0-based): expected {bags} bags, found {found}");
                return Err(Error::bags(message));
            }
            let count = folds.iter().max().map_or(0, |&m| m as usize + 1);
            let mut used = vec![false; count.min(bags + 1)];
            folds.iter().filter(|&&f| f as usize <= bags).for_each(|&f| used[f as usize] = true);
            if let Some(empty) = used.iter().position(|&u| !u) {
                return Err(Error::bags(format!(
                    "folds: repeat {repeat} (0-based): fold {empty} of 0..{count} has no bag"
                )));
            }
            if count < 2 {
                return Err(Error::bags(format!(
                    "folds: repeat {repeat} (0-based): expected at least two folds, found {count}"
                )));
            }
        }
        Ok(Self { of })
    }

    /// `repeats` shuffles of a k-fold division in which folds differ by one bag at most, overall and
    /// within each class.
    ///
    /// # Errors
    /// [`Error::Setting`] when `count` is below 2 or above the number of bags, or `repeats` is 0.
    pub fn stratified(labels: &[u32], count: usize, repeats: usize, seed: u64) -> Result<Self> {
        let bags = labels.len();
        if count < 2 || count > bags {
            return Err(Error::setting("folds", format!("expected 2 to {bags} (the number of bags), found {count}")));
        }
        if repeats == 0 {
            return Err(Error::setting("repeats", "expected at least 1, found 0"));
        }
        if repeats > MOST_REPEATS {
            return Err(Error::setting("repeats", format!("expected at most {MOST_REPEATS}, found {repeats}")));
        }
        let one = |repeat: usize| {
            let mut random = Random::new(seed, repeat as u64);
            let mut order = random.permutation(bags);
            order.sort_by_key(|&b| labels[b]);
            let mut folds = vec![0; bags];
            order.into_iter().enumerate().for_each(|(i, b)| folds[b] = (i % count) as u32);
            folds
        };
        Self::new((0..repeats).map(one).collect())
    }

    /// Number of repeats.
    pub fn repeats(&self) -> usize {
        self.of.len()
    }

    /// Number of folds of a repeat; 0 when there is no such repeat.
    pub fn count(&self, repeat: usize) -> usize {
        let folds = self.of.get(repeat);
        folds.and_then(|f| f.iter().max()).map_or(0, |&m| m as usize + 1)
    }

    /// The fold that tests each bag, `[repeat][bag]`.
    pub fn of(&self) -> &[Vec<u32>] {
        &self.of
    }

    /// The split of one fold: its bags test, all others train.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no such repeat or fold.
    pub fn split(&self, repeat: usize, fold: usize) -> Result<Vec<Split>> {
        let Some(folds) = self.of.get(repeat) else {
            return Err(Error::setting("repeat", format!("expected 0 to {}, found {repeat}", self.repeats() - 1)));
        };
        if fold >= self.count(repeat) {
            let last = self.count(repeat) - 1;
            return Err(Error::setting("fold", format!("expected 0 to {last}, found {fold}")));
        }
        Ok(folds.iter().map(|&f| if f as usize == fold { Split::Test } else { Split::Train }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<u32> {
        (0..100).map(|b| u32::from(b % 4 == 0) + 2 * u32::from(b % 10 == 9)).collect()
    }

    fn count(split: &[Split], labels: &[u32], part: Split, class: u32) -> usize {
        (0..split.len()).filter(|&b| split[b] == part && labels[b] == class).count()
    }

    #[test]
    fn a_random_split_keeps_sizes_and_shares() {
        let labels = labels();
        let split = stratified(&labels, [0.7, 0.1, 0.2], 3).unwrap();
        for (part, share) in Split::ALL.into_iter().zip([0.7, 0.1, 0.2]) {
            assert_eq!(indices(&split, part).len(), (100.0 * share) as usize);
            for class in 0..3 {
                let of_class = labels.iter().filter(|&&l| l == class).count() as f64;
                let off = count(&split, &labels, part, class) as f64 - share * of_class;
                assert!(off.abs() <= 1.5, "{part:?} of class {class} is off by {off}");
            }
        }
        assert_eq!(split, stratified(&labels, [0.7, 0.1, 0.2], 3).unwrap());
        assert_ne!(split, stratified(&labels, [0.7, 0.1, 0.2], 4).unwrap());
        assert!(stratified(&[], [1.0, 0.0, 0.0], 0).unwrap().is_empty());
        for small in 1..6 {
            assert_eq!(stratified(&labels[..small], [0.0, 0.5, 0.5], 0).unwrap().len(), small);
        }
    }

    #[test]
    fn bad_shares_are_refused() {
        for shares in [[0.5, 0.2, 0.2], [1.2, -0.2, 0.0], [f64::NAN, 0.5, 0.5]] {
            let message = stratified(&labels(), shares, 0).unwrap_err().to_string();
            assert!(message.contains("add up to 1"), "{message}");
        }
        let mut split = vec![Split::Train; 100];
        assert!(hold_out(&mut split, &labels(), 1.0, 0).is_err());
        assert!(hold_out(&mut split, &labels()[1..], 0.5, 0).is_err());
    }

    #[test]
    fn hold_out_takes_from_training_only() {
        let labels = labels();
        let mut split = stratified(&labels, [0.8, 0.0, 0.2], 1).unwrap();
        let test = indices(&split, Split::Test);
        hold_out(&mut split, &labels, 0.25, 9).unwrap();
        assert_eq!(indices(&split, Split::Test), test);
        assert_eq!(indices(&split, Split::Validation).len(), 20);
        assert!((0..3).all(|class| count(&split, &labels, Split::Validation, class) >= 1));
    }

    #[test]
    fn folds_are_even_in_every_class() {
        let labels = labels();
        let folds = Folds::stratified(&labels, 7, 2, 5).unwrap();
        assert_eq!((folds.repeats(), folds.count(0), folds.count(9)), (2, 7, 0));
        assert_ne!(folds.of()[0], folds.of()[1]);
        for class in 0..3 {
            let sizes: Vec<usize> =
                (0..7).map(|f| count(&folds.split(1, f).unwrap(), &labels, Split::Test, class)).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        }
        let tested: usize = (0..7).map(|f| indices(&folds.split(0, f).unwrap(), Split::Test).len()).sum();
        assert_eq!(tested, 100);
    }

    #[test]
    fn bad_folds_are_refused() {
        for (of, what) in [
            (vec![], "found none"),
            (vec![vec![]], "found none"),
            (vec![vec![0, 1], vec![0]], "repeat 1 (0-based): expected 2 bags, found 1"),
            (vec![vec![0, 2, 2]], "fold 1 of 0..3 has no bag"),
            (vec![vec![0, u32::MAX]], "has no bag"),
            (vec![vec![0, 0]], "at least two folds"),
        ] {
            let message = Folds::new(of).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
        assert!(Folds::stratified(&labels(), 1, 1, 0).is_err());
        assert!(Folds::stratified(&labels(), 101, 1, 0).is_err());
        assert!(Folds::stratified(&labels(), 5, 0, 0).is_err());
        let folds = Folds::new(vec![vec![0, 1]]).unwrap();
        assert!(folds.split(1, 0).is_err() && folds.split(0, 2).is_err());
    }
}
