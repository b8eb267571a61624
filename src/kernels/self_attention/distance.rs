//! The distance-aware energy: biases of near and far pairs, from the records of both rows.

use super::blocks::{BLOCK, LANES, SIDE, lanes, lanes_mut};
use super::dropout::Factors;
use super::energies::DISTANCE;
use super::launched::{Launched, Place};
use crate::kernels::Real;
use crate::kernels::host::simd;

/// phi and 1 - phi of the pairs of a block, both 0 on the diagonal, and their distances.
pub struct Curve<T> {
    pub far: Vec<T>,
    pub near: Vec<T>,
    apart: Vec<T>,
}

impl<T: Real> Curve<T> {
    /// Room for a block; none for energies that know no distance.
    pub fn new(kind: u32) -> Self {
        let room = || vec![T::ZERO; if kind == DISTANCE { SIDE * BLOCK } else { 0 }];
        Self { far: room(), near: room(), apart: room() }
    }

    /// Adds to the weights that far and near prototypes have in each own row.
    pub fn add_shares(&self, weights: &[T], place: Place, shares: &mut [[T; SIDE]; 2]) {
        for (share, part) in shares.iter_mut().zip([&self.far, &self.near]) {
            simd(
                #[inline(always)]
                || {
                    for at in (0..place.used).step_by(LANES) {
                        let share = lanes_mut(share, at);
                        for j in 0..place.count {
                            let (weight, part) = (lanes(weights, j * SIDE + at), lanes(part, j * SIDE + at));
                            for l in 0..LANES {
                                share[l] += weight[l] * part[l];
                            }
                        }
                    }
                },
            );
        }
    }
}

impl<T: Real> Launched<'_, T> {
    /// The first of the two values that a record has for its row as a query, or as a key.
    fn bias_fields(&self) -> [usize; 2] {
        if self.flip { [6, 4] } else { [4, 6] }
    }

    /// Turns the sums of a block into energies.
    pub fn distance_energies(&self, sums: &mut [T], place: Place, curve: &mut Curve<T>) {
        let [mine, theirs] = self.bias_fields();
        simd(
            #[inline(always)]
            || {
                for at in (0..place.used).step_by(LANES) {
                    let own: [[T; LANES]; 6] =
                        [8, 9, 10, 11, mine, mine + 1].map(|field| self.own_records::<DISTANCE>(place, at, field));
                    for j in 0..place.count {
                        let other = self.record::<DISTANCE>(place.other + j, place.head);
                        let (x, y, bias) = (other[8], other[9], [other[theirs], other[theirs + 1]]);
                        let run = j * SIDE + at;
                        let sums = lanes_mut(sums, run);
                        let (far, near) = (lanes_mut(&mut curve.far, run), lanes_mut(&mut curve.near, run));
                        let all_apart = lanes_mut(&mut curve.apart, run);
                        for l in 0..LANES {
                            let (dx, dy) = (own[0][l] - x, own[1][l] - y);
                            let apart = self.unit * (dx * dx + dy * dy).sqrt();
                            let z = own[2][l] * (apart - own[3][l]);
                            // One exponential for both: each is exact to rounding where it is small.
                            let e = (-z.abs()).exp();
                            let large = T::ONE / (T::ONE + e);
                            let small = e * large;
                            let up = z > T::ZERO;
                            far[l] = if up { large } else { small };
                            near[l] = if up { small } else { large };
                            all_apart[l] = apart;
                        }
                        // A row of this bag may be a pair with itself, which has no bias.
                        let same = (place.other + j).wrapping_sub(place.own + at);
                        if same < LANES {
                            (far[same], near[same]) = (T::ZERO, T::ZERO);
                        }
                        for l in 0..LANES {
                            let bias = far[l] * (own[4][l] + bias[0]) + near[l] * (own[5][l] + bias[1]);
                            sums[l] = self.scale * (sums[l] + bias);
                        }
                    }
                }
            },
        );
    }

    /// Turns the energies of a block into the weights of the derivatives, and adds to the shares of beta, theta
    /// and both prototypes; `kept` are the factors of dropout.
    pub fn distance_weights(
        &self,
        energies: &mut [T],
        products: &[T],
        place: Place,
        (curve, kept): (&Curve<T>, Option<&Factors<T>>),
        shares: &mut [[T; SIDE]; 4],
    ) {
        match kept {
            Some(kept) => self.weights_of_distances::<true>(energies, products, place, (curve, kept), shares),
            None => {
                let none = Factors::new(&None);
                self.weights_of_distances::<false>(energies, products, place, (curve, &none), shares);
            }
        }
    }

    fn weights_of_distances<const DROP: bool>(
        &self,
        energies: &mut [T],
        products: &[T],
        place: Place,
        (curve, kept): (&Curve<T>, &Factors<T>),
        shares: &mut [[T; SIDE]; 4],
    ) {
        let [mine, theirs] = self.bias_fields();
        simd(
            #[inline(always)]
            || {
                for at in (0..place.used).step_by(LANES) {
                    let queries = self.own_queries::<DISTANCE>(place, at);
                    let own: [[T; LANES]; 6] =
                        [2, 3, 10, 11, mine, mine + 1].map(|field| self.own_records::<DISTANCE>(place, at, field));
                    let mut share: [[T; LANES]; 4] = std::array::from_fn(|part| *lanes(&shares[part], at));
                    for j in 0..place.count {
                        let [lse, inner] = self.of_query::<DISTANCE>(&queries, place, j);
                        let other = self.record::<DISTANCE>(place.other + j, place.head);
                        let bias = [other[theirs], other[theirs + 1]];
                        let along = match self.flip {
                            true => [[other[2]; LANES], [other[3]; LANES]],
                            false => [own[0], own[1]],
                        };
                        let run = j * SIDE + at;
                        let (energies, products) = (lanes_mut(energies, run), lanes(products, run));
                        let (far, near) = (lanes(&curve.far, run), lanes(&curve.near, run));
                        let apart = lanes(&curve.apart, run);
                        let kept = if DROP { kept.lanes(run) } else { &[T::ONE; LANES] };
                        for l in 0..LANES {
                            let weight = (energies[l] - lse[l]).exp();
                            let along = [0, 1].map(|i| kept[l] * along[i][l]);
                            let value = kept[l] * products[l] + far[l] * along[0] + near[l] * along[1];
                            let w = weight * (value - inner[l]) * self.scale;
                            energies[l] = w;
                            let biases = own[4][l] + bias[0] - (own[5][l] + bias[1]);
                            let by_phi = w * biases + weight * (along[0] - along[1]);
                            let inside = by_phi * far[l] * near[l];
                            share[0][l] += (apart[l] - own[3][l]) * inside;
                            share[1][l] -= own[2][l] * inside;
                            share[2][l] += w * far[l];
                            share[3][l] += w * near[l];
                        }
                    }
                    for (all, share) in shares.iter_mut().zip(&share) {
                        *lanes_mut(all, at) = *share;
                    }
                }
            },
        );
    }
}
