//! A map as a picture: the cells, what their colours mean, how large things are, and words that say so.

use super::canvas::{self, Canvas, INK, LINE, RULE, SOFT, length, wrapped};
use super::cells::Cells;
use super::colours::Colours;
use super::scale::{Laid, Layer, Scale, round_below, short};
use crate::error::{Error, Result};
use crate::origin::PlaceUnit;

/// Where there is no tissue.
const GROUND: [u8; 3] = [0xdf, 0xe2, 0xe8];
/// A cell whose number is none.
const NO_NUMBER: [u8; 3] = [0x9a, 0x9f, 0xa9];
/// Pixels a side of a cell, at most: a few cells do not fill a screen.
const LARGEST_CELL: f64 = 64.0;
const MARGIN: usize = 24;
/// Pixels that words have in a row, at least.
const NARROWEST: usize = 640;
const BAR: usize = 20;
/// Pixels of the longer side, within which memory stays below 400 MB.
const SIDES: std::ops::RangeInclusive<usize> = 16..=4096;

/// What a slide looks like, to be seen below its map.
#[derive(Clone, Debug)]
pub struct Backdrop {
    /// Pixels of the picture, both above 0.
    pub width: usize,
    /// As `width`.
    pub height: usize,
    /// Red, green and blue, row by row.
    pub pixels: Vec<u8>,
    /// Width and height of the slide in the unit of the places; it begins at 0, 0.
    pub slide: [f64; 2],
    /// How much of the map covers it, from 0 to 1.
    pub opacity: f64,
}

/// A map to be drawn.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// In large letters above it.
    pub title: &'a str,
    /// Below the title.
    pub subtitle: &'a str,
    /// Below the map, a line each.
    pub notes: &'a [String],
    /// Where the instances are.
    pub cells: &'a Cells,
    /// The numbers of the instances.
    pub layer: Layer<'a>,
    /// How they become colours.
    pub scale: Scale,
    /// Pixels of the map's longer side, at most; from 16 to 4096.
    pub max_side: usize,
    /// What the places are in.
    pub unit: Option<PlaceUnit>,
    /// What lies below.
    pub backdrop: Option<&'a Backdrop>,
}

/// The part of the plane that is shown, and in how many pixels.
struct View {
    low: [f64; 2],
    /// Of the places for a pixel.
    unit: f64,
    size: [usize; 2],
}

impl View {
    fn new(picture: &Picture) -> Self {
        let side = picture.cells.side();
        let [low, high] = match picture.backdrop {
            Some(backdrop) => [[0.0, 0.0], backdrop.slide],
            None => picture.cells.extent(),
        };
        let lengths = [high[0] - low[0], high[1] - low[1]];
        let unit = lengths[0].max(lengths[1]) / picture.max_side as f64;
        let unit = if picture.backdrop.is_some() { unit } else { unit.max(side / LARGEST_CELL) };
        let size = lengths.map(|length| ((length / unit).round() as usize).clamp(1, picture.max_side));
        Self { low, unit, size }
    }

    /// The pixels of a cell along an axis; at least one, so that no cell is lost.
    fn pixels(&self, at: f64, side: f64, axis: usize) -> Option<[usize; 2]> {
        let pixel = |place: f64| ((place - self.low[axis]) / self.unit).round();
        let end = self.size[axis] as f64;
        let seen = at + side > self.low[axis] && at < self.low[axis] + end * self.unit;
        let first = pixel(at).clamp(0.0, end - 1.0);
        let last = pixel(at + side).clamp(first + 1.0, end);
        seen.then_some([first as usize, last as usize])
    }
}

/// Shares are added up as whole numbers of this unit, so that sums are exact in any order.
const EXACT: f64 = (1u64 << 20) as f64;

/// The mean share of the cells on each pixel; NaN where cells have no number, `None` where there is no cell.
fn means(picture: &Picture, laid: &Laid, view: &View) -> Vec<Option<f64>> {
    let [width, height] = view.size;
    // Differences along both axes, added up afterwards: a cell costs the same however large it is.
    let across = width + 1;
    let mut sums = vec![[0i64, 0, 0]; across * (height + 1)];
    for (corner, share) in picture.cells.corners().iter().zip(&laid.shares) {
        let side = picture.cells.side();
        let (Some([left, right]), Some([top, bottom])) =
            (view.pixels(corner[0], side, 0), view.pixels(corner[1], side, 1))
        else {
            continue;
        };
        let counts = if share.is_finite() { [(share * EXACT) as i64, 1, 1] } else { [0, 0, 1] };
        for (x, y, sign) in [(left, top, 1), (right, top, -1), (left, bottom, -1), (right, bottom, 1)] {
            sums[y * across + x].iter_mut().zip(counts).for_each(|(sum, count)| *sum += sign * count);
        }
    }
    let mut all = Vec::with_capacity(width * height);
    for y in 0..height {
        let mut row = [0i64; 3];
        for x in 0..width {
            let at = y * across + x;
            let above = if y == 0 { [0; 3] } else { sums[at - across] };
            // What lies above is complete; what begins in this row is added on the way to the right.
            row.iter_mut().zip(sums[at]).for_each(|(sum, here)| *sum += here);
            sums[at] = [0, 1, 2].map(|i| above[i] + row[i]);
            let [sum, numbers, cells] = sums[at];
            all.push(match (cells, numbers) {
                (0, _) => None,
                (_, 0) => Some(f64::NAN),
                _ => Some(sum as f64 / EXACT / numbers as f64),
            });
        }
    }
    all
}

impl Picture<'_> {
    /// The picture as a PNG file.
    ///
    /// # Errors
    /// [`Error::Setting`] for a side out of range or an opacity that is no share, [`Error::Shape`] when there is not a number
    /// for each cell or the backdrop has another number of pixels than it says.
    pub fn png(&self) -> Result<Vec<u8>> {
        self.check()?;
        let view = View::new(self);
        let laid = Laid::new(&self.layer, self.scale);
        let [width, height] = view.size;
        let row = width.max(NARROWEST);
        let title = wrapped(self.title, row, 2);
        let subtitle = wrapped(self.subtitle, row, 3);
        let legend = self.legend(&view, &laid);
        let notes: Vec<String> = legend.iter().chain(self.notes).flat_map(|note| wrapped(note, row, 3)).collect();
        let bar = height.clamp(120, 320);
        let top = MARGIN + (title.len() + subtitle.len()) * LINE + LINE / 2;
        let below = top + height.max(bar) + LINE / 2;
        let right = MARGIN + width + MARGIN;
        let labels = BAR + 8 + length("-1.0e-05");
        let mut canvas =
            Canvas::new((right + labels).max(MARGIN + row) + MARGIN, below + (notes.len() + 1) * LINE + MARGIN);
        title.iter().enumerate().for_each(|(at, line)| canvas.heading(MARGIN, MARGIN + at * LINE, line, INK));
        let under = MARGIN + title.len() * LINE;
        subtitle.iter().enumerate().for_each(|(at, line)| canvas.text(MARGIN, under + at * LINE, line, SOFT));
        let colours = Colours::new(self.layer.signed);
        self.map(&mut canvas, [MARGIN, top], &view, &laid, &colours);
        colour_bar(&mut canvas, [right, top, bar], &laid, self.scale, &colours);
        self.ruler(&mut canvas, [MARGIN, below], &view);
        let from = below + LINE + LINE / 3;
        notes.iter().enumerate().for_each(|(at, line)| canvas.text(MARGIN, from + at * LINE, line, SOFT));
        Ok(canvas.png())
    }

    fn check(&self) -> Result<()> {
        if !SIDES.contains(&self.max_side) {
            let message = format!("expected {} to {} pixels, found {}", SIDES.start(), SIDES.end(), self.max_side);
            return Err(Error::setting("max-side", message));
        }
        let shape = |expected: String, found: usize| {
            Err(Error::Shape { operation: "a map", expected, found: found.to_string() })
        };
        if self.layer.values.len() != self.cells.len() {
            return shape(format!("{} numbers, one for each cell", self.cells.len()), self.layer.values.len());
        }
        let Some(Backdrop { width, height, pixels, slide, opacity }) = self.backdrop else { return Ok(()) };
        if !(0.0..=1.0).contains(opacity) {
            return Err(Error::setting("opacity", format!("expected 0 to 1, found {opacity}")));
        }
        if !slide.iter().all(|length| length.is_finite() && *length > 0.0) {
            return Err(Error::setting("slide-size", format!("expected two lengths above 0, found {slide:?}")));
        }
        match width * height > 0 && pixels.len() == 3 * width * height {
            true => Ok(()),
            false => shape(format!("{width} x {height} pixels of three bytes below it"), pixels.len()),
        }
    }

    fn map(&self, canvas: &mut Canvas, [left, top]: [usize; 2], view: &View, laid: &Laid, colours: &Colours) {
        let [width, height] = view.size;
        canvas.frame(left, top, width, height, RULE);
        canvas.fill(left, top, width, height, GROUND);
        let opacity = self.backdrop.map_or(1.0, |backdrop| backdrop.opacity);
        for (at, mean) in means(self, laid, view).into_iter().enumerate() {
            let (x, y) = (at % width, at / width);
            let pixel = canvas.pixel(left + x, top + y);
            if let Some(Backdrop { width: w, height: h, pixels, .. }) = self.backdrop {
                let from = 3 * ((y * h / height) * w + x * w / width);
                pixel.copy_from_slice(&pixels[from..from + 3]);
            }
            let Some(mean) = mean else { continue };
            let colour = if mean.is_nan() { NO_NUMBER } else { colours.at(mean) };
            for (channel, colour) in pixel.iter_mut().zip(colour) {
                let mixed = f64::from(*channel) * (1.0 - opacity) + f64::from(colour) * opacity;
                *channel = mixed.round() as u8;
            }
        }
    }

    /// A length that is easily read, and how it is called.
    fn ruler(&self, canvas: &mut Canvas, [left, top]: [usize; 2], view: &View) {
        let longest = round_below(view.size[0] as f64 * view.unit / 3.0);
        let pixels = ((longest / view.unit).round() as usize).max(1);
        canvas.fill(left, top + 8, pixels, 4, INK);
        canvas.fill(left, top + 3, 2, 14, INK);
        canvas.fill(left + pixels.saturating_sub(2), top + 3, 2, 14, INK);
        let told = match self.unit {
            Some(PlaceUnit::Micrometres) if longest >= 1000.0 => format!("{} mm", short(longest / 1000.0)),
            Some(PlaceUnit::Micrometres) => format!("{} µm", short(longest)),
            Some(PlaceUnit::Pixels) => format!("{} pixels of level 0", short(longest)),
            None => format!("{} units of the places", short(longest)),
        };
        canvas.text(left + pixels + 12, top, &told, INK);
    }

    /// What is said of every map.
    fn legend(&self, view: &View, laid: &Laid) -> Vec<String> {
        let unit = match self.unit {
            Some(PlaceUnit::Micrometres) => "µm",
            Some(PlaceUnit::Pixels) => "pixels of level 0",
            None => "units of the places",
        };
        let side = short(self.cells.side());
        let how = match (self.cells.is_deduced(), self.cells.len()) {
            (false, _) => "",
            (true, 1) => ", as nothing tells it of a single one",
            (true, _) => ", deduced from the smallest spacing",
        };
        let scale = match (self.scale, self.layer.signed) {
            (Scale::Raw, _) => "",
            (Scale::Percentile, false) => " Colours: how many % of the slide's patches have less.",
            (Scale::Percentile, true) => " Colours: how many % of the slide's patches are nearer to 0.",
        };
        let patches = if self.cells.len() == 1 { "1 patch".into() } else { format!("{} patches", self.cells.len()) };
        let mut all = vec![format!("{}: {}.{scale}", self.layer.name, self.layer.meaning)];
        all.push(format!("{patches}, {side} {unit} wide{how}; 1 pixel here is {} {unit}.", short(view.unit)));
        let [low, high] = laid.ends.map(short);
        match laid.beyond {
            [0, 0] => {}
            [below, 0] => all.push(format!("{below} below {low}, in the colour of {low}.")),
            [0, above] => all.push(format!("{above} above {high}, in the colour of {high}.")),
            [below, above] => {
                all.push(format!("{below} below {low} and {above} above {high}, in the colours of these ends."));
            }
        }
        if self.layer.values.iter().any(|v| !v.is_finite()) {
            all.push("Dark grey: the model has no finite number there.".into());
        }
        all
    }
}

fn colour_bar(canvas: &mut Canvas, [left, top, height]: [usize; 3], laid: &Laid, scale: Scale, colours: &Colours) {
    for row in 0..height {
        let share = 1.0 - (row as f64 + 0.5) / height as f64;
        canvas.fill(left, top + row, BAR, 1, colours.at(share));
    }
    canvas.frame(left, top, BAR, height, RULE);
    let [low, high] = laid.ends;
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let y = top + ((1.0 - share) * (height - 1) as f64).round() as usize;
        canvas.fill(left + BAR, y, 5, 1, SOFT);
        let percent = if scale == Scale::Percentile { "%" } else { "" };
        // A place of 0 in the middle is 0, whatever rounding says.
        let value = if tick == 2 && low == -high { 0.0 } else { low + share * (high - low) };
        let text = format!("{}{percent}", short(value));
        canvas.text(left + BAR + 8, y.saturating_sub(canvas::LINE / 2 - 4), &text, INK);
    }
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
