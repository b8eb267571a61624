//! Shares of the standard normal distribution.

/// A standard normal is within so much of 0 with a chance of 95 %.
pub(crate) const TWO_SIDED_95: f64 = 1.959_963_984_540_054;

/// The share of a standard normal above x, which is at least 0.
pub(crate) fn upper_tail(x: f64) -> f64 {
    let z = x * std::f64::consts::FRAC_1_SQRT_2;
    if z.is_nan() {
        return z;
    }
    if z > 27.0 {
        return 0.0;
    }
    let bell = f64::exp(-z * z);
    if z < 2.0 {
        // erf z = 2 / sqrt(pi) e^(-z z) (z + 2 z^3 / 3 + 4 z^5 / 15 + ..), all of one sign.
        let (mut term, mut sum, mut n) = (z, z, 1.0);
        while term > 1e-17 * sum {
            n += 2.0;
            term *= 2.0 * z * z / n;
            sum += term;
        }
        return 0.5 - bell * sum / std::f64::consts::PI.sqrt();
    }
    // erfc z = e^(-z z) / sqrt(pi) / (z + (1/2) / (z + 1 / (z + (3/2) / (z + ..)))), from the inside out.
    let inner = (1..=120).rev().fold(z, |inner, n| z + 0.5 * f64::from(n) / inner);
    0.5 * bell / (std::f64::consts::PI.sqrt() * inner)
}

/// The probability of a value further from 0 than x, by either side.
pub(crate) fn two_sided(x: f64) -> f64 {
    2.0 * upper_tail(x.abs())
}
