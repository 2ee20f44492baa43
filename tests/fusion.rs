//! Layers that run as one when a model predicts give what they give one by one.

use cornu::layer::Fusible;
use cornu::prelude::*;
use cornu::runtime::set_winograd;
use cornu::training::Differentiate;
use ndarray::{Array, Array4, ArrayD};

/// Values that look random, between -1 and 1.
fn values(shape: [usize; 4]) -> Array4<f32> {
    let mut state = 7u32;
    Array::from_shape_simple_fn(shape, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// Gives the model weights that look random, variances above 0 among them.
fn scramble(model: &mut Model) {
    for (i, weight) in model.weights().into_iter().enumerate() {
        let shape = weight.shape();
        let len: usize = shape.iter().product();
        let spread = if shape.len() > 1 { 2.0 / (len / shape[shape.len() - 1]) as f32 } else { 1.0 };
        let positive = weight.name().contains("variance");
        let value = |v: f32| if positive { 0.3 + v.abs() } else { v * spread.sqrt() };
        let random = values([1, 1, i + 1, len]).into_iter().skip(i * len).map(value).collect();
        weight.set(Tensor::new(&shape, random).unwrap()).unwrap();
    }
}

/// Node by node: a backward pass could follow.
fn one_by_one(model: &Model, x: &Array4<f32>) -> Tensor {
    model.forward(x, false, Differentiate::Weights).unwrap().output()
}

fn assert_close(got: &[f32], want: &[f32]) {
    let size = want.iter().fold(0f32, |most, v| most.max(v.abs()));
    assert!(size > 0.0 && size.is_finite());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 2e-6 * size, "{got} where {want} was expected, of values up to {size}");
    }
}

/// A model from `image` to what `layers` make of it predicts, in each batch size, what its layers give one by one,
/// also after its weights have changed.
fn check(shape: [usize; 3], layers: impl Fn(&SymbolicTensor) -> cornu::Result<SymbolicTensor>) {
    // Its rounding errors are another matter.
    set_winograd(false);
    let image = Input::new(shape).node();
    let output = layers(&image).unwrap();
    let mut model = Model::new(&image, &output).unwrap();
    let [h, w, c] = shape;
    let x = values([3, h, w, c]);
    for _ in 0..2 {
        scramble(&mut model);
        let want = one_by_one(&model, &x);
        let got = model.predict(&x, Predict::new().batch_size(2)).unwrap();
        assert_eq!(got.shape(), want.shape());
        assert_close(got.as_slice().unwrap(), want.data());
        let mut into = ArrayD::zeros(want.shape());
        model.predictor().predict_into(&x, into.view_mut()).unwrap();
        assert_close(into.as_slice().unwrap(), want.data());
        // Other values, so that nothing that was kept from the first round still fits.
        let first = &model.weights()[0];
        first.set(first.value().map(|v| v * 1.5)).unwrap();
        let again = model.predict(&x, Predict::new()).unwrap();
        assert_close(again.as_slice().unwrap(), one_by_one(&model, &x).data());
    }
}

/// A convolution with a normalization behind it.
fn normalized(convolution: impl Into<LayerHandle>, x: &SymbolicTensor) -> cornu::Result<SymbolicTensor> {
    BatchNormalization::new().call(convolution.into().call(x)?)
}

#[test]
fn normalizations_and_rectifiers() {
    let rectifiers =
        || [ReLU::new(), ReLU::new().max_value(0.5), ReLU::new().negative_slope(0.1), ReLU::new().threshold(0.2)];
    for channels in [1, 3, 8, 20, 40] {
        for rectifier in rectifiers() {
            check([9, 7, 5], |x| rectifier.clone().call(normalized(Conv2D::new(channels, 3), x)?));
            check([9, 7, 5], |x| rectifier.clone().call(normalized(Conv2D::new(channels, 1).strides(2), x)?));
            check([8, 6, channels], |x| {
                rectifier.clone().call(normalized(DepthwiseConv2D::new(3).padding(Padding::Same), x)?)
            });
            check([8, 6, channels], |x| {
                rectifier.clone().call(normalized(DepthwiseConv2D::new([2, 5]).use_bias(false), x)?)
            });
        }
        check([6, 6, 4], |x| {
            Activation::from("sigmoid").call(normalized(Conv2D::new(channels, 3).use_bias(false), x)?)
        });
        check([6, 6, 4], |x| normalized(Conv2D::new(channels, 3).activation("relu"), x));
        check([6, 6, 4], |x| {
            let first = Conv2D::new(4 * channels, 3).groups(4).padding(Padding::Same);
            Activation::relu().call(normalized(first, x)?)
        });
        check([6, 6, 4], |x| {
            // Along another axis than the channels.
            BatchNormalization::new().axis(1).call(Conv2D::new(channels, 3).call(x)?)
        });
        check([4, 6, 6], |x| {
            let format = DataFormat::ChannelsFirst;
            BatchNormalization::new().axis(1).call(Conv2D::new(channels, 3).data_format(format).call(x)?)
        });
        // A scale alone, an offset alone.
        check([5, 5, 3], |x| BatchNormalization::new().center(false).call(Conv2D::new(channels, 2).call(x)?));
        check([5, 5, 3], |x| BatchNormalization::new().scale(false).axis(3).call(Conv2D::new(channels, 2).call(x)?));
        check([5, 5, 3], |x| BatchNormalization::new().call(Dense::new(channels).call(x)?));
    }
}

#[test]
fn residual_blocks() {
    for channels in [3, 8, 20, 64] {
        // Narrow and wide, long and short lines.
        for size in [6, 14, 17] {
            let convolution = |size: usize| Conv2D::new(channels, size).padding(Padding::Same);
            check([size, size, channels], |x| {
                let first = Activation::relu().call(normalized(convolution(3), x)?)?;
                let second = normalized(convolution(3), &first)?;
                Activation::relu().call(Add::new().call([x, &second])?)
            });
            check([size, size, 3], |x| {
                // Both sides end in a convolution; either may take the sum.
                let shortcut = normalized(convolution(1), x)?;
                let first = ReLU::new().max_value(6.0).call(normalized(convolution(1), x)?)?;
                let second = normalized(convolution(3), &first)?;
                let sum = Add::new().call([&second, &shortcut])?;
                // It is read again, and must not be overwritten by what is added to it.
                let more = Add::new().call([&sum, &convolution(3).call(&sum)?])?;
                let last = Add::new().call([&convolution(1).call(&more)?, &sum])?;
                Concatenate::new().call([&last, &more, &sum])
            });
        }
        // Depthwise with a sum; a sum with itself; one of three; one that is repeated to fit.
        check([9, 9, channels], |x| {
            let y = DepthwiseConv2D::new(3).padding(Padding::Same).call(x)?;
            Activation::relu().call(Add::new().call([x, &normalized(DepthwiseConv2D::new(1), &y)?])?)
        });
        check([5, 5, 2], |x| {
            let y = Conv2D::new(channels, 3).call(x)?;
            Add::new().call([&y, &y])
        });
        check([5, 5, channels], |x| {
            let y = Conv2D::new(channels, 1).call(x)?;
            Add::new().call([x, &y, x])
        });
        check([5, 5, 2], |x| {
            let y = Conv2D::new(channels, 3).call(x)?;
            Add::new().call([&y, &Conv2D::new(channels, 5).call(x)?])
        });
    }
}

#[test]
fn paddings() {
    for margins in [((1, 1), (1, 1)), ((0, 1), (0, 1)), ((2, 0), (0, 3)), ((0, 0), (0, 0)), ((4, 4), (4, 4))] {
        let padding = || ZeroPadding2D::new(margins);
        for strides in [1, 2] {
            for padded in [Padding::Valid, Padding::Same] {
                check([8, 9, 3], |x| {
                    let first = Conv2D::new(20, 3).strides(strides).padding(padded);
                    Activation::relu().call(normalized(first, &padding().call(x)?)?)
                });
                check([8, 9, 3], |x| DepthwiseConv2D::new(3).strides(strides).padding(padded).call(padding().call(x)?));
                check([8, 9, 6], |x| {
                    // What a rectifier gave is never below the zeros around it; what else there is may be.
                    let x = Activation::relu().call(Conv2D::new(18, 1).call(x)?)?;
                    MaxPooling2D::new(3).strides(strides).padding(padded).call(padding().call(&x)?)
                });
                check([8, 9, 6], |x| {
                    let x = Conv2D::new(18, 1).bias_initializer(cornu::initializers::Constant::new(-3.0)).call(x)?;
                    MaxPooling2D::new(2).strides(strides).padding(padded).call(padding().call(&x)?)
                });
                check([8, 9, 6], |x| {
                    let x = Conv2D::new(18, 1).activation("relu").call(x)?;
                    MaxPooling2D::new(2).strides(strides).padding(padded).call(padding().call(&x)?)
                });
            }
        }
        // Read by two.
        check([8, 9, 3], |x| {
            let x = padding().call(x)?;
            Concatenate::new().call([&Conv2D::new(4, 3).call(&x)?, &Conv2D::new(5, 3).call(&x)?])
        });
    }
}

#[test]
fn what_is_seen_between_layers_is_not_fused() {
    // An output of the model in the middle.
    let image = Input::new([6, 6, 3]).node();
    let middle = Conv2D::new(4, 3).call(&image).unwrap();
    let end = BatchNormalization::new().call(&middle).unwrap();
    let mut model = Model::new(&image, [&middle, &end]).unwrap();
    scramble(&mut model);
    let x = values([2, 6, 6, 3]);
    let both = model.predict_all(&x, Predict::new()).unwrap();
    assert_close(both[0].as_slice().unwrap(), one_by_one(&model, &x).data());
    assert!(both[0] != both[1]);

    // A layer that is called twice, and a model inside another.
    let shared = Conv2D::new(3, 3).padding(Padding::Same).name("shared");
    check([6, 6, 3], |x| {
        let y = BatchNormalization::new().call(shared.clone().call(x)?)?;
        Add::new().call([&y, &shared.clone().call(&y)?])
    });
}

/// A user's own affine layer is taken along like one of the crate's.
#[test]
fn layers_of_users() {
    use cornu::layer::{Backward, Forward, Gradients, Values};

    struct Twice;
    impl Layer for Twice {
        fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> cornu::Result<Values> {
            Ok(inputs.one()?.map(|v| 2.0 * v).into())
        }
        fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> cornu::Result<Gradients> {
            Ok(gradients.one()?.map(|v| 2.0 * v).into())
        }
        fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
            Some(Fusible::Affine)
        }
        fn affine(&self) -> cornu::Result<[Tensor; 2]> {
            // Not what its forward pass does, so that it is seen who was asked.
            Ok([Tensor::full([4], 3.0), Tensor::full([4], 1.0)])
        }
    }

    let mut model = Sequential::new().with_seed(1);
    model.add(Input::new([5, 5, 2])).add(Conv2D::new(4, 3).bias_initializer("ones")).add(Twice);
    model.build().unwrap();
    let x = values([2, 5, 5, 2]);
    let alone = one_by_one(&model, &x);
    let fused = model.predict(&x, Predict::new()).unwrap();
    let want: Vec<f32> = alone.data().iter().map(|v| v / 2.0 * 3.0 + 1.0).collect();
    assert_close(fused.as_slice().unwrap(), &want);
}

#[test]
fn poolings() {
    for channels in [3, 8, 20, 40] {
        for [h, w] in [[8, 12], [9, 7], [30, 20]] {
            let convolution = || Conv2D::new(channels, 3).padding(Padding::Same);
            check([h, w, 5], |x| MaxPooling2D::new(2).call(convolution().activation("relu").call(x)?));
            check([h, w, 5], |x| MaxPooling2D::new([3, 2]).call(Conv2D::new(channels, 2).call(x)?));
            check([h, w, 5], |x| {
                MaxPooling2D::new(2).call(ReLU::new().max_value(2.0).call(normalized(convolution(), x)?)?)
            });
            check([h, w, 5], |x| MaxPooling2D::new(2).call(normalized(convolution(), x)?));
            check([h, w, 5], |x| MaxPooling2D::new(2).call(SeparableConv2D::new(channels, 3).call(x)?));
            check([h, w, channels], |x| MaxPooling2D::new(2).call(DepthwiseConv2D::new(3).activation("relu").call(x)?));
            // What is in between is not done by the convolution, or another pooling.
            check([h, w, 5], |x| MaxPooling2D::new(2).call(convolution().activation("tanh").call(x)?));
            check([h, w, 5], |x| MaxPooling2D::new(3).strides(2).call(convolution().call(x)?));
            check([h, w, 5], |x| MaxPooling2D::new(2).padding(Padding::Same).call(convolution().call(x)?));
            check([5, h, w], |x| {
                let first = DataFormat::ChannelsFirst;
                MaxPooling2D::new(2).data_format(first).call(Conv2D::new(channels, 3).data_format(first).call(x)?)
            });
            check([h, w, channels], |x| {
                let y = Add::new().call([x, &convolution().call(x)?])?;
                MaxPooling2D::new(2).call(Activation::relu().call(y)?)
            });
            // Somebody else reads the results.
            check([h, w, channels], |x| {
                let y = convolution().call(x)?;
                Concatenate::new().call([
                    &GlobalMaxPooling2D::new().call(MaxPooling2D::new(2).call(&y)?)?,
                    &GlobalAveragePooling2D::new().call(&y)?,
                ])
            });
        }
    }
}

/// A pooling is fused: a layer that says that it pools, and gives zeros, shows it.
#[test]
fn poolings_are_fused() {
    use cornu::layer::{Backward, Forward, Gradients, Values};

    struct Zeros;
    impl Layer for Zeros {
        fn output_shapes(&self, _: &[Shape]) -> cornu::Result<Vec<Shape>> {
            Ok(vec![Shape::batch_of([3, 3, 4])])
        }
        fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> cornu::Result<Values> {
            Ok(Tensor::zeros([inputs[0].batch(), 3, 3, 4]).into())
        }
        fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> cornu::Result<Gradients> {
            Ok(gradients.one()?.into())
        }
        fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
            Some(Fusible::MaxPooling([2, 2]))
        }
    }
    let image = Input::new([6, 6, 3]).node();
    let y = Conv2D::new(4, 1).activation("relu").call(&image).unwrap();
    let model = Model::new(&image, Zeros.call(&y).unwrap()).unwrap();
    let pooled = Model::new(&image, MaxPooling2D::new(2).call(&y).unwrap()).unwrap();
    let x = values([2, 6, 6, 3]);
    let (got, want) = (model.predict(&x, Predict::new()).unwrap(), one_by_one(&pooled, &x));
    assert_close(got.as_slice().unwrap(), want.data());
}

/// A sum is fused: a layer that says that it adds, and does not, shows it.
#[test]
fn sums_are_fused() {
    use cornu::layer::{Backward, Forward, Gradients, Values};

    /// Says that it adds, and gives its first input.
    struct First;
    impl Layer for First {
        fn output_shapes(&self, inputs: &[Shape]) -> cornu::Result<Vec<Shape>> {
            Ok(vec![inputs[0].clone()])
        }
        fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> cornu::Result<Values> {
            Ok(inputs[0].clone().into())
        }
        fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> cornu::Result<Gradients> {
            Ok(gradients.one()?.into())
        }
        fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
            Some(Fusible::Sum)
        }
    }
    let image = Input::new([5, 5, 3]).node();
    let y = Conv2D::new(3, 1).call(&image).unwrap();
    let model = Model::new(&image, First.call([&y, &image]).unwrap()).unwrap();
    let x = values([2, 5, 5, 3]);
    let sums: Vec<f32> = one_by_one(&model, &x).data().iter().zip(&x).map(|(y, x)| y + x).collect();
    assert_close(model.predict(&x, Predict::new()).unwrap().as_slice().unwrap(), &sums);
}

/// A layer that agrees to everything is asked for no more than it can be told: each once, in order.
#[test]
fn layers_that_agree_to_everything() {
    use cornu::layer::{Backward, Forward, Gradients, Values};

    /// Does nothing, and what it is asked for besides.
    struct Willing;
    impl Layer for Willing {
        fn forward(&self, inputs: Values, cx: &mut Forward<'_>) -> cornu::Result<Values> {
            let (mut y, fused) = (inputs.one()?, cx.fused());
            if let Some([scale, offset]) = &fused.affine {
                let each = scale.data().iter().zip(offset.data()).cycle();
                y.data_mut().iter_mut().zip(each).for_each(|(y, (scale, offset))| *y = *y * scale + offset);
            }
            if let Some(activation) = &fused.activation {
                activation.apply(&mut y)?;
            }
            Ok(y.into())
        }
        fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> cornu::Result<Gradients> {
            Ok(gradients.one()?.into())
        }
        fn fuses(&self, what: &[Fusible], _: bool) -> bool {
            what.iter().all(|what| matches!(what, Fusible::Affine | Fusible::Activation(_)))
        }
    }

    check([4, 4, 3], |image| {
        let y = Activation::relu().call(&Willing.call(image)?)?;
        BatchNormalization::new().call(&BatchNormalization::new().call(&y)?)
    });
    check([4, 4, 3], |image| {
        let y = BatchNormalization::new().call(&BatchNormalization::new().call(&Willing.call(image)?)?)?;
        Activation::relu().call(&y)
    });
}

/// An affine layer with values for other channels is an error, with a bias and without.
#[test]
fn affine_layers_with_other_channels() {
    use cornu::layer::{Backward, Forward, Gradients, Values};

    struct Short;
    impl Layer for Short {
        fn forward(&self, inputs: Values, _: &mut Forward<'_>) -> cornu::Result<Values> {
            Ok(inputs)
        }
        fn backward(&self, gradients: Values, _: &mut Backward<'_>) -> cornu::Result<Gradients> {
            Ok(gradients.one()?.into())
        }
        fn fusible(&self, _: &[Shape]) -> Option<Fusible> {
            Some(Fusible::Affine)
        }
        fn affine(&self) -> cornu::Result<[Tensor; 2]> {
            Ok([Tensor::full([2], 1.0), Tensor::full([2], 0.0)])
        }
    }

    for bias in [false, true] {
        let mut model = Sequential::new();
        model.add(Input::new([5, 5, 2])).add(Conv2D::new(4, 3).use_bias(bias)).add(Short);
        model.build().unwrap();
        let error = model.predict(&values([1, 5, 5, 2]), Predict::new()).unwrap_err().to_string();
        assert!(error.contains("[2] for 4 channels"), "{error}");
    }
}
