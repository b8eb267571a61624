//! `bagrad bench`: how fast kernels and whole training steps are on this machine.

mod all;
mod compare;
mod keep;
mod ladder;
mod page;
mod report;
mod shader;

pub use compare::Slower;

use super::args::{Where, bytes, settings};
use super::table::table;
use super::{answer, answer_json, note, open_device, tuning};
use anyhow::{Result, bail};
use bagrad::bench::cases::Sizes;
use bagrad::bench::ceilings::{self, Ceiling};
use bagrad::bench::kernels::{self, Ceilings, Rounds};
use bagrad::bench::run::{Begun, How, Timed};
use bagrad::bench::statistics::{self, baseline};
use bagrad::bench::steps::{self, LaunchTime, Row, Settings, Work};
use bagrad::bench::tune::{Candidate, search};
use bagrad::bounded::check_room;
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::precision::Precision;
use bagrad::tuning::{Choice, Reduction};
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use std::time::Instant;

const ALL: &str = "\
--device all measures every adapter and the host, one after the other; run.json becomes run-gpu0.json, run-host.json and so on.";

/// Arguments of `bagrad bench`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = ALL)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    place: Where,
    /// Print a JSON list; with FILE write the run there instead, for `bagrad bench compare`: every sample, and the device,
    /// driver, build and load that decide it
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    json: Option<Option<PathBuf>>,
    /// Write every sample as a line of CSV there
    #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "tune", "statistics"])]
    csv: Option<PathBuf>,
    /// Write a page there: the roofline of the device, what bounds each kernel, bandwidth by size
    #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "tune", "statistics", "shader", "ceilings"])]
    html: Option<PathBuf>,
    /// Kernels over bags of 1k to 1M instances or the like, at two sizes for each power of ten, in the table and on the page of --html
    #[arg(long, value_name = "N=FROM..TO", value_parser = page::sweep,
        conflicts_with_all = ["steps", "tune", "statistics", "shader", "ceilings", "product", "sizes"])]
    sweep: Option<page::Sweep>,
    /// What the run is called in its file, such as a commit
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["steps", "tune", "statistics"])]
    label: Option<String>,
    /// Replace files of --json, --csv and --html that stand there
    #[arg(long)]
    force: bool,
    /// Rounds over all kernels, with --repeats runs of each [default: 1; 10 where a file is written]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000),
        conflicts_with_all = ["steps", "tune", "statistics"])]
    rounds: Option<usize>,
    /// Time whole training steps of gated attention instead: N,D,H,L for a bag of N instances with D
    /// features, embedding H, attention L; or SIZExBAGS,D,H,L for equal bags in one batch
    #[arg(long, value_name = "SHAPE", num_args = 1..)]
    steps: Vec<String>,
    /// With --steps: steps of this method with its recipe's optimiser; shapes are then N,D or SIZExBAGS,D
    #[arg(long, value_name = "NAME", requires = "steps")]
    method: Option<String>,
    /// With --method: a setting of it
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "method")]
    set: Vec<String>,
    /// With --steps: features in f16
    #[arg(long, requires = "steps")]
    half: bool,
    /// With --steps: what matrix products compute with, f32 or mixed (f16 factors, f32 sums) [default: f32]
    #[arg(long, requires = "steps", conflicts_with = "tune")]
    precision: Option<Precision>,
    /// With --steps: device memory to stay within, such as 800MB; larger bags run in windows of instances
    #[arg(long, value_name = "SIZE", value_parser = bytes, requires = "steps", conflicts_with = "profile")]
    memory: Option<u64>,
    /// With --steps: also the time of each launch of a step
    #[arg(long, requires = "steps")]
    profile: bool,
    /// Search the tiles of matrix products for these steps (default: two of gated attention), and the kernels that reduce
    /// faster within subgroups (of these steps; default: all kernels), show the candidates, and keep what won for later runs
    /// on this adapter and driver
    #[arg(long, conflicts_with_all = ["profile", "memory", "filter"])]
    tune: bool,
    /// With --tune: write the tuning here instead; with --statistics: write the table here too
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Only kernels whose name contains this
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true, conflicts_with = "steps")]
    filter: String,
    /// Only the product of [M, K] and [K, N], in f32 and in f16 with sums in f32
    #[arg(long, value_name = "M,K,N", value_parser = product, conflicts_with_all = ["steps", "filter", "sizes", "tune"])]
    product: Option<[usize; 3]>,
    /// Sizes of kernels: small, mil, large, or the instances of one bag
    #[arg(long, value_name = "SIZES", default_value = "mil", conflicts_with = "steps")]
    sizes: Sizes,
    #[command(flatten)]
    own: shader::Args,
    #[command(flatten)]
    ladder: ladder::Args,
    #[command(flatten)]
    report: report::Args,
    /// What the device can do at most instead, each with a shader whose result is known: memory by size, multiply-adds,
    /// exponentials, workgroup memory, subgroups, matrix units, launches, transfers, compilation
    #[arg(long, conflicts_with_all = ["steps", "tune", "statistics", "product", "filter", "sizes", "shader", "repeats",
        "rounds", "csv", "label"])]
    ceilings: bool,
    /// What the driver's compiler makes of every kernel, instead of times: registers, spills, occupancy,
    /// instructions, cycles (Vulkan drivers of GPUs)
    #[arg(long, conflicts_with_all = ["steps", "tune", "product", "repeats"])]
    statistics: bool,
    /// With --statistics: compare with the table in FILE, and fail on spills and lost occupancy
    #[arg(long, value_name = "FILE", requires = "statistics")]
    against: Option<PathBuf>,
    /// Times each is measured in a round [default: 10 for kernels, 3 of them in several rounds, 30 for steps]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    repeats: Option<usize>,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Hold two runs against each other, kernel by kernel, with intervals
    Compare(compare::Args),
}

impl Args {
    /// Only JSON goes to stdout.
    fn prints_json(&self) -> bool {
        self.json == Some(None)
    }
}

/// Measures, and prints a table or a JSON list. The first step is timed since `begin`.
///
/// # Errors
/// What the device answers.
pub fn run(args: &Args, begin: Instant) -> Result<()> {
    if let Some(Command::Compare(args)) = &args.command {
        return compare::run(args);
    }
    if args.out.is_some() && !args.tune && !args.statistics {
        bail!("--out is for --tune and --statistics");
    }
    let of_kernels = args.steps.is_empty() && !args.tune && !args.statistics && !args.ceilings;
    if !of_kernels && matches!(args.json, Some(Some(_))) {
        bail!("--json FILE is for times of kernels; here --json prints");
    }
    if all::is_asked(&args.place) {
        return all::run(args);
    }
    let keep = keep::Keep::of(args, std::path::Path::to_path_buf)?;
    let (device, _) = open_device(&args.place, None, args.prints_json())?;
    measure(args, &device, keep, begin)
}

/// What `args` ask for, on one device.
fn measure(args: &Args, device: &Device, keep: keep::Keep, begin: Instant) -> Result<()> {
    if args.tune {
        return tune(args, device);
    }
    if args.statistics {
        return statistics(args, device);
    }
    if args.ceilings {
        return ceilings(args, device);
    }
    if args.report.report.is_some() {
        return report::run(&args.report, device, &args.filter, args.repeats, keep, args.label.clone());
    }
    if args.steps.is_empty() {
        return kernels(args, device, keep);
    }
    let Args { half, profile, memory, .. } = *args;
    let (repeats, precision) = (args.repeats.unwrap_or(30), args.precision.unwrap_or_default());
    let mut settings = Settings { repeats, half, precision, profile, memory, since: Some(begin) };
    let mut rows = Vec::new();
    for work in work(args)? {
        rows.push(steps::time(device, &work, &settings)?);
        settings.since = None;
    }
    if args.prints_json() {
        return answer_json(&rows);
    }
    note(false, "first: from the start of the program to the end of its first step");
    answer(&text(&rows))
}

/// What the device can do at most.
fn ceilings(args: &Args, device: &Device) -> Result<()> {
    let found = ceilings::measure(device)?;
    if args.prints_json() {
        answer_json(&found)?;
    } else {
        let number = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.1}"));
        let line = |c: &Ceiling| {
            vec![format!("{} {}", c.what, c.size), number(c.best), number(c.middle), c.unit.clone(), c.remark.clone()]
        };
        let lines: Vec<Vec<String>> = found.iter().map(line).collect();
        answer(&table(&["ceiling", "best", "middle", "", ""], &lines))?;
    }
    let wrong: Vec<String> =
        found.iter().filter(|c| c.wrong).map(|c| format!("{} {}: {}", c.what, c.size, c.remark)).collect();
    match wrong.is_empty() {
        true => Ok(()),
        false => bail!("figures that are none:\n{}", wrong.join("\n")),
    }
}

/// Refuses a filter that leaves no kernel.
fn check_filter(filter: &str) -> Result<()> {
    match kernels::names().any(|name| name.contains(filter)) {
        true => Ok(()),
        false => bail!("no kernel has {filter:?} in its name; `bagrad bench` without --filter lists all"),
    }
}

/// Times of kernels.
fn kernels(args: &Args, device: &Device, keep: keep::Keep) -> Result<()> {
    let rounds = args.rounds.unwrap_or(if keep.is_asked() { 10 } else { 1 });
    let repeats = args.repeats.unwrap_or(if rounds > 1 { 3 } else { 10 });
    let often = Rounds { rounds, repeats };
    if let Some(path) = &args.own.shader {
        return shader::run(&args.own, path, device, often, (keep, args.label.clone(), args.prints_json()));
    }
    if let Some(ladder) = args.ladder.ladder {
        return ladder::run(&args.ladder, ladder, device, often, (keep, args.label.clone(), args.prints_json()));
    }
    check_filter(&args.filter)?;
    let begun = Begun::now();
    let roofs = if args.html.is_some() { ceilings::measure(device)? } else { Vec::new() };
    let ceilings = Ceilings::of(device)?;
    let mut sweep = Vec::new();
    let (timed, asked) = match args.product {
        _ if args.sweep.is_some() => {
            let asked = args.sweep.clone().expect("looked at");
            sweep = asked.measure(device, &args.filter, often)?;
            (sweep.iter().flat_map(|(_, cases)| cases.clone()).collect(), asked.to_string())
        }
        Some(sizes) => (kernels::products(device, sizes, often)?, format!("product {sizes:?}")),
        None => {
            let asked = format!("sizes {:?}, kernels with {:?} in their names", args.sizes, args.filter);
            (kernels::measure(device, args.sizes, &args.filter, often)?, asked)
        }
    };
    let mut run = begun.end(device, How::of(often, asked), Some(ceilings), timed);
    run.label = args.label.clone();
    // Kernels whose sizes do not depend on the bag are the same at each.
    run.cases = page::once(run.cases);
    let rows = kernels::rows(device, &run.cases, &ceilings);
    keep.put(&run, &roofs, &sweep)?;
    if args.prints_json() {
        return answer_json(&rows);
    }
    note(false, "bytes count once for each value read and once for each written; tables of tiles count nothing");
    let line = |(r, t): (&kernels::Row, &Timed)| {
        let share = format!("{:.0} %", 100.0 * r.share_of_ceiling);
        let numbers = [r.median_us, r.min_us, r.gflops, r.gbps].map(|v| format!("{v:.1}"));
        let drift = t.drift.map_or("-".to_owned(), |d| format!("{:+.0} %", 100.0 * d));
        [&[r.kernel.clone(), r.shape.clone()], &numbers[..], &[share, drift, t.outliers.to_string()]].concat()
    };
    let lines: Vec<Vec<String>> = rows.iter().zip(&run.cases).map(line).collect();
    let Ceilings { gflops, gbps } = ceilings;
    let text = format!("ceilings: {gflops:.0} GFLOP/s in the best product, {gbps:.1} GB/s in a copy\n\n");
    let head = ["kernel", "shape", "median us", "min us", "GFLOP/s", "GB/s", "of ceiling", "drift", "outliers"];
    answer(&(text + &table(&head, &lines)))
}

/// Sizes of a product.
fn product(text: &str) -> Result<[usize; 3], String> {
    const MOST: usize = 1 << 20;
    let size = |n: &str| n.trim().parse().ok().filter(|n| (1..=MOST).contains(n));
    let sizes: Option<Vec<usize>> = text.split(',').map(size).collect();
    let sizes: Option<[usize; 3]> = sizes.and_then(|sizes| sizes.try_into().ok());
    let sizes = sizes.ok_or_else(|| format!("expected M,K,N, each from 1 to {MOST}"))?;
    let [m, k, n] = sizes.map(|n| n as u64);
    check_room(format!("a product of {text}"), &[4, m * k + k * n + m * n]).map_err(|e| e.to_string())?;
    Ok(sizes)
}

/// What a search runs over where nothing is asked for.
const USUAL: [&str; 2] = ["1000,512,256,128", "10000,1024,512,256"];

/// Searches, tells, keeps.
fn tune(args: &Args, device: &Device) -> Result<()> {
    let work = match args.steps.is_empty() {
        true => USUAL.iter().map(|shape| Ok(Work::Gated(shape.parse()?))).collect::<Result<_>>()?,
        false => work(args)?,
    };
    let keep = tuning::Keep::find(args.out.as_deref(), device)?;
    let mut tell = |what: String| note(args.prints_json(), what);
    let kernels = args.steps.is_empty().then_some(args.sizes);
    let (tuning, candidates) = search(device, &work, kernels, args.half, args.repeats.unwrap_or(5), &mut tell)?;
    let reductions = tuning.reductions.clone();
    let path = keep.put(tuning)?;
    if args.prints_json() {
        let products = candidates.iter().map(serde_json::to_value);
        let all: Vec<_> = products.chain(reductions.iter().map(serde_json::to_value)).collect::<Result<_, _>>()?;
        return answer_json(&all);
    }
    let line = |c: &Candidate| {
        let form = c.product.form;
        let sides = [(form.a_t, form.a_half, "A"), (form.b_t, form.b_half, "B")];
        let sides = sides
            .map(|(t, half, name)| format!("{name}{}{}", if t { "^T" } else { "" }, if half { " f16" } else { "" }));
        let tiles = match c.choice {
            Choice::Registers { rows, cols, shuffle } => {
                format!("registers {rows} x {cols}{}", if shuffle { ", shuffles" } else { "" })
            }
            Choice::Workgroup { side, tall, wide } => {
                let [rows, cols] = [tall, wide].map(|doubled| (4 * side) << doubled as u32);
                format!("workgroup {rows} x {cols}, {side} x {side} lanes")
            }
            Choice::Matrices { large } => format!("matrices, {} x {0}", if large { 8 } else { 4 }),
        };
        let mark = match (c.chosen, c.standard) {
            (true, true) => "kept",
            (true, false) => "new",
            (false, true) => "standard",
            (false, false) => "",
        };
        let size = format!("{} x {}", c.product.m, c.product.n);
        vec![sides.join(" "), size, tiles, format!("{:.1}", c.us), mark.to_owned()]
    };
    let lines: Vec<Vec<String>> = candidates.iter().map(line).collect();
    note(false, format!("kept in {}", path.display()));
    let products = table(&["product", "up to", "tiles", "median us", ""], &lines);
    let line = |r: &Reduction| {
        let [workgroup, subgroups] = [r.workgroup_us, r.subgroups_us].map(|us| format!("{us:.1}"));
        vec![r.kernel.clone(), workgroup, subgroups, if r.subgroups { "new" } else { "kept" }.to_owned()]
    };
    let lines: Vec<Vec<String>> = reductions.iter().map(line).collect();
    let reductions = match lines.is_empty() {
        true => String::new(),
        false => format!("\n{}", table(&["reduces", "workgroup us", "subgroups us", ""], &lines)),
    };
    answer(&(products + &reductions))
}

/// Compiles, tells, compares.
fn statistics(args: &Args, device: &Device) -> Result<()> {
    let report = statistics::of(device, args.sizes, &args.filter)?;
    if let Some(path) = &args.out {
        baseline::save(&report, path)?;
    }
    if args.prints_json() {
        answer_json(&report)?;
    } else if args.out.is_none() {
        note(false, format!("compiled by {}; {}", report.driver, "loops count once in instructions"));
        let line = |r: &statistics::Row| {
            let own = [r.threads, r.memory, r.subgroup].map(|v| v.to_string());
            let told = [r.registers, r.spills, r.scratch, r.occupancy, r.instructions, r.cycles];
            let told = told.map(|v| v.map_or("-".to_owned(), |v| v.to_string()));
            [&[format!("{} {}", r.kernel, r.variant)], &own[..], &told].concat()
        };
        let lines: Vec<Vec<String>> = report.rows.iter().map(line).collect();
        let head = ["kernel", "threads", "memory", "subgroup", "registers", "spills", "scratch", "occupancy"];
        answer(&table(&[&head[..], &["instructions", "cycles"]].concat(), &lines))?;
    }
    let Some(path) = &args.against else { return Ok(()) };
    let baseline::Changes { worse, notes } = baseline::compare(&baseline::load(path)?, &report);
    notes.iter().for_each(|text| note(false, text));
    if !worse.is_empty() {
        bail!("{}: worse than {}:\n{}", report.device, path.display(), worse.join("\n"));
    }
    Ok(())
}

/// What to time; all of it is read before anything runs.
fn work(args: &Args) -> Result<Vec<Work>> {
    let Some(name) = &args.method else {
        return args.steps.iter().map(|shape| Ok(Work::Gated(shape.parse()?))).collect();
    };
    let method = Method::named(name)?.with(&settings(&args.set)?)?;
    args.steps.iter().map(|batch| Ok(Work::Method(method.clone(), batch.parse()?))).collect()
}

fn text(rows: &[Row]) -> String {
    let mib = |bytes: u64| format!("{:.2}", bytes as f64 / (1 << 20) as f64);
    let line = |r: &Row| {
        let times = [r.median_us, r.min_us, r.gflops, r.host_us, r.dispatches].map(|v| format!("{v:.0}"));
        let predicted = r.predicted_bytes.map_or_else(|| "-".to_owned(), mib);
        let first = r.first_step_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0}"));
        [std::slice::from_ref(&r.shape), &times[..], &[first, mib(r.peak_bytes), predicted]].concat()
    };
    let lines: Vec<Vec<String>> = rows.iter().map(line).collect();
    let mut text = table(
        &["step", "median us", "min us", "GFLOP/s", "host us", "dispatches", "first ms", "peak MiB", "predicted MiB"],
        &lines,
    );
    for row in rows.iter().filter(|r| !r.launches.is_empty()) {
        let launches = row.launches.iter();
        let line = |l: &LaunchTime| {
            let numbers = [l.median_us, l.min_us, l.gflops, l.gbps].map(|v| format!("{v:.1}"));
            [&[l.kernel.to_owned(), l.shape.clone()], &numbers[..]].concat()
        };
        let lines: Vec<Vec<String>> = launches.map(line).collect();
        text += &format!(
            "\n{}\n\n{}",
            row.shape,
            table(&["launch", "shape", "median us", "min us", "GFLOP/s", "GB/s"], &lines)
        );
    }
    text
}
