//! `summary()`: the table of layers, shapes and parameters that Keras prints.

use super::Model;
use super::graph::{Graph, Port};
use crate::layer::{LayerHandle, Param};
use std::fmt;

/// A printable table of a model's layers: name and class, output shape, parameters, in a graph where the inputs come
/// from; then the totals.
#[derive(Clone, Debug)]
pub struct Summary {
    name: String,
    /// Cells of each line: three, or four for a graph.
    rows: Vec<Vec<String>>,
    trainable: usize,
    non_trainable: usize,
    optimizer: usize,
    width: usize,
}

impl Summary {
    /// Sets the width of the table, in characters. Default: as wide as its contents, at least 65.
    pub fn width(mut self, width: usize) -> Self {
        self.width = width;
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
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn summary(&self) -> Summary {
        let label = |layer: &LayerHandle| format!("{} ({})", layer.name(), layer.class_name());
        let rows = match &self.graph {
            Some(graph) if self.class_name() == "Functional" => {
                graph.order().iter().map(|layer| graph.summary_row(layer, label(layer))).collect()
            }
            Some(graph) => {
                let layers = graph.layers();
                let row = |layer: &LayerHandle| graph.summary_row(layer, label(layer)).into_iter().take(3).collect();
                layers.iter().map(row).collect()
            }
            None => self.layers().iter().map(|layer| vec![label(layer), "?".to_owned(), "?".to_owned()]).collect(),
        };
        let count = |weights: &[Param]| weights.iter().map(|w| w.value().len()).sum();
        let trainable: usize = count(&self.trainable_weights());
        Summary {
            name: self.name.clone(),
            rows,
            trainable,
            non_trainable: self.count_params() - trainable,
            optimizer: self.compiled.as_ref().map_or(0, |compiled| compiled.optimizer_params()),
            width: 0,
        }
    }
}

impl Graph {
    /// A layer's line: label, shapes, parameters, and what its calls read as layer, call of it and output.
    fn summary_row(&self, layer: &LayerHandle, label: String) -> Vec<String> {
        let calls: Vec<_> = self.nodes.iter().filter(|node| node.layer.is(layer)).collect();
        let shapes = calls.first().map(|node| node.output_shapes.iter().map(ToString::to_string).collect::<Vec<_>>());
        let from = |port: &Port| {
            let name = self.nodes[port.node].layer.name();
            format!("{name}[{}][{}]", self.call_number(port.node), port.output)
        };
        let connected: Vec<String> = calls.iter().flat_map(|node| &node.inputs).map(from).collect();
        let connected = if connected.is_empty() { "-".to_owned() } else { connected.join(", ") };
        vec![label, shapes.unwrap_or_default().join(", "), thousands(layer.count_params()), connected]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.first().map_or(3, Vec::len);
        let header: Vec<String> = ["Layer (type)", "Output Shape", "Param #", "Connected to"].map(str::to_owned).into();
        let header = header[..columns].to_vec();
        let longest = |i: usize| self.rows.iter().chain([&header]).map(|r| r[i].chars().count()).max().unwrap_or(0);
        let least = [29, 22, 10, 12];
        let mut widths: Vec<usize> = (0..columns).map(|i| longest(i).max(least[i])).collect();
        // A layer that reads many others does not push the table out of the screen.
        if let Some(connected) = widths.get_mut(3) {
            *connected = (*connected).min(40);
        }
        // Each column has a border and a space on both sides, and there is one border more.
        let wanted = self.width.saturating_sub(3 * columns + 1);
        let natural: usize = widths.iter().sum();
        if wanted > natural {
            widths[0] += wanted - natural;
        } else if self.width > 0 {
            widths[0] = widths[0].saturating_sub(natural - wanted).max(12);
        }
        let line = |left: char, fill: &str, middle: char, right: char| {
            let bars: Vec<String> = widths.iter().map(|w| fill.repeat(w + 2)).collect();
            format!("{left}{}{right}", bars.join(&middle.to_string()))
        };
        let row = |cells: &[String], bar: char| {
            let cell = |(i, (text, width)): (usize, (&String, &usize))| {
                let fit = match text.chars().count() > *width {
                    true => text.chars().take(width - 1).chain(['…']).collect(),
                    false => text.clone(),
                };
                if i == 2 { format!(" {fit:>width$} {bar}") } else { format!(" {fit:<width$} {bar}") }
            };
            format!("{bar}{}", cells.iter().zip(&widths).enumerate().map(cell).collect::<String>())
        };
        writeln!(f, "Model: \"{}\"", self.name)?;
        writeln!(f, "{}", line('┏', "━", '┳', '┓'))?;
        writeln!(f, "{}", row(&header, '┃'))?;
        writeln!(f, "{}", line('┡', "━", '╇', '┩'))?;
        for (i, cells) in self.rows.iter().enumerate() {
            if i > 0 {
                writeln!(f, "{}", line('├', "─", '┼', '┤'))?;
            }
            writeln!(f, "{}", row(cells, '│'))?;
        }
        writeln!(f, "{}", line('└', "─", '┴', '┘'))?;
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
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// A number of bytes as Keras prints it: "241.04 KB".
fn bytes(n: usize) -> String {
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
