//! Whole training steps, with their memory: of any method, or W(N, D, H, L).
//!
//! W is h = relu(X Wf + bf) with X `[N, D]`; gated attention pooling of hidden size L over h `[N, H]`; a linear
//! head with one logit; binary cross-entropy; gradients of all parameters; Adam.

use super::loaded::Launched;
use super::median;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::cost::cost;
use crate::kernels::launch::TILE;
use crate::methods::{GatedAttention, Method};
use crate::model::{Model, Spec};
use crate::ops::update::Optimiser;
use crate::plan::Purpose;
use crate::precision::{LossScale, Precision};
use crate::random::Random;
use crate::session::Session;
use crate::tape::{Storage, feature_stride};
use crate::{Bags, Features};
use half::f16;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// Equal bags in one batch: `N,D`, or `SIZExBAGS,D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Instances of a bag.
    pub size: usize,
    /// Bags.
    pub bags: usize,
    /// Features of an instance (D).
    pub width: usize,
}

/// The sizes of a step W: `N,D,H,L`, or `SIZExBAGS,D,H,L`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its bags.
    pub batch: Batch,
    /// Width of the embedding (H).
    pub hidden: usize,
    /// Hidden width of the attention (L).
    pub attention: usize,
}

/// The numbers of a shape: size of a bag, bags, and the widths that follow.
fn numbers<const N: usize>(text: &str, expected: &str) -> Result<(usize, usize, [usize; N])> {
    let wrong =
        || Error::Setting { name: "steps".into(), message: format!("{text:?}: expected {expected}, all above 0") };
    let number = |t: &str| t.trim().parse::<usize>().ok().filter(|n| (1..=1 << 31).contains(n)).ok_or_else(wrong);
    let (first, rest) = text.split_once(',').ok_or_else(wrong)?;
    let widths = rest.split(',').map(number).collect::<Result<Vec<_>>>()?;
    let (size, bags) = first.split_once('x').unwrap_or((first, "1"));
    let (size, bags) = (number(size)?, number(bags)?);
    if size as u64 * bags as u64 > 1 << 31 {
        let message = format!("{text:?}: expected at most {} instances in all, found {}", 1u64 << 31, size * bags);
        return Err(Error::Setting { name: "steps".into(), message });
    }
    Ok((size, bags, widths.try_into().map_err(|_| wrong())?))
}

impl FromStr for Batch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (size, bags, [width]) = numbers(text, "N,D or SIZExBAGS,D")?;
        Ok(Self { size, bags, width })
    }
}

impl FromStr for Shape {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (size, bags, [width, hidden, attention]) = numbers(text, "N,D,H,L or SIZExBAGS,D,H,L")?;
        Ok(Self { batch: Batch { size, bags, width }, hidden, attention })
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bags {
            1 => write!(f, "{},{}", self.size, self.width),
            bags => write!(f, "{}x{bags},{}", self.size, self.width),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.batch, self.hidden, self.attention)
    }
}

impl Batch {
    /// Instances of all bags (N).
    pub fn instances(&self) -> usize {
        self.size * self.bags
    }

    fn draw(&self, half: bool) -> Result<Bags> {
        let bytes = if half { 2 } else { 4 };
        crate::bounded::check_room(format!("a batch of {self}"), &[self.instances() as u64, self.width as u64, bytes])?;
        let count = self.instances() * self.width;
        // A block of random numbers again and again: drawing hundreds of millions would take minutes.
        let mut random = Random::new(7, 0);
        let block: Vec<f32> = (0..count.min(1 << 20)).map(|_| random.normal() as f32).collect();
        let values = block.iter().cycle().take(count);
        let features = match half {
            false => Features::F32(values.copied().collect()),
            true => Features::F16(values.map(|v| f16::from_f32(*v)).collect()),
        };
        let labels = (0..self.bags as u32).map(|b| b % 2).collect();
        let mut bags = Bags::packed(features, self.width, &vec![self.size; self.bags])?.with_labels(labels)?;
        // For methods that ask where instances lie: patches of 256 pixels in rows of 200.
        let place = |i: usize| [(i % 200) as f32 * 256.0, (i / 200) as f32 * 256.0];
        bags.coords = Some((0..self.instances()).map(|i| place(i % self.size)).collect());
        Ok(bags)
    }
}

impl Shape {
    /// Trained values: embedding, both halves of the gate, attention vector, head.
    pub fn parameters(&self) -> usize {
        let (d, h, l) = (self.batch.width, self.hidden, self.attention);
        (d * h + h) + 2 * (h * l + l) + (l + 1) + (h + 1)
    }

    /// Multiplications and additions of the matrix products of a step: forward, gradients of the weights,
    /// and the gradient of h, but none of X.
    pub fn flops(&self) -> f64 {
        let [n, d, h, l] = [self.batch.instances(), self.batch.width, self.hidden, self.attention].map(|v| v as f64);
        2.0 * 2.0 * n * d * h + 3.0 * 2.0 * n * h * 2.0 * l
    }

    /// Device memory that a step should need, from its sizes alone.
    ///
    /// - features: N rows of D, rounded up to four, of 4 bytes (2 in f16)
    /// - kept for backward: h `[N, H]`, the gate's products `[N, 2 L]`, scores `[N]`, pooled `[B, H]`
    /// - gradients of these, each as large; h's is whole when the products' is, so none shares memory
    /// - partial results, a row for each tile of 64 instances: pooled sums and the softmax's largest value
    ///   and sum `[T, H + 2]`; shares of the gradients of w and b `[T, L + 1]`
    /// - parameters, their gradients, and Adam's two moments
    ///
    /// Not counted: tables of tiles and offsets, padding of buffers, what drivers and pipelines take.
    ///
    /// With `staged` also the buffer that a GPU's features are uploaded through, as large as they are.
    pub fn predicted_bytes(&self, half: bool, staged: bool) -> u64 {
        let Batch { size, bags, width } = self.batch;
        let (n, h, l) = (size * bags, self.hidden, self.attention);
        let features = n * feature_stride(width) * if half { 2 } else { 4 };
        let kept = 4 * (n * h + n * 2 * l + n + bags * h);
        let gradients = kept;
        let tiles = bags * size.div_ceil(TILE as usize);
        let partial = 4 * tiles * (h + 2 + l + 1);
        let parameters = 4 * self.parameters();
        let state = 2 * parameters;
        let staging = if staged { features } else { 0 };
        (features + staging + kept + gradients + partial + parameters + parameters + state) as u64
    }

    /// The method that takes this step.
    pub fn method(&self) -> Method {
        let (embed, attention) = (vec![self.hidden as u32], self.attention as u32);
        GatedAttention { embed, dropout: 0.0, attention, ..Default::default() }.into()
    }
}

/// What is timed.
#[derive(Clone, Debug)]
pub enum Work {
    /// The step W, with Adam.
    Gated(Shape),
    /// A step of any method, with the optimiser of its recipe.
    Method(Method, Batch),
}

impl Work {
    /// Method and sizes.
    pub fn name(&self) -> String {
        match self {
            Self::Gated(shape) => shape.to_string(),
            Self::Method(method, batch) => format!("{} {batch}", method.name()),
        }
    }

    fn parts(&self) -> (Method, Batch, Optimiser) {
        match self {
            Self::Gated(shape) => (shape.method(), shape.batch, Optimiser::adam(0.0)),
            Self::Method(method, batch) => (method.clone(), *batch, method.recipe().optimiser),
        }
    }

    /// A session that has taken a step.
    pub(super) fn started(
        &self,
        device: &Device,
        (half, precision): (bool, Precision),
        memory: Option<u64>,
    ) -> Result<Started> {
        let (method, batch, optimiser) = self.parts();
        let model = Model::new(Spec::new(method, batch.width, 2), 1)?;
        let storage = if half { Storage::F16 } else { Storage::F32 };
        let mut session = Session::new(device, model, storage)?;
        session.set_mixed((precision == Precision::Mixed).then(LossScale::default))?;
        session.set_budget(memory);
        let bags = batch.draw(half)?;
        // As a training does, which computes a frozen front once.
        let bags = session.pass_front(&bags)?.unwrap_or(bags);
        let all: Vec<usize> = (0..bags.len()).collect();
        let extent = session.extent_of(&bags, &all)?;
        let windows = session.make_ready(Purpose::Train(optimiser), extent)?;
        step(&mut session, &bags, &optimiser)?;
        session.executor().wait()?;
        // What stays on the device needs no second copy here. A student's rows change from step to step.
        let bags = (windows || session.looks_first()).then_some(bags);
        Ok(Started { session, optimiser, windows, bags })
    }
}

/// A session that has taken a step.
pub(super) struct Started {
    pub session: Session,
    pub optimiser: Optimiser,
    /// True when it ran in windows.
    windows: bool,
    /// The bags of the step, where each uploads its own.
    bags: Option<Bags>,
}

/// A step over all of `bags`.
fn step(session: &mut Session, bags: &Bags, optimiser: &Optimiser) -> Result<()> {
    let all: Vec<usize> = (0..bags.len()).collect();
    let weights = vec![1.0 / bags.len() as f32; bags.len()];
    session.train_step(bags, &all, &weights, None, (optimiser, RATE), None)
}

/// How steps are timed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Times taken.
    pub repeats: usize,
    /// Features in f16.
    pub half: bool,
    /// What matrix products compute with.
    pub precision: Precision,
    /// Also the times of the launches of one step; none are told of a step in windows.
    pub profile: bool,
    /// Bytes of device memory to stay within.
    pub memory: Option<u64>,
    /// Since when the first step is told; `None` where something ran on the device before.
    pub since: Option<Instant>,
}

/// What a shape took.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// As it was asked for.
    pub shape: String,
    /// Where.
    pub device: String,
    /// What matrix products computed with.
    pub precision: Precision,
    /// Microseconds of a step, in the middle of all.
    pub median_us: f64,
    /// The fastest.
    pub min_us: f64,
    /// Milliseconds from [`Settings::since`] to the end of the first step: finding the device, drawing the bags,
    /// compiling, and the step itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_step_ms: Option<f64>,
    /// Steps between two waits for the device, whose time is divided by their number.
    pub steps_each: usize,
    /// Microseconds of a step on the calling thread until all is submitted; on the host that is the whole step.
    pub host_us: f64,
    /// Dispatches of a step.
    pub dispatches: f64,
    /// Submissions of a step.
    pub submissions: f64,
    /// Share of the median in which no launch ran, when the launches were asked for: time between them, and waiting
    /// for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<f64>,
    /// Arithmetic over the median: of W that of the matrix products, of other methods that of all launches.
    pub gflops: f64,
    /// The most device memory that was held.
    pub peak_bytes: u64,
    /// What [`Shape::predicted_bytes`] says of a step W that runs whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub predicted_bytes: Option<u64>,
    /// True when the step ran in windows of rows; its features were then uploaded in each.
    pub windows: bool,
    /// Launches of a step, in order, when they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub launches: Vec<LaunchTime>,
}

/// The time of one launch.
#[derive(Clone, Debug, Serialize)]
pub struct LaunchTime {
    /// Which kernel.
    pub kernel: &'static str,
    /// Sizes it ran over.
    pub shape: String,
    /// Microseconds, in the middle of a few.
    pub median_us: f64,
    /// The fastest of them.
    pub min_us: f64,
    /// Operations of the median, in 10^9 a second.
    pub gflops: f64,
    /// Bytes read and written once, in 10^9 a second.
    pub gbps: f64,
}

pub(super) const RATE: f64 = 5e-4;

/// Times steps of `work` on `device`.
///
/// # Errors
/// What the device answers, and a method that does not take such bags.
pub fn time(device: &Device, work: &Work, settings: &Settings) -> Result<Row> {
    let Started { mut session, optimiser, windows, bags } =
        work.started(device, (settings.half, settings.precision), settings.memory)?;
    let first_step_ms = settings.since.map(|since| since.elapsed().as_secs_f64() * 1e3);
    let run = |session: &mut Session, steps: usize| -> Result<[f64; 2]> {
        let start = Instant::now();
        for _ in 0..steps {
            match &bags {
                Some(bags) => step(session, bags, &optimiser)?,
                None => session.repeat_step(&optimiser, RATE)?,
            }
        }
        let submitted = start.elapsed();
        session.executor().wait()?;
        Ok([start.elapsed(), submitted].map(|t| t.as_secs_f64() * 1e6 / steps as f64))
    };
    // Warm up for a quarter of a second: clocks rise, caches and branch predictors fill.
    let (start, mut warm) = (Instant::now(), Vec::new());
    while warm.len() < 3 || (start.elapsed().as_secs_f64() < 0.25 && warm.len() < 1000) {
        warm.push(run(&mut session, 1)?[0]);
    }
    // On the host every step is waited for anyway. A GPU is kept busy: while one step runs, the next is
    // recorded, as in training.
    let steps_each = match device {
        Device::Gpu(_) => (20_000.0 / median(warm)).ceil().clamp(1.0, 100.0) as usize,
        _ => 1,
    };
    let repeats = settings.repeats.max(1);
    let (mut times, mut submitted) = (Vec::with_capacity(repeats), Vec::with_capacity(repeats));
    let before = session.executor().counters();
    for _ in 0..repeats {
        let [whole, host] = run(&mut session, steps_each)?;
        times.push(whole);
        submitted.push(host);
    }
    let after = session.executor().counters();
    let each = |after: u64, before: u64| (after - before) as f64 / (repeats * steps_each) as f64;
    let (_, peak_bytes) = session.executor().memory();
    let launches = match settings.profile && !windows {
        true => launches(&mut session, &optimiser, settings.half, settings.repeats)?,
        false => Vec::new(),
    };
    let median_us = median(times.clone());
    let (flops, predicted_bytes) = match work {
        Work::Gated(shape) => {
            let staged = matches!(device, Device::Gpu(_));
            (shape.flops(), Some(shape.predicted_bytes(settings.half, staged)))
        }
        Work::Method(..) => (arithmetic(&mut session, &optimiser, settings.half)?, None),
    };
    Ok(Row {
        shape: work.name(),
        precision: settings.precision,
        device: device.description(),
        median_us,
        min_us: times.iter().copied().fold(f64::INFINITY, f64::min),
        first_step_ms,
        steps_each,
        gflops: flops / median_us / 1e3,
        peak_bytes,
        predicted_bytes,
        windows,
        host_us: median(submitted),
        dispatches: each(after.dispatches, before.dispatches),
        submissions: each(after.submissions, before.submissions),
        idle: (!launches.is_empty()).then(|| {
            let busy: f64 = launches.iter().map(|l| l.median_us).sum();
            (1.0 - busy / median_us).max(0.0)
        }),
        launches,
    })
}

/// The time of each launch of a step.
pub(super) fn launches(
    session: &mut Session,
    optimiser: &Optimiser,
    half: bool,
    repeats: usize,
) -> Result<Vec<LaunchTime>> {
    let id = session.prepare(Purpose::Train(*optimiser))?;
    // What a teacher masks is not in the tables of the batch that ran last.
    let extent = session.extent();
    let scalars = session.scalars(optimiser, RATE);
    let rows = super::loaded::profile(session.executor(), id, extent, scalars, &[], half, repeats)?;
    let time = |r: Launched| LaunchTime {
        gflops: r.cost.flops as f64 / r.us / 1e3,
        gbps: r.cost.bytes as f64 / r.us / 1e3,
        kernel: r.kernel,
        shape: r.shape,
        median_us: r.us,
        min_us: r.least_us,
    };
    Ok(rows.into_iter().map(time).collect())
}

/// Operations of all launches of a step; of a student that sees everything, without its teacher's.
fn arithmetic(session: &mut Session, optimiser: &Optimiser, half: bool) -> Result<f64> {
    let id = session.prepare(Purpose::Train(*optimiser))?;
    let program = session.executor().program(id);
    Ok(program.launches.iter().map(|l| cost(l, &program.capacity, half).flops as f64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings =
        Settings { repeats: 1, half: false, precision: Precision::F32, profile: true, memory: None, since: None };

    #[test]
    fn the_first_step_is_told_from_the_time_given() {
        let work = Work::Gated("20,8,8,4".parse().unwrap());
        let since = Instant::now() - std::time::Duration::from_secs(1);
        let told = |since| time(&Device::host(), &work, &Settings { since, ..SETTINGS }).unwrap().first_step_ms;
        assert!(told(Some(since)).unwrap() > 1000.0 && told(None).is_none());
    }

    #[test]
    fn steps_in_mixed_precision_are_told_as_such() {
        let settings = Settings { precision: Precision::Mixed, profile: false, ..SETTINGS };
        let row = time(&Device::host(), &Work::Gated("20,8,8,4".parse().unwrap()), &settings).unwrap();
        assert!(row.precision == Precision::Mixed && row.median_us > 0.0);
        let with_launches =
            time(&Device::host(), &Work::Gated("20,8,8,4".parse().unwrap()), &Settings { profile: true, ..settings });
        assert!(with_launches.unwrap().launches.iter().any(|l| l.kernel == "unscale"));
    }

    #[test]
    fn shapes_read_back() {
        for text in ["10000,1024,512,256", "12x32,166,128,64"] {
            assert_eq!(text.parse::<Shape>().unwrap().to_string(), text);
        }
        for text in ["10000,1024", "12x32,166"] {
            assert_eq!(text.parse::<Batch>().unwrap().to_string(), text);
            assert!(text.parse::<Shape>().is_err());
        }
        for text in ["", "1,2,3", "0,1,1,1", "1,2,3,4,5", "2x,1,1,1", "ax2,1,1,1"] {
            assert!(text.parse::<Shape>().unwrap_err().to_string().contains("SIZExBAGS"), "{text}");
        }
    }

    #[test]
    fn the_formula_counts_the_parameters_of_the_method() {
        let shape: Shape = "64,166,128,32".parse().unwrap();
        let settings = GatedAttention { embed: vec![128], attention: 32, ..Default::default() };
        let model = Model::new(Spec::new(settings.into(), 166, 2), 1).unwrap();
        assert_eq!(shape.parameters(), model.parameter_count());
    }

    #[test]
    fn the_host_holds_about_what_is_predicted() {
        let shape: Shape = "500x3,101,64,32".parse().unwrap();
        for half in [false, true] {
            let row = time(&Device::host(), &Work::Gated(shape), &Settings { half, ..SETTINGS }).unwrap();
            let predicted = row.predicted_bytes.unwrap();
            let ratio = row.peak_bytes as f64 / predicted as f64;
            assert!((0.95..1.1).contains(&ratio), "{} held, {predicted} predicted", row.peak_bytes);
            assert!(row.launches.len() > 10 && row.min_us <= row.median_us);
        }
    }

    /// A step of a student asks its teacher first, so it needs its bags whole.
    #[test]
    fn steps_of_students_keep_their_bags() {
        let batch: Batch = "20x2,16".parse().unwrap();
        for method in Method::all() {
            let taught = method.name().starts_with("mhim");
            let started = Work::Method(method, batch).started(&Device::host(), (false, Precision::F32), None).unwrap();
            assert_eq!((started.windows, started.bags.is_some()), (false, taught));
        }
    }

    #[test]
    fn every_method_is_timed() {
        // A student that misses one of 26 has fewer tokens than its bags.
        let batch: Batch = "26x2,16".parse().unwrap();
        for method in Method::all() {
            let row = time(&Device::host(), &Work::Method(method, batch), &SETTINGS).unwrap();
            assert!(row.gflops > 0.0 && !row.launches.is_empty(), "{row:?}");
        }
    }
}
