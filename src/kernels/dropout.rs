//! Host twin of `shaders/dropout.wgsl`.

use super::cost::At;
use super::declared::dropout::{ChannelParams, ColumnParams, DropoutParams};
use super::elementwise::keep_or_zero;
use super::host::{Shared, for_rows, parallel, simd};
use super::{Args, Real, kernels};
use crate::random::{philox, philox_blocks};

kernels! {
    dropout {
        /// out (+)= x, dropped or scaled.
        DROPOUT = dropout, |at @ &At { rows, w, .. }| ((2 + w[7]) * rows, (1 + w[7]) * rows, at.line());
        /// The same, run by run.
        DROPOUT_CHANNELS = dropout_channels,
            |&At { rows, w, .. }| ((2 + w[7]) * rows, (1 + w[7]) * rows, format!("{rows} by {}", w[8]));
        /// The same, one draw for each column.
        DROPOUT_COLUMNS = dropout_columns,
            |&At { rows, w, .. }| ((2 + w[7]) * rows, (1 + w[7]) * rows, format!("{rows} of {}", w[8]));
    }
}

/// Blocks of four random words drawn at a time: enough that loops over them are not unrolled away.
const WIDE: usize = 64;

fn dropout<T: Real>(a: &Args<T>) {
    let p: DropoutParams = a.params();
    let n = p.count as usize;
    let (x, out) = (&a.read(0)[..n], Shared::new(&mut a.write(1)[..n]));
    let (scale, add) = (T::from_f32(p.scale), p.accumulate != 0);
    let draw = Draw { p, scale, add };
    if p.total > 0 {
        // Some columns of a wider value: each row draws on from another place.
        let cols = p.cols as usize;
        return parallel(n / cols, 20 * cols, |rows| {
            for row in rows {
                let first = p.first / 4 + row as u32 * (p.total / 4) + p.left / 4;
                for (i, at) in (row * cols..(row + 1) * cols).step_by(4 * WIDE).enumerate() {
                    let at = at..(at + 4 * WIDE).min((row + 1) * cols);
                    // SAFETY: each row is visited once.
                    draw.run(first + (i * WIDE) as u32, &x[at.clone()], unsafe { out.part(at) });
                }
            }
        });
    }
    parallel(n.div_ceil(4 * WIDE), 20 * 4 * WIDE, |range| {
        for i in range {
            let at = 4 * WIDE * i..(4 * WIDE * (i + 1)).min(n);
            // SAFETY: each run of blocks is visited once.
            draw.run(p.first / 4 + (i * WIDE) as u32, &x[at.clone()], unsafe { out.part(at) });
        }
    });
}

/// What all values of a launch share.
struct Draw<T> {
    p: DropoutParams,
    scale: T,
    add: bool,
}

impl<T: Real> Draw<T> {
    /// At most `4 * WIDE` values, drawn with blocks of random words from `block` on.
    fn run(&self, block: u32, x: &[T], out: &mut [T]) {
        let p = &self.p;
        simd(
            #[inline(always)]
            || {
                let words = philox_blocks::<WIDE>([block, p.site, p.step, 0], [p.seed_low, p.seed_high]);
                let mut order = [0; 4 * WIDE];
                for (i, four) in order.chunks_exact_mut(4).enumerate() {
                    four.iter_mut().zip(&words).for_each(|(o, word)| *o = word[i]);
                }
                let kept = x.iter().zip(&order).map(|(x, w)| {
                    // Computed before it is chosen, so that there is no branch to mispredict.
                    let scaled = *x * self.scale;
                    if *w < p.threshold { T::ZERO } else { scaled }
                });
                match self.add {
                    false => out.iter_mut().zip(kept).for_each(|(o, v)| *o = v),
                    true => out.iter_mut().zip(kept).for_each(|(o, v)| *o += v),
                }
            },
        );
    }
}

fn dropout_channels<T: Real>(a: &Args<T>) {
    let (p, ChannelParams { positions, .. }): (DropoutParams, _) = (a.params(), a.params());
    let (n, positions) = (p.count as usize, positions as usize);
    let (x, scale, keep) = (a.read(0), T::from_f32(p.scale), T::new(p.accumulate as f64));
    for_rows(&mut a.write(1)[..n], n / positions, positions, positions + 40, |run, out| {
        let draw = p.first as usize / positions + run;
        let words = philox([draw as u32 / 4, p.site, p.step, 0], [p.seed_low, p.seed_high]);
        let factor = if words[draw % 4] < p.threshold { T::ZERO } else { scale };
        let x = &x[run * positions..(run + 1) * positions];
        out.iter_mut().zip(x).for_each(|(o, x)| *o = keep_or_zero(keep, *o) + *x * factor);
    });
}

fn dropout_columns<T: Real>(a: &Args<T>) {
    let p: ColumnParams = a.params();
    let (n, cols) = (p.count as usize, p.cols as usize);
    let (x, scale, keep) = (a.read(0), T::from_f32(p.scale), T::new(p.accumulate as f64));
    let blocks = 0..p.cols.div_ceil(4);
    let words = blocks.flat_map(|block| philox([block, p.site, p.step, 0], [p.seed_low, p.seed_high]));
    let factors: Vec<T> = words.map(|word| if word < p.threshold { T::ZERO } else { scale }).collect();
    for_rows(&mut a.write(1)[..n], n / cols, cols, cols, |r, out| {
        for ((o, x), factor) in out.iter_mut().zip(&x[r * cols..(r + 1) * cols]).zip(&factors) {
            *o = keep_or_zero(keep, *o) + *x * *factor;
        }
    });
}
