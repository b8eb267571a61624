//! Host twins of `shaders/elementwise.wgsl`.

use super::cost::{At, Cost};
use super::declared::elementwise::{
    ActivateParams, AddParams, AddToParams, AffineParams, FillParams, GeluParams, LogitParams, MultiplyParams,
    UnpackParams,
};
use super::host::{FeatureSlice, Shared, parallel, simd};
use super::{Args, Real, kernels};
use std::ops::Range;

/// Invocations in a workgroup.
pub const LANES: u32 = 64;

kernels! {
    elementwise {
        /// out = f(x).
        ACTIVATE = activate, |at @ &At { rows, w, .. }| (2 * rows, rows * (w[1] != 0) as u64, at.line());
        /// g <- g f'(x) from the activation's output.
        ACTIVATE_THROUGH = activate_through, |at @ &At { rows, .. }| (3 * rows, 2 * rows, at.line());
        /// out (+)= g f'(x) from the activation's output.
        ACTIVATE_GRAD = activate_grad, |at @ &At { rows, w, .. }| ((3 + w[3]) * rows, (2 + w[3]) * rows, at.line());
        /// out = x times the share of a standard normal below x.
        GELU = gelu, |at @ &At { rows, .. }| (2 * rows, 30 * rows, at.line());
        /// out (+)= g times its derivative.
        GELU_GRAD = gelu_grad, |at @ &At { rows, w, .. }| ((3 + w[1]) * rows, (36 + w[1]) * rows, at.line());
        /// out = ln(x / (1 - x)).
        LOGIT = logit, |at @ &At { rows, .. }| (2 * rows, 3 * rows, at.line());
        /// out (+)= g / (x (1 - x)).
        LOGIT_GRAD = logit_grad, |at @ &At { rows, w, .. }| ((3 + w[2]) * rows, (3 + w[2]) * rows, at.line());
        /// out = a x + b y.
        ADD_SCALED = add_scaled, |at @ &At { rows, .. }| (3 * rows, 3 * rows, at.line());
        /// out (+)= factor x.
        ADD_TO = add_to, |at @ &At { rows, w, .. }| ((2 + w[2]) * rows, (1 + w[2]) * rows, at.line());
        /// out (+)= x y.
        MULTIPLY = multiply, |at @ &At { rows, w, .. }| ((3 + w[1]) * rows, (1 + w[1]) * rows, at.line());
        /// out = factor x + offset.
        AFFINE = affine, |at @ &At { rows, .. }| (2 * rows, 2 * rows, at.line());
        /// out = 1 where x < limit, else 0.
        BELOW = below, |at @ &At { rows, .. }| (2 * rows, rows, at.line());
        /// out = value.
        FILL = fill, |at @ &At { rows, .. }| (rows, 0, at.line());
        /// out = the larger of out and value.
        RAISE = raise, |at @ &At { rows, .. }| (2 * rows, rows, at.line());
        /// Features as dense f32 rows.
        UNPACK = unpack, |at| Cost { shape: at.matrix(), bytes: at.rows * at.c * (at.size(0) + 4), flops: 0 };
    }
}

/// Calls `f(part of out, its place)` for parts that make up `out`, over the cores, compiled for the widest
/// vectors. `f` walks slices side by side: an index into another slice would keep its loop from vectorising.
#[inline(always)]
pub(super) fn each<T: Real>(out: &mut [T], work: usize, f: impl Fn(&mut [T], Range<usize>) + Sync) {
    let len = out.len();
    let shared = Shared::new(out);
    parallel(len, work, |range| {
        // SAFETY: ranges of one `parallel` call are disjoint.
        let part = unsafe { shared.part(range.clone()) };
        simd(
            #[inline(always)]
            || f(part, range),
        );
    });
}

/// out = f(x), value by value.
#[inline(always)]
fn map1<T: Real>(out: &mut [T], x: &[T], work: usize, f: impl Fn(T) -> T + Sync) {
    each(
        out,
        work,
        #[inline(always)]
        |out, at| out.iter_mut().zip(&x[at]).for_each(|(o, x)| *o = f(*x)),
    );
}

/// out (+)= f(x, y), value by value.
#[inline(always)]
fn map2<T: Real>(out: &mut [T], add: bool, x: &[T], y: &[T], work: usize, f: impl Fn(T, T) -> T + Sync) {
    each(
        out,
        work,
        #[inline(always)]
        |out, at| {
            let both = x[at.clone()].iter().zip(&y[at]);
            match add {
                false => out.iter_mut().zip(both).for_each(|(o, (x, y))| *o = f(*x, *y)),
                true => out.iter_mut().zip(both).for_each(|(o, (x, y))| *o += f(*x, *y)),
            }
        },
    );
}

/// ln(1 - e^x) for x <= 0, kept 1e-7 below it: each form where it keeps its digits.
#[inline(always)]
pub(super) fn log1mexp<T: Real>(x: T) -> T {
    let a = x.smaller(T::new(-1e-7));
    if a > T::new(-0.693) { (-a.exp_m1()).ln() } else { (-a.exp()).ln_1p() }
}

/// The activation, by its number.
#[inline(always)]
pub fn activation<T: Real>(kind: u32, slope: T, x: T) -> T {
    match kind {
        1 => x.larger(T::ZERO),
        2 => {
            if x > T::ZERO {
                x
            } else {
                x * slope
            }
        }
        3 => x.tanh(),
        4 => x.sigmoid(),
        5 => x.softplus(),
        6 => x.ln(),
        7 => x.exp(),
        8 => x.smaller(T::ZERO) - (-x.abs()).exp().ln_1p(),
        9 => log1mexp(x),
        10 => x.larger(-slope).smaller(slope),
        11 => x.larger(T::ZERO).sqrt(),
        _ => x,
    }
}

/// Its derivative, from its output y.
#[inline(always)]
fn slope_of<T: Real>(kind: u32, slope: T, y: T) -> T {
    match kind {
        1 => {
            if y > T::ZERO {
                T::ONE
            } else {
                T::ZERO
            }
        }
        2 => {
            if y > T::ZERO {
                T::ONE
            } else {
                slope
            }
        }
        3 => T::ONE - y * y,
        4 => y * (T::ONE - y),
        5 => {
            if y < T::new(1e-2) {
                y * (T::ONE - y / T::new(2.0) * (T::ONE - y / T::new(3.0) * (T::ONE - y / T::new(4.0))))
            } else {
                T::ONE - (-y).exp()
            }
        }
        6 => (-y).exp(),
        7 => y,
        8 => -y.exp_m1(),
        9 => -(-y).exp_m1(),
        10 => {
            if y.abs() < slope {
                T::ONE
            } else {
                T::ZERO
            }
        }
        11 => {
            if y > T::ZERO {
                T::new(0.5) / y
            } else {
                T::ZERO
            }
        }
        _ => T::ONE,
    }
}

/// Runs `body` once for the number `kind` as a constant, so that the loop inside has no branch.
macro_rules! by_kind {
    ($kind:expr, |$k:ident| $body:expr) => {
        match $kind {
            1 => {
                const $k: u32 = 1;
                $body
            }
            2 => {
                const $k: u32 = 2;
                $body
            }
            3 => {
                const $k: u32 = 3;
                $body
            }
            4 => {
                const $k: u32 = 4;
                $body
            }
            5 => {
                const $k: u32 = 5;
                $body
            }
            6 => {
                const $k: u32 = 6;
                $body
            }
            7 => {
                const $k: u32 = 7;
                $body
            }
            8 => {
                const $k: u32 = 8;
                $body
            }
            9 => {
                const $k: u32 = 9;
                $body
            }
            10 => {
                const $k: u32 = 10;
                $body
            }
            11 => {
                const $k: u32 = 11;
                $body
            }
            _ => {
                const $k: u32 = 0;
                $body
            }
        }
    };
}
pub(super) use by_kind;

fn activate<T: Real>(a: &Args<T>) {
    let p: ActivateParams = a.params();
    let (n, slope) = (p.count as usize, T::from_f32(p.slope));
    let (x, out) = (&a.read(0)[..n], &mut a.write(1)[..n]);
    by_kind!(p.kind, |K| map1(
        out,
        x,
        4,
        #[inline(always)]
        |x| activation(K, slope, x)
    ));
}

fn activate_through<T: Real>(a: &Args<T>) {
    let p: ActivateParams = a.params();
    let (n, slope) = (p.count as usize, T::from_f32(p.slope));
    let (y, g) = (&a.read(0)[..n], &mut a.write(1)[..n]);
    by_kind!(p.kind, |K| each(
        g,
        1,
        #[inline(always)]
        |g, at| {
            g.iter_mut().zip(&y[at]).for_each(|(g, y)| *g *= slope_of(K, slope, *y));
        }
    ));
}

fn activate_grad<T: Real>(a: &Args<T>) {
    let p: ActivateParams = a.params();
    let (n, slope) = (p.count as usize, T::from_f32(p.slope));
    let (y, g, out) = (&a.read(0)[..n], &a.read(1)[..n], &mut a.write(2)[..n]);
    let add = p.accumulate != 0;
    by_kind!(p.kind, |K| map2(
        out,
        add,
        y,
        g,
        1,
        #[inline(always)]
        |y, g| g * slope_of(K, slope, y)
    ));
}

/// The old value when something is added to it, zero (also instead of NaN) when it is replaced.
#[inline(always)]
pub(super) fn keep_or_zero<T: Real>(keep: T, old: T) -> T {
    if keep == T::ZERO { T::ZERO } else { old }
}

fn gelu<T: Real>(a: &Args<T>) {
    let p: GeluParams = a.params();
    let n = p.count as usize;
    map1(
        &mut a.write(1)[..n],
        &a.read(0)[..n],
        30,
        #[inline(always)]
        |x| x * x.normal_share(),
    );
}

fn gelu_grad<T: Real>(a: &Args<T>) {
    let p: GeluParams = a.params();
    let n = p.count as usize;
    // 1 / sqrt(2 pi)
    let factor = T::new(0.398_942_280_401_432_7);
    map2(
        &mut a.write(2)[..n],
        p.accumulate != 0,
        &a.read(0)[..n],
        &a.read(1)[..n],
        36,
        #[inline(always)]
        |x, g| g * (x.normal_share() + x * factor * (T::new(-0.5) * x * x).exp()),
    );
}

fn clip_of<T: Real>(p: &LogitParams) -> (T, T) {
    (T::from_f32(p.clip), T::ONE - T::from_f32(p.clip))
}

fn logit<T: Real>(a: &Args<T>) {
    let p: LogitParams = a.params();
    let n = p.count as usize;
    let (low, high) = clip_of::<T>(&p);
    map1(&mut a.write(1)[..n], &a.read(0)[..n], 8, |x| {
        let q = x.larger(low).smaller(high);
        (q / (T::ONE - q)).ln()
    });
}

fn logit_grad<T: Real>(a: &Args<T>) {
    let p: LogitParams = a.params();
    let n = p.count as usize;
    let (low, high) = clip_of::<T>(&p);
    map2(&mut a.write(2)[..n], p.accumulate != 0, &a.read(0)[..n], &a.read(1)[..n], 4, |q, g| {
        if q < low || q > high { T::ZERO } else { g / (q * (T::ONE - q)) }
    });
}

fn add_scaled<T: Real>(a: &Args<T>) {
    let p: AddParams = a.params();
    let n = p.count as usize;
    let (fa, fb) = (T::from_f32(p.a), T::from_f32(p.b));
    map2(
        &mut a.write(2)[..n],
        false,
        &a.read(0)[..n],
        &a.read(1)[..n],
        1,
        #[inline(always)]
        |x, y| fa * x + fb * y,
    );
}

fn add_to<T: Real>(a: &Args<T>) {
    let p: AddToParams = a.params();
    let n = p.count as usize;
    let factor = T::from_f32(p.factor);
    let x = &a.read(0)[..n];
    map2(
        &mut a.write(1)[..n],
        p.accumulate != 0,
        x,
        x,
        1,
        #[inline(always)]
        |x, _| factor * x,
    );
}

fn multiply<T: Real>(a: &Args<T>) {
    let p: MultiplyParams = a.params();
    let n = p.count as usize;
    let (x, y) = (&a.read(0)[..n], &a.read(1)[..n]);
    map2(
        &mut a.write(2)[..n],
        p.accumulate != 0,
        x,
        y,
        1,
        #[inline(always)]
        |x, y| x * y,
    );
}

fn affine<T: Real>(a: &Args<T>) {
    let p: AffineParams = a.params();
    let n = p.count as usize;
    let (factor, offset) = (T::from_f32(p.factor), T::from_f32(p.offset));
    map1(
        &mut a.write(1)[..n],
        &a.read(0)[..n],
        1,
        #[inline(always)]
        |x| factor * x + offset,
    );
}

fn below<T: Real>(a: &Args<T>) {
    let p: FillParams = a.params();
    let (n, limit) = (p.count as usize, T::from_f32(p.value));
    map1(&mut a.write(1)[..n], &a.read(0)[..n], 1, |x| if x < limit { T::ONE } else { T::ZERO });
}

fn fill<T: Real>(a: &Args<T>) {
    let p: FillParams = a.params();
    a.write(0)[..p.count as usize].fill(T::from_f32(p.value));
}

fn raise<T: Real>(a: &Args<T>) {
    let p: FillParams = a.params();
    let least = T::from_f32(p.value);
    a.write(0)[..p.count as usize].iter_mut().for_each(|o| *o = o.larger(least));
}

fn unpack<T: Real>(a: &Args<T>) {
    let p: UnpackParams = a.params();
    let (cols, stride) = (p.cols as usize, p.stride as usize);
    let x = a.features(0);
    super::host::for_rows(a.write(1), p.rows as usize, cols, cols, |row, out| match x {
        FeatureSlice::Full(x) => out.copy_from_slice(&x[row * stride..row * stride + cols]),
        FeatureSlice::Half(x) => super::matmul::widen(&x[row * stride..row * stride + cols], out),
    });
}
