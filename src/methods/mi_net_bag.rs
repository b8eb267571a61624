//! MI-Net (Wang, Yan, Tang, Bai, Liu 2018): pooled embeddings, a bag classifier; plain, with deep
//! supervision, or with residual connections.

use super::image::Embedder;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::objectives::Weight;
use crate::ops::pointwise::Activation;
use crate::ops::segment;
use crate::ops::update::Optimiser;
use crate::tape::{Columns, ValueId};
use serde::{Deserialize, Serialize};

/// How the embeddings of a bag become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// Largest of each column.
    #[default]
    Max,
    /// Mean.
    Mean,
    /// Sum.
    Sum,
    /// ln of the mean of e^x, as the paper's code has it.
    LogMeanExp,
    /// 1/r ln of the mean of e^(r x), as the paper has it; r > 0 is one number, which starts at 1 and is learnt.
    Lme,
}

/// The pool of a network, with what all its layers share.
enum Pooling {
    Plain(segment::Pool),
    Sharp(ValueId),
}

impl Pooling {
    fn of(pool: Pool, net: &mut Network) -> Result<Self> {
        Ok(match pool {
            Pool::Max => Self::Plain(segment::Pool::Max),
            Pool::Mean => Self::Plain(segment::Pool::Mean),
            Pool::Sum => Self::Plain(segment::Pool::Sum),
            Pool::LogMeanExp => Self::Plain(segment::Pool::LogMeanExp),
            Pool::Lme => Self::Sharp(net.positive("pool.sharpness")?),
        })
    }

    fn record(&self, net: &mut Network, x: ValueId) -> Result<ValueId> {
        match *self {
            Self::Plain(pool) => net.pool(x, pool),
            Self::Sharp(sharpness) => net.sharp_pool(x, sharpness),
        }
    }
}

/// Settings of a form, one of [`PLAIN`], [`DEEP_SUPERVISION`] and [`RESIDUAL`]; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default = "Default::default")]
pub struct Settings<const FORM: u8> {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers.
    pub embed: Vec<u32>,
    /// Dropout on each branch that is pooled, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Pool of the embeddings.
    pub pool: Pool,
    /// How weights start.
    pub init: Start,
}

/// The last layer is pooled and classified.
pub const PLAIN: u8 = 0;
/// Each layer is pooled and classified; the losses are added, the probabilities averaged.
pub const DEEP_SUPERVISION: u8 = 1;
/// The layers' pooled embeddings are added and classified.
pub const RESIDUAL: u8 = 2;

/// MI-Net.
pub type MiNetBag = Settings<PLAIN>;
/// MI-Net with deep supervision.
pub type MiNetDs = Settings<DEEP_SUPERVISION>;
/// MI-Net with residual connections, whose layers are added and so have one width.
pub type MiNetRc = Settings<RESIDUAL>;

impl<const FORM: u8> Default for Settings<FORM> {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: if FORM == RESIDUAL { vec![128, 128, 128] } else { vec![256, 128, 64] },
            dropout: 0.5,
            pool: Pool::Max,
            init: Start::Glorot,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers (the residual form needs equal ones)"),
    ("dropout", "dropout on each layer's output that is pooled; inside of lenet-small"),
    ("pool", "pool of the embeddings: max, mean, sum, log-mean-exp, or lme with a sharpness that is learnt"),
    ("init", "start of the weights: torch or glorot"),
];

/// Where both levels of the networks were published.
pub(super) const PAPER: &str =
    "Wang, Yan, Tang, Bai, Liu: Revisiting Multiple Instance Neural Networks, 2018 (arXiv 1610.02501)";

/// The recipe of the paper.
pub(super) fn recipe() -> Recipe {
    Recipe { optimiser: Optimiser::nesterov(0.9, 0.005), learning_rate: 5e-4, time_decay: 1e-4, epochs: 50, bags: 1 }
}

/// Keras' clip of a probability.
const CLIP: f32 = 1e-7;

impl<const FORM: u8> MilMethod for Settings<FORM> {
    const NAME: &'static str = match FORM {
        PLAIN => "mi-net-bag",
        DEEP_SUPERVISION => "mi-net-ds",
        _ => "mi-net-rc",
    };

    fn about() -> About {
        let title = match FORM {
            PLAIN => "MI-Net",
            DEEP_SUPERVISION => "MI-Net with deep supervision",
            _ => "MI-Net with residual connections",
        };
        About { title, paper: PAPER, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        recipe()
    }

    /// The paper gives no instance scores; here they are the bag's classifier applied to each instance's embedding (the
    /// mean over the classifiers with deep supervision).
    ///
    /// # Errors
    /// [`Error::Setting`] for layers that do not fit the form or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

fn record<const FORM: u8>(net: &mut Network, settings: &Settings<FORM>) -> Result<()> {
    if settings.embedder != Embedder::Dense && FORM != PLAIN {
        return Err(Error::setting("embedder", "this form pools several layers, which must be dense"));
    }
    if settings.embedder == Embedder::Dense && settings.embed.is_empty() {
        return Err(Error::setting("embed", "MI-Net needs at least one layer"));
    }
    if FORM == RESIDUAL && settings.embed.windows(2).any(|w| w[0] != w[1]) {
        let message = format!("residual connections need layers of one width, found {:?}", settings.embed);
        return Err(Error::setting("embed", message));
    }
    net.start = settings.init;
    let features = net.features;
    let layers = match settings.embedder.record(net, settings.image, settings.dropout)? {
        Some(h) => vec![h],
        None => net.embed(features, &settings.embed)?,
    };
    let dropout = settings.embedder.dropout_behind(settings.dropout);
    let pooled = match FORM {
        PLAIN => &layers[layers.len() - 1..],
        _ => &layers[..],
    };
    // (dropped-out embedding of the instances, pooled embedding) of each branch.
    let mut branches = Vec::new();
    let pool = Pooling::of(settings.pool, net)?;
    for &layer in pooled {
        let dropped = net.dropout(layer, dropout)?;
        branches.push((dropped, pool.record(net, dropped)?));
    }
    let outputs = net.outputs();
    if FORM == DEEP_SUPERVISION {
        return deep_supervision(net, &branches, outputs);
    }
    let sum = |net: &mut Network, of: &[ValueId]| -> Result<ValueId> {
        of[1..].iter().try_fold(of[0], |sum, v| net.add(sum, *v, 1.0, 1.0))
    };
    let (instances, bags): (Vec<_>, Vec<_>) = branches.into_iter().unzip();
    let z = sum(net, &bags)?;
    let logits = net.linear("head", z, outputs, Activation::None)?;
    let h = sum(net, &instances)?;
    let scores = net.linear_shared(h, logits)?;
    let link = net.one_of_all();
    let loss = net.bag_loss(logits, link, CLIP)?;
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    Ok(())
}

fn deep_supervision(net: &mut Network, branches: &[(ValueId, ValueId)], outputs: u32) -> Result<()> {
    let (mut logits, mut losses, mut scores) = (Vec::new(), Vec::new(), None);
    let (share, link) = (1.0 / branches.len() as f32, net.one_of_all());
    for (i, &(instances, bag)) in branches.iter().enumerate() {
        let logit = net.linear(&format!("head.{i}"), bag, outputs, Activation::None)?;
        let score = net.linear_shared(instances, logit)?;
        scores = Some(match scores {
            None => net.add(score, score, 0.5 * share, 0.5 * share)?,
            Some(sum) => net.add(sum, score, 1.0, share)?,
        });
        losses.push(net.bag_loss(logit, link, CLIP)?);
        logits.push(logit);
    }
    let logit = net.mean_of_probabilities(&logits, link)?;
    net.finish((logit, link), (scores.expect("at least one branch"), Columns::Classes), losses[0])?;
    losses[1..]
        .iter()
        .enumerate()
        .try_for_each(|(n, loss)| net.objective(&format!("layer {}", n + 1), *loss, Weight::Fixed(1.0)))
}
