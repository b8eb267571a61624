//! Bags drawn from a pool of labelled images, after the MNIST-bags protocol.
//!
//! Source: Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018, and the
//! data loaders of the authors' program. A bag is positive when it holds at least one target digit. What the
//! paper calls the variance of the bag size is used there as the standard deviation; so it is here.

use super::{Dataset, Key, Split, Views};
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use crate::random::Random;
use crate::split::deal;

/// Labelled images of one size, a byte a pixel, with the scale that makes them features.
#[derive(Clone, Debug)]
pub struct Pool {
    pixels: Vec<u8>,
    labels: Vec<u8>,
    image: [usize; 3],
    scale: f32,
    shift: f32,
}

impl Pool {
    /// Images `[labels.len(), height, width, channels]` whose features are pixel * `scale` + `shift`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the bytes are not that many images, or an image has no pixel.
    pub fn new(pixels: Vec<u8>, labels: Vec<u8>, image: [usize; 3], scale: f32, shift: f32) -> Result<Self> {
        let width = image.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).unwrap_or(0);
        if width == 0 || labels.len().checked_mul(width) != Some(pixels.len()) {
            return Err(Error::Shape {
                operation: "pool of images",
                expected: format!("{} images of {image:?} (at least one pixel each)", labels.len()),
                found: format!("{} bytes", pixels.len()),
            });
        }
        Ok(Self { pixels, labels, image, scale, shift })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// (height, width, channels) of an image.
    pub fn image(&self) -> [usize; 3] {
        self.image
    }

    /// The scaled values of image `index`, below [`Pool::len`], row by row.
    ///
    /// # Panics
    /// When there is no such image, as a slice would.
    pub fn image_values(&self, index: usize) -> impl Iterator<Item = f32> + '_ {
        let width: usize = self.image.iter().product();
        let pixels = &self.pixels[index * width..(index + 1) * width];
        pixels.iter().map(|&p| f32::from(p) * self.scale + self.shift)
    }

    /// The scaled values of a view of image `index`, below [`Pool::len`].
    fn view(&self, index: usize, views: &Views, random: &mut Random) -> impl Iterator<Item = f32> + use<'_> {
        let width: usize = self.image.iter().product();
        let seen = views.view(&self.pixels[index * width..(index + 1) * width], self.image, random);
        seen.into_iter().map(|p| p * self.scale + self.shift)
    }

    /// Two pools without a common image: a random `first` of the images, stratified by label, and the rest.
    ///
    /// # Errors
    /// [`Error::Setting`] when there are fewer than `first` images.
    pub fn split(&self, first: usize, random: &mut Random) -> Result<[Pool; 2]> {
        if first > self.len() {
            return Err(Error::setting("pool", format!("expected at most {} images, found {first}", self.len())));
        }
        let labels: Vec<u32> = self.labels.iter().map(|&l| u32::from(l)).collect();
        let parts = deal(&labels, &[first, self.len() - first], random);
        let width: usize = self.image.iter().product();
        Ok([0, 1].map(|part| {
            let of_part = |i: &usize| parts[*i] == part;
            let images = (0..self.len()).filter(of_part).flat_map(|i| &self.pixels[i * width..(i + 1) * width]);
            Pool {
                pixels: images.copied().collect(),
                labels: (0..self.len()).filter(of_part).map(|i| self.labels[i]).collect(),
                ..*self
            }
        }))
    }
}

/// How bags are drawn from a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    /// The label that makes a bag positive.
    pub target: u8,
    /// Mean of the normal draw that gives the size of a bag, in instances.
    pub mean: f64,
    /// Its standard deviation, in instances. A draw is cut to an integer toward zero and is at least 1.
    pub spread: f64,
    /// Number of training bags.
    pub train: usize,
    /// Number of test bags.
    pub test: usize,
    /// Positive and negative bags in turn, the first positive; otherwise whatever the draw gives.
    pub balanced: bool,
    /// Seed of every draw.
    pub seed: u64,
    /// Each instance of a training bag is such a view of its image; test bags have the images.
    pub views: Views,
}

/// Images of the digits' training pool; the other 797 are the test pool.
pub const DIGITS_TRAIN_IMAGES: usize = 1000;

/// Streams of the seed: one for each use, so that more training bags do not change the test bags.
pub(super) const POOLS: u64 = 0;
pub(super) const PARTS: [(Split, u64); 2] = [(Split::Train, 1), (Split::Test, 2)];
const VIEWS: u64 = 3;

impl Protocol {
    /// The settings for the shipped digits: target 9, size 10 +- 2, 200 training and 200 test bags.
    pub fn digits() -> Self {
        Self {
            target: 9,
            mean: 10.0,
            spread: 2.0,
            train: 200,
            test: 200,
            balanced: true,
            seed: 1,
            views: Views::default(),
        }
    }

    /// The settings of the paper for MNIST: target 9, size 10 +- 2, 200 training and 1000 test bags.
    pub fn mnist() -> Self {
        Self { test: 1000, ..Self::digits() }
    }

    fn check(&self) -> Result<()> {
        check_sizes(self.mean, self.spread, [self.train, self.test])
    }

    fn size(&self, random: &mut Random) -> usize {
        draw_size(self.mean, self.spread, random)
    }

    /// The images of `count` bags as indices into a pool with `labels`; images repeat within and between bags.
    fn draw(&self, labels: &[u8], count: usize, random: &mut Random) -> Vec<Vec<usize>> {
        let is_target = |&i: &usize| labels[i] == self.target;
        let any = |random: &mut Random| -> Vec<usize> {
            (0..self.size(random)).map(|_| random.below(labels.len())).collect()
        };
        let one = |bag: usize| {
            if !self.balanced {
                any(random)
            } else if bag.is_multiple_of(2) {
                // The size is drawn again with the images: a large bag is likelier to be accepted.
                loop {
                    let images = any(random);
                    if images.iter().any(is_target) {
                        return images;
                    }
                }
            } else {
                let size = self.size(random);
                std::iter::repeat_with(|| random.below(labels.len())).filter(|i| !is_target(i)).take(size).collect()
            }
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
        self.views.check()?;
        let draw = |labels: &[u8], count: usize, random: &mut Random| self.draw(labels, count, random);
        bags_with(self.target, [(train, self.train), (test, self.test)], self.seed, name, draw, &self.views)
    }

    /// The shipped digits that training and test bags are drawn from: 1000 and 797, stratified by digit, divided by
    /// the seed.
    ///
    /// # Errors
    /// As [`super::digits::digits`].
    pub fn digits_pools(&self) -> Result<[Pool; 2]> {
        super::digits::digits()?.split(DIGITS_TRAIN_IMAGES, &mut Random::new(self.seed, POOLS))
    }

    /// Bags of the shipped digits; training and test bags come from the two pools of [`Protocol::digits_pools`].
    ///
    /// # Errors
    /// As [`Protocol::bags`].
    pub fn digits_bags(&self) -> Result<Dataset> {
        let [train, test] = self.digits_pools()?;
        self.bags(&train, &test, "digits-bags")
    }

    /// Bags of MNIST, read from the four files in `folder`; training and test bags come from its training
    /// and test images.
    ///
    /// # Errors
    /// As [`Protocol::bags`] and [`super::idx::mnist`].
    pub fn mnist_bags(&self, folder: &std::path::Path) -> Result<Dataset> {
        let [train, test] = super::idx::mnist(folder)?;
        self.bags(&train, &test, "mnist-bags")
    }
}

/// The least and the largest number of instances, and the most bags, of any protocol that draws from pools.
pub(super) fn check_sizes(mean: f64, spread: f64, counts: [usize; 2]) -> Result<()> {
    for (name, value, least) in [("mean", mean, 1.0), ("spread", spread, 0.0)] {
        if !(least..=1e6).contains(&value) {
            return Err(Error::setting(name, format!("expected {least} to 1000000 instances, found {value}")));
        }
    }
    for (name, value) in ["train", "test"].into_iter().zip(counts) {
        if value > 10_000_000 {
            return Err(Error::setting(name, format!("expected at most 10000000 bags, found {value}")));
        }
    }
    if counts == [0, 0] {
        return Err(Error::setting("train", "expected at least one training or test bag, found none"));
    }
    // The smallest images have 64 pixels.
    crate::bounded::check_room("the bags that are asked for", &[(counts[0] + counts[1]) as u64, mean as u64, 64, 4])
}

/// Checks that the images of two pools have one size.
pub(super) fn same_images(train: &Pool, test: &Pool) -> Result<()> {
    if train.image == test.image {
        return Ok(());
    }
    Err(Error::Shape {
        operation: "bags from two pools",
        expected: format!("images of {:?}", train.image),
        found: format!("{:?}", test.image),
    })
}

/// A bag's size: a normal draw, cut to an integer toward zero, at least 1.
pub(super) fn draw_size(mean: f64, spread: f64, random: &mut Random) -> usize {
    ((mean + spread * random.normal()) as i64).max(1) as usize
}

/// Bags of two classes, without and with an image labelled `target`, which is the key; `draw` picks the images of so
/// many bags from the labels of a pool.
pub(super) fn bags_with(
    target: u8,
    parts: [(&Pool, usize); 2],
    seed: u64,
    name: &str,
    draw: impl Fn(&[u8], usize, &mut Random) -> Vec<Vec<usize>>,
    views: &Views,
) -> Result<Dataset> {
    same_images(parts[0].0, parts[1].0)?;
    for ((pool, count), part) in parts.into_iter().zip(["train", "test"]) {
        let targets = pool.labels.iter().filter(|&&l| l == target).count();
        if count > 0 && (targets == 0 || targets == pool.len()) {
            let message = format!("found {target} on {targets} of {} {part} images", pool.len());
            return Err(Error::setting("target", format!("expected a label of some images, {message}")));
        }
    }
    let draw = |pool: &Pool, count: usize, random: &mut Random| draw(&pool.labels, count, random);
    let label = |digits: &[u8]| u32::from(digits.contains(&target));
    let mut set = assemble(parts, seed, name, draw, label, views)?;
    set.bags.class_names = vec![format!("without {target}"), format!("with {target}")];
    set.key = Key::Labels(vec![i32::from(target)]);
    Ok(set)
}

/// Training and test bags from pools of images of one size and numbers of bags: `draw` gives the images of so many bags as indices into a
/// pool, `label` a bag's class from the labels of its images, which become those of its instances. Instances of training
/// bags are `views` of their images.
pub(super) fn assemble(
    parts: [(&Pool, usize); 2],
    seed: u64,
    name: &str,
    draw: impl Fn(&Pool, usize, &mut Random) -> Vec<Vec<usize>>,
    label: impl Fn(&[u8]) -> u32,
    views: &Views,
) -> Result<Dataset> {
    let image = parts[0].0.image;
    let (mut features, mut sizes, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let (mut digits, mut split, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for ((pool, count), (part, stream)) in parts.into_iter().zip(PARTS) {
        let mut random = Random::new(seed, stream);
        // A stream of its own: the bags have the same images with views and without.
        let mut of_views = Random::new(seed, VIEWS);
        let viewed = part == Split::Train && !views.are_plain();
        for (bag, images) in draw(pool, count, &mut random).into_iter().enumerate() {
            let of_bag: Vec<u8> = images.iter().map(|&i| pool.labels[i]).collect();
            sizes.push(images.len());
            labels.push(label(&of_bag));
            digits.extend(of_bag.into_iter().map(i32::from));
            for &image in &images {
                if viewed {
                    features.extend(pool.view(image, views, &mut of_views));
                } else {
                    features.extend(pool.image_values(image));
                }
            }
            split.push(part);
            names.push(format!("{}-{bag}", if part == Split::Train { "train" } else { "test" }));
        }
    }
    let mut bags = Bags::packed(Features::F32(features), image.iter().product(), &sizes)?.with_labels(labels)?;
    bags.instance_labels = Some(digits);
    bags.names = names;
    bags.image = Some(image);
    Ok(Dataset { split: Some(split), ..Dataset::new(bags, name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn small(train: usize, test: usize) -> Protocol {
        Protocol { train, test, ..Protocol::digits() }
    }

    #[test]
    fn balanced_bags_alternate_and_hold_what_their_label_says() {
        let set = Protocol::digits().digits_bags().unwrap();
        let bags = &set.bags;
        assert_eq!((bags.len(), bags.width, bags.image), (400, 64, Some([8, 8, 1])));
        let split = set.split.as_ref().unwrap();
        assert!((0..400).all(|b| split[b] == if b < 200 { Split::Train } else { Split::Test }));
        let labels = bags.labels.as_ref().unwrap();
        let digits = bags.instance_labels.as_ref().unwrap();
        for b in 0..400 {
            assert_eq!(labels[b], u32::from(b % 2 == 0));
            assert_eq!(labels[b] == 1, digits[bags.rows(b)].contains(&9));
        }
        let targets = set.instance_targets().unwrap();
        assert!((0..bags.instances()).all(|i| targets[i] == u8::from(digits[i] == 9)));
        assert_eq!((&bags.names[0][..], &bags.names[399][..]), ("train-0", "test-199"));
        set.check_for_training().unwrap();
    }

    #[test]
    fn plain_bags_take_what_comes() {
        let set = Protocol { balanced: false, ..small(400, 0) }.digits_bags().unwrap();
        let labels = set.bags.labels.as_ref().unwrap();
        let positive = labels.iter().filter(|&&l| l == 1).count();
        // 1 - 0.9^9.5 is 0.63; four standard deviations of 400 draws are 0.1.
        assert!((210..=295).contains(&positive), "{positive}");
    }

    #[test]
    fn sizes_follow_the_protocol() {
        let mean_size = |protocol: Protocol| {
            let set = protocol.digits_bags().unwrap();
            set.bags.instances() as f64 / set.bags.len() as f64
        };
        let mean = mean_size(Protocol { balanced: false, ..small(2000, 0) });
        assert!((mean - 9.5).abs() < 0.2, "truncation takes half an instance: {mean}");
        let fixed = Protocol { mean: 5.9, spread: 0.0, ..small(40, 0) };
        assert_eq!(mean_size(fixed), 5.0);
        let wild = Protocol { mean: 1.0, spread: 3.0, ..small(40, 0) };
        assert!(mean_size(wild) >= 1.0);
    }

    #[test]
    fn train_and_test_images_are_disjoint() {
        let pool = super::super::digits::digits().unwrap();
        let [train, test] = pool.split(DIGITS_TRAIN_IMAGES, &mut Random::new(1, POOLS)).unwrap();
        assert_eq!((train.len(), test.len()), (1000, 797));
        for digit in 0..10 {
            let share = |p: &Pool| p.labels.iter().filter(|&&l| l == digit).count() as f64;
            assert!((share(&train) - share(&pool) * 1000.0 / 1797.0).abs() < 1.5);
        }
        // The digits have no two equal images, so equal pixels would mean a shared image.
        let images = |p: &Pool| p.pixels.chunks(64).map(<[u8]>::to_vec).collect::<HashSet<_>>();
        assert_eq!(images(&pool).len(), 1797);
        assert!(images(&train).is_disjoint(&images(&test)));
        assert!(pool.split(1798, &mut Random::new(1, 0)).is_err());
    }

    #[test]
    fn a_seed_gives_the_same_bags_and_more_bags_keep_the_first() {
        let set = small(20, 10).digits_bags().unwrap();
        let again = small(20, 10).digits_bags().unwrap();
        assert_eq!(set.bags.features, again.bags.features);
        let other = Protocol { seed: 2, ..small(20, 10) }.digits_bags().unwrap();
        assert_ne!(set.bags.features, other.bags.features);
        let more = small(30, 10).digits_bags().unwrap();
        let part = |s: &Dataset, part, n: usize| s.bags.select(&s.indices(part)[..n]).unwrap().features;
        assert_eq!(part(&more, Split::Train, 20), part(&set, Split::Train, 20));
        assert_eq!(part(&more, Split::Test, 10), part(&set, Split::Test, 10));
    }

    #[test]
    fn views_change_what_training_bags_show_and_nothing_else() {
        let set = small(20, 10).digits_bags().unwrap();
        let views = Views { shift: 0.5, turn: 10.0, zoom: 0.1 };
        let viewed = Protocol { views, ..small(20, 10) }.digits_bags().unwrap();
        assert_eq!(viewed.bags.instance_labels, set.bags.instance_labels);
        let part = |s: &Dataset, part| s.bags.select(&s.indices(part)).unwrap().features;
        assert_eq!(part(&viewed, Split::Test), part(&set, Split::Test));
        let (Features::F32(plain), Features::F32(seen)) = (part(&set, Split::Train), part(&viewed, Split::Train))
        else {
            panic!("drawn features are f32");
        };
        assert!(plain.chunks(64).zip(seen.chunks(64)).all(|(a, b)| a != b));
        assert!(seen.iter().all(|v| (0.0..=1.0).contains(v)));
        let refused = Protocol { views: Views { turn: 181.0, ..views }, ..small(1, 1) }.digits_bags().unwrap_err();
        assert!(refused.to_string().starts_with("setting turn"), "{refused}");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |protocol: Protocol| protocol.digits_bags().unwrap_err().to_string();
        assert!(refused(Protocol { target: 10, ..small(1, 1) }).contains("found 10 on 0 of 1000"));
        assert!(refused(Protocol { mean: f64::NAN, ..small(1, 1) }).starts_with("setting mean"));
        assert!(refused(Protocol { mean: 0.0, ..small(1, 1) }).starts_with("setting mean"));
        assert!(refused(Protocol { spread: -1.0, ..small(1, 1) }).starts_with("setting spread"));
        assert!(refused(small(0, 0)).contains("at least one training or test bag"));
        assert!(refused(small(usize::MAX, 1)).contains("at most 10000000 bags"));
        let only = Pool::new(vec![1, 2], vec![9, 9], [1, 1, 1], 1.0, 0.0).unwrap();
        let message = small(1, 0).bags(&only, &only, "x").unwrap_err().to_string();
        assert!(message.contains("found 9 on 2 of 2"), "{message}");
        let wide = Pool::new(vec![1, 2, 3, 4], vec![1, 9], [1, 2, 1], 1.0, 0.0).unwrap();
        assert!(matches!(small(1, 1).bags(&only, &wide, "x"), Err(Error::Shape { .. })));
        assert!(Pool::new(vec![1], vec![1], [1, 2, 1], 1.0, 0.0).is_err());
        assert!(Pool::new(vec![], vec![], [0, 2, 1], 1.0, 0.0).is_err());
    }
}
