//! Files of other programs that are not read yet: what to do with them.

use crate::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A kind of file that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Npz,
    Safetensors,
    Parquet,
}

impl Kind {
    /// By the name, and where that says nothing by the first bytes.
    fn of(path: &Path) -> Option<Self> {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        match ending.as_str() {
            "npz" => return Some(Self::Npz),
            "safetensors" => return Some(Self::Safetensors),
            "parquet" => return Some(Self::Parquet),
            _ => {}
        }
        let mut start = [0; 8];
        File::open(path).ok()?.read_exact(&mut start).ok()?;
        match start {
            [b'P', b'A', b'R', b'1', ..] => Some(Self::Parquet),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Npz => "npz",
            Self::Safetensors => "safetensors",
            Self::Parquet => "parquet",
        }
    }

    /// A line of Python that reads the file called `file` as an array of instances by features.
    fn reads(self, file: &str) -> String {
        match self {
            Self::Npz => format!("np.load({file})['features']"),
            Self::Safetensors => format!("next(iter(safetensors.numpy.load_file({file}).values()))"),
            Self::Parquet => format!("pd.read_parquet({file}).to_numpy()"),
        }
    }

    fn imports(self) -> &'static str {
        match self {
            Self::Npz => "",
            Self::Safetensors => ", safetensors.numpy",
            Self::Parquet => ", pandas as pd",
        }
    }
}

/// The error of `path` where it is such a file, or a folder with some.
pub(super) fn refusal(path: &Path) -> Option<Error> {
    let mut files: Vec<(PathBuf, Kind)> = match path.is_dir() {
        true => std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path()).collect(),
        false => vec![path.into()],
    }
    .into_iter()
    .filter_map(|path: PathBuf| Kind::of(&path).map(|kind| (path, kind)))
    .collect();
    files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let (file, kind) = files.first()?;
    let name = file.file_name()?.to_string_lossy();
    let layout =
        "features.npy (or pixels.npy) and bag_ids.npy, and labels.npy to train with (docs/data.md has the layout)";
    if *kind == Kind::Npz {
        let message = format!(
            "expected npy files, found {name}, and npz files are not read. Unpack it into a folder, in Python: import \
             numpy as np; [np.save(f'FOLDER/{{name}}.npy', array) for name, array in np.load('{name}').items()]. That \
             folder then has to hold {layout}"
        );
        return Some(Error::format(path, message));
    }
    let count = files.iter().filter(|(_, of)| of == kind).count();
    let (found, ending) = match count {
        1 => (name.to_string(), file.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default()),
        _ => (
            format!("{count} files such as {name}"),
            file.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default(),
        ),
    };
    let message = format!(
        "expected npy files, found {found}, and {of} files are not read yet. With a file for each bag, in Python: import \
         glob, numpy as np{imports}; files = sorted(glob.glob('*.{ending}')); bags = [{read} for f in files]; \
         np.save('FOLDER/features.npy', np.concatenate(bags)); np.save('FOLDER/bag_ids.npy', \
         np.repeat(range(len(bags)), [len(b) for b in bags])); open('FOLDER/bag_names.txt', \
         'w').write('\\n'.join(files)). FOLDER then has to hold {layout}",
        of = kind.name(),
        imports = kind.imports(),
        read = kind.reads("f"),
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
        assert!(
            found.contains("2 files such as S1.parquet") && found.contains("parquet files are not read"),
            "{found}"
        );
        assert!(found.contains("pd.read_parquet(f)") && found.contains("glob('*.parquet')"), "{found}");
        assert!(found.contains("features.npy (or pixels.npy) and bag_ids.npy"), "{found}");
        assert!(message(&path("S1.parquet")).contains("found S1.parquet, and parquet"));
        std::fs::write(path("slide"), b"PAR1\0\0\0\0").unwrap();
        assert!(message(&path("slide")).contains("parquet"), "by its first bytes");
        for (name, told) in [("a.safetensors", "load_file(f)"), ("a.parquet", "read_parquet(f)")] {
            std::fs::write(path(name), "PK").unwrap();
            assert!(message(&path(name)).contains(told), "{name}");
        }
    }
}
