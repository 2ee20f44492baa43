//! Pixels as a PNG file.

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
