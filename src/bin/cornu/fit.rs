use crate::evaluate::Data;
use crate::{args, arrays};
use cornu::training::Fit;
use cornu::training::callbacks::{BackupAndRestore, StopOnInterrupt};
use cornu::{Error, Model, Registry, Result};
use serde_json::{Value, json};
use std::path::Path;

/// `cornu fit`: trains on from where the file stands, unless it is told to compile anew.
pub fn run(args: &args::Fit) -> Result<()> {
    // Told before hours of training, not after.
    [&args.history, &args.save, &args.backup].into_iter().flatten().try_for_each(|path| check_folder(path))?;
    let mut model = Model::load(&args.model)?;
    compile(&mut model, args)?;
    if let Some(seed) = args.seed {
        model.set_seed(seed);
    }
    let data = Data::read(&model, &args.data)?;
    let verbose: u8 = args.verbose.parse().unwrap_or(1);
    // It stays until the model is in its file.
    let mut backup = args.backup.as_ref().map(|folder| BackupAndRestore::new(folder).delete_checkpoint(false));
    let mut options = Fit::new()
        .epochs(args.epochs)
        .batch_size(args.batch_size)
        .shuffle(!args.no_shuffle)
        .validation_split(args.validation_split)
        .verbose(verbose)
        .callback(StopOnInterrupt::new());
    if let Some(backup) = &mut backup {
        options = options.callback(backup);
    }
    if let Some(weights) = data.weights() {
        options = options.sample_weight(weights);
    }
    if let Some(weights) = &args.class_weight {
        options = options.class_weight(weights.iter().copied());
    }
    let history = model.fit(arrays::inputs(&data.x), arrays::inputs(&data.y), options)?;
    if let Some(path) = &args.save {
        model.save(path)?;
    }
    if let Some(path) = &args.history {
        std::fs::write(path, history.to_json().to_string())
            .map_err(|source| Error::Io { path: path.clone(), source })?;
    }
    if model.is_interrupted() {
        end_interrupted(args, history.epochs().len());
    }
    backup.map_or(Ok(()), |backup| backup.remove())
}

/// Says where what was trained until Ctrl-C is, and ends the process as one that was interrupted.
fn end_interrupted(args: &args::Fit, epochs: usize) -> ! {
    let saved = match (&args.save, &args.backup) {
        (Some(path), Some(folder)) => {
            format!("the model is in {}, and the same command goes on from {}", path.display(), folder.display())
        }
        (Some(path), None) => format!("the model is in {}", path.display()),
        (None, Some(folder)) => format!("the same command goes on from {}", folder.display()),
        (None, None) => "nothing was saved, since neither --save nor --backup says where".to_owned(),
    };
    eprintln!("cornu: interrupted after {epochs} epochs; {saved}");
    std::process::exit(130)
}

/// Replaces what was named of the file's compile settings. As in Keras, that starts the optimizer afresh.
fn compile(model: &mut Model, args: &args::Fit) -> Result<()> {
    let saved = model.get_compile_config()?;
    if args.loss.is_empty() && args.optimizer.is_none() && args.metric.is_empty() {
        return match saved {
            Some(_) => Ok(()),
            None => Err(Error::State(format!(
                "file '{}': the model was saved without compile settings; name a loss with --loss",
                args.model.display()
            ))),
        };
    }
    if saved.is_none() && args.loss.is_empty() {
        return Err(Error::State("the model was saved without a loss; name one with --loss".to_owned()));
    }
    // Keras' default, where the file has none either.
    let mut settings = saved.unwrap_or_else(|| [("optimizer".to_owned(), json!("rmsprop"))].into_iter().collect());
    let mut set = |key: &str, value: Value| settings.insert(key.to_owned(), value);
    match args.loss.as_slice() {
        [] => None,
        [one] => set("loss", json!(one)),
        several => set("loss", json!(several)),
    };
    if let Some(optimizer) = &args.optimizer {
        set("optimizer", json!(optimizer));
    }
    if !args.metric.is_empty() {
        set("metrics", json!(args.metric));
        set("weighted_metrics", Value::Null);
    }
    model.compile_from_config(settings, &Registry::new())
}

fn check_folder(path: &Path) -> Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(Error::Argument(format!("there is no folder '{}' for '{}'", folder.display(), path.display())))
        }
        _ => Ok(()),
    }
}
