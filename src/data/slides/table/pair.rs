//! A table of patients with their labels, and one of the slides that each has: the clini and the slide table of STAMP.

use super::super::super::classes::is_unknown;
use super::super::super::responses;
use super::super::super::text::ColumnNames;
use super::super::ids::examples;
use super::super::sheet::Sheet;
use super::columns::{Names, told_of_event};
use super::{Line, Table};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// A patient's label and the line that has it.
type Labels<'a> = HashMap<&'a str, (Cow<'a, str>, u64)>;
/// A patient's site and the line that has it.
type Sites<'a> = HashMap<&'a str, (&'a str, u64)>;

/// The slides of `slides` with the labels that their patients have in `patients`, the table in `path`.
///
/// # Errors
/// [`Error::Format`] when a table lacks a column, or its lines contradict each other.
pub(super) fn read(path: &Path, patients: &Sheet, slides: &Path, asked: &ColumnNames) -> Result<Table> {
    let (labels, [patient, label], event) = labels(patients, asked).map_err(|message| Error::format(path, message))?;
    let sites = sites(patients, asked, patient).map_err(|message| Error::format(path, message))?;
    let sheet = Sheet::read(slides)?;
    let wrong = |message: String| Error::format(slides, message);
    let mut names = Names::of(&sheet);
    let mut columns = || {
        let id = names.given(&asked.bag, "id-column")?;
        let patient = match sheet.columns.iter().position(|name| asked.group.as_ref() == Some(name)) {
            Some(at) => Some(at),
            None => names.group(),
        };
        let patient = patient.ok_or_else(|| names.lacks_groups())?;
        let id = id.or_else(|| names.id()).or_else(|| (sheet.columns.len() == 2).then_some(1 - patient));
        let id = id.filter(|id| *id != patient).ok_or_else(|| names.lacks_ids())?;
        Ok((patient, id))
    };
    let (of, id) = columns().map_err(wrong)?;

    let (mut lines, mut without) = (Vec::new(), Vec::new());
    for row in &sheet.rows {
        let (patient, slide) = (row.field(of), row.field(id));
        if is_unknown(slide) || is_unknown(patient) {
            let what = if is_unknown(slide) { "slide" } else { "patient" };
            return Err(wrong(format!("line {}: expected a patient and a slide, found no {what}", row.number)));
        }
        match labels.get(patient) {
            None => without.push(slide),
            Some((label, _)) => lines.push(Line {
                id: slide.into(),
                label: label.clone().into_owned(),
                group: Some(patient.into()),
                site: sites.get(patient).map(|(site, _)| (*site).to_owned()),
                number: row.number,
            }),
        }
    }
    let (ours, theirs) = (&patients.name, &sheet.name);
    if lines.is_empty() && !sheet.rows.is_empty() {
        let (known, found): (Vec<&&str>, Vec<&str>) =
            (labels.keys().collect(), sheet.rows.iter().map(|row| row.field(of)).collect());
        let (mut known, found) = (known, examples(&found));
        known.sort_unstable();
        return Err(wrong(format!(
            "none of its patients is in {ours}: it has {found}, {ours} has {}",
            examples(&known)
        )));
    }
    let mut remarks = vec![format!(
        "patients are in column '{}', their {} in '{}'; {theirs}: column '{}' names the slide, '{}' its patient",
        patients.columns[patient],
        if event.is_some() { "times" } else { "labels" },
        patients.columns[label],
        sheet.columns[id],
        sheet.columns[of]
    )];
    remarks.extend(event.map(|at| format!("column {}", told_of_event(&patients.columns[at]))));
    remarks.extend(patients.remarks.iter().map(|remark| format!("{ours}: {remark}")));
    remarks.extend(sheet.remarks.iter().map(|remark| format!("{theirs}: {remark}")));
    if !without.is_empty() {
        let (count, which) = (without.len(), examples(&without));
        remarks.push(format!("{count} slides of {theirs} are of patients that are not there, such as {which}"));
    }
    let seen: std::collections::HashSet<&str> = lines.iter().filter_map(|line| line.group.as_deref()).collect();
    let mut alone: Vec<(u64, &str)> =
        labels.iter().filter(|(patient, _)| !seen.contains(*patient)).map(|(p, (_, line))| (*line, *p)).collect();
    alone.sort_unstable();
    if !alone.is_empty() {
        let alone: Vec<&str> = alone.into_iter().map(|(_, patient)| patient).collect();
        remarks.push(format!("{} patients have no slide in {theirs}, such as {}", alone.len(), examples(&alone)));
    }
    let first = sheet.columns[id].clone();
    Ok(Table {
        name: format!("{ours} with {theirs}"),
        path: slides.into(),
        lines,
        remarks,
        first,
        by_patient: false,
        labels_are: asked.kind(),
    })
}

/// The label of each patient, and the columns of both.
fn labels<'a>(sheet: &'a Sheet, asked: &ColumnNames) -> Result<(Labels<'a>, [usize; 2], Option<usize>), String> {
    let mut names = Names::of(sheet);
    let label = names.given(&asked.label, "label-column")?;
    names.given(&asked.site, "site-column")?;
    let patient = names.given(&asked.group, "patient-column")?.or_else(|| names.group());
    let patient = patient.ok_or_else(|| names.lacks_groups())?;
    let event = names.event(asked)?;
    // A slide that is named here too is no label.
    names.id();
    let label = label.map_or_else(|| names.label(asked.kind()), Ok)?;
    let mut labels = Labels::new();
    for row in &sheet.rows {
        let (who, what) = (row.field(patient), Cow::Borrowed(row.field(label)));
        let what = match event {
            None => what,
            Some(at) => {
                let joined = responses::joined(&what, row.field(at), &sheet.columns[at]);
                joined.map_err(|message| format!("line {}: {message}", row.number))?.into()
            }
        };
        if is_unknown(who) {
            return Err(format!("line {}: expected a patient, found none", row.number));
        }
        let (before, line) = labels.entry(who).or_insert((what.clone(), row.number));
        if *before != what && !(is_unknown(before) && is_unknown(&what)) {
            return Err(format!(
                "lines {line} and {} are both of patient '{who}' and say '{}' and '{}'; expected one label for a patient",
                row.number,
                responses::shown(before),
                responses::shown(&what)
            ));
        }
    }
    Ok((labels, [patient, label], event))
}

/// The site of each patient, where a column says.
fn sites<'a>(sheet: &'a Sheet, asked: &ColumnNames, patient: usize) -> Result<Sites<'a>, String> {
    let mut names = Names::of(sheet);
    let Some(site) = names.given(&asked.site, "site-column")?.or_else(|| names.site()) else {
        return Ok(Sites::new());
    };
    let mut sites = Sites::new();
    for row in &sheet.rows {
        let (who, place) = (row.field(patient), row.field(site));
        if is_unknown(place) {
            return Err(format!("line {}: patient '{who}' has no site; expected one for each", row.number));
        }
        let &mut (before, line) = sites.entry(who).or_insert((place, row.number));
        if before != place {
            return Err(format!(
                "lines {line} and {} are both of patient '{who}' and say '{before}' and '{place}'; expected one site for a \
                 patient",
                row.number
            ));
        }
    }
    Ok(sites)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paired(clini: &str, slides: &str, asked: &ColumnNames) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("slides.csv");
        std::fs::write(&at, slides).unwrap();
        let path = Path::new("clini.csv");
        let table = read(path, &Sheet::from_text(path, clini.as_bytes())?, &at, asked)?;
        let line = |l: &Line| {
            let all = [Some(&l.id), Some(&l.label), l.group.as_ref(), l.site.as_ref()];
            all.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
        };
        Ok(format!("{} | {}", table.lines.iter().map(line).collect::<Vec<_>>().join("; "), table.remarks.join(" | ")))
    }

    #[test]
    fn patients_and_their_slides_meet() {
        let none = ColumnNames::default();
        let told = paired(
            "PATIENT,isMSIH\n007,MSIH\nb,NA\nc,no\n",
            "FILENAME,PATIENT\nx/1.h5,007\n2.h5,007\n3.h5,b\n4.h5,d\n",
            &none,
        );
        let told = told.unwrap();
        assert!(told.starts_with("x/1.h5 MSIH 007; 2.h5 MSIH 007; 3.h5 NA b | "), "{told}");
        for remark in [
            "'PATIENT', their labels in 'isMSIH'; slides.csv: column 'FILENAME' names the slide",
            "1 slides of slides.csv are of patients that are not there, such as '4.h5'",
            "1 patients have no slide in slides.csv, such as 'c'",
        ] {
            assert!(told.contains(remark), "{told}");
        }
        // Names that are asked for; the table of slides may call its patients otherwise.
        let asked = ColumnNames {
            label: Some("sex".into()),
            group: Some("who".into()),
            bag: Some("scan".into()),
            ..none.clone()
        };
        let told = paired("who,age,sex\np,9,f\n", "case,scan,block\np,s,1\n", &asked).unwrap();
        assert!(told.starts_with("s f p |"), "{told}");
        let with_sites = "PATIENT,sex,site\np,f,Oslo\np,f,Oslo\n";
        assert!(paired(with_sites, "PATIENT,FILENAME\np,s\n", &none).unwrap().starts_with("s f p Oslo |"));
    }

    #[test]
    fn what_cannot_be_decided_is_refused() {
        let none = ColumnNames::default();
        let refused = |clini: &str, slides: &str, what: &str| {
            let message = paired(clini, slides, &none).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        };
        let slides = "PATIENT,FILENAME\np,s\n";
        refused("PATIENT,age,sex\np,9,f\n", slides, "or --label-column NAME; the columns are 'PATIENT', 'age', 'sex'");
        refused("name,sex\np,f\n", slides, "or --patient-column NAME");
        refused("PATIENT,sex\np,f\np,m\n", slides, "lines 2 and 3 are both of patient 'p' and say 'f' and 'm'");
        refused("PATIENT,sex,site\np,f,a\np,f,b\n", slides, "say 'a' and 'b'; expected one site");
        refused("PATIENT,sex,site\np,f,\n", slides, "line 2: patient 'p' has no site");
        refused("PATIENT,sex\n,f\n", slides, "line 2: expected a patient");
        refused("PATIENT,sex\n7,f\n", slides, "none of its patients is in clini.csv: it has 'p', clini.csv has '7'");
        refused(
            "PATIENT,sex\np,f\n",
            "PATIENT,FILENAME\np,\n",
            "line 2: expected a patient and a slide, found no slide",
        );
        refused(
            "PATIENT,sex\np,f\n",
            "PATIENT,a,b\np,1,2\n",
            "or --id-column NAME; the columns are 'PATIENT', 'a', 'b'",
        );
        refused("PATIENT,sex\np,f\n", "FILENAME,b\ns,1\n", "or --patient-column NAME; the columns are 'FILENAME', 'b'");
    }
}
