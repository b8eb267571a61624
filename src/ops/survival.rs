//! Survival losses over the bags of a batch: discrete-time negative log-likelihood, and the Cox partial
//! likelihood. An event indicator is 1 when the event was seen and 0 when the bag is censored.

use super::{Rule, expect};
use crate::error::Result;
use crate::kernels::launch::{Count, Dim, Grid};
use crate::kernels::loss::LANES;
use crate::kernels::survival as k;
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value};

/// Negative log-likelihood of discrete-time survival (Zadeh and Schmid 2020). Inputs: logits of the hazards
/// `[B, K]`, bin of each bag's time `[B, 1]` (indices), events `[B, 1]`, weights `[B, 1]`. The sum over bags
/// of weight times loss, `[1, 1]`. Survivals and hazards below 1e-7 count as that and have no gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiscreteSurvival {
    /// How much less censored bags count: their part is multiplied by 1 - alpha.
    pub alpha: f32,
    /// Factor of the whole loss.
    pub scale: f32,
}

fn per_bag(inputs: &[Value], count: usize) -> bool {
    inputs.len() == count
        && inputs[1..].iter().all(|v| v.shape.cols == 1)
        && inputs.iter().all(|v| v.shape.rows == inputs[0].shape.rows)
}

impl Rule for DiscreteSurvival {
    fn name(&self) -> &'static str {
        "discrete-time survival loss"
    }
    fn constants(&self) -> &'static [usize] {
        &[1, 2, 3]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = per_bag(inputs, 4) && inputs[1].storage == Storage::U32;
        expect(ok, self.name(), "logits [B, K], bins, events and weights [B, 1]", inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, bins, events, w] = node.inputs[..] else { unreachable!() };
        let shape = p.value(x).shape;
        let words = [shape.rows.into(), shape.cols.into(), self.alpha.into(), self.scale.into()];
        let operands = [x.into(), bins.into(), events.into(), w.into(), node.outputs[0].into()];
        p.launch(&k::HAZARD_LOSS, &operands, &words, Grid::line(Count::each(Dim::Fixed(1))));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [x, bins, events, w] = node.inputs[..] else { unreachable!() };
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let Some(GradTarget { to, accumulate }) = p.grad(x) else { return };
        let shape = p.value(x).shape;
        let words = [shape.rows.into(), shape.cols.into(), self.alpha.into(), self.scale.into(), accumulate.into()];
        let operands = [x.into(), bins.into(), events.into(), w.into(), g.into(), to];
        p.launch(&k::HAZARD_GRAD, &operands, &words, Grid::line(Count::per(shape.rows, 1, LANES)));
    }
}

/// Negative log of the Cox partial likelihood of a batch, divided by its events (0 without any). Inputs:
/// log-risks `[B, 1]`, times `[B, 1]`, events `[B, 1]`. Outputs: the loss `[1, 1]`, and what each event
/// contributes. Time grows with the square of the bags in the batch; nothing has to be sorted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CoxLoss {
    /// Tied events by Efron's correction; else by Breslow's.
    pub efron: bool,
    /// Factor of the whole loss.
    pub scale: f32,
}

impl Rule for CoxLoss {
    fn name(&self) -> &'static str {
        "Cox partial likelihood"
    }
    fn constants(&self) -> &'static [usize] {
        &[1, 2]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = per_bag(inputs, 3) && inputs[0].shape.cols == 1;
        expect(ok, self.name(), "log-risks, times and events, each [B, 1]", inputs)?;
        Ok(vec![(Shape::new(Dim::Fixed(1), 1), Storage::F32), (Shape::new(inputs[0].shape.rows, 4), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [x, times, events] = node.inputs[..] else { unreachable!() };
        let [loss, terms] = node.outputs[..] else { unreachable!() };
        let rows = p.rows(x);
        let operands = [x.into(), times.into(), events.into(), terms.into()];
        let words = [rows.into(), self.efron.into()];
        p.launch(&k::COX_TERMS, &operands, &words, Grid::line(Count::per(rows, 1, LANES)));
        let operands = [x.into(), terms.into(), events.into(), loss.into()];
        let words = [rows.into(), self.scale.into(), 0u32.into()];
        p.launch(&k::COX_LOSS, &operands, &words, Grid::line(Count::each(Dim::Fixed(1))));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let [x, times, events] = node.inputs[..] else { unreachable!() };
        let Some(g) = p.upstream(node.outputs[0]) else { return };
        let Some(GradTarget { to, accumulate }) = p.grad(x) else { return };
        let rows = p.rows(x);
        let operands = [x.into(), times.into(), events.into(), node.outputs[1].into(), g.into(), to];
        let words = [rows.into(), self.scale.into(), accumulate.into()];
        p.launch(&k::COX_GRAD, &operands, &words, Grid::line(Count::per(rows, 1, LANES)));
    }
}
