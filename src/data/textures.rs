//! Bags of procedural textures: patches whose kind is in their pattern alone.
//!
//! A patch is one of eight patterns at a random place, angle and scale, drawn between two random colours (the paler
//! one may be either), under a slope of light and with noise. A bag is positive when it holds patches of the key
//! pattern. So means, colours and single pixels tell nothing about a patch, and features have to be learnt.

use super::mil_bags::PARTS;
use super::patches::Patches;
use super::{Dataset, Split};
use crate::error::{Error, Result};
use crate::random::Random;
use std::f64::consts::TAU;

/// How bags of textures are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Textures {
    /// Pattern that makes a bag positive, 0 to 7: stripes, checks, dots, rings, zigzag, bricks, crosses, clouds.
    pub key: usize,
    /// Height and width of a patch.
    pub side: usize,
    /// Mean of the normal draw that gives the size of a bag.
    pub mean: f64,
    /// Its standard deviation. A draw is cut to an integer toward zero and is at least 1.
    pub spread: f64,
    /// Chance that a patch of a positive bag has the key pattern; at least one has.
    pub rate: f64,
    /// Number of training bags.
    pub train: usize,
    /// Number of test bags.
    pub test: usize,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Textures {
    fn default() -> Self {
        Self { key: 2, side: 32, mean: 20.0, spread: 4.0, rate: 0.1, train: 100, test: 100, seed: 1 }
    }
}

/// Number of patterns.
pub const PATTERNS: usize = 8;
/// Pixels of a period at scale 1.
const PERIOD: f64 = 12.0;
const MOST: usize = 100_000;

/// The pattern `kind` at a point, 0 to 1; its period is 1 both ways.
fn pattern(kind: usize, u: f64, v: f64, lattice: &[f64; 64]) -> f64 {
    let (fu, fv) = (u.rem_euclid(1.0) - 0.5, v.rem_euclid(1.0) - 0.5);
    // A soft edge: 1 well below the limit, 0 well above.
    let below = |value: f64, limit: f64| ((limit - value) * 8.0 + 0.5).clamp(0.0, 1.0);
    let wave = |x: f64| 0.5 + 0.5 * (TAU * x).sin();
    match kind {
        0 => wave(u),
        1 => (0.5 + 2.0 * (TAU * u / 2.0).sin() * (TAU * v / 2.0).sin()).clamp(0.0, 1.0),
        2 => below(fu.hypot(fv), 0.27),
        3 => below((fu.hypot(fv) - 0.32).abs(), 0.09),
        4 => wave(u + (v.rem_euclid(1.0) - 0.5).abs()),
        5 => {
            let row = (2.0 * v).floor();
            let along = (u + row / 2.0).rem_euclid(1.0) - 0.5;
            below(along.abs().min(((2.0 * v).rem_euclid(1.0) - 0.5).abs() / 2.0), 0.09)
        }
        6 => below(fu.abs().min(fv.abs()), 0.08) * below(fu.abs().max(fv.abs()), 0.36),
        _ => {
            let at = |x: f64, y: f64| lattice[(y.rem_euclid(8.0) as usize) * 8 + x.rem_euclid(8.0) as usize];
            let (x, y) = (2.0 * u, 2.0 * v);
            let (x0, y0) = (x.floor(), y.floor());
            let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
            let (tx, ty) = (smooth(x - x0), smooth(y - y0));
            let line = |y: f64| at(x0, y) * (1.0 - tx) + at(x0 + 1.0, y) * tx;
            line(y0) * (1.0 - ty) + line(y0 + 1.0) * ty
        }
    }
}

/// Two colours that differ in their greys.
fn colours(random: &mut Random) -> [[f64; 3]; 2] {
    loop {
        let colours = [0, 1].map(|_| [0, 1, 2].map(|_| 0.1 + 0.8 * random.uniform()));
        let [a, b] = colours.map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b);
        if (a - b).abs() >= 0.25 {
            return colours;
        }
    }
}

impl Textures {
    fn check(&self) -> Result<()> {
        let wrong = |name: &str, message: String| Err(Error::setting(name, message));
        if self.key >= PATTERNS {
            return wrong("key", format!("expected a pattern from 0 to {}, found {}", PATTERNS - 1, self.key));
        }
        if !(8..=512).contains(&self.side) {
            return wrong("side", format!("expected 8 to 512 pixels, found {}", self.side));
        }
        if !(self.mean >= 1.0 && self.spread >= 0.0 && self.mean + 4.0 * self.spread <= 10_000.0) {
            let (mean, spread) = (self.mean, self.spread);
            return wrong("mean", format!("expected 1 to 10000 with 4 spreads, found {mean} and {spread}"));
        }
        if !(0.0..=1.0).contains(&self.rate) {
            return wrong("rate", format!("expected a chance of 0 to 1, found {}", self.rate));
        }
        if self.train > MOST || self.test > MOST || self.train + self.test == 0 {
            let (train, test) = (self.train, self.test);
            return wrong("train", format!("expected 1 to {MOST} bags, found {train} training and {test} test bags"));
        }
        let sizes = [(self.train + self.test) as u64, self.mean as u64, (self.side * self.side) as u64, 3];
        crate::bounded::check_room("the patches that are asked for", &sizes)
    }

    /// A patch of the pattern `kind`, `[side, side, 3]`.
    fn patch(&self, kind: usize, random: &mut Random, out: &mut Vec<u8>) {
        let mut lattice = [0.0; 64];
        lattice.iter_mut().for_each(|v| *v = random.uniform());
        let colours = colours(random);
        let scale = (0.7 + 0.6 * random.uniform()) * PERIOD;
        let (sin, cos) = (TAU * random.uniform()).sin_cos();
        let [du, dv] = [0, 1].map(|_| 8.0 * random.uniform());
        let slope = [0, 1].map(|_| 0.5 * (random.uniform() - 0.5));
        for y in 0..self.side {
            for x in 0..self.side {
                let (px, py) = (x as f64 / scale, y as f64 / scale);
                let t = pattern(kind, cos * px + sin * py + du, cos * py - sin * px + dv, &lattice);
                let [ly, lx] = [y, x].map(|p| p as f64 / self.side as f64 - 0.5);
                let light = 1.0 + slope[0] * ly + slope[1] * lx;
                for (a, b) in colours[0].iter().zip(colours[1]) {
                    let value = (a + (b - a) * t) * light + 0.06 * (random.uniform() - 0.5);
                    out.push((value * 255.0).round().clamp(0.0, 255.0) as u8);
                }
            }
        }
    }

    /// Draws the bags, positive and negative in turn. Instance labels are 1 for the key pattern, and 0, -1, .. -6 for
    /// the others; patches lie on a square grid. The first bags do not depend on the number of bags.
    ///
    /// # Errors
    /// [`Error::Setting`] when a setting is out of range.
    pub fn patches(&self) -> Result<Patches> {
        self.check()?;
        let (mut pixels, mut sizes, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut keys, mut coords, mut split, mut names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (part, stream) in PARTS {
            let (count, called) = if part == Split::Train { (self.train, "train") } else { (self.test, "test") };
            for number in 0..count {
                // A stream for each bag, far from those of other generators.
                let mut random = Random::new(self.seed, (stream + 1) << 20 | number as u64);
                let size = ((self.mean + self.spread * random.normal()) as i64).max(1) as usize;
                let positive = number.is_multiple_of(2);
                let sure = random.below(size);
                let across = (size as f64).sqrt().ceil() as usize;
                for place in 0..size {
                    let key = positive && (place == sure || random.uniform() < self.rate);
                    let other = random.below(PATTERNS - 1);
                    let kind = if key { self.key } else { other + usize::from(other >= self.key) };
                    self.patch(kind, &mut random, &mut pixels);
                    keys.push(if key { 1 } else { -(other as i32) });
                    coords.push([place % across, place / across].map(|c| (c * self.side) as f32));
                }
                sizes.push(size);
                labels.push(u32::from(positive));
                split.push(part);
                names.push(format!("{called}-{number}"));
            }
        }
        let mut set = Patches::frame(&sizes, "textures")?;
        set.bags = set.bags.with_labels(labels)?;
        set.bags.class_names = ["without the key pattern", "with it"].map(String::from).to_vec();
        (set.bags.instance_labels, set.bags.coords, set.bags.names) = (Some(keys), Some(coords), names);
        set.split = Some(split);
        set.bags.validate()?;
        Patches::new(pixels, [self.side, self.side, 3], set)
    }

    /// The same bags with their pixels as features.
    ///
    /// # Errors
    /// As [`Textures::patches`].
    pub fn bags(&self) -> Result<Dataset> {
        self.patches()?.dataset()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Textures {
        Textures { train: 6, test: 4, mean: 8.0, spread: 2.0, side: 16, ..Textures::default() }
    }

    #[test]
    fn bags_are_what_their_labels_say() {
        let patches = small().patches().unwrap();
        let set = patches.bags();
        let keys = set.bags.instance_labels.as_ref().unwrap();
        assert_eq!((set.bags.len(), patches.image()), (10, [16, 16, 3]));
        for bag in 0..10 {
            let has = set.bags.rows(bag).any(|i| keys[i] == 1);
            assert_eq!(set.bags.labels.as_ref().unwrap()[bag], u32::from(has));
            assert_eq!(set.split.as_ref().unwrap()[bag], if bag < 6 { Split::Train } else { Split::Test });
        }
        assert!(keys.iter().all(|k| (-6..=1).contains(k)));
        let targets = set.instance_targets().unwrap();
        assert!(targets.iter().zip(keys).all(|(t, k)| *t == u8::from(*k == 1)));
        set.check_for_training().unwrap();
        let bags = small().bags().unwrap().bags;
        assert_eq!((bags.width, bags.image), (768, Some([16, 16, 3])));
        assert!(bags.features.to_f32().iter().all(|v| (0.0..=1.0).contains(v)));
    }

    /// Every pattern has both of its ends, its period, and differs from every other.
    #[test]
    fn patterns_repeat_and_differ() {
        let mut random = Random::new(1, 1);
        let mut lattice = [0.0; 64];
        lattice.iter_mut().for_each(|v| *v = random.uniform());
        let points: Vec<[f64; 2]> = (0..500).map(|_| [0, 1].map(|_| 2.0 * random.uniform())).collect();
        let of = |kind| points.iter().map(|p| pattern(kind, p[0], p[1], &lattice)).collect::<Vec<_>>();
        for kind in 0..PATTERNS {
            let values = of(kind);
            let (least, most) = values.iter().fold((1f64, 0f64), |(a, b), &v| (a.min(v), b.max(v)));
            assert!(least >= 0.0 && most <= 1.0 && most - least > 0.7, "{kind}: {least} to {most}");
            for other in 0..kind {
                let apart = values.iter().zip(of(other)).map(|(a, b)| (a - b).abs()).sum::<f64>() / 500.0;
                assert!(apart > 0.1, "{kind} and {other}: {apart}");
            }
            let period = if kind == 7 {
                4.0
            } else if kind == 1 {
                2.0
            } else {
                1.0
            };
            for p in &points {
                let moved = pattern(kind, p[0] + period, p[1] - period, &lattice);
                assert!((moved - pattern(kind, p[0], p[1], &lattice)).abs() < 1e-9, "{kind}");
            }
        }
    }

    #[test]
    fn a_seed_gives_the_same_bags_and_more_bags_keep_the_first() {
        let pixels = |t: Textures| t.bags().unwrap().bags;
        assert_eq!(pixels(small()).features, pixels(small()).features);
        assert_ne!(pixels(Textures { seed: 2, ..small() }).features, pixels(small()).features);
        let more = pixels(Textures { train: 8, ..small() });
        assert_eq!(
            more.select(&[0, 5, 8, 11]).unwrap().features,
            pixels(small()).select(&[0, 5, 6, 9]).unwrap().features
        );
    }

    #[test]
    fn impossible_settings_are_refused() {
        let refused = |t: Textures| t.patches().unwrap_err().to_string();
        assert!(refused(Textures { key: 8, ..small() }).contains("0 to 7, found 8"));
        assert!(refused(Textures { side: 7, ..small() }).starts_with("setting side"));
        assert!(refused(Textures { mean: f64::NAN, ..small() }).starts_with("setting mean"));
        assert!(refused(Textures { rate: 1.5, ..small() }).starts_with("setting rate"));
        assert!(refused(Textures { train: 0, test: 0, ..small() }).starts_with("setting train"));
    }
}
