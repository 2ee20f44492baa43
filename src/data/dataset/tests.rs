use super::*;
use crate::data::npy;
use crate::error::Error;
use crate::tensor::Tensor;
use ndarray::{Array1, Array2, arr0};
use ndarray_rand::rand::Rng as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The numbers 0 to n - 1 with ten times as much as target.
fn numbers(n: usize) -> Dataset {
    let x: Vec<u16> = (0..n as u16).collect();
    let y: Vec<u16> = x.iter().map(|v| 10 * v).collect();
    Dataset::from_arrays(x, y).unwrap()
}

/// The first value of each element in an epoch.
fn values_of(data: &Dataset, epoch: usize) -> Vec<f32> {
    data.epoch(epoch).map(|item| item.unwrap().x[0].data()[0]).collect()
}

fn values(data: &Dataset) -> Vec<f32> {
    values_of(data, 0)
}

fn sorted(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    values
}

fn up_to(n: usize) -> Vec<f32> {
    (0..n).map(|v| v as f32).collect()
}

#[test]
fn arrays_come_as_samples_of_their_shape() {
    let x = Array2::from_shape_fn((3, 2), |(i, j)| (i * 2 + j) as u8);
    let shared: Arc<dyn crate::data::Rows> = Arc::new(Array1::from(vec![7.0, 8.0, 9.0]));
    let both = [Arc::new(x) as Arc<dyn crate::data::Rows>, shared.clone()];
    let data = Dataset::from_weighted_arrays(both, vec![true, false, true], vec![0.5, 1.0, 2.0]).unwrap();
    assert_eq!((data.cardinality(), data.is_batched()), (Cardinality::Known(3), false));
    let last = data.iter().last().unwrap().unwrap();
    assert_eq!((last.x[0].shape(), last.x[0].data(), last.x[1].data()), (&[2][..], &[4.0, 5.0][..], &[9.0][..]));
    assert_eq!((last.y[0].shape(), last.y[0].data(), last.weights[0].data()), (&[][..], &[1.0][..], &[2.0][..]));
    let batch = data.batch(2).iter().next().unwrap().unwrap();
    assert_eq!(
        (batch.x[0].shape(), batch.x[1].shape(), batch.weights[0].data()),
        (&[2, 2][..], &[2][..], &[0.5, 1.0][..])
    );
    let says = |result: Result<Dataset>, text: &str| assert!(result.unwrap_err().to_string().contains(text));
    says(Dataset::from_arrays((), ()), "at least one array");
    says(Dataset::from_arrays(vec![1, 2], vec![1]), "x has 2 samples, y has 1");
    says(Dataset::from_arrays(Array2::<f32>::zeros((0, 3)), ()), "empty");
}

#[test]
fn parts_and_repetitions() {
    let data = numbers(5);
    assert_eq!(values(&data.take(2)), [0.0, 1.0]);
    assert_eq!(values(&data.take(9)), up_to(5));
    assert_eq!(values(&data.skip(3)), [3.0, 4.0]);
    assert_eq!(values(&data.repeat(2).skip(4)), [4.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(values(&data.concatenate(&data.take(1))), [0.0, 1.0, 2.0, 3.0, 4.0, 0.0]);
    assert_eq!(values(&data.filter(|item| Ok(item.x[0].data()[0] % 2.0 == 1.0))), [1.0, 3.0]);
    assert!(values(&data.take(0).repeat(None)).is_empty());
    let lengths = [
        (data.take(9), Cardinality::Known(5)),
        (data.skip(9), Cardinality::Known(0)),
        (data.batch(2), Cardinality::Known(3)),
        (data.batch(Batch::new(2).drop_remainder(true)), Cardinality::Known(2)),
        (data.repeat(3), Cardinality::Known(15)),
        (data.repeat(None), Cardinality::Infinite),
        (data.repeat(None).take(7), Cardinality::Known(7)),
        (data.repeat(None).batch(2), Cardinality::Infinite),
        (data.concatenate(&data), Cardinality::Known(10)),
        (data.filter(|_| Ok(true)), Cardinality::Unknown),
        (data.repeat(None).filter(|_| Ok(true)), Cardinality::Infinite),
    ];
    for (data, length) in lengths {
        assert_eq!(data.cardinality(), length);
        if let Cardinality::Known(n) = length {
            assert_eq!(data.iter().count(), n);
        }
    }
    let labels = Dataset::from_arrays(vec![5, 6, 7], ()).unwrap();
    let pairs = Dataset::from_arrays(vec![1, 2], ()).unwrap().zip(&labels);
    assert_eq!(pairs.cardinality(), Cardinality::Known(2));
    assert_eq!(pairs.iter().map(|item| item.unwrap().y[0].data()[0]).collect::<Vec<_>>(), [5.0, 6.0]);
    let error = data.zip(&labels).iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("use zip_with"), "{error}");
}

#[test]
fn batches_are_stacked_and_the_rest_is_dropped_on_request() {
    let sizes = |data: &Dataset| data.iter().map(|item| item.unwrap().samples()).collect::<Vec<_>>();
    assert_eq!(sizes(&numbers(7).batch(3)), [3, 3, 1]);
    assert_eq!(sizes(&numbers(7).batch(Batch::new(3).drop_remainder(true))), [3, 3]);
    let of_unequal = Dataset::from_fn(3, |i| Ok(Item::from(Tensor::zeros([i + 1]))));
    let error = of_unequal.batch(2).iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains("batch 0") && error.contains("sample 1") && error.contains("[2]"), "{error}");
    assert!(numbers(3).batch(0).iter().next().unwrap().is_err());
}

#[test]
fn shuffling_follows_seed_and_epoch() {
    let data = numbers(50);
    let shuffled = data.shuffle(50).with_seed(1);
    assert_eq!(sorted(values(&shuffled)), up_to(50));
    assert_eq!(values(&shuffled), values(&shuffled));
    assert_ne!(values_of(&shuffled, 0), values_of(&shuffled, 1));
    assert_ne!(values(&shuffled), values(&data.shuffle(50).with_seed(2)));
    let still = data.shuffle(Shuffle::new(50).seed(3).reshuffle_each_iteration(false));
    assert_eq!(values_of(&still, 0), values_of(&still, 1));
    // Its own seed counts more than that of the dataset; two in a row draw different numbers.
    assert_eq!(values(&still.with_seed(8)), values(&still.with_seed(9)));
    // A buffer of 5: no element comes more than 4 places early.
    let near = values(&data.shuffle(5).with_seed(1));
    assert!(near.iter().enumerate().all(|(place, v)| *v <= place as f32 + 4.0));
    assert_ne!(near, up_to(50));
    // Each round of a repetition is an epoch of its own, and so is each epoch of it.
    let rounds = shuffled.repeat(2);
    assert_eq!(values_of(&rounds, 1), [values_of(&shuffled, 2), values_of(&shuffled, 3)].concat());
    // The seed counts wherever it stands, also for the other of two.
    assert_eq!(values(&data.with_seed(1).shuffle(50)), values(&shuffled));
    let second = |seed| values(&data.take(0).concatenate(&data.with_seed(seed).shuffle(50)).with_seed(7));
    assert_eq!(second(1), values(&shuffled));
    // Without a seed two datasets differ, and one stays as it is.
    let (a, b) = (numbers(50).shuffle(50), numbers(50).shuffle(50));
    assert_eq!(values(&a), values(&a));
    assert_ne!(values(&a), values(&b));
}

#[test]
fn a_split_has_nothing_in_common_in_any_epoch() {
    let (train, test) = numbers(20).shuffle(20).split(0.75).unwrap();
    let (train, test) = (train.shuffle(20), test);
    for epoch in 0..3 {
        let all = [values_of(&train, epoch), values_of(&test, epoch)].concat();
        assert_eq!((train.iter().count(), sorted(all)), (15, up_to(20)));
    }
    assert_ne!(values_of(&train, 0), values_of(&train, 1));
    assert_eq!(numbers(5).split(2).unwrap().1.iter().count(), 3);
    let says = |result: Result<(Dataset, Dataset)>, text: &str| {
        assert!(result.unwrap_err().to_string().contains(text));
    };
    says(numbers(5).split(5), "leave one part empty");
    says(numbers(5).split(0.01), "leave one part empty");
    says(numbers(5).split(1.5), "between 0 and 1");
    says(numbers(5).repeat(None).split(2), "not known");
}

/// A pipeline with all that is random in it.
fn random_pipeline() -> Dataset {
    let noisy = numbers(40).shuffle(40).map_random(|item, rng| {
        let noise: f32 = rng.random();
        // The later ones are ready first.
        std::thread::sleep(Duration::from_micros((noise * 300.0) as u64));
        item.map_x(|x| Ok(x.map(|v| v + noise)))
    });
    let more = noisy.map_random(|item, rng| {
        let more: f32 = rng.random();
        item.map_x(|x| Ok(x.map(|v| v + more)))
    });
    more.batch(3).with_seed(5)
}

#[test]
fn any_number_of_workers_makes_the_same_elements_in_the_same_order() {
    let alone: Vec<Item> = random_pipeline().epoch(2).collect::<Result<_>>().unwrap();
    for (workers, ahead) in [(1, 1), (2, 4), (3, 2), (8, 20)] {
        let data = random_pipeline().prefetch(Prefetch::new().workers(workers).ahead(ahead));
        let made: Vec<Item> = data.epoch(2).collect::<Result<_>>().unwrap();
        assert_eq!(made, alone, "{workers} workers");
    }
    let default: Vec<Item> = random_pipeline().prefetch(Prefetch::new()).epoch(2).collect::<Result<_>>().unwrap();
    assert_eq!(default, alone);
}

#[test]
fn maps_in_a_row_and_branches_draw_different_numbers() {
    let draw = |item: Item, rng: &mut crate::Rng| {
        let draw: f32 = rng.random();
        item.map_x(|x| Ok(x.map(|_| draw)))
    };
    let once = numbers(8).map_random(draw);
    let twice = once.map_random(move |item, rng| {
        let first = item.x[0].data()[0];
        let again = draw(item, rng)?;
        assert_ne!(again.x[0].data()[0], first);
        Ok(again)
    });
    let drawn = values(&twice);
    assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]));
    let plain = Dataset::from_arrays(vec![0; 8], ()).unwrap().map_random(draw);
    for pair in &plain.zip(&plain) {
        let pair = pair.unwrap();
        assert_ne!(pair.x, pair.y);
    }
}

#[test]
fn no_more_is_made_than_may_wait() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let data = Dataset::from_fn(1000, |i| {
        MADE.fetch_add(1, Ordering::SeqCst);
        Ok(Item::from(Tensor::full([1], i as f32)))
    });
    let mut iter = data.prefetch(Prefetch::new().workers(3).ahead(5)).iter();
    for taken in 1..=20 {
        iter.next().unwrap().unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert!(MADE.load(Ordering::SeqCst) <= taken + 5);
    }
    drop(iter);
    let made = MADE.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(MADE.load(Ordering::SeqCst), made, "workers go on after the iteration was dropped");
}

#[test]
fn any_number_may_wait() {
    // Slow enough that the first are taken while others are still to be made.
    let slow = numbers(50).map(|item| {
        std::thread::sleep(Duration::from_millis(1));
        Ok(item)
    });
    assert_eq!(values(&slow.prefetch(usize::MAX)), up_to(50));
    assert_eq!(values(&slow.prefetch(Prefetch::new().workers(2).ahead(usize::MAX))), up_to(50));
}

#[test]
fn what_runs_a_closure_is_made_ahead() {
    let (data, labels) = (numbers(4), Dataset::from_arrays(vec![1, 2, 3, 4], ()).unwrap());
    let inputs = Dataset::from_arrays(vec![1, 2, 3, 4], ()).unwrap();
    assert!(data.ready && inputs.zip(&labels).ready && inputs.prefetch(2).zip(&labels).ready);
    assert!(!inputs.map(Ok).zip(&labels).ready && !data.map(Ok).ready);
    assert!(!data.zip_with(&labels, |a, _| Ok(a)).ready && !data.filter(|_| Ok(true)).ready);
}

#[test]
fn dropping_an_iteration_ends_its_threads_and_frees_what_they_hold() {
    let held = Arc::new(());
    let inside = held.clone();
    let data = Dataset::from_fn(100, move |_| {
        let _held = &inside;
        Ok(Item::from(Tensor::zeros([1])))
    });
    for taken in [0, 1, 50, 100] {
        let mut iter = data.prefetch(Prefetch::new().workers(4).ahead(8)).iter();
        (0..taken).for_each(|_| drop(iter.next().unwrap().unwrap()));
    }
    drop(data);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn errors_and_panics_come_out_where_they_belong() {
    for workers in [0, 1, 3] {
        let data = numbers(6).map(|item| match item.x[0].data()[0] as usize {
            2 => Err(Error::Data("two is bad".to_owned())),
            4 => panic!("four is worse"),
            _ => Ok(item),
        });
        let data = data.prefetch(Prefetch::new().workers(workers).ahead(3));
        let results: Vec<Result<Item>> = data.iter().collect();
        assert_eq!(results.len(), 6);
        let text = |i: usize| results[i].as_ref().unwrap_err().to_string();
        assert_eq!(text(2), "dataset: map of element 2: two is bad");
        assert_eq!(text(4), "dataset: map of element 4: the closure panicked: four is worse");
        assert!([0, 1, 3, 5].iter().all(|&i| results[i].is_ok()));

        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        let good = data.ignore_errors(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(values(&good), [0.0, 1.0, 3.0, 5.0]);
        assert_eq!(seen.load(Ordering::SeqCst), 2);
        // A batch with a bad sample is bad.
        let batches: Vec<bool> = data.batch(2).iter().map(|batch| batch.is_ok()).collect();
        assert_eq!(batches, [true, false, false]);
    }
}

#[test]
fn generators_start_afresh_and_may_fail() {
    let data = Dataset::from_generator(|epoch| {
        (0..3).map(move |i| if i == 1 && epoch == 1 { Err(Error::Data("lost".to_owned())) } else { Ok(arr(i)) })
    });
    fn arr(i: usize) -> Item {
        Item::from((arr0(i as f32), arr0(0.0)))
    }
    assert_eq!(data.cardinality(), Cardinality::Unknown);
    assert_eq!((values(&data), values_of(&data, 2)), (up_to(3), up_to(3)));
    let second: Vec<Result<Item>> = data.epoch(1).collect();
    assert_eq!(second[1].as_ref().unwrap_err().to_string(), "dataset: element 1 of the dataset: lost");
    for workers in [0, 2] {
        let panics = Dataset::from_generator(|_| (0..5).map(|i| if i < 2 { Ok(arr(i)) } else { panic!("no more") }));
        let results: Vec<Result<Item>> = panics.prefetch(Prefetch::new().workers(workers)).iter().collect();
        assert_eq!(results.len(), 3);
        assert!(results[2].as_ref().unwrap_err().to_string().contains("panicked: no more"));
        let opens = Dataset::from_generator(|_| -> Vec<Result<Item>> { panic!("closed") });
        let error = opens.prefetch(Prefetch::new().workers(workers)).iter().next().unwrap().unwrap_err().to_string();
        assert!(error.contains("the generator panicked: closed"), "{error}");
    }
    let collected: Dataset = (0..4).map(arr).collect();
    assert_eq!((values(&collected), values(&collected)), (up_to(4), up_to(4)));
}

#[test]
fn a_cache_is_filled_once_also_by_parts_and_by_workers() {
    for workers in [0, 3] {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let data = numbers(10).shuffle(10).map(move |item| {
            count.fetch_add(1, Ordering::SeqCst);
            Ok(item)
        });
        let cached = data.cache().prefetch(Prefetch::new().workers(workers).ahead(4));
        let part: Vec<f32> = cached.take(4).iter().map(|item| item.unwrap().x[0].data()[0]).collect();
        let whole = values(&cached);
        assert_eq!(whole[..4], part[..]);
        assert_eq!(made.load(Ordering::SeqCst), 10);
        // What stood above stays as it was.
        assert_eq!((values_of(&cached, 1), values_of(&cached, 2)), (whole.clone(), whole));
        assert_eq!(made.load(Ordering::SeqCst), 10);
    }
    // An element that failed is tried again.
    static TRIES: AtomicUsize = AtomicUsize::new(0);
    let flaky = numbers(2).map(|item| match TRIES.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Error::Data("not yet".to_owned())),
        _ => Ok(item),
    });
    let cached = flaky.cache();
    assert!(cached.iter().next().unwrap().is_err());
    assert_eq!(values(&cached), up_to(2));
    // Of a dataset of unknown length the length is known then.
    let generated = Dataset::from_generator(|_| (0..3).map(|i| Ok(Item::from(Tensor::full([1], i as f32))))).cache();
    assert_eq!((generated.cardinality(), values(&generated)), (Cardinality::Unknown, up_to(3)));
    assert_eq!((generated.cardinality(), values(&generated)), (Cardinality::Known(3), up_to(3)));
}

#[test]
fn numpys_files_are_read_row_by_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npy");
    let x = ndarray::Array3::from_shape_fn((5, 2, 3), |(i, j, k)| (i * 6 + j * 3 + k) as f32).into_dyn();
    npy::write(&path, &x).unwrap();
    let data = Dataset::from_npy(&path).unwrap();
    assert_eq!(data.cardinality(), Cardinality::Known(5));
    let rows: Vec<Item> = data.prefetch(Prefetch::new().workers(3)).iter().collect::<Result<_>>().unwrap();
    assert!(rows.iter().zip(x.outer_iter()).all(|(row, expected)| row.x[0].view() == expected));
    // Cut off while it is read, and before.
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let last = data.iter().last().unwrap().unwrap_err().to_string();
    assert!(last.contains("x.npy") && last.contains("row 4") && last.contains("cut off"), "{last}");
    let error = Dataset::from_npy(&path).unwrap_err().to_string();
    assert!(error.contains("x.npy") && error.contains("cut off"), "{error}");
    let absent = Dataset::from_npy(folder.path().join("none.npy")).unwrap_err().to_string();
    assert_eq!(absent.matches("none.npy").count(), 1, "{absent}");
    npy::write(&path, &arr0(1.0).into_dyn()).unwrap();
    assert!(Dataset::from_npy(&path).unwrap_err().to_string().contains("first axis"));
    npy::write(&path, &ndarray::Array2::zeros((0, 4)).into_dyn()).unwrap();
    assert!(Dataset::from_npy(&path).unwrap_err().to_string().contains("no samples"));
    // Fortran order: columns lie one after another.
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{:<53}\n", "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}");
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend((0..6u8).flat_map(|v| f32::from(v).to_le_bytes()));
    std::fs::write(&path, file).unwrap();
    let rows: Vec<Item> = Dataset::from_npy(&path).unwrap().iter().collect::<Result<_>>().unwrap();
    assert_eq!((rows[0].x[0].data(), rows[1].x[0].data()), (&[0.0, 2.0, 4.0][..], &[1.0, 3.0, 5.0][..]));
}
