//! Training that is taken up again: final weights and history are those of a run that was never interrupted, bit for bit.
//!
//! Processes are really killed: the test starts itself as a child, which says when a batch is done, and kills it at
//! random moments, also while it writes a backup. `CORNU_KILLS` is the number of times it does so in each scenario; where
//! it is set, training is also broken off in every single hook, and not in some of them.

use cornu::data::Dataset;
use cornu::layers::augmentation::RandomFlip;
use cornu::prelude::*;
use cornu::random;
use cornu::training::callbacks::BackupAndRestore;
use ndarray::{Array1, Array2, Array3, Array4};
use ndarray_rand::rand::Rng;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Trains in this way, with a backup in the folder and callbacks of the test's, and says all that came of it.
type Scenario = fn(&Path, usize, Vec<Box<dyn Callback>>) -> Result<String>;

const SCENARIOS: [(&str, Scenario); 4] =
    [("arrays", arrays), ("dataset", dataset), ("sequences", sequences), ("endless", endless)];

/// Bits of weights and of all values of the history.
fn bits(model: &Model, history: &History) -> String {
    let mut text = String::new();
    for weight in model.get_weights() {
        let bits: Vec<String> = weight.iter().map(|value| format!("{:x}", value.to_bits())).collect();
        text += &format!("{}\n", bits.join(" "));
    }
    for name in history.names() {
        let bits: Vec<Vec<u64>> =
            history.get_lists(name).unwrap().iter().map(|list| list.iter().map(|v| v.to_bits()).collect()).collect();
        text += &format!("{name} {:?} {bits:x?}\n", history.epochs_of(name));
    }
    text + &format!("{} {}\n", model.iterations().unwrap(), model.learning_rate().unwrap())
}

/// Boxes as a callback.
struct Others(Vec<Box<dyn Callback>>);

impl Callback for Others {
    fn on_epoch_begin(&mut self, model: &mut Model, epoch: usize) -> Result<()> {
        self.0.iter_mut().try_for_each(|c| c.on_epoch_begin(model, epoch))
    }
    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.0.iter_mut().try_for_each(|c| c.on_epoch_end(model, epoch, logs))
    }
    fn on_train_batch_begin(&mut self, model: &mut Model, batch: usize) -> Result<()> {
        self.0.iter_mut().try_for_each(|c| c.on_train_batch_begin(model, batch))
    }
    fn on_train_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        self.0.iter_mut().try_for_each(|c| c.on_train_batch_end(model, batch, logs))
    }
    fn on_test_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        self.0.iter_mut().try_for_each(|c| c.on_test_batch_end(model, batch, logs))
    }
}

/// Options that all scenarios share: a backup after so many batches, or after epochs.
fn options<'a>(folder: &Path, batches: usize, others: Vec<Box<dyn Callback>>) -> Fit<'a> {
    let backup = BackupAndRestore::new(folder.join("backup"));
    let backup = if batches > 0 { backup.save_freq(batches) } else { backup };
    Fit::new().verbose(0).callback(backup).callback(Others(others))
}

fn points(n: usize) -> (Array2<f32>, Array1<i32>) {
    let x = Array2::from_shape_fn((n, 5), |(i, j)| ((i * 13 + j * j * 7) % 17) as f32 / 8.0 - 1.0);
    let y = x.map_axis(ndarray::Axis(1), |row| i32::from(row[0] * row[1] + row[2] > 0.1) + i32::from(row[3] > 0.0));
    (x, y)
}

/// Shuffled arrays, dropout, normalization, averages, accumulated gradients, metrics with much to remember, validation,
/// and all callbacks that count.
fn arrays(folder: &Path, batches: usize, others: Vec<Box<dyn Callback>>) -> Result<String> {
    let (x, y) = points(83);
    // Without a seed: the backup has it.
    let mut model = Sequential::new();
    if !folder.join("backup/training.backup").exists() {
        model.set_seed(7);
    }
    model.add(Input::new([5])).add(Dense::new(8).activation("relu")).add(BatchNormalization::new());
    model.add(Dropout::new(0.3)).add(Dense::new(3).activation("softmax"));
    let optimizer = Adam::new(0.01).use_ema(true).ema_momentum(0.9).gradient_accumulation_steps(3).clipnorm(1.0);
    let metrics = cornu::metrics!["accuracy", cornu::metrics::SparseTopKCategoricalAccuracy::new().k(2)];
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics)?;
    let mut early = EarlyStopping::new().patience(2).restore_best_weights(true);
    let options = options(folder, batches, others)
        .epochs(6)
        .batch_size(10)
        .validation_split(0.2)
        .callback(&mut early)
        .callback(ReduceLROnPlateau::new().patience(1).min_delta(0.01).factor(0.5))
        .callback(ModelCheckpoint::new(folder.join("best.cornu")).save_best_only(true))
        .callback(CSVLogger::new(folder.join("log.csv")));
    let history = model.fit(&x, &y, options)?;
    let early = format!("{:?} {:?} {:?}\n", early.best(), early.best_epoch(), early.stopped_epoch());
    let log = fs::read_to_string(folder.join("log.csv")).unwrap_or_default();
    let best = fs::read(folder.join("best.cornu")).unwrap_or_default();
    Ok(bits(&model, &history) + &early + &log + &format!("{:x}", crc(&best)))
}

fn crc(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn images(n: usize) -> (Array4<f32>, Array1<i32>) {
    let x = Array4::from_shape_fn((n, 6, 6, 1), |(i, a, b, _)| ((i * 5 + a * b + i % 3 * a) % 11) as f32 / 11.0);
    (x, Array1::from_shape_fn(n, |i| (i % 3) as i32))
}

/// A dataset of unknown length with random maps and layers on its way, epochs that end within a pass, a schedule of
/// epochs, averages that take the weights' place.
fn dataset(folder: &Path, batches: usize, others: Vec<Box<dyn Callback>>) -> Result<String> {
    let (x, y) = images(50);
    let mut flip = Sequential::new();
    flip.add(RandomFlip::new());
    let data = Dataset::from_arrays(x.clone(), y.clone())?
        .filter(|item| Ok(item.x[0].data()[7] < 0.9))
        .cache()
        .shuffle(20)
        .map_random(|item, rng| {
            let by = rng.random_range(0.8..1.2);
            item.map_x(|x| Ok(x.map(|v| v * by)))
        })
        .batch(4)
        .augment(flip);
    let mut model = Sequential::new().with_seed(3);
    model.add(Input::new([6, 6, 1])).add(GaussianNoise::new(0.05)).add(Conv2D::new(3, 3).activation("relu"));
    model.add(Flatten::new()).add(Dense::new(3).activation("softmax"));
    model.compile(Sgd::new(0.05).momentum(0.9).use_ema(true), "sparse_categorical_crossentropy", "accuracy")?;
    let validation = Dataset::from_arrays(x, y)?.take(20).batch(8);
    let options = options(folder, batches, others)
        .epochs(5)
        .steps_per_epoch(7)
        .validation_data(&validation, ())
        .validation_steps(2)
        .callback(SwapEMAWeights::new().swap_on_epoch(true))
        .callback(LearningRateScheduler::new(|epoch, rate| if epoch < 2 { rate } else { rate * 0.8 }));
    let history = model.fit(&data, (), options)?;
    Ok(bits(&model, &history))
}

/// Stateful recurrent layers, one of them inside another, a schedule of steps, a loss of its own for each output, and
/// sample weights.
fn sequences(folder: &Path, batches: usize, others: Vec<Box<dyn Callback>>) -> Result<String> {
    let x = Array3::from_shape_fn((24, 5, 2), |(i, t, j)| ((i * 3 + t * t + j * 5) % 7) as f32 / 7.0);
    let y = x.sum_axis(ndarray::Axis(1)).sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
    let weights = Array1::from_shape_fn(24, |i| 0.5 + (i % 4) as f32);
    let mut model = Sequential::new().with_seed(5);
    model.add(Input::new([5, 2])).add(LSTM::new(4).stateful(true).return_sequences(true).dropout(0.2));
    model.add(Bidirectional::new(GRU::new(3).stateful(true))).add(Dense::new(1));
    let schedule = CosineDecay::new(0.05, 12);
    let settings = Compile::new(RMSprop::new(schedule).momentum(0.5).centered(true), "mse").metrics("mae");
    model.compile_with(settings.weighted_metrics(cornu::metrics!["mse", cornu::metrics::R2Score::new()]))?;
    let options = options(folder, batches, others).epochs(4).batch_size(8).shuffle(false).sample_weight(&weights);
    let history = model.fit(&x, &y, options)?;
    Ok(bits(&model, &history))
}

/// A dataset without end, and steps that do not fit its parts; curves among the metrics.
fn endless(folder: &Path, batches: usize, others: Vec<Box<dyn Callback>>) -> Result<String> {
    let (x, y) = points(23);
    let y = y.mapv(|y| i32::from(y > 0));
    let data = Dataset::from_arrays(x, y)?.shuffle(23).repeat(None).batch(5);
    let mut model = Sequential::new().with_seed(11);
    model.add(Input::new([5])).add(Dense::new(4).activation("tanh")).add(AlphaDropout::new(0.1));
    model.add(Dense::new(1).activation("sigmoid"));
    let metrics = cornu::metrics![
        cornu::metrics::AUC::new(),
        cornu::metrics::Precision::new(),
        cornu::metrics::F1Score::new().threshold(0.5),
        cornu::metrics::BinaryIoU::new()
    ];
    model.compile(Nadam::new(0.02), "binary_crossentropy", metrics)?;
    let history = model.fit(&data, (), options(folder, batches, others).epochs(4).steps_per_epoch(6))?;
    Ok(bits(&model, &history))
}

/// Fails in the hook of this number: the run ends there, as if its process had.
struct Crash {
    hooks_left: usize,
}

impl Crash {
    fn hook(&mut self) -> Result<()> {
        match self.hooks_left.checked_sub(1) {
            Some(left) => self.hooks_left = left,
            None => return Err(Error::State("crash".to_owned())),
        }
        Ok(())
    }
}

impl Callback for Crash {
    fn on_epoch_begin(&mut self, _: &mut Model, _: usize) -> Result<()> {
        self.hook()
    }
    fn on_epoch_end(&mut self, _: &mut Model, _: usize, _: &mut Logs) -> Result<()> {
        self.hook()
    }
    fn on_train_batch_begin(&mut self, _: &mut Model, _: usize) -> Result<()> {
        self.hook()
    }
    fn on_train_batch_end(&mut self, _: &mut Model, _: usize, _: &Logs) -> Result<()> {
        self.hook()
    }
    fn on_test_batch_end(&mut self, _: &mut Model, _: usize, _: &Logs) -> Result<()> {
        self.hook()
    }
}

/// Counts the batches that are trained on.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Callback for Counter {
    fn on_train_batch_begin(&mut self, _: &mut Model, _: usize) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Runs a scenario that fails after so many hooks, then again after as many, until it is through.
fn with_crashes(run: Scenario, folder: &Path, batches: usize, mut hooks: impl FnMut() -> usize) -> String {
    for crashes in 0.. {
        assert!(crashes < 500, "it does not come to its end");
        match run(folder, batches, vec![Box::new(Crash { hooks_left: hooks() })]) {
            Ok(found) => return found,
            Err(error) => assert!(error.to_string().contains("crash"), "{error}"),
        }
    }
    unreachable!()
}

#[test]
fn a_run_that_fails_in_any_hook_ends_as_if_it_had_not() {
    let stride = if std::env::var_os("CORNU_KILLS").is_some() { 1 } else { 13 };
    for (name, run) in SCENARIOS {
        let undisturbed = run(tempfile::tempdir().unwrap().path(), 0, vec![]).unwrap();
        let counter = Counter::default();
        run(tempfile::tempdir().unwrap().path(), 0, vec![Box::new(counter.clone())]).unwrap();
        let all = counter.count();
        for batches in [0, 1, 4] {
            // Once in each place (of which a short test takes some), ...
            for hooks in (0..).step_by(stride) {
                let folder = tempfile::tempdir().unwrap();
                let before = Counter::default();
                let crash: Vec<Box<dyn Callback>> =
                    vec![Box::new(before.clone()), Box::new(Crash { hooks_left: hooks })];
                if run(folder.path(), batches, crash).is_ok() {
                    break;
                }
                let backup = folder.path().join("backup/training.backup").exists();
                let after = Counter::default();
                let resumed = run(folder.path(), batches, vec![Box::new(after.clone())]).unwrap();
                assert_eq!(resumed, undisturbed, "{name} {batches} {hooks}");
                // It was used: what it has seen does not happen again, and no more than was done since then does.
                assert_eq!(after.count() < all, backup, "{name} {batches} {hooks}");
                if batches > 0 {
                    assert!(before.count() + after.count() <= all + batches, "{name} {batches} {hooks}");
                    assert!(backup || before.count() <= batches, "{name} {batches} {hooks}");
                }
            }
        }
        // ... and again and again.
        let mut rng = random::stream(1, 2, 3, 4);
        let folder = tempfile::tempdir().unwrap();
        let often = with_crashes(run, folder.path(), 1, || rng.random_range(3..12));
        assert_eq!(often, undisturbed, "{name}");
        assert!(!folder.path().join("backup").exists(), "the backup is removed at the end");
    }
}

/// The child says that a batch is done.
struct Tick;

impl Callback for Tick {
    fn on_train_batch_end(&mut self, _: &mut Model, _: usize, _: &Logs) -> Result<()> {
        let mut out = std::io::stdout();
        writeln!(out, "tick").and_then(|()| out.flush()).map_err(|e| Error::State(e.to_string()))
    }
}

/// What the child does; without a parent it does nothing.
#[test]
fn child() {
    let (Ok(folder), Ok(name)) = (std::env::var("CORNU_CHILD_FOLDER"), std::env::var("CORNU_CHILD_SCENARIO")) else {
        return;
    };
    let run = SCENARIOS.iter().find(|(known, _)| *known == name).unwrap().1;
    let found = run(Path::new(&folder), 1, vec![Box::new(Tick)]).unwrap();
    fs::write(Path::new(&folder).join("found"), found).unwrap();
}

#[test]
fn a_process_that_is_killed_goes_on_when_it_is_started_again() {
    let kills: usize = std::env::var("CORNU_KILLS").map_or(12, |text| text.parse().unwrap());
    let mut rng = random::stream(5, 6, 7, 8);
    for (name, run) in SCENARIOS {
        let undisturbed = run(tempfile::tempdir().unwrap().path(), 0, vec![]).unwrap();
        let (mut killed, mut writing) = (0, 0);
        while killed < kills {
            let folder = tempfile::tempdir().unwrap();
            loop {
                let mut child = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "child", "--nocapture"])
                    .env("CORNU_CHILD_FOLDER", folder.path())
                    .env("CORNU_CHILD_SCENARIO", name)
                    .env("CORNU_NUM_THREADS", "2")
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                // The reader must stay, since a child that nobody listens to fails.
                let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
                let ticks = rng.random_range(1..10);
                let seen = lines.by_ref().filter(|line| line.ends_with("tick")).take(ticks).count();
                if seen == ticks {
                    // From before the backup is begun to well into the next batch.
                    std::thread::sleep(Duration::from_micros(rng.random_range(0..4000)));
                    child.kill().unwrap();
                }
                let status = child.wait().unwrap();
                if status.success() {
                    break;
                }
                assert_eq!(status.code(), None, "it was killed and did not fail");
                killed += 1;
                let files = fs::read_dir(folder.path().join("backup")).into_iter().flatten().flatten();
                let drafts = files.filter(|file| file.file_name().to_string_lossy().contains(".tmp"));
                writing += usize::from(drafts.count() > 0);
                assert!(killed < 20 * kills.max(10), "it does not come to its end");
            }
            let found = fs::read_to_string(folder.path().join("found")).unwrap();
            assert_eq!(found, undisturbed, "{name} after {killed} kills");
        }
        println!("{name}: {killed} kills, of which {writing} while a backup was being written");
    }
}

/// One step of each kind of optimizer, broken off and taken up again.
#[test]
fn every_optimizer_goes_on() {
    let names = [
        "sgd",
        "rmsprop",
        "adam",
        "adamw",
        "nadam",
        "adamax",
        "adagrad",
        "adadelta",
        "adafactor",
        "ftrl",
        "lion",
        "lamb",
        "muon",
        "schedulefreeadamw",
        "loss scale",
    ];
    let (x, y) = points(40);
    for name in names {
        let train = |folder: &Path, hooks: usize| {
            let counter = Counter::default();
            let mut model = Sequential::new().with_seed(2);
            model.add(Input::new([5])).add(Dense::new(6).activation("relu")).add(Dense::new(3).activation("softmax"));
            let loss = "sparse_categorical_crossentropy";
            match name {
                // Its factor changes before and after the crash.
                "loss scale" => model.compile(LossScaleOptimizer::new("adam").dynamic_growth_steps(2), loss, ()),
                _ => model.compile(name, loss, ()),
            }
            .unwrap();
            let crash: Vec<Box<dyn Callback>> = vec![Box::new(counter.clone()), Box::new(Crash { hooks_left: hooks })];
            let history = model.fit(&x, &y, options(folder, 1, crash).epochs(2).batch_size(10))?;
            Ok::<_, Error>((bits(&model, &history), counter.count()))
        };
        let (undisturbed, all) = train(tempfile::tempdir().unwrap().path(), 999).unwrap();
        let folder = tempfile::tempdir().unwrap();
        assert!(train(folder.path(), 6).is_err());
        assert!(folder.path().join("backup/training.backup").exists());
        let (resumed, rest) = train(folder.path(), 999).unwrap();
        assert_eq!(resumed, undisturbed, "{name}");
        assert_eq!((all, rest), (8, 6), "{name}");
    }
}

/// Training is broken off in its second epoch, with a backup after each batch.
fn broken_off(folder: &Path) {
    assert!(arrays(folder, 1, vec![Box::new(Crash { hooks_left: 20 })]).is_err());
    assert!(folder.join("backup/training.backup").exists());
}

#[test]
fn a_damaged_backup_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    broken_off(folder.path());
    let path = folder.path().join("backup/training.backup");
    let whole = fs::read(&path).unwrap();
    let undisturbed = arrays(tempfile::tempdir().unwrap().path(), 0, vec![]).unwrap();
    let mut broken = vec![whole[..whole.len() - 1].to_vec(), whole[..20].to_vec(), Vec::new(), b"hello".to_vec()];
    for place in [0, 9, 13, 17, 25, 40, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        broken.push(bytes);
    }
    for bytes in broken {
        fs::write(&path, &bytes).unwrap();
        let error = arrays(folder.path(), 1, vec![]).unwrap_err().to_string();
        assert!(
            error.contains("training.backup") && error.contains("move it away to train from the beginning"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "it stays as it is");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(arrays(folder.path(), 1, vec![]).unwrap(), undisturbed);
}

/// The file that belongs to a container.
fn sealed(body: &[u8]) -> Vec<u8> {
    let (length, checksum) = ((body.len() as u64).to_le_bytes(), crc32fast::hash(body).to_le_bytes());
    [b"\x89cobak\r\n".as_slice(), &1u32.to_le_bytes(), &1u32.to_le_bytes(), &length, &checksum, body].concat()
}

#[test]
fn a_backup_that_lies_with_a_right_checksum_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = points(20);
    let data = Dataset::from_arrays(x.clone(), y.clone()).unwrap();
    for arrays in [true, false] {
        let train = |hooks: usize| {
            // Without an input shape: it comes from the sample.
            let mut model = Sequential::new().with_seed(2);
            model.add(Dense::new(3).activation("softmax"));
            model.compile("sgd", "sparse_categorical_crossentropy", "accuracy").unwrap();
            let crash: Vec<Box<dyn Callback>> = vec![Box::new(Crash { hooks_left: hooks })];
            let options = options(folder.path(), 1, crash).epochs(2).batch_size(5);
            let run = if arrays { model.fit(&x, &y, options) } else { model.fit(&data, (), options) };
            run.map(|_| ())
        };
        let path = folder.path().join("backup/training.backup");
        train(5).unwrap_err();
        let file = fs::read(&path).unwrap();
        let body = &file[28..];
        assert_eq!(sealed(body), file);
        let outcome = |body: &[u8]| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, sealed(body)).unwrap();
            train(999)
        };
        for length in (0..body.len()).step_by(7) {
            assert!(outcome(&body[..length]).is_err());
        }
        // Lengths and numbers of nearly 2^64, of 2^40 and 2^33 in every place.
        for i in 0..body.len() {
            for lie in [u64::MAX, i64::MAX as u64, 1 << 40, 1 << 33] {
                let _ = outcome(&[&body[..i], &[253], &lie.to_le_bytes(), &body[i + 1..]].concat());
            }
        }
        outcome(body).unwrap();
    }
}

#[test]
fn what_has_changed_is_told() {
    let (x, y) = points(40);
    struct Setting {
        units: usize,
        optimizer: &'static str,
        batch: usize,
        samples: usize,
        early: bool,
        epochs: usize,
    }
    const SAME: Setting = Setting { units: 6, optimizer: "adam", batch: 8, samples: 40, early: true, epochs: 3 };
    let train = |folder: &Path, s: Setting, crash: usize| {
        let mut model = Sequential::new().with_seed(2);
        model.add(Input::new([5])).add(Dense::new(s.units)).add(Dense::new(3).activation("softmax"));
        model.compile(s.optimizer, "sparse_categorical_crossentropy", ())?;
        let crash: Vec<Box<dyn Callback>> = vec![Box::new(Crash { hooks_left: crash })];
        let mut options = options(folder, 1, crash).epochs(s.epochs).batch_size(s.batch);
        if s.early {
            options = options.callback(EarlyStopping::new().monitor("loss").patience(9));
        }
        let rows = ndarray::s![..s.samples, ..];
        model.fit(&x.slice(rows), &y.slice(ndarray::s![..s.samples]), options)
    };
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), SAME, 14).unwrap_err();
    for (changed, told) in [
        (Setting { units: 7, ..SAME }, "shape [5, 7]"),
        (Setting { optimizer: "sgd", ..SAME }, "the optimizer was Adam{"),
        (Setting { batch: 4, ..SAME }, "the batch size was 8 when the backup was made, and is 4 now"),
        (Setting { samples: 30, ..SAME }, "the number of samples was 40"),
        (Setting { early: false, ..SAME }, "EarlyStopping is not among the callbacks now"),
    ] {
        let error = train(folder.path(), changed, 999).unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("training.backup"), "{told}: {error}");
    }
    // More epochs are no reason to begin anew.
    let history = train(folder.path(), Setting { epochs: 5, ..SAME }, 999).unwrap();
    assert_eq!(history.epochs(), [0, 1, 2, 3, 4]);
    let longer = train(tempfile::tempdir().unwrap().path(), Setting { epochs: 5, ..SAME }, 999).unwrap();
    assert_eq!(history, longer);
}

#[test]
fn a_finished_backup_that_is_kept_gives_the_model_and_trains_on() {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = points(40);
    let train = |epochs: usize, folder: &Path| {
        let mut model = Sequential::new().with_seed(2);
        model.add(Input::new([5])).add(Dense::new(3).activation("softmax"));
        model.compile("adam", "sparse_categorical_crossentropy", "accuracy").unwrap();
        let backup = BackupAndRestore::new(folder).delete_checkpoint(false).double_checkpoint(true);
        let history = model.fit(&x, &y, Fit::new().epochs(epochs).verbose(0).callback(backup)).unwrap();
        bits(&model, &history)
    };
    let three = train(3, folder.path());
    assert!(folder.path().join("training.previous.backup").exists());
    assert_eq!(train(3, folder.path()), three);
    let other = tempfile::tempdir().unwrap();
    assert_eq!(train(5, folder.path()), train(5, other.path()));
    // The process ended between the two names: the one before is there.
    fs::remove_file(folder.path().join("training.backup")).unwrap();
    assert_eq!(train(5, folder.path()), train(5, other.path()));
}

#[test]
fn a_metric_without_state_allows_backups_after_epochs_alone() {
    #[derive(Debug, Default)]
    struct Largest(f64);
    impl cornu::metrics::Metric for Largest {
        fn update(&mut self, _: &Tensor, y: &Tensor, _: Option<&Tensor>) -> Result<()> {
            self.0 = y.data().iter().fold(self.0, |largest, v| largest.max(f64::from(*v)));
            Ok(())
        }
        fn result(&self) -> f64 {
            self.0
        }
        fn reset(&mut self) {
            self.0 = 0.0;
        }
    }
    let (x, y) = points(20);
    let train = |folder: &Path, batches: usize| {
        let mut model = Sequential::new();
        model.add(Input::new([5])).add(Dense::new(3).activation("softmax"));
        model.compile("adam", "sparse_categorical_crossentropy", Largest::default()).unwrap();
        model.fit(&x, &y, options(folder, batches, vec![]))
    };
    let folder = tempfile::tempdir().unwrap();
    let error = train(folder.path(), 1).unwrap_err().to_string();
    assert!(error.contains("'largest' does not tell its state"), "{error}");
    train(folder.path(), 0).unwrap();
}

#[test]
fn one_backup_and_only_in_fit() {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = points(20);
    let mut model = Sequential::new();
    model.add(Input::new([5])).add(Dense::new(3).activation("softmax"));
    model.compile("adam", "sparse_categorical_crossentropy", ()).unwrap();
    let two = options(folder.path(), 0, vec![]).callback(BackupAndRestore::new(folder.path().join("b")));
    let error = model.fit(&x, &y, two).unwrap_err().to_string();
    assert!(error.contains("no more than one"), "{error}");
    let error = model.fit(&x, &y, Fit::new().callback(BackupAndRestore::new(folder.path()).save_freq(0))).unwrap_err();
    assert!(error.to_string().contains("save_freq"));
}

#[test]
fn an_interrupted_run_leaves_its_epoch_open_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let undisturbed = arrays(tempfile::tempdir().unwrap().path(), 0, vec![]).unwrap();
    for batches in [0, 3] {
        let interrupt = |at: usize| -> Vec<Box<dyn Callback>> {
            let mut left = at;
            vec![Box::new(LambdaCallback::new().on_train_batch_end(move |model, _, _| {
                left = left.saturating_sub(1);
                if left == 0 {
                    model.interrupt_training();
                }
                Ok(())
            }))]
        };
        for at in [4, 9, 7] {
            let early = arrays(folder.path(), batches, interrupt(at)).unwrap();
            assert_ne!(early, undisturbed);
            assert!(folder.path().join("backup/training.backup").exists());
        }
        assert_eq!(arrays(folder.path(), batches, vec![]).unwrap(), undisturbed);
    }
}

/// An interruption before the first batch of an epoch: nothing of before is done again.
#[test]
fn an_interruption_as_an_epoch_begins_is_backed_up() {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = points(40);
    let train = |folder: &Path, interrupt: bool| {
        let counter = Counter::default();
        let mut model = Sequential::new().with_seed(2);
        model.add(Input::new([5])).add(Dropout::new(0.2)).add(Dense::new(3).activation("softmax"));
        model.compile("adam", "sparse_categorical_crossentropy", "accuracy").unwrap();
        let begin = LambdaCallback::new().on_epoch_begin(move |model, epoch| {
            if interrupt && epoch == 1 {
                model.interrupt_training();
            }
            Ok(())
        });
        // No backup is due by itself.
        let options = options(folder, 100, vec![Box::new(counter.clone()), Box::new(begin)]);
        let history = model.fit(&x, &y, options.epochs(3).batch_size(10)).unwrap();
        (bits(&model, &history), counter.count())
    };
    let (undisturbed, all) = train(tempfile::tempdir().unwrap().path(), false);
    let (early, first) = train(folder.path(), true);
    assert!(folder.path().join("backup/training.backup").exists());
    assert_ne!(early, undisturbed);
    assert_eq!((all, first), (12, 4));
    assert_eq!(train(folder.path(), false), (undisturbed, 8));
}
