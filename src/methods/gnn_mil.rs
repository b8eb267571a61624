//! GNN-MIL (Tu, Huang, He, Zhou 2019): a bag is a graph of its instances, which is pooled to a small graph and classified.
//!
//! Instances nearer than eta are neighbours. A layer is SAGE(v)_n = norm(leaky ReLU(W mean of v over n and its neighbours +
//! b)). Z = SAGE(v) embeds the nodes, S = softmax over the clusters of a layer over another SAGE assigns them, and the
//! clusters are a graph with nodes S^T Z and weights S^T A S: one more SAGE, a maximum over the clusters, two layers.
//! The matrix A of a bag is nowhere in memory: neighbours are found block by block, in a complete graph they are the bag.

use super::checks::check_least;
use super::layers::{Meaning, Network, Pool, Start, Weight};
use super::{About, Level, MilMethod, Recipe};
use crate::error::{Error, Result};
use crate::kernels::launch::{Dim, TILE};
use crate::ops::Op;
use crate::ops::dropout::Dropout;
use crate::ops::graph::GraphProduct;
use crate::ops::pointwise::{Activation, Affine, Below, Multiply, StopGradient};
use crate::ops::reduce::{RowSoftmax, RowSum};
use crate::ops::rows::{Concat, SliceColumns};
use crate::ops::segment::BagBroadcast;
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::ops::update::Optimiser;
use crate::ops::weighting::{RowScale, WeightedSum};
use crate::tape::{Columns, ValueId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How near neighbours are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Eta {
    /// All instances of a bag are neighbours.
    Infinite,
    /// Those whose features are nearer than this; with 0 there are none.
    Within(f32),
}

impl TryFrom<Value> for Eta {
    type Error = String;

    fn try_from(value: Value) -> std::result::Result<Self, String> {
        match &value {
            Value::String(word) if word == "infinite" => Ok(Eta::Infinite),
            _ => match value.as_f64().map(|eta| eta as f32) {
                Some(eta) if eta >= 0.0 && eta.is_finite() => Ok(Eta::Within(eta)),
                _ => Err(format!("eta is a distance, at least 0, or \"infinite\", found {value}")),
            },
        }
    }
}

impl From<Eta> for Value {
    fn from(eta: Eta) -> Self {
        match eta {
            Eta::Infinite => "infinite".into(),
            // With the digits that a person gave it.
            Eta::Within(eta) => eta.to_string().parse::<f64>().unwrap_or(f64::from(eta)).into(),
        }
    }
}

/// How the nodes of a bag become a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coarsen {
    /// Soft assignments to clusters, which are a graph again.
    #[default]
    DiffPool,
    /// The mean of the nodes weighted by attention.
    Attention,
}

/// What the assignments are computed from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// The inputs, as the nodes' embeddings are.
    #[default]
    Inputs,
    /// The nodes' embeddings.
    Embedding,
}

/// What the assignments sum to 1 over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// The clusters, for each node.
    #[default]
    Clusters,
    /// The nodes of a bag, for each cluster.
    Nodes,
}

/// How the nodes of the small graph become one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Joined {
    /// The larger of each column.
    #[default]
    Max,
    /// Side by side.
    Concat,
}

/// GNN-MIL; the defaults are those of the paper's Messidor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GnnMil {
    /// Widths of the fully connected layers in front; none takes the features themselves.
    pub embed: Vec<u32>,
    /// Dropout after each of them.
    #[serde(serialize_with = "super::layers::shortest")]
    pub dropout: f32,
    /// How near neighbours are, by the features.
    pub eta: Eta,
    /// Columns of a node's embedding; 0 for as many as go in.
    pub hidden: u32,
    /// How the nodes of a bag become a few.
    pub coarsen: Coarsen,
    /// Clusters K.
    pub clusters: u32,
    /// What the assignments are computed from.
    pub reading: Reading,
    /// What the assignments sum to 1 over.
    pub over: Over,
    /// How the nodes of the small graph become one row.
    pub pool: Joined,
    /// Hidden width of the attention, where that pools.
    pub attention: u32,
    /// Weights of the losses of the nodes' and of the clusters' own classifiers; without weight there is none.
    #[serde(serialize_with = "both")]
    pub supervision: [f32; 2],
    /// Weight of what the assignments leave of the graph.
    #[serde(serialize_with = "super::layers::shortest")]
    pub link: f32,
    /// Weight of the entropy of the assignments.
    #[serde(serialize_with = "super::layers::shortest")]
    pub entropy: f32,
    /// Batch norm behind each layer of a graph.
    pub batch_norm: bool,
    /// How weights start.
    pub init: Start,
}

/// Two numbers with the digits that a person gave them.
fn both<S: serde::Serializer>(values: &[f32; 2], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    let digits = |v: f32| v.to_string().parse::<f64>().unwrap_or(f64::from(v));
    values.map(digits).serialize(serializer)
}

impl Default for GnnMil {
    fn default() -> Self {
        Self {
            embed: Vec::new(),
            dropout: 0.0,
            eta: Eta::Infinite,
            hidden: 0,
            coarsen: Coarsen::DiffPool,
            clusters: 1,
            reading: Reading::Inputs,
            over: Over::Clusters,
            pool: Joined::Max,
            attention: 128,
            supervision: [1.0, 1.0],
            link: 0.5,
            entropy: 0.0,
            batch_norm: true,
            init: Start::Torch,
        }
    }
}

/// Settings, for people.
const HELP: &[(&str, &str)] = &[
    ("embed", "widths of the fully connected ReLU layers in front; [] for none"),
    ("dropout", "dropout after each of these layers"),
    ("eta", "instances whose features are nearer are neighbours: infinite (all of a bag), or a distance; 0 for none"),
    ("hidden", "width of a node's embedding; 0 for that of what goes in"),
    ("coarsen", "how nodes are pooled: diff-pool (clusters, a graph again) or attention"),
    ("clusters", "clusters of a bag, 1 to 64"),
    ("reading", "what assigns nodes to clusters reads: inputs or embedding"),
    ("over", "assignments sum to 1 over the clusters, or over the nodes of a bag"),
    ("pool", "the clusters become one row: max or concat"),
    ("attention", "hidden width of the attention, with coarsen = attention"),
    ("supervision", "weights of the losses of classifiers of the nodes and of the clusters; 0 for none"),
    ("link", "weight of what the assignments leave of the graph"),
    ("entropy", "weight of the entropy of the assignments"),
    ("batch_norm", "batch norm behind each layer of a graph, over all nodes of a batch"),
    ("init", "start of the weights: torch or glorot"),
];

/// Slope below zero of every layer.
const LEAKY: Activation = Activation::LeakyRelu(0.01);

impl MilMethod for GnnMil {
    const NAME: &'static str = "gnn-mil";

    fn about() -> About {
        let paper =
            "Tu, Huang, He, Zhou: Multiple instance learning with graph neural networks, 2019 (arXiv 1906.04881)";
        About { title: "GNN-MIL", paper, level: Level::Bag }
    }

    fn help() -> Vec<(&'static str, &'static str)> {
        HELP.to_vec()
    }

    /// That of the paper's Messidor, which does not name its optimiser and lowers the rate along a cosine.
    fn recipe(&self) -> Recipe {
        Recipe { optimiser: Optimiser::adam(1e-3), learning_rate: 3e-4, time_decay: 0.0, epochs: 50, bags: 128 }
    }

    /// More than two classes: softmax over a logit each.
    ///
    /// # Errors
    /// [`Error::Setting`] for no cluster or too many, a hidden width of 0, weights below 0, or a dropout rate out of range.
    fn record(&self, net: &mut Network) -> Result<()> {
        self.check()?;
        net.start = self.init;
        let v = net.embed_with_dropout(net.features, &self.embed, self.dropout)?;
        let hidden = if self.hidden == 0 { net.tape.cols(v) } else { self.hidden };
        let x = net.tape.push1(StopGradient, &[net.features])?;
        let graph = Graph { eta: self.eta, x };
        let means = graph.means(net, v)?;
        let z = self.layer(net, "embedding", means, hidden)?;
        let link = net.one_of_all();
        // The main classifier's loss comes first, its terms by name behind it.
        let mut terms = Vec::new();
        if self.supervision[0] > 0.0 {
            let pooled = net.pool(z, Pool::Max)?;
            let logits = classify(net, "nodes", pooled)?;
            terms.push(("nodes", net.bag_loss(logits, link, 0.0)?, self.supervision[0]));
        }
        if self.coarsen == Coarsen::Attention {
            let [pooled, scores] = net.attention_pool(z, false, self.attention, 1)?;
            let logits = classify(net, "head", pooled)?;
            let loss = net.bag_loss(logits, link, 0.0)?;
            let weights = net.softmax_over_bags(scores)?;
            net.finish((logits, link), (scores, Columns::Heads), loss)?;
            net.attention(weights, Columns::Heads);
        } else {
            let from = if self.reading == Reading::Inputs { means } else { graph.means(net, z)? };
            let from = self.layer(net, "cluster", from, hidden)?;
            let s = net.linear("assign", from, self.clusters, LEAKY)?;
            let s = match self.over {
                Over::Clusters => net.tape.push1(RowSoftmax, &[s])?,
                Over::Nodes => net.softmax_over_bags(s)?,
            };
            let reached = graph.reached(net, s)?;
            let nodes = weighted(net, s, z, false)?;
            if self.supervision[1] > 0.0 {
                let pooled = largest(net, nodes, self.clusters)?;
                let logits = classify(net, "clusters", pooled)?;
                terms.push(("clusters", net.bag_loss(logits, link, 0.0)?, self.supervision[1]));
            }
            let coarse = self.coarse(net, s, nodes, reached.as_ref())?;
            let joined = if self.pool == Joined::Max { largest(net, coarse, self.clusters)? } else { coarse };
            let logits = classify(net, "head", joined)?;
            let loss = net.bag_loss(logits, link, 0.0)?;
            if self.link > 0.0 && !(self.alone() && self.eta == Eta::Infinite) {
                let left = link_loss(net, s, reached.as_ref())?;
                terms.push(("link", net.weighted_over_bags(left)?, self.link));
            }
            if self.entropy > 0.0 && !self.alone() {
                let entropy = entropy(net, s)?;
                terms.push(("entropy", net.weighted_over_bags(entropy)?, self.entropy));
            }
            // One by one: as many clusters as classes would be called by these.
            let mut of_clusters = Vec::new();
            for first in 0..self.clusters {
                of_clusters.push(net.tape.push1(SliceColumns { first, count: 1 }, &[s])?);
            }
            net.finish((logits, link), (of_clusters[0], Columns::Heads), loss)?;
            net.scores_are(Meaning::Weight);
            for (n, weights) in of_clusters.into_iter().enumerate().filter(|_| self.clusters > 1) {
                net.tell_of_instances(&format!("cluster-{}", n + 1), weights, Meaning::Weight)?;
            }
        }
        for (name, value, weight) in terms {
            net.objective(name, value, Weight::Fixed(weight))?;
        }
        Ok(())
    }
}

impl GnnMil {
    fn check(&self) -> Result<()> {
        if !(1..=TILE).contains(&self.clusters) {
            return Err(Error::setting("clusters", format!("must be 1 to {TILE}, found {}", self.clusters)));
        }
        if self.attention == 0 {
            return Err(Error::setting("attention", "the hidden width must be above 0"));
        }
        for weight in self.supervision {
            check_least("supervision", weight, 0.0)?;
        }
        check_least("link", self.link, 0.0)?;
        check_least("entropy", self.entropy, 0.0)
    }

    /// One cluster that every node is in: assignments are 1 and nothing else.
    fn alone(&self) -> bool {
        self.clusters == 1 && self.over == Over::Clusters
    }

    /// A layer over means of neighbours, of each instance or of the whole bag.
    fn layer(&self, net: &mut Network, name: &str, means: ValueId, width: u32) -> Result<ValueId> {
        let mut h = net.linear(name, means, width, LEAKY)?;
        if net.tape.shape(h).rows == Dim::Bags {
            let [tiles, bag_tiles, offsets] = net.tables();
            h = net.tape.push1(BagBroadcast, &[h, tiles, bag_tiles, offsets])?;
        }
        match self.batch_norm {
            true => net.batch_norm(&format!("{name}.norm"), "gain", h, width),
            false => Ok(h),
        }
    }

    /// The layer over the graph of the clusters: `[B, K C]`.
    fn coarse(&self, net: &mut Network, s: ValueId, nodes: ValueId, reached: Option<&Reached>) -> Result<ValueId> {
        let (clusters, width) = (self.clusters, net.tape.cols(nodes) / self.clusters);
        // Clusters are their own neighbours with weight 1, whatever the weights say: one of them has no others.
        let means = match reached {
            Some(reached) if clusters > 1 => {
                let weights = reached.between(net, s)?;
                let [tiles, bag_tiles, offsets] = net.tables();
                let op = GraphProduct { with_self: true, mean: true, uniform: clusters };
                net.tape.push1(op, &[weights, nodes, tiles, bag_tiles, offsets])?
            }
            _ => nodes,
        };
        let mut first = None;
        let h = for_columns(net, clusters, |net, cluster| {
            let of = net.tape.push1(SliceColumns { first: cluster * width, count: width }, &[means])?;
            match first {
                Some(layer) => net.linear_shared(of, layer),
                None => Ok(*first.insert(net.linear("coarse", of, width, LEAKY)?)),
            }
        })?;
        match self.batch_norm {
            true => net.batch_norm_of_nodes("coarse.norm", "gain", h, width),
            false => Ok(h),
        }
    }
}

/// The graph of each bag.
struct Graph {
    eta: Eta,
    /// The features, as constants.
    x: ValueId,
}

/// What assignments reach along the graph.
enum Reached {
    /// In a complete graph every node reaches all of them: their sum and mean, `[B, K]`.
    All { sum: ValueId, mean: ValueId },
    /// A S `[N, K]`, and the number of neighbours of each node, `[N, 1]`.
    Near { sums: ValueId, neighbours: ValueId },
}

impl Graph {
    fn near(&self, net: &mut Network, limit: f32, v: ValueId) -> Result<Vec<ValueId>> {
        let op = SelfAttention { heads: 1, energy: Energy::Near { limit }, dropout: Dropout::default() };
        net.tape.push(op, &[&[self.x, self.x, v][..], &net.tables()].concat())
    }

    /// Means of v over each node and its neighbours; in a complete graph they are the same for a whole bag, `[B, C]`.
    fn means(&self, net: &mut Network, v: ValueId) -> Result<ValueId> {
        match self.eta {
            Eta::Infinite => net.pool(v, Pool::Mean),
            Eta::Within(0.0) => Ok(v),
            Eta::Within(limit) => Ok(self.near(net, limit, v)?[0]),
        }
    }

    /// What assignments reach; nothing without edges.
    fn reached(&self, net: &mut Network, s: ValueId) -> Result<Option<Reached>> {
        Ok(match self.eta {
            Eta::Within(0.0) => None,
            Eta::Infinite => Some(Reached::All { sum: net.pool(s, Pool::Sum)?, mean: net.pool(s, Pool::Mean)? }),
            Eta::Within(limit) => {
                let outputs = self.near(net, limit, s)?;
                let log = net.tape.push1(StopGradient, &[outputs[1]])?;
                let neighbours = net.activate(log, Activation::Exp)?;
                let sums = net.tape.push1(RowScale, &[outputs[0], neighbours])?;
                Some(Reached::Near { sums, neighbours })
            }
        })
    }
}

impl Reached {
    /// S^T A S, the weights between clusters: `[B, K K]`.
    fn between(&self, net: &mut Network, s: ValueId) -> Result<ValueId> {
        match *self {
            Reached::Near { sums, .. } => weighted(net, s, sums, false),
            Reached::All { sum, .. } => for_columns(net, net.tape.cols(sum), |net, first| {
                let one = net.tape.push1(SliceColumns { first, count: 1 }, &[sum])?;
                net.tape.push1(RowScale, &[sum, one])
            }),
        }
    }
}

/// What is made for each of some columns, side by side.
fn for_columns(
    net: &mut Network,
    columns: u32,
    mut make: impl FnMut(&mut Network, u32) -> Result<ValueId>,
) -> Result<ValueId> {
    let mut all = make(net, 0)?;
    for column in 1..columns {
        let next = make(net, column)?;
        all = net.tape.push1(Concat, &[all, next])?;
    }
    Ok(all)
}

/// S^T x for each bag, or over its instances: `[B, K C]`.
fn weighted(net: &mut Network, s: ValueId, x: ValueId, mean: bool) -> Result<ValueId> {
    let [tiles, bag_tiles, offsets] = net.tables();
    for_columns(net, net.tape.cols(s), |net, first| {
        let one = net.tape.push1(SliceColumns { first, count: 1 }, &[s])?;
        net.tape.push1(WeightedSum { mean }, &[x, one, tiles, bag_tiles, offsets])
    })
}

/// The larger of each column over the nodes of a row, `[B, K C]` to `[B, C]`; of equals the first.
fn largest(net: &mut Network, nodes: ValueId, count: u32) -> Result<ValueId> {
    let width = net.tape.cols(nodes) / count;
    let node = |net: &mut Network, n: u32| {
        let op = Op::from(SliceColumns { first: n * width, count: width });
        if count == 1 { Ok(nodes) } else { net.tape.push1(op, &[nodes]) }
    };
    let mut most = node(net, 0)?;
    for n in 1..count {
        let other = node(net, n)?;
        let more = net.add(other, most, 1.0, -1.0)?;
        let more = net.activate(more, Activation::Relu)?;
        most = net.add(most, more, 1.0, 1.0)?;
    }
    Ok(most)
}

/// Two layers, the first of half the width: the logits.
fn classify(net: &mut Network, name: &str, x: ValueId) -> Result<ValueId> {
    let (half, outputs) = ((net.tape.cols(x) / 2).max(1), net.outputs());
    let inner = net.linear(&format!("{name}.0"), x, half, LEAKY)?;
    net.linear(&format!("{name}.1"), inner, outputs, Activation::None)
}

/// |A - S S^T| over the pairs of each bag, `[B, 1]`, from sums of squares alone: those of A, of A with S S^T, and of S^T S.
fn link_loss(net: &mut Network, s: ValueId, reached: Option<&Reached>) -> Result<ValueId> {
    let squares = |net: &mut Network, x: ValueId| {
        let products = net.tape.push1(Multiply, &[x, x])?;
        net.tape.push1(RowSum, &[products])
    };
    // 1 / N, of a softmax over equal numbers.
    let any = net.tape.push1(SliceColumns { first: 0, count: 1 }, &[s])?;
    let zeros = net.tape.push1(Below { limit: f32::NEG_INFINITY }, &[any])?;
    let shares = net.softmax_over_bags(zeros)?;
    let share = net.pool(shares, Pool::Mean)?;
    let products = weighted(net, s, s, true)?;
    let own = squares(net, products)?;
    // All over N^2, so that nothing grows with a bag.
    let left = match reached {
        None => own,
        Some(Reached::All { mean, .. }) => {
            let crossed = squares(net, *mean)?;
            let rest = net.add(own, crossed, 1.0, -2.0)?;
            net.tape.push1(Affine { factor: 1.0, offset: 1.0 }, &[rest])?
        }
        Some(Reached::Near { sums, neighbours }) => {
            let crossed = net.tape.push1(Multiply, &[s, *sums])?;
            let crossed = net.tape.push1(RowSum, &[crossed])?;
            let each = net.add(*neighbours, crossed, 1.0, -2.0)?;
            let each = net.pool(each, Pool::Mean)?;
            let each = net.tape.push1(Multiply, &[each, share])?;
            net.add(own, each, 1.0, 1.0)?
        }
    };
    let root = net.activate(left, Activation::Sqrt)?;
    net.tape.push1(Multiply, &[root, share])
}

/// The mean over each bag of the entropy of its instances' assignments.
fn entropy(net: &mut Network, s: ValueId) -> Result<ValueId> {
    let log = net.tape.push1(Affine { factor: 1.0, offset: 1e-15 }, &[s])?;
    let log = net.activate(log, Activation::Ln)?;
    let each = net.tape.push1(Multiply, &[s, log])?;
    let each = net.tape.push1(RowSum, &[each])?;
    let each = net.tape.push1(Affine { factor: -1.0, offset: 0.0 }, &[each])?;
    net.pool(each, Pool::Mean)
}

#[cfg(test)]
#[path = "gnn_mil_tests.rs"]
mod tests;
