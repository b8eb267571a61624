//! Devices and executors: the same programs on the host, on a GPU, and on a device that only records.
//!
//! A machine without any adapter fails here, because half of the engine would go untested; set
//! BAGRAD_HOST_ONLY=1 where that is meant.

use bagrad::Error;
use bagrad::device::executor::{Executor, Step, Upload};
use bagrad::device::gpu::Checked;
use bagrad::device::{Checks, Device, DeviceChoice, GpuDevice, GpuOptions, list};
use bagrad::kernels::launch::{BufferKey, Count, Dim, Extent, Grid, Input, Launch, Place, Scalars, Word};
use bagrad::kernels::{self, Binding, elementwise, matmul};
use bagrad::plan::{Family, PlanAs, Program, Target};
use bagrad::tape::Storage;
use half::f16;

const FEATURES: BufferKey = BufferKey::Input(Input::Features);

/// An adapter, software ones included; `None` only when that was agreed to.
fn gpu_with(options: GpuOptions) -> Option<Device> {
    let (adapters, _) = list();
    if adapters.is_empty() {
        let agreed = std::env::var("BAGRAD_HOST_ONLY").is_ok_and(|v| v == "1");
        assert!(agreed, "no adapter: install a Vulkan driver (Mesa's lavapipe will do) or set BAGRAD_HOST_ONLY=1");
        eprintln!("######## BAGRAD_HOST_ONLY: NOTHING WAS TESTED ON A GPU ########");
        return None;
    }
    let choice = DeviceChoice::from_env().unwrap();
    let choice = match choice {
        DeviceChoice::Auto | DeviceChoice::Host => DeviceChoice::Index(0),
        other => other,
    };
    let options = GpuOptions { checked: Some(true), ..options };
    Some(Device::open_with(&choice, options).expect("the adapter opens").device)
}

fn gpu() -> Option<Device> {
    gpu_with(GpuOptions::default())
}

/// A device that computes what is known is handed out, with the tiles of a CPU driver and those of a GPU; one whose
/// results are off is not, and the message tells which. Checks that are left out say so.
#[test]
fn a_device_is_asked_for_what_is_known() {
    for plan_as in [None, Some(PlanAs::gpu(Family::Unknown, 16))] {
        let options = GpuOptions { checks: Checks::Always, plan_as, checked: Some(true), ..GpuOptions::default() };
        let Some(Device::Gpu(gpu)) = gpu_with(options) else { return };
        let known = gpu.checked().unwrap();
        assert!(matches!(known, Checked::Passed { milliseconds, results: 13 } if milliseconds > 0.0), "{known}");
        eprintln!("{}: {known}", gpu.name());
    }
    let first = DeviceChoice::Index(0);
    let off = GpuOptions { checks: Checks::Always, fail_self_test: true, ..GpuOptions::default() };
    let refused = Device::open_with(&first, off).err().expect("it is off").to_string();
    for part in ["was refused", "results of unpack and sum_rows differ by 1.0e0", "BAGRAD_SKIP_DEVICE_CHECK=1"] {
        assert!(refused.contains(part), "{refused}");
    }
    let Device::Gpu(left) = Device::open_with(&first, GpuOptions { checks: Checks::Never, ..off }).unwrap().device
    else {
        panic!("a number is that of an adapter")
    };
    assert!(matches!(left.checked().unwrap(), Checked::Not(why) if why.contains("on request")));
}

fn noop() -> Device {
    Device::Gpu(GpuDevice::noop(GpuOptions::default()).unwrap())
}

fn slot(n: u16, values: usize) -> Place {
    Place { buffer: BufferKey::Slot(n), offset: 0, bytes: bytes(values) }
}

fn bytes(values: usize) -> u64 {
    (values as u64 * 4).next_multiple_of(256)
}

const WIDTH: u32 = 12;

/// slot 0 = features dense, slot 1 = slot 0 times W^T (W is 8 by 12 in the parameters), slot 2 = 0.5.
fn program(target: &Target, capacity: u32, half: bool) -> Program {
    let n = Dim::Instances;
    let (rows, outputs) = (capacity as usize, 8);
    let size = if half { 2 } else { 4 };
    let feature_bytes = (rows as u64 * WIDTH as u64 * size).next_multiple_of(256);
    let features = Place { buffer: FEATURES, offset: 0, bytes: feature_bytes };
    let weights = Place { buffer: BufferKey::Params, offset: 256, bytes: bytes(8 * WIDTH as usize) };
    let (dense, product, constant) = (slot(0, rows * WIDTH as usize), slot(1, rows * outputs), slot(2, rows));
    let unpack = Launch {
        kernel: &elementwise::UNPACK,
        variant: matmul::half_variant(target, half),
        places: vec![features, dense],
        words: vec![n.into(), WIDTH.into(), WIDTH.into()],
        grid: Grid::line(Count::per(n, WIDTH, 64)),
    };
    let form = matmul::Form { a_t: false, b_t: true, a_half: false, b_half: false, rounded: false };
    let tile = matmul::choose(target, &form, capacity, 8, [WIDTH, WIDTH, 8]);
    let multiply = Launch {
        kernel: &matmul::MATMUL,
        places: vec![dense, weights, weights, product],
        words: vec![
            n.into(),
            8.into(),
            WIDTH.into(),
            WIDTH.into(),
            WIDTH.into(),
            8.into(),
            // On the host: the right factor is stored transposed.
            8.into(),
            0.into(),
            0f32.into(),
            u32::MAX.into(),
            0.into(),
            Word::GroupsX,
        ],
        grid: Grid::plane(Count::per(n, 1, tile.rows), Count::per(Dim::Fixed(8), 1, tile.cols)),
        variant: tile.variant,
    };
    let fill = Launch {
        kernel: &elementwise::FILL,
        variant: Vec::new(),
        places: vec![constant],
        words: vec![n.into(), 0.5f32.into()],
        grid: Grid::line(Count::per(n, 1, 256)),
    };
    Program {
        launches: vec![unpack, multiply, fill],
        slots: vec![dense.bytes, product.bytes, constant.bytes],
        capacity: Extent { instances: capacity, bags: 1, tiles: capacity, ..Default::default() },
        outputs: Vec::new(),
        loss: None,
        feature_grad: None,
        inputs: vec![(FEATURES, feature_bytes)],
    }
}

fn rows(n: usize) -> Vec<f32> {
    (0..n * WIDTH as usize).map(|i| ((i * 37) % 29) as f32 / 8.0 - 1.5).collect()
}

fn weights() -> Vec<f32> {
    (0..8 * WIDTH as usize).map(|i| ((i * 11) % 17) as f32 / 16.0 - 0.5).collect()
}

fn expected(x: &[f32]) -> Vec<f64> {
    let w = weights();
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a * b) as f64).sum::<f64>();
    let row = |x: &[f32]| w.chunks(WIDTH as usize).map(|w| dot(x, w)).collect::<Vec<_>>();
    x.chunks(WIDTH as usize).flat_map(row).collect()
}

fn executor(device: &Device) -> Executor {
    let mut executor = Executor::new(device);
    executor.ensure(BufferKey::Params, 256 + bytes(8 * WIDTH as usize)).unwrap();
    executor.write(BufferKey::Params, 64, &weights()).unwrap();
    executor
}

fn extent(n: usize) -> Extent {
    Extent { instances: n as u32, bags: 1, tiles: n as u32, ..Default::default() }
}

fn step<'a>(n: usize, uploads: &'a [Upload<'a>], keep: &'a [(Place, u32, u32)]) -> Step<'a> {
    Step { extent: extent(n), scalars: Scalars::default(), uploads, keep }
}

fn close(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    let pairs = found.iter().zip(wanted).enumerate();
    pairs.for_each(|(i, (f, w))| assert!((f - w).abs() < 1e-4, "value {i}: {f} instead of {w}"));
}

/// Everything an executor does, compared with plain arithmetic.
fn exercise(device: &Device) {
    let mut e = executor(device);
    let id = e.load(program(&device.target(), 100, false)).unwrap();
    e.poison().unwrap();
    e.reserve_history(8).unwrap();
    // Fewer rows than planned for, twice with different data, values kept in between.
    let (first, second) = (rows(70), rows(100));
    let kept = slot(1, 800);
    e.run(id, &step(70, &[Upload::F32(FEATURES, &first)], &[(kept, 3, 0)])).unwrap();
    let after_first = e.read(kept, 560).unwrap();
    close(&after_first, &expected(&first));
    assert!(e.read(kept, 568).unwrap()[560..].iter().all(|v| v.is_nan()), "rows behind the batch were written");
    e.reserve_history(1000).unwrap();
    e.run(id, &step(100, &[Upload::F32(FEATURES, &second)], &[(kept, 800, 100)])).unwrap();
    let history = e.history(900).unwrap();
    assert!(history[..3].iter().zip(&after_first).all(|(h, a)| (*h as f64 - a).abs() < 1e-6));
    close(&history[100..].iter().map(|v| *v as f64).collect::<Vec<_>>(), &expected(&second));
    assert_eq!(e.read_f32(slot(2, 100), 100).unwrap(), [0.5; 100]);

    // From a store, in two parts, the second half first.
    let store = e.store(bytemuck::cast_slice(&second), Storage::F32).unwrap().expect("room");
    let half = 50 * WIDTH as u64 * 4;
    let part = |to, from| Upload::Stored { key: FEATURES, to, store, from, bytes: half };
    e.run(id, &step(100, &[part(0, half), part(half, 0)], &[])).unwrap();
    let swapped: Vec<f64> = expected(&second[600..]).into_iter().chain(expected(&second[..600])).collect();
    close(&e.read(kept, 800).unwrap(), &swapped);

    // A larger program under the same name.
    let more = rows(300);
    e.reload(id, program(&device.target(), 300, false)).unwrap();
    e.run(id, &step(300, &[Upload::F32(FEATURES, &more)], &[])).unwrap();
    close(&e.read(slot(1, 2400), 2400).unwrap(), &expected(&more));
    let profile = e.profile(id, &step(300, &[Upload::F32(FEATURES, &more)], &[])).unwrap();
    assert_eq!(profile.iter().map(|p| p.0).collect::<Vec<_>>(), ["unpack", "matmul", "fill"]);
    assert!(profile.iter().all(|p| p.1 >= 0.0 && p.1 < 1e10));
    assert_eq!(e.time_runs(id, &step(300, &[], &[]), 3).unwrap().len(), 3);
    let (now, most) = e.memory();
    assert!(now > 0 && most >= now, "{now} {most}");
    e.wait().unwrap();
}

/// Features in f16, uploaded and stored.
fn exercise_half(device: &Device) {
    let mut e = executor(device);
    let id = e.load(program(&device.target(), 40, true)).unwrap();
    let x: Vec<f16> = rows(33).iter().map(|v| f16::from_f32(*v)).collect();
    let wide: Vec<f32> = x.iter().map(|v| v.to_f32()).collect();
    e.run(id, &step(33, &[Upload::F16(FEATURES, &x)], &[])).unwrap();
    close(&e.read(slot(1, 264), 264).unwrap(), &expected(&wide));
    let store = e.store(bytemuck::cast_slice(&x), Storage::F16).unwrap().expect("room");
    let bytes = 11 * WIDTH as u64 * 2;
    let upload = Upload::Stored { key: FEATURES, to: 0, store, from: bytes, bytes };
    e.run(id, &step(11, &[upload], &[])).unwrap();
    close(&e.read(slot(1, 88), 88).unwrap(), &expected(&wide[11 * WIDTH as usize..22 * WIDTH as usize]));
}

/// The parts of a split product, with bias and activation, into rows of a matrix that is wider than they are; then once
/// more on top.
fn add_parts(device: &Device) {
    const M: usize = 3;
    const N: usize = 5;
    const WIDER: usize = 8;
    const PARTS: usize = 3;
    let value = |i: usize| ((i * 7) % 11) as f32 / 4.0 - 1.0;
    let (parts, bias): (Vec<f32>, Vec<f32>) = ((0..PARTS * M * N).map(value).collect(), (0..N).map(value).collect());
    let sum = |i: usize| (0..PARTS).map(|part| parts[part * M * N + i]).sum::<f32>() + bias[i % N];
    let place = |offset: u64, values: usize| Place { buffer: BufferKey::Params, offset, bytes: bytes(values) };
    let (read, added, written) = (place(0, parts.len()), place(256, N), slot(0, M * WIDER));
    let words = [M, N, WIDER].map(|v| Word::U(v as u32));
    let launch = |accumulate: u32| Launch {
        kernel: &kernels::parts::ADD_PARTS,
        variant: Vec::new(),
        places: vec![read, added, written],
        words: [&words[..], &[(2 | accumulate).into(), 1.into(), 0f32.into(), 3.into(), 15.into()]].concat(),
        grid: Grid::line(Count::per(Dim::Fixed((M * N) as u32), 1, 64)),
    };
    for times in [1, 2] {
        let mut e = Executor::new(device);
        e.ensure(BufferKey::Params, 256 + bytes(N)).unwrap();
        e.write(BufferKey::Params, 0, &parts).unwrap();
        e.write(BufferKey::Params, 64, &bias).unwrap();
        let program = Program {
            launches: (0..times).map(launch).collect(),
            slots: vec![written.bytes],
            inputs: Vec::new(),
            ..program(&device.target(), 1, false)
        };
        let id = e.load(program).unwrap();
        e.poison().unwrap();
        e.run(id, &step(1, &[], &[])).unwrap();
        for (at, found) in e.read(written, M * WIDER).unwrap().into_iter().enumerate() {
            match at % WIDER < N {
                true => {
                    let wanted = times as f64 * f64::from(sum(at / WIDER * N + at % WIDER).max(0.0));
                    assert!((found - wanted).abs() < 1e-6, "{at}: {found} instead of {wanted}");
                }
                false => assert!(found.is_nan(), "value {at}, beside the product, was written"),
            }
        }
    }
}

#[test]
fn parts_of_a_product_leave_what_is_beside_it() {
    for device in [Some(Device::host()), Some(Device::oracle()), gpu()].into_iter().flatten() {
        add_parts(&device);
    }
}

#[test]
fn host_and_oracle_run_programs() {
    for device in [Device::host(), Device::oracle()] {
        exercise(&device);
        exercise_half(&device);
    }
}

#[test]
fn gpu_runs_programs() {
    let Some(device) = gpu() else { return };
    exercise(&device);
    exercise_half(&device);
}

#[test]
fn gpu_without_f16_reads_the_same_bytes() {
    let Some(device) = gpu_with(GpuOptions { force_no_f16: true, ..Default::default() }) else { return };
    assert!(!device.target().native_f16);
    exercise_half(&device);
}

#[test]
fn long_grids_are_folded() {
    let Some(device) = gpu_with(GpuOptions { max_groups: Some(9), ..Default::default() }) else { return };
    exercise(&device);
}

#[test]
fn a_steady_step_creates_nothing_and_submits_once() {
    let devices = [Some(noop()), gpu()];
    for device in devices.into_iter().flatten() {
        let mut e = executor(&device);
        let id = e.load(program(&device.target(), 1000, false)).unwrap();
        e.reserve_history(100).unwrap();
        let mut run = |n: usize| {
            let x = rows(n);
            let keep = [(slot(1, 8000), 1, 0)];
            e.run(id, &step(n, &[Upload::F32(FEATURES, &x)], &keep)).unwrap();
            (e.counters(), e.memory())
        };
        let (mut before, memory) = (0..4).map(|_| run(1000)).last().unwrap();
        for n in 0..10 {
            let (after, memory_now) = run(1000 - 90 * n);
            assert_eq!((after.buffers, after.bind_groups), (before.buffers, before.bind_groups));
            assert_eq!((after.pipelines, after.readbacks), (before.pipelines, before.readbacks));
            assert_eq!((after.passes, after.submissions), (before.passes + 1, before.submissions + 1));
            assert_eq!(after.dispatches, before.dispatches + 3);
            assert_eq!(memory_now, memory);
            before = after;
        }
    }
}

#[test]
fn empty_launches_are_skipped() {
    let device = noop();
    let mut e = executor(&device);
    let id = e.load(program(&device.target(), 10, false)).unwrap();
    e.run(id, &step(0, &[], &[])).unwrap();
    assert_eq!(e.counters().dispatches, 0);
}

#[test]
fn pipelines_are_shared_by_the_executors_of_a_device() {
    let device = noop();
    let built = |_| {
        let mut e = executor(&device);
        e.load(program(&device.target(), 10, false)).unwrap();
        e.counters().pipelines
    };
    assert_eq!([0, 1].map(built), [3, 0]);
}

#[test]
fn programs_of_one_executor_share_slots_and_follow_when_they_grow() {
    let Some(device) = gpu() else { return };
    let mut e = executor(&device);
    let small = e.load(program(&device.target(), 20, false)).unwrap();
    let x = rows(20);
    e.run(small, &step(20, &[Upload::F32(FEATURES, &x)], &[])).unwrap();
    let groups = e.counters().bind_groups;
    let large = e.load(program(&device.target(), 500, false)).unwrap();
    let y = rows(500);
    e.run(large, &step(500, &[Upload::F32(FEATURES, &y)], &[])).unwrap();
    e.run(small, &step(20, &[Upload::F32(FEATURES, &x)], &[])).unwrap();
    close(&e.read(slot(1, 160), 160).unwrap(), &expected(&x));
    // Three for the large program and three again for the small one, whose buffers were replaced.
    assert_eq!(e.counters().bind_groups, groups + 6);
}

#[test]
fn limits_are_errors_that_name_what_was_wanted() {
    let options =
        GpuOptions { max_binding: Some(4096), max_buffer: Some(8192), store_budget: Some(6000), ..Default::default() };
    let device = Device::Gpu(GpuDevice::noop(options).unwrap());
    assert_eq!(device.target().max_binding, 4096);
    let mut e = executor(&device);
    match e.ensure(BufferKey::Slot(7), 10_000).unwrap_err() {
        Error::Limit { limit, what, wanted, possible } => {
            assert_eq!((limit, wanted, possible), ("max_buffer_size", 10_240, 8192));
            assert_eq!(what, "Slot(7)");
        }
        other => panic!("{other}"),
    }
    match e.load(program(&device.target(), 100, false)).unwrap_err() {
        Error::Limit { limit, what, wanted, possible } => {
            assert_eq!((limit, possible), ("max_storage_buffer_binding_size", 4096));
            assert!(wanted > possible && what.contains("unpack"), "{what}");
        }
        other => panic!("{other}"),
    }
    // The executor goes on.
    let id = e.load(program(&device.target(), 80, false)).unwrap();
    e.run(id, &step(80, &[], &[])).unwrap();
    // Stores that do not fit are refused, not errors.
    assert!(e.store(&[0; 5000], Storage::F32).unwrap().is_some());
    assert!(e.store(&[0; 5000], Storage::F32).unwrap().is_none());
    assert!(e.store(&[0; 9000], Storage::F32).unwrap().is_none());
    assert_eq!(e.store_limit(), 8192);
}

#[test]
fn a_lost_device_is_an_error_from_then_on() {
    for device in [Some(noop()), gpu()].into_iter().flatten() {
        let mut e = executor(&device);
        let id = e.load(program(&device.target(), 10, false)).unwrap();
        e.run(id, &step(10, &[], &[])).unwrap();
        let Device::Gpu(gpu) = &device else { unreachable!() };
        gpu.destroy();
        let lost = |r: Result<(), Error>| assert!(matches!(r, Err(Error::DeviceLost { .. })), "{r:?}");
        lost(e.run(id, &step(10, &[], &[])));
        lost(e.read(slot(1, 80), 80).map(|_| ()));
        lost(e.wait());
        lost(e.ensure(BufferKey::Slot(9), 1 << 20));
        lost(e.store(&[0; 16], Storage::F32).map(|_| ()));
    }
}

#[test]
fn shader_errors_quote_kernel_variant_and_lines() {
    let device = noop();
    let mut e = executor(&device);
    let mut wrong = program(&device.target(), 10, false);
    // Declared as read, written by the shader.
    static SHORT: bagrad::kernels::Kernel = bagrad::kernels::Kernel {
        name: "short",
        file: "elementwise",
        entry: "fill",
        bindings: &[Binding::Read],
        words: 2,
        lanes: 64,
        reduces: false,
        twin: elementwise::FILL.twin,
        cost: elementwise::FILL.cost,
    };
    wrong.launches[2].kernel = &SHORT;
    let message = e.load(wrong).unwrap_err().to_string();
    for part in ["kernel short", "shaders/elementwise.wgsl", "| fn fill("] {
        assert!(message.contains(part), "{part:?} is missing in: {message}");
    }
}

#[test]
fn devices_describe_themselves() {
    if let Some(device) = gpu() {
        assert!(device.description().contains(device.name()));
    }
    let opened = Device::open(&DeviceChoice::Host).unwrap();
    assert_eq!(opened.device.name(), "host");
    assert!(!opened.why.is_empty());
}

#[test]
fn auto_always_opens_something() {
    let opened = Device::open(&DeviceChoice::Auto).unwrap();
    assert!(!opened.why.is_empty() && !opened.device.name().is_empty());
    assert!(!matches!(&opened.device, Device::Gpu(gpu) if gpu.info().device_type == wgpu::DeviceType::Cpu));
    let (adapters, host) = list();
    assert!(host.threads > 0 && serde_json::to_string(&(&adapters, &host)).unwrap().contains("threads"));
}

#[test]
fn submission_cost() {
    // Not a test of speed: prints what a small step costs, for `cargo test -- --nocapture submission_cost`.
    for (device, copies) in
        [Some(Device::host()), Some(noop()), gpu()].into_iter().flatten().flat_map(|d| [(d.clone(), 1), (d, 40)])
    {
        let mut e = executor(&device);
        let mut repeated = program(&device.target(), 10, false);
        repeated.launches = (0..copies).flat_map(|_| repeated.launches.clone()).collect();
        let id = e.load(repeated).unwrap();
        let x = rows(10);
        let uploads = [Upload::F32(FEATURES, &x)];
        let step = step(10, &uploads, &[]);
        let mut times = e.time_runs(id, &step, 50).unwrap();
        times.sort_by(f64::total_cmp);
        let start = std::time::Instant::now();
        (0..200).for_each(|_| e.run(id, &step).unwrap());
        e.wait().unwrap();
        let each = start.elapsed().as_secs_f64() / 200.0;
        println!(
            "{device:?}, {} launches: run and wait {:.1} us, one of 200 in a row {:.1} us",
            copies * 3,
            times[25] * 1e6,
            each * 1e6
        );
    }
}

/// Proves to `tests/drivers` that the validation layers see what we do: they must report this call.
#[test]
#[ignore = "makes a wrong call on purpose; tests/drivers runs it under the validation layers"]
fn a_wrong_call_on_purpose() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN)).remove(0);
    let (device, _queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    // SAFETY: no driver has a queue of this number, and it answers a null handle, which is not used.
    unsafe {
        let raw = device.as_hal::<wgpu::hal::api::Vulkan>().unwrap();
        raw.raw_device().get_device_queue(1000, 0);
    }
}
