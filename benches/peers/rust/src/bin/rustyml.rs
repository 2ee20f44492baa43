//! RustyML: its own `fit_with_batches` and `predict`.
use cornu_peers::{Data, Failure, PIXELS, SAMPLES, WARM, often, once, serve};
use ndarray::{ArrayD, Axis, IxDyn, Slice};
use rustyml::prelude::neural_network::*;

fn model(kind: &str, batch: usize) -> Result<Option<Sequential>, Failure> {
    let conv = |filters, size| Conv2D::new(filters, (size, size), (1, 1), Activation::ReLU);
    let dense = |units| Dense::new(units, Activation::ReLU);
    let pool = || MaxPooling2D::new((2, 2));
    let output = Dense::new(10, Activation::Softmax { axis: -1 })?;
    let layers = SequentialBuilder::new();
    let layers = match kind {
        "mlp" => layers.add(Flatten::new()).add(dense(128)?),
        "lenet5" => layers
            .add(conv(6, 5)?.with_padding(PaddingType::Same))
            .add(pool())
            .add(conv(16, 5)?)
            .add(pool())
            .add(Flatten::new())
            .add(dense(120)?)
            .add(dense(84)?),
        "convnet" => layers
            .add(conv(32, 3)?)
            .add(pool())
            .add(conv(64, 3)?)
            .add(pool())
            .add(Flatten::new())
            .add(Dropout::new(0.5)?),
        _ => return Ok(None),
    };
    let mut model = layers.add(output).build(&Shape::known(&[batch, 28, 28, 1]))?;
    let loss = SparseCategoricalCrossEntropy::new(false);
    if kind == "lenet5" {
        model.compile(SGD::new(0.01, 0.9, false, 0.0)?, loss);
    } else {
        model.compile(Adam::new(0.001, 0.9, 0.999, 1e-7, 0.0)?, loss);
    }
    Ok(Some(model))
}

fn main() -> Result<(), Failure> {
    let data = Data::read()?;
    let x = ArrayD::from_shape_vec(IxDyn(&[SAMPLES, 28, 28, 1]), data.x)?;
    let y = ArrayD::from_shape_vec(IxDyn(&[SAMPLES, 1]), data.y.iter().map(|&class| f32::from(class)).collect())?;
    let first = |of: &ArrayD<f32>, n: usize| of.slice_axis(Axis(0), Slice::from(..n)).to_owned();
    assert_eq!(x.len(), SAMPLES * PIXELS);
    serve("RustyML 0.17.0", Data::bytes(4), |request| {
        let [task, kind, batch] = request else { return Ok(None) };
        let batch: usize = batch.parse()?;
        let Some(mut model) = model(kind, batch)? else { return Ok(None) };
        Ok(Some(match *task {
            "train" => {
                model.fit_with_batches(&first(&x, WARM), &first(&y, WARM), 1, batch)?;
                once(|| model.fit_with_batches(&x, &y, 1, batch).map(drop))?
            }
            "predict" if batch == 1 => {
                let image = first(&x, 1);
                often(|| model.predict(&image).map(drop))?
            }
            // It predicts all samples at once: here, as the others, batch by batch.
            "predict" => once(|| -> Result<(), Failure> {
                for start in (0..SAMPLES).step_by(batch) {
                    model.predict(&x.slice_axis(Axis(0), Slice::from(start..start + batch)).to_owned())?;
                }
                Ok(())
            })?,
            _ => return Ok(None),
        }))
    })
}
