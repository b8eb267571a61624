//! Predictions of a model for bags, labelled or not.

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::methods::{ATTENTION_WEIGHTS, BAG_LOGITS, SCORES};
use crate::session::{Resident, Session};
use crate::training::metrics::{self, InstanceAuc, Scores};

/// What a model says of some bags and their instances.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Number of classes.
    pub classes: usize,
    /// Probability of each class for each bag, `[bags, classes]`; rows sum to 1 except where a method has
    /// one sigmoid a class.
    pub probabilities: Vec<f32>,
    /// First instance of each bag, as in [`Bags`].
    pub offsets: Vec<usize>,
    /// A score for each instance; higher means more like a key instance. With several heads their mean,
    /// with one column a class the column of the bag's predicted class.
    pub scores: Vec<f32>,
    /// Attention of each instance (mean over heads), summing to 1 over each bag, where the method has it.
    pub attention: Option<Vec<f32>>,
}

impl Predictions {
    /// Number of bags.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True when there is no bag.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Probabilities of bag `bag`.
    pub fn bag(&self, bag: usize) -> &[f32] {
        &self.probabilities[bag * self.classes..(bag + 1) * self.classes]
    }

    /// Most likely class of bag `bag`; of equals the first.
    pub fn class(&self, bag: usize) -> usize {
        let p = self.bag(bag);
        (0..p.len()).fold(0, |best, c| if p[c] > p[best] { c } else { best })
    }

    /// Metrics against the labels of the same bags.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one label for each bag.
    pub fn measure(&self, labels: &[u32]) -> Result<Scores> {
        Scores::new(&self.probabilities, self.classes, labels)
    }

    /// AUC of the instance scores against key instances (1) and others (0).
    pub fn instance_auc(&self, targets: &[u8]) -> InstanceAuc {
        let key: Vec<bool> = targets.iter().map(|&t| t != 0).collect();
        metrics::instance_auc(&self.scores, &key, &self.offsets)
    }
}

/// Instances of a prediction's batch, unless a single bag has more.
const BATCH_ROWS: usize = 8192;

/// Runs the model over the bags `indices`, several at a time.
///
/// # Errors
/// [`Error::Shape`] when the width does not fit the model, [`Error::Setting`] for a model without bag logits, and what
/// the device answers.
pub fn predict(
    session: &mut Session,
    bags: &Bags,
    indices: &[usize],
    resident: Option<&Resident>,
) -> Result<Predictions> {
    bags.check_indices(indices)?;
    let classes = session.model_classes();
    let mut all = Predictions { classes, offsets: vec![0], ..Default::default() };
    let mut next = 0;
    while next < indices.len() {
        let (start, mut rows) = (next, 0);
        while next < indices.len() && (next == start || rows + bags.rows(indices[next]).len() <= BATCH_ROWS) {
            rows += bags.rows(indices[next]).len();
            next += 1;
        }
        let batch = &indices[start..next];
        let outputs = session.outputs(bags, batch, resident)?;
        let (Some(logits), Some(scores)) = (outputs.get(BAG_LOGITS), outputs.get(SCORES)) else {
            return Err(Error::setting("model", "is an encoder of patches, which says nothing of bags"));
        };
        let columns = logits.len() / batch.len();
        let per_class = session.scores_are_classes();
        let score_columns = scores.len() / rows;
        let mut row = 0;
        for (logits, &bag) in logits.chunks_exact(columns).zip(batch) {
            push_probabilities(&mut all.probabilities, logits, session.independent_classes());
            let count = bags.rows(bag).len();
            let class = all.class_of_last(classes);
            for scores in scores[row * score_columns..(row + count) * score_columns].chunks_exact(score_columns) {
                all.scores.push(match per_class && score_columns > 1 {
                    true => scores[class],
                    false => scores.iter().sum::<f32>() / score_columns as f32,
                });
            }
            row += count;
            all.offsets.push(all.offsets.last().unwrap() + count);
        }
        if let Some(weights) = outputs.get(ATTENTION_WEIGHTS) {
            let heads = weights.len() / rows;
            let mean = weights.chunks_exact(heads).map(|w| w.iter().sum::<f32>() / heads as f32);
            all.attention.get_or_insert_default().extend(mean);
        }
    }
    Ok(all)
}

impl Predictions {
    fn class_of_last(&self, classes: usize) -> usize {
        let p = &self.probabilities[self.probabilities.len() - classes..];
        (0..classes).fold(0, |best, c| if p[c] > p[best] { c } else { best })
    }
}

/// Class probabilities from the logits of one bag: a sigmoid of a single logit, else softmax, or a sigmoid
/// for each class where classes are independent.
pub(crate) fn push_probabilities(out: &mut Vec<f32>, logits: &[f32], independent: bool) {
    let sigmoid = |x: f32| (1.0 / (1.0 + (-x as f64).exp())) as f32;
    match logits {
        [logit] => out.extend([1.0 - sigmoid(*logit), sigmoid(*logit)]),
        _ if independent => out.extend(logits.iter().map(|&l| sigmoid(l))),
        _ => {
            let largest = logits.iter().fold(f32::NEG_INFINITY, |m, &l| m.max(l));
            let total: f64 = logits.iter().map(|&l| ((l - largest) as f64).exp()).sum();
            out.extend(logits.iter().map(|&l| (((l - largest) as f64).exp() / total) as f32));
        }
    }
}
