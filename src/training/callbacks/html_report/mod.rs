//! A page about a training run.

mod samples;

use super::{Callback, Params};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::files::{now, write_whole};
use crate::model::{Model, thousands};
use crate::runtime::threads;
use crate::state::State;
use crate::training::direction::larger_is_better;
use crate::training::{History, Inputs, Logs};
use samples::Samples;
use serde_json::{Value, json};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("page.html");

/// Writes a page about the training, as one HTML file that a browser shows without any network: curves to hover over, all
/// numbers as a table, settings, times and the model's summary; for [`samples`](Self::samples) that it is given also the
/// confusion matrix, precision and recall of each class, and the worst mistakes.
///
/// The file is written when training begins, after each epoch and at the end, each time whole or not at all; an open page
/// loads itself again while training runs, unless somebody is reading in it. It shows what the callbacks before it have put
/// into the logs, so it is best given last. Numbers stand in the page as JSON, with all their digits.
///
/// ```
/// use cornu::prelude::*;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("report.html");
/// let (x, y) = datasets::wine::load();
/// let mut model = Sequential::new().with_seed(1);
/// model.add(Input::new([13])).add(BatchNormalization::new()).add(Dense::new(3).activation("softmax"));
/// model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])?;
///
/// let report = HtmlReport::new(&path)
///     .title("Three kinds of wine")
///     .samples(&x, &y)
///     .class_names(["Barolo", "Grignolino", "Barbera"])
///     .note("data", "178 wines");
/// model.fit(&x, &y, Fit::new().epochs(3).validation_split(0.1).verbose(0).callback(report))?;
/// assert!(std::fs::read_to_string(&path).unwrap().contains("Grignolino"));
/// # Ok::<(), cornu::Error>(())
/// ```
pub struct HtmlReport<'a> {
    path: PathBuf,
    title: Option<String>,
    samples: Option<Samples<'a>>,
    class_names: Vec<String>,
    mistakes: usize,
    notes: Vec<(String, String)>,
    params: Params,
    history: History,
    /// The learning rate at the end of each epoch, and its seconds of training and of validation.
    rates: Vec<f64>,
    seconds: Vec<[f64; 2]>,
    began: (f64, Instant),
    epoch_began: Instant,
    test_began: Option<Instant>,
    validated: f64,
    /// What stands on the page besides the numbers of epochs: settings, summary, samples.
    page: Page,
}

/// What is known of the model when training begins, and of the samples after each epoch.
#[derive(Default)]
struct Page {
    running: bool,
    config: Value,
    summary: String,
    model: String,
    samples: Value,
}

impl<'a> HtmlReport<'a> {
    /// Writes the file at `path`, in place of what is there.
    pub fn new(path: impl AsRef<Path>) -> Self {
        HtmlReport {
            path: path.as_ref().to_owned(),
            title: None,
            samples: None,
            class_names: Vec::new(),
            mistakes: 24,
            notes: Vec::new(),
            params: Params::default(),
            history: History::default(),
            rates: Vec::new(),
            seconds: Vec::new(),
            began: (0.0, Instant::now()),
            epoch_began: Instant::now(),
            test_began: None,
            validated: 0.0,
            page: Page::default(),
        }
    }

    /// The headline. Default: the model's name.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Samples with their targets, mostly those of the validation, that the model is asked for after each epoch: arrays, or
    /// a [`Dataset`](crate::data::Dataset) and `()`. They are for models of one output that gives either a value for each of
    /// several classes, with labels or one-hot rows as targets; or one value, which is a class for targets that are 0 and 1,
    /// and else any number.
    ///
    /// Inputs `(height, width, 1)` or `(height, width, 3)` are shown as images, and of two dimensions squares from 8 x 8 on;
    /// of others the first values.
    pub fn samples(mut self, x: impl Into<Inputs<'a>>, y: impl Into<Inputs<'a>>) -> Self {
        self.samples = Some(Samples::new(x.into(), y.into()));
        self
    }

    /// What the classes are called, in the order of their labels. Default: their numbers.
    pub fn class_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.class_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// How many of the worst mistakes are shown. Default: 24.
    pub fn mistakes(mut self, count: usize) -> Self {
        self.mistakes = count;
        self
    }

    /// Adds a line to the configuration: what cannot be told from the model, as the data or a hyper-parameter.
    pub fn note(mut self, name: impl Into<String>, value: impl Display) -> Self {
        self.notes.push((name.into(), value.to_string()));
        self
    }

    /// The settings, group by group, as names and texts.
    fn config(&self, model: &Model) -> Result<Value> {
        let compiled = model.compiled()?;
        let settings = model.get_compile_config().ok().flatten().unwrap_or_default();
        let fact = |name: &str, value: String| json!([name, value]);
        let trainable: usize = model.trainable_weights().iter().map(|weight| weight.value().len()).sum();

        let mut training = vec![fact("optimizer", compiled.optimizer.class_name().to_owned())];
        if let Some(optimizer) = settings.get("optimizer").and_then(|optimizer| optimizer["config"].as_object()) {
            let averages = optimizer.get("use_ema") == Some(&true.into());
            let told = arguments(optimizer).filter(|(name, _)| averages || *name != "ema_momentum");
            training.extend(told.map(|(name, value)| fact(name, value)));
        }
        let names = |names: Vec<String>| names.join(", ");
        let losses = compiled.terms.iter().filter_map(|term| Some(term.loss.as_ref()?.class_name().to_owned()));
        let loss = settings.get("loss").map_or_else(|| names(losses.collect()), described);
        training.push(fact("loss", loss));
        let metrics = compiled.terms.iter().flat_map(|term| term.metrics.names());
        training.push(fact("metrics", settings.get("metrics").map_or_else(|| names(metrics.collect()), described)));
        training.push(fact("epochs", self.params.epochs.to_string()));
        training.push(fact("batch size", self.params.batch_size.to_string()));
        training
            .push(fact("steps per epoch", self.params.steps.map_or("as the data has".to_owned(), |n| n.to_string())));

        let shapes = |shapes: Vec<crate::Shape>| names(shapes.iter().map(ToString::to_string).collect());
        let described = vec![
            fact("name", model.name().to_owned()),
            fact("class", model.class_name().to_owned()),
            fact("input", shapes(model.input_shapes()?)),
            fact("output", shapes(model.output_shapes()?)),
            fact("layers", model.layers().len().to_string()),
            fact("parameters", thousands(model.count_params())),
            fact("trainable", thousands(trainable)),
            fact("seed", model.seed().to_string()),
        ];
        let machine = vec![
            fact("threads", threads::count().to_string()),
            fact("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
            fact("program", std::env::args().next().unwrap_or_default()),
        ];
        let mut groups = json!([["Training", training], ["Model", described], ["Machine", machine]]);
        if let (false, Some(groups)) = (self.notes.is_empty(), groups.as_array_mut()) {
            groups.insert(0, json!(["Notes", self.notes]));
        }
        Ok(groups)
    }

    /// What the page shows.
    fn data(&self, status: &str) -> Value {
        let mut history = Vec::new();
        for name in self.history.names() {
            let lists = self.history.get_lists(name).unwrap_or_default();
            let epochs = self.history.epochs_of(name);
            let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
            for i in 0..longest {
                let name = if longest == 1 { name.to_owned() } else { format!("{name}[{i}]") };
                let values = lists.iter().map(|list| list.get(i).map_or(Value::Null, |value| number(*value)));
                history.push(json!([name, { "epochs": epochs, "values": values.collect::<Value>() }]));
            }
        }
        let base = |name: &str| name.strip_prefix("val_").unwrap_or(name).to_owned();
        let way = |rises| if rises { "max" } else { "min" };
        let better: Config = self
            .history
            .names()
            .map(base)
            .map(|name| (name.clone(), larger_is_better(&name).map(way).into()))
            .collect();
        let (first, rates) = (self.history.epochs().first(), self.rates.iter().map(|rate| number(*rate)));
        json!({
            "title": self.title.as_ref().unwrap_or(&self.page.model),
            "status": status,
            "began": self.began.0,
            "written": now(),
            "elapsed": self.began.1.elapsed().as_secs_f64(),
            "epochs": { "first": first.copied().unwrap_or(0), "last": self.params.epochs, "done": self.history.epochs() },
            "history": history,
            "better": better,
            "rates": rates.collect::<Value>(),
            "seconds": self.seconds.iter().map(|[train, validation]| json!({ "train": train, "validation": validation })).collect::<Value>(),
            "samples": self.page.samples,
            "config": self.page.config,
            "summary": self.page.summary,
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    fn write(&self, status: &str) -> Result<()> {
        let title = self.title.as_ref().unwrap_or(&self.page.model);
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        }
        write_whole(&self.path, page(title, &self.data(status)).as_bytes())
    }
}

/// The page with these data in it, in which no text can end the element that holds it.
fn page(title: &str, data: &Value) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let data = data.to_string().replace('<', "\\u003c");
    let [head, rest] = PAGE.split_once("{{title}}").map_or([PAGE, ""], |(head, rest)| [head, rest]);
    let [middle, tail] = rest.split_once("{{data}}").map_or([rest, ""], |(middle, tail)| [middle, tail]);
    [head, &title, middle, &data, tail].concat()
}

/// A number; those that JSON lacks as texts, which JavaScript takes for them.
fn number(value: f64) -> Value {
    match value {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        v => v.into(),
    }
}

/// An object of Keras' JSON as a call: `Huber(delta=0.5)`.
fn described(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(described).collect::<Vec<_>>().join(", "),
        Value::Object(object) => {
            let class = object.get("class_name").and_then(Value::as_str);
            let config = if class.is_some() { object.get("config").and_then(Value::as_object) } else { Some(object) };
            let all: Vec<String> =
                config.into_iter().flat_map(arguments).map(|(name, value)| format!("{name}={value}")).collect();
            match (class, all.is_empty()) {
                (Some(class), true) => class.to_owned(),
                (class, _) => format!("{}({})", class.unwrap_or_default(), all.join(", ")),
            }
        }
        other => other.to_string(),
    }
}

/// The arguments that say something.
fn arguments(config: &Config) -> impl Iterator<Item = (&str, String)> {
    let said = |(name, value): &(&String, &Value)| {
        !(["name", "dtype", "fn"].contains(&name.as_str())
            || value.is_null()
            || *value == false
            || *value == "sum_over_batch_size")
    };
    config.iter().filter(said).map(|(name, value)| (name.as_str(), described(value)))
}

impl Callback for HtmlReport<'_> {
    fn set_params(&mut self, params: &Params) -> Result<()> {
        self.params = params.clone();
        Ok(())
    }

    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        if let Some(samples) = &mut self.samples {
            samples.begin(model, &self.class_names)?;
        }
        self.began = (now(), Instant::now());
        // A training that is taken up in the middle of an epoch does not begin it again.
        (self.epoch_began, self.validated) = (Instant::now(), 0.0);
        self.page = Page {
            running: true,
            config: self.config(model)?,
            summary: model.summary().to_string(),
            model: model.name().to_owned(),
            samples: Value::Null,
        };
        self.write("running")
    }

    fn on_epoch_begin(&mut self, _model: &mut Model, epoch: usize) -> Result<()> {
        // A training that goes on where the last one ended continues its curves.
        if self.history.epochs().last().is_some_and(|last| *last >= epoch) {
            (self.history, self.rates, self.seconds) = Default::default();
        }
        (self.epoch_began, self.validated) = (Instant::now(), 0.0);
        Ok(())
    }

    fn on_test_begin(&mut self, _model: &mut Model) -> Result<()> {
        self.test_began = Some(Instant::now());
        Ok(())
    }

    fn on_test_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        self.validated += self.test_began.take().map_or(0.0, |began| began.elapsed().as_secs_f64());
        Ok(())
    }

    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.history.push(epoch, logs);
        self.rates.push(model.learning_rate()?);
        self.seconds.push([self.epoch_began.elapsed().as_secs_f64() - self.validated, self.validated]);
        if let Some(samples) = &self.samples {
            self.page.samples = samples.look(model, epoch, self.mistakes)?;
        }
        self.write("running")
    }

    fn on_train_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        self.page.running = false;
        let early = self.history.epochs().last().is_some_and(|last| last + 1 < self.params.epochs);
        self.write(if early { "early" } else { "finished" })
    }

    fn state(&self) -> Result<Option<State>> {
        let (began, clock) = self.began;
        State::of(&(&self.history, &self.rates, &self.seconds, began, clock.elapsed())).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let elapsed: Duration;
        (self.history, self.rates, self.seconds, self.began.0, elapsed) = state.get()?;
        // Counted on from there, without the time in which nothing ran.
        self.began.1 = Instant::now().checked_sub(elapsed).unwrap_or_else(Instant::now);
        // The page that was written when training began had no epochs yet.
        if self.page.running { self.write("running") } else { Ok(()) }
    }
}

impl Drop for HtmlReport<'_> {
    /// Training that did not come to its end was interrupted.
    fn drop(&mut self) {
        if self.page.running {
            let _ = self.write("interrupted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_element() {
        let hostile = "</script><script>alert(1)</script><!-- {{data}}";
        let page = page(hostile, &json!({ "summary": hostile }));
        assert_eq!(page.matches("</script>").count(), PAGE.matches("</script>").count());
        assert!(page.contains("<title>&lt;/script>&lt;script>alert(1)&lt;/script>&lt;!-- {{data}}</title>"));
        let data = page.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        assert_eq!(serde_json::from_str::<Value>(data).unwrap()["summary"], hostile);
    }

    #[test]
    fn settings_read_like_calls() {
        let schedule = json!({ "class_name": "CosineDecay", "config": { "alpha": 0.0, "decay_steps": 100, "name": "c", "warmup": null } });
        assert_eq!(described(&schedule), "CosineDecay(alpha=0.0, decay_steps=100)");
        let loss = json!({ "class_name": "Huber", "config": { "name": "huber", "reduction": "sum_over_batch_size" } });
        assert_eq!(described(&json!([loss, "accuracy", null])), "Huber, accuracy, none");
    }

    #[test]
    fn numbers_that_json_lacks() {
        assert_eq!(number(0.1), json!(0.1));
        assert_eq!([f64::NAN, f64::INFINITY, -f64::INFINITY].map(number), ["NaN", "Infinity", "-Infinity"]);
    }
}
