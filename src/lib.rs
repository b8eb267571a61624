//! bagrad: a compute engine for multiple instance learning.

mod bag;
#[cfg(feature = "data")]
pub mod data;
pub mod error;
pub mod random;

pub use bag::{Bags, Features};
pub use error::{Error, Result};
