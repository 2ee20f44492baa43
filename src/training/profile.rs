//! What each layer of a model costs.

use super::inputs::{Inputs, gather};
use crate::error::Result;
use crate::layer::{Backward, Effects, Forward, GradientStore, Param, Pass, Saved};
use crate::model::{Align, Column, Graph, Model, Table, bytes};
use crate::runtime::{Workspace, threads};
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

/// Runs that are measured: so many at most, ...
const MOST_RUNS: usize = 11;
/// ... as many as begin in this time, but 3 at least.
const TIME: Duration = Duration::from_secs(2);

/// What each layer of a model costs: see [`Model::profile`]. Printed it is a table; rates and totals are computed from
/// what its [`layers`](Self::layers) hold.
#[derive(Clone, Debug)]
pub struct Profile {
    model: String,
    batch: usize,
    threads: usize,
    runs: usize,
    layers: Vec<LayerProfile>,
}

/// What one call of a layer costs, for the whole batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerProfile {
    /// The layer's name.
    pub name: String,
    /// Its class: `"Conv2D"`.
    pub class_name: String,
    /// The shapes of its outputs, the batch first.
    pub output_shapes: Vec<Shape>,
    /// The time of the forward pass.
    pub forward: Duration,
    /// The time of the backward pass; zero where no gradient is asked for.
    pub backward: Duration,
    /// The floating-point operations of the forward pass, by the layer's formula: see
    /// [`Layer::flops`](crate::Layer::flops).
    pub forward_flops: f64,
    /// And of the backward pass, about: as many for the gradient of the inputs and for that of the weights, as far as
    /// they are asked for.
    pub backward_flops: f64,
    /// The memory of its outputs. Some layers hand on that of their inputs.
    pub output_bytes: usize,
    /// The memory of its weights. A layer that is called twice has them in both lines.
    pub weight_bytes: usize,
    /// What it keeps from the forward to the backward pass, less what a layer before it keeps already.
    pub saved_bytes: usize,
}

impl Model {
    /// Measures a step of training layer by layer: time and floating-point operations of the forward and of the backward
    /// pass, and the memory of outputs, of weights and of what the backward pass needs. `x` is one batch, as arrays whose
    /// first axis counts samples; the model need not be compiled, and nothing about it changes, but that stateful layers
    /// forget their states.
    ///
    /// Each layer sees the whole batch and shares its work among the threads. `fit` cuts a batch into pieces instead where
    /// that pays, and `predict` runs several layers as one (a convolution with the normalization and the activation behind
    /// it): both are faster than the sum of the lines. Loss and optimizer are not in it. A model inside is one line. Times are
    /// medians of several runs after one that does not count.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([8, 8, 3])).add(Conv2D::new(4, 3)).add(Flatten::new()).add(Dense::new(10));
    /// model.build()?;
    /// let profile = model.profile(&ndarray::Array4::<f32>::zeros((2, 8, 8, 3)))?;
    /// // A filter's 27 products and sums and its bias, in 6 x 6 places, for 4 filters and 2 samples.
    /// assert_eq!(profile.layers()[0].forward_flops, (2 * 27 + 1) as f64 * 36.0 * 4.0 * 2.0);
    /// println!("{profile}");
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When the model is not built, `x` is empty or has another shape than the model's input.
    pub fn profile<'a>(&self, x: impl Into<Inputs<'a>>) -> Result<Profile> {
        let x = x.into();
        let batch = x.samples("x")?;
        let graph = self.built()?;
        let rows: Vec<usize> = (0..batch).collect();
        let measured = threads::enter(|| measure(self, graph, &x, &rows));
        graph.nodes.iter().for_each(|node| node.layer.layer().reset_states());
        let (runs, nodes) = measured?;

        let inputs: Vec<Shape> = x.arrays().iter().map(|rows| Shape::batch_of(rows.sample_shape())).collect();
        let shapes = graph.shapes_for(&inputs)?;
        let flops = graph.flops_of(shapes.iter().map(Vec::as_slice));
        let flow = graph.gradient_flow(false);
        let with_batch = |shape: &Shape| {
            let dims = std::iter::once(Some(batch)).chain(shape.sample().iter().copied());
            Shape::new(dims.collect::<Vec<_>>())
        };
        let mut layers = Vec::new();
        for (i, (node, measured)) in graph.nodes.iter().zip(nodes).enumerate() {
            if graph.inputs.contains(&i) {
                continue;
            }
            let Measured { forward, backward, saved } = measured;
            // The gradient of the inputs costs as much as that of the weights.
            let goes_on = node.inputs.iter().any(|port| flow[port.node]);
            let passes = usize::from(goes_on) + usize::from(node.layer.learns());
            let forward_flops = flops[i] * batch as f64;
            let output_shapes: Vec<Shape> = shapes[i].iter().map(with_batch).collect();
            let values = shapes[i].iter().map(|shape| shape.sample_len().unwrap_or(0) * batch);
            layers.push(LayerProfile {
                name: node.layer.name(),
                class_name: node.layer.class_name(),
                output_bytes: 4 * values.sum::<usize>(),
                output_shapes,
                forward: median(forward),
                backward: median(backward),
                forward_flops,
                backward_flops: passes as f64 * forward_flops,
                weight_bytes: 4 * node.layer.weights().iter().map(Param::len).sum::<usize>(),
                saved_bytes: saved,
            });
        }
        Ok(Profile { model: self.name().to_owned(), batch, threads: threads::count(), runs, layers })
    }
}

/// What was measured of a node.
#[derive(Clone, Default)]
struct Measured {
    forward: Vec<Duration>,
    backward: Vec<Duration>,
    saved: usize,
}

/// Runs steps, and returns how many, and for each node its times and what it saves.
fn measure(model: &Model, graph: &Graph, x: &Inputs<'_>, rows: &[usize]) -> Result<(usize, Vec<Measured>)> {
    let mut nodes = vec![Measured::default(); graph.nodes.len()];
    let workspace = Workspace::new();
    let pass =
        Pass { training: true, seed: model.seed(), step: 0, first_sample: 0, share: 1.0, workspace: workspace.clone() };
    let mut gradients = GradientStore::new(&model.trainable_weights());
    let (began, mut runs) = (Instant::now(), 0);
    while runs < MOST_RUNS && (runs <= 3 || began.elapsed() < TIME) {
        let (mut saved, mut effects) = (Saved::default(), Effects::default());
        // Memory that was counted: of weights, and of what was saved before.
        let mut seen: HashSet<*const f32> =
            model.weights().iter().map(|weight| weight.value().data().as_ptr()).collect();
        let mut calls = 0;
        let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, true);
        let mut watch = |node: usize, time: Duration, saved: &Saved| {
            nodes[node].forward.push(time);
            nodes[node].saved = saved.bytes_after(calls, &mut seen);
            calls = saved.len();
        };
        let (outputs, _) = graph.forward_watched(gather(x, rows, &workspace), &mut cx, Some(&mut watch))?;
        let slopes = outputs.iter().map(|output| Some(Tensor::full(output.shape(), 1.0))).collect();
        drop(outputs);
        let mut cx = Backward {
            saved: &mut saved,
            gradients: &mut gradients,
            workspace: &workspace,
            share: 1.0,
            trainable: true,
            wanted: Default::default(),
            gates: Default::default(),
        };
        let mut watch = |node: usize, time: Duration, _: &Saved| nodes[node].backward.push(time);
        graph.backward_watched(slopes, &mut cx, Some(&mut watch))?;
        runs += 1;
    }
    Ok((runs - 1, nodes))
}

/// The median of all but the first, which warms caches and memory.
fn median(mut times: Vec<Duration>) -> Duration {
    let Some(times) = times.get_mut(1..).filter(|times| !times.is_empty()) else { return Duration::ZERO };
    times.sort();
    times[times.len() / 2]
}

impl Profile {
    /// The layers' calls, in the order in which they run, without inputs.
    pub fn layers(&self) -> &[LayerProfile] {
        &self.layers
    }

    /// The number of samples in the batch that was measured.
    pub fn batch_size(&self) -> usize {
        self.batch
    }

    /// The sums over all layers, as a line named `total` without shapes. Weights that several calls share count in each.
    pub fn total(&self) -> LayerProfile {
        let sum = |of: fn(&LayerProfile) -> usize| self.layers.iter().map(of).sum();
        LayerProfile {
            name: "total".to_owned(),
            class_name: String::new(),
            output_shapes: Vec::new(),
            forward: self.layers.iter().map(|layer| layer.forward).sum(),
            backward: self.layers.iter().map(|layer| layer.backward).sum(),
            forward_flops: self.layers.iter().map(|layer| layer.forward_flops).sum(),
            backward_flops: self.layers.iter().map(|layer| layer.backward_flops).sum(),
            output_bytes: sum(|layer| layer.output_bytes),
            weight_bytes: sum(|layer| layer.weight_bytes),
            saved_bytes: sum(|layer| layer.saved_bytes),
        }
    }
}

impl LayerProfile {
    /// Floating-point operations a second of the forward pass, in thousands of millions.
    pub fn forward_gflops(&self) -> f64 {
        rate(self.forward_flops, self.forward)
    }

    /// And of the backward pass.
    pub fn backward_gflops(&self) -> f64 {
        rate(self.backward_flops, self.backward)
    }

    fn cells(&self, title: String) -> Vec<String> {
        let shapes: Vec<String> = self.output_shapes.iter().map(ToString::to_string).collect();
        let speed = |flops: f64, rate: f64| if flops > 0.0 { format!("{rate:.1}") } else { "-".to_owned() };
        let memory = |n: usize| if n > 0 { bytes(n) } else { "-".to_owned() };
        vec![
            title,
            shapes.join(", "),
            operations(self.forward_flops),
            time(self.forward),
            speed(self.forward_flops, self.forward_gflops()),
            time(self.backward),
            speed(self.backward_flops, self.backward_gflops()),
            memory(self.output_bytes),
            memory(self.weight_bytes),
            memory(self.saved_bytes),
        ]
    }
}

fn rate(flops: f64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { flops / time.as_secs_f64() / 1e9 }
}

fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        0.0 => "-".to_owned(),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

fn operations(flops: f64) -> String {
    match flops {
        0.0 => "-".to_owned(),
        n if n < 1e3 => format!("{n}"),
        n if n < 1e6 => format!("{:.2} k", n / 1e3),
        n if n < 1e9 => format!("{:.2} M", n / 1e6),
        n => format!("{:.2} G", n / 1e9),
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let right = |title| Column::new(title, Align::Right, 8);
        let columns = [
            Column { most: 40, ..Column::new("Layer (type)", Align::Left, 12) },
            Column { most: 40, ..Column::new("Output Shape", Align::Left, 12) },
            right("FLOPs"),
            right("Forward"),
            right("GFLOP/s"),
            right("Backward"),
            right("GFLOP/s"),
            right("Output"),
            right("Weights"),
            right("Saved"),
        ];
        let line = |layer: &LayerProfile| layer.cells(format!("{} ({})", layer.name, layer.class_name));
        let mut rows: Vec<Vec<String>> = self.layers.iter().map(line).collect();
        rows.push(self.total().cells("total".to_owned()));
        let threads = if self.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", self.threads) };
        writeln!(
            f,
            "Model: \"{}\", a batch of {} on {threads}, layer by layer, medians of {} runs",
            self.model, self.batch, self.runs
        )?;
        write!(f, "{}", Table::new(&columns, &rows))
    }
}
