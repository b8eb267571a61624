//! What the commands over patches share: how pictures are read, the bar, and the folder of features.

use super::note;
use anyhow::Result;
use bagrad::data::patches::{Places, Reading};
use bagrad::data::{Dataset, Patches, npy};
use bagrad::files::{self, Claim};
use bagrad::pretrain::{Epoch, Watcher};
use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::path::Path;

/// In a folder of features: where they come from.
const ORIGIN: &str = "features.json";

/// Which patches.
#[derive(clap::Args)]
pub struct Pictures {
    /// Folder of pictures (PNG or JPEG; SLIDE/x_y.png or CLASS/SLIDE/x_y.png), folder with pixels.npy, or
    /// textures[,k=v...]
    #[arg(long)]
    images: String,
    /// Bring every picture of a folder to this height and width
    #[arg(long, value_name = "PIXELS", value_parser = RangedU64ValueParser::<usize>::new().range(1..=16_384))]
    size: Option<usize>,
    /// What the last two numbers in the names of pictures are
    #[arg(long, value_enum, default_value_t = Named::Xy)]
    places: Named,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Named {
    Xy,
    RowCol,
    None,
}

impl Pictures {
    /// Opens them.
    ///
    /// # Errors
    /// As [`Patches::open`].
    pub fn open(&self) -> Result<Patches> {
        let places = match self.places {
            Named::Xy => Places::XY,
            Named::RowCol => Places::RowColumn,
            Named::None => Places::None,
        };
        Ok(Patches::open(&self.images, &Reading { size: self.size, places })?)
    }

    /// As it was written.
    pub fn name(&self) -> &str {
        &self.images
    }

    /// Where they are, if they are on disk.
    pub fn path(&self) -> &Path {
        Path::new(&self.images)
    }
}

/// Writes bags and where they come from as a folder in the npy layout, whole or not at all.
///
/// # Errors
/// With the file that could not be written.
pub fn save(set: &Dataset, to: Claim, origin: &Value) -> Result<()> {
    let origin = serde_json::to_string_pretty(origin)? + "\n";
    npy::save(set, to.staging())?;
    files::write_atomically(to.staging().join(ORIGIN), &origin)?;
    Ok(to.commit()?)
}

/// A bar on stderr that counts patches, where someone looks on.
pub struct Bar {
    quiet: bool,
    bar: ProgressBar,
    epochs: u64,
}

impl Bar {
    /// A bar for so many passes.
    pub fn new(quiet: bool, epochs: u64) -> Self {
        Self { quiet, bar: ProgressBar::hidden(), epochs }
    }

    /// Shows it for so many patches a pass.
    pub fn start(&mut self, patches: usize) {
        if self.quiet {
            return;
        }
        self.bar = ProgressBar::new(patches as u64 * self.epochs);
        let style = ProgressStyle::with_template("[{bar:24}] {msg} · {per_sec} patches · {eta} left");
        if let Ok(style) = style {
            self.bar.set_style(style.progress_chars("=> "));
        }
    }

    /// So many more are done.
    pub fn add(&self, patches: usize) {
        self.bar.inc(patches as u64);
    }

    /// Takes the line away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Watcher for Bar {
    fn begin(&mut self, training: usize, validation: usize) {
        note(self.quiet, format!("{training} patches to train with, {validation} to validate with"));
        self.start(training);
    }
    fn step(&mut self, patches: usize) {
        self.add(patches);
    }
    fn epoch(&mut self, epoch: &Epoch) {
        let validation = epoch.validation_loss.map_or(String::new(), |v| format!(", validation {v:.4}"));
        let text = format!("epoch {} · loss {:.4}{validation}", epoch.epoch + 1, epoch.loss);
        self.bar.set_message(text.clone());
        if self.bar.is_hidden() {
            note(self.quiet, format!("{text} · {:.0} patches/s", epoch.patches_per_second));
        }
    }
}
