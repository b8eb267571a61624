//! The terms of what is minimised, and how much each counts when.

use crate::error::{Error, Result};
use crate::ops::pointwise::{AddScaled, AddTerm};
use crate::tape::{Tape, ValueId};

/// Terms whose weights move, at most.
pub const MOVING: usize = 4;

/// How much a term counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weight {
    /// The same throughout.
    Fixed(f32),
    /// Rises from 0 to `to` in even steps: in epoch e (from 0) it is to min(1, (e + begun) / epochs).
    Rises {
        /// Where it ends.
        to: f32,
        /// Epochs until then.
        epochs: u32,
        /// Epochs that count as past when training begins: 1 where a paper counts from one.
        begun: u32,
    },
    /// 0 for some epochs, then `to`.
    After {
        /// Where it ends.
        to: f32,
        /// Epochs before.
        epochs: u32,
    },
}

impl Weight {
    /// The weight in an epoch (from 0); at the end where none is given.
    pub fn at(self, epoch: Option<u32>) -> f32 {
        match (self, epoch) {
            (Weight::Fixed(weight), _) => weight,
            (Weight::Rises { to, .. } | Weight::After { to, .. }, None) => to,
            (Weight::Rises { to, epochs, begun }, Some(epoch)) => {
                let passed = f64::from(epoch) + f64::from(begun);
                (f64::from(to) * (passed / f64::from(epochs.max(1))).min(1.0)) as f32
            }
            (Weight::After { to, epochs }, Some(epoch)) => {
                if epoch < epochs {
                    0.0
                } else {
                    to
                }
            }
        }
    }

    fn moves(self) -> bool {
        !matches!(self, Weight::Fixed(_))
    }
}

/// A term of what is minimised.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// What it is called in reports.
    pub name: String,
    /// A scalar `[1, 1]`.
    pub value: ValueId,
    /// How much it counts.
    pub weight: Weight,
}

impl Tape {
    /// Adds a term to what is minimised. The first one counts once.
    ///
    /// # Errors
    /// [`Error::Setting`] for a name that another term has, a first term with another weight, a weight that is not finite, or more than [`MOVING`] terms
    /// whose weights move.
    pub fn objective(&mut self, name: &str, value: ValueId, weight: Weight) -> Result<()> {
        let refused = |message: String| Err(Error::setting("objective", format!("{name}: {message}")));
        if !weight.at(None).is_finite() {
            return refused(format!("expected a weight that is a number, found {}", weight.at(None)));
        }
        if self.objectives.iter().any(|o| o.name == name) {
            return refused("another term has this name".into());
        }
        let moving = self.objectives.iter().filter(|o| o.weight.moves()).count();
        self.loss = Some(match (self.loss, weight) {
            (None, Weight::Fixed(1.0)) => value,
            (None, _) => return refused("the first term has the weight 1".into()),
            (Some(sum), Weight::Fixed(b)) => self.push1(AddScaled { a: 1.0, b }, &[sum, value])?,
            (Some(_), _) if moving == MOVING => return refused(format!("the weights of {MOVING} terms can move")),
            (Some(sum), _) => self.push1(AddTerm { number: moving as u8 }, &[sum, value])?,
        });
        self.objectives.push(Objective { name: name.to_string(), value, weight });
        Ok(())
    }

    /// The weights of the terms whose weights move, in an epoch (from 0), or at the end.
    pub(crate) fn moving_weights(&self, epoch: Option<u32>) -> [f32; MOVING] {
        let mut weights = [0.0; MOVING];
        let moving = self.objectives.iter().filter(|o| o.weight.moves());
        weights.iter_mut().zip(moving).for_each(|(weight, o)| *weight = o.weight.at(epoch));
        weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_move_by_epochs() {
        let rising = Weight::Rises { to: 2.0, epochs: 4, begun: 0 };
        assert_eq!([0, 1, 2, 4, 9].map(|e| rising.at(Some(e))), [0.0, 0.5, 1.0, 2.0, 2.0]);
        let from_one = Weight::Rises { to: 1.0, epochs: 10, begun: 1 };
        assert_eq!([0, 8, 9, 30].map(|e| from_one.at(Some(e))), [0.1, 0.9, 1.0, 1.0]);
        let after = Weight::After { to: 0.5, epochs: 3 };
        assert_eq!([0, 2, 3].map(|e| after.at(Some(e))), [0.0, 0.0, 0.5]);
        assert_eq!([rising, from_one, after, Weight::Fixed(0.3)].map(|w| w.at(None)), [2.0, 1.0, 0.5, 0.3]);
    }

    #[test]
    fn terms_are_refused_that_cannot_be() {
        let mut tape = Tape::new();
        let one = |tape: &mut Tape| tape.buffer("b", 1, 1.0);
        let value = one(&mut tape);
        let refused = |tape: &mut Tape, weight| tape.objective("t", value, weight).unwrap_err().to_string();
        assert!(refused(&mut tape, Weight::Fixed(2.0)).contains("first term"));
        assert!(refused(&mut tape, Weight::Fixed(f32::NAN)).contains("is a number"));
        let rising = Weight::Rises { to: 1.0, epochs: 2, begun: 0 };
        tape.objective("first", value, Weight::Fixed(1.0)).unwrap();
        (0..MOVING).for_each(|n| tape.objective(&n.to_string(), value, rising).unwrap());
        assert!(refused(&mut tape, rising).contains("4 terms can move"));
        tape.objective("t", value, Weight::Fixed(0.1)).unwrap();
        assert!(refused(&mut tape, Weight::Fixed(0.1)).contains("another term"));
        assert_eq!((tape.objectives.len(), tape.moving_weights(Some(1))), (6, [0.5; MOVING]));
    }
}
