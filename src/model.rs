//! A model: a method recorded for a width and a number of classes, its parameters, and its file.

mod described;
mod file;
mod record;
#[cfg(test)]
mod tests;

pub use record::Record;

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::fingerprint::Fingerprint;
use crate::methods::Method;
use crate::ops::loss::Soft;
use crate::origin::Origin;
use crate::random::Random;
use crate::standardise::{Distances, Standardiser};
use crate::tape::{Init, ParamLayout, Storage, Tape};
use crate::target::Target;
pub(crate) use file::{MOST_OF_FILE, description, serialised};
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything but the numbers: enough to record the model again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spec {
    /// Method and settings.
    #[serde(flatten)]
    pub method: Method,
    /// Features of an instance.
    pub width: usize,
    /// Names of the classes; two of them give one logit, more give one each. None where something else is learnt.
    pub classes: Vec<String>,
    /// What is learnt of bags.
    #[serde(flatten)]
    pub target: Target,
}

impl Spec {
    /// `method` for `width` features and `classes` classes that are called by their number.
    pub fn new(method: Method, width: usize, classes: usize) -> Self {
        Self { method, width, classes: (0..classes).map(|c| c.to_string()).collect(), target: Target::Classes }
    }

    /// `method` for bags such as these: their features, and their classes or labels. Where bags have neither,
    /// [`Spec::learning`] tells what is learnt.
    pub fn of(method: Method, bags: &Bags) -> Self {
        let target = if bags.label_sets.is_some() { Target::LabelSets } else { Target::Classes };
        Self::learning(target, method, bags)
    }

    /// `method` for bags such as these and something to learn of them ([`Target::of`]).
    pub fn learning(target: Target, method: Method, bags: &Bags) -> Self {
        let classes = if target.has_classes() { bags.class_names.clone() } else { Vec::new() };
        Self { method, width: bags.width, classes, target }
    }

    /// True where both are recorded alike, whatever their classes are called, and whatever the training bags gave the target.
    pub(crate) fn is_network_of(&self, other: &Self) -> bool {
        let targets = match (&self.target, &other.target) {
            (Target::Number(a), Target::Number(b)) => a.loss == b.loss,
            (Target::Hazards(a), Target::Hazards(b)) => a.edges.len() == b.edges.len() && a.alpha == b.alpha,
            (a, b) => a == b,
        };
        let sizes = |spec: &Self| (spec.width, spec.classes.len());
        targets && sizes(self) == sizes(other) && self.method == other.method
    }

    pub(crate) fn record(&self, storage: Storage, instance_grads: bool) -> Result<Tape> {
        self.record_soft(storage, instance_grads, Soft::default())
    }

    /// The same with softened targets in the loss of bags.
    pub(crate) fn record_soft(&self, storage: Storage, instance_grads: bool, soft: Soft) -> Result<Tape> {
        self.method.record_soft(&self.target, soft, [self.width, self.classes.len()], storage, instance_grads)
    }
}

/// Where a named parameter lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamInfo {
    /// Name, such as `attention.v.weight`.
    pub name: String,
    /// `[outputs, inputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// False for what no optimiser changes, such as the running statistics of a batch norm.
    pub trained: bool,
    /// It is made of another model before this one is trained ([`crate::stages`]).
    pub(crate) derived: bool,
    /// First value in the flat layout.
    pub(crate) offset: usize,
}

impl ParamInfo {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A method with parameters, on no device in particular.
///
/// Parameters are listed, read and replaced by name, and the model is saved to one file that describes
/// itself.
#[derive(Clone, Debug)]
pub struct Model {
    spec: Spec,
    infos: Vec<ParamInfo>,
    layout: ParamLayout,
    pub(crate) values: Vec<f32>,
    /// What a copy that follows the parameters starts with, where it is not these (see [`Model::start_from`]).
    pub(crate) follower: Option<Vec<f32>>,
    /// Applied to features before the model sees them, when there is one.
    pub standardisation: Option<Standardiser>,
    /// Names of the features it was trained on, where they had any (see [`crate::Bags::arrange_columns`]).
    pub columns: Option<Vec<String>>,
    /// Who made the features that it was trained on, and what their places mean, where that was known.
    pub origin: Option<Origin>,
    /// Statistics of the features that the model was trained on, where they were not standardised: see
    /// [`Model::statistics`].
    pub seen: Option<Standardiser>,
    /// What the means of the bags that it was trained on are like, where that was told: how far others are from them.
    pub distances: Option<Distances>,
    /// What people should know of it, a sentence each: of weights that were imported, what was assumed of them.
    pub remarks: Vec<String>,
    /// How it came about, where whoever trained it said so.
    pub record: Record,
}

/// Bytes that the parameters of a model may take: the most that devices bind of one buffer.
pub const MOST_BYTES: u64 = 2 << 30;
/// Bytes that the description in a model file may take, beside the parameters.
const DESCRIPTION: u64 = 64 << 20;

/// Of a model everything but the values; takes no memory for these.
fn outline(spec: &Spec) -> Result<(Tape, ParamLayout, Vec<ParamInfo>)> {
    let tape = spec.record(Storage::F32, false)?;
    let size = |p: &crate::tape::Param| p.rows as u128 * p.cols as u128 + crate::tape::SEGMENT as u128;
    let wanted = 4 * tape.params.iter().map(size).sum::<u128>();
    if wanted > MOST_BYTES as u128 {
        let what = format!("a model of {} with these settings", spec.method.name());
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        return Err(Error::Limit { limit: "size of a model", what, wanted, possible: MOST_BYTES });
    }
    let layout = tape.param_layout();
    let mut infos = Vec::new();
    for (i, param) in tape.params.iter().enumerate() {
        let start = layout.offsets[i];
        let is_bias = !param.decays && param.rows == 1;
        let shape = |rows: u32, cols: u32| match is_bias {
            true => vec![cols as usize],
            false => vec![rows as usize, cols as usize],
        };
        let (trained, derived) = (!tape.is_buffer(i), param.init == Init::Derived);
        if param.parts.is_empty() {
            let (name, shape) = (param.name.clone(), shape(param.rows, param.cols));
            infos.push(ParamInfo { name, shape, trained, derived, offset: start });
        }
        let mut at = start;
        for (name, rows) in &param.parts {
            let shape = if is_bias { vec![*rows as usize] } else { shape(*rows, param.cols) };
            let info = ParamInfo { name: name.clone(), shape, trained, derived, offset: at };
            at += info.len();
            infos.push(info);
        }
    }
    Ok((tape, layout, infos))
}

impl Model {
    /// A fresh model; the same seed gives the same parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range.
    pub fn new(spec: Spec, seed: u64) -> Result<Self> {
        let (tape, layout, infos) = outline(&spec)?;
        let mut values = vec![0.0; layout.total];
        for (i, param) in tape.params.iter().enumerate() {
            let (start, count) = (layout.offsets[i], param.rows as usize * param.cols as usize);
            // A stream a parameter: adding one leaves the others as they were.
            let seed = if let Init::Drawn { seed, .. } = param.init { seed } else { seed };
            let mut random = Random::new(seed, INIT_STREAM + i as u64);
            for (i, v) in values[start..start + count].iter_mut().enumerate() {
                *v = match param.init {
                    Init::Constant(c) => c,
                    Init::Derived => 0.0,
                    Init::Rows(of) => of[(i >= param.cols as usize) as usize],
                    Init::Uniform(bound) | Init::Drawn { bound, .. } => {
                        ((random.uniform() * 2.0 - 1.0) * bound as f64) as f32
                    }
                    Init::Normal(std) => (random.normal() * std as f64) as f32,
                };
            }
        }
        Ok(Self {
            spec,
            infos,
            layout,
            values,
            follower: None,
            standardisation: None,
            columns: None,
            origin: None,
            seen: None,
            distances: None,
            remarks: Vec::new(),
            record: Record::default(),
        })
    }

    fn values_of(&self, info: &ParamInfo) -> &[f32] {
        &self.values[info.offset..info.offset + info.len()]
    }

    /// True when every constant that is made of another model has been made.
    pub(crate) fn is_derived(&self) -> bool {
        self.infos.iter().filter(|info| info.derived).all(|info| self.values_of(info).iter().any(|v| *v != 0.0))
    }

    /// Takes those constants from values in the same layout.
    ///
    /// # Errors
    /// [`Error::Setting`] for values in another layout or that are not finite.
    pub(crate) fn take_derived(&mut self, values: &[f32]) -> Result<()> {
        if values.len() != self.values.len() {
            let message = format!("expected {} parameters, found {}", self.values.len(), values.len());
            return Err(Error::setting("checkpoint", message));
        }
        let derived: Vec<ParamInfo> = self.infos.iter().filter(|info| info.derived).cloned().collect();
        derived
            .iter()
            .try_for_each(|info| self.set_parameter(&info.name, &values[info.offset..info.offset + info.len()]))
    }

    /// Names and fingerprints of the constants that were made of another model.
    fn fingerprints(&self) -> BTreeMap<String, String> {
        let derived = self.infos.iter().filter(|info| info.derived);
        let of = |info: &ParamInfo| Fingerprint::default().values(self.values_of(info)).to_string();
        derived.map(|info| (info.name.clone(), of(info))).collect()
    }

    /// Mean and deviation of each feature over the instances that the model was trained on, as the files have them:
    /// those it standardises by, or those it was only told of.
    pub fn statistics(&self) -> Option<&Standardiser> {
        self.standardisation.as_ref().or(self.seen.as_ref())
    }

    /// Refuses parameters that are not finite, naming the first.
    pub(crate) fn check_finite(&self) -> Result<()> {
        self.check_values(&self.values)?;
        self.follower.as_ref().map_or(Ok(()), |values| self.check_values(values))
    }

    /// As [`Model::check_finite`], of other values in the same layout.
    pub(crate) fn check_values(&self, values: &[f32]) -> Result<()> {
        let wrong = |info: &&ParamInfo| values[info.offset..info.offset + info.len()].iter().any(|v| !v.is_finite());
        match self.infos.iter().find(wrong) {
            Some(info) => Err(Error::setting(&info.name, "a value of this parameter is not a finite number")),
            None => Ok(()),
        }
    }

    /// Tells its parameters, and those of what follows them, from others.
    pub(crate) fn fingerprint(&self) -> String {
        let all = std::iter::once(&self.values).chain(&self.follower);
        all.fold(Fingerprint::default(), |of, values| of.values(values)).to_string()
    }

    /// Refuses statistics and names of features that are not of the model's width, and an origin that is none.
    pub(crate) fn check_fields(&self) -> Result<()> {
        let width = self.spec.width;
        for statistics in [&self.standardisation, &self.seen].into_iter().flatten() {
            statistics.validate()?;
            if statistics.mean.len() != width {
                let message = format!("expected statistics of {width} features, found {}", statistics.mean.len());
                return Err(Error::setting("standardisation", message));
            }
        }
        if let Some(distances) = &self.distances {
            distances.validate(width)?;
        }
        match self.columns.as_ref().map(Vec::len).filter(|&found| found != width) {
            Some(found) => Err(Error::setting("columns", format!("expected names of {width} features, found {found}"))),
            None => self.origin.as_ref().map_or(Ok(()), Origin::check).map_err(|m| Error::setting("origin", m)),
        }
    }

    /// Method, width and classes.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// All parameters, by name and shape, and what is kept beside them ([`ParamInfo::trained`] is false).
    pub fn parameters(&self) -> &[ParamInfo] {
        &self.infos
    }

    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.infos.iter().filter(|p| p.trained).map(ParamInfo::len).sum()
    }

    fn info(&self, name: &str) -> Result<&ParamInfo> {
        self.infos.iter().find(|p| p.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.infos.iter().map(|p| p.name.as_str()).collect();
            Error::setting(name, format!("the model has no such parameter; it has: {}", names.join(", ")))
        })
    }

    /// Values of a parameter, row by row.
    ///
    /// # Errors
    /// [`Error::Setting`] that lists the names there are.
    pub fn parameter(&self, name: &str) -> Result<&[f32]> {
        let info = self.info(name)?;
        Ok(self.values_of(info))
    }

    /// Replaces a parameter.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown name or a value that is not finite, [`Error::Shape`] for a wrong number of
    /// values.
    pub fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let info = self.info(name)?.clone();
        if values.len() != info.len() {
            return Err(Error::Shape {
                operation: "set parameter",
                expected: format!("{name} {:?}, {} values", info.shape, info.len()),
                found: format!("{} values", values.len()),
            });
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::setting(name, format!("value {at} is {}; expected a finite number", values[at])));
        }
        self.values[info.offset..info.offset + info.len()].copy_from_slice(values);
        Ok(())
    }

    /// Lets a model that learns from a teacher start from a trained one: the teacher starts with all of its
    /// parameters, the model with those of its first layer. The other may be of another method, as long as its
    /// parameters have the same names and shapes: MHIM-MIL without masks, or the plain method.
    ///
    /// # Errors
    /// [`Error::Setting`] when this method has no teacher, or says which parameter does not fit.
    pub fn start_from(&mut self, trained: &Model) -> Result<()> {
        if self.record(Storage::F32, false)?.passes.follower.is_none() {
            let message = format!("{} learns from no teacher, which could start from a model", self.spec.method.name());
            return Err(Error::setting("start", message));
        }
        if (&self.spec.classes, &self.spec.target) != (&trained.spec.classes, &trained.spec.target) {
            let listed = |spec: &Spec| match &spec.target {
                Target::Classes => spec.classes.join(", "),
                Target::LabelSets => spec.classes.join(", ") + " (any number of them a bag)",
                Target::Ordered => spec.classes.join(" < "),
                target => format!("{} ({target:?})", target.wants()),
            };
            let [here, there] = [&self.spec, &trained.spec].map(listed);
            let message = format!(
                "a model to start from needs the same classes in the same order, or the same target: expected {here}, found \
                 {there}"
            );
            return Err(Error::setting("start", message));
        }
        let shape = |infos: &[ParamInfo]| infos.iter().map(|p| format!("{} {:?}", p.name, p.shape)).collect::<Vec<_>>();
        let (wanted, found) = (shape(&self.infos), shape(&trained.infos));
        if let Some(at) = (0..wanted.len().max(found.len())).find(|&i| wanted.get(i) != found.get(i)) {
            let [wanted, found] = [wanted, found].map(|all| all.get(at).map_or("nothing more".into(), String::clone));
            let method = trained.spec.method.name();
            let message = format!("a model to start from needs the same parameters: expected {wanted}, found {found}");
            return Err(Error::setting("start", format!("{message} ({method})")));
        }
        let layer = |name: &str| name.rsplit_once('.').map_or(name, |(layer, _)| layer).to_string();
        let first = layer(&self.infos[0].name);
        for info in self.infos.iter().filter(|p| layer(&p.name) == first) {
            let range = info.offset..info.offset + info.len();
            self.values[range.clone()].copy_from_slice(&trained.values[range]);
        }
        self.follower = Some(trained.values.clone());
        Ok(())
    }

    pub(crate) fn record(&self, storage: Storage, instance_grads: bool) -> Result<Tape> {
        self.spec.record(storage, instance_grads)
    }

    pub(crate) fn layout(&self) -> &ParamLayout {
        &self.layout
    }
}

/// Streams of a run's seed from here on start parameters; the data generators use the low ones.
const INIT_STREAM: u64 = 1 << 32;
