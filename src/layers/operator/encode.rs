//! Classes as vectors.

use crate::error::{Result, ensure};
use crate::layer::Forward;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Classes as vectors of zeros and ones (Keras: `keras.ops.one_hot`, `multi_hot`); a number that is no class gives
/// zeros. No gradient passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class_name", content = "config")]
pub enum Encode {
    /// A vector for each value, as a new last axis.
    OneHot {
        /// The length of a vector.
        num_classes: usize,
        /// -1
        axis: isize,
        /// Not here.
        sparse: bool,
    },
    /// A vector for all values of a sample `(values)`.
    MultiHot {
        /// The length of the vector.
        num_classes: usize,
        /// -1
        axis: isize,
        /// Not here.
        sparse: bool,
    },
}

impl Encode {
    /// The names of all.
    pub(super) const CLASSES: &[&str] = &["OneHot", "MultiHot"];

    pub(super) fn name(&self) -> &'static str {
        match self {
            Encode::OneHot { .. } => "OneHot",
            Encode::MultiHot { .. } => "MultiHot",
        }
    }

    fn num_classes(&self) -> usize {
        match self {
            Encode::OneHot { num_classes, .. } | Encode::MultiHot { num_classes, .. } => *num_classes,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let (Encode::OneHot { axis, sparse, .. } | Encode::MultiHot { axis, sparse, .. }) = self;
        ensure!(*axis == -1 && !sparse, Argument, "{} is known here with axis -1 and dense results", self.name());
        Ok(())
    }

    pub(super) fn output_shape(&self, x: &Shape) -> Result<Shape> {
        let classes = Some(self.num_classes());
        match self {
            Encode::OneHot { .. } => Ok(Shape::new(x.dims().iter().copied().chain([classes]).collect::<Vec<_>>())),
            Encode::MultiHot { .. } => {
                ensure!(x.rank() == 2, Shape, "MultiHot is known here for samples of one axis, got {x}");
                Ok(Shape::new([x.get(0), classes]))
            }
        }
    }

    pub(super) fn forward(&self, x: &Tensor, cx: &mut Forward<'_>) -> Result<Tensor> {
        let classes = self.num_classes();
        let known: Dims = self.output_shape(&Shape::from(x.shape()))?.dims().iter().flatten().copied().collect();
        let mut y = cx.scratch(known);
        y.data_mut().fill(0.0);
        let values = match self {
            Encode::OneHot { .. } => 1,
            Encode::MultiHot { .. } => x.last(),
        };
        if classes > 0 {
            for (y, x) in y.data_mut().chunks_exact_mut(classes).zip(x.data().chunks_exact(values.max(1))) {
                for &x in x {
                    // Towards 0, as a cast to integers.
                    let class = x.trunc();
                    if class >= 0.0 && class < classes as f32 {
                        y[class as usize] = 1.0;
                    }
                }
            }
        }
        Ok(y)
    }
}
