//! What the front door stands on, for programs that build on the engine itself: models recorded and planned by hand,
//! steps and gradients of a session, kernels and their twins, benchmarks.
//!
//! All of it is public and tested, and **less stable than the rest**: what is named here may change its shape with any
//! version, while what is outside keeps its own.
//!
//! | module | what is in it |
//! |---|---|
//! | [`session`] | one model on one device: batches, steps, gradients of everything |
//! | [`tape`], [`ops`] | a model as plain data; forward and backward rules, update rules; an operation of your own |
//! | [`value`], [`planner`] | values on a tape, and what rules write launches into |
//! | [`objectives`] | the terms of what is minimised, whose weights may move |
//! | [`stages`] | what is made of a model that was trained before another |
//! | [`passes`], [`masking`] | what a step does before its update; which instances a student is trained on |
//! | [`groups`], [`precision`] | parameters that learn otherwise than the others; mixed precision |
//! | [`plan`] | launches with fixed buffers from a tape |
//! | [`kernels`] | each shader entry point: its declaration, and the same computation in Rust |
//! | [`device`] | the executors, and what is asked of GPUs |
//! | [`tuning`] | tiles of matrix products by measurement, kept for each adapter and driver |
//! | [`kmeans`] | clusters of rows, on any device |
//! | [`files`], [`bounded`], [`printable`] | files written whole or not at all, files and memory within bounds, what terminals do not obey |
//! | `bench` | how fast steps and kernels are (feature `cli`) |
//! | `reproduce` | experiments of papers, from data to table (feature `cli`) |
//!
//! The modules can be named from the root of the crate as well, `bagrad::tape` for `bagrad::engine::tape`.

#[doc(inline)]
#[cfg(feature = "cli")]
pub use crate::{bench, reproduce};
#[doc(inline)]
pub use crate::{
    bounded, files, groups, kernels, kmeans, masking, objectives, ops, passes, plan, planner, precision, printable,
    session, stages, tape, tuning, value,
};

/// Inside of devices: executors, and what is asked of GPUs.
pub mod device {
    #[doc(inline)]
    pub use crate::device::{Counters, HostDevice, executor, gpu};
}
