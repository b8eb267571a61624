//! What a GPU is opened with.

use crate::kernels::Kernel;
use crate::kernels::launch::Variant;
use crate::plan::PlanAs;

/// What a device is opened with. The defaults are what everybody wants; tests ask for less.
#[derive(Clone, Copy, Debug, Default)]
pub struct GpuOptions {
    /// Largest bytes of one binding, when less than what the adapter has.
    pub max_binding: Option<u64>,
    /// Largest bytes of one buffer, when less than what the adapter has.
    pub max_buffer: Option<u64>,
    /// Most workgroups along one dimension, when fewer than what the adapter has.
    pub max_groups: Option<u32>,
    /// Behave like an adapter without f16 in shaders.
    pub force_no_f16: bool,
    /// Compile shaders with checks of bounds and divisions, or without; `None`, the default, has them where debug
    /// assertions are on, or as `BAGRAD_CHECKED` says.
    pub checked: Option<bool>,
    /// Most bytes that all stores of an executor may take together.
    pub store_budget: Option<u64>,
    /// Leave cooperative matrices alone; `BAGRAD_NO_COOPERATIVE=1` does the same.
    pub no_cooperative: bool,
    /// Choose them as if subgroups had these sizes, least and most, whatever the driver says.
    pub subgroups: Option<(u32, u32)>,
    /// Let kernels reduce within subgroups wherever they can, or nowhere; `None`, the default, does what the tuning of the
    /// device says, or `BAGRAD_SUBGROUPS` (1 or 0).
    pub in_subgroups: Option<bool>,
    /// Let their self-test fail, and that of the kernels, to see what happens then.
    pub fail_self_test: bool,
    /// Whether the device computes what is known before it is handed out.
    pub checks: Checks,
    /// Plan for another device, so that a software driver runs what a GPU would; `BAGRAD_PLAN_AS=rdna:60` does the
    /// same where this is `None`.
    pub plan_as: Option<PlanAs>,
    /// Seconds that a submission may keep the device busy by the estimate, when other than the half second of GPUs and
    /// no bound for drivers on the CPU.
    pub longest_submission: Option<f64>,
    /// Run launches one by one and hand over how far each is from its twin in f64. Slow: for tests.
    pub audit: Option<fn(&LaunchError)>,
    /// Told each kernel and variant before it is compiled, so that one knows what a compiler did not survive.
    pub compiling: Option<fn(&Kernel, &Variant)>,
}

/// Which devices compute something that is known before they are handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// Hardware; nothing with `BAGRAD_SKIP_DEVICE_CHECK=1`. Drivers that compute on the CPU are tested with the
    /// project.
    #[default]
    Hardware,
    /// Whatever is opened, but for what [`super::GpuDevice::noop`] gives.
    Always,
    /// None, and cooperative matrices are taken as they are listed: for drivers that compute nothing.
    Never,
}

/// How far what one launch wrote through one binding is from the twin in f64.
#[derive(Clone, Debug)]
pub struct LaunchError {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// The binding that was written.
    pub binding: usize,
    /// ‖out − ref‖ / ‖ref‖ over the values that the launch wrote (the numerator where ‖ref‖ is 0). Infinite
    /// when a value is not finite or was written by one of both alone, and when indices are not equal.
    pub error: f64,
    /// How much the result moves, in the same measure, when each number that the launch read moves by half of
    /// its last bit: an error that no computation in f32 is without. Large where sums cancel. Computed, and
    /// not 0, only where the error is above a millionth. Infinite where the twin alone overflows: numbers of the
    /// size of 10^10, rounded to f32, then stand in an exponent.
    pub inherent: f64,
}
