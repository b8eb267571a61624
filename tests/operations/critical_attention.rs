//! Attention to the critical instance: backward against finite differences, devices against the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use bagrad::device::Device;
use bagrad::ops::critical_attention::{CriticalAttention, CriticalRows, CriticalValues};
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activation, AddScaled};
use bagrad::ops::segment::{Pool, SegmentReduce};

/// Classes share critical rows in small bags and differ in large ones.
fn cases() -> Vec<Case> {
    let case = |scores: bool, values: bool| {
        let build: Build = Box::new(move |t, x, w| {
            let linear = Linear { activation: Activation::None };
            let score = param(t, w.heads, w.input);
            let s = t.push1(linear, &[x, score]).unwrap();
            let critical = over_bags(t, SegmentReduce(Pool::Max), &[s]);
            let query = param(t, w.hidden, w.input);
            // Short queries: an instance compared with itself must not take all of the attention, because the
            // gradient of a saturated softmax is nothing but rounding.
            let q = t.push1(linear, &[x, query]).unwrap();
            let q = t.push1(AddScaled { a: 0.15, b: 0.15 }, &[q, q]).unwrap();
            let v = match values {
                true => {
                    let value = param(t, w.output, w.input);
                    t.push1(linear, &[x, value]).unwrap()
                }
                false => x,
            };
            let keys = t.push1(CriticalRows, &[q, critical[1]]).unwrap();
            let out = over_bags(t, CriticalAttention, &[q, v, keys]);
            let outputs = if scores { &out[..2] } else { &out[..1] };
            [outputs, &critical[..1]].concat()
        });
        let name = format!("critical attention, scores used {scores}, value layer {values}");
        Case { name, build, classes: |w| w.heads + 1, over_features: true }
    };
    // Values of the chosen instances that are others than those by which they were chosen.
    let values: Build = Box::new(|t, x, w| {
        let linear = Linear { activation: Activation::None };
        let [score, value] = [0, 1].map(|_| {
            let weight = param(t, w.heads + 1, w.input);
            t.push1(linear, &[x, weight]).unwrap()
        });
        let critical = over_bags(t, SegmentReduce(Pool::Max), &[score])[1];
        vec![over_bags(t, CriticalValues, &[value, critical])[0], value]
    });
    let values = Case { name: "critical values".into(), build: values, classes: |w| w.heads + 1, over_features: true };
    vec![case(false, false), case(true, false), case(false, true), case(true, true), values]
}

#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases());
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
