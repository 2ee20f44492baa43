//! Ways over a surface.

use super::axis::{Axis, Frame, drawable, significant};
use super::colors::line;
use super::overlay::scale;
use super::pixels::Pixels;
use super::{Area, Drawing, Drawn, fit, picture, px, stroke, text};
use crate::error::{Result, ensure};
use plotters::element::{Circle, PathElement, Polygon};
use plotters::style::{Color, RGBColor, WHITE};
use plotters_backend::text_anchor::{HPos, VPos};
use std::ops::Range;

/// The side of the surface in pixels; a value is computed for each.
const SIDE: f64 = 480.0;
const CELLS: usize = 480;
const LINES: usize = 14;
const LEGEND: f64 = 160.0;

/// A function of two variables from above, with contour lines, and ways over it: those of optimizers, say.
///
/// Colours and contour lines follow the rank of the values, so that a narrow valley is seen as well as a steep wall: between
/// two contour lines lie as many places everywhere.
///
/// ```
/// use cornu::visualize::Surface;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("valley.png");
/// let way = (0..50).map(|i| (-1.5 * 0.9f64.powi(i), 0.8 * 0.95f64.powi(i)));
/// Surface::new(|x, y| x * x + 10.0 * y * y, -2.0..2.0, -1.0..1.0)
///     .path("a way down", way)
///     .mark("minimum", (0.0, 0.0))
///     .save(path)?;
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Surface {
    x: Range<f64>,
    y: Range<f64>,
    /// Row by row from the lower end of `y`.
    values: Vec<f64>,
    paths: Vec<(String, Vec<(f64, f64)>)>,
    marks: Vec<(String, (f64, f64))>,
    title: Option<String>,
}

impl Surface {
    /// The values of `f` over these ranges of its two variables.
    pub fn new(f: impl Fn(f64, f64) -> f64, x: Range<f64>, y: Range<f64>) -> Self {
        let at =
            |range: &Range<f64>, i: usize| range.start + (range.end - range.start) * (i as f64 + 0.5) / CELLS as f64;
        let cells = (0..CELLS).flat_map(|i| (0..CELLS).map(move |j| (i, j)));
        let values = cells.map(|(i, j)| f(at(&x, j), at(&y, i))).collect();
        Surface { x, y, values, paths: Vec::new(), marks: Vec::new(), title: None }
    }

    /// Adds a way, point by point. It ends at its last point; what lies beyond the surface is not seen.
    pub fn path(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.paths.push((name.into(), points.into_iter().collect()));
        self
    }

    /// Marks a place with a star, which is not seen beyond the surface.
    pub fn mark(mut self, name: impl Into<String>, at: (f64, f64)) -> Self {
        self.marks.push((name.into(), at));
        self
    }

    /// The finite values in order.
    fn sorted(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.values.iter().copied().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

picture!(Surface);

impl Drawing for Surface {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        for range in [&self.x, &self.y] {
            let drawn = range.start < range.end && drawable(range.start) && drawable(range.end);
            ensure!(
                drawn,
                Argument,
                "the surface reaches from {} to {}; there is nothing between",
                range.start,
                range.end
            );
        }
        ensure!(self.values.iter().any(|v| v.is_finite()), Data, "the surface has no finite values");
        Ok(((SIDE + LEGEND + 90.0) as u32, (SIDE + 90.0) as u32))
    }

    fn draw(&self, area: &Area) -> Drawn {
        let sorted = self.sorted();
        let rank = |v: f64| sorted.partition_point(|&other| other < v) as f64 / sorted.len().max(1) as f64;
        let ranks: Vec<f64> = self.values.iter().map(|&v| if v.is_nan() { f64::NAN } else { rank(v) }).collect();
        let level = |i: usize, j: usize| (ranks[i * CELLS + j] * LINES as f64) as usize;
        let pixels = Pixels::new(CELLS, CELLS, |row, j| {
            let i = CELLS - 1 - row;
            let (right, up) = ((j + 1).min(CELLS - 1), (i + 1).min(CELLS - 1));
            let on_line = level(i, j) != level(i, right) || level(i, j) != level(up, j);
            if on_line { RGBColor(140, 144, 150) } else { ground(ranks[i * CELLS + j]) }
        });
        let plot = area.clone().shrink((0, 0), (px(SIDE + 84.0), px(SIDE + 84.0)));
        let axis = |range: &Range<f64>| {
            let inner = Axis::values([range.start, range.end].into_iter(), "");
            let ticks = inner.ticks.into_iter().filter(|(v, _)| (range.start..=range.end).contains(v)).collect();
            Axis { low: range.start, high: range.end, log: false, ticks }
        };
        let (x, y) = (axis(&self.x), axis(&self.y));
        let frame = Frame { right: px(64.0 + SIDE), ..Frame::within(&plot, &y, 14.0)? };
        let frame = Frame { left: frame.right - px(SIDE), bottom: frame.top + px(SIDE), ..frame };
        frame.draw_axes(area, &x, &y, "first variable", "second variable")?;
        pixels.draw(area, (frame.left, frame.top), (px(SIDE), px(SIDE)))?;

        let inside = |(px, py): &(f64, f64)| {
            (self.x.start..=self.x.end).contains(px) && (self.y.start..=self.y.end).contains(py)
        };
        for (k, (_, points)) in self.paths.iter().enumerate() {
            let color = line(k);
            for run in points.split(|point| !inside(point)) {
                let run: Vec<_> = run.iter().map(|&(a, b)| (frame.x(x.place(a)), frame.y(y.place(b)))).collect();
                if run.len() > 1 {
                    area.draw(&PathElement::new(run.clone(), stroke(WHITE, 4.0)))?;
                    area.draw(&PathElement::new(run, stroke(color, 2.2)))?;
                }
            }
            if let Some(&(a, b)) = points.last().filter(|point| inside(point)) {
                let at = (frame.x(x.place(a)), frame.y(y.place(b)));
                area.draw(&Circle::new(at, px(6.0), WHITE.filled()))?;
                area.draw(&Circle::new(at, px(4.5), color.filled()))?;
            }
        }
        for (_, (a, b)) in self.marks.iter().filter(|(_, at)| inside(at)) {
            star(area, (frame.x(x.place(*a)), frame.y(y.place(*b))))?;
        }

        let style = text(12.0, HPos::Left, VPos::Center);
        let left = frame.right + px(20.0);
        let room = px(LEGEND - 56.0);
        let mut top = frame.top + px(10.0);
        for (k, (name, _)) in self.paths.iter().enumerate() {
            area.draw(&PathElement::new(vec![(left, top), (left + px(24.0), top)], stroke(line(k), 2.5)))?;
            area.draw_text(&fit(area, name, &style, room)?, &style, (left + px(31.0), top))?;
            top += px(21.0);
        }
        for (name, _) in &self.marks {
            star(area, (left + px(12.0), top))?;
            area.draw_text(&fit(area, name, &style, room)?, &style, (left + px(31.0), top))?;
            top += px(21.0);
        }
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        let labels = [at(0.0), at(0.5), at(1.0)].map(significant);
        let [low, half, high] = [0, 1, 2].map(|i| labels[i].as_str());
        let bottom = frame.bottom;
        scale(area, left + px(4.0), ((bottom - px(180.0)).max(top), bottom), ground, [low, half, high])
    }
}

/// Light greys, so that ways of all colours are seen on them; the valley is the lightest.
fn ground(rank: f64) -> RGBColor {
    let light = |from: f64, to: f64| (from + (to - from) * rank.clamp(0.0, 1.0)).round() as u8;
    if rank.is_nan() {
        super::pixels::NOT_A_NUMBER
    } else {
        RGBColor(light(252.0, 176.0), light(252.0, 182.0), light(252.0, 190.0))
    }
}

fn star(area: &Area, (x, y): (i32, i32)) -> Drawn {
    let point = |i: usize| {
        let (angle, radius) =
            (std::f64::consts::PI * (i as f64 / 5.0 - 0.5), if i.is_multiple_of(2) { 8.0 } else { 3.4 });
        (x + px(radius * angle.cos()), y + px(radius * angle.sin()))
    };
    area.draw(&Polygon::new((0..10).map(point).collect::<Vec<_>>(), RGBColor(20, 20, 20).filled()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valleys_are_light_and_ways_are_drawn() {
        let surface = Surface::new(|x, y| x * x + y * y, -1.0..1.0, -1.0..1.0);
        assert_eq!(surface.sorted().len(), CELLS * CELLS);
        let svg = surface
            .clone()
            .path("sgd", [(-0.5, 0.5), (0.0, 0.0)])
            .path("far", [(5.0, 5.0)])
            .mark("minimum", (0.0, 0.0))
            .to_svg()
            .unwrap();
        for text in ["sgd", "far", "minimum", "first variable", "-0.5"] {
            assert!(svg.contains(text), "{text}");
        }
        assert_eq!(svg.matches("<polygon").count(), 2, "a star on the surface and in the legend");
        let beyond = [(1e9, 0.0), (0.0, -1e300), (f64::NAN, 0.0), (f64::INFINITY, 0.0)];
        for at in beyond {
            let svg = surface.clone().mark("far", at).to_svg().unwrap();
            assert_eq!(svg.matches("<polygon").count(), 1, "a star in the legend alone, not at {at:?}");
        }
        let pixels = surface.to_rgb().unwrap();
        let light = |y: usize, x: usize| pixels[[y, x, 0]];
        let (top, left) = (14, 64);
        assert!(light(top + 243, left + 243) > 245 && light(top + 10, left + 10) < 190);
        assert!(
            Surface::new(|_, _| f64::NAN, 0.0..1.0, 0.0..1.0).to_svg().unwrap_err().to_string().contains("no finite")
        );
        assert!(
            Surface::new(|x, _| x, 1.0..1.0, 0.0..1.0).to_svg().unwrap_err().to_string().contains("nothing between")
        );
    }
}
