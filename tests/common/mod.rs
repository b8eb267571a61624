//! What several test files share.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod check;
pub mod errors;
pub mod harness;
pub mod small;

use bagrad::device::{Device, DeviceChoice, GpuOptions};
use std::io::Write;
use std::sync::Once;

/// The devices that results are checked on: the host, the f64 oracle, and a GPU.
///
/// A run without any adapter fails, unless `BAGRAD_HOST_ONLY=1` or a build without GPU support says aloud that it is one.
pub fn gpu() -> Option<Device> {
    if !cfg!(feature = "gpu") {
        eprintln!("without the feature `gpu`: the GPU half of this test DID NOT RUN");
        return None;
    }
    if std::env::var("BAGRAD_HOST_ONLY").is_ok_and(|v| v == "1") {
        eprintln!("BAGRAD_HOST_ONLY=1: the GPU half of this test DID NOT RUN");
        return None;
    }
    match Device::open_with(&choice(), GpuOptions { audit: errors::audit(), ..Default::default() }) {
        Ok(opened) => {
            say_what_is_missing(&opened.device);
            Some(opened.device)
        }
        Err(e) => panic!("no GPU to test on ({e}); install a Vulkan driver (tests/run does) or set BAGRAD_HOST_ONLY=1"),
    }
}

/// The same device, planned for as itself and, where drivers are not too slow for it, as a small GPU and a large one;
/// `tests/classes.rs` plans every method for every family.
pub fn as_other_gpus(device: &Device) -> Vec<Device> {
    let mut all = vec![device.clone()];
    if let (Device::Gpu(gpu), false) = (device, is_thin()) {
        let plans = ["gpu:2", "nvidia:132"].map(|plan| plan.parse().unwrap());
        all.extend(plans.map(|plan| Device::Gpu(gpu.planned_as(plan).unwrap())));
    }
    all
}

/// `BAGRAD_TEST_THIN=1` leaves the largest batches out on a GPU: for drivers that need minutes for them.
pub fn is_thin() -> bool {
    static SAID: Once = Once::new();
    let thin = std::env::var("BAGRAD_TEST_THIN").is_ok_and(|v| v == "1");
    if thin {
        let line = "######## BAGRAD_TEST_THIN=1: THE LARGEST BATCHES ARE NOT TESTED ON THE GPU ########\n";
        SAID.call_once(|| std::io::stderr().write_all(line.as_bytes()).unwrap());
    }
    thin
}

fn choice() -> DeviceChoice {
    let wanted = std::env::var("BAGRAD_TEST_DEVICE").unwrap_or_else(|_| "gpu:0".to_string());
    wanted.parse().expect("BAGRAD_TEST_DEVICE")
}

/// Once, and past the capture of what tests print: what is not tested must be seen.
fn say_what_is_missing(device: &Device) {
    static SAID: Once = Once::new();
    if !device.target().native_f16 {
        SAID.call_once(|| {
            let name = device.name();
            let line = format!("######## {name} HAS NO f16 IN SHADERS: KERNELS THAT USE IT ARE NOT TESTED ########\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        });
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
    gpu_with(GpuOptions { force_no_f16: true, ..Default::default() })
}

/// The same GPU with shaders as a release compiles them. Checked ones run with loops that are not unrolled, which a driver
/// that counts their rounds ends early in sums of some thousand terms.
pub fn gpu_as_released() -> Option<Device> {
    gpu_with(GpuOptions { checked: Some(false), ..Default::default() })
}

/// The same GPU with other options.
pub fn gpu_with(options: GpuOptions) -> Option<Device> {
    gpu()?;
    let options = GpuOptions { audit: errors::audit(), ..options };
    Some(Device::open_with(&choice(), options).unwrap().device)
}
