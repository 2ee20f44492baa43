//! Activations by name, and their form in Keras' JSON.
//!
//! With Keras' default arguments an activation is its name: `"relu"`. With others it is the object
//! that Keras writes for the layer or operation of that name, which Keras reads back as a function:
//! `{"module": "keras.layers", "class_name": "LeakyReLU", "config": {"negative_slope": 0.1}}`.

use super::Activation::{self, *};
use crate::config::Config;
use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::{Value, json};
use std::mem::discriminant;
use std::str::FromStr;

/// Every name and what it stands for; of several names the first is the one that is written.
pub(super) static NAMED: &[(&str, Activation)] = &[
    ("linear", Linear),
    ("relu", Relu),
    ("relu6", Relu6),
    ("leaky_relu", LeakyRelu { negative_slope: 0.2 }),
    ("elu", Elu { alpha: 1.0 }),
    ("selu", Selu),
    ("celu", Celu { alpha: 1.0 }),
    ("sigmoid", Sigmoid),
    ("hard_sigmoid", HardSigmoid),
    ("sparse_sigmoid", SparseSigmoid),
    ("log_sigmoid", LogSigmoid),
    ("tanh", Tanh),
    ("hard_tanh", HardTanh),
    ("tanh_shrink", TanhShrink),
    ("softmax", Softmax),
    ("log_softmax", LogSoftmax),
    ("sparsemax", Sparsemax),
    ("softplus", Softplus),
    ("squareplus", Squareplus { b: 4.0 }),
    ("sparse_plus", SparsePlus),
    ("softsign", Softsign),
    ("exponential", Exponential),
    ("gelu", Gelu { approximate: false }),
    ("silu", Silu),
    ("swish", Silu),
    ("hard_silu", HardSilu),
    ("hard_swish", HardSilu),
    ("mish", Mish),
    ("hard_shrink", HardShrink { threshold: 0.5 }),
    ("soft_shrink", SoftShrink { threshold: 0.5 }),
];

/// The error of a name that stands for no activation.
pub(super) fn unknown(name: &str) -> Error {
    match name {
        "threshold" => Error::Argument(
            "activation 'threshold' has no default arguments; write Activation::Threshold { threshold, default_value }"
                .into(),
        ),
        "glu" => Error::Argument(
            "activation 'glu' halves the last axis, which an activation of a layer here cannot do; \
             use the operator Along::Glu instead"
                .into(),
        ),
        _ => Error::unknown_name("activation", name, NAMED.iter().map(|(name, _)| *name)),
    }
}

impl Activation {
    /// Every name that stands for an activation.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }

    /// Keras' name of the function, whatever its arguments: `"relu"`.
    pub fn name(&self) -> &str {
        match self {
            ReluWith { .. } => "relu",
            Threshold { .. } => "threshold",
            Unknown(name) => name,
            _ => NAMED.iter().find(|(_, a)| discriminant(a) == discriminant(self)).map_or("linear", |(name, _)| name),
        }
    }

    /// The module, class and configuration of the Keras object with these arguments; for a layer
    /// where there is one, since those are public.
    fn object(&self) -> Option<(&'static str, &'static str, Value)> {
        const LAYERS: &str = "keras.layers";
        const OPERATIONS: &str = "keras.src.ops.nn";
        Some(match *self {
            ReluWith { negative_slope, max_value, threshold } => (
                LAYERS,
                "ReLU",
                json!({ "max_value": max_value, "negative_slope": negative_slope, "threshold": threshold }),
            ),
            LeakyRelu { negative_slope } => (LAYERS, "LeakyReLU", json!({ "negative_slope": negative_slope })),
            Elu { alpha } => (LAYERS, "ELU", json!({ "alpha": alpha })),
            Celu { alpha } => (OPERATIONS, "Celu", json!({ "alpha": alpha })),
            Gelu { approximate } => (OPERATIONS, "Gelu", json!({ "approximate": approximate })),
            Squareplus { b } => (OPERATIONS, "Squareplus", json!({ "b": b })),
            HardShrink { threshold } => (OPERATIONS, "HardShrink", json!({ "threshold": threshold })),
            SoftShrink { threshold } => (OPERATIONS, "SoftShrink", json!({ "threshold": threshold })),
            Threshold { threshold, default_value } => {
                (OPERATIONS, "Threshold", json!({ "threshold": threshold, "default_value": default_value }))
            }
            _ => return None,
        })
    }

    fn from_value(value: Value) -> Result<Self> {
        let object = match value {
            Value::Null => return Ok(Linear),
            Value::String(name) => return name.parse(),
            Value::Object(object) => object,
            other => return Err(Error::Format(format!("expected an activation, found {other}"))),
        };
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        // The configuration of the layer of that name: {"activation": "relu"}.
        if let (None, Some(activation)) = (text("class_name"), object.get("activation")) {
            return Self::from_value(activation.clone());
        }
        let Some(class) = text("class_name") else {
            return Err(Error::Format("a serialized activation must have a \"class_name\"".into()));
        };
        // Classes and functions of a user's own are registered as "package>name".
        if let Some(name) = text("registered_name").filter(|name| name.contains('>')) {
            return Err(unknown(name));
        }
        match object.get("config") {
            Some(Value::String(function)) if class == "function" => function.parse(),
            Some(Value::Object(config)) => Self::from_class(class, config),
            None | Some(Value::Null) => Self::from_class(class, &Config::new()),
            Some(other) => Err(Error::Format(format!("the configuration of activation '{class}' cannot be {other}"))),
        }
    }

    /// The function of a Keras layer or operation: `LeakyReLU`, `LeakyRelu`, `HardTanh`.
    fn from_class(class: &str, config: &Config) -> Result<Self> {
        let number = |keys: &[&str], default: Option<f64>| match keys.iter().find_map(|key| config.get(*key)) {
            Some(value) => value
                .as_f64()
                .ok_or_else(|| Error::Format(format!("{} of activation '{class}' is {value}, not a number", keys[0]))),
            None => default.ok_or_else(|| Error::Format(format!("activation '{class}' has no \"{}\"", keys[0]))),
        };
        // Layers write ReLU and LeakyReLU where operations write Relu and LeakyRelu.
        let folded = class.to_lowercase();
        if folded == "threshold" {
            let threshold = number(&["threshold"], None)?;
            return Ok(Threshold { threshold, default_value: number(&["default_value"], None)? });
        }
        let Some((_, named)) = NAMED.iter().find(|(name, _)| name.replace('_', "") == folded) else {
            return Err(unknown(class));
        };
        Ok(match named {
            Relu => {
                let max_value = match config.get("max_value") {
                    None | Some(Value::Null) => None,
                    Some(_) => Some(number(&["max_value"], None)?),
                };
                let negative_slope = number(&["negative_slope"], Some(0.0))?;
                let threshold = number(&["threshold"], Some(0.0))?;
                if (negative_slope, max_value, threshold) == (0.0, None, 0.0) {
                    Relu
                } else {
                    ReluWith { negative_slope, max_value, threshold }
                }
            }
            // The layer has another default than the function; "alpha" was its name in Keras 2.
            LeakyRelu { negative_slope } => {
                let default = if class == "LeakyReLU" { 0.3 } else { *negative_slope };
                LeakyRelu { negative_slope: number(&["negative_slope", "alpha"], Some(default))? }
            }
            Elu { alpha } => Elu { alpha: number(&["alpha"], Some(*alpha))? },
            Celu { alpha } => Celu { alpha: number(&["alpha"], Some(*alpha))? },
            Squareplus { b } => Squareplus { b: number(&["b"], Some(*b))? },
            HardShrink { threshold } => HardShrink { threshold: number(&["threshold"], Some(*threshold))? },
            SoftShrink { threshold } => SoftShrink { threshold: number(&["threshold"], Some(*threshold))? },
            // The operation approximates unless told otherwise; the function does not.
            Gelu { .. } => Gelu { approximate: config.get("approximate").is_none_or(|value| value == true) },
            Softmax | LogSoftmax | Sparsemax if number(&["axis"], Some(-1.0))? != -1.0 => {
                return Err(Error::Argument(format!("activation '{class}' works along the last axis (-1) only")));
            }
            other => other.clone(),
        })
    }
}

impl FromStr for Activation {
    type Err = Error;
    /// The activation of this name, with Keras' default arguments.
    fn from_str(name: &str) -> Result<Self> {
        NAMED.iter().find(|(known, _)| *known == name).map(|(_, a)| a.clone()).ok_or_else(|| unknown(name))
    }
}

impl From<&str> for Activation {
    /// The activation of this name; a name that nothing has is reported by `build`.
    fn from(name: &str) -> Self {
        name.parse().unwrap_or_else(|_| Unknown(name.to_owned()))
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if let Unknown(name) = self {
            return Err(ser::Error::custom(unknown(name)));
        }
        match self.object() {
            Some((module, class, config)) if !NAMED.iter().any(|(_, named)| named == self) => {
                json!({ "module": module, "class_name": class, "config": config, "registered_name": null })
                    .serialize(serializer)
            }
            _ => serializer.serialize_str(self.name()),
        }
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let read = Self::from_value(Value::deserialize(deserializer)?).map_err(de::Error::custom)?;
        read.check().map_err(de::Error::custom)?;
        Ok(read)
    }
}
