//! A packed file that is open: its header and index, checked against each other and against its length.

use super::super::format::Reason;
use super::format::{Header, LONGEST_INDEX};
use super::index::{Entry, Index};
use crate::error::{Error, Result};
use crate::features::MappedFile;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// A packed file whose header and index were checked against each other and against its length.
pub struct Cohort {
    pub file: Arc<MappedFile>,
    pub header: Header,
    pub index: Index,
    pub at_name: HashMap<String, usize>,
}

impl Cohort {
    /// # Errors
    /// [`Error::Format`] that says what is wrong with the file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = MappedFile::open(path)?;
        let wrong = |reason: Reason| Error::format(path, reason);
        let (header, index) = parse(file.bytes()).map_err(wrong)?;
        let mut at_name = HashMap::with_capacity(index.slides.len());
        for (at, slide) in index.slides.iter().enumerate() {
            if at_name.insert(slide.description.name.clone(), at).is_some() {
                return Err(wrong(format!("two slides of it are called '{}'", slide.description.name)));
            }
        }
        Ok(Self { file: file.into(), header, index, at_name })
    }

    /// The slide of this name.
    pub fn slide(&self, name: &str) -> Option<&Entry> {
        self.at_name.get(name).map(|&at| &self.index.slides[at])
    }

    /// Whose slide it is that has this name.
    pub fn patient(&self, name: &str) -> Option<String> {
        self.index.groups.as_ref()?.get(*self.at_name.get(name)?).cloned()
    }

    /// The bytes of a slide that its checksum is of.
    pub fn values(&self, entry: &Entry) -> &[u8] {
        let end = entry.places(&self.header).expect("it was checked").end;
        &self.file.bytes()[entry.features as usize..end as usize]
    }
}

fn parse(bytes: &[u8]) -> Result<(Header, Index), Reason> {
    let header = Header::read(bytes)?;
    let Some(place) = header.index else {
        return Err("it is not complete: packing was interrupted; call `bagrad pack` again, which goes on".into());
    };
    let there = bytes.len() as u64;
    let end = place.at.checked_add(place.bytes);
    if end != Some(there) || place.bytes > LONGEST_INDEX {
        let (at, long) = (place.at, place.bytes);
        return Err(format!("expected an index of {long} bytes from {at} on at its end, found {there} bytes in all"));
    }
    let text = &bytes[place.at as usize..];
    if super::format::sum(text) != place.sum {
        return Err("its index is damaged: the checksum is another".into());
    }
    let index: Index = serde_json::from_slice(text).map_err(|e| format!("its index cannot be read: {e}"))?;
    let slides = index.slides.len() as u64;
    if slides == 0 || slides != place.slides {
        return Err(format!("expected an index of {} slides, found {slides}", place.slides));
    }
    let (mut at, mut rows) = (super::format::HEADER as u64, 0u64);
    for slide in &index.slides {
        let name = &slide.description.name;
        let places = slide.places(&header).filter(|places| slide.at == at && places.end <= place.at);
        let Some(places) = places.filter(|_| slide.rows > 0) else {
            return Err(format!("slide '{name}' is not where it has to be, which is from byte {at} on"));
        };
        (at, rows) = (places.end, rows.saturating_add(slide.rows));
    }
    if at != place.at || rows != place.rows {
        return Err(format!("expected {} rows before byte {}, found {rows} before {at}", place.rows, place.at));
    }
    check_lists(&index, header.width as usize)?;
    Ok((header, index))
}

/// Refuses lists that do not have a value for each slide.
fn check_lists(index: &Index, width: usize) -> Result<(), Reason> {
    let (slides, classes) = (index.slides.len(), index.classes.len());
    let lengths = [
        ("labels", index.labels.as_ref().map(Vec::len)),
        ("sets of labels", index.label_sets.as_ref().map(Vec::len)),
        ("responses", index.responses.as_ref().map(Vec::len)),
        ("events", index.events.as_ref().map(Vec::len)),
        ("groups", index.groups.as_ref().map(Vec::len)),
        ("sites", index.sites.as_ref().map(Vec::len)),
        ("parts", index.parts.as_ref().map(Vec::len)),
    ];
    let folds = index.folds.iter().flatten().map(|of| ("folds", Some(of.len())));
    for (what, found) in lengths.into_iter().chain(folds) {
        if let Some(found) = found.filter(|&found| found != slides) {
            return Err(format!("expected {what} of {slides} slides, found {found}"));
        }
    }
    if let Some(found) = index.columns.as_ref().map(Vec::len).filter(|&found| found != width) {
        return Err(format!("expected names of {width} features, found {found}"));
    }
    if let Some(label) = index.labels.iter().flatten().flatten().find(|&&label| label as usize >= classes) {
        return Err(format!("label {label} is of none of {classes} classes"));
    }
    if let Some(set) = index.label_sets.iter().flatten().find(|set| set.len() != classes) {
        return Err(format!("expected sets of {classes} labels, found one of {}", set.len()));
    }
    if index.labels.as_ref().is_some_and(|labels| labels.iter().all(Option::is_none)) {
        return Err("of its labels none is known".into());
    }
    Ok(())
}
