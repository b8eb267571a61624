//! `bagrad embed`: bags of features from bags of pictures.

use super::args::{Output, Where};
use super::patches::{self, Bar, Pictures};
use super::{answer, answer_json, note, open_device, run_folder};
use anyhow::Result;
use bagrad::files::Claim;
use bagrad::model::Model;
use bagrad::pretrain;
use clap::builder::RangedU64ValueParser;
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

const HELP: &str = "\
The folder has features.npy, bag_ids.npy and, as far as they are known, labels.npy, instance_labels.npy, coords.npy,
split.npy, folds.npy and the names of bags and classes; features.json tells where they come from. It appears whole
at the end, or not at all.

Examples:
  bagrad embed --encoder encoder.safetensors --images slides/ --out bags/
  bagrad train --data bags/ --method dsmil --out runs/dsmil";

/// Arguments of `bagrad embed`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// What `bagrad pretrain` wrote
    #[arg(long, value_name = "FILE")]
    encoder: PathBuf,
    #[command(flatten)]
    pictures: Pictures,
    /// Folder to write
    #[arg(long, value_name = "BAGS")]
    out: PathBuf,
    /// Replace a folder of features that is there already
    #[arg(long)]
    force: bool,
    /// Patches at a time
    #[arg(long, default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65_536))]
    batch: usize,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    output: Output,
}

/// Embeds, writes, tells.
///
/// # Errors
/// Of the encoder, the pictures, the device, or the folder to write.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    let claim = Claim::folder(&args.out, args.force, &[&args.encoder, args.pictures.path()])?;
    let model = Model::load(run_folder::model_of(&args.encoder)?)?;
    let pictures = args.pictures.open()?;
    pretrain::check(&model, &pictures)?;
    let (device, _) = open_device(&args.device, None, quiet)?;
    let mut bar = Bar::new(quiet, 1);
    bar.start(pictures.len());
    let started = Instant::now();
    let set = pretrain::embed(&device, &model, &pictures, args.batch, &mut |patches| bar.add(patches));
    bar.end();
    let (set, seconds) = (set?, started.elapsed().as_secs_f64());
    let origin = json!({ "encoder": args.encoder, "images": args.pictures.name(), "features": set.bags.width });
    patches::save(&set, claim, &origin)?;
    let (bags, count, width) = (set.bags.len(), set.bags.instances(), set.bags.width);
    let rate = count as f64 / seconds;
    if args.output.json {
        return answer_json(&json!({
            "out": args.out.display().to_string(), "bags": bags, "instances": count, "features": width,
            "labelled": set.bags.has_labels(), "coordinates": set.bags.coords.is_some(),
            "patches_per_second": rate, "seconds": seconds, "device": device.name(),
        }));
    }
    answer(&format!(
        "{bags} bags of {count} patches, {width} features each; {rate:.0} patches/s on {}\n",
        device.name()
    ))?;
    if set.bags.coords.is_none() {
        note(quiet, "there are no coordinates: not every name of a picture ends in two numbers");
    }
    note(quiet, format!("written: {}", args.out.display()));
    Ok(())
}
