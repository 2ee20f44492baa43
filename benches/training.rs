//! Whole epochs of training and prediction on real images, one thread against all.
//!
//! `cargo bench --bench training [-- WORD…]` prints a table of the workloads whose names hold a word.
//! With `--serve` it is cornu's side of `benches/peers/compare.py`, which compares it with others: these workloads,
//! and single matrix products and convolutions.
use cornu::applications::{AlexNet, ResNet20, ResNet50, VGG16};
use cornu::kernels::conv;
use cornu::kernels::gemm::{Mat, MatMut, gemm_parallel};
use cornu::prelude::*;
use cornu::runtime::{Workspace, threads};
use ndarray::{Array1, Array2, Array4, s};

#[path = "peers/serve.rs"]
mod serve;
use serve::{Data, Failure, SAMPLES, WARM, numbers, often, once};

const WORKLOADS: [&str; 16] = [
    "train mlp 32",
    "train mlp 128",
    "train lenet5 32",
    "train lenet5 128",
    "train convnet 128",
    "train lstm 128",
    "predict lenet5 1",
    "predict lenet5 256",
    "predict convnet 1",
    "predict convnet 256",
    "train resnet20 128",
    "train alexnet 8",
    "train resnet50 4",
    "predict resnet50 8",
    "predict vgg16 1",
    "predict vgg16 4",
];

/// A model with fresh weights.
fn model(kind: &str) -> cornu::Result<Option<Sequential>> {
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([28, 28, 1]));
    match kind {
        "mlp" => model.add(Flatten::new()).add(Dense::new(128).activation("relu")),
        "lenet5" => model
            .add(Conv2D::new(6, 5).padding(Padding::Same).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Conv2D::new(16, 5).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dense::new(120).activation("relu"))
            .add(Dense::new(84).activation("relu")),
        "convnet" => model
            .add(Conv2D::new(32, 3).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Conv2D::new(64, 3).activation("relu"))
            .add(MaxPooling2D::new(2))
            .add(Flatten::new())
            .add(Dropout::new(0.5)),
        "lstm" => model.add(Reshape::new([28, 28])).add(LSTM::new(128)),
        _ => return Ok(None),
    };
    model.add(Dense::new(10).activation("softmax"));
    if kind == "lenet5" {
        model.compile(Sgd::new(0.01).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"])?;
    } else {
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
    }
    Ok(Some(model))
}

/// The seconds of an epoch with fresh weights, of a prediction of all images, or (batch 1) of one image.
fn measure(request: &[&str], x: &Array4<f32>, y: &Array1<u8>) -> Result<Option<f64>, Failure> {
    let [task, kind, batch] = request else { return Ok(None) };
    let batch: usize = batch.parse()?;
    let Some(mut model) = model(kind)? else { return Ok(None) };
    Ok(Some(match *task {
        "train" => {
            let options = || Fit::new().batch_size(batch).verbose(0);
            model.fit(&x.slice(s![..WARM, .., .., ..]), &y.slice(s![..WARM]), options())?;
            once(|| model.fit(x, y, options()).map(drop))?
        }
        "predict" if batch == 1 => {
            let image = x.slice(s![..1, .., .., ..]);
            often(|| model.predict_on_batch(&image).map(drop))?
        }
        "predict" => {
            model.predict(&x.slice(s![..WARM, .., .., ..]), Predict::new().batch_size(batch))?;
            once(|| model.predict(x, Predict::new().batch_size(batch)).map(drop))?
        }
        _ => return Ok(None),
    }))
}

/// Those whose single steps are measured.
const NETWORKS: [&str; 4] = ["resnet20", "resnet50", "alexnet", "vgg16"];

/// One of the classic networks with fresh weights, and the size of its images.
fn network(kind: &str) -> cornu::Result<Option<(Model, usize)>> {
    Ok(Some(match kind {
        "resnet20" => (ResNet20::new().build()?, 32),
        "resnet50" => (ResNet50::new().build()?, 224),
        "alexnet" => (AlexNet::new().build()?, 227),
        "vgg16" => (VGG16::new().build()?, 224),
        _ => return Ok(None),
    }))
}

/// The seconds of a training step (SGD with momentum), or of a prediction of a batch, by one of the classic networks:
/// made-up images, of which every one takes the same time.
fn measure_network(request: &[&str]) -> Result<Option<f64>, Failure> {
    let [task, kind, batch] = request else { return Ok(None) };
    let batch: usize = batch.parse()?;
    let Some((mut model, size)) = network(kind)? else { return Ok(None) };
    let classes = model.output_shape()?.last().unwrap_or_default();
    let x = Array4::from_shape_vec((batch, size, size, 3), serve::values(batch * size * size * 3))?;
    Ok(match *task {
        "train" => {
            let y = Array1::from_shape_fn(batch, |i| (i * 7 % classes) as u16);
            model.compile(Sgd::new(1e-3).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"])?;
            Some(often(|| model.train_on_batch(&x, &y).map(drop))?)
        }
        "predict" => {
            let mut predictor = model.predictor();
            let mut y = Array2::zeros((batch, classes));
            Some(often(|| predictor.predict_into(&x, y.view_mut()))?)
        }
        _ => None,
    })
}

/// The seconds of a matrix product of these sizes: the same work as `gemm` of the other peers.
fn product(sizes: &[usize]) -> Result<Option<f64>, Failure> {
    let &[m, n, k] = sizes else { return Ok(None) };
    let (a, b, mut c) = serve::matrices(m, n, k);
    let call = || {
        gemm_parallel(1.0, Mat::new(&a, m, k), Mat::new(&b, k, n), 0.0, MatMut::new(&mut c, m, n));
        Ok(())
    };
    threads::enter(|| often(call)).map(Some)
}

/// The seconds of a convolution forward, or forward and backward to image, kernel and bias.
fn convolution(sizes: &[usize], backward: bool) -> Result<Option<f64>, Failure> {
    let &[n, height, width, inputs, outputs, size, stride, padding, groups] = sizes else { return Ok(None) };
    let pad = if padding > 0 { Padding::Same } else { Padding::Valid };
    let input = [n, height, width, inputs];
    let conv = conv::Conv2d::new(input, [size; 2], outputs, [stride; 2], [1, 1], pad, groups)?;
    let (x, kernel, dy) =
        (serve::values(conv.input_len()), serve::values(conv.kernel_len()), serve::values(conv.output_len()));
    let (mut y, bias, workspace) = (vec![0.0; dy.len()], vec![0.1; outputs], Workspace::new());
    let (mut dx, mut dkernel, mut dbias) = (vec![0.0; x.len()], vec![0.0; kernel.len()], vec![0.0; outputs]);
    let call = || {
        conv.forward(&x, &kernel, Some(bias.as_slice()), &mut y, &workspace);
        if backward {
            conv.backward(&x, &dy, &kernel, &mut dx, &mut dkernel, Some(&mut dbias), &workspace);
        }
        Ok(())
    };
    threads::enter(|| often(call)).map(Some)
}

/// The median of five measurements.
fn median(request: &[&str], x: &Array4<f32>, y: &Array1<u8>) -> Result<f64, Failure> {
    if let Some(seconds) = measure_network(request)? {
        return Ok(seconds);
    }
    let mut seconds = Vec::new();
    for _ in 0..5 {
        seconds.extend(measure(request, x, y)?);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[seconds.len() / 2])
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let data = Data::read()?;
    let x = Array4::from_shape_vec((SAMPLES, 28, 28, 1), data.x)?;
    let y = Array1::from_vec(data.y);
    if arguments.iter().any(|a| a == "--serve") {
        let version = concat!("cornu ", env!("CARGO_PKG_VERSION"));
        return serve::serve(version, Data::bytes(1), |request| match request {
            ["gemm", sizes @ ..] => product(&numbers(sizes)?),
            ["conv_forward", sizes @ ..] => convolution(&numbers(sizes)?, false),
            ["conv_step", sizes @ ..] => convolution(&numbers(sizes)?, true),
            _ => Ok(measure_network(request)?.or(measure(request, &x, &y)?)),
        });
    }
    let cores = serve::threads();
    println!("{:<20} {:>14} {:>14} {:>7}", "samples a second", "1 thread", format!("{cores} threads"), "ratio");
    for name in WORKLOADS.iter().filter(|name| arguments.is_empty() || arguments.iter().any(|a| name.contains(a))) {
        let request: Vec<&str> = name.split(' ').collect();
        let batch: f64 = request[2].parse()?;
        let samples = if batch == 1.0 || NETWORKS.contains(&request[1]) { batch } else { SAMPLES as f64 };
        let one = threads::with_num_threads(1, || median(&request, &x, &y).map_err(|e| e.to_string()))?;
        let all = threads::with_num_threads(cores, || median(&request, &x, &y).map_err(|e| e.to_string()))?;
        println!("{name:<20} {:>14.0} {:>14.0} {:>7.2}", samples / one, samples / all, one / all);
    }
    Ok(())
}
