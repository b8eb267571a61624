//! SA-AbMILP (Rymarczyk, Borowa, Tabor, Zieliński 2021): instances attend to each other, then attention pools them.
//!
//! q, k and v are layers over h, b_ij = softmax over j of E(q_i, k_j), and h'_i = h_i + gamma sum of b_ij v_j with a gamma
//! that is learnt; e_n = w . tanh(V h'_n), a = softmax of e over the bag, z = sum of a_n h'_n, and a linear head classifies
//! z. The energies E are an inner product, or kernels, whose values go through the softmax as well (see [`Energy`]).

use super::image::Embedder;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::dropout::Dropout;
use crate::ops::pointwise::Activation;
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::ops::update::Optimiser;
use crate::ops::weighting::ScaleBy;
use crate::tape::{Columns, Init, Param, ValueId};
use serde::{Deserialize, Serialize};

/// How two instances attract each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// q . k, without a factor.
    #[default]
    Dot,
    /// exp(-alpha |q - k|^2).
    Rbf,
    /// 1 / (alpha |q - k|^2 + 1).
    InverseQuadratic,
    /// -|q - k|_1.
    Laplace,
    /// The sum over columns of |q - k| - |q| - |k|, or of powers of these.
    Module,
}

/// SA-AbMILP; the defaults are the layers of the authors' network for histology and the start of their paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SaAbmilp {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// How two instances attract each other.
    pub kernel: Kernel,
    /// The powers of `module` have an exponent that is learnt.
    pub exponent: bool,
    /// Columns of queries and keys; 0 for an eighth of the embedding's.
    pub key: u32,
    /// Where gamma starts.
    #[serde(serialize_with = "super::layers::shortest")]
    pub gamma: f32,
    /// Hidden width of the attention that pools.
    pub attention: u32,
    /// How weights start.
    pub init: Start,
}

impl Default for SaAbmilp {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![512, 512],
            dropout: 0.2,
            kernel: Kernel::Dot,
            exponent: false,
            key: 0,
            gamma: 0.0,
            attention: 128,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers; inside of lenet-small"),
    ("kernel", "how instances attract each other: dot, rbf, inverse-quadratic, laplace or module"),
    ("exponent", "module has an exponent that is learnt, as in the paper; false as in its code"),
    ("key", "width of queries and keys; 0 for an eighth of the embedding's"),
    ("gamma", "start of the factor of what instances take from each other: 0, or 1 as for histology"),
    ("attention", "hidden width of the attention that pools"),
    ("init", "start of the weights: torch or glorot"),
];

/// The clamp of the probability in the authors' loss.
const CLAMP: f32 = 1e-5;

impl MilMethod for SaAbmilp {
    const NAME: &'static str = "sa-abmilp";

    fn about() -> About {
        let paper = "Rymarczyk, Borowa, Tabor, Zieliński: Kernel Self-Attention for Weakly-supervised Image Classification \
                     using Deep Multiple Instance Learning, 2021 (arXiv 2005.12991)";
        About { title: "SA-AbMILP", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// That of the authors' histology, without its drop of the rate by ten every 60 epochs.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(5e-3), learning_rate: 1e-4, time_decay: 0.0, epochs: 200, bags: 1 }
    }

    /// More than two classes: softmax over a logit each.
    ///
    /// # Errors
    /// [`Error::Setting`] for a hidden width of 0, a gamma that is not finite, an exponent of another kernel than
    /// `module`, or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        self.check()?;
        net.start = self.init;
        let features = net.features;
        let h = match self.embedder.record(net, self.image, self.dropout)? {
            Some(h) => h,
            None => net.embed_with_dropout(features, &self.embed, self.dropout)?,
        };
        let attended = self.attend(net, h)?;
        let [z, scores] = net.attention_pool(attended, false, self.attention, 1)?;
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
}

impl SaAbmilp {
    fn check(&self) -> Result<()> {
        if self.attention == 0 {
            return Err(Error::setting("attention", "the hidden width must be above 0"));
        }
        if !self.gamma.is_finite() {
            return Err(Error::setting("gamma", format!("must be a number, found {}", self.gamma)));
        }
        if self.exponent && self.kernel != Kernel::Module {
            let message = format!(
                "only the kernel module has an exponent, and this is {:?}; set kernel to module or exponent to false",
                self.kernel
            );
            return Err(Error::setting("exponent", message));
        }
        Ok(())
    }

    fn energy(&self) -> Energy {
        match self.kernel {
            Kernel::Dot => Energy::Dot { scale: 1.0 },
            Kernel::Rbf => Energy::Rbf,
            Kernel::InverseQuadratic => Energy::InverseQuadratic,
            Kernel::Laplace => Energy::Laplace,
            Kernel::Module if self.exponent => Energy::ModulePower,
            Kernel::Module => Energy::Module,
        }
    }

    /// h + gamma times what each row attends to.
    fn attend(&self, net: &mut Network, h: ValueId) -> Result<ValueId> {
        let width = net.tape.cols(h);
        let key = if self.key == 0 { (width / 8).max(1) } else { self.key };
        let mut inputs = Vec::new();
        for (name, cols) in [("query", key), ("key", key), ("value", width)] {
            inputs.push(net.linear(&format!("self.{name}"), h, cols, Activation::None)?);
        }
        let energy = self.energy();
        let mut number = |name: &str, start: f32| {
            let (name, init) = (format!("self.{name}"), Init::Constant(start));
            net.tape.param(Param { name, rows: 1, cols: 1, init, decays: false, parts: Vec::new() })
        };
        if matches!(energy, Energy::Rbf | Energy::InverseQuadratic | Energy::ModulePower) {
            inputs.push(number("alpha", 1.0));
        }
        let gamma = number("gamma", self.gamma);
        inputs.extend(net.tables());
        let op = SelfAttention { heads: 1, energy, dropout: Dropout::default() };
        let taken = net.tape.push1(op, &inputs)?;
        let taken = net.tape.push1(ScaleBy, &[taken, gamma])?;
        net.add(h, taken, 1.0, 1.0)
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

    fn refused(settings: SaAbmilp) -> String {
        Model::new(Spec::new(settings.into(), 3, 2), 1).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(refused(SaAbmilp { attention: 0, ..SaAbmilp::default() }).contains("above 0"));
        let message = refused(SaAbmilp { gamma: f32::NAN, ..SaAbmilp::default() });
        assert!(message.contains("gamma") || message.contains("f32"), "{message}");
        let message = refused(SaAbmilp { exponent: true, kernel: Kernel::Laplace, ..SaAbmilp::default() });
        assert!(message.contains("only the kernel module") && message.contains("Laplace"), "{message}");
        assert!(refused(SaAbmilp { dropout: 1.0, ..SaAbmilp::default() }).contains("below 1"));
    }

    /// Queries and keys are an eighth of the embedding, and at least a column.
    #[test]
    fn keys_follow_the_embedding() {
        for (embed, key, wanted) in [(vec![24], 0, 3), (vec![5], 0, 1), (vec![24], 7, 7), (vec![], 0, 2)] {
            let settings = SaAbmilp { embed, key, ..SaAbmilp::default() };
            let model = Model::new(Spec::new(settings.into(), 17, 2), 1).unwrap();
            let query = model.parameters().iter().find(|p| p.name == "self.query.weight").unwrap();
            assert_eq!(query.shape[0], wanted);
        }
    }

    /// With gamma 0 instances take nothing from each other: logits are those of whatever kernel.
    #[test]
    fn without_gamma_kernels_do_not_matter() {
        let logits = |kernel: Kernel, gamma: f32| {
            let settings = SaAbmilp { kernel, gamma, embed: vec![8], attention: 4, ..SaAbmilp::default() };
            let model = Model::new(Spec::new(settings.into(), 3, 2), 4).unwrap();
            let values = (0..30).map(|i| ((i * 37 % 19) as f32 - 9.0) / 4.0).collect();
            let bags = Bags::packed(Features::F32(values), 3, &[7, 1, 2]).unwrap();
            let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
            predict(&mut session, &bags, &[0, 1, 2], None).unwrap().probabilities
        };
        assert_eq!(logits(Kernel::Dot, 0.0), logits(Kernel::Laplace, 0.0));
        assert_ne!(logits(Kernel::Dot, 1.0), logits(Kernel::Laplace, 1.0));
    }
}
