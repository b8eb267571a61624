//! Graphs over the instances of each bag, as GNN-MIL (Tu and others 2019) and DiffPool (Ying and others 2018) use
//! them: dense and per bag. What belongs to pairs is a column `[P, 1]` with P the sum over the bags of their
//! instances squared: row i, column j of a bag's matrix, row by row, bag after bag. Each such column takes 4 P bytes
//! (a bag of 10,000 instances: 400 MB), and so does its gradient; it has to fit in one binding.

use super::segment::{Tables, over_bags};
use super::{Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::graph as k;
use crate::kernels::launch::{Count, Dim, Grid, TILE};
use crate::kernels::weighting::ROW_DOT;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// What is computed of two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// a . b.
    Product,
    /// |a - b|^2.
    SquaredDistance,
    /// |a - b|; its gradient is 0 where two rows are equal.
    Distance,
    /// The sum of |a - b| over the columns; its gradient is 0 where two values are equal.
    Manhattan,
}

/// Rows of each bag, pair by pair. Inputs: a `[N, C]`, b `[N, C]` (which may be a), tables. Output: `[P, 1]`, a in the
/// rows and b in the columns of each bag's matrix. With coordinates `[N, 2]` it gives distances in the plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairMatrix {
    /// What is computed.
    pub pairing: Pairing,
}

/// The spans of all tiles; of as many graphs of `uniform` nodes as there are bags when it is not 0.
fn spans(p: &mut Planner, tiles: ValueId, offsets: ValueId, uniform: u32) -> ValueId {
    let rows = if uniform == 0 { Dim::Tiles } else { Dim::Bags };
    let spans = p.temp_index(rows, 4);
    let operands = [tiles.into(), offsets.into(), spans.into()];
    p.launch(&k::GRAPH_SPANS, &operands, &[rows.into(), uniform.into()], Grid::line(Count::per(rows, 1, LANES)));
    spans
}

/// A workgroup for each tile, and layers.
fn grid(tiles: Dim, layers: u32) -> Grid {
    Grid { z: Count::each(Dim::Fixed(layers)), ..Grid::line(Count::each(tiles)) }
}

/// Layers over the columns of a row.
fn runs(cols: u32) -> u32 {
    cols.div_ceil(16)
}

/// Layers that share the others of a tile.
const SHARES: u32 = 4;

impl PairMatrix {
    fn kind(&self) -> u32 {
        match self.pairing {
            Pairing::Product => 0,
            Pairing::SquaredDistance => 1,
            Pairing::Distance => 2,
            Pairing::Manhattan => 3,
        }
    }
}

fn pairs(p: &mut Planner, a: ValueId, b: ValueId, spans: ValueId, kind: u32, to: ValueId) {
    let words = [p.rows(spans).into(), p.cols(a).into(), kind.into(), 0u32.into()];
    p.launch(&k::GRAPH_PAIRS, &[a.into(), b.into(), spans.into(), to.into()], &words, grid(p.rows(spans), SHARES));
}

impl Rule for PairMatrix {
    fn name(&self) -> &'static str {
        "pairs of a bag"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_bags(inputs, 2) && inputs[1].shape == inputs[0].shape;
        expect(ok, self.name(), "two matrices of instance rows [N, C], and the tables", inputs)?;
        Ok(vec![(Shape::new(Dim::Pairs, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (a, b, t) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]), Tables::of(node));
        let spans = spans(p, t.tiles, t.offsets, 0);
        pairs(p, a, b, spans, self.kind(), node.outputs[0]);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (y, g) = (node.outputs[0], p.upstream(node.outputs[0]).expect("a gradient"));
        let (sides, t) = ([p.dense(node.inputs[0]), p.dense(node.inputs[1])], Tables::of(node));
        let spans = spans(p, t.tiles, t.offsets, 0);
        // All of them are symmetric, so the gradient of b is that of a with the pairs read the other way.
        for (side, flag) in [(0, 0), (1, k::TRANSPOSED)] {
            if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[side]) {
                let cols = p.cols(sides[0]);
                let flags = flag | (accumulate as u32 * k::ADD_PAIRS);
                let words = [Dim::Tiles.into(), cols.into(), self.kind().into(), flags.into()];
                let operands = [sides[side].into(), sides[1 - side].into(), g.into(), y.into(), spans.into(), to];
                p.launch(&k::GRAPH_PAIRS_GRAD, &operands, &words, grid(Dim::Tiles, runs(cols)));
            }
        }
    }
}

/// Sum or mean of the rows of a node's neighbours: A V for each graph.
///
/// Inputs: weights `[P, 1]`, nodes V `[N, C]`, tables. With `uniform` K there is a graph of K nodes for each bag instead
/// (the clusters of a pooled graph): weights `[B, K K]`, nodes `[B, K C]`. Outputs: as V, and the factor of each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GraphProduct {
    /// Every node is its own neighbour with weight 1, whatever the weights say of it.
    pub with_self: bool,
    /// Over the sum of the weights, where that is above 1: with `with_self` the aggregation of GraphSAGE as the
    /// dense layer of PyTorch Geometric 1.2 has it.
    pub mean: bool,
    /// Nodes of each graph; 0 when they are the instances of the bags.
    pub uniform: u32,
}

impl GraphProduct {
    fn flags(&self, add: bool) -> u32 {
        (self.with_self as u32 * k::SELF) | (self.mean as u32 * k::MEAN) | (add as u32 * k::ADD)
    }

    fn cols(&self, p: &Planner, nodes: ValueId) -> u32 {
        p.cols(nodes) / self.uniform.max(1)
    }
}

impl Rule for GraphProduct {
    fn name(&self) -> &'static str {
        "graph product"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let nodes = self.uniform;
        let ok = inputs.len() == 5
            && match nodes {
                0 => inputs[0].shape == Shape::new(Dim::Pairs, 1) && inputs[1].shape.rows == Dim::Instances,
                _ => {
                    nodes <= TILE
                        && inputs[0].shape == Shape::new(Dim::Bags, nodes * nodes)
                        && inputs[1].shape.rows == Dim::Bags
                        && inputs[1].shape.cols > 0
                        && inputs[1].shape.cols.is_multiple_of(nodes)
                }
            };
        let expected = match nodes {
            0 => "weights of the pairs [P, 1], nodes [N, C], and the tables".to_string(),
            _ => format!(
                "weights [B, {}], nodes [B, {nodes} C] with at most {TILE} nodes, and the tables",
                nodes * nodes
            ),
        };
        expect(ok, self.name(), &expected, inputs)?;
        let factors = if nodes == 0 { Shape::new(Dim::Instances, 1) } else { Shape::new(Dim::Bags, nodes) };
        Ok(vec![(inputs[1].shape, Storage::F32), (factors, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (a, v, t) = (node.inputs[0], p.dense(node.inputs[1]), Tables::of(node));
        let spans = spans(p, t.tiles, t.offsets, self.uniform);
        let (rows, cols) = (p.rows(spans), self.cols(p, v));
        let operands = [a.into(), v.into(), spans.into(), node.outputs[0].into(), node.outputs[1].into()];
        let words = [rows.into(), cols.into(), self.flags(false).into()];
        p.launch(&k::GRAPH_PRODUCT, &operands, &words, grid(rows, runs(cols)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let (a, v, t) = (node.inputs[0], p.dense(node.inputs[1]), Tables::of(node));
        let (y, shares) = (node.outputs[0], node.outputs[1]);
        let spans = spans(p, t.tiles, t.offsets, self.uniform);
        let (rows, cols) = (p.rows(spans), self.cols(p, v));
        if let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[1]) {
            let operands = [a.into(), g.into(), shares.into(), spans.into(), to];
            let words = [rows.into(), cols.into(), self.flags(accumulate).into()];
            p.launch(&k::GRAPH_PRODUCT_GRAD, &operands, &words, grid(rows, runs(cols)));
        }
        if let Some(GradTarget { to, accumulate }) = p.grad(a) {
            let shape = p.value(a).shape;
            let (products, inner) = (p.temp(shape.rows, shape.cols), p.temp(p.rows(shares), p.cols(shares)));
            // g_i . v_j for all pairs, and g_i . y_i.
            let words = [rows.into(), cols.into(), 0u32.into(), 0u32.into()];
            let operands = [g.into(), v.into(), spans.into(), products.into()];
            p.launch(&k::GRAPH_PAIRS, &operands, &words, grid(rows, SHARES));
            let count = Shape::new(p.rows(shares), p.cols(shares));
            let nodes = crate::kernels::launch::Word::Times(count.rows, count.cols);
            let lines = Grid::line(Count::per(count.rows, count.cols, LANES));
            p.launch(&ROW_DOT, &[g.into(), y.into(), inner.into()], &[nodes, cols.into(), 0u32.into()], lines);
            let operands = [products.into(), inner.into(), shares.into(), spans.into(), to];
            let words = [rows.into(), cols.into(), self.flags(accumulate).into()];
            p.launch(&k::GRAPH_WEIGHTS_GRAD, &operands, &words, grid(rows, 1));
        }
    }
}

/// What soft assignments of the instances to clusters leave of the weights of each bag's graph: the Frobenius norm of
/// A - S S^T, the link loss of DiffPool. Inputs: weights `[P, 1]`, assignments S `[N, K]`, tables. Output `[B, 1]`. Its
/// gradient is 0 where nothing is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkLoss {
    /// Over the pairs of the bag.
    pub mean: bool,
}

impl Rule for LinkLoss {
    fn name(&self) -> &'static str {
        "link loss"
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok =
            inputs.len() == 5 && inputs[0].shape == Shape::new(Dim::Pairs, 1) && inputs[1].shape.rows == Dim::Instances;
        expect(ok, self.name(), "weights of the pairs [P, 1], assignments [N, K], and the tables", inputs)?;
        Ok(vec![(Shape::new(Dim::Bags, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (a, s, t) = (node.inputs[0], p.dense(node.inputs[1]), Tables::of(node));
        let spans = spans(p, t.tiles, t.offsets, 0);
        let parts = p.temp(Dim::Tiles, 1);
        let words = |rows: Dim, p: &Planner| [rows.into(), p.cols(s).into(), self.mean.into(), 0u32.into()];
        let operands = [a.into(), s.into(), spans.into(), parts.into()];
        p.launch(&k::LINK_PART, &operands, &words(Dim::Tiles, p), grid(Dim::Tiles, 1));
        let operands = [parts.into(), t.bag_tiles.into(), t.offsets.into(), node.outputs[0].into()];
        p.launch(&k::LINK_END, &operands, &words(Dim::Bags, p), Grid::line(Count::per(Dim::Bags, 1, LANES)));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (a, s, t) = (node.inputs[0], p.dense(node.inputs[1]), Tables::of(node));
        let spans = spans(p, t.tiles, t.offsets, 0);
        let cols = p.cols(s);
        let targets = [(node.inputs[1], &k::LINK_GRAD, runs(cols)), (a, &k::LINK_WEIGHTS_GRAD, 1)];
        for (input, kernel, layers) in targets {
            if let Some(GradTarget { to, accumulate }) = p.grad(input) {
                let words = [Dim::Tiles.into(), cols.into(), self.mean.into(), accumulate.into()];
                let loss = node.outputs[0];
                let operands = [a.into(), s.into(), loss.into(), g.into(), spans.into(), t.tiles.into(), to];
                p.launch(kernel, &operands, &words, grid(Dim::Tiles, layers));
            }
        }
    }
}
