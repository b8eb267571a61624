//! Names of files from names of slides and methods, which may be anything.

use std::collections::HashSet;

/// Bytes of a name, so that endings still fit into what file systems hold.
const LONGEST: usize = 160;
/// Names that are devices on Windows, whatever follows a point.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// `name` as the begin of the name of a file in one folder, on every system: nothing in it leads elsewhere, and `@`, which
/// parts a name from what is drawn of it, is not in it.
fn clean(name: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || "-_.+() ,=#".contains(c) { c } else { '_' };
    let mut stem: String = name.chars().map(kept).collect();
    let end = (0..=LONGEST).rev().find(|&at| stem.is_char_boundary(at)).unwrap_or(0);
    stem.truncate(end.min(stem.len()));
    if stem.trim_matches(['.', ' ']) != stem {
        let (begin, rest) =
            (stem.len() - stem.trim_start_matches(['.', ' ']).len(), stem.trim_end_matches(['.', ' ']).len());
        let at = |at: usize, c: char| if at < begin || at >= rest { '_' } else { c };
        stem = stem.char_indices().map(|(i, c)| at(i, c)).collect();
    }
    let device = stem.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let numbered =
        |port: &str| device.strip_prefix(port).is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit());
    if stem.is_empty() || DEVICES.contains(&&device[..]) || numbered("com") || numbered("lpt") {
        stem.insert(0, '_');
    }
    stem
}

/// A begin for the names of files of each of `names`, of which no two are one on any system: with a number behind it where
/// another one has it. Each has files with these `endings`; `others` are files of the same folder.
pub fn stems(names: &[String], endings: &[&str], others: &[&str]) -> Vec<String> {
    let mut taken: HashSet<String> = others.iter().map(|name| name.to_lowercase()).collect();
    let free = |name: &String| {
        let stem = clean(name);
        let candidates = std::iter::once(stem.clone()).chain((2..).map(|n| format!("{stem}-{n}")));
        for candidate in candidates {
            let files: Vec<String> =
                endings.iter().map(|ending| format!("{candidate}{ending}").to_lowercase()).collect();
            if files.iter().all(|file| !taken.contains(file)) {
                taken.extend(files);
                return candidate;
            }
        }
        unreachable!("numbers do not end")
    };
    names.iter().map(free).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        let cleaned =
            ["slide-1.A", "../../etc/passwd", "..", "a/b\\c:d", "", "NUL", "com1.x", ".hidden", "x. ", "a@b\n"]
                .map(clean);
        let expected =
            ["slide-1.A", "___.._etc_passwd", "__", "a_b_c_d", "_", "_NUL", "_com1.x", "_hidden", "x__", "a_b_"];
        assert_eq!(cleaned, expected);
        assert!(cleaned.iter().all(|name| !name.contains(['/', '\\']) && !name.starts_with('.') && !name.is_empty()));
        assert!(clean(&"é".repeat(500)).len() <= LONGEST);
        assert_eq!(clean("Ä-β (2)"), "Ä-β (2)");
    }

    #[test]
    fn no_two_slides_have_a_file_in_common() {
        let names = ["a", "A", "a/", "a_", "top", "a.regions", "index"].map(String::from);
        let endings = [".csv", ".geojson", ".regions.geojson", ".html"];
        let found = stems(&names, &endings, &["top.csv", "index.html"]);
        assert_eq!(found, ["a", "A-2", "a_", "a_-2", "top-2", "a.regions-2", "index-2"]);
    }
}
