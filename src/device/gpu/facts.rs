//! What an opened adapter says of itself that decides how fast kernels are.

use super::GpuDevice;
use super::choose::Description;
use super::report::tile;
use crate::device::facts::Facts;
use crate::device::list::Tile;
use std::collections::BTreeMap;

impl GpuDevice {
    /// What decides how fast something runs on it.
    pub fn facts(&self) -> Facts {
        let (info, limits) = (self.info(), self.limits());
        let limit = |name: &str, value: u64| (name.to_string(), value);
        let stamps = self.has_time_stamps();
        let subgroups = self.features().contains(wgpu::Features::SUBGROUP);
        Facts {
            description: self.description(),
            name: info.name.clone(),
            kind: Description::of(info).kind.to_string(),
            backend: info.backend.to_string(),
            driver: self.driver().trim().to_string(),
            features: self.features().iter_names().map(|(name, _)| name.to_string()).collect(),
            limits: BTreeMap::from([
                limit("max_buffer_size", limits.max_buffer_size),
                limit("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
                limit("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size.into()),
                limit("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup.into()),
                limit("max_compute_workgroups_per_dimension", limits.max_compute_workgroups_per_dimension.into()),
                limit("max_immediate_size", limits.max_immediate_size.into()),
            ]),
            subgroups: subgroups.then_some((info.subgroup_min_size, info.subgroup_max_size)),
            planned_as: self.plan_as.map(|plan_as| plan_as.to_string()),
            checked: self.pipelines().are_checked(),
            timestamp_ns: stamps.then(|| f64::from(self.queue().get_timestamp_period())),
        }
    }

    /// Shapes of cooperative matrices that it was opened with.
    pub fn tiles(&self) -> Vec<Tile> {
        self.cooperative_tiles().iter().map(tile).collect()
    }

    /// Time stamps can be written inside of passes.
    pub(super) fn has_time_stamps(&self) -> bool {
        let stamps = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES;
        self.features().contains(stamps)
    }
}
