//! Pickles as `torch.save` writes them, read without executing anything: a list of opcodes and a list of names, and whatever
//! is on neither is refused. A tensor is what the pickle says of it; its values lie elsewhere in the file.
//!
//! Checkpoints of trainings hold objects of all kinds beside their tensors. Where these are passed over
//! ([`Objects::PassedOver`]), an object is the name of its class and nothing else: it is not made, and nothing is called.

use super::super::{Number, Reason};
use std::collections::HashMap;

/// Values of a pickle, at most; that of a tensor has some thirty.
const MOST_VALUES: usize = 1 << 18;

/// Place of a value among those of the pickle. Values never hold values, so that no file makes a deep nest of them.
pub type At = usize;

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    OrderedDict,
    Tensor,
    Parameter,
    Storage(Number),
}

impl Name {
    fn of(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            ("torch", "HalfStorage") => Self::Storage(Number::F16),
            ("torch", "BFloat16Storage") => Self::Storage(Number::Bf16),
            ("torch", "FloatStorage") => Self::Storage(Number::F32),
            ("torch", "DoubleStorage") => Self::Storage(Number::F64),
            ("torch", "CharStorage") => Self::Storage(Number::Integer(1, true)),
            ("torch", "ByteStorage" | "BoolStorage") => Self::Storage(Number::Integer(1, false)),
            ("torch", "ShortStorage") => Self::Storage(Number::Integer(2, true)),
            ("torch", "IntStorage") => Self::Storage(Number::Integer(4, true)),
            ("torch", "LongStorage") => Self::Storage(Number::Integer(8, true)),
            _ => return None,
        })
    }
}

/// Where the values of tensors lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    pub number: Number,
    pub key: String,
    pub items: u64,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub storage: Storage,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// What becomes of what is neither a tensor nor a plain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// The file is refused.
    Refused,
    /// It becomes a [`Value::Object`].
    PassedOver,
}

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// None, a truth value, a float, bytes: nothing that is used.
    Other,
    Integer(i64),
    Text(String),
    Tuple(Vec<At>),
    List(Vec<At>),
    Dict(Vec<(At, At)>),
    Name(Name),
    Storage(Storage),
    Tensor(Tensor),
    /// Something of a class that is not known, by its name.
    Object(String),
}

/// A pickle that was read.
#[derive(Debug)]
pub struct Pickle {
    values: Vec<Value>,
    root: At,
    /// Bytes that it took.
    pub length: usize,
}

impl Pickle {
    /// Reads the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong with it, or what it names that is refused.
    pub fn read(bytes: &[u8], objects: Objects) -> Result<Self, Reason> {
        let (values, stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        let mut machine = Machine { rest: bytes, objects, values, stack, marks, memo };
        let root = loop {
            if let Some(root) = machine.step()? {
                break root;
            }
        };
        let length = bytes.len() - machine.rest.len();
        Ok(Self { values: machine.values, root, length })
    }

    pub fn root(&self) -> &Value {
        &self.values[self.root]
    }

    pub fn value(&self, at: At) -> &Value {
        &self.values[at]
    }

    /// All storages that were named.
    pub fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// The classes of what was passed over.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter_map(|value| match value {
            Value::Object(class) => Some(class.as_str()),
            _ => None,
        })
    }
}

struct Machine<'a> {
    rest: &'a [u8],
    objects: Objects,
    values: Vec<Value>,
    stack: Vec<At>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, At>,
}

const ENDS: &str = "the pickle ends early";
const BROKEN: &str = "the pickle is broken";

impl<'a> Machine<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Reason> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ENDS)?;
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        self.take(N)?.try_into().map_err(|_| ENDS.to_owned())
    }

    /// A length in front of what it is of.
    fn counted(&mut self, length: u64) -> Result<&'a [u8], Reason> {
        self.take(usize::try_from(length).map_err(|_| ENDS)?)
    }

    fn line(&mut self) -> Result<&'a str, Reason> {
        let end = self.rest.iter().position(|b| *b == b'\n').ok_or(ENDS)?;
        let line = self.take(end + 1)?;
        std::str::from_utf8(&line[..end]).map_err(|_| BROKEN.to_owned())
    }

    fn push(&mut self, value: Value) -> Result<(), Reason> {
        if self.values.len() == MOST_VALUES {
            return Err(format!("the pickle has more than {MOST_VALUES} values, the limit"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let text = std::str::from_utf8(bytes).map_err(|_| BROKEN)?;
        self.push(Value::Text(text.to_owned()))
    }

    /// The top of the stack above the last mark.
    fn pop(&mut self) -> Result<At, Reason> {
        let least = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= least {
            return Err(BROKEN.to_owned());
        }
        self.stack.pop().ok_or(BROKEN.to_owned())
    }

    fn top(&self) -> Result<At, Reason> {
        let least = self.marks.last().copied().unwrap_or(0);
        self.stack.get(least..).and_then(<[At]>::last).copied().ok_or(BROKEN.to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<At>, Reason> {
        let mark = self.marks.pop().ok_or(BROKEN)?;
        Ok(self.stack.split_off(mark))
    }

    fn tuple(&mut self, count: usize) -> Result<(), Reason> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<At>, Reason>>()?;
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn remember(&mut self, number: u32) -> Result<(), Reason> {
        let top = self.top()?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<(), Reason> {
        let at = *self.memo.get(&number).ok_or(BROKEN)?;
        if self.stack.len() == MOST_VALUES {
            return Err(format!("the pickle has more than {MOST_VALUES} values, the limit"));
        }
        self.stack.push(at);
        Ok(())
    }

    fn extend(&mut self, more: Vec<At>) -> Result<(), Reason> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(items) => items.extend(more),
            Value::Object(_) => {}
            _ => return Err(BROKEN.to_owned()),
        }
        Ok(())
    }

    fn set(&mut self, more: &[At]) -> Result<(), Reason> {
        let (pairs, rest) = more.as_chunks::<2>();
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(items) if rest.is_empty() => items.extend(pairs.iter().map(|&[key, value]| (key, value))),
            Value::Object(_) => {}
            _ => return Err(BROKEN.to_owned()),
        }
        Ok(())
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), Reason> {
        let shown = |text: &str| text.chars().take(60).collect::<String>();
        let value = match Name::of(module, name) {
            Some(known) => Value::Name(known),
            None if self.objects == Objects::PassedOver => Value::Object(format!("{}.{}", shown(module), shown(name))),
            None => {
                return Err(format!(
                    "it asks for {}.{}, which no tensor needs: refused, and nothing of it was executed",
                    shown(module),
                    shown(name)
                ));
            }
        };
        self.push(value)
    }

    /// One opcode; the root at the end.
    fn step(&mut self) -> Result<Option<At>, Reason> {
        let [code] = self.bytes()?;
        match code {
            0x80 => drop(self.bytes::<1>()?),
            0x95 => drop(self.bytes::<8>()?),
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'J' => {
                let value = i32::from_le_bytes(self.bytes()?);
                self.push(Value::Integer(value.into()))?;
            }
            b'K' => {
                let [value] = self.bytes()?;
                self.push(Value::Integer(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.bytes()?);
                self.push(Value::Integer(value.into()))?;
            }
            0x8a => {
                let [length] = self.bytes()?;
                let bytes = self.take(length.into())?;
                self.push(long(bytes))?;
            }
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.bytes()?);
                let bytes = self.counted(length.into())?;
                self.text(bytes)?;
            }
            0x8c | b'U' => {
                let [length] = self.bytes()?;
                let bytes = self.take(length.into())?;
                self.text(bytes)?;
            }
            0x8d => {
                let length = u64::from_le_bytes(self.bytes()?);
                let bytes = self.counted(length)?;
                self.text(bytes)?;
            }
            b'C' => {
                let [length] = self.bytes()?;
                self.take(length.into())?;
                self.push(Value::Other)?;
            }
            b'B' => {
                let length = u32::from_le_bytes(self.bytes()?);
                self.counted(length.into())?;
                self.push(Value::Other)?;
            }
            b')' => self.push(Value::Tuple(Vec::new()))?,
            0x85..=0x87 => self.tuple(usize::from(code - 0x84))?,
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))?;
            }
            b']' => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            b'q' => {
                let [number] = self.bytes()?;
                self.remember(number.into())?;
            }
            b'r' => {
                let number = u32::from_le_bytes(self.bytes()?);
                self.remember(number)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [number] = self.bytes()?;
                self.recall(number.into())?;
            }
            b'j' => {
                let number = u32::from_le_bytes(self.bytes()?);
                self.recall(number)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.name(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name]) else {
                    return Err(BROKEN.to_owned());
                };
                let (module, name) = (module.clone(), name.clone());
                self.name(&module, &name)?;
            }
            b'Q' => {
                let of = self.pop()?;
                let storage = match self.storage(of) {
                    Ok(storage) => Value::Storage(storage),
                    Err(_) if self.objects == Objects::PassedOver => Value::Object("a storage".into()),
                    Err(reason) => return Err(reason),
                };
                self.push(storage)?;
            }
            b'R' => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let made = self.made(callee, arguments)?;
                self.push(made)?;
            }
            // An instance of a class, with arguments, and in newer pickles with named ones.
            0x81 | 0x92 if self.objects == Objects::PassedOver => {
                let arguments = if code == 0x81 { 1 } else { 2 };
                (0..arguments).try_for_each(|_| self.pop().map(|_| ()))?;
                let class = self.pop()?;
                let Value::Object(class) = self.values[class].clone() else { return Err(BROKEN.to_owned()) };
                self.push(Value::Object(class))?;
            }
            // The attributes of an OrderedDict, such as the versions in a state dict.
            b'b' => {
                let (_, top) = (self.pop()?, self.top()?);
                if !matches!(self.values[top], Value::Dict(_) | Value::Object(_)) {
                    return Err(format!(
                        "opcode {code:#04x} builds an object: refused, and nothing of it was executed"
                    ));
                }
            }
            _ => {
                return Err(format!(
                    "opcode {code:#04x} is none that a tensor needs: refused, and nothing of it was executed"
                ));
            }
        }
        Ok(None)
    }

    fn items(&self, at: At) -> Result<&[At], Reason> {
        match &self.values[at] {
            Value::Tuple(items) => Ok(items),
            _ => Err(BROKEN.to_owned()),
        }
    }

    fn natural(&self, at: At) -> Result<u64, Reason> {
        match self.values[at] {
            Value::Integer(value) => u64::try_from(value).map_err(|_| "a size of a tensor is negative".to_owned()),
            _ => Err(BROKEN.to_owned()),
        }
    }

    fn naturals(&self, at: At) -> Result<Vec<u64>, Reason> {
        self.items(at)?.iter().map(|&item| self.natural(item)).collect()
    }

    /// `('storage', type, key, place, items)`, and in older files what it is a view of.
    fn storage(&self, at: At) -> Result<Storage, Reason> {
        let items = self.items(at)?;
        let [_, kind, key, _, count, views @ ..] = items else { return Err(BROKEN.to_owned()) };
        let (Value::Name(Name::Storage(number)), Value::Text(key)) = (&self.values[*kind], &self.values[*key]) else {
            return Err(BROKEN.to_owned());
        };
        if views.iter().any(|&view| self.values[view] != Value::Other) {
            return Err("a storage is a view of another, which is not read".into());
        }
        Ok(Storage { number: *number, key: key.clone(), items: self.natural(*count)? })
    }

    fn made(&self, callee: At, arguments: At) -> Result<Value, Reason> {
        let arguments = self.items(arguments)?;
        let name = match &self.values[callee] {
            Value::Name(name) => *name,
            Value::Object(class) => return Ok(Value::Object(class.clone())),
            _ => return Err(BROKEN.to_owned()),
        };
        match (name, arguments) {
            // A tensor of numbers that are not known, or what is made of one.
            (_, [first, ..]) if matches!(self.values[*first], Value::Object(_)) => Ok(Value::Object("a tensor".into())),
            (Name::OrderedDict, []) => Ok(Value::Dict(Vec::new())),
            (Name::Tensor, [storage, offset, shape, strides, ..]) => {
                let Value::Storage(storage) = &self.values[*storage] else { return Err(BROKEN.to_owned()) };
                let (shape, strides) = (self.naturals(*shape)?, self.naturals(*strides)?);
                let tensor = Tensor { storage: storage.clone(), offset: self.natural(*offset)?, shape, strides };
                tensor.check()?;
                Ok(Value::Tensor(tensor))
            }
            (Name::Parameter, [tensor, ..]) => match &self.values[*tensor] {
                Value::Tensor(tensor) => Ok(Value::Tensor(tensor.clone())),
                _ => Err(BROKEN.to_owned()),
            },
            _ => Err(BROKEN.to_owned()),
        }
    }
}

/// Two's complement of any length; what is longer than 64 bits is nothing that is used.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Integer(i64::from_le_bytes(whole))
}

impl Tensor {
    /// All that it shows lies in its storage, and no value is shown more often than there are values.
    fn check(&self) -> Result<(), Reason> {
        let wrong = || {
            let Self { storage, offset, shape, strides } = self;
            let items = storage.items;
            Err(format!(
                "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} does not fit its {items} values"
            ))
        };
        if self.shape.len() != self.strides.len() || self.shape.len() > 8 {
            return wrong();
        }
        let Some(count) = self.shape.iter().try_fold(1u64, |all, &d| all.checked_mul(d)) else { return wrong() };
        if count == 0 {
            return Ok(());
        }
        let far = |(&d, &stride): (&u64, &u64)| (d - 1).checked_mul(stride);
        let last = self.shape.iter().zip(&self.strides).try_fold(self.offset, |at, axis| at.checked_add(far(axis)?));
        match last {
            Some(last) if last < self.storage.items && count <= self.storage.items => Ok(()),
            _ => wrong(),
        }
    }

    /// True where its values lie behind one another in C order.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1u64;
        self.shape.iter().zip(&self.strides).rev().all(|(&d, &stride)| {
            let fits = d == 1 || stride == expected;
            expected = expected.wrapping_mul(d);
            fits
        })
    }

    /// Places of the values in the storage, in C order.
    pub fn places(&self) -> impl Iterator<Item = u64> {
        let count: u64 = self.shape.iter().product();
        (0..count).map(|number| {
            let mut rest = number;
            self.shape.iter().zip(&self.strides).rev().fold(self.offset, |at, (&d, &stride)| {
                let place = rest % d;
                rest /= d;
                at + place * stride
            })
        })
    }
}

#[cfg(test)]
#[path = "pickle_tests.rs"]
mod tests;
