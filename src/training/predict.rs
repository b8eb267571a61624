//! Predictions of a model for bags, labelled or not.

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::methods::{ATTENTION_WEIGHTS, BAG_LOGITS, SCORES};
use crate::session::{Resident, Session};
use crate::training::metrics::{self, InstanceAuc, Scores};
use std::collections::BTreeMap;

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
    let outputs = |session: &mut Session, batch: &[usize]| session.outputs(bags, batch, resident);
    gather(session, bags, indices, outputs)
}

/// As [`predict`], of bags with labels, and their loss by the whole objective of the method, without dropout or masks:
/// the sum over the bags of the weight of their class times their loss, over the number of bags.
///
/// # Errors
/// As [`predict`], and [`Error::Bags`] without labels.
pub fn evaluate(
    session: &mut Session,
    bags: &Bags,
    indices: &[usize],
    class_weights: &[f32],
    resident: Option<&Resident>,
) -> Result<(Predictions, f64)> {
    bags.check_indices(indices)?;
    let weight = |&bag: &usize| {
        let weight = bags.label(bag).and_then(|label| class_weights.get(label as usize));
        weight.copied().ok_or_else(|| Error::bags(format!("bag {bag} has no class that a weight is given for")))
    };
    let of_bags = indices.iter().map(weight).collect::<Result<Vec<f32>>>()?;
    let (mut total, mut next) = (0.0, 0);
    let predictions = gather(session, bags, indices, |session, batch| {
        let weights: Vec<f32> =
            of_bags[next..next + batch.len()].iter().map(|weight| weight / batch.len() as f32).collect();
        next += batch.len();
        let (outputs, loss) = session.outputs_and_loss(bags, batch, &weights, resident)?;
        total += loss * batch.len() as f64;
        Ok(outputs)
    })?;
    Ok((predictions, total / indices.len() as f64))
}

/// Collects what `outputs` has of the bags `indices`, batch by batch.
fn gather(
    session: &mut Session,
    bags: &Bags,
    indices: &[usize],
    mut outputs: impl FnMut(&mut Session, &[usize]) -> Result<BTreeMap<String, Vec<f32>>>,
) -> Result<Predictions> {
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
        let outputs = outputs(session, batch)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;
    use crate::device::Device;
    use crate::methods::Method;
    use crate::model::{Model, Spec};
    use crate::random::Random;
    use crate::tape::Storage;

    /// The loss of an evaluation is that of a training step, all terms included, whole and in windows.
    #[test]
    fn the_loss_is_the_objective_that_is_trained() {
        let mut random = Random::new(9, 0);
        let sizes = [3, 70, 1, 5, 90, 2];
        let features: Vec<f32> = (0..sizes.iter().sum::<usize>() * 6).map(|_| random.normal() as f32).collect();
        let bags =
            Bags::packed(Features::F32(features), 6, &sizes).unwrap().with_labels(vec![0, 1, 1, 0, 1, 0]).unwrap();
        let of_class = [1.0, 3.0];
        let labels = bags.labels.clone().unwrap();
        let weights: Vec<f32> = labels.iter().map(|&l| of_class[l as usize] / sizes.len() as f32).collect();
        let all: Vec<usize> = (0..sizes.len()).collect();
        for (name, settings, bytes) in [
            ("dsmil", r#"{ "query": 4 }"#, None),
            ("dsmil", r#"{ "query": 4 }"#, Some(4 << 10)),
            ("mi-net-ds", r#"{ "embed": [5, 4] }"#, None),
            ("mhim-attention", r#"{ "embed": [8], "attention": 4 }"#, None),
        ] {
            let settings: serde_json::Map<_, _> = serde_json::from_str(settings).unwrap();
            let method = Method::named(name).unwrap().with(&settings).unwrap();
            let model = Model::new(Spec::new(method, 6, 2), 5).unwrap();
            let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
            session.limit_bindings(bytes);
            let wanted = session.gradients(&bags, Some(&weights)).unwrap().loss;
            let (predictions, found) = evaluate(&mut session, &bags, &all, &of_class, None).unwrap();
            assert!((found - wanted).abs() < 1e-5 * wanted.abs(), "{name} {bytes:?}: {found}, {wanted}");
            let again = predict(&mut session, &bags, &all, None).unwrap();
            assert_eq!(predictions.probabilities, again.probabilities, "{name}");
            // Of a method with more than one term it is not what the probabilities cost.
            let plain = evaluate(&mut session, &bags, &all, &[1.0, 1.0], None).unwrap().1;
            let log_loss = predictions.measure(&labels).unwrap().log_loss.unwrap();
            assert!((plain - log_loss).abs() > 1e-4, "{name}: {plain}, {log_loss}");
        }
    }
}
