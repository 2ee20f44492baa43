//! The rectifier whose leak is learned.

use super::axes::places;
use crate::config::{self, Config, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::vectorised;
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, one_shape};
use crate::regularizers::Regularizer;
use crate::runtime::threads;
use crate::shape::Shape;
use serde::{Deserialize, Serialize};

/// `x` if positive, else `alpha * x` with a learned alpha (Keras: `PReLU`; He et al. 2015).
///
/// The output has the shape of the input. Alpha has the shape of a sample, with size 1 along the shared axes.
/// Defaults: alpha starts as `zeros` and is shared along no axis.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// model.add(Input::new([8, 8, 3])).add(PReLU::new().shared_axes([1, 2]));
/// model.build()?;
/// assert_eq!(model.count_params(), 3); // one for each channel
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct PReLU {
    alpha_initializer: Shared<dyn Initializer>,
    alpha_regularizer: Option<Shared<dyn Regularizer>>,
    alpha_constraint: Option<Shared<dyn Constraint>>,
    shared_axes: Option<SharedAxes>,
    #[serde(skip)]
    alpha: Param,
}

/// Keras writes a list and reads a number as well.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "OneOrMore")]
struct SharedAxes(Vec<usize>);

impl Serialize for SharedAxes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(usize),
    More(Vec<usize>),
}

impl From<OneOrMore> for SharedAxes {
    fn from(axes: OneOrMore) -> Self {
        match axes {
            OneOrMore::One(axis) => SharedAxes(vec![axis]),
            OneOrMore::More(axes) => SharedAxes(axes),
        }
    }
}

impl PReLU {
    /// With an alpha for each value of a sample.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axes along which alpha is the same; the batch is axis 0, so they count from 1. Default: none.
    pub fn shared_axes(mut self, axes: impl Into<Vec<usize>>) -> Self {
        self.shared_axes = Some(SharedAxes(axes.into()));
        self
    }

    /// How alpha starts. Default: `zeros`.
    pub fn alpha_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
        self.alpha_initializer = initializer.into();
        self
    }

    /// The penalty on alpha. Default: none.
    pub fn alpha_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
        self.alpha_regularizer = Some(regularizer.into());
        self
    }

    /// What alpha is brought back to after each step. Default: nothing.
    pub fn alpha_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
        self.alpha_constraint = Some(constraint.into());
        self
    }

    fn alpha_shape(&self, input: &Shape) -> Result<Vec<usize>> {
        let shared = self.shared_axes.as_ref().map_or(&[][..], |axes| &axes.0);
        let rank = input.rank();
        ensure!(
            shared.iter().all(|axis| (1..rank).contains(axis)),
            Argument,
            "shared_axes is {shared:?}; the axes of the input {input} count from 1 to {}",
            rank.saturating_sub(1)
        );
        let size = |axis| match input.get(axis) {
            _ if shared.contains(&axis) => Ok(1),
            Some(size) => Ok(size),
            None => Err(Error::Shape(format!(
                "the size of axis {axis} of input {input} must be known, or alpha shared along it"
            ))),
        };
        (1..rank).map(size).collect()
    }
}

impl Default for PReLU {
    fn default() -> Self {
        PReLU {
            alpha_initializer: "zeros".into(),
            alpha_regularizer: None,
            alpha_constraint: None,
            shared_axes: None,
            alpha: Param::default(),
        }
    }
}

/// The values of a piece are at least so many, of which there are at most this number.
const SMALLEST: usize = 1 << 14;
const PIECES: usize = 32;

impl Layer for PReLU {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let input = one_shape(inputs)?;
        self.alpha_shape(input)?;
        Ok(vec![input.clone()])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let shape = self.alpha_shape(one_shape(inputs)?)?;
        let (regularizer, constraint) = (&self.alpha_regularizer, &self.alpha_constraint);
        self.alpha = cx.weight("alpha", &shape, &self.alpha_initializer, regularizer, constraint)?;
        Ok(())
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn flops(&self, _inputs: &[Shape], _outputs: &[Shape]) -> f64 {
        // An activation.
        0.0
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let mut x = inputs.one()?;
        let places = places(&self.alpha.shape(), x.shape().get(1..).unwrap_or(&[]))?;
        let alpha = self.alpha.value();
        // Alpha for each value of a sample.
        let mut wide = cx.scratch([places.len()]);
        wide.data_mut().iter_mut().zip(&places).for_each(|(to, &place)| *to = alpha.data()[place]);
        cx.save(x.clone());
        let (sample, wide) = (places.len().max(1), wide.data());
        threads::for_each_chunk(x.data_mut(), sample * (SMALLEST / sample).max(1), |_, piece| {
            vectorised(
                #[inline(always)]
                move || {
                    for x in piece.chunks_exact_mut(sample) {
                        x.iter_mut().zip(wide).for_each(|(x, alpha)| *x = if *x < 0.0 { *x * alpha } else { *x });
                    }
                },
            );
        });
        Ok(x.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let x = cx.restore()?;
        let mut dy = gradients.one()?;
        let places = places(&self.alpha.shape(), x.shape().get(1..).unwrap_or(&[]))?;
        let alpha = self.alpha.value();
        let mut wide = cx.scratch([places.len()]);
        wide.data_mut().iter_mut().zip(&places).for_each(|(to, &place)| *to = alpha.data()[place]);
        let (sample, wide) = (places.len().max(1), wide.data());
        let length = dy.len().div_ceil(PIECES).max(SMALLEST).next_multiple_of(sample);
        let learned = cx.trainable();
        let pieces = dy.data_mut().chunks_mut(length).zip(x.data().chunks(length));
        let mut pieces: Vec<_> = pieces.map(|(dy, x)| (dy, x, vec![0f64; if learned { sample } else { 0 }])).collect();
        threads::for_each(&mut pieces, |_, (dy, x, sums)| {
            let (dy, x, sums) = (&mut **dy, *x, &mut **sums);
            vectorised(
                #[inline(always)]
                move || {
                    for (dy, x) in dy.chunks_exact_mut(sample).zip(x.chunks_exact(sample)) {
                        let each = sums.iter_mut().zip(&*dy).zip(x);
                        each.for_each(|((sum, dy), x)| *sum += f64::from(dy * x.min(0.0)));
                        dy.iter_mut().zip(x).zip(wide).for_each(|((dy, &x), alpha)| {
                            // Keras' slope at zero is zero.
                            let slope = if x < 0.0 { *alpha } else { 1.0 };
                            *dy = if x == 0.0 { 0.0 } else { *dy * slope };
                        });
                    }
                },
            );
        });
        let partial: Vec<Vec<f64>> = pieces.into_iter().map(|(.., sums)| sums).collect();
        if let Some(gradient) = cx.gradient(&self.alpha) {
            let mut sums = vec![0f64; gradient.len()];
            for part in &partial {
                places.iter().zip(part).for_each(|(&place, part)| sums[place] += part);
            }
            gradient.iter_mut().zip(sums).for_each(|(d, sum)| *d += sum as f32);
        }
        Ok(dy.into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.alpha);
    }
}
