//! The energies of pairs: what columns add to a sum, the energy of the sum, and both derivatives. A kind is a
//! constant of the caller, so that each loop over pairs is compiled for one energy.

use crate::kernels::Real;

/// How two rows attract each other. alpha is a parameter, one for each head, taken as relu(alpha).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Energy {
    /// scale <q, k>.
    Dot {
        /// 1, 1 / sqrt(d), or any other factor.
        scale: f32,
    },
    /// exp(-alpha |q - k|^2). No gradient for alpha where it is not positive.
    Rbf,
    /// 1 / (alpha |q - k|^2 + 1). No gradient for alpha where it is not positive.
    InverseQuadratic,
    /// -|q - k|_1, with the derivative 0 where two values are equal.
    Laplace,
    /// The sum over columns of |q - k| - |q| - |k|: aligned rows attract each other less.
    Module,
    /// The sum over columns of |q - k|^alpha - |q|^alpha - |k|^alpha; with alpha = 1 that of `Module`.
    ///
    /// d|x|^alpha / dx = alpha sign(x) |x|^(alpha - 1) and d|x|^alpha / dalpha = |x|^alpha ln |x|. At x = 0 the
    /// power and both derivatives are 0 for every alpha, also where the limit would be infinite; below
    /// alpha = 1 the derivatives near it are as large as one likes.
    ModulePower,
    /// The distance-aware energy of DAS-MIL, with a bias of the values:
    /// scale (<q_i, k_j> + <q_i, rK_ij> + <k_j, rQ_ij>), and v_j + rV_ij in place of v_j, where off the diagonal
    /// rX_ij = phi_ij uX + (1 - phi_ij) vX, phi_ij = sigmoid(beta (unit |place_i - place_j| - theta)), and on it
    /// rX_ii = 0. Nothing of the size of the pairs is stored here either: the biases are four scalars a row.
    Distance {
        /// Factor of the energy.
        scale: f32,
        /// Factor of the distances.
        unit: f32,
    },
    /// A discrete relative encoding: `scale (<q_i, k_j> + A_i[b] + B_j[b])`, where b is the bin of the pair,
    /// round((bins - 1) unit |place_i - place_j|), at most bins - 1, and a half goes to the even one. A pair of a row with
    /// itself has no bin and nothing added. With A = q RK^T and B = k RQ^T the rows of RK and RQ are vectors added to
    /// keys and queries by bin; the third output is the weight of each bin in a row, and its product with RV what
    /// vectors added to the values give.
    Binned {
        /// Factor of the energy.
        scale: f32,
        /// Factor of the distances.
        unit: f32,
        /// Bins, at most [`super::MOST_BINS`].
        bins: u32,
    },
    /// 0 where |q - k| < limit, and else no energy at all: the result is the mean of the values of the neighbours, and the
    /// log-sum-exp the logarithm of their number. A row is its own neighbour, so q has to be k. No gradient for either.
    Near {
        /// Neighbours are nearer than this, which is above 0.
        limit: f32,
    },
}

impl Energy {
    /// Factor of the distances in the kernels.
    pub(crate) fn unit(&self) -> f32 {
        match *self {
            Energy::Distance { unit, .. } => unit,
            Energy::Binned { unit, bins, .. } => unit * (bins - 1) as f32,
            _ => 0.0,
        }
    }

    /// Bins of distances; 0 where there are none.
    pub fn bins(&self) -> u32 {
        if let Energy::Binned { bins, .. } = *self { bins } else { 0 }
    }

    /// True when alpha is a parameter.
    pub(crate) fn learned(&self) -> bool {
        matches!(self, Energy::Rbf | Energy::InverseQuadratic | Energy::ModulePower)
    }

    /// Factor of the energy; of neighbours the square of the limit.
    pub(crate) fn scale(&self) -> f32 {
        match *self {
            Energy::Dot { scale } | Energy::Distance { scale, .. } | Energy::Binned { scale, .. } => scale,
            Energy::Near { limit } => limit * limit,
            _ => 1.0,
        }
    }
}

pub use super::super::declared::self_attention::{BINNED, DISTANCE, DOT, INVERSE, LAPLACE, MODULE, NEAR, POWER, RBF};

/// Number of an energy in shader and twins.
pub fn kind(energy: &Energy) -> u32 {
    match energy {
        Energy::Dot { .. } => DOT,
        Energy::Rbf => RBF,
        Energy::InverseQuadratic => INVERSE,
        Energy::Laplace => LAPLACE,
        Energy::Module => MODULE,
        Energy::ModulePower => POWER,
        Energy::Distance { .. } => DISTANCE,
        Energy::Binned { .. } => BINNED,
        Energy::Near { .. } => NEAR,
    }
}

/// x^a for x >= 0; 0 at 0 for every a.
#[inline(always)]
fn power<T: Real>(x: T, a: T) -> T {
    if x > T::ZERO { (a * x.ln()).exp() } else { T::ZERO }
}

/// d/da x^a.
#[inline(always)]
fn power_log<T: Real>(x: T, a: T) -> T {
    if x > T::ZERO { (a * x.ln()).exp() * x.ln() } else { T::ZERO }
}

/// d/da of the sum of powers of a pair.
#[inline(always)]
pub fn term_log<T: Real>(x: T, y: T, a: T) -> T {
    power_log((x - y).abs(), a) - power_log(x.abs(), a) - power_log(y.abs(), a)
}

#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    let up = if x > T::ZERO { T::ONE } else { T::ZERO };
    if x < T::ZERO { -T::ONE } else { up }
}

/// What a pair of columns adds to the sum behind the energy.
#[inline(always)]
pub fn term<T: Real, const K: u32>(x: T, y: T, alpha: T) -> T {
    match K {
        RBF | INVERSE | NEAR => (x - y) * (x - y),
        LAPLACE => (x - y).abs(),
        MODULE => (x - y).abs() - x.abs() - y.abs(),
        POWER => power((x - y).abs(), alpha) - power(x.abs(), alpha) - power(y.abs(), alpha),
        _ => x * y,
    }
}

/// Its derivative for x (half of it for squares; [`slope_of`] has the factor).
#[inline(always)]
pub fn term_slope<T: Real, const K: u32>(x: T, y: T, alpha: T) -> T {
    match K {
        RBF | INVERSE => x - y,
        LAPLACE => sign(x - y),
        MODULE => sign(x - y) - sign(x),
        POWER => {
            let slope = |v: T| alpha * sign(v) * power(v.abs(), alpha - T::ONE);
            slope(x - y) - slope(x)
        }
        _ => y,
    }
}

/// The energy from the sum.
#[inline(always)]
pub fn energy_of<T: Real, const K: u32>(sum: T, alpha: T, scale: T) -> T {
    match K {
        RBF => (-alpha * sum).exp(),
        INVERSE => T::ONE / (alpha * sum + T::ONE),
        LAPLACE => -sum,
        MODULE | POWER => sum,
        // Finite: the first block of a row may have none of its neighbours.
        NEAR => {
            if sum < scale {
                T::ZERO
            } else {
                T::new(-1e30)
            }
        }
        _ => scale * sum,
    }
}

/// Its derivative for the sum, from the energy.
#[inline(always)]
pub fn slope_of<T: Real, const K: u32>(energy: T, alpha: T, scale: T) -> T {
    let two = T::ONE + T::ONE;
    match K {
        RBF => -two * alpha * energy,
        INVERSE => -two * alpha * energy * energy,
        LAPLACE => -T::ONE,
        MODULE | POWER => T::ONE,
        NEAR => T::ZERO,
        _ => scale,
    }
}

/// Calls a function of the energy that a launch is for.
macro_rules! by_energy {
    ($kind:expr, $f:ident, $($arg:expr),*) => {
        match $kind {
            RBF => $f::<T, RBF>($($arg),*),
            INVERSE => $f::<T, INVERSE>($($arg),*),
            LAPLACE => $f::<T, LAPLACE>($($arg),*),
            MODULE => $f::<T, MODULE>($($arg),*),
            POWER => $f::<T, POWER>($($arg),*),
            DISTANCE => $f::<T, DISTANCE>($($arg),*),
            BINNED => $f::<T, BINNED>($($arg),*),
            NEAR => $f::<T, NEAR>($($arg),*),
            _ => $f::<T, DOT>($($arg),*),
        }
    };
}
pub(super) use by_energy;
