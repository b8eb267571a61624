//! Host twin of `shaders/parts.wgsl`.

use super::cost::At;
use super::declared::parts::Params as PartsParams;
use super::elementwise::activation;
use super::host::{Shared, parallel};
use super::matmul::{ADD, BIAS};
use super::{Args, Real, kernels};

kernels! {
    parts {
        /// C (+)= act(the sum of the parts of a split product + bias).
        ADD_PARTS = add_parts, |at @ &At { rows, c, w, .. }| {
            let (out, bias, add) = (rows * c, w[3] >> 1 & 1, w[3] & 1);
            let shape = format!("{} of {}", w[6], at.matrix());
            (out * (w[6] + 1 + add) + bias * c, out * (w[6] - 1 + bias + (w[4] != 0) as u64 + add), shape)
        };
    }
}

/// The host never splits: this is for what compares a device with its twins.
fn add_parts<T: Real>(a: &Args<T>) {
    let p: PartsParams = a.params();
    let [m, n, ldc, count, stride] = [p.m, p.n, p.ldc, p.count, p.stride].map(|v| v as usize);
    let parts = a.read(0);
    let bias = (p.flags & BIAS != 0).then(|| &a.read(1)[..n]);
    let (add, slope) = (p.flags & ADD != 0, T::from_f32(p.slope));
    let out = Shared::new(a.write(2));
    parallel(m, n * count, |range| {
        for r in range {
            // SAFETY: each row is visited once; the last may end where C does.
            let row = unsafe { out.part(r * ldc..r * ldc + n) };
            for (col, out) in row.iter_mut().enumerate() {
                let sum: T = (0..count).map(|part| parts[part * stride + r * n + col]).sum();
                let value = activation(p.act, slope, sum + bias.map_or(T::ZERO, |b| b[col]));
                *out = if add { *out + value } else { value };
            }
        }
    });
}
