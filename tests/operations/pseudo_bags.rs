//! Pseudo-bags: how rows are dealt out to them and what is distilled, against the rules written out; attention over them
//! and over what is distilled against finite differences, and on devices against the oracle.

use crate::common;
use crate::common::check::{Build, Case, against_differences, against_oracle, param, tables};
use crate::common::harness::{Numbers, extent_for, run};
use bagrad::device::Device;
use bagrad::kernels::launch::{BatchTables, Extent, Pseudo};
use bagrad::ops::attention_pool::AttentionPool;
use bagrad::ops::matmul::Linear;
use bagrad::ops::pointwise::Activation;
use bagrad::ops::pseudo_bags::{DealOut, Distil, PermuteRows, distilled_tables, pseudo_tables};
use bagrad::ops::rows::GatherRows;
use bagrad::ops::segment::SegmentSoftmax;
use bagrad::ops::sort::SegmentSort;
use bagrad::plan::Purpose;
use bagrad::tape::{Storage, Tape, ValueId};

const PSEUDO: [Pseudo; 4] = [
    Pseudo { bags: 4, rows: 1, sides: 1 },
    Pseudo { bags: 3, rows: 2, sides: 2 },
    Pseudo { bags: 1, rows: 70, sides: 1 },
    Pseudo { bags: 300, rows: 1, sides: 2 },
];

/// Attention over the pseudo-bags, with its weights, and over the features of the first two rows of each.
fn build(pseudo: Pseudo) -> Build {
    Box::new(move |t, x, w| {
        t.pseudo = Some(pseudo);
        let bags = tables(t);
        let order = t.push(DealOut { parts: pseudo.bags, site: 0 }, &bags).unwrap();
        let rows = t.push1(PermuteRows, &[x, order[0], order[1]]).unwrap();
        let pool = |t: &mut Tape, h: ValueId, over: [ValueId; 3]| {
            let (v, c, b) = (param(t, w.hidden, w.input), param(t, w.heads, w.hidden), param(t, 1, w.heads));
            let pre = t.push1(Linear { activation: Activation::None }, &[h, v]).unwrap();
            t.push(AttentionPool { gated: false }, &[&[pre, h, c, b][..], &over].concat()).unwrap()
        };
        let over = pseudo_tables(t);
        let first = pool(t, rows, over);
        let weights = t.push1(SegmentSoftmax, &[&[first[1]][..], &over].concat()).unwrap();
        // Which rows are picked must not hang on what is moved: by a column of the features, not by a product.
        let by = t.push1(SegmentSort { column: 0 }, &[&[rows][..], &over].concat()).unwrap();
        let to = distilled_tables(t);
        let picked = t.push1(Distil(pseudo), &[&[by][..], &bags, &to].concat()).unwrap();
        let distilled = t.push1(GatherRows, &[rows, picked]).unwrap();
        let second = pool(t, distilled, to);
        vec![first[0], weights, second[0]]
    })
}

fn cases(over_features: bool) -> Vec<Case> {
    let case =
        |pseudo: Pseudo| Case { name: format!("{pseudo:?}"), build: build(pseudo), classes: |_| 2, over_features };
    PSEUDO.into_iter().map(case).collect()
}

/// Of the features no gradient is held to differences: they decide what is distilled.
#[test]
fn backward_agrees_with_finite_differences() {
    against_differences(&cases(false));
}

#[test]
fn host_agrees_with_the_oracle() {
    against_oracle(&Device::host(), 2e-5, &cases(true));
}

#[test]
fn gpu_agrees_with_the_oracle() {
    if let Some(gpu) = common::gpu() {
        against_oracle(&gpu, 3e-5, &cases(true));
    }
}

/// The gradient of permuted rows, alone and added to another.
#[test]
fn permuted_rows_take_their_gradient_back() {
    let build: Build = Box::new(|t, x, w| {
        let weight = param(t, w.output, w.input);
        let y = t.push1(Linear { activation: Activation::Tanh }, &[x, weight]).unwrap();
        let bags = tables(t);
        let order = t.push(DealOut { parts: 3, site: 0 }, &bags).unwrap();
        vec![t.push1(PermuteRows, &[y, order[0], order[1]]).unwrap(), y]
    });
    let cases = [Case { name: "permuted rows".into(), build, classes: |_| 2, over_features: true }];
    against_differences(&cases);
    against_oracle(&Device::host(), 2e-5, &cases);
}

/// Rows by their numbers: what is dealt out, where each row went, and what is picked.
fn indices(device: &Device, sizes: &[usize], pseudo: Pseudo, purpose: Purpose) -> [Vec<usize>; 3] {
    let mut t = Tape::new();
    t.pseudo = Some(pseudo);
    let x = t.features(1, Storage::F32, false);
    let bags = tables(&mut t);
    let order = t.push(DealOut { parts: pseudo.bags, site: 5 }, &bags).unwrap();
    let dealt = t.push1(PermuteRows, &[x, order[0], order[1]]).unwrap();
    let back = t.push1(GatherRows, &[dealt, order[1]]).unwrap();
    let over = pseudo_tables(&mut t);
    let by = t.push1(SegmentSort { column: 0 }, &[&[dealt][..], &over].concat()).unwrap();
    let to = distilled_tables(&mut t);
    let picked = t.push1(Distil(pseudo), &[&[by][..], &bags, &to].concat()).unwrap();
    let picked = t.push1(GatherRows, &[dealt, picked]).unwrap();
    [dealt, back, picked].into_iter().enumerate().for_each(|(n, v)| t.output(&n.to_string(), v));
    let loss = t.param(bagrad::tape::Param {
        name: "loss".into(),
        rows: 1,
        cols: 1,
        init: bagrad::tape::Init::Constant(0.0),
        decays: false,
        parts: Vec::new(),
    });
    t.loss = Some(loss);
    let mut numbers = Numbers::random(&t, sizes, 1, 2, 1);
    numbers.features = (0..numbers.features.len()).map(|n| n as f32).collect();
    let found = run(device, &t, purpose, &numbers, true).outputs;
    let rows = |n: usize| found[n].1.iter().map(|v| *v as usize).collect();
    [rows(0), rows(1), rows(2)]
}

#[test]
fn rows_are_dealt_out_and_distilled_by_the_rules() {
    let sizes = [1, 3, 10, 64, 65, 200, 2];
    for pseudo in PSEUDO {
        let mut wanted: [Vec<usize>; 2] = Default::default();
        let mut start = 0;
        for n in sizes {
            let parts = n.min(pseudo.bags as usize);
            let dealt = (0..parts).map(|p| (p..n).step_by(parts).map(|i| start + i).collect::<Vec<_>>());
            let dealt: Vec<Vec<usize>> = dealt.collect();
            wanted[0].extend(dealt.iter().flatten());
            // The largest numbers come first; of all pseudo-bags the first, then of all the second.
            for rank in 0..pseudo.rows as usize {
                for part in dealt.iter().filter(|part| rank < part.len()) {
                    wanted[1].push(part[part.len() - 1 - rank]);
                    wanted[1].extend((pseudo.sides == 2).then(|| part[rank]));
                }
            }
            start += n;
        }
        for device in [Some(Device::oracle()), Some(Device::host()), common::gpu()].into_iter().flatten() {
            let [dealt, back, picked] = indices(&device, &sizes, pseudo, Purpose::Predict);
            assert_eq!([dealt, picked], wanted, "{pseudo:?} on {}", device.name());
            assert!(back.into_iter().eq(0..start));
        }
    }
}

/// With dropout the order is random within each bag, the same on every device, and nothing gets lost.
#[test]
fn rows_are_shuffled_in_training() {
    let (sizes, pseudo) = ([1, 3, 200, 64], PSEUDO[0]);
    let purpose = Purpose::Gradients { dropout: true };
    let [first, ..] = indices(&Device::oracle(), &sizes, pseudo, purpose);
    let mut start = 0;
    for n in sizes {
        let mut bag = first[start..start + n].to_vec();
        assert!(n < 64 || bag.windows(2).filter(|w| w[0] < w[1]).count() < n * 3 / 4, "an order by chance: {bag:?}");
        bag.sort_unstable();
        assert!(bag.into_iter().eq(start..start + n));
        start += n;
    }
    for device in [Some(Device::host()), common::gpu()].into_iter().flatten() {
        assert_eq!(indices(&device, &sizes, pseudo, purpose)[0], first, "{}", device.name());
    }
}

/// Sizes by the formula and by the tables are the same, and nothing of either is empty.
#[test]
fn tables_have_the_sizes_that_are_planned_for() {
    for pseudo in PSEUDO {
        for sizes in [vec![1], vec![3, 1, 64, 65, 1000], vec![7; 40], vec![100_000]] {
            let tables = BatchTables::cut(&sizes, Some(pseudo));
            let mut tape = Tape::new();
            tape.pseudo = Some(pseudo);
            let found = Extent {
                pseudo_bags: tables.pseudo_bags.offsets.len() as u32 - 1,
                pseudo_tiles: tables.pseudo_bags.tiles.len() as u32 / 4,
                distilled: *tables.distilled.offsets.last().unwrap(),
                distilled_tiles: tables.distilled.tiles.len() as u32 / 4,
                ..tables.extent
            };
            assert_eq!((found, tables.extent), (extent_for(&tape, &sizes), found));
            assert_eq!(tables.pseudo_bags.offsets.last(), tables.offsets.last());
            assert!(tables.pseudo_bags.offsets.windows(2).all(|w| w[0] < w[1]));
            assert!(tables.distilled.offsets.windows(2).all(|w| w[0] < w[1]));
        }
    }
}
