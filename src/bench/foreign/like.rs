//! What a shader from outside writes against what the twin of a kernel of ours writes of the same numbers.

use super::{Asked, Value, refused};
use crate::device::foreign::{Access, Bound, Entry, Scalar};
use crate::error::Result;
use crate::kernels::host::{Args, RawBinding};
use crate::kernels::launch::MAX_WORDS;
use crate::kernels::{Binding, Kernel};
use half::f16;
use serde::Serialize;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A kernel of ours to compare with.
#[derive(Clone, Debug)]
pub struct Like {
    /// It.
    pub kernel: &'static Kernel,
    /// The words of its parameters; `None` where those of the shader are the same.
    pub words: Option<Vec<Value>>,
}

/// How far one buffer is from that of the twin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// The variable of the shader.
    pub name: String,
    /// ‖out − ref‖ / ‖ref‖ over the values that either wrote, the twin in f64 (the numerator where ‖ref‖ is 0); of whole
    /// numbers the share that differs. Infinite where a value is not finite and that of the twin is.
    pub error: f64,
    /// Values that either wrote.
    pub values: u64,
}

enum Held {
    Float(Vec<f64>),
    Half(Vec<f16>),
    Index(Vec<u32>),
}

impl Like {
    /// The kernel `name`.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] with names like it.
    pub fn named(name: &str, words: Option<Vec<Value>>) -> Result<Self> {
        let all = crate::kernels::all();
        if let Some(kernel) = all.iter().find(|k| k.name == name) {
            return Ok(Self { kernel, words });
        }
        let near: Vec<&str> = all.iter().map(|k| k.name).filter(|k| k.contains(name) || name.contains(k)).collect();
        let hint = if near.is_empty() { "docs/kernels.md lists all".to_owned() } else { near.join(", ") };
        Err(refused(format!("--like {name}: there is no such kernel: {hint}")))
    }

    /// For each binding of the kernel the shader's storage buffer of that number in group 0, with its place among all
    /// buffers; `None` where the shader has none.
    fn buffers<'a>(&self, entry: &'a Entry) -> Vec<Option<(usize, &'a Bound)>> {
        let of = |number: usize| {
            let buffers = entry.bound.iter().filter(|b| b.access != Access::Immediate).enumerate();
            let storage = |b: &Bound| b.access != Access::Uniform && b.group == 0 && b.binding as usize == number;
            buffers.into_iter().find(|(_, b)| storage(b))
        };
        (0..self.kernel.bindings.len()).map(of).collect()
    }

    /// Whether the bindings are those of the kernel; what it only reads may be missing.
    ///
    /// # Errors
    /// [`crate::Error::Setting`] with both.
    pub(super) fn check(&self, entry: &Entry, asked: &Asked) -> Result<()> {
        let kinds = self.kernel.bindings;
        let fits = |(kind, found): (&Binding, &Option<(usize, &Bound)>)| {
            let Some((_, bound)) = found else { return !kind.writes() };
            let index = matches!(kind, Binding::ReadIndex | Binding::WriteIndex);
            let of = match bound.scalar {
                Some(Scalar::U32) => index,
                Some(Scalar::F32) => !index,
                Some(Scalar::F16) => !index && !kind.writes(),
                _ => false,
            };
            of && kind.writes() == (bound.access == Access::Write)
        };
        let storage = entry.bound.iter().filter(|b| matches!(b.access, Access::Read | Access::Write));
        let extra = storage.clone().any(|b| b.group != 0 || b.binding as usize >= kinds.len());
        if extra || !kinds.iter().zip(&self.buffers(entry)).all(fits) {
            let kind = |(n, kind): (usize, &Binding)| match kind {
                Binding::Read | Binding::ReadFeatures => format!("{n}: f32 or f16, read"),
                Binding::Write => format!("{n}: f32, read_write"),
                Binding::ReadIndex => format!("{n}: u32, read"),
                Binding::WriteIndex => format!("{n}: u32, read_write"),
            };
            let ours: Vec<String> = kinds.iter().enumerate().map(kind).collect();
            let theirs: Vec<String> = storage.map(ToString::to_string).collect();
            return Err(refused(format!(
                "--like {}: its bindings in group 0 are [{}], those of {} are [{}]; docs/kernels.md names them",
                self.kernel.name,
                ours.join("; "),
                entry.name,
                theirs.join("; ")
            )));
        }
        self.words(asked).map(|_| ())
    }

    /// The words of its parameter struct.
    fn words(&self, asked: &Asked) -> Result<[u32; MAX_WORDS]> {
        let name = self.kernel.name;
        let given = match (&self.words, &asked.params[..]) {
            (Some(words), _) => words,
            (None, [params]) => &params.values,
            (None, several) => {
                let count = several.len();
                return Err(refused(format!(
                    "--like {name}: --params is given {count} times; tell its words by --like-words"
                )));
            }
        };
        if given.len() != self.kernel.words {
            let (has, wants, file) = (given.len(), self.kernel.words, self.kernel.file);
            let from = if self.words.is_some() { "--like-words" } else { "--params" };
            return Err(refused(format!(
                "--like {name}: its parameters are {wants} words (the struct in shaders/{file}.wgsl or what that imports), \
                 {from} has {has}; tell them by --like-words 16u,0.5f,.."
            )));
        }
        let mut words = [0; MAX_WORDS];
        for (word, value) in words.iter_mut().zip(given) {
            let bytes = value.bytes();
            let bytes = bytes.try_into().map_err(|_| refused(format!("--like {name}: words have 32 bits, no f16")))?;
            *word = u32::from_ne_bytes(bytes);
        }
        Ok(words)
    }

    /// Runs the twin on `before`, and compares with `after`.
    pub(super) fn compare(
        &self,
        entry: &Entry,
        asked: &Asked,
        before: &[Vec<u8>],
        after: &[Vec<u8>],
    ) -> Result<Vec<Against>> {
        let buffers = self.buffers(entry);
        let one = |(kind, found): (&Binding, &Option<(usize, &Bound)>), all: &[Vec<u8>]| match (found, kind) {
            (Some((n, b)), _) => Held::of(b, &all[*n]),
            // A twin that reads more of it says so.
            (None, Binding::ReadIndex | Binding::WriteIndex) => Held::Index(vec![0]),
            (None, _) => Held::Float(vec![0.0]),
        };
        let pairs = || self.kernel.bindings.iter().zip(&buffers);
        let held = |all: &[Vec<u8>]| pairs().map(|pair| one(pair, all)).collect::<Vec<Held>>();
        let (start, mut wanted, found) = (held(before), held(before), held(after));
        self.run(&mut wanted, self.words(asked)?)?;
        let written = self.kernel.bindings.iter().enumerate().filter(|(_, kind)| kind.writes());
        let against = |(n, _): (usize, &Binding)| {
            let (error, values) = difference(&start[n], &wanted[n], &found[n]);
            Some(Against { name: buffers[n]?.1.name.clone(), error, values })
        };
        Ok(written.filter_map(against).collect())
    }

    fn run(&self, held: &mut [Held], words: [u32; MAX_WORDS]) -> Result<()> {
        let raw: Vec<RawBinding<f64>> = held.iter_mut().map(Held::raw).collect();
        // A panic is how a twin says that its parameters lead out of its buffers; what it would print helps nobody.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let run = AssertUnwindSafe(|| {
            // SAFETY: each binding has memory of its own, which lives until the twin returns.
            (self.kernel.twin.f64)(&unsafe { Args::new(&raw, self.kernel.bindings, words) });
        });
        let done = catch_unwind(run);
        std::panic::set_hook(hook);
        done.map_err(|_| {
            let name = self.kernel.name;
            refused(format!(
                "--like {name}: with these parameters it reads or writes outside of the buffers that were given"
            ))
        })
    }
}

impl Held {
    fn of(bound: &Bound, bytes: &[u8]) -> Self {
        let words = || bytes.chunks_exact(4).map(|b| u32::from_ne_bytes(b.try_into().expect("4 bytes")));
        match bound.scalar {
            Some(Scalar::F16) => {
                Held::Half(bytes.chunks_exact(2).map(|b| f16::from_ne_bytes(b.try_into().expect("2 bytes"))).collect())
            }
            Some(Scalar::F32) => Held::Float(words().map(|w| f64::from(f32::from_bits(w))).collect()),
            _ => Held::Index(words().collect()),
        }
    }

    fn raw(&mut self) -> RawBinding<f64> {
        match self {
            Held::Float(v) => RawBinding::Float(v.as_mut_ptr(), v.len()),
            Held::Half(v) => RawBinding::Half(v.as_ptr(), v.len()),
            Held::Index(v) => RawBinding::Index(v.as_mut_ptr(), v.len()),
        }
    }
}

/// The error over the values that either wrote, and how many these are.
fn difference(before: &Held, wanted: &Held, found: &Held) -> (f64, u64) {
    match (before, wanted, found) {
        (Held::Float(before), Held::Float(wanted), Held::Float(found)) => {
            let same = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
            let (mut off, mut size, mut values) = (0.0f64, 0.0f64, 0);
            for ((&b, &w), &f) in before.iter().zip(wanted).zip(found) {
                if same(b, w) && same(b, f) {
                    continue;
                }
                values += 1;
                if same(w, f) {
                    size += if w.is_finite() { w * w } else { 0.0 };
                    continue;
                }
                off += (f - w).powi(2);
                size += w.powi(2);
            }
            let error = match (off.is_finite() && size.is_finite(), size) {
                (false, _) => f64::INFINITY,
                (true, 0.0) => off.sqrt(),
                (true, _) => (off / size).sqrt(),
            };
            (error, values)
        }
        (Held::Index(before), Held::Index(wanted), Held::Index(found)) => {
            let all = || before.iter().zip(wanted).zip(found);
            let values = all().filter(|((b, w), f)| b != w || b != f).count();
            let off = all().filter(|((_, w), f)| w != f).count();
            (off as f64 / values.max(1) as f64, values as u64)
        }
        _ => unreachable!("f16 is only read, and a binding keeps its type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_relative_and_of_what_was_written() {
        let float = |v: &[f64]| Held::Float(v.to_vec());
        let start = float(&[1.0, 2.0, 9.0]);
        let (error, values) = difference(&start, &float(&[3.0, 4.0, 9.0]), &float(&[3.0, 4.5, 9.0]));
        assert!((error - 0.1).abs() < 1e-12 && values == 2, "{error} {values}");
        assert_eq!(difference(&start, &start, &start), (0.0, 0));
        assert_eq!(difference(&start, &start, &float(&[1.0, f64::NAN, 9.0])).0, f64::INFINITY);
        let index = |v: &[u32]| Held::Index(v.to_vec());
        assert_eq!(difference(&index(&[0; 4]), &index(&[1, 2, 3, 0]), &index(&[1, 2, 4, 7])), (0.5, 4));
    }

    #[test]
    fn names_that_do_not_fit_are_refused_with_some_that_do() {
        assert!(Like::named("matmul", None).is_ok());
        let refused = Like::named("matmu", None).unwrap_err().to_string();
        assert!(refused.contains("matmul"), "{refused}");
        assert!(Like::named("zzz", None).unwrap_err().to_string().contains("docs/kernels.md"));
    }
}
