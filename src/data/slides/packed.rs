//! One file with the features of many slides, mapped into memory where it is read: `bagrad pack` writes it.
//!
//! A header, the slides behind one another, and an index at the end; docs/packed.md has every byte. Each slide is whole
//! once it is written, with what is said of it in front and a checksum, so packing goes on wherever it was interrupted.
//! Opening a file reads the index and looks through the values of the slides that are asked for, once: their checksum
//! has to be right and all have to be finite. Then they stay in the file ([`crate::Mapped`]).

mod block;
mod cohort;
mod fill;
mod format;
mod index;
mod part;
mod read;
mod verify;
mod write;

pub use index::Rounding;
pub use read::open;
pub use verify::{Verified, verify};
pub use write::{Packed, Packing, Progress, pack, part_of};

pub(super) use cohort::Cohort;
pub(super) use read::{around, found, head, labels, mapped, slide};

use crate::files;
use std::io::Read;
use std::path::Path;

/// True for a file that begins as packed ones do, complete or not.
pub(in crate::data) fn is_packed(path: &Path) -> bool {
    let mut start = [0; 8];
    let read = || std::fs::File::open(path)?.read_exact(&mut start);
    path.is_file() && { read }().is_ok() && start == files::PACKED
}
