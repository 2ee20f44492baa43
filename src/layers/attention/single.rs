//! Attention of one head, without projections.

use super::super::dropout::{drop_gradients, drop_values};
use super::flag;
use super::heads::Heads;
use super::pairs::Pairs;
use super::visible::Visible;
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Arguments, Backward, Build, Forward, Gradients, Layer, Param, Values};
use crate::random::check_rate;
use crate::shape::Shape;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// How a query and a key are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScoreMode {
    /// By their dot product.
    #[default]
    Dot,
    /// By the sum over features of `tanh(query + key)`.
    Concat,
}

/// Weighs values by how much their keys resemble a query (Keras: `Attention`; Luong et al. 2015).
///
/// Inputs: query `(batch, queries, size)`, value `(batch, keys, value_size)` and key `(batch, keys, size)`; without a
/// key the value is it. Output `(batch, queries, value_size)`: `softmax(scores) · value`, where the scores are
/// `query · keyᵀ`, not divided by anything. Defaults: dot products, no scale, no dropout.
///
/// A mask of the value hides steps from all queries; where the query's mask does not count the output is 0, and it is
/// the mask of the output. Arguments of a call: `use_causal_mask` (query `i` sees keys up to `i`),
/// `return_attention_scores` (a second output, `(batch, queries, keys)`), `mask` (the query's and the value's).
///
/// ```
/// use cornu::prelude::*;
/// use cornu::Shape;
/// let shapes = [Shape::batch_of([3, 8]), Shape::batch_of([5, 8])];
/// assert_eq!(Attention::new().output_shapes(&shapes)?[0].to_string(), "(None, 3, 8)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attention {
    use_scale: bool,
    score_mode: ScoreMode,
    dropout: f64,
    seed: Option<u64>,
    #[serde(skip)]
    scale: Option<Param>,
    #[serde(skip)]
    concat_score_weight: Option<Param>,
}

/// Weighs values by `Σ scale · tanh(query + key)` (Keras: `AdditiveAttention`; Bahdanau et al. 2015), else as
/// [`Attention`]. Default: with a scale to learn, one number for each feature.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct AdditiveAttention {
    use_scale: bool,
    dropout: f64,
    seed: Option<u64>,
    #[serde(skip)]
    scale: Option<Param>,
}

impl Default for AdditiveAttention {
    fn default() -> Self {
        AdditiveAttention { use_scale: true, dropout: 0.0, seed: None, scale: None }
    }
}

macro_rules! builders {
    ($class:ident, $scale:literal) => {
        impl $class {
            /// With the defaults.
            pub fn new() -> Self {
                Self::default()
            }

            #[doc = $scale]
            pub fn use_scale(mut self, use_scale: bool) -> Self {
                self.use_scale = use_scale;
                self
            }

            /// The share of the scores that is dropped in training. Default: 0.
            pub fn dropout(mut self, dropout: f64) -> Self {
                self.dropout = dropout;
                self
            }

            /// A seed of the layer's own for what is dropped. Default: the model's.
            pub fn seed(mut self, seed: u64) -> Self {
                self.seed = Some(seed);
                self
            }
        }
    };
}

builders!(Attention, "Whether the scores are multiplied by a number to learn. Default: false.");
builders!(AdditiveAttention, "Whether each feature is multiplied by a number to learn. Default: true.");

impl Attention {
    /// How queries and keys are compared. Default: by dot products.
    pub fn score_mode(mut self, score_mode: ScoreMode) -> Self {
        self.score_mode = score_mode;
        self
    }
}

/// The score functions, with the values of their weights.
enum Scores {
    Dot { scale: Option<f32> },
    Pairs(Pairs),
}

/// What the two layers share.
struct Single<'a> {
    scores: Scores,
    dropout: f64,
    seed: Option<u64>,
    /// The weights of the features, of the product or the inner sum, and of the outer sum.
    weights: [Option<&'a Param>; 3],
}

fn number(param: &Option<Param>) -> Option<f32> {
    param.as_ref().map(|param| param.value().data()[0])
}

impl Attention {
    fn single(&self) -> Single<'_> {
        let scale = number(&self.scale);
        let scores = match self.score_mode {
            ScoreMode::Dot => Scores::Dot { scale },
            ScoreMode::Concat => Scores::Pairs(Pairs {
                weight: None,
                inner: scale.unwrap_or(1.0),
                outer: number(&self.concat_score_weight).unwrap_or(1.0),
            }),
        };
        Single { scores, dropout: self.dropout, seed: self.seed, weights: self.weights() }
    }

    fn weights(&self) -> [Option<&Param>; 3] {
        [None, self.scale.as_ref(), self.concat_score_weight.as_ref()]
    }
}

impl AdditiveAttention {
    fn single(&self) -> Single<'_> {
        let weight = self.scale.as_ref().map(Param::value);
        let scores = Scores::Pairs(Pairs { weight, inner: 1.0, outer: 1.0 });
        Single { scores, dropout: self.dropout, seed: self.seed, weights: self.weights() }
    }

    fn weights(&self) -> [Option<&Param>; 3] {
        [self.scale.as_ref(), None, None]
    }
}

/// How many of the inputs are query, value and key: masks given by hand stand behind them.
fn plain(inputs: usize, arguments: &Arguments) -> Result<usize> {
    let named: usize = arguments.tensors.iter().map(|(_, places)| places.len()).sum();
    let plain = inputs.saturating_sub(named);
    ensure!(
        (2..=3).contains(&plain),
        Argument,
        "it takes query and value, or query, value and key; got {plain} inputs"
    );
    Ok(plain)
}

fn output_shapes(inputs: &[Shape], arguments: &Arguments) -> Result<Vec<Shape>> {
    let inputs = &inputs[..plain(inputs.len(), arguments)?];
    let (query, value) = (&inputs[0], &inputs[1]);
    let key = inputs.get(2).unwrap_or(value);
    let differ = |a: Option<usize>, b: Option<usize>| a.zip(b).is_some_and(|(a, b)| a != b);
    ensure!(
        inputs.iter().all(|shape| shape.rank() == 3)
            && !differ(query.last(), key.last())
            && !differ(value.get(1), key.get(1)),
        Shape,
        "query {query}, value {value} and key {key} do not fit; expected (batch, queries, size), \
         (batch, keys, value_size) and (batch, keys, size)"
    );
    let with = |shape: &Shape, last: Option<usize>| Shape::new([shape.dims()[0], shape.dims()[1], last]);
    let mut shapes = vec![with(query, value.last())];
    if flag(arguments, "return_attention_scores") {
        shapes.push(with(query, key.get(1)));
    }
    Ok(shapes)
}

impl Single<'_> {
    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let shapes: Vec<Shape> = inputs.iter().map(|x| Shape::from(x.shape())).collect();
        output_shapes(&shapes, cx.arguments())?;
        let n = plain(inputs.len(), cx.arguments())?;
        let (q, v) = (&inputs[0], &inputs[1]);
        let k = if n == 3 { &inputs[2] } else { v };
        let sizes = Heads {
            batch: q.batch(),
            queries: q.shape()[1],
            keys: k.shape()[1],
            heads: 1,
            groups: 1,
            size: q.last(),
            value_size: v.last(),
        };
        ensure!(
            v.batch() == sizes.batch && k.batch() == sizes.batch,
            Shape,
            "query, value and key are of {}, {} and {} samples",
            sizes.batch,
            v.batch(),
            k.batch()
        );
        let [query_mask, value_mask] = self.masks(&inputs, cx)?;
        let causal = flag(cx.arguments(), "use_causal_mask");
        let visible = Visible { keys: [value_mask, None], causal, ..Visible::default() };
        visible.check([sizes.batch, 1, sizes.queries, sizes.keys])?;
        let finish = |at: [usize; 3], row: &mut [f32], after: bool| {
            if !after && !visible.all() {
                visible.hide(at, row, |score| *score -= 1e9);
            }
        };
        let scores = match &self.scores {
            Scores::Dot { scale } => sizes.scores(q, k, scale.unwrap_or(1.0), cx, finish),
            Scores::Pairs(pairs) => pairs.scores(&sizes, q, k, cx, finish),
        };
        cx.save(q.clone());
        cx.save(k.clone());
        cx.save(scores.clone());
        let weights = drop_values(scores, self.dropout, self.seed, None, cx)?;
        let mut y = sizes.weigh(&weights, v, cx);
        cx.save(v.clone());
        cx.save(weights.clone());
        if let Some(mask) = &query_mask {
            ensure!(
                mask.shape() == [sizes.batch, sizes.queries],
                Shape,
                "the mask of the query has shape {:?}, the query {:?}",
                mask.shape(),
                q.shape()
            );
            keep(&mut y, mask);
            cx.save(mask.clone());
        }
        cx.save_shape(&[n, usize::from(query_mask.is_some())]);
        cx.save_shape(&sizes.to_array());
        let y = y.reshape([sizes.batch, sizes.queries, sizes.value_size])?;
        if flag(cx.arguments(), "return_attention_scores") {
            cx.set_masks([query_mask, None]);
            return Ok([y, weights.reshape([sizes.batch, sizes.queries, sizes.keys])?].into_iter().collect());
        }
        cx.set_masks([query_mask]);
        Ok(y.into())
    }

    /// The masks of query and value: those of the inputs, or those that are given by hand.
    fn masks(&self, inputs: &[Tensor], cx: &Forward<'_>) -> Result<[Option<Tensor>; 2]> {
        match cx.arguments().tensors.as_slice() {
            [] => Ok([cx.mask(0).cloned(), cx.mask(1).cloned()]),
            [(name, places)] if name == "mask" && places.len() >= 2 => {
                Ok([0, 1].map(|i| inputs.get(places[i]).cloned()))
            }
            other => {
                let names: Vec<&str> = other.iter().map(|(name, _)| name.as_str()).collect();
                Err(Error::Argument(format!(
                    "of inputs given by name it takes 'mask' alone, the masks of query and value; got {names:?}"
                )))
            }
        }
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let mut gradients = gradients.into_iter();
        let mut dy = gradients.next().ok_or_else(|| Error::Argument("there is no gradient".to_owned()))?;
        let of_scores = gradients.next();
        let sizes = Heads::from_slice(&cx.restore_shape()?)?;
        let saved = cx.restore_shape()?;
        if saved[1] == 1 {
            keep(&mut dy, &cx.restore()?);
        }
        let (weights, v) = (cx.restore()?, cx.restore()?);
        let [mut dscores, dv] = sizes.weigh_backward(&weights, &v, &dy, cx);
        if let Some(of_scores) = of_scores {
            let of_scores = of_scores.reshape(dscores.shape())?;
            dscores = dscores.zip_map(&of_scores, |a, b| a + b)?;
        }
        let mut dscores = drop_gradients(dscores, self.dropout, cx)?;
        let (scores, k, q) = (cx.restore()?, cx.restore()?, cx.restore()?);
        sizes.softmax_backward(&scores, &mut dscores, |_, _| ());
        let (dq, dk) = match &self.scores {
            Scores::Dot { scale } => {
                let [mut dq, mut dk] = sizes.product_backward(&dscores, &q, &k, 1.0, cx);
                if let (Some(scale), Some(param)) = (scale, self.weights[1]) {
                    if let Some(gradient) = cx.gradient(param) {
                        gradient[0] += crate::kernels::reduce::dot(q.data(), dq.data()) as f32;
                    }
                    (dq, dk) = (dq.map(|g| g * scale), dk.map(|g| g * scale));
                }
                (dq, dk)
            }
            Scores::Pairs(pairs) => {
                let all = pairs.backward(&sizes, &dscores, &q, &k, cx);
                let mut add = |param: Option<&Param>, sums: &[f64]| {
                    if let Some(gradient) = param.and_then(|param| cx.gradient(param)) {
                        gradient.iter_mut().zip(sums).for_each(|(g, sum)| *g += *sum as f32);
                    }
                };
                add(self.weights[0], &all.weight);
                add(self.weights[1], &[all.inner]);
                add(self.weights[2], &[all.outer]);
                (all.query, all.key)
            }
        };
        let (dq, dk, dv) = (dq.reshape(q.shape())?, dk.reshape(k.shape())?, dv.reshape(v.shape())?);
        if saved[0] == 3 {
            return Ok([Some(dq), Some(dv), Some(dk)].into_iter().collect());
        }
        Ok([Some(dq), Some(dv.zip_map(&dk, |a, b| a + b)?)].into_iter().collect())
    }
}

/// Sets the steps that do not count to 0.
fn keep(y: &mut Tensor, mask: &Tensor) {
    let size = y.len() / mask.len().max(1);
    let steps = y.data_mut().chunks_exact_mut(size.max(1)).zip(mask.data());
    steps.filter(|(_, mask)| **mask == 0.0).for_each(|(y, _)| y.fill(0.0));
}

/// A pair of a query and a key takes a sum over the size of the query, and one more for the output.
fn flops(inputs: &[Shape]) -> f64 {
    let size = |input: usize, axis: usize| inputs.get(input).and_then(|shape| shape.get(axis)).unwrap_or(1) as f64;
    2.0 * size(0, 1) * size(1, 1) * (size(0, 2) + size(1, 2))
}

macro_rules! layer {
    ($class:ident, $build:expr) => {
        impl Layer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn check(&self) -> Result<()> {
                check_rate("dropout", self.dropout)
            }
            fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
                output_shapes(inputs, &Arguments::default())
            }
            fn call_shapes(&self, inputs: &[Shape], arguments: &Arguments) -> Result<Vec<Shape>> {
                output_shapes(inputs, arguments)
            }
            fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
                let build: fn(&mut $class, &[Shape], &mut Build) -> Result<()> = $build;
                build(self, inputs, cx)
            }
            fn supports_masking(&self) -> bool {
                true
            }
            fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
                flops(inputs)
            }
            fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
                self.single().forward(inputs, cx)
            }
            fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
                self.single().backward(gradients, cx)
            }
            fn visit(&self, visit: &mut dyn FnMut(&Param)) {
                self.weights().into_iter().flatten().for_each(visit);
            }
        }
    };
}

layer!(Attention, |layer, _, cx| {
    let ones = "ones".into();
    let mut number = |name| cx.weight(name, &[], &ones, &None, &None);
    layer.scale = layer.use_scale.then(|| number("scale")).transpose()?;
    layer.concat_score_weight =
        (layer.score_mode == ScoreMode::Concat).then(|| number("concat_score_weight")).transpose()?;
    Ok(())
});

layer!(AdditiveAttention, |layer, inputs, cx| {
    layer.scale = None;
    if layer.use_scale {
        let size = inputs.first().and_then(Shape::last);
        let size =
            size.ok_or_else(|| Error::Shape("the size of the query, its last dimension, must be known".into()))?;
        layer.scale = Some(cx.weight("scale", &[size], &"glorot_uniform".into(), &None, &None)?);
    }
    Ok(())
});
