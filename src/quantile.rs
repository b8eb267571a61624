//! Quantiles.

/// The value below which the share `q` lies, by linear interpolation between the two nearest of `sorted`, which is not
/// empty.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}
