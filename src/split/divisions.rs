//! Divisions other than folds at random: test bags drawn again and again, and folds that no site is in two of.

use super::{Folds, MOST_REPEATS, check_count, deal, deal_groups, members};
use crate::error::{Error, Result};
use crate::random::Random;

/// Starts from which an assignment of sites to folds is improved; the best end is taken.
const STARTS: u64 = 64;
/// No more assignments than this are all looked at.
const ALL: usize = 1 << 16;

impl Folds {
    /// In the place of a fold: a bag that is tested in none of its division and always trains.
    pub const NEVER: u32 = u32::MAX;

    /// `count` divisions of one fold each, which tests a share of the bags that is drawn anew, class by class, groups whole
    /// (Monte-Carlo cross-validation). The other bags train.
    ///
    /// # Errors
    /// [`Error::Setting`] for a share that is not between 0 and 1 or leaves a part empty, and when there is no division.
    pub fn monte_carlo(labels: &[u32], groups: Option<&[String]>, count: usize, share: f64, seed: u64) -> Result<Self> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Error::setting(
                "folds",
                format!("expected a share of test bags between 0 and 1, found {share}"),
            ));
        }
        if !(1..=MOST_REPEATS).contains(&count) {
            return Err(Error::setting("folds", format!("expected 1 to {MOST_REPEATS} divisions, found {count}")));
        }
        let one = |division: usize| -> Result<Vec<u32>> {
            let mut random = Random::new(seed, division as u64);
            let parts = match groups {
                Some(groups) => deal_groups(labels, groups, &[1.0 - share, share], &mut random)?,
                None => {
                    let test = (labels.len() as f64 * share).round() as usize;
                    deal(labels, &[labels.len() - test, test], &mut random)
                }
            };
            if [0, 1].iter().any(|part| !parts.contains(part)) {
                let message =
                    format!("a share of {share} of {} bags leaves none to test or to train with", labels.len());
                return Err(Error::setting("folds", message));
            }
            Ok(parts.into_iter().map(|part| if part == 1 { 0 } else { Self::NEVER }).collect())
        };
        Ok(Self { of: (0..count).map(one).collect::<Result<_>>()? })
    }

    /// `count` folds that have whole sites and whole groups, with the classes as evenly over the folds as that allows: the sum of
    /// squared distances of all classes, and of the sizes, from their shares is the least there is where that can be looked up, and
    /// else the least that was found from many starts (site-preserved cross-validation, Howard et al., Nature Communications 12, 2021).
    ///
    /// Sites that a group has bags of two of stay together.
    ///
    /// # Errors
    /// [`Error::Setting`] when there are fewer sites than folds, or fewer than two folds; [`Error::Shape`] when there is not one
    /// site for each bag.
    pub fn by_site(
        labels: &[u32],
        groups: Option<&[String]>,
        sites: &[String],
        count: usize,
        seed: u64,
    ) -> Result<Self> {
        let blocks = blocks(labels.len(), groups, sites)?;
        if count < 2 || count > blocks.len() {
            let message = format!("expected 2 to {} (the sites that share no patient), found {count}", blocks.len());
            return Err(Error::setting("folds", message));
        }
        let counts = Counts::of(labels, &blocks, count);
        let starts = (0..STARTS).map(|start| {
            let mut part_of = counts.dealt(&mut Random::new(seed, start));
            counts.improve(&mut part_of);
            part_of
        });
        let ends: Box<dyn Iterator<Item = Vec<usize>>> =
            match u32::try_from(blocks.len()).ok().and_then(|n| count.checked_pow(n)) {
                Some(all) if all <= ALL => {
                    Box::new((0..all).map(|code| counts.numbered(code)).filter(|of| counts.is_full(of)))
                }
                _ => Box::new(starts),
            };
        // The first of equals.
        let best =
            ends.min_by(|a, b| counts.off(a).total_cmp(&counts.off(b))).expect("there is one without an empty fold");
        Ok(Self { of: vec![spread(&blocks, &best, labels.len())] })
    }

    /// A fold for each site. Sites that a group has bags of two of are one.
    ///
    /// # Errors
    /// [`Error::Setting`] for a single site, [`Error::Shape`] when there is not one for each bag.
    pub fn of_each_site(groups: Option<&[String]>, sites: &[String]) -> Result<Self> {
        let blocks = blocks(sites.len(), groups, sites)?;
        if blocks.len() < 2 {
            return Err(Error::setting("folds", "expected two sites at least that share no patient, found one"));
        }
        let each: Vec<usize> = (0..blocks.len()).collect();
        Ok(Self { of: vec![spread(&blocks, &each, sites.len())] })
    }

    /// How many bags of each class each fold of a division tests, `[fold][class]`; bags of other labels are not counted.
    pub fn class_counts(&self, repeat: usize, labels: &[u32], classes: usize) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; classes]; self.count(repeat)];
        for (&fold, &label) in self.of.get(repeat).into_iter().flatten().zip(labels) {
            if let Some(count) = counts.get_mut(fold as usize).and_then(|of| of.get_mut(label as usize)) {
                *count += 1;
            }
        }
        counts
    }
}

/// The fold of each bag.
fn spread(blocks: &[Vec<usize>], part_of: &[usize], bags: usize) -> Vec<u32> {
    let mut folds = vec![0; bags];
    blocks.iter().zip(part_of).for_each(|(block, &part)| block.iter().for_each(|&bag| folds[bag] = part as u32));
    folds
}

/// The bags of each site, sites joined where a group has bags of several.
fn blocks(bags: usize, groups: Option<&[String]>, sites: &[String]) -> Result<Vec<Vec<usize>>> {
    check_count(sites, bags)?;
    groups.map_or(Ok(()), |groups| check_count(groups, bags))?;
    let sites = members(sites);
    let Some(groups) = groups else { return Ok(sites) };
    let mut site_of = vec![0; bags];
    sites.iter().enumerate().for_each(|(site, bags)| bags.iter().for_each(|&bag| site_of[bag] = site));
    // Each site points to one before it, or to itself.
    let mut joined: Vec<usize> = (0..sites.len()).collect();
    fn root(joined: &[usize], mut site: usize) -> usize {
        while joined[site] != site {
            site = joined[site];
        }
        site
    }
    for group in members(groups) {
        for pair in group.windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|bag| root(&joined, site_of[bag]));
            joined[a.max(b)] = a.min(b);
        }
    }
    let mut blocks: Vec<Vec<usize>> = vec![Vec::new(); sites.len()];
    (0..bags).for_each(|bag| blocks[root(&joined, site_of[bag])].push(bag));
    blocks.retain(|block| !block.is_empty());
    Ok(blocks)
}

/// Of each block how many bags of each class it has, and last how many in all, each as a share of what a fold should have.
struct Counts {
    of: Vec<Vec<f64>>,
    folds: usize,
}

impl Counts {
    fn of(labels: &[u32], blocks: &[Vec<usize>], folds: usize) -> Self {
        let mut classes = labels.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let total = |class: usize| match classes.get(class) {
            Some(of) => labels.iter().filter(|label| *label == of).count(),
            None => labels.len(),
        };
        let due: Vec<f64> = (0..=classes.len()).map(|class| total(class) as f64 / folds as f64).collect();
        let one = |block: &Vec<usize>| {
            let mut counts = vec![0.0; classes.len() + 1];
            for &bag in block {
                counts[classes.partition_point(|class| *class < labels[bag])] += 1.0;
                counts[classes.len()] += 1.0;
            }
            counts.iter().zip(&due).map(|(count, due)| count / due).collect()
        };
        Self { of: blocks.iter().map(one).collect(), folds }
    }

    /// Of all assignments the one with this number.
    fn numbered(&self, mut code: usize) -> Vec<usize> {
        let mut next = || {
            let part = code % self.folds;
            code /= self.folds;
            part
        };
        self.of.iter().map(|_| next()).collect()
    }

    /// True when no fold is empty.
    fn is_full(&self, part_of: &[usize]) -> bool {
        (0..self.folds).all(|part| part_of.contains(&part))
    }

    /// What each fold has.
    fn given(&self, part_of: &[usize]) -> Vec<Vec<f64>> {
        let mut given = vec![vec![0.0; self.of[0].len()]; self.folds];
        for (block, &part) in self.of.iter().zip(part_of) {
            given[part].iter_mut().zip(block).for_each(|(all, more)| *all += more);
        }
        given
    }

    /// The sum of the squared distances from what each fold should have.
    fn off(&self, part_of: &[usize]) -> f64 {
        self.given(part_of).iter().flatten().map(|share| (share - 1.0).powi(2)).sum()
    }

    /// The largest blocks first, by and large, each to the fold where it takes the distance down most;
    /// then the folds that came away empty.
    fn dealt(&self, random: &mut Random) -> Vec<usize> {
        let size = |block: usize| self.of[block].last().copied().unwrap_or(0.0);
        let keys: Vec<f64> = (0..self.of.len()).map(|block| size(block) * (0.5 + random.uniform())).collect();
        let mut order: Vec<usize> = (0..self.of.len()).collect();
        order.sort_by(|&a, &b| keys[b].total_cmp(&keys[a]));
        let mut given = vec![vec![0.0; self.of[0].len()]; self.folds];
        let mut part_of = vec![0; self.of.len()];
        for (at, &block) in order.iter().enumerate() {
            let more = |part: usize| -> f64 {
                given[part].iter().zip(&self.of[block]).map(|(have, more)| more * (2.0 * (have - 1.0) + more)).sum()
            };
            let empty = |part: usize| given[part].last() == Some(&0.0);
            let empties = (0..self.folds).filter(|&part| empty(part)).count();
            // As many blocks are left as folds are empty.
            let must = order.len() - at == empties;
            let open = (0..self.folds).filter(|&part| !must || empty(part));
            let part = open.min_by(|&a, &b| more(a).total_cmp(&more(b))).unwrap_or(0);
            given[part].iter_mut().zip(&self.of[block]).for_each(|(all, more)| *all += more);
            part_of[block] = part;
        }
        part_of
    }

    /// Moves a block to another fold, or lets two change places, as long as that helps; no fold becomes empty.
    fn improve(&self, part_of: &mut [usize]) {
        let blocks = part_of.len();
        let mut least = self.off(part_of);
        loop {
            let before = least;
            for a in 0..blocks {
                for part in 0..self.folds {
                    let from = part_of[a];
                    if part == from || part_of.iter().filter(|p| **p == from).count() == 1 {
                        continue;
                    }
                    part_of[a] = part;
                    match self.off(part_of) {
                        off if off < least - 1e-12 => least = off,
                        _ => part_of[a] = from,
                    }
                }
                for b in 0..a {
                    part_of.swap(a, b);
                    match self.off(part_of) {
                        off if off < least - 1e-12 => least = off,
                        _ => part_of.swap(a, b),
                    }
                }
            }
            if least >= before {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Split, check_groups, indices};
    use super::*;

    fn names(prefix: &str, of: impl Iterator<Item = usize>) -> Vec<String> {
        of.map(|at| format!("{prefix}{at}")).collect()
    }

    #[test]
    fn monte_carlo_draws_shares_of_each_class_with_whole_groups() {
        let labels: Vec<u32> = (0..120).map(|bag| u32::from(bag / 2 % 4 == 0)).collect();
        let groups = names("p", (0..120).map(|bag| bag / 2));
        for groups in [None, Some(&groups[..])] {
            let folds = Folds::monte_carlo(&labels, groups, 20, 0.25, 3).unwrap();
            assert_eq!((folds.repeats(), folds.count(0)), (20, 1));
            assert_ne!(folds.of()[0], folds.of()[1]);
            for division in 0..20 {
                let parts = folds.split(division, 0).unwrap();
                let test = indices(&parts, Split::Test);
                let positive = test.iter().filter(|&&bag| labels[bag] == 1).count();
                assert!(test.len().abs_diff(30) <= 2 && positive.abs_diff(7) <= 2, "{} {positive}", test.len());
                if let Some(groups) = groups {
                    check_groups(&parts, groups, &names("", 0..120)).unwrap();
                }
            }
            assert_eq!(folds, Folds::monte_carlo(&labels, groups, 20, 0.25, 3).unwrap());
            // More divisions begin with the same ones.
            assert_eq!(folds.of()[..5], *Folds::monte_carlo(&labels, groups, 5, 0.25, 3).unwrap().of());
        }
        for (count, share) in [(0, 0.2), (5, 0.0), (5, 1.0), (5, f64::NAN), (5, 1e-6), (2000, 0.2)] {
            assert!(Folds::monte_carlo(&labels, None, count, share, 1).is_err(), "{count} {share}");
        }
    }

    /// Sites of very different size and mixture.
    fn sites(seed: u64, count: usize) -> (Vec<u32>, Vec<String>) {
        let mut random = Random::new(seed, 0);
        let mut all = (Vec::new(), Vec::new());
        for site in 0..count {
            let (bags, share) = (1 + random.below(12), random.uniform());
            for _ in 0..bags {
                all.0.push(u32::from(random.uniform() < share));
                all.1.push(format!("site {site}"));
            }
        }
        all
    }

    #[test]
    fn sites_are_whole_and_as_even_as_can_be() {
        for seed in 0..12 {
            let (labels, sites) = sites(seed, 6);
            let blocks = blocks(labels.len(), None, &sites).unwrap();
            let counts = Counts::of(&labels, &blocks, 3);
            let folds = Folds::by_site(&labels, None, &sites, 3, 1).unwrap();
            let found: Vec<usize> = blocks.iter().map(|block| folds.of()[0][block[0]] as usize).collect();
            for (block, part) in blocks.iter().zip(&found) {
                assert!(block.iter().all(|&bag| folds.of()[0][bag] as usize == *part));
            }
            // Of all assignments without an empty fold none is better.
            let all = (0..3usize.pow(6)).map(|code| (0..6).map(|at| code / 3usize.pow(at) % 3).collect::<Vec<_>>());
            let full = all.filter(|part_of| (0..3).all(|part| part_of.contains(&part)));
            let least = full.map(|part_of| counts.off(&part_of)).fold(f64::INFINITY, f64::min);
            assert!(counts.off(&found) < least + 1e-9, "seed {seed}: {} and {least}", counts.off(&found));
            // From starts it comes close.
            let mut end = counts.dealt(&mut Random::new(1, 0));
            counts.improve(&mut end);
            assert!(counts.off(&end) < 1.5 * least + 0.1, "seed {seed}: {} and {least}", counts.off(&end));
        }
        let (labels, sites) = sites(3, 40);
        let folds = Folds::by_site(&labels, None, &sites, 5, 1).unwrap();
        let counts = folds.class_counts(0, &labels, 2);
        let positive: Vec<usize> = counts.iter().map(|of| of[1]).collect();
        assert!(positive.iter().max().unwrap() - positive.iter().min().unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn sites_that_share_a_patient_stay_together() {
        let sites = ["a", "a", "b", "c", "c", "d"].map(String::from);
        let groups = ["1", "2", "2", "3", "3", "4"].map(String::from);
        let folds = Folds::of_each_site(Some(&groups), &sites).unwrap();
        assert_eq!(folds.of(), [[0, 0, 0, 1, 1, 2]]);
        assert_eq!(Folds::of_each_site(None, &sites).unwrap().of(), [[0, 0, 1, 2, 2, 3]]);
        let labels = [0, 1, 0, 1, 0, 1];
        assert!(Folds::by_site(&labels, Some(&groups), &sites, 4, 1).unwrap_err().to_string().contains("2 to 3"));
        assert!(Folds::by_site(&labels, None, &sites[1..], 2, 1).is_err());
        assert!(Folds::of_each_site(None, &sites[..2]).unwrap_err().to_string().contains("two sites at least"));
        // As many sites as folds: each has one.
        let found = Folds::by_site(&labels, None, &sites, 4, 1).unwrap();
        assert_eq!(found.count(0), 4);
    }
}
