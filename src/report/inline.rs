//! Pictures as a page carries them: PNG, and bytes as text.

/// `pixels` (8 bit, `channels` 1 for grey or 3 for RGB, row by row) as a PNG file, as small as it can be.
pub(super) fn png(width: usize, height: usize, channels: usize, pixels: &[u8]) -> Vec<u8> {
    png_in(png::Compression::High, width, height, channels, pixels)
}

/// As [`png`], with `compression` for pictures whose making is waited for.
pub(crate) fn png_in(
    compression: png::Compression,
    width: usize,
    height: usize,
    channels: usize,
    pixels: &[u8],
) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(if channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    encoder.set_compression(compression);
    let written = encoder.write_header().and_then(|mut header| header.write_image_data(pixels));
    written.expect("as many pixels as the sides say, into memory");
    file
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
    fn pixels_come_back() {
        for (width, height, channels) in [(28, 28, 1), (5, 3, 3), (1, 1, 1)] {
            let pixels: Vec<u8> = (0..width * height * channels).map(|i| (i * 37 % 251) as u8).collect();
            let file = png(width, height, channels, &pixels);
            let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
            let mut found = vec![0; pixels.len()];
            let info = reader.next_frame(&mut found).unwrap();
            assert_eq!(
                (info.width as usize, info.height as usize, info.color_type.samples()),
                (width, height, channels)
            );
            assert_eq!(found, pixels);
        }
    }

    #[test]
    fn flat_images_are_small() {
        let file = png(28, 28, 1, &[0; 784]);
        assert!(file.len() < 100, "{}", file.len());
    }
}
