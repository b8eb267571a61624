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

    /// A slope is what it is between pixels too, so that every value of a view tells the place that it came from.
    #[test]
    fn a_view_moves_turns_and_grows_as_it_says() {
        let (side, middle) = (21, 10.0);
        let at = |y: f64, x: f64| 5.0 * y + 3.0 * x;
        let slope: Vec<u8> = (0..side * side).map(|i| at((i / side) as f64, (i % side) as f64) as u8).collect();
        let plain = Views::default();
        let all = Views { shift: 2.0, turn: 30.0, zoom: 0.3 };
        let single = [Views { shift: 2.0, ..plain }, Views { turn: 30.0, ..plain }, Views { zoom: 0.3, ..plain }];
        for (views, seed) in [all].into_iter().chain(single).flat_map(|views| (0..20).map(move |seed| (views, seed))) {
            let seen = views.view(&slope, [side, side, 1], &mut Random::new(seed, 0));
            // The same numbers in the same order as a view takes them.
            let mut random = Random::new(seed, 0);
            let [down, right, turn, zoom] = [0; 4].map(|_| 2.0 * random.uniform() - 1.0);
            let (down, right, zoom) = (views.shift * down, views.shift * right, 1.0 + views.zoom * zoom);
            let (sin, cos) = (views.turn * turn).to_radians().sin_cos();
            // Pixel (y, x) of the image, from its middle, is seen at zoom (y cos + x sin, x cos - y sin) and the shift. The other
            // way round by Cramer's rule.
            let [[a, b], [c, d]] = [[zoom * cos, zoom * sin], [-zoom * sin, zoom * cos]];
            let determinant = a * d - b * c;
            for (y, x) in (6..15).flat_map(|y| (6..15).map(move |x| (y, x))) {
                let (v, u) = (y as f64 - middle - down, x as f64 - middle - right);
                let from = [(d * v - b * u) / determinant + middle, (a * u - c * v) / determinant + middle];
                let (found, wanted) = (f64::from(seen[y * side + x]), at(from[0], from[1]));
                assert!((found - wanted).abs() < 1e-4, "{views:?}, seed {seed}, ({y}, {x}): {found}, not {wanted}");
            }
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
