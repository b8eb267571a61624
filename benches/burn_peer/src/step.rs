//! The training step W(N, D, H, L) in burn, as its book would write it.

use burn::module::Module;
use burn::nn::loss::{BinaryCrossEntropyLoss, BinaryCrossEntropyLossConfig};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::{relu, sigmoid, softmax, tanh};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// The learning rate of all programs that are compared.
pub const RATE: f64 = 5e-4;
/// The epsilon of Adam in all of them.
pub const EPSILON: f32 = 1e-8;

/// `N,D,H,L`, or `SIZExBAGS,D,H,L` for equal bags in one batch.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub size: usize,
    pub bags: usize,
    pub width: usize,
    pub hidden: usize,
    pub attention: usize,
}

impl Shape {
    pub fn read(text: &str) -> Option<Self> {
        let numbers = |t: &str, by| t.split(by).map(|n| n.parse().ok().filter(|n| *n > 0)).collect::<Option<Vec<_>>>();
        let (first, widths) = text.split_once(',')?;
        let (size, bags) = match numbers(first, 'x')?[..] {
            [size] => (size, 1),
            [size, bags] => (size, bags),
            _ => return None,
        };
        let [width, hidden, attention] = numbers(widths, ',')?[..] else { return None };
        Some(Self { size, bags, width, hidden, attention })
    }
}

/// How several bags go through the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// One bag.
    Single,
    /// Dense layers over all rows at once; softmax and pooling over `[bags, size]` with a mask.
    Masked,
    /// A forward pass for each bag, one backward pass.
    Loop,
}

impl Form {
    pub fn of(shape: Shape) -> &'static [Self] {
        if shape.bags == 1 { &[Self::Single] } else { &[Self::Masked, Self::Loop] }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Masked => "masked",
            Self::Loop => "loop",
        }
    }
}

#[derive(Module, Debug)]
pub struct Net {
    pub embed: Linear,
    pub v: Linear,
    pub u: Linear,
    pub w: Linear,
    pub head: Linear,
}

impl Net {
    fn new(shape: Shape, device: &Device) -> Self {
        let dense = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            embed: dense(shape.width, shape.hidden),
            v: dense(shape.hidden, shape.attention),
            u: dense(shape.hidden, shape.attention),
            w: dense(shape.attention, 1),
            head: dense(shape.hidden, 1),
        }
    }

    pub fn layers(&self) -> [(&'static str, &Linear); 5] {
        [("embed", &self.embed), ("v", &self.v), ("u", &self.u), ("w", &self.w), ("head", &self.head)]
    }

    /// h `[N, H]` and scores `[N, 1]`.
    fn scores(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let h = relu(self.embed.forward(x));
        let gate = tanh(self.v.forward(h.clone())) * sigmoid(self.u.forward(h.clone()));
        (h, self.w.forward(gate))
    }

    fn one_bag(&self, x: Tensor<2>) -> Tensor<2> {
        let (h, e) = self.scores(x);
        self.head.forward(softmax(e, 0).transpose().matmul(h))
    }

    /// `padding` is true `[bags, size, 1]` where a row belongs to no bag.
    fn masked(&self, x: Tensor<2>, padding: Tensor<3, Bool>) -> Tensor<2> {
        let [bags, size, _] = padding.dims();
        let (h, e) = self.scores(x);
        let [_, hidden] = h.dims();
        let e = e.reshape([bags, size, 1]).mask_fill(padding, f32::NEG_INFINITY);
        let z = softmax(e, 1).swap_dims(1, 2).matmul(h.reshape([bags, size, hidden]));
        self.head.forward(z.reshape([bags, hidden]))
    }
}

/// What a step needs; the features are drawn once and stay on the device.
pub struct Training {
    pub net: Net,
    pub shape: Shape,
    pub features: Vec<f32>,
    form: Form,
    adam: ModuleOptimizer,
    x: Tensor<2>,
    pieces: Vec<Tensor<2>>,
    padding: Tensor<3, Bool>,
    labels: Tensor<2, Int>,
    loss: BinaryCrossEntropyLoss,
    device: Device,
}

/// The label of each bag.
pub fn label(bag: usize) -> i32 {
    bag as i32 % 2
}

impl Training {
    pub fn new(shape: Shape, form: Form, device: &Device) -> Self {
        let Shape { size, bags, width, .. } = shape;
        let rows = size * bags;
        let mut state = 7u64;
        let features: Vec<f32> = (0..rows * width).map(|_| draw(&mut state)).collect();
        let x = Tensor::<2>::from_data(TensorData::new(features.clone(), [rows, width]), device);
        let labels: Vec<i32> = (0..bags).map(label).collect();
        let pieces = match form {
            Form::Loop => (0..bags).map(|b| x.clone().slice([b * size..(b + 1) * size])).collect(),
            _ => Vec::new(),
        };
        Self {
            net: Net::new(shape, device),
            shape,
            features,
            form,
            adam: AdamConfig::new().with_epsilon(EPSILON).init(),
            x,
            pieces,
            padding: Tensor::from_data(TensorData::new(vec![false; rows], [bags, size, 1]), device),
            labels: Tensor::from_data(TensorData::new(labels, [bags, 1]), device),
            loss: BinaryCrossEntropyLossConfig::new().with_logits(true).init(device),
            device: device.clone(),
        }
    }

    /// The mean loss of all bags.
    pub fn loss(&self) -> Tensor<1> {
        let logits = match self.form {
            Form::Single => self.net.one_bag(self.x.clone()),
            Form::Masked => self.net.masked(self.x.clone(), self.padding.clone()),
            Form::Loop => Tensor::cat(self.pieces.iter().map(|x| self.net.one_bag(x.clone())).collect(), 0),
        };
        self.loss.forward(logits, self.labels.clone())
    }

    /// Forward, backward, update, so many times; then the device is waited for.
    pub fn steps(&mut self, count: usize) {
        for _ in 0..count {
            let gradients = self.loss().backward();
            let gradients = GradientsParams::from_grads(gradients, &self.net);
            self.net = self.adam.step(RATE, self.net.clone(), gradients);
        }
        self.device.sync().expect("the device did the steps");
    }
}

/// Uniform with mean 0 and variance 1, of a multiplicative generator.
fn draw(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    ((*state >> 40) as f32 / (1 << 23) as f32 - 1.0) * 3f32.sqrt()
}
