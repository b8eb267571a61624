//! The front door: train with a [`Trainer`], predict with a [`Predictor`].

mod predictor;
mod trainer;

pub use predictor::{Evaluation, Look, Predictor};
pub use trainer::{Fitted, Scaling, Trainer};
