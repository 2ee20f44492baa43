//! The page about a training run: what stands in it, read back as JSON. `tests/html_report.py` looks at the same pages in a
//! browser, for which `CORNU_REPORT` names the folder to keep them in.
#![cfg(feature = "plot")]

use cornu::prelude::*;
use ndarray::{Array1, Array2, ArrayD};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where the pages of a test go.
struct Folder {
    path: PathBuf,
    _temporary: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let path = std::env::var_os("CORNU_REPORT").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
        Folder { path, _temporary: temporary }
    }

    fn page(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.html"))
    }

    /// Writes what the page must show, for the browser.
    fn expect(&self, name: &str, history: &History) {
        let all = history.names().map(|name| {
            let (epochs, lists) = (history.epochs_of(name).unwrap(), history.get_lists(name).unwrap());
            let texts: Vec<Vec<String>> =
                lists.iter().map(|list| list.iter().map(|v| format!("{v:?}")).collect()).collect();
            json!([name, epochs, texts])
        });
        std::fs::write(self.path.join(format!("{name}.json")), all.collect::<Value>().to_string()).unwrap();
    }
}

/// The JSON inside a page.
fn data(page: &Path) -> Value {
    let page = std::fs::read_to_string(page).unwrap();
    assert!(!page.contains("http://") || page.matches("http://").count() == page.matches("http://www.w3.org/").count());
    assert!(!page.contains("https://"), "nothing is loaded from elsewhere");
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let (data, rest) = rest.split_once("</script>").unwrap();
    assert!(!data.contains('<'));
    // The only other script is the page's own.
    assert_eq!(rest.matches("<script>").count(), 1);
    serde_json::from_str(data).unwrap()
}

fn number(value: &Value) -> f64 {
    match value {
        Value::Null => f64::NAN,
        Value::String(text) => text.parse().unwrap(),
        number => number.as_f64().unwrap(),
    }
}

/// Names and values as in the history, with all digits.
fn check_history(data: &Value, history: &History) {
    let mut shown = data["history"].as_array().unwrap().iter();
    for name in history.names() {
        let lists = history.get_lists(name).unwrap();
        for i in 0..lists[0].len() {
            let series = shown.next().unwrap();
            let label = if lists[0].len() == 1 { name.to_owned() } else { format!("{name}[{i}]") };
            assert_eq!(series[0], label);
            assert_eq!(series[1]["epochs"], json!(history.epochs_of(name).unwrap()));
            let values: Vec<u64> =
                series[1]["values"].as_array().unwrap().iter().map(|v| number(v).to_bits()).collect();
            // All NaN look alike.
            let plain = |v: f64| if v.is_nan() { f64::NAN } else { v };
            assert_eq!(values, lists.iter().map(|list| plain(list[i]).to_bits()).collect::<Vec<_>>(), "{label}");
        }
    }
    assert!(shown.next().is_none());
    assert_eq!(data["epochs"]["done"], json!(history.epochs()));
    assert_eq!(data["seconds"].as_array().unwrap().len(), history.epochs().len());
    assert_eq!(data["rates"].as_array().unwrap().len(), history.epochs().len());
}

fn largest(row: ndarray::ArrayView1<f32>) -> usize {
    (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}

const HOSTILE: &str = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)> \"'&";

/// Reads the page after each epoch, as a browser may at any time.
struct Reader(PathBuf, Vec<Value>);

impl Callback for Reader {
    fn on_epoch_begin(&mut self, _: &mut Model, _: usize) -> Result<()> {
        self.1.push(data(&self.0)["status"].clone());
        self.1.push(data(&self.0)["epochs"]["done"].clone());
        Ok(())
    }
}

#[test]
fn classes_of_images() {
    let folder = Folder::new();
    let path = folder.page("digits");
    let digits = datasets::digits();
    let mut model = Sequential::new().with_seed(5).with_name("digits <b>");
    model
        .add(Input::new([8, 8, 1]))
        .add(Conv2D::new(8, 3).activation("relu").name(HOSTILE))
        .add(Flatten::new())
        .add(Dense::new(10).activation("softmax"));
    let metrics: [Box<dyn cornu::metrics::Metric>; 2] = ["accuracy".into(), cornu::metrics::F1Score::new().into()];
    model.compile(Adam::new(0.002), "categorical_crossentropy", metrics).unwrap();
    let y = cornu::data::to_categorical(&digits.y, Some(10)).unwrap();
    let names: Vec<String> = (0..10).map(|i| if i == 3 { HOSTILE.to_owned() } else { format!("digit {i}") }).collect();
    let report = HtmlReport::new(&path).samples(&digits.x, &digits.y).class_names(names.clone()).note("data", HOSTILE);
    let mut reader = Reader(path.clone(), Vec::new());
    let options = Fit::new().epochs(4).validation_split(0.2).validation_freq(2).verbose(0);
    let summary = model.summary().to_string();
    let history = model.fit(&digits.x, &y, options.callback(report).callback(&mut reader)).unwrap();
    folder.expect("digits", &history);
    let seen = json!(["running", [], "running", [0], "running", [0, 1], "running", [0, 1, 2]]);
    assert_eq!(json!(reader.1), seen);

    let data = data(&path);
    check_history(&data, &history);
    assert_eq!((&data["status"], &data["title"]), (&json!("finished"), &json!("digits <b>")));
    assert_eq!(data["summary"], summary);
    assert_eq!(data["better"]["loss"], "min");
    assert_eq!(data["better"]["accuracy"], "max");
    let config = data["config"].to_string();
    for fact in ["[\"optimizer\",\"Adam\"]", "[\"batch size\",\"32\"]", "[\"seed\",\"5\"]", "[\"epochs\",\"4\"]"] {
        assert!(config.contains(fact), "{fact} in {config}");
    }

    // The confusions and mistakes are those of the model as it is now.
    let samples = &data["samples"];
    let predicted = model.predict(&digits.x, Predict::default()).unwrap();
    let mut matrix = vec![vec![0; 10]; 10];
    let mut wrong = Vec::new();
    for (i, (row, &label)) in predicted.rows().into_iter().zip(&digits.y).enumerate() {
        matrix[label as usize][largest(row)] += 1;
        if largest(row) != label as usize {
            wrong.push((f64::from(row[label as usize]), i));
        }
    }
    wrong.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!((&samples["matrix"], &samples["classes"]), (&json!(matrix), &json!(names)));
    assert_eq!((samples["count"].as_u64(), samples["correct"].as_u64()), (Some(1797), Some(1797 - wrong.len() as u64)));
    let mistakes = samples["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), wrong.len().min(24));
    for (mistake, (probability, _)) in mistakes.iter().zip(&wrong) {
        assert!((number(&mistake["of_target"]) - probability).abs() < 1e-6, "{mistake}");
        let i = mistake["index"].as_u64().unwrap() as usize;
        let row = predicted.index_axis(ndarray::Axis(0), i).into_dimensionality().unwrap();
        assert_eq!(mistake["target"].as_f64(), Some(f64::from(digits.y[i])));
        assert_eq!(mistake["predicted"].as_f64(), Some(largest(row) as f64));
        assert!(mistake["image"].as_str().unwrap().starts_with("data:image/png;base64,iVBORw0KGgo"));
    }
    assert!(wrong.len() > 2, "the test needs some mistakes");
}

/// Puts these into the logs.
struct Script(Vec<f64>);

impl Callback for Script {
    fn on_epoch_end(&mut self, _: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        logs.insert("val_loss", self.0[epoch]);
        logs.insert_list("per_class", vec![self.0[epoch], 1.0 / 3.0]);
        Ok(())
    }
}

fn line() -> (Array2<f32>, Array1<f32>, Sequential) {
    let x = Array2::from_shape_fn((300, 3), |(i, j)| ((i * 37 + j * 11) % 101) as f32 / 50.0 - 1.0);
    let y = x.map_axis(ndarray::Axis(1), |row| 2.0 * row[0] - row[1] * row[2] + 0.5);
    let mut model = Sequential::new().with_seed(2).with_name("line");
    model.add(Input::new([3])).add(Dense::new(8).activation("tanh")).add(Dense::new(1));
    model.compile(Adam::new(0.02), "mse", ["mae"]).unwrap();
    (x, y, model)
}

#[test]
fn numbers_and_what_is_none() {
    let folder = Folder::new();
    let path = folder.page("line");
    let (x, y, mut model) = line();
    let report = HtmlReport::new(&path).title("A plane, nearly").samples(&x, &y).mistakes(5);
    let script = Script(vec![0.5, f64::NAN, f64::INFINITY, -f64::INFINITY, 1e-9, 12_345_678.9]);
    let options = Fit::new().epochs(6).verbose(0).callback(script).callback(report);
    let history = model.fit(&x, &y, options).unwrap();
    folder.expect("line", &history);
    // It only watches.
    let (_, _, mut alone) = line();
    alone.fit(&x, &y, Fit::new().epochs(6).verbose(0)).unwrap();
    assert_eq!(model.get_weights(), alone.get_weights());
    let data = data(&path);
    check_history(&data, &history);
    assert_eq!(
        data["history"][2],
        json!(["val_loss", { "epochs": [0, 1, 2, 3, 4, 5], "values": [0.5, "NaN", "Infinity", "-Infinity", 1e-9, 12_345_678.9] }])
    );

    let samples = &data["samples"];
    let predicted = model.predict(&x, Predict::default()).unwrap();
    let errors: Vec<f64> = predicted.iter().zip(&y).map(|(p, y)| (f64::from(*p) - f64::from(*y)).abs()).collect();
    assert!((number(&samples["mae"]) - errors.iter().sum::<f64>() / 300.0).abs() < 1e-6);
    let rmse = (errors.iter().map(|e| e * e).sum::<f64>() / 300.0).sqrt();
    assert!((number(&samples["rmse"]) - rmse).abs() < 1e-6);
    assert_eq!(samples["pairs"].as_array().unwrap().len(), 300);
    let worst = errors.iter().copied().fold(0.0, f64::max);
    let mistakes = samples["mistakes"].as_array().unwrap();
    assert_eq!(mistakes.len(), 5);
    assert!((number(&mistakes[0]["predicted"]) - number(&mistakes[0]["target"])).abs() > worst - 1e-6);
    let index = mistakes[0]["index"].as_u64().unwrap() as usize;
    assert_eq!(mistakes[0]["values"], json!(x.row(index).iter().map(|v| f64::from(*v)).collect::<Vec<_>>()));
    assert_eq!(mistakes[0]["more"], false);
}

#[test]
fn two_classes_from_one_output() {
    let folder = Folder::new();
    let path = folder.page("two");
    let (x, y, _) = line();
    let y = y.mapv(|v| f32::from(u8::from(v > 0.7)));
    let mut model = Sequential::new().with_seed(3).with_name("two");
    model.add(Input::new([3])).add(Dense::new(1));
    let loss = cornu::losses::BinaryCrossentropy::new().from_logits(true);
    model.compile(Adam::new(0.05), loss, ()).unwrap();
    let report = HtmlReport::new(&path).samples(&x, &y).class_names(["low", "high"]);
    let history = model.fit(&x, &y, Fit::new().epochs(2).verbose(0).callback(report)).unwrap();
    folder.expect("two", &history);
    let samples = &data(&path)["samples"];
    let predicted: ArrayD<f32> = model.predict(&x, Predict::default()).unwrap();
    let mut matrix = [[0; 2]; 2];
    predicted.iter().zip(&y).for_each(|(p, y)| matrix[*y as usize][usize::from(*p > 0.0)] += 1);
    assert_eq!(samples["matrix"], json!(matrix));
    for mistake in samples["mistakes"].as_array().unwrap() {
        let z = f64::from(predicted.as_slice().unwrap()[mistake["index"].as_u64().unwrap() as usize]);
        let p = 1.0 / (1.0 + (-z).exp());
        let of_predicted = if mistake["predicted"] == 1.0 { p } else { 1.0 - p };
        assert!((number(&mistake["of_predicted"]) - of_predicted).abs() < 1e-6 && of_predicted >= 0.5);
    }
}

#[test]
fn a_training_that_goes_on_and_one_that_fails() {
    let folder = Folder::new();
    let path = folder.page("on");
    let (x, y, mut model) = line();
    let mut report = HtmlReport::new(&path);
    let mut fit = |from: usize, to: usize| {
        model.fit(&x, &y, Fit::new().initial_epoch(from).epochs(to).verbose(0).callback(&mut report)).unwrap();
        data(&path)["epochs"]["done"].clone()
    };
    assert_eq!(fit(0, 2), json!([0, 1]));
    assert_eq!(fit(2, 5), json!([0, 1, 2, 3, 4]));
    assert_eq!(fit(0, 1), json!([0]));
    assert_eq!(data(&path)["samples"], Value::Null);

    struct Fails;
    impl Callback for Fails {
        fn on_epoch_end(&mut self, _: &mut Model, epoch: usize, _: &mut Logs) -> Result<()> {
            if epoch == 1 { Err(Error::Data("no more".to_owned())) } else { Ok(()) }
        }
    }
    let failed = HtmlReport::new(&path);
    model.fit(&x, &y, Fit::new().epochs(3).verbose(0).callback(failed).callback(Fails)).unwrap_err();
    assert_eq!((&data(&path)["status"], &data(&path)["epochs"]["done"]), (&json!("interrupted"), &json!([0, 1])));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn what_cannot_be_shown_is_said_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let digits = datasets::digits();
    let model = |outputs: usize, loss: &str| {
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([8, 8, 1])).add(Flatten::new()).add(Dense::new(outputs));
        model.compile("sgd", loss, ()).unwrap();
        model
    };
    let error = |mut model: Sequential, y: &Array2<f32>, report: HtmlReport<'_>| {
        let error = model.fit(&digits.x, y, Fit::new().verbose(0).callback(report)).unwrap_err().to_string();
        assert_eq!(model.iterations().unwrap(), 0, "{error}");
        assert!(error.contains("HtmlReport"), "{error}");
        error
    };
    let y = Array2::from_elem((1797, 3), 0.5);
    let text = error(model(3, "mse"), &y, HtmlReport::new(&path).samples(&digits.x, &y));
    assert!(text.contains("one-hot"), "{text}");
    let one = Array2::ones((1797, 1));
    let report = HtmlReport::new(&path).samples(&digits.x, &one).class_names(["a", "b", "c"]);
    let text = error(model(1, "binary_crossentropy"), &one, report);
    assert!(text.contains("3 names for 2 classes"), "{text}");
    // Samples that do not fit, though the training's data do.
    let labels = Array2::zeros((1797, 1));
    let sparse = || model(3, "sparse_categorical_crossentropy");
    let text = error(sparse(), &labels, HtmlReport::new(&path).samples(&digits.x, &digits.y));
    assert!(text.contains("with 3 classes labels are whole numbers from 0 to 2"), "{text}");
    let wide = cornu::data::to_categorical(&digits.y, Some(10)).unwrap();
    let text = error(sparse(), &labels, HtmlReport::new(&path).samples(&digits.x, &wide));
    assert!(text.contains("a target has 10 values, and the output 3"), "{text}");
    let (small, few) = (ndarray::Array4::<f32>::zeros((4, 7, 8, 1)), Array1::<f32>::zeros(4));
    let text = error(sparse(), &labels, HtmlReport::new(&path).samples(&small, &few));
    assert!(text.contains("7, 8, 1"), "{text}");
    let text = error(model(3000, "sparse_categorical_crossentropy"), &labels, {
        HtmlReport::new(&path).samples(&digits.x, &digits.y)
    });
    assert!(text.contains("3000 classes") && text.contains("2000 at most"), "{text}");
    let mut stateful = Sequential::new();
    stateful.add(Input::new([4, 2])).add(LSTM::new(1).stateful(true));
    stateful.compile("sgd", "mse", ()).unwrap();
    let (x, few) = (ndarray::Array3::<f32>::zeros((8, 4, 2)), Array2::<f32>::zeros((8, 1)));
    let report = HtmlReport::new(&path).samples(&x, &few);
    let error = stateful.fit(&x, &few, Fit::new().batch_size(4).verbose(0).callback(report)).unwrap_err().to_string();
    assert!(error.contains("stateful"), "{error}");
    let report = HtmlReport::new(folder.path().join("a/b/report.html"));
    model(1, "mse").fit(&digits.x, &one, Fit::new().verbose(0).callback(report)).unwrap();
    assert!(folder.path().join("a/b/report.html").is_file(), "folders are made");
}

/// Values that differ by rounding alone: the browser must come to an end with them.
#[test]
fn a_constant_give_or_take_rounding() {
    let folder = Folder::new();
    let path = folder.page("constant");
    let (x, y, mut model) = line();
    let script = Script(vec![0.3, 0.1 + 0.2, 0.3]);
    let fit = Fit::new().epochs(3).verbose(0).callback(script).callback(HtmlReport::new(&path));
    let history = model.fit(&x, &y, fit).unwrap();
    assert_ne!(history["val_loss"][0], history["val_loss"][1]);
    check_history(&data(&path), &history);
    folder.expect("constant", &history);
}

/// Of a dataset only the first batch is seen before training; a later one that does not fit is an error as well.
#[test]
fn targets_of_a_later_batch_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let batch = |width: usize| {
        let y = Array2::from_shape_fn((2, width), |(_, i)| if i == 0 { 1.0_f32 } else { 0.0 });
        cornu::data::Item::from((Array2::<f32>::zeros((2, 4)), y))
    };
    let samples = [batch(3), batch(7)].into_iter().collect::<cornu::data::Dataset>().assume_batched();
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([4])).add(Dense::new(3).activation("softmax"));
    model.compile("sgd", "sparse_categorical_crossentropy", ()).unwrap();
    let (x, y) = (Array2::<f32>::zeros((4, 4)), Array1::<f32>::zeros(4));
    let report = HtmlReport::new(&path).samples(&samples, ());
    let error = model.fit(&x, &y, Fit::new().verbose(0).callback(report)).unwrap_err().to_string();
    assert!(error.contains("a target at sample 2 has 7 values, one of the first batch 3"), "{error}");
}

/// Training that others stop has not done all of its epochs.
#[test]
fn a_training_that_ends_early() {
    let folder = Folder::new();
    let path = folder.page("early");
    let (x, y, mut model) = line();
    let stop = LambdaCallback::new().on_epoch_end(|model, epoch, _| {
        if epoch == 1 {
            model.stop_training();
        }
        Ok(())
    });
    let fit = Fit::new().epochs(5).verbose(0).callback(HtmlReport::new(&path)).callback(stop);
    let history = model.fit(&x, &y, fit).unwrap();
    let page = data(&path);
    assert_eq!((&page["status"], &page["epochs"]["done"]), (&json!("early"), &json!([0, 1])));
    folder.expect("early", &history);
}

/// Training whose process ended goes on in the same page.
#[test]
fn a_page_of_training_that_was_taken_up_again() {
    let folder = Folder::new();
    let path = folder.page("resumed");
    let (x, y) = datasets::wine::load();
    let train = |die: bool| {
        let mut model = Sequential::new().with_seed(3);
        model.add(Input::new([13])).add(BatchNormalization::new()).add(Dense::new(3).activation("softmax"));
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
        let killed = LambdaCallback::new().on_epoch_begin(move |_, epoch| match epoch {
            3 if die => Err(Error::State("killed".to_owned())),
            _ => Ok(()),
        });
        let fit = Fit::new().epochs(5).validation_split(0.2).verbose(0).callback(HtmlReport::new(&path));
        let mut reader = Reader(path.clone(), Vec::new());
        let fit = fit.callback(BackupAndRestore::new(folder.path.join("backup"))).callback(killed);
        let history = model.fit(&x, &y, fit.callback(&mut reader));
        (history, reader.1)
    };
    assert!(train(true).0.is_err());
    let page = data(&path);
    assert_eq!((&page["status"], &page["epochs"]["done"]), (&json!("interrupted"), &json!([0, 1, 2])));
    let (history, seen) = train(false);
    let history = history.unwrap();
    // What was known is on the page before the next epoch is over.
    assert_eq!(seen[..2], [json!("running"), json!([0, 1, 2])]);
    let resumed = data(&path);
    check_history(&resumed, &history);
    assert_eq!(resumed["status"], "finished");
    assert_eq!(resumed["began"], page["began"]);
    assert!(resumed["elapsed"].as_f64() > page["elapsed"].as_f64());
    folder.expect("resumed", &history);
}
