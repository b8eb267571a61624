//! Rounds of loops, which one driver counts: llvmpipe ends all loops of an invocation together after 65,535 rounds and
//! goes on with what it has, without a word. What could come near that is refused.
//!
//! Loops over constants are unrolled and count nothing; loops over the columns of a row stay far below. What is left are
//! kernels in which an invocation goes through a whole bag, all its tiles, all rows or all bags.

use crate::device::executor::{Step, Upload};
use crate::error::{Error, Result};
use crate::kernels::launch::{BufferKey, Extent, Input, Launch, Scalars, Word};
use crate::plan::Program;

/// Rounds of an invocation that llvmpipe (`LP_MAX_TGSI_LOOP_ITERATIONS` of Mesa) goes through.
const MOST: u64 = 65_535;

/// True for a driver that ends loops.
pub(super) fn are_counted(info: &wgpu::AdapterInfo) -> bool {
    info.name.contains("llvmpipe")
}

/// False when no batch within the capacity of `program` comes near the limit, so that its steps need no look.
pub(super) fn could_be_too_many(program: &Program) -> bool {
    let (capacity, longest) = (&program.capacity, program.capacity.instances.into());
    program.launches.iter().any(|launch| most(launch, capacity, longest) > MOST)
}

/// Refuses a step whose loops the driver would end early.
///
/// # Errors
/// [`Error::Limit`] that names the kernel.
pub(super) fn check(program: &Program, step: &Step) -> Result<()> {
    let longest = largest_bag(step);
    for launch in &program.launches {
        let rounds = most(launch, &step.extent, longest);
        if rounds > MOST {
            let what = format!(
                "rounds of the loops in kernel {} over a bag of {longest} instances, after which llvmpipe stops without \
                 a word; --device host has no such limit and is faster",
                launch.kernel.name
            );
            return Err(Error::Limit { limit: "loop iterations", what, wanted: rounds, possible: MOST });
        }
    }
    Ok(())
}

/// Instances of the largest bag, by the offsets that are uploaded.
fn largest_bag(step: &Step) -> u64 {
    let offsets = step.uploads.iter().find_map(|upload| match upload {
        Upload::U32(BufferKey::Input(Input::Offsets), offsets) => Some(offsets),
        _ => None,
    });
    let sizes = offsets.and_then(|offsets| offsets.windows(2).map(|w| w[1].saturating_sub(w[0])).max());
    sizes.unwrap_or(step.extent.instances).into()
}

/// Rounds of an invocation of `launch` at the most, 0 where no size of a batch makes them many.
fn most(launch: &Launch, extent: &Extent, bag: u64) -> u64 {
    let words = launch.resolve(extent, &Scalars::default(), 0);
    let w = |i: usize| u64::from(words[i]);
    let tiles = bag.div_ceil(64);
    let lines = |cols: u64| cols.div_ceil(64);
    let name = launch.kernel.name;
    match name {
        // Along the inner sum, or a part of it.
        "matmul" | "matmul_coop" => w(2).min(w(9).max(1)).div_ceil(terms_at_once(launch)),
        // 32 rows of the bag at a time: their columns, and the rows once for each of three things.
        "attention_forward" | "attention_values" | "attention_back" => bag.div_ceil(32) * ((w(2) + w(3)) / 2 + 3 * 32),
        _ if name.starts_with("graph_") => bag * (2 + w(1).div_ceil(8)),
        _ if name.starts_with("link_") => bag * (2 + 2 * w(1)),
        // One workgroup for all rows, or all bags with each other.
        "cluster_count" => w(0).div_ceil(64),
        "cluster_fill" => w(0).div_ceil(64) * w(1),
        "cox_terms" | "cox_grad" => 2 * u64::from(extent.bags),
        "pairs_loss" | "pairs_grad" => lines(w(0)) * (1 + w(1)).max(64 * lines(w(1))),
        "hazard_loss" => lines(extent.bags.into()) * (1 + w(1)),
        // The tiles of a bag are put together, column after column or more than once.
        "pool_end" | "critical_end" | "critical_rows_grad" | "power_end" | "mean_end" | "mean_stats_end"
        | "max_end" | "sum_end" | "lse_end" => tiles * (3 + widest(launch) / 64),
        _ => 0,
    }
}

/// Terms of an inner sum that a round of a product takes.
fn terms_at_once(launch: &Launch) -> u64 {
    let choice = |name: &str| launch.variant.iter().find(|(n, _)| *n == name).map_or(0, |(_, value)| u64::from(*value));
    match choice("SIDE") {
        0 if launch.kernel.name == "matmul_coop" => 8,
        0 if choice("REGISTER") == 1 && choice("SINGLE") == 0 && (choice("A_T") == 0 || choice("SUBGROUP8") == 1) => 4,
        0 => 1,
        side => side,
    }
}

/// No fewer than the columns of what a launch has a row of for each tile: its largest parameter that could be that.
fn widest(launch: &Launch) -> u64 {
    let words = launch.words.iter().filter_map(|word| match word {
        Word::U(value) => Some(u64::from(*value)),
        _ => None,
    });
    words.filter(|&value| value <= 1 << 16).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::{Count, Dim, Grid, Place};

    fn launch(name: &str, words: &[u32]) -> Launch {
        let kernel = crate::kernels::all().into_iter().find(|k| k.name == name).unwrap_or_else(|| panic!("{name}"));
        let place = Place { buffer: BufferKey::Slot(0), offset: 0, bytes: 4 };
        let grid = Grid::line(Count::each(Dim::Fixed(1)));
        let words = words.iter().map(|&w| Word::U(w)).collect();
        Launch { kernel, variant: Vec::new(), places: vec![place; kernel.bindings.len()], words, grid }
    }

    #[test]
    fn what_goes_through_a_whole_bag_is_counted() {
        let rounds = |name, words: &[u32], bag| most(&launch(name, words), &Extent::of([bag]), bag.into());
        let attend = [1, 8, 64, 64];
        assert!(
            rounds("attention_forward", &attend, 10_000) < MOST && rounds("attention_back", &attend, 50_000) > MOST
        );
        assert!(rounds("link_grad", &[1, 16], 1000) < MOST && rounds("link_grad", &[1, 16], 3000) > MOST);
        assert!(rounds("cluster_fill", &[100_000, 10], 1) < MOST && rounds("cluster_fill", &[1_000_000, 10], 1) > MOST);
        assert!(rounds("pool_end", &[1, 1, 512], 100_000) < MOST && rounds("pool_end", &[1, 1, 512], 1_400_000) > MOST);
        let product = |k, chunk| [33, 32, k, k, k, 32, 0, 0, 0, chunk, 0, 1];
        assert!(rounds("matmul", &product(70_000, 70_000), 33) > MOST);
        assert!(rounds("matmul", &product(70_000, 4096), 33) < MOST && rounds("fill", &[1 << 30], 1 << 30) == 0);
        let variant = vec![("SIDE", 16)];
        let tiled = Launch { variant, ..launch("matmul", &product(1_000_000, u32::MAX)) };
        assert_eq!(most(&tiled, &Extent::of([33]), 33), 62_500);
    }
}
