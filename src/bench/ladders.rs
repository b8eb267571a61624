//! Ladders: one computation in steps, from the plainest shader to what the engine launches, so that one sees what each
//! change is worth on a device.
//!
//! Steps are shaders in `shaders/ladders/`. Each runs over NaN in all that it writes and is compared with the twins on the host
//! in f64 before it is timed; what is wrong is not timed.

mod attention;
mod matmul;
mod pooling;
mod problem;
mod rig;

use super::kernels::Rounds;
use super::loaded::Loaded;
use super::run::Timed;
use crate::bounded::check_room;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::plan::Class;
use problem::{Problem, Way};
use rig::{Buffers, Rig};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// Which computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ladder {
    /// The product of a layer.
    Matmul,
    /// Softmax attention of all rows with all rows.
    SelfAttention,
    /// Gated attention pooling.
    GatedAttention,
}

impl Ladder {
    /// All.
    pub const ALL: [Self; 3] = [Self::Matmul, Self::SelfAttention, Self::GatedAttention];

    /// What its sizes are.
    pub fn sides(self) -> &'static [&'static str] {
        match self {
            Self::Matmul => &["M", "K", "N"],
            Self::SelfAttention => &["N", "D"],
            Self::GatedAttention => &["N", "H", "L"],
        }
    }

    /// Sizes for `device`: those of a large slide for a GPU, what takes seconds for a driver of the CPU.
    pub fn usual(self, device: &Device) -> Vec<usize> {
        let gpu = device.target().class == Class::Gpu;
        match (self, gpu) {
            (Self::Matmul, true) => vec![4096, 4096, 4096],
            (Self::Matmul, false) => vec![512, 512, 512],
            (Self::SelfAttention, true) => vec![8192, 64],
            (Self::SelfAttention, false) => vec![1024, 64],
            (Self::GatedAttention, true) => vec![100_000, 512, 256],
            (Self::GatedAttention, false) => vec![2000, 512, 256],
        }
    }

    /// Reads sizes such as `512,512,512`.
    ///
    /// # Errors
    /// [`Error::Setting`] with what is expected.
    pub fn shape(self, text: &str) -> Result<Vec<usize>> {
        let most = |side: usize| if self == Self::SelfAttention && side == 1 { MOST_COLUMNS } else { MOST };
        let sizes: Option<Vec<usize>> = text.split(',').map(|n| n.trim().parse().ok()).collect();
        let fits = |sizes: &Vec<usize>| {
            sizes.len() == self.sides().len() && sizes.iter().enumerate().all(|(n, s)| (1..=most(n)).contains(s))
        };
        sizes.filter(fits).ok_or_else(|| {
            let sides = self.sides().join(",");
            let last = if self == Self::SelfAttention { format!(", D to {MOST_COLUMNS}") } else { String::new() };
            Error::setting("shape", format!("{text:?}: the ladder {self} takes {sides}, each from 1 to {MOST}{last}"))
        })
    }

    fn problem(self, shape: &[usize]) -> Result<Problem> {
        let numbers = match *shape {
            [n, d] => n * d * 6,
            [m, k, n] => m * k + n * k + m * n,
            _ => 0,
        };
        check_room(format!("a ladder over {shape:?}"), &[8, numbers as u64])?;
        match (self, shape) {
            (Self::Matmul, &[m, k, n]) => matmul::problem([m, k, n]),
            (Self::SelfAttention, &[n, d]) => attention::problem([n, d]),
            (Self::GatedAttention, &[n, h, l]) => pooling::problem([n, h, l]),
            _ => Err(Error::setting("shape", format!("the ladder {self} takes {}", self.sides().join(",")))),
        }
    }
}

/// 16 rows a workgroup, of which there are at most 65,535.
const MOST: usize = 1_000_000;
/// What fits into the memory of a workgroup beside as many values.
const MOST_COLUMNS: usize = 128;

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matmul => "matmul",
            Self::SelfAttention => "self-attention",
            Self::GatedAttention => "gated-attention",
        })
    }
}

impl FromStr for Ladder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|l| l.to_string()).join(", ");
        Self::ALL.into_iter().find(|l| l.to_string() == text).ok_or_else(|| format!("there is {}", names()))
    }
}

/// One step, measured.
#[derive(Clone, Debug)]
pub struct Rung {
    /// Its name: `tiled`.
    pub step: &'static str,
    /// Launches that it takes.
    pub launches: usize,
    /// ‖out − ref‖ / ‖ref‖ against the twins in f64; `None` where it did not run.
    pub error: Option<f64>,
    /// The result is wrong.
    pub wrong: bool,
    /// Why it did not run, or what is wrong with it.
    pub remark: String,
    /// Its times, where it ran and was right.
    pub timed: Option<Timed>,
}

/// What is printed of a step.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The ladder.
    pub ladder: String,
    /// The step.
    pub step: String,
    /// Sizes.
    pub shape: String,
    /// Where.
    pub device: String,
    /// Launches that it takes.
    pub launches: usize,
    /// Microseconds of all of them together, in the middle of all runs.
    pub median_us: Option<f64>,
    /// The fastest.
    pub min_us: Option<f64>,
    /// Operations of the computation, in 10^9 a second: the same number for every step.
    pub gflops: Option<f64>,
    /// Bytes that the launches of this step read and write, each buffer once, in 10^9 a second.
    pub gbps: Option<f64>,
    /// Times the speed of the step before it.
    pub gain: Option<f64>,
    /// ‖out − ref‖ / ‖ref‖ against the twins in f64.
    pub error: Option<f64>,
    /// The result is wrong.
    pub wrong: bool,
    /// Why it did not run, or what is wrong with it.
    pub remark: String,
}

/// The rows of a table.
pub fn rows(device: &Device, ladder: Ladder, shape: &[usize], rungs: &[Rung]) -> Vec<Row> {
    let mut before = None;
    let row = |rung: &Rung| {
        let us = rung.timed.as_ref().map(|t| t.median_us).filter(|us| *us > 0.0);
        let rate = |count: fn(&Timed) -> u64| Some(count(rung.timed.as_ref()?) as f64 / us? / 1e3);
        let gain = before.zip(us).map(|(before, us): (f64, f64)| before / us);
        before = us.or(before);
        Row {
            ladder: ladder.to_string(),
            step: rung.step.to_owned(),
            shape: sized(shape),
            device: device.description(),
            launches: rung.launches,
            median_us: us,
            min_us: rung.timed.as_ref().map(|t| t.min_us),
            gflops: rate(|t| t.flops),
            gbps: rate(|t| t.bytes),
            gain,
            error: rung.error,
            wrong: rung.wrong,
            remark: rung.remark.clone(),
        }
    };
    rungs.iter().map(row).collect()
}

fn sized(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

/// Runs the `steps` of a ladder, all where none is named, over one shape.
///
/// # Errors
/// [`Error::Setting`] for a device that runs no WGSL and steps that there are none of; what the device answers. A step that it
/// has no room for is left out, and a result that is wrong is marked.
pub fn measure(device: &Device, ladder: Ladder, shape: &[usize], steps: &[String], often: Rounds) -> Result<Vec<Rung>> {
    let Device::Gpu(gpu) = device else {
        let message = format!("{} runs no WGSL; name a GPU with --device", device.description());
        return Err(Error::setting("ladder", message));
    };
    let mut problem = ladder.problem(shape)?;
    problem.keep(&ladder.to_string(), steps)?;
    // Of what no step has room for nothing is computed on the host.
    let mut reference: Option<(Vec<f64>, u64)> = None;
    let mut buffers = Buffers::new(gpu, &problem);
    let mut all = Vec::new();
    for step in &problem.steps {
        let absent = |remark: String| {
            (Rung { step: step.name, launches: 0, error: None, wrong: false, remark, timed: None }, None)
        };
        if matches!(step.way, Way::Mixed(_)) && device.target_for(true).coop.is_none() {
            all.push(absent("no matrix units that may be used".to_owned()));
            continue;
        }
        if matches!(step.way, Way::Subgroups(_)) && gpu.facts().subgroups.is_none() {
            all.push(absent("the device has no operations of subgroups".to_owned()));
            continue;
        }
        let loaded = Rig::load(device, &mut buffers, &step.way).and_then(|mut rig| Ok((rig.launches()?, rig)));
        let (launches, mut rig) = match loaded {
            Ok(found) => found,
            Err(error @ (Error::Limit { .. } | Error::OutOfMemory { .. })) => {
                all.push(absent(error.to_string()));
                continue;
            }
            Err(error) => return Err(error),
        };
        if reference.is_none() {
            reference = Some(computed(&problem)?);
        }
        let (wanted, flops) = reference.as_ref().expect("just computed");
        let (error, beyond) = rig.check(&problem, wanted)?;
        let most = if matches!(step.way, Way::Mixed(_)) { MIXED_ERROR } else { ERROR };
        let remark = complaint(error, most, beyond);
        let wrong = !remark.is_empty();
        let timed = (!wrong).then(|| Timed {
            kernel: format!("ladder {ladder}"),
            variant: step.name.to_owned(),
            shape: sized(shape),
            flops: *flops,
            bytes: rig.bytes(),
            ..Timed::default()
        });
        let rung = Rung { step: step.name, launches, error: Some(error), wrong, remark, timed };
        all.push((rung, Some(rig)));
    }
    for round in 0..often.rounds {
        // There and back: what drifts steadily meets early and late steps alike.
        let mut order: Vec<_> = all.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (rung, rig) in order {
            if let (Some(timed), Some(rig)) = (&mut rung.timed, rig) {
                let (first, samples) = rig.round(often.repeats)?;
                timed.push(first, samples);
            }
        }
    }
    let mut rungs: Vec<Rung> = all.into_iter().map(|(rung, _)| rung).collect();
    rungs.iter_mut().filter_map(|rung| rung.timed.as_mut()).for_each(Timed::sum_up);
    Ok(rungs)
}

/// The result by the twins on the host in f64, and the operations that the engine's kernels count for it.
fn computed(problem: &Problem) -> Result<(Vec<f64>, u64)> {
    let mut oracle = Loaded::of(&Device::oracle(), &problem.case, &problem.features, &problem.params)?;
    Ok((oracle.output(problem.rows * problem.cols)?, oracle.cost(problem.counted).0))
}

/// What is wrong with a result; nothing where it is right.
fn complaint(error: f64, most: f64, beyond: bool) -> String {
    match (error <= most, beyond) {
        // NaN, too.
        (false, _) => format!("an error of {error:.1e} is more than {most:.0e}"),
        (true, true) => "it wrote behind its result".to_owned(),
        (true, false) => String::new(),
    }
}

/// What rounding may be in f32; one of a hundred thousand summands that is missing is more.
const ERROR: f64 = 1e-4;
/// With factors in f16.
const MIXED_ERROR: f64 = 2e-3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_by_their_ladder() {
        assert_eq!(Ladder::Matmul.shape("3, 5,7").unwrap(), [3, 5, 7]);
        assert_eq!(Ladder::SelfAttention.shape("100,128").unwrap(), [100, 128]);
        for (ladder, wrong) in
            [(Ladder::Matmul, "3,5"), (Ladder::SelfAttention, "100,129"), (Ladder::GatedAttention, "0,1,1")]
        {
            let refused = ladder.shape(wrong).unwrap_err().to_string();
            assert!(refused.contains(&format!("the ladder {ladder} takes {}", ladder.sides().join(","))), "{refused}");
        }
        assert!("product".parse::<Ladder>().unwrap_err().contains("matmul, self-attention, gated-attention"));
    }

    #[test]
    fn the_host_has_no_ladder_and_steps_are_chosen_by_name() {
        let often = Rounds { rounds: 1, repeats: 1 };
        let refused = measure(&Device::host(), Ladder::Matmul, &[2, 2, 2], &[], often).unwrap_err().to_string();
        assert!(refused.contains("runs no WGSL"), "{refused}");
        let mut problem = Ladder::SelfAttention.problem(&[5, 3]).unwrap();
        let refused = problem.keep("self-attention", &["tiled".into()]).unwrap_err().to_string();
        assert!(refused.contains("it has: plain, online, blocks, engine"), "{refused}");
        problem.keep("self-attention", &["engine".into(), "plain".into()]).unwrap();
        assert_eq!(problem.steps.iter().map(|s| s.name).collect::<Vec<_>>(), ["plain", "engine"]);
    }

    #[test]
    fn errors_are_relative_and_infinite_where_something_is_missing() {
        assert!((rig::error(&[3.0, 4.5], &[3.0, 4.0]) - 0.1).abs() < 1e-12);
        assert_eq!(rig::error(&[3.0, f64::NAN], &[3.0, 4.0]), f64::INFINITY);
        for (error, beyond, said) in
            [(1e-5, false, ""), (1e-3, false, "an error of 1.0e-3"), (f64::NAN, false, "NaN"), (0.0, true, "behind")]
        {
            let complaint = complaint(error, ERROR, beyond);
            assert!(complaint.contains(said) && complaint.is_empty() == said.is_empty(), "{complaint}");
        }
        assert_eq!((rig::error(&[0.0], &[0.0]), rig::error(&[2.0], &[0.0])), (0.0, 2.0));
    }
}
