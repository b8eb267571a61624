//! The bags of a step, and features that stay on the device.

use super::Session;
use crate::bag::{Bags, runs};
use crate::device::Device;
use crate::device::executor::StoreId;
use crate::error::{Error, Result};
use crate::tape::feature_stride;

/// Instances of a batch, at most, so that they and their tokens can be counted in 32 bits.
const MOST_ROWS: usize = 1 << 31;

/// Features of a whole set of bags kept on the device, so that a step uploads none.
pub struct Resident {
    /// Store and first byte of each bag.
    pub(super) places: Vec<(StoreId, u64)>,
    /// Rows of each bag.
    rows: Vec<usize>,
    /// Number of the session that holds them.
    session: u64,
}

/// The bags of a step.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub bags: &'a Bags,
    pub indices: &'a [usize],
    pub resident: Option<&'a Resident>,
    /// Rows of each bag that are left of it; all when `None`. Their features are not resident.
    pub kept: Option<&'a [Vec<usize>]>,
}

impl<'a> Inputs<'a> {
    pub fn of(bags: &'a Bags, indices: &'a [usize], resident: Option<&'a Resident>) -> Self {
        Self { bags, indices, resident, kept: None }
    }

    /// Instances of each bag.
    pub fn sizes(&self) -> impl Iterator<Item = usize> {
        let size = |(n, &i): (usize, &usize)| self.kept.map_or(self.bags.rows(i).len(), |kept| kept[n].len());
        self.indices.iter().enumerate().map(size)
    }

    /// Runs of rows of `bags`, in order.
    pub fn runs(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.indices.iter().enumerate().flat_map(|(n, &i)| match self.kept {
            None => vec![self.bags.rows(i)],
            Some(kept) => runs(&kept[n], self.bags.rows(i).start),
        })
    }
}

impl Session {
    /// Keeps the features of all `bags` on the device if they fit; steps over them then upload none.
    ///
    /// # Errors
    /// What the device answers, other than being out of memory.
    pub fn keep(&mut self, bags: &Bags) -> Result<Option<Resident>> {
        self.check_width(bags)?;
        bags.check_indices(&(0..bags.len()).collect::<Vec<_>>())?;
        // The host's rows are in its memory already.
        if !matches!(self.device, Device::Gpu(_)) {
            return Ok(None);
        }
        let limit = self.executor.store_limit();
        let row = feature_stride(bags.width) as u64 * self.element();
        let all = *bags.offsets.last().unwrap_or(&0) as u64 * row;
        if self.budget.is_some_and(|budget| self.executor.memory().0 + all > budget) {
            return Ok(None);
        }
        let mut places = Vec::with_capacity(bags.len());
        let mut next = 0;
        while next < bags.len() {
            let (start, mut bytes) = (next, 0u64);
            while next < bags.len() && bytes + bags.rows(next).len() as u64 * row <= limit {
                bytes += bags.rows(next).len() as u64 * row;
                next += 1;
            }
            if next == start {
                return Ok(None);
            }
            let rows = bags.offsets[start]..bags.offsets[next];
            self.batch.rows.pack(bags, self.storage, std::iter::once(rows))?;
            let packed = self.batch.rows.bytes(self.storage);
            let Some(store) = self.executor.store(packed, self.storage)? else { return Ok(None) };
            self.stored += bytes;
            let base = bags.offsets[start];
            places.extend((start..next).map(|b| (store, (bags.offsets[b] - base) as u64 * row)));
        }
        let rows = (0..bags.len()).map(|b| bags.rows(b).len()).collect();
        Ok(Some(Resident { places, rows, session: self.number }))
    }

    /// Refuses what a step cannot be made of: no bags, bags that there are not or that do not lie within the features,
    /// a number of weights other than that of the bags (or of their labels) or weights that are not finite, features of another model's
    /// width, and features that stay on the device for another session or for other bags.
    pub(super) fn check_inputs(&self, inputs: &Inputs, weights: Option<&[f32]>) -> Result<()> {
        let Inputs { bags, indices, resident, .. } = *inputs;
        self.check_width(bags)?;
        if indices.is_empty() {
            return Err(Error::bags("a batch needs at least one bag, found none"));
        }
        bags.check_indices(indices)?;
        let rows: usize = indices.iter().map(|&b| bags.rows(b).len()).sum();
        if rows > MOST_ROWS {
            let message =
                format!("a batch of {} bags has {rows} instances, at most {MOST_ROWS} are possible", indices.len());
            return Err(Error::bags(message + "; use fewer bags a batch"));
        }
        if let Some(weights) = weights {
            let labels = if self.model.spec().target.is_label_sets() { self.model_classes() } else { 1 };
            if weights.len() != indices.len() && weights.len() != indices.len() * labels {
                let or = if labels > 1 { format!(", or for each of their {labels} labels") } else { String::new() };
                let expected = format!("a weight for each of {} bags{or}", indices.len());
                let found = format!("{} weights", weights.len());
                return Err(Error::Shape { operation: "weights of bags", expected, found });
            }
            if let Some(n) = weights.iter().position(|w| !w.is_finite()) {
                return Err(Error::bags(format!(
                    "the weight of bag {} is {}; expected a number",
                    indices[n / (weights.len() / indices.len())],
                    weights[n]
                )));
            }
        }
        let Some(resident) = resident else { return Ok(()) };
        let kept = |&b: &usize| resident.rows.get(b) == Some(&bags.rows(b).len());
        if resident.session != self.number || resident.rows.len() != bags.len() || !indices.iter().all(kept) {
            let message = "the features that stay on the device are those of another session or of other bags; call \
                           Session::keep with these bags";
            return Err(Error::bags(message));
        }
        Ok(())
    }
}
