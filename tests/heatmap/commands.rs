//! `bagrad heatmap`: its numbers are those of `predict`, and its files what they are meant to be.

use super::slides::cohort;
use super::{SMALL, floats, folder, good, json, names, refused, text, train};
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/slides").join(name)
}

/// A model of a few slides, with the folder and the table.
fn trained(at: &Path, method: &str) -> (PathBuf, PathBuf, PathBuf) {
    let (folder, table) = cohort(at);
    let run = at.join("run");
    let args = ["train", "--data", text(&folder), "--labels", text(&table), "--method", method, "--epochs", "2"];
    good(&[&args[..], &["--validation", "0.2", "--out", text(&run), "--quiet"]].concat());
    (folder, table, run)
}

/// Each line of a table by the names of its columns; no cell has a comma.
fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let all = fs::read_to_string(path).unwrap();
    let mut lines = all.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let head = lines.next().unwrap();
    lines.map(|line| head.iter().cloned().zip(line).collect()).collect()
}

/// Holds the numbers of each slide's table against those of `attention.csv`, as text; returns how many there were.
fn compare(maps: &Path, predicted: &Path) -> usize {
    let mut of_slide: HashMap<String, Vec<HashMap<String, String>>> = HashMap::new();
    for mut line in table(&predicted.join("attention.csv")) {
        of_slide.entry(line.remove("bag").unwrap()).or_default().push(line);
    }
    let mut compared = 0;
    for (slide, expected) in of_slide {
        let path = maps.join(format!("{slide}.csv"));
        if !path.exists() {
            continue;
        }
        let mut found = table(&path);
        assert_eq!(found.len(), expected.len(), "{slide}");
        for (found, expected) in found.iter_mut().zip(&expected) {
            found.retain(|name, _| !name.starts_with("percentile("));
            assert_eq!(found, expected, "{slide}");
            compared += 1;
        }
    }
    compared
}

#[test]
fn numbers_are_those_of_predict() {
    for method in ["gated-attention", "dsmil", "additive"] {
        let dir = tempfile::tempdir().unwrap();
        let (folder, labels, run) = trained(dir.path(), method);
        let [maps, predicted, packed] = ["maps", "predicted", "uni.bags"].map(|name| dir.path().join(name));
        let data = ["--model", text(&run), "--data", text(&folder)];
        good(&[&["predict"], &data[..], &["--out", text(&predicted), "--quiet"]].concat());
        let more = ["--labels", text(&labels), "--score", "all", "--max-side", "64", "--json"];
        let told = json(&[&["heatmap"], &data[..], &["--out", text(&maps)], &more].concat());
        assert_eq!(compare(&maps, &predicted), 42, "{method}");
        assert_eq!((told["slides"].as_array().unwrap().len(), told["patches"].as_u64()), (12, Some(42)));
        for slide in told["slides"].as_array().unwrap() {
            let files = slide["files"].as_array().unwrap();
            assert!(files.iter().all(|file| maps.join(file.as_str().unwrap()).is_file()), "{slide}");
            assert!(slide["probability"].as_f64().unwrap() <= 1.0 && slide["label"].is_string());
        }
        good(&["pack", text(&folder), "--out", text(&packed), "--quiet"]);
        let again = dir.path().join("again");
        good(&[
            "heatmap",
            "--model",
            text(&run),
            "--data",
            text(&packed),
            "--out",
            text(&again),
            "--quiet",
            "--max-side",
            "64",
        ]);
        assert_eq!(compare(&again, &predicted), 42);
        assert_eq!(fs::read(again.join("003.geojson")).unwrap(), fs::read(maps.join("003.geojson")).unwrap());
    }
}

/// Slides that are predicted with others in a batch are so when they are drawn alone.
#[test]
fn one_slide_of_many_has_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("cohort");
    ["features", "coords", "labels"].iter().for_each(|name| fs::create_dir_all(data.join(name)).unwrap());
    for slide in 0..6usize {
        let rows = 2500 + 300 * slide;
        let value = |n: usize| ((n * 7919 + slide * 104_729) % 1009) as f32 / 500.0 - 1.0 + (slide % 2) as f32;
        floats(&data.join(format!("features/s{slide}.npy")), 5, &(0..rows * 5).map(value).collect::<Vec<_>>());
        let place = |n: usize| if n.is_multiple_of(2) { (n / 2 % 60 * 256) as f32 } else { (n / 2 / 60 * 256) as f32 };
        floats(&data.join(format!("coords/s{slide}.npy")), 2, &(0..rows * 2).map(place).collect::<Vec<_>>());
        super::integers(&data.join(format!("labels/s{slide}.npy")), &[slide as i32 % 2]);
    }
    let [run, predicted, maps] = ["run", "predicted", "maps"].map(|name| dir.path().join(name));
    let few = ["--epochs", "1", "--test", "0.4", "--quiet"];
    good(&[&["train", "--data", text(&data), "--out", text(&run)], &SMALL[..6], &few].concat());
    good(&["predict", "--model", text(&run), "--data", text(&data), "--out", text(&predicted), "--quiet"]);
    let base = ["heatmap", "--model", text(&run), "--data", text(&data), "--out", text(&maps), "--max-side", "200"];
    let message = refused(&[&base[..], &["--only", "s1,s9"]].concat());
    assert!(message.contains("there is no slide 's9'; there are 6 such as s0, s1, s2"), "{message}");
    let list = dir.path().join("list.txt");
    fs::write(&list, "# the second of a batch, and the last\ns1.svs\n\ns5\n").unwrap();
    let told = json(&[&base[..], &["--only", text(&list), "--json"]].concat());
    assert_eq!(told["slides"].as_array().unwrap().len(), 2);
    assert_eq!(compare(&maps, &predicted), 2800 + 4000);
    assert!(!maps.join("s0.csv").exists());
    let regions: Value = serde_json::from_str(&fs::read_to_string(maps.join("s1.regions.geojson")).unwrap()).unwrap();
    let patches = |region: &Value| region["properties"]["measurements"]["patches"].as_f64().unwrap();
    let marked: f64 = regions["features"].as_array().unwrap().iter().map(patches).sum();
    assert!((270.0..=290.0).contains(&marked), "a tenth of 2800: {marked}");
}

#[test]
fn micrometres_become_pixels_when_their_size_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("slides.csv");
    fs::write(&table, "slide,label\ns0,a\ns1,b\ns2,a\n").unwrap();
    let [run, maps] = ["run", "maps"].map(|name| dir.path().join(name));
    let data = fixture("stamp");
    let args = ["train", "--data", text(&data), "--labels", text(&table), "--method", "attention", "--epochs", "1"];
    good(&[&args[..], &["--test", "0.34", "--out", text(&run), "--quiet"]].concat());
    let base = ["heatmap", "--model", text(&run), "--data", text(&data), "--out", text(&maps), "--max-side", "100"];
    let message = refused(&base);
    assert!(message.contains("--mpp") && message.contains("--no-geojson"), "{message}");
    assert!(!maps.exists());
    good(&[&base[..], &["--no-geojson", "--quiet"]].concat());
    assert!(!names(&maps).iter().any(|name| name.ends_with(".geojson")));
    good(&[&base[..], &["--mpp", "0.5", "--force", "--quiet"]].concat());
    let cells: Value = serde_json::from_str(&fs::read_to_string(maps.join("s0.geojson")).unwrap()).unwrap();
    // A patch of 256 micrometres at a row of 256: pixels of half a micrometre.
    let ring = &cells["features"][1]["geometry"]["coordinates"][0];
    assert_eq!((&ring[0], &ring[2]), (&serde_json::json!([512, 1024]), &serde_json::json!([1024, 1536])));
    for wrong in ["0", "-1", "nan"] {
        let flag = format!("--mpp={wrong}");
        assert!(refused(&[&base[..], &["--force", &flag]].concat()).contains("--mpp"));
    }
}

#[test]
fn names_that_lead_elsewhere_stay_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let run = dir.path().join("run");
    good(&train(text(&data), text(&run), &["--quiet"]));
    let mut called: Vec<String> = (0..40).map(|bag| format!("bag {bag}")).collect();
    let odd = ["../../up", "a/b", "A_b", "nul", "top", "..", "index", "é<b>"];
    odd.iter().enumerate().for_each(|(at, name)| called[at] = (*name).to_owned());
    fs::write(data.join("bag_names.txt"), called.join("\n") + "\n").unwrap();
    let maps = dir.path().join("maps");
    let base = ["heatmap", "--model", text(&run), "--data", text(&data), "--out", text(&maps), "--max-side", "32"];
    let told = json(&[&base[..], &["--json", "--top", "1"]].concat());
    assert_eq!(names(dir.path()), ["bags", "maps", "run"]);
    let all = names(&maps);
    // Four files of each slide, and three of the folder.
    assert_eq!(all.len(), 40 * 4 + 3, "{all:?}");
    assert!(all.iter().all(|name| !name.contains(['/', '\\'])) && all.contains(&"a_b.png".to_owned()));
    let lower: std::collections::BTreeSet<String> = all.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(lower.len(), all.len(), "no two names are one where cases are");
    assert_eq!(told["slides"][0]["slide"], "../../up");
    assert!(fs::read_to_string(maps.join("index.html")).unwrap().contains("é&lt;b&gt;"));
    assert_eq!(table(&maps.join("top.csv")).len(), 40);
    // What is there is replaced when that is asked for, and only what is bagrad's.
    assert!(refused(&base).contains("--force"));
    fs::write(maps.join("notes.txt"), "mine").unwrap();
    assert!(refused(&[&base[..], &["--force"]].concat()).contains("notes.txt"));
    fs::remove_file(maps.join("notes.txt")).unwrap();
    good(&[&base[..], &["--force", "--only", "top", "--quiet"]].concat());
    assert_eq!(names(&maps).len(), 4 + 3);
    assert!(refused(&[&base[..], &["--only", " , "]].concat()).contains("--force"));
}

#[test]
fn what_cannot_be_drawn_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let data = folder(dir.path(), "bags");
    let run = dir.path().join("run");
    good(&train(text(&data), text(&run), &["--quiet"]));
    let maps = dir.path().join("maps");
    let base = ["heatmap", "--model", text(&run), "--data", text(&data), "--out", text(&maps)];
    for (more, told) in [
        (&["--score", "saliency"][..], "it has 'score', 'attention'"),
        (&["--class", "maybe"], "the model has no class 'maybe'; it has 0, 1"),
        (&["--class", "0"], "of '0' alone; it has one for all classes"),
        (&["--max-side", "9"], "16 to 4096"),
        (&["--patch-size", "0"], "--patch-size: expected a length above 0"),
        (&["--over", "nowhere"], "nowhere"),
        (&["--only", "x"], "there is no slide 'x'"),
        (&["--range", "0:1", "--scale", "percentile"], "percentiles go from 0 to 100 of each slide"),
    ] {
        let message = refused(&[&base[..], more].concat());
        assert!(message.contains(told), "{more:?}: {message}");
        assert!(!maps.exists(), "{more:?}");
    }
    for range in ["1", "2:1", "0:inf", "a:1"] {
        let out = super::bagrad(&[&base[..], &["--range", range]].concat());
        assert_eq!(out.status.code(), Some(2));
        assert!(String::from_utf8(out.stderr).unwrap().contains("expected two numbers, the smaller one first"));
    }
    good(&[&base[..], &["--class", "1", "--patch-size", "2", "--max-side", "64", "--quiet"]].concat());
    fs::remove_file(data.join("coords.npy")).unwrap();
    let message = refused(&[&base[..], &["--force"]].concat());
    assert!(message.contains("have no places"), "{message}");
}

/// Red, green and blue as a PNG file.
fn picture(path: &Path, width: u32, height: u32, colour: [u8; 3]) {
    let file = std::io::BufWriter::new(fs::File::create(path).unwrap());
    let mut encoder = png::Encoder::new(file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&colour.repeat((width * height) as usize)).unwrap();
}

/// How many pixels of a PNG file have a colour.
fn counted(path: &Path, colour: [u8; 3]) -> usize {
    let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    pixels.chunks_exact(3).filter(|pixel| *pixel == colour).count()
}

#[test]
fn maps_lie_over_slides_and_patches_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _, run) = trained(dir.path(), "attention");
    let [maps, over, tiles] = ["maps", "thumbnails", "tiles"].map(|name| dir.path().join(name));
    fs::create_dir(&over).unwrap();
    fs::create_dir_all(tiles.join("000")).unwrap();
    fs::create_dir_all(tiles.join("001")).unwrap();
    let (below, patch) = ([10, 200, 30], [240, 10, 10]);
    picture(&over.join("000.png"), 40, 60, below);
    // Slide 000 has patches at 0, 512 and 1024 in a row, and one below: one is named by its place, one by column and row.
    picture(&tiles.join("000/512_1024.png"), 30, 30, patch);
    picture(&tiles.join("001/1_2.png"), 30, 30, patch);
    let base = ["heatmap", "--model", text(&run), "--data", text(&folder), "--out", text(&maps), "--max-side", "120"];
    let more = ["--over", text(&over), "--opacity", "0", "--tiles", text(&tiles), "--only", "000,001,002", "--force"];
    let told = json(&[&base[..], &more, &["--slide-size", "2048x3072", "--json"]].concat());
    // Of the map 80 x 120 pixels, and nothing of it covers the slide.
    assert_eq!(counted(&maps.join("000.png"), below), 80 * 120);
    assert_eq!(counted(&maps.join("001.png"), below), 0);
    for slide in ["000", "001"] {
        assert_eq!(counted(&maps.join(format!("{slide}.top.png")), patch), 900, "{slide}");
    }
    assert!(!maps.join("002.top.png").exists());
    assert!(told["slides"][0]["files"].as_array().unwrap().contains(&"000.top.png".into()));
    fs::write(over.join("000.png"), "no picture").unwrap();
    assert!(refused(&[&base[..], &more].concat()).contains("000.png"));
    assert_eq!(counted(&maps.join("000.png"), below), 80 * 120, "what was there stays");
}

/// One range of colours over all slides: the same number has the same colour on each, what is beyond is told, and tables stay.
#[test]
fn a_range_is_of_all_slides() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _, run) = trained(dir.path(), "gated-attention");
    let [plain, ranged] = ["plain", "ranged"].map(|name| dir.path().join(name));
    let draw = |out: &Path, more: &[&str]| {
        let base = ["heatmap", "--model", text(&run), "--data", text(&folder), "--out", text(out), "--max-side", "64"];
        json(&[&base[..], &["--score", "attention", "--json"], more].concat())
    };
    draw(&plain, &[]);
    let told = draw(&ranged, &["--range", "0.1:0.3"]);
    assert_eq!(told["range"], serde_json::json!([0.1, 0.3]));
    let (mut slides, mut colours) = (0, HashMap::new());
    for slide in told["slides"].as_array().unwrap() {
        let name = slide["slide"].as_str().unwrap();
        for file in [format!("{name}.csv"), format!("{name}.regions.geojson")] {
            assert_eq!(fs::read(ranged.join(&file)).unwrap(), fs::read(plain.join(&file)).unwrap(), "{file}");
        }
        let values: Vec<f64> =
            table(&ranged.join(format!("{name}.csv"))).iter().map(|line| line["attention"].parse().unwrap()).collect();
        let count = |beyond: &dyn Fn(f64) -> bool| values.iter().filter(|v| beyond(**v)).count();
        assert_eq!(slide["beyond"], serde_json::json!([count(&|v| v < 0.1), count(&|v| v > 0.3)]), "{name}");
        // Colours of patches by their numbers.
        let all: Value = serde_json::from_slice(&fs::read(ranged.join(format!("{name}.geojson"))).unwrap()).unwrap();
        for patch in all["features"].as_array().unwrap() {
            let value = patch["properties"]["measurements"]["attention"].as_f64().unwrap();
            let share = ((value - 0.1) / 0.2).clamp(0.0, 1.0);
            let colour = bagrad::heatmap::Colours::new(false).at(share);
            assert_eq!(patch["properties"]["color"], serde_json::json!(colour), "{name}: {value}");
            colours.insert(colour, name.to_owned());
        }
        slides += 1;
    }
    assert!(slides == 12 && colours.len() > 2, "{colours:?}");
    let beyond = told["slides"].as_array().unwrap().iter().filter(|s| s["beyond"] != serde_json::json!([0, 0])).count();
    let page = fs::read_to_string(ranged.join("index.html")).unwrap();
    let said = format!("--range: colours go from 0.1 to 0.3 on all maps; {beyond} of 12 slides have patches beyond");
    assert!(beyond > 0 && page.contains(&said), "{page}");
    assert!(page.contains("attention: ") && page.contains("above the range of colours"));
    assert!(!fs::read_to_string(plain.join("index.html")).unwrap().contains("range"));
    // Of logits 0 stays in the middle.
    let [dsmil, maps] = ["dsmil", "maps"].map(|name| dir.path().join(name));
    fs::create_dir(&dsmil).unwrap();
    let (folder, _, run) = trained(&dsmil, "dsmil");
    let base = ["heatmap", "--model", text(&run), "--data", text(&folder), "--out", text(&maps), "--score", "score"];
    let message = refused(&[&base[..], &["--range", "-1:2"]].concat());
    assert!(message.contains("'score' has a sign") && message.contains("such as -2:2"), "{message}");
    good(&[&base[..], &["--range", "-2:2", "--max-side", "64", "--quiet"]].concat());
}

/// A slide of four patches in a row, as safetensors whose metadata are these.
fn slide(path: &Path, seed: usize, about: &[(&str, &str)], placed: bool) {
    let about: serde_json::Map<String, Value> =
        about.iter().map(|&(name, value)| (name.into(), value.into())).collect();
    let mut head = serde_json::json!({
        "__metadata__": about,
        "features": { "dtype": "F32", "shape": [4, 3], "data_offsets": [0, 48] },
    });
    let mut values: Vec<u8> = (0..12).flat_map(|at| ((at * 7 + seed * 5) as f32 % 11.0 / 8.0).to_le_bytes()).collect();
    if placed {
        head["coords"] = serde_json::json!({ "dtype": "I64", "shape": [4, 2], "data_offsets": [48, 112] });
        values.extend((0..4i64).flat_map(|at| [at * 512, 512]).flat_map(i64::to_le_bytes));
    }
    let head = head.to_string();
    let length = (head.len() as u64).to_le_bytes();
    fs::write(path, [&length[..], head.as_bytes(), &values].concat()).unwrap();
}

/// Slides differ in all that is told of them, and one has no places.
#[test]
fn maps_of_a_packed_file_are_those_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let [folder, over, file, table, run] =
        ["slides", "thumbnails", "all.bags", "slides.csv", "run"].map(|name| dir.path().join(name));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&over).unwrap();
    let mut lines = String::from("slide,label\n");
    for at in 0..8 {
        let (width, patch) = ((4096 + 1024 * at).to_string(), ["512", "256"][at % 2]);
        let about = [("patch_size_level0", patch), ("level0_width", &width), ("level0_height", "4096")];
        // Of one the size is not told.
        let told = if at == 2 { &about[..1] } else { &about[..] };
        slide(&folder.join(format!("s{at}.safetensors")), at, told, at != 5);
        picture(&over.join(format!("s{at}.png")), 40, 30, [10, 200, 30]);
        lines += &format!("s{at},{}\n", ["benign", "malignant"][at / 2 % 2]);
    }
    fs::write(&table, lines).unwrap();
    let labels = ["--labels", text(&table)];
    good(&[&["pack", text(&folder), "--out", text(&file), "--quiet"], &labels[..]].concat());
    let train = ["train", "--data", text(&folder), "--method", "attention", "--epochs", "2", "--quiet"];
    good(&[&train[..], &["--validation", "0.25", "--out", text(&run)], &labels].concat());
    let maps = |name: &str, data: &[&str]| {
        let out = dir.path().join(name);
        let base = ["heatmap", "--model", text(&run), "--out", text(&out), "--over", text(&over), "--max-side", "128"];
        good(&[&base[..], &["--quiet", "--data"], data].concat());
        out
    };
    let of_folder = maps("of-folder", &[&[text(&folder)], &labels[..]].concat());
    let of_file = maps("of-file", &[text(&file)]);
    assert_eq!(names(&of_file), names(&of_folder));
    let is_page = |name: &String| name == "index.html" || name == ".bagrad.json";
    let all: Vec<String> = names(&of_folder).into_iter().filter(|name| !is_page(name)).collect();
    // A map, a table and two files for QuPath of seven slides, and the best of all.
    assert_eq!(all.len(), 7 * 4 + 1, "{all:?}");
    for name in all {
        assert!(fs::read(of_file.join(&name)).unwrap() == fs::read(of_folder.join(&name)).unwrap(), "{name}");
    }
    // What lies in the file is looked at when it is read, and no other slide.
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(4).position(|four| four == 1.25f32.to_le_bytes()).unwrap();
    bytes[at] ^= 1;
    let damaged = dir.path().join("damaged.bags");
    fs::write(&damaged, bytes).unwrap();
    let out = dir.path().join("of-damaged");
    let told = refused(&["heatmap", "--model", text(&run), "--out", text(&out), "--data", text(&damaged)]);
    assert!(told.contains("its values are damaged") && !out.exists(), "{told}");
}

/// The scores in a page by name.
fn scores(said: &Value) -> &serde_json::Map<String, Value> {
    said["scores"]["results"].as_object().unwrap()
}

#[test]
fn how_right_a_model_is_is_told_of_slides_that_it_was_not_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, labels, run) = trained(dir.path(), "gated-attention");
    let data = ["--data", text(&folder), "--labels", text(&labels), "--no-geojson", "--json", "--quiet"];
    let draw = |model: &Path, out: &str, more: &[&str]| {
        let out = dir.path().join(out);
        let args = [&["heatmap", "--model", text(model), "--out", text(&out)], &data[..], more].concat();
        (json(&args), fs::read_to_string(out.join("index.html")).unwrap())
    };
    let parts: HashMap<String, String> = table(&run.join("predictions.csv"))
        .into_iter()
        .map(|mut line| (line.remove("bag").unwrap(), line.remove("split").unwrap()))
        .collect();
    let count = |wanted: &str| parts.values().filter(|part| *part == wanted).count();
    assert_eq!([count("train"), count("validation"), count("test")], [6, 2, 4], "{parts:?}");

    // By the folder of the run: slides that it was trained on, or chosen by, have no say.
    let (said, page) = draw(&run, "maps", &[]);
    for slide in said["slides"].as_array().unwrap() {
        let part = &parts[slide["slide"].as_str().unwrap()];
        assert_eq!(slide["part"], if part == "train" { "trained on" } else { part }, "{slide}");
    }
    assert_eq!(said["scores"]["of"], "How right it is: 4 slides with a label");
    let notes = said["scores"]["notes"].to_string();
    assert!(notes.contains("6 that the model was trained on, and 2 by which its epoch was chosen"), "{notes}");
    assert!(
        page.contains("id=\"judged\"")
            && page.contains("chip\">trained on</span>")
            && page.contains("Confusion matrix")
    );

    // The accuracy is that of predict on those slides.
    let right = said["slides"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|s| s["part"] == "test" && s["label"] == s["predicted"])
        .count();
    let accuracy = right as f64 / 4.0;
    assert_eq!(scores(&said)["accuracy"], format!("{accuracy:.4}"));

    // By the file alone all are judged, and that this may be too good is said.
    let (said, page) = draw(&run.join("model.safetensors"), "of-file", &[]);
    assert!(said["slides"].as_array().unwrap().iter().all(|slide| slide["part"].is_null()));
    assert_eq!(said["scores"]["of"], format!("How right it is: {} slides with a label", parts.len()));
    assert!(page.contains("Which slides the model was trained on is not known"));
    let everything = dir.path().join("predicted");
    let args = [
        "predict",
        "--model",
        text(&run),
        "--data",
        text(&folder),
        "--labels",
        text(&labels),
        "--out",
        text(&everything),
    ];
    let predicted = json(&[&args[..], &["--json", "--quiet"]].concat());
    for (name, key) in [("accuracy", "accuracy"), ("log loss", "log_loss")] {
        assert_eq!(scores(&said)[name], format!("{:.4}", predicted[key].as_f64().unwrap()), "{name}");
    }
    // What chose the epoch judges where there is nothing else, and a single class has no AUC.
    let chose: Vec<&str> = parts.iter().filter(|(_, part)| *part == "validation").map(|(name, _)| &name[..]).collect();
    let (said, page) = draw(&run, "chose", &["--only", &chose.join(",")]);
    assert_eq!(said["scores"]["of"], "How right it is: 2 slides with a label");
    assert!(page.contains("By these slides the epoch was chosen"));
    // Without a labelled slide there is nothing to judge.
    let trained_on = parts.iter().find(|(_, part)| *part == "train").unwrap().0;
    let (said, page) = draw(&run, "one", &["--only", trained_on]);
    assert!(said["scores"].is_null() && !page.contains("judged"));
}
