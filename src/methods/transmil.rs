//! TransMIL (Shao, Bian, Chen, Wang, Zhang, Ji, Zhang 2021, arXiv 2106.00908): a transformer over the instances
//! of a bag, whose class token is classified.
//!
//! The instances, h = relu(W x + b), become a square of ceil(sqrt n)^2 tokens behind a class token, the first
//! ones again where the square needs more. Then T <- T + A(LN T), T <- T + the sum of three depthwise
//! convolutions of the square, T <- T + A(LN T) with the Nyström attention A, and a layer behind a
//! last layer norm of the class token. Only the class token of the second attention is computed.

use super::base::Ranking;
use super::layers::Network;
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::ops::cross_attention::{Between, CrossAttention, Received};
use crate::ops::depthwise::{GridConv, MergeKernels, SequenceConv, ShiftTokens};
use crate::ops::matmul::Linear;
use crate::ops::norm::LayerNorm;
use crate::ops::nystrom::{HeadProduct, Heads, PseudoInverse};
use crate::ops::pointwise::Activation;
use crate::ops::reduce::RowSoftmax;
use crate::ops::tokens::{LandmarkMeans, Square, TokenScores, TokenTables, class_tokens};
use crate::ops::update::Optimiser;
use crate::tape::{Columns, Init, Link, Param, ValueId};
use serde::{Deserialize, Serialize};

/// TransMIL; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransMil {
    /// Width of the tokens.
    pub width: u32,
    /// Heads of the attention.
    pub heads: u32,
    /// Landmarks of a bag.
    pub landmarks: u32,
    /// Rounds of the pseudo-inverse.
    pub iterations: u32,
    /// Taps of the convolution of the values that is added to the attention.
    pub residual: u32,
    /// Dropout behind each attention.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// Tokens get the attention of what lies as many places before them as there are zeros in front, and the first ones
    /// that of the zeros, as in nystrom-attention 0.0.9: for models trained with it.
    pub legacy_shift: bool,
}

impl Default for TransMil {
    fn default() -> Self {
        Self { width: 512, heads: 8, landmarks: 256, iterations: 6, residual: 33, dropout: 0.1, legacy_shift: false }
    }
}

/// Settings, for people.
pub(super) const HELP: &[(&str, &str)] = &[
    ("width", "width of the tokens, a multiple of the heads"),
    ("heads", "heads of the attention"),
    ("landmarks", "landmarks of a bag, through which tokens attend to each other"),
    ("iterations", "rounds of the iterative pseudo-inverse"),
    ("residual", "taps of the convolution of the values along the tokens, an odd number"),
    ("dropout", "dropout behind each attention"),
    ("legacy_shift", "shift attention by the zeros in front, as nystrom-attention 0.0.9 did: for models made with it"),
];

/// Side of the widest of the three kernels over the square.
const SIDE: u32 = 7;

impl MilMethod for TransMil {
    const NAME: &'static str = "transmil";

    fn about() -> About {
        let paper = "Shao, Bian, Chen, Wang, Zhang, Ji, Zhang: TransMIL: Transformer based Correlated Multiple Instance \
                     Learning for Whole Slide Image Classification, 2021 (arXiv 2106.00908)";
        About { title: "TransMIL", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// The authors stop early, after 10 epochs without a smaller loss of the validation bags.
    fn recipe(&self) -> Recipe {
        let optimiser = Optimiser::radam(1e-5).with_lookahead(6, 0.5);
        Recipe { optimiser, learning_rate: 2e-4, time_decay: 0.0, epochs: 200, bags: 1 }
    }

    /// # Errors
    /// [`Error::Setting`] for a width that is no multiple of the heads, nothing where there must be something, an even
    /// number of taps, or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        let parts = network(net, self, 0.0, net.is_asked_for_ranking())?;
        if let Some(value) = parts.first {
            net.instances_rank_by(Ranking { value, vote: true });
        }
        net.finish((parts.logits, parts.link), (parts.scores, Columns::Heads), parts.loss)?;
        Ok(())
    }
}

/// What the network gives.
pub(super) struct Parts {
    pub logits: ValueId,
    pub link: Link,
    pub scores: ValueId,
    /// The class token that is classified, `[B, width]`.
    pub features: ValueId,
    /// What the class token attends to in the first attention `[Tokens, heads]`, when asked for.
    pub first: Option<ValueId>,
    pub loss: ValueId,
}

/// The network with this dropout of the instances' rows.
pub(super) fn network(net: &mut Network, s: &TransMil, row_dropout: f32, first_scores: bool) -> Result<Parts> {
    for (name, value) in
        [("width", s.width), ("heads", s.heads), ("landmarks", s.landmarks), ("iterations", s.iterations)]
    {
        if value == 0 {
            return Err(Error::setting(name, "must be above 0"));
        }
    }
    if !s.width.is_multiple_of(s.heads) {
        let message = format!("must be a multiple of the {} heads, found {}", s.heads, s.width);
        return Err(Error::setting("width", message));
    }
    if s.residual.is_multiple_of(2) {
        return Err(Error::setting("residual", format!("must be odd, found {}", s.residual)));
    }
    let [tiles, _, offsets] = net.tables();
    let tokens = TokenTables::on(&mut net.tape);
    let h = net.linear("fc", net.features, s.width, Activation::Relu)?;
    let h = net.dropout(h, row_dropout)?;
    let class = parameter(net, "class_token.weight", 1, s.width, Init::Normal(1.0), true);
    let t = net.tape.push1(Square, &[h, class, tiles, offsets, tokens[0], tokens[1]])?;

    let first = Layer::new(net, "layer1", s, tokens);
    let x = norm(net, "layer1.norm", t)?;
    let q = first.project(net, x, first.query)?;
    let landmarks = first.means(net, q)?;
    let seen = first.look(net, landmarks, x)?;
    let op = CrossAttention { heads: s.heads, scale: first.scale, between: Between::TokensAndLandmarks };
    let q = first.late(net, q)?;
    let attended = net.tape.push(op, &[q, seen.keys, seen.mixed, tokens[0], tokens[1]])?[0];
    let residual = first.residual(net, seen.values, false)?;
    let y = first.out(net, attended, residual, s.dropout)?;
    let t = net.add(t, y, 1.0, 1.0)?;
    let first_scores = match first_scores {
        true => {
            let q = class_tokens(&mut net.tape, q)?;
            let weights = first.class_row(net, q, &seen)?;
            Some(first.received(net, weights, landmarks, &seen)?)
        }
        false => None,
    };

    let t = positions(net, t, tokens)?;

    let second = Layer::new(net, "layer2", s, tokens);
    let x = norm(net, "layer2.norm", t)?;
    // Means of projections are projections of means, and nothing else needs queries of all tokens.
    let means = second.means(net, x)?;
    let landmarks = second.project(net, means, second.query)?;
    let seen = second.look(net, landmarks, x)?;
    let x = second.late_class(net, x)?;
    let q = second.project(net, x, second.query)?;
    let weights = second.class_row(net, q, &seen)?;
    let sum = second.product(1.0, (Heads::Stacked, false), (Heads::Columns, false), Heads::Columns);
    let attended = net.tape.push1(sum, &[weights, seen.mixed])?;
    let residual = second.residual(net, seen.values, true)?;
    let y = second.out(net, attended, residual, s.dropout)?;
    let t = class_tokens(&mut net.tape, t)?;
    let t = net.add(t, y, 1.0, 1.0)?;

    let z = norm(net, "norm", t)?;
    let outputs = net.outputs();
    let described = net.bag_features(z, 1, "")?;
    let logits = net.linear("head", described, outputs, Activation::None)?;
    let tokens_get = second.received(net, weights, landmarks, &seen)?;
    let op = TokenScores;
    let scores = net.tape.push1(op, &[tokens_get, tiles, offsets, tokens[0], tokens[1]])?;
    let link = net.one_of_all();
    let loss = net.bag_loss(logits, link, 0.0)?;
    Ok(Parts { logits, link, scores, features: z, first: first_scores, loss })
}

fn parameter(net: &mut Network, name: &str, rows: u32, cols: u32, init: Init, decays: bool) -> ValueId {
    net.tape.param(Param { name: name.to_string(), rows, cols, init, decays, parts: Vec::new() })
}

/// A layer norm with the parameters `name.gain` and `name.bias`.
pub(super) fn norm(net: &mut Network, name: &str, x: ValueId) -> Result<ValueId> {
    let cols = net.tape.cols(x);
    let gain = parameter(net, &format!("{name}.gain"), 1, cols, Init::Constant(1.0), false);
    let bias = parameter(net, &format!("{name}.bias"), 1, cols, Init::Constant(0.0), false);
    net.tape.push1(LayerNorm { eps: 1e-5 }, &[x, gain, bias])
}

/// Adds three depthwise convolutions of the square (the paper's PPEG), merged into one kernel.
fn positions(net: &mut Network, t: ValueId, tokens: [ValueId; 2]) -> Result<ValueId> {
    let cols = net.tape.cols(t);
    let mut parts = Vec::new();
    for side in [SIDE, SIDE - 2, SIDE - 4] {
        let init = Init::Uniform(1.0 / side as f32);
        let weight = parameter(net, &format!("position{side}.weight"), cols, side * side, init, true);
        let bias = parameter(net, &format!("position{side}.bias"), 1, cols, init, false);
        parts.push((weight, bias));
    }
    let [a, b, c] = parts[..] else { unreachable!("three kernels") };
    let kernel = net.tape.push1(MergeKernels { side: SIDE }, &[a.0, b.0, c.0])?;
    let bias = net.add(a.1, b.1, 1.0, 1.0)?;
    let bias = net.add(bias, c.1, 1.0, 1.0)?;
    net.tape.push1(GridConv { side: SIDE }, &[t, kernel, bias, tokens[0], tokens[1]])
}

/// Parameters of one attention: softmax(q k_l) pinv(softmax(q_l k_l)) softmax(q_l k) v and the convolution of v,
/// through a last layer. q_l and k_l are means over runs of tokens.
struct Layer {
    name: &'static str,
    heads: u32,
    landmarks: u32,
    iterations: u32,
    scale: f32,
    /// Landmarks that results are late by (see [`TransMil::legacy_shift`]); 0 for on time.
    late: u32,
    query: ValueId,
    key: ValueId,
    value: ValueId,
    taps: ValueId,
    tokens: [ValueId; 2],
}

/// What the landmarks saw.
struct Seen {
    /// Keys and values of the tokens.
    token_keys: ValueId,
    values: ValueId,
    /// Keys of the landmarks.
    keys: ValueId,
    /// The pseudo-inverse.
    inverse: ValueId,
    /// Log-sum-exp of what landmarks see of tokens.
    lse: ValueId,
    /// What tokens see of landmarks: pinv(..) softmax(q_l k) v.
    mixed: ValueId,
}

impl Layer {
    fn new(net: &mut Network, name: &'static str, s: &TransMil, tokens: [ValueId; 2]) -> Self {
        let bound = 1.0 / (s.width as f32).sqrt();
        let [query, key, value] = ["query", "key", "value"]
            .map(|part| parameter(net, &format!("{name}.{part}.weight"), s.width, s.width, Init::Uniform(bound), true));
        let init = Init::Uniform(1.0 / (s.residual as f32).sqrt());
        let taps = parameter(net, &format!("{name}.residual.weight"), s.heads, s.residual, init, true);
        let scale = 1.0 / ((s.width / s.heads) as f32).sqrt();
        let (heads, landmarks, iterations) = (s.heads, s.landmarks, s.iterations);
        let late = if s.legacy_shift { landmarks } else { 0 };
        Self { name, heads, landmarks, iterations, scale, late, query, key, value, taps, tokens }
    }

    fn project(&self, net: &mut Network, x: ValueId, weight: ValueId) -> Result<ValueId> {
        net.tape.push1(Linear { activation: Activation::None }, &[x, weight])
    }

    /// What asks in the place of each token: its query, or that of a token before it. The query of a row of zeros is
    /// zero, as no layer of queries has a bias.
    fn late(&self, net: &mut Network, q: ValueId) -> Result<ValueId> {
        let op = ShiftTokens { first: false, landmarks: self.late };
        if self.late == 0 { Ok(q) } else { net.tape.push1(op, &[q, self.tokens[0], self.tokens[1]]) }
    }

    /// The same for the class tokens alone.
    fn late_class(&self, net: &mut Network, x: ValueId) -> Result<ValueId> {
        let op = ShiftTokens { first: true, landmarks: self.late };
        match self.late {
            0 => class_tokens(&mut net.tape, x),
            _ => net.tape.push1(op, &[x, self.tokens[0], self.tokens[1]]),
        }
    }

    fn means(&self, net: &mut Network, x: ValueId) -> Result<ValueId> {
        let op = LandmarkMeans { landmarks: self.landmarks };
        net.tape.push1(op, &[x, self.tokens[0], self.tokens[1]])
    }

    fn product(&self, scale: f32, a: (Heads, bool), b: (Heads, bool), c: Heads) -> HeadProduct {
        HeadProduct { heads: self.heads, scale, a, b, c }
    }

    /// All of the attention that does not depend on who asks; `q` are the queries of the landmarks.
    fn look(&self, net: &mut Network, q: ValueId, x: ValueId) -> Result<Seen> {
        let token_keys = self.project(net, x, self.key)?;
        let values = self.project(net, x, self.value)?;
        let keys = self.means(net, token_keys)?;
        let energies = self.product(self.scale, (Heads::Columns, false), (Heads::Columns, true), Heads::Stacked);
        let energies = net.tape.push1(energies, &[q, keys])?;
        let weights = net.tape.push1(RowSoftmax, &[energies])?;
        let op = PseudoInverse { heads: self.heads, iterations: self.iterations };
        let inverse = net.tape.push1(op, &[weights, self.tokens[0], self.tokens[1]])?;
        let op = CrossAttention { heads: self.heads, scale: self.scale, between: Between::LandmarksAndTokens };
        let seen = net.tape.push(op, &[q, token_keys, values, self.tokens[0], self.tokens[1]])?;
        let mix = self.product(1.0, (Heads::Stacked, false), (Heads::Columns, false), Heads::Columns);
        let mixed = net.tape.push1(mix, &[inverse, seen[0]])?;
        Ok(Seen { token_keys, values, keys, inverse, lse: seen[1], mixed })
    }

    /// softmax(q k_l) of the class tokens' queries.
    fn class_row(&self, net: &mut Network, q: ValueId, seen: &Seen) -> Result<ValueId> {
        let energies = self.product(self.scale, (Heads::Columns, false), (Heads::Columns, true), Heads::Stacked);
        let energies = net.tape.push1(energies, &[q, seen.keys])?;
        net.tape.push1(RowSoftmax, &[energies])
    }

    /// The row of the class token in softmax(q k_l) Z softmax(q_l k), `[Tokens, heads]`; `weights` is its row of the
    /// first factor.
    fn received(&self, net: &mut Network, weights: ValueId, landmarks: ValueId, seen: &Seen) -> Result<ValueId> {
        let row = self.product(1.0, (Heads::Stacked, true), (Heads::Stacked, true), Heads::Columns);
        let row = net.tape.push1(row, &[seen.inverse, weights])?;
        let op = Received { heads: self.heads, scale: self.scale };
        let [offsets, tiles] = self.tokens;
        net.tape.push1(op, &[row, landmarks, seen.token_keys, seen.lse, offsets, tiles])
    }

    /// The convolution of the values along the tokens, of the class tokens alone where `first`.
    fn residual(&self, net: &mut Network, values: ValueId, first: bool) -> Result<ValueId> {
        let op = SequenceConv { first, landmarks: self.late };
        net.tape.push1(op, &[values, self.taps, self.tokens[0], self.tokens[1]])
    }

    fn out(&self, net: &mut Network, attended: ValueId, residual: ValueId, dropout: f32) -> Result<ValueId> {
        let sum = net.add(attended, residual, 1.0, 1.0)?;
        let width = net.tape.cols(sum);
        let y = net.linear(&format!("{}.out", self.name), sum, width, Activation::None)?;
        net.dropout(y, dropout)
    }
}
