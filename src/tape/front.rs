//! The frozen front of a tape: what is computed of features and of constants alone, the same in every step.
//!
//! A method says where it ends ([`Tape::freeze_front`]). The tape is cut there: one computes the front, whose
//! rows are then the features of the other, which is what trains.

use super::{Source, Storage, Tape, ValueId, feature_stride};
use crate::kernels::launch::Input;
use crate::ops::Locality;

/// The output of the front's tape.
pub const FRONT: &str = "front";

/// A tape in two.
#[derive(Clone, Debug)]
pub struct Cut {
    /// From features to the end of the front, which is its one output.
    pub front: Tape,
    /// From there on, by features of `width` columns in f32. Its parameters are those of the whole tape.
    pub rest: Tape,
    /// Columns of the front's end.
    pub width: usize,
}

/// Cuts a tape behind its frozen front; `None` where it has none, or something behind it reads the features too.
pub fn cut(tape: &Tape) -> Option<Cut> {
    let end = tape.front()?;
    let nodes = ancestors(tape, end)?;
    let (mut front, mut rest) = (tape.clone(), tape.clone());
    (front.loss, front.objectives, front.outputs) = Default::default();
    front.nodes = tape.nodes.iter().zip(&nodes).filter(|(_, of_front)| **of_front).map(|(n, _)| n.clone()).collect();
    rest.nodes = tape.nodes.iter().zip(&nodes).filter(|(_, of_front)| !**of_front).map(|(n, _)| n.clone()).collect();
    // What only the front has must not be read behind it.
    let gone = |v: ValueId| {
        v != end
            && (tape.values[v.index()].source == Source::Input(Input::Features)
                || front.nodes.iter().any(|n| n.outputs.contains(&v)))
    };
    let read = rest.nodes.iter().flat_map(|n| &n.inputs).chain(rest.outputs.iter().map(|o| &o.value));
    if read.copied().any(gone) {
        return None;
    }
    front.output(FRONT, end);
    let width = tape.cols(end) as usize;
    rest.take_for_features(end, feature_stride(width) as u32);
    Some(Cut { front, rest, width })
}

/// Which nodes lead to `end`; `None` where one of them looks beyond its row, or at anything but features and constants.
pub(super) fn ancestors(tape: &Tape, end: ValueId) -> Option<Vec<bool>> {
    let value = tape.values[end.index()];
    if value.needs_grad || value.storage != Storage::F32 || value.source != Source::Node {
        return None;
    }
    let mut wanted = vec![false; tape.values.len()];
    wanted[end.index()] = true;
    let mut of_front = vec![false; tape.nodes.len()];
    for (n, node) in tape.nodes.iter().enumerate().rev() {
        if !node.outputs.iter().any(|o| wanted[o.index()]) {
            continue;
        }
        of_front[n] = true;
        node.inputs.iter().for_each(|i| wanted[i.index()] = true);
        let constant = |v: &ValueId| match tape.values[v.index()].source {
            Source::Input(input) => input == Input::Features,
            Source::Param(number) => tape.is_buffer(number as usize),
            Source::Node => true,
            Source::Kept(_) => false,
        };
        if node.op.rule().locality() != Locality::Row || !node.inputs.iter().all(constant) {
            return None;
        }
    }
    Some(of_front)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::{Extreme, GatedAttention, Method};
    use crate::ops::pointwise::{Activate, Activation};

    fn tape(instance_grads: bool) -> Tape {
        let method = Method::from(Extreme { projection: 6, ..Extreme::default() });
        method.record(9, 3, Storage::F16, instance_grads).unwrap()
    }

    #[test]
    fn a_front_is_cut_off() {
        let whole = tape(false);
        let Cut { front, rest, width } = cut(&whole).unwrap();
        assert_eq!((width, front.nodes.len(), rest.nodes.len() + 1), (6, 1, whole.nodes.len()));
        let features: Vec<_> = rest.values.iter().filter(|v| v.source == Source::Input(Input::Features)).collect();
        assert!(matches!(features[..], [v] if v.shape.cols == 6 && v.stride == 8 && v.storage == Storage::F32));
        assert_eq!(front.outputs.len(), 1);
        assert_eq!(rest.outputs.len(), whole.outputs.len());
    }

    #[test]
    fn what_is_no_front_is_none() {
        // Wanted gradients of features lead through it.
        assert!(cut(&tape(true)).is_none());
        let other = Method::from(GatedAttention::default());
        let other = other.record(9, 3, Storage::F32, false).unwrap();
        assert!(cut(&other).is_none());
        // Something else that reads the features.
        let mut reading = tape(false);
        let features = reading.values.iter().position(|v| v.source == Source::Input(Input::Features)).unwrap();
        let read = reading.push1(Activate(Activation::Tanh), &[ValueId(features as u32)]).unwrap();
        reading.output("read", read);
        assert!(cut(&reading).is_none());
        // A front is of features and constants, of rows that stand alone, and not random.
        let mut refused = tape(false);
        let logits = refused.output_named("bag_logits").unwrap();
        assert!(refused.freeze_front(logits).unwrap_err().to_string().contains("constants alone"));
        refused.next_random_site();
        let end = refused.front().unwrap();
        assert!(refused.freeze_front(end).unwrap_err().to_string().contains("random"));
    }
}
