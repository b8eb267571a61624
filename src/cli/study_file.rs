//! A study as a file has it: what `bagrad cross-validate` was asked, and its study.toml.

use super::args;
use super::config::first_set;
use super::division::Division;
use super::search;
use anyhow::{Context, Result, anyhow};
use bagrad::TargetChoice;
use bagrad::data::text::ColumnNames;
use bagrad::data::{OnBad, Opening, Source};
use bagrad::methods::Method;
use bagrad::study::{Candidate, Contender, Kind};
use bagrad::training::metrics::Metric;
use bagrad::training::{ClassWeights, Settings};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Seed of divisions, and of what searches draw.
pub const SPLIT_SEED: u64 = 1;

/// A study as a file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StudyFile {
    /// As `--data`.
    pub data: Option<String>,
    /// As `--labels`.
    pub labels: Option<PathBuf>,
    /// As `--slides`.
    pub slides: Option<PathBuf>,
    /// As `--on-bad`.
    pub on_bad: Option<OnBad>,
    /// Each as `--method`.
    pub methods: Vec<String>,
    /// Each as `--search`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// As `--trials`.
    pub trials: Option<usize>,
    /// As `--halving`.
    pub halving: Option<usize>,
    /// False: `--no-baselines`.
    pub baselines: Option<bool>,
    /// As `--folds`.
    pub folds: Option<Division>,
    /// As `--tcga-sites`.
    pub tcga_sites: Option<bool>,
    /// As `--repeats`.
    pub repeats: Option<usize>,
    /// As `--seeds`.
    pub seeds: Option<u64>,
    /// As `--validation`.
    pub validation: Option<f64>,
    /// As `--split-seed`.
    pub split_seed: Option<u64>,
    /// As `--epochs`.
    pub epochs: Option<u32>,
    /// As `--lr`.
    pub learning_rate: Option<f64>,
    /// As `--patience`.
    pub patience: Option<u32>,
    /// As `--monitor`.
    pub monitor: Option<Metric>,
    /// As `--class-weights`.
    pub class_weights: Option<ClassWeights>,
    /// False: `--no-standardise`.
    pub standardise: Option<bool>,
    /// As `--target`.
    pub target: Option<TargetChoice>,
    /// As `--positive`.
    pub positive: Option<String>,
    /// As `--label-column` and its like.
    #[serde(skip_serializing_if = "none_named")]
    pub columns: ColumnNames,
}

fn none_named(columns: &ColumnNames) -> bool {
    *columns == ColumnNames::default()
}

impl StudyFile {
    /// Reads one. Relative paths in it count from its folder.
    ///
    /// # Errors
    /// With the path, and the line that is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let text = bagrad::bounded::text(path)?;
        let mut study: Self =
            toml::from_str(&text).map_err(|e| anyhow!("{}: {}", path.display(), e.to_string().trim_end()))?;
        study.count_from(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        Ok(study)
    }

    /// Lets relative paths count from `folder`.
    fn count_from(&mut self, folder: &Path) {
        self.data = self.data.take().map(|data| Source::seen_from(&data, folder));
        for path in [&mut self.labels, &mut self.slides] {
            *path = path.take().map(|path| folder.join(path));
        }
    }

    /// What is set here, and for the rest what `below` says.
    pub fn over(mut self, below: Self) -> Self {
        if self.methods.is_empty() {
            self.methods = below.methods;
        }
        if self.search.is_empty() {
            self.search = below.search;
        }
        first_set!(
            self, below, data, labels, slides, on_bad, folds, tcga_sites, repeats, seeds, validation, split_seed,
            epochs
        );
        first_set!(
            self,
            below,
            trials,
            halving,
            baselines,
            learning_rate,
            patience,
            monitor,
            class_weights,
            standardise,
            target,
            positive
        );
        first_set!(self.columns, below.columns, label, bag, group, site, event);
        self
    }

    /// The text of a file of it that means the same wherever it lies.
    ///
    /// # Errors
    /// When there is no working folder.
    pub fn to_toml(&self) -> Result<String> {
        let mut whole = self.clone();
        whole.count_from(&std::env::current_dir().context("the working folder")?);
        Ok(toml::to_string_pretty(&whole)?)
    }

    /// What is said of the data beside where they are.
    pub fn opening(&self) -> Opening {
        let Self { columns, labels, slides, on_bad, target, .. } = self.clone();
        let on_bad = on_bad.unwrap_or_default();
        let columns = ColumnNames { labels_are: args::labels_are(target.unwrap_or_default()), ..columns };
        Opening { columns, labels, slides, on_bad, ..Opening::default() }
    }

    /// What takes part: each method as it is, then those whose settings are searched.
    ///
    /// # Errors
    /// As [`StudyFile::candidate`], and for what is no search.
    pub fn contenders(&self) -> Result<Vec<Contender>> {
        let fixed = self.methods.iter().map(|text| {
            let candidate = self.candidate(text).with_context(|| format!("--method {text}"))?;
            Ok(Contender::new(text, vec![candidate]))
        });
        let seed = self.split_seed.unwrap_or(SPLIT_SEED);
        let searched = self.search.iter().map(|text| {
            search::contender(self, text, self.trials, seed).map(|contender| contender.halving(self.halving))
        });
        fixed.chain(searched).collect()
    }

    /// What they are compared with on bags of this kind.
    pub fn baselines(&self, kind: Kind) -> Vec<Contender> {
        match self.baselines {
            Some(false) => Vec::new(),
            _ => Contender::baselines(kind, |recipe| self.trained(recipe)),
        }
    }

    /// A training with what is asked of all of them.
    fn trained(&self, recipe: Settings) -> Settings {
        Settings {
            epochs: self.epochs.unwrap_or(recipe.epochs),
            learning_rate: self.learning_rate.unwrap_or(recipe.learning_rate),
            patience: self.patience,
            monitor: self.monitor.unwrap_or(recipe.monitor),
            class_weights: self.class_weights.clone().unwrap_or(recipe.class_weights.clone()),
            batch: recipe.batch.max(self.target.unwrap_or_default().least_batch()),
            ..recipe
        }
    }

    /// The method of `NAME,SETTING=VALUE,..` and its training, which [`TRAINING_SETTINGS`] are settings of.
    ///
    /// # Errors
    /// For a method or a setting that there is not.
    pub fn candidate(&self, text: &str) -> Result<Candidate> {
        let mut parts = parts(text).into_iter();
        let name = parts.next().unwrap_or_default();
        let (of_training, set): (Vec<String>, Vec<String>) = parts.partition(|part| training_setting(part).is_some());
        let method = Method::named(name.trim())?.with(&args::settings(&set)?)?;
        let recipe = Settings::for_method(&method);
        let mut training = self.trained(recipe);
        for (name, value) in of_training.iter().filter_map(|part| training_setting(part)) {
            let wrong = || format!("{name}: '{value}' is not a number that fits here");
            match name {
                "lr" => training.learning_rate = value.parse().with_context(wrong)?,
                "epochs" => training.epochs = value.parse().with_context(wrong)?,
                "batch" => training.batch = value.parse().with_context(wrong)?,
                "instances" => training.instances = Some(value.parse().with_context(wrong)?),
                "instance-dropout" => training.instance_dropout = value.parse().with_context(wrong)?,
                "feature-dropout" => training.feature_dropout = value.parse().with_context(wrong)?,
                "mixup" => training.mixup = value.parse().with_context(wrong)?,
                "label-smoothing" => training.label_smoothing = value.parse().with_context(wrong)?,
                "focal" => training.focal = value.parse().with_context(wrong)?,
                "sampling" => training.sampling = value.parse()?,
                _ => training.optimiser.weight_decay = value.parse().with_context(wrong)?,
            }
        }
        Ok(Candidate { settings: String::new(), method, training })
    }
}

/// Settings of a training that a method of a study may have by itself: flags of `train`.
pub const TRAINING_SETTINGS: [&str; 11] = [
    "lr",
    "epochs",
    "batch",
    "weight-decay",
    "instances",
    "instance-dropout",
    "feature-dropout",
    "mixup",
    "sampling",
    "label-smoothing",
    "focal",
];

/// `SETTING=VALUE` of the training and not of the method: its name and its value.
fn training_setting(part: &str) -> Option<(&str, &str)> {
    let (name, value) = part.split_once('=')?;
    let name = name.trim();
    TRAINING_SETTINGS.contains(&name).then_some((name, value.trim()))
}

/// Pieces between the commas that are in no brackets and no quotes.
pub fn parts(text: &str) -> Vec<String> {
    let (mut all, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().expect("it begins with one").push(c);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use bagrad::training::Sampling;

    #[test]
    fn a_file_has_everything_that_was_asked_of_the_data() {
        let columns = ColumnNames { label: Some("outcome".into()), ..ColumnNames::default() };
        let (labels, slides) = (Some("/data/clini.csv".into()), Some("/data/slide.csv".into()));
        let methods = vec!["dsmil".to_owned()];
        let asked = StudyFile { columns, labels, slides, on_bad: Some(OnBad::Skip), methods, ..StudyFile::default() };
        let read: StudyFile = toml::from_str(&asked.to_toml().unwrap()).unwrap();
        assert_eq!(read.opening(), asked.opening());
        assert_eq!(StudyFile::default().over(read).opening(), asked.opening());
    }

    #[test]
    fn settings_stand_behind_commas() {
        let of = |text: &str| parts(text).join(" | ");
        assert_eq!(of("dsmil"), "dsmil");
        assert_eq!(of("gated-attention,embed=[64,32],init=glorot"), "gated-attention | embed=[64,32] | init=glorot");
        assert_eq!(of("ibmil,base={method=\"a,b\",x=[1,2]},k=1"), "ibmil | base={method=\"a,b\",x=[1,2]} | k=1");
        let study = StudyFile { epochs: Some(3), learning_rate: Some(0.1), ..StudyFile::default() };
        let candidate = study.candidate("dsmil,query=64,lr=2e-3,batch=4,weight-decay=0").unwrap();
        assert_eq!(candidate.method.settings()["query"], 64);
        let Settings { epochs, learning_rate, batch, optimiser, .. } = candidate.training;
        assert_eq!((epochs, learning_rate, batch, optimiser.weight_decay), (3, 2e-3, 4, 0.0));
        let augmented = study.candidate("gated-attention,feature-dropout=0.3,mixup=0.4").unwrap().training;
        assert_eq!((augmented.feature_dropout, augmented.mixup), (0.3, 0.4));
        let drawn = "gated-attention,instances=512,instance-dropout=0.2,sampling=balanced,label-smoothing=0.1,focal=2";
        let Settings { instances, instance_dropout, sampling, label_smoothing, focal, .. } =
            study.candidate(drawn).unwrap().training;
        assert_eq!((instances, instance_dropout, sampling), (Some(512), 0.2, Sampling::Balanced));
        assert_eq!((label_smoothing, focal), (0.1, 2.0));
        let refused = |text: &str| {
            let study = StudyFile { methods: vec![text.to_owned()], ..StudyFile::default() };
            format!("{:#}", study.contenders().unwrap_err())
        };
        assert!(refused("dsmil,lr=fast").contains("lr: 'fast' is not a number"));
        assert!(
            refused("dsmil,queri=3").contains("--method dsmil,queri=3") && refused("no").contains("there are: mi-net")
        );
    }
}
