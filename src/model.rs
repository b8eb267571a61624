//! A model: a method recorded for a width and a number of classes, its parameters, and its file.

use crate::error::{Error, Result};
use crate::methods::Method;
use crate::random::Random;
use crate::standardise::Standardiser;
use crate::tape::{Init, ParamLayout, Storage, Tape};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// Everything but the numbers: enough to record the model again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// Method and settings.
    #[serde(flatten)]
    pub method: Method,
    /// Features of an instance.
    pub width: usize,
    /// Names of the classes; two of them give one logit, more give one each.
    pub classes: Vec<String>,
}

impl Spec {
    /// `method` for `width` features and `classes` classes that are called by their number.
    pub fn new(method: Method, width: usize, classes: usize) -> Self {
        Self { method, width, classes: (0..classes).map(|c| c.to_string()).collect() }
    }
}

/// What a model file's metadata says.
#[derive(Serialize, Deserialize)]
struct Described {
    format_version: u32,
    #[serde(flatten)]
    spec: Spec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
}

const FORMAT_VERSION: u32 = 1;

/// Where a named parameter lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamInfo {
    /// Name, such as `attention.v.weight`.
    pub name: String,
    /// `[outputs, inputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// False for what no optimiser changes, such as the running statistics of a batch norm.
    pub trained: bool,
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
    /// Parameters that a teacher starts with, where they are not the model's (see [`Model::start_from`]).
    pub(crate) teacher: Option<Vec<f32>>,
    /// Applied to features before the model sees them, when there is one.
    pub standardisation: Option<Standardiser>,
    /// Names of the features it was trained on, where they had any (see [`crate::Bags::arrange_columns`]).
    pub columns: Option<Vec<String>>,
}

impl Model {
    /// A fresh model; the same seed gives the same parameters.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range.
    pub fn new(spec: Spec, seed: u64) -> Result<Self> {
        let tape = spec.method.record(spec.width, spec.classes.len(), Storage::F32, false)?;
        let layout = tape.param_layout();
        let mut values = vec![0.0; layout.total];
        let mut infos = Vec::new();
        for (i, param) in tape.params.iter().enumerate() {
            let (start, count) = (layout.offsets[i], (param.rows * param.cols) as usize);
            // A stream a parameter: adding one leaves the others as they were.
            let mut random = Random::new(seed, INIT_STREAM + i as u64);
            for (i, v) in values[start..start + count].iter_mut().enumerate() {
                *v = match param.init {
                    Init::Constant(c) => c,
                    Init::Rows(of) => of[(i >= param.cols as usize) as usize],
                    Init::Uniform(bound) => ((random.uniform() * 2.0 - 1.0) * bound as f64) as f32,
                    Init::Normal(std) => (random.normal() * std as f64) as f32,
                };
            }
            let is_bias = !param.decays && param.rows == 1;
            let shape = |rows: u32, cols: u32| match is_bias {
                true => vec![cols as usize],
                false => vec![rows as usize, cols as usize],
            };
            let trained = !tape.is_buffer(i);
            if param.parts.is_empty() {
                let (name, shape) = (param.name.clone(), shape(param.rows, param.cols));
                infos.push(ParamInfo { name, shape, trained, offset: start });
            }
            let mut at = start;
            for (name, rows) in &param.parts {
                let shape = if is_bias { vec![*rows as usize] } else { shape(*rows, param.cols) };
                let info = ParamInfo { name: name.clone(), shape, trained, offset: at };
                at += info.len();
                infos.push(info);
            }
        }
        Ok(Self { spec, infos, layout, values, teacher: None, standardisation: None, columns: None })
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
        Ok(&self.values[info.offset..info.offset + info.len()])
    }

    /// Replaces a parameter.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown name, [`Error::Shape`] for a wrong number of values.
    pub fn set_parameter(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let info = self.info(name)?.clone();
        if values.len() != info.len() {
            return Err(Error::Shape {
                operation: "set parameter",
                expected: format!("{name} {:?}, {} values", info.shape, info.len()),
                found: format!("{} values", values.len()),
            });
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
        if self.record(Storage::F32, false)?.teacher.is_none() {
            let message = format!("{} learns from no teacher, which could start from a model", self.spec.method.name());
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
        self.teacher = Some(trained.values.clone());
        Ok(())
    }

    pub(crate) fn record(&self, storage: Storage, instance_grads: bool) -> Result<Tape> {
        self.spec.method.record(self.spec.width, self.spec.classes.len(), storage, instance_grads)
    }

    pub(crate) fn layout(&self) -> &ParamLayout {
        &self.layout
    }

    /// Writes the model: safetensors with the parameters by name, and method, sizes, classes and
    /// standardisation in its metadata. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        crate::files::write_atomically(path, self.to_bytes())
    }

    /// The content of a model file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut tensors: Vec<(&str, TensorView)> = Vec::new();
        for info in &self.infos {
            let bytes = bytemuck::cast_slice(&self.values[info.offset..info.offset + info.len()]);
            let view = TensorView::new(Dtype::F32, info.shape.clone(), bytes).expect("length follows from the shape");
            tensors.push((&info.name, view));
        }
        if let Some(s) = &self.standardisation {
            for (name, values) in [("standardisation.mean", &s.mean), ("standardisation.std", &s.std)] {
                let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values));
                tensors.push((name, view.expect("length follows from the shape")));
            }
        }
        // One key: the order of several would differ from run to run.
        let described =
            Described { format_version: FORMAT_VERSION, spec: self.spec.clone(), columns: self.columns.clone() };
        let described = serde_json::to_string(&described).expect("a spec is plain data");
        let metadata = HashMap::from([("bagrad".to_string(), described)]);
        safetensors::serialize(tensors, Some(metadata)).expect("tensors are well formed")
    }

    /// Reads a model file.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] that says what of the file is not a bagrad model.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        Self::from_bytes(&bytes).map_err(|message| Error::format(path, message))
    }

    /// Reads the content of a model file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (_, header) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("is not a whole safetensors file ({e})"))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let spec = metadata.get("bagrad").ok_or("has no metadata \"bagrad\": it is not a model this program wrote")?;
        let Described { format_version, spec, columns } =
            serde_json::from_str(spec).map_err(|e| format!("metadata \"bagrad\": {e}"))?;
        if format_version > FORMAT_VERSION {
            return Err(format!("has format version {format_version}; this program reads up to {FORMAT_VERSION}"));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, String> {
            let tensor = tensors.tensor(name).map_err(|_| format!("tensor {name:?} is missing"))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                let (dtype, found) = (tensor.dtype(), tensor.shape());
                return Err(format!("tensor {name:?}: expected F32 {shape:?}, found {dtype:?} {found:?}"));
            }
            Ok(bytemuck::pod_collect_to_vec(tensor.data()))
        };
        if let Some(found) = columns.as_ref().map(Vec::len).filter(|&found| found != spec.width) {
            return Err(format!("names {found} features, of {}", spec.width));
        }
        let mut model = Model::new(spec, 0).map_err(|e| e.to_string())?;
        model.columns = columns;
        for info in model.infos.clone() {
            let values = read(&info.name, &info.shape)?;
            model.values[info.offset..info.offset + info.len()].copy_from_slice(&values);
        }
        if tensors.tensor("standardisation.mean").is_ok() {
            let shape = [model.spec.width];
            let (mean, std) = (read("standardisation.mean", &shape)?, read("standardisation.std", &shape)?);
            model.standardisation = Some(Standardiser { mean, std });
        }
        Ok(model)
    }
}

/// Streams of a run's seed from here on start parameters; the data generators use the low ones.
const INIT_STREAM: u64 = 1 << 32;
