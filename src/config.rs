//! Classes by name, and their configuration in Keras' JSON form.
//!
//! Each family (layers, losses, initializers, …) is a trait whose built-in implementations stand in
//! one table, written with `family!`. From that table come parsing by name (`"he_normal"`),
//! the error that lists the nearest names, and reading and writing of
//! `{"class_name": "HeNormal", "config": {…}}`. Classes of a user's own are added through a
//! [`Registry`]; a file can only name classes that are known, never code.

use crate::error::{Error, Result, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::any::{Any, TypeId, type_name};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The arguments that make an object again: Keras' `get_config()`.
pub type Config = serde_json::Map<String, Value>;

/// A handle to an immutable object of a family, such as `Shared<dyn Initializer>`. Cheap to clone.
///
/// It is made from a name or from a value: wherever a method takes `impl Into<Shared<dyn Initializer>>`,
/// `"he_normal"` and `HeNormal::new()` both do.
pub struct Shared<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a misspelt name becomes until someone can be told: it implements every family, and its
/// `check` is the error. Builders never fail; `build` and `compile` call `check`.
#[derive(Clone, Debug)]
pub(crate) struct Unknown {
    pub kind: &'static str,
    pub name: String,
    pub known: Vec<&'static str>,
}

impl Unknown {
    pub fn error(&self) -> Error {
        Error::unknown_name(self.kind, &self.name, self.known.iter().copied())
    }
}

/// One row of a family's table.
pub(crate) struct Class<H> {
    /// Keras' class name: `"HeNormal"`.
    pub class_name: &'static str,
    /// The names that stand for it with its defaults: `"he_normal"`.
    pub names: &'static [&'static str],
    /// Makes it from its configuration; keys that are left out take their defaults.
    pub from_config: fn(Config) -> Result<H>,
}

/// A family of named classes. `Self` is what holds a member: `Shared<dyn Loss>`, `Box<dyn Layer>`.
pub(crate) trait Family: Sized + 'static {
    /// What error messages call a member: `"initializer"`.
    const KIND: &'static str;
    /// Where Keras keeps them: `"keras.initializers"`.
    const MODULE: &'static str;
    /// Whether a member made by name alone keeps that name as its own (Keras: a metric "acc" is reported as "acc").
    const KEEPS_NAME: bool = false;
    /// All built-in classes.
    fn classes() -> &'static [Class<Self>];
    /// The member that stands for a name nothing has.
    fn unknown(unknown: Unknown) -> Self;

    /// The member of this name with default arguments: a short name or a class name.
    fn by_name(name: &str) -> Result<Self> {
        match find_as::<Self>(name, |class, name| class.names.contains(&name)).or_else(|| find::<Self>(name)) {
            Some(make) if Self::KEEPS_NAME => make(Config::from_iter([("name".to_owned(), name.into())])),
            Some(make) => make(Config::new()),
            None => Err(unknown::<Self>(name).error()),
        }
    }

    /// As [`by_name`](Self::by_name), but an unknown name is kept until `check` is called.
    fn by_name_or_unknown(name: &str) -> Self {
        Self::by_name(name).unwrap_or_else(|_| Self::unknown(unknown::<Self>(name)))
    }

    /// The member that a serialized object describes: a name, or `{"class_name", "config"}`.
    fn from_value(value: Value) -> Result<Self> {
        match value {
            Value::String(name) => Self::by_name(&name),
            Value::Object(mut object) => {
                let name = match object.get("class_name") {
                    Some(Value::String(name)) => name.clone(),
                    _ => {
                        return Err(Error::Format(format!(
                            "a serialized {} must have a \"class_name\", found {}",
                            Self::KIND,
                            shorten(&Value::Object(object))
                        )));
                    }
                };
                let registered = match object.get("registered_name") {
                    Some(Value::String(name)) => Some(name.clone()),
                    _ => None,
                };
                let config = match object.remove("config") {
                    Some(Value::Object(config)) => config,
                    None | Some(Value::Null) => Config::new(),
                    Some(other) => {
                        return Err(Error::Format(format!(
                            "the \"config\" of {} '{name}' must be an object, found {}",
                            Self::KIND,
                            shorten(&other)
                        )));
                    }
                };
                let make = registered.as_deref().and_then(find::<Self>).or_else(|| find::<Self>(&name));
                match make {
                    Some(make) => make(config),
                    None => Err(Error::At {
                        place: format!(
                            "{} class '{name}' is not known here; register it with Registry::register",
                            Self::KIND
                        ),
                        source: Box::new(unknown::<Self>(&name).error()),
                    }),
                }
            }
            other => Err(Error::Format(format!("expected a {}, found {}", Self::KIND, shorten(&other)))),
        }
    }
}

/// Keras' serialized form of a member.
pub(crate) fn to_value<F: Family>(class_name: &str, config: Config) -> Value {
    // A class that is not Keras' own travels under a registered name, as Keras wants it.
    let custom = !F::classes().iter().any(|class| class.class_name == class_name);
    serde_json::json!({
        "module": if custom { Value::Null } else { F::MODULE.into() },
        "class_name": class_name.rsplit('>').next(),
        "config": config,
        "registered_name": if custom { class_name.into() } else { Value::Null },
    })
}

type Make<F> = Arc<dyn Fn(Config) -> Result<F> + Send + Sync>;

/// The class of this name; a class name goes before another's short name.
fn find<F: Family>(name: &str) -> Option<Make<F>> {
    find_as(name, |class, name| class.class_name == name)
        .or_else(|| find_as(name, |class, name| class.names.contains(&name)))
}

/// The user's class of this name, or the built-in one that `is` finds.
fn find_as<F: Family>(name: &str, is: impl Fn(&Class<F>, &str) -> bool) -> Option<Make<F>> {
    let custom = REGISTRY.with_borrow(|stack| stack.iter().rev().find_map(|registry| registry.find::<F>(name)));
    custom.or_else(|| {
        let class = F::classes().iter().find(|class| is(class, name))?;
        Some(Arc::new(class.from_config))
    })
}

fn unknown<F: Family>(name: &str) -> Unknown {
    // The short names are what people write; a class name stands only where there is none.
    let names = |class: &'static Class<F>| match class.names {
        [] => std::slice::from_ref(&class.class_name),
        names => names,
    };
    let known = F::classes().iter().flat_map(names).copied().collect();
    Unknown { kind: F::KIND, name: name.to_owned(), known }
}

/// Classes of a user's own, known by name while a model is loaded (Keras: `custom_objects`).
///
/// ```
/// use cornu::{config::Registry, initializers::Initializer, Rng, Result, Shared, Tensor};
/// use serde::{Deserialize, Serialize};
///
/// /// Every weight the same small number.
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Tiny { value: f32 }
///
/// impl Initializer for Tiny {
///     fn class_name(&self) -> &str { "Tiny" }
///     fn config(&self) -> Result<cornu::config::Config> { cornu::config::of(self) }
///     fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> { Ok(Tensor::full(shape, self.value)) }
/// }
///
/// let registry = Registry::new().register::<Shared<dyn Initializer>, Tiny>("Tiny");
/// # let _ = registry;
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    classes: HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>,
}

thread_local! {
    static REGISTRY: RefCell<Vec<Registry>> = const { RefCell::new(Vec::new()) };
}

impl Registry {
    /// A registry with the built-in classes alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the class `C` to the family whose members are held as `F`, under `name`.
    pub fn register<F, C>(mut self, name: &str) -> Self
    where
        F: From<C> + 'static,
        C: DeserializeOwned + 'static,
    {
        let make: Make<F> = Arc::new(|config| from_config::<C>(config).map(F::from));
        self.classes.insert((TypeId::of::<F>(), name.to_owned()), Arc::new(make));
        self
    }

    /// Runs `read` with these classes known.
    pub(crate) fn scope<T>(&self, read: impl FnOnce() -> T) -> T {
        struct Pop;
        impl Drop for Pop {
            fn drop(&mut self) {
                REGISTRY.with_borrow_mut(Vec::pop);
            }
        }
        REGISTRY.with_borrow_mut(|stack| stack.push(self.clone()));
        let _pop = Pop;
        read()
    }

    fn find<F: Family>(&self, name: &str) -> Option<Make<F>> {
        let class = self.classes.get(&(TypeId::of::<F>(), name.to_owned()))?;
        class.downcast_ref::<Make<F>>().cloned()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.classes.keys().map(|(_, name)| name)).finish()
    }
}

/// The configuration of a value whose fields serde can write.
///
/// # Errors
/// When serde cannot, or the value is not a struct.
pub fn of(value: &impl serde::Serialize) -> Result<Config> {
    match serde_json::to_value(value) {
        Ok(Value::Object(config)) => Ok(config),
        Ok(other) => Err(Error::NotSerializable(format!("a configuration must be an object, not {}", shorten(&other)))),
        Err(error) => Err(Error::NotSerializable(error.to_string())),
    }
}

/// Makes a value from its configuration; keys it does not know are ignored.
///
/// # Errors
/// When a key is missing or has the wrong type.
pub fn from_config<T: DeserializeOwned>(config: Config) -> Result<T> {
    serde_json::from_value(Value::Object(config))
        .map_err(|error| Error::Format(format!("the configuration of {} does not fit: {error}", short_name::<T>())))
}

/// The last part of a type's path: the class name of a user's type that does not say its own.
pub fn short_name<T: ?Sized>() -> &'static str {
    let path = type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}

/// Keras' default name of an object: `"MeanSquaredError"` gives `"mean_squared_error"`, `"Conv2D"` `"conv2d"`.
pub(crate) fn snake_case(class_name: &str) -> String {
    let class_name = match class_name.rsplit('>').next().unwrap_or(class_name) {
        // The one class of Keras that goes by another name in its own code.
        "GroupQueryAttention" => "GroupedQueryAttention",
        other => other,
    };
    let letters: Vec<char> = class_name.chars().filter(|c| *c == '_' || c.is_alphanumeric()).collect();
    let mut name = String::with_capacity(letters.len() + 4);
    for (i, &letter) in letters.iter().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 && letters[i - 1] != '_' {
            // A new word starts after a small letter, and at a capital that small letters follow.
            let starts_word = letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
            if starts_word || letters[i - 1].is_ascii_lowercase() {
                name.push('_');
            }
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The error of a class whose author gave it no configuration.
pub(crate) fn no_config(kind: &str, class_name: &str) -> Error {
    Error::NotSerializable(format!(
        "the {kind} '{class_name}' cannot be saved because it has no configuration; implement its `config` method"
    ))
}

/// A JSON value, cut to a length that fits in a message.
fn shorten(value: &Value) -> String {
    let mut text = value.to_string();
    if text.len() > 60 {
        let end = (0..=57).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Checks that `value`, an argument called `name`, is finite and at least zero.
pub(crate) fn check_non_negative(name: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value >= 0.0, Argument, "{name} is {value}; it must be a number of at least 0");
    Ok(())
}

/// The table of a family's built-in classes, and what follows from it.
///
/// `family! { Shared<dyn Regularizer>: Regularizer, "regularizer", "keras.regularizers";
///     L1 = "l1"; L2 = "l2"; }`
///
/// Every class must be `DeserializeOwned`. The trait must have `class_name`, `config` and `check`,
/// and be implemented for [`Unknown`].
macro_rules! family {
    ($holder:ident <dyn $trait:ident>, $kind:literal, $module:literal $(, keeps_name = $keeps:literal)?; $($class:ident $(= $($name:literal)|+)?;)*) => {
        impl $crate::config::Family for $holder<dyn $trait> {
            const KIND: &'static str = $kind;
            const MODULE: &'static str = $module;
            $(const KEEPS_NAME: bool = $keeps;)?
            fn classes() -> &'static [$crate::config::Class<Self>] {
                &[$($crate::config::Class {
                    class_name: stringify!($class),
                    names: &[$($($name),+)?],
                    from_config: |config| Ok($crate::config::from_config::<$class>(config)?.into()),
                }),*]
            }
            fn unknown(unknown: $crate::config::Unknown) -> Self {
                unknown.into()
            }
        }

        impl<T: $trait + 'static> From<T> for $holder<dyn $trait> {
            fn from(value: T) -> Self {
                $crate::config::family!(@hold $holder value)
            }
        }

        impl From<&str> for $holder<dyn $trait> {
            #[doc = concat!("The ", $kind, " of this name; a name that nothing has is reported by `build` or `compile`.")]
            fn from(name: &str) -> Self {
                <Self as $crate::config::Family>::by_name_or_unknown(name)
            }
        }

        impl serde::Serialize for dyn $trait {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                let config = self.config().map_err(serde::ser::Error::custom)?;
                $crate::config::to_value::<$holder<dyn $trait>>(self.class_name(), config).serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $holder<dyn $trait> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                <Self as $crate::config::Family>::from_value(value).map_err(serde::de::Error::custom)
            }
        }
    };
    (@hold Shared $value:ident) => { $crate::config::Shared(std::sync::Arc::new($value)) };
    (@hold Box $value:ident) => { Box::new($value) };
}
pub(crate) use family;

impl<T: ?Sized + serde::Serialize> serde::Serialize for Shared<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_follow_keras() {
        for (class, name) in [
            ("Dense", "dense"),
            ("Conv2D", "conv2d"),
            ("Conv2DTranspose", "conv2d_transpose"),
            ("MaxPooling2D", "max_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("ReLU", "re_lu"),
            ("PReLU", "p_re_lu"),
            ("ELU", "elu"),
            ("LSTM", "lstm"),
            ("SimpleRNN", "simple_rnn"),
            ("RMSNormalization", "rms_normalization"),
            ("GroupQueryAttention", "grouped_query_attention"),
            ("cornu>LocalResponseNormalization", "local_response_normalization"),
        ] {
            assert_eq!(super::snake_case(class), name);
        }
    }
}
