//! The bytes of a packed file: its header, the head of each slide, and where things stand. docs/packed.md has the layout.
//!
//! Everything is little-endian and begins at a multiple of [`UNIT`]. Of what is read no number is believed: sizes are
//! added up checked, and compared with the file.

use super::super::format::Reason;
use crate::files;
use crate::tape::feature_stride;

pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER: usize = 128;
/// Bytes of the head of a slide, and what everything begins at a multiple of.
pub const UNIT: usize = 64;
/// How the head of a slide begins.
const SLIDE: [u8; 8] = *b"BAGSLIDE";
/// Bytes of what is said of a slide, at most.
pub const LONGEST_DESCRIPTION: u64 = 1 << 20;
/// Bytes of the index, at most: some million slides.
pub const LONGEST_INDEX: u64 = 1 << 30;

/// The checksum of everything: CRC-32 as in zip, gzip and PNG.
pub fn sum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// Zeros behind `bytes` bytes, up to a multiple of [`UNIT`].
pub fn padding(bytes: usize) -> &'static [u8] {
    &[0; UNIT][..bytes.next_multiple_of(UNIT) - bytes]
}

/// Where the index is, once the file is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPlace {
    pub at: u64,
    pub bytes: u64,
    pub sum: u32,
    pub slides: u64,
    pub rows: u64,
}

/// The start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Values are float16, else float32.
    pub half: bool,
    /// Features of an instance.
    pub width: u64,
    /// `None` in a file that is being packed.
    pub index: Option<IndexPlace>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// `bytes` with the checksum of all but the last four in these.
fn sealed<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let of = sum(&bytes[..N - 4]);
    bytes[N - 4..].copy_from_slice(&of.to_le_bytes());
    bytes
}

fn is_sealed(bytes: &[u8]) -> bool {
    let (all, of) = bytes.split_at(bytes.len() - 4);
    sum(all) == u32_at(of, 0)
}

impl Header {
    pub fn new(half: bool, width: usize) -> Self {
        Self { half, width: width as u64, index: None }
    }

    /// Bytes of a value.
    pub fn size(&self) -> u64 {
        if self.half { 2 } else { 4 }
    }

    /// Values from a row to the next: as devices want them.
    pub fn stride(&self) -> u64 {
        feature_stride(self.width as usize) as u64
    }

    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let index = self.index.unwrap_or(IndexPlace { at: 0, bytes: 0, sum: 0, slides: 0, rows: 0 });
        bytes[..8].copy_from_slice(&files::PACKED);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(8 * self.size() as u32).to_le_bytes());
        let longs = [self.width, self.stride(), index.slides, index.rows, index.at, index.bytes];
        for (long, place) in longs.iter().zip(bytes[16..64].chunks_exact_mut(8)) {
            place.copy_from_slice(&long.to_le_bytes());
        }
        bytes[64..68].copy_from_slice(&index.sum.to_le_bytes());
        sealed(bytes)
    }

    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Reason> {
        let bytes = bytes.get(..HEADER).ok_or("the file ends within its header (is it cut off?)")?;
        if !bytes.starts_with(&files::PACKED) {
            return Err("it does not begin as packed files do".into());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!(
                "it is of version {version} of the format, and {VERSION} is the one that is read here"
            ));
        }
        if !is_sealed(bytes) {
            return Err("its header is damaged: the checksum is another".into());
        }
        let half = match u32_at(bytes, 12) {
            16 => true,
            32 => false,
            bits => return Err(format!("expected values of 16 or 32 bits, found {bits}")),
        };
        let [width, stride, slides, rows, at, long] = [16, 24, 32, 40, 48, 56].map(|place| u64_at(bytes, place));
        // So that strides and rows of bytes can be computed.
        if width == 0 || width > 1 << 30 {
            return Err(format!("expected 1 to {} features, found {width}", 1 << 30));
        }
        let index = IndexPlace { at, bytes: long, sum: u32_at(bytes, 64), slides, rows };
        let header = Self { half, width, index: (at != 0).then_some(index) };
        match header.stride() == stride {
            true => Ok(header),
            false => Err(format!("expected a stride of {}, found {stride}", header.stride())),
        }
    }
}

/// What stands in front of a slide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub rows: u64,
    /// Bytes of what is said of it.
    pub description: u64,
    pub coords: bool,
    pub instance_labels: bool,
    /// Of the values, from the features on to the next slide.
    pub sum: u32,
    /// Of what is said of it, with the zeros behind.
    pub sum_of_description: u32,
}

/// Where the parts of a slide begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    pub description: u64,
    pub features: u64,
    pub coords: u64,
    pub instance_labels: u64,
    /// The next slide, or the index.
    pub end: u64,
}

impl Head {
    pub fn to_bytes(self) -> [u8; UNIT] {
        let mut bytes = [0; UNIT];
        bytes[..8].copy_from_slice(&SLIDE);
        bytes[8..16].copy_from_slice(&self.rows.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.description.to_le_bytes());
        let flags = u32::from(self.coords) | u32::from(self.instance_labels) << 1;
        bytes[24..28].copy_from_slice(&flags.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.sum.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.sum_of_description.to_le_bytes());
        sealed(bytes)
    }

    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8]) -> Result<Self, Reason> {
        let bytes = bytes.get(..UNIT).ok_or("the file ends within the head of a slide")?;
        if !bytes.starts_with(&SLIDE) || !is_sealed(bytes) {
            return Err("its head is damaged".into());
        }
        let flags = u32_at(bytes, 24);
        Ok(Self {
            rows: u64_at(bytes, 8),
            description: u64_at(bytes, 16),
            coords: flags & 1 != 0,
            instance_labels: flags & 2 != 0,
            sum: u32_at(bytes, 28),
            sum_of_description: u32_at(bytes, 32),
        })
    }

    /// Where the parts of a slide are that begins at `at`; `None` where that cannot be counted.
    pub fn places(&self, at: u64, header: &Header) -> Option<Places> {
        let after = |at: u64, bytes: u64| at.checked_add(bytes)?.checked_next_multiple_of(UNIT as u64);
        let description = at.checked_add(UNIT as u64)?;
        let features = after(description, self.description)?;
        let row = header.stride().checked_mul(header.size())?;
        let coords = after(features, self.rows.checked_mul(row)?)?;
        let instance_labels = after(coords, if self.coords { self.rows.checked_mul(8)? } else { 0 })?;
        let end = after(instance_labels, if self.instance_labels { self.rows.checked_mul(4)? } else { 0 })?;
        Some(Places { description, features, coords, instance_labels, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        let index = IndexPlace { at: 4096, bytes: 77, sum: 5, slides: 3, rows: 12 };
        for header in [Header::new(true, 1024), Header { index: Some(index), ..Header::new(false, 6) }] {
            let bytes = header.to_bytes();
            assert_eq!(Header::read(&bytes), Ok(header));
            for place in 0..HEADER {
                let mut changed = bytes;
                changed[place] ^= 1;
                assert!(Header::read(&changed).is_err(), "byte {place}");
            }
            assert!(Header::read(&bytes[..HEADER - 1]).unwrap_err().contains("cut off"));
        }
        assert_eq!(Header::new(false, 6).stride(), 8);
    }

    #[test]
    fn places_are_counted_and_never_beyond_what_can_be() {
        let head =
            Head { rows: 3, description: 65, coords: true, instance_labels: true, sum: 1, sum_of_description: 2 };
        assert_eq!(Head::read(&head.to_bytes()), Ok(head));
        // Rows of 8 values of four bytes.
        let header = Header::new(false, 6);
        let places = head.places(128, &header).unwrap();
        let expected = Places { description: 192, features: 320, coords: 448, instance_labels: 512, end: 576 };
        assert_eq!(places, expected);
        for (rows, description) in [(u64::MAX, 0), (1 << 59, 0), (1, u64::MAX)] {
            assert_eq!(Head { rows, description, ..head }.places(128, &header), None);
        }
    }
}
