//! Seconds that reading takes: of each path given, a line of JSON. `benches/reading.py` runs it beside other programs.
//!
//!     cargo run --release --example read_speed -- open features_uni_v1/
//!     cargo run --release --example read_speed -- copy uni.bags
//!     cargo run --release --example read_speed -- plain uni.bags
//!     cargo run --release --example read_speed -- epoch uni.bags
//!
//! `open` opens the data as any program does: features of slides are read into memory, those of a packed file are looked
//! through where they lie. `copy` opens it, and then times how all bags are copied from the map, one after the other, into
//! memory that a step would upload. `plain` reads the bytes of the files with nothing done to them. `epoch` trains gated
//! attention on the host for some epochs, with features in the file and in memory: the difference is what training waits for
//! the file.

use anyhow::{Context, Result, bail};
use bagrad::data::Dataset;
use bagrad::device::DeviceChoice;
use bagrad::methods::Method;
use bagrad::training::{Cache, Settings};
use bagrad::{Device, Features, Scaling, Trainer};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (what, paths) = args.split_first().context("expected open, copy, plain or epoch, and paths")?;
    for path in paths {
        let path = Path::new(path);
        let seconds = match what.as_str() {
            "open" => open(path)?,
            "copy" => copy(path)?,
            "plain" => plain(path)?,
            "epoch" => epochs(path)?,
            _ => bail!("expected open, copy, plain or epoch, found {what}"),
        };
        println!("{}", serde_json::json!({ "path": path, "what": what, "seconds": seconds }));
    }
    Ok(())
}

fn open(path: &Path) -> Result<Vec<f64>> {
    let clock = Instant::now();
    let set = Dataset::open(path)?;
    let seconds = clock.elapsed().as_secs_f64();
    assert!(set.bags.instances() > 0);
    Ok(vec![seconds])
}

fn copy(path: &Path) -> Result<Vec<f64>> {
    let set = Dataset::open(path)?;
    let bags = &set.bags;
    let clock = Instant::now();
    let mut values = 0;
    for bag in 0..bags.len() {
        let rows = bags.rows(bag);
        values += bags.features.slice(rows.start * bags.width..rows.end * bags.width).len();
    }
    assert_eq!(values, bags.features.len());
    Ok(vec![clock.elapsed().as_secs_f64()])
}

fn plain(path: &Path) -> Result<Vec<f64>> {
    let files: Vec<PathBuf> = match path.is_dir() {
        true => std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?,
        false => vec![path.into()],
    };
    let mut buffer = vec![0; 4 << 20];
    let clock = Instant::now();
    for file in files {
        let mut file = File::open(file)?;
        while file.read(&mut buffer)? > 0 {}
    }
    Ok(vec![clock.elapsed().as_secs_f64()])
}

/// Seconds of an epoch from the file and from memory, in turn. The labels are made up: bags alternate.
fn epochs(path: &Path) -> Result<Vec<f64>> {
    let mut set = Dataset::open(path)?;
    let labels = (0..set.bags.len()).map(|bag| bag as u32 % 2).collect();
    set.bags = set.bags.with_labels(labels)?;
    let mut in_memory = set.bags.clone();
    in_memory.features = in_memory.features.slice(0..in_memory.features.len());
    assert!(matches!(set.bags.features, Features::Mapped(_)), "expected a packed file");
    let device = Device::open(&DeviceChoice::Host)?.device;
    let method: Method = serde_json::from_str(r#"{"method": "gated-attention"}"#)?;
    let mut seconds = Vec::new();
    for _ in 0..3 {
        for (bags, cache) in [(&set.bags, Cache::None), (&in_memory, Cache::Host)] {
            let settings = Settings { epochs: 3, batch: 1, cache, ..Settings::for_method(&method) };
            let trainer = Trainer::new(method.clone()).settings(settings).scaling(Scaling::None).device(&device);
            let clock = Instant::now();
            let trainer = trainer.division((0..bags.len()).collect::<Vec<_>>(), Vec::new());
            drop(trainer.fit(bags)?);
            seconds.push(clock.elapsed().as_secs_f64() / 3.0);
        }
    }
    Ok(seconds)
}
