//! Operations over the bag, which is the whole matrix, or over its pseudo-bags.

use super::graph::{Name, int};
use super::proto::element;
use super::translation::{At, Done, Parts};
use crate::ops::attention_pool::AttentionPool;
use crate::ops::critical_attention::{CriticalAttention, CriticalRows, CriticalValues};
use crate::ops::positions::AddPositions;
use crate::ops::power_pool::{GeneralisedMean, PowerMean};
use crate::ops::routing::BagDot;
use crate::ops::segment::{BagBroadcast, BagSoftmax, Pool, SegmentLogSumExp, SegmentReduce, SegmentSoftmax};
use crate::ops::sharp_pool::SharpLogMeanExp;
use crate::ops::weighting::WeightedSum;

/// The number of instances as a real number, `[1]`.
fn count(at: &mut At) -> Name {
    at.keep("count", |at| {
        let count = at.instances();
        at.cast(&count, element::FLOAT)
    })
}

/// Less ln N: of a log-sum-exp a log-mean-exp.
fn less_log_count(at: &mut At, x: &str) -> Name {
    let count = count(at);
    let log = at.op("Log", &[&count]);
    at.op("Sub", &[x, &log])
}

pub fn reduce(at: &mut At, of: &SegmentReduce) -> Done {
    let x = at.x(0)?;
    let pooled = match of.0 {
        Pool::Max => {
            // The first of equals, as here.
            let row = at.with("ArgMax", &[&x], vec![int("axis", 0), int("keepdims", 1)]);
            at.give(1, row);
            at.reduce("ReduceMax", &x, 0)
        }
        Pool::Mean => at.reduce("ReduceMean", &x, 0),
        Pool::Sum => at.reduce("ReduceSum", &x, 0),
        Pool::LogMeanExp => {
            let log_sum = at.t.graph.log_sum_exp(&x, 0);
            less_log_count(at, &log_sum)
        }
    };
    at.give(0, pooled);
    Ok(())
}

pub fn softmax(at: &mut At, _: &SegmentSoftmax) -> Done {
    let x = at.x(0)?;
    if at.over_parts() {
        let parts = super::pseudo::parts(at)?;
        let columns = at.cols(0);
        let (weights, lse) = over_parts(at, &x, columns, &parts);
        // An instance has a weight in its own part alone.
        let own: Vec<Name> = weights.iter().map(|w| at.reduce("ReduceSum", w, 0)).collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        let rows = at.concat(&own, 0);
        let y = at.transpose(&rows, &[1, 0]);
        at.give(0, y);
        at.give(1, lse);
        return Ok(());
    }
    let y = at.t.graph.softmax(&x, 0);
    let lse = at.t.graph.log_sum_exp(&x, 0);
    at.give(0, y);
    at.give(1, lse);
    Ok(())
}

/// Of each column of x `[N, C]` the softmax over each pseudo-bag as a matrix `[parts, N]`, and the log-sum-exps
/// `[parts, C]`.
fn over_parts(at: &mut At, x: &str, columns: u32, parts: &Parts) -> (Vec<Name>, Name) {
    let all = at.range(&parts.count);
    let column = at.reshape(&all, &[-1, 1]);
    let row = at.reshape(&parts.part, &[1, -1]);
    let member = at.op("Equal", &[&column, &row]);
    // Finite, so that nothing becomes NaN; e to that is 0.
    let never = at.number(-1e30);
    let (mut weights, mut logs) = (Vec::new(), Vec::new());
    for c in 0..columns {
        let one = at.slice(x, 1, i64::from(c), i64::from(c) + 1);
        let turned = at.transpose(&one, &[1, 0]);
        let masked = at.op("Where", &[&member, &turned, &never]);
        weights.push(at.softmax(&masked, 1));
        logs.push(at.log_sum_exp(&masked, 1));
    }
    let logs: Vec<&str> = logs.iter().map(String::as_str).collect();
    let logs = at.concat(&logs, 1);
    (weights, logs)
}

pub fn log_sum_exp(at: &mut At, _: &SegmentLogSumExp) -> Done {
    let x = at.x(0)?;
    let lse = at.t.graph.log_sum_exp(&x, 0);
    at.give(0, lse);
    Ok(())
}

pub fn bag_softmax(at: &mut At, _: &BagSoftmax) -> Done {
    let (x, lse) = (at.x(0)?, at.x(1)?);
    let below = at.op("Sub", &[&x, &lse]);
    let y = at.op("Exp", &[&below]);
    at.give(0, y);
    Ok(())
}

pub fn broadcast(at: &mut At, _: &BagBroadcast) -> Done {
    let (x, cols) = (at.x(0)?, i64::from(at.cols(0)));
    let (count, cols) = (at.instances(), at.whole(&[cols]));
    let shape = at.concat(&[&count, &cols], 0);
    let y = at.op("Expand", &[&x, &shape]);
    at.give(0, y);
    Ok(())
}

pub fn weighted_sum(at: &mut At, of: &WeightedSum) -> Done {
    let (x, weights) = (at.x(0)?, at.x(1)?);
    let mut sum = at.gemm((&weights, true), (&x, false), None);
    if of.mean {
        let count = count(at);
        sum = at.op("Div", &[&sum, &count]);
    }
    at.give(0, sum);
    Ok(())
}

pub fn bag_dot(at: &mut At, _: &BagDot) -> Done {
    let (x, row) = (at.x(0)?, at.x(1)?);
    let y = at.gemm((&x, false), (&row, true), None);
    at.give(0, y);
    Ok(())
}

pub fn sharp(at: &mut At, _: &SharpLogMeanExp) -> Done {
    let (x, sharpness) = (at.x(0)?, at.x(1)?);
    let sharp = at.op("Mul", &[&x, &sharpness]);
    let log_sum = at.t.graph.log_sum_exp(&sharp, 0);
    let y = less_log_count(at, &log_sum);
    at.give(0, y);
    Ok(())
}

/// (mean of q^r)^(1/r) by its logarithm: around the mean of ln q where powers stay small, else below the largest.
pub fn generalised_mean(at: &mut At, _: &GeneralisedMean) -> Done {
    const CENTRED: f32 = 5.0;
    let (x, power) = (at.x(0)?, at.x(1)?);
    let log = at.log_sigmoid(&x);
    let mean = at.reduce("ReduceMean", &log, 0);
    let [high, low] = ["ReduceMax", "ReduceMin"].map(|op| at.reduce(op, &log, 0));
    let (above, under) = (at.op("Sub", &[&high, &mean]), at.op("Sub", &[&mean, &low]));
    let spread = at.op("Max", &[&above, &under]);
    let reach = at.op("Mul", &[&power, &spread]);
    let branch = |at: &mut At, from: &str, centred: bool| {
        let apart = at.op("Sub", &[&log, from]);
        let scaled = at.op("Mul", &[&power, &apart]);
        let terms = if centred { at.exp_m1(&scaled) } else { at.op("Exp", &[&scaled]) };
        let terms = at.reduce("ReduceMean", &terms, 0);
        let terms = if centred { at.ln_1p(&terms) } else { at.op("Log", &[&terms]) };
        let part = at.op("Div", &[&terms, &power]);
        at.op("Add", &[from, &part])
    };
    let (near, far) = (branch(at, &mean, true), branch(at, &high, false));
    let limit = at.number(CENTRED);
    let is_near = at.op("LessOrEqual", &[&reach, &limit]);
    let y = at.op("Where", &[&is_near, &near, &far]);
    at.give(0, y);
    Ok(())
}

/// The mean of q weighted by q^r.
pub fn power_mean(at: &mut At, _: &PowerMean) -> Done {
    let (x, power) = (at.x(0)?, at.x(1)?);
    let log = at.log_sigmoid(&x);
    let powers = at.op("Mul", &[&log, &power]);
    let weights = at.t.graph.softmax(&powers, 0);
    let q = at.op("Sigmoid", &[&x]);
    let parts = at.op("Mul", &[&weights, &q]);
    let y = at.reduce("ReduceSum", &parts, 0);
    at.give(0, y);
    Ok(())
}

pub fn attention_pool(at: &mut At, of: &AttentionPool) -> Done {
    let (pre, h, w, b) = (at.x(0)?, at.x(1)?, at.x(2)?, at.x(3)?);
    let (inner, hidden, heads) = (i64::from(at.cols(2)), at.cols(1), at.cols(3));
    let inside = if of.gated { at.slice(&pre, 1, 0, inner) } else { pre.clone() };
    let mut u = at.op("Tanh", &[&inside]);
    if of.gated {
        let gate = at.slice(&pre, 1, inner, 2 * inner);
        let gate = at.op("Sigmoid", &[&gate]);
        u = at.op("Mul", &[&u, &gate]);
    }
    let scores = at.gemm((&u, false), (&w, true), Some(&b));
    at.give(1, scores.clone());
    if at.over_parts() {
        let parts = super::pseudo::parts(at)?;
        let (weights, lse) = over_parts(at, &scores, heads, &parts);
        let pooled: Vec<Name> = weights.iter().map(|w| at.gemm((w, false), (&h, false), None)).collect();
        let pooled: Vec<&str> = pooled.iter().map(String::as_str).collect();
        let z = at.concat(&pooled, 1);
        at.give(0, z);
        at.give(2, lse);
        return Ok(());
    }
    pooled(at, &scores, &h, heads * hidden);
    Ok(())
}

/// The rows of `values` weighted by the softmax of `scores` `[N, K]` over the bag, side by side in one row; outputs 0 and 2.
fn pooled(at: &mut At, scores: &str, values: &str, width: u32) {
    let weights = at.t.graph.softmax(scores, 0);
    let z = at.gemm((&weights, true), (values, false), None);
    let z = at.reshape(&z, &[1, i64::from(width)]);
    let lse = at.t.graph.log_sum_exp(scores, 0);
    at.give(0, z);
    at.give(2, lse);
}

pub fn critical_rows(at: &mut At, _: &CriticalRows) -> Done {
    let (x, critical, width) = (at.x(0)?, at.x(1)?, i64::from(at.out_cols(0)));
    let critical = at.reshape(&critical, &[-1]);
    let rows = at.gather(&x, &critical, 0);
    let y = at.reshape(&rows, &[1, width]);
    at.give(0, y);
    Ok(())
}

pub fn critical_values(at: &mut At, _: &CriticalValues) -> Done {
    let (x, critical) = (at.x(0)?, at.x(1)?);
    let y = at.with("GatherElements", &[&x, &critical], vec![int("axis", 0)]);
    at.give(0, y);
    Ok(())
}

pub fn critical_attention(at: &mut At, _: &CriticalAttention) -> Done {
    let (q, v, keys) = (at.x(0)?, at.x(1)?, at.x(2)?);
    let (inner, width) = (at.cols(0), at.out_cols(0));
    let keys = at.reshape(&keys, &[-1, i64::from(inner)]);
    let scores = at.gemm((&q, false), (&keys, true), None);
    let scores = at.times(&scores, 1.0 / (inner as f32).sqrt());
    at.give(1, scores.clone());
    pooled(at, &scores, &v, width);
    Ok(())
}

/// Sines and cosines of the place of each instance.
pub fn add_positions(at: &mut At, of: &AddPositions) -> Done {
    let (x, cols) = (at.x(0)?, at.cols(0));
    // Places times frequencies are exact enough in f64 alone, as here.
    let ratio = f64::from(crate::kernels::positions::ratio(of.width)) / 4_294_967_296.0;
    let frequencies: Vec<f64> = (0..cols).map(|c| ratio.powi(((of.first + c) / 2) as i32)).collect();
    let frequencies = at.doubles(&[1, i64::from(cols)], &frequencies);
    let count = at.instances();
    let count = at.scalar(&count);
    let places = at.range(&count);
    let places = at.reshape(&places, &[-1, 1]);
    let places = at.cast(&places, element::DOUBLE);
    let angles = at.op("Mul", &[&places, &frequencies]);
    // Whole turns are left out before the digits are: sines of f64 are not in every runtime.
    let turn = at.doubles(&[], &[std::f64::consts::TAU]);
    let turns = at.op("Div", &[&angles, &turn]);
    let turns = at.op("Floor", &[&turns]);
    let whole = at.op("Mul", &[&turns, &turn]);
    let angles = at.op("Sub", &[&angles, &whole]);
    let angles = at.cast(&angles, element::FLOAT);
    let (sine, cosine) = (at.op("Sin", &[&angles]), at.op("Cos", &[&angles]));
    let even: Vec<f32> = (0..cols).map(|c| f32::from((of.first + c).is_multiple_of(2) as u8)).collect();
    let odd: Vec<f32> = even.iter().map(|e| 1.0 - e).collect();
    let [even, odd] = [even, odd].map(|mask| at.numbers(&[1, i64::from(cols)], &mask));
    let (sines, cosines) = (at.op("Mul", &[&sine, &even]), at.op("Mul", &[&cosine, &odd]));
    let encoding = at.op("Add", &[&sines, &cosines]);
    let y = at.op("Add", &[&x, &encoding]);
    at.give(0, y);
    Ok(())
}
