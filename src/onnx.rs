//! Models as files of [ONNX](https://onnx.ai), which runtimes of many languages and devices compute.
//!
//! A graph is of one bag with any number of instances: `features [instances, width]` go in as the encoder gave them, and out
//! come the logits of the bag, the probabilities they are, and what the model tells of instances under its own names.
//! What the model was trained on and what its outputs mean is in the file's metadata; `docs/onnx.md` lists it, and which
//! methods have a form in ONNX.
//!
//! ```
//! # fn main() -> bagrad::Result<()> {
//! use bagrad::methods::GatedAttention;
//! use bagrad::model::{Model, Spec};
//! let model = Model::new(Spec::new(GatedAttention::default().into(), 16, 2), 1)?;
//! let exported = bagrad::onnx::export(&model)?;
//! let names: Vec<&str> = exported.outputs.iter().map(|output| output.name.as_str()).collect();
//! assert_eq!(names, ["bag_features", "logits", "probabilities", "scores", "attention"]);
//! # Ok(())
//! # }
//! ```

mod attention;
mod graph;
mod images;
mod math;
mod metadata;
mod nystrom;
mod outputs;
mod pools;
#[doc(hidden)]
pub mod proto;
mod pseudo;
mod rows;
mod table;
mod tokens;
mod translation;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::tape::Storage;
pub use outputs::Described;
use prost::Message;
use proto::{IR_VERSION, ModelProto, OPSET, OperatorSetIdProto, StringStringEntryProto};
use translation::Translation;

/// A model as a file of ONNX, and what is in it.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The content of the file.
    pub bytes: Vec<u8>,
    /// The names of the inputs: `features`, and `coordinates` where the model looks at places.
    pub inputs: Vec<String>,
    /// The outputs in their order.
    pub outputs: Vec<Described>,
    /// What the file says of the model, by key.
    pub metadata: Vec<(String, String)>,
    /// The operators of the graph.
    pub nodes: usize,
}

/// The content of a file that protobuf can hold.
const MOST_BYTES: usize = i32::MAX as usize;

/// The model as a file of ONNX, in f32.
///
/// # Errors
/// [`Error::Setting`] for a model with an operation that has no form in ONNX, which it names with the reason, or that says
/// nothing of bags; [`Error::Limit`] for one of more than 2 GiB.
pub fn export(model: &Model) -> Result<Exported> {
    model.check_finite()?;
    model.check_fields()?;
    let tape = model.record(Storage::F32, false)?;
    let (wanted, link) = outputs::wanted(&tape)?;
    let mut translation = Translation::new(model, &tape);
    let values: Vec<_> = wanted.iter().map(|output| output.value).collect();
    translation.run(&values)?;
    let outputs = outputs::add(&mut translation, model, &wanted, link)?;
    let metadata = metadata::of(model, (link, translation.pairs), &outputs);
    let says = metadata::in_words(model);
    let graph = translation.graph.finish(model.spec().method.name(), says.clone());
    let (inputs, nodes) = (graph.input.iter().filter_map(|i| i.name.clone()).collect(), graph.node.len());
    let entry =
        |(key, value): &(String, String)| StringStringEntryProto { key: Some(key.clone()), value: Some(value.clone()) };
    let file = ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some(crate::files::ONNX_PRODUCER.into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        domain: Some(String::new()),
        model_version: Some(1),
        doc_string: Some(says),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        metadata_props: metadata.iter().map(entry).collect(),
    };
    let size = file.encoded_len();
    if size > MOST_BYTES {
        let what = format!("a file of {}", model.spec().method.name());
        return Err(Error::Limit {
            limit: "size of an ONNX file",
            what,
            wanted: size as u64,
            possible: MOST_BYTES as u64,
        });
    }
    Ok(Exported { bytes: file.encode_to_vec(), inputs, outputs, metadata, nodes })
}
