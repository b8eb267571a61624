//! How far bags are from those that a model was trained on, by the means of their features.

use bagrad::standardise::{Distance, FarBags};
use serde_json::{Map, Value, json};

/// Columns of a table of bags.
pub const COLUMNS: [&str; 2] = ["distance", "percentile(distance)"];

/// Said of a model whose file has no distances.
pub const NONE: &str = "the model file keeps no distances of its training bags (it was written before there were any, imported, or trained on \
                        fewer than 10 bags): how far these bags are from them is not known";

/// What is to be done about it.
const HINT: &str = "another scanner, stain, encoder or kind of bag? What the model says of them was never tested";

/// What people are told of bags called `names`, if it is something.
pub fn told(far: Option<&FarBags>, names: &[String]) -> Option<String> {
    match far {
        None => Some(NONE.into()),
        Some(far) if far.is_remarkable() => Some(format!("{far}, that of {} ({HINT})", names[far.farthest.0])),
        Some(_) => None,
    }
}

/// The same for programs; null of a model without.
pub fn object(far: Option<&FarBags>, names: &[String]) -> Value {
    far.map_or(Value::Null, |far| {
        json!({
            "far": far.far,
            "bags": far.bags,
            "training_bags": far.training,
            "largest_of_training": far.largest,
            "largest": far.farthest.1.value,
            "farthest": names[far.farthest.0],
            "remarkable": far.is_remarkable(),
        })
    })
}

/// The distance of a bag, for programs.
pub fn of_bag(distance: Option<&Distance>) -> Map<String, Value> {
    let values = distance.map(|d| [d.value, d.percentile]);
    values
        .into_iter()
        .flat_map(|values| COLUMNS.into_iter().zip(values))
        .map(|(k, v)| (k.to_owned(), json!(v)))
        .collect()
}

/// The distance of a slide, for its card.
pub fn of_slide(distance: &Distance) -> Option<String> {
    distance.is_far().then(|| {
        format!(
            "Its features are farther from the training slides' than {:.0} % of these are from each other (distance {:.2}).",
            distance.percentile, distance.value
        )
    })
}
