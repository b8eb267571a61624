//! Parts that are columns: `train,val,test` of CLAM, in both of its forms, and MIL_BASELINE's columns side by side.

use super::super::super::classes::is_unknown;
use super::super::super::split::Split;
use super::super::sheet::Sheet;
use super::super::table::columns::side_by_side;
use super::{Division, part_of};

fn truth(field: &str) -> Option<bool> {
    match field.to_lowercase().as_str() {
        "true" | "1" | "1.0" => Some(true),
        "false" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

/// The division, where parts are columns.
///
/// # Errors
/// When a part is a column twice.
pub(super) fn read(sheet: &Sheet) -> Result<Option<Division>, String> {
    let mut division = Division::default();
    let mut columns: Vec<(usize, Split)> =
        sheet.columns.iter().enumerate().filter_map(|(at, name)| Some((at, part_of(name)?))).collect();
    if columns.is_empty()
        && let Some(beside) = side_by_side(sheet)
    {
        columns = beside.into_iter().map(|b| (b.id, b.part)).collect();
    }
    for part in Split::ALL {
        let count = columns.iter().filter(|(_, p)| *p == part).count();
        if count > 1 || (count == 0 && part == Split::Train && !columns.is_empty()) {
            let listed = sheet.listed();
            return Err(format!("expected columns called train, val and test, once each; found {listed}"));
        }
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let bools = |at: usize| sheet.rows.iter().all(|row| truth(row.field(at)).is_some());
    let of_bools =
        !sheet.rows.is_empty() && columns.iter().all(|(at, _)| *at > 0) && columns.iter().all(|(at, _)| bools(*at));
    for row in &sheet.rows {
        for &(at, part) in &columns {
            let text = row.field(at);
            if of_bools && truth(text) == Some(true) {
                division.parts.push((row.field(0).to_owned(), part));
            } else if !of_bools && !is_unknown(text) {
                division.parts.push((text.to_owned(), part));
            }
        }
    }
    Ok(Some(division))
}
