//! Tables as text: comma-separated values.

use super::dataset::{Job, Jobs, Pass, Stage};
use super::{Cardinality, Dataset, Item};
use crate::error::{Context, Error, Result, ensure};
use crate::tensor::Tensor;
use ndarray::Array2;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A line longer than this is no line of a table.
const LONGEST_LINE: u64 = 1 << 20;

/// How a table is read: [`Dataset::from_csv`], [`Csv::read`]. By default the first line has the names of the columns,
/// commas stand between the cells, and all columns are inputs.
///
/// Cells are numbers; they may stand in double quotes. Empty lines are left out.
///
/// ```
/// use cornu::data::{Csv, Dataset};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("houses.csv");
/// std::fs::write(&path, "rooms,area,price\n3,70.5,210\n5,120,380\n").unwrap();
/// let data = Dataset::from_csv(&path, Csv::new().target("price"))?;
/// let first = data.iter().next().unwrap()?;
/// assert_eq!((first.x[0].data(), first.y[0].data()), (&[3.0, 70.5][..], &[210.0][..]));
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    target: Option<String>,
    columns: Option<Vec<String>>,
    header: bool,
    delimiter: char,
    missing: Option<f32>,
}

impl Default for Csv {
    fn default() -> Self {
        Csv { target: None, columns: None, header: true, delimiter: ',', missing: None }
    }
}

impl Csv {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The column that is to be predicted. Default: none.
    pub fn target(mut self, column: impl Into<String>) -> Self {
        self.target = Some(column.into());
        self
    }

    /// The columns that are inputs, in this order. Default: all but the target.
    pub fn columns<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Whether the first line has the names of the columns. Without them they are called 0, 1, 2, …. Default: yes.
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// What stands between two cells. Default: a comma.
    pub fn delimiter(mut self, delimiter: char) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// The value of cells that are empty, `NA`, `NaN` or `?`. Default: they are errors.
    pub fn missing(mut self, value: f32) -> Self {
        self.missing = Some(value);
        self
    }

    /// The whole table in memory: the names of its columns, all of them or those that were chosen (then the target
    /// last), and its numbers, `(rows, columns)`.
    ///
    /// # Errors
    /// When the file cannot be read, has no rows, or a row is not as the others: with its line and column.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<(Vec<String>, Array2<f32>)> {
        let mut table = Table::open(path.as_ref(), self)?;
        let mut values = Vec::new();
        let mut rows = 0;
        while let Some((line, text)) = table.next_line()? {
            values.extend(table.layout.row(line, &text)?);
            rows += 1;
        }
        ensure!(rows > 0, Data, "file '{}': the table has no rows", path.as_ref().display());
        let names = table.layout.chosen.iter().map(|&i| table.layout.names[i].clone()).collect::<Vec<_>>();
        let shape = (rows, names.len());
        Ok((names, Array2::from_shape_vec(shape, values).map_err(|error| Error::Data(error.to_string()))?))
    }
}

impl Dataset {
    /// The rows of a table in a text file, which are read line by line in each epoch; see [`Csv`]. An element has the
    /// inputs as `(columns,)` and the target as a single number. How many there are shows when they were read.
    ///
    /// # Errors
    /// When the file cannot be opened or has not the columns that are asked for. A row with a mistake is an error of its
    /// element, with line and column.
    pub fn from_csv(path: impl AsRef<Path>, options: Csv) -> Result<Dataset> {
        let path = path.as_ref().to_owned();
        Table::open(&path, &options)?;
        Ok(Dataset::new(Lines { path, options }))
    }
}

struct Lines {
    path: PathBuf,
    options: Csv,
}

impl Stage for Lines {
    fn jobs(&self, _pass: Pass) -> Jobs {
        let mut table = match Table::open(&self.path, &self.options) {
            Ok(table) => Some(table),
            Err(error) => return Box::new(std::iter::once(Job::ready(Err(error)))),
        };
        let target = self.options.target.is_some();
        Box::new(std::iter::from_fn(move || match table.as_mut()?.next_line() {
            Ok(None) => None,
            Ok(Some((line, text))) => {
                let layout = table.as_ref()?.layout.clone();
                Some(Job::new(move || {
                    let mut values = layout.row(line, &text)?;
                    let y = if target { values.pop() } else { None };
                    let x = Tensor::new([values.len()], values)?;
                    let y = y.map(|y| Tensor::new([], vec![y])).transpose()?;
                    Ok(Item { x: vec![x], y: y.into_iter().collect(), weights: Vec::new() })
                }))
            }
            Err(error) => {
                table = None;
                Some(Job::ready(Err(error)))
            }
        }))
    }

    fn cardinality(&self) -> Cardinality {
        Cardinality::Unknown
    }
}

/// A table that is open, line by line.
struct Table {
    source: BufReader<File>,
    layout: Arc<Layout>,
    /// A first line that is a row.
    first: Option<String>,
    line: usize,
}

struct Layout {
    path: PathBuf,
    names: Vec<String>,
    /// The columns that are read, the target last.
    chosen: Vec<usize>,
    delimiter: char,
    missing: Option<f32>,
}

impl Table {
    fn open(path: &Path, options: &Csv) -> Result<Table> {
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let layout = Layout {
            path: path.to_owned(),
            names: Vec::new(),
            chosen: Vec::new(),
            delimiter: options.delimiter,
            missing: options.missing,
        };
        let mut table = Table { source: BufReader::new(file), layout: Arc::new(layout), first: None, line: 0 };
        let first = table.next_line()?.map(|(_, text)| text);
        let first = first.ok_or_else(|| Error::Data("the file is empty, expected a table".to_owned()));
        let place = || format!("file '{}'", path.display());
        let first = first.at(place)?;
        let cells = cells(&first, options.delimiter);
        let names: Vec<String> = match options.header {
            true => cells,
            false => (0..cells.len()).map(|i| i.to_string()).collect(),
        };
        let find = |name: &String| {
            let place = names.iter().position(|known| known == name);
            place.ok_or_else(|| Error::unknown_name("column", name, names.iter().map(String::as_str)))
        };
        let target = options.target.as_ref().map(find).transpose().at(place)?;
        let inputs = match &options.columns {
            Some(columns) => columns.iter().map(find).collect::<Result<Vec<_>>>().at(place)?,
            None => (0..names.len()).filter(|&i| Some(i) != target).collect(),
        };
        ensure!(!inputs.is_empty(), Data, "file '{}': no column is left for the inputs", path.display());
        let chosen = inputs.into_iter().chain(target).collect();
        table.layout = Arc::new(Layout {
            path: path.to_owned(),
            names,
            chosen,
            delimiter: options.delimiter,
            missing: options.missing,
        });
        table.first = (!options.header).then_some(first);
        Ok(table)
    }

    /// The next line that is not empty, with its number from 1.
    fn next_line(&mut self) -> Result<Option<(usize, String)>> {
        if let Some(first) = self.first.take() {
            return Ok(Some((self.line, first)));
        }
        loop {
            let mut text = String::new();
            let read = (&mut self.source).take(LONGEST_LINE).read_line(&mut text);
            let n = read.map_err(|source| Error::io(&self.layout.path, source))?;
            if n == 0 {
                return Ok(None);
            }
            self.line += 1;
            ensure!(
                n < LONGEST_LINE as usize,
                Format,
                "file '{}': line {} is longer than {LONGEST_LINE} bytes; that is no table",
                self.layout.path.display(),
                self.line
            );
            // A byte order mark is no part of the first cell.
            let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text.as_str() };
            if !text.trim().is_empty() {
                return Ok(Some((self.line, text.trim_end_matches(['\n', '\r']).to_owned())));
            }
        }
    }
}

impl Layout {
    /// The numbers of the chosen columns.
    fn row(&self, line: usize, text: &str) -> Result<Vec<f32>> {
        let place = || format!("file '{}', line {line}", self.path.display());
        let cells = cells(text, self.delimiter);
        if cells.len() != self.names.len() {
            return Err(Error::Data(format!("{} cells, expected {}", cells.len(), self.names.len()))).at(place);
        }
        let number = |&i: &usize| match (cells[i].as_str(), self.missing) {
            ("" | "NA" | "NaN" | "nan" | "?", Some(value)) => Ok(value),
            (cell, _) => cell.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(|| {
                Error::Data(format!(
                    "column '{}': '{cell}' is no number{}",
                    self.names[i],
                    if cell.is_empty() { "; missing(value) fills empty cells" } else { "" }
                ))
            }),
        };
        self.chosen.iter().map(number).collect::<Result<_>>().at(place)
    }
}

/// The cells of a line, without the spaces around them and without quotes.
fn cells(line: &str, delimiter: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = cells.len() - 1;
        let cell = &mut cells[last];
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted || cell.trim().is_empty() => quoted = !quoted,
            letter if letter == delimiter && !quoted => cells.push(String::new()),
            letter => cell.push(letter),
        }
    }
    cells.iter_mut().for_each(|cell| *cell = cell.trim().to_owned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn tables_are_read_as_a_whole_and_row_by_row() {
        let (_folder, path) = file("\u{feff}a,\"b, the second\",c\r\n1,2,3\r\n\r\n -4 ,\"5e-1\",6");
        let (names, table) = Csv::new().read(&path).unwrap();
        assert_eq!(names, ["a", "b, the second", "c"]);
        assert_eq!(table, ndarray::array![[1.0, 2.0, 3.0], [-4.0, 0.5, 6.0]]);
        let data = Dataset::from_csv(&path, Csv::new().target("a").columns(["c"])).unwrap();
        for _ in 0..2 {
            let items: Vec<Item> = data.iter().collect::<Result<_>>().unwrap();
            assert_eq!(items.len(), 2);
            assert_eq!((items[1].x[0].data(), items[1].y[0].data()), (&[6.0][..], &[-4.0][..]));
        }
        let (_folder, path) = file("1;?\n3;4\n");
        let options = Csv::new().header(false).delimiter(';').missing(-1.0);
        assert_eq!(options.read(&path).unwrap().1, ndarray::array![[1.0, -1.0], [3.0, 4.0]]);
        let items: Vec<Item> = Dataset::from_csv(&path, options).unwrap().iter().collect::<Result<_>>().unwrap();
        assert_eq!((items[0].x[0].data(), items[0].y.len(), items.len()), (&[1.0, -1.0][..], 0, 2));
        // A byte order mark before what is no header.
        for text in ["\u{feff}1,2\n3,4\n", "\u{feff}\n1,2\n3,4\n"] {
            let (_folder, path) = file(text);
            let table = Csv::new().header(false).read(&path).unwrap().1;
            assert_eq!(table, ndarray::array![[1.0, 2.0], [3.0, 4.0]]);
        }
    }

    #[test]
    fn mistakes_name_line_and_column() {
        let says = |text: &str, options: Csv, expected: &[&str]| {
            let (_folder, path) = file(text);
            let error = options.read(&path).unwrap_err().to_string();
            assert!(expected.iter().all(|part| error.contains(part)), "{error}");
            let lazy = Dataset::from_csv(&path, options).and_then(|data| data.iter().collect::<Result<Vec<_>>>());
            assert!(lazy.map(|items| items.is_empty()).unwrap_or(true));
        };
        says("", Csv::new(), &["table.csv", "empty"]);
        says("a,b\n", Csv::new(), &["no rows"]);
        says("a,b\n1,2\n\n3,x\n", Csv::new(), &["table.csv", "line 4", "'b'", "'x'"]);
        says("a,b\n1,\n", Csv::new(), &["line 2", "'b'", "missing(value)"]);
        says("a,b\n1,inf\n", Csv::new(), &["'inf' is no number"]);
        says("a,b\n1,2,3\n", Csv::new(), &["line 2", "3 cells, expected 2"]);
        says("price,b\n1,2\n", Csv::new().target("prise"), &["'prise'", "did you mean 'price'"]);
        says("a\n1\n", Csv::new().target("a"), &["no column is left"]);
        let (_folder, path) = file("a");
        std::fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        assert!(Csv::new().read(&path).is_err());
        assert!(Dataset::from_csv(path.with_file_name("none.csv"), Csv::new()).is_err());
        std::fs::write(&path, vec![b'1'; 2 << 20]).unwrap();
        assert!(Csv::new().read(&path).unwrap_err().to_string().contains("longer than"));
    }
}
