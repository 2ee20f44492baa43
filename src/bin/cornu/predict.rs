use crate::{args, arrays};
use cornu::data::npy;
use cornu::formats::Load;
use cornu::training::Predict;
use cornu::{Model, Result};

/// `cornu predict`: outputs for inputs. The model need not be compiled.
pub fn run(args: &args::Predict) -> Result<()> {
    let model = Model::load_with(&args.model, Load::new().compile(false))?;
    let paths: Vec<String> = args.output.iter().map(|path| path.display().to_string()).collect();
    arrays::check_count("--output", "output", paths.iter().map(String::as_str), &model.output_names())?;
    let x = arrays::read("--input", "input", &args.input, &model.input_names())?;
    let predictions = model.predict_all(arrays::inputs(&x), Predict::new().batch_size(args.batch_size))?;
    args.output.iter().zip(&predictions).try_for_each(|(path, array)| npy::write(path, array))
}
