//! What a trained LeNet-5 looks for and what it sees: its graph, its filters, the feature maps of a digit, where it looks
//! (Grad-CAM, saliency), what it gets right and wrong.
//!
//! `cargo run --release --example visualize_cnn -- [folder of MNIST]` draws into files `visualize_cnn_….png`.
use cornu::metrics::classification_report;
use cornu::prelude::*;
use cornu::visualize::{
    ConfusionMatrix, FeatureMaps, Filters, GradCam, PlotModel, PrecisionRecall, RocCurve, Saliency, SampleGrid,
    WeightHistograms,
};
use ndarray::s;

fn main() -> cornu::Result<()> {
    let short = std::env::var_os("CORNU_SHORT").is_some();
    let (epochs, images) = if short { (1, 3000) } else { (4, 60_000) };
    let folder = std::env::args().nth(1).unwrap_or_else(|| "examples/data/mnist".to_owned());
    let (train, test) = datasets::mnist::load(folder)?;
    let images = images.min(train.len());
    let (x, y) = (train.x.slice(s![..images, .., .., ..]), train.y.slice(s![..images]));

    let mut model = Sequential::new().with_seed(42).with_name("lenet5");
    model
        .add(Input::new([28, 28, 1]))
        .add(Rescaling::new(1.0 / 255.0))
        .add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu").name("conv1"))
        .add(MaxPooling2D::new(2).name("pool1"))
        .add(Conv2D::new(16, 5).activation("relu").name("conv2"))
        .add(MaxPooling2D::new(2).name("pool2"))
        .add(Flatten::new())
        .add(Dense::new(120).activation("relu").name("fc1"))
        .add(Dense::new(84).activation("relu").name("fc2"))
        .add(Dense::new(10).activation("softmax").name("digits"));
    model.compile(Adam::new(1e-3), "sparse_categorical_crossentropy", ["accuracy"])?;
    let history = model.fit(&x, &y, Fit::new().epochs(epochs).batch_size(64).validation_split(0.1))?;

    let file = |name: &str| format!("visualize_cnn_{name}.png");
    history.plot(file("curves"))?;
    PlotModel::new(&model).title("LeNet-5").save(file("graph"))?;

    // What it looks for.
    Filters::of(&model, "conv1")?.title("filters of conv1").save(file("filters1"))?;
    Filters::of(&model, "conv2")?.title("filters of conv2, a column each").save(file("filters2"))?;
    WeightHistograms::of(&model).title("weights").save(file("weights"))?;

    // What it finds in a digit, layer after layer.
    let digit = test.x.slice(s![..1, .., .., ..]);
    for layer in ["conv1", "pool1", "conv2", "pool2"] {
        let maps = FeatureMaps::of(&model, layer, &digit)?;
        maps.title(format!("what {layer} makes of a {}", test.y[0])).save(file(&format!("maps_{layer}")))?;
    }

    // Where it looks.
    GradCam::of(&model, &digit, "conv2", None)?.title("what speaks for this digit").save(file("grad_cam"))?;
    Saliency::of(&model, &digit, None)?.title("pixels that matter").save(file("saliency"))?;

    // What it gets right and wrong.
    let probabilities = model.predict(&test.x, Predict::new().batch_size(256))?;
    let report = classification_report(&test.y, &probabilities)?;
    println!("\n{report}\n");
    ConfusionMatrix::new(&test.y, &probabilities)?.title("MNIST, test images").save(file("confusion"))?;
    RocCurve::new(&test.y, &probabilities)?.title("each digit against the rest").save(file("roc"))?;
    PrecisionRecall::new(&test.y, &probabilities)?.save(file("precision_recall"))?;
    let samples = SampleGrid::new(&test.x).labels(&test.y).predictions(&probabilities).columns(8);
    samples.clone().limit(16).title("the first test images").save(file("samples"))?;
    samples.wrong_only(true).limit(24).title("mistakes").save(file("mistakes"))?;

    println!("pictures: visualize_cnn_*.png");
    println!("test accuracy: {:.4}", report.accuracy());
    Ok(())
}
