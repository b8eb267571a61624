//! Parquet files with features: which columns are what, and the rows of a slide.

use super::super::parquet::{CLOSEST, Kind, Leaf, Parquet, Piece};
use super::super::place::{Looked, Matrix, Place};
use super::super::said::Said;
use super::arrays::COORDS;
use super::{Head, LABELS, NAMES, Number, Reason, SlideFile, Unit, places, whole};
use crate::bounded;
use crate::features::Features;
use half::f16;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// What the two columns of places are called.
const PAIRS: [[&str; 2]; 8] = [
    ["x", "y"],
    ["coord_x", "coord_y"],
    ["coords_x", "coords_y"],
    ["x_coord", "y_coord"],
    ["coords.x", "coords.y"],
    ["coord_0", "coord_1"],
    ["coords_0", "coords_1"],
    ["pos_x", "pos_y"],
];

/// Columns in a message, at most.
const SHOWN: usize = 8;

/// Which columns are what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Roles {
    /// One of lists, or one for each feature.
    features: Vec<usize>,
    number: Number,
    /// One of lists, or x and y.
    coords: Vec<usize>,
    labels: Option<usize>,
    /// What has one value for each row and is none of these.
    pub others: Vec<usize>,
}

fn number(leaf: &Leaf) -> Option<Number> {
    match leaf.kind {
        Kind::Number(number) => Some(number),
        _ => None,
    }
}

fn is_float(leaf: &Leaf) -> bool {
    number(leaf).is_some_and(Number::is_float)
}

/// True where a file has columns of features, known ones or several that might be.
pub(super) fn has_features(file: &Parquet) -> bool {
    let leaves = &file.leaves;
    let named = |list: &[&str], leaf: &Leaf| list.contains(&&leaf.name[..]);
    let is = |leaf: &Leaf| leaf.list && (is_float(leaf) || named(&NAMES, leaf)) && !named(&COORDS, leaf);
    leaves.iter().any(is) || !families(leaves, &pair(leaves)).is_empty()
}

/// What a parquet file without features lacks; nothing of another file.
pub(in crate::data) fn without_features(path: &Path) -> Option<String> {
    if !super::Format::is_table(path) {
        return None;
    }
    let lacks = Parquet::open(path).and_then(|file| Roles::of(&file)).err()?;
    Some(format!(
        "it is a parquet file without features: {lacks}. A table of labels goes with its slides (--labels TABLE)"
    ))
}

/// The columns x and y.
fn pair(leaves: &[Leaf]) -> Vec<usize> {
    let find = |name: &str| {
        let is = |leaf: &Leaf| !leaf.list && number(leaf).is_some() && leaf.name.eq_ignore_ascii_case(name);
        leaves.iter().position(is)
    };
    PAIRS.iter().find_map(|[x, y]| Some(vec![find(x)?, find(y)?])).unwrap_or_default()
}

/// Columns of floats that are called alike and numbered, two at least, by the number.
fn families<'a>(leaves: &'a [Leaf], taken: &[usize]) -> BTreeMap<&'a str, Vec<(u32, usize)>> {
    let mut families: BTreeMap<&str, Vec<(u32, usize)>> = BTreeMap::new();
    for (at, leaf) in leaves.iter().enumerate() {
        let start = leaf.name.trim_end_matches(|c: char| c.is_ascii_digit());
        let (true, false, Ok(number)) =
            (is_float(leaf), leaf.list || taken.contains(&at), leaf.name[start.len()..].parse())
        else {
            continue;
        };
        families.entry(start).or_default().push((number, at));
    }
    families.retain(|_, family| family.len() > 1);
    families.values_mut().for_each(|family| family.sort_unstable());
    families
}

impl Roles {
    /// # Errors
    /// When it is not known which columns are the features.
    pub fn of(file: &Parquet) -> Result<Self, Reason> {
        let leaves = &file.leaves;
        let list = |name: &&str| leaves.iter().position(|leaf| leaf.list && leaf.name == **name);
        let placed = COORDS.iter().find_map(list).filter(|&at| number(&leaves[at]).is_some());
        let coords = placed.map_or_else(|| pair(leaves), |at| vec![at]);
        let named = NAMES.iter().find_map(list);
        let mut lists =
            (0..leaves.len()).filter(|at| leaves[*at].list && is_float(&leaves[*at]) && !coords.contains(at));
        let features = match (named, lists.next(), lists.next()) {
            (Some(named), ..) => vec![named],
            (None, Some(only), None) => vec![only],
            (None, Some(_), Some(_)) => return Err(Self::unknown(leaves, "one column of lists alone")),
            (None, None, _) => Self::numbered(leaves, &coords)?,
        };
        let of = |at: usize| match &leaves[at].kind {
            Kind::Number(number) if number.is_float() => Ok(*number),
            Kind::Number(other) => Err(format!("expected {} to be floats, found {}", leaves[at].name, other.name())),
            Kind::Text | Kind::Date => Err(format!("expected {} to be floats, found text or dates", leaves[at].name)),
            Kind::Other(what) => Err(format!("expected {} to be floats, found {what}", leaves[at].name)),
        };
        let mut number = of(features[0])?;
        for &at in &features {
            if of(at)? != number {
                number = Number::F32;
            }
        }
        let flat = |at: &usize| !leaves[*at].list && !features.contains(at) && !coords.contains(at);
        let named = |name: &&str| leaves.iter().position(|leaf| leaf.name == **name);
        let labels = LABELS.iter().find_map(named).filter(flat);
        let others = (0..leaves.len()).filter(|at| flat(at) && labels != Some(*at)).collect();
        Ok(Self { features, number, coords, labels, others })
    }

    /// The columns of a family, all of whose numbers are there, from 0 or 1 on.
    fn numbered(leaves: &[Leaf], taken: &[usize]) -> Result<Vec<usize>, Reason> {
        let families = families(leaves, taken);
        let mut all = families.iter();
        let (Some((start, family)), None) = (all.next(), all.next()) else {
            if families.is_empty() {
                return Err(Self::unknown(leaves, "numbered columns of floats"));
            }
            let found: Vec<String> =
                families.iter().map(|(start, of)| format!("{} called '{start}..'", of.len())).collect();
            return Err(format!(
                "expected columns of features that are numbered and called alike, found {}",
                found.join(", ")
            ));
        };
        let first = family[0].0;
        let wrong = family.iter().zip(first..).find(|((found, _), expected)| found != expected);
        match wrong {
            None if first <= 1 => Ok(family.iter().map(|(_, at)| *at).collect()),
            None => Err(format!("the columns of features begin with '{start}{first}', where 0 or 1 was expected")),
            Some(((found, _), expected)) => {
                Err(format!("the columns of features have no '{start}{expected}' in front of '{start}{found}'"))
            }
        }
    }

    fn unknown(leaves: &[Leaf], or: &str) -> Reason {
        let found: Vec<String> = leaves.iter().take(SHOWN).map(told).collect();
        let more = if leaves.len() > SHOWN { ", .." } else { "" };
        format!("expected a column of lists called {}, or {or}; found {}{more}", NAMES.join(", "), found.join(", "))
    }

    /// What was taken for what, for people.
    pub fn told(&self, file: &Parquet, used: &[usize]) -> String {
        let name = |at: usize| &file.leaves[at].name;
        let features = match self.features[..] {
            [only] => format!("the features are the lists in '{}'", name(only)),
            [first, .., last] => {
                format!("the features are {} columns from '{}' to '{}'", self.features.len(), name(first), name(last))
            }
            [] => String::new(),
        };
        let places = match self.coords[..] {
            [only] => format!(", the places '{}'", name(only)),
            [x, y] => format!(", the places '{}' and '{}'", name(x), name(y)),
            _ => String::new(),
        };
        let known: Vec<usize> =
            [&self.features[..], &self.coords, used].concat().into_iter().chain(self.labels).collect();
        let left: Vec<&String> = (0..file.leaves.len()).filter(|at| !known.contains(at)).map(name).collect();
        let left = match left.len() {
            0 => String::new(),
            _ => format!("; columns that are not used: {}", super::super::ids::examples(&left)),
        };
        format!("{features}{places}{left}")
    }

    fn width(&self, file: &Parquet) -> Result<u64, Reason> {
        let width = match self.features[..] {
            [only] if file.leaves[only].list => file.width(only)?,
            _ => self.features.len() as u64,
        };
        let values = width.checked_mul(file.rows).and_then(|values| values.checked_mul(self.number.bytes() as u64));
        if values.is_none_or(|bytes| bytes > file.length.saturating_mul(CLOSEST)) {
            let (rows, length) = (file.rows, file.length);
            return Err(format!(
                "{rows} rows of {width} features cannot be in a file of {length} bytes (is it cut off?)"
            ));
        }
        if width == 0 {
            return Err("expected at least one feature, found empty lists".into());
        }
        Ok(width)
    }
}

fn told(leaf: &Leaf) -> String {
    let kind = match &leaf.kind {
        Kind::Number(number) => number.name(),
        Kind::Text => "text".into(),
        Kind::Date => "dates".into(),
        Kind::Other(what) => what.clone(),
    };
    format!("{} of {}{kind}", leaf.name, if leaf.list { "lists of " } else { "" })
}

/// Some rows of a file.
#[derive(Clone, Debug)]
pub(in super::super) struct Part {
    pub file: Arc<Parquet>,
    pub roles: Arc<Roles>,
    pub rows: Vec<Range<u64>>,
}

impl Part {
    /// All rows of a file.
    pub fn whole(path: &Path) -> Result<Self, Reason> {
        let file = Parquet::open(path)?;
        let (roles, rows) = (Roles::of(&file)?.into(), std::iter::once(0..file.rows).collect());
        Ok(Self { file: file.into(), roles, rows })
    }

    /// Refuses a file that is too short for its rows.
    pub fn check(&self) -> Result<(), Reason> {
        self.roles.width(&self.file).map(|_| ())
    }

    fn count(&self) -> usize {
        self.rows.iter().map(|rows| (rows.end - rows.start) as usize).sum()
    }

    fn coords(&self) -> Option<(Unit, Number)> {
        let leaf = &self.file.leaves[*self.roles.coords.first()?];
        let number = number(leaf)?;
        Some((Said(self.file.said.clone()).unit(number), number))
    }

    /// The values of a column that has one for each row.
    fn floats(&self, leaf: usize) -> Result<Vec<f32>, Reason> {
        self.lists(leaf, 1)
    }

    fn lists(&self, leaf: usize, width: u64) -> Result<Vec<f32>, Reason> {
        let of = &self.file.leaves[leaf];
        let number = number(of).ok_or_else(|| format!("expected {} to be numbers", of.name))?;
        let mut all = Vec::new();
        self.file.read(leaf, &self.rows, width, &mut |piece| {
            all.extend(number.floats(numbers_in(piece)?));
            Ok(())
        })?;
        Ok(all)
    }
}

fn numbers_in(piece: Piece<'_>) -> Result<&[u8], Reason> {
    match piece {
        Piece::Numbers(bytes) => Ok(bytes),
        Piece::Texts(_) => Err("expected numbers, found text".into()),
        Piece::Missing(row) => Err(format!("row {row} (0-based) has no value")),
    }
}

/// The rows of a slide.
pub(in super::super) struct ParquetSlide {
    parts: Vec<Part>,
    head: Head,
}

impl ParquetSlide {
    pub fn of(parts: Vec<Part>) -> Result<Self, Reason> {
        let first = parts.first().ok_or("no patches")?;
        let (width, mut number) = (first.roles.width(&first.file)?, first.roles.number);
        let mut coords = first.coords().map(|(unit, _)| unit);
        let mut labelled = true;
        for part in &parts {
            let found = part.roles.width(&part.file)?;
            if found != width {
                return Err(format!("files with {width} and with {found} features are of no one slide"));
            }
            if part.roles.number != number {
                number = Number::F32;
            }
            coords = coords.filter(|unit| part.coords().is_some_and(|(found, _)| found == *unit));
            labelled &= part.roles.labels.is_some();
        }
        let rows = parts.iter().map(Part::count).sum();
        let width = usize::try_from(width).map_err(|e| e.to_string())?;
        bounded::check_room("its values", &[rows as u64, width as u64, 4]).map_err(|e| e.to_string())?;
        let about = Said(first.file.said.clone()).about(coords);
        let head = Head { rows, width, number, coords, of_slide: false, labelled, about };
        Ok(Self { parts, head })
    }

    pub fn open(path: &Path) -> Result<Self, Reason> {
        Self::of(vec![Part::whole(path)?])
    }
}

/// Puts values of a column to `at` and every `stride`th place behind it.
fn put(place: &mut Place<'_>, at: usize, stride: usize, number: Number, bytes: &[u8]) -> Result<usize, Reason> {
    fn each<T, const N: usize>(to: &mut [T], stride: usize, bytes: &[u8], of: impl Fn([u8; N]) -> T) {
        to.iter_mut().step_by(stride).zip(bytes.as_chunks::<N>().0).for_each(|(to, &b)| *to = of(b));
    }
    let count = bytes.len() / number.bytes();
    let last = at + count.saturating_sub(1) * stride;
    let room = match place {
        Place::F16(to) => to.len(),
        Place::F32(to) => to.len(),
    };
    if count == 0 {
        return Ok(at);
    }
    if last >= room {
        return Err("a column has more values than there are rows".into());
    }
    match (place, number) {
        (Place::F16(to), Number::F16) => each(&mut to[at..], stride, bytes, f16::from_le_bytes),
        (Place::F32(to), Number::F32) => each(&mut to[at..], stride, bytes, f32::from_le_bytes),
        (Place::F32(to), Number::F16) => each(&mut to[at..], stride, bytes, |b| f16::from_le_bytes(b).to_f32()),
        (Place::F32(to), Number::F64) => each(&mut to[at..], stride, bytes, |b| f64::from_le_bytes(b) as f32),
        _ => return Err("the file changed while it was read".into()),
    }
    Ok(at + count * stride)
}

impl SlideFile for ParquetSlide {
    fn head(&self) -> &Head {
        &self.head
    }

    fn features(&self) -> Result<Features, Reason> {
        let size = self.head.rows * self.head.width;
        let mut matrix = Matrix::new(self.head.number == Number::F16, size);
        self.read_features(matrix.places(&[size]).pop().ok_or("no place")?)?;
        Ok(matrix.kept(&[size], &[true]))
    }

    fn read_features(&self, mut place: Place<'_>) -> Result<Looked, Reason> {
        let (width, mut first) = (self.head.width, 0);
        for part in &self.parts {
            let end = first + part.count();
            for (column, &leaf) in part.roles.features.iter().enumerate() {
                let of = &part.file.leaves[leaf];
                let number = number(of).ok_or("expected floats")?;
                let (stride, last) = if of.list { (1, end * width) } else { (width, end * width + column) };
                let mut at = first * width + column;
                part.file.read(leaf, &part.rows, width as u64, &mut |piece| {
                    at = put(&mut place, at, stride, number, numbers_in(piece)?)?;
                    Ok(())
                })?;
                if at != last {
                    return Err(format!("column {} ends early", of.name));
                }
            }
            first = end;
        }
        Ok(Looked::No)
    }

    fn coords(&self) -> Result<Option<Vec<[f32; 2]>>, Reason> {
        if self.head.coords.is_none() {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(self.head.rows);
        for part in &self.parts {
            match part.roles.coords[..] {
                [only] => {
                    let columns = part.file.width(only)?;
                    if !(2..=3).contains(&columns) {
                        return Err(format!("expected coords of two or three numbers, found {columns}"));
                    }
                    all.extend(places(&part.lists(only, columns)?, columns as usize)?);
                }
                [x, y] => {
                    let (x, y) = (part.floats(x)?, part.floats(y)?);
                    let both: Vec<f32> = x.into_iter().zip(y).flat_map(<[f32; 2]>::from).collect();
                    all.extend(places(&both, 2)?);
                }
                _ => return Ok(None),
            }
        }
        if all.len() == self.head.rows { Ok(Some(all)) } else { Err("columns of places end early".into()) }
    }

    fn instance_labels(&self) -> Result<Option<Vec<i32>>, Reason> {
        if !self.head.labelled {
            return Ok(None);
        }
        let labels = self.parts.iter().map(|part| part.floats(part.roles.labels.ok_or("no labels")?));
        whole(labels.collect::<Result<Vec<_>, Reason>>()?.concat()).map(Some)
    }
}
