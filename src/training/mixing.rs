//! Bags that are made of two others: mixup of bags (Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: beyond empirical risk minimization",
//! ICLR 2018), with instances of both in place of sums of their features, which bags of different sizes do not have (as PseMix has
//! pseudo-bags of both: Liu and others, "Pseudo-bag mixup augmentation for multiple instance learning", IEEE TMI 2024).
//!
//! A cross-entropy is linear in its target, so a mixed bag whose two bags are of different classes stands in the batch twice, once
//! with each class, weighted by the shares. That is the loss of the mixed target, for every form of it.

use super::sampling::some_of;
use crate::bag::Bags;
use crate::error::Result;
use crate::random::Random;
use std::ops::Range;

/// Beside those of weights, order, views and drawn instances.
const STREAM: u64 = 3 << 62;

/// What a step sees in the place of some bags.
pub(super) struct Seen {
    /// The bags.
    pub bags: Bags,
    /// The bag that each comes from, the first of the two that it is mixed of.
    pub of: Vec<usize>,
    /// How much each counts in the loss, or each label of it.
    pub weights: Vec<f32>,
}

/// The other bag that each of `batch` is mixed with: any other of `training`. It depends on seed, epoch and bag alone.
pub(super) fn partners(batch: &[usize], training: &[usize], seed: u64, epoch: u32) -> Vec<usize> {
    let one = |&bag: &usize| {
        let Some((&last, others)) = training.split_last().filter(|(_, others)| !others.is_empty()) else { return bag };
        let drawn = others[of_bag(seed, epoch, bag).below(others.len())];
        if drawn == bag { last } else { drawn }
    };
    batch.iter().map(one).collect()
}

fn of_bag(seed: u64, epoch: u32, bag: usize) -> Random {
    Random::new(seed, STREAM + (u64::from(epoch) << 30) + bag as u64)
}

/// The bags `batch`, each mixed with its partner: of the instances that an epoch sees of a bag (`seen`) a share l of the one and 1 - l of
/// the other, l drawn from Beta(alpha, alpha), both rounded, one instance at least. `weights` are those of the bags and of their
/// partners.
///
/// # Errors
/// [`crate::Error::Format`] for a file of features that changed since it was mapped.
pub(super) fn mix(
    bags: &Bags,
    [batch, partners]: [&[usize]; 2],
    weights: [&[f32]; 2],
    seen: impl Fn(usize) -> usize,
    (alpha, seed, epoch): (f32, u64, u32),
) -> Result<Seen> {
    let (mut which, mut of, mut rows, mut sizes, mut counts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let each = weights[0].len() / batch.len().max(1);
    for (at, (&bag, &partner)) in batch.iter().zip(partners).enumerate() {
        let mut random = of_bag(seed, epoch, bag);
        // The partner is the first number of the stream.
        random.u64();
        let share = beta(f64::from(alpha), &mut random);
        let (of_both, size) = both(bags, [bag, partner], share, &seen, &mut random);
        let [own, others] = weights.map(|of| &of[at * each..(at + 1) * each]);
        let mut put = |named: usize, weights: Vec<f32>| {
            which.push(named);
            of.push(bag);
            rows.extend(of_both.iter().cloned());
            sizes.push(size);
            counts.extend(weights);
        };
        let scaled = |weights: &[f32], share: f64| weights.iter().map(|w| (f64::from(*w) * share) as f32).collect();
        // Bags of one class are a bag of it.
        match bags.label(bag).zip(bags.label(partner)) {
            Some((a, b)) if a == b => put(bag, own.to_vec()),
            _ if partner == bag => put(bag, own.to_vec()),
            _ => {
                put(bag, scaled(own, share));
                put(partner, scaled(others, 1.0 - share));
            }
        }
    }
    Ok(Seen { bags: bags.select_rows(&which, &rows, &sizes)?, of, weights: counts })
}

/// Runs of rows of two bags, and how many rows these are.
fn both(
    bags: &Bags,
    pair: [usize; 2],
    share: f64,
    seen: impl Fn(usize) -> usize,
    random: &mut Random,
) -> (Vec<Range<usize>>, usize) {
    let counts = [0, 1].map(|at| {
        let count = seen(bags.rows(pair[at]).len()) as f64;
        (count * if at == 0 { share } else { 1.0 - share }).round() as usize
    });
    let counts = if counts == [0, 0] { [1, 0] } else { counts };
    let mut rows = Vec::new();
    for (bag, count) in pair.into_iter().zip(counts) {
        rows.extend(some_of(&bags.rows(bag), count, random));
    }
    (rows, counts[0] + counts[1])
}

/// A draw of Beta(alpha, alpha), by Jöhnk (1964), which draws often enough where alpha is at most 2.
fn beta(alpha: f64, random: &mut Random) -> f64 {
    loop {
        // In logarithms, since small alphas make powers of 0.
        let [x, y] = [0; 2].map(|_| (1.0 - random.uniform()).ln() / alpha);
        if x.exp() + y.exp() <= 1.0 {
            let share = 1.0 / (1.0 + (y - x).exp());
            return if share.is_nan() { 0.5 } else { share };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;
    use crate::device::Device;
    use crate::methods::Method;
    use crate::model::{Model, Spec};
    use crate::ops::loss::Soft;
    use crate::session::Session;
    use crate::tape::Storage;

    /// Every row has its number.
    fn bags() -> Bags {
        let sizes = [40, 30, 1, 25];
        let features = Features::F32((0..96).map(|v| v as f32).collect());
        Bags::packed(features, 1, &sizes).unwrap().with_labels(vec![0, 1, 1, 0]).unwrap()
    }

    #[test]
    fn mixed_bags_have_shares_of_both() {
        let bags = bags();
        let weights = [0.25, 0.5, 0.5, 0.25];
        for epoch in 0..50 {
            let batch = [0, 1, 2, 3];
            let others = partners(&batch, &batch, 3, epoch);
            assert!(batch.iter().zip(&others).all(|(a, b)| a != b) && others.iter().all(|b| *b < 4));
            let of_others: Vec<f32> = others.iter().map(|&bag| weights[bag]).collect();
            let told = [&weights[..], &of_others];
            let seen = mix(&bags, [&batch, &others], told, |all| all, (0.8, 3, epoch)).unwrap();
            seen.bags.validate().unwrap();
            let values = seen.bags.features.to_f32();
            for bag in batch {
                let entries: Vec<usize> = (0..seen.of.len()).filter(|&at| seen.of[at] == bag).collect();
                let rows = |entry: usize| &values[seen.bags.rows(entry)];
                let from =
                    |of: usize| rows(entries[0]).iter().filter(|v| bags.rows(of).contains(&(**v as usize))).count();
                let (own, other) = (from(bag), from(others[bag]));
                assert_eq!(own + other, rows(entries[0]).len(), "of two bags alone");
                let labels: Vec<u32> = entries.iter().map(|&at| seen.bags.label(at).unwrap()).collect();
                if bags.label(bag) == bags.label(others[bag]) {
                    assert_eq!((entries.len(), seen.weights[entries[0]]), (1, weights[bag]));
                    continue;
                }
                assert_eq!(labels, [bags.label(bag).unwrap(), bags.label(others[bag]).unwrap()]);
                assert_eq!(rows(entries[0]), rows(entries[1]), "one bag with two labels");
                // The share that the label counts by is that of the instances, to rounding.
                let share = f64::from(seen.weights[entries[0]] / weights[bag]);
                assert!((f64::from(seen.weights[entries[1]] / of_others[bag]) - (1.0 - share)).abs() < 1e-5);
                let wanted = [(own, bag, share), (other, others[bag], 1.0 - share)];
                for (count, of, share) in wanted.into_iter().filter(|_| own + other > 1) {
                    let all = bags.rows(of).len() as f64;
                    assert!((count as f64 - share * all).abs() <= 0.501, "{count} of {all} by {share}");
                }
            }
            // Whatever the batch, a bag is mixed alike.
            let alone = mix(&bags, [&[1], &others[1..2]], [&[1.0], &[1.0]], |all| all, (0.8, 3, epoch)).unwrap();
            let first = seen.of.iter().position(|&bag| bag == 1).unwrap();
            assert_eq!(alone.bags.features.to_f32()[alone.bags.rows(0)], values[seen.bags.rows(first)]);
        }
        assert_eq!(partners(&[2], &[2], 1, 0), [2], "nobody else");
        // Half of the instances are seen.
        let few = mix(&bags, [&[0], &[1]], [&[1.0], &[1.0]], |all| all.min(4), (0.8, 3, 0)).unwrap();
        assert!((3..=5).contains(&few.bags.rows(0).len()));
    }

    /// Mean 1 / 2 and variance 1 / (4 (2 alpha + 1)).
    #[test]
    fn shares_are_of_the_beta_distribution() {
        for alpha in [0.05, 0.4, 1.0, 2.0] {
            let mut random = Random::new(2, 7);
            let draws: Vec<f64> = (0..20_000).map(|_| beta(alpha, &mut random)).collect();
            assert!(draws.iter().all(|share| (0.0..=1.0).contains(share)));
            let mean = draws.iter().sum::<f64>() / 20_000.0;
            let variance = draws.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / 20_000.0;
            let wanted = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            assert!((mean - 0.5).abs() < 0.02 && (variance / wanted - 1.0).abs() < 0.05, "{alpha}: {mean} {variance}");
        }
    }

    /// A bag with both labels by shares has the loss and the gradients of the target between them, which label smoothing has
    /// by another way: of two classes the target of class 1 becomes 1 - e / 2.
    #[test]
    fn two_labels_by_shares_are_the_target_between_them() {
        let one = Bags::packed(Features::F32(vec![0.3, -1.0, 0.7, 2.0, 1.0, -0.2]), 2, &[3]).unwrap();
        let twice = one.select_rows(&[0, 0], &[0..3, 0..3], &[3, 3]).unwrap().with_labels(vec![1, 0]).unwrap();
        let one = one.with_labels(vec![1]).unwrap();
        for name in ["gated-attention", "mi-net", "dsmil"] {
            let method = Method::named(name).unwrap().with(&serde_json::Map::new()).unwrap();
            let gradients = |bags: &Bags, weights: &[f32], soft: Soft| {
                let model = Model::new(Spec::new(method.clone(), 2, 2), 5).unwrap();
                let mut session = Session::softened(&Device::host(), model, Storage::F32, false, soft).unwrap();
                session.gradients(bags, Some(weights)).unwrap()
            };
            let wanted = gradients(&one, &[1.0], Soft { smoothing: 0.3, focusing: 0.0 });
            let found = gradients(&twice, &[0.85, 0.15], Soft::default());
            assert!((found.loss - wanted.loss).abs() < 1e-6, "{name}: {} {}", found.loss, wanted.loss);
            for (parameter, found) in &found.parameters {
                let wanted = &wanted.parameters[parameter];
                let close = found.values.iter().zip(&wanted.values).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(close, "{name}, {parameter}");
            }
        }
    }
}
