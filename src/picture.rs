//! Pixels as bytes, as a PNG file and as letters.

/// The file of an image of 1 (grey), 2 (grey and alpha), 3 (red, green, blue) or 4 channels (and alpha), row by row.
pub(crate) fn png(width: usize, height: usize, channels: usize, pixels: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        2 => png::ColorType::GrayscaleAlpha,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(file)
}

/// The range of values that an image is shown in: 0 to 1 or 0 to 255 where its values lie so, else its own. Much smaller ones
/// than 255 are of another range, such as the 0 to 16 of the digits.
#[cfg(feature = "plot")]
pub(crate) fn range_of(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match (low, high) {
        (low, high) if low > high => (0.0, 1.0),
        (low, high) if low >= 0.0 && high <= 1.0 => (0.0, 1.0),
        (low, high) if low >= 0.0 && high <= 255.0 && high > 64.0 => (0.0, 255.0),
        other => other,
    }
}

/// Bytes as letters (RFC 4648).
#[cfg(feature = "plot")]
pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * i)) as usize & 63]);
            text.push(if i > three.len() { '=' } else { letter });
        }
    }
    text
}

#[cfg(all(test, feature = "plot"))]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, text) in pairs {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn ranges_are_those_of_bytes_of_shares_or_their_own() {
        assert_eq!(range_of([0.0, 0.5].into_iter()), (0.0, 1.0));
        assert_eq!(range_of([0.0, 200.0].into_iter()), (0.0, 255.0));
        assert_eq!(range_of([-1.0, 300.0, f32::INFINITY].into_iter()), (-1.0, 300.0));
        assert_eq!(range_of([0.0, 16.0].into_iter()), (0.0, 16.0));
        assert_eq!(range_of([f32::NAN].into_iter()), (0.0, 1.0));
    }
}
