//! An opened adapter: features, limits, faults, and checked creation of buffers.

pub mod cooperative;
pub mod preprocess;

mod check;
mod choose;
mod executor;
mod facts;
mod family;
mod foreign;
mod pace;
mod pipelines;
mod reductions;
mod reflect;
mod report;
mod rounds;
mod staging;
mod trial;

pub use check::Checked;
pub(super) use executor::GpuExecutor;
pub use foreign::{Foreign, Memory};
pub use reflect::reflect;
pub(super) use report::reports;

use super::{DeviceChoice, GpuOptions, Kind};
use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::launch::Variant;
use crate::plan::{Class, PlanAs, Target};
use crate::tuning::Tuning;
use choose::{Candidates, Description};
use cooperative::Verdict;
use family::Adapter;
use pipelines::Pipelines;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// An opened GPU. Clones share it.
#[derive(Clone)]
pub struct GpuDevice {
    shared: Arc<Shared>,
    /// What is planned for in the place of what it is.
    plan_as: Option<PlanAs>,
}

struct Shared {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    features: wgpu::Features,
    tiles: Vec<wgpu::CooperativeMatrixProperties>,
    options: GpuOptions,
    faults: Arc<Faults>,
    pipelines: Mutex<Pipelines>,
    cooperative: OnceLock<Verdict>,
    checked: OnceLock<Checked>,
    tuning: Mutex<Option<&'static Tuning>>,
}

/// What the driver reported outside of a call that could return it.
#[derive(Default)]
struct Faults {
    any: AtomicBool,
    /// A lost device stays lost; any other fault is handed out once.
    lost: Mutex<Option<String>>,
    other: Mutex<Option<wgpu::Error>>,
}

impl Faults {
    fn lose(&self, message: String) {
        locked(&self.lost).get_or_insert(message);
        self.any.store(true, Ordering::Release);
    }

    fn report(&self, error: wgpu::Error) {
        // The first is the cause; what follows from it says less.
        locked(&self.other).get_or_insert(error);
        self.any.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        if !self.any.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(message) = locked(&self.lost).clone() {
            return Err(Error::DeviceLost { message });
        }
        self.any.store(false, Ordering::Release);
        locked(&self.other).take().map_or(Ok(()), |e| Err(device_error(e, "running")))
    }
}

/// A panic elsewhere does not make what the lock guards wrong.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device_error(error: wgpu::Error, doing: &str) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory { while_doing: doing.to_string() },
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            Error::Device { message: format!("{doing}: {}", description.trim()) }
        }
    }
}

/// True when an environment variable is set to something other than nothing and 0.
fn env_flag(name: &str) -> bool {
    std::env::var(name).is_ok_and(|v| !matches!(v.trim(), "" | "0"))
}

/// All adapters of the native back ends. Quiet, and empty when there is no driver or no loader.
fn adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    // The default flags turn validation layers on in debug builds and, in every build, a check of indirect
    // dispatches that caps buffers at 4 GiB and that nothing here needs.
    let flags = match env_flag("BAGRAD_VALIDATION") {
        true => wgpu::InstanceFlags::DEBUG | wgpu::InstanceFlags::VALIDATION,
        false => wgpu::InstanceFlags::DISCARD_HAL_LABELS,
    };
    let descriptor =
        wgpu::InstanceDescriptor { backends, flags, ..wgpu::InstanceDescriptor::new_without_display_handle() };
    // A broken driver must not take a program down that would be content with the host.
    catch_unwind(AssertUnwindSafe(|| {
        let instance = wgpu::Instance::new(descriptor);
        pollster::block_on(instance.enumerate_adapters(backends))
    }))
    .unwrap_or_default()
}

/// The GPU that `choice` means, and why it was taken; or none, and why the host has to do.
///
/// # Errors
/// As for [`super::Device::open_with`].
pub(super) fn choose(choice: &DeviceChoice, options: GpuOptions) -> Result<(Option<GpuDevice>, String)> {
    let adapters = adapters();
    let described: Vec<Description> = adapters.iter().map(|a| Description::of(&a.get_info())).collect();
    let Candidates { adapters: numbers, host } = choose::candidates(choice, &described)?;
    let (opened, failures) = choose::first(&numbers, |n| {
        let gpu = GpuDevice::open(&adapters[n], options)?;
        gpu.checked().map(|_| gpu)
    })?;
    if let Some((n, gpu)) = opened {
        return Ok((Some(gpu), choose::why(choice, &described[n], &failures)));
    }
    if !host {
        return Err(Error::Device { message: failures.join("; ") });
    }
    let software = described.iter().filter(|a| a.kind == Kind::Cpu).count();
    let why = match (failures.is_empty(), software) {
        (false, _) => format!("no GPU could be used: {}", failures.join("; ")),
        (true, 0) => "no GPU was found".to_string(),
        (true, _) => "no GPU was found but software ones, which are slower than the host".to_string(),
    };
    Ok((None, why))
}

/// Features used when they are there.
fn wanted_features() -> wgpu::Features {
    wgpu::Features::IMMEDIATES
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP
        | wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES
        | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX
}

/// Subgroups of exactly eight invocations that can shuffle.
fn shuffles(info: &wgpu::AdapterInfo, features: wgpu::Features) -> bool {
    features.contains(wgpu::Features::SUBGROUP) && (info.subgroup_min_size, info.subgroup_max_size) == (8, 8)
}

/// Refuses to plan for what the adapter would compute wrongly.
fn check_plan(plan_as: PlanAs, info: &wgpu::AdapterInfo, features: wgpu::Features) -> Result<()> {
    let message = match plan_as.class {
        Class::Host => "a GPU cannot be planned for as the host".to_string(),
        Class::CpuDriver { shuffles: true, .. } if !shuffles(info, features) => {
            let (least, most) = (info.subgroup_min_size, info.subgroup_max_size);
            format!("{plan_as} needs subgroups of 8 that shuffle; those of {} have {least} to {most}", info.name)
        }
        _ => return Ok(()),
    };
    Err(Error::setting("BAGRAD_PLAN_AS", message))
}

impl GpuDevice {
    /// Opens `adapter`.
    ///
    /// # Errors
    /// [`Error::Device`] when it lacks immediates or the driver refuses, [`Error::Setting`] when it cannot be planned
    /// for as was asked.
    fn open(adapter: &wgpu::Adapter, mut options: GpuOptions) -> Result<Self> {
        let info = adapter.get_info();
        let mut features = adapter.features() & wanted_features();
        if !features.contains(wgpu::Features::IMMEDIATES) {
            return Err(Error::Device { message: format!("{} has no immediates (push constants)", info.name) });
        }
        if options.plan_as.is_none() {
            options.plan_as = PlanAs::from_env()?;
        }
        if let Some(plan_as) = options.plan_as {
            check_plan(plan_as, &info, features)?;
        }
        options.in_subgroups = reductions::in_subgroups(options.in_subgroups, &info, features)?;
        if options.force_no_f16 {
            // The cooperative kernels multiply f16.
            features.remove(wgpu::Features::SHADER_F16 | wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        }
        let mut limits = adapter.limits();
        // DX12 allocates a descriptor heap of this size when the device is created.
        limits.max_non_sampler_bindings =
            limits.max_non_sampler_bindings.min(wgpu::Limits::default().max_non_sampler_bindings);
        let lower = |limit: &mut u64, to: Option<u64>| *limit = to.map_or(*limit, |to| to.min(*limit));
        lower(&mut limits.max_storage_buffer_binding_size, options.max_binding);
        lower(&mut limits.max_buffer_size, options.max_buffer);
        if let Some(groups) = options.max_groups {
            let limit = &mut limits.max_compute_workgroups_per_dimension;
            *limit = groups.min(*limit);
        }
        let experimental = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("bagrad"),
            required_features: features,
            required_limits: limits,
            experimental_features: match experimental {
                // SAFETY: the only experimental feature asked for is cooperative matrices; kernels that use
                // them are chosen only after their results were compared with the plain kernels'.
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let opened = catch_unwind(AssertUnwindSafe(|| pollster::block_on(adapter.request_device(&descriptor))))
            .map_err(|_| Error::Device { message: format!("{}: its driver failed to open it", info.name) })?;
        let (device, queue) =
            opened.map_err(|e| Error::Device { message: format!("{} could not be opened: {e}", info.name) })?;
        let faults = Arc::new(Faults::default());
        let sink = faults.clone();
        device.on_uncaptured_error(Arc::new(move |error| sink.report(error)));
        let sink = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            sink.lose(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        let tiles = if experimental { adapter.cooperative_matrix_properties() } else { Vec::new() };
        // `int_div_checks` and the like cost on every device; robust buffer access stays on regardless.
        let usual = cfg!(debug_assertions) || cfg!(test);
        let asked = std::env::var_os("BAGRAD_CHECKED").is_some_and(|v| !v.is_empty());
        let checked = options.checked.unwrap_or(if asked { env_flag("BAGRAD_CHECKED") } else { usual });
        let (limits, features, plan_as) = (device.limits(), device.features(), options.plan_as);
        let pipelines = Mutex::new(Pipelines::new(checked));
        let shared = Shared {
            device,
            queue,
            info,
            limits,
            features,
            tiles,
            options,
            faults,
            pipelines,
            cooperative: OnceLock::new(),
            checked: OnceLock::new(),
            tuning: Mutex::new(None),
        };
        Ok(Self { shared: Arc::new(shared), plan_as })
    }

    /// The same opened GPU with the same pipelines, planned for as another one.
    ///
    /// # Errors
    /// [`Error::Setting`] when it could not compute what would be planned.
    pub fn planned_as(&self, plan_as: PlanAs) -> Result<Self> {
        check_plan(plan_as, self.info(), self.features())?;
        Ok(Self { shared: self.shared.clone(), plan_as: Some(plan_as) })
    }

    /// A device that validates every call, keeps buffers and executes no shader: for tests of what is
    /// recorded. Its limits are WebGPU's defaults.
    ///
    /// # Errors
    /// As for any other device.
    pub fn noop(options: GpuOptions) -> Result<Self> {
        let limits = wgpu::Limits { max_immediate_size: 128, ..wgpu::Limits::default() };
        let features = wanted_features() - wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let noop = wgpu::NoopBackendOptions {
            limits: Some(limits),
            features: Some(features),
            ..wgpu::NoopBackendOptions::enabled()
        };
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::NOOP,
            flags: wgpu::InstanceFlags::empty(),
            backend_options: wgpu::BackendOptions { noop, ..Default::default() },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
            .map_err(|e| Error::Device { message: e.to_string() })?;
        Self::open(&adapter, options)
    }

    /// Name the driver gives.
    pub fn name(&self) -> &str {
        &self.shared.info.name
    }

    /// Name, back end and driver, and what it is planned for as where that is something else.
    pub fn description(&self) -> String {
        let info = &self.shared.info;
        let driver = self.driver();
        let planned = self.plan_as.map_or(String::new(), |plan_as| format!(", planned as {plan_as}"));
        format!("{} ({}, {}{planned})", info.name, info.backend, driver.trim())
    }

    /// The driver, with its version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.shared.info.driver, self.shared.info.driver_info)
    }

    /// What the driver says about the adapter.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// Limits the device was opened with.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.shared.limits
    }

    /// Features the device was opened with.
    pub fn features(&self) -> wgpu::Features {
        self.shared.features
    }

    /// Shapes of cooperative matrices, none when they are not supported.
    pub fn cooperative_tiles(&self) -> &[wgpu::CooperativeMatrixProperties] {
        &self.shared.tiles
    }

    /// What cooperative matrices are good for here. The first call tests them, which takes a moment.
    pub fn cooperative(&self) -> &Verdict {
        self.shared.cooperative.get_or_init(|| cooperative::examine(self))
    }

    /// Whether its kernels give what they should. The first call lets them compute, where [`GpuOptions::checks`]
    /// says so; [`super::Device::open_with`] has called it.
    ///
    /// # Errors
    /// [`Error::Device`] that tells which kernels are off and by how much.
    pub fn checked(&self) -> Result<Checked> {
        if let Some(known) = self.shared.checked.get() {
            return Ok(*known);
        }
        let found = check::examine(self)?;
        Ok(*self.shared.checked.get_or_init(|| found))
    }

    /// Plans from now on take their tiles of matrix products from `tuning`. It stays in memory until the program
    /// ends, since plans refer to it.
    pub fn set_tuning(&self, tuning: Option<Tuning>) {
        *locked(&self.shared.tuning) = tuning.map(|t| &*Box::leak(Box::new(t)));
    }

    /// Compiles a kernel now, unless it is already. Plans compile what they need by themselves: this is for looking at
    /// compilers.
    ///
    /// # Errors
    /// [`Error::Device`] with the compiler's message and the lines of the shader it is about.
    pub fn compile(&self, kernel: &Kernel, variant: &Variant) -> Result<()> {
        self.pipelines().get(self, kernel, variant).map(|_| ())
    }

    /// What it was opened with.
    pub fn options(&self) -> GpuOptions {
        GpuOptions { plan_as: self.plan_as, ..self.shared.options }
    }

    /// What the planner needs to know, for f32.
    pub fn target(&self) -> Target {
        let PlanAs { class, family, units } = self.plan_as.unwrap_or_else(|| self.own());
        Target {
            class,
            family,
            native_f16: self.shared.features.contains(wgpu::Features::SHADER_F16),
            max_binding: self.shared.limits.max_storage_buffer_binding_size.min(self.shared.limits.max_buffer_size),
            units,
            coop: None,
            tuning: *locked(&self.shared.tuning),
            reductions: self.reductions(),
        }
    }

    /// As [`super::Device::target_for`].
    pub(super) fn target_for(&self, mixed: bool) -> Target {
        let target = self.target();
        match mixed && target.class == Class::Gpu {
            true => Target { coop: self.cooperative().usable(), ..target },
            false => target,
        }
    }

    /// What it is itself.
    fn own(&self) -> PlanAs {
        let info = &self.shared.info;
        if Description::of(info).kind == Kind::Cpu {
            let version = info.driver_info.split("Mesa ").nth(1).and_then(|v| v.split('.').next());
            let recent = version.and_then(|v| v.parse::<u32>().ok()).is_some_and(|v| v >= 26);
            return PlanAs::cpu_driver(shuffles(info, self.shared.features), recent);
        }
        let adapter = Adapter::of(info);
        PlanAs::gpu(adapter.family(), adapter.units())
    }

    /// Takes the device away, as a driver reset would: everything that follows is
    /// [`Error::DeviceLost`]. For tests of callers.
    pub fn destroy(&self) {
        self.shared.device.destroy();
        self.shared.faults.lose("destroyed on request".to_string());
    }

    fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }

    fn pipelines(&self) -> MutexGuard<'_, Pipelines> {
        locked(&self.shared.pipelines)
    }

    /// What went wrong since the last look, if anything did.
    fn check(&self) -> Result<()> {
        self.shared.faults.check()
    }

    /// Runs `f` and returns what it made, or why the device refused it.
    fn scoped<R>(&self, doing: impl FnOnce() -> String, f: impl FnOnce(&wgpu::Device) -> R) -> Result<R> {
        self.check()?;
        let device = &self.shared.device;
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
            .map(|filter| device.push_error_scope(filter));
        let made = f(device);
        // Scopes are a stack. Without memory the other errors are consequences, so the outermost is the cause.
        let errors = scopes.into_iter().rev().map(|scope| pollster::block_on(scope.pop()));
        let cause = errors.fold(None, |inner, outer| outer.or(inner));
        match cause {
            Some(error) => Err(device_error(error, &doing())),
            None => self.check().map(|()| made),
        }
    }

    /// A buffer, or why there is none.
    fn buffer(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages, mapped: bool) -> Result<wgpu::Buffer> {
        let possible = self.shared.limits.max_buffer_size;
        if bytes > possible {
            let what = what.to_string();
            return Err(Error::Limit { limit: "max_buffer_size", what, wanted: bytes, possible });
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(what), size: bytes, usage, mapped_at_creation: mapped };
        self.scoped(|| format!("allocating {bytes} bytes for {what}"), |device| device.create_buffer(&descriptor))
    }

    /// Waits for a submission, or for all of them.
    fn wait(&self, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        self.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None })
    }

    /// Lets the callbacks of finished submissions run.
    fn poll(&self, kind: wgpu::PollType) -> Result<()> {
        self.check()?;
        // wgpu panics when it finds out in here that the device is gone.
        match catch_unwind(AssertUnwindSafe(|| self.shared.device.poll(kind))) {
            Ok(Ok(_)) => self.check(),
            Ok(Err(error)) => {
                self.check()?;
                Err(Error::Device { message: format!("waiting: {error}") })
            }
            Err(payload) => {
                let text = payload.downcast_ref::<String>().cloned();
                self.shared.faults.lose(text.unwrap_or_else(|| "the driver failed while waiting".to_string()));
                self.check()
            }
        }
    }
}
