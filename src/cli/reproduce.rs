//! `bagrad reproduce`: experiments of papers, from data to table.

use super::args::{Output, Where};
use super::interruption::Interval;
use super::{answer, answer_json, note, open_device, side_by_side};
use anyhow::{Context, Result, bail};
use bagrad::files::{Claim, Kind, write_atomically};
use bagrad::fit::Every;
use bagrad::reproduce::runs::{self, Runs};
use bagrad::reproduce::table::Table;
use bagrad::reproduce::{self, Experiment, Options};
use serde_json::json;
use std::path::PathBuf;

const HELP: &str = "\
The out folder gets NAME.runs.jsonl (a line for each finished run; what is there is not run again, and a run that was cut short goes
on where it stood),
NAME.json and NAME.md (the table). With --quick these are called NAME-quick.

Examples:
  bagrad reproduce                                   list the experiments
  bagrad reproduce digits --quick                    a few seconds, no data needed
  tools/fetch_data mnist classic                     download what the others need into data/
  bagrad reproduce mnist-bags --seeds 3 --out runs/reproduce
  bagrad reproduce classic --only musk1 --only attention";

/// Arguments of `bagrad reproduce`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Experiment; without it they are listed
    experiment: Option<String>,
    /// List the experiments, what data they need, and how long they take
    #[arg(long)]
    list: bool,
    /// Run seeds 1 to N [default: that of the experiment]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Folder with the data sets, as tools/fetch_data makes it
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// Folder for runs and tables
    #[arg(long, value_name = "DIR", default_value = "runs/reproduce")]
    out: PathBuf,
    /// Only cells whose row or column contains this; of several, cells that match all
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// A small version that shows that it works
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// The costly columns too
    #[arg(long)]
    full: bool,
    /// Run nothing: write the table of the runs that are there
    #[arg(long)]
    table: bool,
    /// Runs side by side, which changes none of their results [default: as many as there are cores on the host, which they
    /// share; one on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// How often the training of a run writes down how it stands, so that a run that was cut short goes on there: 30s, 10m,
    /// 2h, 500u (updates), 5e (epochs), or never [default: 1m]
    #[arg(long, value_name = "INTERVAL")]
    checkpoint_every: Option<Interval>,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    output: Output,
}

/// The default of `--checkpoint-every`.
const USUAL: Every = Every::Time(std::time::Duration::from_secs(60));

/// Runs an experiment, or lists them.
///
/// # Errors
/// Of the arguments, the data, the device, or the out folder.
pub fn run(args: &Args) -> Result<()> {
    let Some(name) = args.experiment.as_ref().filter(|_| !args.list) else {
        return list(args.output.json);
    };
    let experiment = reproduce::named(name)?;
    let quiet = args.output.quiet;
    let mut grid = (experiment.grid)(&Options { data: args.data.clone(), quick: args.quick, full: args.full })?;
    grid.cells.retain(|c| args.only.iter().all(|text| c.row.contains(text) || c.column.contains(text)));
    if grid.cells.is_empty() {
        bail!("--only {}: no row or column has this", args.only.join(", "));
    }
    let seeds = args.seeds.unwrap_or(if args.quick { 1 } else { experiment.seeds });
    let stem = if args.quick { format!("{name}-quick") } else { name.clone() };
    let file = |ending: &str| args.out.join(format!("{stem}.{ending}"));
    // Tables are made of the runs again and again; whatever else has their names is left alone.
    let (page, data) = (file("md"), file("json"));
    let claim = Claim::files(&[(&page, Kind::Experiment), (&data, Kind::Experiment)], true, &[])?;
    let mut runs = Runs::open(runs::file(&args.out, &stem))?;
    if let Some(every) = args.checkpoint_every.unwrap_or(Interval(Some(USUAL))).0 {
        runs = runs.with_checkpoints(every);
    }
    let (device, _) = open_device(&args.device, None, quiet)?;
    if !args.table {
        let jobs = side_by_side(args.jobs, &device);
        let done = runs.complete(&grid, seeds, &device, jobs, &|told| note(quiet, &told.line));
        if let Ok([done, there]) = &done {
            note(quiet, format!("{done} runs done, {there} were there"));
        }
        let hint = match experiment.data {
            "" => String::new(),
            data => format!("{name} needs {data}"),
        };
        match done {
            Err(e) if !hint.is_empty() => return Err(e).context(hint),
            done => drop(done?),
        }
    }
    let Some(table) = Table::new(&experiment, &grid, &runs, seeds, device.name(), command(args, &experiment, seeds))
    else {
        bail!("{}: no run of this experiment on {}", args.out.display(), device.name());
    };
    let text = table.markdown();
    write_atomically(claim.staged(&data), serde_json::to_string_pretty(&table)? + "\n")?;
    write_atomically(claim.staged(&page), &text)?;
    claim.commit()?;
    note(quiet, format!("written: {} and {}", page.display(), data.display()));
    match args.output.json {
        true => answer_json(&table),
        false => answer(&text),
    }
}

/// What computes the table again.
fn command(args: &Args, experiment: &Experiment, seeds: u64) -> String {
    let mut text = format!("bagrad reproduce {} --seeds {seeds}", experiment.name);
    for (flag, given) in [("quick", args.quick), ("full", args.full)] {
        if given {
            text += &format!(" --{flag}");
        }
    }
    args.only.iter().for_each(|only| text += &format!(" --only '{only}'"));
    text
}

fn list(as_json: bool) -> Result<()> {
    let all = reproduce::all();
    if as_json {
        let one = |e: &Experiment| {
            json!({
                "name": e.name, "title": e.title, "paper": e.paper, "data": e.data, "takes": e.takes, "seeds": e.seeds,
                "protocol": e.protocol,
            })
        };
        return answer_json(&all.iter().map(one).collect::<Vec<_>>());
    }
    let mut text = String::new();
    for e in all {
        let data = if e.data.is_empty() { "shipped" } else { e.data };
        text +=
            &format!("{}\n  {}\n  {}\n  data: {data}\n  {} seeds: {}\n\n", e.name, e.title, e.paper, e.seeds, e.takes);
    }
    text += "bagrad reproduce NAME runs one; --quick a small version of it.\n";
    answer(&text)
}
