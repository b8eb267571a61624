//! `bagrad bench compare`: two runs against each other.

use crate::cli::table::table;
use crate::cli::{answer, answer_json, note};
use anyhow::{Result, bail};
use bagrad::bench::compare::{Comparison, ROUNDS, Ratio, Rule, Verdict};
use bagrad::bench::run::Run;
use std::path::PathBuf;

/// Arguments of `bagrad bench compare`.
#[derive(clap::Args)]
#[command(after_help = EXPLAINED)]
pub struct Args {
    /// What `bagrad bench --json FILE` wrote before
    before: PathBuf,
    /// And after
    after: PathBuf,
    /// Exit with code 3 when a kernel is slower by more than this, such as 5%, with its interval wholly above
    #[arg(long, value_name = "SHARE", value_parser = share)]
    fail_above: Option<f64>,
    /// Compare runs of different devices
    #[arg(long)]
    across: bool,
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

const EXPLAINED: &str = "\
A ratio above 1 takes longer after. Its interval of 95 % comes of rounds drawn anew (bootstrap). A verdict looks at intervals
that hold for all kernels together with 95 %, and needs 5 % of difference, or what --fail-above says.

Exit codes: 0 compared, 1 an error (files of different devices among them), 2 wrong arguments, 3 slower than --fail-above allows.";

/// Something is slower by more than was allowed. The program ends with an exit code of its own.
#[derive(Debug)]
pub struct Slower(String);

impl std::fmt::Display for Slower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Slower {}

/// A share in percent.
fn share(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|n| n.trim().parse::<f64>().ok());
    let number = number.filter(|n| (0.0..=1000.0).contains(n));
    number.map(|n| n / 100.0).ok_or_else(|| "expected a share such as 5%, up to 1000%".to_owned())
}

/// As people wrote it: 5, 7.5.
fn percent(share: f64) -> f64 {
    (share * 1e5).round() / 1e3
}

/// Compares, prints, fails.
///
/// # Errors
/// Files that are none of a run or of different devices, and [`Slower`].
pub fn run(args: &Args) -> Result<()> {
    let (before, after) = (Run::load(&args.before)?, Run::load(&args.after)?);
    let rule = Rule { effect: args.fail_above.unwrap_or(Rule::default().effect), ..Rule::default() };
    let found = Comparison::of(&before, &after, rule);
    if let Some(devices) = &found.devices {
        if !args.across {
            bail!("the runs are of different devices: {devices}; --across compares them nevertheless");
        }
        note(args.json, format!("different devices: {devices}"));
    }
    if found.ratios.is_empty() {
        bail!("no kernel is in both files with the same variant, shape and bytes");
    }
    if args.fail_above.is_some() {
        let unknown: Vec<String> = found.with(Verdict::Unknown).map(Ratio::name).collect();
        if !unknown.is_empty() {
            let some = unknown[..unknown.len().min(3)].join(", ");
            let (count, need) =
                (unknown.len(), format!("at least {ROUNDS} rounds (bench --rounds) and a clock that runs"));
            bail!("--fail-above needs {need} in both files; {count} kernels have no interval: {some}");
        }
    }
    match args.json {
        true => answer_json(&found)?,
        false => print(&found, rule)?,
    }
    let slower: Vec<&Ratio> = found.with(Verdict::Slower).collect();
    match args.fail_above {
        Some(most) if !slower.is_empty() => {
            let one = |r: &&Ratio| format!("{} ({:.2} times)", r.name(), r.ratio);
            let told = slower.iter().map(one).collect::<Vec<_>>().join(", ");
            let plural = if slower.len() == 1 { "kernel is" } else { "kernels are" };
            Err(Slower(format!("{} {plural} slower by more than {} %: {told}", slower.len(), percent(most))).into())
        }
        _ => Ok(()),
    }
}

fn print(found: &Comparison, rule: Rule) -> Result<()> {
    found.notes.iter().for_each(|text| note(false, text));
    if found.same_program {
        note(false, "both files are of the same build of the program");
    }
    let interval = |i: Option<[f64; 2]>| i.map_or("-".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"));
    let line = |r: &Ratio| {
        let verdict = match r.verdict {
            Verdict::Slower => "slower",
            Verdict::Faster => "faster",
            Verdict::Same => "",
            Verdict::Unknown => "too few rounds",
        };
        let times = [r.before_us, r.after_us].map(|us| format!("{us:.1}"));
        [&[r.name()], &times[..], &[format!("{:.3}", r.ratio), interval(r.interval), verdict.to_owned()]].concat()
    };
    let lines: Vec<Vec<String>> = found.ratios.iter().map(line).collect();
    let mut text = table(&["kernel", "before us", "after us", "ratio", "95 %", ""], &lines);
    let count = |verdict| found.with(verdict).count();
    text += &format!(
        "\n{} kernels: {} slower and {} faster by more than {} %\n",
        found.ratios.len(),
        count(Verdict::Slower),
        count(Verdict::Faster),
        percent(rule.effect)
    );
    if let Some(together) = found.together {
        text += &format!("all together: {together:.3} times");
        // A machine that is slower by the hour moves everything.
        text += match (together - 1.0).abs() > 0.03 {
            true => "; a machine that was busier, hotter or slower looks the same: measure both again, in turns\n",
            false => "\n",
        };
    }
    for (names, which) in [(&found.gone, "first"), (&found.new, "second")] {
        if !names.is_empty() {
            text += &format!("only in the {which} file: {}\n", names.join(", "));
        }
    }
    answer(&text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn shares_are_in_percent() {
        assert_eq!(super::share("5%"), Ok(0.05));
        assert_eq!(super::share(" 7.5 % "), Ok(0.075));
        for wrong in ["5", "0.05", "-1%", "x%", "NaN%"] {
            assert!(super::share(wrong).unwrap_err().contains("such as 5%"), "{wrong}");
        }
    }
}
