//! The one writer of CSV: cells in quotes where they need them, and names that no spreadsheet takes for a formula.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

/// A line at a time.
pub struct Csv<'a, W: Write + ?Sized> {
    out: &'a mut W,
    begun: bool,
}

impl<'a, W: Write + ?Sized> Csv<'a, W> {
    /// Writes to `out`.
    pub fn new(out: &'a mut W) -> Self {
        Self { out, begun: false }
    }

    /// A cell with a name, or other words that come from a file.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn name(&mut self, text: &str) -> io::Result<&mut Self> {
        self.cell(field(&harmless(text)))
    }

    /// A cell with a number, or a word of this program.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn cell(&mut self, value: impl Display) -> io::Result<&mut Self> {
        if std::mem::replace(&mut self.begun, true) {
            self.out.write_all(b",")?;
        }
        write!(self.out, "{value}")?;
        Ok(self)
    }

    /// The end of the line.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        self.begun = false;
        self.out.write_all(b"\n")
    }
}

/// Spreadsheets compute a cell that begins with one of these, even one in quotes; an apostrophe in front makes it text.
/// Numbers stay numbers.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let number = || text.parse::<f64>().is_ok_and(f64::is_finite);
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number() {
        true => format!("'{text}").into(),
        false => text.into(),
    }
}

fn field(text: &str) -> Cow<'_, str> {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")).into(),
        false => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(names: &[&str]) -> String {
        let mut out = Vec::new();
        let mut csv = Csv::new(&mut out);
        names.iter().try_for_each(|name| csv.name(name).map(|_| ())).unwrap();
        csv.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_quoted() {
        assert_eq!(line(&["with 9", "a,\"b\"", "", "x"]), "with 9,\"a,\"\"b\"\"\",,x\n");
        assert_eq!(line(&[""]), "\n");
    }

    #[test]
    fn names_are_no_formulas() {
        assert_eq!(line(&["=1+1", "@SUM(A1)", "+x", "-x"]), "'=1+1,'@SUM(A1),'+x,'-x\n");
        assert_eq!(line(&["\tx", "\r=1", "=HYPERLINK(\"a\",1)"]), "'\tx,\"'\r=1\",\"'=HYPERLINK(\"\"a\"\",1)\"\n");
        // Classes are often called -1 and 1.
        assert_eq!(line(&["-1", "+1.5e3", "-1.5", "-inf", "a=b"]), "-1,+1.5e3,-1.5,'-inf,a=b\n");
        let mut out = Vec::new();
        Csv::new(&mut out).cell(-1.5).unwrap().cell(f32::NAN).unwrap().end().unwrap();
        assert_eq!(out, b"-1.5,NaN\n");
    }
}
