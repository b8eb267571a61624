//! Certainty Pooling (Gildenblat, Ben-Shaul, Lapp, Klaiman 2020): the score of the instance that a network is most sure
//! about, judged by Monte Carlo dropout.
//!
//! The layers behind the first dropout run T times with it. With sigma the standard deviation of an instance's
//! probabilities over these passes and h its score, the instance with the largest h / (sigma + eps) is chosen for each
//! class, and its plain score is the bag's. What chooses is a constant of the backward pass.
//!
//! A pass is a thinner network: its masks are those of the inputs of its layers, the same for all instances, and lie on
//! the weights. So a pass costs its products and no copy of the embeddings, equal instances are equally certain, and a
//! prediction depends on the bag alone, neither on what is batched with it nor on the order of its instances.

use super::checks::check_widths;
use super::image::Embedder;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe, adaptive_pooling};
use crate::error::{Error, Result};
use crate::ops::critical_attention::CriticalValues;
use crate::ops::dropout::{ColumnDropout, Dropout};
use crate::ops::matmul::Linear;
use crate::ops::moments::PassMoments;
use crate::ops::pointwise::{Activation, Affine};
use crate::ops::segment::{Pool, SegmentReduce};
use crate::tape::{Columns, Meaning, ValueId};
use serde::{Deserialize, Serialize};

/// What the score of an instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// That of the network without dropout.
    #[default]
    Deterministic,
    /// The mean of its probabilities over the passes.
    Mean,
}

/// Certainty Pooling; the defaults are the paper's where it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CertaintyPooling {
    /// What embeds an instance once: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front of the first dropout.
    pub embed: Vec<u32>,
    /// Widths of the layers behind the first dropout, each with dropout behind it: they run in every pass.
    pub head: Vec<u32>,
    /// Dropout in front of each layer of the head and of the score.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Passes T.
    pub passes: u32,
    /// What is added to the standard deviation.
    #[serde(serialize_with = "super::layers::shortest")]
    pub epsilon: f32,
    /// What the score of an instance is.
    pub score: Score,
    /// Train on the score of the chosen instance under dropout, drawn anew; else on the one without.
    pub fresh: bool,
    /// What the masks of predictions are drawn by.
    pub seed: u32,
    /// How weights start.
    pub init: Start,
}

impl Default for CertaintyPooling {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            head: Vec::new(),
            dropout: 0.5,
            passes: 50,
            epsilon: 1e-3,
            score: Score::Deterministic,
            fresh: true,
            seed: 0,
            init: Start::Glorot,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers that run once; [] for none"),
    ("head", "widths of the ReLU layers behind the first dropout, which run in every pass"),
    ("dropout", "dropout in front of each layer of the head and of the score; above 0"),
    ("passes", "passes with dropout by which the certainty of an instance is judged, 2 to 512"),
    ("epsilon", "what is added to the standard deviation over the passes"),
    ("score", "score of an instance: deterministic (without dropout) or mean (over the passes)"),
    ("fresh", "train on the chosen instance's score under dropout drawn anew, else on the one without"),
    ("seed", "what the masks of predictions are drawn by"),
    ("init", "start of the weights: torch or glorot"),
];

/// Passes, at most: each is a few launches.
const MOST_PASSES: u32 = 512;
/// A mean probability is kept this far above 0, where its logarithm ends.
const TINY: f32 = 1e-30;
/// A mean probability is clipped like this to give a logit.
const CLIP: f32 = 1e-7;

impl MilMethod for CertaintyPooling {
    const NAME: &'static str = "certainty-pooling";

    fn about() -> About {
        let paper = "Gildenblat, Ben-Shaul, Lapp, Klaiman: Certainty Pooling for Multiple Instance Learning, ICPR \
                     Workshops 2020 (arXiv 2008.10548)";
        About { title: "Certainty Pooling", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// Ours: the paper's is not known.
    fn recipe(&self) -> Recipe {
        adaptive_pooling::recipe()
    }

    fn takes_label_sets(&self) -> bool {
        true
    }

    /// Each class has a sigmoid, a chosen instance and a loss of its own.
    ///
    /// # Errors
    /// [`Error::Setting`] for no dropout, without which nothing is uncertain, a number of passes out of range, an
    /// epsilon that is not above 0, or a width of 0.
    fn record(&self, net: &mut Network) -> Result<()> {
        check(self)?;
        record(net, self)
    }
}

fn check(settings: &CertaintyPooling) -> Result<()> {
    if !(settings.dropout > 0.0 && settings.dropout < 1.0) {
        let message = format!(
            "must be above 0 and below 1, found {}: without dropout all passes agree, and the pool would be a maximum; \
             use mi-net for one",
            settings.dropout
        );
        return Err(Error::setting("dropout", message));
    }
    if !(2..=MOST_PASSES).contains(&settings.passes) {
        let message = format!("a standard deviation takes 2 to {MOST_PASSES} passes, found {}", settings.passes);
        return Err(Error::setting("passes", message));
    }
    if !(settings.epsilon > 0.0 && settings.epsilon.is_finite()) {
        let message = format!("must be a number above 0, found {}", settings.epsilon);
        return Err(Error::setting("epsilon", message));
    }
    check_widths("head", &settings.head)
}

/// The layers behind the first dropout: weights, bias and activation of each.
struct Head(Vec<([ValueId; 2], Activation)>);

impl Head {
    fn new(net: &mut Network, mut inputs: u32, widths: &[u32]) -> Self {
        let outputs = net.outputs();
        let mut layer = |name: &str, width: u32, activation| {
            let parameters = net.weights(name, inputs, width);
            inputs = width;
            (parameters, activation)
        };
        let hidden = widths.iter().enumerate();
        let mut layers: Vec<_> = hidden.map(|(i, &w)| layer(&format!("head.{i}"), w, Activation::Relu)).collect();
        layers.push(layer("score", outputs, Activation::None));
        Self(layers)
    }

    /// Logits of the instances; `dropped` makes of the inputs and weights of each layer those that it multiplies.
    fn logits(
        &self,
        net: &mut Network,
        mut h: ValueId,
        mut dropped: impl FnMut(&mut Network, [ValueId; 2]) -> Result<[ValueId; 2]>,
    ) -> Result<ValueId> {
        for &([weight, bias], activation) in &self.0 {
            let [x, weight] = dropped(net, [h, weight])?;
            h = net.tape.push1(Linear { activation }, &[x, weight, bias])?;
        }
        Ok(h)
    }
}

/// Mean and standard deviation `[N, C]` of the instances' probabilities over the passes.
fn passes(net: &mut Network, settings: &CertaintyPooling, h: ValueId, head: &Head) -> Result<[ValueId; 2]> {
    let mut moments = Vec::new();
    for number in 1..=settings.passes {
        let x = head.logits(net, h, |net, [x, weight]| {
            let dropout = Dropout::new(settings.dropout, net.tape.next_random_site());
            Ok([x, net.tape.push1(ColumnDropout { dropout, seed: settings.seed }, &[weight])?])
        })?;
        moments = net.tape.push(PassMoments { number }, &[&[x], &moments[..]].concat())?;
    }
    let variance = net.tape.push1(Affine { factor: 1.0 / settings.passes as f32, offset: 0.0 }, &[moments[1]])?;
    Ok([moments[0], net.activate(variance, Activation::Sqrt)?])
}

fn record(net: &mut Network, settings: &CertaintyPooling) -> Result<()> {
    net.start = settings.init;
    // What acts inside of the small LeNet would have to run with it in every pass.
    let h = settings.embedder.or_dense(net, settings.image, &settings.embed, 0.0)?;
    let head = Head::new(net, net.tape.cols(h), &settings.head);
    let plain = head.logits(net, h, |_, layer| Ok(layer))?;
    let [mean, deviation] = passes(net, settings, h, &head)?;

    // ln h - ln (sigma + eps) has its maximum where h / (sigma + eps) has it, and small scores keep their digits.
    let (scores, log_score) = match settings.score {
        Score::Deterministic => (plain, net.activate(plain, Activation::LogSigmoid)?),
        Score::Mean => {
            let above = net.tape.push1(Affine { factor: 1.0, offset: TINY }, &[mean])?;
            (net.logit(mean, CLIP)?, net.activate(above, Activation::Ln)?)
        }
    };
    let spread = net.tape.push1(Affine { factor: 1.0, offset: settings.epsilon }, &[deviation])?;
    let log_spread = net.activate(spread, Activation::Ln)?;
    let log_selection = net.add(log_score, log_spread, 1.0, -1.0)?;
    let [tiles, bag_tiles, offsets] = net.tables();
    let chosen = net.tape.push(SegmentReduce(Pool::Max), &[log_selection, tiles, bag_tiles, offsets])?[1];
    let of_chosen = |net: &mut Network, x| net.tape.push1(CriticalValues, &[x, chosen, tiles, bag_tiles, offsets]);

    let logits = of_chosen(net, scores)?;
    let trained = match settings.fresh {
        true => head.logits(net, h, |net, [x, weight]| Ok([net.dropout(x, settings.dropout)?, weight]))?,
        false => plain,
    };
    let trained = of_chosen(net, trained)?;
    let link = net.each_alone();
    let loss = net.bag_loss(trained, link, 0.0)?;
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    net.scores_are(Meaning::Logit);
    let selection = net.activate(log_selection, Activation::Exp)?;
    net.tell_of_instances("deviation", deviation, Meaning::Deviation)?;
    net.tell_of_instances("selection", selection, Meaning::Score)
}
