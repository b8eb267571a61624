//! Launches around backward in mixed precision: the gradient starts as the scale of the loss, and is divided by
//! it again before the update.

use crate::kernels::launch::{BufferKey, Count, Dim, Grid};
use crate::kernels::scaling as k;
use crate::planner::{Operand, Planner};
use crate::precision::{LEAST_SCALE, LossScale, MOST_SCALE};
use crate::value::ValueId;

const STATE: Operand = Operand::Flat(BufferKey::LossScale);

/// Writes the scale to `to`, the gradient of the loss.
pub(crate) fn seed(p: &mut Planner, to: ValueId, scale: &LossScale) {
    let grid = Grid::line(Count::each(Dim::Fixed(1)));
    p.launch(&k::SCALE_SEED, &[STATE, to.into()], &[scale.first.into()], grid);
}

/// Takes the scale out of all gradients, `count` values, and moves it. Returns the table of groups to update
/// with, `words` of it, which freezes all parameters when a gradient is not finite.
pub(crate) fn judge(p: &mut Planner, scale: &LossScale, count: usize, words: u32) -> Operand {
    let parts = (count as u32).div_ceil(k::PART);
    let flags = p.temp_index(Dim::Fixed(parts), 1);
    let table = p.temp_index(Dim::Fixed(words), 1);
    let grid = Grid::line(Count::each(Dim::Fixed(parts)));
    let count = (count as u32).into();
    p.launch(&k::UNSCALE, &[Operand::Flat(BufferKey::Grads), STATE, flags.into()], &[count], grid);
    let operands = [flags.into(), Operand::Flat(BufferKey::GroupTable), STATE, table.into()];
    let limits = [scale.grow_every.into(), LEAST_SCALE.into(), MOST_SCALE.into()];
    let words = [&[parts.into(), words.into()][..], &limits].concat();
    p.launch(&k::SCALE_JUDGE, &operands, &words, Grid::line(Count::each(Dim::Fixed(1))));
    table.into()
}
