//! The optimiser's launches: one for all parameters, over the flat buffers.

use super::reduce;
use crate::kernels::elementwise::{FILL, LANES};
use crate::kernels::launch::{BufferKey, Count, Dim, Grid, Scalar};
use crate::kernels::optim as k;
use crate::plan::{Operand, Planner};
use serde::{Deserialize, Serialize};

/// An update rule. Learning rates come from the schedule, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Optimiser {
    /// The rule.
    pub rule: UpdateRule,
    /// Decay strength; what it means is the rule's affair.
    pub weight_decay: f32,
    /// Decay acts on biases too (as PyTorch's optimisers do); else on weight matrices alone (as Keras'
    /// kernel regularisers do).
    pub decay_biases: bool,
    /// Largest global norm of the gradient; larger gradients are scaled down to it.
    pub clip_norm: Option<f32>,
}

/// Update rules.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateRule {
    /// Adam; decay is added to the gradient (coupled L2).
    Adam {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
    },
    /// Adam with decay applied to the parameter itself (Loshchilov and Hutter 2019).
    AdamW {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
    },
    /// SGD with Nesterov momentum in the form of Keras: v <- mu v - lr g; p <- p + mu v - lr g. Decay is
    /// added to the gradient as 2 wd p, the gradient of wd |p|^2.
    Nesterov {
        /// Momentum mu.
        momentum: f32,
    },
}

impl Optimiser {
    /// Adam with PyTorch's defaults.
    pub fn adam(weight_decay: f32) -> Self {
        let rule = UpdateRule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        Self { rule, weight_decay, decay_biases: true, clip_norm: None }
    }

    /// AdamW with PyTorch's defaults.
    pub fn adamw(weight_decay: f32) -> Self {
        let rule = UpdateRule::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        Self { rule, weight_decay, decay_biases: true, clip_norm: None }
    }

    /// Keras' SGD with Nesterov momentum and an L2 penalty on weight matrices.
    pub fn nesterov(momentum: f32, weight_decay: f32) -> Self {
        Self { rule: UpdateRule::Nesterov { momentum }, weight_decay, decay_biases: false, clip_norm: None }
    }

    /// Moments and velocities it keeps for each parameter.
    pub fn states(&self) -> u8 {
        match self.rule {
            UpdateRule::Adam { .. } | UpdateRule::AdamW { .. } => 2,
            UpdateRule::Nesterov { .. } => 1,
        }
    }

    /// 1 - beta^t for both moments at update `t` (from 1); ones where the rule has no moments.
    pub fn corrections(&self, t: u64) -> (f32, f32) {
        match self.rule {
            UpdateRule::Adam { beta1, beta2, .. } | UpdateRule::AdamW { beta1, beta2, .. } => {
                let correction = |beta: f32| (1.0 - (beta as f64).powf(t as f64)) as f32;
                (correction(beta1), correction(beta2))
            }
            UpdateRule::Nesterov { .. } => (1.0, 1.0),
        }
    }
}

/// Adds the update of all parameters, whose gradients are complete.
pub(crate) fn update(p: &mut Planner, optimiser: &Optimiser, count: usize) {
    let count = count as u32;
    let flat = Operand::Flat;
    // Without clipping the gradient's own buffer stands in for the factor, unread.
    let mut factor = flat(BufferKey::Grads);
    if let Some(limit) = optimiser.clip_norm {
        let squares = p.temp(Dim::Fixed(1), 1);
        reduce::sum_of_squares(p, flat(BufferKey::Grads), count, squares);
        let scale = p.temp(Dim::Fixed(1), 1);
        let grid = Grid::line(Count::each(Dim::Fixed(1)));
        p.launch(&k::CLIP_FACTOR, &[squares.into(), scale.into()], &[limit.into()], grid);
        factor = scale.into();
    }
    let clip = optimiser.clip_norm.is_some();
    let flags = clip as u32 | (optimiser.decay_biases as u32) << 1;
    let grid = Grid::line(Count::per(Dim::Fixed(count), 1, 4 * LANES));
    let (params, grads, groups) = (flat(BufferKey::Params), flat(BufferKey::Grads), flat(BufferKey::Groups));
    match optimiser.rule {
        UpdateRule::Adam { beta1, beta2, epsilon } | UpdateRule::AdamW { beta1, beta2, epsilon } => {
            let decoupled = matches!(optimiser.rule, UpdateRule::AdamW { .. });
            let words = [
                count.into(),
                (flags | (decoupled as u32) << 2).into(),
                Scalar::LearningRate.into(),
                beta1.into(),
                beta2.into(),
                epsilon.into(),
                optimiser.weight_decay.into(),
                Scalar::Correction1.into(),
                Scalar::Correction2.into(),
            ];
            let operands = [params, grads, flat(BufferKey::State(0)), flat(BufferKey::State(1)), groups, factor];
            p.launch(&k::ADAM, &operands, &words, grid);
        }
        UpdateRule::Nesterov { momentum } => {
            let words = [
                count.into(),
                flags.into(),
                Scalar::LearningRate.into(),
                momentum.into(),
                (2.0 * optimiser.weight_decay).into(),
            ];
            p.launch(&k::NESTEROV, &[params, grads, flat(BufferKey::State(0)), groups, factor], &words, grid);
        }
    }
}

/// Zeroes the gradients of parameters that nothing wrote to.
pub(crate) fn clear_unused(p: &mut Planner) {
    for param in p.unwritten_params() {
        let count = p.param_len(param);
        let grid = Grid::line(Count::per(Dim::Fixed(count), 1, 4 * LANES));
        p.launch(&FILL, &[Operand::ParamGrad(param)], &[count.into(), 0.0f32.into()], grid);
    }
}
