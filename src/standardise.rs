//! Features with mean 0 and standard deviation 1, by the statistics of the training bags.

mod distance;

use crate::Features;
use crate::bag::Bags;
use crate::error::{Error, Result};
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

pub(crate) use distance::means_of_all;
pub use distance::{Distance, Distances, FarBags, QUANTILES};

/// Rows summed by one task; fixed, so that a result does not depend on the number of threads.
const ROWS: usize = 4096;

/// Per-feature mean and standard deviation, in the unit of the features.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardiser {
    /// Mean of each feature.
    pub mean: Vec<f32>,
    /// Population standard deviation of each feature; 1 where the feature is constant.
    pub std: Vec<f32>,
}

impl Standardiser {
    /// The statistics over all instances of the bags `indices` (the training bags, as a rule), summed in
    /// f64 in two passes.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no such bag.
    pub fn fit(bags: &Bags, indices: &[usize]) -> Result<Self> {
        if let Some(&b) = indices.iter().find(|&&b| b >= bags.len()) {
            return Err(Error::bags(format!("standardise: expected bags 0 to {}, found {b}", bags.len().max(1) - 1)));
        }
        bags.check_indices(indices)?;
        bags.features.check_unchanged()?;
        let rows: Vec<Range<usize>> = indices.iter().flat_map(|&b| pieces(bags.rows(b))).collect();
        let count: usize = rows.iter().map(Range::len).sum();
        if count == 0 {
            return Err(Error::bags("standardise: expected at least one training bag, found none"));
        }
        let width = bags.width;
        // Differences from one row: exact zeros for a constant feature, and no cancellation for a large mean.
        let first: Vec<f64> = (0..width).map(|c| f64::from(bags.features.get(rows[0].start * width + c))).collect();
        let shift: Vec<f64> =
            column_sums(bags, &rows, |c, v| v - first[c]).into_iter().map(|s| s / count as f64).collect();
        let squares = column_sums(bags, &rows, |c, v| (v - first[c] - shift[c]).powi(2));
        let std = squares.into_iter().map(|s| {
            let std = (s / count as f64).sqrt() as f32;
            if std > 0.0 { std } else { 1.0 }
        });
        let mean = first.iter().zip(&shift).map(|(f, s)| (f + s) as f32);
        bags.features.check_unchanged()?;
        Ok(Self { mean: mean.collect(), std: std.collect() })
    }

    /// Replaces every feature of every bag by (value - mean) / std, in place; f16 stays f16, and features in a file
    /// are standardised as they are read.
    ///
    /// # Errors
    /// [`Error::Shape`] when the width differs, [`Error::Bags`] when a result is not finite (a spread so
    /// small that values elsewhere leave the range of the type).
    pub fn apply(&self, bags: &mut Bags) -> Result<()> {
        let width = bags.width;
        if self.mean.len() != width || self.std.len() != width {
            return Err(Error::Shape {
                operation: "standardise",
                expected: format!("{} features", self.mean.len()),
                found: format!("{width}"),
            });
        }
        self.validate()?;
        match &mut bags.features {
            Features::Mapped(v) => {
                if let Some(at) = v.standardise(self)? {
                    return Err(bags.not_finite(at));
                }
            }
            features => self.apply_from(0, features),
        }
        bags.validate()
    }

    /// Checks that there is a deviation for each mean, that all are finite, and that deviations are above 0.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the feature.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::setting("standardisation", message));
        let (means, deviations) = (self.mean.len(), self.std.len());
        if means != deviations {
            return wrong(format!("expected a deviation for each of {means} means, found {deviations}"));
        }
        if let Some(c) = self.mean.iter().position(|v| !v.is_finite()) {
            return wrong(format!("the mean of feature {c} is {}; expected a finite number", self.mean[c]));
        }
        match self.std.iter().position(|v| !(v.is_finite() && *v > 0.0)) {
            Some(c) => wrong(format!("the deviation of feature {c} is {}; expected a number above 0", self.std[c])),
            None => Ok(()),
        }
    }

    /// Standardises rows in memory, the first of which begins with column `first`.
    pub(crate) fn apply_from(&self, first: usize, features: &mut Features) {
        match features {
            Features::F32(v) => self.each(v, first, |c, v| *v = self.scaled(c, *v)),
            Features::F16(v) => self.each(v, first, |c, v| *v = f16::from_f32(self.scaled(c, v.to_f32()))),
            Features::Mapped(_) => unreachable!("what was read lies in memory"),
        }
    }

    fn each<T: Send>(&self, values: &mut [T], first: usize, each: impl Fn(usize, &mut T) + Sync) {
        let width = self.mean.len();
        let begun = if first == 0 { 0 } else { (width - first).min(values.len()) };
        let (head, rows) = values.split_at_mut(begun);
        head.iter_mut().enumerate().for_each(|(c, v)| each(first + c, v));
        let rows = rows.par_chunks_mut(width).with_min_len(256);
        rows.for_each(|row| row.iter_mut().enumerate().for_each(|(c, v)| each(c, v)));
    }

    /// A value of column `c` standardised.
    pub(crate) fn scaled(&self, c: usize, value: f32) -> f32 {
        (value - self.mean[c]) / self.std[c]
    }
}

/// Deviations from the mean beyond which a value is far from the training's: by Chebyshev's inequality at most a
/// hundredth of the training's own values are, however they are distributed.
pub const FAR: f32 = 10.0;

/// How much of some bags lies more than [`FAR`] standard deviations from the mean of what a model was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Far {
    /// Share of all values.
    pub values: f64,
    /// Share of the instances with such a value.
    pub instances: f64,
    /// The column with the most of them (from 0).
    pub column: usize,
    /// Share of this column's values.
    pub of_column: f64,
}

impl Far {
    /// More than the training's own bags could have: a hundredth of all values, or a tenth of a column's.
    pub fn is_remarkable(&self) -> bool {
        self.values > 0.01 || self.of_column > 0.1
    }
}

impl std::fmt::Display for Far {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        write!(
            f,
            "{} of the values, in {} of the instances, lie more than {FAR} standard deviations from what the model was \
             trained on; worst is column {} (0-based) with {} of its values",
            percent(self.values),
            percent(self.instances),
            self.column,
            percent(self.of_column)
        )
    }
}

impl Standardiser {
    /// How much of `bags`, as their files have them, is far from what these statistics are of.
    ///
    /// # Errors
    /// [`Error::Shape`] when the width differs, [`Error::Bags`] without instances.
    pub fn far(&self, bags: &Bags) -> Result<Far> {
        self.validate()?;
        let (width, rows) = (bags.width, bags.instances());
        if self.mean.len() != width {
            let expected = format!("{} features", self.mean.len());
            return Err(Error::Shape { operation: "compare with the training", expected, found: width.to_string() });
        }
        if rows == 0 {
            return Err(Error::bags("there are no instances to compare with the training"));
        }
        bags.features.check_unchanged()?;
        let pieces: Vec<Range<usize>> = pieces(0..rows).collect();
        let partial = pieces.into_par_iter().map(|rows| {
            let (mut columns, mut instances) = (vec![0u64; width], 0u64);
            let features = bags.features.slice(rows.start * width..rows.end * width).to_f32();
            for row in features.chunks_exact(width) {
                let mut any = false;
                for (c, (value, count)) in row.iter().zip(&mut columns).enumerate() {
                    let far = self.scaled(c, *value).abs() > FAR;
                    *count += u64::from(far);
                    any |= far;
                }
                instances += u64::from(any);
            }
            (columns, instances)
        });
        let (columns, instances) = partial.reduce(
            || (vec![0; width], 0),
            |(mut a, n), (b, m)| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                (a, n + m)
            },
        );
        bags.features.check_unchanged()?;
        let column = (0..width).fold(0, |worst, c| if columns[c] > columns[worst] { c } else { worst });
        let rows = rows as f64;
        Ok(Far {
            values: columns.iter().sum::<u64>() as f64 / (rows * width as f64),
            instances: instances as f64 / rows,
            column,
            of_column: columns[column] as f64 / rows,
        })
    }
}

/// The sum over `rows` of `of(column, value)`, for each column.
fn column_sums(bags: &Bags, rows: &[Range<usize>], of: impl Fn(usize, f64) -> f64 + Sync) -> Vec<f64> {
    let width = bags.width;
    let partial = rows.par_iter().map(|rows| {
        let mut sums = vec![0f64; width];
        // Rows at a time: to look up one value in a file takes longer than to read it.
        let features = bags.features.slice(rows.start * width..rows.end * width).to_f32();
        for row in features.chunks_exact(width) {
            for (c, (sum, value)) in sums.iter_mut().zip(row).enumerate() {
                *sum += of(c, f64::from(*value));
            }
        }
        sums
    });
    let mut total = vec![0f64; width];
    for sums in partial.collect::<Vec<_>>() {
        total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
    }
    total
}

fn pieces(rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let end = rows.end;
    rows.step_by(ROWS).map(move |start| start..(start + ROWS).min(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bags() -> Bags {
        let rows = (0..10_000).flat_map(|r| [r as f32 % 10.0, 1e6 + (r % 2) as f32, 0.1]);
        Bags::packed(Features::F32(rows.collect()), 3, &[9_000, 500, 500]).unwrap()
    }

    #[test]
    fn training_bags_get_mean_0_and_std_1() {
        let mut bags = bags();
        let s = Standardiser::fit(&bags, &[0, 1]).unwrap();
        assert_eq!(s.mean, [4.5, 1_000_000.5, 0.1]);
        assert_eq!(s.std, [8.25f32.sqrt(), 0.5, 1.0]);
        s.apply(&mut bags).unwrap();
        assert_eq!(bags.features.slice(0..3), Features::F32(vec![-4.5 / 8.25f32.sqrt(), -1.0, 0.0]));
        let again = Standardiser::fit(&bags, &[0, 1]).unwrap();
        assert!(again.mean.iter().all(|m| m.abs() < 1e-6) && (again.std[0] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn only_the_named_bags_count() {
        let bags = Bags::packed(Features::F32(vec![1.0, 3.0, 100.0]), 1, &[2, 1]).unwrap();
        assert_eq!(Standardiser::fit(&bags, &[0]).unwrap(), Standardiser { mean: vec![2.0], std: vec![1.0] });
    }

    #[test]
    fn f16_stays_f16() {
        let mut bags = bags().select(&[1]).unwrap();
        bags.features = Features::F32(bags.features.to_f32().iter().map(|v| v % 1000.0).collect()).to_f16();
        Standardiser::fit(&bags, &[0]).unwrap().apply(&mut bags).unwrap();
        assert!(matches!(&bags.features, Features::F16(v) if v[1].to_f32() == -1.0));
    }

    #[test]
    fn features_far_from_the_training_are_counted() {
        let bags = bags();
        let seen = Standardiser::fit(&bags, &[0, 1, 2]).unwrap();
        let same = seen.far(&bags).unwrap();
        assert_eq!((same.values, same.instances, same.of_column, same.is_remarkable()), (0.0, 0.0, 0.0, false));
        // A quarter of the instances with the second feature at another scale.
        let rows = (0..40).flat_map(|r| [4.0, if r % 4 == 0 { 1.0 } else { 1e6 }, 0.1]);
        let other = Bags::packed(Features::F32(rows.collect()), 3, &[40]).unwrap();
        let far = seen.far(&other).unwrap();
        assert_eq!(far, Far { values: 0.25 / 3.0, instances: 0.25, column: 1, of_column: 0.25 });
        assert!(far.is_remarkable());
        let text = far.to_string();
        assert!(
            text.contains("8.3 % of the values, in 25.0 % of the instances") && text.contains("column 1"),
            "{text}"
        );
        let narrow = Bags::packed(Features::F32(vec![1.0]), 1, &[1]).unwrap();
        assert!(seen.far(&narrow).unwrap_err().to_string().contains("expected 3 features, found 1"));
    }

    #[test]
    fn statistics_that_cannot_be_are_refused() {
        let refused = |mean: Vec<f32>, std: Vec<f32>| {
            let error = Standardiser { mean, std }.apply(&mut bags()).unwrap_err();
            error.to_string()
        };
        let one = || vec![1.0; 3];
        assert!(refused(one(), vec![1.0, 0.0, 1.0]).contains("deviation of feature 1 is 0"));
        assert!(refused(one(), vec![1.0, 1.0, -1.0]).contains("deviation of feature 2 is -1"));
        assert!(refused(one(), vec![f32::NAN, 1.0, 1.0]).contains("deviation of feature 0 is NaN"));
        assert!(refused(vec![0.0, f32::INFINITY, 0.0], one()).contains("mean of feature 1 is inf"));
        assert!(refused(one(), vec![1.0; 2]).contains("features"));
    }

    #[test]
    fn wrong_input_is_refused() {
        let mut bags = bags();
        assert!(Standardiser::fit(&bags, &[]).unwrap_err().to_string().contains("found none"));
        assert!(Standardiser::fit(&bags, &[3]).unwrap_err().to_string().contains("bags 0 to 2, found 3"));
        let narrow = Standardiser { mean: vec![0.0], std: vec![1.0] };
        assert!(narrow.apply(&mut bags).unwrap_err().to_string().contains("expected 1 features, found 3"));
        let tiny = Standardiser { mean: vec![0.0; 3], std: vec![1e-38, 1e-38, 1e-38] };
        assert!(tiny.apply(&mut bags).unwrap_err().to_string().contains("finite"));
    }
}
