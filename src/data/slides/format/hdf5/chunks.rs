//! Matrices whose chunks are whole rows, as TRIDENT (one row each) and CLAM (32) write them: chunks that are stored as they
//! are go from the file to their places, neighbours in one read, and no chunk is copied more than once.

use super::storage::Bytes;
use super::{Reason, told};
use hdf5_reader::Dataset;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes from which on a piece is read by itself, the longest gap that is read over, and what is read at a time otherwise.
const ALONE: u64 = 1 << 16;
const GAP: u64 = 1 << 14;
const WINDOW: u64 = 1 << 20;

/// Rows of a matrix, and where in the file they stand one after the other.
struct Piece {
    at: u64,
    first: usize,
    count: usize,
}

/// How a matrix is divided.
pub struct Rows {
    rows: usize,
    /// Rows of a chunk.
    high: usize,
    /// Bytes of a row.
    row: usize,
}

impl Rows {
    /// `None` where chunks are not whole rows.
    pub fn of(dataset: &Dataset, chunk: &[u32], size: usize) -> Option<Self> {
        let (&[rows, width], &[high, wide]) = (dataset.shape(), chunk) else { return None };
        let whole = u64::from(wide) == width && high > 0 && rows > 0;
        whole.then_some(Self { rows: rows as usize, high: high as usize, row: width as usize * size })
    }

    /// The first row of a chunk and how many of its rows are in the matrix.
    fn place(&self, offsets: &[u64]) -> Option<(usize, usize)> {
        match *offsets {
            [first, 0] if first < self.rows as u64 && first.is_multiple_of(self.high as u64) => {
                Some((first as usize, self.high.min(self.rows - first as usize)))
            }
            _ => None,
        }
    }

    /// Fills `out`, the bytes of the matrix. False where some chunk is missing or at no place: then `out` is to be filled in
    /// another way.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self, dataset: &Dataset, bytes: &Bytes, out: &mut [u8]) -> Result<bool, Reason> {
        if let Some(pieces) = self.pieces(dataset, bytes)? {
            return read_pieces(bytes.path(), pieces, self.row, out).map(|()| true).map_err(|e| e.to_string());
        }
        // One read of the file in place of one for each chunk.
        bytes.hold();
        let mut seen = vec![false; self.rows.div_ceil(self.high)];
        for chunk in dataset.iter_chunks().map_err(|e| told(&e))? {
            let chunk = chunk.map_err(|e| told(&e))?;
            let Some((first, count)) = self.place(chunk.offsets()) else { return Ok(false) };
            let Some(values) = chunk.bytes().get(..count * self.row) else { return Ok(false) };
            out[first * self.row..][..count * self.row].copy_from_slice(values);
            seen[first / self.high] = true;
        }
        Ok(seen.iter().all(|seen| *seen))
    }

    /// Where the rows stand in the file; `None` where some chunk is packed, missing, or at no place.
    ///
    /// The reader of the format does not tell where chunks are. It is asked for them and given other bytes in their place:
    /// where these come out as they went in, nothing is done to a chunk, and its bytes are where they were asked for.
    fn pieces(&self, dataset: &Dataset, bytes: &Bytes) -> Result<Option<Vec<Piece>>, Reason> {
        let Some(length) = self.high.checked_mul(self.row).filter(|&length| length as u64 <= WINDOW) else {
            return Ok(None);
        };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut seen = vec![false; self.rows.div_ceil(self.high)];
        let mut chunks = dataset.iter_chunks().map_err(|e| told(&e))?;
        while let Some((chunk, at)) = bytes.pretend(length, || chunks.next()) {
            let (Ok(chunk), Some(at)) = (chunk, at) else { return Ok(None) };
            let (Some((first, count)), true) = (self.place(chunk.offsets()), bytes.pretended(chunk.bytes())) else {
                return Ok(None);
            };
            seen[first / self.high] = true;
            match pieces.last_mut() {
                Some(last) if last.first + last.count == first && last.at + (last.count * self.row) as u64 == at => {
                    last.count += count;
                }
                _ => pieces.push(Piece { at, first, count }),
            }
        }
        Ok(seen.iter().all(|seen| *seen).then_some(pieces))
    }
}

fn read_pieces(path: &Path, mut pieces: Vec<Piece>, row: usize, out: &mut [u8]) -> io::Result<()> {
    pieces.sort_unstable_by_key(|piece| piece.at);
    let mut file = File::open(path)?;
    let mut window = Vec::new();
    let mut rest = &pieces[..];
    while let Some(piece) = rest.first() {
        let length = |piece: &Piece| (piece.count * row) as u64;
        file.seek(SeekFrom::Start(piece.at))?;
        if length(piece) >= ALONE {
            file.read_exact(&mut out[piece.first * row..][..piece.count * row])?;
            rest = &rest[1..];
            continue;
        }
        // Short ones that are near are read together.
        let mut end = piece.at + length(piece);
        let near = |next: &&Piece| {
            let near = next.at <= end + GAP && next.at + length(next) - piece.at <= WINDOW;
            if near {
                end = end.max(next.at + length(next));
            }
            near
        };
        let count = rest.iter().take_while(near).count();
        window.resize((end - piece.at) as usize, 0);
        file.read_exact(&mut window)?;
        for near in &rest[..count] {
            let values = &window[(near.at - piece.at) as usize..][..near.count * row];
            out[near.first * row..][..near.count * row].copy_from_slice(values);
        }
        rest = &rest[count..];
    }
    Ok(())
}
