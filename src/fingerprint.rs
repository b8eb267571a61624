//! A number that tells data apart.

/// FNV-1a over 64 bits (Fowler, Noll, Vo): the same on every machine and in every version. It tells of accidents, not of
/// intent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self
    }

    pub fn numbers(self, numbers: impl IntoIterator<Item = u64>) -> Self {
        numbers.into_iter().fold(self, |all, number| all.bytes(&number.to_le_bytes()))
    }

    /// That of places in a list, in their order.
    pub fn of_places(places: &[usize]) -> Self {
        Self::default().numbers(places.iter().map(|&at| at as u64))
    }

    pub fn values(self, values: &[f32]) -> Self {
        values.iter().fold(self, |all, value| all.bytes(&value.to_bits().to_le_bytes()))
    }

    /// With its length, so that what stands in two texts cannot stand in one.
    pub fn text(self, text: &str) -> Self {
        self.numbers([text.len() as u64]).bytes(text.as_bytes())
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_those_of_fnv() {
        // From the authors' list of test vectors.
        for (text, wanted) in [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")] {
            assert_eq!(Fingerprint::default().bytes(text.as_bytes()).to_string(), wanted);
        }
        let of = |texts: [&str; 2]| texts.into_iter().fold(Fingerprint::default(), Fingerprint::text).to_string();
        assert_ne!(of(["a", "bc"]), of(["ab", "c"]));
    }
}
