//! DP-MINN (Yan, Wang, Guo, Fang, Liu, Huang 2018): instances are routed to a capsule by how well they agree with it, and
//! the capsule's length is the probability of the bag.
//!
//! Round by round, c = softmax of b over the bag, s = sum of c_n f_n, v = s |s| / (1 + |s|^2), and b_n grows by f_n . v; b
//! starts at 0. The length |v| of the last round is the probability, |s|^2 / (1 + |s|^2), so its logit is ln |s|^2.

use super::checks::check_least;
use super::image::Embedder;
use super::layers::{Distance, Meaning, Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::pointwise::{Activation, Affine, Multiply};
use crate::ops::reduce::RowSum;
use crate::tape::Columns;
use serde::{Deserialize, Serialize};

/// DP-MINN; the defaults are the paper's where it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpMinn {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers.
    pub embed: Vec<u32>,
    /// Dropout after the last of them, after LeNet, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Rounds of the routing.
    pub rounds: u32,
    /// Width of the capsule of each class, where there are more than two.
    pub capsule: u32,
    /// Lengths above this cost nothing where a bag has the class.
    #[serde(serialize_with = "super::layers::shortest")]
    pub above: f32,
    /// Lengths below this cost nothing where a bag does not have the class.
    #[serde(serialize_with = "super::layers::shortest")]
    pub below: f32,
    /// Weight of the classes that a bag does not have.
    #[serde(serialize_with = "super::layers::shortest")]
    pub lambda: f32,
    /// How weights start.
    pub init: Start,
}

impl Default for DpMinn {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![256, 128, 64],
            dropout: 0.5,
            rounds: 3,
            capsule: 16,
            above: 0.9,
            below: 0.1,
            lambda: 1.0,
            init: Start::Glorot,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers; [] for none"),
    ("dropout", "dropout after the last of these layers or after lenet; inside of lenet-small"),
    ("rounds", "rounds of the routing; 1 is the mean of the instances"),
    ("capsule", "width of the capsule of each class, of more than two classes or several labels a bag"),
    ("above", "lengths above this cost nothing where a bag has the class"),
    ("below", "lengths below this cost nothing where a bag does not have the class"),
    ("lambda", "weight of the classes that a bag does not have"),
    ("init", "start of the weights: torch or glorot"),
];

/// Rounds at most: each is recorded by itself.
const MOST_ROUNDS: u32 = 64;

impl MilMethod for DpMinn {
    const NAME: &'static str = "dp-minn";

    fn about() -> About {
        let paper = "Yan, Wang, Guo, Fang, Liu, Huang: Deep Multi-instance Learning with Dynamic Pooling, \
                     ACML 2018 (PMLR 95, 662-677)";
        About { title: "DP-MINN", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// Ours: the paper's is not known.
    fn recipe(&self) -> Recipe {
        super::adaptive_pooling::recipe()
    }

    fn takes_label_sets(&self) -> bool {
        true
    }

    /// Each class has a capsule and a loss of its own; of two classes there is one, of the second.
    ///
    /// # Errors
    /// [`Error::Setting`] for no rounds or more than 64, a width of 0, margins that are not in order within 0 and 1, a
    /// negative weight, a bad dropout rate, or a network without anything to learn.
    fn record(&self, net: &mut Network) -> Result<()> {
        self.check()?;
        net.start = self.init;
        let f = self.embedder.embeddings(net, self.image, &self.embed, self.dropout)?;
        let outputs = net.outputs();
        if outputs == 1 && self.embedder == Embedder::Dense && self.embed.is_empty() {
            let message = "of two classes the layers are all that is learnt; give at least one width";
            return Err(Error::setting("embed", message));
        }
        let (mut lengths, mut squares, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for class in 0..outputs {
            let x = match outputs {
                1 => f,
                _ => net.unbiased(&format!("capsule.{class}"), f, self.capsule)?,
            };
            let routed = net.route(x, self.rounds)?;
            let square = net.tape.push1(Multiply, &[routed.sum, routed.sum])?;
            lengths.push(routed.length);
            squares.push(net.tape.push1(RowSum, &[square])?);
            weights.push(routed.weights);
        }
        let [lengths, squares, weights] = [lengths, squares, weights].map(|columns| net.beside(&columns));
        let (lengths, squares, weights) = (lengths?, squares?, weights?);
        // p / (1 - p) = |s|^2, which keeps its digits where p is nearly 0 or 1.
        let above_zero = net.tape.push1(Affine { factor: 1.0, offset: LEAST }, &[squares])?;
        let logits = net.activate(above_zero, Activation::Ln)?;
        let margin = Distance::Margin { above: self.above, below: self.below, negatives: self.lambda };
        let loss = net.distance_to_targets(lengths, margin, 1.0)?;
        let link = net.each_alone();
        net.finish((logits, link), (weights, Columns::Classes), loss)?;
        net.scores_are(Meaning::Weight);
        net.attention(weights, Columns::Classes);
        Ok(())
    }
}

/// Added to |s|^2, whose logarithm a capsule of length 0 has none of.
const LEAST: f32 = 1e-12;

impl DpMinn {
    fn check(&self) -> Result<()> {
        if !(1..=MOST_ROUNDS).contains(&self.rounds) {
            return Err(Error::setting("rounds", format!("must be 1 to {MOST_ROUNDS}, found {}", self.rounds)));
        }
        if self.capsule == 0 {
            return Err(Error::setting("capsule", "the width must be above 0"));
        }
        if !(0.0 <= self.below && self.below < self.above && self.above <= 1.0) {
            let message = format!(
                "lengths are within 0 and 1, and above must be larger than below; found above {} and below {}",
                self.above, self.below
            );
            return Err(Error::setting("above", message));
        }
        check_least("lambda", self.lambda, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::{Bags, Features};
    use crate::device::Device;
    use crate::model::{Model, Spec};
    use crate::session::Session;
    use crate::tape::Storage;
    use crate::training::predict;

    fn found(settings: DpMinn, classes: usize, values: Vec<f32>) -> (predict::Predictions, Model) {
        let model = Model::new(Spec::new(settings.into(), 3, classes), 4).unwrap();
        let bags = Bags::packed(Features::F32(values), 3, &[7, 1, 2]).unwrap();
        let mut session = Session::new(&Device::host(), model.clone(), Storage::F32).unwrap();
        (predict::predict(&mut session, &bags, &[0, 1, 2], None).unwrap(), model)
    }

    /// One round is the mean, squashed, and all instances count the same.
    #[test]
    fn one_round_is_the_mean() {
        let settings = DpMinn { embed: Vec::new(), rounds: 1, capsule: 2, ..DpMinn::default() };
        let values: Vec<f32> = (0..30).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
        let (found, model) = found(settings, 3, values.clone());
        let weights = found.class_attention.as_ref().unwrap_or_else(|| found.attention.as_ref().unwrap());
        for (bag, size) in [7usize, 1, 2].into_iter().enumerate() {
            let rows = found.offsets[bag]..found.offsets[bag + 1];
            let mean = |c: usize| rows.clone().map(|r| f64::from(values[3 * r + c])).sum::<f64>() / size as f64;
            let mean = [mean(0), mean(1), mean(2)];
            for (class, p) in found.bag(bag).iter().enumerate() {
                let w = model.parameter(&format!("capsule.{class}.weight")).unwrap();
                let s = w.chunks_exact(3).map(|w| w.iter().zip(mean).map(|(w, x)| f64::from(*w) * x).sum::<f64>());
                let square = s.map(|s| s * s).sum::<f64>();
                assert!((square / (1.0 + square) - f64::from(*p)).abs() < 1e-6, "{class}: {square} {p}");
            }
            let columns = weights.len() / 10;
            let all = &weights[rows.start * columns..rows.end * columns];
            assert!(all.iter().all(|w| (w - 1.0 / size as f32).abs() < 1e-6), "{all:?}");
        }
    }

    /// A capsule that nothing reaches has no length, which is a probability of 0.
    #[test]
    fn nothing_is_improbable() {
        let settings = DpMinn { embed: Vec::new(), ..DpMinn::default() };
        let (found, _) = found(settings, 3, vec![0.0; 30]);
        assert!(found.probabilities.iter().all(|p| (0.0..1e-6).contains(p)), "{:?}", found.probabilities);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |settings: DpMinn| Model::new(Spec::new(settings.into(), 3, 2), 1).unwrap_err().to_string();
        assert!(refused(DpMinn { rounds: 0, ..DpMinn::default() }).contains("1 to 64, found 0"));
        assert!(refused(DpMinn { capsule: 0, ..DpMinn::default() }).contains("above 0"));
        assert!(refused(DpMinn { embed: Vec::new(), ..DpMinn::default() }).contains("all that is learnt"));
        assert!(refused(DpMinn { above: 0.1, ..DpMinn::default() }).contains("larger than below"));
        assert!(refused(DpMinn { above: 1.5, ..DpMinn::default() }).contains("within 0 and 1"));
        assert!(refused(DpMinn { below: f32::NAN, ..DpMinn::default() }).len() > 10);
        assert!(refused(DpMinn { lambda: -1.0, ..DpMinn::default() }).contains("at least 0"));
    }
}
