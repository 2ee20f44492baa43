//! What is done to the results of a product while they are still in registers.

use super::pool::Pool2d;
use super::simd::Lanes;
use super::tile::{End, Start};
use super::vectorised;

/// What is done to each result before it is stored: first the scale, then the bias, then the sum, then the ReLU or the
/// gate; of windows of these results the largest ones are stored.
///
/// ```
/// use cornu::kernels::{Epilogue, gemm::{Mat, gemm_with}};
/// let mut y = [0.0; 2];
/// let epilogue = Epilogue { bias: Some(&[1.0, -9.0]), relu: true, ..Epilogue::default() };
/// gemm_with(Mat::new(&[2.0], 1, 1), Mat::new(&[3.0, 4.0], 1, 2), epilogue, &mut y);
/// assert_eq!(y, [7.0, 0.0]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Epilogue<'a> {
    /// Is multiplied with: a value for each column, or output channel, as of a normalization behind a convolution.
    /// Of convolutions alone.
    pub scale: Option<&'a [f32]>,
    /// Is added: a value for each column, or output channel.
    pub bias: Option<&'a [f32]>,
    /// Whether results are added to what lies in their place: the end of a residual block. Of convolutions alone.
    pub sum: bool,
    /// Whether negative results become 0 ...
    pub relu: bool,
    /// ... and then those above this one this one: 6, of a ReLU6.
    pub most: Option<f32>,
    /// Values that lie as the results do: where one is not above 0, the result becomes 0. That is the gradient of a
    /// ReLU that gave these values. Not together with `relu`.
    pub gate: Option<&'a [f32]>,
    /// A pooling, whose input the results are: the largest value of each window is stored in place of all. Of
    /// convolutions over two axes alone, and not together with `sum` or `gate`.
    pub pool: Option<Pool2d>,
}

impl<'a> From<Option<&'a [f32]>> for Epilogue<'a> {
    fn from(bias: Option<&'a [f32]>) -> Self {
        Epilogue { bias, ..Epilogue::default() }
    }
}

impl<'a> Epilogue<'a> {
    /// # Panics
    /// When the scale or the bias is not one value for each of the columns, or the gate not one for each of the
    /// results.
    pub(super) fn check(&self, columns: usize, results: usize) {
        assert!(self.scale.is_none_or(|scale| scale.len() == columns), "length of the scale");
        assert!(self.bias.is_none_or(|bias| bias.len() == columns), "length of the bias");
        assert!(self.relu || self.most.is_none(), "only a ReLU has an upper limit");
        assert!(self.gate.is_none_or(|gate| gate.len() == results && !self.relu), "length of the gate");
        assert!(self.pool.is_none_or(|pool| pool.input_len() == results), "size of the results that are pooled");
        assert!(self.pool.is_none() || !self.sum && self.gate.is_none(), "results that are pooled lie nowhere");
    }

    /// How many of so many results are stored.
    pub(super) fn stored(&self, results: usize) -> usize {
        self.pool.map_or(results, |pool| pool.output_len())
    }

    /// What the sums of the columns from this one on begin with.
    pub(super) fn start(&self, column: usize) -> Start<'a> {
        let bias = self.bias.map(|bias| &bias[column..]);
        match (self.scale, self.sum, bias) {
            (None, false, None) => Start::Zero,
            (None, false, Some(bias)) => Start::Bias(bias),
            (scale, sum, bias) => Start::Whole { scale: scale.map(|scale| &scale[column..]), bias, sum },
        }
    }

    /// What the ReLU, if there is one, makes of a result.
    ///
    /// # Safety
    /// The processor must have the instruction set.
    #[inline(always)]
    pub(super) unsafe fn rectified<L: Lanes>(&self, sum: L) -> L {
        if !self.relu {
            return sum;
        }
        // SAFETY: as the caller promised.
        unsafe {
            let positive = L::splat(0.0).max(sum);
            self.most.map_or(positive, |most| L::splat(most).min(positive))
        }
    }

    /// Whether it is more than a plain product can do.
    pub(super) fn is_of_convolutions(&self) -> bool {
        self.scale.is_some() || self.sum || self.pool.is_some()
    }

    /// What is done at their end.
    pub(super) fn end(&self) -> End<'a> {
        match (self.gate, self.relu) {
            (Some(gate), _) => End::Gate(gate),
            (None, true) => End::Relu(self.most.unwrap_or(f32::INFINITY)),
            (None, false) => End::Plain,
        }
    }
}

impl End<'_> {
    /// Does the same to results that are already stored, as many as the gate has.
    pub(super) fn apply(self, y: &mut [f32]) {
        match self {
            End::Plain => {}
            End::Relu(most) => vectorised(
                #[inline(always)]
                move || {
                    y.iter_mut().for_each(|y| {
                        let positive = if *y < 0.0 { 0.0 } else { *y };
                        *y = if positive > most { most } else { positive };
                    });
                },
            ),
            End::Gate(gate) => vectorised(
                #[inline(always)]
                move || y.iter_mut().zip(gate).for_each(|(y, gate)| *y = if *gate > 0.0 { *y } else { 0.0 }),
            ),
        }
    }
}
