//! The executor: one for every kind of model. A Sequential is a graph that is a chain.

use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Backward, Build, Forward, Gradients, LayerHandle, Values};
use crate::layers::Input;
use crate::random;
use crate::shape::Shape;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::collections::HashSet;

/// One output of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub node: usize,
    pub output: usize,
}

/// One call of a layer.
#[derive(Debug)]
pub(crate) struct Node {
    pub layer: LayerHandle,
    /// Where its inputs come from: nodes before this one.
    pub inputs: Vec<Port>,
    pub output_shapes: Vec<Shape>,
    /// What its random draws depend on.
    stream: u64,
}

/// Calls of layers in an order in which each comes after those it depends on.
#[derive(Debug)]
pub(crate) struct Graph {
    pub nodes: Vec<Node>,
    /// The nodes that stand for the model's inputs.
    pub inputs: Vec<usize>,
    pub outputs: Vec<Port>,
    /// How many nodes and model outputs read each output of each node.
    readers: Vec<Vec<usize>>,
}

impl Graph {
    /// Builds a chain of layers, for inputs of `shape` unless the first of them is an Input.
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
            let name = layer.name();
            let output_shapes = layer.output_shapes(&input_shapes)?;
            ensure!(
                output_shapes.len() == 1,
                Argument,
                "{} has {} outputs; in a chain each layer has one",
                layer.place(),
                output_shapes.len()
            );
            nodes.push(Node { layer: layer.clone(), inputs, output_shapes, stream: random::stream_of(&name) });
        }
        for node in &nodes {
            let inputs: Vec<Shape> =
                node.inputs.iter().map(|port| nodes[port.node].output_shapes[port.output].clone()).collect();
            node.layer.build(&inputs, cx)?;
        }
        let outputs = vec![Port { node: nodes.len() - 1, output: 0 }];
        Ok(Graph::new(nodes, vec![0], outputs))
    }

    fn new(nodes: Vec<Node>, inputs: Vec<usize>, outputs: Vec<Port>) -> Self {
        let mut readers: Vec<Vec<usize>> = nodes.iter().map(|node| vec![0; node.output_shapes.len()]).collect();
        for port in nodes.iter().flat_map(|node| &node.inputs).chain(&outputs) {
            readers[port.node][port.output] += 1;
        }
        Graph { nodes, inputs, outputs, readers }
    }

    /// The layers, each once, without inputs.
    pub fn layers(&self) -> Vec<LayerHandle> {
        let mut seen = HashSet::new();
        let calls = self.nodes.iter().enumerate().filter(|(i, _)| !self.inputs.contains(i));
        calls.map(|(_, node)| node.layer.clone()).filter(|layer| seen.insert(layer.name())).collect()
    }

    pub fn input_shapes(&self) -> Vec<Shape> {
        self.inputs.iter().map(|&i| self.nodes[i].output_shapes[0].clone()).collect()
    }

    pub fn output_shapes(&self) -> Vec<Shape> {
        self.outputs.iter().map(|port| self.nodes[port.node].output_shapes[port.output].clone()).collect()
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
    fn gradient_flow(&self, inputs_need_gradient: bool) -> SmallVec<[bool; 32]> {
        let mut flow: SmallVec<[bool; 32]> = SmallVec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let from_before = node.inputs.iter().any(|port| flow[port.node]);
            let is_input = inputs_need_gradient && self.inputs.contains(&i);
            // A penalty on an output matters only if something before it learns.
            flow.push(from_before || is_input || node.layer.learns());
        }
        flow
    }

    /// Runs all layers. What they save for the backward pass lies in `cx`, call by call.
    pub fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        self.check_inputs(inputs.iter().map(Tensor::shape).collect::<SmallVec<[_; 4]>>().into_iter())?;
        let batch = inputs.first().map_or(0, Tensor::batch);
        let recording = cx.recording;
        let flow = if recording { self.gradient_flow(cx.inputs_need_gradient) } else { SmallVec::new() };
        let mut values: Vec<SmallVec<[Option<Tensor>; 1]>> =
            self.nodes.iter().map(|node| smallvec::smallvec![None; node.output_shapes.len()]).collect();
        let mut left = self.readers.clone();
        for (&node, tensor) in self.inputs.iter().zip(inputs) {
            values[node][0] = Some(tensor);
        }
        // The last reader of a value owns it, so that a layer can work in place.
        let mut read = |values: &mut Vec<SmallVec<[Option<Tensor>; 1]>>, port: &Port| {
            let count = &mut left[port.node][port.output];
            *count -= 1;
            let slot = &mut values[port.node][port.output];
            let value = if *count == 0 { slot.take() } else { slot.clone() };
            value.ok_or_else(|| Error::State("a layer's input was not computed".to_owned()))
        };
        for (i, node) in self.nodes.iter().enumerate() {
            if node.inputs.is_empty() {
                continue;
            }
            let inputs: Values = node.inputs.iter().map(|port| read(&mut values, port)).collect::<Result<_>>()?;
            let records = recording && flow[i];
            let need = records && node.inputs.iter().any(|port| flow[port.node]);
            let outputs = cx
                .nested(node.stream, node.layer.trainable(), records, need, |cx| node.layer.forward(inputs, cx))
                .at(|| node.layer.place())?;
            ensure!(
                outputs.len() == node.output_shapes.len(),
                State,
                "{} gave {} outputs where {} were promised",
                node.layer.place(),
                outputs.len(),
                node.output_shapes.len()
            );
            values[i] = outputs.into_iter().map(Some).collect();
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
        Ok(outputs)
    }

    /// Runs all layers backwards, from the gradients of the outputs to those of the inputs.
    pub fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
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
            add(&mut grads[port.node][port.output], gradient)?;
        }
        for (i, node) in self.nodes.iter().enumerate().rev() {
            if node.inputs.is_empty() || !flow[i] {
                continue;
            }
            let known: SmallVec<[Option<Tensor>; 1]> = std::mem::take(&mut grads[i]);
            let wanted: SmallVec<[bool; 4]> = node.inputs.iter().map(|port| flow[port.node]).collect();
            let result = cx
                .nested(node.layer.trainable(), wanted, |cx| node.layer.backward(known, cx))
                .at(|| node.layer.place())?;
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

/// Adds a gradient to what is already there.
fn add(sum: &mut Option<Tensor>, gradient: Tensor) -> Result<()> {
    *sum = Some(match sum.take() {
        None => gradient,
        Some(sum) => sum.zip_map(&gradient, |a, b| a + b)?,
    });
    Ok(())
}
