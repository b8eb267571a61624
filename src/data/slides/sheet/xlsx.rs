//! The first table of a workbook of Excel: a zip archive of XML files.

use super::super::zip::{Archive, Member};
use super::xml::{Attributes, Event, Events, unescaped};
use std::fs::File;
use std::path::Path;

/// Bytes of an XML file in a workbook, at most.
const LONGEST: u64 = 256 << 20;

/// Columns of a table, at most, as in Excel.
const MOST_COLUMNS: usize = 16_384;

/// Text of all cells together, at most: many cells may be of one long text.
const MOST_TEXT: usize = 256 << 20;

/// The number of a row, and what its cells say.
type Row = (u64, Vec<String>);

/// The rows of the first table, each with its number, and the names of the tables behind it.
///
/// # Errors
/// What is wrong with the workbook.
pub(super) fn read(path: &Path) -> Result<(Vec<Row>, Vec<String>), String> {
    let open = || File::open(path).map_err(|e| e.to_string());
    let archive = Archive::open(&mut open()?)?;
    let member = |name: &str| archive.members.iter().find(|m| m.name == name);
    let content = |member: &Member| member.content(open()?, LONGEST);
    let Some(workbook) = member("xl/workbook.xml") else {
        return Err("expected a table as csv or xlsx; the archive has no xl/workbook.xml".into());
    };
    let sheets = sheets(&content(workbook)?)?;
    let Some(((_, id), others)) = sheets.split_first() else { return Err("the workbook has no table".into()) };
    let links = member("xl/_rels/workbook.xml.rels").ok_or("the workbook does not say where its tables are")?;
    let target = target(&content(links)?, id)?;
    let sheet = member(&target).ok_or_else(|| format!("the workbook has no {target}"))?;
    let texts = member("xl/sharedStrings.xml").map(|m| shared(&content(m)?)).transpose()?.unwrap_or_default();
    let rows = rows(&content(sheet)?, &texts)?;
    Ok((rows, others.iter().map(|(name, _)| name.clone()).collect()))
}

/// Names of the tables, and what links call them.
fn sheets(workbook: &[u8]) -> Result<Vec<(String, String)>, String> {
    let (mut sheets, mut events) = (Vec::new(), Events::of(workbook)?);
    while let Some(event) = events.next()? {
        if let Event::Start("sheet", attributes) = event {
            // `id` comes with a prefix, and `sheetId` is another number.
            let (name, id) = (attributes.get("name"), attributes.get("id"));
            sheets.push((name.unwrap_or_default(), id.ok_or("a table of the workbook has no id")?));
        }
    }
    Ok(sheets)
}

/// Where the link `id` leads.
fn target(links: &[u8], id: &str) -> Result<String, String> {
    let mut events = Events::of(links)?;
    while let Some(event) = events.next()? {
        if let Event::Start("Relationship", attributes) = event
            && attributes.get("Id").as_deref() == Some(id)
        {
            let target = attributes.get("Target").unwrap_or_default();
            // From the root of the archive, or from `xl`.
            return Ok(target.strip_prefix('/').map_or_else(|| format!("xl/{target}"), str::to_owned));
        }
    }
    Err(format!("the workbook does not say where its table {id} is"))
}

/// The texts that cells share.
fn shared(strings: &[u8]) -> Result<Vec<String>, String> {
    let (mut all, mut events) = (Vec::new(), Events::of(strings)?);
    while let Some(event) = events.next()? {
        if let Event::Start("si", _) = event {
            all.push(text_until(&mut events, "si")?);
        }
    }
    Ok(all)
}

/// All text in elements `t` until the end of `outer`. How words are pronounced (`rPh`) is none of it.
fn text_until(events: &mut Events, outer: &str) -> Result<String, String> {
    let (mut text, mut within, mut spoken) = (String::new(), false, false);
    loop {
        match events.next()?.ok_or("the XML ends early")? {
            Event::Start("t", _) => within = !spoken,
            Event::End("t") => within = false,
            Event::Start("rPh", _) => spoken = true,
            Event::End("rPh") => spoken = false,
            Event::Text(more) if within => text += &unescaped(more)?,
            Event::End(name) if name == outer => return Ok(text),
            _ => {}
        }
    }
}

/// The rows of a table. Cells behind the last name of a column are refused as soon as they are seen.
fn rows(sheet: &[u8], texts: &[String]) -> Result<Vec<Row>, String> {
    let (mut rows, mut events): (Vec<Row>, _) = (Vec::new(), Events::of(sheet)?);
    let (mut number, mut next, mut length) = (0, 0, 0);
    let (mut fields, mut width): (Vec<String>, usize) = (Vec::new(), MOST_COLUMNS);
    while let Some(event) = events.next()? {
        match event {
            Event::Start("row", attributes) => {
                number = match attributes.get("r") {
                    Some(text) => text.parse().map_err(|_| format!("a row is called '{text}'"))?,
                    None => number + 1,
                };
                (next, fields) = (0, Vec::new());
            }
            Event::Start("c", attributes) => {
                let at = attributes.get("r").map_or(Some(next), |name| column(&name));
                let at = at.filter(|&at| at < MOST_COLUMNS && at >= next);
                let at = at.ok_or_else(|| format!("row {number}: a cell is in no column, or in one of another"))?;
                next = at + 1;
                let text = cell(&mut events, attributes, texts).map_err(|e| format!("row {number}: {e}"))?;
                let text = text.trim();
                if text.is_empty() {
                    continue;
                }
                if at >= width {
                    return Err(format!("row {number}: a cell in column {next}, and names of {width} columns"));
                }
                length += text.len() + size_of::<String>() * (next - fields.len());
                if length > MOST_TEXT {
                    return Err(format!("its cells have more than {MOST_TEXT} bytes"));
                }
                fields.resize(at, String::new());
                fields.push(text.to_owned());
            }
            Event::End("row") if !fields.is_empty() => {
                if rows.is_empty() {
                    width = fields.len();
                }
                rows.push((number, std::mem::take(&mut fields)));
            }
            _ => {}
        }
    }
    Ok(rows)
}

/// The column of a cell that is called like `C5`, from 0.
fn column(name: &str) -> Option<usize> {
    let letters = name.bytes().take_while(u8::is_ascii_uppercase);
    let number = letters.take(4).fold(0, |number, letter| number * 26 + usize::from(letter - b'A') + 1);
    number.checked_sub(1)
}

/// What a cell says, behind its start.
fn cell(events: &mut Events, attributes: Attributes, texts: &[String]) -> Result<String, String> {
    let kind = attributes.get("t").unwrap_or_default();
    if kind == "inlineStr" {
        return text_until(events, "c");
    }
    let (mut value, mut within, mut formula) = (None, false, false);
    loop {
        match events.next()?.ok_or("the XML ends early")? {
            Event::Start("v", _) => (value, within) = (value.or(Some(String::new())), true),
            Event::End("v") => within = false,
            Event::Start("f", _) => formula = true,
            Event::Text(text) if within => value.get_or_insert_default().push_str(&unescaped(text)?),
            Event::End("c") => break,
            _ => {}
        }
    }
    let Some(value) = value else {
        return match formula {
            true => Err("a formula has no value; open the workbook and save it, or save it as csv".into()),
            false => Ok(String::new()),
        };
    };
    match &kind[..] {
        "s" => {
            let text = value.trim().parse::<usize>().ok().and_then(|at| texts.get(at));
            text.cloned().ok_or_else(|| format!("the workbook has no text '{value}'"))
        }
        "b" => Ok(if value.trim() == "1" { "TRUE".into() } else { "FALSE".into() }),
        "" | "n" => Ok(number(&value)),
        // Texts of formulas, errors, dates as text.
        _ => Ok(value),
    }
}

/// A number as people see it: whole ones without a point, of `1.5E3` too.
fn number(text: &str) -> String {
    let whole = text.trim().parse::<f64>().ok().filter(|v| v.fract() == 0.0 && v.abs() < (1u64 << 53) as f64);
    whole.map_or_else(|| text.trim().to_owned(), |v| format!("{v:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_placed_by_their_names() {
        assert_eq!(
            (column("A1"), column("Z9"), column("AA10"), column("XFD1")),
            (Some(0), Some(25), Some(26), Some(16_383))
        );
        assert_eq!((column("1"), column("")), (None, None));
        assert_eq!(
            (number("7.0"), number("1.5E3"), number("0.25"), number("-0")),
            ("7".into(), "1500".into(), "0.25".into(), "-0".into())
        );
        let sheet = r#"<x:worksheet><x:row r="1"/><x:row r="3"><x:c r="B3" t="s"><x:v>1</x:v></x:c><x:c r="D3"><x:v>7.0</x:v></x:c>
            <x:c t="inlineStr"><x:is><x:r><x:t>a</x:t></x:r><x:r><x:t> b</x:t></x:r><x:rPh><x:t>z</x:t></x:rPh></x:is></x:c><x:c r="F3" s="4"/></x:row>
            <x:row><x:c t="b"><x:v>1</x:v></x:c><x:c t="e"><x:v>#N/A</x:v></x:c></x:row></x:worksheet>"#;
        let texts = ["x".to_owned(), "007".to_owned()];
        let rows = rows(sheet.as_bytes(), &texts).unwrap();
        assert_eq!(
            rows,
            [(3, ["", "007", "", "7", "a b"].map(String::from).to_vec()), (4, vec!["TRUE".into(), "#N/A".into()])]
        );
    }

    #[test]
    fn what_is_no_cell_is_told() {
        let refused = |cell: &str, what: &str| {
            let message = rows(format!("<row r=\"2\">{cell}</row>").as_bytes(), &[]).unwrap_err();
            assert!(message.contains(what), "{cell}: {message}");
        };
        refused("<c r=\"A2\"><f>B2+1</f></c>", "row 2: a formula has no value");
        refused("<c r=\"A2\" t=\"s\"><v>5</v></c>", "row 2: the workbook has no text '5'");
        refused("<c r=\"ZZZZ2\"/>", "row 2: a cell is in no column");
        refused("<c r=\"B2\"/><c r=\"A2\"/>", "in one of another");
        refused("<c><v>1", "the XML ends early");
        let more = "<c><v>1</v></c></row><row r=\"7\"><c r=\"C7\"><v>1</v></c>";
        refused(more, "row 7: a cell in column 3, and names of 1 columns");
    }
}
