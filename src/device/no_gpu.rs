//! What stands in the place of `gpu` in a build without that feature. Its types have no values: what is done with a GPU
//! compiles in both builds, and is never reached in this one.

use super::foreign::{Access, Entry, Source};
use super::host_executor::HostExecutor;
use super::{AdapterReport, DeviceChoice, GpuOptions};
use crate::error::{Error, Result};
use crate::kernels::launch::Extent;
use crate::plan::{PlanAs, Program, Target};
use crate::tuning::Tuning;
use std::convert::Infallible;
use std::ops::{Deref, DerefMut};

/// A GPU, of which this build knows none.
#[derive(Clone)]
pub struct GpuDevice(Infallible);

/// There are none to tell of.
pub(super) fn reports() -> Vec<AdapterReport> {
    Vec::new()
}

impl AdapterReport {
    /// Nothing: without GPU support no adapter is opened.
    pub fn examine(&mut self) {}
}

fn absent() -> Error {
    let message = "this build of bagrad has no GPU support, for it was made without the feature `gpu`. Build it with \
                   that feature (cargo's default), or use the device `host`";
    Error::Device { message: message.to_string() }
}

/// No GPU: the host for `auto`, and an error for everything else.
///
/// # Errors
/// [`Error::Device`] that tells what is missing.
pub(super) fn choose(choice: &DeviceChoice, _: GpuOptions) -> Result<(Option<GpuDevice>, String)> {
    match choice {
        DeviceChoice::Auto => Ok((None, "this build has no GPU support".to_string())),
        _ => Err(absent()),
    }
}

impl GpuDevice {
    /// Never a device.
    ///
    /// # Errors
    /// [`Error::Device`] always.
    pub fn noop(_: GpuOptions) -> Result<Self> {
        Err(absent())
    }

    /// Name the driver gives.
    pub fn name(&self) -> &str {
        match self.0 {}
    }

    /// Name, back end and driver.
    pub fn description(&self) -> String {
        match self.0 {}
    }

    /// The driver, with its version.
    pub fn driver(&self) -> String {
        match self.0 {}
    }

    /// Shapes of cooperative matrices.
    pub fn tiles(&self) -> Vec<super::list::Tile> {
        match self.0 {}
    }

    /// What decides how fast something runs on it.
    pub fn facts(&self) -> super::facts::Facts {
        match self.0 {}
    }

    /// What the planner needs to know.
    pub fn target(&self) -> Target {
        match self.0 {}
    }

    pub(super) fn target_for(&self, _: bool) -> Target {
        match self.0 {}
    }

    /// The same GPU, planned for as another one.
    ///
    /// # Errors
    /// None: there is no GPU.
    pub fn planned_as(&self, _: PlanAs) -> Result<Self> {
        match self.0 {}
    }

    /// Whether reductions within subgroups are right.
    ///
    /// # Errors
    /// None: there is no GPU.
    pub fn check_subgroups(&self) -> Result<()> {
        match self.0 {}
    }

    /// Tiles for plans from now on.
    pub fn set_tuning(&self, _: Option<Tuning>) {
        match self.0 {}
    }
}

/// The entry point of a shader from outside.
///
/// # Errors
/// [`Error::Device`] always: the compiler comes with the feature `gpu`.
pub fn reflect(_: &str, _: Option<&str>) -> Result<Entry> {
    Err(absent())
}

/// A buffer on no GPU.
#[derive(Clone)]
pub struct Memory(Infallible);

impl Memory {
    /// Never one.
    ///
    /// # Errors
    /// None: there is no GPU.
    pub fn new(gpu: &GpuDevice, _: &str, _: u64, _: Access) -> Result<Self> {
        match gpu.0 {}
    }
}

/// A shader on no GPU.
pub struct Foreign(Infallible);

impl Foreign {
    /// Never one.
    ///
    /// # Errors
    /// None: there is no GPU.
    pub fn new(gpu: &GpuDevice, _: &Source, _: &[u64], _: Vec<u8>) -> Result<Self> {
        match gpu.0 {}
    }

    /// See [`Foreign::new`].
    ///
    /// # Errors
    /// None.
    pub fn over(gpu: &GpuDevice, _: &Source, _: Vec<Memory>, _: Vec<u8>) -> Result<Self> {
        match gpu.0 {}
    }

    /// See the one with a GPU.
    ///
    /// # Errors
    /// None, as of all that follow.
    pub fn write(&mut self, _: usize, _: &[u8]) -> Result<()> {
        match self.0 {}
    }

    /// See [`Foreign::write`].
    pub fn set_immediates(&mut self, _: Vec<u8>) {
        match self.0 {}
    }

    /// See [`Foreign::write`].
    ///
    /// # Errors
    /// None.
    pub fn read(&mut self, _: usize, _: u64) -> Result<Vec<u8>> {
        match self.0 {}
    }

    /// See [`Foreign::write`].
    ///
    /// # Errors
    /// None.
    pub fn time(&mut self, _: [u32; 3], _: usize) -> Result<f64> {
        match self.0 {}
    }

    /// See [`Foreign::write`].
    ///
    /// # Errors
    /// None.
    pub fn turn(&mut self, _: [u32; 3]) -> Result<f64> {
        match self.0 {}
    }
}

/// An executor of no GPU. As it has no values, any executor can lend it its methods: those of the host do.
pub struct GpuExecutor(Infallible);

impl GpuExecutor {
    /// For a device that there is none of.
    pub fn new(gpu: GpuDevice) -> Self {
        match gpu.0 {}
    }

    /// See [`super::executor::Executor::is_too_long`].
    pub fn is_too_long(&self, _: &Program, _: &Extent) -> bool {
        match self.0 {}
    }

    /// See [`super::executor::Executor::staging_bytes`].
    pub fn staging_bytes(&self, _: u64) -> u64 {
        match self.0 {}
    }
}

impl Deref for GpuExecutor {
    type Target = HostExecutor<f32>;

    fn deref(&self) -> &Self::Target {
        match self.0 {}
    }
}

impl DerefMut for GpuExecutor {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Device;
    use super::*;

    #[test]
    fn a_gpu_is_refused_with_what_to_do_and_auto_is_the_host() {
        for asked in ["gpu", "gpu:0", "llvmpipe"] {
            let refused = Device::open(&asked.parse().unwrap()).err().unwrap().to_string();
            assert!(refused.contains("made without the feature `gpu`") && refused.contains("`host`"), "{refused}");
        }
        let opened = Device::open(&DeviceChoice::Auto).unwrap();
        assert_eq!((opened.device.name(), &opened.why[..]), ("host", "this build has no GPU support"));
        assert!(super::super::list().0.is_empty() && GpuDevice::noop(GpuOptions::default()).is_err());
    }
}
