//! A configuration as it is asked for: by a file, by flags, or by both, every part optional.

use super::args::FoldOf;
use super::experiment::{Division, Plan};
use anyhow::{Context, Result, anyhow, bail};
use bagrad::device::DeviceChoice;
use bagrad::methods::Method;
use bagrad::ops::update::{Optimiser, UpdateRule};
use bagrad::precision::{LossScale, Precision};
use bagrad::training::metrics::Metric;
use bagrad::training::schedule::Schedule;
use bagrad::training::{Cache, ClassWeights, Settings};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The whole configuration; what is `None` was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The source of the bags, as `--data`.
    pub data: Option<String>,
    /// The positive class of two, as `--positive`.
    pub positive: Option<String>,
    /// The device, as `--device`.
    pub device: Option<String>,
    /// Instance labels that are key instances.
    pub key: Option<Vec<i32>>,
    /// Z-score the features by the training bags.
    pub standardise: Option<bool>,
    /// Seed of everything that is drawn.
    pub seed: Option<u64>,
    /// How bags are divided.
    #[serde(default)]
    pub split: SplitConfig,
    /// `name` and settings of the method.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub method: toml::Table,
    /// How it is trained.
    #[serde(default)]
    pub training: TrainingConfig,
}

/// How bags are divided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Share of the training bags that is held out to watch.
    pub validation: Option<f64>,
    /// Share of all bags that tests.
    pub test: Option<f64>,
    /// `R:F`.
    pub fold: Option<String>,
    /// Number of folds to draw instead of those of the data set.
    pub folds: Option<usize>,
    /// Bags of a group may be in several parts.
    pub ignore_groups: Option<bool>,
    /// Seed of the division; the seed of the run where it is not set.
    pub seed: Option<u64>,
}

/// How a model is trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "each is the flag of its name")]
pub struct TrainingConfig {
    pub epochs: Option<u32>,
    pub batch: Option<usize>,
    pub learning_rate: Option<f64>,
    pub optimiser: Option<Rule>,
    pub momentum: Option<f32>,
    pub weight_decay: Option<f32>,
    pub clip_norm: Option<f32>,
    pub patience: Option<u32>,
    pub min_epochs: Option<u32>,
    pub monitor: Option<Metric>,
    pub half: Option<bool>,
    pub precision: Option<Precision>,
    pub loss_scale: Option<LossScale>,
    pub class_weights: Option<ClassWeights>,
    pub schedule: Option<Schedule>,
    pub memory: Option<u64>,
    pub start: Option<PathBuf>,
    pub cache: Option<Cache>,
}

/// An update rule with its usual constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam with coupled L2
    Adam,
    /// Adam with decoupled decay
    Adamw,
    /// Rectified Adam with decoupled decay on weight matrices
    Radam,
    /// SGD with Nesterov momentum, as in Keras
    Nesterov,
}

/// `$over` where it is set, else `$below`, field by field.
macro_rules! first_set {
    ($over:expr, $below:expr, $($field:ident),+) => { $( $over.$field = $over.$field.take().or($below.$field); )+ };
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// With the path, and the line that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = bagrad::bounded::text(path)?;
        // The message of the parser ends in a line break and shows the line.
        toml::from_str(&text).map_err(|e| anyhow!("{}: {}", path.display(), e.to_string().trim_end()))
    }

    /// This configuration, and what it leaves open from `below`.
    pub fn over(mut self, below: Config) -> Self {
        first_set!(self, below, data, positive, device, key, standardise, seed);
        first_set!(self.split, below.split, validation, test, fold, folds, ignore_groups, seed);
        first_set!(self.training, below.training, epochs, batch, learning_rate, optimiser, momentum, weight_decay);
        first_set!(self.training, below.training, clip_norm, patience, min_epochs, monitor, half, class_weights);
        first_set!(self.training, below.training, precision, loss_scale, schedule, memory, start, cache);
        // The settings of one method mean nothing to another.
        let same = self.method.get("name").is_none_or(|name| below.method.get("name").is_none_or(|b| b == name));
        if same {
            let mine = std::mem::replace(&mut self.method, below.method);
            self.method.extend(mine);
        }
        self
    }

    /// What is to be run; what is not set follows the recipe of the method.
    ///
    /// # Errors
    /// When there is no data or no method, or a value is out of range.
    pub fn plan(&self) -> Result<Plan> {
        let data = self.data.clone().context("expected --data (or `data` in the configuration), found none")?;
        let mut table = self.method.clone();
        let name = match table.remove("name") {
            Some(toml::Value::String(name)) => name,
            Some(other) => bail!("method.name: expected text, found {other}"),
            None => bail!("expected --method (`bagrad methods` lists them), found none"),
        };
        let serde_json::Value::Object(set) = serde_json::to_value(&table)? else {
            unreachable!("a table is an object")
        };
        let method = Method::named(&name)?.with(&set)?;
        let settings = self.settings(&method)?;
        let s = &self.split;
        let fold: Option<FoldOf> = s.fold.as_deref().map(str::parse).transpose().map_err(|e| anyhow!("fold: {e}"))?;
        if fold.is_some() && s.test.is_some() {
            bail!("--test and --fold both say which bags test; expected one of them");
        }
        if fold.is_none() && s.folds.is_some() {
            bail!("--folds needs --fold, which says which of them tests");
        }
        let stops_early = settings.patience.is_some() || self.training.monitor.is_some();
        let division = Division {
            test: s.test,
            fold,
            folds: s.folds,
            validation: s.validation.or(stops_early.then_some(0.2)),
            validation_asked: s.validation.is_some(),
            ignore_groups: s.ignore_groups.unwrap_or(false),
            seed: s.seed.unwrap_or(settings.seed),
        };
        Ok(Plan {
            data,
            positive: self.positive.clone(),
            key: self.key.clone(),
            standardise: self.standardise,
            division,
            method,
            settings,
            start: self.training.start.clone(),
        })
    }

    fn settings(&self, method: &Method) -> Result<Settings> {
        let (t, mut settings) = (&self.training, Settings::for_method(method));
        let recipe = settings.optimiser;
        let decay = t.weight_decay.unwrap_or(recipe.weight_decay);
        if !(decay >= 0.0 && decay.is_finite()) {
            bail!("weight_decay: expected 0 or more, found {decay}");
        }
        let rule = t.optimiser.unwrap_or(Rule::of(&recipe));
        let momentum = match recipe.rule {
            UpdateRule::Nesterov { momentum } => momentum,
            _ => 0.9,
        };
        settings.optimiser = match rule {
            Rule::Adam => Optimiser::adam(decay),
            Rule::Adamw => Optimiser::adamw(decay),
            Rule::Radam => Optimiser::radam(decay),
            Rule::Nesterov => Optimiser::nesterov(t.momentum.unwrap_or(momentum), decay),
        };
        if let Some(momentum) = t.momentum {
            if rule != Rule::Nesterov {
                bail!("momentum is a setting of the optimiser nesterov; found it with another");
            }
            if !(0.0..1.0).contains(&momentum) {
                bail!("momentum: expected 0 to below 1, found {momentum}");
            }
        }
        settings.optimiser.clip_norm = t.clip_norm.or(recipe.clip_norm);
        settings.optimiser.lookahead = recipe.lookahead;
        settings.optimiser.average = recipe.average;
        settings.optimiser.second = recipe.second;
        settings.epochs = t.epochs.unwrap_or(settings.epochs);
        settings.batch = t.batch.unwrap_or(settings.batch);
        settings.learning_rate = t.learning_rate.unwrap_or(settings.learning_rate);
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings.patience = t.patience.or(settings.patience);
        settings.min_epochs = t.min_epochs.unwrap_or(settings.min_epochs);
        settings.monitor = t.monitor.unwrap_or(settings.monitor);
        settings.half = t.half.unwrap_or(settings.half);
        settings.precision = t.precision.unwrap_or(settings.precision);
        settings.loss_scale = t.loss_scale.unwrap_or(settings.loss_scale);
        settings.class_weights = t.class_weights.clone().unwrap_or(settings.class_weights);
        settings.schedule = t.schedule.clone().unwrap_or(settings.schedule);
        settings.memory = t.memory.or(settings.memory);
        settings.cache = t.cache.unwrap_or(settings.cache);
        Ok(settings)
    }

    /// The complete configuration of what was run, which runs it again.
    pub fn of(plan: &Plan, standardised: bool, device: &DeviceChoice) -> Result<Self> {
        let (s, d) = (&plan.settings, &plan.division);
        let mut method = toml::Table::new();
        method.insert("name".into(), plan.method.name().into());
        for parameter in plan.method.info().parameters {
            // A setting that is null is one that is left out.
            if !parameter.default.is_null() {
                method.insert(parameter.name, toml::Value::try_from(tidy(parameter.default))?);
            }
        }
        Ok(Self {
            data: Some(plan.data.clone()),
            positive: plan.positive.clone(),
            device: Some(device.to_string()),
            key: plan.key.clone(),
            standardise: Some(standardised),
            seed: Some(s.seed),
            split: SplitConfig {
                validation: d.validation.filter(|_| d.validation_asked),
                test: d.test,
                fold: d.fold.map(|f| f.to_string()),
                folds: d.folds,
                ignore_groups: d.ignore_groups.then_some(true),
                seed: Some(d.seed),
            },
            method,
            training: TrainingConfig {
                epochs: Some(s.epochs),
                batch: Some(s.batch),
                learning_rate: Some(s.learning_rate),
                optimiser: Some(Rule::of(&s.optimiser)),
                momentum: match s.optimiser.rule {
                    UpdateRule::Nesterov { momentum } => Some(momentum),
                    _ => None,
                },
                weight_decay: Some(s.optimiser.weight_decay),
                clip_norm: s.optimiser.clip_norm,
                patience: s.patience,
                min_epochs: Some(s.min_epochs),
                // Asking for a metric asks for validation bags, which a run without them did not have.
                monitor: (d.validation.is_some() || s.monitor != Metric::Loss).then_some(s.monitor),
                half: Some(s.half),
                precision: Some(s.precision),
                loss_scale: (s.precision == Precision::Mixed).then_some(s.loss_scale),
                class_weights: Some(s.class_weights.clone()),
                schedule: Some(s.schedule.clone()),
                memory: s.memory,
                start: plan.start.clone(),
                cache: (s.cache != Cache::Auto).then_some(s.cache),
            },
        })
    }

    /// The text of a configuration file.
    pub fn to_toml(&self) -> Result<String> {
        let head = "# What was run, whole: `bagrad train --config THIS --out RUN` runs it again.\n";
        Ok(head.to_owned() + &toml::to_string(self).context("the configuration cannot be written as TOML")?)
    }
}

impl Rule {
    fn of(optimiser: &Optimiser) -> Self {
        match optimiser.rule {
            UpdateRule::Adam { .. } => Self::Adam,
            UpdateRule::AdamW { .. } => Self::Adamw,
            UpdateRule::RAdam { .. } => Self::Radam,
            UpdateRule::Nesterov { .. } => Self::Nesterov,
        }
    }
}

/// Numbers that came out of an f32, written as short as an f32 is: 0.1, not 0.10000000149011612.
fn tidy(value: serde_json::Value) -> serde_json::Value {
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(v) if f64::from(v as f32) == v => {
            let short = (v as f32).to_string().parse::<f64>().unwrap_or(v);
            serde_json::json!(short)
        }
        _ => value,
    }
}
