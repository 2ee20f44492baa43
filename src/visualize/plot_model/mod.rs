//! The layers of a model and what flows between them.

mod layout;
mod network;

use super::paper::length;
use super::{Area, Drawing, Drawn, INK, picture, px, stroke, text};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::model::Model;
use layout::{Layout, Sizes};
use network::{Kind, Network, Operation};
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::style::{Color, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};
use std::path::Path;

const NAME: f64 = 13.0;
const LINE: f64 = 12.0;
const MARGIN: f64 = 18.0;
const BORDER: RGBColor = RGBColor(120, 130, 140);
const EDGE: RGBColor = RGBColor(90, 100, 110);

/// Which way a drawn model runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RankDir {
    /// From top to bottom.
    #[default]
    TB,
    /// From left to right.
    LR,
}

/// The graph of a model (Keras: `plot_model`): a box for each call of a layer with its name, class and shapes, and an arrow
/// for each tensor between them; as a picture, or as the text that Graphviz reads.
///
/// Boxes are tinted by what they do: blue those with kernels, green pools, orange normalization and dropout, grey inputs.
///
/// ```
/// use cornu::{applications::LeNet5, visualize::PlotModel};
/// # let folder = tempfile::tempdir().unwrap();
/// # let folder = folder.path();
/// let model = LeNet5::new().build()?;
/// PlotModel::new(&model).save(folder.join("lenet5.svg"))?;
/// PlotModel::new(&model).save_dot(folder.join("lenet5.dot"))?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlotModel<'m> {
    model: &'m Model,
    shapes: bool,
    names: bool,
    expand: bool,
    direction: RankDir,
    title: Option<String>,
}

impl<'m> PlotModel<'m> {
    /// A model that is built. Shapes and names are shown, models inside are one box, and it runs from top to bottom.
    pub fn new(model: &'m Model) -> Self {
        PlotModel { model, shapes: true, names: true, expand: false, direction: RankDir::TB, title: None }
    }

    /// Whether the shapes of inputs and outputs are shown. Default: true (Keras: false).
    pub fn show_shapes(mut self, show: bool) -> Self {
        self.shapes = show;
        self
    }

    /// Whether the names of layers are shown, not only their classes. Default: true (Keras: false).
    pub fn show_layer_names(mut self, show: bool) -> Self {
        self.names = show;
        self
    }

    /// Whether the layers of models inside are shown instead of one box. Default: false.
    pub fn expand_nested(mut self, expand: bool) -> Self {
        self.expand = expand;
        self
    }

    /// Which way it runs. Default: from top to bottom.
    pub fn rankdir(mut self, direction: RankDir) -> Self {
        self.direction = direction;
        self
    }

    fn network(&self) -> Result<Network> {
        Network::of(self.model, self.expand)
    }

    /// The graph in the language of Graphviz: `dot -Tsvg model.dot`.
    ///
    /// # Errors
    /// When the model is not built.
    pub fn to_dot(&self) -> Result<String> {
        let Network { operations, edges, groups } = self.network()?;
        let direction = if self.direction == RankDir::TB { "TB" } else { "LR" };
        let mut dot = format!("digraph \"{}\" {{\n", escaped(self.model.name()));
        dot += &format!("  rankdir={direction};\n  node [shape=record, style=filled, fontname=\"sans-serif\"];\n");
        let node = |i: usize, operation: &Operation| {
            let lines: Vec<String> = self.lines(operation).iter().map(|line| escaped(line)).collect();
            // In a record braces turn the direction.
            let label =
                if self.direction == RankDir::TB { format!("{{{}}}", lines.join("|")) } else { lines.join("|") };
            let RGBColor(r, g, b) = operation.kind.color();
            format!("n{i} [label=\"{label}\", fillcolor=\"#{r:02x}{g:02x}{b:02x}\"];\n")
        };
        for (i, operation) in operations.iter().enumerate().filter(|(_, operation)| operation.group.is_none()) {
            dot += &format!("  {}", node(i, operation));
        }
        for (group, name) in groups.iter().enumerate() {
            dot += &format!("  subgraph cluster_{group} {{\n    label=\"{}\";\n", escaped(name));
            for (i, operation) in operations.iter().enumerate().filter(|(_, o)| o.group == Some(group)) {
                dot += &format!("    {}", node(i, operation));
            }
            dot += "  }\n";
        }
        edges.iter().for_each(|(from, to)| dot += &format!("  n{from} -> n{to};\n"));
        Ok(dot + "}\n")
    }

    /// Writes [`to_dot`](Self::to_dot) to a file.
    ///
    /// # Errors
    /// When the model is not built, or the file cannot be written.
    pub fn save_dot(&self, path: impl AsRef<Path>) -> Result<()> {
        write_whole(path.as_ref(), self.to_dot()?.as_bytes())
    }

    /// What stands in the box of an operation.
    fn lines(&self, operation: &Operation) -> Vec<String> {
        let mut lines = match self.names {
            true => vec![operation.name.clone(), operation.class.clone()],
            false => vec![operation.class.clone()],
        };
        if self.shapes {
            if !operation.inputs.is_empty() {
                lines.push(format!("in: {}", operation.inputs.join(", ")));
            }
            lines.push(format!("out: {}", operation.outputs.join(", ")));
        }
        lines
    }

    fn layout(&self, network: &Network) -> Layout {
        let sizes = network.operations.iter().map(|operation| {
            let lines = self.lines(operation);
            let widths = lines.iter().enumerate().map(|(i, line)| length(line, if i == 0 { NAME } else { LINE }));
            (widths.fold(60.0, f64::max) + 24.0, 12.0 + 17.0 * lines.len() as f64)
        });
        let sizes: Sizes = sizes.collect();
        match self.direction {
            RankDir::TB => Layout::new(&sizes, &network.edges),
            RankDir::LR => Layout::new(&sizes.iter().map(|&(w, h)| (h, w)).collect::<Sizes>(), &network.edges).turned(),
        }
    }
}

impl Kind {
    fn color(self) -> RGBColor {
        match self {
            Kind::Input => RGBColor(236, 236, 236),
            Kind::Weights => RGBColor(205, 226, 241),
            Kind::Pool => RGBColor(204, 236, 227),
            Kind::Regular => RGBColor(250, 231, 199),
            Kind::Model => RGBColor(234, 215, 228),
            Kind::Other => RGBColor(250, 250, 250),
        }
    }
}

/// Text inside a label of a record.
fn escaped(text: &str) -> String {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | '|' | '<' | '>');
    text.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

picture!(PlotModel<'_>);

impl Drawing for PlotModel<'_> {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        let (width, height) = self.layout(&self.network()?).size;
        let (width, height) = (width + 2.0 * MARGIN, height + 2.0 * MARGIN);
        // Coordinates are whole numbers of 32 bits.
        match width.max(height) < 1e8 {
            true => Ok((width.ceil() as u32, height.ceil() as u32)),
            false => Err(Error::Argument("the model is too large to be drawn".to_owned())),
        }
    }

    fn draw(&self, area: &Area) -> Drawn {
        // That it is built was asked with its size.
        let Ok(network) = self.network() else { return Ok(()) };
        let layout = self.layout(&network);
        let at = |(x, y): (f64, f64)| (px(MARGIN + x), px(MARGIN + y));
        for path in &layout.edges {
            let line = stroke(EDGE, 1.4);
            area.draw(&PathElement::new(path.iter().map(|&point| at(point)).collect::<Vec<_>>(), line))?;
            if let [.., from, to] = path[..] {
                area.draw(&Polygon::new(arrow(from, to).map(at), EDGE.filled()))?;
            }
        }
        for (operation, place) in network.operations.iter().zip(&layout.boxes) {
            let (from, to) = (at((place.left, place.top)), at((place.left + place.width, place.top + place.height)));
            area.draw(&Rectangle::new([from, to], operation.kind.color().filled()))?;
            area.draw(&Rectangle::new([from, to], stroke(BORDER, 1.0)))?;
            for (i, line) in self.lines(operation).iter().enumerate() {
                let (size, ink) = if i == 0 { (NAME, INK) } else { (LINE, RGBColor(80, 80, 80)) };
                let style = text(size, HPos::Center, VPos::Center).color(&ink);
                let middle = (place.left + place.width / 2.0, place.top + 6.0 + 17.0 * (i as f64 + 0.5));
                area.draw_text(line, &style, at(middle))?;
            }
        }
        Ok(())
    }
}

/// The head of an arrow.
fn arrow(from: (f64, f64), to: (f64, f64)) -> [(f64, f64); 3] {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy).max(1e-9);
    let (dx, dy) = (dx / length, dy / length);
    let back = (to.0 - 9.0 * dx, to.1 - 9.0 * dy);
    [to, (back.0 - 4.5 * dy, back.1 + 4.5 * dx), (back.0 + 4.5 * dy, back.1 - 4.5 * dx)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{CallExt, LayerExt};
    use crate::layers::{Add, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D};
    use crate::model::Sequential;
    use crate::shape::Padding;

    fn chain() -> Sequential {
        let mut model = Sequential::new().with_name("chain");
        model.add(Input::new([8, 8, 1]).name("image")).add(Conv2D::new(2, 3).name("conv"));
        model.add(MaxPooling2D::new(2).name("pool")).add(Flatten::new().name("flatten"));
        model.add(Dropout::new(0.5).name("drop")).add(Dense::new(3).name("head"));
        model.build().unwrap();
        model
    }

    #[test]
    fn dot_of_a_chain() {
        let golden = r##"digraph "chain" {
  rankdir=TB;
  node [shape=record, style=filled, fontname="sans-serif"];
  n0 [label="{image|InputLayer|out: (None, 8, 8, 1)}", fillcolor="#ececec"];
  n1 [label="{conv|Conv2D|in: (None, 8, 8, 1)|out: (None, 6, 6, 2)}", fillcolor="#cde2f1"];
  n2 [label="{pool|MaxPooling2D|in: (None, 6, 6, 2)|out: (None, 3, 3, 2)}", fillcolor="#ccece3"];
  n3 [label="{flatten|Flatten|in: (None, 3, 3, 2)|out: (None, 18)}", fillcolor="#fafafa"];
  n4 [label="{drop|Dropout|in: (None, 18)|out: (None, 18)}", fillcolor="#fae7c7"];
  n5 [label="{head|Dense|in: (None, 18)|out: (None, 3)}", fillcolor="#cde2f1"];
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
  n3 -> n4;
  n4 -> n5;
}
"##;
        assert_eq!(PlotModel::new(&chain()).to_dot().unwrap(), golden);
    }

    /// A block with a way around it, a layer that is called twice, and a model inside.
    fn branches() -> Model {
        let mut base = Sequential::new().with_name("base");
        base.add(Input::new([4])).add(Dense::new(4).name("inner")).add(Dense::new(4).name("last|one"));
        base.build().unwrap();
        let x = Input::new([4]).name("x").node();
        let shared = Dense::new(4).name("shared");
        let a = shared.call(&x).unwrap();
        let b = shared.call(base.call(&a).unwrap()).unwrap();
        let sum = Add::new().name("sum").call([&a, &b]).unwrap();
        Model::new(&x, Dense::new(1).name("out").call(&sum).unwrap()).unwrap()
    }

    #[test]
    fn dot_of_branches_and_models_inside() {
        let model = branches();
        let golden = r##"digraph "functional" {
  rankdir=LR;
  node [shape=record, style=filled, fontname="sans-serif"];
  n0 [label="InputLayer", fillcolor="#ececec"];
  n1 [label="Dense", fillcolor="#cde2f1"];
  n2 [label="Sequential", fillcolor="#ead7e4"];
  n3 [label="Dense", fillcolor="#cde2f1"];
  n4 [label="Add", fillcolor="#fafafa"];
  n5 [label="Dense", fillcolor="#cde2f1"];
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
  n1 -> n4;
  n3 -> n4;
  n4 -> n5;
}
"##;
        let plain = PlotModel::new(&model).show_shapes(false).show_layer_names(false).rankdir(RankDir::LR);
        assert_eq!(plain.to_dot().unwrap(), golden);
        let golden = r##"digraph "functional" {
  rankdir=TB;
  node [shape=record, style=filled, fontname="sans-serif"];
  n0 [label="{x|InputLayer}", fillcolor="#ececec"];
  n1 [label="{shared|Dense}", fillcolor="#cde2f1"];
  n4 [label="{shared (call 2)|Dense}", fillcolor="#cde2f1"];
  n5 [label="{sum|Add}", fillcolor="#fafafa"];
  n6 [label="{out|Dense}", fillcolor="#cde2f1"];
  subgraph cluster_0 {
    label="base";
    n2 [label="{base/inner|Dense}", fillcolor="#cde2f1"];
    n3 [label="{base/last\|one|Dense}", fillcolor="#cde2f1"];
  }
  n0 -> n1;
  n1 -> n2;
  n2 -> n3;
  n3 -> n4;
  n1 -> n5;
  n4 -> n5;
  n5 -> n6;
}
"##;
        assert_eq!(PlotModel::new(&model).show_shapes(false).expand_nested(true).to_dot().unwrap(), golden);
    }

    #[test]
    fn pictures_have_all_boxes_and_no_two_on_each_other() {
        let x = Input::new([8, 8, 3]).node();
        let mut y = x.clone();
        for _ in 0..3 {
            let left = Conv2D::new(3, 3).padding(Padding::Same).call(&y).unwrap();
            let right = Conv2D::new(3, 1).call(&y).unwrap();
            y = Add::new().call([&y, &left, &right]).unwrap();
        }
        let model = Model::new(&x, &y).unwrap();
        for direction in [RankDir::TB, RankDir::LR] {
            let plot = PlotModel::new(&model).rankdir(direction);
            let layout = plot.layout(&plot.network().unwrap());
            assert_eq!((layout.boxes.len(), layout.edges.len()), (10, 15));
            for (i, a) in layout.boxes.iter().enumerate() {
                assert!(a.left >= 0.0 && a.top >= 0.0);
                assert!(a.left + a.width <= layout.size.0 + 1e-6 && a.top + a.height <= layout.size.1 + 1e-6);
                for b in &layout.boxes[..i] {
                    let apart = a.left >= b.left + b.width || b.left >= a.left + a.width;
                    let over = a.top >= b.top + b.height || b.top >= a.top + a.height;
                    assert!(apart || over, "{a:?} {b:?}");
                }
            }
            let svg = plot.title("blocks").to_svg().unwrap();
            assert!(svg.contains("blocks") && svg.contains("in: (None, 8, 8, 3), (None, 8, 8, 3), (None, 8, 8, 3)"));
            assert_eq!(svg.matches("<polygon").count(), 15, "an arrow each");
        }
        let mut open = Sequential::new();
        open.add(Dense::new(2));
        assert!(PlotModel::new(&open).to_svg().unwrap_err().to_string().contains("not built"));
    }
}
