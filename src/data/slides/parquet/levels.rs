//! Runs of small numbers and numbers in few bits: levels, places in a dictionary, flags.

use super::Reason;

const ENDS: &str = "a page is broken: its levels or places in a dictionary end early";

/// Hands the `count` numbers of `width` bits in `bytes` to `put`, each with how often it follows.
///
/// # Errors
/// When there are fewer.
pub fn runs(mut bytes: &[u8], width: u32, count: usize, mut put: impl FnMut(u32, usize)) -> Result<(), Reason> {
    if width > 32 {
        return Err(format!("a page is broken: numbers of {width} bits"));
    }
    let mut left = count;
    while left > 0 {
        let head = natural(&mut bytes).ok_or(ENDS)?;
        let many = usize::try_from(head >> 1).map_err(|_| ENDS)?;
        if many == 0 {
            return Err(ENDS.into());
        }
        if head & 1 == 0 {
            let value = bytes.split_off(..width.div_ceil(8) as usize).ok_or(ENDS)?;
            let value = value.iter().rev().fold(0u32, |all, &byte| all << 8 | u32::from(byte));
            let times = many.min(left);
            put(value, times);
            left -= times;
        } else {
            // Eight numbers take as many bytes as one takes bits; the last run may have fewer bytes than it says.
            let wanted = many.saturating_mul(8).min(left);
            let there = many.saturating_mul(width as usize).min(bytes.len());
            let packed = bytes.split_off(..there).ok_or(ENDS)?;
            if (packed.len() as u64) * 8 < wanted as u64 * u64::from(width) {
                return Err(ENDS.into());
            }
            bits(packed, width, wanted, |value| put(value as u32, 1));
            left -= wanted;
        }
    }
    Ok(())
}

/// Hands `count` numbers of `width` bits, at most 64, to `put`. There are as many.
pub fn bits(bytes: &[u8], width: u32, count: usize, mut put: impl FnMut(u64)) {
    let mask = if width == 64 { u128::from(u64::MAX) } else { (1u128 << width) - 1 };
    let (mut held, mut number, mut rest) = (0u128, 0, bytes.iter());
    for _ in 0..count {
        while number < width {
            held |= u128::from(*rest.next().unwrap_or(&0)) << number;
            number += 8;
        }
        put((held & mask) as u64);
        held >>= width;
        number -= width;
    }
}

/// Levels of a page, none of them above `most`.
pub fn levels(bytes: &[u8], most: u8, count: usize) -> Result<Vec<u8>, Reason> {
    let (mut levels, mut beyond) = (Vec::with_capacity(count), false);
    let width = 8 - most.leading_zeros();
    runs(bytes, width, count, |level, times| {
        beyond |= level > u32::from(most);
        levels.resize(levels.len() + times, level as u8);
    })?;
    if beyond { Err("a page is broken: a level is none that its column has".into()) } else { Ok(levels) }
}

/// A number in as many bytes as it needs, seven bits in each.
pub fn natural(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_bits_are_read() {
        // Five times 3, then eight numbers of three bits, as in the description of the format.
        let bytes = [10, 3, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let mut found = Vec::new();
        runs(&bytes, 3, 13, |value, times| found.extend(std::iter::repeat_n(value, times))).unwrap();
        assert_eq!(found, [3, 3, 3, 3, 3, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(runs(&bytes, 3, 14, |_, _| {}).is_err() && runs(&bytes[..4], 3, 13, |_, _| {}).is_err());
        assert!(runs(&[0, 1], 1, 1, |_, _| {}).is_err() && runs(&[2], 33, 1, |_, _| {}).is_err());
        assert_eq!(levels(&[6, 1, 2, 0], 1, 4).unwrap(), [1, 1, 1, 0]);
        assert!(levels(&[6, 3], 2, 3).unwrap_err().contains("a level is none"));
        // Numbers of no bits are all 0.
        assert_eq!(levels(&[8], 0, 4).unwrap(), [0; 4]);
    }
}
