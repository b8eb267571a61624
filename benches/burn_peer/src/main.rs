//! Times the training step of `bagrad bench --steps` in burn, as JSON of the same fields.
//!
//!     burn-peer --device host|gpu [--seconds S | --repeats N] --steps SHAPE...
//!     burn-peer --device ... --check [--steps SHAPE...]     compares with plain loops in f64
//!     burn-peer --device ... --serve     for each line `SHAPE SECONDS` of stdin, a line of such JSON
//!
//! `host` is burn's flex, `gpu` its wgpu (`CUBECL_WGPU_DEFAULT_DEVICE` names
//! another adapter than its first choice). A packed batch is timed in two forms, a row each.

mod check;
mod step;

use burn::tensor::{Device, DeviceKind};
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use step::{Form, Shape, Training};

struct Arguments {
    device: String,
    steps: Vec<String>,
    seconds: f64,
    repeats: usize,
    check: bool,
    serve: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut found =
        Arguments { device: "host".into(), steps: Vec::new(), seconds: 0.0, repeats: 30, check: false, serve: false };
    let mut given = std::env::args().skip(1).peekable();
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} wants a value"));
        match name.as_str() {
            "--device" => found.device = value()?,
            "--seconds" => {
                found.seconds = value()?.parse().map_err(|_| "--seconds: not a number")?;
                found.repeats = 3;
            }
            "--repeats" => found.repeats = value()?.parse().map_err(|_| "--repeats: not a number")?,
            "--check" => found.check = true,
            "--serve" => found.serve = true,
            "--steps" => {
                while let Some(shape) = given.next_if(|a| !a.starts_with("--")) {
                    found.steps.push(shape);
                }
            }
            other => return Err(format!("what is {other}?")),
        }
    }
    if found.steps.is_empty() && found.check {
        found.steps = ["37,19,16,8", "5x3,19,16,8"].map(String::from).into();
    }
    Ok(found)
}

fn device(name: &str) -> Result<Device, String> {
    let device = match name {
        "host" => Device::flex(),
        "gpu" => Device::wgpu(DeviceKind::DefaultDevice),
        other => return Err(format!("--device {other}: host or gpu")),
    };
    Ok(device.autodiff())
}

fn shape(text: &str) -> Result<Shape, String> {
    Shape::read(text).ok_or(format!("{text}: expected N,D,H,L or SIZExBAGS,D,H,L"))
}

/// A step that can be timed again and again.
struct Prepared {
    text: String,
    form: Form,
    training: Training,
    /// Steps between two waits, as bagrad has them: on a GPU about 20 milliseconds, as in training.
    each: usize,
    first_ms: f64,
    warm_ms: f64,
}

impl Prepared {
    /// All forms of a shape; each has run until burn has chosen its kernels and the time of a step has settled.
    fn all(text: &str, device: &Device, gpu: bool, begin: Instant) -> Result<Vec<Self>, String> {
        let shape = shape(text)?;
        let prepare = |form: &Form| {
            let mut training = Training::new(shape, *form, device);
            training.steps(1);
            let first_ms = begin.elapsed().as_secs_f64() * 1e3;
            let (warm, mut times) = (Instant::now(), Vec::new());
            while times.len() < 5 || warm.elapsed() < Duration::from_secs(1) {
                times.push(timed(&mut training, 1));
            }
            let warm_ms = warm.elapsed().as_secs_f64() * 1e3;
            let each = if gpu { (20_000.0 / median(&mut times)).ceil().clamp(1.0, 100.0) as usize } else { 1 };
            Self { text: text.into(), form: *form, training, each, first_ms, warm_ms }
        };
        Ok(Form::of(shape).iter().map(prepare).collect())
    }

    /// Times steps until both the seconds and the repeats are over; a line of JSON.
    fn time(&mut self, seconds: f64, repeats: usize, device: &str) -> String {
        // The caches went cold while another program ran.
        self.training.steps(1);
        let (begin, mut times) = (Instant::now(), Vec::new());
        while times.len() < repeats.max(1) || begin.elapsed().as_secs_f64() < seconds {
            times.push(timed(&mut self.training, self.each));
        }
        let (median, least) = (median(&mut times), times[0]);
        let Self { text, form, each, first_ms, warm_ms, .. } = self;
        let form = form.name();
        format!(
            r#"{{"shape": "{text}", "form": "{form}", "device": "{device}", "median_us": {median:.3}, "min_us": {least:.3}, "steps_each": {each}, "repeats": {}, "first_step_ms": {first_ms:.1}, "warm_ms": {warm_ms:.1}}}"#,
            times.len(),
        )
    }
}

/// Microseconds of a step, over `count` of them.
fn timed(training: &mut Training, count: usize) -> f64 {
    let start = Instant::now();
    training.steps(count);
    start.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2] + values[(values.len() - 1) / 2]) / 2.0
}

fn run() -> Result<(), String> {
    let begin = Instant::now();
    let Arguments { device: name, steps, seconds, repeats, check, serve } = arguments()?;
    let (device, gpu) = (device(&name)?, name == "gpu");
    if check {
        for text in &steps {
            let shape = shape(text)?;
            for form in Form::of(shape) {
                let told = check::check(Training::new(shape, *form, &device))
                    .map_err(|e| format!("{text}, {}: {e}", form.name()))?;
                println!("{text}, {}: {told}", form.name());
            }
        }
        return Ok(());
    }
    let mut kept = Vec::new();
    for text in &steps {
        kept.extend(Prepared::all(text, &device, gpu, begin)?);
    }
    if !serve {
        let rows: Vec<String> = kept.iter_mut().map(|p| p.time(seconds, repeats, &name)).collect();
        println!("[{}]", rows.join(", "));
        return Ok(());
    }
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|e| e.to_string())?;
        let (text, seconds) = line.split_once(' ').ok_or("expected SHAPE SECONDS")?;
        let seconds = seconds.parse().map_err(|_| "SECONDS: not a number")?;
        if !kept.iter().any(|p| p.text == text) {
            kept.extend(Prepared::all(text, &device, gpu, begin)?);
        }
        let rows: Vec<String> = kept.iter_mut().filter(|p| p.text == text).map(|p| p.time(seconds, 3, &name)).collect();
        println!("[{}]", rows.join(", "));
        std::io::stdout().flush().map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("burn-peer: {message}");
            ExitCode::FAILURE
        }
    }
}
