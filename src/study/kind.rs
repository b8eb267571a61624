//! What a study is about, by what its bags have, and the one score that it is judged by.

use super::pools::Pool;
use crate::bag::Bags;
use crate::metrics::{BagScores, Concordance, Errors, Metric, Ranks};
use crate::reproduce::{Metrics, Predicted};
use crate::responses::Responses;
use crate::target::{Cox, Number, NumberLoss, Target};
use crate::training::Predictions;
use serde::Serialize;

/// What bags have that methods learn to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A class each.
    Classes,
    /// Any of several labels each.
    LabelSets,
    /// A number each.
    Numbers,
    /// A time and an event each.
    Survival,
}

impl Kind {
    /// That of these bags.
    pub fn of(bags: &Bags) -> Self {
        match (&bags.responses, &bags.label_sets) {
            (Some(Responses::Numbers(_)), _) => Self::Numbers,
            (Some(Responses::Survival { .. }), _) => Self::Survival,
            (None, Some(_)) => Self::LabelSets,
            (None, None) => Self::Classes,
        }
    }

    /// True for bags with classes, one or any of several.
    pub fn has_classes(self) -> bool {
        matches!(self, Self::Classes | Self::LabelSets)
    }

    /// The score that has intervals, and that methods are ordered by.
    pub fn judged_by(self) -> Metric {
        match self {
            Self::Classes | Self::LabelSets => Metric::Auc,
            Self::Numbers => Metric::R2,
            Self::Survival => Metric::CIndex,
        }
    }

    /// It as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Classes => "AUC",
            Self::LabelSets => "mean AUC of the labels",
            Self::Numbers => "R²",
            Self::Survival => "C-index",
        }
    }

    /// What it is where nothing is known of a bag.
    pub(super) fn of_nothing(self) -> f64 {
        if self == Self::Numbers { 0.0 } else { 0.5 }
    }

    /// Columns of the table that every study has; the files have all scores.
    pub(super) fn shown(self) -> &'static [&'static str] {
        match self {
            Self::Classes => &["auc", "average_precision", "balanced_accuracy", "f1", "mcc", "log_loss"],
            Self::LabelSets => &["auc", "average_precision", "f1", "subset_accuracy", "hamming_loss", "log_loss"],
            Self::Numbers => &["r2", "mae", "rmse", "pearson", "spearman"],
            Self::Survival => &["c_index", "c_index_uno"],
        }
    }

    /// The column of a table for a paper.
    pub(super) fn of_papers(self) -> [&'static str; 2] {
        match self {
            Self::Classes => ["Balanced accuracy", "balanced_accuracy"],
            Self::LabelSets => ["F1", "f1"],
            Self::Numbers => ["Spearman", "spearman"],
            Self::Survival => ["Uno's C", "c_index_uno"],
        }
    }
}

/// What was said of bags, for the score of a study on any sample of them.
pub(super) enum Judge {
    Ranks(Ranks),
    Errors(Errors),
    Concordance(Concordance),
}

impl Judge {
    /// Of the bags `labelled` of `bags`; `None` when something was said that is no number.
    pub fn of(pool: &Pool, bags: &Bags, labelled: &[usize]) -> Option<Self> {
        let numbers: Vec<usize> = pool.bags.iter().map(|&at| labelled[at]).collect();
        let of = |values: &[f32]| numbers.iter().map(|&bag| values[bag]).collect::<Vec<f32>>();
        match (&bags.responses, &bags.label_sets) {
            (Some(Responses::Numbers(truth)), _) => Errors::of(&pool.said, &of(truth), &pool.bags).map(Self::Errors),
            (Some(Responses::Survival { times, events }), _) => {
                let events: Vec<bool> = numbers.iter().map(|&bag| events[bag]).collect();
                Concordance::of(&pool.said, (&of(times), &events), &pool.folds, &pool.bags).map(Self::Concordance)
            }
            (None, Some(sets)) => Ranks::of_sets(&pool.said, &sets.select(&numbers), &pool.bags).map(Self::Ranks),
            (None, None) => Ranks::of_some(&pool.said, pool.width, &pool.labels, &pool.bags).map(Self::Ranks),
        }
    }

    /// The score where labelled bag b counts `counts[b]` times.
    pub fn score(&self, counts: &[u32]) -> Option<f64> {
        match self {
            Self::Ranks(ranks) => ranks.auc(counts),
            Self::Errors(errors) => errors.r2(counts),
            Self::Concordance(concordance) => concordance.c_index(counts),
        }
    }
}

/// Scores by name.
pub(super) fn by_name(scores: &BagScores) -> Metrics {
    let all: Vec<(String, Option<f64>)> = match scores {
        BagScores::Classes(scores) => {
            let classes = Metric::ALL.into_iter().filter(|metric| metric.is_of_classes());
            classes.map(|metric| (metric.name().to_owned(), scores.get(metric))).collect()
        }
        BagScores::LabelSets(scores) => {
            let of_all = [
                ("auc", scores.auc),
                ("average_precision", scores.average_precision),
                ("f1", scores.f1),
                ("subset_accuracy", scores.subset_accuracy),
                ("hamming_loss", scores.hamming_loss),
                ("log_loss", scores.log_loss),
            ];
            let of_labels = scores.labels.iter().map(|label| (format!("auc ({})", label.name), label.auc));
            of_all.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(of_labels).collect()
        }
        BagScores::Numbers(scores) => [
            ("r2", scores.r2),
            ("mae", scores.mae),
            ("rmse", scores.rmse),
            ("pearson", scores.pearson),
            ("spearman", scores.spearman),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec(),
        BagScores::Survival(scores) => vec![("c_index".to_owned(), scores.c_index)],
    };
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Predictions of no bags, of the kind that those of `bags` are: what tables and scores need to know of one who predicts.
/// What they say of a number or a risk depends on no more than that it is one.
pub fn predictions_of(bags: &Bags) -> Predictions {
    let target = match Kind::of(bags) {
        Kind::Classes => Target::Classes,
        Kind::LabelSets => Target::LabelSets,
        Kind::Numbers => Target::Number(Number { loss: NumberLoss::default(), center: 0.0, scale: 1.0 }),
        Kind::Survival => Target::Cox(Cox::default()),
    };
    Predictions { classes: bags.classes(), target, ..Predictions::default() }
}

/// What was said of a bag, as a run keeps it; `row` is its probabilities, or the one value of it.
pub(super) fn predicted(kind: Kind, bag: usize, row: &[f32]) -> Predicted {
    match kind.has_classes() {
        true => Predicted { bag, probabilities: row.to_vec(), value: None },
        false => Predicted { bag, probabilities: Vec::new(), value: row.first().copied() },
    }
}
