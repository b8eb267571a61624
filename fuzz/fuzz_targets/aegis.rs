#![no_main]

#[path = "../../tests/readers/targets.rs"]
#[allow(dead_code)]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    thread_local!(static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap());
    let target = targets::TARGETS.iter().find(|target| target.name == "aegis").unwrap();
    FOLDER.with(|folder| (target.run)(input, folder.path()));
});
