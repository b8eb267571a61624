//! A bag as a row of its instances, a number written under each and drawn around it.

use super::html::escape;
use super::inline;
use super::svg::{Axis, axes, open, px};
use super::{BagPicture, Shown};
use std::fmt::Write;

/// More instances than this are not shown one by one; the ones with the largest weights are.
const SHOWN: usize = 60;
/// Larger images are averaged down to this many pixels a side, so that a report of patches stays small.
const SIDE: usize = 112;
/// Up to this side an image is shown as it is, each pixel a square.
const SMALL: usize = 40;

/// All bags, with what the picture means.
pub(super) fn section(bags: &[BagPicture], shown: &Shown) -> String {
    if bags.is_empty() {
        return String::new();
    }
    let Shown { name, signed } = shown;
    let mut out = format!(r#"<section><h2>Inside test bags: {}</h2><p class="note">"#, escape(name));
    if bags.iter().any(|b| b.image.is_some()) {
        let _ = write!(out, "Under each instance its {}; ", escape(name));
        out += match signed {
            false => {
                "the frame is the stronger the larger it is, rescaled from the smallest to the largest of its bag. "
            }
            true => "the frame is the stronger the farther it is from 0, next to the farthest of its bag. ",
        };
    }
    if *signed {
        out +=
            r#"<b class="for">For</b> the class is what is above 0, <b class="against">against</b> it what is below. "#;
    }
    if bags.iter().any(|b| b.key.is_some()) {
        out += r#"<span class="star">★</span> marks the key instances."#;
    }
    out += "</p>";
    let range = pixel_range(bags);
    for bag in bags {
        one(&mut out, bag, shown, range);
    }
    out + "</section>"
}

fn one(out: &mut String, bag: &BagPicture, shown: &Shown, range: (f32, f32)) {
    let _ = write!(out, r#"<article class="bag"><header><h3>{}</h3>"#, escape(&bag.name));
    if let Some(label) = &bag.label {
        let _ = write!(out, r#"<span class="chip">label <b>{}</b></span>"#, escape(label));
    }
    let verdict = match &bag.label {
        Some(label) if *label == bag.predicted => " right",
        Some(_) => " wrong",
        None => "",
    };
    let _ = write!(out, r#"<span class="chip{verdict}">predicted <b>{}</b></span>"#, escape(&bag.predicted));
    if bag.probability.is_finite() {
        let share = 100.0 * bag.probability.clamp(0.0, 1.0);
        let of = escape(&bag.probability_of);
        let _ = write!(out, r#"<span class="chance">P({of}) = <b>{:.3}</b>"#, bag.probability);
        let _ = write!(out, r#"<span class="gauge"><i style="width:{share:.0}%"></i></span></span>"#);
    }
    out.push_str("</header>");
    match bag.image.filter(|&i| i.iter().product::<usize>() > 0) {
        Some(image) => tiles(out, bag, image, shown.signed, range),
        None => bars(out, bag, shown),
    }
    out.push_str("</article>");
}

/// The instances to show: all in their order, or the ones with the largest weights.
fn shown(weights: &[f32], signed: bool) -> Vec<usize> {
    if weights.len() > SHOWN { by_weight(weights, SHOWN, signed) } else { (0..weights.len()).collect() }
}

/// The instances with the largest weights; of weights with a sign those farthest from 0.
fn by_weight(weights: &[f32], most: usize, signed: bool) -> Vec<usize> {
    let weight = |i: usize| match weights[i] {
        w if !w.is_finite() => f32::NEG_INFINITY,
        w if signed => w.abs(),
        w => w,
    };
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weight(b).total_cmp(&weight(a)));
    order.truncate(most);
    order
}

/// Weights from 0 (smallest of the bag) to 1 (largest). When all are equal none stands out and all are 0,
/// but the only instance of a bag is all of it. Weights with a sign are their distance from 0, of the largest.
fn rescaled(attention: &[f32], signed: bool) -> Vec<f32> {
    let finite = attention.iter().copied().filter(|a| a.is_finite());
    if signed {
        let most = finite.fold(0.0f32, |most, a| most.max(a.abs()));
        return attention.iter().map(|a| if a.is_finite() && most > 0.0 { a.abs() / most } else { 0.0 }).collect();
    }
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), a| (l.min(a), h.max(a)));
    let alone = if attention.len() == 1 { 1.0 } else { 0.0 };
    let scale = |&a: &f32| match (a.is_finite(), high > low) {
        (true, true) => ((f64::from(a) - f64::from(low)) / (f64::from(high) - f64::from(low))) as f32,
        (true, false) => alone,
        (false, _) => 0.0,
    };
    attention.iter().map(scale).collect()
}

fn weight_text(weight: f32) -> String {
    match weight {
        w if !w.is_finite() => "–".into(),
        w if w != 0.0 && w.abs() < 0.001 => format!("{w:.0e}"),
        w => format!("{w:.3}"),
    }
}

fn is_key(bag: &BagPicture, instance: usize) -> bool {
    bag.key.as_ref().is_some_and(|k| k.get(instance).copied().unwrap_or(false))
}

fn left_out(out: &mut String, bag: &BagPicture, shown: usize) {
    let all = bag.weights.len();
    if shown < all {
        let _ = write!(out, r#"<p class="note">The {shown} of {all} instances with the largest numbers.</p>"#);
    }
}

fn tiles(out: &mut String, bag: &BagPicture, image: [usize; 3], signed: bool, range: (f32, f32)) {
    let (strength, order) = (rescaled(&bag.weights, signed), shown(&bag.weights, signed));
    let size = if image[0].max(image[1]) > SMALL { "large" } else { "small" };
    let _ = write!(out, r#"<div class="instances {size}">"#);
    for &i in &order {
        let (weight, key) = (weight_text(bag.weights[i]), is_key(bag, i));
        let side = if signed && bag.weights[i] < 0.0 { r#" class="against""# } else { "" };
        let strength = strength[i];
        let _ =
            write!(out, r#"<figure class="instance"><div class="tile"><i{side} style="opacity:{strength:.2}"></i>"#);
        if let Some(pixels) = bag.pixels.get(i).filter(|p| p.len() == image.iter().product::<usize>()) {
            let kind = if key { ", key instance" } else { "" };
            let data = inline::base64(&picture(pixels, image, range));
            let _ = write!(out, r#"<img src="data:image/png;base64,{data}" alt="instance {i}, {weight}{kind}"/>"#);
        }
        out.push_str(if key { r#"<span class="star">★</span>"# } else { "" });
        let _ = write!(out, "</div><figcaption>{weight}</figcaption></figure>");
    }
    out.push_str("</div>");
    left_out(out, bag, order.len());
}

/// The range of all finite pixels, so that bags of one report can be compared.
fn pixel_range(bags: &[BagPicture]) -> (f32, f32) {
    let finite = bags.iter().flat_map(|b| &b.pixels).flatten().copied().filter(|p| p.is_finite());
    finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), p| (l.min(p), h.max(p)))
}

/// One instance as a PNG, grey or RGB, averaged down when it is large.
fn picture(pixels: &[f32], [height, width, channels]: [usize; 3], (low, high): (f32, f32)) -> Vec<u8> {
    let factor = height.max(width).div_ceil(SIDE);
    let (rows, columns) = (height.div_ceil(factor), width.div_ceil(factor));
    let kept = if channels >= 3 { 3 } else { 1 };
    let (low, range) = (f64::from(low), f64::from(high) - f64::from(low));
    let mut bytes = Vec::with_capacity(rows * columns * kept);
    for place in 0..rows * columns {
        let (top, left) = (place / columns * factor, place % columns * factor);
        let (bottom, right) = ((top + factor).min(height), (left + factor).min(width));
        for channel in 0..kept {
            let block = (top..bottom).flat_map(|y| (left..right).map(move |x| (y * width + x) * channels + channel));
            let sum: f64 = block.map(|i| f64::from(pixels[i])).filter(|p| p.is_finite()).sum();
            let mean = sum / ((bottom - top) * (right - left)) as f64;
            let share = if range > 0.0 { (mean - low) / range } else { 0.0 };
            bytes.push((share.clamp(0.0, 1.0) * 255.0).round() as u8);
        }
    }
    inline::png(columns, rows, kept, &bytes)
}

/// Without images: the weights from the largest down, key instances in their own colour. Of weights with a sign those
/// farthest from 0.
fn bars(out: &mut String, bag: &BagPicture, Shown { name, signed }: &Shown) {
    const MOST: usize = 200;
    let mut order = by_weight(&bag.weights, MOST, *signed);
    if order.is_empty() {
        return;
    }
    if *signed {
        order.sort_by(|&a, &b| bag.weights[b].total_cmp(&bag.weights[a]));
    }
    let drawn = |i: usize| Some(f64::from(bag.weights[i])).filter(|a| a.is_finite());
    let x = Axis::exact(0.5, order.len() as f64 + 0.5, 8, (48.0, 548.0));
    let y = Axis::around(order.iter().filter_map(|&i| drawn(i)).chain([0.0]), 3, (122.0, 28.0));
    let mut svg = open(560, 160, &format!("Instances, sorted by {name}"));
    svg += &axes(&x, &y, &format!("instances by {name}"), name);
    for (place, &i) in order.iter().enumerate() {
        let Some(weight) = drawn(i) else { continue };
        let (left, right) = (x.at(place as f64 + 0.5), x.at(place as f64 + 1.5));
        let (top, base) = (y.at(weight.max(0.0)), y.at(weight.min(0.0)));
        let gap = (0.15 * (right - left)).min(2.0);
        let colour = if is_key(bag, i) { 1 } else { 0 };
        let _ = write!(
            svg,
            r#"<rect class="f{colour}" x="{:.2}" y="{}" width="{:.2}" height="{}"><title>instance {i}: {}</title></rect>"#,
            left + gap / 2.0,
            px(top),
            (right - left - gap).clamp(0.5, 24.0),
            px(base - top),
            weight_text(bag.weights[i])
        );
    }
    let _ = write!(out, r#"<div class="bars">{svg}</svg></div>"#);
    left_out(out, bag, order.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_is_rescaled_inside_the_bag() {
        assert_eq!(rescaled(&[0.25, 0.75, 0.5], false), [0.0, 1.0, 0.5]);
        assert_eq!(rescaled(&[0.5, 0.5], false), [0.0, 0.0]);
        assert_eq!(rescaled(&[1.0], false), [1.0]);
        assert_eq!(rescaled(&[f32::NAN, 0.1, 0.3], false), [0.0, 0.0, 1.0]);
        assert!(rescaled(&[], false).is_empty());
        assert_eq!(rescaled(&[-2.0, 1.0, 0.0, f32::NAN], true), [1.0, 0.5, 0.0, 0.0]);
        assert_eq!(rescaled(&[0.0], true), [0.0]);
    }

    #[test]
    fn large_bags_show_the_largest_weights() {
        let mut attention = vec![0.001; 500];
        attention[321] = 0.5;
        attention[7] = f32::NAN;
        let order = shown(&attention, false);
        assert_eq!((order.len(), order[0]), (SHOWN, 321));
        assert!(!order.contains(&7));
        assert_eq!(shown(&[0.1, 0.9], false), [0, 1]);
        attention[40] = -0.7;
        assert_eq!(shown(&attention, true)[..2], [40, 321]);
    }

    #[test]
    fn weights_read_short() {
        let texts = [0.0, 1.0, 0.12345, 0.00042, f32::NAN].map(weight_text);
        assert_eq!(texts, ["0.000", "1.000", "0.123", "4e-4", "–"]);
    }

    #[test]
    fn pictures_are_averaged_down_and_keep_their_shape() {
        let size = |png: &[u8]| [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()));
        let large = picture(&vec![0.5; 300 * 200 * 4], [300, 200, 4], (0.0, 1.0));
        assert_eq!((size(&large), large[25]), ([67, 100], 2));
        let grey = picture(&[0.0, f32::NAN], [1, 2, 1], (0.0, 0.0));
        assert_eq!((size(&grey), grey[25]), ([2, 1], 0));
    }
}
