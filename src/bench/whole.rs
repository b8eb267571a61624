//! Everything worth knowing of the speed of one device: ceilings, kernels, products, ladders and training steps in one run.

use super::cases::Sizes;
use super::ceilings::{self, Ceiling};
use super::kernels::{self, Ceilings, Rounds};
use super::ladders::{self, Ladder};
use super::page;
use super::run::{Begun, How, Run};
use super::steps::{self, Settings, Work};
use crate::device::Device;
use crate::error::Result;
use crate::methods::Method;
use crate::precision::Precision;
use crate::report::{Report, Table};
use serde::Serialize;

/// A run of the benchmark with what goes beyond kernels; its file is that of a run, too.
#[derive(Clone, Debug, Serialize)]
pub struct Whole {
    /// Kernels, products and the steps of ladders.
    #[serde(flatten)]
    pub run: Run,
    /// What the device can do at most.
    pub roofs: Vec<Ceiling>,
    /// Whole training steps with their launches.
    pub steps: Vec<steps::Row>,
    /// Steps of kernels with their gains.
    pub ladders: Vec<ladders::Row>,
}

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Sizes that a driver of the CPU gets through in a minute or two: a dry run.
    pub quick: bool,
    /// Only kernels with this in their names.
    pub filter: &'a str,
    /// Rounds over the kernels.
    pub often: Rounds,
}

/// Steps of gated attention: a large slide, a small one, bags of a classical benchmark alone and in a batch.
const GATED: [&str; 4] = ["10000,1024,512,256", "1000,512,256,128", "64,166,128,64", "12x32,166,128,64"];
/// Methods whose steps are measured besides.
const METHODS: [&str; 3] = ["clam-sb", "dsmil", "transmil"];

/// Measures `device`, telling before each part what comes.
///
/// # Errors
/// What the device answers.
pub fn measure(device: &Device, asked: Asked, tell: &mut dyn FnMut(&str)) -> Result<Whole> {
    let Asked { quick, filter, often } = asked;
    let works = work(quick)?;
    let begun = Begun::now();
    tell("ceilings");
    let (roofs, most) = (ceilings::measure(device)?, Ceilings::of(device)?);
    tell("kernels");
    let sizes = if quick { Sizes::Small } else { Sizes::Large };
    let mut cases = kernels::measure(device, sizes, filter, often)?;
    tell("products");
    for case in kernels::products(device, if quick { [64; 3] } else { [4096; 3] }, often)? {
        if !cases.iter().any(|other| other.key() == case.key()) {
            cases.push(case);
        }
    }
    let mut climbed = Vec::new();
    if let Device::Gpu(_) = device {
        for ladder in Ladder::ALL {
            tell(&format!("ladder {ladder}"));
            let shape = if quick { ladder.sides().iter().map(|_| 64).collect() } else { ladder.usual(device) };
            let rungs = ladders::measure(device, ladder, &shape, &[], often)?;
            climbed.extend(ladders::rows(device, ladder, &shape, &rungs));
            cases.extend(rungs.into_iter().filter_map(|rung| rung.timed));
        }
    }
    let mut rows = Vec::new();
    tell("training steps");
    for work in works {
        let repeats = if quick { 2 } else { 30 };
        let settings = Settings {
            repeats,
            half: false,
            precision: Precision::default(),
            profile: true,
            memory: None,
            since: None,
        };
        rows.push(steps::time(device, &work, &settings)?);
    }
    let asked = format!("a report{}, kernels with {filter:?} in their names", if quick { " (quick)" } else { "" });
    Ok(Whole { run: begun.end(device, How::of(often, asked), Some(most), cases), roofs, steps: rows, ladders: climbed })
}

fn work(quick: bool) -> Result<Vec<Work>> {
    let gated = GATED.iter().skip(if quick { 3 } else { 0 }).map(|shape| Ok(Work::Gated(shape.parse()?)));
    let batch = if quick { "64,64" } else { "10000,1024" };
    let methods = if quick { &METHODS[..1] } else { &METHODS };
    let methods = methods.iter().map(|name| Ok(Work::Method(Method::named(name)?, batch.parse()?)));
    gated.chain(methods).collect()
}

impl Whole {
    /// The text of its file.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("plain data") + "\n"
    }

    /// Its page.
    pub fn page(&self) -> Report {
        let mut report = page::report(&self.run, &self.roofs, &[]);
        report.tables.extend([self.steps_table(), self.ladders_table()]);
        report.tables.retain(|t| !t.rows.is_empty());
        report
    }

    fn steps_table(&self) -> Table {
        let row = |r: &steps::Row| {
            let each = r.median_us / r.dispatches.max(1.0);
            let idle = r.idle.map_or("–".to_owned(), |idle| format!("{:.0} %", 100.0 * idle));
            let numbers = [r.median_us, r.dispatches, each, r.submissions, r.host_us].map(|v| format!("{v:.1}"));
            let peak = format!("{:.1}", r.peak_bytes as f64 / f64::from(1 << 20));
            [std::slice::from_ref(&r.shape), &numbers[..], &[idle, format!("{:.1}", r.gflops), peak]].concat()
        };
        let head =
            ["step", "us", "dispatches", "us a dispatch", "submissions", "host us", "idle", "GFLOP/s", "peak MiB"];
        table("Training steps", &head, self.steps.iter().map(row).collect())
    }

    fn ladders_table(&self) -> Table {
        let number = |v: Option<f64>| v.map_or("–".to_owned(), |v| format!("{v:.1}"));
        let row = |r: &ladders::Row| {
            let gain = r.gain.map_or("–".to_owned(), |gain| format!("{gain:.2}"));
            let error = r.error.map_or("–".to_owned(), |e| format!("{e:.1e}"));
            let remark = if r.wrong { format!("wrong: {}", r.remark) } else { r.remark.clone() };
            let numbers = [r.median_us, r.gflops, r.gbps].map(number);
            [&[format!("{} {}", r.ladder, r.shape), r.step.clone()], &numbers[..], &[gain, error, remark]].concat()
        };
        let head = ["ladder", "step", "us", "GFLOP/s", "GB/s", "gain", "error", ""];
        table("Ladders", &head, self.ladders.iter().map(row).collect())
    }
}

fn table(title: &str, head: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { title: title.to_owned(), head: head.iter().map(|h| (*h).to_owned()).collect(), rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_can_be_read() {
        assert_eq!((work(false).unwrap().len(), work(true).unwrap().len()), (7, 2));
    }
}
