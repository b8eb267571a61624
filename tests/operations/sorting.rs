//! Orders of rows within bags against the standard library's sort, at awkward sizes, on host and GPU.

use crate::common;
use crate::common::check::tables as tables_of;
use crate::common::harness::{extent, tables};
use bagrad::device::Device;
use bagrad::device::executor::{Executor, Step, Upload};
use bagrad::kernels::launch::{BufferKey, Dim, Extent, Input, Scalars};
use bagrad::ops::sort::{NO_ROW, SegmentEnds, SegmentKeep, SegmentShuffle, SegmentSort, SegmentTop};
use bagrad::plan::{self, Purpose};
use bagrad::random::Random;
use bagrad::tape::{Storage, Tape, ValueId};
use std::ops::Range;

/// One column of scores: rows of four values, the first of which counts.
const STRIDE: usize = 4;

fn devices() -> Vec<Device> {
    let mut devices = vec![Device::host(), Device::oracle()];
    devices.extend(common::gpu());
    devices
}

fn batches() -> Vec<Vec<usize>> {
    let powers = vec![63, 64, 65, 127, 128, 129, 1, 191, 192, 193, 255, 256, 257];
    vec![vec![1], vec![3, 1, 2], vec![5; 300], powers, vec![1000, 1, 4097, 2], vec![100_000, 7]]
}

fn ranges(sizes: &[usize]) -> Vec<Range<usize>> {
    let [offsets, ..] = tables(sizes);
    offsets.windows(2).map(|w| w[0] as usize..w[1] as usize).collect()
}

/// Records over column 0 of the features, runs, and reads the outputs, all of them indices.
fn run(
    device: &Device,
    (sizes, column, step): (&[usize], &[f32], u32),
    spare: u32,
    build: impl Fn(&mut Tape, ValueId, &[ValueId; 3]) -> Vec<ValueId>,
) -> Vec<Vec<u32>> {
    let mut tape = Tape::new();
    let x = tape.features(1, Storage::F32, false);
    let on = tables_of(&mut tape);
    for (i, value) in build(&mut tape, x, &on).into_iter().enumerate() {
        tape.output(&i.to_string(), value);
    }
    let extent = extent(sizes);
    let capacity = Extent {
        instances: extent.instances + 100 * spare,
        bags: extent.bags + spare,
        tiles: extent.tiles + 9 * spare,
        ..extent
    };
    let program = plan::plan(&tape, Purpose::Predict, device.target(), capacity).unwrap();
    let mut executor = Executor::new(device);
    let id = executor.load(program.clone()).unwrap();
    executor.poison().unwrap();
    let rows: Vec<f32> = column.iter().flat_map(|v| [*v, 9.0, 9.0, 9.0]).collect();
    assert_eq!(rows.len(), column.len() * STRIDE);
    let [offsets, tiles, bag_tiles] = tables(sizes);
    let uploads: Vec<Upload> = program
        .inputs
        .iter()
        .map(|(key, _)| match key {
            BufferKey::Input(Input::Features) => Upload::F32(*key, &rows),
            BufferKey::Input(Input::Offsets) => Upload::U32(*key, &offsets),
            BufferKey::Input(Input::Tiles) => Upload::U32(*key, &tiles),
            BufferKey::Input(Input::BagTiles) => Upload::U32(*key, &bag_tiles),
            other => panic!("{other:?} is no input"),
        })
        .collect();
    let scalars = Scalars { seed: 11, step, ..Default::default() };
    executor.run(id, &Step { extent, scalars, uploads: &uploads, keep: &[] }).unwrap();
    let read = |(_, place, shape): &(String, _, bagrad::tape::Shape)| {
        executor.read_indices(*place, (shape.rows.of(&extent) * shape.cols) as usize).unwrap()
    };
    program.outputs.iter().map(read).collect()
}

/// Scores with many equal ones, both zeros, infinities and NaN.
fn scores(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed, 3);
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let draw = |_| match random.below(8) {
        0 => special[random.below(special.len())],
        1..=3 => random.below(40) as f32 - 20.0,
        _ => random.normal() as f32,
    };
    (0..count).map(draw).collect()
}

fn sorted(column: &[f32], sizes: &[usize]) -> Vec<Vec<u32>> {
    let descending = |a: f32, b: f32| match (a.is_nan(), b.is_nan()) {
        (false, false) => b.partial_cmp(&a).unwrap(),
        (a, b) => a.cmp(&b),
    };
    let bag = |rows: Range<usize>| {
        let mut order: Vec<u32> = rows.map(|r| r as u32).collect();
        order.sort_by(|&a, &b| descending(column[a as usize], column[b as usize]));
        order
    };
    ranges(sizes).into_iter().map(bag).collect()
}

#[test]
fn sorts_as_the_standard_library_does() {
    for device in devices() {
        for (n, sizes) in batches().into_iter().enumerate() {
            let column = scores(sizes.iter().sum(), n as u64);
            let wanted = sorted(&column, &sizes);
            let (k, spare) = (5, (n % 2) as u32);
            let found = run(&device, (&sizes, &column, 0), spare, |tape, x, on| {
                let order = tape.push1(SegmentSort { column: 0 }, &[&[x][..], on].concat()).unwrap();
                let top =
                    |tape: &mut Tape, last| tape.push1(SegmentTop { k, last }, &[&[order][..], on].concat()).unwrap();
                vec![order, top(tape, false), top(tape, true)]
            });
            assert!(found[0] == wanted.concat(), "bags {:?} on {}", &sizes[..sizes.len().min(9)], device.name());
            for (bag, wanted) in wanted.iter().enumerate() {
                let place = |j: usize| wanted.get(j).copied().unwrap_or(NO_ROW);
                let end = |j: usize| wanted.iter().rev().nth(j).copied().unwrap_or(NO_ROW);
                let range = bag * k as usize..(bag + 1) * k as usize;
                assert_eq!(found[1][range.clone()], (0..k as usize).map(place).collect::<Vec<_>>());
                assert_eq!(found[2][range], (0..k as usize).map(end).collect::<Vec<_>>());
            }
        }
    }
}

/// Rows at both ends, the lower of equals first, and none of a bag twice where the ends are to be apart.
#[test]
fn picks_both_ends() {
    for device in devices() {
        for (n, sizes) in batches().into_iter().enumerate() {
            let column = scores(sizes.iter().sum(), n as u64);
            let wanted = sorted(&column, &sizes);
            let (k, spare) = (3, (n % 2) as u32);
            let found = run(&device, (&sizes, &column, 0), spare, |tape, x, on| {
                let order = tape.push1(SegmentSort { column: 0 }, &[&[x][..], on].concat()).unwrap();
                let shuffled = tape.push1(SegmentShuffle { site: 4 }, on).unwrap();
                let mut ends =
                    |apart| tape.push1(SegmentEnds { k, apart }, &[&[order, shuffled][..], on].concat()).unwrap();
                vec![ends(false), ends(true), shuffled]
            });
            for (apart, found_ends) in found[..2].iter().enumerate() {
                for ((bag, wanted), rows) in wanted.iter().enumerate().zip(ranges(&sizes)) {
                    let count = if apart == 1 { wanted.len() / 2 } else { wanted.len() };
                    let orders = [&wanted[..], &found[2][rows]];
                    let ends = orders
                        .iter()
                        .flat_map(|order| (0..k as usize).map(move |j| if j < count { order[j] } else { NO_ROW }));
                    let at = 2 * k as usize * bag;
                    assert!(ends.eq(found_ends[at..at + 2 * k as usize].iter().copied()), "bag {bag} of {sizes:?}");
                }
            }
        }
    }
}

/// Every bag's rows once each, the same on every device, others in another step, and without preference.
#[test]
fn shuffles_each_bag() {
    for sizes in batches() {
        let column = vec![0.0; sizes.iter().sum()];
        let shuffle = |device: &Device, step| {
            let found = run(device, (&sizes, &column, step), 0, |tape, _, on| {
                vec![tape.push1(SegmentShuffle { site: 4 }, on).unwrap()]
            });
            found.into_iter().next().unwrap()
        };
        let first = shuffle(&Device::host(), 1);
        for rows in ranges(&sizes) {
            let mut bag = first[rows.clone()].to_vec();
            bag.sort_unstable();
            assert!(bag.into_iter().eq(rows.map(|r| r as u32)));
        }
        for device in devices() {
            assert!(shuffle(&device, 1) == first, "{}", device.name());
        }
        if sizes.iter().any(|n| *n > 50) {
            assert!(shuffle(&Device::host(), 2) != first, "another step, another order");
        }
    }
    let mut heads = [0; 5];
    for step in 0..2000 {
        let found = run(&Device::host(), (&[5], &[0.0; 5], step), 0, |tape, _, on| {
            vec![tape.push1(SegmentShuffle { site: 0 }, on).unwrap()]
        });
        heads[found[0][0] as usize] += 1;
    }
    assert!(heads.iter().all(|h| (330..470).contains(h)), "{heads:?}");
}

#[test]
fn keeps_rows_without_gaps() {
    for device in devices() {
        for (n, sizes) in batches().into_iter().enumerate() {
            for share in [0, 1, 50, 100] {
                let mut random = Random::new(n as u64, share);
                let mask: Vec<f32> =
                    (0..sizes.iter().sum()).map(|_| (random.below(100) < share as usize) as u32 as f32).collect();
                let found = run(&device, (&sizes, &mask, 0), (n % 2) as u32, |tape, x, on| {
                    tape.push(SegmentKeep, &[&[x][..], on].concat()).unwrap()
                });
                let (mut rows, mut offsets) = (Vec::new(), vec![0]);
                for bag in ranges(&sizes) {
                    rows.extend(bag.filter(|&r| mask[r] != 0.0).map(|r| r as u32));
                    offsets.push(rows.len() as u32);
                }
                assert!(found[0][..rows.len()] == rows, "{share} of 100 on {}", device.name());
                assert_eq!(found[1], offsets, "{share} of 100 on {}", device.name());
            }
        }
    }
}

/// Shapes that do not fit are refused.
#[test]
fn wrong_inputs_are_errors() {
    let mut tape = Tape::new();
    let x = tape.features(3, Storage::F32, false);
    let on = tables_of(&mut tape);
    assert!(tape.push(SegmentSort { column: 3 }, &[&[x][..], &on].concat()).is_err());
    assert!(tape.push(SegmentKeep, &[&[x][..], &on].concat()).is_err());
    assert!(tape.push(SegmentTop { k: 2, last: false }, &[&[x][..], &on].concat()).is_err());
    assert!(tape.push(SegmentEnds { k: 2, apart: false }, &[&[x, x][..], &on].concat()).is_err());
    let order = tape.push1(SegmentSort { column: 2 }, &[&[x][..], &on].concat()).unwrap();
    assert_eq!((tape.shape(order).rows, tape.cols(order)), (Dim::Instances, 1));
}
