//! Zip archives, as `torch.save`, `numpy.savez` and spreadsheets write them. No length in them is believed.

use super::format::Reason;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

/// Bytes of the list of files in an archive, at most.
const LONGEST_LIST: u64 = 16 << 20;

/// Deflate, the closest packing that is read, makes a byte of at most 1032.
const CLOSEST: u64 = 1040;

/// How an archive begins.
pub(super) const ZIP: [u8; 4] = *b"PK\x03\x04";

/// The files of an archive, whose content is within it.
pub(super) struct Archive {
    pub members: Vec<Member>,
}

/// A file in an archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub name: String,
    /// 0 as it is, 8 deflate.
    method: u64,
    crc: u64,
    /// Where its content begins.
    pub at: u64,
    /// Bytes in the archive, and unpacked.
    stored: u64,
    pub size: u64,
}

/// `count` bytes from `at` on, which are within the file.
///
/// # Errors
/// When the file ends before.
pub(super) fn read_at(file: &mut File, at: u64, count: u64) -> Result<Vec<u8>, Reason> {
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    if at.checked_add(count).is_none_or(|end| end > length) {
        return Err(format!("the file ends early: {count} bytes from {at} on are beyond its {length}"));
    }
    let mut bytes = vec![0; usize::try_from(count).map_err(|e| e.to_string())?];
    file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into())
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Archive {
    pub fn open(file: &mut File) -> Result<Self, Reason> {
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        let broken = || "the zip archive is broken or cut off".to_owned();
        let tail = length.min(22 + 65_535);
        let end = read_at(file, length - tail, tail)?;
        let at = end.windows(4).rposition(|w| w == b"PK\x05\x06").ok_or_else(broken)?;
        let (mut list, mut bytes) = (u32_at(&end, at + 16), u32_at(&end, at + 12));
        if list == Some(u32::MAX.into()) || bytes == Some(u32::MAX.into()) {
            // Archives beyond 4 GiB have the numbers in a record of their own, and its place in front of this one.
            let before =
                at.checked_sub(20).filter(|&before| end[before..].starts_with(b"PK\x06\x07")).ok_or_else(broken)?;
            let record = read_at(file, u64_at(&end, before + 8).ok_or_else(broken)?, 56)?;
            if !record.starts_with(b"PK\x06\x06") {
                return Err(broken());
            }
            (list, bytes) = (u64_at(&record, 48), u64_at(&record, 40));
        }
        let (list, bytes) = (list.ok_or_else(broken)?, bytes.ok_or_else(broken)?);
        if bytes > LONGEST_LIST {
            return Err(format!("the list of the archive's files has {bytes} bytes, more than {LONGEST_LIST}"));
        }
        let list = read_at(file, list, bytes)?;
        let mut members = Vec::new();
        let mut rest = &list[..];
        while !rest.is_empty() {
            let (mut member, after) = entry(rest).ok_or_else(broken)?;
            rest = after;
            // In front of the content is a head of its own, whose length the list does not tell.
            let local = read_at(file, member.at, 30)?;
            let names = u16_at(&local, 26).zip(u16_at(&local, 28)).filter(|_| local.starts_with(&ZIP));
            let (name_length, more) = names.ok_or_else(broken)?;
            member.at = member.at.checked_add(30 + name_length + more).ok_or_else(broken)?;
            let Member { name, at, stored, size, .. } = &member;
            if at.checked_add(*stored).is_none_or(|end| end > length) {
                return Err(format!("the file ends early: {name} has {stored} bytes from {at} on"));
            }
            let possible = match member.method {
                0 => size == stored,
                8 => *size <= stored.saturating_mul(CLOSEST),
                other => {
                    return Err(format!(
                        "{name} is packed by method {other}, where 0 (not at all) and 8 (deflate) are read"
                    ));
                }
            };
            if !possible {
                return Err(format!("{name} cannot have {size} bytes, as {stored} of the archive are its own"));
            }
            members.push(member);
        }
        Ok(Self { members })
    }
}

impl Member {
    pub fn packed(&self) -> bool {
        self.method != 0
    }

    /// The content, of at most `most` bytes.
    ///
    /// # Errors
    /// When it is longer, broken, or not there.
    pub fn content(&self, file: File, most: u64) -> Result<Vec<u8>, Reason> {
        let (name, size) = (&self.name, self.size);
        if size > most {
            return Err(format!("{name} has {size} bytes, more than {most}"));
        }
        let mut content = Vec::with_capacity(size as usize);
        self.reader(file)?.read_to_end(&mut content).map_err(|e| format!("{name}: {e}"))?;
        match content.len() as u64 == size {
            true => Ok(content),
            false => Err(format!("{name} ends early: {} of {size} bytes are there", content.len())),
        }
    }

    /// A reader of the content, which has [`Member::size`] bytes, or ends in an error.
    ///
    /// # Errors
    /// What the system says.
    pub fn reader(&self, mut file: File) -> Result<Box<dyn Read>, Reason> {
        file.seek(SeekFrom::Start(self.at)).map_err(|e| e.to_string())?;
        let content = BufReader::with_capacity(1 << 16, file.take(self.stored));
        let unpacked: Box<dyn Read> =
            if self.packed() { Box::new(DeflateDecoder::new(content)) } else { Box::new(content) };
        Ok(Box::new(Checked {
            content: unpacked.take(self.size),
            crc: Crc::new(),
            left: self.size,
            expected: self.crc,
        }))
    }
}

/// Compares the content with the sum that the archive has of it.
struct Checked<R> {
    content: R,
    crc: Crc,
    left: u64,
    expected: u64,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.crc.update(&buffer[..read]);
        self.left -= read as u64;
        if self.left == 0 && read > 0 && u64::from(self.crc.sum()) != self.expected {
            let message = "it does not have the checksum that the archive has of it";
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

/// The first entry of the list of an archive's files, with the place of its head, and what is behind it.
fn entry(list: &[u8]) -> Option<(Member, &[u8])> {
    if !list.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (method, crc, head) = (u16_at(list, 10)?, u32_at(list, 16)?, u32_at(list, 42)?);
    let (stored, size) = (u32_at(list, 20)?, u32_at(list, 24)?);
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(list, at));
    let (name, extra, comment) = (name? as usize, extra? as usize, comment? as usize);
    let text = std::str::from_utf8(list.get(46..46 + name)?).ok()?.to_owned();
    let mut extras = list.get(46 + name..46 + name + extra)?;
    let after = list.get(46 + name + extra + comment..)?;
    let (mut stored, mut size, mut head) = (stored, size, head);
    // Numbers that do not fit 32 bits stand in a field of their own, in this order, those that fit left out.
    while let (Some(kind), Some(length)) = (u16_at(extras, 0), u16_at(extras, 2)) {
        let field = extras.get(4..4 + length as usize)?;
        if kind == 1 {
            let mut at = 0;
            for (short, long) in [(size, &mut size), (stored, &mut stored), (head, &mut head)] {
                if short == u64::from(u32::MAX) {
                    *long = u64_at(field, at)?;
                    at += 8;
                }
            }
        }
        extras = &extras[4 + length as usize..];
    }
    Some((Member { name: text, method, crc, at: head, stored, size }, after))
}
