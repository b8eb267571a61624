//! Maps of slides: what a model says of each instance, drawn where the instance is.
//!
//! A map is made of places and numbers alone; no slide is opened for it. [`Cells`] are the squares, a [`Layer`] has a number
//! for each, [`Picture`] draws them as a PNG. [`regions`] merges cells to polygons, and [`geojson`] writes both.
//!
//! ```
//! use bagrad::heatmap::{Cells, Layer, Picture, Scale};
//!
//! # fn main() -> bagrad::Result<()> {
//! let cells = Cells::new(&[[0.0, 0.0], [256.0, 0.0], [256.0, 256.0]], Some(256.0))?;
//! let layer = Layer { name: "attention", meaning: "a share of 1", signed: false, range: None, values: &[0.1, 0.7, 0.2] };
//! let picture = Picture {
//!     title: "slide 1",
//!     subtitle: "tumour: 0.97",
//!     notes: &[],
//!     cells: &cells,
//!     layer,
//!     scale: Scale::Percentile,
//!     max_side: 1024,
//!     unit: None,
//!     backdrop: None,
//! };
//! assert!(picture.png()?.starts_with(b"\x89PNG"));
//! # Ok(())
//! # }
//! ```

mod canvas;
mod cells;
mod colours;
mod font;
pub mod geojson;
mod page;
mod picture;
mod regions;
mod scale;
mod sheet;

pub use cells::Cells;
pub use colours::Colours;
pub use page::{Card, page};
pub use picture::{Backdrop, Picture};
pub use regions::{Region, regions};
pub use scale::{Laid, Layer, Scale, chance, percentiles, short};
pub use sheet::{Patch, SIDE, sheet};
