//! What of a device decides how fast something runs on it, as data that can be kept.

use super::Device;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A device as it was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Name with driver and back end, or processor and threads.
    pub description: String,
    /// Name of the adapter, or of the processor.
    pub name: String,
    /// `host`, or what the adapter is: discrete, integrated, virtual, software, other.
    pub kind: String,
    /// `vulkan`, `metal`, `dx12`; empty on the host.
    pub backend: String,
    /// The driver and its version, which is that of its compiler too where it has one; empty on the host.
    pub driver: String,
    /// Optional features that are in use; on the host the vector extensions.
    pub features: Vec<String>,
    /// Limits that matter to kernels; on the host the threads.
    pub limits: BTreeMap<String, u64>,
    /// Least and largest subgroup; `None` where there are none.
    pub subgroups: Option<(u32, u32)>,
    /// What it is planned for as, where that is something else.
    pub planned_as: Option<String>,
    /// Shaders are compiled with checks of bounds and divisions; on the host: assertions of debug builds are on.
    pub checked: bool,
    /// Nanoseconds of a tick of its time stamps; `None` where the host's clock measures.
    pub timestamp_ns: Option<f64>,
}

impl Device {
    /// What decides how fast something runs on it.
    pub fn facts(&self) -> Facts {
        if let Device::Gpu(gpu) = self {
            return gpu.facts();
        }
        let report = super::HostReport::of_this_machine();
        Facts {
            description: self.description(),
            name: report.name.unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            kind: self.name().to_string(),
            features: report.simd.into_iter().map(str::to_string).collect(),
            limits: BTreeMap::from([("threads".to_string(), report.threads as u64)]),
            checked: cfg!(debug_assertions),
            ..Facts::default()
        }
    }
}
