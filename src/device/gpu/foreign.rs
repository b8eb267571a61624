//! A shader from outside with buffers of its own: written, launched, timed and read back.

use super::GpuDevice;
use super::pipelines::bounds_loops;
use super::staging::Staging;
use crate::device::foreign::{Access, Bound, Entry, Source};
use crate::error::{Error, Result};
use std::time::Instant;

/// A buffer that several shaders may share.
#[derive(Clone)]
pub struct Memory {
    buffer: wgpu::Buffer,
    bytes: u64,
}

impl Memory {
    /// So many bytes, called `name` in messages, bound with such an `access`.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::OutOfMemory`].
    pub fn new(gpu: &GpuDevice, name: &str, bytes: u64, access: Access) -> Result<Self> {
        let possible = gpu.limits().max_storage_buffer_binding_size.min(gpu.limits().max_buffer_size);
        if bytes > possible {
            let (limit, what) = ("max_storage_buffer_binding_size", format!("buffer {name:?}"));
            return Err(Error::Limit { limit, what, wanted: bytes, possible });
        }
        Ok(Self { buffer: gpu.buffer(name, bytes.next_multiple_of(16), usage(access), false)?, bytes })
    }
}

/// An entry point that can be launched.
pub struct Foreign {
    gpu: GpuDevice,
    pipeline: wgpu::ComputePipeline,
    groups: Vec<(u32, wgpu::BindGroup)>,
    /// One for each binding of the entry that is a buffer.
    buffers: Vec<wgpu::Buffer>,
    immediates: Vec<u8>,
    staging: Staging,
    stamps: Option<(wgpu::QuerySet, wgpu::Buffer)>,
}

fn usage(access: Access) -> wgpu::BufferUsages {
    let copies = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    copies | if access == Access::Uniform { wgpu::BufferUsages::UNIFORM } else { wgpu::BufferUsages::STORAGE }
}

impl Foreign {
    /// Compiles `source` and makes buffers of so many `bytes`, one for each binding of the entry that is a buffer, in
    /// their order.
    ///
    /// # Errors
    /// [`Error::Device`] with the compiler's message, [`Error::Limit`] and [`Error::OutOfMemory`] for the buffers.
    pub fn new(gpu: &GpuDevice, source: &Source, bytes: &[u64], immediates: Vec<u8>) -> Result<Self> {
        let bound: Vec<_> = source.entry.bound.iter().filter(|b| b.access != Access::Immediate).collect();
        assert_eq!(bound.len(), bytes.len(), "a size for each buffer of {}", source.entry.name);
        let memory = bound.iter().zip(bytes).map(|(b, &bytes)| Memory::new(gpu, &b.name, bytes, b.access));
        Self::over(gpu, source, memory.collect::<Result<Vec<_>>>()?, immediates)
    }

    /// Compiles `source` over buffers that there are, one for each binding of the entry that is a buffer, in their order.
    ///
    /// # Errors
    /// [`Error::Device`] with the compiler's message.
    pub fn over(gpu: &GpuDevice, source: &Source, memory: Vec<Memory>, immediates: Vec<u8>) -> Result<Self> {
        let entry = source.entry;
        let bound: Vec<_> = entry.bound.iter().filter(|b| b.access != Access::Immediate).collect();
        assert_eq!(bound.len(), memory.len(), "a buffer for each binding of {}", entry.name);
        let pipeline = compile(gpu, source, immediates.len() as u32)?;
        let mut groups: Vec<(u32, wgpu::BindGroup)> = Vec::new();
        for b in &bound {
            if groups.iter().any(|(group, _)| *group == b.group) {
                continue;
            }
            let of_group = bound.iter().zip(&memory).filter(|(other, _)| other.group == b.group);
            let entries: Vec<_> = of_group
                .map(|(b, Memory { buffer, bytes })| wgpu::BindGroupEntry {
                    binding: b.binding,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer,
                        offset: 0,
                        // What the shader sees as the length of its array.
                        size: std::num::NonZero::new(bytes.next_multiple_of(4)),
                    }),
                })
                .collect();
            let layout = &layout(gpu, entry, b.group)?;
            let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
            let made = gpu.scoped(|| format!("binding {}", entry.name), |d| d.create_bind_group(&descriptor))?;
            groups.push((b.group, made));
        }
        let stamps = gpu.has_time_stamps().then(|| stamps(gpu)).transpose()?;
        let staging = Staging::new(gpu.clone());
        let buffers = memory.into_iter().map(|m| m.buffer).collect();
        Ok(Self { gpu: gpu.clone(), pipeline, groups, buffers, immediates, staging, stamps })
    }

    /// Other numbers in the place of the immediates it was made with, as many.
    pub fn set_immediates(&mut self, bytes: Vec<u8>) {
        assert_eq!(bytes.len(), self.immediates.len(), "as many as the shader has");
        self.immediates = bytes;
    }

    /// Writes the beginning of buffer `n`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn write(&mut self, n: usize, bytes: &[u8]) -> Result<()> {
        let mut whole = bytes.to_vec();
        whole.resize(bytes.len().next_multiple_of(4), 0);
        let (queue, buffer) = (self.gpu.queue(), &self.buffers[n]);
        self.gpu.scoped(|| "writing a buffer".to_string(), |_| queue.write_buffer(buffer, 0, &whole))?;
        queue.submit([]);
        self.gpu.wait(None)
    }

    /// The first bytes of buffer `n`.
    ///
    /// # Errors
    /// What the device answers.
    pub fn read(&mut self, n: usize, bytes: u64) -> Result<Vec<u8>> {
        let mut all = Vec::with_capacity(bytes as usize);
        let buffer = self.buffers[n].clone();
        self.staging.read(&buffer, 0, bytes.next_multiple_of(4), |piece| all.extend_from_slice(piece))?;
        all.truncate(bytes as usize);
        Ok(all)
    }

    /// Launches it so many times in one pass and waits: nanoseconds of all together, by time stamps in the pass where the
    /// device has them, else by the clock of the host from submission to completion.
    ///
    /// # Errors
    /// What the device answers.
    pub fn time(&mut self, grid: [u32; 3], launches: usize) -> Result<f64> {
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.pipeline);
            self.groups.iter().for_each(|(n, group)| pass.set_bind_group(*n, group, &[]));
            if !self.immediates.is_empty() {
                pass.set_immediates(0, &self.immediates);
            }
            if let Some((queries, _)) = &self.stamps {
                pass.write_timestamp(queries, 0);
            }
            for _ in 0..launches {
                pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
            }
            if let Some((queries, _)) = &self.stamps {
                pass.write_timestamp(queries, 1);
            }
        }
        if let Some((queries, resolved)) = &self.stamps {
            encoder.resolve_query_set(queries, 0..2, resolved, 0);
        }
        let finished = self.gpu.scoped(|| "recording a launch".to_string(), |_| encoder.finish())?;
        let start = Instant::now();
        self.gpu.queue().submit([finished]);
        self.gpu.wait(None)?;
        let clocked = start.elapsed().as_secs_f64() * 1e9;
        let Some((_, resolved)) = self.stamps.clone() else { return Ok(clocked) };
        let mut stamps = Vec::new();
        self.staging.read(&resolved, 0, 16, |piece| {
            stamps.extend(piece.chunks_exact(8).map(|b| u64::from_ne_bytes(b.try_into().expect("8 bytes"))));
        })?;
        Ok(stamps[1].saturating_sub(stamps[0]) as f64 * f64::from(self.gpu.queue().get_timestamp_period()))
    }

    /// Seconds from the submission of one launch to its completion, by the clock of the host.
    ///
    /// # Errors
    /// What the device answers.
    pub fn turn(&mut self, grid: [u32; 3]) -> Result<f64> {
        let stamps = self.stamps.take();
        let ns = self.time(grid, 1);
        self.stamps = stamps;
        Ok(ns? / 1e9)
    }
}

fn stamps(gpu: &GpuDevice) -> Result<(wgpu::QuerySet, wgpu::Buffer)> {
    let descriptor = wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count: 2 };
    let queries = gpu.scoped(|| "creating time stamps".to_string(), |d| d.create_query_set(&descriptor))?;
    let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
    Ok((queries, gpu.buffer("time stamps", 16, usage, false)?))
}

/// Of one group; empty where the entry has nothing in it.
fn layout(gpu: &GpuDevice, entry: &Entry, group: u32) -> Result<wgpu::BindGroupLayout> {
    let of_group = entry.bound.iter().filter(|b| b.group == group && b.access != Access::Immediate);
    let one = |b: &Bound| wgpu::BindGroupLayoutEntry {
        binding: b.binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match b.access {
                Access::Uniform => wgpu::BufferBindingType::Uniform,
                access => wgpu::BufferBindingType::Storage { read_only: access == Access::Read },
            },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = of_group.map(one).collect();
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries };
    gpu.scoped(|| "describing bindings".to_string(), |d| d.create_bind_group_layout(&descriptor))
}

fn compile(gpu: &GpuDevice, source: &Source, immediate_size: u32) -> Result<wgpu::ComputePipeline> {
    let Source { file, text, entry, constants, own } = source;
    let checked = !own || gpu.pipelines().are_checked();
    let checks = wgpu::ShaderRuntimeChecks {
        force_loop_bounding: bounds_loops(gpu.info(), checked),
        ..if checked { wgpu::ShaderRuntimeChecks::checked() } else { wgpu::ShaderRuntimeChecks::unchecked() }
    };
    let descriptor =
        wgpu::ShaderModuleDescriptor { label: Some(file), source: wgpu::ShaderSource::Wgsl((*text).into()) };
    let last = entry.bound.iter().filter(|b| b.access != Access::Immediate).map(|b| b.group + 1).max().unwrap_or(0);
    let layouts = (0..last).map(|group| layout(gpu, entry, group)).collect::<Result<Vec<_>>>()?;
    let layouts: Vec<_> = layouts.iter().map(Some).collect();
    let constants: Vec<(&str, f64)> = constants.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    gpu.scoped(
        || format!("compiling {} of {file}", entry.name),
        |device| {
            // SAFETY: checks are left out for shaders of this crate alone, whose tests run them with checks. Loops of others
            // stay without a count where the driver ends them itself.
            let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &layouts,
                immediate_size,
            });
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(&entry.name),
                layout: Some(&layout),
                module: &module,
                entry_point: Some(&entry.name),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &constants,
                    zero_initialize_workgroup_memory: !own,
                },
                cache: None,
            })
        },
    )
}
