//! Candle, with AdamW without decay for Adam, and momentum written out (its own SGD has none).
use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, VarBuilder, VarMap, conv2d, linear, loss, ops};
use cornu_peers::{Data, Failure, PIXELS, SAMPLES, WARM, numbers, often, once, serve};

struct Net {
    convolutions: Vec<Conv2d>,
    dense: Vec<Linear>,
    dropout: bool,
}

impl Net {
    fn new(kind: &str, weights: VarBuilder) -> Result<Option<Self>> {
        let conv = |name, from, to, size, padding| {
            conv2d(from, to, size, Conv2dConfig { padding, ..Default::default() }, weights.pp(name))
        };
        let dense = |name, from, to| linear(from, to, weights.pp(name));
        Ok(Some(match kind {
            "mlp" => {
                Net { convolutions: vec![], dense: vec![dense("a", 784, 128)?, dense("b", 128, 10)?], dropout: false }
            }
            "lenet5" => Net {
                convolutions: vec![conv("a", 1, 6, 5, 2)?, conv("b", 6, 16, 5, 0)?],
                dense: vec![dense("c", 400, 120)?, dense("d", 120, 84)?, dense("e", 84, 10)?],
                dropout: false,
            },
            "convnet" => Net {
                convolutions: vec![conv("a", 1, 32, 3, 0)?, conv("b", 32, 64, 3, 0)?],
                dense: vec![dense("c", 1600, 10)?],
                dropout: true,
            },
            _ => return Ok(None),
        }))
    }

    fn forward(&self, x: &Tensor, training: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for layer in &self.convolutions {
            x = layer.forward(&x)?.relu()?;
            // The derivative of its max-pooling wants windows that fill the image.
            let side = x.dim(2)? / 2 * 2;
            x = x.narrow(2, 0, side)?.narrow(3, 0, side)?.max_pool2d(2)?;
        }
        x = x.flatten_from(1)?;
        if self.dropout && training {
            x = ops::dropout(&x, 0.5)?;
        }
        for (i, layer) in self.dense.iter().enumerate() {
            x = layer.forward(&x)?;
            if i + 1 < self.dense.len() {
                x = x.relu()?;
            }
        }
        Ok(x)
    }
}

enum Optimize {
    Adam(AdamW),
    Momentum(Vec<(Var, Tensor)>),
}

impl Optimize {
    fn new(kind: &str, weights: Vec<Var>) -> Result<Self> {
        if kind == "lenet5" {
            let zeros = |var: Var| Ok((var.clone(), var.zeros_like()?));
            return Ok(Self::Momentum(weights.into_iter().map(zeros).collect::<Result<_>>()?));
        }
        let options = ParamsAdamW { lr: 1e-3, weight_decay: 0.0, ..Default::default() };
        Ok(Self::Adam(AdamW::new(weights, options)?))
    }

    fn step(&mut self, loss: &Tensor) -> Result<()> {
        match self {
            Self::Adam(adam) => adam.backward_step(loss),
            Self::Momentum(weights) => {
                let gradients = loss.backward()?;
                for (var, momentum) in weights {
                    if let Some(gradient) = gradients.get(var) {
                        *momentum = ((&*momentum * 0.9)? + gradient)?.detach();
                        var.set(&(var.as_tensor() - (&*momentum * 0.01)?)?)?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn train(kind: &str, batch: usize, data: &Data) -> Result<Option<f64>> {
    let weights = VarMap::new();
    let Some(net) = Net::new(kind, VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu))? else {
        return Ok(None);
    };
    let mut optimizer = Optimize::new(kind, weights.all_vars())?;
    let mut total = 0.0;
    let mut epoch = |samples: usize| {
        data.batches(&mut (0..samples).collect::<Vec<_>>(), batch, |x, y| {
            let n = y.len();
            let x = Tensor::from_vec(x, (n, 1, 28, 28), &Device::Cpu)?;
            let y = Tensor::from_vec(y.into_iter().map(u32::from).collect(), n, &Device::Cpu)?;
            let loss = loss::cross_entropy(&net.forward(&x, true)?, &y)?;
            optimizer.step(&loss)?;
            total += loss.to_scalar::<f32>()?;
            Ok(())
        })
    };
    epoch(WARM)?;
    once(|| epoch(SAMPLES)).map(Some)
}

fn predict(kind: &str, batch: usize, data: &Data) -> Result<Option<f64>> {
    let weights = VarMap::new();
    if Net::new(kind, VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu))?.is_none() {
        return Ok(None);
    }
    // Plain tensors in place of variables, so that nothing is recorded for a backward pass.
    let plain = weights
        .data()
        .lock()
        .expect("no other thread")
        .iter()
        .map(|(k, v)| (k.clone(), v.as_detached_tensor()))
        .collect();
    let Some(net) = Net::new(kind, VarBuilder::from_tensors(plain, DType::F32, &Device::Cpu))? else {
        return Ok(None);
    };
    let run = |start: usize| -> Result<()> {
        let x = &data.x[start * PIXELS..(start + batch) * PIXELS];
        let x = Tensor::from_slice(x, (batch, 1, 28, 28), &Device::Cpu)?;
        ops::softmax(&net.forward(&x, false)?, 1).map(drop)
    };
    Ok(Some(if batch == 1 {
        often(|| run(0))?
    } else {
        run(0)?;
        once(|| (0..SAMPLES).step_by(batch).try_for_each(run))?
    }))
}

fn convolution(sizes: &[usize], backward: bool) -> Result<Option<f64>> {
    let &[n, h, w, from, to, size, stride, padding, groups] = sizes else { return Ok(None) };
    let random = |deviation: f32, shape| Var::randn(0f32, deviation, shape, &Device::Cpu);
    let x = random(1.0, (n, from, h, w))?;
    let kernel = random(0.05, (to, from / groups, size, size))?;
    let bias = random(0.05, (1, to, 1, 1))?;
    if !backward {
        let (x, kernel, bias) = (x.as_detached_tensor(), kernel.as_detached_tensor(), bias.as_detached_tensor());
        return often(|| x.conv2d(&kernel, padding, stride, 1, groups)?.broadcast_add(&bias).map(drop)).map(Some);
    }
    let step = || x.conv2d(&kernel, padding, stride, 1, groups)?.broadcast_add(&bias)?.sum_all()?.backward().map(drop);
    often(step).map(Some)
}

fn main() -> std::result::Result<(), Failure> {
    let data = Data::read()?;
    serve("candle 0.11.1", Data::bytes(1), |request| {
        Ok(match request {
            ["train", kind, batch] => train(kind, batch.parse()?, &data)?,
            ["predict", kind, batch] => predict(kind, batch.parse()?, &data)?,
            // It has no derivative of grouped convolutions.
            ["conv_step", .., groups] if *groups != "1" => None,
            ["conv_forward", sizes @ ..] => convolution(&numbers(sizes)?, false)?,
            ["conv_step", sizes @ ..] => convolution(&numbers(sizes)?, true)?,
            _ => None,
        })
    })
}
