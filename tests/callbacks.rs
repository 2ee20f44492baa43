//! Callbacks at work in real runs of `fit`, measured against Keras where it decides.

use cornu::prelude::*;
use cornu::training::callbacks::Params;
use ndarray::{Array1, Array2};
use std::sync::{Arc, Mutex};

/// A line through the origin, one sample a batch.
fn data(n: usize) -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((n, 1), |(i, _)| i as f32 / n as f32);
    (x.clone(), x * 2.0)
}

fn line() -> Sequential {
    let mut model = Sequential::new().with_seed(3);
    model.add(Input::new([1])).add(Dense::new(1).use_bias(false));
    model.compile(Sgd::new(0.1), "mse", ()).unwrap();
    model
}

/// Reports these values as `val_loss`, and sets the weight to the number of the epoch.
struct Script(Vec<f64>);

impl Callback for Script {
    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        logs.insert("val_loss", self.0[epoch]);
        model.set_weights(&[Array2::from_elem((1, 1), epoch as f32).into_dyn()])
    }
}

/// Runs the script with a callback behind it.
fn play(values: &[f64], callback: impl Callback) -> Result<(History, Sequential)> {
    let (x, y) = data(2);
    let mut model = line();
    let options = Fit::new().epochs(values.len()).verbose(0).callback(Script(values.to_vec())).callback(callback);
    let history = model.fit(&x, &y, options)?;
    Ok((history, model))
}

fn weight(model: &Model) -> f32 {
    model.get_weights()[0].as_slice().unwrap()[0]
}

/// Random runs of Keras 3.15's EarlyStopping: its settings, the values of `val_loss`, then the number of
/// epochs that ran, the epoch that stopped it, the best value and its epoch, the final weight.
#[test]
#[rustfmt::skip]
fn early_stopping_does_as_keras() {
    type Case = (fn(EarlyStopping) -> EarlyStopping, [f64; 14], (usize, Option<usize>, f64, usize, usize));
    let cases: &[Case] = &[
        (|e| e.patience(2), [0.77, 0.52, 0.54, 0.55, 0.4, 0.45, 0.42, 0.21, 0.46, 0.39, 0.24, 0.25, 0.29, 0.18], (4, Some(3), 0.52, 1, 3)),
        (|e| e.patience(0), [0.58, 0.42, 0.6, 0.52, 0.51, 0.3, 0.59, 0.41, 0.32, 0.53, 0.3, 0.12, 0.2, 0.01], (3, Some(2), 0.42, 1, 2)),
        (|e| e.patience(3).min_delta(0.05), [0.7, 0.53, 0.47, 0.62, 0.31, 0.5, 0.21, 0.32, 0.24, 0.48, 0.48, 0.24, 0.32, 0.19], (10, Some(9), 0.21, 6, 9)),
        (|e| e.patience(2).baseline(0.45), [0.66, 0.49, 0.37, 0.33, 0.52, 0.67, 0.45, 0.34, 0.55, 0.35, 0.31, 0.3, 0.23, 0.18], (6, Some(5), 0.33, 3, 5)),
        (|e| e.patience(3).baseline(0.2).restore_best_weights(true), [0.46, 0.62, 0.53, 0.63, 0.44, 0.26, 0.41, 0.56, 0.32, 0.24, 0.18, 0.16, 0.21, 0.09], (3, Some(2), 0.46, 0, 0)),
        (|e| e.patience(2).start_from_epoch(4).restore_best_weights(true), [0.75, 0.54, 0.55, 0.65, 0.63, 0.43, 0.45, 0.46, 0.34, 0.15, 0.37, 0.36, 0.28, 0.12], (8, Some(7), 0.43, 5, 5)),
        (|e| e.mode(Mode::Max).patience(3).min_delta(0.02).restore_best_weights(true), [0.58, 0.56, 0.61, 0.79, 0.84, 0.77, 0.78, 0.81, 0.77, 0.78, 0.74, 0.83, 1.08, 0.96], (8, Some(7), 0.84, 4, 4)),
        (|e| e.patience(20).restore_best_weights(true), [0.57, 0.52, 0.45, 0.55, 0.52, 0.31, 0.47, 0.33, 0.5, 0.35, 0.47, 0.22, 0.21, 0.24], (14, None, 0.21, 12, 12)),
        (|e| e.patience(1).min_delta(-0.1).start_from_epoch(2), [0.71, 0.63, 0.42, 0.53, 0.48, 0.41, 0.36, 0.56, 0.32, 0.25, 0.36, 0.28, 0.23, 0.29], (4, Some(3), 0.42, 2, 3)),
        (|e| e.mode(Mode::Max).patience(4).baseline(0.9).start_from_epoch(1).restore_best_weights(true), [0.65, 0.66, 0.74, 0.69, 0.62, 0.67, 0.67, 0.77, 0.66, 0.61, 0.82, 0.7, 0.66, 0.91], (5, Some(4), 0.74, 2, 2)),
        (|e| e.patience(2), [0.53, 0.62, 0.49, 0.4, 0.36, 0.4, 0.39, 0.31, 0.33, 0.18, 0.3, 0.09, 0.22, 0.28], (7, Some(6), 0.36, 4, 6)),
        (|e| e.patience(0), [0.71, 0.74, 0.38, 0.59, 0.6, 0.55, 0.33, 0.43, 0.55, 0.18, 0.35, 0.38, 0.17, 0.27], (2, Some(1), 0.71, 0, 1)),
        (|e| e.patience(3).min_delta(0.05), [0.49, 0.49, 0.46, 0.53, 0.47, 0.55, 0.33, 0.38, 0.46, 0.39, 0.17, 0.34, 0.19, 0.25], (4, Some(3), 0.49, 0, 3)),
        (|e| e.patience(2).baseline(0.45), [0.63, 0.69, 0.55, 0.32, 0.34, 0.52, 0.39, 0.5, 0.39, 0.26, 0.41, 0.19, 0.03, 0.42], (2, Some(1), 0.63, 0, 1)),
        (|e| e.patience(3).baseline(0.2).restore_best_weights(true), [0.41, 0.63, 0.63, 0.52, 0.31, 0.55, 0.28, 0.26, 0.32, 0.41, 0.33, 0.35, 0.2, 0.19], (3, Some(2), 0.41, 0, 0)),
        (|e| e.patience(2).start_from_epoch(4).restore_best_weights(true), [0.49, 0.54, 0.6, 0.48, 0.53, 0.39, 0.36, 0.39, 0.34, 0.39, 0.32, 0.44, 0.22, 0.19], (14, None, 0.19, 13, 13)),
        (|e| e.mode(Mode::Max).patience(3).min_delta(0.02).restore_best_weights(true), [0.5, 0.62, 0.71, 0.59, 0.68, 0.78, 0.71, 0.7, 0.87, 0.8, 0.85, 0.95, 0.97, 0.84], (14, None, 0.95, 11, 11)),
        (|e| e.patience(20).restore_best_weights(true), [0.55, 0.6, 0.53, 0.32, 0.61, 0.45, 0.49, 0.27, 0.49, 0.27, 0.29, 0.13, 0.22, 0.19], (14, None, 0.13, 11, 11)),
        (|e| e.patience(1).min_delta(-0.1).start_from_epoch(2), [0.58, 0.61, 0.55, 0.61, 0.43, 0.35, 0.42, 0.45, 0.48, 0.41, 0.12, 0.31, 0.39, 0.22], (4, Some(3), 0.55, 2, 3)),
        (|e| e.mode(Mode::Max).patience(4).baseline(0.9).start_from_epoch(1).restore_best_weights(true), [0.55, 0.65, 0.59, 0.73, 0.68, 0.84, 0.78, 0.67, 0.83, 0.88, 0.75, 0.79, 0.62, 0.96], (5, Some(4), 0.73, 3, 3)),
    ];
    for (i, (set, values, (epochs, stopped, best, best_epoch, last))) in cases.iter().enumerate() {
        let mut early = set(EarlyStopping::new());
        let (history, model) = play(values, &mut early).unwrap();
        assert_eq!(history.epochs().len(), *epochs, "case {i}");
        assert_eq!(early.stopped_epoch(), *stopped, "case {i}");
        assert_eq!((early.best(), early.best_epoch()), (Some(*best), Some(*best_epoch)), "case {i}");
        assert_eq!(weight(&model), *last as f32, "case {i}");
    }
}

/// Random runs of Keras 3.15's ReduceLROnPlateau: its settings, the values of `val_loss`, then the
/// `learning_rate` it logs in each epoch, and the last it sets.
#[test]
#[rustfmt::skip]
fn reduce_lr_on_plateau_does_as_keras() {
    type Case = (fn(ReduceLROnPlateau) -> ReduceLROnPlateau, [f64; 14], [f64; 15]);
    let cases: &[Case] = &[
        (|r| r.patience(2), [0.44, 0.29, 0.32, 0.48, 0.58, 0.49, 0.55, 0.39, 0.37, 0.59, 0.55, 0.5, 0.63, 0.4], [0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.009999999776482582, 0.009999999776482582, 0.0009999999310821295, 0.0009999999310821295, 9.99999901978299e-05, 9.99999901978299e-05, 9.99999883788405e-06, 9.99999883788405e-06, 9.99999883788405e-07, 9.99999883788405e-07, 9.999998695775503e-08]),
        (|r| r.patience(1).factor(0.5).cooldown(2), [0.46, 0.6, 0.68, 0.5, 0.67, 0.44, 0.53, 0.48, 0.34, 0.53, 0.59, 0.49, 0.49, 0.64], [0.10000000149011612, 0.10000000149011612, 0.05000000074505806, 0.05000000074505806, 0.02500000037252903, 0.02500000037252903, 0.02500000037252903, 0.012500000186264515, 0.012500000186264515, 0.012500000186264515, 0.0062500000931322575, 0.0062500000931322575, 0.0031250000465661287, 0.0031250000465661287, 0.0015625000232830644]),
        (|r| r.patience(1).factor(0.3).min_lr(0.01), [0.38, 0.35, 0.43, 0.38, 0.63, 0.53, 0.41, 0.44, 0.79, 0.44, 0.42, 0.53, 0.56, 0.52], [0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.030000001192092896, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582, 0.009999999776482582]),
        (|r| r.patience(2).min_delta(0.1).factor(0.5), [0.41, 0.38, 0.56, 0.49, 0.34, 0.62, 0.58, 0.48, 0.47, 0.52, 0.43, 0.37, 0.53, 0.36], [0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.05000000074505806, 0.05000000074505806, 0.02500000037252903, 0.02500000037252903, 0.012500000186264515, 0.012500000186264515, 0.0062500000931322575, 0.0062500000931322575, 0.0031250000465661287, 0.0031250000465661287, 0.0015625000232830644, 0.0015625000232830644]),
        (|r| r.mode(Mode::Max).patience(1).factor(0.2).cooldown(1).min_lr(0.001), [0.54, 0.36, 0.49, 0.49, 0.68, 0.39, 0.36, 0.44, 0.39, 0.44, 0.54, 0.58, 0.67, 0.43], [0.10000000149011612, 0.10000000149011612, 0.019999999552965164, 0.003999999724328518, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513, 0.0010000000474974513]),
        (|r| r.patience(0).factor(0.9), [0.76, 0.7, 0.48, 0.27, 0.49, 0.51, 0.27, 0.51, 0.48, 0.42, 0.56, 0.6, 0.45, 0.52], [0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.10000000149011612, 0.09000000357627869, 0.08100000023841858, 0.07289999723434448, 0.06560999900102615, 0.05904899910092354, 0.053144097328186035, 0.04782968759536743, 0.04304672032594681, 0.03874204680323601, 0.03486784175038338]),
    ];
    for (i, (set, values, rates)) in cases.iter().enumerate() {
        let (history, model) = play(values, set(ReduceLROnPlateau::new())).unwrap();
        let mut found = history["learning_rate"].to_vec();
        found.push(model.learning_rate().unwrap());
        assert_eq!(found, rates, "case {i}");
    }
}

#[test]
fn early_stopping_forgets_the_run_before() -> Result<()> {
    let mut early = EarlyStopping::new();
    play(&[0.5, 0.6, 0.7], &mut early)?;
    assert_eq!((early.stopped_epoch(), early.best()), (Some(1), Some(0.5)));
    play(&[0.9, 0.8, 0.7], &mut early)?;
    assert_eq!((early.stopped_epoch(), early.best()), (None, Some(0.7)));
    Ok(())
}

#[test]
fn a_monitored_value_that_is_not_there_stops_nothing() -> Result<()> {
    let mut early = EarlyStopping::new().monitor("val_los").mode(Mode::Min).restore_best_weights(true);
    let plateau = ReduceLROnPlateau::new().monitor("val_los").mode(Mode::Min).patience(1);
    let (history, model) = play(&[0.5, 0.6, 0.7], &mut early)?;
    assert_eq!((history.epochs().len(), early.best(), weight(&model)), (3, None, 2.0));
    assert_eq!(play(&[0.5, 0.6, 0.7], plateau)?.0["learning_rate"], [f64::from(0.1f32); 3]);
    Ok(())
}

#[test]
fn early_stopping_ends_a_real_training() -> Result<()> {
    let x = Array2::from_shape_fn((80, 4), |(i, j)| ((i * (j + 3) * 7 + j) % 13) as f32 / 13.0);
    let y: Array1<i32> = x.outer_iter().map(|row| i32::from(row[0] + row[1] > row[2] + row[3])).collect();
    let mut model = Sequential::new().with_seed(5);
    model.add(Input::new([4])).add(Dense::new(16).activation("relu")).add(Dense::new(2).activation("softmax"));
    model.compile(Adam::new(0.05), "sparse_categorical_crossentropy", ["accuracy"])?;
    let mut early = EarlyStopping::new().monitor("val_accuracy").patience(3).restore_best_weights(true);
    let options = Fit::new().epochs(500).batch_size(16).verbose(0).validation_split(0.25).callback(&mut early);
    let history = model.fit(&x, &y, options)?;
    let (stopped, best) = (early.stopped_epoch().unwrap(), early.best_epoch().unwrap());
    assert_eq!((history.epochs().len(), stopped), (stopped + 1, best + 3));
    assert_eq!(early.best(), Some(history["val_accuracy"][best]));
    // The weights are those of the best epoch: the held-out rows give its loss.
    let rows = |from: usize| (x.slice(ndarray::s![from.., ..]), y.slice(ndarray::s![from..]));
    let (held_x, held_y) = rows(60);
    let scores = model.evaluate(&held_x, &held_y, Evaluate::default())?;
    assert!((scores["loss"] - history["val_loss"][best]).abs() < 1e-6);
    Ok(())
}

#[test]
fn arguments_that_make_no_sense_are_told_before_training() {
    let error = |callback: &mut dyn Callback| play(&[0.5], callback).map(|_| ()).unwrap_err().to_string();
    assert!(error(&mut EarlyStopping::new().monitor("my_score")).contains("'my_score'"));
    assert!(error(&mut ReduceLROnPlateau::new().factor(1.0)).contains("factor is 1"));
    assert!(error(&mut ReduceLROnPlateau::new().min_lr(f64::NAN)).contains("min_lr"));
    assert!(error(&mut LearningRateScheduler::new(|_, _| -1.0)).starts_with("LearningRateScheduler"));

    let (x, y) = data(2);
    let mut model = line();
    model.compile(Sgd::new(ExponentialDecay::new(0.1, 10, 0.9)), "mse", ()).unwrap();
    let options = Fit::new().verbose(0).callback(ReduceLROnPlateau::new());
    let message = model.fit(&x, &y, options).unwrap_err().to_string();
    assert!(message.starts_with("ReduceLROnPlateau: ") && message.contains("schedule"), "{message}");
}

#[test]
fn a_scheduler_sees_the_epoch_and_the_rate() -> Result<()> {
    let mut seen = Vec::new();
    let schedule = LearningRateScheduler::new(|epoch, rate| {
        seen.push((epoch, rate));
        0.5 / (epoch + 1) as f64
    });
    let (history, model) = play(&[1.0; 2], schedule)?;
    assert_eq!(seen, [(0, f64::from(0.1f32)), (1, 0.5)]);
    assert_eq!(history["learning_rate"], [0.5, 0.25]);
    assert_eq!(model.learning_rate()?, 0.25);
    Ok(())
}

/// A callback that writes down what it is told.
fn witness(name: &'static str, told: &Arc<Mutex<Vec<String>>>) -> LambdaCallback<'static> {
    let tell = |hook: &'static str| {
        let told = told.clone();
        move |number: Option<usize>| {
            let number = number.map(|n| format!(" {n}")).unwrap_or_default();
            told.lock().unwrap().push(format!("{name}: {hook}{number}"));
            Ok(())
        }
    };
    let (train_begin, train_end, epoch_begin, epoch_end) =
        (tell("train_begin"), tell("train_end"), tell("epoch_begin"), tell("epoch_end"));
    let (batch_begin, batch_end, test_begin, test_end) =
        (tell("batch_begin"), tell("batch_end"), tell("test_begin"), tell("test_end"));
    let (test_batch_begin, test_batch_end) = (tell("test_batch_begin"), tell("test_batch_end"));
    LambdaCallback::new()
        .on_train_begin(move |_| train_begin(None))
        .on_train_end(move |_, _| train_end(None))
        .on_epoch_begin(move |_, epoch| epoch_begin(Some(epoch)))
        .on_epoch_end(move |_, epoch, _| epoch_end(Some(epoch)))
        .on_train_batch_begin(move |_, batch| batch_begin(Some(batch)))
        .on_train_batch_end(move |_, batch, _| batch_end(Some(batch)))
        .on_test_begin(move |_| test_begin(None))
        .on_test_end(move |_, _| test_end(None))
        .on_test_batch_begin(move |_, batch| test_batch_begin(Some(batch)))
        .on_test_batch_end(move |_, batch, _| test_batch_end(Some(batch)))
}

#[test]
fn hooks_are_called_in_order() -> Result<()> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (x, y) = data(3);
    let options = Fit::new().epochs(2).batch_size(2).verbose(0).validation_data(&x, &y);
    line().fit(&x, &y, options.callback(witness("a", &told)).callback(witness("b", &told)))?;
    let epoch = |i: usize| {
        let head = [format!("epoch_begin {i}")];
        let body = "batch_begin 0,batch_end 0,batch_begin 1,batch_end 1,test_begin,test_batch_begin 0,\
            test_batch_end 0,test_batch_begin 1,test_batch_end 1,test_end";
        head.into_iter().chain(body.split(',').map(str::to_owned)).chain([format!("epoch_end {i}")])
    };
    let once = ["train_begin".to_owned()].into_iter().chain(epoch(0)).chain(epoch(1)).chain(["train_end".to_owned()]);
    let both: Vec<String> = once.flat_map(|hook| [format!("a: {hook}"), format!("b: {hook}")]).collect();
    assert_eq!(*told.lock().unwrap(), both);
    Ok(())
}

#[test]
fn an_error_of_a_callback_ends_the_run() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (x, y) = data(3);
    let fail = LambdaCallback::new().on_train_batch_end(|_, batch, _| match batch {
        1 => Err(Error::Data("enough".to_owned())),
        _ => Ok(()),
    });
    let options = Fit::new().epochs(2).batch_size(1).verbose(0).callback(fail).callback(witness("a", &told));
    assert_eq!(line().fit(&x, &y, options).unwrap_err().to_string(), "enough");
    assert_eq!(told.lock().unwrap().last().unwrap(), "a: batch_begin 1");
}

#[test]
fn terminate_on_nan_ends_an_epoch_in_the_middle() {
    let (mut x, y) = data(6);
    x[[2, 0]] = f32::NAN;
    let told = Arc::new(Mutex::new(Vec::new()));
    let options = |callback: TerminateOnNaN| {
        Fit::new().epochs(3).batch_size(1).shuffle(false).verbose(0).callback(callback).callback(witness("a", &told))
    };
    let history = line().fit(&x, &y, options(TerminateOnNaN::new())).unwrap();
    assert_eq!((history.epochs(), history.first_non_finite()), (&[0][..], Some((0, 2))));
    assert_eq!(
        told.lock().unwrap()[5..],
        ["a: batch_end 1", "a: batch_begin 2", "a: batch_end 2", "a: epoch_end 0", "a: train_end"]
    );

    told.lock().unwrap().clear();
    let error = line().fit(&x, &y, options(TerminateOnNaN::new().raise_error(true))).unwrap_err().to_string();
    assert!(error.contains("NaN in batch 2"), "{error}");
    assert_eq!(told.lock().unwrap().last().unwrap(), "a: batch_begin 2");
}

/// The header and the order of columns are those of a file that Keras 3.15 wrote.
#[test]
fn a_csv_file_has_the_columns_of_keras() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.csv");
    let read = || std::fs::read_to_string(&path).unwrap();
    let fill = || {
        LambdaCallback::new().on_epoch_end(|_, epoch, logs| {
            let at = epoch as f64;
            *logs = Logs::new();
            logs.insert("loss", 0.5 + at);
            logs.insert("accuracy", 1e-7);
            if epoch == 0 {
                logs.insert("val_loss", f64::NAN);
                logs.insert_list("learning_rate", vec![0.5, 1.0]);
            }
            Ok(())
        })
    };
    let (x, y) = data(2);
    let run = |logger: CSVLogger, from: usize, to: usize| {
        line().fit(&x, &y, Fit::new().initial_epoch(from).epochs(to).verbose(0).callback(fill()).callback(logger))
    };
    run(CSVLogger::new(&path), 0, 2)?;
    let first = "epoch,accuracy,learning_rate,loss,val_loss\r\n0,1e-7,\"[0.5, 1.0]\",0.5,NaN\r\n1,1e-7,NA,1.5,NA\r\n";
    assert_eq!(read(), first);
    run(CSVLogger::new(&path).append(true), 2, 3)?;
    assert_eq!(read(), format!("{first}2,1e-7,2.5,NA,NA\r\n"));
    run(CSVLogger::new(&path).separator(';'), 1, 2)?;
    assert_eq!(read(), "epoch;accuracy;loss;val_accuracy;val_loss\r\n1;1e-7;1.5;NA;NA\r\n");

    let missing = folder.path().join("none").join("log.csv");
    assert!(matches!(run(CSVLogger::new(&missing), 0, 1), Err(Error::Io { path, .. }) if path == missing));
    Ok(())
}

#[test]
fn callbacks_are_told_how_the_run_is_laid_out() -> Result<()> {
    struct Layout(Params);
    impl Callback for Layout {
        fn set_params(&mut self, params: &Params) -> Result<()> {
            self.0 = params.clone();
            Ok(())
        }
    }
    let (x, y) = data(7);
    let mut layout = Layout(Params::default());
    line().fit(&x, &y, Fit::new().epochs(4).batch_size(2).verbose(0).callback(&mut layout))?;
    assert_eq!(layout.0, Params { epochs: 4, steps: Some(4), batch_size: 2 });
    line().evaluate(&x, &y, Evaluate::new().batch_size(3).callback(&mut layout))?;
    assert_eq!(layout.0, Params { epochs: 1, steps: Some(3), batch_size: 3 });
    Ok(())
}

/// With averages that take the weights' place, an evaluation is that of a model that has the averages as its weights.
#[test]
fn averages_take_the_weights_place() -> Result<()> {
    let (x, y) = data(16);
    let train = |swap: Option<SwapEMAWeights>, epochs: usize| -> Result<(History, Sequential, Vec<f32>)> {
        let mut model = Sequential::new().with_seed(3);
        model.add(Input::new([1])).add(Dense::new(1).use_bias(false));
        model.compile(Sgd::new(0.1).use_ema(true).ema_momentum(0.9), "mse", ())?;
        let mut at_ends = Vec::new();
        let see = LambdaCallback::new().on_epoch_end(|model, _, _| {
            at_ends.push(weight(model));
            Ok(())
        });
        let mut options = Fit::new().epochs(epochs).batch_size(4).verbose(0).validation_data(&x, &y);
        if let Some(swap) = swap {
            options = options.callback(swap);
        }
        let history = model.fit(&x, &y, options.callback(see))?;
        Ok((history, model, at_ends))
    };
    // After training the averages are the weights: so those of each epoch are known.
    let averages: Vec<f32> = (1..=3).map(|epochs| Ok(weight(&train(None, epochs)?.1))).collect::<Result<_>>()?;
    let (plain, _, raw) = train(None, 3)?;
    assert!(raw.iter().zip(&averages).all(|(raw, average)| raw != average));
    for (on_epoch, seen) in [(false, &raw), (true, &averages)] {
        let (history, model, at_ends) = train(Some(SwapEMAWeights::new().swap_on_epoch(on_epoch)), 3)?;
        assert_eq!(&at_ends, seen);
        assert_eq!(history["loss"], plain["loss"], "training itself does not change");
        assert_eq!(weight(&model), averages[2]);
        for (val_loss, average) in history["val_loss"].iter().zip(&averages) {
            let mut with = line();
            with.set_weights(&[Array2::from_elem((1, 1), *average).into_dyn()])?;
            assert_eq!(*val_loss, with.evaluate(&x, &y, Evaluate::new().batch_size(4))?["loss"]);
        }
    }
    // Outside of training: the weights come back afterwards.
    let (_, mut model, _) = train(None, 2)?;
    model.set_weights(&[Array2::from_elem((1, 1), 5.0).into_dyn()])?;
    let mut swap = SwapEMAWeights::new();
    let predicted = model.predict(&x, Predict::new().callback(&mut swap))?;
    assert_eq!(predicted[[8, 0]], averages[1] * x[[8, 0]]);
    let scores = model.evaluate(&x, &y, Evaluate::new().callback(&mut swap))?;
    assert_ne!(scores["loss"], model.evaluate(&x, &y, Evaluate::new())?["loss"]);
    assert_eq!(weight(&model), 5.0);
    // A prediction that fails puts them back, too.
    assert!(model.predict(&Array2::<f32>::zeros((2, 3)), Predict::new().callback(&mut swap)).is_err());
    assert_eq!(weight(&model), 5.0);
    let error = line().fit(&x, &y, Fit::new().verbose(0).callback(SwapEMAWeights::new())).unwrap_err().to_string();
    assert!(error.contains("use_ema(true)"), "{error}");
    Ok(())
}

/// Whatever fails while the averages are in the weights' place: the weights are there afterwards.
#[test]
fn averages_leave_the_weights_place_when_something_fails() -> Result<()> {
    let (x, y) = data(16);
    let model = || -> Result<Sequential> {
        let mut model = Sequential::new().with_seed(3);
        model.add(Input::new([1])).add(Dense::new(1).use_bias(false));
        model.compile(Sgd::new(0.1).use_ema(true).ema_momentum(0.9), "mse", ())?;
        model.fit(&x, &y, Fit::new().verbose(0))?;
        model.set_weights(&[Array2::from_elem((1, 1), 5.0).into_dyn()])?;
        Ok(model)
    };
    let killed = || Err(Error::State("killed".to_owned()));
    let wide = Array2::<f32>::zeros((16, 3));

    // An evaluation fails, or a hook behind the swap, or the prediction's.
    let mut ema = model()?;
    assert!(ema.evaluate(&wide, &y, Evaluate::new().callback(SwapEMAWeights::new())).is_err());
    assert_eq!(weight(&ema), 5.0);
    let mut swap = SwapEMAWeights::new();
    assert!(ema.evaluate(&wide, &y, Evaluate::new().callback(&mut swap)).is_err());
    assert_eq!(weight(&ema), 5.0);
    let fails = LambdaCallback::new().on_test_begin(move |_| killed());
    assert!(ema.evaluate(&x, &y, Evaluate::new().callback(SwapEMAWeights::new()).callback(fails)).is_err());
    assert_eq!(weight(&ema), 5.0);
    let fails = LambdaCallback::new().on_predict_begin(move |_| killed());
    assert!(ema.predict(&x, Predict::new().callback(SwapEMAWeights::new()).callback(fails)).is_err());
    assert_eq!(weight(&ema), 5.0);
    // The end of an evaluation is told after an error, too.
    let mut ended = false;
    let ends = LambdaCallback::new().on_test_end(|_, _| {
        ended = true;
        Ok(())
    });
    assert!(ema.evaluate(&wide, &y, Evaluate::new().callback(ends)).is_err());
    assert!(ended);

    // Training fails between two epochs, where the averages stand in for the weights.
    let fails = || LambdaCallback::new().on_epoch_end(move |_, _, _| killed());
    let options = || Fit::new().epochs(2).verbose(0);
    let mut plain = model()?;
    assert!(plain.fit(&x, &y, options().callback(fails())).is_err());
    let mut ema = model()?;
    let swapped = options().callback(SwapEMAWeights::new().swap_on_epoch(true)).callback(fails());
    assert!(ema.fit(&x, &y, swapped).is_err());
    assert_eq!(weight(&ema), weight(&plain));

    // One that is lent puts them back when it is used again, ...
    let mut ema = model()?;
    let mut swap = SwapEMAWeights::new().swap_on_epoch(true);
    assert!(ema.fit(&x, &y, options().callback(&mut swap).callback(fails())).is_err());
    assert_ne!(weight(&ema), weight(&plain));
    ema.predict(&x, Predict::new().callback(&mut swap))?;
    assert_eq!(weight(&ema), weight(&plain));
    // ... or goes, but not over what was set since then.
    assert!(ema.fit(&x, &y, options().callback(&mut swap).callback(fails())).is_err());
    ema.set_weights(&[Array2::from_elem((1, 1), 7.0).into_dyn()])?;
    ema.evaluate(&x, &y, Evaluate::new().callback(&mut swap))?;
    assert_eq!(weight(&ema), 7.0);
    assert!(ema.fit(&x, &y, options().callback(&mut swap).callback(fails())).is_err());
    ema.set_weights(&[Array2::from_elem((1, 1), 7.0).into_dyn()])?;
    drop(swap);
    assert_eq!(weight(&ema), 7.0);
    Ok(())
}

#[test]
fn training_that_is_stopped_as_it_begins_does_nothing() -> Result<()> {
    let (x, y) = data(4);
    let mut model = line();
    model.build()?;
    let before = weight(&model);
    let stop = LambdaCallback::new().on_train_begin(|model| {
        model.stop_training();
        Ok(())
    });
    let history = model.fit(&x, &y, Fit::new().epochs(3).verbose(0).callback(stop))?;
    assert!(history.epochs().is_empty() && model.is_stopped());
    assert_eq!((model.iterations()?, weight(&model)), (0, before));
    Ok(())
}

#[test]
fn predictions_have_their_hooks_and_change_nothing() -> Result<()> {
    let (x, y) = data(10);
    let mut model = line();
    model.build()?;
    let plain = model.predict(&x, Predict::new())?;
    let dataset = Dataset::from_arrays(x.clone(), y)?;
    for arrays in [true, false] {
        let seen = Mutex::new(Vec::new());
        let note = |text: String| {
            seen.lock().unwrap().push(text);
            Ok(())
        };
        let watch = LambdaCallback::new()
            .on_predict_begin(|_| note("begin".to_owned()))
            .on_predict_batch_begin(|_, batch| note(format!("<{batch}")))
            .on_predict_batch_end(|_, batch| note(format!("{batch}>")))
            .on_predict_end(|_| note("end".to_owned()));
        let options = Predict::new().batch_size(4).callback(watch);
        let found = if arrays { model.predict(&x, options)? } else { model.predict(&dataset, options)? };
        assert_eq!(found, plain);
        assert_eq!(*seen.lock().unwrap(), ["begin", "<0", "0>", "<1", "1>", "<2", "2>", "end"]);
    }
    Ok(())
}

/// The log of a training that goes on has the lines of one that was never interrupted, and what others wrote stays.
#[test]
fn a_log_goes_on_behind_the_backup() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let (x, y) = data(8);
    let log_every = |name: &str, append: bool, fail: usize, save_freq: Option<usize>| {
        let path = folder.path().join(name);
        let fail = LambdaCallback::new().on_epoch_end(move |_, epoch, _| match epoch == fail {
            true => Err(Error::State("killed".to_owned())),
            false => Ok(()),
        });
        // The line of the epoch that fails is written, and its backup is not.
        let options = Fit::new().epochs(4).verbose(0).callback(CSVLogger::new(&path).append(append)).callback(fail);
        let mut backup = BackupAndRestore::new(folder.path().join(format!("{name}.d")));
        if let Some(batches) = save_freq {
            backup = backup.save_freq(batches);
        }
        let run = line().fit(&x, &y, options.callback(backup));
        (std::fs::read_to_string(&path).unwrap(), run.is_ok())
    };
    let log = |name: &str, append: bool, fail: usize| log_every(name, append, fail, None);
    let (whole, _) = log("whole.csv", false, 99);
    assert_eq!(whole.lines().count(), 5);
    let (part, through) = log("part.csv", false, 2);
    assert!(!through && part.lines().count() == 4);
    assert_eq!(log("part.csv", false, 99), (whole.clone(), true));
    std::fs::write(folder.path().join("old.csv"), "old\r\n").unwrap();
    assert!(!log("old.csv", true, 1).1);
    let lines = whole.split_once("\r\n").unwrap().1;
    assert_eq!(log("old.csv", true, 99), (format!("old\r\n{lines}"), true));
    // From the middle of the first epoch, when its line is there already.
    for append in [false, true] {
        let name = format!("middle{append}.csv");
        let path = folder.path().join(&name);
        std::fs::write(&path, "old\r\n").unwrap();
        let (part, through) = log_every(&name, append, 0, Some(1));
        assert!(!through && part.lines().count() == 2);
        let want = if append { format!("old\r\n{lines}") } else { whole.clone() };
        assert_eq!(log_every(&name, append, 99, Some(1)), (want, true));
    }
    Ok(())
}
