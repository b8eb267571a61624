//! What takes part in a study: methods, each with one setting or with several that validation bags choose among.

use super::Kind;
use crate::bag::{Bags, Features};
use crate::error::Result;
use crate::methods::Method;
use crate::metrics::Metric;
use crate::ops::schedule::Schedule;
use crate::ops::update::Optimiser;
use crate::training::Settings;
use serde_json::{Map, Value, json};

/// A method with its settings, and how it is trained.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What tells it from others of the same [`Contender`], as people read it; empty where it is the only one.
    pub settings: String,
    /// The method.
    pub method: Method,
    /// Its training; the seed is that of the run.
    pub training: Settings,
}

impl Candidate {
    /// What its validation bags are measured by when it is compared with others: what keeps its epochs, and where that is the
    /// loss, whose terms and weights may differ between candidates, the log loss of classes and labels, R2 of numbers, and the
    /// concordance index of survival.
    pub fn judged_by(&self, kind: Kind) -> Metric {
        match self.training.monitor {
            Metric::Loss if kind.has_classes() => Metric::LogLoss,
            Metric::Loss => kind.judged_by(),
            metric => metric,
        }
    }

    /// All that decides what it learns from given bags with a given seed.
    fn identity(&self) -> Map<String, Value> {
        let mut training = serde_json::to_value(&self.training).unwrap_or(Value::Null);
        if let Some(training) = training.as_object_mut() {
            training.remove("seed");
        }
        Map::from_iter([("method".to_owned(), json!(self.method)), ("training".to_owned(), training)])
    }
}

/// What of the bags a contender learns from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sees {
    /// All instances.
    Instances,
    /// The mean of the features of a bag, as its only instance.
    Means,
    /// Nothing but labels: it says of every bag the shares of the classes or labels among the training bags, validation bags
    /// included, their mean number, and of survival the same of all.
    Labels,
}

/// A row of a study.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What it is called in tables; no two of a study are called alike.
    pub name: String,
    /// What it learns from.
    pub sees: Sees,
    /// It is there to be beaten.
    pub is_baseline: bool,
    /// The settings that it may have; of several the validation bags of each fit choose one. None where it learns from labels
    /// alone.
    pub candidates: Vec<Candidate>,
    /// Successive halving (Jamieson and Talwalkar 2016) in place of training all candidates to the end: all are trained for a
    /// part of their epochs, the best of each so many that much longer, and so on. At least 2.
    pub halving: Option<usize>,
}

impl Contender {
    /// A method with the settings that it may have.
    pub fn new(name: impl Into<String>, candidates: Vec<Candidate>) -> Self {
        Self { name: name.into(), sees: Sees::Instances, is_baseline: false, candidates, halving: None }
    }

    /// The same with successive halving.
    pub fn halving(self, halving: Option<usize>) -> Self {
        Self { halving, ..self }
    }

    /// What every method should beat on bags of this kind: what labels alone tell, a network on the mean of a bag's features, and
    /// the same network on instances with log-mean-exp pooling (of label sets with the mean of their probabilities). `train`
    /// changes their training as that of all methods.
    pub fn baselines(kind: Kind, train: impl Fn(Settings) -> Settings) -> Vec<Self> {
        let network = |name: &str, sees: Sees, pool: &str| {
            let (method, pooled) = match kind {
                Kind::LabelSets => ("power-pooling", vec![("exponent", json!(0.0)), ("learn", json!(false))]),
                _ => ("mi-net-bag", vec![("pool", json!(pool))]),
            };
            let usual = [("dropout", json!(0.25)), ("embed", json!([128]))];
            let settings = usual.into_iter().chain(pooled).map(|(name, value)| (name.to_owned(), value));
            let method = Method::named(method)
                .and_then(|method| method.with(&settings.collect()))
                .expect("these are its settings");
            // The paper's SGD learns slowly where features are standardised; a baseline that is not trained well is none.
            let usual = Settings {
                optimiser: Optimiser::adam(1e-4),
                learning_rate: 5e-4,
                schedule: Schedule::Constant,
                ..Settings::for_method(&method)
            };
            let candidate = Candidate { settings: String::new(), method, training: train(usual) };
            let name = format!("baseline: {name}");
            Self { sees, is_baseline: true, ..Self::new(name, vec![candidate]) }
        };
        let (pooling, labels) = match kind {
            Kind::Classes => ("log-mean-exp pooling", "class shares"),
            Kind::LabelSets => ("mean of instances' probabilities", "label shares"),
            Kind::Numbers => ("log-mean-exp pooling", "mean number"),
            Kind::Survival => ("log-mean-exp pooling", "all alike"),
        };
        vec![
            network(pooling, Sees::Instances, "lme"),
            network("MLP on mean features", Sees::Means, "mean"),
            Self { sees: Sees::Labels, is_baseline: true, ..Self::new(format!("baseline: {labels}"), Vec::new()) },
        ]
    }

    /// All that decides its results on given bags.
    pub(super) fn identity(&self) -> Map<String, Value> {
        let mut all = match &self.candidates[..] {
            [only] => only.identity(),
            several => {
                let all: Vec<Map<String, Value>> = several.iter().map(Candidate::identity).collect();
                let mut all = Map::from_iter([("candidates".to_owned(), json!(all))]);
                self.halving.map(|share| all.insert("halving".to_owned(), json!(share)));
                all
            }
        };
        match self.sees {
            Sees::Instances => {}
            Sees::Means => drop(all.insert("sees".into(), "means".into())),
            Sees::Labels => drop(all.insert("sees".into(), "labels".into())),
        }
        all
    }
}

/// Bags whose only instance is the mean of the features of a bag of `bags`.
///
/// # Errors
/// [`crate::Error::Bags`] for bags that do not fit together, [`crate::Error::Format`] when a file of features changed.
pub(super) fn means(bags: &Bags) -> Result<Bags> {
    bags.features.check_unchanged()?;
    let width = bags.width;
    let mut all = Vec::with_capacity(bags.len() * width);
    for bag in 0..bags.len() {
        let rows = bags.rows(bag);
        let values = bags.features.slice(rows.start * width..rows.end * width).to_f32();
        let mut sums = vec![0.0f64; width];
        values.chunks_exact(width.max(1)).for_each(|row| {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        });
        all.extend(sums.into_iter().map(|sum| (sum / rows.len() as f64) as f32));
    }
    let mut means = Bags::packed(Features::F32(all), width, &vec![1; bags.len()])?;
    means.names.clone_from(&bags.names);
    means.labels.clone_from(&bags.labels);
    means.label_sets.clone_from(&bags.label_sets);
    means.responses.clone_from(&bags.responses);
    means.class_names.clone_from(&bags.class_names);
    means.groups.clone_from(&bags.groups);
    Ok(means)
}
