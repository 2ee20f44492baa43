//! Ctrl-C: the signal is really sent, to a child process that trains.

#![cfg(all(unix, feature = "interrupt"))]

use cornu::prelude::*;
use ndarray::Array2;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Says something to the parent.
fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// What the child does; without a parent it does nothing.
#[test]
fn child() {
    let (Ok(folder), Ok(what)) = (std::env::var("CORNU_CHILD_FOLDER"), std::env::var("CORNU_CHILD_DOES")) else {
        return;
    };
    let x = Array2::from_shape_fn((40, 3), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 11.0);
    let y = x.sum_axis(ndarray::Axis(1)).insert_axis(ndarray::Axis(1));
    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([3])).add(Dense::new(1));
    model.compile("adam", "mse", ()).unwrap();
    let slow = what == "slow";
    let tick = LambdaCallback::new().on_train_batch_begin(move |_, _| {
        say("tick");
        std::thread::sleep(if slow { Duration::from_secs(600) } else { Duration::from_millis(2) });
        Ok(())
    });
    let checkpoint = ModelCheckpoint::new(Path::new(&folder).join("model.cornu"));
    let options = Fit::new().epochs(1_000_000).batch_size(4).validation_split(0.2).verbose(0);
    let history =
        model.fit(&x, &y, options.callback(StopOnInterrupt::new()).callback(tick).callback(checkpoint)).unwrap();
    assert!(model.is_interrupted());
    // The epoch was closed: it has been validated and saved.
    assert_eq!(history["loss"].len(), history["val_loss"].len());
    let saved = Model::load(Path::new(&folder).join("model.cornu")).unwrap();
    assert_eq!(saved.iterations().unwrap(), model.iterations().unwrap());
    say("over");
    std::thread::sleep(Duration::from_secs(600));
}

fn start(folder: &Path, what: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("CORNU_CHILD_FOLDER", folder)
        .env("CORNU_CHILD_DOES", what)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn the_first_ends_training_in_order_and_afterwards_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), "train");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
    assert_eq!(lines.by_ref().filter(|line| line.ends_with("tick")).take(13).count(), 13);
    interrupt(&child);
    assert!(lines.any(|line| line == "over"), "{}", fs::read_dir(folder.path()).unwrap().count());
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_second_ends_the_process_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), "slow");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok());
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(|line| line.ok());
    assert!(lines.any(|line| line.ends_with("tick")));
    interrupt(&child);
    assert!(told.any(|line| line.contains("press Ctrl-C again to end at once")));
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
