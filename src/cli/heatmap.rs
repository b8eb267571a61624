//! `bagrad heatmap`: what a model says of the patches of slides, drawn where they are.

mod cohort;
mod finish;
mod judging;
mod layers;
mod pictures;
mod slide;
mod threshold;

use super::args::{self, Bags as BagArgs, Memory, Output, Where};
use super::run_folder;
use super::{away, names, note, open_device, page, said};
use anyhow::{Context, Result, bail};
use bagrad::data::Split;
use bagrad::data::slides::Taken;
use bagrad::files::Claim;
use bagrad::heatmap::{Card, Cells, Scale};
use bagrad::standardise::{Distance, Far, FarBags};
use bagrad::training::Predictions;
use bagrad::{Ensemble, PlaceUnit, Predictor, Target, class_match};
use cohort::Cohort;
use indicatif::{ProgressBar, ProgressStyle};
use judging::Judging;
use layers::Wanted;
use slide::{Column, Done, Drawing, Slide};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use threshold::Threshold;

const HELP: &str = "\
DIR has for each slide a map (SLIDE.png), all numbers with their places and percentiles (SLIDE.csv), and for QuPath its
patches (SLIDE.geojson) and those from --threshold on merged to regions (SLIDE.regions.geojson); with --tiles also pictures of
its best patches (SLIDE.top.png). index.html shows all slides, top.csv has the best patches of each. The numbers are those of
`bagrad predict`, to the bit; of an ensemble of one method they are means. docs/heatmaps.md tells more.

Examples:
  bagrad heatmap --model runs/uni --data features_uni_v1/ --labels slides.csv --out maps/
  bagrad heatmap --model runs/uni --data uni.bags --only slide-1,slide-7 --over thumbnails/ --out maps/
  bagrad heatmap --model runs/stamp --data features/ --mpp 0.25 --threshold 95% --out maps/
  bagrad heatmap --model runs/dsmil --data features/ --class all --scale raw --out maps/
  bagrad heatmap --model runs/uni --data features/ --score attention --range 0:0.02 --out maps/    one scale for all slides";

/// Arguments of `bagrad heatmap`.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Model file, ensemble, or the run folder it is in
    #[arg(long)]
    model: PathBuf,
    /// Folder of slides, packed file, or anything else with places that `predict` takes
    #[arg(long)]
    data: String,
    /// Folder to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace maps that are there already
    #[arg(long)]
    force: bool,
    /// These slides alone: names after commas, or a file with a name in each line
    #[arg(long, value_name = "NAMES or FILE")]
    only: Option<String>,
    /// What to draw, as columns of attention.csv are called (attention, score, uncertainty, ..), or all; the first decides
    /// which patches are best [default: contributions, else attention, else scores]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', conflicts_with = "class")]
    score: Vec<String>,
    /// The class to draw of a model that has numbers for each, or all: a map for each
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// Colours by the numbers as they are (raw), or by their ranks in the slide (percentile) [default: percentile for
    /// attention and scores without a scale, else raw]
    #[arg(long, value_name = "HOW", value_parser = scale)]
    scale: Option<Scale>,
    /// Colours from one number to another, as they are, on the maps of all slides; numbers beyond have the colours of the ends,
    /// which is told [default: ends of each slide's own, or those that the numbers have]
    #[arg(long, value_name = "LOW:HIGH", value_parser = range, allow_hyphen_values = true)]
    range: Option<[f64; 2]>,
    /// Side of a patch in the unit of the places [default: what the files say, else the smallest spacing]
    #[arg(long, value_name = "LENGTH")]
    patch_size: Option<f64>,
    /// Pixels of the longer side of a map, 16 to 4096
    #[arg(long, value_name = "PIXELS", default_value_t = 1600)]
    max_side: usize,
    /// Lay maps over pictures of their slides: SLIDE.png or SLIDE.jpg in this folder
    #[arg(long, value_name = "DIR")]
    over: Option<PathBuf>,
    /// How much of such a picture maps cover, from 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "over")]
    opacity: f64,
    /// Width and height of the slides in the unit of the places, such as 98304x65536, which pictures are stretched to
    /// [default: the smallest of the picture's form that holds all patches]
    #[arg(long, value_name = "WxH", value_parser = size, requires = "over")]
    slide_size: Option<[f64; 2]>,
    /// Micrometres of a pixel of level 0, which GeoJSON needs where places are micrometres
    #[arg(long, value_name = "MICROMETRES")]
    mpp: Option<f64>,
    /// Write no GeoJSON
    #[arg(long)]
    no_geojson: bool,
    /// Where regions begin: a percentile of the slide (90%), or a number that the scores are held against (0.5)
    #[arg(long, value_name = "WHERE", default_value = "90%", allow_hyphen_values = true)]
    threshold: Threshold,
    /// How many of the best patches of each slide are listed
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    top: usize,
    /// Pictures of patches, for a sheet of the best: SLIDE/X_Y.png or .jpg in this folder
    #[arg(long, value_name = "DIR")]
    tiles: Option<PathBuf>,
    /// Classes of the data that the model calls otherwise, such as cancer=malignant,normal=benign
    #[arg(long, value_name = "NEW=OLD,..", value_delimiter = ',', value_parser = args::renamed)]
    classes: Vec<(String, String)>,
    #[command(flatten)]
    bags: BagArgs,
    #[command(flatten)]
    device: Where,
    #[command(flatten)]
    memory: Memory,
    #[command(flatten)]
    output: Output,
}

fn scale(text: &str) -> Result<Scale, String> {
    match text {
        "raw" => Ok(Scale::Raw),
        "percentile" => Ok(Scale::Percentile),
        _ => Err("expected raw or percentile".into()),
    }
}

fn range(text: &str) -> Result<[f64; 2], String> {
    let ends = text.split_once(':').and_then(|(low, high)| Some([low.trim().parse().ok()?, high.trim().parse().ok()?]));
    let rising = |[low, high]: &[f64; 2]| low.is_finite() && high.is_finite() && low < high;
    ends.filter(rising).ok_or_else(|| "expected two numbers, the smaller one first, such as 0:0.02 or -3:3".into())
}

fn size(text: &str) -> Result<[f64; 2], String> {
    let sides =
        text.split_once(['x', 'X', '×']).and_then(|(w, h)| Some([w.trim().parse().ok()?, h.trim().parse().ok()?]));
    let length = |side: &f64| side.is_finite() && *side > 0.0;
    sides.filter(|sides| sides.iter().all(length)).ok_or_else(|| "expected two lengths such as 98304x65536".into())
}

/// Where the time went.
#[derive(Default)]
struct Spent {
    reading: Duration,
    predicting: Duration,
    drawing: Duration,
}

/// What is known of all slides before one is read.
struct Plan {
    cohort: Cohort,
    /// Which slides are drawn.
    chosen: Vec<bool>,
    /// What the files of each slide are called.
    stems: Vec<String>,
    classes: Vec<String>,
}

/// Predicts and draws, slide after slide.
///
/// # Errors
/// When the model, the data or a picture cannot be read, do not fit each other, or the folder cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let quiet = args.output.quiet;
    let opening = args.bags.opening();
    let beside = [&args.over, &args.tiles].into_iter().flatten().map(PathBuf::as_path);
    let inputs: Vec<&Path> =
        [args.model.as_path(), Path::new(&args.data)].into_iter().chain(opening.files()).chain(beside).collect();
    let claim = Claim::folder(&args.out, args.force, &inputs)?;
    let lengths = [("--patch-size", args.patch_size), ("--mpp", args.mpp)];
    for (name, length) in lengths.iter().filter_map(|(name, length)| Some((name, (*length)?))) {
        if !(length.is_finite() && length > 0.0) {
            bail!("{name}: expected a length above 0, found {length}");
        }
    }
    if args.range.is_some() && args.scale == Some(Scale::Percentile) {
        bail!(
            "--range: it is of numbers as they are, and percentiles go from 0 to 100 of each slide: leave --scale away"
        );
    }
    let path = run_folder::model_of(&args.model)?;
    let ensemble = Ensemble::load(&path)?;
    if !ensemble.is_of_one_method() {
        bail!(
            "{}: what members of several methods say of patches has no common meaning; draw one of them, which `bagrad ensemble \
             FILE --member N --out model.safetensors` takes out",
            path.display()
        );
    }
    let plan = plan(args, &ensemble)?;
    let drawing = Drawing {
        folder: claim.staging(),
        wanted: Wanted { scores: &args.score, class: args.class.as_deref(), scale: args.scale, range: args.range },
        max_side: args.max_side,
        over: args.over.as_deref().map(pictures::within).transpose()?,
        opacity: args.opacity,
        slide_size: args.slide_size,
        mpp: args.mpp,
        geojson: !args.no_geojson,
        threshold: args.threshold,
        top: args.top,
        tiles: args.tiles.as_deref(),
    };
    let (device, _) = open_device(&args.device, None, quiet)?;
    let mut predictor = ensemble.on(&device).memory(args.memory.memory);
    let mut judging = Judging::of(&args.model)?;
    let (mut done, mut spent, mut told) = (Vec::new(), Spent::default(), BTreeSet::new());
    let mut apart = Apart::default();
    let bar = bar(quiet, plan.chosen.iter().filter(|&&chosen| chosen).count());
    for batch in Predictor::together(&plan.cohort.sizes()) {
        // The others of a batch are predicted too: so a slide's numbers are those of `predict`, to the bit.
        if !plan.chosen[batch.clone()].contains(&true) {
            continue;
        }
        let clock = Instant::now();
        let taken = plan.cohort.take(&batch.collect::<Vec<_>>())?;
        spent.reading += clock.elapsed();
        let mut tell = |remark: String| {
            if told.insert(remark.clone()) {
                bar.suspend(|| note(quiet, format!("data {}: {remark}", args.data)));
            }
        };
        taken.bad.iter().cloned().for_each(&mut tell);
        if taken.bags.is_empty() {
            continue;
        }
        let clock = Instant::now();
        let look = predictor.ensemble().look(&taken.bags).with_context(|| format!("data {}", args.data))?;
        look.remark.into_iter().for_each(&mut tell);
        if let Some(far) = look.far.filter(Far::is_remarkable) {
            tell(format!("{}: {far}; maps of features so far out mean little", taken.bags.names.join(", ")));
        }
        apart.of_training = look.far_bags.map(|far| (far.largest, far.training));
        let distances = look.distances;
        let found = predictor.predict(&taken.bags)?.mean;
        if found.scores.is_empty() {
            bail!("{}: settings of the members change what their scores mean; draw one of them", path.display());
        }
        spent.predicting += clock.elapsed();
        let clock = Instant::now();
        for (bag, &at) in taken.which.iter().enumerate().filter(|(_, at)| plan.chosen[**at]) {
            let part = judging.part(&taken.bags.names[bag]);
            let mut slide = draw(&drawing, &plan, (args.patch_size, part), &found, &taken, (bag, at))?;
            judging.add(&found, bag, (plan.cohort.bags(), at));
            if let Some(distance) = distances.get(bag) {
                slide.distance = Some(*distance);
                slide.card.remarks.extend(away::of_slide(distance));
                apart.distances.push(*distance);
            }
            slide.remarks.iter().cloned().for_each(&mut tell);
            done.push(slide);
            bar.inc(1);
        }
        spent.drawing += clock.elapsed();
        judging.batch(found);
    }
    bar.finish_and_clear();
    if done.is_empty() {
        bail!("data {}: no slide is left to draw", args.data);
    }
    let judged = judging.judged(plan.cohort.bags())?;
    let far = apart.of_training.and_then(|(largest, training)| FarBags::of(&apart.distances, largest, training));
    finish::finish(args, claim, &predictor, (&done, judged.as_ref(), far.as_ref()), &spent)
}

/// How far the slides are that were drawn.
#[derive(Default)]
struct Apart {
    distances: Vec<Distance>,
    /// The largest distance of a training bag, and how many there were.
    of_training: Option<(f64, f32)>,
}

fn bar(quiet: bool, slides: usize) -> ProgressBar {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(slides as u64) };
    if let Ok(style) = ProgressStyle::with_template("[{bar:24}] {pos} of {len} slides · {eta} left") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// Opens the data and says which slides are drawn.
fn plan(args: &Args, ensemble: &Ensemble) -> Result<Plan> {
    let quiet = args.output.quiet;
    let mut opening = args.bags.opening();
    opening.columns.labels_are = args::labels_for(ensemble.target());
    let mut cohort = Cohort::open(&args.data, &opening, quiet)?;
    let of_data = || format!("data {}", args.data);
    let classes = ensemble.classes().to_vec();
    class_match::check_kind(cohort.bags(), &classes, ensemble.target()).with_context(of_data)?;
    let told = class_match::adopt(cohort.bags_mut(), &classes, &args.classes);
    told.with_context(of_data)?.iter().for_each(|remark| note(quiet, remark));
    let mut chosen = cohort.chosen(args.only.as_deref())?;
    let names = &cohort.bags().names;
    let without: Vec<usize> = (0..names.len()).filter(|&at| chosen[at] && !cohort.has_places(at)).collect();
    if let Some(&first) = without.first() {
        let count = chosen.iter().filter(|&&chosen| chosen).count();
        if without.len() == count {
            bail!(
                "data {}: slides have no places, and a map is made of them; files have them as coords, and the layouts that \
                 docs/data.md tells of",
                args.data
            );
        }
        note(
            quiet,
            format!("{} of {count} slides have no places and are left out, such as {}", without.len(), names[first]),
        );
        without.iter().for_each(|&at| chosen[at] = false);
    }
    let mut at_all = (0..names.len()).filter(|&at| chosen[at]);
    let micrometres = |at: &usize| cohort.origin(*at).unit == Some(PlaceUnit::Micrometres);
    if let Some(at) = at_all.find(|at| !args.no_geojson && args.mpp.is_none() && micrometres(at)) {
        bail!(
            "data {}: the places of {} are micrometres, and QuPath takes pixels of level 0: give the width of a pixel in \
             micrometres (--mpp 0.25, say; the slide knows it), or leave the GeoJSON away (--no-geojson)",
            args.data,
            names[at]
        );
    }
    let stems = names::stems(names, &slide::ENDINGS, &["index.html", "top.csv", ".bagrad.json"]);
    Ok(Plan { chosen, stems, classes, cohort })
}

/// All files of one slide, `bag` of those in memory and `at` of all.
fn draw(
    drawing: &Drawing,
    plan: &Plan,
    (patch_size, part): (Option<f64>, Option<Split>),
    found: &Predictions,
    taken: &Taken,
    (bag, at): (usize, usize),
) -> Result<Done> {
    let (bags, classes) = (&taken.bags, &plan.classes);
    let origin = plan.cohort.origin(at);
    let name = &bags.names[bag];
    let places = taken.places[bag].as_deref().unwrap_or_default();
    let cells = Cells::new(places, patch_size.or(origin.patch)).with_context(|| format!("slide {name}"))?;
    let columns = found.instance_columns(classes);
    let drawn = drawing.wanted.choose(found, classes, &columns)?;
    let rows = found.offsets[bag]..found.offsets[bag + 1];
    let of_slide = match &found.target {
        Target::Number(_) => "a larger number",
        Target::Cox(_) | Target::Hazards(_) => "an earlier event",
        Target::Ordered => "a later class",
        Target::Classes | Target::LabelSets => &classes[layers::class_of_scores(found, bag)],
    };
    let part = part.map(|part| if part == Split::Train { finish::TRAINED_ON } else { part.name() }.to_owned());
    let card = Card { name: name.clone(), patches: places.len(), part, ..Card::default() };
    let card = if found.target.has_classes() {
        let (predicted, label) = (found.class(bag), page::known(bags, bag));
        let is = match found.multi_label {
            true => page::named(classes, &found.labels(bag)),
            false => classes[predicted].clone(),
        };
        let probability = Some(f64::from(found.bag(bag)[predicted]));
        Card { right: label.as_ref().map(|label| *label == is), label, predicted: is, probability, ..card }
    } else {
        let (label, predicted) = (said::known(bags, bag), said::predicted(found, bag));
        Card { label, predicted, value: Some(f64::from(found.values[bag])), ..card }
    };
    drawing.draw(Slide {
        name,
        stem: &plan.stems[at],
        cells,
        unit: origin.unit,
        size: plan.cohort.slide_size(at),
        columns: columns.iter().map(|column| Column::of(column, rows.clone(), classes, of_slide)).collect(),
        drawn: &drawn,
        class: of_slide,
        card,
    })
}
