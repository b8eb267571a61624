//! Single computations that are measured by themselves: ceilings, products of any size, ladders.

use super::{Case, Start};
use crate::error::Result;
use crate::ops::attention_pool::AttentionPool;
use crate::ops::dropout::Dropout;
use crate::ops::matmul::Linear;
use crate::ops::pointwise::{Activate, Activation};
use crate::ops::rows::SliceColumns;
use crate::ops::self_attention::{Energy, SelfAttention};
use crate::plan::Purpose;
use crate::precision::LossScale;
use crate::tape::Storage;

/// The product of `[n, k]` features with `outputs` columns, in f32 or in f16 with sums in f32.
///
/// # Errors
/// None in practice.
pub fn product([n, k, outputs]: [usize; 3], half: bool) -> Result<Case> {
    let mut s = Start::new(k, if half { Storage::F16 } else { Storage::F32 }, false);
    s.tape.mixed = half.then(LossScale::default);
    let w = s.param(outputs as u32, k as u32);
    let y = s.push(Linear { activation: Activation::None }, &[s.x, w])?;
    s.output(y);
    Ok(Case { name: "product", tape: s.tape, purpose: Purpose::Predict, part: None, width: k, bags: vec![n] })
}

/// A copy of `[n, width]` features.
///
/// # Errors
/// None in practice.
pub fn copy(n: usize, width: usize) -> Result<Case> {
    let mut s = Start::new(width, Storage::F32, false);
    let y = s.push(Activate(Activation::None), &[s.x])?;
    s.output(y);
    Ok(Case { name: "copy", tape: s.tape, purpose: Purpose::Predict, part: None, width, bags: vec![n] })
}

/// Softmax attention of one head within a bag: features `[n, 3 d]` are queries, keys and values side by side.
///
/// # Errors
/// None in practice.
pub fn self_attention(n: usize, d: u32) -> Result<Case> {
    let mut s = Start::new(3 * d as usize, Storage::F32, false);
    let [q, k, v] = [0, 1, 2].map(|part| s.push(SliceColumns { first: part * d, count: d }, &[s.x]));
    let energy = Energy::Dot { scale: 1.0 / (d as f32).sqrt() };
    let y = s.over_bags(SelfAttention { heads: 1, energy, dropout: Dropout::default() }, &[q?, k?, v?])?;
    s.output(y);
    let purpose = Purpose::Predict;
    Ok(Case { name: "self-attention", tape: s.tape, purpose, part: None, width: 3 * d as usize, bags: vec![n] })
}

/// Gated attention pooling of `[n, hidden]` features with `inner` columns of attention: parameters `[2 inner, hidden]`,
/// `[1, inner]` and the bias of the scores.
///
/// # Errors
/// None in practice.
pub fn gated_attention(n: usize, hidden: u32, inner: u32) -> Result<Case> {
    let mut s = Start::new(hidden as usize, Storage::F32, false);
    let weights = s.param(2 * inner, hidden);
    let pre = s.push(Linear { activation: Activation::None }, &[s.x, weights])?;
    let (vector, bias) = (s.param(1, inner), s.param(1, 1));
    let z = s.over_bags(AttentionPool { gated: true }, &[pre, s.x, vector, bias])?;
    s.output(z);
    let purpose = Purpose::Predict;
    Ok(Case { name: "gated attention", tape: s.tape, purpose, part: None, width: hidden as usize, bags: vec![n] })
}
