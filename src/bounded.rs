//! Files that are read whole: models, configurations, lists. What is longer than such a file can be is refused before
//! memory is taken for it.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of a text file that is read whole, at most.
pub const TEXT: u64 = 64 << 20;

/// The content of a file of at most `most` bytes.
///
/// # Errors
/// [`Error::Io`], and [`Error::Format`] with both sizes for a longer file.
pub fn read(path: impl AsRef<Path>, most: u64) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let io = |e| Error::io(path, e);
    let too_long = |found: String| {
        Err(Error::format(path, format!("expected a file of at most {most} bytes, found {found}; it is not read")))
    };
    let file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    if length > most {
        return too_long(format!("{length}"));
    }
    let mut content = Vec::with_capacity(length as usize);
    // What is no regular file has no length, and may have no end.
    file.take(most + 1).read_to_end(&mut content).map_err(io)?;
    if content.len() as u64 > most {
        return too_long("more".into());
    }
    Ok(content)
}

/// The content of a text file of at most [`TEXT`] bytes.
///
/// # Errors
/// As [`read`], and [`Error::Format`] when it is not UTF-8.
pub fn text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let content = read(path, TEXT)?;
    String::from_utf8(content).map_err(|e| Error::format(path, format!("is not text in UTF-8 ({e})")))
}

/// Refuses what would take `sizes` multiplied as many bytes of memory, where the system tells how much there is.
///
/// # Errors
/// [`Error::Limit`] with both sizes.
pub fn check_room(what: impl Into<String>, sizes: &[u64]) -> Result<()> {
    let wanted = sizes.iter().fold(1u128, |all, &n| all.saturating_mul(n as u128));
    // An allocation is no larger than this anywhere.
    let possible = available().unwrap_or(isize::MAX as u64);
    if wanted <= possible as u128 {
        return Ok(());
    }
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    Err(Error::Limit { limit: "memory that is free", what: what.into(), wanted, possible })
}

/// Refuses to read what memory cannot hold, where the system tells how much there is.
///
/// # Errors
/// [`Error::Format`] with both sizes, and that features can stay in their file.
pub fn check_memory(path: &Path, bytes: u64) -> Result<()> {
    match available() {
        Some(there) if bytes > there => {
            let message = format!(
                "its values need {bytes} bytes of memory, {there} are free; features can stay in their file in a folder \
                 of npy files (--cache none), and in the file that bagrad pack makes of a folder of slides"
            );
            Err(Error::format(path, message))
        }
        _ => Ok(()),
    }
}

/// Bytes that the system says can still be used, swap included.
pub fn available() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some((of("MemAvailable:")? + of("SwapFree:").unwrap_or(0)) * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_sizes_do_not_overflow() {
        check_room("bags", &[4, 1000, 10]).unwrap();
        let error = check_room("the bags of this draw", &[u64::MAX, u64::MAX, u64::MAX, 4]).unwrap_err().to_string();
        assert!(error.contains("memory that is free: the bags of this draw needs 18446744073709551615"), "{error}");
    }

    #[test]
    fn what_memory_cannot_hold_is_refused() {
        let path = Path::new("features.npy");
        check_memory(path, 1000).unwrap();
        if let Some(there) = available() {
            let error = check_memory(path, 100 * there).unwrap_err().to_string();
            assert!(error.contains("features.npy") && error.contains("--cache none"), "{error}");
        }
    }

    #[test]
    fn long_files_are_refused_before_they_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sparse");
        File::create(&path).unwrap().set_len(100 << 30).unwrap();
        let error = text(&path).unwrap_err().to_string();
        assert!(error.contains("at most 67108864 bytes, found 107374182400"), "{error}");
        assert_eq!(read(dir.path().join("none"), 1).unwrap_err().to_string().matches("none").count(), 1);
        std::fs::write(&path, "four").unwrap();
        assert_eq!((read(&path, 4).unwrap(), text(&path).unwrap()), (b"four".to_vec(), "four".to_string()));
        assert!(read(&path, 3).is_err());
        std::fs::write(&path, [0xff]).unwrap();
        assert!(text(&path).unwrap_err().to_string().contains("UTF-8"));
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_refused() {
        assert!(read("/dev/zero", 1000).unwrap_err().to_string().contains("at most 1000 bytes, found more"));
    }
}
