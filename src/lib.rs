//! bagrad: a compute engine for multiple instance learning.

pub mod error;
mod bag;

pub use bag::{Bags, Features};
pub use error::{Error, Result};
