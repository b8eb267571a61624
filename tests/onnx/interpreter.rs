//! The operators of ONNX that exported graphs have, in f64, as their specification says: slow, plain, and of nothing that
//! the engine computes with.

use bagrad::onnx::proto::{GraphProto, Message, ModelProto, NodeProto, TensorProto};
use std::collections::HashMap;

/// A tensor; whole numbers and truth values are kept as real ones, and known apart where they are divided.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub dims: Vec<usize>,
    pub values: Vec<f64>,
    whole: bool,
}

impl Tensor {
    pub fn new(dims: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(dims.iter().product::<usize>(), values.len(), "{dims:?}");
        Self { dims: dims.to_vec(), values, whole: false }
    }

    fn whole(dims: &[usize], values: Vec<f64>) -> Self {
        Self { whole: true, ..Self::new(dims, values) }
    }

    fn of(proto: &TensorProto) -> Self {
        let raw = proto.raw_data.as_ref().unwrap();
        let wide = |f: fn([u8; 8]) -> f64| raw.chunks_exact(8).map(|b| f(b.try_into().unwrap())).collect::<Vec<_>>();
        let values = match proto.data_type.unwrap() {
            1 => raw.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            7 => wide(|b| i64::from_le_bytes(b) as f64),
            11 => wide(f64::from_le_bytes),
            other => panic!("elements of kind {other}"),
        };
        let dims: Vec<usize> = proto.dims.iter().map(|&d| d as usize).collect();
        Self { whole: proto.data_type == Some(7), ..Self::new(&dims, values) }
    }

    fn list(&self) -> Vec<i64> {
        self.values.iter().map(|&v| v as i64).collect()
    }

    /// Elements from one place of each axis to the next.
    fn strides(&self) -> Vec<usize> {
        let mut strides = vec![1; self.dims.len()];
        for axis in (1..self.dims.len()).rev() {
            strides[axis - 1] = strides[axis] * self.dims[axis];
        }
        strides
    }

    fn axis(&self, axis: i64) -> usize {
        if axis < 0 { (axis + self.dims.len() as i64) as usize } else { axis as usize }
    }

    /// Sizes before, of and behind an axis.
    fn around(&self, axis: usize) -> [usize; 3] {
        [self.dims[..axis].iter().product(), self.dims[axis], self.dims[axis + 1..].iter().product()]
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { values: self.values.iter().map(|&v| f(v)).collect(), ..self.clone() }
    }

    /// A tensor of these sizes, whose value at a place is that of this one at the place that `from` says.
    fn taken(&self, dims: &[usize], from: impl Fn(&[usize]) -> Vec<usize>) -> Self {
        let strides = self.strides();
        let mut values = Vec::with_capacity(dims.iter().product());
        each_place(dims, |place| {
            values.push(self.values[from(place).iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        });
        Self { dims: dims.to_vec(), values, whole: self.whole }
    }

    fn spread(&self, dims: &[usize]) -> Self {
        if self.dims == dims {
            return self.clone();
        }
        let lacks = dims.len() - self.dims.len();
        self.taken(dims, |place| {
            self.dims.iter().zip(&place[lacks..]).map(|(&d, &i)| if d == 1 { 0 } else { i }).collect()
        })
    }

    /// f of the runs of an axis, which becomes as long as what f gives.
    fn along(&self, axis: usize, f: impl Fn(&[f64]) -> Vec<f64>) -> Self {
        let [before, size, behind] = self.around(axis);
        let mut results = Vec::new();
        for outer in 0..before * behind {
            let at = |i: usize| (outer / behind * size + i) * behind + outer % behind;
            results.push(f(&(0..size).map(|i| self.values[at(i)]).collect::<Vec<_>>()));
        }
        let length = results.first().map_or(size, Vec::len);
        let mut dims = self.dims.clone();
        dims[axis] = length;
        let mut values = vec![0.0; before * behind * length];
        for (outer, run) in results.iter().enumerate() {
            for (i, v) in run.iter().enumerate() {
                values[(outer / behind * length + i) * behind + outer % behind] = *v;
            }
        }
        Self { dims, values, whole: self.whole }
    }
}

fn each_place(dims: &[usize], mut f: impl FnMut(&[usize])) {
    let mut place = vec![0; dims.len()];
    for _ in 0..dims.iter().product::<usize>() {
        f(&place);
        for axis in (0..dims.len()).rev() {
            place[axis] += 1;
            if place[axis] < dims[axis] {
                break;
            }
            place[axis] = 0;
        }
    }
}

/// f of two tensors of sizes that fit together.
fn both(a: &Tensor, b: &Tensor, f: impl Fn(f64, f64) -> f64) -> Tensor {
    let rank = a.dims.len().max(b.dims.len());
    let size = |t: &Tensor, axis: usize| (axis + t.dims.len()).checked_sub(rank).map_or(1, |axis| t.dims[axis]);
    let dims: Vec<usize> = (0..rank)
        .map(|axis| match [size(a, axis), size(b, axis)] {
            [1, other] | [other, 1] => other,
            [one, other] => {
                assert_eq!(one, other, "{:?} and {:?}", a.dims, b.dims);
                one
            }
        })
        .collect();
    let (x, y) = (a.spread(&dims), b.spread(&dims));
    let values = x.values.iter().zip(&y.values).map(|(&x, &y)| f(x, y)).collect();
    Tensor { dims, values, whole: a.whole && b.whole }
}

/// 2 / sqrt(pi) e^(-x^2) times the sum of 2^n x^(2n + 1) / (2n + 1)!!, none of whose terms is negative for x above 0.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..400 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

struct Run<'a> {
    node: &'a NodeProto,
    x: Vec<&'a Tensor>,
}

impl Run<'_> {
    fn attribute(&self, name: &str) -> Option<&bagrad::onnx::proto::AttributeProto> {
        self.node.attribute.iter().find(|a| a.name.as_deref() == Some(name))
    }
    fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |a| a.i.unwrap())
    }
    fn float(&self, name: &str, default: f32) -> f64 {
        f64::from(self.attribute(name).map_or(default, |a| a.f.unwrap()))
    }
    fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|a| a.ints.clone())
    }

    fn reduced(&self, f: impl Fn(&[f64]) -> f64) -> Tensor {
        let x = self.x[0];
        let axes = self.ints("axes").or_else(|| self.x.get(1).map(|axes| axes.list()));
        let axes: Vec<usize> =
            axes.map_or((0..x.dims.len()).collect(), |axes| axes.iter().map(|&a| x.axis(a)).collect());
        assert!(axes.len() == 1 || axes.len() == x.dims.len(), "one axis, or all of them");
        let mut y = if axes.len() == 1 {
            x.along(axes[0], |run| vec![f(run)])
        } else {
            Tensor::new(&vec![1; x.dims.len()], vec![f(&x.values)])
        };
        if self.int("keepdims", 1) == 0 {
            for axis in axes.iter().rev() {
                y.dims.remove(*axis);
            }
        }
        y
    }

    fn product(&self, a: &Tensor, b: &Tensor) -> Tensor {
        let [a_outer, b_outer] = [a, b].map(|t| t.dims[..t.dims.len() - 2].to_vec());
        let ones = |outer: &[usize]| Tensor::new(outer, vec![0.0; outer.iter().product()]);
        let outer = both(&ones(&a_outer), &ones(&b_outer), |_, _| 0.0).dims;
        let matrix = |t: &Tensor| -> [usize; 2] { t.dims[t.dims.len() - 2..].try_into().unwrap() };
        let ([m, k], [k2, n]) = (matrix(a), matrix(b));
        assert_eq!(k, k2, "{:?} by {:?}", a.dims, b.dims);
        let (a, b) = (a.spread(&[&outer[..], &[m, k]].concat()), b.spread(&[&outer[..], &[k, n]].concat()));
        let mut values = Vec::new();
        for layer in 0..outer.iter().product() {
            for i in 0..m {
                for j in 0..n {
                    let term = |l: usize| a.values[(layer * m + i) * k + l] * b.values[(layer * k + l) * n + j];
                    values.push((0..k).map(term).sum());
                }
            }
        }
        Tensor::new(&[&outer[..], &[m, n]].concat(), values)
    }

    /// Windows of pictures: for each place of the result the values inside, with their places in the kernel.
    fn windows(&self, x: &Tensor, mut f: impl FnMut([usize; 2], [usize; 2], &[([usize; 2], usize)])) -> [usize; 2] {
        let size: Vec<usize> = self.ints("kernel_shape").unwrap().iter().map(|&k| k as usize).collect();
        let pads = self.ints("pads").unwrap_or_else(|| vec![0; 4]);
        let strides = self.ints("strides").unwrap_or_else(|| vec![1; 2]);
        let [height, width] = [x.dims[2], x.dims[3]];
        let places = |axis: usize, length: usize| {
            (length as i64 + pads[axis] + pads[axis + 2] - size[axis] as i64) as usize / strides[axis] as usize + 1
        };
        let to = [places(0, height), places(1, width)];
        for picture in 0..x.dims[0] * x.dims[1] {
            for place in 0..to[0] * to[1] {
                let [row, column] = [place / to[1], place % to[1]];
                let mut inside = Vec::new();
                for v in 0..size[0] {
                    for h in 0..size[1] {
                        let at = [
                            (row as i64 * strides[0] + v as i64) - pads[0],
                            (column as i64 * strides[1] + h as i64) - pads[1],
                        ];
                        if (0..height as i64).contains(&at[0]) && (0..width as i64).contains(&at[1]) {
                            inside.push(([v, h], (picture * height + at[0] as usize) * width + at[1] as usize));
                        }
                    }
                }
                f([picture / x.dims[1], picture % x.dims[1]], [row, column], &inside);
            }
        }
        to
    }

    fn convolved(&self) -> Tensor {
        let (x, w) = (self.x[0], self.x[1]);
        let group = self.int("group", 1) as usize;
        let (channels, each) = (w.dims[0], w.dims[1]);
        assert_eq!(each * group, x.dims[1]);
        let mut sums: HashMap<[usize; 4], f64> = HashMap::new();
        let to = self.windows(x, |[picture, channel], [row, column], inside| {
            let of_group = channel / each;
            for out in of_group * channels / group..(of_group + 1) * channels / group {
                let tap = |[v, h]: [usize; 2]| ((out * each + channel % each) * w.dims[2] + v) * w.dims[3] + h;
                let sum: f64 = inside.iter().map(|(at, from)| w.values[tap(*at)] * x.values[*from]).sum();
                *sums.entry([picture, out, row, column]).or_default() += sum;
            }
        });
        let dims = [x.dims[0], channels, to[0], to[1]];
        let mut values = Vec::new();
        each_place(&dims, |p| {
            let bias = self.x.get(2).map_or(0.0, |bias| bias.values[p[1]]);
            values.push(sums[&[p[0], p[1], p[2], p[3]]] + bias);
        });
        Tensor::new(&dims, values)
    }

    fn sliced(&self) -> Tensor {
        let x = self.x[0];
        let [first, end, axes] = [1, 2, 3].map(|n| self.x[n].list());
        let mut runs: Vec<(usize, usize)> = x.dims.iter().map(|&d| (0, d)).collect();
        for ((first, end), axis) in first.into_iter().zip(end).zip(axes) {
            let axis = x.axis(axis);
            let size = x.dims[axis] as i64;
            runs[axis] = (first.clamp(0, size) as usize, end.clamp(0, size) as usize);
        }
        let dims: Vec<usize> = runs.iter().map(|(first, end)| end.saturating_sub(*first)).collect();
        x.taken(&dims, |place| place.iter().zip(&runs).map(|(i, (first, _))| i + first).collect())
    }

    fn joined(&self) -> Tensor {
        let axis = self.x[0].axis(self.int("axis", 0));
        let mut dims = self.x[0].dims.clone();
        dims[axis] = self.x.iter().map(|x| x.dims[axis]).sum();
        let behind: usize = dims[axis + 1..].iter().product();
        let mut values = Vec::new();
        for outer in 0..dims[..axis].iter().product() {
            for x in &self.x {
                let run = x.dims[axis] * behind;
                values.extend(&x.values[outer * run..(outer + 1) * run]);
            }
        }
        Tensor { dims, values, whole: self.x[0].whole }
    }

    fn reshaped(&self) -> Tensor {
        let x = self.x[0];
        let wanted = self.x[1].list();
        let known: i64 = wanted.iter().filter(|&&d| d > 0).product();
        assert!(wanted.iter().all(|&d| d != 0) || x.values.is_empty(), "a size of 0 is copied, which is meant nowhere");
        let dims: Vec<usize> =
            wanted.iter().map(|&d| if d == -1 { x.values.len() / known as usize } else { d as usize }).collect();
        Tensor { whole: x.whole, ..Tensor::new(&dims, x.values.clone()) }
    }

    fn gathered(&self) -> Tensor {
        let (x, index) = (self.x[0], self.x[1]);
        let axis = x.axis(self.int("axis", 0));
        let dims = [&x.dims[..axis], &index.dims, &x.dims[axis + 1..]].concat();
        let strides = index.strides();
        x.taken(&dims, |place| {
            let at = &place[axis..axis + index.dims.len()];
            let number = at.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>();
            [&place[..axis], &[index.values[number] as usize], &place[axis + index.dims.len()..]].concat()
        })
    }

    fn top(&self) -> Vec<Tensor> {
        let (x, count) = (self.x[0], self.x[1].values[0] as usize);
        assert!(x.dims.len() == 1 && self.int("largest", 1) == 1);
        let mut order: Vec<usize> = (0..x.values.len()).collect();
        order.sort_by(|&a, &b| x.values[b].total_cmp(&x.values[a]).then(a.cmp(&b)));
        order.truncate(count);
        let values = order.iter().map(|&i| x.values[i]).collect();
        vec![Tensor::new(&[count], values), Tensor::whole(&[count], order.iter().map(|&i| i as f64).collect())]
    }

    fn cast(&self) -> Tensor {
        let whole = self.int("to", 0) == 7;
        Tensor { whole, ..self.x[0].map(|v| if whole { v.trunc() } else { v }) }
    }

    fn compared(&self, is: impl Fn(f64, f64) -> bool) -> Tensor {
        both(self.x[0], self.x[1], |a, b| flag(is(a, b)))
    }

    fn normed(&self) -> Tensor {
        let (x, gain) = (self.x[0], self.x[1]);
        let axis = self.int("axis", -1);
        assert_eq!(x.axis(axis), x.dims.len() - 1, "the last axis");
        let eps = self.float("epsilon", 1e-5);
        let hat = x.along(x.dims.len() - 1, |run| {
            let mean = run.iter().sum::<f64>() / run.len() as f64;
            let variance = run.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / run.len() as f64;
            run.iter().map(|v| (v - mean) / (variance + eps).sqrt()).collect()
        });
        let scaled = both(&hat, gain, |a, b| a * b);
        self.x.get(2).map_or(scaled.clone(), |bias| both(&scaled, bias, |a, b| a + b))
    }

    fn batch_normed(&self) -> Tensor {
        let (x, eps) = (self.x[0], self.float("epsilon", 1e-5));
        let behind: usize = x.dims[2..].iter().product();
        let of = |i: usize| i / behind % x.dims[1];
        let [gain, bias, mean, variance] = [1, 2, 3, 4].map(|n| &self.x[n].values);
        let value = |(i, v): (usize, &f64)| {
            let c = of(i);
            (v - mean[c]) / (variance[c] + eps).sqrt() * gain[c] + bias[c]
        };
        Tensor::new(&x.dims, x.values.iter().enumerate().map(value).collect())
    }

    fn compute(&self) -> Vec<Tensor> {
        let x = self.x.first().copied();
        let one = || x.expect("an input");
        let two = |f: fn(f64, f64) -> f64| both(self.x[0], self.x[1], f);
        let axis = |default: i64| one().axis(self.int("axis", default));
        let y = match self.node.op_type.as_deref().unwrap() {
            "Identity" => one().clone(),
            "Add" => two(|a, b| a + b),
            "Sub" => two(|a, b| a - b),
            "Mul" => two(|a, b| a * b),
            "Div" if one().whole => two(|a, b| (a / b).trunc()),
            "Div" => two(|a, b| a / b),
            "Mod" => two(f64::rem_euclid),
            "Min" => two(f64::min),
            "Max" => two(f64::max),
            "Pow" => two(f64::powf),
            "Neg" => one().map(|v| -v),
            "Abs" => one().map(f64::abs),
            "Exp" => one().map(f64::exp),
            "Log" => one().map(f64::ln),
            "Sqrt" => one().map(f64::sqrt),
            "Tanh" => one().map(f64::tanh),
            "Sinh" => one().map(f64::sinh),
            "Atanh" => one().map(f64::atanh),
            "Sin" => one().map(f64::sin),
            "Cos" => one().map(f64::cos),
            "Floor" => one().map(f64::floor),
            "Ceil" => one().map(f64::ceil),
            "Round" => one().map(f64::round_ties_even),
            "Erf" => one().map(erf),
            "Reciprocal" => one().map(f64::recip),
            "Relu" => one().map(|v| v.max(0.0)),
            "Sigmoid" => one().map(|v| 1.0 / (1.0 + (-v).exp())),
            "LeakyRelu" => one().map(|v| if v < 0.0 { v * self.float("alpha", 0.01) } else { v }),
            "Clip" => one().map(|v| v.max(self.x[1].values[0]).min(self.x[2].values[0])),
            "Equal" => self.compared(|a, b| a == b),
            "Less" => self.compared(|a, b| a < b),
            "LessOrEqual" => self.compared(|a, b| a <= b),
            "Greater" => self.compared(|a, b| a > b),
            "Where" => {
                // NaN, where a branch that is not taken has one, must not come through.
                let (taken, other) = (both(self.x[0], self.x[1], |_, b| b), both(self.x[0], self.x[2], |_, b| b));
                let chosen = both(self.x[0], &both(&taken, &other, |a, _| a), |a, _| a);
                let (taken, other) = (taken.spread(&chosen.dims), other.spread(&chosen.dims));
                let each = chosen.values.iter().zip(taken.values.iter().zip(&other.values));
                Tensor::new(&chosen.dims, each.map(|(is, (a, b))| if *is != 0.0 { *a } else { *b }).collect())
            }
            "Cast" => self.cast(),
            "Gemm" => {
                let turned = |name: &str, t: &Tensor| match self.int(name, 0) {
                    0 => t.clone(),
                    _ => t.taken(&[t.dims[1], t.dims[0]], |p| vec![p[1], p[0]]),
                };
                let product = self.product(&turned("transA", self.x[0]), &turned("transB", self.x[1]));
                self.x.get(2).map_or(product.clone(), |bias| both(&product, bias, |a, b| a + b))
            }
            "MatMul" => self.product(self.x[0], self.x[1]),
            "ReduceSum" => self.reduced(|run| run.iter().sum()),
            "ReduceMean" => self.reduced(|run| run.iter().sum::<f64>() / run.len() as f64),
            "ReduceMax" => self.reduced(|run| run.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            "ReduceMin" => self.reduced(|run| run.iter().copied().fold(f64::INFINITY, f64::min)),
            "ArgMax" => {
                let first = |run: &[f64]| (0..run.len()).fold(0, |best, i| if run[i] > run[best] { i } else { best });
                let found = one().along(axis(0), |run| vec![first(run) as f64]);
                Tensor { whole: true, ..found }
            }
            name @ ("Softmax" | "LogSoftmax") => one().along(axis(-1), |run| {
                let largest = run.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = run.iter().map(|v| (v - largest).exp()).sum();
                let log = |v: &f64| v - largest - sum.ln();
                run.iter().map(|v| if name == "Softmax" { log(v).exp() } else { log(v) }).collect()
            }),
            "CumSum" => one().along(self.x[1].values[0] as usize, |run| {
                run.iter()
                    .scan(0.0, |sum, v| {
                        *sum += v;
                        Some(*sum)
                    })
                    .collect()
            }),
            "Shape" => {
                let dims = &one().dims;
                let (first, end) = (self.int("start", 0) as usize, self.int("end", dims.len() as i64) as usize);
                let run: Vec<f64> = dims[first..end].iter().map(|&d| d as f64).collect();
                Tensor::whole(&[run.len()], run)
            }
            "Reshape" => self.reshaped(),
            "Transpose" => {
                let order: Vec<usize> = self.ints("perm").unwrap().iter().map(|&a| a as usize).collect();
                let dims: Vec<usize> = order.iter().map(|&a| one().dims[a]).collect();
                one().taken(&dims, |place| {
                    let mut from = vec![0; place.len()];
                    order.iter().zip(place).for_each(|(&axis, &i)| from[axis] = i);
                    from
                })
            }
            "Slice" => self.sliced(),
            "Concat" => self.joined(),
            "Gather" => self.gathered(),
            "GatherElements" => {
                let (x, index) = (self.x[0], self.x[1]);
                let (axis, strides) = (axis(0), index.strides());
                x.taken(&index.dims, |place| {
                    let number = place.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>();
                    let mut from = place.to_vec();
                    from[axis] = index.values[number] as usize;
                    from
                })
            }
            "ScatterElements" => {
                let mut y = one().clone();
                assert_eq!(y.dims.len(), 1);
                let pairs = self.x[1].values.iter().zip(&self.x[2].values);
                pairs.for_each(|(to, v)| y.values[*to as usize] = *v);
                y
            }
            "Unsqueeze" | "Squeeze" => {
                let mut dims = one().dims.clone();
                let axis = self.x[1].values[0] as usize;
                match self.node.op_type.as_deref() {
                    Some("Squeeze") => assert_eq!(dims.remove(axis), 1),
                    _ => dims.insert(axis, 1),
                }
                Tensor { dims, ..one().clone() }
            }
            "Expand" => {
                let wanted = self.x[1].list().iter().map(|&d| d as usize).collect::<Vec<_>>();
                one().spread(&wanted)
            }
            "ConstantOfShape" => {
                let dims: Vec<usize> = one().list().iter().map(|&d| d as usize).collect();
                Tensor::new(&dims, vec![0.0; dims.iter().product()])
            }
            "Range" => {
                let [first, end, step] = [0, 1, 2].map(|n| self.x[n].values[0]);
                let all: Vec<f64> = (0..).map(|i| first + step * f64::from(i)).take_while(|v| *v < end).collect();
                Tensor::whole(&[all.len()], all)
            }
            "TopK" => return self.top(),
            "Compress" => {
                let kept = one().values.iter().zip(&self.x[1].values).filter(|(_, is)| **is != 0.0);
                let values: Vec<f64> = kept.map(|(v, _)| *v).collect();
                Tensor { whole: one().whole, ..Tensor::new(&[values.len()], values) }
            }
            "LayerNormalization" => self.normed(),
            "BatchNormalization" => self.batch_normed(),
            "Conv" => self.convolved(),
            "MaxPool" => {
                let mut found = Vec::new();
                let to = self.windows(one(), |_, _, inside| {
                    let values = inside.iter().map(|(_, from)| one().values[*from]);
                    found.push(values.fold(f64::NEG_INFINITY, f64::max));
                });
                Tensor::new(&[one().dims[0], one().dims[1], to[0], to[1]], found)
            }
            "Pad" => {
                let (rank, pads) = (one().dims.len(), self.x[1].list());
                let dims: Vec<usize> = (0..rank).map(|a| one().dims[a] + (pads[a] + pads[a + rank]) as usize).collect();
                let mut values = Vec::new();
                let strides = one().strides();
                each_place(&dims, |place| {
                    let from: Vec<i64> = place.iter().zip(&pads).map(|(&i, pad)| i as i64 - pad).collect();
                    let inside = from.iter().zip(&one().dims).all(|(&i, &d)| (0..d as i64).contains(&i));
                    let at = || from.iter().zip(&strides).map(|(&i, s)| i as usize * s).sum::<usize>();
                    values.push(if inside { one().values[at()] } else { 0.0 });
                });
                Tensor::new(&dims, values)
            }
            other => panic!("no operator {other} here"),
        };
        vec![y]
    }
}

/// The outputs of a file for these inputs, by name.
pub fn run(bytes: &[u8], inputs: &[(&str, Tensor)]) -> HashMap<String, Tensor> {
    let model = ModelProto::decode(bytes).unwrap();
    let graph: GraphProto = model.graph.unwrap();
    let mut known: HashMap<String, Tensor> =
        graph.initializer.iter().map(|t| (t.name.clone().unwrap(), Tensor::of(t))).collect();
    for input in &graph.input {
        let name = input.name.clone().unwrap();
        let given = inputs.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no input {name}"));
        known.insert(name, given.1.clone());
    }
    for node in &graph.node {
        let x = node.input.iter().map(|name| known.get(name).unwrap_or_else(|| panic!("{name} before it is made")));
        let x = x.collect();
        let made = Run { node, x }.compute();
        node.output.iter().cloned().zip(made).for_each(|(name, tensor)| drop(known.insert(name, tensor)));
    }
    graph.output.iter().map(|o| o.name.clone().unwrap()).map(|name| (name.clone(), known[&name].clone())).collect()
}
