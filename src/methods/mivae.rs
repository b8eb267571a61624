//! MIVAE (Zhang 2021): a variational autoencoder of instances whose codes have a part of the instance and one of its
//! bag; both parts are classified.

use super::checks::check_widths;
use super::codec::{self, Codec, Coder};
use super::layers::{Activation, Columns, Distance, Meaning, Network, Pool, Start, Weight};
use super::variational::{Gaussian, classified, over_instances, weighted};
use super::{About, Level, MilMethod, RECONSTRUCTION, Recipe};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::pointwise::Affine;
use crate::ops::rows::Concat;
use crate::ops::segment::BagBroadcast;
use crate::ops::target_loss::TargetLoss;
use crate::ops::update::Optimiser;
use serde::{Deserialize, Serialize};

/// MIVAE; the defaults are those of the authors' code for patches, but for the codec and the codes of features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mivae {
    /// What encodes and decodes instances.
    pub codec: Codec,
    /// Height, width and channels of the pictures.
    pub image: [u32; 3],
    /// Widths of the dense codec.
    pub embed: Vec<u32>,
    /// Channels of the codecs of pictures; none for the papers'.
    pub channels: Vec<u32>,
    /// Widths between codes and convolutions of the decoder of patches.
    pub decoder: Vec<u32>,
    /// Columns of the Gaussian of an instance, and of that of a bag.
    pub latent: u32,
    /// Widths of the classifier's layers.
    pub classifier: Vec<u32>,
    /// Dropout after each of them.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Width of the layer that makes the prior of a bag from its class.
    pub prior: u32,
    /// Factor of the bags' cross-entropy.
    #[serde(serialize_with = "super::layers::shortest")]
    pub classification: f32,
    /// Epochs without the divergence of a bag's Gaussian from its prior.
    pub warm_up: u32,
    /// How weights of fully connected layers start.
    pub init: Start,
}

impl Default for Mivae {
    fn default() -> Self {
        Self {
            codec: Codec::Dense,
            image: [27, 27, 3],
            embed: vec![256, 128],
            channels: Vec::new(),
            decoder: vec![200, 512],
            latent: 32,
            classifier: vec![512, 512],
            dropout: 0.5,
            prior: 512,
            classification: 10_000.0,
            warm_up: 0,
            init: Start::Lecun,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("decoder", "codec colon: widths of the decoder's layers in front of its convolutions"),
    ("latent", "columns of each instance's Gaussian, and of each bag's (64 for the authors' patches)"),
    ("classifier", "widths of the classifier's ReLU layers"),
    ("dropout", "dropout after each of the classifier's layers"),
    ("prior", "width of the layer that makes a bag's prior from its class"),
    ("classification", "factor of the bags' cross-entropy"),
    ("warm_up", "epochs without the divergence of a bag's Gaussian from its prior"),
    ("init", "start of the fully connected layers: torch, glorot, glorot-normal or lecun"),
];

impl MilMethod for Mivae {
    const NAME: &'static str = "mivae";

    fn about() -> About {
        let paper = "Zhang: Non-I.I.D. Multi-Instance Learning for Predicting Instance and Bag Labels using Variational \
                     Auto-Encoder, 2021 (arXiv 2105.01276)";
        About { title: "MIVAE", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [codec::HELP, HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adamw(5e-4), learning_rate: 5e-4, time_decay: 0.0, epochs: 100, bags: 32 }
    }

    /// More than two classes: one sigmoid a class, each with its own largest logit.
    ///
    /// # Errors
    /// [`Error::Setting`] for widths of 0, a weight or dropout out of range, and pictures that the codec does not take.
    fn record(&self, net: &mut Network) -> Result<()> {
        if self.prior == 0 {
            return Err(Error::setting("prior", "the width of the layer must be above 0"));
        }
        check_widths("classifier", &self.classifier)?;
        net.start = self.init;
        let coder = Coder::new(net, self.codec, self.image, &self.embed, &self.channels)?;
        let of_instances = coder.encode(net, "instance")?;
        let of_instances = Gaussian::of(net, "instance", of_instances, self.latent)?;
        let for_bags = coder.encode(net, "bag")?;
        let for_bags = Gaussian::of(net, "bag", for_bags, self.latent)?;
        // The mean of the variances, as logarithms.
        let (mean, log) = (net.pool(for_bags.mean, Pool::Mean)?, net.pool(for_bags.log, Pool::LogMeanExp)?);
        let of_bag = Gaussian { mean, log };
        let (zi, zb) = (of_instances.sample(net)?, of_bag.sample(net)?);
        let [tiles, bag_tiles, offsets] = net.tables();
        let spread = net.tape.push1(BagBroadcast, &[zb, tiles, bag_tiles, offsets])?;
        let z = net.tape.push1(Concat, &[zi, spread])?;

        let mut h = z;
        for (n, &width) in self.classifier.iter().enumerate() {
            h = net.linear(&format!("classifier.{n}"), h, width, Activation::Relu)?;
            h = net.dropout(h, self.dropout)?;
        }
        let outputs = net.outputs();
        let scores = net.linear("score", h, outputs, Activation::None)?;
        let bag = net.pool(scores, Pool::Max)?;
        let link = net.each_alone();
        let loss = classified(net, bag, link, self.classification)?;
        net.finish((bag, link), (scores, Columns::Classes), loss)?;
        net.scores_are(Meaning::Logit);

        let decoded = coder.decode(net, z, &self.decoder)?;
        net.tape.output(RECONSTRUCTION, decoded);
        let error = TargetLoss { distance: Distance::Squared, scale: 1.0 };
        let error = net.tape.push1(error, &[decoded, net.features])?;
        let error = weighted(net, error)?;
        net.objective(RECONSTRUCTION, error, Weight::Fixed(1.0))?;

        let divergence = of_instances.divergence(net)?;
        let divergence = over_instances(net, divergence)?;
        net.objective("divergence", divergence, Weight::Fixed(1.0))?;

        // A row of the classes, 1 for that of the bag.
        let mut class = net.tape.batch(Input::Targets, outputs);
        if outputs == 1 {
            let other = net.tape.push1(Affine { factor: -1.0, offset: 1.0 }, &[class])?;
            class = net.tape.push1(Concat, &[other, class])?;
        }
        let g = net.linear("prior", class, self.prior, Activation::Relu)?;
        let prior = Gaussian::of(net, "prior", g, self.latent)?;
        let divergence = of_bag.divergence_from(net, prior, zb)?;
        let divergence = net.weighted_over_bags(divergence)?;
        let mean = Affine { factor: 1.0 / self.latent as f32, offset: 0.0 };
        let divergence = net.tape.push1(mean, &[divergence])?;
        let weight = match self.warm_up {
            0 => Weight::Fixed(1.0),
            epochs => Weight::After { to: 1.0, epochs },
        };
        net.objective("bag-divergence", divergence, weight)
    }
}
