//! The program `cornu`, run as a shell would run it.

#![cfg(feature = "cli")]

use cornu::data::npy;
use cornu::prelude::*;
use ndarray::{ArrayD, array};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance")
}

fn cornu(args: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cornu"));
    command.args(args.iter().map(|arg| arg.as_ref())).env("CORNU_NUM_THREADS", "1");
    command.output().unwrap()
}

/// What it prints when it succeeds.
fn run(args: &[&dyn AsRef<OsStr>]) -> Result<String, String> {
    let output = cornu(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(output.stdout)),
        _ => Err(text(output.stderr)),
    }
}

/// The line that it says when it fails as it should: with nothing but that and exit code 1.
fn fails(args: &[&dyn AsRef<OsStr>]) -> String {
    let output = cornu(args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && line.starts_with("cornu: ") && line.lines().count() == 1, "{line}");
    line
}

fn read(path: impl AsRef<Path>) -> ArrayD<f32> {
    npy::read(path).unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The bytes of a `.npy` file of 4 samples of 3 whole numbers, and what a value is there.
fn file_of(descr: &str, fortran: bool, value: impl Fn(i32) -> Vec<u8>) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': (4, 3), }}\n");
    let mut file = [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes()].concat();
    for i in 0..12 {
        let (row, column) = if fortran { (i % 4, i / 4) } else { (i / 3, i % 3) };
        file.extend(value(whole(row, column)));
    }
    file
}

/// 0 or 1, so that bools hold it too.
fn whole(row: i32, column: i32) -> i32 {
    (row * 2 + column * 3) % 5 % 2
}

/// A model of 3 features and 2 outputs, compiled, in a folder of its own.
fn small() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.keras");
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([3]))
        .add(Dense::new(4).activation("tanh").name("hidden"))
        .add(Dense::new(2).activation("softmax").name("probabilities"));
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    model.save(&path).unwrap();
    (folder, path)
}

#[test]
fn arrays_of_every_type_and_order_are_read() {
    let (folder, model) = small();
    let (x, y) = (folder.path().join("x.npy"), folder.path().join("y.npy"));
    let want = {
        let x = ArrayD::from_shape_fn(vec![4, 3], |at| whole(at[0] as i32, at[1] as i32) as f32);
        Model::load(&model).unwrap().predict(&x, Predict::new()).unwrap()
    };
    assert_ne!(want[[0, 0]], want[[2, 0]]);
    let half = |v: i32| if v == 0 { 0u16 } else { 0x3c00 };
    macro_rules! numbers {
        ($($name:literal $convert:expr),*) => { [$(
            (concat!("<", $name), Box::new(move |v: i32| $convert(v).to_le_bytes().to_vec()) as Box<dyn Fn(i32) -> Vec<u8>>),
            (concat!(">", $name), Box::new(move |v: i32| $convert(v).to_be_bytes().to_vec())),
        )*] };
    }
    let types = numbers!(
        "f2" half, "f4" |v| v as f32, "f8" f64::from, "i1" |v| v as i8, "i2" |v| v as i16, "i4" |v: i32| v,
        "i8" i64::from, "u1" |v| v as u8, "u2" |v| v as u16, "u4" |v| v as u32, "u8" |v| v as u64, "b1" |v| v as u8
    );
    for (descr, value) in types {
        for fortran in [false, true] {
            fs::write(&x, file_of(descr, fortran, &value)).unwrap();
            run(&[&"predict", &model, &"--input", &x, &"--output", &y]).unwrap();
            assert_eq!(read(&y), want, "{descr}, fortran {fortran}");
        }
    }
    fs::write(&x, file_of("<c8", false, |_| vec![0; 8])).unwrap();
    assert!(fails(&[&"predict", &model, &"--input", &x, &"--output", &y]).contains("'<c8'"));
}

/// A network of two inputs and two outputs.
fn branches() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("branches.keras");
    let left = Input::new([2]).name("left").node();
    let right = Input::new([3]).name("right").node();
    let a = Dense::new(4).activation("relu").call(&left).unwrap();
    let b = Dense::new(4).activation("relu").call(&right).unwrap();
    let first = Dense::new(1).name("first").call(&a).unwrap();
    let second = Dense::new(2).name("second").call(&b).unwrap();
    let model = Model::new([&left, &right], [&first, &second]).unwrap();
    model.save(&path).unwrap();
    (folder, path)
}

fn npz(path: &Path, arrays: &[(&str, &ArrayD<f32>)]) {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        npy::write(folder.path().join("a.npy"), array).unwrap();
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&fs::read(folder.path().join("a.npy")).unwrap()).unwrap();
    }
    fs::write(path, archive.finish().unwrap().into_inner()).unwrap();
}

#[test]
fn several_inputs_and_outputs() {
    let (folder, model) = branches();
    let at = |name: &str| folder.path().join(name);
    let left = array![[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]].into_dyn();
    let right = array![[1.0, 0.0, 2.0], [3.0, 1.0, -4.0], [0.5, 2.0, 0.25]].into_dyn();
    npy::write(at("left.npy"), &left).unwrap();
    npy::write(at("right.npy"), &right).unwrap();
    let loaded = Model::load(&model).unwrap();
    let want = loaded.predict_all([&left as &dyn cornu::data::Rows, &right], Predict::new()).unwrap();
    let (out0, out1) = (at("out0.npy"), at("out1.npy"));
    let outputs: [&dyn AsRef<OsStr>; 4] = [&"--output", &out0, &"--output", &out1];
    let predict = |inputs: &[&dyn AsRef<OsStr>]| {
        [&out0, &out1].iter().for_each(|path| drop(fs::remove_file(path)));
        run(&[&[&"predict" as &dyn AsRef<OsStr>, &model], inputs, &outputs[..]].concat()).unwrap();
        assert_eq!([read(&out0), read(&out1)], want[..]);
    };
    predict(&[&"--input", &at("left.npy"), &"--input", &at("right.npy")]);
    // By name, in any order and beside others; else in order.
    npz(&at("named.npz"), &[("other", &left), ("right", &right), ("left", &left)]);
    predict(&[&"--input", &at("named.npz")]);
    npz(&at("ordered.npz"), &[("arr_0", &left), ("arr_1", &right)]);
    predict(&[&"--input", &at("ordered.npz")]);
    npz(&at("one.npz"), &[("arr_0", &left)]);
    predict(&[&"--input", &at("one.npz"), &"--input", &at("right.npy")]);

    let line = fails(&[&[&"predict" as &dyn AsRef<OsStr>, &model, &"--input", &at("left.npy")], &outputs[..]].concat());
    assert!(line.contains("the model has 2 inputs (left, right), --input gives 1 ("), "{line}");
    let line = fails(&[&"predict", &model, &"--input", &at("ordered.npz"), &"--output", &out0]);
    assert!(line.contains("the model has 2 outputs (first, second), --output gives 1"), "{line}");
    // Losses in the outputs' order, and a history with the names of the outputs.
    let history = at("history.json");
    let fit: [&dyn AsRef<OsStr>; 10] =
        [&"fit", &model, &"--input", &at("named.npz"), &"--history", &history, &"--verbose", &"0", &"--epochs", &"2"];
    let targets: [&dyn AsRef<OsStr>; 8] =
        [&"--target", &out0, &"--target", &out1, &"--loss", &"mse", &"--loss", &"mae"];
    run(&[&fit[..], &targets].concat()).unwrap();
    let history = json(&history);
    for name in ["loss", "first_loss", "second_loss"] {
        assert_eq!(history[name].as_array().map(Vec::len), Some(2), "{history}");
    }
    let line = fails(&[&fit[..], &targets[..2], &targets[4..]].concat());
    assert!(line.contains("the model has 2 outputs (first, second), --target gives 1"), "{line}");
}

#[test]
fn evaluate_and_fit() {
    let (folder, model) = small();
    let at = |name: &str| folder.path().join(name);
    let x = ArrayD::from_shape_fn(vec![20, 3], |at| ((at[0] * 7 + at[1] * 5) % 11) as f32 / 11.0);
    npy::write(at("x.npy"), &x).unwrap();
    npy::write(at("y.npy"), &ArrayD::from_shape_fn(vec![20], |at| (at[0] % 2) as f32)).unwrap();
    let data: [&dyn AsRef<OsStr>; 4] = [&"--input", &at("x.npy"), &"--target", &at("y.npy")];
    let evaluate = |model: &PathBuf, more: &[&dyn AsRef<OsStr>]| {
        run(&[&[&"evaluate" as &dyn AsRef<OsStr>, model], &data[..], more].concat()).unwrap()
    };
    let before: Value = serde_json::from_str(&evaluate(&model, &[&"--json"])).unwrap();
    assert!(before["loss"].is_f64() && before["accuracy"].is_f64() && before.as_object().unwrap().len() == 2);
    let lines = evaluate(&model, &[]);
    assert!(lines.starts_with(&format!("loss: {}", before["loss"])), "{lines}");
    npy::write(at("w.npy"), &ArrayD::from_elem(vec![20], 2.0)).unwrap();
    let weighted: Value =
        serde_json::from_str(&evaluate(&model, &[&"--json", &"--sample-weight", &at("w.npy")])).unwrap();
    assert!((weighted["loss"].as_f64().unwrap() - 2.0 * before["loss"].as_f64().unwrap()).abs() < 1e-6);

    let (after, history) = (at("after.keras"), at("history.json"));
    let fit = |model: &PathBuf, more: &[&dyn AsRef<OsStr>]| {
        let common: [&dyn AsRef<OsStr>; 6] = [&"fit", model, &"--save", &after, &"--history", &history];
        run(&[&common[..], &data, more].concat())
    };
    let printed = fit(&model, &[&"--epochs", &"3", &"--batch-size", &"5", &"--validation-split", &"0.2"]).unwrap();
    assert!(printed.contains("Epoch 3/3") && printed.contains("val_loss"), "{printed}");
    let kept = json(&history);
    for name in ["loss", "accuracy", "val_loss", "val_accuracy"] {
        assert_eq!(kept[name].as_array().map(Vec::len), Some(3), "{kept}");
    }
    // It goes on where it stood: 3 epochs of 4 steps, then one of 4.
    assert_eq!(Model::load(&after).unwrap().iterations().unwrap(), 12);
    let quiet: [&dyn AsRef<OsStr>; 4] = [&"--verbose", &"0", &"--batch-size", &"5"];
    let again = after.clone();
    assert_eq!(fit(&again, &quiet).unwrap(), "");
    assert_eq!(Model::load(&after).unwrap().iterations().unwrap(), 16);
    // A compile of its own starts afresh, with the rest as in the file.
    fit(&again, &[&quiet[..], &[&"--metric", &"sparse_top_k_categorical_accuracy"]].concat()).unwrap();
    let names = json(&history);
    assert!(names.get("sparse_top_k_categorical_accuracy").is_some() && names.get("accuracy").is_none(), "{names}");
    let trained = Model::load(&after).unwrap();
    assert_eq!(trained.iterations().unwrap(), 4);
    assert_eq!(trained.get_compile_config().unwrap().unwrap()["optimizer"]["class_name"], "Adam");
    fit(&model, &[&quiet[..], &[&"--optimizer", &"sgd"]].concat()).unwrap();
    let config = Model::load(&after).unwrap().get_compile_config().unwrap().unwrap();
    assert_eq!(config["optimizer"]["class_name"], "SGD");
    // A seed decides the order; without shuffling there is none.
    let weights = |more: &[&dyn AsRef<OsStr>]| {
        fit(&model, &[&quiet[..], more].concat()).unwrap();
        Model::load(&after).unwrap().get_weights()
    };
    assert_eq!(weights(&[&"--seed", &"7"]), weights(&[&"--seed", &"7"]));
    assert_ne!(weights(&[&"--seed", &"7"]), weights(&[&"--seed", &"8"]));
    assert_eq!(weights(&[&"--no-shuffle"]), weights(&[&"--no-shuffle"]));
    assert_ne!(weights(&[&"--no-shuffle"]), weights(&[&"--no-shuffle", &"--class-weight", &r#"{"0": 5, "1": 0.5}"#]));

    let error = fit(&model, &[&"--loss", &"sparse_categorical_crosentropy"]).unwrap_err();
    assert!(error.contains("did you mean 'sparse_categorical_crossentropy'"), "{error}");
    let error = fit(&model, &[&"--optimizer", &"adamm"]).unwrap_err();
    assert!(error.contains("did you mean 'adam'"), "{error}");
    let nowhere = at("nowhere/after.keras");
    let error = fails(&[&[&"fit" as &dyn AsRef<OsStr>, &model, &"--save", &nowhere], &data[..]].concat());
    assert!(error.contains("there is no folder"), "{error}");
}

/// Ctrl-C ends training, says where what was trained is, and the same command goes on to the same model.
#[cfg(unix)]
#[test]
fn fit_is_interrupted_and_goes_on() {
    let (folder, model) = small();
    let at = |name: &str| folder.path().join(name);
    let x = ArrayD::from_shape_fn(vec![64, 3], |at| ((at[0] * 7 + at[1] * 5) % 11) as f32 / 11.0);
    npy::write(at("x.npy"), &x).unwrap();
    npy::write(at("y.npy"), &ArrayD::from_shape_fn(vec![64], |at| (at[0] % 2) as f32)).unwrap();
    let command = |save: &str, backup: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cornu"));
        command.args(["fit", "--epochs", "150", "--batch-size", "4", "--verbose", "2", "--seed", "3", "--input"]);
        command.arg(at("x.npy")).arg("--target").arg(at("y.npy")).arg("--save").arg(at(save));
        command.args(backup).arg(&model).env("CORNU_NUM_THREADS", "1").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let backup = at("backup");
    let backup = ["--backup", backup.to_str().unwrap()];
    assert!(command("whole.cornu", &[]).output().unwrap().status.success());
    let mut child = command("part.cornu", &backup).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
    assert!(lines.by_ref().any(|line| line.starts_with("Epoch 5/")));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    lines.for_each(drop);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("part.cornu") && told.contains("goes on from") && told.contains("backup"), "{told}");
    let steps = Model::load(at("part.cornu")).unwrap().iterations().unwrap();
    assert!((64..2_400).contains(&steps), "{steps}");
    assert!(command("part.cornu", &backup).output().unwrap().status.success());
    assert_eq!(fs::read(at("part.cornu")).unwrap(), fs::read(at("whole.cornu")).unwrap());
    assert!(!at("backup").exists());
    // A model that cannot be saved is not lost.
    fs::create_dir(at("folder.cornu")).unwrap();
    assert!(!command("folder.cornu", &backup).output().unwrap().status.success());
    assert!(at("backup/training.backup").exists());
}

#[test]
fn convert_and_inspect() {
    let (folder, model) = small();
    let at = |name: &str| folder.path().join(name);
    let want = Model::load(&model).unwrap();
    let x = array![[0.5, -1.0, 2.0]];
    let same = |path: &PathBuf| {
        let got = Model::load(path).unwrap();
        assert_eq!(got.predict(&x, Predict::new()).unwrap(), want.predict(&x, Predict::new()).unwrap());
        assert_eq!(got.iterations().unwrap(), 0);
    };
    // Another model of the same layers, which is given the weights back.
    let other = at("other.cornu");
    let mut changed = Model::load(&model).unwrap();
    changed.set_weights(&want.get_weights().iter().map(|w| w.mapv(|_| 1.0)).collect::<Vec<_>>()).unwrap();
    changed.save(&other).unwrap();
    for name in ["a.cornu", "a.keras"] {
        run(&[&"convert", &model, &at(name)]).unwrap();
        same(&at(name));
    }
    let mut extensions = vec!["a.weights.h5"];
    extensions.extend(cfg!(feature = "safetensors").then_some("a.safetensors"));
    for name in extensions {
        run(&[&"convert", &at("a.cornu"), &at(name)]).unwrap();
        assert!(fails(&[&"convert", &at(name), &at("b.keras")]).contains("with --model"));
        run(&[&"convert", &at(name), &at("b.keras"), &"--model", &other]).unwrap();
        same(&at("b.keras"));
        let text = run(&[&"inspect", &at(name)]).unwrap();
        assert!(text.contains("config: none") && text.contains("[3, 4]"), "{text}");
    }
    assert!(fails(&[&"convert", &model, &at("whole.h5")]).contains(".weights.h5"));
    assert!(fails(&[&"convert", &model, &at("model.pt")]).contains("extension"));
    for name in ["a.cornu", "a.keras"] {
        let text = run(&[&"inspect", &at(name)]).unwrap();
        for part in ["version", "\"Sequential\"", "\"Adam\"", "[3, 4]", "32"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    let legacy = fixtures().join("file_legacy_h5");
    let text = run(&[&"inspect", &legacy.join("model.h5")]).unwrap();
    assert!(text.contains("before Keras 3") && text.contains("compile settings: {"), "{text}");
    assert!(run(&[&"inspect", &legacy.join("legacy_weights.h5")]).unwrap().contains("weights of before Keras 3"));
    assert!(run(&[&"inspect", &legacy.join("model.weights.h5")]).unwrap().contains("weights of Keras 3"));
    run(&[&"convert", &legacy.join("model.h5"), &at("modern.keras")]).unwrap();
    assert!(fails(&[&"inspect", &fixtures().join("index.json")]).contains("no model"));
    let summary = run(&[&"summary", &model]).unwrap();
    assert!(summary.contains("hidden (Dense)") && summary.contains("Total params: 26"), "{summary}");
}

#[test]
fn bench_measures() {
    let (_folder, model) = small();
    let text = run(&[&"bench", &model, &"--batch-size", &"8", &"--steps", &"3", &"--threads", &"1"]).unwrap();
    for part in ["prediction, batch size 8, 1 threads", "ms a step", "samples/s", "GFLOP/s", "peak memory"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = run(&[&"bench", &model, &"--batch-size", &"8", &"--steps", &"3", &"--train", &"--json"]).unwrap();
    let numbers: Value = serde_json::from_str(&text).unwrap();
    let of = |name: &str| numbers[name].as_f64().unwrap_or_else(|| panic!("{name} in {numbers}"));
    assert!(of("minimum_ms") > 0.0 && of("median_ms") >= of("minimum_ms"));
    assert!(of("limit_gflops") > of("gflops") && of("percent_of_limit") > 0.0);
    // Three passes: a product and a sum for each of 12 + 8 weights, a sum for each of 6 biases.
    let flops = of("gflops") * 1e9 * of("median_ms") / 1e3 / 8.0;
    assert!((flops - 3.0 * (2.0 * 20.0 + 6.0)).abs() < 1.0, "{flops}");
    let (_folder, model) = branches();
    run(&[&"bench", &model, &"--steps", &"2", &"--train"]).unwrap();
}

#[test]
fn profiles_and_summaries() {
    let (_folder, model) = small();
    let text = run(&[&"profile", &model, &"--batch-size", &"8", &"--threads", &"1"]).unwrap();
    for part in ["a batch of 8 on 1 thread,", "GFLOP/s", "Saved", "total", "(8, "] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let text = run(&[&"summary", &model, &"--show-trainable", &"--expand-nested", &"--width", &"70"]).unwrap();
    let table: Vec<usize> =
        text.lines().skip(1).filter(|line| !line.starts_with(' ')).map(|line| line.chars().count()).collect();
    assert!(text.contains("Trainable") && table.iter().all(|width| *width == 70), "{text}");
    let (_folder, model) = branches();
    run(&[&"profile", &model]).unwrap();
}

#[test]
fn mistakes_are_told() {
    let (folder, model) = small();
    let out = folder.path().join("out.npy");
    let missing = folder.path().join("missing.npy");
    let line = fails(&[&"predict", &model, &"--input", &missing, &"--output", &out]);
    assert!(line.contains("missing.npy"), "{line}");
    assert!(fails(&[&"summary", &missing]).contains("missing.npy"));
    let wide = folder.path().join("wide.npy");
    npy::write(&wide, &ArrayD::zeros(vec![2, 5])).unwrap();
    let line = fails(&[&"predict", &model, &"--input", &wide, &"--output", &out]);
    assert!(line.contains("expects inputs of shape (None, 3), got (None, 5)"), "{line}");
    assert!(!out.exists());
    let plain = folder.path().join("plain.keras");
    let mut uncompiled = Sequential::new();
    uncompiled.add(Input::new([5])).add(Dense::new(1));
    uncompiled.build().unwrap();
    uncompiled.save(&plain).unwrap();
    assert!(fails(&[&"evaluate", &plain, &"--input", &wide, &"--target", &wide]).contains("compile settings"));
    assert!(fails(&[&"fit", &plain, &"--input", &wide, &"--target", &wide]).contains("--loss"));

    let usage = |args: &[&dyn AsRef<OsStr>]| {
        let output = cornu(args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(usage(&[&"sumary", &model]).contains("'summary'"));
    assert!(usage(&[&"predict", &model, &"--inptu", &wide]).contains("--input"));
    assert!(usage(&[&"predict", &model, &"--input", &wide]).contains("--output"));
    usage(&[&"predict", &model, &"--input", &wide, &"--output", &out, &"--batch-size", &"0"]);
    let fit = |more: &[&dyn AsRef<OsStr>]| {
        usage(&[&[&"fit" as &dyn AsRef<OsStr>, &model, &"--input", &wide, &"--target", &wide], more].concat())
    };
    assert!(fit(&[&"--class-weight", &"{0: 1}"]).contains("JSON"));
    assert!(fit(&[&"--class-weight", &r#"{"cat": 1}"#]).contains("cat"));
    assert!(fit(&[&"--save", &"after.h5"]).contains(".keras or .cornu"));
    assert!(fit(&[&"--validation-split", &"1"]).contains("below 1"));
    fit(&[&"--no-shuffle", &"--seed", &"1"]);
    fit(&[&"--verbose", &"3"]);
    usage(&[]);
}

#[test]
fn help_completions_and_closed_pipes() {
    let help = run(&[&"--help"]).unwrap();
    for command in ["summary", "predict", "evaluate", "fit", "convert", "bench", "profile", "inspect", "completions"] {
        assert!(help.contains(command), "{help}");
        assert!(run(&[&command, &"--help"]).unwrap().contains("Usage: cornu"));
    }
    assert!(run(&[&"--version"]).unwrap().starts_with("cornu "));
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&[&"completions", &shell]).unwrap().contains("class-weight"));
    }
    // The reader is gone before anything is written.
    for args in [vec!["completions", "bash"], vec!["--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cornu"))
            .args(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}

/// The conformance cases (see `keras_conformance.rs`), through the program.
#[test]
fn keras_agrees_through_the_program() {
    let folder = std::env::var_os("CORNU_CONFORMANCE").map_or_else(fixtures, PathBuf::from);
    let index = json(&folder.join("index.json"));
    let cases = index["cases"].as_array().unwrap();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                    let name = case["case"].as_str().unwrap();
                    if let Err(why) = check(&folder.join(name), case) {
                        failed.lock().unwrap().push(format!("{name}: {}", why.trim()));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    failed.iter().for_each(|line| println!("FAILED {line}"));
    println!("{} passed, {} failed", cases.len() - failed.len(), failed.len());
    assert!(!cases.is_empty(), "there are no cases in {}", folder.display());
    assert!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n"));
}

fn check(folder: &Path, case: &Value) -> Result<(), String> {
    let made = tempfile::tempdir().unwrap();
    let model = folder.join("model.keras");
    let options = |option: &'static str, name: &str| -> Vec<std::ffi::OsString> {
        numbered(folder, name).into_iter().flat_map(|path| [option.into(), path.into_os_string()]).collect()
    };
    let cornu = |args: &[&[std::ffi::OsString]]| {
        let args = args.concat();
        run(&args.iter().map(|arg| arg as &dyn AsRef<OsStr>).collect::<Vec<_>>())
    };
    let words = |words: &[&dyn AsRef<OsStr>]| words.iter().map(|word| word.as_ref().to_owned()).collect::<Vec<_>>();
    let predict = |model: &Path, want: &str, tolerance: &Value| {
        let wanted = numbered(folder, want);
        let outputs: Vec<PathBuf> = (0..wanted.len()).map(|i| made.path().join(format!("{i}.npy"))).collect();
        let named: Vec<_> = outputs.iter().flat_map(|path| words(&[&"--output", path])).collect();
        cornu(&[&words(&[&"predict", &model]), &options("--input", "x"), &named])?;
        for (got, want) in outputs.iter().zip(&wanted) {
            let (got, want) = (read(got), read(want));
            if got.shape() != want.shape() {
                return Err(format!("shape {:?}, wanted {:?}", got.shape(), want.shape()));
            }
            let values = got.iter().zip(&want).map(|(got, want)| (f64::from(*got), f64::from(*want)));
            values.into_iter().try_for_each(|(got, wanted)| within("a prediction", got, wanted, tolerance))?;
        }
        Ok(())
    };
    predict(&model, "predict", &case["predict_tolerance"])?;
    if !folder.join("fit.json").exists() {
        return Ok(());
    }
    let (fit, tolerance) = (json(&folder.join("fit.json")), &case["fit_tolerance"]);
    let mut data = [options("--input", "x"), options("--target", "y")].concat();
    if let Some(name) = fit["sample_weight"].as_str() {
        data.extend(words(&[&"--sample-weight", &folder.join(name)]));
    }
    data.extend(words(&[&"--batch-size", &fit["batch_size"].to_string()]));
    let scores = cornu(&[&words(&[&"evaluate", &model, &"--json"]), &data])?;
    let scores: Value = serde_json::from_str(&scores).map_err(|error| format!("{scores}: {error}"))?;
    all_within("evaluate", &scores, &fit["evaluate_before"], tolerance)?;

    let (history, after) = (made.path().join("history.json"), made.path().join("after.keras"));
    let split = fit["validation_split"].to_string();
    let mut more =
        words(&[&"--history", &history, &"--save", &after, &"--verbose", &"0", &"--validation-split", &split]);
    more.extend(words(&[&"--epochs", &fit["epochs"].to_string()]));
    assert_eq!(fit["shuffle"], false);
    more.extend(words(&[&"--no-shuffle"]));
    if fit["class_weight"].is_object() {
        more.extend(words(&[&"--class-weight", &fit["class_weight"].to_string()]));
    }
    cornu(&[&words(&[&"fit", &model]), &data, &more])?;
    all_within("history", &json(&history), &fit["history"], tolerance)?;
    predict(&after, "after_predict", tolerance)
}

/// `x.npy`, or `x0.npy`, `x1.npy`, ….
fn numbered(folder: &Path, name: &str) -> Vec<PathBuf> {
    let only = folder.join(format!("{name}.npy"));
    match only.exists() {
        true => vec![only],
        false => (0..).map(|i| folder.join(format!("{name}{i}.npy"))).take_while(|path| path.exists()).collect(),
    }
}

/// Compares numbers, lists of them and objects of those; `got` may have more names.
fn all_within(what: &str, got: &Value, want: &Value, tolerance: &Value) -> Result<(), String> {
    match want {
        Value::Object(want) => want.iter().try_for_each(|(name, want)| {
            all_within(&format!("{what} {name}"), got.get(name).unwrap_or(&Value::Null), want, tolerance)
        }),
        Value::Array(want) => {
            let got = got.as_array().filter(|got| got.len() == want.len()).ok_or(format!("{what}: {got}"))?;
            got.iter().zip(want).try_for_each(|(got, want)| all_within(what, got, want, tolerance))
        }
        want => {
            within(what, got.as_f64().ok_or_else(|| format!("{what} is {got}"))?, want.as_f64().unwrap(), tolerance)
        }
    }
}

/// The rule: `|got - want| <= atol + rtol * |want|`.
fn within(what: &str, got: f64, want: f64, tolerance: &Value) -> Result<(), String> {
    let (atol, rtol) = (tolerance["atol"].as_f64().unwrap(), tolerance["rtol"].as_f64().unwrap());
    match (got - want).abs() <= atol + rtol * want.abs() || got == want {
        true => Ok(()),
        false => Err(format!("{what} is {got}, wanted {want}")),
    }
}

#[test]
fn errors_hold_no_control_characters() {
    let line = fails(&[&"summary", &"no\u{1b}[31m such\u{7}.keras"]);
    assert!(!line.trim_end().contains(char::is_control), "{line:?}");
}
