//! Formats of files and layouts of folders beside those of CLAM, TRIDENT and STAMP (`tools/make_slides.py`).

use super::slides::{features, fixture, place, refused};
use bagrad::data::text::ColumnNames;
use bagrad::data::{Dataset, OnBad, Opening, Source, Split, slides};
use bagrad::{Bags, Features};
use std::path::{Path, PathBuf};

fn places(rows: usize) -> Vec<[f32; 2]> {
    (0..rows).map(|row| place(row, 1.0)).collect()
}

/// The features of the three slides of a fixture.
fn three() -> Vec<f32> {
    [4, 3, 5].iter().enumerate().flat_map(|(slide, &rows)| features(slide, rows, 6)).collect()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn labels_of_instances_may_be_in_the_file() {
    for file in ["labelled/slide.h5", "labelled/slide.npz", "labelled/slide.safetensors"] {
        let set = Dataset::open(fixture(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((set.bags.features.to_f32(), set.bags.coords), (features(1, 3, 6), Some(places(3))), "{file}");
        assert_eq!(set.bags.instance_labels, Some(vec![0, 1, -1]), "{file}");
        assert_eq!(slides::inspect(&fixture(file), &Opening::default(), false).unwrap().instance_labels, 1);
    }
    let message = refused(Dataset::open(fixture("labelled-bad/long.npz")));
    assert!(message.contains("patch_labels: expected a label for each of 3 patches, found [4]"), "{message}");
    let message = refused(Dataset::open(fixture("labelled-bad/half.npz")));
    assert!(message.contains("row 1 (0-based): expected a whole number as a label, found 0.5"), "{message}");
}

fn told(set: &Dataset, what: &str) {
    let remarks = set.remarks.join("\n");
    assert!(remarks.contains(what), "{what} is not in:\n{remarks}");
}

#[test]
fn files_of_arrays_are_slides() {
    let (none, half) = (false, true);
    for (file, is_half, placed) in [
        ("npy/single.npy", none, false),
        ("npy/half.npy", half, false),
        ("npy/double.npy", none, false),
        ("npy/big-endian.npy", none, false),
        ("npy/fortran.npy", none, false),
        ("npy/batch.npy", none, false),
        ("npz/stored.npz", none, true),
        ("npz/deflate.npz", half, true),
        ("npz/only.npz", none, false),
        ("npz/matrix.npz", none, true),
        ("safetensors/single.safetensors", none, true),
        ("safetensors/half.safetensors", half, false),
        ("safetensors/bfloat16.safetensors", none, true),
        ("safetensors/double.safetensors", none, false),
    ] {
        let set = Dataset::open(fixture(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(set.bags.features.to_f32(), features(1, 3, 6), "{file}");
        assert_eq!(matches!(set.bags.features, Features::F16(_)), is_half, "{file}");
        assert_eq!(set.bags.coords, placed.then(|| places(3)), "{file}");
    }
    for (folder, slides) in [("npy", 6), ("npz", 4), ("safetensors", 4)] {
        let found = slides::inspect(&fixture(folder), &Opening::default(), true).unwrap();
        assert_eq!((found.slides, found.formats.get(folder), found.bad.len()), (slides, Some(&slides), 0));
    }
    let set = Dataset::open(fixture("safetensors/single.safetensors")).unwrap();
    told(&set, "places are in pixels of level 0; a patch is 512 of them wide");
    told(&set, "the encoder of the features is uni_v1");
}

#[test]
fn arrays_that_are_no_slide_are_told() {
    let message = refused(Dataset::open(fixture("arrays-bad")));
    for (file, reason) in [
        ("several.npz", "or one alone of shape [patches, width]; found a [3, 6] of float32, b [3, 6] of float32"),
        (
            "dataset.npz",
            "in Python: import numpy as np; [np.save(f'FOLDER/{name}.npy', array) for name, array in np.load('dataset.npz')",
        ),
        ("places.npz", "expected coords of shape [3, 2] (a place for each patch), found [2, 2]"),
        ("integers.npz", "expected features to be floats, found int64"),
        ("checksum.npz", "features.npy: the content cannot be read: it does not have the checksum"),
        ("cut.npz", "the zip archive is broken or cut off"),
        ("module.npz", "it does not begin as npz files do"),
    ] {
        let line = message.lines().find(|line| line.contains(&format!("{file}: ")));
        // A checksum is seen when the values are read.
        let line = line.map_or_else(|| refused(Dataset::open(fixture("arrays-bad").join(file))), str::to_owned);
        assert!(line.contains(reason), "{file}: {line}");
    }
    let dir = tempfile::tempdir().unwrap();
    let safetensors = |name: &str, head: &str, values: usize| {
        let bytes = [&(head.len() as u64).to_le_bytes()[..], head.as_bytes(), &vec![0; values]].concat();
        std::fs::write(dir.path().join(name), bytes).unwrap();
        refused(Dataset::open(dir.path().join(name)))
    };
    let head = r#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    let message = safetensors("short.safetensors", head, 20);
    assert!(message.contains("its tensors need 24 bytes, and the file has 20 (is it cut off?)"), "{message}");
    let message = safetensors("wrong.safetensors", &head.replace("[2,3]", "[2,4]"), 24);
    assert!(message.contains("its head is broken"), "{message}");
    let message = safetensors("ids.safetensors", &head.replace("F32", "I32"), 24);
    assert!(message.contains("expected x to be floats, found int32"), "{message}");
    let message = safetensors("vast.safetensors", &head.replace("[2,3]", "[4000000000,4000000000]"), 24);
    assert!(message.contains("its head is broken"), "{message}");
    // A text file that is called so.
    write(dir.path(), "a.npy", "1,2\n");
    let message = refused(Dataset::open(dir.path().join("a.npy")));
    assert!(message.contains("a.npy: it does not begin as npy files do"), "{message}");
}

#[test]
fn other_files_beside_slides_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [("stamp/s0.h5", "s0.h5"), ("npy/single.npy", "scores.npy"), ("npz/stored.npz", "s0_att.npz")] {
        std::fs::copy(fixture(from), dir.path().join(to)).unwrap();
    }
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(set.bags.names, ["s0"]);
    told(&set, "2 other files are left out, such as 's0_att.npz', 'scores.npy'");
    // Beside the folders of CLAM, too.
    let other = tempfile::tempdir().unwrap();
    let clam = other.path().join("clam");
    std::fs::create_dir_all(clam.join("h5_files")).unwrap();
    std::fs::copy(fixture("clam/h5_files/s1.h5"), clam.join("h5_files/s1.h5")).unwrap();
    std::fs::copy(fixture("npy/single.npy"), clam.join("mean.npy")).unwrap();
    assert_eq!(Dataset::open(&clam).unwrap().bags.names, ["s1"]);
    // Files of the folder layout are no slides, wherever they are.
    std::fs::remove_file(dir.path().join("s0.h5")).unwrap();
    std::fs::remove_file(dir.path().join("s0_att.npz")).unwrap();
    std::fs::copy(fixture("npy/single.npy"), dir.path().join("bag_ids.npy")).unwrap();
    let message = Source::parse(dir.path()).unwrap_err().to_string();
    assert!(message.contains("expected features.npy or pixels.npy in this folder, found neither"), "{message}");
}

#[test]
fn memory_maps_of_aegis_are_read() {
    for path in ["aegis", "aegis/uni.json", "aegis/uni.bin"] {
        let set = Dataset::open(fixture(path)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((set.bags.names.join(" "), set.bags.features.to_f32()), ("s0 s1 s2".into(), three()), "{path}");
        assert_eq!((set.bags.width, &set.bags.coords), (6, &None));
        told(&set, "uni.json says; there are no places");
    }
    let one = slides::Slides::open(&fixture("aegis"), &Opening::default()).unwrap().read(&[1]).unwrap();
    assert_eq!(one.bags.features.to_f32(), features(1, 3, 6));
    assert_eq!(slides::inspect(&fixture("aegis"), &Opening::default(), true).unwrap().formats["memmap"], 3);
    let dir = copies(&[("aegis/uni.bin", "uni.bin")]);
    let with = |index: &str| {
        write(dir.path(), "uni.json", index);
        refused(Dataset::open(dir.path()))
    };
    for (index, reason) in [
        (
            r#"{"slides":{"a":[0,12]},"total_rows":12,"feature_dim":7}"#,
            "its 12 rows of 7 float32 need another length than the 288 bytes",
        ),
        (
            r#"{"slides":{"a":[0,4],"b":[3,2]},"total_rows":12,"feature_dim":6}"#,
            "slides 'a' (4 rows from 0 on) and 'b' (from 3 on) share rows",
        ),
        (
            r#"{"slides":{"a":[9,4]},"total_rows":12,"feature_dim":6}"#,
            "slide 'a' has 4 rows from 9 on, of 12 that there are",
        ),
        (r#"{"slides":{"a":[18446744073709551615,4]},"total_rows":12,"feature_dim":6}"#, "of 12 that there are"),
        (r#"{"slides":{"a":[0,0],"b":[0,12]},"total_rows":12,"feature_dim":6}"#, "slide a: no patches: it has no rows"),
        (r#"{"slides":{},"total_rows":12,"feature_dim":6}"#, "expected slides, found none"),
    ] {
        let message = with(index);
        assert!(message.contains(reason), "{index}: {message}");
    }
    // Values of another name are found where they are alone, and of two indices one has to be given.
    let right = std::fs::read_to_string(fixture("aegis/uni.json")).unwrap();
    std::fs::remove_file(dir.path().join("uni.json")).unwrap();
    write(dir.path(), "index.json", &right);
    assert_eq!(Dataset::open(dir.path()).unwrap().bags.names.len(), 3);
    write(dir.path(), "other.json", &right);
    let message = refused(Dataset::open(dir.path()));
    assert!(
        message.contains("expected one index of slides in JSON, found") && message.contains("other.json"),
        "{message}"
    );
}

/// A folder with copies of fixtures.
fn copies(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in files {
        let to = dir.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(fixture(from), to).unwrap();
    }
    dir
}

#[test]
fn folders_of_sites_are_read_together() {
    let (a, b) = (("stamp/s0.h5", "riga/s0.h5"), ("stamp/s2.h5", "oslo/s2.h5"));
    let dir = copies(&[a, b, ("stamp/s1.h5", "riga/s1.h5")]);
    std::fs::create_dir(dir.path().join("logs")).unwrap();
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.features.to_f32()), ("s0 s1 s2".into(), three()));
    assert_eq!(set.sites.as_ref().unwrap().join(" "), "riga riga oslo");
    told(&set, "files are in 2 folders, 'oslo', 'riga', and each slide's is taken as its site (not as its class)");
    told(&set, "folders with no files of slides are left out, such as 'logs'");
    let one = slides::Slides::open(dir.path(), &Opening::default()).unwrap();
    assert_eq!(one.frame().sites, set.sites);
    // A table finds slides by their paths too, and its sites go before the folders.
    let labels = |text: &str| Opening { labels: Some(write(dir.path(), "labels.csv", text)), ..Opening::default() };
    let set = Dataset::open_with(dir.path(), &labels("slide,label\nriga/s0.h5,a\ns2,b\n")).unwrap();
    assert_eq!((set.bags.names.join(" "), set.sites.unwrap().join(" ")), ("s0 s2".into(), "riga oslo".into()));
    let set = Dataset::open_with(dir.path(), &labels("slide,label,site\ns0,a,x\ns2,b,x\n")).unwrap();
    assert_eq!(set.sites.unwrap(), ["x", "x"]);
    // What is packed keeps them.
    let packed = dir.path().join("all.bags");
    bagrad::data::packed::pack(dir.path(), &packed, &Default::default(), &mut |_| {}).unwrap();
    assert_eq!(Dataset::open(&packed).unwrap().sites.unwrap().join(" "), "riga riga oslo");
    // Deeper, of several layouts, with what CLAM and TRIDENT leave beside features: the first folder that differs.
    let dir = copies(&[
        ("clam/h5_files/s0.h5", "tcga/brca/h5_files/s0.h5"),
        ("clam/pt_files/s0.pt", "tcga/brca/pt_files/s0.pt"),
        ("torch/tensor.pt", "tcga/luad/20x/features_uni/s1.pt"),
        ("patches/s1.h5", "tcga/luad/20x/patches/s1_patches.h5"),
        ("parquet/list.parquet", "tcga/kirc/s2.parquet"),
    ]);
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(
        (set.bags.names.join(" "), set.sites.as_ref().unwrap().join(" ")),
        ("s0 s1 s2".into(), "brca luad kirc".into())
    );
    told(&set, "folders with places alone are left out, such as 'tcga/luad/20x/patches'");
    // One folder alone is no site.
    let set = Dataset::open(dir.path().join("tcga/luad")).unwrap();
    assert_eq!((set.bags.names.join(" "), &set.sites), ("s1".into(), &None));
    told(&set, "features are read from 20x/features_uni");
}

#[test]
fn folders_that_are_no_sites_are_refused() {
    let refused = |files: &[(&str, &str)]| refused(Dataset::open(copies(files).path()));
    let message = refused(&[("stamp/s0.h5", "uni/s0.h5"), ("torch/tensor.pt", "conch/s0.pt")]);
    assert!(message.contains("slide 's0' is in conch and in uni; expected each name once"), "{message}");
    let message = refused(&[("stamp/s0.h5", "a/s0.h5"), ("patches/s1.h5", "b/s1.h5")]);
    assert!(message.contains("have files of slides ('a'), and others have something else"), "{message}");
    assert!(
        message.contains("\n  b: s1 (expected a dataset") && message.contains("a table of the paths of all"),
        "{message}"
    );
    let message = refused(&[
        ("stamp/s0.h5", "a/s0.h5"),
        ("torchmil/features/s1.npy", "b/features/s1.npy"),
        ("torchmil/labels/s1.npy", "b/labels/s1.npy"),
    ]);
    assert!(message.contains("b: a data set with labels of its own"), "{message}");
    let message = refused(&[("patches/s0.h5", "patches/s0.h5")]);
    assert!(message.contains("folders in it have no slides that can be read:\n  patches"), "{message}");
    // Slides of another width are bad slides, as in one folder.
    let message = refused(&[("stamp/s0.h5", "a/s0.h5"), ("stamp/s1.h5", "a/s1.h5"), ("bad/narrow.h5", "b/s2.h5")]);
    assert!(message.contains("b/s2.h5: 4 features, where 2 of 3 slides have 6"), "{message}");
    // Files that lie beside folders go before them, with a word.
    let dir = copies(&[("stamp/s0.h5", "s0.h5"), ("stamp/s1.h5", "more/s1.h5")]);
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(set.bags.names, ["s0"]);
    told(&set, "files in folders within are not read, such as those of");
}

#[test]
fn folders_of_torchmil_are_read() {
    for layout in ["torchmil", "torchmil-h5"] {
        for path in [fixture(layout), fixture(layout).join("features")] {
            let set = Dataset::open(&path).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((set.bags.names.join(" "), set.bags.features.to_f32()), ("s0 s1 s2".into(), three()));
            assert_eq!(set.bags.labels, Some(vec![0, 1, 0]));
            assert_eq!(set.bags.instance_labels, Some(vec![0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0]));
            assert_eq!(set.bags.coords, Some([places(4), places(3), places(5)].concat()));
            told(&set, "as torchmil has them");
            told(&set, "places are in a unit that the files do not tell");
        }
    }
    let opening = Opening { splits: Some(fixture("torchmil/splits.csv")), ..Opening::default() };
    let set = Dataset::open_with(fixture("torchmil"), &opening).unwrap();
    assert_eq!(set.split, Some(vec![Split::Train, Split::Validation, Split::Test]));
    let found = slides::inspect(&fixture("torchmil"), &opening, false).unwrap();
    assert_eq!((found.classes.len(), found.parts[0].slides, found.formats["npy"]), (2, 1, 3));
    assert_eq!(found.instance_labels, 3);
    // A table goes before the folder of labels.
    let dir = tempfile::tempdir().unwrap();
    let labels = Some(write(dir.path(), "labels.csv", "bag_name,label\ns0,b\ns1,a\n"));
    let set = Dataset::open_with(fixture("torchmil"), &Opening { labels, ..Opening::default() }).unwrap();
    assert_eq!((set.bags.labels, set.bags.class_names.join(" ")), (Some(vec![1, 0]), "a b".into()));
}

#[test]
fn what_does_not_fit_beside_a_bag_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        let to = dir.path().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(fixture(from), to).unwrap();
    };
    copy("torchmil/features/s0.npy", "features/s0.npy");
    copy("torchmil/features/s1.npy", "features/s1.npy");
    copy("torchmil/coords/s1.npy", "coords/s0.npy");
    copy("torchmil/inst_labels/s0.npy", "inst_labels/s1.npy");
    let message = refused(Dataset::open(dir.path()));
    assert!(message.contains("2 slides cannot be used"), "{message}");
    assert!(message.contains("coords/s0.npy: expected coords of shape [4, 2]"), "{message}");
    assert!(message.contains("inst_labels/s1.npy: expected a label for each of 3 patches, found [4, 1]"), "{message}");
    copy("torchmil/coords/s0.npy", "coords/s0.npy");
    copy("torchmil/inst_labels/s1.npy", "inst_labels/s1.npy");
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!((&set.bags.instance_labels, &set.bags.coords), (&None, &None));
    told(&set, "1 of 2 slides have labels of instances: none is used");
    told(&set, "1 of 2 slides have coordinates: no place is used");
    // The label of a bag is one number; a bag without is not labelled.
    copy("torchmil/labels/s1.npy", "labels/s1.npy");
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(set.bags.labels, Some(vec![Bags::UNKNOWN, 1]));
    told(&set, "1 bags have no file in labels");
    copy("torchmil/inst_labels/s0.npy", "labels/s0.npy");
    let message = refused(Dataset::open(dir.path()));
    assert!(message.contains("labels/s0.npy: expected one label, found an array of shape [4, 1]"), "{message}");
    // Features of several encoders.
    std::fs::remove_file(dir.path().join("features/s0.npy")).unwrap();
    std::fs::remove_file(dir.path().join("features/s1.npy")).unwrap();
    copy("npy/single.npy", "features/features_UNI/s1.npy");
    assert_eq!(Dataset::open(dir.path()).unwrap().bags.names, ["s1"]);
    copy("npy/single.npy", "features/features_resnet50/s1.npy");
    let message = refused(Dataset::open(dir.path()));
    assert!(message.contains("has features of several kinds; expected one of"), "{message}");
    assert_eq!(Dataset::open(dir.path().join("features/features_UNI")).unwrap().bags.labels, Some(vec![1]));
}

#[test]
fn bags_of_slideflow_and_groups_of_a_file_are_read() {
    let set = Dataset::open(fixture("slideflow")).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.features.to_f32()), ("s0 s1 s2".into(), three()));
    assert_eq!(set.bags.coords, Some([places(4), places(3), places(5)].concat()));
    told(&set, "places of 3 slides are read from their .index.npz files, as slideflow writes them");
    told(&set, "places are in a unit that the files do not tell");
    let one = Dataset::open(fixture("slideflow/s1.pt")).unwrap();
    assert_eq!((one.bags.names.join(" "), one.bags.coords), ("s1".into(), Some(places(3))));

    let set = Dataset::open(fixture("groups.h5")).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.features.to_f32()), ("s0 s1 s2".into(), three()));
    assert!(matches!(set.bags.features, Features::F16(_)));
    assert_eq!(set.bags.coords, Some([places(4), places(3), places(5)].concat()));
    told(&set, "each of the 3 groups of the file is a slide");
    // What is wrong with a group names it.
    let whole = std::fs::read(fixture("groups.h5")).unwrap();
    let shape: Vec<u8> = [5u64, 6].iter().flat_map(|d| d.to_le_bytes()).collect();
    let at = whole.windows(16).position(|w| w == shape).expect("the shape of the features of s2");
    let mut changed = whole;
    changed[at..at + 8].copy_from_slice(&(1u64 << 40).to_le_bytes());
    let broken = tempfile::tempdir().unwrap();
    std::fs::write(broken.path().join("a.h5"), changed).unwrap();
    let message = refused(Dataset::open(broken.path().join("a.h5")));
    assert!(message.contains("1 slides cannot be used") && message.contains("a.h5: group s2: "), "{message}");
    let dir = tempfile::tempdir().unwrap();
    let labels = Some(write(dir.path(), "labels.csv", "slide,label\ns0,0\ns2,1\n"));
    let set = Dataset::open_with(fixture("groups.h5"), &Opening { labels, ..Opening::default() }).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.labels), ("s0 s2".into(), Some(vec![0, 1])));
}

#[test]
fn folders_of_dsmil_are_read() {
    let set = Dataset::open(fixture("dsmil")).unwrap();
    let (names, classes) = (set.bags.names.join(" "), set.bags.class_names.join(" "));
    assert_eq!((&names[..], &classes[..]), ("s0 s2 s1", "0-normal 1-tumour"));
    let expected = [features(0, 4, 6), features(2, 5, 6), features(1, 3, 6)].concat();
    assert_eq!((set.bags.features.to_f32(), &set.bags.labels), (expected, &Some(vec![0, 0, 1])));
    told(&set, "the folders are the classes");
    // The list of the data set goes before the folders.
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("toy");
    for (from, to) in [("dsmil/0-normal/s0.csv", "a/s0.csv"), ("dsmil/1-tumour/s1.csv", "b/s1.csv")] {
        std::fs::create_dir_all(root.join(to).parent().unwrap()).unwrap();
        std::fs::copy(fixture(from), root.join(to)).unwrap();
    }
    write(&root, "toy.csv", "0,label\ndatasets/toy/a/s0.csv,1\ndatasets/toy/b/s1.csv,0\n");
    assert_eq!(Dataset::open(&root).unwrap().bags.labels, Some(vec![1, 0]));
    // A folder of such files alone, and what is wrong in one.
    assert_eq!(Dataset::open(root.join("a")).unwrap().bags.names, ["s0"]);
    let skip = Opening { on_bad: OnBad::Skip, ..Opening::default() };
    write(&root, "a/bad.csv", "0,1,2,3,4,5\n1,2,3,4,5,6\n1,2,3,4,x,6\n");
    write(&root, "a/short.csv", "0,1,2,3,4,5\n1,2,3,4,5\n");
    write(&root, "a/none.csv", "0,1,2,3,4,5\n\n");
    let set = Dataset::open_with(root.join("a"), &skip).unwrap();
    assert_eq!(set.bags.names, ["s0"]);
    told(&set, "bad.csv: line 3, column 4 (0-based): expected a number, found 'x'");
    told(&set, "short.csv: line 2: expected 6 values, found 5");
    told(&set, "none.csv: no patches");
}

#[test]
fn tables_of_paths_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| fixture(name).display().to_string();
    // MIL_BASELINE, one column and side by side; the same table divides.
    let (a, b, c) = (at("clam/pt_files/s0.pt"), at("trident/001.h5"), at("clam/pt_files/s2.pt"));
    let base = write(dir.path(), "base.csv", &format!("slide_path,label\n{a},0\n{b},1\n{c},1\n{a},0\n"));
    assert_eq!(Source::parse(&base).unwrap(), Source::Slides(base.clone()));
    let set = Dataset::open(&base).unwrap();
    assert_eq!((set.bags.names.join(" "), &set.bags.labels), ("s0 001 s2".into(), &Some(vec![0, 1, 1])));
    assert_eq!(set.bags.features.to_f32(), three());
    told(&set, "paths of files are in column 'slide_path', the label in 'label'");
    let header = "train_slide_path,train_label,val_slide_path,val_label,test_slide_path,test_label";
    let beside = write(dir.path(), "beside.csv", &format!("{header}\n{a},0,{b},1,{c},0\n"));
    let set = Dataset::open_with(&beside, &Opening { splits: Some(beside.clone()), ..Opening::default() }).unwrap();
    assert_eq!(set.split, Some(vec![Split::Train, Split::Validation, Split::Test]));
    assert_eq!((set.bags.features.to_f32(), set.bags.labels), (three(), Some(vec![0, 1, 0])));

    let placed =
        write(dir.path(), "placed.csv", &format!("slide_path,h5_path,label\n{a},{},1\n", at("trident/000.h5")));
    let set = Dataset::open(&placed).unwrap();
    assert_eq!((set.bags.coords, set.bags.labels), (Some(places(4)), Some(vec![1])));

    // eva: pieces of slides, which have names of their own; paths count from the table.
    std::fs::create_dir(dir.path().join("pieces")).unwrap();
    for (from, to) in [("torch/half.pt", "p0.pt"), ("torch/tensor.pt", "p1.pt"), ("torch/view.pt", "p2.pt")] {
        std::fs::copy(fixture(from), dir.path().join("pieces").join(to)).unwrap();
    }
    let lines = "pieces/p0.pt,x,0,train\npieces/p1.pt,x,0,train\npieces/p2.pt,y,1,val\n";
    let manifest = write(dir.path(), "manifest.csv", &format!("embeddings,wsi_id,target,split\n{lines}"));
    let set = Dataset::open_with(&manifest, &Opening { splits: Some(manifest.clone()), ..Opening::default() }).unwrap();
    assert_eq!((set.bags.names.join(" "), &set.bags.offsets[..]), ("x y".into(), &[0, 6, 9][..]));
    assert_eq!((&set.bags.labels, &set.split), (&Some(vec![0, 1]), &Some(vec![Split::Train, Split::Validation])));
    assert_eq!(set.bags.features.to_f32(), [features(1, 3, 6), features(1, 3, 6), features(1, 3, 6)].concat());
    told(&set, "1 slides have several files, whose patches follow one another");
    // Without labels all are predicted; columns can be named.
    let plain = write(dir.path(), "plain.csv", &format!("n,file,other,more\n1,{a},u,v\n2,{b},u,v\n"));
    let set = Dataset::open(&plain).unwrap();
    assert_eq!((set.bags.names.join(" "), &set.bags.labels), ("s0 001".into(), &None));
    let columns = ColumnNames { bag: Some("n".into()), label: Some("other".into()), ..ColumnNames::default() };
    let set = Dataset::open_with(&plain, &Opening { columns, ..Opening::default() }).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.class_names.join(" ")), ("1 2".into(), "u".into()));

    let only = write(dir.path(), "only.csv", &format!("file,magnification\n{a},20\n{b},40\n"));
    assert_eq!(Dataset::open(&only).unwrap().bags.labels, None, "the only other column is no label");
    let alone = write(dir.path(), "alone.csv", &format!("path,label,patient\n{a},0,p\n{b},1,\n"));
    assert!(refused(Dataset::open(&alone)).contains("line 3: slide '001' has no patient"));

    // What is not there, and what is there twice, is told and not put together.
    let other = at("clam/h5_files/s0.h5");
    let bad = write(dir.path(), "bad.csv", &format!("path,label\n{a},0\n{other},0\n/nowhere/z.pt,1\n"));
    let message = refused(Dataset::open(&bad));
    assert!(message.contains("2 slides cannot be used"), "{message}");
    assert!(message.contains("s0.pt is a file of the same slide") && message.contains("/nowhere/z.pt: "), "{message}");
    let lines = "pieces/p0.pt,x,0,train\npieces/p1.pt,x,1,train\n";
    let bad = write(dir.path(), "two.csv", &format!("embeddings,wsi_id,target,split\n{lines}"));
    assert!(refused(Dataset::open(&bad)).contains("lines 2 and 3 are both of slide 'x' and say different things"));
}
