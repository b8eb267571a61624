//! How long runs and launches take.

use super::GpuExecutor;
use crate::device::executor::{ProgramId, Step};
use crate::error::Result;

impl GpuExecutor {
    /// See [`crate::device::executor::Executor::time_runs`].
    pub fn time_runs(&mut self, id: ProgramId, step: &Step, repeats: usize) -> Result<Vec<f64>> {
        (0..repeats)
            .map(|_| {
                self.wait()?;
                let start = std::time::Instant::now();
                self.run(id, step)?;
                self.wait()?;
                Ok(start.elapsed().as_secs_f64())
            })
            .collect()
    }

    /// See [`crate::device::executor::Executor::profile`]. By time stamps inside the pass where the device has them;
    /// otherwise one submission for each launch and the wall clock, which adds tens of microseconds to each.
    pub fn profile(&mut self, id: ProgramId, step: &Step) -> Result<Vec<(&'static str, f64)>> {
        let count = self.programs[id.0].encoded.len();
        let few = count < wgpu::QUERY_SET_MAX_QUERIES as usize;
        let times = match self.gpu.has_time_stamps() && few {
            true => self.stamped(id, step, count)?,
            false => self.clocked(id, step, count)?,
        };
        let launches = &self.programs[id.0].program.launches;
        Ok(launches.iter().map(|l| l.kernel.name).zip(times).collect())
    }

    fn stamped(&mut self, id: ProgramId, step: &Step, count: usize) -> Result<Vec<f64>> {
        let queries = self.gpu.scoped(
            || "creating time stamps".to_string(),
            |device| {
                let ty = wgpu::QueryType::Timestamp;
                device.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count: count as u32 + 1 })
            },
        )?;
        let bytes = (count as u64 + 1) * 8;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = self.gpu.buffer("time stamps", bytes, usage, false)?;
        let (mut encoder, staged) = self.begin(id, step)?;
        self.encode_pass(&mut encoder, id, step, 0..count, Some(&queries));
        encoder.resolve_query_set(&queries, 0..count as u32 + 1, &resolved, 0);
        self.finish(encoder, staged)?;
        let mut stamps: Vec<u64> = Vec::with_capacity(count + 1);
        self.counters.submissions += self.staging.read(&resolved, 0, bytes, |piece| {
            stamps.extend(piece.chunks_exact(8).map(|b| u64::from_ne_bytes(b.try_into().expect("8 bytes"))));
        })?;
        self.counters.readbacks += 1;
        let period = self.gpu.queue().get_timestamp_period() as f64;
        Ok(stamps.windows(2).map(|w| w[1].saturating_sub(w[0]) as f64 * period).collect())
    }

    fn clocked(&mut self, id: ProgramId, step: &Step, count: usize) -> Result<Vec<f64>> {
        let (encoder, staged) = self.begin(id, step)?;
        self.finish(encoder, staged)?;
        self.wait()?;
        (0..count)
            .map(|n| {
                let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
                self.encode_pass(&mut encoder, id, step, n..n + 1, None);
                let start = std::time::Instant::now();
                self.finish(encoder, None)?;
                self.wait()?;
                Ok(start.elapsed().as_secs_f64() * 1e9)
            })
            .collect()
    }
}
