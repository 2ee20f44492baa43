//! A model as a graph of TensorBoard: a node for each call of a layer, those of a model inside in a box of their own.

use crate::model::nested::Nested;
use crate::model::{Graph, Model};
use crate::tensorboard::GraphNode;
use std::collections::HashSet;

pub(super) fn nodes(model: &Model) -> Vec<GraphNode> {
    let mut nodes = Vec::new();
    if let Ok(graph) = model.built() {
        walk(graph, "", &[], &mut nodes, &mut HashSet::new());
    }
    nodes
}

/// Adds the calls of a graph under names below `scope`; its inputs come from what is `given`, if anything is. Returns where
/// its outputs come from.
fn walk(
    graph: &Graph,
    scope: &str,
    given: &[String],
    nodes: &mut Vec<GraphNode>,
    taken: &mut HashSet<String>,
) -> Vec<String> {
    // For each node what its outputs are called.
    let mut sources: Vec<Vec<String>> = Vec::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        let place = graph.inputs.iter().position(|&input| input == i);
        if let Some(source) = place.and_then(|place| given.get(place)) {
            sources.push(vec![source.clone()]);
            continue;
        }
        // These would be read as something else than a part of the name.
        let layer = node.layer.name().replace(|c: char| ":^/".contains(c) || c.is_whitespace(), "_");
        let name = match graph.call_number(i) {
            0 => format!("{scope}{layer}"),
            call => format!("{scope}{layer}_{call}"),
        };
        let name = free(name, taken);
        let inputs: Vec<String> = node.inputs.iter().map(|port| sources[port.node][port.output].clone()).collect();
        let inside = |nested: &Nested| {
            let inner = nested.model().built().ok()?;
            Some(walk(inner, &format!("{name}/"), &inputs, nodes, taken))
        };
        if let Some(outputs) = node.layer.downcast(inside).flatten() {
            sources.push(outputs);
            continue;
        }
        let outputs = 0..node.output_shapes.len();
        sources.push(outputs.map(|k| if k == 0 { name.clone() } else { format!("{name}:{k}") }).collect());
        let (op, params) = (node.layer.class_name(), node.layer.count_params());
        nodes.push(GraphNode { name, op, inputs, shapes: node.output_shapes.clone(), params });
    }
    graph.outputs.iter().map(|port| sources[port.node][port.output].clone()).collect()
}

/// A name that no other node has: this one, if need be with a number behind.
fn free(name: String, taken: &mut HashSet<String>) -> String {
    let numbered = (1..).map(|number| format!("{name}_{number}"));
    let free = std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or(name);
    taken.insert(free.clone());
    free
}
