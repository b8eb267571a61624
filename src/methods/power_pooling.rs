//! Power Pooling (Liu, Chen, Wang, Zhang 2021): a mean of the instances' probabilities, weighted by powers of themselves,
//! with an exponent for each class that is learnt.
//!
//! P = sum of q^(n + 1) / sum of q^n: n = 0 is the mean, n = 1 linear softmax, a large n the maximum.

use super::adaptive_pooling::recipe;
use super::checks::check_least;
use super::image::Embedder;
use super::layers::{Network, Start, Weight};
use super::{About, Level, MilMethod, Recipe};
use crate::error::Result;
use crate::ops::pointwise::{Activation, Multiply};
use crate::ops::power_pool::PowerMean;
use crate::ops::reduce::{ColumnSum, RowSum};
use crate::tape::{Columns, Meaning};
use serde::{Deserialize, Serialize};

/// Power Pooling; the defaults are the paper's where it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PowerPooling {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers.
    pub embed: Vec<u32>,
    /// Dropout after the last of them, after LeNet, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// The exponent of each class at the start.
    #[serde(serialize_with = "super::layers::shortest")]
    pub exponent: f32,
    /// The exponents are learnt; else they stay.
    pub learn: bool,
    /// Factor of the sum of the squared exponents in the loss of a bag.
    #[serde(serialize_with = "super::layers::shortest")]
    pub lambda: f32,
    /// How weights start.
    pub init: Start,
}

impl Default for PowerPooling {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            dropout: 0.5,
            exponent: 1.0,
            learn: true,
            lambda: 1e-4,
            init: Start::Glorot,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers; [] for none"),
    ("dropout", "dropout after the last of these layers or after lenet; inside of lenet-small"),
    ("exponent", "exponent of each class at the start: 0 is a mean, 1 linear softmax"),
    ("learn", "learn the exponents; else they stay as they start"),
    ("lambda", "factor of the sum of the squared exponents in the loss of a bag"),
    ("init", "start of the weights: torch or glorot"),
];

/// The probability of a bag is clipped for the loss.
const CLIP: f32 = 1e-7;

impl MilMethod for PowerPooling {
    const NAME: &'static str = "power-pooling";

    fn about() -> About {
        let paper = "Liu, Chen, Wang, Zhang: Power Pooling: An Adaptive Pooling Function for Weakly Labelled Sound Event \
                     Detection, IJCNN 2021 (arXiv 2010.09985)";
        About { title: "Power Pooling", paper, level: Level::Instance }
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
    /// [`crate::Error::Setting`] for a negative exponent or factor, a width of 0 or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

fn record(net: &mut Network, settings: &PowerPooling) -> Result<()> {
    check_least("lambda", settings.lambda, 0.0)?;
    check_least("exponent", settings.exponent, 0.0)?;
    net.start = settings.init;
    let h = settings.embedder.embeddings(net, settings.image, &settings.embed, settings.dropout)?;
    let outputs = net.outputs();
    let scores = net.linear("score", h, outputs, Activation::None)?;
    let exponent = net.for_each_output("pool.exponent", settings.exponent, settings.learn);
    let [tiles, bag_tiles, offsets] = net.tables();
    let p = net.tape.push1(PowerMean, &[scores, exponent, tiles, bag_tiles, offsets])?;
    let logits = net.logit(p, CLIP)?;
    let link = net.each_alone();
    let loss = net.bag_loss(logits, link, CLIP)?;
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    net.scores_are(Meaning::Logit);
    if !settings.learn {
        return Ok(());
    }
    net.tape.keep_above(exponent, 0.0);
    if settings.lambda == 0.0 {
        return Ok(());
    }
    // By the weights of the bags, so that batches which share an update count it once together.
    let squares = net.tape.push1(Multiply, &[exponent, exponent])?;
    let [_, weights] = net.targets(outputs);
    let weights = net.tape.push1(ColumnSum, &[weights])?;
    let penalty = match net.tape.cols(weights) == outputs {
        true => {
            let weighted = net.tape.push1(Multiply, &[squares, weights])?;
            net.tape.push1(RowSum, &[weighted])?
        }
        false => {
            let sum = net.tape.push1(RowSum, &[squares])?;
            net.tape.push1(Multiply, &[sum, weights])?
        }
    };
    net.objective("exponents", penalty, Weight::Fixed(settings.lambda))
}
