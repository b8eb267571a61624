//! Evidential learning (Sensoy, Kaplan, Kandemir 2018; Deng and others 2023): a row of evidence e >= 0 for each
//! class is a Dirichlet distribution with alpha = 1 + e over the probabilities of the classes.
//!
//! Everything is written for evidence, not for alpha: below 1e-7 alpha - 1 has no digits left. The textbook forms
//! with ln Gamma and digamma are wrong by up to 0.1 in f32 at an evidence of e^10; the forms used here stay within
//! 2e-5 there.

use super::{Locality, Rule, expect};
use crate::error::Result;
use crate::kernels::elementwise::LANES;
use crate::kernels::evidential as k;
use crate::kernels::launch::{Count, Grid, Word};
use crate::planner::{GradTarget, Planner};
use crate::value::{Io, Shape, Storage, Value, ValueId};

/// The evidential loss of each row (MIREL, Liu and Ji 2024), `[R, 1]`: the sum of factor times term over four
/// terms. With S the sum of alpha, p = alpha / S, y the true class as 0 and 1, and t that class:
///
/// 1. the sum of w_k ((y_k - p_k)^2 + p_k (1 - p_k) / (S + 1)), w = trigamma(alpha) or 1 (see `fisher`);
/// 2. -ln of the determinant of the Fisher information;
/// 3. KL(Dir(alpha') || Dir(1)), alpha' being alpha with 1 in place of the true class;
/// 4. -(K / S) ln(e_t + 1e-16).
///
/// Inputs: evidence `[R, K]`, and class indices `[R, 1]` unless `label` names the class of every row. A term whose
/// factor is 0 is not looked at; it may be infinite. One whose factor moves is a node of its own, and a term of the
/// loss ([`crate::objectives::Weight`]).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvidentialLoss {
    /// Squared errors are weighted by trigamma(alpha).
    pub fisher: bool,
    /// The class of all rows.
    pub label: Option<u32>,
    /// Of the four terms.
    pub factors: [f32; 4],
}

fn words(p: &Planner, evidence: ValueId, label: u32, flags: u32, factors: [f32; 4]) -> [Word; 9] {
    let shape = p.value(evidence).shape;
    let log_gamma = k::log_gamma(shape.cols as f64) as f32;
    let [squared, fisher, divergence, red] = factors.map(Word::from);
    let (rows, classes) = (shape.rows.into(), shape.cols.into());
    [rows, classes, label.into(), flags.into(), log_gamma.into(), squared, fisher, divergence, red]
}

fn grid(p: &Planner, evidence: ValueId) -> Grid {
    Grid::line(Count::per(p.rows(evidence), 1, LANES))
}

impl EvidentialLoss {
    /// Evidence, and labels (evidence again where there are none: bound, not read).
    fn operands(p: &mut Planner, node: Io) -> [ValueId; 2] {
        let evidence = p.dense(node.inputs[0]);
        [evidence, node.inputs.get(1).copied().unwrap_or(evidence)]
    }

    fn words(&self, p: &Planner, evidence: ValueId, accumulate: bool) -> [Word; 9] {
        let flags = (self.fisher as u32 * k::FISHER) | (accumulate as u32 * k::ACCUMULATE);
        words(p, evidence, self.label.unwrap_or(u32::MAX), flags, self.factors)
    }
}

impl Rule for EvidentialLoss {
    fn name(&self) -> &'static str {
        "evidential loss"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn constants(&self) -> &'static [usize] {
        &[1]
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let given = self.label.is_none();
        let ok = inputs.len() == 1 + given as usize
            && inputs[0].shape.cols >= 2
            && self.label.is_none_or(|l| l < inputs[0].shape.cols)
            && inputs
                .get(1)
                .is_none_or(|l| l.storage == Storage::U32 && l.shape == Shape::new(inputs[0].shape.rows, 1));
        let expected = "evidence [R, K] with K of 2 or more, and class indices [R, 1] or a label below K";
        expect(ok, self.name(), expected, inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, 1), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let [evidence, labels] = Self::operands(p, node);
        let operands = [evidence.into(), labels.into(), node.outputs[0].into()];
        p.launch(&k::EVIDENTIAL_LOSS, &operands, &self.words(p, evidence, false), grid(p, evidence));
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let [evidence, labels] = Self::operands(p, node);
        let Some(GradTarget { to, accumulate }) = p.grad(node.inputs[0]) else { return };
        let operands = [evidence.into(), labels.into(), g.into(), to];
        p.launch(&k::EVIDENTIAL_GRAD, &operands, &self.words(p, evidence, accumulate), grid(p, evidence));
    }
}

/// How uncertain each row of evidence `[R, K]` is, `[R, 3]`, without a gradient: the vacuity K / S, the differential
/// entropy of the Dirichlet distribution, and the mutual information of class and distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DirichletUncertainty;

impl Rule for DirichletUncertainty {
    fn name(&self) -> &'static str {
        "uncertainty of evidence"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn passes_gradient(&self) -> bool {
        false
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        let ok = inputs.len() == 1 && inputs[0].shape.cols >= 2;
        expect(ok, self.name(), "evidence [R, K] with K of 2 or more", inputs)?;
        Ok(vec![(Shape::new(inputs[0].shape.rows, 3), Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let evidence = p.dense(node.inputs[0]);
        let operands = [evidence.into(), node.outputs[0].into()];
        p.launch(&k::DIRICHLET_UNCERTAINTY, &operands, &words(p, evidence, u32::MAX, 0, [0.0; 4]), grid(p, evidence));
    }
    fn backward(&self, _: &mut Planner, _: Io) {}
}
