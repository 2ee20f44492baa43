//! Attention of several heads, with projections before and after it.

use super::super::dropout::{drop_gradients, drop_values};
use super::super::permute::{inverse, transpose};
use super::super::{broadcast, weight_builders};
use super::heads::Heads;
use super::projection::{Projection, Weights};
use super::visible::Visible;
use super::{flag, places};
use crate::Activation;
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Context, Error, Result, ensure};
use crate::initializers::Initializer;
use crate::layer::{Arguments, Backward, Build, Forward, Gradients, Layer, Param, Values, flops};
use crate::random::check_rate;
use crate::regularizers::Regularizer;
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Deserializer, Serialize};

/// Attention of several heads side by side (Keras: `MultiHeadAttention`; Vaswani et al. 2017).
///
/// Inputs: query `(batch, queries, …)`, value and key `(batch, keys, …)`; without a key the value is it. Each is
/// projected to `num_heads` heads of `key_dim` (value: `value_dim`) features; each head weighs the values by
/// `softmax(query · keyᵀ / sqrt(key_dim))`, and all heads are projected together to the output, which is
/// `(batch, queries, features of the query)`, or of `output_shape`. Defaults: biases, no dropout, attention over all
/// axes between the batch and the features, kernels `glorot_uniform`.
///
/// Arguments of a call, as in Keras: `use_causal_mask` (query `i` sees keys up to `i`), `return_attention_scores` (a
/// second output, `(batch, heads, queries, keys)`), and as further inputs by name `attention_mask`,
/// `(batch, queries, keys)` or `(batch, heads, queries, keys)`, 1 where a query sees a key, `value_mask` and
/// `key_mask`. The masks of the inputs hide steps too, that of the query is the output's. A query that sees nothing
/// gets the mean of all values; where Keras computes the scores themselves (with dropout or
/// `return_attention_scores`) it gets nothing.
///
/// ```
/// use cornu::prelude::*;
/// use cornu::Shape;
/// let shapes = [Shape::batch_of([10, 64]), Shape::batch_of([20, 64])];
/// assert_eq!(MultiHeadAttention::new(8, 16).output_shapes(&shapes)?[0].to_string(), "(None, 10, 64)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct MultiHeadAttention {
    num_heads: usize,
    key_dim: usize,
    value_dim: Option<usize>,
    dropout: f64,
    use_bias: bool,
    use_gate: bool,
    #[serde(deserialize_with = "one_or_more")]
    output_shape: Option<Vec<usize>>,
    #[serde(deserialize_with = "one_or_more")]
    attention_axes: Option<Vec<isize>>,
    sliding_window: Option<usize>,
    kernel_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    kernel_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    kernel_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    seed: Option<u64>,
    #[serde(skip)]
    projections: Projections,
}

/// As [`MultiHeadAttention`], where several heads of queries share one of keys and values (Keras:
/// `GroupQueryAttention`; Ainslie et al. 2023). Inputs are `(batch, steps, features)`, all of as many features.
///
/// ```
/// use cornu::prelude::*;
/// use cornu::Shape;
/// let shapes = [Shape::batch_of([10, 64]), Shape::batch_of([20, 64])];
/// assert_eq!(GroupQueryAttention::new(16, 8, 2).output_shapes(&shapes)?[0].to_string(), "(None, 10, 64)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupQueryAttention {
    head_dim: usize,
    num_query_heads: usize,
    num_key_value_heads: usize,
    dropout: f64,
    use_bias: bool,
    use_gate: bool,
    sliding_window: Option<usize>,
    kernel_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    kernel_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    kernel_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    seed: Option<u64>,
    #[serde(skip)]
    projections: Projections,
}

/// A number, or a list of them.
fn one_or_more<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore<T> {
        One(T),
        More(Vec<T>),
    }
    let read = Option::<OneOrMore<T>>::deserialize(deserializer)?;
    Ok(read.map(|read| match read {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    }))
}

impl Default for MultiHeadAttention {
    fn default() -> Self {
        MultiHeadAttention {
            num_heads: 0,
            key_dim: 0,
            value_dim: None,
            dropout: 0.0,
            use_bias: true,
            use_gate: false,
            output_shape: None,
            attention_axes: None,
            sliding_window: None,
            kernel_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            bias_constraint: None,
            seed: None,
            projections: Projections::default(),
        }
    }
}

impl Default for GroupQueryAttention {
    fn default() -> Self {
        GroupQueryAttention {
            head_dim: 0,
            num_query_heads: 0,
            num_key_value_heads: 0,
            dropout: 0.0,
            use_bias: true,
            use_gate: false,
            sliding_window: None,
            kernel_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            bias_constraint: None,
            seed: None,
            projections: Projections::default(),
        }
    }
}

macro_rules! builders {
    () => {
        /// The share of the scores that is dropped in training. Default: 0.
        pub fn dropout(mut self, dropout: f64) -> Self {
            self.dropout = dropout;
            self
        }

        /// Whether the heads' results are multiplied by `sigmoid` of another projection of the query. Default: false.
        pub fn use_gate(mut self, use_gate: bool) -> Self {
            self.use_gate = use_gate;
            self
        }

        /// Query `i` sees only keys less than this far from `i`. Default: all.
        pub fn sliding_window(mut self, sliding_window: usize) -> Self {
            self.sliding_window = Some(sliding_window);
            self
        }

        /// A seed of the layer's own for what is dropped. Default: the model's.
        pub fn seed(mut self, seed: u64) -> Self {
            self.seed = Some(seed);
            self
        }

        weight_builders!(kernel, bias);

        fn weights(&self) -> Weights<'_> {
            Weights {
                use_bias: self.use_bias,
                initializers: [&self.kernel_initializer, &self.bias_initializer],
                regularizers: [&self.kernel_regularizer, &self.bias_regularizer],
                constraints: [&self.kernel_constraint, &self.bias_constraint],
            }
        }
    };
}

impl MultiHeadAttention {
    /// So many heads, with queries and keys of `key_dim` features each.
    pub fn new(num_heads: usize, key_dim: usize) -> Self {
        MultiHeadAttention { num_heads, key_dim, ..Self::default() }
    }

    /// The features of a head's values. Default: `key_dim`.
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = Some(value_dim);
        self
    }

    /// The last axes of the output. Default: that of the query.
    pub fn output_shape(mut self, output_shape: impl Into<Vec<usize>>) -> Self {
        self.output_shape = Some(output_shape.into());
        self
    }

    /// The axes of the inputs over which queries see keys. Default: all between the batch and the features.
    pub fn attention_axes(mut self, attention_axes: impl Into<Vec<isize>>) -> Self {
        self.attention_axes = Some(attention_axes.into());
        self
    }

    builders!();

    fn setup(&self) -> Setup<'_> {
        Setup {
            projections: &self.projections,
            heads: self.num_heads,
            groups: self.num_heads,
            size: self.key_dim,
            value_size: self.value_dim.unwrap_or(self.key_dim),
            output_shape: self.output_shape.as_deref().filter(|shape| !shape.is_empty()),
            axes: self.attention_axes.as_deref(),
            window: self.sliding_window,
            dropout: self.dropout,
            seed: self.seed,
        }
    }
}

impl GroupQueryAttention {
    /// Heads of `head_dim` features, so many of queries and so many of keys and values, of which the first must be a
    /// multiple.
    pub fn new(head_dim: usize, num_query_heads: usize, num_key_value_heads: usize) -> Self {
        GroupQueryAttention { head_dim, num_query_heads, num_key_value_heads, ..Self::default() }
    }

    builders!();

    fn setup(&self) -> Setup<'_> {
        Setup {
            projections: &self.projections,
            heads: self.num_query_heads,
            groups: self.num_key_value_heads,
            size: self.head_dim,
            value_size: self.head_dim,
            output_shape: None,
            axes: None,
            window: self.sliding_window,
            dropout: self.dropout,
            seed: self.seed,
        }
    }
}

fn check(setup: &Setup<'_>, names: [&str; 2]) -> Result<()> {
    for (name, value) in names.into_iter().zip([setup.heads, setup.size]) {
        ensure!(value > 0, Argument, "{name} is 0; it must be at least 1");
    }
    ensure!(setup.value_size > 0, Argument, "value_dim is 0; it must be at least 1");
    ensure!(setup.window != Some(0), Argument, "sliding_window is 0; it must be at least 1");
    ensure!(
        setup.output_shape.is_none_or(|shape| shape.iter().all(|&size| size > 0)),
        Argument,
        "output_shape is {:?}; each size must be at least 1",
        setup.output_shape.unwrap_or(&[])
    );
    check_rate("dropout", setup.dropout)
}

macro_rules! layer {
    ($class:ident, $check:expr, $names:expr) => {
        impl Layer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn check(&self) -> Result<()> {
                let check: fn(&$class) -> Result<()> = $check;
                check(self)
            }
            fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
                self.call_shapes(inputs, &Arguments::default())
            }
            fn call_shapes(&self, inputs: &[Shape], arguments: &Arguments) -> Result<Vec<Shape>> {
                self.setup().output_shapes(inputs, arguments)
            }
            fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
                let setup = self.setup();
                self.projections = setup.build(inputs, self.use_gate, &self.weights(), $names, cx)?;
                Ok(())
            }
            fn supports_masking(&self) -> bool {
                true
            }
            fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
                self.setup().flops(inputs)
            }
            fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
                self.setup().forward(inputs, cx)
            }
            fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
                self.setup().backward(gradients, cx)
            }
            fn visit(&self, visit: &mut dyn FnMut(&Param)) {
                self.projections.visit(visit);
            }
        }
    };
}

// The names under which Keras' files hold the projections of query, key, gate, value and output.
layer!(
    MultiHeadAttention,
    |layer| check(&layer.setup(), ["num_heads", "key_dim"]),
    ["query_dense", "key_dense", "_gate_dense", "value_dense", "output_dense"]
);
layer!(
    GroupQueryAttention,
    |layer| {
        check(&layer.setup(), ["num_query_heads", "head_dim"])?;
        let (heads, groups) = (layer.num_query_heads, layer.num_key_value_heads);
        ensure!(
            groups > 0 && heads.is_multiple_of(groups),
            Argument,
            "num_query_heads, {heads}, must be a multiple of num_key_value_heads, {groups}"
        );
        Ok(())
    },
    ["_query_dense", "_key_dense", "_gate_dense", "_value_dense", "_output_dense"]
);

#[derive(Clone, Debug, Default)]
struct Projections {
    query: Projection,
    key: Projection,
    gate: Option<Projection>,
    value: Projection,
    output: Projection,
}

impl Projections {
    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.query.visit(visit);
        self.key.visit(visit);
        self.gate.iter().for_each(|gate| gate.visit(visit));
        self.value.visit(visit);
        self.output.visit(visit);
    }
}

/// What the layers of several heads share.
struct Setup<'a> {
    projections: &'a Projections,
    heads: usize,
    groups: usize,
    size: usize,
    value_size: usize,
    output_shape: Option<&'a [usize]>,
    axes: Option<&'a [isize]>,
    window: Option<usize>,
    dropout: f64,
    seed: Option<u64>,
}

/// The inputs by their names: query, value, key, attention mask, masks of value and key.
struct Inputs {
    query: usize,
    value: usize,
    key: Option<usize>,
    attention_mask: Option<usize>,
    value_mask: Option<usize>,
    key_mask: Option<usize>,
}

impl Inputs {
    fn of(inputs: usize, arguments: &Arguments) -> Result<Self> {
        let names = ["query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask"];
        let [query, value, key, _, value_mask, key_mask, attention_mask] = places(names, inputs, arguments)?;
        let missing = |name: &str| Error::Argument(format!("it takes query and value, and perhaps key; got no {name}"));
        let (query, value) = (query.ok_or_else(|| missing("query"))?, value.ok_or_else(|| missing("value"))?);
        Ok(Inputs { query, value, key, attention_mask, value_mask, key_mask })
    }
}

/// The order of an input's axes in which those of the attention stand together, before the features.
struct Order {
    axes: Vec<usize>,
    /// How many axes come before those of the attention, the batch among them.
    outer: usize,
}

impl Order {
    fn is_plain(&self) -> bool {
        self.axes.is_sorted()
    }

    /// `(batch, steps, features)`, with all outer axes in the batch.
    fn turn(&self, x: Tensor) -> Result<Tensor> {
        let x = if self.is_plain() { x } else { transpose(&x, &self.axes)? };
        let (outer, rest) = x.shape().split_at(self.outer);
        let (steps, features) = rest.split_at(rest.len() - 1);
        let dims = [outer.iter().product(), steps.iter().product(), features.iter().product()];
        x.reshape(dims)
    }

    /// Undoes [`turn`](Self::turn) for what has these dimensions, of which the last may have become others.
    fn turn_back(&self, x: Tensor, dims: &[usize], last: &[usize]) -> Result<Tensor> {
        let turned = self.axes[..self.axes.len() - 1].iter().map(|&axis| dims[axis]).chain(last.iter().copied());
        let x = x.reshape(turned.collect::<Dims>())?;
        if self.is_plain() {
            return Ok(x);
        }
        let behind = self.axes.len() - 1..self.axes.len() - 1 + last.len();
        let order: Vec<usize> = self.axes[..self.axes.len() - 1].iter().copied().chain(behind).collect();
        transpose(&x, &inverse(&order))
    }
}

impl Setup<'_> {
    /// Queries and outputs are projected at each place of the query, keys and values at each of theirs; scores and
    /// their sums are for all pairs of them.
    fn flops(&self, inputs: &[Shape]) -> f64 {
        let Projections { query, key, gate, value, output } = self.projections;
        let places = |i: usize| inputs.get(i).or(inputs.first()).map_or(0.0, flops::positions);
        let (queries, values) = (places(0), places(1));
        let at_queries = flops::of_weights(|visit| {
            [query, output].into_iter().chain(gate).for_each(|projection| projection.visit(visit));
        });
        let at_values =
            flops::of_weights(|visit| [key, value].into_iter().for_each(|projection| projection.visit(visit)));
        let pairs = 2.0 * queries * values * (self.heads * (self.size + self.value_size)) as f64;
        queries * at_queries + values * at_values + pairs
    }

    fn order(&self, rank: usize) -> Result<Order> {
        ensure!(rank >= 3, Shape, "expected inputs of at least 3 dimensions, (batch, steps, features), got {rank}");
        let attention: Vec<usize> = match self.axes {
            None => (1..rank - 1).collect(),
            // Negative ones count from the features.
            Some(axes) => axes.iter().map(|&axis| resolve_axis(axis, rank)).collect::<Result<_>>()?,
        };
        let mut sorted = attention.clone();
        sorted.sort_unstable();
        sorted.dedup();
        ensure!(
            sorted.len() == attention.len()
                && !sorted.is_empty()
                && sorted[0] > 0
                && sorted[sorted.len() - 1] < rank - 1,
            Argument,
            "attention_axes {attention:?} must be different ones between the batch, 0, and the features, {}",
            rank - 1
        );
        let outer = (0..rank - 1).filter(|axis| !attention.contains(axis));
        let axes: Vec<usize> = outer.chain(attention.iter().copied()).chain([rank - 1]).collect();
        Ok(Order { outer: rank - 1 - attention.len(), axes })
    }

    fn output_shapes(&self, inputs: &[Shape], arguments: &Arguments) -> Result<Vec<Shape>> {
        let places = Inputs::of(inputs.len(), arguments)?;
        let (query, value) = (&inputs[places.query], &inputs[places.value]);
        let key = &inputs[places.key.unwrap_or(places.value)];
        let order = self.order(query.rank())?;
        let differ = |a: Option<usize>, b: Option<usize>| a.zip(b).is_some_and(|(a, b)| a != b);
        let inner = |shape: &Shape| 1..shape.rank().saturating_sub(1);
        ensure!(
            value.rank() == query.rank()
                && key.rank() == query.rank()
                && inner(value).all(|axis| !differ(value.get(axis), key.get(axis)))
                && order.axes[1..order.outer].iter().all(|&axis| !differ(query.get(axis), key.get(axis))),
            Shape,
            "query {query}, value {value} and key {key} do not fit: value and key must have the same steps"
        );
        let mut shapes = vec![match self.output_shape {
            None => query.clone(),
            Some(last) => {
                let before = &query.dims()[..query.rank() - 1];
                Shape::new(before.iter().copied().chain(last.iter().map(|&size| Some(size))).collect::<Vec<_>>())
            }
        }];
        if flag(arguments, "return_attention_scores") {
            let (outer, steps) = order.axes[..query.rank() - 1].split_at(order.outer);
            let outer = outer.iter().map(|&axis| query.dims()[axis]).chain([Some(self.heads)]);
            let queries = steps.iter().map(|&axis| query.dims()[axis]);
            let keys = steps.iter().map(|&axis| key.dims()[axis]);
            shapes.push(Shape::new(outer.chain(queries).chain(keys).collect::<Vec<_>>()));
        }
        Ok(shapes)
    }

    fn build(
        &self,
        inputs: &[Shape],
        gate: bool,
        weights: &Weights<'_>,
        names: [&str; 5],
        cx: &mut Build,
    ) -> Result<Projections> {
        let places = Inputs::of(inputs.len(), cx.arguments())?;
        let features = |name: &str, place: usize| {
            inputs[place].last().ok_or_else(|| {
                Error::Shape(format!(
                    "the features of the {name}, the last dimension of {}, must be known",
                    inputs[place]
                ))
            })
        };
        let (query, value) = (features("query", places.query)?, features("value", places.value)?);
        let key = features("key", places.key.unwrap_or(places.value))?;
        let Setup { heads, groups, size, value_size, .. } = *self;
        let output = self.output_shape.map_or(vec![query], <[usize]>::to_vec);
        Ok(Projections {
            query: Projection::build(weights, names[0], &[query], &[heads, size], cx)?,
            key: Projection::build(weights, names[1], &[key], &[groups, size], cx)?,
            gate: gate.then(|| Projection::build(weights, names[2], &[query], &[heads, value_size], cx)).transpose()?,
            value: Projection::build(weights, names[3], &[value], &[groups, value_size], cx)?,
            output: Projection::build(weights, names[4], &[heads, value_size], &output, cx)?,
        })
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let shapes: Vec<Shape> = inputs.iter().map(|x| Shape::from(x.shape())).collect();
        let promised = self.output_shapes(&shapes, cx.arguments())?;
        let places = Inputs::of(inputs.len(), cx.arguments())?;
        let return_scores = flag(cx.arguments(), "return_attention_scores");
        let order = self.order(inputs[places.query].rank())?;
        let samples = inputs[places.query].batch();
        let query = order.turn(inputs[places.query].clone())?;
        let value = order.turn(inputs[places.value].clone())?;
        let key = places.key.map(|place| order.turn(inputs[place].clone())).transpose()?;
        let of_key = key.as_ref().unwrap_or(&value);
        let sizes = Heads {
            batch: query.batch(),
            queries: query.shape()[1],
            keys: value.shape()[1],
            heads: self.heads,
            groups: self.groups,
            size: self.size,
            value_size: self.value_size,
        };
        ensure!(
            value.batch() == sizes.batch && of_key.batch() == sizes.batch && of_key.shape()[1] == sizes.keys,
            Shape,
            "query {:?}, value {:?} and key {:?} do not fit",
            query.shape(),
            value.shape(),
            of_key.shape()
        );
        let visible = self.visible(&inputs, &places, &order, &sizes, cx)?;
        // Keras computes the scores themselves in these cases, and then a query that sees nothing gets nothing.
        let explicit = self.dropout > 0.0 || return_scores || inputs[places.query].rank() != 3;
        let scale = (1.0 / (self.size as f64).sqrt()) as f32;
        let projections = self.projections;
        let q = projections.query.forward(&query, cx)?;
        let k = projections.key.forward(of_key, cx)?;
        let v = projections.value.forward(&value, cx)?;
        let all = visible.all();
        let scores = sizes.scores(&q, &k, scale, cx, |at, row, after| match (all, after) {
            (true, _) => {}
            (_, false) => visible.hide(at, row, |score| *score = if explicit { -1e9 } else { -0.7 * 3.389_53e38 }),
            (_, true) if explicit => visible.hide(at, row, |score| *score = 0.0),
            _ => {}
        });
        let gate = match &projections.gate {
            None => None,
            Some(gate) => {
                let mut gate = gate.forward(&query, cx)?;
                Activation::Sigmoid.apply(&mut gate).at(|| "gate".to_owned())?;
                Some(gate)
            }
        };
        cx.save(query);
        key.iter().for_each(|key| cx.save(key.clone()));
        cx.save(value);
        cx.save(q);
        cx.save(k);
        cx.save(scores.clone());
        visible.save(cx);
        // Whole samples, so that what is dropped does not depend on how a batch is split.
        let by_sample = [samples, scores.len() / samples.max(1)];
        let dims = Dims::from_slice(scores.shape());
        let dropped = drop_values(scores.clone().reshape(by_sample)?, self.dropout, self.seed, None, cx)?;
        let dropped = dropped.reshape(dims)?;
        let heads = sizes.weigh(&dropped, &v, cx);
        cx.save(v);
        cx.save(dropped);
        let rows = [sizes.batch * sizes.queries, sizes.heads * sizes.value_size];
        let heads = heads.reshape(rows)?;
        let gated = match &gate {
            None => heads.clone(),
            Some(gate) => broadcast::combine(&heads, gate, cx.workspace(), |a, b| a * b)?,
        };
        let y = projections.output.forward(&gated, cx)?;
        if let Some(gate) = gate {
            cx.save(heads);
            cx.save(gate);
        }
        cx.save(gated);
        cx.save_shape(&sizes.to_array());
        for x in inputs.iter() {
            cx.save_shape(x.shape());
        }
        let key_place = places.key.map_or(0, |place| place + 1);
        cx.save_shape(&[places.query, places.value, key_place, inputs.len()]);

        let dims = |shape: &Shape| shape.dims().iter().flatten().copied().collect::<Dims>();
        let query_dims = Dims::from_slice(inputs[places.query].shape());
        let last: Dims = dims(&promised[0])[query_dims.len() - 1..].iter().copied().collect();
        let y = order.turn_back(y, &query_dims, &last)?;
        let mask = cx.mask(places.query).cloned();
        if return_scores {
            cx.set_masks([mask, None]);
            return Ok([y, scores.reshape(dims(&promised[1]))?].into_iter().collect());
        }
        cx.set_masks([mask]);
        Ok(y.into())
    }

    /// What hides keys from queries: masks of the inputs, masks given by hand, and the arguments.
    fn visible(
        &self,
        inputs: &[Tensor],
        places: &Inputs,
        order: &Order,
        sizes: &Heads,
        cx: &Forward<'_>,
    ) -> Result<Visible> {
        let by_hand = |place: Option<usize>, own: Option<usize>| match place {
            Some(place) => inputs.get(place).cloned(),
            None => own.and_then(|own| cx.mask(own).cloned()),
        };
        let mut visible = Visible {
            query: cx.mask(places.query).cloned(),
            keys: [by_hand(places.value_mask, Some(places.value)), by_hand(places.key_mask, places.key)],
            pairs: None,
            causal: flag(cx.arguments(), "use_causal_mask"),
            window: self.window,
        };
        ensure!(
            visible.all() || order.axes.len() == 3,
            Argument,
            "masks of steps, use_causal_mask and sliding_window are for inputs (batch, steps, features); \
             use attention_mask"
        );
        let Heads { batch, heads, queries, keys, .. } = *sizes;
        if let Some(place) = places.attention_mask {
            visible.pairs = Some(self.attention_mask(&inputs[place], inputs, places, order, sizes, cx)?);
        }
        visible.check([batch, heads, queries, keys])?;
        Ok(visible)
    }

    /// The mask as `(batch, heads, queries, keys)`, each of which may be 1.
    fn attention_mask(
        &self,
        mask: &Tensor,
        inputs: &[Tensor],
        places: &Inputs,
        order: &Order,
        sizes: &Heads,
        cx: &Forward<'_>,
    ) -> Result<Tensor> {
        let rank = order.axes.len();
        let steps = rank - 1 - order.outer;
        let full = order.outer + 1 + 2 * steps;
        ensure!(
            mask.rank() > 2 * steps && mask.rank() <= full,
            Shape,
            "attention_mask has shape {:?}; it must be (batch, queries, keys) or (batch, heads, queries, keys)",
            mask.shape()
        );
        // Axes that it lacks stand before those of queries and keys.
        let (before, pairs) = mask.shape().split_at(mask.rank() - 2 * steps);
        let ones = std::iter::repeat_n(1, full - mask.rank());
        let aligned: Dims = before.iter().copied().chain(ones).chain(pairs.iter().copied()).collect();
        let mask = mask.clone().reshape(aligned)?;
        if rank == 3 {
            return Ok(mask);
        }
        let sizes_of =
            |axes: &[usize], place: usize| axes.iter().map(|&axis| inputs[place].shape()[axis]).collect::<Dims>();
        let (outer, inner) = order.axes[..rank - 1].split_at(order.outer);
        let mut dims = sizes_of(outer, places.query);
        dims.push(sizes.heads);
        dims.extend(sizes_of(inner, places.query));
        dims.extend(sizes_of(inner, places.value));
        let mask = broadcast::expand(&mask, &dims, cx.workspace()).at(|| "attention_mask".to_owned())?;
        mask.reshape([sizes.batch, sizes.heads, sizes.queries, sizes.keys])
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let mut gradients = gradients.into_iter();
        let dy = gradients.next().ok_or_else(|| Error::Argument("there is no gradient".to_owned()))?;
        let of_scores = gradients.next();
        let saved = cx.restore_shape()?;
        let &[query_place, value_place, key_place, inputs] = saved.as_slice() else {
            return Err(Error::State(format!("backward asks for the places of the inputs, forward saved {saved:?}")));
        };
        let key_place = key_place.checked_sub(1);
        let mut dims = (0..inputs).map(|_| cx.restore_shape()).collect::<Result<Vec<_>>>()?;
        dims.reverse();
        let sizes = Heads::from_slice(&cx.restore_shape()?)?;
        let order = self.order(dims[query_place].len())?;
        let projections = self.projections;

        let gated = cx.restore()?;
        let dy = match order.is_plain() {
            true => dy,
            false => {
                // The axes behind those of the query that is turned are the output's own.
                let n = order.axes.len() - 1;
                let axes: Vec<usize> = order.axes[..n].iter().copied().chain(n..dy.rank()).collect();
                transpose(&dy, &axes)?
            }
        };
        let missing = || Error::State("a gradient that was asked for is missing".to_owned());
        let dgated = projections.output.backward(&gated, &dy, true, cx).ok_or_else(missing)?;
        let (dheads, dgate) = match &projections.gate {
            None => (dgated, None),
            Some(projection) => {
                let (gate, heads) = (cx.restore()?, cx.restore()?);
                let mut dgate = broadcast::combine(&dgated, &heads, cx.workspace(), |a, b| a * b)?;
                Activation::Sigmoid.backward(None, &gate, &mut dgate).at(|| "gate".to_owned())?;
                let dheads = broadcast::combine(&dgated, &gate, cx.workspace(), |a, b| a * b)?;
                (dheads, Some((projection, dgate)))
            }
        };
        let (dropped, v) = (cx.restore()?, cx.restore()?);
        let [dscores, dv] = sizes.weigh_backward(&dropped, &v, &dheads, cx);
        let (samples, score_dims) = (dims[query_place][0], Dims::from_slice(dscores.shape()));
        let by_sample = [samples, dscores.len() / samples.max(1)];
        let dscores = drop_gradients(dscores.reshape(by_sample)?, self.dropout, cx)?;
        let mut dscores = dscores.reshape(&score_dims)?;
        if let Some(of_scores) = of_scores {
            dscores = dscores.zip_map(&of_scores.reshape(&score_dims)?, |a, b| a + b)?;
        }
        let visible = Visible::restore(cx)?;
        let (scores, k, q) = (cx.restore()?, cx.restore()?, cx.restore()?);
        let all = visible.all();
        sizes.softmax_backward(&scores, &mut dscores, |at, row| {
            if !all {
                visible.hide(at, row, |gradient| *gradient = 0.0);
            }
        });
        let scale = (1.0 / (self.size as f64).sqrt()) as f32;
        let [dq, dk] = sizes.product_backward(&dscores, &q, &k, scale, cx);

        let value = cx.restore()?;
        let key = key_place.map(|_| cx.restore()).transpose()?;
        let query = cx.restore()?;
        let wants = |place: usize, cx: &Backward<'_>| cx.wants(place);
        let wanted = wants(query_place, cx);
        let mut dquery = projections.query.backward(&query, &dq, wanted, cx);
        if let Some((projection, dgate)) = dgate {
            dquery = sum(dquery, projection.backward(&query, &dgate, wanted, cx))?;
        }
        let wanted_key = wants(key_place.unwrap_or(value_place), cx);
        let mut dkey = projections.key.backward(key.as_ref().unwrap_or(&value), &dk, wanted_key, cx);
        let wanted_value = wants(value_place, cx);
        let mut dvalue = projections.value.backward(&value, &dv, wanted_value, cx);
        if key_place.is_none() {
            dvalue = sum(dvalue, dkey.take())?;
        }
        let mut results: Vec<Option<Tensor>> = vec![None; inputs];
        for (place, gradient) in [(Some(query_place), dquery), (key_place, dkey), (Some(value_place), dvalue)] {
            if let (Some(place), Some(gradient)) = (place, gradient) {
                let last = [dims[place][dims[place].len() - 1]];
                results[place] = Some(order.turn_back(gradient, &dims[place], &last)?);
            }
        }
        Ok(results.into_iter().collect())
    }
}

fn sum(a: Option<Tensor>, b: Option<Tensor>) -> Result<Option<Tensor>> {
    match (a, b) {
        (Some(a), Some(b)) => a.zip_map(&b, |a, b| a + b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}
