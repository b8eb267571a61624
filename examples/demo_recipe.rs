//! The search for the recipe of `bagrad demo`: cargo run --release --example demo_recipe [-- screen | final]
//!
//! Recipes are compared by validation bags alone. A seed (101 and on; the demo is quoted for 1 to 20) divides the
//! digits into training and test images as `digits-bags` does, and the test images are left alone. Of the 1000 training
//! images 800 make the bags that are trained on, a fifth of them held out to choose the epoch as in the demo, and the
//! other 200 make the validation bags: as in a test, no image of theirs was seen. docs/demo-recipe.md has the result.

use bagrad::data::{Protocol, Split, split};
use bagrad::device::Device;
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::ops::update::Optimiser;
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::training::metrics::Scores;
use bagrad::training::schedule::Schedule;
use bagrad::training::{Settings, predict, train};
use std::error::Error;
use std::time::Instant;

/// The first seed; none of the demo's.
const FIRST_SEED: u64 = 101;
/// Training images that bags are trained on; of the others validation bags are drawn.
const TRAINED_IMAGES: usize = 800;
/// Validation bags of a seed, as many as the demo has test bags.
const VALIDATION_BAGS: usize = 200;
/// Stream of the seed that divides the training images.
const IMAGES_STREAM: u64 = 1 << 41;

#[derive(Clone, Copy)]
struct Recipe {
    bags: usize,
    epochs: u32,
    embed: &'static [u32],
    attention: u32,
    dropout: f64,
    rate: f64,
    decay: f32,
}

/// What the others are a step from.
const BASE: Recipe =
    Recipe { bags: 2000, epochs: 12, embed: &[256], attention: 64, dropout: 0.25, rate: 1e-3, decay: 1e-4 };

/// The base, and what differs from it in one thing; ten seeds each.
const SCREENED: [Recipe; 19] = [
    BASE,
    Recipe { bags: 4000, epochs: 6, ..BASE },
    Recipe { epochs: 6, ..BASE },
    Recipe { epochs: 24, ..BASE },
    Recipe { bags: 4000, ..BASE },
    Recipe { embed: &[64], ..BASE },
    Recipe { embed: &[128], ..BASE },
    Recipe { embed: &[512], ..BASE },
    Recipe { embed: &[256, 128], ..BASE },
    Recipe { attention: 32, ..BASE },
    Recipe { attention: 128, ..BASE },
    Recipe { dropout: 0.0, ..BASE },
    Recipe { dropout: 0.1, ..BASE },
    Recipe { dropout: 0.4, ..BASE },
    Recipe { dropout: 0.5, ..BASE },
    Recipe { rate: 5e-4, ..BASE },
    Recipe { rate: 2e-3, ..BASE },
    Recipe { decay: 0.0, ..BASE },
    Recipe { decay: 1e-3, ..BASE },
];

/// The base, fewer bags that are seen more often, and combinations of what was no worse; twenty seeds each.
const FINALISTS: [Recipe; 10] = [
    BASE,
    Recipe { bags: 500, epochs: 48, ..BASE },
    Recipe { bags: 1000, epochs: 24, ..BASE },
    Recipe { rate: 2e-3, decay: 1e-3, dropout: 0.4, ..BASE },
    Recipe { rate: 2e-3, decay: 1e-3, attention: 128, ..BASE },
    Recipe { rate: 2e-3, ..BASE },
    Recipe { decay: 1e-3, ..BASE },
    Recipe { embed: &[256, 128], attention: 128, decay: 1e-3, epochs: 24, ..BASE },
    Recipe { embed: &[256, 128], attention: 128, decay: 1e-3, ..BASE },
    Recipe { rate: 2e-3, decay: 3e-3, attention: 128, ..BASE },
];

impl Recipe {
    /// Scores of the validation bags of a seed.
    fn scores(&self, seed: u64) -> Result<Scores, Box<dyn Error>> {
        let protocol = Protocol { train: self.bags, test: VALIDATION_BAGS, seed, ..Protocol::digits() };
        let [images, _] = protocol.digits_pools()?;
        let [trained, unseen] = images.split(TRAINED_IMAGES, &mut Random::new(seed, IMAGES_STREAM))?;
        let set = protocol.bags(&trained, &unseen, "digits")?;
        let labels = set.bags.labels.as_ref().ok_or("drawn bags have labels")?;
        let mut parts = set.split.clone().ok_or("drawn bags are divided")?;
        let validation = split::indices(&parts, Split::Test);
        split::hold_out(&mut parts, labels, None, 0.2, seed)?;
        let [training, choosing] = [Split::Train, Split::Validation].map(|part| split::indices(&parts, part));

        let settings = serde_json::json!({ "embed": self.embed, "attention": self.attention, "dropout": self.dropout });
        let method = Method::named("gated-attention")?.with(settings.as_object().ok_or("an object")?)?;
        let how = Settings {
            epochs: self.epochs,
            learning_rate: self.rate,
            optimiser: Optimiser::adam(self.decay),
            schedule: Schedule::CosineEpochs { floor: 0.0 },
            seed,
            ..Settings::for_method(&method)
        };
        let classes = set.bags.class_names.clone();
        let model = Model::new(Spec { method, width: set.bags.width, classes, multi_label: false }, seed)?;
        let device = Device::host();
        let outcome = train(&device, model, &how, &set.bags, &training, &choosing, &mut ())?;
        let mut session = Session::new(&device, outcome.model, Storage::F32)?;
        let truth: Vec<u32> = validation.iter().map(|&bag| labels[bag]).collect();
        Ok(predict(&mut session, &set.bags, &validation, None)?.measure(&truth)?)
    }

    /// The row of the table.
    fn row(&self, seeds: u64) -> Result<String, Box<dyn Error>> {
        let clock = Instant::now();
        let scores: Vec<Scores> =
            (FIRST_SEED..FIRST_SEED + seeds).map(|seed| self.scores(seed)).collect::<Result<_, _>>()?;
        let seconds = clock.elapsed().as_secs_f64() / seeds as f64;
        let all = |of: fn(&Scores) -> Option<f64>| -> Result<Vec<f64>, &str> {
            scores.iter().map(of).collect::<Option<_>>().ok_or("balanced bags have every score")
        };
        let (aucs, losses) = (all(|s| s.auc)?, all(|s| s.log_loss)?);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let (at, worst) = aucs.iter().enumerate().fold((0, 1.0), |w, (at, &auc)| if auc < w.1 { (at, auc) } else { w });
        let Self { bags, epochs, embed, attention, dropout, rate, decay } = self;
        Ok(format!(
            "| {bags} x {epochs} | {embed:?} | {attention} | {dropout} | {rate:e} | {decay:e} | {:.4} | {worst:.4} ({}) | {:.4} | {seconds:.1} |",
            mean(&aucs),
            FIRST_SEED + at as u64,
            mean(&losses)
        ))
    }
}

/// The table of `recipes`, a row as soon as it is known.
fn table(recipes: &[Recipe], seeds: u64) -> Result<(), Box<dyn Error>> {
    println!("| bags x epochs | embed | attention | dropout | rate | decay | mean AUC | worst (seed) | log loss | s |");
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    for recipe in recipes {
        println!("{}", recipe.row(seeds)?);
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    match std::env::args().nth(1).as_deref() {
        None => table(&SCREENED, 10).and_then(|()| table(&FINALISTS, 20)),
        Some("screen") => table(&SCREENED, 10),
        Some("final") => table(&FINALISTS, 20),
        Some(other) => Err(format!("expected screen, final, or nothing for both; found {other}").into()),
    }
}
