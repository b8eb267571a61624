//! Whether burn computes the step that is meant: against plain loops in f64.

use crate::step::{EPSILON, Net, RATE, Shape, Training, label};
use burn::nn::Linear;

/// A dense layer in f64: weights `[inputs, outputs]` in rows, then the biases.
struct Dense {
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// Weights and biases of all layers, or their gradients.
type Values = Vec<[Vec<f64>; 2]>;

fn doubles<const D: usize>(tensor: burn::Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn values(net: &Net) -> Values {
    let of = |l: &Linear| [doubles(l.weight.val()), doubles(l.bias.as_ref().expect("a bias").val())];
    net.layers().map(|(_, l)| of(l)).into()
}

impl Dense {
    fn forward(&self, x: &[f64]) -> Vec<f64> {
        let outputs = self.bias.len();
        let mut y = self.bias.clone();
        for (v, row) in x.iter().zip(self.weight.chunks(outputs)) {
            y.iter_mut().zip(row).for_each(|(y, w)| *y += v * w);
        }
        y
    }
}

/// The mean loss of all bags, by the equations.
fn loss(shape: Shape, features: &[f32], values: &Values) -> f64 {
    let layer = |i: usize| Dense { weight: values[i][0].clone(), bias: values[i][1].clone() };
    let [embed, v, u, w, head] = [0, 1, 2, 3, 4].map(layer);
    let mut sum = 0.0;
    for (bag, rows) in features.chunks(shape.size * shape.width).enumerate() {
        let (mut total, mut z) = (0.0, vec![0.0; shape.hidden]);
        for row in rows.chunks(shape.width) {
            let x: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
            let h: Vec<f64> = embed.forward(&x).iter().map(|v| v.max(0.0)).collect();
            let gate: Vec<f64> =
                v.forward(&h).iter().zip(u.forward(&h)).map(|(v, u)| v.tanh() / (1.0 + (-u).exp())).collect();
            let share = w.forward(&gate)[0].exp();
            total += share;
            z.iter_mut().zip(&h).for_each(|(z, h)| *z += share * h);
        }
        z.iter_mut().for_each(|z| *z /= total);
        let logit = head.forward(&z)[0];
        sum += (1.0 + logit.exp()).ln() - f64::from(label(bag)) * logit;
    }
    sum / shape.bags as f64
}

/// Compares loss, the gradient of every parameter and the first update; tells what it found.
pub fn check(mut training: Training) -> Result<String, String> {
    let shape = training.shape;
    let before = values(&training.net);
    let expected = loss(shape, &training.features, &before);
    let first = training.loss();
    let found = doubles(first.clone())[0];
    let near = |what: &str, found: f64, expected: f64, allowed: f64| match (found - expected).abs() <= allowed {
        true => Ok(()),
        false => Err(format!("{what}: {found}, expected {expected}")),
    };
    near("loss", found, expected, 1e-5)?;
    let gradients = first.backward();
    let of = |l: &Linear| -> Option<[Vec<f64>; 2]> {
        let bias = l.bias.as_ref()?;
        Some([doubles(l.weight.val().grad(&gradients)?), doubles(bias.val().grad(&gradients)?)])
    };
    let names = training.net.layers().map(|(name, _)| name);
    let gradients: Option<Values> = training.net.layers().iter().map(|(_, l)| of(l)).collect();
    let gradients = gradients.ok_or("a parameter has no gradient")?;
    training.steps(1);
    let after = values(&training.net);
    for (layer, name) in names.into_iter().enumerate() {
        for (part, kind) in ["weight", "bias"].into_iter().enumerate() {
            let name = format!("{name}.{kind}");
            let gradient = &gradients[layer][part];
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
            // A shift of all scores cancels in the softmax.
            if name == "w.bias" {
                near(&name, norm, 0.0, 1e-6)?;
                continue;
            }
            // The slope of the loss along the gradient is the gradient's norm.
            let along = |by: f64| {
                let mut moved = before.clone();
                moved[layer][part].iter_mut().zip(gradient).for_each(|(v, g)| *v += by * g / norm);
                loss(shape, &training.features, &moved)
            };
            near(&name, norm, (along(1e-5) - along(-1e-5)) / 2e-5, 1e-4 * norm)?;
            // Adam's first step is the rate times the sign of the gradient, but for epsilon.
            for ((after, before), g) in after[layer][part].iter().zip(&before[layer][part]).zip(gradient) {
                let step = RATE * g / (g.abs() + f64::from(EPSILON));
                near(&format!("update of {name}"), after - before, -step, 1e-2 * RATE)?;
            }
        }
    }
    Ok(format!("loss {found:.6}, by the equations {expected:.6}; gradients and the first update agree"))
}
