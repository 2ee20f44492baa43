//! How weights start.

use crate::config::{self, Config, Shared, Unknown, family};
use crate::error::Result;
use crate::random::Rng;
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// Makes the first values of a weight.
pub trait Initializer: Debug + Send + Sync {
    /// The name it is saved under.
    fn class_name(&self) -> &str {
        config::short_name::<Self>()
    }

    /// What makes it again (Keras: `get_config`). Without it a model that uses it cannot be saved.
    ///
    /// # Errors
    /// By default: that it has none.
    fn config(&self) -> Result<Config> {
        Err(config::no_config("initializer", self.class_name()))
    }

    /// Whether its arguments make sense.
    ///
    /// # Errors
    /// What is wrong with them.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The first values of a weight of this shape.
    ///
    /// # Errors
    /// When it cannot serve this shape.
    fn initialize(&self, shape: &[usize], rng: &mut Rng) -> Result<Tensor>;
}

family! { Shared<dyn Initializer>, "initializer", "keras.initializers";
    Zeros = "zeros";
    Ones = "ones";
}

impl Initializer for Unknown {
    fn check(&self) -> Result<()> {
        Err(self.error())
    }
    fn initialize(&self, _: &[usize], _: &mut Rng) -> Result<Tensor> {
        Err(self.error())
    }
}

/// All zeros.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Zeros {}

impl Initializer for Zeros {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        Ok(Tensor::zeros(shape))
    }
}

/// All ones.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ones {}

impl Initializer for Ones {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }
    fn initialize(&self, shape: &[usize], _: &mut Rng) -> Result<Tensor> {
        Ok(Tensor::full(shape, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Holder {
        init: Shared<dyn Initializer>,
        other: Option<Shared<dyn Initializer>>,
    }

    #[test]
    fn names_and_configs() {
        let zeros: Shared<dyn Initializer> = "zeros".into();
        assert_eq!(zeros.class_name(), "Zeros");
        let wrong: Shared<dyn Initializer> = "zeroes".into();
        assert!(wrong.check().unwrap_err().to_string().contains("did you mean 'zeros'"), "{:?}", wrong.check());
        let text = serde_json::to_string(&Holder { init: Zeros {}.into(), other: None }).unwrap();
        let back: Holder = serde_json::from_str(&text).unwrap();
        assert_eq!(back.init.class_name(), "Zeros");
        assert!(back.other.is_none());
        assert!(serde_json::from_str::<Holder>(r#"{"init": "one"}"#).is_err());
    }
}
