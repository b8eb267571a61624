//! The table of what was said of bags by models that had not seen them.

use super::csv::Csv;
use super::said;
use anyhow::Result;
use bagrad::study::Kind;
use bagrad::study::results::OutOfFold;
use bagrad::target::{Cox, Number};
use bagrad::training::Predictions;
use bagrad::{Bags, Target};

/// A line for each bag, method, division and seed, with the columns that `bagrad predict` has. Of survival in intervals it
/// has the risk alone, as each fit has its own intervals.
///
/// # Errors
/// When a line cannot be written.
pub fn csv(bags: &Bags, all: &[OutOfFold]) -> Result<Vec<u8>> {
    let predictions = together(bags, all);
    let classes = &bags.class_names;
    let mut text = Vec::new();
    {
        let mut csv = Csv::new(&mut text);
        ["bag", "method", "division", "fold", "seed"].iter().try_for_each(|name| csv.cell(name).map(|_| ()))?;
        said::names(&predictions, classes).iter().try_for_each(|name| csv.name(name).map(|_| ()))?;
        csv.end()?;
        for (at, OutOfFold { method, place, said }) in all.iter().enumerate() {
            csv.name(&bags.names[said.bag])?.name(method)?;
            place.iter().try_for_each(|at| csv.cell(at).map(|_| ()))?;
            said::write(&mut csv, said::cells((&predictions, at), (bags, said.bag), classes))?;
            csv.end()?;
        }
    }
    Ok(text)
}

/// All of it as predictions, a bag for each line.
fn together(bags: &Bags, all: &[OutOfFold]) -> Predictions {
    let target = match Kind::of(bags) {
        Kind::Classes => Target::Classes,
        Kind::LabelSets => Target::LabelSets,
        // What a table says of a number or a risk depends on no more than that it is one.
        Kind::Numbers => Target::Number(Number { loss: Default::default(), center: 0.0, scale: 1.0 }),
        Kind::Survival => Target::Cox(Cox::default()),
    };
    Predictions {
        classes: if target.has_classes() { bags.classes() } else { 0 },
        probabilities: all.iter().flat_map(|line| &line.said.probabilities).copied().collect(),
        values: all.iter().filter_map(|line| line.said.value).collect(),
        offsets: (0..=all.len()).collect(),
        target,
        ..Predictions::default()
    }
}
