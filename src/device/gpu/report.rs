//! What the driver of an adapter tells, and how the adapter fares.

use super::adapters;
use super::check::Checked;
use super::choose::Description;
use crate::device::list::{AdapterReport, Tile};
use crate::device::{Device, DeviceChoice, Opened};
use crate::plan::Class;

/// Every adapter, by number.
pub(in crate::device) fn reports() -> Vec<AdapterReport> {
    adapters().iter().enumerate().map(|(i, adapter)| AdapterReport::of(i, adapter)).collect()
}

fn scalar(kind: wgpu::CooperativeScalarType) -> &'static str {
    match kind {
        wgpu::CooperativeScalarType::F32 => "f32",
        wgpu::CooperativeScalarType::F16 => "f16",
        wgpu::CooperativeScalarType::I32 => "i32",
        wgpu::CooperativeScalarType::U32 => "u32",
    }
}

pub(super) fn tile(p: &wgpu::CooperativeMatrixProperties) -> Tile {
    Tile {
        m: p.m_size,
        n: p.n_size,
        k: p.k_size,
        ab: scalar(p.ab_type),
        cr: scalar(p.cr_type),
        usable: p.m_size == p.n_size && p.n_size == p.k_size,
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
        let subgroups = (info.subgroup_min_size, info.subgroup_max_size);
        Self {
            index,
            kind: Description::of(&info).kind,
            vendor: vendor(info.vendor),
            backend: info.backend.to_string(),
            usable: features.contains(wgpu::Features::IMMEDIATES),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP).then_some(subgroups),
            tiles: tiles.iter().map(tile).collect(),
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
