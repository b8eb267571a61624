//! Random numbers that depend only on a seed and a place: the counter-based generator Philox4x32-10.
//!
//! Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Every
//! block of four words is a pure function of (counter, key), so a kernel on the device and the host can
//! compute the same number without sharing a state.

/// Four random words for `counter` under `key`: Philox4x32 with ten rounds.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let a = u64::from(c0) * 0xD251_1F53;
        let b = u64::from(c2) * 0xCD9E_8D57;
        (c0, c1, c2, c3) = ((b >> 32) as u32 ^ c1 ^ k0, b as u32, (a >> 32) as u32 ^ c3 ^ k1, a as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// [`philox`] for `W` counters that follow each other in their first word, so that a loop over them
/// vectorises: word 0 of all blocks, then word 1, 2 and 3.
#[inline(always)]
pub(crate) fn philox_blocks<const W: usize>(counter: [u32; 4], key: [u32; 2]) -> [[u32; W]; 4] {
    let mut counters = counter.map(|c| [c; W]);
    for (i, c) in counters[0].iter_mut().enumerate() {
        *c = c.wrapping_add(i as u32);
    }
    philox_of(counters, key)
}

/// [`philox`] for `W` counters, word by word.
#[inline(always)]
pub(crate) fn philox_of<const W: usize>(
    [mut c0, mut c1, mut c2, mut c3]: [[u32; W]; 4],
    key: [u32; 2],
) -> [[u32; W]; 4] {
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        for i in 0..W {
            let a = u64::from(c0[i]) * 0xD251_1F53;
            let b = u64::from(c2[i]) * 0xCD9E_8D57;
            (c0[i], c1[i]) = ((b >> 32) as u32 ^ c1[i] ^ k0, b as u32);
            (c2[i], c3[i]) = ((a >> 32) as u32 ^ c3[i] ^ k1, a as u32);
        }
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// A sequence of random numbers: one of 2^64 independent streams of a seed, 2^66 words long.
///
/// The seed is the key; the low half of the counter counts blocks and the high half is the stream.
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

impl Random {
    /// Stream `stream` of `seed`, from its beginning.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, 0, stream as u32, (stream >> 32) as u32],
            block: [0; 4],
            used: 4,
        }
    }

    /// A uniform word.
    pub fn u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            if self.counter[0] == 0 {
                self.counter[1] = self.counter[1].wrapping_add(1);
            }
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// A uniform double word (the first word drawn is the low half).
    pub fn u64(&mut self) -> u64 {
        let low = u64::from(self.u32());
        u64::from(self.u32()) << 32 | low
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0 .. `n`, without bias (Lemire's multiply and reject).
    ///
    /// # Panics
    /// When `n` is 0: there is nothing to draw from.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "below(0) has no value to return");
        let n = n as u64;
        // The low halves under this threshold belong to values that would come up once too often.
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as usize;
            }
        }
    }

    /// Normal with mean 0 and standard deviation 1 (Box-Muller; four words a draw).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Puts `items` in a uniformly random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `k` of the numbers 0 .. `n`, each set of them as likely as any other (the first places of a Fisher-Yates
    /// shuffle, in their order).
    ///
    /// # Panics
    /// When `k` exceeds `n`.
    pub fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        assert!(k <= n, "sample({n}, {k}) asks for more than there is");
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..k {
            order.swap(i, i + self.below(n - i));
        }
        order.truncate(k);
        order
    }

    /// The numbers 0 .. `n` in a uniformly random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The philox4x32 lines (10 rounds) of the known-answer file of the Random123 library.
    #[test]
    fn philox_gives_the_published_answers() {
        let ones = u32::MAX;
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (pi, [0xa409_3822, 0x299f_31d0], [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }

    #[test]
    fn blocks_side_by_side_are_the_same_blocks() {
        let (first, rest, key) = (u32::MAX - 2, [7, 8, 9], [1, 2]);
        let wide = philox_blocks::<64>([first, rest[0], rest[1], rest[2]], key);
        let words = wide[0].iter().zip(&wide[1]).zip(&wide[2]).zip(&wide[3]);
        for (i, (((a, b), c), d)) in words.enumerate() {
            let one = philox([first.wrapping_add(i as u32), rest[0], rest[1], rest[2]], key);
            assert_eq!([*a, *b, *c, *d], one);
        }
        let counters: [[u32; 16]; 4] = std::array::from_fn(|c| std::array::from_fn(|i| (7 * i * c + i) as u32));
        let wide = philox_of(counters, key);
        for i in 0..16 {
            assert_eq!(wide.map(|words| words[i]), philox(counters.map(|c| c[i]), key));
        }
    }

    #[test]
    fn a_sequence_is_the_blocks_in_order() {
        let mut random = Random::new(0x2_0000_0001, 0x4_0000_0003);
        for block in 0..3 {
            let expected = philox([block, 0, 3, 4], [1, 2]);
            assert_eq!([random.u32(), random.u32(), random.u32(), random.u32()], expected);
        }
        random.counter = [u32::MAX, 0, 3, 4];
        random.used = 4;
        random.u32();
        assert_eq!(random.counter, [0, 1, 3, 4]);
    }

    #[test]
    fn seeds_and_streams_differ() {
        let first = |seed, stream| Random::new(seed, stream).u64();
        assert_eq!(first(1, 2), first(1, 2));
        assert!(first(1, 2) != first(1, 3) && first(1, 2) != first(2, 2) && first(1, 2) != first(2, 1));
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let mut random = Random::new(7, 0);
        let n = 200_000;
        let moments = |draws: Vec<f64>| {
            let mean = draws.iter().sum::<f64>() / n as f64;
            (mean, draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64)
        };
        let draws: Vec<f64> = (0..n).map(|_| random.uniform()).collect();
        assert!(draws.iter().all(|x| (0.0..1.0).contains(x)));
        let (mean, variance) = moments(draws);
        assert!((mean - 0.5).abs() < 0.003 && (variance - 1.0 / 12.0).abs() < 0.001);
        let (mean, variance) = moments((0..n).map(|_| random.normal()).collect());
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015);
    }

    #[test]
    fn below_is_even_and_stays_below() {
        let mut random = Random::new(3, 1);
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[random.below(7)] += 1;
        }
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 400), "{counts:?}");
        assert_eq!(random.below(1), 0);
        assert!(random.below(usize::MAX) < usize::MAX);
    }

    #[test]
    fn a_permutation_has_every_number_once() {
        let mut order = Random::new(5, 0).permutation(100);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        assert!(Random::new(5, 0).permutation(0).is_empty());
    }
}
