//! Packing: what is asked for, and the way from the data to the file.

use super::super::format::{Head as SlideHead, Number, Reason};
use super::super::gather::{Known, gather};
use super::super::{Slide, about, judge, label_all};
use super::block::Block;
use super::fill::{Filling, Written};
use super::format::Header;
use super::index::{Description, Index, LeftOut, Rounding};
use super::part::Part;
use crate::bag::Bags;
use crate::data::{Dataset, OnBad, Opening, Source};
use crate::error::{Error, Result};
use crate::features::Features;
use crate::files::{Claim, Kind};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How data are packed.
#[derive(Clone, Debug, Default)]
pub struct Packing {
    /// Store float16, whatever the features are. Values beyond it are refused, and what it rounds is told.
    pub half: bool,
    /// Replace a packed file that is there already.
    pub force: bool,
    /// What is said of the data beside where they are.
    pub opening: Opening,
}

/// How far packing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Slides that are done with, those that cannot be used among them.
    pub slides: usize,
    /// All slides.
    pub of: usize,
    /// Bytes of the values of a slide that has just been done.
    pub bytes: u64,
}

/// What was packed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Packed {
    /// Slides in the file.
    pub slides: usize,
    /// Their instances in all.
    pub instances: usize,
    /// Features of an instance.
    pub width: usize,
    /// Values are float16, else float32.
    pub half: bool,
    /// Bytes of the file.
    pub bytes: u64,
    /// Slides that an interrupted call had packed before.
    pub found: usize,
    /// What float16 did to the values.
    pub rounding: Rounding,
    /// What was assumed and left out, a sentence each.
    pub remarks: Vec<String>,
}

/// The file that is written until it is complete and gets the name `out`.
pub fn part_of(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Packs `data`, anything that [`Dataset::open_with`] reads, into the file `out`. What an interrupted call left in
/// `out` with `.part` behind its name is gone on with where `data` is a folder of slides; the file is the same byte for
/// byte as if there had been no interruption. `watch` is called for each slide.
///
/// # Errors
/// [`Error::Format`] that lists all slides that cannot be used, or says what stands in the way of the file;
/// [`Error::Setting`], [`Error::Io`].
///
/// ```no_run
/// use bagrad::data::packed::{Packing, pack};
///
/// let packed = pack("features_uni_v1", "cohort.bags".as_ref(), &Packing::default(), &mut |_| {})?;
/// println!("{} slides", packed.slides);
/// let set = bagrad::data::Dataset::open("cohort.bags")?;
/// # Ok::<(), bagrad::Error>(())
/// ```
pub fn pack(data: impl AsRef<Path>, out: &Path, packing: &Packing, watch: &mut dyn FnMut(Progress)) -> Result<Packed> {
    let data = data.as_ref();
    if cfg!(target_endian = "big") {
        return Err(Error::setting("pack", "packed files are little-endian, and this machine is not"));
    }
    let source = Source::parse(data)?;
    let inputs: Vec<&Path> = [data].into_iter().chain(packing.opening.files()).collect();
    let claim = Claim::files(&[(out, Kind::Packed)], packing.force, &inputs)?;
    let part = part_of(out);
    let packed = match source {
        Source::Slides(path) | Source::Packed(path) => of_slides(&path, packing, &part, watch)?,
        other => {
            let opening = &packing.opening;
            let set = if opening.is_default() { other.open_mapped() } else { other.open_with(opening) }?;
            of_set(&set, packing, &part, watch)?
        }
    };
    claim.commit_written(&part)?;
    Ok(packed)
}

/// Packs slides that are read from files of their own, or from a packed file.
fn of_slides(path: &Path, packing: &Packing, part: &Path, watch: &mut dyn FnMut(Progress)) -> Result<Packed> {
    let opening = &packing.opening;
    let mut gathered = gather(path, opening)?;
    let known = std::mem::take(&mut gathered.known);
    let mut remarks = gathered.remarks.clone();
    let heads = || known.iter().filter_map(|k| k.head.as_ref().ok());
    if heads().next().is_none() {
        let bad: Vec<_> = known.iter().filter_map(|k| Some((k.entry.path.clone(), k.head.clone().err()?))).collect();
        judge(&gathered.folder, &bad, &[], opening.on_bad, &mut remarks)?;
        return Err(Error::format(path, "expected slides, found none"));
    }
    let header = Header::new(packing.half || heads().all(|h| h.number == Number::F16), gathered.width);
    let rows: u64 = heads().map(|h| h.rows as u64).sum();
    let mut written = Written::new(Part::open(part, header)?, header, known.len(), watch);
    let filled = written.check_space(part, rows).and_then(|()| {
        let mut filling = Filling::new(&gathered, &known, opening, header);
        filling.run(&mut written)?;
        Ok((filling.bad, filling.beyond, filling.good))
    });
    let judged = filled.and_then(|(bad, beyond, good)| {
        let mut good = good.into_iter().peekable();
        let good = known.into_iter().enumerate().filter_map(|(at, k)| good.next_if_eq(&at).map(|_| k));
        let good: Vec<Known> = good.collect();
        let (all, on_bad) = match beyond.is_empty() {
            true => (bad.clone(), opening.on_bad),
            // Nothing is wrong with these slides, so none is left out for it.
            false => ([bad.clone(), beyond].concat(), OnBad::Fail),
        };
        judge(&gathered.folder, &all, &good, on_bad, &mut remarks)?;
        Ok((bad, good))
    });
    let (bad, good) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            written.part.leave();
            return Err(error);
        }
    };
    let heads: Vec<&SlideHead> = good.iter().filter_map(|k| k.head.as_ref().ok()).collect();
    about::describe(&heads, &good, &mut remarks);
    // Everything about the bags but their instances.
    let frame = Bags::packed(Features::F32(vec![0.0; good.len()]), 1, &vec![1; good.len()])?;
    let mut frame = Dataset::new(frame, crate::data::name_of(&gathered.folder));
    frame.bags.names = good.iter().map(|k| k.entry.stem.clone()).collect();
    label_all(&mut frame, &gathered, &good)?;
    let mut index = Index::of(&frame);
    if let Some(parts) = good.iter().map(|k| k.part).collect::<Option<Vec<_>>>() {
        // Those of slides without a label too, as the file of splits has them.
        index.parts = Some(parts.iter().map(|part| part.name().into()).collect());
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    index.left_out = bad.iter().map(|(path, reason)| LeftOut { file: name(path), reason: reason.clone() }).collect();
    remarks.extend(frame.remarks);
    written.finish(index, remarks)
}

/// Packs bags of any other source.
fn of_set(set: &Dataset, packing: &Packing, part: &Path, watch: &mut dyn FnMut(Progress)) -> Result<Packed> {
    let bags = &set.bags;
    let mut names: Vec<&String> = bags.names.iter().collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::bags(format!("two bags are called '{}'; in a packed file each has its own name", twice[0])));
    }
    let header = Header::new(packing.half || bags.features.is_half(), bags.width);
    let mut written = Written::new(Part::open(part, header)?, header, bags.len(), watch);
    let mut fill = || {
        written.check_space(part, bags.instances() as u64)?;
        for bag in 0..bags.len() {
            let rows = bags.rows(bag);
            let slide = Slide {
                features: bags.features.slice(rows.start * bags.width..rows.end * bags.width),
                coords: bags.coords.as_ref().map(|c| c[rows.clone()].to_vec()),
                instance_labels: bags.instance_labels.as_ref().map(|l| l[rows.clone()].to_vec()),
            };
            let name = bags.names[bag].clone();
            let block = Block::new(&header, Description { name, ..Description::default() }, slide);
            let beyond = |reason: Reason| Error::bags(format!("bag '{}': {reason}", bags.names[bag]));
            written.add(&block.map_err(|of| beyond(of.0))?)?;
        }
        bags.features.check_unchanged()
    };
    match fill() {
        Ok(()) => written.finish(Index::of(set), set.remarks.clone()),
        Err(error) => {
            written.part.leave();
            Err(error)
        }
    }
}
