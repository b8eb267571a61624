//! Runs programs on a GPU: buffers by key, bind groups kept between steps, one pass and one submission a step.

mod audit;
mod timing;

use super::GpuDevice;
use super::pace::Pace;
use super::pipelines::Pipeline;
use super::rounds;
use super::staging::{Staging, ring_bytes};
use crate::device::Counters;
use crate::device::executor::{ProgramId, Step, StoreId, Upload};
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Extent, Launch, Place};
use crate::plan::Program;
use crate::tape::Storage;
use std::collections::HashMap;
use std::sync::Arc;

/// What slots are filled with by [`GpuExecutor::poison`]: a NaN, and as an index far outside of anything.
const POISON: u32 = 0x7fc0_0000;

/// Stores are uploaded in pieces of this many bytes.
const STORE_PIECE: usize = 16 << 20;

/// Buffers and programs of one model on one GPU.
pub struct GpuExecutor {
    gpu: GpuDevice,
    buffers: HashMap<BufferKey, wgpu::Buffer>,
    programs: Vec<Loaded>,
    stores: Vec<wgpu::Buffer>,
    staging: Staging,
    history: Option<wgpu::Buffer>,
    counters: Counters,
    /// Bytes of everything but staging, and the most that was ever held with it.
    held: u64,
    peak: u64,
}

struct Loaded {
    program: Program,
    encoded: Vec<Encoded>,
    /// False when some bind group is missing because its buffers were replaced.
    ready: bool,
    /// The bound of a submission, where a batch may exceed it.
    pace: Option<Pace>,
    /// The driver ends loops, and a batch may have more rounds of one than it goes through.
    counts_rounds: bool,
}

/// A launch as it is recorded again each step.
struct Encoded {
    pipeline: Arc<Pipeline>,
    group: Option<wgpu::BindGroup>,
}

fn label(key: BufferKey) -> String {
    format!("{key:?}")
}

fn usage() -> wgpu::BufferUsages {
    wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST
}

/// Where the bytes of an upload come from.
enum Bytes<'a> {
    Host(&'a [u8]),
    Store { store: StoreId, from: u64, bytes: u64 },
}

fn upload_parts<'a>(upload: &Upload<'a>) -> (BufferKey, u64, Bytes<'a>) {
    match *upload {
        Upload::F32(key, values) => (key, 0, Bytes::Host(bytemuck::cast_slice(values))),
        Upload::F16(key, values) => (key, 0, Bytes::Host(bytemuck::cast_slice(values))),
        Upload::U32(key, values) => (key, 0, Bytes::Host(bytemuck::cast_slice(values))),
        Upload::Stored { key, to, store, from, bytes } => (key, to, Bytes::Store { store, from, bytes }),
    }
}

impl GpuExecutor {
    /// No buffers, no programs.
    pub fn new(gpu: GpuDevice) -> Self {
        let staging = Staging::new(gpu.clone());
        Self {
            gpu,
            buffers: HashMap::new(),
            programs: Vec::new(),
            stores: Vec::new(),
            staging,
            history: None,
            counters: Counters::default(),
            held: 0,
            peak: 0,
        }
    }

    /// The device.
    pub fn gpu(&self) -> &GpuDevice {
        &self.gpu
    }

    /// See [`crate::device::executor::Executor::ensure`].
    pub fn ensure(&mut self, key: BufferKey, bytes: u64) -> Result<()> {
        let bytes = bytes.next_multiple_of(256).max(256);
        if self.buffers.get(&key).is_some_and(|b| b.size() >= bytes) {
            return Ok(());
        }
        self.release(key);
        let buffer = self.create(&label(key), bytes)?;
        self.buffers.insert(key, buffer);
        Ok(())
    }

    /// Lets go of a buffer and of every bind group that would keep its memory alive.
    fn release(&mut self, key: BufferKey) {
        let Some(old) = self.buffers.remove(&key) else { return };
        self.held -= old.size();
        for loaded in &mut self.programs {
            for (launch, encoded) in loaded.program.launches.iter().zip(&mut loaded.encoded) {
                if launch.places.iter().any(|p| p.buffer == key) {
                    encoded.group = None;
                    loaded.ready = false;
                }
            }
        }
    }

    fn create(&mut self, what: &str, bytes: u64) -> Result<wgpu::Buffer> {
        let buffer = self.gpu.buffer(what, bytes, usage(), false)?;
        self.counters.buffers += 1;
        self.held += bytes;
        self.note_peak();
        Ok(buffer)
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(self.held + self.staging.bytes());
    }

    fn buffer(&self, key: BufferKey) -> &wgpu::Buffer {
        self.buffers.get(&key).unwrap_or_else(|| panic!("{key:?} is used before it was made"))
    }

    /// See [`crate::device::executor::Executor::write`].
    pub fn write(&mut self, key: BufferKey, offset: usize, values: &[f32]) -> Result<()> {
        self.write_bytes(key, offset as u64 * 4, bytemuck::cast_slice(values))
    }

    /// See [`crate::device::executor::Executor::write_indices`].
    pub fn write_indices(&mut self, key: BufferKey, values: &[u32]) -> Result<()> {
        self.write_bytes(key, 0, bytemuck::cast_slice(values))
    }

    fn write_bytes(&mut self, key: BufferKey, offset: u64, bytes: &[u8]) -> Result<()> {
        let buffer = self.buffer(key).clone();
        assert!(offset + bytes.len() as u64 <= buffer.size(), "{key:?}: written past its end");
        self.fill(&buffer, offset, bytes)
    }

    /// Copies bytes from the host in pieces, each with a submission of its own.
    fn fill(&mut self, to: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        for (n, piece) in bytes.chunks(STORE_PIECE).enumerate() {
            self.staging.throttle()?;
            let size = (piece.len() as u64).next_multiple_of(4);
            let staged = self.staging.take(size)?;
            self.note_peak();
            put(&self.gpu, &staged, 0, piece)?;
            staged.unmap();
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&staged, 0, to, offset + (n * STORE_PIECE) as u64, size);
            self.submit(encoder);
            self.staging.give(staged);
            self.gpu.check()?;
        }
        Ok(())
    }

    fn submit(&mut self, encoder: wgpu::CommandEncoder) {
        let submission = self.gpu.queue().submit([encoder.finish()]);
        self.counters.submissions += 1;
        self.staging.submitted(submission);
    }

    /// See [`crate::device::executor::Executor::read`].
    pub fn read(&mut self, place: Place, count: usize) -> Result<Vec<f64>> {
        Ok(self.read_f32(place, count)?.into_iter().map(f64::from).collect())
    }

    /// See [`crate::device::executor::Executor::read_f32`].
    pub fn read_f32(&mut self, place: Place, count: usize) -> Result<Vec<f32>> {
        let buffer = self.buffer(place.buffer).clone();
        self.read_buffer(&buffer, place.offset, count)
    }

    fn read_buffer(&mut self, buffer: &wgpu::Buffer, offset: u64, count: usize) -> Result<Vec<f32>> {
        let bytes = count as u64 * 4;
        assert!(offset + bytes <= buffer.size(), "{count} values read past the end of a buffer");
        let mut values = Vec::with_capacity(count);
        let submissions = self.staging.read(buffer, offset, bytes, |piece| {
            values.extend(piece.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])));
        });
        self.note_peak();
        self.counters.submissions += submissions?;
        self.counters.readbacks += 1;
        Ok(values)
    }

    /// See [`crate::device::executor::Executor::load`].
    pub fn load(&mut self, program: Program) -> Result<ProgramId> {
        let encoded = self.prepare(&program)?;
        let (pace, counts_rounds) = (self.pace(&program), self.counts_rounds(&program));
        self.programs.push(Loaded { program, encoded, ready: false, pace, counts_rounds });
        let id = ProgramId(self.programs.len() - 1);
        self.bind(id).inspect_err(|_| drop(self.programs.pop()))?;
        Ok(id)
    }

    /// See [`crate::device::executor::Executor::reload`]. When it fails, the program stays as it was.
    pub fn reload(&mut self, id: ProgramId, program: Program) -> Result<()> {
        let encoded = self.prepare(&program)?;
        let (pace, counts_rounds) = (self.pace(&program), self.counts_rounds(&program));
        self.programs[id.0] = Loaded { program, encoded, ready: false, pace, counts_rounds };
        self.bind(id)
    }

    /// Looked at once: most programs stay within the bound at their full capacity, and their steps ask no more.
    fn pace(&self, program: &Program) -> Option<Pace> {
        Pace::of(&self.gpu).filter(|pace| !pace.fits(program, &program.capacity))
    }

    fn counts_rounds(&self, program: &Program) -> bool {
        rounds::are_counted(self.gpu.info()) && rounds::could_be_too_many(program)
    }

    /// See [`crate::device::executor::Executor::is_too_long`].
    pub fn is_too_long(&self, program: &Program, extent: &Extent) -> bool {
        Pace::of(&self.gpu).is_some_and(|pace| pace.is_exceeded_by_one(program, extent))
    }

    /// Buffers and pipelines of a program.
    fn prepare(&mut self, program: &Program) -> Result<Vec<Encoded>> {
        self.counters.programs += 1;
        self.make_room(program)?;
        program.launches.iter().map(|launch| self.pipeline(launch)).collect()
    }

    fn pipeline(&mut self, launch: &Launch) -> Result<Encoded> {
        let (pipeline, built) = self.gpu.pipelines().get(&self.gpu, launch.kernel, &launch.variant)?;
        self.counters.pipelines += built as u64;
        Ok(Encoded { pipeline, group: None })
    }

    fn make_room(&mut self, program: &Program) -> Result<()> {
        for (slot, &bytes) in program.slots.iter().enumerate() {
            self.ensure(BufferKey::Slot(slot as u16), bytes)?;
        }
        for &(key, bytes) in &program.inputs {
            self.ensure(key, bytes)?;
        }
        let possible = self.gpu.target().max_binding;
        for launch in &program.launches {
            for place in &launch.places {
                if place.bytes > possible {
                    let what = format!("{} of kernel {}", label(place.buffer), launch.kernel.name);
                    let limit = "max_storage_buffer_binding_size";
                    return Err(Error::Limit { limit, what, wanted: place.bytes, possible });
                }
                // Growing would lose what is in them; the caller knows their size and asks first.
                if !self.buffers.contains_key(&place.buffer) {
                    self.ensure(place.buffer, place.offset + place.bytes)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the bind groups that are missing.
    fn bind(&mut self, id: ProgramId) -> Result<()> {
        if self.programs[id.0].ready {
            return Ok(());
        }
        let loaded = &mut self.programs[id.0];
        let (buffers, gpu) = (&self.buffers, &self.gpu);
        for (launch, encoded) in loaded.program.launches.iter().zip(&mut loaded.encoded) {
            if encoded.group.is_none() {
                encoded.group = Some(bind_group(gpu, buffers, launch, &encoded.pipeline.layout)?);
                self.counters.bind_groups += 1;
            }
        }
        loaded.ready = true;
        Ok(())
    }

    /// See [`crate::device::executor::Executor::program`].
    pub fn program(&self, id: ProgramId) -> &Program {
        &self.programs[id.0].program
    }

    /// Everything before the pass: checks, missing bind groups, uploads.
    fn begin(&mut self, id: ProgramId, step: &Step) -> Result<(wgpu::CommandEncoder, Option<wgpu::Buffer>)> {
        self.gpu.check()?;
        let capacity = self.programs[id.0].program.capacity;
        assert!(capacity.holds(&step.extent), "{:?} exceeds the planned {capacity:?}", step.extent);
        if self.programs[id.0].counts_rounds {
            rounds::check(&self.programs[id.0].program, step)?;
        }
        if !self.programs[id.0].ready {
            // After an allocation failed, buffers may be missing.
            let needs = self.programs[id.0].program.clone();
            self.make_room(&needs)?;
            self.bind(id)?;
        }
        self.staging.throttle()?;
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        let staged = self.encode_uploads(&mut encoder, step.uploads)?;
        Ok((encoder, staged))
    }

    fn encode_uploads(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        uploads: &[Upload],
    ) -> Result<Option<wgpu::Buffer>> {
        let staged_bytes = |upload: &Upload| match upload_parts(upload).2 {
            // Views of mapped memory start on 8 bytes.
            Bytes::Host(bytes) => (bytes.len() as u64).next_multiple_of(8),
            Bytes::Store { .. } => 0,
        };
        let total: u64 = uploads.iter().map(staged_bytes).sum();
        let staged = if total > 0 { Some(self.staging.take(total)?) } else { None };
        self.note_peak();
        let mut at = 0;
        for upload in uploads {
            let (key, to, from) = upload_parts(upload);
            let target = self.buffer(key);
            let (source, start, size) = match from {
                Bytes::Host([]) => continue,
                Bytes::Host(bytes) => {
                    let staged = staged.as_ref().expect("bytes to stage");
                    put(&self.gpu, staged, at, bytes)?;
                    let start = at;
                    at += staged_bytes(upload);
                    (staged, start, (bytes.len() as u64).next_multiple_of(4))
                }
                Bytes::Store { store, from, bytes } => (&self.stores[store.0], from, bytes),
            };
            assert!(to + size <= target.size(), "{key:?}: an upload of {size} bytes exceeds its capacity");
            encoder.copy_buffer_to_buffer(source, start, target, to, size);
        }
        if let Some(staged) = &staged {
            staged.unmap();
        }
        Ok(staged)
    }

    /// Records the launches; with `queries`, a time stamp before the first and after each.
    fn encode_pass(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        id: ProgramId,
        step: &Step,
        launches: std::ops::Range<usize>,
        queries: Option<&wgpu::QuerySet>,
    ) {
        let loaded = &self.programs[id.0];
        let limit = self.gpu.limits().max_compute_workgroups_per_dimension;
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        self.counters.passes += 1;
        let mut current: Option<&Arc<Pipeline>> = None;
        if let Some(queries) = queries {
            pass.write_timestamp(queries, 0);
        }
        for n in launches {
            let (launch, encoded) = (&loaded.program.launches[n], &loaded.encoded[n]);
            let [x, y, z] = launch.grid.groups(&step.extent, limit);
            if x > 0 && y > 0 && z > 0 {
                if !current.is_some_and(|c| Arc::ptr_eq(c, &encoded.pipeline)) {
                    pass.set_pipeline(&encoded.pipeline.pipeline);
                    current = Some(&encoded.pipeline);
                }
                pass.set_bind_group(0, encoded.group.as_ref(), &[]);
                let words = launch.resolve(&step.extent, &step.scalars, x);
                let bytes = &bytemuck::bytes_of(&words)[..launch.kernel.words * 4];
                if !bytes.is_empty() {
                    pass.set_immediates(0, bytes);
                }
                pass.dispatch_workgroups(x, y, z);
                self.counters.dispatches += 1;
            }
            if let Some(queries) = queries {
                pass.write_timestamp(queries, n as u32 + 1);
            }
        }
    }

    fn finish(&mut self, encoder: wgpu::CommandEncoder, staged: Option<wgpu::Buffer>) -> Result<()> {
        self.submit(encoder);
        if let Some(staged) = staged {
            self.staging.give(staged);
        }
        self.gpu.check()
    }

    /// See [`crate::device::executor::Executor::run`].
    pub fn run(&mut self, id: ProgramId, step: &Step) -> Result<()> {
        if let Some(note) = self.gpu.options().audit {
            return self.audit(id, step, note);
        }
        let (mut encoder, mut staged) = self.begin(id, step)?;
        let loaded = &self.programs[id.0];
        let mut rest = 0..loaded.encoded.len();
        if let Some(pace) = loaded.pace {
            let mut cuts = pace.cuts(&loaded.program, &step.extent);
            rest = cuts.pop().unwrap_or(rest);
            for launches in cuts {
                self.encode_pass(&mut encoder, id, step, launches, None);
                self.finish(encoder, staged.take())?;
                self.staging.throttle()?;
                encoder = self.gpu.device().create_command_encoder(&Default::default());
            }
        }
        self.encode_pass(&mut encoder, id, step, rest, None);
        self.encode_keep(&mut encoder, step);
        self.finish(encoder, staged)
    }

    fn encode_keep(&self, encoder: &mut wgpu::CommandEncoder, step: &Step) {
        for &(place, count, first) in step.keep {
            let history = self.history.as_ref().expect("history is reserved before something is kept");
            let (from, to, bytes) = (self.buffer(place.buffer), first as u64 * 4, count as u64 * 4);
            assert!(to + bytes <= history.size(), "value {first} is beyond the reserved history");
            encoder.copy_buffer_to_buffer(from, place.offset, history, to, bytes);
        }
    }

    /// See [`crate::device::executor::Executor::reserve_history`]. What is in the history is kept.
    pub fn reserve_history(&mut self, values: usize) -> Result<()> {
        let bytes = (values as u64 * 4).next_multiple_of(256).max(256);
        if self.history.as_ref().is_some_and(|h| h.size() >= bytes) {
            return Ok(());
        }
        let new = self.create("the history", bytes)?;
        if let Some(old) = self.history.take() {
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(&old, 0, &new, 0, old.size());
            self.staging.throttle()?;
            self.submit(encoder);
            self.held -= old.size();
        }
        self.history = Some(new);
        self.gpu.check()
    }

    /// See [`crate::device::executor::Executor::history_room`].
    pub fn history_room(&self) -> usize {
        self.history.as_ref().map_or(0, |h| (h.size() / 4) as usize)
    }

    /// See [`crate::device::executor::Executor::history`].
    pub fn history(&mut self, count: usize) -> Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let history = self.history.clone().expect("history is reserved before it is read");
        self.read_buffer(&history, 0, count)
    }

    /// See [`crate::device::executor::Executor::store`]. The GPU keeps bytes as they are, whatever the storage.
    pub fn store(&mut self, bytes: &[u8], _storage: Storage) -> Result<Option<StoreId>> {
        let size = (bytes.len() as u64).next_multiple_of(4).max(4);
        let stored: u64 = self.stores.iter().map(wgpu::Buffer::size).sum();
        let budget = self.gpu.options().store_budget.unwrap_or(u64::MAX);
        if size > self.store_limit() || stored.saturating_add(size) > budget {
            return Ok(None);
        }
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = match self.gpu.buffer("stored features", size, usage, false) {
            Ok(buffer) => buffer,
            Err(Error::OutOfMemory { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        self.counters.buffers += 1;
        self.held += size;
        self.note_peak();
        match self.fill(&buffer, 0, bytes) {
            Ok(()) => {}
            // Some drivers find out only when the memory is touched.
            Err(Error::OutOfMemory { .. }) => {
                self.held -= size;
                return Ok(None);
            }
            Err(other) => return Err(other),
        }
        self.stores.push(buffer);
        Ok(Some(StoreId(self.stores.len() - 1)))
    }

    /// See [`crate::device::executor::Executor::store_limit`].
    pub fn store_limit(&self) -> u64 {
        self.gpu.limits().max_buffer_size
    }

    /// See [`crate::device::executor::Executor::staging_bytes`].
    pub fn staging_bytes(&self, bytes: u64) -> u64 {
        ring_bytes(bytes)
    }

    /// See [`crate::device::executor::Executor::wait`].
    pub fn wait(&mut self) -> Result<()> {
        self.staging.drain()
    }

    /// See [`crate::device::executor::Executor::poison`].
    pub fn poison(&mut self) -> Result<()> {
        let slots = self.buffers.iter().filter(|(key, _)| matches!(key, BufferKey::Slot(_)));
        let slots: Vec<wgpu::Buffer> = slots.map(|(_, buffer)| buffer.clone()).collect();
        let largest = slots.iter().map(wgpu::Buffer::size).max().unwrap_or(0).min(STORE_PIECE as u64);
        let poison = vec![POISON; largest as usize / 4];
        for slot in slots {
            for from in (0..slot.size()).step_by(STORE_PIECE) {
                let bytes = (slot.size() - from).min(largest);
                self.fill(&slot, from, &bytemuck::cast_slice(&poison)[..bytes as usize])?;
            }
        }
        Ok(())
    }

    /// See [`crate::device::executor::Executor::counters`].
    pub fn counters(&self) -> Counters {
        Counters { buffers: self.counters.buffers + self.staging.created(), ..self.counters }
    }

    /// See [`crate::device::executor::Executor::memory`]. Staging buffers count.
    pub fn memory(&self) -> (u64, u64) {
        (self.held + self.staging.bytes(), self.peak)
    }
}

/// Writes `bytes` at `at` of a mapped buffer.
fn put(gpu: &GpuDevice, staged: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<()> {
    let whole = bytes.len() & !3;
    let end = at + (bytes.len() as u64).next_multiple_of(4);
    let mut view = staged.get_mapped_range_mut(at..end).map_err(|e| {
        gpu.check().err().unwrap_or(Error::Device { message: format!("mapping an upload buffer: {e}") })
    })?;
    view.slice(..whole).copy_from_slice(&bytes[..whole]);
    if whole < bytes.len() {
        // An odd number of f16 ends in half a word.
        let mut last = [0; 4];
        last[..bytes.len() - whole].copy_from_slice(&bytes[whole..]);
        view.slice(whole..).copy_from_slice(&last);
    }
    Ok(())
}

fn bind_group(
    gpu: &GpuDevice,
    buffers: &HashMap<BufferKey, wgpu::Buffer>,
    launch: &Launch,
    layout: &wgpu::BindGroupLayout,
) -> Result<wgpu::BindGroup> {
    let entries: Vec<wgpu::BindGroupEntry> = launch
        .places
        .iter()
        .enumerate()
        .map(|(binding, place)| {
            let buffer = &buffers[&place.buffer];
            debug_assert!(place.offset.is_multiple_of(256), "{place:?} starts between bindable offsets");
            assert!(place.offset < buffer.size(), "{}: {place:?} is outside of its buffer", launch.kernel.name);
            // What lies behind the end of a segment may be missing at the end of its buffer.
            let bytes = place.bytes.min(buffer.size() - place.offset).next_multiple_of(4);
            let size = std::num::NonZero::new(bytes);
            let binding_of = wgpu::BufferBinding { buffer, offset: place.offset, size };
            wgpu::BindGroupEntry { binding: binding as u32, resource: wgpu::BindingResource::Buffer(binding_of) }
        })
        .collect();
    let descriptor = wgpu::BindGroupDescriptor { label: Some(launch.kernel.name), layout, entries: &entries };
    gpu.scoped(|| format!("binding {}", launch.kernel.name), |device| device.create_bind_group(&descriptor))
}
