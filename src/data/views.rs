//! Views of images: each shifted, turned and scaled a little by chance, so that training sees an image in many ways.

use crate::error::{Error, Result};
use crate::random::Random;

/// How far a view may be from its image; each draw is uniform.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Views {
    /// Largest shift along each axis, in pixels.
    pub shift: f64,
    /// Largest turn either way, in degrees.
    pub turn: f64,
    /// Largest change of size: a view is 1 - `zoom` to 1 + `zoom` times as large.
    pub zoom: f64,
}

/// What [`Views`] allow at most.
const LIMITS: [(&str, f64); 3] = [("shift", 1000.0), ("turn", 180.0), ("zoom", 0.9)];

impl Views {
    /// True when every view is its image.
    pub fn are_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] when one is out of range.
    pub fn check(&self) -> Result<()> {
        for ((name, most), value) in LIMITS.into_iter().zip([self.shift, self.turn, self.zoom]) {
            if !(0.0..=most).contains(&value) {
                return Err(Error::setting(name, format!("expected 0 to {most}, found {value}")));
            }
        }
        Ok(())
    }

    /// A view of `pixels` `[height, width, channels]` about the image's centre. Between pixels it is bilinear; what comes
    /// from outside is 0.
    pub(super) fn view(&self, pixels: &[u8], image: [usize; 3], random: &mut Random) -> Vec<f32> {
        let [height, width, channels] = image;
        let mut within = |most: f64| most * (2.0 * random.uniform() - 1.0);
        let (down, right) = (within(self.shift), within(self.shift));
        let turn = within(self.turn).to_radians();
        let zoom = 1.0 + within(self.zoom);
        let (sin, cos) = (turn.sin() / zoom, turn.cos() / zoom);
        let middle = [(height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0];
        let pixel = |y: f64, x: f64, channel: usize| {
            let inside = y >= 0.0 && x >= 0.0 && y < height as f64 && x < width as f64;
            if inside { f64::from(pixels[(y as usize * width + x as usize) * channels + channel]) } else { 0.0 }
        };
        let mut values = Vec::with_capacity(pixels.len());
        for place in 0..height * width {
            // Where the view's pixel is in the image: the inverse of turning, scaling and shifting.
            let y = (place / width) as f64 - middle[0] - down;
            let x = (place % width) as f64 - middle[1] - right;
            let (y, x) = (cos * y - sin * x + middle[0], sin * y + cos * x + middle[1]);
            let (top, left) = (y.floor(), x.floor());
            let (lower, righter) = (y - top, x - left);
            for channel in 0..channels {
                let row = |y: f64| (1.0 - righter) * pixel(y, left, channel) + righter * pixel(y, left + 1.0, channel);
                values.push(((1.0 - lower) * row(top) + lower * row(top + 1.0)) as f32);
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: [usize; 3] = [5, 4, 2];

    fn pixels() -> Vec<u8> {
        (0..40).map(|i| (i * 37 % 251) as u8).collect()
    }

    #[test]
    fn a_plain_view_is_the_image() {
        let view = Views::default().view(&pixels(), IMAGE, &mut Random::new(1, 0));
        assert_eq!(view, pixels().iter().map(|&p| f32::from(p)).collect::<Vec<_>>());
    }

    #[test]
    fn views_differ_by_chance_and_repeat_by_seed() {
        let views = Views { shift: 0.5, turn: 10.0, zoom: 0.1 };
        let mut random = Random::new(1, 0);
        let [first, second] = [0, 1].map(|_| views.view(&pixels(), IMAGE, &mut random));
        assert_ne!(first, second);
        assert_eq!(first, views.view(&pixels(), IMAGE, &mut Random::new(1, 0)));
        // An average of pixels and of 0 for outside.
        assert!(first.iter().chain(&second).all(|v| (0.0..=250.0).contains(v)));
    }

    #[test]
    fn a_view_moves_turns_and_grows_as_it_says() {
        // A bright pixel on a plane without channels; its centre of mass is followed.
        let mut one = vec![0u8; 21 * 21];
        one[10 * 21 + 14] = 200;
        let centre = |values: &[f32]| {
            let sum: f32 = values.iter().sum();
            let mean = |at: fn(usize) -> usize| {
                values.iter().enumerate().map(|(i, v)| at(i) as f32 * v).sum::<f32>() / sum - 10.0
            };
            [mean(|i| i / 21), mean(|i| i % 21)]
        };
        let drawn = |views: Views, seed| views.view(&one, [21, 21, 1], &mut Random::new(seed, 0));
        for seed in 0..50 {
            // The same numbers in the same order as a view takes them.
            let mut random = Random::new(seed, 0);
            let [down, right, turn, zoom] = [0; 4].map(|_| 2.0 * random.uniform() - 1.0);
            let [y, x] = centre(&drawn(Views { shift: 3.0, ..Views::default() }, seed));
            assert!((f64::from(y) - 3.0 * down).abs() < 1e-4 && (f64::from(x) - 4.0 - 3.0 * right).abs() < 1e-4);
            // Bilinear values weigh a turned pixel unevenly: its centre is right to a part of a pixel.
            let [y, x] = centre(&drawn(Views { turn: 90.0, ..Views::default() }, seed));
            let angle = f64::from(y).atan2(f64::from(x)).to_degrees();
            assert!((angle - 90.0 * turn).abs() < 6.0, "{angle} against {}", 90.0 * turn);
            let [y, x] = centre(&drawn(Views { zoom: 0.5, ..Views::default() }, seed));
            assert!(y.abs() < 1e-4 && (f64::from(x) - 4.0 * (1.0 + 0.5 * zoom)).abs() < 0.3);
        }
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (views, name) in [
            (Views { shift: -1.0, ..Views::default() }, "shift"),
            (Views { turn: f64::NAN, ..Views::default() }, "turn"),
            (Views { zoom: 1.0, ..Views::default() }, "zoom"),
        ] {
            let message = views.check().unwrap_err().to_string();
            assert!(message.starts_with(&format!("setting {name}: expected 0 to")), "{message}");
        }
        assert!(Views::default().check().is_ok() && Views::default().are_plain());
    }
}
