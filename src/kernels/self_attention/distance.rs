//! The distance-aware energy: biases of near and far pairs, from the records of both rows.

use super::energies::DISTANCE;
use super::launched::Launched;
use crate::kernels::Real;

impl<T: Real> Launched<'_, T> {
    /// phi and 1 - phi, both 0 on the diagonal, and the distance.
    #[inline(always)]
    fn near_far(&self, own: &[T], other: &[T], same: bool) -> ([T; 2], T) {
        let (dx, dy) = (own[8] - other[8], own[9] - other[9]);
        let apart = self.unit * (dx * dx + dy * dy).sqrt();
        let z = own[10] * (apart - own[11]);
        match same {
            true => ([T::ZERO; 2], apart),
            false => ([z.sigmoid(), (-z).sigmoid()], apart),
        }
    }

    #[inline(always)]
    fn biases(&self, own: &[T], other: &[T]) -> [T; 2] {
        match self.flip {
            false => [own[4] + other[6], own[5] + other[7]],
            true => [own[6] + other[4], own[7] + other[5]],
        }
    }

    /// Turns one row of sums into energies.
    #[inline(always)]
    pub fn distance_energies(&self, sums: &mut [T], (own, other, head): (usize, usize, usize)) {
        let mine = self.record::<DISTANCE>(own, head);
        for (j, s) in sums.iter_mut().enumerate() {
            let theirs = self.record::<DISTANCE>(other + j, head);
            let (near_far, _) = self.near_far(mine, theirs, own == other + j);
            let biases = self.biases(mine, theirs);
            *s = self.scale * (*s + near_far[0] * biases[0] + near_far[1] * biases[1]);
        }
    }

    /// Adds a row's weights of near and of far pairs.
    #[inline(always)]
    pub fn add_near_far(&self, weights: &[T], (own, other, head): (usize, usize, usize), sums: &mut [T; 2]) {
        let mine = self.record::<DISTANCE>(own, head);
        for (j, e) in weights.iter().enumerate() {
            let theirs = self.record::<DISTANCE>(other + j, head);
            let (both, _) = self.near_far(mine, theirs, own == other + j);
            sums[0] += *e * both[0];
            sums[1] += *e * both[1];
        }
    }

    /// Turns one row of energies into the weights of the derivatives, and adds to the shares of beta, theta and
    /// both prototypes; log-sum-exp and inner product are those of each pair's query.
    #[inline(always)]
    pub fn distance_weights(
        &self,
        energies: &mut [T],
        products: &[T],
        (lse, inner): (&[T], &[T]),
        (own, other, head): (usize, usize, usize),
        share: &mut [T; 4],
    ) {
        let mine = self.record::<DISTANCE>(own, head);
        for (j, s) in energies.iter_mut().enumerate() {
            let theirs = self.record::<DISTANCE>(other + j, head);
            let query = if self.flip { theirs } else { mine };
            let (both, apart) = self.near_far(mine, theirs, own == other + j);
            let biases = self.biases(mine, theirs);
            let weight = (*s - lse[j]).exp();
            let along = products[j] + both[0] * query[2] + both[1] * query[3];
            let w = weight * (along - inner[j]) * self.scale;
            *s = w;
            let by_phi = w * (biases[0] - biases[1]) + weight * (query[2] - query[3]);
            let inside = by_phi * both[0] * both[1];
            share[0] += (apart - query[11]) * inside;
            share[1] -= query[10] * inside;
            share[2] += w * both[0];
            share[3] += w * both[1];
        }
    }
}
