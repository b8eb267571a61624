//! An npz file that is a slide: a zip archive of npy files, packed or not.

use super::super::super::npy::array::Array as Opened;
use super::super::zip::{Archive, Member};
use super::arrays::{Array, Arrays};
use super::npy::described;
use super::{Reason, reason};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The file in `path`, whose arrays have the lengths that their heads say.
pub(in super::super) struct Npz {
    path: PathBuf,
    arrays: Vec<Array>,
    members: Vec<Member>,
}

fn opened(path: &Path, member: &Member) -> Result<Opened, Reason> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    Opened::from_reader(path, member.reader(file)?, member.size).map_err(|e| format!("{}: {}", member.name, reason(e)))
}

impl Npz {
    pub fn open(path: &Path) -> Result<Self, Reason> {
        let archive = Archive::open(&mut File::open(path).map_err(|e| e.to_string())?)?;
        let (mut arrays, mut members) = (Vec::new(), Vec::new());
        for member in archive.members {
            let Some(name) = member.name.strip_suffix(".npy") else { continue };
            if name == "bag_ids" {
                let file = path.file_name().unwrap_or_default().to_string_lossy();
                return Err(format!(
                    "it has the arrays of a whole data set ({name}), and those are read from a folder. Unpack it, in Python: \
                     import numpy as np; [np.save(f'FOLDER/{{name}}.npy', array) for name, array in np.load('{file}').items()]"
                ));
            }
            // What is no array of numbers is nothing of a slide.
            let Ok(array) = described(name, &opened(path, &member)?) else { continue };
            arrays.push(array);
            members.push(member);
        }
        Ok(Self { path: path.into(), arrays, members })
    }
}

impl Arrays for Npz {
    fn arrays(&self) -> &[Array] {
        &self.arrays
    }

    fn bytes(&self, at: usize) -> Result<Vec<u8>, Reason> {
        opened(&self.path, &self.members[at])?.bytes().map_err(|e| format!("{}: {}", self.members[at].name, reason(e)))
    }
}
