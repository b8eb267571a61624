//! A picture in memory: rectangles, letters, PNG.

use super::font;
use crate::report::inline;

/// Black as letters are, not as ink is.
pub const INK: [u8; 3] = [0x1b, 0x22, 0x30];
/// For what accompanies.
pub const SOFT: [u8; 3] = [0x56, 0x60, 0x72];
/// Lines around things.
pub const RULE: [u8; 3] = [0xb4, 0xba, 0xc4];
/// Behind all.
pub const PAPER: [u8; 3] = [0xff, 0xff, 0xff];

/// Pixels of a dot of a letter.
const DOT: usize = 2;
/// Pixels from a letter to the next.
pub const ADVANCE: usize = DOT * (font::WIDE + font::GAP);
/// Pixels from a line to the next.
pub const LINE: usize = DOT * (font::HIGH + 2);

/// Red, green and blue, row by row.
pub struct Canvas {
    pub width: usize,
    pub height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, pixels: PAPER.repeat(width * height) }
    }

    /// The colour at a place, for what is there to be seen through something.
    pub fn pixel(&mut self, x: usize, y: usize) -> &mut [u8] {
        let at = 3 * (y * self.width + x);
        &mut self.pixels[at..at + 3]
    }

    /// A filled rectangle, what lies outside cut off.
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        let (right, bottom) = ((x + width).min(self.width), (y + height).min(self.height));
        for row in y..bottom {
            for column in x..right {
                self.pixel(column, row).copy_from_slice(&colour);
            }
        }
    }

    /// The sides of a rectangle, a pixel wide, around the one given.
    pub fn frame(&mut self, x: usize, y: usize, width: usize, height: usize, colour: [u8; 3]) {
        let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
        self.fill(left, top, width + 2, 1, colour);
        self.fill(left, y + height, width + 2, 1, colour);
        self.fill(left, top, 1, height + 2, colour);
        self.fill(x + width, top, 1, height + 2, colour);
    }

    /// Another picture, red, green and blue, what lies outside cut off.
    pub fn put(&mut self, x: usize, y: usize, width: usize, pixels: &[u8]) {
        for (row, line) in
            pixels.chunks_exact(3 * width.max(1)).enumerate().take_while(|(row, _)| y + row < self.height)
        {
            let shown = width.min(self.width.saturating_sub(x));
            let at = 3 * ((y + row) * self.width + x);
            self.pixels[at..at + 3 * shown].copy_from_slice(&line[..3 * shown]);
        }
    }

    /// A line of text from `(x, y)`, its upper left corner, to the right.
    pub fn text(&mut self, x: usize, y: usize, text: &str, colour: [u8; 3]) {
        for (letter, c) in text.chars().enumerate() {
            let left = x + letter * ADVANCE;
            if left + ADVANCE > self.width {
                return;
            }
            for row in 0..DOT * font::HIGH {
                for column in 0..DOT * font::WIDE {
                    let (dx, dy) = ((column / DOT) as isize, (row / DOT) as isize);
                    let set = font::quarter(c, dx, dy, column % DOT == 1, row % DOT == 1);
                    if set && y + row < self.height {
                        self.pixel(left + column, y + row).copy_from_slice(&colour);
                    }
                }
            }
        }
    }

    /// As [`Canvas::text`], heavier.
    pub fn heading(&mut self, x: usize, y: usize, text: &str, colour: [u8; 3]) {
        self.text(x, y, text, colour);
        self.text(x + 1, y, text, colour);
    }

    pub fn png(&self) -> Vec<u8> {
        inline::png_in(png::Compression::Balanced, self.width, self.height, 3, &self.pixels)
    }
}

/// Pixels that a text takes along its line.
pub fn length(text: &str) -> usize {
    text.chars().count() * ADVANCE
}

/// `text` in lines of at most `width` pixels, between words where that is possible, `most` of them at most; what is cut
/// away leaves two points.
pub fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let room = (width / ADVANCE).max(3);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(room) {
            let last = lines.last_mut().expect("there is a line");
            let used = last.chars().count();
            match used {
                0 => last.extend(piece),
                _ if used + 1 + piece.len() <= room => {
                    last.push(' ');
                    last.extend(piece);
                }
                _ => lines.push(piece.iter().collect()),
            }
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = last.chars().take(room - 2).chain("..".chars()).collect();
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_drawn_outside() {
        let mut canvas = Canvas::new(40, 20);
        canvas.fill(30, 10, 100, 100, INK);
        canvas.frame(0, 0, 40, 20, RULE);
        canvas.text(10, 12, "ABC", INK);
        canvas.put(35, 15, 10, &[7; 3 * 10 * 10]);
        assert_eq!((canvas.pixel(39, 19).to_vec(), canvas.pixel(34, 14).to_vec()), (vec![7; 3], INK.to_vec()));
        assert_eq!(canvas.png()[16..24], [0, 0, 0, 40, 0, 0, 0, 20]);
    }

    #[test]
    fn text_is_wrapped_between_words() {
        let lines = |text: &str, letters: usize, most: usize| wrapped(text, letters * ADVANCE, most);
        assert_eq!(lines("one two three", 8, 9), ["one two", "three"]);
        assert_eq!(lines("abcdefghij k", 4, 9), ["abcd", "efgh", "ij k"]);
        assert_eq!(lines("abcdefghij k", 4, 2), ["abcd", "ef.."]);
        assert_eq!(lines("", 4, 2), [""]);
    }
}
