//! CausalMIL (Zhang, Zhang, Deng, Zhang 2022): a variational autoencoder of the instance that a bag is told by, with a
//! prior that the bag gives.

use super::checks::check_least;
use super::codec::{self, Codec, Coder};
use super::layers::{Activation, Columns, Distance, Meaning, Network, Pool, Start, Weight};
use super::variational::{Gaussian, classified};
use super::{About, Level, MilMethod, RECONSTRUCTION, Recipe};
use crate::error::Result;
use crate::kernels::launch::Input;
use crate::ops::conv::{Image, Window};
use crate::ops::critical_attention::CriticalRows;
use crate::ops::image::MaxPool;
use crate::ops::segment::SegmentReduce;
use crate::ops::target_loss::TargetLoss;
use crate::ops::update::Optimiser;
use serde::{Deserialize, Serialize};

/// CausalMIL; the defaults are those of the authors' code, but for the codec of features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CausalMil {
    /// What encodes and decodes instances.
    pub codec: Codec,
    /// Height, width and channels of the pictures.
    pub image: [u32; 3],
    /// Widths of the dense codec.
    pub embed: Vec<u32>,
    /// Channels of the codecs of pictures; none for the paper's.
    pub channels: Vec<u32>,
    /// Columns of the Gaussian.
    pub latent: u32,
    /// Factor of the bags' cross-entropy.
    #[serde(serialize_with = "super::layers::shortest")]
    pub classification: f32,
    /// Weight of the squared error, a mean over the values of an instance.
    #[serde(serialize_with = "super::layers::shortest")]
    pub reconstruction: f32,
    /// Epochs in which the weight of the divergence from the bag's prior rises to 1.
    pub warm_up: u32,
    /// How weights of fully connected layers start.
    pub init: Start,
}

impl Default for CausalMil {
    fn default() -> Self {
        Self {
            codec: Codec::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128],
            channels: Vec::new(),
            latent: 24,
            classification: 1000.0,
            reconstruction: 1.0,
            warm_up: 0,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("latent", "columns of each instance's Gaussian"),
    ("classification", "factor of the bags' cross-entropy"),
    ("reconstruction", "weight of the squared error, which is a mean over the values of an instance"),
    ("warm_up", "epochs in which the weight of the divergence from the bag's prior rises to 1; 0 for 1 throughout"),
    ("init", "start of the fully connected layers: torch, glorot, glorot-normal or lecun"),
];

impl MilMethod for CausalMil {
    const NAME: &'static str = "causal-mil";

    fn about() -> About {
        let paper = "Zhang, Zhang, Deng, Zhang: Multi-Instance Causal Representation Learning for Instance Label \
                     Prediction and Out-of-Distribution Generalization, 2022 (arXiv 2202.12570)";
        About { title: "CausalMIL", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [codec::HELP, HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        let (rate, epochs) = if self.codec == Codec::Colon { (1e-4, 100) } else { (1e-3, 200) };
        Recipe { optimiser: Optimiser::adamw(1e-4), learning_rate: rate, time_decay: 0.0, epochs, bags: 32 }
    }

    /// More than two classes: one sigmoid a class, each with its own largest logit; the instance that is decoded has the
    /// largest of all.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] for widths of 0, weights out of range, and pictures that the codec does not take.
    fn record(&self, net: &mut Network) -> Result<()> {
        check_least("reconstruction", self.reconstruction, 0.0)?;
        net.start = self.init;
        let coder = Coder::new(net, self.codec, self.image, &self.embed, &self.channels)?;
        let e = coder.encode(net, "encoder")?;
        let of_instances = Gaussian::of(net, "latent", e, self.latent)?;
        let z = of_instances.sample(net)?;
        let outputs = net.outputs();
        let scores = net.linear("score", z, outputs, Activation::None)?;
        let bag = net.pool(scores, Pool::Max)?;
        let link = net.each_alone();
        let loss = classified(net, bag, link, self.classification)?;
        net.finish((bag, link), (scores, Columns::Classes), loss)?;
        net.scores_are(Meaning::Logit);

        // The instance that is decoded.
        let largest = match outputs {
            1 => scores,
            classes => {
                let window = Window { size: [1, classes], ..Window::valid(1, 1) };
                net.tape.push1(MaxPool { from: Image::new(1, 1, classes), window }, &[scores])?
            }
        };
        let [tiles, bag_tiles, offsets] = net.tables();
        let critical = net.tape.push(SegmentReduce(Pool::Max), &[largest, tiles, bag_tiles, offsets])?[1];
        let x = net.features;
        let picked = [z, of_instances.mean, of_instances.log, x];
        let picked = picked.map(|value| net.tape.push1(CriticalRows, &[value, critical]));
        let [z, mean, log, x] = picked;
        let (z, of_picked, x) = (z?, Gaussian { mean: mean?, log: log? }, x?);
        let decoded = coder.decode(net, z, &[])?;
        net.tape.output(RECONSTRUCTION, decoded);
        let weights = net.tape.batch(Input::Weights, 1);
        let error = TargetLoss { distance: Distance::Squared, scale: 1.0 };
        let error = net.tape.push1(error, &[decoded, x, weights])?;
        net.objective(RECONSTRUCTION, error, Weight::Fixed(self.reconstruction))?;

        // One Gaussian for all columns, told by the bag.
        let u = net.pool(e, Pool::Mean)?;
        let prior = Gaussian::of(net, "prior", u, 1)?;
        let divergence = of_picked.divergence_from(net, prior, z)?;
        let divergence = net.weighted_over_bags(divergence)?;
        let weight = match self.warm_up {
            0 => Weight::Fixed(1.0),
            epochs => Weight::Rises { to: 1.0, epochs, begun: 0 },
        };
        net.objective("divergence", divergence, weight)?;
        let of_prior = prior.divergence(net)?;
        let of_prior = net.weighted_over_bags(of_prior)?;
        net.objective("prior", of_prior, Weight::Fixed(1.0))
    }
}
