//! Parquet files of several writers (`tools/make_slides.py parquet`): of one slide, of many, and tables.

use super::slides::{features, fixture, place, refused};
use bagrad::data::text::ColumnNames;
use bagrad::data::{Dataset, Opening, Split, slides};
use bagrad::{Features, PlaceUnit};
use std::path::Path;

fn places(rows: usize) -> Vec<[f32; 2]> {
    (0..rows).map(|row| place(row, 1.0)).collect()
}

fn three() -> Vec<f32> {
    [4, 3, 5].iter().enumerate().flat_map(|(slide, &rows)| features(slide, rows, 6)).collect()
}

fn told(set: &Dataset, what: &str) {
    let remarks = set.remarks.join("\n");
    assert!(remarks.contains(what), "{what} is not in:\n{remarks}");
}

#[test]
fn files_of_every_writer_are_slides() {
    let names = [
        "columns",
        "double",
        "duckdb",
        "duckdb-columns",
        "fastparquet",
        "gzip",
        "half",
        "list",
        "lz4",
        "none",
        "pages",
        "pages-2",
        "polars",
        "polars-columns",
        "shuffled",
        "split",
        "zstd",
    ];
    for name in names {
        let set = Dataset::open(fixture(&format!("parquet/{name}.parquet"))).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(set.bags.features.to_f32(), features(1, 3, 6), "{name}");
        assert_eq!((set.bags.names, set.bags.width), (vec![name.to_owned()], 6));
        assert_eq!(matches!(set.bags.features, Features::F16(_)), name == "half", "{name}");
        assert_eq!(set.bags.coords, (name != "double").then(|| places(3)), "{name}");
        assert_eq!(set.bags.instance_labels, (name == "double").then(|| vec![0, 1, -1]), "{name}");
    }
    let all = slides::inspect(&fixture("parquet"), &Opening::default(), true).unwrap();
    assert_eq!((all.slides, all.formats["parquet"], all.bad.len()), (names.len(), names.len(), 0));
    let set = Dataset::open(fixture("parquet/list.parquet")).unwrap();
    told(&set, "each file is a slide; the features are the lists in 'features', the places 'x' and 'y'");
    told(&set, "the encoder of the features is uni_v1");
    let origin = set.bags.origin.unwrap();
    assert_eq!((origin.unit, origin.patch, origin.magnification), (Some(PlaceUnit::Pixels), Some(512.0), Some(20.0)));
    let set = Dataset::open(fixture("parquet/columns.parquet")).unwrap();
    told(
        &set,
        "the features are 6 columns from 'f00' to 'f05', the places 'x' and 'y'; columns that are not used: 'tissue', 'tile'",
    );
}

#[test]
fn a_file_may_have_the_rows_of_many_slides() {
    for name in ["lists", "lists-2", "columns"] {
        let path = fixture(&format!("parquet-many/{name}.parquet"));
        let set = Dataset::open(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bags = &set.bags;
        assert_eq!((bags.names.join(" "), bags.features.to_f32()), ("s0 s1 s2".into(), three()), "{name}");
        assert_eq!(bags.coords, Some([places(4), places(3), places(5)].concat()), "{name}");
        assert_eq!((&bags.labels, bags.class_names.join(" ")), (&Some(vec![1, 0, 1]), "a b".into()));
        assert_eq!(bags.groups.as_ref().unwrap().join(" "), "7 8 7");
        told(
            &set,
            "slides are named by column 'slide_id' of each row, the label in 'label', the patient in 'patient'; the features",
        );
        // One slide at a time, in any order.
        let some = slides::Slides::open(&path, &Opening::default()).unwrap();
        for (slide, rows) in [(2, 5), (0, 4), (1, 3)] {
            let taken = some.read(&[slide]).unwrap();
            assert_eq!(taken.bags.features.to_f32(), features(slide, rows, 6), "{name} {slide}");
            assert_eq!(taken.bags.coords, Some(places(rows)), "{name} {slide}");
        }
        // Other tables go before the columns, and other columns may be meant.
        let labels = Some(fixture("parquet-tables/labels.parquet"));
        let other = Dataset::open_with(&path, &Opening { labels, ..Opening::default() }).unwrap();
        assert_eq!(
            (other.bags.class_names.join(" "), other.bags.labels.unwrap()[..2].to_vec()),
            ("0 1".into(), vec![1, 0])
        );
        let columns =
            ColumnNames { bag: Some("patient".into()), label: Some("patient".into()), ..ColumnNames::default() };
        let message = refused(Dataset::open_with(&path, &Opening { columns, ..Opening::default() }));
        assert!(message.contains("column 'patient' cannot be two things at once"), "{message}");
        let columns = ColumnNames { bag: Some("patient".into()), ..ColumnNames::default() };
        let other = Dataset::open_with(&path, &Opening { columns, ..Opening::default() }).unwrap();
        assert_eq!((other.bags.names.join(" "), other.bags.len()), ("7 8".into(), 2));
    }
    // Files that go on with the slides of others.
    let set = Dataset::open(fixture("parquet-shards")).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.features.to_f32()), ("s0 s1 s2".into(), three()));
    assert_eq!((set.bags.coords, set.bags.labels), (Some([places(4), places(3), places(5)].concat()), None));
}

#[test]
fn rows_that_contradict_each_other_are_refused() {
    let message = refused(Dataset::open(fixture("parquet-contrary/labels.parquet")));
    assert!(message.contains("row 3 (0-based): slide 's1' has 'a' as its label, and 'b' before"), "{message}");
    let message = refused(Dataset::open(fixture("parquet-contrary/unnamed.parquet")));
    assert!(message.contains("unnamed.parquet: column slide_id: row 1 (0-based) names no slide"), "{message}");
    // Some files with a column of slides, and some without.
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(fixture(from), dir.path().join(to)).unwrap();
    copy("parquet-shards/train-00000-of-00002.parquet", "a.parquet");
    copy("parquet/list.parquet", "b.parquet");
    let message = refused(Dataset::open(dir.path()));
    assert!(message.contains("b.parquet: 'slide_id' names slides in") && message.contains("a.parquet"), "{message}");
}

#[test]
fn tables_may_be_parquet_files() {
    let folder = fixture("stamp");
    let with = |labels: &Path, splits: Option<&Path>| {
        let opening = Opening { labels: Some(labels.into()), splits: splits.map(Into::into), ..Opening::default() };
        Dataset::open_with(&folder, &opening).unwrap_or_else(|e| panic!("{e}"))
    };
    let set = with(&fixture("parquet-tables/labels.parquet"), None);
    assert_eq!(
        (set.bags.class_names.join(" "), set.bags.groups.as_ref().unwrap().join(" ")),
        ("0 1".into(), "7 8 7".into())
    );
    assert_eq!(set.bags.labels.as_deref().unwrap(), [1, 0, bagrad::Bags::UNKNOWN]);
    told(&set, "columns that are lists, or of a type that no table has, are left out: 'tags'");
    for name in ["delta-byte-array", "delta-length-byte-array"] {
        let table = fixture(&format!("parquet-tables/{name}.parquet"));
        let set = with(&table, Some(&table));
        assert_eq!((set.bags.class_names.join(" "), set.bags.labels), ("normal tumour".into(), Some(vec![1, 0, 1])));
        assert_eq!(set.split, Some(vec![Split::Train, Split::Validation, Split::Test]));
    }
    // A table of paths is found by itself; one beside the slides is none of them; one alone is no data.
    let set = Dataset::open(fixture("parquet-tables/paths.parquet")).unwrap();
    assert_eq!((set.bags.names.join(" "), set.bags.labels), ("list columns".into(), Some(vec![1, 0])));
    assert_eq!(set.bags.class_names, ["False", "True"]);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("parquet-tables/labels.parquet"), dir.path().join("labels.parquet")).unwrap();
    let message = bagrad::data::Source::parse(dir.path().join("labels.parquet")).unwrap_err().to_string();
    assert!(
        message.contains("a parquet file without features: expected a column of lists called features"),
        "{message}"
    );
    assert!(message.contains("A table of labels goes with its slides (--labels TABLE)"), "{message}");
    std::fs::copy(fixture("parquet/list.parquet"), dir.path().join("s0.parquet")).unwrap();
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(set.bags.names, ["s0"]);
    told(&set, "1 other files are left out, such as 'labels.parquet'");
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let folder = fixture("parquet-bad");
    let message = refused(Dataset::open(&folder));
    for (file, reason) in [
        ("cut", "it is no parquet file, or is cut off: PAR1 is not at both of its ends"),
        ("words", "it does not begin as parquet files do"),
        ("constant", "200000 rows of 6 features cannot be in a file of"),
        ("uneven", "features has 11 values in 2 rows: expected lists of one length without gaps"),
        ("empty", "no patches: the file has no rows"),
        ("integers", "expected features to be floats, found int64"),
        ("nested", "expected features to be floats, found lists of lists"),
        ("gap", "the columns of features have no 'f3' in front of 'f4'"),
        ("late", "the columns of features begin with 'f2', where 0 or 1 was expected"),
        ("several", "that are numbered and called alike, found 3 called 'a..', 3 called 'b..'"),
        (
            "lists",
            "patch_embeddings, or one column of lists alone; found uni of lists of float32, conch of lists of float32",
        ),
    ] {
        let line = message.lines().find(|line| line.contains(&format!("{file}.parquet: ")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{file}: {reason} is not in\n{message}");
    }
    // What the values alone tell.
    for (file, reason) in [
        ("brotli", "column features: its pages are packed with brotli; snappy, zstd, gzip and LZ4 are read"),
        ("missing", "column features: row 1 (0-based): expected 6 values, found a gap"),
        ("missing-list", "column features: row 1 (0-based): expected 6 values, found a gap"),
        ("ragged", "column features: row 0 (0-based): expected 6 values, found 5"),
        ("nan", "row 1, column 2 (0-based): expected finite features within float32, found NaN"),
        ("hole", "row 1 (0-based) has no value"),
        ("places", "expected coords of two or three numbers, found 4"),
        ("checksum", "column features: a page does not have the checksum that its head has of it"),
    ] {
        let message = refused(Dataset::open(folder.join(format!("{file}.parquet"))));
        assert!(message.contains(reason), "{file}: {message}");
    }
}
