//! What a model says of parts of bags, for people and for programs.

use super::csv::Csv;
use super::summary;
use super::table::{score, table};
use anyhow::{Result, anyhow};
use bagrad::parts::{First, Left, Part};
use bagrad::training::Predictions;
use bagrad::training::metrics::BagScores;
use bagrad::{Bags, EnsemblePredictor};
use serde_json::{Map, Value, json};
use std::io::{self, Write};

/// Per cent of the instances of a bag unless told otherwise.
pub const SHARES: &str = "1,5,10,25,50";
/// Of the random order.
const SEED: u64 = 1;

/// Reads per cent as a share.
///
/// # Errors
/// For what is no number above 0 and up to 100.
pub fn share(text: &str) -> Result<f64> {
    let percent: Option<f64> = text.trim().trim_end_matches('%').trim_end().parse().ok();
    let percent = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0);
    percent
        .map(|percent| percent / 100.0)
        .ok_or_else(|| anyhow!("expected per cent above 0 and up to 100, found {text:?}"))
}

/// What is measured of one part of all bags.
pub struct Measured {
    part: Part,
    change: Option<f64>,
    same: Option<f64>,
    scores: Option<BagScores>,
}

/// Predicts parts of all bags, by the scores of `whole`, and measures them; `known` are the bags with labels.
///
/// # Errors
/// As [`EnsemblePredictor::parts`].
pub fn measure(
    predictor: &mut EnsemblePredictor,
    bags: &Bags,
    whole: &Predictions,
    known: &[usize],
    shares: &[f64],
) -> Result<Vec<Measured>> {
    let one = |part: Part| {
        let scores = (!known.is_empty()).then(|| part.scores(whole, bags, known)).transpose()?;
        Ok(Measured { change: part.change(whole), same: part.same(whole), scores, part })
    };
    predictor.parts(bags, whole, shares, SEED)?.into_iter().map(one).collect()
}

/// Which instances come first, and what becomes of them.
fn words(part: &Part) -> [&'static str; 2] {
    let first = match part.first {
        First::Scored => "scored",
        First::Random => "random",
    };
    let left = match part.left {
        Left::Alone => "alone",
        Left::Without => "without",
    };
    [first, left]
}

/// An object for each part.
pub fn object(all: &[Measured], bags: &Bags) -> Value {
    let one = |of: &Measured| {
        let [first, left] = words(&of.part);
        let mut object = Map::from_iter(
            [
                ("share", json!(of.part.share)),
                ("first", json!(first)),
                ("left", json!(left)),
                ("instances", json!(of.part.instances)),
                ("mean_change", json!(of.change)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        object.extend(of.same.map(|same| ("same_class".to_owned(), json!(same))));
        let scores = of.scores.iter().flat_map(|scores| summary::told(scores, bags));
        object.extend(scores.map(|told| (told.key.to_owned(), json!(told.value))));
        Value::Object(object)
    };
    all.iter().map(one).collect()
}

/// A line for each part: `share,first,left,instances,mean_change[,same_class]`, and the scores where labels are known.
///
/// # Errors
/// When `out` cannot be written.
pub fn csv(out: &mut (impl Write + ?Sized), all: &[Measured], bags: &Bags) -> io::Result<()> {
    let scores = |of: &Measured| of.scores.as_ref().map(|scores| summary::told(scores, bags)).unwrap_or_default();
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let mut csv = Csv::new(out);
    for name in ["share", "first", "left", "instances", "mean_change"] {
        csv.cell(name)?;
    }
    let Some(first) = all.first() else { return csv.end() };
    if first.same.is_some() {
        csv.cell("same_class")?;
    }
    scores(first).iter().try_for_each(|told| csv.cell(told.key).map(|_| ()))?;
    csv.end()?;
    for of in all {
        let [order, left] = words(&of.part);
        csv.cell(of.part.share)?.cell(order)?.cell(left)?.cell(of.part.instances)?.cell(number(of.change))?;
        if of.same.is_some() {
            csv.cell(number(of.same))?;
        }
        scores(of).into_iter().try_for_each(|told| csv.cell(number(told.value)).map(|_| ()))?;
        csv.end()?;
    }
    Ok(())
}

/// For people: of each share the first of the scores where labels are known, and the mean change.
pub fn people(all: &[Measured], bags: &Bags) -> String {
    let names = ["scored, alone", "scored, left out", "random, alone", "random, left out"];
    let block = |title: &str, value: &dyn Fn(&Measured) -> Option<f64>| {
        let row = |of: &[Measured]| {
            let share = format!("{:.4}", 100.0 * of[0].part.share);
            let share = format!("{} %", share.trim_end_matches('0').trim_end_matches('.'));
            std::iter::once(share).chain(of.iter().map(|of| score(value(of)))).collect()
        };
        let rows: Vec<Vec<String>> = all.chunks(names.len()).map(row).collect();
        table(&[&[title][..], &names].concat(), &rows)
    };
    let first = |of: &Measured| summary::told(of.scores.as_ref()?, bags).into_iter().next();
    let judged = all.first().and_then(first).map(|told| block(&told.name, &|of| first(of)?.value) + "\n");
    judged.unwrap_or_default() + &block("mean change", &|of| of.change)
}
