//! Slides that are read when they are wanted, so that memory holds those that are looked at and no others; the features of a
//! packed file stay there.

use super::about::{completed, describe, origin_of};
use super::format::Number;
use super::gather::{Gathered, Known, gather};
use super::{Slide, append, join, judge, label_all, packed, read};
use crate::bag::Bags;
use crate::data::{Dataset, OnBad, Opening};
use crate::error::{Error, Result};
use crate::features::Features;
use crate::origin::Origin;
use rayon::prelude::*;
use std::path::Path;

/// The slides of a folder or a packed file, of which heads and tables were read, and values are read a few slides at a time.
pub struct Slides {
    gathered: Gathered,
    known: Vec<Known>,
    sizes: Vec<usize>,
    frame: Dataset,
    half: bool,
    on_bad: OnBad,
}

/// Some slides in memory.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The slides that can be used, with their labels; with their places where all slides of the folder have places.
    pub bags: Bags,
    /// The places of each of these slides, where it has some.
    pub places: Vec<Option<Vec<[f32; 2]>>>,
    /// Which of [`Slides`] they are.
    pub which: Vec<usize>,
    /// What is wrong with those that were left out, a sentence each.
    pub bad: Vec<String>,
}

impl Slides {
    /// Looks at all files but for their values, and at the tables, as [`super::open`] does.
    ///
    /// # Errors
    /// As [`super::open`], but for values.
    pub fn open(path: &Path, opening: &Opening) -> Result<Self> {
        let mut gathered = gather(path, opening)?;
        let (good, bad): (Vec<_>, Vec<_>) =
            std::mem::take(&mut gathered.known).into_iter().partition(|known| known.head.is_ok());
        let bad: Vec<_> = bad.into_iter().filter_map(|k| Some((k.entry.path, k.head.err()?))).collect();
        judge(&gathered.folder, &bad, &good, opening.on_bad, &mut gathered.remarks)?;
        let heads: Vec<_> = good.iter().filter_map(|k| k.head.as_ref().ok()).collect();
        let (sizes, half) = (heads.iter().map(|h| h.rows).collect(), heads.iter().all(|h| h.number == Number::F16));
        let mut bags = Bags::packed(Features::F32(vec![0.0; good.len()]), 1, &vec![1; good.len()])?;
        bags.names = good.iter().map(|k| k.entry.stem.clone()).collect();
        let mut remarks = std::mem::take(&mut gathered.remarks);
        bags.origin = describe(&heads, &good, &mut remarks);
        let mut frame = Dataset::new(bags, crate::data::name_of(&gathered.folder));
        frame.remarks = remarks;
        label_all(&mut frame, &gathered, &good)?;
        Ok(Self { gathered, known: good, sizes, frame, half, on_bad: opening.on_bad })
    }

    /// Names and labels of all slides, each with one instance of one feature, and what is to be told of them.
    pub fn frame(&self) -> &Dataset {
        &self.frame
    }

    /// The same, to bring classes into another order.
    pub fn frame_mut(&mut self) -> &mut Dataset {
        &mut self.frame
    }

    /// Instances of each slide.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// True where the file of slide `at` has places.
    ///
    /// # Panics
    /// When there is no such slide, as a slice would.
    pub fn has_places(&self, at: usize) -> bool {
        self.known[at].head.as_ref().is_ok_and(|head| head.coords.is_some())
    }

    /// What is known of the patches of slide `at`, which may differ from that of others.
    ///
    /// # Panics
    /// When there is no such slide, as a slice would.
    pub fn origin(&self, at: usize) -> Origin {
        let known = &self.known[at];
        let head = known.head.as_ref().ok();
        head.map(|head| origin_of(&[head], &[completed(head, &known.entry)])).unwrap_or_default()
    }

    /// Width and height of slide `at` in the unit of its places, where its file tells them.
    ///
    /// # Panics
    /// When there is no such slide, as a slice would.
    pub fn slide_size(&self, at: usize) -> Option<[f64; 2]> {
        self.known[at].head.as_ref().ok()?.about.slide
    }

    /// Reads the slides `which`.
    ///
    /// # Errors
    /// [`Error::Bags`] when there is no such slide, [`Error::Format`] for a slide that cannot be used, unless such are to be
    /// left out.
    pub fn read(&self, which: &[usize]) -> Result<Taken> {
        self.frame.bags.check_indices(which)?;
        let slides: Vec<Result<Slide, String>> = which.par_iter().map(|&at| self.slide(at)).collect();
        let (mut kept, mut bad, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        let (mut places, mut instance_labels) = (Vec::new(), Some(Vec::new()));
        let mut features = self.no_features();
        for (&at, slide) in which.iter().zip(slides) {
            match slide {
                Ok(slide) => {
                    kept.push(at);
                    sizes.push(self.sizes[at]);
                    append(&mut features, slide.features);
                    places.push(slide.coords);
                    join(&mut instance_labels, slide.instance_labels);
                }
                Err(reason) => {
                    let path = &self.known[at].entry.path;
                    if self.on_bad == OnBad::Fail {
                        return Err(Error::format(path, format!("{reason} (--on-bad skip leaves such slides out)")));
                    }
                    bad.push(format!("{}: {reason}; the slide is left out", path.display()));
                }
            }
        }
        let frame = self.frame.bags.select(&kept)?;
        if let Some(cohort) = &self.gathered.cohort {
            features = packed::mapped(cohort, frame.names.iter())?;
        }
        let placed = (0..self.known.len()).all(|at| self.has_places(at));
        let coords =
            if placed { places.iter().cloned().collect::<Option<Vec<_>>>().map(|all| all.concat()) } else { None };
        let Bags { features, width, offsets, .. } = Bags::of_sizes(features, self.gathered.width, &sizes)?;
        let bags = Bags { features, width, offsets, coords, instance_labels, ..frame };
        Ok(Taken { bags, places, which: kept, bad })
    }

    /// Slide `at`; without features where they stay in a packed file.
    fn slide(&self, at: usize) -> Result<Slide, String> {
        let known = &self.known[at];
        let Some(cohort) = &self.gathered.cohort else { return read(known, None) };
        let (coords, instance_labels) = packed::around(cohort, &known.entry.stem)?;
        Ok(Slide { features: self.no_features(), coords, instance_labels })
    }

    fn no_features(&self) -> Features {
        if self.half { Features::F16(Vec::new()) } else { Features::F32(Vec::new()) }
    }
}
