//! The executor: one for every kind of model. A Sequential is a graph that is a chain.

use super::fusion::{Role, roles};
use crate::error::{Context, Error, Result, ensure};
use crate::kernels::reduce;
use crate::layer::{
    Arguments, Backward, Build, Call, Forward, Fused, Gates, Gradients, LayerHandle, Masks, Param, Saved, Values,
};
use crate::layers::Input;
use crate::random;
use crate::runtime::threads;
use crate::shape::Shape;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::collections::HashSet;
use std::iter::repeat;
use std::time::{Duration, Instant};

/// One output of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub node: usize,
    pub output: usize,
}

/// Is told which node's layer was called, how long that took, and what is saved by then.
pub(crate) type Watch<'a> = &'a mut dyn FnMut(usize, Duration, &Saved);

/// One call of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub layer: LayerHandle,
    /// Where its inputs come from: nodes before this one.
    pub inputs: Vec<Port>,
    /// Where masks come from that are given by hand, input by input.
    pub masks: Vec<Option<Port>>,
    pub output_shapes: Vec<Shape>,
    /// What the call was given besides its inputs.
    pub arguments: Arguments,
    /// What its random draws depend on.
    stream: u64,
}

impl Node {
    pub fn new(layer: LayerHandle, inputs: Vec<Port>, output_shapes: Vec<Shape>, arguments: Arguments) -> Self {
        Node { layer, inputs, masks: Vec::new(), output_shapes, arguments, stream: 0 }
    }

    /// What it reads: inputs, and masks given by hand.
    pub fn reads(&self) -> impl Iterator<Item = &Port> {
        self.inputs.iter().chain(self.masks.iter().flatten())
    }

    /// The multiplications and additions for one sample, about: each weight is used once for each position of the output.
    fn work(&self, nodes: &[Node]) -> f64 {
        let weights: usize = self.layer.weights().iter().map(Param::len).sum();
        let positions = |shape: &Shape| {
            let cells = shape.sample().split_last().map_or(&[][..], |(_, cells)| cells);
            cells.iter().map(|n| n.unwrap_or(1)).product::<usize>() as f64
        };
        let out = self.output_shapes.first().map_or(1.0, positions);
        // A recurrent layer may give its last step alone, and has used its weights at each.
        let steps = self.inputs.iter().map(|port| &nodes[port.node].output_shapes[port.output]);
        let steps = steps.filter(|shape| shape.rank() == 3).map(positions).fold(1.0, f64::max);
        2.0 * weights as f64 * out.max(steps)
    }
}

/// Calls of layers in an order in which each comes after those it depends on.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    /// The nodes that stand for the model's inputs.
    pub inputs: Vec<usize>,
    pub outputs: Vec<Port>,
    /// The layers in Keras' order.
    order: Vec<LayerHandle>,
    /// How many nodes and model outputs read each output of each node.
    readers: Vec<Vec<usize>>,
    /// For each node, which ReLU's gradient its reader takes over, or it from the node that it reads.
    gates: Vec<Gates>,
    /// What each node does when the graph predicts.
    roles: Vec<Role>,
    /// See [`work`](Self::work).
    work: f64,
}

impl Graph {
    /// A chain of layers, for inputs of `shape` unless the first of them is an Input, with its weights.
    pub fn chain(layers: &[LayerHandle], shape: Option<Shape>, cx: &Build) -> Result<Self> {
        let first = layers.first().and_then(|first| first.downcast(|input: &Input| input.shape().clone()));
        let has_input = first.is_some();
        let shape = first.or(shape).ok_or_else(|| {
            Error::State("the input shape is not known: add an Input layer first, or call build_for or fit".to_owned())
        })?;
        let body = &layers[usize::from(has_input)..];
        ensure!(!body.is_empty(), State, "the model has no layers");
        let input = if has_input { layers[0].clone() } else { Input::of(shape).into() };
        if input.name().is_empty() {
            input.set_name("input_layer".to_owned());
        }
        // First what fits, then the weights: a chain that does not fit leaves no layer half built.
        let mut nodes: Vec<Node> = Vec::with_capacity(layers.len() + 1);
        let mut names = HashSet::new();
        for layer in std::iter::once(&input).chain(body) {
            ensure!(
                names.insert(layer.name()),
                Argument,
                "two layers are named '{}'; names must be unique in a model",
                layer.name()
            );
            let before = nodes.last();
            let inputs: Vec<Port> = before.map(|_| Port { node: nodes.len() - 1, output: 0 }).into_iter().collect();
            let input_shapes: Vec<Shape> = before.map(|node| node.output_shapes.clone()).unwrap_or_default();
            let output_shapes = one_output(layer, &input_shapes)?;
            nodes.push(Node::new(layer.clone(), inputs, output_shapes, Arguments::default()));
        }
        let outputs = vec![Port { node: nodes.len() - 1, output: 0 }];
        let order = nodes.iter().map(|node| node.layer.clone()).collect();
        let mut graph = Graph::new(nodes, vec![0], outputs, order);
        graph.build(cx)?;
        Ok(graph)
    }

    /// The shapes that come out of a chain whose weights are not made.
    pub fn chain_shapes(layers: &[LayerHandle], inputs: &[Shape]) -> Result<Vec<Shape>> {
        let body = layers.iter().filter(|layer| layer.class_name() != "InputLayer");
        body.into_iter().try_fold(inputs.to_vec(), |shapes, layer| one_output(layer, &shapes))
    }

    /// The calls in an order in which each follows those it depends on; all layers have their names.
    pub fn new(mut nodes: Vec<Node>, inputs: Vec<usize>, outputs: Vec<Port>, order: Vec<LayerHandle>) -> Self {
        for i in 0..nodes.len() {
            let calls = nodes[..i].iter().filter(|node| node.layer.is(&nodes[i].layer)).count();
            let name = nodes[i].layer.name();
            nodes[i].stream = random::stream_of(&if calls == 0 { name } else { format!("{name}/call {calls}") });
        }
        let mut readers: Vec<Vec<usize>> = nodes.iter().map(|node| vec![0; node.output_shapes.len()]).collect();
        for port in nodes.iter().flat_map(Node::reads).chain(&outputs) {
            readers[port.node][port.output] += 1;
        }
        let (gates, roles) = (gates(&nodes, &readers), roles(&nodes, &readers));
        Graph { nodes, inputs, outputs, order, readers, gates, roles, work: 0.0 }
    }

    /// Makes the weights of all layers, in the order of the layers.
    pub fn build(&mut self, cx: &Build) -> Result<()> {
        for layer in &self.order {
            if let Some(node) = self.nodes.iter().find(|node| node.layer.is(layer)) {
                let shape = |port: &Port| self.nodes[port.node].output_shapes[port.output].clone();
                let inputs: Vec<Shape> = node.inputs.iter().map(shape).collect();
                layer.build(&inputs, &cx.called_with(&node.arguments))?;
            }
        }
        self.work = self.nodes.iter().map(|node| node.work(&self.nodes)).sum();
        Ok(())
    }

    /// The layers, each once, without inputs.
    pub fn layers(&self) -> Vec<LayerHandle> {
        let is_input = |layer: &LayerHandle| self.inputs.iter().any(|&input| self.nodes[input].layer.is(layer));
        self.order.iter().filter(|layer| !is_input(layer)).cloned().collect()
    }

    /// The layers in Keras' order, inputs among them.
    pub fn order(&self) -> &[LayerHandle] {
        &self.order
    }

    pub fn input_shapes(&self) -> Vec<Shape> {
        self.inputs.iter().map(|&i| self.nodes[i].output_shapes[0].clone()).collect()
    }

    pub fn output_shapes(&self) -> Vec<Shape> {
        self.outputs.iter().map(|port| self.nodes[port.node].output_shapes[port.output].clone()).collect()
    }

    /// The shapes that come out for inputs of these shapes.
    pub fn output_shapes_for(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let shapes = self.shapes_for(inputs)?;
        Ok(self.outputs.iter().map(|port| shapes[port.node][port.output].clone()).collect())
    }

    /// The shapes that come out of each node for inputs of these shapes.
    pub fn shapes_for(&self, inputs: &[Shape]) -> Result<Vec<Vec<Shape>>> {
        ensure!(
            inputs.len() == self.inputs.len(),
            Argument,
            "the model has {} inputs, got {}",
            self.inputs.len(),
            inputs.len()
        );
        let mut shapes: Vec<Vec<Shape>> = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let given = self.inputs.iter().position(|&input| input == i).map(|place| vec![inputs[place].clone()]);
            let inputs = || node.inputs.iter().map(|port| shapes[port.node][port.output].clone()).collect::<Vec<_>>();
            shapes.push(given.map_or_else(|| node.layer.call_shapes(&inputs(), &node.arguments), Ok)?);
        }
        Ok(shapes)
    }

    /// The names of the outputs: those of the layers that give them.
    pub fn output_names(&self) -> Vec<String> {
        self.outputs.iter().map(|port| self.nodes[port.node].layer.name()).collect()
    }

    /// Whether a layer makes masks.
    pub fn creates_mask(&self) -> bool {
        self.nodes.iter().any(|node| node.layer.layer().creates_mask())
    }

    /// The multiplications and additions of a forward pass for one sample, about, by which batches are cut: each weight of
    /// a layer is used once for each position of its output. Exact formulas might cut otherwise, and so round otherwise.
    pub fn work(&self) -> f64 {
        self.work
    }

    /// The floating-point operations of each node for one sample, by its layer's formula, where the nodes' outputs have
    /// these shapes.
    pub fn flops_of<'s>(&self, shapes: impl IntoIterator<Item = &'s [Shape]>) -> Vec<f64> {
        let shapes: Vec<&[Shape]> = shapes.into_iter().collect();
        let flops = |(i, node): (usize, &Node)| {
            let inputs: Vec<Shape> = node.inputs.iter().map(|port| shapes[port.node][port.output].clone()).collect();
            node.layer.layer().flops(&inputs, shapes[i])
        };
        self.nodes.iter().enumerate().map(flops).collect()
    }

    /// Whether a layer carries something from one batch to the next.
    pub fn carries_states(&self) -> bool {
        self.nodes.iter().any(|node| node.layer.layer().carries_states())
    }

    /// Whether a training pass may not be cut along the batch.
    pub fn couples_samples(&self) -> bool {
        // A frozen layer runs in inference mode, where nothing is coupled.
        self.nodes.iter().any(|node| node.layer.trainable() && node.layer.layer().couples_samples())
    }

    /// Checks that these inputs can be taken.
    pub fn check_inputs<'a>(&self, shapes: impl ExactSizeIterator<Item = &'a [usize]>) -> Result<()> {
        ensure!(
            shapes.len() == self.inputs.len(),
            Argument,
            "the model has {} inputs, got {}",
            self.inputs.len(),
            shapes.len()
        );
        for (&input, shape) in self.inputs.iter().zip(shapes) {
            let node = &self.nodes[input];
            let want = &node.output_shapes[0];
            if !want.accepts(shape) {
                let got =
                    Shape::new(std::iter::once(None).chain(shape.iter().skip(1).map(|&d| Some(d))).collect::<Vec<_>>());
                let hint = if shape.len() + 1 == want.rank() {
                    "; an axis is missing: perhaps the batch (insert_axis in front) or the channels (insert_axis at the end)"
                } else {
                    ""
                };
                return Err(Error::Shape(format!(
                    "{} expects inputs of shape {want}, got {got}{hint}",
                    node.layer.place(),
                )));
            }
        }
        Ok(())
    }

    /// For each node, whether a gradient must pass through it: it learns, or something before it does.
    pub fn gradient_flow(&self, inputs_need_gradient: bool) -> SmallVec<[bool; 32]> {
        let mut flow: SmallVec<[bool; 32]> = SmallVec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let from_before = node.inputs.iter().any(|port| flow[port.node]);
            let is_input = inputs_need_gradient && self.inputs.contains(&i);
            // A penalty on an output matters only if something before it learns.
            flow.push(from_before || is_input || node.layer.learns());
        }
        flow
    }

    /// Runs all layers, and returns the outputs with their masks. What layers save for the backward pass lies in
    /// `cx`, call by call.
    pub fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<(Values, Masks)> {
        self.forward_watched(inputs, cx, None)
    }

    /// As [`forward`](Self::forward), where somebody is told after each layer.
    pub fn forward_watched(
        &self,
        inputs: Values,
        cx: &mut Forward<'_>,
        mut watch: Option<Watch<'_>>,
    ) -> Result<(Values, Masks)> {
        self.check_inputs(inputs.iter().map(Tensor::shape).collect::<SmallVec<[_; 4]>>().into_iter())?;
        let batch = inputs.first().map_or(0, Tensor::batch);
        let recording = cx.recording;
        let flow = if recording { self.gradient_flow(cx.inputs_need_gradient) } else { SmallVec::new() };
        let mut values: Vec<SmallVec<[Option<Tensor>; 1]>> =
            self.nodes.iter().map(|node| smallvec::smallvec![None; node.output_shapes.len()]).collect();
        let mut masks: Vec<Masks> = vec![Masks::new(); self.nodes.len()];
        let mut left = self.readers.clone();
        for ((&node, tensor), mask) in self.inputs.iter().zip(inputs).zip(cx.masks.iter().cloned().chain(repeat(None)))
        {
            values[node][0] = Some(tensor);
            masks[node].push(mask);
        }
        // The last reader of a value owns it, so that a layer can work in place.
        let mut read = |values: &mut Vec<SmallVec<[Option<Tensor>; 1]>>, port: &Port| {
            let count = &mut left[port.node][port.output];
            *count -= 1;
            let slot = &mut values[port.node][port.output];
            let value = if *count == 0 { slot.take() } else { slot.clone() };
            value.ok_or_else(|| Error::State("a layer's input was not computed".to_owned()))
        };
        // Layers run as one where nothing between them is seen: not by a backward pass, nor by masks.
        let fuses = !recording && !cx.training && cx.masks.iter().all(Option::is_none) && !self.creates_mask();
        let mask_of = |masks: &[Masks], port: &Port| masks[port.node].get(port.output).cloned().flatten();
        for (i, node) in self.nodes.iter().enumerate() {
            if self.inputs.contains(&i) {
                continue;
            }
            let group = match &self.roles[i] {
                Role::Passes if fuses => {
                    values[i][0] = Some(read(&mut values, &node.inputs[0])?);
                    continue;
                }
                Role::Inside if fuses => continue,
                Role::Ends(group) if fuses => Some(group),
                _ => None,
            };
            let node = group.map_or(node, |group| &self.nodes[group.head]);
            let inputs: Values = node.inputs.iter().map(|port| read(&mut values, port)).collect::<Result<_>>()?;
            let mut given: Masks = node.inputs.iter().map(|port| mask_of(&masks, port)).collect();
            for (mask, port) in given.iter_mut().zip(&node.masks) {
                if let Some(port) = port {
                    *mask = Some(read(&mut values, port)?);
                }
            }
            let fused = match group {
                Some(group) => group.fused(group.sum.map(|port| read(&mut values, &port)).transpose()?)?,
                None => Fused::default(),
            };
            let records = recording && flow[i];
            let call = Call {
                // Of a model inside, each of its calls draws anew.
                stream: node.stream ^ cx.stream.rotate_left(17),
                masks: given,
                trainable: cx.trainable && node.layer.trainable(),
                recording: records,
                inputs_need_gradient: records && node.inputs.iter().any(|port| flow[port.node]),
                arguments: Some(&node.arguments),
                fused,
            };
            let passes = node.layer.layer().supports_masking();
            let began = watch.is_some().then(Instant::now);
            let (outputs, output_masks) =
                cx.nested(call, passes, |cx| node.layer.forward(inputs, cx)).at(|| node.layer.place())?;
            if let (Some(watch), Some(began)) = (&mut watch, began) {
                watch(i, began.elapsed(), cx.saved);
            }
            ensure!(
                outputs.len() == node.output_shapes.len(),
                State,
                "{} gave {} outputs where {} were promised",
                node.layer.place(),
                outputs.len(),
                node.output_shapes.len()
            );
            values[i] = outputs.into_iter().map(Some).collect();
            masks[i] = output_masks;
        }
        let outputs: Values = self.outputs.iter().map(|port| read(&mut values, port)).collect::<Result<_>>()?;
        for (port, output) in self.outputs.iter().zip(outputs.iter()) {
            ensure!(
                output.rank() > 0 && output.batch() == batch,
                Shape,
                "{} gave an output of shape {:?} for a batch of {batch}",
                self.nodes[port.node].layer.place(),
                output.shape()
            );
        }
        Ok((outputs, self.outputs.iter().map(|port| mask_of(&masks, port)).collect()))
    }

    /// Runs all layers backwards, from the gradients of the outputs to those of the inputs.
    /// An output that no loss depends on has none.
    pub fn backward(&self, gradients: SmallVec<[Option<Tensor>; 1]>, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.backward_watched(gradients, cx, None)
    }

    /// As [`backward`](Self::backward), where somebody is told after each layer.
    pub fn backward_watched(
        &self,
        gradients: SmallVec<[Option<Tensor>; 1]>,
        cx: &mut Backward<'_>,
        mut watch: Option<Watch<'_>>,
    ) -> Result<Gradients> {
        let inputs_need_gradient = cx.wanted.iter().any(|&wanted| wanted);
        let flow = self.gradient_flow(inputs_need_gradient);
        let mut grads: Vec<SmallVec<[Option<Tensor>; 1]>> =
            self.nodes.iter().map(|node| smallvec::smallvec![None; node.output_shapes.len()]).collect();
        ensure!(
            gradients.len() == self.outputs.len(),
            Argument,
            "the model has {} outputs, got gradients for {}",
            self.outputs.len(),
            gradients.len()
        );
        for (port, gradient) in self.outputs.iter().zip(gradients) {
            if let Some(gradient) = gradient {
                add(&mut grads[port.node][port.output], gradient)?;
            }
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if self.inputs.contains(&i) || !flow[i] {
                continue;
            }
            let known: SmallVec<[Option<Tensor>; 1]> = std::mem::take(&mut grads[i]);
            let wanted: SmallVec<[bool; 4]> = node.inputs.iter().map(|port| flow[port.node]).collect();
            let began = watch.is_some().then(Instant::now);
            let result = cx
                .nested(cx.trainable && node.layer.trainable(), wanted, |cx| {
                    cx.gates = self.gates[i];
                    node.layer.backward(known, cx)
                })
                .at(|| node.layer.place())?;
            if let (Some(watch), Some(began)) = (&mut watch, began) {
                watch(i, began.elapsed(), cx.saved);
            }
            for (port, gradient) in node.inputs.iter().zip(result) {
                if let Some(gradient) = gradient
                    && flow[port.node]
                {
                    add(&mut grads[port.node][port.output], gradient)?;
                }
            }
        }
        Ok(self.inputs.iter().map(|&i| grads[i][0].take()).collect())
    }
}

/// Where a layer that ends in a ReLU has one reader, which can take over its gradient, that does.
fn gates(nodes: &[Node], readers: &[Vec<usize>]) -> Vec<Gates> {
    let mut gates = vec![Gates::default(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        let [port] = node.inputs[..] else { continue };
        let before = &nodes[port.node].layer;
        // A penalty on the output has a gradient of its own.
        let open = before.layer().ends_in_relu() && before.activity_regularizer().is_none();
        if open && readers[port.node] == [1] && node.layer.layer().gates_relu() {
            gates[i].input = true;
            gates[port.node].output = true;
        }
    }
    gates
}

/// The shape that comes out of a layer in a chain.
fn one_output(layer: &LayerHandle, inputs: &[Shape]) -> Result<Vec<Shape>> {
    let shapes = layer.output_shapes(inputs)?;
    ensure!(
        shapes.len() == 1,
        Argument,
        "{} has {} outputs; in a chain each layer has one",
        layer.place(),
        shapes.len()
    );
    Ok(shapes)
}

/// Values that a thread adds at once.
const CHUNK: usize = 1 << 17;

/// Adds a gradient to what is already there.
fn add(sum: &mut Option<Tensor>, gradient: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => gradient,
        Some(other) => {
            // Into the one that nobody else reads.
            let (mut to, from) = if other.is_shared() { (gradient, other) } else { (other, gradient) };
            ensure!(
                to.shape() == from.shape(),
                Shape,
                "gradients of one value have shapes {:?} and {:?}",
                to.shape(),
                from.shape()
            );
            threads::for_each_chunk(to.data_mut(), CHUNK, |i, to| {
                reduce::add(to, &from.data()[i * CHUNK..][..to.len()]);
            });
            to
        }
    });
    Ok(())
}
