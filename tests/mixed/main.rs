//! Mixed precision: products of rounded factors on the plain kernel and on cooperative matrices, the scale of
//! the loss, and training. A device without cooperative matrices says so, and its fallback is checked instead.

#![cfg(feature = "data")]

#[path = "../common/mod.rs"]
mod common;

mod products;
mod training;

use bagrad::device::gpu::cooperative::Verdict;
use bagrad::device::{Device, GpuDevice, GpuOptions};
use bagrad::plan::{Family, PlanAs};

/// The GPU under test, planned for as a GPU with so few units that products take large tiles, or so many that
/// they take small ones.
fn planned(units: u32, options: GpuOptions) -> Option<Device> {
    common::gpu_with(GpuOptions { plan_as: Some(PlanAs::gpu(Family::Unknown, units)), ..options })
}

fn gpu_of(device: &Device) -> &GpuDevice {
    let Device::Gpu(gpu) = device else { panic!("{device:?} is no GPU") };
    gpu
}

/// True when cooperative matrices are in use; says aloud when they are not.
fn has_matrices(device: &Device) -> bool {
    match gpu_of(device).cooperative() {
        passed @ Verdict::Passed(_) => {
            eprintln!("{device:?}: {passed}");
            true
        }
        other => {
            eprintln!("{device:?}: {other}; THE PLAIN KERNEL IS CHECKED IN THEIR PLACE");
            false
        }
    }
}
