//! What graphs are written with: operators of ONNX with their attributes, and functions that ONNX has not, in forms that
//! keep their digits in f32.

use super::graph::{Graph, Name, float, int, ints};

impl Graph {
    /// A reduction over one axis, which stays with length 1.
    pub fn reduce(&mut self, op: &str, x: &str, axis: i64) -> Name {
        // Sums alone take their axes as an input in this operator set.
        if op == "ReduceSum" {
            let axes = self.whole(&[axis]);
            return self.with(op, &[x, &axes], vec![int("keepdims", 1)]);
        }
        self.with(op, &[x], vec![ints("axes", &[axis]), int("keepdims", 1)])
    }

    /// The same values in another shape.
    pub fn reshape(&mut self, x: &str, shape: &[i64]) -> Name {
        let shape = self.whole(shape);
        self.op("Reshape", &[x, &shape])
    }

    /// Axes in another order.
    pub fn transpose(&mut self, x: &str, order: &[i64]) -> Name {
        self.with("Transpose", &[x], vec![ints("perm", order)])
    }

    /// A run of an axis.
    pub fn slice(&mut self, x: &str, axis: i64, first: i64, end: i64) -> Name {
        let [first, end, axis] = [first, end, axis].map(|v| self.whole(&[v]));
        self.op("Slice", &[x, &first, &end, &axis])
    }

    /// Tensors one behind the other on an axis.
    pub fn concat(&mut self, all: &[&str], axis: i64) -> Name {
        match all {
            [one] => (*one).to_owned(),
            _ => self.with("Concat", all, vec![int("axis", axis)]),
        }
    }

    /// Entries of an axis by number.
    pub fn gather(&mut self, x: &str, index: &str, axis: i64) -> Name {
        self.with("Gather", &[x, index], vec![int("axis", axis)])
    }

    /// A product of matrices, each turned first where it says so, and what is added.
    pub fn gemm(&mut self, a: (&str, bool), b: (&str, bool), bias: Option<&str>) -> Name {
        let inputs: Vec<&str> = [a.0, b.0].into_iter().chain(bias).collect();
        let turned = [("transA", a.1), ("transB", b.1)].into_iter().filter(|(_, turned)| *turned);
        self.with("Gemm", &inputs, turned.map(|(name, _)| int(name, 1)).collect())
    }

    /// x times a number.
    pub fn times(&mut self, x: &str, factor: f32) -> Name {
        if factor == 1.0 {
            return x.to_owned();
        }
        let factor = self.number(factor);
        self.op("Mul", &[x, &factor])
    }

    /// x and a number.
    pub fn plus(&mut self, x: &str, more: f32) -> Name {
        if more == 0.0 {
            return x.to_owned();
        }
        let more = self.number(more);
        self.op("Add", &[x, &more])
    }

    /// The larger of x and a number.
    pub fn at_least(&mut self, x: &str, least: f32) -> Name {
        let least = self.number(least);
        self.op("Max", &[x, &least])
    }

    /// The smaller of x and a number.
    pub fn at_most(&mut self, x: &str, most: f32) -> Name {
        let most = self.number(most);
        self.op("Min", &[x, &most])
    }

    /// Softmax over an axis.
    pub fn softmax(&mut self, x: &str, axis: i64) -> Name {
        self.with("Softmax", &[x], vec![int("axis", axis)])
    }

    /// ln of the sum of e^x over an axis; the largest is taken out first, which not every runtime does by itself.
    pub fn log_sum_exp(&mut self, x: &str, axis: i64) -> Name {
        let largest = self.reduce("ReduceMax", x, axis);
        let below = self.op("Sub", &[x, &largest]);
        let powers = self.op("Exp", &[&below]);
        let sum = self.reduce("ReduceSum", &powers, axis);
        let log = self.op("Log", &[&sum]);
        self.op("Add", &[&largest, &log])
    }

    /// ln(1 + x) = 2 artanh(x / (2 + x)), exact for small x.
    pub fn ln_1p(&mut self, x: &str) -> Name {
        let below = self.plus(x, 2.0);
        let ratio = self.op("Div", &[x, &below]);
        let half = self.op("Atanh", &[&ratio]);
        self.times(&half, 2.0)
    }

    /// e^x - 1 = 2 sinh(x / 2) e^(x / 2), exact for small x.
    pub fn exp_m1(&mut self, x: &str) -> Name {
        let half = self.times(x, 0.5);
        let (sine, power) = (self.op("Sinh", &[&half]), self.op("Exp", &[&half]));
        let product = self.op("Mul", &[&sine, &power]);
        self.times(&product, 2.0)
    }

    /// ln(1 + e^-|x|).
    fn beside_largest(&mut self, x: &str) -> Name {
        let size = self.op("Abs", &[x]);
        let less = self.op("Neg", &[&size]);
        let power = self.op("Exp", &[&less]);
        self.ln_1p(&power)
    }

    /// ln(1 + e^x).
    pub fn softplus(&mut self, x: &str) -> Name {
        let (large, rest) = (self.op("Relu", &[x]), self.beside_largest(x));
        self.op("Add", &[&large, &rest])
    }

    /// ln of the sigmoid of x.
    pub fn log_sigmoid(&mut self, x: &str) -> Name {
        let (small, rest) = (self.at_most(x, 0.0), self.beside_largest(x));
        self.op("Sub", &[&small, &rest])
    }

    /// x where it is above 0, else x times a slope.
    pub fn leaky_relu(&mut self, x: &str, slope: f32) -> Name {
        self.with("LeakyRelu", &[x], vec![float("alpha", slope)])
    }

    /// The size of an axis, `[1]`.
    pub fn size(&mut self, x: &str, axis: i64) -> Name {
        self.with("Shape", &[x], vec![int("start", axis), int("end", axis + 1)])
    }

    /// The one number of a list, `[]`.
    pub fn scalar(&mut self, x: &str) -> Name {
        let first = self.whole(&[0]);
        self.op("Squeeze", &[x, &first])
    }

    /// A number as a list of one.
    pub fn listed(&mut self, x: &str) -> Name {
        self.reshape(x, &[1])
    }

    /// The whole numbers 0 to below `count`, which is `[]`.
    pub fn range(&mut self, count: &str) -> Name {
        let (zero, one) = (self.whole_number(0), self.whole_number(1));
        self.op("Range", &[&zero, count, &one])
    }

    /// Whole numbers as real ones, or the other way round.
    pub fn cast(&mut self, x: &str, element: i32) -> Name {
        self.with("Cast", &[x], vec![int("to", i64::from(element))])
    }

    /// One more axis, of length 1.
    pub fn with_axis(&mut self, x: &str, axis: i64) -> Name {
        let axis = self.whole(&[axis]);
        self.op("Unsqueeze", &[x, &axis])
    }

    /// A sum over one axis, which goes.
    pub fn sum_away(&mut self, x: &str, axis: i64) -> Name {
        let axes = self.whole(&[axis]);
        self.with("ReduceSum", &[x, &axes], vec![int("keepdims", 0)])
    }

    /// As many rows of zeros as the first size says: `[count, cols]`; `count` is `[1]`.
    pub fn zero_rows(&mut self, count: &str, cols: u32) -> Name {
        let cols = self.whole(&[i64::from(cols)]);
        let shape = self.concat(&[count, &cols], 0);
        self.op("ConstantOfShape", &[&shape])
    }
}
