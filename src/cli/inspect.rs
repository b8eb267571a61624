//! `bagrad inspect`: what a folder of slides holds, before anything is trained.

use super::args::Bags;
use super::table::table;
use super::{answer, answer_json};
use anyhow::{Context, Result, bail};
use bagrad::data::Source;
use bagrad::data::slides::{self, Inspection};
use std::collections::BTreeMap;
use std::fmt::Display;

const HELP: &str = "\
Only the heads of the files are read; --values reads all of them, and finds values that are not finite. Slides that cannot
be used make the exit code 1, after everything that was found.

Examples:
  bagrad inspect features_uni_v1/
  bagrad inspect features_uni_v1/ --labels slides.csv --splits splits_0.csv
  bagrad inspect features_uni_v1/ --labels slides.csv --json | jq .classes";

/// Arguments of `bagrad inspect`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Folder with a file of features for each slide, one such file, a table of their paths, or a packed file
    data: String,
    #[command(flatten)]
    bags: Bags,
    /// Read all values, too
    #[arg(long)]
    values: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Names that people are shown, at most; JSON has them all.
const SHOWN: usize = 10;

/// Looks, tells.
///
/// # Errors
/// When there are no slides, or a table is wrong; and in the end when slides cannot be used.
pub fn run(args: &Args) -> Result<()> {
    let (Source::Slides(path) | Source::Packed(path)) = Source::parse(&args.data)? else {
        bail!("{}: expected a folder with a file of features for each slide, or a packed file", args.data);
    };
    let opening = args.bags.opening();
    let found = slides::inspect(&path, &opening, args.values).with_context(|| format!("data {}", args.data))?;
    match args.json {
        true => answer_json(&found)?,
        false => answer(&people(&found))?,
    }
    let skipped = opening.on_bad == bagrad::data::OnBad::Skip;
    match found.bad.len() {
        bad @ 1.. if !skipped => bail!("{bad} slides cannot be used; --on-bad skip leaves them out"),
        _ => Ok(()),
    }
}

/// `32 of uni_v1, 1 of conch`.
fn counts(counts: &BTreeMap<String, usize>, slides: usize) -> String {
    match counts.iter().next() {
        None => "not told".into(),
        Some((only, count)) if *count == slides => only.clone(),
        _ => counts.iter().map(|(what, count)| format!("{what} ({count} slides)")).collect::<Vec<_>>().join(", "),
    }
}

fn some<T: Display>(names: &[T]) -> String {
    let more = if names.len() > SHOWN { ", .." } else { "" };
    names.iter().take(SHOWN).map(T::to_string).collect::<Vec<_>>().join(", ") + more
}

fn people(found: &Inspection) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| text += &format!("{what:<14}{value}\n");
    let slides = found.slides;
    line("slides", format!("{slides} in {} ({})", found.folder.display(), counts(&found.formats, slides)));
    if let Some(sizes) = found.sizes {
        let (min, median, max) = (sizes.min, sizes.median, sizes.max);
        line("patches", format!("{}: {min} to {max} a slide, half of them up to {median}", found.patches));
        line(
            "features",
            format!("{} of {}, {:.1} MB in all", found.width, counts(&found.numbers, slides), found.bytes as f64 / 1e6),
        );
        line("encoder", counts(&found.encoders, slides));
        let placed: usize = found.coordinates.values().sum();
        let places = match placed {
            0 => "none".into(),
            _ if placed < slides => format!("{placed} slides have them, {slides} would have to"),
            _ if found.patch_widths.is_empty() => {
                format!("{}; how wide a patch is is not told", counts(&found.coordinates, slides))
            }
            _ => format!(
                "{}; a patch is {} wide",
                counts(&found.coordinates, slides),
                counts(&found.patch_widths, slides)
            ),
        };
        line("coordinates", places);
        match found.instance_labels {
            0 => {}
            all if all == slides => line("patch labels", "of all slides".into()),
            some => line("patch labels", format!("of {some} slides, {slides} would have to have them")),
        }
    }
    if let Some(patients) = found.patients {
        line("patients", patients.to_string());
    }
    let mut problem = |what: String, names: &[String]| {
        if !names.is_empty() {
            text += &format!("{} {what}: {}\n", names.len(), some(names));
        }
    };
    problem("slides of the table have no file".into(), &found.without_file);
    problem("files have no line in the table".into(), &found.without_line);
    problem("PATIENTS ARE IN SEVERAL PARTS".into(), &found.patients_in_several_parts);
    problem("patients have slides of several classes".into(), &found.patients_of_several_classes);
    if found.unlabelled > 0 {
        text += &format!("{} slides have no label\n", found.unlabelled);
    }
    let optional = |count: Option<usize>| count.map_or("-".into(), |c| c.to_string());
    if !found.classes.is_empty() {
        let row = |c: &slides::ClassCount| vec![c.name.clone(), c.slides.to_string(), optional(c.patients)];
        text += &format!(
            "\n{}",
            table(&["class", "slides", "patients"], &found.classes.iter().map(row).collect::<Vec<_>>())
        );
    }
    if !found.parts.is_empty() {
        let names: Vec<&str> = found.classes.iter().map(|c| c.name.as_str()).collect();
        let row = |p: &slides::PartCount| {
            let of = names.iter().map(|name| p.classes.get(*name).copied().unwrap_or(0).to_string());
            [p.name.to_owned(), p.slides.to_string(), optional(p.patients)].into_iter().chain(of).collect()
        };
        let head: Vec<&str> = ["part", "slides", "patients"].into_iter().chain(names.iter().copied()).collect();
        text += &format!("\n{}", table(&head, &found.parts.iter().map(row).collect::<Vec<_>>()));
    }
    if !found.bad.is_empty() {
        text += &format!("\n{} slides cannot be used:\n", found.bad.len());
        found.bad.iter().for_each(|bad| text += &format!("  {}: {}\n", bad.path.display(), bad.reason));
    }
    found.remarks.iter().for_each(|remark| text += &format!("\n{remark}"));
    text.trim_end().to_owned() + "\n"
}
