//! The number type of the host twins: f32 to be fast, f64 to be the oracle.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// f32 or f64, with the functions the twins need.
///
/// The f32 forms of `exp`, `tanh` and `sigmoid` are branch-free polynomials, so loops over them vectorise;
/// their error is a few units in the last place.
pub trait Real:
    Copy
    + Send
    + Sync
    + 'static
    + Default
    + PartialOrd
    + std::fmt::Debug
    + bytemuck::Pod
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + std::iter::Sum
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Below every number.
    const LOWEST: Self;
    /// Converts (rounds for f32).
    fn new(x: f64) -> Self;
    /// Widens.
    fn f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x), exact near zero.
    fn ln_1p(self) -> Self;
    /// e^x - 1, exact near zero.
    fn exp_m1(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// |x|.
    fn abs(self) -> Self;
    /// The nearest whole number, the even one of two.
    fn round(self) -> Self;

    /// The share of a standard normal below x: half of erfc(-x / sqrt 2).
    fn normal_share(self) -> Self;

    /// Converts from f32.
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        Self::new(x as f64)
    }
    /// The larger (the second when the first is NaN).
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        if self > other { self } else { other }
    }
    /// The smaller.
    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        if self < other { self } else { other }
    }
    /// 1 / (1 + e^-x).
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
    /// ln(1 + e^x) without overflow.
    #[inline(always)]
    fn softplus(self) -> Self {
        self.larger(Self::ZERO) + (-self.abs()).exp().ln_1p()
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const LOWEST: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn new(x: f64) -> f64 {
        x
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> f64 {
        f64::ln_1p(self)
    }
    #[inline(always)]
    fn exp_m1(self) -> f64 {
        f64::exp_m1(self)
    }
    #[inline(always)]
    fn tanh(self) -> f64 {
        f64::tanh(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> f64 {
        f64::abs(self)
    }
    #[inline(always)]
    fn round(self) -> f64 {
        f64::round_ties_even(self)
    }
    fn normal_share(self) -> f64 {
        let tail = crate::normal::upper_tail(f64::abs(self));
        if self >= 0.0 { 1.0 - tail } else { tail }
    }
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const LOWEST: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn new(x: f64) -> f32 {
        x as f32
    }
    #[inline(always)]
    fn f64(self) -> f64 {
        self as f64
    }
    #[inline(always)]
    fn from_f32(x: f32) -> f32 {
        x
    }
    #[inline(always)]
    fn exp(self) -> f32 {
        // x = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to the nearest integer and leaves
        // that integer in the low bits, so no conversion instruction is needed.
        const ROUND: f32 = 12_582_912.0;
        let x = if self > -87.33 { self } else { -87.33 };
        let x = if x < 88.72 { x } else { 88.72 };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
        let mut p = 1.987_569_1e-4f32;
        p = p * r + 1.398_2e-3;
        p = p * r + 8.333_452e-3;
        p = p * r + 4.166_579_6e-2;
        p = p * r + 1.666_666_5e-1;
        p = p * r + 0.5;
        let e = p * r * r + r + 1.0;
        let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(126) << 23;
        let y = e * f32::from_bits(power) * 2.0;
        // A NaN argument fails both comparisons above; hand it on. Far below zero the answer is 0.
        let y = if self < -87.33 { 0.0 } else { y };
        let y = if self > 88.72 { f32::INFINITY } else { y };
        if self.is_nan() { self } else { y }
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        f32::ln(self)
    }
    #[inline(always)]
    fn ln_1p(self) -> f32 {
        f32::ln_1p(self)
    }
    #[inline(always)]
    fn exp_m1(self) -> f32 {
        f32::exp_m1(self)
    }
    #[inline(always)]
    fn tanh(self) -> f32 {
        // Odd polynomial near zero (where 1 - 2/(e^2x + 1) would cancel), the exponential form elsewhere.
        let z = self * self;
        let mut p = -5.704_988_7e-3f32;
        p = p * z + 2.063_909e-2;
        p = p * z - 5.373_971_6e-2;
        p = p * z + 1.333_144_2e-1;
        p = p * z - 3.333_328e-1;
        let near = p * z * self + self;
        let magnitude = self.abs();
        let far = 1.0 - 2.0 / (Real::exp(magnitude + magnitude) + 1.0);
        let far = f32::from_bits(far.to_bits() | (self.to_bits() & 0x8000_0000));
        if magnitude < 0.625 { near } else { far }
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> f32 {
        f32::abs(self)
    }
    #[inline(always)]
    fn round(self) -> f32 {
        f32::round_ties_even(self)
    }
    #[inline(always)]
    fn normal_share(self) -> f32 {
        // A fit of erfc with a relative error of 1.2e-7 (Numerical Recipes), in terms of t = 1 / (1 + z / 2).
        let z = f32::abs(self) * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / (1.0 + 0.5 * z);
        let mut p = 0.170_872_77f32;
        for c in [
            -0.822_152_23,
            1.488_515_9,
            -1.135_204,
            0.278_868_07,
            -0.186_288_06,
            0.096_784_18,
            0.374_091_96,
            1.000_023_7,
            -1.265_512_2,
        ] {
            p = p * t + c;
        }
        let tail = 0.5 * t * Real::exp(p - z * z);
        if self >= 0.0 { 1.0 - tail } else { tail }
    }
}

#[cfg(test)]
mod tests {
    use super::Real;

    #[test]
    fn shares_of_a_normal() {
        // By tables of the normal distribution.
        let known = [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.96, 0.024_997_895_148_220_435),
            (-2.9, 0.001_865_813_300_384_04),
            (-5.0, 2.866_515_718_791_94e-7),
            (-9.0, 1.128_588_405_953_841e-19),
        ];
        for (x, share) in known {
            let found = f64::normal_share(x);
            assert!((found / share - 1.0).abs() < 1e-13, "{x}: {found:e} {share:e}");
        }
        for i in -1000..=1000 {
            let x = i as f32 * 8e-3;
            let wanted = f64::normal_share(f64::from(x));
            let e = (f64::from(f32::normal_share(x)) / wanted - 1.0).abs();
            assert!(e < 1e-5 * f64::from(1.0 + x * x) / 10.0, "{x}: {e:e}");
        }
        assert_eq!((f64::normal_share(40.0), f64::normal_share(f64::NEG_INFINITY)), (1.0, 0.0));
        assert!(f64::normal_share(f64::NAN).is_nan() && f32::normal_share(f32::NAN).is_nan());
    }

    #[test]
    fn f32_functions_are_within_a_few_ulps() {
        let mut worst = [0f64; 3];
        for i in -200_000..=200_000 {
            let x = i as f32 * 4.3e-4;
            let pairs = [
                (Real::exp(x) as f64, (x as f64).exp()),
                (Real::tanh(x) as f64, (x as f64).tanh()),
                (Real::sigmoid(x) as f64, 1.0 / (1.0 + (-x as f64).exp())),
            ];
            for (w, (got, want)) in worst.iter_mut().zip(pairs) {
                if want != 0.0 {
                    *w = w.max((got - want).abs() / want.abs());
                }
            }
        }
        assert!(worst.iter().all(|&w| w < 4e-7), "{worst:?}");
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp(f32::INFINITY), f32::INFINITY);
        assert!(Real::exp(f32::NAN).is_nan() && Real::tanh(f32::NAN).is_nan());
        assert_eq!((Real::tanh(1e30f32), Real::tanh(-1e30f32)), (1.0, -1.0));
    }
}
