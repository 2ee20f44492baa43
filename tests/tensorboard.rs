//! Event files, read back by a reader that shares nothing with the writer.
#![cfg(feature = "tensorboard")]

use cornu::prelude::*;
use cornu::tensorboard::{HParam, SummaryWriter};
use ndarray::{Array1, Array2, Array4};
use std::path::Path;

/// CRC-32C, bit by bit, masked.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for bit in bytes.iter().flat_map(|byte| (0..8).map(move |i| u32::from(byte >> i & 1))) {
        crc = if (crc ^ bit) & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The records of a file.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        assert_eq!(number(at + 8), checksum(&bytes[at..at + 8]), "length at {at}");
        let data = &bytes[at + 12..at + 12 + length];
        assert_eq!(number(at + 12 + length), checksum(data), "data at {at}");
        records.push(data);
        at += 16 + length;
    }
    records
}

/// A message of protocol buffers: its fields, whose numbers are as they stand.
struct Message<'a>(Vec<(u64, u64, &'a [u8])>);

impl<'a> Message<'a> {
    fn parse(mut rest: &'a [u8]) -> Self {
        fn varint(rest: &mut &[u8]) -> u64 {
            let mut value = 0;
            for place in (0..).step_by(7) {
                let (byte, after) = rest.split_first().unwrap();
                *rest = after;
                value |= u64::from(byte & 0x7f) << place;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        let mut fields = Vec::new();
        while !rest.is_empty() {
            let key = varint(&mut rest);
            let (int, length) = match key & 7 {
                0 => (varint(&mut rest), 0),
                1 => (0, 8),
                2 => (0, varint(&mut rest) as usize),
                5 => (0, 4),
                other => panic!("wire type {other}"),
            };
            let (bytes, after) = rest.split_at(length);
            fields.push((key >> 3, int, bytes));
            rest = after;
        }
        Message(fields)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |f| f.0 == field).map(|f| f.2)
    }
    fn bytes(&self, field: u64) -> &'a [u8] {
        self.all(field).next().unwrap_or_default()
    }
    fn text(&self, field: u64) -> String {
        String::from_utf8(self.bytes(field).to_vec()).unwrap()
    }
    fn int(&self, field: u64) -> u64 {
        self.0.iter().find(|f| f.0 == field).map_or(0, |f| f.1)
    }
    fn double(&self, field: u64) -> f64 {
        f64::from_le_bytes(self.bytes(field).try_into().unwrap())
    }
    fn inside(&self, field: u64) -> Message<'a> {
        Message::parse(self.bytes(field))
    }
}

/// What stands in a file under a tag at a step.
#[derive(Debug)]
struct Value {
    tag: String,
    step: u64,
    plugin: String,
    plugin_data: Vec<u8>,
    shape: Vec<u64>,
    content: Vec<u8>,
    strings: Vec<Vec<u8>>,
}

impl Value {
    fn floats(&self) -> Vec<f32> {
        self.content.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
    fn doubles(&self) -> Vec<f64> {
        self.content.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
    }
}

/// All values of the files of a folder.
fn values(folder: &Path) -> Vec<Value> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let mut values = Vec::new();
    for path in paths {
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("events.out.tfevents."), "{path:?}");
        let bytes = std::fs::read(path).unwrap();
        for (i, record) in records(&bytes).into_iter().enumerate() {
            let event = Message::parse(record);
            assert!(event.double(1) > 1.7e9, "wall time");
            if i == 0 {
                assert_eq!(event.text(3), "brain.Event:2");
                continue;
            }
            if !event.bytes(4).is_empty() {
                continue;
            }
            let value = event.inside(5).inside(1);
            let (tensor, plugin) = (value.inside(8), value.inside(9).inside(1));
            let strings: Vec<_> = tensor.all(8).map(<[u8]>::to_vec).collect();
            let shape: Vec<u64> = tensor.inside(2).all(2).map(|dim| Message::parse(dim).int(1)).collect();
            let (kind, size) = (tensor.int(1), shape.iter().product::<u64>() as usize);
            let found = [(1, tensor.bytes(4).len() / 4), (2, tensor.bytes(4).len() / 8), (7, strings.len())];
            assert!(found.contains(&(kind, size)), "type {kind}, {size} values, {found:?}");
            values.push(Value {
                tag: value.text(1),
                step: event.int(2),
                plugin: plugin.text(1),
                plugin_data: plugin.bytes(2).to_vec(),
                shape,
                content: tensor.bytes(4).to_vec(),
                strings,
            });
        }
    }
    values
}

/// The steps and numbers of a scalar.
fn series(values: &[Value], tag: &str) -> Vec<(u64, f32)> {
    let all = values.iter().filter(|value| value.tag == tag);
    all.map(|value| {
        assert_eq!((value.plugin.as_str(), value.shape.len()), ("scalars", 0));
        (value.step, value.floats()[0])
    })
    .collect()
}

fn tags(values: &[Value]) -> Vec<&str> {
    let mut tags: Vec<&str> = values.iter().map(|value| value.tag.as_str()).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn data() -> (Array4<f32>, Array1<usize>) {
    let x = Array4::from_shape_fn((20, 6, 6, 2), |(i, r, c, k)| ((i * 7 + r * 3 + c * 5 + k) % 11) as f32 / 10.0);
    (x, (0..20).map(|i| i % 3).collect())
}

fn model() -> Sequential {
    let mut model = Sequential::new().with_seed(1);
    model
        .add(Input::new([6, 6, 2]))
        .add(Conv2D::new(4, 3).activation("relu"))
        .add(Flatten::new())
        .add(Dense::new(3).activation("softmax"));
    model.compile(Sgd::new(0.05), "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    model
}

#[test]
fn epochs_are_those_of_the_history() {
    let (folder, (x, y)) = (tempfile::tempdir().unwrap(), data());
    let mut model = model();
    let board = TensorBoard::new(folder.path());
    let history =
        model.fit(&x, &y, Fit::new().epochs(3).batch_size(8).validation_split(0.2).verbose(0).callback(board)).unwrap();
    let (train, validation) = (values(&folder.path().join("train")), values(&folder.path().join("validation")));

    let expected = |name: &str| history[name].iter().map(|v| *v as f32).enumerate().map(|(i, v)| (i as u64, v));
    assert_eq!(tags(&train), ["epoch_accuracy", "epoch_learning_rate", "epoch_loss", "keras"]);
    assert_eq!(series(&train, "epoch_loss"), expected("loss").collect::<Vec<_>>());
    assert_eq!(series(&train, "epoch_accuracy"), expected("accuracy").collect::<Vec<_>>());
    assert_eq!(series(&train, "epoch_learning_rate"), [(0, 0.05), (1, 0.05), (2, 0.05)]);

    let (by_iteration, accuracy) = ("evaluation_loss_vs_iterations", "evaluation_accuracy_vs_iterations");
    assert_eq!(tags(&validation), ["epoch_accuracy", "epoch_loss", accuracy, by_iteration]);
    assert_eq!(series(&validation, "epoch_loss"), expected("val_loss").collect::<Vec<_>>());
    let steps = |name: &str| history[name].iter().zip([2, 4, 6]).map(|(v, step)| (step, *v as f32)).collect::<Vec<_>>();
    assert_eq!(series(&validation, by_iteration), steps("val_loss"));
    assert_eq!(series(&validation, accuracy), steps("val_accuracy"));

    let graph = &train[0];
    assert_eq!(
        (graph.tag.as_str(), graph.plugin.as_str(), &graph.plugin_data[..]),
        ("keras", "graph_keras_model", &b"1"[..])
    );
    assert_eq!(String::from_utf8_lossy(&graph.strings[0]), model.to_json().unwrap());
}

/// The graphs in the files of a folder: lines of name, class, inputs, shapes of outputs and number of weights.
fn graph(folder: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for graph in records(&bytes).into_iter().map(|record| Message::parse(record).inside(4)) {
            for node in graph.all(1).map(Message::parse) {
                let inputs: Vec<_> = node.all(3).map(|name| std::str::from_utf8(name).unwrap()).collect();
                let attribute = |name: &str| {
                    let mut all = node.all(5).map(Message::parse);
                    all.find(|attribute| attribute.text(1) == name).unwrap().inside(2)
                };
                let list = attribute("_output_shapes").inside(1);
                let shape = |shape| {
                    Message::parse(shape).all(2).map(|dim| Message::parse(dim).int(1) as i64).collect::<Vec<_>>()
                };
                let shapes: Vec<Vec<i64>> = list.all(7).map(shape).collect();
                let params = attribute("params").int(3);
                lines.push(format!("{} {} {inputs:?} {shapes:?} {params}", node.text(1), node.text(2)));
            }
        }
    }
    lines
}

#[test]
fn graphs_with_models_inside_and_shared_layers() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (Input::new([4]).name("a").node(), Input::new([4]).name("b").node());
    let mut inner = Sequential::new().with_name("inner");
    inner.add(Input::new([4])).add(Dense::new(3).name("first")).add(Dense::new(2).name("second"));
    let shared = Dense::new(4).name("shared layer");
    let inside = inner.call(shared.call(&a).unwrap()).unwrap();
    let sum = Concatenate::new().name("both").call([&inside, &shared.call(&b).unwrap()]).unwrap();
    let mut model = Model::seeded("graph", 1, [&a, &b], [&sum]).unwrap();
    model.compile("sgd", "mse", ()).unwrap();
    let (x, y) = (Array2::<f32>::zeros((2, 4)), Array2::<f32>::zeros((2, 6)));
    let inputs: [&dyn cornu::data::Rows; 2] = [&x, &x];
    model.fit(inputs, &y, Fit::new().verbose(0).callback(TensorBoard::new(folder.path()))).unwrap();
    let mut lines = graph(&folder.path().join("train"));
    lines.sort();
    let want = [
        r#"a InputLayer [] [[-1, 4]] 0"#,
        r#"b InputLayer [] [[-1, 4]] 0"#,
        r#"both Concatenate ["inner/second", "shared_layer_1"] [[-1, 6]] 0"#,
        r#"inner/first Dense ["shared_layer"] [[-1, 3]] 15"#,
        r#"inner/second Dense ["inner/first"] [[-1, 2]] 8"#,
        r#"shared_layer Dense ["a"] [[-1, 4]] 20"#,
        r#"shared_layer_1 Dense ["b"] [[-1, 4]] 20"#,
    ];
    assert_eq!(lines, want);
}

/// No two calls have one name, whatever the layers are called.
#[test]
fn names_in_graphs_are_unique() {
    let folder = tempfile::tempdir().unwrap();
    let x = Input::new([4]).name("x").node();
    let shared = Dense::new(4).name("dense");
    let twice = shared.call(shared.call(&x).unwrap()).unwrap();
    let other = Dense::new(4).name("dense_1").call(&twice).unwrap();
    let slash = Dense::new(4).name("a/b").call(&other).unwrap();
    let y = Dense::new(4).name("a_b").call(&slash).unwrap();
    let mut model = Model::seeded("graph", 1, &x, &y).unwrap();
    model.compile("sgd", "mse", ()).unwrap();
    let zeros = Array2::<f32>::zeros((2, 4));
    model.fit(&zeros, &zeros, Fit::new().verbose(0).callback(TensorBoard::new(folder.path()))).unwrap();
    let lines = graph(&folder.path().join("train"));
    let want = [
        r#"x InputLayer [] [[-1, 4]] 0"#,
        r#"dense Dense ["x"] [[-1, 4]] 20"#,
        r#"dense_1 Dense ["dense"] [[-1, 4]] 20"#,
        r#"dense_1_1 Dense ["dense_1"] [[-1, 4]] 20"#,
        r#"a_b Dense ["dense_1_1"] [[-1, 4]] 20"#,
        r#"a_b_1 Dense ["a_b"] [[-1, 4]] 20"#,
    ];
    assert_eq!(lines, want);
}

/// Notes the loss after each batch.
struct Losses(Vec<f32>);

impl Callback for Losses {
    fn on_train_batch_end(&mut self, _: &mut Model, _: usize, logs: &Logs) -> Result<()> {
        self.0.push(logs.get("loss").unwrap() as f32);
        Ok(())
    }
}

#[test]
fn batches_go_on_in_the_next_training() {
    let (folder, (x, y)) = (tempfile::tempdir().unwrap(), data());
    let mut model = model();
    let mut board = TensorBoard::new(folder.path()).update_freq(2).write_steps_per_second(true).write_graph(false);
    let mut losses = Losses(Vec::new());
    let mut fit = |from: usize, to: usize| {
        let options = Fit::new().initial_epoch(from).epochs(to).batch_size(4).verbose(0);
        model.fit(&x, &y, options.callback(&mut board).callback(&mut losses)).unwrap();
    };
    fit(0, 1);
    fit(1, 2);
    let train = values(&folder.path().join("train"));
    // Five batches an epoch.
    let expected: Vec<_> = [2, 4, 6, 8, 10].map(|step| (step as u64, losses.0[step - 1])).into();
    assert_eq!(series(&train, "batch_loss"), expected);
    assert_eq!(series(&train, "batch_accuracy").len(), 5);
    assert!(series(&train, "batch_steps_per_second").iter().all(|(_, speed)| *speed > 0.0 && speed.is_finite()));
    let speed = series(&train, "epoch_steps_per_second");
    assert!(speed.len() == 2 && speed.iter().all(|(_, speed)| *speed > 0.0 && speed.is_finite()));
    assert_eq!(series(&train, "epoch_loss").iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [0, 1]);
    assert!(!folder.path().join("validation").exists(), "nothing was validated");

    model.evaluate(&x, &y, Evaluate::new().callback(&mut board)).unwrap();
    let validation = values(&folder.path().join("validation"));
    let loss = series(&validation, "evaluation_loss_vs_iterations");
    assert_eq!(loss.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [10]);
}

#[test]
fn weights_as_histograms_and_pictures() {
    let (folder, (x, y)) = (tempfile::tempdir().unwrap(), data());
    let mut model = model();
    let board = TensorBoard::new(folder.path()).histogram_freq(2).write_images(true);
    model.fit(&x, &y, Fit::new().epochs(4).verbose(0).callback(board)).unwrap();
    // It only watches.
    let mut alone = self::model();
    alone.fit(&x, &y, Fit::new().epochs(4).verbose(0)).unwrap();
    assert_eq!(model.get_weights(), alone.get_weights());
    let train = values(&folder.path().join("train"));
    let histograms: Vec<&Value> = train.iter().filter(|value| value.plugin == "histograms").collect();
    assert_eq!(histograms.iter().map(|value| value.step).collect::<Vec<_>>(), [0, 0, 0, 0, 2, 2, 2, 2]);
    let paths: Vec<String> = model.weights().iter().map(|weight| weight.path().to_owned()).collect();
    for (value, path) in histograms.iter().zip(paths.iter().cycle()) {
        assert_eq!(value.tag, format!("{path}/histogram"));
        assert_eq!(value.shape, [30, 3]);
    }
    let counted = |value: &Value| value.doubles().chunks(3).map(|bucket| bucket[2]).sum::<f64>() as usize;
    assert_eq!(histograms[..4].iter().map(|value| counted(value)).collect::<Vec<_>>(), [72, 4, 192, 3]);

    let images: Vec<&Value> = train.iter().filter(|value| value.plugin == "images" && value.step == 0).collect();
    assert_eq!(images[0].tag, format!("{}/image", paths[0]));
    let size = |value: &Value| {
        let [width, height, png] = &value.strings[..] else { panic!("{} strings", value.strings.len()) };
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let info = decoder.read_info().unwrap();
        let said = [width, height].map(|n| std::str::from_utf8(n).unwrap().parse::<u32>().unwrap());
        assert_eq!(said, [info.info().width, info.info().height]);
        said
    };
    // Tiles of 3 x 3 with lines between: 4 filters side by side, 2 channels below each other; a table of 64 x 3 lies down.
    assert_eq!(images.iter().map(|value| size(value)).collect::<Vec<_>>(), [[15, 7], [4, 1], [64, 3], [3, 1]]);
}

/// Sets the weights of the only layer.
struct Set(Vec<f32>);

impl Callback for Set {
    fn on_epoch_end(&mut self, model: &mut Model, _: usize, _: &mut Logs) -> Result<()> {
        let (kernel, bias) = self.0.split_at(6);
        let kernel = Array2::from_shape_vec((3, 2), kernel.to_vec()).unwrap().into_dyn();
        model.set_weights(&[kernel, Array1::from(bias.to_vec()).into_dyn()])
    }
}

#[test]
fn buckets_and_pixels_of_known_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Sequential::new();
    model.add(Input::new([3])).add(Dense::new(2).name("only"));
    model.compile("sgd", "mse", ()).unwrap();
    let set = Set(vec![-1.0, -0.5, 0.0, 0.5, 1.0, 0.25, 0.0, 0.0]);
    let board = TensorBoard::new(folder.path()).histogram_freq(1).write_images(true);
    let (x, y) = (Array2::<f32>::zeros((4, 3)), Array2::<f32>::zeros((4, 2)));
    model.fit(&x, &y, Fit::new().verbose(0).callback(set).callback(board)).unwrap();
    let train = values(&folder.path().join("train"));
    let find = |tag: &str| train.iter().find(|value| value.tag == tag).unwrap_or_else(|| panic!("{tag}"));

    let kernel = find("only/kernel/histogram").doubles();
    // Edges 1/15 apart; -1, -0.5, 0, 0.25, 0.5 and 1 in these buckets.
    let filled: Vec<(usize, f64)> = (0..30).map(|i| (i, kernel[3 * i + 2])).filter(|(_, n)| *n > 0.0).collect();
    assert_eq!(filled, [(0, 1.0), (7, 1.0), (15, 1.0), (18, 1.0), (22, 1.0), (29, 1.0)]);
    for i in 0..30 {
        assert!((kernel[3 * i] - (i as f64 / 15.0 - 1.0)).abs() < 1e-12, "{i}");
        assert!((kernel[3 * i + 1] - ((i + 1) as f64 / 15.0 - 1.0)).abs() < 1e-12, "{i}");
    }
    let bias = find("only/bias/histogram").doubles();
    assert_eq!((&bias[..3], &bias[87..]), (&[0.0, 0.0, 0.0][..], &[0.0, 0.0, 2.0][..]));

    let pixels = |tag: &str| {
        let png = &find(tag).strings[2];
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels
    };
    // The kernel (3, 2) lies down: its rows are columns. -1 is black, 1 white.
    assert_eq!(pixels("only/kernel/image"), [0, 127, 255, 63, 191, 159]);
    assert_eq!(pixels("only/bias/image"), [127, 127]);
}

#[test]
fn hyper_parameters_and_how_training_ended() {
    let (folder, (x, y)) = (tempfile::tempdir().unwrap(), data());
    let hparams =
        |board: TensorBoard| board.hparams([("units", 64)]).hparams([("rate", 0.05)]).hparams([("optimizer", "sgd")]);
    let board = |name: &str| hparams(TensorBoard::new(folder.path().join(name))).hparams([("augment", true)]);
    model().fit(&x, &y, Fit::new().verbose(0).callback(board("good"))).unwrap();

    struct Fails;
    impl Callback for Fails {
        fn on_epoch_end(&mut self, _: &mut Model, _: usize, _: &mut Logs) -> Result<()> {
            Err(Error::Data("no more".to_owned()))
        }
    }
    model().fit(&x, &y, Fit::new().verbose(0).callback(board("bad")).callback(Fails)).unwrap_err();

    for (name, status) in [("good", 1), ("bad", 2)] {
        let session = values(&folder.path().join(name));
        assert_eq!(session.len(), 2);
        assert!(session.iter().all(|value| value.plugin == "hparams" && value.shape == [0]));
        assert_eq!(session[0].tag, "_hparams_/session_start_info");
        let start = Message::parse(&session[0].plugin_data).inside(3);
        let entries: Vec<(String, Message)> =
            start.all(1).map(Message::parse).map(|entry| (entry.text(1), entry.inside(2))).collect();
        assert_eq!(
            entries.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["units", "rate", "optimizer", "augment"]
        );
        assert_eq!((entries[0].1.double(2), entries[1].1.double(2)), (64.0, 0.05));
        assert_eq!((entries[2].1.text(3), entries[3].1.int(4)), ("sgd".to_owned(), 1));
        assert!(start.double(5) > 1.7e9);
        assert_eq!(session[1].tag, "_hparams_/session_end_info");
        assert_eq!(Message::parse(&session[1].plugin_data).inside(4).int(1), status, "{name}");
    }
}

#[test]
fn a_writer_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let (mut first, mut second) = (SummaryWriter::create(&path).unwrap(), SummaryWriter::create(&path).unwrap());
    assert_ne!(first.path(), second.path());
    first.scalar("x", f64::NAN, 0).unwrap();
    first.scalar("x", 1e300, u64::from(u32::MAX) * 1000).unwrap();
    second.text("notes", "<b>ä</b>", 3).unwrap();
    let image = Array4::from_shape_vec((2, 1, 2, 3), (0..12).map(|i| i as f32 / 10.0 - 0.05).collect()).unwrap();
    second.image("rgb", image, 4).unwrap();
    let error = second.image("odd", Array2::<f32>::zeros((2, 2)), 0).unwrap_err().to_string();
    assert!(error.contains("'odd'") && error.contains("[2, 2]"), "{error}");
    second.image("none", ndarray::Array3::<f32>::zeros((2, 2, 5)), 0).unwrap_err();
    let none: [(&str, HParam); 0] = [];
    second.hparams(none).unwrap();
    drop((first, second));

    let all = values(&path);
    let x = series(&all, "x");
    assert!(x[0].0 == 0 && x[0].1.is_nan());
    assert_eq!(x[1], (u64::from(u32::MAX) * 1000, f32::INFINITY));
    let text = all.iter().find(|value| value.tag == "notes").unwrap();
    assert_eq!((text.plugin.as_str(), text.step, text.strings[0].as_slice()), ("text", 3, "<b>ä</b>".as_bytes()));
    let rgb = all.iter().find(|value| value.tag == "rgb").unwrap();
    assert_eq!((rgb.shape.as_slice(), &rgb.strings[0][..], &rgb.strings[1][..]), (&[4_u64][..], &b"2"[..], &b"1"[..]));
    let mut reader = png::Decoder::new(std::io::Cursor::new(&rgb.strings[3])).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, [140, 166, 191, 217, 242, 255]);

    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(SummaryWriter::create(&file), Err(Error::Io { .. })));
}
