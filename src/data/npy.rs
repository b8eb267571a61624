//! Arrays in NumPy's npy format, and a folder of them as a data set.
//!
//! | file | content |
//! |---|---|
//! | `features.npy` | float16, float32 or float64 `[instances, width]` |
//! | `pixels.npy` | instead: uint8 `[instances, pixels]`, `[.., height, width]` or `[.., height, width, channels]`, scaled by 1/255 |
//! | `bag_ids.npy` | integers `[instances]`: the bag of each instance, from 0, ascending without a gap |
//! | `labels.npy` | integers `[bags]`: the class of each bag, from 0; left out for bags without labels |
//! | | or `[bags, labels]` of 0 and 1 (floats may be nan where that is not known): any subset of several labels a bag |
//! | `instance_labels.npy` | optional integers `[instances]` |
//! | `key_instances.npy` | optional integers `[instances]`, 1 for a key instance; goes before `instance_labels.npy` |
//! | `coords.npy` | optional numbers `[instances, 2 or 3]` (x, y; a third column is left out) |
//! | `split.npy` | optional integers `[bags]`: 0 train, 1 test, 2 validation |
//! | `folds.npy` | optional integers `[bags]` or `[repeats, bags]`: the fold that tests each bag |
//! | `groups.npy` | optional integers `[bags]` from 0: the group of each bag, such as the patient of a slide |
//! | `groups.txt` | in its place: a line for each bag |
//! | `bag_names.txt` | optional: a line for each bag |
//! | `class_names.txt` | optional: a line for each class, or for each of several labels |
//!
//! Both byte orders are read; Fortran order in one and two dimensions.

use super::classes::{self, Classes};
use super::{Dataset, Folds, Patches, Split, file};
use crate::bag::Bags;
use crate::bounded;
use crate::error::{Error, Result};
use crate::features::{Features, Mapped};
use crate::label_sets::LabelSets;
use half::f16;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriterBuilder};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// NumPy itself writes headers of a few hundred bytes and refuses beyond 10,000.
const LONGEST_HEADER: usize = 10_000;

/// Bytes of a label that is text.
const LONGEST_TEXT: usize = 1 << 16;

/// An npy file whose header has been read and fits the length of the file.
struct Array {
    path: PathBuf,
    shape: Vec<usize>,
    kind: TypeChar,
    size: usize,
    descr: String,
    big_endian: bool,
    fortran: bool,
    /// Bytes in front of the items.
    header: usize,
    reader: BufReader<File>,
}

impl Array {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let length = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let text = header(path, &mut reader)?;
        let parsed = NpyHeader::from_reader(&text[..]).map_err(|e| file::reading(path, e))?;
        let DType::Plain(dtype) = parsed.dtype() else {
            return Err(Error::format(path, "expected an array of numbers, found structured records"));
        };
        let shape: Option<Vec<usize>> = parsed.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
        let descr = format!("{dtype}");
        let Some(size @ 1..) = dtype.num_bytes() else {
            return Err(Error::format(path, format!("expected an array of numbers, found items of type {descr}")));
        };
        let items = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |a, &d| a.checked_mul(d)));
        let (Some(shape), Some(bytes)) = (shape, items.and_then(|n| n.checked_mul(size))) else {
            return Err(Error::format(path, format!("the shape {:?} is too large", parsed.shape())));
        };
        let found = length.saturating_sub(text.len() as u64);
        if found != bytes as u64 {
            let wrong = if found < bytes as u64 { "the file ends early" } else { "the file is too long" };
            return Err(Error::format(
                path,
                format!("{wrong}: shape {shape:?} of {descr} needs {bytes} bytes, found {found}"),
            ));
        }
        Ok(Self {
            path: path.into(),
            kind: dtype.type_char(),
            size,
            descr,
            big_endian: dtype.endianness() == Endianness::Big,
            fortran: parsed.order() == Order::Fortran && shape.len() > 1,
            shape,
            header: text.len(),
            reader,
        })
    }

    fn wrong<T>(&self, expected: &str, found: impl std::fmt::Display) -> Result<T> {
        Err(Error::format(&self.path, format!("expected {expected}, found {found}")))
    }

    /// All items in C order, each made from its little-endian bytes.
    fn items<T: Copy, const N: usize>(&mut self, make: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        if self.fortran && self.shape.len() > 2 {
            return self.wrong("C order (or at most two dimensions)", format!("Fortran order {:?}", self.shape));
        }
        let count = self.shape.iter().product::<usize>();
        // Twice where rows and columns have to change places.
        let bytes = count as u64 * size_of::<T>() as u64 * if self.fortran { 2 } else { 1 };
        bounded::check_memory(&self.path, bytes)?;
        let mut items = Vec::with_capacity(count);
        let mut buffer = vec![0u8; (1 << 16) * N];
        while items.len() < count {
            let chunk = &mut buffer[..(count - items.len()).min(1 << 16) * N];
            self.reader.read_exact(chunk).map_err(|e| file::reading(&self.path, e))?;
            let (chunks, _) = chunk.as_chunks_mut::<N>();
            if self.big_endian {
                chunks.iter_mut().for_each(|c| c.reverse());
            }
            items.extend(chunks.iter().map(|&c| make(c)));
        }
        if self.fortran {
            let (rows, columns) = (self.shape[0], self.shape[1]);
            items =
                (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| items[c * rows + r]).collect();
        }
        Ok(items)
    }

    fn integers(&mut self) -> Result<Vec<i64>> {
        match (self.kind, self.size) {
            (TypeChar::Bool, 1) | (TypeChar::Uint, 1) => self.items(|[b]| i64::from(b)),
            (TypeChar::Uint, 2) => self.items(|b| i64::from(u16::from_le_bytes(b))),
            (TypeChar::Uint, 4) => self.items(|b| i64::from(u32::from_le_bytes(b))),
            (TypeChar::Uint, 8) => {
                // Beyond i64 nothing here is meaningful; the largest value fails every later range check.
                self.items(|b| i64::try_from(u64::from_le_bytes(b)).unwrap_or(i64::MAX))
            }
            (TypeChar::Int, 1) => self.items(|b| i64::from(i8::from_le_bytes(b))),
            (TypeChar::Int, 2) => self.items(|b| i64::from(i16::from_le_bytes(b))),
            (TypeChar::Int, 4) => self.items(|b| i64::from(i32::from_le_bytes(b))),
            (TypeChar::Int, 8) => self.items(i64::from_le_bytes),
            _ => self.wrong("an integer type", &self.descr),
        }
    }

    fn floats(&mut self) -> Result<Features> {
        Ok(match (self.kind, self.size) {
            (TypeChar::Float, 2) => Features::F16(self.items(f16::from_le_bytes)?),
            (TypeChar::Float, 4) => Features::F32(self.items(f32::from_le_bytes)?),
            (TypeChar::Float, 8) => Features::F32(self.items(|b| f64::from_le_bytes(b) as f32)?),
            _ => return self.wrong("float16, float32 or float64", &self.descr),
        })
    }

    /// Text of fixed length, padded with zeros: bytes, or UTF-32.
    fn strings(&mut self) -> Result<Vec<String>> {
        if !matches!(self.kind, TypeChar::UnicodeStr | TypeChar::ByteStr) {
            return self.wrong("text", &self.descr);
        }
        if self.size > LONGEST_TEXT {
            return self
                .wrong(&format!("text of at most {LONGEST_TEXT} bytes an item"), format!("{} bytes", self.size));
        }
        let count = self.shape.iter().product::<usize>();
        let mut item = vec![0u8; self.size];
        let mut all = Vec::new();
        for row in 0..count {
            self.reader.read_exact(&mut item).map_err(|e| file::reading(&self.path, e))?;
            let text = match self.kind {
                TypeChar::ByteStr => String::from_utf8(item.clone()).ok(),
                _ => {
                    let (units, _) = item.as_chunks::<4>();
                    let of = |&b: &[u8; 4]| {
                        char::from_u32(if self.big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) })
                    };
                    units.iter().map(of).collect()
                }
            };
            let Some(text) = text else { return self.wrong("text", format!("other bytes in row {row} (0-based)")) };
            all.push(text.trim_end_matches('\0').to_owned());
        }
        Ok(all)
    }

    fn expect_shape(&self, expected: &[usize], what: &str) -> Result<()> {
        if self.shape != expected {
            return self.wrong(&format!("shape {expected:?} ({what})"), format!("{:?}", self.shape));
        }
        Ok(())
    }

    /// Integers `[expected]`, one for each of `what`.
    fn vector(&mut self, expected: usize, what: &str) -> Result<Vec<i64>> {
        self.expect_shape(&[expected], what)?;
        self.integers()
    }
}

/// The bytes of an npy header, from the magic to its end, after the checks that keep a parser safe.
fn header(path: &Path, reader: &mut impl Read) -> Result<Vec<u8>> {
    let mut text = vec![0u8; 10];
    let npy = |message: &str| Error::format(path, format!("expected an npy file: {message}"));
    reader.read_exact(&mut text).map_err(|_| npy("it has no header"))?;
    if !text.starts_with(b"\x93NUMPY") {
        return Err(npy("it does not begin with the bytes \\x93NUMPY"));
    }
    let mut length = usize::from(u16::from_le_bytes([text[8], text[9]]));
    if text[6] > 1 {
        let mut rest = [0u8; 2];
        reader.read_exact(&mut rest).map_err(|_| npy("it has no header"))?;
        length |= usize::from(u16::from_le_bytes(rest)) << 16;
        text.extend(rest);
    }
    if length > LONGEST_HEADER {
        return Err(npy(&format!("a header of {length} bytes is longer than {LONGEST_HEADER}")));
    }
    let start = text.len();
    text.resize(start + length, 0);
    reader.read_exact(&mut text[start..]).map_err(|_| npy("its header ends early"))?;
    // Twenty digits or more could make the product of the shape overflow 64 bits, and deep nesting the
    // stack of the parser; no array of numbers needs either.
    let digits = text[start..].iter().filter(|b| b.is_ascii_digit()).count();
    let brackets = text[start..].iter().filter(|b| b"([{".contains(b)).count();
    if digits > 19 || brackets > 8 {
        return Err(npy("its header describes something other than an array of numbers"));
    }
    Ok(text)
}

/// Refuses a value that is not finite, naming its place.
fn check_finite(path: &Path, features: &Features, width: usize) -> Result<()> {
    let bad = features.first_not_finite();
    bad.map_or(Ok(()), |i| Err(Error::not_finite(path, i, width, features.get(i))))
}

/// Features, width and image shape.
type Instances = (Features, usize, Option<[usize; 3]>);

fn instances(folder: &Path, mapped: bool) -> Result<Instances> {
    let path = folder.join("features.npy");
    if !path.exists() {
        let (pixels, width, image) = pixels(folder)?;
        return Ok((Features::F32(pixels.into_iter().map(|b| f32::from(b) / 255.0).collect()), width, image));
    }
    let mut array = Array::open(&path)?;
    let [rows, width] = array.shape[..] else {
        return array.wrong("two dimensions [instances, width]", format!("{:?}", array.shape));
    };
    if rows == 0 || width == 0 {
        return array.wrong("at least one instance and one feature", format!("shape {:?}", array.shape));
    }
    let usable = array.kind == TypeChar::Float && array.size <= 4 && !array.big_endian && !array.fortran;
    if mapped
        && usable
        && let Some(features) = Mapped::open(&path, array.header, [rows, width], array.size == 2)?
    {
        return Ok((Features::Mapped(features), width, None));
    }
    let features = array.floats()?;
    check_finite(&path, &features, width)?;
    Ok((features, width, None))
}

/// Bytes, width and image shape.
fn pixels(folder: &Path) -> Result<(Vec<u8>, usize, Option<[usize; 3]>)> {
    let path = folder.join("pixels.npy");
    if !path.exists() {
        return Err(Error::format(folder, "expected features.npy or pixels.npy in this folder, found neither"));
    }
    let mut array = Array::open(&path)?;
    if (array.kind, array.size) != (TypeChar::Uint, 1) {
        return array.wrong("uint8 pixels", &array.descr);
    }
    let (width, image) = match array.shape[..] {
        [_, width] => (width, Some(width.isqrt()).filter(|s| s * s == width).map(|s| [s, s, 1])),
        [_, h, w] => (h * w, Some([h, w, 1])),
        [_, h, w, c] => (h * w * c, Some([h, w, c])),
        _ => return array.wrong("two to four dimensions [instances, ...]", format!("{:?}", array.shape)),
    };
    if array.shape.contains(&0) {
        return array.wrong("at least one instance and one pixel", format!("shape {:?}", array.shape));
    }
    Ok((array.items(|[b]| b)?, width, image))
}

/// How bags are brought into order.
const ORDERED: &str = "in NumPy: ids = np.unique(ids, return_inverse=True)[1]; order = np.argsort(ids, kind='stable'), \
                       then [order] of ids and of every array of instances";

/// Sizes of the bags from the bag number of each instance.
fn bag_sizes(path: &Path, ids: &[i64]) -> Result<Vec<usize>> {
    let mut sizes: Vec<usize> = Vec::new();
    for (row, &id) in ids.iter().enumerate() {
        let current = sizes.len() as i64 - 1;
        if id == current + 1 {
            sizes.push(0);
        } else if id != current || row == 0 {
            let message = if row == 0 {
                format!("row 0 (0-based): expected bag 0 first, found bag {id} ({ORDERED})")
            } else if id > current {
                format!(
                    "row {row} (0-based): bag {id} after bag {current}; bag {} has no instance ({ORDERED})",
                    current + 1
                )
            } else {
                format!("row {row} (0-based): bag {id} after bag {current}; expected ascending bags ({ORDERED})")
            };
            return Err(Error::format(path, message));
        }
        if let Some(size) = sizes.last_mut() {
            *size += 1;
        }
    }
    Ok(sizes)
}

/// Reads `folder/name` with `read` where the file exists.
fn optional<T>(folder: &Path, name: &str, read: impl FnOnce(Array) -> Result<T>) -> Result<Option<T>> {
    let path = folder.join(name);
    if path.exists() { Array::open(&path).and_then(read).map(Some) } else { Ok(None) }
}

/// Opens a folder in the layout above. The key instances are those labelled above zero; set
/// [`Dataset::key`] where the folder's labels mean something else.
///
/// # Errors
/// [`Error::Format`] that names the file, the row or the shape, and what was expected and found.
pub fn open(folder: &Path) -> Result<Dataset> {
    read(folder, false)
}

/// As [`open`], with the features left in the file: the system reads them when they are wanted. Float64,
/// big-endian and Fortran-ordered features, and pixels, are read into memory all the same.
///
/// # Errors
/// As [`open`].
pub fn open_mapped(folder: &Path) -> Result<Dataset> {
    read(folder, true)
}

fn read(folder: &Path, mapped: bool) -> Result<Dataset> {
    let (features, width, image) = instances(folder, mapped)?;
    let mut set = around(folder, features, width)?;
    set.bags.image = image;
    Ok(set)
}

/// Opens a folder with `pixels.npy` and leaves its instances bytes.
///
/// # Errors
/// As [`open`], and [`Error::Format`] when it is not known how high and wide a row of pixels is.
pub fn patches(folder: &Path) -> Result<Patches> {
    let (pixels, width, image) = pixels(folder)?;
    let Some(image) = image else {
        let message = format!("expected pixels [instances, height, width, channels], found [instances, {width}]");
        return Err(Error::format(folder.join("pixels.npy"), message));
    };
    let frame = around(folder, Features::F32(vec![0.0; pixels.len() / width]), 1)?;
    Patches::new(pixels, image, frame)
}

/// Everything of a folder but its instances, which are given.
fn around(folder: &Path, features: Features, width: usize) -> Result<Dataset> {
    let ids = folder.join("bag_ids.npy");
    if !ids.exists() {
        return Err(Error::format(
            folder,
            "expected bag_ids.npy (the bag of each instance) in this folder, found none",
        ));
    }
    let rows = features.len() / width;
    let sizes = bag_sizes(&ids, &Array::open(&ids)?.vector(rows, "one bag for each instance")?)?;
    let count = sizes.len();
    let mut set = Dataset::new(Bags::packed(features, width, &sizes)?, super::name_of(folder));
    let class_names = lines(folder, "class_names.txt", |found| found > 0, "the names of the classes".into())?;
    let labels = optional(folder, "labels.npy", |array| match array.shape.len() {
        2 => several_labels(array, count, class_names.as_deref(), &mut set),
        _ => labels(array, count, class_names.as_deref()),
    })?;
    if let Some(classes) = labels.flatten() {
        classes.put_in(&mut set.bags, &mut set.remarks);
    }
    let bags = &mut set.bags;
    if let Some(names) = class_names {
        bags.class_names = names;
    }
    if let Some(names) = lines(folder, "bag_names.txt", |found| found == count, format!("{count} lines (bags)"))? {
        bags.names = names;
    }
    if let Some(names) =
        lines(folder, "feature_names.txt", |found| found == width, format!("{width} lines (features)"))?
    {
        bags.columns = Some(names);
    }
    bags.groups = groups(folder, count)?;
    let labels_of = |name| optional(folder, name, |array| instance_labels(array, rows));
    bags.instance_labels = match labels_of("key_instances.npy")? {
        Some(keys) => Some(keys),
        None => labels_of("instance_labels.npy")?,
    };
    bags.coords = optional(folder, "coords.npy", |array| coords(array, rows))?;
    bags.validate()?;
    set.split = optional(folder, "split.npy", |array| split(array, count))?;
    if let Some(mut split) = set.split.take() {
        set.leave_out_unlabelled(&mut split);
        set.split = Some(split);
    }
    set.folds = optional(folder, "folds.npy", |array| folds(array, count))?;
    set.remarks.extend(classes::misread(&set.bags).map_err(|message| Error::format(folder, message))?);
    Ok(set)
}

/// The group of each bag, where the folder has them.
fn groups(folder: &Path, bags: usize) -> Result<Option<Vec<String>>> {
    let numbers =
        optional(folder, "groups.npy", |mut array| array.vector(bags, "one group for each bag of bag_ids.npy"))?;
    let words = lines(folder, "groups.txt", |found| found == bags, format!("{bags} lines (the group of each bag)"))?;
    match (numbers, words) {
        (Some(_), Some(_)) => {
            Err(Error::format(folder, "expected groups.npy or groups.txt in this folder, found both"))
        }
        (Some(numbers), None) => match numbers.iter().position(|&n| n < 0) {
            Some(row) => {
                let message = format!("row {row} (0-based): expected a group from 0, found {}", numbers[row]);
                Err(Error::format(folder.join("groups.npy"), message))
            }
            None => Ok(Some(numbers.iter().map(i64::to_string).collect())),
        },
        (None, Some(words)) => match words.iter().position(|w| w.trim().is_empty()) {
            Some(line) => Err(Error::format(
                folder.join("groups.txt"),
                format!("line {}: expected a group, found none", line + 1),
            )),
            None => Ok(Some(words)),
        },
        (None, None) => Ok(None),
    }
}

/// The lines of an optional text file; their number has to be right.
fn lines(folder: &Path, name: &str, right: impl Fn(usize) -> bool, expected: String) -> Result<Option<Vec<String>>> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let text = bounded::text(&path)?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match right(lines.len()) {
        true => Ok(Some(lines)),
        false => Err(Error::format(&path, format!("expected {expected}, found {}", lines.len()))),
    }
}

/// Writes bags in the layout above into the folder `to`, which is there. Features are written in float32, pixels as features.
///
/// # Errors
/// [`Error::Io`] with the file.
pub fn save(set: &Dataset, to: &Path) -> Result<()> {
    let bags = &set.bags;
    let rows = [bags.instances() as u64, bags.width as u64];
    let features = &bags.features;
    array(to, "features.npy", &rows, (0..features.len()).map(|i| features.get(i)))?;
    let ids = (0..bags.len()).flat_map(|bag| bags.rows(bag).map(move |_| bag as i64));
    array(to, "bag_ids.npy", &rows[..1], ids)?;
    let each = [bags.len() as u64];
    if let Some(labels) = &bags.labels {
        if labels.contains(&Bags::UNKNOWN) {
            // NumPy's integers have no value for "not known".
            let value = |&l: &u32| if l == Bags::UNKNOWN { f64::NAN } else { f64::from(l) };
            array(to, "labels.npy", &each, labels.iter().map(value))?;
        } else {
            array(to, "labels.npy", &each, labels.iter().map(|&l| i64::from(l)))?;
        }
    }
    if let Some(sets) = &bags.label_sets {
        let shape = [each[0], sets.labels() as u64];
        if sets.bags().flatten().any(Option::is_none) {
            let value = |has: &Option<bool>| has.map_or(f64::NAN, |has| f64::from(u8::from(has)));
            array(to, "labels.npy", &shape, sets.bags().flatten().map(value))?;
        } else {
            array(to, "labels.npy", &shape, sets.bags().flatten().map(|has| u8::from(*has == Some(true))))?;
        }
    }
    if let Some(labels) = &bags.instance_labels {
        array(to, "instance_labels.npy", &rows[..1], labels.iter().copied())?;
    }
    if let Some(coords) = &bags.coords {
        array(to, "coords.npy", &[rows[0], 2], coords.as_flattened().iter().copied())?;
    }
    if let Some(split) = &set.split {
        let number = |part: &Split| match part {
            Split::Train | Split::Unlabelled => 0i32,
            Split::Test => 1,
            Split::Validation => 2,
        };
        array(to, "split.npy", &each, split.iter().map(number))?;
    }
    if let Some(folds) = &set.folds {
        let of = folds.of();
        array(to, "folds.npy", &[of.len() as u64, each[0]], of.iter().flatten().map(|&f| i64::from(f)))?;
    }
    let lines = |of: &Option<Vec<String>>| of.clone().unwrap_or_default();
    let (columns, groups) = (lines(&bags.columns), lines(&bags.groups));
    let names = [
        ("bag_names.txt", &bags.names),
        ("class_names.txt", &bags.class_names),
        ("feature_names.txt", &columns),
        ("groups.txt", &groups),
    ];
    for (name, lines) in names {
        // A name of several lines could not be told from several names.
        if !lines.is_empty() && !lines.iter().any(|l| l.is_empty() || l.contains(['\n', '\r'])) {
            crate::files::write_atomically(to.join(name), lines.join("\n") + "\n")?;
        }
    }
    Ok(())
}

fn array<T: npyz::AutoSerialize>(to: &Path, name: &str, shape: &[u64], values: impl Iterator<Item = T>) -> Result<()> {
    let path = to.join(name);
    let write = || {
        let file = std::io::BufWriter::new(File::create(&path)?);
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd()?;
        writer.extend(values)?;
        writer.finish()
    };
    write().map_err(|e| Error::io(&path, e))
}

/// Labels of the bags. With `named` classes they are names or indices of these.
fn labels(mut array: Array, bags: usize, named: Option<&[String]>) -> Result<Option<Classes>> {
    array.expect_shape(&[bags], "one label for each bag of bag_ids.npy")?;
    if matches!(array.kind, TypeChar::UnicodeStr | TypeChar::ByteStr) {
        let words = array.strings()?;
        let read = match named {
            Some(names) => classes::of_given(&words, names),
            None => classes::of_text(&words),
        };
        return read.map_err(|message| Error::format(&array.path, message));
    }
    let labels: Vec<Option<i64>> = match array.kind {
        TypeChar::Float => {
            let values = array.floats()?;
            let value = |i: usize| match values.get(i) {
                v if v.is_nan() => Ok(None),
                v if v.fract() == 0.0 && v.abs() < 1e7 => Ok(Some(v as i64)),
                v => array.wrong("whole numbers, and nan for an unknown label", format!("{v} in row {i} (0-based)")),
            };
            (0..bags).map(value).collect::<Result<_>>()?
        }
        _ => array.integers()?.into_iter().map(Some).collect(),
    };
    let Some(names) = named.map(<[String]>::len) else {
        return classes::of_numbers(&labels).map_err(|message| Error::format(&array.path, message));
    };
    if let Some(row) = labels.iter().position(|l| l.is_some_and(|l| !(0..names as i64).contains(&l))) {
        let found = labels[row].unwrap_or_default();
        return array.wrong(
            &format!("a class from 0 to {}, as class_names.txt has {names} lines", names.saturating_sub(1)),
            format!("{found} in row {row} (0-based)"),
        );
    }
    Ok(Some(classes::index(&labels, &(0..names as i64).collect::<Vec<_>>())))
}

/// Labels of two dimensions: which of several labels each bag has, put into `set`; one column is one class a bag, which
/// comes back.
fn several_labels(
    mut array: Array,
    bags: usize,
    named: Option<&[String]>,
    set: &mut Dataset,
) -> Result<Option<Classes>> {
    let count = array.shape[1];
    array.expect_shape(&[bags, count], "a row of labels for each bag of bag_ids.npy")?;
    if count == 1 {
        array.shape = vec![bags];
        set.remarks.push("labels.npy has one column: it is read as the class of each bag".into());
        return labels(array, bags, named);
    }
    if count == 0 || count > classes::MOST_CLASSES {
        return array.wrong(&format!("1 to {} columns (labels)", classes::MOST_CLASSES), count);
    }
    let values: Vec<Option<f32>> = match array.kind {
        TypeChar::Float => array.floats()?.to_f32().into_iter().map(|v| (!v.is_nan()).then_some(v)).collect(),
        _ => array.integers()?.into_iter().map(|v| Some(v as f32)).collect(),
    };
    if let Some(at) = values.iter().position(|v| v.is_some_and(|v| v != 0.0 && v != 1.0)) {
        let (found, row, column) = (values[at].unwrap_or_default(), at / count, at % count);
        let hint =
            if found == -1.0 { "; where -1 means that it is not known, write nan into an array of floats" } else { "" };
        return array.wrong(
            "0 or 1 for each label of each bag, or nan where that is not known",
            format!("{found} in row {row}, column {column} (0-based){hint}"),
        );
    }
    let names = match named {
        Some(names) if names.len() != count => {
            return array.wrong(&format!("{} columns, as class_names.txt has so many lines", names.len()), count);
        }
        Some(names) => names.to_vec(),
        None => {
            set.remarks.push(format!(
                "each bag has any subset of {count} labels, which are called 0 to {}; class_names.txt gives them names, a \
                 line each",
                count - 1
            ));
            (0..count).map(|label| label.to_string()).collect()
        }
    };
    let unknown = values.iter().filter(|v| v.is_none()).count();
    if unknown == values.len() {
        return Ok(None);
    }
    let sets = LabelSets::new(count, values.into_iter().map(|v| v.map(|v| v == 1.0)).collect())?;
    if unknown > 0 {
        let bare = (0..bags).filter(|&bag| !sets.is_known(bag)).count();
        let of_bags = match bare {
            0 => String::new(),
            _ => format!("; {bare} of the bags have none that is, and are predicted and not trained on"),
        };
        set.remarks.push(format!(
            "{unknown} of {} labels of bags are not known (nan): they count nothing in training and scores{of_bags}",
            bags * count
        ));
    } else if sets.bags().all(|of| of.iter().filter(|has| **has == Some(true)).count() == 1) {
        set.remarks.push(
            "each bag has exactly one of the labels; where they exclude each other, give one column, the number of each \
             bag's class"
                .into(),
        );
    }
    (set.bags.label_sets, set.bags.class_names) = (Some(sets), names);
    Ok(None)
}

fn instance_labels(mut array: Array, rows: usize) -> Result<Vec<i32>> {
    let labels = array.vector(rows, "one for each instance")?;
    if let Some(row) = labels.iter().position(|&l| i32::try_from(l).is_err()) {
        return array.wrong("labels within int32", format!("{} in row {row} (0-based)", labels[row]));
    }
    Ok(labels.into_iter().map(|l| l as i32).collect())
}

fn coords(mut array: Array, rows: usize) -> Result<Vec<[f32; 2]>> {
    let [found, columns @ 2..=3] = array.shape[..] else {
        return array.wrong(&format!("shape [{rows}, 2 or 3] (x, y)"), format!("{:?}", array.shape));
    };
    if found != rows {
        return array.wrong(&format!("{rows} rows (one for each instance)"), format!("{:?}", array.shape));
    }
    let values = match array.kind {
        TypeChar::Float => array.floats()?,
        _ => Features::F32(array.integers()?.into_iter().map(|v| v as f32).collect()),
    };
    check_finite(&array.path, &values, columns)?;
    Ok((0..rows).map(|r| [values.get(r * columns), values.get(r * columns + 1)]).collect())
}

fn split(mut array: Array, bags: usize) -> Result<Vec<Split>> {
    let parts = array.vector(bags, "one for each bag")?;
    let part = |(row, &part): (usize, &i64)| match part {
        0 => Ok(Split::Train),
        1 => Ok(Split::Test),
        2 => Ok(Split::Validation),
        _ => array.wrong("0 (train), 1 (test) or 2 (validation)", format!("{part} in row {row} (0-based)")),
    };
    parts.iter().enumerate().map(part).collect()
}

fn folds(mut array: Array, bags: usize) -> Result<Folds> {
    if array.shape.last() != Some(&bags) || array.shape.len() > 2 {
        return array.wrong(&format!("shape [{bags}] or [repeats, {bags}] (bags)"), format!("{:?}", array.shape));
    }
    let values = array.integers()?;
    if let Some(i) = values.iter().position(|v| !(0..bags as i64).contains(v)) {
        let (repeat, bag, found) = (i / bags, i % bags, values[i]);
        return array.wrong(
            &format!("folds from 0 to {}", bags - 1),
            format!("{found} in repeat {repeat}, bag {bag} (0-based)"),
        );
    }
    let of = values.chunks(bags).map(|repeat| repeat.iter().map(|&v| v as u32).collect()).collect();
    Folds::new(of).map_err(|e| Error::format(&array.path, e.to_string()))
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
