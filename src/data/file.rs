//! Opening files, packed with gzip or not, with errors that name them.

use crate::error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// A buffered reader of `path`; gzip is recognised by its first two bytes, whatever the name.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let packed = reader.fill_buf().map_err(|e| Error::io(path, e))?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(reader))) } else { Box::new(reader) })
}

/// Says of a failed read whether the content or the system is to blame.
pub(super) fn reading(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::format(path, "the file ends early (is it cut off?)"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::format(path, format!("the content cannot be read: {error}"))
        }
        _ => Error::io(path, error),
    }
}

/// Reads exactly `count` bytes. The memory grows with what is there, not with what a header promises.
pub(super) fn bytes(path: &Path, reader: &mut dyn BufRead, count: usize, what: &str) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(count as u64).read_to_end(&mut content).map_err(|e| reading(path, e))?;
    if content.len() < count {
        let found = content.len();
        return Err(Error::format(
            path,
            format!("the file ends early: expected {count} bytes of {what}, found {found}"),
        ));
    }
    Ok(content)
}

/// Refuses bytes after the end of the content.
pub(super) fn end(path: &Path, reader: &mut dyn BufRead) -> Result<()> {
    match reader.fill_buf().map_err(|e| reading(path, e))? {
        [] => Ok(()),
        _ => Err(Error::format(path, "expected the end of the file, found more bytes than its header announces")),
    }
}
