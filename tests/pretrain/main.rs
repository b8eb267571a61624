//! Pretraining of encoders: against PyTorch, its random numbers, and the whole way from pictures to features.

#[path = "../common/mod.rs"]
mod common;
mod parity;
#[cfg(feature = "data")]
mod training;
