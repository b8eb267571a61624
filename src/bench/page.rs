//! A run as a page: the roofline of its device, what bounds each kernel, memory by size, kernels by size.

use super::bounds::{Bound, Roofs};
use super::ceilings::Ceiling;
use super::run::{Run, Timed};
use crate::report::{Bar, Bars, Dots, LogChart, Report, Series, Table};

/// The page of `run` and what the device can do at most. `sweep` has runs over bags of so many instances.
pub fn report(run: &Run, ceilings: &[Ceiling], sweep: &[(usize, Vec<Timed>)]) -> Report {
    let roofs = Roofs::of(ceilings);
    let mut log_charts = Vec::new();
    let mut bars = Vec::new();
    let mut notes = Vec::new();
    match roofs {
        Some(roofs) if !run.cases.is_empty() => {
            log_charts.push(roofline(&roofs, &run.cases));
            bars.push(shares(&roofs, &run.cases));
            notes.push(format!(
                "A kernel is bound by the closest of memory (a copy of the largest buffer) and arithmetic (multiply-adds in \
                 f32) where it reaches half of that, by launches where it takes less than three of them ({:.1} us each). \
                 Above its share of memory it reads from caches. Bytes and operations are the least there are, by formula.",
                roofs.launch_us
            ));
        }
        None => notes.push("A ceiling is missing or wrong, so no kernel is held against them.".to_owned()),
        _ => {}
    }
    log_charts.extend(by_size(ceilings));
    log_charts.extend(swept(sweep));
    let tables = vec![ceilings_table(ceilings), kernels_table(run, roofs.as_ref())];
    Report {
        title: format!("Benchmark of {}", run.device.name),
        summary: summary(run),
        facts: facts(run),
        log_charts,
        notes,
        bars,
        tables: tables.into_iter().filter(|t| !t.rows.is_empty()).collect(),
        ..Report::default()
    }
}

fn summary(run: &Run) -> String {
    let label = run.label.as_ref().map_or(String::new(), |label| format!(", {label}"));
    let how = &run.how;
    format!(
        "{}{label}: {} rounds of {} runs, by the clock: {}",
        run.device.description, how.rounds, how.repeats, how.clock
    )
}

fn facts(run: &Run) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let load = |load: Option<[f64; 3]>| load.map_or("unknown".to_owned(), |l| format!("{:.2}", l[0]));
    let mut all = vec![
        fact("Device", run.device.description.clone()),
        fact("Kind", run.device.kind.clone()),
        fact("Processor", run.machine.processor.clone().unwrap_or_else(|| "unknown".into())),
        fact(
            "Load before and after",
            format!("{} and {}", load(run.machine.load_before), load(run.machine.load_after)),
        ),
        fact("Shaders", if run.device.checked { "with checks" } else { "without checks" }.to_owned()),
        fact("Asked for", run.how.asked.clone()),
        fact("Seconds", format!("{:.0}", run.seconds)),
    ];
    if !run.device.features.is_empty() {
        all.push(fact("Features", run.device.features.join(" ")));
    }
    all.extend(run.device.planned_as.iter().map(|p| fact("Planned as", p.clone())));
    all
}

/// Operations a byte along, operations a second up: under the slope of the memory, under the flat roof of arithmetic.
fn roofline(roofs: &Roofs, cases: &[Timed]) -> LogChart {
    let at = |case: &Timed| (case.flops as f64 / case.bytes as f64, case.flops as f64 / case.median_us / 1e3);
    let drawn = |case: &&Timed| case.flops > 0 && case.bytes > 0 && case.median_us > 0.0;
    let along = || cases.iter().filter(drawn).map(|case| at(case).0);
    let least = along().fold(0.1, f64::min);
    let most = along().fold(4.0 * roofs.arithmetic / roofs.memory, f64::max);
    let roof = |name: String, gbps: f64, gflops: f64| {
        let corner = gflops / gbps;
        let mut points = vec![(least, least * gbps), (corner, gflops), (most, gflops)];
        points.retain(|p| p.0 >= least && p.0 <= most);
        Series { name, points, ..Series::default() }
    };
    let mut lines = vec![roof(
        format!("memory, {:.1} GB/s, and f32, {:.0} GFLOP/s", roofs.memory, roofs.arithmetic),
        roofs.memory,
        roofs.arithmetic,
    )];
    if roofs.cache > 1.1 * roofs.memory {
        lines.push(roof(format!("the fastest copy, {:.1} GB/s", roofs.cache), roofs.cache, roofs.arithmetic));
    }
    if let Some(narrow) = roofs.narrow {
        lines.push(roof(format!("f16 or matrix units, {narrow:.0} GFLOP/s"), roofs.memory, narrow));
    }
    let group = |bound: Bound| {
        let of = cases.iter().filter(drawn).filter(|case| roofs.bound(case).0 == bound);
        let point = |case: &Timed| {
            let (x, y) = at(case);
            (format!("{}: {:.1} us, {y:.2} GFLOP/s", case.name(), case.median_us), x, y)
        };
        Dots { name: format!("bound by: {}", bound.name()), points: of.map(point).collect() }
    };
    let dots = Bound::ALL.into_iter().map(group).filter(|d| !d.points.is_empty()).collect();
    LogChart {
        title: "Roofline: what each kernel reaches of what its device can do".into(),
        along: "operations a byte".into(),
        unit: "GFLOP/s".into(),
        lines,
        dots,
    }
}

/// A bar for each kernel: its share of the closest ceiling, the longest first; of a kernel in many sizes the slowest.
fn shares(roofs: &Roofs, cases: &[Timed]) -> Bars {
    let mut rows: Vec<(f64, &Timed)> = Vec::new();
    for case in cases.iter().filter(|case| case.median_us > 0.0) {
        match rows.iter_mut().find(|(_, other)| other.kernel == case.kernel) {
            Some(row) if row.1.median_us < case.median_us => *row = (roofs.bound(case).1, case),
            Some(_) => {}
            None => rows.push((roofs.bound(case).1, case)),
        }
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    let bar = |(share, case): (f64, &Timed)| {
        let (bound, _) = roofs.bound(case);
        let group = Bound::ALL.iter().position(|b| *b == bound).expect("it is one of them");
        // Far beyond memory is all the same: the others would be too short to see.
        let said = format!("{:.0} % ({}), {:.1} us", 100.0 * share, bound.name(), case.median_us);
        Bar { name: format!("{} {}", case.kernel, case.shape), value: share.min(1.5), said, group }
    };
    Bars {
        title: "Share of the closest ceiling; of each kernel the launch that took longest".into(),
        whole: 1.0,
        groups: Bound::ALL.iter().map(|b| b.name().to_owned()).collect(),
        rows: rows.into_iter().map(bar).collect(),
    }
}

/// Bandwidth by size: caches are steps.
fn by_size(ceilings: &[Ceiling]) -> Option<LogChart> {
    let line = |what: &str| {
        let of = ceilings.iter().filter(|c| c.what == what && !c.wrong);
        let points = of.filter_map(|c| Some((c.bytes? as f64, c.best?))).collect();
        Series { name: what.to_owned(), points, ..Series::default() }
    };
    let lines: Vec<Series> = ["read", "write", "copy"].map(line).into_iter().filter(|l| l.points.len() > 1).collect();
    (!lines.is_empty()).then(|| LogChart {
        title: "Bandwidth by the size of the buffer".into(),
        along: "bytes".into(),
        unit: "GB/s".into(),
        lines,
        ..LogChart::default()
    })
}

/// Microseconds of the kernels that take longest at the largest size, by instances of a bag.
fn swept(sweep: &[(usize, Vec<Timed>)]) -> Option<LogChart> {
    const LINES: usize = 8;
    let (_, last) = sweep.last().filter(|_| sweep.len() > 1)?;
    let mut slowest: Vec<&Timed> = Vec::new();
    for case in last {
        if !slowest.iter().any(|other| other.kernel == case.kernel) {
            slowest.push(case);
        }
    }
    slowest.sort_by(|a, b| b.median_us.total_cmp(&a.median_us));
    let line = |case: &&Timed| {
        let of = |cases: &Vec<Timed>| cases.iter().find(|c| c.kernel == case.kernel).map(|c| c.median_us);
        let points = sweep.iter().filter_map(|(n, cases)| Some((*n as f64, of(cases)?))).collect();
        Series { name: case.kernel.clone(), points, ..Series::default() }
    };
    Some(LogChart {
        title: "Time by the instances of a bag".into(),
        along: "instances".into(),
        unit: "us".into(),
        lines: slowest.iter().take(LINES).map(line).collect(),
        ..LogChart::default()
    })
}

fn ceilings_table(ceilings: &[Ceiling]) -> Table {
    let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.1}"));
    let row = |c: &Ceiling| {
        let remark = if c.wrong { format!("wrong: {}", c.remark) } else { c.remark.clone() };
        vec![format!("{} {}", c.what, c.size), number(c.best), number(c.middle), c.unit.clone(), remark]
    };
    let head = ["ceiling", "best", "middle", "unit", ""].map(str::to_owned).to_vec();
    Table { title: "What the device can do at most".into(), head, rows: ceilings.iter().map(row).collect() }
}

fn kernels_table(run: &Run, roofs: Option<&Roofs>) -> Table {
    let row = |case: &Timed| {
        let rate = |count: u64| format!("{:.1}", count as f64 / case.median_us / 1e3);
        let bound = roofs.map_or("–".to_owned(), |roofs| {
            let (bound, share) = roofs.bound(case);
            format!("{} {:.0} %", bound.name(), 100.0 * share)
        });
        let drift = case.drift.map_or("–".to_owned(), |d| format!("{:+.0} %", 100.0 * d));
        let times = [case.median_us, case.min_us].map(|us| format!("{us:.1}"));
        [&[case.name()], &times[..], &[rate(case.flops), rate(case.bytes), bound, drift, case.outliers.to_string()]]
            .concat()
    };
    let head = ["kernel", "median us", "min us", "GFLOP/s", "GB/s", "bound by", "drift", "outliers"];
    Table { title: "Kernels".into(), head: head.map(str::to_owned).to_vec(), rows: run.cases.iter().map(row).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::ceilings;
    use crate::bench::run::{Begun, How};
    use crate::device::Device;

    #[test]
    fn a_page_has_roofs_bars_and_tables() {
        let host = Device::host();
        let ceilings = ceilings::measure(&host).unwrap();
        let case = |kernel: &str, us: f64| {
            let mut case = Timed { kernel: kernel.into(), flops: 1 << 20, bytes: 1 << 18, ..Timed::default() };
            (0..3).for_each(|_| case.push(us, vec![us]));
            case.sum_up();
            case
        };
        let cases = vec![case("slow", 900.0), case("<fast>", 90.0)];
        let sweep = [(1000, cases.clone()), (10_000, vec![case("slow", 9000.0)])];
        let run = Begun::now().end(&host, How::default(), None, cases);
        let report = report(&run, &ceilings, &sweep);
        let titles: Vec<&str> = report.log_charts.iter().map(|c| c.title.as_str()).collect();
        assert!(titles[0].starts_with("Roofline") && titles[2].starts_with("Time by"), "{titles:?}");
        assert_eq!((report.bars[0].rows.len(), report.tables.len()), (2, 2));
        assert_eq!(report.log_charts[2].lines[0].points, [(1000.0, 900.0), (10_000.0, 9000.0)]);
        let page = report.to_html();
        assert!(page.contains("&lt;fast&gt;") && !page.contains("<fast>") && !page.contains("NaN"));
    }
}
