//! Models as files: safetensors with the parameters by name, and one text that describes the rest.

use super::described::Described;
use super::{DESCRIPTION, MOST_BYTES, Model, outline};
use crate::error::{Error, Result};
use crate::methods::Methods;
use crate::standardise::{Distances, QUANTILES, Standardiser};
use crate::target::Target;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;

/// The newest format of one model. Version 2 has models of several labels a bag, which a reader of version 1 would take for
/// models of one class a bag, and version 3 those of other targets; what is older is written as it was. Version 4 is that of
/// [`crate::ensemble`].
pub(super) const FORMAT_VERSION: u32 = 3;
/// The key of metadata that the description stands behind.
const KEY: &str = "bagrad";
/// Tensors of what features are standardised by.
const STANDARDISATION: [&str; 2] = ["standardisation.mean", "standardisation.std"];
/// Tensors of what the features were that a model without standardisation was trained on.
const SEEN: [&str; 2] = ["statistics.mean", "statistics.std"];

/// Tensors of what the means of the training bags were like: means and deviations of these, quantiles of their distances, and
/// how many bags there were with the mean of 1 / instances.
const DISTANCES: [&str; 4] = ["distances.mean", "distances.std", "distances.quantiles", "distances.bags"];

/// Bytes of a file of models, at most.
pub(crate) const MOST_OF_FILE: u64 = MOST_BYTES + DESCRIPTION;

/// The description in the metadata of a file of ours.
///
/// # Errors
/// For what is no safetensors file, or none of ours.
pub(crate) fn description(bytes: &[u8]) -> Result<String, String> {
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|e| format!("is not a whole safetensors file ({e})"))?;
    let described = header.metadata().as_ref().and_then(|metadata| metadata.get(KEY)).cloned();
    described.ok_or_else(|| "has no metadata \"bagrad\": it is not a model this program wrote".into())
}

/// A file of ours.
pub(crate) fn serialised(tensors: Vec<(String, TensorView)>, description: String) -> Vec<u8> {
    // One key: the order of several would differ from run to run.
    let metadata = HashMap::from([(KEY.to_string(), description)]);
    safetensors::serialize(tensors, Some(metadata)).expect("tensors are well formed")
}

impl Model {
    /// Writes the model: safetensors with the parameters by name, and method, sizes, classes and
    /// standardisation in its metadata. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Setting`] for values or statistics that [`Model::load`] would refuse.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check_finite()?;
        self.check_fields()?;
        crate::files::write_atomically(path.as_ref(), self.to_bytes())
    }

    /// The content of a model file.
    pub fn to_bytes(&self) -> Vec<u8> {
        serialised(self.tensors(""), self.described())
    }

    /// All that is numbers, with `prefix` before each name.
    pub(crate) fn tensors(&self, prefix: &str) -> Vec<(String, TensorView<'_>)> {
        let mut tensors: Vec<(String, TensorView)> = Vec::new();
        for info in &self.infos {
            let bytes = bytemuck::cast_slice(&self.values[info.offset..info.offset + info.len()]);
            let view = TensorView::new(Dtype::F32, info.shape.clone(), bytes).expect("length follows from the shape");
            tensors.push((format!("{prefix}{}", info.name), view));
        }
        for ([mean, std], statistics) in [(STANDARDISATION, &self.standardisation), (SEEN, &self.seen)] {
            let Some(s) = statistics else { continue };
            for (name, values) in [(mean, &s.mean), (std, &s.std)] {
                let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values));
                tensors.push((format!("{prefix}{name}"), view.expect("length follows from the shape")));
            }
        }
        let Some(Distances { mean, std, quantiles, bags }) = &self.distances else { return tensors };
        for (name, values) in DISTANCES.iter().zip([&mean[..], std, quantiles, bags]) {
            let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values));
            tensors.push((format!("{prefix}{name}"), view.expect("length follows from the shape")));
        }
        tensors
    }

    /// All that is words.
    pub(crate) fn described(&self) -> String {
        let format_version = match self.spec.target {
            Target::Classes => 1,
            Target::LabelSets => 2,
            _ => FORMAT_VERSION,
        };
        let described = Described {
            format_version,
            spec: self.spec.clone(),
            columns: self.columns.clone(),
            origin: self.origin.clone(),
            derived: self.fingerprints(),
            remarks: self.remarks.clone(),
            record: self.record.clone(),
        };
        serde_json::to_string(&described).expect("a spec is plain data")
    }

    /// Reads a model file of a method of this crate.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Format`] that says what of the file is not a bagrad model.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(path, &Methods::default())
    }

    /// Reads a model file of one of these methods.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: impl AsRef<Path>, methods: &Methods) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::bounded::read(path, MOST_OF_FILE)?;
        Self::from_bytes_with(&bytes, methods).map_err(|message| Error::format(path, message))
    }

    /// Reads the content of a model file of a method of this crate.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        Self::from_bytes_with(bytes, &Methods::default())
    }

    /// Reads the content of a model file of one of these methods.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_bytes_with(bytes: &[u8], methods: &Methods) -> Result<Self, String> {
        let text = description(bytes)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        Self::read(&text, (&tensors, ""), methods)
    }

    /// The model that `text` describes, whose tensors have `prefix` before their names.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &str, (tensors, prefix): (&SafeTensors, &str), methods: &Methods) -> Result<Self, String> {
        let Described { spec, columns, origin, derived, remarks, record, .. } =
            Described::read(text, methods).map_err(|e| format!("metadata \"bagrad\": {e}"))?;
        let view = |name: &str, shape: &[usize]| -> Result<TensorView, String> {
            let name = format!("{prefix}{name}");
            let tensor = tensors.tensor(&name).map_err(|_| format!("tensor {name:?} is missing"))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                let (dtype, found) = (tensor.dtype(), tensor.shape());
                return Err(format!("tensor {name:?}: expected F32 {shape:?}, found {dtype:?} {found:?}"));
            }
            Ok(tensor)
        };
        if let Some(found) = columns.as_ref().map(Vec::len).filter(|&found| found != spec.width) {
            return Err(format!("names {found} features, of {}", spec.width));
        }
        let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, String> {
            Ok(bytemuck::pod_collect_to_vec(view(name, shape)?.data()))
        };
        let (_, layout, infos) = outline(&spec).map_err(|e| e.to_string())?;
        // All shapes before any memory: what a description asks for must be in the file.
        infos.iter().try_for_each(|info| view(&info.name, &info.shape).map(|_| ()))?;
        let mut values = vec![0.0; layout.total];
        for info in &infos {
            values[info.offset..info.offset + info.len()].copy_from_slice(&read(&info.name, &info.shape)?);
        }
        let statistics = |names: [&str; 2]| -> Result<Option<Standardiser>, String> {
            if names.iter().all(|name| tensors.tensor(&format!("{prefix}{name}")).is_err()) {
                return Ok(None);
            }
            let [mean, std] = names;
            let shape = [spec.width];
            let found = Standardiser { mean: read(mean, &shape)?, std: read(std, &shape)? };
            found.validate().map_err(|e| e.to_string())?;
            Ok(Some(found))
        };
        let (standardisation, seen) = (statistics(STANDARDISATION)?, statistics(SEEN)?);
        let has = |name: &str| tensors.tensor(&format!("{prefix}{name}")).is_ok();
        // Files that were written before there were any have none.
        let distances = match DISTANCES.into_iter().any(has) {
            false => None,
            true => {
                let [mean, std, quantiles, bags] = DISTANCES;
                let (shape, counts) = ([spec.width], read(bags, &[2])?);
                let found = Distances {
                    mean: read(mean, &shape)?,
                    std: read(std, &shape)?,
                    quantiles: read(quantiles, &[QUANTILES])?,
                    bags: [counts[0], counts[1]],
                };
                found.validate(spec.width).map_err(|e| e.to_string())?;
                Some(found)
            }
        };
        let follower = None;
        let model = Model {
            spec,
            infos,
            layout,
            values,
            follower,
            standardisation,
            columns,
            origin,
            seen,
            distances,
            remarks,
            record,
        };
        model.check_finite().map_err(|e| e.to_string())?;
        for (name, found) in model.fingerprints() {
            let said = derived.get(&name).ok_or_else(|| format!("has no fingerprint of {name:?}"))?;
            if *said != found {
                return Err(format!(
                    "tensor {name:?} is not the one that the model was trained with: its fingerprint is {found}, \
                     expected {said}"
                ));
            }
        }
        Ok(model)
    }
}
