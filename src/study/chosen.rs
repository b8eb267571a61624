//! Which settings the fits of a study chose, for people to see how steady the choice is.

use super::{Contender, Kind};
use crate::reproduce::runs::Line;
use serde::Serialize;
use std::fmt::Write;

/// The choice of a method whose settings were searched, over all fits.
#[derive(Clone, Debug, Serialize)]
pub struct Chosen {
    /// The score on the validation bags of a fit that decides.
    pub metric: String,
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
    /// The mean of its validation scores, where they are defined.
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
    /// The validation score of each candidate; none where its training diverged or the score is not defined.
    pub scores: Vec<Option<f64>>,
}

impl Chosen {
    /// Of the fits of a method: division, fold and seed of each with its line. None where there was no choice.
    pub(super) fn of(kind: Kind, contender: &Contender, fits: &[([usize; 3], &Line)]) -> Option<Self> {
        let [first, _, ..] = &contender.candidates[..] else { return None };
        let fits: Vec<OfFit> = fits
            .iter()
            .filter_map(|&([division, fold, seed], line)| {
                let taken = line.tried.iter().find(|tried| tried.chosen)?;
                let scores = line.tried.iter().map(|tried| tried.score).collect();
                let (chosen, epoch) = (taken.settings.clone(), taken.epoch);
                Some(OfFit { division, fold, seed: seed as u64, chosen, epoch, scores })
            })
            .collect();
        let of_candidate = |(at, candidate): (usize, &super::Candidate)| {
            let known: Vec<f64> = fits.iter().filter_map(|fit| *fit.scores.get(at)?).collect();
            OfCandidate {
                settings: candidate.settings.clone(),
                chosen: fits.iter().filter(|fit| fit.chosen == candidate.settings).count(),
                mean: (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64),
            }
        };
        let candidates = contender.candidates.iter().enumerate().map(of_candidate).collect();
        Some(Self { metric: first.judged_by(kind).to_string(), candidates, fits })
    }

    /// A table for people.
    pub(super) fn markdown(&self, name: &str, kind: Kind) -> String {
        let loss = if kind.has_classes() { "log loss" } else { "loss" };
        let mut text = format!(
            "\n### Settings of {name}\n\nEach fit trained all candidates and took the one with the best {} on its validation bags, \
             which are training bags of its fold; of equal ones the smaller {loss} decided, then the order below.\n\n\
             | settings | chosen in | mean {} |\n|---|---|---|\n",
            self.metric.replace('_', " "),
            self.metric.replace('_', " ")
        );
        for candidate in &self.candidates {
            let mean = candidate.mean.map_or("-".into(), |mean| format!("{mean:.3}"));
            let settings = candidate.settings.replace('|', "\\|");
            let _ = writeln!(text, "| {settings} | {} of {} | {mean} |", candidate.chosen, self.fits.len());
        }
        text += "\n| division | fold | seed | chosen | epoch |\n|---|---|---|---|---|\n";
        for OfFit { division, fold, seed, chosen, epoch, .. } in &self.fits {
            let chosen = chosen.replace('|', "\\|");
            let _ = writeln!(text, "| {division} | {fold} | {seed} | {chosen} | {epoch} |");
        }
        text
    }
}
