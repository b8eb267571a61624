//! What the twins over pairs know of their launch, and a block of sums made into energies or weights.

use super::Attend;
use super::binned::Bins;
use super::blocks::{BLOCK, LANES, SIDE, lanes, lanes_mut};
use super::distance::Curve;
use super::energies::{BINNED, DISTANCE, INVERSE, POWER, RBF, energy_of, slope_of};
use crate::kernels::host::simd;
use crate::kernels::{Args, Real};

/// What the three twins know of their launch.
pub struct Launched<'a, T> {
    pub heads: usize,
    pub dims: usize,
    pub values: usize,
    pub scale: T,
    pub unit: T,
    pub bins: usize,
    pub record: &'a [T],
    pub spans: &'a [u32],
    pub flip: bool,
}

/// Where a block of pairs lies: first row of the bag, own rows, other rows, head, and how many lanes are used (whole
/// runs).
#[derive(Clone, Copy)]
pub struct Place {
    pub bag: usize,
    pub own: usize,
    pub rows: usize,
    pub other: usize,
    pub count: usize,
    pub head: usize,
    pub used: usize,
}

impl<'a, T: Real> Launched<'a, T> {
    pub fn new(a: &Args<'a, T>, p: &Attend, flip: bool) -> Self {
        Self {
            heads: p.heads as usize,
            dims: p.dims as usize,
            values: p.values as usize,
            scale: T::from_f32(p.scale),
            unit: T::from_f32(p.unit),
            bins: p.bins as usize,
            record: a.read(4),
            spans: a.indices(5),
            flip,
        }
    }

    /// (first row, rows, first row of the bag, end of the bag) of a tile.
    pub fn span(&self, tile: usize) -> [usize; 4] {
        std::array::from_fn(|i| self.spans[tile * 4 + i] as usize)
    }

    /// The blocks of a tile against its bag.
    pub fn blocks(&self, tile: usize, head: usize) -> impl Iterator<Item = Place> + use<T> {
        let [own, rows, start, end] = self.span(tile);
        let used = rows.next_multiple_of(LANES);
        let place = move |other| Place { bag: start, own, rows, other, count: BLOCK.min(end - other), head, used };
        (start..end).step_by(BLOCK).map(place)
    }

    #[inline(always)]
    pub fn record<const K: u32>(&self, row: usize, head: usize) -> &'a [T] {
        let len = match K {
            DISTANCE => 12,
            BINNED => 4 + 3 * self.bins.next_multiple_of(4),
            _ => 4,
        };
        &self.record[(row * self.heads + head) * len..][..len]
    }

    /// A value of the record of each own row of a run of lanes, zeros beyond the rows.
    #[inline(always)]
    pub fn own_records<const K: u32>(&self, place: Place, at: usize, field: usize) -> [T; LANES] {
        std::array::from_fn(|l| match at + l < place.rows {
            true => self.record::<K>(place.own + at + l, place.head)[field],
            false => T::ZERO,
        })
    }

    /// Alpha of a head; a row is needed because every record holds it.
    pub fn alpha<const K: u32>(&self, row: usize, head: usize) -> T {
        match K {
            RBF | INVERSE | POWER => self.record::<K>(row, head)[2],
            _ => T::ZERO,
        }
    }

    /// Turns the sums of a block into energies.
    pub fn energies<const K: u32>(
        &self,
        sums: &mut [T],
        alpha: T,
        place: Place,
        (curve, bins): (&mut Curve<T>, &mut Bins<T>),
    ) {
        if K == DISTANCE {
            return self.distance_energies(sums, place, curve);
        }
        if K == BINNED {
            self.add_biases(sums, place, bins);
        }
        simd(
            #[inline(always)]
            || {
                let sums = &mut sums[..place.count * SIDE];
                sums.iter_mut().for_each(|s| *s = energy_of::<T, K>(*s, alpha, self.scale));
            },
        );
    }

    /// Elementary operations of a tile whose bag has one tile: the least there is to do.
    pub fn work(&self, width: usize) -> usize {
        SIDE * SIDE * (self.dims + width)
    }

    /// Log-sum-exp and inner product of the query of the pairs of other row j, along a run of lanes.
    #[inline(always)]
    pub fn of_query<const K: u32>(&self, mine: &[[T; LANES]; 2], place: Place, j: usize) -> [[T; LANES]; 2] {
        match self.flip {
            true => {
                let theirs = self.record::<K>(place.other + j, place.head);
                [[theirs[0]; LANES], [theirs[1]; LANES]]
            }
            false => *mine,
        }
    }

    /// What own rows have in place of it, when they are queries.
    #[inline(always)]
    pub fn own_queries<const K: u32>(&self, place: Place, at: usize) -> [[T; LANES]; 2] {
        // Keys have a record only where the energy needs one of theirs.
        match self.flip {
            true => [[T::ZERO; LANES]; 2],
            false => [0, 1].map(|field| self.own_records::<K>(place, at, field)),
        }
    }

    /// Turns the sums of a block into the weights of the derivatives, and adds to the shares of what all pairs
    /// share.
    pub fn weights<const K: u32>(
        &self,
        sums: &mut [T],
        products: &[T],
        logs: &[T],
        alpha: T,
        place: Place,
        shares: &mut [[T; SIDE]; 4],
    ) {
        simd(
            #[inline(always)]
            || {
                for at in (0..place.used).step_by(LANES) {
                    let mine = self.own_queries::<K>(place, at);
                    let mut share = *lanes(&shares[0], at);
                    for j in 0..place.count {
                        let [lse, inner] = self.of_query::<K>(&mine, place, j);
                        let run = j * SIDE + at;
                        let (sums, products) = (lanes_mut(sums, run), lanes(products, run));
                        let logs = if K == POWER { lanes(logs, run) } else { products };
                        for l in 0..LANES {
                            let sum = sums[l];
                            let energy = energy_of::<T, K>(sum, alpha, self.scale);
                            let g = (energy - lse[l]).exp() * (products[l] - inner[l]);
                            sums[l] = g * slope_of::<T, K>(energy, alpha, self.scale);
                            share[l] += match K {
                                RBF => -g * sum * energy,
                                INVERSE => -g * sum * energy * energy,
                                POWER => g * logs[l],
                                _ => T::ZERO,
                            };
                        }
                    }
                    *lanes_mut(&mut shares[0], at) = share;
                }
            },
        );
    }
}
