//! `summary()`: the table of layers, shapes and parameters that Keras prints.

use super::Model;
use super::graph::{Graph, Port};
use super::nested::Nested;
use super::table::{Align, Column, Table, WIDEST};
use crate::layer::{LayerHandle, Param};
use std::fmt;

const COLUMNS: [Column; 5] = [
    Column::new("Layer (type)", Align::Left, 29),
    Column::new("Output Shape", Align::Left, 22),
    Column::new("Param #", Align::Right, 10),
    // A layer that reads many others does not push the table out of the screen.
    Column { most: 40, ..Column::new("Connected to", Align::Left, 12) },
    Column::new("Trainable", Align::Center, 9),
];
/// The narrowest that columns become.
const LEAST: usize = 4;

/// A printable table of a model's layers: name and class, output shape, parameters, in a graph where the inputs come
/// from; then the totals.
#[derive(Clone, Debug)]
pub struct Summary {
    name: String,
    rows: Vec<Row>,
    /// Whether it says where inputs come from.
    connected: bool,
    trainable: usize,
    non_trainable: usize,
    optimizer: usize,
    expand_nested: bool,
    show_trainable: bool,
    width: usize,
    positions: Vec<f64>,
}

/// A layer's line.
#[derive(Clone, Debug)]
struct Row {
    /// In how many models inside others it stands.
    depth: usize,
    label: String,
    shapes: String,
    params: String,
    connected: String,
    trainable: &'static str,
}

impl Summary {
    /// Whether the layers of models inside this one are listed below them, moved in. Default: no.
    pub fn expand_nested(mut self, expand: bool) -> Self {
        self.expand_nested = expand;
        self
    }

    /// Whether a column says which layers are learned: `Y`, `N` for those that are frozen, `-` for those without weights.
    /// Default: no.
    pub fn show_trainable(mut self, show: bool) -> Self {
        self.show_trainable = show;
        self
    }

    /// Sets the width of the table, in characters (Keras: `line_length`). What does not fit into a column is cut short with
    /// `…`. Default: as wide as its contents, at least 65. At most 1000.
    pub fn width(mut self, width: usize) -> Self {
        self.width = width.min(WIDEST);
        self
    }

    /// Where the columns end: as parts of the width, where all are at most 1, or else in characters; `[0.45, 0.8, 1.0]`. A
    /// column without a position is as wide as its contents. Default: none.
    pub fn positions(mut self, positions: impl Into<Vec<f64>>) -> Self {
        self.positions = positions.into();
        self
    }

    /// The number of values that training changes.
    pub fn trainable_params(&self) -> usize {
        self.trainable
    }

    /// The number of values that training leaves as they are, moving statistics among them.
    pub fn non_trainable_params(&self) -> usize {
        self.non_trainable
    }

    /// The widths of the columns, whose contents have these.
    fn widths(&self, natural: &[usize]) -> Vec<usize> {
        // Each column has a border and a space on both sides, and there is one border more.
        let room = self.width.saturating_sub(3 * natural.len() + 1);
        let mut widths = natural.to_vec();
        if !self.positions.is_empty() {
            let whole = if self.width > 0 { self.width } else { natural.iter().sum::<usize>() + 3 * natural.len() + 1 };
            let scale = if self.positions.iter().all(|end| *end <= 1.0) { whole as f64 } else { 1.0 };
            let mut begin = 0.0;
            for (width, end) in widths.iter_mut().zip(&self.positions) {
                *width = ((end * scale - begin) as usize).saturating_sub(3).clamp(LEAST, WIDEST);
                begin = end * scale;
            }
        } else if room > natural.iter().sum() {
            widths[0] += room - natural.iter().sum::<usize>();
        } else if self.width > 0 {
            // The widest column gives way first, since names and shapes are cut least where they are shortest.
            while widths.iter().sum::<usize>() > room
                && let Some(widest) = (0..widths.len()).max_by_key(|&i| (widths[i], usize::MAX - i))
                && widths[widest] > LEAST
            {
                widths[widest] -= 1;
            }
        }
        widths
    }
}

impl Model {
    /// The table of layers that Keras' `summary()` prints. Shapes and parameters of a model whose
    /// input is not known yet show as `?`.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(Dense::new(3));
    /// model.build()?;
    /// assert!(model.summary().to_string().contains("Total params: 15 (60.00 B)"));
    /// println!("{}", model.summary().expand_nested(true).show_trainable(true).width(100));
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn summary(&self) -> Summary {
        let count = |weights: &[Param]| weights.iter().map(|w| w.value().len()).sum();
        let trainable: usize = count(&self.trainable_weights());
        let mut rows = Vec::new();
        self.summary_rows(0, &mut rows);
        Summary {
            name: self.name.clone(),
            rows,
            connected: self.graph.is_some() && self.class_name() == "Functional",
            trainable,
            non_trainable: self.count_params() - trainable,
            optimizer: self.compiled.as_ref().map_or(0, |compiled| compiled.optimizer_params()),
            expand_nested: false,
            show_trainable: false,
            width: 0,
            positions: Vec::new(),
        }
    }

    /// Adds the lines of its layers, and of those of models inside.
    fn summary_rows(&self, depth: usize, rows: &mut Vec<Row>) {
        // Keras lists the inputs of functional models.
        let layers = match &self.graph {
            Some(graph) if self.class_name() == "Functional" => graph.order().to_vec(),
            _ => self.layers(),
        };
        for layer in &layers {
            let (shapes, connected) = match &self.graph {
                Some(graph) => graph.summary_of(layer),
                None => ("?".to_owned(), "-".to_owned()),
            };
            let params = self.graph.as_ref().map_or_else(|| "?".to_owned(), |_| thousands(layer.count_params()));
            let prefix = if depth > 0 { "   ".repeat(depth) + "└ " } else { String::new() };
            rows.push(Row {
                depth,
                label: format!("{prefix}{} ({})", layer.name(), layer.class_name()),
                shapes,
                params,
                connected,
                trainable: match (layer.weights().is_empty(), layer.trainable()) {
                    (true, _) => "-",
                    (false, true) => "Y",
                    (false, false) => "N",
                },
            });
            layer.downcast(|nested: &Nested| nested.model().summary_rows(depth + 1, rows));
        }
    }
}

impl Graph {
    /// The output shapes of a layer, and what its calls read as layer, call of it and output.
    fn summary_of(&self, layer: &LayerHandle) -> (String, String) {
        let calls: Vec<_> = self.nodes.iter().filter(|node| node.layer.is(layer)).collect();
        let shapes = calls.first().map(|node| node.output_shapes.iter().map(ToString::to_string).collect::<Vec<_>>());
        let from = |port: &Port| {
            let name = self.nodes[port.node].layer.name();
            format!("{name}[{}][{}]", self.call_number(port.node), port.output)
        };
        let connected: Vec<String> = calls.iter().flat_map(|node| &node.inputs).map(from).collect();
        let connected = if connected.is_empty() { "-".to_owned() } else { connected.join(", ") };
        (shapes.unwrap_or_default().join(", "), connected)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = [true, true, true, self.connected, self.show_trainable];
        let kept = |i: &usize| shown[*i];
        let columns: Vec<Column> = (0..5).filter(kept).map(|i| COLUMNS[i]).collect();
        let cells = |row: &Row| {
            let Row { label, shapes, params, connected, trainable, .. } = row;
            let all = [label, shapes, params, connected, *trainable];
            (0..5).filter(kept).map(|i| all[i].to_owned()).collect()
        };
        let rows: Vec<Vec<String>> =
            self.rows.iter().filter(|row| row.depth == 0 || self.expand_nested).map(cells).collect();
        let mut table = Table::new(&columns, &rows);
        table.widths = self.widths(&table.widths);
        writeln!(f, "Model: \"{}\"", self.name)?;
        write!(f, "{table}")?;
        let total = |name: &str, n: usize| format!(" {name} params: {} ({})", thousands(n), bytes(n * 4));
        writeln!(f, "{}", total("Total", self.trainable + self.non_trainable + self.optimizer))?;
        writeln!(f, "{}", total("Trainable", self.trainable))?;
        write!(f, "{}", total("Non-trainable", self.non_trainable))?;
        if self.optimizer > 0 {
            write!(f, "\n{}", total("Optimizer", self.optimizer))?;
        }
        Ok(())
    }
}

/// 1234567 as "1,234,567".
pub(crate) fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A number of bytes as Keras prints it: "241.04 KB".
pub(crate) fn bytes(n: usize) -> String {
    let mut size = n as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if size < 1024.0 {
            return format!("{size:.2} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2} TB")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers() {
        assert_eq!(super::thousands(0), "0");
        assert_eq!(super::thousands(61706), "61,706");
        assert_eq!(super::thousands(138_357_544), "138,357,544");
        assert_eq!(super::bytes(61706 * 4), "241.04 KB");
    }
}
