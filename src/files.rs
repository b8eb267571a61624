//! Writing files and folders so that nobody ever sees half of one.
//!
//! Everything is built beside its place, on the same file system, and then renamed. A crash leaves a `.tmp`
//! entry beside the place and what was there before untouched.

use crate::error::{Error, Result};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes `bytes` to `path`: after a return the file is complete, after an error it is as it was before.
///
/// # Errors
/// [`Error::Io`] with `path`, also when its folder does not exist.
pub fn write_atomically(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    let beside = Beside::new(path)?;
    let write = || {
        let mut file = fs::File::create(&beside.0)?;
        file.write_all(bytes.as_ref())?;
        // Without this a power cut after the rename can leave the new name with no content.
        file.sync_all()?;
        drop(file);
        fs::rename(&beside.0, path)
    };
    write().map_err(|e| Error::io(path, e))
}

/// Builds a folder beside `path` with `build`, which is handed the place to fill, and then puts it at `path`.
///
/// What stands at `path` is replaced only when it is an empty folder or a folder with an entry `marker` (a
/// file that every such folder has), so that a mistyped path does not cost someone their files. When `build`
/// fails, what was there stays.
///
/// # Errors
/// The error of `build`, or [`Error::Io`] with `path` when something else stands there or cannot be renamed.
pub fn replace_folder<T>(path: impl AsRef<Path>, marker: &str, build: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let path = path.as_ref();
    let at = |e| Error::io(path, e);
    // Checked before the work and not after it: `build` may take long.
    check_replaceable(path, marker).map_err(at)?;
    let fresh = Beside::new(path)?;
    fs::create_dir(&fresh.0).map_err(at)?;
    let built = build(&fresh.0)?;
    check_replaceable(path, marker).map_err(at)?;
    let old = Beside::new(path)?;
    let replaces = match fs::rename(path, &old.0) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(at(e)),
    };
    if let Err(e) = fs::rename(&fresh.0, path) {
        if replaces && fs::rename(&old.0, path).is_err() {
            // The only copy of the old folder is beside its place now; leave it there.
            std::mem::forget(old);
        }
        return Err(at(e));
    }
    Ok(built)
}

fn check_replaceable(path: &Path, marker: &str) -> io::Result<()> {
    let mut entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    if path.join(marker).exists() || entries.next().is_none() {
        return Ok(());
    }
    let message = format!("the folder is not empty and has no {marker}, so it is not replaced");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, message))
}

/// A free name beside a path; whatever stands there is removed at the end.
struct Beside(PathBuf);

impl Beside {
    fn new(path: &Path) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = path.file_name().ok_or_else(|| {
            Error::io(path, io::Error::new(io::ErrorKind::InvalidInput, "the path does not end in a name"))
        })?;
        // The process and a count: two writers of one path must not share a name.
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{process}.{count}.tmp"));
        Ok(Self(path.with_file_name(beside)))
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

    #[test]
    fn folders_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let fill = |text: &'static str| {
            move |place: &Path| {
                write_atomically(place.join("run.json"), text)?;
                write_atomically(place.join(text), text)
            }
        };
        replace_folder(&path, "run.json", fill("first")).unwrap();
        replace_folder(&path, "run.json", fill("second")).unwrap();
        assert_eq!(names(&path), ["run.json", "second"]);
        assert_eq!(names(folder.path()), ["run"]);
    }

    #[test]
    fn a_failed_build_keeps_the_old_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        replace_folder(&path, "m", |p| write_atomically(p.join("m"), "old")).unwrap();
        let failed = replace_folder(&path, "m", |p| {
            write_atomically(p.join("m"), "new")?;
            Err::<(), _>(Error::setting("x", "no"))
        });
        assert!(matches!(failed, Err(Error::Setting { .. })));
        assert_eq!(fs::read_to_string(path.join("m")).unwrap(), "old");
        assert_eq!(names(folder.path()), ["run"]);
    }

    #[test]
    fn strange_folders_and_files_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("photos");
        fs::create_dir(&path).unwrap();
        replace_folder(&path, "run.json", |_| Ok(())).unwrap();
        write_atomically(path.join("a.jpg"), "x").unwrap();
        let error = replace_folder(&path, "run.json", |_| Ok(())).unwrap_err().to_string();
        assert!(error.contains("run.json"), "{error}");
        assert_eq!(names(&path), ["a.jpg"]);
        assert!(replace_folder(path.join("a.jpg"), "run.json", |_| Ok(())).is_err());
        assert_eq!(names(&path), ["a.jpg"]);
    }
}
