//! How long a submission keeps a GPU busy, and where to cut it.
//!
//! Operating systems take a GPU that does not answer for some seconds for hung, and reset it: Windows after two, macOS
//! after some more, Linux drivers after two to ten. So the work of a submission is estimated, and what would take too
//! long is handed over in several. The estimate is meant to be too long rather than too short: cutting costs some tens
//! of microseconds, and a reset the run.

use super::GpuDevice;
use crate::kernels::cost::cost;
use crate::kernels::launch::{Extent, Launch};
use crate::plan::Program;
use std::ops::Range;

/// Seconds of a submission by the estimate, at most.
const SECONDS: f64 = 0.5;
/// Operations and bytes that a compute unit gets through in a second, at the least.
const FLOPS: f64 = 20e9;
const BYTES: f64 = 2e9;
/// Units of a GPU that shares the memory of the CPU, whatever it is called.
const INTEGRATED_UNITS: u32 = 16;

/// The bound of a device, and how fast it is at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    seconds: f64,
    units: f64,
}

impl Pace {
    /// The bound of a device; `None` where nobody resets it, as a driver on the CPU, unless one is asked for.
    pub fn of(gpu: &GpuDevice) -> Option<Self> {
        let info = gpu.info();
        let hardware = match info.device_type {
            wgpu::DeviceType::IntegratedGpu => Some(gpu.target().units.min(INTEGRATED_UNITS)),
            wgpu::DeviceType::DiscreteGpu | wgpu::DeviceType::VirtualGpu => Some(gpu.target().units),
            wgpu::DeviceType::Cpu | wgpu::DeviceType::Other => None,
        };
        let asked = gpu.options().longest_submission;
        let seconds = asked.or(hardware.map(|_| SECONDS))?;
        Some(Self { seconds, units: f64::from(hardware.unwrap_or(2)) })
    }

    /// Estimated seconds of a launch.
    fn seconds(&self, launch: &Launch, extent: &Extent) -> f64 {
        // Features in f16 are fewer bytes than this counts.
        let cost = cost(launch, extent, false);
        (cost.flops as f64 / FLOPS + cost.bytes as f64 / BYTES) / self.units
    }

    /// True when a submission of the whole program over such a batch stays within the bound.
    pub fn fits(&self, program: &Program, extent: &Extent) -> bool {
        program.launches.iter().map(|l| self.seconds(l, extent)).sum::<f64>() <= self.seconds
    }

    /// True when a single launch does not, which no cut between launches helps.
    pub fn is_exceeded_by_one(&self, program: &Program, extent: &Extent) -> bool {
        program.launches.iter().any(|l| self.seconds(l, extent) > self.seconds)
    }

    /// The launches of each submission: as many as stay within the bound, and at least one.
    pub fn cuts(&self, program: &Program, extent: &Extent) -> Vec<Range<usize>> {
        let (mut cuts, mut start, mut busy) = (Vec::new(), 0, 0.0);
        for (n, launch) in program.launches.iter().enumerate() {
            let more = self.seconds(launch, extent);
            if n > start && busy + more > self.seconds {
                cuts.push(start..n);
                (start, busy) = (n, 0.0);
            }
            busy += more;
        }
        cuts.push(start..program.launches.len());
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::{BufferKey, Count, Dim, Grid, Place};

    fn program(launches: usize) -> Program {
        let kernel = crate::kernels::all().into_iter().find(|k| k.name == "fill").expect("a kernel");
        let place = Place { buffer: BufferKey::Slot(0), offset: 0, bytes: 4 };
        let one = Launch {
            kernel,
            variant: Vec::new(),
            places: vec![place; kernel.bindings.len()],
            words: vec![1u32.into(); kernel.words],
            grid: Grid::line(Count::each(Dim::Fixed(1))),
        };
        Program {
            launches: vec![one; launches],
            slots: Vec::new(),
            capacity: Extent::default(),
            outputs: Vec::new(),
            loss: None,
            feature_grad: None,
            inputs: Vec::new(),
        }
    }

    #[test]
    fn cuts_cover_all_launches_in_order() {
        let (program, extent) = (program(10), Extent::of([2, 2]));
        let one = Pace { seconds: 1.0, units: 1.0 }.seconds(&program.launches[0], &extent);
        let pace = |seconds: f64| Pace { seconds, units: 1.0 };
        assert_eq!(pace(1.0).cuts(&program, &extent), vec![0..10; 1]);
        assert!(pace(1.0).fits(&program, &extent) && !pace(1.0).is_exceeded_by_one(&program, &extent));
        assert_eq!(pace(4.5 * one).cuts(&program, &extent), [0..4, 4..8, 8..10]);
        assert!(!pace(4.5 * one).fits(&program, &extent) && !pace(4.5 * one).is_exceeded_by_one(&program, &extent));
        // What is too long alone goes alone.
        assert_eq!(pace(one / 2.0).cuts(&program, &extent).len(), 10);
        assert!(pace(one / 2.0).is_exceeded_by_one(&program, &extent));
    }
}
