//! The compact protocol of Thrift, in which parquet files say what is in them. No length in it is believed.

use super::Reason;

/// Structs within structs; those of parquet are some six deep.
const DEEPEST: usize = 24;

const ENDS: &str = "the head of the file, or of a page, ends early";
const BROKEN: &str = "the head of the file, or of a page, is broken";

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Flag(bool),
    Byte,
    Integer,
    Double,
    Bytes,
    List,
    Map,
    Struct,
}

/// A reader of what is left.
pub struct Compact<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Compact<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, whole: bytes.len() }
    }

    /// Bytes that were read.
    pub fn read(&self) -> usize {
        self.whole - self.rest.len()
    }

    fn byte(&mut self) -> Result<u8, Reason> {
        let (&first, rest) = self.rest.split_first().ok_or(ENDS)?;
        self.rest = rest;
        Ok(first)
    }

    fn natural(&mut self) -> Result<u64, Reason> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BROKEN.into())
    }

    pub fn integer(&mut self) -> Result<i64, Reason> {
        let value = self.natural()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Reason> {
        let length = usize::try_from(self.natural()?).map_err(|_| ENDS)?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(ENDS)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub fn text(&mut self) -> Result<String, Reason> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn kind(code: u8) -> Result<Kind, Reason> {
        Ok(match code {
            1 => Kind::Flag(true),
            2 => Kind::Flag(false),
            3 => Kind::Byte,
            4..=6 => Kind::Integer,
            7 => Kind::Double,
            8 => Kind::Bytes,
            9 | 10 => Kind::List,
            11 => Kind::Map,
            12 => Kind::Struct,
            _ => return Err(BROKEN.into()),
        })
    }

    /// Hands the number and the kind of each field of a struct to `take`, which reads it and answers true, or leaves it and
    /// answers false.
    pub fn fields(&mut self, mut take: impl FnMut(&mut Self, i64, Kind) -> Result<bool, Reason>) -> Result<(), Reason> {
        let mut last = 0i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            last = match head >> 4 {
                0 => self.integer()?,
                more => last.saturating_add(more.into()),
            };
            let kind = Self::kind(head & 15)?;
            if !take(self, last, kind)? {
                self.skip(kind, 0)?;
            }
        }
    }

    /// The kind and the number of the items of a list, each of which has a byte at least.
    fn list_head(&mut self) -> Result<(Kind, usize), Reason> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => usize::try_from(self.natural()?).map_err(|_| ENDS)?,
            count => count.into(),
        };
        if count > self.rest.len() {
            return Err(ENDS.into());
        }
        // Flags are a byte each in a list; of an empty one some writers name no kind.
        let kind = match head & 15 {
            _ if count == 0 => Kind::Byte,
            1 | 2 => Kind::Byte,
            code => Self::kind(code)?,
        };
        Ok((kind, count))
    }

    /// The items of a list, each read by `read`.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Reason>) -> Result<Vec<T>, Reason> {
        let (_, count) = self.list_head()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn skip(&mut self, kind: Kind, deep: usize) -> Result<(), Reason> {
        if deep > DEEPEST {
            return Err(BROKEN.into());
        }
        match kind {
            Kind::Flag(_) => {}
            Kind::Byte => drop(self.byte()?),
            Kind::Integer => drop(self.natural()?),
            Kind::Double => {
                self.rest = self.rest.get(8..).ok_or(ENDS)?;
            }
            Kind::Bytes => drop(self.bytes()?),
            Kind::List => {
                let (kind, count) = self.list_head()?;
                (0..count).try_for_each(|_| self.skip(kind, deep + 1))?;
            }
            Kind::Map => {
                let count = self.natural()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    let (key, value) = (Self::kind(kinds >> 4)?, Self::kind(kinds & 15)?);
                    if count > self.rest.len() as u64 {
                        return Err(ENDS.into());
                    }
                    for _ in 0..count {
                        self.skip(key, deep + 1)?;
                        self.skip(value, deep + 1)?;
                    }
                }
            }
            Kind::Struct => loop {
                let head = self.byte()?;
                if head == 0 {
                    break;
                }
                if head >> 4 == 0 {
                    self.integer()?;
                }
                self.skip(Self::kind(head & 15)?, deep + 1)?;
            },
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_passed_over() {
        // Field 1: 300; 2: a struct with a list of two flags and a map; 3: text; 20: true.
        let bytes =
            [0x16, 0xd8, 0x04, 0x1c, 0x19, 0x21, 1, 2, 0x1b, 1, 0x85, 1, b'k', 9, 0, 0x18, 2, b'o', b'k', 0x01, 40, 0];
        let (mut number, mut text, mut flag) = (0, String::new(), false);
        let mut compact = Compact::new(&bytes);
        compact
            .fields(|c, field, kind| {
                match (field, kind) {
                    (1, Kind::Integer) => number = c.integer()?,
                    (3, Kind::Bytes) => text = c.text()?,
                    (20, Kind::Flag(value)) => flag = value,
                    _ => return Ok(false),
                }
                Ok(true)
            })
            .unwrap();
        assert_eq!((number, &text[..], flag, compact.read()), (300, "ok", true, bytes.len()));
        for end in 0..bytes.len() {
            assert!(Compact::new(&bytes[..end]).fields(|_, _, _| Ok(false)).is_err(), "{end}");
        }
        // Structs without an end within each other, and a list of more than there is.
        assert!(Compact::new(&[0x1c; 200]).fields(|_, _, _| Ok(false)).is_err());
        assert!(Compact::new(&[0xf5, 0xff, 0xff, 0x7f, 1]).list(Compact::integer).is_err());
    }
}
