//! `bagrad predict`: what a trained model says of bags, labelled or not.

use super::args::{self, Bags as BagArgs, Memory, Output, Where};
use super::run_folder::{self, bag_table, instance_table, table_file};
use super::{answer, answer_json, away, experiment, members, note, open_device, parts, said, summary, table};
use anyhow::{Context, Result, anyhow};
use bagrad::data::Opening;
use bagrad::files::{Claim, Kind};
use bagrad::standardise::{Distance, Far};
use bagrad::training::Cache;
use bagrad::training::metrics::BagScores;
use bagrad::{Answers, Bags, Ensemble, Error, Look, class_match};
use serde_json::{Map, Value, json};
use std::io;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Labels, where there are any, are matched with the model's classes by name; --classes says which is which where the
names differ. A model of several labels a bag takes labels.npy of [bags, labels], columns in any order.

Of an ensemble (`bagrad ensemble`) the table has the mean in the columns of one model, and behind them the standard deviation over the
members and the answer of each: spread:p(tumour), member1:p(tumour), member2:p(tumour) (docs/ensembles.md).

How far each bag is from the training's, by the mean of its features, is in the last two columns: distance (about 1 for a bag as
those) and percentile(distance), how many per cent of the training bags are nearer. A remark tells where more are far than by
chance (docs/data.md).

Examples:
  bagrad predict --model runs/mine --data new-bags/ > predictions.csv
  bagrad predict --model runs/mine/model.safetensors --data new-bags/ --out predicted/   with every instance
  bagrad predict --model runs/mine --data labelled-bags/ --json | jq .auc
  bagrad predict --model runs/mine --data labelled-bags/ --top-shares --out predicted/   are the instances it points at enough?";

/// Arguments of `bagrad predict`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Model file, ensemble, or the run folder it is in
    #[arg(long)]
    model: PathBuf,
    /// Folder of npy files or of slides, packed file, text file, or a generator, as for `train`
    #[arg(long)]
    data: String,
    /// File to write (.csv), or a folder for bags and instances [default: csv to stdout]
    #[arg(long, value_name = "DIR or FILE.csv")]
    out: Option<PathBuf>,
    /// Replace predictions that are there already
    #[arg(long)]
    force: bool,
    /// Classes of the data that the model calls otherwise, such as cancer=malignant,normal=benign; names that differ in
    /// case alone need not be given
    #[arg(long, value_name = "NEW=OLD,..", value_delimiter = ',', value_parser = args::renamed)]
    classes: Vec<(String, String)>,
    /// Instance label that makes a key instance, repeatable [default: what the data set says]
    #[arg(long, value_name = "LABEL", allow_negative_numbers = true)]
    key: Vec<i32>,
    /// Also predict each bag from so many per cent of its instances alone, those with the largest scores, and without them, and the
    /// same of random ones [default where no value is given: 1,5,10,25,50]
    #[arg(long, value_name = "PERCENT,..", value_delimiter = ',', value_parser = parts::share, num_args = 0..=1,
          require_equals = true, default_missing_value = parts::SHARES)]
    top_shares: Option<Vec<f64>>,
    #[command(flatten)]
    bags: BagArgs,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    memory: Memory,
    /// none: leave features in features.npy, and read them when they are wanted
    #[arg(long, default_value = "auto", hide_default_value = true)]
    cache: Cache,
    #[command(flatten)]
    output: Output,
}

/// In a folder of predictions: what they were worth.
const SCORES: &str = "prediction.json";

fn is_table(out: &Path) -> bool {
    out.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"))
}

fn claim(args: &Args, opening: &Opening, out: &Path) -> Result<Claim> {
    let inputs: Vec<&Path> = [args.model.as_path(), Path::new(&args.data)].into_iter().chain(opening.files()).collect();
    Ok(match is_table(out) {
        true => Claim::files(&[(out, Kind::Table)], args.force, &inputs)?,
        false => Claim::folder(out, args.force, &inputs)?,
    })
}

/// Loads, predicts, writes, tells.
///
/// # Errors
/// When the model or the data cannot be read or do not fit each other.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    let mut opening = args.bags.opening();
    let claim = args.out.as_deref().map(|out| claim(args, &opening, out)).transpose()?;
    let path = run_folder::model_of(&args.model)?;
    let ensemble = Ensemble::load(&path)?;
    opening.columns.labels_are = args::labels_for(ensemble.target());
    let key = (!args.key.is_empty()).then_some(&args.key[..]);
    let mut set = experiment::open(&args.data, &opening, key, args.cache, quiet)?;
    let of_data = || format!("data {}", args.data);
    let look = ensemble.look(&set.bags).map_err(|error| match (error, ensemble.width(), set.bags.width) {
        (Error::Shape { .. }, wanted, found) if wanted != found => {
            anyhow!("its instances have {found} features, the model {} was made for {wanted}", path.display())
        }
        (error, ..) => error.into(),
    });
    let Look { remark, far, distances, far_bags, .. } = look.with_context(of_data)?;
    remark.iter().for_each(|remark| note(quiet, format!("data {}: {remark}", args.data)));
    let mut result = Map::new();
    if let Some(far) = far.filter(Far::is_remarkable) {
        let told = json!({ "values": far.values, "instances": far.instances, "column": far.column, "of_column": far.of_column });
        result.insert("far".into(), told);
        let hint = "other features, another scale or another encoder? predictions so far out mean little";
        note(quiet, format!("data {}: {far} ({hint})", args.data));
    }
    away::told(far_bags.as_ref(), &set.bags.names)
        .iter()
        .for_each(|told| note(quiet, format!("data {}: {told}", args.data)));
    result.insert("distances".into(), away::object(far_bags.as_ref(), &set.bags.names));
    let classes = ensemble.classes().to_vec();
    class_match::check_kind(&set.bags, &classes, ensemble.target()).with_context(of_data)?;
    let told = class_match::adopt(&mut set.bags, &classes, &args.classes);
    told.with_context(of_data)?.iter().for_each(|remark| note(quiet, remark));
    let (device, _) = open_device(&args.device, None, quiet)?;
    let mut predictor = ensemble.on(&device).memory(args.memory.memory);
    let answers = predictor.predict(&set.bags)?;
    let predictions = &answers.mean;
    // Not there for an ensemble of several methods.
    let has_scores = !predictions.scores.is_empty();

    result.insert("bags".into(), json!(set.bags.len()));
    result.insert("instances".into(), json!(set.bags.instances()));
    result.insert("device".into(), json!(device.name()));
    result.insert("scores_are".into(), json!(has_scores.then_some(predictions.scores_are)));
    let (mut told, mut of_members) = (None, Vec::new());
    let known =
        || (0..set.bags.len()).filter(|&b| set.bags.has_labels() && set.bags.is_labelled(b)).collect::<Vec<_>>();
    if set.bags.has_labels() {
        let targets = set.instance_targets().filter(|_| has_scores);
        let all = known();
        of_members = members::scores(&answers, &set.bags, &all)?;
        let e = experiment::evaluate(predictions, &set.bags, all, targets.as_deref())?;
        let Value::Object(scores) = serde_json::to_value(&e.scores)? else { unreachable!("a struct is an object") };
        result.extend(scores);
        result.insert("positive".into(), json!(summary::positive(&set.bags)));
        if let Some(auc) = e.instances {
            result.insert("instance_auc".into(), json!(auc.pooled));
            result.insert("instance_auc_per_bag".into(), json!(auc.per_bag));
        }
        result.extend(summary::of_lesions(&e).into_iter().map(|(name, value)| (name.to_owned(), value)));
        told = Some(e);
    }
    if !answers.members.is_empty() {
        result.insert("members".into(), json!(members::told(predictor.ensemble(), &of_members)?));
    }
    let of_parts = match &args.top_shares {
        Some(shares) => Some(parts::measure(&mut predictor, &set.bags, predictions, &known(), shares)?),
        None => None,
    };
    if let Some(of_parts) = &of_parts {
        result.insert("parts".into(), parts::object(of_parts, &set.bags));
    }
    let of_parts = of_parts.as_deref();
    write(args, claim, &set.bags, (&answers, of_parts, &distances), &classes, &result)?;
    if args.output.json {
        let bag = |b: usize| {
            let mut line = Map::from_iter([("bag".to_owned(), json!(set.bags.names[b]))]);
            line.extend(said::object(predictions, &set.bags, &classes, b));
            for told in &predictions.of_bags {
                line.extend(told.names(&classes).into_iter().zip(told.row(b).iter().map(|value| json!(value))));
            }
            line.extend(members::object(&answers, &classes, b));
            line.extend(away::of_bag(distances.get(b)));
            Value::Object(line)
        };
        result.insert("classes".into(), json!(classes));
        result.insert("predictions".into(), (0..set.bags.len()).map(bag).collect());
        return answer_json(&result);
    }
    // Stdout carries the csv unless that goes to a file.
    let tell = |text: &str| {
        if args.out.is_some() {
            answer(text)
        } else {
            note(quiet, text.trim_end());
            Ok(())
        }
    };
    if let Some(e) = told {
        let ranges = ranges(&of_members, &set.bags);
        let of_bags = summary::told(&e.scores, &set.bags).into_iter().map(|told| (told.name, told.value));
        let of_instances = e.instances.into_iter().flat_map(|auc| {
            [("instance AUC".to_owned(), auc.pooled), ("instance AUC per bag".to_owned(), auc.per_bag)]
        });
        let of_lesions = e.froc.iter().map(|froc| ("FROC".to_owned(), Some(froc.score)));
        let mut rows: Vec<Vec<String>> = of_bags
            .chain(of_instances)
            .chain(of_lesions)
            .map(|(name, value)| vec![name, table::score(value)])
            .collect();
        let mut head = vec!["", "all bags"];
        if !ranges.is_empty() {
            head.extend(["one member"]);
            let ranges = ranges.into_iter().chain(std::iter::repeat("-".to_owned()));
            rows.iter_mut().zip(ranges).for_each(|(row, range)| row.push(range));
        }
        let text = table::table(&head, &rows) + &summary::people_of_labels(&e.scores);
        tell(&text)?;
    }
    if let Some(of_parts) = of_parts {
        tell(&format!("\n{}", parts::people(of_parts, &set.bags)))?;
    }
    Ok(())
}

/// Of each score the worst and the best of the members.
fn ranges(members: &[BagScores], bags: &Bags) -> Vec<String> {
    let all: Vec<Vec<summary::Told>> = members.iter().map(|scores| summary::told(scores, bags)).collect();
    let range = |at: usize| {
        let values = || all.iter().filter_map(|told| told[at].value);
        let [low, high] = [values().reduce(f64::min), values().reduce(f64::max)].map(table::score);
        format!("{low} to {high}")
    };
    (0..all.first().map_or(0, Vec::len)).map(range).collect()
}

fn write(
    args: &Args,
    claim: Option<Claim>,
    bags: &Bags,
    (answers, of_parts, distances): (&Answers, Option<&[parts::Measured]>, &[Distance]),
    classes: &[String],
    result: &Map<String, Value>,
) -> Result<()> {
    let predictions = &answers.mean;
    let table = |out: &mut dyn io::Write| bag_table(out, bags, (predictions, Some(answers), distances), classes, None);
    let (Some(claim), Some(out)) = (claim, &args.out) else {
        if args.output.json {
            return Ok(());
        }
        let mut csv = Vec::new();
        table(&mut csv)?;
        return answer(&String::from_utf8_lossy(&csv));
    };
    let place = claim.staging();
    if is_table(out) {
        table_file(claim.staged(out), |out| table(out))?;
    } else {
        bagrad::files::write_atomically(place.join(SCORES), serde_json::to_string_pretty(result)? + "\n")?;
        table_file(place.join("predictions.csv"), |out| table(out))?;
        if let Some(of_parts) = of_parts {
            table_file(place.join("parts.csv"), |out| parts::csv(out, of_parts, bags))?;
        }
        match predictions.scores.is_empty() {
            false => table_file(place.join("attention.csv"), |out| instance_table(out, bags, predictions, classes))?,
            true => note(
                args.output.quiet,
                "attention.csv is left out: what members of several methods say of instances has no common meaning; `bagrad \
                 ensemble FILE --member N` takes one of them out",
            ),
        }
    }
    claim.commit()?;
    note(args.output.quiet, format!("written: {}", out.display()));
    Ok(())
}
