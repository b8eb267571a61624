//! Events in series of frames of which only is known that they occur: which pool finds the frames, and what exponents
//! long and short events learn (Power Pooling, Liu and others 2021; Adaptive Pooling, Zhou and others 2017).

use super::fit::Fit;
use super::{Experiment, Grid, Metrics, Options, Task};
use crate::bag::{Bags, Features};
use crate::label_sets::LabelSets;
use crate::metrics::auc;
use crate::model::{Model, Spec};
use crate::random::Random;
use crate::session::Session;
use crate::tape::Storage;
use crate::training::{self, Settings, metrics::LabelSetScores};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Events of four lengths.
pub const EXPERIMENT: Experiment = Experiment {
    name: "weak-events",
    title: "Weakly labelled events of four lengths",
    paper: "Ours, after the setting of Liu, Chen, Wang, Zhang: Power Pooling, IJCNN 2021 (arXiv 2010.09985)",
    data: "",
    takes: "a few minutes a seed on two CPU cores",
    protocol: "A bag is a series of 60 frames of 16 features. Each of four events occurs in it with probability 0.4, for about \
               2, 6, 15 or 40 frames from a random one on, and adds its direction to the features of these; events overlap, and \
               normal noise lies on every feature. Labels say which events occur in a bag, not where. 200 training and 200 test \
               bags. One layer of 32 in front of every pool, no dropout, Adam with learning rate 1e-3, 40 epochs, the last one \
               taken. The table has the AUC of frames, the mean over the events, over all frames of the test bags; the files have \
               the AUC of bags, that of the frames of each event, and the exponents that were learnt, from the shortest event to \
               the longest. The maximum is power pooling with an exponent of 100 that stays.",
    seeds: 3,
    grid,
};

const FRAMES: usize = 60;
const WIDTH: usize = 16;
/// Mean lengths of the events.
const LENGTHS: [usize; 4] = [2, 6, 15, 40];
/// Probability of an event in a bag.
const OCCURS: f64 = 0.4;

/// Bags with their labels, and for each frame and event whether it is there.
fn series(count: usize, noise: f64, seed: u64, stream: u64) -> Result<(Bags, Vec<[bool; LENGTHS.len()]>)> {
    let mut directions = Random::new(seed, 0);
    let directions: Vec<f64> = (0..LENGTHS.len() * WIDTH).map(|_| directions.normal() / 2.0).collect();
    let mut random = Random::new(seed, stream);
    let (mut values, mut frames, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let mut there = vec![[false; LENGTHS.len()]; FRAMES];
        for (event, &length) in LENGTHS.iter().enumerate() {
            let occurs = random.uniform() < OCCURS;
            labels.push(Some(occurs));
            if occurs {
                // Half to one and a half times the mean.
                let length = (length as f64 * (0.5 + random.uniform())).round().max(1.0) as usize;
                let first = random.below(FRAMES - length.min(FRAMES) + 1);
                there[first..(first + length).min(FRAMES)].iter_mut().for_each(|frame| frame[event] = true);
            }
        }
        for frame in &there {
            for column in 0..WIDTH {
                let of_event = |event: usize| f64::from(u8::from(frame[event])) * directions[event * WIDTH + column];
                let signal = (0..LENGTHS.len()).map(of_event).sum::<f64>();
                values.push((signal + noise * random.normal()) as f32);
            }
        }
        frames.extend(there);
    }
    let names = LENGTHS.map(|length| format!("{length} frames")).to_vec();
    let bags = Bags::packed(Features::F32(values), WIDTH, &vec![FRAMES; count])?;
    Ok((bags.with_label_sets(LabelSets::new(LENGTHS.len(), labels)?, names)?, frames))
}

fn rows() -> [(&'static str, &'static str, Value); 6] {
    let fixed = |exponent: f64| json!({ "learn": false, "exponent": exponent });
    [
        ("power, learnt", "power-pooling", json!({})),
        ("adaptive, learnt", "adaptive-pooling", json!({})),
        ("adaptive, bag loss", "adaptive-pooling", json!({ "joint": false, "negative": "bag" })),
        ("mean", "power-pooling", fixed(0.0)),
        ("linear softmax", "power-pooling", fixed(1.0)),
        ("maximum", "power-pooling", fixed(100.0)),
    ]
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("frame_auc", ["pool", "noise"]);
    let (columns, epochs, counts) = match options.quick {
        true => (&[0.5][..], 2, [20, 20]),
        false => (&[0.5, 1.0][..], 40, [200, 200]),
    };
    for (row, method, of_pool) in rows() {
        let mut settings = json!({ "embed": [32], "dropout": 0.0, "init": "torch" });
        for (name, value) in of_pool.as_object().into_iter().flatten() {
            settings[name] = value.clone();
        }
        for &noise in columns {
            let mut fit = Fit::new(method, settings.clone())?;
            fit.training = Settings { epochs, learning_rate: 1e-3, ..fit.training };
            let data = json!({ "generator": "weak-events", "frames": FRAMES, "lengths": LENGTHS, "noise": noise,
                "train": counts[0], "test": counts[1] });
            let key = fit.settings(data)?;
            grid.cell([row, &noise.to_string()], key, None, move |task| run(task, &fit, counts, noise));
        }
    }
    Ok(grid)
}

fn run(task: &Task, fit: &Fit, [train, test]: [usize; 2], noise: f64) -> Result<Metrics> {
    let (bags, _) = series(train, noise, task.seed, 1)?;
    let model = Model::new(Spec::of(fit.method.clone(), &bags), task.seed)?;
    let settings = Settings { seed: task.seed, ..fit.training.clone() };
    let all: Vec<usize> = (0..train).collect();
    let outcome = training::train_on(task.device, model, &settings, &bags, &all, &[], &mut (), task.persistence())?;
    let exponents = outcome.model.parameter("pool.exponent").context("the pool has exponents")?.to_vec();
    let adaptive = fit.method.name() == "adaptive-pooling";
    let mut session = Session::new(task.device, outcome.model, Storage::F32)?;
    let (bags, frames) = series(test, noise, task.seed, 2)?;
    let found = training::predict(&mut session, &bags, &(0..test).collect::<Vec<_>>(), None)?;
    let sets = bags.label_sets.as_ref().context("the bags have labels")?;
    let of_bags = LabelSetScores::new(&found.probabilities, sets, &bags.class_names)?;
    let scores = found.class_scores.as_ref().context("each event has scores")?;
    let mut metrics = Metrics::new();
    let mut keep = |name: String, value: Option<f64>| value.map(|value| metrics.insert(name, value));
    let mut of_frames = Vec::new();
    for (event, &length) in LENGTHS.iter().enumerate() {
        let column: Vec<f32> = scores.iter().skip(event).step_by(LENGTHS.len()).copied().collect();
        let there: Vec<bool> = frames.iter().map(|frame| frame[event]).collect();
        let area = auc(&column, &there);
        of_frames.extend(area);
        keep(format!("frame_auc_{length}"), area);
        let exponent = f64::from(exponents[event]);
        // The parameter of adaptive pooling is in front of its softplus.
        let exponent = if adaptive { (exponent.exp().ln_1p() + 0.01).min(64.0) } else { exponent };
        keep(format!("exponent_{length}"), Some(exponent));
    }
    keep("frame_auc".into(), Some(of_frames.iter().sum::<f64>() / of_frames.len().max(1) as f64));
    keep("auc".into(), of_bags.auc);
    Ok(metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_occurs_in_the_frames() {
        let (bags, frames) = series(100, 0.5, 3, 1).unwrap();
        let sets = bags.label_sets.as_ref().unwrap();
        let mut lengths = [0usize; LENGTHS.len()];
        let mut occur = [0usize; LENGTHS.len()];
        for bag in 0..bags.len() {
            for event in 0..LENGTHS.len() {
                let there = frames[bags.rows(bag)].iter().filter(|frame| frame[event]).count();
                assert_eq!(sets.get(bag).unwrap()[event], Some(there > 0));
                lengths[event] += there;
                occur[event] += usize::from(there > 0);
            }
        }
        let means: Vec<f64> = lengths.iter().zip(occur).map(|(sum, bags)| *sum as f64 / bags as f64).collect();
        assert!(means.windows(2).all(|w| 1.5 * w[0] < w[1]), "{means:?}");
        assert!(occur.iter().all(|&bags| (20..65).contains(&bags)), "{occur:?}");
        let again = series(100, 0.5, 3, 1).unwrap().0;
        assert_eq!(again.features, bags.features);
        assert_ne!(series(100, 0.5, 4, 1).unwrap().0.features, bags.features);
    }
}
