//! Mapped memory between host and GPU: a ring of upload buffers, and one buffer to read through.

use super::GpuDevice;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::sync::mpsc;

/// Submissions that may be on their way. Two keep a GPU busy; the third hides a late host.
const IN_FLIGHT: usize = 3;

/// Beyond this many bytes of upload buffers we rather wait for one to come back than allocate another.
const UPLOAD_BYTES: u64 = 512 << 20;

/// Read-backs larger than this go through the buffer in pieces.
const READ_BYTES: u64 = 64 << 20;

/// Upload buffers in rotation.
///
/// wgpu's own belt hands out a buffer per write and panics when there is no memory. Here a step takes one
/// buffer for all it uploads, and creation can fail. With at most [`IN_FLIGHT`] submissions under way the
/// number of buffers is bounded, and a steady step creates none.
pub(super) struct Staging {
    gpu: GpuDevice,
    free: Vec<wgpu::Buffer>,
    /// Size of the ring's buffers, and how many of them exist, free or under way.
    size: u64,
    alive: usize,
    /// Buffers come back through here when the GPU has read them and they are mapped again.
    sender: mpsc::Sender<wgpu::Buffer>,
    receiver: mpsc::Receiver<wgpu::Buffer>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    read: Option<wgpu::Buffer>,
    bytes: u64,
    created: u64,
}

impl Staging {
    pub(super) fn new(gpu: GpuDevice) -> Self {
        let (sender, receiver) = mpsc::channel();
        let in_flight = VecDeque::with_capacity(IN_FLIGHT + 1);
        Self { gpu, free: Vec::new(), size: 0, alive: 0, sender, receiver, in_flight, read: None, bytes: 0, created: 0 }
    }

    /// Bytes of all buffers here.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Buffers created since the start.
    pub(super) fn created(&self) -> u64 {
        self.created
    }

    /// Waits until another submission may go.
    pub(super) fn throttle(&mut self) -> Result<()> {
        while self.in_flight.len() >= IN_FLIGHT {
            self.wait_oldest()?;
        }
        Ok(())
    }

    fn wait_oldest(&mut self) -> Result<()> {
        match self.in_flight.pop_front() {
            Some(oldest) => self.gpu.wait(Some(oldest)),
            None => Ok(()),
        }
    }

    /// Notes a submission.
    pub(super) fn submitted(&mut self, submission: wgpu::SubmissionIndex) {
        self.in_flight.push_back(submission);
    }

    /// Waits for all submissions.
    pub(super) fn drain(&mut self) -> Result<()> {
        self.in_flight.clear();
        self.gpu.wait(None)
    }

    /// A mapped buffer of at least `bytes`.
    pub(super) fn take(&mut self, bytes: u64) -> Result<wgpu::Buffer> {
        if bytes > self.size {
            // A ring of larger buffers; smaller ones that are still under way are dropped when they come back.
            self.size = upload_size(bytes).min(self.gpu.limits().max_buffer_size.max(bytes));
            self.bytes -= self.free.drain(..).map(|b| b.size()).sum::<u64>();
            self.alive = 0;
        }
        // The first steps make the ring whole, whatever came back by then; from there on we wait for a
        // buffer to come back, so that how many there are does not depend on timing.
        let mut waited = false;
        loop {
            for back in self.receiver.try_iter() {
                match back.size() < self.size {
                    true => self.bytes -= back.size(),
                    false => self.free.push(back),
                }
            }
            if self.alive < IN_FLIGHT && (self.alive == 0 || self.bytes + self.size <= UPLOAD_BYTES) {
                break;
            }
            if let Some(buffer) = self.free.pop() {
                return Ok(buffer);
            }
            if !self.in_flight.is_empty() {
                self.wait_oldest()?;
            } else if waited {
                break;
            } else {
                self.gpu.wait(None)?;
                waited = true;
            }
        }
        let size = self.size;
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        let buffer = self.gpu.buffer("an upload buffer", size, usage, true)?;
        self.bytes += size;
        self.created += 1;
        self.alive += 1;
        Ok(buffer)
    }

    /// Takes a buffer back that was unmapped and used by the latest submission.
    pub(super) fn give(&self, buffer: wgpu::Buffer) {
        let sender = self.sender.clone();
        let back = buffer.clone();
        buffer.map_async(wgpu::MapMode::Write, .., move |mapped| {
            // A failed map means that the device is gone, which the next call reports.
            if mapped.is_ok() {
                let _ = sender.send(back);
            }
        });
    }

    /// Reads `bytes` (a multiple of 4) of `source` from `offset`, waiting for the device, and hands them to
    /// `f` piece by piece. Returns the number of submissions.
    pub(super) fn read(
        &mut self,
        source: &wgpu::Buffer,
        offset: u64,
        bytes: u64,
        mut f: impl FnMut(&[u8]),
    ) -> Result<u64> {
        debug_assert!(offset.is_multiple_of(4) && bytes.is_multiple_of(4));
        let mut submissions = 0;
        let mut done = 0;
        while done < bytes {
            let piece = (bytes - done).min(READ_BYTES);
            let buffer = self.read_buffer(piece)?;
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(source, offset + done, &buffer, 0, piece);
            let submission = self.gpu.queue().submit([encoder.finish()]);
            submissions += 1;
            if let Err(error) = self.gpu.check().and_then(|()| self.hand_out(&buffer, submission, piece, &mut f)) {
                // It may be left half mapped.
                self.bytes -= self.read.take().map_or(0, |b| b.size());
                return Err(error);
            }
            done += piece;
        }
        self.in_flight.clear();
        Ok(submissions)
    }

    fn hand_out(
        &self,
        buffer: &wgpu::Buffer,
        submission: wgpu::SubmissionIndex,
        bytes: u64,
        f: &mut impl FnMut(&[u8]),
    ) -> Result<()> {
        buffer.map_async(wgpu::MapMode::Read, ..bytes, |_| {});
        self.gpu.wait(Some(submission))?;
        let view =
            buffer.get_mapped_range(..bytes).map_err(|e| Error::Device { message: format!("reading back: {e}") })?;
        f(&view);
        drop(view);
        buffer.unmap();
        Ok(())
    }

    fn read_buffer(&mut self, bytes: u64) -> Result<wgpu::Buffer> {
        if let Some(buffer) = self.read.as_ref().filter(|b| b.size() >= bytes) {
            return Ok(buffer.clone());
        }
        self.bytes -= self.read.take().map_or(0, |b| b.size());
        let size = upload_size(bytes).min(self.gpu.limits().max_buffer_size.max(bytes));
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let buffer = self.gpu.buffer("the read-back buffer", size, usage, false)?;
        self.bytes += size;
        self.created += 1;
        self.read = Some(buffer.clone());
        Ok(buffer)
    }
}

/// Bytes of a whole ring for steps that upload `bytes` each.
pub(super) fn ring_bytes(bytes: u64) -> u64 {
    let size = upload_size(bytes);
    size * (UPLOAD_BYTES / size).clamp(1, IN_FLIGHT as u64)
}

/// Sizes of staging buffers: powers of two up to 1 MiB, then multiples of 1 MiB with an eighth to spare, so
/// that batches that differ a little share buffers.
fn upload_size(bytes: u64) -> u64 {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..=MIB => bytes.next_power_of_two().max(1 << 14),
        _ => (bytes + bytes / 8).next_multiple_of(MIB),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn staging_sizes_hold_what_was_asked_for() {
        for bytes in [1, 4, 16_384, 16_385, 1 << 20, (1 << 20) + 4, 12_345_678] {
            let size = super::upload_size(bytes);
            assert!(size >= bytes && size.is_multiple_of(8) && size <= bytes * 2 + (1 << 20), "{bytes}: {size}");
        }
    }
}
