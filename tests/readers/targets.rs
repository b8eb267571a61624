//! What is attacked: each target takes bytes to a reader, and checks what must hold of everything that a reader takes.
//! The test `readers` and the programs of `fuzz/` share it.

use bagrad::data::{Dataset, Opening, Patches, Source, idx, npy, packed, patches::Reading, slides, text};
use bagrad::foreign;
use bagrad::model::Model;
use bagrad::{Bags, Ensemble};
use std::path::{Path, PathBuf};

/// A reader under attack.
pub struct Target {
    pub name: &'static str,
    /// Takes an input through the reader. The folder is the target's own.
    pub run: fn(&[u8], &Path),
}

pub const TARGETS: [Target; 24] = [
    Target { name: "text", run: text },
    Target { name: "npy", run: npy },
    Target { name: "idx", run: idx },
    Target { name: "model", run: model },
    Target { name: "png", run: png },
    Target { name: "jpeg", run: jpeg },
    Target { name: "source", run: source },
    Target { name: "hdf5", run: hdf5 },
    Target { name: "torch", run: torch },
    Target { name: "array", run: array },
    Target { name: "archive", run: archive },
    Target { name: "safetensors", run: safetensors },
    Target { name: "dsmil", run: dsmil },
    Target { name: "labels", run: labels },
    Target { name: "splits", run: splits },
    Target { name: "paths", run: paths },
    Target { name: "workbook", run: labels },
    Target { name: "parquet", run: parquet },
    Target { name: "parquet-rows", run: rows },
    Target { name: "parquet-table", run: labels },
    Target { name: "aegis", run: aegis },
    Target { name: "packed", run: packed },
    Target { name: "weights", run: weights },
    Target { name: "ensemble", run: ensemble },
];

/// What holds of bags that a reader gave out.
fn check(set: &Dataset) {
    let bags = &set.bags;
    bags.validate().expect("bags that were read keep the rules of bags");
    assert!(!bags.is_empty() && bags.instances() > 0);
    if let Some(labels) = &bags.labels {
        assert!(labels.iter().any(|&l| l != Bags::UNKNOWN), "labels of which none is known are no labels");
    }
    if let Some(sets) = &bags.label_sets {
        assert!((0..bags.len()).any(|bag| sets.is_known(bag)), "label sets of which nothing is known are no labels");
    }
    if let Some(split) = &set.split {
        assert_eq!(split.len(), bags.len());
    }
    let _ = set.check_for_training();
}

fn text(input: &[u8], _: &Path) {
    if let Ok(set) = text::read(Path::new("input"), input) {
        check(&set);
    }
}

/// Files of a folder: four bytes of length and the content of each, in this order.
const FILES: [&str; 9] = [
    "features.npy",
    "bag_ids.npy",
    "labels.npy",
    "coords.npy",
    "split.npy",
    "folds.npy",
    "class_names.txt",
    "bag_names.txt",
    "feature_names.txt",
];

/// The input of the target `npy` for the files of a folder.
pub fn join(files: &[Vec<u8>]) -> Vec<u8> {
    files.iter().flat_map(|file| (file.len() as u32).to_le_bytes().into_iter().chain(file.iter().copied())).collect()
}

fn npy(input: &[u8], folder: &Path) {
    let mut rest = input;
    for name in FILES {
        let path = folder.join(name);
        let (length, after) = rest.split_at(rest.len().min(4));
        let length = length.iter().rev().fold(0, |all, &byte| all << 8 | usize::from(byte));
        let (content, after) = after.split_at(after.len().min(length));
        rest = after;
        if content.is_empty() {
            let _ = std::fs::remove_file(path);
        } else {
            std::fs::write(path, content).unwrap();
        }
    }
    let (memory, mapped) = (npy::open(folder), npy::open_mapped(folder));
    assert_eq!(memory.is_ok(), mapped.is_ok(), "a folder is read alike into memory and where it lies");
    if let (Ok(memory), Ok(mapped)) = (memory, mapped) {
        check(&memory);
        assert_eq!(memory.bags.features.to_f32(), mapped.bags.features.to_f32());
    }
}

fn file(folder: &Path, name: &str, input: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, input).unwrap();
    path
}

fn idx(input: &[u8], folder: &Path) {
    let path = file(folder, "input", input);
    for dimensions in [1, 3] {
        if let Ok(read) = idx::read(&path, dimensions) {
            assert_eq!(read.shape.iter().product::<usize>(), read.bytes.len());
        }
    }
}

fn weights(input: &[u8], folder: &Path) {
    let path = file(folder, "weights", input);
    if let Ok(found) = foreign::import(path, &foreign::Asked::default()) {
        let parameters = found.read.iter().flat_map(|read| &read.parameters).count();
        assert_eq!(parameters, found.model.parameters().len(), "every parameter comes from the weights");
        Model::from_bytes(&found.model.to_bytes()).expect("a model that was imported can be written and read");
    }
}

fn model(input: &[u8], _: &Path) {
    if let Ok(model) = Model::from_bytes(input) {
        let again = Model::from_bytes(&model.to_bytes()).expect("a model that was read can be written and read");
        assert_eq!(again.spec(), model.spec());
    }
}

fn ensemble(input: &[u8], _: &Path) {
    if let Ok(read) = Ensemble::from_bytes(input, "input") {
        let again = Ensemble::from_bytes(&read.to_bytes(), "input");
        let again = again.expect("an ensemble that was read can be written and read");
        assert_eq!(again.members().len(), read.members().len());
        assert_eq!(Model::from_bytes(input).is_ok(), read.members().len() == 1, "one model is read as a model");
    }
}

fn picture(input: &[u8], folder: &Path, name: &str) {
    file(folder, name, input);
    for size in [None, Some(4)] {
        if let Ok(patches) = Patches::open(folder, &Reading { size, ..Reading::default() }) {
            assert_eq!(patches.pixels(0).map(|p| p.len()).ok(), Some(patches.values()));
        }
    }
}

fn png(input: &[u8], folder: &Path) {
    picture(input, folder, "0_0.png");
}

fn jpeg(input: &[u8], folder: &Path) {
    picture(input, folder, "0_0.jpg");
}

/// What people write for `--data`; nothing is drawn.
fn source(input: &[u8], _: &Path) {
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = Source::parse(text);
    }
}

fn hdf5(input: &[u8], folder: &Path) {
    slide(input, folder, "slide.h5");
}

fn torch(input: &[u8], folder: &Path) {
    slide(input, folder, "slide.pt");
}

fn array(input: &[u8], folder: &Path) {
    slide(input, folder, "slide.npy");
}

fn archive(input: &[u8], folder: &Path) {
    slide(input, folder, "slide.npz");
}

fn safetensors(input: &[u8], folder: &Path) {
    slide(input, folder, "slide.safetensors");
}

fn parquet(input: &[u8], folder: &Path) {
    slide(input, folder, "slide.parquet");
}

/// A file with the rows of many slides, read whole and one slide at a time.
fn rows(input: &[u8], folder: &Path) {
    let path = file(folder, "slides.parquet", input);
    let whole = slides::open(&path, &Opening::default());
    if let Ok(set) = &whole {
        check(set);
    }
    if let (Ok(whole), Ok(slides)) = (whole, slides::Slides::open(&path, &Opening::default())) {
        let last = slides.sizes().len() - 1;
        let bags = slides.read(&[last]).expect("a slide of a file that was read whole can be read alone").bags;
        let start = (whole.bags.features.len() - bags.features.len())..whole.bags.features.len();
        assert_eq!(bags.features.to_f32(), whole.bags.features.slice(start).to_f32());
    }
}

/// An index beside the values of three slides.
fn aegis(input: &[u8], folder: &Path) {
    file(folder, "uni.bin", include_bytes!("slides/aegis/uni.bin"));
    let index = file(folder, "uni.json", input);
    if let Ok(set) = slides::open(&index, &Opening::default()) {
        check(&set);
    }
}

/// A class with a slide.
fn dsmil(input: &[u8], folder: &Path) {
    let _ = std::fs::create_dir(folder.join("class"));
    file(folder, "class/slide.csv", input);
    if let Ok(set) = slides::open(folder, &Opening::default()) {
        check(&set);
    }
}

/// The file of a slide.
fn slide(input: &[u8], folder: &Path, name: &str) {
    let path = file(folder, name, input);
    if let Ok(set) = slides::open(&path, &Opening::default()) {
        check(&set);
    }
}

/// The folder of two slides, called 007 and b.svs.
fn two_slides(folder: &Path) -> PathBuf {
    let inner = folder.join("slides");
    if !inner.exists() {
        std::fs::create_dir(&inner).unwrap();
        let slide = include_bytes!("slides/kinds/latest.h5");
        ["007", "b.svs"].iter().for_each(|name| drop(file(&inner, &format!("{name}.h5"), slide)));
    }
    inner
}

/// A table of labels beside two slides, alone and as one of patients.
fn labels(input: &[u8], folder: &Path) {
    let inner = two_slides(folder);
    let labels = Some(file(folder, "labels.csv", input));
    let slides = Some(file(folder, "slides.csv", b"PATIENT,FILENAME\np1,007.h5\np,b.h5\n"));
    for slides in [None, slides] {
        if let Ok(set) = slides::open(&inner, &Opening { labels: labels.clone(), slides, ..Opening::default() }) {
            check(&set);
        }
    }
}

/// A table of paths to two slides.
fn paths(input: &[u8], folder: &Path) {
    let table = file(&two_slides(folder), "table.csv", input);
    for splits in [None, Some(table.clone())] {
        if let Ok(set) = slides::open(&table, &Opening { splits, ..Opening::default() }) {
            check(&set);
        }
    }
}

/// A file of splits beside two slides and their patients.
fn splits(input: &[u8], folder: &Path) {
    let inner = two_slides(folder);
    let labels = Some(file(folder, "labels.csv", b"slide_id,case_id,label\n007,p,0\nb,q,1\n"));
    let splits = Some(file(folder, "splits", input));
    for which_split in [None, Some("1".to_owned()), Some("fold_1".to_owned())] {
        let (labels, splits) = (labels.clone(), splits.clone());
        if let Ok(set) = slides::open(&inner, &Opening { labels, splits, which_split, ..Opening::default() }) {
            check(&set);
        }
    }
}

/// A packed file; checksums are put right, or all that is behind them would hardly be seen.
fn packed(input: &[u8], folder: &Path) {
    let path = file(folder, "slides.bags", &sealed(input));
    if let Ok(set) = packed::open(&path, &Opening::default()) {
        check(&set);
        assert_eq!(packed::verify(&path, &mut |_| {}).map(|found| found.slides).ok(), Some(set.bags.len()));
    }
    let skip = Opening { on_bad: bagrad::data::OnBad::Skip, ..Opening::default() };
    if let Ok(set) = packed::open(&path, &skip) {
        check(&set);
    }
    let _ = slides::inspect(&path, &Opening::default(), true);
    // What an interrupted call left behind.
    let (slide, out) = (folder.join("slide.h5"), folder.join("out.bags"));
    if !slide.exists() {
        std::fs::write(&slide, include_bytes!("slides/kinds/latest.h5")).unwrap();
    }
    let part = file(folder, "out.bags.part", &sealed(input));
    if packed::pack(&slide, &out, &packed::Packing::default(), &mut |_| {}).is_ok() {
        assert_eq!(packed::open(&out, &Opening::default()).unwrap().bags.len(), 1);
        std::fs::remove_file(&out).unwrap();
    }
    let _ = std::fs::remove_file(part);
}

/// A packed file with the checksums of its header and its index as they should be.
pub fn sealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    let sum = |bytes: &[u8]| crc32fast::hash(bytes).to_le_bytes();
    if let Some(at) = bytes.get(48..56).map(|at| u64::from_le_bytes(at.try_into().unwrap()) as usize)
        && bytes.len() >= 128
    {
        if let Some(index) = bytes.get(at..) {
            let (long, of) = (index.len() as u64, sum(index));
            bytes[56..64].copy_from_slice(&long.to_le_bytes());
            bytes[64..68].copy_from_slice(&of);
        }
        let of = sum(&bytes[..124]);
        bytes[124..128].copy_from_slice(&of);
    }
    bytes
}
