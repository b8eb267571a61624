//! The WGSL preprocessor: `#import`, `#if NAME` / `#else` / `#endif`, `${NAME}`.
//!
//! Lines that are switched off become empty lines and an import becomes one chunk in front, so that line
//! numbers in a compiler's message still point into the file that a person edits.

use crate::kernels::source;
use std::fmt::Write;

/// The text of `shaders/<file>.wgsl` for the given choices.
///
/// A name is true when it is defined and not 0. Unknown directives and unclosed conditions are panics:
/// the shaders are part of the crate.
pub fn preprocess(file: &str, defines: &[(&str, u32)]) -> String {
    preprocess_from(&|file| source(file).to_string(), file, defines)
}

/// [`preprocess`] with the text of each file from elsewhere than this crate: the folder `shaders/` as it is now.
pub fn preprocess_from(source: &dyn Fn(&str) -> String, file: &str, defines: &[(&str, u32)]) -> String {
    let mut imports = String::new();
    let mut body = String::new();
    let mut seen = Vec::new();
    expand(source, file, defines, &mut seen, &mut imports, &mut body);
    // `enable` directives must come before anything else, wherever they were written.
    let text = body + &imports;
    let is_enable = |line: &&str| line.trim_start().starts_with("enable ");
    let mut out = text.lines().filter(is_enable).collect::<String>();
    text.lines().for_each(|line| {
        out.push_str(if is_enable(&line) { "" } else { line });
        out.push('\n');
    });
    out
}

fn expand(
    source: &dyn Fn(&str) -> String,
    file: &str,
    defines: &[(&str, u32)],
    seen: &mut Vec<String>,
    imports: &mut String,
    out: &mut String,
) {
    let value = |name: &str| defines.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    let mut active = vec![true];
    for (number, line) in source(file).lines().enumerate() {
        let trimmed = line.trim_start();
        let on = active.iter().all(|&a| a);
        if let Some(name) = trimmed.strip_prefix("#if ") {
            let name = name.trim();
            let truth = match name.strip_prefix('!') {
                Some(name) => value(name).unwrap_or(0) == 0,
                None => value(name).unwrap_or(0) != 0,
            };
            active.push(truth);
        } else if trimmed.starts_with("#else") {
            let last = active.last_mut().expect("#else without #if");
            *last = !*last;
        } else if trimmed.starts_with("#endif") {
            assert!(active.len() > 1, "{file}:{}: #endif without #if", number + 1);
            active.pop();
        } else if let Some(name) = trimmed.strip_prefix("#import ") {
            let name = name.trim();
            if on && !seen.iter().any(|s| s == name) {
                seen.push(name.to_string());
                let mut text = String::new();
                expand(source, name, defines, seen, imports, &mut text);
                imports.push_str(&text);
            }
        } else {
            assert!(!trimmed.starts_with('#'), "{file}:{}: unknown directive {trimmed:?}", number + 1);
            if on {
                substitute(line, &value, out, file, number + 1);
            }
        }
        out.push('\n');
    }
    assert!(active.len() == 1, "{file}: #if without #endif");
}

fn substitute(line: &str, value: &impl Fn(&str) -> Option<u32>, out: &mut String, file: &str, number: usize) {
    let mut rest = line;
    while let Some(start) = rest.find("${") {
        out.push_str(&rest[..start]);
        let end = rest[start..].find('}').expect("an open ${") + start;
        let name = &rest[start + 2..end];
        let v = value(name).unwrap_or_else(|| panic!("{file}:{number}: {name} is not defined"));
        write!(out, "{v}").unwrap();
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
}

/// An excerpt of `text` with line numbers around what a compiler complained about, or its first lines.
pub fn excerpt(text: &str, line: Option<usize>) -> String {
    let (from, to) = line.map_or((1, 12), |l| (l.saturating_sub(3).max(1), l + 3));
    let numbered = text.lines().enumerate().skip(from - 1).take(to + 1 - from);
    numbered.fold(String::new(), |mut s, (i, l)| {
        writeln!(s, "{:>5} | {l}", i + 1).unwrap();
        s
    })
}
