//! Models as graphs: layers called on symbolic tensors.

use super::graph::{Graph, Node, Port};
use super::{Model, nested};
use crate::config::snake_case;
use crate::error::{Error, Result, ensure};
use crate::layer::{self, Arguments, LayerHandle};
use crate::layers::Input;
use crate::shape::Shape;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The output of a layer that was called, or an input, before there are values (Keras: `KerasTensor`).
///
/// A clone is the same tensor.
///
/// ```
/// use cornu::prelude::*;
///
/// let input = Input::new([32, 32, 3]).node();
/// let x = Conv2D::new(16, 3).padding(Padding::Same).call(&input)?;
/// let y = ReLU::new().call(&BatchNormalization::new().call(&x)?)?;
/// let model = Model::new(&input, &y)?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 32, 32, 16)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone)]
pub struct SymbolicTensor {
    call: Arc<CallRecord>,
    output: usize,
}

/// One call of a layer.
struct CallRecord {
    layer: LayerHandle,
    inputs: Vec<SymbolicTensor>,
    /// Masks given by hand, input by input.
    masks: Vec<Option<SymbolicTensor>>,
    arguments: Arguments,
    /// The shapes of its outputs, or why there are none: operators have no other place for it.
    shapes: std::result::Result<Vec<Shape>, String>,
    /// Later calls have larger numbers.
    number: u64,
}

impl CallRecord {
    /// What it depends on.
    fn reads(&self) -> impl Iterator<Item = &SymbolicTensor> {
        self.inputs.iter().chain(self.masks.iter().flatten())
    }
}

/// One symbolic tensor or several: what a layer is called on.
#[derive(Clone, Debug)]
pub struct Symbols(pub(crate) Vec<SymbolicTensor>);

macro_rules! symbols_from {
    ($($({$n:ident})? $type:ty, $from:ident => $list:expr;)*) => {
        $(impl$(<const $n: usize>)? From<$type> for Symbols {
            fn from($from: $type) -> Self {
                Symbols($list)
            }
        })*
    };
}
symbols_from! {
    SymbolicTensor, one => vec![one];
    &SymbolicTensor, one => vec![one.clone()];
    {N} [SymbolicTensor; N], list => list.into();
    {N} &[SymbolicTensor; N], list => list.to_vec();
    {N} [&SymbolicTensor; N], list => list.into_iter().cloned().collect();
    &[SymbolicTensor], list => list.to_vec();
    &Vec<SymbolicTensor>, list => list.clone();
    Vec<SymbolicTensor>, list => list;
}

impl SymbolicTensor {
    /// Its shape, the batch first.
    ///
    /// # Errors
    /// When it is the result of an operator whose operands do not fit.
    pub fn shape(&self) -> Result<&Shape> {
        self.call.shapes.as_ref().map(|shapes| &shapes[self.output]).map_err(|why| Error::Shape(why.clone()))
    }

    /// The layer that gives it.
    pub fn layer(&self) -> &LayerHandle {
        &self.call.layer
    }

    fn is_input(&self) -> bool {
        self.call.inputs.is_empty()
    }

    fn of(call: CallRecord) -> Vec<SymbolicTensor> {
        let outputs = call.shapes.as_ref().map_or(1, Vec::len);
        let call = Arc::new(call);
        (0..outputs).map(|output| SymbolicTensor { call: call.clone(), output }).collect()
    }

    /// What identifies its call.
    fn key(&self) -> *const CallRecord {
        Arc::as_ptr(&self.call)
    }
}

impl fmt::Debug for SymbolicTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.call.shapes {
            Ok(shapes) => write!(f, "output {} of {}, {}", self.output, self.call.layer.place(), shapes[self.output]),
            Err(why) => f.write_str(why),
        }
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Input {
    /// The symbolic tensor that a functional model begins with.
    pub fn node(self) -> SymbolicTensor {
        LayerHandle::from(self).node()
    }
}

impl LayerHandle {
    /// As [`Input::node`], for an Input that was given a name.
    pub fn node(&self) -> SymbolicTensor {
        let shapes = self.output_shapes(&[]).map_err(|error| error.to_string());
        let (arguments, number) = (Arguments::default(), next_number());
        let call = CallRecord { layer: self.clone(), inputs: Vec::new(), masks: Vec::new(), arguments, shapes, number };
        SymbolicTensor { call: Arc::new(call), output: 0 }
    }

    /// Calls the layer on one symbolic tensor or several; a layer may be called several times, and then shares its
    /// weights. A layer of several outputs: [`call_all`](Self::call_all).
    ///
    /// # Errors
    /// When it cannot take such inputs, or has several outputs.
    pub fn call(&self, inputs: impl Into<Symbols>) -> Result<SymbolicTensor> {
        let mut outputs = self.call_all(inputs)?;
        ensure!(
            outputs.len() == 1,
            Argument,
            "{} has {} outputs; call_all returns them all",
            self.place(),
            outputs.len()
        );
        Ok(outputs.remove(0))
    }

    /// As [`call`](Self::call), for a layer of any number of outputs.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    pub fn call_all(&self, inputs: impl Into<Symbols>) -> Result<Vec<SymbolicTensor>> {
        // Attention takes its inputs one by one, other layers a list.
        let separate = matches!(self.class_name().as_str(), "MultiHeadAttention" | "GroupQueryAttention");
        self.call_with(inputs, Arguments { separate, ..Arguments::default() })
    }

    /// As [`call_all`](Self::call_all), with [`Arguments`] besides the inputs.
    ///
    /// # Errors
    /// When it cannot take such inputs.
    pub fn call_with(&self, inputs: impl Into<Symbols>, arguments: Arguments) -> Result<Vec<SymbolicTensor>> {
        self.call_masked(inputs, Vec::new(), arguments)
    }

    /// As [`call_with`](Self::call_with), with masks given by hand, input by input.
    pub(crate) fn call_masked(
        &self,
        inputs: impl Into<Symbols>,
        masks: Vec<Option<SymbolicTensor>>,
        arguments: Arguments,
    ) -> Result<Vec<SymbolicTensor>> {
        let Symbols(inputs) = inputs.into();
        ensure!(!inputs.is_empty(), Argument, "{} is called on nothing", self.place());
        let shapes: Vec<Shape> = inputs.iter().map(|input| input.shape().cloned()).collect::<Result<_>>()?;
        let shapes = Ok(self.call_shapes(&shapes, &arguments)?);
        Ok(SymbolicTensor::of(CallRecord {
            layer: self.clone(),
            inputs,
            masks,
            arguments,
            shapes,
            number: next_number(),
        }))
    }

    /// The result of an operator: what does not fit shows when it is used.
    #[expect(dead_code, reason = "for operators")]
    pub(crate) fn apply(self, inputs: Vec<SymbolicTensor>) -> SymbolicTensor {
        let shapes = inputs.iter().map(|input| input.shape().cloned()).collect::<Result<Vec<_>>>();
        let shapes = shapes.and_then(|shapes| self.output_shapes(&shapes)).map_err(|error| error.to_string());
        let (masks, arguments) = (Vec::new(), Arguments::default());
        let call = CallRecord { layer: self, inputs, masks, arguments, shapes, number: next_number() };
        SymbolicTensor { call: Arc::new(call), output: 0 }
    }
}

impl Model {
    /// The model from these inputs to these outputs (Keras: `Model(inputs, outputs)`): one symbolic tensor or
    /// several on each side. Its weights are made; layers that have theirs already share them. Inputs may be inner
    /// tensors of another model, and outputs too.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let (a, b) = (Input::new([4]).node(), Input::new([3]).node());
    /// let shared = Dense::new(8).activation("relu").name("shared");
    /// let x = shared.call(&a)?;
    /// let class = Dense::new(2).activation("softmax").name("class").call(&shared.call(&Dense::new(4).call(&b)?)?)?;
    /// let value = Dense::new(1).name("value").call(&x)?;
    /// let mut model = Model::new([&a, &b], [&class, &value])?;
    /// model.compile_with(
    ///     Compile::each("adam", [("class", "sparse_categorical_crossentropy"), ("value", "mse")])
    ///         .loss_weights([("value", 0.5)])
    ///         .metrics_of("class", ["accuracy"]),
    /// )?;
    /// // A part of it is a model too.
    /// let part = Model::new(&a, &x)?;
    /// assert_eq!(part.count_params(), 4 * 8 + 8);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When an output does not depend on these inputs alone, two layers have the same name, or weights cannot be made.
    pub fn new(inputs: impl Into<Symbols>, outputs: impl Into<Symbols>) -> Result<Model> {
        let mut model = Model::unbuilt("functional", inputs, outputs)?;
        model.build()?;
        Ok(model)
    }

    /// As [`new`](Self::new), under a name and with a seed for the first weights, shuffling and dropout.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn seeded(name: &str, seed: u64, inputs: impl Into<Symbols>, outputs: impl Into<Symbols>) -> Result<Model> {
        let mut model = Model::unbuilt(name, inputs, outputs)?;
        model.seed = seed;
        model.build()?;
        Ok(model)
    }

    /// As [`new`](Self::new), under a name and without weights.
    pub(crate) fn unbuilt(name: &str, inputs: impl Into<Symbols>, outputs: impl Into<Symbols>) -> Result<Model> {
        let mut model = Model::empty(name);
        model.pending = Some(graph(&inputs.into().0, &outputs.into().0)?);
        Ok(model)
    }

    /// The model as a layer of another one, with which it shares its weights: always the same layer.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut base = Sequential::new().with_name("base");
    /// base.add(Input::new([4])).add(Dense::new(3).activation("relu"));
    /// base.build()?;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(base.as_layer()).add(Dense::new(1));
    /// model.build()?;
    /// assert_eq!(model.count_params(), 15 + 4);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    pub fn as_layer(&self) -> LayerHandle {
        self.layer.get_or_init(|| layer::LayerExt::name(nested::Nested::of(self), &self.name)).clone()
    }

    /// Calls the model on symbolic tensors, as a layer.
    ///
    /// # Errors
    /// As [`LayerHandle::call`].
    pub fn call(&self, inputs: impl Into<Symbols>) -> Result<SymbolicTensor> {
        self.as_layer().call(inputs)
    }
}

/// The calls between inputs and outputs as a graph without weights, its layers in Keras' order: by their distance from
/// the outputs, then in the order in which they are met from there.
pub(crate) fn graph(inputs: &[SymbolicTensor], outputs: &[SymbolicTensor]) -> Result<Graph> {
    ensure!(!inputs.is_empty() && !outputs.is_empty(), Argument, "a model needs at least one input and one output");
    for tensor in inputs.iter().chain(outputs) {
        tensor.shape()?;
    }
    let distinct: HashSet<_> = inputs.iter().map(|input| (input.key(), input.output)).collect();
    ensure!(distinct.len() == inputs.len(), Argument, "an input is given twice");
    // Inner tensors that are inputs get an Input of their own.
    let mut ports: HashMap<(*const CallRecord, usize), Port> = HashMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    for input in inputs {
        let layer = match input.is_input() {
            true => input.layer().clone(),
            false => Input::of(input.shape()?.clone()).into(),
        };
        ports.insert((input.key(), input.output), Port { node: nodes.len(), output: 0 });
        nodes.push(Node::new(layer, Vec::new(), vec![input.shape()?.clone()], Arguments::default()));
    }
    let is_input = |tensor: &SymbolicTensor| ports.contains_key(&(tensor.key(), tensor.output));
    // Depth first from the outputs, without recursion: a call is finished when its inputs are.
    let mut started: HashSet<*const CallRecord> = HashSet::new();
    let mut finished: Vec<Arc<CallRecord>> = Vec::new();
    let mut met: Vec<LayerHandle> = Vec::new();
    let mut meet = |layer: &LayerHandle| {
        if !met.iter().any(|known| known.is(layer)) {
            met.push(layer.clone());
        }
    };
    for output in outputs {
        let mut stack = vec![(output.clone(), 0)];
        while let Some((tensor, next)) = stack.pop() {
            if is_input(&tensor) {
                if let Some(port) = ports.get(&(tensor.key(), tensor.output)) {
                    meet(&nodes[port.node].layer);
                }
                continue;
            }
            if next == 0 {
                if !started.insert(tensor.key()) {
                    continue;
                }
                ensure!(
                    !tensor.is_input(),
                    Argument,
                    "an output depends on {}, which is not among the inputs of the model",
                    tensor.layer().place()
                );
                meet(tensor.layer());
            }
            let before = tensor.call.reads().nth(next).cloned();
            match before {
                Some(before) => {
                    stack.push((tensor, next + 1));
                    stack.push((before, 0));
                }
                None => finished.push(tensor.call.clone()),
            }
        }
    }
    for call in &finished {
        let inputs = call.inputs.iter().map(|input| ports[&(input.key(), input.output)]).collect();
        let shapes = call.shapes.clone().map_err(Error::Shape)?;
        for output in 0..shapes.len() {
            ports.insert((Arc::as_ptr(call), output), Port { node: nodes.len(), output });
        }
        let mut node = Node::new(call.layer.clone(), inputs, shapes, call.arguments.clone());
        let port = |mask: &SymbolicTensor| ports[&(mask.key(), mask.output)];
        node.masks = call.masks.iter().map(|mask| mask.as_ref().map(port)).collect();
        nodes.push(node);
    }
    let numbers: Vec<u64> =
        inputs.iter().map(|input| input.call.number).chain(finished.iter().map(|call| call.number)).collect();
    name_layers(&nodes, &numbers)?;
    let order = by_depth(&nodes, &met);
    let outputs = outputs.iter().map(|output| ports[&(output.key(), output.output)]).collect();
    Ok(Graph::new(nodes, (0..inputs.len()).collect(), outputs, order))
}

/// Gives layers without a name one, in the order in which they were first called, and checks that no two share one.
fn name_layers(nodes: &[Node], numbers: &[u64]) -> Result<()> {
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&i| numbers[i]);
    let mut taken: Vec<(String, LayerHandle)> = Vec::new();
    for node in nodes {
        let (name, layer) = (node.layer.name(), &node.layer);
        match taken.iter().find(|(known, _)| *known == name && !name.is_empty()) {
            None => taken.push((name, layer.clone())),
            Some((_, known)) if known.is(layer) => {}
            Some(_) => {
                return Err(Error::Argument(format!(
                    "two layers are named '{name}'; names must be unique in a model: give one another name"
                )));
            }
        }
    }
    let mut names: HashSet<String> = taken.into_iter().map(|(name, _)| name).collect();
    for i in order {
        let layer = &nodes[i].layer;
        if layer.name().is_empty() {
            let name = free_name(&layer.class_name(), |name| names.contains(name));
            names.insert(name.clone());
            layer.set_name(name);
        }
    }
    Ok(())
}

/// What a layer of this class is called that was given no name: `dense`, `dense_1`, ….
pub(crate) fn free_name(class_name: &str, taken: impl Fn(&str) -> bool) -> String {
    let base = match class_name {
        "InputLayer" => "input_layer".to_owned(),
        class_name => snake_case(class_name),
    };
    let numbered = (1..).map(|i| format!("{base}_{i}"));
    std::iter::once(base.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(base)
}

/// The layers, farthest from the outputs first.
fn by_depth(nodes: &[Node], first_met: &[LayerHandle]) -> Vec<LayerHandle> {
    let place = |layer: &LayerHandle| first_met.iter().position(|known| known.is(layer));
    let mut node_depth = vec![0usize; nodes.len()];
    let mut depth: HashMap<Option<usize>, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate().rev() {
        let layer = depth.entry(place(&node.layer)).or_default();
        let here = node_depth[i].max(*layer);
        (*layer, node_depth[i]) = (here, here);
        for port in node.reads() {
            node_depth[port.node] = node_depth[port.node].max(here + 1);
        }
    }
    let mut layers: Vec<(std::cmp::Reverse<usize>, Option<usize>, LayerHandle)> = Vec::new();
    for node in nodes {
        let met = place(&node.layer);
        if !layers.iter().any(|(_, _, layer)| layer.is(&node.layer)) {
            layers.push((std::cmp::Reverse(depth.get(&met).copied().unwrap_or(0)), met, node.layer.clone()));
        }
    }
    layers.sort_by_key(|(depth, met, _)| (*depth, *met));
    layers.into_iter().map(|(_, _, layer)| layer).collect()
}
