//! Views of a patch: the augmentations of SimCLR (Chen and others 2020, appendix A), with the numbers that DSMIL's
//! encoders were trained with.
//!
//! A view is a function of the patch and of a stream of random numbers of its own, so it is the same whoever
//! computes it when.

use crate::data::resize::resize;
use crate::error::{Error, Result};
use crate::random::Random;
use serde::{Deserialize, Serialize};

/// How views differ from their patch. Steps follow each other in the order of the fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// Least and largest share of the patch's area in the crop, which is then brought to the patch's size.
    pub area: [f64; 2],
    /// Least and largest width of the crop over its height.
    pub ratio: [f64; 2],
    /// Chance of a view from the other side.
    pub flip: f64,
    /// Chance that colours are jittered.
    pub jitter_chance: f64,
    /// How much: brightness, contrast and saturation are multiplied by up to 1 plus or minus this, hue is turned
    /// by up to this part of the circle, in a random order.
    pub jitter: [f64; 4],
    /// Chance of a view without colours.
    pub grey: f64,
    /// Chance of a blurred view.
    pub blur: f64,
    /// Least and largest deviation of the Gaussian, in pixels.
    pub blur_sigma: [f64; 2],
    /// Pixels across the Gaussian, odd; 0 for 0.06 of the shorter side, at least 3.
    pub blur_size: usize,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            area: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            flip: 0.5,
            jitter_chance: 0.8,
            jitter: [0.8, 0.8, 0.8, 0.2],
            grey: 0.2,
            blur: 0.5,
            blur_sigma: [0.1, 2.0],
            blur_size: 0,
        }
    }
}

/// A part of a picture: first line and column, lines and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crop {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

/// Weights of red, green and blue in grey.
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

impl Augmentation {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] that names the number and its range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, message: String| Err(Error::setting(name, message));
        let [least, most] = self.area;
        if !(least > 0.0 && least <= most && most <= 1.0) {
            return wrong("area", format!("expected two rising shares above 0 and up to 1, found {:?}", self.area));
        }
        let rising = |[least, most]: [f64; 2]| least > 0.0 && least <= most && most.is_finite();
        if !rising(self.ratio) {
            return wrong("ratio", format!("expected two rising numbers above 0, found {:?}", self.ratio));
        }
        if !rising(self.blur_sigma) {
            return wrong("blur_sigma", format!("expected two rising numbers above 0, found {:?}", self.blur_sigma));
        }
        let chances =
            [("flip", self.flip), ("jitter_chance", self.jitter_chance), ("grey", self.grey), ("blur", self.blur)];
        for (name, chance) in chances {
            if !(0.0..=1.0).contains(&chance) {
                return wrong(name, format!("expected a chance of 0 to 1, found {chance}"));
            }
        }
        let [.., hue] = self.jitter;
        if self.jitter.iter().any(|j| !(0.0..=10.0).contains(j)) || hue > 0.5 {
            return wrong("jitter", format!("expected numbers from 0 on and a hue up to 0.5, found {:?}", self.jitter));
        }
        if self.blur_size.is_multiple_of(2) && self.blur_size != 0 || self.blur_size > 255 {
            return wrong("blur_size", format!("expected 0 or an odd number up to 255, found {}", self.blur_size));
        }
        Ok(())
    }

    /// Writes a view of a patch of `image` (height, width, channels; a byte a value, channels together) to `out`,
    /// one channel after the other, 0 to 1.
    pub fn view(&self, pixels: &[u8], image: [usize; 3], random: &mut Random, out: &mut [f32]) {
        let [height, width, channels] = image;
        let crop = self.crop([height, width], random);
        let planes = resize(&cut(pixels, image, crop), [crop.height, crop.width], [height, width]);
        out.copy_from_slice(&planes);
        if random.uniform() < self.flip {
            out.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
        if random.uniform() < self.jitter_chance {
            let mut order = [0, 1, 2, 3];
            random.shuffle(&mut order);
            for step in order {
                let (by, draw) = (self.jitter[step], random.uniform());
                if by == 0.0 {
                    continue;
                }
                let factor = |least: f64| (least + (1.0 + by - least) * draw) as f32;
                match step {
                    0 => brightness(out, factor((1.0 - by).max(0.0))),
                    1 => contrast(out, channels, factor((1.0 - by).max(0.0))),
                    2 => saturation(out, channels, factor((1.0 - by).max(0.0))),
                    _ => hue(out, channels, (by * (2.0 * draw - 1.0)) as f32),
                }
            }
        }
        if random.uniform() < self.grey {
            saturation(out, channels, 0.0);
        }
        if random.uniform() < self.blur {
            let [least, most] = self.blur_sigma;
            let sigma = least + (most - least) * random.uniform();
            let side = height.min(width);
            let radius = match self.blur_size {
                0 => ((0.03 * side as f64) as usize).max(1),
                size => size / 2,
            };
            blur(out, [height, width], sigma, radius);
        }
    }

    /// A crop of a random area and form, after torchvision: ten draws, and the middle when none of them fits.
    pub(crate) fn crop(&self, [height, width]: [usize; 2], random: &mut Random) -> Crop {
        let between = |[least, most]: [f64; 2], draw: f64| least + (most - least) * draw;
        for _ in 0..10 {
            let area = (height * width) as f64 * between(self.area, random.uniform());
            let ratio = between(self.ratio.map(f64::ln), random.uniform()).exp();
            let (w, h) = ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let (top, left) = (random.below(height - h + 1), random.below(width - w + 1));
                return Crop { top, left, height: h, width: w };
            }
        }
        let [least, most] = self.ratio;
        let found = width as f64 / height as f64;
        let (w, h) = match found {
            _ if found < least => (width, (width as f64 / least).round() as usize),
            _ if found > most => ((height as f64 * most).round() as usize, height),
            _ => (width, height),
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Crop { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
    }
}

/// A whole patch, as [`Augmentation::view`] writes its views.
pub fn whole(pixels: &[u8], image: [usize; 3], out: &mut [f32]) {
    let [height, width, _] = image;
    out.copy_from_slice(&cut(pixels, image, Crop { top: 0, left: 0, height, width }));
}

/// A part of a patch, one channel after the other, 0 to 1.
fn cut(pixels: &[u8], [_, width, channels]: [usize; 3], crop: Crop) -> Vec<f32> {
    let mut planes = Vec::with_capacity(channels * crop.height * crop.width);
    for channel in 0..channels {
        for y in crop.top..crop.top + crop.height {
            let line = &pixels[(y * width + crop.left) * channels..][..crop.width * channels];
            planes.extend(line.iter().skip(channel).step_by(channels).map(|&p| f32::from(p) / 255.0));
        }
    }
    planes
}

fn brightness(planes: &mut [f32], factor: f32) {
    planes.iter_mut().for_each(|v| *v = (*v * factor).clamp(0.0, 1.0));
}

/// Grey of each position: of three channels as eyes see it, of others their mean.
fn greys(planes: &[f32], channels: usize) -> Vec<f32> {
    let area = planes.len() / channels;
    let weight = |c: usize| if channels == 3 { GREY[c] } else { 1.0 / channels as f32 };
    let mut grey = vec![0.0; area];
    for (c, plane) in planes.chunks_exact(area).enumerate() {
        grey.iter_mut().zip(plane).for_each(|(g, v)| *g += weight(c) * v);
    }
    grey
}

fn contrast(planes: &mut [f32], channels: usize, factor: f32) {
    let grey = greys(planes, channels);
    let mean = (grey.iter().map(|&g| f64::from(g)).sum::<f64>() / grey.len() as f64) as f32;
    planes.iter_mut().for_each(|v| *v = (factor * *v + (1.0 - factor) * mean).clamp(0.0, 1.0));
}

fn saturation(planes: &mut [f32], channels: usize, factor: f32) {
    let grey = greys(planes, channels);
    for plane in planes.chunks_exact_mut(grey.len()) {
        plane.iter_mut().zip(&grey).for_each(|(v, g)| *v = (factor * *v + (1.0 - factor) * g).clamp(0.0, 1.0));
    }
}

/// Turns the hue of three channels by a part of the circle; others have none.
fn hue(planes: &mut [f32], channels: usize, turn: f32) {
    if channels != 3 {
        return;
    }
    let area = planes.len() / 3;
    let (red, rest) = planes.split_at_mut(area);
    let (green, blue) = rest.split_at_mut(area);
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let (most, least) = (r.max(*g).max(*b), r.min(*g).min(*b));
        let span = most - least;
        if span == 0.0 {
            continue;
        }
        let sixth = if most == *r {
            (*g - *b) / span
        } else if most == *g {
            2.0 + (*b - *r) / span
        } else {
            4.0 + (*r - *g) / span
        };
        let turned = (sixth + 6.0 * turn).rem_euclid(6.0);
        let part = |n: f32| {
            let k = (n + turned).rem_euclid(6.0);
            most - span * k.min(4.0 - k).clamp(0.0, 1.0)
        };
        (*r, *g, *b) = (part(5.0), part(3.0), part(1.0));
    }
}

/// A Gaussian of deviation `sigma` over `2 radius + 1` pixels; beyond the border the picture is mirrored.
fn blur(planes: &mut [f32], [height, width]: [usize; 2], sigma: f64, radius: usize) {
    // Mirrored once, so no further than the picture goes.
    let radius = radius.min(height - 1).min(width - 1);
    let weight = |d: usize| (-((d as f64 / sigma).powi(2)) / 2.0).exp();
    let total: f64 = weight(0) + 2.0 * (1..=radius).map(weight).sum::<f64>();
    let weights: Vec<f32> = (0..=radius).map(|d| (weight(d) / total) as f32).collect();
    let mirrored = |at: usize, step: isize, length: usize| {
        let place = (at as isize + step).unsigned_abs();
        if place < length { place } else { 2 * (length - 1) - place }
    };
    let mut before = vec![0.0; height * width];
    for plane in planes.chunks_exact_mut(height * width) {
        for (from, to) in plane.chunks_exact(width).zip(before.chunks_exact_mut(width)) {
            for (x, o) in to.iter_mut().enumerate() {
                *o = weights[0] * from[x];
                for (d, w) in weights.iter().enumerate().skip(1) {
                    let d = d as isize;
                    *o += w * (from[mirrored(x, -d, width)] + from[mirrored(x, d, width)]);
                }
            }
        }
        for (y, to) in plane.chunks_exact_mut(width).enumerate() {
            let line = |y: usize| &before[y * width..(y + 1) * width];
            to.iter_mut().zip(line(y)).for_each(|(o, v)| *o = weights[0] * v);
            for (d, w) in weights.iter().enumerate().skip(1) {
                let d = d as isize;
                let (above, below) = (line(mirrored(y, -d, height)), line(mirrored(y, d, height)));
                to.iter_mut().zip(above.iter().zip(below)).for_each(|(o, (a, b))| *o += w * (a + b));
            }
        }
    }
}

#[cfg(test)]
#[path = "augment_tests.rs"]
mod tests;
