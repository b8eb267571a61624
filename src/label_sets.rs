//! Bags that carry several labels at once: each shows any subset of C findings.

use crate::error::{Error, Result};

/// The label of a bag of which nothing is known.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// Which of C labels each bag has, `[bags, C]`: `Some(true)` where it has the label, `Some(false)` where it has not, and
/// `None` where nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelSets {
    labels: usize,
    values: Vec<Option<bool>>,
}

impl LabelSets {
    /// Checked construction from `[bags, labels]`, row by row.
    ///
    /// # Errors
    /// [`Error::Bags`] for fewer than two labels, or values that are not so many for each bag.
    ///
    /// ```
    /// # use bagrad::LabelSets;
    /// let sets = LabelSets::new(2, vec![Some(true), Some(false), None, Some(true)])?;
    /// assert_eq!((sets.len(), sets.labels(), sets.get(1)), (2, 2, Some(&[None, Some(true)][..])));
    /// # Ok::<(), bagrad::Error>(())
    /// ```
    pub fn new(labels: usize, values: Vec<Option<bool>>) -> Result<Self> {
        if labels < 2 {
            let message = format!("label sets are of two labels or more, found {labels}; one is a plain label");
            return Err(Error::bags(message));
        }
        if !values.len().is_multiple_of(labels) {
            let message = format!("label sets of {labels} labels: {} values are no whole number of bags", values.len());
            return Err(Error::bags(message));
        }
        Ok(Self { labels, values })
    }

    /// Number of bags.
    pub fn len(&self) -> usize {
        self.values.len() / self.labels
    }

    /// True when there is no bag.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Number C of labels that a bag may have.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// What is known of each label of bag `bag`; `None` when there is no such bag.
    pub fn get(&self, bag: usize) -> Option<&[Option<bool>]> {
        self.values.chunks_exact(self.labels).nth(bag)
    }

    /// The bags, in order.
    pub fn bags(&self) -> impl Iterator<Item = &[Option<bool>]> {
        self.values.chunks_exact(self.labels)
    }

    /// What is known of bag `bag`, which there is.
    pub(crate) fn bag(&self, bag: usize) -> &[Option<bool>] {
        &self.values[bag * self.labels..(bag + 1) * self.labels]
    }

    /// True when something is known of this bag.
    pub fn is_known(&self, bag: usize) -> bool {
        self.get(bag).is_some_and(|of| of.iter().any(Option::is_some))
    }

    /// What is known of one label, over the bags; nothing when there is no such label.
    pub fn column(&self, label: usize) -> impl Iterator<Item = Option<bool>> + '_ {
        self.values.iter().skip(label).step_by(self.labels).copied()
    }

    /// How many of these bags have label `label`, and of how many that is known.
    pub(crate) fn counts(&self, label: usize, bags: &[usize]) -> (usize, usize) {
        let known = || bags.iter().filter_map(|&bag| self.bag(bag)[label]);
        (known().filter(|&has| has).count(), known().count())
    }

    /// The bags of `indices`, which there are, in that order.
    pub(crate) fn select(&self, indices: &[usize]) -> Self {
        Self { labels: self.labels, values: indices.iter().flat_map(|&bag| self.bag(bag)).copied().collect() }
    }

    /// Other labels in the place of these: label `c` comes from all of `from[c]`, and nothing is known of it where that
    /// is empty. Of several a bag has the one label when it has any of them.
    pub(crate) fn arranged(&self, from: &[Vec<usize>]) -> Self {
        let one = |of: &[Option<bool>], from: &Vec<usize>| match from.iter().any(|&label| of[label] == Some(true)) {
            true => Some(true),
            false if from.is_empty() || from.iter().any(|&label| of[label].is_none()) => None,
            false => Some(false),
        };
        let values = self.bags().flat_map(|of| from.iter().map(move |from| one(of, from))).collect();
        Self { labels: from.len(), values }
    }

    /// A stratum for each bag, by which a division is balanced: the rarest of the labels that it has (of equally rare ones
    /// the first), C for none of them, and [`crate::Bags::UNKNOWN`] where nothing is known.
    pub fn strata(&self) -> Vec<u32> {
        let bags: Vec<usize> = (0..self.len()).collect();
        let counts: Vec<usize> = (0..self.labels).map(|label| self.counts(label, &bags).0).collect();
        let rarest = |of: &[Option<bool>]| {
            let has = (0..self.labels).filter(|&label| of[label] == Some(true));
            match of.iter().any(Option::is_some) {
                true => has.min_by_key(|&label| counts[label]).unwrap_or(self.labels) as u32,
                false => UNKNOWN,
            }
        };
        self.bags().map(rarest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);

    fn sets() -> LabelSets {
        LabelSets::new(3, [[YES, NO, YES], [YES, NO, NO], [NO, NO, NO], [None, None, None], [NO, YES, None]].concat())
            .unwrap()
    }

    #[test]
    fn rows_are_bags() {
        let sets = sets();
        assert_eq!((sets.len(), sets.labels(), sets.is_empty()), (5, 3, false));
        assert_eq!((sets.get(4), sets.get(5)), (Some(&[NO, YES, None][..]), None));
        assert_eq!([2, 3, 9].map(|bag| sets.is_known(bag)), [true, false, false]);
        assert_eq!(sets.column(2).collect::<Vec<_>>(), [YES, NO, NO, None, None]);
        assert_eq!(sets.counts(0, &[0, 2, 3]), (1, 2));
        assert_eq!(sets.select(&[4, 0]).values, [NO, YES, None, YES, NO, YES]);
        assert!(LabelSets::new(1, vec![YES]).unwrap_err().to_string().contains("found 1"));
        assert!(LabelSets::new(2, vec![YES; 3]).unwrap_err().to_string().contains("3 values"));
    }

    #[test]
    fn the_rarest_label_is_the_stratum() {
        // Label 0 has two bags, labels 1 and 2 one each.
        assert_eq!(sets().strata(), [2, 0, 3, UNKNOWN, 1]);
    }

    #[test]
    fn labels_are_put_in_another_order_and_joined() {
        let arranged = sets().arranged(&[vec![2], vec![], vec![0, 1]]);
        let wanted = [[YES, None, YES], [NO, None, YES], [NO, None, NO], [None; 3], [None, None, YES]];
        assert_eq!(arranged.bags().collect::<Vec<_>>(), wanted);
    }
}
