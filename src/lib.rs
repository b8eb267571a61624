//! bagrad: a compute engine for multiple instance learning.

mod bag;
#[cfg(feature = "data")]
pub mod data;
pub mod device;
pub mod error;
pub mod kernels;
pub mod ops;
pub mod plan;
pub mod random;
pub mod tape;

pub use bag::{Bags, Features};
pub use error::{Error, Result};
