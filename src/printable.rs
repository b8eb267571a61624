//! What people read: names and paths come from files, and a terminal obeys control characters in them.

use std::borrow::Cow;

/// True for what moves the cursor, changes colours or titles, or turns the direction of text around.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with control characters escaped, line breaks too.
pub fn printable(text: &str) -> Cow<'_, str> {
    escape(text, is_control)
}

/// As [`printable`], of a text whose line breaks are meant.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape(text, |c| c != '\n' && is_control(c))
}

fn escape(text: &str, escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&escaped) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match escaped(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        assert_eq!(printable("plain, dédié 日本"), "plain, dédié 日本");
        assert_eq!(printable("\u{1b}[31mred\u{7}\r\n"), "\\u{1b}[31mred\\u{7}\\r\\n");
        // C1 controls, delete, and marks that turn text around.
        assert_eq!(printable("a\u{9b}b\u{7f}c\u{202e}d"), "a\\u{9b}b\\u{7f}c\\u{202e}d");
        assert_eq!(printable_lines("one\ntwo\u{1b}c\n"), "one\ntwo\\u{1b}c\n");
    }
}
