//! The IDX format of the MNIST files, packed with gzip or not.
//!
//! A file is a magic number (two zero bytes, the type, the number of dimensions), the dimensions as
//! big-endian u32, and the values. Only unsigned bytes (type 8) are read: that is what images and labels are.

use super::file;
use super::mil_bags::Pool;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// MNIST has 47 million; an archive that unpacks to more than this is no set of small pictures.
const MOST_BYTES: usize = 4 << 30;

/// Bytes and their dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Slowest dimension first.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub bytes: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes with `dimensions` dimensions (3 for images, 1 for labels). Gzip is
/// recognised by its first bytes, not by the name.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened, [`Error::Format`] when its magic number is another one, or
/// it is shorter or longer than its header says.
pub fn read(path: &Path, dimensions: u8) -> Result<Idx> {
    let mut reader = file::open(path)?;
    let magic = file::bytes(path, &mut *reader, 4, "the magic number")?;
    if magic != [0, 0, 8, dimensions] {
        return Err(Error::format(
            path,
            format!(
                "expected the IDX magic number 0x0000080{dimensions:x} (bytes in {dimensions} dimensions), found 0x{}",
                magic.iter().map(|b| format!("{b:02x}")).collect::<String>()
            ),
        ));
    }
    let header = file::bytes(path, &mut *reader, 4 * usize::from(dimensions), "dimensions")?;
    let (sizes, _) = header.as_chunks::<4>();
    let shape: Vec<usize> = sizes.iter().map(|&b| u32::from_be_bytes(b) as usize).collect();
    let Some(count) = shape.iter().try_fold(1usize, |a, &d| a.checked_mul(d)) else {
        return Err(Error::format(path, format!("the dimensions {shape:?} are too large")));
    };
    if count > MOST_BYTES {
        let message = format!("dimensions {shape:?} are {count} values; the limit is {MOST_BYTES}");
        return Err(Error::format(path, message));
    }
    crate::bounded::check_memory(path, count as u64)?;
    let bytes = file::bytes(path, &mut *reader, count, &format!("values (dimensions {shape:?})"))?;
    file::end(path, &mut *reader)?;
    Ok(Idx { shape, bytes })
}

/// True when `folder` has MNIST's training images under one of their usual names.
pub fn is_mnist(folder: &Path) -> bool {
    find(folder, "train-images", 3).is_ok()
}

/// MNIST's training images and its test images, read from `folder` as two pools.
///
/// The four files have their usual names, `train-images-idx3-ubyte` or `train-images.idx3-ubyte` and so on,
/// with or without `.gz`. Pixels are normalised as (x / 255 - 0.1307) / 0.3081.
///
/// # Errors
/// As [`read`], and [`Error::Format`] when a file is missing or images and labels differ in number.
pub fn mnist(folder: &Path) -> Result<[Pool; 2]> {
    Ok([pool(folder, "train")?, pool(folder, "t10k")?])
}

fn pool(folder: &Path, part: &str) -> Result<Pool> {
    let images = read(&find(folder, &format!("{part}-images"), 3)?, 3)?;
    let path = find(folder, &format!("{part}-labels"), 1)?;
    let labels = read(&path, 1)?;
    if labels.shape[0] != images.shape[0] {
        let (expected, found) = (images.shape[0], labels.shape[0]);
        return Err(Error::format(path, format!("expected {expected} labels (one for each image), found {found}")));
    }
    Pool::new(
        images.bytes,
        labels.bytes,
        [images.shape[1], images.shape[2], 1],
        1.0 / (255.0 * 0.3081),
        -0.1307 / 0.3081,
    )
}

fn find(folder: &Path, stem: &str, dimensions: u8) -> Result<PathBuf> {
    let names = ["-", "."].map(|mark| format!("{stem}{mark}idx{dimensions}-ubyte"));
    let paths = names.iter().flat_map(|name| [folder.join(name), folder.join(format!("{name}.gz"))]);
    paths.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Error::format(
            folder,
            format!("expected {} or {} (with or without .gz) in this folder, found neither", names[0], names[1]),
        )
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    pub fn idx(shape: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, shape.len() as u8];
        shape.iter().for_each(|d| file.extend(d.to_be_bytes()));
        file.extend(bytes);
        file
    }

    pub fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    fn message(bytes: &[u8]) -> String {
        let (_dir, path) = written(bytes);
        let message = read(&path, 1).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        message
    }

    #[test]
    fn plain_and_packed_files_read_alike() {
        let plain = idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        for bytes in [gzip(&plain), plain] {
            let (_dir, path) = written(&bytes);
            let expected = Idx { shape: vec![2, 1, 3], bytes: vec![1, 2, 3, 4, 5, 6] };
            assert_eq!(read(&path, 3).unwrap(), expected);
        }
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        assert!(message(&[0, 0, 8]).contains("expected 4 bytes of the magic number, found 3"));
        assert!(message(&idx(&[1, 1, 1], &[0])).contains("expected the IDX magic number 0x00000801"));
        assert!(message(&[0, 0, 13, 1, 0, 0, 0, 0]).contains("found 0x00000d01"));
        assert!(message(&idx(&[3], &[1, 2])).contains("expected 3 bytes of values (dimensions [3]), found 2"));
        assert!(message(&idx(&[u32::MAX], &[1])).contains("ends early"));
        assert!(message(&idx(&[1], &[1, 2])).contains("expected the end of the file"));
        let (_dir, path) = written(&idx(&[u32::MAX; 3], &[]));
        assert!(read(&path, 3).unwrap_err().to_string().contains("too large"));
        assert!(matches!(read(Path::new("/nowhere/at-all"), 1), Err(Error::Io { .. })));
    }

    #[test]
    fn a_cut_or_damaged_gzip_stream_is_an_error() {
        let packed = gzip(&idx(&[1000], &(0..1000u32).map(|i| (i * i % 251) as u8).collect::<Vec<_>>()));
        assert!(message(&packed[..packed.len() - 20]).contains("ends early"));
        assert!(message(&packed[..packed.len() - 1]).contains("ends early"));
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        message(&damaged);
    }

    #[test]
    fn mnist_is_found_under_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| std::fs::write(dir.path().join(name), bytes).unwrap();
        assert!(!is_mnist(dir.path()));
        write("train-images-idx3-ubyte", idx(&[2, 1, 2], &[0, 255, 1, 2]));
        write("train-labels.idx1-ubyte", idx(&[2], &[3, 9]));
        write("t10k-images.idx3-ubyte.gz", gzip(&idx(&[1, 1, 2], &[7, 8])));
        assert!(is_mnist(dir.path()));
        let missing = mnist(dir.path()).unwrap_err().to_string();
        assert!(missing.contains("t10k-labels-idx1-ubyte or t10k-labels.idx1-ubyte"), "{missing}");
        write("t10k-labels-idx1-ubyte.gz", gzip(&idx(&[2], &[5, 6])));
        let differ = mnist(dir.path()).unwrap_err().to_string();
        assert!(differ.contains("expected 1 labels (one for each image), found 2"), "{differ}");
        write("t10k-labels-idx1-ubyte.gz", gzip(&idx(&[1], &[5])));
        let [train, test] = mnist(dir.path()).unwrap();
        assert_eq!((train.len(), test.len(), train.image()), (2, 1, [1, 2, 1]));
        let pixels: Vec<f32> = train.image_values(0).collect();
        assert!((pixels[0] + 0.1307 / 0.3081).abs() < 1e-6 && (pixels[1] - 0.8693 / 0.3081).abs() < 1e-5);
    }
}
