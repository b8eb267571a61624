//! Training as a whole: what is learnt, gradients of several batches before one update, trainings that are interrupted, and terms of the loss
//! whose weights move.

#[path = "../common/mod.rs"]
mod common;

mod accumulate;
mod augmented;
mod frozen;
mod killed;
mod resume;
mod stages;
mod studies;
mod targets;
mod terms;
