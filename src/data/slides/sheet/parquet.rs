//! A table in a parquet file.

use super::super::ids::examples;
use super::super::parquet::{Kind, Parquet};
use std::path::Path;

/// Bytes of all cells together, at most.
const MOST: usize = 256 << 20;

/// Names of the columns, at most `lines` rows, and names of the columns that are none of a table.
pub(super) struct Read {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    pub remarks: Vec<String>,
}

/// # Errors
/// What is wrong with the file.
pub(super) fn read(path: &Path, lines: usize) -> Result<Read, String> {
    let file = Parquet::open(path)?;
    // Each row names something else, for which a byte is little.
    if file.rows > file.length {
        return Err(format!("{} rows in {} bytes are no table", file.rows, file.length));
    }
    let is = |at: &usize| !file.leaves[*at].list && !matches!(file.leaves[*at].kind, Kind::Other(_));
    let (used, left): (Vec<usize>, Vec<usize>) = (0..file.leaves.len()).partition(is);
    let names = |which: &[usize]| which.iter().map(|&at| file.leaves[at].name.clone()).collect::<Vec<_>>();
    let count = file.rows.min(lines as u64);
    let mut held = count as usize * used.len() * size_of::<String>();
    if held > MOST {
        return Err(format!("{count} rows of {} columns are no table", used.len()));
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for &at in &used {
        file.cells(at, 0..count, |row, text| {
            held += text.len();
            if held > MOST {
                return Err(format!("its cells have more than {MOST} bytes"));
            }
            if at == used[0] {
                rows.push(Vec::with_capacity(used.len()));
            }
            rows[row as usize].push(text.to_owned());
            Ok(())
        })?;
    }
    let mut remarks = Vec::new();
    if !left.is_empty() {
        remarks.push(format!(
            "columns that are lists, or of a type that no table has, are left out: {}",
            examples(&names(&left))
        ));
    }
    Ok(Read { columns: names(&used), rows, remarks })
}
