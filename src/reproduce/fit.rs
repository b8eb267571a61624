//! What most runs are: a method trained on the training bags of a data set and judged by its test bags.

use super::{Metrics, Task};
use crate::data::{Dataset, Split, Standardiser};
use crate::methods::Method;
use crate::metrics::{Metric, average_precision};
use crate::model::{Model, Spec};
use crate::session::Session;
use crate::tape::Storage;
use crate::training::{self, Meaning, Settings};
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// A method and how it is trained.
#[derive(Clone, Debug)]
pub struct Fit {
    /// With its settings.
    pub method: Method,
    /// The recipe of its paper unless changed. The seed is that of the run.
    pub training: Settings,
    /// Features are z-scored by the training bags.
    pub standardise: bool,
    /// What the test bags decide; nothing in what we call a result.
    pub peeks: Option<Peeks>,
}

/// What published protocols let the bags that they measure on decide.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peeks {
    /// Features are z-scored by all bags, those of the test too.
    pub scales: bool,
    /// Of all epochs, the one with the most accurate answers for the test bags is taken.
    pub epoch: bool,
    /// Of all thresholds, the one with the most accurate answers for the test bags is taken.
    pub threshold: bool,
}

/// The accuracy with the threshold that is best for these labels, 0 and 1; `None` without any.
fn best_accuracy(probabilities: &[f32], labels: &[u32]) -> Option<f64> {
    let mut pairs: Vec<(f32, u32)> = probabilities.iter().copied().zip(labels.iter().copied()).collect();
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    // From all in class 1 to all in class 0, with equal probabilities on the same side.
    let mut right = labels.iter().filter(|&&label| label == 1).count();
    let mut best = right;
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        let ones = equal.iter().filter(|pair| pair.1 == 1).count();
        right = right - ones + (equal.len() - ones);
        best = best.max(right);
    }
    (!labels.is_empty()).then(|| best as f64 / labels.len() as f64)
}

impl Fit {
    /// The method called `name` with `settings`, an object, and the recipe of its paper.
    ///
    /// # Errors
    /// For a method or setting that does not exist.
    pub fn new(name: &str, settings: Value) -> Result<Self> {
        let method = Method::named(name)?.with(settings.as_object().context("settings are an object")?)?;
        let training = Settings::for_method(&method);
        Ok(Self { method, training, standardise: false, peeks: None })
    }

    /// The same with the training changed.
    pub fn trained(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.training);
        self
    }

    /// All that decides the result, together with the data described by `data`.
    ///
    /// # Errors
    /// None in practice: settings are plain data.
    pub fn settings(&self, data: Value) -> Result<Value> {
        let mut training = serde_json::to_value(&self.training)?;
        training.as_object_mut().context("settings are an object")?.remove("seed");
        let mut settings =
            json!({ "data": data, "method": self.method, "training": training, "standardise": self.standardise });
        if let Some(peeks) = self.peeks {
            settings["test bags decide"] = serde_json::to_value(peeks)?;
        }
        Ok(settings)
    }

    /// Trains on the training bags of `set` and measures on its test bags. Where it has validation bags, they choose
    /// the epoch; otherwise the last one is taken. `seed` is that of this training.
    ///
    /// # Errors
    /// Of the bags, the settings or the device.
    pub fn run(&self, task: &Task, set: &Dataset, seed: u64) -> Result<Metrics> {
        Ok(self.run_from(task, set, seed, None)?.0)
    }

    /// As [`Fit::run`], with the model; a teacher starts from `start` where that is given.
    ///
    /// # Errors
    /// As [`Fit::run`], and of [`Model::start_from`].
    pub fn run_from(&self, task: &Task, set: &Dataset, seed: u64, start: Option<&Model>) -> Result<(Metrics, Model)> {
        set.check_for_training()?;
        let [train, mut validation, test] = Split::ALL.map(|part| set.indices(part));
        let mut bags = Cow::Borrowed(&set.bags);
        let peeks = self.peeks.unwrap_or(Peeks { scales: false, epoch: false, threshold: false });
        if self.standardise {
            let all: Vec<usize> = (0..bags.len()).collect();
            Standardiser::fit(&bags, if peeks.scales { &all } else { &train })?.apply(bags.to_mut())?;
        }
        if peeks.epoch {
            validation = test.clone();
        }
        let mut model = Model::new(Spec::of(self.method.clone(), &bags), seed)?;
        if let Some(start) = start {
            model.start_from(start)?;
        }
        let mut settings = Settings { seed, ..self.training.clone() };
        if peeks.epoch {
            settings.monitor = Metric::Accuracy;
        }
        let (device, persistence) = (task.device, task.persistence());
        let outcome = training::train_on(device, model, &settings, &bags, &train, &validation, &mut (), persistence)?;
        let epochs = outcome.epochs.len() as f64;
        let storage = if settings.half { Storage::F16 } else { Storage::F32 };
        let mut session = Session::new(device, outcome.model, storage)?;
        let found = training::predict(&mut session, &bags, &test, None)?;
        let labels = bags.labels.as_ref().context("labels were checked")?;
        let labels: Vec<u32> = test.iter().map(|&b| labels[b]).collect();
        let mut scores = found.measure(&labels)?;
        if peeks.threshold {
            let ones: Vec<f32> = (0..found.len()).map(|bag| found.bag(bag)[1]).collect();
            scores.accuracy = best_accuracy(&ones, &labels);
        }
        let targets: Option<Vec<u8>> =
            set.instance_targets().map(|targets| test.iter().flat_map(|&b| &targets[bags.rows(b)]).copied().collect());
        let instances = targets.as_ref().map(|targets| found.instance_auc(targets));
        let key: Option<Vec<bool>> = targets.as_ref().map(|targets| targets.iter().map(|&t| t != 0).collect());
        // What a logit says of an instance by itself.
        let told = key.as_ref().filter(|key| found.scores_are == Meaning::Logit && !key.is_empty()).map(|key| {
            let right = found.scores.iter().zip(key).filter(|(score, key)| (**score > 0.0) == **key).count();
            right as f64 / key.len() as f64
        });
        let precision = key.and_then(|key| average_precision(&found.scores, &key));
        let measured = [
            ("auc", scores.auc),
            ("accuracy", scores.accuracy),
            ("balanced_accuracy", scores.balanced_accuracy),
            ("log_loss", scores.log_loss),
            ("instance_auc", instances.and_then(|i| i.pooled)),
            ("instance_auc_per_bag", instances.and_then(|i| i.per_bag)),
            ("instance_auc_pr", precision),
            ("instance_ndcg", targets.and_then(|targets| found.ndcg(&targets))),
            ("instance_accuracy", told),
            ("epochs", Some(epochs)),
        ];
        let metrics = measured.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        Ok((metrics, session.into_model()?))
    }
}

#[cfg(test)]
mod tests {
    use super::best_accuracy;

    #[test]
    fn the_best_threshold_keeps_equal_answers_together() {
        assert_eq!(best_accuracy(&[], &[]), None);
        assert_eq!(best_accuracy(&[0.1, 0.2, 0.3], &[0, 1, 1]), Some(1.0));
        assert_eq!(best_accuracy(&[0.9, 0.2, 0.3], &[0, 1, 1]), Some(2.0 / 3.0), "all in class 1");
        assert_eq!(best_accuracy(&[0.9, 0.2, 0.3], &[1, 0, 0]), Some(1.0), "above every answer but one");
        assert_eq!(best_accuracy(&[0.5, 0.5, 0.5], &[0, 1, 0]), Some(2.0 / 3.0), "no threshold parts equals");
        assert_eq!(best_accuracy(&[0.4, 0.4, 0.6, 0.1], &[1, 0, 1, 0]), Some(0.75));
    }
}
