//! Where tunings of devices are kept, and which one a command takes.

use super::{note, run_folder};
use anyhow::{Context, Result};
use bagrad::device::Device;
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
        note(quiet, format!("tuned by {} ({} products)", path.display(), tuning.products.len()));
        gpu.set_tuning(Some(tuning));
    }
    Ok(())
}

/// Adds a tuning to the file of its device, or to `path`.
///
/// # Errors
/// When the file cannot be written.
pub fn save(tuning: Tuning, path: &Path) -> Result<()> {
    run_folder::make_parent(path)?;
    let older = Tuning::load(path, &tuning.device).ok();
    let all = match older {
        Some(older) => tuning.over(older),
        None => tuning,
    };
    Ok(all.save(path)?)
}
