//! The host's ceilings, over all its threads.

use super::{Ceiling, settle, sized};
use crate::kernels::host::simd;
use std::hint::black_box;
use std::time::Instant;

/// Nanoseconds that a run should take at least, so that clocks and waking threads do not matter.
const LEAST: f64 = if cfg!(debug_assertions) { 2e5 } else { 1e7 };
const REPEATS: usize = 5;
/// Passes that are more than any run needs.
const MOST: usize = 1 << 24;

/// Sizes in bytes, one buffer of all threads together.
const SIZES: [u64; 6] = [32 << 10, 256 << 10, 1 << 20, 8 << 20, 32 << 20, 256 << 20];

/// All of them.
pub(super) fn measure() -> Vec<Ceiling> {
    let threads = rayon::current_num_threads();
    let mut all = Vec::new();
    let largest = if cfg!(debug_assertions) { 1 << 20 } else { u64::MAX };
    for bytes in SIZES.into_iter().filter(|b| *b <= largest) {
        all.extend(memory(bytes, threads));
    }
    all.push(multiply_add(threads));
    all.push(integer(threads));
    all.push(parallel(threads));
    all
}

/// Runs `work(thread, passes, its data)` on every thread: nanoseconds of the slowest way round.
fn spread<T: Send>(data: &mut [T], passes: usize, work: impl Fn(&mut T, usize) + Sync) -> f64 {
    let start = Instant::now();
    rayon::scope(|scope| {
        for one in data.iter_mut() {
            let work = &work;
            scope.spawn(move |_| work(one, passes));
        }
    });
    start.elapsed().as_secs_f64() * 1e9
}

/// As many passes as take long enough, the times of a few runs, and whether time grows with the work.
fn repeat<T: Send>(data: &mut [T], work: impl Fn(&mut T, usize) + Sync) -> (usize, Vec<f64>, Result<(), String>) {
    let mut passes = 1;
    while spread(data, passes, &work) < LEAST && passes < MOST {
        passes *= 2;
    }
    let best = |passes| Ok((0..3).map(|_| spread(data, passes, &work)).fold(f64::INFINITY, f64::min));
    let (passes, grown) = settle(passes, MOST, best).expect("the host's clock answers");
    let times = (0..REPEATS).map(|_| spread(data, passes, &work)).collect();
    (passes, times, grown)
}

/// Memory of one thread, and what it found.
struct Part {
    from: Vec<u64>,
    to: Vec<u64>,
    sum: u64,
    passes: usize,
}

fn memory(bytes: u64, threads: usize) -> Vec<Ceiling> {
    let words = (bytes as usize / 8 / threads).max(64);
    let part = |n: usize| {
        let from = (0..words as u64).map(|i| i.wrapping_mul(0x9E37_79B9) ^ n as u64).collect();
        Part { from, to: vec![0; words], sum: 0, passes: 0 }
    };
    let mut parts: Vec<Part> = (0..threads).map(part).collect();
    let moved = |passes: usize| (words * threads * 8 * passes) as f64;
    let size = sized(bytes);

    let (passes, ns, grown) = repeat(&mut parts, |part, passes| {
        part.sum = 0;
        for _ in 0..passes {
            let from = black_box(&part.from[..]);
            part.sum = part.sum.wrapping_add(simd(|| from.iter().fold(0u64, |sum, v| sum.wrapping_add(*v))));
        }
        part.passes = passes;
    });
    let right = |part: &Part| {
        let once = part.from.iter().fold(0u64, |sum, v| sum.wrapping_add(*v));
        part.sum == once.wrapping_mul(part.passes as u64)
    };
    let sums = if parts.iter().all(right) { Ok(()) } else { Err("sums are wrong".to_owned()) };
    let read = Ceiling::rate("read", &size, "GB/s", moved(passes), ns).checked(sums.and(grown)).over(bytes);

    let (passes, ns, grown) = repeat(&mut parts, |part, passes| {
        for n in 0..passes as u64 {
            let to = black_box(&mut part.to[..]);
            simd(|| to.iter_mut().enumerate().for_each(|(i, v)| *v = i as u64 ^ n));
        }
        part.passes = passes;
    });
    let right = |part: &Part| part.to.iter().enumerate().all(|(i, v)| *v == i as u64 ^ (part.passes as u64 - 1));
    let values = if parts.iter().all(right) { Ok(()) } else { Err("values are wrong".to_owned()) };
    let write = Ceiling::rate("write", &size, "GB/s", moved(passes), ns).checked(values.and(grown)).over(bytes);

    let (passes, ns, grown) = repeat(&mut parts, |part, passes| {
        for _ in 0..passes {
            black_box(&mut part.to[..]).copy_from_slice(black_box(&part.from[..]));
        }
    });
    let values = if parts.iter().all(|p| p.to == p.from) { Ok(()) } else { Err("values are wrong".to_owned()) };
    let copy = Ceiling::rate("copy", &size, "GB/s", 2.0 * moved(passes), ns).checked(values.and(grown)).over(bytes);
    vec![read, write, copy]
}

/// Chains side by side: enough for two units of the widest vectors with their latency.
const CHAINS: usize = 128;
/// Steps of a pass.
const STEPS: usize = 1 << 12;

fn multiply_add(threads: usize) -> Ceiling {
    let mut sums = vec![[0f32; CHAINS]; threads];
    let (passes, ns, grown) = repeat(&mut sums, |sums, passes| {
        let (b, c) = (black_box(1f32), black_box(1f32));
        for _ in 0..passes {
            let mut a = [0f32; CHAINS];
            simd(
                #[inline(always)]
                || {
                    for _ in 0..STEPS {
                        a.iter_mut().for_each(|a| *a = a.mul_add(b, c));
                    }
                },
            );
            *sums = black_box(a);
        }
    });
    let right = sums.iter().flatten().all(|s| *s == STEPS as f32);
    let right = if right { Ok(()) } else { Err("sums are wrong".to_owned()) };
    let flops = (2 * CHAINS * STEPS * passes * threads) as f64;
    Ceiling::rate("f32 multiply-add", "", "GFLOP/s", flops, ns).checked(right.and(grown))
}

fn integer(threads: usize) -> Ceiling {
    const FACTOR: u32 = 1_664_525;
    const TERM: u32 = 1_013_904_223;
    let mut sums = vec![[0u32; CHAINS]; threads];
    let (passes, ns, grown) = repeat(&mut sums, |sums, passes| {
        let (b, c) = (black_box(FACTOR), black_box(TERM));
        for _ in 0..passes {
            let mut a = [1u32; CHAINS];
            simd(
                #[inline(always)]
                || {
                    for _ in 0..STEPS {
                        a.iter_mut().for_each(|a| *a = a.wrapping_mul(b).wrapping_add(c));
                    }
                },
            );
            *sums = black_box(a);
        }
    });
    let wanted = (0..STEPS).fold(1u32, |a, _| a.wrapping_mul(FACTOR).wrapping_add(TERM));
    let right = sums.iter().flatten().all(|s| *s == wanted);
    let right = if right { Ok(()) } else { Err("numbers are wrong".to_owned()) };
    let ops = (2 * CHAINS * STEPS * passes * threads) as f64;
    Ceiling::rate("integer multiply-add", "", "Gop/s", ops, ns).checked(right.and(grown))
}

/// The way from one thread to all and back.
fn parallel(threads: usize) -> Ceiling {
    let mut counts = vec![0u64; threads];
    let us: Vec<f64> = (0..200).map(|_| spread(&mut counts, 1, |n, _| *n += 1) / 1e3).collect();
    let right = if counts.iter().all(|n| *n == 200) { Ok(()) } else { Err("a thread was left out".to_owned()) };
    Ceiling::of("parallel loop", "", "us", us).checked(right)
}
