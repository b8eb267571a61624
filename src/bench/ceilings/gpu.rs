//! The ceilings of a GPU, by the shaders in `shaders/ceilings/`.

use super::{Ceiling, settle, sized};
use crate::device::GpuDevice;
use crate::device::foreign::{Access, Foreign, Source, reflect};
use crate::error::Result;
use std::time::Instant;

const MEMORY: &str = include_str!("../../../shaders/ceilings/memory.wgsl");
const ARITHMETIC: &str = include_str!("../../../shaders/ceilings/arithmetic.wgsl");
const HALF: &str = include_str!("../../../shaders/ceilings/half.wgsl");
const WORKGROUP: &str = include_str!("../../../shaders/ceilings/workgroup.wgsl");
const SUBGROUP: &str = include_str!("../../../shaders/ceilings/subgroup.wgsl");
const LAUNCH: &str = include_str!("../../../shaders/ceilings/launch.wgsl");
const MATRIX: &str = include_str!("../../../shaders/ceilings/matrix.wgsl");

const REPEATS: usize = 5;
/// Rounds of all loops of an invocation: llvmpipe ends them after 65,535.
const ROUNDS: u64 = 60_000;
/// The point that a = exp(-a) goes to.
const OMEGA: f32 = 0.567_143_3;

/// Bytes that a buffer of a shader holds, by the name of its variable.
type Held = Vec<(&'static str, Vec<u8>)>;

/// A shader with its buffers.
struct Probe {
    shader: Foreign,
    /// Buffers in the order of the bindings: name and bytes.
    buffers: Vec<(&'static str, Vec<u8>)>,
    grid: [u32; 3],
    /// Nanoseconds that a run should take.
    least: f64,
}

/// What a probe found.
struct Timed {
    passes: u32,
    ns: Vec<f64>,
    grown: Result<(), String>,
    /// The buffers after the last run, by name.
    after: Held,
}

impl Timed {
    fn after(&self, name: &str) -> &[u8] {
        &self.after.iter().find(|(n, _)| *n == name).expect("a buffer of the shader").1
    }

    fn words(&self, name: &str) -> Vec<u32> {
        self.after(name).chunks_exact(4).map(|b| u32::from_ne_bytes(b.try_into().expect("4 bytes"))).collect()
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.words(name).into_iter().map(f32::from_bits).collect()
    }
}

impl Probe {
    fn new(gpu: &GpuDevice, text: &str, entry: &str, held: Held, groups: u32) -> Result<Self> {
        let entry = reflect(text, Some(entry))?;
        let bound = entry.bound.iter().filter(|b| b.access != Access::Immediate);
        let find = |name: &str| held.iter().find(|(n, _)| *n == name).expect("every buffer has its numbers").clone();
        let buffers: Held = bound.map(|b| find(&b.name)).collect();
        let sizes: Vec<u64> = buffers.iter().map(|(_, bytes)| bytes.len() as u64).collect();
        let words = entry.bound.iter().find(|b| b.access == Access::Immediate).map_or(0, |b| b.least as usize);
        let source = Source { file: "ceilings", text, entry: &entry, constants: &[], own: true };
        let shader = Foreign::new(gpu, &source, &sizes, vec![0; words])?;
        let least = if gpu.facts().kind == "software" { 2e7 } else { 5e6 };
        let mut probe = Self { shader, buffers, grid: [groups, 1, 1], least };
        probe.fill()?;
        Ok(probe)
    }

    fn fill(&mut self) -> Result<()> {
        for (n, (_, bytes)) in self.buffers.iter().enumerate() {
            self.shader.write(n, bytes)?;
        }
        Ok(())
    }

    /// Runs with twice as many passes again and again until it takes long enough, at most `most`; `words` are the
    /// parameters for so many passes.
    fn run(&mut self, most: u64, words: impl Fn(u32) -> Vec<u32>) -> Result<Timed> {
        let set = |shader: &mut Foreign, passes| {
            shader.set_immediates(words(passes).into_iter().flat_map(u32::to_ne_bytes).collect());
        };
        let mut passes = 1;
        loop {
            set(&mut self.shader, passes);
            let ns = self.shader.time(self.grid, 1)?;
            if ns >= self.least || u64::from(passes) * 2 > most || ns == 0.0 {
                break;
            }
            passes *= 2;
        }
        let best = |passes: usize| {
            set(&mut self.shader, passes as u32);
            let times = (0..3).map(|_| self.shader.time(self.grid, 1)).collect::<Result<Vec<f64>>>()?;
            Ok(times.into_iter().fold(f64::INFINITY, f64::min))
        };
        let most = most.min(1 << 31) as usize;
        let (passes, grown) =
            if passes >= 16 { settle(passes as usize, most, best)? } else { (passes as usize, Ok(())) };
        let passes = passes as u32;
        set(&mut self.shader, passes);
        let ns = (0..REPEATS).map(|_| self.shader.time(self.grid, 1)).collect::<Result<Vec<f64>>>()?;
        // What is compared is of one run from the start.
        self.fill()?;
        self.shader.time(self.grid, 1)?;
        let read = |(n, (name, bytes)): (usize, &(&'static str, Vec<u8>))| {
            Ok((*name, self.shader.read(n, bytes.len() as u64)?))
        };
        let after = self.buffers.iter().enumerate().map(read).collect::<Result<Held>>()?;
        Ok(Timed { passes, ns, grown, after })
    }
}

fn bytes(words: impl IntoIterator<Item = u32>) -> Vec<u8> {
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

fn right(is: bool, what: &str) -> Result<(), String> {
    if is { Ok(()) } else { Err(format!("{what} are wrong: the driver did something else than the shader says")) }
}

/// All of them.
pub(super) fn measure(gpu: &GpuDevice) -> Result<Vec<Ceiling>> {
    let facts = gpu.facts();
    let software = facts.kind == "software";
    let has = |feature: &str| facts.features.iter().any(|f| f == feature);
    let mut all = Vec::new();
    // What a driver of the CPU and checks of a debug build take long for tells nothing more.
    let largest = match (software, cfg!(debug_assertions)) {
        (_, true) => 1 << 20,
        (true, false) => 128 << 20,
        (false, false) => u64::MAX,
    };
    let binding = facts.limits.get("max_storage_buffer_binding_size").copied().unwrap_or(128 << 20);
    for size in [64 << 10, 1 << 20, 8 << 20, 32 << 20, 128 << 20, 512 << 20] {
        if size <= binding.min(largest) {
            all.extend(memory(gpu, size, software)?);
        }
    }
    let groups = if software { 64 } else { 4096 };
    all.extend(arithmetic(gpu, groups)?);
    match has("SHADER_F16") {
        true => all.push(half(gpu, groups)?),
        false => all.push(Ceiling::absent("f16 multiply-add", "GFLOP/s", "the device has no f16 in shaders")),
    }
    all.push(workgroup(gpu, groups)?);
    match has("SUBGROUP") {
        true => all.push(subgroup(gpu, groups)?),
        false => all.push(Ceiling::absent("subgroup sum", "Gop/s", "the device has no operations of subgroups")),
    }
    all.extend(matrices(gpu, groups, facts.subgroups.map_or(32, |(_, most)| most))?);
    all.extend(launches(gpu)?);
    all.extend(transfers(gpu)?);
    all.push(compiling(gpu)?);
    Ok(all)
}

fn memory(gpu: &GpuDevice, size: u64, software: bool) -> Result<Vec<Ceiling>> {
    let elements = (size / 16) as u32;
    // Enough invocations to fill a device, and no more rounds of each than drivers allow.
    let most = if software { 64 } else { 2048 };
    let groups = (elements / 256).clamp(1, most);
    let threads = groups * 256;
    let x = || bytes((0..elements * 4).map(|i| i.wrapping_mul(0x9E37_79B9)));
    let held = || vec![("x", x()), ("y", vec![0; size as usize]), ("sums", vec![0; threads as usize * 4])];
    let rounds = u64::from(elements.div_ceil(threads));
    let most = (ROUNDS / (rounds + 1)).max(1);
    let moved = |t: &Timed| f64::from(t.passes) * size as f64;
    let mut all = Vec::new();
    for (what, times) in [("read", 1.0), ("write", 1.0), ("copy", 2.0)] {
        let t = Probe::new(gpu, MEMORY, &format!("{what}_all"), held(), groups)?
            .run(most, |passes| vec![elements - 1, passes])?;
        let check = match what {
            "read" => {
                let once = (0..elements * 4).fold(0u32, |sum, i| sum.wrapping_add(i.wrapping_mul(0x9E37_79B9)));
                let found = t.words("sums").into_iter().fold(0u32, u32::wrapping_add);
                right(found == once.wrapping_mul(t.passes), "sums")
            }
            "write" => {
                let y = t.words("y");
                let is = |(i, v): (usize, &[u32])| v == [i as u32, 3 * i as u32, !(i as u32), 7];
                right(y.chunks_exact(4).enumerate().all(is), "values")
            }
            _ => {
                let y = t.words("y");
                let is = |(i, v): (usize, &u32)| *v == (i as u32).wrapping_mul(0x9E37_79B9).wrapping_add(1);
                right(y.iter().enumerate().all(is), "values")
            }
        };
        let rate = Ceiling::rate(what, &sized(size), "GB/s", times * moved(&t), t.ns.clone());
        all.push(rate.checked(check.and(t.grown)).over(size));
    }
    Ok(all)
}

/// Buffers of shaders that compute: factors, and a place for four numbers of each invocation.
fn numbers(groups: u32, factors: [u32; 2]) -> Held {
    let places = groups as usize * 256 * 4 * 4;
    let floats = bytes([1.0f32, 1.0, 1.0 / 1024.0].map(f32::to_bits));
    vec![("floats", floats), ("words", bytes(factors)), ("reals", vec![0; places]), ("naturals", vec![0; places])]
}

const FACTORS: [u32; 2] = [1_664_525, 1_013_904_223];

fn arithmetic(gpu: &GpuDevice, groups: u32) -> Result<Vec<Ceiling>> {
    // 16 numbers, four steps.
    let each = 64.0 * f64::from(groups) * 256.0;
    let run =
        |entry: &str| Probe::new(gpu, ARITHMETIC, entry, numbers(groups, FACTORS), groups)?.run(ROUNDS, |p| vec![p]);
    let first = |id: usize| (id / 4 % 8) as u32;

    let t = run("multiply_add")?;
    let steps = (4 * t.passes) as f32;
    let is = |(id, v): (usize, f32)| v == first(id) as f32 + (id % 4) as f32 + steps;
    let check = right(t.floats("reals").into_iter().enumerate().all(is), "sums");
    let work = 2.0 * each * f64::from(t.passes);
    let float = Ceiling::rate("f32 multiply-add", "", "GFLOP/s", work, t.ns).checked(check.and(t.grown));

    let t = run("integer_multiply_add")?;
    let [b, c] = FACTORS;
    let step = |a: u32| a.wrapping_mul(b).wrapping_add(c);
    let end = |start: u32| (0..4 * t.passes).fold(start, |a, _| step(a));
    let ends: Vec<u32> = (0..32).map(|n: u32| end((n / 4).wrapping_add((n % 4).wrapping_mul(c)))).collect();
    let is = |(id, v): (usize, u32)| v == ends[id % 32];
    let check = right(t.words("naturals").into_iter().enumerate().all(is), "numbers");
    let work = 2.0 * each * f64::from(t.passes);
    let integer = Ceiling::rate("integer multiply-add", "", "Gop/s", work, t.ns).checked(check.and(t.grown));

    let t = run("exponential")?;
    // Each step takes 0.57 of the distance.
    let far = t.passes < 16;
    let is = |v: f32| far || (v - OMEGA).abs() < 1e-4;
    let check = right(t.floats("reals").into_iter().all(is), "limits");
    let work = each * f64::from(t.passes);
    let exponential = Ceiling::rate("exponentials", "", "Gop/s", work, t.ns).checked(check.and(t.grown));
    Ok(vec![float, integer, exponential])
}

fn half(gpu: &GpuDevice, groups: u32) -> Result<Ceiling> {
    let mut probe = Probe::new(gpu, HALF, "half_multiply_add", numbers(groups, FACTORS), groups)?;
    let t = probe.run(ROUNDS / 501, |p| vec![p])?;
    // 2000 steps of 1 / 1024, two of the four from one step on.
    let once = |id: usize| (2000 + (id % 4 / 2)) as f32 / 1024.0;
    let is = |(id, v): (usize, f32)| v == once(id) * t.passes as f32;
    let check = right(t.floats("reals").into_iter().enumerate().all(is), "sums");
    let work = 2.0 * 64.0 * 500.0 * f64::from(groups) * 256.0 * f64::from(t.passes);
    Ok(Ceiling::rate("f16 multiply-add", "", "GFLOP/s", work, t.ns).checked(check.and(t.grown)))
}

fn workgroup(gpu: &GpuDevice, groups: u32) -> Result<Ceiling> {
    let mut probe = Probe::new(gpu, WORKGROUP, "shared_read", numbers(groups, FACTORS), groups)?;
    let t = probe.run(ROUNDS, |p| vec![p])?;
    let held = |at: u32| match at {
        at if at < 256 => at + (at + 1) + at * at + 5,
        at => 3 * (at - 256) + 1 + (at - 256) + 9,
    };
    let sum = |lane: u32| (0..4 * t.passes).fold(0u32, |sum, n| sum.wrapping_add(held(lane.wrapping_add(n) & 511)));
    let wanted: Vec<u32> = (0..256).map(sum).collect();
    let found = t.words("naturals");
    let check = right(found[..groups as usize * 256].iter().enumerate().all(|(id, v)| *v == wanted[id % 256]), "sums");
    let work = 16.0 * 4.0 * f64::from(groups) * 256.0 * f64::from(t.passes);
    Ok(Ceiling::rate("workgroup memory", "8 KiB", "GB/s", work, t.ns).checked(check.and(t.grown)))
}

fn subgroup(gpu: &GpuDevice, groups: u32) -> Result<Ceiling> {
    let mut probe = Probe::new(gpu, SUBGROUP, "subgroup_sum", numbers(groups, FACTORS), groups)?;
    let t = probe.run(ROUNDS, |p| vec![p])?;
    let end = |size: u32| (0..t.passes).fold(FACTORS[1], |sum, n| size.wrapping_mul(sum ^ n) & 0xffff);
    let found = t.words("naturals");
    let pairs = || found[..groups as usize * 64 * 2].chunks_exact(2);
    let mut sizes: Vec<u32> = pairs().map(|p| p[1]).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let ends: Vec<(u32, u32)> = sizes.iter().map(|size| (*size, end(*size))).collect();
    let check = right(pairs().all(|p| ends.contains(&(p[1], p[0]))), "sums");
    let size = sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" and ");
    let work = f64::from(groups) * 64.0 * f64::from(t.passes);
    let found = Ceiling::rate("subgroup sum", &format!("{size} invocations"), "Gop/s", work, t.ns);
    Ok(found.checked(check.and(t.grown)))
}

/// The shader of squares of one shape.
fn matrix_text(side: u32, ab: &str, cr: &str, lanes: u32) -> String {
    let values =
        [("${SIDE}", side.to_string()), ("${AB}", ab.into()), ("${CR}", cr.into()), ("${LANES}", lanes.to_string())];
    values.iter().fold(MATRIX.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn matrices(gpu: &GpuDevice, groups: u32, lanes: u32) -> Result<Vec<Ceiling>> {
    let mut all = Vec::new();
    for tile in gpu.tiles() {
        let (side, what) = (tile.m, format!("matrices {}x{}x{} {} to {}", tile.m, tile.n, tile.k, tile.ab, tile.cr));
        let floats = |kind: &str| kind == "f16" || kind == "f32";
        if !tile.usable || !floats(tile.ab) || !floats(tile.cr) {
            all.push(Ceiling::absent(&what, "GFLOP/s", "WGSL names squares of f16 and f32 alone"));
            continue;
        }
        let number = |kind: &str, v: f32| match kind {
            "f16" => half::f16::from_f32(v).to_ne_bytes().to_vec(),
            _ => v.to_ne_bytes().to_vec(),
        };
        let square = (side * side) as usize;
        let places = groups as usize * 4 * square;
        let held = vec![
            ("a", number(tile.ab, 1.0 / side as f32).repeat(square)),
            ("b", number(tile.ab, 1.0).repeat(square)),
            ("zero", number(tile.cr, 0.0).repeat(square)),
            ("c", number(tile.cr, 0.0).repeat(places)),
        ];
        let text = matrix_text(side, tile.ab, tile.cr, lanes);
        // Sums of f16 count to 2048.
        let most = if tile.cr == "f16" { 2000 } else { ROUNDS };
        let found =
            Probe::new(gpu, &text, "matrix_multiply_add", held, groups).and_then(|mut p| p.run(most, |p| vec![p]));
        let t = match found {
            Ok(t) => t,
            Err(e) => {
                all.push(Ceiling::absent(&what, "GFLOP/s", &e.to_string()));
                continue;
            }
        };
        let wanted = number(tile.cr, t.passes as f32);
        let check = right(t.after("c").chunks_exact(wanted.len()).all(|v| v == wanted), "sums");
        let work = 2.0 * 4.0 * f64::from(side).powi(3) * f64::from(groups) * f64::from(t.passes);
        all.push(Ceiling::rate(&what, "", "GFLOP/s", work, t.ns).checked(check.and(t.grown)));
    }
    Ok(all)
}

fn launches(gpu: &GpuDevice) -> Result<Vec<Ceiling>> {
    let mut probe = Probe::new(gpu, LAUNCH, "count", vec![("naturals", vec![0; 16])], 1)?;
    const MANY: usize = 500;
    let mut count = 0;
    let mut us = Vec::new();
    for _ in 0..=REPEATS {
        us.push(probe.shader.time([1, 1, 1], MANY)? / 1e3 / MANY as f64);
        count += MANY as u32;
    }
    let turns = (0..50).map(|_| Ok(probe.shader.turn([1, 1, 1])? * 1e6)).collect::<Result<Vec<f64>>>()?;
    count += 50;
    let check = right(probe.shader.read(0, 4)? == count.to_ne_bytes(), "counts");
    let launch = Ceiling::of("launch after another", "one workgroup", "us", us[1..].to_vec()).checked(check.clone());
    let turn = Ceiling::of("submission to completion", "one workgroup", "us", turns[5..].to_vec());
    Ok(vec![launch, turn.checked(check)])
}

fn transfers(gpu: &GpuDevice) -> Result<Vec<Ceiling>> {
    let mut all = Vec::new();
    for size in [64 << 10, 64 << 20] {
        let from = bytes((0..size / 4).map(|i: u32| i.wrapping_mul(0x85EB_CA6B)));
        let mut probe = Probe::new(gpu, LAUNCH, "count", vec![("naturals", from.clone())], 1)?;
        let (mut up, mut down, mut same) = (Vec::new(), Vec::new(), true);
        for _ in 0..=REPEATS {
            let start = Instant::now();
            probe.shader.write(0, &from)?;
            up.push(start.elapsed().as_secs_f64() * 1e9);
            let start = Instant::now();
            let back = probe.shader.read(0, size.into())?;
            down.push(start.elapsed().as_secs_f64() * 1e9);
            same &= back == from;
        }
        let check = right(same, "bytes");
        let rate = |what: &str, ns: &[f64]| {
            let rate = Ceiling::rate(what, &sized(size.into()), "GB/s", f64::from(size), ns[1..].to_vec());
            rate.checked(check.clone()).over(size.into())
        };
        all.extend([rate("upload", &up), rate("read back", &down)]);
    }
    Ok(all)
}

/// A shader that no cache has seen yet.
fn compiling(gpu: &GpuDevice) -> Result<Ceiling> {
    let mut ms = Vec::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.subsec_nanos());
    for n in 0..3 {
        let text = ARITHMETIC.replace("id.x & 7u", &format!("(id.x ^ {}u) & 7u", (now ^ n) & 0xff_ffff));
        let entry = reflect(&text, Some("integer_multiply_add"))?;
        let source = Source { file: "ceilings", text: &text, entry: &entry, constants: &[], own: true };
        let start = Instant::now();
        Foreign::new(gpu, &source, &[8, 16], vec![0; 4])?;
        ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Ceiling::of("compile a pipeline", "40 lines", "ms", ms))
}

#[cfg(all(test, feature = "gpu"))]
mod tests {
    use super::*;

    /// No driver of this machine may have matrix units: the text at least is a shader.
    #[test]
    fn the_shader_of_matrices_is_one_for_every_shape() {
        for (side, ab, cr) in [(8, "f32", "f32"), (8, "f16", "f16"), (16, "f16", "f32"), (16, "f16", "f16")] {
            let entry =
                reflect(&matrix_text(side, ab, cr, 32), None).unwrap_or_else(|e| panic!("{side} {ab} {cr}: {e}"));
            assert_eq!((entry.workgroup, entry.bound.len()), (Some([32, 1, 1]), 5));
        }
    }
}
