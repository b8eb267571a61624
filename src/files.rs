//! Writing files and folders so that nobody ever sees half of one.
//!
//! Everything is built beside its place, on the same file system, and then renamed. [`write_atomically`] replaces one
//! file; [`Claim`] is what commands do with the place that a user names: nothing of others is overwritten, two runs do
//! not share a place, and what a killed run left behind is put right.

mod claim;
mod own;

pub use claim::{Claim, recover};
pub use own::Kind;

use crate::error::{Error, Result};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What a page of ours has in its head.
pub(crate) const GENERATOR: &str = r#"<meta name="generator" content="bagrad"/>"#;

/// Who writes the ONNX files of this program, as these say themselves.
pub(crate) const ONNX_PRODUCER: &str = "bagrad";

/// Metadata that state dicts of ours have.
pub(crate) const STATE_DICT: &str = "bagrad-state-dict";

/// What the file of a benchmark has in its head.
pub(crate) const BENCHMARK: &str = "bagrad bench 1";

/// The first line of the samples of a benchmark as CSV.
pub const SAMPLES: &str = "kernel,variant,shape,flops,bytes,round,run,us";

/// How a packed file begins: a byte that no text has, and ends of lines that a transfer as text would change.
pub(crate) const PACKED: [u8; 8] = *b"\x89BAGS\r\n\x1a";

/// Writes `bytes` to `path`: after a return the file is complete, after an error it is as it was before.
///
/// # Errors
/// [`Error::Io`] with `path`, also when its folder does not exist.
pub fn write_atomically(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    replace_through(&Beside::new(path)?.0, path, bytes.as_ref())
}

/// As [`write_atomically`], for a file that is written again and again by one process at a time: what a killed one left of
/// it is taken away by the next, since it is always at the same name ([`half_of`]).
///
/// # Errors
/// As [`write_atomically`].
pub(crate) fn rewrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let half = Beside(half_of(path)?);
    replace_through(&half.0, path, bytes)
}

/// Where `rewrite` writes before it renames.
///
/// # Errors
/// [`Error::Io`] for a path that ends in no name.
pub fn half_of(path: &Path) -> Result<PathBuf> {
    beside(path, "half")
}

fn beside(path: &Path, ending: &str) -> Result<PathBuf> {
    let name = path.file_name().ok_or_else(|| {
        Error::io(path, io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a name"))
    })?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{ending}"));
    Ok(path.with_file_name(beside))
}

fn replace_through(new: &Path, path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let mut file = fs::File::create(new)?;
        file.write_all(bytes)?;
        // Without this a power cut after the rename can leave the new name with no content.
        file.sync_all()?;
        drop(file);
        fs::rename(new, path)
    };
    write().map_err(|e| Error::io(path, e))
}

/// A free name beside a path; whatever stands there is removed at the end.
struct Beside(PathBuf);

impl Beside {
    fn new(path: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // The process and a count: two writers of one path must not share a name.
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        beside(path, &format!("{process}.{count}.tmp")).map(Self)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Gone already when all went well; on the way out of an error there is no one to tell.
        if fs::remove_file(&self.0).is_err() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_and_nothing_stays_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, "one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("taken/inside")).unwrap();
        let error = write_atomically(folder.path().join("taken"), "x").unwrap_err().to_string();
        assert!(error.contains("taken"), "{error}");
        assert_eq!(names(folder.path()), ["taken"]);
        assert!(write_atomically(folder.path().join("no/such"), "x").is_err());
        assert!(write_atomically("/", "x").is_err());
    }
}
