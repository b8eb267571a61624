//! MIREL (Liu, Ji 2024) on MNIST bags: whether a model knows which of its predictions of bags and instances to trust, and
//! that pictures of another kind are none of those it has seen.

use super::fit::Fit;
use super::measures::{self, Measure, SHOWN};
use super::{Experiment, Grid, Metrics, Options, Published, Task, sets};
use crate::bag::{Bags, Features};
use crate::data::{Dataset, Key, Pool, Split, Textures};
use crate::metrics::{Metric, auc};
use crate::random::Random;
use crate::session::Session;
use crate::tape::Storage;
use crate::training::{Predictions, predict};
use anyhow::{Context, Result};
use serde_json::json;

/// Attention MIL beside MIREL on it.
pub const EXPERIMENT: Experiment = Experiment {
    name: "mirel",
    title: "What bags and instances are known by, on MNIST bags",
    paper: "Liu, Ji: Weakly-Supervised Residual Evidential Learning for Multi-Instance Uncertainty Estimation, ICML 2024 \
            (arXiv 2405.04405)",
    data: sets::MNIST,
    takes: "half an hour a seed on two CPU cores",
    protocol: "500 training and 100 validation bags of MNIST's training images, 1000 test bags of its test images, as the \
               paper has them: sizes from N(10, 2), rounded down, target 9, in positive bags a share of targets from U(0, 1) with \
               at least one target and one other digit, positive and negative bags in turn, pixels in [0, 1]. A seed draws \
               images, bags, weights and order. LeNet of Attention MIL, whose last layer has 500 columns (the paper's 800); Adam, \
               learning rate 1e-4, weight decay 1e-5 on weights, 8 bags an update, at most 200 epochs, stopped after 20 without \
               a lower validation loss, of which the lowest chooses the epoch; the paper also halves the rate on a plateau, and \
               adds 1 - accuracy to what it stops by. Both rows are trained so. Instances of attention MIL are scored by attention, \
               stretched to 0..1 over its bag. Confidence is the larger of the two probabilities; its AUROC says whether right \
               predictions have more of it than wrong ones. Strange bags and instances are 1000 bags of textures in grey (bagrad's own \
               eight patterns, 28 x 28), and the AUROC says whether they have less confidence, or more vacuity, than the test bags. The \
               paper's strange bags are of Fashion- and Kuzushiji-MNIST, so of those columns none is beside a published figure. Published \
               are the authors' predictions of one seed.",
    seeds: 3,
    grid,
};

const MEASURES: [Measure; 7] = [
    ("bag AUC", "auc"),
    ("instance AUC", "instance_auc"),
    ("instance accuracy", "instance_accuracy"),
    ("instance confidence AUROC", "instance_confidence_auroc"),
    ("strange bags, confidence", "strange_bags_confidence"),
    ("strange bags, vacuity", "strange_bags_vacuity"),
    ("strange instances, confidence", "strange_instances_confidence"),
];

const SOURCE: &str = "the authors' files of predictions, seed 42";

/// How many bags are drawn for what.
#[derive(Clone, Copy)]
struct Counts {
    train: usize,
    validation: usize,
    test: usize,
    strange: usize,
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new(SHOWN, ["method", "measure"]);
    let pools = sets::mnist(&options.data);
    let (counts, epochs) = match options.quick {
        true => (Counts { train: 24, validation: 12, test: 40, strange: 20 }, 2),
        false => (Counts { train: 500, validation: 100, test: 1000, strange: 1000 }, 200),
    };
    let picture = json!({ "embedder": "lenet", "embed": [], "dropout": 0.0 });
    let with = |more: &[(&str, serde_json::Value)]| {
        let mut settings = picture.clone();
        more.iter().for_each(|(name, value)| settings[*name] = value.clone());
        settings
    };
    // What the authors' predictions of the first four measures give.
    let rows = [
        ("attention", "attention", with(&[("attention", 256.into())]), [0.9856, 0.738, 0.751, 0.619]),
        ("MIREL on attention", "mirel", with(&[]), [0.9905, 0.983, 0.875, 0.955]),
    ];
    let recipe = Fit::new("mirel", json!({}))?.training;
    for (row, method, settings, figures) in rows {
        let mut fit = Fit::new(method, settings)?;
        fit.training = recipe.clone();
        (fit.training.epochs, fit.training.patience, fit.training.monitor) = (epochs, Some(20), Metric::Loss);
        let data = json!({ "generator": "mnist-share", "target": TARGET, "train": counts.train,
                           "validation": counts.validation, "test": counts.test, "strange": counts.strange });
        let key = fit.settings(data)?;
        let (pools, quick) = (pools.clone(), options.quick);
        let published = move |heading: &str| {
            let at = MEASURES.iter().position(|m| m.0 == heading).filter(|_| !quick)?;
            figures.get(at).and_then(|&value| Published::new(value, None, SOURCE))
        };
        // Without evidence there is no vacuity.
        let measures: Vec<Measure> =
            MEASURES.into_iter().filter(|m| method == "mirel" || m.1 != "strange_bags_vacuity").collect();
        measures::row(&mut grid, row, &key, &measures, published, move |task| {
            let [train, test] = pools.get()?;
            run(&fit, task, &bags(train, test, counts, task.seed)?, &strange(counts.strange, task.seed)?)
        });
    }
    Ok(grid)
}

const TARGET: u8 = 9;
/// Mean and deviation of the size of a bag.
const SIZE: [f64; 2] = [10.0, 2.0];

fn size(random: &mut Random) -> usize {
    ((SIZE[0] + SIZE[1] * random.normal()) as i64).max(2) as usize
}

/// Bags of images with a share of targets in the positive ones.
fn bags(train: &Pool, test: &Pool, counts: Counts, seed: u64) -> Result<Dataset> {
    let (mut features, mut sizes, mut labels, mut keys, mut split) = (vec![], vec![], vec![], vec![], vec![]);
    // Validation bags have other images than training bags.
    let [of_train, of_validation] = train.split(train.len() * 5 / 6, &mut Random::new(seed, 0))?;
    let parts = [
        (&of_train, Split::Train, counts.train),
        (&of_validation, Split::Validation, counts.validation),
        (test, Split::Test, counts.test),
    ];
    for (stream, (pool, part, count)) in parts.into_iter().enumerate() {
        let (targets, others): (Vec<usize>, Vec<usize>) = (0..pool.len()).partition(|&i| pool.labels()[i] == TARGET);
        let mut random = Random::new(seed, 1 + stream as u64);
        for bag in 0..count {
            let (size, positive) = (size(&mut random), bag.is_multiple_of(2));
            let share = (random.uniform() * size as f64).round() as usize;
            let key = if positive { share.clamp(1, size - 1) } else { 0 };
            for place in random.permutation(size) {
                let from = if place < key { &targets } else { &others };
                let image = from[random.below(from.len())];
                features.extend(pool.image_values(image).map(pixel));
                keys.push(i32::from(place < key));
            }
            sizes.push(size);
            labels.push(u32::from(positive));
            split.push(part);
        }
    }
    let mut bags =
        Bags::packed(Features::F32(features), train.image().iter().product(), &sizes)?.with_labels(labels)?;
    bags.class_names = vec![format!("without {TARGET}"), format!("with {TARGET}")];
    (bags.instance_labels, bags.image) = (Some(keys), Some(train.image()));
    Ok(Dataset { split: Some(split), key: Key::AboveZero, ..Dataset::new(bags, "mnist-share") })
}

/// What MNIST is read with, taken back: 0..1.
fn pixel(value: f32) -> f32 {
    value * 0.3081 + 0.1307
}

/// Bags of textures in grey.
fn strange(count: usize, seed: u64) -> Result<Bags> {
    let textures =
        Textures { side: 28, mean: SIZE[0], spread: SIZE[1], train: 0, test: count, seed, ..Textures::default() };
    let drawn = textures.bags()?.bags;
    let colours = drawn.features.to_f32();
    let grey = colours.chunks_exact(3).map(|c| c.iter().sum::<f32>() / 3.0).collect();
    let sizes: Vec<usize> = drawn.offsets.windows(2).map(|w| w[1] - w[0]).collect();
    Ok(Bags::packed(Features::F32(grey), drawn.width / 3, &sizes)?)
}

fn run(fit: &Fit, task: &Task, set: &Dataset, strange: &Bags) -> Result<Metrics> {
    let (mut metrics, model) = fit.run_from(task, set, task.seed, None)?;
    let mut session = Session::new(task.device, model, Storage::F32)?;
    let test = set.indices(Split::Test);
    let known = predict(&mut session, &set.bags, &test, None)?;
    let other = predict(&mut session, strange, &(0..strange.len()).collect::<Vec<_>>(), None)?;
    let targets = set.instance_targets().context("drawn bags have key instances")?;
    let key: Vec<bool> = test.iter().flat_map(|&b| &targets[set.bags.rows(b)]).map(|&t| t != 0).collect();
    let [known_p, other_p] = [probabilities(&known), probabilities(&other)];
    let right: Vec<bool> = known_p.iter().zip(&key).map(|(&p, &key)| (p >= 0.5) == key).collect();
    let certain = |all: &[f32]| all.iter().map(|&p| p.max(1.0 - p)).collect::<Vec<f32>>();
    let bags = |of: &Predictions| (0..of.len()).map(|b| of.bag(b)[1]).collect::<Vec<f32>>();
    let accuracy = right.iter().filter(|r| **r).count() as f64 / right.len() as f64;
    let vacuity = |of: &Predictions| of.of_bags.iter().find(|t| t.name == "bag-vacuity").map(|t| t.values.clone());
    let measured = [
        ("instance_auc", auc(&known_p, &key)),
        ("instance_accuracy", Some(accuracy)),
        ("instance_confidence_auroc", auc(&certain(&known_p), &right)),
        ("strange_bags_confidence", apart(&certain(&bags(&known)), &certain(&bags(&other)))),
        ("strange_instances_confidence", apart(&certain(&known_p), &certain(&other_p))),
        ("strange_bags_vacuity", vacuity(&other).zip(vacuity(&known)).and_then(|(other, known)| apart(&other, &known))),
    ];
    metrics.extend(measured.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(metrics)
}

/// The AUROC of `high` having larger values than `low`.
fn apart(high: &[f32], low: &[f32]) -> Option<f64> {
    let is_high: Vec<bool> = (0..high.len() + low.len()).map(|i| i < high.len()).collect();
    auc(&[high, low].concat(), &is_high)
}

/// How likely instances are key: told by the method, or attention stretched to 0..1 over its bag.
fn probabilities(of: &Predictions) -> Vec<f32> {
    if of.scores_are == crate::tape::Meaning::Probability {
        return of.scores.clone();
    }
    let bags = of.offsets.windows(2).map(|w| &of.scores[w[0]..w[1]]);
    bags.flat_map(|scores| {
        // Larger scores have larger attention; the softmax is taken of the differences.
        let weights: Vec<f32> = match scores.iter().copied().reduce(f32::max) {
            Some(largest) => scores.iter().map(|s| (s - largest).exp()).collect(),
            None => Vec::new(),
        };
        let least = weights.iter().copied().fold(1.0, f32::min);
        let room = if least < 1.0 { 1.0 - least } else { 1.0 };
        weights.into_iter().map(move |w| (w - least) / room).collect::<Vec<_>>()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bags_are_as_the_protocol_says() {
        let labels: Vec<u8> = (0..120).map(|i| i % 10).collect();
        let pool = Pool::new(labels.iter().flat_map(|&l| [l; 4]).collect(), labels, [2, 2, 1], 1.0, 0.0).unwrap();
        let counts = Counts { train: 30, validation: 10, test: 20, strange: 0 };
        let set = bags(&pool, &pool, counts, 1).unwrap();
        let parts = Split::ALL.map(|part| set.indices(part).len());
        assert_eq!(parts, [30, 10, 20]);
        let keys = set.bags.instance_labels.as_ref().unwrap();
        for bag in 0..set.bags.len() {
            let rows = set.bags.rows(bag);
            let count = rows.clone().filter(|&r| keys[r] == 1).count();
            match set.bags.label(bag) {
                Some(1) => assert!((1..rows.len()).contains(&count), "{count} of {}", rows.len()),
                _ => assert_eq!(count, 0),
            }
            let value = |row: usize| (set.bags.features.get(4 * row) - 0.1307) / 0.3081;
            rows.for_each(|r| assert_eq!((value(r).round() as u8 == TARGET) as i32, keys[r]));
        }
        assert_eq!(bags(&pool, &pool, counts, 1).unwrap().bags.features, set.bags.features);
        let strange = strange(3, 1).unwrap();
        assert_eq!((strange.len(), strange.width), (3, 28 * 28));
    }

    #[test]
    fn attention_is_stretched_over_its_bag() {
        let scores = vec![2.0, 2.0 + 2f32.ln(), 2.0 + 3f32.ln(), 5.0];
        let found = probabilities(&Predictions { scores, offsets: vec![0, 3, 4], ..Predictions::default() });
        let wanted = [0.0, 0.5, 1.0, 0.0];
        assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < 1e-6), "{found:?}");
        assert_eq!(apart(&[0.9, 0.4], &[0.5, 0.1]), Some(0.75));
    }
}
