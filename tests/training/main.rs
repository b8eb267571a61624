//! Training as a whole: gradients of several batches before one update, and trainings that are interrupted.

#[path = "../common/mod.rs"]
mod common;

mod accumulate;
mod killed;
mod resume;
