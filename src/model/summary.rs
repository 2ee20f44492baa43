//! `summary()`: the table of layers, shapes and parameters that Keras prints.

use super::Model;
use crate::layer::{LayerHandle, Param};
use std::fmt;

/// A printable table of a model's layers: name and class, output shape, parameters; then the totals.
#[derive(Clone, Debug)]
pub struct Summary {
    name: String,
    rows: Vec<[String; 3]>,
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
            Some(graph) => {
                let calls = graph.nodes.iter().enumerate().filter(|(i, _)| !graph.inputs.contains(i));
                let row = |(_, node): (usize, &super::graph::Node)| {
                    let shapes: Vec<String> = node.output_shapes.iter().map(ToString::to_string).collect();
                    [label(&node.layer), shapes.join(", "), thousands(node.layer.count_params())]
                };
                calls.map(row).collect()
            }
            None => self.layers().iter().map(|layer| [label(layer), "?".to_owned(), "?".to_owned()]).collect(),
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

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["Layer (type)", "Output Shape", "Param #"].map(str::to_owned);
        let longest = |i: usize| self.rows.iter().chain([&header]).map(|r| r[i].chars().count()).max().unwrap_or(0);
        let mut widths = [longest(0).max(29), longest(1).max(22), longest(2).max(10)];
        // The borders and the spaces inside them take 10 characters.
        let wanted = self.width.saturating_sub(10);
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
        let row = |cells: &[String; 3], bar: char| {
            let fit = |i: usize| cells[i].chars().take(widths[i]).collect::<String>();
            let (a, b, c) = (fit(0), fit(1), fit(2));
            let [wa, wb, wc] = widths;
            format!("{bar} {a:<wa$} {bar} {b:<wb$} {bar} {c:>wc$} {bar}")
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
