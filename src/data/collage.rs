//! Bags of digits on a plane, after the MNIST-COLLAGE protocol: what makes a bag positive is where its digits lie.
//!
//! Source: Wölflein et al., "Deep multiple instance learning with distance-aware self-attention", 2023 (arXiv
//! 2305.10552), and the data set of the authors' program. A bag is positive when two given digits lie near each
//! other, or, inverse, far apart. Negative bags may hold both digits too, so that a bag's digits alone do not tell.

use super::mil_bags::{DIGITS_TRAIN_IMAGES, PARTS, POOLS, Pool};
use super::{Dataset, Split};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use crate::random::Random;

/// How collages are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Collage {
    /// The two digits whose distance counts.
    pub pair: [u8; 2],
    /// True when they have to lie far apart, false when they have to lie near each other.
    pub inverse: bool,
    /// The distance below which, or inverse above which, a pair makes a bag positive; places lie in a square of
    /// side 256. Without one it is 80, inverse 170.
    pub distance: Option<f64>,
    /// Mean of the normal draw that gives the size of a bag, in instances.
    pub mean: f64,
    /// Its standard deviation. A draw is cut to an integer toward zero and is at least 2.
    pub spread: f64,
    /// Number of training bags.
    pub train: usize,
    /// Number of test bags.
    pub test: usize,
    /// An instance is a row of ten values with 1 for its digit, in place of a picture.
    pub onehot: bool,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Collage {
    /// The paper's settings: 0 and 1, size 10 +- 2, 300 training and 100 test bags.
    fn default() -> Self {
        Self {
            pair: [0, 1],
            inverse: false,
            distance: None,
            mean: 10.0,
            spread: 2.0,
            train: 300,
            test: 100,
            onehot: false,
            seed: 1,
        }
    }
}

/// Least and largest coordinate of the middle of a digit; a digit is 28 wide and the square 256.
const PLACES: [f64; 2] = [14.0, 242.0];
/// Least distance of two digits of a bag.
const APART: f64 = 20.0;
const DIGITS: usize = 10;
/// Largest size of a bag, four standard deviations above the mean: places of more would take too many draws.
const MOST: f64 = 30.0;

/// Digits and places of a bag, and which of its instances are key instances.
struct Bag {
    digits: Vec<u8>,
    places: Vec<[f32; 2]>,
    keys: Vec<bool>,
}

fn between(a: [f32; 2], b: [f32; 2]) -> f64 {
    f64::from(a[0] - b[0]).hypot(f64::from(a[1] - b[1]))
}

impl Collage {
    fn check(&self) -> Result<()> {
        let [a, b] = self.pair;
        if a == b || usize::from(a.max(b)) >= DIGITS {
            return Err(Error::setting("pair", format!("expected two different digits 0 to 9, found {a} and {b}")));
        }
        if !(40.0..=240.0).contains(&self.limit()) {
            return Err(Error::setting("distance", format!("expected 40 to 240, found {}", self.limit())));
        }
        if !(self.mean >= 2.0 && self.spread >= 0.0 && self.mean + 4.0 * self.spread <= MOST) {
            let (mean, spread) = (self.mean, self.spread);
            let message = format!("expected at least 2, and mean + 4 spread at most {MOST}, found {mean} and {spread}");
            return Err(Error::setting("mean", message));
        }
        for (name, value) in [("train", self.train), ("test", self.test)] {
            if value > 1_000_000 {
                return Err(Error::setting(name, format!("expected at most 1000000 bags, found {value}")));
            }
        }
        if self.train + self.test == 0 {
            return Err(Error::setting("train", "expected at least one training or test bag, found none"));
        }
        Ok(())
    }

    fn limit(&self) -> f64 {
        self.distance.unwrap_or(if self.inverse { 170.0 } else { 80.0 })
    }

    /// Members of every pair of the two digits at the right distance.
    fn keys(&self, digits: &[u8], places: &[[f32; 2]]) -> Vec<bool> {
        let limit = self.limit();
        let right = |i: usize, j: usize| {
            let far = between(places[i], places[j]);
            let other = if digits[i] == self.pair[0] { self.pair[1] } else { self.pair[0] };
            digits[j] == other && if self.inverse { far > limit } else { far < limit }
        };
        let one = |i: usize| self.pair.contains(&digits[i]) && (0..digits.len()).any(|j| right(i, j));
        (0..digits.len()).map(one).collect()
    }

    /// Places no two of which are too near; all are drawn anew when two are.
    fn places(size: usize, random: &mut Random) -> Vec<[f32; 2]> {
        let coordinate = |random: &mut Random| (PLACES[0] + (PLACES[1] - PLACES[0]) * random.uniform()) as f32;
        loop {
            let places: Vec<_> = (0..size).map(|_| [coordinate(random), coordinate(random)]).collect();
            let apart = |i: usize| places[..i].iter().all(|&p| between(p, places[i]) >= APART);
            if (1..size).all(apart) {
                return places;
            }
        }
    }

    /// A bag with the wanted label: its size is drawn once, digits and places until they fit.
    fn draw(&self, positive: bool, random: &mut Random) -> Bag {
        let size = ((self.mean + self.spread * random.normal()) as i64).max(2) as usize;
        loop {
            let digits: Vec<u8> = (0..size).map(|_| random.below(DIGITS) as u8).collect();
            let places = Self::places(size, random);
            let keys = self.keys(&digits, &places);
            if keys.contains(&true) == positive {
                return Bag { digits, places, keys };
            }
        }
    }

    /// Draws the training bags from `train` and the test bags from `test`, positive and negative in turn.
    ///
    /// Instance labels are 1 for key instances, all members of pairs that make their bag positive. The same seed gives
    /// the same bags; the first bags do not depend on the number of bags.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is out of range, [`Error::Bags`] when a pool that is drawn from lacks a digit,
    /// [`Error::Shape`] when the pools hold images of different sizes.
    pub fn bags(&self, train: &Pool, test: &Pool, name: &str) -> Result<Dataset> {
        self.check()?;
        if train.image() != test.image() {
            return Err(Error::Shape {
                operation: "collages from two pools",
                expected: format!("images of {:?}", train.image()),
                found: format!("{:?}", test.image()),
            });
        }
        let (mut features, mut sizes, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut coords, mut keys, mut split, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (part, stream) in PARTS {
            let (pool, count, called) = match part {
                Split::Train => (train, self.train, "train"),
                _ => (test, self.test, "test"),
            };
            let mut images = vec![Vec::new(); DIGITS];
            for (image, &digit) in pool.labels().iter().enumerate() {
                images.get_mut(usize::from(digit)).into_iter().for_each(|of| of.push(image));
            }
            if let Some(digit) = images.iter().position(Vec::is_empty).filter(|_| count > 0 && !self.onehot) {
                return Err(Error::bags(format!(
                    "{name}: expected {called} images of every digit, found none of {digit}"
                )));
            }
            let mut random = Random::new(self.seed, stream);
            for number in 0..count {
                let bag = self.draw(number.is_multiple_of(2), &mut random);
                sizes.push(bag.digits.len());
                labels.push(u32::from(bag.keys.contains(&true)));
                for digit in bag.digits.into_iter().map(usize::from) {
                    match self.onehot {
                        true => features.extend((0..DIGITS).map(|d| if d == digit { 1.0 } else { 0.0 })),
                        false => features.extend(pool.image_values(images[digit][random.below(images[digit].len())])),
                    }
                }
                coords.extend(bag.places);
                keys.extend(bag.keys.into_iter().map(i32::from));
                split.push(part);
                names.push(format!("{called}-{number}"));
            }
        }
        let width = if self.onehot { DIGITS } else { train.image().iter().product() };
        let mut bags = Bags::packed(Features::F32(features), width, &sizes)?.with_labels(labels)?;
        let [a, b] = self.pair;
        bags.class_names = match self.inverse {
            false => vec![format!("{a} and {b} apart"), format!("{a} near {b}")],
            true => vec![format!("{a} and {b} near"), format!("{a} far from {b}")],
        };
        bags.instance_labels = Some(keys);
        bags.coords = Some(coords);
        bags.names = names;
        bags.image = (!self.onehot).then(|| train.image());
        bags.validate()?;
        Ok(Dataset { split: Some(split), ..Dataset::new(bags, name) })
    }

    /// Collages of the shipped digits; training and test bags come from the same disjoint images as those of
    /// [`super::Protocol::digits_bags`].
    ///
    /// # Errors
    /// As [`Collage::bags`].
    pub fn digits(&self) -> Result<Dataset> {
        let pools = super::digits::digits()?.split(DIGITS_TRAIN_IMAGES, &mut Random::new(self.seed, POOLS))?;
        self.bags(&pools[0], &pools[1], "digits-collage")
    }

    /// Collages of MNIST, read from the four files in `folder`.
    ///
    /// # Errors
    /// As [`Collage::bags`] and [`super::idx::mnist`].
    pub fn mnist(&self, folder: &std::path::Path) -> Result<Dataset> {
        let [train, test] = super::idx::mnist(folder)?;
        self.bags(&train, &test, "mnist-collage")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Collage {
        Collage { train: 60, test: 40, ..Collage::default() }
    }

    /// Digits of one-hot rows.
    fn digits(set: &Dataset) -> Vec<usize> {
        set.bags.features.to_f32().chunks(DIGITS).map(|row| row.iter().position(|&v| v == 1.0).unwrap()).collect()
    }

    /// Labels and key instances from all pairs of each bag, written out once more.
    #[test]
    fn bags_are_what_their_labels_say() {
        for (inverse, limit) in [(false, 80.0), (true, 170.0)] {
            let set = Collage { inverse, onehot: true, ..small() }.digits().unwrap();
            let (bags, digits) = (&set.bags, digits(&set));
            let (places, targets) = (bags.coords.as_ref().unwrap(), set.instance_targets().unwrap());
            let mut both = 0;
            for bag in 0..bags.len() {
                let mut keys = std::collections::BTreeSet::new();
                for i in bags.rows(bag) {
                    assert!(places[i].iter().all(|c| (14.0..=242.0).contains(c)));
                    for j in bags.rows(bag).filter(|&j| j != i) {
                        let [x, y] = [0, 1].map(|c| f64::from(places[i][c]) - f64::from(places[j][c]));
                        let far = (x * x + y * y).sqrt();
                        assert!(far > 19.999);
                        if (digits[i], digits[j]) == (0, 1) && (far < limit) != inverse {
                            keys.extend([i, j]);
                        }
                    }
                }
                assert_eq!(bags.labels.as_ref().unwrap()[bag], u32::from(!keys.is_empty()));
                assert_eq!(bags.labels.as_ref().unwrap()[bag], u32::from(bag % 2 == 0));
                assert!(bags.rows(bag).all(|i| targets[i] == u8::from(keys.contains(&i))));
                let has = |d: usize| bags.rows(bag).any(|i| digits[i] == d);
                both += usize::from(bag % 2 == 1 && has(0) && has(1));
            }
            assert!(both >= 5, "only {both} of 50 negative bags hold both digits");
            set.check_for_training().unwrap();
        }
    }

    #[test]
    fn pictures_stand_for_the_same_digits() {
        let set = small().digits().unwrap();
        assert_eq!((set.bags.len(), set.bags.width, set.bags.image), (100, 64, Some([8, 8, 1])));
        let split = set.split.as_ref().unwrap();
        assert!((0..100).all(|b| split[b] == if b < 60 { Split::Train } else { Split::Test }));
        assert_eq!((&set.bags.names[0][..], &set.bags.names[99][..]), ("train-0", "test-39"));
        assert_eq!(set.bags.class_names, ["0 and 1 apart", "0 near 1"]);
        let mean = set.bags.instances() as f64 / 100.0;
        assert!((mean - 9.5).abs() < 0.8, "{mean}");
        // Every row is a shipped picture.
        let pool = super::super::digits::digits().unwrap();
        let all: Vec<Vec<f32>> = (0..pool.len()).map(|i| pool.image_values(i).collect()).collect();
        assert!(set.bags.features.to_f32().chunks(64).take(50).all(|row| all.iter().any(|image| image == row)));
    }

    #[test]
    fn a_seed_gives_the_same_bags_and_more_bags_keep_the_first() {
        let (set, again) = (small().digits().unwrap(), small().digits().unwrap());
        assert_eq!((&set.bags.features, &set.bags.coords), (&again.bags.features, &again.bags.coords));
        let other = Collage { seed: 2, ..small() }.digits().unwrap();
        assert_ne!(set.bags.coords, other.bags.coords);
        let more = Collage { train: 80, ..small() }.digits().unwrap();
        let part = |s: &Dataset, part, n: usize| s.bags.select(&s.indices(part)[..n]).unwrap();
        for (kind, n) in [(Split::Train, 60), (Split::Test, 40)] {
            let (a, b) = (part(&more, kind, n), part(&set, kind, n));
            assert_eq!((a.features, a.coords), (b.features, b.coords));
        }
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |collage: Collage| collage.digits().unwrap_err().to_string();
        assert!(refused(Collage { pair: [3, 3], ..small() }).contains("two different digits"));
        assert!(refused(Collage { pair: [3, 10], ..small() }).contains("found 3 and 10"));
        assert!(refused(Collage { distance: Some(10.0), ..small() }).contains("expected 40 to 240, found 10"));
        assert!(refused(Collage { distance: Some(f64::NAN), ..small() }).starts_with("setting distance"));
        assert!(refused(Collage { mean: 23.0, ..small() }).starts_with("setting mean"));
        assert!(refused(Collage { mean: f64::NAN, ..small() }).starts_with("setting mean"));
        assert!(refused(Collage { spread: -1.0, ..small() }).starts_with("setting mean"));
        assert!(refused(Collage { train: 0, test: 0, ..small() }).contains("at least one"));
        assert!(refused(Collage { test: usize::MAX, ..small() }).contains("at most 1000000"));
        let only = Pool::new(vec![1, 2], vec![0, 1], [1, 1, 1], 1.0, 0.0).unwrap();
        let message = small().bags(&only, &only, "x").unwrap_err().to_string();
        assert!(message.contains("train images of every digit, found none of 2"), "{message}");
        let wide = Pool::new(vec![1, 2, 3, 4], vec![0, 1], [1, 2, 1], 1.0, 0.0).unwrap();
        assert!(matches!(small().bags(&only, &wide, "x"), Err(Error::Shape { .. })));
    }
}
