//! A line for each slide or patient, and its part in a column; with several such columns one has to be chosen.

use super::super::super::classes::is_unknown;
use super::super::super::text::ColumnNames;
use super::super::sheet::Sheet;
use super::super::table::columns::Names;
use super::{Division, part_of};

/// The columns that hold nothing but names of parts, train among them.
pub(in super::super) fn columns_of_parts(sheet: &Sheet) -> Vec<usize> {
    let is = |at: &usize| {
        let parts = || sheet.rows.iter().map(|row| row.field(*at)).filter(|text| !is_unknown(text)).map(part_of);
        parts().all(|part| part.is_some()) && parts().any(|part| part == Some(super::Split::Train))
    };
    (0..sheet.columns.len()).filter(is).collect()
}

/// The division in the column that is called `which`, or in the only one that has parts.
///
/// # Errors
/// When there is none, when there are several to choose from, or when the lines of what is it are not known.
pub(super) fn read(sheet: &Sheet, which: Option<&str>, asked: &ColumnNames) -> Result<Division, String> {
    let columns = columns_of_parts(sheet);
    let names = |columns: &[usize]| columns.iter().map(|&at| format!("'{}'", sheet.columns[at])).collect::<Vec<_>>();
    let column = match which {
        Some(which) => sheet.columns.iter().position(|name| name == which).ok_or_else(|| {
            let found = names(&columns).join(", ");
            let found = if found.is_empty() { format!("none; the columns are {}", sheet.listed()) } else { found };
            format!("no column is called '{which}' (--which-split); those with train, val and test are {found}")
        })?,
        None => match columns[..] {
            [only] => only,
            [] => {
                return Err(format!(
                    "expected columns called train, val and test, once each, or a column that has train, val or test for \
                     each slide; found {}",
                    sheet.listed()
                ));
            }
            _ => {
                let names = names(&columns).join(", ");
                return Err(format!(
                    "has {} divisions, the columns {names}: which one? (--which-split NAME)",
                    columns.len()
                ));
            }
        },
    };

    let mut known = Names::of(sheet);
    let mut place = |name: &Option<String>| known.given(name, "").ok().flatten();
    let (id, group) = (place(&asked.bag), place(&asked.group));
    let id = id.or_else(|| known.id());
    let group = group.or_else(|| known.group());
    let (of, of_patients) = match (id, group) {
        (Some(id), _) => (id, false),
        (None, Some(group)) => (group, true),
        (None, None) => return Err(known.lacks_ids()),
    };
    let mut division = Division { of_patients, ..Division::default() };
    let (name, who) = (&sheet.columns[column], if of_patients { "patient" } else { "slide" });
    division
        .remarks
        .push(format!("{}: column '{name}' says the part of the {who} in '{}'", sheet.name, sheet.columns[of]));
    for row in &sheet.rows {
        let (slide, part) = (row.field(of), row.field(column));
        if is_unknown(part) || is_unknown(slide) {
            continue;
        }
        let Some(part) = part_of(part) else {
            let line = row.number;
            return Err(format!("line {line}: expected train, val or test in column '{name}', found '{part}'"));
        };
        division.parts.push((slide.to_owned(), part));
    }
    Ok(division)
}
