//! `bagrad bench --ladder`: one computation in steps.

use super::keep::Keep;
use crate::cli::table::table;
use crate::cli::{answer, answer_json, note};
use anyhow::{Result, bail};
use bagrad::bench::ceilings;
use bagrad::bench::kernels::Rounds;
use bagrad::bench::ladders::{self, Ladder, Row};
use bagrad::bench::run::{Begun, How};
use bagrad::device::Device;

/// Arguments of a ladder.
#[derive(clap::Args)]
pub struct Args {
    /// The steps from the plainest shader to the engine's kernels instead, each with its result checked, its time and the
    /// gain over the step before: matmul, self-attention or gated-attention
    #[arg(long, value_name = "NAME",
        conflicts_with_all = ["steps", "tune", "statistics", "product", "filter", "sizes", "shader", "ceilings", "sweep"])]
    pub ladder: Option<Ladder>,
    /// With --ladder: only this step (docs/ladders.md names them); several times for several
    #[arg(long, value_name = "NAME", requires = "ladder")]
    step: Vec<String>,
    /// With --ladder: sizes M,K,N of matmul, N,D of self-attention, N,H,L of gated-attention [default: those of a large slide
    /// on a GPU, less on drivers of the CPU]
    #[arg(long, value_name = "SIZES", requires = "ladder")]
    shape: Option<String>,
}

/// Measures a ladder, and prints it.
///
/// # Errors
/// What does not fit, what the device answers, and results that are wrong.
pub fn run(
    args: &Args,
    ladder: Ladder,
    device: &Device,
    often: Rounds,
    (keep, label, print): (Keep, Option<String>, bool),
) -> Result<()> {
    let shape = args.shape.as_deref().map(|text| ladder.shape(text)).transpose()?;
    let shape = shape.unwrap_or_else(|| ladder.usual(device));
    let begun = Begun::now();
    let roofs = if keep.has_page() { ceilings::measure(device)? } else { Vec::new() };
    let rungs = ladders::measure(device, ladder, &shape, &args.step, often)?;
    let rows = ladders::rows(device, ladder, &shape, &rungs);
    match print {
        true => answer_json(&rows)?,
        false => tell(&rows)?,
    }
    let wrong: Vec<String> = rows.iter().filter(|r| r.wrong).map(|r| format!("{}: {}", r.step, r.remark)).collect();
    if !wrong.is_empty() {
        bail!("no file is written of steps whose result is wrong:\n{}", wrong.join("\n"));
    }
    let cases: Vec<_> = rungs.into_iter().filter_map(|rung| rung.timed).collect();
    if cases.is_empty() {
        bail!("no step ran: {}", rows.iter().map(|r| r.remark.as_str()).collect::<Vec<_>>().join("; "));
    }
    let mut run = begun.end(device, How::of(often, format!("ladder {ladder}")), None, cases);
    run.label = label;
    keep.put(&run, &roofs, &[])
}

fn tell(rows: &[Row]) -> Result<()> {
    let number = |v: Option<f64>, digits: usize| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
    if let Some(first) = rows.first() {
        note(false, format!("{} over {}; a step is the sum of its launches", first.ladder, first.shape));
    }
    let line = |r: &Row| {
        let times = [r.median_us, r.min_us, r.gflops, r.gbps].map(|v| number(v, 1));
        let error = r.error.map_or("-".to_owned(), |e| format!("{e:.1e}"));
        let gain = r.gain.map_or("-".to_owned(), |g| format!("{g:.2}x"));
        let mark = match (r.wrong, r.error) {
            (true, _) => "wrong",
            (false, None) => "left out",
            (false, Some(_)) => "",
        };
        [&[r.step.clone(), r.launches.to_string()], &times[..], &[gain, error, mark.to_owned()]].concat()
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    let mut text = table(&["step", "launches", "median us", "min us", "GFLOP/s", "GB/s", "gain", "error", ""], &lines);
    for row in rows.iter().filter(|r| r.error.is_none()) {
        text += &format!("{} is left out: {}\n", row.step, row.remark);
    }
    answer(&text)
}
