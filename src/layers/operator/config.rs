//! Operators as Keras writes them: a class of `keras.src.ops`, with its constants among the arguments of its call.

use super::super::{Concatenate, Softmax};
use super::{
    Along, Arrange, Comparison, Contract, Elementwise, Encode, Function, Index, Kind, Op, Operator, PadMode, Reduction,
    Side,
};
use crate::activations::Activation;
use crate::config::{Config, snake_case};
use crate::error::{Error, Result, ensure};
use crate::layer::Layer;
use crate::tensor::Tensor;
use serde_json::{Value, json};

/// An operator as it stands in a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Written {
    /// `keras.src.ops.numpy`
    pub module: &'static str,
    /// `Multiply`
    pub class_name: String,
    /// The parameters, without the name.
    pub config: Config,
    /// The arguments of its call: constants, and none for each tensor.
    pub arguments: Vec<Option<Value>>,
    /// Whether the tensors are given as one list instead.
    pub listed: bool,
    /// The arguments that are given by name.
    pub keywords: Config,
}

impl Operator {
    /// The layer of an entry of a functional model's layers, and the first of its `inbound_nodes`.
    ///
    /// # Errors
    /// When it is none that is known here.
    pub(crate) fn from_keras(entry: &Value, call: Option<&Value>) -> Result<Box<dyn Layer>> {
        let class = entry.get("class_name").and_then(Value::as_str).unwrap_or_default();
        let config = entry.get("config").cloned().unwrap_or_default();
        let arguments = call.and_then(|call| call["args"].as_array()).cloned().unwrap_or_default();
        if let Some(op) = Op::of(class) {
            return Ok(Box::new(binary(op, &arguments)?));
        }
        let keyword = |key: &str| call.map_or(&Value::Null, |call| &call["kwargs"][key]);
        if let Some(operator) = several(class, &config, &arguments, keyword)? {
            return Ok(Box::new(operator));
        }
        let number = |key: &str, default: f64| config[key].as_f64().unwrap_or(default);
        let keepdims = config["keepdims"].as_bool().unwrap_or(false);
        let reduce = |how| {
            ensure!(config["initial"].is_null(), Format, "'{class}' with an \"initial\" value cannot be read");
            ensure!(!config["axis"].is_null(), Format, "'{class}' over all axes, the batch too, cannot be read");
            Ok(Function::Reduce { how, axes: integers(&config["axis"])?, keepdims })
        };
        let function = match class {
            "Concatenate" => {
                return Ok(Box::new(Concatenate::new().axis(config["axis"].as_i64().unwrap_or(-1) as isize)));
            }
            "Softmax" if config["axis"].as_i64().is_some_and(|axis| axis != -1) => {
                return Ok(Box::new(Softmax::new().axis(config["axis"].as_i64().unwrap_or(-1) as isize)));
            }
            "Negative" => Function::Negative,
            "Absolute" | "Abs" | "Fabs" => Function::Absolute,
            "Exp" => Function::Exp,
            "Log" => Function::Log,
            "Sqrt" => Function::Sqrt,
            "Rsqrt" => Function::Rsqrt,
            "Square" => Function::Square,
            "Reciprocal" => Function::Reciprocal,
            "Clip" => Function::Clip { min: number("x_min", f64::NEG_INFINITY), max: number("x_max", f64::INFINITY) },
            "Sum" => reduce(Reduction::Sum)?,
            "Mean" => reduce(Reduction::Mean)?,
            "Any" => reduce(Reduction::Any)?,
            "All" => reduce(Reduction::All)?,
            "Max" | "Amax" => reduce(Reduction::Max)?,
            "Min" | "Amin" => reduce(Reduction::Min)?,
            "Transpose" => {
                let order = integers(&config["axes"])?.into_iter().map(usize::try_from).collect::<Result<_, _>>();
                Function::Transpose(order.map_err(|_| Error::Format(format!("axes {} to transpose", config["axes"])))?)
            }
            "Reshape" => {
                // A size that is not known, which is the batch's, is null.
                let mut sizes = config["newshape"].clone();
                if let Some(first) = sizes.get_mut(0).filter(|first| first.is_null()) {
                    *first = json!(-1);
                }
                let shape = integers(&sizes)?;
                ensure!(
                    shape.first() == Some(&-1),
                    Format,
                    "a reshape to {shape:?} cannot be read: the batch, the first size, must be -1"
                );
                Function::Reshape(shape[1..].to_vec())
            }
            "BroadcastTo" => {
                let sizes = config["shape"].as_array().map(Vec::as_slice).unwrap_or_default();
                let sizes = sizes.iter().skip(1).map(|n| n.as_u64().and_then(|n| usize::try_from(n).ok()));
                let sizes: Option<Vec<usize>> = sizes.collect();
                Function::BroadcastTo(sizes.ok_or_else(|| {
                    Error::Format(format!(
                        "a repetition to {} cannot be read: its sizes must be known",
                        config["shape"]
                    ))
                })?)
            }
            "ExpandDims" => Function::ExpandDims(integers(&config["axis"])?),
            "Squeeze" if config["axis"].is_null() => Function::Squeeze(Vec::new()),
            "Squeeze" => Function::Squeeze(integers(&config["axis"])?),
            "GetItem" => {
                let rank = arguments.first().and_then(|tensor| tensor["config"]["shape"].as_array()).map(Vec::len);
                Function::GetItem(indices(arguments.get(1).unwrap_or(&Value::Null), rank)?)
            }
            "Round" if config["decimals"].as_i64().is_some_and(|decimals| decimals != 0) => {
                return Err(Error::Format("'Round' to decimals has no counterpart here".to_owned()));
            }
            "Cast" if config["dtype"] == "bool" => {
                let zero = Tensor::full([], 0.0);
                return Ok(Box::new(Operator::with_tensor(Op::Compare(Comparison::NotEqual), zero, Side::Right)));
            }
            "Cast" if config["dtype"].as_str().is_some_and(|dtype| dtype.contains("int")) => {
                Function::Each(Elementwise::Trunc)
            }
            "Cast" | "Copy" => Function::Activation(Activation::Linear),
            "NanToNum" => Function::NanToNum {
                nan: number("nan", 0.0),
                posinf: config["posinf"].as_f64(),
                neginf: config["neginf"].as_f64(),
            },
            "LogSoftmax" if config["axis"].as_i64().is_some_and(|axis| axis != -1) => {
                return Err(Error::Format("'LogSoftmax' is known along the last axis alone".to_owned()));
            }
            // Of the masks that attention hands on.
            "ConvertToTensor" if ["float32", "bool"].contains(&config["dtype"].as_str().unwrap_or("bool")) => {
                Function::Activation(Activation::Linear)
            }
            "Gelu" => Function::Activation(Activation::Gelu { approximate: config["approximate"] != json!(false) }),
            "LeakyRelu" => {
                Function::Activation(Activation::LeakyRelu { negative_slope: number("negative_slope", 0.2) })
            }
            "Elu" => Function::Activation(Activation::Elu { alpha: number("alpha", 1.0) }),
            "Celu" => Function::Activation(Activation::Celu { alpha: number("alpha", 1.0) }),
            _ if Elementwise::ALL.iter().any(|(name, _)| *name == class) => {
                let found = Elementwise::ALL.iter().find(|(name, _)| *name == class);
                Function::Each(found.map_or(Elementwise::ZerosLike, |(_, function)| *function))
            }
            _ => {
                let name = snake_case(class);
                let known = Activation::names().find(|known| *known == name);
                let name = known.ok_or_else(|| {
                    Error::Format(format!("the operation '{class}' of Keras has no counterpart here"))
                })?;
                Function::Activation(Activation::new(name))
            }
        };
        Ok(Box::new(Operator::unary(function)))
    }

    /// What [`from_keras`](Self::from_keras) reads again.
    pub(crate) fn to_keras(&self) -> Written {
        let numpy = "keras.src.ops.numpy";
        let tensor = || vec![None];
        let function = match &self.0 {
            Kind::Unary(function) => function,
            Kind::Binary(op) => return Written::new(numpy, op.name(), json!({}), vec![None, None]),
            Kind::Constant(op, constant, Side::Left) => {
                return Written::new(numpy, op.name(), json!({}), vec![Some(written(constant)), None]);
            }
            Kind::Constant(op, constant, Side::Right) => {
                return Written::new(numpy, op.name(), json!({}), vec![None, Some(written(constant))]);
            }
            Kind::Arrange(arrange) => {
                let mut entry = Written::of(arrange, tensor());
                match arrange {
                    Arrange::Pad { mode: PadMode::Constant, constant_values, .. } if *constant_values != 0.0 => {
                        entry.keywords.insert("constant_values".to_owned(), json!(f64::from(*constant_values)));
                    }
                    Arrange::Take { indices, shape, .. } => {
                        let value = match shape.as_slice() {
                            [] => json!(indices.first()),
                            [_] => json!(indices),
                            shape => {
                                let value = nested(indices.iter().map(|&i| json!(i)).collect(), shape);
                                json!({"class_name": "__numpy__", "config": {"value": value, "dtype": "int64"}})
                            }
                        };
                        entry.arguments.push(Some(value));
                    }
                    _ => {}
                }
                return entry;
            }
            Kind::Along(along) => {
                let mut entry = Written::of(along, tensor());
                match along {
                    Along::Quantile { q, .. } => entry.arguments.push(Some(json!(q))),
                    Along::Average { weights: Some(weights), .. } => {
                        let values = weights.iter().map(|&w| json!(f64::from(w))).collect();
                        let value = json!({"value": nested(values, &[weights.len()]), "dtype": "float32"});
                        let weights = json!({"class_name": "__numpy__", "config": value});
                        entry.keywords.insert("weights".to_owned(), weights);
                    }
                    _ => {}
                }
                return entry;
            }
            Kind::Encode(encode) => return Written::of(encode, tensor()),
            Kind::Contract(contract, _) if contract.is_of_one() => return Written::of(contract, tensor()),
            Kind::Contract(contract, constants) => {
                return Written::of(contract, constants.iter().map(|known| known.as_ref().map(written)).collect());
            }
            Kind::Choose(constants) => {
                let arguments = constants.iter().map(|known| known.as_ref().map(written)).collect();
                return Written::new(numpy, "Where", json!({}), arguments);
            }
            Kind::Stack(axis) => {
                return Written { listed: true, ..Written::new(numpy, "Stack", json!({ "axis": axis }), tensor()) };
            }
        };
        let none = tensor();
        match function {
            Function::Activation(activation) => {
                let (class, config) = match activation {
                    Activation::Linear => {
                        return Written::new("keras.src.ops.core", "Cast", json!({"dtype": "float32"}), none);
                    }
                    Activation::Tanh => return Written::new(numpy, "Tanh", json!({}), none),
                    Activation::Gelu { approximate } => ("Gelu".to_owned(), json!({"approximate": approximate})),
                    Activation::LeakyRelu { negative_slope } => {
                        ("LeakyRelu".to_owned(), json!({"negative_slope": negative_slope}))
                    }
                    Activation::Elu { alpha } => ("Elu".to_owned(), json!({"alpha": alpha})),
                    Activation::Celu { alpha } => ("Celu".to_owned(), json!({"alpha": alpha})),
                    Activation::Softmax => ("Softmax".to_owned(), json!({"axis": -1})),
                    Activation::LogSoftmax => ("LogSoftmax".to_owned(), json!({"axis": -1})),
                    other => (camel_case(other.name()), json!({})),
                };
                Written::new("keras.src.ops.nn", &class, config, none)
            }
            Function::Rsqrt => Written::new("keras.src.ops.math", "Rsqrt", json!({}), none),
            Function::Clip { min, max } => Written::new(numpy, "Clip", json!({"x_min": min, "x_max": max}), none),
            Function::Reduce { how, axes, keepdims } => {
                let mut config = json!({"axis": axes, "keepdims": keepdims});
                if matches!(how, Reduction::Max | Reduction::Min) {
                    config["initial"] = Value::Null;
                }
                Written::new(numpy, function.name(), config, none)
            }
            Function::BroadcastTo(sizes) => {
                let shape: Vec<Option<usize>> = std::iter::once(None).chain(sizes.iter().map(|&n| Some(n))).collect();
                Written::new(numpy, "BroadcastTo", json!({"shape": shape}), none)
            }
            Function::Each(Elementwise::Trunc) => {
                Written::new("keras.src.ops.core", "Cast", json!({"dtype": "int32"}), none)
            }
            Function::Each(Elementwise::Erf | Elementwise::Erfc | Elementwise::Erfinv) => {
                Written::new("keras.src.ops.math", function.name(), json!({}), none)
            }
            Function::NanToNum { nan, posinf, neginf } => {
                Written::new(numpy, "NanToNum", json!({"nan": nan, "posinf": posinf, "neginf": neginf}), none)
            }
            Function::Each(Elementwise::StopGradient) => {
                Written::new("keras.src.ops.core", "StopGradient", json!({}), none)
            }
            Function::Each(Elementwise::Round) => Written::new(numpy, "Round", json!({"decimals": 0}), none),
            Function::Transpose(axes) => Written::new(numpy, "Transpose", json!({"axes": axes}), none),
            Function::Reshape(shape) => {
                let shape: Vec<isize> = std::iter::once(-1).chain(shape.iter().copied()).collect();
                Written::new(numpy, "Reshape", json!({"newshape": shape}), none)
            }
            Function::ExpandDims(axes) => Written::new(numpy, "ExpandDims", json!({"axis": axes}), none),
            Function::Squeeze(axes) if axes.is_empty() => Written::new(numpy, "Squeeze", json!({"axis": null}), none),
            Function::Squeeze(axes) => Written::new(numpy, "Squeeze", json!({"axis": axes}), none),
            Function::GetItem(indices) => {
                let slice = |start: &Option<isize>, stop: &Option<isize>, step: Option<isize>| json!({"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": step}});
                let index = |index: &Index| match index {
                    Index::At(place) => json!(place),
                    Index::Slice { start, stop, step } => slice(start, stop, Some(*step).filter(|step| *step != 1)),
                    Index::NewAxis => Value::Null,
                };
                let all = slice(&None, &None, None);
                let list: Vec<Value> = std::iter::once(all).chain(indices.iter().map(index)).collect();
                Written::new(numpy, "GetItem", json!({}), vec![None, Some(list.into())])
            }
            _ => Written::new(numpy, function.name(), json!({}), none),
        }
    }
}

impl Written {
    fn new(module: &'static str, class: &str, config: Value, arguments: Vec<Option<Value>>) -> Self {
        let Value::Object(config) = config else { unreachable!("a configuration is an object") };
        let (class_name, keywords) = (class.to_owned(), Config::new());
        Written { module, class_name, config, arguments, listed: false, keywords }
    }

    /// What serde writes of an operator whose fields are Keras' configuration.
    fn of(operator: &impl serde::Serialize, arguments: Vec<Option<Value>>) -> Self {
        let mut entry = serde_json::to_value(operator).unwrap_or_default();
        let class = entry["class_name"].as_str().unwrap_or_default().to_owned();
        let module = match class.as_str() {
            "Unstack" => "keras.src.ops.core",
            "TopK" | "Logsumexp" => "keras.src.ops.math",
            "Norm" => "keras.src.ops.linalg",
            "Normalize" | "Moments" | "OneHot" | "MultiHot" | "Glu" | "DepthToSpace" | "SpaceToDepth" => {
                "keras.src.ops.nn"
            }
            _ => "keras.src.ops.numpy",
        };
        let mut config = match entry["config"].take() {
            Value::Object(config) => config,
            _ => Config::new(),
        };
        if class == "Moments" {
            config.insert("synchronized".to_owned(), false.into());
        }
        Written::new(module, &class, config.into(), arguments)
    }
}

/// The operators whose fields are Keras' configuration, and those of several operands; none for other classes.
fn several<'a>(
    class: &str,
    config: &Value,
    arguments: &[Value],
    keyword: impl Fn(&str) -> &'a Value,
) -> Result<Option<Operator>> {
    let entry = || json!({ "class_name": class, "config": config });
    let misfit =
        |error: serde_json::Error| Error::Format(format!("the configuration of '{class}' does not fit: {error}"));
    let second = arguments.get(1).unwrap_or(&Value::Null);
    let constants = |n: usize| {
        ensure!(arguments.len() == n, Format, "'{class}' of {} arguments, not of {n}", arguments.len());
        let known = |value: &Value| if is_tensor(value) { Ok(None) } else { constant(value).map(Some) };
        arguments.iter().map(known).collect::<Result<Vec<_>>>()
    };
    let wrong = |_| Error::Format(format!("the arguments of '{class}' cannot be read"));
    Ok(Some(match class {
        "Stack" => Operator::stack(config["axis"].as_i64().unwrap_or(0) as isize),
        "Where" => Operator::choose(constants(3)?.try_into().map_err(wrong)?),
        _ if Contract::CLASSES.contains(&class) => {
            let contract: Contract = serde_json::from_value(entry()).map_err(misfit)?;
            let constants = match contract.is_of_one() {
                // The second operand is 1.
                true => [None, Some(Tensor::full([], 1.0))],
                false => constants(2)?.try_into().map_err(wrong)?,
            };
            Operator::contract(contract, constants)
        }
        _ if Encode::CLASSES.contains(&class) => {
            let encode: Encode = serde_json::from_value(entry()).map_err(misfit)?;
            encode.check()?;
            Operator::encode(encode)
        }
        _ if Arrange::CLASSES.contains(&class) => {
            let mut arrange: Arrange = serde_json::from_value(entry()).map_err(misfit)?;
            match &mut arrange {
                Arrange::Pad { constant_values, .. } => match keyword("constant_values") {
                    Value::Null => {}
                    value => *constant_values = constant(value)?.data().first().copied().unwrap_or(0.0),
                },
                Arrange::Take { indices, shape, .. } => {
                    ensure!(
                        !is_tensor(second),
                        Format,
                        "'Take' at places that are a tensor cannot be read: in Keras it mixes the samples"
                    );
                    let places = constant(second)?;
                    *indices = places.data().iter().map(|&place| place as isize).collect();
                    *shape = places.shape().to_vec();
                }
                _ => {}
            }
            Operator::arrange(arrange)
        }
        _ if Along::CLASSES.contains(&class) => {
            let mut along: Along = serde_json::from_value(entry()).map_err(misfit)?;
            match &mut along {
                Along::Quantile { q, .. } => {
                    let given = second.as_f64();
                    *q = given.ok_or_else(|| Error::Format("'Quantile' needs one number as its q".to_owned()))?;
                }
                Along::Average { weights, .. } => match keyword("weights") {
                    Value::Null => {}
                    value => *weights = Some(constant(value)?.into_vec()),
                },
                _ => {}
            }
            along.check()?;
            Operator::along(along)
        }
        _ => return Ok(None),
    }))
}

impl Op {
    fn of(class: &str) -> Option<Self> {
        Some(match class {
            "Add" => Op::Add,
            "Subtract" => Op::Subtract,
            "Multiply" => Op::Multiply,
            "TrueDivide" | "Divide" => Op::Divide,
            "Power" => Op::Power,
            "Maximum" => Op::Maximum,
            "Minimum" => Op::Minimum,
            "FloorDivide" => Op::FloorDivide,
            "Mod" => Op::Mod,
            "Arctan2" => Op::Arctan2,
            "Logaddexp" => Op::Logaddexp,
            "Hypot" => Op::Hypot,
            "DivideNoNan" => Op::DivideNoNan,
            "Fmod" => Op::Fmod,
            "Fmax" => Op::Fmax,
            "Fmin" => Op::Fmin,
            "Logaddexp2" => Op::Logaddexp2,
            "Ldexp" => Op::Ldexp,
            "Heaviside" => Op::Heaviside,
            _ => return Comparison::ALL.iter().find(|(name, _)| *name == class).map(|(_, asked)| Op::Compare(*asked)),
        })
    }
}

fn is_tensor(value: &Value) -> bool {
    value["class_name"] == "__keras_tensor__"
}

fn binary(op: Op, arguments: &[Value]) -> Result<Operator> {
    match arguments {
        [a, b] if is_tensor(a) && is_tensor(b) => Ok(Operator::binary(op)),
        [a, b] if is_tensor(a) => Ok(Operator::with_tensor(op, constant(b)?, Side::Right)),
        [a, b] if is_tensor(b) => Ok(Operator::with_tensor(op, constant(a)?, Side::Left)),
        other => Err(Error::Format(format!("'{}' of {} arguments, not of two", op.name(), other.len()))),
    }
}

/// A number, or an array as Keras writes it.
fn constant(value: &Value) -> Result<Tensor> {
    let array = match value["class_name"].as_str() {
        Some("__numpy__" | "__tensor__") => &value["config"]["value"],
        _ => value,
    };
    let (mut dims, mut at) = (Vec::new(), array);
    while let Value::Array(list) = at {
        dims.push(list.len());
        at = list.first().unwrap_or(&Value::Null);
    }
    let mut values = Vec::new();
    flatten(array, &mut values)?;
    Tensor::new(dims, values)
}

fn flatten(value: &Value, into: &mut Vec<f32>) -> Result<()> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|value| flatten(value, into)),
        Value::Bool(value) => {
            into.push(f32::from(u8::from(*value)));
            Ok(())
        }
        value => {
            let number = value.as_f64().ok_or_else(|| Error::Format(format!("{value} is no constant of an operator")));
            into.push(number? as f32);
            Ok(())
        }
    }
}

/// A constant as Keras writes it.
fn written(constant: &Tensor) -> Value {
    let mut values: Vec<Value> = constant.data().iter().map(|&x| json!(f64::from(x))).collect();
    match constant.rank() {
        0 => values.pop().unwrap_or_default(),
        _ => {
            let value = nested(values, constant.shape());
            json!({"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}})
        }
    }
}

/// Values as lists in lists.
fn nested(mut values: Vec<Value>, shape: &[usize]) -> Value {
    for &size in shape.iter().skip(1).rev() {
        values = values.chunks(size.max(1)).map(|row| row.to_vec().into()).collect();
    }
    values.into()
}

/// An integer, or a list of them.
fn integers(value: &Value) -> Result<Vec<isize>> {
    let integer = |value: &Value| value.as_i64().and_then(|n| isize::try_from(n).ok());
    let list = match value {
        Value::Array(list) => list.iter().map(integer).collect::<Option<Vec<_>>>(),
        one => integer(one).map(|one| vec![one]),
    };
    list.ok_or_else(|| Error::Format(format!("{value} is no integer and no list of integers")))
}

/// `relu6` is `Relu6`, `hard_sigmoid` is `HardSigmoid`.
fn camel_case(name: &str) -> String {
    let capital = |word: &str| word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect();
    name.split('_').map(capital).collect::<Vec<String>>().concat()
}

/// The indices behind that of the batch, which must be all of it.
fn indices(value: &Value, rank: Option<usize>) -> Result<Vec<Index>> {
    let list = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let is_ellipsis = |value: &Value| value["class_name"] == "__ellipsis__";
    let taken = list.iter().filter(|value| !value.is_null() && !is_ellipsis(value)).count();
    let mut indices = Vec::new();
    for value in &list {
        if is_ellipsis(value) {
            let rank = rank.ok_or_else(|| Error::Format("the shape of what is indexed is not written".to_owned()))?;
            indices.extend(std::iter::repeat_n(Index::ALL, rank.saturating_sub(taken)));
        } else if value.is_null() {
            indices.push(Index::NewAxis);
        } else if value["class_name"] == "__slice__" {
            let part = |key: &str| value["config"][key].as_i64().map(|n| n as isize);
            indices.push(Index::Slice { start: part("start"), stop: part("stop"), step: part("step").unwrap_or(1) });
        } else {
            let place = value.as_i64().ok_or_else(|| Error::Format(format!("{value} is no index that can be read")))?;
            indices.push(Index::At(place as isize));
        }
    }
    ensure!(
        indices.first() == Some(&Index::ALL),
        Format,
        "an index that takes a part of the batch cannot be read; samples stay apart"
    );
    indices.remove(0);
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;
    use std::any::Any;

    fn tensor() -> Value {
        let config = json!({"shape": [null, 3, 4], "dtype": "float32", "keras_history": ["a", 0, 0]});
        json!({"class_name": "__keras_tensor__", "config": config})
    }

    fn read(class: &str, config: Value, args: Vec<Value>) -> Result<Box<dyn Layer>> {
        let entry = json!({"module": "keras.src.ops.numpy", "class_name": class, "config": config});
        Operator::from_keras(&entry, Some(&json!({"args": args, "kwargs": {}})))
    }

    /// As Keras 3.15 writes them.
    #[test]
    fn entries_of_keras_are_read_and_written() {
        let slice = |start: Value, stop: Value| json!({"class_name": "__slice__", "config": {"start": start, "stop": stop, "step": null}});
        let all = || slice(Value::Null, Value::Null);
        let array = json!({"class_name": "__numpy__", "config": {"value": [0.0, 1.0, 2.0, 3.0], "dtype": "float32"}});
        for (class, config, args, shape) in [
            ("Add", json!({}), vec![tensor(), tensor()], "(None, 3, 4)"),
            ("Add", json!({}), vec![tensor(), json!(1.0)], "(None, 3, 4)"),
            ("Subtract", json!({}), vec![json!(1.0), tensor()], "(None, 3, 4)"),
            ("Multiply", json!({}), vec![tensor(), array], "(None, 3, 4)"),
            ("TrueDivide", json!({}), vec![tensor(), tensor()], "(None, 3, 4)"),
            ("Power", json!({}), vec![json!(2.0), tensor()], "(None, 3, 4)"),
            ("Maximum", json!({}), vec![tensor(), json!(0.5)], "(None, 3, 4)"),
            ("Negative", json!({}), vec![tensor()], "(None, 3, 4)"),
            ("Absolute", json!({}), vec![tensor()], "(None, 3, 4)"),
            ("Relu", json!({}), vec![tensor()], "(None, 3, 4)"),
            ("Gelu", json!({"approximate": true}), vec![tensor()], "(None, 3, 4)"),
            ("Tanh", json!({}), vec![tensor()], "(None, 3, 4)"),
            ("Softmax", json!({"axis": -1}), vec![tensor()], "(None, 3, 4)"),
            ("Cast", json!({"dtype": "float32"}), vec![tensor()], "(None, 3, 4)"),
            ("Clip", json!({"x_min": 0.0, "x_max": 1.0}), vec![tensor()], "(None, 3, 4)"),
            ("Mean", json!({"axis": [1, 2], "keepdims": true}), vec![tensor()], "(None, 1, 1)"),
            ("Sum", json!({"axis": [-1], "keepdims": false}), vec![tensor()], "(None, 3)"),
            ("Max", json!({"axis": [1], "keepdims": false, "initial": null}), vec![tensor()], "(None, 4)"),
            ("Transpose", json!({"axes": [0, 2, 1]}), vec![tensor()], "(None, 4, 3)"),
            ("Reshape", json!({"newshape": [-1, 12]}), vec![tensor()], "(None, 12)"),
            ("ExpandDims", json!({"axis": [1]}), vec![tensor()], "(None, 1, 3, 4)"),
            ("GetItem", json!({}), vec![tensor(), json!([all(), 0])], "(None, 4)"),
            ("GetItem", json!({}), vec![tensor(), json!([all(), slice(json!(1), json!(3))])], "(None, 2, 4)"),
            ("GetItem", json!({}), vec![tensor(), json!([all(), null])], "(None, 1, 3, 4)"),
        ] {
            let layer = read(class, config.clone(), args.clone()).unwrap();
            let name = if class == "Cast" { "linear".into() } else { class.to_lowercase() };
            assert_eq!(layer.class_name().to_lowercase(), name);
            let inputs = args.iter().filter(|argument| is_tensor(argument)).count();
            let shapes = layer.output_shapes(&vec![Shape::batch_of([3, 4]); inputs]).unwrap();
            assert_eq!(shapes[0].to_string(), shape, "{class}");
            let any: &dyn Any = &*layer;
            let written = any.downcast_ref::<Operator>().unwrap().to_keras();
            assert_eq!((written.class_name.as_str(), Value::from(written.config)), (class, config));
            let given: Vec<Value> = written.arguments.into_iter().map(|known| known.unwrap_or_else(tensor)).collect();
            assert_eq!(given, args, "{class}");
        }
    }

    #[test]
    fn other_forms_are_read() {
        let shape = |class: &str, config: Value, args: Vec<Value>| {
            let layer = read(class, config, args)?;
            Ok::<_, Error>(layer.output_shapes(&[Shape::batch_of([3, 4])])?[0].to_string())
        };
        let ellipsis = json!({"class_name": "__ellipsis__", "config": {}});
        assert_eq!(shape("GetItem", json!({}), vec![tensor(), json!([ellipsis, 0])]).unwrap(), "(None, 3)");
        assert_eq!(shape("Mean", json!({"axis": 1, "keepdims": false}), vec![tensor()]).unwrap(), "(None, 4)");
        assert_eq!(shape("ExpandDims", json!({"axis": -1}), vec![tensor()]).unwrap(), "(None, 3, 4, 1)");
        assert_eq!(shape("Softmax", json!({"axis": 1}), vec![tensor()]).unwrap(), "(None, 3, 4)");
        for (class, config, args, told) in [
            ("Fft", json!({}), vec![tensor()], "'Fft' of Keras has no counterpart"),
            ("Mean", json!({"axis": null}), vec![tensor()], "the batch too"),
            ("Reshape", json!({"newshape": [6, -1]}), vec![tensor()], "must be -1"),
            ("GetItem", json!({}), vec![tensor(), json!([0])], "a part of the batch"),
            ("Add", json!({}), vec![tensor()], "of 1 arguments"),
            ("Add", json!({}), vec![tensor(), json!("x")], "no constant"),
        ] {
            let error = shape(class, config, args).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
