//! Bags of several classes drawn from a pool of labelled images, after the multi-class variant of MNIST-bags.
//!
//! Source: Shi, Xing, Xie, Zhang, Liu, Zhang, "Loss-based attention for deep multiple instance learning", AAAI 2020, and
//! the data loader of the authors' program. Each bag may hold one of the class digits and none of the others; without
//! it the bag is of class 0. A bag's images are drawn without repetition, and classes are as frequent as they come.

use super::mil_bags::{DIGITS_TRAIN_IMAGES, POOLS, Pool, assemble, check_sizes, draw_size, same_images};
use super::{Dataset, Key, Views};
use crate::error::{Error, Result};
use crate::random::Random;

/// How bags of several classes are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassBags {
    /// The label that makes a bag of class 1, of class 2, and so on.
    pub classes: Vec<u8>,
    /// Mean of the normal draw that gives the size of a bag, in instances.
    pub mean: f64,
    /// Its standard deviation. A draw is cut to an integer toward zero and is at least 1.
    pub spread: f64,
    /// Number of training bags.
    pub train: usize,
    /// Number of test bags.
    pub test: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for ClassBags {
    /// The paper's settings: 3, 5 and 9, size 10 +- 2, 200 training and 1000 test bags.
    fn default() -> Self {
        Self { classes: vec![3, 5, 9], mean: 10.0, spread: 2.0, train: 200, test: 1000, seed: 1 }
    }
}

impl ClassBags {
    /// The images of `count` bags as indices into a pool with `labels`.
    fn draw(&self, labels: &[u8], count: usize, random: &mut Random) -> Vec<Vec<usize>> {
        let one = |_| {
            let kept = self.classes[random.below(self.classes.len())];
            let left = |&i: &usize| labels[i] == kept || !self.classes.contains(&labels[i]);
            let size = draw_size(self.mean, self.spread, random);
            let mut images = Vec::with_capacity(size);
            while images.len() < size {
                let image = random.below(labels.len());
                if left(&image) && !images.contains(&image) {
                    images.push(image);
                }
            }
            images
        };
        (0..count).map(one).collect()
    }

    fn check(&self, pool: &Pool, part: &str) -> Result<()> {
        // Far above the mean, so that drawing without repetition ends soon.
        let most = self.mean + 8.0 * self.spread;
        let others = pool.labels().iter().filter(|l| !self.classes.contains(l)).count();
        if most > others as f64 / 2.0 {
            let message =
                format!("mean + 8 spread is {most}, with {others} {part} images of no class digit to draw from");
            return Err(Error::setting("mean", message));
        }
        match self.classes.iter().find(|c| !pool.labels().contains(c)) {
            Some(class) => Err(Error::setting("classes", format!("no {part} image is a {class}"))),
            None => Ok(()),
        }
    }

    /// Draws the training bags from `train` and the test bags from `test`.
    ///
    /// The instance labels are the labels of the images, the keys are the class digits. The same seed gives the same
    /// bags; the first bags do not depend on the number of bags.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is out of range or a pool that is drawn from has too few images,
    /// [`Error::Shape`] when the pools hold images of different sizes.
    pub fn bags(&self, train: &Pool, test: &Pool, name: &str) -> Result<Dataset> {
        check_sizes(self.mean, self.spread, [self.train, self.test])?;
        same_images(train, test)?;
        let mut distinct = self.classes.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if self.classes.is_empty() || distinct.len() < self.classes.len() {
            let message = format!("expected different digits, such as 3:5:9, found {:?}", self.classes);
            return Err(Error::setting("classes", message));
        }
        for (part, pool, count) in [("training", train, self.train), ("test", test, self.test)] {
            if count > 0 {
                self.check(pool, part)?;
            }
        }
        let draw = |pool: &Pool, count: usize, random: &mut Random| self.draw(pool.labels(), count, random);
        let label = |digits: &[u8]| self.classes.iter().position(|c| digits.contains(c)).map_or(0, |at| at as u32 + 1);
        let mut set =
            assemble([(train, self.train), (test, self.test)], self.seed, name, draw, label, &Views::default())?;
        let with = self.classes.iter().map(|class| format!("with {class}"));
        set.bags.class_names = std::iter::once("without".to_owned()).chain(with).collect();
        set.key = Key::Labels(self.classes.iter().map(|&c| i32::from(c)).collect());
        Ok(set)
    }

    /// Bags of the shipped digits, from the same two parts as [`super::Protocol::digits_bags`].
    ///
    /// # Errors
    /// As [`ClassBags::bags`].
    pub fn digits(&self) -> Result<Dataset> {
        let pools = super::digits::digits()?.split(DIGITS_TRAIN_IMAGES, &mut Random::new(self.seed, POOLS))?;
        self.bags(&pools[0], &pools[1], "digits-classes")
    }

    /// Bags of MNIST, read from the four files in `folder`.
    ///
    /// # Errors
    /// As [`ClassBags::bags`] and [`super::idx::mnist`].
    pub fn mnist(&self, folder: &std::path::Path) -> Result<Dataset> {
        let [train, test] = super::idx::mnist(folder)?;
        self.bags(&train, &test, "mnist-classes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use std::collections::HashSet;

    fn small() -> ClassBags {
        ClassBags { train: 300, test: 100, ..ClassBags::default() }
    }

    #[test]
    fn a_bag_holds_its_class_and_no_other() {
        let set = small().digits().unwrap();
        assert_eq!((set.bags.len(), set.bags.classes(), set.indices(Split::Test).len()), (400, 4, 100));
        let (labels, digits) = (set.bags.labels.as_ref().unwrap(), set.bags.instance_labels.as_ref().unwrap());
        let mut counts = [0; 4];
        for b in 0..400 {
            let held: HashSet<i32> =
                digits[set.bags.rows(b)].iter().copied().filter(|d| [3, 5, 9].contains(d)).collect();
            let expected = [None, Some(3), Some(5), Some(9)][labels[b] as usize];
            assert_eq!(held, expected.into_iter().collect(), "bag {b} of class {}", labels[b]);
            counts[labels[b] as usize] += 1;
        }
        // About 28 in 100 hold none of their digit; four standard deviations of 400 draws are 36.
        assert!((76..=148).contains(&counts[0]) && counts[1..].iter().all(|c| (60..=132).contains(c)), "{counts:?}");
        let targets = set.instance_targets().unwrap();
        assert!((0..digits.len()).all(|i| (targets[i] == 1) == [3, 5, 9].contains(&digits[i])));
        set.check_for_training().unwrap();
    }

    #[test]
    fn images_do_not_repeat_within_a_bag_and_a_seed_gives_the_same_bags() {
        let set = small().digits().unwrap();
        let values = set.bags.features.to_f32();
        for b in 0..400 {
            let rows = set.bags.rows(b);
            let images: HashSet<Vec<u32>> =
                rows.clone().map(|r| values[r * 64..(r + 1) * 64].iter().map(|v| v.to_bits()).collect()).collect();
            assert_eq!(images.len(), rows.len(), "bag {b}");
        }
        assert_eq!(small().digits().unwrap().bags.features, set.bags.features);
        let fewer = ClassBags { train: 20, ..small() }.digits().unwrap();
        let part = |s: &Dataset, n: usize| s.bags.select(&s.indices(Split::Train)[..n]).unwrap().features;
        assert_eq!(part(&fewer, 20), part(&set, 20));
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |bags: ClassBags| bags.digits().unwrap_err().to_string();
        assert!(refused(ClassBags { classes: vec![], ..small() }).contains("found []"));
        assert!(refused(ClassBags { classes: vec![3, 3], ..small() }).contains("found [3, 3]"));
        assert!(refused(ClassBags { classes: vec![3, 10], ..small() }).contains("no training image is a 10"));
        assert!(refused(ClassBags { mean: 1000.0, ..small() }).contains("images of no class digit"));
        assert!(refused(ClassBags { train: 0, test: 0, ..small() }).contains("at least one training or test bag"));
    }
}
