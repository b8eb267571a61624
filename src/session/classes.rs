//! Parameters that learn from bags of one class alone: which of them have a part in an update, and how many they had.

use super::Session;
use crate::device::executor::Upload;
use crate::groups::OfClass;
use crate::kernels::launch::BufferKey;
use crate::ops::update::Optimiser;
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct Classes {
    /// Updates that had bags of each class.
    pub updates: Vec<u64>,
    /// Classes of the bags of the next update.
    present: BTreeSet<u32>,
    /// The table of groups of that update; empty where no parameter learns from one class alone.
    table: Vec<u32>,
}

impl Classes {
    /// The table, for the program that updates.
    pub fn upload(&self) -> Option<Upload<'_>> {
        Some(Upload::U32(BufferKey::GroupTable, &self.table)).filter(|_| !self.table.is_empty())
    }
}

impl Session {
    /// Notes the classes of the batch that was set. They are those of one update with the ones of batches whose gradients
    /// wait for it.
    pub(super) fn note_classes(&mut self) {
        if self.tape.sources().is_empty() {
            return;
        }
        if self.pending == 0 {
            self.classes.present.clear();
        }
        self.classes.present.extend(&self.batch.labels);
    }

    /// Makes the table of groups of the next update.
    pub(super) fn lay_out_groups(&mut self, optimiser: &Optimiser) {
        if self.tape.sources().is_empty() {
            return;
        }
        let Classes { updates, present, .. } = &self.classes;
        let all = self.updates + 1;
        let table = self.tape.group_table(|class, second| {
            let rule = optimiser.second.filter(|_| second).map_or(optimiser.rule, |second| second.rule);
            let own = rule.corrections(updates.get(class as usize).map_or(0, |n| *n) + 1);
            let common = rule.corrections(all);
            // What is 0 is not divided by yet, and so not by fewer updates either.
            let factor = |own: f32, common: f32| if common == 0.0 { 0.0 } else { own / common };
            let corrections = [factor(own.0, common.0), factor(own.1, common.1)];
            OfClass { left_out: !present.contains(&class), corrections }
        });
        self.classes.table = table;
    }

    /// Counts an update for the classes that it had.
    pub(super) fn count_classes(&mut self) {
        let Classes { updates, present, .. } = &mut self.classes;
        for &class in &*present {
            let class = class as usize;
            updates.resize(updates.len().max(class + 1), 0);
            updates[class] += 1;
        }
    }
}
