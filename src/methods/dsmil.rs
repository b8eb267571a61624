//! DSMIL (Li, Li, Eliceiri 2021): two streams over the same instances.
//!
//! The first classifies instances, s_n = W h_n + b, and its maximum over the bag, at the critical instance
//! m of each class, is one bag logit. The second attends from the critical instance: a_n = softmax over the
//! bag of q_n . q_m / sqrt(L), and classifies the weighted sums of the values v_n of all classes together.
//! Each stream has its own loss; the bag's logit is the mean of both, or that of the second.

use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::critical_attention::{CriticalAttention, CriticalRows};
use crate::ops::pointwise::Activation;
use crate::ops::segment::{Pool, SegmentReduce, SegmentSoftmax};
use crate::ops::update::{Optimiser, UpdateRule};
use crate::tape::{Columns, Link, Meaning, ValueId};
use serde::{Deserialize, Serialize};

/// Which of the networks that were published under the name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The network behind the paper's tables: linear queries, linear values.
    #[default]
    P,
    /// The authors' code since September 2022 and its released weights: queries from two layers with ReLU
    /// and tanh, the embeddings themselves as values.
    H,
    /// The same with its switch `nonlinear` off: linear queries.
    L,
    /// The authors' code from February to September 2022: queries with tanh and linear values, both of a layer with ReLU
    /// that the classifier of instances does not see.
    Lin,
}

/// What a bag's logit is of; each stream is trained by its own loss in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The mean of both streams' logits, as in the paper.
    #[default]
    Both,
    /// That of the attention alone, as in the authors' scripts unless they are asked for both.
    Bag,
}

/// DSMIL; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dsmil {
    /// Which network.
    pub variant: Variant,
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Width L of the queries.
    pub query: u32,
    /// Dropout in front of the layer that makes the values.
    #[serde(serialize_with = "super::layers::shortest")]
    pub value_dropout: f32,
    /// Variants h and l: values from a layer with ReLU.
    pub value_layer: bool,
    /// The first of more than two classes is a bag that shows none of the others: it has no logit, and all targets of
    /// its bags are 0.
    pub negative: bool,
    /// What a bag's logit is of.
    pub answer: Answer,
    /// How weights start.
    pub init: Start,
}

impl Default for Dsmil {
    fn default() -> Self {
        Self {
            variant: Variant::P,
            embed: Vec::new(),
            dropout: 0.0,
            query: 128,
            value_dropout: 0.0,
            value_layer: false,
            negative: false,
            answer: Answer::Both,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
pub(super) const HELP: &[(&str, &str)] = &[
    (
        "variant",
        "p: the paper's network; h: the authors' later code and released weights; l: that with linear queries; lin: their \
         code of February to September 2022",
    ),
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers"),
    ("query", "width of the queries"),
    ("value_dropout", "dropout in front of the layer that makes the values"),
    (
        "value_layer",
        "variants h and l: make the values with a ReLU layer (variants p and lin always have a linear one)",
    ),
    ("negative", "more than two classes: the first is a bag of none of the others, and has no logit of its own"),
    ("answer", "both: a bag's logit is the mean of both streams', as in the paper; bag: that of the attention alone"),
    ("init", "start of the weights: torch or glorot"),
];

impl MilMethod for Dsmil {
    const NAME: &'static str = "dsmil";

    fn about() -> About {
        let paper = "Li, Li, Eliceiri: Dual-stream Multiple Instance Learning Network for Whole Slide Image \
                     Classification with Self-supervised Contrastive Learning, 2021 (arXiv 2011.08939)";
        About { title: "DSMIL", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// The authors' script for classical data also lets the rate fall along a cosine.
    fn recipe(&self) -> Recipe {
        let rule = UpdateRule::Adam { beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };
        let optimiser = Optimiser { rule, ..Optimiser::adam(5e-3) };
        Recipe { optimiser, learning_rate: 2e-4, time_decay: 0.0, epochs: 40, bags: 1 }
    }

    /// With a negative class, which is the absence of the others, exactly one class is meant.
    fn takes_label_sets(&self) -> bool {
        !self.negative
    }

    /// More than two classes: one sigmoid a class, each with its own critical instance and attention; with `negative`
    /// none for the first class, which is where all of them are low.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width of 0, a dropout rate out of range, or a value dropout without the layer it would
    /// act on.
    fn record(&self, net: &mut Network) -> Result<()> {
        let streams = network(net, self)?;
        net.finish((streams.logits, streams.link), (streams.scores, Columns::Classes), streams.loss)?;
        net.scores_are(Meaning::Logit);
        net.attention(streams.weights, Columns::Classes);
        Ok(())
    }
}

/// What the two streams give.
pub(super) struct Streams {
    pub logits: ValueId,
    pub link: Link,
    pub scores: ValueId,
    /// Attention of the instances.
    pub weights: ValueId,
    /// Weighted sums of the values, of all classes side by side `[B, C H]`.
    pub features: ValueId,
    pub loss: ValueId,
}

pub(super) fn network(net: &mut Network, settings: &Dsmil) -> Result<Streams> {
    if settings.query == 0 {
        return Err(Error::setting("query", "the width of the queries must be above 0"));
    }
    let linear_values = matches!(settings.variant, Variant::P | Variant::Lin);
    let value_layer = linear_values || settings.value_layer;
    if settings.value_dropout != 0.0 && !value_layer {
        return Err(Error::setting(
            "value_dropout",
            "variants h and l have no layer for the values unless value_layer is set",
        ));
    }
    net.start = settings.init;
    let features = net.features;
    let h = net.embed_with_dropout(features, &settings.embed, settings.dropout)?;
    // Two classes have one logit as it is.
    let neither = settings.negative && net.outputs() > 1;
    let (outputs, link) = (net.outputs() - u32::from(neither), net.each_alone());
    let [tiles, bag_tiles, offsets] = net.tables();
    let scores = net.linear("score", h, outputs, Activation::None)?;
    let pooled = net.tape.push(SegmentReduce(Pool::Max), &[scores, tiles, bag_tiles, offsets])?;
    let (largest, critical) = (pooled[0], pooled[1]);
    let h = match settings.variant {
        Variant::Lin => {
            let width = net.tape.cols(h);
            net.linear("front", h, width, Activation::Relu)?
        }
        _ => h,
    };
    let q = match settings.variant {
        Variant::P | Variant::L => net.linear("query", h, settings.query, Activation::None)?,
        Variant::Lin => net.linear("query", h, settings.query, Activation::Tanh)?,
        Variant::H => {
            let inner = net.linear("query.0", h, settings.query, Activation::Relu)?;
            net.linear("query.1", inner, settings.query, Activation::Tanh)?
        }
    };
    let v = match value_layer {
        true => {
            let activation = if linear_values { Activation::None } else { Activation::Relu };
            let dropped = net.dropout(h, settings.value_dropout)?;
            let width = net.tape.cols(h);
            net.linear("value", dropped, width, activation)?
        }
        false => h,
    };
    let keys = net.tape.push1(CriticalRows, &[q, critical])?;
    let attended = net.tape.push(CriticalAttention, &[q, v, keys, tiles, bag_tiles, offsets])?;
    // The authors' convolution over [C, H] with C filters of full length is this layer over the C H values.
    let described = net.bag_features(attended[0], outputs, "")?;
    let bag = net.linear("head", described, outputs, Activation::None)?;
    let weights = net.tape.push1(SegmentSoftmax, &[attended[1], tiles, bag_tiles, offsets])?;
    let losses = [net.bag_loss(largest, link, 0.0)?, net.bag_loss(bag, link, 0.0)?];
    let loss = net.add(losses[0], losses[1], 0.5, 0.5)?;
    let logits = match settings.answer {
        Answer::Both => net.add(largest, bag, 0.5, 0.5)?,
        Answer::Bag => bag,
    };
    Ok(Streams { logits, link, scores, weights, features: attended[0], loss })
}
