//! Adaptive Pooling (Zhou, Sun, Liu, Zha, Zeng 2017): the generalised mean of the instances' probabilities, with an
//! exponent for each class that is learnt.
//!
//! P = (mean of q^r)^(1/r), q the probabilities of a bag's instances: r = 1 is the mean, a large r the maximum. All of it
//! is computed as ln P.

use super::checks::check_least;
use super::image::Embedder;
use super::layers::{Network, Pool, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::Result;
use crate::ops::pointwise::{Activation, Affine};
use crate::ops::power_pool::GeneralisedMean;
use crate::ops::pseudo_label::{BagPseudoLoss, InstancePseudoLoss};
use crate::ops::update::Optimiser;
use crate::tape::{Columns, Meaning, ValueId};
use serde::{Deserialize, Serialize};

/// What negative bags are learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Negative {
    /// Every instance, which is negative, too: the mean of -ln(1 - q). The exponent gets no gradient of it.
    #[default]
    Instance,
    /// The pooled probability: -ln(1 - P).
    Bag,
}

/// Adaptive Pooling; the defaults are the paper's where it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptivePooling {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers.
    pub embed: Vec<u32>,
    /// Dropout after the last of them, after LeNet, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Positive bags: add the squared gap between the loss of the bag and that of its instances, which are taken for what
    /// they look like.
    pub joint: bool,
    /// Factor of the squared gap.
    #[serde(serialize_with = "super::layers::shortest")]
    pub lambda: f32,
    /// What negative bags are learnt from.
    pub negative: Negative,
    /// How weights start.
    pub init: Start,
}

impl Default for AdaptivePooling {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            dropout: 0.5,
            joint: true,
            lambda: 0.1,
            negative: Negative::Instance,
            init: Start::Glorot,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers; [] for none"),
    ("dropout", "dropout after the last of these layers or after lenet; inside of lenet-small"),
    ("joint", "positive bags: add the squared gap between the losses of bag and instances"),
    ("lambda", "factor of the squared gap"),
    ("negative", "what negative bags are learnt from: instance (each is negative) or bag (the pooled probability)"),
    ("init", "start of the weights: torch or glorot"),
];

/// ln(e^0.99 - 1): softplus of it and [`LEAST`] are 1.
const START: f32 = 0.525_458_7;
/// The exponent is at least this much above 0, where the pool has no value.
const LEAST: f32 = 0.01;
/// The exponent is at most this, where the pool is a maximum but for 7 % in a bag of a hundred.
const MOST: f32 = 64.0;

impl MilMethod for AdaptivePooling {
    const NAME: &'static str = "adaptive-pooling";

    fn about() -> About {
        let paper = "Zhou, Sun, Liu, Zha, Zeng: Adaptive Pooling in Multi-Instance Learning for Web Video Annotation, \
                     ICCV Workshops 2017 (doi 10.1109/ICCVW.2017.46)";
        About { title: "Adaptive Pooling", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// Ours: the paper's is not known.
    fn recipe(&self) -> Recipe {
        recipe()
    }

    fn takes_label_sets(&self) -> bool {
        true
    }

    /// Each class has a sigmoid, an exponent and a loss of its own.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a negative factor, a width of 0 or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

/// Adam at 1e-4 without decay, for pools of probabilities whose recipe is not known.
pub(super) fn recipe() -> Recipe {
    let optimiser = Optimiser { decay_biases: false, ..Optimiser::adam(0.0) };
    Recipe { optimiser, learning_rate: 1e-4, time_decay: 0.0, epochs: 100, bags: 1 }
}

fn record(net: &mut Network, settings: &AdaptivePooling) -> Result<()> {
    check_least("lambda", settings.lambda, 0.0)?;
    net.start = settings.init;
    let h = settings.embedder.embeddings(net, settings.image, &settings.embed, settings.dropout)?;
    let outputs = net.outputs();
    let scores = net.linear("score", h, outputs, Activation::None)?;
    let exponent = exponent(net)?;
    let [tiles, bag_tiles, offsets] = net.tables();
    let log_p = net.tape.push1(GeneralisedMean, &[scores, exponent, tiles, bag_tiles, offsets])?;
    let log_rest = net.activate(log_p, Activation::Log1mExp)?;
    let as_negative = match settings.negative {
        Negative::Instance => {
            let each = net.activate(scores, Activation::Softplus)?;
            net.pool(each, Pool::Mean)?
        }
        Negative::Bag => net.tape.push1(Affine { factor: -1.0, offset: 0.0 }, &[log_rest])?,
    };
    let (strength, of_instances) = match settings.joint && settings.lambda > 0.0 {
        true => {
            let each = net.tape.push1(InstancePseudoLoss, &[scores])?;
            (settings.lambda, net.pool(each, Pool::Mean)?)
        }
        // Nothing is compared with it.
        false => (0.0, as_negative),
    };
    let [targets, weights] = net.targets(outputs);
    let op = BagPseudoLoss { strength, scale: 1.0 };
    let loss = net.tape.push1(op, &[log_p, of_instances, as_negative, targets, weights])?;
    // ln P - ln(1 - P).
    let logits = net.add(log_p, log_rest, 1.0, -1.0)?;
    let link = net.each_alone();
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    net.scores_are(Meaning::Logit);
    Ok(())
}

/// r of each class, from softplus of a parameter.
fn exponent(net: &mut Network) -> Result<ValueId> {
    let rho = net.for_each_output("pool.exponent", START, true);
    let positive = net.activate(rho, Activation::Softplus)?;
    let above = net.tape.push1(Affine { factor: 1.0, offset: LEAST }, &[positive])?;
    net.activate(above, Activation::Clamp(MOST))
}
