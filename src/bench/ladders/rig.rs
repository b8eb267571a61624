//! A step on a device: loaded once, run over NaN and compared, then timed.

use super::problem::{Launch, Problem, Way};
use crate::bench::loaded::{Launched, Loaded};
use crate::device::foreign::{Access, Entry, Foreign, Memory, Source, reflect};
use crate::device::{Device, GpuDevice};
use crate::error::Result;

/// Numbers behind the result that no step may write.
const GUARD: usize = 64;

/// The buffers that steps share, each made when the first step wants it.
pub(super) struct Buffers<'a> {
    gpu: &'a GpuDevice,
    problem: &'a Problem,
    made: Vec<(&'static str, Memory)>,
}

impl<'a> Buffers<'a> {
    pub fn new(gpu: &'a GpuDevice, problem: &'a Problem) -> Self {
        Self { gpu, problem, made: Vec::new() }
    }

    fn get(&mut self, name: &str) -> Result<Memory> {
        if let Some((_, memory)) = self.made.iter().find(|(n, _)| *n == name) {
            return Ok(memory.clone());
        }
        let buffer = self.problem.buffer(name);
        let memory = Memory::new(self.gpu, buffer.name, bytes(buffer.count + GUARD), Access::Write)?;
        self.made.push((buffer.name, memory.clone()));
        Ok(memory)
    }
}

fn bytes(numbers: usize) -> u64 {
    numbers as u64 * 4
}

/// A step that can run.
pub(super) enum Rig {
    Shaders { launches: Vec<(Foreign, [u32; 3])>, places: Vec<Place>, bytes: u64 },
    Engine { loaded: Box<Loaded>, counted: &'static [&'static str] },
}

/// Where a buffer can be reached: which launch, and which of its buffers.
pub(super) struct Place {
    name: String,
    launch: usize,
    number: usize,
}

impl Rig {
    /// Compiles, and makes what is missing.
    ///
    /// # Errors
    /// What the device answers; [`crate::Error::Limit`] and [`crate::Error::OutOfMemory`] where it has no room.
    pub fn load(device: &Device, buffers: &mut Buffers, way: &Way) -> Result<Self> {
        let problem = buffers.problem;
        let engine = |case| {
            let loaded = Box::new(Loaded::of(device, case, &problem.features, &problem.params)?);
            Ok(Self::Engine { loaded, counted: problem.counted })
        };
        let of_step = match way {
            Way::Engine => return engine(&problem.case),
            Way::Mixed(case) => return engine(case),
            Way::Shaders(launches) | Way::Subgroups(launches) => launches,
        };
        let (mut launches, mut places, mut moved) = (Vec::new(), Vec::new(), 0);
        for launch in of_step {
            let entry = reflect(&launch.text, Some(launch.entry))?;
            for (number, name, written) in bound(&entry, launch) {
                moved += bytes(problem.buffer(&name).count) * if written && launch.in_place { 2 } else { 1 };
                places.push(Place { name, launch: launches.len(), number });
            }
            let memory = bound(&entry, launch).map(|(_, name, _)| buffers.get(&name)).collect::<Result<Vec<_>>>()?;
            let words = launch.words.into_iter().flat_map(u32::to_ne_bytes).collect();
            let source = Source { file: "a ladder", text: &launch.text, entry: &entry, constants: &[], own: true };
            launches.push((Foreign::over(buffers.gpu, &source, memory, words)?, launch.grid));
        }
        Ok(Self::Shaders { launches, places, bytes: moved })
    }

    /// How many launches it takes.
    pub fn launches(&mut self) -> Result<usize> {
        Ok(match self {
            Self::Shaders { launches, .. } => launches.len(),
            Self::Engine { loaded, counted } => matching(loaded.runs(1)?, counted).len(),
        })
    }

    /// Bytes that its launches read and write, each buffer once.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Shaders { bytes, .. } => *bytes,
            Self::Engine { loaded, counted } => loaded.cost(counted).1,
        }
    }

    /// Runs it over NaN in all that it writes: how far the result is from `wanted` (‖out − ref‖ / ‖ref‖), and whether
    /// something was written behind it.
    pub fn check(&mut self, problem: &Problem, wanted: &[f64]) -> Result<(f64, bool)> {
        let Problem { rows, cols, line, .. } = *problem;
        let (launches, places) = match self {
            Self::Shaders { launches, places, .. } => (launches, &*places),
            Self::Engine { loaded, .. } => return Ok((error(&loaded.output(rows * cols)?, wanted), false)),
        };
        for (n, place) in places.iter().enumerate() {
            if places[..n].iter().any(|other| other.name == place.name) {
                continue;
            }
            let buffer = problem.buffer(&place.name);
            let mut numbers = buffer.values.clone().unwrap_or_default();
            numbers.resize(buffer.count + GUARD, f32::NAN);
            let held: Vec<u8> = numbers.into_iter().flat_map(f32::to_ne_bytes).collect();
            launches[place.launch].0.write(place.number, &held)?;
        }
        for (shader, grid) in &mut *launches {
            shader.time(*grid, 1)?;
        }
        let place = places.iter().find(|p| p.name == problem.result).expect("a step writes the result");
        let count = problem.buffer(problem.result).count;
        let read = launches[place.launch].0.read(place.number, bytes(count + GUARD))?;
        let read: Vec<f32> = read.chunks_exact(4).map(|b| f32::from_ne_bytes(b.try_into().expect("4 bytes"))).collect();
        let found: Vec<f64> = (0..rows).flat_map(|r| &read[r * line..r * line + cols]).map(|v| f64::from(*v)).collect();
        Ok((error(&found, wanted), read[count..].iter().any(|v| !v.is_nan())))
    }

    /// Microseconds of a run that warms up and of `repeats` more: the sum of its launches, each timed by itself as kernels
    /// are.
    pub fn round(&mut self, repeats: usize) -> Result<(f64, Vec<f64>)> {
        match self {
            Self::Shaders { launches, .. } => {
                let mut once = || launches.iter_mut().try_fold(0.0, |sum, (s, grid)| Ok(sum + s.time(*grid, 1)? / 1e3));
                let first = once()?;
                Ok((first, (0..repeats).map(|_| once()).collect::<Result<_>>()?))
            }
            Self::Engine { loaded, counted } => {
                let launched = matching(loaded.runs(repeats)?, counted);
                let first = launched.iter().map(|l| l.first_us).sum();
                Ok((first, (0..repeats).map(|n| launched.iter().map(|l| l.all_us[n]).sum()).collect()))
            }
        }
    }
}

fn matching(mut launched: Vec<Launched>, counted: &[&str]) -> Vec<Launched> {
    launched.retain(|l| counted.is_empty() || counted.contains(&l.kernel));
    launched
}

/// Numbers of its bindings with the buffers for them, and whether they may be written.
fn bound<'a>(entry: &'a Entry, launch: &'a Launch) -> impl Iterator<Item = (usize, String, bool)> + 'a {
    let storage = entry.bound.iter().filter(|b| b.access != Access::Immediate).enumerate();
    storage.map(|(n, b)| (n, launch.buffer(&b.name).to_owned(), b.access == Access::Write))
}

/// ‖found − wanted‖ / ‖wanted‖, the numerator where that is 0; infinite where a value is not finite.
pub(super) fn error(found: &[f64], wanted: &[f64]) -> f64 {
    let off: f64 = found.iter().zip(wanted).map(|(f, w)| (f - w).powi(2)).sum();
    let size: f64 = wanted.iter().map(|w| w * w).sum();
    match (off.is_finite(), size > 0.0) {
        (false, _) => f64::INFINITY,
        (true, true) => (off / size).sqrt(),
        (true, false) => off.sqrt(),
    }
}
