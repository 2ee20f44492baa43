//! A look at what flows through a layer, forward and backward.

use crate::data::Rows;
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, LayerHandle, Values};
use crate::model::nested::Nested;
use crate::model::{Graph, Model, Node, Port};
use crate::tensor::Tensor;
use crate::training::Differentiate;
use std::sync::{Arc, Mutex, PoisonError};

/// What passed.
#[derive(Default)]
struct Seen {
    output: Option<Tensor>,
    gradient: Option<Tensor>,
}

/// A layer that hands on what it is given, and keeps it.
struct Probe(Arc<Mutex<Seen>>);

impl Layer for Probe {
    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> Result<Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).output = inputs.first().cloned();
        Ok(inputs)
    }

    fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> Result<Gradients> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gradient = gradients.first().cloned();
        Ok(gradients.into_iter().map(Some).collect())
    }
}

/// The first of the samples, as a batch of one.
pub(super) fn first_sample(x: &dyn Rows) -> Result<Tensor> {
    ensure!(!x.is_empty(), Data, "there is no image: x is empty");
    let mut shape = vec![1];
    shape.extend_from_slice(&x.sample_shape());
    let mut tensor = Tensor::zeros(&shape);
    x.gather(&[0], tensor.data_mut());
    Ok(tensor)
}

/// The layer of this name; `a/b` is the layer `b` of the model `a` inside.
pub(super) fn layer_at(model: &Model, layer: &str) -> Result<LayerHandle> {
    if let Some((outer, inner)) = layer.split_once('/')
        && let Ok(outer) = model.layer(outer)
        && let Some(found) = outer.downcast(|nested: &Nested| layer_at(nested.model(), inner))
    {
        return found;
    }
    model.layer(layer)
}

/// The output of a layer for one sample. `a/b` is the layer `b` of the model `a` inside; of a layer that is called several
/// times the last call counts.
pub(super) fn output_of(model: &Model, layer: &str, x: &Tensor) -> Result<Tensor> {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let model = of_graph(with_probe(model.built()?, layer, &seen)?);
    model.forward(x, false, Differentiate::Weights)?;
    let output = seen.lock().unwrap_or_else(PoisonError::into_inner).output.take();
    output.ok_or_else(|| Error::State(format!("layer '{layer}' gave no output")))
}

/// The output of a layer, and the gradient by it of the score of a class.
pub(super) struct Slopes {
    /// What the layer put out; without a layer, the input.
    pub(super) output: Tensor,
    /// How the score changes with it.
    pub(super) gradient: Tensor,
}

/// How the score of a class changes with the output of a layer, or with the input. The score is what the last layer has
/// before its softmax or sigmoid.
pub(super) fn slopes_of(model: &Model, layer: Option<&str>, class: usize, x: &Tensor) -> Result<Slopes> {
    let (graph, kernel) = until_scores(model.built()?)?;
    if let Some(layer) = layer
        && !graph.nodes.iter().any(|node| node.layer.name() == layer)
        && model.built()?.nodes.iter().any(|node| node.layer.name() == layer)
    {
        return Err(Error::Argument(format!("layer '{layer}' ends the model: its output is the scores, not a map")));
    }
    let seen = Arc::new(Mutex::new(Seen::default()));
    let graph = match layer {
        Some(layer) => with_probe(&graph, layer, &seen)?,
        None => graph,
    };
    let mut model = of_graph(graph);
    let pass = model.forward(x, false, Differentiate::Inputs)?;
    let mut slope = Tensor::zeros(pass.output().shape());
    match &kernel {
        // The score is a product of the output with a column of the kernel.
        Some(kernel) => {
            let classes = kernel.last();
            slope.data_mut().iter_mut().enumerate().for_each(|(i, s)| *s = kernel.data()[i * classes + class]);
        }
        None => slope.data_mut()[class] = 1.0,
    }
    let found = model.backward(pass, slope)?;
    let (output, gradient) = match layer {
        Some(_) => {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            (seen.output.take(), seen.gradient.take())
        }
        None => (Some(x.clone()), found.inputs.into_iter().next().flatten()),
    };
    match (output, gradient) {
        (Some(output), Some(gradient)) => Ok(Slopes { output, gradient }),
        _ => Err(Error::Argument(format!(
            "the score of a class does not depend on {}, or a layer between them has no gradient",
            layer.map_or_else(|| "the input".to_owned(), |layer| format!("layer '{layer}'"))
        ))),
    }
}

/// The scores of classes, `(1, classes)` of the only or first output, and the class with the largest; of one unit the
/// class it speaks for, 1.
pub(super) fn predicted_class(model: &Model, x: &Tensor) -> Result<(Vec<f32>, usize)> {
    let outputs = model.predict_all(x, Default::default())?;
    let shape = outputs.first().map(|output| output.shape().to_vec()).unwrap_or_default();
    ensure!(
        shape.len() == 2 && shape[1] > 0,
        Shape,
        "the model's output for an image has the shape {shape:?}; expected (1, classes)"
    );
    let scores: Vec<f32> = outputs[0].iter().copied().collect();
    let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
    let best = if scores.len() == 1 { 1 } else { best };
    Ok((scores, best))
}

/// The last layer whose output is an image or map: where Grad-CAM looks if it is not told.
pub(super) fn last_map(model: &Model) -> Result<String> {
    let graph = model.built()?;
    let maps = graph.nodes.iter().rev().filter(|node| !node.inputs.is_empty());
    let mut maps = maps.filter(|node| node.output_shapes.first().is_some_and(|shape| shape.rank() == 4));
    // A pool behind it has fewer cells, a normalization or activation as many: the last convolution is what is meant.
    let convolution = maps.clone().find(|node| node.layer.class_name().contains("Conv"));
    let node = convolution.or_else(|| maps.next()).ok_or_else(|| {
        Error::Argument("no layer has an output (batch, height, width, channels); Grad-CAM needs one".to_owned())
    })?;
    Ok(node.layer.name())
}

fn of_graph(graph: Graph) -> Model {
    Model { graph: Some(graph), ..Model::empty_seeded("probe", 0) }
}

/// The graph up to the scores: without a softmax or sigmoid that stands alone, or without the Dense layer that has one,
/// whose kernel is handed out.
fn until_scores(graph: &Graph) -> Result<(Graph, Option<Tensor>)> {
    let out = *graph.outputs.first().ok_or_else(|| Error::State("the model has no output".to_owned()))?;
    let node = &graph.nodes[out.node];
    let class = node.layer.class_name();
    let squashes = || {
        let config = node.layer.layer().config().unwrap_or_default();
        matches!(config.get("activation").and_then(|name| name.as_str()), Some("softmax" | "sigmoid"))
    };
    let (end, kernel) = match class.as_str() {
        "Dense" if squashes() => (node.inputs[0], node.layer.weights().first().map(|kernel| kernel.value())),
        "Softmax" => (node.inputs[0], None),
        "Activation" if squashes() => (node.inputs[0], None),
        _ => (out, None),
    };
    let mut nodes = graph.nodes.clone();
    // What stands behind the scores need not run.
    if end != out && out.node + 1 == nodes.len() {
        nodes.pop();
    }
    Ok((Graph::new(nodes, graph.inputs.clone(), vec![end], graph.order().to_vec()), kernel))
}

/// The same graph with a probe behind a layer.
fn with_probe(graph: &Graph, layer: &str, seen: &Arc<Mutex<Seen>>) -> Result<Graph> {
    let find = |name: &str| graph.nodes.iter().rposition(|node| node.layer.name() == name);
    let mut nodes = graph.nodes.clone();
    if let Some((outer, inner)) = layer.split_once('/')
        && let Some(i) = find(outer)
        && let Some(within) = nodes[i].layer.downcast(|nested: &Nested| nested.model().graph.clone()).flatten()
    {
        let within = Model { graph: Some(with_probe(&within, inner, seen)?), ..Model::empty_seeded(outer, 0) };
        nodes[i].layer = LayerHandle::from(Nested::whole(within));
        nodes[i].layer.set_name(outer.to_owned());
        return Ok(Graph::new(nodes, graph.inputs.clone(), graph.outputs.clone(), graph.order().to_vec()));
    }
    let i = find(layer).ok_or_else(|| {
        let names: Vec<String> = nodes.iter().map(|node| node.layer.name()).collect();
        Error::unknown_name("layer of this model", layer, names.iter().map(String::as_str))
    })?;
    // The probe comes right behind the layer, all that read the layer read it, and the nodes behind move by one.
    let moved = |port: Port| match port {
        Port { node, output: 0 } if node == i => Port { node: i + 1, output: 0 },
        Port { node, output } => Port { node: node + usize::from(node > i), output },
    };
    for node in &mut nodes {
        node.inputs.iter_mut().for_each(|port| *port = moved(*port));
        node.masks.iter_mut().flatten().for_each(|port| *port = moved(*port));
    }
    let probe = LayerHandle::from(Probe(seen.clone()));
    probe.set_name(format!("{layer}/probe"));
    let shapes = nodes[i].output_shapes[..1].to_vec();
    nodes.insert(i + 1, Node::new(probe, vec![Port { node: i, output: 0 }], shapes, Default::default()));
    let inputs = graph.inputs.iter().map(|&input| input + usize::from(input > i)).collect();
    let outputs = graph.outputs.iter().map(|&port| moved(port)).collect();
    Ok(Graph::new(nodes, inputs, outputs, graph.order().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{CallExt, LayerExt};
    use crate::layers::{Activation, Add, Conv2D, Dense, Flatten, Input};
    use crate::model::Sequential;
    use crate::shape::Padding;
    use ndarray::Array4;

    fn image() -> Tensor {
        Tensor::from(Array4::from_shape_fn((1, 4, 5, 2), |(_, i, j, c)| {
            ((7 * i + 3 * j + 5 * c) % 11) as f32 / 5.0 - 1.0
        }))
    }

    /// A residual network, from the image to the scores, and the output of its first convolution.
    fn residual(last: &str) -> (Model, Model, Model) {
        let x = Input::new([4, 5, 2]).node();
        let a = Conv2D::new(3, 3).padding(Padding::Same).activation("relu").name("a").call(&x).unwrap();
        let b = Conv2D::new(3, 3).padding(Padding::Same).name("b").call(&a).unwrap();
        // Smooth, so that differences are slopes.
        let sum = Activation::new("tanh").call(Add::new().call([&a, &b]).unwrap()).unwrap();
        let scores = Dense::new(4).name("head").call(Flatten::new().call(&sum).unwrap()).unwrap();
        let y = Activation::new(last).call(&scores).unwrap();
        let whole = Model::seeded("m", 5, &x, &y).unwrap();
        (whole, Model::new(&x, &a).unwrap(), Model::new(&a, &scores).unwrap())
    }

    #[test]
    fn outputs_are_those_of_the_layer() {
        let (model, head, _) = residual("softmax");
        let output = output_of(&model, "a", &image()).unwrap();
        assert_eq!(output.view(), head.predict(&image(), Default::default()).unwrap());
        let message = output_of(&model, "aa", &image()).unwrap_err().to_string();
        assert!(message.contains("unknown layer of this model 'aa'") && message.contains("'a'"), "{message}");
    }

    #[test]
    fn slopes_are_the_finite_differences_of_the_score() {
        for last in ["softmax", "sigmoid", "linear"] {
            let (model, head, tail) = residual(last);
            let a = Tensor::from(head.predict(&image(), Default::default()).unwrap());
            for class in [0, 3] {
                let slopes = slopes_of(&model, Some("a"), class, &image()).unwrap();
                assert_eq!(slopes.output, a);
                for i in (0..a.len()).step_by(7) {
                    let score = |by: f32| {
                        let mut a = a.clone();
                        a.data_mut()[i] += by;
                        f64::from(tail.predict(&a, Default::default()).unwrap()[[0, class]])
                    };
                    let slope = (score(1e-2) - score(-1e-2)) / 2e-2;
                    let found = f64::from(slopes.gradient.data()[i]);
                    assert!((slope - found).abs() < 2e-3, "{last} {class} {i}: {slope} {found}");
                }
            }
        }
    }

    #[test]
    fn a_softmax_inside_the_last_layer_is_left_out_too() {
        let mut model = Sequential::new().with_seed(2);
        model.add(Input::new([4, 5, 2])).add(Flatten::new()).add(Dense::new(3).activation("softmax").name("head"));
        model.build().unwrap();
        let slopes = slopes_of(&model, None, 1, &image()).unwrap();
        let kernel = model.layer("head").unwrap().weights()[0].value();
        let column: Vec<f32> = kernel.data().iter().skip(1).step_by(3).copied().collect();
        assert_eq!(slopes.gradient.data(), column);
        assert_eq!(slopes.gradient.shape(), [1, 4, 5, 2]);
    }

    /// Models without a seed take theirs in the order in which they are made; looking at one makes none.
    #[test]
    fn looking_changes_no_seeds() {
        let (model, ..) = residual("softmax");
        let weights = model.get_weights();
        slopes_of(&model, Some("a"), 1, &image()).unwrap();
        assert_eq!(model.get_weights(), weights);
        assert_eq!((of_graph(model.built().unwrap().clone()).seed(), model.seed()), (0, 5));
    }

    #[test]
    fn layers_of_models_inside_are_found_by_path() {
        let mut base = Sequential::new().with_name("base").with_seed(1);
        base.add(Input::new([4, 5, 2])).add(Conv2D::new(3, 3).activation("relu").name("conv"));
        base.add(Conv2D::new(2, 2).name("last"));
        base.build().unwrap();
        let mut model = Sequential::new().with_seed(1);
        model.add(Input::new([4, 5, 2])).add(base.as_layer()).add(Flatten::new());
        model.add(Dense::new(2).activation("softmax"));
        model.build().unwrap();
        let inner = output_of(&base, "conv", &image()).unwrap();
        assert_eq!(output_of(&model, "base/conv", &image()).unwrap(), inner);
        assert_eq!(slopes_of(&model, Some("base/conv"), 1, &image()).unwrap().gradient.shape(), [1, 2, 3, 3]);
        assert_eq!(slopes_of(&model, Some("base"), 1, &image()).unwrap().gradient.shape(), [1, 1, 2, 2]);
        assert!(output_of(&model, "base/none", &image()).unwrap_err().to_string().contains("'none'"));
    }
}
