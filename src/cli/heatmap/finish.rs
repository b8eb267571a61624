//! What is told of all slides together: the page, the best patches, the answer.

use super::slide::{Best, Done};
use super::{Args, Spent};
use crate::cli::csv::Csv;
use crate::cli::run_folder::table_file;
use crate::cli::{answer, answer_json, away, note};
use anyhow::Result;
use bagrad::EnsemblePredictor;
use bagrad::files::{Claim, write_atomically};
use bagrad::heatmap::{self, Card, short};
use bagrad::report::Judged;
use bagrad::standardise::FarBags;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What a slide is for the run that the model is of, where it was trained on.
pub const TRAINED_ON: &str = "trained on";

/// Writes the best patches of all slides and the page, puts the folder in its place, and tells what came of it.
///
/// # Errors
/// With the file that cannot be written.
pub fn finish(
    args: &Args,
    claim: Claim,
    predictor: &EnsemblePredictor,
    (done, judged, far): (&[Done], Option<&Judged>, Option<&FarBags>),
    spent: &Spent,
) -> Result<()> {
    table_file(claim.staging().join("top.csv"), |out| top(out, done))?;
    let cards: Vec<Card> = done.iter().map(|slide| slide.card.clone()).collect();
    let patches: usize = cards.iter().map(|card| card.patches).sum();
    let members = predictor.ensemble().members();
    let method = members[0].model.spec().method.info();
    let mean = if members.len() > 1 { format!(", mean of {} models", members.len()) } else { String::new() };
    // Those that the model was trained on tell nothing.
    let told: Vec<bool> =
        cards.iter().filter(|card| card.part.as_deref() != Some(TRAINED_ON)).filter_map(|card| card.right).collect();
    let right = told.iter().filter(|&&right| right).count();
    let right_told = match told.len() {
        0 => String::new(),
        labelled => format!(" {right} of {labelled} slides with a label are right."),
    };
    let summary = format!("{} of {}, {patches} patches.{right_told}", slides_told(done.len()), args.data);
    let mut notes = vec![
        "Each square is a patch where it lies in its slide; the bar beside a map tells what its colours mean. Where patches \
         overlap, the mean is shown."
            .to_owned(),
        "In QuPath: open the slide, then File, Import objects from file, and choose its cells or regions.".into(),
    ];
    let names: Vec<String> = cards.iter().map(|card| card.name.clone()).collect();
    if let Some(told) = away::told(far, &names) {
        note(args.output.quiet, format!("data {}: {told}", args.data));
        notes.push(format!("How far the slides are from those of the training: {told}."));
    }
    if let Some([low, high]) = args.range {
        let beyond = done.iter().filter(|slide| slide.beyond.is_some_and(|of| of != [0, 0])).count();
        let told = format!(
            "colours go from {} to {} on all maps; {beyond} of {} have patches beyond, in the colours of the ends",
            short(low),
            short(high),
            slides_told(done.len())
        );
        note(args.output.quiet, format!("--range: {told}"));
        notes.push(format!("--range: {told}. Maps can be compared by their colours."));
    }
    let title = format!(
        "{}{mean} on {}",
        method.title,
        Path::new(&args.data).file_name().map_or(args.data.clone().into(), |n| n.to_string_lossy())
    );
    write_atomically(claim.staging().join("index.html"), heatmap::page(&title, &summary, &notes, &cards, judged))?;
    claim.commit()?;
    let seconds = |duration: Duration| duration.as_secs_f64();
    if args.output.json {
        let slide = |done: &Done| {
            let Card { name, label, predicted, probability, value, patches, pictures, files, part, .. } = &done.card;
            let files: Vec<&String> = pictures.iter().chain(files).map(|(file, _)| file).collect();
            json!({ "slide": name, "label": label, "predicted": predicted, "probability": probability, "value": value, "part": part, "patches": patches, "files": files, "beyond": done.beyond, "distance": done.distance.map(|of| of.value), "percentile(distance)": done.distance.map(|of| of.percentile) })
        };
        return answer_json(&json!({
            "out": args.out.display().to_string(),
            "slides": done.iter().map(slide).collect::<Vec<_>>(),
            "patches": patches,
            "range": args.range,
            "distances": away::object(far, &names),
            "scores": judged.map(|judged| json!({ "of": judged.title, "notes": judged.notes, "results": judged.results.iter().cloned().collect::<BTreeMap<_, _>>() })),
            "device": predictor.device().name(),
            "members": members.len(),
            "seconds": { "reading": seconds(spent.reading), "predicting": seconds(spent.predicting), "drawing": seconds(spent.drawing) },
        }));
    }
    answer(&format!(
        "{}, {patches} patches: read in {:.2} s, predicted in {:.2} s, drawn in {:.2} s\n",
        slides_told(done.len()),
        seconds(spent.reading),
        seconds(spent.predicting),
        seconds(spent.drawing)
    ))?;
    note(args.output.quiet, format!("written: {}", args.out.join("index.html").display()));
    Ok(())
}

fn slides_told(count: usize) -> String {
    if count == 1 { "1 slide".into() } else { format!("{count} slides") }
}

/// A line for each of the best patches of each slide.
fn top(out: &mut impl std::io::Write, done: &[Done]) -> std::io::Result<()> {
    let mut csv = Csv::new(out);
    ["slide", "rank", "instance", "x", "y", "drawn", "value", "percentile", "predicted", "probability"]
        .iter()
        .try_for_each(|name| csv.cell(name).map(|_| ()))?;
    csv.end()?;
    for slide in done {
        let Card { name, pictures, predicted, probability, .. } = &slide.card;
        let drawn = pictures.first().map_or("", |(_, drawn)| drawn);
        for (rank, Best { instance, place: [x, y], value, percentile }) in slide.best.iter().enumerate() {
            csv.name(name)?.cell(rank + 1)?.cell(instance)?.cell(x)?.cell(y)?.name(drawn)?.cell(value)?;
            csv.cell((percentile * 1e6).round() / 1e6)?.name(predicted)?;
            csv.cell(probability.map_or_else(String::new, |p| p.to_string()))?;
            csv.end()?;
        }
    }
    Ok(())
}
