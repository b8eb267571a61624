//! `bagrad bench --device all`: every adapter and the host, one after the other.

use super::keep::Keep;
use super::{Args, measure};
use crate::cli::args::Where;
use crate::cli::{note, open_device};
use anyhow::{Result, bail};
use bagrad::device::{AdapterReport, DeviceChoice, list};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Whether all devices are asked for.
pub fn is_asked(place: &Where) -> bool {
    matches!(&place.device, Some(DeviceChoice::Name(name)) if name.eq_ignore_ascii_case("all"))
}

/// Measures on each device what `args` ask for; what cannot be opened is told and left out.
///
/// # Errors
/// Files that cannot be written; at the end, where a device failed in what was asked, or none was left.
pub fn run(args: &Args) -> Result<()> {
    if args.tune || args.out.is_some() || args.against.is_some() {
        bail!("--tune, --out and --against are for one device; name it with --device");
    }
    let quiet = args.prints_json();
    let only_wgsl = args.own.shader.is_some() || args.ladder.ladder.is_some() || args.statistics;
    let (choices, left_out) = choose(&list().0, only_wgsl);
    left_out.iter().for_each(|why| note(quiet, why));
    // All files are claimed before the first device is measured.
    let claim = |choice| Keep::of(args, |path| of_device(path, choice));
    let keeps = choices.iter().map(claim).collect::<Result<Vec<Keep>>>()?;
    let (mut measured, mut failed) = (0, Vec::new());
    for (choice, keep) in choices.iter().zip(keeps) {
        let place = Where { device: Some(choice.clone()), ..args.place.clone() };
        let device = match open_device(&place, None, quiet) {
            Ok((device, _)) => device,
            Err(error) => {
                note(quiet, format!("{choice} is left out: {error:#}"));
                continue;
            }
        };
        measured += 1;
        if let Err(error) = measure(args, &device, keep, Instant::now()) {
            failed.push(format!("{choice}: {error:#}"));
        }
    }
    match (measured, failed.is_empty()) {
        (0, _) => bail!("there is no device that this can be measured on; `bagrad devices` lists all"),
        (_, true) => Ok(()),
        (count, false) => bail!("{} of {count} devices failed:\n{}", failed.len(), failed.join("\n")),
    }
}

/// What is measured, and why others are left out. An adapter is there twice where two back ends or drivers list it: the
/// first of them, which `gpu` would take, is measured. Two equal cards have one back end, and are two.
fn choose(adapters: &[AdapterReport], only_wgsl: bool) -> (Vec<DeviceChoice>, Vec<String>) {
    let (mut choices, mut left_out) = (Vec::new(), Vec::new());
    for (n, a) in adapters.iter().enumerate() {
        let same = |b: &&AdapterReport| (&b.name, &b.vendor, b.kind) == (&a.name, &a.vendor, a.kind) && b.usable;
        let by_another = |b: &&AdapterReport| (&b.backend, &b.driver) != (&a.backend, &a.driver);
        let twin = adapters[..n].iter().filter(same).find(by_another);
        let described = format!("gpu:{} ({}, {})", a.index, a.name, a.backend);
        match (a.usable, twin) {
            (false, _) => left_out.push(format!("{described} is left out: it lacks what every kernel needs")),
            (true, Some(b)) => {
                left_out.push(format!("{described} is left out: it is gpu:{} by another way ({})", b.index, b.backend));
            }
            (true, None) => choices.push(DeviceChoice::Index(a.index)),
        }
    }
    match only_wgsl {
        true => left_out.push("the host is left out: it runs no WGSL".to_owned()),
        false => choices.push(DeviceChoice::Host),
    }
    (choices, left_out)
}

/// `run.json` of a device: `run-gpu0.json`, `run-host.json`.
fn of_device(path: &Path, choice: &DeviceChoice) -> PathBuf {
    let device = choice.to_string().replace(':', "");
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{device}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{device}"),
    };
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bagrad::device::Kind;

    fn adapter(index: usize, name: &str, backend: &str, usable: bool) -> AdapterReport {
        AdapterReport {
            index,
            name: name.into(),
            vendor: "0x10de".into(),
            driver: backend.into(),
            driver_version: "1".into(),
            backend: backend.into(),
            kind: Kind::Discrete,
            usable,
            f16: true,
            subgroups: None,
            tiles: Vec::new(),
            max_buffer: 0,
            max_binding: 0,
            workgroup_memory: 0,
            timestamps: true,
            kernels: None,
            check_ms: None,
            cooperative: None,
        }
    }

    #[test]
    fn an_adapter_by_two_ways_is_measured_once_and_two_equal_cards_are_two() {
        let all = [
            adapter(0, "card", "vulkan", true),
            adapter(1, "card", "vulkan", true),
            adapter(2, "old", "vulkan", false),
            adapter(3, "card", "dx12", true),
            adapter(4, "old", "dx12", true),
        ];
        let (choices, left_out) = choose(&all, false);
        let names: Vec<String> = choices.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["gpu:0", "gpu:1", "gpu:4", "host"]);
        assert_eq!(left_out[0], "gpu:2 (old, vulkan) is left out: it lacks what every kernel needs");
        assert_eq!(left_out[1], "gpu:3 (card, dx12) is left out: it is gpu:0 by another way (vulkan)");
        let (choices, left_out) = choose(&all[..1], true);
        assert!(choices == [DeviceChoice::Index(0)] && left_out[0].contains("the host is left out"));
    }

    #[test]
    fn each_device_has_files_of_its_own() {
        let of = |path: &str, device: DeviceChoice| of_device(Path::new(path), &device).display().to_string();
        assert_eq!(of("a/run.json", DeviceChoice::Index(0)), "a/run-gpu0.json");
        assert_eq!(of("run", DeviceChoice::Host), "run-host");
    }
}
