//! Host twins of `shaders/conv.wgsl`: images unrolled one at a time, then multiplied.

use super::cost::At;
pub use super::declared::conv::{ADD, BIAS, TRANSPOSED};
use super::declared::conv::{ChannelParams, ConvParams, WeightParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel};
use super::matmul::{Factor, multiply};
use super::norm::sum_of;
use super::{Args, Real, kernels};
use std::cell::RefCell;

kernels! {
    conv {
        /// Convolution of images, plain or transposed.
        CONV = conv, |at @ &At { rows, w, .. }| {
            let (from, to) = (w[2] * w[3], w[5] * w[6]);
            let (kernel, weights, [added, bias, transposed]) =
                (w[7] * w[8], w[1] * w[4] * w[7] * w[8], [0, 1, 2].map(|bit| at.bit(12, bit)));
            // Plain, each output reads a window; transposed, each input writes one.
            let places = if transposed != 0 { from } else { to };
            let values = rows * (w[1] * from + w[4] * to * (1 + added)) + weights + bias * w[4];
            let sizes = format!("{rows} of {}x{}x{} to {}x{}x{}", w[1], w[2], w[3], w[4], w[5], w[6]);
            (values, 2 * rows * places * w[1] * w[4] * kernel + rows * w[4] * to * (bias + added), sizes)
        };
        /// Gradient of its weights, a part for each chunk of images.
        CONV_WEIGHTS = conv_weights, |&At { rows, w, .. }| {
            let (small, large, weights) = (w[1] * w[2] * w[3], w[4] * w[5] * w[6], w[1] * w[4] * w[7] * w[8]);
            let parts = rows.div_ceil(w[12].max(1));
            let sizes = format!("{rows} of {}x{}x{}, {}x{}x{}", w[1], w[2], w[3], w[4], w[5], w[6]);
            (rows * (small + large) + parts * weights, 2 * rows * small * w[4] * w[7] * w[8], sizes)
        };
        /// Sums over the positions of each channel, a part for each chunk of images.
        CHANNEL_SUMS = channel_sums, |at @ &At { rows, c, w, .. }| {
            let parts = rows.div_ceil(w[3].max(1));
            (rows * c * w[2] + parts * c, rows * c * w[2], at.planes())
        };
    }
}

/// Positions that a workgroup of the convolution computes.
pub const TILE_POSITIONS: u32 = 64;
/// Channels that it computes.
pub const TILE_CHANNELS: u32 = 16;

/// How the small and the large image of a convolution meet.
#[derive(Clone, Copy)]
struct Geometry {
    /// Channels, height and width of the large image.
    large: [usize; 3],
    /// Height and width of the small image.
    small: [usize; 2],
    kernel: [usize; 2],
    stride: usize,
    pad: [usize; 2],
}

impl Geometry {
    fn area(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn positions(&self) -> usize {
        self.small[0] * self.small[1]
    }

    /// Values of the unrolled image.
    fn unrolled(&self) -> usize {
        self.large[0] * self.area() * self.positions()
    }

    /// Calls `f(run of the unrolled image, its first place in the large image, length, inside)` for all runs
    /// of a line of positions at one step of the kernel; consecutive positions are `stride` apart.
    #[inline(always)]
    fn runs(&self, mut f: impl FnMut(usize, usize, usize, bool)) {
        let ([channels, height, width], [rows, cols]) = (self.large, self.small);
        for c in 0..channels {
            for ky in 0..self.kernel[0] {
                for kx in 0..self.kernel[1] {
                    let line = (c * self.area() + ky * self.kernel[1] + kx) * self.positions();
                    // Positions whose column lies inside of the image.
                    let first = self.pad[1].saturating_sub(kx).div_ceil(self.stride).min(cols);
                    let end = (width + self.pad[1]).saturating_sub(kx).div_ceil(self.stride).clamp(first, cols);
                    for oy in 0..rows {
                        let (run, iy) = (line + oy * cols, oy * self.stride + ky);
                        if iy < self.pad[0] || iy - self.pad[0] >= height {
                            f(run, 0, cols, false);
                            continue;
                        }
                        f(run, 0, first, false);
                        if end > first {
                            let ix = first * self.stride + kx - self.pad[1];
                            f(run + first, (c * height + iy - self.pad[0]) * width + ix, end - first, true);
                        }
                        f(run + end, 0, cols - end, false);
                    }
                }
            }
        }
    }

    /// The large image with a row for each (channel, step of the kernel) and a column for each position.
    fn unroll<T: Real>(&self, image: &[T], to: &mut [T]) {
        self.runs(
            #[inline(always)]
            |run, from, length, inside| {
                let to = &mut to[run..run + length];
                match (inside, self.stride) {
                    (false, _) => to.fill(T::ZERO),
                    (true, 1) => to.copy_from_slice(&image[from..from + length]),
                    (true, stride) => to.iter_mut().enumerate().for_each(|(i, o)| *o = image[from + i * stride]),
                }
            },
        );
    }

    /// Adds the unrolled image back onto the large one.
    fn roll<T: Real>(&self, unrolled: &[T], image: &mut [T]) {
        self.runs(
            #[inline(always)]
            |run, to, length, inside| {
                let from = &unrolled[run..run + length];
                match (inside, self.stride) {
                    (false, _) => {}
                    (true, 1) => image[to..to + length].iter_mut().zip(from).for_each(|(o, v)| *o += *v),
                    (true, stride) => from.iter().enumerate().for_each(|(i, v)| image[to + i * stride] += *v),
                }
            },
        );
    }
}

/// c (+)= a b on this thread, c dense.
fn product<T: Real>(sizes: [usize; 3], a: Factor<T>, b: Factor<T>, c: &mut [T], add: bool) {
    assert!(c.len() >= sizes[0] * sizes[1], "sizes of a product");
    // SAFETY: the size was checked just now, and the borrows keep c apart from both factors.
    unsafe { multiply(sizes, a, b, c.as_mut_ptr(), sizes[1], add, T::ONE) };
}

/// Scratch of this thread, kept between calls so that a steady step allocates nothing.
fn with_scratch<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<f64>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with(|scratch| {
        let mut scratch = scratch.borrow_mut();
        let words = (len * size_of::<T>()).div_ceil(8);
        if scratch.len() < words {
            scratch.resize(words, 0.0);
        }
        f(&mut bytemuck::cast_slice_mut(&mut scratch[..words])[..len])
    })
}

fn conv<T: Real>(a: &Args<T>) {
    let p: ConvParams = a.params();
    let [from_c, from_h, from_w] = [p.from_c, p.from_h, p.from_w].map(|v| v as usize);
    let [to_c, to_h, to_w] = [p.to_c, p.to_h, p.to_w].map(|v| v as usize);
    let (x, w, bias) = (a.read(0), a.read(1), a.read(2));
    let (add, with_bias, transposed) = (p.flags & ADD != 0, p.flags & BIAS != 0, p.flags & TRANSPOSED != 0);
    let (from, to) = (from_c * from_h * from_w, to_c * to_h * to_w);
    let geometry = Geometry {
        large: if transposed { [to_c, to_h, to_w] } else { [from_c, from_h, from_w] },
        small: if transposed { [from_h, from_w] } else { [to_h, to_w] },
        kernel: [p.kh as usize, p.kw as usize],
        stride: p.stride as usize,
        pad: [p.pad_y as usize, p.pad_x as usize],
    };
    let positions = geometry.positions();
    let work = geometry.unrolled() * if transposed { from_c } else { to_c };
    let keep = T::new(add as u8 as f64);
    for_rows(a.write(3), p.rows as usize, to, work, |r, out| {
        let image = &x[r * from..(r + 1) * from];
        with_scratch(geometry.unrolled(), |unrolled: &mut [T]| {
            if transposed {
                let columns = to_c * geometry.area();
                let weights = Factor { first: 0, values: w, row: 1, col: columns };
                let small = Factor { first: 0, values: image, row: positions, col: 1 };
                product([columns, positions, from_c], weights, small, unrolled, false);
                out.iter_mut().for_each(|o| *o = keep_or_zero(keep, *o));
                geometry.roll(unrolled, out);
            } else {
                let columns = from_c * geometry.area();
                geometry.unroll(image, unrolled);
                let weights = Factor { first: 0, values: w, row: columns, col: 1 };
                let large = Factor { first: 0, values: unrolled, row: positions, col: 1 };
                product([to_c, positions, columns], weights, large, out, add);
            }
        });
        if with_bias {
            for (channel, b) in out.chunks_exact_mut(to_h * to_w).zip(bias) {
                channel.iter_mut().for_each(|o| *o += *b);
            }
        }
    });
}

fn conv_weights<T: Real>(a: &Args<T>) {
    let p: WeightParams = a.params();
    let (small_c, chunk, rows) = (p.small_c as usize, p.chunk as usize, p.rows as usize);
    let geometry = Geometry {
        large: [p.large_c, p.large_h, p.large_w].map(|v| v as usize),
        small: [p.small_h as usize, p.small_w as usize],
        kernel: [p.kh as usize, p.kw as usize],
        stride: p.stride as usize,
        pad: [p.pad_y as usize, p.pad_x as usize],
    };
    let (small, large) = (a.read(0), a.read(1));
    let (positions, columns) = (geometry.positions(), geometry.large[0] * geometry.area());
    let (small_size, large_size) = (small_c * positions, geometry.large.iter().product::<usize>());
    let work = chunk * geometry.unrolled() * small_c;
    for_rows(a.write(2), rows.div_ceil(chunk), small_c * columns, work, |part, out| {
        out.fill(T::ZERO);
        with_scratch(geometry.unrolled(), |unrolled: &mut [T]| {
            for r in part * chunk..((part + 1) * chunk).min(rows) {
                geometry.unroll(&large[r * large_size..(r + 1) * large_size], unrolled);
                let image = &small[r * small_size..(r + 1) * small_size];
                let left = Factor { first: 0, values: image, row: positions, col: 1 };
                let right = Factor { first: 0, values: unrolled, row: 1, col: positions };
                product([small_c, columns, positions], left, right, out, true);
            }
        });
    });
}

fn channel_sums<T: Real>(a: &Args<T>) {
    let p: ChannelParams = a.params();
    let (rows, chunk) = (p.rows as usize, p.chunk as usize);
    let (channels, positions) = (p.channels as usize, p.positions as usize);
    let (x, out) = (a.read(0), Shared::new(a.write(1)));
    parallel(rows.div_ceil(chunk), chunk * channels * positions, |parts| {
        for part in parts {
            // SAFETY: each part is visited once.
            let out = unsafe { out.part(part * channels..(part + 1) * channels) };
            out.fill(T::ZERO);
            for r in part * chunk..((part + 1) * chunk).min(rows) {
                for (c, o) in out.iter_mut().enumerate() {
                    let start = (r * channels + c) * positions;
                    *o += sum_of(positions, |i| x[start + i]);
                }
            }
        }
    });
}
