//! A recurrent layer in both directions.

use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::kernels::reduce::add;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, LayerHandle, Param, Values};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Two recurrent layers over the same sequence, one from the start and one from the end (Keras: `Bidirectional`;
/// Schuster & Paliwal 1997).
///
/// Input `(batch, time, features)`. The second layer is a copy of the first with `go_backwards`, unless
/// [`backward_layer`](Self::backward_layer) gives another; where sequences are returned, its own is turned round before
/// the two are merged: one after the other by default, so that there are twice as many features. Initial states are
/// further inputs, and states further outputs, those of the first layer first. Where sequences are returned, steps
/// that a mask leaves out are zeros.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([10, 3])).add(Bidirectional::new(LSTM::new(8).return_sequences(true)));
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 10, 16)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Bidirectional {
    merge_mode: Option<Merge>,
    layer: LayerHandle,
    backward_layer: LayerHandle,
    #[serde(skip)]
    options: Options,
    /// What is wrong with the layers.
    #[serde(skip)]
    fault: Option<String>,
}

/// How the outputs of both directions become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// One after the other.
    #[default]
    Concat,
    /// Their sum.
    Sum,
    /// Their product.
    Mul,
    /// Their mean.
    Ave,
}

/// What must be equal in both layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Options {
    return_sequences: bool,
    return_state: bool,
    stateful: bool,
}

/// As in Keras' configurations. An absent mode is the default; one of null means that nothing is merged.
#[derive(Deserialize)]
struct Fields {
    #[serde(default = "concat")]
    merge_mode: Option<Merge>,
    layer: LayerHandle,
    #[serde(default)]
    backward_layer: Option<LayerHandle>,
}

fn concat() -> Option<Merge> {
    Some(Merge::Concat)
}

impl TryFrom<Fields> for Bidirectional {
    type Error = Error;
    fn try_from(fields: Fields) -> Result<Self> {
        Bidirectional::of(fields.layer, fields.backward_layer, fields.merge_mode)
    }
}

impl Bidirectional {
    /// This recurrent layer, and a copy of it that goes backwards. It must have a configuration.
    pub fn new(layer: impl Into<LayerHandle>) -> Self {
        let layer = layer.into();
        if layer.name().is_empty() {
            layer.set_name(config::snake_case(&layer.class_name()));
        }
        Self::kept(Self::of(layer.clone(), None, concat()), layer)
    }

    /// Another layer for the way back, with `go_backwards`.
    pub fn backward_layer(self, backward_layer: impl Into<LayerHandle>) -> Self {
        let backward_layer = backward_layer.into();
        if backward_layer.name().is_empty() {
            let name = self.layer.name();
            backward_layer.set_name(format!("backward_{}", name.trim_start_matches("forward_")));
        }
        let made = Self::of(self.layer.clone(), Some(backward_layer), self.merge_mode);
        Self::kept(made, self.layer)
    }

    /// How the outputs become one; none: they stay two. Default: [`Merge::Concat`].
    pub fn merge_mode(mut self, merge_mode: impl Into<Option<Merge>>) -> Self {
        self.merge_mode = merge_mode.into();
        self
    }

    /// The same, with a fault kept until it is built.
    fn kept(made: Result<Self>, layer: LayerHandle) -> Self {
        made.unwrap_or_else(|fault| Bidirectional {
            merge_mode: concat(),
            backward_layer: layer.clone(),
            layer,
            options: Options::default(),
            fault: Some(fault.to_string()),
        })
    }

    fn of(layer: LayerHandle, backward: Option<LayerHandle>, merge_mode: Option<Merge>) -> Result<Self> {
        let (layer, options, forwards) = copy(&layer, "forward_", false)?;
        let (backward_layer, other, backwards) = match &backward {
            Some(backward) => copy(backward, "", false)?,
            None => copy(&layer, "backward_", true)?,
        };
        ensure!(
            forwards != backwards && options == other,
            Argument,
            "the two layers must differ in go_backwards, and not in return_sequences, return_state and stateful"
        );
        Ok(Bidirectional { merge_mode, layer, backward_layer, options, fault: None })
    }

    /// The outputs without states.
    fn outputs(&self) -> usize {
        if self.merge_mode.is_some() { 1 } else { 2 }
    }
}

/// A new layer of the same configuration, which leaves out masked steps where it returns sequences; its options, and
/// whether it goes backwards.
fn copy(layer: &LayerHandle, prefix: &str, backwards: bool) -> Result<(LayerHandle, Options, bool)> {
    let unfit = |error: serde_json::Error| Error::NotSerializable(error.to_string());
    let mut value = serde_json::to_value(layer).map_err(unfit)?;
    let config = value.get_mut("config").and_then(Value::as_object_mut);
    let Some(config) = config.filter(|config| config.contains_key("go_backwards")) else {
        return Err(Error::Argument(format!(
            "{} is not a recurrent layer: it cannot go backwards",
            layer.class_name()
        )));
    };
    if !prefix.is_empty() {
        let name = layer.name();
        let bare = name.trim_start_matches("forward_").trim_start_matches("backward_");
        config.insert("name".to_owned(), format!("{prefix}{bare}").into());
    }
    if backwards {
        config.insert("go_backwards".to_owned(), true.into());
    }
    let sequences = config.get("return_sequences").cloned().unwrap_or_default();
    if config.contains_key("zero_output_for_mask") {
        config.insert("zero_output_for_mask".to_owned(), sequences);
    }
    let backwards = config["go_backwards"] == Value::Bool(true);
    let options = config::from_config(config.clone())?;
    Ok((serde_json::from_value(value).map_err(unfit)?, options, backwards))
}

/// The sequence `(batch, time, …)` from its last step to its first.
fn reversed(x: &Tensor) -> Tensor {
    let mut y = x.sibling(x.shape());
    let sample = x.len() / x.batch().max(1);
    let step = sample / x.shape()[1].max(1);
    if x.is_empty() {
        return y;
    }
    for (y, x) in y.data_mut().chunks_exact_mut(sample).zip(x.data().chunks_exact(sample)) {
        for (y, x) in y.chunks_exact_mut(step).zip(x.chunks_exact(step).rev()) {
            y.copy_from_slice(x);
        }
    }
    y
}

/// One row of `a` and one of `b`, in turn.
fn side_by_side(a: &Tensor, b: &Tensor) -> Tensor {
    let mut dims = Dims::from_slice(a.shape());
    if let Some(last) = dims.last_mut() {
        *last += b.last();
    }
    let mut y = a.sibling(&dims);
    let rows = a.data().chunks_exact(a.last().max(1)).zip(b.data().chunks_exact(b.last().max(1)));
    for (y, (a, b)) in y.data_mut().chunks_exact_mut((a.last() + b.last()).max(1)).zip(rows) {
        y[..a.len()].copy_from_slice(a);
        y[a.len()..].copy_from_slice(b);
    }
    y
}

/// The first `width` values of each row, and the others.
fn apart(y: &Tensor, width: usize) -> [Tensor; 2] {
    let part = |from: usize, width: usize| {
        let mut dims = Dims::from_slice(y.shape());
        if let Some(last) = dims.last_mut() {
            *last = width;
        }
        let mut x = y.sibling(&dims);
        let rows = x.data_mut().chunks_exact_mut(width.max(1)).zip(y.data().chunks_exact(y.last().max(1)));
        rows.for_each(|(x, y)| x.copy_from_slice(&y[from..][..width]));
        x
    };
    [part(0, width), part(width, y.last() - width)]
}

impl Layer for Bidirectional {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(Error::Argument(fault.clone())),
            None => Ok(()),
        }
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let [forward, backward] = self.split(inputs)?;
        let mut ahead = self.layer.output_shapes(&forward)?;
        let mut back = self.backward_layer.output_shapes(&backward)?;
        let (y, z) = (ahead.remove(0), back.remove(0));
        let merged = match self.merge_mode {
            None => vec![y, z],
            Some(Merge::Concat) => {
                let last = y.last().zip(z.last()).map(|(y, z)| y + z);
                vec![last.map_or_else(|| y.clone(), |last| y.with_last(last))]
            }
            Some(_) => {
                ensure!(y == z, Shape, "outputs of shapes {y} and {z} cannot be merged by {:?}", self.merge_mode);
                vec![y]
            }
        };
        Ok(merged.into_iter().chain(ahead).chain(back).collect())
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let [forward, backward] = self.split(inputs)?;
        self.layer.build_as("forward_layer", &forward, cx)?;
        self.backward_layer.build_as("backward_layer", &backward, cx)
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        let Ok(split) = self.split(inputs) else { return 0.0 };
        let layers = [&self.layer, &self.backward_layer];
        let flops = |(layer, inputs): (&LayerHandle, Vec<Shape>)| {
            let outputs = layer.output_shapes(&inputs).unwrap_or_default();
            layer.layer().flops(&inputs, &outputs)
        };
        layers.into_iter().zip(split).map(flops).sum()
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let [forward, backward] = self.split(&inputs)?;
        let passed = cx.mask(0).cloned();
        let count = inputs.len();
        // As in Keras, a call with initial states sees no mask, unless it is given by hand.
        let mask = passed.clone().filter(|_| count == 1 || cx.arguments().masked);
        drop(inputs);
        let (ahead, _) = cx.wrapped(0, &self.layer, forward.into_iter().collect(), [mask.clone()])?;
        let (back, _) = cx.wrapped(1, &self.backward_layer, backward.into_iter().collect(), [mask])?;
        let (mut ahead, mut back) = (ahead.into_iter(), back.into_iter());
        let (y, mut z) = (ahead.next().unwrap_or_default(), back.next().unwrap_or_default());
        if self.options.return_sequences {
            z = reversed(&z);
        }
        cx.save_shape(&[count, y.last(), ahead.len()]);
        let merged = match self.merge_mode {
            None => vec![y, z],
            Some(Merge::Concat) => vec![side_by_side(&y, &z)],
            Some(Merge::Sum) => vec![y.zip_map(&z, |y, z| y + z)?],
            Some(Merge::Ave) => vec![y.zip_map(&z, |y, z| (y + z) / 2.0)?],
            Some(Merge::Mul) => {
                cx.save(y.clone());
                cx.save(z.clone());
                vec![y.zip_map(&z, |y, z| y * z)?]
            }
        };
        let sequences = passed.filter(|_| self.options.return_sequences);
        let outputs: Values = merged.into_iter().chain(ahead).chain(back).collect();
        let mask_of = |i: usize| sequences.clone().filter(|_| i < self.outputs());
        cx.set_masks((0..outputs.len()).map(mask_of).collect::<Vec<_>>());
        Ok(outputs)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let mut gradients = gradients.into_iter();
        let d = gradients.next().unwrap_or_default();
        let (z, y) = match self.merge_mode {
            Some(Merge::Mul) => (cx.restore()?, cx.restore()?),
            _ => Default::default(),
        };
        let shape = cx.restore_shape()?;
        let (count, width, states) = (shape[0], shape[1], shape[2]);
        let [dy, mut dz] = match self.merge_mode {
            None => [d, gradients.next().unwrap_or_default()],
            Some(Merge::Concat) => apart(&d, width),
            Some(Merge::Sum) => [d.clone(), d],
            Some(Merge::Ave) => {
                let half = d.map(|d| d / 2.0);
                [half.clone(), half]
            }
            Some(Merge::Mul) => [d.clone().zip_map(&z, |d, z| d * z)?, d.zip_map(&y, |d, y| d * y)?],
        };
        if self.options.return_sequences {
            dz = reversed(&dz);
        }
        let ahead: Vec<Option<Tensor>> = std::iter::once(dy).chain(gradients.by_ref().take(states)).map(Some).collect();
        let back: Vec<Option<Tensor>> = std::iter::once(dz).chain(gradients).map(Some).collect();
        let wanted = |from: usize| -> Vec<bool> {
            let half = count / 2;
            std::iter::once(cx.wants(0)).chain((0..half).map(|i| cx.wants(1 + from * half + i))).collect()
        };
        let (forward, backward) = (wanted(0), wanted(1));
        // The one that was called last comes first.
        let mut back = cx.wrapped(&self.backward_layer, back, &backward)?.into_iter();
        let mut ahead = cx.wrapped(&self.layer, ahead, &forward)?.into_iter();
        let dx = match (ahead.next().flatten(), back.next().flatten()) {
            (Some(mut dx), Some(other)) => {
                add(dx.data_mut(), other.data());
                Some(dx)
            }
            (dx, other) => dx.or(other),
        };
        Ok(std::iter::once(dx).chain(ahead).chain(back).collect())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.layer.visit(visit);
        self.backward_layer.visit(visit);
    }

    fn reset_states(&self) {
        self.layer.layer().reset_states();
        self.backward_layer.layer().reset_states();
    }

    fn carries_states(&self) -> bool {
        self.options.stateful
    }

    fn visit_states(&self, visit: &mut dyn FnMut(&Param)) {
        self.layer.layer().visit_states(visit);
        self.backward_layer.layer().visit_states(visit);
    }

    fn couples_samples(&self) -> bool {
        self.options.stateful
    }
}

impl Bidirectional {
    /// The inputs of each layer: the sequence, and its half of the initial states.
    fn split<T: Clone>(&self, inputs: &[T]) -> Result<[Vec<T>; 2]> {
        let Some((sequence, states)) = inputs.split_first() else {
            return Err(Error::Argument("expected a sequence, got no input".to_owned()));
        };
        ensure!(
            states.len().is_multiple_of(2),
            Argument,
            "got {} initial states; they must be as many for each direction",
            states.len()
        );
        let (ahead, back) = states.split_at(states.len() / 2);
        let one = |states: &[T]| std::iter::once(sequence).chain(states).cloned().collect();
        Ok([one(ahead), one(back)])
    }
}
