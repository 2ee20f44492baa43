//! Maximum and average pooling over three axes: over height and width, then over the depth.
//!
//! A window is a product of ranges, so its maximum is that of its slices' maxima, and, as all its slices have as
//! many real cells, its mean is that of their means.

use super::pool::Pool2d;
use crate::error::{Error, Result, ensure};
use crate::runtime::Workspace;
use crate::shape::Padding;

/// The geometry of a pooling of `(batch, depth, height, width, channels)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool3d {
    batch: usize,
    slices: Pool2d,
    /// None where windows have a depth of 1.
    depths: Option<Pool2d>,
}

impl Pool3d {
    /// The pooling of `input` with windows of `pool` cells moved by `strides`; see [`Pool2d::new`].
    ///
    /// # Errors
    /// As for [`Pool2d::new`].
    pub fn new(input: [usize; 5], pool: [usize; 3], strides: [usize; 3], padding: Padding) -> Result<Self> {
        let [batch, depth, height, width, channels] = input;
        let too_large = || Error::Shape(format!("an input of shape {input:?} is too large to pool"));
        let images = batch.checked_mul(depth).ok_or_else(too_large)?;
        let slices =
            Pool2d::new([images, height, width, channels], [pool[1], pool[2]], [strides[1], strides[2]], padding)?;
        let cells = slices.out_h * slices.out_w;
        let depths = Pool2d::new([batch, depth, cells, channels], [pool[0], 1], [strides[0], 1], padding)?;
        Ok(Pool3d { batch, slices, depths: ((pool[0], strides[0]) != (1, 1)).then_some(depths) })
    }

    /// The same with so many more rows and columns of padding, before and after, around each image.
    ///
    /// # Errors
    /// As for [`Pool2d::with_margins`].
    pub(crate) fn with_margins(self, margins: [[usize; 2]; 2]) -> Result<Self> {
        if margins == [[0; 2]; 2] {
            return Ok(self);
        }
        ensure!(self.depths.is_none(), Argument, "a volume cannot be pooled with margins around its slices");
        Ok(Pool3d { slices: self.slices.with_margins(margins)?, ..self })
    }

    /// The shape of the output.
    pub fn output(&self) -> [usize; 5] {
        let Pool3d { batch, slices, depths } = self;
        let depth = depths.map_or(slices.batch / (*batch).max(1), |depths| depths.out_h);
        [*batch, depth, slices.out_h, slices.out_w, slices.channels]
    }

    /// The maximum of each window; NaN beats all.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn max_forward(&self, x: &[f32], y: &mut [f32], workspace: &Workspace) {
        self.forward(x, y, workspace, Pool2d::max_forward);
    }

    /// The gradient by `x` of [`max_forward`](Self::max_forward), into `dx`: that of a window goes to its first cell
    /// that equals the maximum. Of a maximum of 0 none does where `relu` says that `x` is a ReLU's output.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn max_backward(&self, x: &[f32], y: &[f32], dy: &[f32], relu: bool, dx: &mut [f32], workspace: &Workspace) {
        let Some(depths) = &self.depths else { return self.slices.max_backward(x, y, dy, relu, dx) };
        let mut maxima = workspace.take(self.slices.output_len());
        let mut gradient = workspace.take(self.slices.output_len());
        self.slices.max_forward(x, &mut maxima);
        depths.max_backward(&maxima, y, dy, relu, &mut gradient);
        self.slices.max_backward(x, &maxima, &gradient, false, dx);
        workspace.give(maxima);
        workspace.give(gradient);
    }

    /// The mean of the real cells of each window.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn average_forward(&self, x: &[f32], y: &mut [f32], workspace: &Workspace) {
        self.forward(x, y, workspace, Pool2d::average_forward);
    }

    /// The gradient by `x` of [`average_forward`](Self::average_forward), into `dx`.
    ///
    /// # Panics
    /// When a slice has another length than the geometry says.
    pub fn average_backward(&self, dy: &[f32], dx: &mut [f32], workspace: &Workspace) {
        let Some(depths) = &self.depths else { return self.slices.average_backward(dy, dx) };
        let mut gradient = workspace.take(self.slices.output_len());
        depths.average_backward(dy, &mut gradient);
        self.slices.average_backward(&gradient, dx);
        workspace.give(gradient);
    }

    fn forward(&self, x: &[f32], y: &mut [f32], workspace: &Workspace, pool: fn(&Pool2d, &[f32], &mut [f32])) {
        let Some(depths) = &self.depths else { return pool(&self.slices, x, y) };
        let mut means = workspace.take(self.slices.output_len());
        pool(&self.slices, x, &mut means);
        pool(depths, &means, y);
        workspace.give(means);
    }
}
