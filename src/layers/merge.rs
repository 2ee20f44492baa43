//! Several tensors made one, element by element.

use super::broadcast::{combine, expand, joint_dims, joint_shape, sum_to};
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::kernels::vectorised;
use crate::layer::{Backward, Forward, Fusible, Gradients, Layer, Masks, Values, flops};
use crate::runtime::Workspace;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Merge {
    Add,
    Subtract,
    Multiply,
    Average,
    Maximum,
    Minimum,
}

macro_rules! merge {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $class {}

        impl $class {
            /// The layer.
            pub fn new() -> Self {
                Self::default()
            }
        }

        impl Layer for $class {
            fn config(&self) -> Result<Config> {
                config::of(self)
            }
            fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
                Merge::$class.output_shape(inputs).map(|shape| vec![shape])
            }
            fn supports_masking(&self) -> bool {
                true
            }
            fn fusible(&self, inputs: &[Shape]) -> Option<Fusible> {
                Merge::$class.fusible(inputs)
            }
            fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> f64 {
                inputs.len().saturating_sub(1) as f64 * flops::values(outputs)
            }
            fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
                Merge::$class.forward(inputs, cx)
            }
            fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
                Merge::$class.backward(gradients.one()?, cx)
            }
        }
    };
}

merge! {
    /// The sum of any number of inputs (Keras: `Add`).
    ///
    /// Sizes of 1 are repeated to fit; an input of fewer axes gets axes of size 1 after the batch. The output has a
    /// mask if all inputs have: a step counts where it counts in any of them.
    ///
    /// ```
    /// use cornu::prelude::*;
    /// // The end of a residual block.
    /// let report = cornu::testing::check_layer(Add::new(), &[[2, 8, 8, 3], [2, 8, 8, 3]])?;
    /// assert!(report.max_error() < 1e-3);
    /// # Ok::<(), cornu::Error>(())
    /// ```
    Add
}

merge! {
    /// The first of two inputs less the second (Keras: `Subtract`). Shapes and masks as for [`Add`].
    Subtract
}

merge! {
    /// The product of any number of inputs (Keras: `Multiply`). Shapes and masks as for [`Add`].
    ///
    /// Where a mask says that a step does not count, it is taken as 1; where all say so, the output is 0.
    Multiply
}

merge! {
    /// The mean of any number of inputs (Keras: `Average`). Shapes and masks as for [`Add`].
    Average
}

merge! {
    /// The largest of any number of inputs (Keras: `Maximum`). Shapes and masks as for [`Add`].
    ///
    /// Of equal values the first takes the gradient. A step that does not count is left out, unless all are.
    Maximum
}

merge! {
    /// The smallest of any number of inputs (Keras: `Minimum`), otherwise as [`Maximum`].
    Minimum
}

impl Merge {
    fn check(self, inputs: usize) -> Result<()> {
        match self {
            Merge::Subtract => ensure!(inputs == 2, Argument, "it takes exactly 2 inputs, got {inputs}"),
            _ => ensure!(inputs > 0, Argument, "it needs at least 1 input"),
        }
        Ok(())
    }

    fn output_shape(self, inputs: &[Shape]) -> Result<Shape> {
        self.check(inputs.len())?;
        let rank = inputs.iter().map(Shape::rank).max().unwrap_or(0);
        let mut shapes = inputs.iter().map(|shape| {
            let dims = shape.dims();
            Shape::new(with_ones(dims, rank, Some(1)).collect::<Vec<_>>())
        });
        let first = shapes.next().unwrap_or_default();
        shapes.try_fold(first, |joint, shape| joint_shape(&joint, &shape))
    }

    fn fusible(self, inputs: &[Shape]) -> Option<Fusible> {
        let equal = |a: &Shape, b: &Shape| a == b && a.sample().iter().all(Option::is_some);
        matches!((self, inputs), (Merge::Add, [a, b]) if equal(a, b)).then_some(Fusible::Sum)
    }

    fn forward(self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        self.check(inputs.len())?;
        let rank = inputs.iter().map(Tensor::rank).max().unwrap_or(0);
        let equal_ranks = inputs.iter().all(|x| x.rank() == rank);
        let n = inputs.len();
        for x in inputs.iter() {
            cx.save_shape(x.shape());
        }
        let inputs = inputs.into_iter().map(|x| {
            let dims: Dims = with_ones(x.shape(), rank, 1).collect();
            x.reshape(dims)
        });
        let inputs: Vec<Tensor> = inputs.collect::<Result<_>>()?;
        // Keras loses the masks of inputs to which it adds axes, here and for Maximum and Minimum.
        let masks: Vec<Option<Tensor>> = match self {
            Merge::Multiply | Merge::Maximum | Merge::Minimum if equal_ranks => {
                let along_features = |mask: &Tensor| {
                    let dims: Dims = mask.shape().iter().copied().chain([1]).collect();
                    mask.clone().reshape(dims)
                };
                let masks = (0..n).map(|i| cx.mask(i).map(along_features).transpose());
                masks.collect::<Result<_>>()?
            }
            _ => vec![None; n],
        };
        let output_mask = any_of(cx.masks(), n, cx.workspace())?;
        let y = match self {
            Merge::Add => fold(&inputs, cx, |a, b| a + b)?,
            Merge::Subtract => fold(&inputs, cx, |a, b| a - b)?,
            Merge::Average => {
                let n = n as f32;
                fold(&inputs, cx, |a, b| a + b)?.map(|sum| sum / n)
            }
            Merge::Multiply => multiply(inputs, &masks, cx)?,
            Merge::Maximum => select(&inputs, &masks, cx, |a, b| a >= b)?,
            Merge::Minimum => select(&inputs, &masks, cx, |a, b| a <= b)?,
        };
        cx.save_shape(&[n]);
        cx.set_masks([output_mask]);
        Ok(y.into())
    }

    fn backward(self, gradient: Tensor, cx: &mut Backward<'_>) -> Result<Gradients> {
        let n = cx.restore_shape()?.first().copied().unwrap_or(0);
        // Of each input, in the shape that all were brought to.
        let gradients: Vec<Option<Tensor>> = match self {
            Merge::Add => (0..n).map(|i| cx.wants(i).then(|| gradient.clone())).collect(),
            Merge::Average => {
                let gradient = gradient.map(|g| g / n as f32);
                (0..n).map(|i| cx.wants(i).then(|| gradient.clone())).collect()
            }
            Merge::Subtract => {
                let second = cx.wants(1).then(|| gradient.clone().map(|g| -g));
                vec![cx.wants(0).then_some(gradient), second]
            }
            Merge::Multiply => multiply_gradients(n, gradient, cx)?,
            Merge::Maximum | Merge::Minimum => {
                let winners = cx.restore_indices()?;
                let of = |i: usize| {
                    let mut part = cx.scratch(gradient.shape());
                    let both = gradient.data().iter().zip(&winners);
                    let chosen = both.map(|(g, winner)| if *winner == i as u32 { *g } else { 0.0 });
                    part.data_mut().iter_mut().zip(chosen).for_each(|(part, g)| *part = g);
                    part
                };
                let parts = (0..n).map(|i| cx.wants(i).then(|| of(i))).collect();
                cx.workspace().give_indices(winners);
                parts
            }
        };
        let mut results: Vec<Option<Tensor>> = Vec::with_capacity(n);
        for gradient in gradients.into_iter().rev() {
            let dims = cx.restore_shape()?;
            let summed = gradient.map(|gradient| {
                let rank = gradient.rank();
                let aligned: Dims = with_ones(&dims, rank, 1).collect();
                sum_to(gradient, &aligned, cx.workspace())?.reshape(&dims)
            });
            results.push(summed.transpose()?);
        }
        Ok(results.into_iter().rev().collect())
    }
}

/// The axes with as many of size 1 after the batch as it takes to have `rank` of them.
fn with_ones<T: Copy>(dims: &[T], rank: usize, one: T) -> impl Iterator<Item = T> {
    let (batch, sample) = dims.split_at(1.min(dims.len()));
    batch.iter().copied().chain(std::iter::repeat_n(one, rank - dims.len())).chain(sample.iter().copied())
}

/// Where any of the masks counts; none if an input has none.
pub(super) fn any_of(masks: &[Option<Tensor>], inputs: usize, workspace: &Arc<Workspace>) -> Result<Option<Tensor>> {
    let mut present = masks.iter().flatten();
    let Some(first) = present.next().filter(|_| masks.iter().flatten().count() == inputs) else { return Ok(None) };
    let either = |a, b| f32::from(u8::from(a != 0.0 || b != 0.0));
    present.try_fold(first.clone(), |any, mask| combine(&any, mask, workspace, either)).map(Some)
}

fn fold(inputs: &[Tensor], cx: &Forward<'_>, op: impl Fn(f32, f32) -> f32 + Copy + Sync) -> Result<Tensor> {
    let (first, rest) = inputs.split_first().ok_or_else(|| Error::Argument("there are no inputs".to_owned()))?;
    rest.iter().try_fold(first.clone(), |y, x| combine(&y, x, cx.workspace(), op))
}

/// `x` where the mask counts, else `other`.
fn keep(x: &Tensor, mask: &Tensor, other: f32, workspace: &Arc<Workspace>) -> Result<Tensor> {
    let kept = combine(x, mask, workspace, |x, mask| if mask != 0.0 { x } else { other })?;
    ensure!(
        kept.shape() == x.shape(),
        Shape,
        "a mask of shape {:?} does not fit an input of shape {:?}",
        mask.shape(),
        x.shape()
    );
    Ok(kept)
}

fn multiply(mut inputs: Vec<Tensor>, masks: &[Option<Tensor>], cx: &mut Forward<'_>) -> Result<Tensor> {
    for (x, mask) in inputs.iter_mut().zip(masks) {
        if let Some(mask) = mask {
            *x = keep(x, mask, 1.0, cx.workspace())?;
        }
    }
    let mut y = fold(&inputs, cx, |a, b| a * b)?;
    inputs.into_iter().for_each(|x| cx.save(x));
    let any = any_of(masks, masks.len(), cx.workspace())?;
    if let Some(any) = &any {
        y = keep(&y, any, 0.0, cx.workspace())?;
        cx.save(any.clone());
    }
    for mask in masks.iter().flatten() {
        cx.save(mask.clone());
    }
    let present: Dims = masks.iter().map(|mask| usize::from(mask.is_some())).collect();
    cx.save_shape(&present);
    Ok(y)
}

fn multiply_gradients(n: usize, mut gradient: Tensor, cx: &mut Backward<'_>) -> Result<Vec<Option<Tensor>>> {
    let present = cx.restore_shape()?;
    let mut masks = Masks::from_elem(None, n);
    for (mask, present) in masks.iter_mut().zip(&present).rev() {
        if *present == 1 {
            *mask = Some(cx.restore()?);
        }
    }
    if present.iter().all(|&present| present == 1) {
        gradient = keep(&gradient, &cx.restore()?, 0.0, cx.workspace())?;
    }
    let mut inputs = (0..n).map(|_| cx.restore()).collect::<Result<Vec<_>>>()?;
    inputs.reverse();
    let of = |i: usize| {
        let others = inputs.iter().enumerate().filter(|(j, _)| *j != i);
        let product = others
            .map(|(_, x)| x)
            .try_fold(gradient.clone(), |product, x| combine(&product, x, cx.workspace(), |a, b| a * b))?;
        match &masks[i] {
            Some(mask) => keep(&product, mask, 0.0, cx.workspace()),
            None => Ok(product),
        }
    };
    (0..n).map(|i| cx.wants(i).then(|| of(i)).transpose()).collect()
}

/// The first input that is `ahead` of all others, value by value; its number is saved.
fn select(
    inputs: &[Tensor],
    masks: &[Option<Tensor>],
    cx: &mut Forward<'_>,
    ahead: impl Fn(f32, f32) -> bool + Copy + Sync,
) -> Result<Tensor> {
    let masked = masks.iter().any(Option::is_some);
    if !masked && !cx.recording() {
        return fold(inputs, cx, |a, b| if ahead(a, b) || a.is_nan() { a } else { b });
    }
    let dims = inputs.iter().try_fold(Dims::new(), |dims, x| joint_dims(&dims, x.shape()))?;
    let full = |x: &Tensor| expand(x, &dims, cx.workspace());
    let mut y = full(&inputs[0])?;
    let mut winners = cx.workspace().take_indices(y.len());
    winners.fill(0);
    let mut counted = masks[0].as_ref().map(full).transpose()?;
    for (i, (x, mask)) in (1u32..).zip(inputs[1..].iter().zip(&masks[1..])) {
        let (x, mask) = (full(x)?, mask.as_ref().map(full).transpose()?);
        let steps = y.data_mut().iter_mut().zip(&mut winners).zip(x.data());
        if mask.is_none() && counted.is_none() {
            vectorised(
                #[inline(always)]
                move || {
                    for ((y, winner), x) in steps {
                        let stays = ahead(*y, *x);
                        *winner = if stays { *winner } else { i };
                        *y = if stays || y.is_nan() { *y } else { *x };
                    }
                },
            );
            continue;
        }
        let counts = |mask: &Option<Tensor>, at: usize| mask.as_ref().is_none_or(|mask| mask.data()[at] != 0.0);
        for (at, ((y, winner), x)) in steps.enumerate() {
            // What does not count gives way to the other one, this input first.
            let new = if counts(&mask, at) { (*x, i) } else { (*y, *winner) };
            let old = if counts(&counted, at) { (*y, *winner) } else { new };
            (*y, *winner) = if ahead(old.0, new.0) { old } else { new };
        }
        counted = match (counted, mask) {
            (Some(a), Some(b)) => any_of(&[Some(a), Some(b)], 2, cx.workspace())?,
            _ => None,
        };
    }
    cx.save_indices(winners);
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, assert_values, tensor, wave};
    use super::*;
    use crate::testing::{GradientCheck, check_layer};

    fn layer(class: &str) -> Called {
        match class {
            "Add" => Called::new(Add::new()),
            "Subtract" => Called::new(Subtract::new()),
            "Multiply" => Called::new(Multiply::new()),
            "Average" => Called::new(Average::new()),
            "Maximum" => Called::new(Maximum::new()),
            _ => Called::new(Minimum::new()),
        }
    }

    fn masks() -> [Tensor; 2] {
        [tensor(&[2, 3], &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0]), tensor(&[2, 3], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])]
    }

    // The numbers are those of Keras 3.15.

    #[test]
    fn masked_steps_follow_keras() {
        let [m, n] = masks();
        let inputs = [wave(&[2, 3, 2], 0.0, 1.0), wave(&[2, 3, 2], 1.0, 1.0)];
        let any = tensor(&[2, 3], &[1.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        let cases: [(&str, &[f32]); 6] = [
            (
                "Add",
                &[
                    0.841471, 1.41904, -1.20714, -1.10798, 1.49266, 0.723336, -1.67905, -0.290663, 1.75395, -0.161312,
                    -1.71238, 0.602574,
                ],
            ),
            (
                "Subtract",
                &[
                    -0.841471, 0.564285, 0.696061, -0.743652, -0.50443, 0.873638, 0.279303, -0.945612, -0.0356294,
                    0.954793, -0.21041, -0.900572,
                ],
            ),
            (
                "Multiply",
                &[
                    0.0, 0.423818, -0.255541, -0.925815, 0.0, 0.0, 0.685302, -0.202424, 0.894791, -0.558052, -0.750987,
                    0.751573,
                ],
            ),
            (
                "Average",
                &[
                    0.420735, 0.709522, -0.603572, -0.553989, 0.746328, 0.361668, -0.839526, -0.145331, 0.876976,
                    -0.0806558, -0.856192, 0.301287,
                ],
            ),
            (
                "Maximum",
                &[
                    0.841471, 0.991665, -0.255541, -0.925815, 0.494113, 0.798487, -0.699875, 0.327474, 0.894791,
                    -0.558052, -0.750987, 0.751573,
                ],
            ),
            (
                "Minimum",
                &[
                    0.0, 0.42738, -0.255541, -0.925815, 0.494113, 0.798487, -0.979178, -0.618137, 0.894791, -0.558052,
                    -0.750987, 0.751573,
                ],
            ),
        ];
        for (class, want) in cases {
            let (y, mask) = layer(class).masks([Some(&m), Some(&n)]).run(&inputs).unwrap();
            assert_values(&y.one().unwrap(), want);
            assert_eq!(mask.as_slice(), [Some(any.clone())], "{class}");
        }
        // Three inputs, one of them without a mask: the output has none.
        let inputs = [&inputs[0], &inputs[1], &wave(&[2, 3, 2], 2.0, 1.0)].map(Clone::clone);
        let cases: [(&str, &[f32]); 3] = [
            (
                "Maximum",
                &[
                    0.909297, 0.991665, -0.255541, -0.182163, 0.998543, -0.0751511, -0.358229, 0.972008, 0.894791,
                    -0.558052, 0.149877, 0.961153,
                ],
            ),
            (
                "Minimum",
                &[
                    0.0, -0.529836, -0.951602, -0.925815, 0.998543, -0.0751511, -0.979178, -0.618137, 0.107754,
                    -0.999774, -0.750987, 0.751573,
                ],
            ),
            (
                "Multiply",
                &[
                    0.0, -0.224554, 0.243173, 0.168649, 0.998543, -0.0751511, -0.245495, -0.196758, 0.096417, 0.557926,
                    -0.112556, 0.722377,
                ],
            ),
        ];
        for (class, want) in cases {
            let (y, mask) = layer(class).masks([Some(&m), None, Some(&n)]).run(&inputs).unwrap();
            assert_values(&y.one().unwrap(), want);
            assert_eq!(mask.as_slice(), [None], "{class}");
        }
    }

    #[test]
    fn shapes_that_differ_follow_keras() {
        let inputs = [wave(&[2, 3, 1], 0.0, 1.0), wave(&[2, 2], 1.0, 1.0), wave(&[2, 1, 2], 2.0, 1.0)];
        let cases: [(&str, &[f32]); 5] = [
            (
                "Add",
                &[
                    1.75077, -0.102456, 2.74243, 0.889209, 1.49523, -0.357997, -2.65018, -0.379008, -1.23025, 1.04092,
                    -0.925879, 1.34529,
                ],
            ),
            (
                "Multiply",
                &[
                    0.0, -0.0, 0.75877, -0.224554, -0.195527, 0.0578651, -0.680811, 0.12294, 0.363353, -0.0656137,
                    0.587179, -0.106032,
                ],
            ),
            (
                "Average",
                &[
                    0.583589, -0.0341521, 0.914144, 0.296403, 0.498409, -0.119332, -0.883394, -0.126336, -0.410084,
                    0.346973, -0.308627, 0.448431,
                ],
            ),
            (
                "Maximum",
                &[
                    0.909297, 0.42738, 0.991665, 0.991665, 0.909297, 0.42738, -0.772765, 0.728969, 0.494113, 0.728969,
                    0.798487, 0.798487,
                ],
            ),
            (
                "Minimum",
                &[
                    0.0, -0.529836, 0.841471, -0.529836, -0.255541, -0.529836, -0.951602, -0.925815, -0.951602,
                    -0.182163, -0.951602, -0.182163,
                ],
            ),
        ];
        for (class, want) in cases {
            let (y, _) = layer(class).run(&inputs).unwrap();
            let y = y.one().unwrap();
            assert_eq!(y.shape(), [2, 3, 2]);
            assert_values(&y, want);
        }
    }

    #[test]
    fn gradients_pass_through_masks_and_repeated_axes() {
        let [m, n] = masks();
        // No two values that meet are close, so that the largest one is clear.
        let apart = |k: usize, shape: &[usize]| {
            let value = |j: usize| ((j * 7 + k * 3) % 5) as f32 + k as f32 * 0.33;
            Tensor::new(shape, (0..shape.iter().product()).map(value).collect()).unwrap()
        };
        let check = |layer: Called, shapes: [&[usize]; 3]| {
            let inputs = [0, 1, 2].map(|k| apart(k, shapes[k]));
            GradientCheck::new().layer_at(layer, &inputs).unwrap();
        };
        let same: [&[usize]; 3] = [&[2, 3, 4]; 3];
        for class in ["Add", "Multiply", "Average", "Maximum", "Minimum"] {
            check(layer(class), same);
            check(layer(class), [&[2, 3, 1], &[2, 4], &[2, 1, 4]]);
            check_layer(layer(class), &[[3, 2]]).unwrap();
            for masks in [[Some(&m), Some(&n), Some(&n)], [Some(&m), None, Some(&n)], [None, Some(&m), None]] {
                check(layer(class).masks(masks), same);
            }
        }
        check_layer(Subtract::new(), &[&[2, 3, 4][..], &[2, 4]]).unwrap();
        check_layer(layer("Subtract").masks([Some(&m), Some(&n)]), &[[2, 3, 4], [2, 3, 4]]).unwrap();
    }

    #[test]
    fn the_first_of_equal_values_takes_the_gradient() {
        let workspace = Workspace::new();
        let pass = crate::layer::Pass { training: true, seed: 1, step: 0, first_sample: 0, share: 1.0, workspace };
        for layer in [Box::new(Maximum::new()) as Box<dyn Layer>, Box::new(Minimum::new())] {
            let (mut saved, mut effects) = Default::default();
            let mut cx = Forward::of_model(&pass, &mut saved, &mut effects, true);
            let x = tensor(&[1, 2], &[0.5, 0.5]);
            layer.forward([x.clone(), x.clone(), x].into_iter().collect(), &mut cx).unwrap();
            let mut cx = Backward {
                saved: &mut saved,
                gradients: &mut crate::layer::GradientStore::new(&[]),
                workspace: &pass.workspace,
                share: 1.0,
                trainable: true,
                wanted: [true; 3].into_iter().collect(),
                gates: Default::default(),
            };
            let gradients = layer.backward(tensor(&[1, 2], &[1.0, 2.0]).into(), &mut cx).unwrap();
            let gradients: Vec<Vec<f32>> = gradients.into_iter().map(|g| g.unwrap().into_vec()).collect();
            assert_eq!(gradients, [[1.0, 2.0], [0.0, 0.0], [0.0, 0.0]]);
        }
    }

    #[test]
    fn mistakes_are_told() {
        let told = |shapes: &[&[usize]]| {
            let shapes: Vec<Shape> = shapes.iter().map(Shape::batch_of).collect();
            Subtract::new().output_shapes(&shapes).unwrap_err().to_string()
        };
        assert!(told(&[&[3], &[3], &[3]]).contains("exactly 2 inputs, got 3"));
        assert!(told(&[&[3, 4], &[3, 5]]).contains("(None, 3, 4) and (None, 3, 5) do not fit"));
        assert!(Add::new().output_shapes(&[]).is_err());
        assert!(GradientCheck::new().layer(Add::new(), &[[2, 3], [3, 3]]).is_err());
    }
}
