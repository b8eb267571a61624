//! Files of other programs that are not read: what to do with them.

use crate::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// True for a parquet file, by its name or its first bytes.
fn is_parquet(path: &Path) -> bool {
    let mut start = [0; 4];
    let mut begins = || File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"PAR1";
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) || begins()
}

/// The error of `path` where it is such a file, or a folder with some.
pub(super) fn refusal(path: &Path) -> Option<Error> {
    let mut files: Vec<PathBuf> = match path.is_dir() {
        true => {
            std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect()
        }
        false => vec![path.into()],
    };
    files.retain(|path| is_parquet(path));
    files.sort_unstable();
    let first = files.first()?;
    let name = first.file_name()?.to_string_lossy();
    let found = if files.len() == 1 { name.to_string() } else { format!("{} files such as {name}", files.len()) };
    let message = format!(
        "found {found}, and parquet files are not read. With a file for each slide, in Python: import glob, numpy as np, \
         pandas as pd; [np.save(f'FOLDER/{{f[:-8]}}.npy', pd.read_parquet(f).to_numpy('float32')) for f in \
         glob.glob('*.parquet')]. FOLDER is then read as it is, with a table of labels (--labels TABLE); columns that are no \
         features have to be left out before"
    );
    Some(Error::format(path, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_slides_are_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let message = |of: &Path| refusal(of).map(|e| e.to_string()).unwrap_or_default();
        assert!(refusal(folder.path()).is_none());
        std::fs::write(path("notes.txt"), "mine").unwrap();
        assert!(refusal(folder.path()).is_none() && refusal(&path("notes.txt")).is_none());
        for name in ["S1.parquet", "S2.parquet"] {
            std::fs::write(path(name), b"PAR1").unwrap();
        }
        let found = message(folder.path());
        assert!(found.contains("2 files such as S1.parquet, and parquet files are not read"), "{found}");
        assert!(found.contains("pd.read_parquet(f)") && found.contains("np.save(f'FOLDER/{f[:-8]}.npy'"), "{found}");
        assert!(message(&path("S1.parquet")).contains("found S1.parquet, and parquet"));
        std::fs::write(path("slide"), b"PAR1\0\0\0\0").unwrap();
        assert!(message(&path("slide")).contains("parquet"), "by its first bytes");
    }
}
