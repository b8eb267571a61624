//! The files of one slide.

use super::layers::{self, Wanted};
use super::pictures::{self, Tiles};
use super::threshold::Threshold;
use crate::cli::csv::Csv;
use crate::cli::names::stems;
use anyhow::{Context, Result};
use bagrad::PlaceUnit;
use bagrad::heatmap::geojson::{Collection, Object, Said};
use bagrad::heatmap::{Card, Cells, Colours, Laid, Layer, Picture, chance, percentiles, regions, sheet, short};
use bagrad::standardise::Distance;
use bagrad::training::InstanceColumn;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// How slides are drawn.
pub struct Drawing<'a> {
    pub folder: &'a Path,
    pub wanted: Wanted<'a>,
    pub max_side: usize,
    pub over: Option<std::collections::HashMap<String, PathBuf>>,
    pub opacity: f64,
    pub slide_size: Option<[f64; 2]>,
    pub mpp: Option<f64>,
    pub geojson: bool,
    pub threshold: Threshold,
    pub top: usize,
    pub tiles: Option<&'a Path>,
}

/// A slide and what a model says of it.
pub struct Slide<'a> {
    /// As the data call it, and as its files are called.
    pub name: &'a str,
    pub stem: &'a str,
    pub cells: Cells,
    pub unit: Option<PlaceUnit>,
    /// Width and height, as the file of the slide tells them.
    pub size: Option<[f64; 2]>,
    pub columns: Vec<Column>,
    /// Those to draw, the first of which decides what is best.
    pub drawn: &'a [usize],
    /// The class that joint scores are of.
    pub class: &'a str,
    /// What it was taken for.
    pub card: Card,
}

/// Numbers of the instances of a slide.
pub struct Column {
    pub name: String,
    pub says: String,
    pub signed: bool,
    pub meaning: bagrad::training::Meaning,
    pub values: Vec<f32>,
}

impl Column {
    /// Those of the rows of one bag; `class` is what joint scores of the bag are of.
    pub fn of(column: &InstanceColumn, rows: std::ops::Range<usize>, classes: &[String], class: &str) -> Self {
        Self {
            name: column.name.clone(),
            says: layers::says(column.meaning, column.class.map_or(class, |class| &classes[class])),
            signed: layers::is_signed(column.meaning),
            meaning: column.meaning,
            values: column.of(rows),
        }
    }

    fn layer(&self, wanted: &Wanted) -> Layer<'_> {
        let Self { name, says, signed, meaning, values } = self;
        Layer { name, meaning: says, signed: *signed, range: wanted.ends(*meaning), values }
    }
}

/// A patch among the best of a slide.
pub struct Best {
    pub instance: usize,
    pub place: [f64; 2],
    pub value: f32,
    pub percentile: f64,
}

/// What comes of a slide: what the page shows of it, the best patches, and what was assumed.
pub struct Done {
    pub card: Card,
    pub best: Vec<Best>,
    /// How many numbers of the first map are below and above the colours that all maps have.
    pub beyond: Option<[usize; 2]>,
    /// How far it is from the training slides, where that is known.
    pub distance: Option<Distance>,
    pub remarks: Vec<String>,
}

/// Endings of the files of every slide; pictures of further numbers have `@` and their name in front of it.
pub const ENDINGS: [&str; 5] = [".png", ".csv", ".geojson", ".regions.geojson", ".top.png"];

impl Drawing<'_> {
    /// Writes all files of a slide.
    ///
    /// # Errors
    /// With the file that cannot be written, or a picture that cannot be read.
    pub fn draw(&self, slide: Slide) -> Result<Done> {
        let mut done =
            Done { card: slide.card.clone(), best: Vec::new(), beyond: None, distance: None, remarks: Vec::new() };
        let of_slide = || format!("slide {}", slide.name);
        self.maps(&slide, &mut done).with_context(of_slide)?;
        let first = &slide.columns[slide.drawn[0]];
        let ranks: Vec<Vec<f64>> = slide.columns.iter().map(|c| percentiles(&c.values, c.signed)).collect();
        let path = self.folder.join(format!("{}.csv", slide.stem));
        filled(path, |out| table(out, &slide, &ranks))?;
        done.card.files.push((format!("{}.csv", slide.stem), "numbers".into()));
        if self.geojson {
            self.cells(&slide, &ranks, &mut done)?;
        }
        let mut order: Vec<usize> = (0..first.values.len()).filter(|&at| first.values[at].is_finite()).collect();
        order.sort_by(|&a, &b| first.values[b].total_cmp(&first.values[a]));
        order.truncate(self.top);
        let best = |&at: &usize| Best {
            instance: at,
            place: slide.cells.corners()[at],
            value: first.values[at],
            percentile: ranks[slide.drawn[0]][at],
        };
        done.best = order.iter().map(best).collect();
        self.sheet(&slide, &mut done).with_context(of_slide)?;
        Ok(done)
    }

    fn maps(&self, slide: &Slide, done: &mut Done) -> Result<()> {
        let Card { predicted, probability, label, .. } = &slide.card;
        let label = label.as_ref().map_or_else(String::new, |label| format!(" The label is {label}."));
        let surely = probability.map(|p| format!(", with a probability of {}", chance(p))).unwrap_or_default();
        let subtitle = format!("Predicted: {predicted}{surely}.{label}");
        let mut notes = Vec::new();
        if let Some([low, high]) = self.wanted.range {
            notes.push(format!("Colours go from {} to {} on all maps.", short(low), short(high)));
        }
        let thumbnail = self.over.as_ref().map(|all| all.get(slide.name));
        let backdrop = match thumbnail {
            Some(Some(file)) => {
                let (backdrop, told) = {
                    let size = self.slide_size.map(|size| (size, "as given"));
                    let size = size.or(slide.size.map(|size| (size, "as its file tells")));
                    pictures::backdrop(file, &slide.cells, size, self.opacity)
                }?;
                notes.push(told);
                Some(backdrop)
            }
            Some(None) => {
                done.remarks.push(format!("slide {}: there is no picture of it for --over", slide.name));
                None
            }
            None => None,
        };
        let drawn: Vec<String> = slide.drawn.iter().map(|&column| slide.columns[column].name.clone()).collect();
        let called = stems(&drawn, &[".png"], &[]);
        for (at, &column) in slide.drawn.iter().enumerate() {
            let column = &slide.columns[column];
            let title = format!("{}: {}", slide.name, column.name);
            if self.wanted.range.is_some() && at == 0 {
                let beyond = Laid::new(&column.layer(&self.wanted), self.wanted.scale(column.meaning)).beyond;
                done.beyond = Some(beyond);
                if let Some(told) = layers::beyond(beyond) {
                    done.card.remarks.push(format!("{}: {told}", column.name));
                }
            }
            let picture = Picture {
                title: &title,
                subtitle: &subtitle,
                notes: &notes,
                cells: &slide.cells,
                layer: column.layer(&self.wanted),
                scale: self.wanted.scale(column.meaning),
                max_side: self.max_side,
                unit: slide.unit,
                backdrop: backdrop.as_ref(),
            };
            let file = match at {
                0 => format!("{}.png", slide.stem),
                _ => format!("{}@{}.png", slide.stem, called[at]),
            };
            let picture = picture.png()?;
            filled(self.folder.join(&file), |out| out.write_all(&picture))?;
            done.card.pictures.push((file, column.name.clone()));
        }
        Ok(())
    }

    /// Cells and regions for QuPath.
    fn cells(&self, slide: &Slide, ranks: &[Vec<f64>], done: &mut Done) -> Result<()> {
        // Of micrometres the width of a pixel is known by now.
        let cells = match (slide.unit, self.mpp) {
            (Some(PlaceUnit::Micrometres), Some(mpp)) => slide.cells.in_unit_of(mpp),
            _ => slide.cells.clone(),
        };
        let first = &slide.columns[slide.drawn[0]];
        let colours = Colours::new(first.signed);
        let shares = Laid::new(&first.layer(&self.wanted), self.wanted.scale(first.meaning)).shares;
        let [high, low] = self.threshold.reached(&first.values, first.signed);
        let (name, threshold, class) = (&first.name, self.threshold, slide.class);
        let [above, below] = match first.signed {
            true => {
                let [above, below] = threshold.on_both_sides();
                [format!("for {class}: {name} {above}"), format!("against {class}: {name} {below}")]
            }
            false => [format!("{name} from {threshold}"), String::new()],
        };
        let kinds = [(above, high, [0xd7, 0x30, 0x27]), (below, low, [0x31, 0x68, 0xb4])];
        let mut class_of = vec![None; cells.len()];
        for (kind, (_, which, _)) in kinds.iter().enumerate() {
            which.iter().for_each(|&at| class_of[at] = Some(kind));
        }
        let names: Vec<String> = slide.columns.iter().map(|c| format!("percentile({})", c.name)).collect();
        let file = format!("{}.geojson", slide.stem);
        filled(self.folder.join(&file), |out| {
            let mut all = Collection::new(out)?;
            let mut measurements = Vec::new();
            for (at, &corner) in cells.corners().iter().enumerate() {
                measurements.clear();
                let raw = slide.columns.iter().map(|c| (&c.name[..], f64::from(c.values[at])));
                measurements.extend(raw.chain(names.iter().zip(ranks).map(|(name, ranks)| (&name[..], ranks[at]))));
                let class = class_of[at].map(|kind: usize| (&kinds[kind].0[..], kinds[kind].2));
                let colour = Some(shares[at]).filter(|s| s.is_finite()).map(|share| colours.at(share));
                all.square(
                    corner,
                    cells.side(),
                    &Said { object: Object::Tile, name: None, class, colour, measurements: &measurements },
                )?;
            }
            all.end()
        })?;
        done.card.files.push((file, "cells".into()));
        let file = format!("{}.regions.geojson", slide.stem);
        filled(self.folder.join(&file), |out| {
            let mut all = Collection::new(out)?;
            let mut number = 0;
            for (class, which, colour) in &kinds {
                for region in regions(&cells, which) {
                    number += 1;
                    let values = || region.cells.iter().map(|&at| f64::from(first.values[at]));
                    let mean = values().sum::<f64>() / region.cells.len() as f64;
                    let most = values().fold(0.0, |most: f64, v| if v.abs() > most.abs() { v } else { most });
                    let [mean_of, most_of] = ["mean", "most"].map(|what| format!("{what} {}", first.name));
                    let measurements = [("patches", region.cells.len() as f64), (&mean_of, mean), (&most_of, most)];
                    let name = format!("region {number}");
                    let (name, class) = (Some(&name[..]), Some((&class[..], *colour)));
                    let said =
                        Said { object: Object::Annotation, name, class, colour: None, measurements: &measurements };
                    all.region(&region, &said)?;
                }
            }
            all.end()
        })?;
        done.card.files.push((file, "regions".into()));
        Ok(())
    }

    /// The best patches side by side, where there are pictures of them.
    fn sheet(&self, slide: &Slide, done: &mut Done) -> Result<()> {
        let Some(folder) = self.tiles.filter(|_| !done.best.is_empty()) else { return Ok(()) };
        let Some(tiles) = Tiles::of(folder, slide.name)? else {
            done.remarks.push(format!(
                "slide {}: {} has no folder with pictures of its patches",
                slide.name,
                folder.display()
            ));
            return Ok(());
        };
        let (mut patches, mut there) = (Vec::new(), 0);
        for (rank, best) in done.best.iter().enumerate() {
            let [x, y] = best.place;
            let caption = [format!("{}: {}", rank + 1, short(f64::from(best.value))), format!("{x}, {y}")];
            let (patch, found) = tiles.patch(best.place, &slide.cells, caption)?;
            there += usize::from(found);
            patches.push(patch);
        }
        if there == 0 {
            let message = "no picture is named by the place of a patch, x and then y";
            done.remarks.push(format!("slide {}: {}: {message}", slide.name, folder.join(slide.name).display()));
            return Ok(());
        }
        let column = &slide.columns[slide.drawn[0]];
        let title = format!("{}: patches with the largest {}", slide.name, column.name);
        let file = format!("{}.top.png", slide.stem);
        let subtitle = format!("{}: {}. Below each its number and its place.", column.name, column.says);
        filled(self.folder.join(&file), |out| out.write_all(&sheet(&title, &subtitle, &patches)))?;
        done.card.files.push((file, "best patches".into()));
        Ok(())
    }
}

/// A line for each patch: its number, its place, all that the model says of it, and the percentiles of that.
fn table(out: &mut impl Write, slide: &Slide, ranks: &[Vec<f64>]) -> std::io::Result<()> {
    let mut csv = Csv::new(out);
    csv.cell("instance")?.cell("x")?.cell("y")?;
    slide.columns.iter().try_for_each(|c| csv.name(&c.name).map(|_| ()))?;
    slide.columns.iter().try_for_each(|c| csv.name(&format!("percentile({})", c.name)).map(|_| ()))?;
    csv.end()?;
    for (at, [x, y]) in slide.cells.corners().iter().enumerate() {
        csv.cell(at)?.cell(x)?.cell(y)?;
        slide.columns.iter().try_for_each(|c| csv.cell(c.values[at]).map(|_| ()))?;
        for ranks in ranks {
            // More digits than this tell no two of a million apart.
            csv.cell((ranks[at] * 1e6).round() / 1e6)?;
        }
        csv.end()?;
    }
    Ok(())
}

/// A file in a folder that nobody sees yet. It goes to the disk with the whole folder, when that is put in its place: to wait
/// for each by itself takes longer than all else.
fn filled(path: PathBuf, fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let write = || {
        let mut out = BufWriter::new(File::create(&path)?);
        fill(&mut out)?;
        out.flush()
    };
    write().with_context(|| path.display().to_string())
}
