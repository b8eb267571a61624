//! The optimiser's launches: one for all parameters of a rule, over the flat buffers, then what keeps copies
//! of the parameters.

use super::reduce;
use crate::error::{Error, Result};
use crate::kernels::elementwise::LANES;
use crate::kernels::launch::{BufferKey, Count, Dim, Grid, RuleScalars, SEGMENT, Scalar, Scalars, bits};
use crate::kernels::optim as k;
use crate::planner::{Operand, Planner};
use serde::{Deserialize, Serialize};

/// An update rule with what surrounds it. Learning rates come from the schedule, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Slow copy that the parameters return to, whatever the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookahead: Option<Lookahead>,
    /// Moving average of the parameters, kept beside them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<Average>,
    /// The rule of groups marked `second`, in the same step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<RuleSettings>,
}

/// A rule for a part of the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// The rule.
    pub rule: UpdateRule,
    /// Learning rate, as a multiple of the schedule's.
    pub rate: f32,
    /// Decay strength.
    pub weight_decay: f32,
    /// Decay acts on biases too.
    pub decay_biases: bool,
    /// Largest norm of the gradient of its parameters.
    pub clip_norm: Option<f32>,
}

/// Lookahead (Zhang et al. 2019): every `every` updates a slow copy moves by `alpha` of the way to the
/// parameters, and they continue from there. As in the common implementations, the slow copy is made at
/// the first such update, which therefore changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookahead {
    /// Updates from one synchronisation to the next.
    pub every: u32,
    /// Part of the way.
    pub alpha: f32,
}

/// Exponential moving average of the parameters: mean <- momentum mean + (1 - momentum) parameters, after
/// every update. It starts as the parameters were before the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Average {
    /// Momentum, at the start when it moves.
    pub momentum: f32,
    /// Updates in which the momentum rises to 1 along half a cosine; constant when `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine_over: Option<u64>,
}

impl Average {
    /// 1 - momentum at update `t` (from 1).
    pub fn weight(&self, t: u64) -> f32 {
        // From the f32 nearest to what was written to what was written: 0.9999 has few digits below 1.
        let start = 1.0 - self.momentum.to_string().parse::<f64>().unwrap_or(self.momentum as f64);
        (start * self.cosine_over.map_or(1.0, |total| half_cosine(t - 1, total))) as f32
    }
}

/// From 1 down to 0 along half a cosine, `done` of `total` updates behind; 0 from the last on.
pub(crate) fn half_cosine(done: u64, total: u64) -> f64 {
    match done < total {
        true => 0.5 * (1.0 + (std::f64::consts::PI * done as f64 / total as f64).cos()),
        false => 0.0,
    }
}

/// Update rules.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
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
    /// Rectified Adam (Liu et al. 2020) in the form that ships with TransMIL: decay is applied to the
    /// parameter itself, moments are corrected in the step size alone, and while the variance of the second
    /// moment is intractable the step is that of momentum. That form caches the step size of an iteration and
    /// so gives every group the first group's rate; here each group has its own.
    #[serde(rename = "radam")]
    RAdam {
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

impl UpdateRule {
    fn validate(&self) -> Result<()> {
        let share = |name: &str, value: f32| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(name, format!("expected 0 to below 1, found {value}"))),
        };
        match *self {
            UpdateRule::Adam { beta1, beta2, epsilon }
            | UpdateRule::AdamW { beta1, beta2, epsilon }
            | UpdateRule::RAdam { beta1, beta2, epsilon } => {
                share("beta1", beta1)?;
                share("beta2", beta2)?;
                match epsilon > 0.0 && epsilon.is_finite() {
                    true => Ok(()),
                    false => Err(Error::setting("epsilon", format!("must be above 0, found {epsilon}"))),
                }
            }
            UpdateRule::Nesterov { momentum } => share("momentum", momentum),
        }
    }

    /// Moments and velocities it keeps for each parameter.
    pub fn states(&self) -> u8 {
        match self {
            UpdateRule::Adam { .. } | UpdateRule::AdamW { .. } | UpdateRule::RAdam { .. } => 2,
            UpdateRule::Nesterov { .. } => 1,
        }
    }

    /// The two numbers of update `t` (from 1) that the kernel of the rule takes: 1 - beta^t of both moments
    /// for Adam; the factor of the rate, and whether to divide by the second moment, for RAdam.
    pub fn corrections(&self, t: u64) -> (f32, f32) {
        let left = |beta: f32| 1.0 - (beta as f64).powf(t as f64);
        match *self {
            UpdateRule::Adam { beta1, beta2, .. } | UpdateRule::AdamW { beta1, beta2, .. } => {
                (left(beta1) as f32, left(beta2) as f32)
            }
            UpdateRule::RAdam { beta1, beta2, .. } => {
                let longest = 2.0 / (1.0 - beta2 as f64) - 1.0;
                let length = longest - 2.0 * t as f64 * (1.0 - left(beta2)) / left(beta2);
                if length < 5.0 {
                    return ((1.0 / left(beta1)) as f32, 0.0);
                }
                let of = |r: f64| (r - 4.0) * (r - 2.0) / r;
                let rectification = (left(beta2) * of(length) / of(longest)).sqrt();
                ((rectification / left(beta1)) as f32, 1.0)
            }
            UpdateRule::Nesterov { .. } => (1.0, 1.0),
        }
    }
}

impl Optimiser {
    /// `rule` with this decay, on all parameters or on weight matrices alone.
    pub fn new(rule: UpdateRule, weight_decay: f32, decay_biases: bool) -> Self {
        Self { rule, weight_decay, decay_biases, clip_norm: None, lookahead: None, average: None, second: None }
    }

    /// Adam with PyTorch's defaults.
    pub fn adam(weight_decay: f32) -> Self {
        Self::new(UpdateRule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, weight_decay, true)
    }

    /// AdamW with PyTorch's defaults.
    pub fn adamw(weight_decay: f32) -> Self {
        Self::new(UpdateRule::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, weight_decay, true)
    }

    /// RAdam as TransMIL uses it: no decay on biases.
    pub fn radam(weight_decay: f32) -> Self {
        Self::new(UpdateRule::RAdam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, weight_decay, false)
    }

    /// Keras' SGD with Nesterov momentum and an L2 penalty on weight matrices.
    pub fn nesterov(momentum: f32, weight_decay: f32) -> Self {
        Self::new(UpdateRule::Nesterov { momentum }, weight_decay, false)
    }

    /// The same with Lookahead.
    pub fn with_lookahead(self, every: u32, alpha: f32) -> Self {
        Self { lookahead: Some(Lookahead { every, alpha }), ..self }
    }

    fn first(&self) -> RuleSettings {
        let Self { rule, weight_decay, decay_biases, clip_norm, .. } = *self;
        RuleSettings { rule, rate: 1.0, weight_decay, decay_biases, clip_norm }
    }

    fn moments(&self) -> u8 {
        self.rule.states().max(self.second.map_or(0, |s| s.rule.states()))
    }

    /// Buffers it keeps, each as large as the parameters: moments, slow copy, moving average.
    pub fn states(&self) -> u8 {
        self.moments() + self.lookahead.is_some() as u8 + self.average.is_some() as u8
    }

    /// Number of the buffer of the moving average.
    pub(crate) fn average_state(&self) -> Option<u8> {
        self.average.map(|_| self.states() - 1)
    }

    /// The numbers of update `t` (from 1) at learning rate `rate`.
    pub(crate) fn scalars(&self, t: u64, rate: f64) -> Scalars {
        let of = |settings: RuleSettings| {
            let (correction1, correction2) = settings.rule.corrections(t);
            RuleScalars { learning_rate: (rate * settings.rate as f64) as f32, correction1, correction2 }
        };
        let lookahead = self.lookahead.map_or(0, |l| match t {
            t if !t.is_multiple_of(l.every as u64) => 0,
            t if t == l.every as u64 => 1,
            _ => 2,
        });
        Scalars {
            rules: [of(self.first()), self.second.map_or(RuleScalars::default(), of)],
            step: (t - 1) as u32,
            lookahead,
            average_weight: self.average.map_or(0.0, |a| a.weight(t)),
            ..Default::default()
        }
    }

    /// Refuses numbers out of range.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the number.
    pub fn validate(&self) -> Result<()> {
        for settings in [Some(self.first()), self.second].into_iter().flatten() {
            settings.rule.validate()?;
            if !(settings.weight_decay >= 0.0 && settings.weight_decay.is_finite()) {
                let message = format!("expected 0 or more, found {}", settings.weight_decay);
                return Err(Error::setting("weight_decay", message));
            }
        }
        for limit in [self.clip_norm, self.second.and_then(|s| s.clip_norm)].into_iter().flatten() {
            if !(limit > 0.0 && limit.is_finite()) {
                return Err(Error::setting("clip_norm", format!("must be above 0, found {limit}")));
            }
        }
        if let Some(Lookahead { every, alpha }) = self.lookahead
            && (every == 0 || !(0.0..=1.0).contains(&alpha))
        {
            let message = format!("expected every >= 1 and alpha in 0..1, found {every} and {alpha}");
            return Err(Error::setting("lookahead", message));
        }
        if let Some(Average { momentum, .. }) = self.average
            && !(0.0..=1.0).contains(&momentum)
        {
            return Err(Error::setting("average", format!("momentum must be in 0..1, found {momentum}")));
        }
        match self.second {
            Some(s) if !(s.rate >= 0.0 && s.rate.is_finite()) => {
                Err(Error::setting("second", format!("rate must be at least 0, found {}", s.rate)))
            }
            _ => Ok(()),
        }
    }
}

/// How gradients are clipped.
pub(crate) struct Clip<'a> {
    /// The largest norm of each of the norms in use; 0 for none.
    pub limits: &'a [f32],
    /// Groups have norms of their own.
    pub by_group: bool,
}

/// Clip factors of all norms in use, when any has a limit.
fn clip(p: &mut Planner, Clip { limits, by_group }: Clip, count: u32) -> Option<Operand> {
    let flat = Operand::Flat;
    if limits.iter().all(|l| *l == 0.0) {
        return None;
    }
    let grid = Grid::line(Count::each(Dim::Fixed(1)));
    let factors = p.temp(Dim::Fixed(limits.len() as u32), 1);
    if !by_group {
        let squares = p.temp(Dim::Fixed(1), 1);
        reduce::sum_of_squares(p, flat(BufferKey::Grads), count, squares);
        p.launch(&k::CLIP_FACTOR, &[squares.into(), factors.into()], &[limits[0].into()], grid);
        return Some(factors.into());
    }
    let runs = count / SEGMENT as u32;
    let squares = p.temp(Dim::Fixed(runs), 1);
    let per_run = Grid::line(Count::per(Dim::Fixed(runs), 1, LANES));
    p.launch(&k::RUN_SQUARES, &[flat(BufferKey::Grads), squares.into()], &[runs.into()], per_run);
    for (norm, &limit) in limits.iter().enumerate() {
        let words = [runs.into(), (norm as u32).into(), limit.into()];
        let operands = [squares.into(), flat(BufferKey::Groups), flat(BufferKey::GroupTable), factors.into()];
        p.launch(&k::NORM_FACTOR, &operands, &words, grid);
    }
    Some(factors.into())
}

/// Adds the update of all parameters, whose gradients are complete; `table` is that of the groups.
pub(crate) fn update(p: &mut Planner, optimiser: &Optimiser, count: usize, table: Operand, limits: Clip) {
    let count = count as u32;
    let flat = Operand::Flat;
    let factors = clip(p, limits, count);
    step(p, &optimiser.first(), 0, count, factors, table);
    if let Some(second) = &optimiser.second {
        step(p, second, 1, count, factors, table);
    }
    let grid = Grid::line(Count::per(Dim::Fixed(count), 1, 4 * LANES));
    if let Some(Lookahead { alpha, .. }) = optimiser.lookahead {
        let state = flat(BufferKey::State(optimiser.moments()));
        let operands = [flat(BufferKey::Params), state, flat(BufferKey::Groups), flat(BufferKey::GroupTable)];
        p.launch(&k::LOOKAHEAD, &operands, &[count.into(), Scalar::Lookahead.into(), alpha.into()], grid);
    }
    if let Some(state) = optimiser.average_state() {
        follow(p, count as usize, BufferKey::State(state), Scalar::AverageWeight);
    }
}

/// Moves a copy of the parameters by `weight` of the way to them.
pub(crate) fn follow(p: &mut Planner, count: usize, copy: BufferKey, weight: Scalar) {
    let count = count as u32;
    let operands = [BufferKey::Params, copy].map(Operand::Flat);
    let grid = Grid::line(Count::per(Dim::Fixed(count), 1, 4 * LANES));
    p.launch(&k::AVERAGE, &operands, &[count.into(), weight.into()], grid);
}

/// The launch of one of the two rules. Both may use the same state: no parameter belongs to both.
fn step(p: &mut Planner, settings: &RuleSettings, index: u8, count: u32, factors: Option<Operand>, table: Operand) {
    let flat = Operand::Flat;
    let (params, grads, groups) = (flat(BufferKey::Params), flat(BufferKey::Grads), flat(BufferKey::Groups));
    let (first, second) = (flat(BufferKey::State(0)), flat(BufferKey::State(1)));
    // Without clipping the gradient's own buffer stands in for the factor, unread.
    let factor = factors.unwrap_or(grads);
    let clipped = factors.is_some();
    let flags = bits([(k::CLIPPED, clipped), (k::DECAY_ALL, settings.decay_biases), (k::SECOND, index == 1)]);
    let grid = Grid::line(Count::per(Dim::Fixed(count), 1, 4 * LANES));
    let rate = Scalar::LearningRate(index);
    match settings.rule {
        UpdateRule::Adam { beta1, beta2, epsilon }
        | UpdateRule::AdamW { beta1, beta2, epsilon }
        | UpdateRule::RAdam { beta1, beta2, epsilon } => {
            let decoupled = matches!(settings.rule, UpdateRule::AdamW { .. });
            let words = [
                count.into(),
                (flags | bits([(k::DECOUPLED, decoupled)])).into(),
                rate.into(),
                beta1.into(),
                beta2.into(),
                epsilon.into(),
                settings.weight_decay.into(),
                Scalar::Correction1(index).into(),
                Scalar::Correction2(index).into(),
            ];
            let kernel = if matches!(settings.rule, UpdateRule::RAdam { .. }) { &k::RADAM } else { &k::ADAM };
            p.launch(kernel, &[params, grads, first, second, groups, factor, table], &words, grid);
        }
        UpdateRule::Nesterov { momentum } => {
            let decay = 2.0 * settings.weight_decay;
            let words = [count.into(), flags.into(), rate.into(), momentum.into(), decay.into()];
            p.launch(&k::NESTEROV, &[params, grads, first, groups, factor, table], &words, grid);
        }
    }
}

/// Zeroes the gradients of parameters that nothing wrote to.
pub(crate) fn clear_unused(p: &mut Planner) {
    for (param, count) in p.unwritten_params() {
        super::pointwise::clear(p, Operand::ParamGrad(param), Dim::Fixed(count), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of RAdam by the definition, written out.
    #[test]
    fn rectification() {
        let rule = UpdateRule::RAdam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let (first, divides) = rule.corrections(1);
        assert!((first - 10.0).abs() < 1e-5 && divides == 0.0, "{first}");
        assert_eq!(rule.corrections(5).1, 0.0);
        let (b2, t) = (0.999f32 as f64, 6f64);
        let infinite = 2.0 / (1.0 - b2) - 1.0;
        let rho = infinite - 2.0 * t * b2.powf(t) / (1.0 - b2.powf(t));
        let inside =
            (1.0 - b2.powf(t)) * (rho - 4.0) / (infinite - 4.0) * (rho - 2.0) / rho * infinite / (infinite - 2.0);
        let wanted = inside.sqrt() / (1.0 - (0.9f32 as f64).powf(t));
        let (found, divides) = rule.corrections(6);
        assert!((found as f64 / wanted - 1.0).abs() < 1e-6 && divides == 1.0, "{found} {wanted}");
    }

    #[test]
    fn lookahead_and_average_follow_the_updates() {
        let average = Average { momentum: 0.9999, cosine_over: Some(10) };
        let optimiser = Optimiser { average: Some(average), ..Optimiser::radam(0.0).with_lookahead(6, 0.5) };
        assert_eq!((optimiser.states(), optimiser.average_state()), (4, Some(3)));
        let modes: Vec<u32> = (1..=18).map(|t| optimiser.scalars(t, 1.0).lookahead).collect();
        assert_eq!(modes, [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 2]);
        assert_eq!((average.weight(1), average.weight(6), average.weight(11)), (1e-4, 5e-5, 0.0));
        let text = serde_json::to_string(&optimiser).unwrap();
        assert_eq!(serde_json::from_str::<Optimiser>(&text).unwrap(), optimiser);
    }
}
