//! The bytes of an HDF5 file: read where they are asked for, held as a whole while many packed chunks are read, or noted where
//! they are, so that they are read straight into the place they stay in.

use super::Reason;
use hdf5_reader::error::{Error, Result};
use hdf5_reader::storage::{BytesStorage, FileStorage, Storage, StorageBuffer};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Bytes of a file that is held as a whole, at most: each thread holds one.
const WHOLE: u64 = 256 << 20;

/// No place in a file.
const NOWHERE: u64 = u64::MAX;

pub struct Bytes {
    path: PathBuf,
    file: FileStorage,
    whole: OnceLock<Option<BytesStorage>>,
    /// A read of so many bytes is not done: where they are is noted. 0 for none.
    wanted: AtomicUsize,
    noted: AtomicU64,
    /// What such a read answers, in its place.
    pretended: OnceLock<BytesStorage>,
}

impl Bytes {
    pub fn open(path: &Path) -> Result<Self> {
        let file = FileStorage::open(path)?;
        let (whole, wanted, noted) = (OnceLock::new(), AtomicUsize::new(0), AtomicU64::new(NOWHERE));
        Ok(Self { path: path.into(), file, whole, wanted, noted, pretended: OnceLock::new() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `read` answers, where a read of `length` bytes gets others in their place, and where these would have been; `None`
    /// when there is nothing more to read.
    pub fn pretend<T>(&self, length: usize, read: impl FnOnce() -> Option<T>) -> Option<(T, Option<u64>)> {
        // No order of these bytes is as good as theirs.
        let bytes = || (0..length).map(|at| (at * 31 + at / 251 * 7) as u8).collect();
        self.pretended.get_or_init(|| BytesStorage::new(bytes()));
        self.noted.store(NOWHERE, Relaxed);
        self.wanted.store(length, Relaxed);
        let read = read();
        self.wanted.store(0, Relaxed);
        let at = self.noted.load(Relaxed);
        read.map(|read| (read, (at != NOWHERE).then_some(at)))
    }

    /// True for the bytes that were given in place of others.
    pub fn pretended(&self, bytes: &[u8]) -> bool {
        let given = self.pretended.get().and_then(|given| given.read_range(0, bytes.len()).ok());
        given.is_some_and(|given| *given == *bytes)
    }

    /// Holds the file in memory from now on, unless it is very long: then each read goes to the disk as before.
    pub fn hold(&self) {
        self.whole.get_or_init(|| {
            let bytes = (self.file.len() <= WHOLE).then(|| std::fs::read(&self.path).ok())?;
            bytes.filter(|bytes| bytes.len() as u64 == self.file.len()).map(BytesStorage::new)
        });
    }

    /// Values that `read` would read in one piece are read into `out` with no copy between. The reader of the format does
    /// not tell where they are, so it is asked for them, and what it asks for is noted.
    ///
    /// # Errors
    /// As `read`, and when the file cannot be read.
    pub fn straight(
        &self,
        out: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> std::result::Result<Result<()>, Reason> {
        if out.is_empty() {
            return Ok(read(out));
        }
        self.noted.store(NOWHERE, Relaxed);
        self.wanted.store(out.len(), Relaxed);
        let asked = read(out);
        self.wanted.store(0, Relaxed);
        match self.noted.load(Relaxed) {
            // It needed nothing in one piece.
            NOWHERE => Ok(asked),
            at => {
                let mut straight = || {
                    let mut file = File::open(&self.path)?;
                    file.seek(SeekFrom::Start(at))?;
                    file.read_exact(out)
                };
                straight().map_err(|e| e.to_string()).map(Ok)
            }
        }
    }
}

impl Storage for Bytes {
    fn len(&self) -> u64 {
        self.file.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> Result<StorageBuffer> {
        if len != 0 && self.wanted.load(Relaxed) == len {
            let within = offset.checked_add(len as u64).is_some_and(|end| end <= self.file.len());
            if within {
                self.noted.store(offset, Relaxed);
                return match self.pretended.get().filter(|given| given.len() >= len as u64) {
                    Some(given) => given.read_range(0, len),
                    None => Err(Error::InvalidData("noted, and not read".into())),
                };
            }
        }
        match self.whole.get() {
            Some(Some(whole)) => whole.read_range(offset, len),
            _ => self.file.read_range(offset, len),
        }
    }
}
