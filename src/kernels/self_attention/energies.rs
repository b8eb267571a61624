//! The energies of pairs: what columns add to a sum, the energy of the sum, and both derivatives. A kind is a
//! constant of the caller, so that each loop over pairs is compiled for one energy.

use crate::kernels::Real;
use crate::ops::self_attention::Energy;

pub const DOT: u32 = 0;
pub const RBF: u32 = 1;
pub const INVERSE: u32 = 2;
pub const LAPLACE: u32 = 3;
pub const MODULE: u32 = 4;
pub const POWER: u32 = 5;
pub const DISTANCE: u32 = 6;
pub const BINNED: u32 = 7;

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
        RBF | INVERSE => (x - y) * (x - y),
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
            _ => $f::<T, DOT>($($arg),*),
        }
    };
}
pub(super) use by_energy;
