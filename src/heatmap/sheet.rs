//! Pictures of patches side by side, with a line or two below each.

use super::canvas::{ADVANCE, Canvas, INK, LINE, RULE, SOFT, wrapped};

/// Pixels a side of a patch on the sheet, at most.
pub const SIDE: usize = 176;
const COLUMNS: usize = 4;
const GAP: usize = 16;
const MARGIN: usize = 24;

/// A patch on a sheet.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Pixels of a row, at most [`SIDE`]; what is beyond is cut off.
    pub width: usize,
    /// Red, green and blue, row by row; none where there is no picture.
    pub pixels: Vec<u8>,
    /// What stands below it, a line each.
    pub caption: [String; 2],
}

/// A sheet of `patches` in their order as a PNG file.
pub fn sheet(title: &str, subtitle: &str, patches: &[Patch]) -> Vec<u8> {
    let columns = COLUMNS.min(patches.len()).max(1);
    let row = (columns * (SIDE + GAP) - GAP).max(40 * ADVANCE);
    let (title, subtitle) = (wrapped(title, row, 2), wrapped(subtitle, row, 3));
    let top = MARGIN + (title.len() + subtitle.len()) * LINE + LINE / 2;
    let each = SIDE + 2 * LINE + GAP;
    let mut canvas = Canvas::new(row + 2 * MARGIN, top + patches.len().div_ceil(columns) * each + MARGIN / 2);
    title.iter().enumerate().for_each(|(at, line)| canvas.heading(MARGIN, MARGIN + at * LINE, line, INK));
    let under = MARGIN + title.len() * LINE;
    subtitle.iter().enumerate().for_each(|(at, line)| canvas.text(MARGIN, under + at * LINE, line, SOFT));
    for (at, patch) in patches.iter().enumerate() {
        let (x, y) = (MARGIN + at % columns * (SIDE + GAP), top + at / columns * each);
        canvas.frame(x, y, SIDE, SIDE, RULE);
        match patch.pixels.is_empty() || patch.width == 0 {
            true => canvas.text(x + 8, y + SIDE / 2 - LINE / 2, "no picture", SOFT),
            false => {
                let width = patch.width.min(SIDE);
                let rows = patch.pixels.chunks_exact(3 * patch.width).take(SIDE);
                let pixels: Vec<u8> = rows.flat_map(|row| &row[..3 * width]).copied().collect();
                let height = pixels.len() / (3 * width);
                canvas.put(x + (SIDE - width) / 2, y + (SIDE - height) / 2, width, &pixels);
            }
        }
        for (line, text) in patch.caption.iter().enumerate() {
            let colour = if line == 0 { INK } else { SOFT };
            let text = wrapped(text, SIDE + GAP - 4, 1).concat();
            canvas.text(x, y + SIDE + 6 + line * (LINE - 2), &text, colour);
        }
    }
    canvas.png()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sheets_have_room_for_all_patches() {
        let size = |png: &[u8]| [16, 20].map(|at| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as usize);
        let patch = |width: usize, height: usize| Patch {
            width,
            pixels: vec![9; 3 * width * height],
            caption: ["1: 0.5".into(), "x 1, y 2".into()],
        };
        let one = size(&sheet("slide", "", &[patch(32, 20)]));
        let five =
            size(&sheet("slide", "", &[patch(400, 300), patch(0, 0), patch(5, 0), patch(176, 176), patch(1, 1)]));
        assert!(five[0] >= 4 * SIDE && five[1] >= one[1] + SIDE, "{one:?} {five:?}");
        assert!(size(&sheet("", "", &[]))[1] > 0);
    }
}
