//! Operations on rows and single values.

use super::graph::{Name, float, int};
use super::proto::element;
use super::translation::{At, Done};
use crate::ops::dropout::ColumnDropout;
use crate::ops::evidential::DirichletUncertainty;
use crate::ops::matmul::{Linear, Matmul};
use crate::ops::moments::PassMoments;
use crate::ops::norm::{LayerNorm, UnitRows};
use crate::ops::pointwise::{Activate, Activation, AddScaled, Affine, Below, Gelu, Logit, Multiply};
use crate::ops::reduce::{ColumnSum, RowLogSoftmax, RowSoftmax, RowSum};
use crate::ops::routing::Squash;
use crate::ops::rows::{Concat, GatherRows, SliceColumns, SliceRows};
use crate::ops::sharp_pool::DivideBy;
use crate::ops::weighting::{RowScale, ScaleBy};
use crate::random::philox;

/// The first output is the first input.
pub fn same(at: &mut At) -> Done {
    let x = at.x(0)?;
    at.give(0, x);
    Ok(())
}

/// f(x).
pub fn activated(at: &mut At, x: &str, activation: Activation) -> Name {
    match activation {
        Activation::None => x.to_owned(),
        Activation::Relu => at.op("Relu", &[x]),
        Activation::LeakyRelu(slope) => at.leaky_relu(x, slope),
        Activation::Tanh => at.op("Tanh", &[x]),
        Activation::Sigmoid => at.op("Sigmoid", &[x]),
        Activation::Softplus => at.softplus(x),
        Activation::Ln => at.op("Log", &[x]),
        Activation::Exp => at.op("Exp", &[x]),
        Activation::LogSigmoid => at.log_sigmoid(x),
        Activation::Log1mExp => {
            let x = at.at_most(x, -1e-7);
            // ln(1 - e^x) in the form that keeps its digits on either side of -ln 2.
            let less = at.exp_m1(&x);
            let less = at.op("Neg", &[&less]);
            let near = at.op("Log", &[&less]);
            let power = at.op("Exp", &[&x]);
            let power = at.op("Neg", &[&power]);
            let far = at.ln_1p(&power);
            let limit = at.number(-0.693);
            let is_near = at.op("Greater", &[&x, &limit]);
            at.op("Where", &[&is_near, &near, &far])
        }
        Activation::Clamp(limit) => {
            let (low, high) = (at.number(-limit), at.number(limit));
            at.op("Clip", &[x, &low, &high])
        }
        Activation::Sqrt => {
            let x = at.op("Relu", &[x]);
            at.op("Sqrt", &[&x])
        }
    }
}

pub fn activate(at: &mut At, of: &Activate) -> Done {
    let x = at.x(0)?;
    let y = activated(at, &x, of.0);
    at.give(0, y);
    Ok(())
}

pub fn linear(at: &mut At, of: &Linear) -> Done {
    let (x, w) = (at.x(0)?, at.x(1)?);
    let bias = if at.node.inputs.len() > 2 { Some(at.x(2)?) } else { None };
    let y = at.gemm((&x, false), (&w, true), bias.as_deref());
    let y = activated(at, &y, of.activation);
    at.give(0, y);
    Ok(())
}

pub fn matmul(at: &mut At, of: &Matmul) -> Done {
    let (x, y) = (at.x(0)?, at.x(1)?);
    let product = at.gemm((&x, of.a_t), (&y, of.b_t), None);
    at.give(0, product);
    Ok(())
}

pub fn logit(at: &mut At, of: &Logit) -> Done {
    let x = at.x(0)?;
    let (low, high) = (at.number(of.clip), at.number(1.0 - of.clip));
    let q = at.op("Clip", &[&x, &low, &high]);
    let one = at.number(1.0);
    let rest = at.op("Sub", &[&one, &q]);
    let odds = at.op("Div", &[&q, &rest]);
    let log = at.op("Log", &[&odds]);
    at.give(0, log);
    Ok(())
}

pub fn add_scaled(at: &mut At, of: &AddScaled) -> Done {
    let (x, y) = (at.x(0)?, at.x(1)?);
    let x = at.times(&x, of.a);
    let sum = match of.b {
        0.0 => x,
        -1.0 => at.op("Sub", &[&x, &y]),
        b => {
            let y = at.times(&y, b);
            at.op("Add", &[&x, &y])
        }
    };
    at.give(0, sum);
    Ok(())
}

/// A product of two inputs; the second may have one column for all.
fn times(at: &mut At) -> Done {
    let (x, y) = (at.x(0)?, at.x(1)?);
    let product = at.op("Mul", &[&x, &y]);
    at.give(0, product);
    Ok(())
}

pub fn multiply(at: &mut At, _: &Multiply) -> Done {
    times(at)
}

pub fn product(at: &mut At, _: &RowScale) -> Done {
    times(at)
}

pub fn scale_by(at: &mut At, _: &ScaleBy) -> Done {
    times(at)
}

pub fn divide_by(at: &mut At, _: &DivideBy) -> Done {
    let (x, y) = (at.x(0)?, at.x(1)?);
    let ratio = at.op("Div", &[&x, &y]);
    at.give(0, ratio);
    Ok(())
}

pub fn affine(at: &mut At, of: &Affine) -> Done {
    let x = at.x(0)?;
    let x = at.times(&x, of.factor);
    let x = at.plus(&x, of.offset);
    at.give(0, x);
    Ok(())
}

/// x times the share of a standard normal below x; there is no operator for it in this set.
pub fn gelu(at: &mut At, _: &Gelu) -> Done {
    let x = at.x(0)?;
    let scaled = at.times(&x, std::f32::consts::FRAC_1_SQRT_2);
    let erf = at.op("Erf", &[&scaled]);
    let above = at.plus(&erf, 1.0);
    let share = at.times(&above, 0.5);
    let y = at.op("Mul", &[&x, &share]);
    at.give(0, y);
    Ok(())
}

pub fn below(at: &mut At, of: &Below) -> Done {
    let x = at.x(0)?;
    let limit = at.number(of.limit);
    let is = at.op("Less", &[&x, &limit]);
    let y = at.cast(&is, element::FLOAT);
    at.give(0, y);
    Ok(())
}

/// The masks of predictions are drawn by the model's seed, so they are constants of the graph.
pub fn column_dropout(at: &mut At, of: &ColumnDropout) -> Done {
    let (x, cols) = (at.x(0)?, at.cols(0));
    let threshold = (f64::from(of.dropout.rate) * 4_294_967_296.0) as u32;
    let kept = 1.0 / (1.0 - of.dropout.rate);
    let words = (0..cols.div_ceil(4)).flat_map(|block| philox([block, of.dropout.site, 0, 0], [of.seed, 0]));
    let mask = words.take(cols as usize).map(|word| if word < threshold { 0.0 } else { kept });
    let mask: Vec<f32> = mask.collect();
    let mask = at.numbers(&[1, i64::from(cols)], &mask);
    let y = at.op("Mul", &[&x, &mask]);
    at.give(0, y);
    Ok(())
}

/// Welford's recurrence over the passes.
pub fn pass_moments(at: &mut At, of: &PassMoments) -> Done {
    let x = at.x(0)?;
    let q = at.op("Sigmoid", &[&x]);
    if of.number == 1 {
        let none = at.times(&q, 0.0);
        at.give(0, q);
        at.give(1, none);
        return Ok(());
    }
    let (mean, squares) = (at.x(1)?, at.x(2)?);
    let number = of.number as f32;
    let away = at.op("Sub", &[&q, &mean]);
    let share = at.times(&away, 1.0 / number);
    let mean = at.op("Add", &[&mean, &share]);
    let square = at.op("Mul", &[&away, &away]);
    let square = at.times(&square, (number - 1.0) / number);
    let squares = at.op("Add", &[&squares, &square]);
    at.give(0, mean);
    at.give(1, squares);
    Ok(())
}

pub fn row_sum(at: &mut At, _: &RowSum) -> Done {
    let x = at.x(0)?;
    let sum = at.reduce("ReduceSum", &x, 1);
    at.give(0, sum);
    Ok(())
}

pub fn column_sum(at: &mut At, _: &ColumnSum) -> Done {
    let x = at.x(0)?;
    let sum = at.reduce("ReduceSum", &x, 0);
    at.give(0, sum);
    Ok(())
}

pub fn row_softmax(at: &mut At, _: &RowSoftmax) -> Done {
    let x = at.x(0)?;
    let y = at.softmax(&x, 1);
    at.give(0, y);
    Ok(())
}

pub fn row_log_softmax(at: &mut At, _: &RowLogSoftmax) -> Done {
    let x = at.x(0)?;
    let y = at.with("LogSoftmax", &[&x], vec![int("axis", 1)]);
    let lse = at.log_sum_exp(&x, 1);
    at.give(0, y);
    at.give(1, lse);
    Ok(())
}

pub fn gather_rows(at: &mut At, _: &GatherRows) -> Done {
    let (x, index) = (at.x(0)?, at.x(1)?);
    let index = at.reshape(&index, &[-1]);
    let y = at.gather(&x, &index, 0);
    at.give(0, y);
    Ok(())
}

pub fn concat(at: &mut At, _: &Concat) -> Done {
    let (x, y) = (at.x(0)?, at.x(1)?);
    let both = at.t.graph.concat(&[&x, &y], 1);
    at.give(0, both);
    Ok(())
}

pub fn slice_columns(at: &mut At, of: &SliceColumns) -> Done {
    if of.count == 1
        && let Some(column) = at.column(0, of.first)
    {
        at.give(0, column);
        return Ok(());
    }
    let x = at.x(0)?;
    let y = at.slice(&x, 1, i64::from(of.first), i64::from(of.first + of.count));
    at.give(0, y);
    Ok(())
}

pub fn slice_rows(at: &mut At, of: &SliceRows) -> Done {
    let x = at.x(0)?;
    let y = at.slice(&x, 0, i64::from(of.first), i64::from(of.first + of.count));
    at.give(0, y);
    Ok(())
}

/// x |x| / (1 + |x|^2), and its length.
pub fn squash(at: &mut At, _: &Squash) -> Done {
    let x = at.x(0)?;
    let squares = at.op("Mul", &[&x, &x]);
    let square = at.reduce("ReduceSum", &squares, 1);
    let more = at.plus(&square, 1.0);
    let root = at.op("Sqrt", &[&square]);
    let factor = at.op("Div", &[&root, &more]);
    let y = at.op("Mul", &[&x, &factor]);
    let length = at.op("Div", &[&square, &more]);
    at.give(0, y);
    at.give(1, length);
    Ok(())
}

pub fn layer_norm(at: &mut At, of: &LayerNorm) -> Done {
    let (x, gain, bias, cols) = (at.x(0)?, at.x(1)?, at.x(2)?, i64::from(at.cols(0)));
    let [gain, bias] = [gain, bias].map(|row| at.reshape(&row, &[cols]));
    let settings = vec![int("axis", 1), float("epsilon", of.eps)];
    let y = at.with("LayerNormalization", &[&x, &gain, &bias], settings);
    at.give(0, y);
    Ok(())
}

pub fn unit_rows(at: &mut At, of: &UnitRows) -> Done {
    let x = at.x(0)?;
    let squares = at.op("Mul", &[&x, &x]);
    let square = at.reduce("ReduceSum", &squares, 1);
    let length = at.op("Sqrt", &[&square]);
    let least = at.at_least(&length, of.eps);
    let y = at.op("Div", &[&x, &least]);
    at.give(0, y);
    at.give(1, length);
    Ok(())
}

/// Of the uncertainties of evidence the first, K / S, and the last, the mutual information of class and probabilities. The
/// one between, an entropy, no method tells of.
pub fn uncertainty(at: &mut At, _: &DirichletUncertainty) -> Done {
    let (evidence, classes) = (at.x(0)?, at.cols(0) as f32);
    let sum = at.reduce("ReduceSum", &evidence, 1);
    let sum = at.plus(&sum, classes);
    let number = at.number(classes);
    let vacuity = at.op("Div", &[&number, &sum]);
    // The sum of a / S (psi(a + 1) - ln a - psi(S + 1) + ln S): with psi(x + 1) = ln x + 1 / (2 x) - rest(x).
    let alpha = at.plus(&evidence, 1.0);
    let own = beyond_logarithm(at, &alpha);
    let all = beyond_logarithm(at, &sum);
    let apart = at.op("Sub", &[&own, &all]);
    let share = at.op("Div", &[&alpha, &sum]);
    let parts = at.op("Mul", &[&share, &apart]);
    let information = at.reduce("ReduceSum", &parts, 1);
    at.give_columns(0, vec![Some(vacuity), None, Some(information)]);
    Ok(())
}

/// psi(x + 1) - ln x for x of at least 1: 1 / (2 x) - 1 / (12 x^2) + .. for large x; for small x by five steps of
/// psi(x + 1) = psi(x) + 1 / x, whose logarithms are one.
fn beyond_logarithm(at: &mut At, x: &str) -> Name {
    const STEPS: i32 = 5;
    let one = at.number(1.0);
    let series = |at: &mut At, x: &str| {
        let inverse = at.op("Div", &[&one, x]);
        let square = at.op("Mul", &[&inverse, &inverse]);
        // -B_2k / 2k for k = 5 to 1, in Horner's form.
        let terms = [-5.0 / 660.0, 1.0 / 240.0, -1.0 / 252.0, 1.0 / 120.0, -1.0 / 12.0];
        let mut sum = at.times(&square, terms[0]);
        for term in &terms[1..] {
            sum = at.plus(&sum, *term);
            sum = at.op("Mul", &[&sum, &square]);
        }
        let half = at.times(&inverse, 0.5);
        at.op("Add", &[&half, &sum])
    };
    let large = series(at, x);
    let far = at.plus(x, STEPS as f32);
    let mut small = series(at, &far);
    let ratio = at.op("Div", &[&far, x]);
    let log = at.op("Log", &[&ratio]);
    small = at.op("Add", &[&small, &log]);
    for step in 1..=STEPS {
        let next = at.plus(x, step as f32);
        let part = at.op("Div", &[&one, &next]);
        small = at.op("Sub", &[&small, &part]);
    }
    let limit = at.number(8.0);
    let is_large = at.op("Greater", &[x, &limit]);
    at.op("Where", &[&is_large, &large, &small])
}
