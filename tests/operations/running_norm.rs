//! Batch normalisation with running statistics: what is not trained is left to it alone.

use crate::common;
use crate::common::check::{Along, Build, Case, WIDTHS, against_oracle, batches, hold_slopes, param, record};
use crate::common::harness::{Numbers, extent, run};
use bagrad::device::Device;
use bagrad::device::executor::{Executor, Step, Upload};
use bagrad::kernels::launch::{BufferKey, Input, Place, RuleScalars, Scalars};
use bagrad::ops::batch_norm::RunningBatchNorm;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::reduce::{ColumnSum, RowSum};
use bagrad::ops::update::Optimiser;
use bagrad::plan::{self, Purpose};
use bagrad::tape::{Storage, Tape, ValueId};

/// Gain, bias, running mean and variance of `channels` channels.
fn normalised(t: &mut Tape, x: ValueId, channels: u32, momentum: f32) -> ValueId {
    let (gain, bias) = (param(t, 1, channels), param(t, 1, channels));
    let (mean, variance) = (t.buffer("running_mean", channels, 0.0), t.buffer("running_var", channels, 1.0));
    let op = RunningBatchNorm { channels, eps: 1e-3, momentum, last: false };
    t.push1(op, &[x, gain, bias, mean, variance]).unwrap()
}

/// Where nothing is trained the statistics are constants. The large eps keeps a drawn variance positive.
fn cases() -> Vec<Case> {
    let build: Build = Box::new(|t, x, w| {
        let weight = param(t, 3 * 4, w.input);
        let h = t.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap();
        let (gain, bias) = (param(t, 1, 3), param(t, 1, 3));
        let mean = t.buffer("mean", 3, 0.0);
        let op = RunningBatchNorm { channels: 3, eps: 9.0, momentum: 0.1, last: false };
        vec![t.push1(op, &[h, gain, bias, mean, mean]).unwrap()]
    });
    vec![Case { name: "running statistics in use".into(), build, classes: |_| 2, over_features: true }]
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 2e-5, &cases());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, &cases());
    }
}

/// Along the features and what is trained; a buffer has a slope, but no gradient.
#[test]
fn backward_agrees_with_finite_differences() {
    for case in cases() {
        for (w, widths) in WIDTHS.into_iter().enumerate().take(4) {
            let tape = record(&case.build, widths, Storage::F32, w % 2 == 1);
            let trained = (0..tape.params.len()).filter(|p| !tape.is_buffer(*p)).map(Along::Parameter);
            for along in trained.chain([Along::Features]) {
                hold_slopes(&format!("{widths:?}"), &tape, along, |seed| {
                    Numbers::random(&tape, &batches()[w], widths.input as usize, 2, seed)
                });
            }
        }
    }
}

fn devices() -> Vec<(Device, f64)> {
    let mut devices = vec![(Device::oracle(), 1e-6), (Device::host(), 2e-6)];
    devices.extend(common::gpu().map(|gpu| (gpu, 1e-5)));
    devices
}

fn close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < tolerance * (1.0 + wanted.abs()), "{what}: {found} for {wanted}");
    }
}

/// A model whose only trained numbers are gain and bias, on a device by hand.
struct Trained {
    tape: Tape,
    executor: Executor,
    width: usize,
}

impl Trained {
    fn new(device: &Device, width: usize, channels: u32, momentum: f32, params: &[&[f32]]) -> Self {
        let mut tape = Tape::new();
        let x = tape.features(width, Storage::F32, false);
        let y = normalised(&mut tape, x, channels, momentum);
        tape.output("y", y);
        let sum = tape.push1(RowSum, &[y]).unwrap();
        tape.loss = Some(tape.push1(ColumnSum, &[sum]).unwrap());
        let mut executor = Executor::new(device);
        let layout = tape.param_layout();
        let bytes = layout.total as u64 * 4;
        for key in [BufferKey::Params, BufferKey::Grads, BufferKey::State(0), BufferKey::State(1), BufferKey::State(2)]
        {
            executor.ensure(key, bytes).unwrap();
        }
        for (key, words) in [(BufferKey::Groups, tape.group_runs()), (BufferKey::GroupTable, tape.whole_group_table())]
        {
            executor.ensure(key, words.len() as u64 * 4).unwrap();
            executor.write_indices(key, &words).unwrap();
        }
        for (values, offset) in params.iter().zip(&layout.offsets) {
            executor.write(BufferKey::Params, *offset, values).unwrap();
        }
        Self { tape, executor, width }
    }

    /// Runs once over these rows as one bag; the output when it is asked for.
    fn run(&mut self, device: &Device, purpose: Purpose, rows: &[f32], lookahead: u32) -> Vec<f64> {
        let extent = extent(&[rows.len() / self.width]);
        let program = plan::plan(&self.tape, purpose, device.target(), extent).unwrap();
        let output = program.outputs.first().map(|(_, place, _)| *place);
        let id = self.executor.load(program).unwrap();
        self.executor.poison().unwrap();
        assert!(self.width.is_multiple_of(4), "rows without a stride of their own");
        let rule = RuleScalars { learning_rate: 0.5, correction1: 1.0, correction2: 1.0 };
        let scalars = Scalars { rules: [rule; 2], lookahead, ..Default::default() };
        let uploads = [Upload::F32(BufferKey::Input(Input::Features), rows)];
        self.executor.run(id, &Step { extent, scalars, uploads: &uploads, keep: &[] }).unwrap();
        match (purpose, output) {
            (Purpose::Train(_), _) | (_, None) => Vec::new(),
            (_, Some(place)) => self.executor.read(place, rows.len()).unwrap(),
        }
    }

    fn param(&mut self, index: usize) -> Vec<f64> {
        let (layout, param) = (self.tape.param_layout(), &self.tape.params[index]);
        let count = (param.rows * param.cols) as usize;
        let place =
            Place { buffer: BufferKey::Params, offset: 4 * layout.offsets[index] as u64, bytes: 4 * count as u64 };
        self.executor.read(place, count).unwrap()
    }
}

/// PyTorch's BatchNorm1d(2, eps=1e-3, momentum=0.1), each column twice to fill a row: two batches in training mode,
/// then the first one in evaluation mode. Plain gradient descent at rate 0.5 moves gain and bias, the running
/// statistics move as PyTorch's do, and decay touches them as little as Lookahead does.
#[test]
fn columns_as_pytorch_has_them() {
    let twice = |rows: &[[f32; 2]]| rows.iter().flat_map(|[a, b]| [*a, *b, *a, *b]).collect::<Vec<f32>>();
    let first = twice(&[[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]]);
    let second = twice(&[[0.0, 1.0], [2.0, 2.5]]);
    let (mean, variance) = ([0.235, 0.2125, 0.235, 0.2125], [1.1675, 1.126875, 1.1675, 1.126875]);
    let (gain, bias) = ([0.7f32, 1.3, 0.7, 1.3], [0.1f32, -0.2, 0.1, -0.2]);
    for (device, tolerance) in devices() {
        let what = device.name().to_string();
        let params: [&[f32]; 4] = [&gain, &bias, &[0.0; 4], &[1.0; 4]];
        let mut model = Trained::new(&device, 4, 4, 0.1, &params);
        let optimiser = Optimiser::nesterov(0.0, 0.1).with_lookahead(1, 0.5);
        model.run(&device, Purpose::Train(optimiser), &first, 1);
        let half = model.param(2);
        assert!(model.param(0)[0] != 0.7f32 as f64 && model.param(1)[0] != 0.1f32 as f64, "{what} learns");
        model.run(&device, Purpose::Train(optimiser), &second, 2);
        close(&model.param(2), &mean, tolerance, &what);
        close(&model.param(3), &variance, tolerance, &what);
        assert!(half[0] != model.param(2)[0]);
        // Gradients alone move nothing, even where masks are drawn.
        model.run(&device, Purpose::Gradients { dropout: true }, &first, 0);
        close(&model.param(2), &mean, tolerance, &what);
        // Evaluation, with gain and bias as they were.
        let layout = model.tape.param_layout();
        model.executor.write(BufferKey::Params, layout.offsets[0], &gain).unwrap();
        model.executor.write(BufferKey::Params, layout.offsets[1], &bias).unwrap();
        let found = model.run(&device, Purpose::Predict, &first, 0);
        let wanted = [
            [0.5953875831201543, 1.9880584418830922],
            [1.8905185193819956, -1.6842074745640556],
            [0.27160484905469395, -0.15409667604441069],
        ];
        let wanted: Vec<f64> = wanted.iter().flat_map(|[a, b]| [*a, *b, *a, *b]).collect();
        close(&found, &wanted, tolerance, &what);
        // And the statistics of the batch in training mode.
        let found = model.run(&device, Purpose::Gradients { dropout: true }, &second, 0);
        let wanted = [[-0.5996502622814412, -1.4988459829061516], [0.7996502622814412, 1.0988459829061514]];
        let wanted: Vec<f64> = wanted.iter().flat_map(|[a, b]| [*a, *b, *a, *b]).collect();
        close(&found, &wanted, tolerance, &what);
    }
}

/// PyTorch's BatchNorm2d(2, eps=1e-3, momentum=0.25) over two images of 2 x 2.
#[test]
fn images_as_pytorch_has_them() {
    let images =
        [0.0, 0.25, 0.5, 0.75, 0.0, 0.25, 0.5, 0.75, 1.0, 1.265625, 1.5625, 1.890625, 1.0, 1.265625, 1.5625, 1.890625];
    for (device, tolerance) in devices() {
        let params: [&[f32]; 4] = [&[1.0; 2], &[0.0; 2], &[0.0; 2], &[1.0; 2]];
        let mut model = Trained::new(&device, 8, 2, 0.25, &params);
        model.run(&device, Purpose::Train(Optimiser::adam(0.1)), &images, 0);
        close(&model.param(2), &[0.2255859375; 2], tolerance, device.name());
        close(&model.param(3), &[0.8563886369977679; 2], tolerance, device.name());
    }
}

/// One value a channel has no unbiased variance: the running one stays.
#[test]
fn one_value_a_channel_leaves_the_variance() {
    for (device, tolerance) in devices() {
        let params: [&[f32]; 4] = [&[1.0; 4], &[0.0; 4], &[0.0; 4], &[0.3; 4]];
        let mut model = Trained::new(&device, 4, 4, 0.5, &params);
        model.run(&device, Purpose::Train(Optimiser::adam(0.1)), &[1.0, 2.0, 3.0, 4.0], 0);
        close(&model.param(2), &[0.5, 1.0, 1.5, 2.0], tolerance, device.name());
        close(&model.param(3), &[0.3; 4], tolerance, device.name());
    }
}

/// Statistics that are trained, or that are no parameters of the model, are refused.
#[test]
fn only_buffers_run() {
    let mut tape = Tape::new();
    let x = tape.features(2, Storage::F32, false);
    let p = param(&mut tape, 1, 2);
    let op = RunningBatchNorm { channels: 2, eps: 1e-5, momentum: 0.1, last: false };
    let refused = tape.push(op, &[x, p, p, p, p]).unwrap_err().to_string();
    assert!(refused.contains("two buffers of the model"), "{refused}");
    let b = tape.buffer("b", 2, 0.0);
    let numbers = Numbers::random(&tape, &[3], 2, 2, 1);
    let y = tape.push1(op, &[x, p, p, b, b]).unwrap();
    tape.output("y", y);
    assert!(
        run(&Device::host(), &tape, Purpose::Predict, &Numbers { upstream: vec![], ..numbers }, false).loss.is_none()
    );
}
