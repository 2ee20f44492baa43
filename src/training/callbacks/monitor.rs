//! What several callbacks share: a value that is watched, and when it counts as better.

use crate::error::{Result, ensure};
use crate::training::Logs;
use crate::training::direction::larger_is_better;
use std::io::Write;

/// Which way a monitored value is to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As its name says: losses and errors down, accuracy, AUC, F1 and their like up.
    #[default]
    Auto,
    /// Down.
    Min,
    /// Up.
    Max,
}

/// A value that a callback watches.
#[derive(Clone, Debug)]
pub(crate) struct Monitor {
    pub name: String,
    pub mode: Mode,
    pub min_delta: f64,
    warned: bool,
}

impl Monitor {
    pub fn new(min_delta: f64) -> Self {
        Monitor { name: "val_loss".to_owned(), mode: Mode::Auto, min_delta, warned: false }
    }

    /// Training begins: the direction must be known, the margin a number.
    pub fn begin(&mut self, callback: &str) -> Result<()> {
        self.warned = false;
        let Monitor { name, mode, min_delta, .. } = self;
        ensure!(
            *mode != Mode::Auto || larger_is_better(name).is_some(),
            Argument,
            "{callback}: whether '{name}' should fall or rise cannot be told from its name; say mode(Mode::Min) or mode(Mode::Max)"
        );
        ensure!(min_delta.is_finite(), Argument, "{callback}: min_delta is {min_delta}; it must be a finite number");
        Ok(())
    }

    /// Its number in these logs. Where there is none, that is said once a run.
    pub fn current(&mut self, callback: &str, logs: &Logs) -> Option<f64> {
        let current = logs.get(&self.name);
        if current.is_none() && !std::mem::replace(&mut self.warned, true) {
            let _ = writeln!(std::io::stderr(), "cornu: {}", self.complaint(callback, logs));
        }
        current
    }

    fn complaint(&self, callback: &str, logs: &Logs) -> String {
        let names = logs.names().collect::<Vec<_>>().join(", ");
        let name = &self.name;
        match logs.get_list(name) {
            Some(list) => format!("{callback} monitors '{name}', which is {} numbers, not one", list.len()),
            None => format!("{callback} monitors '{name}', which is not reported; there are: {names}"),
        }
    }

    /// Whether `current` is better than `best` by more than `min_delta`. Anything is better than nothing.
    pub fn is_better(&self, current: f64, best: Option<f64>) -> bool {
        let rises = match self.mode {
            Mode::Auto => larger_is_better(&self.name) == Some(true),
            Mode::Min => false,
            Mode::Max => true,
        };
        let margin = self.min_delta.abs();
        best.is_none_or(|best| if rises { current - margin > best } else { current + margin < best })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn better_is_by_more_than_the_margin() {
        let mut monitor = Monitor::new(0.5);
        assert!(monitor.is_better(f64::NAN, None) && !monitor.is_better(f64::NAN, Some(1.0)));
        assert!(monitor.is_better(1.0, Some(2.0)) && !monitor.is_better(1.5, Some(2.0)));
        monitor.name = "val_accuracy".to_owned();
        assert!(monitor.is_better(2.0, Some(1.0)) && !monitor.is_better(1.5, Some(1.0)));
        monitor.mode = Mode::Min;
        // The sign of the margin does not count.
        monitor.min_delta = -0.5;
        assert!(monitor.is_better(1.0, Some(2.0)) && !monitor.is_better(1.5, Some(2.0)));
    }

    #[test]
    fn a_name_without_a_direction_needs_a_mode() {
        let mut monitor = Monitor { name: "my_score".to_owned(), ..Monitor::new(0.0) };
        let error = monitor.begin("EarlyStopping").unwrap_err().to_string();
        assert!(error.contains("'my_score'") && error.contains("Mode::Max"), "{error}");
        monitor.mode = Mode::Max;
        monitor.begin("EarlyStopping").unwrap();
        monitor.min_delta = f64::NAN;
        assert!(monitor.begin("EarlyStopping").is_err());
    }

    #[test]
    fn a_missing_value_is_told_once_with_the_names_there_are() {
        let (mut monitor, mut logs) = (Monitor::new(0.0), Logs::new());
        logs.insert("loss", 1.0);
        assert_eq!(
            monitor.complaint("EarlyStopping", &logs),
            "EarlyStopping monitors 'val_loss', which is not reported; there are: loss"
        );
        assert_eq!(monitor.current("EarlyStopping", &logs), None);
        assert!(monitor.warned);
        logs.insert_list("val_loss", vec![1.0, 2.0]);
        assert!(monitor.complaint("EarlyStopping", &logs).ends_with("is 2 numbers, not one"));
        logs.insert("val_loss", 3.0);
        assert_eq!(monitor.current("EarlyStopping", &logs), Some(3.0));
    }
}
