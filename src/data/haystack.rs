//! Long bags with few key instances: what a positive bag holds of the target digit is a small share of it, as a
//! small tumour is of a slide.
//!
//! Ours. Images come from the pools of [`super::mil_bags`]; negative bags hold no target.

use super::mil_bags::{DIGITS_TRAIN_IMAGES, POOLS, Pool, bags_with, check_sizes};
use super::{Dataset, Views};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use crate::random::Random;

/// How the bags are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Haystack {
    /// The label that makes a bag positive.
    pub target: u8,
    /// Least and largest size of a bag, in instances; sizes are uniform between them.
    pub size: [usize; 2],
    /// Least and largest share of key instances in a positive bag, uniform between them; at least one instance.
    pub share: [f64; 2],
    /// Standard deviation of normal noise on every feature of every instance, which makes keys hard to tell.
    pub noise: f64,
    /// How strong the stain of a bag is, its context: all its instances are moved by so many times a pattern of normal
    /// numbers, or by as much the other way; 0 for none.
    pub stain: f64,
    /// Share of the training bags whose stain is that of their class; test bags have either by chance.
    pub confounded: f64,
    /// Number of training bags.
    pub train: usize,
    /// Number of test bags.
    pub test: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Haystack {
    /// Target 9, 500 to 5000 instances of which 1 to 5 % are key, no stain, 100 training and 100 test bags.
    fn default() -> Self {
        Self {
            target: 9,
            size: [500, 5000],
            share: [0.01, 0.05],
            noise: 0.0,
            stain: 0.0,
            confounded: 0.5,
            train: 100,
            test: 100,
            seed: 1,
        }
    }
}

/// Stream of the seed for the noise; those of bags and pools are in [`super::mil_bags`].
const NOISE: u64 = 3;
/// Those for the pattern of stains, and for the stains of the bags of a part.
const STAIN: u64 = 5;

impl Haystack {
    fn check(&self) -> Result<()> {
        let ([least, most], [low, high]) = (self.size, self.share);
        if least == 0 || least > most || most > 1_000_000 {
            let message = format!("expected 1 to 1000000 instances, the smaller first, found {least}:{most}");
            return Err(Error::setting("size", message));
        }
        if !(low > 0.0 && low <= high && high < 1.0) {
            let message = format!("expected shares above 0 and below 1, the smaller first, found {low}:{high}");
            return Err(Error::setting("share", message));
        }
        if !(0.0..=1e3).contains(&self.noise) {
            return Err(Error::setting("noise", format!("expected 0 to 1000, found {}", self.noise)));
        }
        if !(0.0..=1e3).contains(&self.stain) {
            return Err(Error::setting("stain", format!("expected 0 to 1000, found {}", self.stain)));
        }
        if !(0.0..=1.0).contains(&self.confounded) {
            return Err(Error::setting("confounded", format!("expected 0 to 1, found {}", self.confounded)));
        }
        check_sizes((least + most) as f64 / 2.0, 0.0, [self.train, self.test])
    }

    /// Images of `count` bags, positive and negative in turn, the first positive.
    fn draw(&self, labels: &[u8], count: usize, random: &mut Random) -> Vec<Vec<usize>> {
        let (keys, others): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|&i| labels[i] == self.target);
        let one = |bag: usize| {
            let size = self.size[0] + random.below(self.size[1] - self.size[0] + 1);
            let share = self.share[0] + (self.share[1] - self.share[0]) * random.uniform();
            let wanted = if bag.is_multiple_of(2) { ((share * size as f64).round() as usize).max(1) } else { 0 };
            let of = |pool: &[usize], random: &mut Random| pool[random.below(pool.len())];
            let mut images: Vec<usize> =
                (0..size).map(|i| of(if i < wanted { &keys } else { &others }, random)).collect();
            random.shuffle(&mut images);
            images
        };
        (0..count).map(one).collect()
    }

    /// Draws the training bags from `train` and the test bags from `test`.
    ///
    /// The instance labels are the labels of the images, the key is the target, and the classes are "without"
    /// and "with" it. The same seed gives the same bags; the first bags do not depend on the number of bags.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is out of range or a pool that is drawn from lacks the target or has
    /// nothing else, [`Error::Shape`] when the pools hold images of different sizes.
    pub fn bags(&self, train: &Pool, test: &Pool, name: &str) -> Result<Dataset> {
        self.check()?;
        let draw = |labels: &[u8], count: usize, random: &mut Random| self.draw(labels, count, random);
        let mut set =
            bags_with(self.target, [(train, self.train), (test, self.test)], self.seed, name, draw, &Views::default())?;
        if let (true, Features::F32(values)) = (self.noise > 0.0, &mut set.bags.features) {
            // Each part has a stream of its own, so that more training bags leave the test bags as they are.
            let (first, rest) = values.split_at_mut(set.bags.offsets[self.train] * set.bags.width);
            for (part, values) in [first, rest].into_iter().enumerate() {
                let mut random = Random::new(self.seed, NOISE + part as u64);
                values.iter_mut().for_each(|v| *v += (self.noise * random.normal()) as f32);
            }
        }
        self.stain(&mut set.bags);
        Ok(set)
    }

    /// Moves the instances of each bag by its stain.
    fn stain(&self, bags: &mut Bags) {
        let (true, Features::F32(values), Some(labels)) = (self.stain > 0.0, &mut bags.features, &bags.labels) else {
            return;
        };
        let mut random = Random::new(self.seed, STAIN);
        let pattern: Vec<f32> = (0..bags.width).map(|_| (self.stain * random.normal()) as f32).collect();
        for (part, numbers) in [0..self.train, self.train..labels.len()].into_iter().enumerate() {
            // A stream a part, as of the noise.
            let mut random = Random::new(self.seed, STAIN + 1 + part as u64);
            for bag in numbers {
                let own = random.uniform() < if part == 0 { self.confounded } else { 0.5 };
                let side = if (labels[bag] == 1) == own { 1.0 } else { -1.0 };
                let range = bags.offsets[bag] * bags.width..bags.offsets[bag + 1] * bags.width;
                for row in values[range].chunks_exact_mut(bags.width) {
                    row.iter_mut().zip(&pattern).for_each(|(value, move_by)| *value += side * move_by);
                }
            }
        }
    }

    /// Bags of the shipped digits; training and test bags come from disjoint images, as those of
    /// [`super::Protocol::digits_bags`].
    ///
    /// # Errors
    /// As [`Haystack::bags`].
    pub fn digits(&self) -> Result<Dataset> {
        let pools = super::digits::digits()?.split(DIGITS_TRAIN_IMAGES, &mut Random::new(self.seed, POOLS))?;
        self.bags(&pools[0], &pools[1], "digits-haystack")
    }

    /// Bags of MNIST, read from the four files in `folder`.
    ///
    /// # Errors
    /// As [`Haystack::bags`] and [`super::idx::mnist`].
    pub fn mnist(&self, folder: &std::path::Path) -> Result<Dataset> {
        let [train, test] = super::idx::mnist(folder)?;
        self.bags(&train, &test, "mnist-haystack")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Split;
    use super::*;

    fn small() -> Haystack {
        Haystack { size: [50, 400], train: 20, test: 10, ..Haystack::default() }
    }

    #[test]
    fn bags_hold_the_share_they_should() {
        let set = small().digits().unwrap();
        let (labels, digits) = (set.bags.labels.as_ref().unwrap(), set.bags.instance_labels.as_ref().unwrap());
        assert_eq!((set.bags.len(), set.bags.width, &set.name[..]), (30, 64, "digits-haystack"));
        let targets = set.instance_targets().unwrap();
        let mut last = false;
        for (bag, &label) in labels.iter().enumerate() {
            let rows = set.bags.rows(bag);
            let (size, keys) = (rows.len(), digits[rows.clone()].iter().filter(|&&d| d == 9).count());
            assert!((50..=400).contains(&size), "{size}");
            assert_eq!(label, u32::from((bag % 20).is_multiple_of(2)));
            match label {
                0 => assert_eq!(keys, 0),
                _ => {
                    let (low, high) = (0.01 * size as f64 - 0.5, (0.05 * size as f64).max(1.0) + 0.5);
                    assert!((1..).contains(&keys) && (low..=high).contains(&(keys as f64)), "{keys} of {size}");
                    // Keys lie anywhere in the bag.
                    last |= digits[rows.start + size / 2..rows.end].contains(&9);
                }
            }
            assert!(rows.clone().all(|i| targets[i] == u8::from(digits[i] == 9)));
        }
        assert!(last);
        set.check_for_training().unwrap();
    }

    #[test]
    fn a_seed_gives_the_same_bags_and_more_bags_keep_the_first() {
        for noise in [0.0, 0.5] {
            let small = Haystack { noise, ..small() };
            let (set, again) = (small.digits().unwrap(), small.digits().unwrap());
            assert_eq!(set.bags.features, again.bags.features);
            assert_ne!(Haystack { seed: 2, ..small.clone() }.digits().unwrap().bags.features, set.bags.features);
            let more = Haystack { train: 30, ..small }.digits().unwrap();
            let part = |s: &Dataset, part, n: usize| s.bags.select(&s.indices(part)[..n]).unwrap().features;
            for (kind, n) in [(Split::Train, 20), (Split::Test, 10)] {
                assert_eq!(part(&more, kind, n), part(&set, kind, n));
            }
        }
    }

    #[test]
    fn noise_has_its_deviation() {
        let difference = |noise: f64| {
            let (a, b) = (small().digits().unwrap(), Haystack { noise, ..small() }.digits().unwrap());
            let (a, b) = (a.bags.features.to_f32(), b.bags.features.to_f32());
            (a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
        };
        assert!((difference(0.5) - 0.5).abs() < 0.01);
        assert_eq!(difference(0.0), 0.0);
    }

    #[test]
    fn stains_go_with_classes_as_often_as_they_should() {
        let of = |stain: f64| Haystack { stain, confounded: 0.9, train: 400, test: 400, size: [2, 4], ..small() };
        let (plain, stained) = (of(0.0).digits().unwrap(), of(2.0).digits().unwrap());
        let (a, b) = (plain.bags.features.to_f32(), stained.bags.features.to_f32());
        let labels = plain.bags.labels.as_ref().unwrap();
        let first: Vec<f32> = b[..64].iter().zip(&a).map(|(b, a)| b - a).collect();
        let mut with = [0; 2];
        for (bag, &label) in labels.iter().enumerate() {
            let rows = plain.bags.rows(bag);
            let moved = |row: usize, c: usize| b[row * 64 + c] - a[row * 64 + c];
            let side = (moved(rows.start, 0) / first[0]).round();
            assert!(side.abs() == 1.0);
            assert!(rows.clone().all(|row| (0..64).all(|c| (moved(row, c) - side * first[c]).abs() < 1e-3)));
            with[usize::from(bag >= 400)] += usize::from((side > 0.0) == (label == 1));
        }
        // The sign of the pattern is that of the first bag.
        let with = if with[0] < 200 { with.map(|n| 400 - n) } else { with };
        assert!((340..=380).contains(&with[0]) && (160..=240).contains(&with[1]), "{with:?}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |haystack: Haystack| haystack.digits().unwrap_err().to_string();
        assert!(refused(Haystack { size: [0, 5], ..small() }).contains("found 0:5"));
        assert!(refused(Haystack { size: [9, 5], ..small() }).starts_with("setting size"));
        assert!(refused(Haystack { share: [0.0, 0.1], ..small() }).starts_with("setting share"));
        assert!(refused(Haystack { share: [0.1, f64::NAN], ..small() }).starts_with("setting share"));
        assert!(refused(Haystack { noise: -1.0, ..small() }).starts_with("setting noise"));
        assert!(refused(Haystack { stain: -1.0, ..small() }).starts_with("setting stain"));
        assert!(refused(Haystack { confounded: 1.5, ..small() }).starts_with("setting confounded"));
        assert!(refused(Haystack { target: 10, ..small() }).contains("found 10 on 0 of 1000"));
        assert!(refused(Haystack { train: 0, test: 0, ..small() }).contains("at least one"));
    }
}
