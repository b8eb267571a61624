//! `bagrad devices`: what this machine can compute on.

use super::{answer, answer_json, tuning};
use anyhow::Result;
use bagrad::device::{self, AdapterReport, Device, DeviceChoice, HostReport};
use serde_json::json;

/// Arguments of `bagrad devices`.
#[derive(clap::Args)]
pub struct Args {
    /// Print a JSON object: `adapters`, `host`, `chosen`, `why` and `tuned`
    #[arg(long)]
    json: bool,
}

/// Lists the adapters and the host, and what would be used.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let (mut adapters, host) = device::list();
    adapters.iter_mut().for_each(AdapterReport::examine);
    // A wrong BAGRAD_DEVICE must not hide the list, which is what would help.
    let (chosen, why, tuned) = match DeviceChoice::from_env().and_then(|choice| Device::open(&choice)) {
        Ok(opened) => (Some(opened.device.description()), opened.why, tuning::of_device(&opened.device)),
        Err(e) => (None, e.to_string(), None),
    };
    if args.json {
        return answer_json(
            &json!({ "adapters": adapters, "host": host, "chosen": chosen, "why": why, "tuned": tuned }),
        );
    }
    let mut text: String = adapters.iter().map(adapter).collect();
    text += &host_text(&host);
    text += &match chosen {
        Some(chosen) => {
            let tuned = tuned.map_or(String::new(), |tuned| format!("{tuned}\n"));
            format!("\nused unless told otherwise: {chosen} ({why})\n{tuned}")
        }
        None => format!("\nnone is used: {why}\n"),
    };
    answer(&text)
}

fn adapter(a: &AdapterReport) -> String {
    let mut can = Vec::new();
    if a.f16 {
        can.push("f16".to_string());
    }
    if let Some((least, most)) = a.subgroups {
        can.push(if least == most {
            format!("subgroups of {most}")
        } else {
            format!("subgroups of {least} to {most}")
        });
    }
    let tiles = a.tiles.iter().filter(|t| t.usable);
    can.extend(tiles.map(|t| format!("tiles of {} ({} to {})", t.m, t.ab, t.cr)));
    let can = if can.is_empty() { "f32 only".to_string() } else { can.join(", ") };
    let found = [&a.kernels, &a.cooperative].into_iter().flatten();
    let found: String = found.map(|text| format!("       {text}\n")).collect();
    let lacking = if a.usable { "" } else { "  (cannot be used: it lacks immediates)" };
    format!(
        "gpu:{}  {} ({}, {}, {} {} {}){lacking}\n       {can}; buffers up to {}, bindings up to {}\n{found}",
        a.index,
        a.name,
        a.kind,
        a.backend,
        a.vendor,
        a.driver,
        a.driver_version,
        size(a.max_buffer),
        size(a.max_binding)
    )
}

fn host_text(h: &HostReport) -> String {
    let memory = h.memory.map_or(String::new(), |m| format!(", {}", size(m)));
    let name = h.name.as_deref().unwrap_or(std::env::consts::ARCH);
    format!("host   {name}\n       threads: {}, {}{memory}\n", h.threads, h.simd.join(" "))
}

fn size(bytes: u64) -> String {
    match bytes as f64 / (1u64 << 30) as f64 {
        gib if gib >= 1.0 => format!("{gib:.1} GiB"),
        gib => format!("{:.0} MiB", gib * 1024.0),
    }
}
