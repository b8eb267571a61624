//! Letters for pictures: five dots wide and nine high, drawn for this (`glyphs.txt`), so that a picture needs no font and
//! looks the same everywhere.

use std::sync::LazyLock;

/// Dots of a letter.
pub const WIDE: usize = 5;
/// Dots of a letter, of which the lowest two are below the line.
pub const HIGH: usize = 9;
/// What follows a letter.
pub const GAP: usize = 1;

/// Sixteen letters a block, from `!` on, `µ` behind the last of ASCII.
const SHEET: &str = include_str!("glyphs.txt");
const EACH: usize = 16;
const FIRST: u32 = '!' as u32;
const LAST: u32 = '~' as u32;

/// A row of dots in a byte, the leftmost the highest of five bits.
type Glyph = [u8; HIGH];

static GLYPHS: LazyLock<Vec<Glyph>> = LazyLock::new(|| {
    let lines: Vec<&str> = SHEET.lines().filter(|line| !line.is_empty()).collect();
    let glyph = |at: usize| -> Option<Glyph> {
        let block = lines.get(at / EACH * HIGH..(at / EACH + 1) * HIGH)?;
        let mut glyph = [0; HIGH];
        for (row, line) in glyph.iter_mut().zip(block) {
            let dots = line.split(' ').nth(at % EACH)?;
            *row = dots.bytes().fold(0, |bits, dot| bits << 1 | u8::from(dot == b'#'));
        }
        Some(glyph)
    };
    (0..).map_while(glyph).collect()
});

/// A letter as it can be drawn: one of the sheet, that without its accent, or a question mark.
fn drawn(c: char) -> char {
    match c {
        ' '..='~' | 'µ' => c,
        'À'..='Å' => 'A',
        'Ç' => 'C',
        'È'..='Ë' => 'E',
        'Ì'..='Ï' => 'I',
        'Ñ' => 'N',
        'Ò'..='Ö' | 'Ø' => 'O',
        'Ù'..='Ü' => 'U',
        'Ý' => 'Y',
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' | 'ø' => 'o',
        'ù'..='ü' => 'u',
        'ý' | 'ÿ' => 'y',
        'ß' => 's',
        'μ' => 'µ',
        '–' | '—' | '−' => '-',
        '×' => 'x',
        '’' | '‘' => '\'',
        '“' | '”' => '"',
        c if c.is_whitespace() || c.is_control() => ' ',
        _ => '?',
    }
}

/// True where dot `(x, y)` of the letter `c` is set; outside of it none is.
pub fn dot(c: char, x: isize, y: isize) -> bool {
    let at = match drawn(c) {
        ' ' => return false,
        'µ' => (LAST - FIRST + 1) as usize,
        c => (c as u32 - FIRST) as usize,
    };
    let inside = (0..WIDE as isize).contains(&x) && (0..HIGH as isize).contains(&y);
    inside && GLYPHS[at][y as usize] >> (WIDE as isize - 1 - x) & 1 == 1
}

/// One of the four quarters `(right, below)` of a dot when letters are drawn twice as large: a corner between two set
/// neighbours is filled or left out, so that slopes are smooth (the rule of Scale2x).
pub fn quarter(c: char, x: isize, y: isize, right: bool, below: bool) -> bool {
    let beside = dot(c, if right { x + 1 } else { x - 1 }, y);
    let across = dot(c, if right { x - 1 } else { x + 1 }, y);
    let along = dot(c, x, if below { y + 1 } else { y - 1 });
    let away = dot(c, x, if below { y - 1 } else { y + 1 });
    match beside == along && beside != away && along != across {
        true => beside,
        false => dot(c, x, y),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(c: char) -> Vec<String> {
        (0..HIGH as isize).map(|y| (0..WIDE as isize).map(|x| if dot(c, x, y) { '#' } else { '.' }).collect()).collect()
    }

    #[test]
    fn every_letter_of_ascii_has_a_form_of_its_own() {
        let all: Vec<Vec<String>> = ('!'..='~').chain(['µ']).map(rows).collect();
        assert_eq!(GLYPHS.len(), all.len());
        for (at, glyph) in all.iter().enumerate() {
            assert!(glyph.iter().any(|row| row.contains('#')), "glyph {at} is empty");
            assert!(!all[..at].contains(glyph), "glyph {at} is that of another letter");
        }
        assert!(rows(' ').iter().all(|row| row == "....."));
    }

    #[test]
    fn letters_are_those_of_the_sheet() {
        assert_eq!(rows('T')[..3], ["#####", "..#..", "..#.."]);
        assert_eq!(rows('p')[6..], ["####.", "#....", "#...."]);
        assert_eq!((rows('é'), rows('Ö')), (rows('e'), rows('O')));
        assert_eq!((rows('–'), rows('漢')), (rows('-'), rows('?')));
        assert!(!dot('T', -1, 0) && !dot('T', 0, 9));
    }
}
