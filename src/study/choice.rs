//! Which settings a fit takes: those that are best on its validation bags, which are training bags of its fold.

use super::{Candidate, Contender, Kind};
use crate::error::{Error, Result};
use crate::fit::Standing;
use crate::front::Fitted;
use crate::metrics::Metric;
use crate::reproduce::Tried;
use crate::training::Settings;

/// Trains the candidates of a contender and takes the best by the validation score of the epoch that it kept. Of equal scores the
/// smaller log loss decides (the loss where there are no classes), of equal ones the first candidate. One whose training diverges
/// is no choice. With successive halving all but the best are given up after a part of their epochs, step by step.
///
/// Returns its place, its model and, of several candidates, all that were tried.
///
/// # Errors
/// Of a training; that it diverges only where it does with all candidates.
pub(super) fn best(
    kind: Kind,
    contender: &Contender,
    train: impl Fn(&Candidate) -> Result<Fitted>,
) -> Result<(usize, Fitted, Vec<Tried>)> {
    let candidates = &contender.candidates;
    if let [only] = &candidates[..] {
        return Ok((0, train(only)?, Vec::new()));
    }
    let mut tried: Vec<Option<Tried>> = vec![None; candidates.len()];
    // The best of the step before first, and how many of them go on.
    let (mut left, mut going) = ((0..candidates.len()).collect::<Vec<usize>>(), candidates.len());
    let mut diverged = None;
    for Rung { keep, part } in rungs(candidates, contender.halving) {
        // The best first, and of it alone the model.
        let mut ranking: Vec<(usize, Standing)> = Vec::new();
        let mut model = None;
        left[..going].sort_unstable();
        for (n, at) in left.into_iter().enumerate() {
            // Others go on only where training diverged with all that were to.
            if n >= going && !ranking.is_empty() {
                break;
            }
            let candidate = &candidates[at];
            let epochs = candidate.training.epochs.div_ceil(part);
            let training = Settings { epochs, ..candidate.training.clone() };
            let given_up = (part > 1).then_some(epochs);
            let attempt = Tried { settings: candidate.settings.clone(), given_up, ..Tried::default() };
            let fitted = match train(&Candidate { training, ..candidate.clone() }) {
                Ok(fitted) => fitted,
                Err(error @ (Error::NotFinite { .. } | Error::GradientOverflow { .. })) => {
                    tried[at] = Some(Tried { failed: Some(error.to_string()), ..attempt });
                    diverged = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let metric = candidate.judged_by(kind);
            let kept = fitted.epochs.iter().find(|epoch| epoch.epoch == fitted.kept);
            let of = |metric: Metric| kept?.validation.as_ref()?.get(metric);
            let loss = || if kind.has_classes() { of(Metric::LogLoss) } else { kept?.validation_loss };
            let (score, log_loss) = (of(metric), loss());
            tried[at] = Some(Tried { score, log_loss, epoch: fitted.kept, ..attempt });
            let standing = Standing { score, loss: log_loss.unwrap_or(f64::INFINITY) };
            let place = ranking.iter().position(|(_, other)| standing.beats(other, metric)).unwrap_or(ranking.len());
            ranking.insert(place, (at, standing));
            if place == 0 {
                model = Some(fitted);
            }
        }
        if let (1, Some(fitted), Some(&(at, _))) = (part, model, ranking.first()) {
            let mut tried: Vec<Tried> = tried.into_iter().flatten().collect();
            tried[at].chosen = true;
            return Ok((at, fitted, tried));
        }
        left = ranking.into_iter().map(|(at, _)| at).collect();
        going = keep.min(left.len());
    }
    Err(diverged.unwrap_or_else(|| Error::setting("search", "expected candidates to choose among, found none")))
}

/// A step of successive halving: everybody left is trained for a part of their epochs, and so many go on.
#[derive(Debug, PartialEq)]
struct Rung {
    keep: usize,
    part: u32,
}

/// The steps to one that trains for all epochs; only that one without halving. With share e and n candidates there are
/// log_e n before it, fewer where the least epochs of a candidate have no such part.
fn rungs(candidates: &[Candidate], halving: Option<usize>) -> Vec<Rung> {
    let epochs = candidates.iter().map(|candidate| candidate.training.epochs).min().unwrap_or(0);
    let (mut parts, mut share) = (vec![1u32], 1usize);
    while let Some(of) = halving {
        share = share.saturating_mul(of);
        match u32::try_from(share) {
            Ok(part) if of > 1 && share <= candidates.len() && part <= epochs => parts.push(part),
            _ => break,
        }
    }
    let rungs = parts.iter().rev().enumerate();
    // Of the last step the best is taken.
    rungs
        .map(|(step, &part)| Rung { keep: candidates.len() / parts[1..].get(step).map_or(1, |p| *p as usize), part })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::front::Trainer;
    use crate::methods::Method;
    use crate::study::tests::{bags, contender};

    #[test]
    fn rungs_divide_candidates_and_epochs_by_the_share() {
        let of = |count: usize, epochs: u32, halving: Option<usize>| {
            let method = Method::named("attention").unwrap();
            let training = Settings { epochs, ..Settings::for_method(&method) };
            let one = Candidate { settings: String::new(), method, training };
            rungs(&vec![one; count], halving).into_iter().map(|rung| (rung.part, rung.keep)).collect::<Vec<_>>()
        };
        assert_eq!(of(9, 90, None), [(1, 9)]);
        assert_eq!(of(9, 90, Some(3)), [(9, 3), (3, 1), (1, 9)]);
        assert_eq!(of(16, 100, Some(2)), [(16, 8), (8, 4), (4, 2), (2, 1), (1, 16)]);
        assert_eq!(of(20, 100, Some(3)), [(9, 6), (3, 2), (1, 20)]);
        // A ninth of five epochs is none.
        assert_eq!(of(9, 5, Some(3)), [(3, 3), (1, 9)]);
        assert_eq!(of(2, 90, Some(3)), [(1, 2)]);
        assert_eq!(of(usize::from(u8::MAX), u32::MAX, Some(usize::MAX)), [(1, 255)]);
    }

    /// Four candidates of four epochs, of which `fails` says by epochs and number of the call what diverges: what was chosen, and
    /// how many were trained for one, two and all epochs.
    fn chosen_of(fails: impl Fn(u32, usize) -> bool) -> (Result<(usize, Vec<Tried>)>, [usize; 3]) {
        let (bags, contender) = (bags(12), contender(&[1e-3, 2e-3, 3e-3, 4e-3]).halving(Some(2)));
        let calls = std::cell::RefCell::new([0; 5]);
        let train = |candidate: &Candidate| {
            let epochs = candidate.training.epochs;
            let number = calls.borrow()[epochs as usize];
            calls.borrow_mut()[epochs as usize] += 1;
            if fails(epochs, number) {
                return Err(Error::NotFinite { step: 1, loss: f32::NAN });
            }
            let of = |range: std::ops::Range<usize>| range.collect::<Vec<_>>();
            let trainer = Trainer::new(candidate.method.clone()).settings(candidate.training.clone());
            trainer.division(of(0..8), of(8..12)).device(&Device::host()).fit(&bags)
        };
        let found = best(Kind::of(&bags), &contender, train).map(|(at, _, tried)| (at, tried));
        let [_, one, two, _, all] = calls.into_inner();
        (found, [one, two, all])
    }

    /// Where training diverges with all that were to go on, the next best takes their place.
    #[test]
    fn halving_goes_on_with_others_where_all_that_were_to_diverge() {
        let (found, trained) = chosen_of(|_, _| false);
        let (_, tried) = found.unwrap();
        assert_eq!(trained, [4, 2, 1]);
        assert_eq!(tried.iter().filter(|tried| tried.given_up.is_some()).count(), 3);

        let (found, trained) = chosen_of(|epochs, call| epochs == 2 && call < 2);
        let (at, tried) = found.unwrap();
        assert_eq!(trained, [4, 3, 1], "of the two that were left the first one is enough");
        assert_eq!(tried.iter().filter(|tried| tried.failed.is_some()).count(), 2);
        let chosen: Vec<usize> = (0..4).filter(|&at| tried[at].chosen).collect();
        assert_eq!(chosen, [at]);
        assert!(tried[at].failed.is_none() && tried[at].given_up.is_none());

        // At the last step there is one left; when it diverges, the choice is among those of the step before.
        let (found, trained) = chosen_of(|epochs, call| epochs == 4 && call == 0);
        let (at, tried) = found.unwrap();
        assert_eq!(trained, [4, 2, 2]);
        assert!(tried[at].failed.is_none() && tried.iter().filter(|tried| tried.failed.is_some()).count() == 1);

        let (found, trained) = chosen_of(|epochs, _| epochs == 2);
        assert!(matches!(found, Err(Error::NotFinite { .. })));
        assert_eq!(trained, [4, 4, 0], "every one was tried");
        let (found, trained) = chosen_of(|_, _| true);
        assert!(matches!(found, Err(Error::NotFinite { .. })));
        assert_eq!(trained, [4, 0, 0]);
    }
}
