//! Pseudo-bags. In a prediction the instances are dealt out in turn, so all of it follows from their number and scores.

use super::graph::{Name, int};
use super::proto::element;
use super::translation::{At, Done, Parts};
use crate::ops::pseudo_bags::{DealOut, Distil, PermuteRows};
use crate::ops::sort::SegmentSort;

/// The pseudo-bags of the bag.
pub fn parts(at: &mut At) -> Done<Parts> {
    let Some(pseudo) = at.t.tape.pseudo else { return Err("has pseudo-bags that the model does not tell of".into()) };
    at.parts(|at| Ok(dealt(at, pseudo.bags)))
}

/// Instance r goes to part r mod parts; the first parts have one more where they are not all as large.
fn dealt(at: &mut At, most: u32) -> Parts {
    let count = at.instances();
    let count = at.scalar(&count);
    let most = at.whole_number(i64::from(most));
    let parts = at.op("Min", &[&count, &most]);
    let short = at.op("Div", &[&count, &parts]);
    let longer = at.op("Mod", &[&count, &parts]);
    let rows = at.range(&count);
    let numbers = at.range(&parts);
    // Of parts by number: the first place, and how many.
    let first_of = |at: &mut At, part: &str| {
        let before = at.op("Mul", &[part, &short]);
        let more = at.op("Min", &[part, &longer]);
        at.op("Add", &[&before, &more])
    };
    let first = first_of(at, &numbers);
    let is_longer = at.op("Less", &[&numbers, &longer]);
    let one_more = at.cast(&is_longer, element::INT64);
    let own = at.op("Add", &[&one_more, &short]);
    let part = at.op("Mod", &[&rows, &parts]);
    let turn = at.op("Div", &[&rows, &parts]);
    let start = first_of(at, &part);
    let inverse = at.op("Add", &[&start, &turn]);
    let order = at.with("ScatterElements", &[&rows, &inverse, &rows], vec![int("axis", 0)]);
    let part = at.gather(&part, &order, 0);
    Parts { count: parts, first, own, order, inverse, part }
}

/// A list as a column.
fn column(at: &mut At, list: &str) -> Name {
    at.reshape(list, &[-1, 1])
}

pub fn deal_out(at: &mut At, _: &DealOut) -> Done {
    let parts = parts(at)?;
    let (order, inverse) = (column(at, &parts.order), column(at, &parts.inverse));
    at.give(0, order);
    at.give(1, inverse);
    Ok(())
}

pub fn permute(at: &mut At, _: &PermuteRows) -> Done {
    let (x, order) = (at.x(0)?, at.x(1)?);
    let order = at.reshape(&order, &[-1]);
    let y = at.gather(&x, &order, 0);
    at.give(0, y);
    Ok(())
}

/// The numbers of a list from the largest of `by` down; of equals the first comes first.
fn sorted(at: &mut At, by: &str) -> Name {
    let count = at.size(by, 0);
    at.several("TopK", &[by, &count], vec![int("axis", 0)], 2).swap_remove(1)
}

pub fn sort(at: &mut At, of: &SegmentSort) -> Done {
    let x = at.x(0)?;
    let by = at.slice(&x, 1, i64::from(of.column), i64::from(of.column) + 1);
    let by = at.reshape(&by, &[-1]);
    let mut order = sorted(at, &by);
    if at.over_parts() {
        // All rows by their score, and then by their part: the second order keeps the first among equals.
        let parts = parts(at)?;
        let part = at.gather(&parts.part, &order, 0);
        let part = at.cast(&part, element::FLOAT);
        let backwards = at.op("Neg", &[&part]);
        let again = sorted(at, &backwards);
        order = at.gather(&order, &again, 0);
    }
    let y = column(at, &order);
    at.give(0, y);
    Ok(())
}

/// The rows of each rank, part by part, where a part has so many; of two sides the first and the last.
pub fn distil(at: &mut At, of: &Distil) -> Done {
    let (order, parts) = (at.x(0)?, parts(at)?);
    let order = at.reshape(&order, &[-1]);
    let ranks: Vec<i64> = (0..i64::from(of.0.rows)).collect();
    let ranks = at.whole(&ranks);
    let ranks = column(at, &ranks);
    let (first, own) = (at.reshape(&parts.first, &[1, -1]), at.reshape(&parts.own, &[1, -1]));
    let from_first = at.op("Add", &[&first, &ranks]);
    let is_there = at.op("Less", &[&ranks, &own]);
    let mut places = at.reshape(&from_first, &[-1, 1]);
    let mut there = at.reshape(&is_there, &[-1, 1]);
    if of.0.sides == 2 {
        let last = at.op("Add", &[&first, &own]);
        let one = at.whole_number(1);
        let last = at.op("Sub", &[&last, &one]);
        let from_last = at.op("Sub", &[&last, &ranks]);
        let other = at.reshape(&from_last, &[-1, 1]);
        places = at.concat(&[&places, &other], 1);
        there = at.concat(&[&there, &there.clone()], 1);
    }
    let (places, there) = (at.reshape(&places, &[-1]), at.reshape(&there, &[-1]));
    let places = at.with("Compress", &[&places, &there], vec![int("axis", 0)]);
    let rows = at.gather(&order, &places, 0);
    let y = column(at, &rows);
    at.give(0, y);
    Ok(())
}
