//! What of a method is refused before anything is planned: settings beyond counting, networks that do not end as they say.

use super::layers::Network;
use crate::error::{Error, Result};
use crate::kernels::launch::{Dim, Input};
use crate::tape::{Link, Role, Shape, ValueId};
use crate::value::Source;
use serde_json::Value;

/// Refuses a network whose outputs are not what their roles say, or whose loss is not one number.
pub(super) fn check_network(network: &Network) -> Result<()> {
    let tape = &network.tape;
    let wrong = |what: &str, expected: String, found: Shape| {
        let message = format!("{what}: expected {expected}, found {found}");
        Err(Error::setting("network", message))
    };
    for output in &tape.outputs {
        let shape = tape.values[output.value.0 as usize].shape;
        let classes = network.classes as u32;
        match output.role {
            Role::Logits(link) => {
                let fits = match link {
                    Link::Sigmoid => shape.cols == 1 && classes == 2,
                    Link::Softmax => shape.cols == classes,
                    Link::IndependentSigmoids => shape.cols == classes || shape.cols + 1 == classes,
                    Link::Ordered => shape.cols + 1 == classes,
                    Link::Value => shape.cols == 1 && classes == 0,
                    Link::Hazards => shape.cols == network.outputs() && classes == 0,
                };
                if shape.rows != Dim::Bags || !fits {
                    let expected = format!("a row for each bag, and columns for {classes} classes of link {link:?}");
                    return wrong(&output.name, expected, shape);
                }
            }
            Role::Scores(..) | Role::Attention(_) if shape.rows != Dim::Instances => {
                return wrong(&output.name, "a row for each instance".into(), shape);
            }
            _ => {}
        }
    }
    match tape.loss.map(|loss| tape.values[loss.0 as usize].shape) {
        Some(shape) if shape != Shape::new(Dim::Fixed(1), 1) => wrong("the loss", "one number".into(), shape),
        _ => Ok(()),
    }
}

/// Refuses a network that reads labels of its own for a target that has none: where the target is no class, only the loss
/// that [`Network::bag_loss`] gives knows what bags have. So it is where targets are softened, which that loss alone does.
pub(super) fn check_target(network: &Network, method: &str) -> Result<()> {
    if network.learns_classes() && network.soft.is_plain() {
        return Ok(());
    }
    let tape = &network.tape;
    let of_labels = |value: &ValueId| match tape.values[value.index()].source {
        Source::Input(input) => matches!(
            input,
            Input::Labels
                | Input::Targets
                | Input::Times
                | Input::Events
                | Input::PseudoLabels
                | Input::PseudoTargets
                | Input::PseudoWeights
        ),
        _ => false,
    };
    let own = tape.nodes.iter().find(|node| {
        node.inputs.iter().any(of_labels) && !node.outputs.iter().any(|output| network.is_bag_loss(*output))
    });
    match own {
        None => Ok(()),
        Some(node) => {
            let own = format!("it has a {} of its own beside the loss of the bags", node.op.rule().name());
            network.soft.refuse(&format!("{method} with these settings learns without it: {own}"))?;
            Err(classes_alone(method, &own))
        }
    }
}

/// Says that a method learns classes alone, and why.
pub(super) fn classes_alone(method: &str, why: &str) -> Error {
    let message = format!(
        "{method} with these settings learns classes without an order alone: {why}; `bagrad methods` lists which methods \
         learn what"
    );
    Error::setting("target", message)
}

/// Refuses layers without a column.
pub(super) fn check_widths(setting: &str, widths: &[u32]) -> Result<()> {
    match widths.iter().position(|&width| width == 0) {
        Some(layer) => {
            Err(Error::setting(setting, format!("layer {layer} has width 0; leave it out for fewer layers")))
        }
        None => Ok(()),
    }
}

/// Refuses a number that is none, or below `least`.
pub(super) fn check_least(setting: &str, value: f32, least: f32) -> Result<()> {
    match value.is_finite() && value >= least {
        true => Ok(()),
        false => Err(Error::setting(setting, format!("must be a number and at least {least}, found {value}"))),
    }
}

/// Refuses pictures of `[height, width, channels]` that are not what `features` columns hold.
pub(super) fn check_picture([height, width, channels]: [u32; 3], features: u32) -> Result<()> {
    match [height, width, channels].map(u64::from).iter().product::<u64>() {
        values if values == u64::from(features) => Ok(()),
        values => {
            let message = format!("a picture of {height} x {width} x {channels} has {values} values, not {features}");
            Err(Error::setting("image", message))
        }
    }
}

/// Features of an instance, at most.
pub(super) const MOST_FEATURES: usize = 1 << 24;
/// A size or a number among the settings of a method, at most, so that products of two fit 32 bits.
pub(super) const MOST_OF_A_SETTING: usize = 1 << 16;
/// Entries of a list among the settings, at most.
const MOST_ENTRIES: usize = 256;

/// Refuses a setting so large that sizes made of it could not be counted.
pub(super) fn check_size(name: &str, value: &Value) -> Result<()> {
    let most = MOST_OF_A_SETTING as u64;
    match value {
        Value::Number(n) if n.as_u64().is_some_and(|n| n > most) => {
            Err(Error::setting(name, format!("at most {most} is possible, found {n}")))
        }
        Value::Array(all) if all.len() > MOST_ENTRIES => {
            Err(Error::setting(name, format!("at most {MOST_ENTRIES} entries are possible, found {}", all.len())))
        }
        Value::Array(all) => all.iter().try_for_each(|value| check_size(name, value)),
        Value::Object(all) => all.iter().try_for_each(|(name, value)| check_size(name, value)),
        _ => Ok(()),
    }
}
