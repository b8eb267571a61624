//! The data room: readers of what is on disk, generators of bags, splits and standardisation.
//!
//! ```
//! use bagrad::data::{Dataset, Split, Standardiser};
//!
//! let mut set = Dataset::open("digits-bags,train=20,test=10")?;
//! set.check_for_training()?;
//! let train = set.indices(Split::Train);
//! Standardiser::fit(&set.bags, &train)?.apply(&mut set.bags)?;
//! assert_eq!((set.bags.len(), train.len(), set.bags.width), (30, 20, 64));
//! # Ok::<(), bagrad::Error>(())
//! ```

pub mod assumption;
pub mod class_bags;
pub mod classes;
pub mod collage;
pub mod digits;
mod file;
pub mod fuse;
pub mod haystack;
pub mod idx;
pub mod mil_bags;
pub mod npy;
mod opening;
pub mod patches;
mod pictures;
pub(crate) mod resize;
mod responses;
pub mod sites;
pub mod slides;
mod source;
pub mod text;
pub mod textures;
pub mod views;
pub mod weights;

pub use crate::split::{self, Folds, Split};
pub use crate::standardise::Standardiser;
pub use assumption::{Assumption, Probe};
pub use class_bags::ClassBags;
pub use collage::Collage;
pub use haystack::Haystack;
pub use mil_bags::{Pool, Protocol};
pub use opening::{OnBad, Opening};
pub use patches::Patches;
pub use pictures::Rgb;
pub use responses::LabelsAre;
pub use slides::packed;
pub use source::Source;
pub use textures::Textures;
pub use views::Views;

use crate::bag::Bags;
use crate::error::{Error, Result};
use std::path::Path;

/// Which instance labels mean that an instance is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Every label above zero.
    AboveZero,
    /// These labels and no other.
    Labels(Vec<i32>),
}

impl Key {
    /// True when an instance of this label is positive.
    pub fn holds(&self, label: i32) -> bool {
        match self {
            Self::AboveZero => label > 0,
            Self::Labels(labels) => labels.contains(&label),
        }
    }
}

/// How to divide the bags of a data set.
#[derive(Clone, Debug, PartialEq)]
pub enum Partition {
    /// As the data set itself says.
    Own,
    /// At random, stratified by class (of several labels a bag by the rarest), in shares of training, validation and test that add up to 1.
    Random {
        /// Of training, validation and test; their sum is 1.
        shares: [f64; 3],
        /// Of the random numbers.
        seed: u64,
    },
    /// One fold of the data set's own folds: it tests, the others train.
    Fold {
        /// Which division into folds.
        repeat: usize,
        /// Which fold of it tests.
        fold: usize,
    },
}

/// Bags with what their source knows about them.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The bags.
    pub bags: Bags,
    /// The part of each bag, where the data set has its own division.
    pub split: Option<Vec<Split>>,
    /// Published or drawn folds of a cross-validation.
    pub folds: Option<Folds>,
    /// Where each bag is from (the hospital, the laboratory), where the data set knows it.
    pub sites: Option<Vec<String>>,
    /// Name of the folder, the file or the generator.
    pub name: String,
    /// Which instance labels count as positive.
    pub key: Key,
    /// What the reader assumed or put right, a sentence each, for people to see.
    pub remarks: Vec<String>,
}

impl Dataset {
    /// Bags of which nothing more is known. Key instances are those with a label above zero.
    pub fn new(bags: Bags, name: impl Into<String>) -> Self {
        Self {
            bags,
            split: None,
            folds: None,
            sites: None,
            name: name.into(),
            key: Key::AboveZero,
            remarks: Vec::new(),
        }
    }

    /// Opens a folder of npy files or of slides, a text file, or what a generator draws; see [`Source::parse`].
    ///
    /// # Errors
    /// As [`Source::parse`] and [`Source::open`].
    pub fn open(source: impl AsRef<Path>) -> Result<Self> {
        Source::parse(source)?.open()
    }

    /// As [`Dataset::open`], with what is said of it beside: columns, a table of labels, what becomes of bad slides.
    ///
    /// # Errors
    /// As [`Source::parse`] and [`Source::open_with`].
    pub fn open_with(source: impl AsRef<Path>, opening: &Opening) -> Result<Self> {
        Source::parse(source)?.open_with(opening)
    }

    /// 1 for each positive (key) instance, 0 for the others; `None` when instances have no labels.
    pub fn instance_targets(&self) -> Option<Vec<u8>> {
        let labels = self.bags.instance_labels.as_ref()?;
        Some(labels.iter().map(|&l| u8::from(self.key.holds(l))).collect())
    }

    /// Numbers of the bags of one part, ascending. Without a division all bags with a label are for training.
    pub fn indices(&self, part: Split) -> Vec<usize> {
        match &self.split {
            Some(split) => split::indices(split, part),
            None if part == Split::Train => {
                (0..self.bags.len()).filter(|&b| !self.bags.has_labels() || self.bags.is_labelled(b)).collect()
            }
            None => Vec::new(),
        }
    }

    /// The part of each bag after `how`; put it in [`Dataset::split`] to use it. Bags without a label among labelled ones
    /// are [`Split::Unlabelled`].
    ///
    /// # Errors
    /// [`Error::Bags`] when the data set lacks what `how` asks for (its own split, folds, labels),
    /// [`Error::Setting`] when a share, repeat or fold is out of range.
    pub fn partition(&self, how: &Partition) -> Result<Vec<Split>> {
        let lacks = |what: &str| Error::bags(format!("{}: expected {what}, found none", self.name));
        let mut parts = match *how {
            Partition::Own => self.split.clone().ok_or_else(|| lacks("a split that comes with the data set"))?,
            Partition::Random { shares, seed } => {
                let strata = self.bags.strata().ok_or_else(|| lacks("labels for a stratified split"))?;
                split::stratified(&strata, self.bags.groups.as_deref(), shares, seed)?
            }
            Partition::Fold { repeat, fold } => {
                let folds = self.folds.as_ref();
                folds.ok_or_else(|| lacks("folds that come with the data set"))?.split(repeat, fold)?
            }
        };
        self.leave_out_unlabelled(&mut parts);
        Ok(parts)
    }

    /// Bags without a label among labelled ones are in no part.
    pub(crate) fn leave_out_unlabelled(&self, parts: &mut [Split]) {
        if self.bags.has_labels() {
            let unknown = parts.iter_mut().enumerate().filter(|(bag, _)| !self.bags.is_labelled(*bag));
            unknown.for_each(|(_, part)| *part = Split::Unlabelled);
        }
    }

    /// Checks what training needs beyond [`Bags::validate`]: labels, and a training bag of every class; of several labels
    /// a bag training bags with each label and without.
    ///
    /// # Errors
    /// [`Error::Bags`] that says what is missing.
    pub fn check_for_training(&self) -> Result<()> {
        self.bags.validate()?;
        let wrong = |message: String| Err(Error::bags(format!("{}: {message}", self.name)));
        if !self.bags.has_labels() {
            return wrong("expected labels to train with, found none".into());
        }
        let bags = self.bags.len();
        if let Some(found) = self.split.as_ref().map(Vec::len).filter(|&n| n != bags) {
            return wrong(format!("expected a split of {bags} bags, found {found}"));
        }
        if let Some(found) = self.folds.as_ref().map(|f| f.of()[0].len()).filter(|&n| n != bags) {
            return wrong(format!("expected folds of {bags} bags, found {found}"));
        }
        if let (Some(split), Some(groups)) = (&self.split, &self.bags.groups) {
            split::check_groups(split, groups, &self.bags.names)?;
        }
        split::check_training(&self.bags, &self.indices(Split::Train)).or_else(|error| match error {
            Error::Bags { message } => wrong(message),
            other => Err(other),
        })
    }
}

/// The name of a data set: the last part of its path, without the endings of a file.
fn name_of(path: &Path) -> String {
    // "." and ".." have no name of their own.
    let absolute = path.canonicalize().unwrap_or_else(|_| path.into());
    let name = absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned();
    if path.is_dir() {
        return name;
    }
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;

    fn set(labels: Option<Vec<u32>>) -> Dataset {
        let mut bags = Bags::packed(Features::F32(vec![0.0; 5]), 1, &[2, 1, 1, 1]).unwrap();
        if let Some(labels) = labels {
            bags = bags.with_labels(labels).unwrap();
        }
        Dataset::new(bags, "set")
    }

    #[test]
    fn targets_follow_the_key() {
        let mut set = set(None);
        assert_eq!(set.instance_targets(), None);
        set.bags.instance_labels = Some(vec![-1, 0, 1, 2, 9]);
        assert_eq!(set.instance_targets(), Some(vec![0, 0, 1, 1, 1]));
        set.key = Key::Labels(vec![0, 9]);
        assert_eq!(set.instance_targets(), Some(vec![0, 1, 0, 0, 1]));
    }

    #[test]
    fn training_needs_a_bag_of_every_class() {
        let message = |set: &Dataset| set.check_for_training().unwrap_err().to_string();
        assert!(message(&set(None)).contains("set: expected labels"));
        assert!(message(&set(Some(vec![0; 4]))).contains("class 1 ('1') has no bag among the 4"));
        assert!(message(&set(Some(vec![0, 2, 2, 0]))).contains("class 1 ('1')"));
        let mut set = set(Some(vec![0, 1, 1, 0]));
        set.check_for_training().unwrap();
        set.split = Some(vec![Split::Test; 4]);
        assert!(message(&set).contains("at least one training bag"));
        set.split = Some(vec![Split::Train, Split::Test, Split::Validation, Split::Train]);
        assert!(message(&set).contains("class 1 ('1') has no bag among the 2"));
        set.split = Some(vec![Split::Train; 3]);
        assert!(message(&set).contains("expected a split of 4 bags, found 3"));
        set.split = None;
        set.folds = Some(Folds::new(vec![vec![0, 1]]).unwrap());
        assert!(message(&set).contains("expected folds of 4 bags, found 2"));
    }

    #[test]
    fn several_labels_a_bag_are_divided_and_checked() {
        let (yes, no) = (Some(true), Some(false));
        let sets = [[yes, no], [no, yes], [None, None], [yes, yes]].concat();
        let sets = crate::LabelSets::new(2, sets).unwrap();
        let bags = set(None).bags.with_label_sets(sets, vec!["a".into(), "b".into()]).unwrap();
        let mut set = Dataset::new(bags, "set");
        set.check_for_training().unwrap();
        assert_eq!(set.indices(Split::Train), [0, 1, 3]);
        let parts = set.partition(&Partition::Random { shares: [1.0, 0.0, 0.0], seed: 1 }).unwrap();
        assert_eq!(parts, [Split::Train, Split::Train, Split::Unlabelled, Split::Train]);
        set.split = Some(vec![Split::Train, Split::Test, Split::Test, Split::Train]);
        let message = set.check_for_training().unwrap_err().to_string();
        assert!(message.contains("label 'a': 2 of the 2 training bags"), "{message}");
        set.split = Some(vec![Split::Train, Split::Train, Split::Train, Split::Train]);
        assert!(set.check_for_training().unwrap_err().to_string().contains("bag '2' is to be trained on"));
        // What goes with the bags goes with them through a selection.
        let picked = set.bags.select(&[3, 1]).unwrap();
        assert_eq!(picked.label_sets.unwrap().bags().collect::<Vec<_>>(), [[yes, yes], [no, yes]]);
    }

    #[test]
    fn partitions_come_from_the_set_or_a_draw() {
        let mut set = set(Some(vec![0, 1, 1, 0]));
        let message = |set: &Dataset, how| set.partition(&how).unwrap_err().to_string();
        assert!(message(&set, Partition::Own).contains("set: expected a split that comes"));
        assert!(message(&set, Partition::Fold { repeat: 0, fold: 0 }).contains("expected folds"));
        assert_eq!((set.indices(Split::Train).len(), set.indices(Split::Test).len()), (4, 0));
        let drawn = set.partition(&Partition::Random { shares: [0.5, 0.0, 0.5], seed: 0 }).unwrap();
        assert_eq!(split::indices(&drawn, Split::Test).len(), 2);
        set.split = Some(drawn.clone());
        assert_eq!(set.partition(&Partition::Own).unwrap(), drawn);
        set.folds = Some(Folds::new(vec![vec![0, 0, 1, 1]]).unwrap());
        let fold = set.partition(&Partition::Fold { repeat: 0, fold: 1 }).unwrap();
        assert_eq!(fold, [Split::Train, Split::Train, Split::Test, Split::Test]);
        set.bags.labels = None;
        assert!(message(&set, Partition::Random { shares: [1.0, 0.0, 0.0], seed: 0 }).contains("labels"));
    }

    #[test]
    fn names_are_stems() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("musk1.csv.gz");
        std::fs::write(&path, "").unwrap();
        assert_eq!(name_of(&path), "musk1");
        assert_eq!(name_of(&dir.path().join("a/../musk2.txt")), "musk2");
        let folder = dir.path().join("v1.5");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(name_of(&folder), "v1.5");
    }
}
