//! MIREL (Liu, Ji 2024): evidence for two classes, of bags and of instances, so that a model says how much it knows.
//!
//! A host pools features f_n to F, and U = G F is the logarithm of the bag's evidence. T(f_n) = G f_n with G as it is,
//! no gradient, is what the bag's head says of an instance; a residual r_n in (-1, 1) corrects it: the evidence of an
//! instance is e^(T (1 + r)). Evidence e is a Dirichlet distribution with alpha = e + 1 over the probabilities of the
//! classes, which are alpha / S in the mean, S the sum of alpha; K / S, the vacuity, is 1 where nothing is known.

use super::checks::check_least;
use super::image::Embedder;
use super::layers::{Meaning, Network, Start, Weight};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::evidential::{DirichletUncertainty, EvidentialLoss};
use crate::ops::pointwise::{Activation, Affine, Multiply, StopGradient};
use crate::ops::reduce::RowSum;
use crate::ops::rows::{Concat, SliceColumns};
use crate::ops::segment;
use crate::ops::update::Optimiser;
use crate::ops::weighting::RowScale;
use crate::tape::{Columns, Link, ValueId};
use serde::{Deserialize, Serialize};

/// What pools the features of a bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Host {
    /// The mean weighted by attention.
    #[default]
    Attention,
    /// The same with gated attention.
    Gated,
    /// The mean.
    Mean,
    /// The largest of each column.
    Max,
}

/// MIREL; the defaults are the paper's for features of slides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mirel {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// What pools the features.
    pub pool: Host,
    /// Hidden width H of the attention and of the residual.
    pub hidden: u32,
    /// Weight of -ln of the determinant of the Fisher information; below 0 squared errors are not weighted by it either.
    #[serde(serialize_with = "super::layers::shortest")]
    pub fisher: f32,
    /// Epochs until the divergence from no evidence for wrong classes counts whole.
    pub divergence_epochs: u32,
    /// Weight of the loss of instances.
    #[serde(serialize_with = "super::layers::shortest")]
    pub instances: f32,
    /// The residual learns from features that it does not change.
    pub frozen_features: bool,
    /// How weights start.
    pub init: Start,
}

impl Default for Mirel {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![512, 512],
            dropout: 0.0,
            pool: Host::Attention,
            hidden: 256,
            fisher: 0.0,
            divergence_epochs: 10,
            instances: 1.0,
            frozen_features: false,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers; inside of lenet-small"),
    ("pool", "what pools the features: attention, gated, mean or max"),
    ("hidden", "hidden width of the attention and of the residual"),
    ("fisher", "weight of the determinant of the Fisher information; negative for plain squared errors"),
    ("divergence_epochs", "epochs until evidence for wrong classes costs its whole divergence"),
    ("instances", "weight of the loss of instances"),
    ("frozen_features", "the residual does not change the features"),
    ("init", "start of the weights: torch or glorot"),
];

/// The logarithm of evidence stays within plus or minus this.
const LIMIT: f32 = 10.0;

impl MilMethod for Mirel {
    const NAME: &'static str = "mirel";

    fn about() -> About {
        let paper = "Liu, Ji: Weakly-Supervised Residual Evidential Learning for Multi-Instance Uncertainty Estimation, \
                     2024 (arXiv 2405.04405)";
        About { title: "MIREL", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// The authors' also halves the rate on a plateau of the validation loss and stops early by it.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-5), learning_rate: 1e-4, time_decay: 0.0, epochs: 200, bags: 8 }
    }

    /// # Errors
    /// [`Error::Setting`] for more than two classes, a width of 0, no epoch, weights out of range, or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        net.only_classes(Self::NAME, "its evidence is for one of two classes")?;
        self.check(net.classes)?;
        net.start = self.init;
        let features = net.features;
        let f = match self.embedder.record(net, self.image, self.dropout)? {
            Some(f) => net.dropout(f, self.embedder.dropout_behind(self.dropout))?,
            None => net.embed_with_dropout(features, &self.embed, self.dropout)?,
        };
        let (pooled, attention) = self.host(net, f)?;
        let raw = net.linear("head", pooled, 2, Activation::None)?;
        let bag = net.activate(raw, Activation::Clamp(LIMIT))?;
        let base = net.linear_shared(f, raw)?;
        let base = net.activate(base, Activation::Clamp(LIMIT))?;
        let base = net.tape.push1(StopGradient, &[base])?;
        let instance = self.residual(net, f, base)?;
        let [bag_evidence, evidence] = [net.activate(bag, Activation::Exp)?, net.activate(instance, Activation::Exp)?];
        let terms = self.losses(net, bag_evidence, evidence, base)?;
        // The softmax of ln alpha is alpha / S, and ln alpha keeps the evidence.
        let logits = net.activate(bag, Activation::Softplus)?;
        let odds = log_odds(net, instance)?;
        let scores = net.activate(odds, Activation::Sigmoid)?;
        net.finish((logits, Link::Softmax), (scores, Columns::Classes), terms.bags)?;
        net.objective("instances", terms.instances, Weight::Fixed(self.instances))?;
        let rises = |to: f32| Weight::Rises { to, epochs: self.divergence_epochs, begun: 1 };
        net.objective("divergence of bags", terms.bags_divergence, rises(1.0))?;
        net.objective("divergence of instances", terms.instances_divergence, rises(self.instances))?;
        net.scores_are(Meaning::Probability);
        if let Some(attention) = attention {
            net.attention(attention, Columns::Heads);
        }
        let of_bags = net.tape.push1(DirichletUncertainty, &[bag_evidence])?;
        let of_instances = net.tape.push1(DirichletUncertainty, &[evidence])?;
        for (first, name) in [(0, "vacuity"), (2, "mutual-information")] {
            let mut column = |all: ValueId| net.tape.push1(SliceColumns { first, count: 1 }, &[all]);
            let (bags, instances) = (column(of_bags)?, column(of_instances)?);
            net.tell_of_bags(&format!("bag-{name}"), bags, Meaning::Uncertainty)?;
            net.tell_of_instances(name, instances, Meaning::Uncertainty)?;
        }
        net.tell_of_bags("bag-evidence", bag_evidence, Meaning::Evidence)?;
        net.tell_of_instances("evidence", evidence, Meaning::Evidence)
    }
}

/// What is minimised.
struct Terms {
    bags: ValueId,
    instances: ValueId,
    bags_divergence: ValueId,
    instances_divergence: ValueId,
}

impl Mirel {
    fn check(&self, classes: usize) -> Result<()> {
        let wrong = |name: &str, message: &str| Err(Error::setting(name, message));
        if classes != 2 {
            let message = format!(
                "mirel is for two classes, negative and positive bags, found {classes}: all instances of a negative bag are \
                 negative, and of no other class could that be said"
            );
            return wrong("classes", &message);
        }
        if self.hidden == 0 {
            return wrong("hidden", "the hidden width must be above 0");
        }
        if self.divergence_epochs == 0 {
            return wrong(
                "divergence_epochs",
                "must be at least 1, which is the whole divergence from the first epoch on",
            );
        }
        if !self.fisher.is_finite() {
            return wrong("fisher", "must be a number; negative for plain squared errors");
        }
        check_least("instances", self.instances, 0.0)
    }

    /// The pooled features, and the attention where there is one.
    fn host(&self, net: &mut Network, f: ValueId) -> Result<(ValueId, Option<ValueId>)> {
        let gated = match self.pool {
            Host::Mean => return Ok((net.pool(f, segment::Pool::Mean)?, None)),
            Host::Max => return Ok((net.pool(f, segment::Pool::Max)?, None)),
            Host::Attention => false,
            Host::Gated => true,
        };
        let [pooled, scores] = net.attention_pool(f, gated, self.hidden, 1)?;
        Ok((pooled, Some(net.softmax_over_bags(scores)?)))
    }

    /// The logarithm of the evidence of instances, T (1 + r).
    fn residual(&self, net: &mut Network, f: ValueId, base: ValueId) -> Result<ValueId> {
        let from = if self.frozen_features { net.tape.push1(StopGradient, &[f])? } else { f };
        let inner = net.linear("residual.0", from, self.hidden, Activation::Tanh)?;
        let r = net.linear("residual.1", inner, 2, Activation::Tanh)?;
        let part = net.tape.push1(Multiply, &[base, r])?;
        net.add(base, part, 1.0, 1.0)
    }

    fn losses(&self, net: &mut Network, bags: ValueId, evidence: ValueId, base: ValueId) -> Result<Terms> {
        let labels = net.tape.batch(Input::Labels, 1);
        let targets = net.tape.batch(Input::Targets, 2);
        let joined = joined_evidence(net, evidence, base)?;
        let fisher = self.fisher >= 0.0;
        let mut both = |factors: [f32; 4]| -> Result<[ValueId; 2]> {
            let of = |label| EvidentialLoss { fisher, label, factors };
            let whole = net.tape.push1(of(None), &[bags, labels])?;
            // Of a negative bag all instances are negative; of a positive one the joined evidence is positive.
            let negative = net.tape.push1(of(Some(0)), &[evidence])?;
            let negative = net.pool(negative, segment::Pool::Mean)?;
            let positive = net.tape.push1(of(Some(1)), &[joined])?;
            let sides = net.tape.push1(Concat, &[negative, positive])?;
            let chosen = net.tape.push1(Multiply, &[sides, targets])?;
            let chosen = net.tape.push1(RowSum, &[chosen])?;
            Ok([net.weighted_over_bags(whole)?, net.weighted_over_bags(chosen)?])
        };
        let [bags, instances] = both([1.0, self.fisher.max(0.0), 0.0, 1.0])?;
        let [bags_divergence, instances_divergence] = both([0.0, 0.0, 1.0, 0.0])?;
        Ok(Terms { bags, instances, bags_divergence, instances_divergence })
    }
}

/// ln(alpha_1 / alpha_0) of the logarithm of evidence `[R, 2]`: its sigmoid is the probability of the second class.
fn log_odds(net: &mut Network, log_evidence: ValueId) -> Result<ValueId> {
    let log_alpha = net.activate(log_evidence, Activation::Softplus)?;
    let mut column = |first: u32| net.tape.push1(SliceColumns { first, count: 1 }, &[log_alpha]);
    let (negative, positive) = (column(0)?, column(1)?);
    net.add(positive, negative, 1.0, -1.0)
}

/// The evidence of a bag's instances, weighted by how likely the bag's head takes each for positive: `[B, 2]`.
fn joined_evidence(net: &mut Network, evidence: ValueId, base: ValueId) -> Result<ValueId> {
    let odds = log_odds(net, base)?;
    let likely = net.activate(odds, Activation::Sigmoid)?;
    let weighted = net.tape.push1(RowScale, &[evidence, likely])?;
    // The sum over the sum of the weights is the mean over the mean.
    let (weighted, total) = (net.pool(weighted, segment::Pool::Mean)?, net.pool(likely, segment::Pool::Mean)?);
    let log = net.activate(total, Activation::Ln)?;
    let log = net.tape.push1(Affine { factor: -1.0, offset: 0.0 }, &[log])?;
    let inverse = net.activate(log, Activation::Exp)?;
    net.tape.push1(RowScale, &[weighted, inverse])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::{Bags, Features};
    use crate::device::Device;
    use crate::model::{Model, Spec};
    use crate::session::Session;
    use crate::tape::Storage;
    use crate::training::predict;

    /// Evidence, vacuity and probabilities that are told are of one distribution.
    #[test]
    fn what_is_told_fits_together() {
        let settings = Mirel { embed: vec![5], hidden: 4, ..Mirel::default() };
        let model = Model::new(Spec::new(settings.into(), 3, 2), 4).unwrap();
        let values = (0..30).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
        let bags = Bags::packed(Features::F32(values), 3, &[7, 1, 2]).unwrap();
        let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
        let found = predict(&mut session, &bags, &[0, 1, 2], None).unwrap();
        let of_bags = |name: &str| found.of_bags.iter().find(|t| t.name == name).unwrap();
        let of_instances = |name: &str| found.of_instances.iter().find(|t| t.name == name).unwrap();
        let check = |evidence: &[f32], vacuity: f32, p: f32| {
            let total = 2.0 + evidence[0] + evidence[1];
            assert!((vacuity - 2.0 / total).abs() < 1e-6, "{vacuity} of {evidence:?}");
            assert!((p - (1.0 + evidence[1]) / total).abs() < 1e-6, "{p} of {evidence:?}");
        };
        for bag in 0..3 {
            check(of_bags("bag-evidence").row(bag), of_bags("bag-vacuity").row(bag)[0], found.bag(bag)[1]);
        }
        for row in 0..10 {
            check(of_instances("evidence").row(row), of_instances("vacuity").row(row)[0], found.scores[row]);
        }
        let names = of_instances("evidence").names(&["a".into(), "b".into()]);
        assert_eq!(names, ["evidence(a)", "evidence(b)"]);
    }

    #[test]
    fn what_it_is_not_for_is_refused() {
        let refused = |settings: Mirel, classes: usize| {
            Model::new(Spec::new(settings.into(), 3, classes), 1).unwrap_err().to_string()
        };
        let message = refused(Mirel::default(), 3);
        assert!(message.contains("two classes") && message.contains("found 3"), "{message}");
        assert!(refused(Mirel { hidden: 0, ..Mirel::default() }, 2).contains("above 0"));
        assert!(refused(Mirel { divergence_epochs: 0, ..Mirel::default() }, 2).contains("at least 1"));
        assert!(refused(Mirel { instances: -1.0, ..Mirel::default() }, 2).contains("at least 0"));
    }
}
