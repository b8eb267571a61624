//! Files that say which slides train, validate and test, as CLAM writes them: `splits_0.csv` has a column of slides for each
//! part, `splits_0_bool.csv` a line for each slide with True under its part.

use super::super::file;
use super::super::split::Split;
use super::table::{Finder, examples, rows};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// Names of the columns.
fn part_of(name: &str) -> Option<Split> {
    match name.to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "val" | "valid" | "validation" => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

/// A column of ids beside one that is longer is padded, and pandas then writes whole numbers with a point.
fn without_point(id: &str) -> &str {
    id.strip_suffix(".0").filter(|whole| whole.bytes().all(|b| b.is_ascii_digit())).unwrap_or(id)
}

fn truth(field: &str) -> Option<bool> {
    match field.to_lowercase().as_str() {
        "true" | "1" | "1.0" => Some(true),
        "false" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

/// Slides with their parts, in the order of the file.
fn read(path: &Path) -> Result<Vec<(String, Split)>> {
    let mut names: Option<Vec<Option<Split>>> = None;
    let mut lines: Vec<Vec<String>> = Vec::new();
    rows(path, file::open(path)?, |_, fields| {
        match &names {
            None => {
                let parts: Vec<Option<Split>> = fields.iter().map(|name| part_of(name)).collect();
                for part in Split::ALL {
                    let count = parts.iter().filter(|p| **p == Some(part)).count();
                    if count > 1 || (count == 0 && part == Split::Train) {
                        let listed = fields.iter().map(|n| format!("'{n}'")).collect::<Vec<_>>().join(", ");
                        return Err(format!("expected columns called train, val and test, once each; found {listed}"));
                    }
                }
                names = Some(parts);
            }
            Some(_) => lines.push(fields.iter().map(|f| (*f).to_owned()).collect()),
        }
        Ok(())
    })?;
    let names = names.unwrap_or_default();
    let field = |line: &[String], at: usize| line.get(at).map_or(String::new(), |f| f.trim().to_owned());
    let columns = || (0..names.len()).filter(|&at| names[at].is_some());
    let of_bools = !lines.is_empty()
        && names.first() == Some(&None)
        && lines.iter().all(|line| columns().all(|at| truth(&field(line, at)).is_some()));
    let mut slides = Vec::new();
    for line in &lines {
        for at in columns() {
            let (Some(part), text) = (names[at], field(line, at)) else { continue };
            if of_bools && truth(&text) == Some(true) {
                slides.push((field(line, 0), part));
            } else if !of_bools && !super::super::classes::is_unknown(&text) {
                slides.push((text, part));
            }
        }
    }
    Ok(slides)
}

/// The part of each of the slides that are called `stems`, and what is told of it.
///
/// # Errors
/// [`Error::Format`] when a slide is in two parts, or none of the file is among the slides, and what is wrong with the file.
pub(super) fn parts(path: &Path, stems: &[String]) -> Result<(Vec<Option<Split>>, Vec<String>)> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let slides = read(path)?;
    let finder = Finder::new(stems);
    let (mut parts, mut absent) = (vec![None; stems.len()], Vec::new());
    let mut seen: HashMap<&str, Split> = HashMap::new();
    for (id, part) in &slides {
        let before = *seen.entry(id).or_insert(*part);
        let Some(at) = finder.find(id).or_else(|| finder.find(without_point(id))) else {
            absent.push(id.as_str());
            continue;
        };
        if before != *part || parts[at].is_some_and(|before| before != *part) {
            let other = parts[at].unwrap_or(before).name();
            return Err(Error::format(path, format!("slide '{id}' is both in {other} and in {}", part.name())));
        }
        parts[at] = Some(*part);
    }
    if parts.iter().all(Option::is_none) {
        let ids: Vec<&str> = slides.iter().map(|(id, _)| id.as_str()).collect();
        return Err(Error::format(
            path,
            format!(
                "none of its {} slides is there: it has {}, the folder has {}",
                ids.len(),
                examples(&ids),
                examples(stems)
            ),
        ));
    }
    let mut remarks = Vec::new();
    if !absent.is_empty() {
        remarks.push(format!("{} slides of {name} are not there, such as {}", absent.len(), examples(&absent)));
    }
    let without: Vec<&str> = stems.iter().zip(&parts).filter(|(_, p)| p.is_none()).map(|(s, _)| s.as_str()).collect();
    if !without.is_empty() {
        let (count, which) = (without.len(), examples(&without));
        remarks.push(format!("{count} slides are in no part of {name} and are left out, such as {which}"));
    }
    Ok((parts, remarks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts_of(text: &str) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("splits_0.csv");
        std::fs::write(&path, text).unwrap();
        let stems = ["a", "b.svs", "7", "d"].map(String::from);
        let (parts, remarks) = parts(&path, &stems)?;
        let letter = |p: &Option<Split>| p.map_or("-".to_owned(), |p| p.name()[..2].to_owned());
        Ok(format!("{} {}", parts.iter().map(letter).collect::<Vec<_>>().join(" "), remarks.join("; ")))
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(parts_of(",train,val,test\n0,a,b,7.0\n1,d,,\n").unwrap(), "tr va te tr ");
        assert_eq!(parts_of("train,val,test\na,b,7\nd,nan,\n").unwrap(), "tr va te tr ");
        let bools = ",train,val,test\na,True,False,False\nb,False,True,False\n7,False,False,True\nd,TRUE,False,False\n";
        assert_eq!(parts_of(bools).unwrap(), "tr va te tr ");
        assert_eq!(
            parts_of("train,test\na.svs,b\n").unwrap(),
            "tr te - - 2 slides are in no part of splits_0.csv and are left out, such as '7', 'd'"
        );
        assert!(
            parts_of("train,test\na,b\nx,\n").unwrap().contains("1 slides of splits_0.csv are not there, such as 'x'")
        );
    }

    #[test]
    fn what_cannot_be_is_told() {
        let refused = |text: &str, what: &str| {
            let message = parts_of(text).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        };
        refused("train,val,test\na,b,a\n", "slide 'a' is both in train and in test");
        refused(",train,val,test\na,True,True,False\n", "slide 'a' is both in train and in validation");
        refused("slide,fold\na,0\n", "expected columns called train, val and test, once each; found 'slide', 'fold'");
        refused("train,val\nx,y\n", "it has 'x', 'y', the folder has 'a', 'b.svs', '7', ..");
    }
}
