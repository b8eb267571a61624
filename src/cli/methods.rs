//! `bagrad methods`: all methods with their settings.

use super::{answer, answer_json};
use anyhow::Result;
use bagrad::methods::{Level, Method};

/// Arguments of `bagrad methods`.
#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON list
    #[arg(long)]
    json: bool,
}

/// Lists the methods.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let methods = Method::all();
    if args.json {
        return answer_json(&methods.iter().map(Method::info).collect::<Vec<_>>());
    }
    let mut text = String::new();
    for method in methods {
        let info = method.info();
        let level = match info.level {
            Level::Instance => "classifies instances, pools their scores",
            Level::Bag => "pools embeddings, classifies the bag",
        };
        let sets = if info.label_sets { "; takes several labels a bag, too" } else { "" };
        text += &format!("{}\n  {}: {level}{sets}\n  {}\n", info.name, info.title, info.paper);
        for p in info.parameters {
            text += &format!("    --set {:<28} {}\n", format!("{}={}", p.name, p.default), p.help);
        }
        text.push('\n');
    }
    text += "The values are the defaults.\n";
    answer(&text)
}
