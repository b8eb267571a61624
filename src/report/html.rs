//! The page around the charts.

use super::{Report, Table, bag_picture, bars, charts, forest, log_chart, predictions};
use std::borrow::Cow;
use std::fmt::Write;

pub(crate) const STYLE: &str = include_str!("style.css");

/// `text` as it can stand in an element or in an attribute. Control characters, which no page may hold,
/// become spaces.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let special = |c: char| matches!(c, '&' | '<' | '>' | '"' | '\'') || c.is_control();
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The whole file.
pub(super) fn page(report: &Report) -> String {
    let title = escape(&report.title);
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>");
    out += r#"<meta name="viewport" content="width=device-width, initial-scale=1"/>"#;
    out += r#"<meta name="color-scheme" content="light dark"/>"#;
    out += crate::files::GENERATOR;
    // The page needs nothing from anywhere; this makes browsers hold it to that.
    out += r#"<meta http-equiv="Content-Security-Policy" "#;
    out += r#"content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"/>"#;
    let _ = write!(out, "<title>{title}</title><style>{STYLE}</style></head>\n<body><main>");
    let _ = write!(out, "<header class=\"top\"><h1>{title}</h1>");
    if !report.summary.is_empty() {
        let _ = write!(out, "<p>{}</p>", escape(&report.summary));
    }
    out += "</header>\n";
    let tables = [table("Results", "results", &report.results), table("Run", "facts", &report.facts)].concat();
    if !tables.is_empty() {
        let _ = writeln!(out, r#"<div class="tables">{tables}</div>"#);
    }
    let forests: String = report.forests.iter().map(forest::chart).collect();
    if !forests.is_empty() {
        let _ = writeln!(out, "<section><h2>Intervals</h2>{forests}</section>");
    }
    report.log_charts.iter().for_each(|chart| out += &log_chart::chart(chart));
    report.notes.iter().for_each(|note| out += &format!("<p class=\"note\">{}</p>\n", escape(note)));
    for (title, charts) in &report.charts {
        let charts: String = charts.iter().filter(|curve| !curve.series.is_empty()).map(charts::curve).collect();
        out += &grid(&escape(title), &charts);
    }
    report.bars.iter().for_each(|chart| out += &bars::chart(chart));
    report.tables.iter().for_each(|table| out += &wide_table(table));
    let curves: String = report.curves.iter().map(charts::curve).collect();
    out += &grid("Learning curves", &curves);
    out += &grid("Predictions", &report.predictions.as_ref().map(predictions::section).unwrap_or_default());
    out += &bag_picture::section(&report.bags, &report.shown);
    let _ = write!(out, "\n<footer>bagrad {}</footer></main></body></html>\n", env!("CARGO_PKG_VERSION"));
    out
}

/// Tables and charts of how right predictions are, to stand on a page of another kind.
pub(crate) fn judged(judged: &super::Judged) -> String {
    let mut charts: String = judged.curves.iter().map(charts::curve).collect();
    charts += &judged.predictions.as_ref().map(predictions::section).unwrap_or_default();
    let mut out = format!(r#"<div class="judged" id="judged"><h2>{}</h2>"#, escape(&judged.title));
    judged.notes.iter().for_each(|note| out += &format!("<p class=\"note\">{}</p>\n", escape(note)));
    out += &table("Scores", "results", &judged.results);
    out + &grid("Charts", &charts) + "</div>\n"
}

fn grid(title: &str, charts: &str) -> String {
    if charts.is_empty() {
        return String::new();
    }
    format!("<section><h2>{title}</h2><div class=\"charts\">{charts}</div></section>\n")
}

fn wide_table(table: &Table) -> String {
    let mut out =
        format!(r#"<section><h2>{}</h2><div class="scroll"><table class="wide"><thead><tr>"#, escape(&table.title));
    for name in &table.head {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(name));
    }
    out += "</tr></thead><tbody>";
    for row in &table.rows {
        out += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            let (open, close) = if at == 0 { ("<th scope=\"row\">", "</th>") } else { ("<td>", "</td>") };
            let _ = write!(out, "{open}{}{close}", escape(cell));
        }
        out += "</tr>";
    }
    out + "</tbody></table></div></section>\n"
}

fn table(title: &str, class: &str, rows: &[(String, String)]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut out = format!(r#"<section><h2>{title}</h2><table class="{class}"><tbody>"#);
    for (name, value) in rows {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape(name), escape(value));
    }
    out + "</tbody></table></section>"
}
