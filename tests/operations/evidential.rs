//! Evidential losses: against finite differences and the oracle, and against numbers of PyTorch.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, over_bags, param};
use crate::common::harness::{Numbers, run};
use bagrad::device::Device;
use bagrad::kernels::launch::Input;
use bagrad::ops::evidential::{DirichletUncertainty, EvidentialLoss};
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::{Activate, Activation, StopGradient};
use bagrad::ops::segment::{Pool, SegmentReduce};
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

/// e^(clamp of a layer of x).
fn evidence(t: &mut Tape, x: ValueId, input: u32, classes: u32) -> ValueId {
    let weight = param(t, classes, input);
    let u = t.push1(Linear { activation: Activation::None }, &[x, weight]).unwrap();
    let u = t.push1(Activate(Activation::Clamp(10.0)), &[u]).unwrap();
    t.push1(Activate(Activation::Exp), &[u]).unwrap()
}

const FACTORS: [f32; 4] = [1.0, 0.1, 0.3, 0.5];

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for fisher in [false, true] {
        // Labels of the bags, and a class of all instances.
        let build: Build = Box::new(move |t, x, w| {
            let z = over_bags(t, SegmentReduce(Pool::Mean), &[x])[0];
            let e = evidence(t, z, w.input, w.heads + 1);
            let label = t.batch(Input::Labels, 1);
            vec![t.push1(EvidentialLoss { fisher, label: None, factors: FACTORS }, &[e, label]).unwrap()]
        });
        cases.push(Case { name: format!("bags, {fisher}"), build, classes: |w| w.heads + 1, over_features: true });
        let build: Build = Box::new(move |t, x, w| {
            let e = evidence(t, x, w.input, 2);
            vec![t.push1(EvidentialLoss { fisher, label: Some(1), factors: FACTORS }, &[e]).unwrap()]
        });
        cases.push(Case { name: format!("instances, {fisher}"), build, classes: |_| 2, over_features: true });
    }
    let build: Build = Box::new(|t, x, w| {
        let e = evidence(t, x, w.input, w.heads + 1);
        let e = t.push1(StopGradient, &[e]).unwrap();
        vec![t.push1(DirichletUncertainty, &[e]).unwrap()]
    });
    cases.push(Case { name: "uncertainty".into(), build, classes: |_| 2, over_features: false });
    cases
}

#[test]
fn backward_agrees_with_finite_differences() {
    // Nothing passes back through the uncertainty, whatever its slope.
    let cases: Vec<Case> = cases().into_iter().filter(|c| c.name != "uncertainty").collect();
    against_differences(&cases);
}

#[test]
fn host_agrees_with_the_oracle() {
    // Terms of both signs cancel in the sums over rows.
    against_oracle(&Device::host(), 6e-5, &cases());
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 6e-5, &cases());
    }
}

/// A tape whose features are the evidence, and what it gives on every device: values and gradient of the features.
fn on_devices(
    rows: &[f32],
    classes: usize,
    build: impl Fn(&mut Tape, ValueId) -> ValueId,
) -> Vec<(String, Vec<f64>, Vec<f64>)> {
    let mut tape = Tape::new();
    let x = tape.features(classes, Storage::F32, true);
    let y = build(&mut tape, x);
    tape.output("y", y);
    let mut numbers = Numbers::random(&tape, &[rows.len() / classes], classes, classes as u32, 1);
    numbers.features = rows.to_vec();
    numbers.upstream[0].fill(1.0);
    let devices = [Some(Device::oracle()), Some(Device::host()), common::gpu()];
    let of = |d: Device| {
        let found = run(&d, &tape, Purpose::Upstream, &numbers, false);
        (d.name().to_string(), found.outputs[0].1.clone(), found.features.unwrap_or_default())
    };
    devices.into_iter().flatten().map(of).collect()
}

fn close(found: &[f64], wanted: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < tolerance * (1.0 + wanted.abs()), "{what}: {found} for {wanted}");
    }
}

const ROWS: [f32; 9] = [0.3, 2.5, 0.01, 12.0, 0.5, 40.0, 1e-3, 7.0, 1.0];

/// The loss written out in PyTorch in f64 with polygamma and its own Dirichlet divergence, for class 1, 0 and 2 of
/// three rows, and its gradient by autograd.
#[test]
fn losses_of_pytorch() {
    let wanted = [
        (
            true,
            [0.24755404134, 2.3824211611, 1.56498452345],
            [
                0.211550751138,
                -0.10692958682,
                0.138920460049,
                0.00273773402626,
                -0.0560336680473,
                0.019534099571,
                -0.0778787315518,
                0.088156707397,
                -0.43663393312,
            ],
        ),
        (
            false,
            [0.33494218935, 3.46052267975, 2.27008757498],
            [
                0.357146135404,
                -0.113892603864,
                0.278831380736,
                -0.0320017162195,
                -0.0682332790885,
                0.0324103468659,
                -0.127856707104,
                0.137687638741,
                -0.283939776864,
            ],
        ),
    ];
    for (fisher, losses, gradient) in wanted {
        for (row, label) in [1, 0, 2].into_iter().enumerate() {
            let evidence = &ROWS[3 * row..3 * row + 3];
            let found = on_devices(evidence, 3, |t, x| {
                t.push1(EvidentialLoss { fisher, label: Some(label), factors: FACTORS }, &[x]).unwrap()
            });
            for (device, loss, slope) in found {
                close(&loss, &losses[row..row + 1], 5e-6, &device);
                close(&slope, &gradient[3 * row..3 * row + 3], 5e-6, &device);
            }
        }
    }
}

/// Vacuity, entropy and mutual information of the same rows by PyTorch.
#[test]
fn uncertainty_of_pytorch() {
    let wanted = [
        0.516351118761,
        -1.38537718569,
        0.146835315757,
        0.0540540540541,
        -4.13199897178,
        0.016929727534,
        0.272702481593,
        -2.29674465986,
        0.0799286092,
    ];
    for (device, found, _) in on_devices(&ROWS, 3, |t, x| t.push1(DirichletUncertainty, &[x]).unwrap()) {
        close(&found, &wanted, 2e-6, &device);
    }
}

/// Every term by itself stays near the oracle where textbook forms lose up to a tenth: evidence from e^-10 to e^20.
#[test]
fn large_and_small_evidence_keep_their_digits() {
    for classes in [2usize, 3, 10] {
        let rows: Vec<f32> = (0..40 * classes).map(|i| ((i * 7919 % 61) as f32 / 2.0 - 10.0).exp()).collect();
        for term in 0..4 {
            let mut one = [0.0; 4];
            one[term] = 1.0;
            let found = on_devices(&rows, classes, |t, x| {
                t.push1(EvidentialLoss { fisher: true, label: Some(0), factors: one }, &[x]).unwrap()
            });
            let (_, losses, slopes) = &found[0];
            for (device, loss, slope) in &found[1..] {
                let what = format!("term {term} of {classes} classes on {device}");
                close(loss, losses, 3e-5, &what);
                // For the logarithm of the evidence, which is what is learnt.
                for ((found, wanted), e) in slope.iter().zip(slopes).zip(&rows) {
                    let e = *e as f64;
                    assert!(
                        ((found - wanted) * e).abs() < 3e-5 * (1.0 + (wanted * e).abs()),
                        "{what}: slope {found} for {wanted} at {e}"
                    );
                }
            }
        }
    }
}
