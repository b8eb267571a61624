//! As much of XML as the tables of spreadsheets are written in: elements, attributes, text. Nothing outside of the text is
//! looked up, so no entity grows.

/// One thing after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// An element begins; its name without the prefix, its attributes as they are written.
    Start(&'a str, Attributes<'a>),
    /// An element ends. One that is empty begins and ends.
    End(&'a str),
    /// Text as it is written; [`unescaped`] is what it says.
    Text(&'a str),
}

/// The attributes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attributes<'a>(&'a str);

impl Attributes<'_> {
    /// The value of the attribute that is called so, prefixes left out.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut rest = self.0.trim_start();
        while let Some((key, after)) = rest.split_once('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|quote| "\"'".contains(*quote))?;
            let (value, after) = after[1..].split_once(quote)?;
            if local(key.trim()) == name {
                return unescaped(value).ok();
            }
            rest = after.trim_start();
        }
        None
    }
}

/// A name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}

/// The events of a text.
pub(super) struct Events<'a> {
    rest: &'a str,
    /// The end of an element that is empty.
    pending: Option<&'a str>,
}

impl<'a> Events<'a> {
    /// # Errors
    /// When the text is not UTF-8.
    pub fn of(text: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).map_err(|_| "expected XML in UTF-8".to_owned())?;
        Ok(Self { rest: text.trim_start_matches('\u{feff}'), pending: None })
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn next(&mut self) -> Result<Option<Event<'a>>, String> {
        if let Some(name) = self.pending.take() {
            return Ok(Some(Event::End(name)));
        }
        loop {
            let rest = self.rest;
            if rest.is_empty() {
                return Ok(None);
            }
            let Some(tag) = rest.strip_prefix('<') else {
                let end = rest.find('<').unwrap_or(rest.len());
                self.rest = &rest[end..];
                return Ok(Some(Event::Text(&rest[..end])));
            };
            let until = |end: &str| tag.split_once(end).ok_or_else(|| "the XML ends within a tag".to_owned());
            if tag.starts_with('?') {
                self.rest = until("?>")?.1;
            } else if tag.starts_with("!--") {
                self.rest = until("-->")?.1;
            } else if tag.starts_with('!') {
                return Err("expected XML without declarations of its own".into());
            } else if let Some(name) = tag.strip_prefix('/') {
                let (name, after) = name.split_once('>').ok_or("the XML ends within a tag")?;
                self.rest = after;
                return Ok(Some(Event::End(local(name.trim_end()))));
            } else {
                let end = end_of(tag).ok_or("the XML ends within a tag")?;
                self.rest = &tag[end + 1..];
                let tag = &tag[..end];
                let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
                let (name, attributes) = tag.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((tag, ""));
                let name = local(name);
                self.pending = empty.then_some(name);
                return Ok(Some(Event::Start(name, Attributes(attributes))));
            }
        }
    }
}

/// Where a tag ends: a value in quotes may have a `>`.
fn end_of(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if byte == open => quote = None,
            (None, b'>') => return Some(at),
            _ => {}
        }
    }
    None
}

/// What text says, its references resolved.
///
/// # Errors
/// When there is a reference to something that is not known.
pub(super) fn unescaped(text: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (name, after) = after.split_once(';').ok_or("a reference in the XML has no end")?;
        let number = name.strip_prefix("#x").map(|hex| u32::from_str_radix(hex, 16));
        let number = number.or_else(|| name.strip_prefix('#').map(str::parse));
        out.push(match (name, number) {
            ("lt", _) => '<',
            ("gt", _) => '>',
            ("amp", _) => '&',
            ("quot", _) => '"',
            ("apos", _) => '\'',
            (_, Some(Ok(code))) => char::from_u32(code).ok_or_else(|| format!("&{name}; is no character"))?,
            _ => return Err(format!("&{name}; is not known")),
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<String, String> {
        let mut events = Events::of(text.as_bytes())?;
        let mut out = Vec::new();
        while let Some(event) = events.next()? {
            out.push(match event {
                Event::Start(name, attributes) => format!("<{name} {}", attributes.get("r").unwrap_or_default()),
                Event::End(name) => format!("/{name}"),
                Event::Text(text) => unescaped(text)?,
            });
        }
        Ok(out.join("|"))
    }

    #[test]
    fn elements_and_text_follow_one_another() {
        let text =
            "\u{feff}<?xml version=\"1.0\"?><!-- a > b --><x:a q='1' x:r = \"A>1\"><b/>1 &lt; 2&#x20AC;&#233;</x:a >";
        assert_eq!(told(text).unwrap(), "<a A>1|<b |/b|1 < 2€é|/a");
        for (broken, what) in [
            ("<a", "ends within a tag"),
            ("<a b='", "ends within a tag"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]>", "without declarations"),
            ("<a>&b;</a>", "&b; is not known"),
            ("<a>&b</a>", "has no end"),
            ("&#x110000;", "no character"),
        ] {
            let message = told(broken).unwrap_err();
            assert!(message.contains(what), "{broken}: {message}");
        }
    }
}
