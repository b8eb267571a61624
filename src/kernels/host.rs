//! What a host twin sees of a launch, and how it uses the cores.

use super::launch::MAX_WORDS;
use super::{Binding, Real};
use half::f16;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

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

#[cfg(feature = "gpu")]
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
/// A binding that the kernel writes is handed out once, and not for reading beside that; others can only be read. With
/// the promise of [`Args::new`], that no written binding overlaps another, slices that twins hold never alias.
pub struct Args<'a, T> {
    bindings: &'a [RawBinding<T>],
    kinds: &'static [Binding],
    words: [u32; MAX_WORDS],
    /// A bit for each binding that was read, and sixteen further up for each that is written.
    taken: AtomicU32,
}

// SAFETY: the pointers come from buffers that are borrowed for the duration of the launch, and who gets which slice is
// decided by `taken`.
unsafe impl<T: Sync> Sync for Args<'_, T> {}

impl<'a, T: Real> Args<'a, T> {
    /// For executors: the bindings of `kinds`, which are those of the kernel that is called.
    ///
    /// # Safety
    /// The pointers are valid for `'a` and used by nobody else meanwhile, and no binding that `kinds` calls written
    /// overlaps another.
    pub unsafe fn new(bindings: &'a [RawBinding<T>], kinds: &'static [Binding], words: [u32; MAX_WORDS]) -> Self {
        assert!(bindings.len() == kinds.len() && kinds.len() <= 16, "{} bindings for {kinds:?}", bindings.len());
        Self { bindings, kinds, words, taken: AtomicU32::new(0) }
    }

    /// Notes that `binding` is read.
    fn share(&self, binding: usize) {
        let read = 1 << binding;
        // Twins may ask for every row: nothing is written where it is noted already.
        if self.taken.load(Ordering::Acquire) & (read | read << 16) != read {
            let before = self.taken.fetch_or(read, Ordering::AcqRel);
            assert!(before & read << 16 == 0, "binding {binding} is read while it is written");
        }
    }

    /// Notes that `binding` is written.
    fn take(&self, binding: usize) {
        assert!(self.kinds[binding].writes(), "binding {binding} is declared {:?}", self.kinds[binding]);
        let read = 1 << binding;
        let before = self.taken.fetch_or(read << 16, Ordering::AcqRel);
        assert!(before & (read | read << 16) == 0, "binding {binding} was handed out before it is written");
    }

    /// The parameter struct.
    pub fn params<P: bytemuck::AnyBitPattern>(&self) -> P {
        bytemuck::pod_read_unaligned(&bytemuck::bytes_of(&self.words)[..size_of::<P>()])
    }

    /// Read-only numbers.
    pub fn read(&self, binding: usize) -> &'a [T] {
        self.share(binding);
        match self.bindings[binding] {
            // SAFETY: see `new`; who holds it is in `taken`.
            RawBinding::Float(p, n) => unsafe { std::slice::from_raw_parts(p, n) },
            other => panic!("binding {binding} is not a float buffer but {other:?}"),
        }
    }

    /// Numbers to write, once.
    #[allow(clippy::mut_from_ref, reason = "`take` hands a binding out once")]
    pub fn write(&self, binding: usize) -> &'a mut [T] {
        self.take(binding);
        match self.bindings[binding] {
            // SAFETY: see `new`; who holds it is in `taken`.
            RawBinding::Float(p, n) => unsafe { std::slice::from_raw_parts_mut(p, n) },
            other => panic!("binding {binding} is not a float buffer but {other:?}"),
        }
    }

    /// Read-only indices.
    pub fn indices(&self, binding: usize) -> &'a [u32] {
        self.share(binding);
        match self.bindings[binding] {
            // SAFETY: see `new`; who holds it is in `taken`.
            RawBinding::Index(p, n) => unsafe { std::slice::from_raw_parts(p, n) },
            other => panic!("binding {binding} is not an index buffer but {other:?}"),
        }
    }

    /// Indices to write, once.
    #[allow(clippy::mut_from_ref, reason = "`take` hands a binding out once")]
    pub fn write_indices(&self, binding: usize) -> &'a mut [u32] {
        self.take(binding);
        match self.bindings[binding] {
            // SAFETY: see `new`; who holds it is in `taken`.
            RawBinding::Index(p, n) => unsafe { std::slice::from_raw_parts_mut(p, n) },
            other => panic!("binding {binding} is not an index buffer but {other:?}"),
        }
    }

    /// Instance features in either storage.
    pub fn features(&self, binding: usize) -> FeatureSlice<'a, T> {
        self.share(binding);
        match self.bindings[binding] {
            RawBinding::Float(..) => FeatureSlice::Full(self.read(binding)),
            // SAFETY: see `new`; who holds it is in `taken`.
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
pub struct Shared<'a, T> {
    pointer: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: `part` hands out parts that the caller keeps disjoint.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above; nothing is read through a shared reference.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    /// Shares `slice` between threads.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
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
    pub unsafe fn part(&self, range: Range<usize>) -> &'a mut [T] {
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

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &[Binding] = &[Binding::Read, Binding::Write, Binding::WriteIndex];

    /// What `f` panics with.
    fn refused(f: impl FnOnce(&Args<f32>)) -> String {
        let (mut x, mut y, mut z) = ([1.0f32; 3], [2.0f32; 2], [3u32; 2]);
        let bindings = [
            RawBinding::Float(x.as_mut_ptr(), 3),
            RawBinding::Float(y.as_mut_ptr(), 2),
            RawBinding::Index(z.as_mut_ptr(), 2),
        ];
        // SAFETY: three arrays that live, apart from each other.
        let args = unsafe { Args::new(&bindings, KINDS, [0; MAX_WORDS]) };
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&args))).unwrap_err();
        *panic.downcast::<String>().unwrap()
    }

    /// Both at a time.
    fn held<S>(_slices: S) {}

    #[test]
    fn bindings_never_alias() {
        // Reading twice and writing once is what twins do; it ends in the panic that stands for no panic.
        let fine = |a: &Args<f32>| {
            let (x, again, y, z) = (a.read(0), a.read(0), a.write(1), a.write_indices(2));
            y[0] = x[2] + again[1];
            z[0] = y[0] as u32;
            panic!("{} fine", z[0]);
        };
        assert_eq!(refused(fine), "2 fine");
        let twice = |a: &Args<f32>| held((a.write(1), a.write(1)));
        assert!(refused(twice).contains("handed out before"));
        let indices = |a: &Args<f32>| held((a.write_indices(2), a.write_indices(2)));
        assert!(refused(indices).contains("handed out before"));
        let read_first = |a: &Args<f32>| held((a.read(1), a.write(1)));
        assert!(refused(read_first).contains("handed out before"));
        let written_first = |a: &Args<f32>| held((a.write(1), a.read(1)));
        assert!(refused(written_first).contains("read while it is written"));
        let not_written = |a: &Args<f32>| held(a.write(0));
        assert!(refused(not_written).contains("declared Read"));
    }
}
