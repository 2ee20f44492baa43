//! A functional model as data, in Keras' own JSON: its layers, and for each the calls of it.

use super::Model;
use super::config::{float32, tell_batch_size};
use super::functional::{SymbolicTensor, graph};
use super::graph::{Graph, Node, Port};
use super::nested::Nested;
use crate::config::Config;
use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Arguments, LayerHandle};
use crate::layers::operator::{Operator, Written};
use serde_json::{Value, json};
use std::collections::HashMap;

impl Graph {
    /// The configuration of the model of this name.
    pub fn to_config(&self, name: &str) -> Result<Value> {
        let mut layers = self.order().iter().map(|layer| self.entry(layer)).collect::<Result<Vec<_>>>()?;
        tell_batch_size(&mut layers);
        let inputs: Vec<Value> = self.inputs.iter().map(|&node| self.history(Port { node, output: 0 })).collect();
        let outputs: Vec<Value> = self
            .outputs
            .iter()
            .map(|&port| {
                let mut history = self.history(port);
                // Keras counts the calls of a functional model from 1 here, and from 0 between layers.
                if self.nodes[port.node].layer.class_name() == "Functional" {
                    history[1] = (self.call_number(port.node) + 1).into();
                }
                history
            })
            .collect();
        let one_or_all = |mut list: Vec<Value>| if list.len() == 1 { list.remove(0) } else { list.into() };
        Ok(json!({
            "name": name,
            "trainable": true,
            "dtype": float32(),
            "layers": layers,
            "input_layers": one_or_all(inputs),
            "output_layers": one_or_all(outputs),
        }))
    }

    fn entry(&self, layer: &LayerHandle) -> Result<Value> {
        let calls: Vec<&Node> = self.nodes.iter().filter(|node| node.layer.is(layer)).collect();
        let shapes = |node: &Node| {
            let shapes: Vec<_> =
                node.inputs.iter().map(|port| self.nodes[port.node].output_shapes[port.output].clone()).collect();
            match shapes.as_slice() {
                [] => None,
                // Inputs that are arguments of their own: Keras builds such a layer when it calls it.
                _ if node.arguments.separate || !node.arguments.tensors.is_empty() => None,
                [only] => Some(json!({ "input_shape": only })),
                several => Some(json!({ "input_shape": several })),
            }
        };
        let mut entry = match layer.downcast(Operator::to_keras) {
            None => layer.to_value(calls.first().and_then(|node| shapes(node)))?,
            Some(Written { module, class_name, mut config, .. }) => {
                config.insert("name".to_owned(), layer.name().into());
                json!({ "module": module, "class_name": class_name, "config": config, "registered_name": class_name })
            }
        };
        entry["name"] = layer.name().into();
        entry["inbound_nodes"] =
            calls.into_iter().filter(|node| !node.inputs.is_empty()).map(|node| self.call(node)).collect();
        Ok(entry)
    }

    fn call(&self, node: &Node) -> Value {
        let symbol = |port: Port, dtype: &str| {
            let shape = &self.nodes[port.node].output_shapes[port.output];
            let config = json!({ "shape": shape, "dtype": dtype, "keras_history": self.history(port) });
            json!({ "class_name": "__keras_tensor__", "config": config })
        };
        let tensor = |place: usize| symbol(node.inputs[place], "float32");
        let Arguments { values, tensors, separate, .. } = &node.arguments;
        let named = |place: &usize| tensors.iter().any(|(_, places)| places.contains(place));
        let plain: Vec<Value> = (0..node.inputs.len()).filter(|place| !named(place)).map(tensor).collect();
        let mut keywords = values.clone();
        for (name, places) in tensors {
            let mut given: Vec<Value> = places.iter().map(|&place| tensor(place)).collect();
            keywords.insert(name.clone(), if given.len() == 1 { given.remove(0) } else { given.into() });
        }
        if node.arguments.masked {
            let masks: Vec<Value> =
                node.masks.iter().map(|mask| mask.map_or(Value::Null, |port| symbol(port, "bool"))).collect();
            match (*separate, masks.as_slice()) {
                (true, masks) => {
                    let named = ATTENTION_MASKS.iter().zip(masks).filter(|(_, mask)| !mask.is_null());
                    keywords.extend(named.map(|(name, mask)| ((*name).to_owned(), mask.clone())));
                }
                (false, [only]) => drop(keywords.insert("mask".to_owned(), only.clone())),
                (false, _) => drop(keywords.insert("mask".to_owned(), masks.into())),
            }
        }
        let plain: Value = match node.layer.downcast(Operator::to_keras) {
            Some(Written { listed: true, .. }) => json!([plain]),
            Some(Written { arguments, keywords: known, .. }) => {
                keywords.extend(known);
                let mut tensors = plain.into_iter();
                let argument = |known: Option<Value>| known.or_else(|| tensors.next()).unwrap_or_default();
                arguments.into_iter().map(argument).collect()
            }
            None if plain.len() == 1 || *separate => plain.into(),
            None => json!([plain]),
        };
        json!({ "args": plain, "kwargs": keywords })
    }

    fn history(&self, port: Port) -> Value {
        json!([self.nodes[port.node].layer.name(), self.call_number(port.node), port.output])
    }

    /// How many calls of its layer come before this one.
    pub(crate) fn call_number(&self, node: usize) -> usize {
        self.nodes[..node].iter().filter(|before| before.layer.is(&self.nodes[node].layer)).count()
    }
}

/// The functional model of a configuration, not built yet.
pub(super) fn from_config(mut config: Config) -> Result<Model> {
    let name = config.get("name").and_then(Value::as_str).unwrap_or("functional").to_owned();
    let read = || -> Result<Model> {
        let Some(Value::Array(entries)) = config.remove("layers") else {
            return Err(Error::Format("its \"config\" has no list of \"layers\"".to_owned()));
        };
        let calls = Calls::of(entries)?.run()?;
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        for (key, tensors) in [("input_layers", &mut inputs), ("output_layers", &mut outputs)] {
            for mut place in places(config.get(key).unwrap_or(&Value::Null)).at(|| key.to_owned())? {
                let layer = calls.layers.iter().find(|layer| layer.name() == place.layer);
                if key == "output_layers" && layer.is_some_and(|layer| layer.class_name() == "Functional") {
                    place.call = place.call.saturating_sub(1);
                }
                let tensor = calls.tensor(&place).ok_or_else(|| place.unknown()).at(|| key.to_owned())?;
                tensors.push(tensor);
            }
        }
        let mut model = Model::empty(&name);
        model.pending = Some(graph(&inputs, &outputs)?);
        if config.get("trainable") == Some(&Value::Bool(false)) {
            model.set_trainable(false);
        }
        Ok(model)
    };
    let mut read = read;
    read().at(|| format!("model '{name}'"))
}

/// An output of a call of a layer: how Keras names a tensor.
#[derive(Clone, Debug)]
struct Place {
    layer: String,
    call: usize,
    output: usize,
}

impl Place {
    fn of(value: &Value) -> Option<Self> {
        let [layer, call, output, ..] = value.as_array()?.as_slice() else { return None };
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        Some(Place { layer: layer.as_str()?.to_owned(), call: number(call)?, output: number(output)? })
    }

    fn unknown(&self) -> Error {
        let Place { layer, call, output } = self;
        Error::Format(format!("output {output} of call {call} of layer '{layer}' does not exist in the model"))
    }
}

/// One place, a list of places, or a table of them.
fn places(value: &Value) -> Result<Vec<Place>> {
    if let Some(place) = Place::of(value) {
        return Ok(vec![place]);
    }
    let list: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(table) => table.values().collect(),
        _ => Vec::new(),
    };
    let read =
        |value: &Value| Place::of(value).ok_or_else(|| Error::Format(format!("{value} is no [layer, call, output]")));
    list.into_iter().map(read).collect()
}

/// What the masks of query, value and key are called, in the order of these inputs.
const ATTENTION_MASKS: [&str; 3] = ["query_mask", "value_mask", "key_mask"];

/// A call that waits for its inputs.
struct Waiting {
    inputs: Vec<Place>,
    /// The masks that are given by hand, input by input.
    masks: Vec<Option<Place>>,
    arguments: Arguments,
}

impl Waiting {
    /// Notes a mask that is given by hand, or those of a list of inputs; null stands for the one that comes with an
    /// input. Those of attention are known by name.
    fn mask(&mut self, name: &str, value: &Value, unnamed: usize) -> Result<()> {
        let read = |value: &Value| match (value.is_null(), tensor(value)) {
            (true, _) => Ok(None),
            (false, Some(place)) => Ok(Some(place)),
            _ => Err(Error::Format(format!("{value} is no mask that can be read"))),
        };
        let given = match value {
            Value::Array(list) => list.iter().map(read).collect::<Result<Vec<_>>>()?,
            one => vec![read(one)?],
        };
        if given.iter().all(Option::is_none) {
            return Ok(());
        }
        let first = match name {
            "value_mask" => 1,
            // The key is the third argument, unless it came by name.
            "key_mask" => match self.arguments.tensors.iter().find(|(name, _)| name == "key") {
                Some((_, places)) => places.first().copied().unwrap_or(2),
                None if unnamed > 2 => 2,
                None => return Ok(()),
            },
            _ => 0,
        };
        let needed = first + given.len();
        if self.masks.len() < needed {
            self.masks.resize(needed, None);
        }
        self.masks[first..needed].clone_from_slice(&given);
        self.arguments.masked = true;
        Ok(())
    }
}

/// The layers of a configuration, and their calls as far as they are made.
struct Calls {
    layers: Vec<LayerHandle>,
    waiting: Vec<Vec<Waiting>>,
    made: HashMap<String, Vec<Vec<SymbolicTensor>>>,
}

impl Calls {
    fn of(entries: Vec<Value>) -> Result<Self> {
        let mut calls = Calls { layers: Vec::new(), waiting: Vec::new(), made: HashMap::new() };
        for mut entry in entries {
            let nodes = entry.get_mut("inbound_nodes").map(Value::take).unwrap_or_default();
            let name = entry.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let place = || format!("layer '{name}'");
            let list = nodes.as_array().cloned().unwrap_or_default();
            let layer = match entry.get("module").and_then(Value::as_str) {
                Some(module) if module.starts_with("keras.src.ops") || module.starts_with("keras.ops") => {
                    LayerHandle::from_parts(
                        Operator::from_keras(&entry, list.first()).at(place)?,
                        String::new(),
                        true,
                        None,
                    )
                }
                _ => LayerHandle::from_value(entry)?,
            };
            // Keras 1 and 2 gave the name beside the configuration.
            layer.set_name(name.clone());
            ensure!(calls.made.insert(name.clone(), Vec::new()).is_none(), Format, "two layers are named '{name}'");
            if layer.class_name() == "InputLayer" {
                calls.made.insert(name.clone(), vec![vec![layer.node()]]);
            }
            calls.waiting.push(list.iter().map(waiting).collect::<Result<_>>().at(place)?);
            calls.layers.push(layer);
        }
        Ok(calls)
    }

    /// Makes the calls, in the order of the layers, those first that have all inputs: a layer that is shared may
    /// stand before some of its inputs.
    fn run(mut self) -> Result<Self> {
        loop {
            let mut progress = false;
            for i in 0..self.layers.len() {
                let layer = self.layers[i].clone();
                let mut done = 0;
                for call in &self.waiting[i] {
                    let inputs = call.inputs.iter().map(|place| self.tensor(place)).collect::<Option<Vec<_>>>();
                    let mask = |place: &Option<Place>| match place {
                        Some(place) => self.tensor(place).map(Some),
                        None => Some(None),
                    };
                    let masks = call.masks.iter().map(mask).collect::<Option<Vec<_>>>();
                    let (Some(inputs), Some(masks)) = (inputs, masks) else { break };
                    let outputs = layer.call_masked(inputs, masks, call.arguments.clone())?;
                    self.made.entry(layer.name()).or_default().push(outputs);
                    done += 1;
                }
                self.waiting[i].drain(..done);
                progress |= done > 0;
            }
            if self.waiting.iter().all(Vec::is_empty) {
                return Ok(self);
            }
            if !progress {
                let stuck = self.layers.iter().zip(&self.waiting).find(|(_, waiting)| !waiting.is_empty());
                let stuck = stuck.map(|(layer, _)| layer.place()).unwrap_or_default();
                return Err(Error::Format(format!("the inputs of {stuck} depend on themselves or do not exist")));
            }
        }
    }

    fn tensor(&self, place: &Place) -> Option<SymbolicTensor> {
        self.made.get(&place.layer)?.get(place.call)?.get(place.output).cloned()
    }
}

/// A call as it stands in a configuration.
fn waiting(call: &Value) -> Result<Waiting> {
    let mut waiting = Waiting { inputs: Vec::new(), masks: Vec::new(), arguments: Arguments::default() };
    match call {
        Value::Object(call) => {
            let args = call.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
            waiting.arguments.separate = args.iter().filter(|argument| tensor(argument).is_some()).count() > 1;
            for argument in &args {
                collect(argument, &mut waiting.inputs);
            }
            let keywords = call.get("kwargs").and_then(Value::as_object).cloned().unwrap_or_default();
            // What a call was told about training is not read: Keras writes a value there whether or not the user gave
            // one, and its fit, evaluate and predict go by what they do.
            let is_mask = |name: &str| name == "mask" || ATTENTION_MASKS.contains(&name);
            let (masks, keywords): (Config, Config) = keywords.into_iter().partition(|(name, _)| is_mask(name));
            for (name, value) in keywords {
                let before = waiting.inputs.len();
                collect(&value, &mut waiting.inputs);
                if waiting.inputs.len() > before {
                    waiting.arguments.tensors.push((name, (before..waiting.inputs.len()).collect()));
                } else if name != "training" && !value.is_null() {
                    waiting.arguments.values.insert(name, value);
                }
            }
            for (name, value) in masks {
                waiting.mask(&name, &value, args.len())?;
            }
        }
        // Keras 2: a list of [layer, call, output, keywords].
        Value::Array(list) => {
            let list = if list.first().is_some_and(Value::is_string) { vec![call.clone()] } else { list.clone() };
            for input in &list {
                let place = Place::of(input);
                waiting
                    .inputs
                    .push(place.ok_or_else(|| Error::Format(format!("{input} is no [layer, call, output]")))?);
                for (name, value) in input.get(3).and_then(Value::as_object).into_iter().flatten() {
                    if name != "training" && !value.is_null() {
                        waiting.arguments.values.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        other => return Err(Error::Format(format!("{other} describes no call"))),
    }
    Ok(waiting)
}

/// The place of a symbolic tensor.
fn tensor(value: &Value) -> Option<Place> {
    let is_tensor = value.get("class_name").and_then(Value::as_str) == Some("__keras_tensor__");
    is_tensor.then(|| Place::of(&value["config"]["keras_history"])).flatten()
}

/// All symbolic tensors of an argument, in order.
fn collect(argument: &Value, into: &mut Vec<Place>) {
    match (tensor(argument), argument) {
        (Some(place), _) => into.push(place),
        (None, Value::Array(list)) => list.iter().for_each(|argument| collect(argument, into)),
        (None, _) => {}
    }
}

impl LayerHandle {
    /// The layer of a model inside a model.
    pub(super) fn of_model(value: Value) -> Result<Self> {
        let model = Model::from_value(value)?;
        let name = model.name.clone();
        Ok(crate::layer::LayerExt::name(Nested::of(&model), &name))
    }
}
