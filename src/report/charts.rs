//! Line charts.

use super::Curve;
use super::svg::{Axis, COLOURS, axes, drawable, figure, open, px};
use std::fmt::Write;

/// Few enough points are marked one by one.
pub(super) const MARKED: usize = 30;
/// More points than this are thinned: the picture has no room for them.
const DRAWN: usize = 1200;

/// One chart of learning curves.
pub(super) fn curve(curve: &Curve) -> String {
    let points = || curve.series.iter().flat_map(|s| &s.points).filter(|p| drawable(p.0) && drawable(p.1));
    let intervals = || {
        let all = curve.series.iter().flat_map(|s| s.band.iter().chain(&s.bars)).filter(|of| whole(of));
        all.flat_map(|&[along, low, high]| [(along, low), (along, high)])
    };
    if points().next().is_none() {
        let note = r#"<p class="none">no values</p>"#;
        return figure(&curve.title, &[], note);
    }
    let marker = curve.marker.filter(|&m| drawable(m));
    let (mut x, mut y) = (
        Axis::along(points().map(|p| p.0).chain(marker), 6, (48.0, 408.0)),
        Axis::around(points().copied().chain(intervals()).map(|p| p.1), 4, (212.0, 28.0)),
    );
    if curve.diagonal {
        (x, y) = (Axis::exact(0.0, 1.0, 5, (48.0, 408.0)), Axis::exact(0.0, 1.0, 5, (212.0, 28.0)));
    }
    let mut svg = open(420, 250, &format!("{}: {} along {}", curve.title, curve.unit, curve.along));
    svg += &axes(&x, &y, &curve.along, &curve.unit);
    if let Some(marker) = marker {
        let at = px(x.at(marker));
        let _ = write!(svg, r#"<line class="marker" x1="{at}" y1="28" x2="{at}" y2="212"/>"#);
        // On the side with more room.
        let (beside, anchor) = if at < 228.0 { (at + 4.0, "start") } else { (at - 4.0, "end") };
        let beside = px(beside);
        let _ = write!(svg, r#"<text class="mark" x="{beside}" y="24" text-anchor="{anchor}">chosen: {marker}</text>"#);
    }
    if curve.diagonal {
        svg += r#"<line class="marker" x1="48" y1="212" x2="408" y2="28"/>"#;
    }
    curve.series.iter().enumerate().for_each(|(i, s)| band(&mut svg, &s.band, i % COLOURS, (&x, &y)));
    for (i, series) in curve.series.iter().enumerate() {
        bars(&mut svg, &series.bars, i % COLOURS, (&x, &y));
        let marked = series.points.len() <= MARKED;
        line(&mut svg, &thinned(&series.points), i % COLOURS, marked, (&x, &y));
    }
    svg += "</svg>";
    let names: Vec<String> = curve.series.iter().map(|s| s.name.clone()).collect();
    figure(&curve.title, &names, &svg)
}

/// True where an interval can be drawn.
fn whole(interval: &[f64; 3]) -> bool {
    interval.iter().all(|&v| drawable(v))
}

/// The area of intervals along a line, interrupted where one cannot be drawn.
pub(super) fn band(svg: &mut String, intervals: &[[f64; 3]], colour: usize, (x, y): (&Axis, &Axis)) {
    for stretch in intervals.split(|of| !whole(of)).filter(|stretch| stretch.len() > 1) {
        let _ = write!(svg, r#"<polygon class="band f{colour}" points=""#);
        let low = stretch.iter().map(|&[along, low, _]| (along, low));
        let high = stretch.iter().rev().map(|&[along, _, high]| (along, high));
        for (i, (along, up)) in low.chain(high).enumerate() {
            let space = if i > 0 { " " } else { "" };
            let _ = write!(svg, "{space}{},{}", px(x.at(along)), px(y.at(up)));
        }
        *svg += r#""/>"#;
    }
}

/// A bar for each interval of a point.
pub(super) fn bars(svg: &mut String, intervals: &[[f64; 3]], colour: usize, (x, y): (&Axis, &Axis)) {
    for &[along, low, high] in intervals.iter().filter(|of| whole(of)) {
        let (at, from, to) = (px(x.at(along)), px(y.at(low)), px(y.at(high)));
        let _ = write!(svg, r#"<line class="bar s{colour}" x1="{at}" y1="{from}" x2="{at}" y2="{to}"/>"#);
    }
}

/// One line of colour `colour`, with a dot at each point when `marked`, interrupted where a point cannot be
/// drawn.
pub(super) fn line(svg: &mut String, points: &[(f64, f64)], colour: usize, marked: bool, (x, y): (&Axis, &Axis)) {
    let whole = points.split(|p| !(drawable(p.0) && drawable(p.1))).filter(|s| !s.is_empty());
    for stretch in whole {
        if stretch.len() > 1 {
            let _ = write!(svg, r#"<polyline class="line s{colour}" points=""#);
            for (i, p) in stretch.iter().enumerate() {
                let space = if i > 0 { " " } else { "" };
                let _ = write!(svg, "{space}{},{}", px(x.at(p.0)), px(y.at(p.1)));
            }
            *svg += r#""/>"#;
        }
        // A lone point has no line to be seen by.
        if marked || stretch.len() == 1 {
            for p in stretch {
                let (cx, cy) = (px(x.at(p.0)), px(y.at(p.1)));
                let _ = write!(svg, r#"<circle class="dot f{colour}" cx="{cx}" cy="{cy}" r="2.2"/>"#);
            }
        }
    }
}

/// The smallest and largest point of each stretch of a long line, in their order: peaks stay visible.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= DRAWN {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(DRAWN + 2);
    for stretch in points.chunks(points.len().div_ceil(DRAWN / 2)) {
        let by = |i: &usize, j: &usize| stretch[*i].1.total_cmp(&stretch[*j].1);
        let drawn = || (0..stretch.len()).filter(|&i| drawable(stretch[i].0) && drawable(stretch[i].1));
        match (drawn().min_by(by), drawn().max_by(by)) {
            (Some(a), Some(b)) => {
                kept.push(stretch[a.min(b)]);
                if a != b {
                    kept.push(stretch[a.max(b)]);
                }
            }
            // Nothing to draw here: keep the interruption.
            _ => kept.push(stretch[0]),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::Series;
    use super::*;

    #[test]
    fn thinning_keeps_peaks_and_order() {
        let mut points: Vec<(f64, f64)> = (0..50_000).map(|i| (f64::from(i), 0.0)).collect();
        points[12_345].1 = 9.0;
        points[12_346].1 = -9.0;
        let kept = thinned(&points);
        assert!(kept.len() <= DRAWN + 2);
        assert!(kept.contains(&(12_345.0, 9.0)) && kept.contains(&(12_346.0, -9.0)));
        assert!(kept.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn intervals_are_areas_along_lines_and_bars_at_points() {
        let (x, y) = (Axis::exact(0.0, 4.0, 4, (0.0, 40.0)), Axis::exact(0.0, 1.0, 4, (10.0, 0.0)));
        let mut svg = String::new();
        let gap = [2.0, f64::NAN, 1.0];
        band(&mut svg, &[[0.0, 0.0, 0.5], [1.0, 0.5, 1.0], gap, [3.0, 0.0, 1.0]], 2, (&x, &y));
        // An interval alone has no area.
        assert_eq!(svg, r#"<polygon class="band f2" points="0,10 10,5 10,0 0,5"/>"#);
        svg.clear();
        bars(&mut svg, &[[1.0, 0.0, 0.5], gap], 0, (&x, &y));
        assert_eq!(svg, r#"<line class="bar s0" x1="10" y1="10" x2="10" y2="5"/>"#);
        // What is drawn fits the axis, also where the interval goes beyond the points.
        let series =
            Series { points: vec![(0.0, 0.4), (1.0, 0.6)], band: vec![[0.0, -3.0, 3.0]; 2], ..Series::default() };
        let html = curve(&Curve { series: vec![series], ..Curve::default() });
        assert!(html.contains(">-4<") || html.contains(">−4<") || html.contains(">-3<"), "{html}");
    }

    #[test]
    fn a_gap_interrupts_the_line() {
        let x = Axis::exact(0.0, 4.0, 4, (0.0, 40.0));
        let y = Axis::exact(0.0, 1.0, 4, (10.0, 0.0));
        let mut svg = String::new();
        line(&mut svg, &[(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 0.5), (4.0, 0.5)], 0, false, (&x, &y));
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains(r#"points="0,10 10,0""#) && svg.contains(r#"points="30,5 40,5""#), "{svg}");
    }
}
