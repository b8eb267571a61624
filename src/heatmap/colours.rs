//! Colours in which equal steps of a number look like equal steps.
//!
//! From small to large: viridis (van der Walt and Smith, given to the public domain), by ten of its colours. Around 0: from
//! blue through a light grey to red. Between the given colours the way is straight in OKLab (Ottosson 2020), a space in which
//! distances are as people see them.

/// The ten colours of viridis at ninths of the way.
const VIRIDIS: [u32; 10] =
    [0x440154, 0x482878, 0x3e4a89, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6dcd59, 0xb4de2c, 0xfde725];
/// Against, nothing, for; the ends are equally dark.
const AROUND_ZERO: [u32; 3] = [0x1f66b1, 0xf4f4f2, 0xb8232f];

/// Red, green and blue of a number from 0 to 1.
#[derive(Clone, Debug)]
pub struct Colours([[u8; 3]; 256]);

impl Colours {
    /// From small to large, or where a sign matters around the middle.
    pub fn new(signed: bool) -> Self {
        let anchors: &[u32] = if signed { &AROUND_ZERO } else { &VIRIDIS };
        let anchors: Vec<[f64; 3]> = anchors.iter().map(|&hex| to_lab(bytes(hex))).collect();
        let colour = |at: usize| {
            let place = at as f64 / 255.0 * (anchors.len() - 1) as f64;
            let before = (place as usize).min(anchors.len() - 2);
            let share = place - before as f64;
            from_lab([0, 1, 2].map(|c| anchors[before][c] * (1.0 - share) + anchors[before + 1][c] * share))
        };
        Self(std::array::from_fn(colour))
    }

    /// The colour at `t`, moved between 0 and 1.
    pub fn at(&self, t: f64) -> [u8; 3] {
        self.0[(t.clamp(0.0, 1.0) * 255.0).round() as usize]
    }
}

fn bytes(hex: u32) -> [u8; 3] {
    [hex >> 16, hex >> 8, hex].map(|c| c as u8)
}

fn to_lab(colour: [u8; 3]) -> [f64; 3] {
    let [r, g, b] = colour.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
    let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
    let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
    [
        0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
        1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
        0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
    ]
}

fn from_lab([l, a, b]: [f64; 3]) -> [u8; 3] {
    let x = (l + 0.3963377774 * a + 0.2158037573 * b).powi(3);
    let y = (l - 0.1055613458 * a - 0.0638541728 * b).powi(3);
    let z = (l - 0.0894841775 * a - 1.2914855480 * b).powi(3);
    let linear = [
        4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z,
        -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
        -0.0041960863 * x - 0.7034186147 * y + 1.7076147010 * z,
    ];
    linear.map(|c| {
        let c = c.clamp(0.0, 1.0);
        let c = if c <= 0.0031308 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
        (c * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_come_back_from_the_space_they_are_mixed_in() {
        for hex in VIRIDIS.into_iter().chain(AROUND_ZERO).chain([0, 0xffffff]) {
            assert_eq!(from_lab(to_lab(bytes(hex))), bytes(hex));
        }
    }

    #[test]
    fn larger_is_lighter_and_steps_are_even() {
        let colours = Colours::new(false);
        let lightness = |t: f64| to_lab(colours.at(t))[0];
        let steps: Vec<f64> = (0..16).map(|i| lightness((i + 1) as f64 / 16.0) - lightness(i as f64 / 16.0)).collect();
        let mean = steps.iter().sum::<f64>() / 16.0;
        assert!(steps.iter().all(|s| (0.4 * mean..1.8 * mean).contains(s)), "{steps:?}");
    }

    #[test]
    fn both_sides_of_zero_are_equally_far() {
        let colours = Colours::new(true);
        let middle = to_lab(colours.at(0.5));
        let far = |t: f64| to_lab(colours.at(t)).iter().zip(middle).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        for t in [0.125, 0.25, 0.5] {
            let (against, speaks) = (far(0.5 - t), far(0.5 + t));
            assert!((against / speaks - 1.0).abs() < 0.15, "{t}: {against} and {speaks}");
            assert!((speaks / far(1.0) - 2.0 * t).abs() < 0.03);
        }
        assert!(colours.at(0.0)[2] > colours.at(0.0)[0] && colours.at(1.0)[0] > colours.at(1.0)[2]);
        assert_eq!(colours.at(-3.0), colours.at(0.0));
    }
}
