//! A model as a layer of another.

use super::{Graph, Model};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, LayerHandle, Param, Values};
use crate::shape::Shape;
use serde_json::Value;

/// The layers of a model, called together.
pub(crate) struct Nested {
    model: Model,
}

impl Nested {
    /// A layer that shares the layers of `model`.
    pub fn of(model: &Model) -> Self {
        Nested { model: model.twin() }
    }

    /// A layer that is this model.
    #[cfg(feature = "plot")]
    pub fn whole(model: Model) -> Self {
        Nested { model }
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    fn graph(&self) -> Result<&Graph> {
        self.model.graph.as_ref().ok_or_else(|| Error::State("the model inside is not built".to_owned()))
    }
}

impl Layer for Nested {
    fn class_name(&self) -> &str {
        self.model.class_name()
    }

    fn config(&self) -> Result<Config> {
        match self.model.to_value()?["config"].take() {
            Value::Object(config) => Ok(config),
            _ => Ok(Config::new()),
        }
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        match self.model.graph.as_ref().or(self.model.pending.as_ref()) {
            Some(graph) => graph.output_shapes_for(inputs),
            None => Graph::chain_shapes(&self.model.chain, inputs),
        }
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        self.model.build_in(inputs.first().cloned(), cx)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let (outputs, masks) = self.graph()?.forward(inputs, cx)?;
        cx.set_masks(masks);
        Ok(outputs)
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        self.graph()?.backward(gradients.into_iter().map(Some).collect(), cx)
    }

    fn flops(&self, inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        let flops =
            |graph: &Graph| Some(graph.flops_of(graph.shapes_for(inputs).ok()?.iter().map(Vec::as_slice)).iter().sum());
        self.graph().ok().and_then(flops).unwrap_or(0.0)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        self.model.layers().iter().for_each(|layer: &LayerHandle| layer.visit(visit));
    }

    fn reset_states(&self) {
        if let Ok(graph) = self.graph() {
            graph.nodes.iter().for_each(|node| node.layer.layer().reset_states());
        }
    }

    fn carries_states(&self) -> bool {
        self.graph().is_ok_and(Graph::carries_states)
    }

    fn visit_states(&self, visit: &mut dyn FnMut(&Param)) {
        if let Ok(graph) = self.graph() {
            graph.nodes.iter().for_each(|node| node.layer.layer().visit_states(visit));
        }
    }

    fn couples_samples(&self) -> bool {
        self.graph().is_ok_and(Graph::couples_samples)
    }

    fn creates_mask(&self) -> bool {
        self.graph().is_ok_and(Graph::creates_mask)
    }
}
