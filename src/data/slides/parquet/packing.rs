//! How pages are packed: snappy, gzip, zstd, LZ4, or not at all. A page that unpacks to another length than its head says is an
//! error.

use super::Reason;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::borrow::Cow;
use std::io::Read;

/// A byte of a page is worth at most so many, and a page at least [`SMALL`] where it is short: pages of one value alone.
const CLOSEST: u64 = 1040;
const SMALL: u64 = 4 << 20;

/// Bytes of what zstd looks back to, at most.
const LONGEST_WINDOW: u64 = 32 << 20;

/// How the pages of a column are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Snappy,
    Gzip,
    Zstd,
    Lz4,
}

impl Packing {
    /// What this number in the head of a file stands for.
    pub fn of(code: i64) -> Result<Self, Reason> {
        Ok(match code {
            0 => Self::None,
            1 => Self::Snappy,
            2 => Self::Gzip,
            6 => Self::Zstd,
            7 => Self::Lz4,
            _ => {
                let name = ["LZO", "brotli", "LZ4 of Hadoop"].get(match code {
                    3 => 0,
                    4 => 1,
                    5 => 2,
                    _ => 9,
                });
                let found = name.map_or_else(|| format!("codec {code}"), |name| (*name).to_owned());
                return Err(format!("its pages are packed with {found}; snappy, zstd, gzip and LZ4 are read"));
            }
        })
    }

    /// The content of a page, which has `size` bytes.
    pub fn unpacked(self, bytes: &[u8], size: usize) -> Result<Cow<'_, [u8]>, Reason> {
        if size as u64 > SMALL.max((bytes.len() as u64).saturating_mul(CLOSEST)) {
            return Err(format!("a page cannot have {size} bytes, as {} of the file are its own", bytes.len()));
        }
        let content = match self {
            Self::None => return if bytes.len() == size { Ok(bytes.into()) } else { Err(wrong(bytes.len(), size)) },
            // Nothing is packed by writers as nothing, too.
            _ if bytes.is_empty() && size == 0 => Vec::new(),
            Self::Snappy => snappy(bytes, size).ok_or_else(|| broken("snappy"))?,
            Self::Lz4 => lz4(bytes, size).ok_or_else(|| broken("LZ4"))?,
            Self::Gzip => all(MultiGzDecoder::new(bytes), size)?,
            Self::Zstd => {
                let decoder = StreamingDecoder::new_with_max_window_size(bytes, LONGEST_WINDOW);
                all(decoder.map_err(|e| format!("{} ({e})", broken("zstd")))?, size)?
            }
        };
        if content.len() == size { Ok(content.into()) } else { Err(wrong(content.len(), size)) }
    }
}

fn broken(what: &str) -> Reason {
    format!("a page is broken: its {what} cannot be unpacked")
}

fn wrong(found: usize, size: usize) -> Reason {
    format!("a page is broken: expected {size} bytes in it, found {found}")
}

fn all(reader: impl Read, size: usize) -> Result<Vec<u8>, Reason> {
    let mut content = Vec::with_capacity(size);
    // A byte more shows that there is more.
    let read = reader.take(size as u64 + 1).read_to_end(&mut content);
    read.map_err(|e| format!("a page is broken: it cannot be unpacked ({e})"))?;
    Ok(content)
}

/// Appends `count` bytes that stand `back` bytes before the end, where they may run into what they make.
fn again(out: &mut Vec<u8>, back: usize, count: usize, size: usize) -> Option<()> {
    let from = out.len().checked_sub(back).filter(|_| back > 0 && out.len() + count <= size)?;
    if back >= count {
        out.extend_from_within(from..from + count);
    } else {
        for at in from..from + count {
            out.push(out[at]);
        }
    }
    Some(())
}

fn snappy(mut rest: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut length = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = *rest.split_off_first()?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if length != size as u64 {
        return None;
    }
    let mut out = Vec::with_capacity(size);
    while let Some(&tag) = rest.split_off_first() {
        let high = usize::from(tag >> 2);
        if tag & 3 == 0 {
            let count = match high {
                0..60 => high + 1,
                more => {
                    let bytes = rest.split_off(..more - 59)?;
                    bytes.iter().rev().fold(0usize, |all, &byte| all << 8 | usize::from(byte)) + 1
                }
            };
            let literal = rest.split_off(..count)?;
            if out.len() + count > size {
                return None;
            }
            out.extend_from_slice(literal);
            continue;
        }
        let (count, back) = match tag & 3 {
            1 => ((high & 7) + 4, usize::from(tag >> 5) << 8 | usize::from(*rest.split_off_first()?)),
            2 => (high + 1, usize::from(u16::from_le_bytes(rest.split_off(..2)?.try_into().ok()?))),
            _ => (high + 1, u32::from_le_bytes(rest.split_off(..4)?.try_into().ok()?) as usize),
        };
        again(&mut out, back, count, size)?;
    }
    Some(out)
}

fn lz4(mut rest: &[u8], size: usize) -> Option<Vec<u8>> {
    /// A count of 15 goes on in bytes that are added, the last of them below 255.
    fn count(rest: &mut &[u8], low: u8) -> Option<usize> {
        let mut all = usize::from(low);
        if low == 15 {
            loop {
                let byte = *rest.split_off_first()?;
                all += usize::from(byte);
                if byte < 255 {
                    break;
                }
            }
        }
        Some(all)
    }
    let mut out = Vec::with_capacity(size);
    while let Some(&token) = rest.split_off_first() {
        let literals = count(&mut rest, token >> 4)?;
        let literal = rest.split_off(..literals)?;
        if out.len() + literals > size {
            return None;
        }
        out.extend_from_slice(literal);
        if rest.is_empty() {
            break;
        }
        let back = usize::from(u16::from_le_bytes(rest.split_off(..2)?.try_into().ok()?));
        let length = count(&mut rest, token & 15)? + 4;
        again(&mut out, back, length, size)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_made_again() {
        // "ab", then six bytes from two before.
        assert_eq!(snappy(&[8, 4, b'a', b'b', (2 << 2) | 1, 2], 8).as_deref(), Some(&b"abababab"[..]));
        assert_eq!(snappy(&[4, 0, b'a', 2 << 2 | 2, 1, 0], 4).as_deref(), Some(&b"aaaa"[..]));
        assert_eq!(lz4(&[0x22, b'a', b'b', 2, 0, 0x10, b'c'], 9).as_deref(), Some(&b"ababababc"[..]));
        for broken in
            [&[8, 4, b'a', b'b', 9, 3][..], &[8, 4, b'a'], &[8, 0, b'a', 9, 0], &[1, 8, b'a', b'b', b'c'], &[]]
        {
            let size = broken.first().map_or(1, |&size| size.into());
            assert_ne!(snappy(broken, size).map(|out| out.len()), Some(size), "{broken:?}");
        }
        assert!(lz4(&[0x22, b'a', b'b', 3, 0], 8).is_none() && lz4(&[0xf0, 255], 8).is_none());
        let refused = |packing: Packing, bytes: &[u8], size| packing.unpacked(bytes, size).unwrap_err();
        assert!(refused(Packing::Zstd, b"none", 8).contains("its zstd cannot be unpacked"));
        assert!(refused(Packing::Gzip, b"none", 8).contains("cannot be unpacked"));
        assert!(refused(Packing::None, b"none", 8).contains("expected 8 bytes in it, found 4"));
        assert!(refused(Packing::Snappy, &[0; 9], 1 << 30).contains("cannot have 1073741824 bytes, as 9"));
        assert!(Packing::of(4).unwrap_err().contains("packed with brotli; snappy, zstd"));
        assert!(Packing::of(11).unwrap_err().contains("codec 11"));
    }
}
