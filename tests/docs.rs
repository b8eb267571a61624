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

#[test]
fn every_kernel_has_a_row_with_its_bindings() {
    let page = read("docs/kernels.md");
    let rows: Vec<&str> = page.lines().filter(|l| l.starts_with("| `")).collect();
    let kernels = kernels::all();
    assert_eq!(rows.len(), kernels.len(), "rows and kernels");
    for kernel in kernels {
        let head = format!("| `{}` |", kernel.name);
        let row = rows.iter().find(|r| r.starts_with(&head)).unwrap_or_else(|| panic!("no row for {}", kernel.name));
        let bindings: Vec<bool> = row.split('|').nth(3).unwrap().split(',').map(|b| b.trim().ends_with(" w")).collect();
        let declared: Vec<bool> = kernel.bindings.iter().map(|b| b.writes()).collect();
        assert_eq!(bindings, declared, "bindings of {}", kernel.name);
    }
}

#[test]
fn every_method_and_setting_is_described() {
    let page = read("docs/methods.md");
    for method in Method::all() {
        assert!(page.contains(&format!("`{}`", method.name())), "{}", method.name());
        for setting in method.info().parameters {
            assert!(page.contains(&format!("| `{}` |", setting.name)), "{} of {}", setting.name, method.name());
            assert!(!setting.help.is_empty(), "help for {} of {}", setting.name, method.name());
        }
    }
}

/// Lines without what depends on how far they are set in.
fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect()
}

#[test]
fn quoted_code_is_that_of_the_examples() {
    for (page, example) in
        [("docs/against-another-implementation.md", "examples/hold_against.rs"), ("README.md", "examples/embed.rs")]
    {
        let (page, example) = (read(page), read(example));
        let code = lines(&example);
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
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("ARCHITECTURE.md")];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().path());
    pages.extend(docs.filter(|p| p.extension().is_some_and(|e| e == "md")));
    for page in pages {
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
