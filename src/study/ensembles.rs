//! The fits of each method of a study as one model.

use super::Study;
use crate::ensemble::{Ensemble, Member};
use crate::reproduce::runs::Runs;
use crate::reproduce::{Cell, Grid};
use anyhow::{Context, Result};

/// The fits of the method called `name`, with what was measured of each on its test bags, and what their models are called
/// among those that are kept. Runs keep models ([`Runs::with_models`]) and are all over.
///
/// # Errors
/// Of a file that cannot be read, and for more fits than an ensemble holds.
pub fn of(
    study: &Study,
    grid: &Grid,
    runs: &mut Runs,
    (name, seeds, device): (&str, u64, &str),
) -> Result<(Ensemble, Vec<String>)> {
    let several = study.folds.repeats() > 1;
    let (mut names, mut told) = (Vec::new(), Vec::new());
    for cell in grid.cells.iter().filter(|cell| cell.row == name) {
        for seed in 1..=seeds {
            let model = runs.model_name(cell, seed, device);
            names.push(model.with_context(|| format!("{name}: its fits keep no models"))?);
            let line = runs.get(cell, seed, device).with_context(|| format!("{name}: a fit is missing"))?;
            let metrics = line.metrics.iter().filter(|(_, value)| value.is_finite());
            let metrics = metrics.map(|(name, value)| (name.clone(), *value)).collect();
            told.push((called(cell, seed, several), metrics));
        }
    }
    let models = runs.joined().models(&names)?;
    let member = |(model, (name, metrics))| Member { model, name, metrics };
    Ok((Ensemble::new(models.into_iter().zip(told).map(member).collect())?, names))
}

/// A fit, in words.
fn called(cell: &Cell, seed: u64, several: bool) -> String {
    match cell.column.split_once(':') {
        Some((division, fold)) if several => format!("division {division}, fold {fold}, seed {seed}"),
        Some((_, fold)) => format!("fold {fold}, seed {seed}"),
        None => format!("{}, seed {seed}", cell.column),
    }
}
