//! Groups of parameters: which of them learn faster, decay differently, are clipped by themselves, belong to
//! the second update rule, or do not learn at all.

use crate::error::{Error, Result};
use crate::kernels::optim::ROW;
use crate::tape::{SEGMENT, Source, Storage, Tape};
use serde::{Deserialize, Serialize};

/// What holds for some of a model's parameters. Parameters that no group names learn as the optimiser says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Names of parameters, or what comes before a dot in them: `head` stands for `head.weight` and
    /// `head.bias`.
    pub names: Vec<String>,
    /// Learning rate, as a multiple of the optimiser's; 0 freezes the parameters.
    #[serde(default = "one")]
    pub rate: f32,
    /// Decay, as a multiple of the optimiser's.
    #[serde(default = "one")]
    pub decay: f32,
    /// Largest norm of the gradient of this group, which the global norm then leaves out.
    #[serde(default)]
    pub clip_norm: Option<f32>,
    /// Updated by the optimiser's second rule.
    #[serde(default)]
    pub second: bool,
}

fn one() -> f32 {
    1.0
}

impl Group {
    /// A group that changes nothing yet.
    pub fn of<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self {
            names: names.into_iter().map(Into::into).collect(),
            rate: 1.0,
            decay: 1.0,
            clip_norm: None,
            second: false,
        }
    }

    /// Parameters that stay as they are.
    pub fn frozen<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { rate: 0.0, ..Self::of(names) }
    }

    fn covers(&self, name: &str) -> bool {
        self.names.iter().any(|n| {
            name.strip_prefix(n.trim_end_matches('.')).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    fn validate(&self) -> Result<()> {
        for (what, factor) in [("rate", self.rate), ("decay", self.decay)] {
            if !(factor >= 0.0 && factor.is_finite()) {
                let message = format!("group {:?}: {what} must be at least 0, found {factor}", self.names);
                return Err(Error::setting("groups", message));
            }
        }
        match self.clip_norm {
            Some(limit) if !(limit > 0.0 && limit.is_finite()) => {
                let message = format!("group {:?}: clip_norm must be above 0, found {limit}", self.names);
                Err(Error::setting("groups", message))
            }
            _ => Ok(()),
        }
    }
}

/// The groups of a tape's parameters; by default one group of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    /// Groups from number 1 on; number 0 holds what none of them names.
    pub groups: Vec<Group>,
    /// Number of the group of each parameter of the tape; all 0 when empty.
    of: Vec<u32>,
}

/// What of an update a parameter that learns from bags of one class alone has in a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OfClass {
    /// The step has no bag of the class: no gradient, and no update.
    pub left_out: bool,
    /// Factors of the two corrections of the rule, which count the updates of all parameters.
    pub corrections: [f32; 2],
}

impl Groups {
    /// Which norm parameters of group `n` are clipped by: 0 and [`Groups::second_norm`] are those of the
    /// two rules, others those of groups.
    fn norm(&self, n: usize) -> usize {
        match n.checked_sub(1).map(|at| &self.groups[at]) {
            Some(group) if group.clip_norm.is_some() => n,
            Some(group) if group.second => self.second_norm(),
            _ => 0,
        }
    }

    /// The row of what no rule updates: one more than there are groups, with the rate 0. It holds zeros.
    fn untrained(&self) -> u32 {
        self.groups.len() as u32 + 1
    }

    fn second_norm(&self) -> usize {
        self.groups.len() + 1
    }

    /// Norms that gradients may be clipped by, used or not; also the rows of groups in the table.
    pub fn norms(&self) -> usize {
        self.groups.len() + 2
    }

    /// True when one norm over all parameters is not enough.
    pub fn several_norms(&self) -> bool {
        self.groups.iter().any(|g| g.clip_norm.is_some() || g.second)
    }

    /// The largest norm of each number; 0 for no limit.
    pub fn limits(&self, first: Option<f32>, second: Option<f32>) -> Vec<f32> {
        let own = self.groups.iter().map(|g| g.clip_norm);
        std::iter::once(first).chain(own).chain([second]).map(|limit| limit.unwrap_or(0.0)).collect()
    }

    /// Group number `n`; number 0 is what no group names.
    fn group(&self, n: usize) -> Option<&Group> {
        n.checked_sub(1).map(|at| &self.groups[at])
    }

    /// The row of group `n` in the table that update kernels read: the bits of its two factors, then the norm it is
    /// clipped by, 1 for the second rule, the bits of two factors of corrections, 1 where it has no part in the step.
    fn row(&self, n: usize, of: OfClass) -> [u32; ROW] {
        let (rate, decay, second) = self.group(n).map_or((1.0, 1.0, false), |g| (g.rate, g.decay, g.second));
        let [first, last] = of.corrections.map(f32::to_bits);
        [rate.to_bits(), decay.to_bits(), self.norm(n) as u32, second as u32, first, last, of.left_out as u32, 0]
    }

    fn of(&self, param: usize) -> u32 {
        self.of.get(param).copied().unwrap_or(0)
    }
}

impl Tape {
    /// Puts parameters into groups, in place of what was set before. Frozen parameters, and values that
    /// only depend on those, get no gradient in programs planned from now on.
    ///
    /// # Errors
    /// [`Error::Setting`] for numbers out of range, a name that fits no parameter, a parameter in two groups,
    /// or parts of one stored matrix in different groups.
    pub fn set_groups(&mut self, groups: &[Group]) -> Result<()> {
        let names = |param: &crate::tape::Param| -> Vec<String> {
            match param.parts.is_empty() {
                true => vec![param.name.clone()],
                false => param.parts.iter().map(|(name, _)| name.clone()).collect(),
            }
        };
        // A group may be named by what stands before a dot, and buffers stand there too: they stay out of it.
        for group in groups {
            group.validate()?;
            for name in &group.names {
                let alone = Group::of([name]);
                if !self.params.iter().flat_map(names).any(|p| alone.covers(&p)) {
                    let known: Vec<String> = self.params.iter().flat_map(names).collect();
                    let message = format!("no parameter is called {name:?}; there are: {}", known.join(", "));
                    return Err(Error::setting("groups", message));
                }
            }
        }
        let mut of = Vec::with_capacity(self.params.len());
        for param in &self.params {
            let mut found = Vec::new();
            for name in names(param) {
                let fitting: Vec<usize> = (0..groups.len()).filter(|&g| groups[g].covers(&name)).collect();
                if fitting.len() > 1 {
                    return Err(Error::setting("groups", format!("{name} is in {} groups", fitting.len())));
                }
                found.push(fitting.first().map_or(0, |g| *g as u32 + 1));
            }
            if found.iter().any(|g| *g != found[0]) {
                let message = format!("{} are stored together and must be in one group", names(param).join(" and "));
                return Err(Error::setting("groups", message));
            }
            of.push(found[0]);
        }
        self.groups = Groups { groups: groups.to_vec(), of };
        self.mark_gradients();
        Ok(())
    }

    fn frozen(&self, param: usize) -> bool {
        self.is_buffer(param)
            || self.groups.of(param).checked_sub(1).is_some_and(|g| self.groups.groups[g as usize].rate == 0.0)
    }

    /// Decides anew which values want a gradient: as recorded, were frozen parameters constants.
    fn mark_gradients(&mut self) {
        for at in 0..self.values.len() {
            if let Source::Param(param) = self.values[at].source {
                self.values[at].needs_grad = !self.frozen(param as usize);
            }
        }
        for node in &self.nodes {
            let wanted =
                node.op.rule().passes_gradient() && node.inputs.iter().any(|i| self.values[i.index()].needs_grad);
            for output in &node.outputs {
                let value = &mut self.values[output.index()];
                value.needs_grad = wanted && value.storage == Storage::F32;
            }
        }
    }

    /// Group and class of the parameters that learn from bags of one class alone, each pair once: what the rows behind
    /// those of the groups are for.
    fn class_rows(&self) -> Vec<(u32, u32)> {
        let learn = self.sources().iter().map(|&(param, class)| (self.groups.of(param as usize), class));
        let mut rows: Vec<(u32, u32)> = learn.collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// The table that update kernels read: a row of eight words for each group, one of zeros for what no rule updates, and
    /// one for each group of parameters that learn from bags of one class, of which `of` tells by the class, and by
    /// whether the second rule updates them.
    pub fn group_table(&self, of: impl Fn(u32, bool) -> OfClass) -> Vec<u32> {
        let plain = OfClass { left_out: false, corrections: [1.0; 2] };
        let groups = (0..=self.groups.groups.len()).map(|n| self.groups.row(n, plain));
        let second = |group: u32| self.groups.group(group as usize).is_some_and(|g| g.second);
        let classes = self.class_rows().into_iter();
        let classes = classes.map(|(group, class)| self.groups.row(group as usize, of(class, second(group))));
        groups.chain([[0; ROW]]).chain(classes).flatten().collect()
    }

    /// The table of a step that every parameter has a part in.
    pub fn whole_group_table(&self) -> Vec<u32> {
        self.group_table(|_, _| OfClass { left_out: false, corrections: [1.0; 2] })
    }

    /// Words of the table.
    pub(crate) fn group_table_len(&self) -> usize {
        (self.groups.norms() + self.class_rows().len()) * ROW
    }

    /// For each run of 64 values of the flat layout: the number of its row in the table times two, plus one where weight
    /// decay acts.
    pub fn group_runs(&self) -> Vec<u32> {
        let layout = self.param_layout();
        let mut runs = vec![0; layout.total / SEGMENT];
        let rows = self.class_rows();
        for (n, (param, start)) in self.params.iter().zip(&layout.offsets).enumerate() {
            let count = param.rows as usize * param.cols as usize;
            let group = self.groups.of(n);
            let row = match self.sources().iter().find(|(param, _)| *param as usize == n) {
                _ if self.is_buffer(n) => self.groups.untrained(),
                None => group,
                Some((_, class)) => {
                    let at = rows.binary_search(&(group, *class)).expect("its pair is among the rows");
                    self.groups.norms() as u32 + at as u32
                }
            };
            runs[start / SEGMENT..(start + count).div_ceil(SEGMENT)].fill(row << 1 | param.decays as u32);
        }
        runs
    }
}
