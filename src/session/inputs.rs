//! The bags of a step, and features that stay on the device.

use super::{Session, teacher};
use crate::bag::Bags;
use crate::device::Device;
use crate::device::executor::StoreId;
use crate::error::Result;
use crate::tape::feature_stride;

/// Features of a whole set of bags kept on the device, so that a step uploads none.
pub struct Resident {
    /// Store and first byte of each bag.
    pub(super) places: Vec<(StoreId, u64)>,
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
            Some(kept) => teacher::runs(&kept[n], self.bags.rows(i).start),
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
            self.batch.rows.pack(bags, self.storage, std::iter::once(rows));
            let packed = self.batch.rows.bytes(self.storage);
            let Some(store) = self.executor.store(packed, self.storage)? else { return Ok(None) };
            self.stored += bytes;
            let base = bags.offsets[start];
            places.extend((start..next).map(|b| (store, (bags.offsets[b] - base) as u64 * row)));
        }
        Ok(Some(Resident { places }))
    }
}
