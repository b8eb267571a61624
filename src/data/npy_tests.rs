//! Folders of npy files, right and wrong; the files are written by hand so that they can be wrong.

use super::*;
use half::f16;
use npyz::WriterBuilder;

fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let fortran = if fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    header.extend(std::iter::repeat_n(' ', 63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(data);
    file
}

fn f32s(shape: &str, values: &[f32]) -> Vec<u8> {
    npy("<f4", false, shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

fn i32s(shape: &str, values: &[i32]) -> Vec<u8> {
    npy("<i4", false, shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// A folder of three instances of width 2 in bags of one and two, with `changes` to its files; an empty file
/// means that there is none.
fn folder(changes: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let right = [
        ("features.npy", f32s("(3, 2)", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("bag_ids.npy", i32s("(3,)", &[0, 1, 1])),
        ("labels.npy", i32s("(2,)", &[1, 0])),
    ];
    for (name, bytes) in right.iter().chain(changes) {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        if bytes.is_empty() {
            std::fs::remove_file(path).unwrap();
        }
    }
    dir
}

fn opened(changes: &[(&str, Vec<u8>)]) -> Dataset {
    open(folder(changes).path()).unwrap()
}

/// The folder with one file changed is refused, and the message names the file and `what`.
fn refused(name: &str, bytes: Vec<u8>, what: &str) {
    let dir = folder(&[(name, bytes)]);
    let message = open(dir.path()).unwrap_err().to_string();
    assert!(message.contains(name) && message.contains(what), "{message}\nlacks: {what}");
}

#[test]
fn a_whole_folder_opens() {
    let set = opened(&[
        ("instance_labels.npy", npy("<i8", false, "(3,)", &[7i64, -1, 9].map(i64::to_le_bytes).concat())),
        ("coords.npy", f32s("(3, 3)", &[1.0, 2.0, 9.0, 3.0, 4.0, 9.0, 5.0, 6.0, 9.0])),
        ("split.npy", npy("|i1", false, "(2,)", &[2, 1])),
        ("folds.npy", npy("|u1", false, "(2, 2)", &[0, 1, 1, 0])),
    ]);
    assert_eq!(set.bags.features, Features::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!((set.bags.width, &set.bags.offsets[..], set.bags.image), (2, &[0, 1, 3][..], None));
    assert_eq!(set.bags.labels, Some(vec![1, 0]));
    assert_eq!(set.bags.instance_labels, Some(vec![7, -1, 9]));
    assert_eq!(set.bags.coords, Some(vec![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]));
    assert_eq!(set.split, Some(vec![Split::Validation, Split::Test]));
    assert_eq!(set.folds.unwrap().of(), [[0, 1], [1, 0]]);
}

#[test]
fn bags_may_have_several_labels() {
    let (yes, no) = (Some(true), Some(false));
    let names = |set: &Dataset| set.bags.class_names.join(" ");
    let rows = |set: &Dataset| set.bags.label_sets.clone().unwrap().bags().flatten().copied().collect::<Vec<_>>();
    let set = opened(&[
        ("labels.npy", npy("|b1", false, "(2, 3)", &[1, 1, 0, 0, 0, 0])),
        ("class_names.txt", b"oedema\nnodule\nmass\n".to_vec()),
    ]);
    assert_eq!((rows(&set), &names(&set)[..]), (vec![yes, yes, no, no, no, no], "oedema nodule mass"));
    assert_eq!((set.bags.labels.clone(), &set.remarks[..]), (None, &[][..]));
    // Columns first, as MATLAB stores them.
    let set = opened(&[("labels.npy", npy("<i4", true, "(2, 2)", &[1i32, 0, 1, 1].map(i32::to_le_bytes).concat()))]);
    assert_eq!((rows(&set), &names(&set)[..]), (vec![yes, yes, no, yes], "0 1"));
    assert!(set.remarks[0].contains("any subset of 2 labels"), "{:?}", set.remarks);
    let unknown = f32s("(2, 2)", &[1.0, f32::NAN, f32::NAN, f32::NAN]);
    let set = opened(&[("labels.npy", unknown), ("split.npy", i32s("(2,)", &[0, 1]))]);
    assert_eq!(rows(&set), [yes, None, None, None]);
    assert_eq!(set.split, Some(vec![Split::Train, Split::Unlabelled]));
    assert!(set.remarks[1].contains("3 of 4 labels") && set.remarks[1].contains("1 of the bags"), "{:?}", set.remarks);
    let set = opened(&[("labels.npy", f32s("(2, 2)", &[f32::NAN; 4]))]);
    assert!(!set.bags.has_labels());
    let set = opened(&[("labels.npy", i32s("(2, 2)", &[1, 0, 0, 1]))]);
    assert!(set.remarks[1].contains("exactly one"), "{:?}", set.remarks);
    let set = opened(&[("labels.npy", i32s("(2, 1)", &[1, 0]))]);
    assert_eq!((set.bags.labels.clone(), set.bags.label_sets.is_none()), (Some(vec![1, 0]), true));
    assert!(set.remarks[0].contains("one column"), "{:?}", set.remarks);

    refused("labels.npy", i32s("(2, 2)", &[1, 0, 0, -1]), "found -1 in row 1, column 1 (0-based); where -1 means");
    refused("labels.npy", i32s("(2, 2)", &[1, 0, 3, 1]), "found 3 in row 1, column 0");
    refused("labels.npy", f32s("(2, 2)", &[1.0, 0.5, 0.0, 1.0]), "found 0.5 in row 0, column 1");
    refused("labels.npy", i32s("(3, 2)", &[1, 0, 0, 1, 1, 1]), "expected shape [2, 2]");
    refused("labels.npy", npy("<U1", false, "(2, 2)", &[0; 16]), "integer type");
    let dir = folder(&[("labels.npy", i32s("(2, 2)", &[1, 0, 0, 1])), ("class_names.txt", b"a\nb\nc\n".to_vec())]);
    assert!(open(dir.path()).unwrap_err().to_string().contains("class_names.txt has so many lines"));
    let dir = folder(&[("labels.npy", i32s("(2, 2)", &[1, 0, 0, 1])), ("class_names.txt", b"a\na\n".to_vec())]);
    assert!(open(dir.path()).unwrap_err().to_string().contains("two labels are called 'a'"));
}

#[test]
fn several_labels_are_saved_as_they_were() {
    for values in [vec![1.0, 0.0, 1.0, 1.0], vec![1.0, f32::NAN, 0.0, 1.0]] {
        let names = ("class_names.txt", b"a\nb\n".to_vec());
        let set = opened(&[("labels.npy", f32s("(2, 2)", &values)), names]);
        let to = tempfile::tempdir().unwrap();
        save(&set, to.path()).unwrap();
        let again = open(to.path()).unwrap().bags;
        assert_eq!((again.label_sets, again.class_names), (set.bags.label_sets, set.bags.class_names));
    }
}

#[test]
fn labels_may_be_left_out() {
    let set = opened(&[("labels.npy", vec![])]);
    assert_eq!((set.bags.len(), set.bags.labels.clone()), (2, None));
    assert!(set.check_for_training().is_err());
}

#[test]
fn every_number_type_is_read() {
    let expected = Features::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let values = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0];
    let little = npy("<f8", false, "(3, 2)", &values.map(f64::to_le_bytes).concat());
    let big = npy(">f4", false, "(3, 2)", &values.map(|v| (v as f32).to_be_bytes()).concat());
    let fortran = npy("<f8", true, "(3, 2)", &[1.0f64, 3.0, 5.0, 2.0, 4.0, 6.0].map(f64::to_le_bytes).concat());
    for features in [little, big, fortran] {
        assert_eq!(opened(&[("features.npy", features)]).bags.features, expected);
    }
    let half = npy("<f2", false, "(3, 2)", &values.map(|v| f16::from_f64(v).to_le_bytes()).concat());
    assert_eq!(opened(&[("features.npy", half)]).bags.features, expected.to_f16());
    let ids: [(&str, Vec<u8>); 6] = [
        ("|b1", vec![0, 1, 1]),
        ("|u1", vec![0, 1, 1]),
        (">u2", [0u16, 1, 1].map(u16::to_be_bytes).concat()),
        ("<i2", [0i16, 1, 1].map(i16::to_le_bytes).concat()),
        ("<u4", [0u32, 1, 1].map(u32::to_le_bytes).concat()),
        (">u8", [0u64, 1, 1].map(u64::to_be_bytes).concat()),
    ];
    for (descr, bytes) in ids {
        assert_eq!(opened(&[("bag_ids.npy", npy(descr, false, "(3,)", &bytes))]).bags.offsets, [0, 1, 3]);
    }
}

#[test]
fn arrays_larger_than_a_buffer_and_of_another_writer() {
    let rows = 40_001usize;
    let values: Vec<f32> = (0..rows * 3).map(|v| v as f32).collect();
    let mut file = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&[rows as u64, 3]).writer(&mut file);
    let mut writer = options.begin_nd().unwrap();
    writer.extend(values.iter()).unwrap();
    writer.finish().unwrap();
    let changes =
        [("features.npy", file), ("bag_ids.npy", i32s("(40001,)", &vec![0; rows])), ("labels.npy", i32s("(1,)", &[0]))];
    assert_eq!(opened(&changes).bags.features, Features::F32(values));
}

#[test]
fn pixels_are_scaled_and_shaped() {
    let pixels = |shape: &str, count: u8| {
        let bytes: Vec<u8> = (0..count).map(|v| v * 5).collect();
        opened(&[("features.npy", vec![]), ("pixels.npy", npy("|u1", false, shape, &bytes))]).bags
    };
    let square = pixels("(3, 4)", 12);
    assert_eq!((square.width, square.image), (4, Some([2, 2, 1])));
    assert_eq!(square.features.get(11), 55.0 / 255.0);
    assert_eq!(pixels("(3, 6)", 18).image, None);
    assert_eq!(pixels("(3, 2, 3)", 18).image, Some([2, 3, 1]));
    let colour = pixels("(3, 2, 1, 3)", 18);
    assert_eq!((colour.width, colour.image), (6, Some([2, 1, 3])));
}

#[test]
fn key_instances_go_before_instance_labels() {
    let set = opened(&[
        ("instance_labels.npy", i32s("(3,)", &[5, 6, 7])),
        ("key_instances.npy", npy("|u1", false, "(3,)", &[0, 1, 0])),
    ]);
    assert_eq!(set.instance_targets(), Some(vec![0, 1, 0]));
}

#[test]
fn missing_files_are_named() {
    let message = |name| open(folder(&[(name, vec![])]).path()).unwrap_err().to_string();
    assert!(message("features.npy").contains("expected features.npy or pixels.npy in this folder"));
    assert!(message("bag_ids.npy").contains("expected bag_ids.npy (the bag of each instance)"));
}

#[test]
fn wrong_features_are_refused() {
    let refused = |bytes, what| refused("features.npy", bytes, what);
    refused(i32s("(3, 2)", &[0; 6]), "expected float16, float32 or float64, found <i4");
    refused(f32s("(6,)", &[0.0; 6]), "expected two dimensions [instances, width], found [6]");
    refused(f32s("(3, 1, 2)", &[0.0; 6]), "expected two dimensions");
    refused(f32s("()", &[0.0]), "expected two dimensions");
    refused(f32s("(0, 2)", &[]), "at least one instance");
    refused(f32s("(3, 0)", &[]), "at least one instance");
    let place = "row 1, column 1 (0-based) is";
    for bad in [f32::NAN, f32::INFINITY] {
        refused(f32s("(3, 2)", &[0.0, 0.0, 0.0, bad, 0.0, 0.0]), place);
    }
    let large = [0.0, 0.0, 0.0, 1e300, 0.0, 0.0f64].map(f64::to_le_bytes).concat();
    refused(npy("<f8", false, "(3, 2)", &large), place);
    let fortran = [0.0, 0.0, 0.0, 0.0, f64::NAN, 0.0].map(f64::to_le_bytes).concat();
    refused(npy("<f8", true, "(3, 2)", &fortran), place);
}

#[test]
fn damaged_files_are_refused() {
    let whole = f32s("(3, 2)", &[0.0; 6]);
    let refused = |bytes: &[u8], what| refused("features.npy", bytes.to_vec(), what);
    refused(&whole[..whole.len() - 1], "the file ends early: shape [3, 2] of <f4 needs 24 bytes, found 23");
    refused(&[&whole[..], &[0]].concat(), "the file is too long");
    refused(&whole[..30], "its header ends early");
    refused(&whole[..5], "it has no header");
    refused(b"PK\x03\x04 not an array", "\\x93NUMPY");
    refused(b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "is longer than 10000");
    refused(b"\x93NUMPY\x09\x00\x02\x00\x00\x00{}", "unsupported version");
    refused(&npy("<f4", false, "(18446744073709551615, 4)", &[]), "something other than an array");
    refused(&npy("<f8", false, "(99999999999999999, 9)", &[]), "ends early");
    refused(&npy("<f4", false, "(9999999999, 99999999)", &[]), "ends early");
    refused(&npy("<f4", false, &format!("{}3{}", "(".repeat(4000), ",)".repeat(2000)), &[]), "something other");
    refused(&npy("<f4", false, "[(3, 2", &[]), "cannot be read");
    refused(&npy("|O", false, "(3, 2)", &[0; 24]), "found items of type |O");
    refused(&npy("<U4", false, "(3, 2)", &[0; 96]), "expected float16, float32 or float64, found <U4");
    let record = String::from_utf8_lossy(&npy("@", false, "(3,)", &[])[10..]).replace("'@'", "[('a', '<f4')]");
    refused(
        &[b"\x93NUMPY\x01\x00".to_vec(), vec![record.len() as u8, 0], record.into()].concat(),
        "structured records",
    );
}

#[test]
fn wrong_bag_numbers_are_refused() {
    let refused = |bytes, what| refused("bag_ids.npy", bytes, what);
    refused(i32s("(3,)", &[1, 1, 2]), "row 0 (0-based): expected bag 0 first, found bag 1");
    refused(i32s("(3,)", &[-1, 0, 1]), "expected bag 0 first, found bag -1");
    refused(i32s("(3,)", &[0, 2, 2]), "row 1 (0-based): bag 2 after bag 0; bag 1 has no instance");
    refused(i32s("(3,)", &[0, 1, 0]), "row 2 (0-based): bag 0 after bag 1; expected ascending");
    refused(i32s("(2,)", &[0, 1]), "expected shape [3] (one bag for each instance), found [2]");
    refused(i32s("(3, 1)", &[0, 1, 1]), "found [3, 1]");
    refused(f32s("(3,)", &[0.0; 3]), "expected an integer type, found <f4");
    refused(npy("<u8", false, "(3,)", &[u64::MAX; 3].map(u64::to_le_bytes).concat()), "expected bag 0 first");
}

#[test]
fn wrong_companions_are_refused() {
    refused(
        "labels.npy",
        i32s("(3,)", &[0; 3]),
        "expected shape [2] (one label for each bag of bag_ids.npy), found [3]",
    );
    refused("labels.npy", i32s("(2,)", &[0, -1]), "labels are -1 and 0: expected class indices from 0");
    refused("labels.npy", i32s("(2,)", &[0, 70_000]), "found 70000");
    refused("labels.npy", f32s("(2,)", &[0.0, 0.5]), "nan for an unknown label, found 0.5 in row 1");
    refused("instance_labels.npy", i32s("(2,)", &[0, 1]), "expected shape [3] (one for each instance), found [2]");
    let wide = [1i64 << 40; 3].map(i64::to_le_bytes).concat();
    refused("instance_labels.npy", npy("<i8", false, "(3,)", &wide), "found 1099511627776 in row 0");
    refused("coords.npy", f32s("(3, 4)", &[0.0; 12]), "expected shape [3, 2 or 3] (x, y), found [3, 4]");
    refused("coords.npy", f32s("(2, 2)", &[0.0; 4]), "expected 3 rows");
    refused("coords.npy", f32s("(3, 2)", &[0.0, 0.0, f32::NAN, 0.0, 0.0, 0.0]), "row 1, column 0");
    refused("split.npy", i32s("(2,)", &[0, 3]), "expected 0 (train), 1 (test) or 2 (validation), found 3 in row 1");
    refused("split.npy", i32s("(3,)", &[0; 3]), "expected shape [2]");
    refused("folds.npy", i32s("(3,)", &[0; 3]), "expected shape [2] or [repeats, 2] (bags), found [3]");
    refused("folds.npy", i32s("(1, 2)", &[0, -1]), "found -1 in repeat 0, bag 1");
    refused("folds.npy", i32s("(0, 2)", &[]), "found none");
    refused("folds.npy", i32s("(2,)", &[1, 1]), "fold 0 of 0..2 has no bag");
}

#[test]
fn groups_are_numbers_or_words() {
    let words = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
    assert_eq!(opened(&[]).bags.groups, None);
    assert_eq!(opened(&[("groups.npy", i32s("(2,)", &[7, 7]))]).bags.groups, Some(words("7 7")));
    let named = opened(&[("groups.txt", b"P1\nP2\n".to_vec())]);
    assert_eq!(named.bags.groups, Some(words("P1 P2")));
    let dir = tempfile::tempdir().unwrap();
    save(&named, dir.path()).unwrap();
    assert_eq!(open(dir.path()).unwrap().bags.groups, named.bags.groups);
    refused(
        "groups.npy",
        i32s("(3,)", &[0; 3]),
        "expected shape [2] (one group for each bag of bag_ids.npy), found [3]",
    );
    refused("groups.npy", i32s("(2,)", &[0, -1]), "row 1 (0-based): expected a group from 0, found -1");
    refused("groups.txt", b"P1\n".to_vec(), "expected 2 lines (the group of each bag), found 1");
    refused("groups.txt", b"P1\n\n".to_vec(), "line 2: expected a group, found none");
    let both = folder(&[("groups.npy", i32s("(2,)", &[0, 1])), ("groups.txt", b"a\nb\n".to_vec())]);
    assert!(open(both.path()).unwrap_err().to_string().contains("found both"));
}

#[test]
fn wrong_pixels_are_refused() {
    let message = |bytes| {
        let dir = folder(&[("features.npy", vec![]), ("pixels.npy", bytes)]);
        open(dir.path()).unwrap_err().to_string()
    };
    assert!(message(f32s("(3, 4)", &[0.0; 12])).contains("pixels.npy: expected uint8 pixels, found <f4"));
    assert!(message(npy("|u1", false, "(3,)", &[0; 3])).contains("two to four dimensions"));
    assert!(message(npy("|u1", false, "(3, 0, 2)", &[])).contains("at least one"));
    assert!(message(npy("|u1", true, "(3, 2, 2)", &[0; 12])).contains("Fortran order [3, 2, 2]"));
}

/// Features that stay in their file read, select, standardise and pack as those in memory.
#[test]
fn mapped_features_are_those_in_memory() {
    use crate::standardise::Standardiser;
    let values: Vec<f32> = (0..600).map(|i| (i as f32 * 0.37).sin() * 3.0 + 1.0).collect();
    let ids: Vec<i32> = (0..200).map(|row| row / 10).collect();
    let labels: Vec<i32> = (0..20).map(|bag| bag % 2).collect();
    let half: Vec<u8> = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
    let double: Vec<u8> = values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    for (features, stays) in [
        (f32s("(200, 3)", &values), true),
        (npy("<f2", false, "(200, 3)", &half), true),
        (npy("<f8", false, "(200, 3)", &double), false),
    ] {
        let dir = folder(&[
            ("features.npy", features),
            ("bag_ids.npy", i32s("(200,)", &ids)),
            ("labels.npy", i32s("(20,)", &labels)),
        ]);
        let (mut memory, mut file) = (open(dir.path()).unwrap().bags, open_mapped(dir.path()).unwrap().bags);
        assert_eq!(matches!(file.features, Features::Mapped(_)), stays);
        for standardised in [false, true] {
            if standardised {
                let standardiser = Standardiser::fit(&memory, &[0, 3, 4]).unwrap();
                assert_eq!(Standardiser::fit(&file, &[0, 3, 4]).unwrap(), standardiser);
                standardiser.apply(&mut memory).unwrap();
                standardiser.apply(&mut file).unwrap();
            }
            assert_eq!(file.features.to_f32(), memory.features.to_f32());
            assert_eq!(file.features.slice(4..11), memory.features.slice(4..11));
            assert_eq!((0..600).find(|&i| file.features.get(i) != memory.features.get(i)), None);
            assert_eq!(file.select(&[7, 0, 19]).unwrap().features, memory.select(&[7, 0, 19]).unwrap().features);
        }
    }
    let bad = folder(&[("features.npy", f32s("(3, 2)", &[1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0]))]);
    let message = open_mapped(bad.path()).unwrap_err().to_string();
    assert!(message.contains("features.npy: row 1, column 1 (0-based) is NaN"), "{message}");
}
