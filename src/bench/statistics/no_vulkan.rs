//! What stands in the place of `vulkan` where there is none: on other systems, and in builds without GPU support.

use crate::device::GpuDevice;
use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::launch::Variant;
use std::convert::Infallible;

pub(super) struct Spirv {
    pub threads: u32,
    pub workgroup_memory: u32,
}

pub(super) struct Vulkan(Infallible);

impl Vulkan {
    pub(super) fn open(gpu: &GpuDevice) -> Result<Self> {
        let message = format!("statistics: {}: only Vulkan drivers tell them", gpu.description());
        Err(Error::Device { message })
    }

    pub(super) fn spirv(&self, _: &Kernel, _: &Variant) -> Result<Spirv> {
        match self.0 {}
    }

    pub(super) fn compile(&self, _: &Kernel, _: &Spirv) -> Result<(u32, Vec<(String, f64)>)> {
        match self.0 {}
    }
}
