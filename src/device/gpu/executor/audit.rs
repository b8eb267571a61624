//! Launches one by one, each held against its twin in f64 on the very numbers that the device had before it:
//! what a kernel adds to the error, without what it inherits.

use super::GpuExecutor;
use crate::device::LaunchError;
use crate::device::executor::{ProgramId, Step, Upload};
use crate::error::Result;
use crate::kernels::host::{Args, RawBinding};
use crate::kernels::launch::{BufferKey, Input, Launch, MAX_WORDS, Place};
use crate::kernels::{Binding, Kernel, matmul, matmul_coop};
use half::f16;

/// A copy of what a place holds, as the twin wants it.
#[derive(Clone)]
enum Held {
    Float(Vec<f64>),
    Half(Vec<f16>),
    Index(Vec<u32>),
}

impl Held {
    fn raw(&mut self) -> RawBinding<f64> {
        match self {
            Held::Float(v) => RawBinding::Float(v.as_mut_ptr(), v.len()),
            Held::Half(v) => RawBinding::Half(v.as_ptr(), v.len()),
            Held::Index(v) => RawBinding::Index(v.as_mut_ptr(), v.len()),
        }
    }

    /// Moves every number by half of the last bit of an f32, up or down.
    fn nudge(&mut self) {
        if let Held::Float(values) = self {
            for (i, v) in values.iter_mut().enumerate() {
                let up = (i as u32).wrapping_mul(0x9E37_79B9) >> 31 == 0;
                *v *= 1.0 + if up { f32::EPSILON } else { -f32::EPSILON } as f64 / 2.0;
            }
        }
    }
}

impl GpuExecutor {
    /// What [`GpuExecutor::run`] does, with a submission for each launch, handing the error of each to `note`.
    pub(super) fn audit(&mut self, id: ProgramId, step: &Step, note: fn(&LaunchError)) -> Result<()> {
        let (encoder, staged) = self.begin(id, step)?;
        self.finish(encoder, staged)?;
        let features = BufferKey::Input(Input::Features);
        let half = step.uploads.iter().any(|u| matches!(u, Upload::F16(key, _) if *key == features));
        let launches = self.programs[id.0].program.launches.clone();
        for (n, launch) in launches.iter().enumerate() {
            let [x, y, z] = launch.grid.groups(&step.extent, u32::MAX);
            if x == 0 || y == 0 || z == 0 {
                continue;
            }
            let before = self.copies(launch, half)?;
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            self.encode_pass(&mut encoder, id, step, n..n + 1, None);
            self.finish(encoder, None)?;
            let after = self.copies(launch, half)?;
            let mut wanted = before.clone();
            let words = launch.resolve(&step.extent, &step.scalars, x);
            twin(launch.kernel, &mut wanted, &words, z);
            let written = launch.kernel.bindings.iter().enumerate().filter(|(_, kind)| kind.writes());
            for (binding, _) in written {
                let (start, wanted, found) = (&before[binding], &wanted[binding], &after[binding]);
                let error = difference(start, wanted, (start, found));
                let mut inherent = 0.0;
                if overflows(wanted, found) {
                    inherent = f64::INFINITY;
                } else if error > 1e-6 {
                    let mut moved = before.clone();
                    moved.iter_mut().for_each(Held::nudge);
                    let from = moved[binding].clone();
                    twin(launch.kernel, &mut moved, &words, z);
                    inherent = difference(start, wanted, (&from, &moved[binding]));
                }
                note(&LaunchError { kernel: launch.kernel, binding, error, inherent });
            }
        }
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        self.encode_keep(&mut encoder, step);
        self.finish(encoder, None)
    }

    fn copies(&mut self, launch: &Launch, half: bool) -> Result<Vec<Held>> {
        let places = launch.places.iter().zip(launch.kernel.bindings);
        places.map(|(place, kind)| self.copy(place, *kind, half)).collect()
    }

    fn copy(&mut self, place: &Place, kind: Binding, half: bool) -> Result<Held> {
        let size = self.buffer(place.buffer).size();
        let values = self.read_f32(*place, (place.bytes.min(size - place.offset) / 4) as usize)?;
        let features = place.buffer == BufferKey::Input(Input::Features);
        Ok(match kind {
            Binding::ReadIndex | Binding::WriteIndex => Held::Index(values.iter().map(|v| v.to_bits()).collect()),
            Binding::Read | Binding::ReadFeatures if half && features => {
                Held::Half(values.iter().flat_map(|v| bytemuck::cast::<f32, [f16; 2]>(*v)).collect())
            }
            _ => Held::Float(values.into_iter().map(f64::from).collect()),
        })
    }
}

/// True when the twin's results are not all finite and the device's are.
fn overflows(wanted: &Held, found: &Held) -> bool {
    let (Held::Float(wanted), Held::Float(found)) = (wanted, found) else { return false };
    let pairs = || wanted.iter().zip(found);
    pairs().any(|(w, f)| !w.is_finite() && f.is_finite()) && pairs().all(|(w, f)| !w.is_finite() || f.is_finite())
}

/// Runs the twin over `held`.
fn twin(kernel: &Kernel, held: &mut [Held], words: &[u32; MAX_WORDS], layers: u32) {
    let raw: Vec<RawBinding<f64>> = held.iter_mut().map(Held::raw).collect();
    // SAFETY: each binding has memory of its own, which lives until the twin returns.
    let call = |raw: &[RawBinding<f64>], words| (kernel.twin.f64)(&unsafe { Args::new(raw, kernel.bindings, words) });
    let product = *kernel == matmul::MATMUL || *kernel == matmul_coop::MATMUL_COOP;
    if !product || layers == 1 {
        return call(&raw, *words);
    }
    for layer in 0..layers {
        let (words, before) = matmul::part(words, layer);
        let raw: Vec<_> = raw.iter().zip(before).map(|(raw, before)| raw.skip(before)).collect();
        call(&raw, words);
    }
}

/// ‖found − wanted‖ / ‖wanted‖ over what either of both wrote.
fn difference(before: &Held, wanted: &Held, (found_before, found): (&Held, &Held)) -> f64 {
    let (before, wanted, found_before, found) = match (before, wanted, found_before, found) {
        (Held::Float(a), Held::Float(b), Held::Float(c), Held::Float(d)) => (a, b, c, d),
        (_, Held::Index(wanted), _, Held::Index(found)) => return if wanted == found { 0.0 } else { f64::INFINITY },
        _ => unreachable!("a binding keeps its kind, and f16 is only read"),
    };
    let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
    let (mut off, mut size) = (0.0f64, 0.0f64);
    for i in 0..wanted.len() {
        let untouched = same(before[i], wanted[i]) && same(found_before[i], found[i]);
        // Infinite numbers that went in may come out: of both, or it is an error.
        if untouched || (!wanted[i].is_finite() && same(wanted[i], found[i])) {
            continue;
        }
        off += (found[i] - wanted[i]).powi(2);
        size += wanted[i].powi(2);
    }
    match (off.is_finite() && size.is_finite(), size) {
        (false, _) => f64::INFINITY,
        (true, 0.0) => off.sqrt(),
        (true, _) => (off / size).sqrt(),
    }
}
