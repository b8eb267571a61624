//! A Vulkan device of our own that compiles kernels and asks the driver what came of them.
//!
//! wgpu does not hand out `VK_KHR_pipeline_executable_properties`, so the same adapter is opened once more, with
//! the features that decide what its compiler is given. The SPIR-V is written as wgpu writes it for a release.

use crate::device::GpuDevice;
use crate::device::gpu::preprocess::preprocess;
use crate::error::{Error, Result};
use crate::kernels::Kernel;
use crate::kernels::launch::Variant;
use ash::{khr, vk};
use std::ffi::{CStr, CString};
use wgpu::naga;

/// What the driver says about one pipeline: lanes of a subgroup, and name and value of each statistic.
type Told = (u32, Vec<(String, f64)>);

/// A kernel as SPIR-V.
pub(super) struct Spirv {
    /// Invocations of a workgroup.
    pub threads: u32,
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    code: Vec<u32>,
}

/// Our own device on the adapter of a [`GpuDevice`].
pub(super) struct Vulkan {
    /// Version of Vulkan that the adapter implements.
    version: u32,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    subgroups: bool,
    instance: ash::Instance,
    // The library stays loaded as long as its functions are called.
    _entry: ash::Entry,
}

fn failed(doing: &str) -> impl Fn(vk::Result) -> Error + '_ {
    move |e| Error::Device { message: format!("statistics: {doing}: {e}") }
}

/// A C string in an array.
fn text(chars: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = chars.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Vulkan {
    /// Opens the adapter of `gpu` once more.
    ///
    /// # Errors
    /// [`Error::Device`] when it is not one of Vulkan or its driver tells nothing about pipelines.
    pub(super) fn open(gpu: &GpuDevice) -> Result<Self> {
        let info = gpu.info();
        let refused = |why: &str| Error::Device { message: format!("statistics: {}: {why}", gpu.description()) };
        if info.backend != wgpu::Backend::Vulkan {
            return Err(refused("the compilers of Vulkan drivers tell statistics, those of other back ends do not"));
        }
        // SAFETY: the loader that wgpu has loaded already.
        let entry = unsafe { ash::Entry::load() }.map_err(|e| refused(&format!("Vulkan's loader: {e}")))?;
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let create = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: a valid description without layers or extensions.
        let instance = unsafe { entry.create_instance(&create, None) }.map_err(failed("creating an instance"))?;
        match Self::on(&instance, gpu) {
            Ok((version, device, subgroups)) => {
                let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
                Ok(Self { version, device, executables, subgroups, instance, _entry: entry })
            }
            Err(error) => {
                // SAFETY: nothing was created from it.
                unsafe { instance.destroy_instance(None) };
                Err(error)
            }
        }
    }

    /// The version of Vulkan and a device on the adapter, with what wgpu would switch on.
    fn on(instance: &ash::Instance, gpu: &GpuDevice) -> Result<(u32, ash::Device, bool)> {
        let info = gpu.info();
        let refused = |why: &str| Error::Device { message: format!("statistics: {}: {why}", gpu.description()) };
        // SAFETY: the instance is alive, here and below.
        let all = unsafe { instance.enumerate_physical_devices() }.map_err(failed("listing adapters"))?;
        let same = |physical: &vk::PhysicalDevice| {
            // SAFETY: the handle is one that the instance has listed, as in all that follows.
            let p = unsafe { instance.get_physical_device_properties(*physical) };
            (p.vendor_id, p.device_id) == (info.vendor, info.device) && text(&p.device_name) == info.name
        };
        let physical = all.into_iter().find(same).ok_or_else(|| refused("Vulkan does not list it again"))?;
        // SAFETY: a handle of this instance.
        let version = unsafe { instance.get_physical_device_properties(physical) }.api_version;
        // SAFETY: a handle of this instance.
        let listed = unsafe { instance.enumerate_device_extension_properties(physical) };
        let listed = listed.map_err(failed("listing extensions"))?;
        let has = |name: &CStr| listed.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
        if !has(khr::pipeline_executable_properties::NAME) {
            return Err(refused(
                "its driver lacks VK_KHR_pipeline_executable_properties, by which a compiler tells what it made of a \
                 kernel; Mesa's drivers of GPUs have it",
            ));
        }
        let optional = [ash::ext::robustness2::NAME, khr::cooperative_matrix::NAME];
        let names: Vec<&CStr> = optional.into_iter().filter(|name| has(name)).collect();
        let with = |name: &CStr| names.contains(&name);

        // First what there is, then the same switched on: all of it has to do with what a shader may say.
        let mut executable = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut matrices = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
        let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
        let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
        let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
        let mut found = vk::PhysicalDeviceFeatures2::default().push_next(&mut executable);
        if with(ash::ext::robustness2::NAME) {
            found = found.push_next(&mut robustness);
        }
        if with(khr::cooperative_matrix::NAME) {
            found = found.push_next(&mut matrices);
        }
        if version >= vk::API_VERSION_1_2 {
            found = found.push_next(&mut v11).push_next(&mut v12);
        }
        if version >= vk::API_VERSION_1_3 {
            found = found.push_next(&mut v13);
        }
        // SAFETY: a handle of this instance, and a chain of structures that live until the call returns.
        unsafe { instance.get_physical_device_features2(physical, &mut found) };
        // They are chained anew below.
        for next in [
            &mut executable.p_next,
            &mut robustness.p_next,
            &mut matrices.p_next,
            &mut v11.p_next,
            &mut v12.p_next,
            &mut v13.p_next,
        ] {
            *next = std::ptr::null_mut();
        }
        // What costs or needs more than a compiler: pictures, descriptors, capture for debuggers.
        robustness.robust_image_access2 = vk::FALSE;
        robustness.null_descriptor = vk::FALSE;
        v12.buffer_device_address_capture_replay = vk::FALSE;
        v12.buffer_device_address_multi_device = vk::FALSE;
        v11.protected_memory = vk::FALSE;
        matrices.cooperative_matrix_robust_buffer_access = vk::FALSE;
        let core = vk::PhysicalDeviceFeatures {
            robust_buffer_access: vk::TRUE,
            // SAFETY: a handle of this instance.
            shader_int16: unsafe { instance.get_physical_device_features(physical) }.shader_int16,
            ..Default::default()
        };
        let subgroups = gpu.features().contains(wgpu::Features::SUBGROUP) && v13.subgroup_size_control == vk::TRUE;

        let priorities = [1.0];
        // SAFETY: a handle of this instance.
        let families = unsafe { instance.get_physical_device_queue_family_properties(physical) };
        let compute = families.iter().position(|f| f.queue_flags.contains(vk::QueueFlags::COMPUTE));
        let compute = compute.ok_or_else(|| refused("it has no queue for computations"))?;
        let queues = vk::DeviceQueueCreateInfo::default().queue_family_index(compute as u32);
        let queues = [queues.queue_priorities(&priorities)];
        let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
        extensions.extend(names.iter().map(|n| n.as_ptr()));
        let mut create = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&extensions)
            .enabled_features(&core)
            .push_next(&mut executable);
        if with(ash::ext::robustness2::NAME) {
            create = create.push_next(&mut robustness);
        }
        if with(khr::cooperative_matrix::NAME) {
            create = create.push_next(&mut matrices);
        }
        if version >= vk::API_VERSION_1_2 {
            create = create.push_next(&mut v11).push_next(&mut v12);
        }
        if version >= vk::API_VERSION_1_3 {
            create = create.push_next(&mut v13);
        }
        // SAFETY: what `create` points to lives until the call returns.
        let device = unsafe { instance.create_device(physical, &create, None) };
        Ok((version, device.map_err(failed("opening the adapter"))?, subgroups))
    }

    /// The SPIR-V that a release of ours hands to this driver.
    ///
    /// # Errors
    /// [`Error::Device`] with the message of the shader's compiler.
    pub(super) fn spirv(&self, kernel: &Kernel, variant: &Variant) -> Result<Spirv> {
        use naga::back::spv;
        let source = preprocess(kernel.file, variant);
        let refused = |what: String| Error::Device { message: format!("statistics: {}: {what}", kernel.name) };
        let module = naga::front::wgsl::parse_str(&source).map_err(|e| refused(e.emit_to_string(&source)))?;
        let mut validator = naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities());
        let checked = validator.validate(&module).map_err(|e| refused(e.emit_to_string(&source)))?;
        let unchecked = naga::proc::BoundsCheckPolicy::Unchecked;
        let options = spv::Options {
            lang_version: match self.version {
                v if v < vk::API_VERSION_1_1 => (1, 0),
                v if v < vk::API_VERSION_1_2 => (1, 3),
                v if v < vk::API_VERSION_1_3 => (1, 5),
                _ => (1, 6),
            },
            flags: spv::WriterFlags::FORCE_POINT_SIZE,
            bounds_check_policies: naga::proc::BoundsCheckPolicies {
                index: unchecked,
                buffer: unchecked,
                image_load: unchecked,
                binding_array: unchecked,
            },
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            emit_int_div_checks: false,
            ..Default::default()
        };
        let entry_point = kernel.entry.to_owned();
        let entry = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point };
        let code = spv::write_vec(&module, &checked, &options, Some(&entry)).map_err(|e| refused(e.to_string()))?;
        let at = module.entry_points.iter().position(|e| e.name == kernel.entry).expect("the writer found it");
        let used = checked.get_entry_point(at);
        let shared = module.global_variables.iter().filter(|(_, g)| g.space == naga::AddressSpace::WorkGroup);
        let shared = shared.filter(|(handle, _)| !used[*handle].is_empty());
        let workgroup_memory = shared.map(|(_, g)| module.types[g.ty].inner.size(module.to_ctx())).sum();
        let threads = module.entry_points[at].workgroup_size.iter().product();
        Ok(Spirv { threads, workgroup_memory, code })
    }

    /// Compiles, and asks.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver refuses the kernel.
    pub(super) fn compile(&self, kernel: &Kernel, spirv: &Spirv) -> Result<Told> {
        let name = CString::new(kernel.entry).expect("names of functions hold no zero");
        let device = &self.device;
        let binding = |n: usize| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(n as u32)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..kernel.bindings.len()).map(binding).collect();
        let set = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
        let module = vk::ShaderModuleCreateInfo::default().code(&spirv.code);
        let range = vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE);
        let ranges = [range.size(kernel.words as u32 * 4)];
        // SAFETY: the device is alive; each object is used while it is, and destroyed once, also after errors.
        unsafe {
            let set = device.create_descriptor_set_layout(&set, None).map_err(failed("describing bindings"))?;
            let sets = [set];
            let mut layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            if kernel.words > 0 {
                layout = layout.push_constant_ranges(&ranges);
            }
            let layout = device.create_pipeline_layout(&layout, None);
            let module = device.create_shader_module(&module, None);
            let found = match (layout, module) {
                (Ok(layout), Ok(module)) => self.pipeline(&name, layout, module),
                (Err(e), _) | (_, Err(e)) => Err(failed("describing a kernel")(e)),
            };
            if let Ok(module) = module {
                device.destroy_shader_module(module, None);
            }
            if let Ok(layout) = layout {
                device.destroy_pipeline_layout(layout, None);
            }
            device.destroy_descriptor_set_layout(set, None);
            found
        }
    }

    /// # Safety
    /// The objects are alive and of this device.
    unsafe fn pipeline(&self, name: &CStr, layout: vk::PipelineLayout, module: vk::ShaderModule) -> Result<Told> {
        let mut stage =
            vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE).module(module).name(name);
        if self.subgroups {
            stage = stage.flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE);
        }
        let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR;
        let create = [vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout)];
        // SAFETY: the caller's.
        unsafe {
            let made = self.device.create_compute_pipelines(vk::PipelineCache::null(), &create, None);
            let pipeline = made.map_err(|(_, e)| failed("compiling")(e))?[0];
            let found = self.ask(pipeline);
            self.device.destroy_pipeline(pipeline, None);
            found
        }
    }

    /// # Safety
    /// The pipeline is alive and of this device.
    unsafe fn ask(&self, pipeline: vk::Pipeline) -> Result<Told> {
        let refused = failed("asking for statistics");
        let which = vk::PipelineInfoKHR::default().pipeline(pipeline);
        // A compute pipeline has one executable; what a driver adds to it has none of our code.
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the caller's.
        unsafe {
            let properties = self.executables.get_pipeline_executable_properties(&which).map_err(&refused)?;
            let subgroup = properties.first().map_or(0, |p| p.subgroup_size);
            let told = self.executables.get_pipeline_executable_statistics(&executable).map_err(&refused)?;
            let number = |s: &vk::PipelineExecutableStatisticKHR| match s.format {
                vk::PipelineExecutableStatisticFormatKHR::BOOL32 => s.value.b32 as f64,
                vk::PipelineExecutableStatisticFormatKHR::INT64 => s.value.i64 as f64,
                vk::PipelineExecutableStatisticFormatKHR::UINT64 => s.value.u64 as f64,
                _ => s.value.f64,
            };
            Ok((subgroup, told.iter().map(|s| (text(&s.name), number(s))).collect()))
        }
    }
}

impl Drop for Vulkan {
    fn drop(&mut self) {
        // SAFETY: all that was created from them is gone.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

/// What our kernels ask for beyond the language.
fn capabilities() -> naga::valid::Capabilities {
    use naga::valid::Capabilities;
    Capabilities::IMMEDIATES
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX
}
