//! DAS-MIL (Wölflein, Magister, Liò, Harrison, Arandjelović 2023, arXiv 2305.10552): instances attend to each
//! other, and how far apart they lie is part of the attention.
//!
//! h = embed(x), o_i = sum over j of a_ij (v_j + rV_ij) with a_ij = softmax_j of the distance-aware energy
//! (see [`Energy::Distance`]; its scale is 1 / sqrt(width of h)), z = the pool of the o_i, by default the largest of each
//! column, and a linear head classifies z. The attention of instance j is the mean of a_ij over the rows i of its bag.

use super::image::Embedder;
use super::layers::{Network, Start};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::Rule;
use crate::ops::dropout::Dropout;
use crate::ops::matmul::{Linear, Matmul};
use crate::ops::pointwise::{Activate, Activation};
use crate::ops::rows::{Concat, SliceColumns};
use crate::ops::segment::{Pool, SegmentSoftmax};
use crate::ops::self_attention::{Energy, MOST_BINS, SelfAttention};
use crate::ops::update::Optimiser;
use crate::tape::{Columns, Init, Param, ValueId};
use serde::{Deserialize, Serialize};

/// What the attention knows of the places of instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// Distances, through a learned sigmoid: the method.
    #[default]
    Distance,
    /// Which of some bins a distance falls into, with vectors of its own for each: a discrete relative encoding.
    Discrete,
    /// Places, as two small layers added to the embeddings; plain attention.
    Absolute,
    /// Nothing: plain attention.
    None,
}

/// DAS-MIL; the defaults are those of the paper's collages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DasMil {
    /// What embeds an instance: the layers of `embed`, or two convolutions in their place.
    pub embedder: Embedder,
    /// Height, width and channels of the pictures that LeNet reads.
    pub image: [u32; 3],
    /// Widths of the fully connected layers in front; none attends to the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them, or inside of the small LeNet.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Dropout of the attention matrix, behind its softmax.
    #[serde(serialize_with = "super::layers::shortest")]
    pub attention_dropout: f32,
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
    /// Bins of distances, of the discrete encoding.
    pub bins: u32,
    /// How the rows of a bag become one.
    pub pool: Pool,
    /// How weights start.
    pub init: Start,
}

impl Default for DasMil {
    fn default() -> Self {
        Self {
            embedder: Embedder::Dense,
            image: [28, 28, 1],
            embed: vec![32],
            dropout: 0.0,
            attention_dropout: 0.1,
            key: 10,
            value: 32,
            heads: 1,
            position: Position::Distance,
            side: 256.0,
            beta: 10.0,
            theta: 0.5,
            bins: 10,
            pool: Pool::Max,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers before the attention; [] for none"),
    ("dropout", "dropout after each of these layers; inside of lenet-small"),
    ("attention_dropout", "dropout of the weights that instances give each other"),
    ("key", "width of a head's queries and keys"),
    ("value", "width of a head's values"),
    ("heads", "attention heads, side by side"),
    ("position", "what the attention knows of places: distance, discrete (bins), absolute or none"),
    ("side", "side of the square that holds a bag, in the unit of the coordinates; distances are in its diagonals"),
    ("beta", "start of the steepness of the curve over the distance"),
    ("theta", "start of its middle, in diagonals"),
    ("bins", "bins of distances from 0 to a diagonal, with position = discrete"),
    ("pool", "pool of what the instances attended to: max, mean, sum, log-mean-exp"),
    ("init", "start of the weights: torch or glorot"),
];

impl DasMil {
    fn check(&self) -> Result<()> {
        for (name, value) in [("key", self.key), ("value", self.value), ("heads", self.heads)] {
            if value == 0 {
                return Err(Error::setting(name, "must be above 0"));
            }
        }
        if !(1..=MOST_BINS).contains(&self.bins) {
            return Err(Error::setting("bins", format!("must be 1 to {MOST_BINS}, found {}", self.bins)));
        }
        if !(0.0..1.0).contains(&self.attention_dropout) {
            let found = self.attention_dropout;
            return Err(Error::setting("attention_dropout", format!("must be at least 0 and below 1, found {found}")));
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

impl MilMethod for DasMil {
    const NAME: &'static str = "das-mil";

    fn about() -> About {
        let paper = "Wölflein, Magister, Liò, Harrison, Arandjelović: Deep Multiple Instance Learning with \
                     Distance-Aware Self-Attention, 2023 (arXiv 2305.10552)";
        About { title: "DAS-MIL", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        [HELP, super::image::HELP].concat()
    }

    /// That of the collages. The authors keep the last epoch.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adamw(0.01), learning_rate: 1e-3, time_decay: 0.0, epochs: 50, bags: 1 }
    }

    /// # Errors
    /// [`Error::Setting`] for a width or number of heads of 0, a side that is not above 0, a start of the curve that is
    /// not finite, or a dropout rate or number of bins out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        record(net, self)
    }
}

fn record(net: &mut Network, settings: &DasMil) -> Result<()> {
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
    let [attended, lse] = attention.rows(net)?;
    let received = attention.received(net, lse)?;

    let pooled = net.pool(attended, settings.pool)?;
    let outputs = net.outputs();
    let logits = net.linear("head", pooled, outputs, Activation::None)?;
    let scores = net.linear_shared(attended, logits)?;
    let link = net.one_of_all();
    let loss = net.bag_loss(logits, link, 0.0)?;
    net.finish((logits, link), (scores, Columns::Classes), loss)?;
    net.attention(received, Columns::Heads);
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

/// The attention's projections, and what it makes of places.
struct Attention {
    query: ValueId,
    key: ValueId,
    value: ValueId,
    op: SelfAttention,
    places: Places,
}

/// What the attention has for the places of instances.
enum Places {
    /// Nothing.
    Unknown,
    /// Prototypes of keys, queries and values, the curve, and the places.
    Distances([ValueId; 3], ValueId, ValueId),
    /// What rows add to energies by bin, as queries and as keys, vectors of the values, and the places.
    Bins([ValueId; 2], ValueId, ValueId),
}

impl Attention {
    fn new(net: &mut Network, s: &DasMil, h: ValueId) -> Result<Self> {
        let wide = |name: &str, each: u32| {
            let message = format!("{} heads of {each} are more columns than can be counted", s.heads);
            s.heads.checked_mul(each).ok_or_else(|| Error::setting(name, message))
        };
        let (inputs, keys, values) = (net.tape.cols(h), wide("key", s.key)?, wide("value", s.value)?);
        let [query, key, value] = [("query", keys), ("key", keys), ("value", values)]
            .map(|(part, cols)| net.unbiased(&format!("attention.{part}"), h, cols));
        let (query, key, value) = (query?, key?, value?);
        // The root of the width that is projected, not of that of a head, as the authors have it.
        let scale = 1.0 / (inputs as f32).sqrt();
        let unit = 1.0 / (s.side * std::f32::consts::SQRT_2);
        let tables = [("key", keys), ("query", keys), ("value", values)];
        let (energy, places) = match s.position {
            Position::Distance => {
                let prototypes = tables.map(|(part, cols)| {
                    let parts = ["far", "near"].map(|end| (format!("attention.{part}_{end}.weight"), 1));
                    let (name, init) = (format!("attention.{part}_prototypes"), Init::Normal(1.0));
                    net.tape.param(Param { name, rows: 2, cols, init, decays: true, parts: parts.into() })
                });
                let curve = net.tape.param(Param {
                    name: "attention.curve".into(),
                    rows: 2,
                    cols: s.heads,
                    init: Init::Rows([s.beta, s.theta]),
                    decays: false,
                    parts: ["beta", "theta"].map(|part| (format!("attention.{part}"), 1)).into(),
                });
                let places = net.tape.batch(Input::Coords, 2);
                (Energy::Distance { scale, unit }, Places::Distances(prototypes, curve, places))
            }
            Position::Discrete => {
                let [for_keys, for_queries, for_values] = tables.map(|(part, cols)| {
                    let (name, init) = (format!("attention.{part}_bins.weight"), Init::Normal(1.0));
                    net.tape.param(Param { name, rows: s.bins, cols, init, decays: true, parts: Vec::new() })
                });
                let linear = Linear { activation: Activation::None };
                let by_bin = [
                    by_head(net, s.heads, linear, [query, for_keys])?,
                    by_head(net, s.heads, linear, [key, for_queries])?,
                ];
                let places = net.tape.batch(Input::Coords, 2);
                (Energy::Binned { scale, unit, bins: s.bins }, Places::Bins(by_bin, for_values, places))
            }
            Position::Absolute | Position::None => (Energy::Dot { scale }, Places::Unknown),
        };
        let dropout = match s.attention_dropout {
            0.0 => Dropout::default(),
            rate => Dropout::new(rate, net.tape.next_random_site()),
        };
        Ok(Self { query, key, value, op: SelfAttention { heads: s.heads, energy, dropout }, places })
    }

    /// What each row attends to, and the log-sum-exp of its energies.
    fn rows(&self, net: &mut Network) -> Result<[ValueId; 2]> {
        let more = match self.places {
            Places::Unknown => Vec::new(),
            Places::Distances([key, query, value], curve, places) => vec![key, query, value, curve, places],
            Places::Bins([query, key], _, places) => vec![query, key, places],
        };
        let rows = [self.query, self.key, self.value];
        let outputs = net.tape.push(self.op, &[&rows, &more[..], &net.tables()].concat())?;
        let mut attended = outputs[0];
        if let Places::Bins(_, for_values, _) = self.places {
            let product = Matmul { a_t: false, b_t: false };
            let of_bins = by_head(net, self.op.heads, product, [outputs[2], for_values])?;
            attended = net.add(attended, of_bins, 1.0, 1.0)?;
        }
        Ok([attended, outputs[1]])
    }

    /// The attention that each instance receives: the mean of its column of a, that is column sums over the n rows of the
    /// bag divided by n, so they sum to 1 over the bag.
    ///
    /// With keys in the place of queries the energies are transposed. Of these, softmax' weights times e^-lse of the
    /// rows, times e^lse' of the columns, is a; constants of a bag, such as that of the softmax that keeps e^-lse in
    /// range, leave with the last one. Nothing is dropped here.
    fn received(&self, net: &mut Network, lse: ValueId) -> Result<ValueId> {
        let [tiles, bag_tiles, offsets] = net.tables();
        let less = net.add(lse, lse, -1.0, 0.0)?;
        let softmax = SegmentSoftmax;
        let shares = net.tape.push(softmax, &[less, tiles, bag_tiles, offsets])?[0];
        let more = match self.places {
            Places::Unknown => Vec::new(),
            Places::Distances([for_key, for_query, _], curve, places) => {
                // The shares have no bias: the curve less itself is nothing, in the shape of their prototypes.
                vec![for_query, for_key, net.add(curve, curve, 1.0, -1.0)?, curve, places]
            }
            Places::Bins([query, key], _, places) => vec![key, query, places],
        };
        let op = SelfAttention { dropout: Dropout::default(), ..self.op };
        let rows = [self.key, self.query, shares];
        let columns = net.tape.push(op, &[&rows, &more[..], &net.tables()].concat())?;
        let sums = net.tape.push1(Activate(Activation::Ln), &[columns[0]])?;
        let sums = net.add(sums, columns[1], 1.0, 1.0)?;
        Ok(net.tape.push(softmax, &[sums, tiles, bag_tiles, offsets])?[0])
    }
}

/// A product of each head's columns of two matrices, side by side.
fn by_head(net: &mut Network, heads: u32, op: impl Rule + Copy, [x, table]: [ValueId; 2]) -> Result<ValueId> {
    let mut all = None;
    for head in 0..heads {
        let factors = [x, table].map(|v| {
            let count = net.tape.cols(v) / heads;
            let slice = SliceColumns { first: head * count, count };
            if heads == 1 { Ok(v) } else { net.tape.push1(slice, &[v]) }
        });
        let [x, table] = factors;
        let product = net.tape.push1(op, &[x?, table?])?;
        all = Some(match all {
            None => product,
            Some(before) => net.tape.push1(Concat, &[before, product])?,
        });
    }
    Ok(all.expect("at least one head"))
}
