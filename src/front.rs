//! The front door: train with a [`Trainer`], predict with a [`Predictor`] or with several models at once.

mod ensemble;
mod mean;
pub mod parts;
mod predictor;
mod trainer;

pub use ensemble::{Answers, EnsembleEvaluation, EnsemblePredictor, Spread};
pub use predictor::{Evaluation, Look, Predictor};
pub use trainer::{Fitted, Scaling, Trainer};
