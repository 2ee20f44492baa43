//! The loss by the learning rate, as `lr_find` found it.

use super::axis::{Axis, Frame, drawable, significant, span};
use super::{Area, Canvas, Drawing, Drawn, PALETTE, px, stroke, text};
use crate::error::{Result, ensure};
use crate::training::LrFound;
use ndarray::Array3;
use plotters::element::{Circle, DashedPathElement, PathElement};
use plotters::style::{Color, RGBColor, WHITE};
use plotters_backend::text_anchor::{HPos, VPos};
use std::path::Path;

const SIZE: (u32, u32) = (640, 440);
const SINGLE: RGBColor = RGBColor(180, 196, 206);
const SUGGESTED: RGBColor = PALETTE[1];

impl LrFound {
    /// Draws the loss by the learning rate, with the suggestion, and writes the picture as `.png` or `.svg`.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// use cornu::training::LrFind;
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let folder = folder.path();
    /// let (x, y) = (ndarray::arr2(&[[1.0], [2.0]]), ndarray::arr2(&[[2.0], [4.0]]));
    /// let mut model = Sequential::new();
    /// model.add(Input::new([1])).add(Dense::new(1));
    /// model.compile("sgd", "mse", ())?;
    /// model.lr_find(&x, &y, LrFind::new())?.plot(folder.join("rates.svg"))?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When fewer than two rates were tried; for another extension; when the file cannot be written.
    pub fn plot(&self, path: impl AsRef<Path>) -> Result<()> {
        super::save(self, path.as_ref())
    }

    /// The picture as the text of an SVG file.
    ///
    /// # Errors
    /// As [`plot`](Self::plot), without those of files.
    pub fn to_svg(&self) -> Result<String> {
        Canvas::of(self)?.svg()
    }

    /// The picture as pixels, `(height, width, 3)`.
    ///
    /// # Errors
    /// As [`plot`](Self::plot), without those of files.
    pub fn to_rgb(&self) -> Result<Array3<u8>> {
        Canvas::of(self)?.rgb()
    }

    /// Shows the picture in a Jupyter notebook whose kernel is evcxr, which calls this for the last value of a cell.
    /// Elsewhere it prints SVG.
    pub fn evcxr_display(&self) {
        println!("{}", super::notebook::cell(self));
    }
}

impl Drawing for LrFound {
    fn heading(&self) -> Option<&str> {
        None
    }

    fn size(&self) -> Result<(u32, u32)> {
        ensure!(self.rates().len() >= 2, Data, "there are fewer than two learning rates to draw");
        Ok(SIZE)
    }

    fn draw(&self, area: &Area) -> Drawn {
        let (rates, smoothed) = (self.rates(), self.smoothed());
        let (low, high) = span(rates.iter().copied()).unwrap_or((0.1, 1.0));
        let x = Axis::logarithmic(low, high);
        let y = Axis::values(smoothed.iter().copied().filter(|&loss| drawable(loss)), "");
        let frame = Frame::within(area, &y, 44.0)?;
        frame.draw_axes(area, &x, &y, "learning rate", "loss")?;
        let at = |i: usize, loss: f64| (frame.x(x.place(rates[i])), frame.y(y.place(loss)));

        // Single losses may lie beyond the axis; there the line ends.
        let line = |losses: &[f64], color: RGBColor, thick: f64| {
            let seen = |i: &usize| drawable(losses[*i]) && (y.low..=y.high).contains(&losses[*i]);
            let all: Vec<usize> = (0..losses.len()).collect();
            all.split(|i| !seen(i)).filter(|run| run.len() > 1).try_for_each(|run| {
                let points: Vec<_> = run.iter().map(|&i| at(i, losses[i])).collect();
                area.draw(&PathElement::new(points, stroke(color, thick)))
            })
        };
        line(self.losses(), SINGLE, 1.2)?;
        line(smoothed, PALETTE[0], 2.2)?;

        let style = text(12.0, HPos::Left, VPos::Center);
        let legend = px(22.0);
        let (mut left, sample) = (frame.left, px(26.0));
        for (name, color) in [("each batch", SINGLE), ("smoothed", PALETTE[0])] {
            area.draw(&PathElement::new(vec![(left, legend), (left + sample, legend)], stroke(color, 2.0)))?;
            area.draw_text(name, &style, (left + sample + px(7.0), legend))?;
            left += sample + px(100.0);
        }
        match self.steepest() {
            Some(i) => {
                let point = at(i, smoothed[i]);
                let down = vec![(point.0, frame.top), (point.0, frame.bottom)];
                area.draw(&DashedPathElement::new(down, px(3.0), px(3.0), stroke(SUGGESTED, 1.2)))?;
                ring(area, point)?;
                ring(area, (left + px(6.0), legend))?;
                let name = format!("steepest at {}", significant(rates[i]));
                area.draw_text(&name, &style, (left + px(20.0), legend))
            }
            None => area.draw_text("falls nowhere", &style, (left, legend)),
        }
    }
}

fn ring(area: &Area, at: (i32, i32)) -> Drawn {
    area.draw(&Circle::new(at, px(6.0), SUGGESTED.filled()))?;
    area.draw(&Circle::new(at, px(3.5), WHITE.filled()))
}

#[cfg(test)]
mod tests {
    use crate::layers::{Dense, Input};
    use crate::model::Sequential;
    use crate::training::{LrFind, LrFound};
    use ndarray::Array2;

    #[test]
    fn the_picture_names_the_suggestion() {
        let (x, y) = (Array2::<f32>::ones((4, 1)), Array2::<f32>::zeros((4, 1)));
        let mut model = Sequential::new();
        model.add(Input::new([1])).add(Dense::new(1).use_bias(false).kernel_initializer("ones"));
        model.compile("sgd", "mse", ()).unwrap();
        let found = model.lr_find(&x, &y, LrFind::new().batch_size(4)).unwrap();
        let svg = found.to_svg().unwrap();
        let rate = super::significant(found.suggestion().unwrap());
        assert!(svg.contains(&format!("steepest at {rate}")) && svg.contains("learning rate"), "{svg}");
        assert!(LrFound::default().to_svg().unwrap_err().to_string().contains("fewer than two"));
    }
}
