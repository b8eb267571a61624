//! What training needs besides the models: how results are measured and how the learning rate moves.

pub mod metrics;
pub mod schedule;
