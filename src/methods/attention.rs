//! Attention MIL and Gated Attention MIL (Ilse, Tomczak, Welling 2018).
//!
//! Instances are embedded, e_n = w . tanh(V h_n) (gated: times sigmoid(U h_n)), a = softmax of e over the
//! bag, z = sum of a_n h_n, and a linear head classifies z. With several heads their pooled embeddings
//! stand side by side.

use super::image::Embedder;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod};
use crate::error::{Error, Result};
use crate::ops::pointwise::Activation;
use crate::tape::Columns;
use serde::{Deserialize, Serialize};

/// Settings of either form; the defaults are the paper's for feature vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "Default::default")]
pub struct Settings<const GATED: bool> {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front; none pools the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Hidden width L of the attention.
    pub attention: u32,
    /// Attention heads K.
    pub heads: u32,
    /// How weights start.
    pub init: Start,
}

/// Attention MIL.
pub type Attention = Settings<false>;
/// Gated Attention MIL.
pub type GatedAttention = Settings<true>;

impl<const GATED: bool> Default for Settings<GATED> {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            dropout: 0.5,
            attention: 128,
            heads: 1,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers before the attention; [] for none"),
    ("dropout", "dropout after each of these layers; inside of lenet-small"),
    ("attention", "hidden width of the attention"),
    ("heads", "attention heads, pooled side by side"),
    ("init", "start of the weights: torch or glorot"),
];

/// The clamp of the probability in the authors' loss.
const CLAMP: f32 = 1e-5;

impl<const GATED: bool> MilMethod for Settings<GATED> {
    const NAME: &'static str = if GATED { "gated-attention" } else { "attention" };

    fn about() -> About {
        About {
            title: if GATED { "Gated Attention MIL" } else { "Attention MIL" },
            paper: "Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, 2018 (arXiv 1802.04712)",
            level: Level::Bag,
        }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// # Errors
    /// [`Error::Setting`] for a width or number of heads of 0, or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

fn record<const GATED: bool>(net: &mut Network, settings: &Settings<GATED>) -> Result<()> {
    if settings.attention == 0 || settings.heads == 0 {
        return Err(Error::setting("attention", "the hidden width and the number of heads must be above 0"));
    }
    net.start = settings.init;
    let features = net.features;
    let h = match settings.embedder.record(net, settings.image, settings.dropout)? {
        Some(h) => h,
        None => net.embed_with_dropout(features, &settings.embed, settings.dropout)?,
    };
    let [z, scores] = net.attention_pool(h, GATED, settings.attention, settings.heads)?;
    let outputs = net.outputs();
    let z = net.bag_features(z, 1, "")?;
    let logits = net.linear("head", z, outputs, Activation::None)?;
    let weights = net.softmax_over_bags(scores)?;
    let link = net.one_of_all();
    let loss = net.bag_loss(logits, link, CLAMP)?;
    net.finish((logits, link), (scores, Columns::Heads), loss)?;
    net.attention(weights, Columns::Heads);
    Ok(())
}
