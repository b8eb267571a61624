//! Rows picked by an index, matrices joined and cut by columns: against finite differences and the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activate, Activation};
use bagrad::ops::rows::{Concat, GatherRows, SliceColumns, SliceRows};
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::tape::{Storage, Tape};

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, build: Build| {
        cases.push(Case { name: name.into(), build, classes: |w| w.heads + 1, over_features: true });
    };
    // The last offset lies behind the last row.
    case(
        "gather the first row of each bag",
        Box::new(|t, x, _| {
            let offsets = t.batch(Input::Offsets, 1);
            vec![t.push1(GatherRows, &[x, offsets]).unwrap()]
        }),
    );
    // Many bags share a label, so rows are picked again and again.
    case(
        "gather by label",
        Box::new(|t, x, _| {
            let labels = t.batch(Input::Labels, 1);
            vec![t.push1(GatherRows, &[x, labels]).unwrap()]
        }),
    );
    case(
        "gather the largest",
        Box::new(|t, x, w| {
            let weight = param(t, 1, w.input);
            let score = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            let best = over_bags(t, SegmentReduce(Pool::Max), &[score]);
            vec![best[0], t.push1(GatherRows, &[x, best[1]]).unwrap()]
        }),
    );
    case(
        "gather rows of a parameter",
        Box::new(|t, x, w| {
            let table = param(t, 2, w.output);
            let labels = t.batch(Input::Labels, 1);
            let weight = param(t, w.output, w.input);
            let h = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
            vec![t.push1(GatherRows, &[table, labels]).unwrap(), h]
        }),
    );
    case(
        "concat",
        Box::new(|t, x, w| {
            let weight = param(t, w.output, w.input);
            let h = t.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap();
            let both = t.push1(Concat, &[x, h]).unwrap();
            vec![t.push1(Activate(Activation::Sigmoid), &[both]).unwrap()]
        }),
    );
    case("concat with itself", Box::new(|t, x, _| vec![t.push1(Concat, &[x, x]).unwrap()]));
    case(
        "slice",
        Box::new(|t, x, w| {
            let first = w.input / 3;
            let count = (w.input - first).div_ceil(2);
            vec![t.push1(SliceColumns { first, count }, &[x]).unwrap()]
        }),
    );
    // Rows of a parameter that is also used whole, some of them in two slices.
    case(
        "slices of rows",
        Box::new(|t, x, w| {
            let weight = param(t, 5, w.input);
            let linear = Linear { activation: Activation::None };
            let mut products = vec![t.push1(linear, &[x, weight]).unwrap()];
            for (first, count) in [(0, 3), (2, 2), (4, 1)] {
                let rows = t.push1(SliceRows { first, count }, &[weight]).unwrap();
                products.push(t.push1(linear, &[x, rows]).unwrap());
            }
            products
        }),
    );
    cases
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

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let mut tape = Tape::new();
    let x = tape.features(5, Storage::F32, true);
    let bags = tape.batch(Input::Weights, 1);
    assert!(tape.push(GatherRows, &[x, bags]).is_err(), "an index holds indices");
    assert!(tape.push(Concat, &[x, bags]).is_err(), "rows differ");
    assert!(tape.push(SliceColumns { first: 3, count: 3 }, &[x]).is_err(), "too wide");
    assert!(tape.push(SliceColumns { first: 3, count: 0 }, &[x]).is_err(), "empty");
    let weight = param(&mut tape, 3, 5);
    assert!(tape.push(SliceRows { first: 2, count: 2 }, &[weight]).is_err(), "too many rows");
    assert!(tape.push(SliceRows { first: 0, count: 1 }, &[x]).is_err(), "rows of the batch");
}
