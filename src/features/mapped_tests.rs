//! Files that change while they are in use, and rows that do not stand side by side.

use super::super::*;
use super::*;
use crate::bag::Bags;
use std::io::Write;

fn file(dir: &Path, values: &[f32]) -> std::path::PathBuf {
    let path = dir.join("values");
    std::fs::write(&path, bytemuck::cast_slice::<f32, u8>(values)).unwrap();
    path
}

fn bags(path: &Path, rows: usize, half: bool) -> Bags {
    let mapped = Mapped::open(path, 0, [rows, 2], half).unwrap().expect("aligned");
    Bags::packed(Features::Mapped(mapped), 2, &[1, rows - 1]).unwrap()
}

/// Whoever asks next is told: a longer file, a shorter one, and one of the same length that was written to.
#[test]
fn a_file_that_changes_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let change = |change: &dyn Fn(&Path)| {
        let path = file(dir.path(), &values);
        let bags = bags(&path, 10, false);
        bags.features.check_unchanged().unwrap();
        change(&path);
        let error = bags.features.check_unchanged().unwrap_err().to_string();
        assert!(error.contains("values") && error.contains("changed while it was in use"), "{error}");
        assert_eq!(crate::standardise::Standardiser::fit(&bags, &[0]).unwrap_err().to_string(), error);
        error
    };
    let append = |path: &Path| File::options().append(true).open(path).unwrap().write_all(&[0; 4]).unwrap();
    assert!(change(&append).contains("it had 80 bytes and has 84"));
    let cut = |path: &Path| File::options().write(true).open(path).unwrap().set_len(40).unwrap();
    assert!(change(&cut).contains("it had 80 bytes and has 40"));
    let later = SystemTime::now() + std::time::Duration::from_secs(5);
    let touch = |path: &Path| File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
    assert!(change(&touch).contains("it was written to"));
    // Another file of its name is another file: what is mapped stays as it is.
    let path = file(dir.path(), &values);
    let bags = bags(&path, 10, false);
    std::fs::remove_file(&path).unwrap();
    file(dir.path(), &[1.0; 6]);
    assert_eq!((bags.features.check_unchanged().is_ok(), bags.features.get(19)), (true, 19.0));
}

/// Standardised values are looked at whether they lie in memory or in their file.
#[test]
fn values_that_leave_their_type_are_found_in_a_file_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut values = vec![0.5f32; 20];
    values[13] = 3e38;
    let path = file(dir.path(), &values);
    let spread = crate::standardise::Standardiser { mean: vec![0.0; 2], std: vec![0.1; 2] };
    let error = spread.apply(&mut bags(&path, 10, false)).unwrap_err().to_string();
    assert!(error.contains("row 6, column 1 is inf"), "{error}");
    // Halves stay halves: 60000 / 0.1 is beyond them.
    let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(v.min(60_000.0))).collect();
    std::fs::write(&path, bytemuck::cast_slice::<f16, u8>(&halves)).unwrap();
    let error = spread.apply(&mut bags(&path, 10, true)).unwrap_err().to_string();
    assert!(error.contains("row 6, column 1 is inf"), "{error}");
    // f32 in a file that is to be stored in f16.
    values[13] = 65_520.0;
    let path = file(dir.path(), &values);
    let error = bags(&path, 10, false).check_f16().unwrap_err().to_string();
    assert!(error.contains("row 6, column 1 (0-based; bag 1) is 65520"), "{error}");
    values[13] = 65_519.0;
    let path = file(dir.path(), &values);
    bags(&path, 10, false).check_f16().unwrap();
}

/// Rows in several runs, padded to a stride: as if they stood in one.
#[test]
fn runs_and_strides_are_seen_through() {
    let dir = tempfile::tempdir().unwrap();
    // Five rows of three values and one of padding; the middle one is left out.
    let stored: Vec<f32> = (0..20).map(|i| if i % 4 == 3 { f32::NAN } else { i as f32 }).collect();
    let path = file(dir.path(), &stored);
    let source = Arc::new(MappedFile::open(&path).unwrap());
    let mapped = Mapped::of(source.clone(), &[(48, 2), (0, 2)], [3, 4], false).unwrap().unwrap();
    let wanted = [12.0, 13.0, 14.0, 16.0, 17.0, 18.0, 0.0, 1.0, 2.0, 4.0, 5.0, 6.0];
    assert_eq!((mapped.len(), mapped.read(0..12).to_f32()), (12, wanted.to_vec()));
    assert_eq!(mapped.read(2..10).to_f32(), wanted[2..10]);
    assert_eq!((mapped.get(5), mapped.get(6), mapped.first_not_finite()), (18.0, 0.0, None));
    assert_eq!(mapped.position(|x| x == 2.0), Some(8));
    assert_eq!(mapped.gather([1..3, 0..1].into_iter()).to_f32(), [&wanted[3..9], &wanted[..3]].concat());
    let lying: Vec<u8> = mapped.as_they_lie(1..4, 4).unwrap().flatten().copied().collect();
    let rows: Vec<f32> = bytemuck::pod_collect_to_vec(&lying);
    assert_eq!((rows.len(), &rows[..3], &rows[8..11]), (12, &[16.0, 17.0, 18.0][..], &[4.0, 5.0, 6.0][..]));
    assert!(mapped.as_they_lie(0..1, 3).is_none());
    let error = Mapped::of(source.clone(), &[(16, 5)], [3, 4], false).unwrap_err().to_string();
    assert!(error.contains("expected [5, 3] values after 16 bytes, found 80"), "{error}");
    assert!(Mapped::of(source.clone(), &[(0, usize::MAX)], [3, 4], false).is_err());
    assert!(Mapped::of(source, &[(2, 1)], [3, 4], false).unwrap().is_none(), "out of alignment");
}
