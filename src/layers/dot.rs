//! Products along an axis, sample by sample.

use super::permute::{inverse, transpose};
use crate::config::{self, Config};
use crate::error::{Error, Result, ensure};
use crate::kernels::gemm::{Mat, MatMut, gemm, gemm_parallel};
use crate::layer::{Backward, Forward, Gradients, Layer, Values, flops};
use crate::runtime::threads;
use crate::shape::{Dims, Shape, resolve_axis};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// The dot products of two inputs along an axis of each, sample by sample (Keras: `Dot`).
///
/// The output has the axes of the first input without its axis, then those of the second one without the batch and
/// its axis: `(batch, 1)` when none are left. Masks end here.
///
/// ```
/// use cornu::prelude::*;
/// use cornu::Shape;
/// let shapes = [Shape::batch_of([3, 5]), Shape::batch_of([10, 3])];
/// assert_eq!(Dot::new([1, 2]).output_shapes(&shapes)?[0].to_string(), "(None, 5, 10)");
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Dot {
    axes: Axes,
    normalize: bool,
}

/// One axis of both inputs, or one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Axes {
    Same(isize),
    Each([isize; 2]),
}

impl Default for Axes {
    fn default() -> Self {
        Axes::Same(-1)
    }
}

/// For `Dot::new(-1)` and `Dot::new([1, 2])`.
#[derive(Clone, Copy, Debug)]
pub struct DotAxes(Axes);

impl From<isize> for DotAxes {
    fn from(axis: isize) -> Self {
        DotAxes(Axes::Same(axis))
    }
}

impl From<[isize; 2]> for DotAxes {
    fn from(axes: [isize; 2]) -> Self {
        DotAxes(Axes::Each(axes))
    }
}

impl Dot {
    /// Along this axis of both inputs, or along one of each; the batch is axis 0, the last one -1.
    pub fn new(axes: impl Into<DotAxes>) -> Self {
        Dot { axes: axes.into().0, normalize: false }
    }

    /// Whether both are divided by their lengths along the axis first: then the result is the cosine of their angle.
    /// Default: false.
    pub fn normalize(mut self, normalize: bool) -> Self {
        self.normalize = normalize;
        self
    }

    fn resolved(&self, ranks: [usize; 2]) -> Result<[usize; 2]> {
        let axes = match self.axes {
            Axes::Same(axis) => [axis, axis],
            Axes::Each(axes) => axes,
        };
        let resolved = [resolve_axis(axes[0], ranks[0])?, resolve_axis(axes[1], ranks[1])?];
        ensure!(!resolved.contains(&0), Argument, "axes is {axes:?}, which holds the batch, 0; samples stay apart");
        Ok(resolved)
    }
}

/// The axes that are left of both inputs.
fn left<T: Copy>(a: &[T], b: &[T], axes: [usize; 2], one: T) -> Vec<T> {
    let without = |dims: &[T], axis: usize| -> Vec<T> {
        dims.iter().enumerate().filter(|(i, _)| *i != 0 && *i != axis).map(|(_, size)| *size).collect()
    };
    let mut dims = vec![a[0]];
    dims.extend(without(a, axes[0]));
    dims.extend(without(b, axes[1]));
    if dims.len() == 1 {
        dims.push(one);
    }
    dims
}

/// An input as a matrix for each sample, whose columns are the axis: `(batch, others, axis)`, or transposed.
struct Matrices {
    x: Tensor,
    /// The order in which its axes were put, if they were moved.
    order: Option<Vec<usize>>,
    others: usize,
    size: usize,
    transposed: bool,
}

impl Matrices {
    fn of(x: Tensor, axis: usize) -> Result<Self> {
        let rank = x.rank();
        let size = x.shape()[axis];
        let others =
            x.shape().iter().enumerate().filter(|(i, _)| *i != 0 && *i != axis).map(|(_, size)| size).product();
        if axis == rank - 1 || axis == 1 {
            return Ok(Matrices { x, order: None, others, size, transposed: axis != rank - 1 });
        }
        let order: Vec<usize> = (0..rank).filter(|i| *i != axis).chain([axis]).collect();
        Ok(Matrices { x: transpose(&x, &order)?, order: Some(order), others, size, transposed: false })
    }

    /// `(others, axis)` of a sample.
    fn get(&self, sample: usize) -> Mat<'_> {
        let part = self.x.row(sample);
        match self.transposed {
            true => Mat::new(part, self.size, self.others).t(),
            false => Mat::new(part, self.others, self.size),
        }
    }

    /// A gradient that was computed as these matrices lie, as the input lay.
    fn turn_back(&self, gradient: Tensor) -> Result<Tensor> {
        match &self.order {
            Some(order) => transpose(&gradient, &inverse(order)),
            None => Ok(gradient),
        }
    }

    /// `product(sample, (others, axis))` into each sample of a tensor that lies as these matrices.
    fn each(&self, mut y: Tensor, product: impl Fn(usize, MatMut<'_>) + Sync) -> Tensor {
        let length = self.others * self.size;
        threads::for_each_chunk(y.data_mut(), length, |sample, y| {
            let matrix = match self.transposed {
                true => MatMut::new(y, self.size, self.others).t(),
                false => MatMut::new(y, self.others, self.size),
            };
            product(sample, matrix);
        });
        y
    }
}

/// The smallest length that is divided by; a shorter one is taken as this.
const EPSILON: f64 = 1e-7;

/// Divides by the lengths along the axis, and returns their inverses, one for each other place.
fn normalized(x: &Tensor, axis: usize, y: Tensor, mut inverses: Tensor) -> (Tensor, Tensor) {
    let (size, inner) = (x.shape()[axis], x.shape()[axis + 1..].iter().product::<usize>());
    let mut y = y;
    for (i, inverse) in inverses.data_mut().iter_mut().enumerate() {
        let places = along(i, size, inner);
        let squares: f64 = places.clone().map(|at| f64::from(x.data()[at]).powi(2)).sum();
        let scale = (1.0 / squares.sqrt()).min(1.0 / EPSILON) as f32;
        *inverse = scale;
        places.for_each(|at| y.data_mut()[at] = x.data()[at] * scale);
    }
    (y, inverses)
}

/// The gradient of [`normalized`], from its result.
fn normalized_gradient(y: &Tensor, inverses: &Tensor, axis: usize, mut g: Tensor) -> Tensor {
    let (size, inner) = (y.shape()[axis], y.shape()[axis + 1..].iter().product::<usize>());
    let g_data = g.data_mut();
    for (i, &inverse) in inverses.data().iter().enumerate() {
        let places = along(i, size, inner);
        let product: f64 = places.clone().map(|at| f64::from(y.data()[at]) * f64::from(g_data[at])).sum();
        // What is too short for its length to count is multiplied by a constant.
        let product = if inverse < (1.0 / EPSILON) as f32 { product as f32 } else { 0.0 };
        places.for_each(|at| g_data[at] = inverse * (g_data[at] - y.data()[at] * product));
    }
    g
}

/// The places along an axis of `size`, `inner` values apart, for number `i` of the others.
fn along(i: usize, size: usize, inner: usize) -> impl Iterator<Item = usize> + Clone {
    let start = i / inner * inner * size + i % inner;
    (0..size).map(move |j| start + j * inner)
}

impl Layer for Dot {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let [a, b] = inputs else {
            return Err(Error::Argument(format!("it takes exactly 2 inputs, got {}", inputs.len())));
        };
        ensure!(a.rank() >= 2 && b.rank() >= 2, Shape, "inputs need an axis besides the batch, got {a} and {b}");
        let axes = self.resolved([a.rank(), b.rank()])?;
        let differ = a.get(axes[0]).zip(b.get(axes[1])).is_some_and(|(a, b)| a != b);
        ensure!(!differ, Shape, "axis {} of {a} and axis {} of {b} differ in size", axes[0], axes[1]);
        Ok(vec![Shape::new(left(a.dims(), b.dims(), axes, Some(1)))])
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> f64 {
        let [a, b] = inputs else { return 0.0 };
        let axes = self.resolved([a.rank(), b.rank()]).ok();
        let summed = axes.and_then(|axes| a.get(axes[0])).unwrap_or(1);
        2.0 * summed as f64 * flops::values(outputs)
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let shapes: Vec<Shape> = inputs.iter().map(|x| Shape::from(x.shape())).collect();
        self.output_shapes(&shapes)?;
        let (a, b) = (inputs[0].clone(), inputs[1].clone());
        let axes = self.resolved([a.rank(), b.rank()])?;
        ensure!(a.batch() == b.batch(), Shape, "the inputs have {} and {} samples", a.batch(), b.batch());
        let dims: Dims = left(a.shape(), b.shape(), axes, 1).into_iter().collect();
        let normal = |x: Tensor, axis: usize, cx: &mut Forward<'_>| {
            if !self.normalize {
                return x;
            }
            let others = x.len() / x.shape()[axis].max(1);
            let (y, inverses) = normalized(&x, axis, cx.scratch(x.shape()), cx.scratch([others]));
            cx.save(inverses);
            y
        };
        let (a, b) = (normal(a, axes[0], cx), normal(b, axes[1], cx));
        let (left, right) = (Matrices::of(a.clone(), axes[0])?, Matrices::of(b.clone(), axes[1])?);
        let mut y = cx.scratch(&dims);
        let length = left.others * right.others;
        if left.x.batch() == 1 {
            let y = MatMut::new(y.data_mut(), left.others, right.others);
            gemm_parallel(1.0, left.get(0), right.get(0).t(), 0.0, y);
        } else {
            threads::for_each_chunk(y.data_mut(), length, |sample, y| {
                let y = MatMut::new(y, left.others, right.others);
                gemm(1.0, left.get(sample), right.get(sample).t(), 0.0, y);
            });
        }
        cx.save(a);
        cx.save(b);
        cx.set_masks([None]);
        Ok(y.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let g = gradients.one()?;
        let (b, a) = (cx.restore()?, cx.restore()?);
        let axes = self.resolved([a.rank(), b.rank()])?;
        let (left, right) = (Matrices::of(a.clone(), axes[0])?, Matrices::of(b.clone(), axes[1])?);
        let matrix = |sample: usize| Mat::new(g.row(sample), left.others, right.others);
        let da = left.each(cx.scratch(left.x.shape()), |sample, da| {
            gemm(1.0, matrix(sample), right.get(sample), 0.0, da);
        });
        let db = right.each(cx.scratch(right.x.shape()), |sample, db| {
            gemm(1.0, matrix(sample).t(), left.get(sample), 0.0, db);
        });
        let (mut da, mut db) = (left.turn_back(da)?, right.turn_back(db)?);
        if self.normalize {
            let (of_b, of_a) = (cx.restore()?, cx.restore()?);
            db = normalized_gradient(&b, &of_b, axes[1], db);
            da = normalized_gradient(&a, &of_a, axes[0], da);
        }
        Ok([Some(da), Some(db)].into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::called::{Called, assert_values, wave};
    use super::*;
    use crate::testing::check_layer;

    #[test]
    fn products_follow_keras() {
        let run = |dot: Dot, a: &[usize], b: &[usize]| {
            let inputs = [wave(a, 0.0, 1.0), wave(b, 1.0, 1.0)];
            Called::new(dot).run(&inputs).unwrap().0.one().unwrap()
        };
        // The numbers are those of Keras 3.15.
        let y = run(Dot::new(1), &[2, 3], &[2, 3]);
        assert_eq!(y.shape(), [2, 1]);
        assert_values(&y, &[0.666991, 0.602035]);
        let y = run(Dot::new([1, 2]), &[2, 3, 2], &[2, 2, 3]);
        assert_eq!(y.shape(), [2, 2, 2]);
        assert_values(&y, &[-0.579412, -0.292302, -0.321059, -1.16512, 0.106405, -0.977214, 0.601865, -0.064978]);
        let y = run(Dot::new([2, 1]), &[2, 3, 2], &[2, 2, 3]);
        assert_eq!(y.shape(), [2, 3, 3]);
        assert_values(
            &y,
            &[
                -0.180644, 0.99022, -0.0745247, -0.0463817, -1.03368, 0.312749, 0.270328, 1.0085, -0.530207, 1.03025,
                0.235022, -1.09082, -1.06267, -0.0165936, 1.06695, 1.02453, -0.202937, -0.972234,
            ],
        );
        let y = run(Dot::new(-1).normalize(true), &[2, 3, 2], &[2, 2]);
        assert_eq!(y.shape(), [2, 3]);
        assert_values(&y, &[0.452837, -0.673739, 0.854237, 0.860614, -0.970509, 0.999374]);
        let y = run(Dot::new([2, 1]), &[2, 2, 3, 2], &[2, 3, 2]);
        assert_eq!(y.shape(), [2, 2, 2, 2]);
        assert_values(
            &y,
            &[
                0.736567, 0.00941684, 2.51279, 0.532459, -2.3665, -0.383369, -1.04647, -0.325253, -2.50885, 1.53056,
                0.867463, -0.676098, 1.40791, -0.755243, -2.31136, 1.50164,
            ],
        );
        let y = run(Dot::new([1, 2]), &[2, 3], &[2, 2, 3]);
        assert_eq!(y.shape(), [2, 2]);
        assert_values(&y, &[0.666991, 1.00942, 1.78283, 0.745702]);
    }

    #[test]
    fn gradients() {
        for normalize in [false, true] {
            let dot = |axes: [isize; 2]| Dot::new(axes).normalize(normalize);
            check_layer(dot([1, 1]), &[[3, 4], [3, 4]]).unwrap();
            check_layer(dot([1, 2]), &[[2, 3, 4], [2, 5, 3]]).unwrap();
            check_layer(dot([-1, 1]), &[&[2, 3, 4][..], &[2, 4]]).unwrap();
            check_layer(dot([2, 1]), &[&[2, 3, 4, 2][..], &[2, 4, 3]]).unwrap();
            check_layer(dot([3, 2]), &[[2, 3, 2, 4], [2, 3, 4, 2]]).unwrap();
        }
        check_layer(Dot::new(-1), &[[1, 3, 4], [1, 2, 4]]).unwrap();
    }

    #[test]
    fn what_is_too_short_is_not_divided_by_its_length() {
        let tiny = Tensor::new([1, 2], vec![3e-9, 0.0]).unwrap();
        let y = Called::new(Dot::new(1).normalize(true)).run(&[tiny.clone(), Tensor::full([1, 2], 1.0)]).unwrap();
        assert_values(&y.0.one().unwrap(), &[0.03 * 0.5f32.sqrt()]);
    }

    #[test]
    fn mistakes_are_told() {
        let told = |dot: Dot, shapes: &[&[usize]]| {
            let shapes: Vec<Shape> = shapes.iter().map(Shape::batch_of).collect();
            dot.output_shapes(&shapes).unwrap_err().to_string()
        };
        assert!(told(Dot::new(1), &[&[3], &[4]]).contains("differ in size"));
        assert!(told(Dot::new(0), &[&[3], &[3]]).contains("the batch"));
        assert!(told(Dot::new(1), &[&[3]]).contains("exactly 2 inputs, got 1"));
        assert!(told(Dot::new([1, 4]), &[&[3], &[3]]).contains("axis 4 does not exist"));
    }
}
