//! A model as data: its architecture and its compile settings in Keras' own JSON.

use super::{Graph, Model, Sequential, graph_config};
use crate::config::{self, Config, Family, Registry, Shared};
use crate::error::{Context, Error, Result, ensure};
use crate::layer::{Build, Layer, LayerHandle};
use crate::layers::Input;
use crate::losses::Loss;
use crate::metrics::{Metric, Metrics};
use crate::optimizers::{LearningRate, Optimizer};
use crate::regularizers::Regularizer;
use crate::shape::Shape;
use crate::training::Term;
use serde_json::{Value, json};

impl Model {
    /// The architecture as JSON in the form of Keras 3 (Keras: `to_json`): classes and their arguments,
    /// without weights and compile settings.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// use cornu::Registry;
    /// let mut model = Sequential::new();
    /// model.add(Input::new([4])).add(Dense::new(2).activation("relu").name("hidden"));
    /// let copy = Model::from_json(&model.to_json()?, &Registry::new())?;
    /// assert_eq!(copy.layer("hidden")?.class_name(), "Dense");
    /// # Ok::<(), cornu::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a layer, or something in it, has no configuration.
    pub fn to_json(&self) -> Result<String> {
        Ok(self.to_value()?.to_string())
    }

    /// The model that [`to_json`](Self::to_json), or Keras' method of that name, described, with new
    /// weights. Classes of one's own are found in `registry`.
    ///
    /// # Errors
    /// When the text is no JSON or describes something else, a class is unknown or an argument does
    /// not fit.
    pub fn from_json(text: &str, registry: &Registry) -> Result<Model> {
        let mut model = registry.scope(|| Model::from_value(parse(text)?))?;
        if model.starts_with_input() {
            model.build()?;
        }
        Ok(model)
    }

    /// The settings of `compile` in the form of Keras 3: optimizer, loss and metrics. None when the
    /// model is not compiled. The learning rate is the one of now.
    ///
    /// # Errors
    /// When the optimizer, the loss or a metric has no configuration.
    pub fn get_compile_config(&self) -> Result<Option<Config>> {
        let Some(compiled) = &self.compiled else { return Ok(None) };
        let optimizer = &compiled.optimizer;
        let mut arguments = optimizer.config()?;
        if let LearningRate::Constant(rate) = optimizer.options().learning_rate {
            let now = compiled.state.learning_rate(&**optimizer);
            // Unchanged it stays as it was typed, with all its digits.
            let rate = if rate as f32 == now { rate } else { f64::from(now) };
            // An optimizer around another has the rate of that one.
            let place = match arguments.get_mut("inner_optimizer").and_then(|inner| inner["config"].as_object_mut()) {
                Some(inner) => inner,
                None => &mut arguments,
            };
            place.insert("learning_rate".to_owned(), rate.into());
        }
        let metrics = |metrics: &Metrics| -> Result<Value> {
            let each = |metric: &dyn Metric| match metric.class_name() {
                // Keras has no class for it: there it is a name that stands for several.
                "AutoAccuracy" => Ok(metric.name().into()),
                class => Ok(config::to_value::<Box<dyn Metric>>(class, metric.config()?)),
            };
            metrics.0.iter().map(|metric| each(&**metric)).collect()
        };
        // With several outputs lists, in their order.
        let each = |of: &dyn Fn(&Term) -> Result<Value>| -> Result<Value> {
            match compiled.terms.as_slice() {
                [only] => of(only),
                terms => terms.iter().map(of).collect(),
            }
        };
        let loss = |term: &Term| match &term.loss {
            Some(loss) => Ok(config::to_value::<Shared<dyn Loss>>(loss.class_name(), loss.config()?)),
            None => Ok(Value::Null),
        };
        let weights = match compiled.terms.iter().all(|term| term.weight.is_none()) {
            true => Value::Null,
            false => each(&|term| Ok(term.weight.unwrap_or(1.0).into()))?,
        };
        Ok(Some(Config::from_iter([
            ("optimizer".to_owned(), config::to_value::<Shared<dyn Optimizer>>(optimizer.class_name(), arguments)),
            ("loss".to_owned(), each(&loss)?),
            ("loss_weights".to_owned(), weights),
            ("metrics".to_owned(), each(&|term| metrics(&term.metrics))?),
            ("weighted_metrics".to_owned(), each(&|term| metrics(&term.weighted_metrics))?),
        ])))
    }

    /// Compiles with settings that [`get_compile_config`](Self::get_compile_config), or Keras' method
    /// of that name, gave. The optimizer starts afresh.
    ///
    /// # Errors
    /// When a class is unknown, an argument does not fit, or there is no loss.
    pub fn compile_from_config(&mut self, config: Config, registry: &Registry) -> Result<()> {
        registry.scope(|| self.compile_from(config))
    }

    pub(crate) fn compile_from(&mut self, mut config: Config) -> Result<()> {
        if self.starts_with_input() {
            self.build()?;
        }
        let outputs = self.graph.as_ref().map_or_else(|| vec![String::new()], Graph::output_names);
        let mut take = |key: &str| config.remove(key).unwrap_or(Value::Null);
        let optimizer = Shared::<dyn Optimizer>::from_value(take("optimizer")).at(|| "optimizer".to_owned())?;
        let losses = for_outputs("loss", take("loss"), &outputs)?;
        let weights = for_outputs("loss_weights", take("loss_weights"), &outputs)?;
        let metrics = for_outputs("metrics", take("metrics"), &outputs)?;
        let weighted = for_outputs("weighted_metrics", take("weighted_metrics"), &outputs)?;
        let read = |key: &str, value: Value| -> Result<Metrics> {
            let list = match value {
                Value::Null => Vec::new(),
                Value::Array(list) => list,
                one => vec![one],
            };
            let list = list.into_iter().map(Box::<dyn Metric>::from_value).collect::<Result<Vec<_>>>();
            list.map(Metrics).at(|| key.to_owned())
        };
        let mut terms = Vec::new();
        for (((loss, weight), metrics), weighted) in losses.into_iter().zip(weights).zip(metrics).zip(weighted) {
            let loss = match loss {
                Value::Null => None,
                loss => Some(Shared::<dyn Loss>::from_value(loss).at(|| "loss".to_owned())?),
            };
            ensure!(
                weight.is_null() || weight.is_number(),
                Format,
                "loss_weights holds {weight}; a weight is a number"
            );
            terms.push(Term {
                loss,
                weight: weight.as_f64(),
                metrics: read("metrics", metrics)?,
                weighted_metrics: read("weighted_metrics", weighted)?,
                ..Term::default()
            });
        }
        self.compile_terms(optimizer, terms)
    }

    pub(crate) fn to_value(&self) -> Result<Value> {
        let place = || format!("model '{}'", self.name);
        if let ("Functional", Some(graph)) = (self.class_name(), self.graph.as_ref().or(self.pending.as_ref())) {
            let config = graph.to_config(&self.name).at(place)?;
            let class = "Functional";
            return Ok(
                json!({ "module": FUNCTIONAL, "class_name": class, "config": config, "registered_name": class }),
            );
        }
        let shapes = |shape: &Shape| json!({ "input_shape": shape });
        let (mut layers, input) = match &self.graph {
            Some(graph) => {
                let input_of = |node: &super::graph::Node| {
                    let port = node.inputs.first()?;
                    Some(&graph.nodes[port.node].output_shapes[port.output])
                };
                let layers = graph.nodes.iter().map(|node| node.layer.to_value(input_of(node).map(shapes)));
                (layers.collect::<Result<Vec<_>>>().at(place)?, graph.input_shapes().into_iter().next())
            }
            None => (self.chain.iter().map(|l| l.to_value(None)).collect::<Result<Vec<_>>>().at(place)?, None),
        };
        // With the batch size, if the Input has one.
        tell_batch_size(&mut layers);
        let input =
            input.map(|input| layers.first().map_or(json!(input), |first| first["config"]["batch_shape"].clone()));
        let shapes = |shape: &Value| json!({ "input_shape": shape });
        let mut config = json!({ "name": self.name, "trainable": true, "dtype": float32(), "layers": layers });
        let mut value = json!({ "module": "keras", "class_name": "Sequential", "registered_name": null });
        if let Some(input) = &input {
            config["build_input_shape"] = input.clone();
            value["build_config"] = shapes(input);
        }
        value["config"] = config;
        Ok(value)
    }

    /// The model of a serialized object, not built yet.
    pub(crate) fn from_value(mut value: Value) -> Result<Model> {
        match value.get("class_name").and_then(Value::as_str) {
            Some("Sequential") => {}
            Some("Functional" | "Model") => {
                return match value["config"].take() {
                    Value::Object(config) => graph_config::from_config(config),
                    _ => Err(Error::Format("the functional model has no \"config\"".to_owned())),
                };
            }
            Some(class) => {
                return Err(Error::Format(format!(
                    "the model is of class '{class}'; only Sequential and functional models can be loaded, since a file \
                     cannot hold code"
                )));
            }
            None => {
                return Err(Error::Format("the JSON does not describe a model: it has no \"class_name\"".to_owned()));
            }
        }
        let mut config = match value["config"].take() {
            Value::Object(config) => config,
            // Keras 1 wrote the list alone.
            Value::Array(layers) => Config::from_iter([("layers".to_owned(), layers.into())]),
            _ => return Err(Error::Format("the Sequential model has no \"config\"".to_owned())),
        };
        let name = config.get("name").and_then(Value::as_str).unwrap_or("sequential").to_owned();
        let Some(Value::Array(layers)) = config.remove("layers") else {
            return Err(Error::Format(format!("model '{name}': its \"config\" has no list of \"layers\"")));
        };
        let mut model = Sequential::new().with_name(&name);
        let place = || format!("model '{name}'");
        // The input's shape stands in an InputLayer, or with the model, or (Keras 2) with its first layer.
        let first = layers.first().map(|layer| &layer["config"]["batch_input_shape"]);
        let shape = config.get("build_input_shape").or(first).cloned();
        for layer in layers {
            model.add(LayerHandle::from_value(layer).at(place)?);
        }
        if let (false, Some(shape)) = (model.starts_with_input(), shape.filter(Value::is_array)) {
            let input = Config::from_iter([("batch_shape".to_owned(), shape)]);
            let input: Box<dyn Layer> = config::from_config::<Input>(input).at(place)?.into();
            model.chain.insert(0, LayerHandle::from_parts(input, "input_layer".to_owned(), true, None));
        }
        if config.get("trainable") == Some(&Value::Bool(false)) {
            model.set_trainable(false);
        }
        Ok(model.into())
    }

    /// Makes the weights of a model that was read from a file, as zeros for the file's values: there
    /// are so many of them.
    pub(crate) fn build_to_load(&mut self, values: usize) -> Result<()> {
        let cx = Build::to_load(self.seed, values);
        self.build_in(None, &cx).at(|| format!("model '{}'", self.name))
    }
}

/// Puts the batch size of the inputs, if they have one, into what Keras builds the other layers with: stateful ones must
/// know it.
pub(super) fn tell_batch_size(layers: &mut [Value]) {
    let batch_size = layers.iter().find_map(|layer| layer["config"]["batch_shape"][0].as_u64());
    for shape in layers.iter_mut().filter_map(|layer| layer.pointer_mut("/build_config/input_shape/0")) {
        if let (Some(batch_size), true) = (batch_size, shape.is_null()) {
            *shape = batch_size.into();
        }
    }
}

/// Where Keras keeps the class of functional models.
const FUNCTIONAL: &str = "keras.src.models.functional";

impl LayerHandle {
    /// The layer in Keras' form: its own configuration, and what belongs to the handle.
    pub(super) fn to_value(&self, build_config: Option<Value>) -> Result<Value> {
        let layer = self.layer();
        let mut config = layer.config().at(|| self.place())?;
        config.insert("name".to_owned(), self.name().into());
        if layer.class_name() == "InputLayer" {
            config.insert("dtype".to_owned(), "float32".into());
        } else {
            config.insert("trainable".to_owned(), self.trainable().into());
            // A layer whose results are integers in Keras says so itself.
            config.entry("dtype").or_insert_with(float32);
        }
        if let Some(regularizer) = self.activity_regularizer() {
            let regularizer = serde_json::to_value(&regularizer);
            let regularizer = regularizer.map_err(|e| Error::NotSerializable(e.to_string())).at(|| self.place())?;
            config.insert("activity_regularizer".to_owned(), regularizer);
        }
        if layer.class_name().starts_with("SpatialDropout") || layer.class_name() == "Discretization" {
            // The layers of Keras that do not take it.
            config.remove("trainable");
        }
        let mut value = config::to_value::<Box<dyn Layer>>(layer.class_name(), config);
        match layer.class_name() {
            "Sequential" => (value["module"], value["registered_name"]) = ("keras".into(), Value::Null),
            "Functional" => value["module"] = FUNCTIONAL.into(),
            _ => {}
        }
        if let Some(build_config) = build_config {
            value["build_config"] = build_config;
        }
        Ok(value)
    }

    pub(super) fn from_value(mut value: Value) -> Result<Self> {
        let class = value.get("class_name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if matches!(class.as_str(), "Sequential" | "Functional" | "Model") {
            return LayerHandle::of_model(value);
        }
        let mut name = String::new();
        let read = || {
            let mut trainable = true;
            let mut activity_regularizer = None;
            if let Some(Value::Object(config)) = value.get_mut("config") {
                if let Some(Value::String(given)) = config.remove("name") {
                    name = given;
                }
                trainable = config.remove("trainable") != Some(Value::Bool(false));
                check_dtype(config.remove("dtype"))?;
                activity_regularizer = match config.remove("activity_regularizer") {
                    None | Some(Value::Null) => None,
                    Some(regularizer) => Some(Shared::<dyn Regularizer>::from_value(regularizer)?),
                };
            }
            let layer = Box::<dyn Layer>::from_value(value)?;
            Ok(LayerHandle::from_parts(layer, name.clone(), trainable, activity_regularizer))
        };
        read().at(|| format!("layer '{name}' ({class})"))
    }
}

/// As an argument of another layer: the object with class, arguments and name.
impl serde::Serialize for LayerHandle {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_value(None).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for LayerHandle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        LayerHandle::from_value(Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// JSON from text.
pub(crate) fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| Error::Format(format!("the configuration is not JSON: {error}")))
}

/// The dtype policy of every layer.
pub(super) fn float32() -> Value {
    json!({ "module": "keras", "class_name": "DTypePolicy", "config": { "name": "float32" }, "registered_name": null })
}

/// Layers of any floating-point policy are computed in `f32`; quantized ones have other weights.
fn check_dtype(dtype: Option<Value>) -> Result<()> {
    let policy = dtype.as_ref().and_then(|dtype| dtype.get("class_name")).and_then(Value::as_str);
    ensure!(
        policy.is_none_or(|class| class == "DTypePolicy"),
        Format,
        "its dtype policy is {}, which cornu does not have; save the model from Keras without quantization",
        policy.unwrap_or_default()
    );
    Ok(())
}

/// A compile setting for each output: given for all, in a list, or by the outputs' names.
fn for_outputs(key: &str, value: Value, outputs: &[String]) -> Result<Vec<Value>> {
    let n = outputs.len();
    let many = |found: usize| Error::Format(format!("{key} has {found} entries; the model has {n} outputs"));
    let of_metrics = key.ends_with("metrics");
    match value {
        Value::Null => Ok(vec![Value::Null; n]),
        // A table of outputs, not a serialized object.
        Value::Object(mut table) if !table.contains_key("class_name") => {
            if n == 1 {
                return match (table.len(), table.into_iter().next()) {
                    (0, _) => Ok(vec![Value::Null]),
                    (1, Some((_, only))) => Ok(vec![only]),
                    (found, _) => Err(many(found)),
                };
            }
            let values = outputs.iter().map(|name| table.remove(name).unwrap_or(Value::Null)).collect();
            match table.keys().next() {
                None => Ok(values),
                Some(name) => {
                    Err(Error::unknown_name("output of this model", name, outputs.iter().map(String::as_str)))
                        .at(|| key.to_owned())
                }
            }
        }
        Value::Array(list) if n == 1 => match list.as_slice() {
            [Value::Array(only)] => Ok(vec![only.clone().into()]),
            [.., Value::Array(_)] => Err(many(list.len())),
            _ if of_metrics => Ok(vec![list.into()]),
            [] => Ok(vec![Value::Null]),
            [only] => Ok(vec![only.clone()]),
            _ => Err(many(list.len())),
        },
        Value::Array(list) => match list.len() {
            0 => Ok(vec![Value::Null; n]),
            found if found == n => Ok(list),
            found => Err(many(found)),
        },
        for_all if of_metrics && n > 1 => {
            Err(Error::Format(format!("{key} is {for_all}; of a model of {n} outputs each has its own")))
        }
        for_all => Ok(vec![for_all; n]),
    }
}
