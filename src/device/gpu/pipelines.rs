//! Compiled kernels, built when a program first needs them and shared by all executors of a device.

use super::GpuDevice;
use super::preprocess::{excerpt, preprocess};
use super::rounds;
use crate::error::{Error, Result};
use crate::kernels::launch::Variant;
use crate::kernels::{Binding, Kernel};
use std::collections::HashMap;
use std::sync::Arc;

/// A compiled kernel.
pub(super) struct Pipeline {
    /// To dispatch.
    pub(super) pipeline: wgpu::ComputePipeline,
    /// Of its one bind group.
    pub(super) layout: wgpu::BindGroupLayout,
}

/// A WGSL file after preprocessing. All entry points of a file share it.
struct Module {
    text: String,
    module: wgpu::ShaderModule,
}

/// The cache behind [`GpuDevice`].
pub(super) struct Pipelines {
    checked: bool,
    modules: HashMap<(&'static str, Variant), Module>,
    /// By which bindings are written; the length matters too.
    layouts: HashMap<Vec<bool>, wgpu::BindGroupLayout>,
    pipelines: HashMap<(&'static str, Variant), Arc<Pipeline>>,
}

impl Pipelines {
    pub(super) fn new(checked: bool) -> Self {
        Self { checked, modules: HashMap::new(), layouts: HashMap::new(), pipelines: HashMap::new() }
    }

    /// Shaders are compiled with checks.
    pub(super) fn are_checked(&self) -> bool {
        self.checked
    }

    /// The pipeline, and whether it had to be built.
    ///
    /// # Errors
    /// [`Error::Device`] with the compiler's message and the lines of the shader it is about.
    pub(super) fn get(&mut self, gpu: &GpuDevice, kernel: &Kernel, variant: &Variant) -> Result<(Arc<Pipeline>, bool)> {
        let key = (kernel.name, variant.clone());
        if let Some(found) = self.pipelines.get(&key) {
            return Ok((found.clone(), false));
        }
        if let Some(note) = gpu.options().compiling {
            note(kernel, variant);
        }
        let module_key = (kernel.file, variant.clone());
        if !self.modules.contains_key(&module_key) {
            let module = compile(gpu, kernel, variant, self.checked)?;
            self.modules.insert(module_key.clone(), module);
        }
        let writes: Vec<bool> = kernel.bindings.iter().map(|b| b.writes()).collect();
        if !self.layouts.contains_key(&writes) {
            let layout = layout(gpu, kernel.bindings)?;
            self.layouts.insert(writes.clone(), layout);
        }
        let built = Arc::new(build(gpu, kernel, variant, &self.modules[&module_key], &self.layouts[&writes])?);
        self.pipelines.insert(key, built.clone());
        Ok((built, true))
    }
}

/// Whether loops are compiled with a count that ends them. No compiler unrolls such loops, and llvmpipe ends all loops of
/// an invocation after 65,535 rounds in all; so never there. SwiftShader goes wrong without it where a loop has no round at
/// all, as over the other instances of a bag of one.
pub(super) fn bounds_loops(info: &wgpu::AdapterInfo, checked: bool) -> bool {
    info.name.contains("SwiftShader") || (checked && !rounds::are_counted(info))
}

fn compile(gpu: &GpuDevice, kernel: &Kernel, variant: &Variant, checked: bool) -> Result<Module> {
    let text = preprocess(kernel.file, variant);
    let checks = wgpu::ShaderRuntimeChecks {
        force_loop_bounding: bounds_loops(gpu.info(), checked),
        ..if checked { wgpu::ShaderRuntimeChecks::checked() } else { wgpu::ShaderRuntimeChecks::unchecked() }
    };
    let mut line = None;
    let compiled = gpu.scoped(
        || "compiling".to_string(),
        |device| {
            let source = wgpu::ShaderSource::Wgsl(text.as_str().into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.file), source };
            // SAFETY: the shaders are part of this crate; their indices stay inside their bindings and their
            // loops end, which the tests verify with the checks on.
            let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let messages = pollster::block_on(module.get_compilation_info()).messages;
            let location = messages.iter().find_map(|m| m.location);
            line = location.map(|l| l.line_number as usize);
            module
        },
    );
    match compiled {
        Ok(module) => Ok(Module { text, module }),
        Err(error) => Err(explain(error, kernel, variant, &text, line)),
    }
}

fn layout(gpu: &GpuDevice, bindings: &[Binding]) -> Result<wgpu::BindGroupLayout> {
    let entry = |(binding, kind): (usize, &Binding)| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: !kind.writes() },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = bindings.iter().enumerate().map(entry).collect();
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
    gpu.scoped(|| "describing bindings".to_string(), |device| device.create_bind_group_layout(&descriptor))
}

fn build(
    gpu: &GpuDevice,
    kernel: &Kernel,
    variant: &Variant,
    module: &Module,
    layout: &wgpu::BindGroupLayout,
) -> Result<Pipeline> {
    let built = gpu.scoped(
        || "building its pipeline".to_string(),
        |device| {
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(kernel.name),
                bind_group_layouts: &[Some(layout)],
                immediate_size: kernel.words as u32 * 4,
            });
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name),
                layout: Some(&pipeline_layout),
                module: &module.module,
                entry_point: Some(kernel.entry),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &[],
                    // Every kernel writes its workgroup memory before it reads it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: None,
            })
        },
    );
    match built {
        Ok(pipeline) => Ok(Pipeline { pipeline, layout: layout.clone() }),
        Err(error) => {
            let head = format!("fn {}(", kernel.entry);
            let line = module.text.lines().position(|l| l.contains(&head)).map(|l| l + 1);
            Err(explain(error, kernel, variant, &module.text, line))
        }
    }
}

/// The same error with the kernel, its variant and the lines in question.
fn explain(error: Error, kernel: &Kernel, variant: &Variant, text: &str, line: Option<usize>) -> Error {
    match error {
        Error::Device { message } => {
            let choices: Vec<String> = variant.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let lines = excerpt(text, line);
            let at = format!("kernel {} [{}] of shaders/{}.wgsl", kernel.name, choices.join(" "), kernel.file);
            Error::Device { message: format!("{at}: {message}\n{lines}") }
        }
        other => other,
    }
}
