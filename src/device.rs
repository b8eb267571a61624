//! Devices: which there are, how one is chosen, and the executors that run programs on them.
//!
//! All that names wgpu is in [`gpu`]. Without the feature `gpu` another module stands in its place, whose GPUs have no
//! values: the rest of the crate is the same text in both builds.

#[doc(hidden)]
pub mod executor;
pub mod facts;
pub mod foreign;
pub mod list;

mod host_executor;
mod options;
mod select;

#[cfg(feature = "gpu")]
#[doc(hidden)]
pub mod gpu;
#[cfg(not(feature = "gpu"))]
#[path = "device/no_gpu.rs"]
#[doc(hidden)]
pub mod gpu;

pub use gpu::GpuDevice;
pub use list::{AdapterReport, HostReport, Kind, list};
pub use options::{Checks, GpuOptions, LaunchError};
pub use select::DeviceChoice;

use crate::error::Result;
use crate::plan::{Class, Family, Reductions, Target};

/// What an executor has created and submitted; a steady training step must only add submissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers created.
    pub buffers: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Pipelines created.
    pub pipelines: u64,
    /// Programs loaded, each after it was planned.
    pub programs: u64,
    /// Compute passes begun.
    pub passes: u64,
    /// Submissions.
    pub submissions: u64,
    /// Dispatches.
    pub dispatches: u64,
    /// Times the host waited for the device and read something back.
    pub readbacks: u64,
}

/// Something that programs run on.
#[derive(Clone)]
pub enum Device {
    /// The CPU, in f32.
    Host(HostDevice),
    /// The CPU, in f64: what the others are compared with.
    Oracle,
    /// A GPU.
    Gpu(GpuDevice),
}

/// The CPU as a device.
#[derive(Clone, Debug)]
pub struct HostDevice {
    description: String,
}

/// Keeps Mesa's device selection layer from connecting to a display, which prints an error for each listing
/// of adapters where there is none (servers, containers). We choose by what an adapter is, so its opinion is
/// not missed. Variables that are set already are left alone.
///
/// # Safety
/// It sets an environment variable: call it first in `main`, before any other thread runs.
pub unsafe fn quiet_drivers() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: the caller's.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// A device and why it was taken.
pub struct Opened {
    /// The device.
    pub device: Device,
    /// One line for people.
    pub why: String,
}

impl Device {
    /// The CPU.
    pub fn host() -> Self {
        let report = HostReport::of_this_machine();
        let name = report.name.unwrap_or_else(|| std::env::consts::ARCH.to_string());
        let plural = if report.threads == 1 { "" } else { "s" };
        let widest = report.simd.last().map_or(String::new(), |s| format!(", {s}"));
        let description = format!("host ({name}, {} thread{plural}{widest})", report.threads);
        Device::Host(HostDevice { description })
    }

    /// The CPU in f64.
    pub fn oracle() -> Self {
        Device::Oracle
    }

    /// Opens what `choice` means on this machine.
    ///
    /// # Errors
    /// [`crate::Error::Device`] when there is no such device, its driver refuses, or its kernels give wrong results
    /// (see [`Checks`]), or this build has no GPU support. `auto` never fails: it goes on to the next GPU and in the end to the host, and says why.
    pub fn open(choice: &DeviceChoice) -> Result<Opened> {
        Self::open_with(choice, GpuOptions::default())
    }

    /// As [`Device::open`], with options for a GPU.
    ///
    /// # Errors
    /// As for [`Device::open`].
    pub fn open_with(choice: &DeviceChoice, options: GpuOptions) -> Result<Opened> {
        if *choice == DeviceChoice::Host {
            return Ok(Opened { device: Self::host(), why: "the host was asked for".to_string() });
        }
        let (opened, why) = gpu::choose(choice, options)?;
        Ok(Opened { device: opened.map_or_else(Self::host, Device::Gpu), why })
    }

    /// Short name.
    pub fn name(&self) -> &str {
        match self {
            Device::Host(_) => "host",
            Device::Oracle => "oracle",
            Device::Gpu(gpu) => gpu.name(),
        }
    }

    /// Name with driver and back end, or processor and threads.
    pub fn description(&self) -> String {
        match self {
            Device::Host(host) => host.description.clone(),
            Device::Oracle => "oracle (the host in f64)".to_string(),
            Device::Gpu(gpu) => gpu.description(),
        }
    }

    /// What the planner needs to know, for f32.
    pub fn target(&self) -> Target {
        match self {
            // Not the number of cores: how sums are split would depend on it, and results with that.
            Device::Host(_) | Device::Oracle => {
                // Kernels count elements in 32 bits.
                Target {
                    class: Class::Host,
                    family: Family::Unknown,
                    native_f16: true,
                    max_binding: 4 * u32::MAX as u64,
                    units: 8,
                    coop: None,
                    tuning: None,
                    reductions: Reductions::Workgroup,
                }
            }
            Device::Gpu(gpu) => gpu.target(),
        }
    }
}

impl Device {
    /// As [`Device::target`], for a tape of mixed precision with the cooperative matrices that may be used.
    /// The first such call tests them, but for software drivers, where they are slower than what they replace.
    pub fn target_for(&self, mixed: bool) -> Target {
        match self {
            Device::Gpu(gpu) => gpu.target_for(mixed),
            _ => self.target(),
        }
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description())
    }
}
