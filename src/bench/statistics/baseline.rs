//! Statistics as a table of text that is kept, and what got worse since.
//!
//! The first lines, after `#`, name adapter and driver; then one line for each kernel and variant, columns apart by
//! tabs, a dash where the driver tells nothing.

use super::{Report, Row};
use crate::error::{Error, Result};
use crate::files;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const HEAD: [&str; 11] = [
    "kernel",
    "variant",
    "threads",
    "memory",
    "subgroup",
    "registers",
    "spills",
    "scratch",
    "occupancy",
    "instructions",
    "cycles",
];

/// What another version of a compiler may lose of the occupancy before that is a failure: a quarter.
const LOSS: f64 = 0.75;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// What must not be: more spills or scratch than the table has, lost occupancy.
    pub worse: Vec<String>,
    /// What somebody should look at: another driver version, small losses with it, rows without a counterpart.
    pub notes: Vec<String>,
}

/// The table.
pub fn text(report: &Report) -> String {
    let number = |v: Option<u32>| v.map_or("-".to_owned(), |v| v.to_string());
    let mut text = format!("# device\t{}\n# driver\t{}\n{}\n", report.device, report.driver, HEAD.join("\t"));
    for r in &report.rows {
        let own = [r.threads, r.memory, r.subgroup].map(|v| v.to_string());
        let told = [r.registers, r.spills, r.scratch, r.occupancy, r.instructions, r.cycles].map(number);
        let variant = if r.variant.is_empty() { "-" } else { &r.variant };
        text += &[&[r.kernel.clone(), variant.to_owned()][..], &own, &told].concat().join("\t");
        text.push('\n');
    }
    text
}

/// Writes the table, whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub fn save(report: &Report, path: &Path) -> Result<()> {
    files::write_atomically(path, text(report))
}

/// Reads a table.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] with the line that is none.
pub fn load(path: &Path) -> Result<Report> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let mut lines = text.lines().enumerate();
    let mut named = |name: &str| {
        let line = lines.next().and_then(|(_, l)| l.strip_prefix(&format!("# {name}\t")).map(str::to_owned));
        line.ok_or_else(|| Error::format(path, format!("expected a line `# {name}` and its name in front")))
    };
    let (device, driver) = (named("device")?, named("driver")?);
    if lines.next().is_none_or(|(_, l)| l != HEAD.join("\t")) {
        return Err(Error::format(path, format!("line 3: expected the columns {}", HEAD.join(", "))));
    }
    let row = |(n, line): (usize, &str)| {
        let wrong = |what: String| Error::format(path, format!("line {}: {what}", n + 1));
        let cells: Vec<&str> = line.split('\t').collect();
        if cells.len() != HEAD.len() {
            return Err(wrong(format!("expected {} columns, found {}", HEAD.len(), cells.len())));
        }
        let number = |at: usize| match cells[at] {
            "-" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| wrong(format!("{}: expected a number or -, found {text:?}", HEAD[at]))),
        };
        let own = |at: usize| number(at)?.ok_or_else(|| wrong(format!("{}: expected a number", HEAD[at])));
        Ok(Row {
            kernel: cells[0].to_owned(),
            variant: if cells[1] == "-" { String::new() } else { cells[1].to_owned() },
            threads: own(2)?,
            memory: own(3)?,
            subgroup: own(4)?,
            registers: number(5)?,
            spills: number(6)?,
            scratch: number(7)?,
            occupancy: number(8)?,
            instructions: number(9)?,
            cycles: number(10)?,
            told: BTreeMap::new(),
        })
    };
    Ok(Report { device, driver, rows: lines.map(row).collect::<Result<_>>()? })
}

/// What `now` has worse than `kept`. More spills or scratch are worse in any case, and so they are in a variant that
/// the table does not have. Less occupancy is worse with the same driver; another version may lose up to a quarter,
/// which is told.
pub fn compare(kept: &Report, now: &Report) -> Changes {
    let mut changes = Changes::default();
    let same = kept.driver == now.driver;
    if !same {
        let (then, now) = (&kept.driver, &now.driver);
        changes.notes.push(format!("the table is of {then}, this is {now}: write it anew when its numbers are right"));
    }
    let known: HashMap<(&str, &str), &Row> = kept.rows.iter().map(|r| (key(r), r)).collect();
    let mut missing = Vec::new();
    for row in &now.rows {
        let name = format!("{} [{}]", row.kernel, row.variant);
        let old = known.get(&key(row)).copied();
        if old.is_none() {
            missing.push(name.clone());
        }
        for (what, now, then) in [
            ("spills", row.spills, old.and_then(|r| r.spills)),
            ("bytes of scratch", row.scratch, old.and_then(|r| r.scratch)),
        ] {
            let (now, then) = (now.unwrap_or(0), then.unwrap_or(0));
            if now > then {
                changes.worse.push(format!("{name}: {now} {what} instead of {then}"));
            }
        }
        if let (Some(now), Some(then)) = (row.occupancy, old.and_then(|r| r.occupancy))
            && now < then
        {
            let message = format!("{name}: occupancy {now} instead of {then}");
            match same || (now as f64) < LOSS * then as f64 {
                true => changes.worse.push(message),
                false => changes.notes.push(message),
            }
        }
    }
    if !missing.is_empty() {
        changes.notes.push(format!("not in the table yet: {}", missing.join(", ")));
    }
    let found: HashMap<(&str, &str), ()> = now.rows.iter().map(|r| (key(r), ())).collect();
    let gone = kept.rows.iter().filter(|r| !found.contains_key(&key(r))).count();
    if gone > 0 {
        changes
            .notes
            .push(format!("{gone} rows of the table are of kernels and variants that are not launched any more"));
    }
    changes
}

fn key(row: &Row) -> (&str, &str) {
    (&row.kernel, &row.variant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(driver: &str, rows: &[(&str, u32, u32)]) -> Report {
        let row = |(kernel, spills, occupancy): &(&str, u32, u32)| Row {
            kernel: kernel.to_string(),
            threads: 64,
            spills: Some(*spills),
            occupancy: Some(*occupancy),
            ..Row::default()
        };
        Report { device: "a GPU".into(), driver: driver.into(), rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn a_table_is_written_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gpu.tsv");
        let mut kept = report("driver 1", &[("a", 0, 16), ("b", 3, 4)]);
        kept.rows[1].variant = "A_T SIDE=8".into();
        save(&kept, &path).unwrap();
        assert_eq!(load(&path).unwrap(), kept);
        let refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            load(&path).unwrap_err().to_string()
        };
        let whole = super::text(&kept);
        assert!(refused("").contains("expected a line `# device`"));
        assert!(refused(&whole.replace("threads", "t")).contains("line 3: expected the columns kernel"));
        assert!(refused(&whole.replace("\t16\t", "\tmany\t")).contains("line 4: occupancy: expected a number or -"));
        assert!(refused(&(whole + "c\t-\n")).contains("line 6: expected 11 columns, found 2"));
    }

    #[test]
    fn spills_and_lost_occupancy_are_worse() {
        let kept = report("driver 1", &[("a", 0, 16), ("b", 3, 4), ("c", 0, 8)]);
        assert_eq!(compare(&kept, &kept), Changes::default());
        let more = compare(&kept, &report("driver 1", &[("a", 1, 16), ("b", 2, 5), ("c", 0, 7)]));
        assert_eq!(more.worse, ["a []: 1 spills instead of 0", "c []: occupancy 7 instead of 8"]);
        // A variant that is new may not spill either.
        let new = compare(&kept, &report("driver 1", &[("d", 1, 16)]));
        assert_eq!(new.worse, ["d []: 1 spills instead of 0"]);
        assert_eq!(new.notes.len(), 2, "{new:?}");
    }

    #[test]
    fn another_version_may_lose_a_quarter() {
        let kept = report("driver 1", &[("a", 0, 16), ("b", 0, 16)]);
        let now = compare(&kept, &report("driver 2", &[("a", 0, 12), ("b", 0, 11)]));
        assert_eq!(now.worse, ["b []: occupancy 11 instead of 16"]);
        assert_eq!(now.notes.len(), 2, "{now:?}");
    }
}
