//! `bagrad methods`: all methods with their settings.

use super::{answer, answer_json};
use anyhow::Result;
use bagrad::Target;
use bagrad::methods::{Level, Method};
use bagrad::target::Cox;

/// Arguments of `bagrad methods`.
#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// True for a method that learns what is no plain class (`--target`).
fn learns_more(method: &Method) -> bool {
    method.learns(&Target::Cox(Cox::default()), 0)
}

/// Lists the methods.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let methods = Method::all();
    if args.json {
        let line = |method: &Method| {
            let mut line = serde_json::to_value(method.info())?;
            line["other_targets"] = learns_more(method).into();
            Ok(line)
        };
        return answer_json(&methods.iter().map(line).collect::<Result<Vec<_>>>()?);
    }
    let mut text = String::new();
    for method in methods {
        let info = method.info();
        let level = match info.level {
            Level::Instance => "classifies instances, pools their scores",
            Level::Bag => "pools embeddings, classifies the bag",
        };
        let sets = if info.label_sets { "; takes several labels a bag, too" } else { "" };
        let more = if learns_more(&method) { "; learns numbers, survival and classes in an order, too" } else { "" };
        text += &format!("{}\n  {}: {level}{sets}{more}\n  {}\n", info.name, info.title, info.paper);
        for p in info.parameters {
            text += &format!("    --set {:<28} {}\n", format!("{}={}", p.name, p.default), p.help);
        }
        text.push('\n');
    }
    text += "The values are the defaults.\n";
    answer(&text)
}
