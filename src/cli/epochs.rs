//! The epochs of a run as a table and as an event file of TensorBoard.

use super::csv::Csv;
use bagrad::training::Epoch;
use bagrad::training::metrics::Metric;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// The table in a run folder.
pub const TABLE: &str = "epochs.csv";
/// The event file in a run folder: TensorBoard reads what has `tfevents` in its name.
pub const EVENTS: &str = "events.out.tfevents.bagrad";

/// What an epoch has under each name; a name that has a value in no epoch is left out.
fn columns(epochs: &[Epoch]) -> Vec<(String, Vec<Option<f64>>)> {
    let each = |value: &dyn Fn(&Epoch) -> Option<f64>| epochs.iter().map(value).collect::<Vec<_>>();
    let mut all = vec![
        ("loss/training".to_owned(), each(&|e| Some(e.loss))),
        ("loss/validation".to_owned(), each(&|e| e.validation_loss)),
    ];
    let terms: BTreeSet<&String> = epochs.iter().flat_map(|e| e.validation_terms.keys()).collect();
    all.extend(terms.into_iter().map(|t| (format!("term/{t}"), each(&|e| e.validation_terms.get(t).copied()))));
    let metric = |m: &Metric| (format!("validation/{m}"), each(&|e| e.validation.as_ref()?.get(*m)));
    all.extend(Metric::ALL.iter().map(metric));
    all.push(("learning_rate".into(), each(&|e| Some(e.learning_rate))));
    all.push(("seconds".into(), each(&|e| Some(e.seconds))));
    all.push(("bags_per_second".into(), each(&|e| Some(e.bags_per_second))));
    all.retain(|(_, values)| values.iter().any(Option::is_some));
    all
}

/// A line for each epoch, from 0; what is not defined is empty.
///
/// # Errors
/// When `out` cannot be written.
pub fn table(out: &mut impl Write, epochs: &[Epoch]) -> io::Result<()> {
    let columns = columns(epochs);
    let mut csv = Csv::new(out);
    csv.cell("epoch")?.cell("kept_so_far")?;
    columns.iter().try_for_each(|(name, _)| csv.name(name).map(|_| ()))?;
    csv.end()?;
    for (at, epoch) in epochs.iter().enumerate() {
        csv.cell(epoch.epoch)?.cell(u8::from(epoch.best))?;
        for (_, values) in &columns {
            match values[at] {
                Some(value) => csv.cell(value)?,
                None => csv.cell("")?,
            };
        }
        csv.end()?;
    }
    Ok(())
}

/// The same as scalars of TensorBoard, the epoch as their step; `end` is when the run ended, in seconds since 1970.
///
/// # Errors
/// When `out` cannot be written.
pub fn events(out: &mut impl Write, epochs: &[Epoch], end: f64) -> io::Result<()> {
    let columns = columns(epochs);
    let mut time = end - epochs.iter().map(|e| e.seconds).sum::<f64>();
    record(out, &message(&[Field::Double(1, time), Field::Bytes(3, b"brain.Event:2")]))?;
    for (at, epoch) in epochs.iter().enumerate() {
        time += epoch.seconds;
        let scalars = columns.iter().filter_map(|(name, values)| {
            let value = [Field::Bytes(1, name.as_bytes()), Field::Float(2, values[at]? as f32)];
            Some(message(&value))
        });
        let scalars: Vec<Vec<u8>> = scalars.collect();
        let summary = message(&scalars.iter().map(|scalar| Field::Bytes(1, scalar)).collect::<Vec<_>>());
        let event = [Field::Double(1, time), Field::Whole(2, u64::from(epoch.epoch)), Field::Bytes(5, &summary)];
        record(out, &message(&event))?;
    }
    Ok(())
}

/// A field of a message of Protocol Buffers, by its number.
enum Field<'a> {
    Whole(u32, u64),
    Double(u32, f64),
    Float(u32, f32),
    Bytes(u32, &'a [u8]),
}

fn message(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        match *field {
            Field::Whole(number, value) => {
                varint(&mut out, u64::from(number) << 3);
                varint(&mut out, value);
            }
            Field::Double(number, value) => {
                varint(&mut out, u64::from(number) << 3 | 1);
                out.extend(value.to_le_bytes());
            }
            Field::Bytes(number, value) => {
                varint(&mut out, u64::from(number) << 3 | 2);
                varint(&mut out, value.len() as u64);
                out.extend(value);
            }
            Field::Float(number, value) => {
                varint(&mut out, u64::from(number) << 3 | 5);
                out.extend(value.to_le_bytes());
            }
        }
    }
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A record of TFRecord: its length and its content, each with a masked checksum behind it.
fn record(out: &mut impl Write, content: &[u8]) -> io::Result<()> {
    let length = (content.len() as u64).to_le_bytes();
    let masked = |bytes: &[u8]| crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked(&length))?;
    out.write_all(content)?;
    out.write_all(&masked(content))
}

/// The checksum of Castagnoli, bit by bit: an epoch has some hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By RFC 3720, B.4.
    #[test]
    fn checksums_are_those_of_castagnoli() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn messages_are_those_of_protocol_buffers() {
        let found = message(&[Field::Whole(2, 300), Field::Bytes(1, b"ab"), Field::Float(2, 1.0)]);
        assert_eq!(found, [0x10, 0xac, 0x02, 0x0a, 2, b'a', b'b', 0x15, 0, 0, 0x80, 0x3f]);
    }
}
