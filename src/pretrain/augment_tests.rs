//! Views against formulas written out once more, one pixel at a time.

use super::*;

fn noise(count: usize) -> Vec<u8> {
    let mut random = Random::new(5, 0);
    (0..count).map(|_| random.below(256) as u8).collect()
}

fn planes(count: usize) -> Vec<f32> {
    noise(count).iter().map(|&v| f32::from(v) / 255.0).collect()
}

fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-5, "{i}: {a} and {b}");
    }
}

/// Nothing but the crop.
fn plain() -> Augmentation {
    Augmentation { flip: 0.0, jitter_chance: 0.0, grey: 0.0, blur: 0.0, ..Augmentation::default() }
}

#[test]
fn crops_lie_inside_and_have_their_area_and_form() {
    let augmentation = Augmentation::default();
    let mut random = Random::new(1, 2);
    let (mut least, mut most) = (f64::MAX, 0f64);
    for _ in 0..2000 {
        let c = augmentation.crop([60, 40], &mut random);
        assert!(c.height > 0 && c.width > 0 && c.top + c.height <= 60 && c.left + c.width <= 40, "{c:?}");
        let (area, ratio) = ((c.height * c.width) as f64 / 2400.0, c.width as f64 / c.height as f64);
        // Sides are whole pixels, so both may be off by half a pixel of 10.
        assert!((0.07..=1.0).contains(&area) && (0.66..1.45).contains(&ratio), "{c:?}");
        (least, most) = (least.min(area), most.max(area));
    }
    assert!(least < 0.12 && most > 0.75, "{least} to {most}");
    // No crop of this form fits: the middle of what does.
    let wide = Augmentation { area: [1.0, 1.0], ratio: [4.0, 4.0], ..Augmentation::default() };
    assert_eq!(wide.crop([8, 8], &mut random), Crop { top: 3, left: 0, height: 2, width: 8 });
    let one = augmentation.crop([1, 1], &mut random);
    assert_eq!(one, Crop { top: 0, left: 0, height: 1, width: 1 });
}

#[test]
fn a_view_depends_on_its_stream_alone() {
    let (image, pixels) = ([12, 9, 3], noise(12 * 9 * 3));
    let view = |seed, stream| {
        let mut out = vec![f32::NAN; pixels.len()];
        Augmentation::default().view(&pixels, image, &mut Random::new(seed, stream), &mut out);
        out
    };
    assert_eq!(view(3, 4), view(3, 4));
    assert!(view(3, 4) != view(3, 5) && view(3, 4) != view(4, 4));
    for stream in 0..200 {
        assert!(view(9, stream).iter().all(|v| (0.0..=1.0).contains(v)), "stream {stream}");
    }
}

#[test]
fn the_whole_patch_is_its_planes_and_flips_turn_lines() {
    let (image, pixels) = ([2, 3, 2], [0, 51, 102, 153, 204, 255, 10, 20, 30, 40, 50, 60]);
    let mut out = vec![0.0; 12];
    whole(&pixels, image, &mut out);
    let bytes = |b: [u8; 12]| b.map(|v| f32::from(v) / 255.0);
    near(&out, &bytes([0, 102, 204, 10, 30, 50, 51, 153, 255, 20, 40, 60]));
    let all = Augmentation { area: [1.0, 1.0], ratio: [1.5, 1.5], ..plain() };
    all.view(&pixels, image, &mut Random::new(0, 0), &mut out);
    near(&out, &bytes([0, 102, 204, 10, 30, 50, 51, 153, 255, 20, 40, 60]));
    Augmentation { flip: 1.0, ..all }.view(&pixels, image, &mut Random::new(0, 0), &mut out);
    near(&out, &bytes([204, 102, 0, 50, 30, 10, 255, 153, 51, 60, 40, 20]));
}

#[test]
fn jitter_follows_its_formulas() {
    let (n, start) = (20, planes(60));
    let grey = |i: usize| 0.299 * start[i] + 0.587 * start[n + i] + 0.114 * start[2 * n + i];
    let mean = (0..n).map(grey).sum::<f32>() / n as f32;
    for factor in [0.2, 1.0, 1.7] {
        let expected = |f: &dyn Fn(usize) -> f32| (0..60).map(|i| f(i).clamp(0.0, 1.0)).collect::<Vec<_>>();
        let mut out = start.clone();
        brightness(&mut out, factor);
        near(&out, &expected(&|i| start[i] * factor));
        out.clone_from(&start);
        contrast(&mut out, 3, factor);
        near(&out, &expected(&|i| mean + (start[i] - mean) * factor));
        out.clone_from(&start);
        saturation(&mut out, 3, factor);
        near(&out, &expected(&|i| grey(i % n) + (start[i] - grey(i % n)) * factor));
    }
    // One channel is its own grey.
    let mut out = start.clone();
    saturation(&mut out, 1, 0.3);
    near(&out, &start);
}

#[test]
fn hue_turns_around_the_circle() {
    let turned = |rgb: [f32; 3], by| {
        let mut rgb = rgb;
        hue(&mut rgb, 3, by);
        rgb
    };
    let third = 1.0 / 3.0;
    near(&turned([1.0, 0.0, 0.0], third), &[0.0, 1.0, 0.0]);
    near(&turned([1.0, 0.0, 0.0], -third), &[0.0, 0.0, 1.0]);
    near(&turned([1.0, 0.5, 0.0], 0.5), &[0.0, 0.5, 1.0]);
    near(&turned([0.2, 0.4, 0.9], third), &[0.9, 0.2, 0.4]);
    near(&turned([0.3, 0.3, 0.3], 0.4), &[0.3, 0.3, 0.3]);
    let mut many = planes(300);
    let start = many.clone();
    hue(&mut many, 3, 0.13);
    // The largest and the smallest of the three stay.
    for i in 0..100 {
        let of = |v: &[f32]| [v[i], v[100 + i], v[200 + i]];
        let ends = |v: [f32; 3]| [v.iter().copied().fold(0.0, f32::max), v.iter().copied().fold(1.0, f32::min)];
        near(&ends(of(&many)), &ends(of(&start)));
    }
    hue(&mut many, 3, -0.13);
    near(&many, &start);
}

#[test]
fn blur_is_a_gaussian_with_mirrored_borders() {
    let (height, width, sigma, radius) = (5usize, 7usize, 1.3f64, 2isize);
    let start = planes(2 * height * width);
    let mut out = start.clone();
    blur(&mut out, [height, width], sigma, radius as usize);
    let mirror = |p: isize, n: usize| {
        let p = p.abs();
        (if p >= n as isize { 2 * (n as isize - 1) - p } else { p }) as usize
    };
    let weight = |d: isize| (-(d * d) as f64 / (2.0 * sigma * sigma)).exp();
    for plane in 0..2 {
        for y in 0..height {
            for x in 0..width {
                let (mut sum, mut total) = (0.0, 0.0);
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let at = mirror(y as isize + dy, height) * width + mirror(x as isize + dx, width);
                        let w = weight(dy) * weight(dx);
                        sum += w * f64::from(start[plane * height * width + at]);
                        total += w;
                    }
                }
                let found = out[plane * height * width + y * width + x];
                assert!((f64::from(found) - sum / total).abs() < 1e-5);
            }
        }
    }
    // A picture of one pixel has nothing to blur with.
    let mut one = [0.5];
    blur(&mut one, [1, 1], 1.0, 6);
    near(&one, &[0.5]);
}

#[test]
fn impossible_numbers_are_refused() {
    let refused = |a: Augmentation| a.validate().unwrap_err().to_string();
    let default = Augmentation::default;
    default().validate().unwrap();
    assert!(refused(Augmentation { area: [0.0, 1.0], ..default() }).starts_with("setting area"));
    assert!(refused(Augmentation { area: [0.5, 1.5], ..default() }).starts_with("setting area"));
    assert!(refused(Augmentation { ratio: [2.0, 1.0], ..default() }).starts_with("setting ratio"));
    assert!(refused(Augmentation { blur_sigma: [0.0, 1.0], ..default() }).starts_with("setting blur_sigma"));
    assert!(refused(Augmentation { grey: 1.1, ..default() }).starts_with("setting grey"));
    assert!(refused(Augmentation { flip: f64::NAN, ..default() }).starts_with("setting flip"));
    assert!(refused(Augmentation { jitter: [0.1, 0.1, 0.1, 0.6], ..default() }).contains("hue up to 0.5"));
    assert!(refused(Augmentation { blur_size: 4, ..default() }).starts_with("setting blur_size"));
}
