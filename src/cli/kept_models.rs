//! The models that a study keeps: of each fit, and all of a method in one file.

use super::{names, note};
use anyhow::{Context, Result};
use bagrad::files::{Claim, Kind, write_atomically};
use bagrad::reproduce::Grid;
use bagrad::reproduce::runs::Runs;
use bagrad::study::{Study, ensembles};
use std::path::{Path, PathBuf};

/// The folder of models in that of a study, and the folder of single fits there.
const MODELS: &str = "models";
const FITS: &str = "fits";

/// Runs that keep the model of each fit, in the folder of their study.
///
/// # Errors
/// When the folder cannot be made.
pub fn keeping(runs: Runs, out: &Path) -> Result<Runs> {
    let fits = out.join(MODELS).join(FITS);
    std::fs::create_dir_all(&fits).with_context(|| fits.display().to_string())?;
    runs.with_models(fits)
}

/// Where the fits of each method go, claimed before anything is fitted.
pub struct Places(Vec<(String, PathBuf, Claim)>);

impl Places {
    /// Claims a file for each method that ends with models.
    ///
    /// # Errors
    /// Where something stands that bagrad did not write.
    pub fn claim(grid: &Grid, out: &Path) -> Result<Self> {
        let mut methods: Vec<String> = Vec::new();
        for cell in grid.cells.iter().filter(|cell| cell.ends_with_a_model) {
            if !methods.contains(&cell.row) {
                methods.push(cell.row.clone());
            }
        }
        let stems = names::stems(&methods, &[".safetensors"], &[FITS]);
        let place = |(name, stem): (String, String)| {
            let place = out.join(MODELS).join(stem + ".safetensors");
            let claim = Claim::files(&[(&place, Kind::Model)], true, &[])?;
            Ok((name, place, claim))
        };
        methods.into_iter().zip(stems).map(place).collect::<Result<_>>().map(Self)
    }

    /// Writes them, and removes the files of single fits whose models they have. Fits that are not one model, as there are too
    /// many, are told: they are there by themselves.
    ///
    /// # Errors
    /// Of a file that cannot be written.
    pub fn fill(
        self,
        study: &Study,
        grid: &Grid,
        (runs, seeds, device): (&mut Runs, u64, &str),
        quiet: bool,
    ) -> Result<()> {
        for (name, place, claim) in self.0 {
            match ensembles::of(study, grid, runs, (&name, seeds, device)) {
                Ok((ensemble, names)) => {
                    let file = place.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
                    runs.joined().part_from(&file, &ensemble)?;
                    // Of a single fit it is a model file like others.
                    write_atomically(claim.staged(&place), ensemble.to_bytes())?;
                    claim.commit()?;
                    runs.joined().join(&file, &names, ensemble.members())?;
                }
                Err(error) => note(quiet, format!("{name}: no file has all fits: {error:#}")),
            }
        }
        Ok(())
    }
}
