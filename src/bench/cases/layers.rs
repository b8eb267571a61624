//! Cases of images, norms, rows by index, orders, and self-attention.

use super::{Case, Sizes, Start};
use crate::error::Result;
use crate::kernels::launch::{Input, Pseudo};
use crate::ops::Op;
use crate::ops::batch_norm::BatchNorm;
use crate::ops::conv::{Conv2d, ConvTranspose2d, Image, Window};
use crate::ops::dropout::Dropout;
use crate::ops::image::{Border, ChannelMean, MaxPool, Pad, Upsample};
use crate::ops::norm::{InstanceNorm, LayerNorm, UnitRows};
use crate::ops::pointwise::{Activate, Activation};
use crate::ops::pseudo_bags::{DealOut, Distil, PermuteRows, distilled_tables, pseudo_tables};
use crate::ops::reduce::{ColumnSum, RowSum};
use crate::ops::rows::{Concat, GatherRows, SliceColumns};
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::ops::sort::{SegmentKeep, SegmentShuffle, SegmentSort, SegmentTop};
use crate::plan::Purpose;
use crate::tape::{Storage, ValueId};

/// Heads of self-attention.
const HEADS: u32 = 8;

fn case(name: &'static str, s: Start, width: usize, bags: Vec<usize>) -> Case {
    Case { name, tape: s.tape, purpose: Purpose::Upstream, part: None, width, bags }
}

/// All of them.
pub(super) fn all(sizes: Sizes) -> Result<Vec<Case>> {
    let mut cases = vec![images(sizes)?, norms(sizes)?, rows(sizes)?, orders(sizes)?, pseudo_bags(sizes)?];
    for (name, energy, dropout) in ENERGIES {
        cases.push(self_attention(sizes, name, energy, dropout)?);
    }
    Ok(cases)
}

/// The energies; the inner product stands for all that have no parameter.
const ENERGIES: [(&str, Energy, Dropout); 6] = [
    ("self-attention", Energy::Dot { scale: 0.125 }, KEEP),
    ("self-attention, dropout", Energy::Dot { scale: 0.125 }, Dropout::new(0.1, 0)),
    ("self-attention, Laplace", Energy::Laplace, KEEP),
    ("self-attention, RBF", Energy::Rbf, KEEP),
    ("self-attention, distances", Energy::Distance { scale: 0.125, unit: 1.0 }, KEEP),
    ("self-attention, bins", Energy::Binned { scale: 0.125, unit: 1.0, bins: BINS }, KEEP),
];

const KEEP: Dropout = Dropout::new(0.0, 0);
/// Bins of distances.
const BINS: u32 = 10;

/// Digits of 28 x 28 through the layers of LeNet, and back through a decoder's.
fn images(sizes: Sizes) -> Result<Case> {
    let count = if sizes == Sizes::Small { 32 } else { 1000 };
    let image = Image::new(1, 28, 28);
    let mut s = Start::new(784, Storage::F32, true);
    let (w, b) = (s.param(20, 25), s.param(1, 20));
    let conv = Conv2d { from: image, channels: 20, window: Window::valid(5, 1) };
    let h = s.push(conv, &[s.x, w, b])?;
    let (gain, bias) = (s.param(1, 20), s.param(1, 20));
    let h = s.push(BatchNorm { channels: 20, eps: 1e-5, last: false }, &[h, gain, bias])?;
    let pool = MaxPool { from: Image::new(20, 24, 24), window: Window::valid(2, 2) };
    let h = s.push(pool, &[h])?;
    let mean = s.push(ChannelMean { channels: 20 }, &[h])?;
    s.output(mean);
    let up = Upsample { from: Image::new(20, 12, 12), factor: 2 };
    let h = s.push(up, &[h])?;
    let (w, b) = (s.param(20, 25), s.param(1, 1));
    let back = ConvTranspose2d { from: Image::new(20, 24, 24), channels: 1, window: Window::valid(5, 1) };
    let h = s.push(back, &[h, w, b])?;
    let pad = Pad { from: image, border: [1, 1, 1, 1], with: Border::Edge };
    let h = s.push(pad, &[h])?;
    s.output(h);
    Ok(case("images", s, 784, vec![10; count / 10]))
}

/// Norms of embeddings, row by row.
fn norms(sizes: Sizes) -> Result<Case> {
    let w = sizes.widths();
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let (gain, bias) = (s.param(1, w.hidden), s.param(1, w.hidden));
    let y = s.push(LayerNorm { eps: 1e-5 }, &[s.x, gain, bias])?;
    let y = s.push(UnitRows { eps: 1e-12 }, &[y])?;
    let y = s.push(InstanceNorm { channels: 1, eps: 1e-5 }, &[y])?;
    s.output(y);
    Ok(case("norms", s, w.hidden as usize, vec![w.instances; w.bags]))
}

/// The critical rows of bags, and columns cut and joined.
fn rows(sizes: Sizes) -> Result<Case> {
    let w = sizes.widths();
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let x = s.x;
    let order = over_bags(&mut s, SegmentSort { column: 0 }, &[x])?[0];
    let y = s.push(GatherRows, &[s.x, order])?;
    let left = s.push(SliceColumns { first: 0, count: w.hidden / 2 }, &[y])?;
    let y = s.push(Concat, &[left, s.x])?;
    s.output(y);
    Ok(case("rows", s, w.hidden as usize, vec![w.instances; w.bags]))
}

/// Orders of rows by score and at random, the first of them, and those under a mask.
fn orders(sizes: Sizes) -> Result<Case> {
    let w = sizes.widths();
    let mut s = Start::new(4, Storage::F32, false);
    let x = s.push(Activate(Activation::Relu), &[s.x])?;
    let order = over_bags(&mut s, SegmentSort { column: 1 }, &[x])?[0];
    let shuffled = over_bags(&mut s, SegmentShuffle { site: 0 }, &[])?[0];
    let top = over_bags(&mut s, SegmentTop { k: 10, last: false }, &[order])?[0];
    let mask = s.linear(x, 1, Activation::Relu)?;
    let kept = over_bags(&mut s, SegmentKeep, &[mask])?[0];
    [order, shuffled, top, kept].into_iter().for_each(|v| s.output(v));
    Ok(Case { purpose: Purpose::Predict, ..case("orders", s, 4, vec![w.instances; w.bags]) })
}

/// Rows dealt out to four pseudo-bags, and the first and last of each.
fn pseudo_bags(sizes: Sizes) -> Result<Case> {
    let w = sizes.widths();
    let mut s = Start::new(w.hidden as usize, Storage::F32, true);
    let pseudo = Pseudo { bags: 4, rows: 1, sides: 2 };
    s.tape.pseudo = Some(pseudo);
    let order = over_bags(&mut s, DealOut { parts: pseudo.bags, site: 0 }, &[])?;
    let y = s.push(PermuteRows, &[s.x, order[0], order[1]])?;
    let over = pseudo_tables(&mut s.tape);
    let by = s.push(SegmentSort { column: 0 }, &[&[y][..], &over].concat())?;
    let to = distilled_tables(&mut s.tape);
    let bags = s.tables;
    let picked = s.push(Distil(pseudo), &[&[by][..], &bags, &to].concat())?;
    let picked = s.push(GatherRows, &[y, picked])?;
    s.output(y);
    s.output(picked);
    Ok(case("pseudo-bags", s, w.hidden as usize, vec![w.instances; w.bags]))
}

/// Attention of all instances of a bag to all, eight heads of 64.
fn self_attention(sizes: Sizes, name: &'static str, energy: Energy, dropout: Dropout) -> Result<Case> {
    let (width, bags) = match sizes {
        Sizes::Small => (64, vec![12; 32]),
        Sizes::Mil => (512, vec![1000]),
        Sizes::Large => (512, vec![10_000]),
        // Pairs of them all.
        Sizes::Instances(n) => (512, vec![n.min(10_000)]),
    };
    let mut s = Start::new(width, Storage::F32, true);
    let cols = width as u32;
    let mut inputs = vec![s.x, s.x, s.x];
    match energy {
        Energy::Rbf | Energy::InverseQuadratic | Energy::ModulePower => inputs.push(s.param(1, HEADS)),
        Energy::Distance { .. } => {
            inputs.extend([cols, cols, cols, HEADS].map(|cols| s.param(2, cols)));
            inputs.push(s.tape.batch(Input::Coords, 2));
        }
        Energy::Binned { .. } => {
            for _ in 0..2 {
                inputs.push(s.linear(s.x, HEADS * BINS, Activation::None)?);
            }
            inputs.push(s.tape.batch(Input::Coords, 2));
        }
        _ => {}
    }
    let y = over_bags(&mut s, SelfAttention { heads: HEADS, energy, dropout }, &inputs)?[0];
    if dropout == KEEP {
        s.output(y);
        return Ok(case(name, s, width, bags));
    }
    // Masks are drawn for a loss.
    let sum = s.push(ColumnSum, &[y])?;
    s.tape.loss = Some(s.push(RowSum, &[sum])?);
    Ok(Case { purpose: Purpose::Gradients { dropout: true }, ..case(name, s, width, bags) })
}

fn over_bags(s: &mut Start, op: impl Into<Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
    let inputs = [inputs, &s.tables].concat();
    s.tape.push(op, &inputs)
}
