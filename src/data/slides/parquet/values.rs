//! How the values of a page are written: as they are, by their places in a dictionary, by differences, byte by byte.

use super::Reason;
use super::footer::Leaf;
use super::levels::{bits, natural, runs};
use std::borrow::Cow;

/// Blocks of differences have at most so many numbers in each part.
const LONGEST_PART: u64 = 1 << 20;

/// Values that pages have places in.
pub enum Dictionary {
    Numbers(Vec<u8>),
    /// All texts behind one another, and where each begins and ends.
    Texts(Vec<u8>, Vec<(usize, usize)>),
}

const ENDS: &str = "a page is broken: its values end early";

fn encoding(code: i64) -> &'static str {
    match code {
        4 => "packed bits",
        10 => "ALP",
        _ => "an unknown encoding",
    }
}

fn unknown<T>(code: i64) -> Result<T, Reason> {
    Err(format!("its values are written as {} ({code}), which is not read", encoding(code)))
}

impl Dictionary {
    /// The values of a page of a dictionary.
    pub fn of(leaf: &Leaf, bytes: &[u8], count: usize) -> Result<Self, Reason> {
        if leaf.size > 0 {
            let bytes = bytes.get(..count.checked_mul(leaf.size).ok_or(ENDS)?).ok_or(ENDS)?;
            return Ok(Self::Numbers(bytes.to_vec()));
        }
        let texts = plain_texts(bytes, count)?;
        let start = bytes.as_ptr() as usize;
        let places = texts.iter().map(|text| text.as_ptr() as usize - start).zip(&texts);
        let places = places.map(|(at, text)| (at, at + text.len())).collect();
        Ok(Self::Texts(bytes.to_vec(), places))
    }

    fn beyond(place: u32, count: usize) -> Reason {
        format!("a page is broken: value {place} of a dictionary of {count}")
    }
}

/// The little-endian values of a page of numbers.
pub fn numbers<'a>(
    leaf: &Leaf,
    code: i64,
    bytes: &'a [u8],
    count: usize,
    dictionary: Option<&Dictionary>,
) -> Result<Cow<'a, [u8]>, Reason> {
    let size = leaf.size;
    let flags = size == 1;
    let all = count.checked_mul(size).ok_or(ENDS)?;
    match code {
        0 if flags => {
            let packed = bytes.get(..count.div_ceil(8)).ok_or(ENDS)?;
            let mut out = Vec::with_capacity(count);
            bits(packed, 1, count, |bit| out.push(bit as u8));
            Ok(out.into())
        }
        0 => Ok(bytes.get(..all).ok_or(ENDS)?.into()),
        3 if flags => {
            let mut out = Vec::with_capacity(count);
            runs(bytes.get(4..).ok_or(ENDS)?, 1, count, |bit, times| out.resize(out.len() + times, bit as u8))?;
            Ok(out.into())
        }
        2 | 8 => {
            let Some(Dictionary::Numbers(words)) = dictionary else {
                return Err("a page is broken: it has places in a dictionary that is not there".into());
            };
            let there = words.len() / size;
            let (mut out, mut beyond) = (Vec::with_capacity(all), None);
            places(bytes, count, |place, times| match words.get(place as usize * size..(place as usize + 1) * size) {
                Some(word) => (0..times).for_each(|_| out.extend_from_slice(word)),
                None => beyond = Some(place),
            })?;
            beyond.map_or(Ok(out.into()), |place| Err(Dictionary::beyond(place, there)))
        }
        5 if size == 4 || size == 8 => {
            let mut out = Vec::with_capacity(all);
            let mut rest = bytes;
            differences(&mut rest, count, |value| out.extend_from_slice(&value.to_le_bytes()[..size]))?;
            Ok(out.into())
        }
        9 => {
            let bytes = bytes.get(..all).ok_or(ENDS)?;
            let mut out = vec![0; all];
            if count > 0 {
                for (byte, stream) in bytes.chunks_exact(count).enumerate() {
                    out.iter_mut().skip(byte).step_by(size).zip(stream).for_each(|(to, from)| *to = *from);
                }
            }
            Ok(out.into())
        }
        _ => unknown(code),
    }
}

/// The texts of a page; those that are not in it as they are stand in `room`.
pub fn texts<'a>(
    code: i64,
    bytes: &'a [u8],
    count: usize,
    dictionary: Option<&'a Dictionary>,
    room: &'a mut Vec<u8>,
) -> Result<Vec<&'a [u8]>, Reason> {
    match code {
        0 => plain_texts(bytes, count),
        2 | 8 => {
            let Some(Dictionary::Texts(all, words)) = dictionary else {
                return Err("a page is broken: it has places in a dictionary that is not there".into());
            };
            let (mut out, mut beyond) = (Vec::with_capacity(count), None);
            places(bytes, count, |place, times| match words.get(place as usize) {
                Some(&(from, to)) => out.resize(out.len() + times, &all[from..to]),
                None => beyond = Some(place),
            })?;
            beyond.map_or(Ok(out), |place| Err(Dictionary::beyond(place, words.len())))
        }
        6 => {
            let mut rest = bytes;
            let lengths = lengths(&mut rest, count)?;
            lengths.iter().map(|&length| rest.split_off(..length).ok_or_else(|| ENDS.to_owned())).collect()
        }
        7 => {
            // How much of the text before is in front of each, and what follows that.
            let mut rest = bytes;
            let (shared, lengths) = (lengths(&mut rest, count)?, lengths(&mut rest, count)?);
            let mut ends = Vec::with_capacity(count);
            let mut before = (0, 0);
            // Texts that grow by what was before them could be worth far more than the page.
            let most = (bytes.len() as u64).saturating_mul(super::CLOSEST) as usize;
            for (&shared, &length) in shared.iter().zip(&lengths) {
                let more = rest.split_off(..length).ok_or(ENDS)?;
                let from = room.len();
                if shared > before.1 - before.0 || from + shared + length > most {
                    return Err(ENDS.into());
                }
                room.extend_from_within(before.0..before.0 + shared);
                room.extend_from_slice(more);
                before = (from, room.len());
                ends.push(before);
            }
            let room: &'a [u8] = room;
            Ok(ends.into_iter().map(|(from, to)| &room[from..to]).collect())
        }
        _ => unknown(code),
    }
}

/// Places in a dictionary, whose bits the first byte tells.
fn places(bytes: &[u8], count: usize, put: impl FnMut(u32, usize)) -> Result<(), Reason> {
    match bytes.split_first() {
        Some((&width, rest)) => runs(rest, width.into(), count, put),
        None if count == 0 => Ok(()),
        None => Err(ENDS.into()),
    }
}

fn plain_texts(mut bytes: &[u8], count: usize) -> Result<Vec<&[u8]>, Reason> {
    // Each has four bytes of length.
    if count > bytes.len() / 4 {
        return Err(ENDS.into());
    }
    let mut text = || {
        let length = u32::from_le_bytes(bytes.split_off(..4)?.try_into().ok()?);
        bytes.split_off(..length as usize)
    };
    (0..count).map(|_| text().ok_or_else(|| ENDS.to_owned())).collect()
}

/// `count` lengths, in front of what they are of.
fn lengths(bytes: &mut &[u8], count: usize) -> Result<Vec<usize>, Reason> {
    let mut lengths = Vec::with_capacity(count);
    differences(bytes, count, |value| lengths.push(usize::try_from(value).unwrap_or(usize::MAX)))?;
    if lengths.iter().any(|&length| length > u32::MAX as usize) { Err(ENDS.into()) } else { Ok(lengths) }
}

/// Hands `count` integers that are written by their differences to `put`; `bytes` is what follows them then.
fn differences(bytes: &mut &[u8], count: usize, mut put: impl FnMut(i64)) -> Result<(), Reason> {
    if count == 0 && bytes.is_empty() {
        return Ok(());
    }
    let whole = |bytes: &mut &[u8]| natural(bytes).ok_or_else(|| ENDS.to_owned());
    let signed = |value: u64| (value >> 1) as i64 ^ -((value & 1) as i64);
    let (block, parts, there) = (whole(bytes)?, whole(bytes)?, whole(bytes)?);
    let mut value = signed(whole(bytes)?);
    let part = block.checked_div(parts).filter(|part| part % 32 == 0 && (32..=LONGEST_PART).contains(part));
    let part = part.ok_or("a page is broken: its blocks of differences have no size")? as usize;
    if there != count as u64 {
        return Err(ENDS.into());
    }
    if count == 0 {
        return Ok(());
    }
    put(value);
    let mut left = count - 1;
    while left > 0 {
        let least = signed(whole(bytes)?);
        let widths = bytes.split_off(..usize::try_from(parts).map_err(|_| ENDS)?).ok_or(ENDS)?;
        for &width in widths {
            if left == 0 {
                break;
            }
            if width > 64 {
                return Err(ENDS.into());
            }
            let packed = bytes.split_off(..part / 8 * usize::from(width)).ok_or(ENDS)?;
            let wanted = part.min(left);
            bits(packed, width.into(), wanted, |more| {
                value = value.wrapping_add(least).wrapping_add(more as i64);
                put(value);
            });
            left -= wanted;
        }
    }
    Ok(())
}
