//! A product with a kernel along axes that an equation names.

use super::axes::places;
use super::permute::{inverse, transpose};
use super::{Activation, activate, deactivate};
use crate::config::{self, Config, Family, Shared};
use crate::constraints::Constraint;
use crate::error::{Error, Result, ensure};
use crate::initializers::Initializer;
use crate::kernels::gemm::{Mat, MatMut, gemm, gemm_parallel};
use crate::kernels::reduce::{add, add_column_sums};
use crate::layer::{Backward, Build, Forward, Gradients, Layer, Param, Values, flops, one_shape};
use crate::regularizers::Regularizer;
use crate::runtime::threads;
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// `activation(einsum(equation, x, kernel) + bias)` (Keras: `EinsumDense`).
///
/// The equation names the axes of the input, the kernel and the output by letters: `"abc,cd->abd"` is a
/// [`Dense`](super::Dense) layer for sequences. What the output lacks is summed over. Any number of further axes are
/// written `...`, in front (`"...x,xy->...y"`) or at the end (`"ab...,bc->ac..."`) of input and output.
///
/// `output_shape` is the shape of the output without the batch and without the axes of `...`; `None` where it is the
/// input's. The bias has an axis for each letter of `bias_axes`. Defaults: linear, no bias, kernel `glorot_uniform`.
///
/// ```
/// use cornu::prelude::*;
/// let mut model = Sequential::new();
/// // 4 heads of 16 features.
/// let heads = EinsumDense::new("abc,cde->abde", [None, Some(4), Some(16)]).bias_axes("de");
/// model.add(Input::new([10, 64])).add(heads);
/// model.build()?;
/// assert_eq!(model.output_shape()?.to_string(), "(None, 10, 4, 16)");
/// assert_eq!(model.count_params(), 64 * 4 * 16 + 4 * 16);
/// # Ok::<(), cornu::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct EinsumDense {
    equation: String,
    output_shape: Sizes,
    activation: Activation,
    bias_axes: Option<String>,
    kernel_initializer: Shared<dyn Initializer>,
    bias_initializer: Shared<dyn Initializer>,
    kernel_regularizer: Option<Shared<dyn Regularizer>>,
    bias_regularizer: Option<Shared<dyn Regularizer>>,
    kernel_constraint: Option<Shared<dyn Constraint>>,
    bias_constraint: Option<Shared<dyn Constraint>>,
    #[serde(skip)]
    kernel: Param,
    #[serde(skip)]
    bias: Option<Param>,
}

/// Keras writes a list and reads a number as well.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "OneOrMore")]
struct Sizes(Vec<Option<usize>>);

impl Serialize for Sizes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(usize),
    More(Vec<Option<usize>>),
}

impl From<OneOrMore> for Sizes {
    fn from(sizes: OneOrMore) -> Self {
        match sizes {
            OneOrMore::One(size) => Sizes(vec![Some(size)]),
            OneOrMore::More(sizes) => Sizes(sizes),
        }
    }
}

impl EinsumDense {
    /// The product that `equation` says, with outputs of this shape, without the batch.
    pub fn new(equation: &str, output_shape: impl Into<Vec<Option<usize>>>) -> Self {
        EinsumDense { equation: equation.to_owned(), output_shape: Sizes(output_shape.into()), ..Self::default() }
    }

    /// The letters of the output along which a bias is added. Default: no bias.
    pub fn bias_axes(mut self, axes: &str) -> Self {
        self.bias_axes = Some(axes.to_owned());
        self
    }

    /// What is applied to the result. Default: nothing.
    pub fn activation(mut self, activation: impl Into<Activation>) -> Self {
        self.activation = activation.into();
        self
    }

    /// How the kernel starts, by name or by value. Default: `glorot_uniform`.
    pub fn kernel_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
        self.kernel_initializer = initializer.into();
        self
    }

    /// How the bias starts, by name or by value. Default: `zeros`.
    pub fn bias_initializer(mut self, initializer: impl Into<Shared<dyn Initializer>>) -> Self {
        self.bias_initializer = initializer.into();
        self
    }

    /// The penalty on the kernel. Default: none.
    pub fn kernel_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
        self.kernel_regularizer = Some(regularizer.into());
        self
    }

    /// The penalty on the bias. Default: none.
    pub fn bias_regularizer(mut self, regularizer: impl Into<Shared<dyn Regularizer>>) -> Self {
        self.bias_regularizer = Some(regularizer.into());
        self
    }

    /// What the kernel is brought back to after each step. Default: nothing.
    pub fn kernel_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
        self.kernel_constraint = Some(constraint.into());
        self
    }

    /// What the bias is brought back to after each step. Default: nothing.
    pub fn bias_constraint(mut self, constraint: impl Into<Shared<dyn Constraint>>) -> Self {
        self.bias_constraint = Some(constraint.into());
        self
    }

    /// The axes of input, kernel and output for an input of this rank.
    fn axes(&self, rank: usize) -> Result<Einsum> {
        let einsum = Einsum::parse(&self.equation, rank)?;
        for &axis in self.bias_axes.iter().flat_map(|axes| axes.as_bytes()) {
            let bias = char::from(axis);
            ensure!(
                axis.is_ascii_alphabetic() && einsum.output.contains(&Axis::Named(axis)),
                Argument,
                "bias_axes holds '{bias}', which is no axis of the output of '{}'",
                self.equation
            );
        }
        Ok(einsum)
    }

    /// The shapes of the output, of the kernel and of the bias.
    fn shapes(&self, input: &Shape) -> Result<[Vec<Option<usize>>; 3]> {
        let einsum = self.axes(input.rank())?;
        // output_shape has a size for each axis of the output but the batch and those of "...".
        let written: Vec<Axis> =
            einsum.output.iter().copied().filter(|&axis| axis != einsum.input[0] && axis.is_named()).collect();
        let sizes = &self.output_shape.0;
        ensure!(
            sizes.len() == written.len() && einsum.output.first() == einsum.input.first(),
            Argument,
            "output_shape is {sizes:?}; the output of '{}' must begin with the batch and have {} sizes besides",
            self.equation,
            written.len()
        );
        let size = |axis: &Axis| {
            let of_input = einsum.input.iter().position(|other| other == axis).and_then(|i| input.get(i));
            let of_output = written.iter().position(|other| other == axis).and_then(|i| sizes[i]);
            if let (Some(input), Some(output)) = (of_input, of_output) {
                ensure!(
                    input == output,
                    Shape,
                    "output_shape is {sizes:?}, but an axis that it shares with the input has size {input}, not {output}"
                );
            }
            Ok(of_output.or(of_input))
        };
        let all = |axes: &[Axis]| axes.iter().map(size).collect::<Result<Vec<_>>>();
        let output = all(&einsum.output)?;
        let bias = match &self.bias_axes {
            None => Vec::new(),
            Some(letters) => {
                let named = |axis: &Axis| matches!(axis, Axis::Named(name) if letters.as_bytes().contains(name));
                let first = einsum.output.iter().position(named).unwrap_or(einsum.output.len());
                let pairs = einsum.output.iter().zip(&output).skip(first);
                pairs.map(|(axis, size)| if named(axis) { *size } else { Some(1) }).collect()
            }
        };
        Ok([output, all(&einsum.kernel)?, bias])
    }
}

impl Default for EinsumDense {
    fn default() -> Self {
        EinsumDense {
            equation: String::new(),
            output_shape: Sizes::default(),
            activation: Activation::Linear,
            bias_axes: None,
            kernel_initializer: "glorot_uniform".into(),
            bias_initializer: "zeros".into(),
            kernel_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            bias_constraint: None,
            kernel: Param::default(),
            bias: None,
        }
    }
}

/// The initializer, told which axes of the kernel are inputs and which outputs if it counts them and nobody said.
fn with_axes(
    initializer: &Shared<dyn Initializer>,
    input: Vec<isize>,
    output: Vec<isize>,
) -> Result<Shared<dyn Initializer>> {
    let open = |config: &Config| {
        ["input_axes", "output_axes"].iter().all(|&key| config.get(key).is_some_and(serde_json::Value::is_null))
    };
    // One without a configuration is a user's own, and has no such axes.
    match initializer.config() {
        Ok(mut config) if open(&config) => {
            config.insert("input_axes".into(), input.into());
            config.insert("output_axes".into(), output.into());
            Shared::from_value(config::to_value::<Shared<dyn Initializer>>(initializer.class_name(), config))
        }
        _ => Ok(initializer.clone()),
    }
}

/// All sizes, which must be known by now.
fn known(shape: &[Option<usize>], what: &str) -> Result<Vec<usize>> {
    let all: Option<Vec<usize>> = shape.iter().copied().collect();
    all.ok_or_else(|| {
        let shape = Shape::new(shape.to_vec());
        Error::Shape(format!("the {what} would have shape {shape}; its sizes must be in output_shape or the input's"))
    })
}

impl Layer for EinsumDense {
    fn config(&self) -> Result<Config> {
        config::of(self)
    }

    fn check(&self) -> Result<()> {
        self.activation.check()
    }

    fn output_shapes(&self, inputs: &[Shape]) -> Result<Vec<Shape>> {
        let [output, kernel, bias] = self.shapes(one_shape(inputs)?)?;
        known(&kernel, "kernel")?;
        known(&bias, "bias")?;
        Ok(vec![Shape::new(output)])
    }

    fn build(&mut self, inputs: &[Shape], cx: &mut Build) -> Result<()> {
        let input = one_shape(inputs)?;
        let [_, kernel, bias] = self.shapes(input)?;
        let einsum = self.axes(input.rank())?;
        // What the kernel's axes are to an initializer that counts inputs and outputs.
        let place = |is_output: bool| {
            let of_output = |axis: &Axis| einsum.output.contains(axis);
            let places = einsum.kernel.iter().enumerate().filter(|(_, axis)| of_output(axis) == is_output);
            places.map(|(i, _)| i as isize).collect::<Vec<isize>>()
        };
        let initializer = &with_axes(&self.kernel_initializer, place(false), place(true))?;
        let (regularizer, constraint) = (&self.kernel_regularizer, &self.kernel_constraint);
        self.kernel = cx.weight("kernel", &known(&kernel, "kernel")?, initializer, regularizer, constraint)?;
        let (regularizer, constraint) = (&self.bias_regularizer, &self.bias_constraint);
        let shape = known(&bias, "bias")?;
        let bias = || cx.weight("bias", &shape, &self.bias_initializer, regularizer, constraint);
        self.bias = self.bias_axes.is_some().then(bias).transpose()?;
        Ok(())
    }

    fn flops(&self, inputs: &[Shape], outputs: &[Shape]) -> f64 {
        let rank = inputs.first().map_or(0, |input| input.sample().len() + 1);
        let Ok(einsum) = Einsum::parse(&self.equation, rank) else { return 0.0 };
        // Each number of the kernel is used for all outputs along the axes that it lacks.
        let shape = self.kernel.shape();
        let kept = einsum.kernel.iter().zip(&shape).filter(|(axis, _)| einsum.output.contains(axis));
        let kept: f64 = kept.map(|(_, size)| *size as f64).product();
        let values = flops::values(outputs);
        let bias = if self.bias.is_some() { values } else { 0.0 };
        2.0 * self.kernel.len() as f64 * values / kept + bias
    }

    fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> Result<Values> {
        let x = inputs.one()?;
        let kernel = self.kernel.value();
        let product = self.axes(x.rank())?.product(x.shape(), kernel.shape())?;
        let shape = Dims::from_slice(x.shape());
        let x = product.input.group(x)?;
        // What only the input has is summed over first.
        let x = match product.lost {
            1 => x,
            lost => {
                let mut sums = cx.scratch([x.len() / lost.max(1)]);
                let rows = x.data().chunks_exact(lost.max(1));
                let sum = |row: &[f32]| row.iter().map(|&x| f64::from(x)).sum::<f64>() as f32;
                sums.data_mut().iter_mut().zip(rows).for_each(|(to, row)| *to = sum(row));
                sums
            }
        };
        let kernel = product.kernel.group(kernel)?;
        let mut y = cx.scratch(&product.output.grouped);
        product.multiply(
            x.data(),
            kernel.data(),
            y.data_mut(),
            |x, kernel, [m, k, n]| [Mat::new(x, m, k), Mat::new(kernel, k, n)],
            |[m, _, n]| [m, n],
        );
        cx.save(x);
        cx.save_shape(&shape);
        let mut y = product.output.ungroup(y)?;
        if let Some(bias) = &self.bias {
            let bias = bias.value();
            let row = &y.shape()[y.rank() - bias.rank()..];
            let wide: Vec<f32> = places(bias.shape(), row)?.into_iter().map(|place| bias.data()[place]).collect();
            y.data_mut().chunks_exact_mut(wide.len().max(1)).for_each(|row| add(row, &wide));
        }
        Ok(activate(&self.activation, y, cx)?.into())
    }

    fn backward(&self, gradients: Values, cx: &mut Backward<'_>) -> Result<Gradients> {
        let dy = deactivate(&self.activation, gradients.one()?, cx)?;
        if let Some(bias) = &self.bias {
            let shape = bias.shape();
            let row = dy.shape()[dy.rank() - shape.len()..].to_vec();
            if let Some(gradient) = cx.gradient(bias) {
                let mut sums = vec![0.0; row.iter().product()];
                add_column_sums(dy.data(), &mut sums);
                places(&shape, &row)?.into_iter().zip(sums).for_each(|(place, sum)| gradient[place] += sum);
            }
        }
        let input = cx.restore_shape()?;
        let x = cx.restore()?;
        let kernel = self.kernel.value();
        let product = self.axes(input.len())?.product(&input, kernel.shape())?;
        let dy = product.output.group(dy)?;
        if cx.trainable() {
            let mut slopes = cx.scratch(&product.kernel.grouped);
            product.multiply(
                x.data(),
                dy.data(),
                slopes.data_mut(),
                |x, dy, [m, k, n]| [Mat::new(x, m, k).t(), Mat::new(dy, m, n)],
                |[_, k, n]| [k, n],
            );
            let slopes = product.kernel.ungroup(slopes)?;
            if let Some(gradient) = cx.gradient(&self.kernel) {
                add(gradient, slopes.data());
            }
        }
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let kernel = product.kernel.group(kernel)?;
        let mut dx = cx.scratch([x.len()]);
        product.multiply(
            dy.data(),
            kernel.data(),
            dx.data_mut(),
            |dy, kernel, [m, k, n]| [Mat::new(dy, m, n), Mat::new(kernel, k, n).t()],
            |[m, k, _]| [m, k],
        );
        let dx = match product.lost {
            1 => dx,
            lost => {
                let mut all = cx.scratch([dx.len() * lost]);
                let rows = all.data_mut().chunks_exact_mut(lost.max(1));
                rows.zip(dx.data()).for_each(|(row, &value)| row.fill(value));
                all
            }
        };
        Ok(product.input.ungroup(dx)?.into())
    }

    fn visit(&self, visit: &mut dyn FnMut(&Param)) {
        visit(&self.kernel);
        self.bias.iter().for_each(visit);
    }
}

/// An axis of an equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Named(u8),
    /// One of those that `...` stands for, by number.
    Elided(usize),
}

impl Axis {
    fn is_named(&self) -> bool {
        matches!(self, Axis::Named(_))
    }
}

/// An equation for an input of known rank.
struct Einsum {
    input: Vec<Axis>,
    kernel: Vec<Axis>,
    output: Vec<Axis>,
}

impl Einsum {
    fn parse(equation: &str, rank: usize) -> Result<Self> {
        let form = || {
            Error::Argument(format!(
                "equation is '{equation}'; it must have the form 'ab,bc->ac', '...b,bc->...c' or 'ab...,bc->ac...', \
                 with each letter at most once in each part"
            ))
        };
        let (operands, output) = equation.split_once("->").ok_or_else(form)?;
        let (input, kernel) = operands.split_once(',').ok_or_else(form)?;
        let in_front = input.starts_with("...");
        let bare = |text| match (in_front, input.contains("...")) {
            (true, _) => str::strip_prefix(text, "..."),
            (false, true) => str::strip_suffix(text, "..."),
            (false, false) => Some(text),
        };
        let elides = input.contains("...");
        let (input, output) = (bare(input).ok_or_else(form)?, bare(output).ok_or_else(form)?);
        for part in [input, kernel, output] {
            let letters = part.as_bytes();
            let once = letters.iter().enumerate().all(|(i, letter)| !letters[..i].contains(letter));
            if letters.is_empty() || !once || !letters.iter().all(u8::is_ascii_alphabetic) {
                return Err(form());
            }
        }
        let elided = rank.checked_sub(input.len()).filter(|&elided| elides || elided == 0);
        let elided = elided.ok_or_else(|| {
            let least = if elides { "at least " } else { "" };
            Error::Shape(format!("equation '{equation}' is for {least}{} axes, the input has {rank}", input.len()))
        })?;
        let axes = |part: &str, elided: usize| {
            let named = part.bytes().map(Axis::Named);
            let elided = (0..elided).map(Axis::Elided);
            if in_front { elided.chain(named).collect() } else { named.chain(elided).collect::<Vec<Axis>>() }
        };
        let einsum = Einsum { input: axes(input, elided), kernel: axes(kernel, 0), output: axes(output, elided) };
        let named_twice = |axis: &Axis, others: [&[Axis]; 2]| others.iter().any(|other| other.contains(axis));
        ensure!(
            einsum.output.iter().all(|axis| named_twice(axis, [&einsum.input, &einsum.kernel]))
                && einsum.kernel.iter().all(|axis| named_twice(axis, [&einsum.input, &einsum.output])),
            Argument,
            "equation is '{equation}'; each letter of the kernel must be one of the input or the output, and each of \
             the output one of the input or the kernel"
        );
        Ok(einsum)
    }

    /// The matrix products that it is, for tensors of these shapes.
    fn product(&self, input: &[usize], kernel: &[usize]) -> Result<Product> {
        let size = |axis: &Axis| {
            let of = |axes: &[Axis], shape: &[usize]| axes.iter().position(|other| other == axis).map(|i| shape[i]);
            let (input, kernel) = (of(&self.input, input), of(&self.kernel, kernel));
            if let (Some(input), Some(kernel)) = (input, kernel) {
                ensure!(input == kernel, Shape, "an axis of the input has size {input}, that of the kernel {kernel}");
            }
            Ok(input.or(kernel).unwrap_or(1))
        };
        // Along which axes there are products by themselves, rows, columns, and sums; and what the input loses.
        let of = |axes: &[Axis], within: [bool; 3]| {
            let belongs =
                |axis: &&Axis| [&self.input, &self.kernel, &self.output].map(|all| all.contains(axis)) == within;
            axes.iter().filter(belongs).copied().collect::<Vec<Axis>>()
        };
        let batch = of(&self.output, [true, true, true]);
        let rows = of(&self.output, [true, false, true]);
        let columns = of(&self.output, [false, true, true]);
        let summed = of(&self.input, [true, true, false]);
        let lost = of(&self.input, [true, false, false]);
        let length = |axes: &[Axis]| axes.iter().map(size).product::<Result<usize>>();
        let shape = |axes: &[Axis]| axes.iter().map(size).collect::<Result<Dims>>();
        let grouping = |axes: &[Axis], groups: &[&[Axis]]| {
            let grouped = groups.concat();
            let order = grouped.iter().filter_map(|axis| axes.iter().position(|other| other == axis)).collect();
            Ok::<_, Error>(Grouping { order, grouped: shape(&grouped)? })
        };
        Ok(Product {
            batch: length(&batch)?,
            sizes: [length(&rows)?, length(&summed)?, length(&columns)?],
            lost: length(&lost)?,
            input: grouping(&self.input, &[&batch, &rows, &summed, &lost])?,
            kernel: grouping(&self.kernel, &[&batch, &summed, &columns])?,
            output: grouping(&self.output, &[&batch, &rows, &columns])?,
        })
    }
}

/// Some products of matrices, rows times sums times columns.
struct Product {
    batch: usize,
    /// Rows and sums of the input, columns of the kernel.
    sizes: [usize; 3],
    /// How many values of the input are added up before.
    lost: usize,
    input: Grouping,
    kernel: Grouping,
    output: Grouping,
}

/// The order of a tensor's axes in which they are those of matrices.
struct Grouping {
    order: Vec<usize>,
    grouped: Dims,
}

impl Grouping {
    fn group(&self, x: Tensor) -> Result<Tensor> {
        if self.order.is_sorted() { Ok(x) } else { transpose(&x, &self.order) }
    }

    /// From values in that order, the tensor as it was.
    fn ungroup(&self, x: Tensor) -> Result<Tensor> {
        let x = x.reshape(&self.grouped)?;
        if self.order.is_sorted() { Ok(x) } else { transpose(&x, &inverse(&self.order)) }
    }
}

impl Product {
    /// Sets the matrices of `c` to the products of those of `a` and `b`.
    fn multiply<'a>(
        &self,
        a: &'a [f32],
        b: &'a [f32],
        c: &mut [f32],
        factors: impl Fn(&'a [f32], &'a [f32], [usize; 3]) -> [Mat<'a>; 2] + Sync,
        size: impl Fn([usize; 3]) -> [usize; 2] + Sync,
    ) {
        let one = |slice: &'a [f32], i: usize| {
            let length = slice.len() / self.batch.max(1);
            &slice[i * length..(i + 1) * length]
        };
        let [rows, columns] = size(self.sizes);
        if c.is_empty() {
            return;
        }
        if self.batch == 1 {
            let [a, b] = factors(a, b, self.sizes);
            return gemm_parallel(1.0, a, b, 0.0, MatMut::new(c, rows, columns));
        }
        threads::for_each_chunk(c, rows * columns, |i, c| {
            let [a, b] = factors(one(a, i), one(b, i), self.sizes);
            gemm(1.0, a, b, 0.0, MatMut::new(c, rows, columns));
        });
    }
}
