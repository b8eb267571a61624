//! Attention to the critical instance (DSMIL: Li, Li, Eliceiri 2021), over packed bags.
//!
//! For each class c of a bag, with k_bc the query of the class's critical instance: e_nc = q_n . k_bc / sqrt(L),
//! a = softmax of e over the bag, z_bc = sum of a_nc v_n. Every instance is compared with one other for each
//! class, so time and memory are linear in the instances. Which instance is critical is a constant of the
//! backward pass, but its query is not: it gets a gradient from every comparison, in addition to its own.
//!
//! Picking the critical rows and attending to them are two operations: between them a batch in windows has seen
//! all of a bag once ([`crate::plan::windows`]).

use super::columns::Splitter;
use super::segment::Tables;
use super::{Locality, Merge, Rule, expect, pointwise, segment};
use crate::error::Result;
use crate::kernels::launch::{Count, Dim, Grid, Word, bits};
use crate::kernels::{attention_pool as pool, critical_attention as k, segment as reductions};
use crate::planner::{GradTarget, Operand, Planner};
use crate::value::{Io, Shape, Storage, Value};

/// The rows of the critical instances. Inputs: x `[N, L]`, critical row of each class `[B, C]` (the second output of
/// a maximum over bags). Output: `[B, C L]`, those of a bag's classes side by side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticalRows;

impl Rule for CriticalRows {
    fn name(&self) -> &'static str {
        "critical rows"
    }
    fn locality(&self) -> Locality {
        Locality::Pick
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 2
            && inputs[0].shape.rows == Dim::Instances
            && inputs[1].shape.rows == Dim::Bags
            && inputs[1].storage == Storage::U32;
        expect(ok, self.name(), "instance rows [N, L] and critical rows [B, C]", inputs)?;
        Ok(vec![(Shape::new(Dim::Bags, inputs[1].shape.cols * inputs[0].shape.cols), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, critical) = (p.dense(node.inputs[0]), node.inputs[1]);
        let (inner, classes) = (p.cols(x), p.cols(critical));
        let operands = [x.into(), critical.into(), node.outputs[0].into()];
        let words = [Dim::Bags.into(), inner.into(), classes.into()];
        let grid = Grid::line(Count::per(Dim::Bags, classes, 1));
        p.launch_variant(&k::CRITICAL_ROWS, pool::variant(inner, inner), &operands, &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (inner, classes) = (p.cols(node.inputs[0]), p.cols(node.inputs[1]));
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        if !accumulate {
            pointwise::clear(p, to, Dim::Instances, inner);
        }
        let words = [Dim::Bags.into(), inner.into(), classes.into()];
        let grid = Grid::line(Count::each(Dim::Bags));
        let operands = [g.into(), node.inputs[1].into(), to];
        p.launch_variant(&k::CRITICAL_ROWS_GRAD, pool::variant(inner, inner), &operands, &words, grid);
    }
}

/// The value of a chosen instance for each class. Inputs: x `[N, C]`, the row of each class `[B, C]` (the second output
/// of a maximum over bags), tables. Output: `[B, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticalValues;

impl Rule for CriticalValues {
    fn name(&self) -> &'static str {
        "critical values"
    }
    fn locality(&self) -> Locality {
        Locality::Pick
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = segment::over_bags(inputs, 2)
            && inputs[1].shape == Shape::new(Dim::Bags, inputs[0].shape.cols)
            && inputs[1].storage == Storage::U32;
        expect(ok, self.name(), "instance rows [N, C] and a row for each column [B, C]", inputs)?;
        Ok(vec![(inputs[1].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let x = p.dense(node.inputs[0]);
        let cols = p.cols(x);
        let operands = [x.into(), node.inputs[1].into(), node.outputs[0].into()];
        p.launch(&reductions::PICK, &operands, &[Dim::Bags.into(), cols.into()], segment::bag_grid(cols));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(target) = p.grad(node.inputs[0]) else { return };
        segment::to_rows(p, node.inputs[1], g, Tables::of(node).tiles, target);
    }
}

/// Inputs: q `[N, L]`, v `[N, H]`, what is attended to `[B, C L]`, tables. Outputs: z `[B, C H]`, scores e `[N, C]`,
/// log-sum-exp `[B, C]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CriticalAttention;

impl Rule for CriticalAttention {
    fn name(&self) -> &'static str {
        "critical attention"
    }
    fn locality(&self) -> Locality {
        Locality::PoolAfter(Merge::Softmax, 2)
    }
    fn split(&self, s: &mut Splitter, node: Io) -> Result<()> {
        let heads = s.cols(node.inputs[2]) / s.cols(node.inputs[0]);
        super::attention_pool::split_heads(*self, s, node, heads)
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = segment::over_bags(inputs, 3)
            && inputs[1].shape.rows == Dim::Instances
            && inputs[2].shape.rows == Dim::Bags
            && inputs[2].storage == Storage::F32
            && inputs[2].shape.cols.is_multiple_of(inputs[0].shape.cols.max(1));
        expect(ok, self.name(), "queries [N, L], values [N, H] and critical queries [B, C L]", inputs)?;
        let (classes, hidden) = (inputs[2].shape.cols / inputs[0].shape.cols.max(1), inputs[1].shape.cols);
        Ok(vec![
            (Shape::new(Dim::Bags, classes * hidden), Storage::F32),
            (Shape::new(Dim::Instances, classes), Storage::F32),
            (Shape::new(Dim::Bags, classes), Storage::F32),
        ])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (q, v) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let (keys, t) = (node.inputs[2], Tables::of(node));
        let (inner, hidden, classes) = (p.cols(q), p.cols(v), p.cols(keys) / p.cols(q));
        let [z, scores, lse] = node.outputs[..] else { unreachable!() };
        let parts = p.temp(Dim::Tiles, classes * hidden);
        // (largest score, sum of exponentials) of each tile and class.
        let sums = p.temp(Dim::Tiles, classes * 2);
        let variant = pool::variant(hidden, inner);
        let operands = [q.into(), v.into(), keys.into(), t.tiles.into(), scores.into(), parts.into(), sums.into()];
        let words = [Dim::Tiles.into(), hidden.into(), inner.into(), classes.into(), scale(inner)];
        let grid = Grid::plane(Count::each(Dim::Tiles), Count::each(Dim::Fixed(classes)));
        p.launch_variant(&k::CRITICAL_PART, variant.clone(), &operands, &words, grid);
        let operands = [parts.into(), sums.into(), t.bag_tiles.into(), z.into(), lse.into()];
        let words = [Dim::Bags.into(), hidden.into(), classes.into()];
        let grid = Grid::plane(Count::each(Dim::Bags), Count::each(Dim::Fixed(classes)));
        p.launch_variant(&pool::POOL_END, variant, &operands, &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let (q, v) = (p.dense(node.inputs[0]), p.dense(node.inputs[1]));
        let (keys, t) = (node.inputs[2], Tables::of(node));
        let (inner, hidden, classes) = (p.cols(q), p.cols(v), p.cols(keys) / p.cols(q));
        let [z, scores, lse] = node.outputs[..] else { unreachable!() };
        let variant = pool::variant(hidden, inner);
        let outside = p.upstream(scores);
        let score_grad = outside.unwrap_or_else(|| p.temp(Dim::Instances, classes));
        if let Some(dz) = p.upstream(z) {
            let v_grad = p.grad(node.inputs[1]);
            let target = v_grad.map_or(Operand::Value(p.temp(Dim::Fixed(1), 1)), |t| t.to);
            let operands =
                [v.into(), z.into(), dz.into(), scores.into(), lse.into(), t.tiles.into(), score_grad.into(), target];
            let added = v_grad.is_some_and(|t| t.accumulate);
            let flags =
                bits([(pool::OUTSIDE, outside.is_some()), (pool::WANTED, v_grad.is_some()), (pool::ADD, added)]);
            let words = [Dim::Tiles.into(), hidden.into(), classes.into(), flags.into()];
            p.launch_variant(&pool::POOL_GRAD, variant.clone(), &operands, &words, Grid::line(Count::each(Dim::Tiles)));
        }
        let (of_q, of_keys) = (p.grad(node.inputs[0]), p.grad(keys));
        if of_q.is_none() && of_keys.is_none() {
            return;
        }
        let GradTarget { to, accumulate } = of_q.unwrap_or_else(|| {
            let to = p.temp(Dim::Instances, inner).into();
            GradTarget { to, accumulate: false }
        });
        let parts = p.temp(Dim::Tiles, classes * inner);
        let operands = [q.into(), keys.into(), score_grad.into(), t.tiles.into(), to, parts.into()];
        let words = [Dim::Tiles.into(), inner.into(), classes.into(), scale(inner), accumulate.into()];
        p.launch_variant(&k::CRITICAL_GRAD, variant.clone(), &operands, &words, Grid::line(Count::each(Dim::Tiles)));
        let Some(GradTarget { to, accumulate }) = of_keys else { return };
        let operands = [parts.into(), t.bag_tiles.into(), to];
        let words = [Dim::Bags.into(), inner.into(), classes.into(), scale(inner), accumulate.into()];
        p.launch_variant(&k::CRITICAL_END, variant, &operands, &words, Grid::line(Count::each(Dim::Bags)));
    }
}

fn scale(inner: u32) -> Word {
    (1.0 / (inner as f32).sqrt()).into()
}
