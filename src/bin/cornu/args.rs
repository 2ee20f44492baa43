//! What can be typed.

use clap::{Parser, Subcommand, builder::PossibleValuesParser};
use clap_complete::Shell;
use std::path::PathBuf;

/// Asks, trains, converts and measures neural networks: files of Keras (.keras, .h5, .weights.h5) and of
/// cornu (.cornu).
///
/// Arrays are NumPy's: .npy, or .npz with an array for each input, by name or else in order. Several inputs,
/// targets, outputs or sample weights are given by repeating the option, in the model's order.
#[derive(Parser)]
#[command(name = "cornu", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Print the table of layers, shapes and parameters
    Summary(Summary),
    /// Compute a model's outputs and write them as .npy
    Predict(Predict),
    /// Print the loss and the metrics on data
    Evaluate(Evaluate),
    /// Train a model, and save it and its history
    Fit(Box<Fit>),
    /// Write a model, or its weights, in another format, which the extension names
    Convert(Convert),
    /// Measure how fast a model predicts or trains, on random inputs
    Bench(Bench),
    /// Measure time, operations and memory of each layer, on random inputs
    Profile(Profile),
    /// Print what a file holds: its format, configuration, compile settings and weights
    Inspect(Inspect),
    /// Print the script that completes commands in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(clap::Args)]
pub struct Summary {
    /// The model's file
    pub model: PathBuf,
    /// List the layers of models inside, too
    #[arg(long)]
    pub expand_nested: bool,
    /// Say which layers are learned
    #[arg(long)]
    pub show_trainable: bool,
    /// The width of the table, in characters; default: as wide as its contents
    #[arg(long, value_name = "W", default_value_t = 0, hide_default_value = true)]
    pub width: usize,
}

#[derive(clap::Args)]
pub struct Predict {
    /// The model's file
    pub model: PathBuf,
    /// Samples, .npy or .npz; once for each input
    #[arg(long, value_name = "X", required = true)]
    pub input: Vec<PathBuf>,
    /// Where predictions go, .npy; once for each output
    #[arg(long, value_name = "OUT", required = true)]
    pub output: Vec<PathBuf>,
    /// Samples that are computed together
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_1)]
    pub batch_size: usize,
}

#[derive(clap::Args)]
pub struct Evaluate {
    /// The model's file
    pub model: PathBuf,
    #[command(flatten)]
    pub data: Data,
    /// Samples that are computed together
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_1)]
    pub batch_size: usize,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Samples with what is wanted for them.
#[derive(clap::Args)]
pub struct Data {
    /// Samples, .npy or .npz; once for each input
    #[arg(long, value_name = "X", required = true)]
    pub input: Vec<PathBuf>,
    /// What is wanted for them, .npy or .npz; once for each output
    #[arg(long, value_name = "Y", required = true)]
    pub target: Vec<PathBuf>,
    /// How much each sample counts, .npy or .npz; once for each output
    #[arg(long, value_name = "W")]
    pub sample_weight: Vec<PathBuf>,
}

#[derive(clap::Args)]
pub struct Fit {
    /// The model's file
    pub model: PathBuf,
    #[command(flatten)]
    pub data: Data,
    /// How often all samples are seen
    #[arg(long, value_name = "E", default_value_t = 1)]
    pub epochs: usize,
    /// Samples in a step
    #[arg(long, value_name = "B", default_value_t = 32, value_parser = at_least_1)]
    pub batch_size: usize,
    /// Keep the samples in their order
    #[arg(long, conflicts_with = "seed")]
    pub no_shuffle: bool,
    /// What the samples' order and dropout follow; the model's own seed if not given
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// The fraction of the samples, the last ones, that is kept for validation
    #[arg(long, value_name = "V", default_value_t = 0.0, value_parser = fraction)]
    pub validation_split: f64,
    /// How much the samples of each class count: '{"0": 1.0, "1": 2.5}'
    #[arg(long, value_name = "JSON", value_parser = class_weight, conflicts_with = "sample_weight")]
    pub class_weight: Option<ClassWeight>,
    /// Compile anew with this loss; once, or once for each output
    #[arg(long, value_name = "L")]
    pub loss: Vec<String>,
    /// Compile anew with this optimizer
    #[arg(long, value_name = "O")]
    pub optimizer: Option<String>,
    /// Compile anew with these metrics, instead of the file's
    #[arg(long, value_name = "M")]
    pub metric: Vec<String>,
    /// Where the history goes, as JSON: {"loss": [0.9, 0.5], ...}
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Where the trained model goes, .keras or .cornu
    #[arg(long, value_name = "FILE", value_parser = model_to_write)]
    pub save: Option<PathBuf>,
    /// Back up training in this folder after each epoch and at Ctrl-C, and go on from there when typed again
    #[arg(long, value_name = "FOLDER")]
    pub backup: Option<PathBuf>,
    /// 0 prints nothing, 1 a progress bar, 2 a line an epoch
    #[arg(long, value_name = "0|1|2", default_value = "1", value_parser = PossibleValuesParser::new(["0", "1", "2"]), hide_possible_values = true)]
    pub verbose: String,
}

#[derive(clap::Args)]
pub struct Convert {
    /// The file to read: .keras, .h5, .weights.h5, .safetensors or .cornu
    pub from: PathBuf,
    /// The file to write: a model as .keras or .cornu, weights as .weights.h5 or .safetensors
    pub to: PathBuf,
    /// The model that the weights belong to, when FROM holds weights alone
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct Bench {
    /// The model's file
    pub model: PathBuf,
    /// Samples in a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_1)]
    pub batch_size: usize,
    /// Measure training steps instead of prediction
    #[arg(long)]
    pub train: bool,
    /// How many steps are measured
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = at_least_1)]
    pub steps: usize,
    /// The number of threads; default: CORNU_NUM_THREADS, or one per core
    #[arg(long, value_name = "T", value_parser = at_least_1)]
    pub threads: Option<usize>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

#[derive(clap::Args)]
pub struct Profile {
    /// The model's file
    pub model: PathBuf,
    /// Samples in the batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_1)]
    pub batch_size: usize,
    /// The number of threads; default: CORNU_NUM_THREADS, or one per core
    #[arg(long, value_name = "T", value_parser = at_least_1)]
    pub threads: Option<usize>,
}

#[derive(clap::Args)]
pub struct Inspect {
    /// The file: a model or weights
    pub file: PathBuf,
}

/// Pairs of label and weight.
pub type ClassWeight = std::sync::Arc<[(i64, f64)]>;

fn class_weight(text: &str) -> Result<ClassWeight, String> {
    let weights: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON object: {error}"))?;
    let pair = |(class, weight): (&String, &serde_json::Value)| match (class.trim().parse(), weight.as_f64()) {
        (Ok(class), Some(weight)) => Ok((class, weight)),
        _ => Err(format!("\"{class}\": {weight} is no class number with a weight")),
    };
    weights.iter().map(pair).collect()
}

fn at_least_1(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "it must be a whole number of at least 1".to_owned())
}

fn fraction(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|v| (0.0..1.0).contains(v)).ok_or_else(|| "it must be at least 0 and below 1".to_owned())
}

/// Told before hours of training, not after.
fn model_to_write(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().is_some_and(|extension| extension == "keras" || extension == "cornu") {
        true => Ok(path),
        false => Err("a model is saved as .keras or .cornu".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definitions_hold() {
        use clap::CommandFactory;
        super::Args::command().debug_assert();
    }
}
