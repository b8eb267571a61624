//! A training on disk: everything it needs to go on, so that one that was stopped at any moment ends with the same bits as
//! one that ran through.
//!
//! What is drawn at random is drawn by counters (the epoch, the update), so no state of a generator is kept; what is: the
//! parameters, the optimiser's buffers, a copy that follows them, the scale of the loss, the best weights so far, the losses of the
//! epoch that was interrupted, and the epochs before.

use super::{Judged, Standing};
use crate::error::{Error, Result};
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::precision::ScaleState;
use crate::session::SessionState;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Every {
    /// After so much time, at the next update.
    Time(Duration),
    /// After so many updates.
    Updates(u64),
    /// After so many epochs.
    Epochs(u32),
}

impl FromStr for Every {
    type Err = Error;

    /// `30s`, `10m`, `2h`; `500u` for updates; `5e` for epochs.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            let message = format!("expected a number above 0 and s, m, h, u (updates) or e (epochs), found {text:?}");
            Error::setting("checkpoint_every", message)
        };
        let (number, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or_else(wrong)?;
        let count: u32 = number.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?;
        let seconds = |each: u64| Ok(Every::Time(Duration::from_secs(u64::from(count) * each)));
        match unit {
            "s" => seconds(1),
            "m" => seconds(60),
            "h" => seconds(3600),
            "u" => Ok(Every::Updates(u64::from(count))),
            "e" => Ok(Every::Epochs(count)),
            _ => Err(wrong()),
        }
    }
}

/// What may be the moment of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An update is done.
    Update,
    /// The last update of an epoch and its validation are done.
    Epoch,
    /// No epoch comes after those that are done.
    End,
}

/// Writes checkpoints of a training to one file, each in place of the one before, whole or not at all.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    path: PathBuf,
    every: Every,
    note: String,
    before: Option<Value>,
    to_the_end: bool,
    last: Instant,
    updates: u64,
    epochs: u32,
}

impl Checkpoints {
    /// To `path`, so often.
    pub fn new(path: impl Into<PathBuf>, every: Every) -> Self {
        Self {
            path: path.into(),
            every,
            note: String::new(),
            before: None,
            to_the_end: false,
            last: Instant::now(),
            updates: 0,
            epochs: 0,
        }
    }

    /// Keeps a text of the caller's with them, which [`Checkpoint::note`] gives back.
    pub fn with_note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    /// Keeps with them what is told of a training that came before.
    pub(crate) fn with_before(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    pub(super) fn is_due(&mut self, event: Event) -> bool {
        if event == Event::End {
            return self.to_the_end;
        }
        self.updates += 1;
        self.epochs += u32::from(event == Event::Epoch);
        match self.every {
            Every::Time(time) => self.last.elapsed() >= time,
            Every::Updates(updates) => self.updates >= updates,
            Every::Epochs(epochs) => event == Event::Epoch && self.epochs >= epochs,
        }
    }

    pub(super) fn save(&mut self, mut checkpoint: Checkpoint) -> Result<()> {
        checkpoint.note.clone_from(&self.note);
        checkpoint.before.clone_from(&self.before);
        checkpoint.save(&self.path)?;
        (self.last, self.updates, self.epochs) = (Instant::now(), 0, 0);
        Ok(())
    }
}

/// Where a training comes from and where it goes, when it is to outlive its process.
#[derive(Clone, Debug, Default)]
pub struct Persistence {
    /// Go on from here.
    pub resume: Option<Checkpoint>,
    /// Write checkpoints.
    pub checkpoints: Option<Checkpoints>,
    /// In place of both: a folder for the checkpoints of many trainings.
    pub shelf: Option<Shelf>,
}

/// Files for the checkpoints of many trainings, one after the other, that only matter together: each training finds its own
/// by what decides its result, goes on with it, and leaves its last one there, so that it is done at once when it is asked
/// for again.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    name: String,
    every: Every,
}

impl Shelf {
    /// Files in `folder` that are called `.NAME.*.checkpoint`.
    pub fn new(folder: impl Into<PathBuf>, name: impl Into<String>, every: Every) -> Self {
        Self { folder: folder.into(), name: name.into(), every }
    }

    /// A part of it: files in the same folder that are called `.NAME.PART.*.checkpoint`. [`Shelf::clear`] of the whole
    /// removes those too.
    pub fn part(&self, part: &str) -> Self {
        Self { name: format!("{}.{part}", self.name), ..self.clone() }
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(&self) -> Result<()> {
        let at = |e| Error::io(&self.folder, e);
        for entry in std::fs::read_dir(&self.folder).map_err(at)? {
            let entry = entry.map_err(at)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let mine = name.trim_start_matches('.').strip_prefix(&self.name).is_some_and(|rest| rest.starts_with('.'));
            if mine && (name.ends_with(".checkpoint") || name.ends_with(".checkpoint.half")) {
                std::fs::remove_file(entry.path()).map_err(|e| Error::io(entry.path(), e))?;
            }
        }
        Ok(())
    }

    fn find(self, identity: &Value) -> Result<(Option<Checkpoint>, Checkpoints)> {
        let number = Fingerprint::default().text(&identity.to_string());
        let path = self.folder.join(format!(".{}.{number}.checkpoint", self.name));
        let resume = if path.exists() { Some(Checkpoint::load(&path)?) } else { None };
        Ok((resume, Checkpoints { to_the_end: true, ..Checkpoints::new(path, self.every) }))
    }
}

impl Persistence {
    pub(crate) fn is_wanted(&self) -> bool {
        self.resume.is_some() || self.checkpoints.is_some() || self.shelf.is_some()
    }

    /// For a training and one that comes before it. A checkpoint of the latter is written at its end, too, from which the
    /// other one begins.
    pub(crate) fn of_stages(self) -> [Persistence; 2] {
        let Persistence { resume, checkpoints, shelf } = self;
        let (before, after) = match resume {
            Some(checkpoint) if checkpoint.before.is_none() => (Some(checkpoint), None),
            resume => (None, resume),
        };
        let to_the_end = checkpoints.clone().map(|checkpoints| Checkpoints { to_the_end: true, ..checkpoints });
        let first = Persistence { resume: before, checkpoints: to_the_end, shelf: shelf.clone() };
        [first, Persistence { resume: after, checkpoints, shelf }]
    }

    /// What a training that this decides goes on from, and where it writes.
    pub(super) fn of(self, identity: &Value) -> Result<(Option<Checkpoint>, Option<Checkpoints>)> {
        match self.shelf {
            Some(shelf) => shelf.find(identity).map(|(resume, checkpoints)| (resume, Some(checkpoints))),
            None => Ok((self.resume, self.checkpoints)),
        }
    }
}

/// A training that was interrupted.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// All that decides the result: model, settings, data.
    pub(super) identity: Value,
    pub(super) note: String,
    pub(super) before: Option<Value>,
    pub(super) device: String,
    pub(super) epoch: u32,
    /// Updates of the epoch that are done.
    pub(super) update: u64,
    pub(super) seconds: f64,
    pub(super) records: Vec<Record>,
    pub(super) best: Option<Best>,
    /// Losses of the batches of those updates.
    pub(super) losses: Vec<f32>,
    pub(super) state: SessionState,
}

/// The best epoch so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Best {
    pub epoch: u32,
    pub standing: Standing,
    pub values: Vec<f32>,
}

/// An epoch in a checkpoint. Numbers that decide something later, and may be infinite, are kept as their bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub epoch: u32,
    pub loss: f64,
    pub learning_rate: f64,
    validation_loss: Option<u64>,
    pub validation: Option<Value>,
    pub best: bool,
    pub seconds: f64,
    pub items_per_second: f64,
    pub loss_scale: Option<ScaleState>,
}

impl Record {
    pub fn of<D>(judged: &Judged<D>, pack: impl FnOnce(&D) -> Value) -> Self {
        let Judged { epoch, loss, learning_rate, best, seconds, items_per_second, loss_scale, .. } = *judged;
        let (validation_loss, validation) = match &judged.validation {
            Some((loss, details)) => (Some(loss.to_bits()), Some(pack(details))),
            None => (None, None),
        };
        Self { epoch, loss, learning_rate, validation_loss, validation, best, seconds, items_per_second, loss_scale }
    }

    pub fn validation_loss(&self) -> Option<f64> {
        self.validation_loss.map(f64::from_bits)
    }
}

/// What the metadata of a checkpoint says.
#[derive(Serialize, Deserialize)]
struct Described {
    format_version: u32,
    identity: Value,
    note: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    device: String,
    epoch: u32,
    update: u64,
    seconds: f64,
    records: Vec<Record>,
    /// Epoch of the best, then the bits of its score and of its loss.
    best: Option<(u32, Option<u64>, u64)>,
    updates: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    class_updates: Vec<u64>,
    average: Option<u8>,
    loss_scale: Option<ScaleState>,
}

const FORMAT_VERSION: u32 = 1;
const KEY: &str = "bagrad checkpoint";
/// Bytes beside the values that a checkpoint may have.
const DESCRIPTION: u64 = 256 << 20;
/// Copies of the parameters that a checkpoint may have: themselves, those of the best epoch, what follows them, buffers of the
/// optimiser.
const COPIES: u64 = 8;

impl Checkpoint {
    /// The epoch that it stands in, from 0.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Updates that were done.
    pub fn updates(&self) -> u64 {
        self.state.updates
    }

    /// What it was trained on. On another device training goes on with other roundings.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// What its writer kept with it (see [`Checkpoints::with_note`]).
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What is told of a training that came before this one and is over.
    pub(crate) fn before(&self) -> Option<&Value> {
        self.before.as_ref()
    }

    /// The parameters as they stand, in the flat layout.
    pub(crate) fn parameters(&self) -> &[f32] {
        &self.state.parameters
    }

    /// Refuses to go on with another training than it is of, naming what differs.
    pub(super) fn check(&self, identity: &Value) -> Result<()> {
        let mut differences = Vec::new();
        differ("", &self.identity, identity, &mut differences);
        if differences.is_empty() {
            return Ok(());
        }
        let message = format!("is of another training: {}", differences.join("; "));
        Err(Error::setting("checkpoint", message))
    }

    /// Writes it, whole or not at all; for one process at a time. Until it is whole it is at [`files::half_of`] the path.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        files::rewrite(path.as_ref(), &self.to_bytes())
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Format`] that says what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::bounded::read(path, crate::model::MOST_BYTES * COPIES + DESCRIPTION)?;
        Self::from_bytes(&bytes).map_err(|message| Error::format(path, message))
    }

    /// The content of its file: safetensors, and a description in the metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        let state = &self.state;
        let described = Described {
            format_version: FORMAT_VERSION,
            identity: self.identity.clone(),
            note: self.note.clone(),
            before: self.before.clone(),
            device: self.device.clone(),
            epoch: self.epoch,
            update: self.update,
            seconds: self.seconds,
            records: self.records.clone(),
            best: self.best.as_ref().map(|Best { epoch, standing, .. }| {
                (*epoch, standing.score.map(f64::to_bits), standing.loss.to_bits())
            }),
            updates: state.updates,
            class_updates: state.class_updates.clone(),
            average: state.average,
            loss_scale: state.loss_scale,
        };
        let mut tensors = vec![("parameters".to_string(), &state.parameters), ("losses".into(), &self.losses)];
        tensors.extend(state.states.iter().enumerate().map(|(n, values)| (format!("state.{n}"), values)));
        tensors.extend(state.follower.iter().map(|values| ("follower".into(), values)));
        tensors.extend(self.best.iter().map(|best| ("best".into(), &best.values)));
        let views = tensors.into_iter().map(|(name, values)| {
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values));
            (name, view.expect("the length is that of the shape"))
        });
        let described = serde_json::to_string(&described).expect("plain data");
        let metadata = HashMap::from([(KEY.to_string(), described)]);
        safetensors::serialize(views, Some(metadata)).expect("names are different")
    }

    /// Reads the content of such a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("is not a whole safetensors file ({e})"))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let described = metadata.get(KEY).ok_or("is no checkpoint that this program wrote")?;
        let found: Described = serde_json::from_str(described).map_err(|e| format!("metadata {KEY:?}: {e}"))?;
        if found.format_version != FORMAT_VERSION {
            return Err(format!("has format version {}; this program reads {FORMAT_VERSION}", found.format_version));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let read = |name: &str| -> Result<Option<Vec<f32>>, String> {
            let Ok(tensor) = tensors.tensor(name) else { return Ok(None) };
            match (tensor.dtype(), tensor.shape()) {
                (Dtype::F32, [_]) => Ok(Some(bytemuck::pod_collect_to_vec(tensor.data()))),
                (dtype, shape) => {
                    Err(format!("tensor {name:?}: expected F32 in one dimension, found {dtype:?} {shape:?}"))
                }
            }
        };
        let needed = |name: &str| read(name)?.ok_or_else(|| format!("tensor {name:?} is missing"));
        let mut states = Vec::new();
        while let Some(values) = read(&format!("state.{}", states.len()))? {
            states.push(values);
        }
        let best = match found.best {
            Some((epoch, score, loss)) => {
                let standing = Standing { score: score.map(f64::from_bits), loss: f64::from_bits(loss) };
                Some(Best { epoch, standing, values: needed("best")? })
            }
            None => None,
        };
        let state = SessionState {
            updates: found.updates,
            parameters: needed("parameters")?,
            states,
            class_updates: found.class_updates,
            average: found.average,
            follower: read("follower")?,
            loss_scale: found.loss_scale,
        };
        if best.as_ref().is_some_and(|best| best.values.len() != state.parameters.len()) {
            return Err("the best weights are not of the same model".into());
        }
        Ok(Self {
            identity: found.identity,
            note: found.note,
            before: found.before,
            device: found.device,
            epoch: found.epoch,
            update: found.update,
            seconds: found.seconds,
            records: found.records,
            best,
            losses: needed("losses")?,
            state,
        })
    }
}

/// Appends what differs between the two, by its path.
fn differ(path: &str, there: &Value, here: &Value, out: &mut Vec<String>) {
    match (there, here) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                differ(&path, a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null), out);
            }
        }
        (a, b) if a == b => {}
        (a, b) => out.push(format!("{path} was {a} and is {b}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checkpoint() -> Checkpoint {
        let record = Record {
            epoch: 0,
            loss: 0.1 + 0.2,
            learning_rate: 1e-3 / 3.0,
            validation_loss: Some(f64::INFINITY.to_bits()),
            validation: Some(json!({ "auc": 2.0 / 3.0 })),
            best: true,
            seconds: 1.5,
            items_per_second: 7.0,
            loss_scale: None,
        };
        let scale = ScaleState { scale: 4.0, good: 7, skipped: 2, overflowed: false };
        Checkpoint {
            identity: json!({ "settings": { "epochs": 3, "rate": 1e-3 / 3.0 } }),
            note: String::new(),
            before: Some(json!({ "method": "attention" })),
            device: "host".into(),
            epoch: 1,
            update: 2,
            seconds: 3.25,
            records: vec![record],
            best: Some(Best {
                epoch: 0,
                standing: Standing { score: None, loss: f64::INFINITY },
                values: vec![1.0, -0.0],
            }),
            losses: vec![0.5, 0.25],
            state: SessionState {
                updates: 5,
                parameters: vec![1.0, 1e-40],
                states: vec![vec![2.0, 3.0], vec![f32::MIN_POSITIVE, 5.0]],
                class_updates: vec![3, 0, 2],
                average: Some(1),
                follower: Some(vec![7.0, 8.0]),
                loss_scale: Some(scale),
            },
        }
    }

    #[test]
    fn a_checkpoint_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.checkpoint");
        checkpoint().save(&path).unwrap();
        let read = Checkpoint::load(&path).unwrap();
        assert_eq!(read, checkpoint());
        assert_eq!((read.epoch(), read.updates(), read.device()), (1, 5, "host"));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let message = Checkpoint::load(&path).unwrap_err().to_string();
        assert!(message.contains("a.checkpoint") && message.contains("not a whole safetensors file"), "{message}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let other = Checkpoint { best: checkpoint().best.map(|b| Best { values: vec![0.0], ..b }), ..checkpoint() };
        assert!(Checkpoint::from_bytes(&other.to_bytes()).unwrap_err().contains("best weights"));
        let none = safetensors::serialize(std::iter::empty::<(String, TensorView)>(), None).unwrap();
        assert!(Checkpoint::from_bytes(&none).unwrap_err().contains("no checkpoint"));
        let here = json!({ "settings": { "epochs": 4, "rate": 1e-3 / 3.0, "half": true } });
        let message = checkpoint().check(&here).unwrap_err().to_string();
        let told = "settings.epochs was 3 and is 4; settings.half was null and is true";
        assert!(message.contains(told), "{message}");
        checkpoint().check(&checkpoint().identity).unwrap();
    }

    #[test]
    fn intervals_are_read() {
        let of = |text: &str| text.parse::<Every>().ok();
        assert_eq!(of("30s"), Some(Every::Time(Duration::from_secs(30))));
        assert_eq!(of("10m"), Some(Every::Time(Duration::from_secs(600))));
        assert_eq!(of("2h"), Some(Every::Time(Duration::from_secs(7200))));
        assert_eq!((of("5u"), of("3e")), (Some(Every::Updates(5)), Some(Every::Epochs(3))));
        for wrong in ["", "5", "u", "0u", "-1s", "1.5m", "5 m", "4294967296u", "5ä", "ä"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn intervals_are_kept() {
        let due = |every, events: &[Event]| -> Vec<bool> {
            let folder = tempfile::tempdir().unwrap();
            let mut checkpoints = Checkpoints::new(folder.path().join("c"), every);
            let mut one = |event: &Event| {
                let due = checkpoints.is_due(*event);
                if due {
                    checkpoints.save(checkpoint()).unwrap();
                }
                due
            };
            events.iter().map(&mut one).collect()
        };
        use Event::{Epoch, Update};
        let events = [Update, Update, Epoch, Update, Update, Epoch];
        assert_eq!(due(Every::Updates(2), &events), [false, true, false, true, false, true]);
        assert_eq!(due(Every::Epochs(2), &events), [false, false, false, false, false, true]);
        assert_eq!(due(Every::Time(Duration::ZERO), &events), [true; 6]);
        assert_eq!(due(Every::Time(Duration::from_secs(9999)), &events), [false; 6]);
    }
}
