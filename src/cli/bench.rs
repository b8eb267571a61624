//! `bagrad bench`: how fast the engine is on this machine.

use anyhow::{Result, bail};

/// Arguments of `bagrad bench`.
#[derive(clap::Args)]
pub struct Args {}

/// Measures, tells.
///
/// # Errors
/// Always, until there is something to measure.
pub fn run(_args: &Args) -> Result<()> {
    bail!("there are no measurements yet")
}
