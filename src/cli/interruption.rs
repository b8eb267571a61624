//! Runs that are interrupted: `--checkpoint-every`, `--resume`, and the file between the two.

use super::note;
use anyhow::{Context, Result, bail};
use bagrad::device::Device;
use bagrad::files::half_of;
use bagrad::fit::{Checkpoint, Checkpoints, Every, Persistence};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Options of commands that train for long.
#[derive(clap::Args)]
pub struct Interruption {
    /// Go on with the run to this --out that was interrupted, with the same result as if it had not been. Options need not
    /// be repeated with train; where no run was interrupted, one begins
    #[arg(long)]
    resume: bool,
    /// How often to write down where the run stands, in a file beside --out: 30s, 10m, 2h, 500u (updates), 5e (epochs), or
    /// never [default: 10m]
    #[arg(long, value_name = "INTERVAL")]
    checkpoint_every: Option<Interval>,
}

/// How often, or never.
#[derive(Clone, Copy)]
pub struct Interval(pub Option<Every>);

impl FromStr for Interval {
    type Err = bagrad::Error;

    fn from_str(text: &str) -> bagrad::Result<Self> {
        if text == "never" { Ok(Self(None)) } else { text.parse().map(|every| Self(Some(every))) }
    }
}

/// The default of `--checkpoint-every`.
const USUAL: Every = Every::Time(std::time::Duration::from_secs(600));

/// Where the checkpoints of a run to `out` are: beside it.
fn place_of(out: &Path) -> Result<PathBuf> {
    let mut name = out.file_name().context("--out: expected a path that ends in a name")?.to_owned();
    name.push(".checkpoint");
    Ok(out.with_file_name(name))
}

impl Interruption {
    /// The checkpoint that was asked to go on from, where there is one.
    ///
    /// # Errors
    /// Without `--out`, and for a file that is no checkpoint.
    pub fn found(&self, out: Option<&Path>) -> Result<Option<Checkpoint>> {
        let Some(out) = out else {
            if self.resume {
                bail!("--resume needs --out, which says which run to go on with");
            }
            return Ok(None);
        };
        let place = place_of(out)?;
        Ok(if self.resume && place.exists() { Some(Checkpoint::load(&place)?) } else { None })
    }

    /// True when it was asked to go on with a run that is over: `result` is there, and no checkpoint is but one of the same
    /// run, as `is_same` says of its note, which was killed before it took that away.
    ///
    /// # Errors
    /// For an `out` that names nothing, and for a file that is no checkpoint.
    pub fn is_over(
        &self,
        out: &Path,
        result: &Path,
        force: bool,
        is_same: impl FnOnce(&str) -> Result<bool>,
    ) -> Result<bool> {
        if !self.resume || force || !result.is_file() {
            return Ok(false);
        }
        match self.found(Some(out))? {
            None => Ok(true),
            Some(left) => is_same(left.note()),
        }
    }

    /// What a run to `out` goes on from and where it writes how it stands; `note_of_run` is kept with that. The place is
    /// claimed already.
    ///
    /// # Errors
    /// Where a run was interrupted that neither `--resume` nor `--force` speaks of.
    pub fn persistence(
        &self,
        (out, force): (Option<&Path>, bool),
        resume: Option<Checkpoint>,
        device: &Device,
        note_of_run: &str,
        quiet: bool,
    ) -> Result<Persistence> {
        let Some(out) = out else { return Ok(Persistence::default()) };
        let place = place_of(out)?;
        match &resume {
            Some(found) => {
                let (epoch, updates) = (found.epoch() + 1, found.updates());
                note(quiet, format!("going on in epoch {epoch}, after {updates} updates ({})", place.display()));
                if found.device() != device.name() {
                    let (then, now) = (found.device(), device.name());
                    note(quiet, format!("it was on {then} and goes on on {now}, which rounds otherwise"));
                }
            }
            None if self.resume => note(quiet, format!("{}: no run was interrupted; one begins", place.display())),
            None if place.exists() => {
                // Nothing but a checkpoint is replaced.
                let found = Checkpoint::load(&place)?;
                if !force {
                    bail!(
                        "{}: a run to {} was interrupted after {} updates; --resume goes on with it, --force begins anew",
                        place.display(),
                        out.display(),
                        found.updates()
                    );
                }
            }
            None => {}
        }
        let every = self.checkpoint_every.unwrap_or(Interval(Some(USUAL))).0;
        let checkpoints = every.map(|every| Checkpoints::new(place, every).with_note(note_of_run));
        Ok(Persistence { resume, checkpoints, shelf: None })
    }
}

/// Takes the checkpoint of a run that is over away.
///
/// # Errors
/// With its path.
pub fn over(out: &Path) -> Result<()> {
    let place = place_of(out)?;
    for place in [half_of(&place)?, place] {
        match std::fs::remove_file(&place) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| place.display().to_string());
            }
            _ => {}
        }
    }
    Ok(())
}
