//! bagrad: a compute engine for multiple instance learning.

mod bag;
pub mod error;
pub mod files;
pub mod report;
pub mod training;

pub use bag::{Bags, Features};
pub use error::{Error, Result};
