//! What a folder of slides holds, without training anything.

use super::about::{completed, counted};
use super::format::Unit;
use super::gather::{Known, gather};
use super::packed;
use crate::bag::{Bags, Features};
use crate::data::{Dataset, Opening, Split};
use crate::error::{Error, Result};
use crate::responses::Responses;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A slide that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadSlide {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Patches of a slide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Of the smallest slide.
    pub min: usize,
    /// Of the slide in the middle; of two the larger.
    pub median: usize,
    /// Of the largest slide.
    pub max: usize,
}

/// A class, and how many have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// What it is called.
    pub name: String,
    /// Slides of it.
    pub slides: usize,
    /// Patients with a slide of it, where the table names patients.
    pub patients: Option<usize>,
}

/// A part of the division, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartCount {
    /// train, validation or test.
    pub name: &'static str,
    /// Slides in it.
    pub slides: usize,
    /// Patients with a slide in it, where the table names patients.
    pub patients: Option<usize>,
    /// Slides of each class in it.
    pub classes: BTreeMap<String, usize>,
}

/// What a folder of slides holds. Counts of encoders and the like are of slides that can be used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inspection {
    /// The folder of the files.
    pub folder: PathBuf,
    /// Slides that can be used.
    pub slides: usize,
    /// Their patches in all.
    pub patches: usize,
    /// How many a slide has; `None` without a slide.
    pub sizes: Option<Sizes>,
    /// Features of a patch.
    pub width: usize,
    /// Bytes of all features in memory.
    pub bytes: u64,
    /// Slides of each kind of file.
    pub formats: BTreeMap<String, usize>,
    /// Slides of each type of number.
    pub numbers: BTreeMap<String, usize>,
    /// Slides of each encoder that files name.
    pub encoders: BTreeMap<String, usize>,
    /// Slides whose instances have labels.
    pub instance_labels: usize,
    /// Slides with coordinates in each unit.
    pub coordinates: BTreeMap<String, usize>,
    /// Slides of each width of a patch, in the unit of the coordinates.
    pub patch_widths: BTreeMap<String, usize>,
    /// Classes in their order, where there is a table of labels.
    pub classes: Vec<ClassCount>,
    /// Slides of the table without a label.
    pub unlabelled: usize,
    /// Patients, where the table names them.
    pub patients: Option<usize>,
    /// Patients whose slides have several classes.
    pub patients_of_several_classes: Vec<String>,
    /// Parts, where there is a file of splits.
    pub parts: Vec<PartCount>,
    /// Patients with slides in several parts: a model would be judged by patients that it has seen.
    pub patients_in_several_parts: Vec<String>,
    /// Slides of the table without a file.
    pub without_file: Vec<String>,
    /// Files without a line in the table.
    pub without_line: Vec<String>,
    /// Slides that cannot be used.
    pub bad: Vec<BadSlide>,
    /// True when all values were looked at, false when the heads of the files were alone.
    pub values_seen: bool,
    /// What was assumed, a sentence each.
    pub remarks: Vec<String>,
}

/// Looks at the folder `path`, at the heads of its files, and with `values` at all their values, of which a few slides at a
/// time are in memory.
///
/// # Errors
/// [`Error::Format`] when there are no slides, or what is wrong with the tables. Bad slides are no error here.
///
/// ```no_run
/// use bagrad::data::{Opening, slides};
///
/// let found = slides::inspect("features_uni_v1".as_ref(), &Opening::default(), false)?;
/// println!("{} slides of {} features, {} cannot be used", found.slides, found.width, found.bad.len());
/// # Ok::<(), bagrad::Error>(())
/// ```
pub fn inspect(path: &Path, opening: &Opening, values: bool) -> Result<Inspection> {
    let mut gathered = gather(path, opening)?;
    if values {
        let cohort = gathered.cohort.clone();
        let seen = |slide: &mut Known| {
            if let Some(reason) = super::read(slide, cohort.as_ref()).err() {
                slide.head = Err(reason);
            }
        };
        gathered.known.par_iter_mut().for_each(seen);
    }
    let bad = gathered.known.iter().filter_map(|k| {
        let reason = k.head.as_ref().err()?.clone();
        Some(BadSlide { path: k.entry.path.clone(), reason })
    });
    let bad: Vec<BadSlide> = bad.collect();
    let good: Vec<&Known> = gathered.known.iter().filter(|k| k.head.is_ok()).collect();
    let heads: Vec<_> = good.iter().filter_map(|k| k.head.as_ref().ok()).collect();
    let abouts: Vec<_> = heads.iter().zip(&good).map(|(head, known)| completed(head, &known.entry)).collect();
    let mut rows: Vec<usize> = heads.iter().map(|h| h.rows).collect();
    rows.sort_unstable();
    let (patches, width) = (rows.iter().sum(), gathered.width);
    let half = heads.iter().all(|h| h.number == super::Number::F16);

    // Class and patient of each slide.
    let lines: Vec<usize> = good.iter().filter_map(|k| k.line).collect();
    let (mut classes, mut labels) = (Vec::new(), vec![None; good.len()]);
    let mut patients: Vec<Option<&str>> = vec![None; good.len()];
    let mut remarks = gathered.remarks;
    if let Some(table) = &gathered.table {
        patients = lines.iter().map(|&line| table.lines[line].group.as_deref()).collect();
        // Their labels need no features.
        let frame = Bags::of_sizes(Features::F32(vec![0.0; lines.len()]), 1, &vec![1; lines.len()])?;
        let mut frame = Dataset::new(frame, table.name.clone());
        table.label(&lines, &mut frame).map_err(|message| Error::format(&table.path, message))?;
        (labels, classes) = labels_of(&frame.bags);
        remarks.append(&mut frame.remarks);
    }
    // Without a table a packed file tells what it was packed with.
    let frame = gathered.cohort.as_deref().filter(|_| gathered.table.is_none());
    let frame = frame.map(|cohort| packed::labels(cohort, good.iter().map(|k| &k.entry.stem)));
    let frame = frame.transpose().map_err(|message| Error::format(path, message))?;
    if let Some(set) = &frame {
        (labels, classes) = labels_of(&set.bags);
        patients = (0..good.len()).map(|slide| Some(set.bags.groups.as_ref()?[slide].as_str())).collect();
        if set.bags.has_labels() {
            remarks.extend(set.remarks.iter().cloned());
        }
    }
    let split = frame.as_ref().and_then(|set| set.split.as_deref());
    let part_of = |slide: usize| good[slide].part.or_else(|| Some(split?[slide]));
    let known_patients = patients.iter().all(Option::is_some) && !patients.is_empty();
    let of = |slides: &dyn Fn(usize) -> bool| {
        let picked: Vec<usize> = (0..good.len()).filter(|&slide| slides(slide)).collect();
        let different: BTreeSet<&str> = picked.iter().filter_map(|&slide| patients[slide]).collect();
        (picked, known_patients.then_some(different.len()))
    };
    let class_counts = classes.iter().enumerate().map(|(class, name)| {
        let (slides, patients) = of(&|slide| labels[slide] == Some(class));
        ClassCount { name: name.clone(), slides: slides.len(), patients }
    });
    let parts = Split::ALL.into_iter().filter(|_| opening.splits.is_some() || split.is_some()).map(|part| {
        let (slides, patients) = of(&|slide| part_of(slide) == Some(part));
        let named = slides.iter().filter_map(|&slide| classes.get(labels[slide]?).cloned());
        PartCount { name: part.name(), slides: slides.len(), patients, classes: counted(named).into_iter().collect() }
    });
    let several = |of: &dyn Fn(usize) -> Option<usize>| {
        let mut seen: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (slide, patient) in patients.iter().enumerate() {
            if let (Some(patient), Some(what)) = (patient, of(slide)) {
                seen.entry(patient).or_default().insert(what);
            }
        }
        seen.into_iter().filter(|(_, what)| what.len() > 1).map(|(patient, _)| patient.to_owned()).collect()
    };
    let part_number = |slide: usize| Split::ALL.iter().position(|part| Some(*part) == part_of(slide));
    let count = |items: &mut dyn Iterator<Item = String>| counted(items).into_iter().collect::<BTreeMap<_, _>>();
    let labelled = gathered.table.is_some() || frame.as_ref().is_some_and(|set| set.bags.has_labels());
    Ok(Inspection {
        slides: good.len(),
        patches,
        sizes: rows.first().map(|&min| Sizes { min, median: rows[rows.len() / 2], max: rows[rows.len() - 1] }),
        width,
        bytes: patches as u64 * width as u64 * if half { 2 } else { 4 },
        formats: count(&mut good.iter().filter_map(|k| Some(k.entry.format.as_ref().ok()?.name().to_owned()))),
        numbers: count(&mut heads.iter().map(|h| h.number.name())),
        encoders: count(&mut abouts.iter().filter_map(|a| a.encoder.clone())),
        instance_labels: heads.iter().filter(|h| h.labelled).count(),
        coordinates: count(&mut heads.iter().filter_map(|h| h.coords).map(|unit| Unit::name(unit).to_owned())),
        patch_widths: count(&mut abouts.iter().filter_map(|a| a.patch).map(|p| p.to_string())),
        classes: class_counts.collect(),
        unlabelled: if labelled { labels.iter().filter(|l| l.is_none()).count() } else { 0 },
        patients: of(&|_| true).1,
        patients_of_several_classes: several(&|slide| labels[slide]),
        parts: parts.collect(),
        patients_in_several_parts: several(&part_number),
        without_file: gathered.without_file,
        without_line: gathered.without_line,
        bad,
        values_seen: values,
        folder: gathered.folder,
        remarks,
    })
}
/// The class of each bag and what classes are called; of survival whether the event came. Of several labels or numbers there
/// is none.
fn labels_of(bags: &Bags) -> (Vec<Option<usize>>, Vec<String>) {
    let known = |of: &dyn Fn(usize) -> Option<usize>| (0..bags.len()).map(of).collect();
    match bags.responses.as_ref().and_then(Responses::survival) {
        Some((times, events)) => {
            let event = |bag: usize| (!times[bag].is_nan()).then_some(usize::from(events[bag]));
            (known(&event), vec!["censored".into(), "event".into()])
        }
        None if bags.labels.is_some() => (known(&|bag| bags.label(bag).map(|l| l as usize)), bags.class_names.clone()),
        None => (vec![None; bags.len()], Vec::new()),
    }
}
