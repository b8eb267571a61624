//! `bagrad demo | inspect | pack | train | cross-validate | ensemble | predict | heatmap | show | verify | import | pretrain | embed | fuse |
//! export | devices | methods | bench | reproduce`: what each reads, runs and prints.
//!
//! Answers go to stdout; what accompanies them (the device, the progress, notes) goes to stderr.

mod args;
mod away;
mod bench;
mod config;
mod cross_validate;
mod csv;
mod demo;
mod devices;
mod division;
mod embed;
mod ensemble;
mod epochs;
mod experiment;
mod export;
mod fuse;
mod heatmap;
mod import;
mod inspect;
mod interruption;
mod judged;
mod kept_models;
mod members;
mod methods;
mod names;
mod optimiser;
mod out_of_fold;
mod pack;
mod page;
mod parts;
mod patches;
mod predict;
mod pretrain;
mod progress;
mod provenance;
mod reproduce;
mod run_folder;
mod said;
mod search;
mod shard;
mod show;
mod study_file;
mod summary;
mod table;
mod train;
mod tuning;
mod verify;

use anyhow::{Context, Result};
use bagrad::device::{Device, DeviceChoice, GpuOptions};
use bagrad::printable::printable_lines;
use clap::{Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::num::NonZero;
use std::process::ExitCode;
use std::time::Instant;

const EXAMPLES: &str = "\
Examples:
  bagrad demo                                        train on bags of digits, write bagrad-demo.html
  bagrad train --data digits-bags --method gated-attention --out runs/digits
  bagrad train --data my-bags/ --method mi-net-bag --validation 0.2 --patience 10 --out runs/mine
  bagrad inspect features_uni_v1/ --labels slides.csv    what a folder of slides holds
  bagrad pack features_uni_v1/ --labels slides.csv --out uni.bags   one file, for --data
  bagrad cross-validate --data my-bags/ --method dsmil --method gated-attention --out runs/study
  bagrad ensemble runs/seed-1 runs/seed-2 --out both.safetensors   models that answer together
  bagrad predict --model runs/mine --data new-bags/ --out new.csv
  bagrad heatmap --model runs/uni --data features_uni_v1/ --out maps/   where it looked, for browsers and QuPath
  bagrad show runs/mine                              what a model is, and how it came about
  bagrad verify runs/mine                            the same once more, bit for bit?
  bagrad import s_0_checkpoint.pt --out clam.safetensors    a model of CLAM's, DSMIL's or TransMIL's weights
  bagrad pretrain --images slides/ --out encoder.safetensors        an encoder of patches, without labels
  bagrad embed --encoder encoder.safetensors --images slides/ --out my-bags/
  bagrad export runs/mine --format onnx --out model.onnx            for onnxruntime and others
  bagrad export runs/mine --format state-dict --out weights.safetensors   for the programs that its method is from
  bagrad methods                                     all methods with their settings
  bagrad devices                                     what this machine can compute on

`bagrad COMMAND --help` tells more of each. BAGRAD_DEVICE chooses the device where --device does not;
BAGRAD_PLAN_AS=rdna:60 plans for another GPU than there is, BAGRAD_SKIP_DEVICE_CHECK=1 opens one unchecked.";

/// Multiple instance learning on any GPU, and on the CPU: bags of instances, of which only the bags are
/// labelled.
#[derive(Parser)]
#[command(name = "bagrad", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train on bags of digits within a minute and write a report with the attention of every digit
    Demo(demo::Args),
    /// Tell what a folder of slides holds, and what is wrong with it
    Inspect(inspect::Args),
    /// Put the features of many slides into one file that is read at the speed of the disk
    Pack(pack::Args),
    /// Train a model and write a run folder
    Train(Box<train::Args>),
    /// Compare methods in folds that no patient is on both sides of, with intervals
    CrossValidate(Box<cross_validate::Args>),
    /// Join models of one task, such as the fits of folds, in one model file
    Ensemble(ensemble::Args),
    /// Predict bags, labelled or not, with a trained model
    Predict(predict::Args),
    /// Draw what a model says of each patch of slides, for browsers and for QuPath
    Heatmap(Box<heatmap::Args>),
    /// Tell what a model file says of itself
    Show(show::Args),
    /// Do a run or a study once more and compare the bits
    Verify(verify::Args),
    /// Make a model file of the weights of CLAM, DSMIL, TransMIL, AttentionDeepMIL or MIL-Lab
    Import(import::Args),
    /// Pretrain an encoder of patches: by contrast (SimCLR), or by the classes of patches
    Pretrain(Box<pretrain::Args>),
    /// Make bags of features from bags of pictures
    Embed(embed::Args),
    /// Join the features of two magnifications
    Fuse(fuse::Args),
    /// Write a model in the formats of other programs (ONNX, state dicts)
    Export(export::Args),
    /// List what this machine can compute on
    Devices(devices::Args),
    /// List the methods with their settings
    Methods(methods::Args),
    /// Measure kernels and whole training steps
    Bench(Box<bench::Args>),
    /// Run an experiment of a paper from data to table
    Reproduce(reproduce::Args),
}

/// Runs the command line; an error is printed with its causes and makes the exit code 1, or 3 where a comparison of
/// benchmarks found something slower.
pub fn main() -> ExitCode {
    let begin = Instant::now();
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pack(args) => pack::run(&args),
        Command::Train(args) => train::run(&args),
        Command::CrossValidate(args) => cross_validate::run(&args),
        Command::Ensemble(args) => ensemble::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Heatmap(args) => heatmap::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Pretrain(args) => pretrain::run(&args),
        Command::Embed(args) => embed::run(&args),
        Command::Fuse(args) => fuse::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Methods(args) => methods::run(&args),
        Command::Bench(args) => bench::run(&args, begin),
        Command::Reproduce(args) => reproduce::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` joins the causes on the line that a user copies.
            let _ = writeln!(std::io::stderr(), "error: {}", printable_lines(&format!("{error:#}")));
            // Not the code of other errors: a script asks whether something is slower.
            if error.is::<bench::Slower>() { ExitCode::from(3) } else { ExitCode::FAILURE }
        }
    }
}

/// Writes an answer to stdout. A reader that has gone away (`| head`) has seen what it wanted: no error.
fn answer(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    // A file or a pipe gets what is asked for, byte for byte; a terminal nothing that it would obey.
    let text = if out.is_terminal() { printable_lines(text) } else { text.into() };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("stdout"),
        _ => Ok(()),
    }
}

/// Writes one JSON value to stdout, on a line of its own.
fn answer_json(value: &impl serde::Serialize) -> Result<()> {
    answer(&(serde_json::to_string(value)? + "\n"))
}

/// How many runs go on side by side where nothing is asked: as many as there are cores on the host, one on a GPU.
fn side_by_side(asked: Option<u16>, device: &Device) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let usual = || if matches!(device, Device::Host(_)) { cores() } else { 1 };
    asked.map_or_else(usual, usize::from)
}

/// A remark for people, on stderr.
fn note(quiet: bool, text: impl AsRef<str>) {
    if !quiet {
        // Nobody is left to tell when stderr is closed.
        let _ = writeln!(std::io::stderr(), "{}", printable_lines(text.as_ref()));
    }
}

/// The device to use and what was asked for: the flag, else the environment, else a configuration.
fn open_device(place: &args::Where, config: Option<&str>, quiet: bool) -> Result<(Device, DeviceChoice)> {
    let choice = match (&place.device, config) {
        (Some(choice), _) => choice.clone(),
        (None, Some(text)) if std::env::var_os("BAGRAD_DEVICE").is_none() => text.parse()?,
        _ => DeviceChoice::from_env().context("BAGRAD_DEVICE")?,
    };
    let options = GpuOptions { no_cooperative: place.no_cooperative, ..GpuOptions::default() };
    let opened = Device::open_with(&choice, options)?;
    note(quiet, format!("device: {} ({})", opened.device.description(), opened.why));
    tuning::load(&opened.device, place.tuning.as_deref(), quiet)?;
    Ok((opened.device, choice))
}
