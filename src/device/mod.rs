//! Devices: which there are, how one is chosen, and the executors that run programs on them.

pub mod executor;
pub mod preprocess;

mod gpu;
mod gpu_executor;
mod host_executor;
mod list;
mod pipelines;

/// What an executor has created and submitted; a steady training step must only add submissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers created.
    pub buffers: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Pipelines created.
    pub pipelines: u64,
    /// Compute passes begun.
    pub passes: u64,
    /// Submissions.
    pub submissions: u64,
    /// Dispatches.
    pub dispatches: u64,
    /// Times the host waited for the device and read something back.
    pub readbacks: u64,
}
