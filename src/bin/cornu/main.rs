//! The command line: models from a shell. Each subcommand is a file with one function over the library.

mod args;
mod arrays;
mod bench;
mod convert;
mod evaluate;
mod fit;
mod inspect;
mod predict;
mod profile;
mod summary;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use cornu::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Bad usage ends here, with exit code 2.
    let result = match Args::parse().command {
        Command::Summary(args) => summary::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Profile(args) => profile::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "cornu", &mut script);
            print(String::from_utf8_lossy(&script).trim_end())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Names from files may hold anything; a terminal shall not obey it.
            let text = error.to_string().replace(|c: char| c.is_control() && !c.is_whitespace(), "\u{fffd}");
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            // Nobody is left to tell if this fails too.
            let _ = writeln!(io::stderr(), "cornu: {line}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output. Who reads it may have seen enough and closed it: that is no error.
fn print(text: impl Display) -> cornu::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io { path: "standard output".into(), source: error })
        }
        _ => Ok(()),
    }
}
