//! Cells and regions as GeoJSON that QuPath opens (0.4 and later; RFC 7946 for the rest).
//!
//! A feature has `properties.objectType` ("tile" or "annotation"), `measurements` as an object of numbers, `color` and
//! `classification` with three numbers of a colour each. Coordinates are pixels of the slide's full resolution from its upper
//! left corner, y downwards, as QuPath has them.

use super::regions::Region;
use std::io::{self, Write};

/// What a polygon is to QuPath.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// A square of an image that something was measured of.
    Tile,
    /// A region that people look at, and may change.
    Annotation,
}

/// What is said of a polygon.
#[derive(Clone, Debug)]
pub struct Said<'a> {
    /// Tile or annotation.
    pub object: Object,
    /// A name of its own.
    pub name: Option<&'a str>,
    /// Its class, and the colour of all objects of that class.
    pub class: Option<(&'a str, [u8; 3])>,
    /// Its own colour.
    pub colour: Option<[u8; 3]>,
    /// Numbers by name; those that are not finite are left out.
    pub measurements: &'a [(&'a str, f64)],
}

/// Writes a collection, feature after feature; [`Collection::end`] makes it whole.
pub struct Collection<'a, W: Write + ?Sized> {
    out: &'a mut W,
    begun: bool,
}

impl<'a, W: Write + ?Sized> Collection<'a, W> {
    /// Begins a collection.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn new(out: &'a mut W) -> io::Result<Self> {
        out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
        Ok(Self { out, begun: false })
    }

    /// A square from its corner with the smallest x and y.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn square(&mut self, [x, y]: [f64; 2], side: f64, said: &Said) -> io::Result<()> {
        self.polygon(&[vec![[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]], said)
    }

    /// A region.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn region(&mut self, region: &Region, said: &Said) -> io::Result<()> {
        self.polygon(&region.rings, said)
    }

    fn polygon(&mut self, rings: &[Vec<[f64; 2]>], said: &Said) -> io::Result<()> {
        let before = if std::mem::replace(&mut self.begun, true) { ",\n" } else { "\n" };
        write!(self.out, "{before}{{\"type\":\"Feature\",\"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[")?;
        for (ring, points) in rings.iter().enumerate() {
            self.out.write_all(if ring == 0 { b"[" } else { b",[" })?;
            for (at, [x, y]) in points.iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                write!(self.out, "{comma}[{},{}]", rounded(*x), rounded(*y))?;
            }
            self.out.write_all(b"]")?;
        }
        let object = if said.object == Object::Tile { "tile" } else { "annotation" };
        write!(self.out, "]}},\"properties\":{{\"objectType\":\"{object}\"")?;
        if let Some(name) = said.name {
            write!(self.out, ",\"name\":{}", quoted(name))?;
        }
        if let Some([r, g, b]) = said.colour {
            write!(self.out, ",\"color\":[{r},{g},{b}]")?;
        }
        if let Some((name, [r, g, b])) = said.class {
            write!(self.out, ",\"classification\":{{\"name\":{},\"color\":[{r},{g},{b}]}}", quoted(name))?;
        }
        self.out.write_all(b",\"measurements\":{")?;
        for (at, (name, value)) in said.measurements.iter().filter(|(_, value)| value.is_finite()).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(self.out, "{comma}{}:{value:?}", quoted(name))?;
        }
        self.out.write_all(b"}}}")
    }

    /// Ends the collection.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn end(self) -> io::Result<()> {
        self.out.write_all(b"\n]}\n")
    }
}

/// A thousandth of a pixel is nothing, and 12 digits of it are a large file.
fn rounded(value: f64) -> f64 {
    // Without the sign of a 0.
    (value * 1000.0).round() / 1000.0 + 0.0
}

fn quoted(text: &str) -> serde_json::Value {
    text.into()
}

#[cfg(test)]
#[path = "geojson_tests.rs"]
mod tests;
