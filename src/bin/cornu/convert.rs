use crate::args;
use cornu::{Error, Model, Result};

/// `cornu convert`: a model, or its weights, in the format that the extension names.
pub fn run(args: &args::Convert) -> Result<()> {
    let name = args.to.to_string_lossy().to_lowercase();
    let weights = name.ends_with(".weights.h5") || name.ends_with(".safetensors");
    if !weights && name.ends_with(".h5") {
        return Err(Error::Argument(format!(
            "'{}': whole models are written as .keras or .cornu, and weights alone as .weights.h5",
            args.to.display()
        )));
    }
    let model = match &args.model {
        Some(path) => {
            let mut model = Model::load(path)?;
            model.load_weights(&args.from)?;
            model
        }
        None => Model::load(&args.from).map_err(|error| match error.root() {
            Error::Format(text) if text.contains("weights alone") => Error::Argument(format!(
                "file '{}' holds weights alone; name the model that they belong to with --model",
                args.from.display()
            )),
            _ => error,
        })?,
    };
    if weights { model.save_weights(&args.to) } else { model.save(&args.to) }
}
