//! The classic project with few photographs: overfitting, what augmentation and dropout do against it, and what a network
//! that has seen others' photographs brings.
//!
//! `cargo run --release --features image --example cats_and_dogs -- [PHOTOGRAPHS [VGG16-WEIGHTS]]`
//!
//! PHOTOGRAPHS is a folder with a folder of images for each of two classes (`cat/`, `dog/`; a thousand each make a good
//! start); a fifth of them is for validation. VGG16-WEIGHTS are Keras' weights without the top
//! (`vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`); without them the third part is left out. Without photographs
//! it makes a folder of its own, of coats and pullovers from Fashion-MNIST, half PNG and half JPEG.
use cornu::applications::{VGG16, vgg16};
use cornu::data::{Item, image, image_dataset_from_directory};
use cornu::layers::Flip;
use cornu::prelude::*;
use ndarray::Array3;
use std::path::{Path, PathBuf};

/// How much is done.
struct Plan {
    side: usize,
    epochs: usize,
    /// Channels of the first convolution.
    width: usize,
}

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let own = std::env::temp_dir().join("cornu-coats-and-pullovers");
    let (folder, plan) = match arguments.next() {
        Some(folder) => (folder, Plan { side: 150, epochs: if short { 1 } else { 30 }, width: 32 }),
        None => {
            make_folder(&own, if short { 20 } else { 300 })?;
            (own, Plan { side: 48, epochs: if short { 2 } else { 30 }, width: 16 })
        }
    };
    let weights = arguments.next();

    let (train, validation) = image_dataset_from_directory(&folder)
        .image_size(plan.side, plan.side)
        .batch_size(None)
        .validation_split(0.2)
        .seed(1)
        .load_both()?;
    println!("0 is {}, 1 is {}", train.class_names[0], train.class_names[1]);
    // Decoded once, at the first epoch; shuffled and changed anew in each.
    let (count, train) = (train.file_paths.len(), train.cache().shuffle(train.file_paths.len()));
    let plain = train.batch(20);
    let augmented = plain.augment(augmentation());
    let validation = validation.batch(20).cache();
    println!("{count} photographs for training");

    let mut curves = Vec::new();
    let mut run = |name: &str, model: &mut Model, data: &Dataset, validation: &Dataset| -> cornu::Result<()> {
        println!("\n{name}");
        let options = Fit::new().epochs(plan.epochs).validation_data(validation, ()).verbose(2);
        // Ctrl-C ends the training of this network; the next one follows.
        #[cfg(feature = "interrupt")]
        let options = options.callback(StopOnInterrupt::new());
        let history = model.fit(data, (), options)?;
        let of = |metric: &str| history.get(metric).unwrap_or_default().to_vec();
        curves.push((format!("{name}: training"), of("accuracy")));
        curves.push((format!("{name}: validation"), of("val_accuracy")));
        Ok(())
    };
    run("small network", &mut *network(&plan, 0.0)?, &plain, &validation)?;
    run("augmented, dropout", &mut *network(&plan, 0.5)?, &augmented, &validation)?;
    if let Some(weights) = weights {
        // The photographs pass the frozen network once: what it makes of them is kept.
        let features = Features::new(plan.side, &weights)?;
        let (train, validation) = (features.of(&train.batch(20)), features.of(&validation));
        run("on VGG-16", &mut *head(features.shape())?, &train.cache(), &validation.cache())?;
    }

    println!("\n{:>40}  accuracy of the last epochs", "");
    for (name, values) in &curves {
        let last = &values[values.len().saturating_sub(3)..];
        println!("{name:>40}  {:.3}", last.iter().sum::<f64>() / last.len() as f64);
    }
    #[cfg(feature = "plot")]
    {
        use cornu::visualize::{Curve, Curves};
        let curves = curves.into_iter().map(|(name, values)| Curve::new(name, values));
        Curves::new(curves)
            .one_panel("accuracy")
            .title("Few photographs: accuracy by epoch")
            .save("cats_and_dogs.png")?;
        println!("accuracy by epoch: cats_and_dogs.png");
    }
    Ok(())
}

/// Convolutions that halve the image until little is left of it, and a layer that decides.
fn network(plan: &Plan, dropout: f64) -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([plan.side, plan.side, 3])).add(Rescaling::new(1.0 / 255.0));
    for channels in [plan.width, 2 * plan.width, 4 * plan.width, 4 * plan.width] {
        model.add(Conv2D::new(channels, 3).padding(Padding::Same).activation("relu")).add(MaxPooling2D::new(2));
    }
    model.add(Flatten::new());
    if dropout > 0.0 {
        model.add(Dropout::new(dropout));
    }
    model.add(Dense::new(16 * plan.width).activation("relu")).add(Dense::new(1).activation("sigmoid"));
    model.compile(Adam::new(1e-3), "binary_crossentropy", ["accuracy"])?;
    Ok(model)
}

/// Each photograph another way each time: mirrored, turned and moved a little, nearer or farther, brighter or darker.
fn augmentation() -> Sequential {
    let mut layers = Sequential::new().with_seed(1);
    layers
        .add(RandomAffine::new().flip(Flip::Horizontal).rotation(20.0).shift(0.1).scale((0.9, 1.2)))
        .add(RandomBrightness::new(0.2));
    layers
}

/// The convolutions of VGG-16 with weights from real photographs, which do not learn.
struct Features(std::sync::Arc<Model>);

impl Features {
    fn new(side: usize, weights: &Path) -> cornu::Result<Self> {
        let model = VGG16::new().include_top(false).input_shape([side, side, 3]).weights(weights).build()?;
        Ok(Features(std::sync::Arc::new(model)))
    }

    fn shape(&self) -> Vec<usize> {
        self.0.output_shape().map(|shape| shape.sample().iter().map(|d| d.unwrap_or(1)).collect()).unwrap_or_default()
    }

    fn of(&self, batches: &Dataset) -> Dataset {
        let model = self.0.clone();
        batches.map(move |item: Item| {
            item.map_x(|x| Ok(model.predict(&vgg16::preprocess_input(&x.view())?, Predict::default())?.into()))
        })
    }
}

fn head(features: Vec<usize>) -> cornu::Result<Sequential> {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new(features))
        .add(Flatten::new())
        .add(Dense::new(256).activation("relu"))
        .add(Dropout::new(0.5))
        .add(Dense::new(1).activation("sigmoid"));
    model.compile(Adam::new(1e-4), "binary_crossentropy", ["accuracy"])?;
    Ok(model)
}

/// A folder of small photographs: so many of each of two classes of Fashion-MNIST, twice as large and on a coloured
/// ground.
fn make_folder(folder: &Path, of_each: usize) -> cornu::Result<()> {
    let (train, _) = datasets::fashion_mnist::load("examples/data/fashion-mnist")?;
    let io = |source| cornu::Error::Io { path: folder.to_owned(), source };
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(io)?;
    }
    for (label, name) in [(2, "pullover"), (4, "coat")] {
        let class = folder.join(name);
        std::fs::create_dir_all(&class).map_err(io)?;
        let chosen = train.y.iter().enumerate().filter(|(_, y)| **y == label).take(of_each);
        for (number, (i, _)) in chosen.enumerate() {
            let ground = [(number * 37 % 80) as f32, (number * 53 % 80) as f32, (number * 71 % 80) as f32];
            let pixels = Array3::from_shape_fn((56, 56, 3), |(row, column, channel)| {
                ground[channel].max(f32::from(train.x[[i, row / 2, column / 2, 0]]))
            });
            let kind = if number % 2 == 0 { "png" } else { "jpg" };
            image::save_img(class.join(format!("{number}.{kind}")), &pixels)?;
        }
    }
    Ok(())
}
