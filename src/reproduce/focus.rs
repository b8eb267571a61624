//! Bags of which the training ones hold a hint that later ones contradict: who respects that a bag is positive by what is
//! in it.

use super::fit::Fit;
use super::{Experiment, Grid, Options};
use crate::bag::{Bags, Features};
use crate::data::{Dataset, Split};
use crate::error::Result as Checked;
use crate::random::Random;
use crate::training::{Optimiser, Settings};
use anyhow::Result;
use serde_json::{Value, json};

/// Clean and poisoned bags.
pub const EXPERIMENT: Experiment = Experiment {
    name: "focus",
    title: "Poisoned bags",
    paper: "Ours, after the poisoned set of Liu, Zhang, Zhang 2024 (FocusMIL, arXiv 2408.09449), whose figures we have not read",
    data: "",
    takes: "four minutes on two CPU cores",
    protocol: "Drawn: bags of 20 to 40 instances of 16 normal features, 100 to train and 200 to test, positive and negative \
               in turn; in a positive bag a tenth of the instances are moved by 3 along the first feature. Poisoned: in each \
               training bag that is negative a tenth of the instances are moved by 6 along the second feature, and in the \
               test bags in each that is positive, none of them a key instance. One ReLU layer of 64 in front, no dropout, Adam with \
               learning rate 1e-3 and weight decay 1e-4, one bag an update, 40 epochs, the last one taken; FocusMIL by AdamW at \
               the same rate, three bags an update and so 120 epochs, its other settings as they are.",
    seeds: 20,
    grid,
};

/// How bags are drawn.
#[derive(Clone, Copy)]
struct Drawn {
    train: usize,
    test: usize,
    poisoned: bool,
    seed: u64,
}

const WIDTH: usize = 16;

impl Drawn {
    fn bags(&self) -> Checked<Dataset> {
        let (mut features, mut sizes, mut labels, mut keys, mut split) = (vec![], vec![], vec![], vec![], vec![]);
        for (part, count, stream) in [(Split::Train, self.train, 1), (Split::Test, self.test, 2)] {
            let mut random = Random::new(self.seed, stream);
            for bag in 0..count {
                let (size, label) = (20 + random.below(21), (bag + 1) % 2);
                let tenth = size / 10;
                // The training bags have their poison where the test bags have none.
                let poisoned = self.poisoned && (label == 0) == (part == Split::Train);
                for i in 0..size {
                    let key = label == 1 && i < tenth;
                    let poison = poisoned && (tenth..2 * tenth).contains(&i);
                    let moved = [3.0 * f32::from(u8::from(key)), 6.0 * f32::from(u8::from(poison))];
                    let moved = |column: usize| moved.get(column).copied().unwrap_or_default();
                    features.extend((0..WIDTH).map(|column| random.normal() as f32 + moved(column)));
                    keys.push(i32::from(key));
                }
                sizes.push(size);
                labels.push(label as u32);
                split.push(part);
            }
        }
        let mut bags = Bags::packed(Features::F32(features), WIDTH, &sizes)?.with_labels(labels)?;
        bags.instance_labels = Some(keys);
        Ok(Dataset { split: Some(split), ..Dataset::new(bags, "poisoned") })
    }
}

/// Rows with their method and what differs from its defaults.
fn rows() -> Vec<(&'static str, &'static str, Value)> {
    let plain = json!({ "embed": [64], "dropout": 0.0, "init": "torch" });
    let pooled = |pool: &str| {
        let mut settings = plain.clone();
        settings["pool"] = pool.into();
        settings
    };
    vec![
        ("attention", "attention", plain.clone()),
        ("FocusMIL", "focus-mil", json!({})),
        ("gated attention", "gated-attention", plain.clone()),
        ("embedding, mean", "mi-net-bag", pooled("mean")),
        ("embedding, max", "mi-net-bag", pooled("max")),
        ("DSMIL", "dsmil", plain.clone()),
        ("instance, mean", "mi-net", pooled("mean")),
        ("instance, max", "mi-net", pooled("max")),
    ]
}

fn grid(options: &Options) -> Result<Grid> {
    let mut grid = Grid::new("auc", ["method", "bags"]);
    let (methods, [train, test], epochs) = match options.quick {
        true => (0..2, [20, 40], 5),
        false => (0..rows().len(), [100, 200], 40),
    };
    for (row, method, settings) in &rows()[methods] {
        let (batch, optimiser) = match *method {
            "focus-mil" => (3, Fit::new(method, json!({}))?.training.optimiser),
            _ => (1, Optimiser::adam(1e-4)),
        };
        let fit = Fit::new(method, settings.clone())?;
        // As many updates for all.
        let epochs = epochs * batch as u32;
        let fit = fit.trained(|t| *t = Settings { epochs, batch, optimiser, learning_rate: 1e-3, ..t.clone() });
        for (column, poisoned) in [("clean", false), ("poisoned", true)] {
            let fit = fit.clone();
            let data = json!({ "generator": "poisoned", "train": train, "test": test, "poisoned": poisoned });
            grid.cell([row, column], fit.settings(data)?, None, move |task| {
                fit.run(task, &Drawn { train, test, poisoned, seed: task.seed }.bags()?, task.seed)
            });
        }
    }
    Ok(grid)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positive bags hold key instances; poison stands with the negative ones in training and with the positive ones in tests.
    #[test]
    fn poison_changes_sides() {
        let set = Drawn { train: 20, test: 20, poisoned: true, seed: 3 }.bags().unwrap();
        let (labels, keys) = (set.bags.labels.as_ref().unwrap(), set.instance_targets().unwrap());
        let features = set.bags.features.to_f32();
        // Its feature sums to far more than that of an instance without.
        let poison = |bag: usize| set.bags.rows(bag).filter(|i| features[i * WIDTH + 1] > 4.5).count() > 0;
        for (bag, &label) in labels.iter().enumerate() {
            assert_eq!(label == 1, set.bags.rows(bag).any(|i| keys[i] == 1));
            assert_eq!(poison(bag), (label == 0) == (bag < 20), "bag {bag}");
        }
        let clean = Drawn { train: 20, test: 20, poisoned: false, seed: 3 }.bags().unwrap();
        assert!(clean.bags.features.to_f32().chunks_exact(WIDTH).filter(|row| row[1] > 4.5).count() == 0);
    }
}
