//! Host twins of `shaders/evidential.wgsl`. Rows are few and each needs special functions, so both precisions
//! compute in f64.

use super::cost::At;
use super::declared::evidential::Params;
pub use super::declared::evidential::{ACCUMULATE, FISHER};
use super::host::for_rows;
use super::{Args, Real, kernels};

kernels! {
    evidential {
        /// The loss of each row.
        EVIDENTIAL_LOSS = evidential_loss, |at @ &At { rows, c, w, .. }| {
            let given = (w[2] >= c) as u64;
            let divergence = if c > 2 { 90 } else { 0 };
            (rows * (c + 1 + given), rows * (c + 1) * (60 + divergence), at.matrix())
        };
        /// Its gradient for the evidence.
        EVIDENTIAL_GRAD = evidential_grad, |at @ &At { rows, c, w, .. }| {
            let (given, added) = ((w[2] >= c) as u64, at.bit(3, 1));
            (rows * (c * (2 + added) + 1 + given), rows * (c + 1) * 180, at.matrix())
        };
        /// Vacuity, differential entropy and mutual information of each row.
        DIRICHLET_UNCERTAINTY = dirichlet_uncertainty,
            |at @ &At { rows, c, .. }| (rows * (c + 3), rows * (c + 1) * 150, at.matrix());
    }
}

/// Relatives of the gamma function for x >= 1, by a shift up to 20 and asymptotic series: within a few units in
/// the last place of f64.
mod gamma {
    const SHIFT: f64 = 20.0;
    /// Bernoulli numbers 2, 4, .. 14.
    const BERNOULLI: [f64; 7] =
        [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2730.0, 7.0 / 6.0];

    /// The sum over k of `factor(k)` times Bernoulli number 2 k times s^(k - 1).
    fn series(s: f64, factor: impl Fn(f64) -> f64) -> f64 {
        BERNOULLI.iter().enumerate().rev().fold(0.0, |sum, (i, b)| sum * s + b * factor((i + 1) as f64))
    }

    /// The sum of `term` over x, x + 1, .. below the shift, and the first of them that is not below it.
    fn shifted(x: f64, term: impl Fn(f64) -> f64) -> (f64, f64) {
        let (mut y, mut sum) = (x, 0.0);
        while y < SHIFT {
            sum += term(y);
            y += 1.0;
        }
        (sum, y)
    }

    /// d^2/dx^2 ln Gamma(x).
    pub fn trigamma(x: f64) -> f64 {
        let (sum, y) = shifted(x, |y| 1.0 / (y * y));
        let z = 1.0 / y;
        sum + z * (1.0 + z * (0.5 + z * series(z * z, |_| 1.0)))
    }

    /// Its derivative.
    pub fn tetragamma(x: f64) -> f64 {
        let (sum, y) = shifted(x, |y| -2.0 / (y * y * y));
        let z = 1.0 / y;
        sum - z * z * (1.0 + z + z * z * series(z * z, |k| 2.0 * k + 1.0))
    }

    /// ln Gamma(x) - ((x - 1/2) ln x - x + ln(2 pi) / 2).
    pub fn stirling_rest(x: f64) -> f64 {
        let (sum, y) = shifted(x, |y| (y + 0.5) * (1.0 / y).ln_1p() - 1.0);
        sum + series(1.0 / (y * y), |k| 1.0 / (2.0 * k * (2.0 * k - 1.0))) / y
    }

    /// ln x - 1 / (2 x) - digamma(x).
    pub fn digamma_rest(x: f64) -> f64 {
        let (sum, y) = shifted(x, |y| 0.5 / y + 0.5 / (y + 1.0) - (1.0 / y).ln_1p());
        sum + series(1.0 / (y * y), |k| 0.5 / k) / (y * y)
    }

    /// x trigamma(x) - 1.
    pub fn trigamma_rest(x: f64) -> f64 {
        if x <= SHIFT {
            return x * trigamma(x) - 1.0;
        }
        let z = 1.0 / x;
        0.5 * z + z * z * series(z * z, |_| 1.0)
    }

    /// -x^2 tetragamma(x) - 1.
    pub fn tetragamma_rest(x: f64) -> f64 {
        if x <= SHIFT {
            return -x * x * tetragamma(x) - 1.0;
        }
        let z = 1.0 / x;
        z + z * z * series(z * z, |k| 2.0 * k + 1.0)
    }

    /// ln Gamma(x).
    pub fn log_gamma(x: f64) -> f64 {
        (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + stirling_rest(x)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Values known in closed form: Gamma(n) = (n - 1)!, psi1(1) = pi^2 / 6, psi2(1) = -2 zeta(3), and
        /// digamma(1) = -Euler's constant, with the recurrences that carry them on.
        #[test]
        fn known_values() {
            let pi = std::f64::consts::PI;
            let (mut psi1, mut psi2, mut psi) = (pi * pi / 6.0, -2.404_113_806_319_188_5, -0.577_215_664_901_532_9);
            let mut factorial = 1.0f64;
            for n in 1..40 {
                let x = n as f64;
                assert!((trigamma(x) / psi1 - 1.0).abs() < 1e-13, "trigamma {x}");
                assert!((tetragamma(x) / psi2 - 1.0).abs() < 1e-12, "tetragamma {x}");
                assert!((x.ln() - 0.5 / x - digamma_rest(x) - psi).abs() < 1e-13, "digamma {x}");
                assert!((log_gamma(x) - factorial.ln()).abs() < 1e-12 * (1.0 + factorial.ln()), "ln gamma {x}");
                assert!((trigamma_rest(x) - (x * psi1 - 1.0)).abs() < 1e-12, "{x}");
                assert!((tetragamma_rest(x) - (-x * x * psi2 - 1.0)).abs() < 1e-10, "{x}");
                psi1 -= 1.0 / (x * x);
                psi2 += 2.0 / (x * x * x);
                psi += 1.0 / x;
                factorial *= x;
            }
        }
    }
}

pub(crate) use gamma::log_gamma;
use gamma::{digamma_rest, stirling_rest, tetragamma, tetragamma_rest, trigamma, trigamma_rest};

/// KL(Dir(1 + e) || Dir(1)), the evidence of class `skip` taken as 0.
fn divergence(evidence: &[f64], skip: usize) -> f64 {
    let own = |k: usize| if k == skip { 0.0 } else { evidence[k] };
    let classes = evidence.len() as f64;
    let sum = classes + (0..evidence.len()).map(own).sum::<f64>();
    let rest = digamma_rest(sum);
    let start = (classes - 0.5) * sum.ln() + 0.5 * (1.0 - classes) * std::f64::consts::TAU.ln() - log_gamma(classes)
        + stirling_rest(sum);
    (0..evidence.len()).map(own).fold(start, |value, e| {
        let a = 1.0 + e;
        value - 0.5 * e.ln_1p() - stirling_rest(a) - e * (0.5 / a - 0.5 / sum + digamma_rest(a) - rest)
    })
}

/// What both the loss and its gradient need of a row.
struct Row {
    evidence: Vec<f64>,
    truth: usize,
    sum: f64,
    /// x trigamma(x) - 1 at the sum.
    rest: f64,
    /// The determinant of the Fisher information over the product of trigamma(alpha).
    inner: f64,
    weighted: bool,
}

impl Row {
    fn new<T: Real>(p: &Params, evidence: &[T], labels: impl FnOnce() -> u32) -> Self {
        let evidence: Vec<f64> = evidence.iter().map(|e| e.f64()).collect();
        let truth = if p.label < p.classes { p.label } else { labels().min(p.classes - 1) };
        let sum = evidence.len() as f64 + evidence.iter().sum::<f64>();
        let rest = trigamma_rest(sum);
        let share = |e: &f64| {
            let own = trigamma_rest(1.0 + e);
            (1.0 + e) / sum * (own - rest) / (1.0 + own)
        };
        let inner = evidence.iter().map(share).sum();
        Self { truth: truth as usize, sum, rest, inner, weighted: p.flags & FISHER != 0, evidence }
    }

    /// Weight, share of the class, and how far it is from the truth.
    fn class(&self, k: usize) -> (f64, f64, f64) {
        let a = 1.0 + self.evidence[k];
        let q = a / self.sum;
        (if self.weighted { trigamma(a) } else { 1.0 }, q, (k == self.truth) as u32 as f64 - q)
    }
}

/// Of the four terms.
fn factors(p: &Params) -> [f64; 4] {
    [p.squared, p.fisher, p.divergence, p.red].map(f64::from)
}

fn evidential_loss<T: Real>(a: &Args<T>) {
    let p: Params = a.params();
    let classes = p.classes as usize;
    let (evidence, factors) = (a.read(0), factors(&p));
    for_rows(a.write(2), p.rows as usize, 1, 400 * classes, |r, out| {
        let row = Row::new(&p, &evidence[r * classes..(r + 1) * classes], || a.indices(1)[r]);
        let error = |k: usize| {
            let (weight, q, miss) = row.class(k);
            weight * (miss * miss + q * (1.0 - q) / (row.sum + 1.0))
        };
        let squared = || (0..classes).map(error).sum::<f64>();
        let fisher = || -(row.evidence.iter().map(|e| trigamma(1.0 + e).ln()).sum::<f64>() + row.inner.ln());
        let kl = || match classes {
            2 => {
                let e = row.evidence[1 - row.truth];
                e.ln_1p() - e / (1.0 + e)
            }
            _ => divergence(&row.evidence, row.truth),
        };
        let red = || -(classes as f64) / row.sum * (row.evidence[row.truth] + 1e-16).ln();
        let terms: [&dyn Fn() -> f64; 4] = [&squared, &fisher, &kl, &red];
        // A term that is switched off may be infinite.
        let value: f64 = factors.iter().zip(terms).filter(|(f, _)| **f != 0.0).map(|(f, term)| f * term()).sum();
        out[0] = T::new(value);
    });
}

fn evidential_grad<T: Real>(a: &Args<T>) {
    let p: Params = a.params();
    let classes = p.classes as usize;
    let (evidence, factors, upstream) = (a.read(0), factors(&p), a.read(2));
    for_rows(a.write(3), p.rows as usize, classes, 600 * classes, |r, out| {
        let row = Row::new(&p, &evidence[r * classes..(r + 1) * classes], || a.indices(1)[r]);
        let (sum, rest, inner) = (row.sum, row.rest, row.inner);
        let curve = tetragamma_rest(sum);
        let common = (curve - inner - curve * inner - rest) / (1.0 + rest);
        let pull = |(weight, q, miss): (f64, f64, f64)| weight * (-2.0 * miss + (1.0 - 2.0 * q) / (sum + 1.0));
        let pulls: f64 = (0..classes).map(|k| row.class(k)).map(|c| c.1 * pull(c)).sum();
        let spread: f64 = (0..classes).map(|k| row.class(k)).map(|(w, q, _)| w * q * (1.0 - q)).sum();
        let wrong_sum = sum - row.evidence[row.truth];
        let true_evidence = row.evidence[row.truth] + 1e-16;
        let count = classes as f64;
        for (j, out) in out.iter_mut().enumerate() {
            let (e, truth) = (row.evidence[j], j == row.truth);
            let (a, class @ (_, q, miss)) = (1.0 + e, row.class(j));
            let (psi1, psi2) = (trigamma(a), tetragamma(a));
            let mut value = (pull(class) - pulls) / sum - spread / ((sum + 1.0) * (sum + 1.0));
            if row.weighted {
                value += psi2 * (miss * miss + q * (1.0 - q) / (sum + 1.0));
            }
            value *= factors[0];
            if factors[1] != 0.0 {
                let (own, curve) = (trigamma_rest(a), tetragamma_rest(a));
                let part = (rest + curve + rest * curve - 2.0 * own - own * own) / ((1.0 + own) * (1.0 + own));
                value -= factors[1] * (psi2 / psi1 + (common - part) / (sum * inner));
            }
            if factors[2] != 0.0 && !truth {
                value += factors[2]
                    * match classes {
                        2 => e / ((1.0 + e) * (1.0 + e)),
                        _ => trigamma_rest(a) - psi1 - trigamma_rest(wrong_sum) + count * trigamma(wrong_sum),
                    };
            }
            if factors[3] != 0.0 {
                let own = if truth { count / (sum * true_evidence) } else { 0.0 };
                value += factors[3] * (count / (sum * sum) * true_evidence.ln() - own);
            }
            let kept = if p.flags & ACCUMULATE != 0 { *out } else { T::ZERO };
            *out = kept + T::new(value * upstream[r].f64());
        }
    });
}

fn dirichlet_uncertainty<T: Real>(a: &Args<T>) {
    let p: Params = a.params();
    let classes = p.classes as usize;
    let evidence = a.read(0);
    for_rows(a.write(1), p.rows as usize, 3, 400 * classes, |r, out| {
        let row: Vec<f64> = evidence[r * classes..(r + 1) * classes].iter().map(|e| e.f64()).collect();
        let sum = classes as f64 + row.iter().sum::<f64>();
        let rest = digamma_rest(sum);
        let share = |e: &f64| (1.0 + e) / sum * (0.5 / (1.0 + e) - digamma_rest(1.0 + e) - 0.5 / sum + rest);
        out[0] = T::new(classes as f64 / sum);
        out[1] = T::new(-divergence(&row, classes) - log_gamma(classes as f64));
        out[2] = T::new(row.iter().map(share).sum());
    });
}
