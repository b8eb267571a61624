//! How bags become the inputs of a program: packed rows, tables of tiles and offsets, labels and targets.

use crate::Features;
use crate::bag::Bags;
use crate::device::executor::{StoreId, Upload};
use crate::error::Result;
use crate::kernels::launch::{BatchTables, BufferKey, Extent, Input, Pseudo, Window};
use crate::model::Spec;
use crate::plan::Program;
use crate::tape::{Storage, feature_stride};
use crate::target::{Number, Target};
use half::f16;
use std::ops::Range;

/// The tables and targets of one packed batch; the vectors are reused from step to step.
#[derive(Default)]
pub(super) struct Batch {
    pub tables: BatchTables,
    pub labels: Vec<u32>,
    pub targets: Vec<f32>,
    pub weights: Vec<f32>,
    /// Survival times of the bags.
    pub times: Vec<f32>,
    /// 1 where a bag's event came, 0 where it is censored.
    pub events: Vec<f32>,
    /// Labels, targets and weights of pseudo-bags.
    pub pseudo: PseudoLabels,
    /// What the host made of what it read of the bags (see [`crate::passes::HostRule`]).
    pub given: Vec<f32>,
    pub rows: Rows,
    pub coords: Vec<f32>,
}

/// What the bags' labels and weights are for their pseudo-bags.
#[derive(Default)]
pub(super) struct PseudoLabels {
    pub labels: Vec<u32>,
    pub targets: Vec<f32>,
    pub weights: Vec<f32>,
}

/// Rows of features at the stride and in the storage of the device.
#[derive(Default)]
pub(super) struct Rows {
    pub f32: Vec<f32>,
    pub f16: Vec<f16>,
}

impl Batch {
    /// Class of each bag, as an index and as targets of the outputs: one for each class, or for each but the first.
    pub fn set_labels(&mut self, labels: impl Iterator<Item = u32>, classes: u32, outputs: u32) {
        let first = classes.saturating_sub(outputs);
        self.labels.clear();
        self.targets.clear();
        for label in labels {
            self.labels.push(label);
            self.targets.extend((first..first + outputs).map(|c| (c == label) as u32 as f32));
        }
    }
}

impl Batch {
    /// What bags have of a target that is no plain class, in the form that its loss takes. Of bags without it, which are
    /// predicted, there is something that nobody looks at.
    pub fn set_target(&mut self, spec: &Spec, bags: &Bags, indices: &[usize], weights: &[f32]) {
        for values in [&mut self.targets, &mut self.times, &mut self.events] {
            values.clear();
        }
        self.labels.clear();
        self.weights.clear();
        self.weights.extend_from_slice(weights);
        let value = |bag: usize| bags.responses.as_ref().map_or(0.0, |r| r.values()[bag]);
        let time = |bag: usize| Some(value(bag)).filter(|v| !v.is_nan()).unwrap_or(0.0);
        let event = |bag: usize| bags.responses.as_ref().and_then(|r| r.survival()).is_some_and(|(_, e)| e[bag]);
        for &bag in indices {
            let mut label = 0;
            match &spec.target {
                Target::Number(Number { center, scale, .. }) => {
                    self.targets.push(((f64::from(time(bag)) - center) / scale) as f32);
                }
                Target::Hazards(hazards) => label = hazards.interval(time(bag)) as u32,
                Target::Ordered => {
                    label = bags.label(bag).unwrap_or(0);
                    let later = (1..spec.classes.len() as u32).map(|class| f32::from(u8::from(class <= label)));
                    self.targets.extend(later);
                }
                Target::Cox(_) | Target::Classes | Target::LabelSets => {}
            }
            self.labels.push(label);
            self.times.push(time(bag));
            self.events.push(f32::from(u8::from(event(bag))));
        }
    }

    /// Labels and weights of the pseudo-bags: the label of their bag, and an even share of its weight.
    pub fn set_pseudo_bags(&mut self) {
        let PseudoLabels { labels, targets, weights } = &mut self.pseudo;
        labels.clear();
        targets.clear();
        weights.clear();
        let outputs = self.targets.len() / self.labels.len().max(1);
        for (bag, share) in self.tables.pseudo_bags_in_bags() {
            labels.push(self.labels[bag]);
            targets.extend_from_slice(&self.targets[bag * outputs..(bag + 1) * outputs]);
            weights.push(self.weights[bag] / share as f32);
        }
    }

    /// Targets of bags that have any subset of the labels, and a weight for each of them: that of `weights`, which has one
    /// for each bag or one for each label of each bag, and 0 for what is not known.
    pub fn set_label_sets<'a>(
        &mut self,
        sets: impl ExactSizeIterator<Item = Option<&'a [Option<bool>]>>,
        labels: usize,
        weights: &[f32],
    ) {
        let each = weights.len() / sets.len();
        self.labels.clear();
        self.targets.clear();
        self.weights.clear();
        for (set, weights) in sets.zip(weights.chunks_exact(each)) {
            for label in 0..labels {
                let known = set.and_then(|set| set[label]);
                let weight = weights[if each == 1 { 0 } else { label }];
                self.targets.push(f32::from(u8::from(known == Some(true))));
                self.weights.push(if known.is_some() { weight } else { 0.0 });
            }
        }
    }
}

/// Sizes of a batch of these bags, without packing it. Of a model that cuts bags into pseudo-bags,
/// [`super::Session::extent_of`] tells the sizes of those too.
///
/// # Errors
/// [`crate::Error::Bags`] when there is no such bag.
pub fn extent_of(bags: &Bags, indices: &[usize]) -> Result<Extent> {
    cut_extent(bags, indices, None)
}

/// The same of bags that may be cut into pseudo-bags.
pub(super) fn cut_extent(bags: &Bags, indices: &[usize], pseudo: Option<Pseudo>) -> Result<Extent> {
    bags.check_indices(indices)?;
    Ok(Extent::cut(indices.iter().map(|&i| bags.rows(i).len() as u32), pseudo))
}

impl Rows {
    /// Copies ranges of rows of `bags`.
    ///
    /// # Errors
    /// [`Error::Bags`] for a value that f16 cannot hold, where that is the storage, and [`Error::Format`] for a file of
    /// features that changed since it was mapped.
    pub fn pack(&mut self, bags: &Bags, storage: Storage, ranges: impl Iterator<Item = Range<usize>>) -> Result<()> {
        self.f32.clear();
        self.f16.clear();
        bags.features.check_unchanged()?;
        for rows in ranges {
            let (start, packed) = (rows.start, self.f16.len());
            self.append(&bags.features, bags.width, storage, rows);
            // What lies in f16 was looked at before.
            let narrowed = if bags.features.is_half() { &[] } else { &self.f16[packed..] };
            if let Some(at) = narrowed.iter().position(|v| v.is_infinite()) {
                let stride = feature_stride(bags.width);
                return Err(bags.beyond_f16(start + at / stride, at % stride));
            }
        }
        bags.features.check_unchanged()
    }

    fn append(&mut self, features: &Features, width: usize, storage: Storage, rows: Range<usize>) {
        let sizes @ (_, stride) = (width, feature_stride(width));
        match (features, storage) {
            (Features::Mapped(file), _) => {
                if file.is_half() == (storage == Storage::F16)
                    && let Some(lying) = file.as_they_lie(rows.clone(), stride)
                {
                    match storage {
                        Storage::F16 => lying.for_each(|b| self.f16.extend_from_slice(bytemuck::cast_slice(b))),
                        _ => lying.for_each(|b| self.f32.extend_from_slice(bytemuck::cast_slice(b))),
                    }
                    return;
                }
                let count = rows.len();
                self.append(&file.read(rows.start * width..rows.end * width), width, storage, 0..count);
            }
            (Features::F32(v), Storage::F16) => append(&mut self.f16, v, rows, sizes, f16::from_f32),
            (Features::F16(v), Storage::F16) => append(&mut self.f16, v, rows, sizes, |x| x),
            (Features::F32(v), _) if width == stride => {
                self.f32.extend_from_slice(&v[rows.start * width..rows.end * width]);
            }
            (Features::F32(v), _) => append(&mut self.f32, v, rows, sizes, |x| x),
            (Features::F16(v), _) => append(&mut self.f32, v, rows, sizes, f16::to_f32),
        }
    }

    /// What was packed, as bytes.
    pub fn bytes(&self, storage: Storage) -> &[u8] {
        match storage {
            Storage::F16 => bytemuck::cast_slice(&self.f16),
            _ => bytemuck::cast_slice(&self.f32),
        }
    }
}

fn append<S: Copy, T: Copy + Default>(
    out: &mut Vec<T>,
    from: &[S],
    rows: Range<usize>,
    (width, stride): (usize, usize),
    convert: impl Fn(S) -> T,
) {
    for row in from[rows.start * width..rows.end * width].chunks_exact(width) {
        out.extend(row.iter().map(|v| convert(*v)));
        out.extend(std::iter::repeat_n(T::default(), stride - width));
    }
}

/// What a program reads of a batch. `source` is where each bag's rows (of `row` bytes) lie on the device; empty
/// when they are uploaded.
pub(super) fn uploads<'a>(
    program: &Program,
    batch: &'a Batch,
    storage: Storage,
    row: u64,
    source: &[(StoreId, u64)],
) -> Result<Vec<Upload<'a>>> {
    let mut uploads = Vec::with_capacity(8 + source.len());
    for (key, _) in &program.inputs {
        let BufferKey::Input(input) = key else { continue };
        match input {
            Input::Features if source.is_empty() => match storage {
                Storage::F16 => uploads.push(Upload::F16(*key, &batch.rows.f16)),
                _ => uploads.push(Upload::F32(*key, &batch.rows.f32)),
            },
            Input::Features => {
                for (bag, (store, from)) in source.iter().enumerate() {
                    let (first, end) = (batch.tables.offsets[bag] as u64, batch.tables.offsets[bag + 1] as u64);
                    let (to, bytes) = (first * row, (end - first) * row);
                    uploads.push(Upload::Stored { key: *key, to, store: *store, from: *from, bytes });
                }
            }
            Input::Coords => uploads.push(Upload::F32(*key, &batch.coords)),
            Input::Offsets => uploads.push(Upload::U32(*key, &batch.tables.offsets)),
            Input::Tiles => uploads.push(Upload::U32(*key, &batch.tables.tiles)),
            Input::BagTiles => uploads.push(Upload::U32(*key, &batch.tables.bag_tiles)),
            Input::TokenOffsets => uploads.push(Upload::U32(*key, &batch.tables.tokens.offsets)),
            Input::TokenTiles => uploads.push(Upload::U32(*key, &batch.tables.tokens.tiles)),
            Input::ClassTokens => uploads.push(Upload::U32(*key, batch.tables.tokens.classes())),
            Input::PseudoOffsets => uploads.push(Upload::U32(*key, &batch.tables.pseudo_bags.offsets)),
            Input::PseudoTiles => uploads.push(Upload::U32(*key, &batch.tables.pseudo_bags.tiles)),
            Input::PseudoBagTiles => uploads.push(Upload::U32(*key, &batch.tables.pseudo_bags.segment_tiles)),
            Input::PseudoLabels => uploads.push(Upload::U32(*key, &batch.pseudo.labels)),
            Input::PseudoTargets => uploads.push(Upload::F32(*key, &batch.pseudo.targets)),
            Input::PseudoWeights => uploads.push(Upload::F32(*key, &batch.pseudo.weights)),
            Input::DistilledOffsets => uploads.push(Upload::U32(*key, &batch.tables.distilled.offsets)),
            Input::DistilledTiles => uploads.push(Upload::U32(*key, &batch.tables.distilled.tiles)),
            Input::DistilledBagTiles => uploads.push(Upload::U32(*key, &batch.tables.distilled.segment_tiles)),
            Input::Labels => uploads.push(Upload::U32(*key, &batch.labels)),
            Input::Targets => uploads.push(Upload::F32(*key, &batch.targets)),
            Input::Weights => uploads.push(Upload::F32(*key, &batch.weights)),
            Input::Given => uploads.push(Upload::F32(*key, &batch.given)),
            Input::Times => uploads.push(Upload::F32(*key, &batch.times)),
            Input::Events => uploads.push(Upload::F32(*key, &batch.events)),
        }
    }
    Ok(uploads)
}

/// Rows `rows` of a packed batch: the bags in them, and how many of each.
pub(super) struct Cut {
    /// Rows of the batch.
    pub rows: Range<usize>,
    /// Where it begins.
    pub window: Window,
    /// Rows of each of its bags.
    pub sizes: Vec<usize>,
}

/// Cuts a batch with these offsets into windows of at most `size` rows.
pub(super) fn cut(offsets: &[u32], size: usize) -> Vec<Cut> {
    let total = *offsets.last().unwrap_or(&0) as usize;
    let mut bag = 0;
    let windows = (0..total).step_by(size).map(|start| {
        let rows = start..(start + size).min(total);
        while offsets[bag + 1] as usize <= start {
            bag += 1;
        }
        let window =
            Window { first_row: start as u32, first_bag: bag as u32, continued: (offsets[bag] as usize) < start };
        let bags = offsets[bag..].windows(2).map(|b| b[0] as usize..b[1] as usize);
        let inside = bags.take_while(|b| b.start < rows.end);
        let sizes = inside.map(|b| b.end.min(rows.end) - b.start.max(rows.start)).collect();
        Cut { rows, window, sizes }
    });
    windows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_row_once() {
        for sizes in [vec![1], vec![10], vec![3, 1, 4, 1, 5], vec![8, 8], vec![4, 20, 1]] {
            let mut offsets = vec![0u32];
            sizes.iter().for_each(|n| offsets.push(offsets.last().unwrap() + n));
            for size in [1, 3, 4, 8, 100] {
                let mut seen = vec![0; sizes.len()];
                let mut row = 0;
                for cut in cut(&offsets, size) {
                    assert_eq!(cut.rows.start, row);
                    assert_eq!(cut.window.first_row as usize, row);
                    assert_eq!(cut.sizes.iter().sum::<usize>(), cut.rows.len());
                    assert!(cut.sizes.iter().all(|n| *n > 0) && cut.rows.len() <= size);
                    let first = cut.window.first_bag as usize;
                    assert_eq!(cut.window.continued, seen[first] > 0);
                    cut.sizes.iter().enumerate().for_each(|(b, n)| seen[first + b] += *n as u32);
                    row = cut.rows.end;
                }
                assert_eq!(seen, sizes);
            }
        }
    }
}
