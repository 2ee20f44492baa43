//! What goes into a layer and comes out of it.

use crate::error::{Error, Result};
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// The inputs or outputs of a layer, or the gradients of its outputs.
#[derive(Clone, Debug, Default)]
pub struct Values(SmallVec<[Tensor; 2]>);

impl Values {
    /// The only one of them.
    ///
    /// # Errors
    /// When there are none or several.
    pub fn one(mut self) -> Result<Tensor> {
        match (self.0.len(), self.0.pop()) {
            (1, Some(only)) => Ok(only),
            (n, _) => Err(Error::Argument(format!("expected one tensor, got {n}"))),
        }
    }
}

impl From<Tensor> for Values {
    fn from(tensor: Tensor) -> Self {
        Values(smallvec::smallvec![tensor])
    }
}

impl FromIterator<Tensor> for Values {
    fn from_iter<I: IntoIterator<Item = Tensor>>(tensors: I) -> Self {
        Values(tensors.into_iter().collect())
    }
}

impl IntoIterator for Values {
    type Item = Tensor;
    type IntoIter = smallvec::IntoIter<[Tensor; 2]>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::ops::Deref for Values {
    type Target = [Tensor];
    fn deref(&self) -> &[Tensor] {
        &self.0
    }
}

/// The gradients of a layer's inputs; `None` where none was asked for or none exists.
#[derive(Clone, Debug, Default)]
pub struct Gradients(SmallVec<[Option<Tensor>; 2]>);

impl From<Tensor> for Gradients {
    fn from(gradient: Tensor) -> Self {
        Some(gradient).into()
    }
}

impl From<Option<Tensor>> for Gradients {
    fn from(gradient: Option<Tensor>) -> Self {
        Gradients(smallvec::smallvec![gradient])
    }
}

impl FromIterator<Option<Tensor>> for Gradients {
    fn from_iter<I: IntoIterator<Item = Option<Tensor>>>(gradients: I) -> Self {
        Gradients(gradients.into_iter().collect())
    }
}

impl IntoIterator for Gradients {
    type Item = Option<Tensor>;
    type IntoIter = smallvec::IntoIter<[Option<Tensor>; 2]>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
