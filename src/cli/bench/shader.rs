//! `bagrad bench --shader`: a shader from a file.

use super::keep::Keep;
use crate::cli::table::table;
use crate::cli::{answer, answer_json, note};
use anyhow::{Context, Result, bail};
use bagrad::bench::foreign::{self, Asked, Buffer, Found, Like, Params, Value, values};
use bagrad::bench::kernels::Rounds;
use bagrad::bench::run::{Begun, How};
use bagrad::device::Device;
use serde_json::json;
use std::path::PathBuf;

/// Arguments of a shader.
#[derive(clap::Args)]
pub struct Args {
    /// Time an entry point of this WGSL file instead, compiled as wgpu does it by default, with its checks
    #[arg(long, value_name = "FILE", requires = "grid",
        conflicts_with_all = ["steps", "tune", "statistics", "product", "filter", "sizes"])]
    pub shader: Option<PathBuf>,
    /// With --shader: the entry point [default: the only one]
    #[arg(long, value_name = "NAME", requires = "shader")]
    entry: Option<String>,
    /// With --shader: a buffer for the variable NAME, of f32, f16, u32 or i32; filled with random, zeros, ones, index or a
    /// number
    #[arg(long = "buffer", value_name = "NAME=TYPE:COUNT:FILL", requires = "shader")]
    buffers: Vec<Buffer>,
    /// With --shader: the numbers of a uniform buffer, of immediates or of a small buffer, with types as in WGSL: p=16u,0.5f
    #[arg(long, value_name = "NAME=NUMBERS", requires = "shader")]
    params: Vec<Params>,
    /// With --shader: the value of an override
    #[arg(long = "constant", value_name = "NAME=VALUE", value_parser = constant, requires = "shader")]
    constants: Vec<(String, f64)>,
    /// With --shader: workgroups along x, y and z
    #[arg(long, value_name = "X,Y,Z", value_parser = grid, requires = "shader")]
    grid: Option<Grid>,
    /// With --shader: hold what it writes against the reference of this kernel of bagrad, which has the same bindings
    #[arg(long, value_name = "KERNEL", requires = "shader")]
    like: Option<String>,
    /// With --like: the words of the kernel's parameters [default: those of --params]
    #[arg(long, value_name = "NUMBERS", value_parser = numbers, requires = "like")]
    like_words: Option<Numbers>,
    /// With --shader: operations of a launch, for GFLOP/s
    #[arg(long, value_name = "N", requires = "shader")]
    flops: Option<u64>,
    /// With --shader: bytes of a launch, for GB/s [default: each buffer once for reading, and once for writing]
    #[arg(long, value_name = "N", requires = "shader")]
    bytes: Option<u64>,
}

/// Workgroups.
#[derive(Clone, Copy)]
struct Grid([u32; 3]);

/// Not a list of arguments.
#[derive(Clone)]
struct Numbers(Vec<Value>);

fn numbers(text: &str) -> Result<Numbers, String> {
    values(text).map(Numbers)
}

fn grid(text: &str) -> Result<Grid, String> {
    let sides: Option<Vec<u32>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
    let sides = sides.filter(|s| (1..=3).contains(&s.len()) && s.iter().all(|n| *n > 0));
    let sides = sides.ok_or_else(|| format!("{text:?}: expected X, X,Y or X,Y,Z, each at least 1"))?;
    Ok(Grid([sides[0], sides.get(1).copied().unwrap_or(1), sides.get(2).copied().unwrap_or(1)]))
}

fn constant(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let value: f64 = value.trim().parse().map_err(|_| format!("{value:?} is no number"))?;
    Ok((name.trim().to_owned(), value))
}

/// Times it, and prints.
///
/// # Errors
/// What does not fit, and what the device answers.
pub fn run(
    args: &Args,
    path: &PathBuf,
    device: &Device,
    rounds: Rounds,
    (keep, label, print): (Keep, Option<String>, bool),
) -> Result<()> {
    let Some(Grid(grid)) = args.grid else { bail!("--shader needs --grid") };
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let asked = Asked {
        file,
        text,
        entry: args.entry.clone(),
        buffers: args.buffers.clone(),
        params: args.params.clone(),
        constants: args.constants.clone(),
        grid,
        flops: args.flops,
        bytes: args.bytes,
    };
    let words = args.like_words.clone().map(|Numbers(words)| words);
    let like = args.like.as_deref().map(|name| Like::named(name, words)).transpose()?;
    let begun = Begun::now();
    let found = foreign::measure(device, &asked, like.as_ref(), rounds)?;
    let mut run = begun.end(device, How::of(rounds, "shader"), None, vec![found.timed.clone()]);
    run.label = label;
    keep.put(&run, &[], &[])?;
    if print {
        return answer_json(&as_json(&found));
    }
    tell(&found, like.as_ref())
}

fn as_json(found: &Found) -> serde_json::Value {
    let Found { entry, timed, written, against } = found;
    json!({
        "entry": entry.name, "workgroup": entry.workgroup, "workgroup_memory": entry.workgroup_memory,
        "shape": timed.shape, "median_us": timed.median_us, "min_us": timed.min_us,
        "gflops": timed.flops as f64 / timed.median_us / 1e3, "gbps": timed.bytes as f64 / timed.median_us / 1e3,
        "written": written, "against": against,
    })
}

fn tell(found: &Found, like: Option<&Like>) -> Result<()> {
    let Found { entry, timed, written, against } = found;
    let workgroup = entry.workgroup.map_or("set by constants".to_owned(), |[x, y, z]| format!("{x}x{y}x{z}"));
    note(
        false,
        format!("{}: workgroups of {workgroup}, {} bytes of workgroup memory", entry.name, entry.workgroup_memory),
    );
    let rate = |count: u64| match count {
        0 => "-".to_owned(),
        n => format!("{:.1}", n as f64 / timed.median_us / 1e3),
    };
    let times = [timed.median_us, timed.min_us].map(|us| format!("{us:.1}"));
    let cells =
        [&[timed.kernel.clone(), timed.shape.clone()], &times[..], &[rate(timed.flops), rate(timed.bytes)]].concat();
    let mut text = table(&["shader", "shape", "median us", "min us", "GFLOP/s", "GB/s"], &[cells]) + "\n";
    for w in written {
        let bad = if w.not_finite > 0 { format!(", {} not finite", w.not_finite) } else { String::new() };
        text += &format!("{}: a launch changed {} of {} values{bad}\n", w.name, w.changed, w.values);
        if w.changed == 0 {
            text += "  nothing was written: the times may be those of a shader that the compiler has emptied\n";
        }
    }
    for a in against {
        let name = like.map_or("", |l| l.kernel.name);
        text += &format!("{}: error {:.2e} against {name}, over {} values\n", a.name, a.error, a.values);
    }
    answer(&text)
}
