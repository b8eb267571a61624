//! What this machine can compute on, for people and for reports.

use super::gpu;
use serde::Serialize;
use std::fmt;

/// What an adapter is. The order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// With memory of its own.
    Discrete,
    /// Shares the CPU's memory.
    Integrated,
    /// Handed through by a hypervisor.
    Virtual,
    /// The driver does not say.
    Other,
    /// A driver that computes on the CPU.
    Cpu,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Discrete => "discrete",
            Kind::Integrated => "integrated",
            Kind::Virtual => "virtual",
            Kind::Other => "other",
            Kind::Cpu => "software",
        })
    }
}

/// An adapter as the driver describes it.
#[derive(Clone, Debug, Serialize)]
pub struct AdapterReport {
    /// Number to ask for it by: `gpu:<index>`.
    pub index: usize,
    /// Name the driver gives.
    pub name: String,
    /// PCI vendor.
    pub vendor: String,
    /// Driver.
    pub driver: String,
    /// Version of the driver.
    pub driver_version: String,
    /// `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// What it is.
    pub kind: Kind,
    /// False when it lacks what every kernel needs.
    pub usable: bool,
    /// f16 in shaders.
    pub f16: bool,
    /// Smallest and largest subgroup, when subgroup operations are supported.
    pub subgroups: Option<(u32, u32)>,
    /// Shapes of cooperative matrices.
    pub tiles: Vec<Tile>,
    /// Bytes of the largest buffer.
    pub max_buffer: u64,
    /// Bytes of the largest binding.
    pub max_binding: u64,
    /// Bytes of memory shared by a workgroup.
    pub workgroup_memory: u32,
    /// Time stamps inside passes.
    pub timestamps: bool,
    /// Whether its kernels gave what they should when it was opened, and how long that took; `None` before
    /// [`AdapterReport::examine`] and of an adapter that was refused.
    pub kernels: Option<String>,
    /// The milliseconds of that check, where there was one.
    pub check_ms: Option<f64>,
    /// How cooperative matrices fared in their self-test, or why the adapter was refused; `None` before
    /// [`AdapterReport::examine`].
    pub cooperative: Option<String>,
}

/// A shape of cooperative matrices: `[m, k] [k, n] -> [m, n]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tile {
    /// Rows of the product.
    pub m: u32,
    /// Columns of the product.
    pub n: u32,
    /// Inner size.
    pub k: u32,
    /// Type of the factors.
    pub ab: &'static str,
    /// Type of the product.
    pub cr: &'static str,
    /// WGSL can only name square ones.
    pub usable: bool,
}

/// The CPU.
#[derive(Clone, Debug, Serialize)]
pub struct HostReport {
    /// Name, where the system tells.
    pub name: Option<String>,
    /// Threads that kernels run on.
    pub threads: usize,
    /// Vector extensions that matter here.
    pub simd: Vec<&'static str>,
    /// Bytes of memory, where the system tells.
    pub memory: Option<u64>,
}

impl HostReport {
    /// This machine's.
    pub fn of_this_machine() -> Self {
        Self { name: processor_name(), threads: rayon::current_num_threads(), simd: simd(), memory: memory() }
    }
}

/// Every adapter, in the order that `gpu:<index>` counts, and the host. Without the feature `gpu` there are none.
pub fn list() -> (Vec<AdapterReport>, HostReport) {
    (gpu::reports(), HostReport::of_this_machine())
}

fn simd() -> Vec<&'static str> {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        let found = [
            ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
            ("avx", std::is_x86_feature_detected!("avx")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("fma", std::is_x86_feature_detected!("fma")),
            ("f16c", std::is_x86_feature_detected!("f16c")),
            ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ];
        found.into_iter().filter(|(_, there)| *there).map(|(name, _)| name).collect()
    }
    #[cfg(target_arch = "aarch64")]
    {
        vec!["neon"]
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    {
        Vec::new()
    }
}

/// `key : value` of a file under /proc.
fn proc_entry(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|l| l.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_string())
}

fn processor_name() -> Option<String> {
    proc_entry("/proc/cpuinfo", "model name")
}

fn memory() -> Option<u64> {
    let entry = proc_entry("/proc/meminfo", "MemTotal")?;
    entry.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}
