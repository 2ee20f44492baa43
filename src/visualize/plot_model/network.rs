//! The calls of a model's layers, those of models inside among them.

use crate::error::Result;
use crate::model::nested::Nested;
use crate::model::{Graph, Model, Port};

/// What an operation is coloured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Input,
    Weights,
    Pool,
    /// Normalization and dropout.
    Regular,
    Model,
    Other,
}

/// One call of a layer.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) kind: Kind,
    /// The shapes of what it reads and puts out.
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    /// The model inside which it stands.
    pub(super) group: Option<usize>,
}

/// Operations, each after those it reads; pairs of one that is read and one that reads it; the models inside.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) operations: Vec<Operation>,
    pub(super) edges: Vec<(usize, usize)>,
    pub(super) groups: Vec<String>,
}

impl Network {
    pub(super) fn of(model: &Model, expand: bool) -> Result<Self> {
        let mut network = Network::default();
        network.add(model.built()?, "", expand, None, None);
        Ok(network)
    }

    /// Adds the calls of a graph, whose inputs are those operations if it is a model inside; returns the operations that
    /// give its outputs.
    fn add(
        &mut self,
        graph: &Graph,
        path: &str,
        expand: bool,
        group: Option<usize>,
        given: Option<&[usize]>,
    ) -> Vec<usize> {
        // Which operation gives each output of each node.
        let mut sources: Vec<Vec<usize>> = Vec::with_capacity(graph.nodes.len());
        let source = |sources: &[Vec<usize>], port: &Port| sources[port.node][port.output];
        for (i, node) in graph.nodes.iter().enumerate() {
            let place = graph.inputs.iter().position(|&input| input == i);
            if let (Some(place), Some(given)) = (place, given) {
                sources.push(vec![given[place]]);
                continue;
            }
            let reads: Vec<usize> = node.inputs.iter().map(|port| source(&sources, port)).collect();
            let within = node.layer.downcast(|nested: &Nested| nested.model().graph.clone()).flatten();
            let earlier = graph.nodes[..i].iter().filter(|other| other.layer.is(&node.layer)).count();
            let call = if earlier > 0 { format!(" (call {})", earlier + 1) } else { String::new() };
            let name = format!("{path}{}{call}", node.layer.name());
            if let Some(within) = within.as_ref().filter(|_| expand) {
                self.groups.push(name.clone());
                let group = self.groups.len() - 1;
                sources.push(self.add(within, &format!("{name}/"), expand, Some(group), Some(&reads)));
                continue;
            }
            let class = node.layer.class_name();
            let shape = |port: &Port| graph.nodes[port.node].output_shapes[port.output].to_string();
            let kind = match class.as_str() {
                "InputLayer" => Kind::Input,
                _ if within.is_some() => Kind::Model,
                class if class.contains("Pooling") => Kind::Pool,
                class if class.contains("Normalization") || class.contains("Dropout") => Kind::Regular,
                _ if node.layer.count_params() > 0 => Kind::Weights,
                _ => Kind::Other,
            };
            self.operations.push(Operation {
                name,
                class,
                kind,
                inputs: node.inputs.iter().map(shape).collect(),
                outputs: node.output_shapes.iter().map(ToString::to_string).collect(),
                group,
            });
            let number = self.operations.len() - 1;
            self.edges.extend(reads.iter().map(|&from| (from, number)));
            sources.push(vec![number; node.output_shapes.len()]);
        }
        graph.outputs.iter().map(|port| source(&sources, port)).collect()
    }
}
