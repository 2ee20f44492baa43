//! Burn on its `flex` backend.
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d, Relu};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig, momentum::MomentumConfig};
use burn::prelude::*;
use burn::tensor::activation::softmax;
use burn::tensor::module::conv2d;
use burn::tensor::{Distribution, TensorData, ops::ConvOptions};
use cornu_peers::{Data, Failure, PIXELS, SAMPLES, WARM, numbers, often, once, serve};

#[derive(Module, Debug)]
struct Net {
    convolutions: Vec<Conv2d>,
    pool: MaxPool2d,
    dropout: Option<Dropout>,
    dense: Vec<Linear>,
    relu: Relu,
}

impl Net {
    fn new(kind: &str, device: &Device) -> Option<Self> {
        let conv = |from, to, size, padding| {
            let padding = if padding == 0 {
                PaddingConfig2d::Valid
            } else {
                PaddingConfig2d::Explicit(padding, padding, padding, padding)
            };
            Conv2dConfig::new([from, to], [size, size]).with_padding(padding).init(device)
        };
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let (convolutions, dense) = match kind {
            "mlp" => (vec![], vec![linear(784, 128), linear(128, 10)]),
            "lenet5" => {
                (vec![conv(1, 6, 5, 2), conv(6, 16, 5, 0)], vec![linear(400, 120), linear(120, 84), linear(84, 10)])
            }
            "convnet" => (vec![conv(1, 32, 3, 0), conv(32, 64, 3, 0)], vec![linear(1600, 10)]),
            _ => return None,
        };
        Some(Net {
            convolutions,
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            dropout: (kind == "convnet").then(|| DropoutConfig::new(0.5).init()),
            dense,
            relu: Relu::new(),
        })
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        for layer in &self.convolutions {
            x = self.pool.forward(self.relu.forward(layer.forward(x)));
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        if let Some(dropout) = &self.dropout {
            x = dropout.forward(x);
        }
        for (i, layer) in self.dense.iter().enumerate() {
            x = layer.forward(x);
            if i + 1 < self.dense.len() {
                x = self.relu.forward(x);
            }
        }
        x
    }
}

fn images(x: Vec<f32>, device: &Device) -> Tensor<4> {
    let n = x.len() / PIXELS;
    Tensor::from_data(TensorData::new(x, [n, 1, 28, 28]), device)
}

/// Trains an epoch with one of the two optimizers, whose types differ.
macro_rules! train {
    ($kind:expr, $batch:expr, $data:expr, $device:expr, $rate:expr, $optimizer:expr) => {{
        let Some(net) = Net::new($kind, $device) else { return Ok(None) };
        let (mut net, mut optimizer, mut total) = (Some(net), $optimizer, 0.0);
        let loss = CrossEntropyLossConfig::new().init($device);
        let mut epoch = |samples: usize| -> Result<(), Failure> {
            $data.batches(&mut (0..samples).collect::<Vec<_>>(), $batch, |x, y| {
                let model = net.take().ok_or("no model")?;
                let y: Vec<i64> = y.into_iter().map(i64::from).collect();
                let n = y.len();
                let y = Tensor::<1, Int>::from_data(TensorData::new(y, [n]), $device);
                let loss = loss.forward(model.forward(images(x, $device)), y);
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                net = Some(optimizer.step($rate, model, gradients));
                total += loss.into_scalar::<f32>();
                Ok(())
            })
        };
        epoch(WARM)?;
        once(|| epoch(SAMPLES))?
    }};
}

fn predict(kind: &str, batch: usize, data: &Data, device: &Device) -> Result<Option<f64>, Failure> {
    let Some(net) = Net::new(kind, device) else { return Ok(None) };
    let run = |start: usize| -> Result<(), Failure> {
        let x = data.x[start * PIXELS..(start + batch) * PIXELS].to_vec();
        softmax(net.forward(images(x, device)), 1).into_data();
        Ok(())
    };
    Ok(Some(if batch == 1 {
        often(|| run(0))?
    } else {
        run(0)?;
        once(|| (0..SAMPLES).step_by(batch).try_for_each(run))?
    }))
}

fn convolution(sizes: &[usize], backward: bool, device: &Device) -> Result<Option<f64>, Failure> {
    let &[n, h, w, from, to, size, stride, padding, groups] = sizes else { return Ok(None) };
    let random = |shape, deviation| Tensor::<4>::random(shape, Distribution::Normal(0.0, deviation), device);
    let (x, kernel) = (random([n, from, h, w], 1.0), random([to, from / groups, size, size], 0.05));
    let bias = Tensor::<1>::zeros([to], device);
    let run = |x: Tensor<4>, kernel: Tensor<4>, bias: Tensor<1>| {
        conv2d(x, kernel, Some(bias), ConvOptions::new([stride, stride], [padding, padding], [1, 1], groups))
    };
    // Work may be put off until a value is read: one is.
    let read = |x: Tensor<4>| drop(x.slice([0..1, 0..1, 0..1, 0..1]).into_data());
    let seconds = if backward {
        let (x, kernel, bias) = (x.require_grad(), kernel.require_grad(), bias.require_grad());
        often(|| {
            let gradients = run(x.clone(), kernel.clone(), bias.clone()).sum().backward();
            read(kernel.grad(&gradients).ok_or("no gradient")?);
            read(x.grad(&gradients).ok_or("no gradient")?);
            Ok::<(), Failure>(())
        })?
    } else {
        often(|| {
            read(run(x.clone(), kernel.clone(), bias.clone()));
            Ok::<(), Failure>(())
        })?
    };
    Ok(Some(seconds))
}

fn main() -> Result<(), Failure> {
    let data = Data::read()?;
    let device = Device::flex();
    let learning = device.clone().autodiff();
    serve("burn 0.22.0 (flex)", Data::bytes(1), |request| {
        Ok(match request {
            ["train", "lenet5", batch] => {
                let momentum = MomentumConfig { momentum: 0.9, dampening: 0.0, nesterov: false };
                let optimizer = SgdConfig::new().with_momentum(Some(momentum)).init();
                Some(train!("lenet5", batch.parse()?, data, &learning, 0.01, optimizer))
            }
            ["train", kind, batch] => {
                Some(train!(kind, batch.parse()?, data, &learning, 1e-3, AdamConfig::new().init()))
            }
            ["predict", kind, batch] => predict(kind, batch.parse()?, &data, &device)?,
            ["conv_forward", sizes @ ..] => convolution(&numbers(sizes)?, false, &device)?,
            ["conv_step", sizes @ ..] => convolution(&numbers(sizes)?, true, &learning)?,
            _ => None,
        })
    })
}
