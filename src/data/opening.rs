//! What a user says of a data set beside where it is.

use super::text::ColumnNames;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What becomes of slides whose files cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBad {
    /// An error that lists them all.
    #[default]
    Fail,
    /// They are left out, and told.
    Skip,
}

impl FromStr for OnBad {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            _ => Err(Error::setting("on-bad", format!("expected fail or skip, found {text:?}"))),
        }
    }
}

impl fmt::Display for OnBad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
        })
    }
}

/// How a source is opened. The default asks for nothing.
///
/// ```no_run
/// use bagrad::data::{Dataset, Opening};
///
/// let opening = Opening { labels: Some("labels.csv".into()), ..Opening::default() };
/// let set = Dataset::open_with("features_uni_v1", &opening)?;
/// set.remarks.iter().for_each(|remark| eprintln!("{remark}"));
/// # Ok::<(), bagrad::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opening {
    /// Columns that are called by their names: of a text file of bags, or of the table of labels.
    pub columns: ColumnNames,
    /// The table with the label of each slide, for a folder with a file for each slide ([`super::slides`]).
    pub labels: Option<PathBuf>,
    /// The table of the slides of each patient, where [`Opening::labels`] is one of patients.
    pub slides: Option<PathBuf>,
    /// The file that says which slides train, validate and test ([`super::slides`] has the forms).
    pub splits: Option<PathBuf>,
    /// Of several divisions in that file which one: the name of a column, or the number of one in a `splits.json`.
    pub which_split: Option<String>,
    /// What becomes of slides whose files cannot be used.
    pub on_bad: OnBad,
}

impl Opening {
    /// The files that are read beside the data.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.labels, &self.slides, &self.splits].into_iter().flatten().map(PathBuf::as_path)
    }

    /// True when nothing is asked for that some sources do not know.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
