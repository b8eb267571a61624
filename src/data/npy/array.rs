//! One npy file: its header, checked, and its items.

use super::super::file;
use crate::bounded;
use crate::error::{Error, Result};
use crate::features::Features;
use half::f16;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// NumPy itself writes headers of a few hundred bytes and refuses beyond 10,000.
const LONGEST_HEADER: usize = 10_000;

/// Bytes of a label that is text.
const LONGEST_TEXT: usize = 1 << 16;

/// An npy file whose header has been read and fits the length of the file.
pub(in crate::data) struct Array {
    pub path: PathBuf,
    pub shape: Vec<usize>,
    pub kind: TypeChar,
    pub size: usize,
    pub descr: String,
    pub big_endian: bool,
    pub fortran: bool,
    /// Bytes in front of the items.
    pub header: usize,
    reader: Box<dyn Read>,
}

impl Array {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        Self::from_reader(path, Box::new(BufReader::with_capacity(1 << 16, file)), length)
    }

    /// As [`Array::open`], of `length` bytes that a reader gives; `path` is what errors call it.
    pub fn from_reader(path: &Path, mut reader: Box<dyn Read>, length: u64) -> Result<Self> {
        let text = header(path, &mut reader)?;
        let parsed = NpyHeader::from_reader(&text[..]).map_err(|e| file::reading(path, e))?;
        let DType::Plain(dtype) = parsed.dtype() else {
            return Err(Error::format(path, "expected an array of numbers, found structured records"));
        };
        let shape: Option<Vec<usize>> = parsed.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
        let descr = format!("{dtype}");
        let Some(size @ 1..) = dtype.num_bytes() else {
            return Err(Error::format(path, format!("expected an array of numbers, found items of type {descr}")));
        };
        let items = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |a, &d| a.checked_mul(d)));
        let (Some(shape), Some(bytes)) = (shape, items.and_then(|n| n.checked_mul(size))) else {
            return Err(Error::format(path, format!("the shape {:?} is too large", parsed.shape())));
        };
        let found = length.saturating_sub(text.len() as u64);
        if found != bytes as u64 {
            let wrong = if found < bytes as u64 { "the file ends early" } else { "the file is too long" };
            return Err(Error::format(
                path,
                format!("{wrong}: shape {shape:?} of {descr} needs {bytes} bytes, found {found}"),
            ));
        }
        Ok(Self {
            path: path.into(),
            kind: dtype.type_char(),
            size,
            descr,
            big_endian: dtype.endianness() == Endianness::Big,
            fortran: parsed.order() == Order::Fortran && shape.len() > 1,
            shape,
            header: text.len(),
            reader,
        })
    }

    pub fn wrong<T>(&self, expected: &str, found: impl std::fmt::Display) -> Result<T> {
        Err(Error::format(&self.path, format!("expected {expected}, found {found}")))
    }

    /// All items in C order, each made from its little-endian bytes.
    pub fn items<T: Copy, const N: usize>(&mut self, make: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        if self.fortran && self.shape.len() > 2 {
            return self.wrong("C order (or at most two dimensions)", format!("Fortran order {:?}", self.shape));
        }
        let count = self.shape.iter().product::<usize>();
        // Twice where rows and columns have to change places.
        let bytes = count as u64 * size_of::<T>() as u64 * if self.fortran { 2 } else { 1 };
        bounded::check_memory(&self.path, bytes)?;
        let mut items = Vec::with_capacity(count);
        let mut buffer = vec![0u8; (1 << 16) * N];
        while items.len() < count {
            let chunk = &mut buffer[..(count - items.len()).min(1 << 16) * N];
            self.reader.read_exact(chunk).map_err(|e| file::reading(&self.path, e))?;
            let (chunks, _) = chunk.as_chunks_mut::<N>();
            if self.big_endian {
                chunks.iter_mut().for_each(|c| c.reverse());
            }
            items.extend(chunks.iter().map(|&c| make(c)));
        }
        if self.fortran {
            let (rows, columns) = (self.shape[0], self.shape[1]);
            items =
                (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| items[c * rows + r]).collect();
        }
        Ok(items)
    }

    /// The little-endian bytes of all items in C order.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(match self.size {
            1 => self.items(|b: [u8; 1]| b)?.into_flattened(),
            2 => self.items(|b: [u8; 2]| b)?.into_flattened(),
            4 => self.items(|b: [u8; 4]| b)?.into_flattened(),
            8 => self.items(|b: [u8; 8]| b)?.into_flattened(),
            _ => return self.wrong("numbers of at most 8 bytes", &self.descr),
        })
    }

    pub fn integers(&mut self) -> Result<Vec<i64>> {
        match (self.kind, self.size) {
            (TypeChar::Bool | TypeChar::Uint, 1) => self.items(|[b]| i64::from(b)),
            (TypeChar::Uint, 2) => self.items(|b| i64::from(u16::from_le_bytes(b))),
            (TypeChar::Uint, 4) => self.items(|b| i64::from(u32::from_le_bytes(b))),
            (TypeChar::Uint, 8) => {
                // Beyond i64 nothing here is meaningful; the largest value fails every later range check.
                self.items(|b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX))
            }
            (TypeChar::Int, 1) => self.items(|b| i64::from(i8::from_le_bytes(b))),
            (TypeChar::Int, 2) => self.items(|b| i64::from(i16::from_le_bytes(b))),
            (TypeChar::Int, 4) => self.items(|b| i64::from(i32::from_le_bytes(b))),
            (TypeChar::Int, 8) => self.items(i64::from_le_bytes),
            _ => self.wrong("an integer type", &self.descr),
        }
    }

    pub fn floats(&mut self) -> Result<Features> {
        Ok(match (self.kind, self.size) {
            (TypeChar::Float, 2) => Features::F16(self.items(f16::from_le_bytes)?),
            (TypeChar::Float, 4) => Features::F32(self.items(f32::from_le_bytes)?),
            (TypeChar::Float, 8) => Features::F32(self.items(|b| f64::from_le_bytes(b) as f32)?),
            _ => return self.wrong("float16, float32 or float64", &self.descr),
        })
    }

    /// Text of fixed length, padded with zeros: bytes, or UTF-32.
    pub fn strings(&mut self) -> Result<Vec<String>> {
        if !matches!(self.kind, TypeChar::UnicodeStr | TypeChar::ByteStr) {
            return self.wrong("text", &self.descr);
        }
        if self.size > LONGEST_TEXT {
            return self
                .wrong(&format!("text of at most {LONGEST_TEXT} bytes an item"), format!("{} bytes", self.size));
        }
        let count = self.shape.iter().product::<usize>();
        let mut item = vec![0u8; self.size];
        let mut all = Vec::new();
        for row in 0..count {
            self.reader.read_exact(&mut item).map_err(|e| file::reading(&self.path, e))?;
            let text = match self.kind {
                TypeChar::ByteStr => String::from_utf8(item.clone()).ok(),
                _ => {
                    let (units, _) = item.as_chunks::<4>();
                    let of = |&b: &[u8; 4]| {
                        char::from_u32(if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
                    };
                    units.iter().map(of).collect()
                }
            };
            let Some(text) = text else { return self.wrong("text", format!("other bytes in row {row} (0-based)")) };
            all.push(text.trim_end_matches('\0').to_owned());
        }
        Ok(all)
    }

    pub fn expect_shape(&self, expected: &[usize], what: &str) -> Result<()> {
        if self.shape != expected {
            return self.wrong(&format!("shape {expected:?} ({what})"), format!("{:?}", self.shape));
        }
        Ok(())
    }

    /// Integers `[expected]`, one for each of `what`.
    pub fn vector(&mut self, expected: usize, what: &str) -> Result<Vec<i64>> {
        self.expect_shape(&[expected], what)?;
        self.integers()
    }
}

/// The bytes of an npy header, from the magic to its end, after the checks that keep a parser safe.
fn header(path: &Path, reader: &mut impl Read) -> Result<Vec<u8>> {
    let mut text = vec![0u8; 10];
    let npy = |message: &str| Error::format(path, format!("expected an npy file: {message}"));
    reader.read_exact(&mut text).map_err(|_| npy("it has no header"))?;
    if !text.starts_with(b"\x93NUMPY") {
        return Err(npy("it does not begin with the bytes \\x93NUMPY"));
    }
    let mut length = usize::from(u16::from_le_bytes([text[8], text[9]]));
    if text[6] > 1 {
        let mut rest = [0u8; 2];
        reader.read_exact(&mut rest).map_err(|_| npy("it has no header"))?;
        length |= usize::from(u16::from_le_bytes(rest)) << 16;
        text.extend(rest);
    }
    if length > LONGEST_HEADER {
        return Err(npy(&format!("a header of {length} bytes is longer than {LONGEST_HEADER}")));
    }
    let start = text.len();
    text.resize(start + length, 0);
    reader.read_exact(&mut text[start..]).map_err(|_| npy("its header ends early"))?;
    // Twenty digits or more could make the product of the shape overflow 64 bits, and deep nesting the
    // stack of the parser; no array of numbers needs either.
    let digits = text[start..].iter().filter(|b| b.is_ascii_digit()).count();
    let brackets = text[start..].iter().filter(|b| b"([{".contains(b)).count();
    if digits > 19 || brackets > 8 {
        return Err(npy("its header describes something other than an array of numbers"));
    }
    Ok(text)
}

/// Refuses a value that is not finite, naming its place.
pub(super) fn check_finite(path: &Path, features: &Features, width: usize) -> Result<()> {
    let bad = features.first_not_finite();
    bad.map_or(Ok(()), |i| Err(Error::not_finite(path, i, width, features.get(i))))
}
