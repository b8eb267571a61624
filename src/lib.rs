//! bagrad: a compute engine for multiple instance learning.

mod bag;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
pub mod error;
pub mod files;
pub mod groups;
pub mod kernels;
pub mod methods;
pub mod model;
pub mod ops;
pub mod plan;
pub mod random;
pub mod report;
pub mod session;
pub mod standardise;
pub mod tape;
pub mod training;

pub use bag::{Bags, Features};
pub use error::{Error, Result};
