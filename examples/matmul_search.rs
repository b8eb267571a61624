//! Times variants of the matrix product in turn on one device and checks what they compute.
//!
//! `cargo run --release --example matmul_search -- DEVICE FORM MxNxK ROUNDS [VARIANT]..`
//!
//! FORM is nn, nt (B stored transposed) or tn (A stored transposed). A variant is a list of choices of
//! shaders/matmul.wgsl: `"ROWS=32 COLS=2 SUBGROUP8=1"` (register tiles, for drivers on the CPU) or
//! `"SIDE=8 TALL=1 WIDE=1"` (tiles in workgroup memory, for GPUs). The first line is what `choose` takes. All variants
//! run once in each round, and ratios are taken within a round, so that a slow spell hits all alike.
//! The story is in docs/matmul-search.md.

use bagrad::device::Device;
use bagrad::device::executor::{Executor, Step};
use bagrad::kernels::launch::{BufferKey, Count, Dim, Extent, Grid, Launch, Place, Scalars, Word};
use bagrad::kernels::matmul::{Form, MATMUL, Tile, choose};
use bagrad::plan::Program;
use bagrad::random::Random;
use std::time::Instant;

#[rustfmt::skip]
const NAMES: [&str; 13] = [
    "BY_ROW", "REGISTER", "ROWS", "COLS", "SUBGROUP8", "SINGLE", "CURVED", "SIDE", "TALL", "WIDE", "A_VEC", "B_VEC", "C_VEC",
];

/// The tile that a text describes; what the text does not say about vectors is as in `base`.
fn tile(text: &str, base: &Tile) -> Result<Tile, String> {
    let kept = ["A_T", "B_T", "A_F16", "B_F16", "NATIVE_F16", "A_VEC", "B_VEC", "C_VEC"];
    let mut variant: Vec<_> = base.variant.iter().filter(|(n, _)| kept.contains(n)).copied().collect();
    for choice in text.split_whitespace() {
        let (name, value) = choice.split_once('=').unwrap_or((choice, "1"));
        let name = NAMES.iter().find(|n| **n == name).ok_or_else(|| format!("{name}: expected one of {NAMES:?}"))?;
        let value: u32 = value.parse().map_err(|_| format!("{choice}: expected a number"))?;
        variant.retain(|(n, _)| n != name);
        variant.push((name, value));
    }
    let of = |name: &str| variant.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
    if let Some(rows) = of("ROWS") {
        let cols = of("COLS").unwrap_or(1);
        variant.retain(|(n, _)| *n != "COLS" && *n != "REGISTER");
        variant.extend([("COLS", cols), ("REGISTER", 1)]);
        return Ok(Tile { kernel: &MATMUL, rows, cols: 32 * cols, variant });
    }
    let (tall, wide, side) = (of("TALL").unwrap_or(0), of("WIDE").unwrap_or(0), of("SIDE").unwrap_or(16));
    variant.retain(|(n, _)| *n != "SIDE");
    variant.push(("SIDE", side));
    Ok(Tile { kernel: &MATMUL, rows: (4 * side) << tall, cols: (4 * side) << wide, variant })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [device, form, sizes, rounds, variants @ ..] = &args[..] else {
        return Err("usage: matmul_search DEVICE nn|nt|tn MxNxK ROUNDS [VARIANT]..".into());
    };
    let sizes: Vec<u32> = sizes.split('x').map(str::parse).collect::<Result<_, _>>()?;
    let [m, n, k] = sizes[..] else { return Err("sizes: expected MxNxK".into()) };
    let form = Form { a_t: form == "tn", b_t: form == "nt", a_half: false, b_half: false, rounded: false };
    let (lda, ldb) = (if form.a_t { m } else { k }, if form.b_t { k } else { n });
    let device = Device::open(&device.parse()?)?.device;
    println!("{m} x {n} x {k} on {}", device.description());

    let place = |slot, values: u32| {
        let bytes = (values as u64 * 4).next_multiple_of(256);
        Place { buffer: BufferKey::Slot(slot), offset: 0, bytes }
    };
    let places = [place(0, m * k), place(1, k * n), place(1, k * n), place(2, m * n)];
    let program = |tile: &Tile| Program {
        launches: vec![Launch {
            kernel: &MATMUL,
            variant: tile.variant.clone(),
            places: places.to_vec(),
            words: [m, n, k, lda, ldb, n, (form.a_t as u32) << 2 | (form.b_t as u32) << 3, 0]
                .map(Word::U)
                .into_iter()
                .chain([Word::F(0.0), Word::U(u32::MAX), Word::U(0), Word::GroupsX])
                .collect(),
            grid: Grid::plane(Count::per(Dim::Fixed(m), 1, tile.rows), Count::per(Dim::Fixed(n), 1, tile.cols)),
        }],
        slots: vec![places[0].bytes, places[1].bytes, places[3].bytes],
        capacity: Extent::default(),
        outputs: Vec::new(),
        loss: None,
        feature_grad: None,
        inputs: Vec::new(),
    };
    let mut random = Random::new(7, 0);
    let mut normals = |count: u32| -> Vec<f32> { (0..count).map(|_| random.normal() as f32).collect() };
    let (a, b) = (normals(m * k), normals(k * n));
    let fill = |executor: &mut Executor| -> bagrad::Result<()> {
        executor.write(BufferKey::Slot(0), 0, &a)?;
        executor.write(BufferKey::Slot(1), 0, &b)
    };
    let step = Step { extent: Extent::default(), scalars: Scalars::default(), uploads: &[], keep: &[] };
    let product = (m * n) as usize;

    let mut host = Executor::new(&Device::host());
    let id = host.load(program(&choose(&Device::host().target(), &form, m, n, [lda, ldb, n])))?;
    fill(&mut host)?;
    host.run(id, &step)?;
    let expected = host.read(places[3], product)?;

    let mut executor = Executor::new(&device);
    let chosen = choose(&device.target(), &form, m, n, [lda, ldb, n]);
    let mut tiles = vec![("as chosen", chosen.clone())];
    for text in variants {
        tiles.push((text, tile(text, &chosen)?));
    }
    let mut rows = Vec::new();
    for (name, tile) in &tiles {
        rows.push((*name, executor.load(program(tile))?, Vec::new()));
    }
    fill(&mut executor)?;
    // Drivers on the CPU compile when a kernel first runs.
    let mut compiled = Vec::new();
    for (_, id, _) in &rows {
        executor.wait()?;
        let start = Instant::now();
        executor.run(*id, &step)?;
        executor.wait()?;
        compiled.push(start.elapsed().as_secs_f64() * 1e3);
    }
    for _ in 0..rounds.parse::<usize>()? {
        for (_, id, times) in &mut rows {
            let fastest = executor.time_runs(*id, &step, 3)?.into_iter().fold(f64::INFINITY, f64::min);
            times.push(fastest);
        }
    }
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    println!("{:>10} {:>9} {:>7}  {:>8} {:>9}  variant", "ms", "GFLOP/s", "speed", "error", "first ms");
    let first = rows[0].2.clone();
    for ((name, id, times), compiled) in rows.iter().zip(compiled) {
        executor.run(*id, &step)?;
        let found = executor.read(places[3], product)?;
        let worst = found.iter().zip(&expected).fold(0.0f64, |w, (f, e)| w.max((f - e).abs()));
        let seconds = median(times.clone());
        let speed = median(first.iter().zip(times).map(|(f, t)| f / t).collect());
        let rate = 2.0 * m as f64 * n as f64 * k as f64 / seconds / 1e9;
        println!("{:10.3} {rate:9.1} {speed:7.2}  {worst:8.1e} {compiled:9.1}  {name}", seconds * 1e3);
    }
    Ok(())
}
