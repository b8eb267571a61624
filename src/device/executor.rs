//! One face for the two executors: buffers by key, programs loaded once, steps run many times.

use super::gpu::GpuExecutor;
use super::host_executor::HostExecutor;
use super::{Counters, Device};
use crate::error::Result;
use crate::kernels::launch::{BufferKey, Extent, Place, Scalars};
use crate::plan::Program;
use crate::tape::Storage;
use half::f16;

/// A program that an executor has buffers and pipelines for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramId(pub(crate) usize);

/// Rows of features that stay on the device between steps (see [`Executor::store`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreId(pub(crate) usize);

/// Data for an input buffer of one step.
#[derive(Clone, Copy, Debug)]
pub enum Upload<'a> {
    /// f32 values from the buffer's start.
    F32(BufferKey, &'a [f32]),
    /// f16 values from the buffer's start.
    F16(BufferKey, &'a [f16]),
    /// Indices from the buffer's start.
    U32(BufferKey, &'a [u32]),
    /// Bytes `from .. from + bytes` of a store, to byte `to` of the buffer; all multiples of 4.
    Stored {
        /// Destination.
        key: BufferKey,
        /// First byte in the destination.
        to: u64,
        /// The store.
        store: StoreId,
        /// First byte in the store.
        from: u64,
        /// Bytes.
        bytes: u64,
    },
}

/// What one run of a program gets.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// Sizes of the batch; within the program's capacity.
    pub extent: Extent,
    /// Numbers of the step.
    pub scalars: Scalars,
    /// Inputs, written before the first launch, in order.
    pub uploads: &'a [Upload<'a>],
    /// Places copied into the history after the last launch: (place, values, first value in the history).
    pub keep: &'a [(Place, u32, u32)],
}

/// The buffers and programs of one model on one device.
pub enum Executor {
    /// Twins in f32.
    Host(HostExecutor<f32>),
    /// Twins in f64: the oracle of the tests.
    Oracle(HostExecutor<f64>),
    /// WGSL.
    Gpu(Box<GpuExecutor>),
}

macro_rules! each {
    ($self:ident, $e:ident => $body:expr) => {
        match $self {
            Executor::Host($e) => $body,
            Executor::Oracle($e) => $body,
            Executor::Gpu($e) => $body,
        }
    };
}

impl Executor {
    /// An executor without buffers.
    pub fn new(device: &Device) -> Self {
        match device {
            Device::Host(_) => Executor::Host(HostExecutor::new()),
            Device::Oracle => Executor::Oracle(HostExecutor::new()),
            Device::Gpu(gpu) => Executor::Gpu(Box::new(GpuExecutor::new(gpu.clone()))),
        }
    }

    /// Makes the buffer at least `bytes` large (4 bytes a value, whatever the executor stores), zeroed when
    /// new. Growing loses its content and makes every loaded program look its buffers up again.
    ///
    /// # Errors
    /// [`crate::Error::Limit`] or [`crate::Error::OutOfMemory`].
    pub fn ensure(&mut self, key: BufferKey, bytes: u64) -> Result<()> {
        each!(self, e => e.ensure(key, bytes))
    }

    /// Writes f32 values at `offset` (in values) outside of a step. For parameters and state.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn write(&mut self, key: BufferKey, offset: usize, values: &[f32]) -> Result<()> {
        each!(self, e => e.write(key, offset, values))
    }

    /// Writes indices outside of a step.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn write_indices(&mut self, key: BufferKey, values: &[u32]) -> Result<()> {
        each!(self, e => e.write_indices(key, values))
    }

    /// Reads `count` values from the start of `place`, waiting for the device.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn read(&mut self, place: Place, count: usize) -> Result<Vec<f64>> {
        each!(self, e => e.read(place, count))
    }

    /// Reads `count` f32 values from the start of `place`, waiting for the device.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn read_f32(&mut self, place: Place, count: usize) -> Result<Vec<f32>> {
        each!(self, e => e.read_f32(place, count))
    }

    /// Reads `count` indices from the start of `place`, waiting for the device.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn read_indices(&mut self, place: Place, count: usize) -> Result<Vec<u32>> {
        match self {
            Executor::Host(e) => e.read_indices(place, count),
            Executor::Oracle(e) => e.read_indices(place, count),
            // The same bytes; moving an f32 does not change them.
            Executor::Gpu(e) => Ok(e.read_f32(place, count)?.into_iter().map(f32::to_bits).collect()),
        }
    }

    /// Takes a program in: makes its slots and inputs large enough, builds pipelines and bind groups.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`], [`crate::Error::Limit`], [`crate::Error::Device`].
    pub fn load(&mut self, program: Program) -> Result<ProgramId> {
        each!(self, e => e.load(program))
    }

    /// Replaces a loaded program by one planned for a larger capacity.
    ///
    /// # Errors
    /// As for [`Executor::load`]; the program stays as it was.
    pub fn reload(&mut self, id: ProgramId, program: Program) -> Result<()> {
        each!(self, e => e.reload(id, program))
    }

    /// The loaded program.
    pub fn program(&self, id: ProgramId) -> &Program {
        each!(self, e => e.program(id))
    }

    /// True when a single launch of a program over such a batch could keep a GPU busy for so long that the operating
    /// system resets it.
    pub fn is_too_long(&self, program: &Program, extent: &Extent) -> bool {
        match self {
            Executor::Gpu(e) => e.is_too_long(program, extent),
            _ => false,
        }
    }

    /// Runs a program: uploads, one pass over its launches, copies into the history; one submission, or on a GPU
    /// several, each with a pass, where one would keep it busy for too long.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::Device`], and [`crate::Error::Limit`] for loops that the driver would end.
    pub fn run(&mut self, id: ProgramId, step: &Step) -> Result<()> {
        each!(self, e => e.run(id, step))
    }

    /// Makes room for `values` f32 in the history, which steps append to and which is read seldom.
    ///
    /// # Errors
    /// As for [`Executor::ensure`].
    pub fn reserve_history(&mut self, values: usize) -> Result<()> {
        each!(self, e => e.reserve_history(values))
    }

    /// Values that the history has room for.
    pub fn history_room(&self) -> usize {
        each!(self, e => e.history_room())
    }

    /// The first `count` values of the history, waiting for the device.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn history(&mut self, count: usize) -> Result<Vec<f32>> {
        each!(self, e => e.history(count))
    }

    /// Puts bytes on the device to stay; `None` when it has no room for them (then upload each step).
    ///
    /// # Errors
    /// As for [`Executor::ensure`].
    pub fn store(&mut self, bytes: &[u8], storage: Storage) -> Result<Option<StoreId>> {
        each!(self, e => e.store(bytes, storage))
    }

    /// Largest number of bytes one store can hold.
    pub fn store_limit(&self) -> u64 {
        each!(self, e => e.store_limit())
    }

    /// Bytes of staging that steps come to hold which upload `bytes` each.
    pub fn staging_bytes(&self, bytes: u64) -> u64 {
        match self {
            Executor::Gpu(e) => e.staging_bytes(bytes),
            _ => 0,
        }
    }

    /// Waits until the device has finished everything submitted.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn wait(&mut self) -> Result<()> {
        each!(self, e => e.wait())
    }

    /// Fills every slot with NaN, so that a read of something not written shows up in tests.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::OutOfMemory`] for what moves the values, [`crate::Error::Device`].
    pub fn poison(&mut self) -> Result<()> {
        each!(self, e => e.poison())
    }

    /// Seconds of each of `repeats` runs, from recording to completion.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::Device`], and [`crate::Error::Limit`] for loops that the driver would end.
    pub fn time_runs(&mut self, id: ProgramId, step: &Step, repeats: usize) -> Result<Vec<f64>> {
        each!(self, e => e.time_runs(id, step, repeats))
    }

    /// Runs a program once; the kernel of each launch and the nanoseconds it took.
    ///
    /// # Errors
    /// [`crate::Error::DeviceLost`], [`crate::Error::Device`], and [`crate::Error::Limit`] for loops that the driver would end.
    pub fn profile(&mut self, id: ProgramId, step: &Step) -> Result<Vec<(&'static str, f64)>> {
        each!(self, e => e.profile(id, step))
    }

    /// What has been created and submitted so far.
    pub fn counters(&self) -> Counters {
        each!(self, e => e.counters())
    }

    /// Bytes of device memory held now by this executor's buffers, and the most it held.
    pub fn memory(&self) -> (u64, u64) {
        each!(self, e => e.memory())
    }
}
