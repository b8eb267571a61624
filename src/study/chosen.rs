//! Which settings the fits of a study chose, for people to see how steady the choice is.

use super::{Contender, Kind};
use crate::reproduce::Tried;
use crate::reproduce::runs::Line;
use serde::Serialize;
use std::fmt::Write;

/// The choice of a method whose settings were searched, over all fits.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    /// The score on the validation bags of a fit that decides.
    pub metric: String,
    /// The share of candidates that went on at each step, where settings were chosen by successive halving.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halving: Option<usize>,
    /// All candidates, in the order in which they were asked for.
    pub candidates: Vec<OfCandidate>,
    /// What each fit found.
    pub fits: Vec<OfFit>,
}

/// A candidate over all fits.
#[derive(Clone, Debug, Serialize)]
pub struct OfCandidate {
    /// Its settings.
    pub settings: String,
    /// How many fits chose it.
    pub chosen: usize,
    /// How many fits trained it for all its epochs.
    pub finished: usize,
    /// The mean of its validation scores where it was trained for all its epochs and they are defined.
    pub mean: Option<f64>,
}

/// A fit that chose.
#[derive(Clone, Debug, Serialize)]
pub struct OfFit {
    /// Its division, from 0.
    pub division: usize,
    /// Its fold, from 0.
    pub fold: usize,
    /// Its seed.
    pub seed: u64,
    /// The settings it chose.
    pub chosen: String,
    /// The epoch of the chosen model.
    pub epoch: u32,
    /// The validation score of each candidate; none where its training diverged or was given up, or the score is not defined.
    pub scores: Vec<Option<f64>>,
}

impl Chosen {
    /// Of the fits of a method: division, fold and seed of each with its line. None where there was no choice.
    pub(super) fn of(kind: Kind, contender: &Contender, fits: &[([usize; 3], &Line)]) -> Option<Self> {
        let [first, _, ..] = &contender.candidates[..] else { return None };
        let of_fits: Vec<OfFit> = fits
            .iter()
            .filter_map(|&([division, fold, seed], line)| {
                let taken = line.tried.iter().find(|tried| tried.chosen)?;
                let scores = line.tried.iter().map(|t| t.score.filter(|_| t.given_up.is_none())).collect();
                let (chosen, epoch) = (taken.settings.clone(), taken.epoch);
                Some(OfFit { division, fold, seed: seed as u64, chosen, epoch, scores })
            })
            .collect();
        let to_the_end = |tried: &Tried| tried.given_up.is_none() && tried.failed.is_none();
        let of_candidate = |(at, candidate): (usize, &super::Candidate)| {
            let known: Vec<f64> = of_fits.iter().filter_map(|fit| *fit.scores.get(at)?).collect();
            OfCandidate {
                settings: candidate.settings.clone(),
                finished: fits.iter().filter(|(_, line)| line.tried.get(at).is_some_and(to_the_end)).count(),
                chosen: of_fits.iter().filter(|fit| fit.chosen == candidate.settings).count(),
                mean: (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            }
        };
        let candidates = contender.candidates.iter().enumerate().map(of_candidate).collect();
        Some(Self { metric: first.judged_by(kind).to_string(), halving: contender.halving, candidates, fits: of_fits })
    }

    /// A table for people.
    pub(super) fn markdown(&self, name: &str, kind: Kind) -> String {
        let loss = if kind.has_classes() { "log loss" } else { "loss" };
        let metric = self.metric.replace('_', " ");
        let how = match self.halving {
            None => "trained all candidates".to_owned(),
            Some(share) => format!(
                "trained all candidates for a part of their epochs, of each {share} the best {share} times as long, and so on \
                 (successive halving),"
            ),
        };
        let mut text = format!(
            "\n### Settings of {name}\n\nEach fit {how} and took the one with the best {metric} on its validation bags, \
             which are training bags of its fold; of equal ones the smaller {loss} decided, then the order below. The mean is of \
             trainings to the end.\n\n| settings | chosen in | trained to the end in | mean {metric} |\n|---|---|---|---|\n"
        );
        for candidate in &self.candidates {
            let mean = candidate.mean.map_or("-".into(), |mean| format!("{mean:.3}"));
            let settings = candidate.settings.replace('|', "\\|");
            let OfCandidate { chosen, finished, .. } = candidate;
            let _ = writeln!(text, "| {settings} | {chosen} of {} | {finished} | {mean} |", self.fits.len());
        }
        text += "\n| division | fold | seed | chosen | epoch |\n|---|---|---|---|---|\n";
        for OfFit { division, fold, seed, chosen, epoch, .. } in &self.fits {
            let chosen = chosen.replace('|', "\\|");
            let _ = writeln!(text, "| {division} | {fold} | {seed} | {chosen} | {epoch} |");
        }
        text
    }
}
