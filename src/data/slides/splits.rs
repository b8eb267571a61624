//! Files that say which slides train, validate and test. Each form is a file of its own here:
//!
//! - `in_columns`: a column of slides for each part, or a line for each slide with True under its part (CLAM); slides and
//!   labels of the parts side by side (MIL_BASELINE);
//! - `in_lines`: a line for each slide or patient, and a column with the name of its part (nnMIL, torchmil, MHIM), or several
//!   such columns, one for each fold (Patho-Bench);
//! - `in_json`: lists of patients (STAMP).

mod in_columns;
mod in_json;
mod in_lines;

pub(super) use in_lines::columns_of_parts;

use super::super::file;
use super::super::opening::Opening;
use super::super::split::Split;
use super::ids::{Finder, examples};
use super::sheet::Sheet;
use crate::bounded;
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::path::Path;

/// The part that is called so.
pub(super) fn part_of(name: &str) -> Option<Split> {
    match name.trim().to_lowercase().as_str() {
        "train" | "training" => Some(Split::Train),
        "val" | "valid" | "validation" => Some(Split::Validation),
        "test" | "testing" => Some(Split::Test),
        _ => None,
    }
}

/// A slide as far as parts are concerned.
pub(super) struct Candidate {
    pub stem: String,
    pub patient: Option<String>,
}

/// What a file says, in its order.
#[derive(Debug, Default)]
struct Division {
    /// Names are those of patients, not of slides.
    of_patients: bool,
    parts: Vec<(String, Split)>,
    remarks: Vec<String>,
}

/// What stands in `path`.
fn read(path: &Path, opening: &Opening) -> Result<Division> {
    let which = opening.which_split.as_deref();
    let wrong = |message: String| Error::format(path, message);
    let mut start = file::open(path)?;
    let start = start.fill_buf().map_err(|e| file::reading(path, e))?;
    if start.strip_prefix("\u{feff}".as_bytes()).unwrap_or(start).trim_ascii_start().starts_with(b"{") {
        return in_json::read(&bounded::text(path)?, which).map_err(wrong);
    }
    let sheet = Sheet::read(path)?;
    let remarks = || sheet.remarks.iter().map(|remark| format!("{}: {remark}", sheet.name));
    if let Some(mut division) = in_columns::read(&sheet).map_err(wrong)? {
        division.remarks.extend(remarks());
        return match which {
            None => Ok(division),
            Some(which) => {
                Err(wrong(format!("has one division alone, and none that is called '{which}' (--which-split)")))
            }
        };
    }
    let mut division = in_lines::read(&sheet, which, &opening.columns).map_err(wrong)?;
    division.remarks.extend(remarks());
    Ok(division)
}

/// A column of ids beside one that is longer is padded, and pandas then writes whole numbers with a point.
fn without_point(id: &str) -> &str {
    id.strip_suffix(".0").filter(|whole| whole.bytes().all(|b| b.is_ascii_digit())).unwrap_or(id)
}

/// The part of each of `slides` as the file of splits in `path` has it, and what is told of it.
///
/// # Errors
/// [`Error::Format`] when a slide is in two parts, or none of the file is among the slides, and what is wrong with the file.
pub(super) fn parts(path: &Path, opening: &Opening, slides: &[Candidate]) -> Result<(Vec<Option<Split>>, Vec<String>)> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let Division { of_patients, parts: said, mut remarks } = read(path, opening)?;
    let what = if of_patients { "patient" } else { "slide" };
    let stems: Vec<String> = slides.iter().map(|slide| slide.stem.clone()).collect();
    let finder = Finder::new(&stems);
    let mut of_patient: HashMap<&str, Vec<usize>> = HashMap::new();
    if of_patients {
        for (at, slide) in slides.iter().enumerate() {
            let Some(patient) = &slide.patient else {
                let message = "says which patients train and test: whose each slide is has to be known (--labels TABLE with \
                               a column of patients)";
                return Err(Error::format(path, message));
            };
            of_patient.entry(patient).or_default().push(at);
        }
    }
    let found = |id: &str| match of_patients {
        true => of_patient.get(id).cloned().unwrap_or_default(),
        false => finder.find(id).into_iter().collect(),
    };
    let (mut parts, mut absent) = (vec![None; slides.len()], Vec::new());
    let mut seen: HashMap<&str, Split> = HashMap::new();
    for (id, part) in &said {
        let before = *seen.entry(id).or_insert(*part);
        let mut places = found(id);
        if places.is_empty() {
            places = found(without_point(id));
        }
        if places.is_empty() {
            absent.push(id.as_str());
        }
        let other = places.iter().filter_map(|&at| parts[at]).find(|before| before != part);
        if let Some(other) = other.or(Some(before).filter(|before| before != part)) {
            let message = format!("{what} '{id}' is both in {} and in {}", other.name(), part.name());
            return Err(Error::format(path, message));
        }
        places.into_iter().for_each(|at| parts[at] = Some(*part));
    }
    if parts.iter().all(Option::is_none) {
        let ids: Vec<&str> = said.iter().map(|(id, _)| id.as_str()).collect();
        let patients: Vec<&str> = slides.iter().filter_map(|slide| slide.patient.as_deref()).collect();
        let there = match of_patients {
            true => format!("the slides are of {}", examples(&patients)),
            false => format!("the folder has {}", examples(&stems)),
        };
        let (count, has) = (ids.len(), examples(&ids));
        return Err(Error::format(path, format!("none of its {count} {what}s is there: it has {has}, {there}")));
    }
    if !absent.is_empty() {
        remarks.push(format!("{} {what}s of {name} are not there, such as {}", absent.len(), examples(&absent)));
    }
    let without: Vec<&str> = stems.iter().zip(&parts).filter(|(_, p)| p.is_none()).map(|(s, _)| s.as_str()).collect();
    if !without.is_empty() {
        let (count, which) = (without.len(), examples(&without));
        remarks.push(format!("{count} slides are in no part of {name} and are left out, such as {which}"));
    }
    Ok((parts, remarks))
}

#[cfg(test)]
#[path = "splits/tests.rs"]
mod tests;
