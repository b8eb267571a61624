//! What several test files share.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod check;
pub mod harness;

use bagrad::device::{Device, DeviceChoice};

/// The devices that results are checked on: the host, the f64 oracle, and a GPU.
///
/// A run without any adapter fails, unless `BAGRAD_HOST_ONLY=1` says aloud that it is one.
pub fn gpu() -> Option<Device> {
    if std::env::var("BAGRAD_HOST_ONLY").is_ok_and(|v| v == "1") {
        eprintln!("BAGRAD_HOST_ONLY=1: the GPU half of this test DID NOT RUN");
        return None;
    }
    let wanted = std::env::var("BAGRAD_TEST_DEVICE").unwrap_or_else(|_| "gpu:0".to_string());
    let choice: DeviceChoice = wanted.parse().expect("BAGRAD_TEST_DEVICE");
    match Device::open(&choice) {
        Ok(opened) => Some(opened.device),
        Err(e) => panic!("no GPU to test on ({e}); install a Vulkan driver (tests/run does) or set BAGRAD_HOST_ONLY=1"),
    }
}

/// ‖found − wanted‖ / ‖wanted‖.
pub fn error(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len(), "lengths");
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(wanted).map(|(a, b)| a - b));
    let size = norm(&mut wanted.iter().copied());
    if !difference.is_finite() {
        return f64::INFINITY;
    }
    if size == 0.0 { difference } else { difference / size }
}

/// The same GPU with the shader language's f16 switched off.
pub fn gpu_without_f16() -> Option<Device> {
    let options = bagrad::device::GpuOptions { force_no_f16: true, ..Default::default() };
    gpu_with(options)
}

/// The same GPU with other options.
pub fn gpu_with(options: bagrad::device::GpuOptions) -> Option<Device> {
    gpu()?;
    let wanted = std::env::var("BAGRAD_TEST_DEVICE").unwrap_or_else(|_| "gpu:0".to_string());
    Some(Device::open_with(&wanted.parse().unwrap(), options).unwrap().device)
}
