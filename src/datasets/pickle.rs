//! Lists of whole numbers out of NumPy's arrays of objects, which are pickles.
//!
//! A pickle is a program; this reads the few of its instructions that such an array needs, as data. It makes whole
//! numbers, texts, tuples and lists, and takes note of the four names that NumPy puts there without calling anything.

use crate::error::{Error, Result, ensure};
use std::collections::HashMap;
use std::rc::Rc;

/// More lists or numbers than any data set that is known here has.
const MOST_VALUES: usize = 1 << 25;

/// What a pickle has made so far.
#[derive(Clone, Debug)]
enum Value {
    Int(i64),
    /// Something whose content does not matter: a text, a name, nothing, true, false.
    Other,
    Tuple(Rc<[Value]>),
    List(Vec<Value>),
    /// An array that is being made, or its type.
    Object(Option<Vec<Value>>),
    Mark,
}

/// The lists of numbers in the array of objects that `bytes` hold, with the rest of a `.npy` file after its header.
pub(super) fn lists(bytes: &[u8]) -> Result<Vec<Vec<i64>>> {
    let mut reader = Reader { bytes, at: 0, stack: Vec::new(), memo: HashMap::new(), values: 0 };
    let rows = match reader.run()? {
        Value::Object(Some(rows)) => rows,
        _ => return Err(foreign("it holds no array of lists")),
    };
    let number = |value| match value {
        Value::Int(number) => Ok(number),
        _ => Err(foreign("a list holds something else than whole numbers")),
    };
    let list = |row| match row {
        Value::List(numbers) => numbers.into_iter().map(number).collect(),
        _ => Err(foreign("it holds something else than lists")),
    };
    rows.into_iter().map(list).collect()
}

fn foreign(reason: &str) -> Error {
    Error::Format(format!("the array of objects cannot be read: {reason}"))
}

/// A tuple. Of tuples and arrays in it only the place matters: without them nothing nests deeper than the lists, however
/// long a hostile file goes on, and dropping it takes little of the thread's stack.
fn tuple(parts: Vec<Value>) -> Value {
    Value::Tuple(parts.into_iter().map(shallow).collect())
}

fn shallow(value: Value) -> Value {
    match value {
        Value::Tuple(_) | Value::Object(_) => Value::Other,
        value => value,
    }
}

/// What a list may hold: for the same reason lists of lists are the deepest there are.
fn in_list(value: Value) -> Result<Value> {
    let deep = matches!(&value, Value::List(values) if values.iter().any(|value| matches!(value, Value::List(_))));
    if deep { Err(foreign("a list holds lists of lists")) } else { Ok(shallow(value)) }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// What the pickle keeps to name it again; of what can be large, only that it is there.
    memo: HashMap<u32, Value>,
    values: usize,
}

impl Reader<'_> {
    fn run(&mut self) -> Result<Value> {
        loop {
            let code = self.byte()?;
            match code {
                // PROTO, FRAME: no work.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.push(Value::Mark)?,
                b'.' => return self.pop(),
                // Whole numbers.
                b'K' => {
                    let number = self.byte()?;
                    self.push(Value::Int(i64::from(number)))?;
                }
                b'M' => {
                    let bytes = self.take(2)?;
                    let number = i64::from(u16::from_le_bytes([bytes[0], bytes[1]]));
                    self.push(Value::Int(number))?;
                }
                b'J' => {
                    let number = self.u32()? as i32;
                    self.push(Value::Int(i64::from(number)))?;
                }
                // None, True, False.
                b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
                // Texts, of a length of one or four bytes.
                b'U' | b'C' | 0x8c => {
                    let length = self.byte()?;
                    self.take(usize::from(length))?;
                    self.push(Value::Other)?;
                }
                b'X' | b'T' | b'B' => {
                    let length = self.u32()?;
                    self.take(length as usize)?;
                    self.push(Value::Other)?;
                }
                // Names of what makes arrays.
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    let known = [
                        ("numpy", "ndarray"),
                        ("numpy", "dtype"),
                        ("numpy.core.multiarray", "_reconstruct"),
                        ("numpy._core.multiarray", "_reconstruct"),
                        ("_codecs", "encode"),
                    ];
                    ensure!(
                        known.contains(&(&module, &name)),
                        Format,
                        "the array of objects cannot be read: it asks for {module}.{name}"
                    );
                    self.push(Value::Other)?;
                }
                // Names from texts on the stack: only their place matters, since nothing is called.
                0x93 => {
                    self.pop()?;
                    self.pop()?;
                    self.push(Value::Other)?;
                }
                // Kept under a number, or named again.
                b'q' => {
                    let number = u32::from(self.byte()?);
                    self.keep(number)?;
                }
                b'r' => {
                    let number = self.u32()?;
                    self.keep(number)?;
                }
                0x94 => self.keep(self.memo.len() as u32)?,
                b'h' => {
                    let number = u32::from(self.byte()?);
                    self.again(number)?;
                }
                b'j' => {
                    let number = self.u32()?;
                    self.again(number)?;
                }
                // Tuples and lists.
                b')' => self.push(Value::Tuple(Rc::new([])))?,
                0x85..=0x87 => {
                    let from = self.stack.len().checked_sub(usize::from(code - 0x84));
                    let from = from.ok_or_else(|| foreign("its stack is too small"))?;
                    let parts = self.stack.split_off(from);
                    self.push(tuple(parts))?;
                }
                b't' => {
                    let parts = self.since_mark()?;
                    self.push(tuple(parts))?;
                }
                b']' => self.push(Value::List(Vec::new()))?,
                b'l' => {
                    let parts = self.since_mark()?;
                    self.push(Value::List(parts.into_iter().map(in_list).collect::<Result<_>>()?))?;
                }
                b'a' => {
                    let value = self.pop()?;
                    self.append(vec![value])?;
                }
                b'e' => {
                    let values = self.since_mark()?;
                    self.append(values)?;
                }
                // An array or a type is made, and later filled.
                b'R' => {
                    self.pop()?;
                    self.pop()?;
                    self.push(Value::Object(None))?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let filled = match state {
                        Value::Tuple(parts) => match parts.last() {
                            Some(Value::List(rows)) => Some(rows.clone()),
                            _ => None,
                        },
                        _ => None,
                    };
                    match self.stack.last_mut() {
                        Some(Value::Object(rows)) => *rows = filled,
                        _ => return Err(foreign("it fills something that is no array")),
                    }
                }
                _ => return Err(foreign(&format!("the instruction 0x{code:02x} is not known"))),
            }
        }
    }

    fn push(&mut self, value: Value) -> Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    /// Takes note of one more value, on the stack or among those that are kept.
    fn count(&mut self) -> Result<()> {
        self.values += 1;
        ensure!(self.values <= MOST_VALUES, Format, "the array of objects holds more than {MOST_VALUES} values");
        Ok(())
    }

    fn pop(&mut self) -> Result<Value> {
        self.stack.pop().ok_or_else(|| foreign("its stack is empty"))
    }

    fn since_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark));
        let values = mark.map(|mark| self.stack.split_off(mark + 1)).ok_or_else(|| foreign("a mark is missing"))?;
        self.stack.pop();
        Ok(values)
    }

    fn append(&mut self, values: Vec<Value>) -> Result<()> {
        let Some(Value::List(list)) = self.stack.last_mut() else {
            return Err(foreign("it appends to something that is no list"));
        };
        for value in values {
            list.push(in_list(value)?);
        }
        Ok(())
    }

    fn keep(&mut self, number: u32) -> Result<()> {
        self.count()?;
        let value = match self.stack.last() {
            Some(Value::Int(number)) => Value::Int(*number),
            Some(Value::Object(None)) => Value::Object(None),
            Some(Value::List(_) | Value::Tuple(_) | Value::Object(_) | Value::Mark) | None => Value::Mark,
            Some(Value::Other) => Value::Other,
        };
        self.memo.insert(number, value);
        Ok(())
    }

    fn again(&mut self, number: u32) -> Result<()> {
        match self.memo.get(&number).cloned() {
            Some(Value::Mark) => Err(foreign("a list stands there twice")),
            Some(value) => self.push(value),
            None => Err(foreign("it names something that it has not kept")),
        }
    }

    fn take(&mut self, n: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| foreign("it is cut off"))?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn line(&mut self) -> Result<String> {
        let end = self.bytes[self.at..].iter().position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| foreign("it is cut off"))?;
        let text = String::from_utf8_lossy(self.take(end + 1)?).trim_end().to_owned();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_lists_of_numbers_is_read() {
        let says = |bytes: &[u8], text: &str| {
            let error = lists(bytes).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(b"", "cut off");
        says(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.", "asks for os.system");
        says(b"\x80\x02]q\0.", "no array of lists");
        says(b"\x80\x02.", "stack is empty");
        says(b"\x80\x02e", "a mark is missing");
        says(b"\x80\x02a", "stack is empty");
        says(b"\x80\x02h\x05", "has not kept");
        says(b"\x80\x02X\xff\xff\xff\xff", "cut off");
        says(b"\x80\x02\xfe", "0xfe");
        says(b"\x80\x02]q\0h\0", "twice");
        // An array of two lists in it, one with a text in it.
        says(b"\x80\x02cnumpy\nndarray\n)R(K\x01](](K\x01U\x01aeetb.", "something else than whole numbers");
        let good = lists(b"\x80\x02cnumpy\nndarray\n)R(K\x01](](K\x01M\x2c\x01J\xff\xff\xff\xffe]etb.");
        assert_eq!(good.unwrap(), [vec![1, 300, -1], vec![]]);
    }

    #[test]
    fn what_nests_without_end_is_refused() {
        let many = |codes: &[u8]| codes.repeat(1_000_000);
        let says = |parts: &[&[u8]], text: &str| {
            let error = lists(&parts.concat()).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        // Tuples of one, tuples since marks, lists since marks, lists appended to lists.
        says(&[b"\x80\x02)", &many(b"\x85"), b"."], "no array of lists");
        says(&[&many(b"("), b")", &many(b"t"), b"."], "no array of lists");
        says(&[&many(b"("), b"]", &many(b"l"), b"."], "lists of lists");
        says(&[&many(b"]"), &many(b"a"), b"."], "lists of lists");
        // In turns: lists in tuples in lists, and arrays filled with lists of such arrays.
        says(&[&many(b"("), b")", &many(b"l\x85"), b"."], "no array of lists");
        says(&[&many(b"(NNR"), b"]", &many(b"\x85bl"), b"."], "no array of lists");
    }
}
