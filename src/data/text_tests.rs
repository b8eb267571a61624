//! Text tables, right and wrong.

use super::super::idx::tests::gzip;
use super::*;

fn opened(bytes: &[u8]) -> Result<Dataset> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.csv");
    std::fs::write(&path, bytes).unwrap();
    open(&path)
}

fn refused(text: &str, what: &str) {
    let message = opened(text.as_bytes()).unwrap_err().to_string();
    assert!(message.contains("set.csv") && message.contains(what), "{message}");
}

#[test]
fn commas_white_space_headers_and_comments() {
    let texts = [
        "0,a,1,2\n0,a,3,4\n1,b,5,6\n",
        "# a comment\nlabel,bag,0,1\n\n0, a, 1, 2\n0,a,3,4\r\n1,b,5,6",
        "cls id f g\n0 a 1 2\n0\ta 3  4\n 1 b 5e0 6.0\n",
    ];
    for text in texts {
        for bytes in [text.as_bytes().to_vec(), gzip(text.as_bytes())] {
            let set = opened(&bytes).unwrap();
            assert_eq!(set.bags.features, Features::F32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
            assert_eq!((&set.bags.offsets[..], &set.bags.names[..]), (&[0, 2, 3][..], &["a".into(), "b".into()][..]));
            assert_eq!(set.bags.labels, Some(vec![0, 1]));
            assert_eq!(set.name, "set");
        }
    }
}

#[test]
fn labels_of_every_kind() {
    let labels = |text: &str| {
        let bags = opened(text.as_bytes()).unwrap().bags;
        (bags.labels, bags.class_names.join(" "))
    };
    assert_eq!(labels("-1,a,0\n1,b,0"), (Some(vec![0, 1]), "-1 1".into()));
    assert_eq!(labels("1.0,a,0\n0.0,b,0"), (Some(vec![1, 0]), "0 1".into()));
    assert_eq!(labels("2,a,0\n0,b,0"), (Some(vec![2, 0]), "0 1 2".into()));
    assert_eq!(labels("tumour,a,0\nbenign,b,0"), (Some(vec![1, 0]), "benign tumour".into()));
    assert_eq!(labels("?,a,0\n?,b,0"), (None, String::new()));
    assert_eq!(labels("?,a,0\n1,b,0"), (Some(vec![Bags::UNKNOWN, 1]), "0 1".into()));
    refused("-1,a,0\n0,b,0", "labels are -1 and 0: expected class indices from 0");
    refused("99999999,a,0\n0,b,0", "expected a class from 0 to 65535, found 99999999");
}

#[test]
fn wrong_rows_are_named() {
    refused("", "found none");
    refused("# only\n", "found none");
    refused("label,bag,x\n", "found none");
    refused("0,a,1,2\n\n0,a,1\n", "line 3 (row 1, 0-based): expected 4 columns as in the first row, found 3");
    refused("0,a,1\n0,a,1,\n", "expected 3 columns");
    refused("0,a\n", "expected features after label and bag, found 2 columns");
    refused("0\n", "expected label, bag and features, found 1 columns");
    refused("0,a,1,x\n", "line 1 (row 0, 0-based): column 3 (0-based): expected a finite number, found 'x'");
    refused("0,a,1,nan\n", "found 'nan'");
    refused("0,a,1e99\n", "found '1e99'");
    refused("0,a,1,\n", "found ''");
    refused("0,,1\n", "expected the name of a bag, found ''");
    refused("0,NA,1\n", "expected the name of a bag, found 'NA'");
    refused("0,a,1\n1,a,1\n", "line 2 (row 1, 0-based): bag 'a' has label '0' before and '1' here");
    let message = opened(b"0,a,1\n0,\xff,1\n").unwrap_err().to_string();
    assert!(message.contains("line 2 (row 1, 0-based): expected UTF-8"), "{message}");
    let packed = gzip("0,a,1\n".repeat(100).as_bytes());
    let message = opened(&packed[..packed.len() - 9]).unwrap_err().to_string();
    assert!(message.contains("ends early"), "{message}");
    assert!(matches!(open(Path::new("/nowhere/at-all")), Err(Error::Io { .. })));
}

/// Two bags of two features, however they are written.
fn same(text: &str) -> Dataset {
    let set = opened(text.as_bytes()).unwrap_or_else(|e| panic!("{text}\n{e}"));
    assert_eq!(set.bags.features, Features::F32(vec![1.5, 2.0, 3.0, 4.0, 5.0, 6.0]), "{text}");
    assert_eq!(set.bags.offsets, [0, 2, 3], "{text}");
    assert_eq!(set.bags.class_names[set.bags.labels.as_ref().unwrap()[0] as usize], "malignant", "{text}");
    set
}

#[test]
fn what_r_and_spreadsheets_write() {
    // write.csv with row names, write.table, pandas with an index, Excel in a country of decimal commas.
    let texts = [
        "\"\",\"label\",\"bag\",\"f1\",\"f2\"\r\n\"1\",\"malignant\",\"s, 0\",1.5,2\r\n\"2\",\"malignant\",\"s, 0\",3,4\r\n\"3\",\"benign\",\"s1\",5,6\r\n",
        "\"label\" \"bag\" \"f1\" \"f2\"\n\"1\" \"malignant\" \"s, 0\" 1.5 2\n\"2\" \"malignant\" \"s, 0\" 3 4\n\"3\" \"benign\" \"s1\" 5 6\n",
        "label\tbag\tf1\tf2\nmalignant\ts, 0\t1,5\t2\nmalignant\ts, 0\t3\t4\nbenign\ts1\t5\t6\n",
        "\u{feff}label;bag;f1;f2\r\nmalignant;s, 0;1,5;2\r\nmalignant;s, 0;3,0;4\r\nbenign;s1;5;6\r\n",
        "sep=;\r\nlabel;bag;f1;f2\r\nmalignant;s, 0;1.5;2\r\nmalignant;s, 0;3;4\r\nbenign;s1;5;6\r\n",
        ",bag,f1,f2,label\n0,\"s, 0\",1.5,2,malignant\n1,\"s, 0\",3,4,malignant\n2,s1,5,6,benign\n",
    ];
    for text in texts {
        let set = same(text);
        assert_eq!(set.bags.names, ["s, 0", "s1"], "{text}");
        assert_eq!(set.bags.columns, Some(vec!["f1".into(), "f2".into()]), "{text}");
        assert_eq!(set.bags.class_names, ["benign", "malignant"]);
    }
    let set = same("malignant,a\"b,1.5,2\nmalignant,a\"b,3,4\nbenign,\"two\nlines\",5,6\n");
    assert_eq!((set.bags.names, set.bags.columns), (vec!["a\"b".into(), "two\nlines".into()], None));
    refused("\u{feff}sep=,\r\n# \r\n\r\nlabel,bag,f\r\n\r\n0,\"a\r\nb\",1\r\n\r\n0,c,x", "line 9 (row 1, 0-based)");
    refused("0;a;1.5\n0;a;2,5\n", "is the decimal point a comma or a point?");
    refused("0, \"a\",1\n", "a quote stands behind a space");
    refused("0,a,1,5\n0,a,1\n", "expected 4 columns as in the first row");
    let message = opened(b"\xff\xfe0\0,\0a\0,\x001\0").unwrap_err().to_string();
    assert!(message.contains("found UTF-16"), "{message}");
}

#[test]
fn a_first_row_with_numbers_is_an_instance() {
    for label in ["y", "Y", "class", "target", "label"] {
        let set = opened(format!("{label},s0,1\nno,s1,2\nno,s1,3\n").as_bytes()).unwrap();
        assert_eq!((set.bags.instances(), set.bags.len()), (3, 2), "{label}");
    }
    for row in [0, 1] {
        let mut lines = ["no,s1,1,2"; 2];
        lines[row] = "yes,s00,NA,NA";
        refused(
            &lines.join("\n"),
            &format!(
                "line {} (row {row}, 0-based): column 2 (0-based): expected a finite number, found 'NA'; missing",
                row + 1
            ),
        );
    }
    let set = opened(b"label,bag,0,1\n1,a,5,6\n0,b,7,8\n").unwrap();
    assert_eq!((set.bags.instances(), set.bags.columns), (2, Some(vec!["0".into(), "1".into()])));
    refused("label,bag,3,7\n1,a,5,6\n", "begins as column names do");
}

#[test]
fn rows_apart_are_put_together() {
    let set = opened(b"0,a,1\n1,b,2\n0,a,3\n1,b,4\n0,a,5\n").unwrap();
    assert_eq!(set.bags.features, Features::F32(vec![1.0, 3.0, 5.0, 2.0, 4.0]));
    assert_eq!((&set.bags.offsets[..], &set.remarks.join("")[..21]), (&[0, 3, 5][..], "rows of a bag that st"));
    assert!(opened(b"0,a,1\n0,a,2\n1,b,2\n").unwrap().remarks.is_empty());
}

#[test]
fn the_musk_files_of_uci_are_read() {
    let mut text = String::new();
    for molecule in 0..30 {
        for conformation in 0..3 {
            let (name, class) = if molecule < 15 { ("MUSK", "1.") } else { ("NON-MUSK", "0.") };
            text += &format!("{name}-{molecule},{molecule}_1+{conformation},-{conformation},42,{class}\n");
        }
    }
    let set = opened(text.as_bytes()).unwrap();
    assert_eq!((set.bags.len(), set.bags.width, set.bags.instances()), (30, 2, 90));
    assert_eq!((&set.bags.names[29][..], set.bags.class_names), ("NON-MUSK-29", vec!["0".to_owned(), "1".into()]));
    assert_eq!(set.bags.labels.unwrap()[14..16], [1, 0]);
    assert!(set.remarks[0].contains("UCI Musk"));
    refused(&text.replace('.', ""), "30 classes for 90 bags, and every bag has one instance");
}

#[test]
fn some_bags_may_be_without_a_label() {
    let set = opened(b"1,a,1\nNA,b,2\n0,c,3\n,d,4\n").unwrap();
    assert_eq!(set.bags.labels, Some(vec![1, Bags::UNKNOWN, 0, Bags::UNKNOWN]));
    assert_eq!(set.remarks, ["2 of 4 bags have no label: they are predicted and not trained on"]);
    let part = crate::data::Partition::Random { shares: [1.0, 0.0, 0.0], seed: 1 };
    use crate::data::Split::{Train, Unlabelled};
    assert_eq!(set.partition(&part).unwrap(), [Train, Unlabelled, Train, Unlabelled]);
    assert_eq!(set.indices(Train), [0, 2]);
    set.check_for_training().unwrap();
    refused("1,a,1\n?,a,1\n", "has label '1' before and '?' here");
    // What a spreadsheet writes for a label that it cannot compute is no comment.
    let set = opened(b"#N/A,a,1\n# note, \"quoted\", more\n1,b,2\n#ref!,c,3\n0,d,4\n").unwrap();
    assert_eq!(set.bags.labels, Some(vec![Bags::UNKNOWN, 1, Bags::UNKNOWN, 0]));
    refused("#,\"open\n1,a,2\n\"\n0,b,1\n", "line 1: a comment opens a quote");
}

#[test]
fn a_column_says_which_bags_belong_together() {
    let set = opened(b"label,bag,patient,f\n1,a,p,1\n0,b,q,2\n1,a,p,3\n0,c,p,4\n").unwrap();
    assert_eq!(set.bags.groups, Some(vec!["p".into(), "q".into(), "p".into()]));
    assert_eq!(set.bags.columns, Some(vec!["f".into()]));
    refused("label,bag,patient,f\n1,a,p,1\n1,a,q,1\n", "is of group 'p' before and of 'q' here");
    refused("label,bag,patient,f\n1,a,NA,1\n", "expected the group of the bag, found 'NA'");
}

#[test]
fn columns_that_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("set.csv");
    std::fs::write(&path, "scan,hospital,outcome,f\ns1,north,ill,1\ns1,north,ill,2\ns2,south,well,3\n").unwrap();
    let name = |name: &str| Some(name.to_owned());
    let asked =
        ColumnNames { label: name("outcome"), bag: name("scan"), group: name("hospital"), ..ColumnNames::default() };
    let set = open_naming(&path, &asked).unwrap();
    assert_eq!((set.bags.offsets, set.bags.names), (vec![0, 2, 3], vec!["s1".to_owned(), "s2".into()]));
    assert_eq!(set.bags.groups, Some(vec!["north".into(), "south".into()]));
    assert_eq!((set.bags.labels, set.bags.class_names), (Some(vec![0, 1]), vec!["ill".to_owned(), "well".into()]));
    assert_eq!((set.bags.columns, set.remarks), (Some(vec!["f".into()]), vec![]));
    let message = open_naming(&path, &ColumnNames { group: name("site"), ..asked }).unwrap_err().to_string();
    let expected = "line 1 (row 0, 0-based): no column is called 'site', as the group should be; the columns are 'scan', \
                    'hospital', 'outcome', 'f'";
    assert!(message.contains("set.csv") && message.contains(expected), "{message}");
}

#[test]
fn text_without_end_ends_in_an_error() {
    let limits = Limits { line: 200_000, text: 1_000_000, values: 90, bags: 5 };
    let within = |text: &mut dyn std::io::Read| {
        read_within(Path::new("set"), std::io::BufReader::new(text), &limits, &ColumnNames::default())
            .unwrap_err()
            .to_string()
    };
    use std::io::Read;
    assert!(within(&mut std::io::repeat(0)).contains("a line is longer than 200000 bytes, the limit"));
    assert!(within(&mut "0,a,\"1\n".as_bytes().chain(std::io::repeat(b'1'))).contains("longer than 200000"));
    assert!(within(&mut "0,a,1\n".as_bytes().chain(std::io::repeat(b'1'))).contains("longer than 200000"));
    assert!(within(&mut "0,a,1\n".as_bytes().chain(std::io::repeat(b'\n'))).contains("longer than"));
    assert!(within(&mut "# \n".repeat(100_000).as_bytes()).contains("a line is longer than"));
    assert!(within(&mut "0,a,1\n".repeat(91).as_bytes()).contains("more than 90 features in all"));
    let bags: String = (0..6).map(|bag| format!("0,b{bag},1\n")).collect();
    assert!(within(&mut bags.as_bytes()).contains("more than 5 bags, the limit"));
    let long = Limits { line: 1 << 30, ..limits.clone() };
    let text = "0,a,1\n".as_bytes().chain(std::io::repeat(b'\n'));
    let message = read_within(Path::new("set"), std::io::BufReader::new(text), &long, &ColumnNames::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("the text is longer than 1000000 bytes"), "{message}");
}
