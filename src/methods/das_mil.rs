//! DAS-MIL (Wölflein, Magister, Liò, Harrison, Arandjelović 2023, arXiv 2305.10552): instances attend to each
//! other, and how far apart they lie is part of the attention.
//!
//! h = embed(x), o_i = sum over j of a_ij (v_j + rV_ij) with a the softmax of the distance-aware energy
//! (see [`Energy::Distance`]), z = the largest o_i of each column, and a linear head classifies z.

use super::ATTENTION_WEIGHTS;
use super::image::Embedder;
use super::layers::{Network, Start};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::Op;
use crate::ops::pointwise::{Activate, Activation};
use crate::ops::segment::{Pool, SegmentSoftmax};
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::tape::{Init, Param, ValueId};
use serde::{Deserialize, Serialize};

/// What the attention knows of the places of instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Distances, through a learned sigmoid: the method.
    #[default]
    Distance,
    /// Whether a distance is beyond `theta`: a relative encoding of two bins, with nothing learned of where they part.
    Discrete,
    /// Places, as two small layers added to the embeddings; plain attention.
    Absolute,
    /// Nothing: plain attention.
    None,
}

/// Settings; the defaults are those of the paper's collages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front; none attends to the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Columns of a head's queries and keys.
    pub key: u32,
    /// Columns of a head's values.
    pub value: u32,
    /// Attention heads, side by side, each with a curve of its own.
    pub heads: u32,
    /// What the attention knows of places.
    pub position: Position,
    /// Side of the square that holds a bag, in the unit of its coordinates; distances count in its diagonals.
    #[serde(serialize_with = "super::layers::shortest")]
    pub side: f32,
    /// Start of the steepness of the curve.
    #[serde(serialize_with = "super::layers::shortest")]
    pub beta: f32,
    /// Start of its middle, in diagonals.
    #[serde(serialize_with = "super::layers::shortest")]
    pub theta: f32,
    /// How the rows of a bag become one.
    pub pool: Pool,
    /// How weights start.
    pub init: Start,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![32],
            dropout: 0.0,
            key: 10,
            value: 32,
            heads: 1,
            position: Position::Distance,
            side: 256.0,
            beta: 10.0,
            theta: 0.5,
            pool: Pool::Max,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
pub const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers before the attention; [] for none"),
    ("dropout", "dropout after each of these layers; inside of lenet-small"),
    ("key", "width of a head's queries and keys"),
    ("value", "width of a head's values"),
    ("heads", "attention heads, side by side"),
    ("position", "what the attention knows of places: distance, discrete (two bins), absolute or none"),
    ("side", "side of the square that holds a bag, in the unit of the coordinates; distances are in its diagonals"),
    ("beta", "start of the steepness of the curve over the distance"),
    ("theta", "start of its middle, in diagonals; with position = discrete the distance that parts the bins"),
    ("pool", "pool of what the instances attended to: max, mean, sum, log-mean-exp"),
    ("init", "start of the weights: torch or glorot"),
];

/// A steepness that leaves no distance between near and far.
const STEP: f32 = 1e6;

impl Settings {
    fn check(&self) -> Result<()> {
        for (name, value) in [("key", self.key), ("value", self.value), ("heads", self.heads)] {
            if value == 0 {
                return Err(Error::setting(name, "must be above 0"));
            }
        }
        if !(self.side > 0.0 && self.side.is_finite()) {
            return Err(Error::setting("side", format!("must be above 0 and finite, found {}", self.side)));
        }
        for (name, value) in [("beta", self.beta), ("theta", self.theta)] {
            if !value.is_finite() {
                return Err(Error::setting(name, format!("must be finite, found {value}")));
            }
        }
        Ok(())
    }
}

/// Records the model.
///
/// # Errors
/// [`Error::Setting`] for a width or number of heads of 0, a side that is not above 0, a start of the curve that is
/// not finite, or a dropout rate out of range.
pub fn record(net: &mut Network, settings: &Settings) -> Result<()> {
    settings.check()?;
    net.start = settings.init;
    let features = net.features;
    let mut h = match settings.embedder.record(net, settings.image, settings.dropout)? {
        Some(h) => h,
        None => net.embed_with_dropout(features, &settings.embed, settings.dropout)?,
    };
    if settings.position == Position::Absolute {
        h = placed(net, h, settings.side)?;
    }
    let attention = Attention::new(net, settings, h)?;
    let attended = attention.rows(net)?;
    let received = attention.received(net, attended[1])?;

    let pooled = net.pool(attended[0], settings.pool)?;
    let outputs = net.outputs();
    let logits = net.linear("head", pooled, outputs, Activation::None)?;
    let scores = net.linear_shared(attended[0], logits)?;
    let loss = net.cross_entropy(logits, 0.0)?;
    net.finish(logits, scores, loss);
    net.tape.output(ATTENTION_WEIGHTS, received);
    Ok(())
}

/// Adds what two layers make of each instance's place.
fn placed(net: &mut Network, h: ValueId, side: f32) -> Result<ValueId> {
    let width = net.tape.cols(h);
    let places = net.tape.batch(Input::Coords, 2);
    let places = net.add(places, places, 1.0 / side, 0.0)?;
    let hidden = net.linear("position.0", places, width, Activation::Relu)?;
    let encoding = net.linear("position.1", hidden, width, Activation::None)?;
    net.add(h, encoding, 1.0, 1.0)
}

/// The attention's projections and, where it knows of distances, what it makes of them.
struct Attention {
    query: ValueId,
    key: ValueId,
    value: ValueId,
    op: SelfAttention,
    /// Prototypes of keys, queries and values, the curve, and the places.
    distance: Option<([ValueId; 3], ValueId, ValueId)>,
}

impl Attention {
    fn new(net: &mut Network, s: &Settings, h: ValueId) -> Result<Self> {
        let (inputs, keys, values) = (net.tape.cols(h), s.heads * s.key, s.heads * s.value);
        let [query, key, value] = [("query", keys), ("key", keys), ("value", values)]
            .map(|(part, cols)| net.unbiased(&format!("attention.{part}"), h, cols));
        // The root of the width that is projected, not of that of a head, as the authors have it.
        let scale = 1.0 / (inputs as f32).sqrt();
        let relative = matches!(s.position, Position::Distance | Position::Discrete);
        let energy = match relative {
            true => Energy::Distance { scale, unit: 1.0 / (s.side * std::f32::consts::SQRT_2) },
            false => Energy::Dot { scale },
        };
        let distance = relative.then(|| {
            let prototypes = [("key", keys), ("query", keys), ("value", values)].map(|(part, cols)| {
                let parts = ["far", "near"].map(|end| (format!("attention.{part}_{end}.weight"), 1));
                let (name, init) = (format!("attention.{part}_prototypes"), Init::Normal(1.0));
                net.tape.param(Param { name, rows: 2, cols, init, decays: true, parts: parts.into() })
            });
            let curve = |beta: f32| Param {
                name: "attention.curve".into(),
                rows: 2,
                cols: s.heads,
                init: Init::Rows([beta, s.theta]),
                decays: false,
                parts: ["beta", "theta"].map(|part| (format!("attention.{part}"), 1)).into(),
            };
            let curve = match s.position {
                Position::Discrete => net.tape.constant(curve(STEP)),
                _ => net.tape.param(curve(s.beta)),
            };
            (prototypes, curve, net.tape.batch(Input::Coords, 2))
        });
        let op = SelfAttention { heads: s.heads, energy };
        Ok(Self { query: query?, key: key?, value: value?, op, distance })
    }

    fn attend(&self, net: &mut Network, rows: [ValueId; 3], prototypes: [ValueId; 3]) -> Result<Vec<ValueId>> {
        let mut inputs = rows.to_vec();
        if let Some((_, curve, places)) = self.distance {
            inputs.extend(prototypes);
            inputs.extend([curve, places]);
        }
        inputs.extend(net.tables());
        net.tape.push(Op::SelfAttention(self.op), &inputs)
    }

    /// What each row attends to, and the log-sum-exp of its energies.
    fn rows(&self, net: &mut Network) -> Result<Vec<ValueId>> {
        let prototypes = self.distance.map_or([self.query; 3], |(prototypes, ..)| prototypes);
        self.attend(net, [self.query, self.key, self.value], prototypes)
    }

    /// The attention that each instance receives from the rows of its bag: column sums of a, over the instances.
    ///
    /// With keys in the place of queries the energies are transposed. Of these, softmax' weights times e^-lse of the
    /// rows, times e^lse' of the columns, is a; constants of a bag, such as that of the softmax that keeps e^-lse in
    /// range, leave with the last one.
    fn received(&self, net: &mut Network, lse: ValueId) -> Result<ValueId> {
        let [tiles, bag_tiles, offsets] = net.tables();
        let less = net.add(lse, lse, -1.0, 0.0)?;
        let softmax = Op::SegmentSoftmax(SegmentSoftmax);
        let shares = net.tape.push(softmax, &[less, tiles, bag_tiles, offsets])?[0];
        let prototypes = match self.distance {
            // The shares have no bias: the curve less itself is nothing, in the shape of their prototypes.
            Some(([for_key, for_query, _], curve, _)) => [for_query, for_key, net.add(curve, curve, 1.0, -1.0)?],
            None => [shares; 3],
        };
        let columns = self.attend(net, [self.key, self.query, shares], prototypes)?;
        let sums = net.tape.push1(Op::Activate(Activate(Activation::Ln)), &[columns[0]])?;
        let sums = net.add(sums, columns[1], 1.0, 1.0)?;
        Ok(net.tape.push(softmax, &[sums, tiles, bag_tiles, offsets])?[0])
    }
}
