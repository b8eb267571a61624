//! What the tree is made of: which room imports which, those of ARCHITECTURE.md in their order, from what knows nothing to
//! what people type; and which crates of others are in it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms from the lowest up; those of one line may import each other. A file or folder of `src` is named by its name.
const ROOMS: &[&[&str]] = &[
    &["error", "random", "printable", "precision", "fingerprint", "normal", "places", "quantile"],
    &["bounded", "files", "label_sets", "responses"],
    &["metrics"],
    &["bag", "columns", "features", "origin", "standardise", "target"],
    &["kernels"],
    &["tuning"],
    &["value"],
    &["planner"],
    &["ops"],
    &["tape", "groups", "masking", "objectives", "passes", "stages"],
    &["plan"],
    &["device"],
    &["methods"],
    &["model"],
    &["ensemble"],
    &["session"],
    &["kmeans", "class_match", "split", "fit"],
    &["training"],
    &["front"],
    &["onnx"],
    &["data"],
    &["foreign", "pretrain"],
    &["report"],
    &["heatmap"],
    &["reproduce", "bench"],
    &["study"],
    &["cli", "main", "lib", "engine"],
];

/// What a room never knows, though it lies above it (ARCHITECTURE.md).
const NEVER: &[(&str, &[&str])] = &[
    ("tape", &["files"]),
    ("planner", &["tuning"]),
    ("ops", &["files", "tuning"]),
    ("plan", &["files"]),
    ("device", &["bag", "features", "files"]),
    ("methods", &["device", "files"]),
    ("model", &["device"]),
    ("ensemble", &["device"]),
    ("session", &["files"]),
    ("kmeans", &["methods", "files"]),
    ("front", &["files"]),
    ("fit", &["methods", "bag", "features"]),
    ("metrics", &["bag", "features"]),
    ("onnx", &["device", "session", "plan", "planner", "bag", "features"]),
    ("data", &["device", "session", "model", "methods", "front"]),
    ("foreign", &["device", "session", "tape"]),
    ("report", &["device", "session", "kernels"]),
    ("heatmap", &["device", "session", "kernels", "data"]),
    ("cli", &["kernels"]),
];

/// Files and folders that may name wgpu: they are left out of builds without the feature `gpu`.
const WITH_WGPU: &[&str] = &["device/gpu.rs", "device/gpu/", "bench/statistics/vulkan.rs"];

fn rust_files(folder: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => rust_files(&path, all),
            false if path.extension().is_some_and(|e| e == "rs") => all.push(path),
            false => {}
        }
    }
}

/// The room of a file below `src`.
fn room(file: &Path) -> String {
    let first = file.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.strip_suffix(".rs").unwrap_or(&first).to_string()
}

fn height(room: &str) -> usize {
    ROOMS
        .iter()
        .position(|rooms| rooms.contains(&room))
        .unwrap_or_else(|| panic!("{room} has no place in tests/layers.rs"))
}

/// Names of rooms that code imports: what follows `crate::`, braces included; neither comments nor tests.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().split("#[cfg(test)]\n#[path").next().unwrap();
    let code: String = code.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
    let name = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut found = BTreeSet::new();
    // The program `bagrad` names the library by its name.
    let code = code.replace("bagrad::", "crate::");
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            // Of a list the outer names count.
            Some(list) => {
                let (mut depth, mut start) = (0, true);
                for (i, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' => start = true,
                        c if c.is_whitespace() => {}
                        _ if start && depth == 0 => {
                            found.insert(name(&list[i..]));
                            start = false;
                        }
                        _ => start = false,
                    }
                }
            }
            None => drop(found.insert(name(after))),
        }
    }
    let known = |n: &String| ROOMS.iter().any(|rooms| rooms.contains(&n.as_str()));
    found.into_iter().filter(known).collect()
}

#[test]
fn imports_are_read() {
    let text = "use crate::plan::{A, device};\nuse crate::{bag::B, error::{C, tape}, Bags};\n// crate::cli\n\
                fn f() { crate::session::g() }\n#[cfg(test)]\nmod tests { use crate::data::D; }\n";
    assert_eq!(imports(text).into_iter().collect::<Vec<_>>(), ["bag", "error", "plan", "session"]);
}

/// Every file of `src` but tests, with its path below and its text.
fn sources() -> Vec<(PathBuf, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.len() > 200, "only {} files", files.len());
    let is_test =
        |path: &PathBuf| path.file_stem().is_some_and(|n| n == "tests" || n.to_string_lossy().ends_with("_tests"));
    files.retain(|path| !is_test(path));
    let below = |path: &PathBuf| path.strip_prefix(&source).unwrap().to_path_buf();
    files.iter().map(|path| (below(path), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn no_room_imports_what_is_above_it() {
    let mut up = BTreeSet::new();
    for (file, text) in sources() {
        let own = room(&file);
        let higher = imports(&text).into_iter().filter(|other| height(other) > height(&own));
        up.extend(higher.map(|other| (file.to_string_lossy().replace('\\', "/"), other)));
    }
    assert!(up.is_empty(), "imports that go up, by file and room: {up:?}");
}

#[test]
fn rooms_do_not_know_what_they_never_know() {
    for (file, text) in sources() {
        let own = room(&file);
        let never = NEVER.iter().filter(|(room, _)| *room == own).flat_map(|(_, never)| *never);
        let found = imports(&text);
        let known: Vec<_> = never.filter(|n| found.contains(**n)).collect();
        assert!(known.is_empty(), "{} imports {known:?}", file.display());
        let wgpu = text.lines().any(|l| l.contains("wgpu::") && !l.trim_start().starts_with("//"));
        let path = file.to_string_lossy().replace('\\', "/");
        assert!(!wgpu || WITH_WGPU.iter().any(|part| path.starts_with(part)), "{path} names wgpu");
    }
}

/// What `cargo metadata` tells of each crate of others that is compiled here, for the library, the program or its tests.
fn crates_of_others() -> Vec<serde_json::Value> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(rustc).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Offline: what is compiled for this system is here, and for others it need not be.
    let told = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    let packages = told["packages"].as_array().unwrap().iter().filter(|package| !package["source"].is_null());
    let packages: Vec<_> = packages.cloned().collect();
    assert!(packages.len() > 50, "only {} crates", packages.len());
    packages
}

/// What deny.toml allows is what is there, also where cargo-deny, which reads the texts of licences too, is not installed.
#[test]
fn crates_of_others_come_from_the_registry_under_licences_that_are_allowed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let deny: toml::Table = std::fs::read_to_string(root.join("deny.toml")).unwrap().parse().unwrap();
    let allowed: Vec<spdx::Licensee> = deny["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| spdx::Licensee::parse(name.as_str().unwrap()).unwrap())
        .collect();
    let is_allowed = |expression: &str| {
        // Older crates write MIT/Apache-2.0.
        spdx::Expression::parse_mode(expression, spdx::ParseMode::LAX)
            .is_ok_and(|e| e.evaluate(|asked| allowed.iter().any(|one| one.satisfies(asked))))
    };
    assert!(is_allowed("MIT/Apache-2.0") && is_allowed("GPL-3.0-only OR Zlib") && !is_allowed("GPL-3.0-only AND MIT"));
    for package in crates_of_others() {
        let name = format!("{} {}", package["name"], package["version"]);
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} names no licence"));
        assert!(is_allowed(licence), "{name} is under {licence}, which deny.toml does not allow");
        let source = package["source"].as_str().unwrap();
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}");
    }
}
