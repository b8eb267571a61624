//! Which settings a fit takes: those that are best on its validation bags, which are training bags of its fold.

use super::{Candidate, Kind};
use crate::error::{Error, Result};
use crate::fit::Standing;
use crate::front::Fitted;
use crate::metrics::Metric;
use crate::reproduce::Tried;

/// Trains each candidate and takes the best by the validation score of the epoch that it kept. Of equal scores the smaller log
/// loss decides (the loss where there are no classes), of equal ones the first candidate. One whose training diverges is no choice.
///
/// Returns its place, its model and, of several candidates, all that were tried.
///
/// # Errors
/// Of a training; that it diverges only where it does with all candidates.
pub(super) fn best(
    kind: Kind,
    candidates: &[Candidate],
    train: impl Fn(&Candidate) -> Result<Fitted>,
) -> Result<(usize, Fitted, Vec<Tried>)> {
    if let [only] = candidates {
        return Ok((0, train(only)?, Vec::new()));
    }
    let mut tried = Vec::new();
    let mut best: Option<(usize, Fitted, Standing)> = None;
    let mut diverged = None;
    for (at, candidate) in candidates.iter().enumerate() {
        let settings = candidate.settings.clone();
        let fitted = match train(candidate) {
            Ok(fitted) => fitted,
            Err(error @ (Error::NotFinite { .. } | Error::GradientOverflow { .. })) => {
                let failed = Some(error.to_string());
                tried.push(Tried { settings, score: None, log_loss: None, epoch: 0, chosen: false, failed });
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
        tried.push(Tried { settings, score, log_loss, epoch: fitted.kept, chosen: false, failed: None });
        let standing = Standing { score, loss: log_loss.unwrap_or(f64::INFINITY) };
        if best.as_ref().is_none_or(|(_, _, before)| standing.beats(before, metric)) {
            best = Some((at, fitted, standing));
        }
    }
    match (best, diverged) {
        (Some((at, fitted, _)), _) => {
            tried[at].chosen = true;
            Ok((at, fitted, tried))
        }
        (None, Some(error)) => Err(error),
        (None, None) => Err(Error::setting("search", "expected candidates to choose among, found none")),
    }
}
