//! Contrastive loss: backward against finite differences, devices against the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::ops::contrast::NtXent;
use bagrad::ops::matmul::Linear;
use bagrad::ops::norm::UnitRows;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    let case = |name: &str, build: Build| Case {
        name: name.to_string(),
        build,
        classes: |w| w.heads + 1,
        over_features: true,
    };
    vec![case(
        "NT-Xent",
        Box::new(|t, x, w| {
            let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
            let weight = param(t, w.output, w.input);
            let y = t.push1(Linear { activation: Activation::None }, &[z, weight]).unwrap();
            vec![t.push(NtXent { temperature: 0.5, scale: 1.3 }, &[y]).unwrap()[0]]
        }),
    )]
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 3e-5, &cases());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 5e-5, &cases());
    }
}

/// The definition, written out, over rows of length one.
#[test]
fn nt_xent_is_its_definition() {
    let mut tape = Tape::new();
    let x = tape.features(5, Storage::F32, true);
    let z = over_bags(&mut tape, SegmentReduce(Pool::Sum), &[x])[0];
    let y = tape.push(UnitRows { eps: 1e-6 }, &[z]).unwrap()[0];
    let loss = tape.push(NtXent { temperature: 0.5, scale: 1.0 }, &[y]).unwrap()[0];
    tape.output("loss", loss);
    let numbers = Numbers::random(&tape, &[1; 6], 5, 2, 3);
    let found = run(&Device::oracle(), &tape, Purpose::Predict, &numbers, false).outputs[0].1[0];
    let rows: Vec<Vec<f64>> = numbers
        .features
        .chunks_exact(5)
        .map(|row| {
            let length = row.iter().map(|v| (*v as f64).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|v| *v as f64 / length).collect()
        })
        .collect();
    let logit = |a: usize, b: usize| 2.0 * rows[a].iter().zip(&rows[b]).map(|(x, y)| x * y).sum::<f64>();
    let of = |a: usize| (0..6).filter(|&b| b != a).map(|b| logit(a, b).exp()).sum::<f64>().ln() - logit(a, a ^ 1);
    let wanted = (0..6).map(of).sum::<f64>() / 6.0;
    assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
}
