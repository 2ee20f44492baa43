//! What a model makes of samples: its confusions and its worst mistakes.

use super::number;
use crate::data::{Cardinality, Rows};
use crate::error::{Context, Error, Result, ensure};
use crate::metrics::labels::MOST_CONFUSED;
use crate::model::Model;
use crate::picture;
use crate::runtime::Workspace;
use crate::tensor::Tensor;
use crate::training::Inputs;
use crate::training::feed::Feed;
use crate::training::inputs::gather;
use serde_json::{Value, json};

const BATCH: usize = 64;
/// Images are made smaller until no side is longer, in pixels.
const LONGEST: usize = 160;
/// Of inputs that are no images so many values are shown.
const VALUES: usize = 8;
/// And so many points of predictions by true values.
const PAIRS: usize = 1000;

pub(super) struct Samples<'a> {
    x: Inputs<'a>,
    y: Inputs<'a>,
    kind: Kind,
    names: Vec<String>,
    /// How many values a target has.
    each: usize,
}

/// What the model's output means.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A value for each of several classes.
    Classes,
    /// One value, above this threshold for class 1; `logits` are to go through a sigmoid first.
    Binary { threshold: f32, logits: bool },
    /// A number.
    Number,
}

/// A sample with what the model said of it.
struct Mistake {
    /// The larger, the worse.
    score: f64,
    index: usize,
    input: Vec<f32>,
    target: f64,
    predicted: f64,
    /// The probabilities of the true class and of the predicted one.
    probabilities: [f64; 2],
}

impl<'a> Samples<'a> {
    pub fn new(x: Inputs<'a>, y: Inputs<'a>) -> Self {
        Samples { x, y, kind: Kind::Number, names: Vec::new(), each: 1 }
    }

    /// Training begins: says now what cannot be shown, and not after the first epoch.
    pub fn begin(&mut self, model: &Model, names: &[String]) -> Result<()> {
        self.understand(model, names).at(|| "HtmlReport: samples".to_owned())
    }

    fn understand(&mut self, model: &Model, names: &[String]) -> Result<()> {
        let shapes = model.output_shapes()?;
        ensure!(shapes.len() == 1, Argument, "they are for models of one output, this one has {}", shapes.len());
        let outputs = shapes[0].sample_len().filter(|_| shapes[0].rank() == 2).ok_or_else(|| {
            Error::Argument(format!("the output must have the shape (batch, values), this one has {}", shapes[0]))
        })?;
        ensure!(
            !model.built()?.carries_states(),
            Argument,
            "they are not for stateful models, whose states predictions would change"
        );
        let y = self.targets(model)?;
        let term = model.compiled()?.terms.first();
        let loss = term.and_then(|term| term.loss.as_ref());
        let class = loss.map(|loss| loss.class_name().to_owned()).unwrap_or_default();
        let from_logits = loss
            .and_then(|loss| loss.config().ok())
            .is_some_and(|config| config.get("from_logits") == Some(&true.into()));
        let whole = |row: &[f32]| row.iter().all(|v| v.fract() == 0.0 && *v >= 0.0);
        let each = y.len() / y.batch().max(1);
        let labels = each == 1 && whole(y.data());
        let one_hot = each == outputs && (0..y.batch()).all(|i| whole(y.row(i)) && y.row(i).iter().sum::<f32>() == 1.0);
        // Of a dataset only some targets are known, which may be 0 and 1 by chance.
        let whole_data = matches!(self.x, Inputs::Arrays(_));
        let zeros_and_ones = whole_data && y.data().iter().all(|v| *v == 0.0 || *v == 1.0);
        self.kind = match outputs {
            1 if each == 1 && (class.contains("Hinge") || class.contains("Binary") || zeros_and_ones) => {
                let logits = from_logits || class.contains("Hinge");
                Kind::Binary { threshold: if logits { 0.0 } else { 0.5 }, logits }
            }
            1 => Kind::Number,
            _ if labels || one_hot || class.contains("Categorical") => Kind::Classes,
            _ => {
                return Err(Error::Argument(format!(
                    "an output of {outputs} values needs classes as targets: a label for each sample, or one-hot rows"
                )));
            }
        };
        let fits = each == 1 || self.kind == Kind::Classes && each == outputs;
        ensure!(fits, Data, "a target has {each} values, and the output {outputs}");
        self.each = each;
        ensure!(
            self.kind != Kind::Classes || outputs <= MOST_CONFUSED,
            Argument,
            "there are {outputs} classes; a table of which is taken for which has {MOST_CONFUSED} at most"
        );
        let classes = match self.kind {
            Kind::Classes => outputs,
            Kind::Binary { .. } => 2,
            Kind::Number => 0,
        };
        ensure!(
            names.is_empty() || names.len() == classes,
            Argument,
            "class_names has {} names for {classes} classes",
            names.len()
        );
        self.names = if names.is_empty() { (0..classes).map(|i| i.to_string()).collect() } else { names.to_vec() };
        if self.kind == Kind::Classes && each == 1 {
            y.data().iter().try_for_each(|value| self.label(*value).map(drop))?;
        }
        Ok(())
    }

    /// All targets; of a dataset those of its first batch. The model is asked for the first sample, which must fit.
    fn targets(&self, model: &Model) -> Result<Tensor> {
        let workspace = Workspace::new();
        let mut feed = self.feed()?;
        feed.begin(model, 0)?;
        let first = match feed.next(&workspace)? {
            Some(batch) => {
                let inputs = batch.gather(0..1, &workspace);
                let rows: Vec<&dyn Rows> = inputs.iter().map(|input| input as &dyn Rows).collect();
                model.predict_on_batch(rows)?;
                batch.y
            }
            None => Default::default(),
        };
        feed.end();
        let all = match &self.y {
            Inputs::Arrays(arrays) if arrays.len() == 1 => {
                gather(&self.y, &(0..arrays[0].len()).collect::<Vec<_>>(), &workspace)
            }
            _ => first,
        };
        ensure!(all.len() == 1, Data, "they need one array of targets, got {}", all.len());
        Ok(all[0].clone())
    }

    fn feed(&self) -> Result<Feed<'_>> {
        let feed = Feed::new(&self.x, &self.y, None, BATCH)?;
        ensure!(feed.steps() != Cardinality::Infinite, Argument, "the dataset never ends; take(n) ends it");
        Ok(feed)
    }

    /// What the model says now, and the worst of it.
    pub fn look(&self, model: &Model, epoch: usize, worst: usize) -> Result<Value> {
        self.ask(model, epoch, worst).at(|| "HtmlReport: samples".to_owned())
    }

    fn ask(&self, model: &Model, epoch: usize, worst: usize) -> Result<Value> {
        let classes = self.names.len();
        let mut matrix = vec![vec![0_u64; classes]; classes];
        let (mut count, mut absolute, mut squares) = (0, 0.0, 0.0);
        let (mut pairs, mut mistakes) = (Vec::new(), Vec::<Mistake>::new());
        let mut shape = Vec::new();
        let mut feed = self.feed()?;
        feed.begin(model, 0)?;
        let workspace = Workspace::new();
        while let Some(batch) = feed.next(&workspace)? {
            let inputs = batch.gather(0..batch.len(), &workspace);
            let rows: Vec<&dyn Rows> = inputs.iter().map(|input| input as &dyn Rows).collect();
            let outputs = Tensor::from(model.predict_on_batch(rows)?);
            let each = batch.y.first().map_or(0, |y| y.len() / y.batch().max(1));
            ensure!(
                each == self.each && batch.y.len() == 1,
                Data,
                "a target at sample {count} has {each} values, one of the first batch {}",
                self.each
            );
            for i in 0..batch.len() {
                let (target, output) = (batch.y[0].row(i), outputs.row(i));
                let found = match self.kind {
                    Kind::Number => {
                        let (target, predicted) = (f64::from(target[0]), f64::from(output[0]));
                        absolute += (target - predicted).abs();
                        squares += (target - predicted).powi(2);
                        pairs.push([target, predicted]);
                        Some((target, predicted, [1.0; 2], (target - predicted).abs()))
                    }
                    Kind::Binary { .. } | Kind::Classes => {
                        let (target, predicted, probabilities) = self.classes(target, output)?;
                        matrix[target][predicted] += 1;
                        let of = [probabilities[target], probabilities[predicted]];
                        (target != predicted).then_some((target as f64, predicted as f64, of, -of[0].ln()))
                    }
                };
                if let Some((target, predicted, probabilities, score)) = found {
                    // What is no number is as bad as can be.
                    let score = if score.is_nan() { f64::INFINITY } else { score };
                    let place = mistakes.partition_point(|other| other.score >= score);
                    if place < worst {
                        let input = inputs.first().map(|input| input.row(i).to_vec()).unwrap_or_default();
                        mistakes
                            .insert(place, Mistake { score, index: count, input, target, predicted, probabilities });
                        mistakes.truncate(worst);
                    }
                }
                count += 1;
            }
            shape = inputs.first().map(|input| input.shape()[1..].to_vec()).unwrap_or_default();
        }
        feed.end();
        let mistakes = shown(&mistakes, &shape)?;
        if self.kind == Kind::Number {
            let n = count.max(1) as f64;
            // Evenly from all of them.
            let step = pairs.len().div_ceil(PAIRS).max(1);
            let pairs: Value = pairs.iter().step_by(step).map(|pair| json!(pair.map(number))).collect();
            let (mae, rmse) = (number(absolute / n), number((squares / n).sqrt()));
            return Ok(
                json!({ "kind": "values", "epoch": epoch, "count": count, "mae": mae, "rmse": rmse, "pairs": pairs, "mistakes": mistakes }),
            );
        }
        let correct: u64 = (0..classes).map(|i| matrix[i][i]).sum();
        Ok(json!({
            "kind": "classes", "epoch": epoch, "count": count, "correct": correct, "classes": self.names, "matrix": matrix,
            "mistakes": mistakes,
        }))
    }

    /// The class that a target says.
    fn label(&self, value: f32) -> Result<usize> {
        let classes = self.names.len();
        ensure!(
            value.fract() == 0.0 && value >= 0.0 && (value as usize) < classes,
            Data,
            "a target is {value}; with {classes} classes labels are whole numbers from 0 to {}",
            classes.saturating_sub(1)
        );
        Ok(value as usize)
    }

    /// The true class, the predicted one, and the probabilities of all.
    fn classes(&self, target: &[f32], output: &[f32]) -> Result<(usize, usize, Vec<f64>)> {
        let largest = |row: &[f32]| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        if let Kind::Binary { threshold, logits } = self.kind {
            // Hinge losses have -1 for class 0, and both may be smoothed.
            let target = usize::from(target[0] > if target[0] < 0.0 { 0.0 } else { 0.5 });
            let z = f64::from(output[0]);
            let p = if logits { 1.0 / (1.0 + (-z).exp()) } else { z };
            return Ok((target, usize::from(output[0] > threshold), vec![1.0 - p, p]));
        }
        let target = if target.len() == 1 { self.label(target[0])? } else { largest(target) };
        let sum: f64 = output.iter().map(|v| f64::from(*v)).sum();
        let probabilities = if (sum - 1.0).abs() < 1e-3 && output.iter().all(|v| *v >= 0.0) {
            output.iter().map(|v| f64::from(*v)).collect()
        } else {
            let most = f64::from(output[largest(output)]);
            let powers: Vec<f64> = output.iter().map(|v| (f64::from(*v) - most).exp()).collect();
            let sum: f64 = powers.iter().sum();
            powers.into_iter().map(|power| power / sum).collect()
        };
        Ok((target, largest(output), probabilities))
    }
}

/// The mistakes as the page shows them, for inputs of this shape.
fn shown(mistakes: &[Mistake], shape: &[usize]) -> Result<Value> {
    let size = match *shape {
        [height, width] if height == width && height >= 8 => Some((height, width, 1)),
        [height, width, channels @ (1 | 3)] => Some((height, width, channels)),
        _ => None,
    };
    let (low, high) = picture::range_of(mistakes.iter().flat_map(|mistake| mistake.input.iter().copied()));
    let scale = if high > low { 255.0 / (high - low) } else { 0.0 };
    let one = |mistake: &Mistake| -> Result<Value> {
        let Mistake { index, target, predicted, probabilities: [of_target, of_predicted], input, .. } = mistake;
        let mut shown = json!({
            "index": index, "target": number(*target), "predicted": number(*predicted), "of_target": number(*of_target),
            "of_predicted": number(*of_predicted),
        });
        match size {
            Some((height, width, channels)) => {
                let pixel = |value: f32| ((value - low) * scale).clamp(0.0, 255.0);
                let (pixels, height, width) = smaller(input, (height, width, channels), pixel);
                let png = picture::png(width, height, channels, &pixels);
                let png = png.map_err(|source| Error::io("the report's picture", source))?;
                shown["image"] = format!("data:image/png;base64,{}", picture::base64(&png)).into();
                shown["small"] = (height.max(width) < LONGEST / 2).into();
            }
            None => {
                shown["values"] = input.iter().take(VALUES).map(|value| number(f64::from(*value))).collect();
                shown["more"] = (input.len() > VALUES).into();
            }
        }
        Ok(shown)
    };
    mistakes.iter().map(one).collect()
}

/// An image as bytes; of a large one the means of squares of pixels.
fn smaller(
    image: &[f32],
    (height, width, channels): (usize, usize, usize),
    pixel: impl Fn(f32) -> f32,
) -> (Vec<u8>, usize, usize) {
    let side = height.max(width).div_ceil(LONGEST).max(1);
    let (rows, columns) = ((height / side).max(1), (width / side).max(1));
    let mut bytes = Vec::with_capacity(rows * columns * channels);
    for i in 0..rows * columns * channels {
        let (place, channel) = (i / channels, i % channels);
        let (top, left) = (place / columns * side, place % columns * side);
        let (bottom, right) = ((top + side).min(height), (left + side).min(width));
        let cells = (top..bottom).flat_map(|r| (left..right).map(move |c| image[(r * width + c) * channels + channel]));
        let sum: f32 = cells.map(&pixel).sum();
        bytes.push((sum / ((bottom - top) * (right - left)) as f32).round() as u8);
    }
    (bytes, rows, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_black_to_white_in_their_range() {
        let image = |input: Vec<f32>| {
            let mistake =
                Mistake { score: 1.0, index: 0, input, target: 0.0, predicted: 1.0, probabilities: [0.1, 0.9] };
            shown(&[mistake], &[1, 3, 1]).unwrap()[0]["image"].clone()
        };
        let expected = |pixels: [u8; 3]| {
            let png = picture::png(3, 1, 1, &pixels).unwrap();
            Value::from(format!("data:image/png;base64,{}", picture::base64(&png)))
        };
        // Those of the digits reach from 0 to 16.
        assert_eq!(image(vec![0.0, 8.0, 16.0]), expected([0, 128, 255]));
        assert_eq!(image(vec![0.0, 8.0, 160.0]), expected([0, 8, 160]));
        assert_eq!(image(vec![0.0, 0.2, 0.4]), expected([0, 51, 102]));
        assert_eq!(image(vec![-1.0, 0.0, 1.0]), expected([0, 128, 255]));
    }

    #[test]
    fn large_images_become_small_by_means() {
        let image: Vec<f32> = (0..400 * 200).map(|i| if i / 200 % 3 == 0 { 90.0 } else { 0.0 }).collect();
        let (bytes, rows, columns) = smaller(&image, (400, 200, 1), |v| v);
        assert_eq!((rows, columns), (133, 66));
        assert!(bytes.iter().all(|byte| *byte == 30));
        let (bytes, rows, columns) = smaller(&[0.0, 0.5, 1.0, 0.25, 0.0, 1.0], (1, 2, 3), |v| 255.0 * v);
        assert_eq!((bytes, rows, columns), (vec![0, 128, 255, 64, 0, 255], 1, 2));
    }
}
