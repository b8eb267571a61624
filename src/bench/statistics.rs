//! What the driver's compiler tells about every kernel: registers, spills, occupancy, instructions, cycles.
//!
//! Nothing runs: it is the way to see what a kernel costs on a GPU that is not at hand, where its driver is (see
//! docs/compilers.md). Numbers compare variants on one GPU; each vendor counts in units of its own.

pub mod baseline;

#[cfg(all(feature = "gpu", any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
mod vulkan;
#[cfg(not(all(feature = "gpu", any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))))]
#[path = "statistics/no_vulkan.rs"]
mod vulkan;

use super::cases::{self, Sizes};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::launch::{BatchTables, Variant};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// What a compiler made of one kernel in one variant. What a driver does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Which.
    pub kernel: String,
    /// The preprocessor's choices that are not 0: `B_T A_VEC SIDE=16`.
    pub variant: String,
    /// Invocations of a workgroup.
    pub threads: u32,
    /// Bytes of workgroup memory, as the kernel declares it.
    pub memory: u32,
    /// Lanes of a subgroup.
    pub subgroup: u32,
    /// Registers of an invocation: of 32 bits, of 16 on Apple's GPUs, of four values on Adreno.
    pub registers: Option<u32>,
    /// Registers, or instructions, that go to memory because there are too few of them.
    pub spills: Option<u32>,
    /// Bytes of memory of its own that an invocation needs.
    pub scratch: Option<u32>,
    /// How many fit at a time: subgroups on a SIMD (AMD) or multiprocessor (NVIDIA), invocations on a core (Apple),
    /// waves on a core (Adreno).
    pub occupancy: Option<u32>,
    /// Instructions, loops counted once.
    pub instructions: Option<u32>,
    /// The compiler's own estimate of cycles: inverse throughput of a subgroup (AMD), static cycles (NVIDIA), cycles of
    /// the arithmetic units (Apple), instructions and stalls (Adreno).
    pub cycles: Option<u32>,
    /// All that the driver told, by its names.
    pub told: BTreeMap<String, f64>,
}

/// All kernels on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Name of the adapter.
    pub device: String,
    /// Its driver, with the version.
    pub driver: String,
    /// In the order of `kernels::all()`.
    pub rows: Vec<Row>,
}

/// Sums what is there of statistics with these names.
fn sum(told: &BTreeMap<String, f64>, names: &[&str]) -> Option<u32> {
    let found: Vec<f64> = names.iter().filter_map(|n| told.get(*n)).copied().collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() as u32)
}

impl Row {
    /// A row without numbers from the driver, and then with them.
    fn with(mut self, told: Vec<(String, f64)>) -> Self {
        self.told = told.into_iter().filter(|(name, _)| !name.to_lowercase().contains("hash")).collect();
        let told = &self.told;
        // AMD, NVIDIA by NVK, Apple, Adreno, Intel, NVIDIA's own.
        self.registers = sum(told, &["VGPRs", "Number of GPRs", "GPRs", "Registers used", "Register Count"]);
        self.spills = sum(told, &["Spilled VGPRs", "Spills to memory", "Spills", "STP Count", "Spill count"]);
        self.scratch = sum(
            told,
            &["Scratch size", "SLM size", "Scratch", "Scratch Memory Size", "Scratch memory size", "Local Memory Size"],
        );
        self.occupancy = sum(told, &["Subgroups per SIMD", "Max warps/SM", "Threads", "Max Waves Per Core"]);
        self.instructions = sum(told, &["Instructions", "Instruction count", "Instruction Count"]);
        let stalls = ["Instruction Count", "Estimated cycles stalled on SS", "Estimated cycles stalled on SY"];
        self.cycles = match told.contains_key(stalls[1]) {
            true => sum(told, &stalls),
            false => sum(told, &["Inverse Throughput", "Static cycle count", "ALU", "Cycle Count", "Cycle count"]),
        };
        self
    }
}

/// The choices that are not 0.
pub(super) fn named(variant: &Variant) -> String {
    let one = |(name, value): &(&str, u32)| match value {
        0 => None,
        1 => Some((*name).to_owned()),
        _ => Some(format!("{name}={value}")),
    };
    variant.iter().filter_map(one).collect::<Vec<String>>().join(" ")
}

/// Every kernel in every variant that the cases of the benchmark launch on `device`.
fn launched(device: &Device, sizes: Sizes, filter: &str) -> Result<Vec<(&'static Kernel, Variant)>> {
    let mut seen = HashSet::new();
    let mut all: Vec<(&'static Kernel, Variant)> = Vec::new();
    for case in cases::all(sizes)? {
        let program = case.plan(device, BatchTables::cut(&case.bags, case.tape.pseudo).extent)?;
        for launch in program.launches.iter().filter(|l| l.kernel.name.contains(filter)) {
            if seen.insert((launch.kernel.name, named(&launch.variant))) {
                all.push((launch.kernel, launch.variant.clone()));
            }
        }
    }
    let order: Vec<&str> = crate::kernels::all().iter().map(|k| k.name).collect();
    all.sort_by_cached_key(|(k, variant)| (order.iter().position(|n| *n == k.name), named(variant)));
    Ok(all)
}

/// Compiles every kernel whose name contains `filter`, in every variant that the cases of the benchmark launch at
/// these sizes, and asks the driver of `device`.
///
/// # Errors
/// [`Error::Device`] where the device is no GPU or its driver does not tell (`VK_KHR_pipeline_executable_properties`).
pub fn of(device: &Device, sizes: Sizes, filter: &str) -> Result<Report> {
    let Device::Gpu(gpu) = device else {
        let message = format!("statistics: {} has no compiler to ask; name a GPU", device.description());
        return Err(Error::Device { message });
    };
    let rows = rows(gpu, &launched(device, sizes, filter)?)?;
    Ok(Report { device: gpu.name().to_owned(), driver: gpu.driver(), rows })
}

fn rows(gpu: &crate::device::GpuDevice, kernels: &[(&'static Kernel, Variant)]) -> Result<Vec<Row>> {
    let vulkan = vulkan::Vulkan::open(gpu)?;
    let row = |(kernel, variant): &(&'static Kernel, Variant)| {
        let spirv = vulkan.spirv(kernel, variant)?;
        let (subgroup, told) = vulkan.compile(kernel, &spirv)?;
        let (threads, memory) = (spirv.threads, spirv.workgroup_memory);
        let (kernel, variant) = (kernel.name.to_owned(), named(variant));
        Ok(Row { kernel, variant, threads, memory, subgroup, ..Row::default() }.with(told))
    };
    kernels.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(told: &[(&str, f64)]) -> Row {
        Row::default().with(told.iter().map(|(n, v)| (n.to_string(), *v)).collect())
    }

    #[test]
    fn every_vendor_has_names_of_its_own() {
        let amd = row(&[
            ("VGPRs", 64.0),
            ("SGPRs", 108.0),
            ("Spilled VGPRs", 2.0),
            ("Scratch size", 512.0),
            ("Subgroups per SIMD", 16.0),
            ("Instructions", 1023.0),
            ("Inverse Throughput", 3102.0),
            ("Driver pipeline hash", 9e18),
        ]);
        let numbers = |r: &Row| [r.registers, r.spills, r.scratch, r.occupancy, r.instructions, r.cycles];
        assert_eq!(numbers(&amd), [64, 2, 512, 16, 1023, 3102].map(Some));
        assert_eq!(amd.told.len(), 7);
        let nvidia = row(&[("Number of GPRs", 56.0), ("Spills to memory", 0.0), ("Spills to reg", 9.0)]);
        assert_eq!(numbers(&nvidia), [Some(56), Some(0), None, None, None, None]);
        let adreno = row(&[
            ("Instruction Count", 1000.0),
            ("Estimated cycles stalled on SS", 20.0),
            ("Estimated cycles stalled on SY", 3.0),
            ("STP Count", 7.0),
        ]);
        assert_eq!(numbers(&adreno), [None, Some(7), None, None, Some(1000), Some(1023)]);
    }

    #[test]
    fn a_variant_is_told_by_what_is_on() {
        assert_eq!(named(&vec![("A_T", 0), ("B_T", 1), ("SIDE", 16)]), "B_T SIDE=16");
    }

    #[test]
    fn the_host_has_nothing_to_tell() {
        let error = of(&Device::host(), Sizes::Small, "").unwrap_err().to_string();
        assert!(error.contains("has no compiler to ask"), "{error}");
    }
}
