//! Scores in order: what the curves of all thresholds are made of.

use super::axis::{Axis, Frame};
use super::colors::line;
use super::{Area, Drawn, fit, px, stroke, text};
use crate::data::Rows;
use crate::error::{Result, ensure};
use crate::metrics::labels::{class_labels, values, width};
use plotters::element::{DashedPathElement, PathElement};
use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};

/// With more classes than this only the worst have a colour and a name.
const MOST_NAMED: usize = 10;
const WORST: usize = 5;
const FAINT: RGBColor = RGBColor(196, 196, 196);

/// How well the scores of one class separate it from the others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ranked {
    /// Its number; none where there are only two classes.
    pub(super) class: Option<usize>,
    /// The curve, from the highest threshold to the lowest.
    pub(super) points: Vec<(f64, f64)>,
    /// The area below it, NaN where the class has no samples or all.
    pub(super) area: f64,
}

/// Samples in the order of their scores: after each different score, highest first, how many samples of the class and how
/// many others have it or a higher one.
pub(super) struct Order {
    pub(super) class: Option<usize>,
    pub(super) counts: Vec<(u64, u64)>,
    pub(super) positives: u64,
    pub(super) negatives: u64,
}

/// The orders of all classes, one against the rest; of two classes that of class 1.
pub(super) fn orders(y_true: &dyn Rows, y_score: &dyn Rows) -> Result<Vec<Order>> {
    let (truth, columns) = (class_labels("y_true", y_true)?, width("y_score", y_score)?);
    let scores = values(y_score);
    let n = scores.len() / columns;
    ensure!(truth.len() == n, Data, "y_true has {} samples and y_score has {n}; they must have as many", truth.len());
    ensure!(!scores.iter().any(|score| score.is_nan()), Data, "y_score holds NaN, which has no order");
    let classes = columns.max(2);
    let largest = truth.iter().copied().max().unwrap_or(0);
    ensure!(
        largest < classes,
        Data,
        "y_true holds the label {largest}, but y_score {}",
        if columns == 1 {
            "has one score a sample, which is for class 1 of two".to_owned()
        } else {
            format!("has only {columns} classes, from 0")
        }
    );
    let order = |class: usize, column: usize| {
        let mut ranked: Vec<(f32, bool)> = (0..n).map(|i| (scores[i * columns + column], truth[i] == class)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut hits, mut others, mut counts) = (0, 0, Vec::new());
        for (i, (score, positive)) in ranked.iter().enumerate() {
            if *positive {
                hits += 1
            } else {
                others += 1
            }
            if ranked.get(i + 1).is_none_or(|(next, _)| next != score) {
                counts.push((hits, others));
            }
        }
        let class = (classes > 2).then_some(class);
        Order { class, counts, positives: hits, negatives: others }
    };
    Ok(match columns {
        1 => vec![order(1, 0)],
        2 => vec![order(1, 1)],
        _ => (0..columns).map(|class| order(class, class)).collect(),
    })
}

/// A picture of such curves, their names and areas beside them.
pub(super) struct Comparison<'a> {
    pub(super) curves: &'a [Ranked],
    pub(super) names: &'a [String],
    pub(super) labels: (&'a str, &'a str),
    /// What the area is called.
    pub(super) area: &'a str,
    /// A dashed line of those that know nothing, and its name.
    pub(super) chance: Option<([(f64, f64); 2], &'a str)>,
}

impl Comparison<'_> {
    /// Width and height in pixels.
    pub(super) const SIZE: (u32, u32) = (760, 500);

    pub(super) fn draw(&self, area: &Area) -> Drawn {
        let (plot, legend) = area.split_horizontally(px(500.0));
        let axis = Axis::shares();
        let frame = Frame::within(&plot, &axis, 16.0)?;
        frame.draw_axes(&plot, &axis, &axis, self.labels.0, self.labels.1)?;
        let at = |&(x, y): &(f64, f64)| (frame.x(axis.place(x)), frame.y(axis.place(y)));

        let mut lines: Vec<(String, Option<Style>)> = Vec::new();
        if let Some((ends, name)) = self.chance {
            let style = Style { color: RGBColor(130, 130, 130), dashes: Some((3.0, 3.0)), thick: 1.2 };
            style.draw(&plot, ends.iter().map(at).collect())?;
            lines.push((name.to_owned(), Some(style)));
        }
        let known: Vec<&Ranked> = self.curves.iter().filter(|curve| !curve.area.is_nan()).collect();
        let mut named = known.clone();
        if known.len() > MOST_NAMED {
            named.sort_by(|a, b| a.area.total_cmp(&b.area));
            named.truncate(WORST);
            let faint = Style { color: FAINT, dashes: None, thick: 1.0 };
            for curve in &known {
                faint.draw(&plot, curve.points.iter().map(at).collect())?;
            }
            lines.push((format!("all {} classes", known.len()), Some(faint)));
        }
        for (i, curve) in named.iter().enumerate().rev() {
            Style::of(i).draw(&plot, curve.points.iter().map(at).collect())?;
        }
        for (i, curve) in named.iter().enumerate() {
            lines.push((self.caption(curve), Some(Style::of(i))));
        }
        if known.len() > 1 {
            let mean = known.iter().map(|curve| curve.area).sum::<f64>() / known.len() as f64;
            lines.push((format!("mean {} = {mean:.4}", self.area), None));
        }
        if known.len() < self.curves.len() {
            lines.push((format!("undefined for {} classes", self.curves.len() - known.len()), None));
        }
        let (room, style) = (legend.dim_in_pixel().0 as i32, text(12.0, HPos::Left, VPos::Center));
        for (i, (caption, line)) in lines.iter().enumerate() {
            let y = px(26.0 + 20.0 * i as f64);
            if let Some(line) = line {
                line.draw(&legend, vec![(0, y), (px(26.0), y)])?;
            }
            let caption = fit(&legend, caption, &style, room - px(44.0))?;
            legend.draw_text(&caption, &style, (px(33.0), y))?;
        }
        Ok(())
    }

    /// The name of the class, cut short where it is long, so that the area is seen.
    fn caption(&self, curve: &Ranked) -> String {
        let area = format!("{} = {:.4}", self.area, curve.area);
        let Some(class) = curve.class else {
            // Of two classes the curve is that of class 1.
            return self.names.get(1).map_or(area.clone(), |name| format!("{}: {area}", short(name)));
        };
        let name = self.names.get(class).map_or_else(|| format!("class {class}"), |name| short(name));
        format!("{name}: {area}")
    }
}

fn short(name: &str) -> String {
    match name.chars().count() > 16 {
        true => name.chars().take(15).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// How a line is drawn.
struct Style {
    color: RGBColor,
    dashes: Option<(f64, f64)>,
    thick: f64,
}

impl Style {
    /// Six colours, then the same again in dashes.
    fn of(i: usize) -> Self {
        Style { color: line(i), dashes: (i >= 6).then_some((8.0, 4.0)), thick: 2.0 }
    }

    fn draw(&self, area: &Area, mut points: Vec<(i32, i32)>) -> Drawn {
        // Of many scores most fall on the place of the one before.
        points.dedup();
        let style = stroke(self.color, self.thick);
        match self.dashes {
            Some((dash, gap)) => area.draw(&DashedPathElement::new(points, px(dash), px(gap), style)),
            None => area.draw(&PathElement::new(points, style)),
        }
    }
}
