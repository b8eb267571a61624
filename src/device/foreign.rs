//! What a shader from outside says of one of its entry points, as data: what it binds and how it is launched.

pub use super::gpu::{Foreign, Memory, reflect};

use std::fmt;
use std::str::FromStr;

/// A type of numbers that buffers hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// 32 bits, floating point.
    F32,
    /// 16 bits, floating point.
    F16,
    /// 32 bits without a sign.
    U32,
    /// 32 bits with a sign.
    I32,
}

impl Scalar {
    /// Bytes of one.
    pub fn bytes(self) -> u64 {
        if self == Scalar::F16 { 2 } else { 4 }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scalar::F32 => "f32",
            Scalar::F16 => "f16",
            Scalar::U32 => "u32",
            Scalar::I32 => "i32",
        })
    }
}

impl FromStr for Scalar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Scalar::F32, Scalar::F16, Scalar::U32, Scalar::I32];
        all.into_iter().find(|s| s.to_string() == text).ok_or_else(|| format!("{text:?} is none of f32, f16, u32, i32"))
    }
}

/// What a shader does with a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A uniform buffer.
    Uniform,
    /// A storage buffer that is read.
    Read,
    /// A storage buffer that may be written.
    Write,
    /// Immediates (push constants), which are no buffer.
    Immediate,
}

/// One value of a binding of fixed size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// `size.x`, or nothing where the binding is one number.
    pub name: String,
    /// First byte.
    pub offset: u32,
    /// Its type.
    pub scalar: Scalar,
}

/// What an entry point binds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Of the shader; 0 for immediates, as the next.
    pub group: u32,
    /// In the group.
    pub binding: u32,
    /// Of the variable.
    pub name: String,
    /// As the shader has it.
    pub access: Access,
    /// The one type of all its numbers; `None` where there are several.
    pub scalar: Option<Scalar>,
    /// Bytes it needs at least.
    pub least: u64,
    /// Of a last array without a length: its first byte, and bytes of an element.
    pub array: Option<(u64, u64)>,
    /// Its values where it has no such array, and not too many.
    pub leaves: Vec<Leaf>,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.access {
            Access::Immediate => "immediates".to_owned(),
            _ => format!("@group({}) @binding({})", self.group, self.binding),
        };
        let of = self.scalar.map_or("several types".to_owned(), |s| s.to_string());
        let access = match self.access {
            Access::Uniform => "uniform",
            Access::Read => "storage, read",
            Access::Write => "storage, read_write",
            Access::Immediate => "parameters",
        };
        write!(f, "{:?} ({place}, {access}, {of}, at least {} bytes)", self.name, self.least)
    }
}

/// An entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of the function.
    pub name: String,
    /// Invocations of a workgroup along each side; `None` where constants decide it.
    pub workgroup: Option<[u32; 3]>,
    /// Bytes of workgroup memory it uses.
    pub workgroup_memory: u32,
    /// What it uses, by group and binding, immediates last.
    pub bound: Vec<Bound>,
    /// Constants that may be given (`override`), by name, and whether they have a value by themselves.
    pub constants: Vec<(String, bool)>,
}

/// What is launched.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// For messages.
    pub file: &'a str,
    /// WGSL.
    pub text: &'a str,
    /// Which of it, as [`reflect`] read it.
    pub entry: &'a Entry,
    /// Values of its constants (`override`).
    pub constants: &'a [(String, f64)],
    /// The shader is of this crate: checks of bounds may be left out, as in a release of ours.
    pub own: bool,
}
