//! `pretrain`, `embed` and `fuse`: from pictures on disk to a trained model.

use super::*;
use bagrad::data::{Dataset, Patches, Split, Textures};

/// Textures of 16 x 16 as CLASS/SLIDE/x_y.png, with their labels in a file.
fn slides(at: &Path) -> PathBuf {
    let textures = Textures { side: 16, mean: 5.0, spread: 1.0, train: 8, test: 0, ..Textures::default() };
    let (patches, root) = (textures.patches().unwrap(), at.join("slides"));
    let bags = &patches.bags().bags;
    let mut labels = String::new();
    for bag in 0..bags.len() {
        let folder = format!("{}/slide-{bag}", ["normal", "tumour"][bags.labels.as_ref().unwrap()[bag] as usize]);
        fs::create_dir_all(root.join(&folder)).unwrap();
        for row in bags.rows(bag) {
            let [x, y] = bags.coords.as_ref().unwrap()[row];
            let name = format!("{folder}/{x}_{y}.png");
            let pixels = patches.pixels(row).unwrap().into_owned();
            image::RgbImage::from_raw(16, 16, pixels).unwrap().save(root.join(&name)).unwrap();
            labels += &format!("{name},{}\n", i32::from(bags.instance_labels.as_ref().unwrap()[row] == 1));
        }
    }
    fs::write(root.join("patch_labels.csv"), labels).unwrap();
    root
}

const TINY: [&str; 6] = ["--set", "widths=[4,6]", "--set", "blocks=[1,1]", "--batch", "8"];

fn pretrained(images: &Path, out: &Path, more: &[&str]) -> Value {
    let epochs: &[&str] = if more.contains(&"--epochs") { &[] } else { &["--epochs", "2"] };
    json(
        &[&["pretrain", "--images", text(images), "--out", text(out), "--json", "-q"], &TINY[..], epochs, more]
            .concat(),
    )
}

#[test]
fn pictures_become_an_encoder_then_bags_then_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let (images, encoder, bags) = (slides(dir.path()), dir.path().join("a/e.safetensors"), dir.path().join("bags"));
    let told = pretrained(&images, &encoder, &["--seed", "3"]);
    assert_eq!((&told["features"], &told["epochs"], &told["device"]), (&6.into(), &2.into(), &"host".into()), "{told}");
    assert!(told["validation_loss"].is_f64() && told["training"].as_u64().unwrap() > 20, "{told}");
    assert_eq!(names(&dir.path().join("a")), ["e.metrics.jsonl", "e.safetensors"]);
    let lines = fs::read_to_string(dir.path().join("a/e.metrics.jsonl")).unwrap();
    let epochs: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(epochs.len(), 2);
    assert!(epochs.iter().all(|e| e["loss"].is_f64() && e["patches_per_second"].is_f64()), "{lines}");

    // The same seed gives the same file, another one another.
    let file = |name: &str, seed: &str| {
        let path = dir.path().join(name);
        pretrained(&images, &path, &["--seed", seed]);
        fs::read(path).unwrap()
    };
    assert_eq!(file("again.safetensors", "3"), fs::read(&encoder).unwrap());
    assert_ne!(file("other.safetensors", "4"), fs::read(&encoder).unwrap());
    let args = ["pretrain", "--images", text(&images), "--out", text(&encoder)];
    assert!(refused(&args).contains("--force replaces it"));

    let embed = ["embed", "--encoder", text(&encoder), "--images", text(&images), "--out", text(&bags), "--json"];
    let told = json(&[&embed[..], &["--batch", "7"]].concat());
    assert_eq!((&told["bags"], &told["features"], &told["coordinates"]), (&8.into(), &6.into(), &true.into()));
    let files = [
        ".bagrad.json",
        "bag_ids.npy",
        "bag_names.txt",
        "class_names.txt",
        "coords.npy",
        "features.json",
        "features.npy",
        "instance_labels.npy",
        "labels.npy",
    ];
    assert_eq!(names(&bags), files);
    let (set, from) = (Dataset::open(&bags).unwrap(), Patches::open(&images, &Default::default()).unwrap());
    let (found, wanted) = (&set.bags, &from.bags().bags);
    assert_eq!((&found.offsets, &found.labels, &found.coords), (&wanted.offsets, &wanted.labels, &wanted.coords));
    assert_eq!((&found.names, &found.class_names), (&wanted.names, &wanted.class_names));
    assert_eq!(found.instance_labels, wanted.instance_labels);
    assert!(refused(&embed).contains("--force replaces it"));
    // Whatever the batch, the features are the same.
    good(&[&embed[..], &["--batch", "100", "--force"]].concat());
    assert_eq!(Dataset::open(&bags).unwrap().bags.features, found.features);

    let run = dir.path().join("run");
    let train = ["train", "--data", text(&bags), "--method", "dsmil", "--epochs", "2", "--out", text(&run), "--json"];
    assert!(json(&train)["test_bags"].as_u64().unwrap() > 0);
    assert!(
        refused(&["predict", "--model", text(&encoder), "--data", text(&bags)]).contains("is an encoder of patches")
    );
    let model = run.join("model.safetensors");
    let wrong = ["embed", "--encoder", text(&model), "--images", text(&images), "--out", "x"];
    assert!(refused(&wrong).contains("expected an encoder of patches, found a model of dsmil"));
    let small = ["embed", "--encoder", text(&encoder), "--images", text(&images), "--size", "8", "--out", "x"];
    assert!(refused(&small).contains("expected patches of 16 x 16 x 3, as the encoder takes, found 8 x 8 x 3"));
    // What is read is not replaced, nor a folder that somebody else filled.
    let over = ["embed", "--encoder", text(&encoder), "--images", text(&images), "--out", text(&images), "--force"];
    assert!(refused(&over).contains("this call reads"));
    let others = dir.path().join("others");
    fs::create_dir(&others).unwrap();
    fs::write(others.join("features.json"), "{}").unwrap();
    let over = ["embed", "--encoder", text(&encoder), "--images", text(&images), "--out", text(&others), "--force"];
    assert!(refused(&over).contains("not one that bagrad wrote"));
}

#[test]
fn labels_and_no_epochs_give_the_two_references() {
    let dir = tempfile::tempdir().unwrap();
    let (images, out) = (slides(dir.path()), |name: &str| dir.path().join(name));
    let told = pretrained(&images, &out("s.safetensors"), &["--labels"]);
    assert!(told["validation_accuracy"].is_f64(), "{told}");
    let told = pretrained(&images, &out("r.safetensors"), &["--epochs", "0"]);
    assert_eq!((&told["epochs"], &told["kept"]), (&0.into(), &Value::Null));
    let again = pretrained(&images, &out("r2.safetensors"), &["--epochs", "0", "--labels"]);
    assert_eq!(again["features"], 6);
    let read = |name: &str| fs::read(out(name)).unwrap();
    assert_eq!(read("r.safetensors"), read("r2.safetensors"));
    assert_ne!(read("r.safetensors"), read("s.safetensors"));
    fs::remove_file(images.join("patch_labels.csv")).unwrap();
    let base = |more: &[&str]| {
        refused(&[&["pretrain", "--images", text(&images), "--out", text(&out("x.safetensors"))], more].concat())
    };
    assert!(base(&["--labels"]).contains("expected labels of patches, found none"));
    assert!(base(&["--set", "wide=3"]).contains("--set wide: there is no such setting; there are: blocks"));
    assert!(base(&["--set", "objective=none"]).contains("no such setting"));
    assert!(base(&["--view", "grey=2"]).contains("setting grey"));
    assert!(base(&["--view", "grey=much"]).contains("--view grey"));
    assert!(base(&["--batch", "1"]).contains("at least 2"));
    assert!(base(&["--size", "2"]).contains("positions"));
    assert!(!out("x.safetensors").exists() && !out("x.metrics.jsonl").exists());
}

/// Test bags are neither trained with nor chosen by, unless that is asked for.
#[test]
fn test_bags_are_not_seen() {
    let dir = tempfile::tempdir().unwrap();
    let textures = "textures,side=16,mean=4,spread=0,train=6,test=5";
    let told = |name: &str, more: &[&str]| pretrained(Path::new(textures), &dir.path().join(name), more);
    let seen = |v: Value| v["training"].as_u64().unwrap() + v["validation"].as_u64().unwrap();
    assert_eq!(seen(told("a.safetensors", &[])), 24);
    assert_eq!(seen(told("b.safetensors", &["--test-bags"])), 44);
}

#[test]
fn two_magnifications_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let bags = |name: &str, features: &[f32], coords: &[f32], ids: &[i32]| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        floats(&path.join("features.npy"), 2, features);
        floats(&path.join("coords.npy"), 2, coords);
        integers(&path.join("bag_ids.npy"), ids);
        path
    };
    let high = bags("high", &[1., 2., 3., 4., 5., 6.], &[0., 0., 3., 3., 4., 1.], &[0, 0, 1]);
    integers(&high.join("split.npy"), &[0, 1]);
    let low = bags("low", &[10., 20., 30., 40., 50., 60.], &[0., 0., 1., 0., 9., 9.], &[0, 1, 1]);
    let out = dir.path().join("fused");
    let base = ["fuse", "--high", text(&high), "--low", text(&low), "--side", "4", "--out", text(&out)];
    let told = json(&[&base[..], &["--scale", "4", "--json"]].concat());
    assert_eq!((&told["features"], &told["orphans"], &told["childless"]), (&4.into(), &0.into(), &1.into()));
    let set = Dataset::open(&out).unwrap();
    assert_eq!(set.bags.features.to_f32(), [1., 2., 10., 20., 3., 4., 10., 20., 5., 6., 30., 40.]);
    assert_eq!(set.split, Some(vec![Split::Train, Split::Test]));
    assert!(refused(&[&base[..], &["--scale", "4"]].concat()).contains("--force"));
    good(&[&base[..], &["--scale", "4", "--add", "-0.5", "--force"]].concat());
    assert_eq!(Dataset::open(&out).unwrap().bags.features.to_f32(), [-4., -8., -2., -6., -10., -14.]);
    // Without the scale bag 1's patch at 4, 1 lies in [1, 5) x [0, 4), and bag 0 keeps both.
    good(&[&base[..], &["--force"]].concat());
    let far = [&base[..], &["--scale", "100", "--force"]].concat();
    let message = refused(&far);
    assert!(message.contains("bag 1: the high patch 0 (0-based) at 4, 1 lies in no low patch"), "{message}");
    assert_eq!(Dataset::open(&out).unwrap().bags.width, 4);
    assert!(refused(&[&far[..], &["--drop-orphans"]].concat()).contains("bag 1: no high patch lies in a low one"));
}
