//! The table of what was said of bags by models that had not seen them.

use super::csv::Csv;
use super::said;
use anyhow::Result;
use bagrad::Bags;
use bagrad::study::predictions_of;
use bagrad::study::results::OutOfFold;
use bagrad::training::Predictions;

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
    Predictions {
        probabilities: all.iter().flat_map(|line| &line.said.probabilities).copied().collect(),
        values: all.iter().filter_map(|line| line.said.value).collect(),
        offsets: (0..=all.len()).collect(),
        ..predictions_of(bags)
    }
}
