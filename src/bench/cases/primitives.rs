//! Cases of graphs, clusters, evidential and pseudo-label losses and the other small pieces.

use super::{Case, Start, Widths};
use crate::error::Result;
use crate::kernels::launch::Input;
use crate::ops::batch_norm::RunningBatchNorm;
use crate::ops::cluster::{ClusterAssign, ClusterMeans};
use crate::ops::dropout::{ChannelDropout, ColumnDropout, Dropout};
use crate::ops::evidential::{DirichletUncertainty, EvidentialLoss};
use crate::ops::gaussian::GaussianLogDensity;
use crate::ops::graph::{GraphProduct, LinkLoss, PairMatrix, Pairing};
use crate::ops::loss::SmoothHinge;
use crate::ops::matmul::Linear;
use crate::ops::moments::PassMoments;
use crate::ops::pointwise::{Activate, Activation, Affine, Below};
use crate::ops::pseudo_label::{BagPseudoLoss, EndLabels, InstancePseudoLoss};
use crate::ops::reduce::{ColumnSum, RowSoftmax};
use crate::ops::rows::GatherRows;
use crate::ops::segment::{Pool, SegmentReduce};
use crate::ops::sort::{SegmentEnds, SegmentSort};
use crate::ops::update::Optimiser;
use crate::plan::Purpose;
use crate::tape::Storage;

/// Rows of a bag whose pairs are kept: what fits every device.
const NODES: usize = 2000;

pub(super) fn cases(w: Widths) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    let mut add = |name, start: Start, purpose, width: usize, instances: usize| {
        cases.push(Case { name, tape: start.tape, purpose, part: None, width, bags: vec![instances; w.bags] });
    };

    // A graph of neighbours, means over them, and a pooled graph's losses; weights that learn.
    let mut s = Start::new(64, Storage::F32, true);
    let distances = s.over_bags(PairMatrix { pairing: Pairing::Distance }, &[s.x, s.x])?;
    let edges = s.push(Below { limit: 11.0 }, &[distances])?;
    let sage = GraphProduct { with_self: true, mean: true, uniform: 0 };
    let y = s.over_bags(sage, &[edges, s.x])?;
    s.output(y);
    let assigned = s.linear(s.x, 2, Activation::None)?;
    let assigned = s.push(RowSoftmax, &[assigned])?;
    let link = s.over_bags(LinkLoss { mean: true }, &[edges, assigned])?;
    s.output(link);
    let weights = s.over_bags(PairMatrix { pairing: Pairing::SquaredDistance }, &[s.x, s.x])?;
    let weights = s.push(Affine { factor: -0.01, offset: 1.0 }, &[weights])?;
    let y = s.over_bags(sage, &[weights, s.x])?;
    s.output(y);
    let link = s.over_bags(LinkLoss { mean: true }, &[weights, assigned])?;
    s.output(link);
    add("graph", s, Purpose::Upstream, 64, w.instances.min(NODES));

    // Two passes with masks on weights, and their moments.
    let mut s = Start::new(w.hidden as usize, Storage::F32, false);
    let weight = s.param(w.classes, w.hidden);
    let mut moments = Vec::new();
    for number in 1..=2 {
        let masked = s.push(ColumnDropout { dropout: Dropout::new(0.5, number), seed: 0 }, &[weight])?;
        let x = s.push(Linear { activation: Activation::None }, &[s.x, masked])?;
        moments = s.tape.push(PassMoments { number }, &[&[x], &moments[..]].concat())?;
    }
    s.output(moments[1]);
    add("passes", s, Purpose::Predict, w.hidden as usize, w.instances);

    // One iteration of K-means.
    let mut s = Start::new(w.hidden as usize, Storage::F32, false);
    let before = s.param(8, w.hidden);
    let found = s.tape.push(ClusterAssign { fill: true }, &[s.x, before])?;
    let means = s.push(ClusterMeans, &[s.x, found[0], found[2], before])?;
    s.output(means);
    add("K-means", s, Purpose::Predict, w.hidden as usize, w.instances);

    // Evidence of instances for two classes and of bags for all of them.
    let mut s = Start::new(w.attention as usize, Storage::F32, true);
    for (label, classes) in [(Some(0), 2), (None, w.classes)] {
        let mut x = s.x;
        if label.is_none() {
            x = s.over_bags(SegmentReduce(Pool::Mean), &[s.x])?;
        }
        let evidence = s.linear(x, classes, Activation::None)?;
        let evidence = s.push(Activate(Activation::Exp), &[evidence])?;
        let mut inputs = vec![evidence];
        inputs.extend(label.is_none().then(|| s.tape.batch(Input::Labels, 1)));
        let loss = s.push(EvidentialLoss { fisher: true, label, factors: [1.0, 0.1, 0.3, 0.5] }, &inputs)?;
        s.output(loss);
        let uncertainty = s.push(DirichletUncertainty, &[evidence])?;
        s.output(uncertainty);
    }
    add("evidential", s, Purpose::Upstream, w.attention as usize, w.instances);

    // Pseudo-labels of instances, and densities.
    let mut s = Start::new(w.attention as usize, Storage::F32, true);
    let logits = s.linear(s.x, 1, Activation::None)?;
    let own = s.push(InstancePseudoLoss, &[logits])?;
    let mean = SegmentReduce(Pool::Mean);
    let (p, own) = (s.over_bags(mean, &[logits])?, s.over_bags(mean, &[own])?);
    let (targets, weights) = (s.tape.batch(Input::Targets, 1), s.tape.batch(Input::Weights, 1));
    let op = BagPseudoLoss { strength: 0.1, scale: 1.0 };
    let loss = s.push(op, &[p, own, own, targets, weights])?;
    s.output(loss);
    let (means, logs) = (s.linear(s.x, w.attention, Activation::None)?, s.linear(s.x, 1, Activation::None)?);
    let density = s.push(GaussianLogDensity, &[s.x, means, logs])?;
    s.output(density);
    add("pseudo-labels and densities", s, Purpose::Upstream, w.attention as usize, w.instances);

    // The rows at both ends of an order, and their labels.
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let first = s.linear(s.x, 1, Activation::None)?;
    let last = s.push(Affine { factor: -1.0, offset: 0.0 }, &[first])?;
    let first = s.over_bags(SegmentSort { column: 0 }, &[first])?;
    let last = s.over_bags(SegmentSort { column: 0 }, &[last])?;
    let rows = s.over_bags(SegmentEnds { k: 8, apart: false }, &[first, last])?;
    let rows = s.push(GatherRows, &[s.x, rows])?;
    let scores = s.linear(rows, 2, Activation::None)?;
    let of_bags = [s.tape.batch(Input::Labels, 1), s.tape.batch(Input::Weights, 1)];
    let op = EndLabels { k: 8, apart: false, class: 0, own: 1.0, others: 0.0 };
    let labels = s.tape.push(op, &[&of_bags[..], &s.tables].concat())?;
    let loss = s.push(SmoothHinge::new(1.0), &[scores, labels[0], labels[1]])?;
    s.output(loss);
    add("ends of bags", s, Purpose::Upstream, w.hidden as usize, w.instances);

    // Channels of images as they are trained.
    let mut s = Start::new(16 * 25, Storage::F32, false);
    let (gain, bias) = (s.param(1, 16), s.param(1, 16));
    let (mean, variance) = (s.tape.buffer("running_mean", 16, 0.0), s.tape.buffer("running_var", 16, 1.0));
    let norm = RunningBatchNorm { channels: 16, eps: 1e-5, momentum: 0.1, last: false };
    let y = s.push(norm, &[s.x, gain, bias, mean, variance])?;
    let dropout = Dropout::new(0.1, 0);
    let y = s.push(ChannelDropout { dropout, positions: 25 }, &[y])?;
    let y = s.linear(y, 1, Activation::None)?;
    s.tape.loss = Some(s.push(ColumnSum, &[y])?);
    add("running batch norm", s, Purpose::Train(Optimiser::adam(0.0)), 16 * 25, w.instances);
    Ok(cases)
}
