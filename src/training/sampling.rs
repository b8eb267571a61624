//! Bags and instances that are drawn anew for each epoch.

use crate::bag::Bags;
use crate::error::Result;
use crate::random::Random;
use std::collections::BTreeMap;

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
        let mut drawn = random.sample(all.len(), most);
        drawn.sort_unstable();
        let runs = drawn.chunk_by(|a, b| a + 1 == *b);
        rows.extend(runs.map(|run| all.start + run[0]..all.start + run[run.len() - 1] + 1));
    }
    bags.select_rows(batch, &rows, &sizes)
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
