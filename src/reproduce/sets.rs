//! The data sets that several experiments read, from the data folder, once for all runs.

use crate::data::{Dataset, Folds, Haystack, Pool, idx, split};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// What a folder holds, read when it is first asked for.
pub struct Lazy<T> {
    folder: PathBuf,
    read: fn(&Path) -> Result<T>,
    content: Arc<OnceLock<T>>,
}

impl<T> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Self { folder: self.folder.clone(), read: self.read, content: self.content.clone() }
    }
}

impl<T> Lazy<T> {
    /// `read` is handed `folder`.
    pub fn new(folder: impl Into<PathBuf>, read: fn(&Path) -> Result<T>) -> Self {
        Self { folder: folder.into(), read, content: Arc::default() }
    }

    /// The content.
    ///
    /// # Errors
    /// Of reading it.
    pub fn get(&self) -> Result<&T> {
        if self.content.get().is_none() {
            let content = (self.read)(&self.folder)?;
            return Ok(self.content.get_or_init(|| content));
        }
        self.content.get().context("it was read just now")
    }
}

/// What experiments on MNIST say of their data.
pub const MNIST: &str = "mnist/ (tools/fetch_data mnist)";

/// The training and test images of MNIST, in `data/mnist` or in `data` itself.
pub fn mnist(data: &Path) -> Lazy<[Pool; 2]> {
    Lazy::new(data, |data| {
        let places = [data.join("mnist"), data.to_owned()];
        match places.iter().find(|folder| idx::is_mnist(folder)) {
            Some(folder) => Ok(idx::mnist(folder)?),
            None => bail!("{}: expected the four MNIST files here or in mnist/, found none", data.display()),
        }
    })
}

/// A data set called `name` in `data`: a folder of npy files, or a text file.
pub fn collection(data: &Path, name: &str) -> Lazy<Dataset> {
    Lazy::new(place(data, name), |place| Ok(Dataset::open(place)?))
}

/// Long bags of the shipped digits, of which a quarter of the training bags validates.
///
/// # Errors
/// For settings out of range.
pub fn held_out(haystack: &Haystack, seed: u64) -> Result<Dataset> {
    let mut set = Haystack { seed, ..haystack.clone() }.digits()?;
    let labels = set.bags.labels.clone().context("drawn bags have labels")?;
    split::hold_out(set.split.as_mut().context("drawn bags are divided")?, &labels, None, 0.25, seed)?;
    Ok(set)
}

fn place(data: &Path, name: &str) -> PathBuf {
    let files = ["csv", "csv.gz"].map(|ending| data.join(format!("{name}.{ending}")));
    files.into_iter().find(|file| file.exists()).unwrap_or_else(|| data.join(name))
}

/// True when the collection `name` comes with folds of its own.
pub fn has_folds(data: &Path, name: &str) -> bool {
    place(data, name).join("folds.npy").exists()
}

/// The folds of repeat `repeat` (from 0): those of the data set where it has that repeat, else drawn, stratified.
///
/// # Errors
/// When the bags have no labels or are fewer than `count`.
pub fn folds(set: &Dataset, count: usize, repeat: usize) -> Result<(Folds, usize)> {
    if let Some(own) = set.folds.as_ref().filter(|folds| repeat < folds.repeats()) {
        return Ok((own.clone(), repeat));
    }
    let labels = set.bags.labels.as_ref().context("cross-validation needs labels")?;
    // A seed a repeat: more repeats leave the first as they were.
    Ok((Folds::stratified(labels, set.bags.groups.as_deref(), count, 1, repeat as u64 + 1)?, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_data_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = mnist(dir.path()).get().err().unwrap().to_string();
        assert!(message.contains("expected the four MNIST files here or in mnist/"), "{message}");
        let message = collection(dir.path(), "musk1").get().err().unwrap().to_string();
        assert!(message.contains("musk1"), "{message}");
    }

    #[test]
    fn collections_are_files_or_folders_and_folds_are_drawn_where_there_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let rows: String = (0..20).map(|b| format!("{},{b},{b}.5\n", b % 2)).collect();
        std::fs::write(dir.path().join("set.csv"), rows).unwrap();
        let set = collection(dir.path(), "set");
        assert!(!has_folds(dir.path(), "set"));
        let mut set = set.get().unwrap().clone();
        let (drawn, at) = folds(&set, 5, 3).unwrap();
        assert_eq!((drawn.repeats(), drawn.count(0), at), (1, 5, 0));
        assert_ne!(folds(&set, 5, 4).unwrap().0, drawn);
        set.folds = Some(Folds::new(vec![[0, 1].repeat(10); 2]).unwrap());
        assert_eq!(folds(&set, 5, 1).unwrap(), (set.folds.clone().unwrap(), 1));
        assert_eq!(folds(&set, 5, 2).unwrap().0.count(0), 5, "beyond its repeats they are drawn");
    }
}
