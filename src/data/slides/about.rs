//! What slides say of themselves: encoder, unit of the places, width of patches.

use super::entry::Entry;
use super::format::{self, About, Head, Unit};
use super::gather::Known;
use crate::origin::{Origin, PlaceUnit};
use std::collections::BTreeMap;
use std::fmt::Display;

/// What all slides say of themselves: remarks for people, and what is the same in all.
pub(super) fn describe(heads: &[&Head], good: &[Known], remarks: &mut Vec<String>) -> Option<Origin> {
    if heads.iter().any(|h| h.of_slide) {
        remarks.push("features are of whole slides: a vector is a bag with one instance".into());
    }
    let abouts: Vec<About> = heads.iter().zip(good).map(|(head, known)| completed(head, &known.entry)).collect();
    let origin = origin_of(heads, &abouts);
    tell(heads, &abouts, remarks);
    (!origin.is_empty()).then_some(origin)
}

/// What these slides have in common.
pub(super) fn origin_of(heads: &[&Head], abouts: &[About]) -> Origin {
    Origin {
        encoder: same(abouts.iter().map(|a| a.encoder.clone())).filter(|name| name.len() <= Origin::LONGEST),
        unit: same(heads.iter().map(|h| h.coords)).and_then(|unit| match unit {
            Unit::Pixels => Some(PlaceUnit::Pixels),
            Unit::Micrometres => Some(PlaceUnit::Micrometres),
            Unit::Unknown => None,
        }),
        patch: same(abouts.iter().map(|a| a.patch)),
        magnification: same(abouts.iter().map(|a| a.magnification)),
    }
}

/// What all have, where it is the same.
fn same<T: PartialEq>(mut all: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = all.next()??;
    all.all(|other| other.as_ref() == Some(&first)).then_some(first)
}

/// Encoders, and what places mean, for people.
fn tell(heads: &[&Head], abouts: &[About], remarks: &mut Vec<String>) {
    let encoders = counted(abouts.iter().filter_map(|a| a.encoder.clone()));
    match &encoders[..] {
        [] => {}
        [(encoder, _)] => remarks.push(format!("the encoder of the features is {encoder}, as the files say")),
        _ => remarks.push(format!(
            "the features are of several encoders ({}), and what one means another does not: is this one data set?",
            told(&encoders)
        )),
    }
    let units = counted(heads.iter().filter_map(|h| h.coords));
    let placed: usize = units.iter().map(|(_, count)| count).sum();
    if placed == 0 {
        return;
    }
    if placed < heads.len() {
        remarks.push(format!("{placed} of {} slides have coordinates: no place is used", heads.len()));
        return;
    }
    let unit = match &units[..] {
        [(unit, _)] => unit.name().to_owned(),
        _ => told(&units.iter().map(|(unit, count)| (unit.name(), *count)).collect::<Vec<_>>()),
    };
    let patches = counted(abouts.iter().filter_map(|a| a.patch).map(f64::to_bits));
    let patches: Vec<(f64, usize)> = patches.into_iter().map(|(p, count)| (f64::from_bits(p), count)).collect();
    let patch = match &patches[..] {
        [] => "how large a patch is the files do not say".to_owned(),
        [(patch, count)] if *count == heads.len() => format!("a patch is {patch} of them wide"),
        _ => format!("patches are of several widths: {}", told(&patches)),
    };
    let magnifications = counted(abouts.iter().filter_map(|a| a.magnification).map(f64::to_bits));
    let seen = match magnifications[..] {
        [(m, count)] if count == heads.len() => format!(", seen at {} times", f64::from_bits(m)),
        _ => String::new(),
    };
    remarks.push(format!("places are in {unit}; {patch}{seen}"));
}

/// What is known of the patches of a slide: from its file, and what that leaves open from the file of patches beside it.
pub(super) fn completed(head: &Head, entry: &Entry) -> About {
    let mut about = head.about.clone();
    if head.coords == Some(Unit::Pixels) && about.patch.is_none() {
        let beside = format::patches_beside(&entry.path, &entry.stem).map(|path| format::about_patches(&path));
        let beside = beside.unwrap_or_default();
        (about.patch, about.magnification) = (beside.patch, about.magnification.or(beside.magnification));
    }
    about
}

/// What there is and how often, the most frequent first.
pub(super) fn counted<T: Ord + Clone>(items: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts = BTreeMap::new();
    items.for_each(|item| *counts.entry(item).or_insert(0) += 1);
    let mut counts: Vec<(T, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// For people: `float16 in 3 slides, float32 in 1`.
pub(super) fn told<T: Display>(counts: &[(T, usize)]) -> String {
    let each = counts.iter().enumerate().map(|(at, (item, count))| match at {
        0 => format!("{item} in {count} slides"),
        _ => format!("{item} in {count}"),
    });
    each.collect::<Vec<_>>().join(", ")
}
