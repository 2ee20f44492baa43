//! Images from a folder: as Keras 3.15.1 on TensorFlow reads them, and what happens to those that cannot be read.
//!
//! `tests/fixtures/image_folder` holds a few small images of all kinds, made of random colours, and beside them what
//! `keras.utils.image_dataset_from_directory` makes of them: arrays in `keras.npz`, orders of files in `keras.json`.
#![cfg(all(feature = "image", feature = "keras"))]

use cornu::data::image::ColorMode;
use cornu::data::{ImageDataset, ImageFolder, LabelMode, OnError, Subset, image_dataset_from_directory, npy};
use cornu::layers::Interpolation;
use cornu::prelude::*;
use ndarray::{Array3, ArrayD};
use std::path::{Path, PathBuf};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/image_folder")
}

fn photos() -> ImageFolder {
    image_dataset_from_directory(fixtures().join("photos")).verbose(false).shuffle(false).batch_size(None)
}

fn keras(name: &str) -> ArrayD<f32> {
    let arrays = npy::read_npz(fixtures().join("keras.npz")).unwrap();
    arrays.into_iter().find(|(known, _)| known == name).unwrap().1
}

fn keras_files(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(fixtures().join("keras.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).unwrap()[name].clone()
}

fn names(data: &ImageDataset) -> serde_json::Value {
    let root = fixtures().join("photos");
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
    data.file_paths.iter().map(name).collect::<Vec<_>>().into()
}

/// All images and all labels.
fn all(data: &ImageDataset) -> (Vec<Tensor>, Vec<Tensor>) {
    let items = data.iter().map(|item| item.unwrap());
    items.map(|item| (item.x[0].clone(), item.y.first().cloned().unwrap_or_default())).unzip()
}

fn compare(name: &str, folder: ImageFolder) {
    let (data, expected) = (folder.load().unwrap(), keras(name));
    let (images, _) = all(&data);
    assert_eq!(images.len(), expected.shape()[0], "{name}");
    for ((image, expected), path) in images.iter().zip(expected.outer_iter()).zip(&data.file_paths) {
        assert_eq!(image.shape(), expected.shape(), "{name}");
        // TensorFlow gives an image of 16 colours without opacity one of 15, where 255 is meant.
        let opaque = name == "rgba" && path.ends_with("palette.png");
        let pairs = image.data().iter().zip(expected).enumerate().filter(|(i, _)| !opaque || i % 4 < 3);
        let worst = pairs.map(|(_, (a, b))| (a - b).abs()).fold(0.0, f32::max);
        // Decoders of JPEG fill in the colours between two samples differently, and these colours are random.
        let most = if path.extension().is_some_and(|e| e == "jpg") { 16.0 } else { 1e-3 * 255.0 };
        assert!(worst <= most, "{name}, {}: {worst}", path.display());
    }
}

#[test]
fn pixels_are_those_of_keras() {
    compare("plain", photos().image_size(8, 10));
    compare("crop", photos().image_size(6, 9).crop_to_aspect_ratio(true));
    compare("pad", photos().image_size(6, 9).pad_to_aspect_ratio(true));
    compare("rgba", photos().image_size(5, 5).color_mode(ColorMode::Rgba).class_names(["zebra"]));
    for (name, interpolation) in [
        ("nearest", Interpolation::Nearest),
        ("area", Interpolation::Area),
        ("lanczos3", Interpolation::Lanczos3),
        ("gaussian", Interpolation::Gaussian),
        ("bicubic", Interpolation::Bicubic),
    ] {
        compare(name, photos().image_size(7, 11).interpolation(interpolation));
    }
}

/// Keras cannot make grey images of BMP files, so that its array leaves one image out.
#[test]
fn grey_images_are_those_of_keras() {
    let data = photos().image_size(5, 6).color_mode(ColorMode::Grayscale).load().unwrap();
    let expected = keras("gray");
    let images = data.iter().zip(&data.file_paths).filter(|(_, path)| path.extension().unwrap() != "bmp");
    for ((image, path), expected) in images.zip(expected.outer_iter()) {
        let image = image.unwrap().x.remove(0);
        let worst = image.data().iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= if path.extension().unwrap() == "jpg" { 6.0 } else { 0.255 }, "{}: {worst}", path.display());
    }
}

#[test]
fn files_labels_and_splits_are_those_of_keras() {
    let data = photos().image_size(2, 2).load().unwrap();
    assert_eq!(
        (names(&data), &data.class_names[..]),
        (keras_files("order"), &["ape".to_owned(), "zebra".to_owned()][..])
    );
    let labels = |folder: ImageFolder| {
        let labels: Vec<f32> = all(&folder.load().unwrap()).1.iter().flat_map(|label| label.data().to_vec()).collect();
        labels
    };
    let small = || photos().image_size(2, 2);
    let flat = |name: &str| keras(name).into_iter().collect::<Vec<_>>();
    assert_eq!(labels(small()), flat("int"));
    assert_eq!(labels(small().label_mode(LabelMode::Categorical)), flat("categorical"));
    assert_eq!(labels(small().label_mode(LabelMode::Binary)), flat("binary"));
    assert_eq!(labels(small().class_names(["zebra", "ape"])), flat("named"));
    assert_eq!(names(&small().class_names(["zebra", "ape"]).load().unwrap()), keras_files("named"));
    let given = small().labels((0..11).map(|i| i % 3));
    assert_eq!(labels(given.clone()), flat("given"));
    let given = given.load().unwrap();
    assert_eq!(
        (names(&given), serde_json::json!(given.class_names)),
        (keras_files("given"), keras_files("given_classes"))
    );
    for unlabelled in [small().without_labels(), small().label_mode(LabelMode::None)] {
        let data = unlabelled.load().unwrap();
        assert!(data.iter().all(|item| item.unwrap().y.is_empty()));
        assert_eq!(names(&small().without_labels().load().unwrap()), keras_files("unlabelled"));
    }
    for seed in [1, 42, 123_456] {
        let split = small().shuffle(true).seed(seed).validation_split(0.3);
        let (train, validation) = split.clone().load_both().unwrap();
        let expected = keras_files(&format!("both{seed}"));
        assert_eq!(serde_json::json!([names(&train), names(&validation)]), expected);
        assert_eq!(names(&split.clone().subset(Subset::Training).load().unwrap()), expected[0]);
        assert_eq!(names(&split.subset(Subset::Validation).load().unwrap()), expected[1]);
    }
    let (train, validation) = small().validation_split(0.3).load_both().unwrap();
    assert_eq!(serde_json::json!([names(&train), names(&validation)]), keras_files("unshuffled"));
}

#[test]
fn each_epoch_has_an_order_of_its_own_and_labels_stay_with_their_images() {
    let data = photos().image_size(3, 3).shuffle(true).seed(4).batch_size(4).load().unwrap();
    let plain = photos().image_size(3, 3).load().unwrap();
    let (images, labels) = all(&plain);
    let epoch = |epoch: usize| {
        let mut seen = Vec::new();
        for batch in data.epoch(epoch) {
            let batch = batch.unwrap();
            for i in 0..batch.x[0].batch() {
                let place = images.iter().position(|image| image.data() == batch.x[0].row(i)).unwrap();
                assert_eq!(batch.y[0].data()[i], labels[place].data()[0]);
                seen.push(place);
            }
        }
        seen
    };
    let (first, second) = (epoch(0), epoch(1));
    assert_eq!(first, epoch(0));
    assert_ne!(first, second);
    for mut order in [first, second] {
        order.sort_unstable();
        assert_eq!(order, (0..11).collect::<Vec<_>>());
    }
}

#[test]
fn a_model_trains_on_a_folder() {
    let data = photos().image_size(8, 8).batch_size(4).shuffle(true).seed(1).load().unwrap();
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([8, 8, 3]))
        .add(Rescaling::new(1.0 / 255.0))
        .add(Flatten::new())
        .add(Dense::new(2).activation("softmax"));
    model.compile(Adam::new(0.01), "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    let history = model.fit(&*data, (), Fit::new().epochs(20).verbose(0)).unwrap();
    assert!(history["loss"].last() < history["loss"].first());
    assert_eq!(model.predict(&*data, Predict::new()).unwrap().shape(), [11, 2]);
}

/// A folder with two good images of each of two classes.
fn animals() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("animals");
    for (class, level) in [("cat", 10.0), ("dog", 200.0)] {
        std::fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..2 {
            let pixels = Array3::from_shape_fn((40, 30, 3), |(y, x, c)| level + (y + x + c + i) as f32 / 4.0);
            cornu::data::image::save_img(root.join(class).join(format!("{i}.jpg")), &pixels).unwrap();
        }
    }
    (folder, root)
}

/// Reads all of a folder with a bad file: an error that says what, by default; on request it is left out and counted.
fn check(root: &Path, change: impl Fn(ImageFolder) -> ImageFolder, parts: &[&str]) {
    let folder = || change(image_dataset_from_directory(root).image_size(4, 4).batch_size(3).seed(1).verbose(false));
    let read = |data: &ImageDataset| -> Result<usize> { data.iter().map(|batch| Ok(batch?.x[0].batch())).sum() };
    let error = folder().load().and_then(|data| read(&data)).unwrap_err().to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    let data = folder().on_error(OnError::Skip).load().unwrap();
    for _ in 0..2 {
        assert_eq!(read(&data).unwrap(), 4, "{parts:?}");
        let skipped = data.skipped();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        assert!(parts.iter().all(|part| skipped[0].contains(part)), "{skipped:?}");
    }
    // Full batches in spite of it.
    let sizes: Vec<usize> = data.iter().map(|batch| batch.unwrap().x[0].batch()).collect();
    assert_eq!(sizes, [3, 1]);
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
    }
    !crc
}

#[test]
fn bad_files_are_named_or_skipped_and_counted() {
    let (_folder, root) = animals();
    let bad = root.join("cat").join("bad.png");
    std::fs::write(&bad, "I am no image").unwrap();
    check(&root, |f| f, &["bad.png", "neither as a PNG"]);
    std::fs::write(&bad, b"").unwrap();
    check(&root, |f| f, &["bad.png"]);
    std::fs::write(&bad, b"GIF89a\x01\0\x01\0\0\0\0;").unwrap();
    check(&root, |f| f, &["bad.png", "GIF is not read"]);

    // 30,000 x 30,000 pixels in a header that is otherwise right.
    cornu::data::image::save_img(&bad, &Array3::<u8>::zeros((3, 3, 3))).unwrap();
    let mut huge = std::fs::read(&bad).unwrap();
    huge[16..20].copy_from_slice(&30_000u32.to_be_bytes());
    huge[20..24].copy_from_slice(&30_000u32.to_be_bytes());
    let sum = crc(&huge[12..29]);
    huge[29..33].copy_from_slice(&sum.to_be_bytes());
    std::fs::write(&bad, huge).unwrap();
    check(&root, |f| f, &["bad.png", "30000 x 30000"]);
    std::fs::remove_file(&bad).unwrap();

    // A photograph that is cut off, at many places.
    let cut = root.join("dog").join("cut.jpg");
    let whole = std::fs::read(root.join("dog").join("0.jpg")).unwrap();
    for length in [2, 20, whole.len() / 2, whole.len() - 2] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        check(&root, |f| f, &["cut.jpg"]);
    }
    // What follows its end does not matter.
    std::fs::write(&cut, [&whole[..], b"trailing"].concat()).unwrap();
    assert_eq!(
        image_dataset_from_directory(&root).verbose(false).load().unwrap().iter().filter(|b| b.is_ok()).count(),
        1
    );
    std::fs::remove_file(&cut).unwrap();

    std::fs::write(root.join("cat").join("large.jpg"), [&whole[..], &[0; 50_000]].concat()).unwrap();
    check(&root, |f| f.max_bytes(40_000), &["large.jpg", "max_bytes"]);
    std::fs::remove_file(root.join("cat").join("large.jpg")).unwrap();
    // Grey in the file, three times as large as colours.
    let grey = root.join("cat").join("grey.png");
    cornu::data::image::save_img(&grey, &Array3::<u8>::zeros((300, 300, 1))).unwrap();
    check(&root, |f| f.max_bytes(200_000), &["grey.png", "300 x 300", "270000 bytes", "max_bytes"]);
    std::fs::remove_file(&grey).unwrap();

    std::fs::create_dir(root.join("empty")).unwrap();
    check(&root, |f| f, &["class 'empty' has no images"]);
    std::fs::remove_dir(root.join("empty")).unwrap();

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&root, root.join("cat").join("loop")).unwrap();
        let followed = |f: ImageFolder| f.follow_links(true).class_names(["cat"]);
        let error = followed(image_dataset_from_directory(&root).verbose(false)).load().unwrap_err().to_string();
        assert!(error.contains("loop") && error.contains("no end"), "{error}");
        // Unless links are followed it is not seen.
        assert_eq!(image_dataset_from_directory(&root).verbose(false).load().unwrap().file_paths.len(), 4);
    }
}

#[test]
fn links_to_folders_are_followed_on_request() {
    #[cfg(unix)]
    {
        let (folder, root) = animals();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::copy(root.join("cat").join("0.jpg"), outside.join("far.jpg")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("cat").join("link")).unwrap();
        let count = |follow| {
            let folder = image_dataset_from_directory(&root).follow_links(follow).verbose(false);
            folder.load().unwrap().file_paths.len()
        };
        assert_eq!((count(false), count(true)), (4, 5));
        // A class that is a link is a class in any case.
        std::os::unix::fs::symlink(&outside, root.join("fox")).unwrap();
        let data = image_dataset_from_directory(&root).verbose(false).load().unwrap();
        assert_eq!((&data.class_names[..], data.file_paths.len()), (&["cat", "dog", "fox"].map(str::to_owned)[..], 5));
    }
}

#[test]
fn options_that_do_not_go_together_are_errors() {
    let says = |folder: ImageFolder, text: &str| {
        let error = folder.load().map(drop).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    says(photos().validation_split(0.2), "subset");
    says(photos().subset(Subset::Training), "validation_split");
    says(photos().shuffle(true).validation_split(0.2).subset(Subset::Training), "give a seed");
    says(photos().validation_split(1.5).subset(Subset::Training), "above 0 and below 1");
    says(photos().validation_split(0.01).subset(Subset::Validation), "none is left for validation");
    says(photos().crop_to_aspect_ratio(true).pad_to_aspect_ratio(true), "choose one");
    says(photos().image_size(0, 4), "0 by 4");
    says(photos().image_size(1 << 20, 1 << 20), "cannot be made");
    says(photos().class_names(["ape", "zebre"]), "did you mean 'zebra'");
    says(photos().label_mode(LabelMode::Binary).class_names(["ape"]), "two classes");
    says(photos().labels([1, 2, 3]), "3 labels and 11 images");
    says(photos().labels([1, 2, 3]).class_names(["ape"]), "inferred");
    says(image_dataset_from_directory(fixtures().join("photos/zebra/deep")).verbose(false), "no images");
    says(image_dataset_from_directory("/nowhere/at/all").verbose(false), "/nowhere/at/all");
    assert!(photos().load_both().unwrap_err().to_string().contains("validation_split"));
}
