//! What the twins over pairs know of their launch, and a row of sums made into energies or weights.

use super::Attend;
use super::blocks::SIDE;
use super::energies::{DISTANCE, INVERSE, POWER, RBF, energy_of, slope_of};
use crate::kernels::{Args, Real};

/// What the three twins know of their launch.
pub struct Launched<'a, T> {
    pub heads: usize,
    pub dims: usize,
    pub values: usize,
    pub scale: T,
    pub unit: T,
    pub record: &'a [T],
    pub spans: &'a [u32],
    pub flip: bool,
}

impl<'a, T: Real> Launched<'a, T> {
    pub fn new(a: &Args<'a, T>, p: &Attend, flip: bool) -> Self {
        Self {
            heads: p.heads as usize,
            dims: p.dims as usize,
            values: p.values as usize,
            scale: T::from_f32(p.scale),
            unit: T::from_f32(p.unit),
            record: a.read(4),
            spans: a.indices(5),
            flip,
        }
    }

    /// (first row, rows, first row of the bag, end of the bag) of a tile.
    pub fn span(&self, tile: usize) -> [usize; 4] {
        std::array::from_fn(|i| self.spans[tile * 4 + i] as usize)
    }

    /// The first row of each block of the bag, and its rows.
    pub fn blocks(start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> {
        (start..end).step_by(SIDE).map(move |b| (b, SIDE.min(end - b)))
    }

    #[inline(always)]
    pub fn record<const K: u32>(&self, row: usize, head: usize) -> &'a [T] {
        let len = if K == DISTANCE { 12 } else { 4 };
        &self.record[(row * self.heads + head) * len..][..len]
    }

    /// Alpha of a head; a row is needed because every record holds it.
    pub fn alpha<const K: u32>(&self, row: usize, head: usize) -> T {
        match K {
            RBF | INVERSE | POWER => self.record::<K>(row, head)[2],
            _ => T::ZERO,
        }
    }

    /// Turns one row of sums into energies.
    #[inline(always)]
    pub fn energies<const K: u32>(&self, sums: &mut [T], alpha: T, (own, other, head): (usize, usize, usize)) {
        if K == DISTANCE {
            self.distance_energies(sums, (own, other, head));
        } else {
            sums.iter_mut().for_each(|s| *s = energy_of::<T, K>(*s, alpha, self.scale));
        }
    }

    /// Elementary operations of a tile whose bag has one tile: the least there is to do.
    pub fn work(&self, width: usize) -> usize {
        SIDE * SIDE * (self.dims + width)
    }

    /// Turns one row of sums into the weights of the derivatives, and adds to the shares of what all pairs
    /// share.
    #[inline(always)]
    pub fn weights<const K: u32>(
        &self,
        sums: &mut [T],
        products: &[T],
        logs: &[T],
        alpha: T,
        (own, other, head): (usize, usize, usize),
        share: &mut [T; 4],
    ) {
        // Keys have a record only where the energy needs one of theirs.
        let mine = if self.flip && K != DISTANCE { &[T::ZERO; 2] } else { self.record::<K>(own, head) };
        let mut local = [T::ZERO; SIDE];
        local[..sums.len()].copy_from_slice(sums);
        self.energies::<K>(sums, alpha, (own, other, head));
        let (mut lse, mut inner) = ([mine[0]; SIDE], [mine[1]; SIDE]);
        if self.flip {
            for j in 0..sums.len() {
                let theirs = self.record::<K>(other + j, head);
                (lse[j], inner[j]) = (theirs[0], theirs[1]);
            }
        }
        if K == DISTANCE {
            return self.distance_weights(sums, products, (&lse, &inner), (own, other, head), share);
        }
        let mut by_alpha = [T::ZERO; SIDE];
        for j in 0..sums.len() {
            let energy = sums[j];
            let g = (energy - lse[j]).exp() * (products[j] - inner[j]);
            sums[j] = g * slope_of::<T, K>(energy, alpha, self.scale);
            by_alpha[j] = match K {
                RBF => -g * local[j] * energy,
                INVERSE => -g * local[j] * energy * energy,
                POWER => g * logs[j],
                _ => T::ZERO,
            };
        }
        share[0] += by_alpha[..sums.len()].iter().copied().sum::<T>();
    }
}
