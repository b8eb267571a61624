//! Training: the loop, how its learning rate moves, and how its results are measured.

pub mod cache;
pub mod metrics;
pub mod predict;
pub mod trainer;
mod weights;

pub use crate::ops::schedule;
pub use cache::Cache;
pub use predict::{Predictions, evaluate, predict};
#[cfg(feature = "data")]
pub(crate) use trainer::epoch_loss;
pub use trainer::{ClassWeights, Epoch, Observer, Outcome, Progress, Settings, train};
