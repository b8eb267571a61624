//! Right files of every kind, made here, and what mutation makes of them.

use super::targets;
use bagrad::data::packed::{self, Packing};
use bagrad::data::{Protocol, npy};
use bagrad::methods::Method;
use bagrad::model::{Model, Spec};
use bagrad::random::Random;
use bagrad::{Ensemble, Member};
use flate2::{Compression, write::GzEncoder};
use std::io::{Cursor, Write};

/// The header of an array in C order, as NumPy writes it.
pub fn npy_header(descr: &str, shape: &str) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    header.extend(std::iter::repeat_n(' ', 63 - (10 + header.len()) % 64));
    header.push('\n');
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat()
}

fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    [npy_header(descr, shape), data.to_vec()].concat()
}

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "text" => text(),
        "npy" => folders(),
        "idx" => idx(),
        "model" => models(),
        "ensemble" => ensembles(),
        "png" => pictures(image::ImageFormat::Png),
        "hdf5" => slides(),
        "torch" => torch(),
        "array" => fixtures(&["npy/single.npy", "npy/half.npy", "npy/fortran.npy", "npy/batch.npy"]),
        "archive" => {
            fixtures(&["npz/stored.npz", "npz/deflate.npz", "npz/only.npz", "npz/matrix.npz", "labelled/slide.npz"])
        }
        "safetensors" => fixtures(&["safetensors/single.safetensors", "safetensors/bfloat16.safetensors"]),
        "weights" => {
            let names =
                ["clam-sb.pt", "clam-mb-old.pt", "dsmil-h-value.pt", "mil-lab.safetensors", "dsmil-l.safetensors"];
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/fixtures");
            names.map(|name| std::fs::read(folder.join(name)).unwrap()).to_vec()
        }
        "aegis" => fixtures(&["aegis/uni.json"]),
        "dsmil" => fixtures(&["dsmil/0-normal/s0.csv"]),
        "workbook" => fixtures(&["workbooks/clini.xlsx", "workbooks/slide.xlsx"]),
        "labels" => labels(),
        "splits" => splits(),
        "paths" => paths(),
        "parquet" => fixtures(&[
            "parquet/list.parquet",
            "parquet/split.parquet",
            "parquet/pages.parquet",
            "parquet/pages-2.parquet",
            "parquet/half.parquet",
            "parquet/gzip.parquet",
            "parquet/zstd.parquet",
            "parquet/lz4.parquet",
            "parquet/fastparquet.parquet",
            "parquet/duckdb-columns.parquet",
        ]),
        "parquet-rows" => {
            fixtures(&["parquet-many/lists.parquet", "parquet-many/lists-2.parquet", "parquet-many/columns.parquet"])
        }
        "parquet-table" => fixtures(&[
            "parquet-tables/labels.parquet",
            "parquet-tables/delta-byte-array.parquet",
            "parquet-tables/delta-length-byte-array.parquet",
        ]),
        "packed" => packed(),
        "jpeg" => pictures(image::ImageFormat::Jpeg),
        "source" => [
            "digits-bags,target=3,mean=20,seed=7",
            "digits-classes,classes=3:5:9",
            "textures,key=2,side=32",
            "mil-assumption,kind=pair,width=4",
            "digits-haystack,size=500:5000,share=0.01:0.05",
            "mnist-collage:x,pair=0:1,inverse=true",
        ]
        .map(|s| s.as_bytes().to_vec())
        .to_vec(),
        other => panic!("no seeds of {other}"),
    }
}

fn text() -> Vec<Vec<u8>> {
    [
        "0,a,1,2\n0,a,3,4\n1,b,5,6\n",
        "# a comment\nlabel,bag,0,1\n\n0, a, 1, 2\n0,a,3,4\r\n1,b,5e0,6.0",
        "cls id f g\n0 a 1 2\n0\ta 3  4\n 1 b 5 6.0\n",
        "\"\",\"label\",\"bag\",\"f1\",\"f2\"\r\n\"1\",\"malignant\",\"s, 0\",1.5,2\r\n\"2\",\"benign\",\"s1\",5,6\r\n",
        "\u{feff}sep=;\nlabel;bag;f1;f2\r\nNA;s 0;1,5;2\r\nx;s1;5;6\r\ny;s2;5;6\n",
        "bag\tx\tclass\nb0\t1,5\t?\nb1\t-2\tno\nb0\t3\t?\nb2\t1e-7\tyes\n",
        "MUSK-188,188_1+1,42,-198,1.\nMUSK-188,188_1+2,42,-191,1.\nNON-MUSK-9,9_1+1,1,2,0.\n",
    ]
    .map(|s| s.as_bytes().to_vec())
    .into_iter()
    .collect()
}

fn folders() -> Vec<Vec<u8>> {
    let floats: Vec<u8> = (0..6).flat_map(|v| (v as f32).to_le_bytes()).collect();
    let doubles: Vec<u8> = (0..6).flat_map(|v| f64::from(v).to_be_bytes()).collect();
    let words: Vec<u8> = "no\0yes".chars().flat_map(|c| (c as u32).to_le_bytes()).collect();
    let set = Protocol { train: 2, test: 2, ..Protocol::digits() }.digits_bags().unwrap();
    let dir = tempfile::tempdir().unwrap();
    npy::save(&set, dir.path()).unwrap();
    let saved = ["features.npy", "bag_ids.npy", "labels.npy"].map(|name| std::fs::read(dir.path().join(name)).unwrap());
    vec![
        targets::join(&[
            array("<f4", "(3, 2)", &floats),
            array("|u1", "(3,)", &[0, 1, 1]),
            array("<i4", "(2,)", &[1, 0, 0, 0, 0, 0, 0, 0]),
            array("|i1", "(3, 2)", &[1, 2, 3, 4, 5, 6]),
            array("|u1", "(2,)", &[0, 2]),
            array("|u1", "(2, 2)", &[0, 1, 1, 0]),
            b"no\nyes\n".to_vec(),
            b"a\nb\n".to_vec(),
            b"f\ng\n".to_vec(),
        ]),
        targets::join(&[array(">f8", "(2, 3)", &doubles), array("|u1", "(2,)", &[0, 1]), array("<U3", "(2,)", &words)]),
        targets::join(&saved),
        // Several labels a bag, one of them not known.
        targets::join(&[
            array("<f4", "(3, 2)", &floats),
            array("|u1", "(3,)", &[0, 1, 1]),
            array("<f4", "(2, 2)", &[1.0f32, f32::NAN, 0.0, 1.0].map(f32::to_le_bytes).concat()),
            Vec::new(),
            array("|u1", "(2,)", &[0, 0]),
            Vec::new(),
            b"oedema\nnodule\n".to_vec(),
        ]),
    ]
}

fn idx() -> Vec<Vec<u8>> {
    let images = [&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3][..], &[7; 12]].concat();
    let labels = vec![0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3];
    let packed = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    vec![packed(&images), packed(&labels), images, labels]
}

fn models() -> Vec<Vec<u8>> {
    ["attention", "mi-net", "transmil"]
        .map(|name| {
            let mut model = Model::new(Spec::new(small(name), 3, 2), 1).unwrap();
            model.columns = Some(["a", "b", "c"].map(str::to_owned).to_vec());
            model.to_bytes()
        })
        .to_vec()
}

fn ensembles() -> Vec<Vec<u8>> {
    let member = |seed: u64| {
        let name = ["attention", "mi-net"][seed as usize % 2];
        let model = Model::new(Spec::new(small(name), 3, 2), seed).unwrap();
        let metrics = [("test_auc".to_owned(), 0.75)].into();
        Member { metrics, ..Member::new(format!("runs/{seed}"), model) }
    };
    [2, 4].map(|count| Ensemble::new((0..count).map(member).collect()).unwrap().to_bytes()).to_vec()
}

/// The method of this name, as narrow as it can be.
fn small(name: &str) -> Method {
    let settings = match name {
        "transmil" => r#"{"method": "transmil", "width": 8, "heads": 2, "landmarks": 2}"#.to_owned(),
        "mi-net" => r#"{"method": "mi-net", "embed": [4]}"#.to_owned(),
        _ => format!(r#"{{"method": "{name}", "embed": [4], "attention": 4}}"#),
    };
    serde_json::from_str(&settings).unwrap()
}

fn slides() -> Vec<Vec<u8>> {
    let files = ["latest", "user-block", "gzip", "lzf", "shuffle", "backwards"].map(|kind| format!("kinds/{kind}.h5"));
    let files = files.into_iter().chain(["clam/h5_files/s1.h5".into(), "stamp/s1.h5".into(), "groups.h5".into()]);
    files.map(|name| std::fs::read(crate::slides::fixture(&name)).unwrap()).collect()
}

fn fixtures(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| std::fs::read(crate::slides::fixture(name)).unwrap()).collect()
}

fn torch() -> Vec<Vec<u8>> {
    let files =
        ["dict", "half", "legacy", "legacy-dict", "transposed", "ordered"].map(|kind| format!("torch/{kind}.pt"));
    files.iter().map(|name| std::fs::read(crate::slides::fixture(name)).unwrap()).collect()
}

fn labels() -> Vec<Vec<u8>> {
    [
        "slide_id,label\n007,1\nb,0\n",
        "\u{feff}case_id;slide_id;label\r\np1;007.svs;tumour\r\np2;x/b.tif;normal\r\n",
        "PATIENT;isMSIH\np1;MSIH\np;no\n",
        "train_slide_path,train_label,val_slide_path,val_label\nx/007.pt,0,y/b.pt,1\n",
        "\tFILENAME\tPATIENT\tisMSIH\n0\tb.h5\tp\tNA\n1\t007.h5\tp\tyes\n2\tc.h5\tq\tno\n",
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec()
}

fn paths() -> Vec<Vec<u8>> {
    [
        "slide_path,label\n007.h5,0\nb.svs.h5,1\n",
        "train_slide_path,train_label,val_slide_path,val_label\n007.h5,0,b.svs.h5,1\n",
        "embeddings,wsi_id,target,split\n007.h5,x,0,train\nb.svs.h5,x,0,train\n007.h5,y,1,val\n",
        "path,h5_path,case\n007.h5,b.svs.h5,p\nnone.h5,,q\n",
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec()
}

fn splits() -> Vec<Vec<u8>> {
    [
        ",train,val,test\n0,007,,b.svs\n",
        ",train,val,test\n007,True,False,False\nb,False,False,True\n",
        "train_slide_path,train_label,val_slide_path,val_label\nx/007.pt,0,y/b.pt,1\n",
        "case_id\tslide_id\tfold_0\tfold_1\np\t007\ttrain\ttest\nq\tb\ttest\ttrain\n",
        "patient,split\np,train\nq,test\n",
        r#"{"splits": [{"train_patients": ["p"], "test_patients": ["q", 7]}]}"#,
        r#"{"splits": [{"train_patients": ["q"], "test_patients": []}, {"train_patients": ["p"], "test_patients": ["q"]}]}"#,
    ]
    .map(|s| s.as_bytes().to_vec())
    .to_vec()
}

fn packed() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let set = Protocol { train: 2, test: 2, mean: 2.0, ..Protocol::digits() };
    npy::save(&set.digits_bags().unwrap(), dir.path()).unwrap();
    let folders = ["trident", "clam", "vector"].map(crate::slides::fixture);
    let folders = folders.into_iter().chain([dir.path().to_owned()]);
    let pack = |(number, folder)| {
        let out = dir.path().join(format!("{number}.bags"));
        packed::pack(folder, &out, &Packing::default(), &mut |_| {}).unwrap();
        std::fs::read(out).unwrap()
    };
    folders.enumerate().map(pack).collect()
}

fn pictures(format: image::ImageFormat) -> Vec<Vec<u8>> {
    let picture = image::RgbImage::from_fn(9, 7, |x, y| image::Rgb([x as u8 * 20, y as u8 * 30, 200]));
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    vec![file.into_inner()]
}

/// What breaks readers.
const TOKENS: [&[u8]; 22] = [
    b"\"",
    b",",
    b";",
    b"\t",
    b"\n",
    b"\r\n",
    b"NA",
    b"nan",
    b"-1",
    b"1e39",
    b"-",
    b".",
    b"0",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x7f",
    b"18446744073709551615",
    b"9999999999",
    b"(",
    b"\xef\xbb\xbf",
    b"#",
    b"'",
];

/// A seed after one to eight changes.
pub fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(input.len() + 1);
        let end = (at + random.below(16)).min(input.len());
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
            5 => {
                // A part of another seed.
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            6 => {
                // Another number in the place of one.
                if let Some(start) = (at..input.len()).find(|&i| input[i].is_ascii_digit()) {
                    let digits = input[start..].iter().take_while(|b| b.is_ascii_digit()).count();
                    let number = [0, 1, 2, 3, 255, 65_536, 4_294_967_295, u64::MAX][random.below(8)];
                    input.splice(start..start + digits, number.to_string().into_bytes());
                }
            }
            _ => {
                let token = TOKENS[random.below(TOKENS.len())];
                let end = if random.below(2) == 0 { at } else { end };
                input.splice(at..end, token.iter().copied());
            }
        }
    }
    input
}
