//! Functions of the rows along axes: running sums, sorting, norms, places of extremes.

use super::super::permute::{inverse, transpose};
use super::arrange::Integers;
use super::reduction::inner_axes;
use crate::activations::math::sigmoid;
use crate::error::{Error, Result, ensure};
use crate::layer::{Backward, Forward, Values};
use crate::runtime::threads;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// A function of the values along an axis, or along several as one (Keras: the operations of these names in
/// `keras.ops`, with their arguments). Axes count the batch, 0, which may not be among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "class_name", content = "config")]
#[allow(missing_docs)] // the fields are Keras' arguments
pub enum Along {
    /// The sum of a value and those before it.
    Cumsum { axis: Option<Integers> },
    /// The product of a value and those before it.
    Cumprod { axis: Option<Integers> },
    /// The differences of neighbours, `n` times.
    Diff { n: usize, axis: Option<Integers> },
    /// In ascending order.
    Sort { axis: Option<Integers> },
    /// The places of the values in ascending order; no gradient.
    Argsort { axis: Option<Integers> },
    /// The `k` largest values of the last axis, the largest first, and their places.
    TopK { k: usize, sorted: bool },
    /// The place of the largest value, the first of equal ones; no gradient.
    Argmax { axis: Option<Integers>, keepdims: bool },
    /// The place of the smallest value, the first of equal ones; no gradient.
    Argmin { axis: Option<Integers>, keepdims: bool },
    /// The product.
    Prod { axis: Option<Integers>, keepdims: bool },
    /// The variance, divided by the number of values.
    Var { axis: Option<Integers>, keepdims: bool },
    /// Its root.
    Std { axis: Option<Integers>, keepdims: bool },
    /// The mean and the variance.
    Moments { axes: Option<Integers>, keepdims: bool },
    /// The logarithm of the sum of exponentials.
    Logsumexp { axis: Option<Integers>, keepdims: bool },
    /// The median; of an even number the mean of the two in the middle.
    Median { axis: Option<Integers>, keepdims: bool },
    /// The value below which the share `q` of the values lies, between neighbours in proportion.
    Quantile {
        axis: Option<Integers>,
        method: String,
        keepdims: bool,
        #[serde(skip)]
        q: f64,
    },
    /// How many values are not 0; no gradient.
    CountNonzero { axis: Option<Integers> },
    /// The mean, with a weight for each place if there are some.
    Average {
        axis: Option<Integers>,
        #[serde(skip)]
        weights: Option<Vec<f32>>,
    },
    /// The norm of this order: none or 2 for the root of the squares' sum, 1 for the sum of sizes, any other `p`.
    Norm { ord: Option<Order>, axis: Option<Integers>, keepdims: bool },
    /// The first half of the axis times the sigmoid of the second.
    Glu { axis: Option<Integers> },
    /// The largest value less the smallest.
    Ptp { axis: Option<Integers>, keepdims: bool },
    /// The sum of those that are numbers; 0 of none.
    Nansum { axis: Option<Integers>, keepdims: bool },
    /// The product of those that are numbers; 1 of none.
    Nanprod { axis: Option<Integers>, keepdims: bool },
    /// The mean of those that are numbers.
    Nanmean { axis: Option<Integers>, keepdims: bool },
    /// The variance of those that are numbers.
    Nanvar { axis: Option<Integers>, keepdims: bool },
    /// Its root.
    Nanstd { axis: Option<Integers>, keepdims: bool },
    /// The largest of those that are numbers.
    Nanmax { axis: Option<Integers>, keepdims: bool },
    /// The smallest of those that are numbers.
    Nanmin { axis: Option<Integers>, keepdims: bool },
    /// Divided by the norm of this order, of at least `epsilon` (none: 1e-7).
    Normalize { axis: Option<Integers>, order: u32, epsilon: Option<f64> },
}

/// The order of a norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Order {
    /// A number.
    Number(f64),
    /// `"fro"`, which is 2 of all values.
    Named(String),
}

/// How many values a row becomes.
enum Becomes {
    /// One, whose axes go or stay with size 1.
    One { keepdims: bool },
    /// So many.
    Many(usize),
}

impl Along {
    /// The names of all.
    pub(super) const CLASSES: &[&str] = &[
        "Cumsum",
        "Cumprod",
        "Diff",
        "Sort",
        "Argsort",
        "TopK",
        "Argmax",
        "Argmin",
        "Prod",
        "Var",
        "Std",
        "Moments",
        "Logsumexp",
        "Median",
        "Quantile",
        "CountNonzero",
        "Average",
        "Norm",
        "Normalize",
        "Glu",
        "Ptp",
        "Nansum",
        "Nanprod",
        "Nanmean",
        "Nanvar",
        "Nanstd",
        "Nanmax",
        "Nanmin",
    ];

    pub(super) fn name(&self) -> &'static str {
        match self {
            Along::Cumsum { .. } => "Cumsum",
            Along::Cumprod { .. } => "Cumprod",
            Along::Diff { .. } => "Diff",
            Along::Sort { .. } => "Sort",
            Along::Argsort { .. } => "Argsort",
            Along::TopK { .. } => "TopK",
            Along::Argmax { .. } => "Argmax",
            Along::Argmin { .. } => "Argmin",
            Along::Prod { .. } => "Prod",
            Along::Var { .. } => "Var",
            Along::Std { .. } => "Std",
            Along::Moments { .. } => "Moments",
            Along::Logsumexp { .. } => "Logsumexp",
            Along::Median { .. } => "Median",
            Along::Quantile { .. } => "Quantile",
            Along::CountNonzero { .. } => "CountNonzero",
            Along::Average { .. } => "Average",
            Along::Norm { .. } => "Norm",
            Along::Normalize { .. } => "Normalize",
            Along::Glu { .. } => "Glu",
            Along::Ptp { .. } => "Ptp",
            Along::Nansum { .. } => "Nansum",
            Along::Nanprod { .. } => "Nanprod",
            Along::Nanmean { .. } => "Nanmean",
            Along::Nanvar { .. } => "Nanvar",
            Along::Nanstd { .. } => "Nanstd",
            Along::Nanmax { .. } => "Nanmax",
            Along::Nanmin { .. } => "Nanmin",
        }
    }

    /// The axes, resolved.
    fn axes(&self, rank: usize) -> Result<Vec<usize>> {
        let axes = match self {
            Along::TopK { .. } => return inner_axes(&[-1], rank),
            Along::Cumsum { axis } | Along::Cumprod { axis } | Along::Diff { axis, .. } => axis,
            Along::Sort { axis } | Along::Argsort { axis } | Along::CountNonzero { axis } => axis,
            Along::Argmax { axis, .. } | Along::Argmin { axis, .. } | Along::Prod { axis, .. } => axis,
            Along::Var { axis, .. } | Along::Std { axis, .. } | Along::Logsumexp { axis, .. } => axis,
            Along::Median { axis, .. } | Along::Quantile { axis, .. } | Along::Average { axis, .. } => axis,
            Along::Norm { axis, .. } | Along::Normalize { axis, .. } | Along::Moments { axes: axis, .. } => axis,
            Along::Glu { axis } | Along::Ptp { axis, .. } | Along::Nansum { axis, .. } => axis,
            Along::Nanprod { axis, .. } | Along::Nanmean { axis, .. } | Along::Nanvar { axis, .. } => axis,
            Along::Nanstd { axis, .. } | Along::Nanmax { axis, .. } | Along::Nanmin { axis, .. } => axis,
        };
        let name = self.name();
        let Some(axes) = axes else {
            return Err(Error::Argument(format!("{name} over all axes would mix the samples; name its axis")));
        };
        let resolved = inner_axes(axes.list(), rank)?;
        let one = matches!(
            self,
            Along::Cumsum { .. }
                | Along::Cumprod { .. }
                | Along::Diff { .. }
                | Along::Sort { .. }
                | Along::Argsort { .. }
                | Along::Argmax { .. }
                | Along::Argmin { .. }
                | Along::Normalize { .. }
                | Along::Glu { .. }
        );
        ensure!(!one || resolved.len() == 1, Argument, "{name} goes along one axis, not along {:?}", axes.list());
        let matrix = matches!(self, Along::Norm { ord: Some(Order::Number(_)), .. }) && resolved.len() > 1;
        ensure!(!matrix, Argument, "norms of matrices other than 'fro' are not known here");
        Ok(resolved)
    }

    fn becomes(&self, n: usize) -> Result<Becomes> {
        Ok(match self {
            Along::Cumsum { .. } | Along::Cumprod { .. } | Along::Sort { .. } | Along::Argsort { .. } => {
                Becomes::Many(n)
            }
            Along::Normalize { .. } => Becomes::Many(n),
            Along::Diff { n: times, .. } => Becomes::Many(n.saturating_sub(*times)),
            Along::TopK { k, .. } => {
                ensure!(*k <= n, Shape, "the {k} largest of {n} values were asked for");
                Becomes::Many(*k)
            }
            Along::CountNonzero { .. } | Along::Average { .. } => Becomes::One { keepdims: false },
            Along::Argmax { keepdims, .. } | Along::Argmin { keepdims, .. } | Along::Prod { keepdims, .. } => {
                Becomes::One { keepdims: *keepdims }
            }
            Along::Var { keepdims, .. } | Along::Std { keepdims, .. } | Along::Moments { keepdims, .. } => {
                Becomes::One { keepdims: *keepdims }
            }
            Along::Logsumexp { keepdims, .. } | Along::Median { keepdims, .. } => Becomes::One { keepdims: *keepdims },
            Along::Quantile { keepdims, .. } | Along::Norm { keepdims, .. } => Becomes::One { keepdims: *keepdims },
            Along::Glu { .. } => {
                // An axis that is not known is as long as can be.
                ensure!(n.is_multiple_of(2) || n == usize::MAX, Shape, "an axis of {n} values has no halves");
                Becomes::Many(n / 2)
            }
            Along::Ptp { keepdims, .. } | Along::Nansum { keepdims, .. } => Becomes::One { keepdims: *keepdims },
            Along::Nanprod { keepdims, .. } | Along::Nanmean { keepdims, .. } => Becomes::One { keepdims: *keepdims },
            Along::Nanvar { keepdims, .. } | Along::Nanstd { keepdims, .. } => Becomes::One { keepdims: *keepdims },
            Along::Nanmax { keepdims, .. } | Along::Nanmin { keepdims, .. } => Becomes::One { keepdims: *keepdims },
        })
    }

    fn outputs(&self) -> usize {
        if matches!(self, Along::TopK { .. } | Along::Moments { .. }) { 2 } else { 1 }
    }

    fn has_gradient(&self) -> bool {
        !matches!(
            self,
            Along::Argsort { .. } | Along::Argmax { .. } | Along::Argmin { .. } | Along::CountNonzero { .. }
        )
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Along::Quantile { method, q, .. } => {
                ensure!(method == "linear", Argument, "method is '{method}'; only 'linear' is known here");
                ensure!((0.0..=1.0).contains(q), Argument, "q is {q}; it must be from 0 to 1");
            }
            Along::Norm { ord: Some(Order::Named(name)), .. } => {
                ensure!(name == "fro", Argument, "ord is '{name}'; 'fro' and numbers are known here");
            }
            Along::Norm { ord: Some(Order::Number(p)), .. } => {
                ensure!(p.is_finite() && *p > 0.0, Argument, "ord is {p}; it must be positive");
            }
            Along::Normalize { order, .. } => ensure!(*order > 0, Argument, "order is 0; it must be at least 1"),
            _ => {}
        }
        Ok(())
    }

    /// The dimensions of each output; those that are not known are left so.
    fn output_dims(&self, x: &[Option<usize>]) -> Result<Vec<Option<usize>>> {
        let axes = self.axes(x.len())?;
        let n = axes.iter().try_fold(1usize, |n, &axis| n.checked_mul(x[axis]?));
        let becomes = match n {
            Some(n) => self.becomes(n)?,
            None => match self.becomes(usize::MAX)? {
                Becomes::Many(m) if matches!(self, Along::TopK { .. }) => Becomes::Many(m),
                Becomes::Many(_) => return Ok(x.to_vec()),
                one => one,
            },
        };
        let keep = |(axis, size): (usize, &Option<usize>)| match &becomes {
            _ if !axes.contains(&axis) => Some(*size),
            Becomes::One { keepdims } => keepdims.then_some(Some(1)),
            Becomes::Many(m) => Some(Some(*m)),
        };
        Ok(x.iter().enumerate().filter_map(keep).collect())
    }

    pub(super) fn output_shapes(&self, x: &Shape) -> Result<Vec<Shape>> {
        Ok(vec![Shape::new(self.output_dims(x.dims())?); self.outputs()])
    }

    pub(super) fn forward(&self, x: Tensor, cx: &mut Forward<'_>) -> Result<Values> {
        let known: Vec<Option<usize>> = x.shape().iter().map(|&size| Some(size)).collect();
        let dims: Dims = self.output_dims(&known)?.into_iter().flatten().collect();
        let plan = Rows::of(x.shape(), &self.axes(x.rank())?);
        let m = match self.becomes(plan.n)? {
            Becomes::One { .. } => 1,
            Becomes::Many(m) => m,
        };
        let n = plan.n;
        ensure!(n > 0, Shape, "{:?} has no values along the axis", x.shape());
        if let Along::Average { weights: Some(weights), .. } = self {
            ensure!(weights.len() == n, Shape, "{} weights for {n} values", weights.len());
        }
        let x = transpose_if(x, &plan.order)?;
        let rows = x.len() / n;
        let two = self.outputs() == 2;
        let mut y = cx.scratch([rows * m]);
        let mut second = cx.scratch([if two { rows * m } else { 0 }]);
        if m > 0 {
            let many = ((1 << 14) / n).max(1);
            let data = x.data();
            let work = |i: usize, y: &mut [f32], second: &mut [f32]| {
                let x = data[i * many * n..].chunks_exact(n);
                let mut seconds = second.chunks_exact_mut(m);
                for (y, x) in y.chunks_exact_mut(m).zip(x) {
                    self.row(x, y, seconds.next().unwrap_or_default());
                }
            };
            match two {
                true => threads::for_each_two_chunks([y.data_mut(), second.data_mut()], many * m, work),
                false => threads::for_each_chunk(y.data_mut(), many * m, |i, y| work(i, y, &mut [])),
            }
        }
        if self.has_gradient() {
            cx.save_shape(x.shape());
            cx.save(x);
            cx.save(y.clone());
        }
        let place = |y: Tensor| match m == 1 && self.is_single() {
            true => y.reshape(&dims),
            false => {
                let mut rows: Dims = plan.kept.clone();
                rows.push(m);
                transpose_if(y.reshape(rows)?, &inverse(&plan.order))
            }
        };
        let second = two.then(|| place(second)).transpose()?;
        Ok(std::iter::once(place(y)?).chain(second).collect())
    }

    fn is_single(&self) -> bool {
        matches!(self.becomes(usize::MAX), Ok(Becomes::One { .. }))
    }

    pub(super) fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Option<Tensor>> {
        if !self.has_gradient() {
            return Ok(None);
        }
        let (y, x, shape) = (cx.restore()?, cx.restore()?, cx.restore_shape()?);
        // The rows lay last; their axes' order tells where they were.
        let plan = Rows::of_turned(&shape, &self.axes(shape.len())?);
        let n = plan.n;
        let m = y.len() / (x.len() / n).max(1);
        let mut gs = gradients.into_iter().map(|g| match self.is_single() {
            true => Ok(g),
            false => transpose_if(g, &plan.order),
        });
        let g = gs.next().unwrap_or_else(|| Err(Error::State("no gradient came".to_owned())))?;
        let of_second = gs.next().transpose()?;
        let mut dx = cx.scratch(x.shape());
        let many = ((1 << 14) / n).max(1);
        threads::for_each_chunk(dx.data_mut(), many * n, |i, dx| {
            for (j, dx) in dx.chunks_exact_mut(n).enumerate() {
                let row = i * many + j;
                let x = &x.data()[row * n..][..n];
                let of_second = of_second.as_ref().map(|g| part(g, row, m));
                self.row_back(x, part(&y, row, m), part(&g, row, m), of_second, dx);
            }
        });
        transpose_if(dx, &inverse(&plan.order)).map(Some)
    }

    /// The results of a row.
    fn row(&self, x: &[f32], y: &mut [f32], second: &mut [f32]) {
        let n = x.len();
        let mean = || x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
        let variance = |mean: f64| x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
        match self {
            Along::Cumsum { .. } => {
                let mut sum = 0.0;
                for (y, x) in y.iter_mut().zip(x) {
                    sum += f64::from(*x);
                    *y = sum as f32;
                }
            }
            Along::Cumprod { .. } => {
                let mut product = 1.0;
                for (y, x) in y.iter_mut().zip(x) {
                    product *= f64::from(*x);
                    *y = product as f32;
                }
            }
            Along::Diff { n: times, .. } => {
                let mut row = x.to_vec();
                for _ in 0..*times {
                    row = row.windows(2).map(|pair| pair[1] - pair[0]).collect();
                }
                y.copy_from_slice(&row);
            }
            Along::Sort { .. } => y.iter_mut().zip(ascending(x)).for_each(|(y, i)| *y = x[i]),
            Along::Argsort { .. } => y.iter_mut().zip(ascending(x)).for_each(|(y, i)| *y = i as f32),
            Along::TopK { .. } => {
                for ((y, second), i) in y.iter_mut().zip(second).zip(descending(x)) {
                    (*y, *second) = (x[i], i as f32);
                }
            }
            Along::Argmax { .. } => y[0] = first(x, |a, b| a > b) as f32,
            Along::Argmin { .. } => y[0] = first(x, |a, b| a < b) as f32,
            Along::Prod { .. } => y[0] = x.iter().map(|&x| f64::from(x)).product::<f64>() as f32,
            Along::Var { .. } => y[0] = variance(mean()) as f32,
            Along::Std { .. } => y[0] = variance(mean()).sqrt() as f32,
            Along::Moments { .. } => {
                let mean = mean();
                (y[0], second[0]) = (mean as f32, variance(mean) as f32);
            }
            Along::Logsumexp { .. } => {
                let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let max = if max.is_finite() { f64::from(max) } else { 0.0 };
                y[0] = (max + x.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()) as f32;
            }
            Along::Median { .. } => y[0] = quantile(x, 0.5),
            Along::Quantile { q, .. } => y[0] = quantile(x, *q),
            Along::CountNonzero { .. } => y[0] = x.iter().filter(|x| **x != 0.0).count() as f32,
            Along::Average { weights: None, .. } => y[0] = mean() as f32,
            Along::Average { weights: Some(weights), .. } => {
                let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
                let along: f64 = x.iter().zip(weights).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                y[0] = (along / sum) as f32;
            }
            Along::Norm { .. } => y[0] = norm(x, self.order()) as f32,
            Along::Normalize { epsilon, .. } => {
                let norm = norm(x, self.order()).max(epsilon.unwrap_or(1e-7));
                y.iter_mut().zip(x).for_each(|(y, x)| *y = (f64::from(*x) / norm) as f32);
            }
            Along::Glu { .. } => {
                let (values, gates) = x.split_at(n / 2);
                y.iter_mut().zip(values).zip(gates).for_each(|((y, x), gate)| *y = x * sigmoid(*gate));
            }
            Along::Ptp { .. } => y[0] = x[first(x, |a, b| a > b)] - x[first(x, |a, b| a < b)],
            _ => {
                // Those that are numbers alone.
                let numbers: Vec<f32> = x.iter().copied().filter(|x| !x.is_nan()).collect();
                y[0] = match self {
                    Along::Nansum { .. } => numbers.iter().map(|&x| f64::from(x)).sum::<f64>() as f32,
                    Along::Nanprod { .. } => numbers.iter().map(|&x| f64::from(x)).product::<f64>() as f32,
                    _ if numbers.is_empty() => f32::NAN,
                    Along::Nanmax { .. } => numbers[first(&numbers, |a, b| a > b)],
                    Along::Nanmin { .. } => numbers[first(&numbers, |a, b| a < b)],
                    _ => return self.of_all().row(&numbers, y, second),
                };
            }
        }
    }

    /// For a function that leaves out what is no number: the one that does not.
    fn of_all(&self) -> Along {
        let (axis, keepdims) = (None, false);
        match self {
            Along::Nanvar { .. } => Along::Var { axis, keepdims },
            Along::Nanstd { .. } => Along::Std { axis, keepdims },
            Along::Nanprod { .. } => Along::Prod { axis, keepdims },
            _ => Along::Average { axis, weights: None },
        }
    }

    /// The gradient of a row, from those of its results `g` and `of_second`.
    fn row_back(&self, x: &[f32], y: &[f32], g: &[f32], of_second: Option<&[f32]>, dx: &mut [f32]) {
        let n = x.len();
        let wide = |x: f32| f64::from(x);
        let mean = || x.iter().copied().map(wide).sum::<f64>() / n as f64;
        match self {
            Along::Cumsum { .. } => {
                let mut sum = 0.0;
                for (dx, g) in dx.iter_mut().zip(g).rev() {
                    sum += wide(*g);
                    *dx = sum as f32;
                }
            }
            Along::Cumprod { .. } => {
                // Without a division, which zeros would forbid.
                for (i, dx) in dx.iter_mut().enumerate() {
                    let mut others: f64 = x[..i].iter().copied().map(wide).product();
                    let mut sum = others * wide(g[i]);
                    for j in i + 1..n {
                        others *= wide(x[j]);
                        sum += others * wide(g[j]);
                    }
                    *dx = sum as f32;
                }
            }
            Along::Diff { n: times, .. } => {
                let mut row = g.to_vec();
                for _ in 0..*times {
                    let mut wider = vec![0.0; row.len() + 1];
                    for (i, g) in row.iter().enumerate() {
                        wider[i] -= g;
                        wider[i + 1] += g;
                    }
                    row = wider;
                }
                dx.copy_from_slice(&row[..n]);
            }
            Along::Sort { .. } => ascending(x).into_iter().zip(g).for_each(|(i, g)| dx[i] = *g),
            Along::TopK { .. } => {
                dx.fill(0.0);
                descending(x).into_iter().zip(g).for_each(|(i, g)| dx[i] = *g);
            }
            Along::Prod { .. } => {
                // Without a division too: the product of those behind times that of those before.
                let mut behind = vec![1.0; n];
                for i in (1..n).rev() {
                    behind[i - 1] = behind[i] * wide(x[i]);
                }
                let mut before = 1.0;
                for ((dx, x), behind) in dx.iter_mut().zip(x).zip(behind) {
                    *dx = (wide(g[0]) * (before * behind)) as f32;
                    before *= wide(*x);
                }
            }
            Along::Var { .. } => {
                let (mean, scale) = (mean(), 2.0 * wide(g[0]) / n as f64);
                dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = (scale * (wide(*x) - mean)) as f32);
            }
            Along::Std { .. } => {
                let scale = if y[0] == 0.0 { 0.0 } else { wide(g[0]) / (n as f64 * wide(y[0])) };
                let mean = mean();
                dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = (scale * (wide(*x) - mean)) as f32);
            }
            Along::Moments { .. } => {
                let (mean, of_mean) = (mean(), wide(g[0]) / n as f64);
                let scale = 2.0 * wide(of_second.map_or(0.0, |g| g[0])) / n as f64;
                dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = (of_mean + scale * (wide(*x) - mean)) as f32);
            }
            Along::Logsumexp { .. } => {
                dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = g[0] * (x - y[0]).exp());
            }
            Along::Median { .. } => quantile_back(x, 0.5, g[0], dx),
            Along::Quantile { q, .. } => quantile_back(x, *q, g[0], dx),
            Along::Average { weights: None, .. } => dx.fill(g[0] / n as f32),
            Along::Average { weights: Some(weights), .. } => {
                let sum: f64 = weights.iter().copied().map(wide).sum();
                dx.iter_mut().zip(weights).for_each(|(dx, w)| *dx = (wide(g[0]) * wide(*w) / sum) as f32);
            }
            Along::Norm { .. } => {
                let (p, norm) = (self.order(), wide(y[0]));
                dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = (wide(g[0]) * norm_slope(*x, norm, p)) as f32);
            }
            Along::Normalize { epsilon, .. } => {
                let (p, epsilon) = (self.order(), epsilon.unwrap_or(1e-7));
                let norm = norm(x, p);
                let along: f64 = g.iter().zip(y).map(|(&g, &y)| wide(g) * wide(y)).sum();
                for ((dx, x), g) in dx.iter_mut().zip(x).zip(g) {
                    let through = if norm > epsilon { along * norm_slope(*x, norm, p) } else { 0.0 };
                    *dx = ((wide(*g) - through) / norm.max(epsilon)) as f32;
                }
            }
            Along::Argsort { .. } | Along::Argmax { .. } | Along::Argmin { .. } | Along::CountNonzero { .. } => {
                dx.fill(0.0);
            }
            Along::Glu { .. } => {
                let (values, gates) = x.split_at(n / 2);
                let (of_values, of_gates) = dx.split_at_mut(n / 2);
                for (i, g) in g.iter().enumerate() {
                    let open = sigmoid(gates[i]);
                    of_values[i] = g * open;
                    of_gates[i] = g * values[i] * open * (1.0 - open);
                }
            }
            Along::Ptp { .. } => {
                dx.fill(0.0);
                share(x, x[first(x, |a, b| a > b)], g[0], dx);
                share(x, x[first(x, |a, b| a < b)], -g[0], dx);
            }
            Along::Nansum { .. } => dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = if x.is_nan() { 0.0 } else { g[0] }),
            Along::Nanmax { .. } | Along::Nanmin { .. } => {
                dx.fill(0.0);
                share(x, y[0], g[0], dx);
            }
            Along::Nanprod { .. } | Along::Nanmean { .. } | Along::Nanvar { .. } | Along::Nanstd { .. } => {
                let numbers: Vec<f32> = x.iter().copied().filter(|x| !x.is_nan()).collect();
                let mut of_numbers = vec![0.0; numbers.len()];
                if !numbers.is_empty() {
                    self.of_all().row_back(&numbers, y, g, None, &mut of_numbers);
                }
                let mut of_numbers = of_numbers.into_iter();
                for (dx, x) in dx.iter_mut().zip(x) {
                    *dx = if x.is_nan() { 0.0 } else { of_numbers.next().unwrap_or(0.0) };
                }
            }
        }
    }

    /// The order of the norm.
    fn order(&self) -> f64 {
        match self {
            Along::Norm { ord: Some(Order::Number(p)), .. } => *p,
            Along::Normalize { order, .. } => f64::from(*order),
            _ => 2.0,
        }
    }
}

/// Adds the gradient of an extreme, in equal shares where several values are it.
fn share(x: &[f32], extreme: f32, g: f32, dx: &mut [f32]) {
    let equal = x.iter().filter(|x| **x == extreme).count();
    dx.iter_mut().zip(x).filter(|(_, x)| **x == extreme).for_each(|(dx, _)| *dx += g / equal as f32);
}

/// How the rows along axes lie in a tensor.
struct Rows {
    /// The axes in the order in which those of the rows come last.
    order: Vec<usize>,
    /// The sizes of the others.
    kept: Dims,
    /// The values of a row.
    n: usize,
}

impl Rows {
    fn of(dims: &[usize], axes: &[usize]) -> Self {
        let kept: Vec<usize> = (0..dims.len()).filter(|axis| !axes.contains(axis)).collect();
        Rows {
            order: kept.iter().chain(axes).copied().collect(),
            kept: kept.iter().map(|&axis| dims[axis]).collect(),
            n: axes.iter().map(|&axis| dims[axis]).product(),
        }
    }

    /// The same, where the dimensions stand in that order already.
    fn of_turned(turned: &[usize], axes: &[usize]) -> Self {
        let n = turned[turned.len() - axes.len()..].iter().product();
        Rows { n, ..Rows::of(turned, axes) }
    }
}

/// The axes in this order, which is often the order that they have.
fn transpose_if(x: Tensor, order: &[usize]) -> Result<Tensor> {
    if order.is_sorted() { Ok(x) } else { transpose(&x, order) }
}

/// The values of a row in a tensor of rows of `m`.
fn part(all: &Tensor, row: usize, m: usize) -> &[f32] {
    &all.data()[row * m..][..m]
}

/// The place of the value that beats all others, the first of equal ones; NaN beats every number, as in NumPy.
fn first(x: &[f32], beats: impl Fn(f32, f32) -> bool) -> usize {
    let better = |best: usize, (i, &value): (usize, &f32)| {
        let ahead = beats(value, x[best]) || value.is_nan() && !x[best].is_nan();
        if ahead { i } else { best }
    };
    x.iter().enumerate().fold(0, better)
}

/// The places of the values, the smallest first, equal ones in their order.
fn ascending(x: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..x.len()).collect();
    places.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    places
}

/// The places of the values, the largest first, equal ones in their order.
fn descending(x: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..x.len()).collect();
    places.sort_by(|&a, &b| x[b].total_cmp(&x[a]));
    places
}

/// The two values in whose middle the quantile lies, and the share of the second.
fn between(n: usize, q: f64) -> (usize, usize, f64) {
    let at = q * (n - 1) as f64;
    let low = at.floor();
    (low as usize, at.ceil() as usize, at - low)
}

fn quantile(x: &[f32], q: f64) -> f32 {
    let places = ascending(x);
    let (low, high, share) = between(x.len(), q);
    let [low, high] = [x[places[low]], x[places[high]]].map(f64::from);
    (low + share * (high - low)) as f32
}

fn quantile_back(x: &[f32], q: f64, g: f32, dx: &mut [f32]) {
    let places = ascending(x);
    let (low, high, share) = between(x.len(), q);
    dx.fill(0.0);
    dx[places[low]] += g * (1.0 - share) as f32;
    dx[places[high]] += g * share as f32;
}

fn norm(x: &[f32], p: f64) -> f64 {
    let sizes = x.iter().map(|&x| f64::from(x).abs());
    match p {
        1.0 => sizes.sum(),
        2.0 => sizes.map(|x| x * x).sum::<f64>().sqrt(),
        p => sizes.map(|x| x.powf(p)).sum::<f64>().powf(1.0 / p),
    }
}

/// The derivative of the norm by a value.
fn norm_slope(x: f32, norm: f64, p: f64) -> f64 {
    let x = f64::from(x);
    if x == 0.0 || norm == 0.0 { 0.0 } else { x.signum() * (x.abs() / norm).powf(p - 1.0) }
}
