//! Dropout of the softmax's weights: which pairs of a block are kept, drawn again wherever they are needed.

use super::Attend;
use super::blocks::{BLOCK, LANES, SIDE, lanes, lanes_mut};
use super::launched::Place;
use crate::kernels::Real;
use crate::kernels::host::simd;
use crate::random::philox_steps;

/// Rows of queries that share a block of random words: one takes the low half of each word, one the high half.
const QUERIES: usize = 2;
/// Rows of keys that do: each has a word.
const KEYS: usize = 4;

/// The pairs that a launch drops.
pub struct Dropped<T> {
    threshold: u32,
    keep: T,
    site: u32,
    step: u32,
    seed: [u32; 2],
    heads: u32,
    flip: bool,
}

impl<T: Real> Dropped<T> {
    /// What a launch drops, if anything.
    pub fn of(p: &Attend, flip: bool) -> Option<Self> {
        let seed = [p.seed_low, p.seed_high];
        let (threshold, keep, heads) = (p.threshold, T::from_f32(p.keep), p.heads);
        (threshold > 0).then_some(Self { threshold, keep, site: p.site, step: p.step, seed, heads, flip })
    }

    /// The factor of every pair of a block: 0, or what makes up for those that are dropped.
    pub fn factors(&self, place: Place, out: &mut Factors<T>) {
        let [own, other] = [place.own, place.other].map(|row| row - place.bag);
        let counter = |query: usize, key: usize| {
            [
                (place.bag + query / QUERIES) as u32,
                self.site,
                self.step,
                (key / KEYS) as u32 * self.heads + place.head as u32,
            ]
        };
        let factor = |bits: u32| if bits < self.threshold { T::ZERO } else { self.keep };
        simd(
            #[inline(always)]
            || match self.flip {
                false => {
                    for (j, rows) in
                        out.values.chunks_exact_mut(KEYS * SIDE).take(place.count.div_ceil(KEYS)).enumerate()
                    {
                        for at in (0..place.used).step_by(LANES) {
                            let counter = counter(own + at, other + j * KEYS);
                            let words = philox_steps::<{ LANES / QUERIES }>(counter, [1, 0, 0, 0], self.seed);
                            for (row, words) in rows.chunks_exact_mut(SIDE).zip(&words) {
                                let row = lanes_mut(row, at);
                                for (two, word) in row.chunks_exact_mut(QUERIES).zip(words) {
                                    two[0] = factor(word & 0xffff);
                                    two[1] = factor(word >> 16);
                                }
                            }
                        }
                    }
                }
                true => {
                    let steps = [0, 0, 0, self.heads];
                    for (j, rows) in
                        out.values.chunks_exact_mut(QUERIES * SIDE).take(place.count.div_ceil(QUERIES)).enumerate()
                    {
                        let (first, second) = rows.split_at_mut(SIDE);
                        let words =
                            philox_steps::<{ SIDE / KEYS }>(counter(other + j * QUERIES, own), steps, self.seed);
                        for (row, half) in [(first, 0), (second, 16)] {
                            for (g, four) in row.chunks_exact_mut(KEYS).enumerate() {
                                for (out, words) in four.iter_mut().zip(&words) {
                                    *out = factor(words[g] >> half & 0xffff);
                                }
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Factors of the pairs of a block, where any are dropped.
pub struct Factors<T> {
    values: Vec<T>,
}

impl<T: Real> Factors<T> {
    /// Room for a block; none where nothing is dropped.
    pub fn new(dropped: &Option<Dropped<T>>) -> Self {
        Self { values: vec![T::ZERO; if dropped.is_some() { SIDE * BLOCK } else { 0 }] }
    }

    /// Those of a run of lanes.
    #[inline(always)]
    pub fn lanes(&self, run: usize) -> &[T; LANES] {
        lanes(&self.values, run)
    }

    /// Multiplies the weights of the first `count` other rows.
    pub fn apply(&self, weights: &mut [T], count: usize) {
        simd(
            #[inline(always)]
            || weights[..count * SIDE].iter_mut().zip(&self.values).for_each(|(w, f)| *w *= *f),
        );
    }
}
