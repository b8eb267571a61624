//! From numbers to the share of the way from one end of a scale of colours to the other.

/// How numbers are laid on the colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As they are, evenly from one end to the other.
    Raw,
    /// By how many of the slide's instances have a smaller one ([`percentiles`]).
    Percentile,
}

/// Numbers of a slide's instances, and what they are.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    /// What one is called: "attention", "score(tumour)".
    pub name: &'a str,
    /// What it means, for people.
    pub meaning: &'a str,
    /// Above 0 speaks for something, below 0 against it: colours are laid around 0.
    pub signed: bool,
    /// The ends of the scale, where they are known; else those of the numbers. Of numbers with a sign 0 has to be between them
    /// in the middle.
    pub range: Option<[f64; 2]>,
    /// A number for each instance; one that is not finite is none.
    pub values: &'a [f32],
}

/// How many percent of the other numbers are smaller, equal ones counted half: `100 (below + equal / 2) / (n - 1)`, where n
/// numbers are finite. An only one has 100. Of numbers with a sign it is that of the distance from 0, with their sign. NaN
/// where a number is not finite.
///
/// ```
/// # use bagrad::heatmap::percentiles;
/// assert_eq!(percentiles(&[0.1, 0.9, 0.1, 0.5, 0.7], false), [12.5, 100.0, 12.5, 50.0, 75.0]);
/// assert_eq!(percentiles(&[-3.0, 1.0, 2.0], true), [-100.0, 0.0, 50.0]);
/// ```
pub fn percentiles(values: &[f32], signed: bool) -> Vec<f64> {
    let size = |at: usize| if signed { values[at].abs() } else { values[at] };
    let mut order: Vec<usize> = (0..values.len()).filter(|&at| values[at].is_finite()).collect();
    // 0 and -0 are equal.
    order.sort_by(|&a, &b| (size(a) + 0.0).total_cmp(&(size(b) + 0.0)));
    let mut all = vec![f64::NAN; values.len()];
    let others = order.len().saturating_sub(1);
    let mut below = 0;
    for equal in order.chunk_by(|&a, &b| size(a) == size(b)) {
        let rank = below as f64 + (equal.len() - 1) as f64 / 2.0;
        let percent = if others == 0 { 100.0 } else { 100.0 * rank / others as f64 };
        equal.iter().for_each(|&at| all[at] = if signed && values[at] < 0.0 { -percent } else { percent });
        below += equal.len();
    }
    all
}

/// Numbers as places on a scale of colours.
#[derive(Clone, Debug, PartialEq)]
pub struct Laid {
    /// From 0 to 1, NaN where there is none.
    pub shares: Vec<f64>,
    /// What 0 and 1 stand for.
    pub ends: [f64; 2],
    /// How many numbers are below the one and above the other end, and have its place.
    pub beyond: [usize; 2],
}

impl Laid {
    /// Lays the numbers of a layer on its scale.
    pub fn new(layer: &Layer, scale: Scale) -> Self {
        let values: Vec<f64> = match scale {
            Scale::Raw => layer.values.iter().map(|&v| f64::from(v)).collect(),
            Scale::Percentile => percentiles(layer.values, layer.signed),
        };
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let ends = match (scale, layer.range, layer.signed) {
            (Scale::Percentile, _, true) => [-100.0, 100.0],
            (Scale::Percentile, _, false) => [0.0, 100.0],
            (Scale::Raw, Some(range), _) => range,
            (Scale::Raw, None, true) => {
                let most = finite().fold(0.0, |most: f64, v| most.max(v.abs()));
                if most > 0.0 { [-most, most] } else { [-1.0, 1.0] }
            }
            (Scale::Raw, None, false) => {
                let ends = finite().fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], v| [l.min(v), h.max(v)]);
                match ends {
                    [low, high] if low < high => ends,
                    // All are equal: they are in the middle.
                    [low, high] if low == high => [low - low.abs().max(1e-6), high + low.abs().max(1e-6)],
                    _ => [0.0, 1.0],
                }
            }
        };
        let [low, high] = ends;
        let share = |v: f64| if v.is_finite() { ((v - low) / (high - low)).clamp(0.0, 1.0) } else { f64::NAN };
        let beyond = [finite().filter(|v| *v < low).count(), finite().filter(|v| *v > high).count()];
        Self { shares: values.into_iter().map(share).collect(), ends, beyond }
    }
}

/// 1, 2 or 5 times a power of ten, the largest that is not beyond `most`.
pub(super) fn round_below(most: f64) -> f64 {
    let power = 10f64.powf(most.log10().floor());
    [5.0, 2.0, 1.0].map(|m| m * power).into_iter().find(|&v| v <= most * 1.000001).unwrap_or(power)
}

/// A number as people read it, in three digits or so.
pub fn short(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if !value.is_finite() => "none".into(),
        _ if value == 0.0 => "0".into(),
        _ if !(1e-3..1e6).contains(&size) => format!("{value:.1e}"),
        _ => {
            let digits = (2.0 - size.log10().floor()).clamp(0.0, 5.0) as usize;
            let text = format!("{value:.digits$}");
            match text.contains('.') {
                true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
                false => text,
            }
        }
    }
}

/// A probability as people read it; one that is not 0 or 1 is not called so.
pub fn chance(probability: f64) -> String {
    match probability {
        p if p > 0.9995 && p < 1.0 => ">0.999".into(),
        p if p > 0.0 && p < 0.0005 => "<0.001".into(),
        p => format!("{p:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid(values: &[f32], signed: bool, range: Option<[f64; 2]>, scale: Scale) -> Laid {
        Laid::new(&Layer { name: "score", meaning: "", signed, range, values }, scale)
    }

    #[test]
    fn percentiles_by_hand() {
        assert_eq!(percentiles(&[5.0], false), [100.0]);
        assert_eq!(percentiles(&[2.0, 2.0], false), [50.0, 50.0]);
        assert_eq!(percentiles(&[3.0, 1.0, 2.0], false), [100.0, 0.0, 50.0]);
        assert_eq!(percentiles(&[0.0, -0.0, 1.0], false), [25.0, 25.0, 100.0]);
        let some = percentiles(&[f32::NAN, 1.0, f32::INFINITY, 2.0], false);
        assert!(some[0].is_nan() && some[2].is_nan());
        assert_eq!((some[1], some[3]), (0.0, 100.0));
        assert!(percentiles(&[], true).is_empty());
    }

    #[test]
    fn numbers_with_a_sign_lie_around_the_middle() {
        let of = laid(&[-2.0, 0.0, 1.0, f32::NAN], true, None, Scale::Raw);
        assert_eq!((&of.shares[..3], of.ends), (&[0.0, 0.5, 0.75][..], [-2.0, 2.0]));
        assert!(of.shares[3].is_nan());
        let of = laid(&[-2.0, 0.0, 1.0], true, None, Scale::Percentile);
        assert_eq!((of.shares, of.ends), (vec![0.0, 0.5, 0.75], [-100.0, 100.0]));
        let of = laid(&[-9.0, 0.0, 1.0, 2.5, 3.0, f32::NAN], true, Some([-2.0, 2.0]), Scale::Raw);
        assert_eq!((&of.shares[..5], of.beyond), (&[0.0, 0.5, 0.75, 1.0, 1.0][..], [1, 2]));
        assert_eq!(laid(&[0.0], true, None, Scale::Raw).shares, [0.5]);
    }

    #[test]
    fn numbers_without_one_go_from_end_to_end() {
        assert_eq!(laid(&[1.0, 3.0, 2.0], false, None, Scale::Raw).shares, [0.0, 1.0, 0.5]);
        assert_eq!(laid(&[0.25, 2.0], false, Some([0.0, 1.0]), Scale::Raw).shares, [0.25, 1.0]);
        for equal in [0.0, 4.0, -4.0, 1e30] {
            assert_eq!(laid(&[equal; 2], false, None, Scale::Raw).shares, [0.5, 0.5], "{equal}");
        }
        let none = laid(&[f32::NAN], false, None, Scale::Raw);
        assert!(none.shares[0].is_nan() && none.ends == [0.0, 1.0]);
    }

    #[test]
    fn numbers_are_short() {
        let told = [0.0, 0.12345, 12.5, 100.0, 1234.0, 1e-5, 3e7, -0.5, f64::NAN].map(short);
        assert_eq!(told, ["0", "0.123", "12.5", "100", "1234", "1.0e-5", "3.0e7", "-0.5", "none"]);
        assert_eq!([0.0, 0.0001, 0.25, 0.9999, 1.0].map(chance), ["0.000", "<0.001", "0.250", ">0.999", "1.000"]);
        assert_eq!([1.0, 4.9, 5.0, 19.0, 0.3].map(round_below), [1.0, 2.0, 5.0, 10.0, 0.2]);
    }
}
