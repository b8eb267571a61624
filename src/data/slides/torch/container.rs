//! The two containers that `torch.save` writes: a zip archive with a pickle and a file for each storage, and, before
//! PyTorch 1.6, pickles behind one another with the storages at the end.

use super::super::file::Reason;
use super::pickle::{Pickle, Storage, Value};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Bytes of the pickles, at most; that of a tensor has some hundred.
const LONGEST_PICKLE: u64 = 2 << 20;
/// Bytes of the list of files in an archive, at most.
const LONGEST_LIST: u64 = 16 << 20;

/// How a legacy file begins: a number as a pickle of its own.
pub const LEGACY: [u8; 14] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
pub const ZIP: [u8; 4] = *b"PK\x03\x04";

/// The pickle of a file, and where the bytes of each storage lie, which are within the file.
pub struct Container {
    pub pickle: Pickle,
    places: HashMap<String, (u64, u64)>,
    pub big_endian: bool,
}

/// `count` bytes from `at` on, which are within the file.
///
/// # Errors
/// When the file ends before.
pub fn read_at(file: &mut File, at: u64, count: u64) -> Result<Vec<u8>, Reason> {
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

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

impl Container {
    pub fn open(file: &mut File) -> Result<Self, Reason> {
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        let start = read_at(file, 0, length.min(LEGACY.len() as u64))?;
        if start.starts_with(&ZIP) {
            Self::zip(file, length)
        } else if start == LEGACY {
            Self::legacy(file, length)
        } else {
            Err("it does not begin as PyTorch files do".into())
        }
    }

    /// Bytes of a storage, which has all the values that the pickle says.
    ///
    /// # Errors
    /// When there is none, or a shorter one.
    pub fn place(&self, storage: &Storage) -> Result<u64, Reason> {
        let Some(&(at, bytes)) = self.places.get(&storage.key) else {
            return Err(format!("storage {:?} is not in the file", storage.key));
        };
        match storage.items.checked_mul(storage.number.bytes() as u64) {
            Some(wanted) if wanted <= bytes => Ok(at),
            _ => Err(format!("the file ends early: a storage of {} values has {bytes} bytes", storage.items)),
        }
    }

    fn zip(file: &mut File, length: u64) -> Result<Self, Reason> {
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
        let mut places = HashMap::new();
        let mut rest = &list[..];
        while !rest.is_empty() {
            let (name, place, after) = entry(rest).ok_or_else(broken)?;
            rest = after;
            // In front of the content is a head of its own, whose length the list does not tell.
            let Place { method, head, size } = place;
            let local = read_at(file, head, 30)?;
            let names = u16_at(&local, 26).zip(u16_at(&local, 28)).filter(|_| local.starts_with(&ZIP));
            let (name_length, more) = names.ok_or_else(broken)?;
            let at = head.checked_add(30 + name_length + more).ok_or_else(broken)?;
            if method != 0 {
                return Err(format!("{name} is packed within the archive, which torch.save does not do"));
            }
            if at.checked_add(size).is_none_or(|end| end > length) {
                return Err(format!("the file ends early: {name} has {size} bytes from {at} on"));
            }
            places.insert(name, (at, size));
        }
        let pickle = places.keys().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl")).cloned();
        let pickle = pickle.ok_or("the archive has no data.pkl: torch.save did not write it")?;
        let folder = pickle.strip_suffix("data.pkl").unwrap_or_default().to_owned();
        let (at, size) = places[&pickle];
        if size > LONGEST_PICKLE {
            return Err(format!("the pickle has {size} bytes, more than {LONGEST_PICKLE}"));
        }
        let pickle = Pickle::read(&read_at(file, at, size)?)?;
        let order = places.get(&format!("{folder}byteorder")).filter(|(_, size)| *size < 16);
        let order = order.map(|&(at, size)| read_at(file, at, size)).transpose()?;
        let storages = format!("{folder}data/");
        let places =
            places.into_iter().filter_map(|(name, place)| Some((name.strip_prefix(&storages)?.to_owned(), place)));
        Ok(Self { pickle, places: places.collect(), big_endian: order.as_deref() == Some(b"big") })
    }

    fn legacy(file: &mut File, length: u64) -> Result<Self, Reason> {
        let bytes = read_at(file, 0, length.min(LONGEST_PICKLE))?;
        let mut at = 0;
        let mut next = || {
            let pickle = Pickle::read(&bytes[at..])?;
            at += pickle.length;
            Ok::<Pickle, Reason>(pickle)
        };
        // The number that all begin with, the version, and what kind of machine wrote it, which is little-endian: no
        // other was ever asked for.
        let (_, version, _) = (next()?, next()?, next()?);
        if version.root() != &Value::Integer(1001) {
            return Err("the version of the file is none that is known".into());
        }
        let (pickle, keys) = (next()?, next()?);
        let Value::List(keys_of) = keys.root() else { return Err("its list of storages is none".into()) };
        let sizes: HashMap<&str, u64> =
            pickle.storages().map(|storage| (storage.key.as_str(), storage.number.bytes() as u64)).collect();
        let (mut place, mut places) = (at as u64, HashMap::new());
        for &key in keys_of {
            let Value::Text(key) = keys.value(key) else { return Err("its list of storages is none".into()) };
            let Some(&size) = sizes.get(key.as_str()) else {
                return Err(format!("storage {key:?} is of no tensor"));
            };
            let items = u64_at(&read_at(file, place, 8)?, 0).unwrap_or(0);
            let bytes = items.checked_mul(size).filter(|bytes| *bytes <= length - place - 8);
            let Some(bytes) = bytes else {
                return Err(format!("the file ends early: a storage of {items} values from {place} on"));
            };
            places.insert(key.clone(), (place + 8, bytes));
            place += 8 + bytes;
        }
        Ok(Self { pickle, places, big_endian: false })
    }
}

/// Where the content of a file in an archive is.
struct Place {
    method: u64,
    head: u64,
    size: u64,
}

/// The first entry of the list of an archive's files, and what is behind it.
fn entry(list: &[u8]) -> Option<(String, Place, &[u8])> {
    if !list.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (method, packed, size, head) = (u16_at(list, 10)?, u32_at(list, 20)?, u32_at(list, 24)?, u32_at(list, 42)?);
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(list, at));
    let (name, extra, comment) = (name? as usize, extra? as usize, comment? as usize);
    let text = std::str::from_utf8(list.get(46..46 + name)?).ok()?.to_owned();
    let mut extras = list.get(46 + name..46 + name + extra)?;
    let after = list.get(46 + name + extra + comment..)?;
    let (mut size, mut head) = (size, head);
    // Numbers that do not fit 32 bits stand in a field of their own, in this order, those that fit left out.
    while let (Some(kind), Some(length)) = (u16_at(extras, 0), u16_at(extras, 2)) {
        let field = extras.get(4..4 + length as usize)?;
        if kind == 1 {
            let mut at = 0;
            for (short, long) in [(size, Some(&mut size)), (packed, None), (head, Some(&mut head))] {
                if short == u64::from(u32::MAX) {
                    let value = u64_at(field, at)?;
                    at += 8;
                    if let Some(long) = long {
                        *long = value;
                    }
                }
            }
        }
        extras = &extras[4 + length as usize..];
    }
    Some((text, Place { method, head, size }, after))
}
