//! What a training step does before its update, as plain data on the tape: forward passes whose values the host reads, and
//! what the host makes of them; and copies of the parameters that follow them.
//!
//! A method without any of it, which is nearly every one, is one submission a step. One with passes waits for the device
//! once for each look.

use crate::masking::Masks;
use crate::ops::update::half_cosine;
use crate::tape::ValueId;

/// Parameters of a forward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parameters {
    /// Those that are trained.
    #[default]
    Trained,
    /// The copy that follows them (see [`Follower`]).
    Follower,
}

/// A forward pass over the whole bags, with dropout of its own where the update has dropout.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// With these parameters.
    pub parameters: Parameters,
    /// What the host reads.
    pub values: Vec<ValueId>,
}

/// A value of a look: the number of the look among those of the step, and of the value in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Number of the look.
    pub look: usize,
    /// Number of the value in it.
    pub value: usize,
}

/// What the host does between looks and the update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HostRule {
    /// Leaves rows out of the bags that the update sees.
    KeepRows {
        /// Which, and how many.
        masks: Masks,
        /// Scores of the instances `[Instances, K]` or of the tokens `[Tokens, K]`, where rows are picked by them.
        scores: Option<Read>,
        /// The columns of the scores are heads that vote, rather than classes of which the largest counts.
        vote: bool,
    },
    /// Makes softmax(row / temperature) of rows of bags `[Bags, C]` the input [`crate::kernels::launch::Input::Given`].
    Soften {
        /// The rows.
        from: Read,
        /// The columns are as many distributions side by side.
        parts: u32,
        /// The temperature.
        temperature: f64,
    },
}

impl HostRule {
    /// True when the objective cannot be computed without it. What changes the bags of an update alone is no part of the
    /// objective.
    pub fn is_of_the_objective(&self) -> bool {
        matches!(self, HostRule::Soften { .. })
    }

    /// What it reads.
    pub fn reads(&self) -> Option<Read> {
        match *self {
            HostRule::KeepRows { scores, .. } => scores,
            HostRule::Soften { from, .. } => Some(from),
        }
    }
}

/// A copy of the parameters that follows them after every update: copy <- momentum copy + (1 - momentum) parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Follower {
    /// The momentum, at the start when it rises.
    pub momentum: f64,
    /// It rises to 1 along half a cosine over the updates of the training.
    pub rises: bool,
}

impl Follower {
    /// Part of the parameters that enters the copy after update `update` (from 0) of `total`; where it is not known how
    /// many there will be, as at the start.
    pub fn weight(&self, update: u64, total: Option<u64>) -> f32 {
        let rises = total.filter(|_| self.rises);
        ((1.0 - self.momentum) * rises.map_or(1.0, |total| half_cosine(update, total))) as f32
    }
}

/// All that a step does besides its update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Passes {
    /// Forward passes, in order.
    pub looks: Vec<Look>,
    /// What the host makes of them, in order.
    pub rules: Vec<HostRule>,
    /// The copy of the parameters, where a look is with one.
    pub follower: Option<Follower>,
}

impl Passes {
    /// True of a step that is its update alone.
    pub fn is_update_alone(&self) -> bool {
        self.looks.is_empty() && self.rules.is_empty() && self.follower.is_none()
    }

    /// A new look at values, and where each of them is read.
    pub fn look(&mut self, parameters: Parameters, values: &[ValueId]) -> Vec<Read> {
        let look = self.looks.len();
        self.looks.push(Look { parameters, values: values.to_vec() });
        (0..values.len()).map(|value| Read { look, value }).collect()
    }

    /// The numbers of the looks that rules which `count` read.
    pub fn looks_of(&self, count: impl Fn(&HostRule) -> bool) -> Vec<usize> {
        let mut looks: Vec<usize> =
            self.rules.iter().filter(|rule| count(rule)).filter_map(|rule| Some(rule.reads()?.look)).collect();
        looks.sort_unstable();
        looks.dedup();
        looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn followers_slow_down_along_half_a_cosine() {
        let rising = Follower { momentum: 0.9999, rises: true };
        assert_eq!((rising.weight(0, Some(100)), rising.weight(50, Some(100))), (1e-4, 5e-5));
        assert_eq!((rising.weight(100, Some(100)), rising.weight(9, None)), (0.0, 1e-4));
        assert_eq!(Follower { rises: false, ..rising }.weight(99, Some(100)), 1e-4);
    }

    #[test]
    fn an_evaluation_looks_at_what_its_objective_needs() {
        let mut passes = Passes::default();
        assert!(passes.is_update_alone());
        let read = passes.look(Parameters::Follower, &[ValueId(3)]);
        let keep = HostRule::KeepRows { masks: Masks::default(), scores: Some(read[0]), vote: false };
        let read = passes.look(Parameters::Trained, &[ValueId(5), ValueId(6)]);
        passes.rules = vec![keep, HostRule::Soften { from: read[1], parts: 1, temperature: 0.5 }];
        assert_eq!(read, [Read { look: 1, value: 0 }, Read { look: 1, value: 1 }]);
        assert_eq!((passes.looks_of(|_| true), passes.looks_of(HostRule::is_of_the_objective)), (vec![0, 1], vec![1]));
    }
}
