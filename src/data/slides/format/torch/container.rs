//! The two containers that `torch.save` writes: a zip archive with a pickle and a file for each storage, and, before
//! PyTorch 1.6, pickles behind one another with the storages at the end.

use super::super::super::zip::{Archive, ZIP, read_at, u64_at};
use super::super::Reason;
use super::pickle::{Objects, Pickle, Storage, Value};
use std::collections::HashMap;
use std::fs::File;

/// Bytes of the pickles, at most; that of a tensor has some hundred.
const LONGEST_PICKLE: u64 = 2 << 20;

/// How a legacy file begins: a number as a pickle of its own.
pub const LEGACY: [u8; 14] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The pickle of a file, and where the bytes of each storage lie, which are within the file.
pub struct Container {
    pub pickle: Pickle,
    places: HashMap<String, (u64, u64)>,
    pub big_endian: bool,
}

impl Container {
    pub fn open(file: &mut File, objects: Objects) -> Result<Self, Reason> {
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        let start = read_at(file, 0, length.min(LEGACY.len() as u64))?;
        if start.starts_with(&ZIP) {
            Self::zip(file, objects)
        } else if start == LEGACY {
            Self::legacy(file, length, objects)
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

    fn zip(file: &mut File, objects: Objects) -> Result<Self, Reason> {
        let archive = Archive::open(file)?;
        let members = || archive.members.iter();
        let pickle = members().find(|m| m.name == "data.pkl" || m.name.ends_with("/data.pkl"));
        let pickle = pickle.ok_or("the archive has no data.pkl: torch.save did not write it")?;
        if let Some(packed) = members().find(|m| m.packed()) {
            return Err(format!("{} is packed within the archive, which torch.save does not do", packed.name));
        }
        let folder = pickle.name.strip_suffix("data.pkl").unwrap_or_default();
        if pickle.size > LONGEST_PICKLE {
            return Err(format!("the pickle has {} bytes, more than {LONGEST_PICKLE}", pickle.size));
        }
        let order = members().find(|m| m.name.strip_prefix(folder) == Some("byteorder") && m.size < 16);
        let order = order.map(|m| read_at(file, m.at, m.size)).transpose()?;
        let pickle = Pickle::read(&read_at(file, pickle.at, pickle.size)?, objects)?;
        let storages = format!("{folder}data/");
        let places = members().filter_map(|m| Some((m.name.strip_prefix(&storages)?.to_owned(), (m.at, m.size))));
        Ok(Self { pickle, places: places.collect(), big_endian: order.as_deref() == Some(b"big") })
    }

    fn legacy(file: &mut File, length: u64, objects: Objects) -> Result<Self, Reason> {
        let bytes = read_at(file, 0, length.min(LONGEST_PICKLE))?;
        let mut at = 0;
        let mut next = || {
            let pickle = Pickle::read(&bytes[at..], objects)?;
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
                // One of numbers that are not known has no known length.
                return Err(format!("storage {key:?} is of no tensor that is known"));
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
