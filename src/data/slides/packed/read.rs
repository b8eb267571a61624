//! Slides of a packed file: as entries beside those of folders, as values in memory, and as a data set that stays mapped.

use super::super::entry::Entry as SlideEntry;
use super::super::format::{Format, Head, Number, Reason, places as finite};
use super::super::gather::{Known, gather};
use super::super::layouts::Found;
use super::super::{Read, Slide, assembled, join, not_finite};
use super::cohort::Cohort;
use super::index::Entry;
use crate::bag::Bags;
use crate::data::{Dataset, Opening};
use crate::error::{Error, Result};
use crate::features::{Features, Mapped, Value, any};
use half::f16;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are looked at together; rows of four bytes or two are whole in it.
const WINDOW: usize = 1 << 17;

/// The slides of a packed file as if each were a file of its own.
pub fn found(cohort: &Cohort, path: &Path) -> Found {
    let entry = |slide: &Entry| {
        let name = &slide.description.name;
        SlideEntry::new(path.join(name), name, Ok(Format::Packed))
    };
    let entries = cohort.index.slides.iter().map(entry).collect();
    Found { folder: path.into(), entries, table: None, remarks: Vec::new() }
}

/// What the index says of a slide.
///
/// # Errors
/// When there is none of that name.
pub fn head(cohort: &Cohort, name: &str) -> Result<Head, Reason> {
    let slide = cohort.slide(name).ok_or("there is no such slide")?;
    Ok(Head {
        rows: slide.rows as usize,
        width: cohort.header.width as usize,
        number: if cohort.header.half { Number::F16 } else { Number::F32 },
        coords: slide.coords.map(|_| slide.description.unit()),
        of_slide: slide.description.of_slide,
        labelled: slide.instance_labels.is_some(),
        about: slide.description.about(),
    })
}

/// Places and labels of the instances of a slide.
pub type Around = (Option<Vec<[f32; 2]>>, Option<Vec<i32>>);

/// Checks the values of a slide, and reads its places and the labels of its instances.
///
/// # Errors
/// What is wrong with them.
pub fn check(cohort: &Arc<Cohort>, slide: &Entry) -> Result<Around, Reason> {
    let (values, rows) = (cohort.values(slide), slide.rows as usize);
    cohort.file.expect(slide.features as usize..slide.features as usize + values.len());
    let features = rows * (cohort.header.stride() * cohort.header.size()) as usize;
    let (mut sum, mut finite_so_far) = (crc32fast::Hasher::new(), true);
    // Both are of one pass: a window is in the processor's cache when it is looked at again.
    for (number, window) in values.chunks(WINDOW).enumerate() {
        sum.update(window);
        let of_features = &window[..window.len().min(features.saturating_sub(number * WINDOW))];
        finite_so_far &= match cohort.header.half {
            true => !any(bytemuck::cast_slice::<_, f16>(of_features), Value::is_wrong),
            false => !any(bytemuck::cast_slice::<_, f32>(of_features), Value::is_wrong),
        };
    }
    if sum.finalize() != slide.crc32 {
        return Err("its values are damaged: the checksum is another".into());
    }
    if !finite_so_far {
        let mapped = of_entries(cohort, &[slide]).map_err(|e| e.to_string())?;
        // Between the rows there may be values, too, which nobody reads.
        if let Some(at) = mapped.first_not_finite() {
            return Err(not_finite(at, mapped.get(at), cohort.header.width as usize));
        }
    }
    let from = |at: u64, bytes: usize| &values[(at - slide.features) as usize..][..bytes];
    let coords = slide.coords.map(|at| finite(&bytemuck::pod_collect_to_vec::<u8, f32>(from(at, 8 * rows)), 2));
    let labels = slide.instance_labels.map(|at| bytemuck::pod_collect_to_vec(from(at, 4 * rows)));
    Ok((coords.transpose()?, labels))
}

/// The same of the slide of this name.
///
/// # Errors
/// What is wrong with it.
pub fn around(cohort: &Arc<Cohort>, name: &str) -> Result<Around, Reason> {
    check(cohort, cohort.slide(name).ok_or("there is no such slide")?)
}

/// A slide in memory; its values are finite.
///
/// # Errors
/// What is wrong with it.
pub fn slide(cohort: &Arc<Cohort>, name: &str) -> Result<Slide, Reason> {
    let slide = cohort.slide(name).ok_or("there is no such slide")?;
    let (coords, instance_labels) = check(cohort, slide)?;
    let mapped = of_entries(cohort, &[slide]).map_err(|e| e.to_string())?;
    Ok(Slide { features: mapped.read(0..mapped.len()), coords, instance_labels })
}

/// The features of the slides of these names, behind one another, where they lie.
///
/// # Errors
/// [`Error::Io`] when the file changed since it was opened.
pub fn mapped<'a>(cohort: &Arc<Cohort>, names: impl Iterator<Item = &'a String>) -> Result<Features> {
    let slides: Vec<&Entry> = names.filter_map(|name| cohort.slide(name)).collect();
    cohort.file.check_unchanged()?;
    of_entries(cohort, &slides).map(Features::Mapped)
}

fn of_entries(cohort: &Arc<Cohort>, slides: &[&Entry]) -> Result<Mapped> {
    let runs: Vec<(usize, usize)> = slides.iter().map(|s| (s.features as usize, s.rows as usize)).collect();
    let sizes = [cohort.header.width as usize, cohort.header.stride() as usize];
    let mapped = Mapped::of(cohort.file.clone(), &runs, sizes, cohort.header.half)?;
    mapped.ok_or_else(|| Error::setting("data", "packed files are little-endian, and this machine is not"))
}

/// Slides of a packed file without their instances: labels, patients and parts.
///
/// # Errors
/// What is wrong with them.
pub fn labels<'a>(cohort: &Cohort, names: impl Iterator<Item = &'a String>) -> Result<Dataset, Reason> {
    let places: Vec<usize> = names.filter_map(|name| cohort.at_name.get(name).copied()).collect();
    let frame = Bags::packed(Features::F32(vec![0.0; places.len()]), 1, &vec![1; places.len()]);
    let mut frame = Dataset::new(frame.map_err(|e| e.to_string())?, cohort.index.name.clone());
    cohort.index.label(&places, &mut frame)?;
    Ok(frame)
}

/// Opens a packed file; features stay in it. Labels and patients are those it has, unless [`Opening::labels`] names a
/// table: then its slides are read and its labels taken, as for a folder.
///
/// # Errors
/// [`Error::Format`] that says what is wrong with the file, or lists every slide that is damaged.
pub fn open(path: &Path, opening: &Opening) -> Result<Dataset> {
    let mut gathered = gather(path, opening)?;
    let known = std::mem::take(&mut gathered.known);
    let Some(cohort) = gathered.cohort.clone() else {
        return Err(Error::format(path, "expected a packed file"));
    };
    let looked: Vec<_> = known
        .into_par_iter()
        .map(|known| {
            let around = around(&cohort, &known.entry.stem);
            (known, around)
        })
        .collect();
    let (mut good, mut bad): (Vec<Known>, Vec<_>) = Default::default();
    let (mut coords, mut labels, mut with_labels) = (Some(Vec::new()), Some(Vec::new()), 0);
    for (known, around) in looked {
        match around {
            Ok((places, of_instances)) => {
                with_labels += usize::from(of_instances.is_some());
                join(&mut coords, places);
                join(&mut labels, of_instances);
                good.push(known);
            }
            Err(reason) => bad.push((known.entry.path, reason)),
        }
    }
    let features = mapped(&cohort, good.iter().map(|k| &k.entry.stem))?;
    assembled(gathered, Read { good, bad, features, coords, instance_labels: labels, with_labels }, opening)
}
