//! What this machine can compute on, for people and for reports.

use super::select::{Description, Kind};
use super::{Checked, Device, DeviceChoice, Opened, gpu};
use crate::plan::Class;
use serde::Serialize;

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

fn scalar(kind: wgpu::CooperativeScalarType) -> &'static str {
    match kind {
        wgpu::CooperativeScalarType::F32 => "f32",
        wgpu::CooperativeScalarType::F16 => "f16",
        wgpu::CooperativeScalarType::I32 => "i32",
        wgpu::CooperativeScalarType::U32 => "u32",
    }
}

fn vendor(id: u32) -> String {
    let known = match id {
        0x1002 => "AMD",
        0x106b => "Apple",
        0x10de => "NVIDIA",
        0x10005 => "Mesa",
        0x1414 => "Microsoft",
        0x13b5 => "Arm",
        0x1ae0 => "Google",
        0x5143 => "Qualcomm",
        0x8086 => "Intel",
        other => return format!("{other:#06x}"),
    };
    known.to_string()
}

impl AdapterReport {
    pub(super) fn of(index: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
        let tiles = match features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
            true => adapter.cooperative_matrix_properties(),
            false => Vec::new(),
        };
        let tile = |p: wgpu::CooperativeMatrixProperties| Tile {
            m: p.m_size,
            n: p.n_size,
            k: p.k_size,
            ab: scalar(p.ab_type),
            cr: scalar(p.cr_type),
            usable: p.m_size == p.n_size && p.n_size == p.k_size,
        };
        let subgroups = (info.subgroup_min_size, info.subgroup_max_size);
        Self {
            index,
            kind: Description::of(&info).kind,
            vendor: vendor(info.vendor),
            backend: info.backend.to_string(),
            usable: features.contains(wgpu::Features::IMMEDIATES),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP).then_some(subgroups),
            tiles: tiles.into_iter().map(tile).collect(),
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            timestamps: features
                .contains(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
            kernels: None,
            check_ms: None,
            cooperative: None,
            name: info.name,
            driver: info.driver,
            driver_version: info.driver_info,
        }
    }
}

impl AdapterReport {
    /// Opens the adapter, which checks its kernels, and lets its cooperative matrices take their self-test.
    pub fn examine(&mut self) {
        if !self.usable {
            return;
        }
        self.cooperative = Some(match Device::open(&DeviceChoice::Index(self.index)) {
            Ok(Opened { device: Device::Gpu(gpu), .. }) => {
                let checked = gpu.checked().expect("it was opened");
                self.kernels = Some(checked.to_string());
                if let Checked::Passed { milliseconds, .. } = checked {
                    self.check_ms = Some(milliseconds);
                }
                let verdict = gpu.cooperative();
                let unused = verdict.usable().is_some() && gpu.target().class != Class::Gpu;
                let remark = if unused { "; not used, as they are slower than plain products there" } else { "" };
                format!("{verdict}{remark}")
            }
            Ok(_) => unreachable!("a number is that of an adapter"),
            Err(error) => error.to_string(),
        });
    }
}

impl HostReport {
    /// This machine's.
    pub fn of_this_machine() -> Self {
        Self { name: processor_name(), threads: rayon::current_num_threads(), simd: simd(), memory: memory() }
    }
}

/// Every adapter, in the order that `gpu:<index>` counts, and the host.
pub fn list() -> (Vec<AdapterReport>, HostReport) {
    let adapters = gpu::adapters();
    let reports = adapters.iter().enumerate().map(|(i, adapter)| AdapterReport::of(i, adapter)).collect();
    (reports, HostReport::of_this_machine())
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
