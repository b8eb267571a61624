//! How far a bag is from the bags that a model was trained on, by the mean of its features.

use super::Standardiser;
use crate::bag::Bags;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

/// Training bags below which nothing is kept: a few bags say little of others.
const FEWEST: usize = 10;
/// Values of means that are held at once; of more bags than that every so-many-th counts.
const MOST_VALUES: usize = 1 << 24;
/// Quantiles that are kept of the training bags' own distances.
pub const QUANTILES: usize = 101;
/// A deviation between bags that is taken for the least, in deviations of instances: what is constant in all training bags
/// would be infinitely far elsewhere.
const LEAST: f64 = 0.05;
/// Per cent of the training bags that a bag has to be farther out than to count as far.
const BEYOND: f64 = 99.0;
/// Times the largest distance of a training bag from which on a single bag is remarkable.
const ALONE: f64 = 2.0;
/// How often, at most, so many far bags come by chance where something is said of them.
const CHANCE: f64 = 0.001;

/// What the means of the training bags are like, and how far apart these are.
///
/// With m the mean of a bag's standardised features, a column c at a time, and M and S the mean and the deviation of the m of all
/// training bags, the distance of a bag is the root of the mean over the columns of (m - M)² / (S² + e): a Mahalanobis
/// distance by the diagonal, over the root of the number of columns, so that it is about 1 for a bag as they were. e is what
/// the mean of a bag of few instances wavers more than those of the training bags did: 1 / its instances less the mean of 1 /
/// theirs, if that is above 0. The distances of the training bags themselves are from all others, without their own part.
#[derive(Clone, Debug, PartialEq)]
pub struct Distances {
    /// M.
    pub mean: Vec<f32>,
    /// S, at least a twentieth.
    pub std: Vec<f32>,
    /// From the smallest to the largest of the training bags' own distances, [`QUANTILES`] at even steps.
    pub quantiles: Vec<f32>,
    /// How many bags there were, and the mean of 1 / instances of these.
    pub bags: [f32; 2],
}

/// How far a bag is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The distance: about 1 for a bag as those of the training.
    pub value: f64,
    /// How many per cent of the training bags are nearer to the others.
    pub percentile: f64,
}

impl Distance {
    /// True where nearly all training bags are nearer.
    pub fn is_far(&self) -> bool {
        self.percentile >= BEYOND
    }
}

/// The mean of the raw features of each of these bags, `[bags, width]`.
fn means(bags: &Bags, which: &[usize]) -> Result<Vec<f64>> {
    let width = bags.width;
    bags.features.check_unchanged()?;
    let of_bag = |&bag: &usize| {
        let rows = bags.rows(bag);
        let mut sum = vec![0f64; width];
        for Range { start, end } in super::pieces(rows.clone()) {
            for row in bags.features.slice(start * width..end * width).to_f32().chunks_exact(width) {
                sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        sum.iter_mut().for_each(|sum| *sum /= rows.len() as f64);
        sum
    };
    let all = which.par_iter().flat_map_iter(of_bag).collect();
    bags.features.check_unchanged()?;
    Ok(all)
}

/// The mean of the raw features of each bag, `[bags, width]`, as their files have them. It reads all features, so that who
/// compares the same bags with several models asks once.
///
/// # Errors
/// What the features answer.
pub(crate) fn means_of_all(bags: &Bags) -> Result<Vec<f64>> {
    means(bags, &(0..bags.len()).collect::<Vec<_>>())
}

/// The distance of a mean from a centre.
fn distance(of: impl Iterator<Item = [f64; 3]>, more: f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0usize);
    for [value, mean, variance] in of {
        sum += (value - mean).powi(2) / (variance.max(LEAST * LEAST) + more);
        count += 1;
    }
    (sum / count as f64).sqrt()
}

impl Distances {
    /// Those of the bags `training`, as their files have them, whose features have these statistics; none of fewer than ten.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no such bag.
    pub fn fit(bags: &Bags, training: &[usize], statistics: &Standardiser) -> Result<Option<Self>> {
        bags.check_indices(training)?;
        let width = bags.width;
        let most = (MOST_VALUES / width.max(1)).max(FEWEST);
        let step = training.len().div_ceil(most).max(1);
        let which: Vec<usize> = training.iter().copied().step_by(step).collect();
        if which.len() < FEWEST {
            return Ok(None);
        }
        let mut means = means(bags, &which)?;
        for row in means.chunks_exact_mut(width) {
            for (c, value) in row.iter_mut().enumerate() {
                *value = (*value - f64::from(statistics.mean[c])) / f64::from(statistics.std[c]);
            }
        }
        let count = which.len() as f64;
        let inverse = which.iter().map(|&bag| 1.0 / bags.rows(bag).len() as f64).sum::<f64>() / count;
        let (mut mean, mut squares) = (vec![0f64; width], vec![0f64; width]);
        for row in means.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / count);
        }
        for row in means.chunks_exact(width) {
            squares.iter_mut().zip(row).zip(&mean).for_each(|((sum, value), mean)| *sum += (value - mean).powi(2));
        }
        // Each from all others, without its own part in their mean and deviation.
        let own = |(row, &bag): (&[f64], &usize)| {
            let more = more(bags.rows(bag).len(), inverse);
            let column = |c: usize| {
                let off = row[c] - mean[c];
                let variance = (squares[c] - off * off * count / (count - 1.0)) / (count - 1.0);
                [row[c], mean[c] - off / (count - 1.0), variance]
            };
            distance((0..width).map(column), more)
        };
        let mut own: Vec<f64> = means.chunks_exact(width).zip(&which).map(own).collect();
        own.sort_unstable_by(f64::total_cmp);
        let quantile = |at: usize| {
            let place = at as f64 / (QUANTILES - 1) as f64 * (own.len() - 1) as f64;
            let (below, share) = (place as usize, place.fract());
            let next = own[(below + 1).min(own.len() - 1)];
            (own[below] + share * (next - own[below])) as f32
        };
        let found = Self {
            std: squares.iter().map(|sum| ((sum / count).sqrt().max(LEAST)) as f32).collect(),
            mean: mean.into_iter().map(|mean| mean as f32).collect(),
            quantiles: (0..QUANTILES).map(quantile).collect(),
            bags: [count as f32, inverse as f32],
        };
        // Features near the end of their range have squares beyond it.
        Ok(found.validate(width).is_ok().then_some(found))
    }

    /// Checks that there is a mean and a deviation for each of `width` features, that quantiles do not fall, and that all is
    /// finite.
    ///
    /// # Errors
    /// [`Error::Setting`] that says what is not.
    pub fn validate(&self, width: usize) -> Result<()> {
        let wrong = |message: String| Err(Error::setting("distances", message));
        let counts = [self.mean.len(), self.std.len(), self.quantiles.len()];
        if counts != [width, width, QUANTILES] {
            return wrong(format!(
                "expected {width} means, {width} deviations and {QUANTILES} quantiles of training bags, found {counts:?}"
            ));
        }
        let finite = [&self.mean, &self.std, &self.quantiles].into_iter().flatten().all(|v| v.is_finite());
        if !finite || self.std.iter().any(|v| *v <= 0.0) {
            return wrong("means and deviations of training bags have to be finite, and deviations above 0".into());
        }
        if self.quantiles[0] < 0.0 || self.quantiles.windows(2).any(|pair| pair[0] > pair[1]) {
            return wrong("quantiles of distances have to be at least 0 and rise".into());
        }
        let [bags, inverse] = self.bags;
        match bags >= 1.0 && bags.is_finite() && (0.0..=1.0).contains(&inverse) {
            true => Ok(()),
            false => wrong(format!("{bags} training bags with a mean of 1 / instances of {inverse}")),
        }
    }

    /// How far each of `bags` is, whose means are `means` ([`means_of_all`]) and whose column for the model's column c is
    /// `order[c]`, or c.
    pub(crate) fn of(
        &self,
        (bags, means): (&Bags, &[f64]),
        statistics: &Standardiser,
        order: Option<&[usize]>,
    ) -> Vec<Distance> {
        let width = bags.width;
        let one = |(bag, row): (usize, &[f64])| {
            let column = |c: usize| {
                let value = row[order.map_or(c, |order| order[c])];
                let value = (value - f64::from(statistics.mean[c])) / f64::from(statistics.std[c]);
                [value, f64::from(self.mean[c]), f64::from(self.std[c]).powi(2)]
            };
            let value = distance((0..width).map(column), more(bags.rows(bag).len(), f64::from(self.bags[1])));
            Distance { value, percentile: self.percentile(value) }
        };
        means.chunks_exact(width).enumerate().map(one).collect()
    }

    /// How many per cent of the training bags have a smaller distance.
    fn percentile(&self, value: f64) -> f64 {
        let step = 100.0 / (QUANTILES - 1) as f64;
        let next = self.quantiles.partition_point(|&q| f64::from(q) < value);
        match next {
            0 => 0.0,
            QUANTILES => 100.0,
            _ => {
                let [low, high] = [next - 1, next].map(|at| f64::from(self.quantiles[at]));
                step * ((next - 1) as f64 + (value - low) / (high - low))
            }
        }
    }

    /// How many bags they are of.
    pub(crate) fn training(&self) -> f32 {
        self.bags[0]
    }

    /// The largest distance of a training bag.
    pub(crate) fn largest(&self) -> f64 {
        f64::from(self.quantiles[QUANTILES - 1])
    }
}

/// What the mean of a bag of so many instances varies more than those of the training bags.
fn more(instances: usize, inverse: f64) -> f64 {
    (1.0 / instances as f64 - inverse).max(0.0)
}

/// What is to be said of bags that are far from the training's, all together.
#[derive(Clone, Debug, PartialEq)]
pub struct FarBags {
    /// How many are farther than 99 % of the training bags.
    pub far: usize,
    /// Of how many.
    pub bags: usize,
    /// The farthest, and how far it is.
    pub farthest: (usize, Distance),
    /// The largest distance of a training bag.
    pub largest: f64,
    /// Training bags.
    pub training: f32,
}

impl FarBags {
    /// Of these distances; `largest` is that of a training bag, of which there were `training`. None without bags.
    pub fn of(distances: &[Distance], largest: f64, training: f32) -> Option<Self> {
        let far = distances.iter().filter(|distance| distance.is_far()).count();
        let all = distances.iter().copied().enumerate();
        let farthest = all.reduce(|a, b| if b.1.value > a.1.value { b } else { a })?;
        Some(Self { far, bags: distances.len(), farthest, largest, training })
    }

    /// More far bags than come by chance once in a thousand times where bags are as those of the training, or one that is twice
    /// as far as any of those.
    pub fn is_remarkable(&self) -> bool {
        // The hundredth itself is known from as many bags as there were.
        let p = (1.0 - BEYOND / 100.0) + 1.0 / (f64::from(self.training) + 1.0);
        self.farthest.1.value > ALONE * self.largest.max(LEAST) || at_least(self.far, self.bags, p) < CHANCE
    }
}

/// The probability of at least `k` of `n` where each comes with probability `p`.
fn at_least(k: usize, n: usize, p: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    let (mut term, mut below) = (n as f64 * (-p).ln_1p(), 0.0);
    for i in 0..k {
        below += term.exp();
        term += ((n - i) as f64 / (i + 1) as f64).ln() + p.ln() - (-p).ln_1p();
    }
    (1.0 - below).max(0.0)
}

impl std::fmt::Display for FarBags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { far, bags, farthest: (_, farthest), largest, training } = self;
        write!(
            f,
            "the means of the features of {far} of {bags} bags are farther from those of the {training} training bags than 99 % of \
             these are from each other; the largest distance is {:.2}, and {largest:.2} among the training bags",
            farthest.value
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;
    use crate::random::Random;

    const WIDTH: usize = 40;

    /// Bags of instances around means of their own, moved by `shift`, of `sizes` instances.
    fn bags(sizes: &[usize], shift: f32, seed: u64) -> Bags {
        let mut random = Random::new(seed, 0);
        let mut values = Vec::new();
        for &size in sizes {
            let own: Vec<f32> = (0..WIDTH).map(|_| 0.4 * random.normal() as f32).collect();
            for _ in 0..size {
                values.extend(own.iter().enumerate().map(|(c, own)| {
                    let unit = 10f32.powi(c as i32 % 5 - 2);
                    unit * (3.0 + own + shift + random.normal() as f32)
                }));
            }
        }
        Bags::packed(Features::F32(values), WIDTH, sizes).unwrap()
    }

    fn fitted(bags: &Bags) -> (Standardiser, Distances) {
        let all: Vec<usize> = (0..bags.len()).collect();
        let statistics = Standardiser::fit(bags, &all).unwrap();
        let found = Distances::fit(bags, &all, &statistics).unwrap().unwrap();
        found.validate(WIDTH).unwrap();
        (statistics, found)
    }

    fn all_of(of: &Distances, bags: &Bags, statistics: &Standardiser, order: Option<&[usize]>) -> Vec<Distance> {
        of.of((bags, &means_of_all(bags).unwrap()), statistics, order)
    }

    fn told(of: &Distances, statistics: &Standardiser, bags: &Bags) -> FarBags {
        FarBags::of(&all_of(of, bags, statistics, None), of.largest(), of.training()).unwrap()
    }

    /// The definition, bag by bag, with each training bag left out of what it is compared with.
    #[test]
    fn distances_are_those_of_the_definition() {
        let sizes: Vec<usize> = (0..14).map(|b| 3 + 5 * b).collect();
        let training = bags(&sizes, 0.0, 1);
        let (statistics, found) = fitted(&training);
        let mean_of = |bags: &Bags, bag: usize| -> Vec<f64> {
            let values = bags.features.to_f32();
            let column = |c: usize| {
                let rows = bags.rows(bag);
                let count = rows.len() as f64;
                let mean = rows.map(|row| f64::from(values[row * WIDTH + c])).sum::<f64>() / count;
                (mean - f64::from(statistics.mean[c])) / f64::from(statistics.std[c])
            };
            (0..WIDTH).map(column).collect()
        };
        let inverse = sizes.iter().map(|&n| 1.0 / n as f64).sum::<f64>() / sizes.len() as f64;
        let from = |mean: &[f64], others: &[Vec<f64>], size: usize| {
            let more = (1.0 / size as f64 - inverse).max(0.0);
            let column = |c: usize| {
                let count = others.len() as f64;
                let centre = others.iter().map(|m| m[c]).sum::<f64>() / count;
                let variance = others.iter().map(|m| (m[c] - centre).powi(2)).sum::<f64>() / count;
                (mean[c] - centre).powi(2) / (variance.max(0.0025) + more)
            };
            ((0..WIDTH).map(column).sum::<f64>() / WIDTH as f64).sqrt()
        };
        let all: Vec<Vec<f64>> = (0..14).map(|bag| mean_of(&training, bag)).collect();
        let mut own: Vec<f64> = (0..14)
            .map(|bag| {
                let others = [&all[..bag], &all[bag + 1..]].concat();
                from(&all[bag], &others, sizes[bag])
            })
            .collect();
        own.sort_by(f64::total_cmp);
        for (at, wanted) in [(0, own[0]), (50, (own[6] + own[7]) / 2.0), (100, own[13])] {
            assert!((f64::from(found.quantiles[at]) / wanted - 1.0).abs() < 1e-5, "{at}");
        }
        let new = bags(&[2, 9, 500], 0.3, 2);
        for (bag, distance) in all_of(&found, &new, &statistics, None).into_iter().enumerate() {
            let wanted = from(&mean_of(&new, bag), &all, new.rows(bag).len());
            assert!((distance.value / wanted - 1.0).abs() < 1e-5, "{bag}");
            let nearer = 100.0 * own.partition_point(|d| *d < wanted) as f64 / 13.0;
            assert!((distance.percentile - nearer).abs() < 8.0, "{bag}: {distance:?}, {nearer}");
        }
        // In another order of the columns.
        let mut turned = new.clone();
        turned.move_columns(&(0..WIDTH).rev().collect::<Vec<_>>());
        let order: Vec<usize> = (0..WIDTH).rev().collect();
        let [straight, back] =
            [(&new, None), (&turned, Some(&order[..]))].map(|(bags, order)| all_of(&found, bags, &statistics, order));
        assert!(straight.iter().zip(&back).all(|(a, b)| (a.value - b.value).abs() < 1e-9));
    }

    /// Bags as those of the training, many or few, of many or few instances, are not told of; moved ones are.
    #[test]
    fn bags_of_other_features_are_told_of_and_others_are_not() {
        let mut said = 0;
        for seed in 0..12 {
            let training = bags(&[60; 40], 0.0, 100 + seed);
            let (statistics, found) = fitted(&training);
            let middle = f64::from(found.quantiles[50]);
            assert!((0.8..1.3).contains(&middle), "{middle}");
            for sizes in [&[60; 40][..], &[60], &[2; 30], &[1000; 30], &[3]] {
                let same = told(&found, &statistics, &bags(sizes, 0.0, 200 + seed));
                said += usize::from(same.is_remarkable());
                let moved = told(&found, &statistics, &bags(&vec![60; sizes.len()], 1.5, 300 + seed));
                assert!(moved.is_remarkable() && moved.far == sizes.len(), "{moved}");
            }
            // A smaller move shows in many bags.
            let moved = told(&found, &statistics, &bags(&[60; 40], 0.5, 400 + seed));
            assert!(moved.is_remarkable() && !moved.to_string().is_empty(), "{moved}");
        }
        assert_eq!(said, 0);
    }

    #[test]
    fn what_cannot_be_compared_has_no_distances() {
        let few = bags(&[5; 9], 0.0, 1);
        let all: Vec<usize> = (0..9).collect();
        let statistics = Standardiser::fit(&few, &all).unwrap();
        assert_eq!(Distances::fit(&few, &all, &statistics).unwrap(), None);
        // Columns that are constant in all bags.
        let same = Bags::packed(Features::F32(vec![2.0; 60]), 3, &[2; 10]).unwrap();
        let all: Vec<usize> = (0..10).collect();
        let statistics = Standardiser::fit(&same, &all).unwrap();
        let found = Distances::fit(&same, &all, &statistics).unwrap().unwrap();
        assert_eq!((found.std[0], found.largest()), (0.05, 0.0));
        assert!(!told(&found, &statistics, &same).is_remarkable());
        let other = Bags::packed(Features::F32(vec![2.5; 6]), 3, &[2]).unwrap();
        assert!(told(&found, &statistics, &other).is_remarkable());
        let wrong = |change: &dyn Fn(&mut Distances)| {
            let mut found = found.clone();
            change(&mut found);
            found.validate(3).unwrap_err().to_string()
        };
        assert!(wrong(&|d| d.mean.push(0.0)).contains("expected 3 means, 3 deviations and 101 quantiles"));
        assert!(wrong(&|d| d.std[1] = 0.0).contains("deviations above 0"));
        assert!(wrong(&|d| d.mean[1] = f32::NAN).contains("finite"));
        assert!(wrong(&|d| d.quantiles[7] = 9.0).contains("rise"));
        assert!(wrong(&|d| d.bags[1] = 2.0).contains("1 / instances"));
    }

    #[test]
    fn chances_are_those_of_the_binomial() {
        for (k, n, p, wanted) in [(0, 5, 0.1, 1.0), (1, 1, 0.25, 0.25), (2, 3, 0.5, 0.5), (3, 10, 0.1, 0.070_190_826_4)]
        {
            assert!((at_least(k, n, p) - wanted).abs() < 1e-9, "{k} of {n}");
        }
        assert!(at_least(10_000, 10_000, 0.02) < 1e-9 && at_least(5, 100_000, 0.02) > 0.999);
    }
}
