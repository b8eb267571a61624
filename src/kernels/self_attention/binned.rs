//! The energy with bins of distances: what a row adds to an energy depends on the bin of the pair.

use super::blocks::{BLOCK, LANES, SIDE, lanes, lanes_mut};
use super::energies::BINNED;
use super::launched::{Launched, Place};
use crate::kernels::Real;
use crate::kernels::host::simd;

/// Parts of a record behind its first vector.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Gradient,
}

/// The bins of the pairs of a block, and what own rows have for each of them.
pub struct Bins<T> {
    /// Number of the bin of each pair; below 0 on the diagonal.
    bins: Vec<T>,
    /// What own rows add, and the gradients of their shares: a row of lanes for each bin.
    own: Vec<T>,
    own_grads: Vec<T>,
    /// Sums of weights, in the same form.
    sums: Vec<T>,
    places: [[T; SIDE]; 2],
}

impl<T: Real> Bins<T> {
    /// Room for a block; none for energies without bins.
    pub fn new(kind: u32, count: usize) -> Self {
        let room = |n: usize| vec![T::ZERO; if kind == BINNED { n * SIDE } else { 0 }];
        let [own, own_grads, sums] = [(); 3].map(|()| room(count));
        Self { bins: room(BLOCK), own, own_grads, sums, places: [[T::ZERO; SIDE]; 2] }
    }

    /// Multiplies the sums of a run of lanes by their factors.
    #[inline(always)]
    pub fn scale(&mut self, at: usize, factors: &[T; LANES]) {
        for sums in self.sums.chunks_exact_mut(SIDE) {
            let sums = lanes_mut(sums, at);
            for l in 0..LANES {
                sums[l] *= factors[l];
            }
        }
    }

    /// Adds the weights of a block to the sums of their bins.
    pub fn add(&mut self, weights: &[T], place: Place) {
        let Self { bins, sums, .. } = self;
        simd(
            #[inline(always)]
            || {
                for (b, sums) in sums.chunks_exact_mut(SIDE).enumerate() {
                    let number = T::new(b as f64);
                    for at in (0..place.used).step_by(LANES) {
                        let sums = lanes_mut(sums, at);
                        let mut sum = *sums;
                        for j in 0..place.count {
                            let (bin, weight) = (lanes(bins, j * SIDE + at), lanes(weights, j * SIDE + at));
                            for l in 0..LANES {
                                sum[l] += if bin[l] == number { weight[l] } else { T::ZERO };
                            }
                        }
                        *sums = sum;
                    }
                }
            },
        );
    }

    /// The sums of own row i, bin by bin.
    pub fn row(&self, i: usize) -> impl Iterator<Item = T> {
        self.sums.chunks_exact(SIDE).map(move |sums| sums[i])
    }
}

impl<T: Real> Launched<'_, T> {
    /// The values of a part of a row's record.
    #[inline(always)]
    fn part(&self, row: usize, head: usize, part: Part) -> &[T] {
        let start = 4 + part as usize * self.bins.next_multiple_of(4);
        &self.record::<BINNED>(row, head)[start..start + self.bins]
    }

    /// The parts of own and other rows that pairs add.
    fn sides(&self) -> [Part; 2] {
        if self.flip { [Part::Key, Part::Query] } else { [Part::Query, Part::Key] }
    }

    /// Begins a tile: what its rows have for each bin, and sums of zero.
    pub fn start_bins<const K: u32>(&self, tile: usize, head: usize, bins: &mut Bins<T>) {
        if K != BINNED {
            return;
        }
        let [first, rows, ..] = self.span(tile);
        let [mine, _] = self.sides();
        bins.sums.fill(T::ZERO);
        for i in 0..rows {
            let record = self.record::<BINNED>(first + i, head);
            (bins.places[0][i], bins.places[1][i]) = (record[2], record[3]);
            let (own, grads) = (self.part(first + i, head, mine), self.part(first + i, head, Part::Gradient));
            for b in 0..self.bins {
                bins.own[b * SIDE + i] = own[b];
                bins.own_grads[b * SIDE + i] = grads[b];
            }
        }
    }

    /// Finds the bins of a block, and adds to its sums what both rows have for them.
    pub fn add_biases(&self, sums: &mut [T], place: Place, bins: &mut Bins<T>) {
        let [_, theirs] = self.sides();
        let last = T::new(self.bins as f64 - 1.0);
        simd(
            #[inline(always)]
            || {
                for at in (0..place.used).step_by(LANES) {
                    let [xs, ys] = bins.places.each_ref().map(|all| *lanes(all, at));
                    for j in 0..place.count {
                        let row = place.other + j;
                        let record = self.record::<BINNED>(row, place.head);
                        let (x, y, other) = (record[2], record[3], self.part(row, place.head, theirs));
                        let run = j * SIDE + at;
                        let mut bin = [T::ZERO; LANES];
                        for l in 0..LANES {
                            let (dx, dy) = (xs[l] - x, ys[l] - y);
                            bin[l] = (self.unit * (dx * dx + dy * dy).sqrt()).round().smaller(last);
                        }
                        // A row of this bag may be a pair with itself, which has no bias.
                        let same = row.wrapping_sub(place.own + at);
                        if same < LANES {
                            bin[same] = -T::ONE;
                        }
                        pick(lanes_mut(sums, run), &bin, &bins.own[at..], other);
                        *lanes_mut(&mut bins.bins, run) = bin;
                    }
                }
            },
        );
    }

    /// Adds to the products of a block the gradients of the shares of their bins.
    pub fn add_bin_gradients(&self, products: &mut [T], place: Place, bins: &Bins<T>) {
        simd(
            #[inline(always)]
            || {
                for at in (0..place.used).step_by(LANES) {
                    for j in 0..place.count {
                        let run = j * SIDE + at;
                        let (products, bin) = (lanes_mut(products, run), lanes(&bins.bins, run));
                        match self.flip {
                            true => {
                                let other = self.part(place.other + j, place.head, Part::Gradient);
                                pick(products, bin, &[], other);
                            }
                            false => pick(products, bin, &bins.own_grads[at..], &[]),
                        }
                    }
                }
            },
        );
    }
}

/// to += what own lanes (a row of [`SIDE`] for each bin) and the other row have for the bin of each pair.
#[inline(always)]
fn pick<T: Real>(to: &mut [T; LANES], bin: &[T; LANES], own: &[T], other: &[T]) {
    let mut add = [T::ZERO; LANES];
    for b in 0..other.len().max(own.len().div_ceil(SIDE)) {
        let number = T::new(b as f64);
        let of_other = other.get(b).copied().unwrap_or(T::ZERO);
        let of_own = if own.is_empty() { [T::ZERO; LANES] } else { *lanes(own, b * SIDE) };
        for l in 0..LANES {
            add[l] = if bin[l] == number { of_own[l] + of_other } else { add[l] };
        }
    }
    for l in 0..LANES {
        to[l] += add[l];
    }
}
