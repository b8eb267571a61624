//! Folders of slides that other programs wrote (`tools/make_slides.py`), and what is told of those that cannot be used.

use bagrad::data::text::ColumnNames;
use bagrad::data::{Dataset, OnBad, Opening, Source, Split, slides};
use bagrad::{Bags, Features, Origin, PlaceUnit};
use std::path::{Path, PathBuf};

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/slides").join(name)
}

/// What `tools/make_slides.py` writes for this slide.
pub fn features(slide: usize, rows: usize, width: usize) -> Vec<f32> {
    (0..rows * width).map(|at| (slide * 16 + at / width) as f32 + (at % width) as f32 / 8.0).collect()
}

pub fn place(row: usize, scale: f32) -> [f32; 2] {
    [(row % 3 * 512) as f32 * scale, (row / 3 * 512 + 1024) as f32 * scale]
}

fn labelled(folder: &Path, table: &str) -> bagrad::Result<Dataset> {
    let dir = tempfile::tempdir().unwrap();
    let labels = dir.path().join("labels.csv");
    std::fs::write(&labels, table).unwrap();
    Dataset::open_with(folder, &Opening { labels: Some(labels), ..Opening::default() })
}

pub fn refused(done: bagrad::Result<Dataset>) -> String {
    done.map(|set| format!("{:?}", set.bags.names)).expect_err("expected an error").to_string()
}

/// The three slides of `folder`, at a scale of their places.
fn check_three(folder: &str, names: [&str; 3], half: bool, scale: f32, told: &[&str]) {
    let set = Dataset::open(fixture(folder)).unwrap();
    let bags = &set.bags;
    assert_eq!(bags.names, names);
    assert_eq!((bags.width, &bags.offsets[..]), (6, &[0, 4, 7, 12][..]));
    assert_eq!(matches!(bags.features, Features::F16(_)), half, "{folder}");
    let expected: Vec<f32> = [4, 3, 5].iter().enumerate().flat_map(|(s, &rows)| features(s, rows, 6)).collect();
    assert_eq!(bags.features.to_f32(), expected);
    let places: Vec<[f32; 2]> = [4, 3, 5].iter().flat_map(|&rows| (0..rows).map(|r| place(r, scale))).collect();
    assert_eq!(bags.coords.as_deref(), Some(&places[..]));
    let remarks = set.remarks.join("\n");
    told.iter().for_each(|told| assert!(remarks.contains(told), "{told} is not in:\n{remarks}"));
    assert_eq!(bags.labels, None);
}

#[test]
fn layouts_are_read() {
    let names = ["s0", "s1", "s2"];
    // CLAM's folder of features, and the one above it; the size of patches is in its files of patches.
    let clam = "places are in pixels of level 0; a patch is 512 of them wide";
    check_three("clam", names, false, 1.0, &[clam, "h5_files, which has places too, and not from pt_files"]);
    check_three("clam/h5_files", names, false, 1.0, &[clam]);
    let told = [&format!("{clam}, seen at 20 times")[..], "the encoder of the features is uni_v1"];
    check_three("trident", ["000", "001", "002"], true, 1.0, &told);
    let told = ["places are in micrometres; a patch is 256 of them wide", "is ctranspath"];
    check_three("stamp", names, true, 0.5, &told);
    // What all slides say goes with the bags.
    let origin = |folder: &str| Dataset::open(fixture(folder)).unwrap().bags.origin;
    let (pixels, micrometres) = (Some(PlaceUnit::Pixels), Some(PlaceUnit::Micrometres));
    let of = |encoder: Option<&str>, unit, patch, magnification| {
        Some(Origin { encoder: encoder.map(str::to_owned), unit, patch: Some(patch), magnification })
    };
    assert_eq!(origin("clam"), of(None, pixels, 512.0, None));
    assert_eq!(origin("trident"), of(Some("uni_v1"), pixels, 512.0, Some(20.0)));
    assert_eq!(origin("stamp"), of(Some("ctranspath"), micrometres, 256.0, None));
    assert_eq!(origin("torch"), None);
}

#[test]
fn every_way_to_store_a_matrix_is_read() {
    for kind in
        ["backwards", "batch", "big-endian", "contiguous", "double", "gzip", "latest", "lzf", "shuffle", "user-block"]
    {
        let file = fixture("kinds").join(format!("{kind}.h5"));
        let set = Dataset::open(&file).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(set.bags.features.to_f32(), features(1, 3, 6), "{kind}");
        let places: Vec<[f32; 2]> = (0..3).map(|row| place(row, 1.0)).collect();
        assert_eq!(set.bags.coords, Some(places), "{kind}");
        assert_eq!(set.bags.names, [kind]);
    }
    let set = Dataset::open(fixture("kinds")).unwrap();
    assert!(set.remarks.join("\n").contains("features are float32 in 8 slides, float16 in 1, float64 in 1"));
    let set = Dataset::open(fixture("vector")).unwrap();
    assert_eq!((set.bags.features.to_f32(), set.bags.len()), ([features(0, 1, 6), features(1, 1, 6)].concat(), 2));
    assert!(set.remarks.join("\n").contains("a vector is a bag with one instance"));
}

#[test]
fn labels_and_patients_come_from_a_table() {
    // Ids keep their zeros; endings are on one side only; a slide without a label is predicted, and one without a line
    // left out.
    let table = "\u{feff}case_id,slide_id,label\r\np2,002.svs,tumour\r\np1, 000.svs ,normal\r\n";
    let set = labelled(&fixture("trident"), table).unwrap();
    assert_eq!(set.bags.names, ["000", "002"]);
    assert_eq!((set.bags.labels, set.bags.class_names), (Some(vec![0, 1]), vec!["normal".into(), "tumour".into()]));
    assert_eq!(set.bags.groups, Some(vec!["p1".into(), "p2".into()]));
    let remarks = set.remarks.join("\n");
    assert!(remarks.contains("1 files have no line in labels.csv and are left out, such as '001'"), "{remarks}");
    assert!(remarks.contains("column 'slide_id' names the slide, 'label' the label, the patient 'case_id'"));
    let set = labelled(&fixture("stamp"), "slide\tclass\ns0.h5\t1\ns1.h5\tNA\nx/s2.tif\t0\ns9\t1\n").unwrap();
    assert_eq!((set.bags.labels, set.bags.groups), (Some(vec![1, Bags::UNKNOWN, 0]), None));
    assert!(set.remarks.join("\n").contains("1 slides of labels.csv have no file, such as 's9'"));

    let message = refused(labelled(&fixture("trident"), "slide_id,label\n0,1\n1,0\n2,1\n"));
    assert!(message.contains("the table has '0', '1', '2', the folder has '000', '001', '002'"), "{message}");
    let columns = ColumnNames { bag: Some("slide".into()), ..ColumnNames::default() };
    let message = refused(Dataset::open_with(fixture("trident"), &Opening { columns, ..Opening::default() }));
    assert!(message.contains("there is no table that has them"), "{message}");
    let labels = Some(fixture("bad/notes.txt"));
    let message = refused(Dataset::open_with("digits-bags", &Opening { labels, ..Opening::default() }));
    assert!(message.contains("go with a folder that has a file for each slide"), "{message}");
}

#[test]
fn bad_slides_are_found_together() {
    let reasons = [
        ("cut.h5", "the file cannot be read"),
        ("empty.h5", "no patches: features has the shape [0, 6]"),
        ("empty0.h5", "no patches: features has the shape [0]"),
        ("nan.h5", "row 1, column 2 (0-based): expected finite features within float32, found NaN"),
        ("narrow.h5", "4 features, where 3 of 4 slides have 6"),
        ("nothing.h5", "it does not begin as HDF5 files do"),
        ("patches.h5", "coords alone: a file of patches, not of features"),
        ("places.h5", "expected coords of shape [3, 2] (a place for each patch), found [2, 2]"),
        ("words.h5", "it does not begin as HDF5 files do"),
    ];
    let message = refused(Dataset::open(fixture("bad")));
    let skip = Opening { on_bad: OnBad::Skip, ..Opening::default() };
    let set = Dataset::open_with(fixture("bad"), &skip).unwrap();
    assert_eq!(set.bags.names, ["good", "good2"]);
    assert_eq!(set.bags.features.to_f32(), [features(1, 3, 6), features(2, 2, 6)].concat());
    let remarks = set.remarks.join("\n");
    for text in [&message, &remarks] {
        assert!(text.contains("9 slides cannot be used"), "{text}");
        for (file, reason) in reasons {
            let line = text.lines().find(|l| l.contains(&format!("{file}: ")));
            assert!(line.is_some_and(|l| l.contains(reason)), "{file}: {reason}\n{text}");
        }
    }
    assert!(remarks.contains("1 other files are left out, such as 'notes.txt'"), "{remarks}");
    assert!(message.contains("--on-bad skip"), "{message}");
    // Only what the table names has to be good.
    let set = labelled(&fixture("bad"), "slide,label\ngood,0\ngood2,1\n").unwrap();
    assert_eq!(set.bags.labels, Some(vec![0, 1]));
}

#[test]
fn sources_are_told_apart() {
    assert_eq!(Source::parse(fixture("trident")).unwrap(), Source::Slides(fixture("trident")));
    assert_eq!(Source::parse(fixture("trident/000.h5")).unwrap(), Source::Slides(fixture("trident/000.h5")));
    let message = refused(Dataset::open(fixture("patches")));
    assert!(message.contains("3 slides cannot be used"), "{message}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("S1.h5"), "").unwrap();
    assert!(refused(Dataset::open(dir.path())).contains("S1.h5: it does not begin as HDF5 files do"));
}

/// A file that says it holds more than it can is refused before memory is taken for it.
#[test]
fn sizes_are_not_believed() {
    let whole = std::fs::read(fixture("kinds/contiguous.h5")).unwrap();
    // The dimensions [3, 6], eight bytes each.
    let shape: Vec<u8> = [3u64, 6].iter().flat_map(|d| d.to_le_bytes()).collect();
    let at = whole.windows(16).position(|w| w == shape).expect("the shape of the features");
    let dir = tempfile::tempdir().unwrap();
    for rows in [1u64 << 20, 1 << 40, 1 << 62] {
        let mut changed = whole.clone();
        changed[at..at + 8].copy_from_slice(&rows.to_le_bytes());
        std::fs::write(dir.path().join("a.h5"), changed).unwrap();
        let message = refused(Dataset::open(dir.path()));
        let told = ["is it cut off?", "too large", "cannot be read"].iter().any(|t| message.contains(t));
        assert!(told, "{message}");
    }
}

#[test]
fn torch_files_are_read() {
    let set = Dataset::open(fixture("clam/pt_files")).unwrap();
    let expected: Vec<f32> = [4, 3, 5].iter().enumerate().flat_map(|(s, &rows)| features(s, rows, 6)).collect();
    assert_eq!((set.bags.features.to_f32(), set.bags.coords), (expected, None));
    let placed = ["dict", "legacy-dict", "ordered"];
    for kind in [
        "tensor",
        "half",
        "bfloat16",
        "double",
        "legacy",
        "list",
        "batch",
        "transposed",
        "view",
        "parameter",
        placed[0],
        placed[1],
        placed[2],
    ] {
        let set = Dataset::open(fixture("torch").join(format!("{kind}.pt"))).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(set.bags.features.to_f32(), features(1, 3, 6), "{kind}");
        assert_eq!(matches!(set.bags.features, Features::F16(_)), ["half", "legacy-dict"].contains(&kind), "{kind}");
        let places: Vec<[f32; 2]> = (0..3).map(|row| place(row, 1.0)).collect();
        assert_eq!(set.bags.coords, placed.contains(&kind).then_some(places), "{kind}");
    }
    // Both kinds of files in one folder: that with places is read.
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [("clam/pt_files/s1.pt", "a.pt"), ("clam/h5_files/s1.h5", "a.h5"), ("torch/half.pt", "b.pt")] {
        std::fs::copy(fixture(from), dir.path().join(to)).unwrap();
    }
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(set.bags.names, ["a", "b"]);
    let remarks = set.remarks.join("\n");
    assert!(
        remarks.contains("1 slides have a file of HDF5, which is read, and one of PyTorch, such as 'a'"),
        "{remarks}"
    );
    assert!(remarks.contains("1 of 2 slides have coordinates: no place is used"), "{remarks}");
}

#[test]
fn nothing_in_a_torch_file_is_executed_or_believed() {
    let executed = std::env::current_dir().unwrap().join("EXECUTED");
    assert!(!executed.exists());
    let message = refused(Dataset::open(fixture("torch-bad")));
    for (file, reason) in [
        ("cut-legacy", "ends early"),
        ("cut-tensor", "broken or cut off"),
        ("expanded", "does not fit its 2 values"),
        ("integers", "expected the tensor to be floats, found int64"),
        ("malicious", "it asks for posix.system, which no tensor needs: refused, and nothing of it was executed"),
        ("malicious-legacy", "it asks for posix.system"),
        ("module", "it asks for torch.nn.modules.linear.Linear"),
        ("several", "expected a list with one tensor, found one of 2 values"),
        ("state", "expected a tensor called features, feats, patch_embeddings, found weight, bias"),
    ] {
        let line = message.lines().find(|l| l.contains(&format!("{file}.pt: ")));
        assert!(line.is_some_and(|l| l.contains(reason)), "{file}: {reason}\n{message}");
    }
    assert!(!executed.exists());
}

#[test]
fn a_division_comes_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let labels = write("labels.csv", "case_id,slide_id,label\np,000,0\np,001,1\nq,002,1\n");
    let opened = |splits| {
        Dataset::open_with(fixture("trident"), &Opening { labels: labels.clone(), splits, ..Opening::default() })
    };
    let set = opened(write("splits_0.csv", ",train,val,test\n0,000.svs,,002\n1,001,,\n")).unwrap();
    assert_eq!(set.split, Some(vec![Split::Train, Split::Train, Split::Test]));
    assert!(set.check_for_training().is_ok());
    let set = opened(write("splits_1.csv", ",train,val,test\n0,000,,001\n")).unwrap();
    assert_eq!(
        (&set.bags.names[..], &set.split),
        (&["000", "001"].map(String::from)[..], &Some(vec![Split::Train, Split::Test]))
    );
    assert!(set.remarks.join("\n").contains("1 slides are in no part of splits_1.csv and are left out, such as '002'"));
    // Slides of a patient on both sides.
    let message = set.check_for_training().unwrap_err().to_string();
    assert!(message.contains("'p'"), "{message}");
}

/// The clini and the slide table of STAMP, with its list of patients for each part.
#[test]
fn patients_and_their_slides_come_from_two_tables() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let labels = write("clini.csv", "PATIENT,isMSIH\n1,MSIH\n2,nonMSIH\n3,MSIH\n");
    let slides = write("slide.csv", "PATIENT,FILENAME\n1,s0.h5\n1,x/s1.h5\n2,s2.h5\n");
    let splits = r#"{"splits": [{"train_patients": ["2"], "test_patients": ["1"]},
                               {"train_patients": ["1"], "test_patients": ["2", "3"]}]}"#;
    let (splits, which) = (write("splits.json", splits), Some("1".to_owned()));
    let opening = Opening { labels, slides, splits, which_split: which, ..Opening::default() };
    let set = Dataset::open_with(fixture("stamp"), &opening).unwrap();
    assert_eq!(set.bags.names, ["s0", "s1", "s2"]);
    assert_eq!(set.bags.class_names, ["nonMSIH", "MSIH"]);
    assert_eq!(
        (set.bags.labels, set.bags.groups),
        (Some(vec![1, 1, 0]), Some(vec!["1".into(), "1".into(), "2".into()]))
    );
    assert_eq!(set.split, Some(vec![Split::Train, Split::Train, Split::Test]));
    let found = slides::inspect(&fixture("stamp"), &opening, false).unwrap();
    assert_eq!((found.slides, found.patients, found.classes[1].slides), (3, Some(2), 2));
    let remarks = found.remarks.join("\n");
    assert!(
        remarks.contains("clini.csv with slide.csv: 1 patients have no slide in slide.csv, such as '3'"),
        "{remarks}"
    );

    // The same as workbooks, of which the first table is read.
    let workbook = |name: &str| Some(fixture("workbooks").join(name));
    let mut books = Opening { labels: workbook("clini.xlsx"), slides: workbook("slide.xlsx"), ..Opening::default() };
    books.columns.label = Some("isMSIH".into());
    let set = Dataset::open_with(fixture("stamp"), &books).unwrap();
    let groups = ["007", "8", "é & <x>"].map(String::from).to_vec();
    assert_eq!((set.bags.labels, set.bags.groups), (Some(vec![1, 0, 1]), Some(groups)));
    let remarks = set.remarks.join("\n");
    assert!(remarks.contains("clini.xlsx: the first table of the workbook is read, and not 'notes'"), "{remarks}");
    let message =
        refused(Dataset::open_with(fixture("stamp"), &Opening { slides: workbook("none.xlsx"), ..books.clone() }));
    assert!(message.contains("none.xlsx"), "{message}");
    books.slides = Some(fixture("npz/stored.npz"));
    let message = refused(Dataset::open_with(fixture("stamp"), &books));
    assert!(message.contains("expected a table as csv or xlsx; the archive has no xl/workbook.xml"), "{message}");

    // One of the two alone, and a choice without a file.
    let refused = |opening| refused(Dataset::open_with(fixture("stamp"), &opening));
    let message = refused(Opening { slides: None, ..opening.clone() });
    assert!(message.contains("(a table of patients goes with one of their slides: --slides TABLE)"), "{message}");
    let message = refused(Opening { labels: None, ..opening.clone() });
    assert!(
        message.contains("setting slides: is the table of slides beside one of patients (--labels TABLE)"),
        "{message}"
    );
    let message = refused(Opening { splits: None, ..opening.clone() });
    assert!(message.contains("setting which-split: chooses a division of the file of splits"), "{message}");
    let message = refused(Opening { labels: None, slides: None, ..opening });
    assert!(
        message.contains("whose each slide is has to be known (--labels TABLE with a column of patients)"),
        "{message}"
    );
}

/// One table that has slides, labels and parts, given as both.
#[test]
fn a_table_of_labels_may_have_the_parts_too() {
    let dir = tempfile::tempdir().unwrap();
    let table = |text: &str| {
        let path = dir.path().join("dataset.csv");
        std::fs::write(&path, text).unwrap();
        path
    };
    let opened = |path: &Path, splits: bool, which: Option<&str>| {
        let which_split = which.map(str::to_owned);
        let splits = splits.then(|| path.to_owned());
        Dataset::open_with(
            fixture("trident"),
            &Opening { labels: Some(path.into()), splits, which_split, ..Opening::default() },
        )
    };
    let expected = Some(vec![Split::Train, Split::Validation, Split::Test]);
    let nnmil = table("slide_id,patient_id,split,label\n000,p,train,0\n001,q,val,1\n002,r,test,1\n");
    let set = opened(&nnmil, true, None).unwrap();
    assert_eq!((set.split, set.bags.labels), (expected.clone(), Some(vec![0, 1, 1])));
    let set = opened(&nnmil, false, None).unwrap();
    assert_eq!(set.split, None);
    let remarks = set.remarks.join("\n");
    assert!(
        remarks.contains("column 'split' says which slides train; it is used with --splits dataset.csv"),
        "{remarks}"
    );
    // MIL_BASELINE's, side by side.
    let header = "train_slide_path,train_label,val_slide_path,val_label,test_slide_path,test_label";
    let beside = table(&format!("{header}\n/x/000.pt,0,/y/001.h5,1,002.pt,1\n"));
    let set = opened(&beside, true, None).unwrap();
    assert_eq!((set.split, set.bags.labels), (expected.clone(), Some(vec![0, 1, 1])));
    // Patho-Bench: the only column that is no fold has the labels.
    let bench = table(
        "case_id\tslide_id\tfold_0\tfold_1\tgrade\np\t000\ttest\ttrain\tlow\nq\t001\ttrain\tval\thigh\n\
                       r\t002\ttrain\ttest\thigh\n",
    );
    assert!(refused(opened(&bench, true, None)).contains("has 2 divisions, the columns 'fold_0', 'fold_1'"));
    let set = opened(&bench, true, Some("fold_1")).unwrap();
    assert_eq!((set.split, set.bags.labels), (expected, Some(vec![1, 0, 0])));
    assert_eq!(set.bags.class_names, ["high", "low"]);
}

#[test]
fn folders_are_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let labels = write("labels.csv", "case_id,slide_id,label\np,000,normal\np,001,tumour\nq,002,NA\nr,009,normal\n");
    let splits = write("splits_0.csv", ",train,val,test\n0,000,,001\n1,002,,\n");
    let opening = Opening { labels, splits, ..Opening::default() };
    let found = slides::inspect(&fixture("trident"), &opening, false).unwrap();
    assert_eq!((found.slides, found.patches, found.width, found.bytes), (3, 12, 6, 12 * 6 * 2));
    assert_eq!(found.sizes, Some(slides::Sizes { min: 3, median: 4, max: 5 }));
    let only = |name: &str| std::collections::BTreeMap::from([(name.to_owned(), 3)]);
    assert_eq!((found.formats, found.numbers, found.encoders), (only("HDF5"), only("float16"), only("uni_v1")));
    assert_eq!((found.coordinates, found.patch_widths), (only("pixels of level 0"), only("512")));
    let class = |name: &str| slides::ClassCount { name: name.into(), slides: 1, patients: Some(1) };
    assert_eq!(found.classes, [class("normal"), class("tumour")]);
    assert_eq!((found.unlabelled, found.patients, found.without_file), (1, Some(2), vec!["009".into()]));
    assert_eq!(
        (found.patients_in_several_parts, found.patients_of_several_classes),
        (vec!["p".into()], vec!["p".into()])
    );
    let parts: Vec<(&str, usize, Option<usize>)> = found.parts.iter().map(|p| (p.name, p.slides, p.patients)).collect();
    assert_eq!(parts, [("train", 2, Some(2)), ("validation", 0, Some(0)), ("test", 1, Some(1))]);
    assert_eq!(found.parts[2].classes, std::collections::BTreeMap::from([("tumour".to_owned(), 1)]));
    assert!(found.bad.is_empty());

    // Values that are not finite are found where all are looked at.
    let inspected = |values| slides::inspect(&fixture("bad"), &Opening::default(), values).unwrap();
    let (heads, all) = (inspected(false), inspected(true));
    assert_eq!((heads.slides, heads.bad.len()), (3, 8));
    assert_eq!((all.slides, all.bad.len()), (2, 9));
    assert!(all.bad.iter().any(|bad| bad.path.ends_with("nan.h5") && bad.reason.contains("found NaN")));
}
