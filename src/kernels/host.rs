//! What a host twin sees of a launch, and how it uses the cores.

use super::Real;
use super::launch::MAX_WORDS;
use half::f16;
use std::ops::Range;

/// One bound buffer of the host executor.
#[derive(Clone, Copy, Debug)]
pub enum RawBinding<T> {
    /// Numbers.
    Float(*mut T, usize),
    /// Features in f16.
    Half(*const f16, usize),
    /// Indices.
    Index(*mut u32, usize),
}

impl<T> RawBinding<T> {
    /// Without its first `count` values, or empty.
    pub(crate) fn skip(self, count: usize) -> Self {
        let left = |len: usize| (count.min(len), len - count.min(len));
        match self {
            RawBinding::Float(p, len) => RawBinding::Float(p.wrapping_add(left(len).0), left(len).1),
            RawBinding::Half(p, len) => RawBinding::Half(p.wrapping_add(left(len).0), left(len).1),
            RawBinding::Index(p, len) => RawBinding::Index(p.wrapping_add(left(len).0), left(len).1),
        }
    }
}

/// The bindings and parameters of one launch, as a host twin receives them.
///
/// Built by the host executor, which guarantees that a binding that is written overlaps no other binding
/// of the launch; that is what makes handing out `&mut` slices from `&self` sound.
pub struct Args<'a, T> {
    bindings: &'a [RawBinding<T>],
    words: [u32; MAX_WORDS],
}

// SAFETY: the pointers come from buffers that the executor borrows for the duration of the launch, and
// twins share `Args` between threads only to read parameters; written slices are split before that.
unsafe impl<T: Sync> Sync for Args<'_, T> {}

impl<'a, T: Real> Args<'a, T> {
    /// For the executor.
    ///
    /// # Safety
    /// The pointers are valid for `'a`, and no binding that the kernel writes overlaps another.
    pub unsafe fn new(bindings: &'a [RawBinding<T>], words: [u32; MAX_WORDS]) -> Self {
        Self { bindings, words }
    }

    /// The parameter struct.
    pub fn params<P: bytemuck::AnyBitPattern>(&self) -> P {
        bytemuck::pod_read_unaligned(&bytemuck::bytes_of(&self.words)[..size_of::<P>()])
    }

    /// Read-only numbers.
    pub fn read(&self, binding: usize) -> &'a [T] {
        match self.bindings[binding] {
            // SAFETY: see `new`.
            RawBinding::Float(p, n) => unsafe { std::slice::from_raw_parts(p, n) },
            other => panic!("binding {binding} is not a float buffer but {other:?}"),
        }
    }

    /// Numbers to write. Call once for each binding.
    #[allow(clippy::mut_from_ref, reason = "the executor guarantees disjoint bindings")]
    pub fn write(&self, binding: usize) -> &'a mut [T] {
        match self.bindings[binding] {
            // SAFETY: see `new`.
            RawBinding::Float(p, n) => unsafe { std::slice::from_raw_parts_mut(p, n) },
            other => panic!("binding {binding} is not a float buffer but {other:?}"),
        }
    }

    /// Read-only indices.
    pub fn indices(&self, binding: usize) -> &'a [u32] {
        match self.bindings[binding] {
            // SAFETY: see `new`.
            RawBinding::Index(p, n) => unsafe { std::slice::from_raw_parts(p, n) },
            other => panic!("binding {binding} is not an index buffer but {other:?}"),
        }
    }

    /// Indices to write.
    #[allow(clippy::mut_from_ref, reason = "the executor guarantees disjoint bindings")]
    pub fn write_indices(&self, binding: usize) -> &'a mut [u32] {
        match self.bindings[binding] {
            // SAFETY: see `new`.
            RawBinding::Index(p, n) => unsafe { std::slice::from_raw_parts_mut(p, n) },
            other => panic!("binding {binding} is not an index buffer but {other:?}"),
        }
    }

    /// Instance features in either storage.
    pub fn features(&self, binding: usize) -> FeatureSlice<'a, T> {
        match self.bindings[binding] {
            RawBinding::Float(..) => FeatureSlice::Full(self.read(binding)),
            // SAFETY: see `new`.
            RawBinding::Half(p, n) => FeatureSlice::Half(unsafe { std::slice::from_raw_parts(p, n) }),
            other => panic!("binding {binding} holds no features but {other:?}"),
        }
    }
}

/// Features as they are stored.
#[derive(Clone, Copy)]
pub enum FeatureSlice<'a, T> {
    /// f32 (f64 in the oracle).
    Full(&'a [T]),
    /// f16.
    Half(&'a [f16]),
}

/// Below this many elementary operations a twin stays on the calling thread: waking another one costs
/// 10 to 20 microseconds, and a vectorised loop does this much in about twice that time.
const PARALLEL_FROM: usize = 1 << 20;

/// Splits `rows` over the cores when `rows * work` is worth it, and runs `f` on each range.
///
/// What `f` computes for a row must not depend on the split: that keeps results independent of the
/// number of cores.
pub fn parallel(rows: usize, work: usize, f: impl Fn(Range<usize>) + Sync) {
    let threads = rayon::current_num_threads();
    if rows * work.max(1) < PARALLEL_FROM || threads == 1 || rows < 2 {
        return f(0..rows);
    }
    // A few pieces a core even out cores of different speed.
    let pieces = (threads * 4).min(rows).min(rows * work / (PARALLEL_FROM / 4) + 1);
    let size = rows.div_ceil(pieces);
    rayon::scope(|scope| {
        for start in (size..rows).step_by(size) {
            let f = &f;
            scope.spawn(move |_| f(start..(start + size).min(rows)));
        }
        f(0..size);
    });
}

/// Runs `f` compiled for the widest vectors this CPU has (loops in it must be `#[inline(always)]`-visible).
#[inline(always)]
pub fn simd<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// A mutable slice that several threads write in disjoint parts.
#[derive(Clone, Copy)]
pub struct Shared<T> {
    pointer: *mut T,
    len: usize,
}

// SAFETY: `part` hands out parts that the caller keeps disjoint.
unsafe impl<T: Send> Send for Shared<T> {}
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Shares `slice` between threads.
    pub fn new(slice: &mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), len: slice.len() }
    }

    /// The first value, for code that computes places itself.
    pub fn start(&self) -> *mut T {
        self.pointer
    }

    /// The part `range`.
    ///
    /// # Safety
    /// No two parts in use at the same time overlap.
    #[allow(clippy::mut_from_ref, reason = "disjoint parts, see Safety")]
    pub unsafe fn part<'a>(&self, range: Range<usize>) -> &'a mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "part {range:?} of {}", self.len);
        // SAFETY: inside the slice; disjointness is the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(range.start), range.end - range.start) }
    }
}

/// Runs `f(row, out_row)` for each row of `out` (`width` values a row), over the cores.
pub fn for_rows<T: Real>(out: &mut [T], rows: usize, width: usize, work: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let shared = Shared::new(out);
    parallel(rows, work, |range| {
        for row in range {
            // SAFETY: each row is visited once.
            f(row, unsafe { shared.part(row * width..(row + 1) * width) });
        }
    });
}
