//! Labels of the rows at the ends of bags, by the rule written out.

use crate::common;
use crate::common::check::tables as tables_of;
use crate::common::harness::{extent, tables};
use bagrad::device::Device;
use bagrad::device::executor::{Executor, Step, Upload};
use bagrad::kernels::launch::{BufferKey, Input, Scalars};
use bagrad::ops::pseudo_label::EndLabels;
use bagrad::plan::{self, Purpose};
use bagrad::tape::Tape;

const SIZES: [usize; 6] = [1, 9, 5, 64, 6, 2];
const CLASSES: [u32; 6] = [2, 0, 2, 1, 2, 0];
const WEIGHTS: [f32; 6] = [0.5, 0.25, 1.0, 2.0, 0.125, 3.0];

/// Labels and weights that a device gives the rows.
fn found(device: &Device, op: EndLabels) -> (Vec<u32>, Vec<f64>) {
    let mut tape = Tape::new();
    let of_bags = [Input::Labels, Input::Weights].map(|input| tape.batch(input, 1));
    let on = tables_of(&mut tape);
    let outputs = tape.push(op, &[&of_bags[..], &on].concat()).unwrap();
    tape.output("labels", outputs[0]);
    tape.output("weights", outputs[1]);
    let program = plan::plan(&tape, Purpose::Predict, device.target(), extent(&SIZES)).unwrap();
    let mut executor = Executor::new(device);
    let id = executor.load(program.clone()).unwrap();
    executor.poison().unwrap();
    let [offsets, ..] = tables(&SIZES);
    let upload = |key: &BufferKey| match key {
        BufferKey::Input(Input::Labels) => Upload::U32(*key, &CLASSES),
        BufferKey::Input(Input::Weights) => Upload::F32(*key, &WEIGHTS),
        BufferKey::Input(Input::Offsets) => Upload::U32(*key, &offsets),
        other => panic!("{other:?} is not read"),
    };
    let uploads: Vec<Upload> = program.inputs.iter().map(|(key, _)| upload(key)).collect();
    let step = Step { extent: extent(&SIZES), scalars: Scalars::default(), uploads: &uploads, keep: &[] };
    executor.run(id, &step).unwrap();
    let count = SIZES.len() * 2 * op.k as usize;
    let (labels, weights) = (program.outputs[0].1, program.outputs[1].1);
    (executor.read_indices(labels, count).unwrap(), executor.read(weights, count).unwrap())
}

#[test]
fn labels_are_those_of_the_rule() {
    let devices = [Device::oracle(), Device::host()].into_iter().chain(common::gpu());
    for device in devices {
        for (k, apart, others) in [(3, false, 0.0), (3, true, 0.5), (1, true, 0.25), (20, false, 0.75)] {
            let op = EndLabels { k, apart, class: 2, own: 0.75, others };
            let (labels, weights) = found(&device, op);
            for (bag, (&size, &class)) in SIZES.iter().zip(&CLASSES).enumerate() {
                let rows = (k as usize).min(if apart { size / 2 } else { size });
                for place in 0..2 * k as usize {
                    let (at, upper) = (bag * 2 * k as usize + place, place < k as usize);
                    let share = match (class == 2, upper) {
                        _ if place % k as usize >= rows => 0.0,
                        (true, _) => 0.75 / (2 * rows) as f64,
                        (false, true) => f64::from(others) / rows as f64,
                        (false, false) => 0.0,
                    };
                    let wanted = share * f64::from(WEIGHTS[bag]);
                    let what = format!("bag {bag}, place {place} of {op:?} on {}", device.name());
                    assert!((weights[at] - wanted).abs() < 1e-6, "{what}: {} {wanted}", weights[at]);
                    assert_eq!(labels[at], u32::from(class == 2 && upper), "{what}");
                }
            }
        }
    }
}
