//! Host twins of `shaders/pseudo_label.wgsl`.

use super::elementwise::{each, keep_or_zero};
use super::host::for_rows;
use super::{Args, Kernel, Real, kernel};
use bytemuck::{Pod, Zeroable};

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Instances {
    count: u32,
    accumulate: u32,
}

/// See the shader.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub struct Bags {
    rows: u32,
    cols: u32,
    strength: f32,
    of: u32,
    accumulate: u32,
    scale: f32,
}

kernel!(/// Loss of instances taken for what they look like.
    INSTANCE_PSEUDO, "pseudo_label", instance_pseudo, Instances, [Read, Write]);
kernel!(/// Its gradient.
    INSTANCE_PSEUDO_GRAD, "pseudo_label", instance_pseudo_grad, Instances, [Read, Read, Write]);
kernel!(/// Loss of bags with such instances.
    BAG_PSEUDO, "pseudo_label", bag_pseudo, Bags, [Read, Read, Read, Read, Read, Write]);
kernel!(/// Its gradient.
    BAG_PSEUDO_GRAD, "pseudo_label", bag_pseudo_grad, Bags, [Read, Read, Read, Read, Read, Read, Write]);

/// All kernels of this file.
pub const KERNELS: &[&Kernel] = &[&INSTANCE_PSEUDO, &INSTANCE_PSEUDO_GRAD, &BAG_PSEUDO, &BAG_PSEUDO_GRAD];

fn instance_pseudo<T: Real>(a: &Args<T>) {
    let p: Instances = a.params();
    let (n, x) = (p.count as usize, a.read(0));
    each(&mut a.write(1)[..n], 8, |out, at| {
        out.iter_mut().zip(&x[at]).for_each(|(o, x)| *o = (-x.abs()).exp().ln_1p());
    });
}

fn instance_pseudo_grad<T: Real>(a: &Args<T>) {
    let p: Instances = a.params();
    let (n, x, g) = (p.count as usize, a.read(0), a.read(1));
    let keep = T::new(p.accumulate as f64);
    each(&mut a.write(2)[..n], 8, |out, at| {
        for ((o, x), g) in out.iter_mut().zip(&x[at.clone()]).zip(&g[at]) {
            let small = (-x.abs()).exp();
            let away = *g * small / (T::ONE + small);
            *o = keep_or_zero(keep, *o) + if *x >= T::ZERO { -away } else { away };
        }
    });
}

fn bag_pseudo<T: Real>(a: &Args<T>) {
    let p: Bags = a.params();
    let cols = p.cols as usize;
    let (x, instances, negative, targets, weights) = (a.read(0), a.read(1), a.read(2), a.read(3), a.read(4));
    let strength = T::from_f32(p.strength);
    for_rows(a.write(5), p.rows as usize, 1, 10 * cols, |r, out| {
        let term = |i: usize| {
            let gap = -x[i] - instances[i];
            targets[i] * (strength * gap * gap - x[i]) + (T::ONE - targets[i]) * negative[i]
        };
        out[0] = (r * cols..(r + 1) * cols).map(term).sum::<T>() / T::new(cols as f64) * weights[r];
    });
}

fn bag_pseudo_grad<T: Real>(a: &Args<T>) {
    let p: Bags = a.params();
    let cols = p.cols as usize;
    let (x, instances, targets, weights, upstream) = (a.read(0), a.read(1), a.read(3), a.read(4), a.read(5));
    let (strength, keep) = (T::new(2.0) * T::from_f32(p.strength), T::new(p.accumulate as f64));
    let scale = upstream[0] * T::from_f32(p.scale) / T::new(cols as f64);
    for_rows(a.write(6), p.rows as usize * cols, 1, 10, |i, out| {
        let pull = strength * (-x[i] - instances[i]);
        let slope = match p.of {
            0 => -(T::ONE + pull) * targets[i],
            1 => -pull * targets[i],
            _ => T::ONE - targets[i],
        };
        out[0] = keep_or_zero(keep, out[0]) + slope * weights[i / cols] * scale;
    });
}
