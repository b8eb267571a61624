//! Extreme MIL (Krishnakumar, Baglio, Flother, Ruiz, Habringer, Romano 2025): attention over random features, which are
//! drawn once and never trained.
//!
//! u_n = tanh(V x_n) with V random and frozen, a = softmax of w . u_n over the bag, z = the sum of a_n u_n, and a head
//! classifies z. It pools u, not x. Nothing in front of u is learnt, so training computes u once.

use super::checks::{check_least, check_widths};
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::matmul::Linear;
use crate::ops::pointwise::Activation;
use crate::ops::segment::{BagSoftmax, SegmentLogSumExp};
use crate::ops::update::Optimiser;
use crate::tape::{Columns, Init, Param};
use serde::{Deserialize, Serialize};

/// Extreme MIL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extreme {
    /// Random features L.
    pub projection: u32,
    /// V is uniform in plus or minus this over the root of the width of the features.
    #[serde(serialize_with = "super::layers::shortest")]
    pub scale: f32,
    /// What V is drawn by, whatever the seed of the model.
    pub seed: u64,
    /// Widths of ReLU layers in front of the last layer; none is a linear classifier.
    pub head: Vec<u32>,
    /// Dropout of what is pooled and after each of these layers.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// How trained weights start.
    pub init: Start,
}

impl Default for Extreme {
    fn default() -> Self {
        Self { projection: 512, scale: 1.0, seed: 0, head: Vec::new(), dropout: 0.0, init: Start::Torch }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("projection", "random features of an instance, drawn once and never trained"),
    ("scale", "the projection is uniform in plus or minus this over the root of the width of the features"),
    ("seed", "what the projection is drawn by, whatever the seed of the model"),
    ("head", "widths of ReLU layers in front of the last layer of the classifier; [] for a linear one"),
    ("dropout", "dropout of what is pooled and after each layer of the head"),
    ("init", "start of the trained weights: torch or glorot"),
];

impl MilMethod for Extreme {
    const NAME: &'static str = "extreme";

    fn about() -> About {
        let paper = "Krishnakumar, Baglio, Flother, Ruiz, Habringer, Romano: Extreme Learning Machines for Attention-based \
                     Multiple Instance Learning in Whole-Slide Image Classification, 2025 (arXiv 2503.10510)";
        About { title: "Extreme MIL", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// Ours: the paper's is not known.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-4), learning_rate: 1e-3, time_decay: 0.0, epochs: 100, bags: 1 }
    }

    /// More than two classes: softmax.
    ///
    /// # Errors
    /// [`Error::Setting`] for a width of 0, a scale that is not above 0, or a bad dropout rate.
    fn record(&self, net: &mut Network) -> Result<()> {
        if self.projection == 0 {
            return Err(Error::setting("projection", "the number of random features must be above 0"));
        }
        check_least("scale", self.scale, f32::MIN_POSITIVE)?;
        check_widths("head", &self.head)?;
        net.start = self.init;
        let width = net.tape.cols(net.features);
        let init = Init::Drawn { bound: self.scale / (width as f32).sqrt(), seed: self.seed };
        let (name, rows) = ("projection.weight".into(), self.projection);
        let v = net.tape.constant(Param { name, rows, cols: width, init, decays: true, parts: Vec::new() });
        let u = net.tape.push1(Linear { activation: Activation::Tanh }, &[net.features, v])?;
        net.tape.freeze_front(u)?;
        let scores = net.unbiased("attention.w", u, 1)?;
        // In two steps, so that the weighted sum may read it while a bag is in windows.
        let [tiles, bag_tiles, offsets] = net.tables();
        let log_sum = net.tape.push1(SegmentLogSumExp, &[scores, tiles, bag_tiles, offsets])?;
        let attention = net.tape.push1(BagSoftmax, &[scores, log_sum, tiles, bag_tiles, offsets])?;
        let mut z = net.weighted_sum(u, attention)?;
        z = net.dropout(z, self.dropout)?;
        for (i, &width) in self.head.iter().enumerate() {
            z = net.linear(&format!("head.{i}"), z, width, Activation::Relu)?;
            z = net.dropout(z, self.dropout)?;
        }
        let outputs = net.outputs();
        let z = net.bag_features(z, 1, "")?;
        let logits = net.linear(&format!("head.{}", self.head.len()), z, outputs, Activation::None)?;
        let link = net.one_of_all();
        let loss = net.bag_loss(logits, link, 0.0)?;
        net.finish((logits, link), (scores, Columns::Heads), loss)?;
        net.attention(attention, Columns::Heads);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::{Bags, Features};
    use crate::device::Device;
    use crate::model::{Model, Spec};
    use crate::ops::schedule::Schedule;
    use crate::random::Random;
    use crate::training::{Settings, train};

    fn model(settings: Extreme, seed: u64) -> Model {
        Model::new(Spec::new(settings.into(), 9, 2), seed).unwrap()
    }

    /// The projection is that of its own seed, within its bound, whatever the model's; the rest is the model's.
    #[test]
    fn the_projection_has_a_seed_of_its_own() {
        let settings = Extreme { projection: 40, scale: 1.5, ..Extreme::default() };
        let projection =
            |settings: &Extreme, seed| model(settings.clone(), seed).parameter("projection.weight").unwrap().to_vec();
        let first = projection(&settings, 1);
        assert_eq!(first, projection(&settings, 2));
        assert_ne!(first, projection(&Extreme { seed: 1, ..settings.clone() }, 1));
        let largest = first.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!((0.45..=0.5).contains(&largest), "{largest}");
        let head = |seed| model(settings.clone(), seed).parameter("head.0.weight").unwrap().to_vec();
        assert_ne!(head(1), head(2));
        assert_eq!(model(settings.clone(), 1).parameter_count(), 40 + 40 + 1);
    }

    /// No update, decay or moving average reaches the projection.
    #[test]
    fn the_projection_stays_as_it_was() {
        let mut random = Random::new(3, 0);
        let features = (0..8 * 5 * 9).map(|_| random.normal() as f32).collect();
        let labels = (0..8).map(|bag| bag % 2).collect();
        let bags = Bags::packed(Features::F32(features), 9, &[5; 8]).unwrap().with_labels(labels).unwrap();
        let start = model(Extreme { projection: 6, ..Extreme::default() }, 1);
        let all: Vec<usize> = (0..8).collect();
        for optimiser in [Optimiser::adam(0.1), Optimiser::adamw(0.1), Optimiser::nesterov(0.9, 0.1)] {
            let schedule = Schedule::Constant;
            let optimiser = Optimiser { decay_biases: true, ..optimiser };
            let settings = Settings { epochs: 3, optimiser, schedule, ..Settings::for_method(&start.spec().method) };
            let ended = train(&Device::host(), start.clone(), &settings, &bags, &all, &[], &mut ()).unwrap().model;
            assert_eq!(ended.parameter("projection.weight").unwrap(), start.parameter("projection.weight").unwrap());
            assert_ne!(ended.parameter("attention.w.weight").unwrap(), start.parameter("attention.w.weight").unwrap());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |settings: Extreme| Model::new(Spec::new(settings.into(), 9, 2), 1).unwrap_err().to_string();
        assert!(refused(Extreme { projection: 0, ..Extreme::default() }).contains("above 0"));
        assert!(refused(Extreme { scale: 0.0, ..Extreme::default() }).contains("at least"));
        assert!(refused(Extreme { head: vec![3, 0], ..Extreme::default() }).contains("layer 1 has width 0"));
        assert!(refused(Extreme { dropout: 1.0, ..Extreme::default() }).contains("below 1"));
    }
}
