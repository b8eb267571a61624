//! mi-Net (Wang, Yan, Tang, Bai, Liu 2018): an instance classifier whose probabilities are pooled.

use super::image::Embedder;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe, mi_net_bag};
use crate::error::Result;
use crate::ops::pointwise::{Activate, Activation};
use crate::ops::segment::Pool;
use crate::tape::{Columns, Meaning};
use serde::{Deserialize, Serialize};

/// mi-Net; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MiNet {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers.
    pub embed: Vec<u32>,
    /// Dropout after the last of them, after LeNet, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Pool of the instances' probabilities.
    pub pool: Pool,
    /// How weights start.
    pub init: Start,
}

impl Default for MiNet {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            dropout: 0.5,
            pool: Pool::Max,
            init: Start::Glorot,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers; [] for none"),
    ("dropout", "dropout after the last of these layers or after lenet; inside of lenet-small"),
    ("pool", "pool of the instances' probabilities: max, mean, log-mean-exp"),
    ("init", "start of the weights: torch or glorot"),
];

/// Keras' clip of a probability.
const CLIP: f32 = 1e-7;

impl MilMethod for MiNet {
    const NAME: &'static str = "mi-net";

    fn about() -> About {
        About { title: "mi-Net", paper: mi_net_bag::PAPER, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        mi_net_bag::recipe()
    }

    /// More than two classes: one sigmoid a class, each pooled by itself.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for a pool that is not one of probabilities, a width of 0 or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

fn record(net: &mut Network, settings: &MiNet) -> Result<()> {
    net.start = settings.init;
    let h = settings.embedder.embeddings(net, settings.image, &settings.embed, settings.dropout)?;
    let outputs = net.outputs();
    let scores = net.linear("score", h, outputs, Activation::None)?;
    let bag = match settings.pool {
        // The largest logit belongs to the largest probability, and keeps its digits.
        Pool::Max => net.pool(scores, Pool::Max)?,
        Pool::Sum => {
            return Err(crate::Error::setting(
                "pool",
                "a sum of probabilities is no probability; use max, mean or log-mean-exp",
            ));
        }
        pool => {
            let p = net.tape.push1(Activate(Activation::Sigmoid), &[scores])?;
            let pooled = net.pool(p, pool)?;
            net.logit(pooled, CLIP)?
        }
    };
    let link = net.each_alone();
    let loss = net.bag_loss(bag, link, CLIP)?;
    net.finish((bag, link), (scores, Columns::Classes), loss)?;
    net.scores_are(Meaning::Logit);
    Ok(())
}
