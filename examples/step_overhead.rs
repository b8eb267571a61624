//! What a training step of every method costs the processor on a device: recording, the driver, submission.
//!
//!     cargo run --release --example step_overhead -- gpu:0 [N,D]
//!
//! Meant for a driver that computes nothing (`noop`, or `tests/drivers run GPU -- target/release/examples/step_overhead
//! gpu:0`), where all the time is the processor's. On other devices it is the time of the calling thread until all is
//! submitted, in which it may have waited for the device.

use bagrad::bench::steps::{Batch, Row, Settings, Work, time};
use bagrad::device::{Device, DeviceChoice, GpuDevice, GpuOptions};
use bagrad::methods::Method;
use bagrad::plan::{Family, PlanAs};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let choice = arguments.next().unwrap_or_else(|| "gpu:0".to_string());
    let batch: Batch = arguments.next().as_deref().unwrap_or("64,1024").parse()?;
    let plan_as = Some(PlanAs::gpu(Family::Unknown, 64));
    let device = match choice.as_str() {
        // Validates and records like any other, and has no driver.
        "noop" => Device::Gpu(GpuDevice::noop(GpuOptions { plan_as, ..Default::default() })?),
        other => Device::open(&other.parse::<DeviceChoice>()?)?.device,
    };
    println!("{}\n", device.description());
    println!("| step | dispatches | submissions | us a step | us a dispatch |");
    println!("|---|---:|---:|---:|---:|");
    let settings =
        Settings { repeats: 50, half: false, precision: Default::default(), profile: false, memory: None, since: None };
    for method in Method::all() {
        let row = time(&device, &Work::Method(method, batch), &settings)?;
        let Row { shape, dispatches, submissions, host_us, .. } = row;
        let each = host_us / dispatches;
        println!("| {shape} | {dispatches:.0} | {submissions:.1} | {host_us:.0} | {each:.2} |");
    }
    Ok(())
}
