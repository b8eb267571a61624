//! What slides are called in tables and as files. Ids are text, whatever they look like.

use std::collections::HashMap;

/// Endings of files of slides and features, which ids have on one side and not on the other.
const ENDINGS: [&str; 27] = [
    "h5",
    "hdf5",
    "hdf",
    "he5",
    "pt",
    "pth",
    "npy",
    "npz",
    "safetensors",
    "parquet",
    "pq",
    "csv",
    "svs",
    "tif",
    "tiff",
    "ndpi",
    "mrxs",
    "scn",
    "vms",
    "vmu",
    "bif",
    "czi",
    "svslide",
    "dcm",
    "isyntax",
    "qptiff",
    "ome",
];

/// Examples in a message, at most.
const SHOWN: usize = 3;

/// The last part of a path without the endings of slides and features.
pub(super) fn reduced(id: &str) -> &str {
    let mut id = id.rsplit(['/', '\\']).next().unwrap_or(id).trim();
    while let Some((stem, ending)) = id.rsplit_once('.') {
        if stem.is_empty() || !ENDINGS.iter().any(|e| e.eq_ignore_ascii_case(ending)) {
            break;
        }
        id = stem;
    }
    id
}

/// A few of many names.
pub(super) fn examples<S: std::fmt::Display>(names: &[S]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("'{n}'")).collect();
    let more = if names.len() > SHOWN { ", .." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Finds what is called `id` among names of files without their endings: by the whole name, and else without what ids have
/// on one side only, where that leaves one.
pub(super) struct Finder<'a> {
    whole: HashMap<&'a str, usize>,
    short: HashMap<&'a str, Option<usize>>,
}

impl<'a> Finder<'a> {
    pub fn new(stems: &'a [String]) -> Self {
        let whole = stems.iter().enumerate().map(|(at, stem)| (stem.as_str(), at)).collect();
        let mut short = HashMap::new();
        for (at, stem) in stems.iter().enumerate() {
            short.entry(reduced(stem)).and_modify(|found| *found = None).or_insert(Some(at));
        }
        Self { whole, short }
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        let last = id.rsplit(['/', '\\']).next().unwrap_or(id);
        let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
        let whole = [id, last, stem].into_iter().find_map(|id| self.whole.get(id).copied());
        whole.or_else(|| self.short.get(reduced(id)).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_files_meet_without_their_endings() {
        for (id, short) in [
            ("a.svs", "a"),
            ("a.ome.tif", "a"),
            ("dir/a.H5", "a"),
            (r"C:\slides\a.ndpi", "a"),
            ("TCGA-05.4A7E-uuid", "TCGA-05.4A7E-uuid"),
            (".svs", ".svs"),
            ("1.5", "1.5"),
        ] {
            assert_eq!(reduced(id), short);
        }
        let stems = ["007", "b.svs", "c.1", "c.1.svs"].map(String::from);
        let finder = Finder::new(&stems);
        let found = |id: &str| finder.find(id);
        assert_eq!(found("007"), Some(0));
        assert_eq!(found("7"), None, "ids are text");
        assert_eq!((found("007.svs"), found("b"), found("x/b.tif")), (Some(0), Some(1), Some(1)));
        assert_eq!((found("c.1"), found("c.1.svs"), found("c.1.h5")), (Some(2), Some(3), Some(2)));
        // Two files that only an ending tells apart are found by their whole names alone.
        assert_eq!(found("c.1.tif.h5"), None);
    }
}
