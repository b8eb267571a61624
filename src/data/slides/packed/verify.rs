//! Every byte of a packed file against its checksums.

use super::super::BadSlide;
use super::super::format::Reason;
use super::cohort::Cohort;
use super::format::{Head, UNIT};
use super::index::{Description, Entry};
use super::read::check;
use super::write::Progress;
use crate::error::Result;
use rayon::prelude::*;
use serde::Serialize;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What was found of a packed file whose header and index are whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verified {
    /// Slides of it.
    pub slides: usize,
    /// Bytes of it, all of which were looked at.
    pub bytes: u64,
    /// Slides that are damaged.
    pub bad: Vec<BadSlide>,
}

/// Reads all of a packed file and compares it with its checksums. `watch` is called for each slide.
///
/// # Errors
/// [`crate::Error::Format`] when the header or the index is damaged, or when packing was interrupted. Damaged slides are
/// no error here.
///
/// ```no_run
/// use bagrad::data::packed::verify;
///
/// let found = verify("cohort.bags".as_ref(), &mut |_| {})?;
/// found.bad.iter().for_each(|slide| eprintln!("{}: {}", slide.path.display(), slide.reason));
/// # Ok::<(), bagrad::Error>(())
/// ```
pub fn verify(path: &Path, watch: &mut (dyn FnMut(Progress) + Send)) -> Result<Verified> {
    let cohort = Arc::new(Cohort::open(path)?);
    let slides = &cohort.index.slides;
    let progress = Mutex::new((Progress { slides: 0, of: slides.len(), bytes: 0 }, watch));
    let look = |slide: &Entry| {
        let found = look(&cohort, slide);
        // A watcher that panicked has ended the call.
        if let Ok(mut told) = progress.lock() {
            told.0.slides += 1;
            told.0.bytes = cohort.values(slide).len() as u64;
            let now = told.0;
            (told.1)(now);
        }
        let path = path.join(&slide.description.name);
        found.err().map(|reason| BadSlide { path, reason })
    };
    let bad = slides.par_iter().filter_map(look).collect();
    cohort.file.check_unchanged()?;
    Ok(Verified { slides: slides.len(), bytes: cohort.file.bytes().len() as u64, bad })
}

fn look(cohort: &Arc<Cohort>, slide: &Entry) -> Result<(), Reason> {
    let bytes = cohort.file.bytes();
    let (at, features) = (slide.at as usize, slide.features as usize);
    let head = Head::read(&bytes[at..])?;
    let told = &bytes[at + UNIT..features];
    if super::format::sum(told) != head.sum_of_description {
        return Err("what is said of it is damaged: the checksum is another".into());
    }
    let told = told.get(..head.description as usize).and_then(|t| serde_json::from_slice::<Description>(t).ok());
    let same = |told| {
        let places = head.places(slide.at, &cohort.header);
        places.is_some_and(|places| Entry::new(slide.at, &head, &places, told) == *slide)
    };
    if !told.is_some_and(same) {
        return Err("what is said of it is not what the index says".into());
    }
    check(cohort, slide).map(|_| ())
}
