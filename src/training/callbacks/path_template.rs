//! File names with values in them: `"model-{epoch:02d}-{val_loss:.2f}.keras"`.

use super::scientific;
use crate::error::{Error, Result};
use crate::training::Logs;

/// A value that a placeholder stands for.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Whole(usize),
    Number(f64),
    List(&'a [f64]),
}

/// Fills in the placeholders of `template`, in Python's format language: `{name}` or `{name:spec}`, the
/// spec being `[0][width][.precision][d|f|e|%]`; `{{` and `}}` are braces.
///
/// `counts` are names and whole numbers, such as `epoch`; other names are those of the logs.
pub(super) fn fill(template: &str, counts: &[(&str, usize)], logs: &Logs) -> Result<String> {
    let look_up = |name: &str| {
        let count = counts.iter().find(|(n, _)| *n == name).map(|(_, count)| Value::Whole(*count));
        let logged = || match logs.get_list(name)? {
            [one] => Some(Value::Number(*one)),
            list => Some(Value::List(list)),
        };
        count.or_else(logged).ok_or_else(|| {
            let names: Vec<&str> = counts.iter().map(|(name, _)| *name).chain(logs.names()).collect();
            Error::Argument(format!("'{template}': there is no value '{name}'; there are: {}", names.join(", ")))
        })
    };
    parse(template)?.into_iter().try_fold(String::new(), |filled, part| {
        Ok(match part {
            Part::Text(text) => filled + &text,
            Part::Value(name, spec) => {
                filled + &spec.write(look_up(name)?).map_err(|e| Error::Argument(format!("'{template}': {e}")))?
            }
        })
    })
}

/// Whether the placeholders of a template are well formed.
pub(super) fn check(template: &str) -> Result<()> {
    parse(template).map(|_| ())
}

enum Part<'a> {
    Text(String),
    Value(&'a str, Spec<'a>),
}

fn parse(template: &str) -> Result<Vec<Part<'_>>> {
    let wrong = |what: &str| {
        Error::Argument(format!(
            "'{template}': {what}; a value is written {{name}} or {{name:.2f}}, a brace {{{{ or }}}}"
        ))
    };
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, brace) = rest.split_at(at);
        parts.push(Part::Text(text.to_owned()));
        if brace.starts_with("{{") || brace.starts_with("}}") {
            parts.push(Part::Text(brace[..1].to_owned()));
            rest = &brace[2..];
        } else if let Some(inner) = brace.strip_prefix('{') {
            let (field, after) = inner.split_once('}').ok_or_else(|| wrong("a brace is not closed"))?;
            let (name, spec) = field.split_once(':').unwrap_or((field, ""));
            let spec = Spec::parse(spec).ok_or_else(|| wrong(&format!("'{spec}' is no known format")))?;
            parts.push(Part::Value(name, spec));
            rest = after;
        } else {
            return Err(wrong("a brace closes that was not opened"));
        }
    }
    parts.push(Part::Text(rest.to_owned()));
    Ok(parts)
}

/// How a value is written.
struct Spec<'a> {
    text: &'a str,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    kind: Option<char>,
}

impl<'a> Spec<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (body, kind) = match text.char_indices().next_back() {
            Some((at, kind @ ('d' | 'f' | 'e' | '%'))) => (&text[..at], Some(kind)),
            _ => (text, None),
        };
        let (width, precision) = match body.split_once('.') {
            Some((width, precision)) => (width, Some(number(precision)?)),
            None => (body, None),
        };
        let zeros = width.starts_with('0');
        let width = if width.is_empty() { 0 } else { number(width)? };
        // Python rounds {:.3} to significant digits, which is no use in a file name.
        let known = if precision.is_some() { !matches!(kind, None | Some('d')) } else { true };
        known.then_some(Spec { text, zeros, width, precision, kind })
    }

    fn write(&self, value: Value<'_>) -> Result<String, String> {
        let plain = match (value, self.kind) {
            (Value::Whole(n), None | Some('d')) => n.to_string(),
            (Value::Number(x), None) => format!("{x:?}"),
            (Value::Number(_), Some('d')) => return Err(format!("'{}' is for whole numbers, use 'f'", self.text)),
            (Value::Whole(n), Some(kind)) => self.float(n as f64, kind),
            (Value::Number(x), Some(kind)) => self.float(x, kind),
            (Value::List(list), _) => {
                return Err(format!("a value that is {} numbers cannot be part of a file name", list.len()));
            }
        };
        let missing = self.width.saturating_sub(plain.chars().count());
        let (sign, digits) = plain.split_at(usize::from(plain.starts_with('-')));
        Ok(match self.zeros {
            true => format!("{sign}{}{digits}", "0".repeat(missing)),
            false => " ".repeat(missing) + &plain,
        })
    }

    fn float(&self, x: f64, kind: char) -> String {
        let digits = self.precision.unwrap_or(6);
        match kind {
            'e' => scientific(x, digits),
            '%' => format!("{:.digits$}%", x * 100.0),
            _ => format!("{x:.digits$}"),
        }
    }
}

/// A small whole number: no file name has more digits.
fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n <= 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> Logs {
        let mut logs = Logs::new();
        logs.insert("loss", 1.5);
        logs.insert("val_loss", 0.12845);
        logs.insert("small", -5e-4);
        logs.insert_list("f1_score", vec![0.5, 0.25]);
        logs
    }

    /// The right column is what Python's `str.format` gives.
    #[test]
    fn values_are_written_as_in_python() -> Result<()> {
        for (template, filled) in [
            ("model.keras", "model.keras"),
            ("{epoch}", "7"),
            ("{epoch:02d}-{val_loss:.2f}.keras", "07-0.13.keras"),
            ("{epoch:d}{epoch:4d}{epoch:004}", "7   70007"),
            ("{epoch:.1f}", "7.0"),
            ("{loss}", "1.5"),
            ("{loss:f}", "1.500000"),
            ("{val_loss:.0f}|{val_loss:8.3f}|{small:08.4f}", "0|   0.128|-00.0005"),
            ("{val_loss:.2e} {small:.1e} {loss:e}", "1.28e-01 -5.0e-04 1.500000e+00"),
            ("{val_loss:.1%}", "12.8%"),
            ("{{{epoch}}}ü", "{7}ü"),
        ] {
            assert_eq!(fill(template, &[("epoch", 7)], &logs())?, filled, "{template}");
        }
        Ok(())
    }

    #[test]
    fn mistakes_are_told() {
        for (template, says) in [
            ("{epoch", "not closed"),
            ("epoch}", "not opened"),
            ("{epoch:x}", "'x' is no known format"),
            ("{epoch:.999f}", "no known format"),
            ("{loss:.3}", "no known format"),
            ("{loss:+3d}", "no known format"),
            ("{loss:é}", "no known format"),
            ("{loss:02d}", "whole numbers"),
            ("{f1_score:.2f}", "2 numbers"),
            ("{}", "no value ''; there are: epoch, loss, val_loss"),
            ("{val_los:.2f}", "no value 'val_los'; there are: epoch, loss, val_loss"),
        ] {
            let error = fill(template, &[("epoch", 7)], &logs()).unwrap_err();
            assert!(matches!(error, Error::Argument(_)) && error.to_string().contains(says), "{template}: {error}");
            let message = error.to_string();
            assert!(message.starts_with(&format!("'{template}'")), "{message}");
        }
        assert!(check("{never_logged:.2f}").is_ok() && check("{a:b}").is_err());
    }
}
