//! A table of text, drawn with lines as Keras draws its summaries.

use std::fmt;

/// A column: its heading, where its texts stand, and how wide it is at least and at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub title: &'static str,
    pub align: Align,
    pub least: usize,
    pub most: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Align {
    Left,
    Center,
    Right,
}

impl Column {
    pub const fn new(title: &'static str, align: Align, least: usize) -> Self {
        Column { title, align, least, most: usize::MAX }
    }
}

/// A column is not wider, whatever names a file holds: `format!` has a limit of its own.
pub(crate) const WIDEST: usize = 1000;

/// The columns with the rows below them, which have a cell for each.
pub(crate) struct Table<'a> {
    columns: &'a [Column],
    rows: &'a [Vec<String>],
    /// The columns' widths, without borders and the spaces beside them.
    pub widths: Vec<usize>,
}

impl<'a> Table<'a> {
    /// As wide as the contents, within the limits of each column.
    pub fn new(columns: &'a [Column], rows: &'a [Vec<String>]) -> Self {
        let longest = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
        let width = |(i, column): (usize, &Column)| {
            longest(i).max(column.title.chars().count()).max(column.least).min(column.most).min(WIDEST)
        };
        let widths = columns.iter().enumerate().map(width).collect();
        Table { columns, rows, widths }
    }

    fn line(&self, left: char, fill: &str, middle: char, right: char) -> String {
        let bars: Vec<String> = self.widths.iter().map(|width| fill.repeat(width + 2)).collect();
        format!("{left}{}{right}", bars.join(&middle.to_string()))
    }

    fn row<'t>(&self, cells: impl Iterator<Item = &'t str>, bar: char) -> String {
        let cell = |((text, &width), column): ((&str, &usize), &Column)| {
            let fit = match text.chars().count() > width {
                true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
                false => text.to_owned(),
            };
            match column.align {
                Align::Left => format!(" {fit:<width$} {bar}"),
                Align::Center => format!(" {fit:^width$} {bar}"),
                Align::Right => format!(" {fit:>width$} {bar}"),
            }
        };
        format!("{bar}{}", cells.zip(&self.widths).zip(self.columns).map(cell).collect::<String>())
    }
}

impl fmt::Display for Table<'_> {
    /// Ends with the end of a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line('┏', "━", '┳', '┓'))?;
        writeln!(f, "{}", self.row(self.columns.iter().map(|column| column.title), '┃'))?;
        writeln!(f, "{}", self.line('┡', "━", '╇', '┩'))?;
        for (i, row) in self.rows.iter().enumerate() {
            if i > 0 {
                writeln!(f, "{}", self.line('├', "─", '┼', '┤'))?;
            }
            writeln!(f, "{}", self.row(row.iter().map(String::as_str), '│'))?;
        }
        writeln!(f, "{}", self.line('└', "─", '┴', '┘'))
    }
}
