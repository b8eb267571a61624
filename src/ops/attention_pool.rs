//! Attention pooling (Ilse, Tomczak, Welling 2018), plain and gated, over packed bags.
//!
//! e_nk = w_k . u_n + b_k with u = tanh(v) or tanh(v) sigmoid(u'); a = softmax of e over the bag;
//! z_bk = sum of a_nk h_n. Score, softmax and weighted sum are one split pass over tiles and one combination
//! for each bag. The products v and u' come from matmuls and are kept; tanh, sigmoid and the softmax are
//! computed again in backward.

use super::columns::{Run, Splitter};
use super::segment::{Tables, over_segments};
use super::{Locality, Merge, Rule, expect, reduce};
use crate::error::Result;
use crate::kernels::attention_pool as k;
use crate::kernels::launch::{Count, Dim, Grid, Word, bits};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// Inputs: pre-activations `[N, L]` (plain) or `[N, 2 L]` (gated: tanh half, then sigmoid half), h `[N, H]`,
/// w `[K, L]`, b `[1, K]`, tables. Outputs: z `[B, K H]`, scores e `[N, K]`, log-sum-exp `[B, K]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionPool {
    /// Gated form.
    pub gated: bool,
}

/// Pools of several heads or classes: all of them for each block of the values, whose rows are put into the order of
/// heads afterwards. Scores are computed for each block.
pub(super) fn split_heads<R: Rule + Copy>(op: R, s: &mut Splitter, node: Io, heads: u32) -> Result<()> {
    if s.wide(node.inputs[0]) || !s.wide(node.inputs[1]) {
        return Err(s.refused());
    }
    let mut all = Vec::new();
    for run in s.blocks(node.inputs[1]) {
        let mut inputs: Vec<ValueId> = node.inputs.iter().map(|v| s.name(*v)).collect();
        inputs[1] = s.take(node.inputs[1], run)?;
        all.push(s.push(op, &inputs)?);
    }
    let mut rows = Vec::new();
    for head in 0..heads {
        for outputs in &all {
            let count = s.cols(outputs[0]) / heads;
            rows.push(s.slice(outputs[0], Run { first: head * count, count })?);
        }
    }
    s.give(node.outputs[0], rows)?;
    let beside = node.outputs[1..].iter().zip(&all[0][1..]);
    beside.into_iter().try_for_each(|(output, value)| s.give(*output, vec![*value]))
}

impl Rule for AttentionPool {
    fn name(&self) -> &'static str {
        if self.gated { "gated attention pooling" } else { "attention pooling" }
    }
    fn locality(&self) -> Locality {
        Locality::Pool(Merge::Softmax)
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        split_heads(*self, s, node, s.cols(node.inputs[3]))
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let width = |l: u32| if self.gated { 2 * l } else { l };
        let segments = over_segments(inputs, 4);
        let ok = segments.is_some()
            && inputs[1].shape.rows == inputs[0].shape.rows
            && inputs[0].shape.cols == width(inputs[2].shape.cols)
            && Dim::Fixed(inputs[3].shape.cols) == inputs[2].shape.rows;
        expect(ok, self.name(), "pre-activations [N, L] ([N, 2 L] gated), h [N, H], w [K, L] and b [1, K]", inputs)?;
        let (heads, hidden, rows) = (inputs[3].shape.cols, inputs[1].shape.cols, inputs[0].shape.rows);
        let segments = segments.unwrap_or(Dim::Bags);
        Ok(vec![
            (Shape::new(segments, heads * hidden), Storage::F32),
            (Shape::new(rows, heads), Storage::F32),
            (Shape::new(segments, heads), Storage::F32),
        ])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (pre, h) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let (w, b, t) = (node.inputs[2], node.inputs[3], Tables::of(node));
        let (hidden, inner, heads) = (p.cols(h), p.cols(w), p.cols(b));
        let (tiles, segments) = (t.tile_count(p), t.segments(p));
        let [z, scores, lse] = node.outputs[..] else { unreachable!() };
        let parts = p.temp(tiles, heads * hidden);
        // (largest score, sum of exponentials) of each tile and head.
        let sums = p.temp(tiles, heads * 2);
        let sizes: [Word; 4] = [hidden.into(), inner.into(), heads.into(), self.gated.into()];
        let variant = k::variant(hidden, inner);
        let operands =
            [pre.into(), h.into(), w.into(), b.into(), t.tiles.into(), scores.into(), parts.into(), sums.into()];
        let words = [[tiles.into()].as_slice(), &sizes].concat();
        let grid = Grid::plane(Count::each(tiles), Count::each(Dim::Fixed(heads)));
        p.launch_variant(&k::POOL_PART, variant.clone(), &operands, &words, grid);
        let operands = [parts.into(), sums.into(), t.bag_tiles.into(), z.into(), lse.into()];
        let words = [segments.into(), hidden.into(), heads.into()];
        let grid = Grid::plane(Count::each(segments), Count::each(Dim::Fixed(heads)));
        p.launch_variant(&k::POOL_END, variant, &operands, &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (pre, h) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let (w, b, t) = (node.inputs[2], node.inputs[3], Tables::of(node));
        let (hidden, inner, heads, tiles) = (p.cols(h), p.cols(w), p.cols(b), t.tile_count(p));
        let [z, scores, lse] = node.outputs[..] else { unreachable!() };
        let variant = k::variant(hidden, inner);
        let outside = p.upstream(scores);
        let score_grad = outside.unwrap_or_else(|| p.temp(p.rows(pre), heads));
        if let Some(dz) = p.upstream(z) {
            let h_grad = p.grad(node.inputs[1]);
            let target = h_grad.map_or(Operand::Value(p.temp(Dim::Fixed(1), 1)), |t| t.to);
            let operands =
                [h.into(), z.into(), dz.into(), scores.into(), lse.into(), t.tiles.into(), score_grad.into(), target];
            let added = h_grad.is_some_and(|t| t.accumulate);
            let flags = bits([(k::OUTSIDE, outside.is_some()), (k::WANTED, h_grad.is_some()), (k::ADD, added)]);
            let words = [tiles.into(), hidden.into(), heads.into(), flags.into()];
            p.launch_variant(&k::POOL_GRAD, variant.clone(), &operands, &words, Grid::line(Count::each(tiles)));
        }
        let pre_grad = p.grad(node.inputs[0]);
        let target = pre_grad.map_or(Operand::Value(p.temp(Dim::Fixed(1), 1)), |t| t.to);
        let (w_parts, b_parts) = (p.temp(tiles, heads * inner), p.temp(tiles, heads));
        let operands =
            [pre.into(), w.into(), score_grad.into(), t.tiles.into(), target, w_parts.into(), b_parts.into()];
        let added = pre_grad.is_some_and(|t| t.accumulate);
        let flags = bits([(k::PRE_WANTED, pre_grad.is_some()), (k::PRE_ADD, added)]);
        let words = [tiles.into(), inner.into(), heads.into(), self.gated.into(), flags.into()];
        p.launch_variant(&k::SCORE_GRAD, variant, &operands, &words, Grid::line(Count::each(tiles)));
        for (input, parts) in [(w, w_parts), (b, b_parts)] {
            if let Some(GradTarget { to, accumulate }) = p.grad(input) {
                let cols = p.cols(parts);
                reduce::add_rows(p, parts, 0, cols, 1.0, GradTarget { to, accumulate });
            }
        }
    }
}
