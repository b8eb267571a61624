//! Values as text, as a table has them.

use super::{Kind, Leaf, Parquet, Piece, Reason};
use crate::data::slides::format::Number;
use half::f16;
use std::ops::Range;

impl Parquet {
    /// Hands the value of each of the rows `rows` to `take` as text; nothing where it is missing. What is the same as in the row
    /// before is not made again.
    ///
    /// # Errors
    /// What is wrong with them, or what `take` says.
    pub fn cells(
        &self,
        leaf: usize,
        rows: Range<u64>,
        mut take: impl FnMut(u64, &str) -> Result<(), Reason>,
    ) -> Result<(), Reason> {
        let (mut row, mut last, mut text) = (rows.start, None::<Vec<u8>>, String::new());
        let of = &self.leaves[leaf];
        let mut one = |value: Option<&[u8]>| {
            match value {
                Some(value) if last.as_deref() == Some(value) => {}
                Some(value) => {
                    let wrong = || format!("column {}, row {row} (0-based): expected UTF-8 text", of.name);
                    text = cell(of, value).ok_or_else(wrong)?;
                    last = Some(value.to_vec());
                }
                None => (last, text) = (None, String::new()),
            }
            row += 1;
            take(row - 1, &text)
        };
        self.read(leaf, &[rows], 1, &mut |piece| match piece {
            Piece::Numbers(bytes) => bytes.chunks_exact(of.size.max(1)).try_for_each(|value| one(Some(value))),
            Piece::Texts(texts) => texts.iter().try_for_each(|value| one(Some(value))),
            Piece::Missing(_) => one(None),
        })
    }
}

/// A value as text.
fn cell(leaf: &Leaf, value: &[u8]) -> Option<String> {
    fn whole(value: f64, text: String) -> String {
        // As people write them: whole numbers without a point.
        if value.fract() == 0.0 && value.abs() < (1u64 << 53) as f64 { format!("{value:.0}") } else { text }
    }
    Some(match &leaf.kind {
        Kind::Text => std::str::from_utf8(value).ok()?.trim().to_owned(),
        Kind::Date => date(i32::from_le_bytes(value.try_into().ok()?).into()),
        Kind::Number(Number::F16) => {
            let value = f16::from_le_bytes(value.try_into().ok()?);
            whole(value.into(), value.to_string())
        }
        Kind::Number(Number::F32) => {
            let value = f32::from_le_bytes(value.try_into().ok()?);
            whole(value.into(), value.to_string())
        }
        Kind::Number(Number::F64) => {
            let value = f64::from_le_bytes(value.try_into().ok()?);
            whole(value, value.to_string())
        }
        Kind::Number(Number::Integer(1, _)) => if value == [1] { "True" } else { "False" }.to_owned(),
        Kind::Number(Number::Integer(4, true)) => i32::from_le_bytes(value.try_into().ok()?).to_string(),
        Kind::Number(Number::Integer(4, false)) => u32::from_le_bytes(value.try_into().ok()?).to_string(),
        Kind::Number(Number::Integer(_, true)) => i64::from_le_bytes(value.try_into().ok()?).to_string(),
        Kind::Number(Number::Integer(_, false)) => u64::from_le_bytes(value.try_into().ok()?).to_string(),
        Kind::Number(Number::Bf16) | Kind::Other(_) => return None,
    })
}

/// The day so many days after the beginning of 1970, as 2026-12-01.
fn date(days: i64) -> String {
    // Years from March on, so that the day of leap years is their last; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + i64::from(month <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        let dates = [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (19_782, "2024-02-29"),
            (11_017, "2000-03-01"),
            (20_788, "2026-12-01"),
        ];
        dates.iter().for_each(|&(days, text)| assert_eq!(date(days), text));
    }
}
