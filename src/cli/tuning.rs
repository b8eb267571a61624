//! Where tunings of devices are kept, and which one a command takes.

use super::note;
use anyhow::{Context, Result};
use bagrad::device::Device;
use bagrad::files::{Claim, Kind};
use bagrad::tuning::Tuning;
use std::path::{Path, PathBuf};

/// The file of a device, in the user's folder of caches; `None` where there is no such folder.
pub fn file_of(device: &Device) -> Option<PathBuf> {
    let description = device.description();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let name: String = description.chars().map(plain).collect();
    let name = name.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    Some(dirs::cache_dir()?.join("bagrad").join(format!("tuning-{name}.json")))
}

/// What a search found and is taken on a device unless told otherwise, in words.
pub fn of_device(device: &Device) -> Option<String> {
    let path = file_of(device)?;
    Some(said(&Tuning::load(&path, &device.description()).ok()?, &path))
}

fn said(tuning: &Tuning, path: &Path) -> String {
    let within = tuning.reductions.iter().filter(|r| r.subgroups).count();
    let (products, all) = (tuning.products.len(), tuning.reductions.len());
    format!("tuned by {} ({products} products, {within} of {all} reductions in subgroups)", path.display())
}

/// Gives a GPU the tuning that was asked for: `auto`, `off` or a file.
///
/// # Errors
/// When a file that was asked for by name cannot be used.
pub fn load(device: &Device, asked: Option<&str>, quiet: bool) -> Result<()> {
    let Device::Gpu(gpu) = device else { return Ok(()) };
    let named = std::env::var("BAGRAD_TUNING").ok().filter(|v| !v.is_empty());
    let asked = asked.map(str::to_owned).or(named).unwrap_or_else(|| "auto".into());
    let found = match &asked[..] {
        "off" => return Ok(()),
        "auto" => match file_of(device).filter(|path| path.exists()) {
            // A file of this program that it cannot use any more is no reason not to run.
            Some(path) => Tuning::load(&path, &device.description())
                .inspect_err(|e| note(quiet, format!("not tuned: {e}; `bagrad bench --tune` writes it anew")))
                .ok()
                .map(|tuning| (tuning, path)),
            None => None,
        },
        file => {
            let path = PathBuf::from(file);
            Some((Tuning::load(&path, &device.description()).context("--tuning")?, path))
        }
    };
    if let Some((tuning, path)) = found {
        note(quiet, said(&tuning, &path));
        gpu.set_tuning(Some(tuning));
    }
    Ok(())
}

/// Where a search puts what it finds: a file that the user named, or that of the device among the caches.
pub struct Keep {
    path: PathBuf,
    /// Of a file that was named. Among the caches, a file of this program may be replaced that it cannot read.
    claim: Option<Claim>,
    /// What the search adds to.
    older: Option<Tuning>,
}

impl Keep {
    /// Finds out before the search.
    ///
    /// # Errors
    /// When nothing can be written there, or something else than a tuning of this device stands there.
    pub fn find(asked: Option<&Path>, device: &Device) -> Result<Self> {
        let load = |path: &Path| Tuning::load(path, &device.description());
        let Some(path) = asked else {
            let path = file_of(device).context("there is no folder for caches here; name a file with --out")?;
            let older = load(&path).ok();
            return Ok(Self { path, claim: None, older });
        };
        let claim = Claim::files(&[(path, Kind::Tuning)], true, &[])?;
        let older = path.exists().then(|| load(path)).transpose()?;
        Ok(Self { path: path.to_owned(), claim: Some(claim), older })
    }

    /// Adds a tuning to what is there and returns the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn put(self, tuning: Tuning) -> Result<PathBuf> {
        let all = match self.older {
            Some(older) => tuning.over(older),
            None => tuning,
        };
        match self.claim {
            Some(claim) => {
                all.save(&claim.staged(&self.path))?;
                claim.commit()?;
            }
            None => {
                let folder = self.path.parent().expect("a file among the caches");
                std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                all.save(&self.path)?;
            }
        }
        Ok(self.path)
    }
}
