//! The checks themselves: what is wrong has to fail them.

use crate::common::check::{Verdict, compare, judge};
use crate::common::harness::Results;

#[test]
fn a_gradient_that_differs_from_the_slope_is_wrong() {
    // The slope of a smooth objective is that of half a step; f(x) = 2 x.
    let smooth = || 2.0;
    assert_eq!(judge(2.0, smooth, 2.0 + 1e-7, 1.0), Verdict::Right);
    assert!(matches!(judge(2.0, smooth, 2.1, 1.0), Verdict::Wrong(e) if e > 0.09));
    assert!(matches!(judge(2.0, smooth, f64::NAN, 1.0), Verdict::Wrong(e) if e.is_nan()));
    assert!(matches!(judge(2.0, smooth, f64::NAN, f64::NAN), Verdict::Wrong(_)));
    assert!(matches!(judge(2.0, smooth, 0.0, 0.0), Verdict::Wrong(_)));
    // f(x) = max(0, x) from a third of a step below its kink: the slope is a third, and that over half a step is 0.
    assert_eq!(judge(1.0 / 3.0, || 0.0, 0.0, 1.0), Verdict::Kink);
}

fn results(gradient: [f64; 2]) -> Results {
    let outputs = vec![("y".to_owned(), vec![1.0])];
    Results { outputs, loss: None, params: vec![vec![1.0, -2.0], gradient.to_vec()], features: None }
}

#[test]
fn a_gradient_of_zero_is_compared_too() {
    let wanted = results([0.0, 1e-13]);
    compare("rounding", &results([1e-7, -1e-6]), &wanted, 1e-5);
    for wrong in [[0.1, 0.0], [f64::NAN, 0.0], [0.0, f64::INFINITY]] {
        let found = results(wrong);
        assert!(std::panic::catch_unwind(|| compare("wrong", &found, &wanted, 1e-5)).is_err(), "{wrong:?}");
    }
}
