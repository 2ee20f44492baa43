use crate::{args, arrays, print};
use cornu::training::{Evaluate, Inputs};
use cornu::{Error, Model, Result};
use ndarray::ArrayD;
use serde_json::{Map, Value};

/// `cornu evaluate`: loss and metrics, under the names of Keras' `return_dict=True`.
pub fn run(args: &args::Evaluate) -> Result<()> {
    let mut model = Model::load(&args.model)?;
    if model.get_compile_config()?.is_none() {
        return Err(Error::State(format!(
            "file '{}': the model was saved without compile settings, so it has no loss to evaluate; \
             cornu fit can give it one (--loss)",
            args.model.display()
        )));
    }
    let data = Data::read(&model, &args.data)?;
    let mut options = Evaluate::new().batch_size(args.batch_size);
    if let Some(weights) = data.weights() {
        options = options.sample_weight(weights);
    }
    let scores = model.evaluate(arrays::inputs(&data.x), arrays::inputs(&data.y), options)?;
    if args.json {
        let value = |values: &[f64]| match values {
            [one] => Value::from(*one),
            list => list.into(),
        };
        let scores: Map<String, Value> =
            scores.logs().iter().map(|(name, values)| (name.to_owned(), value(values))).collect();
        return print(Value::Object(scores));
    }
    scores.logs().iter().try_for_each(|(name, values)| {
        let values: Vec<String> = values.iter().map(f64::to_string).collect();
        print(format_args!("{name}: {}", values.join(" ")))
    })
}

/// Samples, targets and weights, in the model's order.
pub struct Data {
    pub x: Vec<ArrayD<f32>>,
    pub y: Vec<ArrayD<f32>>,
    weights: Vec<ArrayD<f32>>,
}

impl Data {
    pub fn read(model: &Model, args: &args::Data) -> Result<Data> {
        let outputs = model.output_names();
        Ok(Data {
            x: arrays::read("--input", "input", &args.input, &model.input_names())?,
            y: arrays::read("--target", "output", &args.target, &outputs)?,
            weights: match args.sample_weight.as_slice() {
                [] => Vec::new(),
                files => arrays::read("--sample-weight", "output", files, &outputs)?,
            },
        })
    }

    /// The weights of samples, if they were given.
    pub fn weights(&self) -> Option<Inputs<'_>> {
        (!self.weights.is_empty()).then(|| arrays::inputs(&self.weights))
    }
}
