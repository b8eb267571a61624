//! Where kernels that reduce over a workgroup do so within subgroups: what the adapter has, and what was asked for.

use super::{GpuDevice, check};
use crate::error::{Error, Result};
use crate::plan::Reductions;

/// Where kernels reduce, by the option or by `BAGRAD_SUBGROUPS`; refuses what the adapter has not.
pub(super) fn in_subgroups(
    option: Option<bool>,
    info: &wgpu::AdapterInfo,
    features: wgpu::Features,
) -> Result<Option<bool>> {
    let name = "BAGRAD_SUBGROUPS";
    let asked = match (option, std::env::var(name).as_deref().map(str::trim)) {
        (Some(asked), _) => Some(asked),
        (None, Err(_) | Ok("")) => None,
        (None, Ok("0")) => Some(false),
        (None, Ok("1")) => Some(true),
        (None, Ok(other)) => return Err(Error::setting(name, format!("expected 0 or 1, found {other:?}"))),
    };
    if asked == Some(true) && !features.contains(wgpu::Features::SUBGROUP) {
        let message = format!("{} has no operations of subgroups; leave it out, or set it to 0", info.name);
        return Err(Error::setting(name, message));
    }
    Ok(asked)
}

impl GpuDevice {
    pub(super) fn reductions(&self) -> Reductions {
        match (self.shared.features.contains(wgpu::Features::SUBGROUP), self.shared.options.in_subgroups) {
            (false, _) | (_, Some(false)) => Reductions::Workgroup,
            (true, Some(true)) => Reductions::Subgroups,
            (true, None) => Reductions::AsMeasured,
        }
    }

    /// Whether kernels that reduce within subgroups give what they should: to be asked before they are chosen, since nothing
    /// else of a driver has shown that its operations of subgroups are right.
    ///
    /// # Errors
    /// [`Error::Device`] that tells which are off and by how much.
    pub fn check_subgroups(&self) -> Result<()> {
        check::examine_subgroups(self)
    }
}
