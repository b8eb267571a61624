//! Blocks of 64 rows in order or turned, and the two loops over pairs that all energies share.

use crate::kernels::Real;

/// Rows of a block.
pub const SIDE: usize = 64;
/// Columns that stay in registers together.
const LANES: usize = 16;
/// Rows that stay in registers together.
const ROWS: usize = 4;

/// Up to 64 rows of one head, padded with zeros to whole runs of lanes; or the same turned, one row of 64
/// for each column.
pub struct Block<T> {
    values: Vec<T>,
    width: usize,
    stride: usize,
}

impl<T: Real> Block<T> {
    /// Room for rows of `width` values.
    pub fn new(width: usize) -> Self {
        let stride = width.next_multiple_of(LANES);
        Self { values: vec![T::ZERO; SIDE * stride], width, stride }
    }

    /// Zeros.
    pub fn clear(&mut self) {
        self.values.fill(T::ZERO);
    }

    /// Row i, without the padding.
    #[inline(always)]
    pub fn row(&mut self, i: usize) -> &mut [T] {
        &mut self.values[i * self.stride..i * self.stride + self.width]
    }

    /// Rows `first .. first + rows` of a head.
    pub fn load(&mut self, from: &[T], heads: usize, head: usize, first: usize, rows: usize) {
        let width = self.width;
        for i in 0..rows {
            let at = ((first + i) * heads + head) * width;
            self.row(i).copy_from_slice(&from[at..at + width]);
        }
        self.values[rows * self.stride..].fill(T::ZERO);
    }

    /// The same, turned.
    pub fn load_columns(&mut self, from: &[T], heads: usize, head: usize, first: usize, rows: usize) {
        let width = self.width;
        if rows < SIDE {
            self.clear();
        }
        for i in 0..rows {
            let at = ((first + i) * heads + head) * width;
            for (c, v) in from[at..at + width].iter().enumerate() {
                self.values[c * SIDE + i] = *v;
            }
        }
    }
}

/// out[i, j] = the sum over c of f(own[i, c], other[c, j]); `other` is turned.
#[inline(always)]
pub fn pair_sums<T: Real>(
    own: &Block<T>,
    other: &Block<T>,
    rows: usize,
    width: usize,
    out: &mut [T],
    f: impl Fn(T, T) -> T + Copy,
) {
    for i in (0..rows).step_by(ROWS) {
        let x: [&[T]; ROWS] = std::array::from_fn(|r| &own.values[(i + r) * own.stride..][..width]);
        for j in (0..SIDE).step_by(LANES) {
            let mut sums = [[T::ZERO; LANES]; ROWS];
            for (c, y) in other.values.chunks_exact(SIDE).take(width).enumerate() {
                let y: &[T; LANES] = y[j..j + LANES].try_into().expect("a run of lanes");
                for r in 0..ROWS {
                    let x = x[r][c];
                    for l in 0..LANES {
                        sums[r][l] += f(x, y[l]);
                    }
                }
            }
            for r in 0..ROWS {
                out[(i + r) * SIDE + j..(i + r) * SIDE + j + LANES].copy_from_slice(&sums[r]);
            }
        }
    }
}

/// sums[i, c] += the sum over j of weights[i, j] f(own[i, c], other[j, c]); without `own`, f is given zeros.
#[inline(always)]
pub fn weigh<T: Real>(
    weights: &[T],
    rows: usize,
    count: usize,
    other: &Block<T>,
    own: Option<&Block<T>>,
    sums: &mut Block<T>,
    f: impl Fn(T, T) -> T + Copy,
) {
    let stride = sums.stride;
    for i in (0..rows).step_by(ROWS) {
        let w: [&[T]; ROWS] = std::array::from_fn(|r| &weights[(i + r) * SIDE..][..count]);
        for c in (0..stride).step_by(LANES) {
            let mut x = [[T::ZERO; LANES]; ROWS];
            let mut s = [[T::ZERO; LANES]; ROWS];
            for r in 0..ROWS {
                let at = (i + r) * stride + c;
                s[r].copy_from_slice(&sums.values[at..at + LANES]);
                if let Some(own) = own {
                    x[r].copy_from_slice(&own.values[at..at + LANES]);
                }
            }
            for (j, y) in other.values.chunks_exact(stride).take(count).enumerate() {
                let y: &[T; LANES] = y[c..c + LANES].try_into().expect("a run of lanes");
                for r in 0..ROWS {
                    let w = w[r][j];
                    for l in 0..LANES {
                        s[r][l] += w * f(x[r][l], y[l]);
                    }
                }
            }
            for (r, s) in s.iter().enumerate() {
                let at = (i + r) * stride + c;
                sums.values[at..at + LANES].copy_from_slice(s);
            }
        }
    }
}
