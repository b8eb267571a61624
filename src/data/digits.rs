//! The UCI handwritten digits, shipped with the crate: 1797 images of 8 x 8.
//!
//! Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
//! Repository, 1998, DOI 10.24432/C50P49, CC BY 4.0.

use super::mil_bags::Pool;
use crate::error::{Error, Result};
use flate2::read::GzDecoder;
use std::io::Read;

const IMAGES: usize = 1797;
const PIXELS: usize = 64;
const PACKED: &[u8] = include_bytes!("digits/digits.bin.gz");

/// All images and their digits; values 0 to 16, divided by 16.
///
/// # Errors
/// [`Error::Format`] when the shipped file is damaged.
pub fn digits() -> Result<Pool> {
    let damaged = |what: String| Error::format("digits.bin.gz", format!("the shipped file is damaged: {what}"));
    let mut values = Vec::with_capacity(IMAGES * (PIXELS + 1));
    GzDecoder::new(PACKED).read_to_end(&mut values).map_err(|e| damaged(e.to_string()))?;
    if values.len() != IMAGES * (PIXELS + 1) {
        return Err(damaged(format!("expected {} bytes, found {}", IMAGES * (PIXELS + 1), values.len())));
    }
    let labels = values.split_off(IMAGES * PIXELS);
    Pool::new(values, labels, [8, 8, 1], 1.0 / 16.0, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_digits_are_whole() {
        let pool = digits().unwrap();
        assert_eq!((pool.len(), pool.image()), (1797, [8, 8, 1]));
        let counts: Vec<usize> = (0..10).map(|d| pool.labels().iter().filter(|&&l| l == d).count()).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!(pool.labels()[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let first: Vec<f32> = pool.image_values(0).map(|v| v * 16.0).collect();
        assert_eq!(first[..8], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
        assert!((0..pool.len()).flat_map(|i| pool.image_values(i)).all(|v| (0.0..=1.0).contains(&v)));
    }
}
