//! Files of images, as Keras reads them, and such as are none.

#![cfg(all(feature = "image", feature = "keras"))]

use cornu::data::image::{self, ColorMode, LoadImg};
use cornu::data::npy;
use cornu::layers::Interpolation;
use ndarray::{Array3, ArrayD};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name)
}

#[test]
fn files_are_read_as_keras_reads_them() {
    let expected = npy::read_npz(fixture("expected.npz")).unwrap();
    assert!(expected.len() > 25);
    for (name, want) in &expected {
        let parts: Vec<&str> = name.split('-').collect();
        let mode = match parts[1] {
            "rgba" => ColorMode::Rgba,
            "grayscale" => ColorMode::Grayscale,
            _ => ColorMode::Rgb,
        };
        let mut options = LoadImg::new().color_mode(mode);
        let mut file = "picture.png".to_owned();
        match parts[0] {
            "picture" | "opacity" => file = format!("{}.png", parts[0]),
            interpolation => {
                options = options.interpolation(match interpolation {
                    "nearest" => Interpolation::Nearest,
                    "bilinear" => Interpolation::Bilinear,
                    "bicubic" => Interpolation::Bicubic,
                    _ => Interpolation::Lanczos3,
                });
                options = options.keep_aspect_ratio(parts[1] == "keep");
                options = options.target_size(parts[2].parse().unwrap(), parts[3].parse().unwrap());
            }
        }
        let got: ArrayD<f32> = options.load(fixture(&file)).unwrap().into_dyn();
        assert_eq!(got.shape(), want.shape(), "{name}");
        let worst = got.iter().zip(want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Pillow's weights and ours are rounded to a few bits.
        let most = match name {
            _ if parts.len() == 2 || name.starts_with("nearest") => 0.0,
            _ if name.starts_with("lanczos") => 2.0,
            _ => 1.0,
        };
        assert!(worst <= most, "{name}: {worst}");
        let bytes = std::fs::read(fixture(&file)).unwrap();
        assert_eq!(options.decode(&bytes).unwrap().into_dyn(), got, "{name}");
    }
}

#[test]
fn bad_files_are_named_and_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let says = |name: &str, bytes: &[u8], text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let error = image::load_img(&path).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(text), "{error}");
    };
    says("text.png", b"this is no picture", "neither as a PNG nor as a JPEG");
    says("empty.jpg", b"", "neither");
    let picture = Array3::from_shape_fn((64, 64, 3), |(i, j, c)| ((i * 31 + j * 17 + c * 9) % 256) as f32);
    let path = folder.path().join("whole.jpg");
    image::save_img(&path, &picture).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [40, whole.len() / 2, whole.len() - 2] {
        says("cut.jpg", &whole[..length], "the image cannot be read: it is cut off");
        assert!(LoadImg::new().decode(&whole[..length]).unwrap_err().to_string().contains("cut off"));
    }
    says("one.gif", b"GIF89a\x01\0\x01\0\0\0\0;", "GIF is not read, convert it to PNG");
    says("cut.png", &std::fs::read(fixture("picture.png")).unwrap()[..300], "cannot be read");

    // A header of 30,000 by 30,000 pixels, of one channel and of three, with nothing behind it.
    for color in [0u8, 2] {
        let mut header = b"IHDR".to_vec();
        header.extend([0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30, 8, color, 0, 0, 0]);
        let mut huge = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
        huge.extend(&header);
        huge.extend(crc32(&header).to_be_bytes());
        huge.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
        says("huge.png", &huge, "30000 by 30000 pixels");
    }
    let small = LoadImg::new().max_pixels(100);
    assert!(small.load(fixture("picture.png")).unwrap_err().to_string().contains("37 by 53 pixels is larger than 100"));
    // A file that is larger than its pixels can be.
    let small = LoadImg::new().max_pixels(5000);
    assert_eq!(small.load(&path).unwrap().dim(), (64, 64, 3));
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(20_000_000).unwrap();
    let error = small.load(&path).unwrap_err().to_string();
    assert!(
        error.contains("whole.jpg") && error.contains("20000000 bytes, more than the limit of 16857216"),
        "{error}"
    );
    let wrong = LoadImg::new().target_size(0, 5);
    assert!(wrong.load(fixture("picture.png")).unwrap_err().to_string().contains("target_size is 0 by 5"));
    let wrong = LoadImg::new().target_size(5, 5).interpolation(Interpolation::Lanczos5);
    assert!(wrong.load(fixture("picture.png")).is_err());
}

/// The check of a PNG's chunk.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

#[test]
fn arrays_become_images_and_come_back() {
    let picture = Array3::from_shape_fn((6, 9, 4), |(i, j, c)| ((i * 31 + j * 17 + c * 60) % 256) as f32);
    for channels in [1, 3, 4] {
        let part = picture.slice(ndarray::s![.., .., ..channels]).to_owned();
        assert_eq!(image::img_to_array(&image::array_to_img(&part, false).unwrap()), part);
    }
    // Stretched to the whole range.
    let stretched = image::img_to_array(&image::array_to_img(&ndarray::array![[[-1.0], [0.0], [1.0]]], true).unwrap());
    assert_eq!(stretched, ndarray::array![[[0.0], [128.0], [255.0]]]);
    assert!(image::array_to_img(&Array3::<f32>::zeros((2, 2, 2)), false).is_err());
    assert!(image::array_to_img(&ndarray::array![[[f32::NAN]]], false).is_err());

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("opaque.png");
    image::save_img(&path, &picture).unwrap();
    assert_eq!(LoadImg::new().color_mode(ColorMode::Rgba).load(&path).unwrap(), picture);
    image::save_img(folder.path().join("opaque.jpg"), &picture).unwrap();
    let path = folder.path().join("colours.bmp");
    let colours = picture.slice(ndarray::s![.., .., ..3]).to_owned();
    image::array_to_img(&colours, false).unwrap().save(&path).unwrap();
    assert_eq!(image::load_img(&path).unwrap(), colours);

    // As the layer of this name, which is checked against Keras.
    let small = image::resize(&picture, [3, 4], Interpolation::Bilinear, true).unwrap();
    use cornu::prelude::*;
    let mut model = Sequential::new();
    model.add(Input::new([6, 9, 4])).add(Resizing::new(3, 4).antialias(true).interpolation(Interpolation::Bilinear));
    model.build().unwrap();
    let want = model.predict(&picture.insert_axis(ndarray::Axis(0)), Predict::default()).unwrap();
    assert!(small.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-3));
    assert!(image::resize(&small, [0, 4], Interpolation::Nearest, false).is_err());
}
