//! `bagrad pack`: many slides in one file, and whether such a file is whole.

use super::args::{Bags, Output};
use super::{answer, answer_json, note};
use anyhow::{Context, Result, bail};
use bagrad::data::packed::{self, Packing, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const HELP: &str = "\
A packed file is given to --data like the folder. Its features stay on the disk and are read at the speed of that; labels
and patients are in it, and --labels TABLE replaces them. docs/packed.md has the format.

While FILE is packed, what there is stands in FILE.part. A call that was interrupted, however, goes on from there when it is
made again, and gives the same bytes; slides whose files have changed since are packed anew.

Examples:
  bagrad pack features_uni_v1/ --labels slides.csv --out uni.bags
  bagrad train --data uni.bags --method gated-attention --validation 0.2 --out runs/uni
  bagrad pack --verify uni.bags";

/// Arguments of `bagrad pack`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Folder with a file of features for each slide, or anything else that `train` takes
    #[arg(required_unless_present = "verify")]
    data: Option<String>,
    /// File to write
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    out: Option<PathBuf>,
    /// Store float16 where features are float32: half the size. Values beyond 65504 are refused; what is rounded is told
    #[arg(long)]
    half: bool,
    /// Replace a packed file that is there already
    #[arg(long)]
    force: bool,
    /// Read all of a packed file and compare it with its checksums
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "out", "half", "force"])]
    verify: Option<PathBuf>,
    #[command(flatten)]
    bags: Bags,
    #[command(flatten)]
    output: Output,
}

/// Packs or verifies, tells.
///
/// # Errors
/// Of the data, of the file to write, or of a file that is damaged.
pub fn run(args: &Args) -> Result<()> {
    match (&args.verify, &args.data, &args.out) {
        (Some(file), ..) => verify(file, args.output),
        (None, Some(data), Some(out)) => pack(args, data, out),
        _ => bail!("expected the data and --out FILE, or --verify FILE"),
    }
}

/// A bar on stderr, where someone looks on.
fn bar(quiet: bool) -> impl FnMut(Progress) {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(0) };
    if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {msg} · {binary_bytes_per_sec} · {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut bytes = 0;
    move |now| {
        bytes += now.bytes;
        // What is still to come has the size of what was, slide for slide.
        bar.set_length((bytes as f64 * now.of as f64 / now.slides.max(1) as f64) as u64);
        bar.set_position(bytes);
        bar.set_message(format!("{} of {} slides", now.slides, now.of));
        if now.slides == now.of {
            bar.finish_and_clear();
        }
    }
}

fn pack(args: &Args, data: &str, out: &Path) -> Result<()> {
    let quiet = args.output.quiet;
    let packing = Packing { half: args.half, force: args.force, opening: args.bags.opening() };
    let packed = packed::pack(data, out, &packing, &mut bar(quiet)).with_context(|| format!("data {data}"))?;
    packed.remarks.iter().for_each(|remark| note(quiet, format!("data {data}: {remark}")));
    if packed.found > 0 {
        note(quiet, format!("{} slides were packed by a call before this one", packed.found));
    }
    if args.output.json {
        let Value::Object(told) = serde_json::to_value(&packed)? else { unreachable!("a struct is an object") };
        let mut answer = Map::from_iter([("out".to_owned(), json!(out.display().to_string()))]);
        answer.extend(told);
        return answer_json(&answer);
    }
    let (slides, count, width) = (packed.slides, packed.instances, packed.width);
    let kind = if packed.half { "float16" } else { "float32" };
    let mut text = format!("{slides} slides of {count} patches, {width} features of {kind}: {} bytes\n", packed.bytes);
    let rounding = packed.rounding;
    if args.half {
        let all = count as u64 * width as u64;
        text += &match rounding.values {
            0 => "float16 has all values: nothing was rounded\n".to_owned(),
            some => format!(
                "{some} of {all} values were rounded to float16, by {:.2e} of their size at most; {} very small ones became 0\n",
                rounding.largest, rounding.to_zero
            ),
        };
    }
    answer(&text)?;
    note(quiet, format!("written: {}", out.display()));
    Ok(())
}

fn verify(file: &Path, output: Output) -> Result<()> {
    let found = packed::verify(file, &mut bar(output.quiet))?;
    if output.json {
        answer_json(&found)?;
    } else {
        let mut text = String::new();
        found.bad.iter().for_each(|bad| text += &format!("{}: {}\n", bad.path.display(), bad.reason));
        if found.bad.is_empty() {
            text += &format!("{} slides, {} bytes: all as they were packed\n", found.slides, found.bytes);
        }
        answer(&text)?;
    }
    match found.bad.len() {
        0 => Ok(()),
        bad => bail!("{}: {bad} of {} slides are damaged; pack them again", file.display(), found.slides),
    }
}
