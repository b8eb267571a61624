//! Parquet files: what is in them, and the values of some rows of a column. Which columns are features and which labels is told
//! elsewhere.
//!
//! Read are columns of numbers, flags and text, each alone or as lists of numbers; all encodings of the format but the bit-packed
//! levels of its beginnings; pages of both versions, packed with snappy, zstd, gzip or LZ4, whose checksums are compared where
//! there are some. No size is believed: a page is held against its bytes, and all values against the length of the file.

mod cells;
mod column;
mod footer;
mod levels;
mod packing;
mod pages;
mod thrift;
mod values;

pub(super) use column::Piece;
pub(super) use footer::{Kind, Leaf};

use footer::Group;
use pages::Mark;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What is wrong with a file, without its path.
pub(super) type Reason = String;

/// How a file begins, and ends.
pub(super) const MAGIC: [u8; 4] = *b"PAR1";

/// Bytes of values for a byte of the file, at most.
pub(super) const CLOSEST: u64 = 1040;

/// The places of the pages of a column in a group of rows.
type Marks = Arc<Vec<Mark>>;

/// A file whose head was read and fits its length.
#[derive(Debug)]
pub(super) struct Parquet {
    pub path: PathBuf,
    pub leaves: Vec<Leaf>,
    pub rows: u64,
    /// What the file says of itself by names.
    pub said: Vec<(String, String)>,
    pub length: u64,
    groups: Vec<Group>,
    /// Where the pages of lists begin, of columns that were read in part.
    marks: Mutex<HashMap<(usize, usize), Marks>>,
}

impl Parquet {
    /// # Errors
    /// What is wrong with it.
    pub fn open(path: &Path) -> Result<Self, Reason> {
        let mut file = File::open(path).map_err(|e| e.to_string())?;
        footer::read(path, &mut file)
    }

    /// Items of each row of a column of lists, where they may all have as many.
    ///
    /// # Errors
    /// When they have not, or more than the file can have.
    pub fn width(&self, leaf: usize) -> Result<u64, Reason> {
        let name = &self.leaves[leaf].name;
        let items = self.groups.iter().try_fold(0u64, |all, group| all.checked_add(group.chunks[leaf].values));
        let items = items.ok_or_else(|| format!("{name} has more values than there are"))?;
        if self.rows == 0 {
            return Err("no patches: the file has no rows".into());
        }
        if items % self.rows != 0 {
            return Err(format!(
                "{name} has {items} values in {} rows: expected lists of one length without gaps",
                self.rows
            ));
        }
        Ok(items / self.rows)
    }

    /// Refuses `values` of `bytes` each, of a column, that the file is too short for.
    fn check_size(&self, leaf: &Leaf, values: u64, bytes: usize) -> Result<(), Reason> {
        match values.checked_mul(bytes as u64) {
            Some(all) if all <= self.length.saturating_mul(CLOSEST) => Ok(()),
            _ => Err(format!(
                "{} cannot have {values} values, as the whole file has {} bytes (is it cut off?)",
                leaf.name, self.length
            )),
        }
    }
}
