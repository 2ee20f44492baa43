//! Axes with round labels, and the frame that they stand around.

use super::{Area, Drawn, fit, px, text, width};
use plotters::element::Rectangle;
use plotters::style::{Color, FontTransform, RGBColor};
use plotters_backend::text_anchor::{HPos, VPos};

pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);
pub(super) const AXIS: RGBColor = RGBColor(110, 110, 110);

/// Where the curves lie, in drawing units.
pub(super) struct Frame {
    pub(super) left: i32,
    pub(super) right: i32,
    pub(super) top: i32,
    pub(super) bottom: i32,
}

impl Frame {
    /// The frame in a panel, `head` pixels below its upper edge, with room for the labels of both axes and their names.
    pub(super) fn within(area: &Area, y: &Axis, head: f64) -> Drawn<Self> {
        let labels = text(12.0, HPos::Right, VPos::Center);
        let mut left = 0;
        for (_, label) in &y.ticks {
            left = left.max(width(area, label, &labels)?);
        }
        let (right, bottom) = area.dim_in_pixel();
        Ok(Frame {
            left: left + px(52.0),
            right: right as i32 - px(20.0),
            top: px(head),
            bottom: bottom as i32 - px(56.0),
        })
    }

    /// Grid lines, labels, axes and their names.
    pub(super) fn draw_axes(&self, area: &Area, x: &Axis, y: &Axis, x_label: &str, y_label: &str) -> Drawn {
        let &Frame { left, right, top, bottom } = self;
        for (value, label) in &y.ticks {
            let at = self.y(y.place(*value));
            bar(area, (left, at), (right, at), GRID)?;
            area.draw_text(label, &text(12.0, HPos::Right, VPos::Center), (left - px(7.0), at))?;
        }
        for (value, label) in &x.ticks {
            let at = self.x(x.place(*value));
            bar(area, (at, top), (at, bottom), GRID)?;
            bar(area, (at, bottom), (at, bottom + px(4.0)), AXIS)?;
            area.draw_text(label, &text(12.0, HPos::Center, VPos::Top), (at, bottom + px(9.0)))?;
        }
        bar(area, (left, bottom), (right, bottom), AXIS)?;
        bar(area, (left, top), (left, bottom), AXIS)?;

        let style = text(13.0, HPos::Center, VPos::Top);
        let x_label = fit(area, x_label, &style, right - left)?;
        area.draw_text(&x_label, &style, ((left + right) / 2, bottom + px(30.0)))?;
        let y_label = fit(area, y_label, &style, bottom - top)?;
        area.draw_text(&y_label, &style.transform(FontTransform::Rotate270), (px(12.0), (top + bottom) / 2))
    }

    pub(super) fn x(&self, share: f64) -> i32 {
        self.left.saturating_add((share * f64::from(self.right - self.left)).round() as i32)
    }

    pub(super) fn y(&self, share: f64) -> i32 {
        self.bottom.saturating_sub((share * f64::from(self.bottom - self.top)).round() as i32)
    }
}

/// A line along an axis, on whole pixels so that it stays sharp though it is thin.
pub(super) fn bar(area: &Area, from: (i32, i32), to: (i32, i32), color: RGBColor) -> Drawn {
    let snap = |at: i32| at - at % px(1.0);
    let corners = [(snap(from.0), snap(from.1)), (snap(to.0) + px(1.0), snap(to.1) + px(1.0))];
    area.draw(&Rectangle::new(corners, color.filled()))
}

/// An axis: what it spans (in powers of ten if it is logarithmic) and its labelled values.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Whole numbers, as epochs are, have no labels between them.
    pub(super) fn epochs(epochs: impl Iterator<Item = f64>) -> Self {
        let epochs: Vec<f64> = epochs.collect();
        let (first, last) = span(epochs.iter().copied()).unwrap_or((1.0, 1.0));
        let margin = if first == last { 1.0 } else { 0.02 * (last - first) };
        let least = if epochs.iter().all(|epoch| epoch.fract() == 0.0) { 1.0 } else { 0.0 };
        let ticks = match first == last && least == 0.0 {
            true => vec![(first, short(first))],
            false => steps(first, last, nice_step(last - first, 10.0).max(least)),
        };
        Axis { low: first - margin, high: last + margin, log: false, ticks }
    }

    pub(super) fn values(values: impl Iterator<Item = f64>, name: &str) -> Self {
        let (low, high) = span(values).unwrap_or((0.0, 1.0));
        if name == "learning_rate" && low > 0.0 && high / low > 10.0 {
            return Axis::logarithmic(low, high);
        }
        let size = low.abs().max(high.abs());
        let margin = match high - low {
            // A constant, give or take rounding.
            range if range <= 1e-6 * size || range == 0.0 => {
                if size == 0.0 {
                    1.0
                } else {
                    (0.1 * size).max(f64::MIN_POSITIVE)
                }
            }
            range => 0.05 * range,
        };
        let (low, high) = (low - margin, high + margin);
        Axis { low, high, log: false, ticks: steps(low, high, nice_step(high - low, 7.0)) }
    }

    /// From 0 to 1, as rates and shares go; with a margin, so that lines along the border are seen.
    pub(super) fn shares() -> Self {
        let ticks = steps(0.0, 1.0, 0.2);
        Axis { low: -0.02, high: 1.02, log: false, ticks }
    }

    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let (low, high) = (low.log10(), high.log10());
        let margin = 0.05 * (high - low);
        let (low, high) = (low - margin, high + margin);
        // Between few powers of ten, twice and five times them as well; of many, not every one.
        let parts: &[f64] = if high - low < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let every = ((high - low) / 8.0).ceil().max(1.0) as usize;
        let powers = (low.floor() as i32..=high.ceil() as i32).step_by(every);
        let ticks = powers
            .flat_map(|power| parts.iter().map(move |part| part * 10f64.powi(power)))
            .filter(|tick| (low..=high).contains(&tick.log10()))
            .map(|tick| (tick, short(tick)))
            .collect();
        Axis { low, high, log: true, ticks }
    }

    /// The share of the axis below a value.
    pub(super) fn place(&self, value: f64) -> f64 {
        ((if self.log { value.log10() } else { value }) - self.low) / (self.high - self.low)
    }
}

/// Whether a value has a place on paper. Beyond these bounds even differences would overflow.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() < 1e300
}

/// The smallest and the largest.
pub(super) fn span(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |span, v| span.map_or(Some((v, v)), |(low, high): (f64, f64)| Some((low.min(v), high.max(v)))))
}

/// One, two or five times a power of ten that goes into a range `most` times or less.
fn nice_step(range: f64, most: f64) -> f64 {
    // A power of ten too small for a number would make all steps zero.
    let rough = (range / most).max(1e-300);
    let power = 10f64.powi(rough.log10().floor() as i32);
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|part| part * power)
        .find(|&step| step >= rough * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// The multiples of `step` within the bounds, written with the digits that tell them apart.
fn steps(low: f64, high: f64, step: f64) -> Vec<(f64, String)> {
    let power = (step.log10() + 1e-9).floor() as i32;
    let large = low.abs().max(high.abs());
    let label = |value: f64| {
        if value == 0.0 {
            "0".to_owned()
        } else if !(1e-3..1e6).contains(&large) {
            let digits = (value.abs().log10().floor() as i32 - power).max(0) as usize;
            format!("{value:.digits$e}")
        } else {
            format!("{value:.*}", (-power).max(0) as usize)
        }
    };
    let first = (low / step - 1e-9).ceil();
    let count = (high / step + 1e-9).floor() - first;
    (0..=count.clamp(0.0, 100.0) as u32)
        .map(|i| (first + f64::from(i)) * step)
        .map(|value| (value, label(value)))
        .collect()
}

/// A number without the noise of its last bits.
fn tidy(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// A number with up to four significant digits.
fn short(value: f64) -> String {
    if (1e-3..1e5).contains(&value.abs()) { format!("{}", tidy(value)) } else { format!("{:e}", tidy(value)) }
}

/// A number with four significant digits.
pub(super) fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e6).contains(&size) => format!("{value:.*}", (3 - size.log10().floor() as i32).max(0) as usize),
        _ => format!("{value:.3e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn axes_have_round_labels() {
        let epochs = |last: u32| Axis::epochs((1..=last).map(f64::from));
        assert_eq!(labels(&epochs(1)), ["1"]);
        assert_eq!(labels(&epochs(3)), ["1", "2", "3"]);
        assert_eq!(labels(&epochs(15)), ["2", "4", "6", "8", "10", "12", "14"]);
        assert_eq!(labels(&epochs(200)), ["20", "40", "60", "80", "100", "120", "140", "160", "180", "200"]);
        assert_eq!(labels(&Axis::epochs([0.375].into_iter())), ["0.375"]);
        assert_eq!(labels(&Axis::epochs([-1.0 / 3.0; 2].into_iter())), ["-0.3333"]);
        let values = |values: &[f64], name| Axis::values(values.iter().copied(), name);
        assert_eq!(labels(&values(&[0.0, 1.0], "m")), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&values(&[-2e-7, 3e-7], "m")), ["-2e-7", "-1e-7", "0", "1e-7", "2e-7", "3e-7"]);
        assert_eq!(labels(&values(&[1e-5, 0.01], "learning_rate")), ["1e-5", "1e-4", "0.001", "0.01"]);
        assert!(!values(&[0.0, 0.01], "learning_rate").log && !values(&[0.01, 0.05], "learning_rate").log);
        let halves = values(&[0.001, 0.02], "learning_rate");
        assert_eq!(labels(&halves), ["0.001", "0.002", "0.005", "0.01", "0.02"]);
        assert!((halves.place(0.01) - halves.place(0.001) - (halves.place(0.02) - halves.place(0.002))).abs() < 1e-12);
    }
}
