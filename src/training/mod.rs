//! Training of bags: what is trained on, by which settings, and what a model says of bags. The loop is [`crate::fit`].

pub mod cache;
pub mod predict;
pub mod trainer;
mod weights;

pub use crate::metrics;
pub use crate::ops::schedule;
pub use cache::Cache;
pub use predict::{Predictions, evaluate, predict};
pub use trainer::{ClassWeights, Epoch, Observer, Outcome, Progress, Settings, train, train_on};
