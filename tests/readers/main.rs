//! Every reader against mutated files: no panic, and no more memory than a small file can be worth.
//!
//! `BAGRAD_FUZZ=100000 cargo test --release --test readers` tries so many inputs of each target; an input depends on its
//! number alone, and a failure names it. `fuzz/` has the same targets for cargo-fuzz.

mod corpus;
mod layouts;
mod packed;
mod parquet;
mod slides;
mod targets;

use bagrad::random::Random;
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use targets::TARGETS;

/// The system's allocator, which counts what is held at a time.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    MOST.fetch_max(HELD.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: all work is the system allocator's; counting changes nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at once.
        more(size);
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by each test, as memory is counted for all threads together.
static ALONE: Mutex<()> = Mutex::new(());

/// Inputs have some kilobytes; a reader may hold its buffers and what the content is worth.
const MOST_MEMORY: usize = 64 << 20;

#[test]
fn mutated_files_end_in_bags_or_errors() {
    let _alone = ALONE.lock().unwrap();
    let asked = std::env::var("BAGRAD_FUZZ").ok().map(|text| text.parse::<u64>().expect("BAGRAD_FUZZ: a number"));
    let dir = tempfile::tempdir().unwrap();
    for (number, target) in TARGETS.iter().enumerate() {
        let folder = dir.path().join(target.name);
        std::fs::create_dir(&folder).unwrap();
        let seeds = corpus::of(target.name);
        // The corpus first, whole, then its mutations.
        let inputs = seeds.len() as u64 + asked.unwrap_or(400);
        let (mut most, mut of) = (0, 0);
        for index in 0..inputs {
            let input = match seeds.get(index as usize) {
                Some(seed) => seed.clone(),
                None => corpus::mutated(&seeds, &mut Random::new(1 + number as u64, index)),
            };
            let before = HELD.load(Relaxed);
            MOST.store(before, Relaxed);
            let done = catch_unwind(AssertUnwindSafe(|| (target.run)(&input, &folder)));
            let memory = MOST.load(Relaxed).saturating_sub(before);
            if memory > most {
                (most, of) = (memory, index);
            }
            if done.is_err() || memory > MOST_MEMORY {
                let shown = String::from_utf8_lossy(&input[..input.len().min(2000)]).into_owned();
                panic!(
                    "target {}, input {index}: {memory} bytes held at a time, or a panic above:\n{shown:?}",
                    target.name
                );
            }
        }
        println!("{}: {inputs} inputs, at most {} KiB held (input {of})", target.name, most >> 10);
    }
}

/// `tests/builds` compiles the programs of `fuzz/`; here, that each target has one.
#[test]
fn fuzz_has_a_program_for_each_target() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
    let listed: BTreeSet<&str> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["path"].as_str().unwrap()).collect();
    let names =
        TARGETS.iter().map(|target| (target.name, format!("fuzz_targets/{}.rs", target.name.replace('-', "_"))));
    for (name, file) in names.clone() {
        assert!(listed.contains(&file[..]), "{file} is not in fuzz/Cargo.toml");
        let text = std::fs::read_to_string(folder.join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(text.contains(&format!("target.name == \"{name}\"")), "{file} runs another target than {name}");
    }
    assert_eq!(listed.len(), names.count(), "fuzz/Cargo.toml lists programs without a target: {listed:?}");
}

/// Files whose headers promise more than there is, of which a mutation would find few.
#[test]
fn promises_are_not_believed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().unwrap();
    // 100 GB of zeros that take no room on the disk.
    let sparse = |name: &str, head: &[u8], bytes: u64| {
        let path = dir.path().join(name);
        std::fs::write(&path, head).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        (file.set_len(head.len() as u64 + bytes).unwrap(), path).1
    };
    let large = 100_000_000_000;
    let text = sparse("sparse.csv", b"", large);
    let message = bagrad::data::text::open(&text).unwrap_err().to_string();
    assert!(message.contains("a line is longer than 16777216 bytes"), "{message}");
    let images = sparse("sparse.idx", &[[0, 0, 8, 3].as_slice(), &[0, 1, 0, 0].repeat(3)].concat(), 0);
    let message = bagrad::data::idx::read(&images, 3).unwrap_err().to_string();
    assert!(message.contains("281474976710656 values; the limit is"), "{message}");
    // A packed file that is right but for its length, and one whose index would be most of it.
    let packed = corpus::of("packed").remove(0);
    let long = sparse("long.bags", &packed, large);
    let message = bagrad::data::Dataset::open(&long).unwrap_err().to_string();
    assert!(message.contains("expected an index of"), "{message}");
    let mut head = packed[..128].to_vec();
    head[48..56].copy_from_slice(&128u64.to_le_bytes());
    head[56..64].copy_from_slice(&large.to_le_bytes());
    let sum = crc32fast::hash(&head[..124]).to_le_bytes();
    head[124..].copy_from_slice(&sum);
    let message = bagrad::data::Dataset::open(sparse("index.bags", &head, large)).unwrap_err().to_string();
    assert!(message.contains("expected an index of 100000000000 bytes"), "{message}");
    // More than any machine has.
    let folder = dir.path().join("npy");
    std::fs::create_dir(&folder).unwrap();
    let head = corpus::npy_header("<f4", "(500000000000, 2)");
    sparse("npy/features.npy", &head, 4_000_000_000_000);
    sparse("npy/bag_ids.npy", &corpus::npy_header("|u1", "(500000000000,)"), 500_000_000_000);
    if cfg!(target_os = "linux") {
        let message = bagrad::data::npy::open(&folder).unwrap_err().to_string();
        assert!(message.contains("need 4000000000000 bytes of memory"), "{message}");
    }
}
