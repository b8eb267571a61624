//! Arguments that several commands share, and how their values are read.

use anyhow::{Result, bail};
use bagrad::data::text::ColumnNames;
use bagrad::data::{LabelsAre, OnBad, Opening};
use bagrad::device::DeviceChoice;
use bagrad::target::{Target, TargetChoice};
use bagrad::training::ClassWeights;
use bagrad::training::schedule::Schedule;
use clap::Args;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::str::FromStr;

/// How much is printed, and for whom.
#[derive(Args, Clone, Copy)]
pub struct Output {
    /// Print the answer as JSON, the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// Print no progress and no remarks
    #[arg(long, short)]
    pub quiet: bool,
}

/// Where to compute.
#[derive(Args, Clone)]
pub struct Where {
    /// auto, host, gpu, gpu:N or a part of an adapter's name [default: $BAGRAD_DEVICE or auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<DeviceChoice>,
    /// Leave cooperative matrices (tensor cores) alone; so does BAGRAD_NO_COOPERATIVE=1
    #[arg(long)]
    pub no_cooperative: bool,
    /// Tiles of matrix products on a GPU: auto (what `bagrad bench --tune` found for the adapter and driver, if it
    /// ran), off, or the file of a search [default: $BAGRAD_TUNING or auto]
    #[arg(long, value_name = "TUNING")]
    pub tuning: Option<String>,
}

/// How much of the device to use.
#[derive(Args, Clone, Copy)]
pub struct Memory {
    /// Device memory to stay within, such as 800MB or 2GiB; larger batches run in windows of instances, with
    /// the same result
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<u64>,
}

/// What is said of the data beside where they are.
#[derive(Args, Clone)]
pub struct Bags {
    /// Folders of slides: the table (csv, tsv or xlsx with a line of column names) of slides, labels and patients
    #[arg(long, value_name = "TABLE")]
    pub labels: Option<PathBuf>,
    /// Folders of slides: the table of slides and their patients, where --labels is one of patients (STAMP's slide table
    /// beside its clini table)
    #[arg(long, value_name = "TABLE")]
    pub slides: Option<PathBuf>,
    /// Folders of slides: which slides train, validate and test: CLAM's splits_0.csv, a table with a column of parts, a
    /// splits.json of STAMP
    #[arg(long, value_name = "FILE")]
    pub splits: Option<PathBuf>,
    /// Of several divisions in --splits which one: a column such as fold_3, or its number in a splits.json
    #[arg(long, value_name = "WHICH")]
    pub which_split: Option<String>,
    /// Slides: whether files that cannot be used are an error (fail), or left out (skip) [default: fail]
    #[arg(long, value_name = "WHAT")]
    pub on_bad: Option<OnBad>,
    /// Text files and tables: the column of the labels [default: label, class, target or the like]
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Text files and tables of survival: the column that says whether the event came (1, dead) or the bag is censored (0,
    /// alive; in a column called censored the other way round); the label is the time then [default: event, status or the
    /// like, with --target hazards or cox]
    #[arg(long, value_name = "NAME")]
    pub event_column: Option<String>,
    /// Text files and tables: the column of the bags [default: bag, slide or the like]
    #[arg(long, value_name = "NAME", visible_alias = "id-column")]
    pub bag_column: Option<String>,
    /// Text files and tables: the column that says which bags belong together [default: group, patient, or in a table
    /// case_id, where there is one]
    #[arg(long, value_name = "NAME", visible_alias = "patient-column")]
    pub group_column: Option<String>,
    /// Text files and tables: the column that says where a bag is from, for folds by site [default: site, where there is one]
    #[arg(long, value_name = "NAME")]
    pub site_column: Option<String>,
}

impl Bags {
    /// The columns that were named.
    pub fn columns(&self) -> ColumnNames {
        let Self { label_column: label, bag_column: bag, group_column: group, .. } = self.clone();
        let Self { site_column: site, event_column: event, .. } = self.clone();
        ColumnNames { label, bag, group, site, event, labels_are: LabelsAre::Classes }
    }

    /// All of it.
    pub fn opening(&self) -> Opening {
        let Self { labels, slides, splits, which_split, on_bad, .. } = self.clone();
        Opening { columns: self.columns(), labels, slides, splits, which_split, on_bad: on_bad.unwrap_or_default() }
    }
}

/// What `--target` may be, and what it means.
pub const TARGETS: &str = "\
What is learnt: auto (what the bags have: classes; hazards where there are times and events), ordered (classes in an order), \
squared, absolute or huber[:DELTA] (labels are numbers; DELTA in standard deviations, 1), hazards[:INTERVALS[:ALPHA]] (survival \
in 4 intervals of time; ALPHA takes weight from censored bags, 0), cox[:breslow] (Cox partial likelihood, ties by Efron)";

/// What labels of text are for what is to be learnt.
pub fn labels_are(target: TargetChoice) -> LabelsAre {
    match target {
        TargetChoice::Auto | TargetChoice::Ordered => LabelsAre::Classes,
        TargetChoice::Number(_) => LabelsAre::Numbers,
        TargetChoice::Hazards { .. } | TargetChoice::Cox(_) => LabelsAre::Times,
    }
}

/// What labels of text are for what a model has learnt.
pub fn labels_for(target: &Target) -> LabelsAre {
    match target {
        Target::Classes | Target::LabelSets | Target::Ordered => LabelsAre::Classes,
        Target::Number(_) => LabelsAre::Numbers,
        Target::Hazards(_) | Target::Cox(_) => LabelsAre::Times,
    }
}

/// `name=value` settings of a method. A value is written as in TOML or JSON; a bare word is text.
///
/// # Errors
/// When a setting has no `=`.
pub fn settings(pairs: &[String]) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            bail!("--set {pair}: expected name=value, such as embed=[64] or dropout=0.1");
        };
        put(&mut all, name.trim(), value_of(value.trim()));
    }
    Ok(all)
}

/// A setting by its name; `base.query` is the setting `query` of the method that the setting `base` is, in any order with
/// `base=NAME`.
fn put(all: &mut Map<String, Value>, name: &str, value: Value) {
    let (outer, inner) = name.split_once('.').map_or((name, None), |(outer, inner)| (outer, Some(inner)));
    let of_method = |name: Value| Map::from_iter([("method".to_owned(), name)]);
    match (inner, all.remove(outer)) {
        (Some(inner), before) => {
            let mut settings = match before {
                Some(Value::Object(settings)) => settings,
                Some(name) => of_method(name),
                None => Map::new(),
            };
            put(&mut settings, inner, value);
            all.insert(outer.to_owned(), settings.into());
        }
        (None, Some(Value::Object(mut settings))) if value.is_string() => {
            settings.insert("method".to_owned(), value);
            all.insert(outer.to_owned(), settings.into());
        }
        (None, _) => drop(all.insert(outer.to_owned(), value)),
    }
}

fn value_of(text: &str) -> Value {
    let table = toml::from_str::<toml::Table>(&format!("value = {text}")).ok();
    let value = table.and_then(|t| serde_json::to_value(t.get("value")?).ok());
    value.or_else(|| serde_json::from_str(text).ok()).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// `R:F`, the repeat and the fold of a cross-validation; `F` alone is of repeat 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldOf {
    /// Repeat, from 0.
    pub repeat: usize,
    /// Fold, from 0.
    pub fold: usize,
}

/// Every repeat up to the one that is asked for is drawn.
const MOST_REPEATS: usize = 1000;

impl FromStr for FoldOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repeat, fold) = text.split_once(':').unwrap_or(("0", text));
        match (repeat.trim().parse(), fold.trim().parse()) {
            (Ok(repeat), _) if repeat >= MOST_REPEATS => {
                Err(format!("expected a repeat below {MOST_REPEATS}, found {repeat}"))
            }
            (Ok(repeat), Ok(fold)) => Ok(Self { repeat, fold }),
            _ => Err("expected REPEAT:FOLD, both from 0, such as 0:3".into()),
        }
    }
}

impl std::fmt::Display for FoldOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.repeat, self.fold)
    }
}

/// What `--schedule` accepts.
pub const SCHEDULES: &str = "constant, time-decay:DECAY, step:EVERY:GAMMA, multi-step:EPOCH,EPOCH..:GAMMA, \
                             cosine[:FLOOR], cosine-updates[:FLOOR], or warm-up:UPDATES+ANOTHER";

/// Reads a schedule in the short form of the command line.
///
/// # Errors
/// What is wrong with it.
pub fn schedule(text: &str) -> Result<Schedule, String> {
    let unknown = || format!("expected {SCHEDULES}");
    if let Some(rest) = text.strip_prefix("warm-up:") {
        let (updates, then) = rest.split_once('+').ok_or_else(unknown)?;
        return Ok(Schedule::WarmUp { updates: number(updates)?, then: Box::new(schedule(then)?) });
    }
    let parts: Vec<&str> = text.split(':').collect();
    let read = match parts[..] {
        ["constant"] => Schedule::Constant,
        ["time-decay", decay] => Schedule::TimeDecay { decay: number(decay)? },
        ["step", every, gamma] => Schedule::Step { every: number(every)?, gamma: number(gamma)? },
        ["multi-step", epochs, gamma] => {
            let milestones = epochs.split(',').map(number).collect::<Result<_, _>>()?;
            Schedule::MultiStep { milestones, gamma: number(gamma)? }
        }
        ["cosine"] => Schedule::CosineEpochs { floor: 0.0 },
        ["cosine", floor] => Schedule::CosineEpochs { floor: number(floor)? },
        ["cosine-updates"] => Schedule::CosineUpdates { floor: 0.0 },
        ["cosine-updates", floor] => Schedule::CosineUpdates { floor: number(floor)? },
        _ => return Err(unknown()),
    };
    read.validate().map_err(|e| e.to_string())?;
    Ok(read)
}

/// Reads a size in bytes: `800MB`, `1.5GiB`, or a plain number.
///
/// # Errors
/// What is wrong with it.
pub fn bytes(text: &str) -> Result<u64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let unit = match text[at..].to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1048576.0,
        "gib" => 1073741824.0,
        _ => return Err("expected a size such as 800MB or 2GiB".into()),
    };
    let size = number::<f64>(&text[..at])? * unit;
    if size >= 1.0 && size < u64::MAX as f64 { Ok(size as u64) } else { Err(format!("{text} is no size of memory")) }
}

/// Reads `new=old`, two names of a class.
///
/// # Errors
/// When there are not two.
pub fn renamed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=').map(|(new, old)| (new.trim(), old.trim())) {
        Some((new, old)) if !new.is_empty() && !old.is_empty() => Ok((new.into(), old.into())),
        _ => Err("expected NEW=OLD, the class in the data and the class of the model, such as cancer=malignant".into()),
    }
}

/// Reads `none`, `balanced`, or a number for each class.
///
/// # Errors
/// What is wrong with it.
pub fn class_weights(text: &str) -> Result<ClassWeights, String> {
    match text {
        "none" => Ok(ClassWeights::None),
        "balanced" => Ok(ClassWeights::Balanced),
        list => Ok(ClassWeights::Given(list.split(',').map(number).collect::<Result<_, _>>()?)),
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("'{text}' is not a number that fits here"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_are_toml_json_or_words() {
        let pairs = ["embed=[64, 32]", "dropout = 0.5", "init=glorot", "pool=\"max\"", "on=true"].map(String::from);
        let expected = json!({ "embed": [64, 32], "dropout": 0.5, "init": "glorot", "pool": "max", "on": true });
        assert_eq!(Value::Object(settings(&pairs).unwrap()), expected);
        for pairs in [["base=dsmil", "base.query=64"], ["base.query=64", "base=dsmil"]] {
            let expected = json!({ "base": { "method": "dsmil", "query": 64 } });
            assert_eq!(Value::Object(settings(&pairs.map(String::from)).unwrap()), expected);
        }
        assert!(settings(&["embed".into()]).unwrap_err().to_string().contains("name=value"));
    }

    #[test]
    fn folds_are_read() {
        assert_eq!("2:7".parse(), Ok(FoldOf { repeat: 2, fold: 7 }));
        assert_eq!("7".parse(), Ok(FoldOf { repeat: 0, fold: 7 }));
        assert_eq!("4294967295:0".parse::<FoldOf>(), Err("expected a repeat below 1000, found 4294967295".into()));
        assert!("a:1".parse::<FoldOf>().is_err() && "1:2:3".parse::<FoldOf>().is_err());
    }

    #[test]
    fn schedules_are_read() {
        assert_eq!(schedule("step:20:0.5"), Ok(Schedule::Step { every: 20, gamma: 0.5 }));
        assert_eq!(schedule("multi-step:1,4:0.1"), Ok(Schedule::MultiStep { milestones: vec![1, 4], gamma: 0.1 }));
        let cosine = Box::new(Schedule::CosineUpdates { floor: 1e-6 });
        assert_eq!(schedule("warm-up:100+cosine-updates:1e-6"), Ok(Schedule::WarmUp { updates: 100, then: cosine }));
        assert!(schedule("step:20").unwrap_err().contains("step:EVERY:GAMMA"));
        assert!(schedule("step:0:0.5").unwrap_err().contains("every"));
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("800MB"), Ok(800_000_000));
        assert_eq!(bytes("1.5 GiB"), Ok(3 << 29));
        assert_eq!(bytes("4096"), Ok(4096));
        assert!(bytes("much").is_err() && bytes("-1GB").is_err() && bytes("1TB").is_err());
    }

    #[test]
    fn renamed_classes_are_read() {
        assert_eq!(renamed("no tumour = benign"), Ok(("no tumour".into(), "benign".into())));
        assert!(renamed("benign").is_err() && renamed("=benign").is_err() && renamed("a=").is_err());
    }

    #[test]
    fn class_weights_are_read() {
        assert_eq!(class_weights("balanced"), Ok(ClassWeights::Balanced));
        assert_eq!(class_weights("1, 2.5"), Ok(ClassWeights::Given(vec![1.0, 2.5])));
        assert!(class_weights("1,x").is_err());
    }
}
