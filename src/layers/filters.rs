//! What the layers with one kernel that slides share: one pass forward and one back.

use super::{Activation, DataFormat, activate, deactivate, save_activated};
use crate::error::{Error, Result, ensure};
use crate::kernels::Epilogue;
use crate::kernels::conv3d::Conv3d;
use crate::kernels::pool::Pool2d;
use crate::kernels::reduce;
use crate::layer::{Backward, Forward, Fused, Fusible, Gradients, Param};
use crate::shape::{Dims, Padding};
use crate::tensor::Tensor;

/// A kernel and what is done around it.
pub(super) struct Filters<'a> {
    pub kernel: &'a Param,
    pub bias: Option<&'a Param>,
    pub activation: &'a Activation,
    pub data_format: DataFormat,
}

/// Whether the activation makes negative values 0 and leaves others as they are, up to a limit if it has one.
fn rectifier(activation: &Activation) -> Option<Option<f32>> {
    match *activation {
        Activation::Relu => Some(None),
        Activation::ReluWith { negative_slope: 0.0, max_value, threshold: 0.0 } => {
            Some(max_value.map(|max| max as f32))
        }
        _ => None,
    }
}

/// The pooling of outputs of these dimensions by windows that do not overlap.
fn pooling(dims: &[usize], window: [usize; 2]) -> Result<Pool2d> {
    let &[batch, height, width, channels] = dims else {
        return Err(Error::Shape(format!("a pooling by rows and columns of an output with the dimensions {dims:?}")));
    };
    Pool2d::new([batch, height, width, channels], window, window, Padding::Valid)
}

impl Filters<'_> {
    /// Convolves `x`, whose channels are last; the output has the dimensions `dims`. What is `fused` comes instead of
    /// the activation.
    pub fn forward(&self, x: Tensor, g: &Conv3d, dims: Dims, fused: Fused, cx: &mut Forward<'_>) -> Result<Tensor> {
        let kernel = self.kernel.value();
        self.check(g.kernel_len(), &kernel, &x)?;
        let Fused { affine, sum, activation, max_pooling, .. } = fused;
        let channels = dims.last().copied().unwrap_or(0);
        for values in affine.iter().flatten() {
            ensure!(
                values.shape() == [channels],
                Shape,
                "an affine layer gave factors or offsets of shape {:?} for {channels} channels",
                values.shape()
            );
        }
        let bias = match (self.bias.map(Param::value), &affine) {
            // The bias is scaled as well.
            (Some(bias), Some([scale, offset])) => {
                let mut sums = cx.scratch([channels]);
                let each = bias.data().iter().zip(scale.data()).zip(offset.data());
                sums.data_mut().iter_mut().zip(each).for_each(|(sum, ((b, scale), offset))| *sum = b * scale + offset);
                Some(sums)
            }
            (None, Some([_, offset])) => Some(offset.clone()),
            (bias, None) => bias,
        };
        // The way back of an activation that needs its input asks for more than the product stores.
        let own = activation.is_none() && self.activation.needs_input() && cx.recording();
        let rectifier = rectifier(activation.as_ref().unwrap_or(self.activation)).filter(|_| !own);
        let (relu, most) = (rectifier.is_some(), rectifier.flatten());
        let epilogue = Epilogue {
            scale: affine.as_ref().map(|[scale, _]| scale.data()),
            bias: bias.as_ref().map(|bias| bias.data()),
            sum: sum.is_some(),
            relu,
            most,
            gate: None,
            pool: max_pooling.map(|window| pooling(&dims, window)).transpose()?,
        };
        let dims = epilogue
            .pool
            .map_or(dims, |pool| [pool.batch, pool.out_h, pool.out_w, pool.channels].into_iter().collect());
        let mut y = sum.unwrap_or_else(|| cx.scratch(&dims));
        ensure!(y.shape() == &dims[..], Shape, "shapes {:?} and {:?} are added but differ", y.shape(), &dims[..]);
        let layouts = [g.winograd_layout().filter(|_| !cx.recording()), g.forward_layout()].into_iter().flatten();
        let packed = layouts.filter(|_| cx.keeps_weights()).find_map(|layout| self.kernel.packed(layout));
        g.forward_packed(x.data(), kernel.data(), packed.as_deref(), epilogue, y.data_mut(), cx.workspace());
        cx.save(x);
        let y = self.data_format.given(y);
        if relu || activation.is_some() {
            save_activated(self.activation, &y, cx);
            return Ok(y);
        }
        activate(self.activation, y, cx)
    }

    /// Whether [`forward`](Self::forward) can do this one after the other: a normalization, a sum or a pooling, and a
    /// ReLU, each of them if there is one.
    pub fn fuses(&self, what: &[Fusible]) -> bool {
        if self.data_format == DataFormat::ChannelsFirst {
            return false;
        }
        if let [Fusible::MaxPooling(_)] = what {
            return *self.activation == Activation::Linear || rectifier(self.activation).is_some();
        }
        let rest = what.strip_prefix(&[Fusible::Affine]).unwrap_or(what);
        let ends = |rest: &[Fusible]| match rest {
            [] => true,
            [Fusible::Activation(activation), rest @ ..] => rectifier(activation).is_some() && rest.is_empty(),
            _ => false,
        };
        let ends = match rest {
            [Fusible::Sum, rest @ ..] => ends(rest),
            [rest @ .., Fusible::MaxPooling(_)] => ends(rest),
            rest => ends(rest),
        };
        ends && *self.activation == Activation::Linear
    }

    /// The gradients of [`forward`](Self::forward), for the geometry of its input.
    pub fn backward(
        &self,
        dy: Tensor,
        geometry: impl Fn(&[usize]) -> Result<Conv3d>,
        cx: &mut Backward<'_>,
    ) -> Result<Gradients> {
        let dy = self.data_format.last(deactivate(self.activation, dy, cx)?);
        let x = cx.restore()?;
        let g = geometry(x.shape())?;
        let workspace = cx.workspace().clone();
        // Both gradients are made at once, so the bias has a place of its own meanwhile.
        let mut sums = self.bias.map(|_| {
            let mut sums = cx.scratch([dy.last()]);
            sums.data_mut().fill(0.0);
            sums
        });
        let place = sums.as_mut().map(Tensor::data_mut);
        let mut dx = cx.wants(0).then(|| cx.scratch(x.shape()));
        let (kernel, gate) = (self.kernel.value(), cx.gates_input().then(|| x.data()));
        match (cx.gradient(self.kernel), dx.as_mut().map(Tensor::data_mut)) {
            (Some(dkernel), Some(dx)) => {
                g.backward_gated(x.data(), dy.data(), kernel.data(), gate, dx, dkernel, place, &workspace);
            }
            (Some(dkernel), None) => g.backward_weights(x.data(), dy.data(), dkernel, place, &workspace),
            (None, dx) => {
                place.into_iter().for_each(|sums| g.backward_bias(dy.data(), sums));
                dx.into_iter().for_each(|dx| g.backward_data_gated(dy.data(), kernel.data(), gate, dx, &workspace));
            }
        }
        if let Some(dbias) = self.bias.and_then(|bias| cx.gradient(bias)) {
            sums.iter().for_each(|sums| reduce::add(dbias, sums.data()));
        }
        let Some(dx) = dx else { return Ok(None.into()) };
        Ok(self.data_format.given(dx).into())
    }

    /// Convolves `x` backwards: `g` is the convolution that leads from an output to an input.
    pub fn forward_transposed(&self, x: Tensor, g: &Conv3d, dims: Dims, cx: &mut Forward<'_>) -> Result<Tensor> {
        let kernel = self.kernel.value();
        self.check(g.kernel_len(), &kernel, &x)?;
        let mut y = cx.scratch(dims);
        g.backward_data(x.data(), kernel.data(), y.data_mut(), cx.workspace());
        if let Some(bias) = self.bias.map(Param::value) {
            let bias = bias.data();
            y.data_mut().chunks_exact_mut(bias.len()).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
        cx.save(x);
        activate(self.activation, self.data_format.given(y), cx)
    }

    /// The gradients of [`forward_transposed`](Self::forward_transposed).
    pub fn backward_transposed(
        &self,
        dy: Tensor,
        geometry: impl Fn(&[usize]) -> Result<Conv3d>,
        cx: &mut Backward<'_>,
    ) -> Result<Gradients> {
        let dy = self.data_format.last(deactivate(self.activation, dy, cx)?);
        let x = cx.restore()?;
        let g = geometry(x.shape())?;
        let workspace = cx.workspace().clone();
        if let Some(dkernel) = cx.gradient(self.kernel) {
            g.backward_weights(dy.data(), x.data(), dkernel, None, &workspace);
        }
        if let Some(dbias) = self.bias.and_then(|bias| cx.gradient(bias)) {
            reduce::add_column_sums(dy.data(), dbias);
        }
        if !cx.wants(0) {
            return Ok(None.into());
        }
        let mut dx = cx.scratch(x.shape());
        g.forward(dy.data(), self.kernel.value().data(), None, dx.data_mut(), &workspace);
        Ok(self.data_format.given(dx).into())
    }

    fn check(&self, expected: usize, kernel: &Tensor, x: &Tensor) -> Result<()> {
        ensure!(
            expected == kernel.len(),
            Shape,
            "an input of shape {:?} has not the channels that the kernel {:?} was made for",
            x.shape(),
            kernel.shape()
        );
        Ok(())
    }
}
