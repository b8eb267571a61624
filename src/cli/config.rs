//! A configuration as it is asked for: by a file, by flags, or by both, every part optional.

use super::args::{self, FoldOf};
use super::experiment::{Division, Plan};
use super::optimiser::{Chosen, Parts};
use anyhow::{Context, Result, anyhow, bail};
use bagrad::TargetChoice;
use bagrad::data::text::ColumnNames;
use bagrad::data::{LabelsAre, OnBad, Opening, Source};
use bagrad::device::DeviceChoice;
use bagrad::groups::Group;
use bagrad::methods::Method;
use bagrad::ops::update::Lookahead;
use bagrad::precision::{LossScale, Precision};
use bagrad::training::metrics::Metric;
use bagrad::training::schedule::Schedule;
use bagrad::training::{Cache, ClassWeights, Sampling, Settings};
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
    /// What is learnt, as `--target`.
    pub target: Option<TargetChoice>,
    /// The terms that the model may be used under, as `--licence`.
    pub licence: Option<String>,
    /// The device, as `--device`.
    pub device: Option<String>,
    /// Instance labels that are key instances.
    pub key: Option<Vec<i32>>,
    /// Z-score the features by the training bags.
    pub standardise: Option<bool>,
    /// Seed of everything that is drawn.
    pub seed: Option<u64>,
    /// The table with the labels of slides, as `--labels`.
    pub labels: Option<PathBuf>,
    /// The table with the slides of patients, as `--slides`.
    pub slides: Option<PathBuf>,
    /// The file that says which slides train, validate and test, as `--splits`.
    pub splits: Option<PathBuf>,
    /// Of several divisions in that file which one, as `--which-split`.
    pub which_split: Option<String>,
    /// What becomes of slides whose files cannot be used, as `--on-bad`.
    pub on_bad: Option<OnBad>,
    /// Columns of a text file or table that are called by their names, as `--label-column` and its like.
    #[serde(default, skip_serializing_if = "ColumnNames::is_empty")]
    pub columns: ColumnNames,
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
    pub accumulate: Option<usize>,
    pub instances: Option<usize>,
    pub instance_dropout: Option<f32>,
    pub feature_dropout: Option<f32>,
    pub mixup: Option<f32>,
    pub sampling: Option<Sampling>,
    pub learning_rate: Option<f64>,
    pub optimiser: Option<Chosen>,
    pub betas: Option<[f32; 2]>,
    pub epsilon: Option<f32>,
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
    pub label_smoothing: Option<f32>,
    pub focal: Option<f32>,
    pub schedule: Option<Schedule>,
    pub memory: Option<u64>,
    pub start: Option<PathBuf>,
    pub cache: Option<Cache>,
    pub parameter_groups: Option<Vec<Group>>,
    /// Of the flag; a file has it in the table of the whole optimiser.
    #[serde(skip)]
    pub lookahead: Option<Option<Lookahead>>,
    /// What configurations below this one ask of the optimiser, the lowest first: a flag changes a part of it.
    #[serde(skip)]
    pub optimiser_below: Vec<Parts>,
}

/// `$over` where it is set, else `$below`, field by field.
macro_rules! first_set {
    ($over:expr, $below:expr, $($field:ident),+) => { $( $over.$field = $over.$field.take().or($below.$field); )+ };
}
pub(super) use first_set;

impl Config {
    /// Reads a configuration file. Relative paths in it count from its folder.
    ///
    /// # Errors
    /// With the path, and the line that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = bagrad::bounded::text(path)?;
        // The message of the parser ends in a line break and shows the line.
        let mut config: Self =
            toml::from_str(&text).map_err(|e| anyhow!("{}: {}", path.display(), e.to_string().trim_end()))?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        config.data = config.data.map(|data| Source::seen_from(&data, folder));
        config.labels = config.labels.map(|labels| folder.join(labels));
        config.slides = config.slides.map(|slides| folder.join(slides));
        config.splits = config.splits.map(|splits| folder.join(splits));
        config.training.start = config.training.start.map(|start| folder.join(start));
        Ok(config)
    }

    /// Reads the configuration that a checkpoint kept.
    ///
    /// # Errors
    /// When it is none, as that of another program that uses the library.
    pub fn noted(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|e| anyhow!("the checkpoint has no configuration of this program ({e})"))
    }

    /// This configuration, and what it leaves open from `below`.
    pub fn over(mut self, below: Config) -> Self {
        let lower = below.training.optimiser_below.iter().copied();
        let parts = lower.chain([below.training.parts()]).chain(self.training.optimiser_below);
        self.training.optimiser_below = parts.collect();
        first_set!(self, below, data, positive, device, key, standardise, seed, labels, slides, splits, on_bad);
        first_set!(self, below, which_split, target, licence);
        first_set!(self.columns, below.columns, label, bag, group, site, event);
        first_set!(self.split, below.split, validation, test, fold, folds, ignore_groups, seed);
        first_set!(
            self.training,
            below.training,
            epochs,
            batch,
            accumulate,
            instances,
            instance_dropout,
            feature_dropout,
            mixup,
            sampling,
            learning_rate,
            patience,
            min_epochs,
            monitor
        );
        first_set!(self.training, below.training, half, class_weights, precision, loss_scale, schedule, memory);
        first_set!(self.training, below.training, start, cache, parameter_groups, label_smoothing, focal);
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
        let mut remarks = Vec::new();
        let mut settings = self.settings(&method, &mut remarks)?;
        let target = self.target.unwrap_or_default();
        let least = target.least_batch();
        if self.training.batch.is_none() && settings.batch < least {
            settings.batch = least;
            remarks
                .push(format!("the Cox partial likelihood compares the bags of a batch: {least} bags each (--batch)"));
        }
        let columns = ColumnNames { labels_are: args::labels_are(target), ..self.columns.clone() };
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
            opening: Opening {
                columns,
                labels: self.labels.clone(),
                slides: self.slides.clone(),
                splits: self.splits.clone(),
                which_split: self.which_split.clone(),
                on_bad: self.on_bad.unwrap_or_default(),
            },
            positive: self.positive.clone(),
            target,
            key: self.key.clone(),
            standardise: self.standardise,
            division,
            method,
            settings,
            start: self.training.start.clone(),
            licence: self.licence.clone(),
            remarks,
        })
    }

    /// The recipe of the method with what was asked for in its place; `remarks` gets what a user should know.
    fn settings(&self, method: &Method, remarks: &mut Vec<String>) -> Result<Settings> {
        let (t, mut settings) = (&self.training, Settings::for_method(method));
        for parts in t.optimiser_below.iter().chain([&t.parts()]) {
            remarks.extend(parts.apply(&mut settings.optimiser)?);
        }
        settings.optimiser.validate()?;
        settings.groups = t.parameter_groups.clone().unwrap_or(settings.groups);
        settings.epochs = t.epochs.unwrap_or(settings.epochs);
        settings.batch = t.batch.unwrap_or(settings.batch);
        settings.accumulate = t.accumulate.unwrap_or(settings.accumulate);
        settings.instances = t.instances.or(settings.instances);
        settings.instance_dropout = t.instance_dropout.unwrap_or(settings.instance_dropout);
        settings.feature_dropout = t.feature_dropout.unwrap_or(settings.feature_dropout);
        settings.mixup = t.mixup.unwrap_or(settings.mixup);
        settings.sampling = t.sampling.unwrap_or(settings.sampling);
        settings.learning_rate = t.learning_rate.unwrap_or(settings.learning_rate);
        settings.seed = self.seed.unwrap_or(settings.seed);
        settings.patience = t.patience.or(settings.patience);
        settings.min_epochs = t.min_epochs.unwrap_or(settings.min_epochs);
        settings.monitor = t.monitor.unwrap_or(settings.monitor);
        settings.half = t.half.unwrap_or(settings.half);
        settings.precision = t.precision.unwrap_or(settings.precision);
        settings.loss_scale = t.loss_scale.unwrap_or(settings.loss_scale);
        settings.class_weights = t.class_weights.clone().unwrap_or(settings.class_weights);
        settings.label_smoothing = t.label_smoothing.unwrap_or(settings.label_smoothing);
        settings.focal = t.focal.unwrap_or(settings.focal);
        settings.schedule = t.schedule.clone().unwrap_or(settings.schedule);
        settings.memory = t.memory.or(settings.memory);
        settings.cache = t.cache.unwrap_or(settings.cache);
        Ok(settings)
    }

    /// The complete configuration of what was run, which runs it again.
    pub fn of(plan: &Plan, standardised: bool, device: &DeviceChoice) -> Result<Self> {
        let (s, d, o) = (&plan.settings, &plan.division, &plan.opening);
        let here = std::env::current_dir().context("the working folder")?;
        let mut method = toml::Table::new();
        method.insert("name".into(), plan.method.name().into());
        for parameter in plan.method.info().parameters {
            // A setting that is null is one that is left out.
            if !parameter.default.is_null() {
                method.insert(parameter.name, toml::Value::try_from(tidy(parameter.default))?);
            }
        }
        Ok(Self {
            data: Some(Source::seen_from(&plan.data, &here)),
            labels: o.labels.as_ref().map(|labels| here.join(labels)),
            slides: o.slides.as_ref().map(|slides| here.join(slides)),
            splits: o.splits.as_ref().map(|splits| here.join(splits)),
            which_split: o.which_split.clone(),
            on_bad: (o.on_bad != OnBad::default()).then_some(o.on_bad),
            columns: ColumnNames { labels_are: LabelsAre::Classes, ..o.columns.clone() },
            positive: plan.positive.clone(),
            licence: plan.licence.clone(),
            target: (plan.target != TargetChoice::Auto).then_some(plan.target),
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
                accumulate: (s.accumulate != 1).then_some(s.accumulate),
                instances: s.instances,
                instance_dropout: (s.instance_dropout != 0.0).then_some(s.instance_dropout),
                feature_dropout: (s.feature_dropout != 0.0).then_some(s.feature_dropout),
                mixup: (s.mixup != 0.0).then_some(s.mixup),
                sampling: (s.sampling != Sampling::Each).then_some(s.sampling),
                learning_rate: Some(s.learning_rate),
                optimiser: Some(Chosen::Whole(s.optimiser)),
                patience: s.patience,
                min_epochs: Some(s.min_epochs),
                // Asking for a metric asks for validation bags, which a run without them did not have.
                monitor: (d.validation.is_some() || s.monitor != Metric::Loss).then_some(s.monitor),
                half: Some(s.half),
                precision: Some(s.precision),
                loss_scale: (s.precision == Precision::Mixed).then_some(s.loss_scale),
                class_weights: Some(s.class_weights.clone()),
                label_smoothing: (s.label_smoothing != 0.0).then_some(s.label_smoothing),
                focal: (s.focal != 0.0).then_some(s.focal),
                schedule: Some(s.schedule.clone()),
                memory: s.memory,
                start: plan.start.as_ref().map(|start| here.join(start)),
                cache: (s.cache != Cache::Auto).then_some(s.cache),
                parameter_groups: (!s.groups.is_empty()).then(|| s.groups.clone()),
                ..TrainingConfig::default()
            },
        })
    }

    /// The text of a configuration file.
    pub fn to_toml(&self) -> Result<String> {
        let head = "# What was run, whole: `bagrad train --config THIS --out RUN` runs it again.\n";
        Ok(head.to_owned() + &toml::to_string(self).context("the configuration cannot be written as TOML")?)
    }
}

impl TrainingConfig {
    /// What is asked of the optimiser here.
    fn parts(&self) -> Parts {
        let Self { optimiser: chosen, betas, epsilon, momentum, weight_decay, clip_norm, lookahead, .. } = *self;
        Parts { chosen, betas, epsilon, momentum, weight_decay, clip_norm, lookahead }
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

#[cfg(test)]
mod tests {
    use super::*;
    use bagrad::ops::update::{Average, Optimiser, RuleSettings, UpdateRule};

    fn asked(method: &Method) -> Config {
        let mut config = Config { data: Some("digits-bags".into()), ..Config::default() };
        config.method.insert("name".into(), method.name().into());
        config
    }

    /// The plan that the configuration of `plan` gives, after a way through its text.
    fn again(plan: &Plan) -> Plan {
        let text = Config::of(plan, true, &DeviceChoice::Host).unwrap().to_toml().unwrap();
        toml::from_str::<Config>(&text).unwrap_or_else(|e| panic!("{e}: {text}")).plan().unwrap()
    }

    /// The library, the command line and the configuration of a run train alike.
    #[test]
    fn every_recipe_is_the_library_s_and_survives_its_configuration() {
        for method in Method::all() {
            let name = method.name();
            let plan = asked(&method).plan().unwrap();
            assert_eq!(plan.settings.optimiser, method.recipe().optimiser, "{name}");
            assert_eq!(plan.settings, Settings::for_method(&method), "{name}");
            let again = again(&plan);
            assert_eq!((again.method, again.settings), (method, plan.settings), "{name}");
        }
    }

    #[test]
    fn everything_that_was_run_is_written() {
        let method = Method::named("dsmil").unwrap();
        let mut plan = asked(&method).plan().unwrap();
        plan.opening.columns.group = Some("hospital".into());
        (plan.opening.labels, plan.opening.on_bad) = (Some("/data/slides.csv".into()), OnBad::Skip);
        plan.opening.slides = Some("/data/slide.csv".into());
        plan.opening.splits = Some("/data/splits_0.csv".into());
        plan.opening.which_split = Some("fold_3".into());
        assert_eq!(again(&plan).opening, plan.opening);
        let rule = UpdateRule::AdamW { beta1: 0.7, beta2: 0.83, epsilon: 1e-5 };
        let second = RuleSettings { rule, rate: 0.3, weight_decay: 0.11, decay_biases: true, clip_norm: Some(0.7) };
        plan.settings.optimiser = Optimiser {
            clip_norm: Some(1.3),
            average: Some(Average { momentum: 0.9999, cosine_over: Some(70) }),
            second: Some(second),
            ..Optimiser::nesterov(0.87, 0.013).with_lookahead(5, 0.4)
        };
        plan.settings.schedule = Schedule::WarmUp { updates: 7, then: Box::new(Schedule::TimeDecay { decay: 1e-3 }) };
        plan.settings.groups = vec![
            Group { rate: 0.1, decay: 0.0, clip_norm: Some(2.0), ..Group::of(["score"]) },
            Group { second: true, ..Group::of(["head"]) },
        ];
        (plan.settings.instances, plan.settings.instance_dropout) = (Some(512), 0.2);
        (plan.settings.label_smoothing, plan.settings.focal) = (0.1, 2.0);
        (plan.settings.feature_dropout, plan.settings.mixup) = (0.3, 0.4);
        assert_eq!(again(&plan).settings, plan.settings);
    }

    /// A flag changes a part of what the file says, and only that.
    #[test]
    fn flags_change_parts_of_a_file() {
        let method = Method::named("dsmil").unwrap();
        let file: Config = toml::from_str("[training]\noptimiser = \"radam\"\nbetas = [0.8, 0.95]").unwrap();
        let file = asked(&method).over(file);
        let plan = |training: TrainingConfig| Config { training, ..Config::default() }.over(file.clone()).plan();
        let by_file = file.plan().unwrap();
        assert!(by_file.remarks.iter().any(|r| r.contains("radam in place of adam")), "{:?}", by_file.remarks);
        let rule = UpdateRule::RAdam { beta1: 0.8, beta2: 0.95, epsilon: 1e-8 };
        let whole = Optimiser::new(rule, 5e-3, false);
        assert_eq!(by_file.settings.optimiser, whole);
        let found = plan(TrainingConfig { weight_decay: Some(0.5), ..Default::default() }).unwrap();
        assert_eq!(found.settings.optimiser, Optimiser { weight_decay: 0.5, ..whole });
        let wrong = plan(TrainingConfig { weight_decay: Some(-1.0), ..Default::default() }).unwrap_err();
        assert!(wrong.to_string().contains("weight_decay"), "{wrong}");
        let wrong = toml::from_str::<Config>("[training.optimiser]\nrule = \"adam\"\nbeta = 1").unwrap_err();
        assert!(wrong.to_string().contains("line 3") && wrong.to_string().contains("beta"), "{wrong}");
        let wrong = toml::from_str::<Config>("[training]\noptimiser = \"lion\"").unwrap_err();
        assert!(wrong.to_string().contains("nesterov"), "{wrong}");
    }

    /// Paths of a configuration mean the same from wherever it is read.
    #[test]
    fn paths_count_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.toml");
        std::fs::write(&path, "data = \"bags.csv\"\n[training]\nstart = \"runs/plain\"\n").unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!(Path::new(&config.data.unwrap()), dir.path().join("bags.csv"));
        assert_eq!(config.training.start.unwrap(), dir.path().join("runs/plain"));
        let mut plan = asked(&Method::named("attention").unwrap()).plan().unwrap();
        plan.data = "mnist-bags:raw,train=5".into();
        let written = Config::of(&plan, true, &DeviceChoice::Host).unwrap();
        let here = std::env::current_dir().unwrap().join("raw");
        assert_eq!(written.data.unwrap(), format!("mnist-bags:{},train=5", here.display()));
    }
}
