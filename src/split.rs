//! Which bags train, validate and test: random, in folds, or as the data set itself says.
//!
//! Bags may come in groups ([`crate::Bags::groups`]): the slides of a patient, say. A model that has seen one of them
//! knows the others, so what is drawn here keeps a group in one part, and [`check_groups`] finds divisions that do not.

mod divisions;

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::random::Random;
use std::collections::{BTreeMap, HashMap};

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

    /// What it is called in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
            Split::Unlabelled => "unlabelled",
        }
    }
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
/// With `groups`, the group of each bag, groups stay whole: parts and classes are then as near their shares as whole
/// groups allow, and a part with a share has at least one group.
///
/// # Errors
/// [`Error::Setting`] when a share is negative or not a number, the shares do not add up to 1, or there are fewer
/// groups than parts; [`Error::Shape`] when there is not one group for each bag.
pub fn stratified(labels: &[u32], groups: Option<&[String]>, shares: [f64; 3], seed: u64) -> Result<Vec<Split>> {
    if shares.iter().any(|s| !(0.0..=1.0).contains(s)) || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
        return Err(Error::setting(
            "split",
            format!("expected shares of train, validation and test from 0 to 1 that add up to 1, found {shares:?}"),
        ));
    }
    if let Some(groups) = groups {
        let parts = deal_groups(labels, groups, &shares, &mut Random::new(seed, 0))?;
        return Ok(parts.into_iter().map(|p| Split::ALL[p]).collect());
    }
    let bags = labels.len();
    let validation = (bags as f64 * shares[1]).round() as usize;
    let test = ((bags as f64 * shares[2]).round() as usize).min(bags - validation.min(bags));
    let sizes = [bags - validation - test, validation, test];
    let parts = deal(labels, &sizes, &mut Random::new(seed, 0));
    Ok(parts.into_iter().map(|p| Split::ALL[p]).collect())
}

/// Tells a division from others.
pub fn fingerprint(parts: &[Split]) -> String {
    parts.iter().fold(Fingerprint::default(), |of, part| of.text(part.name())).to_string()
}

/// Moves a share of the training bags to validation, class by class, and leaves the test bags alone. With `groups`
/// whole groups move.
///
/// # Errors
/// [`Error::Setting`] when the share is not in [0, 1) or there are not two groups, [`Error::Shape`] when there is not
/// one label, and one group, for each bag.
pub fn hold_out(split: &mut [Split], labels: &[u32], groups: Option<&[String]>, share: f64, seed: u64) -> Result<()> {
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
    let groups = match groups {
        Some(groups) => {
            check_count(groups, split.len())?;
            Some(train.iter().map(|&b| groups[b].clone()).collect::<Vec<_>>())
        }
        None => None,
    };
    let parts = stratified(&classes, groups.as_deref(), [1.0 - share, share, 0.0], seed)?;
    for (b, part) in train.into_iter().zip(parts) {
        split[b] = part;
    }
    Ok(())
}

/// A part for each bag: part `p` gets `sizes[p]` bags, spread evenly over the classes.
///
/// Walks through the bags class by class (shuffled within a class) and gives each to the part that is
/// furthest behind its due; that keeps every class near its share and the totals exact.
pub(crate) fn deal(labels: &[u32], sizes: &[usize], random: &mut Random) -> Vec<usize> {
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

fn check_count(groups: &[String], bags: usize) -> Result<()> {
    match groups.len() {
        found if found == bags => Ok(()),
        found => Err(Error::Shape {
            operation: "split",
            expected: format!("{bags} groups (one for each bag)"),
            found: found.to_string(),
        }),
    }
}

/// The bags of each group, groups in the order of their first bag.
fn members(groups: &[String]) -> Vec<Vec<usize>> {
    let mut place: HashMap<&str, usize> = HashMap::new();
    let mut all: Vec<Vec<usize>> = Vec::new();
    for (bag, group) in groups.iter().enumerate() {
        let at = *place.entry(group).or_insert(all.len());
        if at == all.len() {
            all.push(Vec::new());
        }
        all[at].push(bag);
    }
    all
}

/// Number of groups.
pub fn count_groups(groups: &[String]) -> usize {
    members(groups).len()
}

/// A part for each bag, whole groups at a time: the largest first (shuffled among equals), each to the part that is
/// furthest behind its share of the group's classes. That is the steepest descent of the squared distance of all
/// classes from their shares, and of the sizes of the parts from theirs.
fn deal_groups(labels: &[u32], groups: &[String], shares: &[f64], random: &mut Random) -> Result<Vec<usize>> {
    check_count(groups, labels.len())?;
    let members = members(groups);
    let wanted: Vec<usize> = (0..shares.len()).filter(|&p| shares[p] > 0.0).collect();
    if members.len() < wanted.len() {
        let message = format!("{} groups of bags cannot be divided into {} parts", members.len(), wanted.len());
        return Err(Error::setting("split", format!("{message}; a group stays whole")));
    }
    // Of each class (and, last, of all bags) how many there are, and how many each part was given.
    let mut classes: BTreeMap<u32, usize> = labels.iter().map(|&l| (l, 0)).collect();
    classes.values_mut().enumerate().for_each(|(at, place)| *place = at);
    let all = classes.len();
    let counted = |bags: &[usize]| {
        let mut counts: BTreeMap<usize, f64> = BTreeMap::from([(all, bags.len() as f64)]);
        bags.iter().for_each(|&b| *counts.entry(classes[&labels[b]]).or_default() += 1.0);
        counts
    };
    let totals = counted(&(0..labels.len()).collect::<Vec<_>>());
    let mut given = vec![vec![0.0; all + 1]; shares.len()];
    let mut order = random.permutation(members.len());
    order.sort_by_key(|&g| std::cmp::Reverse(members[g].len()));
    let mut part_of = vec![0; members.len()];
    for g in order.iter().copied() {
        let counts = counted(&members[g]);
        let ahead = |p: usize| -> f64 {
            let one = |(&c, &n): (&usize, &f64)| n * (given[p][c] - shares[p] * totals[&c]) / totals[&c].powi(2);
            counts.iter().map(one).sum()
        };
        let part = wanted.iter().copied().min_by(|&p, &q| ahead(p).total_cmp(&ahead(q))).unwrap_or(0);
        counts.iter().for_each(|(&c, n)| given[part][c] += n);
        part_of[g] = part;
    }
    // A part that came away empty takes the smallest group of the part that has most.
    let size = |part_of: &[usize], p: usize| part_of.iter().filter(|&&q| q == p).count();
    for &empty in &wanted {
        if size(&part_of, empty) == 0 {
            let rich = wanted.iter().copied().max_by_key(|&p| size(&part_of, p)).unwrap_or(0);
            if let Some(&g) = order.iter().rev().find(|&&g| part_of[g] == rich) {
                part_of[g] = empty;
            }
        }
    }
    let mut parts = vec![0; labels.len()];
    members.iter().zip(part_of).for_each(|(bags, part)| bags.iter().for_each(|&b| parts[b] = part));
    Ok(parts)
}

/// Checks that no group has bags in two parts, those without a label aside; `names` are those of the bags.
///
/// # Errors
/// [`Error::Bags`] with a group and two of its bags.
pub fn check_groups(split: &[Split], groups: &[String], names: &[String]) -> Result<()> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let learnt = groups.iter().enumerate().filter(|(bag, _)| split[*bag] != Split::Unlabelled);
    for (bag, group) in learnt {
        let other = *first.entry(group).or_insert(bag);
        if split[other] != split[bag] {
            return Err(Error::bags(format!(
                "group '{group}' is parted: bag '{}' is for {} and bag '{}' for {}; expected the bags of a group in one \
                 part, or no groups (--ignore-groups)",
                names[other],
                split[other].name(),
                names[bag],
                split[bag].name()
            )));
        }
    }
    Ok(())
}

/// Checks that the bags `training` can be learnt from: there is one, each has a label, and every class has a bag; of
/// several labels a bag there are bags with each label and without, and of survival there is an event.
///
/// # Errors
/// [`Error::Bags`] that says what is missing.
pub fn check_training(bags: &Bags, training: &[usize]) -> Result<()> {
    let wrong = |message: String| Err(Error::bags(message));
    bags.check_indices(training)?;
    if training.is_empty() {
        return wrong("expected at least one training bag, found none".into());
    }
    if let Some(&bag) = training.iter().find(|&&b| !bags.is_labelled(b)) {
        return wrong(format!("bag '{}' is to be trained on and has no label", bags.names[bag]));
    }
    if let Some(sets) = &bags.label_sets {
        for (label, name) in bags.class_names.iter().enumerate() {
            let (has, known) = sets.counts(label, training);
            if has == 0 || has == known {
                return wrong(format!(
                    "label '{name}': {has} of the {known} training bags of which it is known have it; expected at \
                     least one with it and one without"
                ));
            }
        }
        return Ok(());
    }
    if let Some(responses) = &bags.responses {
        return match responses.survival() {
            Some((_, events)) if !training.iter().any(|&bag| events[bag]) => {
                wrong(format!("none of the {} training bags has an event; expected at least one", training.len()))
            }
            _ => Ok(()),
        };
    }
    let labels = bags.labels.as_deref().unwrap_or_default();
    if let [only] = &bags.class_names[..] {
        let missing = match labels.iter().filter(|&&l| l == Bags::UNKNOWN).count() {
            0 => String::new(),
            missing => format!(", {missing} bags have none"),
        };
        return wrong(format!("every label is '{only}'{missing}; expected at least two classes to tell apart"));
    }
    let mut counts = vec![0usize; bags.classes()];
    for &bag in training {
        match counts.get_mut(labels[bag] as usize) {
            Some(count) => *count += 1,
            None => {
                return wrong(format!(
                    "bag '{}' has label {}, of {} classes",
                    bags.names[bag],
                    labels[bag],
                    bags.classes()
                ));
            }
        }
    }
    match counts.iter().position(|&n| n == 0) {
        Some(class) => wrong(format!(
            "class {class} ('{}') has no bag among the {} training bags; expected at least one of each class",
            bags.class_names[class],
            training.len()
        )),
        None => Ok(()),
    }
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
    /// within each class; with `groups` each fold has whole groups, and differs by what that takes.
    ///
    /// # Errors
    /// [`Error::Setting`] when `count` is below 2 or above the number of bags (or groups), or `repeats` is 0.
    pub fn stratified(
        labels: &[u32],
        groups: Option<&[String]>,
        count: usize,
        repeats: usize,
        seed: u64,
    ) -> Result<Self> {
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
        let one = |repeat: usize| -> Result<Vec<u32>> {
            let mut random = Random::new(seed, repeat as u64);
            if let Some(groups) = groups {
                let parts = deal_groups(labels, groups, &vec![1.0 / count as f64; count], &mut random)?;
                return Ok(parts.into_iter().map(|p| p as u32).collect());
            }
            let mut order = random.permutation(bags);
            order.sort_by_key(|&b| labels[b]);
            let mut folds = vec![0; bags];
            order.into_iter().enumerate().for_each(|(i, b)| folds[b] = (i % count) as u32);
            Ok(folds)
        };
        Self::new((0..repeats).map(one).collect::<Result<_>>()?)
    }

    /// Number of repeats.
    pub fn repeats(&self) -> usize {
        self.of.len()
    }

    /// Number of folds of a repeat; 0 when there is no such repeat.
    pub fn count(&self, repeat: usize) -> usize {
        let folds = self.of.get(repeat).into_iter().flatten();
        folds.filter(|fold| **fold != Self::NEVER).max().map_or(0, |&m| m as usize + 1)
    }

    /// The fold that tests each bag, `[repeat][bag]`, or [`Folds::NEVER`].
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
        let split = stratified(&labels, None, [0.7, 0.1, 0.2], 3).unwrap();
        for (part, share) in Split::ALL.into_iter().zip([0.7, 0.1, 0.2]) {
            assert_eq!(indices(&split, part).len(), (100.0 * share) as usize);
            for class in 0..3 {
                let of_class = labels.iter().filter(|&&l| l == class).count() as f64;
                let off = count(&split, &labels, part, class) as f64 - share * of_class;
                assert!(off.abs() <= 1.5, "{part:?} of class {class} is off by {off}");
            }
        }
        assert_eq!(split, stratified(&labels, None, [0.7, 0.1, 0.2], 3).unwrap());
        assert_ne!(split, stratified(&labels, None, [0.7, 0.1, 0.2], 4).unwrap());
        assert!(stratified(&[], None, [1.0, 0.0, 0.0], 0).unwrap().is_empty());
        for small in 1..6 {
            assert_eq!(stratified(&labels[..small], None, [0.0, 0.5, 0.5], 0).unwrap().len(), small);
        }
    }

    #[test]
    fn bad_shares_are_refused() {
        for shares in [[0.5, 0.2, 0.2], [1.2, -0.2, 0.0], [f64::NAN, 0.5, 0.5]] {
            let message = stratified(&labels(), None, shares, 0).unwrap_err().to_string();
            assert!(message.contains("add up to 1"), "{message}");
        }
        let mut split = vec![Split::Train; 100];
        assert!(hold_out(&mut split, &labels(), None, 1.0, 0).is_err());
        assert!(hold_out(&mut split, &labels()[1..], None, 0.5, 0).is_err());
    }

    #[test]
    fn hold_out_takes_from_training_only() {
        let labels = labels();
        let mut split = stratified(&labels, None, [0.8, 0.0, 0.2], 1).unwrap();
        let test = indices(&split, Split::Test);
        hold_out(&mut split, &labels, None, 0.25, 9).unwrap();
        assert_eq!(indices(&split, Split::Test), test);
        assert_eq!(indices(&split, Split::Validation).len(), 20);
        assert!((0..3).all(|class| count(&split, &labels, Split::Validation, class) >= 1));
    }

    #[test]
    fn folds_are_even_in_every_class() {
        let labels = labels();
        let folds = Folds::stratified(&labels, None, 7, 2, 5).unwrap();
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
        assert!(Folds::stratified(&labels(), None, 1, 1, 0).is_err());
        assert!(Folds::stratified(&labels(), None, 101, 1, 0).is_err());
        assert!(Folds::stratified(&labels(), None, 5, 0, 0).is_err());
        let folds = Folds::new(vec![vec![0, 1]]).unwrap();
        assert!(folds.split(1, 0).is_err() && folds.split(0, 2).is_err());
    }
    /// Patients of one to four bags each, of the classes of `of`, and the group of each bag.
    fn patients(count: usize, of: impl Fn(usize) -> u32) -> (Vec<u32>, Vec<String>) {
        let bags = (0..count).flat_map(|p| std::iter::repeat_n(p, 1 + p * 7 % 4));
        let (labels, groups): (Vec<_>, Vec<_>) = bags.map(|p| (of(p), format!("P{p}"))).unzip();
        // Apart from each other, as in a file that is sorted by something else.
        let order = Random::new(3, 3).permutation(labels.len());
        (order.iter().map(|&b| labels[b]).collect(), order.iter().map(|&b| groups[b].clone()).collect())
    }

    #[test]
    fn groups_stay_whole_and_classes_keep_their_shares() {
        let (labels, groups) = patients(90, |p| u32::from(p % 3 == 0));
        let names: Vec<String> = (0..labels.len()).map(|b| b.to_string()).collect();
        for seed in 0..20 {
            let mut split = stratified(&labels, Some(&groups), [0.8, 0.0, 0.2], seed).unwrap();
            hold_out(&mut split, &labels, Some(&groups), 0.25, seed).unwrap();
            check_groups(&split, &groups, &names).unwrap();
            for (part, share) in Split::ALL.into_iter().zip([0.6, 0.2, 0.2]) {
                for class in 0..2 {
                    let of_class = labels.iter().filter(|&&l| l == class).count() as f64;
                    let off = count(&split, &labels, part, class) as f64 - share * of_class;
                    assert!(off.abs() <= 4.0, "{part:?} of class {class} is off by {off} of {of_class}");
                }
            }
            let folds = Folds::stratified(&labels, Some(&groups), 5, 2, seed).unwrap();
            assert_ne!(folds.of()[0], folds.of()[1]);
            for fold in 0..5 {
                let split = folds.split(1, fold).unwrap();
                check_groups(&split, &groups, &names).unwrap();
                let off = indices(&split, Split::Test).len() as f64 - labels.len() as f64 / 5.0;
                assert!(off.abs() <= 3.0, "fold {fold} is off by {off}");
            }
        }
        let again = |seed| stratified(&labels, Some(&groups), [0.5, 0.2, 0.3], seed).unwrap();
        assert_eq!(again(1), again(1));
        assert_ne!(again(1), again(2));
    }

    #[test]
    fn few_groups_fill_every_part_or_are_refused() {
        let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        let groups = words("a a a b b c");
        let split = stratified(&[0, 0, 0, 1, 1, 1], Some(&groups), [0.8, 0.1, 0.1], 0).unwrap();
        assert!(Split::ALL.iter().all(|&part| split.contains(&part)), "{split:?}");
        let refused = |result: Result<Vec<Split>>| result.unwrap_err().to_string();
        let two = words("a a b b");
        let message = refused(stratified(&[0, 0, 1, 1], Some(&two), [0.6, 0.2, 0.2], 0));
        assert!(message.contains("2 groups of bags cannot be divided into 3 parts"), "{message}");
        assert!(refused(stratified(&[0, 1], Some(&two), [0.5, 0.0, 0.5], 0)).contains("2 groups (one for each bag)"));
        assert!(Folds::stratified(&[0, 0, 1, 1], Some(&two), 3, 1, 0).is_err());
        let split = [Split::Train, Split::Train, Split::Train, Split::Test];
        let message = check_groups(&split, &two, &words("p q r s")).unwrap_err().to_string();
        assert!(message.contains("group 'b' is parted: bag 'r' is for train and bag 's' for test"), "{message}");
        assert_eq!(count_groups(&two), 2);
    }
}
