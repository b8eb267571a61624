//! How fast the engine is: whole training steps, and every kernel against the device's own ceilings.

pub mod bounds;
pub mod cases;
pub mod ceilings;
pub mod compare;
pub mod foreign;
pub mod kernels;
pub mod ladders;
pub mod page;
pub mod run;
pub mod statistics;
pub mod steps;
pub mod tune;
pub mod whole;

mod loaded;

/// The value in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
