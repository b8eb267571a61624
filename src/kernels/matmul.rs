//! Matrix products: `shaders/matmul.wgsl`, `shaders/transpose.wgsl`, their tiles and host twins.

use super::cost::{At, Cost};
use super::declared::matmul::Params as MatmulParams;
pub use super::declared::matmul::{A_TURNED, ADD, B_TURNED, BIAS, ROUNDED};
use super::declared::transpose::Params as TransposeParams;
use super::elementwise::{activation, by_kind};
use super::host::{FeatureSlice, Shared, for_rows, parallel, simd};
use super::launch::Variant;
use super::target::{Class, Target};
use super::tiles::Choice;
use super::{Args, Kernel, Real, kernels, round};
use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::{Deserialize, Serialize};

kernels! {
    matmul {
        /// C (+)= act(op(A) op(B) + bias).
        MATMUL = matmul, product_cost;
    }
    transpose {
        /// Rows become columns.
        TRANSPOSE = transpose, |at @ &At { rows, c, .. }| (2 * rows * c, 0, at.matrix());
    }
}

pub(super) fn product_cost(at: &At) -> Cost {
    let w = at.w;
    let (m, cols, k, flags) = (w[0], w[1], w[2], w[6]);
    let layers = k.div_ceil(w[9].max(1)).max(1);
    let [added, bias] = [ADD, BIAS].map(|bit| (flags & bit as u64 != 0) as u64);
    let sides = m * k * at.size(0) + k * cols * at.size(1);
    let out = 4 * (m * cols * layers * (1 + added) + bias * cols);
    let mark = |bit: u32| if flags & bit as u64 != 0 { "^T" } else { "" };
    let rounded = if flags & ROUNDED as u64 != 0 { " mixed" } else { "" };
    let shape = format!("[{m}x{k}]{} [{k}x{cols}]{}{rounded}", mark(A_TURNED), mark(B_TURNED));
    Cost { shape, bytes: sides + out, flops: m * cols * (2 * k + bias + (w[7] != 0) as u64) }
}

/// One part of a sum that is split over the layers of the grid: its parameters, and how many values of each
/// binding lie before it. The host never splits, so the twin knows nothing of parts.
#[cfg(feature = "gpu")]
pub(crate) fn part(
    words: &[u32; super::launch::MAX_WORDS],
    part: u32,
) -> ([u32; super::launch::MAX_WORDS], [usize; 4]) {
    let p: MatmulParams = bytemuck::pod_read_unaligned(&bytemuck::bytes_of(words)[..size_of::<MatmulParams>()]);
    let begin = part.saturating_mul(p.k_chunk).min(p.k);
    let mut own = *words;
    own[2] = (p.k - begin).min(p.k_chunk);
    let step = |transposed: bool, ld: u32| begin as usize * if transposed { ld as usize } else { 1 };
    let before = [
        step(p.flags & A_TURNED != 0, p.lda),
        step(p.flags & B_TURNED == 0, p.ldb),
        0,
        (part * p.split_stride) as usize,
    ];
    (own, before)
}

/// Which factor is stored transposed, and which in f16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Form {
    /// A is stored `[K, M]`.
    pub a_t: bool,
    /// B is stored `[N, K]`.
    pub b_t: bool,
    /// A is in f16.
    pub a_half: bool,
    /// B is in f16.
    pub b_half: bool,
    /// Factors in f32 are rounded to f16 first.
    pub rounded: bool,
}

/// A variant with the outputs a workgroup of it computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// [`MATMUL`], or its form for matrix units.
    pub kernel: &'static Kernel,
    /// Rows of C.
    pub rows: u32,
    /// Columns of C.
    pub cols: u32,
    /// The preprocessor's choices.
    pub variant: Variant,
}

/// Choices of kernels that read features at binding 0: f16 or not, and how.
pub fn half_variant(target: &Target, half: bool) -> Variant {
    vec![("HALF", half as u32), ("NATIVE_F16", (half && target.native_f16) as u32)]
}

/// The tile for a product of these sizes; `strides` are those of A, B and C. Pure, so that it can be tested: the
/// tuning of the target where it knows the product, else [`Choice::standard`], whose numbers docs/matmul-search.md
/// explains.
pub fn choose(target: &Target, form: &Form, m: u32, n: u32, strides: [u32; 3]) -> Tile {
    let vectors = strides.map(|s| s.is_multiple_of(4));
    let variant = vec![
        ("A_T", form.a_t as u32),
        ("B_T", form.b_t as u32),
        ("A_F16", form.a_half as u32),
        ("B_F16", form.b_half as u32),
        ("NATIVE_F16", ((form.a_half || form.b_half) && target.native_f16) as u32),
        ("A_VEC", vectors[0] as u32),
        ("B_VEC", vectors[1] as u32),
        ("C_VEC", (vectors[2] && n.is_multiple_of(4)) as u32),
    ];
    if target.class == Class::Host {
        return Tile { kernel: &MATMUL, rows: m.max(1), cols: n.max(1), variant: Vec::new() };
    }
    let tuned = target.tuning.and_then(|tuning| tuning.choice(target, form, m, n));
    let tile = |choice: Choice| choice.tile(target, form, [m, n], variant.clone());
    let standard = || tile(Choice::standard(target, form, m, n)).expect("every device has its standard tiles");
    tuned.and_then(tile).unwrap_or_else(standard)
}

/// Multiplications up to which a product on a CPU driver is not worth the compilation of a tile.
const SMALL: u64 = 1 << 14;

/// The tile of a product with few multiplications on a CPU driver: one pipeline for all its forms. `None` for others.
pub fn small(target: &Target, form: &Form, m: u32, n: u32, k: u32) -> Option<Tile> {
    let few = [m, n, k].iter().try_fold(1u64, |all, v| all.checked_mul((*v).into())).is_some_and(|all| all <= SMALL);
    if !matches!(target.class, Class::CpuDriver { .. }) || form.a_half || form.b_half || !few {
        return None;
    }
    let variant = vec![("SMALL", 1), ("ROUND", form.rounded as u32)];
    Some(Tile { kernel: &MATMUL, rows: 8, cols: 32, variant })
}

/// Parts that the inner sum is cut into, so that a product with few outputs keeps a GPU busy.
pub fn splits(target: &Target, tile: &Tile, m: u32, n: u32, k: u32) -> u32 {
    if target.class != Class::Gpu || k < 1024 {
        return 1;
    }
    let groups = m.div_ceil(tile.rows) as u64 * n.div_ceil(tile.cols) as u64;
    let wanted = (2 * target.units as u64).div_ceil(groups.max(1));
    // A part shorter than 512 costs more to add up than it saves, and all parts are bound at once.
    let bindable = target.max_binding / 256 * 256 / (4 * m as u64 * n as u64).max(1);
    wanted.min(k as u64 / 512).min(bindable).clamp(1, 64) as u32
}

/// Rows of a window of the inner sum of A^T B over instances: on CPU drivers a tile that runs over all rows
/// loses its lines from the caches, so all tiles take a window before any takes the next.
pub fn window(target: &Target, form: &Form, capacity: u32) -> Option<u32> {
    let cpu = matches!(target.class, Class::CpuDriver { .. });
    (cpu && form.a_t && !form.b_t && capacity > 512).then(|| capacity.div_ceil(64).next_multiple_of(512))
}

#[derive(Clone, Copy)]
struct Dense<T> {
    data: *const T,
    row: isize,
    col: isize,
}

/// Below this many multiplications a product stays on one core, which does them in 20 to 50 microseconds.
const THREADS_FROM: usize = 1 << 22;

/// C = op(A) op(B) or C += it, on all cores when it is worth waking them.
///
/// # Safety
/// The pointers and strides describe matrices inside live buffers; C overlaps neither factor.
unsafe fn gemm<T: Real>(sizes: [usize; 3], a: Dense<T>, b: Dense<T>, c: *mut T, ldc: usize, add: bool) {
    let [m, n, k] = sizes;
    let parallelism = match m * n * k < THREADS_FROM {
        true => gemm::Parallelism::None,
        false => gemm::Parallelism::Rayon(0),
    };
    let (ldc, one) = (ldc as isize, T::ONE);
    // SAFETY: forwarded from the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            ldc,
            add,
            a.data,
            a.col,
            a.row,
            b.data,
            b.col,
            b.row,
            one,
            one,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A factor of a small product: its values from the first on, and how far apart rows and columns are.
pub(super) struct Factor<'a, T> {
    pub values: &'a [T],
    pub first: usize,
    pub row: usize,
    pub col: usize,
}

/// c = alpha a b or c += it on this thread, rows of c `ldc` values apart.
///
/// # Safety
/// `c` points to m rows of n values that nothing else uses and that overlap no factor.
pub(super) unsafe fn multiply<T: Real>(
    [m, n, k]: [usize; 3],
    a: Factor<T>,
    b: Factor<T>,
    c: *mut T,
    ldc: usize,
    add: bool,
    alpha: T,
) {
    let reaches = |f: &Factor<T>, rows: usize, cols: usize| {
        rows == 0 || cols == 0 || f.values.len() > f.first + (rows - 1) * f.row + (cols - 1) * f.col
    };
    assert!(reaches(&a, m, k) && reaches(&b, k, n), "sizes of a product");
    // SAFETY: the factors were checked just now; c is the caller's.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            ldc as isize,
            add,
            a.values.as_ptr().add(a.first),
            a.col as isize,
            a.row as isize,
            b.values.as_ptr().add(b.first),
            b.col as isize,
            b.row as isize,
            T::ONE,
            alpha,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Rows of an f16 factor widened at a time; a panel stays in the second-level cache.
const PANEL: usize = 256;

pub(super) fn matmul<T: Real>(a: &Args<T>) {
    let p: MatmulParams = a.params();
    let [m, n, k] = [p.m, p.n, p.k].map(|v| v as usize);
    let [lda, ldb, ldc] = [p.lda, p.ldb, p.ldc].map(|v| v as usize);
    let c = a.write(3);
    let add = p.flags & ADD != 0;
    if m == 0 || n == 0 {
        return;
    }
    // On the device the form is the variant; the same bits of the flags tell it to the twin.
    let (a_t, b_t) = (p.flags & A_TURNED != 0, p.flags & B_TURNED != 0);
    assert!(c.len() >= (m - 1) * ldc + n, "C is too small");
    let view = |slice: &[T], rows: usize, cols: usize, ld: usize, transposed: bool| {
        let (stored_rows, stored_cols) = if transposed { (cols, rows) } else { (rows, cols) };
        assert!(stored_rows == 0 || slice.len() >= (stored_rows - 1) * ld + stored_cols, "a factor is too small");
        let (row, col) = if transposed { (1, ld as isize) } else { (ld as isize, 1) };
        Dense { data: slice.as_ptr(), row, col }
    };
    if k == 0 && !add {
        for_rows(c, m, ldc, n, |_, row| row[..n].fill(T::ZERO));
    } else if p.flags & ROUNDED != 0 {
        rounded_product(a, c, [m, n, k], [lda, ldb, ldc], (a_t, b_t), add);
    } else {
        match (a.features(0), a.features(1)) {
            (FeatureSlice::Full(x), FeatureSlice::Full(y)) => {
                let (x, y) = (view(x, m, k, lda, a_t), view(y, k, n, ldb, b_t));
                // SAFETY: sizes were checked above, and bindings that are written overlap no other.
                unsafe { gemm([m, n, k], x, y, c.as_mut_ptr(), ldc, add) };
            }
            (FeatureSlice::Half(x), FeatureSlice::Full(y)) => {
                let (rows, cols) = if a_t { (k, m) } else { (m, k) };
                let y = view(y, k, n, ldb, b_t);
                panels(x, rows, cols, lda, |start, count, panel| {
                    let sizes = if a_t { [m, n, count] } else { [count, n, k] };
                    let x = view(panel, sizes[0], sizes[2], cols, a_t);
                    // A panel is a stretch of the inner sum, or of the rows of C.
                    let (y, at, add) = match a_t {
                        true => (shift(y, start as isize * y.row), 0, add || start > 0),
                        false => (y, start * ldc, add),
                    };
                    // SAFETY: as above; a panel stays inside the matrices.
                    unsafe { gemm(sizes, x, y, c.as_mut_ptr().add(at), ldc, add) };
                });
            }
            (FeatureSlice::Full(x), FeatureSlice::Half(y)) => {
                let (rows, cols) = if b_t { (n, k) } else { (k, n) };
                let x = view(x, m, k, lda, a_t);
                panels(y, rows, cols, ldb, |start, count, panel| {
                    let sizes = if b_t { [m, count, k] } else { [m, n, count] };
                    let y = view(panel, sizes[2], sizes[1], cols, b_t);
                    let (x, at, add) = match b_t {
                        true => (x, start, add),
                        false => (shift(x, start as isize * x.col), 0, add || start > 0),
                    };
                    // SAFETY: as above.
                    unsafe { gemm(sizes, x, y, c.as_mut_ptr().add(at), ldc, add) };
                });
            }
            (FeatureSlice::Half(_), FeatureSlice::Half(_)) => panic!("one factor at most is in f16"),
        }
    }
    if p.flags & BIAS == 0 && p.act == 0 {
        return;
    }
    let bias = (p.flags & BIAS != 0).then(|| &a.read(2)[..n]);
    let slope = T::from_f32(p.slope);
    let shared = Shared::new(c);
    by_kind!(p.act, |K| parallel(m, 4 * n, |range| {
        simd(
            #[inline(always)]
            || {
                for r in range {
                    // SAFETY: each row is visited once.
                    let row = unsafe { shared.part(r * ldc..r * ldc + n) };
                    if let Some(bias) = bias {
                        row.iter_mut().zip(bias).for_each(|(o, b)| *o = activation(K, slope, *o + *b));
                    } else {
                        row.iter_mut().for_each(|o| *o = activation(K, slope, *o));
                    }
                }
            },
        );
    }));
}

/// C (+)= op(A) op(B) with both factors rounded to f16, a panel of A at a time; B is rounded whole, or in the
/// same panels where both lie along the inner sum.
fn rounded_product<T: Real>(
    a: &Args<T>,
    c: &mut [T],
    [m, n, k]: [usize; 3],
    [lda, ldb, ldc]: [usize; 3],
    (a_t, b_t): (bool, bool),
    add: bool,
) {
    let (x, y) = (a.features(0), a.features(1));
    let together = a_t && !b_t;
    let dense = |data: &[T], ld: usize, transposed: bool| {
        let (row, col) = if transposed { (1, ld as isize) } else { (ld as isize, 1) };
        Dense { data: data.as_ptr(), row, col }
    };
    let mut right = Scratch::take(
        (if together {
            PANEL.min(k)
        } else if b_t {
            n
        } else {
            k
        }) * if b_t { k } else { n },
    );
    if !together {
        let (rows, cols) = if b_t { (n, k) } else { (k, n) };
        round::rows(y, 0..rows, cols, ldb, right.numbers());
    }
    // A transposed factor beside another is a stack of the whole inner sum: it has no panels.
    let (lines, cols) = if a_t { (k, m) } else { (m, k) };
    let panel = if a_t && b_t { lines } else { PANEL.min(lines) };
    let mut left = Scratch::take(panel * cols);
    for start in (0..lines).step_by(panel.max(1)) {
        let count = panel.min(lines - start);
        round::rows(x, start..start + count, cols, lda, left.numbers());
        if together {
            round::rows(y, start..start + count, n, ldb, right.numbers());
        }
        let (sizes, at, add) = match a_t {
            true => ([m, n, count], 0, add || start > 0),
            false => ([count, n, k], start * ldc, add),
        };
        let (x, y) = (dense(left.numbers(), cols, a_t), dense(right.numbers(), if b_t { k } else { n }, b_t));
        // SAFETY: the scratch is as large as the panels, and `matmul` has checked C.
        unsafe { gemm(sizes, x, y, c.as_mut_ptr().add(at), ldc, add) };
    }
    right.give();
    left.give();
}

/// Memory kept between calls, so that a steady step allocates nothing.
struct Scratch<T>(Vec<f64>, usize, std::marker::PhantomData<T>);

thread_local! {
    static SPARE: std::cell::RefCell<Vec<Vec<f64>>> = const { std::cell::RefCell::new(Vec::new()) };
}

impl<T: Real> Scratch<T> {
    // Taken and not borrowed: while this thread waits for others it may run another step of the pool.
    fn take(count: usize) -> Self {
        let mut words = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        let needed = (count * size_of::<T>()).div_ceil(8);
        if words.len() < needed {
            words.resize(needed, 0.0);
        }
        Self(words, count, std::marker::PhantomData)
    }

    fn numbers(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.0)[..self.1]
    }

    fn give(self) {
        SPARE.with_borrow_mut(|s| s.push(self.0));
    }
}

/// f16 values as numbers.
pub(super) fn widen<T: Real>(from: &[f16], to: &mut [T]) {
    match bytemuck::try_cast_slice_mut::<T, f32>(to) {
        Ok(to) if size_of::<T>() == 4 => from.convert_to_f32_slice(to),
        _ => to.iter_mut().zip(from).for_each(|(o, v)| *o = T::from_f32(v.to_f32())),
    }
}

fn shift<T>(matrix: Dense<T>, by: isize) -> Dense<T> {
    Dense { data: matrix.data.wrapping_offset(by), ..matrix }
}

/// Calls `f(first row, rows, panel)` for each panel of an f16 matrix, widened and dense.
fn panels<T: Real>(x: &[f16], rows: usize, cols: usize, ld: usize, mut f: impl FnMut(usize, usize, &[T])) {
    let mut scratch = Scratch::take(PANEL.min(rows) * cols);
    let buffer: &mut [T] = scratch.numbers();
    for start in (0..rows).step_by(PANEL) {
        let count = PANEL.min(rows - start);
        for_rows(&mut buffer[..count * cols], count, cols, cols, |r, out| {
            widen(&x[(start + r) * ld..(start + r) * ld + cols], out);
        });
        f(start, count, &buffer[..count * cols]);
    }
    scratch.give();
}

/// Rows of the result that are filled together: a cache line of each row of the source.
const TURN: usize = 16;

fn transpose<T: Real>(a: &Args<T>) {
    let p: TransposeParams = a.params();
    let (rows, cols, ld_in, ld_out) = (p.rows as usize, p.cols as usize, p.ld_in as usize, p.ld_out as usize);
    let (x, out) = (a.read(0), Shared::new(a.write(1)));
    parallel(cols.div_ceil(TURN), 4 * TURN * rows, |range| {
        for c in (range.start * TURN..(range.end * TURN).min(cols)).step_by(TURN) {
            let wide = TURN.min(cols - c);
            for first in (0..rows).step_by(TURN) {
                let tall = TURN.min(rows - first);
                for i in 0..wide {
                    // SAFETY: each row of the result belongs to one piece.
                    let out = unsafe { out.part((c + i) * ld_out + first..(c + i) * ld_out + first + tall) };
                    for (r, o) in out.iter_mut().enumerate() {
                        *o = x[(first + r) * ld_in + c + i];
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::host::RawBinding;
    use super::*;

    #[test]
    fn transposing_keeps_every_value() {
        for (rows, cols) in [(1, 1), (15, 17), (16, 32), (70, 33)] {
            let mut x: Vec<f32> = (0..rows * cols).map(|v| v as f32).collect();
            let mut y = vec![-1.0f32; cols * (rows + 3)];
            let mut words = [0; crate::kernels::launch::MAX_WORDS];
            words[..4].copy_from_slice(&[rows, cols, cols, rows + 3].map(|v| v as u32));
            let bindings = [&mut x, &mut y].map(|v| RawBinding::Float(v.as_mut_ptr(), v.len()));
            // SAFETY: both vectors live, and are apart.
            transpose(&unsafe { Args::new(&bindings, TRANSPOSE.bindings, words) });
            for (r, c) in (0..rows).flat_map(|r| (0..cols).map(move |c| (r, c))) {
                assert_eq!(y[c * (rows + 3) + r], x[r * cols + c], "{r}, {c} of {rows}, {cols}");
            }
            let padding = y.chunks_exact(rows + 3).flat_map(|row| &row[rows..]);
            assert!(padding.copied().all(|v| v == -1.0));
        }
    }
}
