//! A tile of 64 own rows, turned, and the two sums over pairs. A lane is an own row, so that all that is done
//! to pairs runs along lanes.

use super::energies::{BINNED, DISTANCE, DOT, term, term_slope};
use crate::kernels::Real;
use crate::kernels::host::simd;
use crate::kernels::matmul::{Factor, multiply};

/// Own rows of a tile.
pub const SIDE: usize = 64;
/// Other rows of a block: its pairs stay in the first-level cache.
pub const BLOCK: usize = 128;
/// Lanes that go together: two vectors of the widest kind, so that one waits while the other computes.
pub const LANES: usize = 32;
/// Rows of lanes that do.
const ROWS: usize = 4;

/// A run of lanes.
#[inline(always)]
pub fn lanes<T>(values: &[T], at: usize) -> &[T; LANES] {
    values[at..at + LANES].try_into().expect("a run of lanes")
}

/// A run of lanes to write.
#[inline(always)]
pub fn lanes_mut<T>(values: &mut [T], at: usize) -> &mut [T; LANES] {
    (&mut values[at..at + LANES]).try_into().expect("a run of lanes")
}

/// Up to 64 rows of one head, turned: 64 lanes for each column, zeros beyond the rows.
pub struct Turned<T> {
    values: Vec<T>,
    width: usize,
}

impl<T: Real> Turned<T> {
    /// Room for rows of `width` values.
    pub fn new(width: usize) -> Self {
        Self { values: vec![T::ZERO; SIDE * width], width }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Zeros.
    pub fn clear(&mut self) {
        self.values.fill(T::ZERO);
    }

    /// The rows of a tile.
    pub fn load(&mut self, rows: Rows<T>) {
        self.clear();
        for i in 0..rows.count {
            for (c, v) in rows.row(i).iter().enumerate() {
                self.values[c * SIDE + i] = *v;
            }
        }
    }

    /// Multiplies each lane by its factor.
    #[inline(always)]
    pub fn scale(&mut self, at: usize, factors: &[T; LANES]) {
        for column in self.values.chunks_exact_mut(SIDE) {
            let column = lanes_mut(column, at);
            for l in 0..LANES {
                column[l] *= factors[l];
            }
        }
    }

    /// Row i: a value of each column.
    pub fn row(&self, i: usize) -> impl Iterator<Item = T> {
        self.values.chunks_exact(SIDE).map(move |column| column[i])
    }
}

/// Rows of one head where they lie.
#[derive(Clone, Copy)]
pub struct Rows<'a, T> {
    pub values: &'a [T],
    pub first: usize,
    pub stride: usize,
    pub count: usize,
    pub width: usize,
}

impl<'a, T: Real> Rows<'a, T> {
    /// Rows `first .. first + count` of a head of `width` values.
    pub fn new(values: &'a [T], (heads, head): (usize, usize), width: usize, first: usize, count: usize) -> Self {
        Self { values, first: (first * heads + head) * width, stride: heads * width, count, width }
    }

    #[inline(always)]
    fn row(&self, j: usize) -> &'a [T] {
        &self.values[self.first + j * self.stride..][..self.width]
    }
}

/// Whether sums over pairs are products of matrices.
pub const fn is_product(kind: u32) -> bool {
    matches!(kind, DOT | DISTANCE | BINNED)
}

/// out[j, i] = the sum over c of own[i, c] other[j, c].
pub fn products<T: Real>(own: &Turned<T>, other: Rows<T>, used: usize, out: &mut [T]) {
    let a = Factor { values: other.values, first: other.first, row: other.stride, col: 1 };
    let b = Factor { values: &own.values, first: 0, row: SIDE, col: 1 };
    assert!(used <= SIDE && other.count * SIDE <= out.len());
    // SAFETY: `out` has room for as many rows of 64.
    unsafe { multiply([other.count, used, own.width], a, b, out.as_mut_ptr(), SIDE, false, T::ONE) };
}

/// out[j, i] = the sum over c of f(own[i, c], other[j, c]).
pub fn pair_sums<T: Real>(own: &Turned<T>, other: Rows<T>, used: usize, out: &mut [T], f: impl Fn(T, T) -> T + Copy) {
    simd(
        #[inline(always)]
        || {
            for j in (0..other.count).step_by(ROWS) {
                // The last few rows are there more than once, and are written as often.
                let at: [usize; ROWS] = std::array::from_fn(|r| (j + r).min(other.count - 1));
                let y = at.map(|j| other.row(j));
                for i in (0..used).step_by(LANES) {
                    let mut sums = [[T::ZERO; LANES]; ROWS];
                    for (c, x) in own.values.chunks_exact(SIDE).enumerate() {
                        let x = lanes(x, i);
                        for r in 0..ROWS {
                            let y = y[r][c];
                            for l in 0..LANES {
                                sums[r][l] += f(x[l], y);
                            }
                        }
                    }
                    for r in 0..ROWS {
                        *lanes_mut(out, at[r] * SIDE + i) = sums[r];
                    }
                }
            }
        },
    );
}

/// The sums behind the energies of a block.
pub fn sums_of<T: Real, const K: u32>(own: &Turned<T>, other: Rows<T>, used: usize, alpha: T, out: &mut [T]) {
    if is_product(K) {
        products(own, other, used, out);
    } else {
        pair_sums(
            own,
            other,
            used,
            out,
            #[inline(always)]
            |x, y| term::<T, K>(x, y, alpha),
        );
    }
}

/// sums[i, c] += the sum over j of weights[j, i] other[j, c].
pub fn weigh<T: Real>(weights: &[T], other: Rows<T>, used: usize, sums: &mut Turned<T>) {
    let a = Factor { values: other.values, first: other.first, row: 1, col: other.stride };
    let b = Factor { values: weights, first: 0, row: SIDE, col: 1 };
    assert!(used <= SIDE && sums.width == other.width);
    // SAFETY: `sums` has 64 lanes for each column.
    unsafe { multiply([other.width, used, other.count], a, b, sums.values.as_mut_ptr(), SIDE, true, T::ONE) };
}

/// sums[i, c] += the sum over j of weights[j, i] times the derivative of what the pair adds in column c.
pub fn weigh_slopes<T: Real, const K: u32>(
    weights: &[T],
    own: &Turned<T>,
    other: Rows<T>,
    used: usize,
    alpha: T,
    sums: &mut Turned<T>,
) {
    if is_product(K) {
        return weigh(weights, other, used, sums);
    }
    simd(
        #[inline(always)]
        || {
            for c in (0..own.width).step_by(ROWS) {
                let at: [usize; ROWS] = std::array::from_fn(|r| (c + r).min(own.width - 1));
                for i in (0..used).step_by(LANES) {
                    let x = at.map(|c| *lanes(&own.values, c * SIDE + i));
                    let mut s = at.map(|c| *lanes(&sums.values, c * SIDE + i));
                    for (j, w) in weights.chunks_exact(SIDE).take(other.count).enumerate() {
                        let (w, y) = (lanes(w, i), other.row(j));
                        for r in 0..ROWS {
                            let y = y[at[r]];
                            for l in 0..LANES {
                                s[r][l] += w[l] * term_slope::<T, K>(x[r][l], y, alpha);
                            }
                        }
                    }
                    for r in 0..ROWS {
                        *lanes_mut(&mut sums.values, at[r] * SIDE + i) = s[r];
                    }
                }
            }
        },
    );
}
