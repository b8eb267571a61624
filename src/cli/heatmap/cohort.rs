//! The slides of `bagrad heatmap`, a few at a time in memory where their files allow it.

use crate::cli::{experiment, note};
use anyhow::{Context, Result, bail};
use bagrad::data::slides::{Slides, Taken};
use bagrad::data::{Dataset, Opening, Source};
use bagrad::training::Cache;
use bagrad::{Bags, Origin};
use std::path::Path;

/// Where slides come from.
pub enum Cohort {
    /// A folder of slides or a packed file, of which each slide is read when it is its turn.
    Streamed(Box<Slides>),
    /// What else there is, opened as a whole.
    Whole(Box<Dataset>),
}

impl Cohort {
    /// Opens `data` and tells what its reader assumed.
    ///
    /// # Errors
    /// With the name of the file that is wrong.
    pub fn open(data: &str, opening: &Opening, quiet: bool) -> Result<Self> {
        let (Source::Slides(path) | Source::Packed(path)) = Source::parse(data)? else {
            return Ok(Self::Whole(Box::new(experiment::open(data, opening, None, Cache::Auto, quiet)?)));
        };
        let slides = Slides::open(&path, opening).with_context(|| format!("data {data}"))?;
        slides.frame().remarks.iter().for_each(|remark| note(quiet, format!("data {data}: {remark}")));
        Ok(Self::Streamed(Box::new(slides)))
    }

    /// Names and labels of all slides; of a streamed cohort the instances are not those of the slides.
    pub fn bags(&self) -> &Bags {
        match self {
            Self::Streamed(slides) => &slides.frame().bags,
            Self::Whole(set) => &set.bags,
        }
    }

    /// The same, to bring classes into another order.
    pub fn bags_mut(&mut self) -> &mut Bags {
        match self {
            Self::Streamed(slides) => &mut slides.frame_mut().bags,
            Self::Whole(set) => &mut set.bags,
        }
    }

    /// Instances of each slide.
    pub fn sizes(&self) -> Vec<usize> {
        match self {
            Self::Streamed(slides) => slides.sizes().to_vec(),
            Self::Whole(set) => (0..set.bags.len()).map(|bag| set.bags.rows(bag).len()).collect(),
        }
    }

    /// True where a slide has places.
    pub fn has_places(&self, at: usize) -> bool {
        match self {
            Self::Streamed(slides) => slides.has_places(at),
            Self::Whole(set) => set.bags.coords.is_some(),
        }
    }

    /// What is known of the patches of a slide.
    pub fn origin(&self, at: usize) -> Origin {
        match self {
            Self::Streamed(slides) => slides.origin(at),
            Self::Whole(set) => set.bags.origin.clone().unwrap_or_default(),
        }
    }

    /// Width and height of a slide in the unit of its places, where its file tells them.
    pub fn slide_size(&self, at: usize) -> Option<[f64; 2]> {
        match self {
            Self::Streamed(slides) => slides.slide_size(at),
            Self::Whole(_) => None,
        }
    }

    /// Some slides in memory.
    ///
    /// # Errors
    /// When one cannot be read, unless such are to be left out.
    pub fn take(&self, which: &[usize]) -> bagrad::Result<Taken> {
        let set = match self {
            Self::Streamed(slides) => return slides.read(which),
            Self::Whole(set) => set,
        };
        let bags = set.bags.select(which)?;
        let places = (0..bags.len()).map(|bag| bags.coords.as_ref().map(|all| all[bags.rows(bag)].to_vec())).collect();
        Ok(Taken { bags, places, which: which.to_vec(), bad: Vec::new() })
    }

    /// The slides that `only` names, or all: names after commas, or a file with a name in each line. A name may have the
    /// ending of a slide (`.svs`).
    ///
    /// # Errors
    /// For a name that is no slide's.
    pub fn chosen(&self, only: Option<&str>) -> Result<Vec<bool>> {
        let names = &self.bags().names;
        let Some(only) = only else { return Ok(vec![true; names.len()]) };
        let file = Path::new(only);
        let text = match file.is_file() {
            true => bagrad::bounded::text(file)?,
            false => only.replace(',', "\n"),
        };
        let mut chosen = vec![false; names.len()];
        for wanted in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let stem = wanted.rsplit_once('.').map_or(wanted, |(stem, _)| stem);
            let at = [wanted, stem].iter().find_map(|wanted| names.iter().position(|name| name == wanted));
            match at {
                Some(at) => chosen[at] = true,
                None => {
                    let some: Vec<&str> = names.iter().take(3).map(|name| &name[..]).collect();
                    bail!(
                        "--only: there is no slide '{wanted}'; there are {} such as {}",
                        names.len(),
                        some.join(", ")
                    );
                }
            }
        }
        if !chosen.contains(&true) {
            bail!("--only: expected names of slides, found none in '{only}'");
        }
        Ok(chosen)
    }
}
