//! A small PNG writer: what a report needs to carry images, and no more.

/// `pixels` (8 bit, `channels` 1 for grey or 3 for RGB, row by row) as a PNG file.
pub(super) fn encode(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
    assert_eq!(pixels.len(), width * height * channels);
    // Every row starts with the number of its filter; 0 is none.
    let row = width * channels;
    let rows: Vec<u8> = pixels.chunks(row).flat_map(|r| std::iter::once(0).chain(r.iter().copied())).collect();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend((width as u32).to_be_bytes());
    header.extend((height as u32).to_be_bytes());
    header.extend([8, if channels == 3 { 2 } else { 0 }, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    chunk(&mut png, b"IDAT", &zlib(&rows, &[channels, row + 1]));
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend(kind);
    png.extend(data);
    let crc = crc32(&png[start..]);
    png.extend(crc.to_be_bytes());
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 })
    };
    !data.iter().fold(!0, step)
}

fn adler32(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

/// One deflate block with the fixed codes that only looks for repeats at `distances` (the pixel to the left
/// and the row above): flat areas, most of a digit, shrink well and the code stays short.
fn zlib(data: &[u8], distances: &[usize]) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0b011, 3); // last block, fixed codes
    let mut at = 0;
    while at < data.len() {
        let repeat = |&d: &usize| {
            let most = if d <= at && d <= 32768 { (data.len() - at).min(258) } else { 0 };
            (0..most).take_while(|&i| data[at + i] == data[at + i - d]).count()
        };
        let best = distances.iter().map(|d| (repeat(d), *d)).max_by_key(|&(length, _)| length);
        match best {
            Some((length, distance)) if length >= 3 => {
                bits.length(length as u32);
                bits.distance(distance as u32);
                at += length;
            }
            _ => {
                bits.symbol(u32::from(data[at]));
                at += 1;
            }
        }
    }
    bits.symbol(256);
    let mut out = vec![0x78, 0x01];
    out.extend(bits.finish());
    out.extend(adler32(data).to_be_bytes());
    out
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    /// Plain numbers go lowest bit first.
    fn put(&mut self, value: u32, count: u32) {
        self.held |= u64::from(value) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    /// Huffman codes go highest bit first.
    fn code(&mut self, code: u32, count: u32) {
        self.put(code.reverse_bits() >> (32 - count), count);
    }

    fn symbol(&mut self, symbol: u32) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xC0 + symbol - 280, 8),
        }
    }

    /// Lengths 3 ..= 258: four symbols share each number of extra bits.
    fn length(&mut self, length: u32) {
        match length {
            3..11 => self.symbol(254 + length),
            258 => self.symbol(285),
            _ => {
                let extra = (length - 3).ilog2() - 2;
                self.symbol(257 + 4 * extra + ((length - 3) >> extra));
                self.put((length - 3) & ((1 << extra) - 1), extra);
            }
        }
    }

    /// Distances 1 ..= 32768: two symbols share each number of extra bits.
    fn distance(&mut self, distance: u32) {
        let back = distance - 1;
        if back < 4 {
            return self.code(back, 5);
        }
        let extra = back.ilog2() - 1;
        self.code(2 * extra + (back >> extra), 5);
        self.put(back & ((1 << extra) - 1), extra);
    }

    fn finish(mut self) -> Vec<u8> {
        self.put(0, 7);
        self.bytes
    }
}

/// Base64 with padding, as data URIs want it.
pub(super) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let value = (0..3).fold(0, |v, i| v << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let letter = LETTERS[(value >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= three.len() { letter as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_by_hand() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn checksums_by_hand() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    #[cfg(feature = "data")]
    fn an_independent_reader_gets_the_bytes_back() {
        use std::io::Read;
        let mut state = 1u32;
        let mut noise = move |levels: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) % levels) as u8
        };
        for (length, levels) in [(0, 1), (1, 2), (5000, 1), (300, 256), (3000, 2), (3000, 3), (70000, 1)] {
            let data: Vec<u8> = (0..length).map(|_| noise(levels)).collect();
            for distances in [&[1, 29][..], &[3, 85], &[1, 1000], &[3, 40000]] {
                let mut back = Vec::new();
                flate2::read::ZlibDecoder::new(&zlib(&data, distances)[..]).read_to_end(&mut back).unwrap();
                assert!(back == data, "{length} {levels} {distances:?}");
            }
        }
        // Runs of every length and every distance code.
        let mut data = Vec::new();
        for run in 0..300 {
            data.extend(std::iter::repeat_n(run as u8, run));
        }
        for distance in (1..200).chain([256, 257, 1023, 1024, 4000, 16384, 32768]) {
            let mut back = Vec::new();
            let data = [&data[..], &data[..]].concat();
            flate2::read::ZlibDecoder::new(&zlib(&data, &[distance])[..]).read_to_end(&mut back).unwrap();
            assert!(back == data, "{distance}");
        }
    }

    #[test]
    fn flat_images_are_small() {
        let png = encode(28, 28, 1, &[0; 784]);
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        assert!(png.len() < 100, "{}", png.len());
    }
}
