//! Draws collages with the pair of digits that DAS-MIL found in each: trains on collages of the shipped digits, takes away
//! one instance after the other from test bags, and sees how far the logit of the bag falls.
//!
//! `cargo run --release --example collage_picture -- docs/images/collage.svg`
//!
//! Also prints in how many of the positive test bags with one pair the two that count most are that pair.

use bagrad::data::{Collage, Dataset, Split};
use bagrad::device::{Device, DeviceChoice};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::{Settings, predict, train};
use bagrad::{Bags, Features};
use std::fmt::Write;

const SEED: u64 = 1;
/// Side of a digit on the plane.
const DIGIT: f32 = 28.0;
const PANEL: f32 = 256.0;

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "collage.svg".into());
    let device = Device::open(&DeviceChoice::from_env()?)?.device;
    let set = Collage { seed: SEED, ..Collage::default() }.digits()?;
    let method = Method::named("das-mil")?;
    let settings = Settings { seed: SEED, ..Settings::for_method(&method) };
    let spec = Spec::of(method, &set.bags);
    let training = set.indices(Split::Train);
    let model = train(&device, Model::new(spec, SEED)?, &settings, &set.bags, &training, &[], &mut ())?.model;
    let mut session = Session::new(&device, model, Storage::F32)?;

    let (labels, keys) = (set.bags.labels.clone().unwrap_or_default(), set.instance_targets().unwrap_or_default());
    let (mut found, mut pairs, mut shown) = (0, 0, [Vec::new(), Vec::new()]);
    for bag in set.indices(Split::Test) {
        let rows = set.bags.rows(bag);
        let falls = falls(&mut session, &set.bags, bag)?;
        let pair: Vec<usize> = (0..rows.len()).filter(|&i| keys[rows.start + i] == 1).collect();
        let label = labels[bag] as usize;
        if pair.len() == 2 {
            pairs += 1;
            found += usize::from(top_two(&falls.1) == [pair[0], pair[1]]);
        }
        // A negative bag is worth a look when it holds both digits, at the wrong distance.
        let both = (0..2).all(|digit| digits_of(&set, bag).contains(&digit));
        if shown[label].len() < 2 && (label == 0 && both || pair.len() == 2) {
            shown[label].push((bag, falls, pair));
        }
    }
    println!("the two instances that count most are the pair in {found} of {pairs} positive test bags with one pair");
    std::fs::write(&path, draw(&set, &shown.concat()))?;
    println!("written: {path}");
    Ok(())
}

/// Logit of a bag, and by how much it falls when each instance is taken away.
fn falls(session: &mut Session, bags: &Bags, bag: usize) -> anyhow::Result<(f32, Vec<f32>)> {
    let all: Vec<usize> = bags.rows(bag).collect();
    let kept = |without: Option<usize>| all.iter().copied().filter(move |&row| Some(row) != without);
    let versions: Vec<Vec<usize>> =
        std::iter::once(None).chain(all.iter().copied().map(Some)).map(|without| kept(without).collect()).collect();
    let values = bags.features.to_f32();
    let rows = || versions.iter().flatten().copied();
    let features = rows().flat_map(|row| &values[row * bags.width..(row + 1) * bags.width]).copied().collect();
    let sizes: Vec<usize> = versions.iter().map(Vec::len).collect();
    let mut versions = Bags::packed(Features::F32(features), bags.width, &sizes)?;
    versions.coords = bags.coords.as_ref().map(|places| rows().map(|row| places[row]).collect());
    let every: Vec<usize> = (0..versions.len()).collect();
    let predictions = predict(session, &versions, &every, None)?;
    let logit = |bag: usize| {
        let p = predictions.bag(bag)[1].clamp(1e-6, 1.0 - 1e-6);
        (p / (1.0 - p)).ln()
    };
    Ok((logit(0), every[1..].iter().map(|&bag| logit(0) - logit(bag)).collect()))
}

/// The two largest, in the order of the instances.
fn top_two(falls: &[f32]) -> [usize; 2] {
    let mut order: Vec<usize> = (0..falls.len()).collect();
    order.sort_by(|&a, &b| falls[b].total_cmp(&falls[a]));
    let mut two = [order[0], order[1]];
    two.sort_unstable();
    two
}

/// Which of the pair's digits, 0 for the first and 1 for the second, a bag holds. Its instance labels tell key instances
/// alone, so a picture is looked up among all pictures of the shipped digits.
fn digits_of(set: &Dataset, bag: usize) -> Vec<usize> {
    let Ok(pool) = bagrad::data::digits::digits() else { return Vec::new() };
    let values = set.bags.features.to_f32();
    let pictures: Vec<Vec<f32>> = (0..pool.len()).map(|i| pool.image_values(i).collect()).collect();
    let rows = set.bags.rows(bag).map(|row| &values[row * set.bags.width..(row + 1) * set.bags.width]);
    let digit = |row: &[f32]| pictures.iter().position(|p| p == row).map_or(usize::MAX, |i| pool.labels()[i] as usize);
    rows.map(digit).collect()
}

/// A bag, its logit with how far it falls without each instance, and the members of the true pair.
type Shown = (usize, (f32, Vec<f32>), Vec<usize>);

/// One panel a bag: digits at their places, frames the stronger the more the logit falls, a line between the two that
/// count most where the bag is called positive, a dot at each member of the true pair.
fn draw(set: &Dataset, bags: &[Shown]) -> String {
    let (step, top) = (PANEL + 16.0, 24.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        step * bags.len() as f32 - 16.0,
        PANEL + top
    );
    let (values, labels) = (set.bags.features.to_f32(), set.bags.labels.as_deref().unwrap_or_default());
    let places = set.bags.coords.as_deref().unwrap_or_default();
    for (panel, (bag, (logit, falls), pair)) in bags.iter().enumerate() {
        let rows = set.bags.rows(*bag);
        let label = ["negative", "positive"][labels[*bag] as usize];
        let p = 1.0 / (1.0 + (-logit).exp());
        let _ = writeln!(
            svg,
            "<g transform=\"translate({} 0)\"><text x=\"2\" y=\"16\" fill=\"#222\">{label}, P(positive) = {p:.2}</text>\
             <g transform=\"translate(0 {top})\"><rect width=\"{PANEL}\" height=\"{PANEL}\" fill=\"#101418\"/>",
            step * panel as f32
        );
        let place = |i: usize| places[rows.start + i];
        if *logit > 0.0 {
            let [[ax, ay], [bx, by]] = top_two(falls).map(place);
            let line = format!("x1=\"{ax:.0}\" y1=\"{ay:.0}\" x2=\"{bx:.0}\" y2=\"{by:.0}\"");
            let _ = writeln!(svg, "<line {line} stroke=\"#ff9d2e\" stroke-width=\"2\" stroke-dasharray=\"5 3\"/>");
        }
        let largest = falls.iter().copied().fold(1e-6, f32::max);
        for (i, row) in rows.clone().enumerate() {
            let [x, y] = place(i).map(|v| v - DIGIT / 2.0);
            let _ = write!(svg, "<g transform=\"translate({x:.1} {y:.1})\">");
            digit(&mut svg, &values[row * set.bags.width..(row + 1) * set.bags.width]);
            let strength = (falls[i] / largest).clamp(0.0, 1.0);
            let _ = write!(
                svg,
                "<rect width=\"{DIGIT}\" height=\"{DIGIT}\" fill=\"none\" stroke=\"#ff9d2e\" stroke-width=\"2.5\" \
                 stroke-opacity=\"{strength:.2}\"/>"
            );
            if pair.contains(&i) {
                let _ = write!(svg, "<circle cx=\"{DIGIT}\" cy=\"0\" r=\"4\" fill=\"#3ddc84\"/>");
            }
            svg += "</g>\n";
        }
        svg += "</g></g>\n";
    }
    svg + "</svg>\n"
}

/// A picture of 8 x 8 as one path for each of four shades.
fn digit(svg: &mut String, values: &[f32]) {
    let cell = DIGIT / 8.0;
    let shade = |value: f32| (value * 4.0).round() as usize;
    for level in 1..=4 {
        let mut path = String::new();
        for (i, _) in values.iter().enumerate().filter(|(_, v)| shade(**v) == level) {
            let _ = write!(path, "M{} {}h{cell}v{cell}h-{cell}z", (i % 8) as f32 * cell, (i / 8) as f32 * cell);
        }
        let _ = write!(svg, "<path fill=\"#fff\" fill-opacity=\"{}\" d=\"{path}\"/>", level as f32 / 4.0);
    }
}
