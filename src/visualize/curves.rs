//! Training curves: every metric by epoch, training and validation on one panel.

use super::axis::{Axis, Frame, drawable, significant};
use super::{Area, Drawing, Drawn, PALETTE, fit, picture, px, stroke, text, width};
use crate::error::{Error, Result, ensure};
use crate::schedules::Schedule;
use crate::training::direction::larger_is_better;
use plotters::element::{Circle, DashedPathElement, PathElement};
use plotters::style::{Color, RGBColor, WHITE};
use plotters_backend::text_anchor::{HPos, VPos};

const PANEL: (u32, u32) = (640, 480);
const MOST_COLUMNS: usize = 3;
/// The names of curves stand in so many columns, the lines so many pixels apart.
const LEGEND_COLUMNS: usize = 2;
const LEGEND_LINE: f64 = 20.0;
/// A panel with more lines of names is so much higher.
const MOST_LEGEND_LINES: usize = 5;

const TRAINING: RGBColor = PALETTE[0];
const VALIDATION: RGBColor = PALETTE[1];
const BEST: RGBColor = PALETTE[2];

/// The values of one metric, an epoch each.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    name: String,
    values: Vec<f64>,
    /// Where the values stand on the horizontal axis; none: at 1, 2, 3, …
    places: Option<Vec<f64>>,
}

impl Curve {
    /// The curve called `name`, as in a history: `loss`, `accuracy`, `val_loss`, …
    ///
    /// The values are those of the first epochs in order, unless [`Curve::epochs`] says otherwise.
    /// One that is NaN or infinite leaves a gap.
    pub fn new(name: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        Curve { name: name.into(), values: values.into_iter().collect(), places: None }
    }

    /// The epoch of each value, counted from 0 as a history does (a picture counts from 1). Needed
    /// where some epochs have no value (`validation_freq` above 1) or training began at a later one.
    pub fn epochs(self, epochs: impl IntoIterator<Item = usize>) -> Self {
        self.places(epochs.into_iter().map(|epoch| epoch as f64 + 1.0))
    }

    /// Where each value stands on the horizontal axis, for curves over something else than epochs; [`Curves::x_label`]
    /// says what it is.
    pub fn places(mut self, places: impl IntoIterator<Item = f64>) -> Self {
        self.places = Some(places.into_iter().collect());
        self
    }

    /// The learning rates that a schedule gives in its first `steps` steps, at their places. At most 1000 of them are drawn.
    ///
    /// ```
    /// use cornu::schedules::CosineDecay;
    /// use cornu::visualize::{Curve, Curves};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("rates.svg");
    /// let warm = CosineDecay::new(0.001, 900).warmup(0.1, 100);
    /// let plain = CosineDecay::new(0.1, 1000);
    /// let curves = [Curve::schedule("with warm-up", &warm, 1000)?, Curve::schedule("without", &plain, 1000)?];
    /// Curves::new(curves).one_panel("learning_rate").x_label("step").save(path)?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the schedule's arguments make no sense.
    pub fn schedule(name: impl Into<String>, schedule: &dyn Schedule, steps: u64) -> Result<Self> {
        schedule.check()?;
        let every = steps.div_ceil(1000).max(1) as usize;
        let steps: Vec<u64> = (0..steps).step_by(every).collect();
        let rates = steps.iter().map(|&step| schedule.rate(step));
        Ok(Curve::new(name, rates).places(steps.iter().map(|&step| step as f64)))
    }

    /// The points of the curve.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let place = |i: usize| self.places.as_ref().and_then(|places| places.get(i).copied()).unwrap_or(i as f64 + 1.0);
        self.values.iter().enumerate().map(move |(i, &value)| (place(i), value))
    }
}

/// The picture of a training run: a panel for each metric, loss first, up to three in a row.
///
/// Training is a solid line and validation (the curve whose name has `val_` before it) a dashed one.
/// The best epoch of the validation curve is marked where the metric's name tells whether it is to
/// fall or to rise. `learning_rate` has a logarithmic axis if it spans more than a factor of ten.
/// A panel is 640 x 480 pixels; see the [module](super) for an example. To compare curves, draw them into
/// [one panel](Self::one_panel), which is higher with more than ten of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Curves {
    curves: Vec<Curve>,
    title: Option<String>,
    one_panel: Option<String>,
    x_label: String,
    /// Of names that left no curve the first, and those that there were.
    missed: Option<(String, Vec<String>)>,
}

impl Curves {
    /// A picture of these curves, in this order.
    pub fn new(curves: impl IntoIterator<Item = Curve>) -> Self {
        let curves = curves.into_iter().collect();
        Curves { curves, title: None, one_panel: None, x_label: "epoch".to_owned(), missed: None }
    }

    /// Draws all curves into one panel, each in a colour of its own (up to seven; then they repeat), so that they can be
    /// compared; `name` stands at the vertical axis. Default: a panel for each metric.
    ///
    /// ```
    /// use cornu::visualize::{Curve, Curves};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("rates.svg");
    /// let slow = Curve::new("rate 0.01", [0.7, 0.8, 0.85]);
    /// let fast = Curve::new("rate 0.1", [0.8, 0.88, 0.9]);
    /// Curves::new([slow, fast]).one_panel("accuracy").save(path)?;
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn one_panel(mut self, name: impl Into<String>) -> Self {
        self.one_panel = Some(name.into());
        self
    }

    /// Keeps only the curves of these names, in their order: `only(["learning_rate"])` of a history. When none is left,
    /// drawing says which names there are.
    pub fn only<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let names: Vec<N> = names.into_iter().collect();
        let known: Vec<String> = self.curves.iter().map(|curve| curve.name.clone()).collect();
        self.curves.retain(|curve| names.iter().any(|name| name.as_ref() == curve.name));
        if let (true, false, Some(name)) = (self.curves.is_empty(), known.is_empty(), names.first()) {
            self.missed = Some((name.as_ref().to_owned(), known));
        }
        self
    }

    fn panels(&self) -> Result<Vec<Panel<'_>>> {
        if let Some((name, known)) = &self.missed {
            return Err(Error::unknown_name("curve", name, known.iter().map(String::as_str)));
        }
        match &self.one_panel {
            None => panels(&self.curves),
            Some(name) => Ok(vec![compared(name, &self.curves)?]),
        }
    }

    /// What stands below the horizontal axis. Default: `epoch`.
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }
}

picture!(Curves);

impl Drawing for Curves {
    fn heading(&self) -> Option<&str> {
        self.title.as_deref()
    }

    fn size(&self) -> Result<(u32, u32)> {
        let panels = self.panels()?;
        let (rows, columns) = grid(panels.len());
        let lines = panels.iter().map(Panel::legend_lines).max().unwrap_or(0).saturating_sub(MOST_LEGEND_LINES);
        Ok((PANEL.0 * columns as u32, (PANEL.1 + LEGEND_LINE as u32 * lines as u32) * rows as u32))
    }

    fn draw(&self, area: &Area) -> Drawn {
        // Whether they make sense was asked with their size.
        let panels = self.panels().unwrap_or_default();
        let areas = area.split_evenly(grid(panels.len()));
        areas.iter().zip(&panels).try_for_each(|(area, panel)| panel.draw(area, &self.x_label))
    }
}

/// Rows and columns of so many panels: as many rows as needed, then as even as possible. Four stand two by two.
fn grid(panels: usize) -> (usize, usize) {
    let rows = panels.div_ceil(MOST_COLUMNS).max(1);
    (rows, panels.div_ceil(rows))
}

/// A metric, in training and in validation; or curves that are compared.
struct Panel<'a> {
    name: &'a str,
    training: Option<&'a Curve>,
    validation: Option<&'a Curve>,
    compared: &'a [Curve],
}

/// One panel with all curves, once they make sense.
fn compared<'a>(name: &'a str, curves: &'a [Curve]) -> Result<Panel<'a>> {
    check(curves)?;
    for (i, Curve { name, .. }) in curves.iter().enumerate() {
        ensure!(
            curves[..i].iter().all(|other| other.name != *name),
            Data,
            "there are two curves named '{name}'; rename or leave out one"
        );
    }
    Ok(Panel { name, training: None, validation: None, compared: curves })
}

/// Whether there is something to draw, and each value has a place.
fn check(curves: &[Curve]) -> Result<()> {
    ensure!(
        curves.iter().any(|curve| !curve.values.is_empty()),
        Data,
        "there are no training curves to draw: the history is empty; train for one epoch at least"
    );
    for Curve { name, values, places } in curves {
        let Some(places) = places else { continue };
        let (values, count) = (values.len(), places.len());
        ensure!(count == values, Data, "curve '{name}' has {values} values but {count} epochs; give one for each");
        ensure!(places.iter().all(|&place| drawable(place)), Data, "curve '{name}' has a place that is not finite");
    }
    Ok(())
}

/// Sorts curves into panels, once they make sense.
fn panels(curves: &[Curve]) -> Result<Vec<Panel<'_>>> {
    check(curves)?;
    let mut panels: Vec<Panel> = Vec::new();
    for curve in curves {
        let name = &curve.name;
        let base = name.strip_prefix("val_").unwrap_or(name);
        let i = panels.iter().position(|panel| panel.name == base).unwrap_or_else(|| {
            panels.push(Panel { name: base, training: None, validation: None, compared: &[] });
            panels.len() - 1
        });
        let place = if base == name { &mut panels[i].training } else { &mut panels[i].validation };
        ensure!(place.is_none(), Data, "there are two curves named '{name}'; rename or leave out one");
        *place = Some(curve);
    }
    for panel in &panels {
        if let (Some(a), Some(b)) = (panel.training, panel.validation) {
            let (short, long) = if a.values.len() < b.values.len() { (a, b) } else { (b, a) };
            ensure!(
                short.values.len() == long.values.len() || short.places.is_some(),
                Data,
                "curve '{}' has {} values and '{}' has {}; say with Curve::epochs when the fewer were measured",
                short.name,
                short.values.len(),
                long.name,
                long.values.len()
            );
        }
    }
    panels.sort_by_key(|panel| panel.name != "loss");
    Ok(panels)
}

/// How a curve is drawn: dashed for validation, so that it is told apart without colours too.
#[derive(Clone, Copy)]
struct Line {
    color: RGBColor,
    dashed: bool,
}

impl Panel<'_> {
    fn curves(&self) -> impl Iterator<Item = (&Curve, Line)> {
        let pair = [(self.training, TRAINING, false), (self.validation, VALIDATION, true)];
        let pair = pair.into_iter().filter_map(|(curve, color, dashed)| Some((curve?, Line { color, dashed })));
        let colors = PALETTE.into_iter().cycle().map(|color| Line { color, dashed: false });
        pair.chain(self.compared.iter().zip(colors))
    }

    /// The best point of the validation curve, the first of equals.
    fn best(&self) -> Option<(f64, f64)> {
        let sign = if larger_is_better(self.name)? { -1.0 } else { 1.0 };
        let points = self.validation?.points().filter(|&(_, value)| drawable(value));
        points.min_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)))
    }

    fn draw(&self, area: &Area, x_label: &str) -> Drawn {
        let points = || self.curves().flat_map(|(curve, _)| curve.points());
        let x = Axis::epochs(points().map(|(epoch, _)| epoch));
        let y = Axis::values(points().map(|(_, value)| value).filter(|&value| drawable(value)), self.name);
        let frame = Frame::within(area, &y, 26.0 + LEGEND_LINE * self.legend_lines() as f64)?;
        frame.draw_axes(area, &x, &y, x_label, self.name)?;
        self.draw_curves(area, &frame, &x, &y)?;
        self.draw_legend(area, &frame, x_label)
    }

    fn draw_curves(&self, area: &Area, frame: &Frame, x: &Axis, y: &Axis) -> Drawn {
        let at = |(epoch, value): (f64, f64)| (frame.x(x.place(epoch)), frame.y(y.place(value)));
        if !self.curves().any(|(curve, _)| curve.points().any(|(_, value)| drawable(value))) {
            let middle = ((frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2);
            return area.draw_text("no finite values", &text(14.0, HPos::Center, VPos::Center), middle);
        }
        let best = self.best().map(at);
        if let Some((at, _)) = best {
            let line = [(at, frame.top), (at, frame.bottom)];
            area.draw(&DashedPathElement::new(line, px(2.0), px(3.0), stroke(BEST, 1.0)))?;
        }
        for (curve, line) in self.curves() {
            let points: Vec<_> = curve.points().collect();
            // Dots show where few values lie, and one between gaps, which has no line.
            let dots = points.len() <= 30;
            for run in points.split(|&(_, value)| !drawable(value)) {
                let run: Vec<_> = run.iter().map(|&point| at(point)).collect();
                draw_line(area, run.clone(), line)?;
                for &point in run.iter().filter(|_| dots || run.len() == 1) {
                    area.draw(&Circle::new(point, px(3.5), line.color.filled()))?;
                }
            }
        }
        best.map_or(Ok(()), |best| draw_ring(area, best))
    }

    /// How many lines of names stand above the frame: one, or for curves that are compared as many as are needed.
    fn legend_lines(&self) -> usize {
        self.compared.len().div_ceil(LEGEND_COLUMNS).max(1)
    }

    /// Above the frame: names beside samples of their lines.
    fn draw_legend(&self, area: &Area, frame: &Frame, x_label: &str) -> Drawn {
        let style = text(12.0, HPos::Left, VPos::Center);
        let (sample, gap, between) = (px(30.0), px(7.0), px(22.0));
        let best = self.best().map(|(epoch, value)| format!("best: {} at {x_label} {epoch}", significant(value)));
        let room = (frame.right - frame.left) / 2;
        let best = best.map(|best| fit(area, &best, &style, room)).transpose()?;
        let taken = match &best {
            Some(best) => px(16.0) + gap + width(area, best, &style)?,
            None => 0,
        };
        let columns = self.curves().count().min(LEGEND_COLUMNS) as i32;
        let column = (frame.right - frame.left - taken) / columns;
        let top = frame.top - px(LEGEND_LINE * self.legend_lines() as f64);
        let (mut x, mut y) = (frame.left, top);
        for (i, (curve, line)) in self.curves().enumerate() {
            if !self.compared.is_empty() {
                (x, y) = (
                    frame.left + column * (i % LEGEND_COLUMNS) as i32,
                    top + px(LEGEND_LINE * (i / LEGEND_COLUMNS) as f64),
                );
            }
            let name = fit(area, &curve.name, &style, column - sample - gap - between)?;
            draw_line(area, vec![(x, y), (x + sample, y)], line)?;
            area.draw_text(&name, &style, (x + sample + gap, y))?;
            x += sample + gap + width(area, &name, &style)? + between;
        }
        if let Some(best) = best {
            draw_ring(area, (x + px(8.0), y))?;
            area.draw_text(&best, &style, (x + px(16.0) + gap, y))?;
        }
        Ok(())
    }
}

fn draw_line(area: &Area, points: Vec<(i32, i32)>, line: Line) -> Drawn {
    let style = stroke(line.color, 2.0);
    match (points.len(), line.dashed) {
        (0 | 1, _) => Ok(()),
        (_, true) => area.draw(&DashedPathElement::new(points, px(8.0), px(4.0), style)),
        (_, false) => area.draw(&PathElement::new(points, style)),
    }
}

/// The mark of the best epoch.
fn draw_ring(area: &Area, at: (i32, i32)) -> Drawn {
    area.draw(&Circle::new(at, px(7.0), BEST.filled()))?;
    area.draw(&Circle::new(at, px(4.7), WHITE.filled()))?;
    area.draw(&Circle::new(at, px(2.8), VALIDATION.filled()))
}

#[cfg(test)]
mod tests {
    use super::super::axis::{AXIS, GRID};
    use super::*;
    use std::path::PathBuf;

    fn run(epochs: usize) -> Vec<Curve> {
        let fall = |from: f64| (1..=epochs).map(move |epoch| from / epoch as f64);
        vec![
            Curve::new("accuracy", fall(0.5).map(|v| 1.0 - v)),
            Curve::new("loss", fall(0.8)),
            Curve::new("val_accuracy", fall(0.6).map(|v| 1.0 - v)),
            Curve::new("val_loss", fall(0.9)),
        ]
    }

    /// Draws, decodes and gives back the size and the pixels.
    fn png(curves: Curves) -> ((u32, u32), Vec<[u8; 3]>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.PNG");
        curves.save(&path).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
        let mut reader = png::Decoder::new(std::io::Cursor::new(std::fs::read(&path).unwrap())).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        ((info.width, info.height), bytes.as_chunks::<3>().0.to_vec())
    }

    fn svg(curves: Curves) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.svg");
        curves.save(&path).unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    fn count(pixels: &[[u8; 3]], RGBColor(r, g, b): RGBColor) -> usize {
        pixels.iter().filter(|&&pixel| pixel == [r, g, b]).count()
    }

    fn error(curves: Curves, path: impl Into<PathBuf>) -> Error {
        curves.save(path.into()).unwrap_err()
    }

    #[test]
    fn a_png_has_its_size_and_every_colour() {
        let (size, pixels) = png(Curves::new(run(12)));
        assert_eq!(size, (1280, 480));
        for color in [TRAINING, VALIDATION, BEST, GRID, AXIS] {
            assert!(count(&pixels, color) > 100, "{color:?} fills {} pixels", count(&pixels, color));
        }
        assert!(count(&pixels, WHITE) > pixels.len() * 8 / 10);
        assert!(count(&pixels, super::super::INK) > 50, "text");
    }

    #[test]
    fn panels_stand_in_even_rows_below_the_title() {
        let metrics = |n: usize| Curves::new((0..n).map(|i| Curve::new(format!("m{i}"), [1.0, 2.0])));
        for (n, size) in [(1, (640, 480)), (3, (1920, 480)), (4, (1280, 960)), (8, (1920, 1440))] {
            assert_eq!(png(metrics(n)).0, size);
        }
        assert_eq!(png(metrics(1).title("t".repeat(300))).0, (640, 520));
        let error = error(metrics(100), "picture.png");
        assert!(matches!(error, Error::Argument(_)) && error.to_string().contains("svg"), "{error}");
    }

    #[test]
    fn an_svg_says_what_it_shows() {
        let svg = svg(Curves::new(run(4)).title("a < b"));
        assert!(svg.starts_with("<svg width=\"1280\" height=\"520\" viewBox=\"0 0 3840 1560\""), "{}", &svg[..80]);
        assert!(svg.ends_with("</svg>\n"));
        let texts = ["a &lt; b", "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "best: 0.2250 at epoch 4"];
        for text in texts.iter().chain(&["1", "2", "3", "4"]) {
            assert!(svg.lines().any(|line| line.ends_with(&format!(">{text}")) || line == *text), "no text {text}");
        }
        // Loss comes first though accuracy was given first.
        assert!(svg.find("\nloss\n") < svg.find("\naccuracy\n"));
    }

    #[test]
    fn one_epoch_and_two_hundred() {
        let (_, pixels) = png(Curves::new(run(1)));
        assert!(count(&pixels, TRAINING) > 50 && count(&pixels, VALIDATION) > 10);
        let (_, pixels) = png(Curves::new(run(200)));
        assert!(count(&pixels, TRAINING) > 500 && count(&pixels, VALIDATION) > 300);
    }

    #[test]
    fn curves_with_gaps_nothing_or_extremes_are_drawn() {
        let strange = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let text = svg(Curves::new([Curve::new("loss", strange), Curve::new("val_loss", strange)]));
        assert!(text.contains("no finite values") && !text.contains("best"));
        // A gap splits the line; the lone value keeps its dot.
        let gaps = svg(Curves::new([Curve::new("m", [1.0, 2.0, f64::NAN, 3.0, f64::NAN, 1.0, 1.5])]));
        assert_eq!(gaps.matches("<polyline").count(), 3, "two lines and the legend's sample");
        assert_eq!(gaps.matches("<circle").count(), 5);
        let long = "mean_squared_error_".repeat(20);
        for values in [vec![0.0; 3], vec![7.0; 2], vec![1e299, -1e299], vec![5e-324; 2], vec![1e-310, 2e-310], vec![]] {
            let curve = Curve::new(format!("val_{long}"), values);
            let svg = svg(Curves::new([curve, Curve::new("loss\u{1}\u{fffe}\u{ffff}", [1.0])]));
            assert!(!svg.contains("NaN") && !svg.contains(&long) && !svg.contains(['\u{1}', '\u{fffe}', '\u{ffff}']));
            assert!(svg.contains("val_mean_squared"));
        }
    }

    #[test]
    fn validation_on_some_epochs_needs_the_epochs() {
        let loss = Curve::new("loss", [4.0, 3.0, 2.0, 1.0]);
        let rare = Curve::new("val_loss", [3.0, 2.0]);
        let message = error(Curves::new([loss.clone(), rare.clone()]), "picture.svg").to_string();
        assert!(message.contains("'val_loss' has 2 values and 'loss' has 4"), "{message}");
        assert!(svg(Curves::new([loss, rare.clone().epochs([1, 3])])).contains("best: 2.000 at epoch 4"));
        let steps = Curve::new("val_loss", [3.0, 2.0]).places([250.0, 500.0]);
        assert!(svg(Curves::new([steps]).x_label("step")).contains("best: 2.000 at step 500"));
        let message = error(Curves::new([rare.epochs([1])]), "picture.svg").to_string();
        assert!(message.contains("2 values but 1 epochs"), "{message}");
    }

    #[test]
    fn mistakes_are_told() {
        let empty = error(Curves::new([]), "picture.png");
        assert!(matches!(&empty, Error::Data(text) if text.contains("empty")), "{empty}");
        assert!(matches!(error(Curves::new([Curve::new("loss", [])]), "picture.png"), Error::Data(_)));
        let twice = Curves::new([Curve::new("loss", [1.0]), Curve::new("loss", [2.0])]);
        assert!(error(twice, "picture.png").to_string().contains("two curves named 'loss'"));
        for path in ["picture.jpg", "picture", ""] {
            let error = error(Curves::new(run(2)), path);
            let text = error.to_string();
            assert!(matches!(error, Error::Argument(_)) && text.contains(".png") && text.contains(".svg"), "{text}");
        }
    }

    #[test]
    fn curves_that_are_compared_share_a_panel() {
        let curve = |i: usize| Curve::new(format!("way {i}"), [0.1 * i as f64, 0.9]).places([0.0, 0.5]);
        let picture = || Curves::new((0..5).map(curve)).one_panel("test accuracy").x_label("share of noise");
        let (size, pixels) = png(picture());
        assert_eq!(size, (640, 480));
        for color in &PALETTE[..5] {
            assert!(count(&pixels, *color) > 100, "{color:?} fills {} pixels", count(&pixels, *color));
        }
        let text = svg(picture());
        for label in ["way 0", "way 4", "test accuracy", "share of noise", "0.45"] {
            assert!(text.contains(label), "{label}");
        }
        assert!(!text.contains("epoch") && !text.contains("best"));
        // A panel grows with its legend.
        let many = Curves::new((0..45).map(curve)).one_panel("m");
        assert_eq!(png(many.clone()).0, (640, 480 + 20 * (23 - 5)));
        assert!(svg(many).contains("way 44"));
        // Without it: a panel each.
        assert_eq!(png(Curves::new((0..5).map(curve))).0, (1920, 960));

        let twice = error(Curves::new([curve(1), curve(1)]).one_panel("m"), "picture.png").to_string();
        assert!(twice.contains("two curves named 'way 1'"), "{twice}");
        let empty = error(Curves::new([]).one_panel("m"), "picture.png").to_string();
        assert!(empty.contains("no training curves"), "{empty}");
        let nowhere = Curve::new("loss", [1.0, 2.0]).places([1.0, f64::NAN]);
        assert!(error(Curves::new([nowhere]), "picture.png").to_string().contains("not finite"));
    }

    #[test]
    fn schedules_are_curves_over_steps() {
        use crate::schedules::ExponentialDecay;
        let halving = ExponentialDecay::new(0.8, 2, 0.5).staircase(true);
        let curve = Curve::schedule("halving", &halving, 5).unwrap();
        assert_eq!(curve, Curve::new("halving", [0.8, 0.8, 0.4, 0.4, 0.2]).places([0.0, 1.0, 2.0, 3.0, 4.0]));
        let long = Curve::schedule("halving", &halving, 12_345).unwrap();
        assert_eq!((long.values.len(), long.places.unwrap()[1]), (950, 13.0));
        assert!(Curve::schedule("bad", &ExponentialDecay::new(-1.0, 2, 0.5), 5).is_err());
        let history = Curves::new([Curve::new("loss", [1.0]), Curve::new("learning_rate", [0.1])]);
        let missed = history.clone().only(["learning_rat"]);
        let message = error(missed, "picture.png").to_string();
        assert!(message.contains("unknown curve 'learning_rat'") && message.contains("'learning_rate'"), "{message}");
        assert_eq!(history.only(["learning_rate"]), Curves::new([Curve::new("learning_rate", [0.1])]));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none").join("picture.png");
        assert!(matches!(error(Curves::new(run(2)), &missing), Error::Io { path, .. } if path == missing));
        let taken = folder.path().join("folder.svg");
        std::fs::create_dir(&taken).unwrap();
        assert!(matches!(error(Curves::new(run(2)), &taken), Error::Io { .. }));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
    }

    #[test]
    fn the_best_epoch_follows_the_metric() {
        let best = |name: &str| {
            let curve = Curve::new(format!("val_{name}"), [f64::NAN, 2.0, 1.0, 3.0, 1.0, 3.0]);
            panels(&[curve]).unwrap()[0].best().map(|(epoch, _)| epoch)
        };
        for name in
            ["loss", "out_loss", "mean_absolute_error", "binary_crossentropy", "kl_divergence", "mse", "hinge_2"]
        {
            assert_eq!(best(name), Some(3.0), "{name}");
        }
        for name in ["accuracy", "acc", "out_auc_1", "f1_score", "binary_io_u", "recall", "sensitivity_at_specificity"]
        {
            assert_eq!(best(name), Some(4.0), "{name}");
        }
        for name in ["learning_rate", "mine", "closs", "false_positives"] {
            assert_eq!(best(name), None, "{name}");
        }
    }
}
