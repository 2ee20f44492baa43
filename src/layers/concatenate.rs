//! Tensors side by side.

use super::broadcast::combine;
use super::merge::any_of;
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Gradients, Layer, Values};
use crate::runtime::threads;
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Puts its inputs side by side along an axis (Keras: `Concatenate`). Along the others they have the same sizes.
///
/// Default: the last axis, -1. If any input has a mask the output has one: along the axis of time the masks are put
/// side by side, an input without one counting everywhere; along features a step counts where it does in any input.
///
/// ```
/// use cornu::prelude::*;
/// use cornu::Shape;
/// let shapes = [Shape::batch_of([5, 5, 64]), Shape::batch_of([5, 5, 32])];
/// assert_eq!(Concatenate::new().output_shapes(&shapes)?[0].to_string(), "(None, 5, 5, 96)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Concatenate {
    axis: isize,
}

impl Default for Concatenate {
    fn default() -> Self {
        Concatenate { axis: -1 }
    }
}

impl Concatenate {
    /// Along the last axis.
    pub fn new() -> Self {
        Self::default()
    }

    /// The axis; the batch is axis 0, which cannot be it, the last one -1. Default: -1.
    pub fn axis(mut self, axis: isize) -> Self {
        self.axis = axis;
        self
    }

    fn resolved(&self, rank: usize) -> Result<usize> {
        let axis = resolve_axis(self.axis, rank)?;
        ensure!(axis > 0, Argument, "axis is {}, the batch; samples cannot be put side by side", self.axis);
        Ok(axis)
    }
}

impl Layer for Concatenate {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let first = inputs.first().ok_or_else(|| Error::Argument("it needs at least 1 input".to_owned()))?;
        let axis = self.resolved(first.rank())?;
        let mut dims = first.dims().to_vec();
        for shape in &inputs[1..] {
            let fits = |(i, (a, b)): (usize, (&Option<usize>, &Option<usize>))| {
                i == axis || a.is_none() || b.is_none() || a == b
            };
            ensure!(
                shape.rank() == dims.len() && dims.iter().zip(shape.dims()).enumerate().all(fits),
                Shape,
                "the inputs {inputs:?} differ in more than axis {axis}, along which they are put side by side"
            );
            for (i, (dim, other)) in dims.iter_mut().zip(shape.dims()).enumerate() {
                *dim = if i == axis { dim.zip(*other).map(|(a, b)| a + b) } else { dim.or(*other) };
            }
        }
        Ok(vec![Shape::new(dims)])
    }

    fn supports_masking(&self) -> bool {
        true
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let axis = self.resolved(inputs.first().map_or(0, Tensor::rank))?;
        let masks = self.output_mask(axis, &inputs, cx)?;
        cx.set_masks([masks]);
        let sizes: Dims = inputs.iter().map(|x| x.shape().get(axis).copied().unwrap_or(0)).collect();
        let y = join(&inputs, axis, cx.scratch(joined(&inputs, axis)?));
        cx.save_shape(&sizes);
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let gradient = gradients.one()?;
        let sizes = cx.restore_shape()?;
        let axis = self.resolved(gradient.rank())?;
        let mut start = 0;
        let parts = sizes.iter().enumerate().map(|(i, &size)| {
            let part = cx.wants(i).then(|| {
                let mut dims = Dims::from_slice(gradient.shape());
                dims[axis] = size;
                cut(&gradient, axis, start, cx.scratch(dims))
            });
            start += size;
            part
        });
        Ok(parts.collect())
    }
}

impl Concatenate {
    fn output_mask(&self, axis: usize, inputs: &[Tensor], cx: &Forward<'_>) -> Result<Option<Tensor>> {
        if cx.masks().iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut masks = Vec::with_capacity(inputs.len());
        for (i, x) in inputs.iter().enumerate() {
            let steps = &x.shape()[..x.rank() - 1];
            let ones = Tensor::full(steps, 1.0);
            masks.push(match cx.mask(i) {
                None => ones,
                Some(mask) if mask.shape() == steps => mask.clone(),
                Some(mask) => {
                    let spread = combine(mask, &ones, cx.workspace(), |mask, _| mask)?;
                    ensure!(
                        spread.shape() == steps,
                        Shape,
                        "a mask of shape {:?} does not fit an input of shape {:?}",
                        mask.shape(),
                        x.shape()
                    );
                    spread
                }
            });
        }
        if axis + 1 == inputs[0].rank() {
            let masks: Vec<_> = masks.into_iter().map(Some).collect();
            return any_of(&masks, inputs.len(), cx.workspace());
        }
        Ok(Some(join(&masks, axis, cx.scratch(joined(&masks, axis)?))))
    }
}

/// The shape of these side by side.
fn joined(inputs: &[Tensor], axis: usize) -> Result<Dims> {
    let mut dims = inputs.first().map(|x| Dims::from_slice(x.shape())).unwrap_or_default();
    for x in &inputs[1..] {
        let fits = |(i, (a, b)): (usize, (&usize, &usize))| i == axis || a == b;
        ensure!(
            x.rank() == dims.len() && dims.iter().zip(x.shape()).enumerate().all(fits),
            Shape,
            "inputs of shapes {dims:?} and {:?} differ in more than axis {axis}, along which they are put side by side",
            x.shape()
        );
        dims[axis] += x.shape()[axis];
    }
    Ok(dims)
}

/// Copies the inputs into `y`, side by side along `axis`.
pub(super) fn join(inputs: &[Tensor], axis: usize, mut y: Tensor) -> Tensor {
    let row: usize = y.shape()[axis..].iter().product();
    if row == 0 {
        return y;
    }
    let rows = ((1 << 16) / row).max(1);
    threads::for_each_chunk(y.data_mut(), rows * row, |i, y| {
        for (j, y) in y.chunks_exact_mut(row).enumerate() {
            let mut start = 0;
            for x in inputs {
                let width: usize = x.shape()[axis..].iter().product();
                y[start..start + width].copy_from_slice(&x.data()[(i * rows + j) * width..][..width]);
                start += width;
            }
        }
    });
    y
}

/// Copies what begins at `start` along `axis` into `part`.
pub(super) fn cut(x: &Tensor, axis: usize, start: usize, mut part: Tensor) -> Tensor {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let (row, width) = (x.shape()[axis] * inner, part.shape()[axis] * inner);
    if width == 0 {
        return part;
    }
    let rows = ((1 << 16) / width).max(1);
    threads::for_each_chunk(part.data_mut(), rows * width, |i, part| {
        for (j, part) in part.chunks_exact_mut(width).enumerate() {
            part.copy_from_slice(&x.data()[(i * rows + j) * row + start * inner..][..width]);
        }
    });
    part
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, tensor, wave};
    use super::*;
    use crate::testing::check_layer;

    #[test]
    fn values_lie_side_by_side() {
        let (a, b) = (wave(&[2, 3, 2], 0.0, 1.0), wave(&[2, 1, 2], 1.0, 1.0));
        let (y, _) = Called::new(Concatenate::new().axis(1)).run(&[a.clone(), b.clone()]).unwrap();
        let want = ndarray::concatenate(ndarray::Axis(1), &[a.view(), b.view()]).unwrap();
        assert_eq!(y.one().unwrap(), Tensor::from(want));
        for (axis, shapes) in [(-1, [[2, 3, 4], [2, 3, 1]]), (1, [[2, 3, 4], [2, 1, 4]]), (-2, [[2, 3, 4], [2, 1, 4]])]
        {
            check_layer(Concatenate::new().axis(axis), &shapes).unwrap();
        }
        check_layer(Concatenate::new().axis(2), &[[2, 2, 3, 2], [2, 2, 1, 2], [2, 2, 2, 2]]).unwrap();
    }

    #[test]
    fn masks_follow_keras() {
        let inputs = [wave(&[2, 3, 2], 0.0, 1.0), wave(&[2, 3, 2], 1.0, 1.0)];
        let m = tensor(&[2, 3], &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        let n = tensor(&[2, 3], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        let mask = |axis: isize, masks: [Option<&Tensor>; 2]| {
            let masks = Called::new(Concatenate::new().axis(axis)).masks(masks).run(&inputs).unwrap().1;
            masks[0].as_ref().map(|mask| mask.data().iter().map(|m| *m as u8).collect::<Vec<_>>())
        };
        assert_eq!(mask(1, [Some(&m), None]).unwrap(), [1, 1, 0, 1, 1, 1, 1, 0, 0, 1, 1, 1]);
        assert_eq!(mask(-1, [Some(&m), Some(&n)]).unwrap(), [1, 1, 0, 1, 1, 1]);
        assert_eq!(mask(-1, [Some(&m), None]).unwrap(), [1; 6]);
        assert_eq!(mask(-1, [None, None]), None);
    }

    #[test]
    fn mistakes_are_told() {
        let told = |axis: isize, shapes: &[&[usize]]| {
            let shapes: Vec<Shape> = shapes.iter().map(Shape::batch_of).collect();
            Concatenate::new().axis(axis).output_shapes(&shapes).unwrap_err().to_string()
        };
        assert!(told(-1, &[&[3, 4], &[2, 4]]).contains("differ in more than axis 2"));
        assert!(told(-1, &[&[3, 4], &[4]]).contains("differ"));
        assert!(told(0, &[&[3], &[3]]).contains("the batch"));
        assert!(told(5, &[&[3], &[3]]).contains("axis 5 does not exist"));
        assert!(told(-1, &[]).contains("at least 1 input"));
    }
}
