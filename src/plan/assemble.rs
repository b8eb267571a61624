//! The last step of planning: last uses, pooled slots, and launches whose buffers are fixed.

use super::{Program, Purpose};
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Extent, Input, Launch, Place};
use crate::passes::Parameters;
use crate::planner::{Operand, Planner};
use crate::tape::{SEGMENT, Source, Tape, Value, ValueId};

/// Bytes of `count` elements in `storage`. Buffers are rounded up to 256 so that vector reads may run over.
fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(256).max(256)
}

fn bytes_of(value: &Value, capacity: &Extent) -> u64 {
    padded(value.shape.rows.of(capacity) as u64 * value.row_bytes())
}

pub(super) fn assemble(
    planner: Planner,
    tape: &Tape,
    purpose: Purpose,
    upstream: &[(ValueId, BufferKey)],
) -> Result<Program> {
    if let Some((operation, input)) = planner.dropped {
        let (expected, found) = (format!("a gradient for input {input} (from 0)"), "none that it computes".to_string());
        return Err(Error::Shape { operation, expected, found });
    }
    let Planner { target, capacity, values, drafts, grads, alias, .. } = planner;
    let resolve = |v: ValueId| alias.iter().find(|(o, _)| *o == v).map_or(v, |(_, i)| *i);
    let layout = tape.param_layout();
    let mut last_use = vec![0usize; values.len()];
    for (n, draft) in drafts.iter().enumerate() {
        for operand in &draft.operands {
            if let Operand::Value(v) | Operand::Rows(v, ..) = operand {
                last_use[v.index()] = n;
            }
        }
    }
    let forever = drafts.len();
    let named = super::outputs(tape, purpose);
    named.iter().for_each(|(_, v)| last_use[resolve(*v).index()] = forever);
    if let Some(loss) = tape.loss {
        last_use[loss.index()] = forever;
    }
    let features = tape.values.iter().position(|v| matches!(v.source, Source::Input(Input::Features)));
    let feature_grad = features.and_then(|f| grads[f]).filter(|_| !purpose.only_forward());
    if let Some(grad) = feature_grad {
        last_use[grad.index()] = forever;
    }

    let params = match purpose {
        Purpose::Look { number, .. } if tape.passes.looks[number as usize].parameters == Parameters::Follower => {
            BufferKey::Follower
        }
        _ => BufferKey::Params,
    };
    let mut pool = SlotPool::default();
    let mut slot_of: Vec<Option<u16>> = vec![None; values.len()];
    let mut inputs: Vec<(BufferKey, u64)> = Vec::new();
    let mut launches = Vec::with_capacity(drafts.len());
    let place = |value: ValueId, slot_of: &[Option<u16>]| -> Place {
        let described = &values[value.index()];
        let bytes = bytes_of(described, &capacity);
        match described.source {
            Source::Input(input) => Place { buffer: BufferKey::Input(input), offset: 0, bytes },
            Source::Kept(buffer) => Place { buffer, offset: 0, bytes },
            Source::Param(p) => Place { buffer: params, offset: layout.offsets[p as usize] as u64 * 4, bytes },
            Source::Node => match upstream.iter().find(|(v, _)| *v == value) {
                Some((_, key)) => Place { buffer: *key, offset: 0, bytes },
                None => {
                    let slot = slot_of[value.index()].expect("a value is used before it is written");
                    Place { buffer: BufferKey::Slot(slot), offset: 0, bytes }
                }
            },
        }
    };
    for (n, draft) in drafts.into_iter().enumerate() {
        for operand in &draft.operands {
            let (Operand::Value(v) | Operand::Rows(v, ..)) = *operand else { continue };
            let pooled = values[v.index()].source == Source::Node && !upstream.iter().any(|(u, _)| *u == v);
            if pooled && slot_of[v.index()].is_none() {
                slot_of[v.index()] = Some(pool.take(bytes_of(&values[v.index()], &capacity)));
            }
        }
        let places: Vec<Place> = draft
            .operands
            .iter()
            .map(|operand| match *operand {
                Operand::Value(v) => place(v, &slot_of),
                Operand::Rows(v, first, count) => {
                    let row = values[v.index()].row_bytes();
                    let (skip, whole) = (first as u64 * row, place(v, &slot_of));
                    let bytes = (whole.bytes - skip).min(padded(count as u64 * row));
                    Place { offset: whole.offset + skip, bytes, ..whole }
                }
                Operand::ParamGrad(p) => {
                    let param = &tape.params[p as usize];
                    Place {
                        buffer: BufferKey::Grads,
                        offset: layout.offsets[p as usize] as u64 * 4,
                        bytes: padded(param.rows as u64 * param.cols as u64 * 4),
                    }
                }
                Operand::Flat(buffer) => {
                    let count = match buffer {
                        BufferKey::Groups => layout.total / SEGMENT,
                        BufferKey::GroupTable => tape.group_table_len(),
                        BufferKey::LossScale => SEGMENT,
                        _ => layout.total,
                    };
                    Place { buffer, offset: 0, bytes: padded(count as u64 * 4) }
                }
            })
            .collect();
        for p in &places {
            if p.bytes > target.max_binding {
                return Err(Error::Limit {
                    limit: "max_storage_buffer_binding_size",
                    what: format!("{} ({} instances)", draft.kernel.name, capacity.instances),
                    wanted: p.bytes,
                    possible: target.max_binding,
                });
            }
            let outside = matches!(p.buffer, BufferKey::Input(_) | BufferKey::Upstream(_));
            if outside {
                let end = p.offset + p.bytes;
                match inputs.iter_mut().find(|(k, _)| *k == p.buffer) {
                    Some((_, bytes)) => *bytes = end.max(*bytes),
                    None => inputs.push((p.buffer, end)),
                }
            }
        }
        for operand in &draft.operands {
            if let Operand::Value(v) | Operand::Rows(v, ..) = *operand
                && last_use[v.index()] == n
                && let Some(slot) = slot_of[v.index()]
            {
                pool.give(slot);
                // The same value may be bound twice; it must be given back once.
                last_use[v.index()] = usize::MAX;
            }
        }
        launches.push(Launch {
            kernel: draft.kernel,
            variant: draft.variant,
            places,
            words: draft.words,
            grid: draft.grid,
        });
    }
    let outputs = named
        .into_iter()
        .map(|(name, v)| (name, resolve(v)))
        .filter(|(_, v)| slot_of[v.index()].is_some() || matches!(values[v.index()].source, Source::Kept(_)))
        .map(|(name, v)| (name, place(v, &slot_of), values[v.index()].shape))
        .collect();
    let loss = tape.loss.filter(|l| slot_of[l.index()].is_some()).map(|l| place(l, &slot_of));
    let feature_grad = feature_grad.map(|g| (place(g, &slot_of), values[g.index()].shape));
    Ok(Program { launches, slots: pool.bytes, capacity, outputs, loss, feature_grad, inputs })
}

/// Pooled memory: a slot is free again after the last use of the value in it.
#[derive(Default)]
struct SlotPool {
    bytes: Vec<u64>,
    free: Vec<u16>,
}

impl SlotPool {
    /// The smallest free slot that fits; else the largest free one, grown; else a new one.
    fn take(&mut self, bytes: u64) -> u16 {
        let fits = |s: &&u16| self.bytes[**s as usize] >= bytes;
        let best = self.free.iter().filter(fits).min_by_key(|s| self.bytes[**s as usize]).copied();
        // A slot four times too large is better kept for a value that fills it.
        let best = best.filter(|s| self.bytes[*s as usize] <= bytes.saturating_mul(4));
        let chosen = best.or_else(|| {
            let largest = self.free.iter().filter(|s| self.bytes[**s as usize] < bytes);
            largest.max_by_key(|s| self.bytes[**s as usize]).copied().filter(|s| self.bytes[*s as usize] * 2 > bytes)
        });
        match chosen {
            Some(slot) => {
                self.free.retain(|s| *s != slot);
                let size = &mut self.bytes[slot as usize];
                *size = (*size).max(bytes);
                slot
            }
            None => {
                self.bytes.push(bytes);
                u16::try_from(self.bytes.len() - 1).expect("fewer than 65,536 slots")
            }
        }
    }

    fn give(&mut self, slot: u16) {
        debug_assert!(!self.free.contains(&slot));
        self.free.push(slot);
    }
}
