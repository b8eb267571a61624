//! FocusMIL (Liu, Zhang, Zhang 2024): the largest logit of a bag, of a Gaussian code of each instance.

use super::checks::check_least;
use super::layers::{Activation, Columns, Meaning, Network, Pool, Start, Weight};
use super::variational::{Gaussian, classified, over_instances};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::update::Optimiser;
use serde::{Deserialize, Serialize};

/// FocusMIL; the defaults are those of public code of the method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FocusMil {
    /// Widths of the fully connected layers with ReLU.
    pub embed: Vec<u32>,
    /// Width of the layer without activation behind them.
    pub code: u32,
    /// Columns of the Gaussian.
    pub latent: u32,
    /// Weight of the Gaussians' divergence from the standard normal distribution.
    #[serde(serialize_with = "super::layers::shortest")]
    pub beta: f32,
    /// The loss takes the sigmoid of a bag's logit for its logit, as public code does.
    pub double_sigmoid: bool,
    /// How weights start.
    pub init: Start,
}

impl Default for FocusMil {
    fn default() -> Self {
        Self { embed: vec![128], code: 200, latent: 35, beta: 0.01, double_sigmoid: false, init: Start::Torch }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers; [] for none"),
    ("code", "width of the layer without activation behind them"),
    ("latent", "columns of each instance's Gaussian"),
    ("beta", "weight of the divergence of the Gaussians from the standard normal distribution"),
    ("double_sigmoid", "the loss takes the sigmoid of a bag's logit for its logit, as some public code does"),
    ("init", "start of the weights: torch, glorot, glorot-normal or lecun"),
];

impl MilMethod for FocusMil {
    const NAME: &'static str = "focus-mil";

    fn about() -> About {
        let paper = "Liu, Zhang, Zhang: Attention Is Not What You Need: Revisiting Multi-Instance Learning for Whole Slide \
                     Image Classification, 2024 (arXiv 2408.09449)";
        About { title: "FocusMIL", paper, level: Level::Instance }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    fn recipe(&self) -> Recipe {
        let optimiser = Optimiser { clip_norm: Some(1.0), ..Optimiser::adamw(1e-4) };
        Recipe { optimiser, learning_rate: 1e-4, time_decay: 0.0, epochs: 100, bags: 3 }
    }

    /// More than two classes: one sigmoid a class, each with its own largest logit.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width of 0 or a weight below 0.
    fn record(&self, net: &mut Network) -> Result<()> {
        check_least("beta", self.beta, 0.0)?;
        if self.code == 0 {
            return Err(Error::setting("code", "the width of the layer must be above 0"));
        }
        net.start = self.init;
        let features = net.features;
        let h = *net.embed(features, &self.embed)?.last().unwrap_or(&features);
        let code = net.linear("code", h, self.code, Activation::None)?;
        let gaussian = Gaussian::of(net, "latent", code, self.latent)?;
        let z = gaussian.sample(net)?;
        let outputs = net.outputs();
        let scores = net.linear("score", z, outputs, Activation::None)?;
        let bag = net.pool(scores, Pool::Max)?;
        let link = net.each_alone();
        if self.double_sigmoid {
            net.only_classes(Self::NAME, "its loss is of the sigmoid of a probability (double_sigmoid)")?;
        }
        let seen = if self.double_sigmoid { net.activate(bag, Activation::Sigmoid)? } else { bag };
        let loss = classified(net, seen, link, 1.0)?;
        net.finish((bag, link), (scores, Columns::Classes), loss)?;
        net.scores_are(Meaning::Logit);
        let divergence = gaussian.divergence(net)?;
        let divergence = over_instances(net, divergence)?;
        net.objective("divergence", divergence, Weight::Fixed(self.beta))
    }
}
