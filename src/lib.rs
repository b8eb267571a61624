//! A compute engine for multiple instance learning (MIL): the data is bags of instances, and only bags have
//! labels. Shaders written by hand in WGSL run it on any GPU through [wgpu]; the same kernels in Rust run it
//! on the CPU.
//!
//! Bags go in packed: the instances of all bags stacked in one matrix, with the size of each bag. Out come a
//! probability for each class of a bag and a score for each instance.
//!
//! ```
//! use bagrad::device::Device;
//! use bagrad::methods::Method;
//! use bagrad::model::{Model, Spec};
//! use bagrad::session::Session;
//! use bagrad::tape::Storage;
//! use bagrad::training::{Settings, predict, train};
//! use bagrad::{Bags, Features};
//!
//! # fn main() -> bagrad::Result<()> {
//! // Six bags of one to three instances with two features. A bag is positive when one of its instances has
//! // a large first feature.
//! let rows = [[5., 0.], [0., 1.], [0., 0.], [1., 0.], [0., 2.], [6., 1.], [1., 1.], [4., 1.], [0., 3.], [1., 2.]];
//! let sizes = [2, 1, 2, 2, 2, 1];
//! let bags = Bags::packed(Features::F32(rows.concat()), 2, &sizes)?.with_labels(vec![1, 0, 0, 1, 1, 0])?;
//!
//! let device = Device::host(); // or Device::open(&"auto".parse()?)?.device
//! let settings = serde_json::json!({ "embed": [8], "dropout": 0.0 });
//! let method = Method::named("gated-attention")?.with(settings.as_object().unwrap())?;
//! let recipe = Settings { epochs: 60, learning_rate: 1e-2, ..Settings::for_method(&method) };
//! let model = Model::new(Spec::new(method, bags.width, bags.classes()), 1)?;
//! let all: Vec<usize> = (0..bags.len()).collect();
//! let model = train(&device, model, &recipe, &bags, &all, &[], &mut ())?.model;
//!
//! // A file is these bytes; `Model::save` and `Model::load` write and read it.
//! let model = Model::from_bytes(&model.to_bytes()).expect("what was just written");
//! let mut session = Session::new(&device, model, Storage::F32)?;
//! let found = predict(&mut session, &bags, &all, None)?;
//! let classes: Vec<usize> = all.iter().map(|&bag| found.class(bag)).collect();
//! assert_eq!(classes, [1, 0, 0, 1, 1, 0]);
//! let scores = &found.scores[bags.rows(0)];
//! assert!(scores[0] > scores[1], "the first instance is what makes bag 0 positive: {scores:?}");
//! # Ok(())
//! # }
//! ```
//!
//! # The rooms
//!
//! | module | what is in it |
//! |---|---|
//! | [`Bags`], [`LabelSets`] | packed bags and the rules they keep; several labels for each |
//! | [`methods`] | twelve MIL methods, one file each family, and the layers they are made of |
//! | [`model`] | a method with its parameters: by name, and as one file |
//! | [`training`] | what is trained on and how, schedules, metrics, prediction |
//! | [`fit`] | the loop that trains, and its checkpoints |
//! | [`session`] | one model on one device: batches, steps, gradients of everything |
//! | [`tape`], [`ops`], [`plan`] | a model as plain data; forward and backward rules; launches with fixed buffers |
//! | [`kernels`] | each shader entry point: its declaration, and the same computation in Rust |
//! | [`device`] | adapters, how one is chosen, and the executors |
//! | [`kmeans`] | clusters of rows, on any device |
//! | [`class_match`] | the classes of bags as those of a model, by name |
//! | [`objectives`] | the terms of what is minimised, whose weights may move |
//! | [`passes`], [`masking`] | what a step does before its update; which instances of a bag a student is trained on, by the scores of its teacher |
//! | [`precision`] | mixed precision and the scale of its loss |
//! | [`random`], [`standardise`], [`files`], [`error`] | counter-based random numbers, features with mean 0, files written whole or not at all, what can go wrong |
//! | [`tuning`] | tiles of matrix products by measurement, kept for each adapter and driver |
//! | [`report`] | a run as one self-contained HTML page |
//! | `data` | readers of npy folders, pictures, text and IDX, drawn bags, splits, fusion (feature `data`) |
//! | `pretrain` | encoders of patches, by contrast or by classes (feature `data`) |
//! | `reproduce` | experiments of papers, from data to table (feature `cli`) |
//!
//! # Features
//!
//! - none (`default-features = false`): everything above but what names a feature, on the host.
//! - `data`: the readers and the shipped digits.
//! - `gpu` (default): GPUs through wgpu. Without it the host is the one device, and no wgpu is in the tree.
//! - `cli` (default): `data`, and what the program `bagrad` needs.
//!
//! `ARCHITECTURE.md` in the repository tells how the parts work together, and why they are as they are.

mod bag;
#[cfg(feature = "cli")]
pub mod bench;
pub mod bounded;
pub mod class_match;
mod columns;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
pub mod error;
mod features;
pub mod files;
mod fingerprint;
pub mod fit;
mod front;
pub mod groups;
pub mod kernels;
pub mod kmeans;
mod label_sets;
pub mod masking;
pub mod methods;
pub mod metrics;
pub mod model;
pub mod objectives;
pub mod ops;
pub mod passes;
pub mod plan;
pub mod precision;
#[cfg(feature = "data")]
pub mod pretrain;
pub mod printable;
pub mod random;
pub mod report;
#[cfg(feature = "cli")]
pub mod reproduce;
pub mod session;
pub mod split;
pub mod standardise;
pub mod tape;
pub mod training;
pub mod tuning;

pub use bag::Bags;
pub use error::{Error, Result};
pub use features::{Features, Mapped};
pub use front::{Evaluation, Fitted, Look, Predictor, Scaling, Trainer};
pub use label_sets::LabelSets;
