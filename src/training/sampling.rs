//! Bags and instances that are drawn anew for each epoch.

use crate::bag::{Bags, Features, runs};
use crate::error::Result;
use crate::random::Random;
use std::collections::BTreeMap;
use std::ops::Range;

/// Beside those of weights, order and views.
const STREAM: u64 = 1 << 62;

/// The bags `batch` with as many of their instances as `seen` says, drawn without replacement and left in their order. What is drawn
/// depends on seed, epoch and the number of the bag alone, so it is the same whatever the batch, and after a resumption.
///
/// # Errors
/// [`crate::Error::Format`] for a file of features that changed since it was mapped.
pub(super) fn draw(bags: &Bags, batch: &[usize], seen: impl Fn(usize) -> usize, seed: u64, epoch: u32) -> Result<Bags> {
    let (mut rows, mut sizes) = (Vec::new(), Vec::new());
    for &bag in batch {
        let all = bags.rows(bag);
        let most = seen(all.len());
        sizes.push(most);
        if all.len() == most {
            rows.push(all);
            continue;
        }
        let mut random = Random::new(seed, STREAM + (u64::from(epoch) << 30) + bag as u64);
        rows.extend(some_of(&all, most, &mut random));
    }
    bags.select_rows(batch, &rows, &sizes)
}

/// So many of the rows `all`, drawn without replacement, as runs that ascend.
pub(super) fn some_of(all: &Range<usize>, count: usize, random: &mut Random) -> Vec<Range<usize>> {
    let mut drawn = random.sample(all.len(), count);
    drawn.sort_unstable();
    runs(&drawn, all.start)
}

/// Beside that of instances, whose epochs end below it.
const COLUMNS: u64 = 1 << 63;

/// Sets a share of the features of each bag to 0, the same ones for all its instances, and multiplies the others by what keeps sums as
/// they are on average, as dropout does; of `width` features floor(share width), one at least stays. Which depends on seed, epoch and the
/// number of the bag alone: `of` has that of each of `bags`. Features are f32 then, which hold what f16 would not.
pub(super) fn drop_features(bags: &mut Bags, of: &[usize], share: f32, seed: u64, epoch: u32) {
    let width = bags.width;
    let dropped = ((f64::from(share) * width as f64) as usize).min(width.saturating_sub(1));
    let mut values = bags.features.to_f32();
    for (at, &bag) in of.iter().enumerate() {
        let mut random = Random::new(seed, COLUMNS + (u64::from(epoch) << 30) + bag as u64);
        let mut factors = vec![width as f32 / (width - dropped) as f32; width];
        random.sample(width, dropped).into_iter().for_each(|column| factors[column] = 0.0);
        let rows = bags.rows(at);
        for row in values[rows.start * width..rows.end * width].chunks_exact_mut(width) {
            row.iter_mut().zip(&factors).for_each(|(value, factor)| *value *= factor);
        }
    }
    bags.features = Features::F32(values);
}

/// As many bags as `training` has, with replacement: a stratum of theirs, all alike, and a bag of it.
pub(super) fn balanced(bags: &Bags, training: &[usize], random: &mut Random) -> Vec<usize> {
    let strata = bags.strata().unwrap_or_else(|| vec![0; bags.len()]);
    let mut of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    training.iter().for_each(|&bag| of.entry(strata[bag]).or_default().push(bag));
    let of: Vec<Vec<usize>> = of.into_values().collect();
    let mut draw = |_| {
        let stratum = &of[random.below(of.len())];
        stratum[random.below(stratum.len())]
    };
    (0..training.len()).map(&mut draw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;

    /// Every row has its number.
    fn bags() -> Bags {
        let sizes = [3, 40, 1, 25];
        let mut bags = Bags::packed(Features::F32((0..69).map(|v| v as f32).collect()), 1, &sizes).unwrap();
        bags.coords = Some((0..69).map(|v| [v as f32, 0.0]).collect());
        bags.with_labels(vec![0, 1, 1, 0]).unwrap()
    }

    fn rows(bags: &Bags) -> Vec<Vec<f32>> {
        let all = bags.features.to_f32();
        (0..bags.len()).map(|bag| all[bags.rows(bag)].to_vec()).collect()
    }

    #[test]
    fn draws_depend_on_bag_and_epoch_alone() {
        let bags = bags();
        let drawn = draw(&bags, &[3, 1, 0, 2], |all| all.min(10), 7, 2).unwrap();
        drawn.validate().unwrap();
        let found = rows(&drawn);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 3, 1]);
        assert_eq!((&found[2], &found[3]), (&vec![0.0, 1.0, 2.0], &vec![43.0]));
        assert!(found.iter().all(|of| of.windows(2).all(|w| w[0] < w[1])), "in their order, none twice");
        assert!(found[1].iter().all(|v| (3.0..43.0).contains(v)) && found[0].iter().all(|v| *v >= 44.0));
        assert_eq!(drawn.labels, Some(vec![0, 1, 0, 1]));
        assert_eq!(drawn.coords.unwrap().iter().map(|c| c[0]).collect::<Vec<_>>(), drawn.features.to_f32());
        assert_eq!(rows(&draw(&bags, &[1], |all| all.min(10), 7, 2).unwrap())[0], found[1]);
        for (seed, epoch) in [(7, 3), (8, 2)] {
            assert_ne!(rows(&draw(&bags, &[1], |all| all.min(10), seed, epoch).unwrap())[0], found[1]);
        }
    }

    /// Whole columns of a bag go, as often each as any other, and what is left is as large on average.
    #[test]
    fn features_of_a_bag_are_left_out_together() {
        let values: Vec<f32> = (0..7 * 10).map(|v| 1.0 + v as f32).collect();
        let all = Bags::packed(Features::F32(values.clone()), 10, &[3, 4]).unwrap();
        let dropped = |of: &[usize], seed: u64, epoch: u32| {
            let mut bags = all.clone();
            drop_features(&mut bags, of, 0.35, seed, epoch);
            bags.features.to_f32()
        };
        let found = dropped(&[8, 5], 7, 2);
        let gone = |of: &[f32]| (0..10).filter(|&column| of[column] == 0.0).collect::<Vec<_>>();
        let [first, second] = [0, 30].map(|at| gone(&found[at..at + 10]));
        assert!(first.len() == 3 && second.len() == 3 && first != second, "{first:?} {second:?}");
        for (at, (value, before)) in found.iter().zip(&values).enumerate() {
            let of = if at < 30 { &first } else { &second };
            let wanted = if of.contains(&(at % 10)) { 0.0 } else { before * (10.0 / 7.0) };
            assert_eq!(*value, wanted, "row {}, column {}", at / 10, at % 10);
        }
        // A bag is the same wherever it stands in a batch, another epoch and another seed are other ones.
        assert_eq!(gone(&dropped(&[5, 8], 7, 2)[..10]), second);
        assert!((3..9).any(|epoch| gone(&dropped(&[8, 5], 7, epoch)[..10]) != first));
        assert!((8..14).any(|seed| gone(&dropped(&[8, 5], seed, 2)[..10]) != first));
        let mut counts = [0u32; 10];
        (0..2000).for_each(|epoch| gone(&dropped(&[8, 5], 1, epoch)).iter().for_each(|&column| counts[column] += 1));
        // 600 each, with a standard deviation of 20.
        assert!(counts.iter().all(|&count| (500..700).contains(&count)), "{counts:?}");
    }

    /// A rare class is drawn as often as a frequent one.
    #[test]
    fn classes_are_drawn_alike() {
        let labels: Vec<u32> = (0..100).map(|bag| u32::from(bag % 10 == 0)).collect();
        let bags = Bags::packed(Features::F32(vec![0.0; 100]), 1, &[1; 100]).unwrap().with_labels(labels).unwrap();
        let training: Vec<usize> = (0..90).collect();
        let mut random = Random::new(5, 0);
        let drawn: Vec<usize> = (0..50).flat_map(|_| balanced(&bags, &training, &mut random)).collect();
        let rare = drawn.iter().filter(|&&bag| bag % 10 == 0).count();
        // 2250 of 4500, with a standard deviation of 34; each of the nine 250 times.
        assert!(drawn.len() == 4500 && drawn.iter().all(|&bag| bag < 90) && (2080..2420).contains(&rare), "{rare}");
        let each = (0..90).step_by(10).map(|bag| drawn.iter().filter(|&&drawn| drawn == bag).count());
        assert!(each.into_iter().all(|count| (170..340).contains(&count)));
    }

    /// Over many epochs each instance is drawn as often as any other.
    #[test]
    fn every_instance_is_as_likely() {
        let bags = bags();
        let mut counts = [0u32; 40];
        for epoch in 0..2000 {
            let drawn = draw(&bags, &[1], |all| all.min(10), 1, epoch).unwrap();
            drawn.features.to_f32().iter().for_each(|v| counts[*v as usize - 3] += 1);
        }
        // 500 each, with a standard deviation of 19.
        assert!(counts.iter().all(|&c| (400..600).contains(&c)), "{counts:?}");
    }
}
