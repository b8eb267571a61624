//! A file that is being packed. However it was interrupted, all whole slides at its start are kept.

use super::block::Block;
use super::format::{Head, Header, IndexPlace, LONGEST_DESCRIPTION, UNIT};
use super::index::{Description, Entry, Index};
use crate::error::{Error, Result};
use crate::files;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Bytes that are looked through at a time.
const WINDOW: usize = 1 << 20;

/// The file, and which of its slides are kept.
pub struct Part {
    path: PathBuf,
    file: File,
    header: Header,
    /// Behind the last slide that is kept.
    end: u64,
    /// Slides behind that, which an earlier call packed.
    found: VecDeque<Entry>,
}

impl Part {
    /// Opens what an earlier call left at `path`, or begins.
    ///
    /// # Errors
    /// [`Error::Format`] when something stands there that is none of ours, [`Error::Io`].
    pub fn open(path: &Path, header: Header) -> Result<Self> {
        let io = |e| Error::io(path, e);
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => {
                return Err(Error::format(path, "what is packed would be written there, and no file stands there"));
            }
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io(e)),
        }
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        let mut start = Vec::new();
        Read::by_ref(&mut file).take(super::format::HEADER as u64).read_to_end(&mut start).map_err(io)?;
        let ours = start.len().min(files::PACKED.len());
        if start[..ours] != files::PACKED[..ours] {
            let message =
                "bagrad did not write this file, and what is packed would be written there; move it elsewhere";
            return Err(Error::format(path, message));
        }
        let same = Header::read(&start).is_ok_and(|found| Header { index: None, ..found } == header);
        let mut part =
            Self { path: path.into(), file, header, end: super::format::HEADER as u64, found: VecDeque::new() };
        part.begin(same).map_err(io)?;
        Ok(part)
    }

    fn begin(&mut self, same: bool) -> io::Result<()> {
        if !same {
            self.file.set_len(0)?;
        }
        // One that was complete is so no longer, before anything of it is changed.
        self.file.rewind()?;
        self.file.write_all(&self.header.to_bytes())?;
        let (length, mut at) = (self.file.metadata()?.len(), self.end);
        while let Some((entry, end)) = self.entry(at, length)? {
            self.found.push_back(entry);
            at = end;
        }
        Ok(())
    }

    /// The slide that begins at `at` and its end; `None` where it is not whole.
    fn entry(&mut self, at: u64, length: u64) -> io::Result<Option<(Entry, u64)>> {
        let mut head = [0; UNIT];
        if at.checked_add(UNIT as u64).is_none_or(|end| end > length) {
            return Ok(None);
        }
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut head)?;
        let Ok(head) = Head::read(&head) else { return Ok(None) };
        let places = head.places(at, &self.header).filter(|places| places.end <= length);
        let Some(places) = places.filter(|_| head.description <= LONGEST_DESCRIPTION) else { return Ok(None) };
        let mut told = vec![0; (places.features - places.description) as usize];
        self.file.read_exact(&mut told)?;
        if super::format::sum(&told) != head.sum_of_description {
            return Ok(None);
        }
        let told = serde_json::from_slice::<Description>(&told[..head.description as usize]);
        let Ok(description) = told else { return Ok(None) };
        let (mut sum, mut left) = (crc32fast::Hasher::new(), places.end - places.features);
        let mut window = vec![0; WINDOW.min(left as usize)];
        while left > 0 {
            let bytes = &mut window[..WINDOW.min(left as usize)];
            self.file.read_exact(bytes)?;
            sum.update(bytes);
            left -= bytes.len() as u64;
        }
        let whole = sum.finalize() == head.sum;
        Ok(whole.then(|| (Entry::new(at, &head, &places, description), places.end)))
    }

    /// The next slide that an earlier call packed.
    pub fn next_found(&self) -> Option<&Entry> {
        self.found.front()
    }

    /// Keeps that slide.
    pub fn keep(&mut self) -> Option<Entry> {
        let entry = self.found.pop_front()?;
        self.end = entry.places(&self.header)?.end;
        Some(entry)
    }

    /// Writes a slide behind those that are kept; what else was found is given up.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&mut self, block: &Block) -> Result<Entry> {
        let mut wrote = self.give_up();
        if wrote.is_ok() {
            wrote = block.parts().try_for_each(|bytes| self.file.write_all(bytes));
        }
        wrote.map_err(|e| Error::io(&self.path, e))?;
        let places = block.head.places(self.end, &self.header).expect("a slide in memory has places in a file");
        let entry = Entry::new(self.end, &block.head, &places, block.description.clone());
        self.end = places.end;
        Ok(entry)
    }

    /// Ends the file behind the last slide that is kept, and goes there.
    fn give_up(&mut self) -> io::Result<()> {
        self.found.clear();
        if self.file.seek(SeekFrom::End(0))? != self.end {
            self.file.set_len(self.end)?;
            self.file.seek(SeekFrom::Start(self.end))?;
        }
        Ok(())
    }

    /// Bytes of what is there already.
    pub fn bytes_found(&self) -> u64 {
        self.found.back().and_then(|entry| entry.places(&self.header)).map_or(self.end, |places| places.end)
    }

    /// Removes a file without a slide, which nobody could go on with.
    pub fn leave(self) {
        if self.end == super::format::HEADER as u64 && self.found.is_empty() {
            // On the way out of an error there is no one to tell.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Writes the index and says in the header where it is; answers the bytes of the file.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self, index: &Index) -> Result<u64> {
        let text = serde_json::to_vec(index).expect("text and numbers become JSON");
        let place = IndexPlace {
            at: self.end,
            bytes: text.len() as u64,
            sum: super::format::sum(&text),
            slides: index.slides.len() as u64,
            rows: index.slides.iter().map(|slide| slide.rows).sum(),
        };
        let wrote = self.give_up().and_then(|()| {
            self.file.write_all(&text)?;
            // A header that says so must not be on the disk before all it tells of.
            self.file.sync_data()?;
            self.file.rewind()?;
            self.file.write_all(&Header { index: Some(place), ..self.header }.to_bytes())?;
            self.file.sync_all()
        });
        wrote.map_err(|e| Error::io(&self.path, e))?;
        Ok(place.at + place.bytes)
    }
}
