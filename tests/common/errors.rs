//! The error of each kernel, for the table in `docs/errors.md`: with `BAGRAD_ERRORS=FILE` the GPU runs launches
//! one by one, and the file gets a line for each that is further off than those of its kernel before.

use bagrad::device::LaunchError;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("BAGRAD_ERRORS").map(PathBuf::from));
static LARGEST: LazyLock<Mutex<HashMap<&'static str, f64>>> = LazyLock::new(Mutex::default);

/// What a GPU is opened with: something only when the table is wanted.
pub fn audit() -> Option<fn(&LaunchError)> {
    FILE.as_ref().map(|_| note as fn(&LaunchError))
}

/// Where half of the last bit of what a launch read moves its result by more than this, sums cancel, and what is
/// left of them is rounding noise that says nothing of the kernel.
const NOISE: f64 = 1e-6;

fn note(launch: &LaunchError) {
    let (name, error) = (launch.kernel.name, launch.error);
    if launch.inherent > NOISE {
        return;
    }
    assert!(error.is_finite(), "{name}: indices differ from the twin's, or a number is not finite");
    let mut largest = LARGEST.lock().unwrap();
    if largest.get(name).is_none_or(|&before| error > before) {
        largest.insert(name, error);
        append(&format!("error\t{name}\t{error:.1e}\t{}\t{:.0e}", launch.binding, launch.inherent));
    }
}

fn append(line: &str) {
    let Some(path) = FILE.as_ref() else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.unwrap_or_else(|e| panic!("BAGRAD_ERRORS={}: {e}", path.display()));
    writeln!(file, "{line}").unwrap();
}
