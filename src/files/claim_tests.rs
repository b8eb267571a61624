use super::*;
use std::cell::Cell;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with two files that say the same, so that a mixture shows.
fn fill(path: &Path, text: &str, force: bool) -> Result<()> {
    let claim = Claim::folder(path, force, &[])?;
    for name in ["a", "b"] {
        fs::write(claim.staging().join(name), text).unwrap();
    }
    claim.commit()
}

fn epochs(text: &str) -> String {
    format!("{{\"epoch\": 0, \"loss\": 1.0, \"text\": \"{text}\"}}\n")
}

/// A page and its list of epochs.
fn pair(folder: &Path, text: &str, force: bool) -> Result<()> {
    let (page, list) = (folder.join("p.html"), folder.join("p.jsonl"));
    let claim = Claim::files(&[(&page, Kind::Page), (&list, Kind::Epochs)], force, &[])?;
    fs::write(claim.staging().join("p.html"), format!("{} {text}", crate::files::GENERATOR)).unwrap();
    fs::write(claim.staging().join("p.jsonl"), epochs(text)).unwrap();
    claim.commit()
}

fn refusal(done: Result<impl std::fmt::Debug>) -> String {
    done.unwrap_err().to_string()
}

#[test]
fn a_folder_appears_whole_and_is_replaced_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("runs/deep/run");
    fill(&run, "one", false).unwrap();
    assert_eq!(names(&run), [".bagrad.json", "a", "b"]);
    assert_eq!(names(run.parent().unwrap()), ["run"]);
    assert!(refusal(fill(&run, "two", false)).contains("--force"));
    assert_eq!(fs::read_to_string(run.join("a")).unwrap(), "one");
    fill(&run, "two", true).unwrap();
    assert_eq!(fs::read_to_string(run.join("b")).unwrap(), "two");
    assert_eq!(names(run.parent().unwrap()), ["run"]);
    // An empty folder is nobody's.
    fs::create_dir(dir.path().join("empty")).unwrap();
    fill(&dir.path().join("empty"), "one", false).unwrap();
}

#[test]
fn what_others_wrote_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fill(&run, "one", false).unwrap();
    fs::write(run.join("notes.txt"), "mine").unwrap();
    let message = refusal(fill(&run, "two", true));
    assert!(message.contains("notes.txt") && message.contains("bagrad did not write"), "{message}");
    // A name is no marker.
    let other = dir.path().join("project");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.toml"), "x").unwrap();
    assert!(refusal(fill(&other, "two", true)).contains("not one that bagrad wrote"));
    // A folder where a listed file was is somebody's folder.
    fs::remove_file(run.join("notes.txt")).unwrap();
    fs::remove_file(run.join("a")).unwrap();
    fs::create_dir(run.join("a")).unwrap();
    assert!(refusal(fill(&run, "two", true)).contains("has a,"));
    for (name, kind) in [("m.safetensors", Kind::Model), ("p.html", Kind::Page), ("t.csv", Kind::Table)] {
        let file = dir.path().join(name);
        fs::write(&file, "mine").unwrap();
        let message = refusal(Claim::files(&[(&file, kind)], true, &[]));
        assert!(message.contains(name) && message.contains("that bagrad wrote"), "{message}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }
    assert_eq!(names(dir.path()), ["m.safetensors", "p.html", "project", "run", "t.csv"]);
}

#[test]
fn places_that_cannot_be_filled_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(refusal(fill(&file, "x", true)).contains("a file stands there"));
    assert!(refusal(fill(&file.join("below"), "x", true)).contains("file"));
    assert!(refusal(Claim::files(&[(dir.path(), Kind::Page)], true, &[])).contains("a folder stands there"));
    assert!(refusal(fill(Path::new("/"), "x", true)).contains("ends in a name"));
    assert!(refusal(fill(&dir.path().join("n".repeat(250)), "x", true)).contains("nnn"));
    assert_eq!(names(dir.path()), ["file"]);
    // Folders that were made for a claim go with it.
    drop(Claim::folder(&dir.path().join("x/y/z"), false, &[]).unwrap());
    assert_eq!(names(dir.path()), ["file"]);
    #[cfg(unix)]
    {
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        assert!(refusal(fill(&link, "x", true)).contains("symbolic link"));
        assert!(refusal(Claim::files(&[(&link, Kind::Page)], true, &[])).contains("symbolic link"));
        let full = Path::new("/dev/full");
        assert!(!full.exists() || refusal(Claim::files(&[(full, Kind::Table)], true, &[])).contains("/dev/full"));
    }
}

#[test]
fn inputs_are_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    fill(&run, "one", false).unwrap();
    for input in [run.clone(), run.join("a"), dir.path().join("./run/../run/b")] {
        let message = refusal(Claim::folder(&run, true, &[Path::new("digits-bags"), &input]));
        assert!(message.contains("this call reads"), "{message}");
    }
    Claim::folder(&run, true, &[&dir.path().join("absent")]).unwrap();
}

#[test]
fn the_second_of_two_runs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let first = Claim::folder(&run, false, &[]).unwrap();
    for force in [false, true] {
        let message = refusal(Claim::folder(&run, force, &[]));
        assert!(message.contains("another run") && message.contains(&std::process::id().to_string()), "{message}");
    }
    // What the first has written so far is its own.
    fs::write(first.staging().join("a"), "first").unwrap();
    recover(&run).unwrap();
    first.commit().unwrap();
    assert_eq!(names(&run), [".bagrad.json", "a"]);
    assert_eq!(names(dir.path()), ["run"]);
}

#[test]
fn a_file_and_its_companion_appear_together() {
    let dir = tempfile::tempdir().unwrap();
    pair(dir.path(), "one", false).unwrap();
    assert!(refusal(pair(dir.path(), "two", false)).contains("--force"));
    pair(dir.path(), "two", true).unwrap();
    assert_eq!(names(dir.path()), ["p.html", "p.jsonl"]);
    assert_eq!(fs::read_to_string(dir.path().join("p.jsonl")).unwrap(), epochs("two"));
    // A companion of somebody else's is as good a reason as the file itself.
    fs::write(dir.path().join("p.jsonl"), "mine").unwrap();
    assert!(refusal(pair(dir.path(), "three", true)).contains("p.jsonl"));
}

/// What a process that dies would do no more.
#[derive(Clone, Copy, Default)]
struct Fate {
    /// Changes of a name so far.
    steps: u32,
    /// The change that is not done any more.
    dies_at: Option<u32>,
    no_exchange: bool,
}

thread_local! {
    static FATE: Cell<Fate> = const { Cell::new(Fate { steps: 0, dies_at: None, no_exchange: false }) };
}

/// Fails from the n-th change on, in destructors too: to the disk, a process that was killed there.
pub(super) fn step() -> io::Result<()> {
    let mut fate = FATE.get();
    fate.steps += 1;
    FATE.set(fate);
    match fate.dies_at.is_some_and(|n| fate.steps >= n) {
        true => Err(io::Error::other("killed")),
        false => Ok(()),
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
pub(super) fn may_exchange() -> io::Result<()> {
    if FATE.get().no_exchange { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) }
}

/// A run ends before its n-th change of a name, for every n; what is there afterwards is the old or the new, never both
/// or neither, and the next call finds a clean place.
fn killed_anywhere(pairs: bool, replaces: bool, exchanges: bool) {
    let state = |dir: &Path| {
        let (a, b) =
            if pairs { (dir.join("p.html"), dir.join("p.jsonl")) } else { (dir.join("run/a"), dir.join("run/b")) };
        let read = |path: PathBuf| fs::read_to_string(path).ok();
        let (a, b) = (read(a), read(b));
        let which = |text: &Option<String>| text.as_ref().map(|t| t.contains("new"));
        assert_eq!(which(&a), which(&b), "halves of two runs: {a:?}, {b:?}");
        which(&a)
    };
    let put = |dir: &Path, text: &str| match pairs {
        true => pair(dir, text, true),
        false => fill(&dir.join("run"), text, true),
    };
    let (mut seen, mut last) = (Vec::new(), 0);
    for n in 1.. {
        assert!(n < 100, "a write has some twenty steps");
        let dir = tempfile::tempdir().unwrap();
        if replaces {
            put(dir.path(), "old").unwrap();
        }
        FATE.set(Fate { steps: 0, dies_at: Some(n), no_exchange: !exchanges });
        let finished = put(dir.path(), "new").is_ok() && FATE.get().steps < n;
        FATE.set(Fate::default());
        recover(&dir.path().join(if pairs { "p.html" } else { "run" })).unwrap();
        let found = state(dir.path());
        assert!(found.is_some() || !replaces, "step {n}: the old is gone and the new is not there");
        assert!(!finished || found == Some(true));
        seen.push(found);
        put(dir.path(), "newer").unwrap();
        let expected: &[&str] = if pairs { &["p.html", "p.jsonl"] } else { &["run"] };
        assert_eq!(names(dir.path()), expected, "after step {n}");
        if finished {
            last = n;
            break;
        }
    }
    assert!(last > 4, "{last} steps");
    let before = if replaces { Some(false) } else { None };
    let turn = seen.iter().position(|&s| s == Some(true)).expect("the last process finished");
    assert!(turn > 0 && seen[..turn].iter().all(|&s| s == before) && seen[turn..].iter().all(|&s| s == Some(true)));
}

#[test]
fn a_killed_run_leaves_a_new_folder_whole_or_absent() {
    killed_anywhere(false, false, true);
}

#[test]
fn a_killed_run_leaves_the_old_folder_or_the_new() {
    killed_anywhere(false, true, true);
    killed_anywhere(false, true, false);
}

#[test]
fn a_killed_run_leaves_both_files_of_a_pair_or_neither() {
    killed_anywhere(true, false, true);
    killed_anywhere(true, true, true);
}
