//! Attention between the tokens of a bag and its landmarks, in memory linear in both: the kernels of
//! self-attention over other pairs of rows.

use super::columns::Splitter;
use super::nystrom::rows_per_bag;
use super::self_attention::{Energy, Pairs};
use super::tokens::{TokenTables, over_tokens};
use super::{Rule, expect, pointwise};
use crate::error::Result;
use crate::kernels::launch::{Count, Dim, Grid, TILE, bits};
use crate::kernels::nystrom as own;
use crate::kernels::self_attention as k;
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Who asks whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// Tokens are queries, landmarks are keys.
    TokensAndLandmarks,
    /// Landmarks are queries, tokens are keys; zeros in front of the tokens, keys and values alike, make their
    /// number a multiple of the landmarks, and take part.
    LandmarksAndTokens,
}

/// softmax(scale q k^T) v of each bag and head. With m landmarks a bag:
///
/// Inputs: q `[Tokens, H d]` or `[B m, H d]`, k the other of the two, v `[rows of k, H e]`, tables of the tokens.
/// Outputs: `[rows of q, H e]`, and the log-sum-exp of the energies `[rows of q, H]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossAttention {
    /// Heads H, side by side in the columns.
    pub heads: u32,
    /// Factor of the energies.
    pub scale: f32,
    /// Who asks whom.
    pub between: Between,
}

/// The two sides of attention: rows, tiles of them, and rows for each bag (0 for tokens).
#[derive(Clone, Copy)]
struct Rows {
    rows: Dim,
    tiles: Dim,
    each: u32,
}

impl Rows {
    fn of(rows: Dim) -> Option<Self> {
        match rows {
            Dim::Tokens => Some(Self { rows, tiles: Dim::TokenTiles, each: 0 }),
            _ => rows_per_bag(rows).map(|each| Self { rows, tiles: Dim::BagRows(each.div_ceil(TILE)), each }),
        }
    }
}

/// What all launches of a node share.
struct Attending {
    q: ValueId,
    k: ValueId,
    queries: Rows,
    keys: Rows,
    heads: u32,
    dims: u32,
    scale: f32,
    tables: TokenTables,
}

impl Attending {
    fn of(p: &Planner, node: Io, [q, key]: [ValueId; 2], heads: u32, scale: f32) -> Self {
        let rows = |v: ValueId| Rows::of(p.rows(v)).expect("checked shapes");
        let (queries, keys) = (rows(q), rows(key));
        Self { q, k: key, queries, keys, heads, dims: p.cols(q) / heads, scale, tables: TokenTables::of(node) }
    }

    fn pairs(&self, of: Rows, values: u32) -> Pairs {
        let energy = Energy::Dot { scale: self.scale };
        Pairs { tiles: of.tiles, heads: self.heads, dims: self.dims, values, energy, dropout: None }
    }

    /// Rows of each tile, and the rows of the bag on the other side.
    fn spans(&self, p: &mut Planner, rows: Rows, other: Rows) -> ValueId {
        let spans = p.temp_index(rows.tiles, 4);
        let operands = [self.tables.offsets, self.tables.tiles, spans].map(Operand::Value);
        let words = [rows.tiles.into(), rows.each.into(), other.each.into()];
        p.launch(&own::SPANS, &operands, &words, Grid::line(Count::per(rows.tiles, 1, 64)));
        spans
    }

    /// out = softmax(energies) v, and their log-sum-exp; with the zeros in front of tokens.
    fn attend(&self, p: &mut Planner, v: ValueId, out: ValueId, lse: ValueId) {
        let (spans, width, unused) =
            (self.spans(p, self.queries, self.keys), p.cols(v) / self.heads, p.temp(Dim::Fixed(1), 1));
        let operands = [self.q, self.k, v, out, self.q, spans, lse, unused].map(Operand::Value);
        self.pairs(self.queries, width).launch(p, &k::FORWARD, &operands, 0, width);
        if self.keys.each == 0 {
            let operands = [self.tables.offsets, lse, out].map(Operand::Value);
            let words = [self.queries.rows.into(), self.heads.into(), width.into(), self.queries.each.into()];
            p.launch(&own::ZEROS, &operands, &words, Grid::line(Count::per(self.queries.rows, self.heads, 64)));
        }
    }

    /// target (+)= the transpose of the softmax times values `[rows of q, H e]`.
    fn receive(&self, p: &mut Planner, values: ValueId, record: ValueId, target: GradTarget) {
        let (spans, width) = (self.spans(p, self.keys, self.queries), p.cols(values) / self.heads);
        let operands = [self.k.into(), self.q.into(), values.into(), target.to, record.into(), spans.into()];
        let flags = target.accumulate as u32 * k::ACCUMULATE;
        self.pairs(self.keys, width).launch(p, &k::VALUES, &operands, flags, width);
    }

    /// Log-sum-exp of each query, and what its pairs' products are compared with: <out, g> less the gradient of
    /// the log-sum-exp.
    fn record(&self, p: &mut Planner, lse: ValueId, of: [ValueId; 2], lse_grad: Option<ValueId>) -> ValueId {
        let record = p.temp(self.queries.rows, 4 * self.heads);
        let values = p.cols(of[0]) / self.heads;
        let flags = bits([(k::OF_LSE, lse_grad.is_some()), (k::BACKWARD, true)]);
        let operands = [of[0], of[1], lse_grad.unwrap_or(lse), lse, self.q, record].map(Operand::Value);
        let pairs = self.pairs(self.queries, values);
        let (kind, length) = (k::kind(&pairs.energy), k::record_len(&pairs.energy));
        let words =
            [self.queries.rows.into(), self.heads.into(), values.into(), flags.into(), kind.into(), length.into()];
        let variant = pairs.variant();
        let grid = Grid::line(Count::per(self.queries.rows, self.heads, 64));
        p.launch_variant(&k::RECORD, variant, &operands, &words, grid);
        record
    }

    /// Gradients of queries and keys; `of_q` and `of_k` `[rows, H e]` are multiplied pair by pair.
    fn back(&self, p: &mut Planner, inputs: [ValueId; 2], [of_q, of_k]: [ValueId; 2], record: ValueId) {
        let width = p.cols(of_q) / self.heads;
        let sides = [
            (inputs[0], self.queries, self.keys, [self.q, self.k, of_q, of_k], 0),
            (inputs[1], self.keys, self.queries, [self.k, self.q, of_k, of_q], k::FLIP),
        ];
        for (input, rows, other, [x, y, xg, yg], flip) in sides {
            let Some(GradTarget { to, accumulate }) = p.grad(input) else { continue };
            let (spans, unused) = (self.spans(p, rows, other), p.temp(Dim::Fixed(1), 1));
            let operands = [x.into(), y.into(), xg.into(), yg.into(), record.into(), spans.into(), to, unused.into()];
            let flags = flip | (accumulate as u32 * k::ACCUMULATE);
            self.pairs(rows, width).launch(p, &k::BACK, &operands, flags, self.dims);
        }
    }
}

/// True when these are q and k of some heads between landmarks and tokens.
fn between(q: &Value, key: &Value, heads: u32, of: Between) -> bool {
    let (tokens, landmarks) = match of {
        Between::TokensAndLandmarks => (q, key),
        Between::LandmarksAndTokens => (key, q),
    };
    tokens.shape.rows == Dim::Tokens
        && rows_per_bag(landmarks.shape.rows).is_some_and(|n| n > 0)
        && q.shape.cols == key.shape.cols
        && heads > 0
        && q.shape.cols > 0
        && q.shape.cols.is_multiple_of(heads)
}

impl Rule for CrossAttention {
    fn name(&self) -> &'static str {
        "cross-attention"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let [q, key, v] = [0, 1, 2].map(|n| node.inputs[n]);
        let cols = [s.cols(q), s.cols(node.outputs[0])];
        s.by_head(node, 2, self.heads, cols, |s, heads, [of_key, of_value]| {
            let rows = [s.take(q, of_key)?, s.take(key, of_key)?, s.take(v, of_value)?];
            s.push(Self { heads: heads.count, ..*self }, &[&rows, &node.inputs[3..]].concat())
        })
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_tokens(inputs, 3)
            && between(&inputs[0], &inputs[1], self.heads, self.between)
            && inputs[2].shape.rows == inputs[1].shape.rows
            && inputs[2].shape.cols > 0
            && inputs[2].shape.cols.is_multiple_of(self.heads);
        let expected = "q and k [Tokens, heads d] and [B m, heads d] or the other way round, v [rows of k, heads e], \
                        tables of the tokens";
        expect(ok, self.name(), expected, inputs)?;
        let rows = inputs[0].shape.rows;
        let out = (Shape::new(rows, inputs[2].shape.cols), Storage::F32);
        Ok(vec![out, (Shape::new(rows, self.heads), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [q, key, v] = [0, 1, 2].map(|i| node.inputs[i]);
        Attending::of(p, node, [q, key], self.heads, self.scale).attend(p, v, node.outputs[0], node.outputs[1]);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [q, key, v] = [0, 1, 2].map(|i| node.inputs[i]);
        let at = Attending::of(p, node, [q, key], self.heads, self.scale);
        let (out, lse) = (node.outputs[0], node.outputs[1]);
        let g = p.upstream(out).unwrap_or_else(|| {
            let zero = p.temp(p.rows(out), p.cols(out));
            pointwise::fill(p, zero, 0.0);
            zero
        });
        let lse_grad = p.upstream(lse);
        let record = at.record(p, lse, [out, g], lse_grad);
        if let Some(target) = p.grad(v) {
            at.receive(p, g, record, target);
        }
        at.back(p, [q, key], [g, v], record);
    }
}

/// Of each token the weights that a bag's landmarks give it, each times a factor of its own:
/// s_n = sum_j g_j exp(scale q_j k_n - lse_j), head by head.
///
/// Inputs: g `[B m, H]`, q `[B m, H d]`, k `[Tokens, H d]`, log-sum-exp `[B m, H]` of
/// [`Between::LandmarksAndTokens`], tables of the tokens. Output: `[Tokens, H]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Received {
    /// Heads H, side by side in the columns.
    pub heads: u32,
    /// Factor of the energies.
    pub scale: f32,
}

impl Rule for Received {
    fn name(&self) -> &'static str {
        "received attention"
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let [lse, q, key, weights] = [0, 1, 2, 3].map(|n| node.inputs[n]);
        let cols = s.cols(key);
        s.by_head(node, 1, self.heads, [cols, cols], |s, heads, [of_key, _]| {
            let inputs = [s.take(lse, heads)?, s.take(q, of_key)?, s.take(key, of_key)?, s.take(weights, heads)?];
            s.push(Self { heads: heads.count, ..*self }, &[&inputs, &node.inputs[4..]].concat())
        })
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = over_tokens(inputs, 4)
            && between(&inputs[1], &inputs[2], self.heads, Between::LandmarksAndTokens)
            && [0, 3].iter().all(|&i| inputs[i].shape == Shape::new(inputs[1].shape.rows, self.heads));
        let expected = "g [B m, heads], q [B m, heads d], k [Tokens, heads d], log-sum-exp [B m, heads], \
                        tables of the tokens";
        expect(ok, self.name(), expected, inputs)?;
        Ok(vec![(Shape::new(Dim::Tokens, self.heads), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [g, q, key, lse] = [0, 1, 2, 3].map(|i| node.inputs[i]);
        let at = Attending::of(p, node, [q, key], self.heads, self.scale);
        let record = at.plain_record(p, lse);
        at.receive(p, g, record, GradTarget { to: node.outputs[0].into(), accumulate: false });
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [g, q, key, lse] = [0, 1, 2, 3].map(|i| node.inputs[i]);
        let at = Attending::of(p, node, [q, key], self.heads, self.scale);
        let upstream = p.upstream(node.outputs[0]).expect("a gradient");
        if p.wants(g) || p.wants(lse) {
            // What a landmark gets back is what it would see where the upstream gradient is the value.
            let (rows, heads) = (p.rows(g), self.heads);
            let (seen, seen_lse) = (p.temp(rows, heads), p.temp(rows, heads));
            at.attend(p, upstream, seen, seen_lse);
            if let Some(target) = p.grad(g) {
                pointwise::add_to(p, seen, 1.0, target);
            }
            if let Some(target) = p.grad(lse) {
                let products = p.temp(rows, heads);
                pointwise::multiply_into(p, g, seen, products);
                pointwise::add_to(p, products, -1.0, target);
            }
        }
        let record = at.plain_record(p, lse);
        at.back(p, [q, key], [g, upstream], record);
    }
}

impl Attending {
    /// A record of the log-sum-exp alone.
    fn plain_record(&self, p: &mut Planner, lse: ValueId) -> ValueId {
        let zero = p.temp(self.queries.rows, self.heads);
        pointwise::fill(p, zero, 0.0);
        self.record(p, lse, [zero, zero], None)
    }
}
