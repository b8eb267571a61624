//! The page as a whole: it stays well formed and self-contained whatever it is filled with.

use super::*;

/// Panics unless every element that opens also closes, in order.
fn assert_balanced(html: &str) {
    let mut open = Vec::new();
    let body = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    let style = body.find("<style>").unwrap()..body.find("</style>").unwrap() + "</style>".len();
    let body = [&body[..style.start], &body[style.end..]].concat();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag that ends");
        assert!(!text.contains('>'), "a stray > in {text:?}");
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closing {name}");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap().to_string());
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    let visible = body.to_ascii_lowercase();
    // With what surrounds a number in an attribute: letters alone may be base64.
    for broken in ["\"nan", "\"inf", ",nan", " nan", ",inf", "\"-inf", ":nan", "http:", "https:", "<script", "<link"] {
        assert!(!visible.contains(broken), "{broken} in the page");
    }
}

fn series(points: &[(f64, f64)]) -> Vec<Series> {
    vec![Series { name: "line".into(), points: points.to_vec(), ..Series::default() }]
}

fn full() -> Report {
    let image = |n: usize, bag: usize| BagPicture {
        name: format!("bag {bag}"),
        label: Some("positive".into()),
        predicted: ["positive", "negative"][bag % 2].into(),
        probability_of: "positive".into(),
        probability: 0.75,
        image: Some([4, 4, 3]),
        pixels: (0..n).map(|i| vec![i as f32; 48]).collect(),
        weights: (0..n).map(|i| i as f32 / n as f32).collect(),
        key: Some((0..n).map(|i| i % 3 == 0).collect()),
    };
    Report {
        title: "A run".into(),
        summary: "One line.".into(),
        results: vec![("Test AUC".into(), "0.9".into())],
        tables: vec![Table {
            title: "Labels of the test bags".into(),
            head: vec!["label".into(), "F1".into()],
            rows: vec![vec!["oedema".into(), "0.7".into()], vec!["nodule".into(), "0.6".into()]],
        }],
        facts: vec![("Seed".into(), "7".into())],
        curves: vec![Curve {
            title: "Loss".into(),
            unit: "loss".into(),
            along: "epoch".into(),
            series: series(&[(0.0, 1.0), (1.0, 0.5)]),
            marker: Some(1.0),
            diagonal: false,
        }],
        log_charts: Vec::new(),
        bars: Vec::new(),
        forests: vec![Forest {
            title: "AUC of all".into(),
            along: "AUC".into(),
            rows: vec![ForestRow { name: "one & two".into(), value: Some(0.8), ..ForestRow::default() }],
            reference: Some(0.5),
        }],
        notes: vec!["A note <of> it.".into()],
        charts: vec![(
            "More & more".into(),
            vec![Curve { series: series(&[(0.2, 0.3), (0.9, 0.8)]), diagonal: true, ..Curve::default() }],
        )],
        predictions: Some(Predictions {
            class_names: vec!["negative".into(), "positive".into()],
            probabilities: vec![0.9, 0.1, 0.3, 0.7, 0.6, 0.4],
            labels: vec![0, 1, 1],
            told: "test bags".into(),
            ..Predictions::default()
        }),
        shown: Shown::default(),
        bags: vec![image(5, 0), image(200, 1), BagPicture { image: None, ..image(300, 2) }],
    }
}

#[test]
fn a_full_page_is_well_formed() {
    let html = full().to_html();
    assert_balanced(&html);
    for part in [
        "A run",
        "One line.",
        "Test AUC",
        "chosen: 1",
        "ROC curve",
        "Confusion",
        "data:image/png",
        "60 of 200",
        "one &amp; two: 0.800",
        "A note &lt;of&gt; it.",
        "More &amp; more",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(html.matches("<img ").count(), 5 + 60);
    assert!(html.contains("Labels of the test bags</h2>"));
    assert!(html.contains(r#"<th scope="row">nodule</th><td>0.6</td>"#), "{html}");
    // Positives 0.7 0.4 against the negative 0.1.
    assert!(html.contains("positive (AUC 1.000)"));
}

#[test]
fn an_empty_report_is_a_page() {
    let html = Report::default().to_html();
    assert_balanced(&html);
    assert!(!html.contains("<section>") && !html.contains("<svg"));
}

#[test]
fn all_text_is_escaped() {
    let evil = "</td><script>alert(\"1\")</script>'&\u{1b}";
    let mut report = full();
    report.title = evil.into();
    report.summary = evil.into();
    report.results[0] = (evil.into(), evil.into());
    report.facts[0] = (evil.into(), evil.into());
    let evils = vec![evil.to_owned(), evil.into()];
    report.tables = vec![Table { title: evil.into(), head: evils.clone(), rows: vec![evils] }];
    let curve = &mut report.curves[0];
    (curve.title, curve.unit, curve.along) = (evil.into(), evil.into(), evil.into());
    curve.series[0].name = evil.into();
    report.predictions.as_mut().unwrap().class_names = vec![evil.into(), evil.into()];
    for bag in &mut report.bags {
        bag.name = evil.into();
        bag.label = Some(evil.into());
        (bag.predicted, bag.probability_of) = (evil.into(), evil.into());
    }
    let html = report.to_html();
    assert_balanced(&html);
    assert!(html.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp; "));
}

#[test]
fn degenerate_curves_stay_finite() {
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let all: [&[(f64, f64)]; 9] = [
        &[],
        &[(3.0, 0.5)],
        &[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)],
        &[(1.0, 5.0), (1.0, 5.0)],
        &[(nan, nan), (0.0, nan), (inf, 1.0)],
        &[(0.0, 1.0), (1.0, nan), (2.0, 0.5), (3.0, -inf), (4.0, 0.1)],
        &[(0.0, -1e300), (1.0, 1e300)],
        &[(0.0, 1e-320), (1.0, 0.0)],
        &[(-1e99, 1.0), (1e99, 1.0 + 1e-15)],
    ];
    for points in all {
        for marker in [None, Some(2.0), Some(nan)] {
            let curve = Curve { series: series(points), marker, ..Curve::default() };
            assert_balanced(&Report { curves: vec![curve], ..Report::default() }.to_html());
        }
    }
    let no_series = Curve { marker: Some(1.0), ..Curve::default() };
    assert_balanced(&Report { curves: vec![no_series], ..Report::default() }.to_html());
}

#[test]
fn degenerate_bags_stay_finite() {
    let weights: [&[f32]; 5] = [&[], &[1.0], &[0.25; 4], &[f32::NAN, f32::INFINITY], &[f32::MAX, f32::MIN, 0.0]];
    for attention in weights {
        for image in [None, Some([2, 2, 1]), Some([0, 0, 0])] {
            let bag = BagPicture {
                probability: f64::NAN,
                image,
                // Too few, too short and not finite.
                pixels: vec![vec![f32::NAN; 4], vec![1.0]],
                weights: attention.to_vec(),
                key: Some(vec![true]),
                ..BagPicture::default()
            };
            assert_balanced(&Report { bags: vec![bag], ..Report::default() }.to_html());
        }
    }
}

#[test]
fn predictions_that_do_not_fit_are_left_out() {
    let page = |probabilities: &[f32], labels: &[u32]| {
        let data = Predictions {
            class_names: vec![],
            probabilities: probabilities.to_vec(),
            labels: labels.to_vec(),
            ..Predictions::default()
        };
        let html = Report { predictions: Some(data), ..Report::default() }.to_html();
        assert_balanced(&html);
        html
    };
    for (p, l) in [(&[][..], &[][..]), (&[0.5], &[]), (&[], &[1]), (&[0.5; 3], &[0, 1]), (&[0.5; 2], &[0, 7])] {
        assert!(!page(p, l).contains("<svg"));
    }
    assert!(!page(&[f32::NAN, 0.5], &[0, 1]).contains("<svg"));
    // One class: a histogram, but no ROC curve.
    let one = page(&[0.2, 0.3], &[0, 0]);
    assert!(one.contains("<svg") && !one.contains("ROC"));
    let three = page(&[0.2, 0.3, 0.5, 0.8, 0.1, 0.1, 0.1, 0.7, 0.2], &[2, 0, 1]);
    assert_eq!(three.matches("AUC").count(), 3);
}

#[test]
fn predictions_have_a_band_and_calibration_and_say_of_which_bags() {
    let labels: Vec<u32> = (0..60).map(|bag| u32::from(bag % 3 == 0)).collect();
    let of = |&label: &u32| if label == 1 { 0.8 } else { 0.3 };
    let probabilities =
        labels.iter().enumerate().map(|(bag, label)| of(label) + (bag % 7) as f32 * 0.02 - (bag % 5) as f32 * 0.1);
    let data = Predictions {
        class_names: vec!["normal".into(), "tumour".into()],
        probabilities: probabilities.collect(),
        labels,
        groups: (0..60).map(|bag| format!("patient {}", bag / 2)).collect(),
        told: "slides".into(),
    };
    let html = Report { predictions: Some(data.clone()), ..Report::default() }.to_html();
    assert_balanced(&html);
    for part in
        ["Slides by predicted probability", "ROC curve of the slides, with 95 % intervals", "Calibration on the slides"]
    {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(html.matches("<polygon").count(), 1);
    assert!(html.matches("class=\"bar s0\"").count() > 3 && html.contains("probability of tumour (expected"));
    let judged = Judged { title: "Of <all>".into(), predictions: Some(data), ..Judged::default() };
    assert!(html::judged(&judged).contains("<h2>Of &lt;all&gt;</h2>"));
}

#[test]
fn many_classes_are_shown_in_part() {
    // 1500 classes of two bags each, of which three more have many; every bag is taken for the class after its own.
    let classes = 1500;
    let mut labels: Vec<u32> = (0..2 * classes as u32).map(|b| b / 2).collect();
    labels.extend([7, 700, 1499].into_iter().flat_map(|class| [class; 40]));
    let mut probabilities = vec![0.0; labels.len() * classes];
    labels.iter().enumerate().for_each(|(b, &l)| probabilities[b * classes + (l as usize + 1) % classes] = 1.0);
    let class_names = (0..classes).map(|c| format!("class-{c}")).collect();
    let data = Predictions { class_names, probabilities, labels, ..Predictions::default() };
    let html = Report { predictions: Some(data), ..Report::default() }.to_html();
    assert_balanced(&html);
    assert!(html.len() < 200_000, "{} bytes", html.len());
    for told in ["the 24 most frequent of 1500 classes", "the 8 most frequent of 1500 classes", "all others"] {
        assert!(html.contains(told), "{told}");
    }
    for class in [7, 700, 1499] {
        assert!(html.contains(&format!("<th>class-{class}</th>")), "{class}");
    }
    assert!(!html.contains("class-701"));
}

#[test]
fn written_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    full().write(&path).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), full().to_html());
    assert!(full().write(folder.path().join("no/report.html")).is_err());
}
