//! Learning curves with and without masks, as an SVG: cargo run --release --example mask_curves -- FILE.svg
//!
//! Bags and networks are those of `bagrad reproduce mhim` for attention pooling; the mean over five seeds.

use bagrad::data::{Dataset, Haystack, Split, split};
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::training::metrics::Metric;
use bagrad::training::{Outcome, Settings, train};
use std::error::Error;
use std::fmt::Write;

const SEEDS: u64 = 5;
const EPOCHS: usize = 60;
/// Name, strategy, colour.
const SERIES: [(&str, &str, &str); 3] =
    [("no masks", "none", "#4c78a8"), ("R-HAM", "r-ham", "#e45756"), ("LR-HAM", "lr-ham", "#54a24b")];

fn learn(set: &Dataset, strategy: &str, start: Option<&Model>, seed: u64) -> bagrad::Result<Outcome> {
    let consistency = if start.is_some() { 0.1 } else { 0.0 };
    let settings =
        serde_json::json!({ "embed": [64], "attention": 32, "strategy": strategy, "consistency": consistency });
    let method = Method::named("mhim-attention")?.with(settings.as_object().expect("an object"))?;
    let how = Settings { epochs: EPOCHS as u32, learning_rate: 1e-3, seed, ..Settings::for_method(&method) };
    let mut model = Model::new(Spec::new(method, set.bags.width, 2), seed)?;
    if let Some(start) = start {
        model.start_from(start)?;
    }
    let [training, validation] = [Split::Train, Split::Validation].map(|part| set.indices(part));
    train(&Device::host(), model, &how, &set.bags, &training, &validation, &mut ())
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("expected the path of the picture")?;
    let mut curves = vec![[vec![0.0; EPOCHS], vec![0.0; EPOCHS]]; SERIES.len()];
    for seed in 101..=100 + SEEDS {
        let haystack = Haystack { size: [500, 2000], noise: 0.2, train: 60, test: 1, seed, ..Haystack::default() };
        let mut set = haystack.digits()?;
        let labels = set.bags.labels.clone().ok_or("drawn bags have labels")?;
        split::hold_out(set.split.as_mut().ok_or("drawn bags are divided")?, &labels, None, 0.25, seed)?;
        let start = learn(&set, "none", None, seed)?.model;
        for ((_, strategy, _), curve) in SERIES.iter().zip(&mut curves) {
            for (at, epoch) in learn(&set, strategy, Some(&start), seed)?.epochs.iter().enumerate() {
                curve[0][at] += epoch.loss / SEEDS as f64;
                let log_loss = epoch.validation.as_ref().and_then(|v| v.get(Metric::LogLoss));
                curve[1][at] += log_loss.ok_or("there are validation bags")? / SEEDS as f64;
            }
        }
        eprintln!("seed {seed} done");
    }
    Ok(std::fs::write(path, picture(&curves))?)
}

/// Two charts side by side: the loss that is trained, and that of the validation bags.
fn picture(curves: &[[Vec<f64>; 2]]) -> String {
    let mut svg = String::from(concat!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="860" height="300" font-family="sans-serif" font-size="12">"#,
        r#"<rect width="860" height="300" fill="white"/>"#
    ));
    for (chart, title) in ["training loss, consistency included", "validation loss"].into_iter().enumerate() {
        let highest = curves.iter().flat_map(|c| &c[chart]).fold(0.0f64, |m, v| m.max(*v));
        let step = [0.05, 0.1, 0.2, 0.5, 1.0, 2.0].into_iter().find(|s| highest / s <= 6.0).unwrap_or(highest);
        let top = (highest / step).ceil() * step;
        let left = 50.0 + 430.0 * chart as f64;
        let x = |epoch: usize| left + 360.0 * epoch as f64 / (EPOCHS - 1) as f64;
        let y = |loss: f64| 250.0 - 210.0 * loss / top;
        let _ = write!(svg, r#"<text x="{left}" y="24" font-weight="bold">{title}</text>"#);
        for tick in 0..=(top / step).round() as usize {
            let (value, at) = (tick as f64 * step, y(tick as f64 * step));
            let end = left + 360.0;
            let _ = write!(svg, r##"<line x1="{left}" y1="{at}" x2="{end}" y2="{at}" stroke="#ddd"/>"##);
            let _ = write!(svg, r#"<text x="{}" y="{}" text-anchor="end">{value:.2}</text>"#, left - 6.0, at + 4.0);
        }
        for epoch in (0..EPOCHS).step_by(20).chain([EPOCHS - 1]) {
            let _ = write!(svg, r#"<text x="{}" y="268" text-anchor="middle">{epoch}</text>"#, x(epoch));
        }
        let _ = write!(svg, r#"<text x="{}" y="288" text-anchor="middle">epoch</text>"#, left + 180.0);
        for (number, ((name, _, colour), curve)) in SERIES.iter().zip(curves).enumerate() {
            let points: Vec<String> =
                curve[chart].iter().enumerate().map(|(e, v)| format!("{:.1},{:.1}", x(e), y(*v))).collect();
            let points = points.join(" ");
            let _ = write!(svg, r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>"#);
            let (at, line) = (left + 280.0, 44.0 + 16.0 * number as f64);
            let _ = write!(svg, r#"<text x="{at}" y="{line}" fill="{colour}">{name}</text>"#);
        }
    }
    svg + "</svg>\n"
}
