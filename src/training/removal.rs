//! What bags lose with the instances that a map points at.

use super::predict;
use crate::bag::{Bags, Features};
use crate::error::{Error, Result};
use crate::methods::{BAG_LOGITS, SCORES};
use crate::metrics::{aopc, descending};
use crate::random::Random;
use crate::session::Session;
use crate::tape::{Columns, Link};
use crate::target::Target;

/// Random orders that a map has to be better than.
const ORDERS: u64 = 3;

/// AOPCR of each of the bags `indices` (Early and others 2024): what the logit of the predicted class loses when the
/// instances that score highest for that class are taken away ([`aopc`]), less the mean of what it loses in three random
/// orders, drawn by `seed`. Above 0: what the scores point at made the prediction.
///
/// Bags get shorter, and a model that looks at places sees those of the shorter bag.
///
/// # Errors
/// As [`predict`](super::predict()), and for bags that have any subset of the classes.
pub fn aopcr(session: &mut Session, bags: &Bags, indices: &[usize], seed: u64) -> Result<Vec<f64>> {
    if *session.learns() != Target::Classes {
        let message = "what is removed is for one predicted class, which this model does not tell";
        return Err(Error::setting("bags", message));
    }
    indices.iter().map(|&bag| of_bag(session, bags, bag, seed)).collect()
}

fn of_bag(session: &mut Session, bags: &Bags, bag: usize, seed: u64) -> Result<f64> {
    let found = predict(session, bags, &[bag], None)?;
    let class = found.class(0);
    let first = found.classes - found.outputs;
    // The column of the class; of one logit a class is for the scores, the other against.
    let map: Vec<f32> = match &found.class_scores {
        Some(all) if class >= first => all.iter().skip(class - first).step_by(found.outputs).copied().collect(),
        _ if session.columns(SCORES) == Columns::Classes && found.classes == 2 && class == 0 => {
            found.scores.iter().map(|s| -s).collect()
        }
        _ => found.scores.clone(),
    };
    let mut logit = |order: &[usize]| aopc(order, |left| logit_of(session, &rows_of(bags, bag, left)?, class));
    let lost = logit(&descending(&map))?;
    let mut random = 0.0;
    for order in 0..ORDERS {
        random += logit(&Random::new(seed, bag as u64 * ORDERS + order).permutation(map.len()))? / ORDERS as f64;
    }
    Ok(lost - random)
}

/// A bag of some rows of another.
fn rows_of(bags: &Bags, bag: usize, left: &[usize]) -> Result<Bags> {
    let (rows, width) = (bags.rows(bag), bags.width);
    let features = bags.features.slice(rows.start * width..rows.end * width).to_f32();
    let kept = left.iter().flat_map(|&row| &features[row * width..(row + 1) * width]).copied().collect();
    let mut one = Bags::packed(Features::F32(kept), width, &[left.len()])?;
    one.coords = bags.coords.as_ref().map(|all| left.iter().map(|row| all[rows.start + row]).collect());
    one.class_names.clone_from(&bags.class_names);
    Ok(one)
}

/// How far the one bag of `bags` is a bag of `class`, before the link.
fn logit_of(session: &mut Session, bags: &Bags, class: usize) -> Result<f64> {
    let outputs = session.outputs(bags, &[0], None)?;
    let logits = outputs.get(BAG_LOGITS).ok_or_else(|| Error::setting("model", "says nothing of bags"))?;
    let first = session.model_classes() - logits.len();
    Ok(f64::from(match (session.link(), class.checked_sub(first)) {
        (Some(Link::Sigmoid), _) => logits[0] * if class == 0 { -1.0 } else { 1.0 },
        (_, Some(column)) => logits[column],
        // The first class is where all others are low.
        (_, None) => -logits.iter().fold(f32::NEG_INFINITY, |m, l| m.max(*l)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::methods::Method;
    use crate::model::{Model, Spec};
    use crate::tape::Storage;
    use serde_json::json;

    /// A model whose logit is the mean of the first feature: what scores point at is what it is made of.
    #[test]
    fn what_makes_the_logit_is_missed() {
        let settings = json!({ "embed": [], "pool": "instance", "positions": false, "dropout": 0.0 });
        let method = Method::named("millet").unwrap().with(settings.as_object().unwrap()).unwrap();
        let mut model = Model::new(Spec::new(method, 2, 2), 1).unwrap();
        model.set_parameter("head.weight", &[1.0, 0.0]).unwrap();
        model.set_parameter("head.bias", &[0.0]).unwrap();
        // Two of twenty rows speak for the second class in the first bag, against it in the second.
        let value = |bag: usize, row: usize| if row % 10 == 3 { [10.0, -10.0][bag] } else { 0.0 };
        let features = (0..2).flat_map(|bag| (0..20).flat_map(move |row| [value(bag, row), 5.0])).collect();
        let bags = Bags::packed(Features::F32(features), 2, &[20, 20]).unwrap();
        let mut session = Session::new(&Device::host(), model, Storage::F32).unwrap();
        let found = aopcr(&mut session, &bags, &[0, 1], 72).unwrap();
        // The logit of the predicted class is 1, and 10 / 19 after the first removal, then 0: by hand.
        let lost = (1.0 - 10.0 / 19.0 + 9.0) / 11.0;
        let mut random = [0.0; 2];
        for bag in 0..2 {
            for order in 0..3 {
                let order = Random::new(72, bag as u64 * 3 + order).permutation(20);
                for removal in 1..=10 {
                    let keys = order[removal..].iter().filter(|r| **r % 10 == 3).count();
                    random[bag] += (1.0 - 10.0 * keys as f64 / (20 - removal) as f64) / 33.0;
                }
            }
            assert!((found[bag] - (lost - random[bag])).abs() < 1e-5, "bag {bag}: {}", found[bag]);
        }
    }
}
