use crate::{args, print};
use cornu::{Result, formats};
use std::fmt::Write;

/// `cornu inspect`: what a file holds, also of classes that cornu does not know.
pub fn run(args: &args::Inspect) -> Result<()> {
    let contents = formats::inspect(&args.file)?;
    let mut text = format!("format: {}\n", contents.format);
    for (title, value) in [("config", &contents.config), ("compile settings", &contents.compile)] {
        let _ = match value {
            Some(value) => writeln!(text, "{title}: {value:#}"),
            None => writeln!(text, "{title}: none"),
        };
    }
    let total: usize = contents.arrays.iter().map(|array| array.shape.iter().product::<usize>()).sum();
    let _ = write!(text, "arrays: {} with {total} values", contents.arrays.len());
    let width = contents.arrays.iter().map(|array| array.path.chars().count()).max().unwrap_or(0);
    for array in &contents.arrays {
        let _ = write!(text, "\n  {:<width$}  {} {:?}", array.path, array.dtype, array.shape);
    }
    print(text)
}
