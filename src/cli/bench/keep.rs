//! The files of a run.

use crate::cli::csv::Csv;
use anyhow::Result;
use bagrad::bench::ceilings::Ceiling;
use bagrad::bench::page;
use bagrad::bench::run::{Run, Timed};
use bagrad::files::{Claim, Kind, SAMPLES, write_atomically};
use std::path::{Path, PathBuf};

/// Where a run is written, claimed before it begins.
pub struct Keep {
    json: Option<(PathBuf, Claim)>,
    csv: Option<(PathBuf, Claim)>,
    html: Option<(PathBuf, Claim)>,
}

impl Keep {
    /// Claims what `args` ask for, each file by the name that `rename` gives it.
    ///
    /// # Errors
    /// As for [`Claim::files`].
    pub fn of(args: &super::Args, rename: impl Fn(&Path) -> PathBuf) -> Result<Self> {
        let owned = |path: Option<&Path>| path.map(&rename);
        let [json, csv, html] = match &args.report.report {
            Some(report) => {
                let [json, page] = super::report::files(&rename(report))?;
                [Some(json), None, Some(page)]
            }
            None => {
                let json = args.json.as_ref().and_then(Option::as_deref);
                [owned(json), owned(args.csv.as_deref()), owned(args.html.as_deref())]
            }
        };
        Self::claim(json.as_deref(), csv.as_deref(), html.as_deref(), args.force)
    }

    /// Claims what is asked for.
    ///
    /// # Errors
    /// As for [`Claim::files`].
    fn claim(json: Option<&Path>, csv: Option<&Path>, html: Option<&Path>, force: bool) -> Result<Self> {
        let one = |path: Option<&Path>, kind: Kind| -> Result<Option<(PathBuf, Claim)>> {
            let Some(path) = path else { return Ok(None) };
            Ok(Some((path.to_owned(), Claim::files(&[(path, kind)], force, &[])?)))
        };
        Ok(Self { json: one(json, Kind::Benchmark)?, csv: one(csv, Kind::Benchmark)?, html: one(html, Kind::Page)? })
    }

    /// Whether anything is to be written.
    pub fn is_asked(&self) -> bool {
        self.json.is_some() || self.csv.is_some() || self.html.is_some()
    }

    /// Writes a JSON file and a page with these texts.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put_texts(self, json: String, html: String) -> Result<()> {
        let pairs = [(self.json, json), (self.html, html)];
        pairs.into_iter().try_for_each(|(place, text)| place.map_or(Ok(()), |place| put(place, text.into_bytes())))
    }

    /// Whether a page is.
    pub fn has_page(&self) -> bool {
        self.html.is_some()
    }

    /// Writes it, each file whole or not at all; the page with the ceilings of the device and a sweep over sizes.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn put(self, run: &Run, ceilings: &[Ceiling], sweep: &[(usize, Vec<Timed>)]) -> Result<()> {
        if let Some(place) = self.json {
            put(place, run.text().into_bytes())?;
        }
        if let Some(place) = self.csv {
            put(place, samples(run)?)?;
        }
        if let Some(place) = self.html {
            put(place, page::report(run, ceilings, sweep).to_html().into_bytes())?;
        }
        Ok(())
    }
}

fn put((path, claim): (PathBuf, Claim), text: Vec<u8>) -> Result<()> {
    write_atomically(claim.staged(&path), text)?;
    Ok(claim.commit()?)
}

/// A line for each sample; run 0 of a round is the one that warms up.
fn samples(run: &Run) -> Result<Vec<u8>> {
    let mut out = format!("{SAMPLES}\n").into_bytes();
    let mut csv = Csv::new(&mut out);
    for case in &run.cases {
        for (round, (first, samples)) in case.warm_up_us.iter().zip(&case.samples_us).enumerate() {
            for (n, us) in std::iter::once(first).chain(samples).enumerate() {
                csv.name(&case.kernel)?.name(&case.variant)?.name(&case.shape)?;
                csv.cell(case.flops)?.cell(case.bytes)?.cell(round)?.cell(n)?.cell(us)?.end()?;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_is_a_line() {
        let mut case = Timed { kernel: "k".into(), variant: "A,B".into(), shape: "2x3".into(), ..Timed::default() };
        case.push(9.0, vec![1.5, 2.0]);
        case.push(8.0, vec![3.0]);
        let text = String::from_utf8(samples(&Run { cases: vec![case], ..Run::default() }).unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], [SAMPLES, "k,\"A,B\",2x3,0,0,0,0,9", "k,\"A,B\",2x3,0,0,0,1,1.5"]);
        assert_eq!((lines.len(), lines[5]), (6, "k,\"A,B\",2x3,0,0,1,1,3"));
    }
}
