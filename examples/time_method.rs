//! Times training steps of a method on one bag of random features, on the host.
//!
//! `cargo run --release --example time_method -- METHOD N D [STEPS [SETTINGS]]` prints a line of JSON with the
//! median and the least time of a step in milliseconds.

use bagrad::device::{Device, DeviceChoice};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::random::Random;
use bagrad::session::Session;
use bagrad::tape::Storage;
use bagrad::{Bags, Features};
use serde_json::json;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [method, n, d, rest @ ..] = &args[..] else { return Err("usage: time_method METHOD N D [STEPS]".into()) };
    let (n, d): (usize, usize) = (n.parse()?, d.parse()?);
    let steps: usize = rest.first().map_or(Ok(5), |s| s.parse())?;
    let settings = rest.get(1).map_or("{}", |s| s);
    let method = Method::named(method)?.with(&serde_json::from_str(settings)?)?;
    let recipe = method.recipe();
    let mut random = Random::new(3, 0);
    let features = Features::F32((0..n * d).map(|_| random.normal() as f32).collect());
    let bags = Bags::packed(features, d, &[n])?.with_labels(vec![1])?;
    let device = Device::open(&"host".parse::<DeviceChoice>()?)?.device;
    let mut session = Session::new(&device, Model::new(Spec::new(method, d, 2), 1)?, Storage::F32)?;
    session.executor().reserve_history(steps + 1)?;
    let mut times = Vec::new();
    for step in 0..=steps {
        let start = Instant::now();
        let update = (&recipe.optimiser, recipe.learning_rate);
        session.train_step(&bags, &[0], &[1.0], None, update, Some(step as u32))?;
        session.executor().history(step + 1)?;
        // The first one plans.
        if step > 0 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{}", json!({ "n": n, "d": d, "median_ms": times[times.len() / 2], "least_ms": times[0] }));
    Ok(())
}
