//! How much each bag, or each label of a bag, counts in the loss.

use super::settings::ClassWeights;
use crate::bag::Bags;
use crate::error::{Error, Result};
use crate::label_sets::LabelSets;

/// A weight for each class; of several labels a bag for each label, of the bags that have it.
///
/// # Errors
/// [`Error::Bags`] for a label beyond the classes, and balanced weights of a class that no training bag has (of a label,
/// also one that every training bag has).
pub(super) fn of_classes(weights: &ClassWeights, bags: &Bags, training: &[usize], classes: usize) -> Result<Vec<f32>> {
    if let Some(sets) = &bags.label_sets {
        return of_labels(weights, sets, training, &bags.class_names);
    }
    if bags.responses.is_some() {
        return match weights {
            ClassWeights::None => Ok(Vec::new()),
            _ => Err(Error::setting(
                "class_weights",
                "there are no classes to weight: bags have a number or a time each",
            )),
        };
    }
    let mut counts = vec![0usize; classes];
    for &bag in training {
        let label = bags.label(bag).unwrap_or(Bags::UNKNOWN);
        match counts.get_mut(label as usize) {
            Some(count) => *count += 1,
            None => {
                return Err(Error::bags(format!("bag {bag} has label {label}, the model has {classes} classes")));
            }
        }
    }
    Ok(match weights {
        ClassWeights::None => vec![1.0; classes],
        ClassWeights::Given(w) => w.clone(),
        ClassWeights::Balanced => {
            if let Some(class) = counts.iter().position(|&c| c == 0) {
                return Err(Error::bags(format!("balanced class weights: no training bag has class {class}")));
            }
            counts.iter().map(|&c| training.len() as f32 / (classes * c) as f32).collect()
        }
    })
}

fn of_labels(weights: &ClassWeights, sets: &LabelSets, training: &[usize], names: &[String]) -> Result<Vec<f32>> {
    let balanced = |label: usize| match sets.counts(label, training) {
        (has, known) if has == 0 || has == known => Err(Error::bags(format!(
            "balanced class weights: {has} of the {known} training bags of which that is known have label '{}'; expected \
             bags with it and bags without",
            names[label]
        ))),
        (has, known) => Ok((known - has) as f32 / has as f32),
    };
    match weights {
        ClassWeights::None => Ok(vec![1.0; sets.labels()]),
        ClassWeights::Given(w) => Ok(w.clone()),
        ClassWeights::Balanced => (0..sets.labels()).map(balanced).collect(),
    }
}

/// Weights in the mean loss of a batch, as [`crate::session::Session::train_step`] takes them.
///
/// # Errors
/// [`Error::Bags`] for a bag without a class, or with one that has no weight.
pub(super) fn of_batch(bags: &Bags, batch: &[usize], of_classes: &[f32]) -> Result<Vec<f32>> {
    let mean = 1.0 / batch.len() as f32;
    let none = |bag: &usize| Error::bags(format!("bag {bag} has no class that a weight is given for"));
    if bags.responses.is_some() {
        return Ok(vec![mean; batch.len()]);
    }
    let Some(sets) = &bags.label_sets else {
        let of = |bag: &usize| {
            let weight = bags.label(*bag).and_then(|label| of_classes.get(label as usize));
            weight.map(|weight| weight / batch.len() as f32).ok_or_else(|| none(bag))
        };
        return batch.iter().map(of).collect();
    };
    if sets.labels() != of_classes.len() {
        let expected = format!("a weight for each of {} labels", sets.labels());
        return Err(Error::Shape { operation: "class weights", expected, found: of_classes.len().to_string() });
    }
    let weight = |(has, weight): (&Option<bool>, &f32)| match has {
        Some(true) => weight * mean,
        Some(false) => mean,
        None => 0.0,
    };
    Ok(batch.iter().flat_map(|&bag| sets.bag(bag).iter().zip(of_classes).map(weight)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bag::Features;

    #[test]
    fn labels_that_a_bag_has_are_weighted() {
        let (yes, no) = (Some(true), Some(false));
        let sets = LabelSets::new(2, vec![yes, no, no, None, no, yes, no, yes]).unwrap();
        let names = vec!["a".to_string(), "b".into()];
        let bags = Bags::packed(Features::F32(vec![0.0; 4]), 1, &[1; 4]).unwrap();
        let bags = bags.with_label_sets(sets, names).unwrap();
        let all = [0, 1, 2, 3];
        let balanced = of_classes(&ClassWeights::Balanced, &bags, &all, 2).unwrap();
        assert_eq!(balanced, [3.0, 0.5]);
        assert_eq!(of_classes(&ClassWeights::None, &bags, &all, 2).unwrap(), [1.0; 2]);
        // Weights of both signs add up to the same.
        assert_eq!(of_batch(&bags, &[0, 1], &balanced).unwrap(), [1.5, 0.5, 0.5, 0.0]);
        assert_eq!(of_batch(&bags, &[3], &balanced).unwrap(), [1.0, 0.5]);
        assert!(of_batch(&bags, &[3], &[1.0; 3]).unwrap_err().to_string().contains("each of 2 labels"));
        let message = of_classes(&ClassWeights::Balanced, &bags, &[1, 2], 2).unwrap_err().to_string();
        assert!(message.contains("0 of the 2 training bags") && message.contains("label 'a'"), "{message}");
    }
}
