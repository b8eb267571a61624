//! The page of a folder of maps: every slide with its picture, to be sorted.

use super::scale::chance;
use crate::report::Judged;
use crate::report::html::{STYLE, escape, judged as judged_html};
use std::fmt::Write;

const MORE_STYLE: &str = include_str!("page.css");
/// Sorting, and keys; without it the page has the slides in their order.
const SCRIPT: &str = include_str!("page.js");

/// A slide on the page.
#[derive(Clone, Debug, Default)]
pub struct Card {
    /// The slide.
    pub name: String,
    /// File names of its pictures, with what each shows; the first is the one on the page.
    pub pictures: Vec<(String, String)>,
    /// File names of what else there is of it, with what each is.
    pub files: Vec<(String, String)>,
    /// The class that it has, where that is known.
    pub label: Option<String>,
    /// The class it was taken for, or what else was predicted.
    pub predicted: String,
    /// The probability of that, where it is a class.
    pub probability: Option<f64>,
    /// The number or risk that was predicted, where it is no class.
    pub value: Option<f64>,
    /// Whether that is right, where it is known.
    pub right: Option<bool>,
    /// What the slide was for the model: "trained on", "validation", "test"; where that is known.
    pub part: Option<String>,
    /// Number of patches.
    pub patches: usize,
    /// What has to be known of its map besides.
    pub remarks: Vec<String>,
}

impl Card {
    /// How far the slide is from being told rightly and surely: 1 less the probability of its label where that is known to be
    /// what it was taken for, above 1 where it is wrong, the more the surer the model was.
    fn error(&self) -> f64 {
        let probability = self.probability.unwrap_or_default();
        match self.right {
            Some(false) => 1.0 + probability,
            Some(true) => 1.0 - probability,
            None => -1.0,
        }
    }
}

/// The page; `title` and `summary` stand above the slides, how right the model is and `notes` below.
pub fn page(title: &str, summary: &str, notes: &[String], cards: &[Card], judged: Option<&Judged>) -> String {
    let title = escape(title);
    let mut out = String::from("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>");
    out += r#"<meta name="viewport" content="width=device-width, initial-scale=1"/>"#;
    out += r#"<meta name="color-scheme" content="light dark"/>"#;
    out += crate::files::GENERATOR;
    // Pictures lie beside the page, and nothing comes from elsewhere.
    out += r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src 'self' file: data:; "#;
    out += r#"style-src 'unsafe-inline'; script-src 'unsafe-inline'"/>"#;
    let _ = write!(out, "<title>{title}</title><style>{STYLE}{MORE_STYLE}</style></head>\n<body><main>");
    let _ = write!(out, r#"<header class="top"><h1>{title}</h1><p>{}"#, escape(summary));
    if judged.is_some() {
        out += r##" <a href="#judged">How right it is</a>"##;
    }
    out += "</p></header>";
    let of_classes = cards.iter().all(|card| card.value.is_none());
    let labelled = cards.iter().any(|card| card.right.is_some());
    out += r#"<div class="sort" role="group" aria-label="Order of the slides"><span>Order</span>"#;
    let orders = [
        ("name", "name", true),
        ("p", if of_classes { "probability" } else { "largest first" }, true),
        ("unsure", "least sure first", of_classes),
        ("error", "errors first", labelled),
    ];
    for (key, told, _) in orders.iter().filter(|(.., there)| *there) {
        let pressed = *key == "name";
        let _ = write!(out, r#"<button type="button" data-by="{key}" aria-pressed="{pressed}">{told}</button>"#);
    }
    out += "<kbd>j</kbd> <kbd>k</kbd> <span>next, previous</span> <kbd>Enter</kbd> <span>open</span></div>\n<div class=\"slides\">";
    cards.iter().enumerate().for_each(|(at, card)| one(&mut out, at, card));
    out += "</div>\n";
    out += &judged.map(judged_html).unwrap_or_default();
    if !notes.is_empty() {
        out += r#"<section class="said"><h2>How to read it</h2>"#;
        for note in notes {
            let _ = write!(out, r#"<p class="note">{}</p>"#, escape(note));
        }
        out += "</section>";
    }
    let _ = writeln!(
        out,
        "<footer>bagrad {}</footer></main><script>{SCRIPT}</script></body></html>",
        env!("CARGO_PKG_VERSION")
    );
    out
}

fn one(out: &mut String, at: usize, card: &Card) {
    let name = escape(&card.name);
    let _ = write!(
        out,
        r#"<article class="slide" data-name="{at}" data-p="{:.6}" data-unsure="{:.6}" data-error="{:.6}">"#,
        -card.probability.or(card.value).unwrap_or_default(),
        card.probability.unwrap_or_default(),
        -card.error()
    );
    if let Some((file, told)) = card.pictures.first() {
        let _ = write!(
            out,
            r#"<a class="map" href="{0}"><img loading="lazy" src="{0}" alt="Map of {name}: {1}"/></a>"#,
            address(file),
            escape(told)
        );
    }
    let _ = write!(out, "<h3>{name}</h3><p>");
    if let Some(part) = &card.part {
        let _ = write!(out, r#"<span class="chip">{}</span> "#, escape(part));
    }
    if let Some(label) = &card.label {
        let _ = write!(out, r#"<span class="chip">label <b>{}</b></span> "#, escape(label));
    }
    let verdict = match card.right {
        Some(true) => " right",
        Some(false) => " wrong",
        None => "",
    };
    let predicted = escape(&card.predicted);
    let _ = write!(
        out,
        r#"<span class="chip{verdict}">predicted <b>{predicted}</b> {}</span></p>"#,
        card.probability.map(chance).unwrap_or_default()
    );
    let _ = write!(out, r#"<p class="links">{} patches"#, card.patches);
    for (file, told) in card.pictures.iter().skip(1).chain(&card.files) {
        let _ = write!(out, r#" · <a href="{}">{}</a>"#, address(file), escape(told));
    }
    out.push_str("</p>");
    for remark in &card.remarks {
        let _ = write!(out, r#"<p class="note">{}</p>"#, escape(remark));
    }
    out.push_str("</article>");
}

/// The address of a file beside the page: what is no letter or digit as bytes.
fn address(file: &str) -> String {
    let mut out = String::from("./");
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_on_the_page_and_nothing_else() {
        let card = Card {
            name: "<script>alert(1)</script>".into(),
            pictures: vec![("a \"b\"#1%.png".into(), "attention".into())],
            files: vec![("a.csv".into(), "<b>".into())],
            label: Some("\"x\"".into()),
            predicted: "y&z".into(),
            probability: Some(0.75),
            value: None,
            right: Some(false),
            part: Some("<u>".into()),
            patches: 3,
            remarks: vec!["a < b".into()],
        };
        let judged = Judged { title: "<s>".into(), results: vec![("AUC".into(), "<0.9>".into())], ..Judged::default() };
        let page = page("maps & more", "", &["<i>".into()], &[card], Some(&judged));
        assert!(page.contains("&lt;u&gt;") && page.contains("<h2>&lt;s&gt;</h2>") && page.contains("&lt;0.9&gt;"));
        assert!(page.contains("href=\"#judged\"") && page.contains("id=\"judged\""));
        assert!(page.contains(r#"<p class="note">a &lt; b</p></article>"#), "{page}");
        assert_eq!(page.matches("<script>").count(), 1);
        assert!(page.contains("href=\"./a%20%22b%22%231%25.png\"") && page.contains("label <b>&quot;x&quot;</b>"));
        assert!(page.contains("predicted <b>y&amp;z</b> 0.750") && page.contains("data-error=\"-1.750000\""));
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing from elsewhere");
    }

    #[test]
    fn errors_are_told_where_labels_are() {
        let card = Card { predicted: "a".into(), ..Card::default() };
        let plain = page("", "", &[], std::slice::from_ref(&card), None);
        assert!(!plain.contains("errors first") && !plain.contains("judged"));
        assert!(page("", "", &[], &[Card { right: Some(true), ..card }], None).contains("errors first"));
    }
}
