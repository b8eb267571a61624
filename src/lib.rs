//! A compute engine for multiple instance learning (MIL): the data is bags of instances, and only bags have
//! labels. Shaders written by hand in WGSL run it on any GPU through [wgpu]; the same kernels in Rust run it
//! on the CPU.
//!
//! Bags go in packed: the instances of all bags stacked in one matrix, with the size of each bag. Out come a
//! probability for each class of a bag and a score for each instance.
//!
//! ```
//! use bagrad::methods::GatedAttention;
//! use bagrad::{Bags, Device, Features, Model, Trainer};
//!
//! # fn main() -> bagrad::Result<()> {
//! // Six bags of one to three instances with two features. A bag is positive when one of its instances has
//! // a large first feature.
//! let rows = [[5., 0.], [0., 1.], [0., 0.], [1., 0.], [0., 2.], [6., 1.], [1., 1.], [4., 1.], [0., 3.], [1., 2.]];
//! let sizes = [2, 1, 2, 2, 2, 1];
//! let bags = Bags::packed(Features::F32(rows.concat()), 2, &sizes)?.with_labels(vec![1, 0, 0, 1, 1, 0])?;
//!
//! let device = Device::host(); // or Device::open(&"auto".parse()?)?.device
//! let fitted = Trainer::new(GatedAttention { embed: vec![8], dropout: 0.0, ..Default::default() })
//!     .epochs(60)
//!     .learning_rate(1e-2)
//!     .seed(1)
//!     .device(&device)
//!     .fit(&bags)?;
//!
//! // A model file knows its method, classes and standardisation.
//! let file = std::env::temp_dir().join(format!("bagrad-{}.safetensors", std::process::id()));
//! fitted.model.save(&file)?;
//! let found = Model::load(&file)?.on(&device)?.predict(&bags)?;
//! # std::fs::remove_file(&file).ok();
//!
//! let classes: Vec<usize> = (0..bags.len()).map(|bag| found.class(bag)).collect();
//! assert_eq!(classes, [1, 0, 0, 1, 1, 0]);
//! let scores = &found.scores[bags.rows(0)];
//! assert!(scores[0] > scores[1], "the first instance is what makes bag 0 positive: {scores:?}");
//! # Ok(())
//! # }
//! ```
//!
//! | to do this | there is |
//! |---|---|
//! | hold bags, in memory or in a file | [`Bags`], [`Features`], [`Mapped`], [`LabelSets`], [`Origin`], [`PlaceUnit`], [`Identity`] |
//! | read or draw them | `data` (feature `data`) |
//! | choose a method | [`methods`]: settings as structs, or by name; a method of your own |
//! | train | [`Trainer`], [`training::Settings`]; [`fit`] for checkpoints |
//! | keep a model | [`Model`], a file that describes itself |
//! | answer with several models at once, a file of them | [`Ensemble`], [`EnsemblePredictor`], [`Answers`] |
//! | predict, and measure | [`Predictor`], [`training::Predictions`], [`metrics`] |
//! | see whether the instances that scores point at are enough, and needed | [`EnsemblePredictor::parts`], [`parts`] |
//! | choose a device | [`Device`], [`device`] |
//! | divide bags, compare classes, standardise by hand | [`split`], [`class_match`], [`standardise`] |
//! | make a model of other people's weights | `foreign` (feature `data`) |
//! | pretrain an encoder of patches | `pretrain` (feature `data`) |
//! | show a run | `report`: one self-contained HTML page (feature `report`) |
//! | draw what a model says where its instances are | `heatmap` (feature `report`) |
//! | hand a model to other runtimes | `onnx`: ONNX files (feature `onnx`) |
//! | build on what is below | [`engine`]: sessions, tapes, plans, kernels; less stable than the rest |
//!
//! Whatever a caller, a file or a device does wrong is an [`Error`]. There is no global state: models, methods and devices
//! are values, which may be used from several threads, and nothing is printed.
//!
//! # Methods of your own
//!
//! A method is a struct of settings that implements [`methods::MilMethod`] and records its network with
//! [`methods::layers::Network`]. It trains and predicts as those of this crate do; who loads a model by the name of its
//! method gives [`Model::load_with`] a list that has it. `examples/own_method.rs` is one with a loss of its own.
//!
//! # Features
//!
//! - none (`default-features = false`): everything above but what names a feature, on the host.
//! - `data`: the readers and the shipped digits.
//! - `gpu` (default): GPUs through wgpu. Without it the host is the one device, and no wgpu is in the tree.
//! - `report`: a run as one HTML page.
//! - `onnx`: models as files of ONNX.
//! - `cli` (default): `data`, `onnx`, `report`, and what the program `bagrad` needs.
//!
//! `ARCHITECTURE.md` in the repository tells how the parts work together, and why they are as they are.

mod bag;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod bench;
#[doc(hidden)]
pub mod bounded;
pub mod class_match;
mod columns;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
pub mod engine;
mod ensemble;
#[doc(hidden)]
pub mod error;
mod features;
#[doc(hidden)]
pub mod files;
mod fingerprint;
pub mod fit;
#[cfg(feature = "data")]
pub mod foreign;
mod front;
#[doc(hidden)]
pub mod groups;
#[cfg(feature = "report")]
pub mod heatmap;
#[doc(hidden)]
pub mod kernels;
#[doc(hidden)]
pub mod kmeans;
mod label_sets;
#[doc(hidden)]
pub mod masking;
pub mod methods;
pub mod metrics;
pub mod model;
mod normal;
#[doc(hidden)]
pub mod objectives;
#[cfg(feature = "onnx")]
pub mod onnx;
#[doc(hidden)]
pub mod ops;
mod origin;
#[doc(hidden)]
pub mod passes;
mod places;
#[doc(hidden)]
pub mod plan;
#[doc(hidden)]
pub mod planner;
#[doc(hidden)]
pub mod precision;
#[cfg(feature = "data")]
pub mod pretrain;
#[doc(hidden)]
pub mod printable;
mod quantile;
pub mod random;
#[cfg(feature = "report")]
pub mod report;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod reproduce;
mod responses;
#[doc(hidden)]
pub mod session;
pub mod split;
#[doc(hidden)]
pub mod stages;
pub mod standardise;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod study;
#[doc(hidden)]
pub mod tape;
pub mod target;
pub mod training;
#[doc(hidden)]
pub mod tuning;
#[doc(hidden)]
pub mod value;

pub use bag::{Bags, Identity};
pub use device::Device;
pub use ensemble::{Ensemble, Member};
pub use error::{Error, Result};
pub use features::{Features, Mapped};
pub use front::parts;
pub use front::{
    Answers, EnsembleEvaluation, EnsemblePredictor, Evaluation, Fitted, Look, Predictor, Scaling, Spread, Trainer,
};
pub use label_sets::LabelSets;
pub use model::Model;
pub use origin::{Origin, PlaceUnit};
pub use responses::Responses;
pub use target::{Target, TargetChoice};
