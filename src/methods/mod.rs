//! MIL methods: each a function that records a model on a tape, one file a method.

pub mod attention;
pub mod das_mil;
pub mod dsmil;
pub mod encoder;
pub mod image;
pub mod layers;
pub mod mhim;
pub mod mi_net;
pub mod mi_net_bag;
pub mod transmil;

use crate::error::{Error, Result};
use crate::ops::schedule::Schedule;
use crate::ops::update::{Optimiser, UpdateRule};
use crate::tape::{Storage, Tape, ValueId};
use layers::Network;
use serde::{Deserialize, Serialize};

/// A method with its settings. Serialises as `{ "method": name, ...settings }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// mi-Net: instances are classified, their probabilities pooled.
    MiNet(mi_net::Settings),
    /// MI-Net: embeddings are pooled, the bag is classified.
    MiNetBag(mi_net_bag::Settings),
    /// MI-Net with deep supervision: every layer's pooled embedding has its own classifier.
    MiNetDs(mi_net_bag::Settings),
    /// MI-Net with residual connections: the layers' pooled embeddings are added.
    MiNetRc(mi_net_bag::Settings),
    /// Attention MIL.
    Attention(attention::Settings),
    /// Gated Attention MIL.
    GatedAttention(attention::Settings),
    /// DSMIL: an instance classifier, and attention to the instance it picks.
    Dsmil(dsmil::Settings),
    /// TransMIL: a transformer with Nyström attention, whose class token is classified.
    #[serde(rename = "transmil")]
    TransMil(transmil::Settings),
    /// DAS-MIL: self-attention that knows how far apart instances lie.
    DasMil(das_mil::Settings),
    /// MHIM-MIL with attention pooling: a teacher masks what its student learns from.
    #[serde(deserialize_with = "mhim::over_defaults")]
    MhimAttention(mhim::Attention),
    /// MHIM-MIL with DSMIL.
    #[serde(deserialize_with = "mhim::over_defaults")]
    MhimDsmil(mhim::Dsmil),
    /// MHIM-MIL with TransMIL.
    #[serde(rename = "mhim-transmil", deserialize_with = "mhim::over_defaults")]
    MhimTransMil(mhim::TransMil),
    /// An encoder of patches, which is pretrained and makes features of them. No MIL method, and so not among
    /// [`Method::all`].
    Encoder(encoder::Settings),
}

/// What level a method classifies at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Instances are classified, then pooled.
    Instance,
    /// Instances are embedded and pooled, then the bag is classified.
    Bag,
}

/// What the list of methods tells about one.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Name on the command line and in files.
    pub name: &'static str,
    /// What papers call it.
    pub title: &'static str,
    /// Where it was published.
    pub paper: &'static str,
    /// Instance or bag.
    pub level: Level,
    /// Takes bags with several labels each, too ([`Method::takes_label_sets`]).
    pub label_sets: bool,
    /// Settings with their defaults.
    pub parameters: Vec<Setting>,
}

/// One setting of a method.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Name.
    pub name: String,
    /// Value unless set.
    pub default: serde_json::Value,
    /// What it does.
    pub help: &'static str,
}

/// How a method is trained unless told otherwise: the recipe of its paper.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Update rule and decay.
    pub optimiser: Optimiser,
    /// Learning rate at the start.
    pub learning_rate: f64,
    /// Keras' decay of the learning rate per update.
    pub time_decay: f64,
    /// Passes over the training bags.
    pub epochs: u32,
}

const NETWORKS: &str =
    "Wang, Yan, Tang, Bai, Liu: Revisiting Multiple Instance Neural Networks, 2018 (arXiv 1610.02501)";
const ATTENTION: &str =
    "Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, 2018 (arXiv 1802.04712)";
const DUAL_STREAM: &str = "Li, Li, Eliceiri: Dual-stream Multiple Instance Learning Network for Whole Slide Image \
     Classification with Self-supervised Contrastive Learning, 2021 (arXiv 2011.08939)";
const TRANSFORMER: &str = "Shao, Bian, Chen, Wang, Zhang, Ji, Zhang: TransMIL: Transformer based Correlated Multiple \
     Instance Learning for Whole Slide Image Classification, 2021 (arXiv 2106.00908)";
const DISTANCES: &str = "Wölflein, Magister, Liò, Harrison, Arandjelović: Deep Multiple Instance Learning with \
     Distance-Aware Self-Attention, 2023 (arXiv 2305.10552)";
const HARD_INSTANCES: &str = "Tang, Huang, Zhang, Zhou, Zhang, Liu: Multiple Instance Learning Framework with Masked \
     Hard Instance Mining for Whole Slide Image Classification, 2023 (arXiv 2307.15254)";

impl Method {
    /// All methods with their defaults.
    pub fn all() -> Vec<Method> {
        vec![
            Method::MiNet(Default::default()),
            Method::MiNetBag(Default::default()),
            Method::MiNetDs(Default::default()),
            Method::MiNetRc(mi_net_bag::Settings::residual()),
            Method::Attention(Default::default()),
            Method::GatedAttention(Default::default()),
            Method::Dsmil(Default::default()),
            Method::TransMil(Default::default()),
            Method::DasMil(Default::default()),
            Method::MhimAttention(Default::default()),
            Method::MhimDsmil(Default::default()),
            Method::MhimTransMil(Default::default()),
        ]
    }

    /// Name on the command line and in files.
    pub fn name(&self) -> &'static str {
        match self {
            Method::MiNet(_) => "mi-net",
            Method::MiNetBag(_) => "mi-net-bag",
            Method::MiNetDs(_) => "mi-net-ds",
            Method::MiNetRc(_) => "mi-net-rc",
            Method::Attention(_) => "attention",
            Method::GatedAttention(_) => "gated-attention",
            Method::Dsmil(_) => "dsmil",
            Method::TransMil(_) => "transmil",
            Method::DasMil(_) => "das-mil",
            Method::MhimAttention(_) => "mhim-attention",
            Method::MhimDsmil(_) => "mhim-dsmil",
            Method::MhimTransMil(_) => "mhim-transmil",
            Method::Encoder(_) => "encoder",
        }
    }

    /// The method called `name` with its defaults.
    ///
    /// # Errors
    /// [`Error::Setting`] that lists the names there are.
    pub fn named(name: &str) -> Result<Method> {
        Self::all().into_iter().find(|m| m.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::all().iter().map(Method::name).collect();
            Error::setting("method", format!("there is no method {name:?}; there are: {}", names.join(", ")))
        })
    }

    /// The same method with some settings replaced, given as `name = value` pairs.
    ///
    /// # Errors
    /// [`Error::Setting`] for an unknown setting (listing those there are) or a value of the wrong kind.
    pub fn with(&self, settings: &serde_json::Map<String, serde_json::Value>) -> Result<Method> {
        let serde_json::Value::Object(mut all) = serde_json::to_value(self).expect("settings are plain") else {
            unreachable!("a struct serialises as an object")
        };
        for (name, value) in settings {
            if name == "method" || !all.contains_key(name) {
                let names: Vec<&String> = all.keys().filter(|k| *k != "method").collect();
                let names: Vec<&str> = names.iter().map(|s| s.as_str()).collect();
                let message = format!("{} has no such setting; it has: {}", self.name(), names.join(", "));
                return Err(Error::setting(name, message));
            }
            all.insert(name.clone(), value.clone());
        }
        let names = settings.keys().cloned().collect::<Vec<_>>().join(", ");
        serde_json::from_value(serde_json::Value::Object(all)).map_err(|e| Error::setting(names, e.to_string()))
    }

    /// What the list of methods tells about it.
    pub fn info(&self) -> Info {
        let (title, paper, level, help): (_, _, _, &[(&str, &str)]) = match self {
            Method::MiNet(_) => ("mi-Net", NETWORKS, Level::Instance, mi_net::HELP),
            Method::MiNetBag(_) => ("MI-Net", NETWORKS, Level::Bag, mi_net_bag::HELP),
            Method::MiNetDs(_) => ("MI-Net with deep supervision", NETWORKS, Level::Bag, mi_net_bag::HELP),
            Method::MiNetRc(_) => ("MI-Net with residual connections", NETWORKS, Level::Bag, mi_net_bag::HELP),
            Method::Attention(_) => ("Attention MIL", ATTENTION, Level::Bag, attention::HELP),
            Method::GatedAttention(_) => ("Gated Attention MIL", ATTENTION, Level::Bag, attention::HELP),
            Method::Dsmil(_) => ("DSMIL", DUAL_STREAM, Level::Bag, dsmil::HELP),
            Method::TransMil(_) => ("TransMIL", TRANSFORMER, Level::Bag, transmil::HELP),
            Method::DasMil(_) => ("DAS-MIL", DISTANCES, Level::Bag, das_mil::HELP),
            Method::MhimAttention(_) => ("MHIM-MIL", HARD_INSTANCES, Level::Bag, mhim::ATTENTION_HELP),
            Method::MhimDsmil(_) => ("MHIM-MIL with DSMIL", HARD_INSTANCES, Level::Bag, dsmil::HELP),
            Method::MhimTransMil(_) => ("MHIM-MIL with TransMIL", HARD_INSTANCES, Level::Bag, transmil::HELP),
            Method::Encoder(_) => ("Encoder of patches", DUAL_STREAM, Level::Instance, encoder::HELP),
        };
        // What comes with a teacher is the same whatever its student, and what reads pictures whatever pools them.
        let help = || help.iter().chain(image::HELP).chain(mhim::TRANSMIL_HELP).chain(crate::masking::HELP);
        let serde_json::Value::Object(all) = serde_json::to_value(self).expect("settings are plain") else {
            unreachable!("a struct serialises as an object")
        };
        let setting = |(name, default): (String, serde_json::Value)| Setting {
            help: help().find(|(n, _)| *n == name).map_or("", |(_, h)| h),
            name,
            default,
        };
        let parameters = all.into_iter().filter(|(name, _)| name != "method").map(setting).collect();
        Info { name: self.name(), title, paper, level, label_sets: self.takes_label_sets(), parameters }
    }

    /// The recipe of its paper.
    pub fn recipe(&self) -> Recipe {
        match self {
            Method::MiNet(_) | Method::MiNetBag(_) | Method::MiNetDs(_) | Method::MiNetRc(_) => {
                Recipe { optimiser: Optimiser::nesterov(0.9, 0.005), learning_rate: 5e-4, time_decay: 1e-4, epochs: 50 }
            }
            Method::Attention(_) | Method::GatedAttention(_) => {
                Recipe { optimiser: Optimiser::adam(1e-4), learning_rate: 5e-4, time_decay: 0.0, epochs: 100 }
            }
            // The authors' script for classical data also lets the rate fall along a cosine.
            Method::Dsmil(_) => {
                let rule = UpdateRule::Adam { beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };
                let optimiser = Optimiser { rule, ..Optimiser::adam(5e-3) };
                Recipe { optimiser, learning_rate: 2e-4, time_decay: 0.0, epochs: 40 }
            }
            // The authors stop early, after 10 epochs without a smaller loss of the validation bags.
            Method::TransMil(_) => {
                let optimiser = Optimiser::radam(1e-5).with_lookahead(6, 0.5);
                Recipe { optimiser, learning_rate: 2e-4, time_decay: 0.0, epochs: 200 }
            }
            // That of the collages. The authors keep the last epoch.
            Method::DasMil(_) => {
                Recipe { optimiser: Optimiser::adamw(0.01), learning_rate: 1e-3, time_decay: 0.0, epochs: 50 }
            }
            // The authors stop early, by the AUC of the validation bags.
            Method::MhimAttention(_) | Method::MhimDsmil(_) | Method::MhimTransMil(_) => {
                Recipe { optimiser: Optimiser::adam(1e-5), learning_rate: 2e-4, time_decay: 0.0, epochs: 200 }
            }
            // Ours: that of the paper, 1e-4, is for a network of twelve million parameters.
            Method::Encoder(_) => {
                Recipe { optimiser: Optimiser::adam(1e-5), learning_rate: 1e-3, time_decay: 0.0, epochs: 30 }
            }
        }
    }

    /// How the learning rate of the recipe moves.
    pub fn schedule(&self) -> Schedule {
        match self {
            Method::MhimAttention(_) | Method::MhimDsmil(_) | Method::MhimTransMil(_) => {
                Schedule::CosineEpochs { floor: 0.0 }
            }
            _ => match self.recipe().time_decay {
                0.0 => Schedule::Constant,
                decay => Schedule::TimeDecay { decay },
            },
        }
    }

    /// True when bags may have several labels at once ([`crate::Bags::label_sets`]): the loss knows each by itself.
    pub fn takes_label_sets(&self) -> bool {
        match self {
            // With a negative class, which is the absence of the others, exactly one class is meant.
            Method::Dsmil(settings) => !settings.negative,
            _ => false,
        }
    }

    /// Records the model for `width` features and `classes` classes, of which a bag has exactly one.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range.
    pub fn record(&self, width: usize, classes: usize, storage: Storage, instance_grads: bool) -> Result<Tape> {
        self.record_on([width, classes], storage, instance_grads, false)
    }

    /// As [`Method::record`], for `labels` labels, of which a bag has any subset.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range, or a method that is for one class a bag; lists those that are not.
    pub fn record_multi_label(
        &self,
        width: usize,
        labels: usize,
        storage: Storage,
        instance_grads: bool,
    ) -> Result<Tape> {
        if !self.takes_label_sets() {
            let able: Vec<&str> = Self::all().iter().filter(|m| m.takes_label_sets()).map(Method::name).collect();
            let settings = if able.contains(&self.name()) { " with these settings (negative)" } else { "" };
            return Err(Error::setting(
                "method",
                format!(
                    "{}{settings} is for bags of exactly one class, and these have any number of labels each; methods \
                     for those: {}",
                    self.name(),
                    able.join(", ")
                ),
            ));
        }
        self.record_on([width, labels], storage, instance_grads, true)
    }

    fn record_on(
        &self,
        [width, classes]: [usize; 2],
        storage: Storage,
        instance_grads: bool,
        multi_label: bool,
    ) -> Result<Tape> {
        if width == 0 {
            return Err(Error::setting("width", "a model needs at least one feature"));
        }
        if classes < 2 {
            return Err(Error::setting("classes", format!("a model needs at least 2 classes, found {classes}")));
        }
        for (name, found, most) in [("width", width, MOST_FEATURES), ("classes", classes, MOST_OF_A_SETTING)] {
            if found > most {
                return Err(Error::setting(name, format!("at most {most} are possible, found {found}")));
            }
        }
        self.check_sizes()?;
        let mut network = Network::new(width, classes, storage, instance_grads);
        if multi_label {
            network = network.multi_label();
        }
        match self {
            Method::MiNet(settings) => mi_net::record(&mut network, settings)?,
            Method::MiNetBag(s) => mi_net_bag::record(&mut network, s, mi_net_bag::Form::Plain)?,
            Method::MiNetDs(s) => mi_net_bag::record(&mut network, s, mi_net_bag::Form::DeepSupervision)?,
            Method::MiNetRc(s) => mi_net_bag::record(&mut network, s, mi_net_bag::Form::Residual)?,
            Method::Attention(settings) => attention::record(&mut network, settings, false)?,
            Method::GatedAttention(settings) => attention::record(&mut network, settings, true)?,
            Method::Dsmil(settings) => dsmil::record(&mut network, settings)?,
            Method::TransMil(settings) => transmil::record(&mut network, settings)?,
            Method::DasMil(settings) => das_mil::record(&mut network, settings)?,
            Method::MhimAttention(settings) => mhim::attention(&mut network, settings)?,
            Method::MhimDsmil(settings) => mhim::dsmil(&mut network, settings)?,
            Method::MhimTransMil(settings) => mhim::transmil(&mut network, settings)?,
            Method::Encoder(settings) => encoder::record(&mut network, settings)?,
        }
        Ok(network.tape)
    }
}

/// Features of an instance, at most.
const MOST_FEATURES: usize = 1 << 24;
/// A size or a number among the settings of a method, at most, so that products of two fit 32 bits.
const MOST_OF_A_SETTING: usize = 1 << 16;
/// Entries of a list among the settings, at most.
const MOST_ENTRIES: usize = 256;

impl Method {
    /// Refuses settings so large that sizes made of them could not be counted.
    fn check_sizes(&self) -> Result<()> {
        fn look(name: &str, value: &serde_json::Value) -> Result<()> {
            use serde_json::Value;
            let most = MOST_OF_A_SETTING as u64;
            match value {
                Value::Number(n) if n.as_u64().is_some_and(|n| n > most) => {
                    Err(Error::setting(name, format!("at most {most} is possible, found {n}")))
                }
                Value::Array(all) if all.len() > MOST_ENTRIES => Err(Error::setting(
                    name,
                    format!("at most {MOST_ENTRIES} entries are possible, found {}", all.len()),
                )),
                Value::Array(all) => all.iter().try_for_each(|value| look(name, value)),
                Value::Object(all) => all.iter().try_for_each(|(name, value)| look(name, value)),
                _ => Ok(()),
            }
        }
        look("method", &serde_json::to_value(self).expect("settings are plain data"))
    }
}

/// Logits of the bags `[B, outputs]`, on every tape.
pub const BAG_LOGITS: &str = "bag_logits";
/// Scores of the instances `[N, heads or outputs]`, on every tape: higher means more like a key instance.
pub const SCORES: &str = "scores";
/// Attention weights `[N, heads]` that sum to 1 over each bag, where the method has them.
pub const ATTENTION_WEIGHTS: &str = "attention";

/// Outputs of a model: one logit for two classes, one for each class beyond.
pub fn outputs_for(classes: usize) -> u32 {
    if classes == 2 { 1 } else { classes as u32 }
}

/// Adds several losses with factor 1.
pub(crate) fn total(tape: &mut Tape, losses: &[ValueId]) -> Result<ValueId> {
    use crate::ops::{Op, pointwise::AddScaled};
    let mut sum = losses[0];
    for loss in &losses[1..] {
        sum = tape.push1(Op::AddScaled(AddScaled { a: 1.0, b: 1.0 }), &[sum, *loss])?;
    }
    Ok(sum)
}
