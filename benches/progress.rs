//! What the progress bar costs: the share of an epoch of LeNet-5 that its hooks take.
//!
//! `cargo bench --bench progress`, in a terminal, where the bar moves. Where there is none it is a line an epoch.
use cornu::applications::LeNet5;
use cornu::prelude::*;
use cornu::training::callbacks::{Params, ProgbarLogger};
use std::time::{Duration, Instant};

/// A progress bar, and the time that was spent in it.
struct Timed {
    bar: ProgbarLogger,
    spent: Duration,
}

impl Timed {
    fn time(&mut self, hook: impl FnOnce(&mut ProgbarLogger) -> Result<()>) -> Result<()> {
        let start = Instant::now();
        let done = hook(&mut self.bar);
        self.spent += start.elapsed();
        done
    }
}

impl Callback for Timed {
    fn set_params(&mut self, params: &Params) -> Result<()> {
        self.time(|bar| bar.set_params(params))
    }
    fn on_train_begin(&mut self, model: &mut Model) -> Result<()> {
        self.time(|bar| bar.on_train_begin(model))
    }
    fn on_epoch_begin(&mut self, model: &mut Model, epoch: usize) -> Result<()> {
        self.time(|bar| bar.on_epoch_begin(model, epoch))
    }
    fn on_train_batch_end(&mut self, model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        self.time(|bar| bar.on_train_batch_end(model, batch, logs))
    }
    fn on_epoch_end(&mut self, model: &mut Model, epoch: usize, logs: &mut Logs) -> Result<()> {
        self.time(|bar| bar.on_epoch_end(model, epoch, logs))
    }
}

fn main() -> Result<()> {
    let (train, _) = datasets::mnist::load("examples/data/mnist")?;
    let x = train.x.mapv(|pixel| f32::from(pixel) / 255.0);
    for batch_size in [32, 128] {
        let mut model = LeNet5::new().seed(1).build()?;
        model.compile(Sgd::new(0.01).momentum(0.9), "sparse_categorical_crossentropy", ["accuracy"])?;
        let mut timed = Timed { bar: ProgbarLogger::new(1), spent: Duration::ZERO };
        let start = Instant::now();
        model.fit(&x, &train.y, Fit::new().epochs(2).batch_size(batch_size).verbose(0).callback(&mut timed))?;
        let (all, bar) = (start.elapsed().as_secs_f64(), timed.spent.as_secs_f64());
        println!("batches of {batch_size}: {bar:.4} s of {all:.2} s, {:.3} %", 100.0 * bar / all);
    }
    Ok(())
}
