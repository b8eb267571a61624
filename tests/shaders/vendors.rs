//! What every GPU is asked for: all kernels of the benchmark, a step of every method at the widths that encoders have,
//! and every variant of every shader. On a real GPU, or on a driver that computes nothing, which `tests/drivers vendors`
//! starts this on. RESULTS ARE NOT LOOKED AT HERE.
//!
//! Without such a driver the same is planned and recorded on wgpu's `noop` device: panics of planning, limits and
//! validation show there too; compilers do not.

use bagrad::bench::cases::Sizes;
use bagrad::bench::kernels::{self as bench, Rounds};
use bagrad::device::gpu::preprocess::preprocess;
use bagrad::device::{Device, DeviceChoice, GpuDevice, GpuOptions};
use bagrad::kernels::launch::Variant;
use bagrad::kernels::{self, Kernel};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::plan::{Class, Family, PlanAs};
use bagrad::precision::LossScale;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features};
use half::f16;
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

/// Features of an instance, as encoders of patches write them, and one that is a multiple of nothing.
const WIDTHS: [usize; 8] = [384, 512, 768, 1024, 1025, 1536, 2560, 4608];

/// Instances of the bags: one, a tile and one more, and enough for sums over instances to be split.
const BAG_SIZES: [usize; 3] = [1, 65, 1300];

/// What pipelines were asked for, in order.
static COMPILED: Mutex<Vec<(String, Variant)>> = Mutex::new(Vec::new());

/// Notes a pipeline; in the file that `BAGRAD_TEST_NOTE` names too, for one that takes the process down.
fn note(kernel: &Kernel, variant: &Variant) {
    COMPILED.lock().unwrap().push((kernel.name.to_owned(), variant.clone()));
    tell(&format!("compiling {}", named(kernel, variant)));
}

fn named(kernel: &Kernel, variant: &[(&'static str, u32)]) -> String {
    let set: Vec<String> = variant.iter().filter(|v| v.1 != 0).map(|v| format!("{}={}", v.0, v.1)).collect();
    format!("kernel {} [{}] of shaders/{}.wgsl", kernel.name, set.join(" "), kernel.file)
}

fn tell(doing: &str) {
    if let Some(path) = std::env::var_os("BAGRAD_TEST_NOTE") {
        std::fs::write(path, doing).unwrap();
    }
}

/// A GPU with what went wrong on it.
struct Gpu {
    name: String,
    device: GpuDevice,
    failures: Vec<String>,
}

impl Gpu {
    /// Runs `f`; an error or a panic is a failure, and the next thing is tried.
    fn attempt(&mut self, what: &str, f: impl FnOnce(&Device) -> bagrad::Result<()>) {
        let device = Device::Gpu(self.device.clone());
        tell(what);
        let failure = match catch_unwind(AssertUnwindSafe(|| f(&device))) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                format!("panicked: {}", text.unwrap_or_default())
            }
        };
        eprintln!("FAILED on {}: {what}: {failure}", self.name);
        self.failures.push(format!("{what}: {failure}"));
    }

    fn bench(&mut self, sizes: Sizes) {
        let once = Rounds { rounds: 1, repeats: 1 };
        self.attempt(&format!("bench of all kernels, {sizes:?}"), |device| {
            bench::measure(device, sizes, "", once).map(|_| ())
        });
    }

    /// One update and one prediction of a method.
    fn step(&mut self, method: &Method, bags: &Bags, how: How) {
        let what = format!("{} on {} features, {how:?}", method.name(), bags.width);
        self.attempt(&what, |device| {
            let storage = if matches!(bags.features, Features::F16(_)) { Storage::F16 } else { Storage::F32 };
            let model = Model::new(Spec::new(method.clone(), bags.width, how.classes), 1)?;
            let mut session = Session::new(device, model, storage)?;
            session.limit_bindings(how.binding);
            session.set_mixed(how.mixed.then(LossScale::default))?;
            session.executor().reserve_history(1)?;
            let all: Vec<usize> = (0..bags.len()).collect();
            let even = vec![1.0 / bags.len() as f32; bags.len()];
            let optimiser = method.recipe().optimiser;
            session.train_step(bags, &all, &even, None, (&optimiser, 1e-3), Some(0))?;
            session.outputs(bags, &all, None)?;
            session.executor().wait()
        });
    }

    /// Plain and with all halves at every width; half features alone, and mixed precision alone, at two of them.
    fn steps(&mut self, widths: &[usize]) {
        for &width in widths {
            let both = [768, 1025].contains(&width);
            for half in [false, true] {
                let bags = bags(&BAG_SIZES, width, half);
                for method in Method::all() {
                    // Its layers are as wide as the features, and their square of 4608 is more than some devices bind.
                    let method = match method.name() {
                        "gnn-mil" => method.with(serde_json::json!({ "hidden": 512 }).as_object().unwrap()).unwrap(),
                        _ => method,
                    };
                    for mixed in [false, true].into_iter().filter(|mixed| both || *mixed == half) {
                        let classes = if mixed || method.name() == "mirel" { 2 } else { 3 };
                        self.step(&method, &bags, How { half, mixed, classes, binding: None });
                    }
                }
            }
        }
    }

    /// Bindings too small for the features and for what is computed of them: windows of rows, or blocks of columns.
    fn parts(&mut self, widths: &[usize]) {
        for (n, &width) in widths.iter().enumerate() {
            let half = n % 2 == 1;
            // MIVAE compares its reconstruction with the features, whole; the transformer adds them to its rows; SA-AbMILP has
            // one head, which cannot be parted, nor can graphs.
            let whole = ["mivae", "transformer", "sa-abmilp", "gnn-mil"];
            let parted = |method: &Method| !whole.contains(&method.name());
            for method in Method::all().into_iter().filter(parted) {
                // Batch norm needs all instances of a batch at once.
                let without = serde_json::json!({ "batch_norm": false });
                let method = if method.name() == "additive" {
                    method.with(without.as_object().unwrap()).unwrap()
                } else {
                    method
                };
                // All parameters still fit, as an update binds them at once; as many rows as this do not.
                let model = Model::new(Spec::new(method.clone(), width, 2), 1).unwrap();
                // Those included that nothing trains.
                let values: usize = model.parameters().iter().map(|p| p.shape.iter().product::<usize>()).sum();
                let binding = (5 * values).max(2 << 20).next_multiple_of(256);
                let bags = bags(&[1, binding / (4 * width.min(512)) + 500], width, half);
                self.step(&method, &bags, How { half, mixed: half, classes: 2, binding: Some(binding as u64) });
            }
        }
    }

    /// What of the list no plan has asked for yet, but only the share `part` of `parts`. Variants with the same text are
    /// compiled once.
    fn variants(&mut self, (part, parts): (usize, usize)) -> usize {
        let by_name = |name: &str| kernels::all().into_iter().find(|k| k.name == name).expect("a kernel");
        let planned = COMPILED.lock().unwrap().clone();
        let text = |k: &Kernel, v: &[(&'static str, u32)]| (k.entry, preprocess(k.file, v));
        let listed: HashSet<_> =
            kernels::all().into_iter().flat_map(|k| super::variants(k).into_iter().map(move |v| text(k, &v))).collect();
        let mut seen = HashSet::new();
        for (name, variant) in &planned {
            let kernel = by_name(name);
            let text = text(kernel, variant);
            if !listed.contains(&text) {
                let what = named(kernel, variant);
                self.failures.push(format!("{what} is planned, and not in the list of variants in tests/shaders"));
            }
            seen.insert(text);
        }
        let native = self.device.target().native_f16;
        let subgroups = self.device.features().contains(wgpu::Features::SUBGROUP);
        let sides: Vec<u32> = self.device.cooperative_tiles().iter().map(|t| t.m_size).collect();
        for kernel in kernels::all() {
            for (n, variant) in super::variants(kernel).into_iter().enumerate() {
                let reached = match kernel.file {
                    _ if kernel.reduces && !subgroups && variant.contains(&("SUBGROUPS", 1)) => false,
                    "matmul_coop" => subgroups && sides.iter().any(|side| variant.contains(&("SIDE", *side))),
                    _ => reached(&variant, native),
                };
                if reached && n % parts == part && seen.insert(text(kernel, &variant)) {
                    self.attempt(&named(kernel, &variant), |device| match device {
                        Device::Gpu(gpu) => gpu.compile(kernel, &variant),
                        _ => unreachable!("a GPU was opened"),
                    });
                }
            }
        }
        seen.len()
    }
}

/// False for variants of drivers on the CPU, and of devices with f16 where this one has none or the other way round.
fn reached(variant: &[(&'static str, u32)], native: bool) -> bool {
    let is = |name| variant.iter().any(|v| v.0 == name && v.1 != 0);
    let half = ["A_F16", "B_F16", "HALF"].into_iter().any(is);
    let cpu = ["REGISTER", "SMALL", "SUBGROUP8"].into_iter().any(is);
    !cpu && is("NATIVE_F16") == (half && native)
}

/// How a step is taken.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "all of it is printed where a step fails")]
struct How {
    /// Features in f16.
    half: bool,
    /// Mixed precision.
    mixed: bool,
    classes: usize,
    /// Bytes that may be bound at once.
    binding: Option<u64>,
}

fn bags(sizes: &[usize], width: usize, half: bool) -> Bags {
    let count: usize = sizes.iter().sum();
    let values = (0..count * width).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0);
    let features = match half {
        false => Features::F32(values.collect()),
        true => Features::F16(values.map(f16::from_f32).collect()),
    };
    let labels = (0..sizes.len() as u32).map(|b| b % 2).collect();
    let mut bags = Bags::packed(features, width, sizes).unwrap().with_labels(labels).unwrap();
    bags.coords = Some((0..count).map(|i| [(i % 40) as f32 * 256.0, (i / 40) as f32 * 256.0]).collect());
    bags
}

/// With the limits that WebGPU promises, and four sizes and makes of GPU.
#[test]
fn every_class_of_gpu_is_planned_and_recorded() {
    for (family, units) in [(Family::Adreno, 2), (Family::Apple, 8), (Family::Gcn, 40), (Family::Nvidia, 200)] {
        let plan_as = Some(PlanAs::gpu(family, units));
        let device = GpuDevice::noop(GpuOptions { plan_as, ..Default::default() }).unwrap();
        let mut gpu = Gpu { name: format!("noop as {family:?} with {units} units"), device, failures: Vec::new() };
        match family {
            Family::Adreno => gpu.steps(&[1025]),
            Family::Apple => gpu.parts(&[384]),
            Family::Gcn => gpu.bench(Sizes::Small),
            _ => gpu.steps(&[384, 4608]),
        }
        assert!(gpu.failures.is_empty(), "{:#?}", gpu.failures);
    }
}

/// Started by `tests/drivers vendors`: on the GPU `BAGRAD_TEST_DEVICE`, which `BAGRAD_TEST_GPU` calls by its name.
#[test]
#[ignore = "tests/drivers vendors starts it on the driver of each GPU"]
fn a_gpu_compiles_and_takes_everything() {
    let name = std::env::var("BAGRAD_TEST_GPU").expect("BAGRAD_TEST_GPU names the GPU");
    let choice: DeviceChoice = std::env::var("BAGRAD_TEST_DEVICE").as_deref().unwrap_or("gpu:0").parse().unwrap();
    let options = GpuOptions { compiling: Some(note), ..Default::default() };
    let Device::Gpu(device) = Device::open_with(&choice, options).unwrap().device else { panic!("{choice} is no GPU") };
    assert_eq!(device.target().class, Class::Gpu, "{}", device.description());
    // GPUs with the same compiler share what no plan asks for: `1/3` is the first of three.
    let share = std::env::var("BAGRAD_TEST_SHARE").unwrap_or_else(|_| "1/1".to_string());
    let parse = |(part, parts): (&str, &str)| Some((part.parse::<usize>().ok()? - 1, parts.parse().ok()?));
    let share = share.split_once('/').and_then(parse).expect("BAGRAD_TEST_SHARE is like 1/3");
    let begin = Instant::now();
    let mut gpu = Gpu { name, device, failures: Vec::new() };
    let said = |what: &str| {
        let (seconds, pipelines) = (begin.elapsed().as_secs_f64(), COMPILED.lock().unwrap().len());
        eprintln!("{what}: after {seconds:.1} s ({:.1} s of processor), {pipelines} pipelines", processor_seconds());
    };
    gpu.bench(Sizes::Small);
    gpu.bench(Sizes::Mil);
    said("benchmarks of all kernels");
    gpu.steps(&WIDTHS);
    said("steps of all methods");
    gpu.parts(&[384, 1025]);
    said("in windows and blocks");
    let planned = COMPILED.lock().unwrap().len();
    let variants = gpu.variants(share);
    said("variants");
    let pipelines = COMPILED.lock().unwrap().len();
    let Gpu { name, device, failures } = gpu;
    println!(
        "{name}: {variants} variants, {pipelines} pipelines, {planned} of them planned; {:.0} s, {:.0} s of processor; \
         {} failed; {}",
        begin.elapsed().as_secs_f64(),
        processor_seconds(),
        failures.len(),
        device.description(),
    );
    assert!(failures.is_empty(), "{name}: {failures:#?}");
}

/// Of this process, where the system tells.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}
