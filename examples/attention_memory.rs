//! Device memory of self-attention, forward and backward, over one bag of N instances: what a device holds besides
//! features and parameters, and what docs/memory.md predicts.
//!
//! `cargo run --release --example attention_memory -- DEVICE N...` takes a device as `--device` of the command line
//! does, or `noop`: buffers without a GPU, where nothing is computed.

use bagrad::device::executor::{Executor, Step};
use bagrad::device::{Device, DeviceChoice, GpuDevice, GpuOptions};
use bagrad::kernels::launch::{BatchTables, BufferKey, Input, Scalars};
use bagrad::ops::dropout::Dropout;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::self_attention::{Energy, SelfAttention};
use bagrad::plan::{self, Purpose};
use bagrad::random::Random;
use bagrad::tape::{Init, Param, Storage, Tape, ValueId};
use std::time::Instant;

const HEADS: u32 = 8;
const WIDTH: u32 = 512;
const ENERGIES: [(&str, Energy); 2] =
    [("dot", Energy::Dot { scale: 0.125 }), ("distance-aware", Energy::Distance { scale: 0.125, unit: 1.0 })];

fn param(tape: &mut Tape, name: &str, rows: u32, cols: u32) -> ValueId {
    let init = Init::Normal(1.0 / (WIDTH as f32).sqrt());
    tape.param(Param { name: name.into(), rows, cols, init, decays: true, parts: Vec::new() })
}

/// Queries, keys and values by products with weights, and self-attention of eight heads of 64 columns.
fn record(energy: Energy) -> bagrad::Result<Tape> {
    let mut tape = Tape::new();
    let x = tape.features(WIDTH as usize, Storage::F32, false);
    let mut inputs = Vec::new();
    for name in ["q", "k", "v"] {
        let weight = param(&mut tape, name, WIDTH, WIDTH);
        inputs.push(tape.push1(Linear { activation: Activation::None }, &[x, weight])?);
    }
    if let Energy::Distance { .. } = energy {
        for (name, cols) in [("u_k", WIDTH), ("u_q", WIDTH), ("u_v", WIDTH), ("curve", HEADS)] {
            inputs.push(param(&mut tape, name, 2, cols));
        }
        inputs.push(tape.batch(Input::Coords, 2));
    }
    inputs.extend([(Input::Tiles, 4), (Input::BagTiles, 1), (Input::Offsets, 1)].map(|(t, cols)| tape.batch(t, cols)));
    let out = tape.push(SelfAttention { heads: HEADS, energy, dropout: Dropout::default() }, &inputs)?[0];
    tape.output("out", out);
    Ok(tape)
}

/// Bytes for a bag of N instances besides features and parameters; see docs/memory.md.
fn predicted(energy: Energy, n: u64, params: u64) -> u64 {
    let (width, heads) = (WIDTH as u64, HEADS as u64);
    let each = match energy {
        Energy::Distance { .. } => 8 * width + 19 * heads + 2,
        _ => 8 * width + 5 * heads,
    };
    4 * (n * each + params)
}

/// (bytes besides features and parameters, seconds of forward and backward where something is computed).
fn measure(device: &Device, tape: &Tape, n: usize, compute: bool) -> bagrad::Result<(u64, Option<f64>)> {
    let tables = BatchTables::of(&[n]);
    let mut executor = Executor::new(device);
    let params = tape.param_layout().total;
    executor.ensure(BufferKey::Params, params as u64 * 4)?;
    executor.ensure(BufferKey::Grads, params as u64 * 4)?;
    let program = plan::plan(tape, Purpose::Upstream, device.target(), tables.extent)?;
    let inputs = program.inputs.clone();
    let id = executor.load(program)?;
    let beyond = |executor: &Executor| executor.memory().0 - 4 * (n * WIDTH as usize + params) as u64;
    if !compute {
        return Ok((beyond(&executor), None));
    }
    let mut random = Random::new(1, 0);
    let mut normals = |n: usize, scale: f64| -> Vec<f32> { (0..n).map(|_| (scale * random.normal()) as f32).collect() };
    executor.write(BufferKey::Params, 0, &normals(params, 0.04))?;
    for (key, bytes) in inputs {
        match key {
            BufferKey::Input(Input::Offsets) => executor.write_indices(key, &tables.offsets)?,
            BufferKey::Input(Input::Tiles) => executor.write_indices(key, &tables.tiles)?,
            BufferKey::Input(Input::BagTiles) => executor.write_indices(key, &tables.bag_tiles)?,
            _ => executor.write(key, 0, &normals(bytes as usize / 4, 1.0))?,
        }
    }
    executor.wait()?;
    let start = Instant::now();
    executor.run(id, &Step { extent: tables.extent, scalars: Scalars::default(), uploads: &[], keep: &[] })?;
    executor.wait()?;
    Ok((beyond(&executor), Some(start.elapsed().as_secs_f64())))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, sizes @ ..] = &args[..] else { return Err("usage: attention_memory DEVICE|noop N...".into()) };
    let noop = name == "noop";
    let device = match noop {
        true => Device::Gpu(GpuDevice::noop(GpuOptions::default())?),
        false => Device::open(&name.parse::<DeviceChoice>()?)?.device,
    };
    println!("{:>8}  {:<14}  {:>10}  {:>13}  {:>9}", "N", "energy", "held MB", "predicted MB", "seconds");
    for n in sizes {
        let n: usize = n.parse()?;
        for (name, energy) in ENERGIES {
            let tape = record(energy)?;
            let (bytes, seconds) = measure(&device, &tape, n, !noop)?;
            let mb = |bytes: u64| bytes as f64 / 1e6;
            let seconds = seconds.map_or("-".into(), |s| format!("{s:.2}"));
            let predicted = predicted(energy, n as u64, tape.param_layout().total as u64);
            println!("{n:>8}  {name:<14}  {:>10.1}  {:>13.1}  {seconds:>9}", mb(bytes), mb(predicted));
        }
    }
    Ok(())
}
