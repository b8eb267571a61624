//! Tensors by name, as other programs save the weights of their models: PyTorch's state dicts (`.pt`, `.pth`, `.ckpt`) and
//! safetensors. What the tensors mean is not known here.

use crate::error::{Error, Result};
use std::path::Path;

/// A tensor and its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its key.
    pub name: String,
    /// Its sizes; none of a number.
    pub shape: Vec<usize>,
    /// What its values are in the file, such as `float32`.
    pub kind: String,
    /// The values in C order, rounded to f32 where they are longer; `None` where they are whole numbers, which no weights
    /// are.
    pub values: Option<Vec<f32>>,
}

/// What a file of weights holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// The tensors in the order of the file.
    pub tensors: Vec<Tensor>,
    /// What was looked past on the way to them, a sentence each.
    pub remarks: Vec<String>,
    /// What a safetensors file says of itself.
    pub metadata: Vec<(String, String)>,
}

impl Weights {
    /// Reads the file at `path`. Of a PyTorch file the tensors are those of the dict that it is, or of one in it:
    /// `state_dict`, `model_state_dict`, `model` and the like. Pickles are read without executing anything; what else they
    /// hold is passed over, and told.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that is cut off, broken, or holds no tensors by name.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        super::slides::weights(path).map_err(|message| Error::format(path, message))
    }
}
