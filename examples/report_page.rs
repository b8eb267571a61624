//! Writes a report of made-up data, to look at the page without training anything.
//!
//! `cargo run --example report_page -- page.html`

use bagrad::report::{BagPicture, Curve, Predictions, Report, Series, Shown};
use bagrad::training::metrics::{Scores, auc_interval};

/// A seven-segment digit in 28 x 28 pixels, moved and slanted a little.
fn digit(value: usize, random: &mut impl FnMut() -> f32) -> Vec<f32> {
    const SEGMENTS: [u8; 10] = [0x77, 0x24, 0x5d, 0x6d, 0x2e, 0x6b, 0x7b, 0x25, 0x7f, 0x6f];
    const LINES: [[f32; 4]; 7] = [
        [9.0, 5.0, 18.0, 5.0],
        [9.0, 5.0, 9.0, 13.5],
        [18.0, 5.0, 18.0, 13.5],
        [9.0, 13.5, 18.0, 13.5],
        [9.0, 13.5, 9.0, 22.0],
        [18.0, 13.5, 18.0, 22.0],
        [9.0, 22.0, 18.0, 22.0],
    ];
    let (dx, dy, slant, thick) = (4.0 * random() - 2.0, 4.0 * random() - 2.0, 0.3 * random(), 1.2 + random());
    let mut image = vec![0f32; 784];
    for (i, pixel) in image.iter_mut().enumerate() {
        let y = (i / 28) as f32 - dy;
        let x = (i % 28) as f32 - dx - slant * (13.5 - y);
        for (_, [x0, y0, x1, y1]) in LINES.iter().enumerate().filter(|(s, _)| SEGMENTS[value] >> s & 1 == 1) {
            let (px, py) = (x.clamp(*x0, *x1), y.clamp(*y0, *y1));
            let distance = ((x - px).powi(2) + (y - py).powi(2)).sqrt();
            *pixel = pixel.max((thick + 0.5 - distance).clamp(0.0, 1.0));
        }
    }
    image
}

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "page.html".into());
    let mut state = 11u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };

    let labels: Vec<u32> = (0..200).map(|b| b % 2).collect();
    let probabilities: Vec<f32> = labels
        .iter()
        .map(|&l| {
            let logit = if l == 1 { 2.2 } else { -2.2 } + 3.5 * (random() + random() + random() - 1.5);
            1.0 / (1.0 + (-logit).exp())
        })
        .collect();
    let positive: Vec<bool> = labels.iter().map(|&l| l == 1).collect();
    let scores = Scores::new(&probabilities, 1, &labels)?;
    let (low, high) = auc_interval(&probabilities, &positive, 2000, 1).unwrap_or_default();
    let show = |v: Option<f64>| v.map_or("not defined".to_string(), |v| format!("{v:.3}"));

    let falling = |from: f64, to: f64, rate: f64, noise: f64, random: &mut dyn FnMut() -> f32| -> Vec<(f64, f64)> {
        let value = |e: f64| to + (from - to) * (-rate * e).exp();
        (0..60).map(|e| (f64::from(e), value(f64::from(e)) + noise * (f64::from(random()) - 0.5))).collect()
    };
    let training = falling(0.70, 0.05, 0.09, 0.03, &mut random);
    let mut validation = falling(0.69, 0.21, 0.11, 0.05, &mut random);
    validation.iter_mut().filter(|p| p.0 > 34.0).for_each(|p| p.1 += 0.004 * (p.0 - 34.0));
    let area = falling(0.52, 0.975, 0.12, 0.02, &mut random);
    let curve = |title: &str, unit: &str, series: Vec<(&str, Vec<(f64, f64)>)>| Curve {
        title: title.into(),
        unit: unit.into(),
        along: "epoch".into(),
        series: series
            .into_iter()
            .map(|(name, points)| Series { name: name.into(), points, ..Series::default() })
            .collect(),
        marker: Some(34.0),
        ..Curve::default()
    };

    let mut bags = Vec::new();
    for (number, (size, nines)) in [(13, 2), (9, 1), (12, 0), (70, 3), (11, 1), (16, 0)].into_iter().enumerate() {
        let images = number < 4;
        let key: Vec<bool> = (0..size).map(|i| i * 7 % size < nines).collect();
        let raw: Vec<f32> = key.iter().map(|&k| if k { 0.7 + 0.3 * random() } else { 0.06 * random() }).collect();
        let sum: f32 = raw.iter().sum();
        let class = |positive: bool| if positive { "positive" } else { "negative" }.to_string();
        let mistaken = number == 1;
        bags.push(BagPicture {
            name: format!("bag {}", 17 + 31 * number),
            label: Some(class(nines > 0)),
            predicted: class((nines > 0) != mistaken),
            probability_of: "positive".into(),
            probability: if (nines > 0) != mistaken { 0.974 } else { 0.038 },
            image: images.then_some([28, 28, 1]),
            pixels: if images {
                key.iter().map(|&k| digit(if k { 9 } else { (9.0 * random()) as usize }, &mut random)).collect()
            } else {
                Vec::new()
            },
            weights: raw.iter().map(|a| a / sum).collect(),
            key: Some(key),
        });
    }

    let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
    Report {
        title: "Gated attention on bags of digits".into(),
        summary: "A bag is positive when it holds a nine. 500 training bags, 200 test bags; every number here is \
                  made up."
            .into(),
        results: vec![
            pair("Test AUC (95 % CI)", &format!("{} ({low:.3} – {high:.3})", show(scores.auc))),
            pair("Accuracy", &show(scores.accuracy)),
            pair("Balanced accuracy", &show(scores.balanced_accuracy)),
            pair("F1", &show(scores.f1)),
            pair("Log loss", &show(scores.log_loss)),
            pair("Instance AUC", "0.962 pooled, 0.984 per bag"),
        ],
        facts: vec![
            pair("Method", "gated attention"),
            pair("Device", "a GPU (Vulkan)"),
            pair("Seed", "1"),
            pair("Time", "8.4 s"),
            pair("Steps", "30 000"),
            pair("Parameters", "534 145"),
        ],
        curves: vec![
            curve("Loss", "loss", vec![("training", training), ("validation", validation)]),
            curve("Validation AUC", "AUC", vec![("validation", area)]),
        ],
        predictions: Some(Predictions {
            class_names: vec!["negative".into(), "positive".into()],
            probabilities,
            labels,
            told: "test bags".into(),
            ..Predictions::default()
        }),
        shown: Shown::default(),
        bags,
        ..Report::default()
    }
    .write(&path)?;
    println!("{path}");
    Ok(())
}
