//! What most runs are: a method trained on the training bags of a data set and judged by its test bags.

use super::{Metrics, Task};
use crate::data::{Dataset, Split, Standardiser};
use crate::methods::Method;
use crate::metrics::average_precision;
use crate::model::{Model, Spec};
use crate::session::Session;
use crate::tape::Storage;
use crate::training::{self, Meaning, Settings};
use anyhow::{Context, Result};
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
}

impl Fit {
    /// The method called `name` with `settings`, an object, and the recipe of its paper.
    ///
    /// # Errors
    /// For a method or setting that does not exist.
    pub fn new(name: &str, settings: Value) -> Result<Self> {
        let method = Method::named(name)?.with(settings.as_object().context("settings are an object")?)?;
        let training = Settings::for_method(&method);
        Ok(Self { method, training, standardise: false })
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
        Ok(json!({ "data": data, "method": self.method, "training": training, "standardise": self.standardise }))
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
        let [train, validation, test] = Split::ALL.map(|part| set.indices(part));
        let mut bags = Cow::Borrowed(&set.bags);
        if self.standardise {
            Standardiser::fit(&bags, &train)?.apply(bags.to_mut())?;
        }
        let mut model = Model::new(Spec::of(self.method.clone(), &bags), seed)?;
        if let Some(start) = start {
            model.start_from(start)?;
        }
        let settings = Settings { seed, ..self.training.clone() };
        let (device, persistence) = (task.device, task.persistence());
        let outcome = training::train_on(device, model, &settings, &bags, &train, &validation, &mut (), persistence)?;
        let epochs = outcome.epochs.len() as f64;
        let storage = if settings.half { Storage::F16 } else { Storage::F32 };
        let mut session = Session::new(device, outcome.model, storage)?;
        let found = training::predict(&mut session, &bags, &test, None)?;
        let labels = bags.labels.as_ref().context("labels were checked")?;
        let scores = found.measure(&test.iter().map(|&b| labels[b]).collect::<Vec<_>>())?;
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
