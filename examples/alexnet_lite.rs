//! AlexNet's plan for small images: local response normalization, overlapping pools, dropout 0.5; trained as in the
//! paper (Krizhevsky, Sutskever, Hinton 2012) with momentum 0.9, weight decay 5e-4 and a rate that falls tenfold
//! whenever validation no longer improves.
//!
//! `cargo run --release --example alexnet_lite -- [folder of Fashion-MNIST]`
//!
//! With `--features image` the argument may also be a folder of photographs, PNG or JPEG, one folder a class; they are
//! seen in colour at 64 x 64 pixels, and a fifth of them is for testing.
use cornu::applications::AlexNetLite;
use cornu::prelude::*;
use ndarray::{Array1, Array4, s};

/// Images as bytes, `(samples, height, width, channels)`, with a class each.
struct Set {
    train: (Array4<u8>, Array1<u8>),
    test: (Array4<u8>, Array1<u8>),
    classes: Vec<String>,
}

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/data/fashion-mnist".to_owned());
    let has_folders =
        std::fs::read_dir(&folder).is_ok_and(|mut all| all.any(|one| one.is_ok_and(|one| one.path().is_dir())));
    let Set { train, test, classes } = if has_folders { photographs(&folder)? } else { fashion(&folder, short)? };
    println!("{folder}: {} images to learn from, {} to test on", train.1.len(), test.1.len());

    let shape = &train.0.shape()[1..];
    let network = AlexNetLite::new().input_shape(shape).classes(classes.len()).seed(1).build()?;
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new(shape)).add(Rescaling::new(1.0 / 255.0)).add(network.as_layer());
    let optimizer = Sgd::new(0.02).momentum(0.9).weight_decay(5e-4);
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])?;
    println!("{}", network.summary());

    let options = Fit::new()
        .epochs(if short { 2 } else { 24 })
        .batch_size(64)
        .verbose(2)
        .validation_split(0.1)
        .callback(ReduceLROnPlateau::new().monitor("val_accuracy").factor(0.1).patience(2).verbose(1));
    // Ctrl-C ends training after the batch that runs; what is there by then is tested.
    #[cfg(feature = "interrupt")]
    let options = options.callback(StopOnInterrupt::new());
    let start = std::time::Instant::now();
    let history = model.fit(&train.0, &train.1, options)?;
    println!("trained in {:.0} s", start.elapsed().as_secs_f64());
    #[cfg(feature = "plot")]
    {
        history.plot("alexnet_lite.png")?;
        println!("training curves: alexnet_lite.png");
    }

    let found = model.predict(&test.0, Predict::new().batch_size(256))?;
    let largest = |best: (usize, f32), (class, &p): (usize, &f32)| if p > best.1 { (class, p) } else { best };
    let found: Vec<usize> = found.outer_iter().map(|row| row.iter().enumerate().fold((0, 0.0), largest).0).collect();
    println!("\n{:>14}  test images   right   most often seen as, when wrong", "class");
    for (class, name) in classes.iter().enumerate() {
        let answers: Vec<usize> =
            found.iter().zip(&test.1).filter(|(_, y)| usize::from(**y) == class).map(|(&f, _)| f).collect();
        let right = answers.iter().filter(|&&answer| answer == class).count();
        let wrong = |other: usize| answers.iter().filter(|&&answer| answer == other).count();
        let other = (0..classes.len()).filter(|&other| other != class).max_by_key(|&other| wrong(other));
        let other = other.filter(|&other| wrong(other) > 0).map_or("", |other| &classes[other]);
        println!("{name:>14}  {:>11}  {:.3}   {other}", answers.len(), right as f64 / answers.len().max(1) as f64);
    }
    println!("best validation accuracy {:.4}", history["val_accuracy"].iter().copied().fold(0.0, f64::max));
    let scores = model.evaluate(&test.0, &test.1, Evaluate::new().batch_size(256))?;
    println!("test accuracy: {:.4}", scores["accuracy"]);
    Ok(())
}

fn fashion(folder: &str, short: bool) -> cornu::Result<Set> {
    let (train, test) = datasets::fashion_mnist::load(folder)?;
    let most = |n: usize, short_n: usize| if short { short_n.min(n) } else { n };
    let (n, tests) = (most(train.len(), 1500), most(test.len(), 500));
    Ok(Set {
        train: (train.x.slice(s![..n, .., .., ..]).to_owned(), train.y.slice(s![..n]).to_owned()),
        test: (test.x.slice(s![..tests, .., .., ..]).to_owned(), test.y.slice(s![..tests]).to_owned()),
        classes: datasets::fashion_mnist::CLASSES.map(str::to_owned).to_vec(),
    })
}

/// All PNG and JPEG files of the folders in `folder`, in the order of their names; a folder is a class.
#[cfg(feature = "image")]
fn photographs(folder: &str) -> cornu::Result<Set> {
    use cornu::data::{image, train_test_split};
    use ndarray::{Axis, Ix4, concatenate};
    const SIDE: usize = 64;
    let list = |folder: &std::path::Path| -> cornu::Result<Vec<std::path::PathBuf>> {
        let read = || -> std::io::Result<Vec<_>> {
            std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
        };
        let mut paths = read().map_err(|source| cornu::Error::Io { path: folder.to_owned(), source })?;
        paths.sort();
        Ok(paths)
    };
    let mut resize = Sequential::new();
    resize.add(Input::of(Shape::new([None, None, None, Some(3)]))).add(Resizing::new(SIDE, SIDE));
    resize.build()?;
    let (mut images, mut labels, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    for class in list(folder.as_ref())?.into_iter().filter(|path| path.is_dir()) {
        let before = images.len();
        for path in list(&class)? {
            let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
            if matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) {
                let small = resize.predict(&image::load_img(&path)?.insert_axis(Axis(0)), Predict::default())?;
                images.push(small.mapv(|value| value.round().clamp(0.0, 255.0) as u8));
                labels.push(classes.len() as u8);
            }
        }
        if images.len() > before {
            classes.push(class.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()));
        }
    }
    if classes.len() < 2 || classes.len() > 256 {
        let text = format!("{folder} holds no photographs, or not 2 to 256 folders of them, one a class");
        return Err(cornu::Error::Data(text));
    }
    let views: Vec<_> = images.iter().map(|image| image.view()).collect();
    let images = concatenate(Axis(0), &views).and_then(|all| all.into_dimensionality::<Ix4>());
    let images = images.map_err(|error| cornu::Error::Shape(error.to_string()))?;
    let (x, x_test, y, y_test) = train_test_split(&images, &Array1::from(labels), 0.2, 1)?;
    Ok(Set { train: (x, y), test: (x_test, y_test), classes })
}

#[cfg(not(feature = "image"))]
fn photographs(folder: &str) -> cornu::Result<Set> {
    Err(cornu::Error::Data(format!("{folder} holds folders; to read photographs from them add --features image")))
}
