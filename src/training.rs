//! Training of bags: what is trained on, by which settings, and what a model says of bags. The loop is [`crate::fit`].

pub mod cache;
mod columns;
mod mixing;
pub mod predict;
pub mod removal;
mod sampling;
mod settings;
pub mod stages;
mod told;
pub mod trainer;
mod weights;

pub use crate::groups::Group;
pub use crate::metrics;
pub use crate::ops::schedule::{self, Schedule};
pub use crate::ops::update::Optimiser;
pub use crate::precision::{LossScale, Precision};
pub use crate::tape::Meaning;
pub use cache::Cache;
pub use columns::InstanceColumn;
pub use predict::{Loss, Predictions, evaluate, predict};
pub(crate) use predict::{gather, together};
pub use removal::aopcr;
pub use settings::{ClassWeights, Sampling, Settings};
pub use stages::Before;
pub use told::Told;
pub use trainer::{Epoch, Observer, Outcome, Progress, train, train_on};
