//! How good probabilities of being without an event are, where some bags are censored: Graf, Schmoor, Sauerbrei and Schumacher,
//! "Assessment and comparison of prognostic classification schemes for survival data", Statistics in Medicine 18, 1999.

use super::survival::Censoring;

/// The Brier score at a time: the mean square of what `survival`, each bag's probability of no event until `at`, is away from 1 where
/// none came until then, and from 0 where one did. Bags of the one kind weigh 1 / G(at), those of the other 1 / G at their event, G
/// the probability of not being censored, by Kaplan and Meier on `[times, events]` of `training` bags; a bag censored before
/// `at` weighs nothing, and the others weigh what it would have. Smaller is better; 0.25 is what one half for everybody has.
///
/// Bags whose time is NaN are left out. `None` without bags, where lengths do not fit, where a probability is none, and where G is 0
/// at a bag that would be weighted.
pub fn brier_at(
    survival: &[f32],
    (times, events): (&[f32], &[bool]),
    training: (&[f32], &[bool]),
    at: f32,
) -> Option<f64> {
    score_at((survival, 0, 1), (times, events), &Censoring::of(training.0, training.1), at)
}

/// The integrated Brier score: the mean of [`brier_at`] over the time between the first and the last of `at`, which rise, by the
/// trapezoid rule. `survival` is `[bags, at]`. `None` of fewer than two times, and where the score at one of them is.
///
/// ```
/// # use bagrad::metrics::integrated_brier;
/// let (times, events) = (&[1.0, 4.0][..], &[true, true][..]);
/// let said = [0.5, 0.0, 0.5, 1.0];
/// assert_eq!(integrated_brier(&said, &[0.5, 2.0], (times, events), (times, events)), Some(0.125));
/// ```
pub fn integrated_brier(
    survival: &[f32],
    at: &[f32],
    (times, events): (&[f32], &[bool]),
    training: (&[f32], &[bool]),
) -> Option<f64> {
    let rise = at.windows(2).all(|pair| pair[0] < pair[1]);
    if at.len() < 2 || !rise || at.iter().any(|time| !time.is_finite()) {
        return None;
    }
    let censoring = Censoring::of(training.0, training.1);
    let score = |(place, &time): (usize, &f32)| {
        Some((f64::from(time), score_at((survival, place, at.len()), (times, events), &censoring, time)?))
    };
    let scores = at.iter().enumerate().map(score).collect::<Option<Vec<_>>>()?;
    let area: f64 = scores.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[0].1 + pair[1].1) / 2.0).sum();
    Some(area / (scores[scores.len() - 1].0 - scores[0].0))
}

/// Of one column of `survival`, which has so many.
fn score_at(
    (survival, column, columns): (&[f32], usize, usize),
    (times, events): (&[f32], &[bool]),
    censoring: &Censoring,
    at: f32,
) -> Option<f64> {
    if events.len() != times.len() || survival.len() != columns * times.len() {
        return None;
    }
    let (mut sum, mut count) = (0.0, 0usize);
    for bag in (0..times.len()).filter(|&bag| !times[bag].is_nan()) {
        let said = f64::from(survival[bag * columns + column]);
        if !(0.0..=1.0).contains(&said) {
            return None;
        }
        count += 1;
        let (away, left) = match (times[bag] > at, events[bag]) {
            (true, _) => (1.0 - said, censoring.at(at)),
            (false, true) => (said, censoring.at(times[bag])),
            (false, false) => continue,
        };
        if left == 0.0 {
            return None;
        }
        sum += away * away / left;
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Against scikit-survival (`tools/make_fixtures_survival.py`).
    #[test]
    fn scores_are_those_of_another_program() {
        let file: Value = serde_json::from_str(include_str!("../../tests/metrics/survival.json")).unwrap();
        let floats =
            |of: &Value| -> Vec<f32> { of.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect() };
        let flags = |of: &Value| floats(of).iter().map(|&event| event == 1.0).collect::<Vec<bool>>();
        let mut compared = 0;
        for (n, case) in file["survival"].as_array().unwrap().iter().enumerate() {
            let (times, events, brier) = (floats(&case["times"]), flags(&case["events"]), &case["brier"]);
            let (at, said) = (floats(&brier["at"]), floats(&brier["said"]));
            let others = (floats(&brier["training"]["times"]), flags(&brier["training"]["events"]));
            for (name, training) in [("own", (&times[..], &events[..])), ("others", (&others.0[..], &others.1[..]))] {
                if !events.contains(&true) {
                    assert!(brier[name][0].is_null(), "without an event the other program refuses");
                    continue;
                }
                let close = |what: &str, found: Option<f64>, wanted: &Value| {
                    let (found, wanted) = (found.unwrap(), wanted.as_f64().unwrap());
                    assert!((found - wanted).abs() < 1e-9, "case {n}, {name} {what}: {found}, {wanted}");
                };
                let data = (&times[..], &events[..]);
                for (place, &time) in at.iter().enumerate() {
                    let column: Vec<f32> = said.iter().skip(place).step_by(at.len()).copied().collect();
                    close(&format!("at {time}"), brier_at(&column, data, training, time), &brier[name][place]);
                    compared += 1;
                }
                let wanted = &brier[format!("{name}_integrated")];
                close("integrated", integrated_brier(&said, &at, data, training), wanted);
            }
        }
        assert!(compared >= 60, "{compared}");
    }

    #[test]
    fn by_hand_and_undefined() {
        let (times, events) = ([1.0, 2.0, 3.0, 4.0], [true, false, true, false]);
        let data = (&times[..], &events[..]);
        // One of three is censored at 2, so what comes later weighs 3 / 2.
        let found = brier_at(&[0.1, 0.2, 0.3, 0.4], data, data, 3.0).unwrap();
        assert!((found - (0.01 + 0.09 * 1.5 + 0.36 * 1.5) / 4.0).abs() < 1e-8, "{found}");
        // An event at the time has come; the float before it is before.
        let just = |at: f32| brier_at(&[0.0, 1.0, 1.0, 1.0], data, data, at);
        assert_eq!((just(1.0), just(1f32.next_down())), (Some(0.0), Some(0.25)));
        // A time that is not known counts nothing, whatever is said.
        let some = ([1.0, f32::NAN, 3.0], [true, true, true]);
        assert_eq!(brier_at(&[0.5, f32::NAN, 0.5], (&some.0, &some.1), (&some.0, &some.1), 2.0), Some(0.25));
        // Of others everybody is censored before the event, or before the time.
        let gone = (&[0.5, 1.5][..], &[false, false][..]);
        assert_eq!(brier_at(&[0.5; 4], data, gone, 3.0), None);
        assert_eq!(brier_at(&[0.5; 4], data, gone, 0.1), Some(0.25));
        assert_eq!([brier_at(&[0.5; 3], data, data, 1.0), brier_at(&[1.5; 4], data, data, 1.0)], [None; 2]);
        assert_eq!(brier_at(&[f32::NAN; 4], data, data, 1.0), None);
        assert_eq!(brier_at(&[], (&[], &[]), data, 1.0), None);
        for at in [&[1.0][..], &[], &[2.0, 1.0], &[1.0, f32::INFINITY]] {
            assert_eq!(integrated_brier(&vec![0.5; 4 * at.len()], at, data, data), None);
        }
    }
}
