//! Which layers of a graph run as one when it predicts.
//!
//! A layer that says so ([`Layer::fuses`]) does the work of those behind it as it stores its results: a normalization,
//! the sum at the end of a residual block, an activation, a pooling; and reads its input as if zeros stood around it. The executor
//! knows none of these layers by name.

use super::graph::{Node, Port};
use crate::error::Result;
use crate::layer::{Fused, Fusible, LayerHandle, Param};
use crate::shape::Shape;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, PoisonError};

/// What happens at a node when the graph predicts.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// Its layer is called.
    Alone,
    /// Its input is its output: the reader knows what is missing.
    Passes,
    /// Nothing: the last node of its group does it.
    Inside,
    /// The first node's layer is called, and does the work of all nodes of the group.
    Ends(Group),
}

/// A layer and those whose work it does.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The node whose layer that is.
    pub head: usize,
    padding: [[usize; 2]; 2],
    affine: Option<Affine>,
    /// What is added to the results.
    pub sum: Option<Port>,
    activation: Option<crate::Activation>,
    max_pooling: Option<[usize; 2]>,
}

/// An affine layer, and its factors and offsets with the versions of the weights that they were made from.
#[derive(Clone, Debug)]
struct Affine {
    layer: LayerHandle,
    kept: Arc<Mutex<Option<Kept>>>,
}

type Kept = (Versions, [Tensor; 2]);
type Versions = SmallVec<[u64; 4]>;

impl Affine {
    fn values(&self) -> Result<[Tensor; 2]> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut versions = Versions::new();
        self.layer.visit(&mut |param: &Param| versions.push(param.version()));
        if let Some((made, values)) = &*kept
            && *made == versions
        {
            return Ok(values.clone());
        }
        let values = self.layer.layer().affine()?;
        *kept = Some((versions, values.clone()));
        Ok(values)
    }
}

impl Group {
    /// What the head is asked to do, with what it is to add.
    pub fn fused(&self, sum: Option<Tensor>) -> Result<Fused> {
        let affine = self.affine.as_ref().map(Affine::values).transpose()?;
        let (padding, activation, max_pooling) = (self.padding, self.activation.clone(), self.max_pooling);
        Ok(Fused { padding, affine, sum, activation, max_pooling })
    }
}

/// The role of each node, of whose outputs so many others and outputs of the graph read each.
pub(super) fn roles(nodes: &[Node], readers: &[Vec<usize>]) -> Vec<Role> {
    let mut roles = vec![Role::Alone; nodes.len()];
    let mut only_reader = vec![None; nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for port in node.inputs.iter().filter(|port| readers[port.node] == [1]) {
            only_reader[port.node] = Some(i);
        }
    }
    // A node whose call is nothing but the layer and its inputs.
    let plain = |node: &Node| node.masks.iter().all(Option::is_none) && node.arguments.is_empty();
    let fusible = |node: &Node| {
        let shape = |port: &Port| nodes[port.node].output_shapes[port.output].clone();
        let shapes: Vec<Shape> = node.inputs.iter().map(shape).collect();
        // A penalty is on its own output.
        let open = plain(node) && node.layer.activity_regularizer().is_none();
        if open { node.layer.layer().fusible(&shapes) } else { None }
    };
    for head in 0..nodes.len() {
        let (node, layer) = (&nodes[head], &nodes[head].layer);
        if !matches!(roles[head], Role::Alone) || !plain(node) {
            continue;
        }
        let mut group = Group { head, ..Group::default() };
        if let [port] = node.inputs[..]
            && only_reader[port.node] == Some(head)
            && matches!(roles[port.node], Role::Alone)
            && let Some(padding @ Fusible::Padding(margins)) = fusible(&nodes[port.node])
        {
            let positive =
                matches!(nodes[port.node].inputs[..], [port] if nodes[port.node].layer.layer().ends_in_relu());
            if layer.layer().fuses(&[padding], positive) {
                group.padding = margins;
                roles[port.node] = Role::Passes;
            }
        }
        let (mut what, mut inside) = (Vec::new(), vec![head]);
        let mut last = head;
        while layer.activity_regularizer().is_none()
            && let Some(next) = only_reader[last].filter(|next| matches!(roles[*next], Role::Alone))
            && let Some(more) = fusible(&nodes[next])
            && what.last().map_or(0, place) < place(&more)
        {
            what.push(more);
            if !layer.layer().fuses(&what, false) {
                what.pop();
                break;
            }
            match &what[what.len() - 1] {
                // In front of the head alone; the condition above lets none through.
                Fusible::Padding(_) => {}
                Fusible::Affine => {
                    group.affine = Some(Affine { layer: nodes[next].layer.clone(), kept: Arc::default() });
                }
                Fusible::Sum => group.sum = nodes[next].inputs.iter().find(|port| port.node != last).copied(),
                Fusible::Activation(activation) => group.activation = Some(activation.clone()),
                Fusible::MaxPooling(window) => group.max_pooling = Some(*window),
            }
            inside.push(next);
            last = next;
        }
        if what.is_empty() && group.padding == [[0; 2]; 2] {
            continue;
        }
        inside.into_iter().for_each(|node| roles[node] = Role::Inside);
        roles[last] = Role::Ends(group);
    }
    roles
}

/// The place of its field in [`Fused`], which holds each once and is worked off in this order.
fn place(what: &Fusible) -> usize {
    match what {
        Fusible::Padding(_) => 0,
        Fusible::Affine => 1,
        Fusible::Sum => 2,
        Fusible::Activation(_) => 3,
        Fusible::MaxPooling(_) => 4,
    }
}
