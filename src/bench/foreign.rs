//! A shader of somebody else's, timed as our kernels are, and held against the twin of one of them.

mod like;

pub use like::{Against, Like};

use super::kernels::Rounds;
use super::run::Timed;
use crate::device::Device;
use crate::device::foreign::{Access, Bound, Entry, Foreign, Scalar, Source, reflect};
use crate::error::{Error, Result};
use crate::random::Random;
use half::f16;
use std::str::FromStr;

/// What a buffer holds before each round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Normal with mean 0 and deviation 1; of whole numbers uniform. Always the same numbers.
    Random,
    /// 0, 1, 2 and so on.
    Index,
    /// One number everywhere.
    Value(f64),
}

/// A buffer as it is asked for: `x=f32:1048576:random`.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// The variable of the shader.
    pub name: String,
    /// What it holds.
    pub scalar: Scalar,
    /// How many.
    pub count: u64,
    /// At the start.
    pub fill: Fill,
}

impl FromStr for Buffer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?}: expected NAME=TYPE:COUNT:random, zeros, ones, index or a number");
        let (name, rest) = text.split_once('=').ok_or_else(expected)?;
        let parts: Vec<&str> = rest.split(':').collect();
        let [scalar, count, fill] = parts[..] else { return Err(expected()) };
        let scalar: Scalar = scalar.parse()?;
        let count: u64 = count.parse().ok().filter(|n| (1..=1 << 32).contains(n)).ok_or_else(expected)?;
        let fill = match fill {
            "random" => Fill::Random,
            "zeros" => Fill::Value(0.0),
            "ones" => Fill::Value(1.0),
            "index" => Fill::Index,
            number => Fill::Value(number.parse().ok().filter(|v: &f64| v.is_finite()).ok_or_else(expected)?),
        };
        let fits = |v: f64| match scalar {
            Scalar::U32 => v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&v),
            Scalar::I32 => v.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&v),
            _ => true,
        };
        match fill {
            Fill::Value(v) if !fits(v) => Err(format!("{text:?}: {v} is no {scalar}")),
            _ => Ok(Self { name: name.trim().to_owned(), scalar, count, fill }),
        }
    }
}

/// Numbers of a uniform buffer, of immediates or of a small storage buffer: `p=1024u,512u,0.5f`.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// The variable of the shader.
    pub name: String,
    /// Its numbers in the order of the members, with their types.
    pub values: Vec<Value>,
}

/// A number with a type, as WGSL writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The type.
    pub scalar: Scalar,
    /// The number; whole where the type is.
    pub value: f64,
}

impl FromStr for Value {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?}: expected a number with its type, such as 5u, -5i, 0.5f or 0.5h");
        let text = text.trim();
        let (number, scalar) = match text.char_indices().last() {
            Some((at, 'u')) => (&text[..at], Scalar::U32),
            Some((at, 'i')) => (&text[..at], Scalar::I32),
            Some((at, 'f')) => (&text[..at], Scalar::F32),
            Some((at, 'h')) => (&text[..at], Scalar::F16),
            _ => return Err(expected()),
        };
        let value = match scalar {
            Scalar::U32 => number.parse::<u32>().ok().map(f64::from),
            Scalar::I32 => number.parse::<i32>().ok().map(f64::from),
            _ => number.parse::<f64>().ok().filter(|v| v.is_finite()),
        };
        Ok(Self { scalar, value: value.ok_or_else(expected)? })
    }
}

/// Reads numbers apart by commas.
///
/// # Errors
/// With the one that is none.
pub fn values(text: &str) -> Result<Vec<Value>, String> {
    text.split(',').map(str::parse).collect()
}

impl FromStr for Params {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, list) = text.split_once('=').ok_or_else(|| format!("{text:?}: expected NAME=5u,0.5f"))?;
        Ok(Self { name: name.trim().to_owned(), values: values(list)? })
    }
}

impl Value {
    pub(super) fn bytes(self) -> Vec<u8> {
        match self.scalar {
            Scalar::F32 => (self.value as f32).to_ne_bytes().to_vec(),
            Scalar::F16 => f16::from_f64(self.value).to_ne_bytes().to_vec(),
            Scalar::U32 => (self.value as u32).to_ne_bytes().to_vec(),
            Scalar::I32 => (self.value as i32).to_ne_bytes().to_vec(),
        }
    }
}

/// A shader with all that is needed to launch it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Name of the file.
    pub file: String,
    /// WGSL.
    pub text: String,
    /// Entry point; `None` for the only one.
    pub entry: Option<String>,
    /// Buffers.
    pub buffers: Vec<Buffer>,
    /// Parameters.
    pub params: Vec<Params>,
    /// Constants (`override`).
    pub constants: Vec<(String, f64)>,
    /// Workgroups.
    pub grid: [u32; 3],
    /// Operations of a launch, where it is known.
    pub flops: Option<u64>,
    /// Bytes of a launch; where it is not told, each buffer once for reading and once for writing.
    pub bytes: Option<u64>,
}

/// What a launch did to a buffer that it may write.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Written {
    /// The variable.
    pub name: String,
    /// Values that are others than before.
    pub changed: u64,
    /// Of all.
    pub values: u64,
    /// NaN or infinite ones.
    pub not_finite: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The shader's entry point.
    pub entry: Entry,
    /// Times.
    pub timed: Timed,
    /// What one launch wrote.
    pub written: Vec<Written>,
    /// How far that is from the twin of a kernel of ours.
    pub against: Vec<Against>,
}

fn refused(message: String) -> Error {
    Error::setting("shader", message)
}

/// Times `asked` on `device` and, with `like`, compares what its first launch writes.
///
/// # Errors
/// [`Error::Setting`] where buffers, parameters or the grid do not fit the shader; what the device answers.
pub fn measure(device: &Device, asked: &Asked, like: Option<&Like>, rounds: Rounds) -> Result<Found> {
    let Device::Gpu(gpu) = device else {
        return Err(refused(format!("{} runs no WGSL; name a GPU with --device", device.description())));
    };
    let entry = reflect(&asked.text, asked.entry.as_deref())
        .map_err(|e| Error::Device { message: format!("{}: {e}", asked.file) })?;
    check_grid(asked.grid, &device.facts().limits)?;
    check_constants(&entry, &asked.constants)?;
    let contents = contents(&entry, asked)?;
    let immediates = immediates(&entry, asked)?;
    if let Some(like) = like {
        like.check(&entry, asked)?;
    }
    let source =
        Source { file: &asked.file, text: &asked.text, entry: &entry, constants: &asked.constants, own: false };
    let sizes: Vec<u64> = contents.iter().map(|c| c.len() as u64).collect();
    let mut shader = Foreign::new(gpu, &source, &sizes, immediates)?;
    let fill = |shader: &mut Foreign| contents.iter().enumerate().try_for_each(|(n, c)| shader.write(n, c));
    fill(&mut shader)?;
    shader.time(asked.grid, 1)?;
    let after = sizes.iter().enumerate().map(|(n, &bytes)| shader.read(n, bytes)).collect::<Result<Vec<_>>>()?;
    let buffers: Vec<&Bound> = entry.bound.iter().filter(|b| b.access != Access::Immediate).collect();
    let written = buffers.iter().zip(contents.iter().zip(&after)).filter(|(b, _)| b.access == Access::Write);
    let written = written.map(|(b, (before, after))| describe(b, before, after)).collect();
    let against = like.map_or(Ok(Vec::new()), |like| like.compare(&entry, asked, &contents, &after))?;
    let moved = |(b, c): (&&Bound, &Vec<u8>)| c.len() as u64 * (1 + u64::from(b.access == Access::Write));
    let bytes = asked.bytes.unwrap_or_else(|| buffers.iter().zip(&contents).map(moved).sum());
    let mut timed = Timed {
        kernel: entry.name.clone(),
        variant: asked.variant(),
        shape: asked.shape(),
        flops: asked.flops.unwrap_or(0),
        bytes,
        ..Timed::default()
    };
    for _ in 0..rounds.rounds {
        // What is updated in place starts from the same numbers each round.
        fill(&mut shader)?;
        let mut time = || Ok::<f64, Error>(shader.time(asked.grid, 1)? / 1e3);
        let first = time()?;
        timed.push(first, (0..rounds.repeats).map(|_| time()).collect::<Result<_>>()?);
    }
    timed.sum_up();
    Ok(Found { entry, timed, written, against })
}

impl Asked {
    fn variant(&self) -> String {
        let constants = self.constants.iter().map(|(name, value)| format!("{name}={value}"));
        std::iter::once(self.file.clone()).chain(constants).collect::<Vec<_>>().join(" ")
    }

    fn shape(&self) -> String {
        let [x, y, z] = self.grid;
        let buffers = self.buffers.iter().map(|b| format!("{}:{}:{}", b.name, b.scalar, b.count));
        let word = |v: &Value| v.value.to_string();
        let list = |p: &Params| format!("{}={}", p.name, p.values.iter().map(word).collect::<Vec<_>>().join(","));
        let all = std::iter::once(format!("{x}x{y}x{z}")).chain(buffers).chain(self.params.iter().map(list));
        all.collect::<Vec<_>>().join(" ")
    }
}

fn check_grid(grid: [u32; 3], limits: &std::collections::BTreeMap<String, u64>) -> Result<()> {
    let most = limits.get("max_compute_workgroups_per_dimension").copied().unwrap_or(65_535);
    match grid.iter().find(|n| **n == 0 || u64::from(**n) > most) {
        Some(n) => Err(refused(format!("grid: {n} workgroups along one side; the device has 1 to {most}"))),
        None => Ok(()),
    }
}

fn check_constants(entry: &Entry, given: &[(String, f64)]) -> Result<()> {
    let names = || entry.constants.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some((name, _)) = given.iter().find(|(name, _)| entry.constants.iter().all(|(own, _)| own != name)) {
        return Err(refused(format!("--constant {name}: the shader has no such override; it has: {}", names())));
    }
    let missing = entry.constants.iter().find(|(name, has)| !has && given.iter().all(|(given, _)| given != name));
    match missing {
        Some((name, _)) => Err(refused(format!("override {name} has no value: give it with --constant {name}=VALUE"))),
        None => Ok(()),
    }
}

/// The bytes of each buffer, in the order of the bindings.
fn contents(entry: &Entry, asked: &Asked) -> Result<Vec<Vec<u8>>> {
    let named = |name: &str| entry.bound.iter().find(|b| b.name == name);
    let there = || entry.bound.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", ");
    let given =
        asked.buffers.iter().map(|b| ("--buffer", &b.name)).chain(asked.params.iter().map(|p| ("--params", &p.name)));
    let given: Vec<(&str, &String)> = given.collect();
    for (n, (option, name)) in given.iter().enumerate() {
        if named(name).is_none() {
            return Err(refused(format!(
                "{option} {name}: {} uses no such variable; it uses: {}",
                entry.name,
                there()
            )));
        }
        if given[..n].iter().any(|(_, other)| other == name) {
            return Err(refused(format!("{name} is given twice")));
        }
    }
    let buffers = entry.bound.iter().filter(|b| b.access != Access::Immediate).enumerate();
    buffers.map(|(n, bound)| content(n as u64, bound, asked)).collect()
}

fn content(number: u64, bound: &Bound, asked: &Asked) -> Result<Vec<u8>> {
    if let Some(params) = asked.params.iter().find(|p| p.name == bound.name) {
        return words(bound, params);
    }
    let Some(buffer) = asked.buffers.iter().find(|b| b.name == bound.name) else {
        let give = match bound.array.is_none() && !bound.leaves.is_empty() {
            true => format!("--params {}={}", bound.name, example(bound)),
            false => format!(
                "--buffer {}={}:COUNT:random",
                bound.name,
                bound.scalar.map_or("TYPE".into(), |s| s.to_string())
            ),
        };
        return Err(refused(format!("{bound} has nothing bound: give {give}")));
    };
    match bound.scalar {
        Some(scalar) if scalar == buffer.scalar => {}
        Some(scalar) => {
            return Err(refused(format!(
                "--buffer {} holds {}, but {bound} holds {scalar}",
                buffer.name, buffer.scalar
            )));
        }
        None => {
            let what = format!("--buffer {} is of one type, but {bound} has several", buffer.name);
            return Err(refused(format!(
                "{what}: give its numbers with --params, where it has no array without a length"
            )));
        }
    }
    let bytes = buffer.count * buffer.scalar.bytes();
    let told = format!("--buffer {}: {} {} are {bytes} bytes", buffer.name, buffer.count, buffer.scalar);
    if bytes < bound.least {
        return Err(refused(format!("{told}; {bound}")));
    }
    match bound.array {
        Some((first, stride)) if (bytes - first) % stride != 0 => {
            return Err(refused(format!(
                "{told}, no whole number of elements of {stride} bytes after the first {first}"
            )));
        }
        _ => {}
    }
    crate::bounded::check_room(format!("buffer {}", buffer.name), &[bytes])?;
    Ok(numbers(number, buffer))
}

/// An example of the values of a binding.
fn example(bound: &Bound) -> String {
    let one = |leaf: &crate::device::foreign::Leaf| match leaf.scalar {
        Scalar::U32 => "1u",
        Scalar::I32 => "1i",
        Scalar::F32 => "1f",
        Scalar::F16 => "1h",
    };
    bound.leaves.iter().map(one).collect::<Vec<_>>().join(",")
}

/// The bytes of parameters, each at its place.
fn words(bound: &Bound, params: &Params) -> Result<Vec<u8>> {
    if bound.leaves.is_empty() {
        return Err(refused(format!("--params {}: {bound} has no fixed list of numbers: give --buffer", params.name)));
    }
    let members = || {
        let one = |l: &crate::device::foreign::Leaf| match l.name.as_str() {
            "" => l.scalar.to_string(),
            name => format!("{name}: {}", l.scalar),
        };
        bound.leaves.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let (has, given) = (bound.leaves.len(), params.values.len());
    if has != given {
        return Err(refused(format!(
            "--params {} has {given} numbers; the shader wants {has}: {}",
            params.name,
            members()
        )));
    }
    let mut bytes = vec![0; bound.least as usize];
    for (leaf, value) in bound.leaves.iter().zip(&params.values) {
        if leaf.scalar != value.scalar {
            let found = format!("{} is {} where the shader has {}", value.value, value.scalar, leaf.scalar);
            return Err(refused(format!("--params {}: {found}: {}", params.name, members())));
        }
        let at = leaf.offset as usize;
        let value = value.bytes();
        bytes[at..at + value.len()].copy_from_slice(&value);
    }
    Ok(bytes)
}

fn immediates(entry: &Entry, asked: &Asked) -> Result<Vec<u8>> {
    let Some(bound) = entry.bound.iter().find(|b| b.access == Access::Immediate) else { return Ok(Vec::new()) };
    match asked.params.iter().find(|p| p.name == bound.name) {
        Some(params) => words(bound, params),
        None => Err(refused(format!("{bound} have no numbers: give --params {}={}", bound.name, example(bound)))),
    }
}

fn numbers(number: u64, buffer: &Buffer) -> Vec<u8> {
    const SEED: u64 = 5;
    let mut random = Random::new(SEED, number);
    let mut next = |n: u64| match buffer.fill {
        Fill::Value(value) => value,
        Fill::Index => n as f64,
        Fill::Random => match buffer.scalar {
            Scalar::F32 | Scalar::F16 => random.normal(),
            Scalar::U32 => f64::from(random.u32()),
            Scalar::I32 => f64::from(random.u32() as i32),
        },
    };
    (0..buffer.count).flat_map(|n| Value { scalar: buffer.scalar, value: next(n) }.bytes()).collect()
}

/// What became of a buffer.
fn describe(bound: &Bound, before: &[u8], after: &[u8]) -> Written {
    let width = bound.scalar.map_or(4, Scalar::bytes) as usize;
    let pairs = || before.chunks(width).zip(after.chunks(width));
    let finite = |v: &[u8]| match bound.scalar {
        Some(Scalar::F32) => v.try_into().is_ok_and(|v| f32::from_ne_bytes(v).is_finite()),
        Some(Scalar::F16) => v.try_into().is_ok_and(|v| f16::from_ne_bytes(v).is_finite()),
        _ => true,
    };
    Written {
        name: bound.name.clone(),
        changed: pairs().filter(|(a, b)| a != b).count() as u64,
        values: pairs().count() as u64,
        not_finite: pairs().filter(|(_, b)| !finite(b)).count() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_read() {
        let buffer: Buffer = "x=f32:16:random".parse().unwrap();
        assert_eq!(
            (buffer.name.as_str(), buffer.scalar, buffer.count, buffer.fill),
            ("x", Scalar::F32, 16, Fill::Random)
        );
        assert_eq!("x=u32:4:7".parse::<Buffer>().unwrap().fill, Fill::Value(7.0));
        let params: Params = "p=16u, -2i,0.5f,1e3h".parse().unwrap();
        let read: Vec<(Scalar, f64)> = params.values.iter().map(|v| (v.scalar, v.value)).collect();
        assert_eq!(read, [(Scalar::U32, 16.0), (Scalar::I32, -2.0), (Scalar::F32, 0.5), (Scalar::F16, 1000.0)]);
        for wrong in
            ["x", "x=f32:16", "x=f64:16:zeros", "x=f32:0:zeros", "x=f32:16:often", "x=u32:16:-1", "x=i32:4:0.5"]
        {
            assert!(wrong.parse::<Buffer>().is_err(), "{wrong}");
        }
        for wrong in ["p", "p=5", "p=-5u", "p=0.5i", "p=", "p=inff"] {
            assert!(wrong.parse::<Params>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn buffers_are_filled_the_same_each_time() {
        let bytes = |text: &str| numbers(3, &text.parse().unwrap());
        assert_eq!(bytes("x=u32:3:index"), [0u32, 1, 2].map(u32::to_ne_bytes).concat());
        assert_eq!(bytes("x=f16:2:0.5"), [f16::from_f32(0.5); 2].map(f16::to_ne_bytes).concat());
        assert_eq!(bytes("x=f32:9:random"), bytes("x=f32:9:random"));
        assert_ne!(bytes("x=f32:9:random"), numbers(4, &"x=f32:9:random".parse().unwrap()));
    }
}
