//! Shows how training goes: a bar in a terminal, plain lines elsewhere.

use super::{Callback, Params, Verbose, scientific};
use crate::error::Result;
use crate::model::Model;
use crate::state::State;
use crate::training::Logs;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// A bar moves at most this often.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows the progress of training (Keras: `ProgbarLogger`). [`fit`](Model::fit) adds one by itself.
///
/// In a terminal (on standard error) a bar moves along while an epoch runs:
///
/// ```text
/// Epoch 3/10
/// 211/422 ━━━━━━━━━━────────── 1s 7ms/step - accuracy: 0.9812 - loss: 0.0612
/// ```
///
/// Without a terminal, without the feature `progress`, or with [`Verbose::Lines`], each epoch is one
/// plain line on standard output when it is over:
///
/// ```text
/// Epoch 3/10
/// 422/422 - 3s - 7ms/step - accuracy: 0.9815 - loss: 0.0608 - val_accuracy: 0.9801 - val_loss: 0.0630
/// ```
///
/// In a terminal it takes about a thousandth of the time of an epoch of LeNet-5 (`cargo bench --bench progress`). It has no
/// colours. Where the terminal is narrow the bar gives way first, and what then does not fit is cut.
pub struct ProgbarLogger {
    output: Output,
    params: Params,
    /// Whether it is part of `fit`, where validation is not shown by itself.
    in_fit: bool,
    clock: Clock,
    drawn: Option<Instant>,
    /// How many of the logs are those of training: they are shown first.
    own: usize,
    /// The epoch that is shown.
    epoch: Option<usize>,
}

impl ProgbarLogger {
    /// Shows as much as `verbose` says.
    pub fn new(verbose: impl Into<Verbose>) -> Self {
        Self::to(Output::new(verbose.into()))
    }

    fn to(output: Output) -> Self {
        let (params, clock) = (Params::default(), Clock::start());
        ProgbarLogger { output, params, in_fit: false, clock, drawn: None, own: 0, epoch: None }
    }

    fn begin(&mut self, epoch: Option<usize>) {
        if let Some(epoch) = epoch.filter(|_| self.params.epochs > 1) {
            self.output.line(&format!("Epoch {}/{}", epoch + 1, self.params.epochs));
        }
        self.output.open();
        (self.clock, self.drawn, self.own) = (Clock::start(), None, 0);
    }

    /// A batch is done. Text is made only if it will be seen.
    fn update(&mut self, batch: usize, logs: &Logs) {
        let now = Instant::now();
        self.clock.step(batch + 1, now);
        self.own = logs.names().count();
        if self.output.moves() && self.drawn.is_none_or(|drawn| now - drawn >= PAUSE) {
            self.drawn = Some(now);
            let values = values(logs, self.own);
            self.output.redraw(&bar(&self.clock, self.params.steps, now, false, &values, self.output.room()));
        }
    }

    fn end(&mut self, logs: &Logs) {
        if matches!(self.output, Output::Nothing) {
            return;
        }
        // Where the length was unknown, the next epoch will be as long as this one.
        let (now, steps) = (Instant::now(), Some(*self.params.steps.get_or_insert(self.clock.seen)));
        if self.output.moves() {
            let values = values(logs, self.own);
            self.output.close(&bar(&self.clock, steps, now, true, &values, self.output.room()));
        } else {
            self.output.line(&line(&self.clock, steps, now, &values(logs, self.own)));
        }
    }
}

impl Callback for ProgbarLogger {
    fn set_params(&mut self, params: &Params) -> Result<()> {
        self.params = params.clone();
        Ok(())
    }

    fn on_train_begin(&mut self, _model: &mut Model) -> Result<()> {
        self.in_fit = true;
        Ok(())
    }

    fn on_train_end(&mut self, _model: &mut Model, _logs: &Logs) -> Result<()> {
        self.in_fit = false;
        Ok(())
    }

    fn on_epoch_begin(&mut self, _model: &mut Model, epoch: usize) -> Result<()> {
        self.epoch = Some(epoch);
        self.begin(self.epoch);
        Ok(())
    }

    fn on_train_batch_end(&mut self, _model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        self.update(batch, logs);
        Ok(())
    }

    fn on_epoch_end(&mut self, _model: &mut Model, _epoch: usize, logs: &mut Logs) -> Result<()> {
        self.end(logs);
        self.epoch = None;
        Ok(())
    }

    /// An epoch that goes on in its middle has no other beginning.
    fn state(&self) -> Result<Option<State>> {
        State::of(&(self.epoch, self.clock.seen)).map(Some)
    }

    fn restore(&mut self, state: &State) -> Result<()> {
        let (epoch, seen): (Option<usize>, usize) = state.get()?;
        if epoch.is_some() {
            self.epoch = epoch;
            self.begin(epoch);
            (self.clock.seen, self.clock.before) = (seen, seen);
        }
        Ok(())
    }

    fn on_test_begin(&mut self, _model: &mut Model) -> Result<()> {
        if !self.in_fit {
            self.begin(None);
        }
        Ok(())
    }

    fn on_test_batch_end(&mut self, _model: &mut Model, batch: usize, logs: &Logs) -> Result<()> {
        if !self.in_fit {
            self.update(batch, logs);
        }
        Ok(())
    }

    fn on_test_end(&mut self, _model: &mut Model, logs: &Logs) -> Result<()> {
        if !self.in_fit {
            self.end(logs);
        }
        Ok(())
    }

    fn on_predict_begin(&mut self, _model: &Model) -> Result<()> {
        self.begin(None);
        Ok(())
    }

    fn on_predict_batch_end(&mut self, _model: &Model, batch: usize) -> Result<()> {
        self.update(batch, &Logs::new());
        Ok(())
    }

    fn on_predict_end(&mut self, _model: &Model) -> Result<()> {
        self.end(&Logs::new());
        Ok(())
    }
}

/// Where progress is shown. Failures to write are no reason to end training.
enum Output {
    Nothing,
    Lines(Box<dyn Write + Send>),
    #[cfg(feature = "progress")]
    Bar(indicatif::ProgressBar),
}

impl Output {
    fn new(verbose: Verbose) -> Self {
        match verbose {
            Verbose::Silent => Output::Nothing,
            #[cfg(feature = "progress")]
            Verbose::Bar if !indicatif::ProgressDrawTarget::stderr().is_hidden() => {
                Output::Bar(indicatif::ProgressBar::hidden())
            }
            Verbose::Bar | Verbose::Lines => Output::Lines(Box::new(io::stdout())),
        }
    }

    fn moves(&self) -> bool {
        !matches!(self, Output::Nothing | Output::Lines(_))
    }

    /// How many characters a line of a terminal holds.
    fn room(&self) -> usize {
        match self {
            #[cfg(feature = "progress")]
            Output::Bar(_) => console::Term::stderr().size().1.into(),
            _ => usize::MAX,
        }
    }

    fn line(&mut self, text: &str) {
        let _ = match self {
            Output::Nothing => Ok(()),
            Output::Lines(out) => writeln!(out, "{text}").and_then(|()| out.flush()),
            #[cfg(feature = "progress")]
            Output::Bar(_) => writeln!(io::stderr(), "{text}"),
        };
    }

    /// A new bar, which an epoch has for itself.
    fn open(&mut self) {
        #[cfg(feature = "progress")]
        if let Output::Bar(bar) = self {
            *bar = indicatif::ProgressBar::no_length();
            // The text is cut to the width of the terminal.
            if let Ok(style) = indicatif::ProgressStyle::with_template("{wide_msg}") {
                bar.set_style(style);
            }
        }
    }

    #[cfg_attr(not(feature = "progress"), allow(unused_variables))]
    fn redraw(&mut self, text: &str) {
        #[cfg(feature = "progress")]
        if let Output::Bar(bar) = self {
            bar.set_message(text.to_owned());
        }
    }

    /// Leaves the last state of the bar where it is.
    #[cfg_attr(not(feature = "progress"), allow(unused_variables))]
    fn close(&mut self, text: &str) {
        #[cfg(feature = "progress")]
        if let Output::Bar(bar) = self {
            bar.finish_with_message(text.to_owned());
            // The bar fills its line, so that this does not leave an empty one.
            let _ = writeln!(io::stderr());
        }
    }
}

/// How long steps take.
struct Clock {
    start: Instant,
    /// The end of the first step, which is seldom like the others.
    first: Option<Instant>,
    seen: usize,
    /// Of these, the steps that an earlier process made.
    before: usize,
}

impl Clock {
    fn start() -> Self {
        Clock { start: Instant::now(), first: None, seen: 0, before: 0 }
    }

    fn step(&mut self, seen: usize, now: Instant) {
        self.first.get_or_insert(now);
        self.seen = seen;
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// The mean time of a step, the first left out if there are others.
    fn per_step(&self, now: Instant) -> Duration {
        let steps = self.seen.saturating_sub(self.before);
        match (self.first, steps) {
            (Some(first), 2..) => now.saturating_duration_since(first).div_f64((steps - 1) as f64),
            (_, 1) => self.elapsed(now),
            _ => Duration::ZERO,
        }
    }
}

/// `211/422 ━━━━━━━━━━────────── 1s 7ms/step - …`: with what time is left, at the end with what it took.
/// While the number of steps is unknown there is no bar: `211/Unknown 1s 7ms/step - …`. Where there is less room it is
/// shorter, or left out.
fn bar(clock: &Clock, steps: Option<usize>, now: Instant, over: bool, values: &str, room: usize) -> String {
    const WIDTH: usize = 20;
    const LEAST: usize = 5;
    let each = clock.per_step(now);
    let Some(of) = steps else {
        return format!("{} {:.0}s {}{values}", count(clock, steps), clock.elapsed(now).as_secs_f64(), step_time(each));
    };
    let time = match over {
        true => format!("{:.0}s", clock.elapsed(now).as_secs_f64()),
        false => countdown((each.as_secs_f64() * of.saturating_sub(clock.seen) as f64) as u64),
    };
    let (count, rest) = (count(clock, steps), format!("{time} {}{values}", step_time(each)));
    // A space on both sides of it.
    let width = room.saturating_sub(count.chars().count() + rest.chars().count() + 2).min(WIDTH);
    if width < LEAST {
        return format!("{count} {rest}");
    }
    let filled = (width * clock.seen / of.max(1)).min(width);
    format!("{count} {}{} {rest}", "━".repeat(filled), "─".repeat(width - filled))
}

/// `422/422 - 3s - 7ms/step - …`
fn line(clock: &Clock, steps: Option<usize>, now: Instant, values: &str) -> String {
    let (elapsed, each) = (clock.elapsed(now).as_secs_f64(), clock.per_step(now));
    format!("{} - {elapsed:.0}s - {}{values}", count(clock, steps), step_time(each))
}

fn count(clock: &Clock, steps: Option<usize>) -> String {
    match steps {
        Some(steps) => format!("{:width$}/{steps}", clock.seen, width = steps.to_string().len()),
        None => format!("{}/Unknown", clock.seen),
    }
}

fn countdown(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match seconds {
        3601.. => format!("{hours}:{minutes:02}:{rest:02}"),
        61.. => format!("{}:{rest:02}", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

fn step_time(each: Duration) -> String {
    let seconds = each.as_secs_f64();
    if seconds >= 1.0 || seconds == 0.0 {
        format!("{seconds:.0}s/step")
    } else if seconds >= 1e-3 {
        format!("{:.0}ms/step", seconds * 1e3)
    } else {
        format!("{:.0}us/step", seconds * 1e6)
    }
}

/// ` - accuracy: 0.9812 - loss: 0.0612 - val_accuracy: …`: Keras' order, training by name, validation by
/// name, then what callbacks added.
fn values(logs: &Logs, own: usize) -> String {
    let mut all: Vec<(usize, &str, &[f64])> = logs
        .iter()
        .enumerate()
        .map(|(i, (name, value))| match (i < own, name.starts_with("val_")) {
            (true, _) => (0, name, value),
            (false, true) => (1, name, value),
            (false, false) => (2, name, value),
        })
        .collect();
    all.sort_by_key(|(group, name, _)| (*group, *name));
    all.into_iter().fold(String::new(), |mut text, (_, name, value)| {
        let mean = value.iter().sum::<f64>() / value.len() as f64;
        let _ = match mean.abs() > 1e-3 || mean.is_nan() {
            true => write!(text, " - {name}: {mean:.4}"),
            false => write!(text, " - {name}: {}", scientific(mean, 4)),
        };
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    fn clock(seen: usize, start: Instant, first: Duration) -> Clock {
        Clock { start, first: Some(start + first), seen, before: 0 }
    }

    fn logs(values: &[(&str, f64)]) -> Logs {
        let mut logs = Logs::new();
        values.iter().for_each(|(name, value)| logs.insert(name, *value));
        logs
    }

    #[test]
    fn a_line_looks_like_that_of_keras() {
        let start = Instant::now();
        let clock = clock(422, start, Duration::from_millis(53));
        let mut logs = logs(&[("loss", 0.06116), ("accuracy", 0.98123), ("val_loss", 1e-3), ("val_accuracy", 1.0)]);
        logs.insert("learning_rate", 5e-4);
        assert_eq!(
            line(&clock, Some(422), start + Duration::from_secs(3), &values(&logs, 2)),
            "422/422 - 3s - 7ms/step - accuracy: 0.9812 - loss: 0.0612 - val_accuracy: 1.0000 - val_loss: 1.0000e-03 - learning_rate: 5.0000e-04"
        );
    }

    #[test]
    fn a_bar_fills_and_counts_down() {
        let start = Instant::now();
        let within = |seen, seconds, over, room| {
            bar(
                &clock(seen, start, Duration::ZERO),
                Some(200),
                start + Duration::from_secs(seconds),
                over,
                " - loss: 2.5",
                room,
            )
        };
        let at = |seen, seconds, over| within(seen, seconds, over, 80);
        assert_eq!(at(1, 2, false), "  1/200 ──────────────────── 6:38 2s/step - loss: 2.5");
        assert_eq!(at(101, 10, false), "101/200 ━━━━━━━━━━────────── 9s 100ms/step - loss: 2.5");
        assert_eq!(at(101, 10, true), "101/200 ━━━━━━━━━━────────── 10s 100ms/step - loss: 2.5");
        assert_eq!(at(200, 20, true), "200/200 ━━━━━━━━━━━━━━━━━━━━ 20s 101ms/step - loss: 2.5");
        assert_eq!(at(0, 20, false), "  0/200 ──────────────────── 0s 0s/step - loss: 2.5");
        // Narrow terminals: what is told stays, as long as it can.
        assert_eq!(within(101, 10, false, 54), "101/200 ━━━━━━━━━━────────── 9s 100ms/step - loss: 2.5");
        assert_eq!(within(101, 10, false, 44), "101/200 ━━━━━───── 9s 100ms/step - loss: 2.5");
        assert_eq!(within(101, 10, false, 38), "101/200 9s 100ms/step - loss: 2.5");
        assert_eq!(within(101, 10, false, 0), "101/200 9s 100ms/step - loss: 2.5");
        let unknown =
            bar(&clock(11, start, Duration::ZERO), None, start + Duration::from_secs(1), false, " - loss: 2.5", 80);
        assert_eq!(unknown, "11/Unknown 1s 100ms/step - loss: 2.5");
    }

    #[test]
    fn times_and_values_have_the_formats_of_keras() {
        for (seconds, text) in [(0, "0s"), (60, "60s"), (61, "1:01"), (3600, "60:00"), (3601, "1:00:01")] {
            assert_eq!(countdown(seconds), text);
        }
        for (micros, text) in
            [(0, "0s/step"), (740, "740us/step"), (1000, "1ms/step"), (999_400, "999ms/step"), (2_600_000, "3s/step")]
        {
            assert_eq!(step_time(Duration::from_micros(micros)), text);
        }
        let mut logs = logs(&[("b", f64::NAN), ("a", f64::INFINITY), ("z", 0.0), ("m", -1e-9)]);
        logs.insert_list("f1", vec![0.25, 0.75]);
        assert_eq!(values(&logs, 5), " - a: inf - b: NaN - f1: 0.5000 - m: -1.0000e-09 - z: 0.0000e+00");
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);
    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is printed, without times.
    fn printed(epochs: usize, steps: Option<usize>) -> Vec<String> {
        let page = Page::default();
        let mut logger = ProgbarLogger::to(Output::Lines(Box::new(page.clone())));
        let mut model = Model::empty("m");
        let mut logs = logs(&[("loss", 0.5)]);
        logger.set_params(&Params { epochs, steps, batch_size: 1 }).unwrap();
        logger.on_train_begin(&mut model).unwrap();
        for epoch in 0..epochs {
            logger.on_epoch_begin(&mut model, epoch).unwrap();
            for batch in 0..2 {
                logger.on_train_batch_end(&mut model, batch, &logs).unwrap();
            }
            logger.on_test_begin(&mut model).unwrap();
            logger.on_test_batch_end(&mut model, 0, &logs).unwrap();
            logger.on_test_end(&mut model, &logs).unwrap();
            logger.on_epoch_end(&mut model, epoch, &mut logs).unwrap();
        }
        logger.on_train_end(&mut model, &logs).unwrap();
        logger.set_params(&Params { epochs: 1, steps: steps.map(|_| 1), batch_size: 1 }).unwrap();
        logger.on_test_begin(&mut model).unwrap();
        logger.on_test_batch_end(&mut model, 0, &logs).unwrap();
        logger.on_test_end(&mut model, &logs).unwrap();
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let without_times = |line: &str| match line.split(" - ").collect::<Vec<_>>()[..] {
            [count, _, _, value] => format!("{count} - {value}"),
            _ => line.to_owned(),
        };
        text.lines().map(without_times).collect()
    }

    #[test]
    fn each_epoch_is_a_line_and_an_evaluation_too() {
        let (fit, test) = ("2/2 - loss: 0.5000", "1/1 - loss: 0.5000");
        for steps in [Some(2), None] {
            assert_eq!(printed(2, steps), ["Epoch 1/2", fit, "Epoch 2/2", fit, test]);
            // One epoch has no headline.
            assert_eq!(printed(1, steps), [fit, test]);
        }
    }

    #[test]
    fn an_epoch_that_goes_on_in_its_middle_is_shown_from_there() {
        let (page, mut model, mut logs) = (Page::default(), Model::empty("m"), logs(&[("loss", 0.5)]));
        let params = Params { epochs: 3, steps: Some(4), batch_size: 1 };
        let mut before = ProgbarLogger::to(Output::Nothing);
        before.set_params(&params).unwrap();
        before.on_epoch_begin(&mut model, 1).unwrap();
        before.on_train_batch_end(&mut model, 0, &logs).unwrap();
        before.on_train_batch_end(&mut model, 1, &logs).unwrap();
        let state = before.state().unwrap().unwrap();

        let mut after = ProgbarLogger::to(Output::Lines(Box::new(page.clone())));
        after.set_params(&params).unwrap();
        after.on_train_begin(&mut model).unwrap();
        after.restore(&state).unwrap();
        after.on_train_batch_end(&mut model, 2, &logs).unwrap();
        assert_eq!((after.clock.seen, after.clock.before), (3, 2));
        after.on_train_batch_end(&mut model, 3, &logs).unwrap();
        after.on_epoch_end(&mut model, 1, &mut logs).unwrap();
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("Epoch 2/3\n4/4 - ") && text.trim_end().ends_with("- loss: 0.5000"), "{text}");

        // Between two epochs there is nothing to show.
        let mut between = ProgbarLogger::to(Output::Lines(Box::new(page)));
        between.restore(&after.state().unwrap().unwrap()).unwrap();
        assert_eq!(between.epoch, None);
    }
}
