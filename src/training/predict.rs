//! Predictions of a model for bags, labelled or not.

use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::methods::{ATTENTION_WEIGHTS, BAG_LOGITS, SCORES};
use crate::metrics::{
    self, BagScores, Froc, InstanceAuc, LabelSetScores, NumberScores, Scores, SlideDetections, SurvivalScores,
};
use crate::plan::{Purpose, TERM};
use crate::responses::Responses;
use crate::session::{Resident, Session};
use crate::tape::{Columns, Link, Meaning, Role};
use crate::target::{Target, Ties};
use crate::training::{Told, weights};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a model says of some bags and their instances.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// What was learnt of bags.
    pub target: Target,
    /// Number of classes; none where something else was learnt.
    pub classes: usize,
    /// Logits of a bag: one of two classes, else one of each, or of each but the first.
    pub outputs: usize,
    /// How these became probabilities.
    pub link: Link,
    /// A bag has any subset of the classes, each by its own probability.
    pub multi_label: bool,
    /// Where there are no classes, what is predicted of each bag: a number in the unit of the data, a log-risk, or of
    /// discrete-time survival the risk -(S_1 + .. + S_K), which is higher the earlier the event is expected.
    pub values: Vec<f32>,
    /// Of discrete-time survival the probability that no event comes before the end of each interval, `[bags, K]`.
    pub survival: Vec<f32>,
    /// Probability of each class for each bag, `[bags, classes]`; rows sum to 1 except where classes have
    /// independent sigmoids.
    pub probabilities: Vec<f32>,
    /// First instance of each bag, as in [`Bags`].
    pub offsets: Vec<usize>,
    /// A score for each instance; higher means more like a key instance. With several heads their mean,
    /// with one column a class that of the bag's largest logit. Empty for an ensemble of several methods
    /// ([`crate::Answers::mean`]).
    pub scores: Vec<f32>,
    /// Attention of each instance, summing to 1 over each bag, where the method has it; several columns become one as
    /// those of the scores.
    pub attention: Option<Vec<f32>>,
    /// The columns that the scores are of, where each is of a class and there are several, `[instances, outputs]`: those
    /// of [`Predictions::class_of_column`]. Of more than [`Predictions::MOST_COLUMNS`] they are not kept.
    pub class_scores: Option<Vec<f32>>,
    /// Likewise the attention, each column summing to 1 over each bag.
    pub class_attention: Option<Vec<f32>>,
    /// What the scores say.
    pub scores_are: Meaning,
    /// What the method tells of each bag besides.
    pub of_bags: Vec<Told>,
    /// What the method tells of each instance besides; of more than [`Predictions::MOST_COLUMNS`] columns it is not kept.
    pub of_instances: Vec<Told>,
}

impl Predictions {
    /// Columns of scores or attention that are kept; more would take more memory than the features.
    pub const MOST_COLUMNS: usize = 32;

    /// The class that column `column` of [`Predictions::class_scores`] and [`Predictions::class_attention`] is of: there is
    /// one for each logit.
    pub fn class_of_column(&self, column: usize) -> usize {
        self.classes - self.outputs + column
    }

    /// Number of bags.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// True when there is no bag.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Probabilities of the classes of bag `bag`, below [`Predictions::len`].
    ///
    /// # Panics
    /// When there is no such bag, as a slice would.
    pub fn bag(&self, bag: usize) -> &[f32] {
        &self.probabilities[bag * self.classes..(bag + 1) * self.classes]
    }

    /// Predicted class of bag `bag`: of two the second from 0.5 on, of more the most likely one, of equals the first. Of
    /// several labels a bag the most likely one.
    ///
    /// # Panics
    /// When there is no such bag, as a slice would.
    pub fn class(&self, bag: usize) -> usize {
        metrics::decide(self.bag(bag)) as usize
    }

    /// Of several labels a bag, those that bag `bag` is predicted to have: the ones with a probability of at least 0.5.
    ///
    /// # Panics
    /// When there is no such bag, as a slice would.
    pub fn labels(&self, bag: usize) -> Vec<usize> {
        let of = self.bag(bag);
        (0..of.len()).filter(|&label| metrics::has_label(of[label])).collect()
    }

    /// Metrics of the bags `of`, numbers of `bags`, against their labels; `probabilities` are those of these bags, in the
    /// same order ([`Predictions::said`]), and where there are no classes their values.
    ///
    /// # Errors
    /// [`Error::Bags`] for bags without labels, [`Error::Shape`] when lengths do not fit.
    pub fn scores_among(&self, probabilities: &[f32], bags: &Bags, of: &[usize]) -> Result<BagScores> {
        bags.check_indices(of)?;
        match (&bags.labels, &bags.label_sets) {
            (Some(labels), _) => {
                let labels: Vec<u32> = of.iter().map(|&bag| labels[bag]).collect();
                Ok(BagScores::Classes(self.scores_of(probabilities, &labels)?))
            }
            (None, Some(sets)) => {
                LabelSetScores::new(probabilities, &sets.select(of), &bags.class_names).map(BagScores::LabelSets)
            }
            (None, None) => match &bags.responses {
                Some(responses) => self.scores_of_responses(probabilities, &responses.select(of)),
                None => Err(Error::bags("metrics need labels, and these bags have none")),
            },
        }
    }

    /// Metrics of these values against responses of the same bags.
    fn scores_of_responses(&self, values: &[f32], responses: &Responses) -> Result<BagScores> {
        self.target.check_values(responses)?;
        match responses {
            Responses::Numbers(truth) => NumberScores::new(values, truth).map(BagScores::Numbers),
            Responses::Survival { times, events } => {
                SurvivalScores::new(values, times, events).map(BagScores::Survival)
            }
        }
    }

    /// What is said of all bags, as [`Predictions::scores_among`] takes it.
    pub fn said_of_all(&self) -> &[f32] {
        if self.target.has_classes() { &self.probabilities } else { &self.values }
    }

    /// What is said of some of these bags, as [`Predictions::scores_among`] takes it: probabilities, or values where there
    /// are no classes.
    ///
    /// # Panics
    /// When there is no such bag, as a slice would.
    pub fn said(&self, bags: &[usize]) -> Vec<f32> {
        match self.target.has_classes() {
            true => bags.iter().flat_map(|&bag| self.bag(bag)).copied().collect(),
            false => bags.iter().map(|&bag| self.values[bag]).collect(),
        }
    }

    /// Metrics against the labels of the same bags.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one label for each bag.
    pub fn measure(&self, labels: &[u32]) -> Result<Scores> {
        self.scores_of(&self.probabilities, labels)
    }

    /// Metrics of some of these bags, with their `probabilities` and labels.
    ///
    /// # Errors
    /// [`Error::Shape`] when there is not one label for each bag.
    pub fn scores_of(&self, probabilities: &[f32], labels: &[u32]) -> Result<Scores> {
        let scores = Scores::new(probabilities, self.classes, labels)?;
        Ok(match self.link {
            Link::IndependentSigmoids => {
                let log_loss = metrics::independent_log_loss(probabilities, self.classes, self.outputs, labels);
                Scores { log_loss, ..scores }
            }
            _ => scores,
        })
    }

    /// AUC of the instance scores against key instances (1) and others (0); not defined where there are no scores.
    pub fn instance_auc(&self, targets: &[u8]) -> InstanceAuc {
        if self.scores.is_empty() {
            return InstanceAuc::default();
        }
        let key: Vec<bool> = targets.iter().map(|&t| t != 0).collect();
        metrics::instance_auc(&self.scores, &key, &self.offsets)
    }

    /// The free-response ROC curve of the instance scores, where bags are slides whose instances have places: lesions are connected
    /// key instances (1 in `targets`, which are those of all instances of `bags`), detections the local maxima of the scores
    /// ([`SlideDetections::of_tiles`]). `pairs` are places of bags among these predictions, and their numbers among `bags`. `None`
    /// without places, scores or key instances.
    pub fn froc(&self, pairs: impl IntoIterator<Item = (usize, usize)>, bags: &Bags, targets: &[u8]) -> Option<Froc> {
        let places = bags.coords.as_ref().filter(|_| !self.scores.is_empty() && targets.len() == bags.instances())?;
        let side = bags.origin.as_ref().and_then(|origin| origin.patch);
        let slide = |(at, bag): (usize, usize)| {
            let key: Vec<bool> = targets[bags.rows(bag)].iter().map(|&target| target != 0).collect();
            let scores = &self.scores[self.offsets[at]..self.offsets[at + 1]];
            SlideDetections::of_tiles(scores, &key, &places[bags.rows(bag)], side)
        };
        metrics::froc(&pairs.into_iter().map(slide).collect::<Option<Vec<_>>>()?)
    }

    /// How far up key instances (1) stand among the others (0) of their bag by their scores: the mean of
    /// [`metrics::ndcg`] over the bags that have key instances; `None` when none has.
    pub fn ndcg(&self, targets: &[u8]) -> Option<f64> {
        let key: Vec<bool> = targets.iter().map(|&t| t != 0).collect();
        let fits = key.len() == self.scores.len();
        let of_bag = |w: &[usize]| metrics::ndcg(&self.scores[w[0]..w[1]], &key[w[0]..w[1]]);
        let each: Vec<f64> = self.offsets.windows(2).filter(|_| fits).filter_map(of_bag).collect();
        (!each.is_empty()).then(|| each.iter().sum::<f64>() / each.len() as f64)
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

/// The loss of some bags: the whole objective of a method.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loss {
    /// All of it.
    pub total: f64,
    /// Its terms by name, before their weights, of a method with more than one.
    pub terms: BTreeMap<String, f64>,
}

/// As [`predict`], of bags with labels, and their loss by the whole objective of the method, without dropout or masks:
/// the sum over the bags of the weight of their class times their loss, over the number of bags. Of several labels a bag
/// the weights are those of the labels that a bag has. Of the Cox partial likelihood it is that of the logits of all these
/// bags at once, without other terms.
///
/// # Errors
/// As [`predict`], and [`Error::Bags`] without labels.
pub fn evaluate(
    session: &mut Session,
    bags: &Bags,
    indices: &[usize],
    class_weights: &[f32],
    resident: Option<&Resident>,
) -> Result<(Predictions, Loss)> {
    bags.check_indices(indices)?;
    let mut all = Loss::default();
    let predictions = gather(session, bags, indices, |session, batch| {
        let weights = weights::of_batch(bags, batch, class_weights)?;
        let (outputs, loss) = session.outputs_and_loss(bags, batch, &weights, resident)?;
        let share = batch.len() as f64 / indices.len() as f64;
        all.total += loss * share;
        for (name, value) in outputs.iter().filter_map(|(name, value)| Some((name.strip_prefix(TERM)?, value))) {
            *all.terms.entry(name.to_owned()).or_default() += f64::from(value[0]) * share;
        }
        Ok(outputs)
    })?;
    if let Target::Cox(cox) = &predictions.target {
        // A batch knows of its own bags alone who was at risk.
        let Some(Responses::Survival { times, events }) = bags.responses.as_ref().map(|r| r.select(indices)) else {
            return Err(Error::bags("a loss needs survival times, and these bags have none"));
        };
        all.total = metrics::cox_loss(&predictions.values, &times, &events, cox.ties == Ties::Efron);
    }
    Ok((predictions, all))
}

/// The bags `indices` in batches that are looked at together.
pub(super) fn batches<'a>(bags: &'a Bags, indices: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
    let mut rest = indices;
    std::iter::from_fn(move || {
        let (batch, next) = rest.split_at(if rest.is_empty() { 0 } else { batch_of(bags, rest) });
        rest = next;
        Some(batch).filter(|batch| !batch.is_empty())
    })
}

/// Makes room, and programs, for every batch of an evaluation of the bags `indices`.
pub(super) fn make_ready(session: &mut Session, bags: &Bags, indices: &[usize]) -> Result<()> {
    for batch in batches(bags, indices) {
        let extent = session.extent_of(bags, batch)?;
        session.make_ready(Purpose::Evaluate, extent)?;
    }
    Ok(())
}

/// How many of the first of these bags are looked at together.
fn batch_of(bags: &Bags, indices: &[usize]) -> usize {
    first_together(indices.iter().map(|&bag| bags.rows(bag).len()))
}

/// How many of the first bags of these sizes are looked at together.
fn first_together(sizes: impl Iterator<Item = usize>) -> usize {
    let mut rows = 0;
    let fits = |size: &usize| {
        rows += size;
        rows <= BATCH_ROWS
    };
    sizes.take_while(fits).count().max(1)
}

/// Which of bags of these sizes are looked at together, one range after the other.
pub(crate) fn together(sizes: &[usize]) -> Vec<Range<usize>> {
    let mut all: Vec<Range<usize>> = Vec::new();
    let mut begin = 0;
    while begin < sizes.len() {
        let end = begin + first_together(sizes[begin..].iter().copied());
        all.push(begin..end);
        begin = end;
    }
    all
}

/// Collects what `outputs` has of the bags `indices`, batch by batch.
pub(crate) fn gather(
    session: &mut Session,
    bags: &Bags,
    indices: &[usize],
    mut outputs: impl FnMut(&mut Session, &[usize]) -> Result<BTreeMap<String, Vec<f32>>>,
) -> Result<Predictions> {
    let classes = session.model_classes();
    let Some(link) = session.link() else {
        return Err(Error::setting("model", "is an encoder of patches, which says nothing of bags"));
    };
    let (target, multi_label) = (session.learns().clone(), session.learns().is_label_sets());
    let scores_are = session.scores_are();
    let offsets = vec![0];
    let mut all = Predictions { target, classes, link, multi_label, scores_are, offsets, ..Default::default() };
    for batch in batches(bags, indices) {
        let outputs = outputs(session, batch)?;
        let (Some(logits), Some(scores)) = (outputs.get(BAG_LOGITS), outputs.get(SCORES)) else {
            return Err(Error::setting("model", "is an encoder of patches, which says nothing of bags"));
        };
        all.outputs = logits.len() / batch.len();
        let logits = || logits.chunks_exact(logits.len() / batch.len());
        logits().for_each(|bag| link.probabilities(bag, classes, &mut all.probabilities));
        all.target.predicted(logits(), &mut all.values, &mut all.survival);
        let sums = matches!(link, Link::Ordered | Link::Hazards);
        let sizes = || batch.iter().map(|&bag| bags.rows(bag).len());
        let columns = |name| if sums { Columns::Heads } else { session.columns(name) };
        joined(&mut all.scores, scores, columns(SCORES), logits().zip(sizes()));
        // Some methods make one column of those of all classes.
        let rows: usize = sizes().sum();
        let each = |name: &str, values: &[f32]| {
            let columns = (2..=Predictions::MOST_COLUMNS).contains(&all.outputs);
            columns && classes > 0 && session.columns(name) == Columns::Classes && values.len() == rows * all.outputs
        };
        if each(SCORES, scores) {
            all.class_scores.get_or_insert_default().extend(scores);
        }
        if let Some(weights) = outputs.get(ATTENTION_WEIGHTS) {
            if each(ATTENTION_WEIGHTS, weights) {
                all.class_attention.get_or_insert_default().extend(weights);
            }
            let all = all.attention.get_or_insert_default();
            joined(all, weights, columns(ATTENTION_WEIGHTS), logits().zip(sizes()));
        }
        for (name, role) in session.told() {
            let Some(values) = outputs.get(name) else { continue };
            match role {
                Role::OfBags(meaning) => told(&mut all.of_bags, (name, meaning), values, batch.len()),
                Role::OfInstances(meaning) => told(&mut all.of_instances, (name, meaning), values, rows),
                _ => {}
            }
        }
        sizes().for_each(|count| all.offsets.push(all.offsets[all.offsets.len() - 1] + count));
    }
    Ok(all)
}

/// Appends what a batch of `rows` bags or instances has under a name.
fn told(all: &mut Vec<Told>, (name, meaning): (&str, Meaning), values: &[f32], rows: usize) {
    let columns = values.len() / rows;
    if columns > Predictions::MOST_COLUMNS {
        return;
    }
    match all.iter_mut().find(|told| told.name == name) {
        Some(told) => told.values.extend(values),
        None => all.push(Told { name: name.to_owned(), meaning, columns, values: values.to_vec() }),
    }
}

/// Appends one value for each instance of bags with these logits and sizes, from columns that are heads or classes.
fn joined<'a>(
    out: &mut Vec<f32>,
    values: &[f32],
    columns: Columns,
    bags: impl Iterator<Item = (&'a [f32], usize)> + Clone,
) {
    let rows: usize = bags.clone().map(|(_, count)| count).sum();
    let count = values.len().checked_div(rows).unwrap_or(1);
    let mut row = 0;
    for (logits, instances) in bags {
        let class = (0..logits.len()).fold(0, |best, c| if logits[c] > logits[best] { c } else { best });
        for values in values[row * count..(row + instances) * count].chunks_exact(count) {
            out.push(match columns {
                // A single column is of both classes, or was made one already.
                Columns::Classes if count > 1 => values[class],
                _ => values.iter().sum::<f32>() / count as f32,
            });
        }
        row += instances;
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
    use serde_json::json;

    #[test]
    fn bags_that_are_read_when_they_are_wanted_are_batched_as_all() {
        let sizes = [5000, 3000, 200, 9000, 1, 8191, 1];
        assert_eq!(together(&sizes), [0..2, 2..3, 3..4, 4..6, 6..7]);
        let rows = sizes.iter().sum();
        let bags = Bags::packed(Features::F32(vec![0.0; rows]), 1, &sizes).unwrap();
        let all: Vec<usize> = (0..sizes.len()).collect();
        let batches: Vec<Vec<usize>> = batches(&bags, &all).map(<[usize]>::to_vec).collect();
        assert_eq!(batches, together(&sizes).into_iter().map(Iterator::collect::<Vec<_>>).collect::<Vec<_>>());
        assert!(together(&[]).is_empty());
    }

    /// The predictions of a fresh model for a few bags, and the outputs that they are made from.
    fn predictions(name: &str, settings: serde_json::Value, classes: usize) -> (Predictions, [Vec<f32>; 3]) {
        let method = Method::named(name).unwrap().with(settings.as_object().unwrap()).unwrap();
        let model = Model::new(Spec::new(method, 3, classes), 5).unwrap();
        let values = (0..27).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
        let mut bags = Bags::packed(Features::F32(values), 3, &[2, 4, 3]).unwrap();
        bags.coords = Some((0..9).map(|i| [(i * 7 % 5) as f32, i as f32]).collect());
        let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
        let all = [0, 1, 2];
        let raw = session.outputs(&bags, &all, None).unwrap();
        let of = |name: &str| raw.get(name).cloned().unwrap_or_default();
        (predict(&mut session, &bags, &all, None).unwrap(), [BAG_LOGITS, SCORES, ATTENTION_WEIGHTS].map(of))
    }

    /// Each method's logits become what its loss compares with the labels, and nothing else decides.
    #[test]
    fn probabilities_follow_the_link() {
        for (name, settings, independent) in [
            ("dsmil", json!({}), true),
            ("mhim-dsmil", json!({ "embed": [4] }), true),
            ("mi-net", json!({ "embed": [4] }), true),
            ("mi-net-bag", json!({ "embed": [4] }), false),
            ("attention", json!({ "embed": [4] }), false),
            ("das-mil", json!({ "embed": [4] }), false),
        ] {
            let (found, [logits, ..]) = predictions(name, settings, 4);
            for (bag, logits) in logits.chunks_exact(4).enumerate() {
                let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
                for (p, &l) in found.bag(bag).iter().zip(logits) {
                    let l = f64::from(l);
                    let wanted = if independent { 1.0 / (1.0 + (-l).exp()) } else { l.exp() / total };
                    assert!((f64::from(*p) - wanted).abs() < 1e-6, "{name}: {p} and {wanted}");
                }
            }
        }
    }

    #[test]
    fn columns_of_classes_are_kept_as_they_are() {
        for (name, settings, classes) in [
            ("dsmil", json!({}), 4),
            // Without a logit for the first class.
            ("dsmil", json!({ "negative": true }), 4),
            ("mi-net", json!({ "embed": [4] }), 3),
            ("dsmil", json!({}), 2),
            ("attention", json!({ "embed": [4], "heads": 4 }), 4),
            ("dsmil", json!({}), 33),
        ] {
            let (found, [_, scores, attention]) = predictions(name, settings, classes);
            let kept = name != "attention" && (2..=32).contains(&found.outputs);
            assert_eq!(found.class_scores, kept.then_some(scores), "{name} {classes}");
            assert_eq!(found.class_attention, (kept && name == "dsmil").then_some(attention), "{name} {classes}");
            // What one column says of the bag's class is one of these.
            let columns = found.class_scores.iter().flat_map(|of| of.chunks_exact(found.outputs));
            let bag = |row: usize| found.offsets.partition_point(|&first| first <= row) - 1;
            for (row, of) in columns.enumerate() {
                let named = (0..found.outputs).find(|&c| found.class_of_column(c) == found.class(bag(row)));
                assert!(named.is_none_or(|c| of[c] == found.scores[row]), "{name} {classes} row {row}");
            }
        }
    }

    #[test]
    fn columns_of_classes_are_not_averaged() {
        for (name, heads) in [("dsmil", false), ("attention", true)] {
            let settings = if heads { json!({ "embed": [4], "heads": 4 }) } else { json!({}) };
            let (found, [_, scores, attention]) = predictions(name, settings, 4);
            let attended = found.attention.as_ref().unwrap();
            for bag in 0..found.len() {
                let rows = found.offsets[bag]..found.offsets[bag + 1];
                let sum: f32 = attended[rows.clone()].iter().sum();
                assert!((sum - 1.0).abs() < 1e-5, "{name}: {sum}");
                for row in rows {
                    let one = |of: &[f32]| match heads {
                        true => of[row * 4..row * 4 + 4].iter().sum::<f32>() / 4.0,
                        false => of[row * 4 + found.class(bag)],
                    };
                    assert_eq!((found.scores[row], attended[row]), (one(&scores), one(&attention)), "{name}");
                }
            }
        }
    }

    /// Two sigmoids of three classes: a bag may be neither.
    #[test]
    fn a_bag_may_be_none_of_the_classes() {
        let (found, [logits, ..]) = predictions("dsmil", json!({ "negative": true }), 3);
        assert_eq!((found.outputs, logits.len()), (2, 6));
        let mut p = Vec::new();
        Link::IndependentSigmoids.probabilities(&[-2.0, -0.5], 3, &mut p);
        Link::IndependentSigmoids.probabilities(&[-2.0, 0.5], 3, &mut p);
        assert_eq!([metrics::decide(&p[..3]), metrics::decide(&p[3..])], [0, 2]);
        assert_eq!(p[0], 1.0 - p[2]);
        // Both targets of a bag of the first class are 0.
        let loss = metrics::independent_log_loss(&p, 3, 2, &[0, 2]).unwrap();
        let p = p.iter().map(|&p| f64::from(p)).collect::<Vec<_>>();
        let wanted = -((1.0 - p[1]).ln() + (1.0 - p[2]).ln() + (1.0 - p[4]).ln() + p[5].ln()) / 4.0;
        assert!((loss - wanted).abs() < 1e-9, "{loss} {wanted}");
    }

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
            let found = found.total;
            assert!((found - wanted).abs() < 1e-5 * wanted.abs(), "{name} {bytes:?}: {found}, {wanted}");
            let again = predict(&mut session, &bags, &all, None).unwrap();
            assert_eq!(predictions.probabilities, again.probabilities, "{name}");
            // Of a method with more than one term it is not what the probabilities cost.
            let plain = evaluate(&mut session, &bags, &all, &[1.0, 1.0], None).unwrap().1.total;
            let log_loss = predictions.measure(&labels).unwrap().log_loss.unwrap();
            assert!((plain - log_loss).abs() > 1e-4, "{name}: {plain}, {log_loss}");
        }
    }

    /// Of several labels a bag the loss of an evaluation is that of training, too, in batches as in one.
    #[test]
    fn labels_are_evaluated_as_they_are_trained() {
        let mut random = Random::new(9, 0);
        // Too many instances for one batch.
        let sizes = [3, 7000, 1, 5, 2000, 2];
        let features: Vec<f32> = (0..sizes.iter().sum::<usize>() * 3).map(|_| random.normal() as f32).collect();
        let sets = (0..12).map(|i| [Some(true), Some(false), None, Some(false), Some(true)][i % 5]).collect();
        let bags = Bags::packed(Features::F32(features), 3, &sizes).unwrap();
        let bags = bags.with_label_sets(crate::LabelSets::new(2, sets).unwrap(), vec!["a".into(), "b".into()]).unwrap();
        let model = Model::new(Spec::of(Method::named("dsmil").unwrap(), &bags), 5).unwrap();
        let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
        let all: Vec<usize> = (0..sizes.len()).collect();
        let weights = weights::of_batch(&bags, &all, &[3.0, 0.5]).unwrap();
        let wanted = session.gradients(&bags, Some(&weights)).unwrap();
        let (found, loss) = evaluate(&mut session, &bags, &all, &[3.0, 0.5], None).unwrap();
        let loss = loss.total;
        assert!((loss - wanted.loss).abs() < 1e-5 * wanted.loss, "{loss} {}", wanted.loss);
        // A sigmoid for each of two labels, not one logit of two classes.
        assert_eq!((found.multi_label, found.outputs, found.probabilities.len()), (true, 2, 12));
        for (p, logit) in found.probabilities.iter().zip(&wanted.outputs["bag_logits"].values) {
            assert!((f64::from(*p) - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-6);
        }
        let told: Vec<usize> = (0..2).filter(|&label| found.bag(4)[label] >= 0.5).collect();
        assert_eq!(found.labels(4), told);
        let scores = found.scores_among(&found.probabilities, &bags, &all).unwrap();
        assert!(matches!(scores, BagScores::LabelSets(of) if of.labels.len() == 2 && of.log_loss.is_some()));
        assert!(evaluate(&mut session, &bags, &all, &[1.0; 3], None).is_err());
    }
}
