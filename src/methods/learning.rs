//! What a network learns of bags: how many outputs that takes, how they are linked to it, and the loss.

use super::checks::classes_alone;
use super::layers::{Activation, Distance, Link, Network, ValueId};
use super::outputs_for;
use crate::error::{Error, Result};
use crate::kernels::launch::Input;
use crate::ops::Op;
use crate::ops::loss::{SigmoidCrossEntropy, Soft, SoftmaxCrossEntropy};
use crate::ops::pointwise::Activate;
use crate::ops::reduce::RowSoftmax;
use crate::ops::survival::{CoxLoss, DiscreteSurvival};
use crate::ops::target_loss::TargetLoss;
use crate::target::{NumberLoss, Target, Ties};

impl Network {
    /// The same for something else to learn than one of the classes.
    pub fn learning(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// The same with softened targets in the losses of bags.
    pub fn softened(mut self, soft: Soft) -> Self {
        self.soft = soft;
        self
    }

    /// True where classes without an order are learnt, one a bag or any subset.
    pub fn learns_classes(&self) -> bool {
        matches!(self.target, Target::Classes | Target::LabelSets)
    }

    /// Refuses targets that are no classes or stand in an order, for methods whose loss knows classes alone; `why` says
    /// what it is.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn only_classes(&self, method: &str, why: &str) -> Result<()> {
        if self.learns_classes() { Ok(()) } else { Err(classes_alone(method, why)) }
    }

    /// True for what [`Network::bag_loss`] gave.
    pub(super) fn is_bag_loss(&self, value: ValueId) -> bool {
        self.bag_losses.contains(&value)
    }

    /// Columns of the logits.
    pub fn outputs(&self) -> u32 {
        match &self.target {
            Target::Classes => outputs_for(self.classes),
            Target::LabelSets => self.classes as u32,
            Target::Ordered => self.classes as u32 - 1,
            Target::Number(_) | Target::Cox(_) => 1,
            Target::Hazards(hazards) => hazards.edges.len() as u32 + 1,
        }
    }

    /// The link of what is learnt, where it is no class.
    fn own_link(&self) -> Option<Link> {
        match &self.target {
            Target::Classes | Target::LabelSets => None,
            Target::Ordered => Some(Link::Ordered),
            Target::Number(_) | Target::Cox(_) => Some(Link::Value),
            Target::Hazards(_) => Some(Link::Hazards),
        }
    }

    /// The link of classes of which a bag has exactly one, or of what else is learnt.
    pub fn one_of_all(&self) -> Link {
        let of_classes = if self.outputs() == 1 { Link::Sigmoid } else { Link::Softmax };
        self.own_link().unwrap_or(of_classes)
    }

    /// The link of classes that know nothing of each other, or of what else is learnt.
    pub fn each_alone(&self) -> Link {
        let of_classes = if self.outputs() == 1 { Link::Sigmoid } else { Link::IndependentSigmoids };
        self.own_link().unwrap_or(of_classes)
    }

    /// The loss of bags with these logits, by what is learnt. Of classes the cross-entropy by the link: softmax over the
    /// classes, or binary of each column against its target, averaged over the columns, with a clamp of the probabilities;
    /// of an order binary too, whether a bag's class is that of the column or a later one; softened where that is asked for
    /// ([`Network::softened`]). Else the loss of the
    /// [`Target`].
    ///
    /// # Errors
    /// [`crate::Error::Shape`] for what does not fit together.
    pub fn bag_loss(&mut self, logits: ValueId, link: Link, clamp: f32) -> Result<ValueId> {
        let loss = match (&self.target, link) {
            (Target::Classes | Target::LabelSets, Link::Softmax) => {
                let weights = self.tape.batch(Input::Weights, 1);
                let labels = self.tape.batch(Input::Labels, 1);
                let op = SoftmaxCrossEntropy { soft: self.soft, scale: 1.0 };
                self.tape.push1(op, &[logits, labels, weights])
            }
            (Target::Classes | Target::LabelSets | Target::Ordered, _) => {
                let [targets, weights] = self.targets(self.tape.cols(logits));
                let op = SigmoidCrossEntropy { clamp, soft: self.soft, scale: 1.0 };
                self.tape.push1(op, &[logits, targets, weights])
            }
            (Target::Number(number), _) => {
                let distance = match number.loss {
                    NumberLoss::Squared => Distance::Squared,
                    NumberLoss::Absolute => Distance::Absolute,
                    NumberLoss::Huber(delta) => Distance::Huber { delta },
                };
                let [targets, weights] = self.targets(1);
                self.tape.push1(TargetLoss { distance, scale: 1.0 }, &[logits, targets, weights])
            }
            (Target::Hazards(hazards), _) => {
                let op = DiscreteSurvival { alpha: hazards.alpha, scale: 1.0 };
                let [intervals, events] = [Input::Labels, Input::Events].map(|input| self.tape.batch(input, 1));
                let weights = self.tape.batch(Input::Weights, 1);
                self.tape.push1(op, &[logits, intervals, events, weights])
            }
            (Target::Cox(cox), _) => {
                let op = CoxLoss { efron: cox.ties == Ties::Efron, scale: 1.0 };
                let [times, events] = [Input::Times, Input::Events].map(|input| self.tape.batch(input, 1));
                self.tape.push1(op, &[logits, times, events])
            }
        }?;
        self.bag_losses.push(loss);
        Ok(loss)
    }

    /// The targets of the bags for losses that take each column by itself, `[B, columns]`, and the weights that they
    /// have in the loss, `[B, 1]`, or `[B, columns]` where what is not known of a bag has the weight 0.
    pub fn targets(&mut self, columns: u32) -> [ValueId; 2] {
        let targets = self.tape.batch(Input::Targets, columns);
        [targets, self.tape.batch(Input::Weights, if self.target.is_label_sets() { columns } else { 1 })]
    }

    /// Logits of the mean of the probabilities of several logits.
    ///
    /// # Errors
    /// [`Error::Setting`] for none.
    pub fn mean_of_probabilities(&mut self, logits: &[ValueId], link: Link) -> Result<ValueId> {
        let op = match link {
            Link::Softmax => Some(Op::from(RowSoftmax)),
            Link::Sigmoid | Link::IndependentSigmoids | Link::Ordered => Some(Activate(Activation::Sigmoid).into()),
            // These are no probabilities: the mean is that of the outputs.
            Link::Value | Link::Hazards => None,
        };
        let mut mean = None;
        for logit in logits {
            let p = match &op {
                Some(op) => self.tape.push1(op, &[*logit])?,
                None => *logit,
            };
            mean = Some(match mean {
                None => p,
                Some(sum) => self.add(sum, p, 1.0, 1.0)?,
            });
        }
        let Some(sum) = mean else { return Err(Error::setting("network", "a mean of no probabilities")) };
        let mean = self.add(sum, sum, 0.5 / logits.len() as f32, 0.5 / logits.len() as f32)?;
        match link {
            Link::Softmax => self.tape.push1(Activate(Activation::Ln), &[mean]),
            Link::Sigmoid | Link::IndependentSigmoids | Link::Ordered => self.logit(mean, 1e-7),
            Link::Value | Link::Hazards => Ok(mean),
        }
    }
}
