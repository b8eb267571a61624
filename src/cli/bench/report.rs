//! `bagrad bench --report`: everything about one device in one run.

use super::keep::Keep;
use crate::cli::note;
use anyhow::{Result, bail};
use bagrad::bench::kernels::Rounds;
use bagrad::bench::whole::{self, Asked};
use bagrad::device::Device;
use std::path::{Path, PathBuf};

/// Arguments of a report.
#[derive(clap::Args)]
pub struct Args {
    /// Everything about the device in one run of some minutes instead: ceilings, kernels over a large slide, products, ladders
    /// and training steps of several methods; writes FILE as JSON (a run for `bench compare`, and more) and the page beside it,
    /// FILE with .html
    #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "tune", "statistics", "product", "sizes", "shader",
        "ceilings", "sweep", "ladder", "json", "csv", "html"])]
    pub report: Option<PathBuf>,
    /// With --report: a dry run over small sizes, of kernels with "pool" in their names where --filter tells no other
    #[arg(long, requires = "report")]
    quick: bool,
}

/// The files of a report: JSON and page.
///
/// # Errors
/// A name that the page would have.
pub fn files(report: &Path) -> Result<[PathBuf; 2]> {
    let page = report.with_extension("html");
    if page == report {
        bail!("{}: name the JSON file; the page is written beside it", report.display());
    }
    Ok([report.to_owned(), page])
}

/// Measures, and writes both files.
///
/// # Errors
/// What the device answers, and results that are wrong.
pub fn run(
    args: &Args,
    device: &Device,
    filter: &str,
    repeats: Option<usize>,
    keep: Keep,
    label: Option<String>,
) -> Result<()> {
    let filter = if args.quick && filter.is_empty() { "pool" } else { filter };
    super::check_filter(filter)?;
    let often = match args.quick {
        true => Rounds { rounds: 1, repeats: repeats.unwrap_or(2) },
        false => Rounds { rounds: 5, repeats: repeats.unwrap_or(3) },
    };
    let asked = Asked { quick: args.quick, filter, often };
    let mut whole = whole::measure(device, asked, &mut |part| note(false, format!("measuring: {part}")))?;
    whole.run.label = label;
    keep.put_texts(whole.text(), whole.page().to_html())?;
    let ladders =
        whole.ladders.iter().filter(|r| r.wrong).map(|r| format!("ladder {} {}: {}", r.ladder, r.step, r.remark));
    let roofs = whole.roofs.iter().filter(|c| c.wrong).map(|c| format!("{} {}: {}", c.what, c.size, c.remark));
    let wrong: Vec<String> = ladders.chain(roofs).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!("figures that are none, marked in the files:\n{}", wrong.join("\n")),
    }
}
