//! The pages in `docs/` against the code: every kernel, method and setting has its place, quoted code is that
//! of the examples, and links lead somewhere.

use bagrad::kernels;
use bagrad::methods::Method;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Pages in a folder, by name.
fn pages(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path());
    let mut pages: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "md")).collect();
    pages.sort();
    pages
}

#[test]
fn every_kernel_has_a_row_with_its_bindings() {
    let index = read("docs/kernels.md");
    let pages = pages("docs/kernels");
    for page in &pages {
        let link = format!("(kernels/{})", page.file_name().unwrap().to_str().unwrap());
        assert!(index.contains(&link), "docs/kernels.md does not lead to {link}");
    }
    let text: String = pages.iter().map(read).collect();
    let rows: Vec<&str> = text.lines().filter(|l| l.starts_with("| `")).collect();
    let kernels = kernels::all();
    assert_eq!(rows.len(), kernels.len(), "rows and kernels");
    for kernel in kernels {
        let head = format!("| `{}` |", kernel.name);
        let row = rows.iter().find(|r| r.starts_with(&head)).unwrap_or_else(|| panic!("no row for {}", kernel.name));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 7, "cells of {}", kernel.name);
        for (cell, column) in cells[1..6].iter().zip(["kernel", "computes", "bindings", "FLOPs", "bytes"]) {
            assert!(!cell.is_empty(), "{} has nothing under {column}", kernel.name);
        }
        let bindings: Vec<&str> = cells[3].split(',').map(str::trim).collect();
        let writes: Vec<bool> = bindings.iter().map(|b| b.ends_with(" w")).collect();
        let declared: Vec<bool> = kernel.bindings.iter().map(|b| b.writes()).collect();
        assert_eq!(writes, declared, "bindings of {}", kernel.name);
        let named = |b: &&str| b.len() > 2 && b.starts_with(char::is_alphabetic);
        assert!(bindings.iter().all(named), "bindings of {} have no names", kernel.name);
        let sizes = |cell: &str| cell.chars().any(|c| c.is_ascii_digit() || c.is_ascii_uppercase()) || cell == "n";
        assert!(sizes(cells[4]) && sizes(cells[5]), "no formula for {}", kernel.name);
    }
}

/// The table that `tests/drivers --table` writes, on more drivers than a machine has by itself.
#[test]
#[ignore = "tests/drivers looks, which has the drivers to write the table anew"]
fn every_kernel_has_its_error_on_several_drivers() {
    let table = read("docs/errors.md");
    for kernel in kernels::all() {
        let head = format!("| `{}` |", kernel.name);
        let row = table.lines().find(|l| l.starts_with(&head));
        let row = row.unwrap_or_else(|| panic!("docs/errors.md lacks {}; run tests/drivers --table", kernel.name));
        assert!(row.split('|').filter(|c| !c.trim().is_empty()).count() > 2, "{row}: more than one driver");
    }
}

#[test]
fn every_method_and_setting_is_described() {
    let index = read("docs/methods.md");
    let pages = pages("docs/methods");
    for page in &pages {
        let link = format!("(methods/{})", page.file_name().unwrap().to_str().unwrap());
        assert!(index.contains(&link), "docs/methods.md does not lead to {link}");
    }
    for method in Method::all() {
        let name = format!("`{}`", method.name());
        assert!(index.contains(&name), "docs/methods.md does not name {name}");
        let page = pages.iter().map(read).find(|p| p.lines().next().is_some_and(|title| title.contains(&name)));
        let mut page = page.unwrap_or_else(|| panic!("no page in docs/methods has {name} in its title"));
        // Settings that two families share are told once, on a page that the other leads to.
        let leads_to = |other: &&PathBuf| page.contains(&format!("({})", other.file_name().unwrap().to_str().unwrap()));
        page += &pages.iter().filter(leads_to).map(read).collect::<String>();
        for setting in method.info().parameters {
            assert!(page.contains(&format!("| `{}` |", setting.name)), "{} of {}", setting.name, method.name());
            assert!(!setting.help.is_empty(), "help for {} of {}", setting.name, method.name());
        }
    }
}

/// Pages of results are those of the command; nobody edits them.
#[test]
#[cfg(feature = "cli")]
fn every_experiment_has_a_line_and_its_page_is_that_of_its_figures() {
    let index = read("docs/experiments.md");
    for experiment in bagrad::reproduce::all() {
        assert!(index.contains(&format!("`{}`", experiment.name)), "{} is not in docs/experiments.md", experiment.name);
    }
    for page in pages("docs/experiments") {
        let table = std::fs::read_to_string(page.with_extension("json")).unwrap();
        let table: bagrad::reproduce::table::Table = serde_json::from_str(&table).unwrap();
        assert_eq!(table.markdown(), read(&page), "{}", page.display());
        let link = format!("(experiments/{}.md)", table.experiment);
        assert!(index.contains(&link), "docs/experiments.md does not lead to {link}");
    }
}

/// What CONTRIBUTING.md names is there: `foo` is the new thing, and every other path a file or folder.
#[test]
fn contributing_names_files_that_exist() {
    let page = read("CONTRIBUTING.md");
    let places = ["src/", "tests/", "shaders/", "docs/", "fuzz/", "tools/"];
    let quoted = page.split('`').skip(1).step_by(2).filter(|q| places.iter().any(|place| q.starts_with(place)));
    let (mut named, mut new) = (0, 0);
    for path in quoted.filter_map(|q| q.split_whitespace().next()) {
        if path.rsplit('/').next().unwrap().starts_with("foo") {
            let folder = root().join(path).parent().unwrap().to_path_buf();
            assert!(folder.is_dir(), "{path}: no such folder");
            new += 1;
        } else {
            assert!(root().join(path).exists(), "CONTRIBUTING.md names {path}");
            named += 1;
        }
    }
    assert!(named > 30 && new > 8, "{named} files and {new} new ones");
}

/// Lines without what depends on how far they are set in.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect()
}

#[test]
fn quoted_code_is_that_of_the_examples() {
    let of_readme: &[&str] = &["examples/embed.rs", "examples/own_method.rs"];
    for (page, examples) in
        [("docs/against-another-implementation.md", &["examples/hold_against.rs"][..]), ("README.md", of_readme)]
    {
        let page = read(page);
        let examples: String = examples.iter().map(|example| read(example) + "\n").collect();
        let code = lines(&examples);
        let mut quoted = 0;
        for block in page.split("```rust\n").skip(1) {
            let block = lines(block.split("```").next().unwrap());
            let found = code.windows(block.len()).any(|w| w == block);
            assert!(found, "not in the example:\n{}", block.join("\n"));
            quoted += 1;
        }
        assert!(quoted > 0);
    }
}

#[test]
fn links_lead_somewhere() {
    let mut all = vec![PathBuf::from("README.md"), PathBuf::from("ARCHITECTURE.md")];
    all.extend(["docs", "docs/experiments", "docs/kernels", "docs/methods"].map(pages).concat());
    for page in all {
        let text = read(&page);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.starts_with("https://") || link.starts_with('#') {
                continue;
            }
            let target = root().join(&page).parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}

/// What a measure is held against is told of every one that there is.
#[test]
fn every_metric_is_held_against_something() {
    let text = read("docs/cross-validation.md");
    let told = text.split("## What each measure is held against").nth(1).unwrap().split("\n## ").next().unwrap();
    let source = read("src/metrics.rs");
    let lists = source.split("\npub use ").skip(1).map(|of| of.split(';').next().unwrap().split_once("::").unwrap().1);
    let names: Vec<&str> = lists.flat_map(|of| of.split(['{', '}', ',', '\n'])).map(str::trim).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        assert!(told.contains(&format!("`{name}`")), "{name} is in no line of docs/cross-validation.md");
    }
}

/// Much is asserted in debug builds alone, which a release build of the tests would pass by.
#[test]
fn tests_are_built_with_assertions() {
    if !cfg!(debug_assertions) {
        panic!("assertions are off in this build: cargo test --profile checked");
    }
    for script in ["tests/run", "tests/drivers"] {
        let text = read(script);
        assert!(text.contains("cargo test --profile checked") && !text.contains("cargo test --release"), "{script}");
    }
}
