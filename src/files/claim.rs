//! A place that a user named for output, from the moment it is checked to the moment it is filled.

use super::own::{self, Kind};
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A place that nobody else writes to, found free or replaceable before the work that fills it.
///
/// What is written goes to [`Claim::staging`], a folder beside the place, and appears whole at [`Claim::commit`]. Until
/// then, and when a claim is dropped, what was there stays. Beside `NAME` a claim has `.NAME.bagrad-lock`, which the
/// system unlocks when a process ends however it ends, and `.NAME.bagrad-new`; what a killed process left of these is
/// put right by the next claim of that place.
#[derive(Debug)]
pub struct Claim {
    beside: Beside,
    kind: Kind,
    /// Files beside the first that appear with it, by name.
    names: Vec<OsString>,
    /// Folders above it that were made for it.
    made: Vec<PathBuf>,
    lock: Option<File>,
    finished: bool,
}

impl Claim {
    /// A folder at `path`. A folder that is not empty is replaced with `force`, and only if bagrad wrote all of it;
    /// nothing of `inputs` is ever replaced.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] that says what stands in the way, [`Error::Setting`] where another process
    /// writes to the same place.
    pub fn folder(path: &Path, force: bool, inputs: &[&Path]) -> Result<Self> {
        let claim = Self::new(path, Kind::Folder, Vec::new())?;
        claim.check(path, Kind::Folder, force, inputs)?;
        Ok(claim)
    }

    /// Files that appear together: the first names the place, the others are its companions in the same folder. A file
    /// that exists is replaced with `force`, and only if bagrad wrote one of that kind.
    ///
    /// # Errors
    /// As [`Claim::folder`].
    pub fn files(files: &[(&Path, Kind)], force: bool, inputs: &[&Path]) -> Result<Self> {
        let ((first, kind), names) = (files[0], files.iter().map(|(path, _)| path.file_name().map(OsString::from)));
        let names = names.collect::<Option<Vec<_>>>().ok_or_else(|| nameless(first))?;
        let claim = Self::new(first, kind, names)?;
        files.iter().try_for_each(|(path, kind)| claim.check(path, *kind, force, inputs))?;
        Ok(claim)
    }

    /// Where the content goes: the folder itself, or for files a folder that holds them by their names.
    pub fn staging(&self) -> &Path {
        &self.beside.new
    }

    /// Where the content of `path` goes, one of the files that the claim is of.
    ///
    /// # Panics
    /// When `path` ends in no name; a claim is of names.
    pub fn staged(&self, path: &Path) -> PathBuf {
        self.staging().join(path.file_name().expect("a claim is of names"))
    }

    fn new(path: &Path, kind: Kind, names: Vec<OsString>) -> Result<Self> {
        let beside = Beside::of(path)?;
        let at = |e| Error::io(path, e);
        let made = make_parents(path).map_err(at)?;
        let mut claim = Self { beside, kind, names, made, lock: None, finished: false };
        claim.lock = Some(lock(&claim.beside.lock, path)?);
        claim.beside.put_right().map_err(at)?;
        steps::create_dir(&claim.beside.new).map_err(at)?;
        Ok(claim)
    }

    fn check(&self, path: &Path, kind: Kind, force: bool, inputs: &[&Path]) -> Result<()> {
        let refuse = |message: &str| Err(Error::format(path, message));
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Error::io(path, e)),
        };
        if found.is_symlink() {
            return refuse("a symbolic link stands there, which would be replaced and not followed; name its target");
        }
        let folder = kind == Kind::Folder;
        match (folder, found.is_dir(), found.is_file()) {
            (true, false, true) => return refuse("a file stands there; expected a new folder"),
            (false, true, _) => return refuse("a folder stands there; expected the name of a file"),
            (_, false, false) => return refuse("neither a file nor a folder stands there, so it is not replaced"),
            _ => {}
        }
        let empty = || fs::read_dir(path).map(|mut entries| entries.next().is_none());
        if folder && empty().map_err(|e| Error::io(path, e))? {
            return Ok(());
        }
        let place = fs::canonicalize(path).map_err(|e| Error::io(path, e))?;
        let read = |input: &&&Path| fs::canonicalize(input).is_ok_and(|i| i.starts_with(&place));
        if let Some(input) = inputs.iter().find(read) {
            return refuse(&format!("this call reads {}, so it does not write there", input.display()));
        }
        kind.check(path)?;
        if force { Ok(()) } else { refuse("exists already; --force replaces it") }
    }

    /// Puts `written` there in one step, a file beside the place that is complete and on the disk.
    ///
    /// # Errors
    /// [`Error::Io`]; what was there is there still, and so is `written`.
    pub fn commit_written(mut self, written: &Path) -> Result<()> {
        let place = &self.beside.place;
        let put = steps::rename(written, place).and_then(|()| sync_folder(above(place)));
        self.finished = put.is_ok();
        put.map_err(|e| Error::io(place.clone(), e))
    }

    /// Puts what was written in its place, whole.
    ///
    /// # Errors
    /// [`Error::Io`]; what was there before is there still.
    pub fn commit(mut self) -> Result<()> {
        let Beside { place, new, old, ready, .. } = &self.beside;
        let put = || {
            if self.kind == Kind::Folder {
                own::mark(new)?;
                sync(new)?;
                replace(new, place, old)?;
            } else {
                let only = fs::read_dir(new)?.count() == self.names.len();
                assert!(only, "the files of a claim are those it was made for");
                sync(new)?;
                match &self.names[..] {
                    [name] => steps::rename(&new.join(name), place)?,
                    _ => {
                        // From here on the next claim finishes what is begun.
                        steps::rename(new, ready)?;
                        forward(ready)?;
                    }
                }
            }
            sync_folder(above(place))
        };
        put().map_err(|e| Error::io(place.clone(), e))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // On the way out there is no one to tell; the next claim of this place tries again.
        let Some(lock) = self.lock.take() else { return self.remove_parents() };
        let _ = steps::remove_dir_all(&self.beside.new);
        // Removed while it is held: who waits for it finds another file there.
        let _ = steps::remove_file(&self.beside.lock);
        drop(lock);
        self.remove_parents();
    }
}

impl Claim {
    fn remove_parents(&self) {
        if !self.finished {
            for folder in self.made.iter().rev() {
                // One that somebody has put something into stays.
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// Puts right what a killed run left at `path`, where there is anything and no other process is at it.
///
/// # Errors
/// [`Error::Io`].
pub fn recover(path: &Path) -> Result<()> {
    let Ok(beside) = Beside::of(path) else { return Ok(()) };
    if ![&beside.old, &beside.ready].into_iter().any(|p| fs::symlink_metadata(p).is_ok()) {
        return Ok(());
    }
    let Ok(held) = lock(&beside.lock, path) else { return Ok(()) };
    let done = beside.put_right().map_err(|e| Error::io(path, e));
    let _ = steps::remove_file(&beside.lock);
    drop(held);
    done
}

/// A place, and the names beside it that a claim uses.
#[derive(Debug)]
struct Beside {
    place: PathBuf,
    lock: PathBuf,
    /// What is being written; after an exchange, what was replaced.
    new: PathBuf,
    /// The folder that is being replaced, where two folders cannot be exchanged in one step.
    old: PathBuf,
    /// Files that are complete and on their way to their places.
    ready: PathBuf,
}

impl Beside {
    fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().ok_or_else(|| nameless(path))?;
        let beside = |role: &str| {
            let mut whole = OsString::from(".");
            whole.push(name);
            whole.push(format!(".bagrad-{role}"));
            path.with_file_name(whole)
        };
        let [lock, new, old, ready] = ["lock", "new", "old", "ready"].map(beside);
        // Without what stands for it at the end: a slash.
        Ok(Self { place: path.with_file_name(name), lock, new, old, ready })
    }

    /// The state after a process that was killed anywhere in [`Claim::commit`]: the old or the new, and nothing beside.
    fn put_right(&self) -> io::Result<()> {
        let there = |path: &Path| fs::symlink_metadata(path).is_ok();
        if there(&self.ready) {
            forward(&self.ready)?;
        }
        if there(&self.old) {
            match there(&self.place) {
                true => steps::remove_dir_all(&self.old)?,
                false => steps::rename(&self.old, &self.place)?,
            }
        }
        if there(&self.new) { steps::remove_dir_all(&self.new) } else { Ok(()) }
    }
}

fn nameless(path: &Path) -> Error {
    Error::format(path, "expected a path that ends in a name")
}

fn above(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the folders above `path` and returns those that were missing, outermost first.
fn make_parents(path: &Path) -> io::Result<Vec<PathBuf>> {
    let parent = above(path);
    let missing: Vec<PathBuf> = parent.ancestors().take_while(|p| !p.exists()).map(Path::to_owned).collect();
    fs::create_dir_all(parent)?;
    Ok(missing.into_iter().filter(|p| !p.as_os_str().is_empty()).rev().collect())
}

/// The lock of a place, or who holds it.
fn lock(file: &Path, place: &Path) -> Result<File> {
    let at = |e| Error::io(place, e);
    loop {
        let mut opened = File::options().read(true).write(true).create(true).truncate(false).open(file).map_err(at)?;
        match opened.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut process = String::new();
                let _ = opened.read_to_string(&mut process);
                let who = process.trim();
                let who = if who.is_empty() { String::new() } else { format!(" (process {who})") };
                let message = format!("{}: another run{who} is writing there; wait for it", place.display());
                return Err(Error::setting("out", message));
            }
            Err(TryLockError::Error(e)) => return Err(at(e)),
        }
        // Its holder may have removed it between our opening and locking it.
        if same_file(&opened, file).map_err(at)? {
            let id = std::process::id().to_string();
            opened
                .set_len(0)
                .and_then(|()| opened.rewind())
                .and_then(|()| opened.write_all(id.as_bytes()))
                .map_err(at)?;
            return Ok(opened);
        }
    }
}

#[cfg(unix)]
fn same_file(opened: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = opened.metadata()?;
    Ok(fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())))
}

#[cfg(not(unix))]
fn same_file(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

/// Puts `new` where `place` is, whatever of these is a folder with something in it.
fn replace(new: &Path, place: &Path, old: &Path) -> io::Result<()> {
    if fs::symlink_metadata(place).is_err() {
        return steps::rename(new, place);
    }
    if steps::exchange(new, place).is_ok() {
        return steps::remove_dir_all(new);
    }
    steps::rename(place, old)?;
    if let Err(e) = steps::rename(new, place) {
        steps::rename(old, place)?;
        return Err(e);
    }
    steps::remove_dir_all(old)
}

/// Moves complete files to their places beside the folder that holds them.
fn forward(ready: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(ready)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        steps::rename(&entry.path(), &ready.with_file_name(entry.file_name()))?;
    }
    steps::remove_dir(ready)
}

/// What a power cut must not take is on the disk: each file of a folder, and the folder.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        // Windows flushes what is open for writing alone.
        File::options().read(true).write(true).open(entry?.path())?.sync_all()?;
    }
    sync_folder(folder)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems do not know what that would be.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Every change of a name. Tests end a run before the n-th.
mod steps {
    use super::*;

    fn step() -> io::Result<()> {
        #[cfg(test)]
        super::tests::step()?;
        Ok(())
    }

    pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
        step()?;
        fs::rename(from, to)
    }

    pub fn create_dir(path: &Path) -> io::Result<()> {
        step()?;
        fs::create_dir(path)
    }

    pub fn remove_dir(path: &Path) -> io::Result<()> {
        step()?;
        fs::remove_dir(path)
    }

    pub fn remove_file(path: &Path) -> io::Result<()> {
        step()?;
        fs::remove_file(path)
    }

    pub fn remove_dir_all(path: &Path) -> io::Result<()> {
        step()?;
        // A name at a time, so that a process can end between any two.
        if cfg!(test) {
            for entry in fs::read_dir(path)? {
                remove_file(&entry?.path())?;
            }
        }
        fs::remove_dir_all(path)
    }

    /// Both at once, where the system can.
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    pub fn exchange(a: &Path, b: &Path) -> io::Result<()> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        step()?;
        #[cfg(test)]
        super::tests::may_exchange()?;
        Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
    }

    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    pub fn exchange(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
