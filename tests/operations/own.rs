//! Operations of one's own, and that none of the crate's goes unchecked.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle};
use bagrad::Result;
use bagrad::device::Device;
use bagrad::kernels::elementwise::{ADD_TO, LANES, MULTIPLY};
use bagrad::kernels::launch::{Count, Grid, Word};
use bagrad::ops::{Locality, Rule};
use bagrad::planner::Planner;
use bagrad::value::{Io, Shape, Storage, Value};

/// x^2 / 2, from the kernels of a product and of a multiple: a rule that the crate knows nothing of.
#[derive(Debug)]
struct HalfSquare;

impl HalfSquare {
    fn size(p: &Planner, node: Io) -> (Word, Grid) {
        let shape = p.value(node.inputs[0]).shape;
        (Word::Times(shape.rows, shape.cols), Grid::line(Count::per(shape.rows, shape.cols, 4 * LANES)))
    }
}

impl Rule for HalfSquare {
    fn name(&self) -> &'static str {
        "half a square"
    }
    fn locality(&self) -> Locality {
        Locality::Row
    }
    fn shapes(&self, inputs: &[Value]) -> Result<Vec<(Shape, Storage)>> {
        Ok(vec![(inputs[0].shape, Storage::F32)])
    }
    fn forward(&self, p: &mut Planner, node: Io) {
        let (x, (count, grid)) = (p.dense(node.inputs[0]), Self::size(p, node));
        let shape = p.value(x).shape;
        let square = p.temp(shape.rows, shape.cols);
        p.launch(&MULTIPLY, &[x.into(), x.into(), square.into()], &[count, 0u32.into()], grid);
        let words = [count, 0.5f32.into(), 0u32.into()];
        p.launch(&ADD_TO, &[square.into(), node.outputs[0].into()], &words, grid);
    }
    fn backward(&self, p: &mut Planner, node: Io) {
        let g = p.upstream(node.outputs[0]).expect("a gradient");
        let (x, (count, grid)) = (p.dense(node.inputs[0]), Self::size(p, node));
        if let Some(target) = p.grad(node.inputs[0]) {
            p.launch(&MULTIPLY, &[g.into(), x.into(), target.to], &[count, target.accumulate.into()], grid);
        }
    }
}

fn cases() -> Vec<Case> {
    let build: Build = Box::new(|t, x, _| vec![t.push1(HalfSquare, &[x]).unwrap()]);
    vec![Case { name: "an operation of one's own".into(), build, classes: |w| w.heads + 1, over_features: true }]
}

#[test]
fn an_operation_from_outside_is_one_like_any_other() {
    against_differences(&cases());
    against_oracle(&Device::host(), 3e-5, &cases());
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 5e-5, &cases());
    }
}

/// Names of the types in a text that implement `Rule` and pass gradients.
fn rules(text: &str) -> Vec<&str> {
    let after = text.split("\nimpl Rule for ").skip(1).map(|rest| rest.split("\n}").next().unwrap());
    let with_gradient = after.filter(|rule| !rule.contains("fn passes_gradient"));
    with_gradient.map(|rule| rule.split(|c: char| !c.is_alphanumeric()).next().unwrap()).collect()
}

fn texts(folder: &str) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn no_gradient_goes_unchecked() {
    let (operations, tests) = (texts("src/ops"), texts("tests/operations"));
    let all = rules(&operations);
    assert!(all.len() > 55, "only {} operations", all.len());
    let names: std::collections::BTreeSet<&str> = tests.split(|c: char| !c.is_alphanumeric()).collect();
    let missing: Vec<_> = all.iter().filter(|name| !names.contains(**name)).collect();
    assert!(missing.is_empty(), "no test of tests/operations names {missing:?}");
}
