//! Packed files: the same as what they were packed from, whatever happens on the way, and nothing that is damaged.

use super::slides::fixture;
use super::{ALONE, HELD, MOST};
use bagrad::data::packed::{self, Packed, Packing};
use bagrad::data::{Dataset, Folds, Key, OnBad, Opening, Source, npy, slides};
use bagrad::{Bags, Features, LabelSets};
use std::fs;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

fn pack(data: &Path, out: &Path, packing: &Packing) -> bagrad::Result<Packed> {
    packed::pack(data, out, packing, &mut |_| {})
}

fn plain(data: &Path, out: &Path) -> Packed {
    pack(data, out, &Packing::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn with(opening: &Opening) -> Packing {
    Packing { opening: opening.clone(), ..Packing::default() }
}

fn skip() -> Opening {
    Opening { on_bad: OnBad::Skip, ..Opening::default() }
}

/// The same bags, bit for bit; features of a packed file lie there.
fn same(packed: &Dataset, read: &Dataset) {
    let mut bags = packed.bags.clone();
    assert!(matches!(bags.features, Features::Mapped(_)));
    bags.features = bags.features.slice(0..bags.features.len());
    let bits = |set: &Bags| set.features.to_f32().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&bags), bits(&read.bags));
    assert_eq!(bags, read.bags);
    let around = |set: &Dataset| (set.split.clone(), set.folds.clone(), set.key.clone(), set.sites.clone());
    assert_eq!(around(packed), around(read));
    assert_eq!(packed.bags.select(&[0]).unwrap(), read.bags.select(&[0]).unwrap());
}

#[test]
fn a_packed_folder_is_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["clam", "clam/pt_files", "trident", "stamp", "kinds", "vector", "torch"] {
        let out = dir.path().join(format!("{}.bags", folder.replace('/', "-")));
        let packed = plain(&fixture(folder), &out);
        let (set, read) = (Dataset::open(&out).unwrap(), Dataset::open(fixture(folder)).unwrap());
        same(&set, &read);
        assert_eq!(
            (packed.slides, packed.found, packed.bytes),
            (read.bags.len(), 0, fs::metadata(&out).unwrap().len())
        );
        // What files say of themselves is told as before.
        let told = |set: &Dataset, what: &str| set.remarks.iter().find(|r| r.contains(what)).cloned();
        for what in ["places are in", "the encoder", "a vector is a bag"] {
            assert_eq!(told(&set, what), told(&read, what), "{folder}");
        }
        assert_eq!(Source::parse(&out).unwrap(), Source::Packed(out.clone()));
        let found = packed::verify(&out, &mut |_| {}).unwrap();
        assert_eq!((found.slides, found.bytes, found.bad.len()), (read.bags.len(), packed.bytes, 0));
        // A packed file can be packed again, and nothing of it changes.
        let again = dir.path().join("again.bags");
        plain(&out, &again);
        same(&Dataset::open(&again).unwrap(), &read);
        fs::remove_file(again).unwrap();
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().ends_with(".bags")), "{left:?}");
}

#[test]
fn labels_patients_and_parts_are_packed_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let labels = write("labels.csv", "case_id,slide_id,label,site\np,000,tumour,A\nq,002,normal,B\np,001,NA,A\n");
    let splits = write("splits_0.csv", ",train,val,test\n0,000,,002\n1,001,,\n");
    let opening = Opening { labels: labels.clone(), splits: splits.clone(), ..Opening::default() };
    let (labelled, bare) = (dir.path().join("labelled.bags"), dir.path().join("bare.bags"));
    pack(&fixture("trident"), &labelled, &with(&opening)).unwrap();
    plain(&fixture("trident"), &bare);
    let read = Dataset::open_with(fixture("trident"), &opening).unwrap();
    assert!(read.bags.groups.is_some() && read.split.is_some() && read.sites.is_some());
    same(&Dataset::open(&labelled).unwrap(), &read);
    // Tables that come later are as good as those that were there before.
    same(&Dataset::open_with(&bare, &opening).unwrap(), &read);
    let other = Opening { labels: write("other.csv", "slide,label\n002,0\n000,1\n"), ..Opening::default() };
    let read = Dataset::open_with(fixture("trident"), &other).unwrap();
    assert_eq!((&read.bags.names[..], &read.bags.groups), (&["000", "002"].map(String::from)[..], &None));
    // With a table of its own a file has no parts, as the folder has none.
    [&labelled, &bare].iter().for_each(|file| same(&Dataset::open_with(file, &other).unwrap(), &read));
    // A part of the slides has the labels that were packed.
    let some = Opening { splits: write("some.csv", ",train,val,test\n0,002,,000\n"), ..Opening::default() };
    let set = Dataset::open_with(&labelled, &some).unwrap();
    assert_eq!((set.bags.labels, set.bags.names), (Some(vec![1, 0]), vec!["000".to_string(), "002".into()]));

    let found = slides::inspect(&labelled, &Opening::default(), true).unwrap();
    let direct = slides::inspect(&fixture("trident"), &opening, true).unwrap();
    assert_eq!((found.classes, found.parts, found.patients), (direct.classes, direct.parts, direct.patients));
    assert_eq!((found.encoders, found.patch_widths, found.width), (direct.encoders, direct.patch_widths, 6));
    assert_eq!((found.unlabelled, found.formats.keys().next().unwrap().as_str()), (1, "packed"));
}

#[test]
fn any_bags_can_be_packed() {
    let dir = tempfile::tempdir().unwrap();
    let out = |name: &str| dir.path().join(name);
    let save = |name: &str, set: &Dataset| {
        let folder = out(name);
        fs::create_dir(&folder).unwrap();
        npy::save(set, &folder).unwrap();
        folder
    };
    // Labels of instances, key instances, a division and images, which are packed again too.
    let digits = "digits-bags,train=4,test=3,seed=5";
    let drawn = Dataset::open(digits).unwrap();
    assert!(drawn.bags.instance_labels.is_some() && drawn.bags.image.is_some() && drawn.split.is_some());
    plain(Path::new(digits), &out("digits.bags"));
    plain(&out("digits.bags"), &out("again.bags"));
    ["digits.bags", "again.bags"].iter().for_each(|name| same(&Dataset::open(out(name)).unwrap(), &drawn));
    // Several labels a bag, folds, places and names; a width that is no multiple of four.
    let sizes = [2, 1, 3];
    let values: Vec<f32> = (0..30).map(|i| i as f32 / 8.0).collect();
    let sets = LabelSets::new(2, vec![Some(true), None, Some(false), Some(true), None, Some(false)]).unwrap();
    let bags = Bags::packed(Features::F32(values), 5, &sizes).unwrap();
    let mut bags = bags.with_label_sets(sets, vec!["oedema".into(), "nodule".into()]).unwrap();
    bags.names = ["x", "y", "z"].map(String::from).to_vec();
    bags.columns = Some(["a", "b", "c", "d", "e"].map(String::from).to_vec());
    bags.coords = Some((0..6).map(|i| [i as f32, 0.5]).collect());
    let mut set = Dataset::new(bags, "several");
    set.folds = Some(Folds::new(vec![vec![0, 1, 0], vec![1, 0, 0]]).unwrap());
    let folder = save("several", &set);
    plain(&folder, &out("several.bags"));
    let read = npy::open(&folder).unwrap();
    assert!(read.bags.label_sets.is_some() && read.bags.columns.is_some() && read.folds.is_some());
    same(&Dataset::open(out("several.bags")).unwrap(), &read);
    // Key instances that are not those above 0 are told by generators alone.
    assert!(matches!(drawn.key, Key::Labels(_)));

    set.bags.names[1] = "x".into();
    let folder = save("twice", &set);
    let message = pack(&folder, &out("twice.bags"), &Packing::default()).unwrap_err().to_string();
    assert!(message.contains("two bags are called 'x'"), "{message}");
    assert!(!out("twice.bags").exists() && !out("twice.bags.part").exists());
}

#[test]
fn bad_slides_are_listed_together() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bad.bags");
    let message = pack(&fixture("bad"), &out, &Packing::default()).unwrap_err().to_string();
    let direct = Dataset::open(fixture("bad")).unwrap_err().to_string();
    assert_eq!(message, direct);
    assert!(message.contains("9 slides cannot be used") && message.contains("nan.h5"), "{message}");
    assert!(!out.exists());
    let packed = pack(&fixture("bad"), &out, &with(&skip())).unwrap();
    assert_eq!((packed.slides, packed.found), (2, 0));
    assert!(packed.remarks.join("\n").contains("9 slides cannot be used and are left out"));
    same(&Dataset::open(&out).unwrap(), &Dataset::open_with(fixture("bad"), &skip()).unwrap());
    let all = dir.path().join("none.bags");
    let message = pack(&fixture("patches"), &all, &with(&skip())).unwrap_err().to_string();
    assert!(message.contains("none of 3 slides can be used"), "{message}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["bad.bags"]);
}

#[test]
fn halves_are_told_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("bags");
    fs::create_dir(&folder).unwrap();
    let out = dir.path().join("half.bags");
    let half = Packing { half: true, force: true, ..Packing::default() };
    let set = |values: Vec<f32>| Dataset::new(Bags::packed(Features::F32(values), 2, &[1, 2]).unwrap(), "bags");
    npy::save(&set(vec![1.0, 0.1, 3.0, 1e-9, -2.5, 6.0]), &folder).unwrap();
    let packed = pack(&folder, &out, &half).unwrap();
    assert_eq!((packed.half, packed.rounding.values, packed.rounding.to_zero), (true, 2, 1));
    assert_eq!(Dataset::open(&out).unwrap().bags.features.to_f32(), [1.0, 0.099_975_586, 3.0, 0.0, -2.5, 6.0]);
    // CLAM's float32 slides, of which all have values that float16 has; then of packed slides one that has not.
    let packed = pack(&fixture("clam"), &out, &half).unwrap();
    assert_eq!((packed.half, packed.rounding.values), (true, 0));
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    npy::save(&set(vec![1.0, 2.0, 3.0, 4.0, 70_000.0, 6.0]), &folder).unwrap();
    let message = pack(&folder, &out, &half).unwrap_err().to_string();
    assert!(message.contains("bag '1': row 1, column 0 (0-based): 70000 is beyond float16"), "{message}");
    let full = dir.path().join("full.bags");
    plain(&folder, &full);
    // Leaving out is for slides that cannot be used, and this one can.
    let message = pack(&full, &out, &Packing { opening: skip(), ..half }).unwrap_err().to_string();
    assert!(message.contains("full.bags/1: row 1, column 0 (0-based): 70000 is beyond float16"), "{message}");
    assert_eq!(Dataset::open(&out).unwrap().bags.len(), 3, "what was there stays");
}

/// Wherever an earlier call ended, the file is the same byte for byte.
#[test]
fn interrupted_packing_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, out) = (dir.path().join("slides"), dir.path().join("out.bags"));
    fs::create_dir(&folder).unwrap();
    for slide in ["000", "001", "002"] {
        fs::copy(fixture(&format!("trident/{slide}.h5")), folder.join(format!("{slide}.h5"))).unwrap();
    }
    // A bad one between them, which has to be found out again each time.
    fs::write(folder.join("0001-bad.h5"), "").unwrap();
    let part = packed::part_of(&out);
    let again = || {
        let packed = pack(&folder, &out, &with(&skip())).unwrap_or_else(|e| panic!("{e}"));
        assert!(!part.exists());
        let bytes = fs::read(&out).unwrap();
        fs::remove_file(&out).unwrap();
        (bytes, packed.found)
    };
    let (whole, found) = again();
    assert_eq!(found, 0);
    let index = u64::from_le_bytes(whole[48..56].try_into().unwrap()) as usize;
    let mut unfinished = whole.clone();
    unfinished[..128].copy_from_slice(&first_header(&whole));
    let mut seen = [0; 4];
    let cuts = (0..whole.len()).step_by(173).chain([0, 1, 7, 8, 127, 128, index, whole.len()]);
    for cut in cuts {
        // Killed in a write, and killed before the file got its name, when its header was complete.
        for before in [&unfinished, &whole] {
            fs::write(&part, &before[..cut]).unwrap();
            let (bytes, found) = again();
            assert!(bytes == whole, "cut at {cut}");
            seen[found] += 1;
        }
    }
    assert!(seen.iter().all(|&times| times > 0), "{seen:?}");
    // Power that went: what is there is not what was written, or was never written.
    for at in (128..index).step_by(211) {
        let mut torn = unfinished.clone();
        torn[at] ^= 0x10;
        fs::write(&part, &torn).unwrap();
        assert!(again().0 == whole, "torn at {at}");
    }
    // Files that have changed since are packed anew, and so are those behind them.
    fs::write(&part, &unfinished).unwrap();
    fs::copy(fixture("trident/002.h5"), folder.join("001.h5")).unwrap();
    let (bytes, found) = again();
    assert_eq!(found, 1);
    assert_eq!(bytes, again().0);
    // So is all where the width or the type is another.
    fs::write(&part, &unfinished).unwrap();
    let clam = pack(&fixture("clam"), &out, &Packing::default()).unwrap();
    assert_eq!((clam.found, clam.slides), (0, 3));
}

/// The header as it stands while slides are written.
fn first_header(whole: &[u8]) -> [u8; 128] {
    let mut header: [u8; 128] = whole[..128].try_into().unwrap();
    header[32..68].fill(0);
    let sum = crc32fast::hash(&header[..124]);
    header[124..].copy_from_slice(&sum.to_le_bytes());
    header
}

#[test]
fn nothing_of_others_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.bags");
    let (part, force) = (packed::part_of(&out), Packing { force: true, ..Packing::default() });
    let refused = |packing: &Packing, what: &str| {
        let message = pack(&fixture("trident"), &out, packing).unwrap_err().to_string();
        assert!(message.contains(what), "{message}");
    };
    fs::write(&part, "my notes").unwrap();
    refused(&force, "bagrad did not write this file");
    assert_eq!(fs::read_to_string(&part).unwrap(), "my notes");
    fs::remove_file(&part).unwrap();
    fs::create_dir(&part).unwrap();
    refused(&force, "no file stands there");
    fs::remove_dir(&part).unwrap();
    fs::write(&out, "my notes").unwrap();
    refused(&Packing::default(), "is no packed file that bagrad wrote");
    refused(&force, "is no packed file that bagrad wrote");
    fs::remove_file(&out).unwrap();
    plain(&fixture("trident"), &out);
    refused(&Packing::default(), "--force replaces it");
    pack(&fixture("clam"), &out, &force).unwrap();
    assert_eq!(Dataset::open(&out).unwrap().bags.names, ["s0", "s1", "s2"]);
    let message = pack(&out, &out, &force).unwrap_err().to_string();
    assert!(message.contains("this call reads"), "{message}");
    // One that is not complete is no data yet, and its own name is no place for another.
    fs::write(&part, first_header(&fs::read(&out).unwrap())).unwrap();
    let message = Dataset::open(&part).unwrap_err().to_string();
    assert!(message.contains("packing was interrupted"), "{message}");
}

/// A change of any byte is found, and never read as something else.
#[test]
fn damage_of_every_part_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.bags");
    plain(&fixture("trident"), &out);
    let (whole, read) = (fs::read(&out).unwrap(), Dataset::open(fixture("trident")).unwrap());
    let named =
        |reason: &str| ["000", "001", "002"].into_iter().find(|name| reason.contains(&format!("out.bags/{name}")));
    let mut of_slides = std::collections::BTreeSet::new();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&out, changed).unwrap();
        match packed::verify(&out, &mut |_| {}) {
            Ok(found) => {
                assert_eq!(found.bad.len(), 1, "byte {at}");
                of_slides.extend(named(&found.bad[0].path.display().to_string()));
            }
            Err(error) => assert!(error.to_string().contains("out.bags"), "{error}"),
        }
        match packed::open(&out, &Opening::default()) {
            Ok(set) => same(&set, &read),
            Err(error) => assert!(error.to_string().contains("out.bags"), "{error}"),
        }
    }
    assert_eq!(of_slides.len(), 3);
    // Slides that are damaged may be left out; the others are as they were.
    let mut changed = whole.clone();
    let at = whole.windows(8).rposition(|w| w == b"BAGSLIDE").unwrap();
    let features = whole.len() - u64::from_le_bytes(whole[56..64].try_into().unwrap()) as usize - 64;
    assert!(features > at);
    changed[features] ^= 1;
    fs::write(&out, changed).unwrap();
    let message = packed::open(&out, &Opening::default()).unwrap_err().to_string();
    assert!(message.contains("1 slides cannot be used") && message.contains("out.bags/002: its values are damaged"));
    let set = packed::open(&out, &skip()).unwrap();
    assert_eq!(set.bags.names, ["000", "001"]);
    assert_eq!(set.bags.features.to_f32(), read.bags.features.slice(0..7 * 6).to_f32());
    for length in 0..whole.len() {
        fs::write(&out, &whole[..length]).unwrap();
        assert!(Source::parse(&out).and_then(|s| s.open()).is_err(), "cut at {length}");
    }
}

/// A file with right checksums is not believed either.
#[test]
fn values_that_are_not_finite_are_refused_whatever_the_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.bags");
    plain(&fixture("clam"), &out);
    let mut bytes = fs::read(&out).unwrap();
    let at = u64::from_le_bytes(bytes[48..56].try_into().unwrap()) as usize;
    let mut index: serde_json::Value = serde_json::from_slice(&bytes[at..]).unwrap();
    let slide = &mut index["slides"][2];
    let features = slide["features"].as_u64().unwrap() as usize;
    // Row 1, column 2, of eight values from a row to the next.
    bytes[features + 40..features + 44].copy_from_slice(&f32::NAN.to_le_bytes());
    slide["crc32"] = crc32fast::hash(&bytes[features..at]).into();
    bytes.truncate(at);
    bytes.extend(serde_json::to_vec(&index).unwrap());
    fs::write(&out, super::targets::sealed(&bytes)).unwrap();
    let message = Dataset::open(&out).unwrap_err().to_string();
    assert!(message.contains("out.bags/s2: row 1, column 2 (0-based): expected finite features"), "{message}");
}

/// A few slides are in memory at a time, not the cohort.
#[test]
fn memory_holds_a_few_slides() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    let (folder, first, second) = (dir.path().join("bags"), dir.path().join("1.bags"), dir.path().join("2.bags"));
    fs::create_dir(&folder).unwrap();
    let (slides, values) = (48usize, 64 * 1024usize);
    let all: Vec<f32> = (0..slides * values).map(|i| (i % 1000) as f32).collect();
    let bags = Bags::packed(Features::F32(all), 64, &vec![1024; slides]).unwrap();
    npy::save(&Dataset::new(bags, "bags"), &folder).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let held = |work: &(dyn Fn() + Sync)| {
        let before = HELD.load(Relaxed);
        MOST.store(before, Relaxed);
        pool.install(work);
        MOST.load(Relaxed).saturating_sub(before)
    };
    let cohort = slides * values * 4;
    let mut most = vec![held(&|| drop(plain(&folder, &first)))];
    most.push(held(&|| drop(plain(&first, &second))));
    most.push(held(&|| drop(packed::verify(&second, &mut |_| {}).unwrap())));
    most.push(held(&|| assert_eq!(Dataset::open(&second).unwrap().bags.len(), slides)));
    println!("{} KiB of values; held: {most:?}", cohort >> 10);
    assert!(most.iter().all(|&bytes| bytes < cohort / 2), "{most:?} of {cohort}");
}

#[test]
fn a_file_in_the_folder_it_was_packed_from_is_no_slide() {
    let dir = tempfile::tempdir().unwrap();
    let slide = dir.path().join("000.h5");
    fs::copy(fixture("trident/000.h5"), &slide).unwrap();
    let out = dir.path().join("all.bags");
    plain(dir.path(), &out);
    let set = Dataset::open(dir.path()).unwrap();
    assert_eq!(set.bags.names, ["000"]);
    assert!(set.remarks.join("\n").contains("1 other files are left out, such as 'all.bags'"), "{:?}", set.remarks);
}
