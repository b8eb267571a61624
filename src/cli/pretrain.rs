//! `bagrad pretrain`: an encoder of patches, by contrast, by classes, or as it starts.

use super::args::{self, Output, Where};
use super::interruption::{self, Interruption};
use super::patches::{Bar, Pictures};
use super::{answer, answer_json, note, open_device};
use anyhow::{Context, Result};
use bagrad::files::{Claim, Kind, write_atomically};
use bagrad::methods::encoder::{self, Objective};
use bagrad::pretrain::{self, Augmentation, Settings};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::path::PathBuf;

const HELP: &str = "\
Beside ENCODER.safetensors, ENCODER.metrics.jsonl tells of every epoch. Patches of test bags (split.npy) are left out
unless --test-bags is given. docs/pretraining.md tells of every setting.

Examples:
  bagrad pretrain --images slides/ --size 224 --network resnet18 --lr 1e-4 --batch 512 --out encoder.safetensors
  bagrad pretrain --images textures,train=200 --epochs 20 --out encoder.safetensors
  bagrad pretrain --images textures,train=200 --labels --out supervised.safetensors     by classes of patches
  bagrad pretrain --images textures --epochs 0 --out random.safetensors                  as it starts";

/// Arguments of `bagrad pretrain`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    pictures: Pictures,
    /// File to write, .safetensors
    #[arg(long, value_name = "ENCODER")]
    out: PathBuf,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
    /// Learn the classes of patches (instance_labels.npy, patch_labels.csv) instead of the contrast
    #[arg(long)]
    labels: bool,
    /// The network to start from
    #[arg(long, value_enum, default_value_t = Network::Small)]
    network: Network,
    /// Setting of the network, repeatable: stem, stem_pool, widths, blocks, projection, temperature
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Setting of the views, repeatable: area, ratio, flip, jitter_chance, jitter, grey, blur, blur_sigma, blur_size
    #[arg(long = "view", value_name = "NAME=VALUE")]
    view: Vec<String>,
    /// Passes over the patches; 0 writes the encoder as it starts [default: 30]
    #[arg(long)]
    epochs: Option<u32>,
    /// Patches of an update [default: 128]
    #[arg(long)]
    batch: Option<usize>,
    /// Learning rate of Adam [default: 0.001]
    #[arg(long)]
    lr: Option<f64>,
    /// Strength of the weight decay [default: 0.00001]
    #[arg(long)]
    weight_decay: Option<f32>,
    /// Epochs before the learning rate begins to fall along half a cosine [default: a tenth of them]
    #[arg(long, value_name = "EPOCHS")]
    warm: Option<u32>,
    /// Share of the patches that chooses the epoch which is kept [default: 0.1]
    #[arg(long, value_name = "FRACTION")]
    validation: Option<f64>,
    /// See the patches of test bags too
    #[arg(long)]
    test_bags: bool,
    /// Seed of the weights, the division, the order and the views [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    #[command(flatten)]
    interruption: Interruption,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Network {
    /// Three blocks, 64 features: for a CPU
    Small,
    /// ResNet-18 with instance norms, 512 features: the paper's
    Resnet18,
}

/// `start` with settings replaced.
fn with<T: Serialize + DeserializeOwned>(start: T, pairs: &[String], flag: &str) -> Result<T> {
    let mut all = serde_json::to_value(start)?;
    let object = all.as_object_mut().expect("a struct is an object");
    let asked = args::settings(pairs)?;
    for (name, value) in &asked {
        if !object.contains_key(name) || ["image", "objective"].contains(&name.as_str()) {
            let known = object.keys().filter(|k| !["image", "objective"].contains(&k.as_str()));
            let known: Vec<&str> = known.map(String::as_str).collect();
            anyhow::bail!("{flag} {name}: there is no such setting; there are: {}", known.join(", "));
        }
        object.insert(name.clone(), value.clone());
    }
    let names: Vec<&str> = asked.keys().map(String::as_str).collect();
    serde_json::from_value(all).with_context(|| format!("{flag} {}", names.join(", ")))
}

impl Args {
    fn network(&self) -> Result<encoder::Encoder> {
        let start = match self.network {
            Network::Small => encoder::Encoder::default(),
            Network::Resnet18 => encoder::Encoder::resnet18(),
        };
        let objective = if self.labels { Objective::Classes } else { Objective::Contrast };
        with(encoder::Encoder { objective, ..start }, &self.set, "--set")
    }

    fn settings(&self) -> Result<Settings> {
        let d = Settings::default();
        Ok(Settings {
            epochs: self.epochs.unwrap_or(d.epochs),
            batch: self.batch.unwrap_or(d.batch),
            learning_rate: self.lr.unwrap_or(d.learning_rate),
            weight_decay: self.weight_decay.unwrap_or(d.weight_decay),
            warm: self.warm,
            validation: self.validation.unwrap_or(d.validation),
            test_bags: self.test_bags,
            seed: self.seed.unwrap_or(d.seed),
            augmentation: with(Augmentation::default(), &self.view, "--view")?,
        })
    }
}

/// Pretrains, writes, tells.
///
/// # Errors
/// Of the arguments, the pictures, the device, or the file to write.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    let (network, settings) = (args.network()?, args.settings()?);
    settings.validate()?;
    let metrics = args.out.with_extension("metrics.jsonl");
    let files = [(args.out.as_path(), Kind::Model), (metrics.as_path(), Kind::Epochs)];
    let claim = Claim::files(&files, args.force, &[args.pictures.path()])?;
    let resume = args.interruption.found(Some(&args.out))?;
    let patches = args.pictures.open()?;
    let (device, _) = open_device(&args.device, None, quiet)?;
    let out = (Some(args.out.as_path()), args.force);
    let persistence = args.interruption.persistence(out, resume, &device, "", quiet)?;
    let mut bar = Bar::new(quiet, u64::from(settings.epochs));
    let done = pretrain::pretrain_on(&device, network, &settings, &patches, &mut bar, persistence);
    bar.end();
    let done = done?;
    let lines = done.epochs.iter().map(|e| serde_json::to_string(e).map(|l| l + "\n"));
    write_atomically(claim.staged(&metrics), lines.collect::<Result<String, _>>()?)?;
    done.model.save(claim.staged(&args.out))?;
    claim.commit()?;
    interruption::over(&args.out)?;
    let last = done.kept.map(|kept| &done.epochs[kept as usize]);
    let width = done.model.spec().method.get::<encoder::Encoder>().map_or(0, encoder::Encoder::width);
    if args.output.json {
        let seconds: f64 = done.epochs.iter().map(|e| e.seconds).sum();
        let of = |f: fn(&pretrain::Epoch) -> Option<f64>| last.and_then(f).map_or(Value::Null, |v| json!(v));
        return answer_json(&json!({
            "out": args.out.display().to_string(),
            "images": args.pictures.name(),
            "patches": patches.len(),
            "training": done.training,
            "validation": done.validation,
            "features": width,
            "parameters": done.model.parameter_count(),
            "epochs": done.epochs.len(),
            "kept": done.kept,
            "loss": of(|e| Some(e.loss)),
            "validation_loss": of(|e| e.validation_loss),
            "validation_accuracy": of(|e| e.validation_accuracy),
            "patches_per_second": (seconds > 0.0).then(|| (done.training * done.epochs.len()) as f64 / seconds),
            "seconds": done.seconds,
            "device": device.name(),
        }));
    }
    let kept = match last {
        Some(e) => {
            let validation = e.validation_loss.map_or(String::new(), |v| format!(", validation loss {v:.4}"));
            format!("epoch {} of {} kept: loss {:.4}{validation}", e.epoch + 1, done.epochs.len(), e.loss)
        }
        None => "the encoder as it starts".into(),
    };
    answer(&format!("{kept}\n{width} features a patch, {:.1} s on {}\n", done.seconds, device.name()))?;
    note(quiet, format!("written: {} and {}", args.out.display(), metrics.display()));
    Ok(())
}
