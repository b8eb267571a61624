//! `bagrad fuse`: features of two magnifications as one.

use super::args::Output;
use super::patches;
use super::{answer, answer_json, note};
use anyhow::{Context, Result};
use bagrad::data::Dataset;
use bagrad::data::fuse::{Fusion, Join};
use bagrad::files::Claim;
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
Bags are matched by name. The parent of a high patch is the low patch whose square holds the high patch's corner.
Low patches without children are left out. For coordinates in pixels of each magnification, patches of 224 and four
times as many pixels: --side 896 --scale 4. For places in a grid (column, line): --side 4 --scale 4. For pixels of the
finest level throughout, with low patches of 896 of them: --side 896.

Examples:
  bagrad fuse --high bags-20x/ --low bags-5x/ --side 896 --scale 4 --out bags/
  bagrad fuse --high bags-20x/ --low bags-5x/ --side 896 --add 0.25 --drop-orphans --out bags/";

/// Arguments of `bagrad fuse`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Bags of the high magnification, with coordinates
    #[arg(long, value_name = "BAGS")]
    high: PathBuf,
    /// Bags of the low magnification, with coordinates
    #[arg(long, value_name = "BAGS")]
    low: PathBuf,
    /// Folder to write
    #[arg(long, value_name = "BAGS")]
    out: PathBuf,
    /// Side of a low patch, in the unit of the high coordinates
    #[arg(long)]
    side: f64,
    /// What low coordinates are multiplied by to be in the unit of the high ones
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Add the low features times this to the high ones, in place of setting them beside each other
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    add: Option<f32>,
    /// Leave out high patches without a parent, which are an error else
    #[arg(long)]
    drop_orphans: bool,
    /// Replace a folder of features that is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: Output,
}

/// Fuses, writes, tells.
///
/// # Errors
/// Of the bags, or the folder to write.
pub fn run(args: &Args) -> Result<()> {
    let claim = Claim::folder(&args.out, args.force, &[&args.high, &args.low])?;
    let open = |path: &PathBuf| Dataset::open(path).with_context(|| format!("data {}", path.display()));
    let (high, low) = (open(&args.high)?, open(&args.low)?);
    let join = args.add.map_or(Join::Concat, Join::Add);
    let fusion = Fusion { side: args.side, scale: args.scale, join, drop_orphans: args.drop_orphans };
    let fused = fusion.fuse(&high, &low)?;
    let origin = json!({ "high": args.high, "low": args.low, "side": args.side, "scale": args.scale, "join": join });
    patches::save(&fused.set, claim, &origin)?;
    let (bags, count, width) = (fused.set.bags.len(), fused.set.bags.instances(), fused.set.bags.width);
    let (orphans, childless) = (fused.orphans, fused.childless);
    if args.output.json {
        return answer_json(&json!({
            "out": args.out.display().to_string(), "bags": bags, "instances": count, "features": width,
            "orphans": orphans, "childless": childless,
        }));
    }
    let left = format!("left out: {orphans} high patches without a parent, {childless} low ones without a child");
    answer(&format!("{bags} bags of {count} patches, {width} features each; {left}\n"))?;
    note(args.output.quiet, format!("written: {}", args.out.display()));
    Ok(())
}
