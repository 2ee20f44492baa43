//! Training, evaluating and predicting from a dataset.

use cornu::data::{Batch, Item, Prefetch};
use cornu::prelude::*;
use cornu::runtime::threads;
use ndarray::{Array1, Array2};
use ndarray_rand::rand::Rng as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn xor(n: usize) -> (Array2<f32>, Array1<u8>) {
    let x = Array2::from_shape_fn((n, 2), |(i, j)| ((i * (7 + 4 * j) % 41) as f32 - 20.0) / 20.0);
    let y = x.rows().into_iter().map(|r| u8::from(r[0] * r[1] > 0.0)).collect();
    (x, y)
}

fn classifier(seed: u64) -> Sequential {
    let mut model = Sequential::new().with_seed(seed);
    model.add(Input::new([2])).add(Dense::new(16).activation("tanh")).add(Dense::new(2).activation("softmax"));
    model.compile(Adam::new(0.01), "sparse_categorical_crossentropy", ["accuracy"]).unwrap();
    model
}

fn dataset(n: usize) -> Dataset {
    let (x, y) = xor(n);
    Dataset::from_arrays(x, y).unwrap()
}

fn says<T>(result: Result<T>, text: &str) {
    let error = result.map(drop).unwrap_err().to_string();
    assert!(error.contains(text), "{error}");
}

#[test]
fn a_dataset_trains_as_its_arrays_do() {
    let (x, y) = xor(150);
    let (vx, vy) = xor(40);
    let by_arrays = {
        let mut model = classifier(3);
        let options =
            Fit::new().epochs(3).shuffle(false).validation_data(&vx, &vy).validation_batch_size(16).verbose(0);
        let history = model.fit(&x, &y, options).unwrap();
        (
            history,
            model.get_weights(),
            model.evaluate(&x, &y, Evaluate::new()).unwrap(),
            model.predict(&x, Predict::new()).unwrap(),
        )
    };
    let (train, validation) = (dataset(150), dataset(40));
    for batched in [false, true] {
        let mut model = classifier(3);
        let (train, validation) = match batched {
            true => (train.batch(32).prefetch(3), validation.batch(16)),
            false => (train.clone(), validation.clone()),
        };
        let options = Fit::new().epochs(3).validation_data(&validation, ()).validation_batch_size(16).verbose(0);
        let history = model.fit(&train, (), options).unwrap();
        let scores = model.evaluate(&train, (), Evaluate::new()).unwrap();
        let predictions = model.predict(&train, Predict::new()).unwrap();
        let by_dataset = (history, model.get_weights(), scores, predictions);
        assert_eq!(by_dataset.0["val_loss"], by_arrays.0["val_loss"]);
        assert_eq!(
            (by_dataset.1, by_dataset.2, by_dataset.3),
            (by_arrays.1.clone(), by_arrays.2.clone(), by_arrays.3.clone())
        );
    }
}

/// Shuffled and augmented: all that is random.
fn noisy(workers: usize) -> Dataset {
    let noisy = dataset(100).shuffle(100).map_random(|item, rng| {
        let noise: f32 = rng.random_range(-0.05..0.05);
        item.map_x(|x| Ok(x.map(|v| v + noise)))
    });
    noisy.batch(16).prefetch(Prefetch::new().workers(workers))
}

#[test]
fn the_same_seed_gives_the_same_bits_with_any_number_of_workers_and_threads() {
    let run = |workers: usize, number: usize| {
        threads::with_num_threads(number, || {
            let mut model = classifier(9);
            model.fit(&noisy(workers), (), Fit::new().epochs(3).verbose(0)).unwrap();
            model.get_weights()
        })
    };
    let first = run(0, 1);
    assert_eq!(first, run(1, 1));
    assert_eq!(first, run(3, 2));
    assert_eq!(first, run(2, 4));
}

#[test]
fn training_goes_on_at_an_epoch_with_the_same_bits() {
    let mut whole = classifier(4);
    whole.fit(&noisy(2), (), Fit::new().epochs(4).verbose(0)).unwrap();
    let mut parts = classifier(4);
    parts.fit(&noisy(2), (), Fit::new().epochs(2).verbose(0)).unwrap();
    parts.fit(&noisy(2), (), Fit::new().epochs(4).initial_epoch(2).verbose(0)).unwrap();
    assert_eq!(whole.get_weights(), parts.get_weights());
}

/// Counts the batches of each epoch and keeps what `set_params` says.
#[derive(Default)]
struct Counter(Vec<usize>, Option<usize>);

impl Callback for Counter {
    fn set_params(&mut self, params: &cornu::training::callbacks::Params) -> Result<()> {
        self.1 = params.steps;
        Ok(())
    }
    fn on_epoch_begin(&mut self, _: &mut cornu::Model, _: usize) -> Result<()> {
        self.0.push(0);
        Ok(())
    }
    fn on_train_batch_begin(&mut self, _: &mut cornu::Model, _: usize) -> Result<()> {
        *self.0.last_mut().unwrap() += 1;
        Ok(())
    }
}

#[test]
fn steps_per_epoch_go_on_where_the_last_epoch_ended() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let epochs = |data: &Dataset, epochs: usize, steps: Option<usize>| {
        seen.lock().unwrap().clear();
        let list = seen.clone();
        let watched = data.map(move |item| {
            list.lock().unwrap().push(item.x[0].data()[0]);
            Ok(item)
        });
        let (mut counter, mut fit) = (Counter::default(), Fit::new().epochs(epochs).verbose(0));
        if let Some(steps) = steps {
            fit = fit.steps_per_epoch(steps);
        }
        classifier(1).fit(&watched.prefetch(0), (), fit.callback(&mut counter)).unwrap();
        (counter.0, counter.1, seen.lock().unwrap().clone())
    };
    let (x, _) = xor(50);
    let starts = |batches: &[usize]| batches.iter().map(|b| x[[b * 10, 0]]).collect::<Vec<_>>();
    let data = dataset(50).batch(10);
    assert_eq!(epochs(&data, 2, None), (vec![5, 5], Some(5), starts(&[0, 1, 2, 3, 4, 0, 1, 2, 3, 4])));
    // Epochs of two batches: after the third the pass is at its last batch.
    assert_eq!(epochs(&data, 4, Some(2)), (vec![2, 2, 1, 2], Some(2), starts(&[0, 1, 2, 3, 4, 0, 1])));
    // Epochs that end where passes do.
    let unknown = data.filter(|_| Ok(true));
    for data in [&data, &unknown] {
        assert_eq!(epochs(data, 3, Some(5)).0, [5, 5, 5]);
        assert_eq!(epochs(data, 3, Some(5)).2, starts(&[0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4]));
        let even = data.take(4);
        let (counts, _, seen) = epochs(&even, 4, Some(2));
        assert_eq!((counts, seen), (vec![2, 2, 2, 2], starts(&[0, 1, 2, 3, 0, 1, 2, 3])));
    }
    let (x_even, y_even) = xor(40);
    let mut counter = Counter::default();
    let fit = Fit::new().epochs(4).batch_size(10).steps_per_epoch(2).shuffle(false).verbose(0);
    let mut by_arrays = classifier(1);
    by_arrays.fit(&x_even, &y_even, fit.callback(&mut counter)).unwrap();
    assert_eq!(counter.0, [2, 2, 2, 2]);
    let mut by_dataset = classifier(1);
    by_dataset.fit(&dataset(40).batch(10), (), Fit::new().epochs(4).steps_per_epoch(2).verbose(0)).unwrap();
    assert_eq!(by_arrays.get_weights(), by_dataset.get_weights());
    // Without end.
    assert_eq!(epochs(&data.repeat(None), 3, Some(3)), (vec![3, 3, 3], Some(3), starts(&[0, 1, 2, 3, 4, 0, 1, 2, 3])));
    // Nobody knows how long it is.
    assert_eq!(epochs(&unknown, 2, None), (vec![5, 5], None, starts(&[0, 1, 2, 3, 4, 0, 1, 2, 3, 4])));
}

/// Counts the passes that are open.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Open(count.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps how many passes are open whenever a batch is trained.
struct Watch(Arc<AtomicUsize>, Vec<usize>);

impl Callback for Watch {
    fn on_train_batch_begin(&mut self, _: &mut cornu::Model, _: usize) -> Result<()> {
        self.1.push(self.0.load(Ordering::SeqCst));
        Ok(())
    }
}

#[test]
fn a_pass_of_validation_ends_with_it() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    let endless = Dataset::from_generator(move |_| {
        let pass = Open::new(&count);
        (0..).map(move |i| {
            let _pass = &pass;
            Ok(Item::from((Tensor::full([2], i as f32 / 100.0), Tensor::zeros([]))))
        })
    });
    let mut watch = Watch(open.clone(), Vec::new());
    let fit = Fit::new().epochs(3).batch_size(10).verbose(0).callback(&mut watch);
    let fit = fit.validation_data(&endless, ()).validation_steps(2);
    classifier(1).fit(&dataset(20), (), fit).unwrap();
    assert_eq!((watch.1, open.load(Ordering::SeqCst)), (vec![0; 6], 0));
}

#[test]
fn sample_and_class_weights_count() {
    let (x, y) = xor(60);
    let by_class = Fit::new().epochs(2).shuffle(false).class_weight([(0, 3.0)]).verbose(0);
    let mut arrays = classifier(2);
    arrays.fit(&x, &y, by_class).unwrap();
    let mut by_dataset = classifier(2);
    by_dataset.fit(&dataset(60), (), Fit::new().epochs(2).class_weight([(0, 3.0)]).verbose(0)).unwrap();
    assert_eq!(arrays.get_weights(), by_dataset.get_weights());
    let weights = y.mapv(|class| if class == 0 { 3.0 } else { 1.0 });
    let weighted = Dataset::from_weighted_arrays(x, y, weights).unwrap();
    let mut by_sample = classifier(2);
    by_sample.fit(&weighted, (), Fit::new().epochs(2).verbose(0)).unwrap();
    assert_eq!(arrays.get_weights(), by_sample.get_weights());
    says(by_sample.fit(&weighted, (), Fit::new().class_weight([(0, 3.0)]).verbose(0)), "cannot be used together");
}

#[test]
fn models_of_several_inputs_and_a_model_without_an_input_layer() {
    let mut open = Sequential::new().with_seed(1);
    open.add(Dense::new(2).activation("softmax"));
    open.compile("adam", "sparse_categorical_crossentropy", ()).unwrap();
    open.fit(&dataset(20), (), Fit::new().verbose(0)).unwrap();
    assert_eq!(open.input_shape().unwrap().to_string(), "(None, 2)");

    let (a, b) = (Input::new([2]).node(), Input::new([3]).node());
    let sum = Concatenate::new().call([&a, &b]).unwrap();
    let output = Dense::new(1).call(&sum).unwrap();
    let mut model = cornu::Model::new([&a, &b], &output).unwrap();
    model.compile("sgd", "mse", ()).unwrap();
    let data = Dataset::from_fn(10, |i| {
        let x = vec![Tensor::full([2], i as f32 / 10.0), Tensor::full([3], 1.0)];
        Ok(Item { x, y: vec![Tensor::full([1], 0.5)], weights: Vec::new() })
    });
    let history = model.fit(&data, (), Fit::new().epochs(20).batch_size(5).verbose(0)).unwrap();
    assert!(history["loss"].last() < history["loss"].first());
    assert_eq!(model.predict(&data, Predict::new().batch_size(4)).unwrap().shape(), [10, 1]);
    assert_eq!(model.predict(&data.repeat(None), Predict::new().batch_size(4).steps(3)).unwrap().shape(), [12, 1]);
}

/// The thread that trains waits for the workers, which must not wait for it.
#[test]
fn workers_may_ask_models_while_the_only_thread_trains() {
    // Where tests share a process the pool may run already; then this shows less.
    let _ = threads::set_num_threads(1);
    let mut base = Sequential::new().with_seed(1);
    base.add(Input::new([2])).add(Dense::new(2));
    base.build().unwrap();
    let features = dataset(40)
        .batch(8)
        .map(move |item| item.map_x(|x| Ok(base.predict(&x, Predict::new().batch_size(3))?.into())));
    let mut model = classifier(1);
    model.fit(&features.prefetch(Prefetch::new().workers(2)), (), Fit::new().epochs(3).verbose(0)).unwrap();
}

#[test]
fn mistakes_say_what_to_do() {
    let mut model = classifier(1);
    let (data, (x, y)) = (dataset(20), xor(20));
    let fit = |model: &mut Sequential, data: &Dataset, fit: Fit<'_>| model.fit(data, (), fit.verbose(0));
    says(model.fit(&data, &y, Fit::new()), "give () for y");
    says(model.fit(&x, &data, Fit::new()), "y is a Dataset");
    says(model.fit(&x, (), Fit::new()), "y holds no array");
    says(fit(&mut model, &data, Fit::new().validation_split(0.2)), "validation_split is for arrays");
    says(fit(&mut model, &data, Fit::new().sample_weight(&[1.0; 20])), "sample_weight is for arrays");
    says(fit(&mut model, &data.repeat(None), Fit::new()), "steps_per_epoch");
    let endless = data.repeat(None);
    says(fit(&mut model, &data, Fit::new().validation_data(&endless, ())), "validation_steps");
    says(model.evaluate(&endless, (), Evaluate::new()), "steps says");
    says(model.predict(&endless, Predict::new()), "steps says");
    assert!(model.evaluate(&endless, (), Evaluate::new().steps(2)).is_ok());
    says(fit(&mut model, &data.take(0), Fit::new()), "empty");
    says(model.predict(&data.take(0), Predict::new()), "empty");
    says(model.train_on_batch(&data, ()), "arrays are expected");
    let bad = data.map(|item| if item.x[0].data()[0] > 0.8 { Err(Error::Data("spoilt".to_owned())) } else { Ok(item) });
    says(fit(&mut model, &bad, Fit::new()), "spoilt");
    says(fit(&mut model, &data, Fit::new().validation_data(&bad, ())), "validation: dataset: batch");
    says(fit(&mut model, &data.map(|_| panic!("oh")), Fit::new()), "panicked: oh");
    let unlabelled = Dataset::from_arrays(x.clone(), ()).unwrap();
    assert!(fit(&mut model, &unlabelled, Fit::new()).is_err());
    assert_eq!(model.predict(&unlabelled, Predict::new()).unwrap().shape(), [20, 2]);
    let wrong = Dataset::from_arrays(Array2::<f32>::zeros((4, 3)), vec![0; 4]).unwrap();
    assert!(fit(&mut model, &wrong, Fit::new()).is_err());
    assert!(model.predict(&wrong, Predict::new()).is_err());
    let ragged = data.batch(4).map(|mut item| {
        item.y = vec![Tensor::zeros([3])];
        Ok(item)
    });
    says(fit(&mut model, &ragged, Fit::new()), "batch 0 of the dataset: x has 4 samples and y has the shape [3]");
    let flat = dataset(4).assume_batched().map(|item| Ok(Item::from((Tensor::zeros([]), item.y[0].clone()))));
    assert!(fit(&mut model, &flat, Fit::new()).is_err());
    // A run that stopped half way leaves a model that works.
    assert!(fit(&mut model, &data.batch(Batch::new(8).drop_remainder(true)), Fit::new()).is_ok());
}
