//! MHIM-MIL (Tang, Huang, Zhang, Zhou, Zhang, Liu 2023, arXiv 2307.15254): a student learns from the instances that
//! its teacher, a moving average of it, leaves it: without the easiest ones it has to find the hard ones.
//!
//! The paper's three students, attention pooling, DSMIL and TransMIL, and with [`Mhim`] any method that tells of the features
//! of its bags. What is masked is in [`crate::masking`], the step of teacher
//! and student in [`crate::session`]. The loss is that of the student's network and
//! alpha times the cross-entropy of softmax(F_student) against softmax(F_teacher / tau), over the columns of the
//! bags' features F.

use super::base::{self, BagFeatures, Base, Ranking};
use super::layers::{Network, Start};
use super::{About, Dsmil, GatedAttention, Level, MilMethod, Recipe, TransMil, dsmil, transmil};
use crate::error::{Error, Result};
use crate::groups::Group;
use crate::kernels::launch::Input;
use crate::masking::{self, Masks, Strategy};
use crate::objectives::Weight;
use crate::ops::pointwise::{Activate, Activation, Multiply};
use crate::ops::rows::SliceColumns;
use crate::ops::schedule::Schedule;
use crate::ops::segment::SegmentSoftmax;
use crate::ops::target_loss::{Distance, TargetLoss};
use crate::ops::update::Optimiser;
use crate::ops::weighting::WeightedSum;
use crate::passes::{Follower, HostRule, Parameters};
use crate::tape::{Columns, Role, ValueId};
use serde::{Deserialize, Serialize};

/// Settings of the student that pools by attention; the defaults are the paper's for Camelyon16.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MhimAttention {
    /// Widths of the fully connected layers in front; none pools the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Hidden width L of the attention.
    pub attention: u32,
    /// Multiply the hidden row by sigmoid(U h).
    pub gated: bool,
    /// How weights start.
    pub init: Start,
    /// Masks and teacher.
    #[serde(flatten)]
    pub masks: Masks,
}

impl Default for MhimAttention {
    fn default() -> Self {
        Self {
            embed: vec![512],
            dropout: 0.25,
            attention: 128,
            gated: false,
            init: Start::GlorotNormal,
            masks: Masks::default(),
        }
    }
}

/// Settings of the attention, for people.
const ATTENTION_HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers before the attention; [] for none"),
    ("dropout", "dropout after each of these layers"),
    ("attention", "hidden width of the attention"),
    ("gated", "multiply the hidden row of the attention by a gate"),
    ("init", "start of the weights: torch, glorot or glorot-normal"),
];

/// Settings of the student of two streams; the defaults are the paper's for Camelyon16.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MhimDsmil {
    /// The network.
    #[serde(flatten)]
    pub network: Dsmil,
    /// Masks and teacher.
    #[serde(flatten)]
    pub masks: Masks,
}

impl Default for MhimDsmil {
    fn default() -> Self {
        let network = Dsmil {
            variant: dsmil::Variant::H,
            embed: vec![512],
            dropout: 0.25,
            value_layer: true,
            init: Start::GlorotNormal,
            ..Dsmil::default()
        };
        Self { network, masks: Masks::default() }
    }
}

/// Settings of the student that is a transformer; the defaults are the paper's for Camelyon16.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MhimTransMil {
    /// The network.
    #[serde(flatten)]
    pub network: TransMil,
    /// Dropout of the instances' rows, in front of the transformer.
    #[serde(serialize_with = "super::layers::shortest")]
    pub row_dropout: f32,
    /// Masks and teacher.
    #[serde(flatten)]
    pub masks: Masks,
}

impl Default for MhimTransMil {
    fn default() -> Self {
        let masks = Masks { strategy: Strategy::LHam, high: 0.03, momentum_rises: true, ..Masks::default() };
        Self { network: TransMil::default(), row_dropout: 0.25, masks }
    }
}

/// Settings of any other student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mhim {
    /// The student: a method that tells of the features of its bags ([`Network::bag_features`]).
    pub base: Base,
    /// Masks and teacher.
    #[serde(flatten)]
    pub masks: Masks,
}

impl Default for Mhim {
    fn default() -> Self {
        let base = GatedAttention { embed: vec![512], dropout: 0.25, ..GatedAttention::default() };
        Self { base: base.into(), masks: Masks::default() }
    }
}

/// The setting that says which student, for people.
const BASE_HELP: &[(&str, &str)] =
    &[("base", "the student: the name of a method, or a table with it under `method` and settings beside it")];

/// The setting of TransMIL that its network does not have, for people.
const TRANSMIL_HELP: &[(&str, &str)] = &[("row_dropout", "dropout of the instances' rows before the transformer")];

/// What the teacher compares and ranks by.
struct Teacher {
    /// Features of the bags.
    features: BagFeatures,
    /// What instances are ranked by.
    ranking: Ranking,
}

/// Adds the consistency loss to a network that is whole, and the passes before an update: what the teacher is asked, and
/// what the host makes of it.
fn teach(net: &mut Network, teacher: Teacher, masks: &Masks) -> Result<()> {
    masks.validate()?;
    let Teacher { features: BagFeatures { value: features, parts, .. }, ranking } = teacher;
    if masks.consistency > 0.0 {
        let width = net.tape.cols(features);
        let wanted = net.tape.batch(Input::Given, width);
        let weights = net.tape.batch(Input::Weights, 1);
        let scale = (masks.consistency / parts as f64) as f32;
        let count = width / parts;
        for (n, first) in (0..width).step_by(count as usize).enumerate() {
            let mut part = |x| match parts {
                1 => Ok(x),
                _ => net.tape.push1(SliceColumns { first, count }, &[x]),
            };
            let (x, y) = (part(features)?, part(wanted)?);
            let op = TargetLoss { distance: Distance::SoftTargets, scale };
            let loss = net.tape.push1(op, &[x, y, weights])?;
            let name = if parts == 1 { "consistency".into() } else { format!("consistency {}", n + 1) };
            net.objective(&name, loss, Weight::Fixed(1.0))?;
        }
    }
    let (scored, compared) = (masks.needs_scores(), masks.consistency > 0.0);
    if masks.strategy == Strategy::None && !compared {
        return Ok(());
    }
    // The teacher looks first: what it scores is masked, and its features are those to agree with.
    let passes = &mut net.tape.passes;
    passes.follower = Some(Follower { momentum: masks.momentum, rises: masks.momentum_rises });
    let wanted = [(scored, ranking.value), (compared, features)];
    let values: Vec<ValueId> = wanted.into_iter().filter(|(wanted, _)| *wanted).map(|(_, value)| value).collect();
    let mut read = if values.is_empty() { Vec::new() } else { passes.look(Parameters::Follower, &values) }.into_iter();
    let scores = if scored { read.next() } else { None };
    if let Some(from) = read.next() {
        passes.rules.push(HostRule::Soften { from, parts, temperature: masks.temperature });
    }
    passes.rules.push(HostRule::KeepRows { masks: *masks, scores, vote: ranking.vote });
    Ok(())
}

/// Where they were published.
const PAPER: &str = "Tang, Huang, Zhang, Zhou, Zhang, Liu: Multiple Instance Learning Framework with Masked Hard Instance \
                     Mining for Whole Slide Image Classification, 2023 (arXiv 2307.15254)";

/// The recipe of all. The authors stop early, by the AUC of the validation bags.
fn recipe() -> Recipe {
    Recipe { optimiser: Optimiser::adam(1e-5), learning_rate: 2e-4, time_decay: 0.0, epochs: 200, bags: 1 }
}

const SCHEDULE: Schedule = Schedule::CosineEpochs { floor: 0.0 };

impl MilMethod for MhimAttention {
    const NAME: &'static str = "mhim-attention";

    fn about() -> About {
        About { title: "MHIM-MIL", paper: PAPER, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [ATTENTION_HELP, masking::HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        recipe()
    }

    fn schedule(&self) -> Schedule {
        SCHEDULE
    }

    /// # Errors
    /// [`Error::Setting`] for a width of 0, a dropout rate or a setting of the masks out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        attention(net, self)
    }
}

impl MilMethod for MhimDsmil {
    const NAME: &'static str = "mhim-dsmil";

    fn about() -> About {
        About { title: "MHIM-MIL with DSMIL", paper: PAPER, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [dsmil::HELP, masking::HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        recipe()
    }

    fn schedule(&self) -> Schedule {
        SCHEDULE
    }

    /// # Errors
    /// As of [`Dsmil`], and [`Error::Setting`] for a setting of the masks out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        dsmil(net, self)
    }
}

impl MilMethod for MhimTransMil {
    const NAME: &'static str = "mhim-transmil";

    fn about() -> About {
        About { title: "MHIM-MIL with TransMIL", paper: PAPER, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [transmil::HELP, TRANSMIL_HELP, masking::HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        recipe()
    }

    fn schedule(&self) -> Schedule {
        SCHEDULE
    }

    /// # Errors
    /// As of [`TransMil`], and [`Error::Setting`] for a setting of the masks out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        transmil(net, self)
    }
}

impl MilMethod for Mhim {
    const NAME: &'static str = "mhim";

    fn about() -> About {
        About { title: "MHIM-MIL with any student", paper: PAPER, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [BASE_HELP, masking::HELP].concat()
    }

    fn recipe(&self) -> Recipe {
        recipe()
    }

    fn schedule(&self) -> Schedule {
        SCHEDULE
    }

    fn groups(&self) -> Vec<Group> {
        self.base.0.groups()
    }

    /// # Errors
    /// As of the base, and [`Error::Setting`] for one without features of bags or a setting of the masks out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        any(net, self)
    }
}

/// Records the student that pools by attention: e_n = w . relu(V h_n) without biases, z = sum of softmax(e)_n h_n.
fn attention(net: &mut Network, settings: &MhimAttention) -> Result<()> {
    let s = settings;
    if s.attention == 0 {
        return Err(Error::setting("attention", "the hidden width must be above 0"));
    }
    net.start = s.init;
    let h = net.embed_with_dropout(net.features, &s.embed, s.dropout)?;
    let mut hidden = net.unbiased("attention.v", h, s.attention)?;
    hidden = net.tape.push1(Activate(Activation::Relu), &[hidden])?;
    if s.gated {
        let gate = net.unbiased("attention.u", h, s.attention)?;
        let gate = net.tape.push1(Activate(Activation::Sigmoid), &[gate])?;
        hidden = net.tape.push1(Multiply, &[hidden, gate])?;
    }
    let scores = net.unbiased("attention.w", hidden, 1)?;
    let [tiles, bag_tiles, offsets] = net.tables();
    let softmax = SegmentSoftmax;
    let weights = net.tape.push(softmax, &[scores, tiles, bag_tiles, offsets])?[0];
    let sum = WeightedSum { mean: false };
    let features = net.tape.push1(sum, &[h, weights, tiles, bag_tiles, offsets])?;
    let outputs = net.outputs();
    let described = net.bag_features(features, 1, "")?;
    let logits = net.linear("head", described, outputs, Activation::None)?;
    let link = net.one_of_all();
    let loss = net.bag_loss(logits, link, 0.0)?;
    net.finish((logits, link), (scores, Columns::Heads), loss)?;
    let features = BagFeatures { value: features, parts: 1, prefix: "" };
    teach(net, Teacher { features, ranking: Ranking { value: scores, vote: false } }, &s.masks)?;
    net.attention(weights, Columns::Heads);
    Ok(())
}

/// Records the student of two streams. Its teacher scores instances by the largest of their classes' logits.
fn dsmil(net: &mut Network, settings: &MhimDsmil) -> Result<()> {
    let dsmil::Streams { logits, link, scores, weights, features, loss } = dsmil::network(net, &settings.network)?;
    let features = BagFeatures { value: features, parts: net.tape.cols(logits), prefix: "" };
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    teach(net, Teacher { features, ranking: Ranking { value: scores, vote: false } }, &settings.masks)?;
    net.attention(weights, Columns::Classes);
    Ok(())
}

/// Records the student that is a transformer. Its teacher scores instances, head by head, by what the class token
/// attends to in the first attention; its feature is the class token.
fn transmil(net: &mut Network, settings: &MhimTransMil) -> Result<()> {
    let asked = settings.masks.needs_scores();
    let transmil::Parts { logits, link, scores, features, first, loss } =
        transmil::network(net, &settings.network, settings.row_dropout, asked)?;
    net.finish((logits, link), (scores, Columns::Heads), loss)?;
    let features = BagFeatures { value: features, parts: 1, prefix: "" };
    teach(net, Teacher { features, ranking: Ranking { value: first.unwrap_or(scores), vote: true } }, &settings.masks)
}

/// Records any student that tells of the features of its bags. Its teacher ranks instances by what the student says, else by
/// the scores it gives.
fn any(net: &mut Network, settings: &Mhim) -> Result<()> {
    let asks = settings.masks.needs_scores();
    let features = base::put_around(net, Mhim::NAME, &settings.base.0, None, asks)?;
    if !net.tape.passes.is_update_alone() {
        let message = format!("{} has a teacher or masks of its own", settings.base.0.name());
        return Err(Error::setting("base", message));
    }
    let scores = net.tape.outputs.iter().find_map(|output| match output.role {
        Role::Scores(columns, _) => Some(Ranking { value: output.value, vote: columns == Columns::Heads }),
        _ => None,
    });
    let Some(ranking) = net.around.ranking.or(scores) else {
        return Err(Error::setting("base", format!("{} gives no scores of instances", settings.base.0.name())));
    };
    teach(net, Teacher { features, ranking }, &settings.masks)
}
