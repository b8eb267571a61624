//! MI-Net (Wang, Yan, Tang, Bai, Liu 2018): pooled embeddings, a bag classifier; plain, with deep
//! supervision, or with residual connections.

use super::image::Embedder;
use super::layers::{Network, Start};
use super::total;
use crate::error::{Error, Result};
use crate::ops::pointwise::Activation;
use crate::ops::segment::Pool;
use crate::tape::{Columns, ValueId};
use serde::{Deserialize, Serialize};

/// Settings; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
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

impl Default for Settings {
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

impl Settings {
    /// The residual form adds the layers, so they have one width.
    pub fn residual() -> Self {
        Self { embed: vec![128, 128, 128], ..Self::default() }
    }
}

/// Settings, for people.
pub const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers (the residual form needs equal ones)"),
    ("dropout", "dropout on each layer's output that is pooled; inside of lenet-small"),
    ("pool", "pool of the embeddings: max, mean, sum, log-mean-exp"),
    ("init", "start of the weights: torch or glorot"),
];

/// Which of the paper's networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The last layer is pooled and classified.
    Plain,
    /// Each layer is pooled and classified; the losses are added, the probabilities averaged.
    DeepSupervision,
    /// The layers' pooled embeddings are added and classified.
    Residual,
}

/// Keras' clip of a probability.
const CLIP: f32 = 1e-7;

/// Records the model. The paper gives no instance scores; here they are the bag's classifier applied to
/// each instance's embedding (the mean over the classifiers with deep supervision).
///
/// # Errors
/// [`Error::Setting`] for layers that do not fit the form or a bad dropout rate.
pub fn record(net: &mut Network, settings: &Settings, form: Form) -> Result<()> {
    if settings.embedder != Embedder::Dense && form != Form::Plain {
        return Err(Error::setting("embedder", "this form pools several layers, which must be dense"));
    }
    if settings.embedder == Embedder::Dense && settings.embed.is_empty() {
        return Err(Error::setting("embed", "MI-Net needs at least one layer"));
    }
    if form == Form::Residual && settings.embed.windows(2).any(|w| w[0] != w[1]) {
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
    let pooled = match form {
        Form::Plain => &layers[layers.len() - 1..],
        _ => &layers[..],
    };
    // (dropped-out embedding of the instances, pooled embedding) of each branch.
    let mut branches = Vec::new();
    for &layer in pooled {
        let dropped = net.dropout(layer, dropout)?;
        branches.push((dropped, net.pool(dropped, settings.pool)?));
    }
    let outputs = net.outputs();
    if form == Form::DeepSupervision {
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
    let loss = net.cross_entropy(logits, link, CLIP)?;
    net.finish((logits, link), (scores, Columns::Classes), loss);
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
        losses.push(net.cross_entropy(logit, link, CLIP)?);
        logits.push(logit);
    }
    let logit = net.mean_of_probabilities(&logits, link)?;
    let loss = total(&mut net.tape, &losses)?;
    net.finish((logit, link), (scores.expect("at least one branch"), Columns::Classes), loss);
    Ok(())
}
