//! What can go wrong, as a type: which file, which shape, which limit of the device.

use std::path::{Path, PathBuf};

/// The error of every public function of the library.
///
/// A message says what is wrong, where, and what was expected. Mistakes inside the engine itself are
/// assertions; whatever a caller or a file can cause is one of these.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, read or written.
    // Not called `source`: the message has the cause already, and a printed chain would repeat it.
    #[error("{}: {cause}", shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file was read but its content is not what its place asks for.
    #[error("{}: {message}", shown(path))]
    Format {
        /// The file or folder.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// Bags in memory that break a rule of [`crate::Bags`] (offsets, finite values, labels).
    #[error("bags: {message}")]
    Bags {
        /// The rule that is broken.
        message: String,
    },
    /// Two shapes that should fit and do not.
    #[error("{operation}: expected {expected}, found {found}")]
    Shape {
        /// Where they met.
        operation: &'static str,
        /// What fits.
        expected: String,
        /// What came.
        found: String,
    },
    /// A setting that does not exist or has a value out of its range.
    #[error("setting {name}: {message}")]
    Setting {
        /// Which.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// No adapter fits what was asked for, or it could not be opened.
    #[error("device: {message}")]
    Device {
        /// What was asked for and why it cannot be had.
        message: String,
    },
    /// Something asks for more bytes than a device, a memory budget or this library allows.
    #[error("limit {limit}: {what} needs {wanted} bytes, {possible} are possible")]
    Limit {
        /// Its name.
        limit: &'static str,
        /// Who asks.
        what: String,
        /// Bytes that are asked for.
        wanted: u64,
        /// Bytes that can be had.
        possible: u64,
    },
    /// The driver ran out of memory.
    #[error("out of device memory while {while_doing}")]
    OutOfMemory {
        /// What it was asked for.
        while_doing: String,
    },
    /// The device was lost (unplugged, reset by its driver, hung).
    #[error(
        "the device was lost: {message}. If it was busy for seconds, the operating system has reset it: a smaller \
         --memory or --batch makes its work shorter, and docs/limits.md tells of the time limits of drivers"
    )]
    DeviceLost {
        /// What the driver said.
        message: String,
    },
    /// Training met a loss that is not finite.
    #[error("the loss is {loss} at step {step}; try a smaller learning rate or standardise the features")]
    NotFinite {
        /// Number of the step.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// Training left a parameter that is not finite.
    #[error(
        "parameter {parameter} is not finite after {updates} updates; try a smaller learning rate or standardise the \
         features"
    )]
    Diverged {
        /// Its name.
        parameter: String,
        /// Updates until it was seen.
        updates: u64,
    },
    /// Gradients in mixed precision stay infinite or NaN however small the scale of the loss.
    #[error(
        "gradients are not finite at step {step}, with the scale of the loss down to 1 ({skipped} updates left out); \
         try a smaller learning rate, standardise the features, or train in f32"
    )]
    GradientOverflow {
        /// Number of the step.
        step: u64,
        /// Updates that were left out.
        skipped: u32,
    },
}

/// A path as messages have it, with control characters escaped.
fn shown(path: &Path) -> String {
    crate::printable::printable(&path.display().to_string()).into_owned()
}

/// `Result` with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn setting(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Setting { name: name.into(), message: message.into() }
    }

    pub(crate) fn bags(message: impl Into<String>) -> Self {
        Self::Bags { message: message.into() }
    }

    /// A file whose content is wrong.
    pub fn format(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Format { path: path.into(), message: message.into() }
    }

    /// A value of a file, `width` of them a row, that is not finite.
    pub(crate) fn not_finite(path: &Path, index: usize, width: usize, value: f32) -> Self {
        let (row, column) = (index / width, index % width);
        let expected = "expected a finite number within float32";
        Self::format(path, format!("row {row}, column {column} (0-based) is {value}; {expected}"))
    }

    /// A file that could not be opened, read or written.
    pub fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Self::Io { path: path.into(), cause }
    }
}
