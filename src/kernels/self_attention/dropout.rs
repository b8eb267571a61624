//! Dropout of the softmax's weights: which pairs of a block are kept, drawn again wherever they are needed.

use super::Attend;
use super::blocks::{BLOCK, LANES, SIDE, lanes};
use super::launched::Place;
use crate::kernels::Real;
use crate::kernels::host::simd;
use crate::random::philox_of;

/// Rows of queries that share a block of random words: one takes the low half of each word, one the high half.
const QUERIES: usize = 2;
/// Rows of keys that do: each has a word.
const KEYS: usize = 4;
/// Other rows whose pairs are drawn at a time, and blocks of random words for them: enough that loops over these are
/// not unrolled away.
const DRAWN: usize = 8;
const WIDE: usize = DRAWN * SIDE / (QUERIES * KEYS);

/// The pairs that a launch drops.
pub struct Dropped<T> {
    threshold: u32,
    keep: T,
    site: u32,
    step: u32,
    seed: [u32; 2],
    /// All heads, and the first of those here.
    heads: [u32; 2],
    flip: bool,
}

impl<T: Real> Dropped<T> {
    /// What a launch drops, if anything.
    pub fn of(p: &Attend, flip: bool) -> Option<Self> {
        let seed = [p.seed_low, p.seed_high];
        let (threshold, keep, heads) = (p.threshold, T::from_f32(p.keep), [p.drawn >> 16, p.drawn & 0xffff]);
        (threshold > 0).then_some(Self { threshold, keep, site: p.site, step: p.step, seed, heads, flip })
    }

    /// The factor of every pair of a block: 0, or what makes up for those that are dropped.
    pub fn factors(&self, place: Place, out: &mut Factors<T>) {
        let [own, other] = [place.own, place.other].map(|row| row - place.bag);
        let factor = |bits: u32| if bits < self.threshold { T::ZERO } else { self.keep };
        simd(
            #[inline(always)]
            || {
                for (n, rows) in out.values.chunks_exact_mut(DRAWN * SIDE).enumerate() {
                    if n * DRAWN >= place.count {
                        break;
                    }
                    let (first, bag) = (other + n * DRAWN, place.bag as u32);
                    let (query, key) = (first / QUERIES, first / KEYS);
                    let [all_queries, all_keys] = [SIDE / QUERIES, SIDE / KEYS];
                    let mut counters = [0, self.site, self.step, 0].map(|c| [c; WIDE]);
                    let [queries, _, _, keys] = &mut counters;
                    for (i, (of_query, of_key)) in queries.iter_mut().zip(keys).enumerate() {
                        let [query, key] = match self.flip {
                            false => [own / QUERIES + i % all_queries, key + i / all_queries],
                            true => [query + i / all_keys, own / KEYS + i % all_keys],
                        };
                        *of_query = bag + query as u32;
                        *of_key = key as u32 * self.heads[0] + self.heads[1] + place.head as u32;
                    }
                    let words = philox_of(counters, self.seed);
                    match self.flip {
                        false => {
                            for (j, row) in rows.chunks_exact_mut(SIDE).enumerate() {
                                let words = &words[j % KEYS][j / KEYS * (SIDE / QUERIES)..][..SIDE / QUERIES];
                                let mut halves = [0; SIDE];
                                for (two, word) in halves.chunks_exact_mut(QUERIES).zip(words) {
                                    (two[0], two[1]) = (word & 0xffff, word >> 16);
                                }
                                row.iter_mut().zip(&halves).for_each(|(o, bits)| *o = factor(*bits));
                            }
                        }
                        true => {
                            for (q, two) in rows.chunks_exact_mut(QUERIES * SIDE).enumerate() {
                                let mut order = [0; SIDE];
                                for (g, four) in order.chunks_exact_mut(KEYS).enumerate() {
                                    four.iter_mut().zip(&words).for_each(|(o, w)| *o = w[q * (SIDE / KEYS) + g]);
                                }
                                let (first, second) = two.split_at_mut(SIDE);
                                first.iter_mut().zip(&order).for_each(|(o, word)| *o = factor(word & 0xffff));
                                second.iter_mut().zip(&order).for_each(|(o, word)| *o = factor(word >> 16));
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
        let count = if dropped.is_some() { SIDE * BLOCK } else { 0 };
        Self { values: vec![T::ZERO; count] }
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
