//! Studies: the same results however they are done, and what is refused before anything runs.

use crate::killed::{command, good, kill_and_resume};
use bagrad::random::Random;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Bags of two slides a patient, with a feature that tells the class and noise; of three instances each.
fn table(folder: &Path, patients: usize) -> PathBuf {
    let mut random = Random::new(5, 0);
    let mut text = "bag,patient,label,a,b,c,d\n".to_owned();
    for slide in 0..2 * patients {
        let label = ["benign", "tumour"][slide / 2 % 2];
        for instance in 0..3 {
            let key = if slide / 2 % 2 == 1 && instance == 0 { 2.0 } else { 0.0 };
            let values: Vec<String> =
                (0..4).map(|c| format!("{:.4}", random.normal() + if c == 0 { key } else { 0.0 })).collect();
            writeln!(text, "slide {slide},patient {},{label},{}", slide / 2, values.join(",")).unwrap();
        }
    }
    let path = folder.join("slides.csv");
    std::fs::write(&path, text).unwrap();
    path
}

fn words(text: &str, more: &[&str]) -> Vec<String> {
    text.split_whitespace().chain(more.iter().copied()).map(str::to_owned).collect()
}

fn slices(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Results without times.
fn results(folder: &Path) -> (serde_json::Value, String) {
    let mut all: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("results.json")).unwrap()).unwrap();
    all["methods"].as_array_mut().unwrap().iter_mut().for_each(|row| row["seconds"] = 0.into());
    (all, std::fs::read_to_string(folder.join("predictions.csv")).unwrap())
}

const STUDY: &str = "cross-validate --search gated-attention,embed=[16],attention=8,dropout=0:lr=[3e-3,1e-2] \
                     --method mi-net-bag,embed=[16],pool=mean --method ibmil,base.embed=[8],clusters=2 --folds 3 --repeats 2 \
                     --seeds 2 --epochs 8 --lr 0.003 --device host --quiet --checkpoint-every 3u --data";

#[test]
fn a_study_has_the_same_results_however_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let data = table(folder.path(), 15);
    let path = |name: &str| folder.path().join(name);
    let study = |out: &str, more: &[&str]| {
        let out = path(out).display().to_string();
        words(STUDY, &[&[data.to_str().unwrap(), "--out", &out], more].concat())
    };
    let time = good(&slices(&study("alone", &["--jobs", "1"])));
    let wanted = results(&path("alone"));
    let (found, predictions) = &wanted;
    assert_eq!((found["bags"].as_u64(), found["groups"].as_u64()), (Some(30), Some(15)));
    assert_eq!(
        (found["folds"].as_u64(), found["repeats"].as_u64(), found["seeds"].as_u64()),
        (Some(3), Some(2), Some(2))
    );
    // Three methods and three baselines.
    let methods = found["methods"].as_array().unwrap();
    assert_eq!((methods.len(), found["pairs"].as_array().unwrap().len()), (6, 15));
    for method in methods {
        let name = method["name"].as_str().unwrap();
        let is_baseline = name.starts_with("baseline: ");
        assert_eq!(method["against"].as_array().map_or(0, Vec::len), if is_baseline { 0 } else { 3 }, "{name}");
        if name == "baseline: class shares" {
            assert_eq!((method["value"].as_f64(), method["delong"].as_f64()), (Some(0.5), None));
        }
        let Some(search) = method.get("search") else { continue };
        let of = |at: usize| search["candidates"][at]["chosen"].as_u64().unwrap();
        assert_eq!((of(0) + of(1), search["fits"].as_array().unwrap().len()), (12, 12));
        assert_eq!(
            (name, &search["metric"]),
            ("gated-attention,embed=[16],attention=8,dropout=0:lr=[3e-3,1e-2]", &"log_loss".into())
        );
    }
    assert_eq!(methods.iter().filter(|method| method.get("search").is_some()).count(), 1);
    // Slides of a patient are no independent bags.
    assert_eq!((found.get("no_delong"), &found["clustered"]), (None, &true.into()));
    for row in methods {
        let [value, low, high] = [&row["value"], &row["delong"][0], &row["delong"][1]].map(|of| of.as_f64().unwrap());
        assert!(low <= value && value <= high, "{row}");
    }
    assert!(found["pairs"].as_array().unwrap().iter().all(|pair| pair["delong"]["p"].is_f64()));
    let tables =
        ["results.md", "results.tex", "results.html"].map(|name| std::fs::read_to_string(path("alone").join(name)));
    assert!(tables.iter().all(|text| text.as_ref().unwrap().contains(", Obuchowski")));
    for name in ["results.md", "results.csv", "results.tex", "results.html", "model-card.md"] {
        let text = std::fs::read_to_string(path("alone").join(name)).unwrap();
        assert!(text.contains("log-mean-exp pooling"), "{name}");
    }
    // Each bag once for every method, division and seed, and slides of a patient in one fold.
    assert_eq!(predictions.lines().count(), 1 + 30 * 6 * 2 * 2);
    let mut folds = std::collections::HashMap::new();
    for line in predictions.lines().skip(1).filter(|line| line.contains("mi-net-bag")) {
        let cells: Vec<&str> = line.split("\",").collect();
        let slide: usize = cells[0].split(',').next().unwrap().strip_prefix("slide ").unwrap().parse().unwrap();
        let place: Vec<&str> = cells[1].split(',').take(2).collect();
        let before = folds.insert((slide / 2, place[0].to_owned()), place[1].to_owned());
        assert!(before.is_none_or(|fold| fold == place[1]), "{line}");
    }

    // Side by side, and killed on the way.
    let killed = study("killed", &["--jobs", "3"]);
    let mut random = Random::new(23, 0);
    let kills = kill_and_resume(&slices(&killed), &slices(&killed), time, 12, &mut random);
    assert!(kills > 0 && results(&path("killed")) == wanted, "after {kills} kills");

    // Shared by two processes, one of them killed, and joined.
    let [one, two] = ["1/2", "2/2"].map(|part| study("shared", &["--shard", part]));
    let mut child = command(&slices(&one)).spawn().unwrap();
    let kills = kill_and_resume(&slices(&two), &slices(&two), time, 4, &mut random);
    assert!(child.wait().unwrap().success());
    assert!(!path("shared").join("results.json").exists(), "a part has no results");
    let join = words("--study", &[path("killed").join("study.toml").to_str().unwrap()]);
    let out = path("shared").display().to_string();
    let join = [words("cross-validate", &[]), join, words("--device host --quiet --json --out", &[&out])].concat();
    let output = command(&slices(&join)).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(results(&path("shared")) == wanted, "after {kills} kills");
    assert!(
        !path("shared").join("runs.jsonl").exists()
            || std::fs::read(path("shared").join("runs.jsonl")).unwrap().is_empty()
    );
    let hidden = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with('.');
    for name in ["alone", "killed", "shared"] {
        let left = std::fs::read_dir(path(name)).unwrap().map(Result::unwrap).filter(hidden).count();
        assert_eq!(left, 0, "{name}");
    }
}

#[test]
fn divisions_keep_sites_whole_or_draw_test_bags_anew() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(table(folder.path(), 20)).unwrap();
    // Five sites of four patients each, and every bag by itself.
    let lines = text.lines().enumerate().map(|(at, line)| {
        let (first, rest) = line.split_once(',').unwrap();
        let (_, rest) = rest.split_once(',').unwrap();
        if at == 0 { format!("{first},site,{rest}\n") } else { format!("{first},S{},{rest}\n", (at - 1) / 24) }
    });
    let data = folder.path().join("sites.csv");
    std::fs::write(&data, lines.collect::<String>()).unwrap();
    let packed = folder.path().join("sites.bags");
    good(&["pack", data.to_str().unwrap(), "--out", packed.to_str().unwrap(), "--quiet"]);
    let of = |data: &Path, division: &str, more: &str| {
        let out = folder.path().join(format!("{}-{}", data.extension().unwrap().display(), division.replace(':', "-")));
        let base = "cross-validate --method attention,embed=[8] --epochs 2 --no-baselines --device host --quiet";
        let args =
            words(base, &["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap(), "--folds", division]);
        good(&slices(&[args, words(more, &[])].concat()));
        results(&out)
    };
    let run = |division: &str, more: &str| of(&data, division, more);
    let site = |line: &str| line.split(['"', ' ', ',']).find_map(|word| word.parse::<usize>().ok()).unwrap() / 8;
    for (division, folds) in [("sites:3", 3), ("each-site", 5)] {
        let (found, predictions) = run(division, "");
        assert_eq!((&found["divided"], found["folds"].as_u64()), (&"by-site".into(), Some(folds)), "{division}");
        assert_eq!(found["sites"].as_u64(), Some(5));
        let delong = found["methods"][0]["delong"].as_array().unwrap();
        assert!(delong[0].as_f64().unwrap() < found["methods"][0]["value"].as_f64().unwrap());
        assert_eq!(found["clustered"], false);
        let mut fold_of = std::collections::HashMap::new();
        for line in predictions.lines().skip(1) {
            let fold = line.split("\",").nth(1).unwrap().split(',').nth(1).unwrap().to_owned();
            let before = fold_of.insert(site(line), fold.clone());
            assert!(before.is_none_or(|before| before == fold), "{division}: {line}");
        }
        assert_eq!(fold_of.values().collect::<std::collections::HashSet<_>>().len() as u64, folds);
        // A packed file knows the sites too.
        assert_eq!(of(&packed, division, "").1, predictions, "{division}");
    }
    let (found, predictions) = run("monte-carlo:4:0.25", "--seeds 2");
    assert_eq!((&found["divided"], found["repeats"].as_u64()), (&"monte-carlo".into(), Some(4)));
    assert_eq!(predictions.lines().count(), 1 + 4 * 2 * 10);
    assert!(found["no_delong"].as_str().unwrap().contains("divisions test different bags"));
    assert_eq!(found["methods"][0]["of_fits"].as_array().unwrap().len(), 8);
    // A study's file has its division.
    let file = std::fs::read_to_string(folder.path().join("csv-monte-carlo-4-0.25").join("study.toml")).unwrap();
    assert!(file.contains("folds = \"monte-carlo:4:0.25\"") && file.contains("baselines = false"), "{file}");
}

#[test]
fn what_would_flatter_results_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = table(folder.path(), 8);
    let out = folder.path().join("out");
    let refused = |data: &Path, more: &str| {
        let base = "cross-validate --method attention,embed=[8] --epochs 1 --device host --quiet";
        let args = words(base, &["--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        let args = [args, words(more, &[])].concat();
        let output = command(&slices(&args)).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{more}: {told}");
        told
    };
    // A slide under another name, of another patient.
    let text = std::fs::read_to_string(&data).unwrap();
    let twice: String = text.lines().filter(|l| l.starts_with("slide 3,")).map(|l| format!("{l}\n")).collect();
    let twice = twice.replace("slide 3,patient 1", "copy,patient 99");
    let copied = folder.path().join("copied.csv");
    std::fs::write(&copied, format!("{text}{twice}")).unwrap();
    // Where both are in one fold by chance a wrong rate ends it.
    let told = (1..12).map(|seed| refused(&copied, &format!("--split-seed {seed} --folds 4 --lr 0")));
    let all: Vec<String> = told.collect();
    let told: Vec<&String> = all.iter().filter(|told| told.contains("the same features")).collect();
    assert!((3..11).contains(&told.len()) && told[0].contains("'slide 3' and 'copy'"), "{all:?}");

    assert!(refused(&data, "--method attention,embed=[8]").contains("is there twice"));
    assert!(refused(&data, "--patience 3 --validation 0").contains("--patience needs validation bags"));
    assert!(refused(&data, "--method no-such").contains("--method no-such"));
    assert!(refused(&data, "--search dsmil:lr=[1e-3,1e-2] --validation 0").contains("--search needs validation bags"));
    assert!(refused(&data, "--trials 3").contains("--trials is of the candidates of --search"));
    assert!(refused(&data, "--halving").contains("--halving is of the candidates of --search"));
    assert!(refused(&data, "--folds sites:3").contains("a column 'site' of the labels"));
    assert!(refused(&data, "--folds each-site --tcga-sites").contains("is no barcode of TCGA"));
    assert!(refused(&data, "--folds monte-carlo:3 --repeats 2").contains("has its own number of divisions"));
    let told = refused(&data, "--folds 9");
    assert!(told.contains("8 groups of bags cannot be divided into 9 parts"), "{told}");
    assert!(refused(&data, "--splits parts.csv").contains("one division"));
    assert!(refused(&data, "--shard 3/2").contains("I/N"));

    // Nothing of a user is written over, and no two processes do the same.
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("results.md"), "mine").unwrap();
    assert!(refused(&data, "").contains("results.md"));
    assert_eq!(std::fs::read_to_string(out.join("results.md")).unwrap(), "mine");
    std::fs::remove_file(out.join("results.md")).unwrap();
    let held = std::fs::File::create(out.join("runs.jsonl")).unwrap();
    held.lock().unwrap();
    assert!(refused(&data, "").contains("another process does these runs"));
}
